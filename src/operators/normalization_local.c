/* normalization_local.c: plain loops of the rarer normalizations: across neighbouring channels (LRN), to unit
 * length (LpNormalization), and over any axes (MeanVarianceNormalization). */
#include "axes.h"
#include "local_normalization.h"

int EVALUATE(LRN)(const actnn_call *call);
int
EVALUATE(LRN)(const actnn_call *call)
{
  const actnn_view *view = &call->input[0];
  Lrn lrn = lrn_of(call, view);
  for (int64_t n = 0; n < view->dim[0]; n++)
    for (int64_t p = 0; p < lrn.stride; p++) {
      int64_t start = n * lrn.channels * lrn.stride + p;
      const REAL *x = (const REAL *)view->data + start;
      REAL *y = (REAL *)call->output[0].data + start;
      for (int64_t c = 0; c < lrn.channels; c++) y[c * lrn.stride] = lrn_element(&lrn, x, c);
    }
  return 0;
}

int EVALUATE(LRNGrad)(const actnn_call *call);
int
EVALUATE(LRNGrad)(const actnn_call *call)
{
  const actnn_view *view = &call->input[1];
  Lrn lrn = lrn_of(call, view);
  for (int64_t n = 0; n < view->dim[0]; n++)
    for (int64_t p = 0; p < lrn.stride; p++) {
      int64_t start = n * lrn.channels * lrn.stride + p;
      const REAL *x = (const REAL *)view->data + start, *dy = (const REAL *)call->input[0].data + start;
      REAL *dx = (REAL *)call->output[0].data + start;
      for (int64_t c = 0; c < lrn.channels; c++) dx[c * lrn.stride] = lrn_gradient(&lrn, dy, x, c);
    }
  return 0;
}

/* One axis as outer x length x inner. */
static void
split_at(const actnn_view *view, int64_t axis, int64_t *outer, int64_t *length, int64_t *inner)
{
  if (axis < 0) axis += view->rank;
  *outer = *inner = 1;
  *length = view->dim[axis];
  for (int i = 0; i < view->rank; i++)
    if (i != axis) *(i < axis ? outer : inner) *= view->dim[i];
}

static double
length_of(const REAL *x, int64_t count, int64_t stride, int64_t p)
{
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += lp_term(x[i * stride], p);
  return lp_norm(sum, p);
}

int EVALUATE(LpNormalization)(const actnn_call *call);
int
EVALUATE(LpNormalization)(const actnn_call *call)
{
  int64_t outer, count, inner;
  split_at(&call->input[0], call->attribute[0].i, &outer, &count, &inner);
  for (int64_t o = 0; o < outer * inner; o++) {
    int64_t start = o / inner * count * inner + o % inner;
    const REAL *x = (const REAL *)call->input[0].data + start;
    REAL *y = (REAL *)call->output[0].data + start;
    double norm = length_of(x, count, inner, call->attribute[1].i);
    for (int64_t i = 0; i < count; i++) y[i * inner] = lp_element(x[i * inner], norm);
  }
  return 0;
}

int EVALUATE(LpNormalizationGrad)(const actnn_call *call);
int
EVALUATE(LpNormalizationGrad)(const actnn_call *call)
{
  int64_t outer, count, inner, p = call->attribute[1].i;
  split_at(&call->input[1], call->attribute[0].i, &outer, &count, &inner);
  for (int64_t o = 0; o < outer * inner; o++) {
    int64_t start = o / inner * count * inner + o % inner;
    const REAL *dy = (const REAL *)call->input[0].data + start, *x = (const REAL *)call->input[1].data + start;
    REAL *dx = (REAL *)call->output[0].data + start;
    double norm = length_of(x, count, inner, p), along = 0;
    for (int64_t i = 0; i < count; i++) along += (double)dy[i * inner] * x[i * inner];
    for (int64_t i = 0; i < count; i++) dx[i * inner] = lp_gradient(dy[i * inner], x[i * inner], norm, along, p);
  }
  return 0;
}

typedef struct Group {
  double mean, variance;
} Group;

static Group
moments_of_group(const REAL *x, const AxisSplit *split)
{
  int64_t index[ACTNN_MAX_RANK] = {0};
  double sum = 0, squares = 0, count = (double)split->folded_count;
  for (int64_t i = 0; i < split->folded_count; i++) {
    sum += x[offset_at(index, split->folded_stride, split->folded_rank)];
    next_index(index, split->folded_dim, split->folded_rank);
  }
  for (int64_t i = 0; i < split->folded_count; i++) {
    double apart = x[offset_at(index, split->folded_stride, split->folded_rank)] - sum / count;
    squares += apart * apart;
    next_index(index, split->folded_dim, split->folded_rank);
  }
  return (Group){sum / count, squares / count};
}

int EVALUATE(MeanVarianceNormalization)(const actnn_call *call);
int
EVALUATE(MeanVarianceNormalization)(const actnn_call *call)
{
  AxisSplit split;
  int64_t kept[ACTNN_MAX_RANK] = {0};
  split_axes(&call->input[0], &call->attribute[0], true, &split);
  for (int64_t k = 0; k < split.kept_count; k++) {
    int64_t start = offset_at(kept, split.kept_stride, split.kept_rank), index[ACTNN_MAX_RANK] = {0};
    const REAL *x = (const REAL *)call->input[0].data + start;
    REAL *y = (REAL *)call->output[0].data + start;
    Group group = moments_of_group(x, &split);
    double scale = deviation_scale(group.variance);
    for (int64_t i = 0; i < split.folded_count; i++) {
      int64_t at = offset_at(index, split.folded_stride, split.folded_rank);
      y[at] = (REAL)((x[at] - group.mean) * scale);
      next_index(index, split.folded_dim, split.folded_rank);
    }
    next_index(kept, split.kept_dim, split.kept_rank);
  }
  return 0;
}

int EVALUATE(MeanVarianceNormalizationGrad)(const actnn_call *call);
int
EVALUATE(MeanVarianceNormalizationGrad)(const actnn_call *call)
{
  AxisSplit split;
  int64_t kept[ACTNN_MAX_RANK] = {0};
  split_axes(&call->input[1], &call->attribute[0], true, &split);
  double count = (double)split.folded_count;
  for (int64_t k = 0; k < split.kept_count; k++) {
    int64_t start = offset_at(kept, split.kept_stride, split.kept_rank), index[ACTNN_MAX_RANK] = {0};
    const REAL *dy = (const REAL *)call->input[0].data + start, *x = (const REAL *)call->input[1].data + start;
    REAL *dx = (REAL *)call->output[0].data + start;
    Group group = moments_of_group(x, &split);
    double sum = 0, projected = 0, scale = deviation_scale(group.variance);
    for (int64_t i = 0; i < split.folded_count; i++) {
      int64_t at = offset_at(index, split.folded_stride, split.folded_rank);
      sum += dy[at];
      projected += dy[at] * (x[at] - group.mean);
      next_index(index, split.folded_dim, split.folded_rank);
    }
    double pull = deviation_pull(group.variance, projected, count);
    for (int64_t i = 0; i < split.folded_count; i++) {
      int64_t at = offset_at(index, split.folded_stride, split.folded_rank);
      dx[at] = (REAL)(scale * (dy[at] - sum / count) - (x[at] - group.mean) * pull);
      next_index(index, split.folded_dim, split.folded_rank);
    }
    next_index(kept, split.kept_dim, split.kept_rank);
  }
  return 0;
}
