/* constant_folding.c: see constant_folding.h. */
#include "constant_folding.h"

#include <string.h>

enum { MOST_STEPS = 64 }; /* nodes one behind the other that are looked at */
/* A mask of 4,096 tokens, or several of fewer; a second or so. */
static const Folding LOOKED_AT = {1 << 25, 1 << 28};

/* Multiplications, or more: a result element of a product or a pool may need all of the smallest operand. Of more than `most` it is not said
 * how many. */
static int64_t
work_of(const Program *program, const Node *node, int64_t results, int64_t most)
{
  static const char *const heavy[] = {"Product", "MatMul", "Conv", "MaxPool", "AveragePool", "LpPool", "LRN", "TopK"};
  int64_t smallest = INT64_MAX, elements;
  bool is_heavy = false;
  for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++) is_heavy |= !strncmp(node->operator_name, heavy[i], strlen(heavy[i]));
  for (uint32_t k = 0; is_heavy && k < node->operand_count; k++) {
    const Value *x = operand_value(program, node, k);
    if (x && shape_elements(&x->shape, &elements) && elements < smallest) smallest = elements;
  }
  return is_heavy && smallest < INT64_MAX ? results * (smallest <= most ? smallest : most + 1) : results;
}

bool
afford_evaluation(const Program *program, const Node *node, Folding *left)
{
  int64_t results = 1, elements;
  for (uint32_t k = 0; k < node->result_count; k++) {
    const Value *y = result_value(program, node, k);
    if (y && shape_elements(&y->shape, &elements)) results += elements;
  }
  if (results > left->elements) return false;
  int64_t work = work_of(program, node, results, left->work);
  if (work > left->work) return false;
  left->elements -= results;
  left->work -= work;
  return true;
}

static bool
is_same_each_time(const Node *node)
{
  return !(node->operator->flags & (RANDOM | IMPURE | UPDATE | SAVES | RESTORES));
}

bool
is_foldable(const Program *program, const Node *node, int64_t most_elements)
{
  if (!is_same_each_time(node)) return false;
  for (uint32_t k = 0; k < node->operand_count; k++) {
    const Value *x = operand_value(program, node, k);
    if (x && x->kind != VALUE_CONSTANT) return false;
  }
  for (uint32_t k = 0; k < node->result_count; k++) {
    const Value *y = result_value(program, node, k);
    int64_t elements;
    if (!y) continue;
    if (y->is_output || !shape_elements(&y->shape, &elements) || elements > most_elements) return false;
  }
  return true;
}

/* Makes `value` a constant of what the tensor holds. */
static void
hold(Value *value, const Tensor *tensor, Arena *arena)
{
  int64_t count = 0;
  shape_elements(&value->shape, &count);
  size_t width = type_bytes(value->type);
  char *data = arena_array(arena, (size_t)count + 1, width);
  for (int64_t i = 0; i < count; i++) {
    char *at = data + (size_t)i * width;
    if (tensor->type == ACTNN_F32) {
      double x = ((const double *)tensor->data)[i];
      float narrow = (float)x;
      if (width == 8) memcpy(at, &x, 8);
      else memcpy(at, &narrow, 4);
    } else if (width == 1) {
      *at = tensor->type == ACTNN_I64 ? (char)((const int64_t *)tensor->data)[i] : ((const char *)tensor->data)[i];
    } else {
      memcpy(at, &((const int64_t *)tensor->data)[i], width); /* little-endian: the low bytes */
    }
  }
  value->kind = VALUE_CONSTANT;
  value->producer = NO_NODE;
  value->data = data;
  value->data_bytes = (size_t)count * width;
}

void
become_constant(Program *program, ValueId id, const Tensor *tensor)
{
  hold(value_at(program, id), tensor, program->arena);
}

typedef struct Computing {
  Program *program;
  Arena *arena;
  Folding *left;
  const Tensor **tensor; /* by value; NULL: not yet */
} Computing;

static bool
compute(Computing *computing, ValueId id, int steps)
{
  Program *program = computing->program;
  Arena *arena = computing->arena;
  const Value *value = value_at(program, id);
  if (computing->tensor[id]) return true;
  const Node *node = value->producer == NO_NODE ? NULL : node_at(program, value->producer);
  if (!node) {
    Tensor *constant = arena_allocate(arena, sizeof *constant);
    computing->tensor[id] = constant;
    return value->kind == VALUE_CONSTANT && constant_tensor(program, id, arena, constant);
  }
  bool is_possible = steps > 0 && node->operator && node->operator->evaluate && is_same_each_time(node) && !reads_only_shapes(node->operator);
  if (!is_possible || !afford_evaluation(program, node, computing->left)) return false;
  const Tensor **operands = arena_array(arena, (size_t)node->operand_count + 1, sizeof *operands);
  Tensor *results = arena_array(arena, (size_t)node->result_count + 1, sizeof *results);
  for (uint32_t k = 0; k < node->operand_count; k++) {
    if (node->operands[k] == NO_VALUE) continue;
    if (!compute(computing, node->operands[k], steps - 1)) return false;
    operands[k] = computing->tensor[node->operands[k]];
  }
  if (!evaluate_node(program, value->producer, arena, operands, results)) return false;
  for (uint32_t k = 0; k < node->result_count; k++)
    if (node->results[k] != NO_VALUE) computing->tensor[node->results[k]] = &results[k];
  return true;
}

KnownValues
start_knowing(void)
{
  return (KnownValues){.arena = arena_create(), .left = LOOKED_AT, .last = NO_VALUE};
}

const Value *
known_value(KnownValues *known, Program *program, ValueId id)
{
  const Value *value = id == NO_VALUE ? NULL : value_at(program, id);
  if (!value || value->kind == VALUE_CONSTANT) return value;
  if (known->last == id) return known->found;
  Computing computing = {.program = program, .arena = arena_create(), .left = &known->left};
  computing.tensor = arena_array(computing.arena, (size_t)program->value_count + 1, sizeof *computing.tensor);
  known->last = id;
  known->found = NULL;
  if (compute(&computing, id, MOST_STEPS)) {
    Value *copy = arena_allocate(known->arena, sizeof *copy);
    *copy = *value;
    hold(copy, computing.tensor[id], known->arena);
    known->found = copy;
  }
  arena_destroy(computing.arena);
  return known->found;
}
