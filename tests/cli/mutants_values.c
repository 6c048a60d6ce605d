/* mutants_values.c: mutants of codes (V5) and of definitions before use (V6); see mutants.h. */
#include "mutants.h"

/* ---- V5: codes are written once and read as they were written ----------------------------------------------------------- */

static bool
is_coding(const EmittedCall *call)
{
  static const char *const names[] = {"QuantizeOnSave", "NormalizeOnSave", "DequantizeOnBackward", "DequantizeAffine", "SelectCoded", "MultiplyCoded",
                                      "DequantizeNormal", "NormalGradScale", "NormalGradInput", "SaveExact", "RestoreExact",
                                      "PackBits", "UnpackBits"};
  return is_one_of(call->name, names, COUNT(names));
}

static bool
packs(const EmittedCall *call)
{
  return kernel_is(call, "PackBits") || kernel_is(call, "UnpackBits");
}

/* The operands or results that are codes. */
static bool
is_stash(const Bench *bench, uint32_t tensor)
{
  return tensor != NONE && bench->emitted.tensor[tensor].at.layout == ACTNN_STASH;
}

static void
change_coding_call(Bench *bench, const EmittedCall *call)
{
  for (uint32_t k = 0; k < call->attribute_count; k++) {
    if (call->attribute[k].kind != ACTNN_INT) continue;
    int64_t own = call->attribute[k].i;
    for (int64_t other = -2; other < 12; other++)
      if (other != own) change(bench, "another number or other bits", attribute_of(bench, call, k), FORMAT("INT(%lld)", (long long)other));
    change(bench, "numbers for a number", attribute_of(bench, call, k), FORMAT("INTS(%lld)", (long long)own));
    change(bench, "no number", attribute_of(bench, call, k), "ABSENT");
    change(bench, "a number far away", attribute_of(bench, call, k), "INT(9223372036854775807)");
  }
  const char *const other = packs(call) ? "DequantizeOnBackward" : "UnpackBits";
  change(bench, "another reader or writer", callee_of(bench, call), FORMAT("actnn_%s", other));
}

/* Codes read as another save's, by what is no restore, or in place of a value. */
static void
change_coding_operands(Bench *bench, const EmittedCall *call)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t k = 0; k < call->input_count; k++)
    for (uint32_t other = 0; other < emitted->tensor_count && call->input[k] != NONE; other++) {
      bool breaks = is_stash(bench, other) || (is_stash(bench, call->input[k]) && (other + k) % 3 == 0);
      if (breaks && other != call->input[k])
        change(bench, "codes for a value, for other codes, or the other way round", operand_of(bench, call, k), FORMAT("v%u", other));
    }
  for (uint32_t k = 0; k < call->output_count; k++)
    for (uint32_t other = 0; other < emitted->tensor_count && is_stash(bench, call->output[k]); other++)
      if (other != call->output[k] && is_stash(bench, other))
        change(bench, "codes written for another save", result_of(bench, call, k), FORMAT("v%u", other));
}

/* Of a normalized value: scale, bias and whether a rectifier follows decide what the codes mean. */
static void
change_affine(Bench *bench, const EmittedCall *call)
{
  bool is_writer = kernel_is(call, "NormalizeOnSave"), is_plain = kernel_is(call, "DequantizeNormal");
  if (!is_writer && !is_plain && !kernel_is(call, "NormalGradScale") && !kernel_is(call, "NormalGradInput")) return;
  uint32_t first = is_writer ? 3 : is_plain ? 1 : 2;
  Span scale = operand_of(bench, call, first), bias = operand_of(bench, call, first + 1);
  change(bench, "bias for scale", scale, text_of(bench, bias));
  change(bench, "scale for bias", bias, text_of(bench, scale));
  change_two(bench, "scale and bias swapped", scale, text_of(bench, bias), bias, text_of(bench, scale));
}

static void
drop_and_double(Bench *bench, const EmittedCall *call)
{
  Span line = call_line(bench, call);
  change(bench, "a call is dropped", line, "");
  insert(bench, "a call is doubled", call->position, FORMAT("%s  ", text_of(bench, line)));
}

/* A save early, before its value is made, or in backward; a restore in forward. */
static void
move_coding_call(Bench *bench, const EmittedCall *call)
{
  const Emitted *emitted = &bench->emitted;
  const EmittedCall *const places[] = {&emitted->call[emitted->first_call[FORWARD]], &emitted->call[emitted->first_call[BACKWARD]],
                                       &emitted->call[emitted->first_call[BACKWARD + 1] - 1]};
  const char *text = FORMAT("%s  ", text_of(bench, call_line(bench, call)));
  for (size_t i = 0; i < COUNT(places); i++) {
    uint32_t maker = emitted->writer[call->input[0]];
    bool is_writer = call->phase == FORWARD, breaks = is_writer ? i > 0 || maker != NONE : i == 0;
    Span there = {places[i]->position, places[i]->position};
    if (places[i] != call && breaks) change_two(bench, "codes early or late", call_line(bench, call), "", there, text);
  }
}

static void
change_room(Bench *bench, uint32_t stash)
{
  const actnn_tensor *at = &bench->emitted.tensor[stash].at;
  Span offset = field_of(bench, stash, OFFSET), bytes = field_of(bench, stash, BYTES);
  const uint64_t lengths[] = {at->bytes + 64, at->bytes - 64, at->bytes * 2, at->bytes * 16, 64, at->bytes + 4096};
  for (size_t i = 0; i < COUNT(lengths); i++)
    if (lengths[i] && lengths[i] != at->bytes) change(bench, "another length of codes", bytes, decimal(bench, lengths[i]));
  for (uint32_t other = 0; other < bench->emitted.tensor_count; other++) {
    if (other == stash || !is_stash(bench, other)) continue;
    const actnn_tensor *b = &bench->emitted.tensor[other].at;
    if (bench->emitted.place[stash] != PLACE_POOL || bench->emitted.place[other] != PLACE_POOL) continue;
    if (b->offset != at->offset) { /* in a window all have its start */
      change(bench, "codes over other codes", offset, decimal(bench, b->offset));
      change_two(bench, "codes swap places", offset, decimal(bench, b->offset), field_of(bench, other, OFFSET), decimal(bench, at->offset));
    }
    if (b->bytes != at->bytes)
      change_two(bench, "codes swap lengths", bytes, decimal(bench, b->bytes), field_of(bench, other, BYTES), decimal(bench, at->bytes));
  }
}

static void
change_kind_of_codes(Bench *bench, uint32_t stash)
{
  const actnn_tensor *at = &bench->emitted.tensor[stash].at;
  Span extents = field_of(bench, stash, EXTENTS);
  for (int axis = 0; axis < at->rank; axis++)
    change(bench, "codes of another extent", item_of(bench, extents.from, (uint32_t)axis), FORMAT("%lld", (long long)at->dim[axis] + 1));
  change(bench, "codes as values", field_of(bench, stash, LAYOUT), "ACTNN_PLAIN");
  change(bench, "codes as numbers", field_of(bench, stash, TYPE), "ACTNN_F32");
}

static void
change_save(Bench *bench, uint32_t index)
{
  static const char *const spacings[] = {"ACTNN_EVEN_LEVELS", "ACTNN_FIXED_LEVELS", "ACTNN_MASKED_LEVELS", "ACTNN_SQUARE_LEVELS",
                                         "ACTNN_NORMAL_LEVELS", "ACTNN_SPACINGS"};
  const EmittedSave *save = &bench->emitted.save[index];
  const uint32_t at = save->position;
  const char *own = text_of(bench, table_field(bench, at, SAVE_SPACING));
  for (size_t i = 0; i < COUNT(spacings); i++)
    if (strcmp(spacings[i], own)) change(bench, "other levels", table_field(bench, at, SAVE_SPACING), spacings[i]);
  for (uint32_t bit = 0; bit < 16; bit++)
    change(bench, "other choices", table_field(bench, at, SAVE_CHOICES), FORMAT("%u", save->choices ^ 1u << bit));
  static const uint32_t choices[] = {0, 2048, 65535, 1};
  for (size_t i = 0; i < COUNT(choices); i++)
    if (choices[i] != save->choices) change(bench, "other choices", table_field(bench, at, SAVE_CHOICES), FORMAT("%u", choices[i]));
  if (save->low != 0.5) change(bench, "another range", table_field(bench, at, SAVE_LOW), "0.5");
  if (save->high != 0.25) change(bench, "another range", table_field(bench, at, SAVE_HIGH), "0.25");
  for (uint32_t i = 0; i <= bench->emitted.save_count; i++)
    if (i != index) change(bench, "another save's random stream", table_field(bench, at, SAVE_RANDOM), FORMAT("%u", i));
  for (uint32_t other = 0; other < bench->emitted.tensor_count; other++)
    if (other != save->tensor && (is_stash(bench, other) || other % 9 == 0))
      change(bench, "another stash", table_field(bench, at, SAVE_STASH), FORMAT("v%u", other));
  change(bench, "no stash", table_field(bench, at, SAVE_STASH), "NONE");
}

void
mutate_codes(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    change_coding_operands(bench, call);
    if (!is_coding(call)) continue;
    change_coding_call(bench, call);
    change_affine(bench, call);
    drop_and_double(bench, call);
    move_coding_call(bench, call);
  }
  for (uint32_t i = 0; i < emitted->tensor_count; i++)
    if (is_stash(bench, i)) {
      change_room(bench, i);
      change_kind_of_codes(bench, i);
    }
  for (uint32_t i = 0; i < emitted->save_count; i++) change_save(bench, i);
}

/* ---- V6: defined before use, once ---------------------------------------------------------------------------------------- */

/* Operands that are not there yet: made by this call, later, or in another function. */
static void
read_too_early(Bench *bench, uint32_t index)
{
  const Emitted *emitted = &bench->emitted;
  const EmittedCall *call = &emitted->call[index];
  for (uint32_t k = 0; k < call->input_count; k++)
    for (uint32_t other = (index + k) % 7; other < emitted->tensor_count && call->input[k] != NONE; other += 7) {
      uint32_t writer = emitted->writer[other];
      Place place = emitted->place[other];
      bool is_given = place == PLACE_INPUT || place == PLACE_VARIABLE || place == PLACE_CONSTANT;
      bool is_early = is_given ? call->phase == INITIALIZE && place != PLACE_CONSTANT
                               : writer >= index || !same_time(emitted, writer, index);
      if (is_early && other != call->input[k])
        change(bench, "a tensor that is not there yet", operand_of(bench, call, k), FORMAT("v%u", other));
    }
}

static void
write_again(Bench *bench, uint32_t index)
{
  const Emitted *emitted = &bench->emitted;
  const EmittedCall *call = &emitted->call[index];
  for (uint32_t k = 0; k < call->output_count; k++) {
    if (call->output[k] == NONE) continue;
    change(bench, "a tensor that nobody writes", result_of(bench, call, k), "NONE");
    for (uint32_t other = (index * 3 + k) % 11; other < emitted->tensor_count; other += 11)
      if (other != call->output[k]) change(bench, "a tensor that is written already", result_of(bench, call, k), FORMAT("v%u", other));
  }
}

/* Behind its first reader; in front of what makes its last operand. */
static void
move_definitions(Bench *bench, uint32_t index)
{
  const Emitted *emitted = &bench->emitted;
  const EmittedCall *call = &emitted->call[index];
  const char *text = FORMAT("  %s", text_of(bench, call_line(bench, call)));
  for (uint32_t k = 0; k < call->output_count; k++)
    for (uint32_t i = index + 1; call->output[k] != NONE && i < emitted->first_call[call->phase + 1]; i++)
      if (reads_tensor(&emitted->call[i], call->output[k])) {
        size_t behind = call_line(bench, &emitted->call[i]).to;
        change_two(bench, "a call behind one that reads its result", call_line(bench, call), "", (Span){behind, behind}, text);
      }
  for (uint32_t k = 0; k < call->input_count; k++) {
    uint32_t maker = call->input[k] == NONE ? NONE : emitted->writer[call->input[k]];
    if (maker == NONE || emitted->call[maker].phase != call->phase) continue;
    Span before = {emitted->call[maker].position, emitted->call[maker].position};
    change_two(bench, "a call in front of one that makes its operand", call_line(bench, call), "", before, FORMAT("%s  ", text + 2));
  }
  for (EmittedPhase phase = INITIALIZE; phase < EMITTED_PHASES; phase++) {
    if (phase == call->phase || emitted->first_call[phase] == emitted->first_call[phase + 1]) continue;
    uint32_t last = emitted->first_call[phase + 1] - 1;
    size_t end = call_line(bench, &emitted->call[last]).to;
    bool is_needed = last_reader(emitted, call_result(call, 0)) != NONE;
    if (is_needed && (phase == INITIALIZE || phase == EVALUATE) && call->phase != INITIALIZE)
      change_two(bench, "a call in another function", call_line(bench, call), "", (Span){end, end}, text);
  }
}

static void
name_others(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  static const struct {
    const char *field;
    EmittedPhase phase;
  } wanted[] = {{"loss", FORWARD}, {"evaluation_loss", EVALUATE}, {"evaluation_output", EVALUATE}, {"evaluation_losses", EVALUATE},
                {"training_output", FORWARD}};
  for (size_t i = 0; i < COUNT(wanted); i++) {
    Span span = model_field(bench, wanted[i].field);
    for (uint32_t other = 0; other < emitted->tensor_count && strcmp(text_of(bench, span), "NONE"); other += 3) {
      uint32_t writer = emitted->writer[other];
      if (emitted->place[other] == PLACE_STEP && emitted->call[writer].phase != wanted[i].phase)
        change(bench, "a result that is not made there", span, FORMAT("v%u", other));
    }
  }
  for (uint32_t i = 0; i < emitted->variable_count; i++) {
    const EmittedVariable *variable = &emitted->variable[i];
    Span drawn = table_field(bench, variable->position, VARIABLE_DRAWN);
    change(bench, "drawn, or not, as it is not", drawn, variable->drawn ? "false" : "true");
  }
}

void
mutate_definitions(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    if (call_result(&emitted->call[i], 0) != NONE) drop_and_double(bench, &emitted->call[i]);
    read_too_early(bench, i);
    write_again(bench, i);
    move_definitions(bench, i);
  }
  name_others(bench);
}
