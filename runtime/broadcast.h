/* broadcast.h: how the operands of an elementwise operator lie beside its result: straight, repeated, or at strides along the
 * result's axes in memory. C and CUDA drivers both walk by it. */
#ifndef ACTNN_BROADCAST_H
#define ACTNN_BROADCAST_H

#include "actnn.h"

#include <string.h>

enum { PHYSICAL_RANK = ACTNN_MAX_RANK + 1 };

/* Memory as nested extents: of a plain tensor its dims, of a blocked one N, C/B, spatial dims..., B. */
typedef struct Extents {
  int rank;
  int64_t dim[PHYSICAL_RANK];
  int64_t count;
} Extents;

typedef enum Access { STRAIGHT, REPEATED, GATHERED } Access;

typedef struct Source {
  const void *data;
  bool is_bytes, is_bfloat; /* neither: floats */
  Access access;
  int rank;                                            /* of the gathering, neighbours merged */
  int64_t dim[PHYSICAL_RANK], stride[PHYSICAL_RANK];   /* in elements */
  int block_axis;                                      /* where channel blocks count, -1: lanes need no limit */
  int64_t last_block, last_lanes;                      /* the last block holds only so many channels */
} Source;

static inline Extents
extents_of(const actnn_view *y, int64_t block)
{
  Extents e;
  memset(&e, 0, sizeof e);
  e.count = 1;
  for (int i = 0; i < y->rank; i++) e.dim[e.rank++] = y->dim[i];
  if (y->layout == ACTNN_BLOCKED) {
    e.dim[1] = (y->dim[1] + block - 1) / block;
    e.dim[e.rank++] = block;
  }
  for (int i = 0; i < e.rank; i++) e.count *= e.dim[i];
  return e;
}

static inline int64_t
elements_of(const actnn_view *view)
{
  int64_t count = 1;
  for (int i = 0; i < view->rank; i++) count *= view->dim[i];
  return count;
}

/* Strides of x along the axes of a plain y. */
static inline void
plain_strides(const actnn_view *x, const actnn_view *y, int64_t *stride)
{
  int64_t step = 1;
  for (int i = 0; i < y->rank; i++) stride[i] = 0;
  for (int i = x->rank - 1, j = y->rank - 1; i >= 0; i--, j--) {
    stride[j] = x->dim[i] == 1 ? 0 : step;
    step *= x->dim[i];
  }
}

/* Strides of a plain x along the physical axes of a blocked y. */
static inline void
plain_in_blocked_strides(Source *source, const actnn_view *x, const actnn_view *y, int64_t block)
{
  plain_strides(x, y, source->stride);
  int64_t channel = source->stride[1];
  source->stride[1] = channel * block;
  source->stride[y->rank] = channel;
  if (channel && y->dim[1] % block) {
    source->block_axis = 1;
    source->last_block = y->dim[1] / block;
    source->last_lanes = y->dim[1] % block;
  }
}

/* Strides of a blocked x, with some extents 1, along the physical axes of a blocked y. */
static inline void
blocked_strides(Source *source, const actnn_view *x, const actnn_view *y, int64_t block)
{
  int64_t step = block; /* x's own */
  for (int i = y->rank - 1; i >= 2; i--) {
    source->stride[i] = x->dim[i] == 1 ? 0 : step;
    step *= x->dim[i];
  }
  int64_t blocks = (x->dim[1] + block - 1) / block;
  source->stride[1] = x->dim[1] == 1 ? 0 : step;
  source->stride[0] = x->dim[0] == 1 ? 0 : step * blocks;
  source->stride[y->rank] = x->dim[1] == 1 ? 0 : 1;
}

/* Neighbouring axes that one stride walks through become one; the axes that the lane limit needs stay. */
static inline void
merge_axes(Source *source, const Extents *e)
{
  int64_t stride[PHYSICAL_RANK];
  memcpy(stride, source->stride, sizeof stride);
  for (int i = 0; i < e->rank; i++) {
    bool is_fixed = source->block_axis >= 0 && (i <= source->block_axis + 1 || i == e->rank - 1);
    int last = source->rank - 1;
    if (source->rank > 0 && !is_fixed && source->stride[last] == stride[i] * e->dim[i]) {
      source->dim[last] *= e->dim[i];
      source->stride[last] = stride[i];
    } else {
      source->dim[source->rank] = e->dim[i];
      source->stride[source->rank++] = stride[i];
    }
  }
}

static inline bool
same_dims(const actnn_view *a, const actnn_view *b)
{
  return a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
}

/* Where an operand's elements lie, whatever they are; false when no strides tell it. Blocks are those of the operand's and of the result's
 * layout. */
static inline bool
place_source(Source *source, const actnn_view *x, const actnn_view *y, const Extents *e, int64_t x_block, int64_t block)
{
  memset(source, 0, sizeof *source);
  source->data = x->data;
  source->block_axis = -1;
  if (x->rank > y->rank) return false;
  if (x->layout == ACTNN_PLAIN && elements_of(x) == 1) {
    source->access = REPEATED;
    return true;
  }
  if (x->layout == y->layout && same_dims(x, y)) {
    source->access = STRAIGHT;
    source->rank = 1;
    source->dim[0] = e->count;
    source->stride[0] = 1;
    return true;
  }
  source->access = GATHERED;
  if (y->layout == ACTNN_PLAIN) {
    if (x->layout != ACTNN_PLAIN) return false;
    plain_strides(x, y, source->stride);
  } else if (x->layout == ACTNN_PLAIN) {
    plain_in_blocked_strides(source, x, y, block);
  } else if (x->layout == ACTNN_BLOCKED && x->rank == y->rank) {
    blocked_strides(source, x, y, x_block);
  } else {
    return false;
  }
  merge_axes(source, e);
  return true;
}

/* How an operand is read; false when it does not fit the fast path. */
static inline bool
make_source(Source *source, const actnn_view *x, const actnn_view *y, const Extents *e, int64_t x_block, int64_t block)
{
  if (!place_source(source, x, y, e, x_block, block)) return false;
  source->is_bytes = x->type == ACTNN_BOOL;
  source->is_bfloat = x->type == ACTNN_BF16;
  bool is_made_float = source->is_bytes || source->is_bfloat;
  if (is_made_float && source->access == STRAIGHT) source->access = GATHERED;
  return is_made_float || x->type == ACTNN_F32;
}

#endif
