/* product.h: the geometry of a batched matrix product y = op(a) . op(b), for evaluations and kernels. */
#ifndef ACTNN_PRODUCT_H
#define ACTNN_PRODUCT_H

#include "../../runtime/actnn.h"

#include <string.h>

/* For every batch index: y [rows, columns] = a [rows, inner] . b [inner, columns]. All steps are in elements; a batch
 * step of 0 is a broadcast. y is row-major; its batch steps are given too. */
typedef struct Product {
  int batch_rank;
  int64_t batch[ACTNN_MAX_RANK], a_batch[ACTNN_MAX_RANK], b_batch[ACTNN_MAX_RANK], y_batch[ACTNN_MAX_RANK];
  int64_t rows, inner, columns;
  int64_t a_row, a_inner, b_inner, b_column;
} Product;

/* Extent and step of batch axis `axis` (of `batch_rank`, aligned at the right) in an operand of rank >= 2. */
static inline int64_t
product_batch_step(const actnn_view *view, int axis, int batch_rank)
{
  int64_t step = view->dim[view->rank - 1] * view->dim[view->rank - 2];
  int own = axis - (batch_rank - (view->rank - 2));
  if (own < 0 || view->dim[own] == 1) return 0;
  for (int i = own + 1; i < view->rank - 2; i++) step *= view->dim[i];
  return step;
}

/* Neighbouring batch axes that all operands step through evenly become one; with a single b for all, batches of rows
 * are just more rows. */
static inline void
product_fold(Product *product)
{
  int kept = 0;
  for (int i = 0; i < product->batch_rank; i++) {
    int64_t extent = product->batch[i];
    if (extent == 1) continue;
    bool is_even = kept > 0 && product->a_batch[kept - 1] == product->a_batch[i] * extent &&
                   product->b_batch[kept - 1] == product->b_batch[i] * extent;
    if (!is_even) kept++;
    product->batch[kept - 1] = is_even ? product->batch[kept - 1] * extent : extent;
    product->a_batch[kept - 1] = product->a_batch[i];
    product->b_batch[kept - 1] = product->b_batch[i];
    product->y_batch[kept - 1] = product->y_batch[i];
  }
  product->batch_rank = kept;
  bool is_one_row_step = kept == 1 && product->a_inner == 1 && product->a_batch[0] == product->rows * product->a_row;
  if (is_one_row_step && product->b_batch[0] == 0) {
    product->rows *= product->batch[0];
    product->batch_rank = 0;
  }
}

/* b has rank >= 2; a has rank >= 2, or rank 1 and is one row (then y has no row axis either). */
static inline Product
product_of(const actnn_view *a, const actnn_view *b, const actnn_view *y, bool transpose_a, bool transpose_b)
{
  Product product;
  memset(&product, 0, sizeof product);
  int64_t b_last = b->dim[b->rank - 1], b_before = b->dim[b->rank - 2];
  product.inner = transpose_b ? b_last : b_before;
  product.columns = transpose_b ? b_before : b_last;
  product.b_inner = transpose_b ? 1 : b_last;
  product.b_column = transpose_b ? b_last : 1;
  product.rows = 1;
  product.a_row = product.inner;
  product.a_inner = 1;
  if (a->rank < 2) return product;
  product.rows = y->dim[y->rank - 2];
  product.a_row = transpose_a ? 1 : product.inner;
  product.a_inner = transpose_a ? product.rows : 1;
  product.batch_rank = y->rank - 2;
  int64_t step = product.rows * product.columns;
  for (int i = product.batch_rank - 1; i >= 0; i--) {
    product.batch[i] = y->dim[i];
    product.a_batch[i] = product_batch_step(a, i, product.batch_rank);
    product.b_batch[i] = product_batch_step(b, i, product.batch_rank);
    product.y_batch[i] = step;
    step *= y->dim[i];
  }
  product_fold(&product);
  return product;
}

#endif
