/* normalization_shapes.c: shape rules of normalizations. They check every extent that kernels later index with. */
#include "../operators.h"

#include <string.h>

ShapeRule infer_batch_norm_statistics, infer_batch_normalization, infer_batch_norm, infer_normalization_gradient, infer_layer_normalization,
    infer_layer_normalization_gradient, infer_rms_normalization, infer_group_norm, infer_lrn, infer_lp_normalization,
    infer_mean_variance_normalization;

static const char *
text_of(const Program *program, const Value *value)
{
  return shape_text(program->arena, value->type, &value->shape);
}

/* Operands [first, last) hold one number per channel of operand `image`. */
static bool
check_channel_operands(Program *program, NodeId id, uint32_t image, uint32_t first, uint32_t last)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, image);
  if (x->shape.rank < 2)
    return report_node(program, id, NULL, "%s has no channel axis; at least two axes are needed", text_of(program, x));
  for (uint32_t i = first; i < last; i++) {
    const Value *value = operand_value(program, node, i);
    if (value && (value->shape.rank != 1 || value->shape.dim[0] != x->shape.dim[1]))
      return report_node(program, id, NULL, "operand '%s' is %s, but there are %lld channels",
                         operand_slot(node->operator, i)->name, text_of(program, value), (long long)x->shape.dim[1]);
  }
  return true;
}

static bool
check_same_shape(Program *program, NodeId id, uint32_t a, uint32_t b)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, a), *y = operand_value(program, node, b);
  return shape_equal(&x->shape, &y->shape)
         || report_node(program, id, NULL, "operands '%s' and '%s' differ: %s against %s",
                        operand_slot(node->operator, a)->name, operand_slot(node->operator, b)->name,
                        text_of(program, x), text_of(program, y));
}

/* Results [first, last) are one number per channel of operand 0. */
static bool
set_channel_results(Program *program, NodeId id, uint32_t first, uint32_t last)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  Shape channels = shape_of(1, &x->shape.dim[1]);
  actnn_type type = x->type;
  for (uint32_t i = first; i < last; i++)
    if (!set_result_type(program, id, i, type, &channels)) return false;
  return true;
}

bool
infer_batch_normalization(Program *program, NodeId id)
{
  return check_channel_operands(program, id, 0, 1, 5) && infer_same(program, id) && set_channel_results(program, id, 1, 3);
}

bool
infer_batch_norm(Program *program, NodeId id)
{
  return check_channel_operands(program, id, 0, 1, 5) && infer_same(program, id) && set_channel_results(program, id, 1, 5);
}

bool
infer_batch_norm_statistics(Program *program, NodeId id)
{
  return check_channel_operands(program, id, 0, 1, 3) && set_channel_results(program, id, 0, 4);
}

/* dx is like x (operand 1), dscale and db like scale (operand 2). */
static bool
set_gradient_results(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 1), *scale = operand_value(program, node, 2);
  Shape image = x->shape, parameters = scale->shape;
  actnn_type type = x->type;
  return set_result_type(program, id, 0, type, &image) && set_result_type(program, id, 1, type, &parameters)
         && set_result_type(program, id, 2, type, &parameters);
}

/* By channel ([C] statistics) and by group (N x groups). */
bool
infer_normalization_gradient(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 1);
  if (!check_same_shape(program, id, 0, 1) || !check_channel_operands(program, id, 1, 2, 3)) return false;
  const Value *mean = operand_value(program, node_at(program, id), 3);
  if (mean->shape.rank != 2) {
    if (!check_channel_operands(program, id, 1, 3, 5)) return false;
  } else if (mean->shape.dim[0] != x->shape.dim[0] || mean->shape.dim[1] < 1 || x->shape.dim[1] % mean->shape.dim[1]) {
    return report_node(program, id, NULL, "statistics %s do not belong to %s", text_of(program, mean), text_of(program, x));
  }
  return check_same_shape(program, id, 3, 4) && set_gradient_results(program, id);
}

/* The axis as written, made non-negative on the node. */
static bool
settle_axis(Program *program, NodeId id, int rank, int64_t otherwise, int64_t *axis)
{
  *axis = int_attribute(node_at(program, id), "axis", otherwise);
  if (!normalize_axis(program, id, axis, rank)) return false;
  set_int(program, id, "axis", *axis);
  return true;
}

/* An operand with one number for each element of x from `axis` on. */
static bool
check_trailing_operand(Program *program, NodeId id, const Value *x, int64_t axis, uint32_t operand)
{
  const Value *value = operand_value(program, node_at(program, id), operand);
  Shape trailing = shape_of(x->shape.rank - (int)axis, &x->shape.dim[axis]);
  int64_t expected, elements;
  if (!value) return true;
  if (!shape_elements(&trailing, &expected) || !shape_elements(&value->shape, &elements) || elements != expected)
    return report_node(program, id, NULL, "operand '%s' is %s, but normalized are %s",
                       operand_slot(node_at(program, id)->operator, operand)->name, text_of(program, value),
                       shape_text(program->arena, x->type, &trailing));
  return true;
}

static Shape
statistics_shape(const Shape *x, int64_t axis)
{
  Shape shape = *x;
  for (int i = (int)axis; i < shape.rank; i++) shape.dim[i] = 1;
  return shape;
}

static bool
infer_by_row(Program *program, NodeId id, uint32_t parameters, uint32_t statistics)
{
  int64_t axis;
  Value *x = operand_value(program, node_at(program, id), 0);
  actnn_type type = x->type;
  if (!settle_axis(program, id, x->shape.rank, -1, &axis)) return false;
  for (uint32_t i = 1; i <= parameters; i++)
    if (!check_trailing_operand(program, id, x, axis, i)) return false;
  Shape rows = statistics_shape(&x->shape, axis);
  for (uint32_t i = 1; i <= statistics; i++)
    if (!set_result_type(program, id, i, type, &rows)) return false;
  return infer_same(program, id);
}

bool
infer_layer_normalization(Program *program, NodeId id)
{
  return infer_by_row(program, id, 2, 2);
}

bool
infer_rms_normalization(Program *program, NodeId id)
{
  return infer_by_row(program, id, 1, 1);
}

/* Also of RMSNormalization, which has one statistic less. */
bool
infer_layer_normalization_gradient(Program *program, NodeId id)
{
  int64_t axis, rows, expected;
  const Value *x = operand_value(program, node_at(program, id), 1);
  if (!check_same_shape(program, id, 0, 1) || !settle_axis(program, id, x->shape.rank, -1, &axis)) return false;
  x = operand_value(program, node_at(program, id), 1);
  if (!check_trailing_operand(program, id, x, axis, 2)) return false;
  Shape statistics = statistics_shape(&x->shape, axis);
  for (uint32_t i = 3; i < node_at(program, id)->operand_count; i++) {
    const Value *value = operand_value(program, node_at(program, id), i);
    bool is_sum = !strcmp(operand_slot(node_at(program, id)->operator, i)->name, "sum");
    if (value && is_sum && !check_same_shape(program, id, 1, i)) return false;
    if (value && !is_sum && (!shape_elements(&statistics, &expected) || !shape_elements(&value->shape, &rows) || rows != expected))
      return report_node(program, id, NULL, "statistics %s do not belong to %s", text_of(program, value),
                         text_of(program, x));
  }
  return set_gradient_results(program, id);
}

bool
infer_group_norm(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  if (!check_channel_operands(program, id, 0, 1, 3)) return false;
  int64_t groups = int_attribute(node_at(program, id), "num_groups", x->shape.dim[1]);
  if (groups < 1 || x->shape.dim[1] % groups)
    return report_node(program, id, NULL, "num_groups=%lld does not divide %lld channels", (long long)groups,
                       (long long)x->shape.dim[1]);
  Shape statistics = shape_of(2, (const int64_t[]){x->shape.dim[0], groups});
  actnn_type type = x->type;
  return infer_same(program, id) && set_result_type(program, id, 1, type, &statistics)
         && set_result_type(program, id, 2, type, &statistics);
}

/* The last operand is x, whether forward or gradient. */
static const Value *
last_operand(const Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  return operand_value(program, node, node->operand_count - 1);
}

static bool
all_like_first(Program *program, NodeId id)
{
  return (node_at(program, id)->operand_count < 2 || check_same_shape(program, id, 0, 1)) && infer_same(program, id);
}

bool
infer_lrn(Program *program, NodeId id)
{
  const Value *x = last_operand(program, id);
  int64_t size = int_attribute(node_at(program, id), "size", 0);
  if (x->shape.rank < 2)
    return report_node(program, id, NULL, "%s has no channel axis; at least two axes are needed", text_of(program, x));
  if (size < 1 || size > INT32_MAX) return report_node(program, id, NULL, "size=%lld is no window", (long long)size);
  return all_like_first(program, id);
}

bool
infer_lp_normalization(Program *program, NodeId id)
{
  int64_t axis, p = int_attribute(node_at(program, id), "p", 2);
  if (p != 1 && p != 2) return report_node(program, id, NULL, "p=%lld; only 1 and 2 are defined", (long long)p);
  return settle_axis(program, id, last_operand(program, id)->shape.rank, -1, &axis) && all_like_first(program, id);
}

/* The default axes 0, 2, 3 are written out. */
bool
infer_mean_variance_normalization(Program *program, NodeId id)
{
  static const int64_t usual[] = {0, 2, 3};
  const int64_t *axes;
  int rank = last_operand(program, id)->shape.rank;
  size_t count = ints_attribute(node_at(program, id), "axes", &axes);
  if (!find_attribute(node_at(program, id), "axes")) {
    axes = usual;
    count = 3;
    set_ints(program, id, "axes", usual, 3);
  }
  for (size_t i = 0; i < count; i++) {
    int64_t axis = axes[i];
    if (!normalize_axis(program, id, &axis, rank)) return false;
  }
  return all_like_first(program, id);
}
