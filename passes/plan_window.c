/* plan_window.c: how much of the pool of saves lies in the arena at once, where a level has the rest wait in the host's memory
 * (runtime/offload.h). What is where when is the trainer's to decide, as bytes move between saves; the window leaves room for that. */
#include "plan_offsets.h"

#include <string.h>

enum { HALF_LEVEL = 4, LEAST_LEVEL = 5 };

bool
may_offload(const Options *options)
{
  return options->level >= HALF_LEVEL;
}

ValueId *
exact_saves(const Program *program, uint32_t *count)
{
  *count = 0;
  for (uint32_t i = 0; i < program->order_count; i++) *count += is_operator(program, program->order[i], "SaveExact");
  ValueId *stash = arena_array(program->arena, *count + 1u, sizeof *stash);
  for (uint32_t i = 0; i < *count; i++) stash[i] = NO_VALUE;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    int64_t number = is_operator(program, program->order[i], "SaveExact") ? int_attribute(node, "number", -1) : -1;
    if (number >= 0 && number < *count) stash[number] = result_id(node, 0);
  }
  return stash;
}

uint64_t
exact_save_bytes(const Program *program, ValueId stash)
{
  return value_bytes(program, operand_id(node_at(program, value_at(program, stash)->producer), 0));
}

/* Which save a node touches; -1. */
static int64_t
touched_by(const Node *node, uint32_t coded, uint32_t count)
{
  int64_t save = int_attribute(node, "save", -1), exact = int_attribute(node, "number", -1);
  bool is_exact = !strcmp(node->operator_name, "SaveExact") || !strcmp(node->operator_name, "RestoreExact");
  if (is_exact) return exact >= 0 && exact < count - coded ? coded + exact : -1;
  return save < coded ? save : -1;
}

offload_save *
list_offloaded(const Program *program, uint32_t *count)
{
  const SaveTable *table = program->saves;
  uint32_t coded = table ? table->count : 0, number = 0;
  const ValueId *exact = exact_saves(program, count);
  *count += coded;
  offload_save *save = arena_array(program->arena, *count + 1u, sizeof *save);
  for (uint32_t i = 0; i < coded; i++) save[i].bytes = table->save[i].bytes;
  for (uint32_t i = coded; i < *count; i++) save[i].bytes = exact[i - coded] == NO_VALUE ? 0 : exact_save_bytes(program, exact[i - coded]);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    int64_t index = touched_by(node, coded, *count);
    if (index < 0) continue;
    offload_save *one = &save[index];
    if (node->operator->flags & SAVES) one->made = one->first = number;
    else if (one->first == one->made) one->first = number;
    one->last = number++;
  }
  return save;
}

static uint64_t
larger(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

uint64_t
find_window(const Program *program, const Options *options, const Plan *plan)
{
  uint64_t pool = planned_pool(plan), largest = 0;
  if (!may_offload(options) || !pool) return 0;
  uint32_t count;
  offload_save *save = list_offloaded(program, &count);
  void *scratch = arena_allocate(program->arena, offload_scratch(count));
  uint64_t easy = offload_easy_window(save, count, scratch);
  for (uint32_t i = 0; program->saves && i < program->saves->count; i++) largest = larger(largest, save[i].bytes);
  /* A quarter more for codes that get more bytes in the run, and twice the largest: the trainer gives none more than half of it. */
  uint64_t codes = easy < plan->stash_bytes ? easy : plan->stash_bytes;
  uint64_t least = larger(easy + codes / 4, 2 * largest), window = options->level == LEAST_LEVEL ? least : larger(least, pool / 2);
  window = (window + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  return window < pool ? window : 0;
}
