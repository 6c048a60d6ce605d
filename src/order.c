/* order.c: the order in which nodes run.
 *
 * Sorting is Kahn's algorithm with a heap of ready nodes keyed by (phase, former position): an order that is already right stays as
 * it is. Ordering by outputs is a walk from the outputs back, depth first. Nothing recurses, so that a chain of a million nodes costs
 * no stack.
 */
#include "program.h"

#include <string.h>

enum { MOST_SHOWN_OF_A_CYCLE = 6 };

/* Updates run inside the backward phase, each where its gradient is ready; so does what is computed again. */
static unsigned
phase_rank(Phase phase)
{
  static const unsigned char ranks[PHASE_COUNT] = {0, 1, 2, 2, 2, 3};
  return ranks[phase];
}

typedef struct Sorting {
  const Program *program;
  uint32_t count;
  uint32_t *position;     /* of a node in the former order; UINT32_MAX: dead */
  uint32_t *waits_for;    /* by former position: operand slots still to be made */
  uint32_t *first_reader; /* by former position: readers are readers[first_reader[p]] up to first_reader[p + 1] */
  uint32_t *readers;
  uint64_t *heap; /* phase << 32 | former position, smallest on top */
  uint32_t heap_count;
} Sorting;

static void
push_ready(Sorting *sorting, uint32_t position)
{
  const Program *program = sorting->program;
  uint64_t key = (uint64_t)phase_rank(node_at(program, program->order[position])->phase) << 32 | position;
  uint32_t at = sorting->heap_count++;
  for (; at && sorting->heap[(at - 1) / 2] > key; at = (at - 1) / 2) sorting->heap[at] = sorting->heap[(at - 1) / 2];
  sorting->heap[at] = key;
}

static uint32_t
pop_ready(Sorting *sorting)
{
  uint32_t top = (uint32_t)sorting->heap[0];
  uint64_t key = sorting->heap[--sorting->heap_count];
  uint32_t at = 0;
  for (uint32_t child; (child = 2 * at + 1) < sorting->heap_count; at = child) {
    if (child + 1 < sorting->heap_count && sorting->heap[child + 1] < sorting->heap[child]) child++;
    if (sorting->heap[child] >= key) break;
    sorting->heap[at] = sorting->heap[child];
  }
  sorting->heap[at] = key;
  return top;
}

/* Former position of the node that makes operand `index`; UINT32_MAX when none in the order does. */
static uint32_t
maker(const Sorting *sorting, const Node *node, uint32_t index)
{
  const Value *value = operand_value(sorting->program, node, index);
  if (!value || value->producer == NO_NODE) return UINT32_MAX;
  return sorting->position[value->producer];
}

static void
list_readers(Sorting *sorting, Arena *arena)
{
  const Program *program = sorting->program;
  size_t edges = 0;
  for (uint32_t p = 0; p < sorting->count; p++) {
    const Node *node = node_at(program, program->order[p]);
    for (uint32_t i = 0; i < node->operand_count; i++) {
      uint32_t made_at = maker(sorting, node, i);
      if (made_at == UINT32_MAX) continue;
      sorting->first_reader[made_at + 1]++;
      sorting->waits_for[p]++;
      edges++;
    }
  }
  for (uint32_t p = 0; p < sorting->count; p++) sorting->first_reader[p + 1] += sorting->first_reader[p];
  sorting->readers = arena_array(arena, edges + 1, sizeof *sorting->readers);
  uint32_t *next = arena_array(arena, (size_t)sorting->count + 1, sizeof *next);
  memcpy(next, sorting->first_reader, ((size_t)sorting->count + 1) * sizeof *next);
  for (uint32_t p = 0; p < sorting->count; p++) {
    const Node *node = node_at(program, program->order[p]);
    for (uint32_t i = 0; i < node->operand_count; i++) {
      uint32_t made_at = maker(sorting, node, i);
      if (made_at != UINT32_MAX) sorting->readers[next[made_at]++] = p;
    }
  }
}

/* Walks back from a node that never became ready until a node comes again: that is a cycle. */
static bool
report_cycle(const Sorting *sorting, Arena *arena)
{
  const Program *program = sorting->program;
  bool *seen = arena_array(arena, sorting->count, sizeof *seen);
  uint32_t at = 0;
  while (!sorting->waits_for[at]) at++;
  while (!seen[at]) {
    seen[at] = true;
    const Node *node = node_at(program, program->order[at]);
    for (uint32_t i = 0; i < node->operand_count; i++) {
      uint32_t made_at = maker(sorting, node, i);
      if (made_at != UINT32_MAX && sorting->waits_for[made_at]) {
        at = made_at;
        break;
      }
    }
  }
  const char *path = "";
  uint32_t start = at, shown = 0;
  do {
    const Node *node = node_at(program, program->order[at]);
    if (shown++ < MOST_SHOWN_OF_A_CYCLE) {
      path = arena_format(arena, "%s%s'%s'", path, shown > 1 ? ", which reads from " : "",
                          safe_name(arena, node->name[0] ? node->name : node->operator_name));
    }
    for (uint32_t i = 0; i < node->operand_count; i++) {
      uint32_t made_at = maker(sorting, node, i);
      if (made_at != UINT32_MAX && sorting->waits_for[made_at]) {
        at = made_at;
        break;
      }
    }
  } while (at != start);
  return report_node(program, program->order[start], "a graph must not depend on its own results",
                     "the node is part of a cycle of %u: %s%s", shown, path,
                     shown > MOST_SHOWN_OF_A_CYCLE ? ", ..." : "");
}

bool
sort_order(Program *program)
{
  Arena *arena = arena_create();
  uint32_t count = program->order_count;
  Sorting sorting = {.program = program, .count = count};
  sorting.position = arena_array(arena, (size_t)program->node_count + 1, sizeof *sorting.position);
  memset(sorting.position, 0xFF, ((size_t)program->node_count + 1) * sizeof *sorting.position);
  for (uint32_t p = 0; p < count; p++) sorting.position[program->order[p]] = p;
  sorting.waits_for = arena_array(arena, (size_t)count + 1, sizeof *sorting.waits_for);
  sorting.first_reader = arena_array(arena, (size_t)count + 2, sizeof *sorting.first_reader);
  sorting.heap = arena_array(arena, (size_t)count + 1, sizeof *sorting.heap);
  list_readers(&sorting, arena);

  NodeId *sorted = arena_array(arena, (size_t)count + 1, sizeof *sorted);
  uint32_t done = 0;
  for (uint32_t p = 0; p < count; p++) {
    if (!sorting.waits_for[p]) push_ready(&sorting, p);
  }
  while (sorting.heap_count) {
    uint32_t p = pop_ready(&sorting);
    sorted[done++] = program->order[p];
    for (uint32_t r = sorting.first_reader[p]; r < sorting.first_reader[p + 1]; r++) {
      if (--sorting.waits_for[sorting.readers[r]] == 0) push_ready(&sorting, sorting.readers[r]);
    }
  }
  bool is_acyclic = done == count || report_cycle(&sorting, arena);
  if (is_acyclic && count) memcpy(program->order, sorted, count * sizeof *sorted);
  arena_destroy(arena);
  return is_acyclic;
}

/* ---- an order that does not depend on how the model's file lists its nodes ---------------------------- */

typedef struct Visit {
  NodeId node;
  uint32_t next; /* operand to be looked at */
} Visit;

typedef struct Walk {
  const Program *program;
  bool *is_known; /* by node: on the stack or placed, or not to be moved */
  Visit *stack;
  NodeId *placed;
  uint32_t depth, count;
} Walk;

static void
push_maker(Walk *walk, ValueId value)
{
  if (value == NO_VALUE) return;
  NodeId maker = value_at(walk->program, value)->producer;
  if (maker == NO_NODE || walk->is_known[maker]) return;
  walk->is_known[maker] = true;
  walk->stack[walk->depth++] = (Visit){maker, 0};
}

/* Places what makes `value`: first the makers of its operands, in the operands' order. */
static void
place_maker(Walk *walk, ValueId value)
{
  push_maker(walk, value);
  while (walk->depth) {
    Visit *visit = &walk->stack[walk->depth - 1];
    const Node *node = node_at(walk->program, visit->node);
    if (visit->next < node->operand_count) {
      push_maker(walk, node->operands[visit->next++]);
    } else {
      walk->placed[walk->count++] = visit->node;
      walk->depth--;
    }
  }
}

/* Places what makes the next value of each variable, in the order of the variables: running statistics of a normalization, say, whose result
 * no output needs. */
static void
place_updates(Walk *walk, Arena *arena)
{
  const Program *program = walk->program;
  ValueId *next = arena_array(arena, (size_t)program->value_count + 1, sizeof *next);
  memset(next, 0xFF, program->value_count * sizeof *next);
  for (ValueId id = 0; id < program->value_count; id++)
    if (value_at(program, id)->updates != NO_VALUE) next[value_at(program, id)->updates] = id;
  for (ValueId id = 0; id < program->value_count; id++) place_maker(walk, next[id]);
}

static bool
has_result(const Node *node)
{
  for (uint32_t i = 0; i < node->result_count; i++)
    if (node->results[i] != NO_VALUE) return true;
  return false;
}

void
order_by_outputs(Program *program)
{
  Arena *arena = arena_create();
  Walk walk = {.program = program};
  walk.is_known = arena_array(arena, (size_t)program->node_count + 1, sizeof *walk.is_known);
  walk.stack = arena_array(arena, (size_t)program->order_count + 1, sizeof *walk.stack);
  walk.placed = arena_array(arena, (size_t)program->order_count + 1, sizeof *walk.placed);
  memset(walk.is_known, 1, program->node_count);
  for (uint32_t p = 0; p < program->order_count; p++)
    walk.is_known[program->order[p]] = node_at(program, program->order[p])->phase != PHASE_FORWARD;
  for (uint32_t i = 0; i < program->output_count; i++) place_maker(&walk, program->outputs[i]);
  place_updates(&walk, arena);
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    for (uint32_t i = 0; i < node->result_count; i++) place_maker(&walk, node->results[i]);
  }
  uint32_t kept = 0;
  for (uint32_t p = 0, next = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    if (!has_result(node)) continue; /* was not placed either */
    program->order[kept++] = node->phase == PHASE_FORWARD ? walk.placed[next++] : program->order[p];
  }
  program->order_count = kept;
  arena_destroy(arena);
}

static void
forget_results(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  for (uint32_t i = 0; i < node->result_count; i++) {
    Value *result = result_value(program, node, i);
    if (result && result->producer == id) result->producer = NO_NODE;
  }
}

void
keep_in_order(Program *program, const bool *is_kept)
{
  uint32_t kept = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    if (is_kept[i]) program->order[kept++] = program->order[i];
    else forget_results(program, program->order[i]);
  }
  program->order_count = kept;
}

void
remove_from_order(Program *program, uint32_t position)
{
  forget_results(program, program->order[position]);
  program->order_count--;
  memmove(&program->order[position], &program->order[position + 1],
          (program->order_count - position) * sizeof *program->order);
}

uint32_t *
count_uses(const Program *program)
{
  uint32_t *users = arena_array(program->arena, (size_t)program->value_count + 1, sizeof *users);
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    for (uint32_t i = 0; i < node->operand_count; i++) {
      if (node->operands[i] != NO_VALUE) users[node->operands[i]]++;
    }
  }
  return users;
}
