/* inserted_shapes.c: shapes of saves and restores: a stash carries the extents of the value it stands for. */
#include "../operators.h"
#include "pointwise_steps.h"

ShapeRule infer_stash, infer_quantize_on_save, infer_normalize_on_save, infer_normal_gradient_scale, infer_restore, infer_none, infer_fill;

bool
infer_stash(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  Value *code = result_value(program, node_at(program, id), 0);
  code->layout = ACTNN_STASH;
  code->kind = VALUE_STASH;
  return set_result_type(program, id, 0, ACTNN_U8, &x->shape);
}

bool
numbers_stand_for(const Shape *x, const Shape *other)
{
  int axis = 0;
  if (x->rank != other->rank) return false;
  while (axis < x->rank && other->dim[axis] == x->dim[axis]) axis++;
  while (axis < x->rank && other->dim[axis] == 1) axis++;
  return axis == x->rank;
}

/* With steps: a row of x and of others, all of one shape, which have one number for as many neighbours of x. */
bool
infer_quantize_on_save(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const char *text = string_attribute(node, "steps", NULL);
  pointwise_steps steps;
  const char *wrong = text ? parse_coded_row(text, &steps) : NULL;
  if (wrong) return report_node(program, id, NULL, "its steps cannot be coded: %s", wrong);
  if (node->operand_count != (text ? (uint32_t)steps.operands : 1))
    return report_node(program, id, NULL, "it has %u operands, its steps another number", node->operand_count);
  for (uint32_t k = 1; k < node->operand_count; k++) {
    const Value *x = operand_value(program, node, 0), *other = operand_value(program, node, k), *first = operand_value(program, node, 1);
    if (!other || other->type != ACTNN_F32 || !shape_equal(&other->shape, &first->shape) || !numbers_stand_for(&x->shape, &other->shape))
      return report_node(program, id, NULL, "operand %u does not have a float for each of operand 0's rows", k);
  }
  return infer_stash(program, id);
}

bool
infer_normalize_on_save(Program *program, NodeId id)
{
  Shape shape = operand_value(program, node_at(program, id), 0)->shape;
  Value *code = result_value(program, node_at(program, id), 1);
  code->layout = ACTNN_STASH;
  code->kind = VALUE_STASH;
  return set_result_type(program, id, 0, ACTNN_F32, &shape) && set_result_type(program, id, 1, ACTNN_U8, &shape);
}

bool
infer_normal_gradient_scale(Program *program, NodeId id)
{
  Shape channels = operand_value(program, node_at(program, id), 2)->shape;
  return set_result_type(program, id, 0, ACTNN_F32, &channels) && set_result_type(program, id, 1, ACTNN_F32, &channels);
}

bool
infer_restore(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *code = operand_value(program, node, 0);
  return set_result_type(program, id, 0, (actnn_type)int_attribute(node, "to", ACTNN_F32), &code->shape);
}

bool
infer_none(Program *program, NodeId id)
{
  (void)program;
  (void)id;
  return true;
}

bool
infer_fill(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const int64_t *dims;
  size_t rank = ints_attribute(node, "shape", &dims);
  Shape shape = shape_of((int)rank, dims);
  return set_result_type(program, id, 0, (actnn_type)int_attribute(node, "to", ACTNN_F32), &shape);
}
