/* encode-exact: packs masks and pooling positions into as few bits as they need, without loss.
 * needs: linearize-saves, layout.  keeps: every value.  makes: actnn.PackBits after the producer, actnn.UnpackBits before each
 * backward reader. */
#include "passes.h"

#include <string.h>

PassFunction encode_exact;

/* Bits that every element of a saved mask or position fits in; 0 when it is neither. */
static int64_t
bits_needed(const Program *program, const Value *value)
{
  const int64_t *kernel;
  int64_t window = 1;
  int bits = 0;
  if (value->type == ACTNN_BOOL) return 1;
  if (value->type != ACTNN_U8) return 0;
  const Node *producer = node_at(program, value->producer);
  if (strcmp(producer->operator_name, "MaxPoolWithOffset")) return 8;
  size_t rank = ints_attribute(producer, "kernel_shape", &kernel);
  for (size_t i = 0; i < rank; i++) window *= kernel[i];
  while (((int64_t)1 << bits) < window) bits++;
  return bits ? bits : 1;
}

/* One unpacking for each reader: between readers only the packed bits live. */
static void
unpack_for_readers(Program *program, ValueId value, ValueId code, int64_t bits, const ReaderList *list, Insertions *insertions)
{
  for (uint32_t r = list->first[value]; r < list->first[value + 1]; r++) {
    uint32_t i = list->reader[r];
    NodeId reader = program->order[i];
    if (!runs_after_forward(node_at(program, reader))) continue;
    ValueId restored = NO_VALUE;
    for (uint32_t k = 0; k < node_at(program, reader)->operand_count; k++) {
      if (operand_id(node_at(program, reader), k) != value) continue;
      if (restored == NO_VALUE) {
        NodeId unpack = make_unplaced(program, node_at(program, reader)->phase, "actnn", "UnpackBits", reader, &code, 1, &restored);
        set_int(program, unpack, "bits", bits);
        set_int(program, unpack, "to", value_at(program, value)->type);
        infer_node(program, unpack);
        value_at(program, restored)->layout = value_at(program, value)->layout;
        insert_before(program, insertions, i, unpack);
      }
      set_operand(program, reader, k, restored);
    }
  }
}

bool
encode_exact(Program *program, const Options *options)
{
  (void)options;
  Insertions insertions = {0};
  const bool *read = values_read_by_backward(program);
  const ReaderList list = list_readers(program);
  uint32_t count = program->order_count;
  for (uint32_t i = 0; i < count; i++) {
    NodeId id = program->order[i];
    if (node_at(program, id)->phase != PHASE_FORWARD || (node_at(program, id)->operator->flags & SAVES)) continue;
    for (uint32_t k = 0; k < node_at(program, id)->result_count; k++) {
      ValueId value = result_id(node_at(program, id), k), code;
      if (value == NO_VALUE || !is_saved_value(program, value, read)) continue;
      int64_t bits = bits_needed(program, value_at(program, value));
      if (!bits) continue;
      NodeId pack = make_unplaced(program, PHASE_FORWARD, "actnn", "PackBits", id, &value, 1, &code);
      set_int(program, pack, "bits", bits);
      infer_node(program, pack);
      insert_before(program, &insertions, i + 1, pack);
      unpack_for_readers(program, value, code, bits, &list, &insertions);
    }
  }
  apply_insertions(program, &insertions);
  return true;
}
