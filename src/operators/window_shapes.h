/* window_shapes.h: the part of shape rules that convolutions and pools share. */
#ifndef ACTNN_WINDOW_SHAPES_H
#define ACTNN_WINDOW_SHAPES_H

#include "../operators.h"

/* Attributes of a window as the rule reads them, checked and with defaults filled in. */
typedef struct WindowAttributes {
  int spatial;
  int64_t kernel[3], stride[3], dilation[3], begin[3], end[3];
  bool is_same, is_same_lower, is_valid; /* auto_pad */
} WindowAttributes;

/* Reads kernel_shape, strides, dilations, pads and auto_pad of a node over an image of shape x (rank 3 to 5). A missing
 * kernel_shape is taken from `kernel` (NULL: it is an error). Reports and returns false on misuse. */
bool read_window(Program *program, NodeId node, const Shape *x, const int64_t *kernel, WindowAttributes *window);
/* Writes them back as explicit attributes, auto_pad as NOTSET (where the operator has it). */
void write_window(Program *program, NodeId node, const WindowAttributes *window);
/* Spatial extents of the result of sliding over x: fills y->dim[2...], resolves auto_pad into begin and end. */
bool slide_window(Program *program, NodeId node, const Shape *x, bool ceil_mode, WindowAttributes *window, Shape *y);
/* The integers of constant operand `index` as the shape that an operator must make. */
bool read_shape_operand(Program *program, NodeId node, uint32_t index, Shape *shape);
/* Reports unless the operand has this shape. */
bool expect_shape(Program *program, NodeId node, uint32_t operand, const Shape *expected);

/* Reports unless the first `count` operands (absent ones aside) are of one and the same floating type. */
bool expect_floats(Program *program, NodeId node, uint32_t count);

#endif
