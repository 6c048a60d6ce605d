/* padding.c: evaluation of Pad and its gradient. Every padded position has one source or the constant; modes
 * differ in that map alone, so that the gradient adds along it. */
#include "patterns.h"

actnn_kernel EVALUATE(Pad), EVALUATE(PadGrad);

/* Element of `whole` that lies at `index` of the padded tensor, or -1. */
static int64_t
source_of(const int64_t *index, const int64_t *begin, const actnn_view *whole, const int64_t *stride, PadMode mode)
{
  int64_t at = 0;
  for (int i = 0; i < whole->rank; i++) {
    int64_t from = pad_source(index[i], begin[i], whole->dim[i], mode);
    if (from < 0) return -1;
    at += from * stride[i];
  }
  return at;
}

int
EVALUATE(Pad)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t begin[ACTNN_MAX_RANK], stride[ACTNN_MAX_RANK], index[ACTNN_MAX_RANK] = {0}, count = element_count(y);
  PadMode mode = pad_mode_named(call->attribute[3].text);
  double value = pad_value(call);
  size_t size = element_bytes(y->type);
  pad_begins(call, 0, 2, x->rank, begin);
  row_major_strides(x, stride);
  for (int64_t i = 0; i < count; i++) {
    int64_t at = source_of(index, begin, x, stride, mode);
    if (at < 0) store_element(y, i, value);
    else memcpy((char *)y->data + (size_t)i * size, (const char *)x->data + (size_t)at * size, size);
    next_index(index, y->dim, y->rank);
  }
  return 0;
}

int
EVALUATE(PadGrad)(const actnn_call *call)
{
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  int64_t begin[ACTNN_MAX_RANK], stride[ACTNN_MAX_RANK], index[ACTNN_MAX_RANK] = {0}, count = element_count(dy);
  PadMode mode = pad_mode_named(call->attribute[3].text);
  const REAL *from = dy->data;
  REAL *to = dx->data;
  pad_begins(call, 1, 2, dx->rank, begin);
  row_major_strides(dx, stride);
  memset(to, 0, (size_t)element_count(dx) * sizeof *to);
  for (int64_t i = 0; i < count; i++) {
    int64_t at = source_of(index, begin, dx, stride, mode);
    if (at >= 0) to[at] += from[i];
    next_index(index, dy->dim, dy->rank);
  }
  return 0;
}
