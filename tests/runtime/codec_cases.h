/* codec_cases.h: values, shapes and numbers of levels that the codec is tried with, and what codec.h says that its bytes mean,
 * one element at a time. */
#ifndef ACTNN_CODEC_CASES_H
#define ACTNN_CODEC_CASES_H

#include "codec_values.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const builds[] = {"scalar", "avx2", "avx512"};
static const char *const spacing_names[ACTNN_SPACINGS] = {"even", "fixed", "masked", "square", "normal"};
static uint64_t random_state = 1;

static inline uint32_t
random_bits(void)
{
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 32);
}

static inline float
random_normal(void)
{
  double a = (random_bits() + 1.0) / 4294967297.0, b = random_bits() / 4294967296.0;
  return (float)(sqrt(-2 * log(a)) * cos(6.283185307179586 * b));
}

static inline float
random_float(void)
{
  float value = actnn_float_of(random_bits());
  return actnn_is_finite(value) ? value : 1;
}

/* Memory with a margin that nobody may write. */
enum { MARGIN = 64, UNTOUCHED = 0x5a };

static inline void *
allocate(size_t bytes)
{
  void *memory = malloc(bytes + MARGIN);
  if (!memory)
    exit(1);
  memset(memory, UNTOUCHED, bytes + MARGIN); /* what is not written is noticed */
  return memory;
}

static inline bool
is_margin_intact(const void *memory, size_t bytes)
{
  const uint8_t *margin = (const uint8_t *)memory + bytes;
  for (int i = 0; i < MARGIN; i++)
    if (margin[i] != UNTOUCHED)
      return false;
  return true;
}

/* ---- A value in its layouts ---------------------------------------------------------------------- */

typedef struct shape {
  const char *what;
  actnn_layout layout;
  int rank;
  int64_t dim[5];
} shape;

typedef struct coded {
  actnn_codec codec;
  actnn_code code;
  int block;
  uint64_t bytes;  /* of a sample */
  size_t elements; /* in memory with this channel block */
  uint8_t *stash;
  float *value, *back;
} coded;

static inline size_t
memory_elements(const actnn_codec *codec, int block)
{
  int64_t channels =
      codec->rows_are == ACTNN_CHANNEL_ROWS ? (codec->channels + block - 1) / block * block : codec->channels;
  return (size_t)(codec->samples * channels * codec->positions);
}

/* The logical element at a row and lane of a sample: the same for every layout. */
static inline float
element_value(int64_t sample, int64_t row, int lane, const actnn_code *code)
{
  actnn_philox_block counter = {{(uint32_t)sample, (uint32_t)row, (uint32_t)lane, 0}};
  actnn_philox_block bits = actnn_philox(counter, (actnn_philox_key){{1, 2}}, 7);
  float value = (float)(int32_t)bits.word[0] * 0x1p-31f;
  if (code->spacing == ACTNN_FIXED_LEVELS)
    return code->low + (code->high - code->low) * (0.5f * value + 0.5f);
  value *= (float)(1 + lane);
  if (code->spacing == ACTNN_MASKED_LEVELS || code->spacing == ACTNN_SQUARE_LEVELS)
    return value > 0 ? value : 0;
  return bits.word[1] % 3 ? value : 0;
}

/* Calls DO with `sample`, `row`, `lane` and `place` for every element. */
#define FOR_ELEMENTS(coded) \
  for (int64_t sample = 0; sample < (coded)->codec.samples; sample++) \
    for (int64_t row = 0; row < (coded)->codec.rows; row++) \
      for (int lane = 0; lane < ACTNN_LANES; lane++) \
        for (int64_t place = actnn_codec_element(&(coded)->codec, (coded)->block, sample, row, lane), once = 1; \
             once && place >= 0; once = 0)

static inline coded
make(const shape *shape, actnn_code code, int block)
{
  coded coded = {.code = code, .block = block};
  if (actnn_codec_geometry(&coded.codec, shape->dim, shape->rank, shape->layout, code.spacing))
    exit(1);
  coded.bytes = actnn_codec_sample_bytes(&coded.codec, code.levels);
  coded.elements = memory_elements(&coded.codec, block);
  coded.stash = allocate(coded.bytes * (uint64_t)coded.codec.samples);
  coded.value = allocate(coded.elements * sizeof(float));
  coded.back = allocate(coded.elements * sizeof(float));
  memset(coded.value, 0, coded.elements * sizeof(float));
  FOR_ELEMENTS(&coded)
    coded.value[place] = element_value(sample, row, lane, &code);
  return coded;
}

static inline bool
is_within_bounds(const coded *coded)
{
  return is_margin_intact(coded->stash, coded->bytes * (uint64_t)coded->codec.samples) &&
         is_margin_intact(coded->value, coded->elements * sizeof(float)) &&
         is_margin_intact(coded->back, coded->elements * sizeof(float));
}

static inline void
discard(coded *coded)
{
  free(coded->stash);
  free(coded->value);
  free(coded->back);
}

static inline actnn_philox_key
key_of(uint64_t draw)
{
  return actnn_random_key(9, 8, 7, draw);
}

/* Codes all tiles; every other one with the range known beforehand, which changes no byte. The noise. */
static inline double
code_all(const actnn_codec_kernels *kernels, coded *coded, uint64_t draw, bool exact_noise)
{
  actnn_tile_noise noise;
  double sum = 0;
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded->codec); tile++) {
      actnn_tile_work work = {&coded->codec, coded->block, sample, tile, false, false, NULL};
      actnn_tile_range known;
      bool knows = (sample + tile + (kernels->name[0] == 's')) % 2;
      if (knows)
        kernels->range(&work, coded->value, coded->code.spacing, &known);
      kernels->quantize(&work, coded->value, &coded->code, key_of(draw), coded->stash + (uint64_t)sample * coded->bytes,
                        knows ? &known : NULL, exact_noise, &noise);
      sum += noise.above;
      if (noise.below != 0 || noise.scaled != 0)
        exit(1); /* normalized values have these, and no other */
    }
  return sum;
}

static inline void
decode_all(const actnn_codec_kernels *kernels, coded *coded, uint64_t draw)
{
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded->codec); tile++) {
      actnn_tile_work work = {&coded->codec, coded->block, sample, tile, false, false, NULL};
      kernels->dequantize(&work, coded->stash + (uint64_t)sample * coded->bytes, &coded->code, key_of(draw), coded->back);
    }
}

/* ---- What the bytes mean, by the definitions of codec.h alone ---------------------------------------- */

typedef struct element {
  uint32_t code, draw;
  uint16_t word[2]; /* the header's */
  actnn_group group;
} element;

static inline int64_t
tile_of(const actnn_codec *codec, int64_t row)
{
  return row / codec->run_rows * codec->run_tiles + row % codec->run_rows / codec->tile_rows;
}

/* Several codes to a symbol, symbols in planes of bits. */
static inline uint32_t
read_code(const coded *coded, int64_t sample, int64_t row, int lane)
{
  actnn_tile tile = actnn_codec_tile(&coded->codec, tile_of(&coded->codec, row));
  int levels = coded->code.levels;
  actnn_packing packing = actnn_codec_packing(levels);
  int64_t symbols = (tile.rows + packing.together - 1) / packing.together, at = row - tile.first_row;
  const uint8_t *plane = coded->stash + (uint64_t)sample * coded->bytes + actnn_codec_code_offset(&coded->codec, tile, levels);
  uint32_t symbol = 0;
  for (int shift = 0, width; shift < packing.bits; shift += width) {
    width = actnn_codec_plane_width(packing.bits - shift);
    int64_t rows = actnn_codec_plane_rows(symbols, width), symbol_row = at % symbols;
    uint32_t byte = plane[symbol_row % rows * ACTNN_LANES + lane];
    symbol |= (byte >> (symbol_row / rows * width) & ((1u << width) - 1)) << shift;
    plane += rows * ACTNN_LANES;
  }
  for (int64_t part = at / symbols; part > 0; part--)
    symbol /= (uint32_t)levels;
  return symbol % (uint32_t)levels;
}

static inline uint32_t
draw_of(const coded *coded, int64_t sample, int64_t row, int lane, uint64_t draw)
{
  int64_t index = tile_of(&coded->codec, row), at = row - actnn_codec_tile(&coded->codec, index).first_row;
  actnn_philox_block bits =
      actnn_philox(actnn_codec_counter(sample, index, at / 8, lane), key_of(draw), ACTNN_PHILOX_ROUNDS);
  return bits.word[at % 8 / 2] >> 16 * (at % 2) & 0xffff;
}

static inline element
read_element(const coded *coded, int64_t sample, int64_t row, int lane, uint64_t draw)
{
  const actnn_codec *codec = &coded->codec;
  const actnn_code *code = &coded->code;
  int64_t number = tile_of(codec, row) * actnn_codec_tile_headers(codec) + (codec->lane_groups ? lane : 0);
  element element = {read_code(coded, sample, row, lane), draw_of(coded, sample, row, lane, draw), {0}, {0, 0, 0, 0}};
  size_t bytes = (size_t)codec->header_words * sizeof(uint16_t);
  memcpy(element.word, coded->stash + (uint64_t)sample * coded->bytes + (size_t)number * bytes, bytes);
  float step = actnn_float_of((uint32_t)element.word[0] << 16);
  if (code->spacing == ACTNN_EVEN_LEVELS)
    element.group = actnn_codec_group((actnn_header){element.word[0], element.word[1]}, code->dither);
  else if (code->spacing == ACTNN_FIXED_LEVELS)
    element.group = actnn_codec_levels_from(code->low, (code->high - code->low) / (float)(code->levels - 1), code->dither);
  else
    element.group = actnn_codec_levels_from(0 * step, step, code->dither && code->spacing == ACTNN_MASKED_LEVELS);
  return element;
}

/* What a code means; *width: how far it may be from the value. */
static inline float
meaning(const element *element, const actnn_code *code, double *width)
{
  uint32_t steps = element->code;
  const actnn_group *group = &element->group;
  *width = group->step * (code->dither && code->spacing != ACTNN_SQUARE_LEVELS ? 0.5 : 1.0);
  if (code->spacing == ACTNN_MASKED_LEVELS && steps-- == 0) {
    *width = 0;
    return group->base;
  }
  if (code->spacing == ACTNN_SQUARE_LEVELS) {
    *width = group->step * (2.0 * steps + 1);
    steps *= steps;
  }
  return actnn_codec_value(steps, group->base, group->step, group->dither, element->draw);
}

#endif
