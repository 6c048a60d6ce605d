/* codec.c: coding and decoding one tile. Built once for each instruction set (ACTNN_ISA names the build) from
 * the bodies in codec.h; all builds make the same bytes.
 *
 * Every hot loop runs over the 16 lanes and does eight rows in its body: the compiler turns lanes into
 * vectors, the eight rows of a lane take the eight draws of one random block, and running minima are loaded
 * and stored only once in eight rows.
 */
#include "codec_draw.h"
#include "codec_levels.h"
#include "codec_rows.h"

#include <math.h>

#ifndef ACTNN_ISA
#define ACTNN_ISA scalar
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_OF_(a) #a
#define TEXT_OF(a) TEXT_OF_(a)

/* ---- Ranges -------------------------------------------------------------------------------------- */

static void
find_range(const tile_rows *rows, actnn_tile_range *range)
{
  float buffer[EIGHT * LANES];
  const float *first = eight_rows(rows, 0, buffer);
  for (int lane = 0; lane < LANES; lane++) {
    range->minimum[lane] = range->maximum[lane] = first[lane];
    range->magnitude[lane] = 0;
  }
  for (int64_t eight = 0; eight < eights(rows); eight++) {
    const float *row = eight_rows(rows, eight, buffer);
    for (int lane = 0; lane < LANES; lane++) {
      float minimum = range->minimum[lane], maximum = range->maximum[lane];
      uint32_t magnitude = range->magnitude[lane];
#define WIDEN(k) \
  { \
    float x = row[(k)*LANES + lane]; \
    uint32_t bits = actnn_bits_of(x) & 0x7fffffffu; \
    minimum = x < minimum ? x : minimum; \
    maximum = x > maximum ? x : maximum; \
    magnitude = bits > magnitude ? bits : magnitude; \
  }
      FOR_EIGHT(WIDEN)
#undef WIDEN
      range->minimum[lane] = minimum;
      range->maximum[lane] = maximum;
      range->magnitude[lane] = magnitude;
    }
  }
}

/* One range for all lanes. */
static void
share_range(actnn_tile_range *range)
{
  for (int lane = 1; lane < LANES; lane++) {
    range->minimum[0] = range->minimum[lane] < range->minimum[0] ? range->minimum[lane] : range->minimum[0];
    range->maximum[0] = range->maximum[lane] > range->maximum[0] ? range->maximum[lane] : range->maximum[0];
    range->magnitude[0] =
        range->magnitude[lane] > range->magnitude[0] ? range->magnitude[lane] : range->magnitude[0];
  }
  for (int lane = 1; lane < LANES; lane++) {
    range->minimum[lane] = range->minimum[0];
    range->maximum[lane] = range->maximum[0];
    range->magnitude[lane] = range->magnitude[0];
  }
}

/* Real elements in a lane of a tile's rows: those of the last, incomplete block or row only in its first lanes. */
static int64_t
elements_of_lane(const actnn_tile_work *work, actnn_tile tile, int lane)
{
  const actnn_codec *codec = work->codec;
  if (valid_lanes(codec, tile.first_row + tile.rows - 1) == LANES)
    return tile.rows;
  int64_t count = 0, rows;
  for (int64_t done = 0; done < tile.rows; done += rows) {
    rows = rows_of_channel(codec, tile.first_row + done, tile.rows - done);
    count += lane < valid_lanes(codec, tile.first_row + done) ? rows : 0;
  }
  return count;
}

static void
open_tile(const actnn_tile_work *work, actnn_tile tile, const void *value, const actnn_tile_range *known,
          bool in_eights, float *buffer, tile_rows *rows, actnn_tile_range *range)
{
  float padding[LANES];
  if (work->making) {
    make_rows(work, tile, value, buffer, rows);
  } else {
    choose_padding(work, tile, value, padding);
    read_rows(work, tile, value, padding, in_eights, buffer, rows);
  }
  if (known) {
    *range = *known;
    return;
  }
  find_range(rows, range);
  if (!work->codec->lane_groups)
    share_range(range);
}

/* Positive elements of each lane; those that only fill a tile up do not count. */
static void
count_positives(const actnn_tile_work *work, actnn_tile tile, const tile_rows *rows, int32_t *count)
{
  memset(count, 0, LANES * sizeof *count);
  for (int64_t row = 0; row < tile.rows; row++) {
    int32_t valid = valid_lanes(work->codec, tile.first_row + row);
    for (int lane = 0; lane < LANES; lane++)
      count[lane] += (rows->row[row * LANES + lane] > 0) & (lane < valid);
  }
}

static double
range_of_tile(const actnn_tile_work *work, const void *value, actnn_spacing spacing, actnn_tile_range *found)
{
  float buffer[ACTNN_TILE_ROWS * LANES];
  tile_rows rows;
  actnn_tile_range range;
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  bool counts = spacing == ACTNN_MASKED_LEVELS;
  int32_t positives[LANES];
  double sum = 0;
  open_tile(work, tile, value, NULL, !counts, buffer, &rows, &range);
  if (counts)
    count_positives(work, tile, &rows, positives);
  for (int lane = 0; lane < LANES; lane++) {
    double width = (double)range.maximum[lane] - (counts ? 0 : range.minimum[lane]);
    int64_t count = counts ? positives[lane] : elements_of_lane(work, tile, lane);
    if (range.magnitude[lane] < 0x7f800000u)
      sum += width * width * (double)count;
  }
  if (found)
    *found = range;
  return sum;
}

static double
squares_of_tile(const actnn_tile_work *work, const void *value)
{
  static const float zeros[LANES];
  float buffer[ACTNN_TILE_ROWS * LANES];
  double sum[LANES] = {0}, total = 0;
  tile_rows rows;
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  read_rows(work, tile, value, zeros, false, buffer, &rows);
  for (int64_t row = 0; row < tile.rows; row++)
    for (int lane = 0; lane < LANES; lane++)
      sum[lane] += (double)rows.row[row * LANES + lane] * rows.row[row * LANES + lane];
  for (int lane = 0; lane < LANES; lane++)
    total += sum[lane];
  return total;
}

/* ---- Packing masks ------------------------------------------------------------------------------- */

static void
pack(const uint8_t *codes, size_t count, int bits, uint8_t *packed)
{
  pack_units(codes, count, 1, bits, packed);
}

static void
unpack(const uint8_t *packed, size_t count, int bits, uint8_t *codes)
{
  unpack_units(packed, count, 1, bits, codes);
}

#include "codec_coding.h"
#include "codec_normal_tiles.h"
#include "codec_maps.h"

extern const actnn_codec_kernels JOIN(actnn_codec_, ACTNN_ISA);
const actnn_codec_kernels JOIN(actnn_codec_, ACTNN_ISA) = {
    .name = TEXT_OF(ACTNN_ISA),
    .range = range_of_tile,
    .squares = squares_of_tile,
    .squares_map = squares_map,
    .noise_map = noise_map,
    .quantize = quantize,
    .dequantize = dequantize,
    .select = select_tile,
    .multiply = multiply_tile,
    .normalize = normalize,
    .dequantize_affine = dequantize_affine,
    .normal_sums = normal_sums,
    .normal_pull = normal_pull,
    .pack = pack,
    .unpack = unpack,
};
