/* random_shapes.c: layers of random graphs that combine, fold or move elements. */
#include "random_graph.h"

#include <math.h>
#include <string.h>

enum { MOST_TEXT = 200 };

static const char *
list_text(RandomGraph *graph, const char *name, const int64_t *list, int count)
{
  const char *text = arena_format(graph->program->arena, "%s=", name);
  for (int i = 0; i < count; i++) text = arena_format(graph->program->arena, "%s%s%lld", text, i ? "x" : "", (long long)list[i]);
  return text;
}

/* An axis of a value, from the front or from the back. */
static int
draw_axis(RandomGraph *graph, int rank, int first)
{
  return (int)draw_between(graph, first, rank - 1);
}

/* ---- element by element --------------------------------------------------------------------------------- */

void
grow_unary(RandomGraph *graph)
{
  static const char *const names[] = {"Relu", "Relu", "Relu", "Sigmoid", "Tanh", "Gelu", "Swish", "Mish", "Elu", "Softplus", "LeakyRelu",
                                      "HardSwish", "Neg", "Abs", "Erf", "Sin", "Identity", "Atan"};
  ValueId x = choose_value(graph, 1, 5);
  if (x != NO_VALUE) offer(graph, grow1(graph, names[draw(graph, sizeof names / sizeof names[0])], x, ""));
}

/* With a parameter of fewer axes, some of extent one; on either side. */
void
grow_broadcast(RandomGraph *graph)
{
  static const char *const names[] = {"Add", "Mul", "Sub", "Div", "PRelu"};
  ValueId x = choose_value(graph, 1, 5);
  if (x == NO_VALUE) return;
  Shape shape = *shape_at(graph, x);
  int dropped = (int)draw_between(graph, 0, shape.rank);
  Shape small = shape_of(shape.rank - dropped, shape.dim + dropped);
  for (int k = 0; k < small.rank; k++)
    if (draw_chance(graph, 0.3)) small.dim[k] = 1;
  int kind = (int)draw(graph, 5);
  ValueId other = kind == 3 ? new_parameter(graph, small, 2, 0.2) : new_parameter(graph, small, kind == 4 ? 0.3 : 0, 0.7);
  if (draw_chance(graph, 0.15)) other = new_constant(graph, small, 1.5, 0.2);
  if (other == NO_VALUE) return;
  if (kind < 3 && draw_chance(graph, 0.4)) offer(graph, grow2(graph, names[kind], other, x, ""));
  else offer(graph, grow2(graph, names[kind], x, other, ""));
}

/* Two values of the pool that broadcast. */
void
grow_joined(RandomGraph *graph)
{
  static const char *const names[] = {"Add", "Add", "Mul", "Sub", "Max", "Min"};
  ValueId x = choose_value(graph, 1, 5);
  for (int tries = 0; tries < 6 && x != NO_VALUE; tries++) {
    ValueId y = choose_value(graph, 1, 5);
    Shape both;
    if (y == NO_VALUE || !shape_broadcast(shape_at(graph, x), shape_at(graph, y), &both)) continue;
    int kind = (int)draw(graph, x == y ? 3 : 6);
    ValueId made = draw_chance(graph, 0.15) && x != y
                       ? grow(graph, draw_chance(graph, 0.5) ? "Sum" : "Mean", (ValueId[]){x, y, x}, 3, 1, "")
                       : grow2(graph, names[kind], x, y, "");
    offer(graph, made);
    return;
  }
}

/* Where one of two is taken, by a comparison. */
void
grow_selected(RandomGraph *graph)
{
  static const char *const names[] = {"Greater", "Less", "GreaterOrEqual", "LessOrEqual"};
  ValueId x = choose_value(graph, 1, 4);
  if (x == NO_VALUE) return;
  ValueId threshold = new_number(graph, 0.3), mask = grow2(graph, names[draw(graph, 4)], x, threshold, "");
  ValueId other = new_parameter(graph, *shape_at(graph, x), 0, 0.7);
  if (mask != NO_VALUE && other != NO_VALUE) offer(graph, grow(graph, "Where", (ValueId[]){mask, x, other}, 3, 1, ""));
}

void
grow_dropout(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 2, 5);
  if (x == NO_VALUE) return;
  static const unsigned char yes = 1;
  ValueId training = add_constant(graph->program, arena_format(graph->program->arena, "b%u", graph->program->value_count), ACTNN_BOOL,
                                  (Shape){.rank = 0}, &yes, 1);
  offer(graph, grow(graph, "Dropout", (ValueId[]){x, new_number(graph, draw_chance(graph, 0.5) ? 0.5 : 0.1), training}, 3, 1, ""));
}

/* ---- folds ------------------------------------------------------------------------------------------------ */

void
grow_reduction(RandomGraph *graph)
{
  static const char *const names[] = {"ReduceMean", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin",
                                      "ReduceL2", "ReduceLogSumExp", "ReduceL1", "ReduceSumSquare"};
  ValueId x = choose_value(graph, 2, 5);
  if (x == NO_VALUE) return;
  int rank = shape_at(graph, x)->rank;
  int64_t axes[5], count = 0;
  for (int k = 0; k < rank; k++)
    if (draw_chance(graph, k ? 0.5 : 0.15)) axes[count++] = draw_chance(graph, 0.3) ? k - rank : k;
  if (!count) axes[count++] = rank - 1;
  ValueId operands[2] = {x, new_ints(graph, axes, (size_t)count)};
  const char *attributes = draw_chance(graph, 0.5) ? "keepdims=0" : "keepdims=1";
  offer(graph, grow(graph, names[draw(graph, 9)], operands, 2, 1, attributes));
}

void
grow_softmax(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 2, 4);
  if (x == NO_VALUE) return;
  char text[MOST_TEXT];
  int axis = draw_axis(graph, shape_at(graph, x)->rank, 0);
  if (shape_at(graph, x)->dim[axis] < 2) return;
  snprintf(text, sizeof text, "axis=%d", axis);
  offer(graph, grow1(graph, draw_chance(graph, 0.6) ? "Softmax" : "LogSoftmax", x, text));
}

/* ---- movement ---------------------------------------------------------------------------------------------- */

void
grow_transposed(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 2, 5);
  if (x == NO_VALUE) return;
  int rank = shape_at(graph, x)->rank;
  int64_t perm[5] = {0, 1, 2, 3, 4};
  for (int i = rank - 1; i > 0; i--) {
    int64_t other = draw(graph, i + 1), kept = perm[i];
    perm[i] = perm[other];
    perm[other] = kept;
  }
  offer(graph, grow1(graph, "Transpose", x, list_text(graph, "perm", perm, rank)));
}

/* Axes joined or split, an axis of one more or less. */
void
grow_reshaped(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 2, 5);
  if (x == NO_VALUE) return;
  Shape shape = *shape_at(graph, x);
  int64_t axis = draw_axis(graph, shape.rank, 0);
  if (draw_chance(graph, 0.25) && shape.rank < 5) {
    offer(graph, grow2(graph, "Unsqueeze", x, new_ints(graph, &axis, 1), ""));
  } else if (shape.dim[axis] == 1 && shape.rank > 2) {
    offer(graph, grow2(graph, "Squeeze", x, new_ints(graph, &axis, 1), ""));
  } else if (draw_chance(graph, 0.2)) {
    offer(graph, grow1(graph, "Flatten", x, draw_chance(graph, 0.5) ? "axis=1" : "axis=-1"));
  } else if (shape.rank < 5 && shape.dim[axis] % 2 == 0) {
    int64_t dim[6];
    for (int k = 0; k < axis; k++) dim[k] = draw_chance(graph, 0.3) ? 0 : shape.dim[k];
    dim[axis] = 2;
    dim[axis + 1] = shape.dim[axis] / 2;
    for (int k = (int)axis + 1; k < shape.rank; k++) dim[k + 1] = shape.dim[k];
    offer(graph, grow2(graph, "Reshape", x, new_ints(graph, dim, (size_t)shape.rank + 1), ""));
  } else {
    int64_t dim[5];
    int rank = shape.rank - 1;
    for (int k = 0; k < rank; k++) dim[k] = shape.dim[k];
    dim[rank - 1] = -1;
    offer(graph, grow2(graph, "Reshape", x, new_ints(graph, dim, (size_t)rank), ""));
  }
}

void
grow_sliced(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 1, 5);
  if (x == NO_VALUE) return;
  Shape shape = *shape_at(graph, x);
  int64_t axis = draw_axis(graph, shape.rank, 0), extent = shape.dim[axis];
  if (extent < 2) return;
  bool is_backward = draw_chance(graph, 0.25);
  int64_t start = draw(graph, extent - 1), end = draw_between(graph, start + 1, extent), step = draw_chance(graph, 0.3) ? 2 : 1;
  if (is_backward) {
    int64_t kept = start;
    start = end - 1;
    end = kept - 1 - extent;
    step = -step;
  }
  ValueId operands[5] = {x, new_ints(graph, &start, 1), new_ints(graph, &end, 1), new_ints(graph, &axis, 1), new_ints(graph, &step, 1)};
  offer(graph, grow(graph, "Slice", operands, 5, 1, ""));
}

/* Both parts go on, or one is left unread. */
void
grow_split(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 1, 5);
  if (x == NO_VALUE) return;
  Shape shape = *shape_at(graph, x);
  int axis = draw_axis(graph, shape.rank, 0);
  if (shape.dim[axis] < 2) return;
  int64_t first = draw_between(graph, 1, shape.dim[axis] - 1), parts[2] = {first, shape.dim[axis] - first};
  char text[MOST_TEXT];
  snprintf(text, sizeof text, "axis=%d", axis);
  ValueId y = grow(graph, "Split", (ValueId[]){x, new_ints(graph, parts, 2)}, 2, 2, text);
  if (y == NO_VALUE) return;
  offer(graph, y);
  if (draw_chance(graph, 0.7)) offer(graph, result_id(node_at(graph->program, value_at(graph->program, y)->producer), 1));
}

void
grow_concatenated(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 1, 5);
  if (x == NO_VALUE) return;
  Shape shape = *shape_at(graph, x);
  int axis = draw_axis(graph, shape.rank, shape.rank > 1 && draw_chance(graph, 0.8));
  ValueId parts[4] = {x};
  size_t count = 1;
  for (uint32_t i = 0; i < graph->pool_count && count < 3; i++) {
    const Shape *other = shape_at(graph, graph->pool[i]);
    bool fits = other->rank == shape.rank && graph->pool[i] != x;
    for (int k = 0; k < shape.rank && fits; k++) fits = k == axis || other->dim[k] == shape.dim[k];
    if (fits) parts[count++] = graph->pool[i];
  }
  if (count == 1) {
    parts[count++] = draw_chance(graph, 0.5) ? x : new_parameter(graph, shape, 0, 0.7);
    if (parts[1] == NO_VALUE) return;
  }
  char text[MOST_TEXT];
  snprintf(text, sizeof text, "axis=%d", draw_chance(graph, 0.3) ? axis - shape.rank : axis);
  offer(graph, grow(graph, "Concat", parts, count, 1, text));
}

void
grow_padded(RandomGraph *graph)
{
  static const char *const modes[] = {"", "", "mode=edge", "mode=reflect"};
  ValueId x = choose_value(graph, 1, 4);
  if (x == NO_VALUE) return;
  int rank = shape_at(graph, x)->rank;
  int64_t pads[8] = {0};
  for (int k = 0; k < 2 * rank; k++)
    if (k % rank && draw_chance(graph, 0.5) && shape_at(graph, x)->dim[k % rank] > 1) pads[k] = draw_between(graph, 0, 1);
  const char *mode = modes[draw(graph, 4)];
  ValueId operands[3] = {x, new_ints(graph, pads, (size_t)rank * 2), new_number(graph, 0.25)};
  offer(graph, grow(graph, "Pad", operands, !*mode && draw_chance(graph, 0.5) ? 3 : 2, 1, mode));
}

/* Rows of a parameter, or of a value, by constant indices. */
void
grow_embedding(RandomGraph *graph)
{
  ValueId x = choose_value(graph, 2, 4);
  if (x == NO_VALUE) return;
  int axis = draw_axis(graph, shape_at(graph, x)->rank, 0);
  int64_t extent = shape_at(graph, x)->dim[axis], rows[6];
  size_t count = (size_t)draw_between(graph, 1, 5);
  for (size_t i = 0; i < count; i++) rows[i] = draw_between(graph, -extent, extent - 1);
  char text[MOST_TEXT];
  snprintf(text, sizeof text, "axis=%d", axis);
  offer(graph, grow2(graph, "Gather", x, new_ints(graph, rows, count), text));
}
