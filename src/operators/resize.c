/* resize.c: evaluation of Resize and its gradient. */
#include "resizing.h"

actnn_kernel EVALUATE(Resize), EVALUATE(ResizeGrad);

int
EVALUATE(Resize)(const actnn_call *call)
{
  Resizing resizing = resizing_forward(call);
  int leading = plane_axes(&resizing);
  for (int64_t plane = 0, planes = plane_count(&resizing, leading); plane < planes; plane++)
    resize_plane(&resizing, leading, plane);
  return 0;
}

int
EVALUATE(ResizeGrad)(const actnn_call *call)
{
  Resizing resizing = resizing_backward(call);
  int leading = plane_axes(&resizing);
  memset(resizing.to, 0, (size_t)element_count(&call->output[0]) * sizeof(REAL));
  for (int64_t plane = 0, planes = plane_count(&resizing, leading); plane < planes; plane++)
    resize_plane(&resizing, leading, plane);
  return 0;
}
