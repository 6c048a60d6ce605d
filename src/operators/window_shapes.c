/* window_shapes.c: the part of shape rules that convolutions and pools share: reading and checking the window's
 * attributes, resolving auto_pad, and the extents of what a sliding window makes. */
#include "window_shapes.h"

#include <string.h>

/* Extents, strides and the like beyond this are mistakes; with it no product below overflows 64 bits. */
#define WINDOW_LIMIT ((int64_t)1 << 30)
#define EXTENT_LIMIT ((int64_t)1 << 47)

static bool
read_list(Program *program, NodeId id, const char *name, int count, int64_t least, int64_t *list)
{
  const int64_t *given;
  size_t given_count = ints_attribute(node_at(program, id), name, &given);
  if (!given_count) return true;
  if (given_count != (size_t)count)
    return report_node(program, id, NULL, "%s has %zu entries, %d are needed", name, given_count, count);
  for (int i = 0; i < count; i++) {
    if (given[i] < least || given[i] > WINDOW_LIMIT)
      return report_node(program, id, NULL, "%s has an entry %lld; it must be in [%lld, %lld]", name,
                         (long long)given[i], (long long)least, (long long)WINDOW_LIMIT);
    list[i] = given[i];
  }
  return true;
}

static bool
read_auto_pad(Program *program, NodeId id, WindowAttributes *window)
{
  const char *text = string_attribute(node_at(program, id), "auto_pad", "NOTSET");
  window->is_same_lower = !strcmp(text, "SAME_LOWER");
  window->is_same = window->is_same_lower || !strcmp(text, "SAME_UPPER");
  window->is_valid = !strcmp(text, "VALID");
  if (!window->is_same && !window->is_valid && strcmp(text, "NOTSET") && *text)
    return report_node(program, id, "NOTSET, SAME_UPPER, SAME_LOWER and VALID are known", "auto_pad is '%s'",
                       safe_name(program->arena, text));
  return true;
}

bool
read_window(Program *program, NodeId id, const Shape *x, const int64_t *kernel, WindowAttributes *window)
{
  if (x->rank < 3 || x->rank > 5)
    return report_node(program, id, NULL, "an image has 1 to 3 spatial axes after batch and channels; this operand has "
                       "rank %d", x->rank);
  *window = (WindowAttributes){.spatial = x->rank - 2};
  int64_t pads[6] = {0};
  const int64_t *given;
  if (!kernel && !ints_attribute(node_at(program, id), "kernel_shape", &given))
    return report_node(program, id, NULL, "kernel_shape is missing");
  for (int i = 0; i < window->spatial; i++) {
    if (x->dim[2 + i] > EXTENT_LIMIT)
      return report_node(program, id, NULL, "a spatial extent is %lld", (long long)x->dim[2 + i]);
    if (kernel && (kernel[i] < 1 || kernel[i] > WINDOW_LIMIT))
      return report_node(program, id, NULL, "the kernel has an extent of %lld", (long long)kernel[i]);
    window->kernel[i] = kernel ? kernel[i] : 1;
    window->stride[i] = window->dilation[i] = 1;
  }
  if (!read_list(program, id, "kernel_shape", window->spatial, 1, window->kernel) ||
      !read_list(program, id, "strides", window->spatial, 1, window->stride) ||
      !read_list(program, id, "dilations", window->spatial, 1, window->dilation) ||
      !read_list(program, id, "pads", 2 * window->spatial, 0, pads) || !read_auto_pad(program, id, window))
    return false;
  for (int i = 0; i < window->spatial; i++) {
    if (kernel && window->kernel[i] != kernel[i])
      return report_node(program, id, NULL, "kernel_shape says %lld where the weight has %lld",
                         (long long)window->kernel[i], (long long)kernel[i]);
    window->begin[i] = window->is_same || window->is_valid ? 0 : pads[i];
    window->end[i] = window->is_same || window->is_valid ? 0 : pads[window->spatial + i];
  }
  return true;
}

static bool
has_attribute_slot(const Node *node, const char *name)
{
  for (uint32_t i = 0; i < node->operator->attribute_count; i++)
    if (!strcmp(node->operator->attributes[i].name, name)) return true;
  return false;
}

void
write_window(Program *program, NodeId id, const WindowAttributes *window)
{
  int64_t pads[6];
  for (int i = 0; i < window->spatial; i++) {
    pads[i] = window->begin[i];
    pads[window->spatial + i] = window->end[i];
  }
  set_ints(program, id, "kernel_shape", window->kernel, (size_t)window->spatial);
  set_ints(program, id, "strides", window->stride, (size_t)window->spatial);
  set_ints(program, id, "dilations", window->dilation, (size_t)window->spatial);
  set_ints(program, id, "pads", pads, 2 * (size_t)window->spatial);
  if (has_attribute_slot(node_at(program, id), "auto_pad")) set_string(program, id, "auto_pad", "NOTSET");
}

/* One axis; the padding of SAME goes half to each side, the odd one to the end (UPPER) or the beginning (LOWER). */
static bool
slide_axis(Program *program, NodeId id, int64_t extent, bool ceil_mode, WindowAttributes *window, int axis,
           int64_t *result)
{
  int64_t reach = (window->kernel[axis] - 1) * window->dilation[axis] + 1, stride = window->stride[axis];
  if (extent < 1) return report_node(program, id, NULL, "spatial axis %d is empty", axis);
  if (window->is_same) {
    int64_t total = ((extent + stride - 1) / stride - 1) * stride + reach - extent;
    if (total < 0) total = 0;
    window->begin[axis] = window->is_same_lower ? total - total / 2 : total / 2;
    window->end[axis] = total - window->begin[axis];
  }
  int64_t room = extent + window->begin[axis] + window->end[axis] - reach;
  if (room < 0)
    return report_node(program, id, NULL, "the window reaches over %lld on spatial axis %d, the padded input has %lld",
                       (long long)reach, axis, (long long)(room + reach));
  *result = room / stride + 1;
  /* Rounding up must not add a window that starts in the padding behind the input. */
  if (ceil_mode && room % stride && *result * stride < extent + window->begin[axis]) ++*result;
  return true;
}

bool
slide_window(Program *program, NodeId id, const Shape *x, bool ceil_mode, WindowAttributes *window, Shape *y)
{
  if (window->is_same || window->is_valid) ceil_mode = false;
  y->rank = x->rank;
  for (int i = 0; i < window->spatial; i++) {
    if (x->dim[2 + i] == DIM_UNKNOWN && window->is_same)
      return report_node(program, id, "fix it with --dim", "auto_pad needs to know spatial axis %d", i);
    if (x->dim[2 + i] == DIM_UNKNOWN) y->dim[2 + i] = DIM_UNKNOWN;
    else if (!slide_axis(program, id, x->dim[2 + i], ceil_mode, window, i, &y->dim[2 + i])) return false;
  }
  return true;
}

bool
read_shape_operand(Program *program, NodeId id, uint32_t index, Shape *shape)
{
  const int64_t *ints;
  size_t count;
  int64_t elements;
  if (!constant_ints(program, operand_id(node_at(program, id), index), &ints, &count) || count > ACTNN_MAX_RANK)
    return report_node(program, id, NULL, "operand %u must be a shape known at compile time, of rank at most %d", index,
                       (int)ACTNN_MAX_RANK);
  *shape = shape_of((int)count, ints);
  if (!shape_elements(shape, &elements)) return report_node(program, id, NULL, "operand %u is not a shape", index);
  return true;
}

bool
expect_shape(Program *program, NodeId id, uint32_t operand, const Shape *expected)
{
  const Value *value = operand_value(program, node_at(program, id), operand);
  if (shape_equal(&value->shape, expected)) return true;
  return report_node(program, id, NULL, "operand %u is %s; it must be %s", operand,
                     shape_text(program->arena, value->type, &value->shape),
                     shape_text(program->arena, value->type, expected));
}

bool
expect_floats(Program *program, NodeId id, uint32_t count)
{
  const Node *node = node_at(program, id);
  actnn_type type = operand_value(program, node, 0)->type;
  bool is_float = type == ACTNN_F32 || type == ACTNN_F64 || type == ACTNN_F16 || type == ACTNN_BF16;
  if (!is_float) return report_node(program, id, NULL, "it needs floating-point operands, not %s", type_name(type));
  for (uint32_t i = 1; i < count; i++) {
    const Value *value = operand_value(program, node, i);
    if (value && value->type != type)
      return report_node(program, id, "insert a Cast", "operand %u is %s where operand 0 is %s", i, type_name(value->type),
                         type_name(type));
  }
  return true;
}
