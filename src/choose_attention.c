/* choose_attention.c: attention in one operator where the trainer then takes no more memory.
 *
 * As one operator it saves q and k exactly in place of codes of them and of the probabilities: less noise, and mostly fewer bytes. With many
 * features and few positions it may be more. What is compared is the same for a processor and for a GPU, and on every machine: a checkpoint
 * goes from one to the other. */
#include "choose_attention.h"

#include "try_plan.h"

#include <string.h>

PassFunction fuse_attention;

/* Whether the pass finds anything. */
static bool
has_attention(const Program *so_far, const Options *options)
{
  bool is_found = false;
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  diagnostics->quiet = true;
  Program *program = program_copy(so_far, diagnostics);
  if (fuse_attention(program, options))
    for (uint32_t i = 0; i < program->order_count; i++) is_found |= is_operator(program, program->order[i], "Attention");
  program_destroy(program);
  arena_destroy(arena);
  return is_found;
}

void
choose_attention(const Program *program, Options *options)
{
  if (options->attention) return;
  options->attention = "separate";
  bool is_possible = has_new_codes(options) && options->level != 1;
  Options fused = *options;
  fused.attention = "fused";
  if (!is_possible || !has_attention(program, &fused)) return;
  fused.compression = 0;
  fused.is_for_gpu = false;
  if (fused.level > 3) fused.level = 3; /* codes in the host's memory are for GPUs */
  Options separate = fused;
  separate.attention = "separate";
  Trial with = try_plan(program, fuse_attention, &fused), without = try_plan(program, fuse_attention, &separate);
  if (with.is_good && (!without.is_good || with.placed_bytes <= without.placed_bytes)) options->attention = fused.attention;
}
