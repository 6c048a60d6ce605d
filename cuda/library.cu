/* library.cu: the handles of cuDNN and cuBLASLt that a trainer has. */
#include "kernels.h"
#include "libraries.h"

#include <stdlib.h>

int
gpu_check_dnn(actnn *trainer, cudnnStatus_t status, const char *what)
{
  return status == CUDNN_STATUS_SUCCESS ? 0 : actnn_fail(trainer, "%s: cuDNN refuses: %s", what, cudnnGetErrorString(status));
}

int
gpu_check_blas(actnn *trainer, cublasStatus_t status, const char *what)
{
  return status == CUBLAS_STATUS_SUCCESS ? 0 : actnn_fail(trainer, "%s: cuBLASLt refuses: %s", what, cublasLtGetStatusString(status));
}

int
gpu_open_library(actnn *trainer)
{
  struct gpu_library *library = (struct gpu_library *)calloc(1, sizeof *library);
  trainer->device_state->library = library;
  if (library)
    library->primitive = (gpu_primitive *)calloc((size_t)trainer->model->tensor_count + 1, sizeof *library->primitive);
  if (!library || !library->primitive)
    return actnn_fail(trainer, "out of memory");
  return 0;
}

int
gpu_start_dnn(actnn *trainer)
{
  struct gpu_library *library = trainer->device_state->library;
  return !library->dnn && (gpu_check_dnn(trainer, cudnnCreate(&library->dnn), "start") ||
                           gpu_check_dnn(trainer, cudnnSetStream(library->dnn, stream_of(trainer)), "start"));
}

int
gpu_start_blas(actnn *trainer)
{
  struct gpu_library *library = trainer->device_state->library;
  return !library->blas && gpu_check_blas(trainer, cublasLtCreate(&library->blas), "start");
}

void
gpu_close_library(actnn *trainer)
{
  struct gpu_library *library = trainer->device_state->library;
  if (!library)
    return;
  for (uint32_t id = 0; library->primitive && id < trainer->model->tensor_count; id++) {
    gpu_drop_convolution(library->primitive[id].convolution);
    gpu_drop_product(library->primitive[id].product);
    gpu_drop_attention(library->primitive[id].attention);
  }
  if (library->dnn)
    cudnnDestroy(library->dnn);
  if (library->blas)
    cublasLtDestroy(library->blas);
  free(library->primitive);
  free(library);
  trainer->device_state->library = NULL;
}
