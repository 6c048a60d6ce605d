/* vector_math.h: exponentials and their relatives in float, as straight lines of arithmetic.
 *
 * The C library's functions cannot be vectorized without fast-math. These can: no branch, no table, no call. They
 * are within 3 units in the last place (tests/runtime/test_kernels.c measures it), treat infinities and NaN as C
 * does, and give the same bits on every instruction set, because nothing is contracted or reassociated.
 */
#ifndef ACTNN_VECTOR_MATH_H
#define ACTNN_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t
bits_of_float(float x)
{
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float
float_of_bits(uint32_t bits)
{
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* 2^n for n in [-126, 127]. */
static inline float
power_of_two(int32_t n)
{
  return float_of_bits((uint32_t)(n + 127) << 23);
}

/* x = n ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 leaves the rounded integer in the low bits. */
static inline int32_t
split_by_log_two(float x, float *r)
{
  float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
  *r = x - n * 0.693145752f; /* 16 bits of ln 2: the product is exact */
  *r -= n * 1.42860677e-6f;
  /* A NaN leaves no integer behind; any will do, but one that cannot overflow. */
  return (int32_t)((bits_of_float(shifted) - 0x4B400000u) << 8) >> 8;
}

/* (e^r - 1 - r) / r^2 */
static inline float
exp_tail(float r)
{
  return 0.5f + r * (1.66666667e-1f + r * (4.16666667e-2f + r * (8.33333333e-3f + r * (1.38888889e-3f + r * 1.98412698e-4f))));
}

static inline float
exp_float(float x)
{
  float r, clamped = x > 89.0f ? 89.0f : x < -105.0f ? -105.0f : x;
  int32_t n = split_by_log_two(clamped, &r), half = n >> 1;
  float p = 1.0f + (r + r * r * exp_tail(r));
  return p * power_of_two(half) * power_of_two(n - half); /* in two steps: n reaches 128 and -151 */
}

static inline float
expm1_float(float x)
{
  float r, clamped = x > 88.8f ? 88.8f : x < -20.0f ? -20.0f : x;
  int32_t n = split_by_log_two(clamped, &r);
  float p = r + r * r * exp_tail(r), half = power_of_two(n - 1);
  float y = (p * half + (half - 0.5f)) * 2.0f;
  y = x == 0.0f ? x : n == 0 ? p : y; /* the first keeps the sign of zero */
  return x > 88.8f ? x * 1e38f * 10.0f : y;
}

/* x = 2^e m with m near 1; log(m) = 2 atanh(s), s = (m - 1) / (m + 1). */
static inline float
log_float(float x)
{
  float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x;
  uint32_t bits = bits_of_float(scaled);
  int32_t e = (int32_t)(bits - 0x3F3504F3u) >> 23;
  float f = float_of_bits(bits - ((uint32_t)e << 23)) - 1.0f, s = f / (2.0f + f), z = s * s;
  float n = (float)e - (x < 1.17549435e-38f ? 23.0f : 0.0f);
  float tail = z * (6.66666667e-1f + z * (4.0e-1f + z * (2.85714286e-1f + z * 2.22222222e-1f)));
  float half = 0.5f * f * f;
  /* log(1 + f) = f - (f^2/2 - s (f^2/2 + tail)): f enters unrounded */
  float y = n * 0.693145752f + (f - (half - (s * (half + tail) + n * 1.42860677e-6f)));
  y = x == 0.0f ? -INFINITY : x < 0.0f ? NAN : y;
  return x == INFINITY || x != x ? x : y;
}

static inline float
log1p_float(float x)
{
  float u = 1.0f + x, lost = (x - (u - 1.0f)) / u;
  float y = log_float(u) + (u == 0.0f || u == INFINITY ? 0.0f : lost);
  return x == 0.0f ? x : y;
}

static inline float
tanh_float(float x)
{
  float e = expm1_float(-2.0f * fabsf(x)), y = -e / (2.0f + e);
  y = x == 0.0f ? 0.0f : y;
  return copysignf(y, x);
}

/* Below 1 a polynomial in x^2, above it 1 - exp(-x^2) times a polynomial in 1 / (1 + x/2); both fitted to the
 * largest error (3e-11 and 5e-11 before rounding). */
static inline float
erf_float(float x)
{
  float z = x * x, size = fabsf(x), far = size > 4.1f ? 4.1f : size, t = 1.0f / (1.0f + 0.5f * far);
  float small =
      x * (1.12837917f + z * (-3.76126385e-1f + z * (1.12837827e-1f + z * (-2.68654458e-2f + z * (5.22107487e-3f
      + z * (-8.48471136e-4f + z * (1.12705437e-4f + z * -9.68013381e-6f)))))));
  float q = -1.22839868e-4f + t * (2.84374246e-1f + t * (2.63698888e-1f + t * (3.30866754e-1f + t * (-5.93098877e-2f
      + t * (4.8976327e-1f + t * (-3.95663803e-1f + t * (7.53952688e-2f + t * 1.10884089e-2f)))))));
  float large = copysignf(1.0f - exp_float(-far * far) * q, x);
  return x != x ? x : size < 1.0f ? small : large;
}

#endif
