/* matmul.c: kernels of matrix products: the library's primitives where it has them, plain loops elsewhere. */
#include "../src/operators/product.h"
#include "library.h"

#include <string.h>

actnn_kernel plain_Product, plain_ProductGradWeight;
actnn_kernel actnn_Product, actnn_ProductGradWeight;

static bool
has_work(const Product *product)
{
  for (int i = 0; i < product->batch_rank; i++)
    if (product->batch[i] == 0) return false;
  return product->rows && product->inner && product->columns;
}

int
actnn_Product(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *a = &call->input[0], *b = &call->input[1], *y = &call->output[0];
  const actnn_view *bias = call->input_count > 2 && call->input[2].data ? &call->input[2] : NULL;
  if (actnn_is_preparing(call)) {
    Product product = product_of(a, b, y, call->attribute[0].i != 0, call->attribute[1].i != 0);
    library_product wanted = {.batch_rank = product.batch_rank, .rows = product.rows, .inner = product.inner,
                              .columns = product.columns, .has_bias = bias != NULL};
    memcpy(wanted.batch, product.batch, sizeof wanted.batch);
    memcpy(wanted.a.batch, product.a_batch, sizeof wanted.batch);
    memcpy(wanted.b.batch, product.b_batch, sizeof wanted.batch);
    memcpy(wanted.y.batch, product.y_batch, sizeof wanted.batch);
    wanted.a.row = product.a_row;
    wanted.a.column = product.a_inner;
    wanted.b.row = product.b_inner;
    wanted.b.column = product.b_column;
    wanted.y.row = product.columns;
    wanted.y.column = 1;
    if (has_work(&product)) library_make_product(trainer, y->id, &wanted);
    return 0;
  }
  if (!library_has(trainer, y->id)) return plain_Product(call);
  void *const operand[LIBRARY_OPERANDS] = {a->data, b->data, y->data, bias ? bias->data : NULL};
  return library_run(trainer, y->id, operand);
}

/* ---- db = sum over rows and over the batch axes that b was broadcast along, of a^T . dy ------------- */

/* The batch axes of a product that b has, and those that it does not have: over the latter the gradient is summed, one
 * library call after another. */
typedef struct weight_gradient {
  library_product step;
  int sum_rank;
  int64_t sum[ACTNN_MAX_RANK], a_sum[ACTNN_MAX_RANK], y_sum[ACTNN_MAX_RANK];
} weight_gradient;

static weight_gradient
describe_gradient(const Product *product, bool transpose_b)
{
  weight_gradient gradient = {0};
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

static bool
next_sum(const weight_gradient *gradient, int64_t *index)
{
  for (int i = gradient->sum_rank - 1; i >= 0; i--) {
    if (++index[i] < gradient->sum[i]) return true;
    index[i] = 0;
  }
  return false;
}

int
actnn_ProductGradWeight(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *dy = &call->input[0], *a = &call->input[1], *db = &call->output[0];
  bool transpose_b = call->attribute[1].i != 0;
  Product product = product_of(a, db, dy, false, transpose_b);
  weight_gradient gradient = describe_gradient(&product, transpose_b);
  if (actnn_is_preparing(call)) {
    if (has_work(&product)) library_make_product(trainer, db->id, &gradient.step);
    return 0;
  }
  if (!library_has(trainer, db->id)) return plain_ProductGradWeight(call);
  if (gradient.step.adds) {
    size_t count = 1;
    for (int i = 0; i < db->rank; i++) count *= (size_t)db->dim[i];
    memset(db->data, 0, count * sizeof(float));
  }
  int64_t index[ACTNN_MAX_RANK] = {0};
  do {
    int64_t at_a = 0, at_dy = 0;
    for (int i = 0; i < gradient.sum_rank; i++) {
      at_a += index[i] * gradient.a_sum[i];
      at_dy += index[i] * gradient.y_sum[i];
    }
    float *from_a = (float *)a->data + at_a, *from_dy = (float *)dy->data + at_dy;
    void *const operand[LIBRARY_OPERANDS] = {transpose_b ? from_dy : from_a, transpose_b ? from_a : from_dy, db->data,
                                             NULL};
    if (library_run(trainer, db->id, operand)) return 1;
  } while (next_sum(&gradient, index));
  return 0;
}
