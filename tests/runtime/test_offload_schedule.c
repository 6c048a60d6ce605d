/* test_offload_schedule.c: which saves leave for the host's memory, when, and where in the window they lie (offload_schedule.h), of random steps in
 * windows of every size. */
#include "offload_steps.h"
#include "tap.h"

/* Whether codes lie in the window during a call. */
static bool
lies_at(const offload_save *save, uint32_t call)
{
  if (!save->is_away)
    return call >= save->made && call <= save->last;
  return (call >= save->made && call <= save->freed) || (call > save->asked && call <= save->last);
}

/* No two saves share bytes during any call, and all lie within the window. */
static bool
is_sound(const step *one, const offload_save *list, uint64_t window)
{
  for (uint32_t i = 0; i < one->saves; i++) {
    const offload_save *a = &list[i];
    if (a->place + a->bytes > window || (a->is_away && (a->freed < a->made || a->asked < a->freed || a->asked >= a->first)))
      return false;
    for (uint32_t k = 0; k < i; k++) {
      const offload_save *b = &list[k];
      bool share_bytes = a->place < b->place + b->bytes && b->place < a->place + a->bytes;
      for (uint32_t call = 0; share_bytes && call < one->calls; call++)
        if (lies_at(a, call) && lies_at(b, call))
          return false;
    }
  }
  return true;
}

/* Bytes of other codes made, or read for the first time, from call `from` to call `to`. */
static uint64_t
work_between(const step *one, const offload_save *list, uint32_t from, uint32_t to)
{
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < one->saves; i++)
    bytes += (list[i].made > from && list[i].made <= to) + (list[i].first >= from && list[i].first < to) ? list[i].bytes : 0;
  return bytes;
}

/* Copies have as long as so many times their bytes take, or until the last codes are made; and no longer than one save more. */
static bool
is_timed(const step *one, const offload_save *list, uint64_t lag)
{
  for (uint32_t i = 0; i < one->saves; i++) {
    const offload_save *save = &list[i];
    uint64_t out = work_between(one, list, save->made, save->freed), back = work_between(one, list, save->asked, save->first);
    if (save->is_away && ((out < lag * save->bytes && save->freed != one->saves - 1) || (lag && back < lag * save->bytes)))
      return false;
    if (save->is_away && (out > lag * save->bytes + one->largest || back > lag * save->bytes + one->largest))
      return false;
  }
  return true;
}

static size_t
count_away(const step *one, const offload_save *list)
{
  size_t away = 0;
  for (uint32_t i = 0; i < one->saves; i++)
    away += list[i].is_away;
  return away;
}

/* Who is away waits at least as long as anybody who stays though there would be time for copies. */
static bool
longest_leave(const step *one, const offload_save *list)
{
  for (uint32_t i = 0; i < one->saves; i++)
    for (uint32_t k = 0; k < one->saves; k++)
      if (list[i].is_away && !list[k].is_away && list[k].asked > list[k].freed && list[k].first - list[k].made > list[i].first - list[i].made)
        return false;
  return true;
}

static void
test_schedules(void)
{
  int unsound = 0, untimed = 0, early = 0, unlike = 0, by_lag[3] = {0}, unfit = 0, worse = 0;
  for (int round = 0; round < ROUNDS; round++) {
    step one = draw_step();
    offload_save list[MOST_SAVES], again[MOST_SAVES];
    list_calls(&one, list);
    uint64_t easy = offload_easy_window(list, one.saves, scratch);
    unsound += !is_sound(&one, list, easy);
    untimed += !is_timed(&one, list, 2);
    size_t all = count_away(&one, list), before = MOST_SAVES;
    for (uint64_t window = one.largest; window <= one.all; window += UNIT * (1 + below(16))) {
      list_calls(&one, again);
      if (!offload_schedule(again, one.saves, window, scratch)) {
        unfit += window >= easy;
        continue;
      }
      size_t away = count_away(&one, again);
      unsound += !is_sound(&one, again, window);
      early += !longest_leave(&one, again);
      int lag = 2;
      while (lag >= 0 && !is_timed(&one, again, (uint64_t)lag))
        lag--;
      untimed += lag < 0;
      by_lag[lag < 0 ? 0 : lag]++;
      if (window >= easy) {
        unlike += lag < 2 && away > 0;
        worse += away > all || away > before;
        before = away;
      }
    }
  }
  ok(!unsound, "of %d random steps no two codes share a place during any call", ROUNDS);
  ok(!untimed && by_lag[0] > 100 && by_lag[1] > 100 && by_lag[2] > 100,
     "copies have the time that one of three lags gives them: %d schedules without, %d, %d with the longest", by_lag[0], by_lag[1], by_lag[2]);
  ok(!unlike && !unfit, "the longest wherever the window is as large as is asked for");
  ok(!early, "who leaves waits longest");
  ok(!worse, "and more room has no more leave");
}

/* Of equal saves in the best order as few leave as can be. */
static void
test_few_leave(void)
{
  step one = twelve_alike();
  offload_save list[MOST_SAVES];
  bool is_good = true;
  for (uint64_t room = 3; room < 12; room++) { /* below that there is no time for copies */
    list_calls(&one, list);
    is_good &= offload_schedule(list, 12, room * UNIT, scratch) && count_away(&one, list) == 12 - room && is_timed(&one, list, 2);
    for (uint32_t i = 0; i < 12; i++)
      is_good &= list[i].is_away == (i < 12 - room);
  }
  list_calls(&one, list);
  uint64_t easy = offload_easy_window(list, 12, scratch);
  ok(is_good && easy == 3 * UNIT, "the first to be made, which are the last to be read; three have room in the window that is asked for (%llu)",
     (unsigned long long)easy / UNIT);
}

int
main(void)
{
  test_schedules();
  test_few_leave();
  return tap_done();
}
