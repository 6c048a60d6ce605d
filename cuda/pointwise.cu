/* pointwise.cu: kernels of all elementwise rows of the operator table, from the same expressions as the processor's, and of joined nodes,
 * whose kernels the trainer brings along. Integers and mixed types go to pointwise_plain.cu. */
#include "gpu.h"
#include "kernels.h"

#include "actnn_pointwise.h"

extern "C" {
#include "../src/operators/pointwise_steps.h"
}

static_assert((int)MOST_POINT_OPERANDS == (int)MOST_STEP_OPERANDS && (int)MOST_POINT_RESULTS == (int)MOST_STEP_RESULTS, "kernels take all that steps may have");

/* What of the attributes a row uses. */
typedef struct Numbers {
  float real[MOST_ROW_ATTRIBUTES];
  int flag[MOST_ROW_ATTRIBUTES];
} Numbers;

/* False when the result is not of a form that kernels write. */
static bool
make_result(const actnn_view *y, PointResult *result)
{
  result->data = y->data;
  result->form = y->type == ACTNN_F32 ? POINT_FLOATS : y->type == ACTNN_BF16 ? POINT_BFLOATS : POINT_BYTES;
  return result->form != POINT_BYTES || y->type == ACTNN_BOOL;
}

/* False when an operand or a result does not fit. */
static bool
make_job(const actnn_call *call, PointJob *job)
{
  const actnn_view *y = call->output;
  int64_t block = gpu_block_of(call->trainer, y);
  if (call->input_count > MOST_POINT_OPERANDS || call->output_count > MOST_POINT_RESULTS || y->layout == ACTNN_STASH)
    return false;
  if (y->layout == ACTNN_BLOCKED && y->dim[1] % block)
    return false; /* what pads channels must stay zero */
  Extents e = extents_of(y, block);
  for (size_t k = 0; k < call->input_count; k++)
    if (!make_source(&job->source[k], &call->input[k], y, &e, gpu_block_of(call->trainer, &call->input[k]), block))
      return false;
  for (size_t k = 0; k < call->output_count; k++)
    if (!make_result(&y[k], &job->result[k]))
      return false;
  job->count = e.count;
  return true;
}

/* ---- rows alone ------------------------------------------------------------------------------------------------- */

static Numbers
numbers_of(const actnn_call *call, const pointwise_row *row)
{
  Numbers numbers;
  memset(&numbers, 0, sizeof numbers);
  for (size_t k = 0; k < call->attribute_count && k < MOST_ROW_ATTRIBUTES; k++) {
    numbers.real[k] = (float)call->attribute[k].f;
    numbers.flag[k] = pointwise_flag(row, &call->attribute[k]);
  }
  return numbers;
}

template <typename Row>
static int
run_row(const actnn_call *call, int number, Row row)
{
  const pointwise_row *known = pointwise_row_at(number);
  PointJob job;
  if (!make_job(call, &job) || known->is_boolean != (job.result[0].form == POINT_BYTES))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  row.numbers = numbers_of(call, known);
  return gpu_check(call->trainer, launch_points(&job, stream_of(call->trainer), row), "an elementwise kernel");
}

/* How many operands each row has. */
#define X(a) 1
#define XY(a, b) 2
#define XYZ(a, b, c) 3
#define POINT(NAME, operands, ...) enum { operands_##NAME = operands };
#define UNARY(NAME, ...) enum { operands_##NAME = 1 };
#define OPERATOR(...)
#include "../src/operators.def"
#undef X
#undef XY
#undef XYZ

#define NO_ATTRIBUTES
#define REAL1(a, da) , numbers.real[0]
#define REAL2(a, da, b, db) , numbers.real[0], numbers.real[1]
#define FLAG1(a, da) , numbers.flag[0]
#define FLAG2(a, da, b, db) , numbers.flag[0], numbers.flag[1]
#define CHOICE1(a, da) , numbers.flag[0]
#define X(a) given[0]
#define XY(a, b) given[0], given[1]
#define XYZ(a, b, c) given[0], given[1], given[2]
#define ROW(NAME, row) \
  struct row_##NAME { \
    enum { operands = operands_##row, results = 1 }; \
    Numbers numbers; \
    __device__ void operator()(const float (&given)[operands_##row], float (&made)[1]) const; \
  }; \
  inline __device__ void row_##NAME::operator()(const float (&given)[operands_##row], float (&made)[1]) const
#define ROW_KERNEL(NAME, otherwise) \
  extern "C" int gpu_##NAME(const actnn_call *call); \
  int gpu_##NAME(const actnn_call *call) \
  { \
    int failed = run_row(call, ROW_##NAME, row_##NAME()); \
    return failed == DEVICE_DECLINES ? otherwise : failed; \
  }
#define POINT(NAME, operands_given, attributes, ...) \
  ROW(NAME, NAME) { made[0] = point_##NAME(operands_given attributes); } \
  ROW_KERNEL(NAME, gpu_run_plain_row(call, ROW_##NAME))
#define UNARY(NAME, attributes, ...) \
  ROW(NAME, NAME) { made[0] = point_##NAME(given[0] attributes); } \
  ROW(NAME##Slope, NAME) { made[0] = point_##NAME##Slope(given[0] attributes); } \
  ROW_KERNEL(NAME, DEVICE_DECLINES) \
  ROW_KERNEL(NAME##Slope, DEVICE_DECLINES)
#define OPERATOR(...)
#include "../src/operators.def"

/* ---- rows joined -------------------------------------------------------------------------------------------------- */

/* The kernel of these steps that the trainer brings along; NULL. */
static const actnn_pointwise *
joined_kernel(const actnn_model *model, const char *steps)
{
  const actnn_pointwise *joined = model->pointwise;
  while (joined && joined->steps && strcmp(joined->steps, steps))
    joined++;
  return joined && joined->steps ? joined : NULL;
}

extern "C" int gpu_Pointwise(const actnn_call *call);
int
gpu_Pointwise(const actnn_call *call)
{
  const actnn_pointwise *joined = joined_kernel(call->trainer->model, call->attribute[0].text);
  PointJob job;
  if (!joined || !make_job(call, &job))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  return gpu_check(call->trainer, (cudaError_t)joined->launch(&job, stream_of(call->trainer)), "a joined kernel");
}
