/* test_kernels.c: fast kernels against the plain loops of src/operators, on both layouts, with channel blocks of 8 and
 * 16, and against themselves: the same bits for any number of threads. */
#include "../../runtime/runtime.h"
#include "../../runtime/vector_math.h"
#include "../../src/operators.h"
#include "tap.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

static void
check(bool is_good, const char *name, const char *what)
{
  ok(is_good, "%s%s%s", name, *what ? ": " : "", what);
}

/* ---- tensors -------------------------------------------------------------------------------------------- */

enum { MOST = 6, GUARD = 64 };

typedef struct Operand {
  actnn_type type;
  int rank;
  int64_t dim[ACTNN_MAX_RANK];
  void *plain; /* row-major, in an allocation rounded up as the arena does */
} Operand;

typedef struct Fixture {
  Operand input[MOST], output[MOST];
  size_t inputs, outputs, attributes;
  actnn_attribute attribute[8];
  bool in_place; /* result 0 is written over operand 0 */
} Fixture;

static uint32_t random_state = 1;

static float
random_between(float low, float high)
{
  random_state = random_state * 1664525u + 1013904223u;
  return low + (high - low) * (float)(random_state >> 8) / 16777216.0f;
}

static int64_t
elements(const Operand *operand)
{
  int64_t count = 1;
  for (int i = 0; i < operand->rank; i++) count *= operand->dim[i];
  return count;
}

static size_t
width(actnn_type type)
{
  return type == ACTNN_F32 ? 4 : type == ACTNN_BOOL ? 1 : 8;
}

static void *
reserve(size_t bytes)
{
  size_t rounded = (bytes + 63) / 64 * 64 + GUARD;
  unsigned char *memory = aligned_alloc(64, rounded);
  if (!memory) abort();
  memset(memory, 0x7f, rounded); /* floats of 3e38: reading padding as data shows */
  return memory;
}

/* Rank and dims as "2,3,4"; "" is a scalar. */
static Operand
operand_of(const char *dims, actnn_type type, float low, float high)
{
  Operand operand = {.type = type};
  for (const char *at = dims; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
    operand.dim[operand.rank++] = strtol(at, NULL, 10);
  int64_t count = elements(&operand);
  operand.plain = reserve((size_t)count * width(type));
  for (int64_t i = 0; i < count; i++) {
    float value = random_between(low, high);
    if (type == ACTNN_F32) ((float *)operand.plain)[i] = value;
    else if (type == ACTNN_BOOL) ((uint8_t *)operand.plain)[i] = value > (low + high) / 2;
    else ((int64_t *)operand.plain)[i] = (int64_t)value;
  }
  return operand;
}

static void
add_input(Fixture *fixture, const char *dims, actnn_type type, float low, float high)
{
  fixture->input[fixture->inputs++] = operand_of(dims, type, low, high);
}

static void
add_output(Fixture *fixture, const char *dims, actnn_type type)
{
  fixture->output[fixture->outputs++] = operand_of(dims, type, 0, 0);
}

static void
add_attribute(Fixture *fixture, actnn_attribute attribute)
{
  fixture->attribute[fixture->attributes++] = attribute;
}

static void
discard(Fixture *fixture)
{
  for (size_t i = 0; i < fixture->inputs; i++) free(fixture->input[i].plain);
  for (size_t i = 0; i < fixture->outputs; i++) free(fixture->output[i].plain);
}

/* ---- layouts ----------------------------------------------------------------------------------------------- */

static size_t
blocked_elements(const Operand *operand, int block)
{
  return (size_t)(elements(operand) / operand->dim[1] * ((operand->dim[1] + block - 1) / block * block));
}

/* Moves elements between row-major and blocked memory; blocked padding is zero, or must be when moving back. */
static bool
convert(const Operand *operand, void *blocked, int block, bool to_blocked)
{
  size_t size = width(operand->type);
  int64_t channels = operand->dim[1], blocks = (channels + block - 1) / block;
  int64_t positions = elements(operand) / (operand->dim[0] * channels);
  bool is_clean = true;
  for (int64_t n = 0; n < operand->dim[0]; n++)
    for (int64_t c = 0; c < blocks * block; c++)
      for (int64_t p = 0; p < positions; p++) {
        char *there = (char *)blocked + (size_t)(((n * blocks + c / block) * positions + p) * block + c % block) * size;
        char *here = (char *)operand->plain + (size_t)((n * channels + c) * positions + p) * size;
        static const char zero[8];
        if (c >= channels && to_blocked) memset(there, 0, size);
        else if (c >= channels) is_clean = is_clean && !memcmp(there, zero, size);
        else memcpy(to_blocked ? there : here, to_blocked ? here : there, size);
      }
  return is_clean;
}

static actnn_view
view_of(const Operand *operand, void *data, actnn_layout layout)
{
  return (actnn_view){.data = data, .type = operand->type, .layout = layout, .rank = operand->rank, .dim = operand->dim};
}

/* Runs a kernel; operands whose bit is set in `blocked` (inputs low, outputs from bit 16) are handed over blocked.
 * Results land in the outputs' plain memory. False when it fails or leaves padding dirty. */
static bool
run(Fixture *fixture, actnn_kernel *kernel, unsigned blocked, int block, int threads)
{
  actnn trainer = {.threads = threads, .channel_block = block, .seed = 7, .step = 3};
  actnn_view in[MOST], out[MOST];
  void *made[2 * MOST] = {NULL};
  bool is_good;
  for (size_t i = 0; i < fixture->inputs; i++) {
    Operand *operand = &fixture->input[i];
    bool is_blocked = operand->plain && (blocked >> i & 1);
    if (is_blocked) convert(operand, made[i] = reserve(blocked_elements(operand, block) * width(operand->type)), block, true);
    in[i] = view_of(operand, is_blocked ? made[i] : operand->plain, is_blocked ? ACTNN_BLOCKED : ACTNN_PLAIN);
  }
  for (size_t i = 0; i < fixture->outputs; i++) {
    Operand *operand = &fixture->output[i];
    bool is_blocked = operand->plain && (blocked >> (16 + i) & 1);
    if (is_blocked) made[MOST + i] = reserve(blocked_elements(operand, block) * width(operand->type));
    out[i] = view_of(operand, is_blocked ? made[MOST + i] : operand->plain, is_blocked ? ACTNN_BLOCKED : ACTNN_PLAIN);
  }
  if (fixture->in_place && !blocked) {
    size_t bytes = (size_t)elements(&fixture->input[0]) * width(fixture->input[0].type);
    memcpy(out[0].data, in[0].data, bytes);
    in[0].data = out[0].data;
  } else if (fixture->in_place && (blocked & 1) && (blocked >> 16 & 1)) {
    memcpy(out[0].data, in[0].data, blocked_elements(&fixture->input[0], block) * width(fixture->input[0].type));
    in[0].data = out[0].data;
  }
  omp_set_num_threads(threads);
  const actnn_call call = {&trainer, fixture->outputs, fixture->inputs, fixture->attributes, out, in, fixture->attribute};
  is_good = kernel(&call) == 0;
  if (!is_good) printf("# %s\n", trainer.error);
  for (size_t i = 0; i < fixture->outputs; i++)
    if (out[i].layout == ACTNN_BLOCKED && !convert(&fixture->output[i], out[i].data, block, false)) {
      printf("# padded channels of result %zu are not zero\n", i);
      is_good = false;
    }
  for (size_t i = 0; i < 2 * MOST; i++) free(made[i]);
  return is_good;
}

/* ---- comparing ------------------------------------------------------------------------------------------- */

typedef struct Results {
  void *data[MOST];
} Results;

static Results
copy_results(const Fixture *fixture)
{
  Results results = {{NULL}};
  for (size_t i = 0; i < fixture->outputs; i++) {
    const Operand *operand = &fixture->output[i];
    if (!operand->plain) continue;
    size_t bytes = (size_t)elements(operand) * width(operand->type);
    results.data[i] = reserve(bytes);
    memcpy(results.data[i], operand->plain, bytes);
    memset(operand->plain, 0x55, bytes);
  }
  return results;
}

static void
free_results(Results *results)
{
  for (size_t i = 0; i < MOST; i++) free(results->data[i]);
}

/* tolerance 0: the same bits. Relative to the largest value of the result or to the value itself, whichever is more. */
static bool
same_results(const Fixture *fixture, const Results *expected, double tolerance)
{
  for (size_t i = 0; i < fixture->outputs; i++) {
    const Operand *operand = &fixture->output[i];
    if (!operand->plain) continue;
    size_t bytes = (size_t)elements(operand) * width(operand->type);
    if (tolerance == 0 || operand->type != ACTNN_F32) {
      if (memcmp(expected->data[i], operand->plain, bytes)) return printf("# result %zu: bits differ\n", i), false;
      continue;
    }
    const float *a = expected->data[i], *b = operand->plain;
    for (int64_t k = 0; k < elements(operand); k++) {
      double apart = fabs((double)a[k] - b[k]), scale = fabs(a[k]) > 1 ? fabs(a[k]) : 1;
      if (a[k] == b[k] || (a[k] != a[k] && b[k] != b[k])) continue;
      if (!(apart <= tolerance * scale)) {
        printf("# result %zu element %lld: %.9g expected, %.9g found\n", i, (long long)k, a[k], b[k]);
        return false;
      }
    }
  }
  return true;
}

/* Does the table allow the kernel of this name (its first word) to write result 0 over operand 0, and do they match? */
static bool
may_be_in_place(const Fixture *fixture, const char *name)
{
  static const struct {
    const char *name;
    unsigned flags;
  } rows[] = {
#define UNARY(NAME, ...) {#NAME, IN_PLACE}, {#NAME "Slope", IN_PLACE},
#define POINT(NAME, operands, attributes, result, expression, gradient, linear, flags, tries) {#NAME, flags},
#define OPERATOR(domain, NAME, signature, shape, evaluation, kernel, gradient, linear, flags, tries) {#NAME, flags},
#include "../../src/operators.def"
  };
  const Operand *x = &fixture->input[0], *y = &fixture->output[0];
  size_t length = strcspn(name, " ");
  if (!fixture->inputs || x->type != y->type || x->rank != y->rank || memcmp(x->dim, y->dim, (size_t)x->rank * sizeof *x->dim))
    return false;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strlen(rows[i].name) == length && !memcmp(rows[i].name, name, length)) return rows[i].flags & (IN_PLACE | UPDATE);
  return false;
}

/* One fixture through everything; `blocked` 0: plain only. */
static void
compare(Fixture *fixture, const char *name, actnn_kernel *fast, actnn_kernel *plain, unsigned blocked, double tolerance)
{
  bool is_good = run(fixture, plain, 0, 1, 1);
  Results expected = copy_results(fixture);
  is_good = is_good && run(fixture, fast, 0, 16, 1) && same_results(fixture, &expected, tolerance);
  Results first = copy_results(fixture);
  is_good = is_good && run(fixture, fast, 0, 16, 3) && same_results(fixture, &first, 0);
  for (int block = 8; blocked && block <= 16; block *= 2) {
    is_good = is_good && run(fixture, fast, blocked, block, 1) && same_results(fixture, &expected, tolerance);
    Results one = copy_results(fixture);
    is_good = is_good && run(fixture, fast, blocked, block, 3) && same_results(fixture, &one, 0);
    free_results(&one);
    if (!is_good) printf("# channel block %d\n", block);
  }
  if (is_good && may_be_in_place(fixture, name)) {
    fixture->in_place = true;
    is_good = run(fixture, fast, 0, 16, 3) && same_results(fixture, &first, 0)
              && (!blocked || (run(fixture, fast, blocked, 16, 3) && same_results(fixture, &expected, tolerance)));
    if (!is_good) printf("# in place\n");
  }
  check(is_good, name, "");
  free_results(&expected);
  free_results(&first);
  discard(fixture);
}

#include "test_kernels_cases.h"
#include "test_kernels_sums.h"

int
main(void)
{
  test_vector_math();
  test_pointwise();
  test_batch_norm();
  test_rows();
  test_softmax();
  test_losses();
  test_reductions();
  test_optimizers();
  test_random();
  test_instruction_sets();
  return tap_done();
}
