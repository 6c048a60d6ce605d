/* reduction.c: sums and means along any axes, sums down to a shape, and their inverse.
 *
 * Merged axes (folding.h) leave two shapes of work. Innermost axis folded: a result is a sum of contiguous runs.
 * Innermost axis kept: 16 results side by side are a sum of vectors. Either is cut into a fixed number of slices, whose
 * partial sums are combined in order: the same result for any number of threads. Padded channels of blocked tensors are
 * zero and may be summed.
 *
 * Compiled once for each instruction set, see instruction_set.h.
 */
#ifndef ACTNN_RUNTIME
#define ACTNN_RUNTIME
#endif
#include "bfloat.h"
#include "instruction_set.h"

#include "folding.h"

enum { TASKS = 128, SLICES = 16, RUN = 4096, SLICE_FLOATS = 4096 };

static double
run_sum(const float *x, int64_t count)
{
  lanes sums = {0}, value;
  double rest = 0;
  int64_t i;
  for (i = 0; i + LANES <= count; i += LANES) {
    LOAD_LANES(value, x + i);
    EACH_PART sums.part[q] += value.part[q];
  }
  for (; i < count; i++) rest += x[i];
  return (count < LANES ? 0 : sum_of_lanes(&sums)) + rest;
}

/* How one plan is cut: a group is one result (innermost folded) or up to 16 (innermost kept). */
typedef struct FoldWork {
  const FoldPlan *plan;
  const actnn_view *x;
  int64_t tiles, groups, units, runs, slices, per_slice; /* units: runs of one result, or vectors of 16 */
} FoldWork;

static FoldWork
work_of(const FoldPlan *plan, const actnn_view *x)
{
  FoldWork work = {.plan = plan, .x = x, .tiles = 1, .runs = 1};
  int64_t width = LANES;
  if (plan->inner.is_folded) {
    work.runs = (plan->inner.dim + RUN - 1) / RUN;
    width = plan->inner.dim < RUN ? plan->inner.dim : RUN;
  } else {
    work.tiles = (plan->inner.dim + LANES - 1) / LANES;
  }
  work.groups = plan->outputs * work.tiles;
  work.units = plan->terms * work.runs;
  work.slices = work.units * width < 2 * SLICE_FLOATS ? 1 : work.units < SLICES ? work.units : SLICES;
  work.per_slice = (work.units + work.slices - 1) / work.slices;
  return work;
}

static void
sum_runs(const FoldWork *work, int64_t at, int64_t first, int64_t end, double *sum)
{
  const FoldPlan *plan = work->plan;
  float buffer[RUN];
  double total = 0;
  for (int64_t unit = first; unit < end; unit++) {
    int64_t start = unit % work->runs * RUN, rest = plan->inner.dim - start;
    int64_t from = at + fold_offset(plan->folded, plan->folded_count, unit / work->runs, NULL) + start, count = rest < RUN ? rest : RUN;
    total += run_sum(bfloat_read(work->x, from, count, buffer), count);
  }
  sum[0] = total;
}

static void
sum_vectors(const FoldWork *work, int64_t at, int64_t first, int64_t end, int64_t used, double *sum)
{
  const FoldPlan *plan = work->plan;
  enum { ROWS = 64 }; /* summed in float before the sum goes on in double */
  float part[LANES];
  for (int k = 0; k < LANES; k++) sum[k] = 0;
  for (int64_t begin = first; begin < end; begin += ROWS) {
    int64_t stop = begin + ROWS < end ? begin + ROWS : end;
    lanes total = {0}, value = {0};
    for (int64_t unit = begin; unit < stop; unit++) {
      float buffer[LANES];
      const float *from = bfloat_read(work->x, at + fold_offset(plan->folded, plan->folded_count, unit, NULL), used, buffer);
      if (used == LANES) {
        LOAD_LANES(value, from);
      } else {
        memcpy(&value, from, (size_t)used * sizeof *from);
      }
      EACH_PART total.part[q] += value.part[q];
    }
    STORE_LANES(part, total);
    for (int k = 0; k < LANES; k++) sum[k] += part[k];
  }
}

static int64_t
lanes_in_tile(const FoldWork *work, int64_t group)
{
  int64_t rest = work->plan->inner.dim - group % work->tiles * LANES;
  return rest < LANES ? rest : LANES;
}

static void
sum_slice(const FoldWork *work, int64_t group, int64_t slice, double *sum)
{
  const FoldPlan *plan = work->plan;
  int64_t first = slice * work->per_slice, end = first + work->per_slice < work->units ? first + work->per_slice : work->units;
  int64_t at = fold_offset(plan->kept, plan->kept_count, group / work->tiles, NULL);
  if (plan->inner.is_folded) sum_runs(work, at, first, end, sum);
  else sum_vectors(work, at + group % work->tiles * LANES, first, end, lanes_in_tile(work, group), sum);
}

/* Adds up a group's slices and writes its results, times `factor`. */
static void
finish_group(const FoldWork *work, int64_t group, double (*slice)[LANES], double factor, const actnn_view *y)
{
  const FoldPlan *plan = work->plan;
  int64_t at, column = group % work->tiles * LANES, used = plan->inner.is_folded ? 1 : lanes_in_tile(work, group);
  fold_offset(plan->kept, plan->kept_count, group / work->tiles, &at);
  for (int64_t k = 0; k < used; k++) {
    double sum = 0;
    for (int64_t s = 0; s < work->slices; s++) sum += slice[s][k];
    if (plan->block_channels && column + k >= plan->block_channels) {
      int64_t inside = group / work->tiles;
      for (int i = plan->kept_count - 1; i > plan->block_axis; i--) inside /= plan->kept[i].dim;
      if (inside % plan->blocks == plan->blocks - 1) return;
    }
    int64_t place = at + (column + k) * plan->inner.y_stride;
    float result, *to = bfloat_place(y, place, &result);
    *to = (float)(sum * factor);
    bfloat_write(y, place, 1, &result);
  }
}

static void
run_plan(const FoldPlan *plan, const actnn_view *x, const actnn_view *y, double factor)
{
  FoldWork work = work_of(plan, x);
  int64_t most = TASKS / work.slices;
  if (work.slices == 1) { /* many results or short sums: no partial sums at all */
#pragma omp parallel for schedule(static) if (work.groups * work.units * LANES > SERIAL_ELEMENTS)
    for (int64_t group = 0; group < work.groups; group++) {
      double sum[1][LANES];
      sum_slice(&work, group, 0, sum[0]);
      finish_group(&work, group, sum, factor, y);
    }
    return;
  }
  for (int64_t first = 0; first < work.groups; first += most) {
    double sum[TASKS][LANES];
    int64_t last = first + most < work.groups ? first + most : work.groups, tasks = (last - first) * work.slices;
#pragma omp parallel for schedule(static)
    for (int64_t task = 0; task < tasks; task++)
      sum_slice(&work, first + task / work.slices, task % work.slices, sum[task]);
    for (int64_t group = first; group < last; group++)
      finish_group(&work, group, &sum[(group - first) * work.slices], factor, y);
  }
}

/* ---- entry points --------------------------------------------------------------------------------------- */

static bool
is_plain_float(const actnn_view *view)
{
  return (view->type == ACTNN_F32 || bfloat_holds(view)) && view->layout == ACTNN_PLAIN;
}

actnn_kernel plain_ReduceSum, plain_ReduceMean, plain_Spread, plain_SpreadMean, plain_SumTo;

static int
reduce(const actnn_call *call, bool is_mean, actnn_kernel *otherwise)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *x = &call->input[0];
  bool is_folded[ACTNN_MAX_RANK];
  FoldPlan plan = {0};
  if (!is_plain_float(x) || element_count(x) == 0) return bfloat_is_in(call) ? bfloat_run_on_copies(otherwise, call) : otherwise(call);
  mark_axes(x, &call->attribute[0], call->attribute[2].i != 0, is_folded);
  fold_plain(&plan, x, is_folded);
  double folded = (double)(plan.terms * (plan.inner.is_folded ? plan.inner.dim : 1));
  run_plan(&plan, x, &call->output[0], is_mean ? 1 / folded : 1);
  return 0;
}

int ENTRY(ReduceSum)(const actnn_call *call);
int
ENTRY(ReduceSum)(const actnn_call *call)
{
  return reduce(call, false, plain_ReduceSum);
}

int ENTRY(ReduceMean)(const actnn_call *call);
int
ENTRY(ReduceMean)(const actnn_call *call)
{
  return reduce(call, true, plain_ReduceMean);
}

/* A blocked result has room for padded channels, which no sum reaches when there is one channel only. */
static void
clear_result(const actnn_view *y, int64_t block)
{
  int64_t count = y->dim[0] * ((y->dim[1] + block - 1) / block) * block;
  for (int i = 2; i < y->rank; i++) count *= y->dim[i];
  memset(y->data, 0, (size_t)count * element_bytes(y->type));
}

int ENTRY(SumTo)(const actnn_call *call);
int
ENTRY(SumTo)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t block = call->trainer ? call->trainer->channel_block : 1;
  bool is_folded[ACTNN_MAX_RANK];
  FoldPlan plan = {0};
  if (x->layout == ACTNN_PLAIN && (!is_plain_float(x) || element_count(x) == 0) && y->layout == ACTNN_PLAIN)
    return bfloat_is_in(call) ? bfloat_run_on_copies(plain_SumTo, call) : plain_SumTo(call);
  mark_broadcast_axes(x, y, is_folded);
  if (is_plain_float(x) && y->layout == ACTNN_PLAIN) {
    fold_plain(&plan, x, is_folded);
  } else if ((x->type != ACTNN_F32 && !bfloat_holds(x)) || x->layout != ACTNN_BLOCKED || !fold_blocked(&plan, x, y, is_folded, block, block)) {
    return actnn_fail(call->trainer, "SumTo cannot sum from this layout to that one");
  }
  if (y->layout == ACTNN_BLOCKED) clear_result(y, block);
  run_plan(&plan, x, y, 1);
  return 0;
}

/* Attributes: shape, axes, keepdims, noop_with_empty_axes. The plan is that of folding y to x. */
static int
spread(const actnn_call *call, bool is_mean, actnn_kernel *otherwise)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *y = &call->output[0];
  bool is_folded[ACTNN_MAX_RANK];
  FoldPlan plan = {0};
  if (!is_plain_float(y) || element_count(y) == 0) return otherwise(call);
  mark_axes(y, &call->attribute[1], call->attribute[3].i != 0, is_folded);
  fold_plain(&plan, y, is_folded);
  const float *x = call->input[0].data;
  float *to = y->data;
  int64_t length = plan.inner.dim, rows = element_count(y) / length;
  double folded = (double)(plan.terms * (plan.inner.is_folded ? length : 1));
  float factor = is_mean ? (float)(1 / folded) : 1;
#pragma omp parallel for schedule(static) if (rows * length > SERIAL_ELEMENTS)
  for (int64_t row = 0; row < rows; row++) {
    int64_t in_x;
    fold_offset(plan.axis, plan.count - 1, row, &in_x);
    float *line = to + row * length, value = x[in_x] * factor;
    if (plan.inner.is_folded)
      for (int64_t i = 0; i < length; i++) line[i] = value;
    else
      for (int64_t i = 0; i < length; i++) line[i] = x[in_x + i] * factor;
  }
  return 0;
}

int ENTRY(Spread)(const actnn_call *call);
int
ENTRY(Spread)(const actnn_call *call)
{
  return spread(call, false, plain_Spread);
}

int ENTRY(SpreadMean)(const actnn_call *call);
int
ENTRY(SpreadMean)(const actnn_call *call)
{
  return spread(call, true, plain_SpreadMean);
}
