/* passes.h: the passes, each one function in one file; passes.def lists them in order. */
#ifndef ACTNN_PASSES_H
#define ACTNN_PASSES_H

#include "../src/operators.h"
#include "../src/options.h"
#include "../src/program.h"

/* A pass reports what is wrong and returns false; the program may then be half changed. */
typedef bool PassFunction(Program *program, const Options *options);

typedef struct Pass {
  const char *name;
  PassFunction *run;
  const char *does;
} Pass;

extern const Pass passes[];
extern const size_t pass_count;

/* ---- what quantize makes, allocate-bits decides and emit prints --------------------------------- */

typedef struct Save {
  ValueId value;    /* the forward value */
  ValueId stash;    /* its codes */
  double bits;      /* average per element */
  double weight;    /* prior: variance at one level step per unit of squared range */
  bool is_adaptive; /* bits may move during the run */
  const char *why;  /* why the gradient stays unbiased, for --explain-saves */
} Save;

typedef struct SaveTable {
  Save *save;
  uint32_t count, capacity;
  /* How well allocate-bits did, where it had a choice: */
  bool is_measured;   /* by a profile's weights, not the prior's */
  uint32_t allocated; /* values with a choice of bits; 0: none */
  double cost, bound; /* predicted variance, and what no choice within the budget is below */
  uint64_t allocated_bytes, budget;
} SaveTable;

/* ---- what plan-memory makes --------------------------------------------------------------------- */

typedef struct Buffer {
  uint64_t bytes, offset;
  uint32_t first, last; /* positions in order, inclusive; 0 and UINT32_MAX for what persists */
  bool is_persistent;
  bool is_evaluation; /* lives in the evaluation function, at other times than training's buffers */
} Buffer;

typedef struct Plan {
  Buffer *buffer;
  uint32_t buffer_count;
  uint32_t *buffer_of; /* by value; NO_VALUE: none */
  uint64_t variable_bytes, stash_offset, stash_bytes, workspace_offset, workspace_bytes, arena_bytes;
  uint64_t lower_bound;             /* the most bytes that live at once: no plan can be smaller */
  uint64_t saved_bytes, saved_bytes_fp32;
} Plan;

/* Bytes of a value in the arena, for every channel block; a multiple of ACTNN_ALIGNMENT. 0 for coded stashes (they live in the pool). */
uint64_t value_bytes(const Program *program, ValueId value);

/* The parameter whose weight gradient reads what is restored of a save; NO_VALUE when several do, or none. */
ValueId save_parameter(const Program *program, uint32_t save);

/* Bytes that a coded save has in the pool at its planned bits. */
uint64_t save_bytes(const Program *program, const Save *save);

/* ---- helpers that several passes share (passes/common.c) ---------------------------------------- */

/* A value made in forward that some backward node reads directly. Inputs are not: they stay where the loader put them. */
bool is_saved_value(const Program *program, ValueId value, const bool *read_by_backward);
/* Flags by value: read by a node of the backward or update phase. */
bool *values_read_by_backward(const Program *program);
/* Makes a node and a result of its shape rule's type; the node is taken out of the end of `order` and not placed. */
NodeId make_unplaced(Program *program, Phase phase, const char *domain, const char *operator_name, NodeId like,
                     const ValueId *operands, size_t operand_count, ValueId *result);
/* Rebuilds `order` from `before[position]` and `after[position]` lists of nodes to insert. */
typedef struct Insertions {
  NodeId *node;
  uint32_t *position; /* the node goes before what stood at this position of the old order */
  uint32_t count, capacity;
} Insertions;
void insert_before(Program *program, Insertions *insertions, uint32_t position, NodeId node);
void apply_insertions(Program *program, const Insertions *insertions);

#endif
