/* saves_normal_gradient.cu: on a GPU, the gradient of a normalization by channel whose normalized value is a code, which is decoded inside its
 * loops (saves_normal.cu). */
#include "normal_codes.h"

/* What a channel's elements add up to (actnn_normal_sums). All but the first two only where noise is looked at. */
typedef struct own_sums {
  float dy, projected, squares, passed;
  double variance, noise;
} own_sums;

/* By the warps that found them, or by the teams where those are smaller. */
typedef struct sums_room {
  own_sums of[SHARED_TEAMS][ACTNN_LANES];
} sums_room;

/* Adds what a lane's threads have, in order, to its channel's sums of this sample. All threads of the block take part. */
template <bool WithNoise>
static __device__ void
add_to_channels(const tile_part &part, const own_sums *own, sums_room &room, int64_t first_channel, int64_t channels, actnn_normal_sums *sums)
{
  int slots = part.team_threads > WARP ? WARPS_OF_A_TEAM : 1, first_slot = part.team * slots;
  UNROLLED
  for (int j = 0; j < FOUR; j++) {
    own_sums all = own[j];
    all.dy = sum_of_rows(part, all.dy);
    all.projected = sum_of_rows(part, all.projected);
    if (WithNoise) {
      all.squares = sum_of_rows(part, all.squares);
      all.passed = sum_of_rows(part, all.passed);
      all.variance = sum_of_rows(part, all.variance);
      all.noise = sum_of_rows(part, all.noise);
    }
    if (part.thread % WARP < FOURS)
      room.of[first_slot + part.thread / WARP][part.four * FOUR + j] = all;
  }
  __syncthreads();
  for (int lane = part.thread; part.active && lane < ACTNN_LANES && first_channel + lane < channels; lane += part.team_threads) {
    actnn_normal_sums *to = sums + part.sample * channels + first_channel + lane;
    for (int slot = first_slot; slot < first_slot + slots; slot++) {
      const own_sums &one = room.of[slot][lane];
      to->dy += one.dy;
      to->projected += one.projected;
      if (WithNoise) {
        to->squares += one.squares;
        to->passed += one.passed;
        to->variance += one.variance;
        to->noise += one.noise;
      }
    }
  }
  __syncthreads();
}

/* Tiles that share channels are one team's, one after the other, so that no sum depends on who is first. */
static inline __host__ __device__ int64_t
tiles_in_turn(const actnn_codec &codec)
{
  return codec.lane_groups && codec.tile_rows >= codec.positions ? 1 : codec.run_tiles;
}

/* WithNoise: what the codes' noise does is summed as well. */
template <bool WithNoise>
TILE_KERNEL
sum_normal(tiles_job job, actnn_affine affine, Floats dy, actnn_normal_sums *sums)
{
  SHARED level_room levels;
  SHARED sums_room room;
  int64_t in_turn = tiles_in_turn(job.codec);
  for (int64_t turn = 0; turn < in_turn; turn++) {
    tile_part part = part_of(job, in_turn, turn);
    list_levels(job, part, affine, levels);
    const own_codes codes = read_own_codes(part);
    const actnn_philox_key key = key_now(job.key);
    const own_values gradient = load_own(job, part, dy);
    for (int segment = 0; segment < most_segments(job.codec); segment++) { /* as many for all teams of the block */
      own_sums own[FOUR] = {};
      for_own_runs(job, part, [&](const row_run &run, uint32_t rows) {
        if (run.segment != segment)
          return;
        UNROLLED
        for (int j = 0; j < FOUR; j++) {
          const channel_levels after = levels_at(job, part, affine, levels, segment, j);
          const actnn_philox_block draws = draws_of_codes(part, key, j);
          for_rows(rows, [&](int k) {
            int side;
            float x = decode(part, after.levels, code_at(codes, k, j), draw_of(draws, k), side);
            if (WithNoise)
              own[j].noise += variance_of(part, after.levels, side);
            float passed = side == PASSES ? gradient.of[k][j] : 0, passed_x = side == PASSES ? x : 0;
            own[j].dy += passed;
            own[j].projected += passed * passed_x;
            if (!WithNoise)
              return;
            own[j].squares += passed_x * passed_x;
            own[j].passed += side == PASSES;
            own[j].variance += (double)(passed * passed) * variance_of(part, after.levels, PASSES);
          });
        }
      });
      add_to_channels<WithNoise>(part, own, room, (part.first_channels + segment) * ACTNN_LANES, job.codec.channels, sums);
    }
  }
}

enum { CHANNELS_OF_A_BLOCK = 16, SAMPLES_AT_ONCE = BLOCK_THREADS / CHANNELS_OF_A_BLOCK };

/* Over the samples of a channel: threads of a block take them in turn, and add in order what they have. */
KERNEL
finish_normal(const actnn_normal_sums *sums, int64_t samples, int64_t channels, float *dscale, float *db)
{
  int64_t channel = (int64_t)blockIdx.x * CHANNELS_OF_A_BLOCK + threadIdx.x % CHANNELS_OF_A_BLOCK;
  double projected = 0, dy = 0;
  for (int64_t sample = threadIdx.x / CHANNELS_OF_A_BLOCK; channel < channels && sample < samples; sample += SAMPLES_AT_ONCE) {
    projected += sums[sample * channels + channel].projected;
    dy += sums[sample * channels + channel].dy;
  }
  projected = cell_fold(projected, sum_of<double>(), CHANNELS_OF_A_BLOCK, SAMPLES_AT_ONCE);
  dy = cell_fold(dy, sum_of<double>(), CHANNELS_OF_A_BLOCK, SAMPLES_AT_ONCE);
  if (channel < channels && threadIdx.x < CHANNELS_OF_A_BLOCK) {
    dscale[channel] = (float)projected;
    db[channel] = (float)dy;
  }
}

/* dx may be dy. */
TILE_KERNEL
pull_normal(tiles_job job, actnn_affine affine, const float *rstd, const float *dscale, const float *db, double count, Floats dy,
            Floats dx)
{
  SHARED level_room levels;
  tile_part part = part_of(job);
  list_levels(job, part, affine, levels);
  const own_codes codes = read_own_codes(part);
  const actnn_philox_key key = key_now(job.key);
  own_values gradient = load_own(job, part, dy);
  for_own_runs(job, part, [&](const row_run &run, uint32_t rows) {
    UNROLLED
    for (int j = 0; j < FOUR; j++) {
      if (j >= run.lanes)
        continue;
      const channel_levels after = levels_at(job, part, affine, levels, run.segment, j);
      int64_t channel = run.channel + j;
      float factor = (float)((double)after.scale * rstd[channel]);
      float shift = (float)(db[channel] / count), slope = (float)(dscale[channel] / count);
      float correction = part.code.dither ? (float)(1 + variance_of(part, after.levels, PASSES) / (float)count) : 1;
      const actnn_philox_block draws = draws_of_codes(part, key, j);
      for_rows(rows, [&](int k) {
        int side;
        float x = decode(part, after.levels, code_at(codes, k, j), draw_of(draws, k), side);
        float passed = side == PASSES ? gradient.of[k][j] : 0;
        gradient.of[k][j] = factor * (passed * correction - shift - x * slope);
      });
    }
    store_rows(job, dx, run, rows, gradient);
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
  int64_t blocks = blocks_of_teams(codec, codec.samples * (actnn_codec_tiles(&codec) / tiles_in_turn(codec)));
  int64_t channel_blocks = (codec.channels + CHANNELS_OF_A_BLOCK - 1) / CHANNELS_OF_A_BLOCK;
  bool with_noise = gpu_saves_wants_noise(trainer);
  if (gpu_check(trainer, cudaMemsetAsync(sums, 0, bytes, stream_of(trainer)), "sums of channels") ||
      (with_noise ? LAUNCH_BLOCKS(call, sum_normal<true>, blocks, job, affine_operands(call, 2, 3), floats_of(dy), sums)
                  : LAUNCH_BLOCKS(call, sum_normal<false>, blocks, job, affine_operands(call, 2, 3), floats_of(dy), sums)) ||
      LAUNCH_BLOCKS(call, finish_normal, channel_blocks, sums, codec.samples, codec.channels, (float *)call->output[0].data,
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
  return saves_measure_now(trainer, index) && gpu_saves_look_at_flow(call, index);
}
