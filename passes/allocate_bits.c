/* allocate-bits: chooses bits for each coded value under the budget.
 * needs: quantize.  keeps: the graph.  makes: Save.bits, and with a profile Save.weight. The budget is what all saves take at the
 * average that --bits or the level asks for. At a fixed level (L1, L2), and at a whole number of bits without a profile, everyone
 * gets the same. Otherwise one allocation decides: with the weights of --profile-use, or with the prior, by which every element is
 * equally noisy. Adaptive values trade bits among each other during the run under the total that is set here. */
#include "passes.h"

#include "../runtime/allocation.h"
#include "saves_profile.h"

#include <math.h>
#include <string.h>

PassFunction allocate_bits;

enum { MOST_BITS = ACTNN_ALLOCATION_BITS };

typedef struct Allocator {
  Program *program;
  SaveTable *table;
  uint32_t *save; /* by item: the save it stands for */
  actnn_allocation_item *item;
  uint64_t (*bytes)[MOST_BITS + 1];
  uint32_t count;
  uint64_t budget;
} Allocator;

/* The entry for a save's name that no earlier save has taken: names may occur more than once, in the same order. */
static SaveProfile *
profile_of(const Program *program, const Save *save, SavesProfile *profile)
{
  const Value *value = value_at(program, save->value);
  const char *name = value->name ? value->name : node_at(program, value->producer)->name;
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
    measured[i] = entry->weight >= 0 && save->is_adaptive;
    if (measured[i]) save->weight = entry->weight;
  }
  if (program->saves->count && !found)
    return report(program->diagnostics, path, "a profile of a trainer of this model", "no value that it names is saved by this model");
  return true;
}

static void
add_item(Allocator *allocator, uint32_t index)
{
  Save *save = &allocator->table->save[index];
  uint64_t *bytes = allocator->bytes[allocator->count];
  double asked = save->bits;
  for (int bits = 1; bits <= MOST_BITS; bits++) {
    save->bits = bits;
    bytes[bits] = save_bytes(allocator->program, save);
  }
  save->bits = asked;
  allocator->budget += save_bytes(allocator->program, save);
  allocator->save[allocator->count] = index;
  allocator->item[allocator->count++] = (actnn_allocation_item){save->weight, bytes};
}

static uint64_t
bytes_taken(const Allocator *allocator)
{
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < allocator->count; i++) bytes += save_bytes(allocator->program, &allocator->table->save[allocator->save[i]]);
  return bytes;
}

/* Variance of a value whose samples have the next lower and the next higher whole number of bits. */
static double
cost_at(double weight, double bits)
{
  double low = exp2(floor(bits)) - 1, high = exp2(floor(bits) + 1) - 1, part = bits - floor(bits);
  return weight * ((1 - part) / (low * low) + part / (high * high));
}

/* The best bits with fractions allowed, which samples of one value can have on average. Rounding to whole lines of memory may take
 * a little more than the budget: then the one fraction is lowered, and given up at last for the best whole bits. */
static void
apply(const Allocator *allocator, const uint8_t *bits, const double *fraction)
{
  for (uint32_t i = 0; i < allocator->count; i++) allocator->table->save[allocator->save[i]].bits = fraction[i];
  for (uint32_t i = 0; i < allocator->count; i++) {
    Save *save = &allocator->table->save[allocator->save[i]];
    int whole = (int)save->bits;
    if (save->bits == whole) continue;
    uint64_t high = allocator->bytes[i][whole + 1], low = allocator->bytes[i][whole];
    double line = high > low ? (double)ACTNN_ALIGNMENT / (double)(high - low) : 1;
    for (int tries = 0; tries < 4 && save->bits > whole && bytes_taken(allocator) > allocator->budget; tries++)
      save->bits = fmax(whole, save->bits - line);
  }
  if (bytes_taken(allocator) <= allocator->budget) return;
  for (uint32_t i = 0; i < allocator->count; i++) allocator->table->save[allocator->save[i]].bits = bits[i];
}

static bool
allocate(Program *program, const bool *takes_part)
{
  SaveTable *table = program->saves;
  Arena *arena = program->arena;
  Allocator allocator = {.program = program, .table = table};
  allocator.save = arena_array(arena, table->count + 1, sizeof *allocator.save);
  allocator.item = arena_array(arena, table->count + 1, sizeof *allocator.item);
  allocator.bytes = arena_array(arena, table->count + 1, sizeof *allocator.bytes);
  for (uint32_t i = 0; i < table->count; i++)
    if (takes_part[i]) add_item(&allocator, i);
  uint8_t *bits = arena_array(arena, allocator.count + 1, 1);
  double *fraction = arena_array(arena, allocator.count + 1, sizeof *fraction);
  actnn_allocation result;
  actnn_allocation_status status =
      actnn_allocate(allocator.item, allocator.count, allocator.budget, bits, fraction, &result);
  if (status == ACTNN_ALLOCATION_WEIGHT || status == ACTNN_ALLOCATION_MEMORY)
    return report(program->diagnostics, program->source, NULL, "bits cannot be allocated to %u saved values", allocator.count);
  if (status == ACTNN_ALLOCATION_BUDGET) return true; /* one bit each is what they have */
  apply(&allocator, bits, fraction);
  for (uint32_t i = 0; i < allocator.count; i++)
    table->cost += cost_at(allocator.item[i].weight, table->save[allocator.save[i]].bits);
  table->bound = result.bound;
  table->allocated = allocator.count;
  table->allocated_bytes = bytes_taken(&allocator);
  table->budget = allocator.budget;
  return true;
}

bool
allocate_bits(Program *program, const Options *options)
{
  double bits = requested_bits(options);
  if (bits >= 32) return true;
  if (bits < 1 || bits > 8)
    return report(program->diagnostics, program->source, "1 to 8, or 32 for no compression", "--bits=%g is out of range", bits);
  SaveTable *table = program->saves;
  bool *takes_part = arena_array(program->arena, table->count + 1, sizeof *takes_part);
  table->cost = table->bound = 0;
  table->allocated = 0;
  table->is_measured = options->profile_use != NULL;
  for (uint32_t i = 0; i < table->count; i++) {
    table->save[i].bits = bits;
    takes_part[i] = true;
  }
  if (options->profile_use) {
    if (options->level >= 3) memset(takes_part, 0, table->count * sizeof *takes_part);
    else return report(program->diagnostics, options->profile_use, "--level=L3", "bits are fixed at level L%d", options->level);
    return use_profile(program, options->profile_use, takes_part) && allocate(program, takes_part);
  }
  if (options->level < 3 || bits == floor(bits)) return true;
  return allocate(program, takes_part);
}
