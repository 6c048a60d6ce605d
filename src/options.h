/* options.h: what the command line asks of the passes. */
#ifndef ACTNN_OPTIONS_H
#define ACTNN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct DimensionOption {
  const char *name;
  int64_t extent;
} DimensionOption;

enum { MAX_FREEZE = 64, MAX_DIMENSIONS = 64 };

typedef struct Options {
  const char *command_line; /* for the header of the emitted source */
  int64_t batch;            /* 0: not given */
  DimensionOption dimension[MAX_DIMENSIONS];
  size_t dimension_count;
  const char *loss;         /* KIND[:OUTPUT]; NULL: the model's own */
  const char *optimizer;    /* KIND[,k=v...] */
  const char *freeze[MAX_FREEZE];
  size_t freeze_count;
  int level;                /* 0..5 */
  double bits;              /* average per quantized element; 32: keep FP32; 0: the level's */
  double compression;       /* saved bytes against FP32; 0: as the bits say */
  const char *split_loss;   /* never, always; NULL: where scores are large */
  const char *attention;    /* fused, separate; NULL: what takes less memory, which choose_attention finds out */
  const char *recompute;    /* never, always, size; NULL: where codes alone take more than is asked for */
  /* What choose_recomputation finds out for the pass recompute: */
  uint64_t most_recomputed; /* bytes that one run may free; 0: nothing is computed again */
  uint64_t saved_budget;    /* bytes to be saved, about; 0: the fewest */
  uint64_t coded_bytes, uncompressed_bytes; /* saved where nothing is, coded and in FP32; 0: not known */
  const char *profile_use;  /* what a trainer's --profile-generate wrote; NULL */
  uint64_t memory_budget;   /* 0: none */
  bool is_for_gpu;          /* --target=cuda */
  bool is_bfloat;           /* --precision=bf16 */
  uint64_t workspace;       /* scratch of a GPU's libraries */
  uint64_t seed;
  const char *scheme;       /* actnn: ActNN's own, its defects mended; actnnc: what goes beyond it */
  const char *rounding;     /* dither, stochastic; NULL: the scheme's */
  bool flip_batch_normalization; /* --batchnorm=train */
} Options;

/* Average bits per quantized element that level and --bits ask for; 32 means no compression. */
double requested_bits(const Options *options);

#endif
