/* moving.h: elements as units of 1 to 16 bytes: what only moves them need not know their type. Tensors begin at multiples of
 * ACTNN_ALIGNMENT, so that units are aligned wherever their number is whole. */
#ifndef ACTNN_CUDA_MOVING_H
#define ACTNN_CUDA_MOVING_H

#include "gpu.h"

extern "C" {
#include "layout.h"
}

#include "../src/operators/evaluation.h"

enum { WIDEST_UNIT = 16, TAKEN_AT_ONCE = 4 /* by a thread: that many loads are on their way together */ };

struct alignas(16) sixteen_bytes {
  uint32_t word[4];
};

/* Elements side by side that a thread takes together. */
template <int Wide, typename Element = float> struct alignas(Wide * sizeof(Element)) Columns {
  Element of[Wide];
};
template <typename Element> using Four = Columns<4, Element>;

/* From element `first` on, as far as there are `count`; zeros behind them. */
template <typename Element>
static __device__ Four<Element>
load_four(const Element *from, int64_t count, int64_t first)
{
  if (first + 4 <= count)
    return *(const Four<Element> *)(from + first);
  Four<Element> four = Four<Element>();
  for (int i = 0; i < 4; i++) /* a fixed end: what it indexes stays in registers */
    if (first + i < count)
      four.of[i] = from[first + i];
  return four;
}

template <typename Element>
static __device__ void
store_four(Element *to, int64_t count, int64_t first, const Four<Element> &four)
{
  if (first + 4 <= count)
    *(Four<Element> *)(to + first) = four;
  else
    for (int i = 0; i < 4; i++)
      if (first + i < count)
        to[first + i] = four.of[i];
}

/* run(a unit of so many bytes). */
template <typename Run>
static int
with_unit(size_t bytes, Run run)
{
  switch (bytes) {
  case 1: return run(uint8_t());
  case 2: return run(uint16_t());
  case 4: return run(uint32_t());
  case 8: return run(uint64_t());
  default: return run(sixteen_bytes());
  }
}

/* The bytes of the largest unit that rows of so many bytes are made of. */
static inline size_t
widest_unit(int64_t row_bytes)
{
  size_t unit = WIDEST_UNIT;
  while (row_bytes % (int64_t)unit)
    unit /= 2;
  return unit;
}

/* Where the calling thread's piece `each` of TAKEN_AT_ONCE lies: neighbours take neighbours. */
static inline __device__ int64_t
piece_number(int each)
{
  return ((int64_t)blockIdx.x * TAKEN_AT_ONCE + each) * BLOCK_THREADS + threadIdx.x;
}

/* Elements in memory, the padding of channel blocks included. */
static inline int64_t
elements_in_memory(const actnn_call *call, const actnn_view *view)
{
  layout_planes planes = layout_of(call->trainer, view);
  return view->layout == ACTNN_BLOCKED ? planes.batch * planes.blocks * planes.lanes * planes.positions : element_count(view);
}

static inline int
copy_bytes(const actnn_call *call, void *to, const void *from, int64_t bytes)
{
  if (to == from || bytes <= 0)
    return 0;
  return gpu_check(call->trainer, cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToDevice, stream_of(call->trainer)), "a copy");
}

static inline int
clear_bytes(const actnn_call *call, void *memory, int64_t bytes)
{
  if (bytes <= 0)
    return 0;
  return gpu_check(call->trainer, cudaMemsetAsync(memory, 0, (size_t)bytes, stream_of(call->trainer)), "zeros");
}

#endif
