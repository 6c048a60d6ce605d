/* kernels.h: the kernels of operators that run on a GPU, by the processor's kernels that they stand for. */
#ifndef ACTNN_CUDA_KERNELS_H
#define ACTNN_CUDA_KERNELS_H

#include "gpu.h"

/* NULL: the operator runs on the processor. */
actnn_kernel *gpu_kernel_for(actnn_kernel *of_processor);

/* Codes' tables (saves.cu), that of updates (optimizer.cu) and libraries' handles (library.cu) of a trainer. */
int gpu_prepare_saves(actnn *trainer);
void gpu_close_saves(actnn *trainer);
int gpu_prepare_updates(actnn *trainer);
void gpu_close_updates(actnn *trainer);
int gpu_open_library(actnn *trainer);
void gpu_close_library(actnn *trainer);

#endif
