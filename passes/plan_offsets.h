/* plan_offsets.h: where buffers of known live ranges lie. */
#ifndef ACTNN_PLAN_OFFSETS_H
#define ACTNN_PLAN_OFFSETS_H

#include "passes.h"

/* Gives every buffer that does not persist an offset, so that no two that live at the same time overlap; positions: of the order that live
 * ranges are in; plan->lower_bound is known. The height reached: the best of several greedy orders, in each of which what stood highest
 * comes first the next time, until the bound is reached or that no longer helps. */
uint64_t place_buffers(Plan *plan, uint32_t positions);

/* Of a pool of so many bytes of codes, what the arena holds at once; 0: all of it (plan_window.c). */
uint64_t find_window(const Program *program, const Options *options, uint64_t pool);

#endif
