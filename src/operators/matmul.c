/* matmul.c: matrix products by their definition. */
#include "evaluation.h"
#include "product.h"

actnn_kernel EVALUATE(MatMul), EVALUATE(Gemm), EVALUATE(Product), EVALUATE(ProductGradWeight);
actnn_kernel EVALUATE(ProductSum), EVALUATE(ProductGradWeightSum);

/* Where one batch of each operand begins. */
static void
batch_begins(const Product *product, const int64_t *index, int64_t *a, int64_t *b, int64_t *y)
{
  *a = *b = *y = 0;
  for (int i = 0; i < product->batch_rank; i++) {
    *a += index[i] * product->a_batch[i];
    *b += index[i] * product->b_batch[i];
    *y += index[i] * product->y_batch[i];
  }
}

/* y = scale * a . b + bias, element (row, column) of the bias at row * bias_row + column * bias_column */
typedef struct Addend {
  const REAL *data;
  int64_t row, column;
  double scale;
} Addend;

/* `earlier` is added, too, unless it is NULL; its elements lie as those of y, which it may be. */
static void
multiply(const Product *product, const REAL *a, const REAL *b, REAL *y, double scale, const Addend *addend, const REAL *earlier)
{
  for (int64_t row = 0; row < product->rows; row++)
    for (int64_t column = 0; column < product->columns; column++) {
      double sum = 0;
      for (int64_t k = 0; k < product->inner; k++)
        sum += (double)a[row * product->a_row + k * product->a_inner] *
               (double)b[k * product->b_inner + column * product->b_column];
      sum *= scale;
      if (addend->data) sum += addend->scale * (double)addend->data[row * addend->row + column * addend->column];
      if (earlier) sum += (double)earlier[row * product->columns + column];
      y[row * product->columns + column] = (REAL)sum;
    }
}

static void
multiply_batches(const Product *product, const actnn_view *a, const actnn_view *b, const actnn_view *y,
                 const Addend *addend, const actnn_view *sum)
{
  int64_t index[ACTNN_MAX_RANK] = {0};
  if (element_count(y) == 0) return;
  do {
    int64_t at_a, at_b, at_y;
    batch_begins(product, index, &at_a, &at_b, &at_y);
    multiply(product, (const REAL *)a->data + at_a, (const REAL *)b->data + at_b, (REAL *)y->data + at_y, 1, addend,
             sum ? (const REAL *)sum->data + at_y : NULL);
  } while (next_index(index, product->batch, product->batch_rank));
}

/* Of factors that begin at operand `first`, behind what they are added to if there is any. */
static int
multiply_factors(const actnn_call *call, size_t first)
{
  const actnn_view *a = &call->input[first], *b = a + 1, *bias = optional_input(call, first + 2), *y = &call->output[0];
  Product product = product_of(a, b, y, call->attribute[0].i != 0, call->attribute[1].i != 0);
  Addend addend = {bias ? bias->data : NULL, 0, 1, 1};
  multiply_batches(&product, a, b, y, &addend, first ? &call->input[0] : NULL);
  return 0;
}

int
EVALUATE(Product)(const actnn_call *call)
{
  return multiply_factors(call, 0);
}

int
EVALUATE(ProductSum)(const actnn_call *call)
{
  return multiply_factors(call, 1);
}

/* A vector on the left is one row, on the right one column; that axis is then missing in y. */
int
EVALUATE(MatMul)(const actnn_call *call)
{
  actnn_view a = call->input[0], b = call->input[1], y = call->output[0];
  int64_t a_dim[2], b_dim[2], y_dim[ACTNN_MAX_RANK + 2];
  bool a_is_vector = a.rank == 1, b_is_vector = b.rank == 1;
  int rank = y.rank - (a_is_vector ? 0 : 1) - (b_is_vector ? 0 : 1);
  if (a_is_vector) {
    a_dim[0] = 1;
    a_dim[1] = a.dim[0];
    a.rank = 2;
    a.dim = a_dim;
  }
  if (b_is_vector) {
    b_dim[0] = b.dim[0];
    b_dim[1] = 1;
    b.rank = 2;
    b.dim = b_dim;
  }
  if (rank < 0 || rank > ACTNN_MAX_RANK) return 1;
  for (int i = 0; i < rank; i++) y_dim[i] = y.dim[i];
  y_dim[rank] = a.dim[a.rank - 2];
  y_dim[rank + 1] = b.dim[b.rank - 1];
  y.dim = y_dim;
  y.rank = rank + 2;
  Product product = product_of(&a, &b, &y, false, false);
  multiply_batches(&product, &a, &b, &y, &(Addend){NULL, 0, 0, 1}, NULL);
  return 0;
}

int
EVALUATE(Gemm)(const actnn_call *call)
{
  const actnn_view *a = &call->input[0], *b = &call->input[1], *c = optional_input(call, 2), *y = &call->output[0];
  Product product = product_of(a, b, y, call->attribute[2].i != 0, call->attribute[3].i != 0);
  Addend addend = {c ? c->data : NULL, 0, 0, call->attribute[1].f};
  if (c && c->rank >= 1 && c->dim[c->rank - 1] != 1) addend.column = 1;
  if (c && c->rank == 2 && c->dim[0] != 1) addend.row = c->dim[1];
  multiply(&product, a->data, b->data, y->data, call->attribute[0].f, &addend, NULL);
  return 0;
}

/* db += a^T . dy, summed over the axes that b was broadcast along. */
static void
add_gradient(const actnn_view *dy, const actnn_view *a, const actnn_view *db, bool transpose_b)
{
  Product product = product_of(a, db, dy, false, transpose_b);
  int64_t index[ACTNN_MAX_RANK] = {0};
  if (element_count(dy) == 0) return;
  do {
    int64_t at_a, at_b, at_y;
    batch_begins(&product, index, &at_a, &at_b, &at_y);
    const REAL *left = (const REAL *)a->data + at_a, *right = (const REAL *)dy->data + at_y;
    REAL *sum = (REAL *)db->data + at_b;
    for (int64_t row = 0; row < product.rows; row++)
      for (int64_t k = 0; k < product.inner; k++)
        for (int64_t column = 0; column < product.columns; column++)
          sum[k * product.b_inner + column * product.b_column] +=
              left[row * product.a_row + k * product.a_inner] * right[row * product.columns + column];
  } while (next_index(index, product.batch, product.batch_rank));
}

int
EVALUATE(ProductGradWeight)(const actnn_call *call)
{
  const actnn_view *db = &call->output[0];
  memset(db->data, 0, (size_t)element_count(db) * sizeof(REAL));
  add_gradient(&call->input[0], &call->input[1], db, call->attribute[1].i != 0);
  return 0;
}

int
EVALUATE(ProductGradWeightSum)(const actnn_call *call)
{
  const actnn_view *db = &call->output[0];
  if (call->input[0].data != db->data) memcpy(db->data, call->input[0].data, (size_t)element_count(db) * sizeof(REAL));
  add_gradient(&call->input[1], &call->input[2], db, call->attribute[0].i != 0);
  return 0;
}
