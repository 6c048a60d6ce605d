/* choose_recomputation.h: whether and how much is computed again in backward, by trying. */
#ifndef ACTNN_CHOOSE_RECOMPUTATION_H
#define ACTNN_CHOOSE_RECOMPUTATION_H

#include "options.h"

/* Sets what the pass recompute goes by: options->most_recomputed and what it needs beside. The model at path `model` is translated several
 * times for that, without a word; what is wrong with it is reported when it is translated for good. */
void choose_recomputation(const char *model, Options *options);

#endif
