/* allocation_core.c: the exact optimum over the few items whose choices are closest.
 *
 * The base is the relaxation's solution without the part of a step. Against it a change of one item has a penalty:
 * its cost plus its bytes at the price of the step that did not fit, never negative. Changes save cost only if their
 * penalties together stay below what that whole step saves, so that the items with the smallest penalties, the core,
 * decide; most others drop out.
 *
 * The core is cut in two halves, and each half's combinations are listed: in rising bytes and falling cost, without
 * those that another one dominates. The best pair within the bytes left is found in one walk through both lists.
 *
 * Nothing here but that last walk looks at the bytes that are left: budgets with the same base choose from the same
 * lists, and so the larger one never ends worse.
 */
#include "allocation_search.h"

#include <stdbool.h>

enum { HALF = ALLOCATION_CORE_HALF, CORE = 2 * HALF, STATES = ALLOCATION_CORE_STATES, LISTS = 4 };

/* Sums over a core stay below 2^63 with changes up to here; larger ones are left alone. */
static const uint64_t most_bytes = UINT64_C(1) << 58;

/* Changes of some items against the base. */
typedef struct state {
  int64_t bytes;
  double cost;
  uint32_t choices; /* four bits each, in the order in which the half's items were added */
} state;

_Static_assert(HALF * 4 <= 32 && ACTNN_ALLOCATION_CHOICES <= 16, "a state names each choice in four bits");

typedef struct list {
  state *state;
  size_t count;
} list;

typedef struct half {
  list reached; /* all combinations worth a look */
  uint32_t item[HALF];
  int count;
} half;

typedef struct member {
  double penalty; /* the least of the item's changes */
  uint32_t item;
} member;

/* The change of an item to choice `to`; false for one that can be part of no improvement. */
static bool
change_to(const allocation_search *search, size_t index, int to, state *change)
{
  const actnn_allocation_item *item = &search->item[index];
  int from = search->base[index];
  uint64_t more = item->bytes[to] - item->bytes[from], less = item->bytes[from] - item->bytes[to];
  bool grows = item->bytes[to] >= item->bytes[from];
  if (to == from || (grows ? more : less) > most_bytes)
    return false;
  *change = (state){grows ? (int64_t)more : -(int64_t)less, item->cost[to] - item->cost[from], (uint32_t)to};
  return change->cost + search->gain * (double)change->bytes < search->saved;
}

/* Lists the items with the least penalties in rising order; among equals the lower number first. */
static int
select_core(const allocation_search *search, member *core)
{
  int count = 0;
  for (size_t i = 0; i < search->count; i++) {
    double least = search->saved;
    state change;
    for (int to = 0; to < search->item[i].choices; to++)
      if (change_to(search, i, to, &change)) {
        double penalty = change.cost + search->gain * (double)change.bytes;
        least = penalty < least ? penalty : least;
      }
    if (least >= search->saved || (count == CORE && least >= core[CORE - 1].penalty))
      continue;
    int at = count < CORE ? count++ : CORE - 1;
    for (; at > 0 && core[at - 1].penalty > least; at--)
      core[at] = core[at - 1];
    core[at] = (member){least, (uint32_t)i};
  }
  return count;
}

/* Merges `old`, each with `change`, into `into`: what neither dominates, both lists being in rising bytes and falling
 * cost. */
static void
merge(const allocation_search *search, const list *into, const list *old, const state *change, list *merged)
{
  size_t kept = 0, fresh = 0;
  merged->count = 0;
  while (kept < into->count || fresh < old->count) {
    state next = {0}, other;
    bool takes_fresh = kept == into->count;
    if (fresh < old->count) {
      next = (state){old->state[fresh].bytes + change->bytes, old->state[fresh].cost + change->cost,
                     old->state[fresh].choices | change->choices};
      other = takes_fresh ? next : into->state[kept];
      takes_fresh |= next.bytes < other.bytes || (next.bytes == other.bytes && next.cost < other.cost);
    }
    if (takes_fresh)
      fresh++;
    else
      next = into->state[kept++];
    if (merged->count > 0 && next.cost >= merged->state[merged->count - 1].cost)
      continue;
    if (next.cost + search->gain * (double)next.bytes < search->saved)
      merged->state[merged->count++] = next;
  }
}

/* Adds one more item to a half; false when the combinations might be too many. `spare`: two lists to work in. */
static bool
add_item(const allocation_search *search, half *half, uint32_t item, list *spare)
{
  state change;
  size_t changes = 1;
  int place = half->count * 4;
  for (int to = 0; to < search->item[item].choices; to++)
    changes += change_to(search, item, to, &change);
  if (half->count == HALF || half->reached.count * changes > STATES)
    return false;
  list *now = &spare[0], *next = &spare[1];
  uint32_t stays = (uint32_t)search->base[item] << place;
  now->count = 0;
  merge(search, now, &half->reached, &(state){.choices = stays}, next);
  for (int to = 0; to < search->item[item].choices; to++) {
    list *freed = now;
    if (!change_to(search, item, to, &change))
      continue;
    now = next;
    next = freed;
    change.choices <<= place;
    merge(search, now, &half->reached, &change, next);
  }
  list before = half->reached;
  half->reached = *next;
  *next = before;
  half->item[half->count++] = item;
  return true;
}

/* The pair that costs least within the bytes left; fewer bytes among equals. What it costs against the base. */
static double
best_pair(const allocation_search *search, const list *first, const list *second, const state *pair[2])
{
  double best = 0;
  size_t other = second->count;
  pair[0] = pair[1] = NULL;
  for (size_t i = 0; i < first->count && other > 0; i++) {
    const state *one = &first->state[i];
    /* Both lists cost less the more they take: the last that fits beside `one` is the best beside it. */
    while (other > 0) {
      int64_t bytes = one->bytes + second->state[other - 1].bytes;
      if (bytes <= 0 || (uint64_t)bytes <= search->left)
        break;
      other--;
    }
    if (other == 0 || one->cost + second->state[other - 1].cost >= best)
      continue;
    best = one->cost + second->state[other - 1].cost;
    pair[0] = one;
    pair[1] = &second->state[other - 1];
  }
  return best;
}

size_t
allocation_core_scratch(void)
{
  return LISTS * STATES * sizeof(state);
}

double
allocation_core(const allocation_search *search, void *scratch, allocation_change *changes, size_t *change_count)
{
  member core[CORE];
  state *states = scratch;
  half halves[2] = {{.reached = {states, 1}}, {.reached = {states + STATES, 1}}};
  list spare[2] = {{states + 2 * STATES, 0}, {states + 3 * STATES, 0}};
  int count = select_core(search, core);
  halves[0].reached.state[0] = halves[1].reached.state[0] = (state){0};
  for (int i = 0; i < count; i++) {
    bool to_second = halves[1].reached.count < halves[0].reached.count;
    if (!add_item(search, &halves[to_second], core[i].item, spare) &&
        !add_item(search, &halves[!to_second], core[i].item, spare))
      break;
  }
  const state *pair[2];
  double cost = best_pair(search, &halves[0].reached, &halves[1].reached, pair);
  *change_count = 0;
  for (int side = 0; pair[0] && side < 2; side++)
    for (int i = 0; i < halves[side].count; i++)
      changes[(*change_count)++] =
          (allocation_change){halves[side].item[i], (uint8_t)(pair[side]->choices >> (4 * i) & 15)};
  return cost < 0 ? -cost : 0;
}
