/* fuse: joins what would read and write memory several times into one loop.
 * needs: encode-exact.  keeps: every result.  makes: PackPositive(x) of PackBits(Positive(x)), SelectPacked(dy, code) of
 * Select(UnpackBits(code), dy): a rectifier's mask goes from floats to bits and back without bytes in between. */
#include "passes.h"

#include <string.h>

PassFunction fuse, simplify;

static NodeId
maker(const Program *program, ValueId value, const char *operator_name)
{
  NodeId node = value_at(program, value)->producer;
  return node != NO_NODE && !strcmp(node_at(program, node)->operator_name, operator_name) ? node : NO_NODE;
}

static NodeId
reader_at(const Program *program, const ReaderList *list, uint32_t index)
{
  return program->order[list->reader[index]];
}

/* A code whose every reader is an UnpackBits that feeds one Select of a gradient laid out alike. */
static bool
readers_select(const Program *program, ValueId code, const ReaderList *list)
{
  for (uint32_t r = list->first[code]; r < list->first[code + 1]; r++) {
    const Node *unpack = node_at(program, reader_at(program, list, r));
    if (strcmp(unpack->operator_name, "UnpackBits") || single_reader(program, list, unpack->results[0]) == NO_NODE) return false;
    ValueId mask = unpack->results[0];
    const Node *select = node_at(program, single_reader(program, list, mask));
    if (strcmp(select->operator_name, "Select") || select->operands[0] != mask) return false;
    const Value *gradient = operand_value(program, select, 1);
    if (gradient->layout != value_at(program, mask)->layout
        || !shape_equal(&gradient->shape, &value_at(program, mask)->shape)) return false;
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
fuse_mask(Program *program, uint32_t position, const ReaderList *list)
{
  NodeId pack = program->order[position];
  ValueId mask = operand_id(node_at(program, pack), 0), code = result_id(node_at(program, pack), 0);
  NodeId positive = maker(program, mask, "Positive");
  if (positive == NO_NODE || single_reader(program, list, mask) == NO_NODE || !readers_select(program, code, list)) return;
  ValueId x = operand_id(node_at(program, positive), 0);
  if (value_at(program, x)->layout != value_at(program, mask)->layout || value_at(program, x)->type != ACTNN_F32) return;
  rewrite(program, pack, "PackPositive", x, NO_VALUE);
  remove_attribute(program, pack, "bits");
  for (uint32_t r = list->first[code]; r < list->first[code + 1]; r++) {
    NodeId select = reader_at(program, list, list->first[result_id(node_at(program, reader_at(program, list, r)), 0)]);
    rewrite(program, select, "SelectPacked", operand_id(node_at(program, select), 1), code);
  }
}

bool
fuse(Program *program, const Options *options)
{
  const ReaderList list = list_readers(program);
  for (uint32_t i = 0; i < program->order_count; i++)
    if (!strcmp(node_at(program, program->order[i])->operator_name, "PackBits")) fuse_mask(program, i, &list);
  return simplify(program, options); /* Positive and UnpackBits are read no more */
}
