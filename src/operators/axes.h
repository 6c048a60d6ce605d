/* axes.h: the axes of a tensor split into those an operator keeps and those it folds, for plain loops. */
#ifndef ACTNN_AXES_H
#define ACTNN_AXES_H

#include "evaluation.h"

typedef struct AxisSplit {
  int kept_rank, folded_rank;
  int64_t kept_dim[ACTNN_MAX_RANK], kept_stride[ACTNN_MAX_RANK], kept_count;
  int64_t folded_dim[ACTNN_MAX_RANK], folded_stride[ACTNN_MAX_RANK], folded_count;
} AxisSplit;

static inline void
split_by_mask(const actnn_view *view, const bool *is_folded, AxisSplit *split)
{
  int64_t stride[ACTNN_MAX_RANK];
  row_major_strides(view, stride);
  memset(split, 0, sizeof *split);
  split->kept_count = split->folded_count = 1;
  for (int i = 0; i < view->rank; i++) {
    if (is_folded[i]) {
      split->folded_dim[split->folded_rank] = view->dim[i];
      split->folded_stride[split->folded_rank++] = stride[i];
      split->folded_count *= view->dim[i];
    } else {
      split->kept_dim[split->kept_rank] = view->dim[i];
      split->kept_stride[split->kept_rank++] = stride[i];
      split->kept_count *= view->dim[i];
    }
  }
}

/* Marks the axes that an attribute lists; an absent or empty list means all of them, or none. */
static inline void
mark_axes(const actnn_view *view, const actnn_attribute *axes, bool empty_means_none, bool *is_folded)
{
  size_t count = axes->kind == ACTNN_INTS ? axes->count : axes->kind == ACTNN_INT ? 1 : 0;
  for (int i = 0; i < ACTNN_MAX_RANK; i++) is_folded[i] = count == 0 && !empty_means_none;
  for (size_t i = 0; i < count; i++) {
    int64_t axis = axes->kind == ACTNN_INT ? axes->i : axes->ints[i];
    if (axis < 0) axis += view->rank;
    if (axis >= 0 && axis < view->rank) is_folded[axis] = true;
  }
}

/* Marks the axes along which y is broadcast to the shape of x: those that it lacks, or of which it has one. */
static inline void
mark_broadcast_axes(const actnn_view *x, const actnn_view *y, bool *is_folded)
{
  for (int i = 0; i < x->rank; i++) {
    int in_y = i - (x->rank - y->rank);
    is_folded[i] = in_y < 0 || (y->dim[in_y] == 1 && x->dim[i] != 1);
  }
}

static inline void
split_axes(const actnn_view *view, const actnn_attribute *axes, bool empty_means_none, AxisSplit *split)
{
  bool is_folded[ACTNN_MAX_RANK];
  mark_axes(view, axes, empty_means_none, is_folded);
  split_by_mask(view, is_folded, split);
}

static inline int64_t
offset_at(const int64_t *index, const int64_t *stride, int rank)
{
  int64_t offset = 0;
  for (int i = 0; i < rank; i++) offset += index[i] * stride[i];
  return offset;
}

#endif
