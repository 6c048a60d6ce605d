/* actnn_pointwise.h: elementwise kernels for GPUs: rows of the operator table (pointwise.cu), and what joined nodes of an emitted trainer
 * are made of:
 *
 *   POINTWISE(joined_0, 2, 1)
 *   {
 *     const float t0 = point_Add(x(0), x(1));
 *     y(0) = point_Relu(t0);
 *   }
 *
 *   POINTWISE_TABLE(train_pointwise) = {
 *     {"t0=Add(x0,x1);y0=Relu(t0)", joined_0},
 *     POINTWISE_END
 *   };
 *
 * A thread computes four elements side by side: it reads all operands of theirs, then writes all results. Installed, with the headers that
 * it includes; nothing here knows of the runtime. */
#ifndef ACTNN_POINTWISE_H
#define ACTNN_POINTWISE_H

#include "launch.h"

#include "actnn.h"
#include "bfloat_value.h"
#include "broadcast.h"

#include <string.h>

#define T float
#define FUNCTION_OF_T(name) name##_float
#include "operators/pointwise_functions.h"

enum { MOST_POINT_OPERANDS = 16, MOST_POINT_RESULTS = 8, SIDE_BY_SIDE = 4 };

typedef enum point_form { POINT_FLOATS, POINT_BFLOATS, POINT_BYTES } point_form;

typedef struct PointResult {
  void *data;
  point_form form;
} PointResult;

/* A call of a kernel. */
typedef struct PointJob {
  Source source[MOST_POINT_OPERANDS];
  PointResult result[MOST_POINT_RESULTS];
  int64_t count;
} PointJob;

/* ---- operands and results ---------------------------------------------------------------------------------------- */

template <typename Element> struct alignas(SIDE_BY_SIDE * sizeof(Element)) Beside {
  Element of[SIDE_BY_SIDE];
};

/* Where the operand's element for element i of the results lies; -1: it has none, and counts as zero. */
template <typename Index>
static inline __device__ int64_t
place_in(const Source &source, Index i)
{
  if (source.access == REPEATED)
    return 0;
  if (source.access == STRAIGHT || source.rank == 1)
    return (int64_t)i * (source.access == STRAIGHT ? 1 : source.stride[0]);
  Index rest = i, block = 0, lane = 0;
  int64_t at = 0;
  for (int axis = source.rank - 1; axis >= 0; axis--) {
    Index extent = (Index)source.dim[axis], index = rest % extent;
    rest /= extent;
    at += (int64_t)index * source.stride[axis];
    if (axis == source.rank - 1)
      lane = index;
    if (axis == source.block_axis)
      block = index;
  }
  return source.block_axis >= 0 && (int64_t)block == source.last_block && (int64_t)lane >= source.last_lanes ? -1 : at;
}

static inline __device__ float
point_at(const Source &source, int64_t at)
{
  if (at < 0)
    return 0;
  if (source.is_bfloat)
    return bfloat_widened(((const uint16_t *)source.data)[at]);
  return source.is_bytes ? ((const uint8_t *)source.data)[at] : ((const float *)source.data)[at];
}

/* The operand's elements for `count` - `first` elements of the results from `first` on, four at most. */
template <typename Index>
static inline __device__ void
load_points(const Source &source, int64_t count, int64_t first, float (&x)[SIDE_BY_SIDE])
{
  bool is_straight = source.access == STRAIGHT || (source.access == GATHERED && source.rank == 1 && source.stride[0] == 1);
  if (!is_straight || first + SIDE_BY_SIDE > count) {
    for (int i = 0; i < SIDE_BY_SIDE; i++)
      x[i] = first + i < count ? point_at(source, place_in(source, (Index)(first + i))) : 0;
  } else if (source.is_bfloat) {
    Beside<uint16_t> beside = ((const Beside<uint16_t> *)source.data)[first / SIDE_BY_SIDE];
    for (int i = 0; i < SIDE_BY_SIDE; i++)
      x[i] = bfloat_widened(beside.of[i]);
  } else if (source.is_bytes) {
    Beside<uint8_t> beside = ((const Beside<uint8_t> *)source.data)[first / SIDE_BY_SIDE];
    for (int i = 0; i < SIDE_BY_SIDE; i++)
      x[i] = beside.of[i];
  } else {
    Beside<float> beside = ((const Beside<float> *)source.data)[first / SIDE_BY_SIDE];
    for (int i = 0; i < SIDE_BY_SIDE; i++)
      x[i] = beside.of[i];
  }
}

template <typename Element>
static inline __device__ void
store_beside(void *data, int64_t count, int64_t first, const Beside<Element> &beside)
{
  if (first + SIDE_BY_SIDE <= count)
    ((Beside<Element> *)data)[first / SIDE_BY_SIDE] = beside;
  else
    for (int i = 0; i < SIDE_BY_SIDE; i++)
      if (first + i < count)
        ((Element *)data)[first + i] = beside.of[i];
}

static inline __device__ void
store_points(const PointResult &result, int64_t count, int64_t first, const float (&y)[SIDE_BY_SIDE])
{
  Beside<float> floats;
  Beside<uint16_t> rounded;
  Beside<uint8_t> bytes;
  for (int i = 0; i < SIDE_BY_SIDE; i++) {
    floats.of[i] = y[i];
    rounded.of[i] = bfloat_rounded(y[i]);
    bytes.of[i] = y[i] != 0;
  }
  if (result.form == POINT_FLOATS)
    store_beside(result.data, count, first, floats);
  else if (result.form == POINT_BFLOATS)
    store_beside(result.data, count, first, rounded);
  else
    store_beside(result.data, count, first, bytes);
}

/* ---- the loop ------------------------------------------------------------------------------------------------------- */

template <int operands> struct PointSources {
  Source of[operands];
};
template <int results> struct PointResults {
  PointResult of[results];
};

template <typename Index, typename Steps>
KERNEL
run_points(PointSources<Steps::operands> source, PointResults<Steps::results> result, int64_t count, Steps steps)
{
  int64_t first = thread_number() * SIDE_BY_SIDE;
  if (first >= count)
    return;
  float given[Steps::operands][SIDE_BY_SIDE], made[Steps::results][SIDE_BY_SIDE];
  for (int k = 0; k < Steps::operands; k++)
    load_points<Index>(source.of[k], count, first, given[k]);
  for (int i = 0; i < SIDE_BY_SIDE; i++) {
    float x[Steps::operands], y[Steps::results];
    for (int k = 0; k < Steps::operands; k++)
      x[k] = given[k][i];
    steps(x, y);
    for (int k = 0; k < Steps::results; k++)
      made[k][i] = y[k];
  }
  for (int k = 0; k < Steps::results; k++)
    store_points(result.of[k], count, first, made[k]);
}

/* Whether that went well is asked here: a trainer's kernels may have another copy of CUDA's runtime than the library, which knows nothing of
 * its errors. */
template <typename Steps>
static cudaError_t
launch_points(const PointJob *job, cudaStream_t stream, const Steps &steps)
{
  PointSources<Steps::operands> source;
  PointResults<Steps::results> result;
  memcpy(source.of, job->source, sizeof source.of);
  memcpy(result.of, job->result, sizeof result.of);
  unsigned blocks = blocks_for((job->count + SIDE_BY_SIDE - 1) / SIDE_BY_SIDE);
  if (job->count <= INT32_MAX)
    LAUNCH_ON(stream, shim_run_threads, (run_points<uint32_t, Steps>), blocks, source, result, job->count, steps);
  else
    LAUNCH_ON(stream, shim_run_threads, (run_points<uint64_t, Steps>), blocks, source, result, job->count, steps);
  return cudaGetLastError();
}

/* ---- each row as a function of its operands, then its attributes ---------------------------------------------------- */

#define X(a) T a
#define XY(a, b) T a, T b
#define XYZ(a, b, c) T a, T b, T c
#define NO_ATTRIBUTES
#define REAL1(a, da) , T a
#define REAL2(a, da, b, db) , T a, T b
#define FLAG1(a, da) , int a##_
#define FLAG2(a, da, b, db) , int a##_, int b##_
#define CHOICE1(a, da) , int a##_
#define POINT(NAME, given, attributes, result, expression, ...) \
  static inline __device__ float point_##NAME(given attributes) { return (float)(expression); }
#define UNARY(NAME, attributes, expression, slope, ...) \
  static inline __device__ float point_##NAME(T x attributes) { return (float)(expression); } \
  static inline __device__ float point_##NAME##Slope(T x attributes) \
  { \
    T y = expression; \
    (void)y; \
    return (float)(slope); \
  }
#include "operators/elementwise.def"
#undef POINT
#undef UNARY
#undef X
#undef XY
#undef XYZ
#undef NO_ATTRIBUTES
#undef REAL1
#undef REAL2
#undef FLAG1
#undef FLAG2
#undef CHOICE1
#undef T

/* ---- joined nodes ------------------------------------------------------------------------------------------------------ */

#define POINTWISE(name, operand_count, result_count) \
  struct name##_steps { \
    enum { operands = operand_count, results = result_count }; \
    inline __device__ void operator()(const float (&given)[operand_count], float (&made)[result_count]) const; \
  }; \
  static int name(const void *job, void *stream) { return launch_points((const PointJob *)job, (cudaStream_t)stream, name##_steps()); } \
  inline __device__ void name##_steps::operator()(const float (&given)[operand_count], float (&made)[result_count]) const
#define x(k) given[k]
#define y(k) made[k]
#define POINTWISE_TABLE(name) \
  extern "C" const actnn_pointwise name[]; \
  const actnn_pointwise name[]
#define POINTWISE_END {NULL, NULL}

#endif
