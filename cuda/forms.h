/* forms.h: floats as they are held: as they are, or as bfloat16. What computes with them is written once, for either. */
#ifndef ACTNN_CUDA_FORMS_H
#define ACTNN_CUDA_FORMS_H

#include "gpu.h"

#include "bfloat_value.h"

static inline __device__ float
float_of(float held)
{
  return held;
}

static inline __device__ float
float_of(bfloat_number held)
{
  return bfloat_widened(held.bits);
}

static inline __device__ void
hold(float *to, float value)
{
  *to = value;
}

static inline __device__ void
hold(bfloat_number *to, float value)
{
  to->bits = bfloat_rounded(value);
}

/* run(a float of the form): what it returns. */
template <typename Run>
static int
with_form(bool is_narrow, Run run)
{
  return is_narrow ? run(bfloat_number()) : run(0.0f);
}

#endif
