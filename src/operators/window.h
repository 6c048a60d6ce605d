/* window.h: the window that convolutions and pools slide over the spatial axes, for evaluations and kernels.
 *
 * Geometry is always spoken of on three spatial axes (depth, height, width): the missing leading axes of a 1-d or
 * 2-d window have extent, stride and dilation 1 and no padding, so that every loop nest is written once. */
#ifndef ACTNN_WINDOW_H
#define ACTNN_WINDOW_H

#include "../../runtime/actnn.h"
#include "../../runtime/philox.h" /* ACTNN_DEVICE: CUDA's kernels slide the same windows */

enum { WINDOW_AXES = 3 };

typedef struct Window {
  int64_t batch, channels; /* of the tensor that the window slides over */
  int spatial;             /* 1 to 3 axes of the model */
  int64_t input[WINDOW_AXES], output[WINDOW_AXES], kernel[WINDOW_AXES];
  int64_t stride[WINDOW_AXES], dilation[WINDOW_AXES];
  int64_t begin[WINDOW_AXES], end[WINDOW_AXES]; /* padding */
} Window;

static inline ACTNN_DEVICE int64_t
window_volume(const int64_t *extent)
{
  return extent[0] * extent[1] * extent[2];
}

static inline int64_t
window_attribute(const actnn_attribute *attribute, int index, int64_t otherwise)
{
  return attribute->kind == ACTNN_INTS && (size_t)index < attribute->count ? attribute->ints[index] : otherwise;
}

/* The window over `input` that makes `output`. `attribute` points at kernel_shape, which strides, dilations and pads
 * follow in every signature. */
static inline Window
window_of(const actnn_attribute *attribute, const actnn_view *input, const actnn_view *output)
{
  Window window;
  window.batch = input->dim[0];
  window.channels = input->dim[1];
  window.spatial = input->rank - 2;
  int missing = WINDOW_AXES - window.spatial;
  for (int axis = 0; axis < WINDOW_AXES; axis++) {
    int i = axis - missing;
    bool is_missing = i < 0;
    window.input[axis] = is_missing ? 1 : input->dim[2 + i];
    window.output[axis] = is_missing ? 1 : output->dim[2 + i];
    window.kernel[axis] = is_missing ? 1 : window_attribute(&attribute[0], i, 1);
    window.stride[axis] = is_missing ? 1 : window_attribute(&attribute[1], i, 1);
    window.dilation[axis] = is_missing ? 1 : window_attribute(&attribute[2], i, 1);
    window.begin[axis] = is_missing ? 0 : window_attribute(&attribute[3], i, 0);
    window.end[axis] = is_missing ? 0 : window_attribute(&attribute[3], i + window.spatial, 0);
  }
  return window;
}

/* The taps [*first, *last) of the kernel along `axis` that fall on the input, for output position `at`; returns
 * where tap 0 lies, which may be in the padding. */
static inline ACTNN_DEVICE int64_t
window_taps(const Window *window, int axis, int64_t at, int64_t *first, int64_t *last)
{
  int64_t start = at * window->stride[axis] - window->begin[axis], dilation = window->dilation[axis];
  int64_t before = start < 0 ? -start : 0, room = window->input[axis] - start;
  if (room < 0) room = 0; /* taps at start + k * dilation < input */
  *first = dilation == 1 ? before : (before + dilation - 1) / dilation;
  *last = dilation == 1 ? room : (room + dilation - 1) / dilation;
  if (*last > window->kernel[axis]) *last = window->kernel[axis];
  if (*first > *last) *first = *last;
  return start;
}

/* The results [*first, *last) along `axis` whose windows may reach input position `at`, all of them where nothing is dilated. */
static inline ACTNN_DEVICE void
window_results(const Window *window, int axis, int64_t at, int64_t *first, int64_t *last)
{
  int64_t stride = window->stride[axis], place = at + window->begin[axis];
  int64_t beyond = place - (window->kernel[axis] - 1) * window->dilation[axis];
  *first = beyond > 0 ? (beyond + stride - 1) / stride : 0;
  *last = place / stride + 1;
  if (*last > window->output[axis]) *last = window->output[axis];
}

/* Taps along one axis that the average is over when it counts padding: all that rounding up did not add behind it. */
static inline ACTNN_DEVICE int64_t
window_counted(const Window *window, int axis, int64_t at)
{
  int64_t start = at * window->stride[axis] - window->begin[axis];
  int64_t room = window->input[axis] + window->end[axis] - start;
  int64_t count = (room + window->dilation[axis] - 1) / window->dilation[axis];
  return count < window->kernel[axis] ? count : window->kernel[axis];
}

#endif
