/* test_kernels.c: every kernel of the runtime against its operator's evaluation in double precision, on the shapes
 * that its row of the table gives; blocked as well where the row allows it; with one thread and with several, whose
 * results must agree bit for bit (close to where the library computes, which divides sums among its threads). Integers
 * must be the evaluation's. Then once more with numbers that are not ordinary among the operands, and with activations held as bfloat16.
 *
 * Built once more with ON_GPU, every operator runs on a GPU, or on its stand-in, from its memory and back. What it makes of activations held
 * as bfloat16 must then be what it makes of floats, rounded once, without copies of them but for the operators that are named here.
 *
 * usage: test_kernels [NAME]: one operator only. ORDINARY=1 leaves out what is not ordinary: for what looks at accesses, not at numbers.
 */
#include "../../runtime/device.h"
#include "../../runtime/library.h"
#include "../../runtime/runtime.h"
#include "kernel_runs.h"
#include "kernel_views.h"
#include "larger_tries.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static const double ABSOLUTE = 2e-5, RELATIVE = 2e-4, ROUNDING = 0x1p-8; /* of bfloat16 */
enum { THREADS = 3 };

typedef struct NamedKernel {
  const char *name;
  actnn_kernel *kernel;
} NamedKernel;

#define UNARY(NAME, ...) NAMED(NAME) NAMED(NAME##Slope)
#define POINT(NAME, ...) NAMED(NAME)
#define KERNEL_FAST(NAME) NAMED(NAME)
#define KERNEL_PLAIN(NAME) NAMED(NAME)
#define KERNEL_ABSENT(NAME)
#define OPERATOR(domain, NAME, signature, shape, evaluation, kernel, ...) KERNEL_##kernel(NAME)
#define NAMED(NAME) {#NAME, actnn_##NAME},
static const NamedKernel kernels[] = {
#include "../../src/operators.def"
};

static actnn_kernel *
kernel_of(const Operator *operator)
{
  for (size_t i = 0; !(operator->flags & FUNCTION) && i < sizeof kernels / sizeof *kernels; i++)
    if (!strcmp(kernels[i].name, operator->name)) return kernels[i].kernel;
  return NULL;
}

/* What is asked of a result: the evaluation's; the same, or not finite; nothing but that it stays within its bounds. */
typedef enum Strictness { EQUAL, NOTICED, BOUNDED } Strictness;

/* NULL, or how the kernel's result differs. */
static const char *
compare(Arena *arena, const actnn_view *view, int64_t block, const Tensor *expected, unsigned index, Strictness strictness, double slack)
{
  int64_t count = 0, all = places(view, block), zeros = 0;
  double largest = 0;
  shape_elements(&expected->shape, &count);
  for (int64_t i = 0; slack > 0 && i < count; i++) largest = fmax(largest, fabs(element_of(view->type, expected->data, i, true)));
  for (int64_t i = 0; i < GUARD; i++)
    if (((unsigned char *)view->data)[view->bytes + (uint64_t)i] != 0xA5) return "it wrote beyond its result";
  for (int64_t i = 0; strictness != BOUNDED && i < count; i++) {
    double got = element_of(view->type, view->data, place_of(view, block, i), false);
    double wanted = element_of(view->type, expected->data, i, true);
    double relative = RELATIVE + (view->type == ACTNN_BF16 ? ROUNDING : 0);
    bool is_close = got == wanted || (isnan(got) && isnan(wanted)) ||
                    (is_real(view->type) && fabs(got - wanted) <= ABSOLUTE + relative * fabs(wanted) + slack * largest);
    /* What is not finite must be noticed. Which it is, and what else it reaches, goes by the order of operations. */
    is_close |= strictness == NOTICED && !isfinite(got);
    if (!is_close)
      return arena_format(arena, "result %u element %lld is %.9g, expected %.9g", index, (long long)i, got, wanted);
  }
  if (strictness != EQUAL) return NULL;
  for (int64_t i = 0; i < all; i++) zeros += element_of(view->type, view->data, i, false) == 0;
  for (int64_t i = 0; i < count; i++)
    zeros -= element_of(view->type, view->data, place_of(view, block, i), false) == 0;
  return zeros == all - count ? NULL : "padded channels are not zero";
}

/* ---- blocks ------------------------------------------------------------------------------------- */

/* Operands that are weights or vectors, whatever their rank, are not (passes/common.c). */
static bool
is_activation(const Slot *slot)
{
  static const char *const others[] = {"w",    "scale",        "b",           "bias",    "mean",
                                       "rstd", "running_mean", "running_var", "var",     "dw",
                                       "db",   "dscale",       "new_mean",    "new_var", "slope",
                                       "attn_mask", "row_sum", "lse"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (!strcmp(slot->name, others[i])) return false;
  return !slot->is_constant;
}

static bool
is_image(const Slot *slot, const Shape *shape)
{
  return is_activation(slot) && shape->rank >= 3;
}

/* Fills in which operands and results are blocked; false when the layout pass would leave the node plain. */
static bool
choose_blocks(const Try *made, int64_t block, bool *operand, bool *result)
{
  const Program *program = made->program;
  const Node *node = node_at(program, made->node);
  const Value *y = result_value(program, node, 0);
  bool any = false, joins = !strcmp(node->operator_name, "Concat") || !strcmp(node->operator_name, "ConcatPart");
  if (!(node->operator->flags & BLOCKED) || (node->operator->flags &(SAVES | RESTORES | IMPURE))) return false;
  if (!strcmp(node->operator_name, "ToBlocked") || !strcmp(node->operator_name, "ToPlain")) return false;
  for (uint32_t i = 0; i < node->operand_count; i++) {
    const Value *x = operand_value(program, node, i);
    operand[i] = x && is_image(operand_slot(node->operator, i), &x->shape);
    if (operand[i] && (node->operator->flags & POINTWISE)) {
      operand[i] = shape_equal(&x->shape, &y->shape);
      if (!operand[i]) return false;
    }
    if (operand[i] && joins && block > 0 && x->shape.dim[1] % block) return false;
    any |= operand[i];
  }
  for (uint32_t i = 0; i < node->result_count; i++) {
    const Value *value = result_value(program, node, i);
    uint32_t last = node->operator->result_count - 1;
    const Slot *slot = &node->operator->results[i < last ? i : last];
    result[i] = value && (slot->is_variadic || i < node->operator->result_count) && is_image(slot, &value->shape);
    if (result[i] && joins && block > 0 && value->shape.dim[1] % block) return false;
  }
  return any;
}

/* ---- running ------------------------------------------------------------------------------------ */

typedef struct Run {
  const Try *made;
  actnn_kernel *kernel;
  const Tensor *input[MOST_VIEWS]; /* by operand; NULL: absent or a constant operand */
  Tensor *result;
  bool is_operand_blocked[MOST_VIEWS], is_result_blocked[MOST_VIEWS];
  bool is_narrow; /* activations are held as bfloat16 */
  int64_t block;
  int threads;
  bool uses_library;
  Strictness strictness;
  actnn_view output[MOST_VIEWS];
} Run;

static bool
is_held_narrow(const Run *run, const Slot *slot, actnn_type type)
{
  return run->is_narrow && type == ACTNN_F32 && slot && is_activation(slot);
}

static bool
is_result_narrow(const Run *run, const Node *node, uint32_t i)
{
  const Operator *operator = node->operator;
  return is_held_narrow(run, &operator->results[i < operator->result_count ? i : operator->result_count - 1], run->result[i].type);
}

/* Prepares and calls the kernel as a trainer would; the results' views stay in run->output. */
static const char *
run_kernel(Run *run, Arena *arena)
{
  Program *program = run->made->program;
  const Node *node = node_at(program, run->made->node);
  actnn_model model = {.tensor_count = MOST_TENSORS};
  actnn trainer = {
      .model = &model, .preparing = true, .threads = run->threads, .channel_block = (int)run->block, .quiet = true};
  actnn_view input[MOST_VIEWS];
  for (uint32_t i = 0; i < node->operand_count; i++)
    input[i] = run->input[i] ? make_view(arena, run->input[i], is_held_narrow(run, operand_slot(node->operator, i), run->input[i]->type),
                                         run->is_operand_blocked[i], run->block, i, true)
                             : (actnn_view){.id = NONE};
  for (uint32_t i = 0; i < node->result_count; i++) {
    run->output[i] = (actnn_view){.id = NONE};
    if (node->results[i] != NO_VALUE)
      run->output[i] =
          make_view(arena, &run->result[i], is_result_narrow(run, node, i), run->is_result_blocked[i], run->block, MOST_VIEWS + i, false);
  }
  actnn_attribute *attributes;
  size_t count = call_attributes(program, node, &attributes);
  actnn_call call = {.trainer = &trainer,
                     .output_count = node->result_count,
                     .input_count = node->operand_count,
                     .attribute_count = count,
                     .output = run->output,
                     .input = input,
                     .attribute = attributes};
  omp_set_num_threads(run->threads);
  int failed = run_prepared(&trainer, run->kernel, &call, input, run->output);
  run->uses_library = false;
  trainer.model = &model;
  for (uint32_t id = 0; id < MOST_TENSORS; id++) run->uses_library |= library_has(&trainer, id);
  library_destroy(&trainer);
  return failed ? arena_format(arena, "the kernel failed: %s", trainer.error) : NULL;
}

/* Beside the largest number of a result: cuDNN rounds to bfloat16 whatever it makes, weights' gradients and what a bias is then added to.
 * Attention's probabilities and the gradients of its scores are rounded before the next products. */
static double
slack_of(const Run *run)
{
  const char *name = node_at(run->made->program, run->made->node)->operator_name;
  bool is_rounded = !strcmp(name, "Conv") || !strcmp(name, "ConvTranspose") || !strcmp(name, "ConvGradWeight") || !strncmp(name, "Attention", 9);
  return run->is_narrow && IS_ON_GPU && is_rounded ? ROUNDING : 0;
}

#ifdef ON_GPU
/* Those that run on copies where operands or results are bfloat16, and why. */
static bool
may_be_copied(const char *name)
{
  static const char *const copied[] = {
      "LRN", "LRNGrad",                                            /* windows of floats */
      "ReduceLogSumExp",                                           /* what it makes it reads again */
      "GatherElementsGrad", "ScatterElements", "ScatterND"         /* what it makes it adds to, one after the other */
  };
  for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
    if (!strcmp(name, copied[i])) return true;
  return false;
}

/* Libraries round to bfloat16 themselves. */
static bool
is_of_library(const char *name)
{
  return !strncmp(name, "Conv", 4) || !strncmp(name, "Product", 7) || !strncmp(name, "Attention", 9);
}

/* Its library, or copies for it, must suit every convolution, and kernels elementwise rows of any type, but for powers of integers, and padding
 * of every kind. */
static const char *
check_place(const Run *run, const Node *node)
{
  bool is_power = !strcmp(node->operator_name, "Pow") && !is_real(run->result[0].type);
  bool is_padding = !strncmp(node->operator_name, "Pad", 3);
  bool must_be_there = !strncmp(node->operator_name, "Conv", 4) || is_padding || ((node->operator->flags & POINTWISE) && !is_power);
  return ran_on_processor && must_be_there ? "it runs on the processor" : NULL;
}

/* What a call with bfloat16 has just made in its views, and what the same call makes of the same numbers as floats. */
static const char *
compare_with_floats(const Run *narrow, Arena *arena)
{
  const Node *node = node_at(narrow->made->program, narrow->made->node);
  const char *name = node->operator_name, *difference;
  bool was_copied = conversions || planned_copies, was_on_processor = ran_on_processor;
  Run run = *narrow;
  if (is_of_library(name)) return NULL;
  run.is_narrow = false;
  if ((difference = run_kernel(&run, arena))) return difference;
  if (was_copied && !may_be_copied(name)) return "it runs on copies";
  if (was_on_processor && !ran_on_processor) return "it runs on the processor, and does not in FP32";
  for (uint32_t i = 0; i < node->result_count; i++) {
    const actnn_view *one = &narrow->output[i], *other = &run.output[i];
    for (int64_t at = 0; one->data && at < places(one, run.block); at++) {
      double got = element_of(one->type, one->data, at, false), wanted = element_of(other->type, other->data, at, false);
      if (one->type == ACTNN_BF16) wanted = (double)bfloat_widened(bfloat_rounded((float)wanted));
      if (got != wanted && !(isnan(got) && isnan(wanted)))
        return arena_format(arena, "result %u place %lld is %.9g, of floats %.9g", i, (long long)at, got, wanted);
    }
  }
  return NULL;
}
#else
static const char *
check_place(const Run *run, const Node *node)
{
  return (void)run, (void)node, NULL;
}

static const char *
compare_with_floats(const Run *narrow, Arena *arena)
{
  return (void)narrow, (void)arena, NULL;
}
#endif

/* One layout and block: compares with the evaluation, then several threads with one. */
static const char *
check_layout(Run *run, Arena *arena)
{
  const Node *node = node_at(run->made->program, run->made->node);
  run->threads = 1;
  const char *difference = run_kernel(run, arena);
  for (uint32_t i = 0; i < node->result_count && !difference; i++)
    if (run->output[i].data) difference = compare(arena, &run->output[i], run->block, &run->result[i], i, run->strictness, slack_of(run));
  if (!difference) difference = check_place(run, node);
  if (!difference && run->is_narrow) difference = compare_with_floats(run, arena);
  if (difference || IS_ON_GPU) return difference; /* a GPU does not ask how many threads the processor has */
  actnn_view single[MOST_VIEWS];
  memcpy(single, run->output, sizeof single);
  run->threads = THREADS;
  difference = run_kernel(run, arena);
  for (uint32_t i = 0; i < node->result_count && !difference; i++) {
    size_t bytes = single[i].data ? (size_t)places(&single[i], run->block) * kernel_bytes(single[i].type) : 0;
    if (bytes && run->uses_library) difference = compare(arena, &run->output[i], run->block, &run->result[i], i, run->strictness, slack_of(run));
    else if (bytes && memcmp(single[i].data, run->output[i].data, bytes))
      difference = "several threads give another result than one";
  }
  return difference;
}

/* How images may lie beside ONNX's own order. */
#ifdef ON_GPU
static const int64_t blocks[] = {1, ACTNN_CHANNELS_LAST};
#else
static const int64_t blocks[] = {8, 16};
#endif

/* Plain, then in blocks where the row allows it. */
static const char *
check_layouts(Run *run, Arena *arena)
{
  run->block = blocks[1];
  memset(run->is_operand_blocked, 0, sizeof run->is_operand_blocked);
  memset(run->is_result_blocked, 0, sizeof run->is_result_blocked);
  if (!evaluate_node(run->made->program, run->made->node, arena, run->input, run->result)) return "the evaluation failed";
  const char *difference = check_layout(run, arena);
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks && !difference; i++) {
    int64_t block = run->block = blocks[i];
    if (!choose_blocks(run->made, block, run->is_operand_blocked, run->is_result_blocked)) continue;
    difference = check_layout(run, arena);
    if (difference) difference = arena_format(arena, "in blocks of %lld: %s", (long long)block, difference);
  }
  return difference;
}

/* ---- numbers that are not ordinary ---------------------------------------------------------------- */

/* Finite ones overflow in float where double does not: only that they do no harm can be asked. */
static const struct {
  const char *name;
  double number[6];
  Strictness strictness;
} extremes[] = {
    {"NaN", {NAN, 0.5, -0.25, 0.75, 0.125, 1}, NOTICED},
    {"infinity", {INFINITY, 0.5, -0.25, 0.75, 0.125, 1}, NOTICED},
    {"-infinity", {-INFINITY, 0.5, -0.25, 0.75, 0.125, 1}, NOTICED},
    {"nothing but NaN", {NAN, NAN, NAN, NAN, NAN, NAN}, NOTICED},
    {"denormals", {FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MIN, -FLT_MIN / 2, 0, 1e-40}, BOUNDED},
    {"the largest floats", {FLT_MAX, -FLT_MAX, FLT_MAX, 1, -FLT_MAX / 2, 0}, BOUNDED},
    {"all of them", {NAN, -FLT_MAX, INFINITY, FLT_TRUE_MIN, -INFINITY, FLT_MAX}, BOUNDED},
};
enum { EXTREMES = sizeof extremes / sizeof *extremes };

/* Every third number of the operand becomes one of the extreme ones, if there are any; the tensor is a copy. */
static Tensor *
plant(Arena *arena, const Tensor *ordinary, const double *number)
{
  Tensor *planted = arena_allocate(arena, sizeof *planted);
  int64_t count = 0;
  *planted = *ordinary;
  shape_elements(&ordinary->shape, &count);
  planted->data = arena_array(arena, (size_t)count + 1, sizeof(double));
  memcpy(planted->data, ordinary->data, (size_t)count * sizeof(double));
  for (int64_t i = 0; number && i < count; i += isnan(number[1]) ? 1 : 3) ((double *)planted->data)[i] = number[i / 3 % 6];
  return planted;
}

/* Each operand of real numbers in turn. */
static const char *
check_extremes(Run *run, Arena *arena)
{
  const Node *node = node_at(run->made->program, run->made->node);
  const char *difference = NULL;
  for (uint32_t i = 0; i < node->operand_count; i++) {
    const Tensor *ordinary = run->input[i];
    if (!ordinary || !is_real(ordinary->type)) continue;
    for (size_t k = 0; k < EXTREMES && !difference; k++) {
      run->input[i] = plant(arena, ordinary, extremes[k].number);
      run->strictness = extremes[k].strictness;
      difference = check_layouts(run, arena);
      if (difference && strstr(difference, "is not finite")) difference = NULL; /* updates say so themselves */
      if (difference) difference = arena_format(arena, "with %s in operand %u: %s", extremes[k].name, i, difference);
    }
    run->input[i] = ordinary;
  }
  return difference;
}

/* Operands are rounded beforehand, so that only results are. */
static const char *
check_narrow(Run *run, Arena *arena)
{
  const Node *node = node_at(run->made->program, run->made->node);
  if (node->operator->flags & UPDATE) return NULL;
  for (uint32_t i = 0; i < node->operand_count; i++) {
    if (!run->input[i] || run->input[i]->type != ACTNN_F32) continue;
    Tensor *rounded = plant(arena, run->input[i], NULL);
    int64_t count = 0;
    shape_elements(&rounded->shape, &count);
    for (int64_t k = 0; k < count; k++)
      ((double *)rounded->data)[k] = (double)bfloat_widened(bfloat_rounded((float)((const double *)rounded->data)[k]));
    run->input[i] = rounded;
  }
  run->is_narrow = true;
  run->strictness = EQUAL;
  const char *difference = check_layouts(run, arena);
  return difference ? arena_format(arena, "held as bfloat16: %s", difference) : NULL;
}

static const char *
check_case(const Try *made, Arena *arena)
{
  Program *program = made->program;
  const Node *node = node_at(program, made->node);
  Run run = {.made = made, .kernel = kernel_of(node->operator), .strictness = EQUAL};
  if (node->operand_count > MOST_VIEWS || node->result_count > MOST_VIEWS)
    return "it has too many operands or results";
  run.result = arena_array(arena, MOST_VIEWS, sizeof *run.result);
  for (uint32_t i = 0; i < node->operand_count; i++) {
    for (uint32_t k = 0; k < program->input_count; k++)
      if (node->operands[i] == program->inputs[k]) run.input[i] = &made->value[k];
  }
  const char *difference = check_layouts(&run, arena);
  if (!difference && !getenv("ORDINARY")) difference = check_extremes(&run, arena);
  return difference ? difference : check_narrow(&run, arena);
}

/* ---- the table ---------------------------------------------------------------------------------- */

typedef struct Totals {
  unsigned number, failed;
} Totals;

static void
test_row(const Operator *operator, Totals * totals)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  Try made;
  diagnostics->stream = stdout;
  for (unsigned index = 0;; index++) {
    int answer = make_try(operator, index, diagnostics, &made);
    if (answer == 0) break;
    Arena *scratch = arena_create();
    const char *difference = answer < 0 ? "its tries cannot be made into a program" : check_case(&made, scratch);
    totals->number++;
    totals->failed += difference != NULL;
    printf("%s %u - actnn_%s: %s\n", difference ? "not ok" : "ok", totals->number, operator->name, made.text);
    if (difference) printf("# %s\n", difference);
    fflush(stdout);
    arena_destroy(scratch);
    program_destroy(made.program);
  }
  arena_destroy(arena);
}

int
main(int argc, char **argv)
{
  Totals totals = {0, 0};
  for (size_t i = 0; i < operator_count(); i++) {
    const Operator *operator= operator_at(i);
    if (!kernel_of(operator) || (operator->flags &(SAVES | RESTORES))) continue;
    if (argc > 1 && strcmp(operator->name, argv[1])) continue;
    test_row(operator, & totals);
    for (size_t k = 0; k < sizeof larger / sizeof *larger; k++) {
      Operator changed = *operator;
      changed.tries = larger[k].tries;
      if (!strcmp(larger[k].name, operator->name)) test_row(&changed, &totals);
    }
  }
  printf("1..%u\n# %u failed\n", totals.number, totals.failed);
  return totals.failed ? 1 : 0;
}
