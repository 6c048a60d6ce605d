/* movement.c: fast kernels of operators that move elements. What moves where is said by the patterns that
 * their plain loops use (src/operators/patterns.h); here it is shared among threads and, where both sides
 * cannot be walked in order, cut into tiles that stay in the cache. Every element is written once, by one
 * thread. */
#ifndef ACTNN_RUNTIME
#define ACTNN_RUNTIME
#endif
#include "../src/operators/indices.h"
#include "../src/operators/patterns.h"
#include "../src/operators/resizing.h"
#include "../src/operators/triangles.h"
#include "runtime.h"

actnn_kernel plain_Pad, plain_PadGrad;

enum {
  TILE = 32,                  /* rows and columns of a tile of a transposition */
  ELEMENTS_A_PIECE = 1 << 14, /* what a thread takes at a time, and the least that is worth several threads */
  COLUMNS_A_PIECE = 64        /* of a scatter-add: whole cache lines */
};

static int64_t
smaller(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* ---- copies by rows ------------------------------------------------------------------------------ */

static void
copy_rows(const Strided *pattern, char *strided, char *contiguous, bool gathers)
{
  int64_t rows = strided_rows(pattern), width = pattern->dim[pattern->rank - 1];
  int64_t each = width < ELEMENTS_A_PIECE ? ELEMENTS_A_PIECE / (width ? width : 1) : 1,
          pieces = (rows + each - 1) / each;
#pragma omp parallel for schedule(static) if (pieces > 1)
  for (int64_t piece = 0; piece < pieces; piece++)
    strided_copy_rows(pattern, strided, contiguous, gathers, piece * each, smaller(rows, (piece + 1) * each));
}

/* ---- transpositions ------------------------------------------------------------------------------ */

/* A matrix of a transposition: `rows` x `columns` elements, contiguous along columns in `to` and along rows in
 * `from`. */
typedef struct Matrix {
  int64_t rows, columns, to_stride, from_stride;
} Matrix;

/* Through a small buffer: both sides are then walked along their own rows, however far apart those lie. */
#define TRANSPOSE_TILE(TYPE, SUFFIX) \
  static void transpose_tile_##SUFFIX(const Matrix *m, TYPE *to, const TYPE *from, int64_t rows, int64_t columns) \
  { \
    TYPE tile[TILE][TILE]; \
    for (int64_t c = 0; c < columns; c++) \
      for (int64_t r = 0; r < rows; r++) tile[r][c] = from[c * m->from_stride + r]; \
    for (int64_t r = 0; r < rows; r++) memcpy(to + r * m->to_stride, tile[r], (size_t)columns * sizeof(TYPE)); \
  }
TRANSPOSE_TILE(uint8_t, 1)
TRANSPOSE_TILE(uint16_t, 2)
TRANSPOSE_TILE(uint32_t, 4)
TRANSPOSE_TILE(uint64_t, 8)

static void
transpose_tile(const Matrix *m, size_t size, char *to, const char *from, int64_t row, int64_t column)
{
  int64_t rows = smaller(TILE, m->rows - row), columns = smaller(TILE, m->columns - column);
  to += (row * m->to_stride + column) * (int64_t)size;
  from += (column * m->from_stride + row) * (int64_t)size;
  if (size == 4) transpose_tile_4(m, (uint32_t *)(void *)to, (const uint32_t *)(const void *)from, rows, columns);
  else if (size == 8)
    transpose_tile_8(m, (uint64_t *)(void *)to, (const uint64_t *)(const void *)from, rows, columns);
  else if (size == 2)
    transpose_tile_2(m, (uint16_t *)(void *)to, (const uint16_t *)(const void *)from, rows, columns);
  else transpose_tile_1(m, (uint8_t *)to, (const uint8_t *)from, rows, columns);
}

/* Tile rows of all matrices are shared among threads; the other axes number the matrices. */
static void
transpose_matrices(const Strided *pattern, int axis, char *to, const char *from)
{
  int last = pattern->rank - 1;
  int64_t to_stride[STRIDED_MAX_RANK], step = 1, matrices = 1;
  for (int i = last; i >= 0; i--) {
    to_stride[i] = step;
    step *= pattern->dim[i];
    if (i != axis && i != last) matrices *= pattern->dim[i];
  }
  Matrix m = {.rows = pattern->dim[axis],
              .columns = pattern->dim[last],
              .to_stride = to_stride[axis],
              .from_stride = pattern->stride[last]};
  int64_t bands = (m.rows + TILE - 1) / TILE, tasks = matrices * bands;
#pragma omp parallel for schedule(static) if (step > ELEMENTS_A_PIECE)
  for (int64_t task = 0; task < tasks; task++) {
    int64_t left = task / bands, to_start = 0, from_start = pattern->start;
    for (int i = last - 1; i >= 0; i--) {
      if (i == axis) continue;
      to_start += left % pattern->dim[i] * to_stride[i];
      from_start += left % pattern->dim[i] * pattern->stride[i];
      left /= pattern->dim[i];
    }
    for (int64_t column = 0; column < m.columns; column += TILE)
      transpose_tile(&m, pattern->size, to + to_start * (int64_t)pattern->size,
                     from + from_start * (int64_t)pattern->size, task % bands * TILE, column);
  }
}

static void
gather_pattern(Strided *pattern, const void *from, void *to)
{
  strided_join(pattern);
  if (!strided_rows(pattern)) return;
  int axis = strided_contiguous_axis(pattern, 4);
  if (axis >= 0) transpose_matrices(pattern, axis, to, from);
  else copy_rows(pattern, (char *)(uintptr_t)from, to, true);
}

static void
scatter_pattern(Strided *pattern, const void *from, void *to)
{
  strided_join(pattern);
  copy_rows(pattern, to, (char *)(uintptr_t)from, false);
}

static void
clear_view(const actnn_view *view)
{
  int64_t bytes = element_count(view) * (int64_t)element_bytes(view->type), piece_bytes = ELEMENTS_A_PIECE * 16;
  int64_t pieces = (bytes + piece_bytes - 1) / piece_bytes;
#pragma omp parallel for schedule(static) if (pieces > 1)
  for (int64_t piece = 0; piece < pieces; piece++)
    memset((char *)view->data + piece * piece_bytes, 0, (size_t)smaller(piece_bytes, bytes - piece * piece_bytes));
}

/* ---- kernels ------------------------------------------------------------------------------------- */

int
actnn_Transpose(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Strided pattern = transpose_pattern(call, false);
  gather_pattern(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
actnn_TransposeInverse(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Strided pattern = transpose_pattern(call, true);
  gather_pattern(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

/* Joining or cutting blocked tensors along channels works on whole blocks. */
static int
check_blocks(const actnn_call *call, const char *name, const actnn_view *part, int64_t axis, int64_t start)
{
  int64_t block = call->trainer->channel_block;
  if (part->layout != ACTNN_BLOCKED || axis != 1 || (start % block == 0 && part->dim[1] % block == 0)) return 0;
  return actnn_fail(
      call->trainer,
      "%s: %lld channels at %lld do not fill blocks of %lld: the trainer was made by a broken translator", name,
      (long long)part->dim[1], (long long)start, (long long)block);
}

int
actnn_Concat(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *y = &call->output[0];
  int64_t axis = call->attribute[0].i, start = 0;
  if (axis < 0) axis += y->rank;
  for (size_t i = 0; i < call->input_count; i++) {
    const actnn_view *x = &call->input[i];
    if (check_blocks(call, "Concat", x, axis, start)) return 1;
    Strided pattern = part_pattern(y, x, axis, start, call->trainer->channel_block);
    scatter_pattern(&pattern, x->data, y->data);
    start += x->dim[axis];
  }
  return 0;
}

int
actnn_ConcatPart(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  int64_t axis = call->attribute[1].i, start = call->attribute[2].i;
  if (axis < 0) axis += dy->rank;
  if (check_blocks(call, "ConcatPart", dx, axis, start)) return 1;
  Strided pattern = part_pattern(dy, dx, axis, start, call->trainer->channel_block);
  gather_pattern(&pattern, dy->data, dx->data);
  return 0;
}

int
actnn_Split(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *x = &call->input[0];
  int64_t axis = call->attribute[1].i, start = 0;
  if (axis < 0) axis += x->rank;
  for (size_t i = 0; i < call->output_count; i++) {
    const actnn_view *y = &call->output[i];
    if (y->data) {
      Strided pattern = part_pattern(x, y, axis, start, 1);
      gather_pattern(&pattern, x->data, y->data);
    }
    start += int_at(call, 0, i, 0);
  }
  return 0;
}

int
actnn_Slice(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Strided pattern = slice_pattern(call, &call->input[0], 0);
  gather_pattern(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
actnn_SliceGrad(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  clear_view(&call->output[0]);
  Strided pattern = slice_pattern(call, &call->output[0], 1);
  scatter_pattern(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

/* ---- padding and resizing ------------------------------------------------------------------------ */

int
actnn_Pad(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_attribute *fill = &call->attribute[1];
  bool is_zero = fill->kind == ACTNN_ABSENT || (fill->kind == ACTNN_REALS && fill->count && fill->reals[0] == 0);
  Strided pattern;
  if (!is_zero || !pad_pattern(call, 0, 2, &call->output[0], &call->input[0], &pattern)) return plain_Pad(call);
  clear_view(&call->output[0]);
  scatter_pattern(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

int
actnn_PadGrad(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Strided pattern;
  if (!pad_pattern(call, 1, 2, &call->input[0], &call->output[0], &pattern)) return plain_PadGrad(call);
  gather_pattern(&pattern, call->input[0].data, call->output[0].data);
  return 0;
}

/* Planes of axes that are not resized, images of a batch say, are independent in both directions. */
static void
resize_planes(const Resizing *resizing)
{
  int leading = plane_axes(resizing);
  int64_t planes = plane_count(resizing, leading), elements = plane_count(resizing, resizing->rank);
#pragma omp parallel for schedule(static) if (planes > 1 && elements > ELEMENTS_A_PIECE)
  for (int64_t plane = 0; plane < planes; plane++) resize_plane(resizing, leading, plane);
}

int
actnn_Resize(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Resizing resizing = resizing_forward(call);
  resize_planes(&resizing);
  return 0;
}

int
actnn_ResizeGrad(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Resizing resizing = resizing_backward(call);
  clear_view(&call->output[0]);
  resize_planes(&resizing);
  return 0;
}

/* ---- triangles ----------------------------------------------------------------------------------- */

int
actnn_PackTriangle(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Triangles triangles = triangles_of(&call->input[0]);
  int64_t odd = -1; /* a row that has something above the diagonal */
#pragma omp parallel for schedule(static) reduction(max : odd) if (triangles.rows * triangles.extent > ELEMENTS_A_PIECE)
  for (int64_t row = 0; row < triangles.rows; row++)
    if (pack_triangle_row(&triangles, row, call->input[0].data, call->output[0].data)) odd = row;
  return odd >= 0 && call->attribute[0].i ? not_triangular(call, odd) : 0;
}

int
actnn_UnpackTriangle(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Triangles triangles = triangles_of(&call->output[0]);
#pragma omp parallel for schedule(static) if (triangles.rows * triangles.extent > ELEMENTS_A_PIECE)
  for (int64_t row = 0; row < triangles.rows; row++)
    unpack_triangle_row(&triangles, row, call->input[0].data, call->output[0].data);
  return 0;
}

/* ---- rows by index ------------------------------------------------------------------------------- */

/* All indices before anything is moved, so that a bad one is reported from outside the parallel loop. */
static int
check_indices(const actnn_call *call, const int64_t *indices, int64_t count, int64_t extent)
{
  for (int64_t k = 0; k < count; k++)
    if (wrapped_index(indices[k], extent) < 0) return bad_index(call, "Gather", indices[k], extent);
  return 0;
}

int
actnn_Gather(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  const int64_t *indices = call->input[1].data;
  AroundAxis around = around_axis(x, call->attribute[0].i);
  int64_t count = element_count(&call->input[1]), rows = around.outer * count;
  size_t bytes = (size_t)around.inner * element_bytes(x->type);
  if (check_indices(call, indices, count, around.extent)) return 1;
#pragma omp parallel for schedule(static) if (rows * around.inner > ELEMENTS_A_PIECE)
  for (int64_t row = 0; row < rows; row++) {
    int64_t index = wrapped_index(indices[row % count], around.extent);
    memcpy((char *)y->data + (size_t)row * bytes,
           (const char *)x->data + (size_t)(row / count * around.extent + index) * bytes, bytes);
  }
  return 0;
}

/* Each thread adds a range of columns for all indices in their order: the sums do not depend on the threads. */
int
actnn_GatherGrad(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *dx = &call->output[0];
  const int64_t *indices = call->input[1].data;
  const float *dy = call->input[0].data;
  AroundAxis around = around_axis(dx, call->attribute[1].i);
  int64_t count = element_count(&call->input[1]), pieces = (around.inner + COLUMNS_A_PIECE - 1) / COLUMNS_A_PIECE;
  int64_t tasks = around.outer * pieces;
  if (check_indices(call, indices, count, around.extent)) return 1;
  clear_view(dx);
#pragma omp parallel for schedule(static) if (around.outer * count * around.inner > ELEMENTS_A_PIECE)
  for (int64_t task = 0; task < tasks; task++) {
    int64_t outer = task / pieces, first = task % pieces * COLUMNS_A_PIECE,
            last = smaller(around.inner, first + COLUMNS_A_PIECE);
    for (int64_t k = 0; k < count; k++) {
      float *to =
          (float *)dx->data + (outer * around.extent + wrapped_index(indices[k], around.extent)) * around.inner;
      const float *from = dy + (outer * count + k) * around.inner;
      for (int64_t i = first; i < last; i++) to[i] += from[i];
    }
  }
  return 0;
}
