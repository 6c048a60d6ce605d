/* stand_in.h: what the stand-ins of cuDNN and cuBLASLt share: descriptors' memory, and numbers as tensors hold them. */
#ifndef ACTNN_STAND_IN_H
#define ACTNN_STAND_IN_H

#include "bfloat_value.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

template <typename Struct>
static bool
make(Struct **made)
{
  *made = (Struct *)calloc(1, sizeof **made);
  return *made != nullptr;
}

/* A number of a tensor of floats or of bfloat16. */
static inline double
number(const void *data, bool is_narrow, int64_t at)
{
  return is_narrow ? bfloat_widened(((const uint16_t *)data)[at]) : ((const float *)data)[at];
}

static inline void
put_number(void *data, bool is_narrow, int64_t at, float value)
{
  if (is_narrow)
    ((uint16_t *)data)[at] = bfloat_rounded(value);
  else
    ((float *)data)[at] = value;
}

#endif
