/* gradient.c: reverse-mode differentiation.
 *
 * The gradient of an operator is a formula in the table, such as Conv's
 *     x = ConvGradInput(dy, w, shape(x)); w = ConvGradWeight(dy, x, shape(w)); b = ChannelSum(dy)
 * A formula is read and its nodes are made in one walk over its text. What backward reads follows from the names
 * that the walk meets; nothing else records it. The driver sums a gradient to its operand's shape where the operand
 * was broadcast, and adds up the gradients of values with several readers.
 */
#include "gradient.h"

#include "operators.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What an expression denotes while a formula is read: a value, or a number known now. */
typedef struct Term {
  bool is_number;
  double number;
  ValueId value; /* NO_VALUE: an optional operand that is absent */
} Term;

typedef struct Formula {
  Program *program;
  NodeId node;               /* the forward node */
  const char *cursor;
  const ValueId *gradient;   /* by value: gradient so far */
  uint32_t variadic;         /* which operand a variadic name stands for */
  bool has_failed;
} Formula;

typedef struct Arguments {
  ValueId operand[ACTNN_MAX_OPERANDS];
  uint32_t count;
  Attribute attribute[8];
  uint32_t attribute_count;
} Arguments;

static Term expression(Formula *formula);

static Term
value_term(ValueId value)
{
  return (Term){.value = value};
}

static Term
number_term(double number)
{
  return (Term){.is_number = true, .number = number, .value = NO_VALUE};
}

/* A mistake in the table itself: a translator bug, caught by the tests that walk the table. */
static Term
formula_error(Formula *formula, const char *what)
{
  if (!formula->has_failed)
    report_node(formula->program, formula->node, "this is a mistake in the operator table", "gradient formula: %s at '%.20s'",
                what, formula->cursor);
  formula->has_failed = true;
  return number_term(0);
}

static void
skip_spaces(Formula *formula)
{
  while (*formula->cursor == ' ') formula->cursor++;
}

static bool
accept(Formula *formula, char c)
{
  skip_spaces(formula);
  if (*formula->cursor != c) return false;
  formula->cursor++;
  return true;
}

static size_t
read_name(Formula *formula, char *name, size_t capacity)
{
  skip_spaces(formula);
  size_t length = 0;
  while (isalnum((unsigned char)*formula->cursor) || *formula->cursor == '_') {
    if (length + 1 < capacity) name[length++] = *formula->cursor;
    formula->cursor++;
  }
  name[length] = 0;
  return length;
}

/* ---- making nodes ------------------------------------------------------------------------------- */

static const char *
domain_of(const char *operator_name)
{
  return find_operator("", operator_name) ? "" : "actnn";
}

/* The called operator inherits every attribute of the forward node that it declares under the same name. */
static void
inherit_attributes(Formula *formula, NodeId made)
{
  Program *program = formula->program;
  const Operator *callee = node_at(program, made)->operator;
  for (uint32_t i = 0; i < callee->attribute_count; i++) {
    const char *name = callee->attributes[i].name;
    const Attribute *given = find_attribute(node_at(program, formula->node), name);
    if (given && !find_attribute(node_at(program, made), name)) set_attribute(program, made, *given);
  }
}

static NodeId
make_node(Formula *formula, const char *operator_name, const Arguments *arguments, const ValueId *results, size_t count)
{
  Program *program = formula->program;
  const char *name = node_at(program, formula->node)->name;
  NodeId made = add_node(program, PHASE_BACKWARD, domain_of(operator_name), operator_name, name, arguments->operand,
                         arguments->count, results, count);
  node_at(program, made)->origin = formula->node;
  if (!node_at(program, made)->operator) {
    formula_error(formula, "unknown operator");
    return made;
  }
  for (uint32_t i = 0; i < arguments->attribute_count; i++) set_attribute(program, made, arguments->attribute[i]);
  inherit_attributes(formula, made);
  if (!infer_node(program, made)) formula->has_failed = true;
  return made;
}

static ValueId
new_value(Program *program)
{
  return add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){.rank = -1});
}

static Term
call(Formula *formula, const char *operator_name, const Arguments *arguments)
{
  ValueId result = new_value(formula->program);
  make_node(formula, operator_name, arguments, &result, 1);
  return value_term(result);
}

static ValueId
as_value(Formula *formula, Term term)
{
  return term.is_number ? add_scalar_constant(formula->program, term.number) : term.value;
}

static Term
binary(Formula *formula, char operation, Term a, Term b)
{
  if (a.is_number && b.is_number)
    return number_term(operation == '+'   ? a.number + b.number
                       : operation == '-' ? a.number - b.number
                       : operation == '*' ? a.number * b.number
                                          : a.number / b.number);
  Arguments arguments = {.operand = {as_value(formula, a), as_value(formula, b)}, .count = 2};
  return call(formula, operation == '+' ? "Add" : operation == '-' ? "Sub" : operation == '*' ? "Mul" : "Div", &arguments);
}

/* ---- names ---------------------------------------------------------------------------------------- */

/* Operand numbers that a slot's name stands for. */
static bool
find_operand(const Formula *formula, const char *name, uint32_t *index, bool *is_variadic)
{
  const Operator *operator = node_at(formula->program, formula->node)->operator;
  for (uint32_t i = 0; i < operator->operand_count; i++)
    if (!strcmp(operator->operands[i].name, name)) {
      *is_variadic = operator->operands[i].is_variadic;
      *index = *is_variadic ? formula->variadic : i;
      return true;
    }
  return false;
}

static bool
find_result(const Formula *formula, const char *name, uint32_t *index)
{
  const Operator *operator = node_at(formula->program, formula->node)->operator;
  for (uint32_t i = 0; i < operator->result_count; i++)
    if (!strcmp(operator->results[i].name, name)) {
      *index = i;
      return true;
    }
  return false;
}

/* A result that a formula names; added to the forward node when the model did not ask for it. */
static ValueId
result_named(Formula *formula, uint32_t index)
{
  Program *program = formula->program;
  ValueId result = result_id(node_at(program, formula->node), index);
  if (result != NO_VALUE) return result;
  result = new_value(program);
  value_at(program, result)->producer = formula->node;
  set_result(program, formula->node, index, result);
  if (!infer_node(program, formula->node)) formula->has_failed = true;
  return result;
}

static ValueId
zeros_like(Formula *formula, ValueId value)
{
  Program *program = formula->program;
  Shape shape = value_at(program, value)->shape;
  Arguments arguments = {.operand = {add_int64_constant(program, shape.dim, (size_t)shape.rank)}, .count = 1};
  return call(formula, "ConstantOfShape", &arguments).value;
}

/* The incoming gradient of result `index`. */
static ValueId
incoming(Formula *formula, uint32_t index)
{
  ValueId result = result_named(formula, index), gradient = NO_VALUE;
  gradient = formula->gradient[result];
  return gradient != NO_VALUE ? gradient : zeros_like(formula, result);
}

static Term
name_term(Formula *formula, const char *name)
{
  Program *program = formula->program;
  const Node *node = node_at(program, formula->node);
  uint32_t index;
  bool is_variadic;
  if (find_operand(formula, name, &index, &is_variadic)) return value_term(operand_id(node, index));
  if (find_result(formula, name, &index)) return value_term(result_named(formula, index));
  if (name[0] == 'd' && find_result(formula, name + 1, &index)) return value_term(incoming(formula, index));
  for (uint32_t i = 0; i < node->operator->attribute_count; i++) {
    const AttributeSlot *slot = &node->operator->attributes[i];
    if (strcmp(slot->name, name)) continue;
    const Attribute *given = find_attribute(node, name);
    if (slot->kind == ATTRIBUTE_FLOAT) return number_term(given ? given->f : slot->f);
    return number_term((double)(given ? given->i : slot->i));
  }
  return formula_error(formula, "unknown name before");
}

/* shape(x): the extents of x as a constant; reading it saves nothing. */
static Term
shape_term(Formula *formula)
{
  char name[64];
  if (!accept(formula, '(')) return formula_error(formula, "expected (");
  read_name(formula, name, sizeof name);
  Term term = name_term(formula, name);
  if (!accept(formula, ')')) return formula_error(formula, "expected )");
  if (term.is_number || term.value == NO_VALUE) return value_term(NO_VALUE);
  Shape shape = value_at(formula->program, term.value)->shape;
  return value_term(add_int64_constant(formula->program, shape.dim, (size_t)shape.rank));
}

/* offset(inputs): where the current variadic operand starts along attribute `axis`. */
static Term
offset_term(Formula *formula)
{
  char name[64];
  const Node *node = node_at(formula->program, formula->node);
  if (!accept(formula, '(') || !read_name(formula, name, sizeof name) || !accept(formula, ')'))
    return formula_error(formula, "expected (name)");
  int64_t axis = int_attribute(node, "axis", 0), offset = 0;
  for (uint32_t i = 0; i < formula->variadic; i++) {
    const Shape *shape = &operand_value(formula->program, node, i)->shape;
    offset += shape->dim[axis < 0 ? axis + shape->rank : axis];
  }
  return number_term((double)offset);
}

/* ---- expressions ---------------------------------------------------------------------------------- */

/* doutputs*: all incoming gradients of a variadic result. */
static void
expand_gradients(Formula *formula, Arguments *arguments)
{
  uint32_t count = node_at(formula->program, formula->node)->result_count;
  for (uint32_t i = 0; i < count && arguments->count < ACTNN_MAX_OPERANDS; i++) {
    ValueId result = result_id(node_at(formula->program, formula->node), i);
    ValueId gradient = formula->gradient[result];
    arguments->operand[arguments->count++] = gradient != NO_VALUE ? gradient : zeros_like(formula, result);
  }
}

static bool
is_expansion(const Formula *formula)
{
  const char *at = formula->cursor;
  while (*at == ' ') at++;
  if (*at != 'd') return false;
  while (isalnum((unsigned char)*at) || *at == '_') at++;
  return at[0] == '*' && (at[1] == ';' || at[1] == ')' || at[1] == ',');
}

static void
read_attributes(Formula *formula, const Operator *callee, Arguments *arguments)
{
  do {
    char name[64];
    read_name(formula, name, sizeof name);
    if (!accept(formula, '=')) { formula_error(formula, "expected ="); return; }
    Term term = expression(formula);
    Attribute attribute = {.name = arena_text(formula->program->arena, name, strlen(name))};
    for (uint32_t i = 0; callee && i < callee->attribute_count; i++)
      if (!strcmp(callee->attributes[i].name, name)) attribute.kind = callee->attributes[i].kind;
    attribute.i = llround(term.number);
    attribute.f = term.number;
    if (!term.is_number || arguments->attribute_count == 8) { formula_error(formula, "expected a number"); return; }
    arguments->attribute[arguments->attribute_count++] = attribute;
  } while (accept(formula, ','));
}

/* (operands; attribute=expression, ...) */
static void
read_arguments(Formula *formula, const char *operator_name, Arguments *arguments)
{
  *arguments = (Arguments){.count = 0};
  if (!accept(formula, '(')) { formula_error(formula, "expected ("); return; }
  do {
    skip_spaces(formula);
    if (is_expansion(formula)) {
      char name[64];
      read_name(formula, name, sizeof name);
      formula->cursor++;
      expand_gradients(formula, arguments);
    } else if (arguments->count < ACTNN_MAX_OPERANDS) {
      arguments->operand[arguments->count++] = as_value(formula, expression(formula));
    }
  } while (accept(formula, ','));
  if (accept(formula, ';')) read_attributes(formula, find_operator(domain_of(operator_name), operator_name), arguments);
  if (!accept(formula, ')')) formula_error(formula, "expected )");
  while (arguments->count && arguments->operand[arguments->count - 1] == NO_VALUE) arguments->count--;
}

static Term
primary(Formula *formula)
{
  skip_spaces(formula);
  if (accept(formula, '(')) {
    Term inner = expression(formula);
    return accept(formula, ')') ? inner : formula_error(formula, "expected )");
  }
  if (accept(formula, '-')) {
    Term term = primary(formula);
    if (term.is_number) return number_term(-term.number);
    Arguments arguments = {.operand = {term.value}, .count = 1};
    return call(formula, "Neg", &arguments);
  }
  if (isdigit((unsigned char)*formula->cursor)) {
    char *end;
    double number = strtod(formula->cursor, &end);
    formula->cursor = end;
    return number_term(number);
  }
  char name[64];
  if (!read_name(formula, name, sizeof name)) return formula_error(formula, "expected an operand");
  skip_spaces(formula);
  if (*formula->cursor != '(') return name_term(formula, name);
  if (!strcmp(name, "shape")) return shape_term(formula);
  if (!strcmp(name, "offset")) return offset_term(formula);
  Arguments arguments;
  read_arguments(formula, name, &arguments);
  return formula->has_failed ? number_term(0) : call(formula, name, &arguments);
}

static Term
product(Formula *formula)
{
  Term term = primary(formula);
  for (;;) {
    skip_spaces(formula);
    char operation = *formula->cursor;
    if (formula->has_failed || (operation != '*' && operation != '/')) return term;
    formula->cursor++;
    term = binary(formula, operation, term, primary(formula));
  }
}

static Term
sum(Formula *formula)
{
  Term term = product(formula);
  for (;;) {
    skip_spaces(formula);
    char operation = *formula->cursor;
    if (formula->has_failed || (operation != '+' && operation != '-')) return term;
    formula->cursor++;
    term = binary(formula, operation, term, product(formula));
  }
}

/* Passes over an expression without making nodes: up to `:`, `;`, `,` or the end, outside parentheses. */
static void
skip_expression(Formula *formula)
{
  for (int depth = 0; *formula->cursor; formula->cursor++) {
    char c = *formula->cursor;
    if (c == '(') depth++;
    if (c == ')' && depth-- == 0) return;
    if (depth == 0 && (c == ':' || c == ';' || c == ',')) return;
  }
}

/* sum, or attribute ? expression : expression */
static Term
expression(Formula *formula)
{
  Term condition = sum(formula);
  if (formula->has_failed || !accept(formula, '?')) return condition;
  if (!condition.is_number) return formula_error(formula, "a condition must be an attribute");
  Term chosen = number_term(0);
  if (condition.number != 0) chosen = expression(formula);
  else skip_expression(formula);
  if (!accept(formula, ':')) return formula_error(formula, "expected :");
  if (condition.number == 0) chosen = expression(formula);
  else skip_expression(formula);
  return chosen;
}

/* ---- the driver ----------------------------------------------------------------------------------- */

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
  ValueId gradient = as_value(formula, term);
  if (formula->has_failed || gradient == NO_VALUE) return;
  Shape wanted = value_at(program, operand)->shape;
  if (!shape_equal(&value_at(program, gradient)->shape, &wanted)) {
    Arguments arguments = {.operand = {gradient, add_int64_constant(program, wanted.dim, (size_t)wanted.rank)}, .count = 2};
    gradient = call(formula, "SumTo", &arguments).value;
  }
  grow_gradients(d);
  if (d->gradient[operand] != NO_VALUE) {
    Arguments arguments = {.operand = {d->gradient[operand], gradient}, .count = 2};
    gradient = call(formula, "Add", &arguments).value;
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
    read_name(formula, name, sizeof name);
    if (count == MAX_TARGETS || !find_operand(formula, name, &index, &is_variadic)) {
      formula_error(formula, "unknown target before");
      return;
    }
    ValueId operand = operand_id(node_at(program, formula->node), index);
    target[count] = operand != NO_VALUE && needs_gradient(d, operand) ? operand : NO_VALUE;
    is_any_needed |= target[count++] != NO_VALUE;
  } while (accept(formula, ','));
  if (!accept(formula, '=')) { formula_error(formula, "expected ="); return; }
  if (!is_any_needed) {
    skip_expression(formula);
    while (*formula->cursor && *formula->cursor != ';') formula->cursor++;
    return;
  }
  if (count == 1) {
    accumulate(d, formula, target[0], expression(formula));
    return;
  }
  char name[64];
  Arguments arguments;
  read_name(formula, name, sizeof name);
  read_arguments(formula, name, &arguments);
  if (formula->has_failed) return;
  for (uint32_t i = 0; i < count; i++) made[i] = target[i] == NO_VALUE ? NO_VALUE : new_value(program);
  make_node(formula, name, &arguments, made, count);
  grow_gradients(d);
  for (uint32_t i = 0; i < count && !formula->has_failed; i++)
    if (target[i] != NO_VALUE) accumulate(d, formula, target[i], value_term(made[i]));
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
    skip_spaces(&formula);
    if (!*formula.cursor) break;
    statement(d, &formula);
  } while (!formula.has_failed && accept(&formula, ';'));
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

/* The gradient of the loss by itself: 1. A node of backward and not a constant, because all that backward computes is computed
 * from it and not from forward values alone. */
static ValueId
add_seed(Program *program, ValueId loss)
{
  Shape shape = value_at(program, loss)->shape;
  ValueId seed = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape);
  NodeId node = add_node(program, PHASE_BACKWARD, "actnn", "Fill", "", NULL, 0, &seed, 1);
  set_ints(program, node, "shape", shape.dim, (size_t)shape.rank);
  set_int(program, node, "to", ACTNN_F32);
  double *values = arena_allocate(program->arena, sizeof *values);
  *values = 1;
  set_attribute(program, node, (Attribute){.name = "values", .kind = ATTRIBUTE_FLOATS, .count = 1, .floats = values});
  return seed;
}

bool
append_gradients(Program *program, const ValueId *wanted, size_t count, ValueId loss, ValueId *gradients)
{
  Differentiation d = {.program = program, .needed_count = program->value_count};
  d.is_needed = values_that_depend_on(program, wanted, count);
  grow_gradients(&d);
  ValueId seed = add_seed(program, loss);
  grow_gradients(&d);
  d.gradient[loss] = seed;
  bool is_good = true;
  for (uint32_t i = program->order_count; i-- > 0;) {
    NodeId id = program->order[i];
    if (node_at(program, id)->phase == PHASE_FORWARD) is_good &= differentiate_node(&d, id);
  }
  for (size_t i = 0; gradients && i < count; i++) gradients[i] = d.gradient[wanted[i]];
  return is_good;
}
