/* folds.h: the arithmetic of folds along axes, one element after another, for the evaluation and for CUDA's kernels, which also join
 * what several threads have folded. */
#ifndef ACTNN_FOLDS_H
#define ACTNN_FOLDS_H

#include "evaluation.h"

typedef enum FoldKind { SUM, MEAN, MAXIMUM, MINIMUM, PRODUCT, L1, L2, LOG_SUM, LOG_SUM_EXP, SUM_SQUARE } FoldKind;

/* Operators that are one fold each. */
#define FOR_REDUCTIONS(REDUCTION) \
  REDUCTION(ReduceSum, SUM) \
  REDUCTION(ReduceMean, MEAN) \
  REDUCTION(ReduceMax, MAXIMUM) \
  REDUCTION(ReduceMin, MINIMUM) \
  REDUCTION(ReduceProd, PRODUCT) \
  REDUCTION(ReduceL1, L1) \
  REDUCTION(ReduceL2, L2) \
  REDUCTION(ReduceLogSum, LOG_SUM) \
  REDUCTION(ReduceLogSumExp, LOG_SUM_EXP) \
  REDUCTION(ReduceSumSquare, SUM_SQUARE)

static inline ACTNN_DEVICE double
first_value(FoldKind fold)
{
  return fold == PRODUCT ? 1 : fold == MAXIMUM || fold == LOG_SUM_EXP ? -INFINITY : fold == MINIMUM ? INFINITY : 0;
}

/* LOG_SUM_EXP gathers the maximum, which its sum needs first. A NaN wins over any extreme. */
static inline ACTNN_DEVICE double
fold_in(FoldKind fold, double so_far, double x)
{
  switch (fold) {
  case SUM:
  case MEAN:
  case LOG_SUM: return so_far + x;
  case MAXIMUM:
  case LOG_SUM_EXP: return x > so_far || x != x ? x : so_far;
  case MINIMUM: return x < so_far || x != x ? x : so_far;
  case PRODUCT: return so_far * x;
  case L1: return so_far + fabs(x);
  case L2:
  case SUM_SQUARE: return so_far + x * x;
  }
  return so_far;
}

/* Of what was folded of two parts of a group. */
static inline ACTNN_DEVICE double
join_folds(FoldKind fold, double a, double b)
{
  return fold == L1 || fold == L2 || fold == SUM_SQUARE ? a + b : fold_in(fold, a, b);
}

/* The result of a group of `count` elements. */
static inline ACTNN_DEVICE double
finished_fold(FoldKind fold, double value, int64_t count)
{
  return fold == MEAN ? value / (double)count : fold == L2 ? sqrt(value) : fold == LOG_SUM ? log(value) : value;
}

/* The product of a group without its zeros, and their number, give every product of others than x. */
static inline ACTNN_DEVICE double
product_of_others(double x, double product, int64_t zeros)
{
  return x == 0 ? (zeros == 1 ? product : 0) : zeros ? 0 : product / x;
}

/* Whether `value` takes the place of the largest before it; the first NaN stays. */
static inline ACTNN_DEVICE bool
is_new_extreme(double value, double most, bool is_last)
{
  return value > most || (is_last && value == most) || (value != value && most == most);
}

#endif
