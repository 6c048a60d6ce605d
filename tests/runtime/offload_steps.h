/* offload_steps.h: random steps of saves that are made and read, for tests of what waits in the host's memory. */
#ifndef ACTNN_OFFLOAD_STEPS_H
#define ACTNN_OFFLOAD_STEPS_H

#include "offload_schedule.h"
#include "runtime.h"

enum { MOST_SAVES = 14, MOST_CALLS = 128, UNIT = ACTNN_ALIGNMENT, ROUNDS = 4000 };

typedef struct step {
  uint32_t saves, calls, exact; /* exact: so many of the last saves hold values as they are */
  uint64_t bytes[MOST_SAVES], all, largest;
  uint32_t save[MOST_CALLS]; /* the first `saves` calls make the codes of each */
} step;

static uint64_t state = 88172645463325252u;

static inline uint32_t
below(uint32_t bound)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 33) % bound;
}

/* Codes are read mostly in the opposite order to that in which they are made, some once more much later. */
static inline step
draw_step(void)
{
  step one = {.saves = 1 + below(MOST_SAVES)};
  uint32_t order[MOST_SAVES];
  one.exact = below(3) ? below(one.saves + 1) : 0;
  for (uint32_t i = 0; i < one.saves; i++) {
    uint32_t k = below(i + 1);
    order[i] = order[k];
    order[k] = i;
    one.bytes[i] = UNIT * (1 + (uint64_t)below(below(4) ? 8 : 60));
    one.all += one.bytes[i];
    if (one.bytes[i] > one.largest)
      one.largest = one.bytes[i];
  }
  for (uint32_t i = 0; i < one.saves; i++)
    one.save[one.calls++] = order[i];
  for (uint32_t i = one.saves; i-- > 0;) {
    uint32_t other = below(8) ? i : below(i + 1);
    uint32_t kept = order[i];
    order[i] = order[other];
    order[other] = kept;
    for (uint32_t reads = 1 + below(3); reads > 0; reads--)
      one.save[one.calls++] = order[i];
    if (!below(6))
      one.save[one.calls++] = order[i + below(one.saves - i)];
  }
  return one;
}

static unsigned char scratch[1 << 16];

static inline void
list_calls(const step *one, offload_save *list)
{
  for (uint32_t i = 0; i < one->saves; i++)
    list[i] = (offload_save){.bytes = one->bytes[i]};
  for (uint32_t i = 0; i < one->calls; i++) {
    offload_save *save = &list[one->save[i]];
    if (i < one->saves)
      save->made = save->first = i;
    else if (save->first == save->made)
      save->first = i;
    save->last = i;
  }
}

/* Equal saves, read in the opposite order to that in which they are made. */
static inline step
twelve_alike(void)
{
  step one = {.saves = 12, .calls = 24, .largest = UNIT, .all = 12 * UNIT};
  for (uint32_t i = 0; i < one.saves; i++) {
    one.bytes[i] = UNIT;
    one.save[i] = i;
    one.save[one.calls - 1 - i] = i;
  }
  return one;
}

#endif
