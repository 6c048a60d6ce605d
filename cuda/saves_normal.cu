/* saves_normal.cu: on a GPU, normalization by channel whose normalized value is saved as a code: applied and coded in one pass over
 * memory, and decoded for whatever reads the value after scale, bias and rectifier. Its gradient is saves_normal_gradient.cu's. */
#include "normal_codes.h"

/* ---- normalizing and coding ----------------------------------------------------------------------------------- */

/* Whether lanes of segments have elements on each side of their thresholds; later levels and codes of the same tiles. */
typedef union normal_room {
  uint8_t any[SIDES][ELEMENTS_OF_A_BLOCK];
  struct {
    level_room levels;
    code_room codes;
  } coding;
} normal_room;

/* A group's header from its range and from where its elements lie beside the thresholds; start: where a team's part of the room begins. */
static __device__ actnn_header
widened_header(const tiles_job &job, const tile_part &part, const actnn_affine &affine, const own_range &range, const normal_room &room,
               int start)
{
  actnn_header header = actnn_codec_normal_header(range.minimum, range.maximum, is_finite(range));
  int segments = affine.rectified ? (int)(quotient(part.tile.first_row + part.rows - 1, job.positions) - part.first_channels) + 1 : 0;
  int from = job.codec.lane_groups ? part.thread : 0, to = job.codec.lane_groups ? part.thread + 1 : ACTNN_LANES;
  for (int segment = 0; segment < segments; segment++)
    for (int lane = from; lane < to; lane++) {
      int at = start + segment * ACTNN_LANES + lane;
      channel_affine own = affine_of(affine, job.codec.channels, (part.first_channels + segment) * ACTNN_LANES + lane);
      header = actnn_codec_widen_for(header, own.thresholds, room.any[BLOCKED][at], room.any[PASSES][at], room.any[SATURATED][at]);
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

/* What a thread's elements are after normalization, and what a rectifier does with them: a bit for each. */
typedef struct normal_values {
  own_values x;
  uint32_t blocked, saturated;
} normal_values;

static __device__ int
side_at(const normal_values &values, int k, int j)
{
  int bit = FOUR * k + j;
  return values.blocked >> bit & 1 ? BLOCKED : values.saturated >> bit & 1 ? SATURATED : PASSES;
}

/* Normalizes a thread's elements of a run, which values.x has, and writes y of them. any: for each lane a bit for each side. */
static __device__ void
normalize_run(const tiles_job &job, const row_run &run, uint32_t rows, const float *mean, const float *rstd, const actnn_affine &affine,
              const Floats &y, normal_values &values, uint32_t *any)
{
  float own_mean[FOUR], own_rstd[FOUR], factor[FOUR], bias[FOUR];
  UNROLLED
  for (int j = 0; j < FOUR; j++) {
    bool is_there = j < run.lanes;
    own_mean[j] = is_there ? mean[run.channel + j] : 0;
    own_rstd[j] = is_there ? rstd[run.channel + j] : 0;
    factor[j] = is_there ? (float)((double)affine.scale[run.channel + j] * own_rstd[j]) : 0; /* as the normalization's own kernels do */
    bias[j] = is_there ? affine.bias[run.channel + j] : 0;
    any[j] = 0;
  }
  for_rows(rows, [&](int k) {
    Four<float> results;
    UNROLLED
    for (int j = 0; j < FOUR; j++) {
      float apart = ACTNN_MINUS(values.x.of[k][j], own_mean[j]), result = ACTNN_PLUS(ACTNN_TIMES(apart, factor[j]), bias[j]);
      int side = side_of(affine, result);
      values.x.of[k][j] = ACTNN_TIMES(apart, own_rstd[j]);
      values.blocked |= (uint32_t)(side == BLOCKED) << (FOUR * k + j);
      values.saturated |= (uint32_t)(side == SATURATED) << (FOUR * k + j);
      any[j] |= 1u << side;
      results.of[j] = side == BLOCKED ? 0 : side == SATURATED ? affine.cap : result;
    }
    store_row(job, y, run, k, results);
  });
}

/* noise: MOST_SUMS numbers of each tile, as actnn_tile_noise has them; not written without WithNoise. y may be x. */
template <bool WithNoise>
TILE_KERNEL
normalize(tiles_job job, Floats x, const float *mean, const float *rstd, actnn_affine affine, Floats y, double *noise)
{
  SHARED range_room ranges;
  SHARED normal_room room;
  tile_part part = part_of(job);
  int start = part.team * part.team_threads * EIGHT * FOUR;
  for (int i = part.thread; i < most_segments(job.codec) * ACTNN_LANES; i += part.team_threads)
    room.any[BLOCKED][start + i] = room.any[PASSES][start + i] = room.any[SATURATED][start + i] = 0;
  __syncthreads();
  normal_values values = {load_own(job, part, x), 0, 0};
  for_own_runs(job, part, [&](const row_run &run, uint32_t rows) {
    uint32_t any[FOUR];
    normalize_run(job, run, rows, mean, rstd, affine, y, values, any);
    for (int j = 0; j < FOUR; j++)
      for (int side = 0; side < SIDES; side++)
        if (any[j] >> side & 1) /* volatile: threads that share a lane all write this */
          *(volatile uint8_t *)&room.any[side][start + run.segment * ACTNN_LANES + part.four * FOUR + j] = 1;
  });
  own_range range[FOUR];
  find_own_ranges(part, values.x, range);
  gather_ranges(range, ranges); /* a barrier also where rows share a group */
  own_range of_group = job.codec.lane_groups ? range_of_lane(part, ranges, part.thread % ACTNN_LANES) : range_of_team(range);
  if (makes_header(job, part))
    write_header(job, part, part.thread, widened_header(job, part, affine, of_group, room, start));
  __syncthreads();
  list_levels(job, part, affine, room.coding.levels);
  const actnn_philox_key key = key_now(job.key);
  own_codes made = no_codes();
  double below = 0, above = 0, scaled = 0;
  for_own_runs(job, part, [&](const row_run &run, uint32_t rows) {
    UNROLLED
    for (int j = 0; j < FOUR; j++) {
      const channel_levels own = levels_at(job, part, affine, room.coding.levels, run.segment, j);
      const actnn_philox_block draws = draw_lane(part, key, j);
      for_rows(rows, [&](int k) {
        int side = side_at(values, k, j);
        set_code(made, k, j, normal_code(own.levels, part.code.levels, side, values.x.of[k][j], draw_of(draws, k)));
        if (!WithNoise || !exists(values.x, k, j))
          return;
        double variance = variance_of(part, own.levels, side);
        below += side == PASSES ? 0 : variance;
        above += side == PASSES ? variance : 0;
        scaled += side == PASSES ? variance * own.scale * own.scale : 0;
      });
    }
  });
  pack_tile(part, made, room.coding.codes);
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
  SHARED level_room room;
  tile_part part = part_of(job);
  list_levels(job, part, affine, room);
  const own_codes codes = read_own_codes(part);
  const actnn_philox_key key = key_now(job.key);
  for_own_runs(job, part, [&](const row_run &run, uint32_t rows) {
    own_values own;
    UNROLLED
    for (int j = 0; j < FOUR; j++) {
      const channel_levels after = levels_at(job, part, affine, room, run.segment, j);
      const actnn_philox_block draws = draws_of_codes(part, key, j);
      for_rows(rows, [&](int k) {
        int side;
        float x = decode(part, after.levels, code_at(codes, k, j), draw_of(draws, k), side);
        float result = side == SATURATED ? affine.cap : x * after.scale + after.bias;
        own.of[k][j] = side == BLOCKED ? 0 : result;
      });
    }
    store_rows(job, y, run, rows, own);
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
