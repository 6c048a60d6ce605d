/* schedule: moves each update to where its gradient is ready and the old value is read no more.
 * needs: updates at the end of order.  keeps: the order of everything else.  makes: gradients that live no longer than needed. */
#include "passes.h"

PassFunction schedule;

bool
schedule(Program *program, const Options *options)
{
  (void)options;
  Insertions insertions = {0};
  uint32_t *ready = arena_array(program->arena, program->value_count + 1, sizeof *ready); /* position after which a value may be consumed */
  uint32_t *last_read = arena_array(program->arena, program->value_count + 1, sizeof *last_read);
  NodeId *updates = arena_array(program->arena, program->order_count + 1, sizeof *updates);
  NodeId *order = arena_array(program->arena, program->order_count + 1, sizeof *order);
  uint32_t kept = 0, update_count = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    const Node *node = node_at(program, id);
    if (node->phase == PHASE_UPDATE && (node->operator->flags & UPDATE)) {
      updates[update_count++] = id;
      continue;
    }
    order[kept++] = id;
    for (uint32_t k = 0; k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE && node->phase != PHASE_EVALUATE && node->phase != PHASE_INITIALIZE)
        last_read[node->operands[k]] = kept;
    for (uint32_t k = 0; k < node->result_count; k++)
      if (node->results[k] != NO_VALUE) ready[node->results[k]] = kept;
  }
  for (uint32_t i = 0; i < update_count; i++) {
    const Node *node = node_at(program, updates[i]);
    uint32_t position = 0;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      ValueId x = node->operands[k];
      if (x == NO_VALUE) continue;
      if (ready[x] > position) position = ready[x];
      ValueKind kind = value_at(program, x)->kind;
      if ((kind == VALUE_PARAMETER || kind == VALUE_STATE) && last_read[x] > position) position = last_read[x];
    }
    insert_before(program, &insertions, position, updates[i]);
  }
  program->order = order;
  program->order_count = program->order_capacity = kept;
  apply_insertions(program, &insertions);
  return true;
}
