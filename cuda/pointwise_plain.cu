/* pointwise_plain.cu: elementwise rows of integers and mixed types, masks made of token ids above all: the plain loops of
 * src/operators/pointwise.c, in double precision as there, so that results are theirs bit for bit. One kernel has all rows: such tensors
 * are small beside activations. */
#include "kernels.h"
#include "moving.h"

#include "actnn_pointwise.h"

extern "C" {
#include "../src/operators/pointwise_steps.h"
}

#define T double
#undef FUNCTION_OF_T
#define FUNCTION_OF_T(name) name##_double
#include "../src/operators/pointwise_functions.h"

typedef struct PlainJob {
  actnn_view operand[MOST_ROW_OPERANDS], result;
  Source source[MOST_ROW_OPERANDS];
  int operands, row;
  int64_t count;
  double real[MOST_ROW_ATTRIBUTES];
  int flag[MOST_ROW_ATTRIBUTES];
} PlainJob;

#define X(a) T a = given[0]
#define XY(a, b) T a = given[0]; T b = given[1]
#define XYZ(a, b, c) T a = given[0]; T b = given[1]; T c = given[2]
#define NO_ATTRIBUTES
#define REAL1(a, da) T a = job.real[0]
#define REAL2(a, da, b, db) T a = job.real[0]; T b = job.real[1]
#define FLAG1(a, da) int a##_ = job.flag[0]
#define FLAG2(a, da, b, db) int a##_ = job.flag[0]; int b##_ = job.flag[1]
#define CHOICE1(a, da) int a##_ = job.flag[0]
#define POINT(NAME, operands, attributes, result, expression, ...) \
  case ROW_##NAME: { \
    operands; \
    attributes; \
    return (T)(expression); \
  }
#define UNARY(...)
#define OPERATOR(...)
static inline __device__ double
plain_point(const PlainJob &job, const double *given)
{
  switch (job.row) {
#include "../src/operators.def"
  default: return 0;
  }
}

template <typename Index>
KERNEL
run_plain_row(PlainJob job)
{
  int64_t i = thread_number();
  if (i >= job.count)
    return;
  double given[MOST_ROW_OPERANDS] = {0, 0, 0};
  for (int k = 0; k < job.operands; k++) {
    int64_t at = place_in(job.source[k], (Index)i);
    given[k] = at < 0 ? 0 : load_element(&job.operand[k], at);
  }
  store_element(&job.result, i, plain_point(job, given));
}

/* While preparing: whether there is a kernel. CUDA's powers may be off by the last bit, and integers are cut, 8 where 9 is meant: those are
 * left to the processor. */
int
gpu_run_plain_row(const actnn_call *call, int row)
{
  const pointwise_row *known = pointwise_row_at(row);
  const actnn_view *y = call->output;
  int64_t block = gpu_block_of(call->trainer, y);
  PlainJob job;
  if (call->input_count != (size_t)known->operands || y->layout == ACTNN_STASH || (row == ROW_Pow && !is_floating(y->type)))
    return DEVICE_DECLINES;
  if (y->layout == ACTNN_BLOCKED && y->dim[1] % block)
    return DEVICE_DECLINES; /* what pads channels must stay zero */
  memset(&job, 0, sizeof job);
  Extents e = extents_of(y, block);
  for (int k = 0; k < known->operands; k++) {
    job.operand[k] = call->input[k];
    if (!place_source(&job.source[k], &call->input[k], y, &e, gpu_block_of(call->trainer, &call->input[k]), block))
      return DEVICE_DECLINES;
  }
  if (actnn_is_preparing(call))
    return 0;
  job.result = *y;
  job.operands = known->operands;
  job.row = row;
  job.count = e.count;
  for (size_t k = 0; k < call->attribute_count && k < MOST_ROW_ATTRIBUTES; k++) {
    job.real[k] = call->attribute[k].f;
    job.flag[k] = pointwise_flag(known, &call->attribute[k]);
  }
  if (job.count <= INT32_MAX)
    return LAUNCH(call, run_plain_row<uint32_t>, job.count, job);
  return LAUNCH(call, run_plain_row<uint64_t>, job.count, job);
}
