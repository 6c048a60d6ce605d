/* warp_matrices_stand_in.h: for the shim: the instructions of cuda/warp_matrices.h. Lanes tell each other what they hold, or where, and each
 * computes its own elements. What lanes tell each other orders nothing in memory. */
#ifndef WARP_MATRICES_STAND_IN_H
#define WARP_MATRICES_STAND_IN_H

#include <cstdlib>

static inline uint32_t
rounded_pair(float first, float second)
{
  return (uint32_t)bfloat_rounded(first) | (uint32_t)bfloat_rounded(second) << 16;
}

/* Number `half` of a word. */
static inline float
half_of_word(uint32_t word, int half)
{
  return bfloat_widened((uint16_t)(word >> (16 * half)));
}

typedef struct held_by_lane {
  uint32_t left[4], right[2];
} held_by_lane;

static inline void
multiply_matrices(float *sums, const uint32_t *left, const uint32_t *right)
{
  held_by_lane own;
  memcpy(own.left, left, sizeof own.left);
  memcpy(own.right, right, sizeof own.right);
  const shim_slot *lane = shim_gather(&own, sizeof own);
  int group = (int)(threadIdx.x % 32) / 4, pair = (int)(threadIdx.x % 32) % 4;
  for (int i = 0; i < 4; i++) {
    int row_half = i / 2, column = 2 * pair + i % 2;
    for (int inner = 0; inner < 16; inner++) {
      const held_by_lane *of_left = (const held_by_lane *)lane[4 * group + inner % 8 / 2].bytes;
      const held_by_lane *of_right = (const held_by_lane *)lane[4 * column + inner % 8 / 2].bytes;
      sums[i] += half_of_word(of_left->left[row_half + inner / 8 * 2], inner % 2) * half_of_word(of_right->right[inner / 8], inner % 2);
    }
  }
}

template <bool is_turned>
static inline void
load_matrices(uint32_t *word, const bfloat_number *row)
{
  if ((uintptr_t)row % 16)
    abort();
  const shim_slot *lane = shim_gather(&row, sizeof row);
  int group = (int)(threadIdx.x % 32) / 4, pair = (int)(threadIdx.x % 32) % 4;
  for (int i = 0; i < 4; i++) {
    uint16_t two[2];
    for (int k = 0; k < 2; k++) {
      const bfloat_number *begin;
      memcpy(&begin, lane[8 * i + (is_turned ? 2 * pair + k : group)].bytes, sizeof begin);
      two[k] = begin[is_turned ? group : 2 * pair + k].bits;
    }
    word[i] = (uint32_t)two[0] | (uint32_t)two[1] << 16;
  }
}

#endif
