/* pooling.cu: pools. A thread makes one element: of a result from its window, of a gradient from the results whose windows hold it, in
 * the order in which the processor adds them. */
#include "floats.h"

#include "../src/operators/window.h"

enum { COUNT_INCLUDE_PAD = 6 }; /* this attribute, of average pools alone */

/* Images are batch x blocks planes of positions x lanes, lanes innermost (layout.h). */
typedef struct PoolJob {
  Window window;
  int64_t count, lanes, blocks, channels;
  Floats from, to;
  uint8_t *offset; /* of results of a max pool: made, or read by its gradient */
  bool counts_padding;
} PoolJob;

/* What a thread makes: where, and whether that is a channel. */
typedef struct PoolPlace {
  int64_t lane, plane, at[WINDOW_AXES];
  bool is_padding;
} PoolPlace;

/* Of a tensor whose planes have these extents. */
static __device__ PoolPlace
pool_place(const PoolJob &job, const int64_t *extent, int64_t i)
{
  PoolPlace place;
  place.lane = i % job.lanes;
  i /= job.lanes;
  for (int axis = WINDOW_AXES - 1; axis >= 0; axis--) {
    place.at[axis] = i % extent[axis];
    i /= extent[axis];
  }
  place.plane = i;
  place.is_padding = i % job.blocks * job.lanes + place.lane >= job.channels;
  return place;
}

/* Where element (z, y, x) of the same plane and lane lies in a tensor whose planes have these extents. */
static __device__ int64_t
element_place(const PoolJob &job, const PoolPlace &place, const int64_t *extent, int64_t z, int64_t y, int64_t x)
{
  return (((place.plane * extent[0] + z) * extent[1] + y) * extent[2] + x) * job.lanes + place.lane;
}

/* ---- results: windows ------------------------------------------------------------------------------------------ */

/* Taps [first, last) of each axis that lie on the image, and where tap 0 lies. */
typedef struct Taps {
  int64_t first[WINDOW_AXES], last[WINDOW_AXES], start[WINDOW_AXES];
} Taps;

static __device__ Taps
taps_at(const Window &window, const int64_t *at)
{
  Taps taps;
  for (int axis = 0; axis < WINDOW_AXES; axis++)
    taps.start[axis] = window_taps(&window, axis, at[axis], &taps.first[axis], &taps.last[axis]);
  return taps;
}

static __device__ float
average_scale(const PoolJob &job, const Taps &taps, const int64_t *at)
{
  int64_t count = 1;
  for (int axis = 0; axis < WINDOW_AXES; axis++)
    count *= job.counts_padding ? window_counted(&job.window, axis, at[axis]) : taps.last[axis] - taps.first[axis];
  return count ? 1 / (float)count : 0;
}

/* take(the element, the number of its tap), in order. */
template <typename Take>
static __device__ void
for_each_tap(const PoolJob &job, const PoolPlace &place, const Taps &taps, Take take)
{
  const Window &window = job.window;
  for (int64_t z = taps.first[0]; z < taps.last[0]; z++)
    for (int64_t y = taps.first[1]; y < taps.last[1]; y++) {
      int64_t row = element_place(job, place, window.input, taps.start[0] + z * window.dilation[0], taps.start[1] + y * window.dilation[1],
                                  taps.start[2]);
      int64_t tap = (z * window.kernel[1] + y) * window.kernel[2];
      for (int64_t x = taps.first[2]; x < taps.last[2]; x++)
        take(job.from[row + x * window.dilation[2] * job.lanes], tap + x);
    }
}

/* The first of the largest; a NaN is larger than all. */
KERNEL
max_pool(PoolJob job)
{
  int64_t i = thread_number();
  if (i >= job.count)
    return;
  PoolPlace place = pool_place(job, job.window.output, i);
  Taps taps = taps_at(job.window, place.at);
  float best = -INFINITY;
  bool is_empty = taps.first[0] == taps.last[0] || taps.first[1] == taps.last[1] || taps.first[2] == taps.last[2];
  int64_t at = is_empty ? 0 : (taps.first[0] * job.window.kernel[1] + taps.first[1]) * job.window.kernel[2] + taps.first[2];
  for_each_tap(job, place, taps, [&](float value, int64_t tap) {
    if (value > best || value != value) {
      best = value;
      at = tap;
    }
  });
  job.to.put(i, place.is_padding ? 0 : best);
  job.offset[i] = place.is_padding ? 0 : (uint8_t)at;
}

KERNEL
average_pool(PoolJob job)
{
  int64_t i = thread_number();
  if (i >= job.count)
    return;
  PoolPlace place = pool_place(job, job.window.output, i);
  Taps taps = taps_at(job.window, place.at);
  float sum = 0;
  for_each_tap(job, place, taps, [&](float value, int64_t) { sum += value; });
  job.to.put(i, place.is_padding ? 0 : sum * average_scale(job, taps, place.at));
}

/* ---- gradients: what a position was in ------------------------------------------------------------------------- */

/* The tap of the window at `result` that is input position `at`; -1: none, dilation passes it over. */
static __device__ int64_t
tap_of(const Window &window, int axis, int64_t at, int64_t result)
{
  int64_t apart = at + window.begin[axis] - result * window.stride[axis], dilation = window.dilation[axis];
  return dilation == 1 ? apart : apart % dilation ? -1 : apart / dilation;
}

/* take(a result, where it lies, the number of its tap here), in order. */
template <typename Take>
static __device__ void
for_each_window(const PoolJob &job, const PoolPlace &place, Take take)
{
  const Window &window = job.window;
  int64_t first[WINDOW_AXES], last[WINDOW_AXES], result[WINDOW_AXES];
  for (int axis = 0; axis < WINDOW_AXES; axis++)
    window_results(&window, axis, place.at[axis], &first[axis], &last[axis]);
  for (result[0] = first[0]; result[0] < last[0]; result[0]++)
    for (result[1] = first[1]; result[1] < last[1]; result[1]++)
      for (result[2] = first[2]; result[2] < last[2]; result[2]++) {
        int64_t z = tap_of(window, 0, place.at[0], result[0]), y = tap_of(window, 1, place.at[1], result[1]);
        int64_t x = tap_of(window, 2, place.at[2], result[2]);
        if (z >= 0 && y >= 0 && x >= 0)
          take(result, element_place(job, place, window.output, result[0], result[1], result[2]),
               (z * window.kernel[1] + y) * window.kernel[2] + x);
      }
}

KERNEL
max_pool_gradient(PoolJob job)
{
  int64_t i = thread_number();
  if (i >= job.count)
    return;
  PoolPlace place = pool_place(job, job.window.input, i);
  float sum = 0;
  for_each_window(job, place, [&](const int64_t *, int64_t at, int64_t tap) {
    if (job.offset[at] == tap)
      sum += job.from[at];
  });
  job.to.put(i, place.is_padding ? 0 : sum);
}

KERNEL
average_pool_gradient(PoolJob job)
{
  int64_t i = thread_number();
  if (i >= job.count)
    return;
  PoolPlace place = pool_place(job, job.window.input, i);
  float sum = 0;
  for_each_window(job, place, [&](const int64_t *result, int64_t at, int64_t) {
    sum += job.from[at] * average_scale(job, taps_at(job.window, result), result);
  });
  job.to.put(i, place.is_padding ? 0 : sum);
}

/* ---- calls ----------------------------------------------------------------------------------------------------- */

/* `image` is what the windows slide over; kernel_shape is attribute `shape`; the first operand and result are read and made. */
static PoolJob
pool_job(const actnn_call *call, const actnn_view *image, const actnn_view *result, size_t shape)
{
  PoolJob job;
  layout_planes planes = layout_of(call->trainer, image);
  bool is_gradient = image == &call->output[0];
  const actnn_view *offset = is_gradient ? optional_input(call, 1) : optional_output(call, 1);
  memset(&job, 0, sizeof job);
  job.window = window_of(call->attribute + shape, image, result);
  job.lanes = planes.lanes;
  job.blocks = planes.blocks;
  job.channels = planes.channels;
  job.count = planes.batch * planes.blocks * planes.lanes * window_volume(is_gradient ? job.window.input : job.window.output);
  job.from = floats_of(&call->input[0]);
  job.to = floats_of(&call->output[0]);
  job.offset = offset ? (uint8_t *)offset->data : NULL;
  job.counts_padding = call->attribute_count > COUNT_INCLUDE_PAD && call->attribute[COUNT_INCLUDE_PAD].i != 0;
  return job;
}

#define POOLS(NAME, kernel, image, result, shape) \
  extern "C" int gpu_##NAME(const actnn_call *call) \
  { \
    if (actnn_is_preparing(call)) \
      return 0; \
    PoolJob job = pool_job(call, image, result, shape); \
    return LAUNCH(call, kernel, job.count, job); \
  }
POOLS(MaxPoolWithOffset, max_pool, &call->input[0], &call->output[0], 0)
POOLS(MaxPoolGrad, max_pool_gradient, &call->output[0], &call->input[0], 1)
POOLS(AveragePool, average_pool, &call->input[0], &call->output[0], 1)
POOLS(AveragePoolGrad, average_pool_gradient, &call->output[0], &call->input[0], 1)
