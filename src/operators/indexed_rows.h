/* indexed_rows.h: the rows of a tensor that indices name: single elements, one index each (GatherElements and its kin), or what a position
 * of several indices leaves of the axes (GatherND and its kin); and how an element takes in another. */
#ifndef ACTNN_INDEXED_ROWS_H
#define ACTNN_INDEXED_ROWS_H

#include "indices.h"
#include "strided.h"

typedef struct IndexedRows {
  const int64_t *indices;
  int64_t count, width; /* rows that are named; elements of each */
  int depth;            /* indices that name one */
  int64_t extent[ACTNN_MAX_RANK], step[ACTNN_MAX_RANK]; /* of each of those: its bound, and how many rows it counts by */
  Strided start;        /* the row that they count from */
} IndexedRows;

/* Indices of the rank of `data`: each stands for one along the axis, at its own place along the others. */
static inline IndexedRows
rows_by_element(const actnn_view *data, const actnn_view *indices, int64_t axis)
{
  IndexedRows rows;
  int64_t stride[ACTNN_MAX_RANK];
  if (axis < 0) axis += data->rank;
  memset(&rows, 0, sizeof rows);
  row_major_strides(data, stride);
  rows.indices = (const int64_t *)indices->data;
  rows.count = element_count(indices);
  rows.width = rows.depth = 1;
  rows.extent[0] = data->dim[axis];
  rows.step[0] = stride[axis];
  for (int i = 0; i < indices->rank; i++) strided_axis(&rows.start, indices->dim[i], i == axis ? 0 : stride[i]);
  strided_join(&rows.start);
  return rows;
}

/* The last axis of the indices holds a position in the axes of `data` after the batch ones. */
static inline IndexedRows
rows_by_position(const actnn_view *data, const actnn_view *indices, int batch)
{
  IndexedRows rows;
  int64_t batches = 1, each_batch = 1, batch_rows = 1;
  memset(&rows, 0, sizeof rows);
  rows.indices = (const int64_t *)indices->data;
  rows.depth = (int)indices->dim[indices->rank - 1];
  rows.width = 1;
  for (int i = 0; i + 1 < indices->rank; i++) *(i < batch ? &batches : &each_batch) *= indices->dim[i];
  rows.count = batches * each_batch;
  for (int i = batch + rows.depth; i < data->rank; i++) rows.width *= data->dim[i];
  for (int i = rows.depth - 1; i >= 0; i--) {
    rows.extent[i] = data->dim[batch + i];
    rows.step[i] = batch_rows;
    batch_rows *= rows.extent[i];
  }
  strided_axis(&rows.start, batches, batch_rows);
  strided_axis(&rows.start, each_batch, 0);
  strided_join(&rows.start);
  return rows;
}

/* The row that position `position` names; -1: its index *wrong is out of bounds. */
static inline ACTNN_DEVICE int64_t
indexed_row(const IndexedRows *rows, int64_t position, int *wrong)
{
  int64_t row = strided_place(&rows->start, position);
  for (int i = 0; i < rows->depth; i++) {
    int64_t index = wrapped_index(rows->indices[position * rows->depth + i], rows->extent[i]);
    if (index < 0) {
      *wrong = i;
      return -1;
    }
    row += index * rows->step[i];
  }
  return row;
}

typedef enum Reduction { REPLACE, ADD, MULTIPLY, LARGEST, SMALLEST } Reduction;

static inline Reduction
reduction_named(const char *name)
{
  return !strcmp(name, "add")   ? ADD
         : !strcmp(name, "mul") ? MULTIPLY
         : !strcmp(name, "max") ? LARGEST
         : !strcmp(name, "min") ? SMALLEST
                                : REPLACE;
}

static inline ACTNN_DEVICE void
replace_element(const actnn_view *y, int64_t to, const actnn_view *u, int64_t from)
{
  if (is_floating(y->type)) ((REAL *)y->data)[to] = ((const REAL *)u->data)[from];
  else if (y->type == ACTNN_BOOL || y->type == ACTNN_U8) ((uint8_t *)y->data)[to] = ((const uint8_t *)u->data)[from];
  else ((int64_t *)y->data)[to] = ((const int64_t *)u->data)[from];
}

/* Element `to` of y takes in element `from` of u, which has the same type. */
static inline ACTNN_DEVICE void
reduce_element(Reduction reduction, const actnn_view *y, int64_t to, const actnn_view *u, int64_t from)
{
  double a, b;
  if (reduction == REPLACE) {
    replace_element(y, to, u, from);
    return;
  }
  a = load_element(y, to);
  b = load_element(u, from);
  store_element(y, to,
                reduction == ADD                    ? a + b
                : reduction == MULTIPLY             ? a * b
                : (reduction == LARGEST) == (a > b) ? a
                                                    : b);
}

#endif
