/* formula.c: gradient formulas, read and turned into nodes in one walk. See formula.h for what they look like. */
#include "formula.h"

#include "operators.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
Term
formula_error(Formula *formula, const char *what)
{
  if (!formula->has_failed)
    report_node(formula->program, formula->node, "this is a mistake in the operator table", "gradient formula: %s at '%.20s'",
                what, formula->cursor);
  formula->has_failed = true;
  return number_term(0);
}

void
formula_skip_spaces(Formula *formula)
{
  while (*formula->cursor == ' ') formula->cursor++;
}

bool
formula_accept(Formula *formula, char c)
{
  formula_skip_spaces(formula);
  if (*formula->cursor != c) return false;
  formula->cursor++;
  return true;
}

size_t
formula_name(Formula *formula, char *name, size_t capacity)
{
  formula_skip_spaces(formula);
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

NodeId
formula_node(Formula *formula, const char *operator_name, const Arguments *arguments, const ValueId *results, size_t count)
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

ValueId
formula_new_value(Program *program)
{
  return add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){.rank = -1});
}

Term
formula_call(Formula *formula, const char *operator_name, const Arguments *arguments)
{
  ValueId result = formula_new_value(formula->program);
  formula_node(formula, operator_name, arguments, &result, 1);
  return value_term(result);
}

ValueId
formula_value(Formula *formula, Term term)
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
  Arguments arguments = {.operand = {formula_value(formula, a), formula_value(formula, b)}, .count = 2};
  return formula_call(formula, operation == '+' ? "Add" : operation == '-' ? "Sub" : operation == '*' ? "Mul" : "Div", &arguments);
}

/* ---- names ---------------------------------------------------------------------------------------- */

/* Operand numbers that a slot's name stands for. */
bool
formula_operand(const Formula *formula, const char *name, uint32_t *index, bool *is_variadic)
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
  result = formula_new_value(program);
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
  return formula_call(formula, "ConstantOfShape", &arguments).value;
}

/* The incoming gradient of result `index`. */
static ValueId
incoming(Formula *formula, uint32_t index)
{
  ValueId result = result_id(node_at(formula->program, formula->node), index);
  if (result != NO_VALUE && formula->gradient[result] != NO_VALUE) return formula->gradient[result];
  return zeros_like(formula, result_named(formula, index));
}

static Term
name_term(Formula *formula, const char *name)
{
  Program *program = formula->program;
  const Node *node = node_at(program, formula->node);
  uint32_t index;
  bool is_variadic;
  if (formula_operand(formula, name, &index, &is_variadic)) return value_term(operand_id(node, index));
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
  formula->cursor++; /* ( */
  formula_name(formula, name, sizeof name);
  Term term = name_term(formula, name);
  if (!formula_accept(formula, ')')) return formula_error(formula, "expected )");
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
  formula->cursor++; /* ( */
  if (!formula_name(formula, name, sizeof name) || !formula_accept(formula, ')'))
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
  for (uint32_t i = 0; i < count && arguments->count < ACTNN_MAX_OPERANDS; i++)
    arguments->operand[arguments->count++] = incoming(formula, i);
}

static bool
is_expansion(const Formula *formula)
{
  const char *at = formula->cursor;
  if (*at != 'd') return false;
  while (isalnum((unsigned char)*at) || *at == '_') at++;
  return at[0] == '*' && (at[1] == ';' || at[1] == ')' || at[1] == ',');
}

static void
read_attributes(Formula *formula, const Operator *callee, Arguments *arguments)
{
  do {
    char name[64];
    formula_name(formula, name, sizeof name);
    if (!formula_accept(formula, '=')) { formula_error(formula, "expected ="); return; }
    Term term = formula_expression(formula);
    Attribute attribute = {.name = arena_text(formula->program->arena, name, strlen(name))};
    for (uint32_t i = 0; callee && i < callee->attribute_count; i++)
      if (!strcmp(callee->attributes[i].name, name)) attribute.kind = callee->attributes[i].kind;
    attribute.i = llround(term.number);
    attribute.f = term.number;
    if (!term.is_number || arguments->attribute_count == 8) { formula_error(formula, "expected a number"); return; }
    arguments->attribute[arguments->attribute_count++] = attribute;
  } while (formula_accept(formula, ','));
}

/* (operands; attribute=expression, ...) */
void
formula_arguments(Formula *formula, const char *operator_name, Arguments *arguments)
{
  *arguments = (Arguments){.count = 0};
  if (!formula_accept(formula, '(')) { formula_error(formula, "expected ("); return; }
  do {
    formula_skip_spaces(formula);
    if (is_expansion(formula)) {
      char name[64];
      formula_name(formula, name, sizeof name);
      formula->cursor++;
      expand_gradients(formula, arguments);
    } else if (arguments->count < ACTNN_MAX_OPERANDS) {
      arguments->operand[arguments->count++] = formula_value(formula, formula_expression(formula));
    }
  } while (formula_accept(formula, ','));
  if (formula_accept(formula, ';')) read_attributes(formula, find_operator(domain_of(operator_name), operator_name), arguments);
  if (!formula_accept(formula, ')')) formula_error(formula, "expected )");
  while (arguments->count && arguments->operand[arguments->count - 1] == NO_VALUE) arguments->count--;
}

static Term
primary(Formula *formula)
{
  formula_skip_spaces(formula);
  if (formula_accept(formula, '(')) {
    Term inner = formula_expression(formula);
    return formula_accept(formula, ')') ? inner : formula_error(formula, "expected )");
  }
  if (formula_accept(formula, '-')) {
    Term term = primary(formula);
    if (term.is_number) return number_term(-term.number);
    Arguments arguments = {.operand = {term.value}, .count = 1};
    return formula_call(formula, "Neg", &arguments);
  }
  if (isdigit((unsigned char)*formula->cursor)) {
    char *end;
    double number = strtod(formula->cursor, &end);
    formula->cursor = end;
    return number_term(number);
  }
  char name[64];
  if (!formula_name(formula, name, sizeof name)) return formula_error(formula, "expected an operand");
  formula_skip_spaces(formula);
  if (*formula->cursor != '(') return name_term(formula, name);
  if (!strcmp(name, "shape")) return shape_term(formula);
  if (!strcmp(name, "offset")) return offset_term(formula);
  Arguments arguments;
  formula_arguments(formula, name, &arguments);
  return formula->has_failed ? number_term(0) : formula_call(formula, name, &arguments);
}

static Term
product(Formula *formula)
{
  Term term = primary(formula);
  for (;;) {
    formula_skip_spaces(formula);
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
    formula_skip_spaces(formula);
    char operation = *formula->cursor;
    if (formula->has_failed || (operation != '+' && operation != '-')) return term;
    formula->cursor++;
    term = binary(formula, operation, term, product(formula));
  }
}

/* Passes over an expression without making nodes: up to `:`, `;`, `,` or the end, outside parentheses. */
void
formula_skip(Formula *formula)
{
  for (int depth = 0; *formula->cursor; formula->cursor++) {
    char c = *formula->cursor;
    if (c == '(') depth++;
    if (c == ')' && depth-- == 0) return;
    if (depth == 0 && (c == ':' || c == ';' || c == ',')) return;
  }
}

/* sum, or attribute ? expression : expression */
Term
formula_expression(Formula *formula)
{
  Term condition = sum(formula);
  if (formula->has_failed || !formula_accept(formula, '?')) return condition;
  if (!condition.is_number) return formula_error(formula, "a condition must be an attribute");
  Term chosen = number_term(0);
  if (condition.number != 0) chosen = formula_expression(formula);
  else formula_skip(formula);
  if (!formula_accept(formula, ':')) return formula_error(formula, "expected :");
  if (condition.number == 0) chosen = formula_expression(formula);
  else formula_skip(formula);
  return chosen;
}
