/* offload.h: codes, and values saved as they are, that wait for backward in the host's memory, while a device computes: when each leaves the
 * arena and comes back follows from the calls of a step, as they were made while the trainer prepared, and from the saves' shares
 * (offload_schedule.h). Nothing of it happens where the model's window holds the whole pool. */
#ifndef ACTNN_OFFLOAD_H
#define ACTNN_OFFLOAD_H

#include "runtime.h"

/* Makes trainer->offload if the model's window is smaller than its pool. 0, or 1 with a message. */
int offload_create(actnn *trainer);
void offload_destroy(actnn *trainer);

/* Bytes reserved in the host's memory. */
uint64_t offload_bytes(const actnn_model *model);
/* Saves of a model: those with codes, then those of values as they are. */
uint32_t offload_count(const actnn_model *model);

/* While the trainer prepares: a call of this kernel follows those noted so far. 0, or 1 with a message. */
int offload_note(actnn *trainer, actnn_kernel *kernel, const actnn_call *call);

/* Finds when what is away, and where, for the shares that the saves have now. False: the window cannot hold what single calls need; the
 * schedule is then no more. */
bool offload_fits(actnn *trainer);
/* From the window's start; of a save whose pool is all in the arena, what it was. */
uint64_t offload_place(const actnn *trainer, uint32_t save, uint64_t place);
/* How far behind the place of its tensor the value lies that this stash holds as it is; of any other stash 0. */
uint64_t offload_exact_place(const actnn *trainer, uint32_t tensor);

/* Around the calls of a step, and around each of them: 0, or 1 with a message. Those of kernels that touch no codes are let through. */
void offload_begin(actnn *trainer);
int offload_before(actnn *trainer, actnn_kernel *kernel, const actnn_call *call);
int offload_after(actnn *trainer, actnn_kernel *kernel, const actnn_call *call);
int offload_end(actnn *trainer);

#endif
