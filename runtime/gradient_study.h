/* gradient_study.h: gradients of many draws of the codes, or of many batches, summed up for each parameter. */
#ifndef ACTNN_GRADIENT_STUDY_H
#define ACTNN_GRADIENT_STUDY_H

#include "saves.h"
#include "trainer.h"

typedef struct gradient_record {
  bool seen;
  size_t count;
  float *first;                          /* the first gradient observed */
  float *exact;                          /* of the reference; NULL */
  double *sum;                           /* of differences from the first */
  double squares;                        /* sum of squared norms of these differences */
  double projection, projection_squares; /* of <g, exact> / |exact|^2 - 1 */
  double exact_norm;                     /* squared */
  double predicted;                      /* variance that is said of it; NAN: nothing */
} gradient_record;

typedef struct gradient_study {
  actnn *trainer;
  gradient_record *record; /* one a variable */
  uint32_t *variable_of;   /* of each tensor; NONE */
  uint64_t observed;       /* draws or batches */
  double product;          /* of all parameters' distances from the reference with it, of the pass under way */
  double projection, projection_squares; /* of all together, as a record's */
  double exact_norm;       /* of the whole reference, squared; 0: none */
  bool failed;
} gradient_study;

/* Records for all variables, empty. 0, or 1 with a message; closed by gradient_study_close either way. */
int gradient_study_open(gradient_study *study, actnn *trainer);
void gradient_study_close(gradient_study *study);
/* Runs forward and backward on the batch at hand and takes its gradients into the records. 0, or 1 with a message. */
int gradient_study_run(gradient_study *study);
/* Squared distance from the mean, summed over elements: unbiased. 0 for one observation. */
double gradient_study_variance(const gradient_study *study, uint32_t variable);
/* Squared norm of the mean gradient. */
double gradient_study_squares(const gradient_study *study, uint32_t variable);

/* Running statistics move with every forward, so each draw starts from a copy of all variables. NULL: no memory. */
unsigned char *gradient_study_copy_state(actnn *trainer);
void gradient_study_restore_state(actnn *trainer, const unsigned char *copy);

#endif
