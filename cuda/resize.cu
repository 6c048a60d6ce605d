/* resize.cu: Resize and its gradient. What each position of the large tensor reads along an axis is found first (resizing.h) and lies in
 * the workspace. A thread makes one element: of a result from its taps, of a gradient from the positions that read it, in order. */
#include "sums.h"

#include "../src/operators/resizing.h"

#include <type_traits>

enum { RESIZED_AXES = 4, NO_TAP = -1 };

/* Those of a position lie side by side, MOST_TAPS of them, and end in NO_TAP where they are fewer. */
typedef struct Tap {
  int32_t at;
  float weight;
} Tap;

/* Positions [first, end) of the large tensor: all that read one of the small tensor are among them. */
typedef struct Readers {
  int32_t first, end;
} Readers;

typedef struct ResizedAxis {
  int64_t small, large;
  Divisor extent; /* of what is made */
  int64_t stride; /* of what is read */
  Tap *tap;
  Readers *readers; /* for the gradient */
} ResizedAxis;

typedef struct ResizeJob {
  Floats from, to;
  int64_t count, plane; /* elements to make; of a plane to read */
  float outside;
  ResizedAxis axis[RESIZED_AXES];
} ResizeJob;

/* ---- taps ------------------------------------------------------------------------------------------------------ */

KERNEL
find_taps(Resizing resizing, int number, ResizedAxis axis)
{
  int64_t position = thread_number();
  if (position >= axis.large)
    return;
  Taps taps = taps_of(&resizing, number, position);
  for (int k = 0; k < MOST_TAPS; k++) {
    Tap tap = {k < taps.count ? (int32_t)taps.at[k] : NO_TAP, k < taps.count ? (float)taps.weight[k] : 0};
    axis.tap[position * MOST_TAPS + k] = tap;
  }
}

/* The weight with which a position of the large tensor reads one of the small tensor; false: it does not. */
static __device__ bool
reads(const ResizedAxis &axis, int64_t large, int64_t small, float *weight)
{
  bool does = false;
  *weight = 0;
  for (int k = 0; k < MOST_TAPS; k++) {
    Tap tap = axis.tap[large * MOST_TAPS + k];
    if (tap.at != small)
      continue;
    does = true;
    *weight += tap.weight;
  }
  return does;
}

/* A block has a position of the small tensor. */
KERNEL
find_readers(ResizedAxis axis)
{
  int32_t before = 0, end = 0; /* how many positions lie before the first, counted from the end, so that both are maxima */
  float weight;
  for (int64_t i = threadIdx.x; i < axis.large; i += BLOCK_THREADS) {
    if (!reads(axis, i, blockIdx.x, &weight))
      continue;
    int32_t from_end = (int32_t)(axis.large - i);
    before = from_end > before ? from_end : before;
    end = (int32_t)i + 1;
  }
  before = block_max(before);
  end = block_max(end);
  Readers readers = {(int32_t)axis.large - before, end};
  if (threadIdx.x == 0)
    axis.readers[blockIdx.x] = readers;
}

/* ---- elements -------------------------------------------------------------------------------------------------- */

/* The plane of element i of what is made, and its position on it. */
template <int Axes>
static __device__ int64_t
position_of(const ResizeJob &job, int64_t i, int64_t *position)
{
  for (int axis = Axes - 1; axis >= 0; axis--) {
    int64_t rest = quotient(i, job.axis[axis].extent);
    position[axis] = i - rest * job.axis[axis].extent.number;
    i = rest;
  }
  return i;
}

/* Along axes from `Axis` on. */
template <int Axis, int Axes>
static __device__ float
sum_taps(const ResizeJob &job, const int64_t *position, int64_t at)
{
  if constexpr (Axis == Axes) {
    return job.from[at];
  } else {
    const ResizedAxis &axis = job.axis[Axis];
    const Tap *tap = axis.tap + position[Axis] * MOST_TAPS;
    float sum = 0;
    for (int k = 0; k < MOST_TAPS && tap[k].at != NO_TAP; k++)
      sum += tap[k].weight * sum_taps<Axis + 1, Axes>(job, position, at + tap[k].at * axis.stride);
    return sum;
  }
}

template <int Axes>
KERNEL
resize(ResizeJob job)
{
  int64_t i = thread_number(), position[RESIZED_AXES];
  if (i >= job.count)
    return;
  int64_t plane = position_of<Axes>(job, i, position);
  bool is_outside = false;
  for (int axis = 0; axis < Axes; axis++)
    is_outside |= job.axis[axis].tap[position[axis] * MOST_TAPS].at == NO_TAP;
  job.to.put(i, is_outside ? job.outside : sum_taps<0, Axes>(job, position, plane * job.plane));
}

template <int Axis, int Axes>
static __device__ float
sum_readers(const ResizeJob &job, const int64_t *position, int64_t at)
{
  if constexpr (Axis == Axes) {
    return job.from[at];
  } else {
    const ResizedAxis &axis = job.axis[Axis];
    Readers readers = axis.readers[position[Axis]];
    float sum = 0, weight;
    for (int64_t i = readers.first; i < readers.end; i++)
      if (reads(axis, i, position[Axis], &weight))
        sum += weight * sum_readers<Axis + 1, Axes>(job, position, at + i * axis.stride);
    return sum;
  }
}

template <int Axes>
KERNEL
resize_gradient(ResizeJob job)
{
  int64_t i = thread_number(), position[RESIZED_AXES];
  if (i >= job.count)
    return;
  int64_t plane = position_of<Axes>(job, i, position);
  job.to.put(i, sum_readers<0, Axes>(job, position, plane * job.plane));
}

/* ---- calls ----------------------------------------------------------------------------------------------------- */

/* run(their number) */
template <typename Run>
static int
with_axes(int axes, Run run)
{
  switch (axes) {
  case 0: return run(std::integral_constant<int, 0>());
  case 1: return run(std::integral_constant<int, 1>());
  case 2: return run(std::integral_constant<int, 2>());
  case 3: return run(std::integral_constant<int, 3>());
  default: return run(std::integral_constant<int, RESIZED_AXES>());
  }
}

static int
run_resize(const actnn_call *call, const Resizing &resizing)
{
  int leading = plane_axes(&resizing), axes = resizing.rank - leading;
  if (!is_for_floats(call, true) || axes > RESIZED_AXES)
    return DEVICE_DECLINES;
  gpu_room room = {0, false};
  ResizeJob job;
  memset(&job, 0, sizeof job);
  job.from = floats_input(call, 0);
  job.to = floats_output(call, 0);
  job.count = element_count(&call->output[0]);
  job.plane = 1;
  job.outside = (float)resizing.outside;
  for (int i = axes - 1; i >= 0; i--) {
    ResizedAxis *axis = &job.axis[i];
    axis->small = resizing.small[leading + i];
    axis->large = resizing.large[leading + i];
    axis->extent = divisor_of(resizing.is_gradient ? axis->small : axis->large);
    axis->stride = job.plane;
    axis->tap = take_room<Tap>(call, &room, axis->large * MOST_TAPS);
    axis->readers = take_room<Readers>(call, &room, resizing.is_gradient ? axis->small : 0);
    job.plane *= resizing.is_gradient ? axis->large : axis->small;
    room.declines |= axis->small > INT32_MAX || axis->large > INT32_MAX;
  }
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  for (int i = 0; i < axes; i++)
    if (LAUNCH(call, find_taps, job.axis[i].large, resizing, leading + i, job.axis[i]) ||
        (resizing.is_gradient && LAUNCH_BLOCKS(call, find_readers, job.axis[i].small, job.axis[i])))
      return 1;
  return with_axes(axes, [=](auto number) {
    return resizing.is_gradient ? LAUNCH(call, resize_gradient<decltype(number)::value>, job.count, job)
                                : LAUNCH(call, resize<decltype(number)::value>, job.count, job);
  });
}

extern "C" int
gpu_Resize(const actnn_call *call)
{
  return run_resize(call, resizing_forward(call));
}

extern "C" int
gpu_ResizeGrad(const actnn_call *call)
{
  return run_resize(call, resizing_backward(call));
}
