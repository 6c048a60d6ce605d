/* normal_codes.h: codes of a value that is normalized by channel (codec_normal.h) as kernels of a GPU make and read them. */
#ifndef ACTNN_CUDA_NORMAL_CODES_H
#define ACTNN_CUDA_NORMAL_CODES_H

#include "kernels.h"
#include "saves_tables.h"
#include "tile_codes.h"

/* What follows a normalized value, of one channel. */
typedef struct channel_affine {
  float scale, bias;
  actnn_thresholds thresholds;
} channel_affine;

/* Lanes beyond the last channel have zeros. */
static inline __device__ channel_affine
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

static inline __device__ int
side_of(const actnn_affine &affine, float y)
{
  return actnn_codec_is_blocked(y, affine.rectified, affine.cap) ? BLOCKED
         : actnn_codec_is_saturated(y, affine.rectified, affine.cap) ? SATURATED : PASSES;
}

static inline __device__ actnn_group
group_of(const actnn_normal_levels &levels, int side)
{
  return side == BLOCKED ? levels.blocked : side == SATURATED ? levels.saturated : levels.passing;
}

/* The first code of a side, and of what follows it. */
static inline __device__ int
first_code(const actnn_normal_levels &levels, int count, int side)
{
  return side == BLOCKED ? 0 : side == PASSES ? levels.first_passing : side == SATURATED ? levels.first_saturated : count;
}

static inline __device__ double
variance_of_step(double step, bool dither)
{
  return step * step / (dither ? 12 : 6);
}

/* ---- levels ------------------------------------------------------------------------------------------------------ */

/* A channel's, and what follows it. */
typedef struct channel_levels {
  actnn_normal_levels levels;
  float scale, bias;
} channel_levels;

enum { LISTED_SEGMENTS = 8 }; /* of a tile */

/* Where lanes are groups: levels of a tile's first segments, found once for all of a team's threads, for they take several divisions. */
typedef struct level_room {
  channel_levels of[WHOLE_TEAMS][LISTED_SEGMENTS * ACTNN_LANES];
} level_room;

static inline __device__ channel_levels
find_levels(const tiles_job &job, const tile_part &part, const actnn_affine &affine, int segment, int lane)
{
  const actnn_header header = read_header(job, part, lane);
  const channel_affine after = affine_of(affine, job.codec.channels, (part.first_channels + segment) * ACTNN_LANES + lane);
  channel_levels found;
  found.levels = actnn_codec_normal(actnn_float_of((uint32_t)header.base << 16), actnn_float_of((uint32_t)header.step << 16),
                                    after.thresholds, part.code.levels, part.code.dither);
  found.scale = after.scale;
  found.bias = after.bias;
  return found;
}

/* Once headers are written. All threads of the block take part. */
static inline __device__ void
list_levels(const tiles_job &job, const tile_part &part, const actnn_affine &affine, level_room &room)
{
  int segments = !job.codec.lane_groups || !part.active ? 0 : most_segments(job.codec);
  segments = segments < LISTED_SEGMENTS ? segments : LISTED_SEGMENTS;
  for (int i = part.thread; i < segments * ACTNN_LANES; i += part.team_threads)
    room.of[part.team][i] = find_levels(job, part, affine, i / ACTNN_LANES, i % ACTNN_LANES);
  __syncthreads();
}

/* Those of lane j of a thread's four. */
static inline __device__ channel_levels
levels_at(const tiles_job &job, const tile_part &part, const actnn_affine &affine, const level_room &room, int segment, int j)
{
  int lane = part.four * FOUR + j;
  return job.codec.lane_groups && segment < LISTED_SEGMENTS ? room.of[part.team][segment * ACTNN_LANES + lane]
                                                            : find_levels(job, part, affine, segment, lane);
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

/* The normalized value, and what the rectifier did with it. */
static inline __device__ float
decode(const tile_part &part, const actnn_normal_levels &levels, uint32_t code, uint32_t draw, int &side)
{
  side = (int)code < levels.first_passing ? BLOCKED : (int)code >= levels.first_saturated ? SATURATED : PASSES;
  const actnn_group group = group_of(levels, side);
  return actnn_codec_value(code - (uint32_t)first_code(levels, part.code.levels, side), group.base, group.step, group.dither, draw);
}

/* The variance of a side's codes. */
static inline __device__ double
variance_of(const tile_part &part, const actnn_normal_levels &levels, int side)
{
  return variance_of_step(group_of(levels, side).step, part.code.dither);
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

static inline actnn_affine
affine_operands(const actnn_call *call, size_t scale, size_t bias)
{
  return saves_affine(call, call->input[scale].data, call->input[bias].data);
}

/* Opens the codes of a normalized value, of the layout of `value`. */
static inline int
open_normal(const actnn_call *call, const actnn_view *value, uint32_t *index, tiles_job *job)
{
  return saves_find_normal(call, value, index) || saves_open(call->trainer, *index) || gpu_saves_job(call, *index, value, job);
}

#endif
