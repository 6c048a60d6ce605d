/* codec_normal_tiles.h: normalizing and coding a tile in one loop, and decoding it inside the loops that use it. Part of
 * codec.c. Values are channel-blocked (ACTNN_CHANNEL_ROWS). */

#include "codec_normal.h"

/* One number a channel, for the lanes of a row; zero beyond the last channel. */
static void
channel_lanes(const actnn_codec *codec, int64_t row, const float *per_channel, float *lane)
{
  int64_t first = row / codec->positions * LANES;
  int lanes = valid_lanes(codec, row);
  for (int i = 0; i < LANES; i++)
    lane[i] = i < lanes ? per_channel[first + i] : 0;
}

/* ---- Levels ---------------------------------------------------------------------------------------- */

/* Levels of each lane: what they start from, the steps from first to last, and where codes start. */
typedef struct normal_lanes {
  tile_groups blocked, passing, saturated;
  float blocked_top[LANES], passing_top[LANES], saturated_top[LANES];
  uint32_t first_passing[LANES], first_saturated[LANES];
} normal_lanes;

typedef struct normal_header {
  float minimum[LANES], maximum[LANES];
} normal_header;

static void
lane_thresholds(const actnn_tile_work *work, int64_t row, const actnn_affine *affine, actnn_thresholds *thresholds)
{
  float scale[LANES], bias[LANES];
  channel_lanes(work->codec, row, affine->scale, scale);
  channel_lanes(work->codec, row, affine->bias, bias);
  for (int lane = 0; lane < LANES; lane++)
    thresholds[lane] = actnn_codec_thresholds(scale[lane], bias[lane], affine->rectified, affine->cap);
}

static void
read_normal_header(const actnn_tile_work *work, const uint8_t *sample, normal_header *header)
{
  actnn_header stored[LANES];
  int count = (int)actnn_codec_tile_headers(work->codec);
  memcpy(stored, sample + header_place(work), (size_t)count * sizeof *stored);
  for (int lane = 0; lane < LANES; lane++) {
    header->minimum[lane] = actnn_float_of((uint32_t)stored[count == 1 ? 0 : lane].base << 16);
    header->maximum[lane] = actnn_float_of((uint32_t)stored[count == 1 ? 0 : lane].step << 16);
  }
}

static float
steps_of(int levels)
{
  return (float)(levels > 0 ? levels - 1 : 0);
}

/* The levels of the lanes of rows that belong to the same channels as `row`. */
static void
find_normal_levels(const actnn_tile_work *work, int64_t row, const normal_header *header, const actnn_affine *affine,
                   const actnn_code *code, normal_lanes *levels)
{
  actnn_thresholds thresholds[LANES];
  lane_thresholds(work, row, affine, thresholds);
  for (int lane = 0; lane < LANES; lane++) {
    actnn_normal_levels found =
        actnn_codec_normal(header->minimum[lane], header->maximum[lane], thresholds[lane], code->levels, code->dither);
    set_group(&levels->blocked, lane, found.blocked);
    set_group(&levels->passing, lane, found.passing);
    set_group(&levels->saturated, lane, found.saturated);
    levels->blocked_top[lane] = steps_of(found.first_passing);
    levels->passing_top[lane] = steps_of(found.first_saturated - found.first_passing);
    levels->saturated_top[lane] = steps_of(code->levels - found.first_saturated);
    levels->first_passing[lane] = (uint32_t)found.first_passing;
    levels->first_saturated[lane] = (uint32_t)found.first_saturated;
  }
}

/* ---- Normalizing and coding -------------------------------------------------------------------------- */

/* What a tile's loops hand on. */
typedef struct normal_rows {
  float x[ACTNN_TILE_ROWS * LANES]; /* normalized */
  float y[ACTNN_TILE_ROWS * LANES]; /* after scale and bias; when coded, after the rectifier too */
  actnn_tile_range range;
} normal_rows;

static void
normalize_rows(const actnn_tile_work *work, int64_t row, int64_t done, int64_t rows, const float *mean, const float *rstd,
               const actnn_affine *affine, normal_rows *tile)
{
  float center[LANES], spread[LANES], scale[LANES], factor[LANES], bias[LANES];
  channel_lanes(work->codec, row, mean, center);
  channel_lanes(work->codec, row, rstd, spread);
  channel_lanes(work->codec, row, affine->scale, scale);
  channel_lanes(work->codec, row, affine->bias, bias);
  for (int lane = 0; lane < LANES; lane++)
    factor[lane] = (float)((double)scale[lane] * spread[lane]); /* as normalization.c does */
  float *restrict xs = tile->x + done * LANES, *restrict ys = tile->y + done * LANES;
  for (int64_t i = 0; i < rows; i++)
    for (int lane = 0; lane < LANES; lane++) {
      float apart = xs[i * LANES + lane] - center[lane];
      ys[i * LANES + lane] = apart * factor[lane] + bias[lane];
      xs[i * LANES + lane] = apart * spread[lane];
    }
}

/* What a rectifier does, so that a row's loop tells it by comparisons alone. */
typedef struct rectifier_tests {
  uint32_t plain, capped; /* 1 or 0 */
  float cap;              /* infinite without one */
} rectifier_tests;

static rectifier_tests
tests_of(const actnn_affine *affine)
{
  bool capped = affine->rectified && affine->cap > 0;
  return (rectifier_tests){affine->rectified && !capped, capped, capped ? affine->cap : INFINITY};
}

/* As actnn_codec_is_blocked and actnn_codec_is_saturated have it; 1 or 0. */
static inline uint32_t
is_blocked(float y, rectifier_tests tests)
{
  return ((uint32_t) !(y > 0) & tests.plain) | ((uint32_t)(y < 0) & tests.capped);
}

static inline uint32_t
is_saturated(float y, rectifier_tests tests)
{
  return (uint32_t)(y > tests.cap);
}

/* Widens headers to what thresholds ask for (actnn_codec_widen). */
static void
widen_for_thresholds(const actnn_tile_work *work, int64_t row, int64_t done, int64_t rows, const actnn_affine *affine,
                     const normal_rows *tile, actnn_header *header)
{
  actnn_thresholds thresholds[LANES];
  rectifier_tests tests = tests_of(affine);
  uint32_t blocked[LANES] = {0}, saturated[LANES] = {0};
  lane_thresholds(work, row, affine, thresholds);
  for (int64_t i = done; i < done + rows; i++)
    for (int lane = 0; lane < LANES; lane++) {
      blocked[lane] += is_blocked(tile->y[i * LANES + lane], tests);
      saturated[lane] += is_saturated(tile->y[i * LANES + lane], tests); /* never without a cap */
    }
  for (int lane = 0; lane < LANES; lane++) {
    actnn_header *own = &header[work->codec->lane_groups ? lane : 0];
    bool any_passing = blocked[lane] + saturated[lane] < (uint32_t)rows;
    *own = actnn_codec_widen_for(*own, thresholds[lane], blocked[lane] > 0, any_passing, saturated[lane] > 0);
  }
}

static void
write_normal_header(const actnn_tile_work *work, actnn_tile at, const actnn_affine *affine, normal_rows *tile, uint8_t *sample)
{
  actnn_header header[LANES];
  int count = (int)actnn_codec_tile_headers(work->codec);
  actnn_tile_range range = tile->range;
  if (count == 1)
    share_range(&range);
  for (int lane = 0; lane < count; lane++) {
    bool finite = range.magnitude[lane] < 0x7f800000u;
    header[lane] = actnn_codec_normal_header(range.minimum[lane], range.maximum[lane], finite);
  }
  for (int64_t done = 0, rows; affine->rectified && done < at.rows; done += rows) {
    rows = rows_of_channel(work->codec, at.first_row + done, at.rows - done);
    widen_for_thresholds(work, at.first_row + done, done, rows, affine, tile, header);
  }
  memcpy(sample + header_place(work), header, (size_t)count * sizeof *header);
}

/* Codes a row and finishes its y; counts what is blocked and what is saturated in each lane. capped: a constant where it is called, as
 * most rectifiers have no cap and pay for none. */
static inline __attribute__((always_inline)) void
code_normal_row(const float *restrict x, float *restrict y, const normal_lanes *restrict levels, rectifier_tests tests, bool capped,
                uint32_t last, const uint32_t *restrict draw, uint8_t *restrict codes, uint32_t *restrict blocked,
                uint32_t *restrict saturated)
{
  uint32_t wide[LANES];
  for (int lane = 0; lane < LANES; lane++) {
    uint32_t blocks = is_blocked(y[lane], tests);
    uint32_t saturates = capped ? is_saturated(y[lane], tests) : 0, passes = 1 - blocks - saturates;
    float base = choose(blocks, levels->blocked.base[lane], levels->passing.base[lane]);
    float scale = choose(blocks, levels->blocked.scale[lane], levels->passing.scale[lane]);
    float top = choose(blocks, levels->blocked_top[lane], levels->passing_top[lane]);
    uint32_t first = levels->first_passing[lane] & (0u - passes);
    y[lane] = choose(blocks, 0, y[lane]);
    blocked[lane] += blocks;
    if (capped) {
      base = choose(saturates, levels->saturated.base[lane], base);
      scale = choose(saturates, levels->saturated.scale[lane], scale);
      top = choose(saturates, levels->saturated_top[lane], top);
      first |= levels->first_saturated[lane] & (0u - saturates);
      y[lane] = choose(saturates, tests.cap, y[lane]);
      saturated[lane] += saturates;
    }
    uint32_t code = first + actnn_codec_code(x[lane], base, scale, top, draw[lane]);
    wide[lane] = code < last ? code : last; /* beyond it only in a group that is not finite */
  }
  for (int lane = 0; lane < LANES; lane++)
    codes[lane] = (uint8_t)wide[lane];
}

/* Draws of one row; eight rows share a block. */
static inline void
draw_row(const actnn_tile_work *work, int64_t row, actnn_philox_key key, uint32_t (*draw)[LANES], uint32_t *of_row)
{
  if (row % EIGHT == 0)
    draw_eight(work, row / EIGHT, key, draw);
  for (int lane = 0; lane < LANES; lane++)
    of_row[lane] = DRAW_OF(draw, row % EIGHT, lane);
}

static double
variance_of_step(double step, bool dither)
{
  return step * step / (dither ? 12 : 6);
}

/* blocked, saturated: elements of each lane, of `rows`. */
static void
add_normal_noise(const actnn_tile_work *work, int64_t row, int64_t rows, const normal_lanes *levels, const uint32_t *blocked,
                 const uint32_t *saturated, const actnn_affine *affine, bool dither, actnn_tile_noise *noise)
{
  float scale[LANES];
  channel_lanes(work->codec, row, affine->scale, scale);
  for (int lane = 0; lane < valid_lanes(work->codec, row); lane++) {
    double passing = variance_of_step(levels->passing.step[lane], dither) * (double)(rows - blocked[lane] - saturated[lane]);
    noise->below += variance_of_step(levels->blocked.step[lane], dither) * blocked[lane] +
                    variance_of_step(levels->saturated.step[lane], dither) * saturated[lane];
    noise->above += passing;
    noise->scaled += passing * scale[lane] * scale[lane];
  }
}

static void
normalize(const actnn_tile_work *work, const void *x, const float *mean, const float *rstd, const actnn_affine *affine,
          const actnn_code *code, actnn_philox_key key, void *y, uint8_t *sample, actnn_tile_noise *noise)
{
  static const float zeros[LANES];
  normal_rows tile;
  tile_rows listed;
  uint8_t codes[ACTNN_TILE_ROWS * LANES];
  uint32_t draw[4][LANES] = {{0}}, of_row[LANES];
  normal_header header;
  actnn_tile at = actnn_codec_tile(work->codec, work->tile);
  int64_t rows;
  gather(work, at, x, zeros, tile.x);
  for (int64_t done = 0; done < at.rows; done += rows) {
    rows = rows_of_channel(work->codec, at.first_row + done, at.rows - done);
    normalize_rows(work, at.first_row + done, done, rows, mean, rstd, affine, &tile);
  }
  list_rows(tile.x, at.rows, &listed);
  find_range(&listed, &tile.range);
  write_normal_header(work, at, affine, &tile, sample);
  read_normal_header(work, sample, &header);
  *noise = (actnn_tile_noise){0};
  rectifier_tests tests = tests_of(affine);
  uint32_t last = (uint32_t)code->levels - 1;
  for (int64_t done = 0; done < at.rows; done += rows) {
    normal_lanes levels;
    uint32_t blocked[LANES] = {0}, saturated[LANES] = {0};
    rows = rows_of_channel(work->codec, at.first_row + done, at.rows - done);
    find_normal_levels(work, at.first_row + done, &header, affine, code, &levels);
    for (int64_t row = done; row < done + rows; row++) {
      draw_row(work, row, key, draw, of_row);
      float *x_row = tile.x + row * LANES, *y_row = tile.y + row * LANES;
      if (tests.capped)
        code_normal_row(x_row, y_row, &levels, tests, true, last, of_row, codes + row * LANES, blocked, saturated);
      else
        code_normal_row(x_row, y_row, &levels, tests, false, last, of_row, codes + row * LANES, blocked, saturated);
    }
    add_normal_noise(work, at.first_row + done, rows, &levels, blocked, saturated, affine, code->dither, noise);
  }
  pack_levels(codes, at.rows, code->levels, sample + actnn_codec_code_offset(work->codec, at, code->levels));
  scatter(work, at, tile.y, y);
}

/* ---- Decoding ---------------------------------------------------------------------------------------- */

/* One row of normalized values; passed: all ones where a rectifier let the value pass, else zero. */
static inline void
decode_normal_row(const uint8_t *restrict codes, const normal_lanes *restrict levels, const uint32_t *restrict draw,
                  float *restrict x, uint32_t *restrict passed)
{
  uint32_t wide[LANES];
  for (int lane = 0; lane < LANES; lane++)
    wide[lane] = codes[lane];
  for (int lane = 0; lane < LANES; lane++) {
    uint32_t code = wide[lane], blocks = code < levels->first_passing[lane], saturates = code >= levels->first_saturated[lane];
    uint32_t passes = (1 - blocks) & (1 - saturates);
    float base = choose(blocks, levels->blocked.base[lane], levels->passing.base[lane]);
    float step = choose(blocks, levels->blocked.step[lane], levels->passing.step[lane]);
    float dither = choose(blocks, levels->blocked.dither[lane], levels->passing.dither[lane]);
    base = choose(saturates, levels->saturated.base[lane], base);
    step = choose(saturates, levels->saturated.step[lane], step);
    dither = choose(saturates, levels->saturated.dither[lane], dither);
    uint32_t first = (levels->first_passing[lane] & (0u - passes)) | (levels->first_saturated[lane] & (0u - saturates));
    x[lane] = actnn_codec_value(code - first, base, step, dither, draw[lane]);
    passed[lane] = 0u - passes;
  }
}

static void
decode_normal_rows(const actnn_tile_work *work, int64_t done, int64_t rows, const uint8_t *codes, const normal_lanes *levels,
                   actnn_philox_key key, bool dither, uint32_t (*draw)[LANES], float *x, uint32_t *passed)
{
  uint32_t of_row[LANES] = {0};
  for (int64_t row = done; row < done + rows; row++) {
    if (dither)
      draw_row(work, row, key, draw, of_row);
    decode_normal_row(codes + row * LANES, levels, of_row, x + (row - done) * LANES, passed + (row - done) * LANES);
  }
}

/* A tile being decoded, segment after segment of rows of the same channels. */
typedef struct normal_decoding {
  const actnn_tile_work *work;
  const actnn_code *code;
  const actnn_affine *affine;
  actnn_philox_key key;
  actnn_tile at;
  normal_header header;
  normal_lanes levels;
  uint32_t draw[4][LANES];
  uint8_t codes[ACTNN_TILE_ROWS * LANES];
  float x[ACTNN_TILE_ROWS * LANES];         /* of the segment */
  uint32_t passed[ACTNN_TILE_ROWS * LANES];
} normal_decoding;

static void
open_normal(normal_decoding *decoding, const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code,
            actnn_philox_key key, const actnn_affine *affine)
{
  decoding->work = work;
  decoding->code = code;
  decoding->affine = affine;
  decoding->key = key;
  decoding->at = actnn_codec_tile(work->codec, work->tile);
  read_normal_header(work, sample, &decoding->header);
  read_codes(work, decoding->at, sample, code->levels, decoding->codes);
}

/* Decodes the segment that starts `done` rows into the tile; its rows. */
static int64_t
decode_segment(normal_decoding *decoding, int64_t done)
{
  const actnn_tile_work *work = decoding->work;
  int64_t row = decoding->at.first_row + done, rows = rows_of_channel(work->codec, row, decoding->at.rows - done);
  find_normal_levels(work, row, &decoding->header, decoding->affine, decoding->code, &decoding->levels);
  decode_normal_rows(work, done, rows, decoding->codes, &decoding->levels, decoding->key, decoding->code->dither, decoding->draw,
                     decoding->x, decoding->passed);
  return rows;
}

/* Variance of the codes of a lane that the rectifier lets pass; stochastic rounding's is a mean. */
static double
passing_variance(const normal_decoding *decoding, int lane)
{
  return variance_of_step(decoding->levels.passing.step[lane], decoding->code->dither);
}

/* Saturated elements of each lane of a segment that starts `done` rows into the tile. */
static void
count_saturated(const normal_decoding *decoding, int64_t done, int64_t rows, uint32_t *count)
{
  for (int64_t row = done; row < done + rows; row++)
    for (int lane = 0; lane < LANES; lane++)
      count[lane] += decoding->codes[row * LANES + lane] >= decoding->levels.first_saturated[lane];
}

/* Sets y to the cap where the rectifier held it there. */
static void
saturate(const normal_decoding *decoding, int64_t done, int64_t rows, float *y)
{
  for (int64_t i = done * LANES; i < (done + rows) * LANES; i++)
    if (decoding->codes[i] >= decoding->levels.first_saturated[i % LANES])
      y[i] = decoding->affine->cap;
}

static void
dequantize_affine(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, actnn_philox_key key,
                  const actnn_affine *affine, void *y)
{
  normal_decoding decoding;
  float buffer[ACTNN_TILE_ROWS * LANES], scale[LANES], bias[LANES];
  open_normal(&decoding, work, sample, code, key, affine);
  float *to = place_of_rows(work, decoding.at, y, buffer);
  for (int64_t done = 0, rows; done < decoding.at.rows; done += rows) {
    rows = decode_segment(&decoding, done);
    channel_lanes(work->codec, decoding.at.first_row + done, affine->scale, scale);
    channel_lanes(work->codec, decoding.at.first_row + done, affine->bias, bias);
    for (int64_t row = 0; row < rows; row++)
      for (int lane = 0; lane < LANES; lane++) {
        float value = decoding.x[row * LANES + lane] * scale[lane] + bias[lane];
        uint32_t passed = affine->rectified ? decoding.passed[row * LANES + lane] : UINT32_MAX;
        to[(done + row) * LANES + lane] = actnn_float_of(actnn_bits_of(value) & passed);
      }
    if (tests_of(affine).capped)
      saturate(&decoding, done, rows, to);
  }
  if (to == buffer)
    scatter(work, decoding.at, buffer, y);
}

/* What lanes of a segment add up to. */
typedef struct segment_sums {
  float dy[LANES], projected[LANES], dy_squares[LANES], x_squares[LANES];
  uint32_t passed[LANES];
} segment_sums;

static void
add_segment(const normal_decoding *decoding, int64_t rows, const float *dy, segment_sums *sums)
{
  uint32_t always = decoding->affine->rectified ? 0 : UINT32_MAX;
  for (int64_t row = 0; row < rows; row++)
    for (int lane = 0; lane < LANES; lane++) {
      uint32_t passed = decoding->passed[row * LANES + lane] | always;
      float gradient = actnn_float_of(actnn_bits_of(dy[row * LANES + lane]) & passed);
      float x = actnn_float_of(actnn_bits_of(decoding->x[row * LANES + lane]) & passed);
      sums->dy[lane] += gradient;
      sums->projected[lane] += gradient * x;
      sums->dy_squares[lane] += gradient * gradient;
      sums->x_squares[lane] += x * x;
      sums->passed[lane] += passed & 1;
    }
}

static void
normal_sums(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, actnn_philox_key key,
            const actnn_affine *affine, const void *dy, actnn_normal_sums *sums)
{
  normal_decoding decoding;
  float buffer[ACTNN_TILE_ROWS * LANES];
  open_normal(&decoding, work, sample, code, key, affine);
  const float *from = rows_in_place(work, decoding.at, dy, buffer);
  for (int64_t done = 0, rows; done < decoding.at.rows; done += rows) {
    segment_sums segment;
    actnn_normal_sums *channel = sums + (decoding.at.first_row + done) / work->codec->positions * LANES;
    uint32_t saturated[LANES] = {0};
    rows = decode_segment(&decoding, done);
    memset(&segment, 0, sizeof segment);
    add_segment(&decoding, rows, from + done * LANES, &segment);
    if (tests_of(affine).capped)
      count_saturated(&decoding, done, rows, saturated);
    for (int lane = 0; lane < valid_lanes(work->codec, decoding.at.first_row + done); lane++) {
      double passing = passing_variance(&decoding, lane), count = segment.passed[lane], held = saturated[lane];
      double blocked = variance_of_step(decoding.levels.blocked.step[lane], code->dither);
      channel[lane].dy += segment.dy[lane];
      channel[lane].projected += segment.projected[lane];
      channel[lane].variance += segment.dy_squares[lane] * passing;
      channel[lane].noise += count * passing + ((double)rows - count - held) * blocked +
                             held * variance_of_step(decoding.levels.saturated.step[lane], code->dither);
      channel[lane].passed += count;
      channel[lane].squares += segment.x_squares[lane];
    }
  }
}

static void
normal_pull(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, actnn_philox_key key,
            const actnn_affine *affine, const actnn_pull *pull, const void *dy, void *dx)
{
  normal_decoding decoding;
  float buffer[ACTNN_TILE_ROWS * LANES], other[ACTNN_TILE_ROWS * LANES], factor[LANES], shift[LANES], slope[LANES], correction[LANES];
  open_normal(&decoding, work, sample, code, key, affine);
  const float *from = rows_in_place(work, decoding.at, dy, buffer);
  float *to = place_of_rows(work, decoding.at, dx, other);
  for (int64_t done = 0, rows; done < decoding.at.rows; done += rows) {
    int64_t first = decoding.at.first_row + done;
    rows = decode_segment(&decoding, done);
    channel_lanes(work->codec, first, pull->factor, factor);
    channel_lanes(work->codec, first, pull->shift, shift);
    channel_lanes(work->codec, first, pull->slope, slope);
    for (int lane = 0; lane < LANES; lane++)
      correction[lane] = code->dither ? (float)(1 + passing_variance(&decoding, lane) / pull->count) : 1;
    for (int64_t row = 0; row < rows; row++)
      for (int lane = 0; lane < LANES; lane++) {
        uint32_t passed = affine->rectified ? decoding.passed[row * LANES + lane] : UINT32_MAX;
        float gradient = actnn_float_of(actnn_bits_of(from[(done + row) * LANES + lane]) & passed);
        to[(done + row) * LANES + lane] =
            factor[lane] * (gradient * correction[lane] - shift[lane] - decoding.x[row * LANES + lane] * slope[lane]);
      }
  }
  if (to == other)
    scatter(work, decoding.at, other, dx);
}
