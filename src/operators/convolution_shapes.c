/* convolution_shapes.c: shape rules of convolutions, their gradients and transposed convolutions. */
#include "window_shapes.h"

#include <string.h>

ShapeRule infer_Conv, infer_ConvGradInput, infer_ConvGradWeight, infer_ConvTranspose, infer_ChannelSum;

/* Groups, ranks and channels: x [N, C, ...], w [first, second, ...]. For a convolution first are the filters and C is
 * second * group; for a transposed one first is C. */
static bool
check_channels(Program *program, NodeId id, const Shape *x, const Shape *w, int64_t channels)
{
  int64_t group = int_attribute(node_at(program, id), "group", 1);
  if (w->rank != x->rank)
    return report_node(program, id, NULL, "the weight has rank %d where the image has rank %d", w->rank, x->rank);
  for (int i = 0; i < w->rank; i++)
    if (w->dim[i] < 1 || w->dim[i] >= (int64_t)1 << 40)
      return report_node(program, id, NULL, "the weight has an extent of %lld on axis %d", (long long)w->dim[i], i);
  if (x->rank < 3) return true; /* read_window says so */
  if (group < 1 || w->dim[0] % group)
    return report_node(program, id, NULL, "group=%lld does not divide the %lld of the weight's first axis",
                       (long long)group, (long long)w->dim[0]);
  if (x->dim[1] % group || x->dim[1] != channels)
    return report_node(program, id, NULL, "the weight is for %lld input channels in %lld groups, the image has %lld",
                       (long long)channels, (long long)group, (long long)x->dim[1]);
  return true;
}

static bool
check_bias(Program *program, NodeId id, int64_t channels)
{
  const Value *bias = operand_value(program, node_at(program, id), 2);
  return !bias || expect_shape(program, id, 2, &(Shape){.rank = 1, .dim = {channels}});
}

/* The shape that convolving x with w makes; writes the attributes out. */
static bool
convolve_shapes(Program *program, NodeId id, const Shape *x, const Shape *w, Shape *y)
{
  int64_t group = int_attribute(node_at(program, id), "group", 1);
  WindowAttributes window;
  if (w->rank >= 2 && group > 0 && w->dim[1] > INT64_MAX / group)
    return report_node(program, id, NULL, "group=%lld is too large", (long long)group);
  if (!check_channels(program, id, x, w, w->rank >= 2 && group > 0 ? w->dim[1] * group : 0) ||
      !read_window(program, id, x, w->dim + 2, &window) || !slide_window(program, id, x, false, &window, y))
    return false;
  y->dim[0] = x->dim[0];
  y->dim[1] = w->dim[0];
  write_window(program, id, &window);
  return true;
}

bool
infer_Conv(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 3)) return false;
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0), *w = operand_value(program, node, 1);
  actnn_type type = x->type;
  Shape y = {0};
  return convolve_shapes(program, id, &x->shape, &w->shape, &y) && check_bias(program, id, y.dim[1]) &&
         set_result_type(program, id, 0, type, &y);
}

bool
infer_ConvGradInput(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 2)) return false;
  const Value *dy = operand_value(program, node_at(program, id), 0), *w = operand_value(program, node_at(program, id), 1);
  actnn_type type = dy->type;
  Shape x = {0}, y = {0};
  return read_shape_operand(program, id, 2, &x) && convolve_shapes(program, id, &x, &w->shape, &y) &&
         expect_shape(program, id, 0, &y) && set_result_type(program, id, 0, type, &x);
}

bool
infer_ConvGradWeight(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 2)) return false;
  const Value *dy = operand_value(program, node_at(program, id), 0), *x = operand_value(program, node_at(program, id), 1);
  actnn_type type = dy->type;
  Shape w = {0}, y = {0};
  return read_shape_operand(program, id, 2, &w) && convolve_shapes(program, id, &x->shape, &w, &y) &&
         expect_shape(program, id, 0, &y) && set_result_type(program, id, 0, type, &w);
}

/* One axis of a transposed convolution: `extent` of x to *result of y. A given output shape or SAME decides the
 * padding; where it would be negative, rows are added behind instead, as output_padding does. */
static bool
spread_axis(Program *program, NodeId id, int64_t extent, int64_t wanted, WindowAttributes *window, int axis,
            int64_t *added, int64_t *result)
{
  int64_t reach = (window->kernel[axis] - 1) * window->dilation[axis] + 1, stride = window->stride[axis], full;
  if (extent < 1) return report_node(program, id, NULL, "spatial axis %d is empty", axis);
  if (__builtin_mul_overflow(extent - 1, stride, &full) || full > (int64_t)1 << 60)
    return report_node(program, id, NULL, "the result would be too large on spatial axis %d", axis);
  full += *added + reach;
  if (window->is_same) wanted = extent * stride;
  if (wanted >= 0) {
    int64_t total = full - wanted;
    if (total < 0) {
      *added -= total;
      full -= total;
      total = 0;
    }
    /* Other than in SAME_UPPER the odd one goes to the beginning. */
    bool is_upper = window->is_same && !window->is_same_lower;
    window->begin[axis] = is_upper ? total / 2 : total - total / 2;
    window->end[axis] = total - window->begin[axis];
  }
  *result = full - window->begin[axis] - window->end[axis];
  if (*result < 1) return report_node(program, id, NULL, "nothing is left of spatial axis %d after padding", axis);
  /* Beyond that the convolution back would see one position more, and roles of x and y were not exact. */
  if (*added >= stride)
    return report_node(program, id, NULL, "output_padding %lld must be less than the stride %lld on spatial axis %d",
                       (long long)*added, (long long)stride, axis);
  return true;
}

static bool
spread_window(Program *program, NodeId id, const Shape *x, WindowAttributes *window, Shape *y)
{
  const int64_t *given;
  int64_t added[3] = {0}, wanted[3] = {-1, -1, -1};
  size_t spatial = (size_t)window->spatial, count = ints_attribute(node_at(program, id), "output_padding", &given);
  if (count && count != spatial)
    return report_node(program, id, NULL, "output_padding has %zu entries, %zu are needed", count, spatial);
  for (size_t i = 0; i < count; i++) {
    if (given[i] < 0 || given[i] > (int64_t)1 << 30)
      return report_node(program, id, NULL, "output_padding has an entry %lld", (long long)given[i]);
    added[i] = given[i];
  }
  count = ints_attribute(node_at(program, id), "output_shape", &given);
  if (count && count != spatial && count != spatial + 2)
    return report_node(program, id, NULL, "output_shape has %zu entries, %zu are needed", count, spatial);
  for (size_t i = 0; count && i < spatial; i++) {
    wanted[i] = given[count - spatial + i];
    if (wanted[i] < 1 || wanted[i] >= (int64_t)1 << 47)
      return report_node(program, id, NULL, "output_shape has an entry %lld", (long long)wanted[i]);
  }
  for (int i = 0; i < window->spatial; i++)
    if (x->dim[2 + i] == DIM_UNKNOWN) y->dim[2 + i] = DIM_UNKNOWN;
    else if (!spread_axis(program, id, x->dim[2 + i], wanted[i], window, i, &added[i], &y->dim[2 + i])) return false;
  if (!shape_is_static(x)) return true; /* auto_pad and output_shape are resolved once all extents are known */
  write_window(program, id, window);
  set_ints(program, id, "output_padding", added, spatial);
  remove_attribute(program, id, "output_shape");
  return true;
}

bool
infer_ConvTranspose(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 3)) return false;
  const Node *node = node_at(program, id);
  const Value *x = operand_value(program, node, 0), *w = operand_value(program, node, 1);
  actnn_type type = x->type;
  Shape y = {.rank = x->shape.rank}, image = x->shape, weight = w->shape;
  int64_t group = int_attribute(node, "group", 1);
  WindowAttributes window;
  if (!check_channels(program, id, &image, &weight, weight.dim[0]) ||
      !read_window(program, id, &image, weight.dim + 2, &window))
    return false;
  y.dim[0] = image.dim[0];
  if (__builtin_mul_overflow(weight.dim[1], group, &y.dim[1]))
    return report_node(program, id, NULL, "group=%lld is too large", (long long)group);
  return spread_window(program, id, &image, &window, &y) && check_bias(program, id, y.dim[1]) &&
         set_result_type(program, id, 0, type, &y);
}

bool
infer_ChannelSum(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 1)) return false;
  const Value *x = operand_value(program, node_at(program, id), 0);
  if (x->shape.rank < 2) return report_node(program, id, NULL, "it has no channels: rank %d", x->shape.rank);
  return set_result_type(program, id, 0, x->type, &(Shape){.rank = 1, .dim = {x->shape.dim[1]}});
}
