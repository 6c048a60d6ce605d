/* allocate-bits: chooses bytes for each coded value under one budget.
 * needs: save-normalized, quantize.  keeps: the graph.  makes: Save.bytes, and with a profile Save.weight. The budget is what all
 * saves take at the bits that --bits or the level asks for, or what --compression leaves for them. At a fixed level (L1,
 * L2), and at a whole number of bits of ActNN's scheme without a profile, everyone gets the same. Otherwise one allocation
 * decides: with the weights of --profile-use, or with the prior. Adaptive values trade bytes among each other during the run under
 * the total that is set here. */
#include "passes.h"

#include "../runtime/allocation.h"
#include "../runtime/codec.h"
#include "saves_profile.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

PassFunction allocate_bits;

typedef struct Allocator {
  Program *program;
  SaveTable *table;
  uint32_t *save; /* by item: the save it stands for */
  actnn_allocation_item *item;
  uint32_t count;
  uint64_t budget;
} Allocator;

/* ---- bytes at a number of bits --------------------------------------------------------------------- */

static double
bits_of_choice(int choice)
{
  actnn_packing packing = actnn_codec_packing(actnn_choice_levels(choice));
  return (double)packing.bits / packing.together;
}

/* Bytes of a save at `bits` an element on average: between two choices some samples have one and some the other. The fewest, or
 * the most, where it has no such choice. */
static uint64_t
bytes_at_bits(const Program *program, const Save *save, double bits)
{
  double below = 0;
  uint64_t bytes_below = 0;
  for (int choice = 0; choice < ACTNN_LEVEL_CHOICES; choice++) {
    uint64_t bytes = save_bytes_at(program, save, choice);
    if (bytes == UINT64_MAX) continue;
    if (bits_of_choice(choice) >= bits) {
      if (!bytes_below) return bytes;
      double part = (bits - below) / (bits_of_choice(choice) - below);
      /* More levels may take fewer bytes: several codes to a symbol fill it better, and of few rows planes are partly empty. */
      uint64_t between = (uint64_t)((double)bytes_below + part * ((double)bytes - (double)bytes_below));
      return part >= 1 ? bytes : between / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
    }
    below = bits_of_choice(choice);
    bytes_below = bytes;
  }
  return bytes_below;
}

/* What --bits asks for a save. A value whose noise goes on into other layers gets twice that, unless it is a slope: at less a decoder
 * learns noticeably slower (docs/results.md, accuracy). --compression is for those who want less. */
static double
bits_asked(const Options *options, const Save *save)
{
  double bits = requested_bits(options);
  bool flows_on = save->adaptation == ACTNN_ADAPTS_BY_REDRAWS && save->spacing != ACTNN_FIXED_LEVELS;
  return flows_on ? fmin(2 * bits, 8) : bits;
}

/* Computing steps twice is not worth its time where few bytes could move. */
static void
leave_small_ones(SaveTable *table)
{
  double redrawn = 0, all = 0;
  for (uint32_t i = 0; i < table->count; i++) {
    const Save *save = &table->save[i];
    all += (double)save->uncompressed;
    if (save->adaptation == ACTNN_ADAPTS_BY_REDRAWS) redrawn += (double)save->uncompressed;
  }
  for (uint32_t i = 0; i < table->count && redrawn < all / 50; i++)
    if (table->save[i].adaptation == ACTNN_ADAPTS_BY_REDRAWS) table->save[i].adaptation = ACTNN_KEEPS_ITS_SHARE;
}

/* ---- profiles -------------------------------------------------------------------------------------- */

/* The entry for a save's name that no earlier save has taken: names may occur more than once, in the same order. */
static SaveProfile *
profile_of(const Program *program, const Save *save, SavesProfile *profile)
{
  const char *name = save_name(program, save);
  for (uint32_t i = 0; i < profile->count; i++)
    if (!profile->save[i].is_taken && !strcmp(profile->save[i].name, name)) return &profile->save[i];
  return NULL;
}

/* Takes the measured weights over into the saves; *measured flags them. */
static bool
use_profile(Program *program, const char *path, bool *measured)
{
  SavesProfile *profile = read_saves_profile(path, program->arena, program->diagnostics);
  uint32_t found = 0;
  if (!profile) return false;
  for (uint32_t i = 0; i < program->saves->count; i++) {
    Save *save = &program->saves->save[i];
    SaveProfile *entry = profile_of(program, save, profile);
    if (!entry) continue;
    entry->is_taken = true;
    found++;
    measured[i] = entry->weight >= 0 && save->adaptation != ACTNN_KEEPS_ITS_SHARE;
    if (measured[i]) save->weight = entry->weight;
  }
  if (program->saves->count && !found)
    return report(program->diagnostics, path, "a profile of a trainer of this model", "no value that it names is saved by this model");
  return true;
}

/* ---- the allocation ---------------------------------------------------------------------------------- */

static void
add_item(Allocator *allocator, uint32_t index)
{
  const Save *save = &allocator->table->save[index];
  uint64_t *bytes = arena_array(allocator->program->arena, ACTNN_LEVEL_CHOICES, sizeof *bytes);
  double *cost = arena_array(allocator->program->arena, ACTNN_LEVEL_CHOICES, sizeof *cost);
  int choices = 0;
  for (int choice = 0; choice < ACTNN_LEVEL_CHOICES; choice++) {
    uint64_t taken = save_bytes_at(allocator->program, save, choice);
    if (taken == UINT64_MAX) continue;
    bytes[choices] = taken;
    cost[choices++] = save->weight * save_noise_at(save, choice);
  }
  allocator->budget += save->bytes;
  allocator->save[allocator->count] = index;
  allocator->item[allocator->count++] = (actnn_allocation_item){.bytes = bytes, .cost = cost, .choices = choices};
}

/* Gives every save what the relaxation does, which samples of one value can have: at most one save has some samples with more
 * levels than the others. */
static void
apply(const Allocator *allocator, const uint8_t *relaxed, const actnn_allocation *result)
{
  SaveTable *table = allocator->table;
  for (uint32_t i = 0; i < allocator->count; i++) {
    const actnn_allocation_item *item = &allocator->item[i];
    uint64_t bytes = item->bytes[relaxed[i]];
    double cost = item->cost[relaxed[i]];
    if (i == result->split_item) {
      bytes += (uint64_t)(result->split_part * (double)(item->bytes[result->split_to] - bytes)) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
      cost += result->split_part * (item->cost[result->split_to] - cost);
    }
    table->save[allocator->save[i]].bytes = bytes;
    table->cost += cost;
    table->allocated_bytes += bytes;
  }
}

static bool
allocate(Program *program, const bool *takes_part, uint64_t budget)
{
  SaveTable *table = program->saves;
  Arena *arena = program->arena;
  Allocator allocator = {.program = program, .table = table};
  allocator.save = arena_array(arena, table->count + 1, sizeof *allocator.save);
  allocator.item = arena_array(arena, table->count + 1, sizeof *allocator.item);
  for (uint32_t i = 0; i < table->count; i++)
    if (takes_part[i]) add_item(&allocator, i);
  if (budget) allocator.budget = budget;
  uint8_t *choice = arena_array(arena, allocator.count + 1, 1), *relaxed = arena_array(arena, allocator.count + 1, 1);
  void *scratch = arena_allocate(arena, actnn_allocation_scratch(allocator.count + 1, ACTNN_LEVEL_CHOICES));
  actnn_allocation result;
  actnn_allocation_status status =
      actnn_allocate(scratch, allocator.item, allocator.count, allocator.budget, choice, relaxed, &result);
  if (status == ACTNN_ALLOCATION_ITEM)
    return report(program->diagnostics, program->source, NULL, "bytes cannot be allocated to %u saved values", allocator.count);
  if (status == ACTNN_ALLOCATION_BUDGET)
    return report(program->diagnostics, program->source, "a lower --compression, more --bits, or --recompute=always",
                  "the fewest levels that %u saved values can have take %" PRIu64 " bytes, the budget is %" PRIu64, allocator.count,
                  result.bytes, allocator.budget);
  table->allocated_bytes = 0;
  apply(&allocator, relaxed, &result);
  table->bound = result.bound;
  table->allocated = allocator.count;
  table->budget = allocator.budget;
  return true;
}

/* What --compression leaves for codes: 0 when it does not ask, UINT64_MAX after a report. */
static uint64_t
budget_of_compression(Program *program, const Options *options)
{
  uint64_t exact, uncompressed;
  if (!options->compression) return 0;
  count_saved_bytes(program, &exact, &uncompressed);
  for (uint32_t i = 0; i < program->saves->count; i++) exact -= program->saves->save[i].bytes;
  double all = (double)uncompressed / options->compression;
  if (all > (double)exact) return (uint64_t)(all - (double)exact);
  report(program->diagnostics, program->source, "a lower --compression, or --recompute=always",
         "--compression=%g leaves %.0f bytes, and what is kept exactly takes %" PRIu64, options->compression, all, exact);
  return UINT64_MAX;
}

/* Whether --compression, if it is given, is met by bits that are fixed. */
static bool
keeps_to_compression(Program *program, const Options *options)
{
  uint64_t saved, uncompressed;
  if (!options->compression) return true;
  count_saved_bytes(program, &saved, &uncompressed);
  if ((double)saved * options->compression <= (double)uncompressed) return true;
  return report(program->diagnostics, program->source, "--recompute=always, or --level=L3 and fewer --bits",
                "--compression=%g asks for at most %.0f bytes; at these bits %" PRIu64 " are saved", options->compression,
                (double)uncompressed / options->compression, saved);
}

bool
allocate_bits(Program *program, const Options *options)
{
  double bits = requested_bits(options);
  if (bits >= 32) return keeps_to_compression(program, options);
  if (bits < 1 || bits > 8)
    return report(program->diagnostics, program->source, "1 to 8, or 32 for no compression", "--bits=%g is out of range", bits);
  SaveTable *table = program->saves;
  if (!table) return true; /* a dump of before anything was coded */
  bool *takes_part = arena_array(program->arena, table->count + 1, sizeof *takes_part);
  table->cost = table->bound = 0;
  table->allocated = 0;
  table->is_measured = options->profile_use != NULL;
  leave_small_ones(table);
  for (uint32_t i = 0; i < table->count; i++) {
    table->save[i].bytes = bytes_at_bits(program, &table->save[i], bits_asked(options, &table->save[i]));
    takes_part[i] = true;
  }
  if (options->level < 3 && options->profile_use)
    return report(program->diagnostics, options->profile_use, "--level=L3", "bits are fixed at level L%d", options->level);
  if (options->profile_use) {
    memset(takes_part, 0, table->count * sizeof *takes_part);
    if (!use_profile(program, options->profile_use, takes_part)) return false;
    if (options->compression) memset(takes_part, true, table->count * sizeof *takes_part);
  }
  uint64_t budget = budget_of_compression(program, options);
  if (budget == UINT64_MAX) return false;
  bool is_given = !options->profile_use && !options->compression && !has_new_codes(options) && bits == floor(bits);
  return options->level < 3 || is_given ? keeps_to_compression(program, options) : allocate(program, takes_part, budget);
}
