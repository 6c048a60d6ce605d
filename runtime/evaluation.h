/* evaluation.h: loss and accuracy of a whole set of samples, counted sample by sample on the host. */
#ifndef ACTNN_HELD_OUT_EVALUATION_H
#define ACTNN_HELD_OUT_EVALUATION_H

#include "batch.h"

/* Buffers for scoring batches of one model, made once. */
typedef struct scorer {
  const actnn_model *model;
  unsigned char *label;  /* copy of the label input: its place in the arena is reused within a step */
  size_t label_bytes;
  double *loss;          /* of each sample of a batch */
  int64_t *hit;          /* right predictions of each sample */
} scorer;

typedef struct score {
  double loss, accuracy; /* accuracy NAN where the model has no classes */
  uint64_t samples;
} score;

bool scorer_open(scorer *scorer, const actnn_model *model); /* false when out of memory */
void scorer_close(scorer *scorer);
/* To be called when the inputs have been filled. */
void scorer_keep_labels(scorer *scorer, actnn *trainer);
/* Share of right predictions among the batch that a training step has had, from its prediction, or the classes that won where a device has found
 * them, and the kept labels; NAN where there are no classes. */
double scorer_accuracy(scorer *scorer, actnn *trainer);

/* Runs the evaluation function over all samples of the source; places in the last batch beyond the last sample do not
 * count. 0, or 1 with a message in `actnn_error`. */
int evaluate_all(scorer *scorer, actnn *trainer, batch_source *source, score *score);

#endif
