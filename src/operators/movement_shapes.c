/* movement_shapes.c: shape rules of movement.def, apart from those in slicing_shapes.c. Extents that a model
 * asks for are checked here, before anything is sized by them. */
#include "../operators.h"

#include <math.h>
#include <string.h>

ShapeRule infer_reshape, infer_flatten, infer_squeeze, infer_unsqueeze, infer_transpose, infer_transpose_inverse,
    infer_concat, infer_concat_part, infer_slice_back, infer_tile_grad, infer_pack_triangle, infer_unpack_triangle, infer_split, infer_expand, infer_cast, infer_constant,
    infer_constant_of_shape, infer_shape, infer_size, infer_range, infer_eye_like, infer_one_hot;

/* A shape given by a constant operand, checked. */
static bool
shape_from_constant(Program *program, NodeId id, uint32_t operand, Shape *shape)
{
  const int64_t *dims;
  size_t rank;
  int64_t elements;
  if (!constant_ints(program, operand_id(node_at(program, id), operand), &dims, &rank))
    return report_node(program, id, NULL, "operand %u must be a constant list of integers", operand);
  if (rank > ACTNN_MAX_RANK)
    return report_node(program, id, NULL, "the result would have rank %zu, at most %d is supported", rank,
                       ACTNN_MAX_RANK);
  *shape = shape_of((int)rank, dims);
  for (size_t i = 0; i < rank; i++)
    if (dims[i] < 0) return report_node(program, id, NULL, "extent %zu of the asked shape is negative", i);
  if (!shape_elements(shape, &elements))
    return report_node(program, id, NULL, "the result would have more elements than can be addressed");
  return true;
}

bool
infer_tile_grad(Program *program, NodeId id)
{
  Shape shape;
  const Value *dy = operand_value(program, node_at(program, id), 0);
  if (!shape_from_constant(program, id, 1, &shape)) return false;
  bool fits = shape.rank == dy->shape.rank;
  for (int i = 0; fits && i < shape.rank; i++)
    fits = shape.dim[i] ? dy->shape.dim[i] % shape.dim[i] == 0 : dy->shape.dim[i] == 0;
  if (!fits) return report_node(program, id, NULL, "its operand is no repetition of the asked shape");
  return set_result_type(program, id, 0, dy->type, &shape);
}

/* `part` has the extents of `whole` but on `axis`, where it lies inside, `start` elements from its beginning. */
static bool
is_part(const Shape *part, const Shape *whole, int64_t axis, int64_t start)
{
  if (part->rank != whole->rank || start < 0) return false;
  for (int i = 0; i < whole->rank; i++)
    if (i == axis ? start > whole->dim[i] - part->dim[i] : part->dim[i] != whole->dim[i]) return false;
  return true;
}

bool
infer_slice_back(Program *program, NodeId id)
{
  Shape shape;
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  int64_t axis = int_attribute(node, "axis", 0), start = int_attribute(node, "start", 0);
  if (!shape_from_constant(program, id, 1, &shape) || !normalize_axis(program, id, &axis, shape.rank)) return false;
  if (!is_part(&x->shape, &shape, axis, start)) return report_node(program, id, NULL, "its operand is no part of the asked shape");
  set_int(program, id, "axis", axis);
  return set_result_type(program, id, 0, x->type, &shape);
}

/* Product of the extents that are known; false when it is too large. */
static bool
known_product(const Shape *shape, int64_t *product, int *unknown)
{
  Shape known = *shape;
  *unknown = 0;
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dim[i] >= 0) continue;
    known.dim[i] = 1;
    ++*unknown;
  }
  return shape_elements(&known, product);
}

bool
infer_reshape(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  const int64_t *asked;
  size_t rank;
  int guessed = -1, unknown;
  bool keeps_zero = int_attribute(node, "allowzero", 0) != 0;
  int64_t elements, product;
  if (!constant_ints(program, operand_id(node, 1), &asked, &rank) || rank > ACTNN_MAX_RANK)
    return report_node(program, id, NULL, "the shape must be a constant list of at most %d integers",
                       ACTNN_MAX_RANK);
  Shape shape = shape_of((int)rank, asked);
  for (int i = 0; i < (int)rank; i++) {
    if (asked[i] < -1 || (asked[i] == -1 && guessed >= 0) || (asked[i] == 0 && !keeps_zero && i >= x->shape.rank))
      return report_node(program, id, NULL, "extent %d of the shape, %lld, makes no sense here", i,
                         (long long)asked[i]);
    if (asked[i] == 0 && !keeps_zero) shape.dim[i] = x->shape.dim[i];
    if (asked[i] == -1) guessed = i;
  }
  if (guessed >= 0) shape.dim[guessed] = 1;
  if (!shape_elements(&x->shape, &elements)) {
    if (!known_product(&x->shape, &elements, &unknown))
      return report_node(program, id, NULL, "the operand has more elements than can be addressed");
    if (guessed >= 0) shape.dim[guessed] = DIM_UNKNOWN;
    return set_result_type(program, id, 0, x->type, &shape);
  }
  if (!shape_elements(&shape, &product))
    return report_node(program, id, NULL, "the result would have more elements than can be addressed");
  if (guessed >= 0 && product > 0 && elements % product == 0) shape.dim[guessed] = elements / product;
  if (guessed >= 0 && product == 0) shape.dim[guessed] = 0;
  if (!shape_elements(&shape, &product) || product != elements)
    return report_node(program, id, NULL, "%lld elements do not fit %s", (long long)elements,
                       shape_text(program->arena, x->type, &shape));
  return set_result_type(program, id, 0, x->type, &shape);
}

/* The shape of the packed triangles of a tensor; false when its last two axes are no squares. */
static bool
packed_shape(const Shape *full, Shape *packed)
{
  if (full->rank < 2 || full->dim[full->rank - 1] != full->dim[full->rank - 2]) return false;
  int64_t extent = full->dim[full->rank - 1];
  if (extent < 0 || extent > INT32_MAX) return false;
  *packed = *full;
  packed->rank--;
  packed->dim[packed->rank - 1] = extent * (extent + 1) / 2;
  return true;
}

bool
infer_pack_triangle(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  Shape packed;
  if (!packed_shape(&x->shape, &packed)) return report_node(program, id, NULL, "the last two axes are not known to be of equal extent");
  return set_result_type(program, id, 0, x->type, &packed);
}

bool
infer_unpack_triangle(Program *program, NodeId id)
{
  const Value *packed = operand_value(program, node_at(program, id), 0);
  Shape full, expected;
  if (!shape_from_constant(program, id, 1, &full)) return false;
  if (!packed_shape(&full, &expected) || !shape_equal(&expected, &packed->shape))
    return report_node(program, id, NULL, "the operand is not the packed triangles of the asked shape");
  return set_result_type(program, id, 0, packed->type, &full);
}

bool
infer_flatten(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  int64_t axis = int_attribute(node, "axis", 1);
  int rank = x->shape.rank, unknown;
  if (axis < -rank || axis > rank)
    return report_node(program, id, NULL, "axis %lld is outside [-%d, %d]", (long long)axis, rank, rank);
  if (axis < 0) axis += rank;
  Shape half[2] = {{.rank = (int)axis}, {.rank = rank - (int)axis}}, shape = {.rank = 2};
  memcpy(half[0].dim, x->shape.dim, (size_t)half[0].rank * sizeof(int64_t));
  memcpy(half[1].dim, x->shape.dim + axis, (size_t)half[1].rank * sizeof(int64_t));
  for (int i = 0; i < 2; i++) {
    if (!known_product(&half[i], &shape.dim[i], &unknown))
      return report_node(program, id, NULL, "the operand has more elements than can be addressed");
    if (unknown) shape.dim[i] = DIM_UNKNOWN;
  }
  return set_result_type(program, id, 0, x->type, &shape);
}

/* Marks the axes that operand 1 lists, of a tensor of rank `rank`. */
static bool
mark_axes(Program *program, NodeId id, int rank, bool *is_marked)
{
  const int64_t *axes;
  size_t count;
  if (!constant_ints(program, operand_id(node_at(program, id), 1), &axes, &count))
    return report_node(program, id, NULL, "the axes must be a constant list of integers");
  for (size_t i = 0; i < count; i++) {
    int64_t axis = axes[i];
    if (!normalize_axis(program, id, &axis, rank)) return false;
    if (is_marked[axis]) return report_node(program, id, NULL, "axis %lld is listed twice", (long long)axis);
    is_marked[axis] = true;
  }
  return true;
}

bool
infer_squeeze(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  bool is_removed[ACTNN_MAX_RANK] = {false};
  Shape shape = {.rank = 0};
  if (operand_id(node, 1) != NO_VALUE) {
    if (!mark_axes(program, id, x->shape.rank, is_removed)) return false;
  } else {
    for (int i = 0; i < x->shape.rank; i++) is_removed[i] = x->shape.dim[i] == 1;
  }
  for (int i = 0; i < x->shape.rank; i++) {
    if (!is_removed[i]) shape.dim[shape.rank++] = x->shape.dim[i];
    else if (x->shape.dim[i] > 1 || x->shape.dim[i] == 0)
      return report_node(program, id, NULL, "axis %d has %lld elements, not 1", i, (long long)x->shape.dim[i]);
  }
  return set_result_type(program, id, 0, x->type, &shape);
}

bool
infer_unsqueeze(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  const int64_t *axes;
  size_t count = 0;
  bool is_added[ACTNN_MAX_RANK] = {false};
  if (!constant_ints(program, operand_id(node, 1), &axes, &count) ||
      count > (size_t)(ACTNN_MAX_RANK - x->shape.rank))
    return report_node(program, id, NULL, "the axes must be constant and the result's rank at most %d",
                       ACTNN_MAX_RANK);
  Shape shape = {.rank = x->shape.rank + (int)count};
  if (!mark_axes(program, id, shape.rank, is_added)) return false;
  for (int i = 0, from = 0; i < shape.rank; i++) shape.dim[i] = is_added[i] ? 1 : x->shape.dim[from++];
  return set_result_type(program, id, 0, x->type, &shape);
}

/* Writes out the permutation (default: reversed) and checks it. */
static bool
permutation(Program *program, NodeId id, int rank, int64_t *perm)
{
  const int64_t *given;
  bool is_seen[ACTNN_MAX_RANK] = {false};
  size_t count = ints_attribute(node_at(program, id), "perm", &given);
  if (!find_attribute(node_at(program, id), "perm")) {
    for (int i = 0; i < rank; i++) perm[i] = rank - 1 - i;
    set_ints(program, id, "perm", perm, (size_t)rank);
    return true;
  }
  if (count != (size_t)rank) return report_node(program, id, NULL, "perm has %zu entries for rank %d", count, rank);
  for (int i = 0; i < rank; i++) {
    perm[i] = given[i];
    if (!normalize_axis(program, id, &perm[i], rank)) return false;
    if (is_seen[perm[i]]) return report_node(program, id, NULL, "perm lists axis %lld twice", (long long)perm[i]);
    is_seen[perm[i]] = true;
  }
  set_ints(program, id, "perm", perm, (size_t)rank);
  return true;
}

bool
infer_transpose(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  int64_t perm[ACTNN_MAX_RANK];
  Shape shape = {.rank = x->shape.rank};
  if (!permutation(program, id, x->shape.rank, perm)) return false;
  for (int i = 0; i < shape.rank; i++) shape.dim[i] = x->shape.dim[perm[i]];
  return set_result_type(program, id, 0, x->type, &shape);
}

bool
infer_transpose_inverse(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  int64_t perm[ACTNN_MAX_RANK];
  Shape shape = {.rank = x->shape.rank};
  if (!permutation(program, id, x->shape.rank, perm)) return false;
  for (int i = 0; i < shape.rank; i++) shape.dim[perm[i]] = x->shape.dim[i];
  return set_result_type(program, id, 0, x->type, &shape);
}

bool
infer_concat(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *first = operand_value(program, node, 0);
  if (!first) return report_node(program, id, NULL, "it needs at least one operand");
  if (!find_attribute(node, "axis") && opset_version(program, "") >= 4)
    return report_node(program, id, NULL, "attribute 'axis' is missing");
  int64_t axis = int_attribute(node, "axis", 1);
  Shape shape = first->shape;
  if (!normalize_axis(program, id, &axis, shape.rank)) return false;
  for (uint32_t i = 1; i < node->operand_count; i++) {
    const Value *x = operand_value(program, node, i);
    if (!x || x->shape.rank != shape.rank) return report_node(program, id, NULL, "operand %u has another rank", i);
    for (int d = 0; d < shape.rank; d++) {
      int64_t *made = &shape.dim[d], more = x->shape.dim[d];
      if (d == axis && *made >= 0) {
        if (more > INT64_MAX - *made) return report_node(program, id, NULL, "the result is too large");
        *made = more < 0 ? DIM_UNKNOWN : *made + more;
      } else if (d != axis && *made < 0) {
        *made = more;
      } else if (d != axis && more >= 0 && more != *made) {
        return report_node(program, id, NULL, "operand %u differs from the first in axis %d", i, d);
      }
    }
  }
  set_int(program, id, "axis", axis);
  return set_result_type(program, id, 0, first->type, &shape);
}

bool
infer_concat_part(Program *program, NodeId id)
{
  Shape shape;
  const Node *node = node_at(program, id);
  const Value *dy = operand_value(program, node, 0);
  int64_t axis = int_attribute(node, "axis", 0), start = int_attribute(node, "start", 0);
  if (!shape_from_constant(program, id, 1, &shape) || !normalize_axis(program, id, &axis, shape.rank)) return false;
  if (!is_part(&shape, &dy->shape, axis, start))
    return report_node(program, id, NULL, "the part does not lie inside its operand");
  set_int(program, id, "axis", axis);
  return set_result_type(program, id, 0, dy->type, &shape);
}

bool
infer_split(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  const int64_t *given = NULL;
  size_t count = 0;
  uint32_t parts = node->result_count;
  int64_t axis = int_attribute(node, "axis", 0), sum = 0;
  if (!normalize_axis(program, id, &axis, x->shape.rank)) return false;
  int64_t extent = x->shape.dim[axis];
  bool is_given = constant_ints(program, operand_id(node, 1), &given, &count);
  if (is_given && count != parts) return report_node(program, id, NULL, "%zu extents for %u results", count, parts);
  if (!is_given && extent < 0)
    return report_node(program, id, NULL, "the extent of axis %lld is not known", (long long)axis);
  if (!parts) return report_node(program, id, NULL, "it has no results");
  int64_t each = is_given ? 0 : (extent + parts - 1) / parts;
  int64_t *extents = arena_array(program->arena, parts, sizeof *extents);
  for (uint32_t i = 0; i < parts; i++) {
    int64_t left = extent - sum;
    extents[i] = is_given ? given[i] : left < each ? left : each;
    if (extents[i] < 0 || extents[i] > (int64_t)1 << 47 || (extent >= 0 && extents[i] > left))
      return report_node(program, id, NULL, "the extents do not add up to %lld", (long long)extent);
    sum += extents[i];
  }
  if (extent >= 0 && sum != extent)
    return report_node(program, id, NULL, "the extents do not add up to %lld", (long long)extent);
  set_int(program, id, "axis", axis);
  actnn_type type = x->type;
  Shape shape = x->shape;
  if (!is_given) set_operand(program, id, 1, add_int64_constant(program, extents, parts));
  for (uint32_t i = 0; i < parts; i++) {
    shape.dim[axis] = extents[i];
    if (!set_result_type(program, id, i, type, &shape)) return false;
  }
  return true;
}

bool
infer_expand(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  Shape asked, shape;
  if (!shape_from_constant(program, id, 1, &asked)) return false;
  if (!shape_broadcast(&x->shape, &asked, &shape))
    return report_node(program, id, NULL, "%s does not expand to %s",
                       shape_text(program->arena, x->type, &x->shape), shape_text(program->arena, x->type, &asked));
  return set_result_type(program, id, 0, x->type, &shape);
}

/* A numeric element type given as an attribute. */
static bool
checked_type(Program *program, NodeId id, int64_t type)
{
  if (type > 0 && type <= ACTNN_BF16 && type_bytes((actnn_type)type)) return true;
  return report_node(program, id, NULL, "element type %lld is not supported", (long long)type);
}

bool
infer_cast(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  actnn_type type = x->type;
  Shape shape = x->shape;
  int64_t to = int_attribute(node, "to", 0);
  if (!checked_type(program, id, to)) return false;
  set_int(program, id, "from", type);
  return set_result_type(program, id, 0, (actnn_type)to, &shape);
}

/* ---- constants ---------------------------------------------------------------------------------- */

bool
infer_constant(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Attribute *a = find_attribute(node, "value");
  if (a && a->kind == ATTRIBUTE_TENSOR && a->tensor != NO_VALUE) {
    const Value *value = value_at(program, a->tensor);
    return set_result_type(program, id, 0, value->type, &value->shape);
  }
  static const char *const names[] = {"value_int", "value_float", "value_ints", "value_floats"};
  for (int i = 0; i < 4; i++) {
    if (!(a = find_attribute(node, names[i]))) continue;
    int64_t dim = (int64_t)a->count;
    Shape shape = i < 2 ? shape_of(0, NULL) : shape_of(1, &dim);
    return set_result_type(program, id, 0, i % 2 ? ACTNN_F32 : ACTNN_I64, &shape);
  }
  return report_node(program, id, NULL, "it holds no number or list of numbers");
}

bool
infer_constant_of_shape(Program *program, NodeId id)
{
  const Attribute *a = find_attribute(node_at(program, id), "value");
  actnn_type type = ACTNN_F32;
  Shape shape;
  if (a && a->tensor != NO_VALUE) {
    const Value *value = value_at(program, a->tensor);
    int64_t count;
    if (!shape_elements(&value->shape, &count) || count != 1)
      return report_node(program, id, NULL, "attribute 'value' must hold one element");
    type = value->type;
  }
  return shape_from_constant(program, id, 0, &shape) && set_result_type(program, id, 0, type, &shape);
}

bool
infer_shape(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  int rank = operand_value(program, node, 0)->shape.rank;
  int64_t start = int_attribute(node, "start", 0), end = int_attribute(node, "end", rank);
  if (start < 0) start = start < -rank ? 0 : start + rank;
  if (end < 0) end = end < -rank ? 0 : end + rank;
  if (start > rank) start = rank;
  if (end > rank) end = rank;
  int64_t dim = end > start ? end - start : 0;
  set_int(program, id, "start", start);
  set_int(program, id, "end", start + dim);
  Shape shape = shape_of(1, &dim);
  return set_result_type(program, id, 0, ACTNN_I64, &shape);
}

bool
infer_size(Program *program, NodeId id)
{
  Shape shape = {.rank = 0};
  return set_result_type(program, id, 0, ACTNN_I64, &shape);
}

bool
infer_range(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  double bound[3];
  for (uint32_t i = 0; i < 3; i++)
    if (!constant_real(program, operand_id(node, i), &bound[i]))
      return report_node(program, id, NULL, "start, limit and delta must be constant scalars");
  double count = ceil((bound[1] - bound[0]) / bound[2]);
  if (bound[2] == 0 || count != count || count > 1e14)
    return report_node(program, id, NULL, "a step of %g does not lead from %g to %g", bound[2], bound[0], bound[1]);
  int64_t dim = count > 0 ? (int64_t)count : 0;
  Shape shape = shape_of(1, &dim);
  return set_result_type(program, id, 0, operand_value(program, node, 0)->type, &shape);
}

bool
infer_eye_like(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  int64_t type = int_attribute(node, "dtype", x->type);
  Shape shape = x->shape;
  if (shape.rank != 2) return report_node(program, id, NULL, "its operand must have rank 2");
  return checked_type(program, id, type) && set_result_type(program, id, 0, (actnn_type)type, &shape);
}

bool
infer_one_hot(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *indices = operand_value(program, node, 0), *values = operand_value(program, node, 2);
  double depth;
  int64_t axis = int_attribute(node, "axis", -1);
  if (!constant_real(program, operand_id(node, 1), &depth) || !(depth >= 1 && depth < 1e14))
    return report_node(program, id, NULL, "the depth must be a constant of 1 or more");
  if (indices->shape.rank >= ACTNN_MAX_RANK || values->data_bytes != 2 * type_bytes(values->type))
    return report_node(program, id, NULL, "it needs two values and indices of rank %d or less", ACTNN_MAX_RANK - 1);
  Shape shape = {.rank = indices->shape.rank + 1};
  if (!normalize_axis(program, id, &axis, shape.rank)) return false;
  for (int i = 0, from = 0; i < shape.rank; i++)
    shape.dim[i] = i == axis ? (int64_t)depth : indices->shape.dim[from++];
  actnn_type type = values->type;
  set_int(program, id, "axis", axis);
  return set_result_type(program, id, 0, type, &shape);
}
