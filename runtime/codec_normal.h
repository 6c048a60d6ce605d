/* codec_normal.h: the levels of a normalized value, which a scale, a bias and perhaps a rectifier follow.
 *
 * One code serves the normalization's gradient, the rectifier's and the next layer's. What is coded is the
 * normalized value x, so that a scale near zero makes no difference. Where scale * x + bias turns positive there is
 * a threshold between two levels: a code says exactly whether the rectifier let the value pass. Most levels are on
 * the side that passes; what the others stand for matters only to the normalization's own gradient, as a small
 * part of it. A group whose range does not contain the threshold has all levels on one side of it.
 *
 * Levels follow from the header (minimum and maximum, rounded outward) and from scale and bias, which change only
 * after backward. Without a rectifier all values count as passing. */
#ifndef ACTNN_CODEC_NORMAL_H
#define ACTNN_CODEC_NORMAL_H

#include "codec.h"

typedef struct actnn_normal_levels {
  actnn_group below, above; /* the threshold; codes of the latter start at below_levels */
  int below_levels;
  bool passes_below; /* the rectifier passes what is below: the scale is negative */
} actnn_normal_levels;

/* The value at which scale * x + bias changes its sign; infinite where it never does. */
static inline ACTNN_DEVICE float
actnn_codec_threshold(float scale, float bias)
{
  if (scale == 0)
    return bias > 0 ? -INFINITY : INFINITY;
  return ACTNN_OVER(-bias, scale);
}

/* Levels on the side that does not pass. */
static inline ACTNN_DEVICE int
actnn_codec_blocked_levels(int levels)
{
  return levels < 8 ? 2 : (levels + 1) / 3;
}

/* minimum, maximum: as decoded from the header. Of a group that is not finite everything passes, so that NaN shows. */
static inline ACTNN_DEVICE actnn_normal_levels
actnn_codec_normal(float minimum, float maximum, float threshold, bool passes_below, int levels, bool dither)
{
  actnn_normal_levels result = {.below_levels = 0, .passes_below = passes_below && actnn_is_finite(minimum)};
  int blocked = actnn_codec_blocked_levels(levels);
  float whole = ACTNN_OVER(ACTNN_MINUS(maximum, minimum), (float)(levels - 1));
  if (!(threshold > minimum)) {
    result.above = actnn_codec_levels_from(minimum, whole, dither);
    result.below = result.above;
  } else if (!(threshold < maximum)) {
    result.below = actnn_codec_levels_from(minimum, whole, dither);
    result.above = result.below;
    result.below_levels = levels;
  } else {
    int below = passes_below ? levels - blocked : blocked, above = levels - below;
    result.below = actnn_codec_levels_from(minimum, ACTNN_OVER(ACTNN_MINUS(threshold, minimum), (float)(below - 1)), dither);
    result.above = actnn_codec_levels_from(threshold, ACTNN_OVER(ACTNN_MINUS(maximum, threshold), (float)(above - 1)), dither);
    result.below_levels = below;
  }
  return result;
}

/* The header of a group with these extreme values. */
static inline ACTNN_DEVICE actnn_header
actnn_codec_normal_header(float minimum, float maximum, bool finite)
{
  actnn_header header = {ACTNN_CODEC_POISON, ACTNN_CODEC_POISON};
  uint32_t down = actnn_codec_down(actnn_codec_zero_is_plus(minimum)), up = actnn_codec_up(actnn_codec_zero_is_plus(maximum));
  if (finite && actnn_is_finite(actnn_float_of(down << 16)) && actnn_is_finite(actnn_float_of(up << 16))) {
    header.base = (uint16_t)down;
    header.step = (uint16_t)up;
  }
  return header;
}

/* Which side of a threshold a value is on goes by what the rectifier really let pass, so that no rounding of the threshold can tell
 * otherwise. Where a group's range is all on one side, and elements are on the other, by rounding, or because they lie on the threshold,
 * as what is exactly zero does without a bias, the range is widened: there must be levels for them. */
static inline ACTNN_DEVICE actnn_header
actnn_codec_widen(actnn_header header, float threshold, bool any_above, bool any_below)
{
  float minimum = actnn_float_of((uint32_t)header.base << 16), maximum = actnn_float_of((uint32_t)header.step << 16);
  if (!actnn_is_finite(threshold))
    return header;
  float apart = ACTNN_PLUS(ACTNN_TIMES(fabsf(threshold), 0x1p-8f), 0x1p-100f); /* of a threshold of zero too */
  if (any_above && threshold >= maximum)
    header.step = (uint16_t)actnn_codec_up(ACTNN_PLUS(threshold, apart));
  if (any_below && threshold <= minimum)
    header.base = (uint16_t)actnn_codec_down(ACTNN_MINUS(threshold, apart));
  return header;
}

#endif
