/* reduction.cu: folds along axes, the inverse of sums, what gradients of folds need, and where extremes lie. */
#include "folds.h"
#include "moving.h"

#include "../src/operators/indices.h"

/* Along the axes that attributes axes and noop_with_empty_axes say. */
static FoldPlan
plan_of_axes(const actnn_call *call)
{
  bool is_folded[ACTNN_MAX_RANK];
  FoldPlan plan;
  memset(&plan, 0, sizeof plan);
  mark_axes(&call->input[0], &call->attribute[0], call->attribute[2].i != 0, is_folded);
  fold_plain(&plan, &call->input[0], is_folded);
  return plan;
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

template <typename X> struct plain_term : term_kind<1, false> {
  const X *x;
  __device__ Pair at(int64_t offset, int64_t, float) const
  {
    Pair pair = {widened(x[offset]), 0};
    return pair;
  }
};

struct write_sum {
  Floats y;
  double factor;
  __device__ void operator()(int64_t place, const Sums &sums) const { y.put(place, (float)(sums.a * factor)); }
};

static int
sum(const actnn_call *call, const Fold &fold, bool is_mean)
{
  Sums *partial;
  int outcome;
  if (!may_fold(call, fold, &partial, &outcome))
    return outcome;
  const actnn_view *x = &call->input[0];
  write_sum finish = {floats_output(call, 0), is_mean ? 1 / (double)fold.terms : 1};
  return with_floats(x, [=](auto element) {
    plain_term<decltype(element)> term;
    term.x = (const decltype(element) *)x->data;
    return run_fold(call, fold, term, finish, partial);
  });
}

extern "C" int
gpu_ChannelSum(const actnn_call *call)
{
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  return sum(call, fold_of(channel_plan(layout_of(call->trainer, &call->input[0]), false)), false);
}

extern "C" int
gpu_GlobalAveragePool(const actnn_call *call)
{
  layout_planes planes = layout_of(call->trainer, &call->input[0]);
  if (!is_for_floats(call, true) || layout_of(call->trainer, &call->output[0]).lanes != planes.lanes)
    return DEVICE_DECLINES;
  return sum(call, fold_of(channel_plan(planes, true)), true);
}

/* A plain operand has a plain result; images have their channels last or not, each for itself. */
extern "C" int
gpu_SumTo(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t block = gpu_block_of(call->trainer, x), y_block = gpu_block_of(call->trainer, y);
  bool is_folded[ACTNN_MAX_RANK], fits = y_block == 1;
  FoldPlan plan;
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  memset(&plan, 0, sizeof plan);
  mark_broadcast_axes(x, y, is_folded);
  if (x->layout == ACTNN_PLAIN)
    fold_plain(&plan, x, is_folded);
  else
    fits = fold_blocked(&plan, x, y, is_folded, block, y_block);
  return fits ? sum(call, fold_of(plan), false) : DEVICE_DECLINES;
}

/* Axes of as many repeats as there are, and of what is repeated, in turn. */
extern "C" int
gpu_TileGrad(const actnn_call *call)
{
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  int64_t dx_stride[ACTNN_MAX_RANK], dy_stride[ACTNN_MAX_RANK];
  int axes = 0;
  FoldPlan plan;
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  for (int i = 0; i < dx->rank; i++)
    axes += (dx->dim[i] > 1) + (dy->dim[i] > dx->dim[i]);
  if (axes > MOST_AXES)
    return DEVICE_DECLINES;
  memset(&plan, 0, sizeof plan);
  row_major_strides(dx, dx_stride);
  row_major_strides(dy, dy_stride);
  for (int i = 0; i < dx->rank; i++) {
    fold_axis(&plan, dy->dim[i] / dx->dim[i], dx->dim[i] * dy_stride[i], 0, true, false);
    fold_axis(&plan, dx->dim[i], dy_stride[i], dx_stride[i], false, false);
  }
  fold_sort(&plan);
  return sum(call, fold_of(plan), false);
}

/* ---- any fold ---------------------------------------------------------------------------------------------------- */

/* e to the power of how far an element lies below the greatest of its line, which is the result so far. */
struct exponential_term : term_kind<1, false> {
  const float *x, *most;
  __device__ float center(int64_t place) const { return most[place]; }
  __device__ Pair at(int64_t offset, int64_t, float center) const
  {
    Pair pair = {expf(x[offset] - center), 0};
    return pair;
  }
};

struct add_logarithm {
  float *y;
  __device__ void operator()(int64_t place, const Sums &sums) const
  {
    if (isfinite(y[place]))
      y[place] += (float)log(sums.a);
  }
};

static int
reduce(const actnn_call *call, FoldKind kind)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  bool is_sum = is_for_floats(call, true) && (kind == SUM || kind == MEAN), needs_greatest = kind == LOG_SUM_EXP;
  if (!is_for_folds(x) || (needs_greatest && !is_for_floats(call)))
    return DEVICE_DECLINES;
  Fold fold = fold_of(plan_of_axes(call));
  if (is_sum)
    return sum(call, fold, kind == MEAN);
  Sums *partial;
  int outcome;
  if (!may_fold(call, fold, &partial, &outcome))
    return outcome;
  if (fold_by_rule(call, fold, x, rule_of(kind, y, fold), partial))
    return 1;
  exponential_term term;
  term.x = float_input(call, 0);
  term.most = float_output(call, 0);
  add_logarithm finish = {float_output(call, 0)};
  return needs_greatest ? run_fold(call, fold, term, finish, partial) : 0;
}

#define REDUCTION(NAME, kind) \
  extern "C" int gpu_##NAME(const actnn_call *call) { return reduce(call, kind); }
FOR_REDUCTIONS(REDUCTION)

/* ---- for their gradients ----------------------------------------------------------------------------------------- */

struct tie_term : term_kind<1, false> {
  Floats x, extreme;
  __device__ float center(int64_t place) const { return extreme[place]; }
  __device__ Pair at(int64_t offset, int64_t, float center) const
  {
    Pair pair = {x[offset] == center ? 1.0f : 0.0f, 0};
    return pair;
  }
};

extern "C" int
gpu_TieCount(const actnn_call *call)
{
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  Fold fold = fold_of(plan_of_axes(call));
  Sums *partial;
  int outcome;
  if (!may_fold(call, fold, &partial, &outcome))
    return outcome;
  tie_term term;
  term.x = floats_input(call, 0);
  term.extreme = floats_input(call, 1);
  write_sum finish = {floats_output(call, 0), 1};
  return run_fold(call, fold, term, finish, partial);
}

/* `a` is the product of all that is not zero, `b` the number of zeros. */
struct product_rule {
  Sums *group; /* by result */

  __device__ Sums begin() const
  {
    Sums sums = {1, 0, 0};
    return sums;
  }
  __device__ void take(Sums *gathered, double x, int64_t) const
  {
    gathered->a *= x == 0 ? 1 : x;
    gathered->b += x == 0;
  }
  __device__ void join(Sums *gathered, const Sums &later) const
  {
    gathered->a *= later.a;
    gathered->b += later.b;
  }
  __device__ Sums over_lanes(const Cells &cells, Sums gathered) const
  {
    gathered.a = cell_fold(gathered.a, [](double a, double b) { return a * b; }, cells.width, cells.lanes);
    gathered.b = cell_sum(cells, gathered.b);
    return gathered;
  }
  __device__ void finish(int64_t place, const Sums &gathered) const { group[place] = gathered; }
};

typedef struct ProductJob {
  Floats x, y;
  int64_t count;
  const Sums *group;
  Axes axes; /* of x, with strides in its groups */
} ProductJob;

KERNEL
multiply_others(ProductJob job)
{
  int64_t i = thread_number(), place;
  if (i >= job.count)
    return;
  offset_over(job.axes, i, &place);
  Sums group = job.group[place];
  job.y.put(i, (float)product_of_others(job.x[i], group.a, (int64_t)group.b));
}

extern "C" int
gpu_ProductOfOthers(const actnn_call *call)
{
  const actnn_view *x = &call->input[0];
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  FoldPlan plan = plan_of_axes(call);
  Fold fold = fold_of(plan);
  gpu_room room = {0, false};
  Sums *partial = take_partial(call, &room, fold);
  product_rule rule = {take_room<Sums>(call, &room, fold.cells.outer * fold.cells.columns)};
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  ProductJob job = {floats_input(call, 0), floats_output(call, 0), element_count(x), rule.group, axes_of(plan.axis, plan.count)};
  return fold_by_rule(call, fold, x, rule, partial) || LAUNCH(call, multiply_others, job.count, job);
}

/* ---- where extremes lie ------------------------------------------------------------------------------------------ */

/* `a` is the largest element times `sign`, `b` its number in its line; nothing is as if it lay beyond the line, so that any other goes
 * before it. */
struct extreme_rule {
  int64_t *y;
  double sign;
  bool is_last; /* of equal ones */
  int64_t terms;

  __device__ double nowhere(bool takes_last) const { return takes_last ? -1 : (double)terms; }
  __device__ Sums begin() const
  {
    Sums sums = {-INFINITY, nowhere(is_last), 0};
    return sums;
  }
  __device__ void take_extreme(Sums *gathered, double value, double number) const
  {
    if (!is_new_extreme(value, gathered->a, is_last))
      return;
    gathered->a = value;
    gathered->b = number;
  }
  __device__ void take(Sums *gathered, double x, int64_t number) const { take_extreme(gathered, sign * x, (double)number); }
  __device__ void join(Sums *gathered, const Sums &later) const { take_extreme(gathered, later.a, later.b); }
  /* Of lanes that found the same, the first or the last number; of NaN always the first. */
  __device__ Sums over_lanes(const Cells &cells, Sums gathered) const
  {
    double most = cell_fold(gathered.a, [](double a, double b) { return fold_in(MAXIMUM, a, b); }, cells.width, cells.lanes);
    bool is_nan = most != most, takes_last = is_last && !is_nan, has_it = is_nan ? gathered.a != gathered.a : gathered.a == most;
    Sums all = {most, has_it ? gathered.b : nowhere(takes_last), 0};
    all.b = cell_fold(all.b, [takes_last](double a, double b) { return (a > b) == takes_last ? a : b; }, cells.width, cells.lanes);
    return all;
  }
  /* Nothing was larger than -inf: the first. */
  __device__ void finish(int64_t place, const Sums &gathered) const { y[place] = gathered.b < (double)terms ? (int64_t)gathered.b : 0; }
};

static int
find_extreme(const actnn_call *call, double sign)
{
  const actnn_view *x = &call->input[0];
  if (!is_for_folds(x))
    return DEVICE_DECLINES;
  AroundAxis around = around_axis(x, call->attribute[0].i);
  Fold fold = axis_fold(around.outer, around.extent, around.inner);
  Sums *partial;
  int outcome;
  if (!may_fold(call, fold, &partial, &outcome))
    return outcome;
  extreme_rule rule = {(int64_t *)call->output[0].data, sign, call->attribute[2].i != 0, fold.terms};
  return fold_by_rule(call, fold, x, rule, partial);
}

extern "C" int
gpu_ArgMax(const actnn_call *call)
{
  return find_extreme(call, 1);
}

extern "C" int
gpu_ArgMin(const actnn_call *call)
{
  return find_extreme(call, -1);
}

/* ---- the inverse of sums ----------------------------------------------------------------------------------------------- */

typedef struct SpreadJob {
  Floats x, y;
  int64_t count;
  float factor;
  Axes axes; /* of y, with strides in x */
} SpreadJob;

KERNEL
spread(SpreadJob job)
{
  float value[TAKEN_AT_ONCE];
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each), place;
    if (i >= job.count)
      break;
    offset_over(job.axes, i, &place);
    value[each] = job.x[place] * job.factor;
  }
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each);
    if (i < job.count)
      job.y.put(i, value[each]);
  }
}

/* The plan is that of folding y to x. */
static int
run_spread(const actnn_call *call, const FoldPlan &plan, bool is_mean)
{
  if (actnn_is_preparing(call))
    return 0;
  SpreadJob job = {floats_input(call, 0), floats_output(call, 0), 1, 1, axes_of(plan.axis, plan.count)};
  int64_t folded = 1;
  for (int i = 0; i < plan.count; i++) {
    job.count *= plan.axis[i].dim;
    folded *= plan.axis[i].is_folded ? plan.axis[i].dim : 1;
  }
  job.factor = is_mean ? (float)(1 / (double)folded) : 1;
  return LAUNCH(call, spread, threads_of(job.count, TAKEN_AT_ONCE), job);
}

static int
spread_axes(const actnn_call *call, bool is_mean)
{
  bool is_folded[ACTNN_MAX_RANK];
  FoldPlan plan;
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  memset(&plan, 0, sizeof plan);
  mark_axes(&call->output[0], &call->attribute[1], call->attribute[3].i != 0, is_folded);
  fold_plain(&plan, &call->output[0], is_folded);
  return run_spread(call, plan, is_mean);
}

extern "C" int
gpu_Spread(const actnn_call *call)
{
  return spread_axes(call, false);
}

extern "C" int
gpu_SpreadMean(const actnn_call *call)
{
  return spread_axes(call, true);
}

extern "C" int
gpu_GlobalAveragePoolGrad(const actnn_call *call)
{
  layout_planes planes = layout_of(call->trainer, &call->output[0]);
  if (!is_for_floats(call, true) || layout_of(call->trainer, &call->input[0]).lanes != planes.lanes)
    return DEVICE_DECLINES;
  return run_spread(call, channel_plan(planes, true), true);
}
