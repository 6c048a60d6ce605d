/* choose_recomputation.c: how much may be computed again at a time, by what each answer takes.
 *
 * What a run frees lies in memory once more while backward goes through it, beside what is saved and what is computed there: whether that
 * raises the peak is known when everything is planned. So plans are made for runs of several sizes. */
#include "choose_recomputation.h"

#include "try_plan.h"

#include <string.h>

enum { TRIALS = 20, CORRECTIONS = 3, PATIENCE = 5, BUDGETS = 4, MOST_NODES_FOR_BUDGETS = 8192 };
static const double NEXT_SIZE = 0.75; /* of runs, beside those of the trial before */
static const double NEXT_BUDGET = 0.85;
static const double FOR_EXACTNESS = 1.05; /* memory that may be taken by what leaves no noise, beside codes of the bits that are asked for */

PassFunction recompute;

/* Runs of one size, which at the bits that are asked for save no more than `allowed`; 0: as few as they can. The pass weighs runs by what
 * codes take on average, so its budget is lowered until the plan keeps to that, and left in options->saved_budget. What --compression
 * leaves goes into more bits: that is the plan of which the size is returned. is_good: there is one. */
static Trial
try_size(const Program *program, Options *options, uint64_t allowed)
{
  Options plain = *options;
  plain.compression = 0;
  plain.saved_budget = allowed;
  Trial trial = try_plan(program, recompute, &plain);
  for (int i = 0; i < CORRECTIONS && trial.is_good && allowed && trial.saved_bytes > allowed && plain.saved_budget > 1; i++) {
    double excess = (double)trial.saved_bytes / (double)allowed;
    plain.saved_budget = (uint64_t)(0.995 * (double)plain.saved_budget / excess);
    trial = try_plan(program, recompute, &plain);
  }
  trial.is_good &= !allowed || trial.saved_bytes <= allowed;
  options->saved_budget = plain.saved_budget;
  return trial.is_good && options->compression ? try_plan(program, recompute, options) : trial;
}

/* Runs of several sizes, which save no more than `allowed` at the bits that are asked for. Leaves those with which the trainer takes the
 * least memory in *options. */
static Trial
try_sizes(const Program *program, uint64_t allowed, Options *options)
{
  Trial best = {0};
  Options trying = *options;
  double size = 2 * (double)options->uncompressed_bytes; /* as passes see it before codes, more may be freed than a framework keeps */
  uint64_t before = 0;
  for (int i = 0, worse = 0; i < TRIALS && worse < PATIENCE; i++, size *= NEXT_SIZE) {
    trying.most_recomputed = (uint64_t)size;
    Trial trial = try_size(program, &trying, allowed);
    if (!trial.is_good || trial.arena_bytes == before) continue; /* most likely the same runs again */
    before = trial.arena_bytes;
    worse++;
    if (best.is_good && trial.arena_bytes >= best.arena_bytes) continue;
    best = trial;
    worse = 0;
    *options = trying;
  }
  return best;
}

/* With --compression also for fewer bytes than are allowed: more is computed again then, by runs that may lie better. */
static Trial
try_budgets(const Program *program, Options *options)
{
  Trial best = {0};
  double allowed = options->compression ? (double)options->uncompressed_bytes / options->compression : 0;
  int budgets = options->compression && program->order_count <= MOST_NODES_FOR_BUDGETS ? BUDGETS : 1;
  for (int i = 0; i < budgets; i++, allowed *= NEXT_BUDGET) {
    Options trying = *options;
    Trial trial = try_sizes(program, (uint64_t)allowed, &trying);
    if (!trial.is_good || (best.is_good && trial.arena_bytes >= best.arena_bytes)) continue;
    best = trial;
    *options = trying;
  }
  return best;
}

/* Whether codes alone, of the bits that --bits asks for, do what is asked. */
static bool
is_enough(const Options *options, const Trial *codes)
{
  if (options->compression && (double)codes->saved_bytes * options->compression > (double)codes->uncompressed_bytes) return false;
  return !options->memory_budget || codes->arena_bytes <= options->memory_budget;
}

/* Whether codes alone, of fewer bits, do. */
static bool
is_possible_by_codes(const Program *program, const Options *options)
{
  Options without = *options;
  without.most_recomputed = 0;
  return try_plan(program, recompute, &without).is_good;
}

/* What is saved by codes alone, at the bits that --bits asks for. */
static Trial
try_codes(const Program *program, Options *options)
{
  Options plain = *options;
  plain.compression = 0;
  plain.most_recomputed = 0;
  Trial codes = try_plan(program, recompute, &plain);
  options->coded_bytes = codes.saved_bytes;
  options->uncompressed_bytes = codes.uncompressed_bytes;
  return codes;
}

void
choose_recomputation(const Program *program, Options *options)
{
  bool is_asked = options->recompute && strcmp(options->recompute, "never"), has_size = is_asked && !strcmp(options->recompute, "size");
  bool is_possible = is_asked || (!options->recompute && has_new_codes(options) && (options->compression || options->memory_budget));
  if (!is_possible) return;
  Trial codes = try_codes(program, options);
  if (!codes.is_good || has_size || (!is_asked && is_enough(options, &codes))) return;
  Trial best = try_budgets(program, options);
  bool is_worth_it = best.arena_bytes < codes.arena_bytes;
  if (options->compression)
    is_worth_it = is_asked || (double)best.arena_bytes <= FOR_EXACTNESS * (double)codes.arena_bytes || !is_possible_by_codes(program, options);
  if (!best.is_good || !is_worth_it) options->most_recomputed = 0;
}
