/* softmax_shapes.c: shape rules of softmax and of the losses over classes. */
#include "../operators.h"

#include <string.h>

ShapeRule infer_softmax, infer_class_loss, infer_class_loss_gradient, infer_class_rows, infer_likelihood_gradient;

/* Also of the gradients, whose two operands are alike. */
bool
infer_softmax(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0), *y = operand_value(program, node, 1);
  int64_t axis = int_attribute(node, "axis", -1);
  if (y && !shape_equal(&x->shape, &y->shape))
    return report_node(program, id, NULL, "its operands differ: %s against %s",
                       shape_text(program->arena, x->type, &x->shape), shape_text(program->arena, y->type, &y->shape));
  if (x->shape.rank == 0) return report_node(program, id, NULL, "a scalar has no axis to take the softmax over");
  if (!normalize_axis(program, id, &axis, x->shape.rank)) return false;
  set_int(program, id, "axis", axis);
  return infer_same(program, id);
}

/* Scores [N,C,d1...] against labels [N,d1...] and weights [C]. */
static bool
check_labels(Program *program, NodeId id, const Shape *scores, const Value *labels, const Value *weights)
{
  Shape expected = *scores;
  if (scores->rank < 2)
    return report_node(program, id, NULL, "scores need a batch and a class axis; they have %d axes", scores->rank);
  expected.rank--;
  for (int i = 1; i < expected.rank; i++) expected.dim[i] = scores->dim[i + 1];
  if (!shape_equal(&labels->shape, &expected))
    return report_node(program, id, NULL, "labels are %s where scores ask for %s",
                       shape_text(program->arena, labels->type, &labels->shape),
                       shape_text(program->arena, labels->type, &expected));
  if (weights && (weights->shape.rank != 1 || weights->shape.dim[0] != scores->dim[1]))
    return report_node(program, id, NULL, "weights are %s, but there are %lld classes",
                       shape_text(program->arena, weights->type, &weights->shape), (long long)scores->dim[1]);
  return true;
}

/* "none", "sum" or "mean". */
static bool
check_reduction(Program *program, NodeId id, bool *is_none)
{
  const char *reduction = string_attribute(node_at(program, id), "reduction", "mean");
  *is_none = !strcmp(reduction, "none");
  return *is_none || !strcmp(reduction, "mean") || !strcmp(reduction, "sum")
         || report_node(program, id, NULL, "reduction must be none, sum or mean");
}

bool
infer_class_loss(Program *program, NodeId id)
{
  bool is_none;
  const Node *node = node_at(program, id);
  const Value *scores = operand_value(program, node, 0), *labels = operand_value(program, node, 1);
  if (!check_reduction(program, id, &is_none)
      || !check_labels(program, id, &scores->shape, labels, operand_value(program, node, 2)))
    return false;
  Shape loss = is_none ? labels->shape : shape_of(0, NULL), scores_shape = scores->shape;
  actnn_type type = scores->type;
  return set_result_type(program, id, 0, type, &loss) && set_result_type(program, id, 1, type, &scores_shape);
}

/* The incoming gradient is like the loss. */
static bool
check_loss_gradient(Program *program, NodeId id, const Shape *labels)
{
  bool is_none;
  const Value *dy = operand_value(program, node_at(program, id), 0);
  if (!check_reduction(program, id, &is_none)) return false;
  int64_t elements, expected = 1;
  if (is_none) shape_elements(labels, &expected);
  return (shape_elements(&dy->shape, &elements) && elements == expected)
         || report_node(program, id, NULL, "the gradient of the loss is %s",
                        shape_text(program->arena, dy->type, &dy->shape));
}

bool
infer_class_loss_gradient(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *scores = operand_value(program, node, 1), *labels = operand_value(program, node, 2);
  Shape shape = scores->shape;
  actnn_type type = scores->type;
  return check_labels(program, id, &shape, labels, operand_value(program, node, 3))
         && check_loss_gradient(program, id, &labels->shape) && set_result_type(program, id, 0, type, &shape);
}

bool
infer_class_rows(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *scores = operand_value(program, node, 0), *labels = operand_value(program, node, 1);
  if (scores->shape.rank != 2 || scores->shape.dim[1] == 0)
    return report_node(program, id, NULL, "scores are %s, not rows of classes", shape_text(program->arena, scores->type, &scores->shape));
  Shape rows = scores->shape, each = labels->shape;
  actnn_type type = scores->type;
  return check_labels(program, id, &rows, labels, NULL) && set_result_type(program, id, 0, type, &rows)
         && set_result_type(program, id, 1, type, &each) && set_result_type(program, id, 2, ACTNN_I64, &each);
}

bool
infer_likelihood_gradient(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *labels = operand_value(program, node, 2);
  const int64_t *dims;
  size_t count;
  if (!constant_ints(program, operand_id(node, 1), &dims, &count) || count > ACTNN_MAX_RANK)
    return report_node(program, id, NULL, "operand 'shape' must be a list of at most %d integers", (int)ACTNN_MAX_RANK);
  Shape shape = shape_of((int)count, dims);
  actnn_type type = operand_value(program, node, 0)->type;
  return check_labels(program, id, &shape, labels, operand_value(program, node, 3))
         && check_loss_gradient(program, id, &labels->shape) && set_result_type(program, id, 0, type, &shape);
}
