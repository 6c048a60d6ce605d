/* report.h: what a trainer says of its memory and of its saved values, as JSON. */
#ifndef ACTNN_REPORT_H
#define ACTNN_REPORT_H

#include "runtime.h"

/* One object: arena_bytes is what is really allocated, planned_arena_bytes what the translator planned. */
void print_memory(const actnn *trainer, FILE *stream);
/* One object with a list of saved values: name, shape, weight, bits. Written atomically; 0, or 1 with a message in
 * `actnn_error`. */
int write_profile(actnn *trainer, const char *path);

#endif
