/* head_rows.h: rows of one of attention's leading indices as a thread reads and makes them: where they lie, which may be side by side with those
 * of others, or, of what is held as bfloat16, widened in the thread's scratch. */
#ifndef ACTNN_HEAD_ROWS_H
#define ACTNN_HEAD_ROWS_H

#include "../src/operators/attention.h"
#include "bfloat.h"

/* A matrix in memory, or what a thread has of it. */
typedef struct Matrix {
  const float *at;
  int64_t row_step;
} Matrix;

/* Rows [first, first + count) of a leading index: where they lie, or widened into `buffer`. */
static inline Matrix
read_rows(const actnn_view *view, const HeadRows *rows, int64_t head, int64_t first, int64_t count, int64_t columns, float *buffer)
{
  int64_t at = head_start(rows, head) + first * rows->row_step;
  if (!bfloat_holds(view)) return (Matrix){(const float *)view->data + at, rows->row_step};
  for (int64_t i = 0; i < count; i++) bfloat_read(view, at + i * rows->row_step, columns, buffer + i * columns);
  return (Matrix){buffer, columns};
}

/* Where such rows are to be made, in memory or in `buffer`, and how far apart; write_rows then rounds those to where they belong. */
typedef struct Made {
  float *at;
  int64_t row_step;
} Made;

static inline Made
place_rows(const actnn_view *view, const HeadRows *rows, int64_t head, int64_t first, int64_t columns, float *buffer)
{
  return (Made){bfloat_place(view, head_start(rows, head) + first * rows->row_step, buffer), bfloat_holds(view) ? columns : rows->row_step};
}

static inline void
write_rows(const actnn_view *view, const HeadRows *rows, int64_t head, int64_t first, int64_t count, int64_t columns, const float *buffer)
{
  int64_t at = head_start(rows, head) + first * rows->row_step;
  for (int64_t i = 0; bfloat_holds(view) && i < count; i++) bfloat_write(view, at + i * rows->row_step, columns, buffer + i * columns);
}

#endif
