/* saves_state.h: what saves.c and saves_kernels.c know of the coded saves. */
#ifndef ACTNN_SAVES_STATE_H
#define ACTNN_SAVES_STATE_H

#include "allocation.h"
#include "codec.h"
#include "saves.h"

typedef struct save_state {
  bool known; /* its layout, and what follows from it */
  bool coded, measured;
  uint64_t measured_step;
  actnn_codec codec;
  actnn_layout layout;
  uint64_t bytes[ACTNN_MAX_BITS + 1]; /* one sample at so many bits */
  uint64_t share, place;              /* of the pool */
  uint64_t coded_bytes;
  uint8_t *bits; /* of each sample, as coded last */
  double *range; /* of each sample, as coded last: elements * (maximum - minimum)^2 summed over groups */
  double *sensitivity; /* of each sample: factor * |dy|^2, summed over the gradients that meet it */
  double *noise;       /* of each sample, as coded last: variance summed over its elements, when counted */
  double predicted;    /* variance of the gradients that read it, from the last backward that measured */
  uint64_t predicted_step, predicted_draw;
  bool noise_counted, has_prediction;
  double weight_sum; /* of `weights` measured weights */
  uint64_t weights;
} save_state;

struct saves {
  const actnn_codec_kernels *kernels;
  save_state *save;
  /* All that a step needs is reserved while the trainer prepares; a step allocates nothing. */
  double *partial;  /* two numbers a tile of the largest save, for sums in a fixed order */
  uint64_t *offset; /* of each sample's codes, of the save being coded */
  actnn_tile_range *tile; /* what each tile's extremes are, where bits follow from ranges */
  actnn_allocation_item *item; /* one for each sample of all saves, */
  uint8_t *item_bits;          /* what it was given, */
  void *scratch;               /* and what the allocation takes */
  int64_t most_partial, most_samples, most_tiles;
  size_t most_items;
  bool count_noise;    /* at every step */
  bool record_weights; /* noise is counted at the steps that measure, for a profile */
  bool placed; /* every save has its share and place */
  bool fresh;  /* measured since the last adaptation */
};

/* Gives every save its place in the pool, one after the other. 0, or 1 with a message. */
int saves_place(actnn *trainer);

#endif
