/* bfloat_value.h: a bfloat16 number and the float that it stands for. gcc, clang and nvcc compile this header. */
#ifndef ACTNN_BFLOAT_VALUE_H
#define ACTNN_BFLOAT_VALUE_H

#include "codec_values.h"

/* As it is held: C++ tells it from other numbers of 16 bits by its type. */
typedef struct bfloat_number {
  uint16_t bits;
} bfloat_number;

static inline ACTNN_DEVICE float
bfloat_widened(uint16_t bits)
{
  return actnn_float_of((uint32_t)bits << 16);
}

/* To nearest, ties to even; beyond the largest number infinite; NaN stays one. Without a branch: loops over it become vectors. */
static inline ACTNN_DEVICE uint16_t
bfloat_rounded(float value)
{
  uint32_t bits = actnn_bits_of(value), is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16, quiet = bits >> 16 | 0x40u;
  return (uint16_t)(is_nan ? quiet : rounded);
}

#endif
