/* operators.h: what the translator knows of operators. The facts stand in operators.def, one entry an
 * operator; this header is how the rest asks. docs/adding-an-operator.md shows how an entry is written. */
#ifndef ACTNN_OPERATORS_H
#define ACTNN_OPERATORS_H

#include "program.h"

/* A slot of a signature "x w b? -> y ; strides:ints group:int=1". */
typedef struct Slot {
  const char *name;
  bool is_optional; /* ? */
  bool is_constant; /* # : known at compile time; handed to kernels as an attribute, not as a tensor */
  bool is_variadic; /* * : this and all that follow */
} Slot;

typedef struct AttributeSlot {
  const char *name;
  AttributeKind kind;
  bool has_default;
  int64_t i;
  double f;
  const char *s;
} AttributeSlot;

typedef bool ShapeRule(Program *program, NodeId node);

enum OperatorFlag {
  POINTWISE = 1,      /* one result element from one element of each operand, broadcast */
  BLOCKED = 2,        /* its kernel takes and makes blocked tensors (all image operands blocked alike) */
  IN_PLACE = 4,       /* result 0 may overwrite operand 0 */
  UPDATE = 8,         /* an optimizer kernel: operand 0 variable, operand 1 gradient */
  RANDOM = 16,        /* draws from the counter: never folded, never merged */
  IMPURE = 32,        /* keeps state, never removed */
  SAVES = 64,         /* quantize, pack: makes a stash */
  RESTORES = 128,     /* dequantize, unpack: reads a stash */
  FUNCTION = 256      /* the evaluator alone: removed before emission (Shape, Constant, ...) */
};

struct Operator {
  const char *domain; /* "", "actnn", "ai.onnx.preview.training" */
  const char *name;
  const char *signature;
  const char *gradient;    /* formulas; NULL: cannot be differentiated */
  const char *linear;      /* names of operands it is multilinear in: these may be coded. "~x": with a bounded bias */
  const char *tries;       /* shapes to test with */
  ShapeRule *infer;
  actnn_kernel *evaluate;  /* plain loops in double precision */
  const char *expression;  /* text of a pointwise operator, or NULL */
  unsigned flags;
  double low, high;        /* a slope: results lie in this range whatever the operand; both 0 where none is known */
  Slot *operands, *results;
  AttributeSlot *attributes;
  uint32_t operand_count, result_count, attribute_count;
};

const Operator *find_operator(const char *domain, const char *name); /* NULL */
size_t operator_count(void);
const Operator *operator_at(size_t index);
/* How operand `index` of a call maps to a slot, variadic ones included; NULL past the end. */
const Slot *operand_slot(const Operator *operator, uint32_t index);
bool is_linear_in(const Operator *operator, uint32_t operand_index, bool *is_bounded);

/* Runs the operator's shape rule: results get types and shapes; attributes that the exporter left implicit
 * (strides, pads of auto_pad, ...) are written out. Reports and returns false on misuse. */
bool infer_node(Program *program, NodeId node);

/* Builds the attribute list that kernels get: constant operands, then attributes with defaults filled in.
 * Returns the count; *list is in the arena. */
size_t call_attributes(const Program *program, const Node *node, actnn_attribute **list);

/* ---- for shape rules (shape_rules.c has the common ones) ---------------------------------------- */

ShapeRule infer_same, infer_broadcast, infer_broadcast_bool;
/* True of a shape that has one element for so many neighbours of x, all along x's last axes. */
bool numbers_stand_for(const Shape *x, const Shape *other);
bool set_result_type(Program *program, NodeId node, uint32_t result, actnn_type type, const Shape *shape);
/* Axis in [-rank, rank) to [0, rank); reports otherwise. */
bool normalize_axis(Program *program, NodeId node, int64_t *axis, int rank);

/* ---- evaluation -------------------------------------------------------------------------------- */

/* A tensor of the evaluator: every floating type as double, integers and bool in their own type (I32 and other
 * integers as int64). */
typedef struct Tensor {
  actnn_type type; /* ACTNN_F32: any floating type, as double; ACTNN_BOOL and ACTNN_U8: one byte; else ACTNN_I64 */
  Shape shape;
  void *data;
} Tensor;

/* Evaluates one node on tensors (one per operand, NULL where absent; constants may be NULL too: their data is
 * used). Results are allocated in the arena. Reports and returns false when the operator has no evaluation. */
bool evaluate_node(Program *program, NodeId node, Arena *arena, const Tensor *const *operands, Tensor *results);
/* Shape, Size and EyeLike read the type and extents of operand 0, never its elements. */
bool reads_only_shapes(const Operator *operator);
/* A constant's or first value's data as a tensor of the evaluator. */
bool constant_tensor(const Program *program, ValueId value, Arena *arena, Tensor *tensor);
/* A constant of `type` that holds the tensor: what folding puts in a node's place. Integers wrap to the type's width. */
ValueId add_tensor_constant(Program *program, const char *name, actnn_type type, const Tensor *tensor);
/* Evaluates all nodes of the phases in the mask (1 << PHASE_...), tensors[v] given for inputs and filled in for the rest
 * (an array of program->value_count pointers). */
bool evaluate_program(Program *program, unsigned phases, Arena *arena, Tensor **tensors);

#endif
