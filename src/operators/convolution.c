/* convolution.c: convolutions by their definition, one multiplication after another. */
#include "evaluation.h"
#include "window.h"

actnn_kernel EVALUATE(Conv), EVALUATE(ConvGradInput), EVALUATE(ConvGradWeight), EVALUATE(ConvTranspose),
    EVALUATE(ChannelSum);

/* y = x * w has three factors; each direction adds up one of them from the two others. */
typedef enum Written { WRITES_INPUT, WRITES_WEIGHT, WRITES_OUTPUT } Written;

typedef struct Planes {
  REAL *input, *weight, *output; /* one channel's image, one tap, one filter's image */
} Planes;

/* All products of one tap of the kernel between one input channel and one filter. */
static void
slide_tap(const Window *window, const int64_t *tap, Written written, Planes planes)
{
  const int64_t *in = window->input, *out = window->output;
  for (int64_t z = 0; z < out[0]; z++) {
    int64_t from_z = z * window->stride[0] - window->begin[0] + tap[0] * window->dilation[0];
    if (from_z < 0 || from_z >= in[0]) continue;
    for (int64_t y = 0; y < out[1]; y++) {
      int64_t from_y = y * window->stride[1] - window->begin[1] + tap[1] * window->dilation[1];
      if (from_y < 0 || from_y >= in[1]) continue;
      for (int64_t x = 0; x < out[2]; x++) {
        int64_t from_x = x * window->stride[2] - window->begin[2] + tap[2] * window->dilation[2];
        if (from_x < 0 || from_x >= in[2]) continue;
        int64_t i = (from_z * in[1] + from_y) * in[2] + from_x, o = (z * out[1] + y) * out[2] + x;
        if (written == WRITES_OUTPUT) planes.output[o] += planes.input[i] * *planes.weight;
        else if (written == WRITES_INPUT) planes.input[i] += planes.output[o] * *planes.weight;
        else *planes.weight += planes.input[i] * planes.output[o];
      }
    }
  }
}

/* Adds into the written operand: input [N, C, ...], weight [filters, C / groups, ...], output [N, filters, ...]. */
static void
slide(const Window *window, int64_t groups, int64_t filters, Written written, REAL *input, REAL *weight, REAL *output)
{
  int64_t channels = window->channels / groups, filters_of_group = filters / groups;
  int64_t taps = window_volume(window->kernel);
  for (int64_t n = 0; n < window->batch; n++)
    for (int64_t m = 0; m < filters; m++)
      for (int64_t c = 0; c < channels; c++) {
        int64_t tap[WINDOW_AXES] = {0}, channel = m / filters_of_group * channels + c;
        for (int64_t k = 0; k < taps; k++) {
          Planes planes = {input + (n * window->channels + channel) * window_volume(window->input),
                           weight + (m * channels + c) * taps + k,
                           output + (n * filters + m) * window_volume(window->output)};
          slide_tap(window, tap, written, planes);
          next_index(tap, window->kernel, WINDOW_AXES);
        }
      }
}

/* Zero, or the bias of each channel. */
static void
start_from(const actnn_view *y, const actnn_view *bias)
{
  int64_t count = element_count(y), plane = 1;
  for (int i = 2; i < y->rank; i++) plane *= y->dim[i];
  REAL *to = y->data;
  for (int64_t i = 0; i < count; i++) to[i] = bias ? ((const REAL *)bias->data)[i / plane % y->dim[1]] : 0;
}

int
EVALUATE(Conv)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  Window window = window_of(call->attribute + 1, x, y);
  start_from(y, optional_input(call, 2));
  slide(&window, call->attribute[5].i, y->dim[1], WRITES_OUTPUT, x->data, call->input[1].data, y->data);
  return 0;
}

int
EVALUATE(ConvGradInput)(const actnn_call *call)
{
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  Window window = window_of(call->attribute + 1, dx, dy);
  start_from(dx, NULL);
  slide(&window, call->attribute[5].i, dy->dim[1], WRITES_INPUT, dx->data, call->input[1].data, dy->data);
  return 0;
}

int
EVALUATE(ConvGradWeight)(const actnn_call *call)
{
  const actnn_view *dy = &call->input[0], *x = &call->input[1], *dw = &call->output[0];
  Window window = window_of(call->attribute + 1, x, dy);
  start_from(dw, NULL);
  slide(&window, call->attribute[5].i, dy->dim[1], WRITES_WEIGHT, x->data, dw->data, dy->data);
  return 0;
}

int
EVALUATE(ConvTranspose)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  Window window = window_of(call->attribute + 1, y, x);
  start_from(y, optional_input(call, 2));
  slide(&window, call->attribute[5].i, x->dim[1], WRITES_INPUT, y->data, call->input[1].data, x->data);
  return 0;
}

int
EVALUATE(ChannelSum)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0];
  REAL *y = call->output[0].data;
  int64_t plane = 1;
  for (int i = 2; i < x->rank; i++) plane *= x->dim[i];
  for (int64_t c = 0; c < x->dim[1]; c++) {
    double sum = 0;
    for (int64_t n = 0; n < x->dim[0]; n++)
      for (int64_t p = 0; p < plane; p++) sum += ((const REAL *)x->data)[(n * x->dim[1] + c) * plane + p];
    y[c] = (REAL)sum;
  }
  return 0;
}
