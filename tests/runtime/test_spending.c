/* test_spending.c: a save's bytes spent on its samples by their ranges: never more than there are, and no worse than the optimum by more
 * than one step of one sample. */
#include "allocation.h"
#include "spending.h"
#include "tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SAMPLES = 700, CHOICES = 12 };

static const int levels[CHOICES] = {2, 3, 4, 5, 6, 8, 11, 16, 23, 32, 64, 256};
static uint64_t bytes[CHOICES];
static double noise[CHOICES], cost[MOST_SAMPLES][CHOICES];
static float range[MOST_SAMPLES];
static uint8_t choice[MOST_SAMPLES], best[MOST_SAMPLES];
static double beyond; /* what it costs more than the optimum, summed over problems as parts of that */

static double
uniform(void)
{
  static uint64_t state = 5;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 11) * 0x1p-53;
}

static uint64_t
bytes_of(const uint8_t *choices, int samples)
{
  uint64_t sum = 0;
  for (int i = 0; i < samples; i++)
    sum += bytes[choices[i]];
  return sum;
}

static double
cost_of(const uint8_t *choices, int samples)
{
  double sum = 0;
  for (int i = 0; i < samples; i++)
    sum += cost[i][choices[i]];
  return sum;
}

/* One problem of each number of samples; is it solved as promised? */
static bool
is_near(const actnn_spending *spending, int samples, uint64_t share)
{
  static actnn_allocation_item item[MOST_SAMPLES];
  actnn_allocation optimum;
  double most = 0; /* that a step saves */
  for (int i = 0; i < samples; i++) {
    for (int c = 0; c < CHOICES; c++)
      cost[i][c] = (double)range[i] * noise[c];
    most = fmax(most, cost[i][0] - cost[i][1]);
    item[i] = (actnn_allocation_item){bytes, cost[i], CHOICES};
  }
  void *scratch = malloc(actnn_allocation_scratch((size_t)samples, CHOICES));
  bool is_solved = scratch && !actnn_allocate(scratch, item, (size_t)samples, share, best, NULL, &optimum);
  free(scratch);
  if (!is_solved || !actnn_spend(spending, range, samples, share, choice) || bytes_of(choice, samples) > share)
    return false;
  double here = cost_of(choice, samples);
  beyond += optimum.cost > 0 ? here / optimum.cost - 1 : 0;
  if (here - optimum.bound <= most * 1.000001 && (samples < 300 || here <= 1.01 * optimum.cost))
    return true;
  printf("# %d samples, %llu bytes: %g, the optimum is %g\n", samples, (unsigned long long)share, here, optimum.cost);
  return false;
}

int
main(void)
{
  static const int numbers[] = {1, 2, 3, 7, 16, 64, 65, 300, MOST_SAMPLES};
  for (int c = 0; c < CHOICES; c++) {
    bytes[c] = 64 + (uint64_t)(1000 * log2(levels[c])) / 16 * 16;
    noise[c] = 1 / pow(levels[c] - 1, 2);
  }
  const actnn_spending spending = actnn_spending_of(bytes, noise, CHOICES);
  bool is_hull = spending.steps > 1 && spending.choice[spending.steps] == CHOICES - 1;
  for (int step = 1; step < spending.steps; step++)
    is_hull &= spending.gain[step] <= spending.gain[step - 1] && spending.choice[step] > spending.choice[step - 1];
  ok(is_hull, "steps lead from the fewest levels to the most, each worth less for a byte than the one before");
  for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
    int samples = numbers[k], near = 0;
    beyond = 0;
    for (int problem = 0; problem < 200; problem++) {
      for (int i = 0; i < samples; i++) /* alike, apart, some of them zero, all the same */
        range[i] = problem % 4 == 3 ? 0.5f : uniform() < 0.1 ? 0 : (float)exp(problem % 4 * 3 * (uniform() - 0.5));
      near += is_near(&spending, samples, (uint64_t)samples * bytes[0] + (uint64_t)((double)samples * 8500 * uniform()));
    }
    ok(near == 200, "%d samples: %d of 200 problems within a step of the optimum, %.2f %% above it on average", samples, near, beyond / 2);
  }

  range[0] = 3;
  bool is_largest = true;
  for (int c = 0; c < CHOICES; c++)
    is_largest &= actnn_spend(&spending, range, 1, bytes[c] + 15, choice) && choice[0] == c;
  ok(is_largest, "one sample has the most levels that fit");
  ok(!actnn_spend(&spending, range, 1, bytes[0] - 1, choice) && !actnn_spend(&spending, range, 3, 3 * bytes[0] - 1, choice),
     "less than the fewest levels take is refused");
  ok(actnn_spend(&spending, range, 0, 0, choice), "no samples take nothing");
  for (int i = 0; i < 10; i++)
    range[i] = i < 5 ? 0 : 1;
  uint64_t share = 10 * bytes[0] + 5 * (bytes[2] - bytes[0]) + 1;
  bool is_spent = actnn_spend(&spending, range, 10, share, choice);
  for (int i = 0; i < 5; i++)
    is_spent &= choice[i] == 0 && choice[5 + i] >= 2;
  ok(is_spent, "samples without a range have the fewest levels where others need them");
  ok(actnn_spend(&spending, range, 10, UINT64_MAX, choice) && choice[0] == CHOICES - 1 && choice[9] == CHOICES - 1,
     "bytes without end: the most levels");
  const actnn_spending only = actnn_spending_of(bytes, noise, 1);
  ok(only.steps == 0 && actnn_spend(&only, range, 10, 10 * bytes[0], choice) && choice[9] == 0, "one choice is taken");
  return tap_done();
}
