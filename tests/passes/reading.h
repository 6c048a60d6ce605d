/* reading.h: reads a program from text, with its messages, for tests. */
#ifndef ACTNN_READING_H
#define ACTNN_READING_H

#include "../../passes/passes.h"
#include "../runtime/tap.h"

#include <stdlib.h>
#include <string.h>

#define HEADER "<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 1]>\n"

typedef struct Reading {
  Arena *arena;
  Diagnostics *diagnostics;
  char *messages;
  size_t message_bytes;
  Program *program;
} Reading;

/* Without a program yet. The stream keeps pointers into it, so a reading stays where it is. */
static inline Reading *
start_reading(void)
{
  Reading *reading = calloc(1, sizeof *reading);
  reading->arena = arena_create();
  reading->diagnostics = diagnostics_create(reading->arena);
  reading->diagnostics->stream = open_memstream(&reading->messages, &reading->message_bytes);
  return reading;
}

/* NULL, with messages, or the reading's program. */
static inline Program *
go_on_reading(Reading *reading, const char *text, size_t length)
{
  reading->program = parse_program("text", text, length, reading->diagnostics);
  fflush(reading->diagnostics->stream);
  return reading->program;
}

static inline Reading *
read_text(const char *text, size_t length)
{
  Reading *reading = start_reading();
  go_on_reading(reading, text, length);
  return reading;
}

/* All messages up to now. */
static inline const char *
messages_of(Reading *reading)
{
  fflush(reading->diagnostics->stream);
  return reading->messages;
}

static inline void
forget(Reading *reading)
{
  program_destroy(reading->program);
  fclose(reading->diagnostics->stream);
  free(reading->messages);
  arena_destroy(reading->arena);
  free(reading);
}

static inline const Value *
value_named(const Program *program, const char *name)
{
  for (ValueId id = 0; id < program->value_count; id++)
    if (value_at(program, id)->name && !strcmp(value_at(program, id)->name, name)) return value_at(program, id);
  static const Value nothing = {.producer = NO_NODE, .drawn_from = NO_VALUE, .updates = NO_VALUE};
  return &nothing;
}

#endif
