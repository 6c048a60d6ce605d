/* fuzz_compile.c: the whole translator in memory: bytes as a model, binary or text, through every pass to the text of a trainer.
 * After each pass the program must be legal; nothing is written.
 *
 * The first bytes of the input are the command line. */
#include "harness.h"
#include "wire_mutator.h"

#include "../../passes/passes.h"
#include "../../src/emit.h"
#include "../../src/onnx_export.h"
#include "../../src/report.h"

enum { PREFIX = 8 };

/* Fixed dimensions: small ones, so that little time goes into what is not being tried. */
static void
choose_dimensions(Options *options, const Program *program, unsigned extent)
{
  for (uint32_t i = 0; i < program->input_count; i++) {
    const Value *value = value_at(program, program->inputs[i]);
    for (int axis = 0; value->symbol && axis < value->shape.rank && options->dimension_count < MAX_DIMENSIONS; axis++) {
      bool is_new = value->symbol[axis] && value->shape.dim[axis] < 0;
      for (size_t k = 0; is_new && k < options->dimension_count; k++) is_new = strcmp(options->dimension[k].name, value->symbol[axis]) != 0;
      if (is_new) options->dimension[options->dimension_count++] = (DimensionOption){value->symbol[axis], extent};
    }
  }
}

static Options
options_of(const uint8_t *byte)
{
  static const char *const losses[] = {NULL, "softmax-cross-entropy", "mse", "l1", "bce-with-logits", "output",
                                       "softmax-cross-entropy", "mse"};
  static const char *const optimizers[] = {NULL, "sgd", "sgd,momentum=0", "sgd,nesterov=1,weight_decay=0.1",
                                           "adam", "adamw", "adagrad", "adam,lr=0.1"};
  static const double bits[] = {0, 0, 0, 1, 1.5, 2, 4, 32}, compression[] = {0, 0, 0, 2, 10, 20, 100, 1000};
  static const char *const roundings[] = {NULL, NULL, "dither", "stochastic"};
  Options options = {.command_line = "actnnc model -o train.c", .batch = byte[0] % 16, .loss = losses[byte[1] % 8],
                     .optimizer = optimizers[byte[2] % 8], .level = byte[3] % 6, .is_for_gpu = byte[3] % 6 > 3, .bits = bits[byte[4] % 8],
                     .compression = compression[byte[4] / 8 % 8], .scheme = byte[5] % 2 ? "actnn" : "actnnc",
                     .rounding = roundings[byte[5] / 2 % 4], .flip_batch_normalization = byte[6] & 1, .is_bfloat = byte[6] / 16 & 1,
                     .most_recomputed = byte[6] & 8 ? (uint64_t)1 << byte[7] % 32 : 0, .seed = byte[7]};
  if (byte[6] & 2) options.freeze[options.freeze_count++] = "*b*";
  return options;
}

static void
emit(Program *program, const Options *options)
{
  size_t length;
  Arena *arena = program->arena;
  if (!finish_inference_model(program)) return;
  const char *source = emit_source(program, options, "train", arena, &length);
  for (size_t i = 0; i < length; i++) MUST(source[i] == '\n' || (source[i] >= ' ' && source[i] <= '~'));
  emit_header("train", arena, &length);
  const char *kernels = emit_kernels(program, "train", arena, &length);
  for (size_t i = 0; kernels && i < length; i++) MUST(kernels[i] == '\n' || (kernels[i] >= ' ' && kernels[i] <= '~'));
  emit_weights(program, arena, &length);
  print_memory(program, nowhere());
  explain_saves(program, nowhere());
  report_json(program, arena, &length);
  report_html(program, arena, &length);
}

/* A dump goes on where it has come to, or anywhere else: then what comes of it may be illegal, but is refused. */
static void
compile(Program *program, Options *options, size_t first)
{
  bool is_dump = !is_untouched(program);
  if (is_dump && !check_program(program, "reading")) return;
  for (size_t i = !is_dump ? 0 : first % pass_count; i < pass_count; i++) {
    bool is_good = (!is_dump || is_ready_for(program, &passes[i])) && passes[i].run(program, options);
    MUST(is_good || program->diagnostics->errors);
    if (program->diagnostics->errors) return;
    bool is_legal = check_program(program, passes[i].name);
    MUST(is_legal || is_dump);
    if (!is_legal) return;
  }
  if (!is_dump) emit(program, options);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size <= PREFIX) return -1;
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  diagnostics->stream = nowhere();
  Program *program = import_bytes("/nonexistent/model.onnx", copy_of(data + PREFIX, size - PREFIX), size - PREFIX, diagnostics);
  MUST((program != NULL) == (diagnostics->errors == 0));
  if (program) {
    Options options = options_of(data);
    if (data[6] & 4) choose_dimensions(&options, program, data[6] >> 4);
    compile(program, &options, data[7]);
  }
  program_destroy(program);
  arena_destroy(arena);
  return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
  if (seed % 8 == 0 && size > PREFIX) {
    data[seed / 8 % PREFIX] = (uint8_t)(seed / 64);
    return size;
  }
  return mutate_wire(data, size, most, seed / 8, PREFIX);
}
