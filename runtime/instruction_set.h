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

#ifndef ACTNN_ISA
#define ACTNN_ISA scalar
#endif
#define ENTRY_OF(NAME, isa) NAME##_##isa
#define ENTRY_FOR(NAME, isa) ENTRY_OF(NAME, isa)
#define ENTRY(NAME) ENTRY_FOR(NAME, ACTNN_ISA)

/* 16 floats that the compiler spreads over what registers there are. Never passed to a function by value: how that
 * is done differs between instruction sets. */
enum { LANES = 16 };
typedef float lanes __attribute__((vector_size(64)));
typedef double wide_lanes __attribute__((vector_size(128)));

#define LOAD_LANES(vector, from) memcpy(&(vector), (from), sizeof(lanes))
#define STORE_LANES(to, vector) memcpy((to), &(vector), sizeof(lanes))

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
