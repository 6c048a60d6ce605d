/* random_shapes.c: shape rules of random operators. */
#include "window_shapes.h"

ShapeRule infer_dropout, infer_dropout_sum, infer_random_shape, infer_random_like;

/* Where it is known. */
static bool
check_ratio(Program *program, NodeId id, uint32_t operand)
{
  double ratio;
  ValueId value = operand_id(node_at(program, id), operand);
  if (value != NO_VALUE && constant_real(program, value, &ratio) && !(ratio >= 0 && ratio <= 1))
    return report_node(program, id, NULL, "ratio %g is not in [0, 1]", ratio);
  return true;
}

bool
infer_dropout_sum(Program *program, NodeId id)
{
  Shape sum = operand_value(program, node_at(program, id), 0)->shape;
  return expect_shape(program, id, 1, &sum) && check_ratio(program, id, 2) && infer_same(program, id);
}

bool
infer_dropout(Program *program, NodeId id)
{
  Shape shape = operand_value(program, node_at(program, id), 0)->shape;
  if (!check_ratio(program, id, 1)) return false;
  return infer_same(program, id) && set_result_type(program, id, 1, ACTNN_BOOL, &shape);
}

/* The element type that attribute dtype asks for. */
static bool
asked_type(Program *program, NodeId id, actnn_type otherwise, actnn_type *type)
{
  *type = (actnn_type)int_attribute(node_at(program, id), "dtype", otherwise);
  return type_bytes(*type) != 0 || report_node(program, id, NULL, "dtype %d cannot be drawn", (int)*type);
}

bool
infer_random_shape(Program *program, NodeId id)
{
  const int64_t *dims;
  actnn_type type;
  const Node *node = node_at(program, id);
  size_t rank = ints_attribute(node, "shape", &dims);
  if (!find_attribute(node, "shape")) return report_node(program, id, NULL, "attribute 'shape' is missing");
  if (rank > ACTNN_MAX_RANK) return report_node(program, id, NULL, "more than %d axes", (int)ACTNN_MAX_RANK);
  for (size_t i = 0; i < rank; i++)
    if (dims[i] < 0) return report_node(program, id, NULL, "shape holds a negative extent");
  Shape shape = shape_of((int)rank, dims);
  return asked_type(program, id, ACTNN_F32, &type) && set_result_type(program, id, 0, type, &shape);
}

bool
infer_random_like(Program *program, NodeId id)
{
  actnn_type type;
  const Value *x = operand_value(program, node_at(program, id), 0);
  Shape shape = x->shape;
  return asked_type(program, id, x->type, &type) && set_result_type(program, id, 0, type, &shape);
}
