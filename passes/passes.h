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

/* ---- changes of the order ---------------------------------------------------------------------- */

/* Rebuilds `order` from `before[position]` and `after[position]` lists of nodes to insert. */
typedef struct Insertions {
  NodeId *node;
  uint32_t *position; /* the node goes before what stood at this position of the old order */
  uint32_t count, capacity;
} Insertions;

/* ---- readers -------------------------------------------------------------------------------------------- */

/* Who reads what: the operand slots in `order` that hold value v are those of the nodes at reader[first[v]] up to
 * reader[first[v + 1]], positions in rising order, one entry a slot. True until operands or the order change. */
typedef struct ReaderList {
  const uint32_t *first, *reader;
} ReaderList;
ReaderList list_readers(const Program *program);
/* The node of the one slot that reads a value; NO_NODE when there are none or several. */
NodeId single_reader(const Program *program, const ReaderList *list, ValueId value);
/* Where a node stands in the order; its end when it does not. */
uint32_t position_of(const Program *program, NodeId id);

/* ---- what save-normalized and quantize make, allocate-bits decides and emit prints --------------------------------- */

typedef struct Save {
  ValueId value; /* the forward value; NO_VALUE: the node that makes the codes makes it as well (code-where-made) */
  ValueId stash; /* its codes */
  actnn_spacing spacing;
  bool dither;        /* subtractive dither; otherwise stochastic rounding */
  bool is_rectified;  /* NORMAL: a rectifier follows */
  double low, high;   /* FIXED: the range; NORMAL: zero, and what a capped rectifier lets through at most, 0 for any other */
  uint32_t choices;   /* bit i: samples may have actnn_choice_levels(i) levels */
  uint64_t bytes;     /* planned for all samples, a multiple of ACTNN_ALIGNMENT */
  uint64_t uncompressed; /* what a framework without compression keeps in its place */
  double weight;      /* prior: variance of the gradients that read it, were there one step for the whole range */
  actnn_adaptation adaptation; /* how its bytes may move during the run */
  const char *why;    /* why the gradient stays unbiased, for --explain-saves */
} Save;

typedef struct SaveTable {
  Save *save;
  uint32_t count, capacity;
  bool is_complete; /* quantize has seen every value: what backward reads beside these is exact for a reason */
  /* How well allocate-bits did, where it had a choice: */
  bool is_measured;   /* by a profile's weights, not the prior's */
  uint32_t allocated; /* values with a choice of levels; 0: none */
  double cost, bound; /* predicted variance, and what no choice within the budget is below */
  uint64_t allocated_bytes, budget;
} SaveTable;

/* By the trainer and in profiles: its value's name, or that of the node that makes it or, where the coder does, of the coder. */
const char *save_name(const Program *program, const Save *save);
/* Adds a save to program->saves; its number. */
uint32_t add_save(Program *program, Save save);
/* True for the schemes that go beyond ActNN's: see options.h. */
bool has_new_codes(const Options *options);
/* True when passes may save another value in place of one that a gradient names: not in FP32, not in ActNN's scheme, and not at L1,
 * where only inputs of convolutions and products are coded. */
bool codes_derived_values(const Options *options);
/* How rounding goes: --rounding, or by the scheme. */
bool is_dithered(const Options *options);
/* What a rectifier after a normalized value lets through at most; 0: anything, or none follows. */
double save_cap(const Save *save);
/* Says on a node that codes or decodes a normalized value which rectifier follows. */
void set_rectifier(Program *program, NodeId node, const Save *save);
/* Bytes of a save whose samples all have the levels of a choice; UINT64_MAX when it has no such choice. */
uint64_t save_bytes_at(const Program *program, const Save *save, int choice);
/* Its noise at that choice, relative to one step for the whole range. */
double save_noise_at(const Save *save, int choice);
/* What its bytes are for: the mean number of levels, and by its weight the variance of the gradients that read it. */
typedef struct PlannedLevels {
  double levels, variance;
} PlannedLevels;
PlannedLevels save_levels(const Program *program, const Save *save);
/* Who reads what, for a walk over a program that takes readers away but gives none of what is looked up new ones. */
typedef struct ReaderIndex {
  ReaderList list;
  uint32_t value_count;    /* that the list knows */
  double weight_gradients; /* how many nodes make one */
} ReaderIndex;
ReaderIndex look_at_readers(const Program *program);
/* Puts before each backward or update node that reads a saved value what restores it, and, for a weight's gradient that an adaptive save
 * is read by, what measures it; the node then reads the restored value. */
void restore_for_readers(Program *program, const ReaderIndex *reading, ValueId value, uint32_t save, Insertions *insertions);
/* A gradient that is a parameter's and goes to no other layer. */
bool is_weight_gradient(const Program *program, const Node *node);
/* Who reads a forward value in backward. */
typedef struct Readers {
  bool are_linear, are_bounded;
  bool is_normalization, is_weight_gradient;
  bool is_for_rows; /* a normalization of rows reads it as the normalized value */
  bool flows_on; /* some reader makes a gradient that goes on to other layers */
  uint32_t count;
  double factor; /* their variance per unit of (squared norm of a sample's incoming gradient) * (sum of its elements' variances) */
} Readers;
Readers find_readers(const Program *program, const ReaderIndex *reading, ValueId value);
/* Smaller values (statistics, biases) cost nothing to keep, and a sample of few elements (class probabilities) pays more for its
 * header in bytes and for its noise in every layer below than it saves. */
bool is_large_enough(const Program *program, ValueId value);

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
  uint64_t exact_bytes;             /* of the pool, behind its codes: what is saved as it is */
  uint64_t window_bytes;            /* of the pool, what the arena holds; 0: all of it */
  uint64_t lower_bound;             /* the most bytes that live at once: no plan can be smaller */
  uint64_t saved_bytes, saved_bytes_fp32;
} Plan;

/* Bytes of a value in the arena, for every channel block; a multiple of ACTNN_ALIGNMENT. 0 for coded stashes (they live in the pool). */
uint64_t value_bytes(const Program *program, ValueId value);

static inline uint64_t
planned_pool(const Plan *plan)
{
  return plan->stash_bytes + plan->exact_bytes;
}

/* Of the pool, what lies in the arena. */
static inline uint64_t
planned_pool_in_arena(const Plan *plan)
{
  return plan->window_bytes ? plan->window_bytes : planned_pool(plan);
}

/* Values that are saved through the pool as they are (offload-exact): by number the stash; NO_VALUE where a text leaves a number out. */
ValueId *exact_saves(const Program *program, uint32_t *count);
/* What such a stash takes: as much as the value that it holds. */
uint64_t exact_save_bytes(const Program *program, ValueId stash);

/* What plan-memory would lay out, but for the library's scratch. */
uint64_t planned_bytes(Program *program, const Options *options);

/* Bytes that backward keeps of forward as planned, and what a framework without compression keeps: convolution inputs,
 * normalization inputs, rectifiers' outputs shared with what they feed. */
void count_saved_bytes(const Program *program, uint64_t *saved, uint64_t *uncompressed);

/* By save: the parameter whose weight gradient reads what is restored of it; NO_VALUE when several do, or none. */
ValueId *save_parameters(const Program *program);

/* ---- helpers that several passes share (passes/common.c) ---------------------------------------- */

/* A value made in forward that some backward node reads directly. Inputs are not: they stay where the loader put them. */
bool is_saved_value(const Program *program, ValueId value, const bool *read_by_backward);
/* Flags by value: read by a node of the backward or update phase, but for gradients that forward has made (split-loss). */
bool *values_read_by_backward(const Program *program);
/* Parameters, states and inputs, then the constants that they start from and that nodes read: in the order in which they lie in memory and
 * in tables. */
ValueId *persistent_values(const Program *program, uint32_t *count);
/* As imported, before any pass; false for a dump, which has what passes make. */
bool is_untouched(const Program *program);
/* Every pass but the first needs operators that are known and fixed shapes, as `specialize` leaves them; only a model's own training
 * algorithm is known as late as by `optimizer`. Reports and returns false otherwise. */
bool is_ready_for(Program *program, const Pass *pass);
/* Makes a node and a result, whose type infer_node finds; the node is taken out of the end of `order` and not placed. */
NodeId make_unplaced(Program *program, Phase phase, const char *domain, const char *operator_name, NodeId like,
                     const ValueId *operands, size_t operand_count, ValueId *result);
void insert_before(Program *program, Insertions *insertions, uint32_t position, NodeId node);
/* Both: a node before what stands at `position`; its result, not yet inferred, so that attributes can come first. */
ValueId insert_node(Program *program, Phase phase, uint32_t position, const char *domain, const char *name, NodeId like,
                    const ValueId *operands, size_t count, Insertions *insertions);
/* False of operands and results that are weights, statistics or their gradients, whatever their rank. */
bool is_activation_slot(const Slot *slot);
/* Whether a constant of shape [.., extent, extent] (NULL: none), alike for all of what it broadcasts over, satisfies `test` above the diagonal of
 * every matrix, or up to it. */
bool holds_of_triangle(const Value *mask, int64_t extent, bool is_above, bool (*test)(const Value *mask, int64_t element));
/* True of a node by that name; false of NO_NODE. */
bool is_operator(const Program *program, NodeId id, const char *name);
/* What the first Gradient node of a model's own training algorithm differentiates: it names the tensor instead of reading it. NO_VALUE
 * without such a node (*gradient is NO_NODE), or where it names no tensor. */
ValueId differentiated_value(const Program *program, NodeId *gradient);
/* True of what shows its operand under another shape, in one buffer where that lies plainly. */
bool is_view(const Node *node);
void apply_insertions(Program *program, const Insertions *insertions);

#endif
