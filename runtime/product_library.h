/* product_library.h: matrix products described to a library, oneDNN or cuBLASLt. */
#ifndef ACTNN_PRODUCT_LIBRARY_H
#define ACTNN_PRODUCT_LIBRARY_H

#include "../src/operators/product.h"
#include "library.h"

#include <string.h>

static inline bool
product_has_work(const Product *product)
{
  for (int i = 0; i < product->batch_rank; i++)
    if (product->batch[i] == 0) return false;
  return product->rows && product->inner && product->columns;
}

/* y = a . b + bias. */
static inline library_product
describe_product(const Product *product, bool has_bias)
{
  library_product wanted;
  memset(&wanted, 0, sizeof wanted);
  wanted.batch_rank = product->batch_rank;
  wanted.rows = product->rows;
  wanted.inner = product->inner;
  wanted.columns = product->columns;
  wanted.has_bias = has_bias;
  memcpy(wanted.batch, product->batch, sizeof wanted.batch);
  memcpy(wanted.a.batch, product->a_batch, sizeof wanted.batch);
  memcpy(wanted.b.batch, product->b_batch, sizeof wanted.batch);
  memcpy(wanted.y.batch, product->y_batch, sizeof wanted.batch);
  wanted.a.row = product->a_row;
  wanted.a.column = product->a_inner;
  wanted.b.row = product->b_inner;
  wanted.b.column = product->b_column;
  wanted.y.row = product->columns;
  wanted.y.column = 1;
  return wanted;
}

/* ---- db = sum over rows and over the batch axes that b was broadcast along, of a^T . dy ------------- */

/* The batch axes of a product that b has, and those that it does not have: over the latter the gradient is summed, one
 * library call after another. */
typedef struct weight_gradient {
  library_product step;
  int sum_rank;
  int64_t sum[ACTNN_MAX_RANK], a_sum[ACTNN_MAX_RANK], y_sum[ACTNN_MAX_RANK];
} weight_gradient;

static inline weight_gradient
describe_gradient(const Product *product, bool transpose_b)
{
  weight_gradient gradient;
  memset(&gradient, 0, sizeof gradient);
  library_product *step = &gradient.step;
  /* db is row-major: a^T . dy, or dy^T . a when b was transposed */
  library_matrix *a = transpose_b ? &step->b : &step->a, *dy = transpose_b ? &step->a : &step->b;
  for (int i = 0; i < product->batch_rank; i++) {
    if (product->b_batch[i] == 0) {
      gradient.sum[gradient.sum_rank] = product->batch[i];
      gradient.a_sum[gradient.sum_rank] = product->a_batch[i];
      gradient.y_sum[gradient.sum_rank++] = product->y_batch[i];
      continue;
    }
    a->batch[step->batch_rank] = product->a_batch[i];
    dy->batch[step->batch_rank] = product->y_batch[i];
    step->y.batch[step->batch_rank] = product->b_batch[i];
    step->batch[step->batch_rank++] = product->batch[i];
  }
  step->adds = gradient.sum_rank > 0;
  step->rows = transpose_b ? product->columns : product->inner;
  step->inner = product->rows;
  step->columns = transpose_b ? product->inner : product->columns;
  step->a.row = transpose_b ? 1 : product->a_inner;
  step->a.column = transpose_b ? product->columns : product->a_row;
  step->b.row = transpose_b ? product->a_row : product->columns;
  step->b.column = transpose_b ? product->a_inner : 1;
  step->y.row = step->columns;
  step->y.column = 1;
  return gradient;
}

static inline bool
next_sum(const weight_gradient *gradient, int64_t *index)
{
  for (int i = gradient->sum_rank - 1; i >= 0; i--) {
    if (++index[i] < gradient->sum[i]) return true;
    index[i] = 0;
  }
  return false;
}

#endif
