/* codec_normal.h: the levels of a normalized value, which a scale, a bias and perhaps a rectifier follow.
 *
 * One code serves the normalization's gradient, the rectifier's and the next layer's. What is coded is the
 * normalized value x, so that a scale near zero makes no difference. Where y = scale * x + bias turns positive there is
 * a threshold between two levels, and another one where a capped rectifier (Clip from 0, ReLU6) saturates: a code says
 * exactly whether the rectifier blocked the value, let it pass, or held it at the cap. Codes of blocked values come first,
 * then those that pass, then saturated ones. Most levels are for what passes; what the others stand for matters only to the
 * normalization's own gradient, as a small part of it. A group whose range lies on one side of a threshold has no levels on
 * the other.
 *
 * Levels follow from the header (minimum and maximum, rounded outward) and from scale and bias, which change only
 * after backward. Without a rectifier all values count as passing. */
#ifndef ACTNN_CODEC_NORMAL_H
#define ACTNN_CODEC_NORMAL_H

#include "codec_values.h"

typedef struct actnn_normal_levels {
  actnn_group blocked, passing, saturated;
  int first_passing, first_saturated; /* codes; those of the blocked start at 0 */
} actnn_normal_levels;

/* Where in x a rectifier's thresholds lie; infinite where a channel never crosses one. */
typedef struct actnn_thresholds {
  float zero, cap;
  bool falls; /* y falls as x grows: the scale is negative */
} actnn_thresholds;

/* Relu lets pass what is above zero; Clip, as its gradient has it, what is from 0 to the cap, both included. */
static inline ACTNN_DEVICE bool
actnn_codec_is_blocked(float y, bool rectified, float cap)
{
  return rectified && (cap > 0 ? y < 0 : !(y > 0));
}

static inline ACTNN_DEVICE bool
actnn_codec_is_saturated(float y, bool rectified, float cap)
{
  return rectified && cap > 0 && y > cap;
}

static inline ACTNN_DEVICE actnn_thresholds
actnn_codec_thresholds(float scale, float bias, bool rectified, float cap)
{
  actnn_thresholds found = {-INFINITY, INFINITY, rectified && scale < 0};
  if (!rectified)
    return found;
  if (scale == 0) {
    found.zero = actnn_codec_is_blocked(bias, rectified, cap) ? INFINITY : -INFINITY;
    found.cap = actnn_codec_is_saturated(bias, rectified, cap) ? -INFINITY : INFINITY;
    return found;
  }
  found.zero = ACTNN_OVER(-bias, scale);
  found.cap = cap > 0 ? ACTNN_OVER(ACTNN_MINUS(cap, bias), scale) : found.falls ? -INFINITY : INFINITY;
  return found;
}

/* Levels for what a rectifier blocks, and for what it holds at its cap, of a group that has values of either kind and others. */
static inline ACTNN_DEVICE int
actnn_codec_blocked_levels(int levels)
{
  return levels < 8 ? 2 : (levels + 1) / 3;
}

static inline ACTNN_DEVICE int
actnn_codec_saturated_levels(int levels)
{
  return levels < 16 ? 2 : levels / 8;
}

/* So many levels from one end of a range to the other. */
static inline ACTNN_DEVICE actnn_group
actnn_codec_levels_between(float low, float high, int levels, bool dither)
{
  return actnn_codec_levels_from(low, ACTNN_OVER(ACTNN_MINUS(high, low), (float)(levels > 1 ? levels - 1 : 1)), dither);
}

/* minimum, maximum: as decoded from the header. Of a group that is not finite everything passes, so that NaN shows. */
static inline ACTNN_DEVICE actnn_normal_levels
actnn_codec_normal(float minimum, float maximum, actnn_thresholds at, int levels, bool dither)
{
  bool blocks = at.falls ? maximum > at.zero : minimum < at.zero, saturates = at.falls ? minimum < at.cap : maximum > at.cap;
  bool passes = at.falls ? minimum < at.zero && maximum > at.cap : maximum > at.zero && minimum < at.cap;
  int blocked = !blocks ? 0 : passes || saturates ? actnn_codec_blocked_levels(levels) : levels;
  int saturated = !saturates ? 0 : passes || blocks ? actnn_codec_saturated_levels(levels) : levels;
  int passing = levels - blocked - saturated;
  float least = at.falls ? at.cap : at.zero, most = at.falls ? at.zero : at.cap;
  float low = least > minimum ? least : minimum, high = most < maximum ? most : maximum; /* of what passes */
  actnn_normal_levels result;
  result.passing = passing > 0 ? actnn_codec_levels_between(low, high, passing, dither)
                               : actnn_codec_levels_between(minimum, maximum, levels, dither);
  result.blocked = result.saturated = result.passing;
  if (blocks)
    result.blocked = at.falls ? actnn_codec_levels_between(passes || saturates ? at.zero : minimum, maximum, blocked, dither)
                              : actnn_codec_levels_between(minimum, passes || saturates ? at.zero : maximum, blocked, dither);
  if (saturates)
    result.saturated = at.falls ? actnn_codec_levels_between(minimum, passes || blocks ? at.cap : maximum, saturated, dither)
                                : actnn_codec_levels_between(passes || blocks ? at.cap : minimum, maximum, saturated, dither);
  result.first_passing = blocked;
  result.first_saturated = levels - saturated;
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

/* The same for both thresholds of a channel some of whose elements were blocked, passed, or saturated. */
static inline ACTNN_DEVICE actnn_header
actnn_codec_widen_for(actnn_header header, actnn_thresholds at, bool any_blocked, bool any_passing, bool any_saturated)
{
  bool beyond_zero = any_passing || any_saturated, before_cap = any_blocked || any_passing;
  header = actnn_codec_widen(header, at.zero, at.falls ? any_blocked : beyond_zero, at.falls ? beyond_zero : any_blocked);
  return actnn_codec_widen(header, at.cap, at.falls ? before_cap : any_saturated, at.falls ? any_saturated : before_cap);
}

#endif
