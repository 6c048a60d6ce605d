/* program.h: the one representation of a model inside the translator.
 *
 * A program is a single SSA tensor graph. Values and nodes live in growable arrays and are named by 32-bit
 * numbers; `order` lists the live nodes in the order in which they run. Everything is allocated in the
 * program's arena. Import makes programs, passes change them, emit reads them; the text form
 * (docs/program-text.md) prints one and reads it back exactly.
 */
#ifndef ACTNN_PROGRAM_H
#define ACTNN_PROGRAM_H

#include "../runtime/actnn.h"
#include "arena.h"
#include "diagnostics.h"

typedef uint32_t ValueId;
typedef uint32_t NodeId;
#define NO_VALUE UINT32_MAX
#define NO_NODE UINT32_MAX

/* A static shape. rank -1: not known yet. A dimension that is not fixed yet is DIM_UNKNOWN; `symbol`
 * then may hold its name until `specialize` fixes it. */
#define DIM_UNKNOWN (-1)
typedef struct Shape {
  int rank;
  int64_t dim[ACTNN_MAX_RANK];
} Shape;

typedef enum ValueKind {
  VALUE_TEMPORARY, /* made by a node */
  VALUE_INPUT,     /* fed for each step */
  VALUE_PARAMETER, /* trained unless `is_frozen` */
  VALUE_STATE,     /* persists, not trained: running statistics, momentum */
  VALUE_CONSTANT,  /* known now, bytes in `data` */
  VALUE_STASH      /* codes or packed bits made by a save node */
} ValueKind;

typedef struct Value {
  const char *name; /* ONNX name; NULL for values the translator made */
  actnn_type type;
  actnn_layout layout;
  Shape shape;
  const char **symbol; /* rank names or NULL entries; NULL when no dimension is symbolic */
  ValueKind kind;
  NodeId producer; /* NO_NODE for inputs, parameters, states, constants */
  bool is_output;  /* one of the model's outputs */
  bool is_frozen;
  const void *data; /* constants, and first values of parameters and states: ONNX element type, row-major, little-endian */
  size_t data_bytes;
  uint32_t data_checksum; /* CRC-32 of data_bytes bytes that a text dump left out (data is NULL then) */
  ValueId drawn_from; /* parameter or state whose first value an initialize-phase node makes; else NO_VALUE */
  ValueId updates;    /* this value replaces that parameter or state when the step ends (same storage); else NO_VALUE */
} Value;

/* Nodes of all phases stand in one `order`; a step runs forward, then backward, with recomputation and updates where they are needed. */
typedef enum Phase {
  PHASE_INITIALIZE, /* once, draws first values */
  PHASE_FORWARD,
  PHASE_RECOMPUTE, /* forward nodes once more, among those of backward, which read them in place of what forward made */
  PHASE_BACKWARD,
  PHASE_UPDATE,   /* optimizer; placed where its gradient is ready */
  PHASE_EVALUATE, /* forward in inference mode */
  PHASE_COUNT
} Phase;

typedef enum AttributeKind {
  ATTRIBUTE_INT,
  ATTRIBUTE_FLOAT,
  ATTRIBUTE_STRING,
  ATTRIBUTE_INTS,
  ATTRIBUTE_FLOATS,
  ATTRIBUTE_STRINGS,
  ATTRIBUTE_TENSOR
} AttributeKind;

typedef struct Attribute {
  const char *name;
  AttributeKind kind;
  int64_t i;
  double f;
  const char *s;     /* NUL-terminated */
  size_t count;      /* of ints, floats or strings */
  const int64_t *ints;
  const double *floats;
  const char **strings;
  ValueId tensor; /* a VALUE_CONSTANT */
} Attribute;

typedef struct Operator Operator;

typedef struct Node {
  const Operator *operator; /* NULL: not in the table (reported by `specialize`) */
  const char *domain;       /* "" for ai.onnx */
  const char *operator_name;
  const char *name;         /* ONNX node name; never NULL, may be "" */
  ValueId *operands;        /* NO_VALUE: an absent optional one */
  ValueId *results;
  Attribute *attributes;
  uint32_t operand_count, result_count, attribute_count;
  Phase phase;
  NodeId origin; /* the forward node this one comes from; NO_NODE: itself */
  int line;      /* in a textual source, 0 otherwise */
} Node;

typedef struct Binding { /* TrainingInfo: key := value after a step (or once, for initialization) */
  ValueId key, value;
} Binding;

typedef struct OpsetImport {
  const char *domain;
  int64_t version;
} OpsetImport;

typedef struct Program {
  Arena *arena;
  Diagnostics *diagnostics;
  const char *source; /* file name, for messages */
  const char *name;   /* graph name */
  int64_t ir_version;
  OpsetImport *opsets;
  uint32_t opset_count, opset_capacity;
  Value *values;
  uint32_t value_count, value_capacity;
  Node *nodes;
  uint32_t node_count, node_capacity;
  NodeId *order;
  uint32_t order_count, order_capacity;
  ValueId *inputs, *outputs; /* the model's, in its own order; outputs of the training graph */
  uint32_t input_count, output_count;

  ValueId loss, evaluation_loss;        /* scalars; NO_VALUE until known */
  ValueId prediction, evaluation_output; /* what the loss is computed from; where split-loss has come by, the classes that win */
  ValueId evaluation_losses;             /* and the loss of each label; NO_VALUE: follows from evaluation_output */
  ValueId label;                        /* the label input the loss pass added; NO_VALUE */
  ValueId learning_rate, step_number;   /* scalar inputs set by the trainer */
  int loss_kind;                        /* actnn_loss_kind */
  double default_learning_rate;
  bool has_training_algorithm;          /* TrainingInfo brought its own backward or update */
  const unsigned char *inference_model; /* serialized forward ModelProto without weights, for `--export` */
  size_t inference_model_bytes;
  struct Plan *plan;                    /* made by plan-memory */
  struct SaveTable *saves;              /* made by quantize */
  uint64_t uncompressed_bytes;          /* what a framework keeps for backward, where nodes no longer tell; 0: they do */
  uint64_t identity;                    /* program_identity of before nodes were joined; 0: none are */
} Program;

/* No file may hold more, so that what is read stays within 64 MiB beyond what the file itself accounts for. */
enum { MOST_NODES = 1 << 16, MOST_VALUES = 1 << 17 };

/* ---- making ------------------------------------------------------------------------------------ */

Program *program_create(const char *source, Diagnostics *diagnostics);
void program_destroy(Program *program);
/* A copy that passes may change as they like. Names, constants' data and what attributes hold stay the original's, which must outlive it.
 * `original` has not been planned, and nothing in it is coded. */
Program *program_copy(const Program *original, Diagnostics *diagnostics);

/* `name` is copied and may be NULL. Pointers into `values` and `nodes` do not survive additions. */
ValueId add_value(Program *program, const char *name, ValueKind kind, actnn_type type, Shape shape);
/* An int64 vector constant, the spelling of shapes, axes and the like. */
ValueId add_int64_constant(Program *program, const int64_t *ints, size_t count);
ValueId add_scalar_constant(Program *program, double value);
/* Copies data. */
ValueId add_constant(Program *program, const char *name, actnn_type type, Shape shape, const void *data, size_t bytes);

/* Appends a node to `order`. Results are made by the caller; operator looked up by domain and name.
 * Arrays are copied. */
NodeId add_node(Program *program, Phase phase, const char *domain, const char *operator_name, const char *name,
                const ValueId *operands, size_t operand_count, const ValueId *results, size_t result_count);
void set_attribute(Program *program, NodeId node, Attribute attribute); /* replaces one of the same name */
void set_int(Program *program, NodeId node, const char *name, int64_t value);
void set_float(Program *program, NodeId node, const char *name, double value);
void set_string(Program *program, NodeId node, const char *name, const char *value);
void set_ints(Program *program, NodeId node, const char *name, const int64_t *ints, size_t count);
void remove_attribute(Program *program, NodeId node, const char *name);
void set_operand(Program *program, NodeId node, uint32_t index, ValueId value); /* extends with NO_VALUE */
void set_result(Program *program, NodeId node, uint32_t index, ValueId value);

/* ---- asking ------------------------------------------------------------------------------------ */

static inline Value *value_at(const Program *program, ValueId id) { return &program->values[id]; }
static inline Node *node_at(const Program *program, NodeId id) { return &program->nodes[id]; }
/* Of a step's second half, which finds of forward only what was saved. */
static inline bool
runs_after_forward(const Node *node)
{
  return node->phase == PHASE_RECOMPUTE || node->phase == PHASE_BACKWARD || node->phase == PHASE_UPDATE;
}
/* What is computed again from a code would be a function of its noise, and hardly a linear one. */
static inline bool
may_read_codes(const Node *node)
{
  return node->phase == PHASE_BACKWARD || node->phase == PHASE_UPDATE;
}
/* Operand or result value of a node; NULL when absent. */
Value *operand_value(const Program *program, const Node *node, uint32_t index);
Value *result_value(const Program *program, const Node *node, uint32_t index);
ValueId operand_id(const Node *node, uint32_t index); /* NO_VALUE when absent */
ValueId result_id(const Node *node, uint32_t index);

/* What a trainer reads when forward or evaluation ends: losses and predictions; NO_VALUE for what there is not. */
enum { NAMED_RESULTS = 5 };
typedef struct NamedResults {
  ValueId value[NAMED_RESULTS];
} NamedResults;
NamedResults named_results(const Program *program);

const Attribute *find_attribute(const Node *node, const char *name); /* NULL */
int64_t int_attribute(const Node *node, const char *name, int64_t otherwise);
double float_attribute(const Node *node, const char *name, double otherwise);
const char *string_attribute(const Node *node, const char *name, const char *otherwise);
/* Number of ints, 0 when absent; *ints points into the attribute. */
size_t ints_attribute(const Node *node, const char *name, const int64_t **ints);
/* The integers of a constant int64 (or int32) operand, copied into the arena; false when the operand is absent or
 * not a constant. */
bool constant_ints(const Program *program, ValueId value, const int64_t **ints, size_t *count);
bool constant_real(const Program *program, ValueId value, double *real); /* a scalar or one-element constant */

/* One element of any numeric type at `data`, which need not be aligned. */
double element_as_real(actnn_type type, const void *data);

int64_t opset_version(const Program *program, const char *domain); /* 0: not imported */

/* ---- shapes and types -------------------------------------------------------------------------- */

Shape shape_of(int rank, const int64_t *dims);
bool shape_equal(const Shape *a, const Shape *b);
bool shape_is_static(const Shape *shape);
/* Number of elements; false when a dimension is unknown or the product exceeds 2^47. */
bool shape_elements(const Shape *shape, int64_t *elements);
/* NumPy's rule; false when they do not broadcast. */
bool shape_broadcast(const Shape *a, const Shape *b, Shape *result);
size_t type_bytes(actnn_type type); /* of one element; 0 for STRING and UNDEFINED */
const char *type_name(actnn_type type); /* ONNX text: float, int64, bool, ... */
const char *phase_name(Phase phase);
const char *shape_text(Arena *arena, actnn_type type, const Shape *shape); /* f32[2,3] */

/* ---- changing ---------------------------------------------------------------------------------- */

/* Every use of `from`, as an operand, output or update, becomes `to`. */
void replace_uses(Program *program, ValueId from, ValueId to);
/* The same for many at once: by[v] in place of v; NO_VALUE: v stays. What replaces a value is not replaced itself. */
void replace_all_uses(Program *program, const ValueId *by);
void remove_from_order(Program *program, uint32_t position); /* the node is dead afterwards */
/* The same of all positions where is_kept is false. */
void keep_in_order(Program *program, const bool *is_kept);
/* Sorts `order` topologically and stably, phases apart; reports a cycle and returns false. */
bool sort_order(Program *program);
/* Puts forward nodes in the order in which the outputs, and then the next values of variables, need them, operands from left to right: the
 * same for every legal order of the same graph. `order` must be a legal one. Nodes of any phase without a result are left out. */
void order_by_outputs(Program *program);
/* Fills users[v] = number of operand slots (of nodes in order) that read v; the caller frees nothing (arena). */
uint32_t *count_uses(const Program *program);

/* The verifier of programs (src/check_program.c): SSA, types, operands of the right kind, phases, no backward
 * node reading a forward activation except through a save. Reports and returns false on the first offence.
 * `after`: the pass that just ran, for the message. */
bool check_program(Program *program, const char *after);

/* ---- in and out (program_text.c, onnx_import.c, onnx_export.c) ---------------------------------- */

/* Reads .onnx or .onnxtxt (told by content). NULL after reporting. */
Program *import_model(const char *path, Diagnostics *diagnostics);
/* The same of a file in memory, which was malloc'd and is freed here. `path`: for messages, and its folder is where
 * external data lie. */
Program *import_bytes(const char *path, unsigned char *bytes, size_t length, Diagnostics *diagnostics);
Program *parse_program(const char *source, const char *text, size_t length, Diagnostics *diagnostics);
char *print_program(const Program *program, Arena *arena);

#endif
