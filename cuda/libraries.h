/* libraries.h: what the files library*.cu share: handles of cuDNN and cuBLASLt, and for each tensor what it is computed by. */
#ifndef ACTNN_CUDA_LIBRARY_H
#define ACTNN_CUDA_LIBRARY_H

#include "gpu.h"

#include <cublasLt.h>
#include <cudnn.h>

/* So many elements of an operand the library for convolutions counts; the stand-in says that itself, for tests. */
#ifndef MOST_ELEMENTS
#define MOST_ELEMENTS INT32_MAX
#endif

/* What a tensor is computed by, made while the trainer prepares; one of the two is there (library_convolution.cu, library_matmul.cu). */
typedef struct gpu_primitive {
  struct gpu_convolution *convolution;
  struct gpu_product *product;
} gpu_primitive;

struct gpu_library {
  cudnnHandle_t dnn;     /* NULL until a convolution is prepared, for that takes long; */
  cublasLtHandle_t blas; /* a product */
  gpu_primitive *primitive; /* one slot a tensor */
};

static inline gpu_primitive *
gpu_primitive_of(const actnn *trainer, uint32_t tensor)
{
  return &trainer->device_state->library->primitive[tensor];
}

/* 0, or 1 and why the library refuses. */
int gpu_check_dnn(actnn *trainer, cudnnStatus_t status, const char *what);
int gpu_check_blas(actnn *trainer, cublasStatus_t status, const char *what);
/* While preparing: makes the library's handle, unless it is there. Likewise. */
int gpu_start_dnn(actnn *trainer);
int gpu_start_blas(actnn *trainer);
void gpu_drop_convolution(struct gpu_convolution *convolution);
void gpu_drop_product(struct gpu_product *product);

#endif
