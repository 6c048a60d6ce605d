/* gather-updates: on a GPU, has updates wait for the end of backward: all where that makes the arena no larger, otherwise the small ones.
 * needs: schedule's order.  keeps: the order of everything else.  makes: a run of updates, which a GPU's runtime launches as one, while
 * between other launches a small one costs more than its arithmetic. */
#include "passes.h"

#include <stdlib.h>

PassFunction gather_updates, plan_memory;

enum { SMALL_PART = 128 }; /* gradients that wait take at most this part of the arena */

typedef struct Waiting {
  NodeId node;
  uint64_t bytes; /* of its gradient */
} Waiting;

static bool
is_update(const Node *node)
{
  return node->phase == PHASE_UPDATE && (node->operator->flags & UPDATE);
}

/* Behind which position all gradients are there, and whatever else updates read has been computed. What replaces a variable without being
 * an update comes behind all that (schedule). */
static uint32_t
end_of_backward(const Program *program)
{
  bool *is_read = arena_array(program->arena, program->node_count + 1, sizeof *is_read);
  uint32_t end = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->operand_count && is_update(node); k++)
      if (node->operands[k] != NO_VALUE && operand_value(program, node, k)->producer != NO_NODE)
        is_read[operand_value(program, node, k)->producer] = true;
  }
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (is_read[program->order[i]] || (runs_after_forward(node) && node->phase != PHASE_UPDATE)) end = i + 1;
  }
  return end;
}

/* The order in which those that wait come there, as they were. */
static NodeId *
order_with(const Program *program, const bool *waits, uint32_t end)
{
  NodeId *order = arena_array(program->arena, program->order_count + 1, sizeof *order);
  uint32_t count = 0;
  for (uint32_t i = 0; i < end; i++)
    if (!waits[program->order[i]]) order[count++] = program->order[i];
  for (uint32_t i = 0; i < program->order_count; i++)
    if (waits[program->order[i]]) order[count++] = program->order[i];
  for (uint32_t i = end; i < program->order_count; i++)
    if (!waits[program->order[i]]) order[count++] = program->order[i];
  return order;
}

static int
compare_bytes(const void *left, const void *right)
{
  const Waiting *one = left, *other = right;
  if (one->bytes != other->bytes) return one->bytes < other->bytes ? -1 : 1;
  return one->node < other->node ? -1 : one->node > other->node;
}

/* The smallest, as many as take no more than `most` bytes together. */
static const bool *
choose_small(const Program *program, uint64_t most)
{
  Waiting *update = arena_array(program->arena, program->order_count + 1, sizeof *update);
  bool *waits = arena_array(program->arena, program->node_count + 1, sizeof *waits);
  uint32_t count = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    if (is_update(node_at(program, id))) update[count++] = (Waiting){id, value_bytes(program, operand_id(node_at(program, id), 1))};
  }
  qsort(update, count, sizeof *update, compare_bytes);
  for (uint32_t i = 0; i < count && update[i].bytes <= most; i++) {
    waits[update[i].node] = true;
    most -= update[i].bytes;
  }
  return waits;
}

/* Bytes of the arena for an order. */
static bool
measure(Program *program, const Options *options, NodeId *order, uint64_t *bytes)
{
  program->order = order;
  if (!plan_memory(program, options)) return false;
  *bytes = program->plan->arena_bytes;
  program->plan = NULL;
  return true;
}

bool
gather_updates(Program *program, const Options *options)
{
  if (!options->is_for_gpu) return true;
  uint64_t before, after;
  uint32_t end = end_of_backward(program);
  NodeId *early = program->order, *late = order_with(program, choose_small(program, UINT64_MAX), end);
  if (!measure(program, options, late, &after) || !measure(program, options, early, &before)) return false;
  program->order = after <= before ? late : order_with(program, choose_small(program, before / SMALL_PART), end);
  program->order_capacity = program->order_count;
  return true;
}
