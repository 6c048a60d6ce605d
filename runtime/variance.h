/* variance.h: gradients as data: written to a file, and their noise measured by redrawing the codes of one step. */
#ifndef ACTNN_VARIANCE_H
#define ACTNN_VARIANCE_H

#include "batch.h"

/* Writes the gradients of the batch of step 0 under the parameters' names, without changing anything but running
 * statistics. 0, or 1 with a message in `actnn_error`. */
int dump_gradients(actnn *trainer, batch_source *source, const char *path);

/* Prints, for each parameter, over `draws` redraws of the codes of one batch: the gradient's norm, the variance that
 * coding adds (relative to the squared norm), the distance of the mean from the exact gradient in standard errors,
 * and the variance between batches for comparison. `reference`: a file of exact gradients of the same weights and
 * batch; NULL: no bias. 0, or 1 with a message in `actnn_error`. */
int print_variance(actnn *trainer, batch_source *source, uint64_t draws, const char *reference, FILE *stream);

#endif
