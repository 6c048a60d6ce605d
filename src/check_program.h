/* check_program.h: what the files check_*.c share. */
#ifndef CHECK_PROGRAM_H
#define CHECK_PROGRAM_H

#include "operators.h"

#include "../passes/passes.h"

/* What the rules look things up in. */
typedef struct Check {
  Program *program;
  Arena *scratch;
  uint32_t *made_at;     /* by value: position in order of the node that makes it; UINT32_MAX */
  ValueId *updated_by;   /* by value: what replaces it; NO_VALUE */
  uint8_t *read_exactly; /* by value: a backward or update node without a proof of linearity reads it */
  uint8_t *read_for_weights; /* by value: a weight's gradient reads it */
  bool codes_for_weights_only; /* level 1: what else is read stays exact */
  uint8_t *is_coded;     /* by value: stands in the table of saves */
  const ValueId *exact;  /* stashes of what is saved as it is, by number */
  uint32_t exact_count;
  bool is_trained;       /* differentiated: every shape and type is known by now */
  Phase latest;          /* among forward and backward, of the nodes before */
  const char *detail;
} Check;

/* A value as messages name it. */
const char *check_value_word(const Check *check, ValueId id);

/* check_saves.c, the central invariant: backward reads no forward activation but through a save and a restore. Fills in
 * what the rule looks up; then the rule, of a node. */
void check_look_at_saves(Check *check);
bool check_saves_are_coded(Check *check, const Node *node, uint32_t position);
/* The first save of the table whose stash no node makes, or whose value neither a node makes nor the coder, of what it reads; UINT32_MAX. */
uint32_t check_find_lost_save(const Program *program);

#endif
