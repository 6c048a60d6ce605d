/* offload_schedule.c: see offload_schedule.h. */
#include "offload_schedule.h"

#include <stdlib.h>

enum { MOST_LAG = 2 };

typedef struct ranked {
  uint64_t rank, bytes;
  uint32_t save;
} ranked;

/* The arrays in the scratch of a schedule: saves as they are made, as they are read first, by how long they wait, and in an order in which
 * they get their places; those that have one, by rising place. */
typedef struct room {
  ranked *made, *read, *waiting, *placing;
  uint32_t *placed;
} room;

static room
room_in(void *scratch, size_t count)
{
  room here = {.made = scratch};
  here.read = here.made + count;
  here.waiting = here.read + count;
  here.placing = here.waiting + count;
  here.placed = (uint32_t *)(void *)(here.placing + count);
  return here;
}

size_t
offload_scratch(size_t count)
{
  return (count + 1) * (4 * sizeof(ranked) + sizeof(uint32_t));
}

/* By rising rank, of equal rank the larger first. */
static int
compare(const void *left, const void *right)
{
  const ranked *a = left, *b = right;
  if (a->rank != b->rank)
    return a->rank < b->rank ? -1 : 1;
  if (a->bytes != b->bytes)
    return a->bytes > b->bytes ? -1 : 1;
  return (a->save > b->save) - (a->save < b->save);
}

static void
rank_saves(const offload_save *save, size_t count, room *here)
{
  for (uint32_t i = 0; i < count; i++) {
    here->made[i] = (ranked){save[i].made, save[i].bytes, i};
    here->read[i] = (ranked){save[i].first, save[i].bytes, i};
    here->waiting[i] = (ranked){UINT32_MAX - (save[i].first - save[i].made), save[i].bytes, i};
  }
  qsort(here->made, count, sizeof *here->made, compare);
  qsort(here->read, count, sizeof *here->read, compare);
  qsort(here->waiting, count, sizeof *here->waiting, compare);
}

/* When copies of each save end and begin, were it away: as much later and earlier as the lag says. */
static void
time_copies(offload_save *save, size_t count, int lag, const room *here)
{
  for (size_t k = 0; k < count; k++) {
    offload_save *one = &save[here->made[k].save];
    uint64_t wanted = (uint64_t)lag * one->bytes, seen = 0;
    size_t next = k;
    while (seen < wanted && next + 1 < count)
      seen += here->made[++next].bytes;
    one->freed = save[here->made[next].save].made;
  }
  for (size_t k = 0; k < count; k++) {
    offload_save *one = &save[here->read[k].save];
    uint64_t wanted = (uint64_t)lag * one->bytes, seen = 0;
    size_t before = k;
    while (seen < wanted && before > 0)
      seen += here->read[--before].bytes;
    /* What is read first of all has nothing to come back behind. */
    one->asked = seen < wanted ? 0 : lag ? save[here->read[before].save].first : one->first - 1;
  }
}

static bool
overlap(uint32_t first, uint32_t last, const offload_save *other)
{
  bool early = first <= (other->is_away ? other->freed : other->last) && other->made <= last;
  bool late = other->is_away && first <= other->last && other->asked + 1 <= last;
  return early || late;
}

static bool
are_at_once(const offload_save *one, const offload_save *other)
{
  if (!one->is_away)
    return overlap(one->made, one->last, other);
  return overlap(one->made, one->freed, other) || overlap(one->asked + 1, one->last, other);
}

/* Gives each save, in the order of here->placing, the lowest place that is free while it lies there; the height reached. */
static uint64_t
place_in_order(offload_save *save, size_t count, const room *here)
{
  uint64_t height = 0;
  for (size_t k = 0; k < count; k++) {
    offload_save *one = &save[here->placing[k].save];
    size_t above = k;
    one->place = 0;
    for (size_t i = 0; i < k; i++) {
      const offload_save *other = &save[here->placed[i]];
      if (other->place >= one->place + one->bytes)
        break;
      if (other->place + other->bytes > one->place && are_at_once(one, other))
        one->place = other->place + other->bytes;
    }
    for (; above > 0 && save[here->placed[above - 1]].place > one->place; above--)
      here->placed[above] = here->placed[above - 1];
    here->placed[above] = here->placing[k].save;
    if (one->place + one->bytes > height)
      height = one->place + one->bytes;
  }
  return height;
}

/* The height with the `away` saves that wait longest away, as far as there is time for their copies. The better of two orders is taken: the
 * largest first, and as they are made. */
static uint64_t
place_saves(offload_save *save, size_t count, size_t away, room *here)
{
  uint64_t height[2];
  for (size_t k = 0; k < count; k++) {
    offload_save *one = &save[here->waiting[k].save];
    one->is_away = k < away && one->asked > one->freed;
  }
  for (int by_size = 0; by_size < 2; by_size++) {
    for (uint32_t i = 0; i < count; i++)
      here->placing[i] = (ranked){by_size ? UINT64_MAX - save[i].bytes : save[i].made, save[i].bytes, i};
    qsort(here->placing, count, sizeof *here->placing, compare);
    height[by_size] = place_in_order(save, count, here);
  }
  if (height[1] <= height[0])
    return height[1];
  for (uint32_t i = 0; i < count; i++)
    here->placing[i] = here->made[i];
  return place_in_order(save, count, here);
}

uint64_t
offload_easy_window(offload_save *save, size_t count, void *scratch)
{
  room here = room_in(scratch, count);
  rank_saves(save, count, &here);
  time_copies(save, count, MOST_LAG, &here);
  return place_saves(save, count, count, &here);
}

bool
offload_schedule(offload_save *save, size_t count, uint64_t window, void *scratch)
{
  room here = room_in(scratch, count);
  rank_saves(save, count, &here);
  for (int lag = MOST_LAG; lag >= 0; lag--) {
    time_copies(save, count, lag, &here);
    if (place_saves(save, count, 0, &here) <= window)
      return true;
    size_t few = 0, many = count; /* too few; enough, perhaps */
    if (place_saves(save, count, many, &here) > window)
      continue;
    while (many - few > 1) {
      size_t middle = few + (many - few) / 2;
      if (place_saves(save, count, middle, &here) <= window)
        many = middle;
      else
        few = middle;
    }
    return place_saves(save, count, many, &here) <= window;
  }
  return false;
}
