/* shape_rules.c: the shape rules that many operators share, and what rules are made of. */
#include "operators.h"
#include "operators/pointwise_steps.h"

#include <string.h>

ShapeRule infer_batch_norm, infer_batch_norm_statistics, infer_batch_normalization, infer_class_loss, infer_class_loss_gradient,
    infer_dropout, infer_gather_elements_grad, infer_gather_grad, infer_gather_nd_grad, infer_group_norm, infer_layer_normalization,
    infer_layer_normalization_gradient, infer_likelihood_gradient, infer_lp_normalization, infer_lrn, infer_mean_variance_normalization,
    infer_normalization_gradient, infer_pointwise, infer_resize, infer_rms_normalization, infer_pad_grad, infer_resize_grad,
    infer_scatter_zero, infer_softmax, infer_tile_grad, infer_update;

/* Loops under these rules read reals and write them, whatever the type of what they are given. */
static bool
takes_reals(const Operator *operator)
{
  static ShapeRule *const rules[] = {
      infer_batch_norm, infer_batch_norm_statistics, infer_batch_normalization, infer_class_loss, infer_class_loss_gradient,
      infer_dropout, infer_gather_elements_grad, infer_gather_grad, infer_gather_nd_grad, infer_group_norm, infer_layer_normalization,
      infer_layer_normalization_gradient, infer_likelihood_gradient, infer_lp_normalization, infer_lrn,
      infer_mean_variance_normalization, infer_normalization_gradient, infer_resize, infer_rms_normalization, infer_scatter_zero,
      infer_pad_grad, infer_resize_grad, infer_softmax, infer_tile_grad, infer_update};
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
    if (operator->infer == rules[i]) return true;
  return false;
}

/* Labels, indices and counts of steps are integers all the same. */
static bool
is_real_slot(const Slot *slot)
{
  static const char *const others[] = {"labels", "target", "indices", "t", "step"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (!strcmp(slot->name, others[i])) return false;
  return !slot->is_constant;
}

static bool
is_real(actnn_type type)
{
  return type == ACTNN_F32 || type == ACTNN_F64 || type == ACTNN_F16 || type == ACTNN_BF16;
}

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
    if (value && takes_reals(operator) && is_real_slot(slot) && !is_real(value->type))
      return report_node(program, id, "put a Cast before it", "operand '%s' must be of a floating-point type", slot->name);
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

/* Operands and results in the numbers that the steps name, all results as large as all operands together. */
bool
infer_pointwise(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  pointwise_steps steps;
  Shape shape;
  const char *wrong = parse_pointwise_steps(string_attribute(node, "steps", ""), &steps);
  if (wrong) return report_node(program, id, NULL, "its steps cannot be read: %s", wrong);
  if (node->operand_count != (uint32_t)steps.operands || node->result_count != (uint32_t)steps.results)
    return report_node(program, id, NULL, "its steps are of %d operands and %d results", steps.operands, steps.results);
  for (uint32_t k = 0; k < node->operand_count; k++) {
    const Value *x = operand_value(program, node, k);
    if (!x || (!is_real(x->type) && x->type != ACTNN_BOOL))
      return report_node(program, id, NULL, "operand %u is absent, or holds neither floats nor booleans", k);
  }
  if (!broadcast_operands(program, id, &shape)) return false;
  for (int i = 0; i < steps.count; i++) {
    const pointwise_step *step = &steps.step[i];
    actnn_type type = pointwise_row_at(step->row)->is_boolean ? ACTNN_BOOL : ACTNN_F32;
    if (step->result >= FIRST_TEMPORARY) continue;
    if (!set_result_type(program, id, (uint32_t)(step->result - FIRST_RESULT), type, &shape)) return false;
  }
  return true;
}
