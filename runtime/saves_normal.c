/* saves_normal.c: normalization by channel over the batch whose normalized value is saved as a code: what applies it codes
 * it, and its gradient decodes inside its own loops, as does whatever reads the value after scale, bias and rectifier.
 * Statistics come from BatchNormStatistics (normalization.c).
 */
#include "saves_state.h"

#include <math.h>
#include <string.h>

actnn_affine
saves_affine(const actnn_call *call, const void *scale, const void *bias)
{
  bool rectified = call->attribute_count > 1 && call->attribute[1].i != 0;
  return (actnn_affine){scale, bias, rectified, rectified && call->attribute_count > 2 ? (float)call->attribute[2].f : 0};
}

int
saves_find_normal(const actnn_call *call, const actnn_view *value, uint32_t *index)
{
  actnn *trainer = call->trainer;
  if (saves_find(call, actnn_is_preparing(call) ? NULL : value, index))
    return 1;
  if (trainer->model->save[*index].spacing != ACTNN_NORMAL_LEVELS)
    return actnn_fail(trainer, "%s: it is not coded as a normalized value", trainer->model->save[*index].name);
  const save_state *state = &trainer->saves->save[*index];
  actnn_affine affine = saves_affine(call, NULL, NULL);
  if (!actnn_is_preparing(call) && (state->rectified != affine.rectified || state->cap != affine.cap))
    return actnn_fail(trainer, "%s: it is read with another rectifier than it was saved with", trainer->model->save[*index].name);
  return 0;
}

static void
normalize_tile(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  actnn_code code = saves_code_of(job, work->sample);
  job->kernels->normalize(work, job->value, job->mean, job->rstd, &job->affine, &code, job->key, job->other,
                          job->stash + job->offset[work->sample], &job->noise[each]);
}

static void
decode_affine(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  actnn_code code = saves_code_of(job, work->sample);
  (void)each;
  job->kernels->dequantize_affine(work, job->stash + job->offset[work->sample], &code, job->key, &job->affine, job->value);
}

static void
add_sums(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  actnn_code code = saves_code_of(job, work->sample);
  (void)each;
  job->kernels->normal_sums(work, job->stash + job->offset[work->sample], &code, job->key, &job->affine, job->value,
                            job->normal + work->sample * job->codec->channels);
}

static void
pull_tile(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  actnn_code code = saves_code_of(job, work->sample);
  (void)each;
  job->kernels->normal_pull(work, job->stash + job->offset[work->sample], &code, job->key, &job->affine, &job->pull,
                            job->other, job->value);
}

/* x mean rstd scale b -> y code */
int
actnn_NormalizeOnSave(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  uint32_t index = 0;
  if (saves_find_normal(call, &call->input[0], &index))
    return 1;
  if (actnn_is_preparing(call)) {
    trainer->saves->save[index].scale = call->input[3].id;
    trainer->saves->save[index].bias = call->input[4].id;
    return saves_get_to_know(trainer, index, &call->input[0], saves_affine(call, NULL, NULL));
  }
  if (saves_decide(trainer, index))
    return 1;
  tile_job job = saves_job(trainer, index, call->input[0].data);
  job.other = call->output[0].data;
  job.reads_bfloat = call->input[0].type == ACTNN_BF16;
  job.writes_bfloat = call->output[0].type == ACTNN_BF16;
  job.mean = call->input[1].data;
  job.rstd = call->input[2].data;
  job.affine = saves_affine(call, call->input[3].data, call->input[4].data);
  saves_run_tiles(trainer, &job, normalize_tile);
  saves_note_noise(trainer, index);
  return 0;
}

/* code scale b -> y */
int
actnn_DequantizeNormal(const actnn_call *call)
{
  uint32_t index = 0;
  if (saves_find_normal(call, &call->output[0], &index))
    return 1;
  if (actnn_is_preparing(call))
    return 0;
  if (saves_open(call->trainer, index))
    return 1;
  tile_job job = saves_job(call->trainer, index, call->output[0].data);
  job.writes_bfloat = call->output[0].type == ACTNN_BF16;
  job.affine = saves_affine(call, call->input[1].data, call->input[2].data);
  saves_run_tiles(call->trainer, &job, decode_affine);
  return 0;
}

void
saves_finish_normal(actnn *trainer, uint32_t index, const actnn_normal_sums *normal)
{
  save_state *state = &trainer->saves->save[index];
  const actnn_codec *codec = &state->codec;
  memset(state->channel, 0, (size_t)codec->channels * sizeof *state->channel);
  for (int64_t sample = 0; sample < codec->samples; sample++) {
    state->sum[sample] = 0;
    for (int64_t channel = 0; channel < codec->channels; channel++) {
      const actnn_normal_sums *of = &normal[sample * codec->channels + channel];
      actnn_normal_sums *all = &state->channel[channel];
      state->sum[sample] += of->variance;
      all->dy += of->dy;
      all->projected += of->projected;
      all->variance += of->variance;
      all->noise += of->noise;
      all->passed += of->passed;
      all->squares += of->squares;
    }
  }
  saves_note_variance(trainer, index, state->sum, true);
}

/* dy code scale b -> dscale db */
int
actnn_NormalGradScale(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  uint32_t index = 0;
  if (saves_find_normal(call, &call->input[0], &index))
    return 1;
  const actnn_view *dy = &call->input[0];
  size_t bytes = (size_t)(dy->dim[0] * dy->dim[1]) * sizeof(actnn_normal_sums);
  if (actnn_is_preparing(call))
    return saves_grow(trainer->saves, (int64_t)(bytes / sizeof(double)) + 1, 1) ? actnn_fail(trainer, "NormalGradScale: no memory for sums") : 0;
  if (saves_open(trainer, index))
    return 1;
  tile_job job = saves_job(trainer, index, dy->data);
  job.reads_bfloat = dy->type == ACTNN_BF16;
  job.affine = saves_affine(call, call->input[2].data, call->input[3].data);
  job.normal = (actnn_normal_sums *)job.sum;
  memset(job.normal, 0, bytes);
  saves_run_in_order(trainer, &job, add_sums);
  saves_finish_normal(trainer, index, job.normal);
  float *dscale = call->output[0].data, *db = call->output[1].data;
  for (int64_t channel = 0; channel < job.codec->channels; channel++) {
    dscale[channel] = (float)trainer->saves->save[index].channel[channel].projected;
    db[channel] = (float)trainer->saves->save[index].channel[channel].dy;
  }
  return 0;
}

void
saves_note_pull(actnn *trainer, uint32_t index, uint32_t dx, double squares, const actnn_pull *pull)
{
  save_state *state = &trainer->saves->save[index];
  double energy = 0, noise = 0;
  for (int64_t channel = 0; channel < state->codec.channels; channel++) {
    double gain = (double)pull->factor[channel] * pull->slope[channel];
    energy += gain * gain * state->channel[channel].noise;
  }
  for (int64_t sample = 0; sample < state->codec.samples; sample++)
    noise += state->noise[sample].below + state->noise[sample].above;
  for (int64_t sample = 0; sample < state->codec.samples; sample++)
    state->sum[sample] = noise > 0 ? energy * (state->noise[sample].below + state->noise[sample].above) / noise : 0;
  saves_note_flow(trainer, index, dx, squares, state->sum);
}

void
saves_find_pull(const actnn_codec *codec, const float *scale, const float *rstd, const float *dscale, const float *db, float *room,
                actnn_pull *pull)
{
  int64_t channels = codec->channels;
  double count = (double)(codec->samples * codec->positions);
  float *factor = room, *shift = factor + channels, *slope = shift + channels;
  for (int64_t channel = 0; channel < channels; channel++) {
    factor[channel] = (float)((double)scale[channel] * rstd[channel]);
    shift[channel] = (float)(db[channel] / count);
    slope[channel] = (float)(dscale[channel] / count);
  }
  *pull = (actnn_pull){factor, shift, slope, (float)count};
}

/* dy code scale b rstd dscale db -> dx */
int
actnn_NormalGradInput(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  uint32_t index = 0;
  if (saves_find_normal(call, &call->output[0], &index))
    return 1;
  const actnn_codec *codec = &trainer->saves->save[index].codec;
  if (actnn_is_preparing(call)) /* three numbers a channel; a number a tile and a sample to note the flow */
    return saves_grow(trainer->saves, codec->samples * (actnn_codec_tiles(codec) + 1) + codec->channels * 3 + 1, 1)
               ? actnn_fail(trainer, "NormalGradInput: no memory for sums") : 0;
  if (saves_open(trainer, index))
    return 1;
  tile_job job = saves_job(trainer, index, call->output[0].data);
  const float *scale = call->input[2].data;
  saves_find_pull(codec, scale, call->input[4].data, call->input[5].data, call->input[6].data,
                  (float *)(job.sum + codec->samples * (actnn_codec_tiles(codec) + 1)), &job.pull);
  job.affine = saves_affine(call, scale, call->input[3].data);
  job.other = call->input[0].data;
  job.reads_bfloat = call->input[0].type == ACTNN_BF16;
  job.writes_bfloat = call->output[0].type == ACTNN_BF16;
  saves_run_tiles(trainer, &job, pull_tile);
  if (saves_measure_now(trainer, index))
    saves_note_pull(trainer, index, call->output[0].id, saves_squares(trainer, index, &call->output[0]), &job.pull);
  return 0;
}
