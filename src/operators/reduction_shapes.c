/* reduction_shapes.c: shape rules of folds along axes, of their inverse, and of sums down to a shape. */
#include "../operators.h"

#include <string.h>

ShapeRule infer_reduction, infer_spread, infer_tie_count, infer_product_of_others, infer_sum_to, infer_arg_extreme,
    infer_cumulative_sum;

/* Which axes of a shape of this rank the operand `axes` folds. */
static bool
folded_axes(Program *program, NodeId id, uint32_t axes, int rank, bool *is_folded)
{
  const Node *node = node_at(program, id);
  const int64_t *list = NULL;
  size_t count = 0;
  if (operand_id(node, axes) != NO_VALUE && !constant_ints(program, operand_id(node, axes), &list, &count))
    return report_node(program, id, NULL, "operand 'axes' must be a list of integers");
  bool is_all = count == 0 && int_attribute(node, "noop_with_empty_axes", 0) == 0;
  for (int i = 0; i < ACTNN_MAX_RANK; i++) is_folded[i] = is_all;
  for (size_t i = 0; i < count; i++) {
    int64_t axis = list[i];
    if (!normalize_axis(program, id, &axis, rank)) return false;
    is_folded[axis] = true;
  }
  return true;
}

static Shape
reduced_shape(const Shape *shape, const bool *is_folded, bool keeps)
{
  Shape reduced = {0};
  for (int i = 0; i < shape->rank; i++) {
    if (!is_folded[i]) reduced.dim[reduced.rank++] = shape->dim[i];
    else if (keeps) reduced.dim[reduced.rank++] = 1;
  }
  return reduced;
}

bool
infer_reduction(Program *program, NodeId id)
{
  bool is_folded[ACTNN_MAX_RANK];
  const Value *data = operand_value(program, node_at(program, id), 0);
  if (!folded_axes(program, id, 1, data->shape.rank, is_folded)) return false;
  Shape reduced = reduced_shape(&data->shape, is_folded, int_attribute(node_at(program, id), "keepdims", 1) != 0);
  return set_result_type(program, id, 0, data->type, &reduced);
}

static bool
check_reduced(Program *program, NodeId id, const Value *value, const Shape *whole, const bool *is_folded)
{
  Shape expected = reduced_shape(whole, is_folded, int_attribute(node_at(program, id), "keepdims", 1) != 0);
  return shape_equal(&value->shape, &expected)
         || report_node(program, id, NULL, "a reduced operand is %s where %s is expected",
                        shape_text(program->arena, value->type, &value->shape),
                        shape_text(program->arena, value->type, &expected));
}

static bool
constant_shape(Program *program, NodeId id, uint32_t operand, Shape *shape)
{
  const int64_t *dims;
  size_t count;
  if (!constant_ints(program, operand_id(node_at(program, id), operand), &dims, &count) || count > ACTNN_MAX_RANK)
    return report_node(program, id, NULL, "operand 'shape' must be a list of at most %d integers", (int)ACTNN_MAX_RANK);
  *shape = shape_of((int)count, dims);
  for (size_t i = 0; i < count; i++)
    if (dims[i] < 0) return report_node(program, id, NULL, "operand 'shape' holds a negative extent");
  return true;
}

bool
infer_spread(Program *program, NodeId id)
{
  Shape shape;
  bool is_folded[ACTNN_MAX_RANK];
  if (!constant_shape(program, id, 1, &shape) || !folded_axes(program, id, 2, shape.rank, is_folded)) return false;
  const Value *x = operand_value(program, node_at(program, id), 0);
  return check_reduced(program, id, x, &shape, is_folded) && set_result_type(program, id, 0, x->type, &shape);
}

bool
infer_tie_count(Program *program, NodeId id)
{
  bool is_folded[ACTNN_MAX_RANK];
  const Value *data = operand_value(program, node_at(program, id), 0);
  const Value *reduced = operand_value(program, node_at(program, id), 1);
  Shape shape = reduced->shape;
  return folded_axes(program, id, 2, data->shape.rank, is_folded)
         && check_reduced(program, id, reduced, &data->shape, is_folded)
         && set_result_type(program, id, 0, reduced->type, &shape);
}

bool
infer_product_of_others(Program *program, NodeId id)
{
  bool is_folded[ACTNN_MAX_RANK];
  return folded_axes(program, id, 1, operand_value(program, node_at(program, id), 0)->shape.rank, is_folded)
         && infer_same(program, id);
}

bool
infer_sum_to(Program *program, NodeId id)
{
  Shape shape, both;
  const Value *x = operand_value(program, node_at(program, id), 0);
  if (!constant_shape(program, id, 1, &shape)) return false;
  if (!shape_broadcast(&x->shape, &shape, &both) || !shape_equal(&both, &x->shape))
    return report_node(program, id, NULL, "%s does not broadcast to %s",
                       shape_text(program->arena, x->type, &shape), shape_text(program->arena, x->type, &x->shape));
  return set_result_type(program, id, 0, x->type, &shape);
}

bool
infer_arg_extreme(Program *program, NodeId id)
{
  bool is_folded[ACTNN_MAX_RANK] = {false};
  const Value *data = operand_value(program, node_at(program, id), 0);
  Shape whole = data->shape;
  int64_t axis = int_attribute(node_at(program, id), "axis", 0);
  if (!normalize_axis(program, id, &axis, whole.rank)) return false;
  if (whole.dim[axis] == 0) return report_node(program, id, NULL, "axis %lld is empty", (long long)axis);
  set_int(program, id, "axis", axis);
  is_folded[axis] = true;
  Shape reduced = reduced_shape(&whole, is_folded, int_attribute(node_at(program, id), "keepdims", 1) != 0);
  return set_result_type(program, id, 0, ACTNN_I64, &reduced);
}

bool
infer_cumulative_sum(Program *program, NodeId id)
{
  const int64_t *axis;
  size_t count;
  const Node *node = node_at(program, id);
  if (!constant_ints(program, operand_id(node, 1), &axis, &count) || count != 1)
    return report_node(program, id, NULL, "operand 'axis' must be one integer");
  int64_t number = axis[0];
  return normalize_axis(program, id, &number, operand_value(program, node, 0)->shape.rank) && infer_same(program, id);
}
