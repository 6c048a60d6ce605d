/* movement.cu: operators that move elements and compute nothing, by the patterns of the plain loops (src/operators/patterns.h). */
#include "floats.h"
#include "kernels.h"

#include "../src/operators/patterns.h"

extern "C" {
#include "saves.h"
}

static int64_t
bytes_of(const actnn_view *view)
{
  return element_count(view) * (int64_t)element_bytes(view->type);
}

/* ---- copies along a pattern ------------------------------------------------------------------------------------ */

typedef struct CopyJob {
  Strided pattern;
  int64_t count; /* units */
  bool gathers;  /* the pattern is of what is read; otherwise of what is written */
} CopyJob;

template <typename Units>
KERNEL
copy(CopyJob job, Units units)
{
  typename Units::Unit unit[TAKEN_AT_ONCE];
  int64_t place[TAKEN_AT_ONCE];
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each);
    if (i >= job.count)
      break;
    place[each] = strided_place(&job.pattern, i);
    unit[each] = units.load(job.gathers ? place[each] : i);
  }
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each);
    if (i < job.count)
      units.store(job.gathers ? i : place[each], unit[each]);
  }
}

/* Takes elements together that lie side by side on both sides of a pattern, as far as a unit goes. */
static void
widen(Strided *pattern)
{
  int last = pattern->rank - 1;
  while (pattern->size < WIDEST_UNIT && pattern->stride[last] == 1) {
    bool is_even = pattern->start % 2 == 0 && pattern->dim[last] % 2 == 0;
    for (int i = 0; i < last; i++)
      is_even = is_even && pattern->stride[i] % 2 == 0;
    if (!is_even)
      return;
    pattern->size *= 2;
    pattern->start /= 2;
    pattern->dim[last] /= 2;
    for (int i = 0; i < last; i++)
      pattern->stride[i] /= 2;
  }
}

template <typename Units>
static int
copy_units(const actnn_call *call, const Strided &pattern, Units units, bool gathers)
{
  CopyJob job = {pattern, strided_rows(&pattern) * pattern.dim[pattern.rank - 1], gathers};
  return LAUNCH(call, copy<Units>, threads_of(job.count, TAKEN_AT_ONCE), job, units);
}

static int
copy_pattern(const actnn_call *call, const Strided *joined, const actnn_view *from, const actnn_view *to, bool gathers)
{
  Strided pattern = *joined;
  if (are_held_otherwise(from, to))
    return copy_units(call, pattern, conversion<1>(from, to), gathers);
  if (pattern.rank == 1 && pattern.stride[0] == 1) {
    int64_t size = (int64_t)pattern.size, place = pattern.start * size;
    return copy_bytes(call, (char *)to->data + (gathers ? 0 : place), (const char *)from->data + (gathers ? place : 0),
                      pattern.dim[0] * size);
  }
  widen(&pattern);
  return with_unit(pattern.size, [=](auto unit) { return copy_units(call, pattern, move<decltype(unit)>(from, to), gathers); });
}

/* ---- transpositions -------------------------------------------------------------------------------------------- */

enum { TILE = 32, TILE_ROWS_AT_ONCE = BLOCK_THREADS / TILE, LEAST_OF_A_TILE = 8 };

/* Matrices of rows x columns, contiguous along columns in `to` and along rows in `from`: both sides are then read and written along
 * their own rows, with a tile between them. The other axes number the matrices. */
typedef struct TransposeJob {
  const void *from;
  void *to;
  int64_t rows, columns, from_stride, to_stride, row_tiles, column_tiles;
  Strided from_start, to_start; /* of matrix after matrix */
} TransposeJob;

template <typename Unit>
KERNEL
transpose(TransposeJob job)
{
  SHARED Unit tile[TILE][TILE + 1];
  int64_t block = blockIdx.x, column = block % job.column_tiles * TILE;
  block /= job.column_tiles;
  int64_t row = block % job.row_tiles * TILE, matrix = block / job.row_tiles;
  const Unit *from = (const Unit *)job.from + strided_place(&job.from_start, matrix);
  Unit *to = (Unit *)job.to + strided_place(&job.to_start, matrix);
  int lane = threadIdx.x % TILE, first = threadIdx.x / TILE;
  for (int c = first; c < TILE; c += TILE_ROWS_AT_ONCE)
    if (row + lane < job.rows && column + c < job.columns)
      tile[c][lane] = from[(column + c) * job.from_stride + row + lane];
  __syncthreads();
  for (int r = first; r < TILE; r += TILE_ROWS_AT_ONCE)
    if (row + r < job.rows && column + lane < job.columns)
      to[(row + r) * job.to_stride + column + lane] = tile[lane][r];
}

/* Tiles of a joined pattern whose strided side is contiguous along `axis`. */
static int
transpose_matrices(const actnn_call *call, const Strided *pattern, int axis, const void *from, void *to)
{
  int last = pattern->rank - 1;
  int64_t step[STRIDED_MAX_RANK], matrices = 1;
  TransposeJob job = {from, to, pattern->dim[axis], pattern->dim[last], pattern->stride[last], 0, 0, 0, strided_of(0), strided_of(0)};
  step[last] = 1;
  for (int i = last; i > 0; i--)
    step[i - 1] = step[i] * pattern->dim[i];
  job.from_start.start = pattern->start;
  job.to_stride = step[axis];
  job.row_tiles = (job.rows + TILE - 1) / TILE;
  job.column_tiles = (job.columns + TILE - 1) / TILE;
  for (int i = 0; i < last; i++) {
    if (i == axis)
      continue;
    strided_axis(&job.from_start, pattern->dim[i], pattern->stride[i]);
    strided_axis(&job.to_start, pattern->dim[i], step[i]);
    matrices *= pattern->dim[i];
  }
  return with_unit(pattern->size, [=](auto unit) {
    return LAUNCH_BLOCKS(call, transpose<decltype(unit)>, matrices * job.row_tiles * job.column_tiles, job);
  });
}

static int
gather(const actnn_call *call, Strided pattern, const actnn_view *from, const actnn_view *to)
{
  strided_join(&pattern);
  int axis = are_held_otherwise(from, to) ? -1 : strided_contiguous_axis(&pattern, LEAST_OF_A_TILE);
  if (axis >= 0 && pattern.dim[pattern.rank - 1] >= LEAST_OF_A_TILE)
    return transpose_matrices(call, &pattern, axis, from->data, to->data);
  return copy_pattern(call, &pattern, from, to, true);
}

static int
scatter(const actnn_call *call, Strided pattern, const actnn_view *from, const actnn_view *to)
{
  strided_join(&pattern);
  return copy_pattern(call, &pattern, from, to, false);
}

static int
scatter_onto_zeros(const actnn_call *call, Strided pattern, const actnn_view *from, const actnn_view *to)
{
  return clear_bytes(call, to->data, bytes_of(to)) || scatter(call, pattern, from, to);
}

#define MOVES(NAME, how, pattern) \
  extern "C" int gpu_##NAME(const actnn_call *call) \
  { \
    return actnn_is_preparing(call) ? 0 : how(call, pattern, &call->input[0], &call->output[0]); \
  }
MOVES(Transpose, gather, transpose_pattern(call, false))
MOVES(TransposeInverse, gather, transpose_pattern(call, true))
MOVES(DepthToSpace, gather, depth_pattern(call, &call->input[0]))
MOVES(SpaceToDepth, scatter, depth_pattern(call, &call->output[0]))
MOVES(Slice, gather, slice_pattern(call, &call->input[0], 0))
MOVES(SliceGrad, scatter_onto_zeros, slice_pattern(call, &call->output[0], 1))
MOVES(SliceBack, scatter_onto_zeros, part_pattern(&call->output[0], &call->input[0], call->attribute[1].i, call->attribute[2].i, 1))
MOVES(Expand, gather, expand_pattern(call))
MOVES(Tile, gather, tile_pattern(call))

/* ---- joining and taking apart ---------------------------------------------------------------------------------- */

static int64_t
axis_of(const actnn_view *view, int64_t axis)
{
  return axis < 0 ? axis + view->rank : axis;
}

/* With its channels last, a value is as a plain one of other axes; `dim` is where those are put. */
static actnn_view
as_if_last(const actnn_view *view, int64_t *dim)
{
  actnn_view plain = *view;
  for (int i = 0; i < view->rank; i++)
    dim[i == 1 ? view->rank - 1 : i > 1 ? i - 1 : 0] = view->dim[i];
  plain.dim = dim;
  plain.layout = ACTNN_PLAIN;
  return plain;
}

static Strided
part_as_it_lies(const actnn_call *call, const actnn_view *whole, const actnn_view *part, int64_t axis, int64_t start)
{
  int64_t dim[2][ACTNN_MAX_RANK];
  if (whole->layout != ACTNN_BLOCKED || call->trainer->channel_block != ACTNN_CHANNELS_LAST)
    return part_pattern(whole, part, axis, start, 1);
  actnn_view all = as_if_last(whole, dim[0]), some = as_if_last(part, dim[1]);
  return part_pattern(&all, &some, axis == 1 ? whole->rank - 1 : axis > 1 ? axis - 1 : 0, start, 1);
}

/* Blocks of 8 and 16 channels are the processor's. */
static bool
is_in_blocks(const actnn_call *call)
{
  return call->trainer->channel_block != 1 && call->trainer->channel_block != ACTNN_CHANNELS_LAST;
}

extern "C" int
gpu_Concat(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  int64_t axis = axis_of(y, call->attribute[0].i), start = 0;
  if (is_in_blocks(call))
    return DEVICE_DECLINES;
  for (size_t i = 0; i < call->input_count; i++) {
    const actnn_view *x = &call->input[i];
    if (!actnn_is_preparing(call) && scatter(call, part_as_it_lies(call, y, x, axis, start), x, y))
      return 1;
    start += x->dim[axis];
  }
  return 0;
}

extern "C" int
gpu_ConcatPart(const actnn_call *call)
{
  const actnn_view *whole = &call->input[0], *part = &call->output[0];
  if (is_in_blocks(call))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  Strided pattern = part_as_it_lies(call, whole, part, axis_of(whole, call->attribute[1].i), call->attribute[2].i);
  return gather(call, pattern, whole, part);
}

extern "C" int
gpu_Split(const actnn_call *call)
{
  const actnn_view *x = &call->input[0];
  int64_t axis = axis_of(x, call->attribute[1].i), start = 0;
  for (size_t i = 0; i < call->output_count && !actnn_is_preparing(call); i++) {
    const actnn_view *y = &call->output[i];
    if (y->data && gather(call, part_pattern(x, y, axis, start, 1), x, y))
      return 1;
    start += int_at(call, 0, i, 0);
  }
  return 0;
}

/* ---- padding --------------------------------------------------------------------------------------------------- */

/* Axes of the padded tensor, of what is padded, and strides of the one whose elements are looked for. */
typedef struct Padding {
  int rank;
  int64_t padded[ACTNN_MAX_RANK], inner[ACTNN_MAX_RANK], begin[ACTNN_MAX_RANK], stride[ACTNN_MAX_RANK];
  PadMode mode;
} Padding;

/* Pads are attribute `pads`. */
static Padding
padding_of(const actnn_call *call, size_t pads, const actnn_view *padded, const actnn_view *inner, const actnn_view *sought)
{
  Padding padding;
  memset(&padding, 0, sizeof padding);
  padding.rank = padded->rank;
  padding.mode = pad_mode_named(call->attribute[3].text);
  pad_begins(call, pads, 2, padded->rank, padding.begin);
  row_major_strides(sought, padding.stride);
  memcpy(padding.padded, padded->dim, (size_t)padded->rank * sizeof *padded->dim);
  memcpy(padding.inner, inner->dim, (size_t)inner->rank * sizeof *inner->dim);
  return padding;
}

typedef struct PadJob {
  Padding padding;
  actnn_view y;
  const void *x;
  int64_t count;
  double value;
} PadJob;

template <typename Unit>
KERNEL
pad(PadJob job)
{
  const Padding &padding = job.padding;
  int64_t i = thread_number(), left = i, at = 0;
  if (i >= job.count)
    return;
  for (int axis = padding.rank - 1; axis >= 0 && at >= 0; axis--) {
    int64_t from = pad_source(left % padding.padded[axis], padding.begin[axis], padding.inner[axis], padding.mode);
    left /= padding.padded[axis];
    at = from < 0 ? -1 : at + from * padding.stride[axis];
  }
  if (at < 0)
    store_element(&job.y, i, job.value);
  else
    ((Unit *)job.y.data)[i] = ((const Unit *)job.x)[at];
}

extern "C" int
gpu_Pad(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  PadJob job = {padding_of(call, 0, y, x, x), *y, x->data, element_count(y), pad_value(call)};
  return with_unit(element_bytes(y->type), [=](auto unit) { return LAUNCH(call, pad<decltype(unit)>, job.count, job); });
}

/* All that an element was copied to, added up in the order in which it lies. */
template <typename Form>
KERNEL
add_copies(Padding padding, int64_t count, Form dy, Form dx)
{
  int64_t i = thread_number(), left = i, index[ACTNN_MAX_RANK], place[ACTNN_MAX_RANK];
  float sum = 0;
  if (i >= count)
    return;
  bool is_any = true;
  for (int axis = padding.rank - 1; axis >= 0; axis--) {
    index[axis] = left % padding.inner[axis];
    left /= padding.inner[axis];
    place[axis] = pad_next(-1, index[axis], padding.begin[axis], padding.inner[axis], padding.padded[axis], padding.mode);
    is_any = is_any && place[axis] < padding.padded[axis];
  }
  while (is_any) {
    int64_t at = 0;
    for (int axis = 0; axis < padding.rank; axis++)
      at += place[axis] * padding.stride[axis];
    sum += dy[at];
    is_any = false;
    for (int axis = padding.rank - 1; axis >= 0 && !is_any; axis--) {
      place[axis] = pad_next(place[axis], index[axis], padding.begin[axis], padding.inner[axis], padding.padded[axis], padding.mode);
      is_any = place[axis] < padding.padded[axis];
      if (!is_any)
        place[axis] = pad_next(-1, index[axis], padding.begin[axis], padding.inner[axis], padding.padded[axis], padding.mode);
    }
  }
  dx.put(i, sum);
}

extern "C" int
gpu_PadGrad(const actnn_call *call)
{
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  Strided pattern;
  if (actnn_is_preparing(call))
    return 0;
  if (pad_pattern(call, 1, 2, dy, dx, &pattern))
    return gather(call, pattern, dy, dx);
  Padding padding = padding_of(call, 1, dy, dx, dy);
  int64_t count = element_count(dx);
  return with_form(dy, dx, NULL, [=](auto form) {
    typedef decltype(form) Form;
    return LAUNCH(call, add_copies<Form>, count, padding, count, in_form(form, dy), in_form(form, dx));
  });
}

/* ---- the same elements ----------------------------------------------------------------------------------------- */

/* A blocked tensor keeps its layout, its padding included. */
int
gpu_copy_whole(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  if (actnn_is_preparing(call))
    return 0;
  int64_t count = elements_in_memory(call, y);
  if (are_held_otherwise(x, y))
    return gpu_convert(call->trainer, y->data, x->data, count, y->type == ACTNN_BF16);
  return copy_bytes(call, y->data, x->data, count * (int64_t)element_bytes(y->type));
}

#define KEEPS(NAME) \
  extern "C" int gpu_##NAME(const actnn_call *call) \
  { \
    return gpu_copy_whole(call); \
  }
KEEPS(Identity)
KEEPS(Reshape)
KEEPS(Flatten)
KEEPS(Squeeze)
KEEPS(Unsqueeze)

/* To its place in the pool, and from there. */
extern "C" int
gpu_SaveExact(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  void *stash = saves_exact_stash(call, &call->input[0], &call->output[0]);
  return !stash || copy_bytes(call, stash, call->input[0].data, (int64_t)call->output[0].bytes);
}

extern "C" int
gpu_RestoreExact(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  const void *stash = saves_exact_stash(call, &call->output[0], &call->input[0]);
  return !stash || copy_bytes(call, call->output[0].data, stash, (int64_t)call->input[0].bytes);
}

KERNEL
cast(actnn_view x, actnn_view y, int64_t count, int64_t to)
{
  int64_t i = thread_number();
  if (i < count)
    store_element(&y, i, cast_number(load_element(&x, i), to));
}

extern "C" int
gpu_Cast(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  int64_t count = element_count(y), to = call->attribute[0].i;
  if (cast_copies(x, y, to))
    return gpu_copy_whole(call);
  return actnn_is_preparing(call) ? 0 : LAUNCH(call, cast, count, *x, *y, count, to);
}

/* ---- triangles of zeros ---------------------------------------------------------------------------------------- */

typedef struct TriluJob {
  const void *x;
  void *y;
  int64_t count, height, width, k;
  bool keeps_upper;
} TriluJob;

template <typename Unit>
KERNEL
trilu(TriluJob job)
{
  int64_t i = thread_number();
  if (i >= job.count)
    return;
  int64_t row = i / job.width, right = i % job.width - row % job.height;
  bool is_kept = job.keeps_upper ? right >= job.k : right <= job.k;
  ((Unit *)job.y)[i] = is_kept ? ((const Unit *)job.x)[i] : Unit();
}

extern "C" int
gpu_Trilu(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  const actnn_view *y = &call->output[0];
  TriluJob job = {call->input[0].data, y->data, element_count(y), y->dim[y->rank - 2], y->dim[y->rank - 1], int_at(call, 0, 0, 0),
                  call->attribute[1].i != 0};
  return with_unit(element_bytes(y->type), [=](auto unit) { return LAUNCH(call, trilu<decltype(unit)>, job.count, job); });
}
