/* pointwise.cu: kernels of all elementwise rows of the operator table, from the same expressions as the processor's, and of joined nodes,
 * whose kernels the trainer brings along. Integers and mixed types are left to the processor. */
#include "gpu.h"

#include "actnn_pointwise.h"

enum { MOST_NUMBERS = 2 };

/* What of the attributes a row uses. */
typedef struct Numbers {
  float real[MOST_NUMBERS];
  int flag[MOST_NUMBERS];
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

/* otherwise: the text of a choice that counts as 0; NULL: there is none. */
static Numbers
numbers_of(const actnn_call *call, const char *otherwise)
{
  Numbers numbers;
  memset(&numbers, 0, sizeof numbers);
  for (size_t k = 0; k < call->attribute_count && k < MOST_NUMBERS; k++) {
    const actnn_attribute *attribute = &call->attribute[k];
    numbers.real[k] = (float)attribute->f;
    numbers.flag[k] = attribute->kind == ACTNN_TEXT ? otherwise && strcmp(attribute->text, otherwise) != 0 : attribute->i != 0;
  }
  return numbers;
}

template <typename Row>
static int
run_row(const actnn_call *call, bool is_boolean, Row row, const char *otherwise)
{
  PointJob job;
  if (!make_job(call, &job) || is_boolean != (job.result[0].form == POINT_BYTES))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  row.numbers = numbers_of(call, otherwise);
  launch_points(&job, stream_of(call->trainer), row);
  return gpu_check(call->trainer, cudaGetLastError(), "an elementwise kernel");
}

/* Of each row, how many operands it has and the text of its choice. */
#define NO_ATTRIBUTES NULL
#define REAL1(a, da) NULL
#define REAL2(a, da, b, db) NULL
#define FLAG1(a, da) NULL
#define FLAG2(a, da, b, db) NULL
#define CHOICE1(a, da) #da
#define X(a) 1
#define XY(a, b) 2
#define XYZ(a, b, c) 3
#define POINT(NAME, operands, attributes, ...) \
  enum { operands_##NAME = operands }; \
  static const char *const otherwise_##NAME = attributes;
#define UNARY(NAME, attributes, ...) POINT(NAME, 1, attributes, )
#define OPERATOR(...)
#include "../src/operators.def"
#undef X
#undef XY
#undef XYZ
#undef NO_ATTRIBUTES
#undef REAL1
#undef REAL2
#undef FLAG1
#undef FLAG2
#undef CHOICE1

#define NO_ATTRIBUTES
#define REAL1(a, da) , numbers.real[0]
#define REAL2(a, da, b, db) , numbers.real[0], numbers.real[1]
#define FLAG1(a, da) , numbers.flag[0]
#define FLAG2(a, da, b, db) , numbers.flag[0], numbers.flag[1]
#define CHOICE1(a, da) , numbers.flag[0]
#define X(a) given[0]
#define XY(a, b) given[0], given[1]
#define XYZ(a, b, c) given[0], given[1], given[2]
#define IS_SAME false
#define IS_BOOLEAN true
#define ROW(NAME, row) \
  struct row_##NAME { \
    enum { operands = operands_##row, results = 1 }; \
    Numbers numbers; \
    __device__ void operator()(const float (&given)[operands_##row], float (&made)[1]) const; \
  }; \
  inline __device__ void row_##NAME::operator()(const float (&given)[operands_##row], float (&made)[1]) const
#define ROW_KERNEL(NAME, result, row) \
  extern "C" int gpu_##NAME(const actnn_call *call); \
  int gpu_##NAME(const actnn_call *call) \
  { \
    return run_row(call, IS_##result, row_##NAME(), otherwise_##row); \
  }
#define POINT(NAME, operands_given, attributes, result, ...) \
  ROW(NAME, NAME) { made[0] = point_##NAME(operands_given attributes); } \
  ROW_KERNEL(NAME, result, NAME)
#define UNARY(NAME, attributes, ...) \
  ROW(NAME, NAME) { made[0] = point_##NAME(given[0] attributes); } \
  ROW(NAME##Slope, NAME) { made[0] = point_##NAME##Slope(given[0] attributes); } \
  ROW_KERNEL(NAME, SAME, NAME) \
  ROW_KERNEL(NAME##Slope, SAME, NAME)
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
  joined->launch(&job, stream_of(call->trainer));
  return gpu_check(call->trainer, cudaGetLastError(), "a joined kernel");
}
