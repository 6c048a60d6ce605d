/* folding.h: sums along some axes of a tensor as nested loops. Axes that are folded (or kept) side by side are merged first; the innermost
 * is told apart from the outer ones, for contiguous runs or vectors. C and CUDA drivers both walk by it. */
#ifndef ACTNN_FOLDING_H
#define ACTNN_FOLDING_H

#include "../src/operators/axes.h"

enum { MOST_AXES = ACTNN_MAX_RANK + 1 };

typedef struct FoldAxis {
  int64_t dim, x_stride, y_stride;
  bool is_folded, is_alone; /* alone: not to be merged with its neighbours */
} FoldAxis;

typedef struct FoldPlan {
  FoldAxis axis[MOST_AXES];
  int count;
  int64_t block_channels; /* of a blocked x with a plain y: channels in the last block; 0: no limit */
  int64_t blocks;
  int block_axis;         /* among the kept outer axes, after merging; -1 */
  FoldAxis inner, kept[MOST_AXES], folded[MOST_AXES];
  int kept_count, folded_count;
  int64_t outputs, terms; /* products of the outer kept and of the outer folded extents */
} FoldPlan;

static inline void
fold_axis(FoldPlan *plan, int64_t dim, int64_t x_stride, int64_t y_stride, bool is_folded, bool is_alone)
{
  FoldAxis *last = plan->count ? &plan->axis[plan->count - 1] : NULL;
  if (dim == 1 && !is_alone) return;
  if (last && !is_alone && !last->is_alone && last->is_folded == is_folded && last->x_stride == x_stride * dim
      && (is_folded || last->y_stride == y_stride * dim)) {
    last->dim *= dim;
    last->x_stride = x_stride;
    last->y_stride = is_folded ? 0 : y_stride;
    return;
  }
  FoldAxis made = {dim, x_stride, is_folded ? 0 : y_stride, is_folded, is_alone};
  plan->axis[plan->count++] = made;
}

/* The innermost axis apart from the outer ones, those by kind. */
static inline void
fold_sort(FoldPlan *plan)
{
  if (plan->count == 0) fold_axis(plan, 1, 1, 1, false, true);
  plan->outputs = plan->terms = 1;
  plan->block_axis = -1;
  for (int i = 0; i < plan->count - 1; i++) {
    const FoldAxis *axis = &plan->axis[i];
    if (axis->is_folded) {
      plan->folded[plan->folded_count++] = *axis;
      plan->terms *= axis->dim;
    } else {
      if (axis->is_alone) plan->block_axis = plan->kept_count;
      plan->kept[plan->kept_count++] = *axis;
      plan->outputs *= axis->dim;
    }
  }
  plan->inner = plan->axis[plan->count - 1];
}

static inline void
fold_plain(FoldPlan *plan, const actnn_view *x, const bool *is_folded)
{
  int64_t y_stride[ACTNN_MAX_RANK], x_stride[ACTNN_MAX_RANK], step = 1;
  row_major_strides(x, x_stride);
  for (int i = x->rank - 1; i >= 0; i--) {
    y_stride[i] = step;
    if (!is_folded[i]) step *= x->dim[i];
  }
  for (int i = 0; i < x->rank; i++) fold_axis(plan, x->dim[i], x_stride[i], y_stride[i], is_folded[i], false);
  fold_sort(plan);
}

/* y's strides along x's axes (aligned at the right); along channels the stride of one channel, *block_stride that of a
 * block of them. */
static inline bool
fold_strides(const actnn_view *x, const actnn_view *y, int64_t block, int64_t y_block, int64_t *stride, int64_t *block_stride)
{
  int shift = x->rank - y->rank;
  int64_t step = y->layout == ACTNN_BLOCKED ? y_block : 1;
  for (int i = 0; i < ACTNN_MAX_RANK; i++) stride[i] = 0;
  if (y->layout == ACTNN_PLAIN) {
    for (int i = y->rank - 1; i >= 0; i--) {
      stride[i + shift] = step;
      step *= y->dim[i];
    }
    *block_stride = stride[1] * block;
    return true;
  }
  if (shift != 0) return false;
  for (int i = y->rank - 1; i >= 2; i--) {
    stride[i] = step;
    step *= y->dim[i];
  }
  stride[1] = 1;
  *block_stride = step;
  stride[0] = step * ((y->dim[1] + y_block - 1) / y_block);
  return true;
}

/* Of a blocked x; blocks are those of the layouts of x and of y. */
static inline bool
fold_blocked(FoldPlan *plan, const actnn_view *x, const actnn_view *y, const bool *is_folded, int64_t block, int64_t y_block)
{
  int64_t stride[ACTNN_MAX_RANK], block_stride, blocks = (x->dim[1] + block - 1) / block, positions = 1, step;
  bool is_limited = !is_folded[1] && y->layout == ACTNN_PLAIN && x->dim[1] % block != 0;
  if (!fold_strides(x, y, block, y_block, stride, &block_stride)) return false;
  for (int i = 2; i < x->rank; i++) positions *= x->dim[i];
  fold_axis(plan, x->dim[0], blocks * positions * block, stride[0], is_folded[0], false);
  fold_axis(plan, blocks, positions * block, block_stride, is_folded[1], is_limited);
  step = positions * block;
  for (int i = 2; i < x->rank; i++) {
    step /= x->dim[i] ? x->dim[i] : 1;
    fold_axis(plan, x->dim[i], step, stride[i], is_folded[i], false);
  }
  fold_axis(plan, block, 1, stride[1], is_folded[1], is_limited);
  if (is_limited) plan->block_channels = x->dim[1] % block;
  plan->blocks = blocks;
  fold_sort(plan);
  return true;
}

/* The offset that the linear index `number` over some axes stands for; *other gets the one in y. */
static inline int64_t
fold_offset(const FoldAxis *axis, int count, int64_t number, int64_t *other)
{
  int64_t at = 0;
  if (other) *other = 0;
  for (int i = count - 1; i >= 0; i--) {
    int64_t index = number % axis[i].dim;
    number /= axis[i].dim;
    at += index * axis[i].x_stride;
    if (other) *other += index * axis[i].y_stride;
  }
  return at;
}

#endif
