/* normalization_rows.cu: normalization of rows: a cell has a row, which it reads once from memory and once more from the cache. Gradients
 * of scale and bias are sums down the rows. */
#include "normalization.h"

#include "../src/operators/indices.h"

/* ---- rows, forward ----------------------------------------------------------------------------------------------- */

typedef struct RowsJob {
  Cells cells;
  int64_t length;
  const float *scale, *b;
  float *mean, *rstd;
  double epsilon;
  bool is_centered; /* the mean is taken out */
} RowsJob;

template <typename Form>
KERNEL
normalize_rows(RowsJob job, Form x, Form y)
{
  Seat seat = take_seat(job.cells);
  int64_t start = seat.outer * job.length, end = seat.is_inside ? job.length : 0;
  Sums sums = {0, 0, 0};
  if (job.is_centered)
    sums.center = sampled_center(job.cells, seat, seat.lane < end ? x[start + seat.lane] : 0, job.length);
  add_terms(seat.lane, end, job.cells.lanes, [&](int64_t i) {
    float apart = x[start + i] - sums.center;
    Pair pair = {apart, apart * apart};
    return pair;
  }, &sums);
  sums.a = job.is_centered ? cell_sum(job.cells, sums.a) : 0;
  sums.b = cell_sum(job.cells, sums.b);
  Moments moments = moments_of(sums, (double)job.length);
  float center = (float)moments.mean, rstd = (float)(1 / sqrt(moments.variance + job.epsilon));
  auto load = [&](int64_t i) { return x[start + i]; };
  write_terms<float>(seat.lane, end, job.cells.lanes, load, y, start, 1, [&](float value, int64_t i) {
    return (value - center) * rstd * job.scale[i] + (job.b ? job.b[i] : 0);
  });
  if (!seat.is_inside || seat.lane)
    return;
  put(job.mean, seat.outer, center);
  put(job.rstd, seat.outer, rstd);
}

/* What is normalized together: the axes from this one on, in the processor's order. */
static AroundAxis
rows_of(const actnn_view *x, const actnn_attribute *axis)
{
  AroundAxis around = around_axis(x, axis->i);
  around.extent *= around.inner;
  around.inner = 1;
  return around;
}

static int
run_rows(const actnn_call *call, bool is_centered)
{
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  AroundAxis rows = rows_of(x, &call->attribute[0]);
  size_t rstd = is_centered ? 2 : 1;
  RowsJob job = {cells_of(rows.outer, 1, rows.extent), rows.extent, float_input(call, 1), is_centered ? float_input(call, 2) : NULL,
                 is_centered ? float_output(call, 1) : NULL, float_output(call, rstd), call->attribute[1].f, is_centered};
  return with_form(x, x, y, [=](auto form) {
    return LAUNCH_BLOCKS(call, normalize_rows<decltype(form)>, blocks_of_cells(job.cells), job, in_form(form, x), in_form(form, y));
  });
}

extern "C" int
gpu_LayerNormalization(const actnn_call *call)
{
  return run_rows(call, true);
}

extern "C" int
gpu_RMSNormalization(const actnn_call *call)
{
  return run_rows(call, false);
}

/* ---- rows, backward ---------------------------------------------------------------------------------------------- */

/* mean NULL: zero. is_normalized: x is the normalized value already. */
template <typename Form> struct BackwardJob {
  Cells cells;
  int64_t length;
  Form dy, x, dx, sum; /* sum: what dx is added to, if there is any */
  const float *scale, *mean, *rstd;
  bool is_centered, is_normalized;
};

/* Of one element: what flows back to the normalized value, and the element. */
template <typename Form>
static __device__ Pair
flow_at(const BackwardJob<Form> &job, int64_t start, int64_t i)
{
  Pair pair = {job.dy[start + i] * job.scale[i], job.x[start + i]};
  return pair;
}

template <typename Form>
KERNEL
pull_rows(BackwardJob<Form> job)
{
  Seat seat = take_seat(job.cells);
  int64_t start = seat.outer * job.length, end = seat.is_inside ? job.length : 0;
  float center = job.mean && seat.is_inside ? job.mean[seat.outer] : 0, rstd = seat.is_inside ? job.rstd[seat.outer] : 0;
  Sums sums = {0, 0, 0};
  auto load = [&](int64_t i) { return flow_at(job, start, i); };
  add_terms(seat.lane, end, job.cells.lanes, [&](int64_t i) {
    Pair pair = load(i);
    pair.b = pair.a * (pair.b - center);
    return pair;
  }, &sums);
  double count = (double)job.length, scaled = job.is_normalized ? 1 : rstd;
  float shift = job.is_centered ? (float)(cell_sum(job.cells, sums.a) / count) : 0;
  float slope = (float)(cell_sum(job.cells, sums.b) * scaled * scaled / count);
  write_terms<Pair>(seat.lane, end, job.cells.lanes, load, job.dx, start, 1, [&](Pair flow, int64_t i) {
    float pulled = rstd * (flow.a - shift - (flow.b - center) * slope);
    return job.sum.data ? job.sum[start + i] + pulled : pulled;
  });
}

/* Sums down the rows, of dy and of dy times the normalized value. */
template <typename Form> struct column_terms : term_kind<2, false> {
  Form dy, x;
  const float *mean, *rstd; /* mean NULL: zero; rstd NULL: one */
  __device__ Pair at(int64_t offset, int64_t row, float) const
  {
    float gradient = dy[offset], apart = x[offset] - (mean ? mean[row] : 0);
    Pair pair = {gradient, gradient * (apart * (rstd ? rstd[row] : 1))};
    return pair;
  }
};

/* Columns first: dx may lie on dy. */
template <typename Form>
static int
pull(const actnn_call *call, const BackwardJob<Form> &job, const Fold &fold, Sums *partial)
{
  column_terms<Form> term;
  term.dy = job.dy;
  term.x = job.x;
  term.mean = job.mean;
  term.rstd = job.is_normalized ? NULL : job.rstd;
  write_parameters finish = {float_output(call, 1), float_output(call, 2)};
  if ((finish.dscale || finish.db) && run_fold(call, fold, term, finish, partial))
    return 1;
  return job.dx.data && LAUNCH_BLOCKS(call, pull_rows<Form>, blocks_of_cells(job.cells), job);
}

static int
backward_rows(const actnn_call *call, bool has_mean, bool is_centered, bool is_normalized)
{
  const actnn_view *dy = &call->input[0], *x = &call->input[1], *dx = optional_output(call, 0), *sum = optional_input(call, has_mean ? 5 : 4);
  if (!is_for_floats(call, true) || (sum && dx && sum->type != dx->type))
    return DEVICE_DECLINES;
  AroundAxis rows = rows_of(x, &call->attribute[0]);
  Fold fold = matrix_fold(rows.outer, rows.extent, false);
  Sums *partial;
  int outcome;
  if (!may_fold(call, fold, &partial, &outcome))
    return outcome;
  return with_form(dy, x, dx, [=](auto form) {
    BackwardJob<decltype(form)> job = {cells_of(rows.outer, 1, rows.extent), rows.extent, in_form(form, dy), in_form(form, x),
                                       in_form(form, dx), in_form(form, sum), float_input(call, 2), has_mean ? float_input(call, 3) : NULL,
                                       float_input(call, has_mean ? 4 : 3), is_centered, is_normalized};
    return pull(call, job, fold, partial);
  });
}

extern "C" int
gpu_LayerNormalizationGrad(const actnn_call *call)
{
  return backward_rows(call, true, true, false);
}

extern "C" int
gpu_RMSNormalizationGrad(const actnn_call *call)
{
  return backward_rows(call, false, false, false);
}

/* Attribute 1: whether the mean was taken out. */
extern "C" int
gpu_NormalizedRowsGrad(const actnn_call *call)
{
  return backward_rows(call, false, call->attribute[1].i != 0, true);
}
