/* pointwise.c: float kernels of all elementwise rows of the operator table, alone or joined (actnn.Pointwise).
 *
 * Each row becomes one loop over chunks: y[i] = f(a[i], b[i], c[i]) on contiguous floats, which vectorizes. A driver
 * cuts the result into chunks and finds each operand's: straight from memory where it lies the same way, else
 * gathered into a buffer that stays in the first-level cache (repeated scalars, broadcasts, booleans made floats).
 * What one of several rows makes for the next ones stays there too. Integers and mixed types go to the plain loops of
 * src/operators/pointwise.c.
 *
 * Compiled once for each instruction set, see instruction_set.h.
 */
#include "bfloat.h"
#include "broadcast.h"
#include "instruction_set.h"
#include "making.h"
#include "vector_math.h"

#include "../src/operators/pointwise_steps.h"

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

/* Buffers of a little less than 4 KiB, one behind the other: what a step reads never has the low bits of what it has just written. */
enum { CHUNK = 960 };

/* One row's loop among those of a call. Operands and the result are places of pointwise_steps.h. */
typedef struct ChunkStep {
  actnn_row_loop *loop;
  const actnn_attribute *attribute;
  int operand[MOST_ROW_OPERANDS], result;
  bool is_boolean;
  bool is_straight; /* written where the result lies; otherwise kept until all operands of the chunk have been read */
  bool is_read;     /* by a later step */
} ChunkStep;

/* All that a call does with a chunk. */
typedef struct Chunks {
  ChunkStep step[MOST_STEPS];
  int count;
  Source source[MOST_STEP_OPERANDS];
} Chunks;

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

static int64_t
bytes_of_element(const actnn_view *view)
{
  return view->type == ACTNN_BOOL ? 1 : bfloat_holds(view) ? 2 : 4;
}

/* Buffers of one thread, and where the floats of each place are: in one of them or in memory. */
typedef struct Places {
  float buffer[MOST_STEP_OPERANDS + MOST_STEPS][CHUNK] __attribute__((aligned(64)));
  uint8_t booleans[CHUNK];
  const float *at[STEP_PLACES];
} Places;

/* Runs a step. What it makes is where the result lies, in the step's buffer (as floats), or in both if it is read later. */
static void
run_step(const ChunkStep *step, const actnn_call *call, Places *places, float *made, int64_t first, int64_t count)
{
  const float *operand[MOST_ROW_OPERANDS];
  for (int k = 0; k < MOST_ROW_OPERANDS; k++) operand[k] = places->at[step->operand[k]];
  const actnn_view *y = step->is_straight ? &call->output[step->result - FIRST_RESULT] : NULL;
  void *to = y ? (char *)y->data + first * bytes_of_element(y) : step->is_boolean ? (void *)places->booleans : made;
  step->loop(count, to, operand, step->attribute);
  places->at[step->result] = y && !step->is_boolean ? to : made;
  if (step->is_boolean && (step->is_read || !y))
    for (int64_t i = 0; i < count; i++) made[i] = ((const uint8_t *)to)[i];
}

/* To where a result lies, of what was kept. */
static void
write_result(const actnn_view *y, const float *made, int64_t first, int64_t count)
{
  if (y->type == ACTNN_F32) memcpy((float *)y->data + first, made, (size_t)count * sizeof *made);
  for (int64_t i = 0; i < count && y->type == ACTNN_BOOL; i++) ((uint8_t *)y->data)[first + i] = (uint8_t)made[i];
  bfloat_write(y, first, count, made);
}

static int
run_chunks(const actnn_call *call, const Chunks *chunks, const Extents *e, int64_t block)
{
  const actnn_view *y = call->output;
  const Source *source = chunks->source;
  size_t operands = call->input_count;
  bool has_padding = y->layout == ACTNN_BLOCKED && y->dim[1] % block != 0;
#pragma omp parallel if (e->count > SERIAL_ELEMENTS)
  {
    Places places;
    for (int k = 0; k < STEP_PLACES; k++) places.at[k] = places.buffer[k < MOST_STEP_OPERANDS ? k : 0];
    for (size_t k = 0; k < operands; k++)
      if (source[k].access == REPEATED) copy_run(&source[k], 0, 0, places.buffer[k], CHUNK);
#pragma omp for schedule(static)
    for (int64_t chunk = 0; chunk < (e->count + CHUNK - 1) / CHUNK; chunk++) {
      int64_t first = chunk * CHUNK, count = e->count - first < CHUNK ? e->count - first : CHUNK;
      for (size_t k = 0; k < operands; k++) {
        if (source[k].access == STRAIGHT) places.at[k] = (const float *)source[k].data + first;
        if (source[k].access == GATHERED) gather(&source[k], first, count, places.buffer[k]);
      }
      for (int i = 0; i < chunks->count; i++)
        run_step(&chunks->step[i], call, &places, places.buffer[MOST_STEP_OPERANDS + i], first, count);
      for (int i = 0; i < chunks->count; i++) {
        const ChunkStep *step = &chunks->step[i];
        if (step->result >= FIRST_TEMPORARY) continue;
        const actnn_view *result = &y[step->result - FIRST_RESULT];
        if (!step->is_straight) write_result(result, places.at[step->result], first, count);
        if (has_padding) clear_padding(result, e, block, bytes_of_element(result), first, count);
      }
    }
  }
  return 0;
}

/* Before the last step a result may not be written to memory that an operand still has to be read from. */
static void
choose_straight(const actnn_call *call, Chunks *chunks)
{
  for (int i = 0; i < chunks->count; i++) {
    ChunkStep *step = &chunks->step[i];
    for (int later = i + 1; later < chunks->count; later++)
      for (int k = 0; k < MOST_ROW_OPERANDS; k++) step->is_read |= chunks->step[later].operand[k] == step->result;
    if (step->result >= FIRST_TEMPORARY) continue;
    const actnn_view *y = &call->output[step->result - FIRST_RESULT];
    step->is_straight = !bfloat_holds(y);
    for (size_t k = 0; k < call->input_count && i + 1 < chunks->count; k++) step->is_straight &= call->input[k].data != y->data;
  }
}

static bool
holds(const actnn_view *y, bool is_boolean)
{
  return is_boolean ? y->type == ACTNN_BOOL : y->type == ACTNN_F32 || bfloat_holds(y);
}

/* All results lie alike. `own` is the kernel that asks, which runs on copies where it needs plain loops for what is held as bfloat16. */
static int
run_steps(const actnn_call *call, Chunks *chunks, actnn_kernel *own, actnn_kernel *otherwise)
{
  const actnn_view *y = &call->output[0];
  int64_t block = call->trainer && y->layout == ACTNN_BLOCKED ? call->trainer->channel_block : 1;
  bool is_fast = true, is_plain = y->layout == ACTNN_PLAIN;
  Extents e = extents_of(y, block);
  if (e.count == 0) return 0;
  for (int i = 0; i < chunks->count; i++) {
    const ChunkStep *step = &chunks->step[i];
    if (step->result < FIRST_TEMPORARY) is_fast = is_fast && holds(&y[step->result - FIRST_RESULT], step->is_boolean);
  }
  for (size_t k = 0; k < call->input_count; k++) {
    is_plain = is_plain && call->input[k].layout == ACTNN_PLAIN;
    is_fast = is_fast && make_source(&chunks->source[k], &call->input[k], y, &e, block, block);
  }
  choose_straight(call, chunks);
  if (is_plain && !is_fast && bfloat_is_in(call)) return bfloat_run_on_copies(own, call);
  if (actnn_is_preparing(call)) return 0;
  if (is_fast) return run_chunks(call, chunks, &e, block);
  if (is_plain) return otherwise(call);
  return actnn_fail(call->trainer, "an elementwise operator got integers or mixed layouts in blocked memory");
}

/* A row alone: one step. */
static int
run_points(const actnn_call *call, actnn_row_loop *loop, bool is_boolean, actnn_kernel *own, actnn_kernel *otherwise)
{
  Chunks chunks = {.count = 1};
  chunks.step[0] = (ChunkStep){.loop = loop, .attribute = call->attribute, .operand = {0, 1, 2}, .result = FIRST_RESULT,
                               .is_boolean = is_boolean};
  if (call->input_count > MOST_ROW_OPERANDS) return actnn_is_preparing(call) ? 0 : otherwise(call);
  return run_steps(call, &chunks, own, otherwise);
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
#define IS_SAME false
#define IS_BOOLEAN true

/* The result may lie on the first operand, element on element: that is what `omp simd` is told. */
#define LOOP(NAME, result_kind, attributes, operands, before, expression) \
  static void loop_##NAME(int64_t count, void *result, const float *const *operands_given, const actnn_attribute *attribute) \
  { \
    ELEMENT_OF_##result_kind *y_out = result; \
    const float *const operand[MOST_ROW_OPERANDS] = {operands_given[0], operands_given[1], operands_given[2]}; \
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
    return run_points(call, loop_##NAME, IS_##result_kind, ENTRY(NAME), plain_##NAME); \
  }
#define POINT(NAME, operands, attributes, result, expression, gradient, linear, flags, tries) \
  LOOP(NAME, result, attributes, operands, , expression)
#define UNARY(NAME, attributes, expression, slope, range, tries) \
  LOOP(NAME, SAME, attributes, X(x), , expression) \
  LOOP(NAME##Slope, SAME, attributes, X(x), T y = expression; (void)y, slope)
#define OPERATOR(...)
#include "../src/operators.def"

/* ---- rows joined ---------------------------------------------------------------------------------------- */

#define UNARY(NAME, ...) [ROW_##NAME] = loop_##NAME, [ROW_##NAME##Slope] = loop_##NAME##Slope,
#define POINT(NAME, ...) [ROW_##NAME] = loop_##NAME,
#define OPERATOR(...)
static actnn_row_loop *const loops[POINTWISE_ROWS] = {
#include "../src/operators.def"
};

actnn_row_loop *ENTRY(row_loop)(int row);
actnn_row_loop *
ENTRY(row_loop)(int row)
{
  return loops[row];
}

actnn_kernel plain_Pointwise, ENTRY(Pointwise);
int
ENTRY(Pointwise)(const actnn_call *call)
{
  pointwise_steps steps;
  const char *wrong = parse_pointwise_steps(call->attribute[0].text, &steps);
  if (wrong) return actnn_fail(call->trainer, "Pointwise: its steps cannot be read: %s", wrong);
  if (call->input_count != (size_t)steps.operands || call->output_count != (size_t)steps.results)
    return actnn_fail(call->trainer, "Pointwise: its steps are of %d operands and %d results", steps.operands, steps.results);
  Chunks chunks = {.count = steps.count};
  for (int i = 0; i < steps.count; i++) {
    const pointwise_step *step = &steps.step[i];
    ChunkStep *chunk = &chunks.step[i];
    *chunk = (ChunkStep){.loop = loops[step->row], .attribute = step->attribute, .result = step->result,
                         .is_boolean = pointwise_row_at(step->row)->is_boolean};
    for (int k = 0; k < step->operand_count; k++) chunk->operand[k] = step->operand[k];
  }
  return run_steps(call, &chunks, ENTRY(Pointwise), plain_Pointwise);
}
