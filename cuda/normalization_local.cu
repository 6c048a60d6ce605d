/* normalization_local.cu: the rarer normalizations: across neighbouring channels, to unit length, and over any axes. */
#include "normalization.h"

#include "../src/operators/indices.h"
#include "../src/operators/local_normalization.h"

/* ---- LRN: a thread has an element, and reads its window ---------------------------------------------------------- */

typedef struct LrnJob {
  Lrn lrn;
  int64_t count;
  const float *dy, *x; /* dy NULL: forward */
  float *y;
} LrnJob;

KERNEL
normalize_neighbours(LrnJob job)
{
  int64_t i = thread_number(), stride = job.lrn.stride, channels = job.lrn.channels;
  if (i >= job.count)
    return;
  int64_t c = i / stride % channels, start = i - c * stride;
  job.y[i] = job.dy ? lrn_gradient(&job.lrn, job.dy + start, job.x + start, c) : lrn_element(&job.lrn, job.x + start, c);
}

static int
run_lrn(const actnn_call *call, const float *dy, const actnn_view *x)
{
  if (!is_for_floats(call))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  LrnJob job = {lrn_of(call, x), element_count(x), dy, (const float *)x->data, float_output(call, 0)};
  return LAUNCH(call, normalize_neighbours, job.count, job);
}

extern "C" int
gpu_LRN(const actnn_call *call)
{
  return run_lrn(call, NULL, &call->input[0]);
}

extern "C" int
gpu_LRNGrad(const actnn_call *call)
{
  return run_lrn(call, float_input(call, 0), &call->input[1]);
}

/* ---- LpNormalization: a cell has a line, or lines side by side --------------------------------------------------- */

typedef struct LpJob {
  Cells cells;
  int64_t length, inner, p;
  Floats dy, x, y; /* without a dy: forward */
} LpJob;

KERNEL
normalize_lines(LpJob job)
{
  Seat seat = take_seat(job.cells);
  int64_t start = seat.outer * job.length * job.inner + seat.column, end = seat.is_inside ? job.length : 0;
  auto load = [&](int64_t i) { return job.x[start + i * job.inner]; };
  double sum = 0;
  for_terms<float>(seat.lane, end, job.cells.lanes, load, [&](const float *x, int count, int64_t) {
    for (int k = 0; k < count; k++)
      sum += lp_term(x[k], job.p);
  });
  double norm = lp_norm(cell_sum(job.cells, sum), job.p);
  write_terms<float>(seat.lane, end, job.cells.lanes, load, job.y, start, job.inner, [&](float x, int64_t) {
    return lp_element(x, norm);
  });
}

KERNEL
pull_lines(LpJob job)
{
  Seat seat = take_seat(job.cells);
  int64_t start = seat.outer * job.length * job.inner + seat.column, end = seat.is_inside ? job.length : 0;
  auto load = [&](int64_t i) {
    Pair pair = {job.dy[start + i * job.inner], job.x[start + i * job.inner]};
    return pair;
  };
  double sum = 0, along = 0;
  for_terms<Pair>(seat.lane, end, job.cells.lanes, load, [&](const Pair *term, int count, int64_t) {
    for (int k = 0; k < count; k++) {
      sum += lp_term(term[k].b, job.p);
      along += (double)term[k].a * term[k].b;
    }
  });
  double norm = lp_norm(cell_sum(job.cells, sum), job.p);
  along = cell_sum(job.cells, along);
  write_terms<Pair>(seat.lane, end, job.cells.lanes, load, job.y, start, job.inner, [&](Pair term, int64_t) {
    return lp_gradient(term.a, term.b, norm, along, job.p);
  });
}

static int
run_lp(const actnn_call *call, const Floats &dy, const actnn_view *x)
{
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  AroundAxis around = around_axis(x, call->attribute[0].i);
  LpJob job = {cells_of(around.outer, around.inner, around.extent), around.extent, around.inner, call->attribute[1].i, dy,
               floats_of(x), floats_output(call, 0)};
  int64_t blocks = blocks_of_cells(job.cells);
  return dy.data ? LAUNCH_BLOCKS(call, pull_lines, blocks, job) : LAUNCH_BLOCKS(call, normalize_lines, blocks, job);
}

extern "C" int
gpu_LpNormalization(const actnn_call *call)
{
  return run_lp(call, Floats(), &call->input[0]);
}

extern "C" int
gpu_LpNormalizationGrad(const actnn_call *call)
{
  return run_lp(call, floats_input(call, 0), &call->input[1]);
}

/* ---- MeanVarianceNormalization: sums of groups, and an affine function of each element after them ----------------- */

/* Elements lose a center first, which is the mean but for its rounding; coefficients make up for that. */
struct finish_forward {
  double count;
  Coefficients *coefficients;
  __device__ void operator()(int64_t group, const Sums &sums) const
  {
    Moments moments = moments_of(sums, count);
    float center = (float)moments.mean;
    double scale = deviation_scale(moments.variance);
    Coefficients own = {center, (float)scale, (float)((center - moments.mean) * scale), 0};
    coefficients[group] = own;
  }
};

struct write_moments {
  double count;
  float *center;
  Moments *moments;
  __device__ void operator()(int64_t group, const Sums &sums) const
  {
    moments[group] = moments_of(sums, count);
    center[group] = (float)moments[group].mean;
  }
};

struct finish_gradient {
  double count;
  const float *center;
  const Moments *moments;
  Coefficients *coefficients;
  __device__ void operator()(int64_t group, const Sums &sums) const
  {
    Moments own = moments[group];
    double rest = own.mean - center[group], scale = deviation_scale(own.variance);
    double pull = deviation_pull(own.variance, sums.b - rest * sums.a, count);
    Coefficients made = {center[group], (float)-pull, (float)(rest * pull - scale * sums.a / count), (float)scale};
    coefficients[group] = made;
  }
};

typedef struct GroupsJob {
  Axes axes; /* of x, with strides in groups */
  int64_t count;
  const Coefficients *coefficients;
  Floats dy, x, y; /* without a dy: forward */
} GroupsJob;

KERNEL
apply_to_groups(GroupsJob job)
{
  int64_t i = thread_number(), group;
  if (i >= job.count)
    return;
  offset_over(job.axes, i, &group);
  Coefficients own = job.coefficients[group];
  float value = (job.x[i] - own.center) * own.slope + own.bias;
  job.y.put(i, job.dy.data ? value + own.gradient * job.dy[i] : value);
}

static int
run_groups(const actnn_call *call, const actnn_view *dy, const actnn_view *x)
{
  bool is_folded[ACTNN_MAX_RANK];
  FoldPlan plan;
  gpu_room room = {0, false};
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  memset(&plan, 0, sizeof plan);
  mark_axes(x, &call->attribute[0], true, is_folded);
  fold_plain(&plan, x, is_folded);
  Fold fold = fold_of(plan);
  int64_t groups = fold.cells.outer * fold.cells.columns;
  double count = (double)fold.terms;
  Sums *partial = take_partial(call, &room, fold);
  Coefficients *coefficients = take_room<Coefficients>(call, &room, groups);
  Moments *moments = take_room<Moments>(call, &room, dy ? groups : 0);
  float *center = take_room<float>(call, &room, dy ? groups : 0);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  GroupsJob job = {axes_of(plan.axis, plan.count), element_count(x), coefficients, dy ? floats_of(dy) : Floats(), floats_of(x),
                   floats_output(call, 0)};
  finish_forward forward = {count, coefficients};
  write_moments write = {count, center, moments};
  finish_gradient backward = {count, center, moments, coefficients};
  if (dy ? sum_moments(call, x, fold, write, partial) || sum_projections(call, dy, x, center, 1, fold, backward, partial)
         : sum_moments(call, x, fold, forward, partial))
    return 1;
  return LAUNCH(call, apply_to_groups, job.count, job);
}

extern "C" int
gpu_MeanVarianceNormalization(const actnn_call *call)
{
  return run_groups(call, NULL, &call->input[0]);
}

extern "C" int
gpu_MeanVarianceNormalizationGrad(const actnn_call *call)
{
  return run_groups(call, &call->input[0], &call->input[1]);
}
