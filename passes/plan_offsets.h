/* plan_offsets.h: where buffers of known live ranges lie. */
#ifndef ACTNN_PLAN_OFFSETS_H
#define ACTNN_PLAN_OFFSETS_H

#include "passes.h"

#include "../runtime/offload_schedule.h"

/* Gives every buffer that does not persist an offset, so that no two that live at the same time overlap; positions: of the order that live
 * ranges are in; plan->lower_bound is known. The height reached: the best of several greedy orders, in each of which what stood highest
 * comes first the next time, until the bound is reached or that no longer helps. */
uint64_t place_buffers(Plan *plan, uint32_t positions);

/* Of the pool of a plan whose bytes are known, what the arena holds at once; 0: all of it (plan_window.c). */
uint64_t find_window(const Program *program, const Options *options, const Plan *plan);
/* Whether saves may wait in the host's memory. */
bool may_offload(const Options *options);
/* Each save, those with codes first, with the calls that touch it, numbered as the trainer makes them. */
offload_save *list_offloaded(const Program *program, uint32_t *count);

#endif
