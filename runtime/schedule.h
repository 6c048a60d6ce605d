/* schedule.h: how the learning rate moves during a run. */
#ifndef ACTNN_SCHEDULE_H
#define ACTNN_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_STEP, SCHEDULE_COSINE, SCHEDULE_ONE_CYCLE } schedule_kind;

/* `--schedule` understood. Words are joined by commas; KEY=VALUE belongs to the kind named before it:
 *   constant
 *   step,size=EPOCHS,gamma=FACTOR   multiplies by FACTOR (0.1) every EPOCHS epochs (30)
 *   cosine[,final=FACTOR]           half a cosine from 1 to FACTOR (0) over the run
 *   one-cycle[,peak=SHARE][,start=DIVISOR][,end=DIVISOR]
 *                                   cosine up from lr/25 to lr in the first 0.3 of the run, then down to lr/250000
 *   warmup[,steps=N]                with any of the above: the rate grows linearly over the first N steps (5 % of
 *                                   the run), and the schedule proper covers the rest */
typedef struct schedule {
  schedule_kind kind;
  bool has_warmup;
  uint64_t warmup_steps; /* 0: 5 % of the run */
  double size, gamma;    /* step */
  double final;          /* cosine */
  double peak, start, end;
} schedule;

/* False with a message (error_bytes long at most) when the text makes no sense. */
bool schedule_parse(const char *text, schedule *result, char *error, size_t error_bytes);

/* The factor on --lr at `step` (from 0) of `total_steps`; steps_per_epoch may be 0 when there are no epochs (then
 * `step,size=` counts steps). */
double schedule_factor(const schedule *schedule, uint64_t step, uint64_t total_steps, uint64_t steps_per_epoch);

#endif
