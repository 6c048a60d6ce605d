/* batch.h: from stored samples to what a model's inputs hold for one batch. */
#ifndef ACTNN_BATCH_H
#define ACTNN_BATCH_H

#include "data.h"
#include "runtime.h"

/* Each colour channel of 8-bit images is scaled to [0, 1] and then standardized: (x / 255 - mean) / deviation, with
 * the mean and deviation of the channel over the whole training set. */
enum { BATCH_MAX_CHANNELS = 16, BATCH_MAX_EXTENT = 4096 };

typedef struct standardization {
  double mean[BATCH_MAX_CHANNELS], deviation[BATCH_MAX_CHANNELS]; /* of x / 255 */
} standardization;

/* How an array becomes an input. */
typedef enum conversion {
  CONVERT_CAST,   /* element by element, same number of elements */
  CONVERT_IMAGE,  /* 8-bit images: standardized, and fitted to the input's channels and extents */
  CONVERT_ONE_HOT /* class numbers to a float vector with a 1 */
} conversion;

typedef struct binding {
  uint32_t tensor;
  const data_array *array;
  conversion conversion;
  size_t elements; /* of one sample of the input */
  int64_t channels, height, width;                   /* of the stored image */
  int64_t channel_stride, row_stride, column_stride; /* bytes, so that channels may come first or last */
  int64_t input_channels, input_height, input_width; /* of the input */
  standardization standardization;
} binding;

typedef struct augmentation {
  bool flip;  /* mirrored left to right, one sample in two */
  int crop;   /* padded with this many zero pixels on each side and cut back to size anywhere; 0: not */
} augmentation;

typedef struct batch_source {
  const actnn_model *model;
  const data_set *set;
  binding binding[DATA_MAX_ARRAYS];
  size_t binding_count;
  uint64_t samples;
  uint32_t *order;       /* of the samples in the epoch `epoch`; owned */
  uint64_t epoch;
  bool has_order, shuffle;
  uint64_t seed;
  augmentation augmentation;
  char error[DATA_ERROR_BYTES];
} batch_source;

/* Matches arrays to inputs by shape and checks every label against the number of classes. `like`: a source whose
 * standardization is used (evaluation uses that of training); NULL: measured here. The set must outlive the source.
 * False with a message in source->error. */
bool batch_open(batch_source *source, const actnn_model *model, const data_set *set, const batch_source *like);
void batch_close(batch_source *source);

/* Whole batches in an epoch. */
uint64_t batch_count(const batch_source *source);
/* Fills the inputs with the training batch of a step: a function of seed, step and the set alone. */
void batch_fill(batch_source *source, actnn *trainer, uint64_t step);
/* The same while a device still computes another step, whose inputs stay as they are there; batch_fill of that step then has nothing left
 * to do. 0, or 1 with a message. */
int batch_fill_ahead(batch_source *source, actnn *trainer, uint64_t step);
/* Fills the inputs with samples first, first + 1, ... in stored order; places beyond the last sample get sample 0.
 * Returns how many are real. */
uint64_t batch_fill_in_order(batch_source *source, actnn *trainer, uint64_t first);

#endif
