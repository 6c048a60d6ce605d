/* fuzz_text.c: bytes as the textual syntax. What is read is printed; the print reads back and prints the same. */
#include "harness.h"

#include "../../src/program.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  diagnostics->stream = nowhere();
  unsigned char *text = copy_of(data, size);
  Program *program = parse_program("model.onnxtxt", (const char *)text, size, diagnostics);
  MUST((program != NULL) == (diagnostics->errors == 0));
  if (program) {
    const char *printed = print_program(program, arena);
    Program *again = parse_program("again.onnxtxt", printed, strlen(printed), diagnostics);
    MUST(again && !strcmp(print_program(again, arena), printed));
    program_destroy(again);
  }
  program_destroy(program);
  free(text);
  arena_destroy(arena);
  return 0;
}
