/* finite.h: steps that are not finite: noticed, named and, where the trainer keeps what it was before, undone.
 *
 * What is looked at: the loss and the running statistics when forward ends, before anything is updated; and in each update, of
 * each element, what becomes of the variable and of its optimizer state. No infinite or NaN gradient leaves both of them finite,
 * so that gradients need no loop of their own. Updates run inside backward, as soon as each gradient is there; when one of them
 * is not finite, earlier ones are done. So a trainer that is to go on after such a step copies all variables before each
 * step and puts them back: a second copy of them in memory, and one copy in time. */
#ifndef ACTNN_FINITE_H
#define ACTNN_FINITE_H

#include "runtime.h"

/* Reserves what `finite_keep` needs; 0, or 1 with a message. */
int finite_reserve(actnn *trainer);
void finite_release(actnn *trainer);
/* Before a step: copies the variables where that was reserved. 0, or 1 with a message. */
int finite_keep(actnn *trainer);
/* After forward: refuses a loss or running statistics that are not finite. 0, or 1 with a message. */
int finite_check_forward(actnn *trainer, double loss);
/* After a step on a device: refuses that loss, or what was found in updates and statistics: the first tensor, NONE if all is finite. */
int finite_check_device(actnn *trainer, double loss, uint32_t tensor);
/* Called by an update whose results are not finite; says whose and always returns 1. */
int finite_refuse_update(const actnn_call *call);
/* After a step that failed: true when that was because something was not finite and the variables are again what they
 * were; the step counts as made then. */
bool finite_undo(actnn *trainer);

#endif
