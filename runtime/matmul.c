/* matmul.c: kernels of matrix products: the library's primitives where it has them, plain loops elsewhere. */
#include "bfloat.h"
#include "copying.h"
#include "product_library.h"

#include "../src/operators/evaluation.h"

#include <string.h>

actnn_kernel plain_Product, plain_ProductSum, plain_ProductGradWeight, plain_ProductGradWeightSum;
actnn_kernel actnn_Product, actnn_ProductSum, actnn_ProductGradWeight, actnn_ProductGradWeightSum;

/* A kernel of products, and the plain loops that do the same. */
typedef struct product_kernel {
  actnn_kernel *own, *plain;
  bool has_sum; /* operand 0 is what the product is added to */
} product_kernel;

/* Others are added as FP32. */
static bool
is_sum_alike(const product_kernel *kernel, const actnn_call *call)
{
  return !kernel->has_sum || call->input[0].type == call->output[0].type;
}

static void
copy_sum(const actnn_view *sum, const actnn_view *y)
{
  if (sum->data != y->data) copy_by_threads(y->data, sum->data, (size_t)element_count(y) * element_bytes(y->type));
}

static int
multiply(const actnn_call *call, const product_kernel *kernel)
{
  actnn *trainer = call->trainer;
  const actnn_view *in = kernel->has_sum ? call->input + 1 : call->input, *a = &in[0], *b = &in[1], *y = &call->output[0];
  const actnn_view *bias = call->input + call->input_count > in + 2 && in[2].data ? &in[2] : NULL;
  if (actnn_is_preparing(call)) {
    Product product = product_of(a, b, y, call->attribute[0].i != 0, call->attribute[1].i != 0);
    library_product wanted = describe_product(&product, bias != NULL);
    wanted.adds = kernel->has_sum;
    wanted.a.is_narrow = bfloat_holds(a);
    wanted.b.is_narrow = bfloat_holds(b);
    wanted.y.is_narrow = bfloat_holds(y);
    bool is_made = is_sum_alike(kernel, call) && product_has_work(&product) && library_make_product(trainer, y->id, &wanted);
    return is_made || !bfloat_is_in(call) ? 0 : bfloat_run_on_copies(kernel->own, call);
  }
  if (bfloat_is_in(call) && !library_takes_bfloat(trainer, y->id)) return bfloat_run_on_copies(kernel->own, call);
  if (!library_has(trainer, y->id)) return kernel->plain(call);
  if (kernel->has_sum) copy_sum(&call->input[0], y);
  void *const operand[LIBRARY_OPERANDS] = {a->data, b->data, y->data, bias ? bias->data : NULL};
  return library_run(trainer, y->id, operand);
}

int
actnn_Product(const actnn_call *call)
{
  return multiply(call, &(product_kernel){actnn_Product, plain_Product, false});
}

int
actnn_ProductSum(const actnn_call *call)
{
  return multiply(call, &(product_kernel){actnn_ProductSum, plain_ProductSum, true});
}

static int
add_gradients(const actnn_call *call, const product_kernel *kernel, bool transpose_b)
{
  actnn *trainer = call->trainer;
  const actnn_view *in = kernel->has_sum ? call->input + 1 : call->input, *dy = &in[0], *a = &in[1], *db = &call->output[0];
  Product product = product_of(a, db, dy, false, transpose_b);
  weight_gradient gradient = describe_gradient(&product, transpose_b);
  if (actnn_is_preparing(call)) {
    (transpose_b ? &gradient.step.b : &gradient.step.a)->is_narrow = bfloat_holds(a);
    (transpose_b ? &gradient.step.a : &gradient.step.b)->is_narrow = bfloat_holds(dy);
    gradient.step.y.is_narrow = bfloat_holds(db);
    /* Sums of several products are FP32's. */
    bool is_exact = is_sum_alike(kernel, call) && (!gradient.step.y.is_narrow || !gradient.step.adds);
    gradient.step.adds |= kernel->has_sum;
    bool is_made = is_exact && product_has_work(&product) && library_make_product(trainer, db->id, &gradient.step);
    return is_made || !bfloat_is_in(call) ? 0 : bfloat_run_on_copies(kernel->own, call);
  }
  if (bfloat_is_in(call) && !library_takes_bfloat(trainer, db->id)) return bfloat_run_on_copies(kernel->own, call);
  if (!library_has(trainer, db->id)) return kernel->plain(call);
  if (kernel->has_sum)
    copy_sum(&call->input[0], db);
  else if (gradient.step.adds)
    memset(db->data, 0, (size_t)element_count(db) * sizeof(float));
  int64_t index[ACTNN_MAX_RANK] = {0};
  do {
    int64_t at_a = 0, at_dy = 0;
    for (int i = 0; i < gradient.sum_rank; i++) {
      at_a += index[i] * gradient.a_sum[i];
      at_dy += index[i] * gradient.y_sum[i];
    }
    char *from_a = (char *)a->data + at_a * (int64_t)element_bytes(a->type), *from_dy = (char *)dy->data + at_dy * (int64_t)element_bytes(dy->type);
    void *const operand[LIBRARY_OPERANDS] = {transpose_b ? from_dy : from_a, transpose_b ? from_a : from_dy, db->data,
                                             NULL};
    if (library_run(trainer, db->id, operand)) return 1;
  } while (next_sum(&gradient, index));
  return 0;
}

/* Known at compile time, the shape comes as attribute 0. */
int
actnn_ProductGradWeight(const actnn_call *call)
{
  return add_gradients(call, &(product_kernel){actnn_ProductGradWeight, plain_ProductGradWeight, false}, call->attribute[1].i != 0);
}

int
actnn_ProductGradWeightSum(const actnn_call *call)
{
  return add_gradients(call, &(product_kernel){actnn_ProductGradWeightSum, plain_ProductGradWeightSum, true}, call->attribute[0].i != 0);
}
