/* saves_tables.h: what a trainer's coded saves have on a GPU, and the jobs that their kernels are given (saves_tables.cu). */
#ifndef ACTNN_CUDA_SAVES_TABLES_H
#define ACTNN_CUDA_SAVES_TABLES_H

#include "tiles.h"

/* What a trainer's coded saves have on the GPU. */
struct gpu_saves {
  sample_place **place, **sent; /* of each save: there, and here as it was sent last */
  double *tile_sum;             /* there: up to MOST_SUMS numbers of each tile of the largest save */
  double *sample_sum;           /* and of each sample */
  actnn_tile_range *range;      /* of the tiles of the largest save whose bytes follow from ranges */
  actnn_normal_sums *normal;    /* of each channel of each sample, and of each channel, of the largest normalized value */
  uint8_t **choice;             /* by save whose levels follow from ranges: each sample's, as coded last; found here */
  float *sample_range;          /* of the samples of one of these */
  double *map;                  /* of the positions of the largest value whose gradient is measured */
  int64_t most_tiles, most_samples, most_ranges, most_normal, most_map;
};

enum { MOST_SUMS = 3 };

/* The job of all tiles of a value of this geometry and layout, without codes. */
tiles_job gpu_plain_job(const actnn *trainer, const actnn_codec *codec, const actnn_view *value);
/* The job of the codes of save `index`, of a value of this layout; samples' places are sent when they have changed. 0, or 1. */
int gpu_saves_job(const actnn_call *call, uint32_t index, const actnn_view *value, tiles_job *job);
/* While preparing: what a save will need. 0, or 1. */
int gpu_saves_note(const actnn_call *call, uint32_t index);
int gpu_saves_note_map(const actnn_call *call, int64_t count);
/* Sums of each tile's `numbers` numbers over the tiles of a sample, in order, into sample_sum. */
int gpu_saves_sum(const actnn_call *call, const actnn_codec *codec, int numbers);
/* The same, brought to the processor: `to` has as many for each. */
int gpu_saves_fetch_sums(const actnn_call *call, const actnn_codec *codec, int numbers, double *to);
/* Spends the share of a save on its samples by the ranges in sample_sum (spending.cu): their choices and places, there. */
int gpu_spend(const actnn_call *call, uint32_t index);
/* What the code's noise does to the gradient that flows on through a normalization, as the processor's kernel notes it (saves_measure.cu). */
int gpu_saves_look_at_flow(const actnn_call *call, uint32_t index);
/* True when this step's codes are to say what noise they make. */
bool gpu_saves_wants_noise(const actnn *trainer);

#endif
