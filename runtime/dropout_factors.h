/* dropout_factors.h: what dropout multiplies neighbouring elements by. For files that are compiled for each instruction set. */
#ifndef ACTNN_DROPOUT_FACTORS_H
#define ACTNN_DROPOUT_FACTORS_H

#include "../src/operators/random_draws.h"

enum { BATCH = 64, DRAWS = 8 }; /* counters enciphered side by side; draws of 16 bits from each */

/* Of elements from `first` on, a multiple of DRAWS. */
static inline void
draw_factors(float factor[BATCH * DRAWS], int64_t first, DropoutRule rule, actnn_philox_key key)
{
  uint32_t word[4][BATCH];
  float scale = (float)rule.scale;
#pragma omp simd
  for (int i = 0; i < BATCH; i++) {
    actnn_philox_block block = random_block(key, (uint64_t)(first / DRAWS + i));
    word[0][i] = block.word[0];
    word[1][i] = block.word[1];
    word[2][i] = block.word[2];
    word[3][i] = block.word[3];
  }
  for (int i = 0; i < BATCH; i++)
    for (int k = 0; k < DRAWS; k++)
      factor[i * DRAWS + k] = (word[k / 2][i] >> (k % 2 * 16) & 0xffff) >= rule.threshold ? scale : 0.0f;
}

#endif
