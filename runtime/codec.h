/* codec.h: what a coded value is: its geometry, its headers, its codes and where each lies. The only
 * definition; the C kernels (codec.c), their CUDA counterparts and the planner (stash.c) all use these
 * bodies.
 *
 * A saved value of N samples is seen, sample by sample, as rows of 16 lanes:
 *   ACTNN_CHANNEL_ROWS  BLOCKED N x C x P: row = block of 16 channels * P + position, lane = channel % 16
 *   ACTNN_FEATURE_ROWS  PLAIN N x ... x C, C % 16 = 0: the same, element (p, c) at p * C + c of the sample
 *   ACTNN_FLAT_ROWS     any other PLAIN value: 16 consecutive elements, the last row padded
 * Rows are cut into tiles of at most 256, the unit of work. A tile has one group a lane (`lane_groups`: every
 * channel its own range) or one group altogether (16 rows of a small or flat value). A group's header holds
 * what its levels follow from, as bfloat16 rounded outward before anything is coded, so that no value is out
 * of range.
 *
 * A code is the number of one of 2 to 256 levels. Rounding is random and unbiased either way:
 *   stochastic  the two levels around a value are drawn so that the expectation is the value
 *   dither      the same code, but decoding draws the same random number again and takes it off: the error is
 *               uniform on one step, independent of the value, its variance step^2 / 12 (compression.md, 5)
 *
 * In memory: sample after sample; of a sample all headers, then tile after tile the bit planes of its codes,
 * several codes to a symbol where their number of levels is no power of two. The layout does not depend on the
 * channel block, so the same value has the same bytes everywhere.
 *
 * gcc, clang and nvcc compile this header, codec_values.h, which has headers' and codes' arithmetic, and codec_normal.h.
 */
#ifndef ACTNN_CODEC_H
#define ACTNN_CODEC_H

#include "actnn.h"
#include "philox.h"

enum {
  ACTNN_LANES = 16,
  ACTNN_TILE_ROWS = 256,       /* most rows of a tile */
  ACTNN_SHARED_ROWS = 16,      /* rows of a tile with one group altogether: 256 elements */
  ACTNN_LANE_GROUP_ROWS = 128, /* a sample of fewer rows shares headers: lane headers would cost too much */
  ACTNN_MAX_BITS = 8,
  ACTNN_PACK_CHUNK = 32768 /* elements that actnn_PackBits packs together */
};

typedef enum actnn_rows { ACTNN_CHANNEL_ROWS, ACTNN_FEATURE_ROWS, ACTNN_FLAT_ROWS } actnn_rows;

/* Where the levels of a group lie (actnn_spacing):
 *   EVEN    from the minimum in steps to the maximum; header: minimum, step
 *   FIXED   the same over a range known beforehand; no header
 *   MASKED  of a value that is never negative: code 0 is zero itself, the others go in steps from 0 to the
 *           maximum, so that the code tells exactly what is positive; header: step
 *   SQUARE  of a value that is never negative: q^2 steps, up to the maximum; header: step
 *   NORMAL  of a normalized value: some levels on either side of where a rectifier after scale and bias lets
 *           it pass, and of where it saturates; header: minimum, maximum (codec_normal.h) */

/* How one sample is coded. */
typedef struct actnn_code {
  actnn_spacing spacing;
  bool dither;
  int levels;      /* 2 to 256; NORMAL and MASKED: those of both sides */
  float low, high; /* FIXED: the range */
} actnn_code;

/* Codes of so many levels are packed `together` into one symbol of `bits` bits. */
typedef struct actnn_packing {
  int together, bits;
} actnn_packing;

/* The geometry of a coded value. A sample's rows form `runs` runs of run_rows rows; each run is cut into
 * tiles of tile_rows rows, the last one shorter. */
typedef struct actnn_codec {
  actnn_rows rows_are;
  bool lane_groups;
  int64_t samples, channels, positions; /* flat: channels is the sample's length, positions 1 */
  int64_t rows;                         /* a sample's */
  int64_t runs, run_rows, tile_rows, run_tiles;
  int header_words; /* of 16 bits, of a group */
} actnn_codec;

typedef struct actnn_header {
  uint16_t base, step;
} actnn_header;

/* A header, decoded: a code q means base + q * step, and dithering takes step / 65536 for each unit of the draw.
 * scale: 65536 / step, by which values are coded; 0 where that is beyond a float. */
typedef struct actnn_group {
  float base, step, scale, dither;
} actnn_group;

typedef struct actnn_tile {
  int64_t first_row, rows; /* within the sample */
  int64_t run, in_run;
} actnn_tile;

/* ---- Sizes (stash.c) ----------------------------------------------------------------------------- */

/* The numbers of levels that a sample may have, in order; 0 beyond the last. */
enum { ACTNN_LEVEL_CHOICES = 12 };
int actnn_choice_levels(int choice);
/* "even", "fixed", ..; NULL beyond the last. */
const char *actnn_spacing_name(int spacing);
/* The fewest levels that code without bias: 2, and one more where a level is kept for zero; on both sides of each of a
 * rectifier's thresholds 2. cap: as actnn_affine has it. */
int actnn_least_levels(actnn_spacing spacing, bool rectified, float cap);
/* Fills *codec for a value of these extents; 0, or 1 when they make no sense (negative, or too large to
 * address). */
int actnn_codec_geometry(actnn_codec *codec, const int64_t *dim, int rank, actnn_layout layout,
                         actnn_spacing spacing);
/* Bytes of one sample coded with this many levels, a multiple of 4. */
uint64_t actnn_codec_sample_bytes(const actnn_codec *codec, int levels);
/* Bytes to reserve so that every sample has at least this many levels: a multiple of ACTNN_ALIGNMENT;
 * UINT64_MAX when the extents or the levels make no sense. */
uint64_t actnn_stash_bytes(const int64_t *dim, int rank, actnn_layout layout, actnn_spacing spacing, int levels);
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
actnn_codec_tile_of_run(const actnn_codec *codec, int64_t run, int64_t in_run)
{
  int64_t start = in_run * codec->tile_rows, rest = codec->run_rows - start;
  actnn_tile tile = {run * codec->run_rows + start, rest < codec->tile_rows ? rest : codec->tile_rows, run, in_run};
  return tile;
}

static inline ACTNN_DEVICE actnn_tile
actnn_codec_tile(const actnn_codec *codec, int64_t index)
{
  return actnn_codec_tile_of_run(codec, index / codec->run_tiles, index % codec->run_tiles);
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
  uint64_t words = (uint64_t)(actnn_codec_tiles(codec) * actnn_codec_tile_headers(codec)) * (uint64_t)codec->header_words;
  return (words + 1) / 2 * 2 * sizeof(uint16_t);
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

/* As many codes to a symbol of at most 8 bits as take the fewest bits each: 3 levels five to 8 bits, 5 levels
 * three to 7, 6 three to 8, 11 two to 7; powers of two one by one. */
static inline ACTNN_DEVICE actnn_packing
actnn_codec_packing(int levels)
{
  actnn_packing best = {1, 1};
  while (1 << best.bits < levels)
    best.bits++;
  int symbols = levels, bits = best.bits;
  for (int together = 2; symbols * levels <= 256; together++) {
    symbols *= levels;
    while (1 << bits < symbols)
      bits++;
    if (bits * best.together < best.bits * together)
      best = (actnn_packing){together, bits};
  }
  return best;
}

/* Bytes of the codes of a tile with this many rows. */
static inline ACTNN_DEVICE uint64_t
actnn_codec_code_bytes(int64_t rows, int levels)
{
  actnn_packing packing = actnn_codec_packing(levels);
  int64_t symbols = (rows + packing.together - 1) / packing.together;
  uint64_t bytes = 0;
  for (int left = packing.bits; left > 0; left -= actnn_codec_plane_width(left))
    bytes += (uint64_t)actnn_codec_plane_rows(symbols, actnn_codec_plane_width(left)) * ACTNN_LANES;
  return bytes;
}

/* Bytes of the codes of a run's tiles. */
static inline ACTNN_DEVICE uint64_t
actnn_codec_run_bytes(const actnn_codec *codec, int levels)
{
  int64_t last_rows = codec->run_rows - (codec->run_tiles - 1) * codec->tile_rows;
  return (uint64_t)(codec->run_tiles - 1) * actnn_codec_code_bytes(codec->tile_rows, levels) + actnn_codec_code_bytes(last_rows, levels);
}

/* Where a tile's codes start, from the start of its sample. */
static inline ACTNN_DEVICE uint64_t
actnn_codec_code_offset(const actnn_codec *codec, actnn_tile tile, int levels)
{
  return actnn_codec_header_bytes(codec) + (uint64_t)tile.run * actnn_codec_run_bytes(codec, levels) +
         (uint64_t)tile.in_run * actnn_codec_code_bytes(codec->tile_rows, levels);
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

/* ---- Kernels on a tile (codec.c), one table for each instruction set ------------------------------ */

/* What a tile's kernel works on. */
typedef struct actnn_tile_work {
  const actnn_codec *codec;
  int block; /* channel block of the value's layout */
  int64_t sample, tile;
  bool reads_bfloat, writes_bfloat; /* of tensors with the value's extents, the one read, the one written, is held as bfloat16 */
  const struct actnn_making *making; /* `range` and `quantize`: what makes the value of what is read (making.h); NULL: that is the value */
} actnn_tile_work;

/* The extreme values of each lane of a tile; where all lanes are one group, all have the group's. */
typedef struct actnn_tile_range {
  float minimum[ACTNN_LANES], maximum[ACTNN_LANES];
  uint32_t magnitude[ACTNN_LANES]; /* largest bits without the sign: tells infinities and NaN */
} actnn_tile_range;

/* Variance that rounding adds, summed over a tile's elements: of what a rectifier blocks or holds at its cap (which
 * matters only to normalization), of all others, and of those once more times the squared scale that follows a
 * normalized value. */
typedef struct actnn_tile_noise {
  double below, above, scaled;
} actnn_tile_noise;

/* What follows a normalized value: y = scale * x + bias, then a rectifier or not; one number a channel. cap: what the
 * rectifier lets through at most; 0: anything. */
typedef struct actnn_affine {
  const float *scale, *bias;
  bool rectified;
  float cap;
} actnn_affine;

/* Sums over a channel's elements, x being the normalized value; dy counts where the rectifier passed x. */
typedef struct actnn_normal_sums {
  double dy, projected; /* of dy, and of dy * x */
  double variance;      /* that the code gives the latter */
  double noise;         /* of the codes' variances */
  double passed;        /* elements that the rectifier passed */
  double squares;       /* of their x */
} actnn_normal_sums;

/* What a normalization's gradient needs of its channels: dx = factor * (dy * (1 + noise / count) - shift - x *
 * slope), x being the normalized value and noise the variance of its code, which dy * x was multiplied by. */
typedef struct actnn_pull {
  const float *factor, *shift, *slope;
  float count;
} actnn_pull;

typedef struct actnn_codec_kernels {
  const char *name;
  /* Sum over the tile's groups of elements * (maximum - minimum)^2, of masked levels positive elements *
   * maximum^2; 0 for groups that are not finite. found: NULL, or gets the extreme values. */
  double (*range)(const actnn_tile_work *work, const void *value, actnn_spacing spacing, actnn_tile_range *found);
  /* Sum of the squares of the tile's elements. */
  double (*squares)(const actnn_tile_work *work, const void *value);
  /* The same, added to the positions that the tile's rows belong to: `map` has codec->positions numbers. */
  void (*squares_map)(const actnn_tile_work *work, const void *value, double *map);
  /* Likewise the variances of the tile's codes, of normal levels those of y; of others those after a scale of each channel, if
   * affine has one. Stochastic rounding's is a mean. */
  void (*noise_map)(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, const actnn_affine *affine,
                    double *map);
  /* Codes the tile into its sample's bytes. known: NULL, or what `range` found. exact_noise: stochastic
   * rounding's variance is counted element by element, which takes longer; otherwise its mean is taken. */
  void (*quantize)(const actnn_tile_work *work, const void *value, const actnn_code *code, actnn_philox_key key,
                   uint8_t *sample, const actnn_tile_range *known, bool exact_noise, actnn_tile_noise *noise);
  void (*dequantize)(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code,
                     actnn_philox_key key, void *value);
  /* Of masked levels: dx = dy where the value is positive, else 0. dx may be dy. */
  void (*select)(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, const void *dy,
                 void *dx);
  /* dx = dy times the value. dx may be dy. */
  void (*multiply)(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, actnn_philox_key key, const void *dy,
                   void *dx);
  /* Normalizes a tile, (x - mean) * rstd, codes that, and writes y; y may be x. mean, rstd: one a channel. */
  void (*normalize)(const actnn_tile_work *work, const void *x, const float *mean, const float *rstd,
                    const actnn_affine *affine, const actnn_code *code, actnn_philox_key key, void *y,
                    uint8_t *sample, actnn_tile_noise *noise);
  /* y, and the rectifier's result if there is one, from the code of the normalized value. */
  void (*dequantize_affine)(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code,
                            actnn_philox_key key, const actnn_affine *affine, void *y);
  /* Adds a tile's sums to those of its channels, `sums` of the sample's first channel. */
  void (*normal_sums)(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code,
                      actnn_philox_key key, const actnn_affine *affine, const void *dy, actnn_normal_sums *sums);
  /* dx from dy; dx may be dy. */
  void (*normal_pull)(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code,
                      actnn_philox_key key, const actnn_affine *affine, const actnn_pull *pull, const void *dy,
                      void *dx);
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
