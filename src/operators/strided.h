/* strided.h: copies between a contiguous tensor and a strided pattern of elements in another: what Transpose,
 * Slice, Expand, Tile, Concat and the like all are. Types do not matter, only the bytes of an element. */
#ifndef ACTNN_STRIDED_H
#define ACTNN_STRIDED_H

#include "../../runtime/philox.h" /* ACTNN_DEVICE */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { STRIDED_MAX_RANK = 16 };

/* Element `index` of the contiguous side meets element start + sum(index[i] * stride[i]) of the other. */
typedef struct Strided {
  int rank;
  int64_t dim[STRIDED_MAX_RANK], stride[STRIDED_MAX_RANK];
  int64_t start;
  size_t size; /* bytes of an element */
} Strided;

/* Without axes: one element. */
static inline Strided
strided_of(size_t size)
{
  Strided pattern;
  memset(&pattern, 0, sizeof pattern);
  pattern.size = size;
  return pattern;
}

static inline void
strided_axis(Strided *pattern, int64_t dim, int64_t stride)
{
  pattern->dim[pattern->rank] = dim;
  pattern->stride[pattern->rank++] = stride;
}

/* Joins axes that lie behind each other in memory, so that rows are as long as they can be; at least one axis
 * stays. */
static inline void
strided_join(Strided *pattern)
{
  int made = 0;
  for (int i = 0; i < pattern->rank; i++) {
    int64_t dim = pattern->dim[i], stride = pattern->stride[i];
    if (dim == 1) continue;
    if (made && pattern->stride[made - 1] == stride * dim) {
      pattern->dim[made - 1] *= dim;
      pattern->stride[made - 1] = stride;
      continue;
    }
    pattern->dim[made] = dim;
    pattern->stride[made++] = stride;
  }
  if (!made) {
    pattern->dim[0] = 1;
    pattern->stride[0] = 1;
    made = 1;
  }
  pattern->rank = made;
}

/* The axis along which the strided side is contiguous, where that is not the last: a transposition. -1 otherwise, or when the axis is
 * shorter than `least`. */
static inline int
strided_contiguous_axis(const Strided *pattern, int64_t least)
{
  if (pattern->stride[pattern->rank - 1] == 1) return -1;
  for (int i = 0; i + 1 < pattern->rank; i++)
    if (pattern->stride[i] == 1 && pattern->dim[i] >= least) return i;
  return -1;
}

static inline int64_t
strided_rows(const Strided *pattern)
{
  int64_t rows = 1;
  for (int i = 0; i + 1 < pattern->rank; i++) rows *= pattern->dim[i];
  return pattern->dim[pattern->rank - 1] ? rows : 0;
}

/* Which element of the strided side element `index` meets. */
static inline ACTNN_DEVICE int64_t
strided_place(const Strided *pattern, int64_t index)
{
  int64_t at = pattern->start;
  for (int i = pattern->rank - 1; i > 0; i--) {
    at += index % pattern->dim[i] * pattern->stride[i];
    index /= pattern->dim[i];
  }
  return pattern->rank ? at + index * pattern->stride[0] : at;
}

/* Copies `count` elements, `to_step` and `from_step` elements apart. */
static inline void
copy_row(char *to, int64_t to_step, const char *from, int64_t from_step, int64_t count, size_t size)
{
  if (to_step == 1 && from_step == 1) {
    memcpy(to, from, (size_t)count * size);
  } else if (size == 4) {
    uint32_t *a = (uint32_t *)(void *)to;
    const uint32_t *b = (const uint32_t *)(const void *)from;
    for (int64_t i = 0; i < count; i++) a[i * to_step] = b[i * from_step];
  } else if (size == 2) {
    uint16_t *a = (uint16_t *)(void *)to;
    const uint16_t *b = (const uint16_t *)(const void *)from;
    for (int64_t i = 0; i < count; i++) a[i * to_step] = b[i * from_step];
  } else if (size == 8) {
    uint64_t *a = (uint64_t *)(void *)to;
    const uint64_t *b = (const uint64_t *)(const void *)from;
    for (int64_t i = 0; i < count; i++) a[i * to_step] = b[i * from_step];
  } else {
    for (int64_t i = 0; i < count; i++)
      memcpy(to + i * to_step * (int64_t)size, from + i * from_step * (int64_t)size, size);
  }
}

/* Rows [first, last) of the pattern: gathers them into `contiguous`, or scatters them from it. */
static inline void
strided_copy_rows(const Strided *pattern, char *strided, char *contiguous, bool gathers, int64_t first,
                  int64_t last)
{
  if (first >= last) return;
  int64_t index[STRIDED_MAX_RANK] = {0}, width = pattern->dim[pattern->rank - 1];
  int64_t size = (int64_t)pattern->size, step = pattern->stride[pattern->rank - 1], left = first;
  for (int i = pattern->rank - 2; i >= 0; i--) {
    index[i] = left % pattern->dim[i];
    left /= pattern->dim[i];
  }
  for (int64_t row = first; row < last; row++) {
    int64_t at = pattern->start;
    for (int i = 0; i + 1 < pattern->rank; i++) at += index[i] * pattern->stride[i];
    char *there = strided + at * size, *here = contiguous + row * width * size;
    if (gathers) copy_row(here, 1, there, step, width, pattern->size);
    else copy_row(there, step, here, 1, width, pattern->size);
    for (int i = pattern->rank - 2; i >= 0 && ++index[i] == pattern->dim[i]; i--) index[i] = 0;
  }
}

static inline void
strided_gather(Strided *pattern, const void *from, void *to)
{
  strided_join(pattern);
  strided_copy_rows(pattern, (char *)(uintptr_t)from, (char *)to, true, 0, strided_rows(pattern));
}

static inline void
strided_scatter(Strided *pattern, const void *from, void *to)
{
  strided_join(pattern);
  strided_copy_rows(pattern, (char *)to, (char *)(uintptr_t)from, false, 0, strided_rows(pattern));
}

#endif
