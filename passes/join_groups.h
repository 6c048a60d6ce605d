/* join_groups.h: which elementwise nodes join-pointwise joins. */
#ifndef ACTNN_JOIN_GROUPS_H
#define ACTNN_JOIN_GROUPS_H

#include "passes.h"

#include "../src/operators/pointwise_steps.h"

typedef struct Joiner {
  Program *program;
  ReaderList readers;
  uint32_t *place;       /* by position of the order: where the node stands now, which is where its group does */
  uint32_t *made_at;     /* by value: the position of the node that makes it; UINT32_MAX: none */
  uint32_t *last_read;   /* by value that has a buffer of its own: the last place where it, or a view of it, is read */
  uint32_t *replaced;    /* by variable: where its next value is written; UINT32_MAX: nowhere */
  ValueId *shown;        /* by value: of a view whose buffer it is; itself otherwise */
  bool *is_pinned;       /* by value: read when a phase has run, or named by the table of saves */
  bool *is_grouped;      /* by position */
  bool only_neighbours;  /* no group has another node between its first and its last */
} Joiner;

/* Nodes by position in the order, rising; they all stand at `place`, the position of one of them. */
typedef struct Group {
  uint32_t member[MOST_STEPS], count, place;
} Group;

Joiner look_around_for_groups(Program *program);
/* Groups of two and more; their number. */
Group *find_groups(Joiner *joiner, uint32_t *count);
const Node *node_of(const Joiner *joiner, uint32_t position);
/* The member's result is wanted by others than the group. */
bool is_result(const Joiner *joiner, const Group *group, uint32_t position);
/* Operands of the group, in the order in which its steps mention them; more than `most` are counted as one more. */
uint32_t list_operands(const Joiner *joiner, const Group *group, ValueId *operands, uint32_t most);

#endif
