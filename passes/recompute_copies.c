/* recompute_copies.c: runs of forward nodes once more, in backward.
 *
 * Backward goes through a parted run's second part first. For that the first part is computed as far as the second reads it (EARLY); what
 * backward reads of the first is computed when backward comes there, by copies of its own. */
#include "recompute.h"

#include <string.h>

/* What a copy is for. */
typedef enum Use { EARLY, BACKWARD, USES } Use;

typedef struct Copies {
  bool *is_kept;               /* by value: some copy reads it as forward made it */
  bool *is_wanted[USES];       /* by node of forward: copied */
  bool *is_wanted_value[USES]; /* by value: a copy reads it */
  ValueId *copy[USES];         /* by value; NO_VALUE */
  NodeId *made[USES];          /* by node of forward */
  uint32_t *part;              /* by node of forward: the first node of its part of a run */
  uint32_t *first_reader;      /* by node of forward: position of the first node of backward that reads a copy's result; UINT32_MAX */
  Insertions insertions;
} Copies;

static Copies
no_copies(const Recomputation *state)
{
  Arena *arena = state->program->arena;
  size_t values = state->program->value_count + 1u, nodes = state->node_count + 1u;
  Copies copies = {.is_kept = arena_array(arena, values, sizeof(bool)), .part = arena_array(arena, nodes, sizeof(uint32_t))};
  copies.first_reader = arena_array(arena, nodes, sizeof(uint32_t));
  memset(copies.first_reader, 0xFF, nodes * sizeof(uint32_t));
  for (int use = 0; use < USES; use++) {
    copies.is_wanted[use] = arena_array(arena, nodes, sizeof(bool));
    copies.is_wanted_value[use] = arena_array(arena, values, sizeof(bool));
    copies.copy[use] = arena_array(arena, values, sizeof(ValueId));
    copies.made[use] = arena_array(arena, nodes, sizeof(NodeId));
    memset(copies.copy[use], 0xFF, values * sizeof(ValueId));
  }
  return copies;
}

/* ---- what is needed ---------------------------------------------------------------------------------------------- */

/* Statistics over the samples are few and take a pass over all of them; running ones move on once. */
static void
keep_statistics(const Node *node, Copies *copies)
{
  for (uint32_t k = 3; k <= 4 && !strcmp(node->operator_name, "BatchNorm"); k++)
    if (result_id(node, k) != NO_VALUE) copies->is_kept[node->results[k]] = true;
}

/* Which nodes of a part, from `from` up to before `to`, are needed again, and what they read from before it: of the run, which starts at
 * `start`, or from before that. */
static void
find_wanted(const Recomputation *state, Use use, uint32_t start, uint32_t from, uint32_t to, Copies *copies)
{
  const Program *program = state->program;
  for (uint32_t n = to; n-- > from;) {
    const Node *node = node_at(program, state->node[n]);
    bool *is_wanted = &copies->is_wanted[use][n];
    copies->part[n] = from;
    keep_statistics(node, copies);
    for (uint32_t k = 0; k < node->result_count; k++) {
      ValueId y = node->results[k];
      if (y != NO_VALUE && !copies->is_kept[y]) *is_wanted |= copies->is_wanted_value[use][y] || (use == BACKWARD && state->read[y]);
    }
    for (uint32_t k = 0; *is_wanted && k < node->operand_count; k++) {
      ValueId x = node->operands[k];
      if (x == NO_VALUE || state->made_at[x] == UINT32_MAX) continue;
      if (state->made_at[x] < start) copies->is_kept[x] = true;
      else copies->is_wanted_value[state->made_at[x] < from ? EARLY : use][x] = true;
    }
  }
}

static void
find_wanted_of_run(const Recomputation *state, uint32_t first, uint32_t end, Copies *copies)
{
  uint32_t split = run_of(state, first, end)->split, start = state->cut[first], middle = state->cut[split ? split : first];
  find_wanted(state, BACKWARD, start, middle, state->cut[end], copies);
  if (!split) return;
  find_wanted(state, EARLY, start, start, middle, copies);
  find_wanted(state, BACKWARD, start, start, middle, copies);
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static NodeId
apply_statistics(Program *program, NodeId original, const ValueId *operands, ValueId y)
{
  const Node *node = node_at(program, original);
  const ValueId known[] = {operands[0], operands[1], operands[2], node->results[3], node->results[4]};
  return add_node(program, PHASE_RECOMPUTE, "actnn", "BatchNormApply", node->name, known, 5, &y, 1);
}

/* What the copy of node n reads in place of x. */
static ValueId
copied_operand(const Recomputation *state, const Copies *copies, Use use, uint32_t n, ValueId x)
{
  if (x == NO_VALUE || state->made_at[x] == UINT32_MAX || copies->is_kept[x]) return x;
  return copies->copy[state->made_at[x] < copies->part[n] ? EARLY : use][x];
}

static void
copy_node(const Recomputation *state, Copies *copies, Use use, uint32_t n)
{
  Program *program = state->program;
  NodeId original = state->node[n];
  const Node node = *node_at(program, original);
  ValueId *operands = arena_array(program->arena, node.operand_count + 1, sizeof *operands);
  ValueId *results = arena_array(program->arena, node.result_count + 1, sizeof *results);
  for (uint32_t k = 0; k < node.operand_count; k++) operands[k] = copied_operand(state, copies, use, n, node.operands[k]);
  for (uint32_t k = 0; k < node.result_count; k++) {
    results[k] = NO_VALUE;
    if (node.results[k] == NO_VALUE) continue;
    const Value y = *value_at(program, node.results[k]);
    copies->copy[use][node.results[k]] = results[k] = add_value(program, NULL, VALUE_TEMPORARY, y.type, y.shape);
  }
  bool has_statistics = !strcmp(node.operator_name, "BatchNorm");
  NodeId made = has_statistics ? apply_statistics(program, original, operands, results[0])
                               : add_node(program, PHASE_RECOMPUTE, node.domain, node.operator_name, node.name, operands, node.operand_count,
                                          results, node.result_count);
  program->order_count--; /* add_node appended it */
  for (uint32_t k = 0; k < node.attribute_count && !has_statistics; k++) set_attribute(program, made, node.attributes[k]);
  node_at(program, made)->origin = node.origin == NO_NODE ? original : node.origin;
  copies->made[use][n] = made;
}

/* Backward reads copies where there are some. */
static void
read_copies(const Recomputation *state, Copies *copies)
{
  const Program *program = state->program;
  for (uint32_t i = program->order_count; i-- > 0;) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; runs_after_forward(node) && k < node->operand_count; k++) {
      ValueId x = node->operands[k];
      uint32_t n = x == NO_VALUE ? UINT32_MAX : state->made_at[x];
      if (n == UINT32_MAX || copies->is_kept[x] || !copies->is_wanted[BACKWARD][n]) continue;
      node->operands[k] = copies->copy[BACKWARD][x];
      copies->first_reader[n] = i;
    }
  }
}

static void
place_copies(const Recomputation *state, Copies *copies, Use use, uint32_t from, uint32_t to, uint32_t position)
{
  for (uint32_t n = from; n < to; n++)
    if (copies->is_wanted[use][n]) insert_before(state->program, &copies->insertions, position, copies->made[use][n]);
}

/* Where backward comes to a part. */
static uint32_t
first_reader(const Copies *copies, uint32_t from, uint32_t to)
{
  uint32_t first = UINT32_MAX;
  for (uint32_t n = from; n < to; n++)
    if (copies->first_reader[n] < first) first = copies->first_reader[n];
  return first;
}

static void
place_run(const Recomputation *state, uint32_t first, uint32_t end, Copies *copies)
{
  uint32_t split = run_of(state, first, end)->split, start = state->cut[first], middle = state->cut[split ? split : first], to = state->cut[end];
  place_copies(state, copies, EARLY, start, middle, first_reader(copies, middle, to));
  place_copies(state, copies, BACKWARD, middle, to, first_reader(copies, middle, to));
  place_copies(state, copies, BACKWARD, start, middle, first_reader(copies, start, middle));
}

void
copy_runs(const Recomputation *state, const Choice *choice)
{
  Copies copies = no_copies(state);
  /* The last run first: what it reads of earlier ones is kept, and then need not be computed again. */
  for (uint32_t j = state->block_count; j > 0; j = choice->first[j] == UINT32_MAX ? j - 1 : choice->first[j])
    if (choice->first[j] != UINT32_MAX) find_wanted_of_run(state, choice->first[j], j, &copies);
  for (uint32_t n = 0; n < state->node_count; n++)
    for (Use use = EARLY; use < USES; use++)
      if (copies.is_wanted[use][n]) copy_node(state, &copies, use, n);
  read_copies(state, &copies);
  for (uint32_t j = state->block_count; j > 0; j = choice->first[j] == UINT32_MAX ? j - 1 : choice->first[j])
    if (choice->first[j] != UINT32_MAX) place_run(state, choice->first[j], j, &copies);
  apply_insertions(state->program, &copies.insertions);
}
