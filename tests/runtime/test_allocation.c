/* test_allocation.c: the bits chosen under a budget, against brute force and against plain greedy. */
#include "allocation.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t random_state = 12345;

static uint64_t
random_below(uint64_t limit)
{
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (random_state >> 33) % limit;
}

static double
random_weight(void)
{
  return exp((double)random_below(1000) / 100 - 5);
}

enum { MOST_ITEMS = 6 };

typedef struct instance {
  size_t count;
  actnn_allocation_item item[MOST_ITEMS];
  uint64_t bytes[MOST_ITEMS][9];
  uint64_t budget;
} instance;

static double
cost_at(const instance *instance, const uint8_t *bits, uint64_t *bytes)
{
  double cost = 0;
  *bytes = 0;
  for (size_t i = 0; i < instance->count; i++) {
    double top = (1 << bits[i]) - 1;
    cost += instance->item[i].weight / (top * top);
    *bytes += instance->bytes[i][bits[i]];
  }
  return cost;
}

/* bumpy: tables as tiny samples have them, where more bits may take fewer bytes. */
static void
make_instance(instance *instance, size_t count, int bumpy)
{
  uint64_t least = 0, most = 0;
  instance->count = count;
  for (size_t i = 0; i < count; i++) {
    uint64_t size = 1 + random_below(40), smallest = UINT64_MAX, largest = 0;
    for (int bits = 1; bits <= 8; bits++) {
      uint64_t bytes = size * (uint64_t)bits + 4;
      if (bumpy)
        bytes += random_below(2 * size + 1);
      instance->bytes[i][bits] = bytes;
      smallest = bytes < smallest ? bytes : smallest;
      largest = bytes > largest ? bytes : largest;
    }
    instance->item[i] = (actnn_allocation_item){random_weight(), instance->bytes[i]};
    least += smallest;
    most += largest;
  }
  instance->budget = least + random_below(most - least + 1);
}

static double
brute_force(const instance *instance)
{
  uint8_t bits[MOST_ITEMS];
  double best = INFINITY;
  uint64_t combinations = UINT64_C(1) << (3 * instance->count);
  for (uint64_t each = 0; each < combinations; each++) {
    uint64_t bytes;
    for (size_t i = 0; i < instance->count; i++)
      bits[i] = (uint8_t)(1 + (each >> (3 * i) & 7));
    double cost = cost_at(instance, bits, &bytes);
    if (bytes <= instance->budget && cost < best)
      best = cost;
  }
  return best;
}

/* ActNN's: everything at 8 bits, then down by one bit where that costs least per byte, until it fits; no
 * refill. */
static double
plain_greedy(const instance *instance)
{
  uint8_t bits[MOST_ITEMS];
  uint64_t bytes;
  for (size_t i = 0; i < instance->count; i++)
    bits[i] = 8;
  double cost = cost_at(instance, bits, &bytes);
  while (bytes > instance->budget) {
    size_t victim = instance->count;
    double least = INFINITY;
    for (size_t i = 0; i < instance->count; i++) {
      if (bits[i] == 1)
        continue;
      double low = (1 << (bits[i] - 1)) - 1, high = (1 << bits[i]) - 1;
      double loss = instance->item[i].weight * (1 / (low * low) - 1 / (high * high)) /
                    (double)(instance->bytes[i][bits[i]] - instance->bytes[i][bits[i] - 1]);
      if (loss < least) {
        least = loss;
        victim = i;
      }
    }
    if (victim == instance->count)
      return INFINITY;
    bits[victim]--;
    cost = cost_at(instance, bits, &bytes);
  }
  return cost;
}

/* The most that one more step of a single item could save: what greedy may miss. */
static double
largest_step(const instance *instance, const uint8_t *bits)
{
  double most = 0;
  for (size_t i = 0; i < instance->count; i++) {
    double top = (1 << bits[i]) - 1;
    most = fmax(most, instance->item[i].weight * (1 / (top * top) - 1 / (255.0 * 255.0)));
  }
  return most;
}

static void
test_small(int bumpy)
{
  int trials = 1500, exact = 0, within = 0, sound = 0, agrees = 0, no_worse = 0;
  for (int trial = 0; trial < trials; trial++) {
    instance instance;
    make_instance(&instance, 1 + random_below(trial % 10 ? 4 : 5), bumpy);
    uint8_t bits[MOST_ITEMS];
    actnn_allocation result;
    uint64_t bytes;
    if (actnn_allocate(instance.item, instance.count, instance.budget, bits, NULL, &result))
      continue;
    double cost = cost_at(&instance, bits, &bytes), best = brute_force(&instance);
    agrees += bytes == result.bytes && bytes <= instance.budget && fabs(cost - result.cost) <= 1e-9 * cost;
    exact += cost <= best * (1 + 1e-9);
    within += cost <= best * 1.01 || cost - result.bound <= largest_step(&instance, bits) * (1 + 1e-9);
    sound += result.bound <= best * (1 + 1e-9);
    no_worse += bumpy || cost <= plain_greedy(&instance) * (1 + 1e-9);
  }
  printf("# %d instances%s: %d exactly optimal\n", trials, bumpy ? " with uneven tables" : "", exact);
  ok(agrees == trials, "the result fits and is what it says");
  ok(within == trials, "within one step of the optimum");
  ok(sound == trials, "the bound is below the optimum");
  ok(exact > trials / 2, "mostly the optimum itself");
  ok(no_worse == trials, "never worse than plain greedy");
}

static void
test_monotone(void)
{
  int falls = 1;
  for (int trial = 0; trial < 200; trial++) {
    instance instance;
    make_instance(&instance, 5, trial % 2);
    double before = INFINITY;
    for (uint64_t budget = 0; budget < 1800; budget++) {
      uint8_t bits[MOST_ITEMS];
      actnn_allocation result;
      if (actnn_allocate(instance.item, instance.count, budget, bits, NULL, &result))
        continue;
      falls &= result.cost <= before * (1 + 1e-12) && result.bytes <= budget;
      before = result.cost;
    }
  }
  ok(falls, "a larger budget never costs more");
}

static void
test_edges(void)
{
  uint64_t table[9] = {0, 10, 20, 30, 40, 50, 60, 70, 80};
  actnn_allocation_item item[3] = {{0, table}, {0, table}, {0, table}};
  uint8_t bits[3];
  double fraction[3];
  actnn_allocation result;
  ok(actnn_allocate(item, 3, 90, bits, NULL, &result) == ACTNN_ALLOCATION_DONE && bits[0] == 3 &&
         bits[1] == 3 && bits[2] == 3 && result.cost == 0,
     "weights all zero: the same bits everywhere");
  ok(actnn_allocate(item, 3, 29, bits, NULL, &result) == ACTNN_ALLOCATION_BUDGET && result.bytes == 30,
     "a budget below one bit is refused and says what it takes");
  ok(actnn_allocate(item, 3, 30, bits, NULL, &result) == ACTNN_ALLOCATION_DONE && bits[2] == 1,
     "one bit each");
  ok(actnn_allocate(item, 3, UINT64_MAX, bits, NULL, &result) == ACTNN_ALLOCATION_DONE && bits[2] == 8 &&
         result.bytes == 240,
     "never more than eight bits");
  ok(actnn_allocate(item, 0, 0, bits, NULL, &result) == ACTNN_ALLOCATION_DONE, "no items");
  uint64_t small[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  actnn_allocation_item pair[2] = {{1, table}, {0.001, small}};
  ok(actnn_allocate(pair, 2, 11 + 9, bits, NULL, &result) == ACTNN_ALLOCATION_DONE && bits[0] == 1 &&
         bits[1] == 8 && result.bytes == 18,
     "what is left of the budget is refilled by smaller steps");
  item[1].weight = NAN;
  ok(actnn_allocate(item, 3, 90, bits, NULL, &result) == ACTNN_ALLOCATION_WEIGHT,
     "a weight that is not a number");
  item[1].weight = INFINITY;
  ok(actnn_allocate(item, 3, 90, bits, NULL, &result) == ACTNN_ALLOCATION_WEIGHT, "an infinite weight");
  item[1].weight = -1;
  ok(actnn_allocate(item, 3, 90, bits, NULL, &result) == ACTNN_ALLOCATION_WEIGHT, "a negative weight");
  item[1].weight = 1e308;
  item[0].weight = 1e308;
  item[2].weight = 1e-308;
  ok(actnn_allocate(item, 3, 95, bits, fraction, &result) == ACTNN_ALLOCATION_DONE && bits[0] == 4 &&
         bits[1] == 4 && bits[2] == 1,
     "extreme weights do not overflow");
  ok(fraction[0] == 4.5 && fraction[1] == 4 && fraction[2] == 1,
     "with fractions, one item takes what is left");
  uint64_t huge[9] = {0,          UINT64_MAX - 1, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX,
                      UINT64_MAX, UINT64_MAX,     UINT64_MAX,     UINT64_MAX};
  item[0].bytes = item[1].bytes = huge;
  ok(actnn_allocate(item, 3, UINT64_MAX - 2, bits, NULL, &result) == ACTNN_ALLOCATION_BUDGET,
     "sizes that overflow are refused");
}

static void
test_large(void)
{
  enum { COUNT = 100000 };
  actnn_allocation_item *item = malloc(COUNT * sizeof *item);
  uint64_t(*table)[9] = malloc(COUNT * sizeof *table), all = 0;
  uint8_t *bits = malloc(COUNT);
  if (!item || !table || !bits)
    exit(1);
  for (size_t i = 0; i < COUNT; i++) {
    uint64_t size = 16 * (1 + random_below(5000));
    for (int b = 1; b <= 8; b++)
      table[i][b] = size * (uint64_t)b;
    item[i] = (actnn_allocation_item){random_weight(), table[i]};
    all += size;
  }
  int fast = 1, tight = 1;
  for (uint64_t average = 2; average <= 6; average += 2) {
    actnn_allocation result;
    clock_t begin = clock();
    int status = actnn_allocate(item, COUNT, all * average, bits, NULL, &result);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    printf("# %d items, %d bits: %.3f s, %.2e above the bound\n", COUNT, (int)average, seconds,
           result.cost / result.bound - 1);
    fast &= seconds < 0.5; /* 0.1 s on a quiet machine */
    tight &= !status && result.bytes <= all * average && result.cost <= result.bound * (1 + 1e-4);
  }
  ok(fast, "a hundred thousand items in a moment");
  ok(tight, "and within a ten-thousandth of the bound");
  free(item);
  free(table);
  free(bits);
}

int
main(void)
{
  test_small(0);
  test_small(1);
  test_monotone();
  test_edges();
  test_large();
  return tap_done();
}
