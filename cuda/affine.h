/* affine.h: what normalizations do to each element once their statistics are known, forward and backward: an affine function of it, and
 * of the gradient that belongs to it, with coefficients by channel or by channel of a sample. */
#ifndef ACTNN_CUDA_AFFINE_H
#define ACTNN_CUDA_AFFINE_H

#include "moving.h"
#include "sums.h"

/* y = (x - center) * slope + bias + gradient * dy. All zero: padding. */
typedef struct alignas(16) Coefficients {
  float center, slope, bias, gradient;
} Coefficients;

/* Lanes of planes are padded_channels(planes) side by side; those of samples have coefficients of their own, or share them. */
typedef struct AffineJob {
  const float *x, *dy; /* dy NULL: forward */
  float *y;
  const Coefficients *coefficients;
  int64_t count;
  Divisor run, blocks, lanes; /* elements of a plane; planes until coefficients begin anew; lanes of a plane */
} AffineJob;

template <int Wide>
KERNEL
affine(AffineJob job)
{
  Columns<Wide> value[TAKEN_AT_ONCE];
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t unit = piece_number(each), i = unit * Wide;
    if (i >= job.count)
      break;
    int64_t plane = remainder_of(quotient(i, job.run), job.blocks);
    Coefficients own = job.coefficients[plane * job.lanes.number + remainder_of(i, job.lanes)];
    Columns<Wide> x = ((const Columns<Wide> *)job.x)[unit], dy = job.dy ? ((const Columns<Wide> *)job.dy)[unit] : Columns<Wide>();
    for (int k = 0; k < Wide; k++)
      value[each].of[k] = (x.of[k] - own.center) * own.slope + own.bias + own.gradient * dy.of[k];
  }
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t unit = piece_number(each);
    if (unit * Wide < job.count)
      ((Columns<Wide> *)job.y)[unit] = value[each];
  }
}

/* dy NULL: forward. */
static inline int
run_affine(const actnn_call *call, const layout_planes &planes, bool by_sample, const Coefficients *coefficients, const float *x,
           const float *dy, float *y)
{
  int64_t run = planes.positions * planes.lanes, count = planes.batch * planes.blocks * run;
  AffineJob job = {x, dy, y, coefficients, count, divisor_of(run), divisor_of(planes.blocks * (by_sample ? planes.batch : 1)),
                   divisor_of(planes.lanes)};
  if (planes.lanes == 1 && run % 4 == 0)
    return LAUNCH(call, affine<4>, threads_of(count / 4, TAKEN_AT_ONCE), job);
  return LAUNCH(call, affine<1>, threads_of(count, TAKEN_AT_ONCE), job);
}

/* Sums of x and of its squares, x less a number near the mean. */
struct moment_terms : term_kind<2, true> {
  const float *x;
  __device__ float sample(int64_t offset) const { return x[offset]; }
  __device__ Pair at(int64_t offset, int64_t, float center) const
  {
    float apart = x[offset] - center;
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

/* Sums of dy and of dy * (x - mean), the mean being that of every `each` results; beyond `count` results there is none. */
struct projected_terms : term_kind<2, false> {
  const float *dy, *x, *mean;
  Divisor each;
  int64_t count;
  __device__ float center(int64_t place) const { return place < count ? mean[quotient(place, each)] : 0; }
  __device__ Pair at(int64_t offset, int64_t, float center) const
  {
    Pair pair = {dy[offset], dy[offset] * (x[offset] - center)};
    return pair;
  }
};

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
