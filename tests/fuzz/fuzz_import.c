/* fuzz_import.c: bytes as a binary ONNX model. What is imported is written as a model again and imported once more. */
#include "harness.h"
#include "wire_mutator.h"

#include "../../src/onnx_export.h"
#include "../../src/onnx_load.h"

static void
write_and_read(const Program *program, Arena *arena, Diagnostics *diagnostics)
{
  unsigned char *bytes;
  size_t length;
  Onnx__ModelProto *model = program_to_model(program, arena);
  MUST(model && pack_model(program, model, arena, &bytes, &length));
  Program *again = import_bytes("again.onnx", copy_of(bytes, length), length, diagnostics);
  MUST(again && again->order_count == program->order_count && again->input_count == program->input_count &&
       again->output_count == program->output_count);
  program_destroy(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (!size || is_program_text(data, size)) return -1;
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  diagnostics->stream = nowhere();
  Program *program = import_bytes("/nonexistent/model.onnx", copy_of(data, size), size, diagnostics);
  MUST((program != NULL) == (diagnostics->errors == 0));
  if (program) write_and_read(program, arena, diagnostics);
  program_destroy(program);
  arena_destroy(arena);
  return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
  return mutate_wire(data, size, most, seed, 0);
}
