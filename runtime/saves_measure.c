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

void
saves_note_flow(actnn *trainer, uint32_t index, const actnn_view *gradient, const double *variance)
{
  save_state *state = &trainer->saves->save[index];
  tile_job job = saves_plain_job(trainer, &state->codec, gradient->data);
  double squares = 0;
  saves_run_tiles(trainer, &job, sum_squares);
  for (int64_t tile = 0; tile < state->codec.samples * actnn_codec_tiles(&state->codec); tile++)
    squares += job.sum[tile];
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    state->energy[sample] = variance[sample];
    state->flow[sample] = squares > 0 ? demand_of(state, sample, variance[sample]) / squares : 0;
  }
  state->flow_from = trainer->saves->gradient_squares;
  trainer->saves->flow_tensor = gradient->id;
  trainer->saves->flow_save = index;
}

/* Room for a number a tile and a number a sample of a view's geometry, and for one a sample more. */
static int
reserve_sums(actnn *trainer, const actnn_view *view, int64_t samples, actnn_codec *codec)
{
  if (view->type != ACTNN_F32 || actnn_codec_geometry(codec, view->dim, view->rank, view->layout, ACTNN_EVEN_LEVELS))
    return actnn_fail(trainer, "MeasureSensitivity: only gradients of type float can be measured");
  if (saves_grow(trainer->saves, codec->samples * (actnn_codec_tiles(codec) + 1) + samples + 1, 1))
    return actnn_fail(trainer, "MeasureSensitivity: no memory for sums");
  return 0;
}

/* factor * |view|^2 of each sample, times `noise`. A view cut into other samples than the noise counts for each with the same part.
 * The result is in scratch. */
static double *
weigh(actnn *trainer, const actnn_view *view, const actnn_codec *codec, double factor, const double *noise, int64_t samples)
{
  tile_job job = saves_plain_job(trainer, codec, view->data);
  double *norm = job.sum + codec->samples * actnn_codec_tiles(codec), *variance = norm + codec->samples, all = 0;
  saves_run_tiles(trainer, &job, sum_squares);
  saves_sum_tiles(codec, job.sum, norm);
  for (int64_t sample = 0; sample < codec->samples; sample++)
    all += norm[sample];
  for (int64_t sample = 0; sample < samples; sample++)
    variance[sample] = factor * (codec->samples == samples ? norm[sample] : all / (double)samples) * noise[sample];
  return variance;
}

/* dy x: the gradient and the restored value whose product is a weight's gradient. Attribute 1: factor, by which |dy|^2 of a sample
 * times the noise of its code is the variance of that gradient; by the same factor |x|^2 times the noise of dy is, where dy comes
 * straight from a normalization whose code makes it noisy. */
int
actnn_MeasureSensitivity(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  struct saves *saves = trainer->saves;
  uint32_t index = 0;
  double factor = call->attribute_count > 1 ? call->attribute[1].f : 1;
  actnn_codec dy, x;
  if (saves_find(call, NULL, &index))
    return 1;
  save_state *state = &saves->save[index];
  int64_t samples = state->known ? state->codec.samples : 0;
  if (reserve_sums(trainer, &call->input[0], samples, &dy) || reserve_sums(trainer, &call->input[1], dy.samples, &x))
    return 1;
  if (actnn_is_preparing(call) || !(saves_measure_now(trainer, index) || saves->count_noise))
    return 0;
  bool is_normal = trainer->model->save[index].spacing == ACTNN_NORMAL_LEVELS;
  for (int64_t sample = 0; sample < samples; sample++)
    state->sum[sample] = is_normal ? state->noise[sample].scaled : state->noise[sample].above;
  saves_note_variance(trainer, index, weigh(trainer, &call->input[0], &dy, factor, state->sum, samples), false);
  if (saves->flow_tensor == call->input[0].id && saves_measure_now(trainer, saves->flow_save)) {
    save_state *above = &saves->save[saves->flow_save];
    add_demand(trainer, above, weigh(trainer, &call->input[1], &x, factor, above->energy, above->codec.samples));
  }
  return 0;
}
