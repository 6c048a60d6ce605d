/* pooling_shapes.c: shape rules of pools and their gradients. */
#include "window_shapes.h"

ShapeRule infer_MaxPool, infer_MaxPoolWithOffset, infer_MaxPoolGrad, infer_AveragePool, infer_AveragePoolGrad,
    infer_GlobalPool, infer_GlobalAveragePoolGrad;

/* The shape that pooling x makes; writes the attributes out. */
static bool
pool_shapes(Program *program, NodeId id, const Shape *x, Shape *y)
{
  WindowAttributes window;
  bool ceil_mode = int_attribute(node_at(program, id), "ceil_mode", 0) != 0;
  if (!read_window(program, id, x, NULL, &window) || !slide_window(program, id, x, ceil_mode, &window, y)) return false;
  y->dim[0] = x->dim[0];
  y->dim[1] = x->dim[1];
  if (window.is_same || window.is_valid) set_int(program, id, "ceil_mode", 0); /* rounding up is not theirs */
  if (!window.is_same || shape_is_static(x)) write_window(program, id, &window);
  return true;
}

/* Offsets in a window are one byte. */
static bool
check_window_volume(Program *program, NodeId id)
{
  const int64_t *kernel;
  size_t count = ints_attribute(node_at(program, id), "kernel_shape", &kernel);
  int64_t volume = 1;
  for (size_t i = 0; i < count && volume <= 256; i++) volume *= kernel[i];
  if (volume <= 256) return true;
  return report_node(program, id, "pool in two smaller steps, or by ReduceMax where the window is the whole image",
                     "a max pool can be trained with at most 256 elements in a window");
}

bool
infer_MaxPool(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 1)) return false;
  const Value *x = operand_value(program, node_at(program, id), 0);
  actnn_type type = x->type;
  Shape y = {0};
  return pool_shapes(program, id, &x->shape, &y) && set_result_type(program, id, 0, type, &y) &&
         set_result_type(program, id, 1, ACTNN_I64, &y);
}

bool
infer_MaxPoolWithOffset(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 1)) return false;
  const Value *x = operand_value(program, node_at(program, id), 0);
  actnn_type type = x->type;
  Shape y = {0};
  return pool_shapes(program, id, &x->shape, &y) && check_window_volume(program, id) &&
         set_result_type(program, id, 0, type, &y) && set_result_type(program, id, 1, ACTNN_U8, &y);
}

bool
infer_MaxPoolGrad(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 1)) return false;
  const Value *dy = operand_value(program, node_at(program, id), 0), *at = operand_value(program, node_at(program, id), 1);
  actnn_type type = dy->type;
  Shape x = {0}, y = {0};
  if (at->type != ACTNN_U8) return report_node(program, id, NULL, "offsets must be uint8");
  return read_shape_operand(program, id, 2, &x) && pool_shapes(program, id, &x, &y) &&
         check_window_volume(program, id) && expect_shape(program, id, 0, &y) && expect_shape(program, id, 1, &y) &&
         set_result_type(program, id, 0, type, &x);
}

bool
infer_AveragePool(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 1)) return false;
  const Value *x = operand_value(program, node_at(program, id), 0);
  actnn_type type = x->type;
  Shape y = {0};
  return pool_shapes(program, id, &x->shape, &y) && set_result_type(program, id, 0, type, &y);
}

bool
infer_AveragePoolGrad(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 1)) return false;
  actnn_type type = operand_value(program, node_at(program, id), 0)->type;
  Shape x = {0}, y = {0};
  return read_shape_operand(program, id, 1, &x) && pool_shapes(program, id, &x, &y) &&
         expect_shape(program, id, 0, &y) && set_result_type(program, id, 0, type, &x);
}

static bool
global_shapes(Program *program, NodeId id, const Shape *x, Shape *y)
{
  if (x->rank < 3)
    return report_node(program, id, NULL, "an image has batch, channels and at least one spatial axis, not rank %d",
                       x->rank);
  *y = *x;
  for (int i = 2; i < x->rank; i++) {
    if (x->dim[i] == 0) return report_node(program, id, NULL, "spatial axis %d is empty", i - 2);
    y->dim[i] = 1;
  }
  return true;
}

bool
infer_GlobalPool(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 1)) return false;
  const Value *x = operand_value(program, node_at(program, id), 0);
  Shape y = {0};
  return global_shapes(program, id, &x->shape, &y) && set_result_type(program, id, 0, x->type, &y);
}

bool
infer_GlobalAveragePoolGrad(Program *program, NodeId id)
{
  if (!expect_floats(program, id, 1)) return false;
  actnn_type type = operand_value(program, node_at(program, id), 0)->type;
  Shape x = {0}, y = {0};
  return read_shape_operand(program, id, 1, &x) && global_shapes(program, id, &x, &y) &&
         expect_shape(program, id, 0, &y) && set_result_type(program, id, 0, type, &x);
}
