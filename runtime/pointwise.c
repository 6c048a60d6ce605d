/* pointwise.c: float kernels of all elementwise rows of the operator table.
 *
 * Each row becomes one loop over chunks: y[i] = f(a[i], b[i], c[i]) on contiguous floats, which vectorizes. A driver
 * cuts the result into chunks and finds each operand's: straight from memory where it lies the same way, else
 * gathered into a buffer that stays in the first-level cache (repeated scalars, broadcasts, booleans made floats).
 * Integers and mixed types go to the plain loops of src/operators/pointwise.c.
 *
 * Compiled once for each instruction set, see instruction_set.h.
 */
#include "bfloat.h"
#include "broadcast.h"
#include "instruction_set.h"
#include "vector_math.h"

#include <tgmath.h>
#undef exp
#undef expm1
#undef log
#undef log1p
#undef tanh
#undef erf
#define exp(x) exp_float(x)
#define expm1(x) expm1_float(x)
#define log(x) log_float(x)
#define log1p(x) log1p_float(x)
#define tanh(x) tanh_float(x)
#define erf(x) erf_float(x)
#define T float
#define FUNCTION_OF_T(name) name##_float
#include "../src/operators/pointwise_functions.h"

enum { CHUNK = 1024, MOST_OPERANDS = 3 };

typedef void ChunkLoop(int64_t count, void *result, const float *const *operand, const actnn_attribute *attribute);

static void
copy_run(const Source *source, int64_t at, int64_t stride, float *to, int64_t count)
{
  if (source->is_bytes) {
    const uint8_t *from = (const uint8_t *)source->data + at;
    for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
  } else if (source->is_bfloat && stride == 1) {
    const uint16_t *from = (const uint16_t *)source->data + at;
    for (int64_t i = 0; i < count; i++) to[i] = bfloat_widened(from[i]);
  } else if (source->is_bfloat) {
    const uint16_t *from = (const uint16_t *)source->data + at;
    for (int64_t i = 0; i < count; i++) to[i] = bfloat_widened(from[i * stride]);
  } else if (stride == 1) {
    memcpy(to, (const float *)source->data + at, (size_t)count * sizeof *to);
  } else if (stride == 0) {
    float value = ((const float *)source->data)[at];
    for (int64_t i = 0; i < count; i++) to[i] = value;
  } else {
    const float *from = (const float *)source->data + at;
    for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
  }
}

/* The operand's elements for physical elements [first, first + count) of the result. */
static void
gather(const Source *source, int64_t first, int64_t count, float *to)
{
  int64_t index[PHYSICAL_RANK] = {0}, at = 0, rest = first;
  int last = source->rank - 1;
  for (int i = last; i >= 0; i--) {
    index[i] = rest % source->dim[i];
    rest /= source->dim[i];
    at += index[i] * source->stride[i];
  }
  while (count > 0) {
    int64_t run = source->dim[last] - index[last] < count ? source->dim[last] - index[last] : count, real = run;
    if (source->block_axis >= 0 && index[source->block_axis] == source->last_block) {
      real = source->last_lanes - index[last] < run ? source->last_lanes - index[last] : run;
      if (real < 0) real = 0;
      memset(to + real, 0, (size_t)(run - real) * sizeof *to);
    }
    copy_run(source, at, source->stride[last], to, real);
    to += run;
    count -= run;
    at -= index[last] * source->stride[last];
    index[last] = 0;
    for (int i = last - 1; i >= 0; i--) {
      at += source->stride[i];
      if (++index[i] < source->dim[i]) break;
      at -= index[i] * source->stride[i];
      index[i] = 0;
    }
  }
}

/* Channels beyond the last one stay zero whatever f(0) is. */
static void
clear_padding(const actnn_view *y, const Extents *e, int64_t block, int64_t element_bytes, int64_t first, int64_t count)
{
  int64_t used = y->dim[1] % block, blocks = e->dim[1], positions = 1;
  for (int i = 2; i < y->rank; i++) positions *= y->dim[i];
  for (int64_t unit = first / block; unit < (first + count) / block; unit++)
    if (unit / positions % blocks == blocks - 1)
      memset((char *)y->data + (unit * block + used) * element_bytes, 0, (size_t)((block - used) * element_bytes));
}

static int
run_chunks(const actnn_call *call, ChunkLoop *loop, const Source *source, size_t operands, const Extents *e, int64_t block)
{
  const actnn_view *y = &call->output[0];
  int64_t bytes = y->type == ACTNN_BOOL ? 1 : y->type == ACTNN_BF16 ? 2 : 4, chunks = (e->count + CHUNK - 1) / CHUNK;
  bool has_padding = y->layout == ACTNN_BLOCKED && y->dim[1] % block != 0;
#pragma omp parallel if (e->count > SERIAL_ELEMENTS)
  {
    float buffer[MOST_OPERANDS][CHUNK] __attribute__((aligned(64))), wide[CHUNK];
    const float *operand[MOST_OPERANDS] = {buffer[0], buffer[1], buffer[2]};
    for (size_t k = 0; k < operands; k++)
      if (source[k].access == REPEATED) copy_run(&source[k], 0, 0, buffer[k], CHUNK);
#pragma omp for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      int64_t first = chunk * CHUNK, count = e->count - first < CHUNK ? e->count - first : CHUNK;
      for (size_t k = 0; k < operands; k++) {
        if (source[k].access == STRAIGHT) operand[k] = (const float *)source[k].data + first;
        if (source[k].access == GATHERED) gather(&source[k], first, count, buffer[k]);
      }
      loop(count, bfloat_holds(y) ? (void *)wide : (char *)y->data + first * bytes, operand, call->attribute);
      bfloat_write(y, first, count, wide);
      if (has_padding) clear_padding(y, e, block, bytes, first, count);
    }
  }
  return 0;
}

/* result_type: what the row gives, float or boolean. */
static int
run_points(const actnn_call *call, ChunkLoop *loop, actnn_type result_type, actnn_kernel *otherwise)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *y = &call->output[0];
  int64_t block = call->trainer && y->layout == ACTNN_BLOCKED ? call->trainer->channel_block : 1;
  Source source[MOST_OPERANDS];
  size_t operands = call->input_count;
  bool is_fast = operands <= MOST_OPERANDS && (y->type == result_type || (bfloat_holds(y) && result_type == ACTNN_F32)), is_plain = y->layout == ACTNN_PLAIN;
  Extents e = extents_of(y, block);
  if (e.count == 0) return 0;
  for (size_t k = 0; k < operands; k++) {
    is_plain = is_plain && call->input[k].layout == ACTNN_PLAIN;
    is_fast = is_fast && make_source(&source[k], &call->input[k], y, &e, block, block);
  }
  if (is_fast) return run_chunks(call, loop, source, operands, &e, block);
  if (is_plain) return bfloat_is_in(call) ? bfloat_run_on_copies(otherwise, call) : otherwise(call);
  return actnn_fail(call->trainer, "an elementwise operator got integers or mixed layouts in blocked memory");
}

#define X(a) T a = operand[0][i]
#define XY(a, b) T a = operand[0][i]; T b = operand[1][i]
#define XYZ(a, b, c) T a = operand[0][i]; T b = operand[1][i]; T c = operand[2][i]
#define NO_ATTRIBUTES
#define REAL1(a, da) T a = (T)attribute[0].f
#define REAL2(a, da, b, db) T a = (T)attribute[0].f; T b = (T)attribute[1].f
#define FLAG1(a, da) int a##_ = attribute[0].i != 0
#define FLAG2(a, da, b, db) int a##_ = attribute[0].i != 0; int b##_ = attribute[1].i != 0
#define CHOICE1(a, da) int a##_ = strcmp(attribute[0].text, #da) != 0
#define ELEMENT_OF_SAME float
#define ELEMENT_OF_BOOLEAN uint8_t
#define TYPE_OF_SAME ACTNN_F32
#define TYPE_OF_BOOLEAN ACTNN_BOOL

/* The result may lie on the first operand, element on element: that is what `omp simd` is told. */
#define LOOP(NAME, result_kind, attributes, operands, before, expression) \
  static void loop_##NAME(int64_t count, void *result, const float *const *operands_given, const actnn_attribute *attribute) \
  { \
    ELEMENT_OF_##result_kind *y_out = result; \
    const float *const operand[MOST_OPERANDS] = {operands_given[0], operands_given[1], operands_given[2]}; \
    (void)attribute; \
    attributes; \
    _Pragma("omp simd") for (int64_t i = 0; i < count; i++) \
    { \
      operands; \
      before; \
      y_out[i] = (ELEMENT_OF_##result_kind)(expression); \
    } \
  } \
  actnn_kernel plain_##NAME, ENTRY(NAME); \
  int ENTRY(NAME)(const actnn_call *call) \
  { \
    return run_points(call, loop_##NAME, TYPE_OF_##result_kind, plain_##NAME); \
  }
#define POINT(NAME, operands, attributes, result, expression, gradient, linear, flags, tries) \
  LOOP(NAME, result, attributes, operands, , expression)
#define UNARY(NAME, attributes, expression, slope, range, tries) \
  LOOP(NAME, SAME, attributes, X(x), , expression) \
  LOOP(NAME##Slope, SAME, attributes, X(x), T y = expression; (void)y, slope)
#define OPERATOR(...)
#include "../src/operators.def"
