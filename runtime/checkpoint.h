/* checkpoint.h: weights, optimizer state and counters in a .safetensors file. */
#ifndef ACTNN_CHECKPOINT_H
#define ACTNN_CHECKPOINT_H

#include "runtime.h"

/* What `checkpoint_load` found. */
typedef enum checkpoint_kind {
  CHECKPOINT_NONE,    /* nothing could be used; trainer->error says why, and the trainer is as it was */
  CHECKPOINT_WHOLE,   /* a checkpoint of this model: training continues as if it had not stopped */
  CHECKPOINT_WEIGHTS  /* a file of weights: counters stay */
} checkpoint_kind;

/* Loads a checkpoint or a file of weights. A damaged or missing checkpoint is replaced by PATH.previous, which is
 * said on stderr. In a file of weights every variable that is neither drawn at start nor optimizer state must be
 * present; others are taken when present. */
checkpoint_kind checkpoint_load(actnn *trainer, const char *path);

/* Takes parameters, frozen ones and running statistics from a file of weights, or from a checkpoint of any model that
 * has them (the same one compiled otherwise, say); optimizer state and counters stay. 0, or 1 with a message. */
int checkpoint_load_weights(actnn *trainer, const char *path);

/* The name under which a variable stands in files: its own, or `variable.INDEX` where that is empty, not UTF-8,
 * reserved or taken by an earlier variable. `buffer` holds 32 bytes. */
const char *checkpoint_name(const actnn_model *model, uint32_t variable, char *buffer);

#endif
