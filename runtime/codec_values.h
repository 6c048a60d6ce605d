/* codec_values.h: what headers and codes say: from values to them and back.
 *
 * gcc, clang and nvcc compile this header. Arithmetic is spelled out so that no compiler contracts a
 * multiplication and an addition into one rounding: every build makes the same bytes (C files need
 * -ffp-contract=off).
 */
#ifndef ACTNN_CODEC_VALUES_H
#define ACTNN_CODEC_VALUES_H

#include "codec.h"

#include <string.h>

/* ---- Arithmetic that is never contracted --------------------------------------------------------- */

#ifdef __CUDA_ARCH__
#define ACTNN_TIMES(a, b) __fmul_rn((a), (b))
#define ACTNN_PLUS(a, b) __fadd_rn((a), (b))
#define ACTNN_MINUS(a, b) __fsub_rn((a), (b))
#define ACTNN_OVER(a, b) __fdiv_rn((a), (b))
#define ACTNN_LESSER(a, b) fminf((a), (b))
#else
#define ACTNN_TIMES(a, b) ((a) * (b))
#define ACTNN_PLUS(a, b) ((a) + (b))
#define ACTNN_MINUS(a, b) ((a) - (b))
#define ACTNN_OVER(a, b) ((a) / (b))
#define ACTNN_LESSER(a, b) ((a) < (b) ? (a) : (b)) /* what vectors have an instruction for, as GPUs have for fminf */
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
  ACTNN_CODEC_LEAST = 0x0800 /* 2^-111, the smallest step: 65536 of its inverse are still a float */
};

/* bfloat16 numbers next to a finite float, as bits: the greatest at most it, and the least at least it. */
static inline ACTNN_DEVICE uint32_t
actnn_codec_down(float value)
{
  uint32_t bits = actnn_bits_of(value);
  return (bits >> 31 ? bits + 0xffffu : bits) >> 16;
}

static inline ACTNN_DEVICE uint32_t
actnn_codec_up(float value)
{
  uint32_t bits = actnn_bits_of(value);
  return (bits >> 31 ? bits : bits + 0xffffu) >> 16;
}

/* The step, as bfloat16 bits, in which `top` steps from `base` reach `maximum` as decoded. */
static inline ACTNN_DEVICE uint32_t
actnn_codec_step(float base, float maximum, float top)
{
  float range = ACTNN_MINUS(maximum, base);
  uint32_t up = actnn_codec_up(ACTNN_OVER(range, top));
  if (up < ACTNN_CODEC_LEAST)
    up = ACTNN_CODEC_LEAST;
  float reach = ACTNN_TIMES(top, actnn_float_of(up << 16));
  /* One bfloat16 more makes up for any rounding of the range: 2^-8 against 2^-23. */
  if (reach < range || ACTNN_PLUS(base, reach) < maximum)
    up++;
  reach = ACTNN_TIMES(top, actnn_float_of(up << 16));
  float half = ACTNN_TIMES(0.5f, actnn_float_of(up << 16)); /* as far as dither goes beyond the first and the last level */
  float lowest = ACTNN_MINUS(base, half), highest = ACTNN_PLUS(ACTNN_PLUS(base, reach), half);
  return actnn_is_finite(range) && actnn_is_finite(lowest) && actnn_is_finite(highest) ? up : ACTNN_CODEC_POISON;
}

/* Which of two zeros a minimum is depends on the order in which it was looked for: headers know only one. */
static inline ACTNN_DEVICE float
actnn_codec_zero_is_plus(float value)
{
  return value == 0 ? 0 : value;
}

/* The header of a group with these extreme values, coded with `top` + 1 even levels; `finite`: none of its
 * values is infinite or NaN. The minimum is rounded down and the step up, so that base + top * step >= maximum
 * as decoded.
 * - A group whose values are all the same is stored without loss: its header is that float's bits. (Zero
 *   loses its sign, and a value below 2^-88 may lose its lowest bit.)
 * - A group that is not finite, or whose rounded range overflows, becomes NaN: the step reports it. */
static inline ACTNN_DEVICE actnn_header
actnn_codec_header(float minimum, float maximum, float top, bool finite)
{
  actnn_header header = {ACTNN_CODEC_POISON, ACTNN_CODEC_POISON};
  if (!finite)
    return header;
  minimum = actnn_codec_zero_is_plus(minimum);
  uint32_t bits = actnn_bits_of(minimum);
  if (minimum == maximum) {
    header.base = (uint16_t)(minimum == 0 ? 0 : bits >> 16);
    header.step = (uint16_t)(ACTNN_CODEC_CONSTANT | (minimum == 0 ? 0 : bits >> 1 & 0x7fffu));
    return header;
  }
  uint32_t down = actnn_codec_down(minimum), step = actnn_codec_step(actnn_float_of(down << 16), maximum, top);
  if (!actnn_is_finite(actnn_float_of(down << 16)) || step == ACTNN_CODEC_POISON)
    return header;
  header.base = (uint16_t)down;
  header.step = (uint16_t)step;
  return header;
}

/* What coding and decoding need of `step` levels from `base` on. */
static inline ACTNN_DEVICE actnn_group
actnn_codec_levels_from(float base, float step, bool dither)
{
  actnn_group group = {base, step, ACTNN_OVER(65536.0f, step), dither ? ACTNN_TIMES(step, 0x1p-16f) : 0};
  if (!actnn_is_finite(group.scale))
    group.scale = 0;
  return group;
}

/* For a constant group, base is the float with its lowest bit cleared and step what that bit is worth, so that
 * codes and values are made as for any other group; it is not dithered, because its value lies on a level. For
 * zero any step does, and a denormal one would be slow. */
static inline ACTNN_DEVICE actnn_group
actnn_codec_group(actnn_header header, bool dither)
{
  uint32_t base = (uint32_t)header.base << 16;
  if (!(header.step & ACTNN_CODEC_CONSTANT))
    return actnn_codec_levels_from(actnn_float_of(base), actnn_float_of((uint32_t)header.step << 16), dither);
  base |= (uint32_t)(header.step & 0x7fffu) << 1;
  float low = actnn_float_of(base), step = base ? ACTNN_MINUS(actnn_float_of(base | 1), low) : 1;
  return actnn_codec_levels_from(low, step, false);
}

/* The steps from the first level to the last; of square levels, in squares. */
static inline ACTNN_DEVICE float
actnn_codec_top(const actnn_code *code)
{
  int steps = code->levels - (code->spacing == ACTNN_MASKED_LEVELS ? 2 : 1);
  return code->spacing == ACTNN_SQUARE_LEVELS ? (float)(steps * steps) : (float)steps;
}

/* A group's header from its extreme values; of masked and square levels, which start at zero, its first word is the step and all. */
static inline ACTNN_DEVICE actnn_header
actnn_codec_header_of(const actnn_code *code, float minimum, float maximum, bool finite)
{
  float top = actnn_codec_top(code);
  actnn_header header = {0, 0};
  if (code->spacing == ACTNN_EVEN_LEVELS)
    return actnn_codec_header(minimum, maximum, top, finite);
  if (!finite)
    header.base = ACTNN_CODEC_POISON;
  else if (maximum > 0)
    header.base = (uint16_t)actnn_codec_step(0, maximum, top);
  return header;
}

/* And what it says. */
static inline ACTNN_DEVICE actnn_group
actnn_codec_group_of(const actnn_code *code, actnn_header header)
{
  if (code->spacing == ACTNN_EVEN_LEVELS)
    return actnn_codec_group(header, code->dither);
  if (code->spacing == ACTNN_FIXED_LEVELS)
    return actnn_codec_levels_from(code->low, ACTNN_OVER(ACTNN_MINUS(code->high, code->low), actnn_codec_top(code)), code->dither);
  float step = actnn_float_of((uint32_t)header.base << 16);
  return actnn_codec_levels_from(ACTNN_TIMES(step, 0.0f), step, code->dither && code->spacing != ACTNN_SQUARE_LEVELS);
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
  place = ACTNN_LESSER(place, most);
  return ((uint32_t)(int32_t)ACTNN_PLUS(place, 0.499f) + draw) >> 16;
}

/* What a code means. draw: the one it was made with; without dithering it does not matter. With it, the place
 * in units of 1 / 65536 is known to be within one step around this value, each place as likely as any other: the
 * code and the draw together hold the place's fraction, to within the draw's resolution. */
static inline ACTNN_DEVICE float
actnn_codec_value(uint32_t code, float base, float step, float dither, uint32_t draw)
{
  float level = ACTNN_PLUS(base, ACTNN_TIMES((float)(int32_t)code, step));
  return ACTNN_PLUS(level, ACTNN_TIMES(ACTNN_MINUS(32767.5f, (float)(int32_t)draw), dither));
}

/* Square levels: q^2 steps. The levels around a value are drawn so that its expectation is right, as
 * compression.md section 5 found best for attention's probabilities; steps are no longer even, so dithering,
 * which needs that, is not to be had. most: the last level's place. */
static inline ACTNN_DEVICE uint32_t
actnn_codec_square_code(float value, float scale, float most, uint32_t draw)
{
  float place = ACTNN_TIMES(value, scale); /* among the squares, in units of 1 / 65536 */
  place = place > 0 ? place : 0;
  place = ACTNN_LESSER(place, most);
  float squares = ACTNN_TIMES(place, 0x1p-16f), level = (float)(int32_t)sqrtf(squares);
  float square = ACTNN_TIMES(level, level);
  if (square > squares) { /* the root was rounded up */
    level = ACTNN_MINUS(level, 1.0f);
    square = ACTNN_TIMES(level, level);
  }
  float part = ACTNN_TIMES(ACTNN_MINUS(squares, square), 65536.0f);
  bool up = part > ACTNN_TIMES(ACTNN_PLUS((float)(int32_t)draw, 0.5f), ACTNN_PLUS(ACTNN_PLUS(level, level), 1.0f));
  return (uint32_t)(int32_t)level + up;
}

#endif
