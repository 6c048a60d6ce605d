/* normalization.cu: normalization over the batch, by channel: sums in one pass over memory, a channel's coefficients from its sums, and an
 * affine function of each element in a second pass. */
#include "moving.h"
#include "normalization.h"

/* ---- each element ------------------------------------------------------------------------------------------------ */

typedef struct AffineJob {
  Floats x, dy, y; /* without a dy: forward */
  const Coefficients *coefficients;
  int64_t count;
  Divisor run, planes, lanes; /* elements of a plane; planes until coefficients begin anew; channels of a plane, side by side */
} AffineJob;

/* Floats that a thread takes together are of one channel where channels are not last; else of as many. */
template <int Wide>
KERNEL
affine(AffineJob job)
{
  Columns<Wide> value[TAKEN_AT_ONCE];
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t unit = piece_number(each), i = unit * Wide;
    if (i >= job.count)
      break;
    int64_t plane = remainder_of(quotient(i, job.run), job.planes);
    const Coefficients *coefficients = job.coefficients + plane * job.lanes.number + remainder_of(i, job.lanes);
    Coefficients own = *coefficients;
    Columns<Wide> x = load_columns<Wide>(job.x, unit), dy = job.dy.data ? load_columns<Wide>(job.dy, unit) : Columns<Wide>();
    for (int k = 0; k < Wide; k++) {
      if (k > 0 && job.lanes.number > 1)
        own = coefficients[k];
      value[each].of[k] = (x.of[k] - own.center) * own.slope + own.bias + own.gradient * dy.of[k];
    }
  }
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t unit = piece_number(each);
    if (unit * Wide < job.count)
      store_columns(job.y, unit, value[each]);
  }
}

int
gpu_affine(const actnn_call *call, const layout_planes &planes, bool by_sample, const Coefficients *coefficients, const Floats &x,
           const Floats &dy, const Floats &y)
{
  int64_t count = planes.batch * planes.channels * planes.positions, lanes = planes.lanes;
  if (planes.positions == 1 && !by_sample) /* a matrix */
    lanes = planes.channels;
  int64_t run = planes.positions * lanes, coefficient_count = planes.channels * (by_sample ? planes.batch : 1);
  AffineJob job = {x, dy, y, coefficients, count, divisor_of(run), divisor_of(coefficient_count / lanes), divisor_of(lanes)};
  if ((lanes == 1 ? run : lanes) % 4 == 0)
    return LAUNCH(call, affine<4>, threads_of(count / 4, TAKEN_AT_ONCE), job);
  return LAUNCH(call, affine<1>, threads_of(count, TAKEN_AT_ONCE), job);
}

/* Operands and results that are images have one layout. */
static bool
is_of_one_layout(const actnn_call *call, const actnn_view *image, const actnn_view *other)
{
  return is_for_floats(call, true) && image->rank >= 2 &&
         layout_of(call->trainer, image).lanes == layout_of(call->trainer, other).lanes;
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* From a channel's moments all that follows; what is NULL is not asked for. */
struct finish_statistics {
  const float *scale, *b, *running_mean, *running_variance;
  float *new_mean, *new_variance, *mean, *rstd;
  double epsilon, momentum, count;
  Coefficients *coefficients;
  uint32_t *not_finite, mean_id, variance_id;

  __device__ void renew(float *array, int64_t c, double old, double value, uint32_t id) const
  {
    float renewed = (float)(old * momentum + value * (1 - momentum));
    put(array, c, renewed);
    if (array && !actnn_is_finite(renewed))
      note_not_finite(not_finite, id);
  }

  __device__ void operator()(int64_t c, const Sums &sums) const
  {
    Moments moments = moments_of(sums, count);
    float own_rstd = (float)(1 / sqrt(moments.variance + epsilon));
    renew(new_mean, c, running_mean[c], moments.mean, mean_id);
    renew(new_variance, c, running_variance[c], moments.variance, variance_id);
    put(mean, c, moments.mean);
    put(rstd, c, own_rstd);
    if (!scale)
      return;
    Coefficients own = {(float)moments.mean, (float)((double)scale[c] * own_rstd), b[c], 0};
    coefficients[c] = own;
  }
};

/* The numbers of the operand that is the running mean, and of the results that are new_mean and mean; variances follow them. */
static finish_statistics
statistics_of(const actnn_call *call, size_t running, size_t new_mean, size_t mean)
{
  finish_statistics finish;
  memset(&finish, 0, sizeof finish);
  finish.running_mean = float_input(call, running);
  finish.running_variance = float_input(call, running + 1);
  finish.new_mean = float_output(call, new_mean);
  finish.new_variance = float_output(call, new_mean + 1);
  finish.mean = float_output(call, mean);
  finish.rstd = float_output(call, mean + 1);
  finish.epsilon = call->attribute[0].f;
  finish.momentum = call->attribute[1].f;
  finish.not_finite = call->trainer->device_state->not_finite;
  finish.mean_id = call->input[running].id;
  finish.variance_id = call->input[running + 1].id;
  return finish;
}

/* Without a scale: statistics only. */
static int
batch_norm(const actnn_call *call, finish_statistics finish)
{
  layout_planes planes = layout_of(call->trainer, &call->input[0]);
  Fold fold = fold_of(channel_plan(planes, false));
  gpu_room room = {0, false};
  Sums *partial = take_partial(call, &room, fold);
  finish.coefficients = take_room<Coefficients>(call, &room, planes.channels);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  finish.count = (double)fold.terms;
  int failed = sum_moments(call, &call->input[0], fold, finish, partial);
  if (failed || !finish.scale)
    return failed;
  return gpu_affine(call, planes, false, finish.coefficients, floats_input(call, 0), Floats(), floats_output(call, 0));
}

extern "C" int
gpu_BatchNorm(const actnn_call *call)
{
  if (!is_of_one_layout(call, &call->input[0], &call->output[0]))
    return DEVICE_DECLINES;
  finish_statistics finish = statistics_of(call, 3, 1, 3);
  finish.scale = float_input(call, 1);
  finish.b = float_input(call, 2);
  return batch_norm(call, finish);
}

extern "C" int
gpu_BatchNormStatistics(const actnn_call *call)
{
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  return batch_norm(call, statistics_of(call, 1, 2, 0));
}

/* is_rstd: `spread` is 1 / sqrt(variance + epsilon) itself, as forward rounded it; otherwise the variance. */
KERNEL
known_coefficients(const float *scale, const float *b, const float *mean, const float *spread, bool is_rstd, double epsilon, int64_t channels,
                   Coefficients *coefficients)
{
  int64_t c = thread_number();
  if (c >= channels)
    return;
  double factor = is_rstd ? (double)scale[c] * spread[c] : scale[c] / sqrt(spread[c] + epsilon);
  Coefficients own = {mean[c], (float)factor, b[c], 0};
  coefficients[c] = own;
}

static int
apply_known(const actnn_call *call, bool is_rstd)
{
  layout_planes planes = layout_of(call->trainer, &call->input[0]);
  gpu_room room = {0, false};
  if (!is_of_one_layout(call, &call->input[0], &call->output[0]))
    return DEVICE_DECLINES;
  Coefficients *coefficients = take_room<Coefficients>(call, &room, planes.channels);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  if (LAUNCH(call, known_coefficients, planes.channels, float_input(call, 1), float_input(call, 2), float_input(call, 3),
             float_input(call, 4), is_rstd, is_rstd ? 0 : call->attribute[0].f, planes.channels, coefficients))
    return 1;
  return gpu_affine(call, planes, false, coefficients, floats_input(call, 0), Floats(), floats_output(call, 0));
}

/* Training mode has been rewritten to BatchNorm; the processor's kernel says so. */
extern "C" int
gpu_BatchNormalization(const actnn_call *call)
{
  return call->attribute[2].i != 0 ? DEVICE_DECLINES : apply_known(call, false);
}

extern "C" int
gpu_BatchNormApply(const actnn_call *call)
{
  return apply_known(call, true);
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* Frozen: `spread` is the variance, and dx an affine function of dy alone. */
struct finish_gradient {
  const float *scale, *mean, *spread;
  double epsilon, count;
  bool is_frozen;
  write_parameters write;
  Coefficients *coefficients;

  __device__ void operator()(int64_t c, const Sums &sums) const
  {
    double rstd = is_frozen ? 1 / sqrt(spread[c] + epsilon) : spread[c], factor = scale[c] * rstd;
    Sums parameters = {sums.a, sums.b * rstd, 0};
    Coefficients frozen = {0, (float)factor, 0, 0};
    Coefficients own = {mean[c], (float)(-factor * sums.b * rstd * rstd / count), (float)(-factor * sums.a / count), (float)factor};
    write(c, parameters);
    coefficients[c] = is_frozen ? frozen : own;
  }
};

static int
batch_norm_gradient(const actnn_call *call, bool is_frozen)
{
  const actnn_view *dy = &call->input[0], *x = &call->input[1], *dx = &call->output[0];
  if (!is_of_one_layout(call, x, dy) || (dx->id != NONE && !is_of_one_layout(call, x, dx)))
    return DEVICE_DECLINES;
  layout_planes planes = layout_of(call->trainer, x);
  Fold fold = fold_of(channel_plan(planes, false));
  gpu_room room = {0, false};
  Sums *partial = take_partial(call, &room, fold);
  Coefficients *coefficients = take_room<Coefficients>(call, &room, planes.channels);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  finish_gradient finish = {float_input(call, 2), float_input(call, 3), float_input(call, 4), is_frozen ? call->attribute[0].f : 0,
                            (double)fold.terms, is_frozen, {float_output(call, 1), float_output(call, 2)}, coefficients};
  if (sum_projections(call, dy, x, finish.mean, 1, fold, finish, partial))
    return 1;
  if (dx->id == NONE)
    return 0;
  return gpu_affine(call, planes, false, coefficients, floats_of(is_frozen ? dy : x), is_frozen ? Floats() : floats_of(dy), floats_of(dx));
}

extern "C" int
gpu_BatchNormGrad(const actnn_call *call)
{
  return batch_norm_gradient(call, false);
}

extern "C" int
gpu_BatchNormFrozenGrad(const actnn_call *call)
{
  return batch_norm_gradient(call, true);
}
