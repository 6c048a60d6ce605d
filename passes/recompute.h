/* recompute.h: what the pass recompute chooses (recompute.c) and what then is copied (recompute_copies.c). */
#ifndef ACTNN_RECOMPUTE_H
#define ACTNN_RECOMPUTE_H

#include "passes.h"

/* A run of blocks. */
typedef struct Run {
  double kept;    /* bytes that go into it from before */
  double freed;   /* bytes that backward reads of it */
  double work;    /* operations */
  uint32_t split; /* block before which it is parted in two; 0: it is not */
} Run;

/* Forward, its nodes in their order, in blocks. */
typedef struct Recomputation {
  Program *program;
  const bool *read;   /* by value: backward reads it */
  NodeId *node;
  uint32_t *made_at;  /* by value: place in `node`; UINT32_MAX: not made in forward */
  uint32_t node_count;
  uint32_t *cut;      /* block b has the nodes cut[b] up to cut[b + 1] */
  uint32_t block_count;
  Run *run;           /* run_of */
  double freed, work; /* of all blocks */
  double coded_share; /* of the bytes of a saved value, as it is kept where it is not computed again */
} Recomputation;

/* The run from block `first` up to before block `end`. */
static inline Run *
run_of(const Recomputation *state, uint32_t first, uint32_t end)
{
  return &state->run[(size_t)first * state->block_count + end - 1];
}

/* Runs that are computed again: from block first[j] up to before j, or UINT32_MAX where block j - 1 is left as it is. */
typedef struct Choice {
  uint32_t *first;
  double bytes; /* that are left */
} Choice;

/* Puts copies of the nodes that are needed of each run into backward, which then reads them. */
void copy_runs(const Recomputation *state, const Choice *choice);

#endif
