/* races_tries.cu: kernels with a mistake each, and the same without it: what looks for races (races.cu) must tell of the one and be silent of the
 * other (races.t).
 *
 * usage: tries NAME wrong|right; without operands: the names */
#include "warp_matrices.h"

#include <cstdio>
#include <cstring>

enum { NUMBERS = 2 * BLOCK_THREADS };

typedef struct alignas(16) FourWords {
  uint32_t of[4];
} FourWords;

/* ---- a block ---------------------------------------------------------------------------------------------- */

/* A neighbour reads what has been written. */
template <bool is_right>
KERNEL
write_first(uint32_t *to)
{
  SHARED uint32_t room[BLOCK_THREADS];
  room[threadIdx.x] = threadIdx.x;
  if (is_right)
    __syncthreads();
  to[threadIdx.x] = room[(threadIdx.x + WARP) % BLOCK_THREADS];
}

/* What has been read is written over. */
template <bool is_right>
KERNEL
read_first(uint32_t *to)
{
  SHARED uint32_t room[BLOCK_THREADS];
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 3; i++) {
    room[threadIdx.x] = threadIdx.x + i;
    __syncthreads();
    sum += room[(threadIdx.x + WARP) % BLOCK_THREADS];
    if (is_right)
      __syncthreads();
  }
  to[threadIdx.x] = sum;
}

/* The device's memory is the block's as well. */
template <bool is_right>
KERNEL
through_device(uint32_t *to)
{
  to[threadIdx.x] = threadIdx.x;
  if (is_right)
    __syncthreads();
  to[BLOCK_THREADS + threadIdx.x] = to[threadIdx.x ^ WARP];
}

/* Three warps read; one of them then writes, whose own lanes alone have waited for one another. */
template <bool is_right>
KERNEL
other_readers(uint32_t *to)
{
  SHARED uint32_t room;
  uint32_t found = 0;
  if (threadIdx.x == 0)
    room = 1;
  __syncthreads();
  if (threadIdx.x < 3 * WARP)
    found = room;
  if (is_right)
    __syncthreads();
  else
    __syncwarp();
  if (threadIdx.x == 0)
    room = found + 1;
  to[threadIdx.x] = found;
}

/* ---- a warp ------------------------------------------------------------------------------------------------ */

template <bool is_right>
KERNEL
within_warp(uint32_t *to)
{
  SHARED uint32_t room[BLOCK_THREADS];
  room[threadIdx.x] = threadIdx.x;
  if (is_right)
    __syncwarp();
  to[threadIdx.x] = room[threadIdx.x ^ 1];
}

/* A barrier of warps does not order what another warp does. */
template <bool is_right>
KERNEL
beyond_warp(uint32_t *to)
{
  SHARED uint32_t room[BLOCK_THREADS];
  room[threadIdx.x] = threadIdx.x;
  __syncwarp();
  to[threadIdx.x] = room[threadIdx.x ^ (is_right ? 1 : WARP)];
}

/* Nor is a shuffle a barrier. */
template <bool is_right>
KERNEL
by_shuffle(uint32_t *to)
{
  SHARED uint32_t room[BLOCK_THREADS];
  room[threadIdx.x] = threadIdx.x;
  uint32_t other = __shfl_xor_sync(0xffffffffu, threadIdx.x, 1);
  if (is_right)
    __syncwarp();
  to[threadIdx.x] = room[other];
}

/* Each lane writes some of a matrix that all then multiply. */
template <bool is_right>
KERNEL
into_tensor_cores(uint32_t *to)
{
  enum { SIDE = 16 };
  SHARED struct alignas(16) {
    bfloat_number of[SIDE * SIDE];
  } room;
  uint32_t right[4];
  float sums[4] = {0, 0, 0, 0};
  if (threadIdx.x >= WARP)
    return;
  for (int i = threadIdx.x; i < SIDE * SIDE; i += WARP)
    room.of[i].bits = bfloat_rounded(1);
  if (is_right)
    __syncwarp();
  load_rights<true>(right, room.of, SIDE);
  multiply_matrices(sums, right, right);
  to[threadIdx.x] = (uint32_t)sums[0];
}

/* ---- blocks --------------------------------------------------------------------------------------------- */

template <bool is_right>
KERNEL
write_twice(uint32_t *to)
{
  to[is_right ? thread_number() : threadIdx.x] = threadIdx.x;
}

/* The second block reads what the first has written. */
template <bool is_right>
KERNEL
read_other(uint32_t *to)
{
  to[blockIdx.x * BLOCK_THREADS + threadIdx.x] = blockIdx.x && !is_right ? to[threadIdx.x] : 1;
}

template <bool is_right>
KERNEL
add_up(unsigned long long *to)
{
  if (is_right)
    atomicAdd(to, 1ull);
  else
    *to += 1;
}

/* All write the same. */
template <bool is_right>
KERNEL
write_likewise(uint32_t *to)
{
  if (is_right)
    *(volatile uint32_t *)to = 1;
  else
    *to = 1;
}

/* What others add to atomically is read as if nobody did. */
template <bool is_right>
KERNEL
read_beside(unsigned long long *to)
{
  if (threadIdx.x)
    atomicAdd(to, 1ull);
  else if (!is_right)
    to[1] = *to;
}

/* ---- parts of words ---------------------------------------------------------------------------------------- */

/* Neighbours write halves of a word. */
template <bool is_right>
KERNEL
write_halves(uint16_t *to)
{
  to[is_right ? threadIdx.x : threadIdx.x / 2] = (uint16_t)threadIdx.x;
}

/* Each thread reads its own half of a word, and writes it. */
template <bool is_right>
KERNEL
read_halves(uint16_t *to)
{
  const uint32_t *word = (const uint32_t *)to + threadIdx.x / 2;
  uint32_t both = is_right ? READ_PART(word, threadIdx.x % 2 * 2, 2) : *word;
  to[threadIdx.x] = (uint16_t)((threadIdx.x % 2 ? both >> 16 : both) + 1);
}

/* ---- places ------------------------------------------------------------------------------------------------- */

template <bool is_right>
KERNEL
move_sixteen_bytes(uint32_t *to)
{
  FourWords *four = (FourWords *)(to + (is_right ? 4 : 6));
  if (threadIdx.x == 0)
    *four = FourWords{{1, 2, 3, 4}};
}

template <bool is_right>
KERNEL
reach_beyond(uint32_t *to)
{
  SHARED uint32_t room[BLOCK_THREADS];
  room[threadIdx.x + !is_right] = threadIdx.x;
  to[threadIdx.x] = room[threadIdx.x];
}

/* ---- calls ------------------------------------------------------------------------------------------------- */

typedef void run_try(void *memory, bool is_right);

#define TRY(kernel, run, blocks, type) \
  {#kernel, [](void *memory, bool is_right) { \
     if (is_right) \
       LAUNCH_ON(nullptr, run, kernel<true>, blocks, (type *)memory); \
     else \
       LAUNCH_ON(nullptr, run, kernel<false>, blocks, (type *)memory); \
   }}

static const struct {
  const char *name;
  run_try *run;
} tries[] = {
  TRY(write_first, shim_run_blocks, 1, uint32_t),
  TRY(read_first, shim_run_blocks, 1, uint32_t),
  TRY(through_device, shim_run_blocks, 1, uint32_t),
  TRY(other_readers, shim_run_blocks, 1, uint32_t),
  TRY(within_warp, shim_run_blocks, 1, uint32_t),
  TRY(beyond_warp, shim_run_blocks, 1, uint32_t),
  TRY(by_shuffle, shim_run_blocks, 1, uint32_t),
  TRY(into_tensor_cores, shim_run_blocks, 1, uint32_t),
  TRY(write_twice, shim_run_threads, 2, uint32_t),
  TRY(read_other, shim_run_blocks, 2, uint32_t),
  TRY(add_up, shim_run_threads, 1, unsigned long long),
  TRY(write_likewise, shim_run_threads, 2, uint32_t),
  TRY(read_beside, shim_run_threads, 1, unsigned long long),
  TRY(write_halves, shim_run_threads, 1, uint16_t),
  TRY(read_halves, shim_run_threads, 1, uint16_t),
  TRY(move_sixteen_bytes, shim_run_threads, 1, uint32_t),
  TRY(reach_beyond, shim_run_blocks, 1, uint32_t),
};

int
main(int argc, char **argv)
{
  void *memory;
  if (cudaMalloc(&memory, NUMBERS * sizeof(uint32_t)) != cudaSuccess)
    return 1;
  for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
    if (argc < 3)
      printf("%s\n", tries[i].name);
    else if (!strcmp(argv[1], tries[i].name))
      for (int launch = 0; launch < 2; launch++) /* nothing that one does races with the other */
        tries[i].run(memory, !strcmp(argv[2], "right"));
  cudaFree(memory);
  return 0;
}
