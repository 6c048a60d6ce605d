/* offload_schedule.h: which codes wait for backward in the host's memory, when they leave and come back, and where in the arena they
 * lie before and after.
 *
 * Of a step's pool of codes the arena then has a window alone. Codes that are away lie in it twice: from the call that makes them until
 * they have been copied out, and from when they are asked for until the last call that reads them, at the same place both times; what
 * stays lies there from one to the other. What is away are the codes that wait longest, as few as the window allows. A copy is given as
 * long as it takes to compute what gives some times as many bytes of codes (the lag), so that nobody waits for it; where the window
 * has no room for that, less. The idea is that of swapping (vDNN, Rhu et al. 2016; ActNN's level of that name), of codes. */
#ifndef ACTNN_OFFLOAD_SCHEDULE_H
#define ACTNN_OFFLOAD_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct offload_save {
  /* Given. Calls that touch codes are numbered in the order of a step; the first read comes after all calls that make codes. */
  uint64_t bytes; /* a multiple of the arena's alignment */
  uint32_t made, first, last; /* the calls that make them, read them first and read them last */
  /* Found: */
  uint64_t place; /* bytes from the window's start */
  bool is_away;
  uint32_t freed; /* away: the place may hold other codes once this call is done, when they have been copied */
  uint32_t asked; /* away: they come back once this call is done */
} offload_save;

/* Bytes of scratch that the functions below take for so many saves. */
size_t offload_scratch(size_t count);

/* The bytes of a window in which nobody waits for a copy if all that can be away is. */
uint64_t offload_easy_window(offload_save *save, size_t count, void *scratch);

/* Decides for a window of so many bytes. False: it cannot hold what single calls need at once. */
bool offload_schedule(offload_save *save, size_t count, uint64_t window, void *scratch);

#endif
