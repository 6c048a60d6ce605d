/* optimizer_shapes.c: shape rules of optimizers. */
#include "../operators.h"

#include <string.h>

ShapeRule infer_update, infer_training_update;

static bool
check_scalar(Program *program, NodeId id, uint32_t operand, const char *name)
{
  int64_t elements;
  const Value *value = operand_value(program, node_at(program, id), operand);
  return (value && shape_elements(&value->shape, &elements) && elements == 1)
         || report_node(program, id, NULL, "operand '%s' must be one number", name);
}

static bool
check_like(Program *program, NodeId id, uint32_t first, uint32_t other)
{
  const Value *x = operand_value(program, node_at(program, id), first);
  const Value *value = operand_value(program, node_at(program, id), other);
  return !value || shape_equal(&x->shape, &value->shape)
         || report_node(program, id, NULL, "operand %u is %s, but the variable is %s", other,
                        shape_text(program->arena, value->type, &value->shape),
                        shape_text(program->arena, x->type, &x->shape));
}

static bool
is_scalar_name(const char *name)
{
  return !strcmp(name, "lr") || !strcmp(name, "step") || !strcmp(name, "r") || !strcmp(name, "t");
}

/* One variable: every result and every operand but the rate and the step are like it. */
bool
infer_update(Program *program, NodeId id)
{
  const Operator *operator = node_at(program, id)->operator;
  for (uint32_t i = 1; i < operator->operand_count; i++) {
    const char *name = operator->operands[i].name;
    if (!(is_scalar_name(name) ? check_scalar(program, id, i, name) : check_like(program, id, 0, i))) return false;
  }
  const Value *w = operand_value(program, node_at(program, id), 0);
  Shape shape = w->shape;
  actnn_type type = w->type;
  for (uint32_t i = 0; i < operator->result_count; i++)
    if (!set_result_type(program, id, i, type, &shape)) return false;
  return true;
}

/* R, T, then groups of n tensors: variables, gradients, and one or two groups of state. Results are the variables and
 * the state, so there is one group less of them. */
bool
infer_training_update(Program *program, NodeId id)
{
  uint32_t groups = strcmp(node_at(program, id)->operator_name, "Adam") ? 3 : 4;
  uint32_t operands = node_at(program, id)->operand_count, n = operands < 2 ? 0 : (operands - 2) / groups;
  if (operands < 2 || (operands - 2) % groups || node_at(program, id)->result_count > n * (groups - 1))
    return report_node(program, id, NULL, "its operands are not R, T and %u tensors for each variable", groups);
  if (!check_scalar(program, id, 0, "R") || !check_scalar(program, id, 1, "T")) return false;
  for (uint32_t i = 2; i < operands; i++)
    if (operand_id(node_at(program, id), i) == NO_VALUE)
      return report_node(program, id, NULL, "operand %u is missing", i);
  for (uint32_t i = n; i < n * groups; i++)
    if (!check_like(program, id, 2 + i % n, 2 + i)) return false;
  for (uint32_t i = 0; i < node_at(program, id)->result_count; i++) {
    const Value *x = operand_value(program, node_at(program, id), 2 + i % n);
    Shape shape = x->shape;
    if (!set_result_type(program, id, i, x->type, &shape)) return false;
  }
  return true;
}
