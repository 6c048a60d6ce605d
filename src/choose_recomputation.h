/* choose_recomputation.h: whether and how much is computed again in backward, by trying. */
#ifndef ACTNN_CHOOSE_RECOMPUTATION_H
#define ACTNN_CHOOSE_RECOMPUTATION_H

#include "options.h"
#include "program.h"

/* Sets what the pass recompute goes by: options->most_recomputed and what it needs beside. `program` is one that the passes before have
 * made; it stays as it is. What is wrong with a plan is reported when it is made for good. */
void choose_recomputation(const Program *program, Options *options);

#endif
