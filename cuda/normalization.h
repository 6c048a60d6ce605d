/* normalization.h: what normalizations have in common: moments and projections as sums, and what is done to each element once they are
 * known, forward and backward: an affine function of it, and of the gradient that belongs to it. */
#ifndef ACTNN_CUDA_NORMALIZATION_H
#define ACTNN_CUDA_NORMALIZATION_H

#include "sums.h"

/* y = (x - center) * slope + bias + gradient * dy. */
typedef struct alignas(16) Coefficients {
  float center, slope, bias, gradient;
} Coefficients;

/* y may be x or dy; without a dy: forward. There are coefficients for all channels, or by_sample for those of each sample. */
int gpu_affine(const actnn_call *call, const layout_planes &planes, bool by_sample, const Coefficients *coefficients, const Floats &x,
               const Floats &dy, const Floats &y);

/* Sums of x and of its squares, x less a number near the mean. */
template <typename X> struct moment_terms : term_kind<2, true> {
  const X *x;
  __device__ float sample(int64_t offset) const { return widened(x[offset]); }
  __device__ Pair at(int64_t offset, int64_t, float center) const
  {
    float apart = widened(x[offset]) - center;
    Pair pair = {apart, apart * apart};
    return pair;
  }
};

typedef struct Moments {
  double mean, variance;
} Moments;

static inline __device__ Moments
moments_of(const Sums &sums, double count)
{
  double apart = sums.a / count, variance = sums.b / count - apart * apart;
  Moments moments = {sums.center + apart, variance < 0 ? 0 : variance}; /* NaN stays */
  return moments;
}

/* Sums of dy and of dy * (x - mean), the mean being that of every `each` results. */
template <typename Dy, typename X> struct projected_terms : term_kind<2, false> {
  const Dy *dy;
  const X *x;
  const float *mean;
  Divisor each;
  __device__ float center(int64_t place) const { return mean[quotient(place, each)]; }
  __device__ Pair at(int64_t offset, int64_t, float center) const
  {
    float gradient = widened(dy[offset]);
    Pair pair = {gradient, gradient * (widened(x[offset]) - center)};
    return pair;
  }
};

/* A fold whose finish gets the sums that moments are made of. */
template <typename Finish>
static int
sum_moments(const actnn_call *call, const actnn_view *x, const Fold &fold, Finish finish, Sums *partial)
{
  return with_floats(x, [=](auto element) {
    moment_terms<decltype(element)> term;
    term.x = (const decltype(element) *)x->data;
    return run_fold(call, fold, term, finish, partial);
  });
}

/* The same of projections. */
template <typename Finish>
static int
sum_projections(const actnn_call *call, const actnn_view *dy, const actnn_view *x, const float *mean, int64_t each, const Fold &fold,
                Finish finish, Sums *partial)
{
  return with_floats(dy, [=](auto gradient) {
    return with_floats(x, [=](auto element) {
      projected_terms<decltype(gradient), decltype(element)> term;
      term.dy = (const decltype(gradient) *)dy->data;
      term.x = (const decltype(element) *)x->data;
      term.mean = mean;
      term.each = divisor_of(each);
      return run_fold(call, fold, term, finish, partial);
    });
  });
}

static inline __device__ void
put(float *array, int64_t index, double value)
{
  if (array)
    array[index] = (float)value;
}

/* What gradients of scale and bias are. */
struct write_parameters {
  float *dscale, *db;
  __device__ void operator()(int64_t place, const Sums &sums) const
  {
    put(dscale, place, sums.b);
    put(db, place, sums.a);
  }
};

#endif
