/* matmul.c: kernels of matrix products: the library's primitives where it has them, plain loops elsewhere. */
#include "bfloat.h"
#include "product_library.h"

#include "../src/operators/evaluation.h"

#include <string.h>

actnn_kernel plain_Product, plain_ProductGradWeight;
actnn_kernel actnn_Product, actnn_ProductGradWeight;

int
actnn_Product(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *a = &call->input[0], *b = &call->input[1], *y = &call->output[0];
  const actnn_view *bias = call->input_count > 2 && call->input[2].data ? &call->input[2] : NULL;
  if (actnn_is_preparing(call)) {
    Product product = product_of(a, b, y, call->attribute[0].i != 0, call->attribute[1].i != 0);
    library_product wanted = describe_product(&product, bias != NULL);
    wanted.a.is_narrow = bfloat_holds(a);
    wanted.b.is_narrow = bfloat_holds(b);
    wanted.y.is_narrow = bfloat_holds(y);
    bool is_made = product_has_work(&product) && library_make_product(trainer, y->id, &wanted);
    return is_made || !bfloat_is_in(call) ? 0 : bfloat_run_on_copies(actnn_Product, call);
  }
  if (bfloat_is_in(call) && !library_takes_bfloat(trainer, y->id)) return bfloat_run_on_copies(actnn_Product, call);
  if (!library_has(trainer, y->id)) return plain_Product(call);
  void *const operand[LIBRARY_OPERANDS] = {a->data, b->data, y->data, bias ? bias->data : NULL};
  return library_run(trainer, y->id, operand);
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
    (transpose_b ? &gradient.step.b : &gradient.step.a)->is_narrow = bfloat_holds(a);
    (transpose_b ? &gradient.step.a : &gradient.step.b)->is_narrow = bfloat_holds(dy);
    gradient.step.y.is_narrow = bfloat_holds(db);
    /* Sums of several products are FP32's. */
    bool is_exact = !gradient.step.y.is_narrow || !gradient.step.adds;
    bool is_made = is_exact && product_has_work(&product) && library_make_product(trainer, db->id, &gradient.step);
    return is_made || !bfloat_is_in(call) ? 0 : bfloat_run_on_copies(actnn_ProductGradWeight, call);
  }
  if (bfloat_is_in(call) && !library_takes_bfloat(trainer, db->id)) return bfloat_run_on_copies(actnn_ProductGradWeight, call);
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
    char *from_a = (char *)a->data + at_a * (int64_t)element_bytes(a->type), *from_dy = (char *)dy->data + at_dy * (int64_t)element_bytes(dy->type);
    void *const operand[LIBRARY_OPERANDS] = {transpose_b ? from_dy : from_a, transpose_b ? from_a : from_dy, db->data,
                                             NULL};
    if (library_run(trainer, db->id, operand)) return 1;
  } while (next_sum(&gradient, index));
  return 0;
}
