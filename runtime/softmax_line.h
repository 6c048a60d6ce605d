/* softmax_line.h: what softmax makes of numbers that lie next to each other: the greatest, and sums of exponentials. For files that are compiled
 * for each instruction set. */
#ifndef ACTNN_SOFTMAX_LINE_H
#define ACTNN_SOFTMAX_LINE_H

#include "instruction_set.h"
#include "vector_math.h"

enum { BLOCK = 2048 }; /* sums go over so many */

static inline float
most_of(const float *x, int64_t count)
{
  float part[LANES], most;
  int64_t i = 0;
  for (int k = 0; k < LANES; k++) part[k] = -INFINITY;
  for (; i + LANES <= count; i += LANES)
    for (int k = 0; k < LANES; k++) part[k] = x[i + k] > part[k] ? x[i + k] : part[k];
  most = part[0];
  for (int k = 1; k < LANES; k++) most = part[k] > most ? part[k] : most;
  for (; i < count; i++) most = x[i] > most ? x[i] : most;
  return most;
}

/* The sum of a, or with b of a * b. */
static inline double
product_sum(const float *a, const float *b, int64_t count)
{
  double sum = 0;
  for (int64_t first = 0; first < count; first += BLOCK) {
    int64_t end = first + BLOCK < count ? first + BLOCK : count, i;
    lanes sums = {0}, value, other;
    for (i = first; i + LANES <= end; i += LANES) {
      LOAD_LANES(value, a + i);
      if (b) {
        LOAD_LANES(other, b + i);
        EACH_PART value.part[q] *= other.part[q];
      }
      EACH_PART sums.part[q] += value.part[q];
    }
    sum += sum_of_lanes(&sums);
    for (; i < end; i++) sum += b ? a[i] * b[i] : a[i];
  }
  return sum;
}

/* The sum of exp(x - most); the terms are left in `y` unless it is NULL. */
static inline double
exponential_sum(const float *x, float *y, int64_t count, float most)
{
  float buffer[BLOCK];
  double sum = 0;
  for (int64_t first = 0; first < count; first += BLOCK) {
    int64_t length = count - first < BLOCK ? count - first : BLOCK;
    const float *from = x + first;
    float *to = y ? y + first : buffer;
#pragma omp simd
    for (int64_t i = 0; i < length; i++) to[i] = exp_float(from[i] - most);
    sum += product_sum(to, NULL, length);
  }
  return sum;
}

#endif
