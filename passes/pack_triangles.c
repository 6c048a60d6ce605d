/* pack-triangles: of attention under a causal mask, saves the half of the probabilities that is not zero.
 * needs: linearize-attention.  keeps: gradients exactly.  makes: of P = Softmax(masked scores), where the mask follows from constants and
 * leaves nothing above the diagonal and backward reads P: PackTriangle(P), and UnpackTriangle before each backward reader. What the mask
 * blocks is exp(x - maximum) of an x at least 10,000 below any other, which is zero in float; PackTriangle checks that it is. */
#include "passes.h"

#include "../src/constant_folding.h"

#include <string.h>

PassFunction pack_triangles;

static const double BLOCKS = -10000;

static bool
is_false(const Value *mask, int64_t element)
{
  return mask->type == ACTNN_BOOL && !((const unsigned char *)mask->data)[element];
}

static bool
is_blocking(const Value *mask, int64_t element)
{
  return mask->type == ACTNN_F32 && ((const float *)mask->data)[element] <= BLOCKS;
}

/* Softmax over the last axis of scores of which nothing above the diagonal remains. */
static bool
is_causal(Program *program, const Node *softmax, KnownValues *known)
{
  if (strcmp(softmax->operator_name, "Softmax") || softmax->phase != PHASE_FORWARD) return false;
  const Value *p = result_value(program, softmax, 0);
  int last = p->shape.rank - 1;
  int64_t axis = int_attribute(softmax, "axis", -1);
  double fill;
  if (p->type != ACTNN_F32 || last < 2
      || (axis != -1 && axis != last) || p->shape.dim[last] != p->shape.dim[last - 1])
    return false;
  NodeId maker = operand_value(program, softmax, 0)->producer;
  if (maker == NO_NODE) return false;
  const Node *node = node_at(program, maker);
  int64_t extent = p->shape.dim[last];
  if (!strcmp(node->operator_name, "Where"))
    return constant_real(program, operand_id(node, 2), &fill) && fill <= BLOCKS
           && holds_of_triangle(known_value(known, program, operand_id(node, 0)), extent, true, is_false);
  if (strcmp(node->operator_name, "Add")) return false;
  return holds_of_triangle(known_value(known, program, operand_id(node, 0)), extent, true, is_blocking)
         || holds_of_triangle(known_value(known, program, operand_id(node, 1)), extent, true, is_blocking);
}

static void
pack(Program *program, uint32_t position, Insertions *insertions)
{
  NodeId softmax = program->order[position];
  ValueId p = result_id(node_at(program, softmax), 0);
  ValueId packed = insert_node(program, PHASE_FORWARD, position + 1, "actnn", "PackTriangle", softmax, &p, 1, insertions);
  NodeId node = value_at(program, packed)->producer;
  set_int(program, node, "checked", 1);
  infer_node(program, node);
  const Shape shape = value_at(program, p)->shape;
  ValueId operands[] = {packed, add_int64_constant(program, shape.dim, (size_t)shape.rank)};
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId reader = program->order[i];
    if (node_at(program, reader)->phase != PHASE_BACKWARD) continue;
    for (uint32_t k = 0; k < node_at(program, reader)->operand_count; k++) {
      if (operand_id(node_at(program, reader), k) != p) continue;
      ValueId full = insert_node(program, PHASE_BACKWARD, i, "actnn", "UnpackTriangle", reader, operands, 2, insertions);
      infer_node(program, value_at(program, full)->producer);
      set_operand(program, reader, k, full);
    }
  }
}

bool
pack_triangles(Program *program, const Options *options)
{
  Insertions insertions = {0};
  if (!codes_derived_values(options)) return true;
  const bool *read = values_read_by_backward(program);
  KnownValues known = start_knowing();
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (is_causal(program, node, &known) && read[result_id(node, 0)] && is_large_enough(program, result_id(node, 0)))
      pack(program, i, &insertions);
  }
  arena_destroy(known.arena);
  apply_insertions(program, &insertions);
  return !program->diagnostics->errors;
}
