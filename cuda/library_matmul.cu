/* library_matmul.cu: matrix products by cuBLASLt.
 *
 * The library takes matrices column by column. Ours lie row by row, which is the same memory as their transposes column by column: so
 * what it is asked for is y^T = b^T a^T.
 *
 * Where any operand is held as bfloat16 both are multiplied so, and added up in FP32: one that is held as floats is rounded into the workspace
 * first. The library then takes a bias in the form of its result only: one of bfloat16 is rounded there too, one of floats added behind. */
#include "floats.h"
#include "kernels.h"
#include "libraries.h"

extern "C" {
#include "bfloat.h"
#include "product_library.h"
}

#include "../src/operators/evaluation.h"

#include <stdlib.h>

/* The library's workspace begins at a multiple of LIBRARY_ALIGNMENT, which lies at most LIBRARY_GAP bytes behind ours. */
enum { LIBRARY_ALIGNMENT = 256, LIBRARY_GAP = LIBRARY_ALIGNMENT - ACTNN_ALIGNMENT };

struct gpu_product {
  library_product shape;
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, y; /* of our names */
  cublasLtMatmulAlgo_t algorithm;
  bool is_narrow;       /* operands are multiplied as bfloat16 */
  uint64_t taken_bytes; /* of the workspace before the library's */
  size_t workspace_bytes;
  uint64_t place_of_b, place_of_bias; /* copies of gpu_Product and gpu_ProductGradWeight */
};

void
gpu_drop_product(struct gpu_product *product)
{
  if (!product)
    return;
  if (product->operation)
    cublasLtMatmulDescDestroy(product->operation);
  if (product->a)
    cublasLtMatrixLayoutDestroy(product->a);
  if (product->b)
    cublasLtMatrixLayoutDestroy(product->b);
  if (product->y)
    cublasLtMatrixLayoutDestroy(product->y);
  free(product);
}

/* Of a matrix of so many rows and columns, with steps of ours, one of which is 1: as the library has it, transposed or not. */
static bool
make_layout(cublasLtMatrixLayout_t *layout, const library_product *shape, const library_matrix *matrix, bool is_narrow, int64_t rows,
            int64_t columns, bool *is_transposed)
{
  bool by_rows = matrix->column == 1 && (columns == 1 || matrix->row >= columns || rows == 1);
  int64_t length = by_rows ? columns : rows, count = by_rows ? rows : columns, step = by_rows ? matrix->row : matrix->column;
  if (!by_rows && matrix->row != 1)
    return false;
  *is_transposed = !by_rows;
  if (step < length)
    step = length; /* of a single row or column the step is never taken */
  if (cublasLtMatrixLayoutCreate(layout, is_narrow ? CUDA_R_16BF : CUDA_R_32F, (uint64_t)length, (uint64_t)count, step) != CUBLAS_STATUS_SUCCESS) {
    *layout = NULL;
    return false;
  }
  if (!shape->batch_rank)
    return true;
  int last = shape->batch_rank - 1;
  int32_t batch = (int32_t)shape->batch[last];
  int64_t stride = matrix->batch[last];
  return cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch) == CUBLAS_STATUS_SUCCESS &&
         cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride) ==
             CUBLAS_STATUS_SUCCESS;
}

/* The library adds the bias. */
static bool
has_own_bias(const library_product *shape, bool is_narrow)
{
  return shape->has_bias && is_narrow == shape->y.is_narrow;
}

static bool
set_operation(const actnn *trainer, struct gpu_product *product, bool a_is_transposed, bool b_is_transposed)
{
  /* Of bfloat16 nothing is rounded, and the library refuses to be allowed it. */
  cublasComputeType_t compute = trainer->tensor_float && !product->is_narrow ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  cublasOperation_t of_a = a_is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, of_b = b_is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  bool has_bias = has_own_bias(&product->shape, product->is_narrow);
  cublasLtEpilogue_t epilogue = has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (cublasLtMatmulDescCreate(&product->operation, compute, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS) {
    product->operation = NULL;
    return false;
  }
  /* Until a bias is there its address says how biases are aligned. The library's first matrix is our b. */
  const void *bias = has_bias ? (const void *)(uintptr_t)ACTNN_ALIGNMENT : NULL;
  return cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_TRANSA, &of_b, sizeof of_b) == CUBLAS_STATUS_SUCCESS &&
         cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_TRANSB, &of_a, sizeof of_a) == CUBLAS_STATUS_SUCCESS &&
         cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) ==
             CUBLAS_STATUS_SUCCESS &&
         cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias) == CUBLAS_STATUS_SUCCESS;
}

/* What divides `bytes`, and those that are stepped over between calls of the library. */
static uint32_t
common_alignment(uint32_t bytes, const int64_t *step, int count, bool is_narrow)
{
  int64_t size = is_narrow ? sizeof(bfloat_number) : sizeof(float);
  for (int i = 0; i < count; i++)
    while (step[i] * size % bytes)
      bytes /= 2;
  return bytes;
}

/* How the matrices that the library is called with are aligned. It walks the last axis of a batch itself. */
static bool
prefer_alignment(const struct gpu_product *product, const product_steps *steps, cublasLtMatmulPreference_t preference)
{
  const library_product *shape = &product->shape;
  int outer = shape->batch_rank > 0 ? shape->batch_rank - 1 : 0;
  uint32_t a = common_alignment(ACTNN_ALIGNMENT, shape->a.batch, outer, product->is_narrow);
  uint32_t b = common_alignment(ACTNN_ALIGNMENT, shape->b.batch, outer, product->is_narrow);
  uint32_t y = common_alignment(ACTNN_ALIGNMENT, shape->y.batch, outer, shape->y.is_narrow);
  a = common_alignment(a, steps->a, steps->count, product->is_narrow);
  b = common_alignment(b, steps->b, steps->count, product->is_narrow);
  y = common_alignment(y, steps->y, steps->count, shape->y.is_narrow);
  return cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &b, sizeof b) ==
             CUBLAS_STATUS_SUCCESS &&
         cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &a, sizeof a) ==
             CUBLAS_STATUS_SUCCESS &&
         cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &y, sizeof y) ==
             CUBLAS_STATUS_SUCCESS &&
         cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &y, sizeof y) ==
             CUBLAS_STATUS_SUCCESS;
}

/* The quickest algorithm, by the library's judgement, that fits the workspace. */
static bool
choose_algorithm(const actnn *trainer, struct gpu_product *product, const product_steps *steps)
{
  cublasLtMatmulPreference_t preference;
  cublasLtMatmulHeuristicResult_t found;
  cublasLtHandle_t blas = trainer->device_state->library->blas;
  int count = 0;
  uint64_t taken = product->taken_bytes + LIBRARY_GAP, bytes = trainer->workspace_bytes > taken ? trainer->workspace_bytes - taken : 0;
  if (cublasLtMatmulPreferenceCreate(&preference) != CUBLAS_STATUS_SUCCESS)
    return false;
  bool is_good = cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes) ==
                     CUBLAS_STATUS_SUCCESS &&
                 prefer_alignment(product, steps, preference) &&
                 cublasLtMatmulAlgoGetHeuristic(blas, product->operation, product->b, product->a, product->y, product->y, preference, 1,
                                                &found, &count) == CUBLAS_STATUS_SUCCESS &&
                 count > 0 && found.state == CUBLAS_STATUS_SUCCESS;
  cublasLtMatmulPreferenceDestroy(preference);
  if (!is_good)
    return false;
  product->algorithm = found.algo;
  product->workspace_bytes = found.workspaceSize;
  return true;
}

int
gpu_make_product(actnn *trainer, const library_product *shape, bool is_narrow, uint64_t taken_bytes, const product_steps *steps,
                 struct gpu_product **made)
{
  if (gpu_start_blas(trainer))
    return 1;
  struct gpu_product *product = (struct gpu_product *)calloc(1, sizeof *product);
  bool a_is_transposed, b_is_transposed, y_is_transposed;
  if (!product)
    return actnn_fail(trainer, "out of memory");
  product->shape = *shape;
  product->is_narrow = is_narrow;
  product->taken_bytes = taken_bytes;
  if (make_layout(&product->a, shape, &shape->a, is_narrow, shape->rows, shape->inner, &a_is_transposed) &&
      make_layout(&product->b, shape, &shape->b, is_narrow, shape->inner, shape->columns, &b_is_transposed) &&
      make_layout(&product->y, shape, &shape->y, shape->y.is_narrow, shape->rows, shape->columns, &y_is_transposed) && !y_is_transposed &&
      set_operation(trainer, product, a_is_transposed, b_is_transposed) && choose_algorithm(trainer, product, steps)) {
    uint64_t wanted = taken_bytes + (product->workspace_bytes ? LIBRARY_GAP + product->workspace_bytes : 0);
    if (wanted > trainer->workspace_wanted)
      trainer->workspace_wanted = wanted;
    *made = product;
    return 0;
  }
  gpu_drop_product(product);
  return DEVICE_DECLINES;
}

/* Makes what computes tensor `id` of operands a and b, with places in the workspace for those (and a bias) that are rounded; the processor does
 * what the library does not take. */
static int
prepare_product(actnn *trainer, uint32_t id, const library_product *shape, const actnn_view *a, const actnn_view *b, const product_steps *steps)
{
  gpu_primitive *slot = gpu_primitive_of(trainer, id);
  bool is_narrow = bfloat_holds(a) || bfloat_holds(b) || shape->y.is_narrow;
  uint64_t place_of_b = 0, place_of_bias = 0, bytes = 0;
  if (is_narrow) {
    place_of_b = bfloat_holds(a) ? 0 : gpu_padded((uint64_t)element_count(a) * sizeof(bfloat_number));
    place_of_bias = place_of_b + (bfloat_holds(b) ? 0 : gpu_padded((uint64_t)element_count(b) * sizeof(bfloat_number)));
    bytes = place_of_bias + (has_own_bias(shape, true) ? gpu_padded((uint64_t)shape->columns * sizeof(bfloat_number)) : 0);
  }
  gpu_drop_product(slot->product);
  slot->product = NULL;
  int failed = gpu_make_product(trainer, shape, is_narrow, bytes, steps, &slot->product);
  if (!failed) {
    slot->product->place_of_b = place_of_b;
    slot->product->place_of_bias = place_of_bias;
  }
  return failed;
}

/* An operand as it is multiplied, rounded to its place in the workspace where it is held as floats; NULL with a message. */
static const char *
given(const actnn_call *call, const struct gpu_product *product, const actnn_view *view, uint64_t place)
{
  if (!product->is_narrow || bfloat_holds(view))
    return (const char *)view->data;
  void *copy = call->trainer->workspace + place;
  return gpu_convert(call->trainer, copy, view->data, element_count(view), true) ? NULL : (const char *)copy;
}

/* A thread for each element: adds the bias of its column. */
KERNEL
add_columns(float *y, const float *bias, int64_t count, int64_t columns)
{
  int64_t i = thread_number();
  if (i < count)
    y[i] += bias[i % columns];
}

/* Where the library's workspace begins. */
static void *
library_room(const actnn *trainer, const struct gpu_product *product)
{
  uintptr_t behind_taken = (uintptr_t)trainer->workspace + product->taken_bytes;
  return (void *)((behind_taken + LIBRARY_ALIGNMENT - 1) / LIBRARY_ALIGNMENT * LIBRARY_ALIGNMENT);
}

int
gpu_multiply(actnn *trainer, struct gpu_product *product, const void *first, const void *second, void *result, product_sum sum)
{
  const library_product *shape = &product->shape;
  const char *a = (const char *)first, *b = (const char *)second;
  char *y = (char *)result;
  const char *earlier = (const char *)(sum.earlier ? sum.earlier : result);
  const float scale = sum.scale, add = sum.earlier ? 1 : 0;
  int64_t index[ACTNN_MAX_RANK] = {0};
  int outer = shape->batch_rank - 1; /* axes that the library does not walk */
  int64_t size = product->is_narrow ? sizeof(bfloat_number) : sizeof(float), y_size = shape->y.is_narrow ? sizeof(bfloat_number) : sizeof(float);
  if (sum.bias && gpu_check_blas(trainer,
                                 cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &sum.bias,
                                                                sizeof sum.bias),
                                 "a matrix product"))
    return 1;
  for (bool is_more = true; is_more;) {
    int64_t at_a = 0, at_b = 0, at_y = 0;
    for (int i = 0; i < outer; i++) {
      at_a += index[i] * shape->a.batch[i] * size;
      at_b += index[i] * shape->b.batch[i] * size;
      at_y += index[i] * shape->y.batch[i] * y_size;
    }
    if (gpu_check_blas(trainer,
                       cublasLtMatmul(trainer->device_state->library->blas, product->operation, &scale, b + at_b, product->b, a + at_a,
                                      product->a, &add, earlier + at_y, product->y, y + at_y, product->y, &product->algorithm,
                                      library_room(trainer, product), product->workspace_bytes, stream_of(trainer)),
                       "a matrix product"))
      return 1;
    is_more = false;
    for (int i = outer - 1; i >= 0 && !is_more; i--) {
      is_more = ++index[i] < shape->batch[i];
      if (!is_more)
        index[i] = 0;
    }
  }
  return 0;
}

static bool
is_float(const actnn_call *call, size_t count)
{
  for (size_t i = 0; i < count; i++)
    if (call->input[i].data && call->input[i].type != ACTNN_F32 && !bfloat_holds(&call->input[i]))
      return false;
  return true;
}

/* has_sum: operand 0 is what the product is added to. */
static int
multiply(const actnn_call *call, bool has_sum)
{
  const actnn_view *in = has_sum ? call->input + 1 : call->input, *a = &in[0], *b = &in[1], *y = &call->output[0];
  const actnn_view *bias = call->input + call->input_count > in + 2 && in[2].data ? &in[2] : NULL;
  if (actnn_is_preparing(call)) {
    Product product = product_of(a, b, y, call->attribute[0].i != 0, call->attribute[1].i != 0);
    library_product shape = describe_product(&product, bias != NULL);
    shape.y.is_narrow = bfloat_holds(y);
    bool is_possible = is_float(call, call->input_count) && product_has_work(&product) && (!has_sum || call->input[0].type == y->type);
    const product_steps none = {0, NULL, NULL, NULL};
    return is_possible ? prepare_product(call->trainer, y->id, &shape, a, b, &none) : DEVICE_DECLINES;
  }
  struct gpu_product *product = gpu_primitive_of(call->trainer, y->id)->product;
  if (!product)
    return DEVICE_DECLINES;
  const char *from_a = given(call, product, a, 0), *from_b = given(call, product, b, product->place_of_b);
  const void *added = bias && has_own_bias(&product->shape, product->is_narrow) ? bias->data : NULL;
  if (added && product->is_narrow) {
    added = call->trainer->workspace + product->place_of_bias;
    if (gpu_convert(call->trainer, call->trainer->workspace + product->place_of_bias, bias->data, product->shape.columns, true))
      return 1;
  }
  const product_sum sum = {1, has_sum ? call->input[0].data : NULL, added};
  if (!from_a || !from_b || gpu_multiply(call->trainer, product, from_a, from_b, y->data, sum))
    return 1;
  int64_t count = element_count(y);
  return bias && !added && LAUNCH(call, add_columns, count, (float *)y->data, (const float *)bias->data, count, product->shape.columns);
}

extern "C" int
gpu_Product(const actnn_call *call)
{
  return multiply(call, false);
}

extern "C" int
gpu_ProductSum(const actnn_call *call)
{
  return multiply(call, true);
}

static int
add_gradients(const actnn_call *call, bool has_sum, bool transpose_b)
{
  const actnn_view *in = has_sum ? call->input + 1 : call->input, *dy = &in[0], *a = &in[1], *db = &call->output[0];
  Product shape = product_of(a, db, dy, false, transpose_b);
  weight_gradient gradient = describe_gradient(&shape, transpose_b);
  if (actnn_is_preparing(call)) {
    gradient.step.y.is_narrow = bfloat_holds(db);
    bool is_exact = !bfloat_holds(db) || !gradient.step.adds; /* sums of several products are floats */
    is_exact &= !has_sum || call->input[0].type == db->type;
    const int64_t none[ACTNN_MAX_RANK] = {0};
    const product_steps steps = {gradient.sum_rank, transpose_b ? gradient.y_sum : gradient.a_sum,
                                 transpose_b ? gradient.a_sum : gradient.y_sum, none};
    return is_float(call, call->input_count) && is_exact && product_has_work(&shape)
               ? prepare_product(call->trainer, db->id, &gradient.step, transpose_b ? dy : a, transpose_b ? a : dy, &steps) : DEVICE_DECLINES;
  }
  struct gpu_product *product = gpu_primitive_of(call->trainer, db->id)->product;
  if (!product)
    return DEVICE_DECLINES;
  int64_t index[ACTNN_MAX_RANK] = {0};
  const char *whole_a = given(call, product, a, transpose_b ? product->place_of_b : 0);
  const char *whole_dy = given(call, product, dy, transpose_b ? 0 : product->place_of_b);
  if (!whole_a || !whole_dy)
    return 1;
  int64_t size = product->is_narrow ? sizeof(bfloat_number) : sizeof(float);
  const void *earlier = has_sum ? call->input[0].data : NULL;
  do {
    const char *from_a = whole_a, *from_dy = whole_dy;
    for (int i = 0; i < gradient.sum_rank; i++) {
      from_a += index[i] * gradient.a_sum[i] * size;
      from_dy += index[i] * gradient.y_sum[i] * size;
    }
    if (gpu_multiply(call->trainer, product, transpose_b ? from_dy : from_a, transpose_b ? from_a : from_dy, db->data, {1, earlier, NULL}))
      return 1;
    earlier = db->data;
  } while (next_sum(&gradient, index));
  return 0;
}

/* Known at compile time, the shape comes as attribute 0. */
extern "C" int
gpu_ProductGradWeight(const actnn_call *call)
{
  return add_gradients(call, false, call->attribute[1].i != 0);
}

extern "C" int
gpu_ProductGradWeightSum(const actnn_call *call)
{
  return add_gradients(call, true, call->attribute[0].i != 0);
}
