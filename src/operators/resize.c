/* resize.c: evaluation of Resize and its gradient.
 *
 * Interpolation is a product over axes: on each axis an output position reads a few input positions (taps) with
 * weights. Forward sums over the product of the taps of all axes; the gradient adds along the same products.
 */
#include "evaluation.h"

actnn_kernel EVALUATE(Resize), EVALUATE(ResizeGrad);

enum { MOST_TAPS = 4 };

typedef struct Taps {
  int count; /* 0: the position lies outside the region, the value is the constant */
  int64_t at[MOST_TAPS];
  double weight[MOST_TAPS];
} Taps;

/* Attributes of Resize after its constant operands, which begin at `first`. */
typedef struct Resizing {
  const char *mode, *transformation, *rounding;
  double cubic;
  bool excludes_outside;
  const actnn_attribute *scale, *roi;
  const actnn_view *small, *large; /* x and y */
  int64_t stride[ACTNN_MAX_RANK];  /* of x */
  const REAL *from;
  REAL *to;
  double outside;
  bool is_gradient;
} Resizing;

static double
coordinate(const Resizing *resizing, int axis, int64_t position)
{
  /* The standard's own results take the length before it is rounded down. */
  double o = (double)position, in = (double)resizing->small->dim[axis], scale = resizing->scale->reals[axis], out = scale * in;
  const char *word = resizing->transformation;
  if (!strcmp(word, "align_corners")) return out > 1 ? o * (in - 1) / (out - 1) : 0;
  if (!strcmp(word, "asymmetric")) return o / scale;
  if (!strcmp(word, "pytorch_half_pixel")) return out > 1 ? (o + 0.5) / scale - 0.5 : 0;
  if (!strcmp(word, "tf_half_pixel_for_nn")) return (o + 0.5) / scale;
  if (!strcmp(word, "tf_crop_and_resize")) {
    double start = resizing->roi->reals[axis], end = resizing->roi->reals[resizing->small->rank + axis];
    return out > 1 ? start * (in - 1) + o * (end - start) * (in - 1) / (out - 1) : 0.5 * (start + end) * (in - 1);
  }
  if (!strcmp(word, "half_pixel_symmetric"))
    return in / 2 * (1 - (double)resizing->large->dim[axis] / out) + (o + 0.5) / scale - 0.5;
  return (o + 0.5) / scale - 0.5;
}

static int64_t
clamp(double value, int64_t extent)
{
  return value < 0 ? 0 : value > (double)(extent - 1) ? extent - 1 : (int64_t)value;
}

static double
round_coordinate(const char *rounding, double x)
{
  if (!strcmp(rounding, "floor")) return floor(x);
  if (!strcmp(rounding, "ceil")) return ceil(x);
  return !strcmp(rounding, "round_prefer_ceil") ? floor(x + 0.5) : ceil(x - 0.5);
}

/* Keys' cubic convolution kernel with parameter a. */
static double
cubic_weight(double a, double distance)
{
  double d = fabs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

static Taps
taps_of(const Resizing *resizing, int axis, int64_t position)
{
  int64_t extent = resizing->small->dim[axis];
  double x = coordinate(resizing, axis, position), low = floor(x), sum = 0;
  Taps taps = {.count = 1};
  if (!strcmp(resizing->transformation, "tf_crop_and_resize") && (x < 0 || x > (double)(extent - 1))) return (Taps){.count = 0};
  if (!strcmp(resizing->mode, "nearest") || (resizing->large->dim[axis] == extent && x == (double)position)) {
    taps.at[0] = clamp(round_coordinate(resizing->rounding, x), extent);
    taps.weight[0] = 1;
    return taps;
  }
  bool is_cubic = !strcmp(resizing->mode, "cubic");
  taps.count = is_cubic ? 4 : 2;
  for (int i = 0; i < taps.count; i++) {
    double at = is_cubic ? low - 1 + i : low + i;
    bool is_outside = at < 0 || at > (double)(extent - 1);
    double weight = is_cubic ? cubic_weight(resizing->cubic, x - at) : i ? x - low : 1 - (x - low);
    if (resizing->excludes_outside && is_outside) weight = 0;
    taps.at[i] = clamp(at, extent);
    taps.weight[i] = weight;
    sum += weight;
  }
  for (int i = 0; resizing->excludes_outside && sum != 0 && i < taps.count; i++) taps.weight[i] /= sum;
  return taps;
}

/* Sums x over (or adds dy along) the product of the taps of axes from `axis` on. */
static double
follow_taps(const Resizing *resizing, const Taps *taps, int axis, int64_t at, double dy)
{
  if (axis == resizing->small->rank) {
    if (!resizing->is_gradient) return (double)resizing->from[at];
    resizing->to[at] += (REAL)dy;
    return 0;
  }
  double sum = 0;
  for (int i = 0; i < taps[axis].count; i++) {
    double weight = taps[axis].weight[i];
    sum += weight * follow_taps(resizing, taps, axis + 1, at + taps[axis].at[i] * resizing->stride[axis], dy * weight);
  }
  return sum;
}

/* Walks the large tensor; taps are made anew only for axes whose index changed. */
static void
resize(const Resizing *resizing)
{
  const actnn_view *large = resizing->large;
  Taps taps[ACTNN_MAX_RANK];
  int64_t index[ACTNN_MAX_RANK] = {0}, count = element_count(large);
  int changed = 0, outside = 0;
  for (int64_t i = 0; i < count; i++) {
    for (int axis = changed; axis < large->rank; axis++) taps[axis] = taps_of(resizing, axis, index[axis]);
    outside = 0;
    for (int axis = 0; axis < large->rank; axis++) outside += taps[axis].count == 0;
    if (resizing->is_gradient) {
      if (!outside) follow_taps(resizing, taps, 0, 0, (double)resizing->from[i]);
    } else {
      resizing->to[i] = (REAL)(outside ? resizing->outside : follow_taps(resizing, taps, 0, 0, 1));
    }
    for (changed = large->rank - 1; changed >= 0 && ++index[changed] == large->dim[changed]; changed--) index[changed] = 0;
    if (changed < 0) changed = 0;
  }
}

static Resizing
resizing_of(const actnn_call *call, size_t first, const actnn_view *small, const actnn_view *large)
{
  const actnn_attribute *attribute = call->attribute + first;
  Resizing resizing = {.roi = &attribute[0], .scale = &attribute[1], .mode = attribute[3].text,
                       .transformation = attribute[4].text, .rounding = attribute[5].text, .cubic = attribute[6].f,
                       .excludes_outside = attribute[7].i != 0, .outside = attribute[8].f, .small = small, .large = large};
  row_major_strides(small, resizing.stride);
  return resizing;
}

int
EVALUATE(Resize)(const actnn_call *call)
{
  Resizing resizing = resizing_of(call, 0, &call->input[0], &call->output[0]);
  resizing.from = call->input[0].data;
  resizing.to = call->output[0].data;
  resize(&resizing);
  return 0;
}

int
EVALUATE(ResizeGrad)(const actnn_call *call)
{
  Resizing resizing = resizing_of(call, 1, &call->output[0], &call->input[0]);
  resizing.from = call->input[0].data;
  resizing.to = call->output[0].data;
  resizing.is_gradient = true;
  memset(resizing.to, 0, (size_t)element_count(&call->output[0]) * sizeof(REAL));
  resize(&resizing);
  return 0;
}
