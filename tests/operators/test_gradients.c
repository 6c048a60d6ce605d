/* test_gradients.c: every gradient of the operator table against central finite differences, in double
 * precision, on the shapes that its row gives. The loss is the sum of all differentiable results times fixed
 * random weights.
 *
 * usage: test_gradients [NAME]: one operator only. A row with a gradient and without shapes to try is a
 * failure; a row with shapes and no gradient must evaluate. */
#include "../../src/gradient.h"
#include "tries.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double STEP = 1e-6, ABSOLUTE = 1e-5, RELATIVE = 1e-3, RELATIVE_NORM = 1e-4;

/* True when `word` stands as a whole word in the first `length` characters of the text. */
static bool
has_word(const char *text, size_t length, const char *word)
{
  size_t size = strlen(word);
  for (size_t at = 0; at + size <= length; at++) {
    bool starts = at == 0 || !(isalnum((unsigned char)text[at - 1]) || text[at - 1] == '_');
    bool ends = at + size == length || !(isalnum((unsigned char)text[at + size]) || text[at + size] == '_');
    if (starts && ends && !memcmp(text + at, word, size)) return true;
  }
  return false;
}

/* Does the formula give a gradient to the operand of this name? Targets stand before `=`, outside parentheses. */
static bool
is_target(const char *gradient, const char *name)
{
  for (const char *statement = gradient; *statement;) {
    size_t length = strcspn(statement, "=");
    if (has_word(statement, length, name)) return true;
    const char *at = statement;
    for (int depth = 0; *at && (*at != ';' || depth > 0); at++) depth += (*at == '(') - (*at == ')');
    statement = *at ? at + 1 : at;
  }
  return false;
}

/* ---- the loss ----------------------------------------------------------------------------------- */

static ValueId
add_operation(Program *program, const char *name, const ValueId *operands, size_t count)
{
  ValueId result = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){.rank = -1});
  NodeId node = add_node(program, PHASE_FORWARD, "", name, NULL, operands, count, &result, 1);
  if (!strcmp(name, "ReduceSum")) set_int(program, node, "keepdims", 0);
  return infer_node(program, node) ? result : NO_VALUE;
}

/* sum(weights * result) */
static ValueId
weighted_sum(Program *program, ValueId result, uint64_t *state)
{
  int64_t count;
  Shape shape = value_at(program, result)->shape;
  if (!shape_elements(&shape, &count)) return NO_VALUE;
  float *weight = arena_array(program->arena, (size_t)count + 1, sizeof *weight);
  for (int64_t i = 0; i < count; i++) weight[i] = (float)(2 * next_draw(state) - 1);
  ValueId weights = add_constant(program, NULL, ACTNN_F32, shape, weight, (size_t)count * sizeof *weight);
  ValueId product = add_operation(program, "Mul", (ValueId[]){weights, result}, 2);
  return product == NO_VALUE ? NO_VALUE : add_operation(program, "ReduceSum", &product, 1);
}

/* Over all results whose gradient the formula reads. */
static ValueId
make_loss(const Try *made)
{
  Program *program = made->program;
  const Operator *operator= node_at(program, made->node)->operator;
  ValueId loss = NO_VALUE;
  uint64_t state = 7;
  for (uint32_t i = 0; i < node_at(program, made->node)->result_count; i++) {
    const char *name = operator->results[i < operator->result_count ? i : operator->result_count - 1].name;
    const char *incoming = arena_format(program->arena, "d%s", name);
    if (!has_word(operator->gradient, strlen(operator->gradient), incoming)) continue;
    ValueId part = weighted_sum(program, node_at(program, made->node)->results[i], &state);
    if (part == NO_VALUE) return NO_VALUE;
    loss = loss == NO_VALUE ? part : add_operation(program, "Add", (ValueId[]){loss, part}, 2);
  }
  return loss;
}

/* ---- evaluating --------------------------------------------------------------------------------- */

/* Tensors of all values after running the phases; NULL when an evaluation fails. In `arena`. */
static Tensor **
run(const Try *made, unsigned phases, Arena *arena)
{
  Program *program = made->program;
  Tensor **tensors = arena_array(arena, (size_t)program->value_count + 1, sizeof *tensors);
  for (uint32_t i = 0; i < program->input_count; i++) {
    tensors[program->inputs[i]] = arena_allocate(arena, sizeof(Tensor));
    *tensors[program->inputs[i]] = made->value[i];
  }
  return evaluate_program(program, phases, arena, tensors) ? tensors : NULL;
}

static double
loss_now(const Try *made, ValueId loss)
{
  Arena *arena = arena_create();
  Tensor **tensors = run(made, 1u << PHASE_FORWARD, arena);
  double value = tensors ? *(double *)tensors[loss]->data : (double)NAN;
  arena_destroy(arena);
  return value;
}

/* Compares the gradient of input `index` with differences; NULL when they agree, otherwise what differs. */
static const char *
compare_input(const Try *made, uint32_t index, ValueId loss, const Tensor *gradient)
{
  double *x = made->value[index].data, error = 0, norm = 0;
  int64_t count;
  shape_elements(&made->value[index].shape, &count);
  if (gradient && !shape_equal(&gradient->shape, &made->value[index].shape))
    return "the gradient has another shape";
  for (int64_t i = 0; i < count; i++) {
    double kept = x[i];
    x[i] = kept + STEP;
    double above = loss_now(made, loss);
    x[i] = kept - STEP;
    double below = loss_now(made, loss);
    x[i] = kept;
    double expected = (above - below) / (2 * STEP), got = gradient ? ((double *)gradient->data)[i] : 0;
    if (!(fabs(got - expected) <= ABSOLUTE + RELATIVE * fabs(expected)))
      return arena_format(made->program->arena, "input %u element %lld: gradient %.9g, difference quotient %.9g",
                          index, (long long)i, got, expected);
    error += (got - expected) * (got - expected);
    norm += expected * expected;
  }
  return sqrt(error) <= ABSOLUTE + RELATIVE_NORM * sqrt(norm) ? NULL : "the gradient's relative error is too large";
}

/* The name of the operand that an input is bound to. */
static const char *
operand_name(const Try *made, ValueId input)
{
  const Node *node = node_at(made->program, made->node);
  for (uint32_t i = 0; i < node->operand_count; i++)
    if (node->operands[i] == input) return operand_slot(node->operator, i)->name;
  return "";
}

static const char *
check_gradients(const Try *made)
{
  Program *program = made->program;
  const Operator *operator= node_at(program, made->node)->operator;
  ValueId wanted[64], gradients[64], loss = make_loss(made);
  uint32_t input[64], count = 0;
  const char *difference = NULL;
  if (loss == NO_VALUE) return "no loss can be made of its results";
  for (uint32_t i = 0; i < program->input_count && count < 64; i++) {
    if (made->value[i].type != ACTNN_F32 || !is_target(operator->gradient, operand_name(made, program->inputs[i])))
      continue;
    input[count] = i;
    wanted[count++] = program->inputs[i];
  }
  if (!count) return "no operand gets a gradient";
  if (!append_gradients(program, wanted, count, loss, gradients)) return "differentiation failed";
  Arena *arena = arena_create();
  Tensor **tensors = run(made, 1u << PHASE_FORWARD | 1u << PHASE_BACKWARD, arena);
  if (!tensors) difference = "evaluation failed";
  for (uint32_t i = 0; i < count && !difference; i++)
    difference = compare_input(made, input[i], loss, gradients[i] == NO_VALUE ? NULL : tensors[gradients[i]]);
  arena_destroy(arena);
  return difference;
}

/* ---- the table ---------------------------------------------------------------------------------- */

typedef struct Totals {
  unsigned number, failed;
} Totals;

static void
print_result(Totals *totals, const Operator *operator, const char * what, const char *difference)
{
  totals->number++;
  totals->failed += difference != NULL;
  printf("%s %u - %s%s%s: %s\n", difference ? "not ok" : "ok",
         totals->number, operator->domain, operator->domain[0] ? "." : "", operator->name, what);
  if (difference) printf("# %s\n", difference);
}

static void
test_row(const Operator *operator, Totals * totals)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  bool is_differentiated = operator->gradient && operator->gradient[0];
  diagnostics->stream = stdout;
  for (unsigned index = 0;; index++) {
    Try made;
    int answer = make_try(operator, index, diagnostics, &made);
    if (answer == 0) {
      if (index == 0 && is_differentiated)
        print_result(totals, operator, "has shapes to try", "it has a gradient and no tries");
      break;
    }
    const char *difference = NULL;
    if (answer < 0) difference = "its tries cannot be made into a program";
    else if (is_differentiated) difference = check_gradients(&made);
    else if (!run(&made, 1u << PHASE_FORWARD, arena)) difference = "evaluation failed";
    print_result(totals, operator, made.text, difference);
    program_destroy(made.program);
  }
  arena_destroy(arena);
}

int
main(int argc, char **argv)
{
  Totals totals = {0, 0};
  for (size_t i = 0; i < operator_count(); i++)
    if (argc < 2 || !strcmp(operator_at(i)->name, argv[1])) test_row(operator_at(i), &totals);
  printf("1..%u\n# %u failed\n", totals.number, totals.failed);
  return totals.failed ? 1 : 0;
}
