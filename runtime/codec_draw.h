/* codec_draw.h: the random draws of eight rows, and eight rows of even levels coded with them. Part of codec.c. */
#ifndef ACTNN_CODEC_DRAW_H
#define ACTNN_CODEC_DRAW_H

#include "codec_rows.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#define FOR_EIGHT(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

/* high where above is 1, low where it is 0, without a branch: the compiler makes no vectors of loads that may not be done. */
static inline float
choose(uint32_t above, float high, float low)
{
  uint32_t mask = 0u - above;
  return actnn_float_of((actnn_bits_of(high) & mask) | (actnn_bits_of(low) & ~mask));
}

/* What codes and values of each lane are made with (actnn_group). */
typedef struct tile_groups {
  float base[LANES], step[LANES], scale[LANES], dither[LANES];
} tile_groups;

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

/* Draw of row k of eight in a lane. */
#define DRAW_OF(draw, k, lane) ((draw)[(k) / 2][lane] >> (16 * ((k) % 2)) & 0xffffu)

#endif
