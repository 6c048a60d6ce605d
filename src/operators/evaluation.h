/* evaluation.h: for the plain loops of operators/NAME.c, which are compiled twice: for the translator's evaluator
 * (REAL is double, functions are evaluate_NAME) and for the runtime (REAL is float, plain_NAME).
 *
 * A view of floating type holds REAL; BOOL and U8 one byte; every other integer type int64_t. Plain loops
 * see PLAIN layout only, allocate nothing, and may be called with several threads' data but run on one. */
#ifndef ACTNN_EVALUATION_H
#define ACTNN_EVALUATION_H

#include "../../runtime/actnn.h"
#include "../../runtime/philox.h" /* ACTNN_DEVICE: CUDA's kernels read and write elements too */

#include <math.h>
#include <string.h>

#ifdef ACTNN_RUNTIME
#include "../../runtime/bfloat_value.h"
#define REAL float
#define EVALUATE(name) plain_##name
#else
#define REAL double
#define EVALUATE(name) evaluate_##name
#endif

static inline ACTNN_DEVICE bool
is_floating(actnn_type type)
{
  return type == ACTNN_F32 || type == ACTNN_F64 || type == ACTNN_F16 || type == ACTNN_BF16;
}

static inline int64_t
element_count(const actnn_view *view)
{
  int64_t count = 1;
  for (int i = 0; i < view->rank; i++) count *= view->dim[i];
  return count;
}

/* One element of any type as a double, and back (integers toward zero, saturating). */
static inline ACTNN_DEVICE double
load_element(const actnn_view *view, int64_t index)
{
#ifdef ACTNN_RUNTIME
  if (view->type == ACTNN_BF16) return bfloat_widened(((const uint16_t *)view->data)[index]);
#endif
  if (is_floating(view->type)) return ((const REAL *)view->data)[index];
  if (view->type == ACTNN_BOOL || view->type == ACTNN_U8) return ((const uint8_t *)view->data)[index];
  return (double)((const int64_t *)view->data)[index];
}

static inline ACTNN_DEVICE int64_t
integer_of(double value)
{
  if (value != value) return 0;
  if (value >= 9.2e18) return INT64_MAX;
  if (value <= -9.2e18) return INT64_MIN;
  return (int64_t)value;
}

static inline ACTNN_DEVICE void
store_element(const actnn_view *view, int64_t index, double value)
{
#ifdef ACTNN_RUNTIME
  if (view->type == ACTNN_BF16) {
    ((uint16_t *)view->data)[index] = bfloat_rounded((float)value);
    return;
  }
#endif
  if (is_floating(view->type)) ((REAL *)view->data)[index] = (REAL)value;
  else if (view->type == ACTNN_BOOL) ((uint8_t *)view->data)[index] = value != 0;
  else if (view->type == ACTNN_U8) ((uint8_t *)view->data)[index] = (uint8_t)integer_of(value);
  else ((int64_t *)view->data)[index] = integer_of(value);
}

/* Bytes of one element in an evaluator's or kernel's buffer. Only kernels see bfloat16 as it is held (runtime/bfloat.h). */
static inline size_t
element_bytes(actnn_type type)
{
#ifdef ACTNN_RUNTIME
  if (type == ACTNN_BF16) return 2;
#endif
  return is_floating(type) ? sizeof(REAL) : type == ACTNN_BOOL || type == ACTNN_U8 ? 1 : 8;
}

static inline const actnn_view *
optional_input(const actnn_call *call, size_t index)
{
  return index < call->input_count && call->input[index].data ? &call->input[index] : NULL;
}

static inline const actnn_view *
optional_output(const actnn_call *call, size_t index)
{
  return index < call->output_count && call->output[index].data ? &call->output[index] : NULL;
}

/* attribute `index` as a list of integers with a default for those beyond its end (a scalar INT counts as one) */
static inline int64_t
int_at(const actnn_call *call, size_t attribute, size_t index, int64_t otherwise)
{
  const actnn_attribute *a = &call->attribute[attribute];
  return a->kind == ACTNN_INT && index == 0 ? a->i : a->kind == ACTNN_INTS && index < a->count ? a->ints[index] : otherwise;
}

/* Row-major strides of a view, in elements. */
static inline void
row_major_strides(const actnn_view *view, int64_t *stride)
{
  int64_t step = 1;
  for (int i = view->rank - 1; i >= 0; i--) {
    stride[i] = step;
    step *= view->dim[i];
  }
}

/* Advances a multi-index in row-major order; false after the last. */
static inline bool
next_index(int64_t *index, const int64_t *dim, int rank)
{
  for (int i = rank - 1; i >= 0; i--) {
    if (++index[i] < dim[i]) return true;
    index[i] = 0;
  }
  return false;
}

#endif
