/* indices.h: reading positions from data. */
#ifndef ACTNN_INDICES_H
#define ACTNN_INDICES_H

#include "evaluation.h"

#ifdef ACTNN_RUNTIME
#include "../../runtime/runtime.h"
#endif

/* Says which index is wrong, where there is a trainer to say it to; returns 1. */
static inline int
bad_index(const actnn_call *call, const char *name, int64_t index, int64_t extent)
{
#ifdef ACTNN_RUNTIME
  return actnn_fail(call->trainer, "%s: index %lld is outside [-%lld, %lld)", name, (long long)index,
                    (long long)extent, (long long)extent);
#else
  (void)call, (void)name, (void)index, (void)extent;
  return 1;
#endif
}

/* An index in [-extent, extent) as one in [0, extent); -1 otherwise. */
static inline ACTNN_DEVICE int64_t
wrapped_index(int64_t index, int64_t extent)
{
  if (index < 0) index += extent;
  return index >= 0 && index < extent ? index : -1;
}

/* data as outer x extent x inner around an axis */
typedef struct AroundAxis {
  int64_t outer, extent, inner;
} AroundAxis;

static inline AroundAxis
around_axis(const actnn_view *view, int64_t axis)
{
  AroundAxis around = {1, 1, 1};
  if (axis < 0) axis += view->rank;
  for (int i = 0; i < view->rank; i++) {
    if (i < axis) around.outer *= view->dim[i];
    if (i == axis) around.extent = view->dim[i];
    if (i > axis) around.inner *= view->dim[i];
  }
  return around;
}

#endif
