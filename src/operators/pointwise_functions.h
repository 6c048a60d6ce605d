/* pointwise_functions.h: scalar functions that expressions of elementwise.def use, for the type T. Included
 * once per arithmetic type; T is defined by the includer. <tgmath.h> picks the C library's function. */
#include <math.h>
#include <stdint.h>
#ifndef __cplusplus /* which overloads functions itself */
#include <tgmath.h>
#endif

#define K(constant) ((T)(constant))
#ifdef __cplusplus /* CUDA's kernels */
#define POINT_FUNCTION static inline __device__
#else
#define POINT_FUNCTION static inline
#endif

POINT_FUNCTION T
FUNCTION_OF_T(sigmoid)(T x)
{
  /* One exponential of a negative number: no overflow at either end. */
  T e = exp(-fabs(x));
  return (x >= 0 ? K(1) : e) / (K(1) + e);
}

POINT_FUNCTION T
FUNCTION_OF_T(softplus)(T x)
{
  return (x > 0 ? x : K(0)) + log1p(exp(-fabs(x)));
}

POINT_FUNCTION T
FUNCTION_OF_T(unit)(T x)
{
  return x < 0 ? K(0) : x > 1 ? K(1) : x;
}

POINT_FUNCTION T
FUNCTION_OF_T(gelu)(T x)
{
  return K(0.5) * x * (K(1) + erf(x * K(0.70710678118654752)));
}

POINT_FUNCTION T
FUNCTION_OF_T(gelu_slope)(T x)
{
  return K(0.5) * (K(1) + erf(x * K(0.70710678118654752))) + x * K(0.39894228040143268) * exp(K(-0.5) * x * x);
}

POINT_FUNCTION T
FUNCTION_OF_T(gelu_tanh)(T x)
{
  return K(0.5) * x * (K(1) + tanh(K(0.79788456080286536) * (x + K(0.044715) * x * x * x)));
}

POINT_FUNCTION T
FUNCTION_OF_T(gelu_tanh_slope)(T x)
{
  T t = tanh(K(0.79788456080286536) * (x + K(0.044715) * x * x * x));
  return K(0.5) * (K(1) + t)
         + K(0.5) * x * (K(1) - t * t) * K(0.79788456080286536) * (K(1) + K(3 * 0.044715) * x * x);
}

POINT_FUNCTION T
FUNCTION_OF_T(mish_slope)(T x)
{
  T t = tanh(FUNCTION_OF_T(softplus)(x));
  return t + x * FUNCTION_OF_T(sigmoid)(x) * (K(1) - t * t);
}

POINT_FUNCTION T
FUNCTION_OF_T(swish_slope)(T x, T alpha)
{
  T s = FUNCTION_OF_T(sigmoid)(alpha * x);
  return s + alpha * x * s * (K(1) - s);
}

/* ONNX Mod: the sign of the divisor, or with fmod the sign of the dividend. */
POINT_FUNCTION T
FUNCTION_OF_T(modulo)(T a, T b, int like_c)
{
  T remainder_ = fmod(a, b);
  return !like_c && remainder_ != 0 && (remainder_ < 0) != (b < 0) ? remainder_ + b : remainder_;
}

/* Shifts of 64 and more give 0: C leaves them undefined, like the conversion of a number beyond its integers. */
POINT_FUNCTION T
FUNCTION_OF_T(shift)(T a, T b, int right)
{
  uint64_t bits = fabs(a) < K(9.2e18) ? (uint64_t)(int64_t)a : (uint64_t)INT64_MAX;
  return !(b >= 0 && b <= 63) ? K(0) : (T)(right ? bits >> (int)b : bits << (int)b);
}

#define sigmoid FUNCTION_OF_T(sigmoid)
#define softplus FUNCTION_OF_T(softplus)
#define unit FUNCTION_OF_T(unit)
#define gelu FUNCTION_OF_T(gelu)
#define gelu_slope FUNCTION_OF_T(gelu_slope)
#define gelu_tanh FUNCTION_OF_T(gelu_tanh)
#define gelu_tanh_slope FUNCTION_OF_T(gelu_tanh_slope)
#define mish_slope FUNCTION_OF_T(mish_slope)
#define swish_slope FUNCTION_OF_T(swish_slope)
#define modulo FUNCTION_OF_T(modulo)
#define shift FUNCTION_OF_T(shift)
