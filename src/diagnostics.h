/* diagnostics.h: errors as part of the interface: file, node, operator, what is wrong, what to do. */
#ifndef ACTNN_DIAGNOSTICS_H
#define ACTNN_DIAGNOSTICS_H

#include "arena.h"

#include <stdbool.h>
#include <stdio.h>

struct Program;

typedef struct Diagnostics {
  Arena *arena;
  FILE *stream;       /* where messages go; stderr by default */
  unsigned errors, warnings;
  unsigned limit;     /* after this many errors further ones are only counted (20) */
  bool quiet;
} Diagnostics;

Diagnostics *diagnostics_create(Arena *arena);

/* FILE: error: MESSAGE. `help` (may be NULL) is printed on its own line. Always returns false, so that
 * `return report(...)` reads well. */
bool report(Diagnostics *diagnostics, const char *file, const char *help, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* FILE:LINE:COLUMN, with the line and a caret below it. `text` is the whole source. */
bool report_at(Diagnostics *diagnostics, const char *file, const char *text, size_t length, size_t position,
               const char *help, const char *format, ...) __attribute__((format(printf, 7, 8)));
/* FILE: error: OPERATOR 'NODE': MESSAGE, then the node with the types of its operands. */
bool report_node(const struct Program *program, unsigned node, const char *help, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void warn(Diagnostics *diagnostics, const char *file, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A name from a model made safe to show or to put into a comment: [A-Za-z0-9_./:-] stays, anything else becomes
 * `_`; at most 120 characters. */
const char *safe_name(Arena *arena, const char *name);

#endif
