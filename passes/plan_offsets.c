/* plan_offsets.c: offsets by greedy orders, each buffer in the lowest gap that is free while it lives. Where an order reaches higher than what
 * lives at one time, it is tried again with the buffer first that stood highest.
 *
 * Of tens of thousands of buffers most live for a few nodes, and only those at the same time are in each other's way. So placed buffers are
 * listed by when they live: the short ones by spans of positions, the long ones together. A gap for a short buffer is looked for among the
 * long ones and those of its own spans; for a long one among all. */
#include "plan_offsets.h"

#include <stdlib.h>
#include <string.h>

enum { SPANS = 256, MOST_SPANS = 3, RULES = 3 };
/* Orders that are tried without one that is better, while the best reaches too high; and as many more as place so many buffers. */
enum { PATIENCE = 8, PLACED = 1 << 14 };

/* Buffers by rising offset. */
typedef struct Shelf {
  const Buffer **placed;
  uint32_t count, capacity;
} Shelf;

typedef struct Shelves {
  Arena *arena;
  uint32_t span; /* positions */
  Shelf all, of_long, of_span[2][SPANS]; /* training's, evaluation's */
} Shelves;

typedef struct Ranked {
  uint32_t buffer;
  uint64_t priority, bytes;
} Ranked;

/* ---- shelves ------------------------------------------------------------------------------------------------------- */

static uint32_t
span_of(const Shelves *shelves, uint32_t position)
{
  uint32_t span = position / shelves->span;
  return span < SPANS ? span : SPANS - 1;
}

static bool
is_short(const Shelves *shelves, const Buffer *buffer)
{
  return span_of(shelves, buffer->last) - span_of(shelves, buffer->first) < MOST_SPANS;
}

static void
shelve(Shelves *shelves, Shelf *shelf, const Buffer *buffer)
{
  if (shelf->count == shelf->capacity) {
    uint32_t capacity = shelf->capacity * 2 + 64;
    const Buffer **grown = arena_array(shelves->arena, capacity, sizeof *grown);
    if (shelf->count) memcpy(grown, shelf->placed, shelf->count * sizeof *grown);
    shelf->placed = grown;
    shelf->capacity = capacity;
  }
  uint32_t low = 0, high = shelf->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (shelf->placed[middle]->offset <= buffer->offset) low = middle + 1;
    else high = middle;
  }
  memmove(shelf->placed + low + 1, shelf->placed + low, (shelf->count - low) * sizeof *shelf->placed);
  shelf->placed[low] = buffer;
  shelf->count++;
}

static void
add_to_shelves(Shelves *shelves, const Buffer *buffer)
{
  shelve(shelves, &shelves->all, buffer);
  if (!is_short(shelves, buffer)) {
    shelve(shelves, &shelves->of_long, buffer);
    return;
  }
  for (uint32_t s = span_of(shelves, buffer->first); s <= span_of(shelves, buffer->last); s++)
    shelve(shelves, &shelves->of_span[buffer->is_evaluation][s], buffer);
}

static void
empty(Shelves *shelves)
{
  shelves->all.count = shelves->of_long.count = 0;
  for (uint32_t s = 0; s < SPANS; s++) shelves->of_span[0][s].count = shelves->of_span[1][s].count = 0;
}

/* ---- gaps ---------------------------------------------------------------------------------------------------------- */

static bool
overlap_in_time(const Buffer *a, const Buffer *b)
{
  return a->is_evaluation == b->is_evaluation && a->first <= b->last && b->first <= a->last;
}

/* The lowest place where `buffer` meets no placed buffer that lives at the same time: a walk up the shelves where those stand. */
static uint64_t
lowest_gap(const Shelves *shelves, const Buffer *buffer)
{
  const Shelf *shelf[1 + MOST_SPANS] = {&shelves->all};
  uint32_t next[1 + MOST_SPANS] = {0}, count = 1;
  if (is_short(shelves, buffer)) {
    shelf[0] = &shelves->of_long;
    for (uint32_t s = span_of(shelves, buffer->first); s <= span_of(shelves, buffer->last); s++)
      shelf[count++] = &shelves->of_span[buffer->is_evaluation][s];
  }
  for (uint64_t offset = 0;;) {
    const Buffer *lowest = NULL;
    uint32_t from = 0;
    for (uint32_t i = 0; i < count; i++) {
      const Buffer *here = next[i] < shelf[i]->count ? shelf[i]->placed[next[i]] : NULL;
      if (!here || (lowest && here->offset >= lowest->offset)) continue;
      lowest = here;
      from = i;
    }
    if (!lowest || lowest->offset >= offset + buffer->bytes) return offset;
    uint64_t end = lowest->offset + lowest->bytes;
    if (end > offset && overlap_in_time(lowest, buffer)) offset = end;
    next[from]++;
  }
}

/* ---- greedy orders ------------------------------------------------------------------------------------------------- */

static uint64_t
priority(const Buffer *buffer, int rule)
{
  uint64_t length = buffer->last - (uint64_t)buffer->first + 1;
  if (rule == 0) return buffer->bytes;
  if (rule == 1) return length > 100000 ? buffer->bytes * 100000 : buffer->bytes * length;
  return length;
}

static int
compare_ranked(const void *left, const void *right)
{
  const Ranked *a = left, *b = right;
  if (a->priority != b->priority) return a->priority < b->priority ? 1 : -1;
  if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
  return (a->buffer > b->buffer) - (a->buffer < b->buffer);
}

/* All transient buffers in the order in which a rule places them; how many. */
static uint32_t
rank_buffers(const Plan *plan, int rule, Ranked *ranked)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < plan->buffer_count; i++)
    if (!plan->buffer[i].is_persistent)
      ranked[count++] = (Ranked){i, priority(&plan->buffer[i], rule), plan->buffer[i].bytes};
  qsort(ranked, count, sizeof *ranked, compare_ranked);
  return count;
}

/* Places them in that order; the height reached, and which of them reaches it first. */
static uint64_t
place_ranked(Plan *plan, const Ranked *ranked, uint32_t count, Shelves *shelves, uint32_t *highest)
{
  uint64_t height = 0;
  empty(shelves);
  for (uint32_t i = 0; i < count; i++) {
    Buffer *buffer = &plan->buffer[ranked[i].buffer];
    buffer->offset = lowest_gap(shelves, buffer);
    add_to_shelves(shelves, buffer);
    if (buffer->offset + buffer->bytes <= height) continue;
    height = buffer->offset + buffer->bytes;
    *highest = i;
  }
  return height;
}

static void
put_first(Ranked *ranked, uint32_t place)
{
  Ranked raised = ranked[place];
  memmove(ranked + 1, ranked, place * sizeof *ranked);
  ranked[0] = raised;
}

uint64_t
place_buffers(Plan *plan, uint32_t positions)
{
  Arena *scratch = arena_create();
  Shelves *shelves = arena_allocate(scratch, sizeof *shelves);
  Ranked *ranked = arena_array(scratch, plan->buffer_count + 1, sizeof *ranked);
  uint64_t *best = arena_array(scratch, plan->buffer_count + 1, sizeof *best), height = UINT64_MAX;
  shelves->arena = scratch;
  shelves->span = positions / SPANS + 1;
  for (int rule = 0; rule < RULES; rule++) {
    uint32_t count = rank_buffers(plan, rule, ranked), highest = 0, patience = PATIENCE + PLACED / (count + 1);
    for (uint32_t left = patience; left > 0 && height > plan->lower_bound; left--) {
      uint64_t reached = place_ranked(plan, ranked, count, shelves, &highest);
      for (uint32_t i = 0; reached < height && i < plan->buffer_count; i++) best[i] = plan->buffer[i].offset;
      if (reached < height) left = patience;
      if (reached < height) height = reached;
      put_first(ranked, highest);
    }
  }
  for (uint32_t i = 0; i < plan->buffer_count; i++) plan->buffer[i].offset = best[i];
  arena_destroy(scratch);
  return height;
}
