/* normalization_local.c: plain loops of the rarer normalizations: across neighbouring channels (LRN), to unit
 * length (LpNormalization), and over any axes (MeanVarianceNormalization). */
#include "axes.h"

/* The window of LRN around channel c: [*first, *last). */
static void
lrn_window(int64_t c, int64_t channels, int64_t size, int64_t *first, int64_t *last)
{
  *first = c - (size - 1) / 2;
  *last = c + size / 2 + 1;
  if (*first < 0) *first = 0;
  if (*last > channels) *last = channels;
}

/* bias + alpha / size * (sum of squares in the window of channel c); x points at channel 0 of one position. */
static double
lrn_base(const actnn_call *call, const REAL *x, int64_t c, int64_t channels, int64_t stride)
{
  int64_t first, last, size = call->attribute[3].i;
  double sum = 0;
  lrn_window(c, channels, size, &first, &last);
  for (int64_t k = first; k < last; k++) sum += (double)x[k * stride] * x[k * stride];
  return call->attribute[2].f + call->attribute[0].f / (double)size * sum;
}

int EVALUATE(LRN)(const actnn_call *call);
int
EVALUATE(LRN)(const actnn_call *call)
{
  const actnn_view *view = &call->input[0];
  int64_t channels = view->dim[1], positions = 1;
  for (int i = 2; i < view->rank; i++) positions *= view->dim[i];
  for (int64_t n = 0; n < view->dim[0]; n++)
    for (int64_t p = 0; p < positions; p++) {
      const REAL *x = (const REAL *)view->data + n * channels * positions + p;
      REAL *y = (REAL *)call->output[0].data + n * channels * positions + p;
      for (int64_t c = 0; c < channels; c++)
        y[c * positions] =
            (REAL)(x[c * positions] * pow(lrn_base(call, x, c, channels, positions), -call->attribute[1].f));
    }
  return 0;
}

/* dx_j = dy_j s_j^-beta - 2 alpha beta / size * x_j * (sum over windows of k that hold j of dy_k x_k s_k^(-beta-1)). */
int EVALUATE(LRNGrad)(const actnn_call *call);
int
EVALUATE(LRNGrad)(const actnn_call *call)
{
  const actnn_view *view = &call->input[1];
  double alpha = call->attribute[0].f, beta = call->attribute[1].f;
  int64_t channels = view->dim[1], positions = 1, size = call->attribute[3].i;
  for (int i = 2; i < view->rank; i++) positions *= view->dim[i];
  for (int64_t n = 0; n < view->dim[0]; n++)
    for (int64_t p = 0; p < positions; p++) {
      int64_t start = n * channels * positions + p;
      const REAL *x = (const REAL *)view->data + start, *dy = (const REAL *)call->input[0].data + start;
      REAL *dx = (REAL *)call->output[0].data + start;
      for (int64_t c = 0; c < channels; c++) {
        double total = dy[c * positions] * pow(lrn_base(call, x, c, channels, positions), -beta), others = 0;
        for (int64_t k = c - size / 2; k <= c + (size - 1) / 2; k++)
          if (k >= 0 && k < channels)
            others += (double)dy[k * positions] * x[k * positions]
                      * pow(lrn_base(call, x, k, channels, positions), -beta - 1);
        dx[c * positions] = (REAL)(total - 2 * alpha * beta / (double)size * x[c * positions] * others);
      }
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
  for (int64_t i = 0; i < count; i++) sum += p == 1 ? fabs((double)x[i * stride]) : (double)x[i * stride] * x[i * stride];
  return p == 1 ? sum : sqrt(sum);
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
    for (int64_t i = 0; i < count; i++) y[i * inner] = (REAL)(norm > 0 ? x[i * inner] / norm : 0);
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
    for (int64_t i = 0; i < count; i++) {
      double value = x[i * inner], slope = p == 1 ? (value > 0) - (value < 0) : value / norm;
      dx[i * inner] = (REAL)(norm > 0 ? (dy[i * inner] - along * slope / norm) / norm : 0);
    }
  }
  return 0;
}

/* ONNX's own definition adds this to the deviation, not to the variance. */
static const double DEVIATION_FLOOR = 1e-9;

typedef struct Group {
  double mean, deviation;
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
  return (Group){sum / count, sqrt(squares / count)};
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
    for (int64_t i = 0; i < split.folded_count; i++) {
      int64_t at = offset_at(index, split.folded_stride, split.folded_rank);
      y[at] = (REAL)((x[at] - group.mean) / (group.deviation + DEVIATION_FLOOR));
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
    double sum = 0, projected = 0, scale = 1 / (group.deviation + DEVIATION_FLOOR);
    for (int64_t i = 0; i < split.folded_count; i++) {
      int64_t at = offset_at(index, split.folded_stride, split.folded_rank);
      sum += dy[at];
      projected += dy[at] * (x[at] - group.mean);
      next_index(index, split.folded_dim, split.folded_rank);
    }
    for (int64_t i = 0; i < split.folded_count; i++) {
      int64_t at = offset_at(index, split.folded_stride, split.folded_rank);
      double pull = group.deviation > 0 ? (x[at] - group.mean) * projected * scale / (group.deviation * count) : 0;
      dx[at] = (REAL)(scale * (dy[at] - sum / count - pull));
      next_index(index, split.folded_dim, split.folded_rank);
    }
    next_index(kept, split.kept_dim, split.kept_rank);
  }
  return 0;
}
