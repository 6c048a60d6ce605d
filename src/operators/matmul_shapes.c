/* matmul_shapes.c: shape rules of matrix products. */
#include "window_shapes.h"

ShapeRule infer_MatMul, infer_Gemm, infer_Product, infer_ProductGradWeight, infer_ProductSum, infer_ProductGradWeightSum;

/* Rows, inner and columns of operands a and b of rank >= 2 and their broadcast batch axes, as the shape of y. */
static bool
multiply_shapes(Program *program, NodeId id, const Shape *a, const Shape *b, bool transpose_a, bool transpose_b, Shape *y)
{
  int64_t rows = a->dim[a->rank - (transpose_a ? 1 : 2)], inner = a->dim[a->rank - (transpose_a ? 2 : 1)];
  int64_t other = b->dim[b->rank - (transpose_b ? 1 : 2)], columns = b->dim[b->rank - (transpose_b ? 2 : 1)];
  if (inner != other && inner != DIM_UNKNOWN && other != DIM_UNKNOWN)
    return report_node(program, id, "transpose one of them", "inner dimensions differ: %lld and %lld", (long long)inner,
                       (long long)other);
  Shape left = shape_of(a->rank - 2, a->dim), right = shape_of(b->rank - 2, b->dim);
  if (!shape_broadcast(&left, &right, y))
    return report_node(program, id, NULL, "batch dimensions do not broadcast: %s against %s",
                       shape_text(program->arena, ACTNN_F32, &left), shape_text(program->arena, ACTNN_F32, &right));
  y->dim[y->rank] = rows;
  y->dim[y->rank + 1] = columns;
  y->rank += 2;
  return true;
}

/* NumPy's rule: a vector on the left is one row, on the right one column; that axis is then left out. */
bool
infer_MatMul(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 2)) return false;
  const Node *node = node_at(program, id);
  actnn_type type = operand_value(program, node, 0)->type;
  Shape a = operand_value(program, node, 0)->shape, b = operand_value(program, node, 1)->shape, y;
  bool a_is_vector = a.rank == 1, b_is_vector = b.rank == 1;
  if (a.rank < 1 || b.rank < 1) return report_node(program, id, NULL, "a scalar cannot be multiplied as a matrix");
  if (a_is_vector) a = (Shape){.rank = 2, .dim = {1, a.dim[0]}};
  if (b_is_vector) b = (Shape){.rank = 2, .dim = {b.dim[0], 1}};
  if (!multiply_shapes(program, id, &a, &b, false, false, &y)) return false;
  if (b_is_vector) y.rank--;
  if (a_is_vector) {
    y.rank--;
    if (!b_is_vector) y.dim[y.rank - 1] = y.dim[y.rank];
  }
  return set_result_type(program, id, 0, type, &y);
}

bool
infer_Gemm(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 3)) return false;
  const Node *node = node_at(program, id);
  const Value *a = operand_value(program, node, 0), *b = operand_value(program, node, 1);
  const Value *c = operand_value(program, node, 2);
  Shape y, both;
  if (a->shape.rank != 2 || b->shape.rank != 2)
    return report_node(program, id, NULL, "both factors must be matrices, they have ranks %d and %d", a->shape.rank,
                       b->shape.rank);
  if (!multiply_shapes(program, id, &a->shape, &b->shape, int_attribute(node, "transA", 0) != 0,
                       int_attribute(node, "transB", 0) != 0, &y))
    return false;
  if (c && (!shape_broadcast(&c->shape, &y, &both) || !shape_equal(&both, &y)))
    return report_node(program, id, NULL, "c is %s, which does not broadcast to %s",
                       shape_text(program->arena, c->type, &c->shape), shape_text(program->arena, a->type, &y));
  return set_result_type(program, id, 0, a->type, &y);
}

/* Of factors that begin at operand `first`, with a bias behind them. */
static bool
infer_factors(Program *program, NodeId id, uint32_t first)
{
  if (!expect_floats(program, id, first + 3)) return false;
  const Node *node = node_at(program, id);
  actnn_type type = operand_value(program, node, first)->type;
  Shape a = operand_value(program, node, first)->shape, b = operand_value(program, node, first + 1)->shape, y;
  bool transpose_a = int_attribute(node, "transA", 0) != 0, a_is_vector = a.rank == 1;
  if (a.rank < 1 || b.rank < 2 || (a_is_vector && (transpose_a || b.rank > 2)))
    return report_node(program, id, NULL, "factors of rank %d and %d cannot be multiplied", a.rank, b.rank);
  if (a_is_vector) a = (Shape){.rank = 2, .dim = {1, a.dim[0]}};
  if (!multiply_shapes(program, id, &a, &b, transpose_a, int_attribute(node, "transB", 0) != 0, &y)) return false;
  if (a_is_vector) y = (Shape){.rank = 1, .dim = {y.dim[1]}};
  if (operand_value(program, node, first + 2) &&
      !expect_shape(program, id, first + 2, &(Shape){.rank = 1, .dim = {y.dim[y.rank - 1]}}))
    return false;
  return set_result_type(program, id, 0, type, &y);
}

bool
infer_Product(Program *program, NodeId id)
{
  return infer_factors(program, id, 0);
}

/* Sum and result are of one shape. */
static bool
expect_sum(Program *program, NodeId id)
{
  const Shape y = result_value(program, node_at(program, id), 0)->shape;
  return expect_shape(program, id, 0, &y);
}

bool
infer_ProductSum(Program *program, NodeId id)
{
  return infer_factors(program, id, 1) && expect_sum(program, id);
}

/* What matters is that dy, operand `first`, is what a . b makes. */
static bool
infer_gradient(Program *program, NodeId id, uint32_t first, const Shape *b)
{
  const Node *node = node_at(program, id);
  actnn_type type = operand_value(program, node, first)->type;
  Shape a = operand_value(program, node, first + 1)->shape, y;
  bool a_is_vector = a.rank == 1;
  if (a.rank < 1 || b->rank < 2 || (a_is_vector && b->rank > 2))
    return report_node(program, id, NULL, "factors of rank %d and %d cannot be multiplied", a.rank, b->rank);
  if (a_is_vector) a = (Shape){.rank = 2, .dim = {1, a.dim[0]}};
  if (!multiply_shapes(program, id, &a, b, false, int_attribute(node, "transB", 0) != 0, &y)) return false;
  if (a_is_vector) y = (Shape){.rank = 1, .dim = {y.dim[1]}};
  return expect_shape(program, id, first, &y) && set_result_type(program, id, 0, type, b);
}

bool
infer_ProductGradWeight(Program *program, NodeId id)
{
  Shape b;
  return expect_floats(program, id, 2) && read_shape_operand(program, id, 2, &b) && infer_gradient(program, id, 0, &b);
}

bool
infer_ProductGradWeightSum(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 3)) return false;
  const Shape b = operand_value(program, node_at(program, id), 0)->shape;
  return infer_gradient(program, id, 1, &b);
}
