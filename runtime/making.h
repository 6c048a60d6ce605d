/* making.h: values that coders make themselves, of what an elementwise row (src/operators/elementwise.def) reads. */
#ifndef ACTNN_MAKING_H
#define ACTNN_MAKING_H

#include "actnn.h"

/* A row's loop over floats that lie one after the other. Three operands are given, whatever the row reads; the result may lie on the first.
 * Of a row that makes booleans it has bytes. */
typedef void actnn_row_loop(int64_t count, void *result, const float *const *operand, const actnn_attribute *attribute);

/* That of a row by its number (src/operators/pointwise_steps.h), for this processor. */
actnn_row_loop *actnn_row_loop_of(int row);

/* What makes a value that is nowhere in memory: a row, of a tensor that lies as the value would and of others that have one number for `each`
 * elements of it side by side. */
typedef struct actnn_making {
  actnn_row_loop *loop;
  const actnn_attribute *attribute;
  int others;
  const float *other[2];
  int64_t each;
} actnn_making;

#endif
