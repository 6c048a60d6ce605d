/* reduction.cu: sums and means along axes, and their inverse. */
#include "moving.h"
#include "sums.h"

/* ---- sums -------------------------------------------------------------------------------------------------------- */

struct plain_term : term_kind<1, false> {
  const float *x;
  __device__ Pair at(int64_t offset, int64_t, float) const
  {
    Pair pair = {x[offset], 0};
    return pair;
  }
};

struct write_sum {
  float *y;
  double factor;
  __device__ void operator()(int64_t place, const Sums &sums) const { y[place] = (float)(sums.a * factor); }
};

static int
sum(const actnn_call *call, const Fold &fold, bool is_mean)
{
  gpu_room room = {0, false};
  Sums *partial = take_partial(call, &room, fold);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  plain_term term;
  term.x = float_input(call, 0);
  write_sum finish = {float_output(call, 0), is_mean ? 1 / (double)fold.terms : 1};
  return run_fold(call, fold, term, finish, partial);
}

static int
reduce(const actnn_call *call, bool is_mean)
{
  bool is_folded[ACTNN_MAX_RANK];
  FoldPlan plan;
  if (!is_for_floats(call))
    return DEVICE_DECLINES;
  memset(&plan, 0, sizeof plan);
  mark_axes(&call->input[0], &call->attribute[0], call->attribute[2].i != 0, is_folded);
  fold_plain(&plan, &call->input[0], is_folded);
  return sum(call, fold_of(plan), is_mean);
}

extern "C" int
gpu_ReduceSum(const actnn_call *call)
{
  return reduce(call, false);
}

extern "C" int
gpu_ReduceMean(const actnn_call *call)
{
  return reduce(call, true);
}

extern "C" int
gpu_ChannelSum(const actnn_call *call)
{
  if (!is_for_floats(call))
    return DEVICE_DECLINES;
  return sum(call, fold_of(channel_plan(layout_of(call->trainer, &call->input[0]), false)), false);
}

extern "C" int
gpu_GlobalAveragePool(const actnn_call *call)
{
  layout_planes planes = layout_of(call->trainer, &call->input[0]);
  if (!is_for_floats(call) || layout_of(call->trainer, &call->output[0]).lanes != planes.lanes)
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
  if (!is_for_floats(call))
    return DEVICE_DECLINES;
  memset(&plan, 0, sizeof plan);
  mark_broadcast_axes(x, y, is_folded);
  if (x->layout == ACTNN_PLAIN)
    fold_plain(&plan, x, is_folded);
  else
    fits = fold_blocked(&plan, x, y, is_folded, block, y_block);
  return fits ? sum(call, fold_of(plan), false) : DEVICE_DECLINES;
}

/* ---- their inverse ----------------------------------------------------------------------------------------------- */

typedef struct SpreadJob {
  const float *x;
  float *y;
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
      job.y[i] = value[each];
  }
}

/* The plan is that of folding y to x. */
static int
run_spread(const actnn_call *call, const FoldPlan &plan, bool is_mean)
{
  if (actnn_is_preparing(call))
    return 0;
  SpreadJob job = {float_input(call, 0), float_output(call, 0), 1, 1, axes_of(plan.axis, plan.count)};
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
  if (!is_for_floats(call))
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
  if (!is_for_floats(call) || layout_of(call->trainer, &call->input[0]).lanes != planes.lanes)
    return DEVICE_DECLINES;
  return run_spread(call, channel_plan(planes, true), true);
}
