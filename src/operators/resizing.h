/* resizing.h: the taps of Resize and its gradient, and their loops, for the evaluation and the fast kernels alike.
 *
 * Interpolation is a product over axes: on each axis an output position reads a few input positions (taps) with
 * weights. Forward sums over the product of the taps of all axes; the gradient adds along the same products.
 * CUDA's kernels take the taps from here and have loops of their own.
 */
#ifndef ACTNN_RESIZING_H
#define ACTNN_RESIZING_H

#include "evaluation.h"

enum { MOST_TAPS = 4 };

typedef struct Taps {
  int count; /* 0: the position lies outside the region, the value is the constant */
  int64_t at[MOST_TAPS];
  double weight[MOST_TAPS];
} Taps;

typedef enum ResizeMode { RESIZE_NEAREST, RESIZE_LINEAR, RESIZE_CUBIC } ResizeMode;
typedef enum ResizeTransformation {
  HALF_PIXEL,
  HALF_PIXEL_SYMMETRIC,
  PYTORCH_HALF_PIXEL,
  ALIGN_CORNERS,
  ASYMMETRIC,
  TF_HALF_PIXEL_FOR_NN,
  TF_CROP_AND_RESIZE
} ResizeTransformation;
typedef enum ResizeRounding { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, ROUND_FLOOR, ROUND_CEIL } ResizeRounding;

/* What a Resize asks for, and where its operand and result lie. */
typedef struct Resizing {
  ResizeMode mode;
  ResizeTransformation transformation;
  ResizeRounding rounding;
  double cubic;
  bool excludes_outside;
  int rank;
  int64_t small[ACTNN_MAX_RANK], large[ACTNN_MAX_RANK]; /* extents of x and y */
  double scale[ACTNN_MAX_RANK], start[ACTNN_MAX_RANK], end[ACTNN_MAX_RANK]; /* the region's ends, where one is cropped */
  int64_t stride[ACTNN_MAX_RANK]; /* of x */
  const REAL *from;
  REAL *to;
  double outside;
  bool is_gradient;
} Resizing;

/* A product that no compiler joins with the sum it goes into: positions are rounded alike everywhere. */
static inline ACTNN_DEVICE double
rounded_product(double a, double b)
{
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

static inline ACTNN_DEVICE double
coordinate(const Resizing *resizing, int axis, int64_t position)
{
  /* The standard's own results take the length before it is rounded down. */
  double o = (double)position, in = (double)resizing->small[axis], scale = resizing->scale[axis], out = scale * in;
  switch (resizing->transformation) {
  case ALIGN_CORNERS: return out > 1 ? o * (in - 1) / (out - 1) : 0;
  case ASYMMETRIC: return o / scale;
  case PYTORCH_HALF_PIXEL: return out > 1 ? (o + 0.5) / scale - 0.5 : 0;
  case TF_HALF_PIXEL_FOR_NN: return (o + 0.5) / scale;
  case HALF_PIXEL_SYMMETRIC:
    return rounded_product(in / 2, 1 - (double)resizing->large[axis] / out) + (o + 0.5) / scale - 0.5;
  case TF_CROP_AND_RESIZE: {
    double start = resizing->start[axis], end = resizing->end[axis];
    return out > 1 ? rounded_product(start, in - 1) + o * (end - start) * (in - 1) / (out - 1) : 0.5 * (start + end) * (in - 1);
  }
  case HALF_PIXEL: break;
  }
  return (o + 0.5) / scale - 0.5;
}

static inline ACTNN_DEVICE int64_t
clamp(double value, int64_t extent)
{
  return value < 0 ? 0 : value > (double)(extent - 1) ? extent - 1 : (int64_t)value;
}

static inline ACTNN_DEVICE double
round_coordinate(ResizeRounding rounding, double x)
{
  switch (rounding) {
  case ROUND_FLOOR: return floor(x);
  case ROUND_CEIL: return ceil(x);
  case ROUND_PREFER_CEIL: return floor(x + 0.5);
  case ROUND_PREFER_FLOOR: break;
  }
  return ceil(x - 0.5);
}

/* Keys' cubic convolution kernel with parameter a. */
static inline ACTNN_DEVICE double
cubic_weight(double a, double distance)
{
  double d = fabs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

static inline ACTNN_DEVICE Taps
taps_of(const Resizing *resizing, int axis, int64_t position)
{
  int64_t extent = resizing->small[axis];
  double x = coordinate(resizing, axis, position), low = floor(x), sum = 0;
  bool is_cropped = resizing->transformation == TF_CROP_AND_RESIZE && (x < 0 || x > (double)(extent - 1));
  Taps taps = {is_cropped ? 0 : 1, {0}, {0}};
  if (is_cropped) return taps;
  if (resizing->mode == RESIZE_NEAREST || (resizing->large[axis] == extent && x == (double)position)) {
    taps.at[0] = clamp(round_coordinate(resizing->rounding, x), extent);
    taps.weight[0] = 1;
    return taps;
  }
  bool is_cubic = resizing->mode == RESIZE_CUBIC;
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
static inline double
follow_taps(const Resizing *resizing, const Taps *taps, int axis, int64_t at, double dy)
{
  if (axis == resizing->rank) {
    if (!resizing->is_gradient) return (double)resizing->from[at];
    resizing->to[at] += (REAL)dy;
    return 0;
  }
  double sum = 0;
  for (int i = 0; i < taps[axis].count; i++) {
    double weight = taps[axis].weight[i];
    sum +=
        weight * follow_taps(resizing, taps, axis + 1, at + taps[axis].at[i] * resizing->stride[axis], dy * weight);
  }
  return sum;
}

/* Leading axes that are not resized: what they number are independent planes. */
static inline int
plane_axes(const Resizing *resizing)
{
  int axis = 0;
  while (axis < resizing->rank && resizing->small[axis] == resizing->large[axis] && resizing->scale[axis] == 1 &&
         resizing->transformation != TF_CROP_AND_RESIZE)
    axis++;
  return axis;
}

/* One plane of the large tensor, beyond the first `leading` axes; `index` has the plane's. Taps are made anew
 * only for axes whose index changed. */
static inline void
resize_plane(const Resizing *resizing, int leading, int64_t plane)
{
  Taps taps[ACTNN_MAX_RANK];
  int64_t index[ACTNN_MAX_RANK] = {0}, count = 1;
  int rank = resizing->rank, changed = leading;
  for (int axis = leading; axis < rank; axis++) count *= resizing->large[axis];
  int64_t small_start = leading ? plane * resizing->stride[leading - 1] : 0;
  for (int64_t i = plane * count; i < (plane + 1) * count; i++) {
    int outside = 0;
    for (int axis = changed; axis < rank; axis++) taps[axis] = taps_of(resizing, axis, index[axis]);
    for (int axis = leading; axis < rank; axis++) outside += taps[axis].count == 0;
    if (resizing->is_gradient) {
      if (!outside) follow_taps(resizing, taps, leading, small_start, (double)resizing->from[i]);
    } else {
      resizing->to[i] = (REAL)(outside ? resizing->outside : follow_taps(resizing, taps, leading, small_start, 1));
    }
    for (changed = rank - 1; changed >= leading && ++index[changed] == resizing->large[changed]; changed--)
      index[changed] = 0;
    if (changed < leading) changed = leading;
  }
}

static inline int64_t
plane_count(const Resizing *resizing, int leading)
{
  int64_t planes = 1;
  for (int axis = 0; axis < leading; axis++) planes *= resizing->large[axis];
  return planes;
}

/* The number of `word` in a list that ends in NULL; 0 when it is not there (the shape rule has seen to it). */
static inline int
number_of(const char *word, const char *const *words)
{
  for (int i = 0; words[i]; i++)
    if (!strcmp(words[i], word)) return i;
  return 0;
}

/* Constant operands roi, scales and sizes stand at attribute `first`, attributes after them. */
static inline Resizing
resizing_of(const actnn_call *call, size_t first, const actnn_view *small, const actnn_view *large)
{
  static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
  static const char *const transformations[] = {
      "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
      "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize", NULL};
  static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
  const actnn_attribute *attribute = call->attribute + first;
  Resizing resizing;
  memset(&resizing, 0, sizeof resizing);
  resizing.mode = (ResizeMode)number_of(attribute[3].text, modes);
  resizing.transformation = (ResizeTransformation)number_of(attribute[4].text, transformations);
  resizing.rounding = (ResizeRounding)number_of(attribute[5].text, roundings);
  resizing.cubic = attribute[6].f;
  resizing.excludes_outside = attribute[7].i != 0;
  resizing.outside = attribute[8].f;
  resizing.from = (const REAL *)call->input[0].data;
  resizing.to = (REAL *)call->output[0].data;
  resizing.rank = small->rank;
  for (int axis = 0; axis < small->rank; axis++) {
    bool has_region = resizing.transformation == TF_CROP_AND_RESIZE;
    resizing.small[axis] = small->dim[axis];
    resizing.large[axis] = large->dim[axis];
    resizing.scale[axis] = attribute[1].reals[axis];
    resizing.start[axis] = has_region ? attribute[0].reals[axis] : 0;
    resizing.end[axis] = has_region ? attribute[0].reals[small->rank + axis] : 1;
  }
  row_major_strides(small, resizing.stride);
  return resizing;
}

static inline Resizing
resizing_forward(const actnn_call *call)
{
  return resizing_of(call, 0, &call->input[0], &call->output[0]);
}

static inline Resizing
resizing_backward(const actnn_call *call)
{
  Resizing resizing = resizing_of(call, 1, &call->output[0], &call->input[0]);
  resizing.is_gradient = true;
  return resizing;
}

#endif
