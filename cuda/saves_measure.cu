/* saves_measure.cu: what the noise of codes does to the gradients that read them, measured on a GPU at the steps that measure: maps of
 * squares and of variances are made here, what follows from them is the processor's affair (saves_measure.c). */
#include "kernels.h"
#include "saves_tables.h"
#include "tile_codes.h"

/* Numbers of a map, and where they are. */
typedef struct map_job {
  tiles_job tiles;
  int block;             /* channel block of the value's layout */
  Floats value;          /* whose squares; without data: variances of codes */
  actnn_affine affine;   /* what follows the codes */
  double *map;           /* [samples][positions] */
} map_job;

/* The code of a row in a lane, read where it lies. */
static __device__ uint32_t
stored_code(const tiles_job &job, int64_t sample, int64_t row, int lane, tile_part &part)
{
  const actnn_codec &codec = job.codec;
  int64_t run = row / codec.run_rows, in_run = (row - run * codec.run_rows) / codec.tile_rows;
  part.sample = sample;
  part.index = run * codec.run_tiles + in_run;
  part.tile = actnn_codec_tile_of_run(&codec, run, in_run);
  part.rows = (int)part.tile.rows;
  find_codes(job, part);
  return four_codes_at(part, (int)(row - part.tile.first_row), lane / FOUR) >> 8 * (lane % FOUR) & 0xff;
}

/* Variance of a code of any but normal levels. The steps of square levels grow with the level. */
static __device__ float
variance_of_code(const actnn_code &code, const actnn_group &group, uint32_t level)
{
  float step = group.step, variance = step * step * (code.dither ? 1.0f / 12 : 1.0f / 6);
  if (code.spacing == ACTNN_SQUARE_LEVELS) {
    float width = 2 * (float)level + 1;
    return step * step * width * width / 6;
  }
  return (code.spacing == ACTNN_MASKED_LEVELS && level == 0) || (code.dither && group.dither == 0) ? 0 : variance;
}

/* Of y, when the rectifier passes what the code stands for. */
static __device__ float
variance_of_normal(const map_job &job, const tile_part &part, int lane, int64_t channel, uint32_t level)
{
  actnn_header header = read_header(job.tiles, part, lane);
  float scale = job.affine.scale[channel], bias = job.affine.bias[channel];
  actnn_thresholds thresholds = actnn_codec_thresholds(scale, bias, job.affine.rectified, job.affine.cap);
  actnn_normal_levels levels = actnn_codec_normal(actnn_float_of((uint32_t)header.base << 16),
                                                  actnn_float_of((uint32_t)header.step << 16), thresholds, part.code.levels,
                                                  part.code.dither);
  if ((int)level < levels.first_passing || (int)level >= levels.first_saturated)
    return 0;
  double step = levels.passing.step; /* whose square may be beyond all floats */
  return (float)(step * step / (part.code.dither ? 12 : 6)) * scale * scale;
}

static __device__ float
variance_at(const map_job &job, int64_t sample, int64_t row, int lane, int64_t channel)
{
  tile_part part;
  uint32_t level = stored_code(job.tiles, sample, row, lane, part);
  if (part.code.spacing == ACTNN_NORMAL_LEVELS)
    return variance_of_normal(job, part, lane, channel, level);
  float scale = job.affine.scale ? job.affine.scale[channel] : 1;
  return variance_of_code(part.code, actnn_codec_group_of(&part.code, read_header(job.tiles, part, lane)), level) * scale * scale;
}

/* A thread for each position of each sample: over all channels there. Of flat values the rows are many and positions one. */
KERNEL
fill_map(map_job job)
{
  const actnn_codec &codec = job.tiles.codec;
  int64_t i = thread_number(), sample = i / codec.positions, position = i % codec.positions;
  double sum = 0;
  if (sample >= codec.samples)
    return;
  for (int64_t row = position; row < codec.rows; row += codec.positions) {
    float of_row = 0;
    for (int lane = 0; lane < ACTNN_LANES; lane++) {
      int64_t at = actnn_codec_element(&codec, job.block, sample, row, lane);
      if (at < 0)
        continue;
      of_row += job.value.data ? job.value[at] * job.value[at] : variance_at(job, sample, row, lane, row / codec.positions * ACTNN_LANES + lane);
    }
    sum += of_row;
  }
  job.map[i] = sum;
}

/* Makes a map and brings it to `here`. */
static int
bring_map(const actnn_call *call, const map_job &job, double *here)
{
  actnn *trainer = call->trainer;
  int64_t count = job.tiles.codec.samples * job.tiles.codec.positions;
  return LAUNCH(call, fill_map, count, job) ||
         gpu_check(trainer, cudaMemcpyAsync(here, job.map, (size_t)count * sizeof *here, cudaMemcpyDeviceToHost, stream_of(trainer)),
                   "maps of noise") ||
         gpu_check(trainer, cudaStreamSynchronize(stream_of(trainer)), "maps of noise");
}

/* A map of squares for each of `samples` samples; a value cut into others gives each the same part of all. */
static int
bring_squares(const actnn_call *call, const actnn_view *value, const actnn_codec &codec, int64_t samples, double *map)
{
  map_job job;
  memset(&job, 0, sizeof job);
  job.tiles.codec = codec;
  job.block = (int)gpu_block_of(call->trainer, value);
  job.value = floats_of(value);
  job.map = call->trainer->device_state->saves->map;
  if (bring_map(call, job, map))
    return 1;
  if (codec.samples == samples)
    return 0;
  for (int64_t i = 0; i < codec.positions; i++) {
    double sum = 0;
    for (int64_t sample = 0; sample < codec.samples; sample++)
      sum += map[sample * codec.positions + i];
    map[i] = codec.samples > 1 ? sum / (double)samples : sum;
  }
  for (int64_t sample = 1; sample < samples; sample++)
    memcpy(map + sample * codec.positions, map, (size_t)codec.positions * sizeof *map);
  return 0;
}

static int
bring_noise(const actnn_call *call, const saves_sensitivity *measured)
{
  actnn *trainer = call->trainer;
  const save_state *state = &trainer->saves->save[measured->index];
  map_job job;
  memset(&job, 0, sizeof job);
  if (gpu_saves_job(call, measured->index, measured->x, &job.tiles))
    return 1;
  job.block = 1; /* codes lie the same whatever the layout */
  job.map = trainer->device_state->saves->map;
  if (job.tiles.code.spacing == ACTNN_NORMAL_LEVELS) {
    const actnn_tensor *tensor = trainer->model->tensor;
    job.affine.scale = (const float *)(trainer->device_arena + tensor[state->scale].offset);
    job.affine.bias = (const float *)(trainer->device_arena + tensor[state->bias].offset);
    job.affine.rectified = state->rectified;
    job.affine.cap = state->cap;
  } else if (measured->scale) {
    job.affine.scale = (const float *)measured->scale->data;
  }
  return bring_map(call, job, measured->noise_map);
}

extern "C" int
gpu_MeasureSensitivity(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  saves_sensitivity measured;
  bool is_wanted;
  if (saves_open_sensitivity(call, &measured, &is_wanted))
    return 1;
  int64_t samples = trainer->saves->save[measured.index].codec.samples;
  if (actnn_is_preparing(call))
    return gpu_saves_note_map(call, measured.of_dy.samples * measured.of_dy.positions) ||
           gpu_saves_note_map(call, measured.of_x.samples * measured.of_x.positions);
  if (!is_wanted)
    return 0;
  if (bring_squares(call, measured.dy, measured.of_dy, samples, measured.dy_map) || bring_noise(call, &measured) ||
      (measured.x_map && bring_squares(call, measured.x, measured.of_x, samples, measured.x_map)))
    return 1;
  saves_weigh_maps(trainer, &measured);
  return 0;
}

/* ---- what flows on ---------------------------------------------------------------------------------------------- */

/* Squares of a gradient, a sum for each tile. */
KERNEL
sum_squares(tiles_job job, Floats value, double *sum)
{
  tile_part part = part_of(job);
  const own_values gradient = load_own(job, part, value);
  double own = 0;
  for_elements(own_rows(part), [&](int k, int j) { own += (double)gradient.of[k][j] * gradient.of[k][j]; });
  own = team_sum(part, own);
  if (part.active && part.thread == 0)
    sum[part.each] = own;
}

int
gpu_saves_look_at_flow(const actnn_call *call, uint32_t index)
{
  actnn *trainer = call->trainer;
  save_state *state = &trainer->saves->save[index];
  const actnn_view *dx = &call->output[0];
  double squares = 0;
  actnn_pull pull;
  const float *operand[7];
  for (int i = 2; i < 7; i++)
    if (!(operand[i] = (const float *)actnn_data(trainer, call->input[i].id)))
      return 1;
  double *of_tile = trainer->device_state->saves->tile_sum;
  if (LAUNCH_BLOCKS(call, sum_squares, blocks_of_tiles(state->codec), gpu_plain_job(trainer, &state->codec, dx), floats_of(dx), of_tile) ||
      gpu_saves_fetch_sums(call, &state->codec, 1, state->sum))
    return 1;
  for (int64_t sample = 0; sample < state->codec.samples; sample++)
    squares += state->sum[sample];
  saves_find_pull(&state->codec, operand[2], operand[4], operand[5], operand[6], (float *)trainer->saves->partial, &pull);
  saves_note_pull(trainer, index, dx->id, squares, &pull);
  return 0;
}
