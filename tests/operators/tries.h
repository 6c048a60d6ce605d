/* tries.h: the shapes that each row of the operator table gives to be tested with, as one-node programs.
 *
 * Cases are separated by `|`. An operand is its extents `2,3` (`[]`: a scalar) with an element type where it
 * is not float (`2,3:int64`), `{1,-1}` for a constant operand (with a point in any number: float), `_` when
 * absent. Then come attributes as name=value (lists as 1x2x2), `range=lo:hi` for values of float operands
 * (-1:1) and `irange=lo:hi` for those of integer operands (0:2), hi excluded. */
#ifndef ACTNN_TRIES_H
#define ACTNN_TRIES_H

#include "../../src/operators.h"

typedef struct Try {
  Program *program;    /* its inputs stand in program->inputs */
  const Tensor *value; /* of each input, drawn from a fixed generator */
  NodeId node;
  const char *text; /* for messages */
} Try;

/* Makes the program of case `index` of a row's tries: shapes inferred. 1: made; 0: there is no such case; -1:
 * the text or the shapes are wrong, which was reported. Optional results are not asked for. The caller
 * destroys the program unless the answer is 0. */
int make_try(const Operator *operator, unsigned index, Diagnostics *diagnostics, Try *made);
/* Sets an attribute of a node from "name=value", which is cut in two; false when its operator has none of that name. */
bool set_try_attribute(Program *program, NodeId node, char *word);
/* A number in [0, 1) from a fixed sequence; *state starts at any number. */
double next_draw(uint64_t *state);

#endif
