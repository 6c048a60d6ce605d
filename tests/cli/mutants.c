/* mutants.c: sources to change, edits of them, and what the verifier says; see mutants.h. */
#include "mutants.h"

#include "../../passes/passes.h"
#include "../../src/emit.h"
#include "../../src/onnx_export.h"
#include "../../src/verify_source.h"
#include "../random/emission.h"

#include <stdlib.h>

/* ---- sources ----------------------------------------------------------------------------------------------------- */

static const char convolutional[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "net (float[N,3,16,16] image) => (float[N,10] logits)\n"
    "<float[16,3,3,3] w1 = [\"location\" : \"none\"], float[16] s1 = [\"location\" : \"none\"],\n"
    " float[16] b1 = [\"location\" : \"none\"], float[16] m1 = [\"location\" : \"none\"], float[16] v1 = [\"location\" : \"none\"],\n"
    " float[16,16,3,3] w2 = [\"location\" : \"none\"],\n"
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

/* Constants that are seldom: the least integer, the largest real, integers of 32 bits; a weight that is broadcast over samples. */
static const char unusual[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "net (float[N,3,16,16] image) => (float[N,10] logits)\n"
    "<float[16,3,3,3] w1 = [\"location\" : \"none\"], float[1,16,1,1] w2 = [\"location\" : \"none\"],\n"
    " float[10,4096] w3 = [\"location\" : \"none\"], float[10] b3 = [\"location\" : \"none\"],\n"
    " int64[1] start = {-1}, int64[1] end = {-9223372036854775808}, int32[1] axis = {3}, int64[1] step = {-1},\n"
    " float least = {-1}, float most = {inf}>\n"
    "{\n"
    "  [reverse] r1 = Slice (image, start, end, axis, step)\n"
    "  [clip] c1 = Clip (r1, least, most)\n"
    "  [conv] k1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (c1, w1)\n"
    "  [scale] m1 = Mul (k1, w2)\n"
    "  [sigmoid] g1 = Sigmoid (m1)\n"
    "  [drop] d1 = Dropout (g1)\n"
    "  [flat] f1 = Flatten (d1)\n"
    "  [output] logits = Gemm <transB = 1> (f1, w3, b3)\n"
    "}\n";

/* Statistics of two normalizations, weights of two convolutions, one value saved for two; a weight that is broadcast before a product. */
static const char shared[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "net (float[N,16,12,12] image) => (float[N,10] logits)\n"
    "<float[16,16,3,3] w1 = [\"location\" : \"none\"], float[16,16,3,3] w2 = [\"location\" : \"none\"],\n"
    " float[16,16,3,3] w3 = [\"location\" : \"none\"],\n"
    " float[16] s1 = [\"location\" : \"none\"], float[16] b1 = [\"location\" : \"none\"], float[16] m1 = [\"location\" : \"none\"],\n"
    " float[16] v1 = [\"location\" : \"none\"], float[2304,1] w4 = [\"location\" : \"none\"], int64[2] extents = {2304, 10}>\n"
    "{\n"
    "  [conv1] c1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, w1)\n"
    "  [relu1] r1 = Relu (c1)\n"
    "  [conv2] c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r1, w2)\n"
    "  [conv3] c3 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r1, w3)\n"
    "  [norm1] n1, rm, rv = BatchNormalization <training_mode = 1> (c2, s1, b1, m1, v1)\n"
    "  [norm2] n2, rm2, rv2 = BatchNormalization <training_mode = 1> (c3, s1, b1, m1, v1)\n"
    "  [join] a1 = Add (n1, n2)\n"
    "  [sigmoid] g1 = Sigmoid (a1)\n"
    "  [conv4] c4 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (g1, w1)\n"
    "  [flat] f1 = Flatten (c4)\n"
    "  [spread] w5 = Expand (w4, extents)\n"
    "  [output] logits = MatMul (f1, w5)\n"
    "}\n";

/* First values in two steps, updates without an optimizer, and a state that nothing reads. */
static const char algorithm[] =
    "<ir_version: 8, opset_import: [\"\" : 17, \"ai.onnx.preview.training\" : 1],\n"
    " metadata_props: [\"actnn.training_algorithm\" : \"yes\", \"actnn.state\" : \"last\", \"actnn.constant\" : \"rate\",\n"
    " \"actnn.updates\" : \"next=w next2=w2 next3=w3 written=last\", \"actnn.drawn_from\" : \"w=drawn\"]>\n"
    "net (float[4,8] x) => (float l)\n"
    "<float[8] w = [\"location\" : \"none\"], float[8] w2 = {1, 2, 3, 4, 5, 6, 7, 8}, float[8] w3 = {1, 1, 2, 1, 1, 1, 1, 1},\n"
    " float[8] last = [\"location\" : \"none\"], float rate = {0.1}>\n"
    "{\n"
    "  normal = RandomNormal <shape = [8], phase = \"initialize\"> () drawn = Mul <phase = \"initialize\"> (normal, rate)\n"
    "  y = Mul (x, w) z = Mul (y, w2) s = Add (z, w3) l = ReduceMean <keepdims = 0> (s)\n"
    "  g, g2 = ai.onnx.preview.training.Gradient <xs = [\"w\", \"w2\"], y = \"l\", phase = \"backward\"> (w, w2)\n"
    "  scaled = Mul <phase = \"update\"> (g, rate) next = Sub <phase = \"update\"> (w, scaled)\n"
    "  scaled2 = Mul <phase = \"update\"> (g2, rate) turned = Neg <phase = \"update\"> (scaled2)\n"
    "  next2 = Add <phase = \"update\"> (turned, w2)\n"
    "  next3 = Mul <phase = \"update\"> (w3, rate) written = Add <phase = \"update\"> (scaled, scaled2)\n"
    "}\n";

/* Samples of few elements, which are saved as they are, and a layer that is coded. */
static const char narrow[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "net (float[N,64] x) => (float[N,10] logits)\n"
    "<float[64,64] w1 = [\"location\" : \"none\"], float[64,64] w2 = [\"location\" : \"none\"],\n"
    " float[64,64] w3 = [\"location\" : \"none\"], float[64,64] w4 = [\"location\" : \"none\"],\n"
    " float[64,64] w5 = [\"location\" : \"none\"], float[64,64] w6 = [\"location\" : \"none\"],\n"
    " float[64,128] wide = [\"location\" : \"none\"],\n"
    " float[128,10] w = [\"location\" : \"none\"]>\n"
    "{\n"
    "  h0 = Tanh (x)\n"
    "  p1 = MatMul (h0, w1) h1 = Tanh (p1)\n"
    "  p2 = MatMul (h1, w2) h2 = Tanh (p2)\n"
    "  p3 = MatMul (h2, w3) h3 = Tanh (p3)\n"
    "  p4 = MatMul (h3, w4) h4 = Tanh (p4)\n"
    "  p5 = MatMul (h4, w5) h5 = Tanh (p5)\n"
    "  p6 = MatMul (h5, w6) h6 = Tanh (p6)\n"
    "  p7 = MatMul (h6, wide) h7 = Tanh (p7)\n"
    "  logits = MatMul (h7, w)\n"
    "}\n";

const Origin origins[] = {
    {.what = "a convolutional net, sgd, actnn's codes", .text = convolutional, .optimizer = "sgd", .scheme = "actnn", .batch = 4},
    {.what = "a convolutional net, sgd", .text = convolutional, .optimizer = "sgd", .scheme = "actnnc", .batch = 4},
    {.what = "a convolutional net, adam", .text = convolutional, .optimizer = "adam", .scheme = "actnnc", .batch = 4},
    {.what = "unusual constants, adam", .text = unusual, .optimizer = "adam", .scheme = "actnnc", .batch = 4},
    {.what = "what is shared, sgd", .text = shared, .optimizer = "sgd", .scheme = "actnnc", .batch = 4},
    {.what = "an algorithm of its own", .text = algorithm, .optimizer = "sgd", .scheme = "actnnc"},
    {.what = "lenet5, adamw, actnn's codes", .model = "lenet5.onnx", .optimizer = "adamw", .scheme = "actnn", .batch = 8},
    {.what = "lenet5, sgd", .model = "lenet5.onnx", .optimizer = "sgd,momentum=0", .scheme = "actnnc", .batch = 8},
    {.what = "lenet5 in bfloat16, adam", .model = "lenet5.onnx", .optimizer = "adam", .scheme = "actnnc", .batch = 8, .is_bfloat = true},
    {.what = "a convolutional net on a GPU, codes in the host's memory", .text = convolutional, .optimizer = "sgd", .scheme = "actnnc", .batch = 4,
     .level = 5, .is_for_gpu = true},
    {.what = "decoder for a GPU, adam", .model = "decoder.onnx", .optimizer = "adam", .scheme = "actnnc", .batch = 2, .is_for_gpu = true},
    {.what = "samples of few elements on a GPU, as they are in the host's memory", .text = narrow, .optimizer = "sgd", .scheme = "actnnc",
     .batch = 512, .level = 5, .is_for_gpu = true},
    {.what = "a random graph, sgd, actnn's codes", .graph = LARGE_GRAPHS + 8, .optimizer = "sgd", .scheme = "actnn"},
    {.what = "another random graph, adam", .graph = LARGE_GRAPHS + 10, .optimizer = "adam", .scheme = "actnnc"},
    {.what = "a small random graph, adagrad", .graph = 17, .optimizer = "adagrad", .scheme = "actnnc"}};

const size_t origin_count = COUNT(origins);

/* ---- a trainer to change ---------------------------------------------------------------------------------------- */

static bool
emit_program(Bench *bench, Program *program)
{
  const Options *options = &bench->options;
  size_t source_length, header_length;
  bench->program = program;
  for (size_t i = 0; i < pass_count; i++)
    if (!passes[i].run(program, options)) return false;
  if (!finish_inference_model(program)) return false;
  bench->source = emit_source(program, options, "net", bench->arena, &source_length);
  bench->header = emit_header("net", bench->arena, &header_length);
  bench->kernels = options->is_for_gpu ? emit_kernels(program, "net", bench->arena, &bench->kernels_length) : NULL;
  return source_length == strlen(bench->source) && header_length == strlen(bench->header);
}

static bool
emit_origin(Bench *bench, const Origin *origin)
{
  bench->options = (Options){.level = origin->level ? origin->level : 3,
                             .scheme = origin->scheme,
                             .batch = origin->batch,
                             .loss = origin->loss ? origin->loss : "softmax-cross-entropy",
                             .optimizer = origin->optimizer,
                             .is_for_gpu = origin->is_for_gpu,
                             .is_bfloat = origin->is_bfloat,
                             .dimension = {{"T", 8}},
                             .dimension_count = origin->model && strstr(origin->model, "decoder") ? 1 : 0,
                             .command_line = "actnnc"};
  Program *program;
  if (origin->model) {
    const char *root = getenv("top_srcdir");
    program = import_model(arena_format(bench->arena, "%s/models/%s", root ? root : ".", origin->model), bench->diagnostics);
  } else if (origin->text) {
    program = parse_program("net.onnxtxt", origin->text, strlen(origin->text), bench->diagnostics);
  } else {
    RandomGraph *graph = make_random_graph(origin->graph, bench->arena, bench->diagnostics);
    const char *text = print_program(graph->program, bench->arena);
    bench->options.loss = graph->loss;
    program = parse_program("net", text, strlen(text), bench->diagnostics);
    program_destroy(graph->program);
  }
  return program && emit_program(bench, program);
}

/* The verifier's own view of the good source. */
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
                       .header_length = strlen(bench->header),
                       .kernels = bench->kernels,
                       .kernels_length = bench->kernels_length,
                       .program = bench->program,
                       .options = &bench->options};
  return check_rules(emitted);
}

enum { CALLS_OF_A_LONG_SOURCE = 100 };

const char *
start_bench(Bench *bench, const Origin *origin)
{
  *bench = (Bench){.arena = arena_create(), .scratch = arena_create(), .what = origin->what, .knows_program = true};
  bench->diagnostics = diagnostics_create(bench->arena);
  bench->diagnostics->stream = open_memstream(&bench->messages, &bench->message_bytes);
  bench->diagnostics->limit = 1000000;
  bool is_emitted = emit_origin(bench, origin);
  fflush(bench->diagnostics->stream);
  if (!is_emitted || !verify_text(bench, bench->source, bench->header)) return bench->messages;
  if (!look_at(bench)) return "it is refused in this process alone";
  return NULL;
}

unsigned
thinning(const Bench *bench)
{
  return 1 + bench->emitted.call_count / CALLS_OF_A_LONG_SOURCE;
}

void
finish_bench(Bench *bench)
{
  fclose(bench->diagnostics->stream);
  free(bench->messages);
  free(bench->mutant);
  if (bench->program) program_destroy(bench->program);
  arena_destroy(bench->scratch);
  arena_destroy(bench->arena);
}

/* The rules without the child process, told in the same words. */
static bool
verify_here(Bench *bench, const char *source, const char *header, const Program *program)
{
  char *findings = NULL;
  size_t length = 0;
  Emitted emitted = {.arena = arena_create(),
                     .findings = open_memstream(&findings, &length),
                     .name = "net",
                     .source = source,
                     .header = header,
                     .source_length = strlen(source),
                     .header_length = strlen(header),
                     .kernels = bench->kernels ? bench->kernels : "",
                     .kernels_length = bench->kernels_length,
                     .program = program,
                     .options = &bench->options};
  bool is_good = check_rules(&emitted);
  fclose(emitted.findings);
  arena_destroy(emitted.arena);
  if (!is_good) fprintf(bench->diagnostics->stream, "breaks rule %.*s: %s", (int)strcspn(findings, "\t"), findings, findings);
  free(findings);
  return is_good;
}

bool
verify_text(Bench *bench, const char *source, const char *header)
{
  const Program *program = bench->knows_program ? bench->program : NULL;
  const EmittedText text = {.name = "net", .source = source, .source_length = strlen(source), .header = header,
                            .header_length = strlen(header), .kernels = bench->kernels, .kernels_length = bench->kernels_length};
  rewind(bench->diagnostics->stream);
  bool is_good = getenv("IN_PROCESS") ? verify_here(bench, source, header, program)
                                      : verify_source(bench->diagnostics, "net.c", &text, program, &bench->options);
  fputc(0, bench->diagnostics->stream);
  fflush(bench->diagnostics->stream);
  return is_good;
}

/* ---- edits -------------------------------------------------------------------------------------------------------- */

static int
compare_edits(const void *left, const void *right)
{
  const Edit *a = left, *b = right;
  if (a->span.from != b->span.from) return a->span.from < b->span.from ? -1 : 1;
  return a->span.to < b->span.to ? -1 : a->span.to > b->span.to; /* insertions before what is replaced there */
}

const char *
edited(Bench *bench, const Edit *edits, size_t count)
{
  Edit *sorted = arena_array(bench->scratch, count, sizeof *sorted);
  size_t length = strlen(bench->source) + 1, at = 0, to = 0;
  memcpy(sorted, edits, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, compare_edits);
  for (size_t i = 0; i < count; i++) length += strlen(edits[i].with);
  if (length > bench->mutant_capacity) {
    bench->mutant_capacity = length * 2;
    bench->mutant = realloc(bench->mutant, bench->mutant_capacity);
    if (!bench->mutant) abort();
  }
  for (const Edit *edit = sorted; edit < sorted + count; edit++) {
    if (edit->span.from < at) abort(); /* two overlap */
    size_t before = edit->span.from - at, with = strlen(edit->with);
    memcpy(bench->mutant + to, bench->source + at, before);
    memcpy(bench->mutant + to + before, edit->with, with);
    to += before + with;
    at = edit->span.to;
  }
  strcpy(bench->mutant + to, bench->source + at);
  return bench->mutant;
}

/* ---- counting ------------------------------------------------------------------------------------------------------ */

/* Texts seen so far, by their hashes: open addressing, zero is an empty place. */
static uint64_t *seen;
static size_t seen_count, seen_capacity;

static uint64_t
hash_bytes(const char *text, size_t length, uint64_t hash)
{
  uint64_t word;
  for (; length >= sizeof word; text += sizeof word, length -= sizeof word) {
    memcpy(&word, text, sizeof word);
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  for (; length; length--) hash = (hash ^ (unsigned char)*text++) * 1099511628211u;
  return hash ? hash : 1;
}

static size_t
place_of(uint64_t hash)
{
  size_t at = (size_t)(hash ^ hash >> 32) & (seen_capacity - 1);
  while (seen[at] && seen[at] != hash) at = (at + 1) & (seen_capacity - 1);
  return at;
}

static bool
is_new(const char *text, Judge judge)
{
  if (seen_count * 2 >= seen_capacity) {
    uint64_t *before = seen;
    size_t capacity = seen_capacity;
    seen_capacity = capacity ? capacity * 2 : 1 << 16;
    seen = calloc(seen_capacity, sizeof *seen);
    if (!seen) abort();
    for (size_t i = 0; i < capacity; i++)
      if (before[i]) seen[place_of(before[i])] = before[i];
    free(before);
  }
  uint64_t hash = hash_bytes(text, strlen(text), 14695981039346656037u + judge);
  size_t at = place_of(hash);
  if (seen[at]) return false;
  seen[at] = hash;
  seen_count++;
  return true;
}

/* ---- trying ---------------------------------------------------------------------------------------------------------- */

static bool
is_refused_by_compiler(const Bench *bench, const char *mutant, const char *header, bool *is_named)
{
  char *findings = NULL;
  size_t length = 0;
  Emitted emitted = bench->emitted;
  emitted.arena = arena_create();
  emitted.source = mutant;
  emitted.source_length = strlen(mutant);
  emitted.header = header;
  emitted.header_length = strlen(header);
  emitted.rule = "V1";
  emitted.findings = open_memstream(&findings, &length);
  bool is_good = check_with_compiler(&emitted);
  fclose(emitted.findings);
  *is_named = !strncmp(findings, bench->rule, strlen(bench->rule)) && findings[strlen(bench->rule)] == '\t';
  free(findings);
  arena_destroy(emitted.arena);
  return !is_good;
}

/* A crash or a lack of time is no refusal: the message must name a rule. */
bool
is_refused(Bench *bench, Judge judge, const char *source, const char *header, bool *is_named)
{
  if (judge == COMPILER) return is_refused_by_compiler(bench, source, header, is_named);
  bool is_good = verify_text(bench, source, header);
  *is_named = strstr(bench->messages, FORMAT("breaks rule %s:", bench->rule)) != NULL;
  return !is_good && strstr(bench->messages, "breaks rule V") != NULL;
}

/* The first line that differs. */
static const char *
first_difference(const Bench *bench, const char *mutant)
{
  size_t at = 0, start;
  while (mutant[at] && mutant[at] == bench->source[at]) at++;
  for (start = at; start && mutant[start - 1] != '\n';) start--;
  return arena_format(bench->scratch, "%.*s", (int)strcspn(mutant + start, "\n"), mutant + start);
}

/* One number in `of`, without a period that could fall together with that of places and kinds. */
static bool
is_turn(unsigned number, unsigned of)
{
  return ((uint32_t)(number * 2654435761u) >> 7) % of == 0;
}

enum { MOST_SHOWN = 20 };

static void
try_mutant(Bench *bench, Judge judge, const char *kind, const char *source, const char *header)
{
  bool is_named = false;
  Count *count = bench->count;
  count->made++;
  if (!is_turn(count->made, bench->every)) return;
  count->tried++;
  if (is_refused(bench, judge, source, header, &is_named)) {
    count->refused++;
    count->named += is_named;
    if (getenv("SHOW") && !is_named) printf("# %s, %s, by another name: %s: %.150s\n", bench->rule, bench->what, kind, bench->messages);
  } else if (count->tried - count->refused <= MOST_SHOWN) {
    printf("# %s, %s, accepted: %s: %.300s\n", bench->rule, bench->what, kind, first_difference(bench, source));
  }
}

void
mutate(Bench *bench, Judge judge, const char *kind, const Edit *edits, size_t count)
{
  if (!is_turn(bench->offered++, bench->thin)) return;
  const char *mutant = edited(bench, edits, count);
  if (!strcmp(mutant, bench->source)) {
    printf("# %s: %s changes nothing: '%s'\n", bench->rule, kind, edits[0].with);
    abort();
  }
  if (is_new(mutant, judge)) try_mutant(bench, judge, kind, mutant, bench->header);
}

void
mutate_header(Bench *bench, const char *kind, const char *header)
{
  if (is_new(header, VERIFIER)) try_mutant(bench, VERIFIER, kind, bench->source, header);
}

void
change(Bench *bench, const char *kind, Span span, const char *with)
{
  mutate(bench, VERIFIER, kind, &(Edit){span, with}, 1);
}

void
insert(Bench *bench, const char *kind, size_t at, const char *text)
{
  change(bench, kind, (Span){at, at}, text);
}

void
change_two(Bench *bench, const char *kind, Span one, const char *with_one, Span other, const char *with_other)
{
  const Edit edits[] = {{one, with_one}, {other, with_other}};
  mutate(bench, VERIFIER, kind, edits, 2);
}

void
change_for_compiler(Bench *bench, const char *kind, Span span, const char *with)
{
  mutate(bench, COMPILER, kind, &(Edit){span, with}, 1);
}
