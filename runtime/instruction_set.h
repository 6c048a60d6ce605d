/* instruction_set.h: kernels that are compiled several times, once for each instruction set.
 *
 * Such a file is built with -DACTNN_ISA=scalar, avx2 and avx512 (and the flags that go with them); its entry points
 * are ENTRY(Relu), that is Relu_scalar, Relu_avx2, Relu_avx512. dispatch.c builds the actnn_Relu that calls the one
 * this machine can run. A plain build without ACTNN_ISA is the scalar one.
 *
 * Sums in these files go through vectors of 16 lanes whatever the machine's width: all three give the same bits.
 */
#ifndef ACTNN_INSTRUCTION_SET_H
#define ACTNN_INSTRUCTION_SET_H

#include "runtime.h"

#include <string.h>

#if defined(__clang__) /* `omp simd` on a loop that calls the C library is a wish, not an error */
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

#ifndef ACTNN_ISA
#define ACTNN_ISA scalar
#endif
#define ENTRY_OF(NAME, isa) NAME##_##isa
#define ENTRY_FOR(NAME, isa) ENTRY_OF(NAME, isa)
#define ENTRY(NAME) ENTRY_FOR(NAME, ACTNN_ISA)

/* 16 floats in as many registers as this instruction set needs; never passed to a function by value, for how that is
 * done differs between instruction sets. */
#if defined(__AVX512F__)
enum { LANES = 16, PARTS = 1 };
typedef float lanes_part __attribute__((vector_size(64)));
#elif defined(__AVX__)
enum { LANES = 16, PARTS = 2 };
typedef float lanes_part __attribute__((vector_size(32)));
#else
enum { LANES = 16, PARTS = 4 };
typedef float lanes_part __attribute__((vector_size(16)));
#endif
typedef struct lanes {
  lanes_part part[PARTS];
} lanes;

/* EACH_PART sum.part[q] += value.part[q]; adds 16 lanes. */
#define EACH_PART for (int q = 0; q < PARTS; q++)
#define LOAD_LANES(vector, from) EACH_PART memcpy(&(vector).part[q], (from) + q * (LANES / PARTS), sizeof(lanes_part))
#define STORE_LANES(to, vector) EACH_PART memcpy((to) + q * (LANES / PARTS), &(vector).part[q], sizeof(lanes_part))

/* The sum of 16 lanes, halved in a fixed order. */
static inline float
sum_of_lanes(const lanes *vector)
{
  float part[LANES];
  memcpy(part, vector, sizeof part);
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) part[i] += part[i + width];
  return part[0];
}

/* Loops shorter than this are not worth waking threads for. */
enum { SERIAL_ELEMENTS = 16384 };

#endif
