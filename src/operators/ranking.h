/* ranking.h: the order in which TopK takes elements. */
#ifndef ACTNN_RANKING_H
#define ACTNN_RANKING_H

#include "evaluation.h"

/* Order of elements a and b of x: the larger (or smaller) first, among equal ones the earlier; NaN counts as largest. */
static inline ACTNN_DEVICE bool
comes_before(const actnn_view *x, int64_t a, int64_t b, bool largest)
{
  double p = load_element(x, a), q = load_element(x, b);
  bool p_is_nan = p != p, q_is_nan = q != q;
  if (p_is_nan != q_is_nan) return p_is_nan == largest;
  if (p == q || p_is_nan) return a < b;
  return largest ? p > q : p < q;
}

#endif
