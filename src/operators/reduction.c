/* reduction.c: plain loops of folds along axes and of what their gradients need. */
#include "axes.h"
#include "folds.h"

static double
fold_group(const actnn_view *data, int64_t start, const AxisSplit *split, FoldKind fold)
{
  int64_t index[ACTNN_MAX_RANK] = {0};
  double value = first_value(fold), sum = 0;
  for (int64_t i = 0; i < split->folded_count; i++) {
    value = fold_in(fold, value, load_element(data, start + offset_at(index, split->folded_stride, split->folded_rank)));
    next_index(index, split->folded_dim, split->folded_rank);
  }
  if (fold != LOG_SUM_EXP || !isfinite(value)) return finished_fold(fold, value, split->folded_count);
  for (int64_t i = 0; i < split->folded_count; i++) {
    sum += exp(load_element(data, start + offset_at(index, split->folded_stride, split->folded_rank)) - value);
    next_index(index, split->folded_dim, split->folded_rank);
  }
  return value + log(sum);
}

/* Attributes: axes, keepdims, noop_with_empty_axes. */
static int
reduce(const actnn_call *call, FoldKind fold)
{
  AxisSplit split;
  int64_t kept[ACTNN_MAX_RANK] = {0};
  split_axes(&call->input[0], &call->attribute[0], call->attribute[2].i != 0, &split);
  for (int64_t k = 0; k < split.kept_count; k++) {
    int64_t start = offset_at(kept, split.kept_stride, split.kept_rank);
    store_element(&call->output[0], k, fold_group(&call->input[0], start, &split, fold));
    next_index(kept, split.kept_dim, split.kept_rank);
  }
  return 0;
}

#define REDUCTION(NAME, fold) \
  int EVALUATE(NAME)(const actnn_call *call); \
  int EVALUATE(NAME)(const actnn_call *call) { return reduce(call, fold); }
FOR_REDUCTIONS(REDUCTION)

/* Attributes: shape, axes, keepdims, noop_with_empty_axes. */
static int
spread(const actnn_call *call, bool is_mean)
{
  const actnn_view *y = &call->output[0];
  AxisSplit split;
  int64_t kept[ACTNN_MAX_RANK] = {0};
  split_axes(y, &call->attribute[1], call->attribute[3].i != 0, &split);
  for (int64_t k = 0; k < split.kept_count; k++) {
    int64_t start = offset_at(kept, split.kept_stride, split.kept_rank), index[ACTNN_MAX_RANK] = {0};
    double value = load_element(&call->input[0], k);
    if (is_mean) value /= (double)split.folded_count;
    for (int64_t i = 0; i < split.folded_count; i++) {
      store_element(y, start + offset_at(index, split.folded_stride, split.folded_rank), value);
      next_index(index, split.folded_dim, split.folded_rank);
    }
    next_index(kept, split.kept_dim, split.kept_rank);
  }
  return 0;
}

int EVALUATE(Spread)(const actnn_call *call);
int
EVALUATE(Spread)(const actnn_call *call)
{
  return spread(call, false);
}

int EVALUATE(SpreadMean)(const actnn_call *call);
int
EVALUATE(SpreadMean)(const actnn_call *call)
{
  return spread(call, true);
}

int EVALUATE(TieCount)(const actnn_call *call);
int
EVALUATE(TieCount)(const actnn_call *call)
{
  AxisSplit split;
  int64_t kept[ACTNN_MAX_RANK] = {0};
  split_axes(&call->input[0], &call->attribute[0], call->attribute[2].i != 0, &split);
  for (int64_t k = 0; k < split.kept_count; k++) {
    int64_t start = offset_at(kept, split.kept_stride, split.kept_rank), index[ACTNN_MAX_RANK] = {0}, ties = 0;
    double extreme = load_element(&call->input[1], k);
    for (int64_t i = 0; i < split.folded_count; i++) {
      int64_t at = start + offset_at(index, split.folded_stride, split.folded_rank);
      ties += load_element(&call->input[0], at) == extreme;
      next_index(index, split.folded_dim, split.folded_rank);
    }
    store_element(&call->output[0], k, (double)ties);
    next_index(kept, split.kept_dim, split.kept_rank);
  }
  return 0;
}

int EVALUATE(ProductOfOthers)(const actnn_call *call);
int
EVALUATE(ProductOfOthers)(const actnn_call *call)
{
  AxisSplit split;
  int64_t kept[ACTNN_MAX_RANK] = {0};
  split_axes(&call->input[0], &call->attribute[0], call->attribute[2].i != 0, &split);
  for (int64_t k = 0; k < split.kept_count; k++) {
    int64_t start = offset_at(kept, split.kept_stride, split.kept_rank), index[ACTNN_MAX_RANK] = {0}, zeros = 0;
    double product = 1;
    for (int64_t i = 0; i < split.folded_count; i++) {
      double x = load_element(&call->input[0], start + offset_at(index, split.folded_stride, split.folded_rank));
      if (x == 0) zeros++;
      else product *= x;
      next_index(index, split.folded_dim, split.folded_rank);
    }
    for (int64_t i = 0; i < split.folded_count; i++) {
      int64_t at = start + offset_at(index, split.folded_stride, split.folded_rank);
      store_element(&call->output[0], at, product_of_others(load_element(&call->input[0], at), product, zeros));
      next_index(index, split.folded_dim, split.folded_rank);
    }
    next_index(kept, split.kept_dim, split.kept_rank);
  }
  return 0;
}

int EVALUATE(SumTo)(const actnn_call *call);
int
EVALUATE(SumTo)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  AxisSplit split;
  bool is_folded[ACTNN_MAX_RANK] = {false};
  int64_t kept[ACTNN_MAX_RANK] = {0};
  mark_broadcast_axes(x, y, is_folded);
  split_by_mask(x, is_folded, &split);
  for (int64_t k = 0; k < split.kept_count; k++) {
    store_element(y, k, fold_group(x, offset_at(kept, split.kept_stride, split.kept_rank), &split, SUM));
    next_index(kept, split.kept_dim, split.kept_rank);
  }
  return 0;
}

/* ---- along one axis ------------------------------------------------------------------------------- */

typedef struct Axis {
  int64_t outer, length, inner;
} Axis;

static Axis
axis_of(const actnn_view *view, int64_t number)
{
  if (number < 0) number += view->rank;
  Axis axis = {1, 1, 1};
  for (int i = 0; i < view->rank; i++)
    *(i < number ? &axis.outer : i > number ? &axis.inner : &axis.length) *= view->dim[i];
  return axis;
}

/* Attributes: axis, keepdims, select_last_index. */
static int
arg_extreme(const actnn_call *call, double sign)
{
  const actnn_view *data = &call->input[0];
  Axis axis = axis_of(data, call->attribute[0].i);
  bool is_last = call->attribute[2].i != 0;
  for (int64_t k = 0; k < axis.outer * axis.inner; k++) {
    int64_t start = k / axis.inner * axis.length * axis.inner + k % axis.inner, best = 0;
    double most = -INFINITY;
    for (int64_t i = 0; i < axis.length; i++) {
      double value = sign * load_element(data, start + i * axis.inner);
      if (is_new_extreme(value, most, is_last)) {
        most = value;
        best = i;
      }
    }
    ((int64_t *)call->output[0].data)[k] = best;
  }
  return 0;
}

int EVALUATE(ArgMax)(const actnn_call *call);
int
EVALUATE(ArgMax)(const actnn_call *call)
{
  return arg_extreme(call, 1);
}

int EVALUATE(ArgMin)(const actnn_call *call);
int
EVALUATE(ArgMin)(const actnn_call *call)
{
  return arg_extreme(call, -1);
}

/* Attributes: axis, exclusive, reverse. */
int EVALUATE(CumSum)(const actnn_call *call);
int
EVALUATE(CumSum)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0];
  Axis axis = axis_of(x, int_at(call, 0, 0, 0));
  bool is_exclusive = call->attribute[1].i != 0, is_reversed = call->attribute[2].i != 0;
  for (int64_t k = 0; k < axis.outer * axis.inner; k++) {
    int64_t start = k / axis.inner * axis.length * axis.inner + k % axis.inner;
    double sum = 0;
    for (int64_t i = 0; i < axis.length; i++) {
      int64_t at = start + (is_reversed ? axis.length - 1 - i : i) * axis.inner;
      double value = load_element(x, at);
      store_element(&call->output[0], at, is_exclusive ? sum : sum + value);
      sum += value;
    }
  }
  return 0;
}
