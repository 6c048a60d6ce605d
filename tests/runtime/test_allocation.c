/* test_allocation.c: the choices made under a budget, against enumeration, dynamic programming and ActNN's greedy. */
#include "allocation.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST_ITEMS = 60, MOST_CHOICES = ACTNN_ALLOCATION_CHOICES };

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

/* ---- Instances ----------------------------------------------------------------------------------- */

typedef struct instance {
  size_t count;
  actnn_allocation_item item[MOST_ITEMS];
  uint64_t bytes[MOST_ITEMS][MOST_CHOICES];
  double cost[MOST_ITEMS][MOST_CHOICES];
  uint64_t budget;
} instance;

/* Fills in one item's tables. */
typedef void maker(instance *instance, size_t item, int choices);

/* Codes as they are: some of these numbers of levels, packed, with four bytes of header for each 256 elements. */
static void
make_packed(instance *instance, size_t item, int choices)
{
  static const struct {
    int levels, elements, bytes; /* so many elements in so many bytes */
  } packing[8] = {{2, 8, 1}, {3, 5, 1}, {4, 4, 1}, {5, 24, 7}, {6, 3, 1}, {8, 8, 3}, {11, 16, 7}, {16, 2, 1}};
  uint64_t elements = 1 + random_below(random_below(2) ? 1000 : 100000);
  double weight = (double)elements * random_weight();
  int choice = 0;
  for (int i = 0; i < 8; i++) {
    if ((int)random_below((uint64_t)(8 - i)) >= choices - choice)
      continue;
    uint64_t packs = (elements + (uint64_t)packing[i].elements - 1) / (uint64_t)packing[i].elements;
    instance->bytes[item][choice] = packs * (uint64_t)packing[i].bytes + (elements + 255) / 256 * 4;
    instance->cost[item][choice++] = weight / ((packing[i].levels - 1) * (packing[i].levels - 1));
  }
}

/* Falling costs with steps that save ever less per byte. */
static void
make_convex(instance *instance, size_t item, int choices)
{
  double gain = random_weight(), cost = (double)random_below(100);
  uint64_t bytes = 1 + random_below(100);
  for (int i = choices - 1; i >= 0; i--) {
    instance->cost[item][i] = cost;
    instance->bytes[item][i] = 1 + random_below(200);
    cost += gain * (double)instance->bytes[item][i];
    gain *= 1 + (double)random_below(1000) / 500;
  }
  for (int i = 0; i < choices; i++) {
    bytes += instance->bytes[item][i];
    instance->bytes[item][i] = bytes;
  }
}

/* No order at all, some choices forbidden, never all. */
static void
make_wild(instance *instance, size_t item, int choices)
{
  int allowed = (int)random_below((uint64_t)choices);
  for (int i = 0; i < choices; i++) {
    instance->bytes[item][i] = random_below(300);
    instance->cost[item][i] = i != allowed && !random_below(8) ? INFINITY : (double)random_below(1000) / 10;
  }
}

/* Whole bits 1 to 8, as ActNN's greedy takes them. */
static void
make_bits(instance *instance, size_t item, int choices)
{
  uint64_t size = 1 + random_below(2000);
  double weight = (double)size * random_weight();
  for (int i = 0; i < choices; i++) {
    double top = (2 << i) - 1;
    instance->bytes[item][i] = size * (uint64_t)(i + 1) + 4;
    instance->cost[item][i] = weight / (top * top);
  }
}

/* The same with few weights, so that many steps save the same per byte. */
static void
make_ties(instance *instance, size_t item, int choices)
{
  uint64_t size = 1 + random_below(2000), weight = size << random_below(3);
  for (int i = 0; i < choices; i++) {
    double top = (2 << i) - 1;
    instance->bytes[item][i] = size * (uint64_t)(i + 1) + 4;
    instance->cost[item][i] = (double)weight / (top * top);
  }
}

/* The fewest bytes of all, and the most. */
static void
extremes(const instance *instance, uint64_t *least, uint64_t *most)
{
  *least = *most = 0;
  for (size_t i = 0; i < instance->count; i++) {
    uint64_t smallest = UINT64_MAX, largest = 0;
    for (int choice = 0; choice < instance->item[i].choices; choice++) {
      uint64_t bytes = instance->bytes[i][choice];
      largest = bytes > largest ? bytes : largest;
      if (isfinite(instance->cost[i][choice]) && bytes < smallest)
        smallest = bytes;
    }
    *least += smallest;
    *most += largest;
  }
}

/* choices: how many each item has; 0: 2 to 8. The budget lies between all items' fewest and most bytes. */
static void
make_instance(instance *instance, size_t count, maker *make, int choices)
{
  uint64_t least, most;
  instance->count = count;
  for (size_t i = 0; i < count; i++) {
    int has = choices ? choices : 2 + (int)random_below(7);
    instance->item[i] = (actnn_allocation_item){instance->bytes[i], instance->cost[i], has};
    make(instance, i, has);
  }
  extremes(instance, &least, &most);
  instance->budget = least + random_below(most - least + 1);
}

static double
cost_of(const instance *instance, const uint8_t *choice, uint64_t *bytes)
{
  double cost = 0;
  *bytes = 0;
  for (size_t i = 0; i < instance->count; i++) {
    cost += instance->cost[i][choice[i]];
    *bytes += instance->bytes[i][choice[i]];
  }
  return cost;
}

/* Allocates in scratch of the size asked for, full of what the allocation before left there. */
static actnn_allocation_status
allocate(const actnn_allocation_item *item, size_t count, uint64_t budget, uint8_t *choice, uint8_t *relaxed,
         actnn_allocation *result)
{
  static void *scratch;
  int choices = 1;
  for (size_t i = 0; i < count; i++)
    choices = item[i].choices > choices && item[i].choices <= MOST_CHOICES ? item[i].choices : choices;
  scratch = realloc(scratch, actnn_allocation_scratch(count, choices));
  if (!scratch)
    exit(1);
  return actnn_allocate(scratch, item, count, budget, choice, relaxed, result);
}

/* ---- Oracles ------------------------------------------------------------------------------------- */

/* Every combination of the items from `item` on, but for those that are over the budget or the best cost already. */
static void
enumerate(const instance *instance, size_t item, uint64_t left, double cost, double *best)
{
  if (item == instance->count) {
    *best = cost;
    return;
  }
  for (int choice = 0; choice < instance->item[item].choices; choice++)
    if (instance->bytes[item][choice] <= left && cost + instance->cost[item][choice] < *best)
      enumerate(instance, item + 1, left - instance->bytes[item][choice], cost + instance->cost[item][choice],
                best);
}

static double
brute_force(const instance *instance)
{
  double best = INFINITY;
  enumerate(instance, 0, instance->budget, 0, &best);
  return best;
}

/* The least cost for every number of bytes, item by item: for more items than can be enumerated. */
static double
dynamic_programming(const instance *instance)
{
  size_t places = (size_t)instance->budget + 1;
  double *now = malloc(places * sizeof *now), *next = malloc(places * sizeof *next);
  if (!now || !next)
    exit(1);
  for (size_t i = 0; i < places; i++)
    now[i] = 0;
  for (size_t item = 0; item < instance->count; item++) {
    for (size_t i = 0; i < places; i++)
      next[i] = INFINITY;
    for (int choice = 0; choice < instance->item[item].choices; choice++)
      for (size_t i = (size_t)instance->bytes[item][choice]; i < places; i++)
        next[i] = fmin(next[i], now[i - (size_t)instance->bytes[item][choice]] + instance->cost[item][choice]);
    double *swapped = now;
    now = next;
    next = swapped;
  }
  double best = now[places - 1];
  free(now);
  free(next);
  return best;
}

/* ActNN's: everything at the top, then down by one choice where that costs least per byte, until it fits; no
 * refill. */
static double
actnn_greedy(const instance *instance)
{
  uint8_t choice[MOST_ITEMS];
  uint64_t bytes;
  for (size_t i = 0; i < instance->count; i++)
    choice[i] = (uint8_t)(instance->item[i].choices - 1);
  double cost = cost_of(instance, choice, &bytes);
  while (bytes > instance->budget) {
    size_t victim = instance->count;
    double least = INFINITY;
    for (size_t i = 0; i < instance->count; i++) {
      int from = choice[i];
      if (from == 0)
        continue;
      double loss = (instance->cost[i][from - 1] - instance->cost[i][from]) /
                    (double)(instance->bytes[i][from] - instance->bytes[i][from - 1]);
      if (loss < least) {
        least = loss;
        victim = i;
      }
    }
    if (victim == instance->count)
      return INFINITY;
    choice[victim]--;
    cost = cost_of(instance, choice, &bytes);
  }
  return cost;
}

/* ---- Tests --------------------------------------------------------------------------------------- */

typedef double oracle(const instance *instance);

/* What came of many instances. */
typedef struct tally {
  int trials, exact, sound, agrees;
  double worst, gap; /* cost above the optimum, above the bound, as a fraction */
} tally;

static void
tally_one(tally *tally, const instance *instance, oracle *oracle)
{
  uint8_t choice[MOST_ITEMS], again[MOST_ITEMS], relaxed[MOST_ITEMS];
  actnn_allocation result, second;
  uint64_t bytes;
  tally->trials++;
  if (allocate(instance->item, instance->count, instance->budget, choice, relaxed, &result) ||
      allocate(instance->item, instance->count, instance->budget, again, NULL, &second))
    return;
  double cost = cost_of(instance, choice, &bytes), best = oracle(instance);
  bool same = cost == result.cost && bytes == result.bytes && cost == second.cost && result.bound == second.bound;
  uint64_t base_bytes, part = 0;
  double bound = cost_of(instance, relaxed, &base_bytes);
  for (size_t i = 0; i < instance->count; i++)
    same &= choice[i] == again[i];
  if (result.split_item < instance->count) {
    size_t item = result.split_item;
    bound -= result.split_part * (instance->cost[item][relaxed[item]] - instance->cost[item][result.split_to]);
    part = instance->budget - base_bytes;
  }
  tally->agrees += same && bytes <= instance->budget && base_bytes + part <= instance->budget;
  tally->exact += cost <= best * (1 + 1e-9);
  tally->sound += result.bound <= best * (1 + 1e-9) && fabs(bound - result.bound) <= 1e-9 * bound;
  tally->worst = fmax(tally->worst, best > 0 ? cost / best - 1 : cost > 0);
  tally->gap = fmax(tally->gap, result.bound > 0 ? cost / result.bound - 1 : cost > 0);
}

static void
test_tally(const char *what, maker *make, int trials, size_t least, size_t most, oracle *oracle, double exact)
{
  tally tally = {0};
  for (int trial = 0; trial < trials; trial++) {
    instance instance;
    make_instance(&instance, least + random_below(most - least + 1), make, 0);
    tally_one(&tally, &instance, oracle);
  }
  printf("# %s, %zu to %zu items: %d of %d exactly optimal, worst %.3g %% above, and %.3g %% above the bound\n", what,
         least, most, tally.exact, trials, 100 * tally.worst, 100 * tally.gap);
  ok(tally.agrees == trials, "%s, %zu to %zu items: the result fits, is what it says and comes again", what, least,
     most);
  ok(tally.sound == trials, "%s, %zu to %zu items: the bound is that of the relaxation", what, least, most);
  ok(tally.exact >= exact * trials && tally.worst <= 0.01,
     "%s, %zu to %zu items: optimal in %g %% and never 1 %% worse", what, least, most, 100 * exact);
}

static void
test_against_actnn(const char *what, maker *make)
{
  int trials = 1000, no_worse = 0, better = 0;
  double most = 0;
  for (int trial = 0; trial < trials; trial++) {
    instance instance;
    uint8_t choice[MOST_ITEMS];
    actnn_allocation result;
    make_instance(&instance, 2 + random_below(MOST_ITEMS - 1), make, 8);
    double greedy = actnn_greedy(&instance);
    if (allocate(instance.item, instance.count, instance.budget, choice, NULL, &result))
      continue;
    no_worse += result.cost <= greedy * (1 + 1e-12);
    better += result.cost < greedy * (1 - 1e-12);
    most = fmax(most, greedy / result.cost - 1);
  }
  printf("# %s: ActNN's greedy is worse in %d of %d, by up to %.3g %%\n", what, better, trials, 100 * most);
  ok(no_worse == trials, "%s: never worse than ActNN's greedy", what);
}

/* Budgets from below the least to above the most: all of them where there are few, else some at random steps. */
static void
test_monotone(const char *what, maker *make, int trials, size_t least_items, size_t most_items, uint64_t steps)
{
  int falls = 1;
  long budgets = 0;
  for (int trial = 0; trial < trials; trial++) {
    instance instance;
    uint64_t least, most;
    double before = INFINITY, bound = INFINITY;
    make_instance(&instance, least_items + random_below(most_items - least_items + 1), make, 0);
    extremes(&instance, &least, &most);
    uint64_t stride = (most - least) / steps * 2 + 1;
    for (uint64_t budget = least; budget <= most + 1; budget += 1 + random_below(stride)) {
      uint8_t choice[MOST_ITEMS];
      actnn_allocation result;
      falls &= !allocate(instance.item, instance.count, budget, choice, NULL, &result) &&
               result.cost <= before * (1 + 1e-12) && result.bound <= bound * (1 + 1e-12) && result.bytes <= budget;
      before = result.cost;
      bound = result.bound;
      budgets++;
    }
  }
  ok(falls, "%s, %zu to %zu items: a larger budget never costs more (%ld budgets)", what, least_items, most_items,
     budgets);
}

static void
test_edges(void)
{
  uint64_t even[8] = {10, 20, 30, 40, 50, 60, 70, 80};
  double cost[8] = {1, 1.0 / 9, 1.0 / 49, 1.0 / 225, 1.0 / 961, 1.0 / 3969, 1.0 / 16129, 1.0 / 65025}, none[8] = {0};
  actnn_allocation_item item[3] = {{even, cost, 8}, {even, cost, 8}, {even, none, 8}};
  uint8_t choice[3], relaxed[3];
  actnn_allocation result;
  ok(allocate(item, 3, 29, choice, NULL, &result) == ACTNN_ALLOCATION_BUDGET && result.bytes == 30 &&
         !choice[0] && !choice[1] && !choice[2] && result.cost == 2 && result.bound == 2,
     "a budget below the fewest bytes gets these, and is told");
  ok(allocate(item, 3, 30, choice, NULL, &result) == ACTNN_ALLOCATION_DONE && !choice[2] && result.split_part == 0,
     "the fewest bytes exactly");
  ok(allocate(item, 3, UINT64_MAX, choice, NULL, &result) == ACTNN_ALLOCATION_DONE && choice[0] == 7 &&
         choice[1] == 7 && choice[2] == 0 && result.bytes == 170 && result.bound == result.cost &&
         result.split_item == 3,
     "bytes that save nothing are not taken");
  ok(allocate(item, 0, 0, choice, NULL, &result) == ACTNN_ALLOCATION_DONE && result.cost == 0, "no items");
  ok(allocate(item, 2, 75, choice, relaxed, &result) == ACTNN_ALLOCATION_DONE && relaxed[0] == 2 &&
         relaxed[1] == 3 && result.split_item == 0 && result.split_to == 3 && result.split_part == 0.5,
     "in the relaxation one item takes a part of a step");
  double bad[8] = {1, NAN}, negative[8] = {1, -1}, forbidden[8] = {INFINITY, INFINITY};
  item[1] = (actnn_allocation_item){even, bad, 2};
  ok(allocate(item, 3, 90, choice, NULL, &result) == ACTNN_ALLOCATION_ITEM, "a cost that is not a number");
  item[1].cost = negative;
  ok(allocate(item, 3, 90, choice, NULL, &result) == ACTNN_ALLOCATION_ITEM, "a negative cost");
  item[1].cost = forbidden;
  ok(allocate(item, 3, 90, choice, NULL, &result) == ACTNN_ALLOCATION_ITEM, "no choice allowed");
  item[1] = (actnn_allocation_item){even, cost, 0};
  ok(allocate(item, 3, 90, choice, NULL, &result) == ACTNN_ALLOCATION_ITEM, "no choice at all");
  item[1].choices = MOST_CHOICES + 1;
  ok(allocate(item, 3, 90, choice, NULL, &result) == ACTNN_ALLOCATION_ITEM, "too many choices");
}

static void
test_extremes(void)
{
  uint64_t even[3] = {10, 20, 30}, huge[3] = {UINT64_MAX - 1, UINT64_MAX, UINT64_MAX};
  double large[3] = {1e308, 1e307, 1e306}, small[3] = {1e-308, 1e-309, 1e-310};
  actnn_allocation_item item[3] = {{even, large, 3}, {even, large, 3}, {even, small, 3}};
  uint8_t choice[3];
  actnn_allocation result;
  ok(allocate(item, 3, 75, choice, NULL, &result) == ACTNN_ALLOCATION_DONE && choice[0] == 2 && choice[1] == 2 &&
         choice[2] == 0,
     "extreme costs do not overflow");
  item[1].bytes = item[2].bytes = huge;
  ok(allocate(item, 3, UINT64_MAX - 1, choice, NULL, &result) == ACTNN_ALLOCATION_BUDGET &&
         result.bytes == UINT64_MAX,
     "sizes that overflow do not fit");
  ok(allocate(item + 1, 1, UINT64_MAX, choice, NULL, &result) == ACTNN_ALLOCATION_DONE && choice[0] == 2 &&
         result.bytes == UINT64_MAX,
     "the largest size there is");
  uint64_t many[MOST_CHOICES];
  double falling[MOST_CHOICES];
  for (int i = 0; i < MOST_CHOICES; i++) {
    many[i] = (uint64_t)(MOST_CHOICES - i);
    falling[i] = exp2(i);
  }
  item[0] = item[1] = item[2] = (actnn_allocation_item){many, falling, MOST_CHOICES};
  ok(allocate(item, 3, 45, choice, NULL, &result) == ACTNN_ALLOCATION_DONE && result.bytes == 45,
     "sixteen choices in falling bytes");
  ok(actnn_allocation_scratch(SIZE_MAX / 8, 8) == 0, "more items than can be addressed");
}

/* Could an item still cost less by bytes that are left? */
static bool
is_spent(const actnn_allocation_item *item, size_t count, const uint8_t *choice, uint64_t left)
{
  for (size_t i = 0; i < count; i++)
    for (int k = 0; k < item[i].choices; k++)
      if (item[i].cost[k] < item[i].cost[choice[i]] && item[i].bytes[k] <= item[i].bytes[choice[i]] + left)
        return false;
  return true;
}

static void
test_large(void)
{
  enum { COUNT = 100000, CHOICES = 8 };
  actnn_allocation_item *item = malloc(COUNT * sizeof *item);
  uint64_t(*bytes)[CHOICES] = malloc(COUNT * sizeof *bytes);
  double(*cost)[CHOICES] = malloc(COUNT * sizeof *cost);
  uint8_t *choice = malloc(COUNT);
  void *scratch = malloc(actnn_allocation_scratch(COUNT, CHOICES));
  if (!item || !bytes || !cost || !choice || !scratch)
    exit(1);
  uint64_t least = 0, most = 0;
  for (size_t i = 0; i < COUNT; i++) {
    static instance one;
    make_packed(&one, 0, CHOICES);
    for (int k = 0; k < CHOICES; k++) {
      bytes[i][k] = one.bytes[0][k];
      cost[i][k] = one.cost[0][k];
    }
    item[i] = (actnn_allocation_item){bytes[i], cost[i], CHOICES};
    least += bytes[i][0];
    most += bytes[i][CHOICES - 1];
  }
  int tight = 1, spent = 1;
  for (int part = 0; part <= 10; part += part < 8 ? 2 : 1) {
    actnn_allocation result;
    uint64_t budget = least + (most - least) / 10 * (uint64_t)part;
    clock_t begin = clock();
    int status = actnn_allocate(scratch, item, COUNT, budget, choice, NULL, &result);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    printf("# %d items of %d choices, budget at %d %%: %.3f s, %.2e above the bound\n", COUNT, CHOICES, part * 10,
           seconds, result.cost / result.bound - 1);
    tight &= !status && result.bytes <= budget && result.cost <= result.bound * (1 + 1e-6);
    spent &= is_spent(item, COUNT, choice, budget - result.bytes);
  }
  ok(tight, "a hundred thousand items, within a millionth of the bound");
  ok(spent, "and no item could cost less by what is left");
  free(item);
  free(bytes);
  free(cost);
  free(choice);
  free(scratch);
}

int
main(void)
{
  test_tally("packed codes", make_packed, 10000, 2, 7, brute_force, 0.99);
  test_tally("equal gains", make_ties, 2000, 2, 7, brute_force, 0.99);
  test_tally("convex", make_convex, 2000, 2, 7, brute_force, 0.99);
  test_tally("wild", make_wild, 2000, 2, 7, brute_force, 0.99);
  test_tally("convex", make_convex, 200, 8, MOST_ITEMS, dynamic_programming, 0.95);
  test_tally("wild", make_wild, 200, 8, MOST_ITEMS, dynamic_programming, 0.95);
  test_against_actnn("bits", make_bits);
  test_against_actnn("equal gains", make_ties);
  test_monotone("packed codes", make_packed, 100, 2, 7, 500);
  test_monotone("packed codes", make_packed, 100, 8, MOST_ITEMS, 500);
  test_monotone("wild", make_wild, 50, 2, 7, 100000);
  test_monotone("wild", make_wild, 50, 8, MOST_ITEMS, 500);
  test_monotone("equal gains", make_ties, 50, 8, MOST_ITEMS, 500);
  test_edges();
  test_extremes();
  test_large();
  return tap_done();
}
