/* normalization_groups.cu: normalization of groups of channels of a sample. A group may be as long as an image: it takes sums, and an
 * affine function of each element after them, as normalization over the batch does. */
#include "normalization.h"

typedef struct Groups {
  layout_planes planes;
  int64_t count, each; /* of a sample; channels of one */
} Groups;

/* False when the operands do not suit. */
static bool
groups_of(const actnn_call *call, const actnn_view *x, int64_t count, Groups *groups)
{
  if (!is_for_floats(call, true) || x->layout != ACTNN_PLAIN || count < 1 || x->dim[1] % count)
    return false;
  groups->planes = layout_of(call->trainer, x);
  groups->count = count;
  groups->each = x->dim[1] / count;
  return true;
}

static int64_t
planes_of(const Groups &groups)
{
  return groups.planes.batch * groups.planes.channels;
}

static int64_t
length_of(const Groups &groups)
{
  return groups.each * groups.planes.positions;
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* A group's moments, and coefficients of its channels. */
struct finish_group {
  const float *scale, *b;
  float *mean, *rstd;
  int64_t each, groups;
  double epsilon, length;
  Coefficients *coefficients;

  __device__ void operator()(int64_t group, const Sums &sums) const
  {
    Moments moments = moments_of(sums, length);
    float own_rstd = (float)(1 / sqrt(moments.variance + epsilon));
    int64_t first = group % groups * each;
    put(mean, group, moments.mean);
    put(rstd, group, own_rstd);
    for (int64_t k = 0; k < each; k++) {
      Coefficients own = {(float)moments.mean, scale[first + k] * own_rstd, b[first + k], 0};
      coefficients[group * each + k] = own;
    }
  }
};

static int
group_norm(const actnn_call *call, int64_t count)
{
  Groups groups;
  gpu_room room = {0, false};
  if (!groups_of(call, &call->input[0], count, &groups))
    return DEVICE_DECLINES;
  Fold fold = matrix_fold(groups.planes.batch * count, length_of(groups), true);
  Sums *partial = take_partial(call, &room, fold);
  Coefficients *coefficients = take_room<Coefficients>(call, &room, planes_of(groups));
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  finish_group finish = {float_input(call, 1), float_input(call, 2), float_output(call, 1), float_output(call, 2), groups.each, count,
                         call->attribute[0].f, (double)length_of(groups), coefficients};
  if (sum_moments(call, &call->input[0], fold, finish, partial))
    return 1;
  return gpu_affine(call, groups.planes, true, coefficients, floats_input(call, 0), Floats(), floats_output(call, 0));
}

extern "C" int
gpu_GroupNorm(const actnn_call *call)
{
  return group_norm(call, call->attribute[1].i);
}

extern "C" int
gpu_GroupNormalization(const actnn_call *call)
{
  return group_norm(call, call->attribute[1].i);
}

extern "C" int
gpu_InstanceNormalization(const actnn_call *call)
{
  return group_norm(call, call->input[0].dim[1]);
}

/* ---- backward: sums of each channel of each sample; from them those of channels and of groups ---------------------- */

struct write_plane {
  Pair *planes;
  __device__ void operator()(int64_t plane, const Sums &sums) const
  {
    Pair pair = {(float)sums.a, (float)sums.b};
    planes[plane] = pair;
  }
};

/* Of a channel, over the batch: projections take their group's rstd. */
struct parameter_terms : term_kind<2, false> {
  const Pair *planes;
  const float *rstd;
  Divisor each;
  __device__ Pair at(int64_t plane, int64_t, float) const
  {
    Pair pair = planes[plane];
    pair.b *= rstd[quotient(plane, each)];
    return pair;
  }
};

/* Of a group: all of its channels, by their scale. */
struct group_terms : term_kind<2, false> {
  const Pair *planes;
  const float *scale;
  Divisor channels;
  __device__ Pair at(int64_t plane, int64_t, float) const
  {
    Pair pair = planes[plane];
    float own = scale[remainder_of(plane, channels)];
    pair.a *= own;
    pair.b *= own;
    return pair;
  }
};

struct finish_pull {
  const float *scale, *mean, *rstd;
  int64_t each, groups;
  double length;
  Coefficients *coefficients;

  __device__ void operator()(int64_t group, const Sums &sums) const
  {
    double own = rstd[group], shift = sums.a / length, slope = sums.b * own * own / length;
    for (int64_t k = 0; k < each; k++) {
      double factor = own * scale[group % groups * each + k];
      Coefficients of_channel = {mean[group], (float)(-own * slope), (float)(-own * shift), (float)factor};
      coefficients[group * each + k] = of_channel;
    }
  }
};

static int
sum_planes(const actnn_call *call, const Groups &groups, const Fold &fold, Pair *planes, Sums *partial)
{
  write_plane finish = {planes};
  return sum_projections(call, &call->input[0], &call->input[1], float_input(call, 3), groups.each, fold, finish, partial);
}

static int
sum_parameters(const actnn_call *call, const Groups &groups, const Fold &fold, const Pair *planes, Sums *partial)
{
  parameter_terms term;
  term.planes = planes;
  term.rstd = float_input(call, 4);
  term.each = divisor_of(groups.each);
  write_parameters finish = {float_output(call, 1), float_output(call, 2)};
  return run_fold(call, fold, term, finish, partial);
}

static int
pull_groups(const actnn_call *call, const Groups &groups, const Fold &fold, const Pair *planes, Coefficients *coefficients, Sums *partial)
{
  group_terms term;
  term.planes = planes;
  term.scale = float_input(call, 2);
  term.channels = divisor_of(groups.planes.channels);
  finish_pull finish = {term.scale, float_input(call, 3), float_input(call, 4), groups.each, groups.count, (double)length_of(groups),
                        coefficients};
  if (run_fold(call, fold, term, finish, partial))
    return 1;
  return gpu_affine(call, groups.planes, true, coefficients, floats_input(call, 1), floats_input(call, 0), floats_output(call, 0));
}

extern "C" int
gpu_GroupNormGrad(const actnn_call *call)
{
  Groups groups;
  gpu_room room = {0, false};
  if (!groups_of(call, &call->input[1], call->input[3].dim[1], &groups))
    return DEVICE_DECLINES;
  const Fold of_planes = matrix_fold(planes_of(groups), groups.planes.positions, true);
  const Fold of_channels = matrix_fold(groups.planes.batch, groups.planes.channels, false);
  const Fold of_groups = matrix_fold(groups.planes.batch * groups.count, groups.each, true);
  Sums *plane_partial = take_partial(call, &room, of_planes), *channel_partial = take_partial(call, &room, of_channels);
  Sums *group_partial = take_partial(call, &room, of_groups);
  Pair *planes = take_room<Pair>(call, &room, planes_of(groups));
  Coefficients *coefficients = take_room<Coefficients>(call, &room, planes_of(groups));
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  if (sum_planes(call, groups, of_planes, planes, plane_partial) || sum_parameters(call, groups, of_channels, planes, channel_partial))
    return 1;
  return float_output(call, 0) && pull_groups(call, groups, of_groups, planes, coefficients, group_partial);
}
