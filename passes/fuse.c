/* fuse: joins what would read and write memory several times into one loop.
 * needs: encode-exact.  keeps: every result.  makes: PackPositive(x) of PackBits(Positive(x)), SelectPacked(dy, code) of
 * Select(UnpackBits(code), dy): a rectifier's mask goes from floats to bits and back without bytes in between. */
#include "passes.h"

#include <string.h>

PassFunction fuse, simplify;

static NodeId
maker(const Program *program, ValueId value, const char *operator_name)
{
  NodeId node = value == NO_VALUE ? NO_NODE : value_at(program, value)->producer;
  return node != NO_NODE && !strcmp(node_at(program, node)->operator_name, operator_name) ? node : NO_NODE;
}

/* One operand slot in the whole order reads `value`. */
static bool
has_one_reader(const uint32_t *uses, ValueId value)
{
  return uses[value] == 1;
}

/* A code whose every reader is an UnpackBits that feeds one Select of a gradient laid out alike. */
static bool
readers_select(const Program *program, ValueId code, const uint32_t *uses)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->operand_count; k++) {
      if (node->operands[k] == code && (strcmp(node->operator_name, "UnpackBits") || !has_one_reader(uses, node->results[0]))) return false;
      if (maker(program, node->operands[k], "UnpackBits") == NO_NODE) continue;
      if (operand_id(node_at(program, value_at(program, node->operands[k])->producer), 0) != code) continue;
      const Value *mask = value_at(program, node->operands[k]), *gradient = operand_value(program, node, 1);
      bool is_select = !strcmp(node->operator_name, "Select") && k == 0 && gradient->layout == mask->layout
                       && shape_equal(&gradient->shape, &mask->shape);
      if (!is_select) return false;
    }
  }
  return true;
}

static void
rewrite(Program *program, NodeId id, const char *operator_name, ValueId first, ValueId second)
{
  Node *node = node_at(program, id);
  node->operator_name = operator_name;
  node->domain = "actnn";
  node->operator = find_operator("actnn", operator_name);
  node->operands[0] = first;
  if (second != NO_VALUE) node->operands[1] = second;
}

/* Fuses one mask: the node at `position` packs it. */
static void
fuse_mask(Program *program, uint32_t position, const uint32_t *uses)
{
  NodeId pack = program->order[position];
  ValueId mask = operand_id(node_at(program, pack), 0), code = result_id(node_at(program, pack), 0);
  NodeId positive = maker(program, mask, "Positive");
  if (positive == NO_NODE || !has_one_reader(uses, mask) || !readers_select(program, code, uses)) return;
  ValueId x = operand_id(node_at(program, positive), 0);
  if (value_at(program, x)->layout != value_at(program, mask)->layout || value_at(program, x)->type != ACTNN_F32) return;
  rewrite(program, pack, "PackPositive", x, NO_VALUE);
  remove_attribute(program, pack, "bits");
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId select = program->order[i];
    if (strcmp(node_at(program, select)->operator_name, "Select")) continue;
    NodeId unpack = maker(program, operand_id(node_at(program, select), 0), "UnpackBits");
    if (unpack == NO_NODE || operand_id(node_at(program, unpack), 0) != code) continue;
    rewrite(program, select, "SelectPacked", operand_id(node_at(program, select), 1), code);
  }
}

bool
fuse(Program *program, const Options *options)
{
  const uint32_t *uses = count_uses(program);
  for (uint32_t i = 0; i < program->order_count; i++)
    if (!strcmp(node_at(program, program->order[i])->operator_name, "PackBits")) fuse_mask(program, i, uses);
  return simplify(program, options); /* Positive and UnpackBits are read no more */
}
