/* normal_codes.h: codes of a value that is normalized by channel (codec_normal.h) as kernels of a GPU make and read them. */
#ifndef ACTNN_CUDA_NORMAL_CODES_H
#define ACTNN_CUDA_NORMAL_CODES_H

#include "kernels.h"
#include "tiles.h"

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

/* Segments of a tile: rows of the same channels. The most that a tile of this geometry may have. */
static inline __host__ __device__ int
most_segments(const actnn_codec &codec)
{
  int64_t most = (codec.tile_rows + codec.positions - 1) / codec.positions + 1;
  return (int)(most < codec.tile_rows ? most : codec.tile_rows);
}

static inline __device__ actnn_normal_levels
levels_of(const tile_part &part, const actnn_header &header, const channel_affine &own)
{
  return actnn_codec_normal(actnn_float_of((uint32_t)header.base << 16), actnn_float_of((uint32_t)header.step << 16),
                            own.thresholds, part.code.levels, part.code.dither);
}

static inline __device__ double
variance_of_step(double step, bool dither)
{
  return step * step / (dither ? 12 : 6);
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

static inline __device__ normal_decoder
open_decoder(const tiles_job &job, const tile_part &part, uint32_t *room)
{
  normal_decoder decoder;
  decoder.codes = load_codes(job, part, room);
  decoder.header = read_header(job, part);
  if (part.code.dither)
    decoder.draws = draw_own(job, part);
  return decoder;
}

static inline __device__ void
enter_run(const tiles_job &job, const tile_part &part, const actnn_affine &affine, const row_run &run, normal_decoder &decoder)
{
  decoder.after = affine_of(affine, job.codec.channels, run.channel);
  decoder.levels = levels_of(part, decoder.header, decoder.after);
}

/* The normalized value, and what the rectifier did with it. */
static inline __device__ float
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
static inline __device__ double
variance_of(const tile_part &part, const normal_decoder &decoder, int side)
{
  return variance_of_step(group_of(decoder.levels, side).step, part.code.dither);
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
