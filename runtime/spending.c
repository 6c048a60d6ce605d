/* spending.c: see spending.h. */
#include "spending.h"

actnn_spending
actnn_spending_of(const uint64_t *bytes, const double *noise, int choices)
{
  actnn_spending spending = {.choices = choices};
  for (int i = 0; i < choices; i++)
    spending.bytes[i] = bytes[i];
  for (int at = 0; at + 1 < choices;) { /* from each choice to the one that saves most for a byte; of equals the nearest */
    int best = at + 1;
    double gain = 0;
    for (int to = at + 1; to < choices; to++) {
      double offered = (noise[at] - noise[to]) / (double)(bytes[to] - bytes[at]);
      if (offered > gain) {
        gain = offered;
        best = to;
      }
    }
    double before = spending.steps ? spending.gain[spending.steps - 1] : gain; /* rounding must not let it rise */
    spending.gain[spending.steps++] = gain < before ? gain : before;
    spending.choice[spending.steps] = (uint8_t)best;
    at = best;
  }
  return spending;
}

/* The lowest price at which all steps that are worth it fit into *left, which goes down by their bytes. */
static uint64_t
find_price(const actnn_spending *spending, const float *range, int64_t samples, uint64_t *left)
{
  uint64_t price = 0;
  for (int found = 0; found < SPENDING_DIGITS; found++) {
    uint64_t sum[SPENDING_DIGIT_VALUES] = {0};
    for (int64_t i = 0; i < samples; i++)
      for (int step = 0; step < spending->steps; step++) {
        uint32_t worth = actnn_step_worth(spending, step, range[i]);
        if (actnn_has_digits(worth, price, found))
          sum[actnn_price_digit(worth, found)] += actnn_step_bytes(spending, step);
      }
    int refused = actnn_refused_digit(sum, left);
    if (refused < 0) /* only at the first digit: later ones are looked for where something was refused */
      return 0;
    price = price << SPENDING_DIGIT_BITS | (uint64_t)refused;
  }
  return price + 1;
}

bool
actnn_spend(const actnn_spending *spending, const float *range, int64_t samples, uint64_t share, uint8_t *choice)
{
  uint64_t left = share;
  if (samples && spending->bytes[0] > share / (uint64_t)samples)
    return false;
  left -= (uint64_t)samples * spending->bytes[0];
  uint64_t price = find_price(spending, range, samples, &left);
  bool is_refused = false; /* a step worth just less than the price, and all behind it */
  for (int64_t i = 0; i < samples; i++) {
    int steps = actnn_steps_at(spending, range[i], price), more = price ? actnn_steps_at(spending, range[i], price - 1) : steps;
    for (; steps < more && !is_refused; steps += !is_refused) {
      uint64_t bytes = actnn_step_bytes(spending, steps);
      is_refused = bytes > left;
      left -= is_refused ? 0 : bytes;
    }
    choice[i] = spending->choice[steps];
  }
  actnn_spend_rest(spending, samples, left, choice);
  return true;
}
