/* sorting.h: the first elements of each line of a tensor, in an order that has no equals: the same result always. Runs of a line are
 * sorted by counting, for each element, those that come before it; two sorted runs are joined in the same way, where a search does the
 * counting. What cannot be among the first any more is left out. */
#ifndef ACTNN_CUDA_SORTING_H
#define ACTNN_CUDA_SORTING_H

#include "gpu.h"

enum { SHORTEST_RUN = 256 /* elements that are counted one by one */ };

/* outer x length x inner elements: a line has `length` of them, of which the first `kept` are wanted. */
typedef struct Lines {
  int64_t outer, length, inner, kept;
} Lines;

/* The sorted runs of each line: numbers of elements along it, outer x slots x inner, run after run. */
typedef struct Runs {
  Lines lines;
  int64_t span, count;     /* elements of a line that one is of, the last perhaps of fewer; runs of a line */
  int64_t capacity, slots; /* of one, which all but the last fill; of a line */
} Runs;

static inline Runs
runs_of(const Lines &lines, int64_t span)
{
  Runs runs = {lines, span, (lines.length + span - 1) / span, span < lines.kept ? span : lines.kept, 0};
  int64_t last = lines.length - (runs.count - 1) * span;
  runs.slots = (runs.count - 1) * runs.capacity + (last < runs.capacity ? last : runs.capacity);
  return runs;
}

static inline int64_t
slots_of_all(const Runs &runs)
{
  return runs.lines.outer * runs.slots * runs.lines.inner;
}

/* Where a thread is: of outer x `extent` x inner. */
typedef struct LinePlace {
  int64_t outer, at, inner;
} LinePlace;

static inline __device__ LinePlace
line_place(const Lines &lines, int64_t extent, int64_t number)
{
  int64_t rest = number / lines.inner;
  LinePlace place = {rest / extent, rest % extent, number % lines.inner};
  return place;
}

/* order.before(a, b): of elements of a line, by where they lie. */
template <typename Order>
KERNEL
sort_runs(Runs runs, Order order, int32_t *sorted)
{
  const Lines &lines = runs.lines;
  int64_t own = thread_number();
  LinePlace place = line_place(lines, lines.length, own);
  if (place.outer >= lines.outer)
    return;
  int64_t run = place.at / runs.span, start = run * runs.span, rank = 0;
  int64_t end = start + runs.span < lines.length ? start + runs.span : lines.length;
  int64_t first = own - place.at * lines.inner;
  for (int64_t i = start; i < end; i++)
    rank += order.before(first + i * lines.inner, own);
  if (rank < runs.capacity)
    sorted[(place.outer * runs.slots + run * runs.capacity + rank) * lines.inner + place.inner] = (int32_t)place.at;
}

template <typename Order>
KERNEL
join_runs(Runs from, Runs to, Order order, const int32_t *sorted, int32_t *joined)
{
  const Lines &lines = from.lines;
  int64_t number = thread_number();
  LinePlace place = line_place(lines, from.slots, number);
  if (place.outer >= lines.outer)
    return;
  int64_t run = place.at / from.capacity, other = (run ^ 1) * from.capacity, own = sorted[number];
  int64_t low = other < from.slots ? other : from.slots, high = other + from.capacity < from.slots ? other + from.capacity : from.slots;
  const int32_t *slot = sorted + place.outer * from.slots * lines.inner + place.inner;
  int64_t first = place.outer * lines.length * lines.inner + place.inner;
  int64_t rank = place.at - run * from.capacity - low; /* in its own run; the search adds how many of the other come before it */
  while (low < high) {
    int64_t middle = (low + high) / 2;
    if (order.before(first + slot[middle * lines.inner] * lines.inner, first + own * lines.inner))
      low = middle + 1;
    else
      high = middle;
  }
  rank += low;
  if (rank < to.capacity)
    joined[(place.outer * to.slots + run / 2 * to.capacity + rank) * lines.inner + place.inner] = (int32_t)own;
}

/* Runs, and what they are joined into. */
typedef struct SortRoom {
  int32_t *runs[2];
} SortRoom;

static inline SortRoom
take_sort_room(const actnn_call *call, gpu_room *room, const Lines &lines)
{
  SortRoom taken;
  Runs runs = runs_of(lines, SHORTEST_RUN);
  room->declines |= lines.length > INT32_MAX;
  taken.runs[0] = take_room<int32_t>(call, room, slots_of_all(runs));
  taken.runs[1] = take_room<int32_t>(call, room, runs.count > 1 ? slots_of_all(runs_of(lines, 2 * SHORTEST_RUN)) : 0);
  return taken;
}

/* *sorted: outer x kept x inner numbers of elements along their lines, in the room. */
template <typename Order>
static int
sort_lines(const actnn_call *call, const Lines &lines, Order order, SortRoom room, const int32_t **sorted)
{
  Runs runs = runs_of(lines, SHORTEST_RUN);
  int from = 0;
  if (LAUNCH(call, sort_runs<Order>, lines.outer * lines.length * lines.inner, runs, order, room.runs[0]))
    return 1;
  for (; runs.count > 1; from = !from) {
    Runs joined = runs_of(lines, 2 * runs.span);
    if (LAUNCH(call, join_runs<Order>, slots_of_all(runs), runs, joined, order, room.runs[from], room.runs[!from]))
      return 1;
    runs = joined;
  }
  *sorted = room.runs[from];
  return 0;
}

#endif
