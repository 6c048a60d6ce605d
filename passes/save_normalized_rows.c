/* save-normalized-rows: one save for the gradient of a normalization of rows and for the layers that read its result.
 * needs: linearize-saves.  keeps: forward's results exactly, gradients.  makes: of LayerNormalization and RMSNormalization with a
 * gradient: Standardize (RMSNormalization: Mul), which computes the normalized value x^ in forward; NormalizedRowsGrad, which reads
 * x^ where the gradient read x; Affine (without bias: Mul) of x^ before each other backward reader of the result y. So backward
 * reads neither x nor y, and one code of x^ serves all: each product reads it once (compression.md, section 4, cases 3 and 4), but
 * for x^ mean(dy x^) in dx, whose bias is bounded. Mean and rstd are exact. */
#include "passes.h"

#include <string.h>

PassFunction save_normalized_rows;

typedef struct Rows {
  NodeId forward, gradient;
  uint32_t position;
  bool is_centered; /* LayerNormalization */
} Rows;

/* Scale and bias lie along the last axes of x: then they broadcast to it as the normalization takes them. */
static bool
lies_along(const Value *x, const Value *parameter)
{
  if (!parameter) return true;
  int skipped = x->shape.rank - parameter->shape.rank;
  for (int i = 0; i < parameter->shape.rank; i++)
    if (skipped < 0 || parameter->shape.dim[i] != x->shape.dim[skipped + i]) return false;
  return true;
}

/* A gradient's operands behind dy, x and scale: all statistics of that normalization. */
static bool
reads_statistics(const Node *gradient, const Node *forward, uint32_t count)
{
  for (uint32_t i = 1; i <= count; i++)
    if (operand_id(gradient, 2 + i) != result_id(forward, i)) return false;
  return true;
}

/* The gradient that reads a normalization's operand and statistics. */
static bool
find_rows(const Program *program, const ReaderList *readers, uint32_t position, Rows *found)
{
  const Node *forward = node_at(program, program->order[position]);
  *found = (Rows){.forward = program->order[position], .position = position, .gradient = NO_NODE};
  found->is_centered = !strcmp(forward->operator_name, "LayerNormalization");
  if (forward->phase != PHASE_FORWARD || (!found->is_centered && strcmp(forward->operator_name, "RMSNormalization"))) return false;
  if (!is_large_enough(program, operand_id(forward, 0))) return false;
  const Value *x = operand_value(program, forward, 0);
  if (!lies_along(x, operand_value(program, forward, 1)) || !lies_along(x, operand_value(program, forward, 2))) return false;
  uint32_t statistics = found->is_centered ? 2 : 1;
  for (uint32_t r = readers->first[operand_id(forward, 0)]; r < readers->first[operand_id(forward, 0) + 1]; r++) {
    const Node *node = node_at(program, program->order[readers->reader[r]]);
    if (strcmp(node->operator_name, found->is_centered ? "LayerNormalizationGrad" : "RMSNormalizationGrad")) continue;
    if (operand_id(node, 1) != operand_id(forward, 0) || !reads_statistics(node, forward, statistics)) continue;
    if (operand_id(node, 2) != operand_id(forward, 1)) return false;
    found->gradient = program->order[readers->reader[r]];
    return true;
  }
  return false;
}

static ValueId
insert_inferred(Program *program, Phase phase, uint32_t position, const char *domain, const char *name, NodeId like, const ValueId *operands,
                size_t count, Insertions *insertions)
{
  ValueId result = insert_node(program, phase, position, domain, name, like, operands, count, insertions);
  infer_node(program, value_at(program, result)->producer);
  return result;
}

/* The normalized value, right after the normalization. */
static ValueId
standardize(Program *program, const Rows *found, Insertions *insertions)
{
  const Node *node = node_at(program, found->forward);
  ValueId x = operand_id(node, 0);
  if (found->is_centered) {
    ValueId operands[] = {x, result_id(node, 1), result_id(node, 2)};
    return insert_inferred(program, PHASE_FORWARD, found->position + 1, "actnn", "Standardize", found->forward, operands, 3, insertions);
  }
  ValueId operands[] = {x, result_id(node, 1)};
  return insert_inferred(program, PHASE_FORWARD, found->position + 1, "", "Mul", found->forward, operands, 2, insertions);
}

static void
rewrite_gradient(Program *program, const Rows *found, ValueId normalized)
{
  Node *node = node_at(program, found->gradient);
  ValueId operands[] = {node->operands[0], normalized, node->operands[2], node->operands[found->is_centered ? 4 : 3]};
  node->operator_name = "NormalizedRowsGrad";
  node->operator = find_operator("actnn", node->operator_name);
  node->operands = arena_array(program->arena, 4, sizeof *operands);
  memcpy(node->operands, operands, sizeof operands);
  node->operand_count = 4;
  set_int(program, found->gradient, "centered", found->is_centered);
}

/* Each backward reader of the result reads scale * x^ + b. */
static void
rebuild_result(Program *program, const ReaderList *readers, const Rows *found, ValueId normalized, Insertions *insertions)
{
  ValueId y = result_id(node_at(program, found->forward), 0), scale = operand_id(node_at(program, found->forward), 1);
  ValueId b = found->is_centered ? operand_id(node_at(program, found->forward), 2) : NO_VALUE;
  for (uint32_t r = readers->first[y]; r < readers->first[y + 1]; r++) {
    uint32_t position = readers->reader[r];
    NodeId reader = program->order[position];
    if (!may_read_codes(node_at(program, reader))) continue;
    for (uint32_t k = 0; k < node_at(program, reader)->operand_count; k++) {
      if (operand_id(node_at(program, reader), k) != y) continue;
      ValueId operands[] = {normalized, scale, b};
      bool has_bias = b != NO_VALUE;
      ValueId again = insert_inferred(program, PHASE_BACKWARD, position, has_bias ? "actnn" : "", has_bias ? "Affine" : "Mul", reader, operands,
                                  has_bias ? 3 : 2, insertions);
      set_operand(program, reader, k, again);
    }
  }
}

bool
save_normalized_rows(Program *program, const Options *options)
{
  Insertions insertions = {0};
  if (!codes_derived_values(options)) return true;
  const ReaderList readers = list_readers(program); /* of values that were there before */
  for (uint32_t i = 0; i < program->order_count; i++) {
    Rows found;
    if (!find_rows(program, &readers, i, &found)) continue;
    ValueId normalized = standardize(program, &found, &insertions);
    rewrite_gradient(program, &found, normalized);
    rebuild_result(program, &readers, &found, normalized, &insertions);
  }
  apply_insertions(program, &insertions);
  return !program->diagnostics->errors;
}
