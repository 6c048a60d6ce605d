/* schedule: moves each update to where its gradient is ready and the old value is read no more.
 * needs: updates at the end of order.  keeps: the order of everything else.  makes: gradients that live no longer than needed. */
#include "passes.h"

PassFunction schedule;

/* Nodes of a model's own algorithm that replace a variable (a counter of steps, say) without being optimizers, and what reads
 * their results: they write in place, so they come last, after all that reads the old value. */
static bool
comes_last(const Program *program, const Node *node, bool *is_late)
{
  bool result = false;
  if (node->phase != PHASE_UPDATE) return false;
  for (uint32_t k = 0; k < node->operand_count; k++) result |= node->operands[k] != NO_VALUE && is_late[node->operands[k]];
  for (uint32_t k = 0; k < node->result_count; k++)
    result |= node->results[k] != NO_VALUE && value_at(program, node->results[k])->updates != NO_VALUE;
  for (uint32_t k = 0; k < node->result_count && result; k++)
    if (node->results[k] != NO_VALUE) is_late[node->results[k]] = true;
  return result;
}

/* What reads a variable must do so before its place is written again. */
static bool
check_reads(Program *program)
{
  bool *is_replaced = arena_array(program->arena, program->value_count + 1, sizeof *is_replaced);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (!runs_after_forward(node)) continue;
    for (uint32_t k = 0; k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE && is_replaced[node->operands[k]])
        return report_node(program, program->order[i], "let the algorithm read the new value, or a copy made before",
                           "reads the old value of '%s' after it is replaced",
                           safe_name(program->arena, value_at(program, node->operands[k])->name));
    for (uint32_t k = 0; k < node->result_count; k++) {
      ValueId replaced = node->results[k] == NO_VALUE ? NO_VALUE : value_at(program, node->results[k])->updates;
      if (replaced != NO_VALUE) is_replaced[replaced] = true;
    }
  }
  return true;
}

bool
schedule(Program *program, const Options *options)
{
  (void)options;
  Insertions insertions = {0};
  uint32_t *ready = arena_array(program->arena, program->value_count + 1, sizeof *ready); /* position after which a value may be consumed */
  uint32_t *last_read = arena_array(program->arena, program->value_count + 1, sizeof *last_read);
  NodeId *updates = arena_array(program->arena, program->order_count + 1, sizeof *updates);
  NodeId *order = arena_array(program->arena, program->order_count + 1, sizeof *order);
  NodeId *last = arena_array(program->arena, program->order_count + 1, sizeof *last);
  bool *is_late = arena_array(program->arena, program->value_count + 1, sizeof *is_late);
  uint32_t kept = 0, update_count = 0, last_count = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    const Node *node = node_at(program, id);
    if (node->phase == PHASE_UPDATE && (node->operator->flags & UPDATE)) {
      updates[update_count++] = id;
      continue;
    }
    if (comes_last(program, node, is_late)) {
      last[last_count++] = id;
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
  for (uint32_t i = 0; i < last_count; i++) insert_before(program, &insertions, kept, last[i]);
  apply_insertions(program, &insertions);
  return check_reads(program);
}
