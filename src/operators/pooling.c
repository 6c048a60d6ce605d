/* pooling.c: pools by their definition, one window after another. */
#include "evaluation.h"
#include "window.h"

actnn_kernel EVALUATE(MaxPool), EVALUATE(MaxPoolWithOffset), EVALUATE(MaxPoolGrad), EVALUATE(AveragePool),
    EVALUATE(AveragePoolGrad), EVALUATE(GlobalAveragePool), EVALUATE(GlobalAveragePoolGrad), EVALUATE(GlobalMaxPool);

/* Where tap `tap` of the window at output position `at` lies in the image; -1: in the padding. */
static int64_t
place_of(const Window *window, const int64_t *at, const int64_t *tap)
{
  int64_t place = 0;
  for (int axis = 0; axis < WINDOW_AXES; axis++) {
    int64_t i = at[axis] * window->stride[axis] - window->begin[axis] + tap[axis] * window->dilation[axis];
    if (i < 0 || i >= window->input[axis]) return -1;
    place = place * window->input[axis] + i;
  }
  return place;
}

static REAL
real_at(const actnn_view *view, int64_t index)
{
  return ((const REAL *)view->data)[index];
}

/* The tap that holds the largest element of a window, the first of equal ones; a NaN counts as largest, as it does
 * in other frameworks. -1: the window lies in the padding alone. */
static int64_t
largest_tap(const Window *window, const REAL *image, const int64_t *at, int64_t *place)
{
  int64_t tap[WINDOW_AXES] = {0}, best = -1, taps = window_volume(window->kernel);
  for (int64_t k = 0; k < taps; k++) {
    int64_t i = place_of(window, at, tap);
    next_index(tap, window->kernel, WINDOW_AXES);
    if (i < 0) continue;
    if (best >= 0 && !(image[i] > image[*place] || image[i] != image[i])) continue;
    best = k;
    *place = i;
  }
  return best;
}

/* ONNX numbers an element in the whole tensor, along columns first if storage_order is 1 (2-d images). */
static int64_t
index_of(const Window *window, int64_t plane, int64_t place, bool by_columns)
{
  int64_t height = window->input[1], width = window->input[2];
  if (by_columns && window->spatial == 2) place = place % width * height + place / width;
  return plane * window_volume(window->input) + place;
}

int
EVALUATE(MaxPool)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0], *indices = optional_output(call, 1);
  Window window = window_of(call->attribute + 1, x, y);
  int64_t size = window_volume(window.input), count = window_volume(window.output);
  for (int64_t plane = 0; plane < window.batch * window.channels; plane++) {
    const REAL *image = (const REAL *)x->data + plane * size;
    int64_t at[WINDOW_AXES] = {0};
    for (int64_t o = plane * count; o < (plane + 1) * count; o++) {
      int64_t place = 0;
      bool is_empty = largest_tap(&window, image, at, &place) < 0;
      ((REAL *)y->data)[o] = is_empty ? (REAL)-INFINITY : image[place];
      if (indices) ((int64_t *)indices->data)[o] = index_of(&window, plane, place, call->attribute[6].i == 1);
      next_index(at, window.output, WINDOW_AXES);
    }
  }
  return 0;
}

int
EVALUATE(MaxPoolWithOffset)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  Window window = window_of(call->attribute, x, y);
  int64_t size = window_volume(window.input), count = window_volume(window.output);
  for (int64_t plane = 0; plane < window.batch * window.channels; plane++) {
    const REAL *image = (const REAL *)x->data + plane * size;
    int64_t at[WINDOW_AXES] = {0};
    for (int64_t o = plane * count; o < (plane + 1) * count; o++) {
      int64_t place = 0, tap = largest_tap(&window, image, at, &place);
      ((REAL *)y->data)[o] = tap < 0 ? (REAL)-INFINITY : image[place];
      ((uint8_t *)call->output[1].data)[o] = (uint8_t)(tap < 0 ? 0 : tap);
      next_index(at, window.output, WINDOW_AXES);
    }
  }
  return 0;
}

int
EVALUATE(MaxPoolGrad)(const actnn_call *call)
{
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  Window window = window_of(call->attribute + 1, dx, dy);
  int64_t size = window_volume(window.input), count = window_volume(window.output), taps = window_volume(window.kernel);
  memset(dx->data, 0, (size_t)element_count(dx) * sizeof(REAL));
  for (int64_t plane = 0; plane < window.batch * window.channels; plane++) {
    int64_t at[WINDOW_AXES] = {0};
    for (int64_t o = plane * count; o < (plane + 1) * count; o++) {
      int64_t k = ((const uint8_t *)call->input[1].data)[o], width = window.kernel[2], height = window.kernel[1];
      int64_t tap[WINDOW_AXES] = {k / width / height, k / width % height, k % width};
      int64_t place = k < taps ? place_of(&window, at, tap) : -1;
      if (place >= 0) ((REAL *)dx->data)[plane * size + place] += real_at(dy, o);
      next_index(at, window.output, WINDOW_AXES);
    }
  }
  return 0;
}

/* How many elements the average at `at` is over: those on the image, or those that the padding has too, but never those
 * that rounding up adds behind the padding. */
static int64_t
divisor(const Window *window, const int64_t *at, bool count_include_pad)
{
  int64_t count = 1;
  for (int axis = 0; axis < WINDOW_AXES; axis++) {
    Window padded = *window;
    if (count_include_pad) padded.input[axis] += padded.end[axis];
    int64_t first, last;
    window_taps(&padded, axis, at[axis], &first, &last);
    count *= count_include_pad ? last : last - first;
  }
  return count;
}

/* y = average of x, or dx = what y's gradient gives back: the same sums with roles changed. */
static void
average(const actnn_call *call, const actnn_view *image, const actnn_view *averages, bool is_gradient)
{
  Window window = window_of(call->attribute + 1, image, averages);
  bool count_include_pad = call->attribute[6].i != 0;
  int64_t size = window_volume(window.input), count = window_volume(window.output), taps = window_volume(window.kernel);
  if (is_gradient) memset(image->data, 0, (size_t)element_count(image) * sizeof(REAL));
  for (int64_t plane = 0; plane < window.batch * window.channels; plane++) {
    int64_t at[WINDOW_AXES] = {0};
    for (int64_t o = plane * count; o < (plane + 1) * count; o++) {
      int64_t tap[WINDOW_AXES] = {0}, over = divisor(&window, at, count_include_pad);
      double sum = 0, scale = over ? 1 / (double)over : 0;
      for (int64_t k = 0; k < taps; k++) {
        int64_t place = place_of(&window, at, tap);
        next_index(tap, window.kernel, WINDOW_AXES);
        if (place < 0) continue;
        REAL *element = (REAL *)image->data + plane * size + place;
        if (is_gradient) *element += (REAL)(real_at(averages, o) * scale);
        else sum += *element;
      }
      if (!is_gradient) ((REAL *)averages->data)[o] = (REAL)(sum * scale);
      next_index(at, window.output, WINDOW_AXES);
    }
  }
}

int
EVALUATE(AveragePool)(const actnn_call *call)
{
  average(call, &call->input[0], &call->output[0], false);
  return 0;
}

int
EVALUATE(AveragePoolGrad)(const actnn_call *call)
{
  average(call, &call->output[0], &call->input[0], true);
  return 0;
}

static int64_t
plane_size(const actnn_view *x)
{
  int64_t size = 1;
  for (int i = 2; i < x->rank; i++) size *= x->dim[i];
  return size;
}

int
EVALUATE(GlobalAveragePool)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t size = plane_size(x), count = element_count(y);
  for (int64_t plane = 0; plane < count; plane++) {
    double sum = 0;
    for (int64_t p = 0; p < size; p++) sum += real_at(x, plane * size + p);
    ((REAL *)y->data)[plane] = (REAL)(size ? sum / (double)size : 0);
  }
  return 0;
}

int
EVALUATE(GlobalAveragePoolGrad)(const actnn_call *call)
{
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  int64_t size = plane_size(dx), count = element_count(dx);
  for (int64_t i = 0; i < count; i++) ((REAL *)dx->data)[i] = real_at(dy, i / size) / (REAL)size;
  return 0;
}

int
EVALUATE(GlobalMaxPool)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t size = plane_size(x), count = element_count(y);
  for (int64_t plane = 0; plane < count; plane++) {
    REAL best = (REAL)-INFINITY;
    for (int64_t p = 0; p < size; p++) {
      REAL value = real_at(x, plane * size + p);
      if (value > best || value != value) best = value;
    }
    ((REAL *)y->data)[plane] = best;
  }
  return 0;
}
