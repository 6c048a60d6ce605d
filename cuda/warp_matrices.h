/* warp_matrices.h: products of small matrices of bfloat16 on tensor cores. A matrix is spread over the lanes of a warp in a known way, so that
 * rows of what was multiplied can be masked, scaled and multiplied again without going through memory.
 *
 * Of a lane, `group` is lane / 4 and `pair` lane % 4. Then (PTX ISA, "Matrix Fragments for mma.m16n8k16")
 *
 *   sums   [16 rows, 8 columns]    0, 1: row group, columns 2 pair and the next;  2, 3: of row group + 8
 *   left   [16 rows, 16 inner]     words 0, 2: row group, two elements from 2 pair and from 8 + 2 pair on;  1, 3: of row group + 8
 *   right  [16 inner, 8 columns]   words 0, 1: column group, two elements from 2 pair and from 8 + 2 pair on
 *
 * and so sums of two neighbours in columns, rounded, are a left operand. */
#ifndef ACTNN_CUDA_WARP_MATRICES_H
#define ACTNN_CUDA_WARP_MATRICES_H

#include "floats.h"

/* Tensor cores know bfloat16 from compute capability 8.0 on. Before, kernels are empty and nobody launches them. */
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define HAS_TENSOR_CORES

#ifdef ACTNN_SHIM
#include <warp_matrices_stand_in.h>
#else

/* Two numbers rounded to a word, the first one below. */
static inline __device__ uint32_t
rounded_pair(float first, float second)
{
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
}

/* sums += left right */
static inline __device__ void
multiply_matrices(float *sums, const uint32_t *left, const uint32_t *right)
{
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}

/* Four matrices of 8 rows of 8 numbers from shared memory: lane 8 i + r tells where row r of matrix i begins, at a multiple of 16 bytes. Word i
 * is of matrix i: of row group two elements from 2 pair on, or, turned, of column group. */
template <bool is_turned>
static inline __device__ void
load_matrices(uint32_t *word, const bfloat_number *row)
{
  uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
  if (is_turned)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(word[0]), "=r"(word[1]), "=r"(word[2]), "=r"(word[3]) : "r"(at) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(word[0]), "=r"(word[1]), "=r"(word[2]), "=r"(word[3]) : "r"(at) : "memory");
}

#endif

/* Right operands of 16 inner elements and twice 8 columns: words 0 and 1, and 2 and 3. In shared memory either a row of `step` numbers lies for
 * each inner element, or, turned, for each column. */
template <bool is_turned>
static inline __device__ void
load_rights(uint32_t *right, const bfloat_number *corner, int step)
{
  int lane = threadIdx.x % WARP, low = lane % 8, middle = lane / 8 % 2 * 8, high = lane / 16 * 8;
  if (is_turned)
    load_matrices<false>(right, corner + (high + low) * step + middle);
  else
    load_matrices<true>(right, corner + (middle + low) * step + high);
}

#endif

#endif
