/* division.h: division by numbers that are the same for all threads of a kernel. */
#ifndef ACTNN_CUDA_DIVISION_H
#define ACTNN_CUDA_DIVISION_H

#include "gpu.h"

/* By a number that is the same for all threads: by multiplication wherever the dividend is below 2^31, for divisions in the loops of
 * kernels take longer than memory does. */
typedef struct Divisor {
  int64_t number;
  uint32_t multiplier, shift;
} Divisor;

static inline Divisor
divisor_of(int64_t number)
{
  Divisor divisor = {number, 0, 31};
  if (number > INT32_MAX) /* a small dividend's quotient is zero then */
    return divisor;
  while (((int64_t)1 << (divisor.shift - 31)) < number)
    divisor.shift++;
  divisor.multiplier = (uint32_t)((((uint64_t)1 << divisor.shift) + (uint64_t)number - 1) / (uint64_t)number);
  return divisor;
}

static inline __device__ int64_t
short_quotient(int64_t dividend, const Divisor &divisor)
{
  return (int64_t)((uint64_t)(uint32_t)dividend * divisor.multiplier >> divisor.shift);
}

static inline __device__ int64_t
quotient(int64_t dividend, const Divisor &divisor)
{
  return dividend >> 31 ? dividend / divisor.number : short_quotient(dividend, divisor);
}

static inline __device__ int64_t
remainder_of(int64_t dividend, const Divisor &divisor)
{
  return dividend - quotient(dividend, divisor) * divisor.number;
}

#endif
