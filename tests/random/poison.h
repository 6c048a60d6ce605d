/* poison.h: the run-time twin of the verifier's rules on memory: a trainer whose arena holds nothing but what lives.
 *
 * Emitted source compiled with -Dactnn_run=poisoned_run calls poisoned_run in place of the runtime. While the trainer prepares, it
 * takes down which tensors every call writes and reads. During a step of a poisoned trainer, after every call, all bytes behind the
 * variables that no tensor still to be read lies on are filled with NaN: every buffer before its first write and after its last
 * read, the library's scratch, the pool of codes outside its live saves, what lies between. Such a run must give the same bits. On a device
 * calls are then to be made one by one (--profile). */
#ifndef ACTNN_POISON_H
#define ACTNN_POISON_H

#include "../../runtime/trainer.h"

typedef struct Poison Poison;

/* A copy of the model whose calls are taken down while its trainer is made, and which poisons memory from the first step on. The
 * model and the copy must outlive the trainer. NULL when out of memory. One at a time in a process, for one trainer. */
Poison *poison_create(const actnn_model *model);
const actnn_model *poison_model(const Poison *poison);
/* Bytes filled so far. */
uint64_t poison_bytes(const Poison *poison);
void poison_destroy(Poison *poison);

/* In place of actnn_run. */
int poisoned_run(actnn *trainer, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with);

#endif
