/* libraries.h: what the files library*.cu share: handles of cuDNN and cuBLASLt, and for each tensor what it is computed by. */
#ifndef ACTNN_CUDA_LIBRARY_H
#define ACTNN_CUDA_LIBRARY_H

#include "gpu.h"

extern "C" {
#include "library.h"
}

#include <cublasLt.h>
#include <cudnn.h>

/* So many elements of an operand the library for convolutions counts; the stand-in says that itself, for tests. */
#ifndef MOST_ELEMENTS
#define MOST_ELEMENTS INT32_MAX
#endif

/* What a tensor is computed by, made while the trainer prepares; one of them is there (library_convolution.cu, library_matmul.cu,
 * attention.cu). */
typedef struct gpu_primitive {
  struct gpu_convolution *convolution;
  struct gpu_product *product;
  struct gpu_attention *attention;
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
void gpu_drop_attention(struct gpu_attention *attention);

/* Steps in elements, `count` of them of each matrix, that lie between calls of a product. */
typedef struct product_steps {
  int count;
  const int64_t *a, *b, *y;
} product_steps;

/* While preparing: makes what computes such products, of operands that are both bfloat16 or both floats, with the library's workspace behind
 * `taken_bytes` of ours. 0, 1 with a message, or DEVICE_DECLINES: the library does not take it. */
int gpu_make_product(actnn *trainer, const library_product *shape, bool is_narrow, uint64_t taken_bytes, const product_steps *steps,
                     struct gpu_product **made);

/* What a product is multiplied by, and what is added: what is held as its result is (and may be it), and a bias in the result's form. NULL:
 * nothing. */
typedef struct product_sum {
  float scale;
  const void *earlier;
  const void *bias;
} product_sum;

/* One product, over all of its batch. 0, or 1 with a message. */
int gpu_multiply(actnn *trainer, struct gpu_product *product, const void *a, const void *b, void *y, product_sum sum);

#endif
