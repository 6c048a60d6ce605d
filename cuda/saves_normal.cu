/* saves_normal.cu: on a GPU, normalization by channel whose normalized value is saved as a code: applied and coded in one pass over
 * memory, and decoded for whatever reads the value after scale, bias and rectifier. Its gradient is saves_normal_gradient.cu's. */
#include "normal_codes.h"

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

static __device__ uint32_t
normal_code(const actnn_normal_levels &levels, int count, int side, float x, uint32_t draw)
{
  const actnn_group group = group_of(levels, side);
  int first = first_code(levels, count, side), steps = first_code(levels, count, side + 1) - first - 1;
  uint32_t code = (uint32_t)first + actnn_codec_code(x, group.base, group.scale, (float)(steps > 0 ? steps : 0), draw);
  return code < (uint32_t)count ? code : (uint32_t)count - 1; /* beyond it only in a group that is not finite */
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

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

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
