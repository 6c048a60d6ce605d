/* allocation.h: which of its codings each of many values gets under a common budget of bytes.
 *
 * Minimises the sum of cost[choice] over all items such that the sum of bytes[choice] does not exceed the budget: the
 * knapsack problem with one choice out of each class. An item is whatever is coded in one way: a value, a sample of
 * it, a group. The translator asks for whole values, the runtime for samples.
 */
#ifndef ACTNN_ALLOCATION_H
#define ACTNN_ALLOCATION_H

#include <stddef.h>
#include <stdint.h>

enum { ACTNN_ALLOCATION_CHOICES = 16 };

/* What one item may be given. Choices come in any order, and one that takes more bytes than another without costing
 * less is never made. Items may share tables, which stay the caller's. */
typedef struct actnn_allocation_item {
  const uint64_t *bytes; /* of each choice: what the item takes */
  const double *cost;    /* of each choice: not negative; infinity: not allowed. Any unit, the same for all items */
  int choices;           /* 1 to ACTNN_ALLOCATION_CHOICES; at least one is allowed */
} actnn_allocation_item;

typedef struct actnn_allocation {
  double cost;       /* of the choices made */
  double bound;      /* no choices within the budget cost less: the least cost where one may be made in part.
                      * `cost - bound` certifies how far from the optimum the result can be. */
  uint64_t bytes;    /* taken */
  size_t split_item; /* the one item that has only a part of a step in the relaxation; the count where none has */
  double split_part; /* how much of it, 0 to 1; 0 where none has */
  uint8_t split_to;  /* the choice that the step leads to */
} actnn_allocation;

typedef enum actnn_allocation_status {
  ACTNN_ALLOCATION_DONE,
  ACTNN_ALLOCATION_BUDGET, /* not even the fewest bytes of every item fit; these were chosen, `bytes` says what they
                            * take (UINT64_MAX if that is more than can be counted) and `bound` is their cost */
  ACTNN_ALLOCATION_ITEM    /* an item without an allowed choice, with too many, or with a cost that is negative or not
                            * a number; nothing was chosen */
} actnn_allocation_status;

/* Sets choice[i] of each of `count` items. `scratch`: actnn_allocation_scratch(count, choices) bytes, aligned for a
 * double, of which nothing is kept; nothing else is allocated, for a training step must not. `relaxed`: NULL, or gets
 * the choices that the relaxation makes in full: but for the part of a step of split_item these are its solution, of
 * cost `bound`.
 *
 * - Up to seven items of eight choices the result is the optimum. With more it is the optimum over those items that
 *   matter most with the others as in the relaxation, or better; it exceeds the bound by less than one step of one
 *   item, and is never worse than what ActNN's greedy finds where costs are convex in bytes.
 * - A larger budget never costs more (allocation.c says why), but for rounding.
 * - The same arguments give the same result on any machine with IEEE doubles.
 *
 * Expected O(count) where few steps fit behind the first that does not, else O(count log count); the core takes
 * microseconds for small fronts, some milliseconds at worst.
 * Relaxation and greedy: Sinha, Zoltners, "The multiple-choice knapsack problem", Operations Research 27 (1979); the
 * core: Pisinger, "A minimal algorithm for the multiple-choice knapsack problem", EJOR 83 (1995). */
actnn_allocation_status actnn_allocate(void *scratch, const actnn_allocation_item *item, size_t count, uint64_t budget,
                                       uint8_t *choice, uint8_t *relaxed, actnn_allocation *result);

/* Bytes of scratch for `count` items of at most `choices` choices; 0 where so many items are more than can be
 * addressed. */
size_t actnn_allocation_scratch(size_t count, int choices);

#endif
