/* pointwise.cu: kernels of all elementwise rows of the operator table, from the same expressions as the processor's. Integers and
 * mixed types are left to the processor. */
#include "broadcast.h"
#include "floats.h"

#define T float
#define FUNCTION_OF_T(name) name##_float
#include "../src/operators/pointwise_functions.h"

enum { MOST_OPERANDS = 3, MOST_NUMBERS = 2, EACH = 4 /* elements of a thread */ };

/* What of the attributes an expression uses. */
typedef struct Numbers {
  float real[MOST_NUMBERS];
  int flag[MOST_NUMBERS];
} Numbers;

typedef struct PointJob {
  Source source[MOST_OPERANDS];
  void *result;
  int64_t count;
  int64_t lanes, positions, blocks, channels; /* of a padded result; lanes 0: there is no padding */
} PointJob;

/* The element of an operand for physical element i of the result. */
template <typename Index>
static inline __device__ float
element_of(const Source &source, Index i)
{
  int64_t at = (int64_t)i;
  if (source.access == REPEATED) {
    at = 0;
  } else if (source.access == GATHERED && source.rank > 1) {
    Index rest = i;
    Index block = 0, lane = 0;
    at = 0;
    for (int axis = source.rank - 1; axis >= 0; axis--) {
      Index extent = (Index)source.dim[axis], index = rest % extent;
      rest /= extent;
      at += (int64_t)index * source.stride[axis];
      if (axis == source.rank - 1)
        lane = index;
      if (axis == source.block_axis)
        block = index;
    }
    if (source.block_axis >= 0 && (int64_t)block == source.last_block && (int64_t)lane >= source.last_lanes)
      return 0;
  } else if (source.access == GATHERED) {
    at *= source.stride[0];
  }
  if (source.is_bfloat)
    return bfloat_widened(((const uint16_t *)source.data)[at]);
  return source.is_bytes ? ((const uint8_t *)source.data)[at] : ((const float *)source.data)[at];
}

static inline __device__ void
hold(uint8_t *to, float value)
{
  *to = (uint8_t)value;
}

template <typename Index, typename Result, typename Point>
KERNEL
points(PointJob job, Point point)
{
  for (int each = 0; each < EACH; each++) {
    int64_t i = ((int64_t)blockIdx.x * EACH + each) * BLOCK_THREADS + threadIdx.x;
    if (i >= job.count)
      return;
    float a = element_of(job.source[0], (Index)i);
    float b = Point::operands > 1 ? element_of(job.source[1], (Index)i) : 0;
    float c = Point::operands > 2 ? element_of(job.source[2], (Index)i) : 0;
    bool is_padding = job.lanes && i / job.lanes / job.positions % job.blocks * job.lanes + i % job.lanes >= job.channels;
    hold((Result *)job.result + i, is_padding ? 0 : point(a, b, c));
  }
}

/* False when an operand does not fit. */
static bool
make_job(const actnn_call *call, actnn_type result_type, PointJob *job)
{
  const actnn_view *y = &call->output[0];
  int64_t block = gpu_block_of(call->trainer, y);
  Extents e = extents_of(y, block);
  memset(job, 0, sizeof *job);
  bool is_narrow = y->type == ACTNN_BF16 && result_type == ACTNN_F32;
  if (call->input_count > MOST_OPERANDS || (y->type != result_type && !is_narrow) || y->layout == ACTNN_STASH)
    return false;
  for (size_t k = 0; k < call->input_count; k++)
    if (!make_source(&job->source[k], &call->input[k], y, &e, gpu_block_of(call->trainer, &call->input[k]), block))
      return false;
  job->result = y->data;
  job->count = e.count;
  if (y->layout == ACTNN_BLOCKED && y->dim[1] % block) {
    job->lanes = block;
    job->blocks = e.dim[1];
    job->channels = y->dim[1];
    job->positions = 1;
    for (int i = 2; i < y->rank; i++)
      job->positions *= y->dim[i];
  }
  return true;
}

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

template <typename Result, typename Point>
static int
launch_points(const actnn_call *call, const PointJob &job, const Point &point)
{
  int64_t threads = threads_of(job.count, EACH);
  if (job.count <= INT32_MAX)
    return LAUNCH(call, (points<uint32_t, Result, Point>), threads, job, point);
  return LAUNCH(call, (points<uint64_t, Result, Point>), threads, job, point);
}

template <typename Result, typename Point>
static int
run_points(const actnn_call *call, actnn_type result_type, Point point, const char *otherwise)
{
  PointJob job;
  if (!make_job(call, result_type, &job))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  point.numbers = numbers_of(call, otherwise);
  if (call->output[0].type == ACTNN_BF16)
    return launch_points<bfloat_number>(call, job, point);
  return launch_points<Result>(call, job, point);
}

/* ---- of each row, how many operands it has and the text of its choice ----------------------------------------- */

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

/* ---- each row's expression ----------------------------------------------------------------------------------- */

#define NO_ATTRIBUTES
#define REAL1(a, da) T a = numbers.real[0]
#define REAL2(a, da, b, db) T a = numbers.real[0]; T b = numbers.real[1]
#define FLAG1(a, da) int a##_ = numbers.flag[0]
#define FLAG2(a, da, b, db) int a##_ = numbers.flag[0]; int b##_ = numbers.flag[1]
#define CHOICE1(a, da) int a##_ = numbers.flag[0]
#define X(a) T a = given0
#define XY(a, b) T a = given0; T b = given1
#define XYZ(a, b, c) T a = given0; T b = given1; T c = given2
#define RESULT_SAME float
#define RESULT_BOOLEAN uint8_t
#define TYPE_SAME ACTNN_F32
#define TYPE_BOOLEAN ACTNN_BOOL
#define EXPRESSION(NAME, result, attributes, given, before, expression, row) \
  struct point_##NAME { \
    enum { operands = operands_##row }; \
    Numbers numbers; \
    __device__ float operator()(float given0, float given1, float given2) const \
    { \
      (void)given1; \
      (void)given2; \
      attributes; \
      given; \
      before; \
      return (float)(expression); \
    } \
  }; \
  extern "C" int gpu_##NAME(const actnn_call *call); \
  int gpu_##NAME(const actnn_call *call) \
  { \
    return run_points<RESULT_##result>(call, TYPE_##result, point_##NAME(), otherwise_##row); \
  }
#define POINT(NAME, given, attributes, result, expression, ...) EXPRESSION(NAME, result, attributes, given, , expression, NAME)
#define UNARY(NAME, attributes, expression, slope, ...) \
  EXPRESSION(NAME, SAME, attributes, X(x), , expression, NAME) \
  EXPRESSION(NAME##Slope, SAME, attributes, X(x), T y = expression; (void)y, slope, NAME)
#define OPERATOR(...)
#include "../src/operators.def"
