/* codec.c: coding and decoding one tile. Built once for each instruction set (ACTNN_ISA names the build) from
 * the bodies in codec.h; all builds make the same bytes.
 *
 * Every hot loop runs over the 16 lanes and does eight rows in its body: the compiler turns lanes into
 * vectors, the eight rows of a lane take the eight draws of one random block, and running minima are loaded
 * and stored only once in eight rows.
 */
#include "codec_pack.h"
#include "codec_rows.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifndef ACTNN_ISA
#define ACTNN_ISA scalar
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_OF_(a) #a
#define TEXT_OF(a) TEXT_OF_(a)

typedef struct tile_groups {
  float base[LANES], step[LANES], scale[LANES];
} tile_groups;

/* ---- Ranges -------------------------------------------------------------------------------------- */

#define FOR_EIGHT(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

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

static double
sum_of_ranges(const actnn_tile_range *range, int64_t rows)
{
  double sum = 0;
  for (int lane = 0; lane < LANES; lane++) {
    double width = (double)range->maximum[lane] - range->minimum[lane];
    if (range->magnitude[lane] < 0x7f800000u)
      sum += width * width * (double)rows;
  }
  return sum;
}

static void
open_tile(const actnn_tile_work *work, actnn_tile tile, const float *value, const actnn_tile_range *known,
          bool in_eights, float *buffer, tile_rows *rows, actnn_tile_range *range)
{
  float padding[LANES];
  choose_padding(work, tile, value, padding);
  read_rows(work, tile, value, padding, in_eights, buffer, rows);
  if (known) {
    *range = *known;
    return;
  }
  find_range(rows, range);
  if (!work->codec->lane_groups)
    share_range(range);
}

static double
range_of_tile(const actnn_tile_work *work, const float *value, actnn_tile_range *found)
{
  float buffer[ACTNN_TILE_ROWS * LANES];
  tile_rows rows;
  actnn_tile_range range;
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  open_tile(work, tile, value, NULL, true, buffer, &rows, &range);
  if (found)
    *found = range;
  return sum_of_ranges(&range, tile.rows);
}

static double
squares_of_tile(const actnn_tile_work *work, const float *value)
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

/* ---- Coding -------------------------------------------------------------------------------------- */

static uint8_t *
tile_headers(const actnn_tile_work *work, uint8_t *sample)
{
  return sample + (uint64_t)(work->tile * actnn_codec_tile_headers(work->codec)) * sizeof(actnn_header);
}

static void
write_headers(const actnn_tile_work *work, const actnn_tile_range *range, float top, uint8_t *sample,
              tile_groups *groups)
{
  actnn_header header[LANES];
  int count = (int)actnn_codec_tile_headers(work->codec);
  for (int lane = 0; lane < count; lane++)
    header[lane] = actnn_codec_header(range->minimum[lane], range->maximum[lane], top,
                                      range->magnitude[lane] < 0x7f800000u);
  memcpy(tile_headers(work, sample), header, (size_t)count * sizeof *header);
  for (int lane = 0; lane < LANES; lane++) {
    actnn_group group = actnn_codec_group(header[count == 1 ? 0 : lane]);
    groups->base[lane] = group.base;
    groups->step[lane] = group.step;
    groups->scale[lane] = group.scale;
  }
}

/* Codes eight rows, as `actnn_codec_code` defines it. By hand for wide vectors: of its guards, which also catch
 * NaN, compilers make two instructions each, where the maximum and the minimum do the same; and they narrow
 * codes by way of memory. */
#if defined(__AVX512F__)
static inline void
code_eight(const float *restrict row, const tile_groups *restrict groups, float top,
           const uint32_t (*restrict draw)[LANES], uint8_t *restrict code)
{
  const __m512 base = _mm512_loadu_ps(groups->base), scale = _mm512_loadu_ps(groups->scale);
  const __m512 zero = _mm512_setzero_ps(), most = _mm512_set1_ps(top * 65536.0f), bit = _mm512_set1_ps(0.499f);
  for (int k = 0; k < EIGHT; k++) {
    __m512 place = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(row + k * LANES), base), scale);
    place = _mm512_min_ps(_mm512_max_ps(place, zero), most);
    __m512i word = _mm512_loadu_si512(draw[k / 2]);
    word = k % 2 ? _mm512_srli_epi32(word, 16) : _mm512_and_si512(word, _mm512_set1_epi32(0xffff));
    word = _mm512_add_epi32(_mm512_cvttps_epi32(_mm512_add_ps(place, bit)), word);
    _mm_storeu_si128((__m128i *)(code + k * LANES), _mm512_cvtepi32_epi8(_mm512_srli_epi32(word, 16)));
  }
}
#elif defined(__AVX2__)
static inline __m256i
code_half_row(const float *row, const uint32_t *draw, int is_odd, const float *base, const float *scale, float top)
{
  __m256 place = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(row), _mm256_loadu_ps(base)), _mm256_loadu_ps(scale));
  place = _mm256_min_ps(_mm256_max_ps(place, _mm256_setzero_ps()), _mm256_set1_ps(top * 65536.0f));
  __m256i word = _mm256_loadu_si256((const __m256i *)draw);
  word = is_odd ? _mm256_srli_epi32(word, 16) : _mm256_and_si256(word, _mm256_set1_epi32(0xffff));
  word = _mm256_add_epi32(_mm256_cvttps_epi32(_mm256_add_ps(place, _mm256_set1_ps(0.499f))), word);
  return _mm256_srli_epi32(word, 16);
}

static inline void
code_eight(const float *restrict row, const tile_groups *restrict groups, float top,
           const uint32_t (*restrict draw)[LANES], uint8_t *restrict code)
{
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* packing works on halves of 128 bits */
  for (int k = 0; k < EIGHT; k += 2) {
    __m256i pair[2];
    for (int odd = 0; odd < 2; odd++) {
      __m256i half[2];
      for (int lane = 0; lane < LANES; lane += 8)
        half[lane / 8] = code_half_row(row + (k + odd) * LANES + lane, draw[k / 2] + lane, odd, groups->base + lane,
                                       groups->scale + lane, top);
      pair[odd] = _mm256_packus_epi32(half[0], half[1]);
    }
    __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(pair[0], pair[1]), in_order);
    _mm256_storeu_si256((__m256i *)(code + k * LANES), bytes);
  }
}
#else
static void
code_eight(const float *restrict row, const tile_groups *restrict groups, float top,
           const uint32_t (*restrict draw)[LANES], uint8_t *restrict code)
{
  uint32_t wide[EIGHT * LANES]; /* as wide as the values: mixed widths would make the compiler choose short vectors */
  for (int lane = 0; lane < LANES; lane++) {
    float base = groups->base[lane], scale = groups->scale[lane];
#define CODE(k) \
  wide[(k)*LANES + lane] = actnn_codec_code(row[(k)*LANES + lane], base, scale, top, \
                                            draw[(k) / 2][lane] >> (16 * ((k) % 2)) & 0xffffu);
    FOR_EIGHT(CODE)
#undef CODE
  }
  for (int i = 0; i < EIGHT * LANES; i++)
    code[i] = (uint8_t)wide[i];
}
#endif

/* The random blocks of eight rows, of all lanes. draw[k] has word k of each lane's block: the definition is
 * `actnn_philox` of `actnn_codec_counter`; the two others compute the same where a compiler finds no good way
 * to multiply 32 by 32 bits: even and odd lanes apart, each in the low half of 64 bits. */
#if defined(__AVX512F__)
typedef __m512i wide_word;
#define WIDE_LANES 8
#define WIDE_SET(x) _mm512_set1_epi64((long long)(x))
#define WIDE_COUNT(x) _mm512_add_epi64(WIDE_SET(x), _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0))
#define WIDE_PRODUCT(a, b) _mm512_mul_epu32((a), (b))
#define WIDE_HIGH(a) _mm512_srli_epi64((a), 32)
#define WIDE_XOR(a, b) _mm512_xor_si512((a), (b))
#define WIDE_JOIN(even, odd) _mm512_mask_blend_epi32(0xaaaa, (even), _mm512_slli_epi64((odd), 32))
#define WIDE_STORE(to, value) _mm512_storeu_si512((to), (value))
#elif defined(__AVX2__)
typedef __m256i wide_word;
#define WIDE_LANES 4
#define WIDE_SET(x) _mm256_set1_epi64x((long long)(x))
#define WIDE_COUNT(x) _mm256_add_epi64(WIDE_SET(x), _mm256_set_epi64x(6, 4, 2, 0))
#define WIDE_PRODUCT(a, b) _mm256_mul_epu32((a), (b))
#define WIDE_HIGH(a) _mm256_srli_epi64((a), 32)
#define WIDE_XOR(a, b) _mm256_xor_si256((a), (b))
#define WIDE_JOIN(even, odd) _mm256_blend_epi32((even), _mm256_slli_epi64((odd), 32), 0xaa)
#define WIDE_STORE(to, value) _mm256_storeu_si256((__m256i *)(to), (value))
#endif

#ifdef WIDE_LANES
/* Blocks of the lanes first, first + 2, first + 4 and so on, in the low halves. */
static inline void
draw_wide(actnn_philox_block counter, uint32_t first, actnn_philox_key key, wide_word *word)
{
  wide_word a = WIDE_COUNT(counter.word[0] + first), b = WIDE_SET(counter.word[1]);
  wide_word c = WIDE_SET(counter.word[2]), d = WIDE_SET(counter.word[3]);
  for (int round = 0; round < ACTNN_PHILOX_ROUNDS; round++) {
    wide_word from_a = WIDE_PRODUCT(a, WIDE_SET(0xD2511F53u)),
              from_c = WIDE_PRODUCT(c, WIDE_SET(0xCD9E8D57u));
    a = WIDE_XOR(WIDE_XOR(WIDE_HIGH(from_c), b), WIDE_SET(key.word[0]));
    b = from_c;
    c = WIDE_XOR(WIDE_XOR(WIDE_HIGH(from_a), d), WIDE_SET(key.word[1]));
    d = from_a;
    key.word[0] += 0x9E3779B9u;
    key.word[1] += 0xBB67AE85u;
  }
  word[0] = a; /* the high halves of b and d hold what is left of products; nobody reads them */
  word[1] = b;
  word[2] = c;
  word[3] = d;
}

static inline void
draw_eight(const actnn_tile_work *work, int64_t eight, actnn_philox_key key, uint32_t (*restrict draw)[LANES])
{
  actnn_philox_block counter = actnn_codec_counter(work->sample, work->tile, eight, 0);
  for (uint32_t lane = 0; lane < LANES; lane += 2 * WIDE_LANES) {
    wide_word even[4], odd[4];
    draw_wide(counter, lane, key, even);
    draw_wide(counter, lane + 1, key, odd);
    for (int k = 0; k < 4; k++)
      WIDE_STORE(draw[k] + lane, WIDE_JOIN(even[k], odd[k]));
  }
}
#else
static void
draw_eight(const actnn_tile_work *work, int64_t eight, actnn_philox_key key, uint32_t (*restrict draw)[LANES])
{
  for (int lane = 0; lane < LANES; lane++) {
    actnn_philox_block bits =
        actnn_philox(actnn_codec_counter(work->sample, work->tile, eight, lane), key, ACTNN_PHILOX_ROUNDS);
    for (int k = 0; k < 4; k++)
      draw[k][lane] = bits.word[k];
  }
}
#endif

/* Sum of p (1 - p) step^2 over the tile's real elements, p the fraction that decides the rounding. */
static double
noise_of_tile(const actnn_tile_work *work, actnn_tile tile, const tile_rows *rows, const tile_groups *groups,
              float top)
{
  double sum = 0;
  for (int64_t row = 0; row < tile.rows; row++) {
    int lanes = valid_lanes(work->codec, tile.first_row + row);
    for (int lane = 0; lane < lanes; lane++) {
      float place = (rows->row[row * LANES + lane] - groups->base[lane]) * groups->scale[lane] * 0x1p-16f;
      if (!(place > 0 && place < top))
        continue;
      double part = (double)place - (int)place, step = groups->step[lane];
      sum += part * (1 - part) * step * step;
    }
  }
  return sum;
}

static void
quantize(const actnn_tile_work *work, const float *value, int bits, actnn_philox_key key, uint8_t *sample,
         const actnn_tile_range *known, double *range, double *noise)
{
  float buffer[ACTNN_TILE_ROWS * LANES];
  float some[EIGHT * LANES];
  uint8_t code[(ACTNN_TILE_ROWS + EIGHT) * LANES];
  uint32_t draw[4][LANES];
  tile_rows rows;
  actnn_tile_range extremes;
  tile_groups groups;
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  float top = (float)((1 << bits) - 1);
  open_tile(work, tile, value, known, !noise, buffer, &rows, &extremes);
  write_headers(work, &extremes, top, sample, &groups);
  for (int64_t eight = 0; eight < eights(&rows); eight++) {
    draw_eight(work, eight, key, draw);
    code_eight(eight_rows(&rows, eight, some), &groups, top, (const uint32_t(*)[LANES])draw,
               code + eight * EIGHT * LANES);
  }
  pack_units(code, (size_t)tile.rows * LANES, LANES, bits,
             sample + actnn_codec_code_offset(work->codec, tile, bits));
  *range = sum_of_ranges(&extremes, tile.rows);
  if (noise)
    *noise = noise_of_tile(work, tile, &rows, &groups, top);
}

static void
decode_halves(const uint8_t *restrict code, int64_t rows, const float *base, const float *step, float *restrict low,
              float *restrict high)
{
  enum { HALF = LANES / 2 };
  for (int64_t row = 0; row < rows; row++) {
    for (int lane = 0; lane < HALF; lane++)
      low[row * HALF + lane] = actnn_codec_value(code[row * LANES + lane], base[lane], step[lane]);
    for (int lane = 0; lane < HALF; lane++)
      high[row * HALF + lane] = actnn_codec_value(code[row * LANES + HALF + lane], base[HALF + lane], step[HALF + lane]);
  }
}

static void
dequantize(const actnn_tile_work *work, const uint8_t *sample, int bits, float *value)
{
  float buffer[ACTNN_TILE_ROWS * LANES], base[LANES], step[LANES];
  uint8_t code[ACTNN_TILE_ROWS * LANES];
  actnn_header header[LANES];
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  int count = (int)actnn_codec_tile_headers(work->codec);
  memcpy(header, tile_headers(work, (uint8_t *)(uintptr_t)sample), (size_t)count * sizeof *header);
  for (int lane = 0; lane < LANES; lane++) {
    actnn_group group = actnn_codec_group(header[count == 1 ? 0 : lane]);
    base[lane] = group.base;
    step[lane] = group.step;
  }
  unpack_units(sample + actnn_codec_code_offset(work->codec, tile, bits), (size_t)tile.rows * LANES, LANES,
               bits, code);
  if (is_in_halves(work, tile)) {
    decode_halves(code, tile.rows, base, step, value + half_start(work, tile, 0), value + half_start(work, tile, 1));
    return;
  }
  bool direct = is_contiguous(work, tile);
  float *restrict out =
      direct ? value + actnn_codec_element(work->codec, work->block, work->sample, tile.first_row, 0)
             : buffer;
  for (int64_t row = 0; row < tile.rows; row++)
    for (int lane = 0; lane < LANES; lane++)
      out[row * LANES + lane] = actnn_codec_value(code[row * LANES + lane], base[lane], step[lane]);
  if (!direct)
    scatter(work, tile, buffer, value);
}

extern const actnn_codec_kernels JOIN(actnn_codec_, ACTNN_ISA);
const actnn_codec_kernels JOIN(actnn_codec_, ACTNN_ISA) = {
    TEXT_OF(ACTNN_ISA), range_of_tile, squares_of_tile, quantize, dequantize, pack, unpack,
};
