/* plan_window.c: how much of the pool of coded saves lies in the arena at once, where a level has the rest wait in the host's memory
 * (runtime/offload.h). What is where when is the trainer's to decide, as bytes move between saves; the window leaves room for that. */
#include "plan_offsets.h"

#include "../runtime/offload_schedule.h"

enum { HALF_LEVEL = 4, LEAST_LEVEL = 5 };

/* Each save with the calls that touch its codes, numbered as the trainer makes them. */
static offload_save *
list_saves(const Program *program)
{
  const SaveTable *table = program->saves;
  offload_save *save = arena_array(program->arena, table->count + 1, sizeof *save);
  uint32_t number = 0;
  for (uint32_t i = 0; i < table->count; i++) save[i].bytes = table->save[i].bytes;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    int64_t index = int_attribute(node, "save", -1);
    if (index < 0 || index >= table->count) continue;
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
find_window(const Program *program, const Options *options, uint64_t pool)
{
  if (options->level < HALF_LEVEL || !program->saves || !program->saves->count) return 0;
  uint32_t count = program->saves->count;
  offload_save *save = list_saves(program);
  void *scratch = arena_allocate(program->arena, offload_scratch(count));
  uint64_t easy = offload_easy_window(save, count, scratch), largest = 0;
  for (uint32_t i = 0; i < count; i++) largest = larger(largest, save[i].bytes);
  /* A quarter more for saves that get more bytes in the run, and twice the largest: the trainer gives none more than half of it. */
  uint64_t least = larger(easy + easy / 4, 2 * largest), window = options->level == LEAST_LEVEL ? least : larger(least, pool / 2);
  window = (window + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  return window < pool ? window : 0;
}
