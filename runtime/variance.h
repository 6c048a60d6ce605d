/* variance.h: gradients as data: written to a file, and their noise measured by redrawing the codes of one step. */
#ifndef ACTNN_VARIANCE_H
#define ACTNN_VARIANCE_H

#include "batch.h"

/* Writes the gradients of the batch of step 0 under the parameters' names, without changing anything but running
 * statistics. 0, or 1 with a message in `actnn_error`. */
int dump_gradients(actnn *trainer, batch_source *source, const char *path);

typedef struct variance_request {
  uint64_t draws;        /* of all codes together, */
  uint64_t alone;        /* and of each value's code alone; 0: not asked for */
  const char *reference; /* a file of exact gradients of the same weights and batch; NULL: no bias */
} variance_request;

/* Prints, for each parameter and for all together, over redraws of the codes of one batch: the gradient's norm, the variance that
 * coding adds (relative to the squared norm), predicted and measured, the distance of the mean from the exact gradient in standard
 * errors, and the variance between batches for comparison. 0, or 1 with a message in `actnn_error`. */
int print_variance(actnn *trainer, batch_source *source, const variance_request *request, FILE *stream);

/* Prints what each saved value's code alone adds to all gradients over `draws` redraws of it, relative to the sum of their squared
 * norms; adds each variable's part to variance[variable]. 0, or 1 with a message. */
int print_variance_by_save(actnn *trainer, batch_source *source, uint64_t draws, double *variance, FILE *stream);

#endif
