/* constants.cu: tensors that follow from attributes, and OneHot, whose indices alone are data. */
#include "moving.h"

#include "../src/operators/indices.h"
#include "../src/operators/patterns.h"

/* ---- given numbers --------------------------------------------------------------------------------------------- */

enum { MOST_VALUES = 256 }; /* which travel with the launch */

typedef struct FillJob {
  actnn_view y;
  int64_t count;
  bool is_one;
  double value[MOST_VALUES];
} FillJob;

KERNEL
fill(FillJob job)
{
  int64_t i = thread_number();
  if (i < job.count)
    store_element(&job.y, i, job.value[job.is_one ? 0 : i]);
}

/* One number for all elements, or one for each. */
static int
fill_with(const actnn_call *call, const double *number, size_t count)
{
  const actnn_view *y = &call->output[0];
  if (count < 1 || count > MOST_VALUES)
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  FillJob job = {*y, element_count(y), count == 1, {0}};
  if (job.is_one && number[0] == 0 && !signbit(number[0]))
    return clear_bytes(call, y->data, job.count * (int64_t)element_bytes(y->type));
  memcpy(job.value, number, count * sizeof *number);
  return LAUNCH(call, fill, job.count, job);
}

extern "C" int
gpu_Fill(const actnn_call *call)
{
  return fill_with(call, call->attribute[2].reals, call->attribute[2].count);
}

extern "C" int
gpu_ConstantOfShape(const actnn_call *call)
{
  double number = number_at(&call->attribute[1], 0, 0);
  return fill_with(call, &number, 1);
}

/* ---- numbers that follow from their place ---------------------------------------------------------------------- */

KERNEL
make_range(actnn_view y, int64_t count, double start, double delta)
{
  int64_t i = thread_number();
  if (i < count)
    store_element(&y, i, range_element(start, delta, i));
}

extern "C" int
gpu_Range(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  int64_t count = element_count(y);
  double start = number_at(&call->attribute[0], 0, 0), delta = number_at(&call->attribute[2], 0, 1);
  return actnn_is_preparing(call) ? 0 : LAUNCH(call, make_range, count, *y, count, start, delta);
}

typedef struct OneHotJob {
  actnn_view indices, y;
  int64_t count, depth, inner;
  double off, on;
} OneHotJob;

KERNEL
one_hot(OneHotJob job)
{
  int64_t i = thread_number();
  if (i < job.count)
    store_element(&job.y, i, is_hot(&job.indices, job.depth, job.inner, i) ? job.on : job.off);
}

extern "C" int
gpu_OneHot(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  AroundAxis around = around_axis(y, call->attribute[2].i);
  OneHotJob job = {call->input[0], *y, element_count(y), around.extent, around.inner, number_at(&call->attribute[1], 0, 0),
                   number_at(&call->attribute[1], 1, 1)};
  return actnn_is_preparing(call) ? 0 : LAUNCH(call, one_hot, job.count, job);
}
