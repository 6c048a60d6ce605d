/* allocation.c: greedy with refill on the lower convex hull.
 *
 * Every item starts with its fewest bytes. A heap offers each item's next step along the convex hull of its
 * (bytes, cost) choices; the step that saves most per byte is taken first. Up to the first step that does not
 * fit, this is the optimum of the problem with fractions, which gives the bound. From there on steps that do
 * not fit are passed over, or replaced by a smaller one of the same item, until the heap is empty: the
 * refill.
 *
 * With steps taken in falling order of gain per byte a larger budget never costs more: where two runs first
 * differ, the larger one takes a step bigger than all that the smaller has left, at a gain per byte at least
 * as good.
 */
#include "allocation.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = ACTNN_ALLOCATION_BITS };

typedef struct step {
  double gain; /* cost saved per byte */
  uint32_t item;
  uint8_t to;
} step;

typedef struct search {
  const actnn_allocation_item *item;
  double scale; /* weights are divided by the largest */
  uint8_t *bits;
  step *heap;
  size_t heap_count;
  uint64_t left;
} search;

static double
noise_at(int bits)
{
  static const double noise[MOST + 1] = {0,         1,          1.0 / 9,     1.0 / 49,   1.0 / 225,
                                         1.0 / 961, 1.0 / 3969, 1.0 / 16129, 1.0 / 65025};
  return noise[bits];
}

static double
weight_of(const search *search, size_t item)
{
  if (search->scale > 0)
    return search->item[item].weight / search->scale;
  return (double)search->item[item].bytes[MOST];
}

/* The best step of an item from its bits: most gain per byte among those that take at most `most_bytes` more.
 * False when there is none. Among equals the smaller step. */
static bool
next_step(const search *search, size_t item, uint64_t most_bytes, step *next)
{
  const uint64_t *bytes = search->item[item].bytes;
  int from = search->bits[item];
  double weight = weight_of(search, item);
  bool found = false;
  for (int to = from + 1; to <= MOST; to++) {
    if (bytes[to] <= bytes[from] || bytes[to] - bytes[from] > most_bytes)
      continue; /* choices that take no more were made use of before */
    double gain = weight * (noise_at(from) - noise_at(to)) / (double)(bytes[to] - bytes[from]);
    if (found && gain <= next->gain)
      continue;
    *next = (step){gain, (uint32_t)item, (uint8_t)to};
    found = true;
  }
  return found;
}

/* The most bits for the bytes of `bits` or less. */
static uint8_t
widest(const uint64_t *bytes, int bits)
{
  int best = bits;
  for (int to = bits + 1; to <= MOST; to++)
    if (bytes[to] <= bytes[best])
      best = to;
  return (uint8_t)best;
}

/* Larger gain first, then the lower number: the result does not depend on how the heap was built. */
static bool
comes_first(const step *a, const step *b)
{
  return a->gain > b->gain || (a->gain == b->gain && a->item < b->item);
}

static void
sift_down(search *search, size_t at)
{
  step *heap = search->heap, moving = heap[at];
  for (size_t child; (child = 2 * at + 1) < search->heap_count; at = child) {
    if (child + 1 < search->heap_count && comes_first(&heap[child + 1], &heap[child]))
      child++;
    if (!comes_first(&heap[child], &moving))
      break;
    heap[at] = heap[child];
  }
  heap[at] = moving;
}

/* Puts the item's next step in place of the heap's first, or takes the first away. */
static void
replace_first(search *search, size_t item, uint64_t most_bytes)
{
  if (!next_step(search, item, most_bytes, &search->heap[0])) {
    search->heap[0] = search->heap[search->heap_count - 1];
    search->heap_count--;
  }
  if (search->heap_count > 0)
    sift_down(search, 0);
}

/* ---- Jumping ahead: most steps are better than the first one that does not fit, and need no heap ---- */

typedef struct offer {
  double gain;
  uint64_t bytes;
} offer;

static void
swap(offer *a, offer *b)
{
  offer kept = *a;
  *a = *b;
  *b = kept;
}

static uint64_t
add(uint64_t a, uint64_t b)
{
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
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

/* Takes all steps that are better than the first one refused: the heap would do the same, only slower. */
static void
jump_ahead(search *search, size_t count, offer *offers)
{
  size_t offer_count = 0;
  step next;
  for (size_t i = 0; i < count; i++) {
    uint8_t start = search->bits[i];
    while (next_step(search, i, UINT64_MAX, &next)) {
      const uint64_t *bytes = search->item[i].bytes;
      offers[offer_count++] = (offer){next.gain, bytes[next.to] - bytes[search->bits[i]]};
      search->bits[i] = widest(bytes, next.to);
    }
    search->bits[i] = start;
  }
  double refused = first_refused(offers, offer_count, search->left);
  for (size_t i = 0; i < count; i++)
    while (next_step(search, i, UINT64_MAX, &next) && next.gain > refused) {
      search->left -= search->item[i].bytes[next.to] - search->item[i].bytes[search->bits[i]];
      search->bits[i] = widest(search->item[i].bytes, next.to);
    }
}

static double
cost_of(const search *search, size_t count)
{
  double cost = 0;
  for (size_t i = 0; i < count; i++)
    cost += search->item[i].weight * noise_at(search->bits[i]);
  return cost;
}

/* The bound, from the state at the first step that does not fit. */
static void
record_bound(const search *search, size_t count, const step *refused, double *fraction,
             actnn_allocation *result)
{
  result->bound = cost_of(search, count);
  for (size_t i = 0; fraction && i < count; i++)
    fraction[i] = search->bits[i];
  if (!refused)
    return;
  const uint64_t *bytes = search->item[refused->item].bytes;
  int from = search->bits[refused->item];
  double part = (double)search->left / (double)(bytes[refused->to] - bytes[from]);
  result->bound -= part * search->item[refused->item].weight * (noise_at(from) - noise_at(refused->to));
  if (fraction)
    fraction[refused->item] = from + part * (refused->to - from);
}

static void
climb(search *search, size_t count, double *fraction, actnn_allocation *result)
{
  bool bounded = false;
  while (search->heap_count > 0) {
    step first = search->heap[0];
    const uint64_t *bytes = search->item[first.item].bytes;
    uint64_t more = bytes[first.to] - bytes[search->bits[first.item]];
    if (more <= search->left) {
      search->left -= more;
      search->bits[first.item] = widest(bytes, first.to);
      /* While everything fits, steps follow the hull; afterwards only what still fits is worth offering. */
      replace_first(search, first.item, bounded ? search->left : UINT64_MAX);
      continue;
    }
    if (!bounded)
      record_bound(search, count, &first, fraction, result);
    bounded = true;
    replace_first(search, first.item, search->left);
  }
  if (!bounded)
    record_bound(search, count, NULL, fraction, result);
}

/* Gives every item its smallest choice and takes that from the budget. */
static actnn_allocation_status
start(search *search, size_t count, uint64_t budget, actnn_allocation *result)
{
  uint64_t least = 0;
  for (size_t i = 0; i < count; i++) {
    const uint64_t *bytes = search->item[i].bytes;
    double weight = search->item[i].weight;
    if (!(weight >= 0) || isinf(weight))
      return ACTNN_ALLOCATION_WEIGHT;
    search->scale = fmax(search->scale, weight);
    search->bits[i] = widest(bytes, 1);
    least = add(least, bytes[search->bits[i]]);
  }
  result->bytes = least;
  if (least > budget)
    return ACTNN_ALLOCATION_BUDGET;
  search->left = budget - least;
  return ACTNN_ALLOCATION_DONE;
}

size_t
actnn_allocation_scratch(size_t count)
{
  enum { ITEM_BYTES = (MOST - 1) * sizeof(offer) };
  return count < SIZE_MAX / ITEM_BYTES && count <= UINT32_MAX ? (count + 1) * ITEM_BYTES : 0;
}

/* The offers are forgotten when the heap is built, so both lie in the same place. */
_Static_assert(sizeof(step) <= (MOST - 1) * sizeof(offer), "the scratch of offers holds the heap");

actnn_allocation_status
actnn_allocate_in(void *scratch, const actnn_allocation_item *item, size_t count, uint64_t budget, uint8_t *bits,
                  double *fraction, actnn_allocation *result)
{
  *result = (actnn_allocation){0};
  search search = {.item = item, .bits = bits, .heap = scratch};
  actnn_allocation_status status = start(&search, count, budget, result);
  if (status != ACTNN_ALLOCATION_DONE)
    return status;
  if (count == 0)
    return ACTNN_ALLOCATION_DONE;
  jump_ahead(&search, count, scratch);
  for (size_t i = 0; i < count; i++)
    search.heap_count += next_step(&search, i, UINT64_MAX, &search.heap[search.heap_count]);
  for (size_t at = search.heap_count / 2; at-- > 0;)
    sift_down(&search, at);
  climb(&search, count, fraction, result);
  result->cost = cost_of(&search, count);
  result->bytes = budget - search.left;
  return ACTNN_ALLOCATION_DONE;
}

actnn_allocation_status
actnn_allocate(const actnn_allocation_item *item, size_t count, uint64_t budget, uint8_t *bits,
               double *fraction, actnn_allocation *result)
{
  size_t bytes = actnn_allocation_scratch(count);
  void *scratch = bytes ? malloc(bytes) : NULL;
  *result = (actnn_allocation){0};
  if (!scratch)
    return ACTNN_ALLOCATION_MEMORY;
  actnn_allocation_status status = actnn_allocate_in(scratch, item, count, budget, bits, fraction, result);
  free(scratch);
  return status;
}
