/* stand_in_dnn.cu: the stand-in for cuDNN; see libraries/cudnn.h. */
#include "libraries/cudnn.h"
#include "libraries/stand_in.h"

const char *
cudnnGetErrorString(cudnnStatus_t status)
{
  return status == CUDNN_STATUS_NOT_SUPPORTED ? "not supported" : status ? "a bad parameter" : "none";
}

struct stand_in_handle { int unused; };
static cudnnStatus_t said(bool is_good) { return is_good ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM; }
cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) { return said(make(handle)); }
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { free(handle); return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t) { return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *descriptor) { return said(make(descriptor)); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) { free(descriptor); return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *descriptor) { return said(make(descriptor)); }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor) { free(descriptor); return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *descriptor) { return said(make(descriptor)); }
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor) { free(descriptor); return CUDNN_STATUS_SUCCESS; }

cudnnStatus_t
cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t descriptor, cudnnMathType_t arithmetic)
{
  descriptor->arithmetic = arithmetic;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t
cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t descriptor, cudnnDataType_t type, int axes, const int *dim, const int *stride)
{
  if (axes < 4 || axes > STAND_IN_AXES) /* as the library has it */
    return CUDNN_STATUS_BAD_PARAM;
  descriptor->type = type;
  descriptor->axes = axes;
  memcpy(descriptor->dim, dim, (size_t)axes * sizeof *dim);
  memcpy(descriptor->stride, stride, (size_t)axes * sizeof *stride);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t
cudnnSetFilterNdDescriptor(cudnnFilterDescriptor_t descriptor, cudnnDataType_t type, cudnnTensorFormat_t format, int axes, const int *dim)
{
  int stride[STAND_IN_AXES], step = format == CUDNN_TENSOR_NHWC ? dim[1] : 1;
  for (int i = axes - 1; i >= 0; i--) {
    stride[i] = i == 1 && format == CUDNN_TENSOR_NHWC ? 1 : step;
    step *= i == 1 && format == CUDNN_TENSOR_NHWC ? 1 : dim[i];
  }
  return cudnnSetTensorNdDescriptor(descriptor, type, axes, dim, stride);
}

cudnnStatus_t
cudnnSetConvolutionNdDescriptor(cudnnConvolutionDescriptor_t descriptor, int axes, const int *pad, const int *stride, const int *dilation,
                                cudnnConvolutionMode_t mode, cudnnDataType_t)
{
  if (axes < 2 || axes > 3 || mode != CUDNN_CROSS_CORRELATION)
    return CUDNN_STATUS_BAD_PARAM;
  descriptor->axes = axes;
  descriptor->groups = 1;
  memcpy(descriptor->pad, pad, (size_t)axes * sizeof *pad);
  memcpy(descriptor->stride, stride, (size_t)axes * sizeof *stride);
  memcpy(descriptor->dilation, dilation, (size_t)axes * sizeof *dilation);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t
cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t descriptor, int groups)
{
  descriptor->groups = groups;
  return CUDNN_STATUS_SUCCESS;
}

int64_t
stand_in_most_elements()
{
  const char *asked_for = getenv("SHIM_ELEMENTS");
  return asked_for ? atoll(asked_for) : INT32_MAX;
}

static bool
is_counted(cudnnTensorDescriptor_t operand)
{
  int64_t count = 1;
  for (int i = 0; i < operand->axes; i++)
    count *= operand->dim[i];
  return count <= stand_in_most_elements();
}

/* Shapes and types must fit, as the library would find. */
static bool
fits(cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t y)
{
  if (x->type != w->type || x->type != y->type || x->axes != w->axes || x->axes != y->axes || window->axes != x->axes - 2 || x->dim[0] != y->dim[0] ||
      x->dim[1] != w->dim[1] * window->groups || y->dim[1] != w->dim[0] || w->dim[0] % window->groups)
    return false;
  if (!is_counted(x) || !is_counted(w) || !is_counted(y))
    return false;
  for (int i = 0; i < window->axes; i++)
    if (y->dim[2 + i] != (x->dim[2 + i] + 2 * window->pad[i] - window->dilation[i] * (w->dim[2 + i] - 1) - 1) / window->stride[i] + 1)
      return false;
  return true;
}

/* What the library can do. An algorithm goes with one arithmetic: the last with none that is as quick as what was asked for. */
enum { REFUSED = 6, VARYING, VAST, ORDINARY };

static cudnnMathType_t
arithmetic_of(int algorithm, bool is_narrow, cudnnMathType_t asked_for)
{
  bool is_plain = algorithm == ORDINARY && asked_for != CUDNN_FMA_MATH;
  return !is_plain ? asked_for : is_narrow ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
}

/* SHIM_LACKS=channels-last or bfloat16: as on a GPU for which the library has no algorithm of that kind. */
static bool
is_lacking(cudnnTensorDescriptor_t x)
{
  const char *kind = getenv("SHIM_LACKS");
  if (!kind)
    return false;
  return strcmp(kind, "bfloat16") == 0 ? x->type == CUDNN_DATA_BFLOAT16 : x->stride[1] == 1;
}

/* Quickest first: one that is refused after all, one that is not deterministic, one that wants very much memory, and one for every day. */
static cudnnStatus_t
list_algorithms(bool is_fitting, cudnnTensorDescriptor_t x, cudnnConvolutionDescriptor_t window, int *count, cudnnConvolutionFwdAlgoPerf_t *list)
{
  *count = 0;
  for (int algorithm = REFUSED; algorithm <= ORDINARY && is_fitting && !is_lacking(x); algorithm++) {
    cudnnDeterminism_t determinism = algorithm == VARYING ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC;
    cudnnMathType_t arithmetic = arithmetic_of(algorithm, x->type == CUDNN_DATA_BFLOAT16, window->arithmetic);
    list[(*count)++] = cudnnConvolutionFwdAlgoPerf_t{algorithm, CUDNN_STATUS_SUCCESS, 0, determinism, arithmetic};
  }
  return said(is_fitting);
}

/* With an arithmetic that the algorithm does not go with, it is another one, which takes more. */
static cudnnStatus_t
size_workspace(bool is_fitting, cudnnTensorDescriptor_t x, cudnnConvolutionDescriptor_t window, int algorithm, size_t *bytes)
{
  bool is_own = window->arithmetic == arithmetic_of(algorithm, x->type == CUDNN_DATA_BFLOAT16, window->arithmetic);
  *bytes = algorithm == VARYING ? 0 : algorithm == VAST || !is_own ? (size_t)1 << 40 : 1000;
  return algorithm == REFUSED ? CUDNN_STATUS_NOT_SUPPORTED : said(is_fitting);
}

cudnnStatus_t
cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
                                       cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t y, int, int *count,
                                       cudnnConvolutionFwdAlgoPerf_t *list)
{
  return list_algorithms(fits(x, w, window, y), x, window, count, list);
}

cudnnStatus_t
cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy,
                                            cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t dx, int, int *count,
                                            cudnnConvolutionBwdDataAlgoPerf_t *list)
{
  return list_algorithms(fits(dx, w, window, dy), dx, window, count, list);
}

cudnnStatus_t
cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
                                              cudnnConvolutionDescriptor_t window, cudnnFilterDescriptor_t dw, int, int *count,
                                              cudnnConvolutionBwdFilterAlgoPerf_t *list)
{
  return list_algorithms(fits(x, dw, window, dy), x, window, count, list);
}

cudnnStatus_t
cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t window,
                                        cudnnTensorDescriptor_t y, int algorithm, size_t *bytes)
{
  return size_workspace(fits(x, w, window, y), x, window, algorithm, bytes);
}

cudnnStatus_t
cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy,
                                             cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t dx, int algorithm, size_t *bytes)
{
  return size_workspace(fits(dx, w, window, dy), dx, window, algorithm, bytes);
}

cudnnStatus_t
cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
                                               cudnnConvolutionDescriptor_t window, cudnnFilterDescriptor_t dw, int algorithm, size_t *bytes)
{
  return size_workspace(fits(x, dw, window, dy), x, window, algorithm, bytes);
}

/* Three spatial axes, the first of extent 1 where there are two. */
struct loops {
  int dim_x[5], dim_w[5], dim_y[5], pad[3], stride[3], dilation[3], groups;
  long step_x[5], step_w[5], step_y[5];
};

static void
widen(const stand_in_tensor *tensor, int *dim, long *step)
{
  int missing = 5 - tensor->axes;
  for (int i = 0; i < 5; i++) {
    int from = i < 2 ? i : i - missing;
    bool is_missing = i >= 2 && i < 2 + missing;
    dim[i] = is_missing ? 1 : tensor->dim[from];
    step[i] = is_missing ? 0 : tensor->stride[from];
  }
}

static loops
loops_of(cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t y)
{
  loops all;
  int missing = 3 - window->axes;
  widen(x, all.dim_x, all.step_x);
  widen(w, all.dim_w, all.step_w);
  widen(y, all.dim_y, all.step_y);
  for (int i = 0; i < 3; i++) {
    all.pad[i] = i < missing ? 0 : window->pad[i - missing];
    all.stride[i] = i < missing ? 1 : window->stride[i - missing];
    all.dilation[i] = i < missing ? 1 : window->dilation[i - missing];
  }
  all.groups = window->groups;
  return all;
}

/* meet(place in x, place in w, place in y) for each product of the convolution. */
template <typename Meet>
static void
for_products(const loops &l, Meet meet)
{
  int filters = l.dim_y[1] / l.groups, channels = l.dim_w[1];
  for (int n = 0; n < l.dim_y[0]; n++)
    for (int k = 0; k < l.dim_y[1]; k++)
      for (int z = 0; z < l.dim_y[2]; z++)
        for (int v = 0; v < l.dim_y[3]; v++)
          for (int u = 0; u < l.dim_y[4]; u++) {
            long y = n * l.step_y[0] + k * l.step_y[1] + z * l.step_y[2] + v * l.step_y[3] + u * l.step_y[4];
            for (int kz = 0; kz < l.dim_w[2]; kz++)
              for (int ky = 0; ky < l.dim_w[3]; ky++)
                for (int kx = 0; kx < l.dim_w[4]; kx++) {
                  int a = z * l.stride[0] - l.pad[0] + kz * l.dilation[0], b = v * l.stride[1] - l.pad[1] + ky * l.dilation[1],
                      c = u * l.stride[2] - l.pad[2] + kx * l.dilation[2];
                  if (a < 0 || a >= l.dim_x[2] || b < 0 || b >= l.dim_x[3] || c < 0 || c >= l.dim_x[4])
                    continue;
                  long x = n * l.step_x[0] + (long)(k / filters) * channels * l.step_x[1] + a * l.step_x[2] + b * l.step_x[3] + c * l.step_x[4];
                  long w = k * l.step_w[0] + kz * l.step_w[2] + ky * l.step_w[3] + kx * l.step_w[4];
                  for (int i = 0; i < channels; i++)
                    meet(x + i * l.step_x[1], w + i * l.step_w[1], y);
                }
          }
}

/* SHIM_ALGORITHMS=count: says at the end how many convolutions took the way that is not deterministic. */
static unsigned long varying_calls;

static struct teller {
  ~teller()
  {
    if (getenv("SHIM_ALGORITHMS"))
      fprintf(stderr, "stand-in: %lu convolutions in a way that varies\n", varying_calls);
  }
} tells_at_end;

/* Sums in double precision of the operand that is computed, and as much as beta says of what it was; the workspace is spoilt, as the library
 * may. */
template <typename Meet>
static cudnnStatus_t
compute(cudnnTensorDescriptor_t of_x, cudnnFilterDescriptor_t of_w, cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t of_y,
        int algorithm, void *workspace, size_t bytes, const void *beta, stand_in_tensor *result, void *to, Meet meet)
{
  size_t wanted;
  cudnnStatus_t status = size_workspace(fits(of_x, of_w, window, of_y), of_x, window, algorithm, &wanted);
  if (status || bytes < wanted || (wanted && !workspace))
    return status ? status : CUDNN_STATUS_BAD_PARAM;
  varying_calls += algorithm == VARYING;
  long count = 1;
  for (int i = 0; i < result->axes; i++)
    count *= result->dim[i];
  const loops all_loops = loops_of(of_x, of_w, window, of_y);
  bool is_narrow = result->type == CUDNN_DATA_BFLOAT16;
  double before = *(const float *)beta;
  shim_do([=]() {
    shim_opened all;
    memset(workspace, 0xff, bytes);
    std::vector<double> sum((size_t)count);
    for_products(all_loops, [&](long x, long w, long y) { meet(sum, x, w, y); });
    for (long i = 0; i < count; i++)
      put_number(to, is_narrow, i, (float)(sum[(size_t)i] + (before != 0 ? before * number(to, is_narrow, i) : 0)));
  });
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t
cudnnConvolutionForward(cudnnHandle_t, const void *, cudnnTensorDescriptor_t of_x, const void *x, cudnnFilterDescriptor_t of_w,
                        const void *w, cudnnConvolutionDescriptor_t window, int algorithm, void *workspace, size_t bytes, const void *beta,
                        cudnnTensorDescriptor_t of_y, void *y)
{
  bool is_narrow = of_x->type == CUDNN_DATA_BFLOAT16;
  return compute(of_x, of_w, window, of_y, algorithm, workspace, bytes, beta, of_y, y, [=](std::vector<double> &sum, long i, long j, long k) {
    sum[(size_t)k] += number(x, is_narrow, i) * number(w, is_narrow, j);
  });
}

cudnnStatus_t
cudnnConvolutionBackwardData(cudnnHandle_t, const void *, cudnnFilterDescriptor_t of_w, const void *w, cudnnTensorDescriptor_t of_dy,
                             const void *dy, cudnnConvolutionDescriptor_t window, int algorithm, void *workspace, size_t bytes, const void *beta,
                             cudnnTensorDescriptor_t of_dx, void *dx)
{
  bool is_narrow = of_dx->type == CUDNN_DATA_BFLOAT16;
  return compute(of_dx, of_w, window, of_dy, algorithm, workspace, bytes, beta, of_dx, dx, [=](std::vector<double> &sum, long i, long j, long k) {
    sum[(size_t)i] += number(w, is_narrow, j) * number(dy, is_narrow, k);
  });
}

cudnnStatus_t
cudnnConvolutionBackwardFilter(cudnnHandle_t, const void *, cudnnTensorDescriptor_t of_x, const void *x, cudnnTensorDescriptor_t of_dy,
                               const void *dy, cudnnConvolutionDescriptor_t window, int algorithm, void *workspace, size_t bytes, const void *beta,
                               cudnnFilterDescriptor_t of_dw, void *dw)
{
  bool is_narrow = of_x->type == CUDNN_DATA_BFLOAT16;
  return compute(of_x, of_dw, window, of_dy, algorithm, workspace, bytes, beta, of_dw, dw, [=](std::vector<double> &sum, long i, long j, long k) {
    sum[(size_t)j] += number(x, is_narrow, i) * number(dy, is_narrow, k);
  });
}
