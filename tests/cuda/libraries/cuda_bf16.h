/* cuda_bf16.h: for the shim: a bfloat16 number as the toolkit names it. */
#ifndef STAND_IN_CUDA_BF16_H
#define STAND_IN_CUDA_BF16_H

#include <cstdint>

struct __nv_bfloat16 {
  uint16_t bits;
};

#endif
