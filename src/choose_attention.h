/* choose_attention.h: whether attention becomes one operator, by trying. */
#ifndef ACTNN_CHOOSE_ATTENTION_H
#define ACTNN_CHOOSE_ATTENTION_H

#include "options.h"
#include "program.h"

/* Sets options->attention, unless it was asked for, for the pass fuse-attention. `program` is one that the passes before have made; it stays
 * as it is. */
void choose_attention(const Program *program, Options *options);

#endif
