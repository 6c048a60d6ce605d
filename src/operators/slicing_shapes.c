/* slicing_shapes.c: shape rules of operators that cut, pad, repeat, fold or resize axes. Slice and Pad follow
 * slicing.h; Resize leaves its node with one scale and one size for every axis, so that evaluation and
 * gradient see one spelling. */
#include "../operators.h"
#include "slicing.h"

#include <math.h>
#include <string.h>

static const double MOST_RESIZED = 0x1p40; /* elements of an axis */

ShapeRule infer_slice, infer_slice_grad, infer_pad, infer_pad_grad, infer_resize, infer_resize_grad, infer_trilu, infer_tile, infer_depth_to_space,
    infer_space_to_depth;

bool
infer_trilu(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  if (x->shape.rank < 2) return report_node(program, id, NULL, "its operand must have rank 2 or more");
  return set_result_type(program, id, 0, x->type, &x->shape);
}

bool
infer_tile(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0);
  const int64_t *repeats;
  size_t count;
  Shape shape = x->shape;
  if (!constant_ints(program, operand_id(node, 1), &repeats, &count) || count != (size_t)shape.rank)
    return report_node(program, id, NULL, "the repeats must be constant, one for each axis");
  for (int i = 0; i < shape.rank; i++) {
    if (repeats[i] < 0 || (shape.dim[i] > 0 && repeats[i] > INT64_MAX / shape.dim[i]))
      return report_node(program, id, NULL, "%lld repeats of axis %d are not possible", (long long)repeats[i], i);
    if (shape.dim[i] >= 0) shape.dim[i] *= repeats[i];
  }
  return set_result_type(program, id, 0, x->type, &shape);
}

/* Image operand, blocksize and mode of both directions. */
static bool
depth_block(Program *program, NodeId id, const Value **x, int64_t *block)
{
  const Node *node = node_at(program, id);
  const char *mode = string_attribute(node, "mode", "DCR");
  *x = operand_value(program, node, 0);
  *block = int_attribute(node, "blocksize", 0);
  if ((*x)->shape.rank != 4 || *block < 1 || *block > 65536)
    return report_node(program, id, NULL, "it needs an operand of rank 4 and a blocksize of 1 or more");
  if (strcmp(mode, "DCR") && strcmp(mode, "CRD"))
    return report_node(program, id, NULL, "mode '%s' is not known", safe_name(program->arena, mode));
  return true;
}

bool
infer_depth_to_space(Program *program, NodeId id)
{
  const Value *x;
  int64_t block;
  if (!depth_block(program, id, &x, &block)) return false;
  Shape shape = x->shape;
  if (shape.dim[1] >= 0) {
    if (shape.dim[1] % (block * block))
      return report_node(program, id, NULL, "blocksize squared does not divide the channels");
    shape.dim[1] /= block * block;
  }
  for (int i = 2; i < 4; i++) {
    if (shape.dim[i] > INT64_MAX / block) return report_node(program, id, NULL, "the result is too large");
    if (shape.dim[i] >= 0) shape.dim[i] *= block;
  }
  return set_result_type(program, id, 0, x->type, &shape);
}

bool
infer_space_to_depth(Program *program, NodeId id)
{
  const Value *x;
  int64_t block;
  if (!depth_block(program, id, &x, &block)) return false;
  Shape shape = x->shape;
  if (shape.dim[1] > INT64_MAX / (block * block)) return report_node(program, id, NULL, "the result is too large");
  if (shape.dim[1] >= 0) shape.dim[1] *= block * block;
  for (int i = 2; i < 4; i++) {
    if (shape.dim[i] < 0) continue;
    if (shape.dim[i] % block) return report_node(program, id, NULL, "blocksize does not divide axis %d", i);
    shape.dim[i] /= block;
  }
  return set_result_type(program, id, 0, x->type, &shape);
}

/* ---- slicing ------------------------------------------------------------------------------------ */

/* The shape of a slice of `whole`; starts, ends, axes and steps are operands from `first` on. */
static bool
slice_shape(Program *program, NodeId id, const Shape *whole, uint32_t first, Shape *shape)
{
  const Node *node = node_at(program, id);
  const int64_t *part[4];
  size_t count[4];
  bool is_given[4], is_seen[ACTNN_MAX_RANK] = {false};
  for (uint32_t i = 0; i < 4; i++)
    is_given[i] = constant_ints(program, operand_id(node, first + i), &part[i], &count[i]);
  if (!is_given[0] || !is_given[1] || count[1] != count[0] || count[0] > (size_t)whole->rank ||
      (is_given[2] && count[2] != count[0]) || (is_given[3] && count[3] != count[0]))
    return report_node(program, id, NULL, "starts, ends, axes and steps must be constant lists of one length");
  *shape = *whole;
  for (size_t k = 0; k < count[0]; k++) {
    int64_t axis = is_given[2] ? part[2][k] : (int64_t)k, step = is_given[3] ? part[3][k] : 1;
    if (!normalize_axis(program, id, &axis, whole->rank)) return false;
    if (step == 0 || is_seen[axis]) return report_node(program, id, NULL, "a step is 0 or an axis is listed twice");
    is_seen[axis] = true;
    if (whole->dim[axis] >= 0) shape->dim[axis] = slice_range(whole->dim[axis], part[0][k], part[1][k], step).count;
  }
  return true;
}

bool
infer_slice(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  Shape shape;
  return slice_shape(program, id, &x->shape, 1, &shape) && set_result_type(program, id, 0, x->type, &shape);
}

/* The shape that operand 1 asks for. */
static bool
whole_shape(Program *program, NodeId id, Shape *whole)
{
  const int64_t *dims;
  size_t rank;
  int64_t elements;
  if (!constant_ints(program, operand_id(node_at(program, id), 1), &dims, &rank) || rank > ACTNN_MAX_RANK)
    return report_node(program, id, NULL, "the shape must be a constant list of at most %d integers", ACTNN_MAX_RANK);
  *whole = shape_of((int)rank, dims);
  for (size_t i = 0; i < rank; i++)
    if (dims[i] < 0) return report_node(program, id, NULL, "extent %zu of the asked shape is negative", i);
  if (!shape_elements(whole, &elements))
    return report_node(program, id, NULL, "the result would have more elements than can be addressed");
  return true;
}

bool
infer_slice_grad(Program *program, NodeId id)
{
  const Value *dy = operand_value(program, node_at(program, id), 0);
  Shape whole, part;
  if (!whole_shape(program, id, &whole) || !slice_shape(program, id, &whole, 2, &part)) return false;
  if (!shape_equal(&part, &dy->shape))
    return report_node(program, id, NULL, "operand 0 is not a slice of the asked shape");
  return set_result_type(program, id, 0, dy->type, &whole);
}

/* ---- padding ------------------------------------------------------------------------------------ */

/* The shape of `x` once padded; the pads are operand `first`, the axes operand 3. */
static bool
padded_shape(Program *program, NodeId id, const Shape *x, uint32_t first, Shape *padded)
{
  const Node *node = node_at(program, id);
  const char *mode = string_attribute(node, "mode", "constant");
  const int64_t *pads, *axes;
  size_t pad_count, axis_count, rank = (size_t)x->rank;
  bool has_axes = constant_ints(program, operand_id(node, 3), &axes, &axis_count);
  if (!constant_ints(program, operand_id(node, first), &pads, &pad_count) ||
      pad_count != 2 * (has_axes ? axis_count : rank))
    return report_node(program, id, NULL, "the pads must be constant, two for each axis");
  bool is_reflect = !strcmp(mode, "reflect");
  if (!is_reflect && strcmp(mode, "constant") && strcmp(mode, "edge") && strcmp(mode, "wrap"))
    return report_node(program, id, NULL, "mode '%s' is not known", safe_name(program->arena, mode));
  *padded = *x;
  for (size_t k = 0; k < pad_count / 2; k++) {
    int64_t axis = has_axes ? axes[k] : (int64_t)k, begin = pads[k], end = pads[pad_count / 2 + k];
    const int64_t most = (int64_t)1 << 46;
    if (!normalize_axis(program, id, &axis, x->rank)) return false;
    int64_t extent = x->dim[axis];
    if (begin > most || begin < -most || end > most || end < -most || (extent >= 0 && extent + begin + end < 0))
      return report_node(program, id, NULL, "padding axis %lld by %lld and %lld is not possible", (long long)axis,
                         (long long)begin, (long long)end);
    if (extent == 0 && strcmp(mode, "constant"))
      return report_node(program, id, NULL, "axis %lld is empty", (long long)axis);
    if (extent >= 0) padded->dim[axis] = extent + begin + end;
  }
  return true;
}

bool
infer_pad(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  Shape shape;
  return padded_shape(program, id, &x->shape, 1, &shape) && set_result_type(program, id, 0, x->type, &shape);
}

bool
infer_pad_grad(Program *program, NodeId id)
{
  const Value *dy = operand_value(program, node_at(program, id), 0);
  Shape whole, padded;
  if (!whole_shape(program, id, &whole) || !padded_shape(program, id, &whole, 2, &padded)) return false;
  if (!shape_equal(&padded, &dy->shape)) return report_node(program, id, NULL, "operand 0 is not the asked shape padded");
  return set_result_type(program, id, 0, dy->type, &whole);
}

/* ---- resizing ----------------------------------------------------------------------------------- */

static bool
is_one_of(const char *text, const char *const *names)
{
  for (; *names; names++)
    if (!strcmp(text, *names)) return true;
  return false;
}

static bool
check_resize_words(Program *program, NodeId id)
{
  static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
  static const char *const transformations[] = {
      "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
      "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize", NULL};
  static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
  static const char *const policies[] = {"stretch", "not_larger", "not_smaller", NULL};
  const Node *node = node_at(program, id);
  if (!is_one_of(string_attribute(node, "mode", "nearest"), modes) ||
      !is_one_of(string_attribute(node, "coordinate_transformation_mode", "half_pixel"), transformations) ||
      !is_one_of(string_attribute(node, "nearest_mode", "round_prefer_floor"), roundings) ||
      !is_one_of(string_attribute(node, "keep_aspect_ratio_policy", "stretch"), policies))
    return report_node(program, id, NULL, "its mode, coordinate transformation, rounding or policy of aspect ratios is not known");
  if (int_attribute(node, "antialias", 0))
    return report_node(program, id, "export with antialias=0", "antialiased resizing is not supported");
  return true;
}

/* What a Resize asks for, one entry an axis. */
typedef struct ResizePlan {
  int64_t axis[ACTNN_MAX_RANK];
  size_t axis_count;
  double scale[ACTNN_MAX_RANK], roi[2 * ACTNN_MAX_RANK];
  int64_t size[ACTNN_MAX_RANK];
} ResizePlan;

static bool
resize_axes(Program *program, NodeId id, int rank, ResizePlan *plan)
{
  const int64_t *axes;
  plan->axis_count = ints_attribute(node_at(program, id), "axes", &axes);
  if (plan->axis_count > (size_t)rank) return report_node(program, id, NULL, "it lists more axes than there are");
  for (size_t k = 0; k < plan->axis_count; k++) {
    plan->axis[k] = axes[k];
    if (!normalize_axis(program, id, &plan->axis[k], rank)) return false;
  }
  if (!plan->axis_count)
    for (; plan->axis_count < (size_t)rank; plan->axis_count++)
      plan->axis[plan->axis_count] = (int64_t)plan->axis_count;
  return true;
}

/* Fills in scales and sizes from those given. Sizes win; scales beside them are those this rule left here. */
static bool
resize_sizes(Program *program, NodeId id, const Shape *x, ResizePlan *plan)
{
  const Node *node = node_at(program, id);
  const char *policy = string_attribute(node, "keep_aspect_ratio_policy", "stretch");
  Tensor scales, sizes;
  bool has_scales = constant_tensor(program, operand_id(node, 2), program->arena, &scales) &&
                    scales.type == ACTNN_F32 && scales.shape.rank == 1 &&
                    scales.shape.dim[0] == (int64_t)plan->axis_count;
  bool has_sizes = constant_tensor(program, operand_id(node, 3), program->arena, &sizes) &&
                   sizes.type == ACTNN_I64 && sizes.shape.rank == 1 &&
                   sizes.shape.dim[0] == (int64_t)plan->axis_count;
  if (!has_scales && !has_sizes)
    return report_node(program, id, NULL, "scales or sizes must be constant, one for each axis");
  double common = 0;
  for (size_t k = 0; k < plan->axis_count; k++) {
    int64_t axis = plan->axis[k], extent = x->dim[axis];
    double scale = has_scales ? ((double *)scales.data)[k] : 0;
    int64_t size = has_sizes ? ((int64_t *)sizes.data)[k] : 0;
    if (has_sizes && !has_scales) scale = extent > 0 ? (double)size / (double)extent : 1;
    bool is_possible = scale > 0 && scale < 1e9 && (double)extent * scale < MOST_RESIZED;
    if (!is_possible || (has_sizes && (size < 1 || (double)size >= MOST_RESIZED)))
      return report_node(program, id, NULL, "scale or size of axis %lld is not possible", (long long)axis);
    plan->scale[axis] = scale;
    plan->size[axis] = has_sizes ? size : (int64_t)floor((double)extent * scale);
    bool is_nearer = !strcmp(policy, "not_larger") ? scale < common : scale > common;
    if (!k || is_nearer) common = scale;
  }
  if (has_sizes && !has_scales && strcmp(policy, "stretch"))
    for (size_t k = 0; k < plan->axis_count; k++) {
      int64_t axis = plan->axis[k];
      if ((double)x->dim[axis] * common >= MOST_RESIZED)
        return report_node(program, id, NULL, "scale or size of axis %lld is not possible", (long long)axis);
      plan->scale[axis] = common;
      plan->size[axis] = (int64_t)floor((double)x->dim[axis] * common + 0.5);
    }
  return true;
}

static bool
resize_region(Program *program, NodeId id, int rank, ResizePlan *plan)
{
  const Node *node = node_at(program, id);
  Tensor roi;
  int64_t count = 0;
  for (int i = 0; i < rank; i++) plan->roi[rank + i] = 1;
  if (strcmp(string_attribute(node, "coordinate_transformation_mode", "half_pixel"), "tf_crop_and_resize"))
    return true;
  if (!constant_tensor(program, operand_id(node, 1), program->arena, &roi) || roi.type != ACTNN_F32 ||
      !shape_elements(&roi.shape, &count) || count != 2 * (int64_t)plan->axis_count)
    return report_node(program, id, NULL, "its region must be constant, two numbers for each axis");
  for (size_t k = 0; k < plan->axis_count; k++) {
    plan->roi[plan->axis[k]] = ((double *)roi.data)[k];
    plan->roi[rank + plan->axis[k]] = ((double *)roi.data)[plan->axis_count + k];
    if (!isfinite(plan->roi[plan->axis[k]]) || !isfinite(plan->roi[rank + plan->axis[k]]))
      return report_node(program, id, NULL, "its region must be finite numbers");
  }
  return true;
}

bool
infer_resize(Program *program, NodeId id)
{
  const Value *x = operand_value(program, node_at(program, id), 0);
  Shape from = x->shape;
  actnn_type type = x->type;
  int rank = from.rank;
  ResizePlan plan = {.axis_count = 0};
  if (!shape_is_static(&from)) return report_node(program, id, NULL, "the shape of its operand is not known");
  for (int i = 0; i < rank; i++) {
    plan.scale[i] = 1;
    plan.size[i] = from.dim[i];
  }
  if (!check_resize_words(program, id) || !resize_axes(program, id, rank, &plan) ||
      !resize_sizes(program, id, &from, &plan) || !resize_region(program, id, rank, &plan))
    return false;
  for (int i = 0; i < rank; i++)
    if (from.dim[i] == 0 && plan.size[i]) return report_node(program, id, NULL, "axis %d is empty", i);
  int64_t count = rank, twice = 2 * rank;
  Shape shape = shape_of(rank, plan.size);
  ValueId scales =
      add_constant(program, NULL, ACTNN_F64, shape_of(1, &count), plan.scale, (size_t)rank * sizeof(double));
  ValueId roi =
      add_constant(program, NULL, ACTNN_F64, shape_of(1, &twice), plan.roi, 2 * (size_t)rank * sizeof(double));
  set_operand(program, id, 1, roi);
  set_operand(program, id, 2, scales);
  set_operand(program, id, 3, add_int64_constant(program, plan.size, (size_t)rank));
  remove_attribute(program, id, "axes");
  remove_attribute(program, id, "keep_aspect_ratio_policy");
  return set_result_type(program, id, 0, type, &shape);
}

/* As Resize's formula has it: a scale for each axis, and a region where the transformation needs one. */
bool
infer_resize_grad(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *dy = operand_value(program, node, 0);
  const char *transformation = string_attribute(node, "coordinate_transformation_mode", "half_pixel");
  Shape whole;
  Tensor given[2];
  int64_t count = 0;
  if (!check_resize_words(program, id) || !whole_shape(program, id, &whole)) return false;
  if (whole.rank != dy->shape.rank) return report_node(program, id, NULL, "its operand differs in rank from the asked shape");
  for (int i = 0; i < whole.rank; i++)
    if (!whole.dim[i] && dy->shape.dim[i]) return report_node(program, id, NULL, "axis %d is empty", i);
  for (int k = 0; k < 2; k++) {
    bool is_needed = k == 1 || !strcmp(transformation, "tf_crop_and_resize");
    bool is_known = constant_tensor(program, operand_id(node, (uint32_t)(2 + k)), program->arena, &given[k]);
    is_known = is_known && given[k].type == ACTNN_F32 && shape_elements(&given[k].shape, &count) && count == (2 - k) * whole.rank;
    for (int64_t i = 0; is_known && i < count; i++) is_known = isfinite(((double *)given[k].data)[i]) && (!k || ((double *)given[k].data)[i] > 0);
    if (is_needed && !is_known) return report_node(program, id, NULL, "scales or region do not fit");
  }
  return set_result_type(program, id, 0, dy->type, &whole);
}
