/* cudnn.h: as much of cuDNN as libactnn-cuda uses, by plain loops over what its descriptors say, for tests without a GPU: what is
 * tested is what we tell the library, not the library. */
#ifndef ACTNN_STAND_IN_CUDNN_H
#define ACTNN_STAND_IN_CUDNN_H

#include "shim.h"

enum { STAND_IN_AXES = 5 };
/* SHIM_ELEMENTS=N: operands of a convolution may have so many elements at most. */
int64_t stand_in_most_elements();
#define MOST_ELEMENTS stand_in_most_elements()

typedef enum { CUDNN_STATUS_SUCCESS, CUDNN_STATUS_BAD_PARAM, CUDNN_STATUS_NOT_SUPPORTED } cudnnStatus_t;
typedef enum { CUDNN_DATA_FLOAT, CUDNN_DATA_BFLOAT16 } cudnnDataType_t;
typedef enum { CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC } cudnnTensorFormat_t;
typedef enum { CUDNN_CONVOLUTION, CUDNN_CROSS_CORRELATION } cudnnConvolutionMode_t;
typedef enum { CUDNN_DEFAULT_MATH, CUDNN_TENSOR_OP_MATH, CUDNN_FMA_MATH } cudnnMathType_t;
typedef enum { CUDNN_NON_DETERMINISTIC, CUDNN_DETERMINISTIC } cudnnDeterminism_t;
typedef int cudnnConvolutionFwdAlgo_t, cudnnConvolutionBwdDataAlgo_t, cudnnConvolutionBwdFilterAlgo_t;

typedef struct stand_in_handle *cudnnHandle_t;
typedef struct stand_in_tensor {
  cudnnDataType_t type;
  int axes, dim[STAND_IN_AXES], stride[STAND_IN_AXES];
} *cudnnTensorDescriptor_t, *cudnnFilterDescriptor_t;
typedef struct stand_in_window {
  int axes, pad[3], stride[3], dilation[3], groups;
  cudnnMathType_t arithmetic;
} *cudnnConvolutionDescriptor_t;

typedef struct cudnnConvolutionFwdAlgoPerf_t {
  int algo;
  cudnnStatus_t status;
  size_t memory;
  cudnnDeterminism_t determinism;
  cudnnMathType_t mathType;
} cudnnConvolutionFwdAlgoPerf_t, cudnnConvolutionBwdDataAlgoPerf_t, cudnnConvolutionBwdFilterAlgoPerf_t;

const char *cudnnGetErrorString(cudnnStatus_t status);
cudnnStatus_t cudnnCreate(cudnnHandle_t *handle);
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle);
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream);
cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *descriptor);
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor);
cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t descriptor, cudnnDataType_t type, int axes, const int *dim,
                                         const int *stride);
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *descriptor);
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor);
cudnnStatus_t cudnnSetFilterNdDescriptor(cudnnFilterDescriptor_t descriptor, cudnnDataType_t type, cudnnTensorFormat_t format, int axes,
                                         const int *dim);
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *descriptor);
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor);
cudnnStatus_t cudnnSetConvolutionNdDescriptor(cudnnConvolutionDescriptor_t descriptor, int axes, const int *pad, const int *stride,
                                              const int *dilation, cudnnConvolutionMode_t mode, cudnnDataType_t type);
cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t descriptor, int groups);
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t descriptor, cudnnMathType_t type);

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
                                                     cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t y, int most, int *count,
                                                     cudnnConvolutionFwdAlgoPerf_t *list);
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t handle, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy,
                                                          cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t dx, int most,
                                                          int *count, cudnnConvolutionBwdDataAlgoPerf_t *list);
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
                                                            cudnnConvolutionDescriptor_t window, cudnnFilterDescriptor_t dw, int most,
                                                            int *count, cudnnConvolutionBwdFilterAlgoPerf_t *list);
cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
                                                      cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t y, int algorithm,
                                                      size_t *bytes);
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t handle, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy,
                                                           cudnnConvolutionDescriptor_t window, cudnnTensorDescriptor_t dx, int algorithm,
                                                           size_t *bytes);
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
                                                             cudnnConvolutionDescriptor_t window, cudnnFilterDescriptor_t dw, int algorithm,
                                                             size_t *bytes);
cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha, cudnnTensorDescriptor_t of_x, const void *x,
                                      cudnnFilterDescriptor_t of_w, const void *w, cudnnConvolutionDescriptor_t window, int algorithm,
                                      void *workspace, size_t bytes, const void *beta, cudnnTensorDescriptor_t of_y, void *y);
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha, cudnnFilterDescriptor_t of_w, const void *w,
                                           cudnnTensorDescriptor_t of_dy, const void *dy, cudnnConvolutionDescriptor_t window, int algorithm,
                                           void *workspace, size_t bytes, const void *beta, cudnnTensorDescriptor_t of_dx, void *dx);
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha, cudnnTensorDescriptor_t of_x, const void *x,
                                             cudnnTensorDescriptor_t of_dy, const void *dy, cudnnConvolutionDescriptor_t window, int algorithm,
                                             void *workspace, size_t bytes, const void *beta, cudnnFilterDescriptor_t of_dw, void *dw);

#endif
