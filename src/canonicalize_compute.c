/* canonicalize_compute.c: rewrites into operators that compute the same in the way that training wants:
 * products with products as gradients, pools that keep an offset, a normalization that hands out its
 * statistics. */
#include "canonicalize.h"
#include "rewrite.h"

#include <string.h>

static ValueId
new_temporary(Program *program, actnn_type type)
{
  return add_value(program, NULL, VALUE_TEMPORARY, type, (Shape){.rank = -1});
}

static ValueId
int_list(Program *program, int64_t only)
{
  return add_int64_constant(program, &only, 1);
}

/* ---- products ----------------------------------------------------------------------------------- */

/* factor * value; the constant comes first, since a result takes the type of the last operand */
static ValueId
scaled_before(Program *program, NodeId id, double factor, ValueId value)
{
  if (factor == 1) return value;
  return make_before(program, id, "", "Mul", (ValueId[]){add_scalar_constant(program, factor), value}, 2);
}

/* alpha a b + beta c: a bias vector is the product's own, anything else is added. */
bool
rewrite_gemm(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  double alpha = float_attribute(&node, "alpha", 1), beta = float_attribute(&node, "beta", 1);
  int64_t transposes_a = int_attribute(&node, "transA", 0) != 0,
          transposes_b = int_attribute(&node, "transB", 0) != 0;
  ValueId a = operand_id(&node, 0), b = operand_id(&node, 1), c = operand_id(&node, 2);
  if (a == NO_VALUE || b == NO_VALUE || value_at(program, a)->shape.rank != 2 ||
      value_at(program, b)->shape.rank != 2)
    return report_node(program, id, NULL, "both factors must be matrices");
  int64_t columns = value_at(program, b)->shape.dim[transposes_b ? 0 : 1];
  if (beta == 0) c = NO_VALUE;
  bool is_bias = c != NO_VALUE && alpha == 1 && value_at(program, c)->shape.rank == 1 &&
                 value_at(program, c)->shape.dim[0] == columns;
  if (c != NO_VALUE) c = scaled_before(program, id, beta, c);
  if (transposes_a) {
    a = make_before(program, id, "", "Transpose", &a, 1);
    set_ints(program, maker_of(program, a), "perm", (int64_t[]){1, 0}, 2);
  }
  drop_attributes(program, id, "alpha", "beta", "transA", "transB", "broadcast", NULL);
  ValueId factors[3] = {a, b, c};
  if (alpha == 1 && (is_bias || c == NO_VALUE)) {
    become(program, id, "actnn", "Product", factors, is_bias ? 3 : 2);
    set_int(program, id, "transB", transposes_b);
    return true;
  }
  ValueId product = make_before(program, id, "actnn", "Product", factors, 2);
  set_int(program, maker_of(program, product), "transB", transposes_b);
  if (c == NO_VALUE) {
    become(program, id, "", "Mul", (ValueId[]){add_scalar_constant(program, alpha), product}, 2);
  } else {
    product = scaled_before(program, id, alpha, product);
    become(program, id, "", "Add", (ValueId[]){product, c}, 2);
  }
  return true;
}

/* A vector on the left is one row, on the right one column; that axis is then taken out again. */
bool
rewrite_matmul(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  ValueId a = operand_id(&node, 0), b = operand_id(&node, 1);
  if (a == NO_VALUE || b == NO_VALUE) return report_node(program, id, NULL, "an operand is missing");
  int rank_a = value_at(program, a)->shape.rank, rank_b = value_at(program, b)->shape.rank;
  if (!is_floating_value(value_at(program, a)) || rank_a < 1 || rank_b < 1) return true;
  bool adds_row = rank_a == 1 && rank_b != 2, adds_column = rank_b == 1;
  if (adds_row) a = make_before(program, id, "", "Unsqueeze", (ValueId[]){a, int_list(program, 0)}, 2);
  if (adds_column) b = make_before(program, id, "", "Unsqueeze", (ValueId[]){b, int_list(program, 1)}, 2);
  if (!adds_row && !adds_column) {
    become(program, id, "actnn", "Product", (ValueId[]){a, b}, 2);
    return true;
  }
  ValueId product = make_before(program, id, "actnn", "Product", (ValueId[]){a, b}, 2);
  int64_t axes[2];
  size_t count = 0;
  if (adds_row) axes[count++] = -2;
  if (adds_column) axes[count++] = -1;
  become(program, id, "", "Squeeze", (ValueId[]){product, add_int64_constant(program, axes, count)}, 2);
  return true;
}

/* The result of Pow has the type of its base: an exponent of another type is cast. */
bool
rewrite_power(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  const Value *base = operand_value(program, &node, 0), *exponent = operand_value(program, &node, 1);
  if (!base || !exponent || base->type == exponent->type) return true;
  ValueId operands[2] = {operand_id(&node, 0), operand_id(&node, 1)};
  actnn_type type = base->type;
  bool is_integer_root = !is_floating_value(base) && is_floating_value(exponent);
  int cast = is_integer_root ? 0 : 1;
  int64_t to = is_integer_root ? exponent->type : type;
  operands[cast] = make_before(program, id, "", "Cast", &operands[cast], 1);
  set_int(program, maker_of(program, operands[cast]), "to", to);
  if (!is_integer_root) {
    become(program, id, "", "Pow", operands, 2);
    return true;
  }
  ValueId power = make_before(program, id, "", "Pow", operands, 2);
  become(program, id, "", "Cast", &power, 1);
  set_int(program, id, "to", type);
  return true;
}

/* Sum, Mean, Max and Min of any number of operands, two at a time. */
bool
rewrite_variadic(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  bool is_mean = !strcmp(node.operator_name, "Mean");
  const char *pair = is_mean || !strcmp(node.operator_name, "Sum") ? "Add"
                     : !strcmp(node.operator_name, "Max")          ? "Max"
                                                                   : "Min";
  if (node.operand_count == 0) return report_node(program, id, NULL, "it needs at least one operand");
  for (uint32_t i = 0; i < node.operand_count; i++)
    if (node.operands[i] == NO_VALUE) return report_node(program, id, NULL, "operand %u is missing", i);
  if (node.operand_count == 2 && !strcmp(node.operator_name, pair)) return true;
  if (node.operand_count == 1) {
    become(program, id, "", "Identity", node.operands, 1);
    return true;
  }
  ValueId so_far = node.operands[0];
  for (uint32_t i = 1; i + 1 < node.operand_count; i++)
    so_far = make_before(program, id, "", pair, (ValueId[]){so_far, node.operands[i]}, 2);
  ValueId operands[2] = {so_far, node.operands[node.operand_count - 1]};
  if (is_mean) {
    operands[1] = make_before(program, id, "", "Add", operands, 2);
    operands[0] = add_scalar_constant(program, 1.0 / node.operand_count);
  }
  become(program, id, "",
         is_mean                    ? "Mul"
         : strcmp(pair, "Add") == 0 ? "Add"
         : pair[1] == 'a'           ? "Max"
                                    : "Min",
         operands, 2);
  return true;
}

/* ---- softmax ------------------------------------------------------------------------------------ */

/* Before opset 13, softmax is over all axes from `axis` (default 1) on, taken as one. */
bool
rewrite_softmax(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  const Value *x = operand_value(program, &node, 0);
  int64_t version = opset_version(program, "");
  if (version == 0 || version >= 13 || !x) return true;
  int rank = x->shape.rank;
  int64_t axis = int_attribute(&node, "axis", 1), elements;
  if (axis == rank && rank > 0)
    return report_node(program, id, NULL, "axis %lld is the rank of its operand", (long long)axis);
  if (!normalize_axis(program, id, &axis, rank)) return false;
  if (axis == rank - 1) {
    set_int(program, id, "axis", -1);
    return true;
  }
  Shape shape = x->shape;
  if (!shape_elements(&shape, &elements))
    return report_node(program, id, NULL, "the shape of its operand is not known");
  int64_t flat[2] = {1, 1};
  for (int i = 0; i < rank; i++) flat[i >= axis] *= shape.dim[i];
  ValueId matrix = make_before(program, id, "", "Reshape",
                               (ValueId[]){operand_id(&node, 0), add_int64_constant(program, flat, 2)}, 2);
  set_int(program, maker_of(program, matrix), "allowzero", 1);
  ValueId result = make_before(program, id, "", node.operator_name, &matrix, 1);
  set_int(program, maker_of(program, result), "axis", -1);
  remove_attribute(program, id, "axis");
  become(program, id, "", "Reshape", (ValueId[]){result, add_int64_constant(program, shape.dim, (size_t)rank)}, 2);
  set_int(program, id, "allowzero", 1);
  return true;
}

/* ---- normalization ------------------------------------------------------------------------------ */

/* Running statistics are state, whatever the mode: no gradient reaches them. */
static bool
become_state(Program *program, ValueId id)
{
  if (id == NO_VALUE) return false;
  Value *value = value_at(program, id);
  if (value->kind == VALUE_PARAMETER) {
    value->kind = VALUE_STATE;
    value->is_frozen = false; /* said of parameters: a state is not trained, and moves all the same */
  }
  return value->kind == VALUE_STATE;
}

bool
rewrite_batch_normalization(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  int64_t version = opset_version(program, "");
  bool trains = int_attribute(&node, "training_mode", 0) != 0;
  if (version > 0 && version < 14)
    trains |= result_id(&node, 1) != NO_VALUE; /* asking for statistics meant training */
  if (version < 9 && int_attribute(&node, "spatial", 1) == 0)
    return report_node(program, id, "export with opset 9 or later",
                       "normalization without spatial=1 is not supported");
  bool updates[2] = {become_state(program, operand_id(&node, 3)), become_state(program, operand_id(&node, 4))};
  drop_attributes(program, id, "spatial", NULL);
  if (!trains) return true;
  become(program, id, "actnn", "BatchNorm", node.operands, node.operand_count);
  drop_attributes(program, id, "training_mode", NULL);
  for (uint32_t i = 1; i < 5; i++) {
    if (i > 2 || result_id(&node, i) == NO_VALUE) set_result(program, id, i, new_temporary(program, ACTNN_F32));
  }
  for (uint32_t i = 0; i < 2; i++)
    if (updates[i]) value_at(program, result_id(node_at(program, id), i + 1))->updates = operand_id(&node, i + 3);
  return true;
}

/* Before opset 21 scale and bias had one entry a group: each is repeated for the channels of its group. */
bool
rewrite_group_normalization(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  int64_t groups = int_attribute(&node, "num_groups", 1);
  const Value *x = operand_value(program, &node, 0);
  int64_t channels = x && x->shape.rank >= 2 ? x->shape.dim[1] : -1;
  if (channels < 1 || groups < 1 || channels % groups || channels == groups) return true;
  int64_t column[2] = {groups, 1}, table[2] = {groups, channels / groups};
  for (uint32_t i = 1; i < 3; i++) {
    const Value *value = operand_value(program, &node, i);
    if (!value || value->shape.rank != 1 || value->shape.dim[0] != groups) continue;
    ValueId made = make_before(program, id, "", "Reshape",
                               (ValueId[]){operand_id(&node, i), add_int64_constant(program, column, 2)}, 2);
    made = make_before(program, id, "", "Expand", (ValueId[]){made, add_int64_constant(program, table, 2)}, 2);
    made = make_before(program, id, "", "Reshape", (ValueId[]){made, int_list(program, channels)}, 2);
    set_operand(program, id, i, made);
  }
  return true;
}

/* ---- pools and resizing ------------------------------------------------------------------------- */

/* Without Indices, the place of the largest element is kept as one byte within its window. */
bool
rewrite_max_pool(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  const int64_t *kernel;
  size_t count = ints_attribute(&node, "kernel_shape", &kernel);
  int64_t window = 1;
  for (size_t i = 0; i < count && window <= 256; i++) window *= kernel[i] > 0 && kernel[i] <= 256 ? kernel[i] : 257;
  if (result_id(&node, 1) != NO_VALUE || !is_floating_value(operand_value(program, &node, 0)) || window > 256)
    return true;
  become(program, id, "actnn", "MaxPoolWithOffset", node.operands, node.operand_count);
  set_result(program, id, 1, new_temporary(program, ACTNN_U8));
  remove_attribute(program, id, "storage_order");
  return true;
}

bool
rewrite_global_max_pool(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  const Value *x = operand_value(program, &node, 0);
  if (!x || x->shape.rank < 3) return report_node(program, id, NULL, "its operand must have rank 3 or more");
  int64_t axes[ACTNN_MAX_RANK];
  size_t count = 0;
  for (int axis = 2; axis < x->shape.rank; axis++) axes[count++] = axis;
  become(program, id, "", "ReduceMax", (ValueId[]){operand_id(&node, 0), add_int64_constant(program, axes, count)},
         2);
  set_int(program, id, "keepdims", 1);
  return true;
}

static void
become_old_resize(Program *program, NodeId id, ValueId x, ValueId scales)
{
  become(program, id, "", "Resize", (ValueId[]){x, NO_VALUE, scales}, 3);
  set_string(program, id, "coordinate_transformation_mode", "asymmetric");
  set_string(program, id, "nearest_mode", "floor");
}

/* Resize of opset 10: data and scales, as Upsample. */
bool
rewrite_resize(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  int64_t version = opset_version(program, "");
  if (version == 10 && node.operand_count == 2)
    become_old_resize(program, id, operand_id(&node, 0), operand_id(&node, 1));
  return true;
}

bool
rewrite_upsample(Program *program, NodeId id)
{
  Node node = *node_at(program, id);
  const Attribute *given = find_attribute(&node, "scales");
  ValueId scales = operand_id(&node, 1);
  if (scales == NO_VALUE && given && given->kind == ATTRIBUTE_FLOATS) {
    int64_t count = (int64_t)given->count;
    scales =
        add_constant(program, NULL, ACTNN_F64, shape_of(1, &count), given->floats, given->count * sizeof(double));
  }
  const char *mode = string_attribute(&node, "mode", "nearest");
  remove_attribute(program, id, "scales");
  become_old_resize(program, id, operand_id(&node, 0), scales);
  if (!strcmp(mode, "bilinear")) set_string(program, id, "mode", "linear");
  return true;
}
