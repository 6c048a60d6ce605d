/* own_calls.h: phases that tests give the small model in place of its own, and the kernels that they call. */
#ifndef ACTNN_OWN_CALLS_H
#define ACTNN_OWN_CALLS_H

#include "small_model.h"

/* ---- a call that fails ------------------------------------------------------------------------------ */

static inline int
refuse_to_run(const actnn_call *call)
{
  return actnn_is_preparing(call) ? 0 : actnn_fail(call->trainer, "not today");
}

static inline int
run_nothing(actnn *trainer)
{
  RUN(refuse_to_run, OUT(NONE), IN(NONE), WITHOUT);
  return 0;
}

/* ---- a loss of the test's own, and nothing learnt from it --------------------------------------------- */

static double own_loss = 1;
static float own_running; /* the first of the running statistic */

static inline int
write_loss(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  if (call->output[0].type == ACTNN_F64)
    *(double *)call->output[0].data = own_loss;
  else
    *at(&call->output[0]) = (float)own_loss;
  at(&call->output[1])[0] = own_running;
  return 0;
}

static inline int
forward_own_loss(actnn *trainer)
{
  RUN(write_loss, OUT(v_loss, v_running), IN(NONE), WITHOUT);
  return 0;
}

static inline int
backward_nothing(actnn *trainer)
{
  (void)trainer;
  return 0;
}

/* ---- one update ---------------------------------------------------------------------------------------- */

static actnn_kernel *own_update;
static actnn_list own_update_in;

static inline int
backward_with_update(actnn *trainer)
{
  return trainer->preparing ? 0 : actnn_run(trainer, own_update, OUT(v_w2), own_update_in, SGD);
}

#endif
