/* convolution_operands.h: operands of a convolution as a trainer holds them and as a library gets them, and copies from one to the other
 * (library_convolution.cu). */
#ifndef ACTNN_CUDA_CONVOLUTION_OPERANDS_H
#define ACTNN_CUDA_CONVOLUTION_OPERANDS_H

#include "division.h"
#include "floats.h"
#include "kernels.h"

#include "../src/operators/convolution_padding.h"

enum { OPERAND_AXES = WINDOW_AXES + 2 };

/* An operand as it is held and as the library gets it. */
typedef struct operand {
  int64_t dim[OPERAND_AXES]; /* N, of one piece, C, then spatial axes; of weights filters, channels of a group, .. */
  int64_t dim_wanted[OPERAND_AXES]; /* the same, but for zeros around an image */
  int64_t before[OPERAND_AXES];     /* how many of these are before it */
  int axes;
  bool is_padded; /* there are such zeros */
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

/* The library gets so many samples of an image at a time, or all filters, as large as they are held. */
static void
settle_extents(operand *operand, int64_t first)
{
  operand->dim[0] = first;
  memcpy(operand->dim_wanted, operand->dim, sizeof operand->dim);
}

/* With zeros around it. */
static void
settle_padding(operand *image, const SymmetricWindow *symmetric)
{
  image->is_padded = symmetric->is_padded;
  for (int i = 2; i < image->axes; i++) {
    int axis = WINDOW_AXES - image->axes + i;
    image->dim_wanted[i] = symmetric->input[axis];
    image->before[i] = symmetric->before[axis];
  }
}

static int64_t
product_of(const int64_t *dim, int axes)
{
  int64_t count = 1;
  for (int i = 0; i < axes; i++)
    count *= dim[i];
  return count;
}

static int64_t
elements_of(const operand *operand)
{
  return product_of(operand->dim, operand->axes);
}

static int64_t
elements_wanted(const operand *operand)
{
  return product_of(operand->dim_wanted, operand->axes);
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

/* An image into zeros around it, or out of them: axes in the order in which what is written lies. */
typedef struct placement {
  struct {
    Divisor extent; /* of what is written, */
    int64_t before, read, stride; /* and of what is read: where it begins there, its extent, how far apart its elements lie */
  } axis[OPERAND_AXES];
  int axes;
  int64_t count;
} placement;

/* A thread makes an element, or several channels where they lie side by side on both sides; or it adds to what is there. */
template <int Wide, bool Adds>
KERNEL
place_image(placement placement, converted_units<Wide> units)
{
  int64_t i = thread_number(), left = i, at = 0;
  if (i >= placement.count)
    return;
  bool is_inside = true;
  for (int k = placement.axes - 1; k >= 0; k--) {
    int64_t next = quotient(left, placement.axis[k].extent);
    int64_t from = left - next * placement.axis[k].extent.number - placement.axis[k].before;
    is_inside = is_inside && from >= 0 && from < placement.axis[k].read;
    at += from * placement.axis[k].stride;
    left = next;
  }
  Columns<Wide> columns = is_inside ? units.load(at) : Columns<Wide>();
  if (Adds) {
    Columns<Wide> before = load_columns<Wide>(units.y, i);
    for (int k = 0; k < Wide; k++)
      columns.of[k] += before.of[k];
  }
  units.store(i, columns);
}

/* Which axis is the k-th in memory. */
static int
axis_at(int k, int axes, bool is_last)
{
  return !is_last || k == 0 ? k : k == axes - 1 ? 1 : k + 1;
}

/* `wide` channels are one. */
static placement
placement_of(const operand *image, bool is_wanted, int wide)
{
  const int64_t *written = is_wanted ? image->dim_wanted : image->dim, *read = is_wanted ? image->dim : image->dim_wanted;
  bool to_last = is_wanted ? image->is_last_wanted : image->is_last_held, from_last = is_wanted ? image->is_last_held : image->is_last_wanted;
  int64_t stride[OPERAND_AXES], step = 1;
  placement made;
  for (int k = image->axes - 1; k >= 0; k--) {
    int i = axis_at(k, image->axes, from_last);
    stride[i] = step;
    step *= i == 1 ? read[i] / wide : read[i];
  }
  for (int k = 0; k < image->axes; k++) {
    int i = axis_at(k, image->axes, to_last), together = i == 1 ? wide : 1;
    made.axis[k].extent = divisor_of(written[i] / together);
    made.axis[k].before = is_wanted ? image->before[i] : -image->before[i];
    made.axis[k].read = read[i] / together;
    made.axis[k].stride = stride[i];
  }
  made.axes = image->axes;
  made.count = product_of(written, image->axes) / wide;
  return made;
}

template <int Wide, bool Adds>
static int
place(const actnn_call *call, const operand *operand, bool is_wanted, const converted_units<Wide> &units)
{
  placement placement = placement_of(operand, is_wanted, Wide);
  return LAUNCH(call, (place_image<Wide, Adds>), placement.count, placement, units);
}

static bool
needs_copy(const operand *operand)
{
  return operand->is_padded || operand->is_last_held != operand->is_last_wanted || operand->is_narrow_held != operand->is_narrow_wanted;
}

/* From how it is held to how it is wanted, or back: channels to the end or to the second axis, floats rounded or widened, zeros around it. */
static int
reorder(const actnn_call *call, const operand *operand, bool is_wanted, const void *from, void *to)
{
  bool to_last = is_wanted ? operand->is_last_wanted : operand->is_last_held;
  bool from_narrow = is_wanted ? operand->is_narrow_held : operand->is_narrow_wanted;
  bool to_narrow = is_wanted ? operand->is_narrow_wanted : operand->is_narrow_held;
  if (operand->is_padded) {
    const Floats source = {(void *)from, from_narrow}, result = {to, to_narrow};
    bool is_wide = operand->is_last_held && operand->is_last_wanted && operand->dim[1] % 4 == 0;
    return is_wide ? place<4, false>(call, operand, is_wanted, converted_units<4>{source, result})
                   : place<1, false>(call, operand, is_wanted, converted_units<1>{source, result});
  }
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

/* Adds what the library made to what is held. */
static int
add_back(const actnn_call *call, const operand *operand, void *made, void *to)
{
  const converted_units<1> units = {{made, operand->is_narrow_wanted}, {to, operand->is_narrow_held}};
  return place<1, true>(call, operand, false, units);
}

#endif
