/* shim.h: as much of CUDA as libactnn-cuda uses, on a processor, so that every kernel can be run and compared on machines
 * without a GPU. One thread at a time: the threads of a block take turns between barriers, and blocks follow one another.
 *
 * Device memory cannot be read or written except by kernels and copies: a program that touches it from outside ends by a signal, as it
 * would go wrong on a GPU. For tests only.
 *
 * SHIM_ORDER=reverse or shuffle has threads and blocks take their turns in another order, each time from shared memory that holds nothing: a
 * kernel that lacks a barrier, or reads what no thread has written, then computes something else.
 *
 * The first stream does all at once. Of the others copies are made at once too or, with SHIM_COPIES=late, only when somebody waits for them: what
 * reads them or writes over where they come from without waiting then goes wrong. */
#ifndef ACTNN_SHIM_H
#define ACTNN_SHIM_H

#include "races.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
/* Beside one another, and nothing else, also in templates, whose variables gcc puts in no section of another name. */
#define SHARED static thread_local
#define READ_PART(word, first, bytes) races_read_part(word, first, bytes)

struct shim_place {
  unsigned x;
};
extern shim_place threadIdx, blockIdx;

void __syncthreads();
void __syncwarp(unsigned mask = 0xffffffffu);
void shim_run_threads(unsigned blocks, unsigned threads, const std::function<void()> &thread);
void shim_run_blocks(unsigned blocks, unsigned threads, const std::function<void()> &thread);
/* Does what a stream is given to do: now, or, while a graph is recorded, when that is launched. */
void shim_do(const std::function<void()> &action);

/* Operands are taken now, as a launch does. Static: files may have types of the same name for their kernels. */
template <typename Run, typename... Taken, typename... Operands>
static inline int
shim_launch(Run run, unsigned blocks, unsigned threads, const char *name, const char *file, void (*kernel)(Taken...), Operands... operands)
{
  shim_do([=]() {
    races_begin_launch(name, file);
    run(blocks, threads, [=]() { kernel(operands...); });
    races_end_launch();
  });
  return 0;
}
/* What a lane tells the others. */
struct shim_slot {
  alignas(16) unsigned char bytes[32];
};
/* Puts `bytes` where the other lanes of the warp can see them; what all of them have put there, until the one after the next call. */
const shim_slot *shim_gather(const void *own, size_t bytes);
/* The same, and takes those of lane `from`. */
void shim_exchange(const void *own, void *other, size_t bytes, unsigned from);

template <typename T>
T
__shfl_xor_sync(unsigned, T value, int apart)
{
  T other;
  shim_exchange(&value, &other, sizeof value, (threadIdx.x % 32) ^ (unsigned)apart);
  return other;
}

template <typename T>
T
__shfl_sync(unsigned, T value, int from)
{
  T other;
  shim_exchange(&value, &other, sizeof value, (unsigned)from);
  return other;
}

unsigned atomicCAS(unsigned *at, unsigned expected, unsigned wanted);
unsigned long long atomicAdd(unsigned long long *at, unsigned long long more);

typedef enum cudaError_t { cudaSuccess, cudaErrorMemoryAllocation, cudaErrorStreamCaptureUnsupported } cudaError_t;
typedef enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice } cudaMemcpyKind;
typedef struct shim_stream *cudaStream_t;

cudaError_t cudaMalloc(void **memory, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaMallocHost(void **memory, size_t bytes);
cudaError_t cudaFreeHost(void *memory);
typedef struct shim_event *cudaEvent_t;
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
typedef struct shim_graph *cudaGraph_t, *cudaGraphExec_t;
typedef enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal } cudaStreamCaptureMode;
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *made, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
static inline cudaError_t cudaStreamCreate(cudaStream_t *stream) { *stream = nullptr; return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
static inline cudaError_t cudaGetLastError() { return cudaSuccess; }
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor };
static inline cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int) { *value = 9; return cudaSuccess; }
static inline cudaError_t cudaGetDeviceCount(int *count) { *count = 1; return cudaSuccess; }
static inline const char *
cudaGetErrorString(cudaError_t status)
{
  return status == cudaErrorStreamCaptureUnsupported ? "cannot be captured" : status ? "out of memory" : "no error";
}

/* Device memory can be touched while one of these lives: for stand-ins of libraries. */
struct shim_opened {
  shim_opened();
  ~shim_opened();
};

#endif
