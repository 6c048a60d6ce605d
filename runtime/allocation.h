/* allocation.h: how many bits each of many values gets under a common budget of bytes.
 *
 * Minimises the sum of weight / (2^bits - 1)^2, bits 1 to 8 for each item, such that the sum of bytes[bits]
 * does not exceed the budget. The translator asks it for whole values, the runtime for samples.
 */
#ifndef ACTNN_ALLOCATION_H
#define ACTNN_ALLOCATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ACTNN_ALLOCATION_BITS = 8 };

typedef struct actnn_allocation_item {
  double weight; /* variance, times (2^bits - 1)^2; finite, not negative */
  const uint64_t
      *bytes; /* bytes[1] to bytes[8]: what the item takes with so many bits; items may share a table */
} actnn_allocation_item;

typedef struct actnn_allocation {
  double cost;    /* sum of weight / (2^bits - 1)^2 of the bits found */
  double bound;   /* no choice of whole bits within the budget costs less: the cost with fractions allowed */
  uint64_t bytes; /* taken */
} actnn_allocation;

typedef enum actnn_allocation_status {
  ACTNN_ALLOCATION_DONE,
  ACTNN_ALLOCATION_BUDGET, /* not even the smallest choice of every item fits; `bytes` says what that takes */
  ACTNN_ALLOCATION_WEIGHT, /* a weight is negative, infinite or not a number */
  ACTNN_ALLOCATION_MEMORY
} actnn_allocation_status;

/* Chooses bits[i] for each of `count` items; O(count log count). The cost exceeds the bound by less than one
 * step of one item, and never grows with the budget. fraction: NULL, or gets the best bits with fractions
 * allowed (at most one item's is not whole). Items whose weights are all zero are treated as equally noisy
 * for each byte. */
actnn_allocation_status actnn_allocate(const actnn_allocation_item *item, size_t count, uint64_t budget,
                                       uint8_t *bits, double *fraction, actnn_allocation *result);

/* The same in memory of the caller's, for use where nothing may be allocated: `scratch` has
 * actnn_allocation_scratch(count) bytes, aligned for a double. */
actnn_allocation_status actnn_allocate_in(void *scratch, const actnn_allocation_item *item, size_t count,
                                          uint64_t budget, uint8_t *bits, double *fraction,
                                          actnn_allocation *result);
/* 0 where so many items are more than can be addressed. */
size_t actnn_allocation_scratch(size_t count);

#endif
