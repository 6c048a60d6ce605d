/* codec_rows.h: the rows of a tile, brought together from the value's layout and spread out again. Part of
 * codec.c.
 */
#ifndef ACTNN_CODEC_ROWS_H
#define ACTNN_CODEC_ROWS_H

#include "bfloat_value.h"
#include "making.h"

enum { LANES = ACTNN_LANES, EIGHT = 8 };

/* Rows of a tile as 16 floats each. Up to 7 rows at the end are repeated to fill the last eight. */
typedef struct tile_rows {
  const float *row; /* `whole` eights of rows; NULL: they lie in halves */
  const float *half[2]; /* lanes 0 to 7 and 8 to 15, each a run of rows of 8 */
  int64_t whole;
  int64_t rest; /* rows in `tail`, 0 to 7 */
  float tail[EIGHT * LANES];
} tile_rows;

/* The first lane of a row that holds no element of the value: 16 except in the last channel block. */
static inline int
valid_lanes(const actnn_codec *codec, int64_t row)
{
  int64_t start = (codec->rows_are == ACTNN_FLAT_ROWS ? row : row / codec->positions) * LANES;
  return codec->channels - start < LANES ? (int)(codec->channels - start) : LANES;
}

/* Brings `lanes` (1, 8 or 16) elements of each row, which are `stride` apart in the value from element `at` on, into rows of 16. */
static void
take_rows(const actnn_tile_work *work, const void *value, int64_t at, int64_t stride, int64_t rows, int lanes, float *to)
{
  const float *from = (const float *)value + at;
  const uint16_t *narrow = (const uint16_t *)value + at;
  if (work->reads_bfloat && lanes == LANES) /* sizes that the compiler knows become plain moves */
    for (int64_t row = 0; row < rows; row++)
      for (int lane = 0; lane < LANES; lane++)
        to[row * LANES + lane] = bfloat_widened(narrow[row * stride + lane]);
  else if (work->reads_bfloat)
    for (int64_t row = 0; row < rows; row++)
      for (int lane = 0; lane < lanes; lane++)
        to[row * LANES + lane] = bfloat_widened(narrow[row * stride + lane]);
  else if (lanes == LANES)
    for (int64_t row = 0; row < rows; row++)
      memcpy(to + row * LANES, from + row * stride, LANES * sizeof(float));
  else if (lanes > 1)
    for (int64_t row = 0; row < rows; row++)
      memcpy(to + row * LANES, from + row * stride, LANES / 2 * sizeof(float));
  else
    for (int64_t row = 0; row < rows; row++)
      to[row * LANES] = from[row * stride];
}

/* And back. */
static void
put_rows(const actnn_tile_work *work, const float *from, int64_t rows, int lanes, int64_t stride, void *value, int64_t at)
{
  float *to = (float *)value + at;
  uint16_t *narrow = (uint16_t *)value + at;
  if (work->writes_bfloat && lanes == LANES)
    for (int64_t row = 0; row < rows; row++)
      for (int lane = 0; lane < LANES; lane++)
        narrow[row * stride + lane] = bfloat_rounded(from[row * LANES + lane]);
  else if (work->writes_bfloat)
    for (int64_t row = 0; row < rows; row++)
      for (int lane = 0; lane < lanes; lane++)
        narrow[row * stride + lane] = bfloat_rounded(from[row * LANES + lane]);
  else if (lanes == LANES)
    for (int64_t row = 0; row < rows; row++)
      memcpy(to + row * stride, from + row * LANES, LANES * sizeof(float));
  else if (lanes > 1)
    for (int64_t row = 0; row < rows; row++)
      memcpy(to + row * stride, from + row * LANES, LANES / 2 * sizeof(float));
  else
    for (int64_t row = 0; row < rows; row++)
      to[row * stride] = from[row * LANES];
}

/* Distance in memory between one lane's elements of successive rows of a channel. */
static int64_t
row_stride(const actnn_tile_work *work)
{
  return work->codec->rows_are == ACTNN_FLAT_ROWS      ? LANES
         : work->codec->rows_are == ACTNN_FEATURE_ROWS ? work->codec->channels
                                                       : work->block;
}

/* True where the tile's rows lie one after the other in memory, all lanes of them. */
static bool
is_contiguous(const actnn_tile_work *work, actnn_tile tile)
{
  const actnn_codec *codec = work->codec;
  if (valid_lanes(codec, tile.first_row + tile.rows - 1) < LANES)
    return false;
  return codec->rows_are == ACTNN_FLAT_ROWS ||
         (codec->rows_are == ACTNN_CHANNEL_ROWS && work->block == LANES) ||
         (codec->rows_are == ACTNN_FEATURE_ROWS && codec->channels == LANES);
}

/* Rows from `row` to the end of its channel, at most `rows`. */
static int64_t
rows_of_channel(const actnn_codec *codec, int64_t row, int64_t rows)
{
  int64_t left = codec->rows_are == ACTNN_FLAT_ROWS ? 1 : codec->positions - row % codec->positions;
  return left < rows ? left : rows;
}

/* True where the lanes of the tile's rows are two blocks of 8 channels: no copy of the whole is needed then. */
static bool
is_in_halves(const actnn_tile_work *work, actnn_tile tile)
{
  const actnn_codec *codec = work->codec;
  return codec->rows_are == ACTNN_CHANNEL_ROWS && work->block == LANES / 2 &&
         valid_lanes(codec, tile.first_row) == LANES &&
         rows_of_channel(codec, tile.first_row, tile.rows) == tile.rows;
}

static int64_t
half_start(const actnn_tile_work *work, actnn_tile tile, int half)
{
  return actnn_codec_element(work->codec, work->block, work->sample, tile.first_row, half * (LANES / 2));
}

/* Brings a tile into `buffer`, lanes that hold no element filled with `padding[lane]`. */
static void
gather(const actnn_tile_work *work, actnn_tile tile, const void *value, const float *padding, float *buffer)
{
  const actnn_codec *codec = work->codec;
  int64_t stride = row_stride(work), rows;
  for (int64_t done = 0; done < tile.rows; done += rows) {
    int64_t row = tile.first_row + done;
    float *out = buffer + done * LANES;
    rows = rows_of_channel(codec, row, tile.rows - done);
    int lanes = valid_lanes(codec, row),
        together = codec->rows_are == ACTNN_CHANNEL_ROWS ? work->block : LANES;
    for (int lane = 0; lane < LANES; lane += together) {
      int step = lane + together > lanes ? 1 : together;
      for (int one = lane; one < lane + together && one < lanes; one += step)
        take_rows(work, value, actnn_codec_element(codec, work->block, work->sample, row, one), stride, rows, step, out + one);
      for (int one = lanes > lane ? lanes : lane; one < lane + together; one++)
        for (int64_t each = 0; each < rows; each++)
          out[each * LANES + one] = padding[one];
    }
  }
}

/* The reverse of `gather`; the padding of the last channel block becomes zero. */
static void
scatter(const actnn_tile_work *work, actnn_tile tile, const float *buffer, void *value)
{
  static const float zeros[ACTNN_TILE_ROWS * LANES];
  const actnn_codec *codec = work->codec;
  int64_t stride = row_stride(work), rows;
  for (int64_t done = 0; done < tile.rows; done += rows) {
    int64_t row = tile.first_row + done;
    const float *in = buffer + done * LANES;
    rows = rows_of_channel(codec, row, tile.rows - done);
    int lanes = valid_lanes(codec, row),
        together = codec->rows_are == ACTNN_CHANNEL_ROWS ? work->block : LANES;
    for (int lane = 0; lane < lanes; lane += together) {
      int64_t at = actnn_codec_element(codec, work->block, work->sample, row, lane);
      int step = lane + together > lanes ? 1 : together;
      for (int one = lane; one < lane + together; one += step) {
        if (one < lanes)
          put_rows(work, in + one, rows, step, stride, value, at + one - lane);
        else if (codec->rows_are == ACTNN_CHANNEL_ROWS)
          put_rows(work, zeros, rows, 1, stride, value, at + one - lane);
      }
    }
  }
}

/* What stands in for missing elements: a value that leaves every group's range as it is. */
static void
choose_padding(const actnn_tile_work *work, actnn_tile tile, const void *value, float *padding)
{
  const actnn_codec *codec = work->codec;
  if (valid_lanes(codec, tile.first_row + tile.rows - 1) == LANES)
    return; /* nothing is missing: only a last row or block is incomplete */
  for (int lane = 0; lane < LANES; lane++) {
    int from = codec->lane_groups ? lane : 0;
    int64_t element = actnn_codec_element(codec, work->block, work->sample, tile.first_row, from);
    padding[lane] = 0;
    if (element >= 0)
      take_rows(work, value, element, 0, 1, 1, padding + lane);
  }
}

/* Splits rows into eights and a tail, which is filled up. */
static void
list_tail(int64_t count, tile_rows *rows)
{
  rows->whole = count / EIGHT;
  rows->rest = count % EIGHT;
  for (int64_t row = 0; rows->rest && row < EIGHT; row++) {
    int64_t from = rows->whole * EIGHT + (row < rows->rest ? row : rows->rest - 1);
    for (int half = 0; half < 2; half++)
      memcpy(rows->tail + row * LANES + half * (LANES / 2),
             rows->row ? rows->row + from * LANES + half * (LANES / 2) : rows->half[half] + from * (LANES / 2),
             LANES / 2 * sizeof(float));
  }
}

/* Makes the tile's rows readable, in place if they are so already, in `buffer` (a whole tile) otherwise. in_eights:
 * `eight_rows` is the only reader, so that halves may stay where they are. */
static void
read_rows(const actnn_tile_work *work, actnn_tile tile, const void *value, const float *padding, bool in_eights,
          float *buffer, tile_rows *rows)
{
  rows->row = NULL;
  if (in_eights && !work->reads_bfloat && is_in_halves(work, tile)) {
    for (int half = 0; half < 2; half++)
      rows->half[half] = (const float *)value + half_start(work, tile, half);
  } else if (!work->reads_bfloat && is_contiguous(work, tile)) {
    rows->row = (const float *)value + actnn_codec_element(work->codec, work->block, work->sample, tile.first_row, 0);
  } else {
    gather(work, tile, value, padding, buffer);
    rows->row = buffer;
  }
  list_tail(tile.rows, rows);
}

/* A number for each element of some rows, of a tensor that has one for several. */
static void
spread_numbers(const actnn_tile_work *work, const float *numbers, int64_t each, int64_t row, int64_t rows, float *to)
{
  for (int64_t end = row + rows; row < end; row++, to += LANES) {
    int64_t first = actnn_codec_element(work->codec, work->block, work->sample, row, 0), number = first / each, left = each - first % each;
    int lanes = valid_lanes(work->codec, row);
    for (int lane = 0; lane < LANES; lane++, left--) {
      if (left == 0 && lane < lanes) {
        number++;
        left = each;
      }
      to[lane] = numbers[number];
    }
  }
}

/* Fills lanes that hold no element, as choose_padding and gather do. */
static void
fill_missing(const actnn_codec *codec, actnn_tile tile, float *buffer)
{
  float padding[LANES];
  if (valid_lanes(codec, tile.first_row + tile.rows - 1) == LANES)
    return;
  for (int lane = 0; lane < LANES; lane++) {
    int from = codec->lane_groups ? lane : 0;
    padding[lane] = from < valid_lanes(codec, tile.first_row) ? buffer[from] : 0;
  }
  for (int64_t row = 0; row < tile.rows; row++)
    for (int lane = valid_lanes(codec, tile.first_row + row); lane < LANES; lane++)
      buffer[row * LANES + lane] = padding[lane];
}

/* Makes the tile's rows in `buffer`, eight at a time. */
static void
make_rows(const actnn_tile_work *work, actnn_tile tile, const void *value, float *buffer, tile_rows *rows)
{
  static const float zeros[LANES];
  const actnn_making *making = work->making;
  float other[2][EIGHT * LANES];
  gather(work, tile, value, zeros, buffer);
  for (int64_t done = 0; done < tile.rows; done += EIGHT) {
    int64_t count = tile.rows - done < EIGHT ? tile.rows - done : EIGHT;
    float *row = buffer + done * LANES;
    for (int k = 0; k < making->others; k++)
      spread_numbers(work, making->other[k], making->each, tile.first_row + done, count, other[k]);
    making->loop(count * LANES, row, (const float *const[]){row, other[0], other[1]}, making->attribute);
  }
  fill_missing(work->codec, tile, buffer);
  rows->row = buffer;
  list_tail(tile.rows, rows);
}

/* Rows that lie one after the other anyway. */
static void
list_rows(const float *row, int64_t count, tile_rows *rows)
{
  rows->row = row;
  list_tail(count, rows);
}

/* Eight rows one after the other: where they lie, or in `buffer`. */
static inline const float *
eight_rows(const tile_rows *rows, int64_t eight, float *restrict buffer)
{
  if (eight >= rows->whole)
    return rows->tail;
  if (rows->row)
    return rows->row + eight * EIGHT * LANES;
  for (int half = 0; half < 2; half++)
    for (int row = 0; row < EIGHT; row++)
      memcpy(buffer + row * LANES + half * (LANES / 2), rows->half[half] + (eight * EIGHT + row) * (LANES / 2),
             LANES / 2 * sizeof(float));
  return buffer;
}

static inline int64_t
eights(const tile_rows *rows)
{
  return rows->whole + (rows->rest > 0);
}

#endif
