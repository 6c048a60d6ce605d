/* movement.c: evaluation of movement.def, apart from Pad (padding.c) and Resize (resize.c). */
#include "patterns.h"
#include "triangles.h"

actnn_kernel EVALUATE(Identity), EVALUATE(Transpose), EVALUATE(TransposeInverse), EVALUATE(DepthToSpace),
    EVALUATE(SpaceToDepth), EVALUATE(Concat), EVALUATE(ConcatPart), EVALUATE(SliceBack), EVALUATE(Split),
    EVALUATE(Slice), EVALUATE(SliceGrad), EVALUATE(Expand), EVALUATE(Tile), EVALUATE(TileGrad), EVALUATE(Trilu),
    EVALUATE(PackTriangle), EVALUATE(UnpackTriangle), EVALUATE(Cast), EVALUATE(Constant), EVALUATE(ConstantOfShape),
    EVALUATE(Shape), EVALUATE(Size), EVALUATE(Range),
    EVALUATE(EyeLike), EVALUATE(OneHot);

static size_t
plain_bytes(const actnn_view *view)
{
  return (size_t)element_count(view) * element_bytes(view->type);
}

/* Reshape and its kin too. A blocked tensor keeps its layout, so its bytes are copied as they are. */
int
EVALUATE(Identity)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  size_t bytes = y->layout == ACTNN_PLAIN ? plain_bytes(y) : (size_t)(x->bytes < y->bytes ? x->bytes : y->bytes);
  if (x->data != y->data && bytes) memcpy(y->data, x->data, bytes);
  return 0;
}

int
EVALUATE(Transpose)(const actnn_call *call)
{
  Strided pattern = transpose_pattern(call, false);
  strided_gather(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(TransposeInverse)(const actnn_call *call)
{
  Strided pattern = transpose_pattern(call, true);
  strided_gather(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(DepthToSpace)(const actnn_call *call)
{
  Strided pattern = depth_pattern(call, &call->input[0]);
  strided_gather(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(SpaceToDepth)(const actnn_call *call)
{
  Strided pattern = depth_pattern(call, &call->output[0]);
  strided_scatter(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(Concat)(const actnn_call *call)
{
  int64_t axis = call->attribute[0].i, start = 0;
  const actnn_view *y = &call->output[0];
  if (axis < 0) axis += y->rank;
  for (size_t i = 0; i < call->input_count; i++) {
    const actnn_view *x = &call->input[i];
    Strided pattern = part_pattern(y, x, axis, start, 1);
    strided_scatter(&pattern, x->data, y->data);
    start += x->dim[axis];
  }
  return 0;
}

int
EVALUATE(ConcatPart)(const actnn_call *call)
{
  Strided pattern = part_pattern(&call->input[0], &call->output[0], call->attribute[1].i, call->attribute[2].i, 1);
  strided_gather(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(SliceBack)(const actnn_call *call)
{
  memset(call->output[0].data, 0, plain_bytes(&call->output[0]));
  Strided pattern = part_pattern(&call->output[0], &call->input[0], call->attribute[1].i, call->attribute[2].i, 1);
  strided_scatter(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(Split)(const actnn_call *call)
{
  int64_t axis = call->attribute[1].i, start = 0;
  const actnn_view *x = &call->input[0];
  if (axis < 0) axis += x->rank;
  for (size_t i = 0; i < call->output_count; i++) {
    const actnn_view *y = &call->output[i];
    if (y->data) {
      Strided pattern = part_pattern(x, y, axis, start, 1);
      strided_gather(&pattern, x->data, y->data);
    }
    start += int_at(call, 0, i, 0);
  }
  return 0;
}

int
EVALUATE(Slice)(const actnn_call *call)
{
  Strided pattern = slice_pattern(call, &call->input[0], 0);
  strided_gather(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(SliceGrad)(const actnn_call *call)
{
  memset(call->output[0].data, 0, plain_bytes(&call->output[0]));
  Strided pattern = slice_pattern(call, &call->output[0], 1);
  strided_scatter(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(Expand)(const actnn_call *call)
{
  Strided pattern = expand_pattern(call);
  strided_gather(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(Tile)(const actnn_call *call)
{
  Strided pattern = tile_pattern(call);
  strided_gather(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(TileGrad)(const actnn_call *call)
{
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  int64_t stride[ACTNN_MAX_RANK], index[ACTNN_MAX_RANK] = {0}, count = element_count(dy);
  row_major_strides(dx, stride);
  memset(dx->data, 0, plain_bytes(dx));
  const REAL *from = dy->data;
  REAL *to = dx->data;
  for (int64_t i = 0; i < count; i++) {
    int64_t at = 0;
    for (int d = 0; d < dx->rank; d++) at += index[d] % dx->dim[d] * stride[d];
    to[at] += from[i];
    next_index(index, dy->dim, dy->rank);
  }
  return 0;
}

/* Lower triangles of the last two axes, row after row, without what lies above the diagonal. */
int
EVALUATE(PackTriangle)(const actnn_call *call)
{
  Triangles triangles = triangles_of(&call->input[0]);
  for (int64_t row = 0; row < triangles.rows; row++)
    if (pack_triangle_row(&triangles, row, call->input[0].data, call->output[0].data) && call->attribute[0].i)
      return not_triangular(call, row);
  return 0;
}

int
EVALUATE(UnpackTriangle)(const actnn_call *call)
{
  Triangles triangles = triangles_of(&call->output[0]);
  for (int64_t row = 0; row < triangles.rows; row++)
    unpack_triangle_row(&triangles, row, call->input[0].data, call->output[0].data);
  return 0;
}

int
EVALUATE(Trilu)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t k = int_at(call, 0, 0, 0), width = y->dim[y->rank - 1], height = y->dim[y->rank - 2];
  bool keeps_upper = call->attribute[1].i != 0;
  size_t size = element_bytes(y->type);
  int64_t rows = width ? element_count(y) / width : 0;
  if (k > width + height) k = width + height;
  if (k < -width - height) k = -width - height;
  for (int64_t row = 0; row < rows; row++) {
    int64_t edge = row % height + k + (keeps_upper ? 0 : 1); /* first column that is kept, or that is dropped */
    edge = edge < 0 ? 0 : edge > width ? width : edge;
    int64_t from = keeps_upper ? edge : 0, to = keeps_upper ? width : edge;
    char *out = (char *)y->data + (size_t)(row * width) * size;
    memset(out, 0, (size_t)width * size);
    if (to > from)
      memcpy(out + (size_t)from * size, (const char *)x->data + (size_t)(row * width + from) * size,
             (size_t)(to - from) * size);
  }
  return 0;
}

int
EVALUATE(Cast)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t count = element_count(y), to = call->attribute[0].i;
  if (cast_copies(x, y, to)) {
    if (x->data != y->data && count) memcpy(y->data, x->data, plain_bytes(y));
  } else {
    for (int64_t i = 0; i < count; i++) store_element(y, i, cast_number(load_element(x, i), to));
  }
  return 0;
}

/* ---- constants ---------------------------------------------------------------------------------- */

int
EVALUATE(Constant)(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  int64_t count = element_count(y);
  for (size_t a = 0; a < call->attribute_count; a++) {
    const actnn_attribute *given = &call->attribute[a];
    if (given->kind == ACTNN_ABSENT) continue;
    for (int64_t i = 0; i < count; i++) {
      if (given->kind == ACTNN_INTS && y->type == ACTNN_I64) ((int64_t *)y->data)[i] = given->ints[i];
      else store_element(y, i, number_at(given, (size_t)i, 0));
    }
    return 0;
  }
  return 1;
}

int
EVALUATE(ConstantOfShape)(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  int64_t count = element_count(y);
  double value = number_at(&call->attribute[1], 0, 0);
  for (int64_t i = 0; i < count; i++) store_element(y, i, value);
  return 0;
}

int
EVALUATE(Shape)(const actnn_call *call)
{
  int64_t *shape = call->output[0].data;
  for (int64_t i = call->attribute[0].i, end = call->attribute[1].i; i < end; i++) *shape++ = call->input[0].dim[i];
  return 0;
}

int
EVALUATE(Size)(const actnn_call *call)
{
  *(int64_t *)call->output[0].data = element_count(&call->input[0]);
  return 0;
}

int
EVALUATE(Range)(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  int64_t count = element_count(y);
  double start = number_at(&call->attribute[0], 0, 0), delta = number_at(&call->attribute[2], 0, 1);
  for (int64_t i = 0; i < count; i++) store_element(y, i, range_element(start, delta, i));
  return 0;
}

int
EVALUATE(EyeLike)(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  int64_t k = call->attribute[1].i, width = y->dim[1], count = element_count(y);
  for (int64_t i = 0; i < count; i++) store_element(y, i, i % width - i / width == k);
  return 0;
}

int
EVALUATE(OneHot)(const actnn_call *call)
{
  const actnn_view *indices = &call->input[0], *y = &call->output[0];
  int64_t axis = call->attribute[2].i, inner = 1, depth, count = element_count(y);
  double off = number_at(&call->attribute[1], 0, 0), on = number_at(&call->attribute[1], 1, 1);
  if (axis < 0) axis += y->rank;
  depth = y->dim[axis];
  for (int i = (int)axis + 1; i < y->rank; i++) inner *= y->dim[i];
  for (int64_t i = 0; i < count; i++) store_element(y, i, is_hot(indices, depth, inner, i) ? on : off);
  return 0;
}
