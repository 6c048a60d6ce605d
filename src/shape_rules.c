/* shape_rules.c: the shape rules that many operators share, and what rules are made of. */
#include "operators.h"

bool
infer_node(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  if (!node->operator) return report_node(program, id, NULL, "this operator is not in the table");
  const Operator *operator = node->operator;
  for (uint32_t i = 0; i < operator->operand_count; i++)
    if (!operator->operands[i].is_optional && !operator->operands[i].is_variadic && operand_id(node, i) == NO_VALUE)
      return report_node(program, id, NULL, "operand '%s' is missing", operator->operands[i].name);
  for (uint32_t i = 0; i < node->operand_count; i++) {
    const Value *value = operand_value(program, node, i);
    const Slot *slot = operand_slot(operator, i);
    if (!slot) return report_node(program, id, NULL, "it has %u operands, at most %u are known", node->operand_count,
                                  operator->operand_count);
    if (value && value->shape.rank < 0)
      return report_node(program, id, NULL, "the shape of operand '%s' is not known", slot->name);
    if (value && slot->is_constant && value->kind != VALUE_CONSTANT)
      return report_node(program, id, "fix the dimensions it is computed from with --batch or --dim",
                         "operand '%s' must be known at compile time", slot->name);
  }
  return operator->infer(program, id);
}

bool
set_result_type(Program *program, NodeId id, uint32_t result, actnn_type type, const Shape *shape)
{
  Value *value = result_value(program, node_at(program, id), result);
  int64_t elements;
  if (!value) return true;
  if (shape_is_static(shape) && !shape_elements(shape, &elements))
    return report_node(program, id, NULL, "result %u would have more elements than can be addressed", result);
  value->type = type;
  value->shape = *shape;
  return true;
}

bool
normalize_axis(Program *program, NodeId id, int64_t *axis, int rank)
{
  if (*axis < -rank || *axis >= rank)
    return report_node(program, id, NULL, "axis %lld is outside [-%d, %d)", (long long)*axis, rank, rank);
  if (*axis < 0) *axis += rank;
  return true;
}

bool
infer_same(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  return set_result_type(program, id, 0, x->type, &x->shape);
}

/* The broadcast of all operands' shapes. */
static bool
broadcast_operands(Program *program, NodeId id, Shape *shape)
{
  const Node *node = node_at(program, id);
  *shape = operand_value(program, node, 0)->shape;
  for (uint32_t i = 1; i < node->operand_count; i++) {
    const Value *x = operand_value(program, node, i);
    Shape before = *shape;
    if (x && !shape_broadcast(&before, &x->shape, shape))
      return report_node(program, id, NULL, "operand %u does not broadcast: %s against %s", i,
                         shape_text(program->arena, x->type, &before), shape_text(program->arena, x->type, &x->shape));
  }
  return true;
}

/* The result has the type of the first operand, or of the last where the first is a mask (Where, Select). */
bool
infer_broadcast(Program *program, NodeId id)
{
  Shape shape;
  const Node *node = node_at(program, id);
  const Value *first = operand_value(program, node, 0), *last = operand_value(program, node, node->operand_count - 1);
  actnn_type type = first->type == ACTNN_BOOL ? last->type : first->type;
  return broadcast_operands(program, id, &shape) && set_result_type(program, id, 0, type, &shape);
}

bool
infer_broadcast_bool(Program *program, NodeId id)
{
  Shape shape;
  return broadcast_operands(program, id, &shape) && set_result_type(program, id, 0, ACTNN_BOOL, &shape);
}
