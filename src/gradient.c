/* gradient.c: reverse-mode differentiation.
 *
 * The gradient of an operator is a formula in the table (formula.h), such as Conv's
 *     x = ConvGradInput(dy, w, shape(x)); w = ConvGradWeight(dy, x, shape(w)); b = ChannelSum(dy)
 * The driver instantiates the formulas backwards from the loss, sums a gradient to its operand's shape where the operand was
 * broadcast, and adds up the gradients of values with several readers.
 */
#include "gradient.h"

#include "formula.h"
#include "operators.h"

#include <string.h>

typedef struct Differentiation {
  Program *program;
  ValueId *gradient; /* by value; grows with the values */
  uint32_t gradient_capacity;
  const bool *is_needed; /* by value, for the values there were at the start */
  uint32_t needed_count;
} Differentiation;

static void
grow_gradients(Differentiation *d)
{
  Program *program = d->program;
  if (d->gradient_capacity >= program->value_count + 64) return;
  uint32_t capacity = program->value_count * 2 + 256;
  ValueId *grown = arena_array(program->arena, capacity, sizeof *grown);
  if (d->gradient) memcpy(grown, d->gradient, d->gradient_capacity * sizeof *grown);
  for (uint32_t i = d->gradient_capacity; i < capacity; i++) grown[i] = NO_VALUE;
  d->gradient = grown;
  d->gradient_capacity = capacity;
}

static bool
needs_gradient(const Differentiation *d, ValueId value)
{
  return value < d->needed_count && d->is_needed[value];
}

/* Adds a term to the gradient of `operand`, summed to its shape where it was broadcast. */
static void
accumulate(Differentiation *d, Formula *formula, ValueId operand, Term term)
{
  Program *program = d->program;
  ValueId gradient = formula_value(formula, term);
  if (formula->has_failed || gradient == NO_VALUE) return;
  Shape wanted = value_at(program, operand)->shape;
  if (!shape_equal(&value_at(program, gradient)->shape, &wanted)) {
    Arguments arguments = {.operand = {gradient, add_int64_constant(program, wanted.dim, (size_t)wanted.rank)}, .count = 2};
    gradient = formula_call(formula, "SumTo", &arguments).value;
  }
  grow_gradients(d);
  if (d->gradient[operand] != NO_VALUE) {
    Arguments arguments = {.operand = {d->gradient[operand], gradient}, .count = 2};
    gradient = formula_call(formula, "Add", &arguments).value;
    grow_gradients(d);
  }
  d->gradient[operand] = gradient;
}

enum { MAX_TARGETS = 8 };

/* One statement "target, target = formula". */
static void
statement(Differentiation *d, Formula *formula)
{
  Program *program = d->program;
  ValueId target[MAX_TARGETS], made[MAX_TARGETS];
  uint32_t count = 0;
  bool is_any_needed = false;
  do {
    char name[64];
    uint32_t index;
    bool is_variadic;
    formula_name(formula, name, sizeof name);
    if (count == MAX_TARGETS || !formula_operand(formula, name, &index, &is_variadic)) {
      formula_error(formula, "unknown target before");
      return;
    }
    ValueId operand = operand_id(node_at(program, formula->node), index);
    target[count] = operand != NO_VALUE && needs_gradient(d, operand) ? operand : NO_VALUE;
    is_any_needed |= target[count++] != NO_VALUE;
  } while (formula_accept(formula, ','));
  if (!formula_accept(formula, '=')) { formula_error(formula, "expected ="); return; }
  if (!is_any_needed) {
    for (formula_skip(formula); *formula->cursor && *formula->cursor != ';'; formula_skip(formula)) formula->cursor++;
    return;
  }
  if (count == 1) {
    accumulate(d, formula, target[0], formula_expression(formula));
    return;
  }
  char name[64];
  Arguments arguments;
  formula_name(formula, name, sizeof name);
  formula_arguments(formula, name, &arguments);
  if (formula->has_failed) return;
  for (uint32_t i = 0; i < count; i++) made[i] = target[i] == NO_VALUE ? NO_VALUE : formula_new_value(program);
  formula_node(formula, name, &arguments, made, count);
  grow_gradients(d);
  for (uint32_t i = 0; i < count && !formula->has_failed; i++)
    if (target[i] != NO_VALUE) accumulate(d, formula, target[i], (Term){.value = made[i]});
}

static bool
instantiate(Differentiation *d, NodeId node, uint32_t variadic)
{
  grow_gradients(d);
  Formula formula = {.program = d->program, .node = node, .variadic = variadic,
                     .cursor = node_at(d->program, node)->operator->gradient};
  do {
    grow_gradients(d);
    formula.gradient = d->gradient;
    formula_skip_spaces(&formula);
    if (!*formula.cursor) break;
    statement(d, &formula);
  } while (!formula.has_failed && formula_accept(&formula, ';'));
  return !formula.has_failed;
}

/* Which nodes matter: a result has a gradient, and an operand needs one. */
static bool
is_on_the_way(const Differentiation *d, const Node *node)
{
  bool has_gradient = false, has_need = false;
  for (uint32_t i = 0; i < node->result_count; i++)
    has_gradient |= node->results[i] != NO_VALUE && d->gradient[node->results[i]] != NO_VALUE;
  for (uint32_t i = 0; i < node->operand_count; i++)
    has_need |= node->operands[i] != NO_VALUE && needs_gradient(d, node->operands[i]);
  return has_gradient && has_need;
}

static bool
differentiate_node(Differentiation *d, NodeId id)
{
  Program *program = d->program;
  const Node *node = node_at(program, id);
  if (!is_on_the_way(d, node)) return true;
  if (!node->operator->gradient)
    return report_node(program, id, "freeze what is before it with --freeze, or use another operator",
                       "%s cannot be differentiated", node->operator_name);
  const Slot *first = node->operator->operand_count ? &node->operator->operands[0] : NULL;
  if (!first || !first->is_variadic) return instantiate(d, id, 0);
  uint32_t count = node->operand_count;
  for (uint32_t k = 0; k < count; k++)
    if (needs_gradient(d, node_at(program, id)->operands[k]) && !instantiate(d, id, k)) return false;
  return true;
}

bool *
values_that_depend_on(const Program *program, const ValueId *wanted, size_t count)
{
  bool *depends = arena_array(program->arena, program->value_count + 1, sizeof *depends);
  for (size_t i = 0; i < count; i++) depends[wanted[i]] = true;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    bool any = false;
    if (node->phase != PHASE_FORWARD) continue;
    for (uint32_t k = 0; k < node->operand_count; k++) any |= node->operands[k] != NO_VALUE && depends[node->operands[k]];
    for (uint32_t k = 0; any && k < node->result_count; k++)
      if (node->results[k] != NO_VALUE && value_at(program, node->results[k])->type == ACTNN_F32) depends[node->results[k]] = true;
  }
  return depends;
}

ValueId
add_filled_gradient(Program *program, Shape shape, double value)
{
  ValueId filled = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape);
  NodeId node = add_node(program, PHASE_BACKWARD, "actnn", "Fill", "", NULL, 0, &filled, 1);
  set_ints(program, node, "shape", shape.dim, (size_t)shape.rank);
  set_int(program, node, "to", ACTNN_F32);
  double *values = arena_allocate(program->arena, sizeof *values);
  *values = value;
  set_attribute(program, node, (Attribute){.name = "values", .kind = ATTRIBUTE_FLOATS, .count = 1, .floats = values});
  return filled;
}

bool
append_gradients(Program *program, const ValueId *wanted, size_t count, ValueId loss, ValueId *gradients)
{
  Differentiation d = {.program = program, .needed_count = program->value_count};
  d.is_needed = values_that_depend_on(program, wanted, count);
  grow_gradients(&d);
  /* The gradient of the loss by itself: 1. A node of backward and not a constant, because all that backward computes is computed
   * from it and not from forward values alone. */
  ValueId seed = add_filled_gradient(program, value_at(program, loss)->shape, 1);
  grow_gradients(&d);
  d.gradient[loss] = seed;
  bool is_good = true;
  for (uint32_t i = program->order_count; i-- > 0;) {
    NodeId id = program->order[i];
    if (node_at(program, id)->phase == PHASE_FORWARD) is_good &= differentiate_node(&d, id);
  }
  for (size_t i = 0; i < count; i++) gradients[i] = d.gradient[wanted[i]];
  return is_good;
}
