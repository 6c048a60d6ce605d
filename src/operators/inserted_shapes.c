/* inserted_shapes.c: shapes of saves and restores: a stash carries the extents of the value it stands for. */
#include "../operators.h"

ShapeRule infer_stash, infer_normalize_on_save, infer_normal_gradient_scale, infer_restore, infer_none, infer_fill;

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
