/* gpu.h: what a .cu file needs to be compiled by nvcc, or, for tests on machines without a GPU, by a C++ compiler with the shim
 * (tests/cuda/shim.h), which runs the threads of a block one after the other between barriers.
 *
 * Kernels are launched by one of two words, so that the shim knows which are loops:
 *   LAUNCH(call, kernel, count, arguments...)           one thread for each of `count` elements, that share nothing
 *   LAUNCH_BLOCKS(call, kernel, blocks, arguments...)   `blocks` blocks of BLOCK_THREADS threads that use barriers, shuffles, shared
 *                                                       memory
 * Both are expressions: 0, or 1 after actnn_fail. */
#ifndef ACTNN_GPU_H
#define ACTNN_GPU_H

#include <stdlib.h>
#include <string.h>

extern "C" { /* the runtime is C */
#include "codec_values.h"
#include "device.h"
}

/* Plain loops' headers are meant as the runtime's: for float. */
#ifndef ACTNN_RUNTIME
#define ACTNN_RUNTIME
#endif

#include "launch.h"

/* Kernels that keep much in registers: so many blocks are to be at work at once, which hide each other's waiting. */
#ifdef ACTNN_SHIM
#define TILE_KERNEL KERNEL
#else
#define TILE_KERNEL static __global__ void __launch_bounds__(BLOCK_THREADS, 2)
#endif

/* Loops over what a thread has of its own are unrolled, so that it stays in registers, and loads are on their way together. */
#ifdef ACTNN_SHIM
#define UNROLLED
#else
#define UNROLLED _Pragma("unroll")
#endif

/* What kernels tell the processor, which hears it when it next waits for them. All bits are set: nothing. */
typedef struct gpu_notes {
  uint32_t not_finite; /* the first tensor found not finite in this step */
  uint32_t refusal;    /* why an operand is refused, and the numbers that say so */
  int64_t number, bound;
} gpu_notes;

enum { /* refusals */
  NOT_TRIANGULAR,
  BAD_LABEL,
  BAD_INDEX_OF_GATHER, /* from here on by operator, in the order in which device.cu names them */
  BAD_INDEX_OF_GATHER_ELEMENTS,
  BAD_INDEX_OF_GATHER_ND,
  BAD_INDEX_OF_SCATTER_ELEMENTS,
  BAD_INDEX_OF_SCATTER_ND
};

/* The device's own of a trainer (device.cu). */
struct device_state {
  cudaStream_t stream;
  gpu_notes *notes;          /* there */
  uint32_t *not_finite;      /* among the notes */
  uint64_t beside;           /* bytes reserved beside the arena */
  unsigned char *waiting_room; /* pinned: what is on its way to or from the arena without anybody waiting */
  uint64_t waiting_bytes, waiting; /* reserved, and taken since the last `finish`; */
  uint64_t result_bytes;     /* the first of them are for what a step has made */
  struct fetched *fetched;   /* what is on its way here */
  int32_t *winner;           /* there: classes that won (winners.cu); NULL */
  struct gpu_offload *offload; /* offload.cu; NULL: all codes stay in the arena */
  struct ahead *ahead;       /* the inputs of the next step; NULL: the model has none, or does not train */
  struct gpu_saves *saves;   /* saves.cu */
  struct gpu_updates *updates; /* optimizer.cu */
  struct gpu_graph *graph;   /* graph.cu */
  struct gpu_keys *keys;     /* likewise */
  struct gpu_library *library; /* library.cu */
};

static inline cudaStream_t
stream_of(const actnn *trainer)
{
  return trainer->device_state->stream;
}

/* The channel block of a value here: 1, plain, or all of its channels: channels last. */
static inline int64_t
gpu_block_of(const actnn *trainer, const actnn_view *view)
{
  if (view->layout != ACTNN_BLOCKED || view->dim[1] < 1)
    return 1;
  return trainer->channel_block == ACTNN_CHANNELS_LAST ? view->dim[1] : trainer->channel_block;
}

/* 0, or 1 and the reason why the device refuses. */
int gpu_check(actnn *trainer, cudaError_t status, const char *what);
/* Memory there beside the arena, counted; NULL with a message. It is zero, and released by gpu_release. */
void *gpu_reserve(actnn *trainer, uint64_t bytes, const char *what);
void gpu_release(void *memory);
/* Bytes of the processor's that may be written to again at once: waits until they have arrived. */
int gpu_send_bytes(actnn *trainer, void *there, const void *here, uint64_t bytes, const char *what);
/* As much as a tensor of so many bytes takes in the arena. */
static inline uint64_t
gpu_padded(uint64_t bytes)
{
  return (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
}

#define LAUNCH(call, kernel, count, ...) LAUNCH_GRID(call, shim_run_threads, kernel, (count) > 0 ? blocks_for(count) : 0u, __VA_ARGS__)
#define LAUNCH_BLOCKS(call, kernel, blocks, ...) \
  LAUNCH_GRID(call, shim_run_blocks, kernel, (blocks) > 0 ? (unsigned)(blocks) : 0u, __VA_ARGS__)
#define LAUNCH_GRID(call, run, kernel, blocks, ...) \
  (LAUNCH_ON(stream_of((call)->trainer), run, kernel, (blocks), __VA_ARGS__), gpu_check((call)->trainer, cudaGetLastError(), #kernel))

/* One more element of a table that grows, zero; NULL with a message. */
template <typename Element>
static Element *
gpu_add_element(actnn *trainer, Element **elements, size_t *count, size_t *capacity)
{
  if (*count == *capacity) {
    size_t larger = *capacity * 2 + 64;
    Element *grown = (Element *)realloc(*elements, larger * sizeof *grown);
    if (!grown)
      return actnn_fail(trainer, "out of memory"), (Element *)NULL;
    *elements = grown;
    *capacity = larger;
  }
  Element *added = &(*elements)[(*count)++];
  memset(added, 0, sizeof *added);
  return added;
}

/* The key of a stream of random draws: read there where it is sent before each step, or as it is. */
typedef struct gpu_key {
  actnn_philox_key own;
  const actnn_philox_key *there; /* NULL */
} gpu_key;

static inline __device__ actnn_philox_key
key_now(const gpu_key &key)
{
  return key.there ? *key.there : key.own;
}

/* While preparing: 0, or 1 with a message. Then: the key of an operator's `id` for a use, and that of a save. */
int gpu_note_key(actnn *trainer, uint64_t id, uint64_t use);
int gpu_note_key_of_save(actnn *trainer, uint32_t save);
gpu_key gpu_key_of(const actnn *trainer, uint64_t id, uint64_t use);
gpu_key gpu_key_of_save(const actnn *trainer, uint32_t save);

/* Threads, whole blocks of them, that are enough for `count` elements when each takes so many. */
static inline int64_t
threads_of(int64_t count, int each)
{
  return (int64_t)blocks_for((count + each - 1) / each) * BLOCK_THREADS;
}

/* Scratch that a kernel takes from the workspace, piece by piece, the same pieces while preparing and after. */
typedef struct gpu_room {
  uint64_t bytes;
  bool declines; /* what it is for does not suit the kernel */
} gpu_room;

template <typename T>
static T *
take_room(const actnn_call *call, gpu_room *room, int64_t count)
{
  T *memory = (T *)((uintptr_t)call->trainer->workspace + room->bytes); /* while preparing: an address of nothing */
  room->bytes += gpu_padded((uint64_t)count * sizeof(T));
  return memory;
}

/* Once all is taken: asks for it while preparing, and sees that it is there after. 0, 1 with the reason, or DEVICE_DECLINES. */
int gpu_settle_room(const actnn_call *call, const gpu_room *room);

/* ---- sums over threads, the same in every one of them; all threads of the block take part ------------------- */

/* Over the `lanes` threads of a cell that have the same column: a cell has `width` columns side by side, both numbers powers of two, and
 * is the whole block or at most a warp. */
template <typename T, typename Join>
static __device__ T
cell_fold(T value, Join join, int width, int lanes)
{
  SHARED T part[BLOCK_THREADS / WARP][WARP];
  int threads = width * lanes;
  for (int apart = (threads < WARP ? threads : WARP) / 2; apart >= width; apart /= 2)
    value = join(value, __shfl_xor_sync(0xffffffffu, value, apart));
  if (threads <= WARP)
    return value;
  __syncthreads(); /* the last fold's parts have been read */
  if (threadIdx.x % WARP < (unsigned)width)
    part[threadIdx.x / WARP][threadIdx.x % WARP] = value;
  __syncthreads();
  int column = (int)threadIdx.x % width;
  value = part[0][column];
  for (int i = 1; i < BLOCK_THREADS / WARP; i++)
    value = join(value, part[i][column]);
  return value;
}

template <typename T, typename Join>
static __device__ T
block_fold(T value, Join join)
{
  return cell_fold(value, join, 1, BLOCK_THREADS);
}

template <typename T> struct sum_of {
  __device__ T operator()(T a, T b) const { return a + b; }
};

template <typename T> struct larger_of {
  __device__ T operator()(T a, T b) const { return a > b ? a : b; }
};

template <typename T>
static __device__ T
block_sum(T value)
{
  return block_fold(value, sum_of<T>());
}

template <typename T>
static __device__ T
block_max(T value)
{
  return block_fold(value, larger_of<T>());
}

/* Notes that an operand is refused; the first one is told. */
static inline __device__ void
note_refusal(gpu_notes *notes, uint32_t refusal, int64_t number, int64_t bound)
{
  if (atomicCAS(&notes->refusal, NONE, refusal) == NONE) {
    notes->number = number;
    notes->bound = bound;
  }
}

/* Notes that a tensor is not finite. */
static inline __device__ void
note_not_finite(uint32_t *not_finite, uint32_t tensor)
{
  atomicCAS(not_finite, NONE, tensor);
}

#endif
