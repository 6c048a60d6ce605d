/* constant_folding.h: what nodes compute of constants alone. */
#ifndef ACTNN_CONSTANT_FOLDING_H
#define ACTNN_CONSTANT_FOLDING_H

#include "operators.h"

/* What may still be computed: elements of results, and multiplications. */
typedef struct Folding {
  int64_t elements, work;
} Folding;

/* Takes what a node needs from what is left; false when that is too little. */
bool afford_evaluation(const Program *program, const Node *node, Folding *left);
/* All operands are constants, and no result is an output, has more elements or differs from run to run. */
bool is_foldable(const Program *program, const Node *node, int64_t most_elements);
/* Turns an evaluated result into the constant that the value then is. */
void become_constant(Program *program, ValueId id, const Tensor *tensor);
/* What is found of values that nodes compute of constants, while the program stays as it is. */
typedef struct KnownValues {
  Arena *arena;       /* has what is found until the caller destroys it */
  Folding left;
  ValueId last;       /* asked for last: layers share their masks */
  const Value *found; /* that one; NULL: it follows from more than constants */
} KnownValues;

KnownValues start_knowing(void);
/* What a value is whenever it is computed, where it follows from constants alone: itself if it is one, otherwise a copy that is one. NULL: it
 * follows from more, or is too large to look at. */
const Value *known_value(KnownValues *known, Program *program, ValueId id);

#endif
