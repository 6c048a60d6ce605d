/* saves_normal_gradient.cu: on a GPU, the gradient of a normalization by channel whose normalized value is a code, which is decoded inside its
 * loops (saves_normal.cu). */
#include "normal_codes.h"

/* What a channel's elements add up to (actnn_normal_sums). */
typedef struct own_sums {
  float dy, projected, squares, passed;
  double variance, noise;
} own_sums;

static __device__ own_sums
empty_sums(void)
{
  own_sums sums = {0, 0, 0, 0, 0, 0};
  return sums;
}

static __device__ own_sums
joined(own_sums a, const own_sums &b)
{
  a.dy += b.dy;
  a.projected += b.projected;
  a.squares += b.squares;
  a.passed += b.passed;
  a.variance += b.variance;
  a.noise += b.noise;
  return a;
}

/* Adds what a lane's threads have, in order, to its channel's sums of this sample. */
static __device__ void
add_to_channel(const tile_part &part, const own_sums &own, own_sums *room, int64_t channel, int64_t channels, actnn_normal_sums *sums)
{
  room[threadIdx.x] = own;
  __syncthreads();
  if (part.active && part.thread < ACTNN_LANES && channel < channels) {
    own_sums all = room[threadIdx.x];
    for (int other = part.thread + ACTNN_LANES; other < part.team_threads; other += ACTNN_LANES)
      all = joined(all, room[part.team * part.team_threads + other]);
    actnn_normal_sums *to = sums + part.sample * channels + channel;
    to->dy += all.dy;
    to->projected += all.projected;
    to->variance += all.variance;
    to->noise += all.noise;
    to->passed += all.passed;
    to->squares += all.squares;
  }
  __syncthreads();
}

/* Tiles that share channels are one team's, one after the other, so that no sum depends on who is first. */
static inline __host__ __device__ int64_t
tiles_in_turn(const actnn_codec &codec)
{
  return codec.lane_groups && codec.runs == 1 ? 1 : codec.run_tiles;
}

/* Segments of this tile: where a block has one tile, its own; where several share it, as many as any may have, since all go together. */
static __device__ int
segments_of(const tiles_job &job, const tile_part &part)
{
  if (!job.codec.lane_groups)
    return most_segments(job.codec);
  return (int)((part.tile.first_row + part.rows - 1) / job.codec.positions - part.tile.first_row / job.codec.positions) + 1;
}

/* WithNoise: what the codes' noise does is summed as well. */
template <bool WithNoise>
TILE_KERNEL
sum_normal(tiles_job job, actnn_affine affine, Floats dy, actnn_normal_sums *sums)
{
  SHARED uint32_t room[CODES_OF_A_BLOCK / 4];
  SHARED own_sums sums_room[BLOCK_THREADS];
  int64_t in_turn = tiles_in_turn(job.codec);
  for (int64_t turn = 0; turn < in_turn; turn++) {
    tile_part part = part_of(job, in_turn, turn);
    normal_decoder decoder = open_decoder(job, part, room);
    int64_t first = part.tile.first_row / job.codec.positions;
    float gradient[OWN_ROWS];
    load_own_rows(job, part, dy, 0, gradient);
    for (int segment = 0; segment < segments_of(job, part); segment++) {
      own_sums own = empty_sums();
      bool is_here = false;
      auto enter = [&](const row_run &run) {
        is_here = run.segment == segment && run.exists;
        if (is_here)
          enter_run(job, part, affine, run, decoder);
      };
      for_own_runs(job, part, enter, [&](int k, int row, row_place) {
        int side;
        if (!is_here)
          return;
        float x = decode(part, decoder, k, row, side);
        if (WithNoise)
          own.noise += variance_of(part, decoder, side);
        if (side != PASSES)
          return;
        own.dy += gradient[k];
        own.projected += gradient[k] * x;
        own.squares += x * x;
        own.passed += 1;
        if (WithNoise)
          own.variance += (double)(gradient[k] * gradient[k]) * variance_of(part, decoder, PASSES);
      });
      add_to_channel(part, own, sums_room, (first + segment) * ACTNN_LANES + part.lane, job.codec.channels, sums);
    }
  }
}

/* A thread for each channel: over the samples, in order. */
KERNEL
finish_normal(const actnn_normal_sums *sums, int64_t samples, int64_t channels, float *dscale, float *db)
{
  int64_t channel = thread_number();
  double projected = 0, dy = 0;
  if (channel >= channels)
    return;
  for (int64_t sample = 0; sample < samples; sample++) {
    projected += sums[sample * channels + channel].projected;
    dy += sums[sample * channels + channel].dy;
  }
  dscale[channel] = (float)projected;
  db[channel] = (float)dy;
}

/* dx may be dy. */
TILE_KERNEL
pull_normal(tiles_job job, actnn_affine affine, const float *rstd, const float *dscale, const float *db, double count, Floats dy,
            Floats dx)
{
  SHARED uint32_t room[CODES_OF_A_BLOCK / 4];
  tile_part part = part_of(job);
  normal_decoder decoder = open_decoder(job, part, room);
  float gradient[OWN_ROWS], factor = 0, shift = 0, slope = 0, correction = 1;
  load_own_rows(job, part, dy, 0, gradient);
  auto enter = [&](const row_run &run) {
    enter_run(job, part, affine, run, decoder);
    if (!run.exists)
      return;
    factor = (float)((double)decoder.after.scale * rstd[run.channel]);
    shift = (float)(db[run.channel] / count);
    slope = (float)(dscale[run.channel] / count);
    correction = part.code.dither ? (float)(1 + variance_of(part, decoder, PASSES) / (float)count) : 1;
  };
  for_own_runs(job, part, enter, [&](int k, int row, row_place place) {
    int side;
    float x = decode(part, decoder, k, row, side);
    float passed = side == PASSES ? gradient[k] : 0;
    store_element(dx, place, factor * (passed * correction - shift - x * slope));
  });
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

/* Brings the channels' sums, where what the code's noise does is looked at. */
static int
look_at_sums(const actnn_call *call, uint32_t index, const actnn_normal_sums *there)
{
  actnn *trainer = call->trainer;
  const actnn_codec *codec = &trainer->saves->save[index].codec;
  actnn_normal_sums *here = (actnn_normal_sums *)trainer->saves->partial;
  size_t bytes = (size_t)(codec->samples * codec->channels) * sizeof *here;
  if (gpu_check(trainer, cudaMemcpyAsync(here, there, bytes, cudaMemcpyDeviceToHost, stream_of(trainer)), "sums of channels") ||
      gpu_check(trainer, cudaStreamSynchronize(stream_of(trainer)), "sums of channels"))
    return 1;
  saves_finish_normal(trainer, index, here);
  return 0;
}

extern "C" int
gpu_NormalGradScale(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *dy = &call->input[0];
  uint32_t index = 0;
  tiles_job job;
  if (actnn_is_preparing(call))
    return actnn_NormalGradScale(call);
  if (open_normal(call, dy, &index, &job))
    return 1;
  actnn_normal_sums *sums = trainer->device_state->saves->normal;
  const actnn_codec &codec = job.codec;
  size_t bytes = (size_t)(codec.samples * codec.channels) * sizeof *sums;
  int64_t teams = codec.samples * (actnn_codec_tiles(&codec) / tiles_in_turn(codec)), in_a_block = BLOCK_THREADS / threads_of_a_team(codec);
  int64_t blocks = (teams + in_a_block - 1) / in_a_block;
  bool with_noise = gpu_saves_wants_noise(trainer);
  if (gpu_check(trainer, cudaMemsetAsync(sums, 0, bytes, stream_of(trainer)), "sums of channels") ||
      (with_noise ? LAUNCH_BLOCKS(call, sum_normal<true>, blocks, job, affine_operands(call, 2, 3), floats_of(dy), sums)
                  : LAUNCH_BLOCKS(call, sum_normal<false>, blocks, job, affine_operands(call, 2, 3), floats_of(dy), sums)) ||
      LAUNCH(call, finish_normal, codec.channels, sums, codec.samples, codec.channels, (float *)call->output[0].data,
             (float *)call->output[1].data))
    return 1;
  return with_noise && look_at_sums(call, index, sums);
}

extern "C" int
gpu_NormalGradInput(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  uint32_t index = 0;
  tiles_job job;
  if (actnn_is_preparing(call))
    return actnn_NormalGradInput(call);
  if (open_normal(call, &call->output[0], &index, &job))
    return 1;
  double count = (double)(job.codec.samples * job.codec.positions);
  if (LAUNCH_BLOCKS(call, pull_normal, blocks_of_tiles(job.codec), job, affine_operands(call, 2, 3), (const float *)call->input[4].data,
                    (const float *)call->input[5].data, (const float *)call->input[6].data, count, floats_of(&call->input[0]),
                    floats_of(&call->output[0])))
    return 1;
  return saves_measure_now(trainer, index) && gpu_saves_look_at_flow(call, index, job);
}
