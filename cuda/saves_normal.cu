/* saves_normal.cu: on a GPU, normalization by channel whose normalized value is saved as a code: applied and coded in one pass over
 * memory, decoded inside the loops of its gradient and by whatever reads the value after scale, bias and rectifier. */
#include "kernels.h"
#include "tiles.h"

/* What follows a normalized value, of one channel. */
typedef struct channel_affine {
  float scale, bias;
  actnn_thresholds thresholds;
} channel_affine;

/* Lanes beyond the last channel have zeros. */
static __device__ channel_affine
affine_of(const actnn_affine &affine, int64_t channels, int64_t channel)
{
  channel_affine own;
  own.scale = own.bias = 0;
  if (channel < channels) {
    own.scale = affine.scale[channel];
    own.bias = affine.bias[channel];
  }
  own.thresholds = actnn_codec_thresholds(own.scale, own.bias, affine.rectified, affine.cap);
  return own;
}

/* What a rectifier does with an element: also which of a channel's levels it has. */
enum { BLOCKED, PASSES, SATURATED, SIDES };

static __device__ int
side_of(const actnn_affine &affine, float y)
{
  return actnn_codec_is_blocked(y, affine.rectified, affine.cap) ? BLOCKED
         : actnn_codec_is_saturated(y, affine.rectified, affine.cap) ? SATURATED : PASSES;
}

static __device__ actnn_group
group_of(const actnn_normal_levels &levels, int side)
{
  return side == BLOCKED ? levels.blocked : side == SATURATED ? levels.saturated : levels.passing;
}

/* The first code of a side, and of what follows it. */
static __device__ int
first_code(const actnn_normal_levels &levels, int count, int side)
{
  return side == BLOCKED ? 0 : side == PASSES ? levels.first_passing : side == SATURATED ? levels.first_saturated : count;
}

/* Segments of a tile: rows of the same channels. The most that a tile of this geometry may have. */
static inline __host__ __device__ int
most_segments(const actnn_codec &codec)
{
  int64_t most = (codec.tile_rows + codec.positions - 1) / codec.positions + 1;
  return (int)(most < codec.tile_rows ? most : codec.tile_rows);
}

/* ---- normalizing and coding ----------------------------------------------------------------------------------- */

/* Whether lanes of segments have elements on each side of their thresholds. */
typedef struct side_room {
  uint8_t any[SIDES][CODES_OF_A_BLOCK];
} side_room;

/* A group's header, by its first thread, from its range and from where its elements lie beside the thresholds; start: where a team's
 * part of the room begins. */
static __device__ actnn_header
widened_header(const tiles_job &job, const tile_part &part, const actnn_affine &affine, const own_range &range, const side_room &sides,
               int start)
{
  actnn_header header = actnn_codec_normal_header(range.minimum, range.maximum, range.magnitude < 0x7f800000u);
  int64_t first = part.tile.first_row / job.codec.positions, last = (part.tile.first_row + part.rows - 1) / job.codec.positions;
  int from = job.codec.lane_groups ? part.lane : 0, to = job.codec.lane_groups ? part.lane + 1 : ACTNN_LANES;
  for (int64_t which = first; affine.rectified && which <= last; which++)
    for (int lane = from; lane < to; lane++) {
      int at = start + (int)(which - first) * ACTNN_LANES + lane;
      channel_affine own = affine_of(affine, job.codec.channels, which * ACTNN_LANES + lane);
      header = actnn_codec_widen_for(header, own.thresholds, sides.any[BLOCKED][at], sides.any[PASSES][at], sides.any[SATURATED][at]);
    }
  return header;
}

static __device__ actnn_normal_levels
levels_of(const tile_part &part, const actnn_header &header, const channel_affine &own)
{
  return actnn_codec_normal(actnn_float_of((uint32_t)header.base << 16), actnn_float_of((uint32_t)header.step << 16),
                            own.thresholds, part.code.levels, part.code.dither);
}

static __device__ uint32_t
normal_code(const actnn_normal_levels &levels, int count, int side, float x, uint32_t draw)
{
  const actnn_group group = group_of(levels, side);
  int first = first_code(levels, count, side), steps = first_code(levels, count, side + 1) - first - 1;
  uint32_t code = (uint32_t)first + actnn_codec_code(x, group.base, group.scale, (float)(steps > 0 ? steps : 0), draw);
  return code < (uint32_t)count ? code : (uint32_t)count - 1; /* beyond it only in a group that is not finite */
}

static __device__ double
variance_of_step(double step, bool dither)
{
  return step * step / (dither ? 12 : 6);
}

/* noise: MOST_SUMS numbers of each tile, as actnn_tile_noise has them; not written without WithNoise. y may be x. */
template <bool WithNoise>
TILE_KERNEL
normalize(tiles_job job, Floats x, const float *mean, const float *rstd, actnn_affine affine, Floats y, double *noise)
{
  SHARED range_room room;
  SHARED side_room sides;
  SHARED uint32_t codes[CODES_OF_A_BLOCK / 4];
  tile_part part = part_of(job);
  int start = part.team * (CODES_OF_A_BLOCK / (BLOCK_THREADS / part.team_threads));
  uint8_t *own_codes = (uint8_t *)codes + start;
  float own[OWN_ROWS], own_mean = 0, own_rstd = 0, factor = 0;
  channel_affine after;
  int segment = 0;
  uint32_t blocked = 0, saturated = 0;
  own_range range = empty_range();
  for (int i = part.thread; i < most_segments(job.codec) * ACTNN_LANES; i += part.team_threads)
    sides.any[BLOCKED][start + i] = sides.any[PASSES][start + i] = sides.any[SATURATED][start + i] = 0;
  __syncthreads();
  load_own_rows(job, part, x, 0, own);
  for_own_runs(
      job, part,
      [&](const row_run &run) {
        after = affine_of(affine, job.codec.channels, run.channel);
        segment = run.segment;
        if (!run.exists)
          return;
        own_mean = mean[run.channel];
        own_rstd = rstd[run.channel];
        factor = (float)((double)after.scale * own_rstd); /* as the normalization's own kernels do */
      },
      [&](int k, int, row_place place) {
        float value = 0, result = 0;
        if (place.exists) {
          float apart = ACTNN_MINUS(own[k], own_mean);
          value = ACTNN_TIMES(apart, own_rstd);
          result = ACTNN_PLUS(ACTNN_TIMES(apart, factor), after.bias);
        }
        int side = side_of(affine, result);
        own[k] = value;
        blocked |= (uint32_t)(side == BLOCKED) << k;
        saturated |= (uint32_t)(side == SATURATED) << k;
        widen_by(range, value);
        sides.any[side][start + segment * ACTNN_LANES + part.lane] = 1;
        store_element(y, place, side == BLOCKED ? 0 : side == SATURATED ? affine.cap : result);
      });
  range = join_ranges(part, !job.codec.lane_groups, range, room);
  if (part.active && part.thread < (job.codec.lane_groups ? ACTNN_LANES : 1))
    write_header(job, part, widened_header(job, part, affine, range, sides, start));
  __syncthreads();
  actnn_header header = read_header(job, part);
  own_draws draws = draw_own(job, part);
  double below = 0, above = 0, scaled = 0;
  actnn_normal_levels levels;
  auto enter = [&](const row_run &run) {
    after = affine_of(affine, job.codec.channels, run.channel);
    levels = levels_of(part, header, after);
  };
  for_own_runs(job, part, enter, [&](int k, int row, row_place place) {
    int side = blocked >> k & 1 ? BLOCKED : saturated >> k & 1 ? SATURATED : PASSES;
    own_codes[row * ACTNN_LANES + part.lane] = (uint8_t)normal_code(levels, part.code.levels, side, own[k], draw_of(draws, k));
    if (!WithNoise || !place.exists)
      return;
    double variance = variance_of_step(group_of(levels, side).step, part.code.dither);
    bool passes = side == PASSES;
    below += passes ? 0 : variance;
    above += passes ? variance : 0;
    scaled += passes ? variance * after.scale * after.scale : 0;
  });
  __syncthreads();
  pack_tile(job, part, codes + start / 4);
  if (!WithNoise)
    return;
  below = team_sum(part, below);
  above = team_sum(part, above);
  scaled = team_sum(part, scaled);
  if (part.active && part.thread == 0) {
    noise[part.each * MOST_SUMS] = below;
    noise[part.each * MOST_SUMS + 1] = above;
    noise[part.each * MOST_SUMS + 2] = scaled;
  }
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

/* A thread's decoding of its lane: levels are found for each run of rows. */
typedef struct normal_decoder {
  const uint8_t *codes;
  actnn_header header;
  own_draws draws;
  channel_affine after;
  actnn_normal_levels levels;
} normal_decoder;

static __device__ normal_decoder
open_decoder(const tiles_job &job, const tile_part &part, uint32_t *room)
{
  normal_decoder decoder;
  decoder.codes = load_codes(job, part, room);
  decoder.header = read_header(job, part);
  if (part.code.dither)
    decoder.draws = draw_own(job, part);
  return decoder;
}

static __device__ void
enter_run(const tiles_job &job, const tile_part &part, const actnn_affine &affine, const row_run &run, normal_decoder &decoder)
{
  decoder.after = affine_of(affine, job.codec.channels, run.channel);
  decoder.levels = levels_of(part, decoder.header, decoder.after);
}

/* The normalized value, and what the rectifier did with it. */
static __device__ float
decode(const tile_part &part, const normal_decoder &decoder, int k, int row, int &side)
{
  int code = decoder.codes[row * ACTNN_LANES + part.lane];
  side = code < decoder.levels.first_passing ? BLOCKED : code >= decoder.levels.first_saturated ? SATURATED : PASSES;
  const actnn_group group = group_of(decoder.levels, side);
  uint32_t draw = part.code.dither ? draw_of(decoder.draws, k) : 0;
  int first = first_code(decoder.levels, part.code.levels, side);
  return actnn_codec_value((uint32_t)(code - first), group.base, group.step, group.dither, draw);
}

/* The variance of a side's codes. */
static __device__ double
variance_of(const tile_part &part, const normal_decoder &decoder, int side)
{
  return variance_of_step(group_of(decoder.levels, side).step, part.code.dither);
}

TILE_KERNEL
dequantize_normal(tiles_job job, actnn_affine affine, Floats y)
{
  SHARED uint32_t room[CODES_OF_A_BLOCK / 4];
  tile_part part = part_of(job);
  normal_decoder decoder = open_decoder(job, part, room);
  auto enter = [&](const row_run &run) { enter_run(job, part, affine, run, decoder); };
  for_own_runs(job, part, enter, [&](int k, int row, row_place place) {
    int side;
    float x = decode(part, decoder, k, row, side);
    float result = side == SATURATED ? affine.cap : x * decoder.after.scale + decoder.after.bias;
    store_element(y, place, side == BLOCKED ? 0 : result);
  });
}

/* ---- the gradient --------------------------------------------------------------------------------------------------- */

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

static actnn_affine
affine_operands(const actnn_call *call, size_t scale, size_t bias)
{
  return saves_affine(call, call->input[scale].data, call->input[bias].data);
}

/* Each sample's noise, as the processor keeps it. */
static int
fetch_noise(const actnn_call *call, uint32_t index)
{
  save_state *state = &call->trainer->saves->save[index];
  static_assert(sizeof *state->noise == MOST_SUMS * sizeof(double), "a sample's noise is three numbers");
  return gpu_saves_fetch_sums(call, &state->codec, MOST_SUMS, (double *)state->noise);
}

extern "C" int
gpu_NormalizeOnSave(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *x = &call->input[0];
  uint32_t index = 0;
  tiles_job job;
  if (actnn_is_preparing(call))
    return actnn_NormalizeOnSave(call) || saves_find(call, NULL, &index) || gpu_saves_note(call, index);
  if (saves_find_normal(call, x, &index) || saves_decide(trainer, index) || gpu_saves_job(call, index, x, &job))
    return 1;
  double *noise = gpu_saves_wants_noise(trainer) ? trainer->device_state->saves->tile_sum : NULL;
  const float *mean = (const float *)call->input[1].data, *rstd = (const float *)call->input[2].data;
  actnn_affine affine = affine_operands(call, 3, 4);
  Floats y = floats_of(&call->output[0]);
  if (noise ? LAUNCH_BLOCKS(call, normalize<true>, blocks_of_tiles(job.codec), job, floats_of(x), mean, rstd, affine, y, noise)
            : LAUNCH_BLOCKS(call, normalize<false>, blocks_of_tiles(job.codec), job, floats_of(x), mean, rstd, affine, y, noise))
    return 1;
  return noise && fetch_noise(call, index);
}

/* Opens the codes of a normalized value, of the layout of `value`. */
static int
open_normal(const actnn_call *call, const actnn_view *value, uint32_t *index, tiles_job *job)
{
  return saves_find_normal(call, value, index) || saves_open(call->trainer, *index) || gpu_saves_job(call, *index, value, job);
}

extern "C" int
gpu_DequantizeNormal(const actnn_call *call)
{
  uint32_t index = 0;
  tiles_job job;
  if (actnn_is_preparing(call))
    return saves_find_normal(call, NULL, &index);
  if (open_normal(call, &call->output[0], &index, &job))
    return 1;
  return LAUNCH_BLOCKS(call, dequantize_normal, blocks_of_tiles(job.codec), job, affine_operands(call, 1, 2), floats_of(&call->output[0]));
}

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
