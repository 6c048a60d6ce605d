/* codec.h: what a coded value is: its geometry, its headers, its codes and where each lies. The only
 * definition; the C kernels (codec.c), their CUDA counterparts and the planner (stash.c) all use these
 * bodies.
 *
 * A saved value of N samples is seen, sample by sample, as rows of 16 lanes:
 *   ACTNN_CHANNEL_ROWS  BLOCKED N x C x P: row = block of 16 channels * P + position, lane = channel % 16
 *   ACTNN_FEATURE_ROWS  PLAIN N x ... x C, C % 16 = 0: the same, element (p, c) at p * C + c of the sample
 *   ACTNN_FLAT_ROWS     any other PLAIN value: 16 consecutive elements, the last row padded
 * Rows are cut into tiles of at most 256, the unit of work. A tile has one group a lane (`lane_groups`: every
 * channel its own range) or one group altogether (16 rows of a small or flat value). A group's minimum and
 * step are stored as bfloat16, rounded outward before anything is coded, so that no value is out of range.
 *
 * Code q of M = 2^bits levels means minimum + q * step; q is drawn so that its expectation is the value.
 * In memory: sample after sample; of a sample all headers, then tile after tile the bit planes of its codes.
 * The layout does not depend on the channel block, so the same value has the same bytes everywhere.
 *
 * gcc, clang and nvcc compile this header. Arithmetic is spelled out so that no compiler contracts a
 * multiplication and an addition into one rounding: every build makes the same bytes (C files need
 * -ffp-contract=off).
 */
#ifndef ACTNN_CODEC_H
#define ACTNN_CODEC_H

#include "actnn.h"
#include "philox.h"

#include <string.h>

enum {
  ACTNN_LANES = 16,
  ACTNN_TILE_ROWS = 256,       /* most rows of a tile */
  ACTNN_SHARED_ROWS = 16,      /* rows of a tile with one group altogether: 256 elements */
  ACTNN_LANE_GROUP_ROWS = 128, /* a sample of fewer rows shares headers: lane headers would cost too much */
  ACTNN_MAX_BITS = 8,
  ACTNN_PACK_CHUNK = 32768 /* elements that actnn_PackBits packs together */
};

typedef enum actnn_rows { ACTNN_CHANNEL_ROWS, ACTNN_FEATURE_ROWS, ACTNN_FLAT_ROWS } actnn_rows;

/* The geometry of a coded value. A sample's rows form `runs` runs of run_rows rows; each run is cut into
 * tiles of tile_rows rows, the last one shorter. */
typedef struct actnn_codec {
  actnn_rows rows_are;
  bool lane_groups;
  int64_t samples, channels, positions; /* flat: channels is the sample's length, positions 1 */
  int64_t rows;                         /* a sample's */
  int64_t runs, run_rows, tile_rows, run_tiles;
} actnn_codec;

typedef struct actnn_header {
  uint16_t base, step;
} actnn_header;

/* A header, decoded. scale: 65536 / step, by which values are coded; 0 where that is beyond a float. */
typedef struct actnn_group {
  float base, step, scale;
} actnn_group;

typedef struct actnn_tile {
  int64_t first_row, rows; /* within the sample */
  int64_t run, in_run;
} actnn_tile;

/* ---- Sizes (stash.c) ----------------------------------------------------------------------------- */

/* Fills *codec for a value of these extents; 0, or 1 when they make no sense (negative, or too large to
 * address). */
int actnn_codec_geometry(actnn_codec *codec, const int64_t *dim, int rank, actnn_layout layout);
/* Bytes of one coded sample at 1 to 8 bits, a multiple of 4. */
uint64_t actnn_codec_sample_bytes(const actnn_codec *codec, int bits);
/* The most bits, at least `bits`, that take no more bytes: planes of very few rows are partly empty. */
int actnn_codec_widest(const actnn_codec *codec, int bits);
/* Bytes to reserve for a value whose samples are coded with `bits` on average, 1 to 8 and any fraction: a
 * multiple of ACTNN_ALIGNMENT; UINT64_MAX when the extents or the bits make no sense. */
uint64_t actnn_stash_bytes(const int64_t *dim, int rank, actnn_layout layout, double bits);
/* Bytes of a value of one-byte elements below 2^bits that actnn_PackBits packs, for any channel block;
 * UINT64_MAX on extents that make no sense. */
uint64_t actnn_packed_bytes(const int64_t *dim, int rank, actnn_layout layout, int bits);
/* The same for so many elements: they are packed in chunks, each into its own planes. */
uint64_t actnn_pack_bytes(uint64_t elements, int bits);

/* ---- Places -------------------------------------------------------------------------------------- */

static inline ACTNN_DEVICE int64_t
actnn_codec_tiles(const actnn_codec *codec)
{
  return codec->runs * codec->run_tiles;
}

static inline ACTNN_DEVICE actnn_tile
actnn_codec_tile(const actnn_codec *codec, int64_t index)
{
  actnn_tile tile;
  tile.run = index / codec->run_tiles;
  tile.in_run = index % codec->run_tiles;
  int64_t start = tile.in_run * codec->tile_rows;
  tile.first_row = tile.run * codec->run_rows + start;
  tile.rows = codec->run_rows - start < codec->tile_rows ? codec->run_rows - start : codec->tile_rows;
  return tile;
}

/* Headers of one tile. */
static inline ACTNN_DEVICE int64_t
actnn_codec_tile_headers(const actnn_codec *codec)
{
  return codec->lane_groups ? ACTNN_LANES : 1;
}

/* Bytes of all headers of a sample, which come before its codes. */
static inline ACTNN_DEVICE uint64_t
actnn_codec_header_bytes(const actnn_codec *codec)
{
  return (uint64_t)(actnn_codec_tiles(codec) * actnn_codec_tile_headers(codec)) * sizeof(actnn_header);
}

/* Rows of bytes in a plane of codes `width` bits wide (1, 2, 4 or 8) over this many rows: byte row i holds
 * rows i, i + R, i + 2R and so on, R being this number, the first in the lowest bits. */
static inline ACTNN_DEVICE int64_t
actnn_codec_plane_rows(int64_t rows, int width)
{
  int64_t in_a_byte = 8 / width;
  return (rows + in_a_byte - 1) / in_a_byte;
}

/* The width of a code's first plane, which holds its lowest bits; the next holds those of the rest.
 * 3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2, 7 = 4 + 2 + 1. */
static inline ACTNN_DEVICE int
actnn_codec_plane_width(int bits)
{
  return bits >= 8 ? 8 : bits >= 4 ? 4 : bits >= 2 ? 2 : 1;
}

/* Bytes of the codes of a tile with this many rows. */
static inline ACTNN_DEVICE uint64_t
actnn_codec_code_bytes(int64_t rows, int bits)
{
  uint64_t bytes = 0;
  for (int left = bits; left > 0; left -= actnn_codec_plane_width(left))
    bytes += (uint64_t)actnn_codec_plane_rows(rows, actnn_codec_plane_width(left)) * ACTNN_LANES;
  return bytes;
}

/* Where a tile's codes start, from the start of its sample. */
static inline ACTNN_DEVICE uint64_t
actnn_codec_code_offset(const actnn_codec *codec, actnn_tile tile, int bits)
{
  int64_t last_rows = codec->run_rows - (codec->run_tiles - 1) * codec->tile_rows;
  uint64_t full = actnn_codec_code_bytes(codec->tile_rows, bits);
  uint64_t run = (uint64_t)(codec->run_tiles - 1) * full + actnn_codec_code_bytes(last_rows, bits);
  return actnn_codec_header_bytes(codec) + (uint64_t)tile.run * run + (uint64_t)tile.in_run * full;
}

/* The place in the value, counted in elements, of a lane of a row; -1 where there is no such element in
 * memory, or it is the padding of the last channel block, which is always zero. block: the layout's channel
 * block (1, 8 or 16). */
static inline ACTNN_DEVICE int64_t
actnn_codec_element(const actnn_codec *codec, int block, int64_t sample, int64_t row, int lane)
{
  if (codec->rows_are == ACTNN_FLAT_ROWS) {
    int64_t element = row * ACTNN_LANES + lane;
    return element < codec->channels ? sample * codec->channels + element : -1;
  }
  int64_t channel = row / codec->positions * ACTNN_LANES + lane, position = row % codec->positions;
  if (channel >= codec->channels)
    return -1;
  if (codec->rows_are == ACTNN_FEATURE_ROWS)
    return (sample * codec->positions + position) * codec->channels + channel;
  int64_t blocks = (codec->channels + block - 1) / block;
  return ((sample * blocks + channel / block) * codec->positions + position) * block + channel % block;
}

/* ---- Random draws -------------------------------------------------------------------------------- */

/* The counter whose 128 bits are the 16-bit draws of eight rows of one lane: 8 * eight to 8 * eight + 7 of
 * the tile. Row 8 * eight + k takes bits 16 * k and up. */
static inline ACTNN_DEVICE actnn_philox_block
actnn_codec_counter(int64_t sample, int64_t tile_index, int64_t eight, int lane)
{
  actnn_philox_block counter;
  counter.word[0] = (uint32_t)(eight * ACTNN_LANES + lane);
  counter.word[1] = (uint32_t)tile_index;
  counter.word[2] = (uint32_t)sample;
  counter.word[3] = (uint32_t)((uint64_t)sample >> 32) ^ 0x436f6465u; /* a domain of its own */
  return counter;
}

/* ---- Arithmetic that is never contracted --------------------------------------------------------- */

#ifdef __CUDA_ARCH__
#define ACTNN_TIMES(a, b) __fmul_rn((a), (b))
#define ACTNN_PLUS(a, b) __fadd_rn((a), (b))
#define ACTNN_MINUS(a, b) __fsub_rn((a), (b))
#define ACTNN_OVER(a, b) __fdiv_rn((a), (b))
#else
#define ACTNN_TIMES(a, b) ((a) * (b))
#define ACTNN_PLUS(a, b) ((a) + (b))
#define ACTNN_MINUS(a, b) ((a) - (b))
#define ACTNN_OVER(a, b) ((a) / (b))
#endif

static inline ACTNN_DEVICE uint32_t
actnn_bits_of(float value)
{
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline ACTNN_DEVICE float
actnn_float_of(uint32_t bits)
{
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline ACTNN_DEVICE bool
actnn_is_finite(float value)
{
  return (actnn_bits_of(value) & 0x7fffffffu) < 0x7f800000u;
}

/* ---- Headers ------------------------------------------------------------------------------------- */

/* Bits of bfloat16 numbers. With the sign of its step set, a header holds a float but for the lowest bit, and
 * the codes hold that. */
enum {
  ACTNN_CODEC_POISON = 0x7fc0,   /* NaN: a group that decodes as NaN */
  ACTNN_CODEC_CONSTANT = 0x8000, /* the sign */
  ACTNN_CODEC_ONE = 0x3f80,
  ACTNN_CODEC_LEAST = 0x0800 /* 2^-111, the smallest step: 65536 of its inverse are still a float */
};

/* The header of a group with these extreme values, coded with `top` + 1 levels; `finite`: none of its values
 * is infinite or NaN. The minimum is rounded down and the step up, so that base + top * step >= maximum as
 * decoded.
 * - A group whose values are all the same is stored without loss: its header is that float's bits. (Zero
 *   loses its sign, and a value below 2^-88 may lose its lowest bit.)
 * - A group that is not finite, or whose rounded range overflows, becomes NaN: the step reports it. */
static inline ACTNN_DEVICE actnn_header
actnn_codec_header(float minimum, float maximum, float top, bool finite)
{
  actnn_header header;
  header.base = ACTNN_CODEC_POISON;
  header.step = ACTNN_CODEC_POISON;
  if (!finite)
    return header;
  uint32_t bits = actnn_bits_of(minimum);
  if (minimum == maximum) {
    header.base = (uint16_t)(bits >> 16);
    /* Zeros are common: any step does, and a denormal one would be slow. */
    header.step =
        minimum == 0 ? (uint16_t)ACTNN_CODEC_ONE : (uint16_t)(ACTNN_CODEC_CONSTANT | (bits >> 1 & 0x7fffu));
    return header;
  }
  uint32_t down = (minimum < 0 ? bits + 0xffffu : bits) >> 16;
  float base = actnn_float_of(down << 16);
  float range = ACTNN_MINUS(maximum, base);
  uint32_t up = (actnn_bits_of(ACTNN_OVER(range, top)) + 0xffffu) >> 16;
  if (up < ACTNN_CODEC_LEAST)
    up = ACTNN_CODEC_LEAST;
  float reach = ACTNN_TIMES(top, actnn_float_of(up << 16));
  /* One bfloat16 more makes up for any rounding of the range: 2^-8 against 2^-23. */
  if (reach < range || ACTNN_PLUS(base, reach) < maximum)
    up++;
  reach = ACTNN_TIMES(top, actnn_float_of(up << 16));
  if (!actnn_is_finite(base) || !actnn_is_finite(range) || !actnn_is_finite(ACTNN_PLUS(base, reach)))
    return header;
  header.base = (uint16_t)down;
  header.step = (uint16_t)up;
  return header;
}

/* For a constant group: base is the float with its lowest bit cleared and step what that bit is worth, so
 * that codes and values are made as for any other group. */
static inline ACTNN_DEVICE actnn_group
actnn_codec_group(actnn_header header)
{
  actnn_group group;
  uint32_t base = (uint32_t)header.base << 16;
  if (header.step & ACTNN_CODEC_CONSTANT) {
    base |= (uint32_t)(header.step & 0x7fffu) << 1;
    group.base = actnn_float_of(base);
    group.step = ACTNN_MINUS(actnn_float_of(base | 1), group.base);
  } else {
    group.base = actnn_float_of(base);
    group.step = actnn_float_of((uint32_t)header.step << 16);
  }
  float scale = ACTNN_OVER(65536.0f, group.step);
  group.scale = actnn_is_finite(scale) ? scale : 0;
  return group;
}

/* ---- Codes --------------------------------------------------------------------------------------- */

/* The code of a value: its place among the levels in units of 1 / 65536, to which the 16-bit draw is added
 * before the fraction is dropped. So it is rounded up with the probability of its fraction: the expectation
 * is the value, but for 2^-17 of a step (the draw's resolution; rounded to nearest by the 0.499, which keeps
 * off ties) and for the rounding of the two float operations, 2^-22 of the group's range. A value on a level
 * stays there when the place is found exactly, as it is at the minimum. A place is at most `top`, up to that
 * rounding; the guards are for it and for NaN. */
static inline ACTNN_DEVICE uint32_t
actnn_codec_code(float value, float base, float scale, float top, uint32_t draw)
{
  float most = ACTNN_TIMES(top, 65536.0f), place = ACTNN_TIMES(ACTNN_MINUS(value, base), scale);
  place = place > 0 ? place : 0;
  place = place < most ? place : most;
  return ((uint32_t)(int32_t)ACTNN_PLUS(place, 0.499f) + draw) >> 16;
}

static inline ACTNN_DEVICE float
actnn_codec_value(uint32_t code, float base, float step)
{
  return ACTNN_PLUS(base, ACTNN_TIMES((float)(int32_t)code, step));
}

/* ---- Kernels on a tile (codec.c), one table for each instruction set ------------------------------ */

/* What a tile's kernel works on. */
typedef struct actnn_tile_work {
  const actnn_codec *codec;
  int block; /* channel block of the value's layout */
  int64_t sample, tile;
} actnn_tile_work;

/* The extreme values of each lane of a tile; where all lanes are one group, all have the group's. */
typedef struct actnn_tile_range {
  float minimum[ACTNN_LANES], maximum[ACTNN_LANES];
  uint32_t magnitude[ACTNN_LANES]; /* largest bits without the sign: tells infinities and NaN */
} actnn_tile_range;

typedef struct actnn_codec_kernels {
  const char *name;
  /* Sum over the tile's groups of elements * (maximum - minimum)^2; 0 for groups that are not finite. found: NULL,
   * or gets the extreme values. */
  double (*range)(const actnn_tile_work *work, const float *value, actnn_tile_range *found);
  /* Sum of the squares of the tile's elements. */
  double (*squares)(const actnn_tile_work *work, const float *value);
  /* Codes the tile into its sample's bytes; the tile's range, as above, goes to *range. known: NULL, or what
   * `range` found. noise: NULL, or gets the variance that rounding adds, sum of p (1 - p) step^2 over elements. */
  void (*quantize)(const actnn_tile_work *work, const float *value, int bits, actnn_philox_key key,
                   uint8_t *sample, const actnn_tile_range *known, double *range, double *noise);
  void (*dequantize)(const actnn_tile_work *work, const uint8_t *sample, int bits, float *value);
  /* Packs the low `bits` bits of `count` bytes into planes, each ceil(count / (8 / width)) bytes; and back.
   */
  void (*pack)(const uint8_t *codes, size_t count, int bits, uint8_t *packed);
  void (*unpack)(const uint8_t *packed, size_t count, int bits, uint8_t *codes);
} actnn_codec_kernels;

/* The best table for this processor; `actnn_codec_kernels_named` ("scalar", "avx2", "avx512") gives NULL for
 * one that it cannot run (codec_choice.c). */
const actnn_codec_kernels *actnn_codec_best_kernels(void);
const actnn_codec_kernels *actnn_codec_kernels_named(const char *name);

#endif
