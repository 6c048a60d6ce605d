/* indexing_shapes.c: shape rules of indexing.def. */
#include "../operators.h"

#include <string.h>

ShapeRule infer_gather, infer_gather_grad, infer_gather_elements, infer_gather_elements_grad, infer_gather_nd,
    infer_gather_nd_grad, infer_scatter_elements, infer_scatter_zero, infer_scatter_nd, infer_top_k;

static bool
check_indices(Program *program, NodeId id, const Value *indices)
{
  if (indices->type == ACTNN_I64 || indices->type == ACTNN_I32) return true;
  return report_node(program, id, NULL, "indices must be int64 or int32, not %s", type_name(indices->type));
}

/* The attribute `axis`, checked and written back. */
static bool
settle_axis(Program *program, NodeId id, int64_t otherwise, int rank, int64_t *axis)
{
  *axis = int_attribute(node_at(program, id), "axis", otherwise);
  if (!normalize_axis(program, id, axis, rank)) return false;
  set_int(program, id, "axis", *axis);
  return true;
}

/* The shape in constant operand `operand`, for gradients. */
static bool
asked_shape(Program *program, NodeId id, uint32_t operand, Shape *shape)
{
  const int64_t *dims;
  size_t rank;
  int64_t elements;
  if (!constant_ints(program, operand_id(node_at(program, id), operand), &dims, &rank) || rank > ACTNN_MAX_RANK)
    return report_node(program, id, NULL, "operand %u must be a constant shape", operand);
  *shape = shape_of((int)rank, dims);
  if (!shape_elements(shape, &elements)) return report_node(program, id, NULL, "the asked shape is not possible");
  return true;
}

/* data[..., indices, ...] */
static bool
gathered_shape(Program *program, NodeId id, const Shape *data, const Shape *indices, Shape *shape)
{
  int64_t axis;
  if (!settle_axis(program, id, 0, data->rank, &axis)) return false;
  if (data->rank - 1 + indices->rank > ACTNN_MAX_RANK)
    return report_node(program, id, NULL, "the result's rank would be more than %d", ACTNN_MAX_RANK);
  *shape = (Shape){.rank = 0};
  for (int i = 0; i < axis; i++) shape->dim[shape->rank++] = data->dim[i];
  for (int i = 0; i < indices->rank; i++) shape->dim[shape->rank++] = indices->dim[i];
  for (int i = (int)axis + 1; i < data->rank; i++) shape->dim[shape->rank++] = data->dim[i];
  return true;
}

/* Indices that are known now need not wait for the trainer to be refused. */
static bool
known_indices_fit(Program *program, NodeId id, const Shape *data)
{
  const int64_t *ints;
  size_t count;
  int64_t extent = data->dim[int_attribute(node_at(program, id), "axis", 0)];
  if (!constant_ints(program, operand_id(node_at(program, id), 1), &ints, &count)) return true;
  for (size_t i = 0; i < count; i++)
    if (ints[i] < -extent || ints[i] >= extent)
      return report_node(program, id, NULL, "index %lld is outside [-%lld, %lld)", (long long)ints[i], (long long)extent, (long long)extent);
  return true;
}

bool
infer_gather(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *data = operand_value(program, node, 0), *indices = operand_value(program, node, 1);
  Shape shape;
  return check_indices(program, id, indices) &&
         gathered_shape(program, id, &data->shape, &indices->shape, &shape) && known_indices_fit(program, id, &data->shape) &&
         set_result_type(program, id, 0, data->type, &shape);
}

bool
infer_gather_grad(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *dy = operand_value(program, node, 0), *indices = operand_value(program, node, 1);
  Shape shape, gathered;
  if (!check_indices(program, id, indices) || !asked_shape(program, id, 2, &shape) ||
      !gathered_shape(program, id, &shape, &indices->shape, &gathered))
    return false;
  if (!shape_equal(&gathered, &dy->shape))
    return report_node(program, id, NULL, "operand 0 does not have the gathered shape");
  return set_result_type(program, id, 0, dy->type, &shape);
}

/* Indices pick single elements of `data`: equal ranks, no extent larger apart from that of the axis. */
static bool
check_elements(Program *program, NodeId id, const Shape *data, const Value *indices)
{
  int64_t axis;
  if (!check_indices(program, id, indices) || !settle_axis(program, id, 0, data->rank, &axis)) return false;
  if (indices->shape.rank != data->rank) return report_node(program, id, NULL, "data and indices differ in rank");
  for (int i = 0; i < data->rank; i++)
    if (i != axis && data->dim[i] >= 0 && indices->shape.dim[i] > data->dim[i])
      return report_node(program, id, NULL, "the indices are larger than the data in axis %d", i);
  return true;
}

bool
infer_gather_elements(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *data = operand_value(program, node, 0), *indices = operand_value(program, node, 1);
  return check_elements(program, id, &data->shape, indices) &&
         set_result_type(program, id, 0, data->type, &indices->shape);
}

bool
infer_gather_elements_grad(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *dy = operand_value(program, node, 0), *indices = operand_value(program, node, 1);
  Shape shape;
  if (!asked_shape(program, id, 2, &shape) || !check_elements(program, id, &shape, indices)) return false;
  if (!shape_equal(&dy->shape, &indices->shape))
    return report_node(program, id, NULL, "operand 0 and the indices differ in shape");
  return set_result_type(program, id, 0, dy->type, &shape);
}

/* Shape of data[indices], the last axis of the indices holding positions. */
static bool
gathered_nd_shape(Program *program, NodeId id, const Shape *data, const Value *indices, Shape *shape)
{
  int64_t batch = int_attribute(node_at(program, id), "batch_dims", 0);
  int rank = indices->shape.rank;
  if (!check_indices(program, id, indices)) return false;
  if (rank < 1 || data->rank < 1 || batch < 0 || batch >= rank || batch >= data->rank)
    return report_node(program, id, NULL, "data and indices need at least rank 1 and more than batch_dims");
  int64_t depth = indices->shape.dim[rank - 1];
  if (depth < 0 || depth > data->rank - batch || rank - 1 + data->rank - batch - depth > ACTNN_MAX_RANK)
    return report_node(program, id, NULL, "positions of %lld indices do not fit the data", (long long)depth);
  for (int i = 0; i < batch; i++)
    if (data->dim[i] >= 0 && indices->shape.dim[i] >= 0 && data->dim[i] != indices->shape.dim[i])
      return report_node(program, id, NULL, "data and indices differ in batch axis %d", i);
  *shape = (Shape){.rank = 0};
  for (int i = 0; i < rank - 1; i++) shape->dim[shape->rank++] = indices->shape.dim[i];
  for (int i = (int)(batch + depth); i < data->rank; i++) shape->dim[shape->rank++] = data->dim[i];
  return true;
}

bool
infer_gather_nd(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *data = operand_value(program, node, 0), *indices = operand_value(program, node, 1);
  Shape shape;
  return gathered_nd_shape(program, id, &data->shape, indices, &shape) &&
         set_result_type(program, id, 0, data->type, &shape);
}

bool
infer_gather_nd_grad(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *dy = operand_value(program, node, 0), *indices = operand_value(program, node, 1);
  Shape shape, gathered;
  if (!asked_shape(program, id, 2, &shape) || !gathered_nd_shape(program, id, &shape, indices, &gathered))
    return false;
  if (!shape_equal(&gathered, &dy->shape))
    return report_node(program, id, NULL, "operand 0 does not have the gathered shape");
  return set_result_type(program, id, 0, dy->type, &shape);
}

static bool
check_reduction(Program *program, NodeId id)
{
  static const char *const words[] = {"none", "add", "mul", "max", "min"};
  const char *reduction = string_attribute(node_at(program, id), "reduction", "none");
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (!strcmp(reduction, words[i])) return true;
  return report_node(program, id, NULL, "reduction '%s' is not known", safe_name(program->arena, reduction));
}

bool
infer_scatter_elements(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *data = operand_value(program, node, 0), *indices = operand_value(program, node, 1);
  const Value *updates = operand_value(program, node, 2);
  if (!check_reduction(program, id) || !check_elements(program, id, &data->shape, indices)) return false;
  if (!shape_equal(&updates->shape, &indices->shape) || updates->type != data->type)
    return report_node(program, id, NULL, "updates must have the shape of the indices and the type of the data");
  return set_result_type(program, id, 0, data->type, &data->shape);
}

bool
infer_scatter_nd(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *data = operand_value(program, node, 0), *indices = operand_value(program, node, 1);
  const Value *updates = operand_value(program, node, 2);
  Shape gathered;
  if (!check_reduction(program, id) || !gathered_nd_shape(program, id, &data->shape, indices, &gathered))
    return false;
  if (!shape_equal(&gathered, &updates->shape) || updates->type != data->type)
    return report_node(program, id, NULL, "updates must have the gathered shape and the type of the data");
  return set_result_type(program, id, 0, data->type, &data->shape);
}

bool
infer_scatter_zero(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *dy = operand_value(program, node, 0);
  const char *reduction = string_attribute(node, "reduction", "none");
  if (strcmp(reduction, "none") && strcmp(reduction, "add"))
    return report_node(program, id, "freeze what is before it with --freeze",
                       "scattering with reduction '%s' cannot be differentiated",
                       safe_name(program->arena, reduction));
  const Value *indices = operand_value(program, node, 1);
  Shape gathered;
  bool fits = !strcmp(node->operator_name, "ScatterNDZero") ? gathered_nd_shape(program, id, &dy->shape, indices, &gathered)
                                                            : check_elements(program, id, &dy->shape, indices);
  return fits && set_result_type(program, id, 0, dy->type, &dy->shape);
}

bool
infer_top_k(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  actnn_type type = x->type;
  Shape shape = x->shape;
  int64_t axis;
  const int64_t *k;
  size_t count;
  if (!settle_axis(program, id, -1, shape.rank, &axis)) return false;
  if (!constant_ints(program, operand_id(node, 1), &k, &count) || count != 1 || k[0] < 0 ||
      (shape.dim[axis] >= 0 && k[0] > shape.dim[axis]))
    return report_node(program, id, NULL, "k must be a constant between 0 and the extent of axis %lld",
                       (long long)axis);
  shape.dim[axis] = k[0];
  if (result_id(node, 1) == NO_VALUE) /* the kernel selects in the indices, and the gradient reads them */
    set_result(program, id, 1, add_value(program, NULL, VALUE_TEMPORARY, ACTNN_I64, shape));
  return set_result_type(program, id, 0, type, &shape) && set_result_type(program, id, 1, ACTNN_I64, &shape);
}
