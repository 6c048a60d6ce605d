/* try_plan.c: passes run on a copy. */
#include "try_plan.h"

Trial
try_plan(const Program *so_far, PassFunction *first, const Options *options)
{
  Trial trial = {.is_good = true};
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  diagnostics->quiet = true;
  Program *program = program_copy(so_far, diagnostics);
  size_t next = 0;
  while (passes[next].run != first) next++;
  for (; next < pass_count && trial.is_good; next++) trial.is_good = passes[next].run(program, options) && !diagnostics->errors;
  if (trial.is_good) {
    trial.arena_bytes = program->plan->arena_bytes;
    trial.placed_bytes = program->plan->workspace_offset;
    trial.saved_bytes = program->plan->saved_bytes;
    trial.uncompressed_bytes = program->plan->saved_bytes_fp32;
  }
  program_destroy(program);
  arena_destroy(arena);
  return trial;
}
