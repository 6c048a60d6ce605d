/* library_matmul.cu: matrix products by cuBLASLt.
 *
 * The library takes matrices column by column. Ours lie row by row, which is the same memory as their transposes column by column: so
 * what it is asked for is y^T = b^T a^T. */
#include "libraries.h"
#include "moving.h"

extern "C" {
#include "product_library.h"
}

#include <stdlib.h>

struct gpu_product {
  library_product shape;
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, y; /* of our names */
  cublasLtMatmulAlgo_t algorithm;
  size_t workspace_bytes;
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
make_layout(cublasLtMatrixLayout_t *layout, const library_product *shape, const library_matrix *matrix, int64_t rows, int64_t columns,
            bool *is_transposed)
{
  bool by_rows = matrix->column == 1 && (columns == 1 || matrix->row >= columns || rows == 1);
  int64_t length = by_rows ? columns : rows, count = by_rows ? rows : columns, step = by_rows ? matrix->row : matrix->column;
  if (!by_rows && matrix->row != 1)
    return false;
  *is_transposed = !by_rows;
  if (step < length)
    step = length; /* of a single row or column the step is never taken */
  if (cublasLtMatrixLayoutCreate(layout, CUDA_R_32F, (uint64_t)length, (uint64_t)count, step) != CUBLAS_STATUS_SUCCESS) {
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

static bool
set_operation(const actnn *trainer, struct gpu_product *product, bool a_is_transposed, bool b_is_transposed)
{
  cublasComputeType_t compute = trainer->tensor_float ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  cublasOperation_t of_a = a_is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, of_b = b_is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = product->shape.has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (cublasLtMatmulDescCreate(&product->operation, compute, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS) {
    product->operation = NULL;
    return false;
  }
  /* The library's first matrix is our b. */
  return cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_TRANSA, &of_b, sizeof of_b) == CUBLAS_STATUS_SUCCESS &&
         cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_TRANSB, &of_a, sizeof of_a) == CUBLAS_STATUS_SUCCESS &&
         cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) ==
             CUBLAS_STATUS_SUCCESS;
}

/* The quickest algorithm, by the library's judgement, that fits the workspace. */
static bool
choose_algorithm(const actnn *trainer, struct gpu_product *product)
{
  cublasLtMatmulPreference_t preference;
  cublasLtMatmulHeuristicResult_t found;
  cublasLtHandle_t blas = trainer->device_state->library->blas;
  int count = 0;
  uint64_t bytes = trainer->workspace_bytes;
  if (cublasLtMatmulPreferenceCreate(&preference) != CUBLAS_STATUS_SUCCESS)
    return false;
  bool is_good = cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes) ==
                     CUBLAS_STATUS_SUCCESS &&
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

/* Makes what computes tensor `id`; the processor does what the library does not take. */
static int
prepare_product(actnn *trainer, uint32_t id, const library_product *shape)
{
  gpu_primitive *slot = gpu_primitive_of(trainer, id);
  struct gpu_product *product = (struct gpu_product *)calloc(1, sizeof *product);
  bool a_is_transposed, b_is_transposed, y_is_transposed;
  if (!product)
    return actnn_fail(trainer, "out of memory");
  product->shape = *shape;
  gpu_drop_product(slot->product);
  slot->product = NULL;
  if (make_layout(&product->a, shape, &shape->a, shape->rows, shape->inner, &a_is_transposed) &&
      make_layout(&product->b, shape, &shape->b, shape->inner, shape->columns, &b_is_transposed) &&
      make_layout(&product->y, shape, &shape->y, shape->rows, shape->columns, &y_is_transposed) && !y_is_transposed &&
      set_operation(trainer, product, a_is_transposed, b_is_transposed) && choose_algorithm(trainer, product)) {
    slot->product = product;
    return 0;
  }
  gpu_drop_product(product);
  return DEVICE_DECLINES;
}

/* One product, over all of its batch. */
static int
multiply(const actnn_call *call, struct gpu_product *product, const float *a, const float *b, float *y, const float *bias)
{
  actnn *trainer = call->trainer;
  const library_product *shape = &product->shape;
  const float one = 1, add = shape->adds ? 1 : 0;
  int64_t index[ACTNN_MAX_RANK] = {0};
  int outer = shape->batch_rank - 1; /* axes that the library does not walk */
  if (bias && gpu_check_blas(trainer,
                             cublasLtMatmulDescSetAttribute(product->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias),
                             "a matrix product"))
    return 1;
  for (bool is_more = true; is_more;) {
    int64_t at_a = 0, at_b = 0, at_y = 0;
    for (int i = 0; i < outer; i++) {
      at_a += index[i] * shape->a.batch[i];
      at_b += index[i] * shape->b.batch[i];
      at_y += index[i] * shape->y.batch[i];
    }
    if (gpu_check_blas(trainer,
                       cublasLtMatmul(trainer->device_state->library->blas, product->operation, &one, b + at_b, product->b, a + at_a,
                                      product->a, &add, y + at_y, product->y, y + at_y, product->y, &product->algorithm,
                                      trainer->workspace, product->workspace_bytes, stream_of(trainer)),
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
    if (call->input[i].data && call->input[i].type != ACTNN_F32)
      return false;
  return true;
}

extern "C" int
gpu_Product(const actnn_call *call)
{
  const actnn_view *a = &call->input[0], *b = &call->input[1], *y = &call->output[0];
  const actnn_view *bias = call->input_count > 2 && call->input[2].data ? &call->input[2] : NULL;
  if (actnn_is_preparing(call)) {
    Product product = product_of(a, b, y, call->attribute[0].i != 0, call->attribute[1].i != 0);
    library_product shape = describe_product(&product, bias != NULL);
    bool is_possible = is_float(call, call->input_count) && product_has_work(&product);
    return is_possible ? prepare_product(call->trainer, y->id, &shape) : DEVICE_DECLINES;
  }
  struct gpu_product *product = gpu_primitive_of(call->trainer, y->id)->product;
  if (!product)
    return DEVICE_DECLINES;
  return multiply(call, product, (const float *)a->data, (const float *)b->data, (float *)y->data, bias ? (const float *)bias->data : NULL);
}

extern "C" int
gpu_ProductGradWeight(const actnn_call *call)
{
  const actnn_view *dy = &call->input[0], *a = &call->input[1], *db = &call->output[0];
  bool transpose_b = call->attribute[1].i != 0;
  Product shape = product_of(a, db, dy, false, transpose_b);
  weight_gradient gradient = describe_gradient(&shape, transpose_b);
  if (actnn_is_preparing(call))
    return is_float(call, 2) && product_has_work(&shape) ? prepare_product(call->trainer, db->id, &gradient.step) : DEVICE_DECLINES;
  struct gpu_product *product = gpu_primitive_of(call->trainer, db->id)->product;
  if (!product)
    return DEVICE_DECLINES;
  int64_t count = 1, index[ACTNN_MAX_RANK] = {0};
  for (int i = 0; i < db->rank; i++)
    count *= db->dim[i];
  if (gradient.step.adds && clear_bytes(call, db->data, count * (int64_t)sizeof(float)))
    return 1;
  do {
    const float *from_a = (const float *)a->data, *from_dy = (const float *)dy->data;
    for (int i = 0; i < gradient.sum_rank; i++) {
      from_a += index[i] * gradient.a_sum[i];
      from_dy += index[i] * gradient.y_sum[i];
    }
    if (multiply(call, product, transpose_b ? from_dy : from_a, transpose_b ? from_a : from_dy, (float *)db->data, NULL))
      return 1;
  } while (next_sum(&gradient, index));
  return 0;
}
