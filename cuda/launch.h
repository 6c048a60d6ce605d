/* launch.h: the words that kernels are written and launched with, for nvcc or, in tests on machines without a GPU, for a C++ compiler with
 * the shim (tests/cuda/shim.h). Installed: emitted kernels (actnn_pointwise.h) use them too. */
#ifndef ACTNN_LAUNCH_H
#define ACTNN_LAUNCH_H

#include <stdint.h>

#ifdef ACTNN_SHIM
#include "shim.h"
#else
#include <cuda_runtime.h>
#define SHARED __shared__
/* A word of which only so many bytes from `first` on count; others may be another thread's, which is writing them. */
#define READ_PART(word, first, bytes) (*(word))
#endif

#define KERNEL static __global__ void

enum { BLOCK_THREADS = 256, WARP = 32, MOST_BLOCKS = 0x7fffffff };

/* Blocks that `count` threads make. A grid holds 2^31 - 1, more than fit any memory. */
static inline unsigned
blocks_for(int64_t count)
{
  return (unsigned)((count + BLOCK_THREADS - 1) / BLOCK_THREADS);
}

/* The number of this thread among all. */
static inline __device__ int64_t
thread_number(void)
{
  return (int64_t)blockIdx.x * BLOCK_THREADS + threadIdx.x;
}

/* Blocks of BLOCK_THREADS threads on a stream; nobody looks yet whether that went well. `run`: how the shim runs them, shim_run_threads
 * where threads share nothing, otherwise shim_run_blocks. */
#ifdef ACTNN_SHIM
#define LAUNCH_ON(stream, run, kernel, blocks, ...) \
  ((void)(stream), (blocks) > 0 ? (void)shim_launch(run, (blocks), BLOCK_THREADS, #kernel, __FILE__, kernel, __VA_ARGS__) : (void)0)
#else
#define LAUNCH_ON(stream, run, kernel, blocks, ...) \
  ((blocks) > 0 ? kernel<<<(blocks), BLOCK_THREADS, 0, (stream)>>>(__VA_ARGS__) : (void)0)
#endif

#endif
