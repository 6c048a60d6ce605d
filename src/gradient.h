/* gradient.h: reverse-mode differentiation of a program from the formulas of the operator table. */
#ifndef ACTNN_GRADIENT_H
#define ACTNN_GRADIENT_H

#include "program.h"

/* Appends backward-phase nodes that compute the gradient of scalar `loss` for each of `wanted` (forward values,
 * parameters or inputs). gradients[i] gets the value, NO_VALUE where the loss does not depend on wanted[i]. `gradients`
 * may be NULL. Reports every operator on the way that cannot be differentiated, then returns false. */
bool append_gradients(Program *program, const ValueId *wanted, size_t count, ValueId loss, ValueId *gradients);
/* Appends a node of backward that makes a gradient of this shape, the same number everywhere. */
ValueId add_filled_gradient(Program *program, Shape shape, double value);

/* Which values need a gradient: those wanted and all floating values computed from them by forward nodes.
 * An array of value_count flags in the arena. */
bool *values_that_depend_on(const Program *program, const ValueId *wanted, size_t count);

#endif
