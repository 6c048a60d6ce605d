/* mma.h: for the shim: as much of nvcuda::wmma as libactnn-cuda uses. The first lane of a warp has all of a matrix and does what the warp does; what
 * it reads other lanes must have written before a barrier, and they read what it writes behind one. */
#ifndef STAND_IN_MMA_H
#define STAND_IN_MMA_H

#include "cuda_bf16.h"

#include <cstdlib>
#include <cstring>
#include <type_traits>

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

enum { SIZE = 16, ALIGNMENT = 32 /* bytes, of a matrix in memory */, STEP_BYTES = 16 /* what divides the bytes from row to row */ };

template <typename Use, int Rows, int Columns, int Inner, typename Number, typename Layout = void> struct fragment {
  static_assert(Rows == SIZE && Columns == SIZE && Inner == SIZE, "other sizes are not used");
  float x[SIZE][SIZE];
};

static inline bool
is_first_lane()
{
  return threadIdx.x % 32 == 0;
}

static inline void
check_place(const void *memory, size_t step_bytes)
{
  if ((uintptr_t)memory % ALIGNMENT || step_bytes % STEP_BYTES)
    abort();
}

static inline float
number_of(__nv_bfloat16 held)
{
  uint32_t bits = (uint32_t)held.bits << 16;
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

template <typename Use>
static inline void
fill_fragment(fragment<Use, SIZE, SIZE, SIZE, float> &to, float value)
{
  for (int row = 0; row < SIZE; row++)
    for (int column = 0; column < SIZE; column++)
      to.x[row][column] = value;
}

template <typename Use, typename Layout>
static inline void
load_matrix_sync(fragment<Use, SIZE, SIZE, SIZE, __nv_bfloat16, Layout> &to, const __nv_bfloat16 *from, unsigned step)
{
  bool is_by_rows = std::is_same<Layout, row_major>::value;
  races_of_warp all;
  check_place(from, step * sizeof *from);
  for (int row = 0; row < SIZE && is_first_lane(); row++)
    for (int column = 0; column < SIZE; column++)
      to.x[row][column] = number_of(from[is_by_rows ? row * step + column : column * step + row]);
}

static inline void
store_matrix_sync(float *to, const fragment<accumulator, SIZE, SIZE, SIZE, float> &from, unsigned step, layout_t layout)
{
  races_of_warp all;
  check_place(to, step * sizeof *to);
  for (int row = 0; row < SIZE && is_first_lane(); row++)
    for (int column = 0; column < SIZE; column++)
      to[layout == mem_row_major ? row * step + column : column * step + row] = from.x[row][column];
}

template <typename Left, typename Right>
static inline void
mma_sync(fragment<accumulator, SIZE, SIZE, SIZE, float> &to, const fragment<matrix_a, SIZE, SIZE, SIZE, __nv_bfloat16, Left> &left,
         const fragment<matrix_b, SIZE, SIZE, SIZE, __nv_bfloat16, Right> &right, const fragment<accumulator, SIZE, SIZE, SIZE, float> &sums)
{
  for (int row = 0; row < SIZE && is_first_lane(); row++)
    for (int column = 0; column < SIZE; column++) {
      float sum = sums.x[row][column];
      for (int inner = 0; inner < SIZE; inner++)
        sum += left.x[row][inner] * right.x[inner][column];
      to.x[row][column] = sum;
    }
}

} // namespace wmma
} // namespace nvcuda

#endif
