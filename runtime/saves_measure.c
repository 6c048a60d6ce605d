/* saves_measure.c: what the noise of codes does to the gradients that read them; see saves.h. */
#include "saves_state.h"

#include <math.h>

bool
saves_measure_at(const actnn *trainer)
{
  return trainer->draw == 0 && trainer->step % SAVES_INTERVAL == 0;
}

bool
saves_measure_now(const actnn *trainer, uint32_t index)
{
  return trainer->model->save[index].adaptive && saves_measure_at(trainer);
}

/* What the variance of a sample's part would be at one step for the whole range. */
static double
demand_of(const save_state *state, int64_t sample, double variance)
{
  return variance / state->noise_of[state->choice[sample]];
}

static void
add_demand(actnn *trainer, save_state *state, const double *variance)
{
  bool first = !state->measured || state->measured_step != trainer->step;
  for (int64_t sample = 0; sample < state->codec.samples; sample++)
    state->demand[sample] = (first ? 0 : state->demand[sample]) + demand_of(state, sample, variance[sample]);
  state->measured = true;
  state->measured_step = trainer->step;
  trainer->saves->fresh = true;
}

void
saves_note_variance(actnn *trainer, uint32_t index, const double *variance, bool is_normal)
{
  save_state *state = &trainer->saves->save[index];
  bool first = !state->has_prediction || state->predicted_step != trainer->step || state->predicted_draw != trainer->draw;
  double all = 0, demand = 0;
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    all += variance[sample];
    demand += demand_of(state, sample, variance[sample]);
  }
  if (first)
    state->predicted = state->predicted_normal = 0;
  if (is_normal)
    state->predicted_normal += all;
  else
    state->predicted += all;
  state->has_prediction = true;
  state->predicted_step = trainer->step;
  state->predicted_draw = trainer->draw;
  if (!saves_measure_now(trainer, index))
    return;
  if (trainer->saves->record_weights && isfinite(demand)) {
    state->weight_sum += demand;
    state->weights += first;
  }
  add_demand(trainer, state, variance);
}

void
saves_note_flow(actnn *trainer, uint32_t index, const double *variance, double squares)
{
  save_state *state = &trainer->saves->save[index];
  for (int64_t sample = 0; sample < state->codec.samples; sample++)
    state->flow[sample] = squares > 0 ? demand_of(state, sample, variance[sample]) / squares : 0;
  state->flow_from = trainer->saves->gradient_squares;
}

double
saves_demand(const actnn *trainer, const save_state *state, int64_t sample)
{
  return state->demand[sample] + state->flow[sample] * (trainer->saves->gradient_squares - state->flow_from);
}

void
saves_note_gradient(actnn *trainer, const actnn_call *call)
{
  if (!saves_measure_at(trainer) || call->input_count < 2 || call->input[1].type != ACTNN_F32 || !call->input[1].data)
    return;
  const float *gradient = call->input[1].data;
  double sum = 0;
  for (uint64_t i = 0; i < call->input[1].bytes / sizeof *gradient; i++)
    sum += (double)gradient[i] * gradient[i];
  trainer->saves->gradient_squares += sum;
}

static void
sum_squares(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  job->sum[each] = job->kernels->squares(work, job->value);
}

/* Finds the geometry of a gradient and makes room for its sums. */
static int
reserve_sums(actnn *trainer, const actnn_view *gradient, int64_t samples, actnn_codec *codec)
{
  if (gradient->type != ACTNN_F32 ||
      actnn_codec_geometry(codec, gradient->dim, gradient->rank, gradient->layout, ACTNN_EVEN_LEVELS))
    return actnn_fail(trainer, "MeasureSensitivity: only gradients of type float can be measured");
  if (saves_grow(trainer->saves, codec->samples * (actnn_codec_tiles(codec) + 1) + samples + 1, 1))
    return actnn_fail(trainer, "MeasureSensitivity: no memory for sums");
  return 0;
}

/* What an affine map after decoding does to the noise: the mean square of its scale. */
static double
squared_scale(const actnn_call *call)
{
  if (call->input_count < 2 || !call->input[1].data)
    return 1;
  const float *scale = call->input[1].data;
  uint64_t count = call->input[1].bytes / sizeof *scale;
  double sum = 0;
  for (uint64_t i = 0; i < count; i++)
    sum += (double)scale[i] * scale[i];
  return count ? sum / (double)count : 1;
}

/* Attribute 1: factor, by which |dy|^2 of a sample times the noise of its code is the variance of a weight's gradient. A gradient
 * cut into other samples than the value counts for each of the value's samples with the same part. */
int
actnn_MeasureSensitivity(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  uint32_t index = 0;
  double factor = call->attribute_count > 1 ? call->attribute[1].f : 1, all = 0;
  actnn_codec codec;
  if (saves_find(call, NULL, &index))
    return 1;
  save_state *state = &trainer->saves->save[index];
  int64_t samples = actnn_is_preparing(call) && !state->known ? 0 : state->codec.samples;
  if (reserve_sums(trainer, &call->input[0], samples, &codec))
    return 1;
  if (actnn_is_preparing(call) || !(saves_measure_now(trainer, index) || trainer->saves->count_noise))
    return 0;
  tile_job job = saves_plain_job(trainer, &codec, call->input[0].data);
  double *norm = job.sum + codec.samples * actnn_codec_tiles(&codec), *variance = norm + codec.samples;
  factor *= squared_scale(call);
  saves_run_tiles(trainer, &job, sum_squares);
  saves_sum_tiles(&codec, job.sum, norm);
  for (int64_t sample = 0; sample < codec.samples; sample++)
    all += norm[sample];
  for (int64_t sample = 0; sample < samples; sample++) {
    double squares = codec.samples == samples ? norm[sample] : all / (double)samples;
    bool is_normal = trainer->model->save[index].spacing == ACTNN_NORMAL_LEVELS;
    variance[sample] = factor * squares * (is_normal ? state->noise[sample].scaled : state->noise[sample].above);
  }
  saves_note_variance(trainer, index, variance, false);
  return 0;
}
