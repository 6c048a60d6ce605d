/* offload-exact: saves through the pool what backward reads as it is, so that it can wait in the host's memory (runtime/offload.h).
 * needs: the final order; a level that offloads.  keeps: every value, to the last bit; what checkpoints belong to.  makes: one
 * actnn.SaveExact after the producer and one actnn.RestoreExact before the first reader in backward, for each such float value that is large
 * and waits long enough to leave; program->identity and uncompressed_bytes of before. In between it has no place in the arena but in
 * the pool's window. What waits longest is taken first, and only as much as makes the arena smallest. */
#include "plan_offsets.h"

#include "../src/program_identity.h"

#include <stdlib.h>
#include <string.h>

PassFunction offload_exact;

/* What takes less than this part of all that is saved (statistics, seeds, small rows) is not worth copies of its own. */
enum { SMALLEST_PART = 512 };

typedef struct Candidate {
  ValueId value;
  uint64_t bytes;
  uint32_t waits; /* calls that touch saves between its own */
} Candidate;

/* ---- what could leave -------------------------------------------------------------------------------------- */

static bool
is_float_of_samples(const Value *value)
{
  return (value->type == ACTNN_F32 || value->type == ACTNN_BF16) && value->shape.rank >= 2;
}

/* Values that lie in a step's buffers from forward to backward, in the order in which they are made. What is looked at after the step has to
 * stay. */
static Candidate *
list_candidates(const Program *program, uint32_t *count)
{
  const bool *read = values_read_by_backward(program);
  const NamedResults named = named_results(program);
  uint64_t all = 0, uncompressed;
  count_saved_bytes(program, &all, &uncompressed);
  Candidate *candidate = arena_array(program->arena, program->value_count + 1u, sizeof *candidate);
  *count = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->result_count; k++) {
      ValueId id = node->results[k];
      if (id == NO_VALUE || !is_saved_value(program, id, read) || !is_float_of_samples(value_at(program, id))) continue;
      bool is_named = false;
      for (size_t j = 0; j < NAMED_RESULTS; j++) is_named |= named.value[j] == id;
      uint64_t bytes = value_bytes(program, id);
      if (!is_named && value_at(program, id)->updates == NO_VALUE && bytes >= all / SMALLEST_PART)
        candidate[(*count)++] = (Candidate){.value = id, .bytes = bytes};
    }
  }
  return candidate;
}

/* ---- saving them -------------------------------------------------------------------------------------------- */

/* Whoever reads the value after forward reads what is restored before the first of them; its position in *position. What is computed again
 * may read no node of backward. */
static NodeId
restore(Program *program, ValueId value, ValueId stash, uint32_t number, const ReaderList *list, uint32_t *position)
{
  NodeId node = NO_NODE;
  ValueId restored = NO_VALUE;
  Phase phase = PHASE_BACKWARD;
  for (uint32_t r = list->first[value]; r < list->first[value + 1]; r++)
    if (node_at(program, program->order[list->reader[r]])->phase == PHASE_RECOMPUTE) phase = PHASE_RECOMPUTE;
  for (uint32_t r = list->first[value]; r < list->first[value + 1]; r++) {
    NodeId reader = program->order[list->reader[r]];
    if (!runs_after_forward(node_at(program, reader))) continue;
    if (node == NO_NODE) {
      node = make_unplaced(program, phase, "actnn", "RestoreExact", reader, &stash, 1, &restored);
      set_int(program, node, "number", number);
      set_int(program, node, "to", value_at(program, value)->type);
      *position = list->reader[r];
    }
    for (uint32_t k = 0; k < node_at(program, reader)->operand_count; k++)
      if (operand_id(node_at(program, reader), k) == value) set_operand(program, reader, k, restored);
  }
  return node;
}

static void
save_values(Program *program, const Candidate *candidate, uint32_t count)
{
  Insertions insertions = {0};
  const ReaderList list = list_readers(program);
  for (uint32_t i = 0; i < count; i++) {
    ValueId value = candidate[i].value, stash;
    NodeId maker = value_at(program, value)->producer;
    uint32_t position = 0;
    NodeId save = make_unplaced(program, PHASE_FORWARD, "actnn", "SaveExact", maker, &value, 1, &stash);
    set_int(program, save, "number", i);
    infer_node(program, save);
    insert_before(program, &insertions, position_of(program, maker) + 1, save);
    NodeId back = restore(program, value, stash, i, &list, &position);
    infer_node(program, back);
    value_at(program, result_id(node_at(program, back), 0))->layout = value_at(program, value)->layout;
    insert_before(program, &insertions, position, back);
  }
  apply_insertions(program, &insertions);
}

/* ---- which of them --------------------------------------------------------------------------------------------- */

/* A copy in which the first `count` are saved. */
static Program *
try_saving(const Program *program, const Candidate *candidate, uint32_t count)
{
  Program *copy = program_copy(program, program->diagnostics);
  save_values(copy, candidate, count);
  return copy;
}

static uint64_t
bytes_with(const Program *program, const Options *options, const Candidate *candidate, uint32_t count)
{
  Program *copy = try_saving(program, candidate, count);
  uint64_t bytes = planned_bytes(copy, options);
  program_destroy(copy);
  return bytes;
}

/* The longest wait first; of equal ones the larger, then the one that was made first. */
static int
compare(const void *left, const void *right)
{
  const Candidate *a = left, *b = right;
  if (a->waits != b->waits) return a->waits > b->waits ? -1 : 1;
  if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
  return (a->value > b->value) - (a->value < b->value);
}

/* Leaves only those that would leave, were there room for all copies to be made in time: the others would take a place in the window as
 * long as they have one now. */
static uint32_t
keep_those_that_leave(const Program *program, Candidate *candidate, uint32_t count)
{
  Program *copy = try_saving(program, candidate, count);
  uint32_t all, kept = 0;
  offload_save *save = list_offloaded(copy, &all);
  offload_easy_window(save, all, arena_allocate(copy->arena, offload_scratch(all)));
  for (uint32_t i = 0; i < count; i++) {
    const offload_save *one = &save[all - count + i];
    candidate[i].waits = one->first - one->made;
    if (one->is_away) candidate[kept++] = candidate[i];
  }
  program_destroy(copy);
  qsort(candidate, kept, sizeof *candidate, compare);
  return kept;
}

/* How many of the candidates are to be saved, so that the arena becomes as small as it can with as few copies; 0: it does not. */
static uint32_t
choose_count(Program *program, const Options *options, const Candidate *candidate, uint32_t count)
{
  uint64_t least = planned_bytes(program, options);
  uint32_t best = 0;
  for (; count; count /= 2) {
    uint64_t bytes = bytes_with(program, options, candidate, count);
    if (bytes > least || (bytes == least && !best)) continue;
    least = bytes;
    best = count;
  }
  return best;
}

bool
offload_exact(Program *program, const Options *options)
{
  uint32_t already, count;
  exact_saves(program, &already);
  if (!may_offload(options) || already) return true; /* a dump of behind this pass */
  Candidate *candidate = list_candidates(program, &count);
  if (count) count = keep_those_that_leave(program, candidate, count);
  count = choose_count(program, options, candidate, count);
  if (!count) return true;
  if (program->saves && !program->identity) program->identity = program_identity(program);
  if (!program->uncompressed_bytes) {
    uint64_t saved;
    count_saved_bytes(program, &saved, &program->uncompressed_bytes);
  }
  save_values(program, candidate, count);
  return !program->diagnostics->errors;
}
