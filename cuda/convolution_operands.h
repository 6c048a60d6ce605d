/* convolution_operands.h: operands of a convolution as a trainer holds them and as a library gets them, and copies from one to the other
 * (library_convolution.cu). */
#ifndef ACTNN_CUDA_CONVOLUTION_OPERANDS_H
#define ACTNN_CUDA_CONVOLUTION_OPERANDS_H

#include "division.h"
#include "floats.h"
#include "kernels.h"

#include "../src/operators/window.h"

enum { OPERAND_AXES = WINDOW_AXES + 2 };

/* An operand as it is held and as the library gets it. */
typedef struct operand {
  int64_t dim[OPERAND_AXES]; /* N, of one piece, C, then spatial axes; of weights filters, channels of a group, .. */
  int axes;
  bool is_last_held, is_last_wanted;     /* channels last */
  bool is_narrow_held, is_narrow_wanted; /* bfloat16 */
  uint64_t place; /* of a copy in the workspace, where the two differ */
} operand;

static operand
image_operand(const actnn *trainer, const actnn_view *view)
{
  operand image;
  memset(&image, 0, sizeof image);
  image.axes = view->rank < 4 ? 4 : view->rank; /* a single spatial axis gets another one before it */
  image.dim[0] = view->dim[0];
  image.dim[1] = view->dim[1];
  for (int i = 2; i < image.axes; i++)
    image.dim[i] = 1;
  for (int i = 2; i < view->rank; i++)
    image.dim[image.axes - view->rank + i] = view->dim[i];
  image.is_last_held = gpu_block_of(trainer, view) > 1;
  image.is_narrow_held = view->type == ACTNN_BF16;
  return image;
}

static int64_t
elements_of(const operand *operand)
{
  int64_t count = 1;
  for (int i = 0; i < operand->axes; i++)
    count *= operand->dim[i];
  return count;
}

/* Of a single channel or a single position both orders are the same. */
static bool
lies_either_way(const operand *operand)
{
  return operand->dim[1] == 1 || elements_of(operand) == operand->dim[0] * operand->dim[1];
}

/* ---- copies ---------------------------------------------------------------------------------------------------- */

/* [batch, rows, columns] to [batch, columns, rows]: a tile at a time, so that reads and writes both run along memory. */
enum { TILE = 32 };

template <typename From, typename To>
KERNEL
swap_axes(const From *from, int64_t rows, int64_t columns, int64_t row_tiles, int64_t column_tiles, To *to)
{
  SHARED float tile[TILE][TILE + 1];
  int64_t number = blockIdx.x, batch = number / (row_tiles * column_tiles);
  int64_t row = number / column_tiles % row_tiles * TILE, column = number % column_tiles * TILE;
  int x = (int)threadIdx.x % TILE, y = (int)threadIdx.x / TILE;
  for (int i = y; i < TILE; i += BLOCK_THREADS / TILE)
    if (row + i < rows && column + x < columns)
      tile[i][x] = widened(from[(batch * rows + row + i) * columns + column + x]);
  __syncthreads();
  for (int i = y; i < TILE; i += BLOCK_THREADS / TILE)
    if (column + i < columns && row + x < rows)
      hold(&to[(batch * columns + column + i) * rows + row + x], tile[x][i]);
}

/* The same of an axis that is shorter than a tile: a thread makes an element, and reads what its neighbours' lines hold. */
template <typename From, typename To>
KERNEL
swap_short_axes(const From *from, Divisor rows, Divisor columns, int64_t count, To *to)
{
  int64_t i = thread_number(), place = quotient(i, rows), batch = quotient(place, columns);
  if (i < count)
    hold(&to[i], widened(from[(batch * rows.number + remainder_of(i, rows)) * columns.number + place - batch * columns.number]));
}

static bool
needs_copy(const operand *operand)
{
  return operand->is_last_held != operand->is_last_wanted || operand->is_narrow_held != operand->is_narrow_wanted;
}

/* From how it is held to how it is wanted, or back: channels to the end or to the second axis, floats rounded or widened. */
static int
reorder(const actnn_call *call, const operand *operand, bool is_wanted, const void *from, void *to)
{
  bool to_last = is_wanted ? operand->is_last_wanted : operand->is_last_held;
  bool from_narrow = is_wanted ? operand->is_narrow_held : operand->is_narrow_wanted;
  bool to_narrow = is_wanted ? operand->is_narrow_wanted : operand->is_narrow_held;
  if (operand->is_last_held == operand->is_last_wanted)
    return gpu_convert(call->trainer, to, from, elements_of(operand), to_narrow);
  int64_t channels = operand->dim[1], positions = elements_of(operand) / operand->dim[0] / channels;
  int64_t rows = to_last ? channels : positions, columns = to_last ? positions : channels;
  int64_t row_tiles = (rows + TILE - 1) / TILE, column_tiles = (columns + TILE - 1) / TILE;
  return with_floats(from_narrow, [=](auto source) {
    return with_floats(to_narrow, [=](auto result) {
      typedef decltype(source) From;
      typedef decltype(result) To;
      if (rows < TILE || columns < TILE)
        return LAUNCH(call, (swap_short_axes<From, To>), elements_of(operand), (const From *)from, divisor_of(rows), divisor_of(columns),
                      elements_of(operand), (To *)to);
      return LAUNCH_BLOCKS(call, (swap_axes<From, To>), operand->dim[0] * row_tiles * column_tiles, (const From *)from, rows, columns,
                           row_tiles, column_tiles, (To *)to);
    });
  });
}

#endif
