/* stand_in_blas.cu: the stand-in for cuBLASLt; see libraries/cublasLt.h. */
#include "libraries/cublasLt.h"
#include "libraries/stand_in.h"

const char *
cublasLtGetStatusString(cublasStatus_t status)
{
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : status ? "a bad value" : "none";
}

struct stand_in_blas { int unused; };
static cublasStatus_t told(bool is_good) { return is_good ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) { return told(make(handle)); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { free(handle); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) { free(operation); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { free(layout); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t made) { free(made); return CUBLAS_STATUS_SUCCESS; }

/* As the library has it where nothing else is said. */
enum { LIBRARY_ALIGNMENT = 256 };

cublasStatus_t
cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *made, cublasComputeType_t compute, cudaDataType_t)
{
  if (!make(made))
    return CUBLAS_STATUS_INVALID_VALUE;
  (*made)->compute = compute;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *made)
{
  if (!make(made))
    return CUBLAS_STATUS_INVALID_VALUE;
  for (uint32_t &alignment : (*made)->alignment)
    alignment = LIBRARY_ALIGNMENT;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const void *value, size_t bytes)
{
  void *field[] = {&operation->of_a, &operation->of_b, &operation->epilogue, &operation->bias};
  size_t size[] = {sizeof operation->of_a, sizeof operation->of_b, sizeof operation->epilogue, sizeof operation->bias};
  if (bytes != size[attribute])
    return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(field[attribute], value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t type, uint64_t rows, uint64_t columns, int64_t step)
{
  if (!make(layout) || step < (int64_t)rows)
    return CUBLAS_STATUS_INVALID_VALUE;
  **layout = stand_in_matrix{type, rows, columns, step, 0, 1};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, const void *value, size_t bytes)
{
  bool is_count = attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT;
  if (bytes != (is_count ? sizeof layout->batch : sizeof layout->batch_step))
    return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(is_count ? (void *)&layout->batch : (void *)&layout->batch_step, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                     size_t bytes)
{
  bool is_room = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
  uint32_t *alignment = &preference->alignment[is_room ? 0 : attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES];
  if (bytes != (is_room ? sizeof preference->bytes : sizeof *alignment))
    return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(is_room ? (void *)&preference->bytes : (void *)alignment, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

/* Extents after transposition must fit, and both operands are of one type, which is the result's unless that is of floats. Only floats can
 * be rounded to TF32. */
static bool
fits(cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t d)
{
  uint64_t m = operation->of_a == CUBLAS_OP_T ? a->columns : a->rows, k = operation->of_a == CUBLAS_OP_T ? a->rows : a->columns;
  uint64_t inner = operation->of_b == CUBLAS_OP_T ? b->columns : b->rows, n = operation->of_b == CUBLAS_OP_T ? b->rows : b->columns;
  if (a->type != b->type || (d->type != a->type && d->type != CUDA_R_32F))
    return false;
  if (operation->compute == CUBLAS_COMPUTE_32F_FAST_TF32 && a->type != CUDA_R_32F)
    return false;
  return m == d->rows && n == d->columns && k == inner && a->batch == d->batch && b->batch == d->batch;
}

cublasStatus_t
cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                               cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int,
                               cublasLtMatmulHeuristicResult_t *list, int *count)
{
  cublasLtMatmulAlgo_t algorithm = {3, preference->bytes < 1000 ? 0 : (size_t)1000, {}};
  memcpy(algorithm.alignment, preference->alignment, sizeof algorithm.alignment);
  while (operation->bias && (uintptr_t)operation->bias % algorithm.alignment[STAND_IN_ADDRESSES - 1])
    algorithm.alignment[STAND_IN_ADDRESSES - 1] /= 2;
  *count = fits(operation, a, b, d);
  *list = cublasLtMatmulHeuristicResult_t{algorithm, algorithm.bytes, CUBLAS_STATUS_SUCCESS};
  return *count > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* Addresses are as aligned as the algorithm was told, and its workspace as the library demands. */
static bool
are_aligned(const cublasLtMatmulAlgo_t *algorithm, const void *a, const void *b, const void *c, const void *d, const void *bias,
            const void *workspace, size_t bytes)
{
  const void *address[STAND_IN_ADDRESSES] = {a, b, c, d, bias};
  for (int i = 0; i < STAND_IN_ADDRESSES; i++)
    if ((uintptr_t)address[i] % algorithm->alignment[i])
      return false;
  return bytes >= algorithm->bytes && (!algorithm->bytes || workspace) && (uintptr_t)workspace % LIBRARY_ALIGNMENT == 0;
}

static double
element(const void *data, const stand_in_matrix *of, bool is_transposed, int64_t batch, int64_t row, int64_t column)
{
  int64_t at = batch * of->batch_step + (is_transposed ? column + row * of->step : row + column * of->step);
  return number(data, of->type == CUDA_R_16BF, at);
}

struct product {
  const void *a, *b, *c;
  void *d;
  stand_in_matrix of_a, of_b, of_d;
  bool turns_a, turns_b;
  float scale, kept;
  const void *bias; /* nullptr: none; of the result's type */
};

static void
multiply(const product &all)
{
  int64_t inner = (int64_t)(all.turns_a ? all.of_a.rows : all.of_a.columns);
  for (int64_t batch = 0; batch < all.of_d.batch; batch++) {
    for (int64_t column = 0; column < (int64_t)all.of_d.columns; column++)
      for (int64_t row = 0; row < (int64_t)all.of_d.rows; row++) {
        double sum = 0;
        for (int64_t i = 0; i < inner; i++)
          sum += element(all.a, &all.of_a, all.turns_a, batch, row, i) * element(all.b, &all.of_b, all.turns_b, batch, i, column);
        bool is_narrow = all.of_d.type == CUDA_R_16BF;
        double before = all.kept != 0 ? element(all.c, &all.of_d, false, batch, row, column) : 0;
        sum = all.scale * sum + all.kept * before + (all.bias ? number(all.bias, is_narrow, row) : 0);
        put_number(all.d, is_narrow, batch * all.of_d.batch_step + row + column * all.of_d.step, (float)sum);
      }
  }
}

cublasStatus_t
cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void *alpha, const void *a, cublasLtMatrixLayout_t of_a,
               const void *b, cublasLtMatrixLayout_t of_b, const void *beta, const void *c, cublasLtMatrixLayout_t, void *d,
               cublasLtMatrixLayout_t of_d, const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t bytes, cudaStream_t)
{
  bool has_bias = operation->epilogue == CUBLASLT_EPILOGUE_BIAS;
  const void *bias = has_bias ? operation->bias : nullptr;
  if (!fits(operation, of_a, of_b, of_d) || algorithm->number != 3 || has_bias != (bias != nullptr) ||
      !are_aligned(algorithm, a, b, c, d, bias, workspace, bytes))
    return CUBLAS_STATUS_INVALID_VALUE;
  const product all = {a, b, c, d, *of_a, *of_b, *of_d,
                       operation->of_a == CUBLAS_OP_T, operation->of_b == CUBLAS_OP_T, *(const float *)alpha, *(const float *)beta, bias};
  shim_do([=]() {
    shim_opened opened;
    memset(workspace, 0xff, bytes);
    multiply(all);
  });
  return CUBLAS_STATUS_SUCCESS;
}
