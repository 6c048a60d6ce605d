/* patterns.h: the strided pattern of each moving operator, for its evaluation and its fast kernel alike. */
#ifndef ACTNN_PATTERNS_H
#define ACTNN_PATTERNS_H

#include "evaluation.h"
#include "slicing.h"
#include "strided.h"

/* Element `index` of a constant operand or attribute, whatever its kind. */
static inline double
number_at(const actnn_attribute *attribute, size_t index, double otherwise)
{
  switch (attribute->kind) {
  case ACTNN_INT: return (double)attribute->i;
  case ACTNN_REAL: return attribute->f;
  case ACTNN_INTS: return index < attribute->count ? (double)attribute->ints[index] : otherwise;
  case ACTNN_REALS: return index < attribute->count ? attribute->reals[index] : otherwise;
  default: return otherwise;
  }
}

/* The whole of a view, axis by axis, in its own strides. */
static inline Strided
whole_pattern(const actnn_view *view, int64_t *stride)
{
  row_major_strides(view, stride);
  return strided_of(element_bytes(view->type));
}

/* Element of x for each element of y = transpose(x, perm), or with `inverts` of the inverse permutation. */
static inline Strided
transpose_pattern(const actnn_call *call, bool inverts)
{
  const actnn_view *x = &call->input[0];
  int64_t stride[ACTNN_MAX_RANK], axis[ACTNN_MAX_RANK];
  Strided pattern = whole_pattern(x, stride);
  for (int i = 0; i < x->rank; i++) {
    int64_t from = int_at(call, 0, (size_t)i, x->rank - 1 - i);
    axis[inverts ? from : i] = inverts ? i : from;
  }
  for (int i = 0; i < x->rank; i++) strided_axis(&pattern, x->dim[axis[i]], stride[axis[i]]);
  return pattern;
}

/* The elements of `whole` that Slice picks; constant operands start at attribute `at`: starts, ends, axes,
 * steps. */
static inline Strided
slice_pattern(const actnn_call *call, const actnn_view *whole, size_t at)
{
  int64_t stride[ACTNN_MAX_RANK], first[ACTNN_MAX_RANK] = {0}, count[ACTNN_MAX_RANK], step[ACTNN_MAX_RANK];
  Strided pattern = whole_pattern(whole, stride);
  for (int i = 0; i < whole->rank; i++) {
    count[i] = whole->dim[i];
    step[i] = 1;
  }
  for (size_t k = 0; k < call->attribute[at].count; k++) {
    int64_t axis = int_at(call, at + 2, k, (int64_t)k);
    if (axis < 0) axis += whole->rank;
    SliceRange range = slice_range(whole->dim[axis], int_at(call, at, k, 0), int_at(call, at + 1, k, 0),
                                   int_at(call, at + 3, k, 1));
    first[axis] = range.first;
    count[axis] = range.count;
    step[axis] = range.step;
  }
  for (int i = 0; i < whole->rank; i++) {
    pattern.start += first[i] * stride[i];
    strided_axis(&pattern, count[i], count[i] > 1 ? step[i] * stride[i] : 1);
  }
  return pattern;
}

/* A blocked N x C x P tensor is the plain tensor N x ceil(C / B) x P x B. */
static inline Strided
block_pattern(const actnn_view *view, int64_t block, int64_t *dim, int *rank)
{
  *rank = view->rank;
  for (int i = 0; i < view->rank; i++) dim[i] = view->dim[i];
  if (view->layout == ACTNN_BLOCKED && view->rank >= 3) {
    dim[1] = (dim[1] + block - 1) / block;
    dim[(*rank)++] = block;
  }
  return strided_of(element_bytes(view->type));
}

/* Where `part`, which begins at `start` of `axis`, lies in `whole`. Along blocked channels start is a multiple
 * of the block, as the layout pass sees to. */
static inline Strided
part_pattern(const actnn_view *whole, const actnn_view *part, int64_t axis, int64_t start, int64_t block)
{
  int64_t whole_dim[ACTNN_MAX_RANK + 1], dim[ACTNN_MAX_RANK + 1], stride[ACTNN_MAX_RANK + 1] = {0}, step = 1;
  int rank;
  block_pattern(part, block, dim, &rank);
  Strided pattern = block_pattern(whole, block, whole_dim, &rank);
  if (axis < 0) axis += whole->rank;
  for (int i = rank - 1; i >= 0; i--) {
    stride[i] = step;
    step *= whole_dim[i];
  }
  if (rank > whole->rank && axis == 1) start /= block;
  pattern.start = start * stride[axis];
  for (int i = 0; i < rank; i++) strided_axis(&pattern, dim[i], stride[i]);
  return pattern;
}

/* Channels of the deep side are (b1, b2, c) in mode DCR and (c, b1, b2) in mode CRD; the wide side is
 * (n, c, h, b1, w, b2). The pattern walks the deep side in the order of the wide one. */
static inline Strided
depth_pattern(const actnn_call *call, const actnn_view *deep)
{
  int64_t block = call->attribute[0].i, channels = deep->dim[1] / (block * block);
  int64_t height = deep->dim[2], width = deep->dim[3], map = height * width;
  bool is_column = strcmp(call->attribute[1].text, "DCR") != 0;
  int64_t channel_step = is_column ? block * block : 1, block_step = is_column ? 1 : channels;
  Strided pattern = strided_of(element_bytes(deep->type));
  strided_axis(&pattern, deep->dim[0], deep->dim[1] * map);
  strided_axis(&pattern, channels, channel_step * map);
  strided_axis(&pattern, height, width);
  strided_axis(&pattern, block, block * block_step * map);
  strided_axis(&pattern, width, 1);
  strided_axis(&pattern, block, block_step * map);
  return pattern;
}

/* Axes of extent 1, and those that y has in front, repeat x. */
static inline Strided
expand_pattern(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t stride[ACTNN_MAX_RANK];
  Strided pattern = whole_pattern(x, stride);
  for (int i = 0; i < y->rank; i++) {
    int from = i - (y->rank - x->rank);
    strided_axis(&pattern, y->dim[i], from < 0 || x->dim[from] == 1 ? 0 : stride[from]);
  }
  return pattern;
}

/* y seen as repeats x dim on every axis */
static inline Strided
tile_pattern(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t stride[ACTNN_MAX_RANK];
  Strided pattern = whole_pattern(x, stride);
  for (int i = 0; i < x->rank; i++) {
    strided_axis(&pattern, x->dim[i] ? y->dim[i] / x->dim[i] : 0, 0);
    strided_axis(&pattern, x->dim[i], stride[i]);
  }
  return pattern;
}

static inline PadMode
pad_mode_named(const char *mode)
{
  return !strcmp(mode, "reflect") ? PAD_REFLECT
         : !strcmp(mode, "edge")  ? PAD_EDGE
         : !strcmp(mode, "wrap")  ? PAD_WRAP
                                  : PAD_CONSTANT;
}

/* Elements added in front of each axis; constant operands are pads at `pads` and axes at `axes`. */
static inline void
pad_begins(const actnn_call *call, size_t pads, size_t axes, int rank, int64_t *begin)
{
  for (int i = 0; i < rank; i++) begin[i] = 0;
  for (size_t k = 0; k < call->attribute[pads].count / 2; k++) {
    int64_t axis = int_at(call, axes, k, (int64_t)k);
    begin[axis < 0 ? axis + rank : axis] = int_at(call, pads, k, 0);
  }
}

/* The constant that attribute 1 of Pad is. */
static inline double
pad_value(const actnn_call *call)
{
  return number_at(&call->attribute[1], 0, 0);
}

/* Where `inner` lies in `padded`, when padding only adds constants; the pads are attribute `pads`, axes
 * `axes`. */
static inline bool
pad_pattern(const actnn_call *call, size_t pads, size_t axes, const actnn_view *padded, const actnn_view *inner,
            Strided *pattern)
{
  const actnn_attribute *pad = &call->attribute[pads];
  int64_t stride[ACTNN_MAX_RANK];
  if (strcmp(call->attribute[3].text, "constant")) return false;
  *pattern = whole_pattern(padded, stride);
  for (size_t k = 0; k < pad->count; k++)
    if (pad->ints[k] < 0) return false;
  for (size_t k = 0; k < pad->count / 2; k++) {
    int64_t axis = int_at(call, axes, k, (int64_t)k);
    pattern->start += pad->ints[k] * stride[axis < 0 ? axis + inner->rank : axis];
  }
  for (int i = 0; i < inner->rank; i++) strided_axis(pattern, inner->dim[i], stride[i]);
  return true;
}

static inline ACTNN_DEVICE double
range_element(double start, double delta, int64_t i)
{
  return start + (double)i * delta;
}

/* Whether element i of OneHot is the one that its index names, of `depth` along an axis of `inner` elements a step. An index outside
 * [-depth, depth) gives a row of the off value, as ONNX says. */
static inline ACTNN_DEVICE bool
is_hot(const actnn_view *indices, int64_t depth, int64_t inner, int64_t i)
{
  int64_t index = integer_of(load_element(indices, i / (inner * depth) * inner + i % inner));
  return i / inner % depth == (index < 0 ? index + depth : index);
}

/* Rounds to `fraction` bits after the leading one, ties to even. */
static inline ACTNN_DEVICE double
round_fraction(double number, int fraction, int lowest, double largest)
{
  int exponent;
  if (number == 0 || !isfinite(number)) return number;
  frexp(number, &exponent);
  if (exponent < lowest + 1) exponent = lowest + 1;
  double unit = ldexp(1.0, exponent - 1 - fraction), rounded = nearbyint(number / unit) * unit;
  return fabs(rounded) > largest ? copysign((double)INFINITY, number) : rounded;
}

/* Numbers take the precision of the type they are cast to; tensors keep REALs. */
static inline ACTNN_DEVICE double
cast_number(double number, int64_t to)
{
  return to == ACTNN_F16    ? round_fraction(number, 10, -14, 65504)
         : to == ACTNN_BF16 ? round_fraction(number, 7, -126, 3.39e38)
                            : number;
}

/* True when a cast changes no byte. */
static inline bool
cast_copies(const actnn_view *x, const actnn_view *y, int64_t to)
{
  return to != ACTNN_F16 && to != ACTNN_BF16 && element_bytes(x->type) == element_bytes(y->type) &&
         is_floating(x->type) == is_floating(y->type) && (y->type != ACTNN_BOOL || x->type == ACTNN_BOOL);
}

#endif
