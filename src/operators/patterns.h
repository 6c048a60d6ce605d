/* patterns.h: the strided pattern of each moving operator, for its evaluation and its fast kernel alike. */
#ifndef ACTNN_PATTERNS_H
#define ACTNN_PATTERNS_H

#include "evaluation.h"
#include "slicing.h"
#include "strided.h"

/* The whole of a view, axis by axis, in its own strides. */
static inline Strided
whole_pattern(const actnn_view *view, int64_t *stride)
{
  row_major_strides(view, stride);
  return (Strided){.size = element_bytes(view->type)};
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
  return (Strided){.size = element_bytes(view->type)};
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

#endif
