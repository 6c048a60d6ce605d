/* spending.h: a save's bytes spent on its samples by their ranges, the same on every device.
 *
 * All samples have the same choices of levels, and what one costs is the sample's range times a noise that is the choice's own. So the
 * choices worth taking, those on the lower convex hull of (bytes, noise), are the same for all, and a step along it is worth, for each
 * byte, the range times the step's own gain. The steps that are worth most are taken: all that are worth a price or more, the lowest price
 * at which they fit, and then, in the order of samples, as many of those worth just less. Where samples are few, and a step of one is much,
 * what is left goes to whom it suffices for.
 *
 * What a step is worth is a float, whose bits, as an integer, have the order of its values: the price is found digit by digit, from sums of
 * bytes by digit. Nothing here depends on the order in which anybody adds. */
#ifndef ACTNN_SPENDING_H
#define ACTNN_SPENDING_H

#include "codec.h"

enum {
  SPENDING_DIGIT_BITS = 8,
  SPENDING_DIGITS = 4, /* of a price, the highest first */
  SPENDING_DIGIT_VALUES = 1 << SPENDING_DIGIT_BITS,
  SPENDING_FEW_SAMPLES = 64 /* rests are spent on no more than these */
};

typedef struct actnn_spending {
  int choices, steps;
  uint64_t bytes[ACTNN_LEVEL_CHOICES]; /* of a sample, by choice, rising */
  uint8_t choice[ACTNN_LEVEL_CHOICES]; /* after so many steps along the hull */
  double gain[ACTNN_LEVEL_CHOICES];    /* of each step: noise saved by a byte, at a range of one; never rising */
} actnn_spending;

/* bytes rise and noise falls from choice to choice; at least one, at most ACTNN_LEVEL_CHOICES. */
actnn_spending actnn_spending_of(const uint64_t *bytes, const double *noise, int choices);

/* Spends at most `share` bytes. range: not negative, finite. False: not even the fewest levels of all samples fit. */
bool actnn_spend(const actnn_spending *spending, const float *range, int64_t samples, uint64_t share, uint8_t *choice);

/* ---- what a GPU's kernel and the processor's loops share ------------------------------------------------ */

/* Bytes of a step. */
static inline ACTNN_DEVICE uint64_t
actnn_step_bytes(const actnn_spending *spending, int step)
{
  return spending->bytes[spending->choice[step + 1]] - spending->bytes[spending->choice[step]];
}

/* Never rising from step to step of a sample. */
static inline ACTNN_DEVICE uint32_t
actnn_step_worth(const actnn_spending *spending, int step, float range)
{
  union {
    float value;
    uint32_t bits;
  } worth;
  worth.value = (float)((double)range * spending->gain[step]);
  return worth.bits;
}

/* How many steps a sample takes whose worth is the price or more. */
static inline ACTNN_DEVICE int
actnn_steps_at(const actnn_spending *spending, float range, uint64_t price)
{
  int steps = 0;
  while (steps < spending->steps && actnn_step_worth(spending, steps, range) >= price)
    steps++;
  return steps;
}

/* The digit of a price that sums are taken by next, when `found` of them are known. */
static inline ACTNN_DEVICE uint32_t
actnn_price_digit(uint32_t worth, int found)
{
  return worth >> (SPENDING_DIGITS - 1 - found) * SPENDING_DIGIT_BITS & (SPENDING_DIGIT_VALUES - 1);
}

/* True when the known digits are those of `price`. */
static inline ACTNN_DEVICE bool
actnn_has_digits(uint32_t worth, uint64_t price, int found)
{
  return (uint64_t)worth >> (SPENDING_DIGITS - found) * SPENDING_DIGIT_BITS == price;
}

/* The digit at which the steps, taken from the highest on, no longer fit: `sum` has their bytes by digit; *left goes down by those that
 * fit. -1: all fit. */
static inline ACTNN_DEVICE int
actnn_refused_digit(const uint64_t *sum, uint64_t *left)
{
  for (int digit = SPENDING_DIGIT_VALUES - 1; digit >= 0; digit--) {
    if (sum[digit] > *left)
      return digit;
    *left -= sum[digit];
  }
  return -1;
}

/* What is left, on the first that it suffices for. */
static inline ACTNN_DEVICE void
actnn_spend_rest(const actnn_spending *spending, int64_t samples, uint64_t left, uint8_t *choice)
{
  for (int64_t i = 0; i < samples && samples <= SPENDING_FEW_SAMPLES; i++)
    for (int to = spending->choices - 1; to > choice[i]; to--)
      if (spending->bytes[to] - spending->bytes[choice[i]] <= left) {
        left -= spending->bytes[to] - spending->bytes[choice[i]];
        choice[i] = (uint8_t)to;
      }
}

#endif
