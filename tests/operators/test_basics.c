/* test_basics.c: what everything else stands on: elements and shapes, memory, the table of operators, messages. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../../src/canonicalize.h"
#include "../runtime/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- elements and shapes --------------------------------------------------------------------------- */

static double
half(uint16_t bits)
{
  return element_as_real(ACTNN_F16, &bits);
}

static void
test_elements(void)
{
  const uint16_t brain = 0xc000;
  ok(half(0x3c00) == 1 && half(0xc000) == -2 && half(1) == 0x1p-24 && half(0x8000) == 0, "halves");
  ok(isinf(half(0x7c00)) && half(0xfc00) < 0 && isnan(half(0x7c01)), "halves that are no numbers");
  ok(element_as_real(ACTNN_BF16, &brain) == -2 && element_as_real(ACTNN_STRING, "a") == 0 && element_as_real(ACTNN_UNDEFINED, "a") == 0,
     "other elements");
  Shape unknown = {.rank = -1}, two = shape_of(1, (const int64_t[]){2}), made = two;
  ok(shape_broadcast(&unknown, &two, &made) && made.rank < 0 && shape_broadcast(&two, &unknown, &made) && made.rank < 0,
     "of a shape that is not known nothing is known");
  Arena *arena = arena_create();
  ok(!strcmp(type_name((actnn_type)99), "undefined") && !strcmp(shape_text(arena, (actnn_type)99, &unknown), "?[...]")
         && !strcmp(phase_name(PHASE_COUNT), "?"),
     "names of types and phases that there are not");
  Program *program = program_create("constants", diagnostics_create(arena));
  ValueId text = add_constant(program, NULL, ACTNN_STRING, shape_of(0, NULL), "a", 2);
  ValueId pair = add_constant(program, NULL, ACTNN_F32, two, (const float[]){1, 2}, 8),
          gone = add_value(program, NULL, VALUE_CONSTANT, ACTNN_F32, two);
  double real;
  ok(!constant_real(program, text, &real) && !constant_real(program, pair, &real) && !constant_real(program, gone, &real)
         && !constant_real(program, NO_VALUE, &real),
     "what is not one number");
  ok(is_spelling("ai.onnx", "Gemm") && is_spelling("", "Gemm") && !is_spelling("c", "Gemm"), "what is rewritten are ONNX's operators");
  program_destroy(program);
  arena_destroy(arena);
}

/* How a process ends that asks for so much. */
static int
exit_of(size_t count, size_t size)
{
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) abort();
  if (!child) {
    if (!freopen("/dev/null", "w", stderr)) abort();
    _exit(arena_array(arena_create(), count, size) ? 0 : 2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
test_memory(void)
{
  ok(exit_of(4, 4) == 0 && exit_of(4, 0) == 0, "a little memory, and none");
  ok(exit_of(SIZE_MAX / 2, 4) == 1 && exit_of(SIZE_MAX / 2, 1) == 1, "more memory than there are addresses ends the process");
  arena_destroy(NULL);
}

static void
test_table(void)
{
  bool is_bounded = true;
  const Operator *relu = find_operator("", "Relu"), *draws = find_operator("", "RandomNormal");
  ok(relu && find_operator("ai.onnx", "Relu") == relu && !find_operator("c", "Relu"), "an operator by its domain");
  ok(!operand_slot(relu, 1) && !operand_slot(draws, 0) && operand_slot(find_operator("", "Concat"), 7), "operands that an operator has, and has not");
  ok(!is_linear_in(relu, 5, &is_bounded) && !is_bounded, "nothing is linear in an operand that there is not");
}

/* What is written to a stream, which is closed. */
static char *
messages_of(Diagnostics *diagnostics, char **messages)
{
  fclose(diagnostics->stream);
  diagnostics->stream = stderr;
  return *messages;
}

static void
test_messages(void)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  char *messages = NULL;
  size_t length = 0, lines = 0;
  diagnostics->stream = open_memstream(&messages, &length);
  for (int i = 0; i < 30; i++) warn(diagnostics, NULL, "warning %d", i);
  for (const char *at = messages_of(diagnostics, &messages); (at = strchr(at, '\n')); at++) lines++;
  ok(lines == 20 && diagnostics->warnings == 30 && !strncmp(messages, "actnnc: warning: warning 0\n", 27), "warnings have a limit");
  free(messages);
  diagnostics->stream = open_memstream(&messages, &length);
  report(diagnostics, NULL, "do", "no file");
  report_at(diagnostics, NULL, "ab", 2, 7, NULL, "beyond the end");
  messages_of(diagnostics, &messages);
  ok(!strcmp(messages, "actnnc: error: no file\n  help:  do\nactnnc:1:3: error: beyond the end\n  ab\n    ^\n"), "errors without a file");
  free(messages);
  diagnostics->stream = open_memstream(&messages, &length);
  for (int i = 0; i < 30; i++) report(diagnostics, "f", NULL, "error %d", i);
  messages_of(diagnostics, &messages);
  ok(strstr(messages, "f: error: error 17\nfurther errors are not shown\n") && !strstr(messages, "error 18") && diagnostics->errors == 32,
     "errors have a limit, which is said once");
  free(messages);
  diagnostics->quiet = true;
  diagnostics->warnings = 0;
  diagnostics->stream = open_memstream(&messages, &length);
  warn(diagnostics, "f", "nothing");
  ok(!*messages_of(diagnostics, &messages) && diagnostics->warnings == 1, "quiet warnings are counted");
  free(messages);
  arena_destroy(arena);
}

int
main(void)
{
  test_elements();
  test_memory();
  test_table();
  test_messages();
  return tap_done();
}
