/* saves_tables.cu: what a trainer's coded saves have on a GPU (saves_tables.h): reserved while the trainer prepares, for the largest
 * of them; where samples' codes lie, as it is sent; and sums over tiles. */
#include "kernels.h"
#include "saves_tables.h"

#include <stdlib.h>

/* ---- tables --------------------------------------------------------------------------------------------- */

static int64_t
larger(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

static struct gpu_saves *
tables_of(const actnn *trainer)
{
  struct device_state *state = trainer->device_state;
  if (!state->saves) {
    struct gpu_saves *saves = (struct gpu_saves *)calloc(1, sizeof *saves);
    if (saves) {
      saves->place = (sample_place **)calloc(trainer->model->save_count + 1, sizeof *saves->place);
      saves->sent = (sample_place **)calloc(trainer->model->save_count + 1, sizeof *saves->sent);
      saves->choice = (uint8_t **)calloc(trainer->model->save_count + 1, sizeof *saves->choice);
    }
    state->saves = saves;
  }
  return state->saves && state->saves->place && state->saves->sent && state->saves->choice ? state->saves : NULL;
}

int
gpu_saves_note(const actnn_call *call, uint32_t index)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = tables_of(trainer);
  const actnn_codec *codec = &trainer->saves->save[index].codec;
  if (!saves)
    return actnn_fail(trainer, "out of memory");
  int64_t tiles = codec->samples * actnn_codec_tiles(codec);
  bool is_normal = trainer->model->save[index].spacing == ACTNN_NORMAL_LEVELS;
  saves->most_tiles = larger(saves->most_tiles, tiles);
  saves->most_samples = larger(saves->most_samples, codec->samples);
  if (saves_go_by_range(trainer, index) && codec->lane_groups)
    saves->most_ranges = larger(saves->most_ranges, tiles);
  if (is_normal)
    saves->most_normal = larger(saves->most_normal, (codec->samples + 1) * codec->channels);
  if (gpu_note_key_of_save(trainer, index))
    return 1;
  if (saves->place[index])
    return 0;
  size_t bytes = (size_t)(codec->samples + 1) * sizeof(sample_place);
  saves->place[index] = (sample_place *)gpu_reserve(trainer, bytes, "the places of samples");
  saves->sent[index] = (sample_place *)calloc(1, bytes);
  if (saves->place[index] && !saves->sent[index])
    return actnn_fail(trainer, "out of memory");
  if (saves_go_by_range(trainer, index))
    saves->choice[index] = (uint8_t *)gpu_reserve(trainer, (uint64_t)codec->samples, "the levels of samples");
  return !saves->place[index] || (saves_go_by_range(trainer, index) && !saves->choice[index]);
}

int
gpu_saves_note_map(const actnn_call *call, int64_t count)
{
  struct gpu_saves *saves = tables_of(call->trainer);
  if (!saves)
    return actnn_fail(call->trainer, "out of memory");
  saves->most_map = larger(saves->most_map, count);
  return 0;
}

/* Reserves `count` elements there unless there are none; 1 with a message. */
template <typename Element>
static int
reserve_elements(actnn *trainer, Element **elements, int64_t count)
{
  if (count)
    *elements = (Element *)gpu_reserve(trainer, (uint64_t)count * sizeof(Element), "sums over coded values");
  return count && !*elements;
}

int
gpu_prepare_saves(actnn *trainer)
{
  struct gpu_saves *saves = trainer->device_state->saves;
  return saves && (reserve_elements(trainer, &saves->tile_sum, saves->most_tiles * MOST_SUMS) ||
                   reserve_elements(trainer, &saves->sample_sum, saves->most_samples * MOST_SUMS) ||
                   reserve_elements(trainer, &saves->sample_range, saves->most_samples) ||
                   reserve_elements(trainer, &saves->range, saves->most_ranges) ||
                   reserve_elements(trainer, &saves->normal, saves->most_normal) ||
                   reserve_elements(trainer, &saves->map, saves->most_map));
}

void
gpu_close_saves(actnn *trainer)
{
  struct gpu_saves *saves = trainer->device_state->saves;
  if (!saves)
    return;
  for (uint32_t i = 0; saves->place && saves->sent && saves->choice && i < trainer->model->save_count; i++) {
    gpu_release(saves->place[i]);
    gpu_release(saves->choice[i]);
    free(saves->sent[i]);
  }
  gpu_release(saves->tile_sum);
  gpu_release(saves->sample_sum);
  gpu_release(saves->sample_range);
  gpu_release(saves->range);
  gpu_release(saves->normal);
  gpu_release(saves->map);
  free(saves->place);
  free(saves->sent);
  free(saves->choice);
  free(saves);
  trainer->device_state->saves = NULL;
}

/* ---- jobs --------------------------------------------------------------------------------------------------- */

/* Samples' places change only when bytes have moved between them. */
static int
send_places(const actnn_call *call, uint32_t index)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = trainer->device_state->saves;
  const save_state *state = &trainer->saves->save[index];
  sample_place *sent = saves->sent[index];
  bool is_changed = false;
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    sample_place now = {trainer->saves->offset[sample], state->choice[sample]};
    is_changed |= now.offset != sent[sample].offset || now.choice != sent[sample].choice;
    sent[sample] = now;
  }
  return is_changed && gpu_check(trainer,
                                 cudaMemcpyAsync(saves->place[index], sent, (size_t)state->codec.samples * sizeof *sent,
                                                 cudaMemcpyHostToDevice, stream_of(trainer)),
                                 "the places of samples");
}

tiles_job
gpu_plain_job(const actnn *trainer, const actnn_codec *codec, const actnn_view *value)
{
  tiles_job job;
  memset(&job, 0, sizeof job);
  job.codec = *codec;
  job.is_plane = codec->rows_are == ACTNN_CHANNEL_ROWS && gpu_block_of(trainer, value) != codec->channels;
  job.by_fours = !job.is_plane && codec->channels % FOUR == 0;
  job.tiles = divisor_of(actnn_codec_tiles(codec));
  job.run_tiles = divisor_of(codec->run_tiles);
  job.positions = divisor_of(codec->positions);
  return job;
}

int
gpu_saves_job(const actnn_call *call, uint32_t index, const actnn_view *value, tiles_job *job)
{
  actnn *trainer = call->trainer;
  const save_state *state = &trainer->saves->save[index];
  const actnn_codec *codec = &state->codec;
  *job = gpu_plain_job(trainer, codec, value);
  job->header_bytes = actnn_codec_header_bytes(codec);
  job->stash = trainer->device_arena + trainer->model->stash_offset + state->place;
  job->place = trainer->device_state->saves->place[index];
  job->code = saves_job(trainer, index, value->data).code;
  for (int i = 0; i < state->choices; i++) {
    int levels = state->levels[i];
    job->form[i] = level_form{levels, actnn_codec_packing(levels), actnn_codec_code_bytes(codec->tile_rows, levels),
                              actnn_codec_run_bytes(codec, levels)};
  }
  job->key = gpu_key_of_save(trainer, index);
  return !saves_go_by_range(trainer, index) && send_places(call, index); /* those were found there */
}

bool
gpu_saves_wants_noise(const actnn *trainer)
{
  return saves_measure_at(trainer) || trainer->saves->count_noise;
}

/* A thread for each sample and number. */
KERNEL
sum_tiles(const double *of_tile, int64_t tiles, int64_t samples, int numbers, double *of_sample)
{
  int64_t i = thread_number(), sample = i / numbers;
  double sum = 0;
  if (sample >= samples)
    return;
  for (int64_t tile = 0; tile < tiles; tile++)
    sum += of_tile[(sample * tiles + tile) * numbers + i % numbers];
  of_sample[i] = sum;
}

int
gpu_saves_sum(const actnn_call *call, const actnn_codec *codec, int numbers)
{
  struct gpu_saves *saves = call->trainer->device_state->saves;
  return LAUNCH(call, sum_tiles, codec->samples * numbers, saves->tile_sum, actnn_codec_tiles(codec), codec->samples, numbers,
                saves->sample_sum);
}

int
gpu_saves_fetch_sums(const actnn_call *call, const actnn_codec *codec, int numbers, double *to)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = trainer->device_state->saves;
  int64_t count = codec->samples * numbers;
  if (gpu_saves_sum(call, codec, numbers))
    return 1;
  return count && (gpu_check(trainer,
                             cudaMemcpyAsync(to, saves->sample_sum, (size_t)count * sizeof *to, cudaMemcpyDeviceToHost, stream_of(trainer)),
                             "sums over coded values") ||
                   gpu_check(trainer, cudaStreamSynchronize(stream_of(trainer)), "sums over coded values"));
}
