/* verify_mutants.c: the verifier of emitted source accepts what the emitter makes and refuses it once anything is changed.
 *
 * Small models are translated in memory. Then every call is dropped, doubled, and swapped with the next one when that must
 * not be; every tensor is misplaced; every operand is taken from the future; every save is given other codes; and each rule
 * has mutants of its own that must be refused under its name. Mutants that mean the same are left out by construction: calls
 * are swapped only where one reads what the other writes or overwrites, tensors moved only onto others that live. */
#include "../../passes/passes.h"
#include "../../src/emit.h"
#include "../../src/verify.h"
#include "../../src/verify_source.h"
#include "../runtime/tap.h"
#include "verify_changes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct Bench {
  Arena *arena;
  Diagnostics *diagnostics;
  char *messages;
  size_t message_bytes;
  const char *source, *header;
  Emitted emitted;          /* what the verifier itself reads of the good source: to know where to change it */
  unsigned tried, accepted; /* of the present kind of mutants */
  const char *example;      /* of one that was wrongly accepted */
} Bench;

/* ---- a trainer to change ------------------------------------------------------------------------------------ */

static const char convolutional[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "net (float[N,3,16,16] image) => (float[N,10] logits)\n"
    "<float[16,3,3,3] w1 = [\"location\" : \"none\"], float[16] s1 = [\"location\" : \"none\"], float[16] b1 = [\"location\" : \"none\"],\n"
    " float[16] m1 = [\"location\" : \"none\"], float[16] v1 = [\"location\" : \"none\"], float[16,16,3,3] w2 = [\"location\" : \"none\"],\n"
    " float[10,1024] w3 = [\"location\" : \"none\"], float[10] b3 = [\"location\" : \"none\"]>\n"
    "{\n"
    "  [conv1] c1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, w1)\n"
    "  [norm1] n1, rm, rv = BatchNormalization <training_mode = 1> (c1, s1, b1, m1, v1)\n"
    "  [relu1] r1 = Relu (n1)\n"
    "  [conv2] c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r1, w2)\n"
    "  [join] a2 = Add (c2, r1)\n"
    "  [relu2] r2 = Relu (a2)\n"
    "  [pool] p2 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r2)\n"
    "  [flat] f2 = Flatten (p2)\n"
    "  [output] logits = Gemm <transB = 1> (f2, w3, b3)\n"
    "}\n";

static Program *
program_of(Bench *bench, const char *model)
{
  if (model) {
    const char *root = getenv("top_srcdir");
    return import_model(arena_format(bench->arena, "%s/models/%s", root ? root : ".", model), bench->diagnostics);
  }
  return parse_program("net.onnxtxt", convolutional, strlen(convolutional), bench->diagnostics);
}

static bool
emit_model(Bench *bench, const char *model, const char *optimizer, const char *scheme)
{
  Options options = {.level = 3,
                     .scheme = scheme,
                     .batch = 4,
                     .loss = "softmax-cross-entropy",
                     .optimizer = optimizer,
                     .command_line = "actnnc"};
  size_t source_length, header_length;
  Program *program = program_of(bench, model);
  if (!program) return false;
  for (size_t i = 0; i < pass_count; i++)
    if (!passes[i].run(program, &options)) return false;
  bench->source = emit_source(program, &options, "net", bench->arena, &source_length);
  bench->header = emit_header("net", bench->arena, &header_length);
  return source_length == strlen(bench->source) && header_length == strlen(bench->header);
}

/* The verifier's own view of the good source. Reading it again here costs nothing and keeps the test short. */
static bool
look_at(Bench *bench)
{
  Emitted *emitted = &bench->emitted;
  *emitted = (Emitted){.arena = bench->arena,
                       .findings = stdout,
                       .name = "net",
                       .source = bench->source,
                       .header = bench->header,
                       .source_length = strlen(bench->source),
                       .header_length = strlen(bench->header)};
  return check_rules(emitted);
}

static bool
start(Bench *bench, const char *model, const char *optimizer, const char *scheme)
{
  bench->arena = arena_create();
  bench->diagnostics = diagnostics_create(bench->arena);
  bench->diagnostics->stream = open_memstream(&bench->messages, &bench->message_bytes);
  bench->diagnostics->limit = 1000000;
  bool is_good = emit_model(bench, model, optimizer, scheme);
  fflush(bench->diagnostics->stream);
  return ok(is_good, "%s with %s and %s's codes is translated %s", model ? model : "a convolutional net", optimizer, scheme,
            is_good ? "" : bench->messages);
}

static void
finish(Bench *bench)
{
  fclose(bench->diagnostics->stream);
  free(bench->messages);
  arena_destroy(bench->arena);
}

/* ---- trying ------------------------------------------------------------------------------------------------- */

/* Verifies; the first message is in bench->messages. */
static bool
verify(Bench *bench, const char *source, const char *header)
{
  rewind(bench->diagnostics->stream);
  bool is_good = verify_source(bench->diagnostics, "net.c", source, strlen(source), header, strlen(header), "net", NULL);
  fputc(0, bench->diagnostics->stream);
  fflush(bench->diagnostics->stream);
  return is_good;
}

static void
expect_refusal(Bench *bench, const char *mutant, const char *what)
{
  bench->tried++;
  if (mutant && !verify(bench, mutant, bench->header) && strstr(bench->messages, "breaks rule V"))
    return; /* not a crash */
  bench->accepted++;
  bench->example = what;
}

static void
conclude(Bench *bench, const char *kind)
{
  ok(bench->tried && !bench->accepted, "%u mutants are refused: %s%s%s", bench->tried, kind,
     bench->accepted ? "; but not: " : "", bench->accepted ? bench->example : "");
  bench->tried = bench->accepted = 0;
}

/* The source with [from, to) replaced. */
static const char *
replaced(const Bench *bench, size_t from, size_t to, const char *with)
{
  return arena_format(bench->arena, "%.*s%s%s", (int)from, bench->source, with, bench->source + to);
}

static size_t
line_end(const Bench *bench, size_t position)
{
  return position + strcspn(bench->source + position, "\n") + 1;
}

static const char *
line_of(const Bench *bench, const EmittedCall *call)
{
  return arena_text(bench->arena, bench->source + call->position, line_end(bench, call->position) - call->position);
}

/* ---- calls dropped, doubled, swapped --------------------------------------------------------------------------- */

static void
drop_and_double(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    expect_refusal(bench, replaced(bench, call->position, line_end(bench, call->position), ""), line_of(bench, call));
  }
  conclude(bench, "a call is dropped");
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    expect_refusal(bench, replaced(bench, call->position, call->position, line_of(bench, call)), line_of(bench, call));
  }
  conclude(bench, "a call is doubled");
}

static bool
reads(const EmittedCall *call, uint32_t tensor)
{
  for (uint32_t j = 0; j < call->input_count; j++)
    if (call->input[j] == tensor) return true;
  return false;
}

/* Swapped, `second` would miss what `first` makes, or overwrite what `first` still reads. */
static bool
depends(const Emitted *emitted, const EmittedCall *first, const EmittedCall *second)
{
  for (uint32_t k = 0; k < first->output_count; k++)
    if (first->output[k] != NONE && reads(second, first->output[k])) return true;
  for (uint32_t k = 0; k < second->output_count; k++)
    for (uint32_t j = 0; j < first->input_count; j++) {
      uint32_t made = second->output[k], read = first->input[j];
      if (made != NONE && read != NONE && overlap(emitted, made, read) && !reads(second, read)) return true;
    }
  return false;
}

static void
swap_neighbours(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = 0; i + 1 < emitted->call_count; i++) {
    const EmittedCall *first = &emitted->call[i], *second = &emitted->call[i + 1];
    if (first->phase != second->phase || !depends(emitted, first, second)) continue;
    const char *swapped = arena_format(bench->arena, "%s  %s", line_of(bench, second), line_of(bench, first));
    expect_refusal(bench, replaced(bench, first->position, line_end(bench, second->position), swapped),
                   line_of(bench, first));
  }
  conclude(bench, "two calls that depend on each other are swapped");
}

/* A restore or an update moved to the start of backward; a save moved to the end of forward when its value is gone by then. */
static void
move_calls(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  const EmittedCall *start_of_backward = &emitted->call[emitted->first_call[BACKWARD]];
  for (uint32_t i = emitted->first_call[BACKWARD] + 1; i < emitted->first_call[BACKWARD + 1]; i++) {
    const EmittedCall *call = &emitted->call[i];
    uint32_t first = call_operand(call, 1);
    if (first == NONE || emitted->writer[first] == NONE || emitted->call[emitted->writer[first]].phase != BACKWARD)
      continue;
    const char *mutant =
        arena_format(bench->arena, "%.*s%s  %.*s%s", (int)start_of_backward->position, bench->source,
                     line_of(bench, call), (int)(call->position - start_of_backward->position),
                     bench->source + start_of_backward->position, bench->source + line_end(bench, call->position));
    expect_refusal(bench, mutant, line_of(bench, call));
  }
  conclude(bench, "a call moves to where its operands are not yet made");
}

/* ---- tensors misplaced ------------------------------------------------------------------------------------------- */

/* The table's line of a tensor with another offset and size. */
static const char *
with_place(const Bench *bench, uint32_t tensor, const char *offset, const char *bytes)
{
  const EmittedTensor *entry = &bench->emitted.tensor[tensor];
  const char *line = bench->source + entry->position, *end = strchr(line, '\n'), *extents = strchr(line, '}');
  const char *after = strchr(extents + 1, '}');
  if (!extents || after > end) abort();
  return replaced(bench, (size_t)(extents + 1 - bench->source), (size_t)(after - bench->source),
                  arena_format(bench->arena, ", %s, %s", offset, bytes));
}

static void
misplace(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  Arena *arena = bench->arena;
  for (uint32_t i = 0; i < emitted->tensor_count; i++) {
    const actnn_tensor *at = &emitted->tensor[i].at;
    unsigned long long offset = at->offset, bytes = at->bytes, whole = emitted->model.arena_bytes;
    const char *name = arena_format(arena, "v%u", i);
    expect_refusal(bench,
                   with_place(bench, i, arena_format(arena, "%lluu", offset + whole),
                              arena_format(arena, "%lluu", bytes)),
                   name);
    expect_refusal(bench,
                   with_place(bench, i, arena_format(arena, "%lluu", offset), arena_format(arena, "-%lluu", bytes)),
                   name);
    expect_refusal(bench,
                   with_place(bench, i, arena_format(arena, "%lluu", offset + 32), arena_format(arena, "%lluu", bytes)),
                   name);
    expect_refusal(bench, with_place(bench, i, arena_format(arena, "%lluu", offset), "18446744073709551552u"), name);
    expect_refusal(bench, with_place(bench, i, arena_format(arena, "%lluu", offset), "0u"), name);
    if (bytes > 64) expect_refusal(bench, with_place(bench, i, arena_format(arena, "%lluu", offset), "64u"), name);
  }
  conclude(bench, "a tensor lies outside, across or without room");
}

static uint32_t
last_reader(const Emitted *emitted, uint32_t tensor)
{
  uint32_t last = 0;
  for (uint32_t i = 0; i < emitted->call_count; i++)
    if (reads(&emitted->call[i], tensor)) last = i;
  return last;
}

/* A result put onto a tensor that was made before and is read after. Views may lie on what they show, so they stay. */
static void
put_on_living(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = emitted->first_call[FORWARD]; i < emitted->call_count; i++) {
    uint32_t result = call_result(&emitted->call[i], 0);
    if (result == NONE || emitted->place[result] != PLACE_STEP || !emitted->call[i].kernel
        || kernel_is(&emitted->call[i], "Flatten"))
      continue;
    for (uint32_t other = 0; other < emitted->tensor_count; other++) {
      uint32_t writer = emitted->writer[other];
      bool lives =
          writer != NONE && emitted->place[other] == PLACE_STEP && writer < i && last_reader(emitted, other) > i;
      bool is_same_time = lives && (emitted->call[writer].phase == EVALUATE) == (emitted->call[i].phase == EVALUATE);
      if (!is_same_time || overlap(emitted, result, other)) continue;
      unsigned long long offset = emitted->tensor[other].at.offset, bytes = emitted->tensor[result].at.bytes;
      expect_refusal(bench,
                     with_place(bench, result, arena_format(bench->arena, "%lluu", offset),
                                arena_format(bench->arena, "%lluu", bytes)),
                     arena_format(bench->arena, "v%u on v%u", result, other));
    }
  }
  conclude(bench, "a result is put onto a buffer that lives");
}

/* ---- words of a call changed --------------------------------------------------------------------------------------- */

/* The call with the n-th tensor of its IN list replaced. */
static const char *
with_operand(const Bench *bench, const EmittedCall *call, uint32_t index, const char *with)
{
  const char *at = strstr(bench->source + call->position, "IN(") + 3;
  for (uint32_t i = 0; i < index; i++) at = strchr(at, ',') + 2;
  return replaced(bench, (size_t)(at - bench->source), (size_t)(at - bench->source) + strcspn(at, ",)"), with);
}

static void
change_operands(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    for (uint32_t j = 0; j < call->input_count; j++) {
      if (call->input[j] == NONE || call_result(call, 0) == NONE) continue;
      expect_refusal(bench, with_operand(bench, call, j, arena_format(bench->arena, "v%u", call->output[0])),
                     line_of(bench, call));
      expect_refusal(bench, with_operand(bench, call, j, arena_format(bench->arena, "v%u", emitted->tensor_count)),
                     line_of(bench, call));
    }
  }
  conclude(bench, "a call reads its own result, or a tensor that is not there");
}

/* The first `from` at or behind a position, changed to `to`. */
static const char *
changed(const Bench *bench, size_t position, const char *from, const char *to)
{
  const char *at = strstr(bench->source + position, from);
  if (!at) return NULL;
  return replaced(bench, (size_t)(at - bench->source), (size_t)(at - bench->source) + strlen(from), to);
}

static bool
is_coding_call(const EmittedCall *call)
{
  static const char *const names[] = {"QuantizeOnSave", "DequantizeOnBackward", "SelectCoded", "NormalizeOnSave",
                                      "DequantizeNormal", "NormalGradScale", "NormalGradInput", "MeasureSensitivity"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (kernel_is(call, names[i])) return true;
  return false;
}

/* Of a normalized value: what follows it, as its codes were made. Scale, bias and whether a rectifier follows decide what the codes
 * mean. */
static void
change_affine(Bench *bench, const EmittedCall *call)
{
  bool is_writer = kernel_is(call, "NormalizeOnSave"), is_plain = kernel_is(call, "DequantizeNormal");
  if (!is_writer && !is_plain && !kernel_is(call, "NormalGradScale") && !kernel_is(call, "NormalGradInput")) return;
  uint32_t first = is_writer ? 3 : is_plain ? 1 : 2, scale = call->input[first], bias = call->input[first + 1];
  expect_refusal(bench, with_operand(bench, call, first, arena_format(bench->arena, "v%u", bias)), "bias for scale");
  expect_refusal(bench, with_operand(bench, call, first + 1, arena_format(bench->arena, "v%u", scale)), "scale for bias");
  expect_refusal(bench, with_operand(bench, call, first, "NONE"), "no scale");
  const char *save = arena_format(bench->arena, "INT(%lld), ", (long long)call->attribute[0].i);
  const char *from = arena_format(bench->arena, "%sINT(%lld)", save, (long long)call->attribute[1].i);
  expect_refusal(bench, changed(bench, call->position, from, arena_format(bench->arena, "%sINT(%d)", save, !call->attribute[1].i)),
                 "another rectifier");
  expect_refusal(bench, changed(bench, call->position, from, arena_format(bench->arena, "%sINT(2)", save)), "half a rectifier");
}

/* The save's line with `from` behind the spacing's name changed. */
static void
change_save(Bench *bench, uint32_t index, const char *from, const char *to, const char *what)
{
  const EmittedSave *save = &bench->emitted.save[index];
  size_t spacing = (size_t)(strstr(bench->source + save->position, "ACTNN_") - bench->source);
  const char *at = strstr(bench->source + spacing, from);
  bool is_there = at && at < bench->source + line_end(bench, save->position);
  expect_refusal(bench, is_there ? changed(bench, spacing, from, to) : NULL, what);
}

/* The words of the table. Not every spacing can be told from the calls: even, masked and square levels are coded by one kernel. */
static void
change_table(Bench *bench, uint32_t index)
{
  const EmittedSave *save = &bench->emitted.save[index];
  Arena *arena = bench->arena;
  const char *choices = arena_format(arena, ", %u, %u, ", save->choices, index);
  bool is_normal = save->spacing == ACTNN_NORMAL_LEVELS;
  const char *name = is_normal ? "ACTNN_NORMAL_LEVELS" : save->spacing == ACTNN_MASKED_LEVELS ? "ACTNN_MASKED_LEVELS" : "ACTNN_EVEN_LEVELS";
  change_save(bench, index, name, is_normal ? "ACTNN_EVEN_LEVELS" : "ACTNN_NORMAL_LEVELS", "spacing of another kernel");
  change_save(bench, index, name, "ACTNN_FIXED_LEVELS", "a fixed range that is empty");
  change_save(bench, index, name, "ACTNN_SPACINGS", "no spacing");
  change_save(bench, index, "0.0, 0.0", "0.5, 1.0", "a range where none is fixed");
  change_save(bench, index, choices, arena_format(arena, ", 0, %u, ", index), "no choice");
  change_save(bench, index, choices, arena_format(arena, ", 2048, %u, ", index), "256 levels alone");
  change_save(bench, index, choices, arena_format(arena, ", %u, %u, ", save->choices | 4096, index), "a choice that is none");
  change_save(bench, index, choices, arena_format(arena, ", %u, %u, ", save->choices, index + 1), "random stream");
  uint32_t other = bench->emitted.save[index ? 0 : bench->emitted.save_count - 1].tensor;
  expect_refusal(bench,
                 changed(bench, save->position, arena_format(arena, "v%u", save->tensor),
                         arena_format(arena, "v%u", other == save->tensor ? 0 : other)),
                 "stash");
  uint64_t offset = bench->emitted.tensor[save->tensor].at.offset;
  expect_refusal(bench, with_place(bench, save->tensor, arena_format(arena, "%lluu", (unsigned long long)offset), "64u"), "too little room");
}

static void
change_saves(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    bool is_code = is_coding_call(call);
    if (!is_code && !kernel_is(call, "PackBits") && !kernel_is(call, "UnpackBits")) continue;
    const char *from = arena_format(bench->arena, "INT(%lld)", (long long)call->attribute[0].i);
    const char *const to[] = {arena_format(bench->arena, "INT(%lld)", (long long)call->attribute[0].i + 1), "INT(-1)",
                              "INT(9)", "REALS(1.0)"};
    for (size_t k = 0; k < sizeof to / sizeof *to; k++)
      expect_refusal(bench, changed(bench, call->position, from, to[k]), line_of(bench, call));
    if (kernel_is(call, "MeasureSensitivity")) continue;
    expect_refusal(bench, changed(bench, call->position, call->name, is_code ? "UnpackBits" : "DequantizeOnBackward"),
                   line_of(bench, call));
    change_affine(bench, call);
    if (kernel_is(call, "SelectCoded"))
      change_save(bench, (uint32_t)call->attribute[0].i, "ACTNN_MASKED_LEVELS", "ACTNN_EVEN_LEVELS", "no mask in the codes");
  }
  for (uint32_t i = 0; i < emitted->save_count; i++) change_table(bench, i);
  conclude(bench, "a save has another number, other levels, another rectifier or another reader");
}

/* ---- each rule by name ----------------------------------------------------------------------------------------------- */

static void
expect_rule(Bench *bench, const char *rule, const char *what, const char *source, const char *header)
{
  if (!ok(source && header, "there is something to change: %s", what)) return;
  bool is_good = verify(bench, source, header);
  bool is_named = strstr(bench->messages, arena_format(bench->arena, "breaks rule %s:", rule)) != NULL;
  ok(!is_good && is_named, "%s refuses: %s%s%s", rule, what,
     is_named ? "" : "; instead: ", is_named ? "" : bench->messages);
}

static void
try_changes(Bench *bench)
{
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    const Change *change = &changes[i];
    const char *after = strstr(bench->source, change->after);
    expect_rule(bench, change->rule, change->what,
                after ? changed(bench, (size_t)(after - bench->source), change->from, change->to) : NULL,
                bench->header);
  }
  expect_rule(bench, "V9", "a header that redefines RUN", bench->source,
              arena_format(bench->arena, "/* net.h */\n#undef RUN\n#define RUN(a, b, c, d)\n%s",
                           strchr(bench->header, '\n') + 1));
  expect_rule(bench, "V9", "a header that swaps OUT and IN", bench->source,
              arena_format(bench->arena, "%s#define OUT IN\n", bench->header));
}

/* Mutants of single calls that one rule and no other should catch. */
static void
try_calls(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  bool has_update = false, has_save = false, has_statistics = false;
  for (uint32_t i = emitted->first_call[FORWARD]; i < emitted->first_call[BACKWARD + 1]; i++) {
    const EmittedCall *call = &emitted->call[i];
    const char *dropped = replaced(bench, call->position, line_end(bench, call->position), "");
    uint32_t result = call_result(call, 0);
    if (!has_update && result != NONE && emitted->place[result] == PLACE_REPLACING && call->phase == BACKWARD) {
      has_update = true;
      const char *bytes = arena_format(bench->arena, "%lluu", (unsigned long long)emitted->tensor[result].at.bytes);
      const char *step = arena_format(bench->arena, "%lluu", (unsigned long long)emitted->model.variable_bytes);
      expect_rule(bench, "V7", "an update that writes elsewhere", with_place(bench, result, step, bytes),
                  bench->header);
      expect_rule(bench, "V7", "a parameter that becomes frozen, yet is updated",
                  changed(bench, emitted->variable[emitted->home[result]].position, "ACTNN_PARAMETER", "ACTNN_FROZEN"),
                  bench->header);
      expect_rule(bench, "V7", "a variable that is called a parameter and has no update",
                  changed(bench, (size_t)(strstr(bench->source, "variables[]") - bench->source), "ACTNN_OPTIMIZER",
                          "ACTNN_PARAMETER"),
                  bench->header);
      expect_rule(bench, "V6", "an update that is missing", dropped, bench->header);
      expect_rule(bench, "V2", "an update with a weight for its learning rate", with_operand(bench, call, 3, "v0"),
                  bench->header);
      expect_rule(bench, "V6", "a loss that forward does not compute",
                  changed(bench, 0, arena_format(bench->arena, "  .loss = v%u,", emitted->model.loss),
                          arena_format(bench->arena, "  .loss = v%u,", result)),
                  bench->header);
      expect_rule(bench, "V6", "an update that is doubled",
                  replaced(bench, call->position, call->position, line_of(bench, call)), bench->header);
    }
    if (!has_save && kernel_is(call, "QuantizeOnSave")) {
      has_save = true;
      expect_rule(bench, "V6", "a save that is dropped", dropped, bench->header);
      expect_rule(bench, "V6", "a save that is doubled",
                  replaced(bench, call->position, call->position, line_of(bench, call)), bench->header);
      expect_rule(bench, "V5", "a save with another number", changed(bench, call->position, "INT(0)", "INT(1)"),
                  bench->header);
    }
    if (!has_statistics && kernel_is(call, "BatchNorm")) {
      has_statistics = true;
      uint32_t mean = call_result(call, 1), variance = call_result(call, 2);
      const actnn_tensor *at = &emitted->tensor[variance].at;
      expect_rule(bench, "V7", "the running mean written over the variance",
                  with_place(bench, mean, arena_format(bench->arena, "%lluu", (unsigned long long)at->offset),
                             arena_format(bench->arena, "%lluu", (unsigned long long)at->bytes)),
                  bench->header);
    }
  }
  ok(has_update && has_save, "the net has updates and saves");
}

/* Within one call: a result on an operand of a kernel that does not work in place. */
static void
try_sharing(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = emitted->first_call[FORWARD]; i < emitted->first_call[BACKWARD + 1]; i++) {
    const EmittedCall *call = &emitted->call[i];
    uint32_t result = call_result(call, 0), operand = call_operand(call, 0);
    if (!kernel_is(call, "Conv") || result == NONE || emitted->place[operand] != PLACE_STEP) continue;
    expect_rule(bench, "V4", "a convolution that writes over what it reads",
                with_place(bench, result,
                           arena_format(bench->arena, "%lluu", (unsigned long long)emitted->tensor[operand].at.offset),
                           arena_format(bench->arena, "%lluu", (unsigned long long)emitted->tensor[result].at.bytes)),
                bench->header);
    return;
  }
}

/* ---- the compiler's view alone --------------------------------------------------------------------------------------- */

/* The words are the good source's, the text that the compiler reads is another: it must notice by itself. */
static void
try_compiler(Bench *bench)
{
  FILE *nowhere = fopen("/dev/null", "w");
  for (size_t i = 0; nowhere && i < sizeof views / sizeof *views; i++) {
    const char *after = strstr(bench->source, views[i].after);
    const char *mutant = after ? changed(bench, (size_t)(after - bench->source), views[i].from, views[i].to) : NULL;
    Emitted emitted = bench->emitted;
    if (!ok(mutant != NULL, "there is something to change: %s", views[i].what)) continue;
    emitted.source = mutant;
    emitted.source_length = strlen(mutant);
    emitted.findings = nowhere;
    ok(!check_with_compiler(&emitted), "the compiler's view refuses: %s", views[i].what);
  }
  if (nowhere) fclose(nowhere);
}

/* A child that may not have memory is a refusal, not an acceptance. */
static void
try_without_memory(Bench *bench)
{
  struct rlimit before, tight;
  if (getrlimit(RLIMIT_AS, &before)) return;
  tight = before;
  tight.rlim_cur = 1 << 20;
  setrlimit(RLIMIT_AS, &tight);
  bool is_good = verify(bench, bench->source, bench->header);
  setrlimit(RLIMIT_AS, &before);
  ok(!is_good, "a verifier without memory refuses");
}

/* ---- all --------------------------------------------------------------------------------------------------------------- */

static void
test_model(const char *model, const char *optimizer, const char *scheme, bool by_name)
{
  Bench bench = {0};
  if (start(&bench, model, optimizer, scheme)) {
    bool is_accepted = verify(&bench, bench.source, bench.header);
    ok(is_accepted, "what the emitter makes is accepted%s", is_accepted ? "" : bench.messages);
    if (is_accepted && ok(look_at(&bench), "and read here")) {
      drop_and_double(&bench);
      swap_neighbours(&bench);
      move_calls(&bench);
      misplace(&bench);
      put_on_living(&bench);
      change_operands(&bench);
      change_saves(&bench);
      if (by_name) {
        try_changes(&bench);
        try_calls(&bench);
        try_sharing(&bench);
        try_compiler(&bench);
        try_without_memory(&bench);
      }
    }
  }
  finish(&bench);
}

int
main(void)
{
  test_model(NULL, "sgd", "actnn", true);
  test_model(NULL, "sgd", "actnnc", false);
  test_model(NULL, "adam", "actnnc", false);
  test_model("lenet5.onnx", "adamw", "actnn", false);
  test_model("lenet5.onnx", "adamw", "actnnc", false);
  return tap_done();
}
