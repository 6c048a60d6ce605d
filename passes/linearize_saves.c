/* linearize-saves: computes in forward what backward reads only through a function of forward values.
 * needs: backward.  keeps: every value.  makes: backward nodes all of whose operands are known in forward move there, next to
 * what they read. Then what is saved is the local derivative itself (a mask, a slope, a probability), in which the gradient is
 * linear, and not the value that it is a nonlinear function of (compression.md, section 4). */
#include "passes.h"

PassFunction linearize_saves;

typedef struct Hoist {
  Program *program;
  bool *is_known;      /* by value: exists when forward ends */
  uint32_t *made_at;   /* by value: position in order of its producer, 0 for what a step starts with */
  Insertions moved;
} Hoist;

/* True when a node reads forward temporaries and nothing of backward; *after: the position after its last operand's producer. */
static bool
is_movable(const Hoist *hoist, const Node *node, uint32_t *after)
{
  bool reads_forward = false;
  if (node->operator->flags & (UPDATE | IMPURE | RANDOM)) return false;
  *after = 0;
  for (uint32_t k = 0; k < node->operand_count; k++) {
    ValueId x = node->operands[k];
    if (x == NO_VALUE) continue;
    if (!hoist->is_known[x]) return false;
    ValueKind kind = value_at(hoist->program, x)->kind;
    reads_forward |= kind == VALUE_TEMPORARY || kind == VALUE_INPUT;
    if (hoist->made_at[x] > *after) *after = hoist->made_at[x];
  }
  return reads_forward;
}

bool
linearize_saves(Program *program, const Options *options)
{
  (void)options;
  Hoist hoist = {.program = program};
  hoist.is_known = arena_array(program->arena, program->value_count + 1, sizeof(bool));
  hoist.made_at = arena_array(program->arena, program->value_count + 1, sizeof(uint32_t));
  for (uint32_t i = 0; i < program->value_count; i++)
    hoist.is_known[i] = value_at(program, i)->kind != VALUE_TEMPORARY && value_at(program, i)->kind != VALUE_STASH;
  uint32_t kept = 0;
  NodeId *order = arena_array(program->arena, program->order_count + 1, sizeof *order);
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    Node *node = node_at(program, id);
    uint32_t after = 0;
    bool moves = node->phase == PHASE_BACKWARD && is_movable(&hoist, node, &after);
    if (moves) {
      node->phase = PHASE_FORWARD;
      insert_before(program, &hoist.moved, after, id);
    } else {
      order[kept++] = id;
      after = kept;
    }
    for (uint32_t k = 0; k < node->result_count; k++)
      if (node->results[k] != NO_VALUE) {
        hoist.is_known[node->results[k]] = node->phase == PHASE_FORWARD;
        hoist.made_at[node->results[k]] = after;
      }
  }
  program->order = order;
  program->order_count = program->order_capacity = kept;
  apply_insertions(program, &hoist.moved);
  return true;
}
