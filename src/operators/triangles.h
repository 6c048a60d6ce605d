/* triangles.h: square matrices without what lies above their diagonals, row by row; shared by plain loops and kernels. */
#ifndef ACTNN_TRIANGLES_H
#define ACTNN_TRIANGLES_H

#include "evaluation.h"
#ifdef ACTNN_RUNTIME
#include "../../runtime/runtime.h"
#endif

#include <string.h>

/* Matrices of extent * extent elements of `size` bytes each; rows: of all matrices. */
typedef struct Triangles {
  int64_t extent, rows;
  size_t size;
} Triangles;

/* view: the unpacked tensor, whose last two axes are the matrices. */
static inline Triangles
triangles_of(const actnn_view *view)
{
  int64_t extent = view->dim[view->rank - 1];
  return (Triangles){extent, extent ? element_count(view) / extent : 0, element_bytes(view->type)};
}

/* Where a row begins in the packed tensor, in elements. */
static inline ACTNN_DEVICE int64_t
packed_row(const Triangles *triangles, int64_t row)
{
  int64_t matrix = row / triangles->extent, down = row % triangles->extent;
  return matrix * (triangles->extent * (triangles->extent + 1) / 2) + down * (down + 1) / 2;
}

/* Copies one row up to its diagonal; true when something beyond it is not zero. A row that is not a number as a whole (floats) is for
 * others to tell. */
static inline bool
pack_triangle_row(const Triangles *triangles, int64_t row, const void *full, void *packed)
{
  int64_t kept = row % triangles->extent + 1;
  const unsigned char *from = (const unsigned char *)full + (size_t)(row * triangles->extent) * triangles->size;
  unsigned char any = 0;
  memcpy((unsigned char *)packed + (size_t)packed_row(triangles, row) * triangles->size, from, (size_t)kept * triangles->size);
  for (size_t i = (size_t)kept * triangles->size; i < (size_t)triangles->extent * triangles->size; i++) any |= from[i];
  bool is_number = triangles->size != sizeof(float) || ((const float *)from)[0] == ((const float *)from)[0];
  if (triangles->size == sizeof(uint16_t)) is_number = (((const uint16_t *)from)[0] & 0x7fff) <= 0x7f80; /* bfloat16 */
  return any && is_number;
}

static inline void
unpack_triangle_row(const Triangles *triangles, int64_t row, const void *packed, void *full)
{
  int64_t kept = row % triangles->extent + 1;
  unsigned char *to = (unsigned char *)full + (size_t)(row * triangles->extent) * triangles->size;
  memcpy(to, (const unsigned char *)packed + (size_t)packed_row(triangles, row) * triangles->size, (size_t)kept * triangles->size);
  memset(to + (size_t)kept * triangles->size, 0, (size_t)(triangles->extent - kept) * triangles->size);
}

/* Says which row of a matrix that must be triangular is not; 1. */
static inline int
not_triangular(const actnn_call *call, int64_t row)
{
#ifdef ACTNN_RUNTIME
  return actnn_fail(call->trainer, "PackTriangle: row %lld has something above the diagonal, where a causal mask should have left zero; "
                                   "translate the model with --scheme=actnn",
                    (long long)row);
#else
  (void)call, (void)row;
  return 1;
#endif
}

#endif
