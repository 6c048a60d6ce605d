/* allocation.c: greedy on the lower convex hull, then the best of two ways to use the rest.
 *
 * Every item starts with its fewest bytes and climbs along the convex hull of its (bytes, cost) choices; of all items'
 * steps the one that saves most per byte is taken first. Up to the first step that does not fit this is the base:
 * together with a part of that step it is the optimum of the problem with fractions, which gives the bound. The rest
 * is used by whichever of two saves more:
 *
 * - the refill: on from the base, steps that do not fit are passed over, or replaced by a smaller one of the same item;
 * - the core (allocation_core.c): the exact optimum over the few items whose choices are closest.
 *
 * A larger budget never costs more. If its base is another, then that base alone costs no more than anything within the
 * smaller budget: it is the optimum of the problem with fractions for the bytes it takes, and these are more. If the
 * base is the same, neither way saves less. The refill takes steps in falling order of gain per byte: where two runs
 * first differ, the larger one takes a step bigger than all that the smaller has left, at a gain per byte at least as
 * good as any that the smaller still takes. The core chooses from lists that depend on the base only.
 */
#include "allocation_search.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

typedef struct offer {
  double gain; /* cost saved per byte */
  uint64_t bytes;
} offer;

typedef struct step {
  double gain;
  uint32_t item;
  uint8_t to;
} step;

typedef struct climb {
  const actnn_allocation_item *item;
  size_t count;
  uint64_t left;
  uint8_t *choice;
  offer *offers;   /* later the heap: */
  step *heap;      /* one step an item, */
  size_t heap_count;
  uint8_t *path;   /* by item, `most_steps` places: the hull's choices after the start; NO_STEP ends them early */
  uint8_t *passed; /* by item: how many of these were passed */
  int most_steps;
} climb;

enum { NO_STEP = ACTNN_ALLOCATION_CHOICES, MOST_SPARE = 2 * ALLOCATION_CORE_HALF };

_Static_assert(sizeof(step) <= sizeof(offer), "the scratch of offers holds the heap");

static double
gain_of(const actnn_allocation_item *item, int from, int to)
{
  return (item->cost[from] - item->cost[to]) / (double)(item->bytes[to] - item->bytes[from]);
}

/* The best step of an item from a choice: most gain per byte among those that take at most `most_bytes` more; NO_STEP
 * when none saves anything. Among equals the smaller step. */
static int
next_step(const actnn_allocation_item *item, int from, uint64_t most_bytes, double *gain)
{
  int best = NO_STEP;
  for (int to = 0; to < item->choices; to++) {
    if (item->bytes[to] <= item->bytes[from] || item->bytes[to] - item->bytes[from] > most_bytes ||
        !(item->cost[to] < item->cost[from]))
      continue;
    double offered = gain_of(item, from, to);
    if (best != NO_STEP && (offered < *gain || (offered == *gain && item->bytes[to] >= item->bytes[best])))
      continue;
    *gain = offered;
    best = to;
  }
  return best;
}

static uint64_t
add(uint64_t a, uint64_t b)
{
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---- The base ------------------------------------------------------------------------------------ */

/* The allowed choice of fewest bytes, and of these the one of least cost; NO_STEP for an unusable item. */
static int
smallest(const actnn_allocation_item *item)
{
  int best = NO_STEP;
  if (item->choices < 1 || item->choices > ACTNN_ALLOCATION_CHOICES)
    return NO_STEP;
  for (int to = 0; to < item->choices; to++) {
    if (!(item->cost[to] >= 0))
      return NO_STEP;
    if (!isfinite(item->cost[to]))
      continue;
    if (best == NO_STEP || item->bytes[to] < item->bytes[best] ||
        (item->bytes[to] == item->bytes[best] && item->cost[to] < item->cost[best]))
      best = to;
  }
  return best;
}

/* Step number `number` along the hull of an item, from `from`; its gain never exceeds the one before, `*gain`, also
 * where rounding says otherwise. */
static int
hull_step(const climb *climb, size_t index, int number, int from, double *gain)
{
  if (number == climb->most_steps)
    return NO_STEP;
  int to = climb->path[index * (size_t)climb->most_steps + (size_t)number];
  if (to != NO_STEP)
    *gain = fmin(*gain, gain_of(&climb->item[index], from, to));
  return to;
}

/* Walks along the hull of an item, notes the path and lists its steps. How many there are. */
static size_t
list_steps(climb *climb, size_t index, offer *offers)
{
  const actnn_allocation_item *item = &climb->item[index];
  uint8_t *path = &climb->path[index * (size_t)climb->most_steps];
  int from = climb->choice[index];
  double gain = 0, least = INFINITY;
  size_t steps = 0;
  for (int to; (to = next_step(item, from, UINT64_MAX, &gain)) != NO_STEP; from = to) {
    least = fmin(least, gain);
    path[steps] = (uint8_t)to;
    offers[steps++] = (offer){least, item->bytes[to] - item->bytes[from]};
  }
  if (steps < (size_t)climb->most_steps)
    path[steps] = NO_STEP;
  return steps;
}

static void
swap(offer *a, offer *b)
{
  offer kept = *a;
  *a = *b;
  *b = kept;
}

/* The largest gain whose steps do not all fit together with the better ones; -1 when everything fits.
 * Quickselect: parts the offers about a pivot and goes on in the part where the budget ends. */
static double
first_refused(offer *offers, size_t count, uint64_t budget)
{
  double refused = -1;
  while (count > 0) {
    double pivot = offers[count / 2].gain;
    size_t better = 0, worse = count, at = 0;
    uint64_t better_bytes = 0, equal_bytes = 0;
    while (at < worse) {
      if (offers[at].gain > pivot) {
        better_bytes = add(better_bytes, offers[at].bytes);
        swap(&offers[at++], &offers[better++]);
      } else if (offers[at].gain < pivot) {
        swap(&offers[at], &offers[--worse]);
      } else {
        equal_bytes = add(equal_bytes, offers[at++].bytes);
      }
    }
    if (better_bytes > budget) {
      refused = pivot;
      count = better;
      continue;
    }
    if (equal_bytes > budget - better_bytes)
      return pivot;
    budget -= better_bytes + equal_bytes;
    offers += worse;
    count -= worse;
  }
  return refused;
}

static void
take_hull_step(climb *climb, size_t index, int to)
{
  const uint64_t *bytes = climb->item[index].bytes;
  climb->left -= bytes[to] - bytes[climb->choice[index]];
  climb->choice[index] = (uint8_t)to;
  climb->passed[index]++;
}

/* Takes all steps better than `refused`, then those just as good up to the first that does not fit: from the last item
 * on, which leaves what ActNN's greedy, from the top down and from the first item on, would. True when there is one:
 * *first. */
static bool
climb_to_base(climb *climb, double refused, step *first)
{
  for (size_t i = 0; i < climb->count; i++) {
    double gain = INFINITY;
    int to;
    climb->passed[i] = 0;
    while ((to = hull_step(climb, i, climb->passed[i], climb->choice[i], &gain)) != NO_STEP && gain > refused)
      take_hull_step(climb, i, to);
  }
  for (size_t i = climb->count; refused >= 0 && i-- > 0;) {
    int to;
    for (;;) {
      double gain = refused;
      to = hull_step(climb, i, climb->passed[i], climb->choice[i], &gain);
      if (to == NO_STEP || gain < refused)
        break;
      const uint64_t *bytes = climb->item[i].bytes;
      if (bytes[to] - bytes[climb->choice[i]] > climb->left) {
        *first = (step){refused, (uint32_t)i, (uint8_t)to};
        return true;
      }
      take_hull_step(climb, i, to);
    }
  }
  return false;
}

/* ---- The refill ---------------------------------------------------------------------------------- */

/* Larger gain first, then the lower number: the result does not depend on how the heap was built. */
static bool
comes_first(const step *a, const step *b)
{
  return a->gain > b->gain || (a->gain == b->gain && a->item < b->item);
}

static void
sift_down(climb *climb, size_t at)
{
  step *heap = climb->heap, moving = heap[at];
  for (size_t child; (child = 2 * at + 1) < climb->heap_count; at = child) {
    if (child + 1 < climb->heap_count && comes_first(&heap[child + 1], &heap[child]))
      child++;
    if (!comes_first(&heap[child], &moving))
      break;
    heap[at] = heap[child];
  }
  heap[at] = moving;
}

/* Sets *next to the item's best step among those that still fit; false when there is none. */
static bool
fitting_step(const climb *climb, size_t index, step *next)
{
  double gain = 0;
  int to = next_step(&climb->item[index], climb->choice[index], climb->left, &gain);
  *next = (step){gain, (uint32_t)index, (uint8_t)to};
  return to != NO_STEP;
}

/* Takes what still fits, the best first. The cost that it saves. */
static double
refill(climb *climb)
{
  double saved = 0;
  climb->heap_count = 0;
  for (size_t i = 0; i < climb->count; i++)
    climb->heap_count += fitting_step(climb, i, &climb->heap[climb->heap_count]);
  for (size_t at = climb->heap_count / 2; at-- > 0;)
    sift_down(climb, at);
  while (climb->heap_count > 0) {
    step *first = &climb->heap[0];
    const actnn_allocation_item *item = &climb->item[first->item];
    uint8_t *choice = &climb->choice[first->item];
    uint64_t more = item->bytes[first->to] - item->bytes[*choice];
    if (more <= climb->left) {
      climb->left -= more;
      saved += item->cost[*choice] - item->cost[first->to];
      *choice = first->to;
    }
    if (!fitting_step(climb, first->item, first))
      *first = climb->heap[--climb->heap_count];
    if (climb->heap_count > 0)
      sift_down(climb, 0);
  }
  return saved;
}

/* ---- All of it ----------------------------------------------------------------------------------- */

static double
cost_of(const climb *climb, const uint8_t *choice)
{
  double cost = 0;
  for (size_t i = 0; i < climb->count; i++)
    cost += climb->item[i].cost[choice[i]];
  return cost;
}

/* Uses the bytes that the base leaves: by refill, or by changes of the core where these save more. */
static void
use_rest(climb *climb, const uint8_t *base, const step *first)
{
  const actnn_allocation_item *refused = &climb->item[first->item];
  allocation_search search = {climb->item, climb->count, base, climb->left, first->gain,
                              refused->cost[base[first->item]] - refused->cost[first->to]};
  allocation_change changes[MOST_SPARE];
  size_t change_count;
  double refilled = refill(climb);
  if (allocation_core(&search, climb->offers, changes, &change_count) <= refilled)
    return;
  memcpy(climb->choice, base, climb->count);
  for (size_t i = 0; i < change_count; i++)
    climb->choice[changes[i].item] = changes[i].to;
}

/* Gives every item its smallest choice and takes that from the budget. */
static actnn_allocation_status
start(climb *climb, uint64_t budget, actnn_allocation *result)
{
  for (size_t i = 0; i < climb->count; i++) {
    int first = smallest(&climb->item[i]);
    if (first == NO_STEP)
      return ACTNN_ALLOCATION_ITEM;
    climb->choice[i] = (uint8_t)first;
    climb->most_steps = climb->item[i].choices > climb->most_steps + 1 ? climb->item[i].choices - 1 : climb->most_steps;
    result->bytes = add(result->bytes, climb->item[i].bytes[first]);
  }
  if (result->bytes > budget) {
    result->cost = result->bound = cost_of(climb, climb->choice);
    return ACTNN_ALLOCATION_BUDGET;
  }
  climb->left = budget - result->bytes;
  return ACTNN_ALLOCATION_DONE;
}

/* Offers, then the heap, then the core's lists lie in the same place: each is forgotten when the next is made. */
static size_t
shared_scratch(size_t count, int most_steps)
{
  size_t offers = count * (size_t)(most_steps > 0 ? most_steps : 1) * sizeof(offer), core = allocation_core_scratch();
  return offers > core ? offers : core;
}

size_t
actnn_allocation_scratch(size_t count, int choices)
{
  size_t each = (size_t)ACTNN_ALLOCATION_CHOICES * (sizeof(offer) + 1) + 2;
  if (count > UINT32_MAX || count > SIZE_MAX / 2 / each)
    return 0;
  return shared_scratch(count, choices - 1) + count * (size_t)(choices + 1);
}

actnn_allocation_status
actnn_allocate(void *scratch, const actnn_allocation_item *item, size_t count, uint64_t budget, uint8_t *choice,
               uint8_t *relaxed, actnn_allocation *result)
{
  climb climb = {.item = item, .count = count, .choice = choice, .offers = scratch, .heap = scratch};
  *result = (actnn_allocation){.split_item = count};
  actnn_allocation_status status = start(&climb, budget, result);
  if (status == ACTNN_ALLOCATION_ITEM)
    return status;
  climb.passed = (uint8_t *)scratch + shared_scratch(count, climb.most_steps);
  climb.path = climb.passed + count;
  uint8_t *base = relaxed ? relaxed : climb.path + count * (size_t)climb.most_steps;
  step first;
  size_t offers = 0;
  for (size_t i = 0; status == ACTNN_ALLOCATION_DONE && i < count; i++)
    offers += list_steps(&climb, i, climb.offers + offers);
  bool is_short = status == ACTNN_ALLOCATION_DONE &&
                  climb_to_base(&climb, first_refused(climb.offers, offers, climb.left), &first);
  memcpy(base, choice, count);
  if (status != ACTNN_ALLOCATION_DONE)
    return status;
  result->bound = cost_of(&climb, base);
  if (is_short) {
    const actnn_allocation_item *refused = &item[first.item];
    double more = (double)(refused->bytes[first.to] - refused->bytes[base[first.item]]);
    result->split_item = first.item;
    result->split_to = first.to;
    result->split_part = (double)climb.left / more;
    result->bound -= result->split_part * (refused->cost[base[first.item]] - refused->cost[first.to]);
    use_rest(&climb, base, &first);
  }
  result->cost = cost_of(&climb, choice);
  result->bound = fmin(result->bound, result->cost);
  result->bytes = 0;
  for (size_t i = 0; i < count; i++)
    result->bytes += item[i].bytes[choice[i]];
  return ACTNN_ALLOCATION_DONE;
}
