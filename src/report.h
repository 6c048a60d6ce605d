/* report.h: what the compiler can say of a planned program. */
#ifndef ACTNN_REPORT_H
#define ACTNN_REPORT_H

#include "../passes/passes.h"

#include <stdio.h>

/* --print-memory: bytes by kind and by layer, before and after, and the peak. */
void print_memory(const Program *program, FILE *stream);
/* --explain-saves: one line a saved value. */
void explain_saves(const Program *program, FILE *stream);
/* --report=FILE.json: the plan as data (peak_bytes, saves[], buffers[], ...). */
char *report_json(const Program *program, Arena *arena, size_t *length);
/* --report=FILE.html: the same as one page that needs nothing else. */
char *report_html(const Program *program, Arena *arena, size_t *length);
/* --list-passes, --list-operators, --explain=OPERATOR. explain_operator returns false when there is none of that name. */
void list_passes(FILE *stream);
void list_operators(FILE *stream);
bool explain_operator(const char *name, FILE *stream);

#endif
