/* random_layers.c: layers of random graphs that compute: convolutions, pools, products, normalizations, attention. */
#include "random_graph.h"

#include <math.h>
#include <string.h>

enum { MOST_TEXT = 200 };

/* Appends " name=1x2x3". */
static void
append_list(char *text, const char *name, const int64_t *list, int count)
{
  size_t length = strlen(text);
  length += (size_t)snprintf(text + length, MOST_TEXT - length, " %s=", name);
  for (int i = 0; i < count && length < MOST_TEXT; i++)
    length += (size_t)snprintf(text + length, MOST_TEXT - length, "%s%lld", i ? "x" : "", (long long)list[i]);
}

/* ---- windows ------------------------------------------------------------------------------------------- */

/* A window over the spatial axes of x, with attributes that differ from axis to axis. */
typedef struct Window {
  int axes;
  int64_t kernel[3], strides[3], dilations[3], pads[6];
  char text[MOST_TEXT];
} Window;

static Window
draw_window(RandomGraph *graph, const Shape *x, bool is_pool)
{
  Window window = {.axes = x->rank - 2};
  for (int i = 0; i < window.axes; i++) {
    int64_t extent = x->dim[i + 2];
    window.kernel[i] = draw_between(graph, is_pool ? 2 : 1, extent < 3 ? (extent < 2 ? 2 : extent) : 3);
    window.dilations[i] = draw_chance(graph, 0.2) && (window.kernel[i] - 1) * 2 + 1 <= extent ? 2 : 1;
    window.strides[i] = draw_chance(graph, 0.35) ? 2 : 1;
    for (int end = 0; end < 2; end++) window.pads[i + end * window.axes] = draw_chance(graph, 0.4) ? draw(graph, window.kernel[i]) : 0;
  }
  if (is_pool || draw_chance(graph, 0.5)) append_list(window.text, "kernel_shape", window.kernel, window.axes);
  append_list(window.text, "strides", window.strides, window.axes);
  append_list(window.text, "dilations", window.dilations, window.axes);
  bool is_dilated = false;
  for (int i = 0; i < window.axes; i++) is_dilated |= window.dilations[i] > 1;
  if (!is_dilated && draw_chance(graph, 0.1)) strcat(window.text, " auto_pad=SAME_UPPER");
  else append_list(window.text, "pads", window.pads, 2 * window.axes);
  return window;
}

static int64_t
draw_divisor(RandomGraph *graph, int64_t number)
{
  int64_t found = 1;
  for (int64_t divisor = 2; divisor <= number; divisor++)
    if (number % divisor == 0 && draw_chance(graph, 0.3)) found = divisor;
  return found;
}

/* Conv or ConvTranspose of x with new weights: its result, not offered. */
static ValueId
convolve(RandomGraph *graph, ValueId x, bool is_transposed, int64_t out_channels, bool has_bias)
{
  Shape shape = *shape_at(graph, x);
  Window window = draw_window(graph, &shape, false);
  int64_t groups = draw_chance(graph, 0.3) ? draw_divisor(graph, shape.dim[1]) : 1, taps = 1;
  out_channels = (out_channels + groups - 1) / groups * groups;
  Shape weight = {.rank = shape.rank, .dim = {is_transposed ? shape.dim[1] : out_channels,
                                              (is_transposed ? out_channels : shape.dim[1]) / groups}};
  for (int i = 0; i < window.axes; i++) taps *= weight.dim[i + 2] = window.kernel[i];
  double inputs = (double)(shape.dim[1] / groups * taps);
  ValueId operands[3] = {x, NO_VALUE, NO_VALUE};
  operands[1] = new_parameter(graph, weight, 0, 1.3 / (sqrt(inputs) * fmax(root_mean_square(graph, x), 0.05)));
  if (has_bias) operands[2] = new_parameter(graph, shape_of(1, &out_channels), 0, 0.2);
  if (operands[1] == NO_VALUE) return NO_VALUE;
  snprintf(window.text + strlen(window.text), MOST_TEXT - strlen(window.text), " group=%lld", (long long)groups);
  return grow(graph, is_transposed ? "ConvTranspose" : "Conv", operands, has_bias ? 3 : 2, 1, window.text);
}

void
grow_convolution(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 3, 5);
  if (x == NO_VALUE) return;
  bool has_bias = draw_chance(graph, 0.5);
  offer(graph, convolve(graph, x, false, draw_between(graph, 1, 7), has_bias));
}

void
grow_transposed_convolution(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 3, 5);
  if (x == NO_VALUE) return;
  bool has_bias = draw_chance(graph, 0.5);
  offer(graph, convolve(graph, x, true, draw_between(graph, 1, 4), has_bias));
}

void
grow_pool(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 3, 5);
  if (x == NO_VALUE) return;
  Window window = draw_window(graph, shape_at(graph, x), true);
  bool is_average = draw_chance(graph, 0.5);
  if (draw_chance(graph, 0.25)) strcat(window.text, " ceil_mode=1");
  if (is_average && draw_chance(graph, 0.5)) strcat(window.text, " count_include_pad=1");
  offer(graph, grow1(graph, is_average ? "AveragePool" : "MaxPool", x, window.text));
}

void
grow_global_pool(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 3, 5);
  if (x == NO_VALUE || elements_of(graph, x) <= 8) return;
  offer(graph, grow1(graph, draw_chance(graph, 0.5) ? "GlobalAveragePool" : "GlobalMaxPool", x, ""));
}

/* ---- normalizations ------------------------------------------------------------------------------------ */

/* By channel: scale and shift start near one and zero. */
static ValueId
normalize_channels(RandomGraph *graph, ValueId x, int kind)
{
  const Shape shape = *shape_at(graph, x);
  int64_t channels = shape.dim[1], groups = draw_divisor(graph, channels), each = elements_of(graph, x) / channels;
  char text[MOST_TEXT] = "";
  if (kind < 3 ? each < 4 : each / shape.dim[0] < 4) return NO_VALUE; /* what hardly differs is not to be normalized */
  ValueId operands[5] = {x};
  operands[1] = new_parameter(graph, shape_of(1, &channels), 1, 0.2);
  operands[2] = new_parameter(graph, shape_of(1, &channels), 0, 0.3);
  if (kind < 3) {
    bool trains = kind < 2;
    operands[3] = new_parameter(graph, shape_of(1, &channels), 0, 0.1);
    operands[4] = new_parameter(graph, shape_of(1, &channels), 1.5, 0.1);
    return grow(graph, "BatchNormalization", operands, 5, trains ? 3 : 1, trains ? "training_mode=1" : "");
  }
  if (kind == 3) return grow(graph, "InstanceNormalization", operands, 3, 1, "");
  snprintf(text, sizeof text, "num_groups=%lld", (long long)groups);
  return grow(graph, "GroupNormalization", operands, 3, 1, text);
}

void
grow_normalization(RandomGraph *graph)
{
  int kind = (int)draw(graph, 5);
  ValueId x = choose_value(graph, kind < 3 ? 2 : 3, 5);
  if (x != NO_VALUE) offer(graph, normalize_channels(graph, x, kind));
}

/* The chain that batch-normalized networks are made of, and of which the translator saves a single code. */
void
grow_normalized_convolution(RandomGraph *graph)
{
  static const char *const after[] = {"Relu", "Relu", "Relu", "Clip", "Swish", "HardSwish"};
  ValueId x = choose_value(graph, 3, 5);
  if (x == NO_VALUE) return;
  ValueId y = convolve(graph, x, false, draw_chance(graph, 0.2) ? 16 : draw_between(graph, 1, 7), false);
  if (y != NO_VALUE) y = normalize_channels(graph, y, 0);
  if (y == NO_VALUE) return;
  if (draw_chance(graph, 0.2)) offer(graph, y);
  const char *rectifier = after[draw(graph, 6)];
  offer(graph, grow1(graph, rectifier, y, strcmp(rectifier, "Clip") ? "" : "min=0 max=0.75"));
}

/* y = relu(x + f(x)), f of one or two products or convolutions that keep the shape. */
void
grow_residual_block(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 2, 5), y = x;
  if (x == NO_VALUE) return;
  const Shape shape = *shape_at(graph, x);
  for (int64_t i = draw_between(graph, 1, 2); i > 0 && y != NO_VALUE; i--) {
    if (shape.rank >= 3 && draw_chance(graph, 0.7)) {
      Shape weight = {.rank = shape.rank, .dim = {shape.dim[1], shape.dim[1]}};
      for (int k = 2; k < shape.rank; k++) weight.dim[k] = 3;
      ValueId w = new_parameter(graph, weight, 0, 0.5 / sqrt((double)shape.dim[1]));
      y = grow2(graph, "Conv", y, w, shape.rank == 3 ? "pads=1x1" : shape.rank == 4 ? "pads=1x1x1x1" : "pads=1x1x1x1x1x1");
      if (y != NO_VALUE && draw_chance(graph, 0.6)) y = normalize_channels(graph, y, 0);
    } else {
      int64_t width = shape.dim[shape.rank - 1], weight[2] = {width, width};
      y = grow2(graph, "MatMul", y, new_parameter(graph, shape_of(2, weight), 0, 1 / sqrt((double)width)), "");
    }
    if (y != NO_VALUE && i > 1) y = grow1(graph, "Relu", y, "");
  }
  y = grow2(graph, "Add", y, x, "");
  if (y != NO_VALUE && draw_chance(graph, 0.6)) y = grow1(graph, "Relu", y, "");
  offer(graph, y);
}

void
grow_row_normalization(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 2, 4);
  if (x == NO_VALUE) return;
  const Shape shape = *shape_at(graph, x);
  int axis = draw_chance(graph, 0.7) ? shape.rank - 1 : (int)draw_between(graph, 1, shape.rank - 1);
  int64_t width = 1;
  for (int k = axis; k < shape.rank; k++) width *= shape.dim[k];
  if (width < 4) return;
  Shape scale = shape_of(shape.rank - axis, shape.dim + axis);
  char text[MOST_TEXT];
  snprintf(text, sizeof text, "axis=%d", draw_chance(graph, 0.5) ? axis : axis - shape.rank);
  ValueId operands[3] = {x, new_parameter(graph, scale, 1, 0.2), NO_VALUE};
  if (operands[1] == NO_VALUE) return;
  bool is_centered = draw_chance(graph, 0.65), has_bias = is_centered && draw_chance(graph, 0.7);
  if (has_bias) operands[2] = new_parameter(graph, scale, 0, 0.2);
  ValueId y = grow(graph, is_centered ? "LayerNormalization" : "RMSNormalization", operands, has_bias ? 3 : 2, 1, text);
  if (y == NO_VALUE) return;
  if (shape.rank > 1 && draw_chance(graph, 0.5)) { /* read by products, as transformers do */
    int64_t last = shape.dim[shape.rank - 1], weight[2] = {last, draw_between(graph, 2, 6)};
    for (int64_t i = draw_between(graph, 1, 2); i > 0; i--)
      offer(graph, grow2(graph, "MatMul", y, new_parameter(graph, shape_of(2, weight), 0, 1 / sqrt((double)last)), ""));
  } else {
    offer(graph, y);
  }
}

/* ---- products ------------------------------------------------------------------------------------------ */

/* x times a new matrix, over the last axis. */
static ValueId
multiply(RandomGraph *graph, ValueId x, int64_t width)
{
  const Shape *shape = shape_at(graph, x);
  int64_t last = shape->dim[shape->rank - 1], weight[2] = {last, width};
  double scale = 1.2 / (sqrt((double)last) * fmax(root_mean_square(graph, x), 0.05));
  return grow2(graph, "MatMul", x, new_parameter(graph, shape_of(2, weight), 0, scale), "");
}

void
grow_dense(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 1, 5);
  if (x == NO_VALUE) return;
  int64_t width = draw_between(graph, 1, 17);
  ValueId y = multiply(graph, x, width);
  if (y != NO_VALUE && draw_chance(graph, 0.6)) y = grow2(graph, "Add", y, new_parameter(graph, shape_of(1, &width), 0, 0.3), "");
  if (y != NO_VALUE && draw_chance(graph, 0.5)) y = grow1(graph, draw_chance(graph, 0.6) ? "Relu" : "Gelu", y, "");
  offer(graph, y);
}

void
grow_gemm(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 2, 5);
  if (x == NO_VALUE) return;
  if (shape_at(graph, x)->rank > 2) x = grow1(graph, "Flatten", x, "");
  if (x == NO_VALUE) return;
  bool is_x_transposed = draw_chance(graph, 0.2), is_w_transposed = draw_chance(graph, 0.5);
  int64_t inner = shape_at(graph, x)->dim[is_x_transposed ? 0 : 1], width = draw_between(graph, 1, 9);
  int64_t rows = shape_at(graph, x)->dim[is_x_transposed ? 1 : 0];
  int64_t weight[2] = {is_w_transposed ? width : inner, is_w_transposed ? inner : width};
  int64_t bias[2] = {draw_chance(graph, 0.5) ? 1 : rows, width};
  double alpha = draw_chance(graph, 0.3) ? 0.5 : 1;
  ValueId operands[3] = {x, new_parameter(graph, shape_of(2, weight), 0, 1 / (alpha * sqrt((double)inner)))};
  if (operands[1] == NO_VALUE) return;
  size_t count = draw_chance(graph, 0.7) ? 3 : 2;
  if (count == 3) {
    bool is_row = draw_chance(graph, 0.6);
    operands[2] = new_parameter(graph, is_row ? shape_of(1, &width) : shape_of(2, bias), 0, 0.3);
  }
  char text[MOST_TEXT];
  snprintf(text, sizeof text, "alpha=%g beta=%g transA=%d transB=%d", alpha, draw_chance(graph, 0.2) ? 0.5 : 1.0, is_x_transposed,
           is_w_transposed);
  offer(graph, grow(graph, "Gemm", operands, operands[count - 1] == NO_VALUE ? 2 : count, 1, text));
}

/* [B,T,D] to [B,heads,T,D/heads]. */
static ValueId
split_heads(RandomGraph *graph, ValueId x, int64_t heads)
{
  const Shape shape = *shape_at(graph, x);
  int64_t dim[4] = {shape.dim[0], shape.dim[1], heads, shape.dim[2] / heads};
  x = grow2(graph, "Reshape", x, new_ints(graph, dim, 4), "");
  return x == NO_VALUE ? x : grow1(graph, "Transpose", x, "perm=0x2x1x3");
}

/* Queries, keys and values of one sequence; one head or several; scores scaled, masked or not. */
void
grow_attention(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 3, 3), part[3];
  if (x == NO_VALUE || shape_at(graph, x)->dim[1] < 2) return;
  const Shape shape = *shape_at(graph, x);
  int64_t heads = draw_between(graph, 1, 3), width = heads * draw_between(graph, 2, 4);
  bool is_split = heads > 1 || draw_chance(graph, 0.3);
  for (int i = 0; i < 3; i++) {
    part[i] = multiply(graph, x, width);
    if (part[i] != NO_VALUE && is_split) part[i] = split_heads(graph, part[i], heads);
    if (part[i] == NO_VALUE) return;
  }
  ValueId keys = grow1(graph, "Transpose", part[1], is_split ? "perm=0x1x3x2" : "perm=0x2x1");
  ValueId scores = grow2(graph, "MatMul", part[0], keys, "");
  scores = grow2(graph, "Mul", scores, new_number(graph, 0.7 / sqrt((double)width / (double)heads)), "");
  if (scores != NO_VALUE && draw_chance(graph, 0.3)) {
    int64_t table[2] = {shape.dim[1], shape.dim[1]};
    scores = grow2(graph, "Add", scores, new_constant(graph, shape_of(2, table), -1, 0.5), "");
  }
  ValueId probabilities = scores == NO_VALUE ? NO_VALUE : grow1(graph, "Softmax", scores, "");
  ValueId y = grow2(graph, "MatMul", probabilities, part[2], "");
  if (y != NO_VALUE && is_split) {
    int64_t joined[3] = {shape.dim[0], shape.dim[1], width};
    y = grow1(graph, "Transpose", y, "perm=0x2x1x3");
    if (y != NO_VALUE) y = grow2(graph, "Reshape", y, new_ints(graph, joined, 3), "");
  }
  if (y != NO_VALUE && draw_chance(graph, 0.7)) y = multiply(graph, y, shape.dim[2]);
  ValueId sum = y != NO_VALUE && shape_equal(shape_at(graph, y), &shape) ? grow2(graph, "Add", x, y, "") : NO_VALUE;
  offer(graph, sum == NO_VALUE ? y : sum);
}

/* Two or three alike in a row, with one reader in common: values that several gradients read. */
void
grow_rows_of_layers(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 2, 4), sum = NO_VALUE;
  if (x == NO_VALUE) return;
  int64_t width = draw_between(graph, 2, 8);
  for (int64_t i = draw_between(graph, 2, 3); i > 0; i--) {
    ValueId y = multiply(graph, x, width);
    if (y != NO_VALUE && draw_chance(graph, 0.7)) y = grow1(graph, i == 1 ? "Sigmoid" : "Relu", y, "");
    ValueId next = sum == NO_VALUE ? y : grow2(graph, draw_chance(graph, 0.5) ? "Mul" : "Add", sum, y, "");
    if (next != NO_VALUE) sum = next;
  }
  offer(graph, sum);
}
