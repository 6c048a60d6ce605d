/* verify_rules.c: the rules of emitted source, in the order in which they are checked, and those that concern places: V3, V8, V7.
 *
 * Nothing is taken from the planner: the arena's parts, what lies where and who replaces whom follow from the tables and calls. */
#include "verify.h"

#include "operators.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { WIDEST_BLOCK = 16 }; /* channels of a blocked tensor are padded to this */

/* ---- asking ------------------------------------------------------------------------------------------------- */

bool
refuse(Emitted *emitted, size_t position, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  fprintf(emitted->findings, "%s\t%zu\t", emitted->rule, position);
  vfprintf(emitted->findings, format, arguments);
  fputc('\n', emitted->findings);
  va_end(arguments);
  emitted->finding_count++;
  return false;
}

uint64_t
element_bytes(unsigned type)
{
  switch (type) {
  case ACTNN_U8:
  case ACTNN_BOOL: return 1;
  case ACTNN_BF16: return 2;
  case ACTNN_F32: return 4;
  case ACTNN_I64: return 8;
  default: return 0;
  }
}

static uint64_t
end_of(const Emitted *emitted, uint32_t tensor)
{
  return emitted->tensor[tensor].at.offset + emitted->tensor[tensor].at.bytes;
}

bool
overlap(const Emitted *emitted, uint32_t one, uint32_t other)
{
  return emitted->tensor[one].at.offset < end_of(emitted, other)
      && emitted->tensor[other].at.offset < end_of(emitted, one);
}

bool
same_bytes(const Emitted *emitted, uint32_t one, uint32_t other)
{
  const actnn_tensor *a = &emitted->tensor[one].at, *b = &emitted->tensor[other].at;
  return a->offset == b->offset && a->bytes == b->bytes;
}

bool
same_extents(const Emitted *emitted, uint32_t one, uint32_t other)
{
  const actnn_tensor *a = &emitted->tensor[one].at, *b = &emitted->tensor[other].at;
  return a->rank == b->rank && !memcmp(a->dim, b->dim, sizeof a->dim);
}

bool
same_real(double a, double b)
{
  return isnan(a) ? isnan(b) : a == b && !signbit(a) == !signbit(b);
}

/* ---- V3: every tensor has room, at a place that is aligned and inside the arena ---------------------------------- */

bool
bytes_needed(const actnn_tensor *tensor, uint64_t *bytes)
{
  *bytes = element_bytes(tensor->type);
  for (int axis = 0; axis < tensor->rank; axis++) {
    uint64_t extent = (uint64_t)tensor->dim[axis];
    if (tensor->layout == ACTNN_BLOCKED && axis == 1)
      extent = (extent + WIDEST_BLOCK - 1) / WIDEST_BLOCK * WIDEST_BLOCK;
    if (__builtin_mul_overflow(*bytes, extent, bytes)) return false;
  }
  return true;
}

static bool
check_places(Emitted *emitted)
{
  const uint64_t arena = emitted->model.arena_bytes;
  for (uint32_t i = 0; i < emitted->tensor_count; i++) {
    const actnn_tensor *tensor = &emitted->tensor[i].at;
    uint32_t position = emitted->tensor[i].position;
    uint64_t needed;
    if (tensor->offset % ACTNN_ALIGNMENT || tensor->bytes % ACTNN_ALIGNMENT || !tensor->bytes)
      return refuse(emitted, position, "v%u: offset and bytes are not multiples of %d", i, (int)ACTNN_ALIGNMENT);
    if (tensor->bytes > arena || tensor->offset > arena - tensor->bytes)
      return refuse(emitted, position, "v%u ends outside the arena of %llu bytes", i, (unsigned long long)arena);
    if (tensor->layout == ACTNN_BLOCKED && tensor->rank < 3)
      return refuse(emitted, position, "v%u is blocked and has rank %d", i, tensor->rank);
    if (tensor->layout == ACTNN_STASH) continue; /* V5 knows how much codes take */
    if (!bytes_needed(tensor, &needed) || needed > tensor->bytes)
      return refuse(emitted, position, "v%u: its elements do not fit the %llu bytes reserved for it", i,
                    (unsigned long long)tensor->bytes);
  }
  return true;
}

/* ---- V8: the arena's parts are disjoint, and every tensor lies in its own -------------------------------------------- */

static bool
check_parts(Emitted *emitted)
{
  const actnn_model *model = &emitted->model;
  const uint64_t parts[] = {model->arena_bytes, model->variable_bytes, model->stash_offset,     model->stash_bytes,
                            model->exact_bytes, model->window_bytes,   model->workspace_offset, model->workspace_bytes};
  uint64_t all = model->stash_bytes + model->exact_bytes, pool = model->window_bytes ? model->window_bytes : all;
  size_t end = emitted->source_length;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (parts[i] % ACTNN_ALIGNMENT || parts[i] > UINT64_MAX / 4)
      return refuse(emitted, end, "a part of the arena is not a multiple of %d bytes", (int)ACTNN_ALIGNMENT);
  if (model->variable_bytes > model->stash_offset || model->stash_offset + pool != model->workspace_offset
      || model->workspace_offset + model->workspace_bytes != model->arena_bytes)
    return refuse(emitted, end, "the parts of the arena do not lie one behind the other up to its end");
  if (model->window_bytes && (model->window_bytes >= all || !emitted->is_for_gpu))
    return refuse(emitted, end, "a window on the pool that is none, or on the processor");
  if (model->input_count != emitted->input_count || model->variable_count != emitted->variable_count
      || model->save_count != emitted->save_count)
    return refuse(emitted, end, "a table does not have the length that the model says");
  if (model->batch < 1 || (model->label != NONE && model->label >= model->input_count))
    return refuse(emitted, end, "the batch or the label is out of range");
  return true;
}

static bool
put(Emitted *emitted, uint32_t tensor, Place place, size_t position)
{
  if (tensor == NONE) return refuse(emitted, position, "a table names no tensor");
  if (emitted->place[tensor] != PLACE_STEP) return refuse(emitted, position, "v%u stands in two tables", tensor);
  if (place != PLACE_POOL
      && (emitted->tensor[tensor].at.layout != ACTNN_PLAIN || end_of(emitted, tensor) > emitted->model.variable_bytes))
    return refuse(emitted, emitted->tensor[tensor].position,
                  "v%u is kept from step to step, but not a plain tensor in that part of the arena", tensor);
  emitted->place[tensor] = place;
  return true;
}

static bool
place_named(Emitted *emitted)
{
  const actnn_model *model = &emitted->model;
  for (uint32_t i = 0; i < emitted->input_count; i++)
    if (!put(emitted, emitted->input[i].tensor, PLACE_INPUT, emitted->input[i].position)) return false;
  if (model->learning_rate != NONE) {
    const actnn_tensor *rate = &emitted->tensor[model->learning_rate].at;
    if (rate->type != ACTNN_F32 || !put(emitted, model->learning_rate, PLACE_INPUT, 0))
      return refuse(emitted, emitted->tensor[model->learning_rate].position,
                    "the learning rate is not a float32 of its own");
  }
  if (model->step_number != NONE) {
    const actnn_tensor *step = &emitted->tensor[model->step_number].at;
    if (step->type != ACTNN_I64 || !put(emitted, model->step_number, PLACE_INPUT, 0))
      return refuse(emitted, emitted->tensor[model->step_number].position,
                    "the step number is not an int64 of its own");
  }
  for (uint32_t i = 0; i < emitted->variable_count; i++) {
    if (!put(emitted, emitted->variable[i].tensor, PLACE_VARIABLE, emitted->variable[i].position)) return false;
    emitted->home[emitted->variable[i].tensor] = i;
  }
  for (uint32_t i = 0; i < emitted->save_count; i++)
    if (!put(emitted, emitted->save[i].tensor, PLACE_POOL, emitted->save[i].position)) return false;
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    if (kernel_is(call, "SaveExact") && !put(emitted, call_result(call, 0), PLACE_POOL, call->position)) return false;
  }
  return true;
}

typedef struct Extent {
  uint64_t offset;
  uint32_t tensor;
} Extent;

static int
order_of(uint64_t a, uint64_t b)
{
  return (a > b) - (a < b);
}

static int
compare_extents(const void *left, const void *right)
{
  const Extent *a = left, *b = right;
  int by_offset = order_of(a->offset, b->offset);
  return by_offset ? by_offset : order_of(a->tensor, b->tensor);
}

/* The tensors of a few places by offset. */
static Extent *
sorted_extents(const Emitted *emitted, bool with_constants, uint32_t *count)
{
  Extent *extents = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *extents);
  *count = 0;
  for (uint32_t i = 0; i < emitted->tensor_count; i++) {
    Place place = emitted->place[i];
    bool is_wanted = place == PLACE_VARIABLE || (with_constants && (place == PLACE_INPUT || place == PLACE_CONSTANT));
    if (is_wanted) extents[(*count)++] = (Extent){emitted->tensor[i].at.offset, i};
  }
  qsort(extents, *count, sizeof *extents, compare_extents);
  return extents;
}

/* Results of calls: buffers of the step, next values of variables, constants. */
static bool
place_results(Emitted *emitted)
{
  const actnn_model *model = &emitted->model;
  uint32_t count;
  const Extent *variables = sorted_extents(emitted, false, &count);
  for (uint32_t i = 0; i < emitted->tensor_count; i++) {
    if (emitted->place[i] != PLACE_STEP) continue;
    const actnn_tensor *tensor = &emitted->tensor[i].at;
    if (tensor->offset >= model->variable_bytes && tensor->offset + tensor->bytes <= model->stash_offset) continue;
    if (tensor->offset + tensor->bytes > model->variable_bytes)
      return refuse(emitted, emitted->tensor[i].position, "v%u lies across parts of the arena", i);
    uint32_t low = 0, high = count;
    while (low < high) {
      uint32_t middle = (low + high) / 2;
      if (variables[middle].offset < tensor->offset)
        low = middle + 1;
      else
        high = middle;
    }
    if (low < count && same_bytes(emitted, variables[low].tensor, i)) {
      emitted->place[i] = PLACE_REPLACING;
      emitted->home[i] = emitted->home[variables[low].tensor];
    } else if (emitted->writer[i] != NONE && emitted->call[emitted->writer[i]].phase == INITIALIZE) {
      emitted->place[i] = PLACE_CONSTANT;
    } else {
      return refuse(emitted, emitted->tensor[i].position,
                    "v%u lies among what is kept from step to step, on no variable", i);
    }
  }
  return true;
}

/* All that backward keeps of forward is what the model says: the pool, and what stays in a step's buffers. A gradient that forward has made is
 * none of that. */
static bool
check_saved_bytes(Emitted *emitted)
{
  bool *is_counted = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *is_counted);
  uint64_t sum = emitted->model.stash_bytes + emitted->model.exact_bytes;
  for (uint32_t i = emitted->first_call[BACKWARD]; i < emitted->first_call[BACKWARD + 1]; i++)
    for (uint32_t k = !strcmp(emitted->call[i].kernel->name, "ScaleGradient"); k < emitted->call[i].input_count; k++) {
      uint32_t tensor = emitted->call[i].input[k];
      if (tensor == NONE || is_counted[tensor] || emitted->place[tensor] != PLACE_STEP
          || emitted->call[emitted->writer[tensor]].phase != FORWARD)
        continue;
      is_counted[tensor] = true;
      sum += emitted->tensor[tensor].at.bytes;
    }
  return sum == emitted->model.saved_bytes
      || refuse(emitted, emitted->source_length, "backward keeps %llu bytes of forward, the model says %llu",
                (unsigned long long)sum, (unsigned long long)emitted->model.saved_bytes);
}

static bool
check_regions(Emitted *emitted)
{
  emitted->place = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *emitted->place);
  emitted->home = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *emitted->home);
  for (uint32_t i = 0; i < emitted->tensor_count; i++) emitted->home[i] = NONE;
  if (!check_parts(emitted) || !place_named(emitted) || !place_results(emitted)) return false;
  uint32_t count;
  const Extent *kept = sorted_extents(emitted, true, &count);
  for (uint32_t i = 1; i < count; i++)
    if (overlap(emitted, kept[i - 1].tensor, kept[i].tensor))
      return refuse(emitted, emitted->tensor[kept[i].tensor].position,
                    "v%u and v%u are both kept from step to step and overlap", kept[i - 1].tensor, kept[i].tensor);
  return true;
}

/* ---- V7: each variable is replaced as its role says, each trained one by exactly one update --------------------------- */

/* An update's operands and results belong together: the gradient has the variable's extents, each next value lies on the old. */
static bool
check_update(Emitted *emitted, const EmittedCall *call)
{
  if (call->phase != BACKWARD) return refuse(emitted, call->position, "%s updates outside of backward", call->name);
  uint32_t variable = call_operand(call, 0), gradient = call_operand(call, 1);
  if (variable == NONE || gradient == NONE) return refuse(emitted, call->position, "%s lacks a variable or its gradient", call->name);
  if (emitted->place[variable] != PLACE_VARIABLE || emitted->variable[emitted->home[variable]].role != ACTNN_PARAMETER)
    return refuse(emitted, call->position, "%s updates v%u, which is no trained parameter", call->name, variable);
  if (!same_extents(emitted, variable, gradient) || emitted->tensor[gradient].at.type != ACTNN_F32)
    return refuse(emitted, call->position, "v%u is not a gradient of v%u: other extents", gradient, variable);
  return true;
}

static bool
moves_statistics(const EmittedCall *call)
{
  return kernel_is(call, "BatchNorm") || kernel_is(call, "BatchNormStatistics");
}

/* The variable whose next value a statistic goes on from: itself, or what a normalization before it in the step left of it, as twins
 * that share their weights do. */
static uint32_t
variable_behind(const Emitted *emitted, uint32_t tensor)
{
  for (uint32_t steps = 0; steps < emitted->call_count && tensor != NONE && emitted->place[tensor] == PLACE_STEP; steps++) {
    if (emitted->writer[tensor] == NONE) return NONE;
    const EmittedCall *call = &emitted->call[emitted->writer[tensor]];
    uint32_t before = NONE;
    for (uint32_t j = 0; j < call->input_count && moves_statistics(call); j++)
      for (uint32_t k = 0; k < call->output_count; k++)
        if (call->output[k] == tensor && replaces(call, k, j)) before = call->input[j];
    tensor = before;
  }
  return tensor;
}

static bool
check_replacements_of_call(Emitted *emitted, const EmittedCall *call, uint32_t *replaced)
{
  bool is_update = (call->kernel->flags & UPDATE) != 0;
  if (is_update && !check_update(emitted, call)) return false;
  for (uint32_t j = 0; j < call->input_count; j++)
    for (uint32_t k = 0; k < call->output_count; k++) {
      uint32_t old = call->input[j], new = call->output[k];
      if (old == NONE || !replaces(call, k, j)) continue;
      bool goes_on = moves_statistics(call) && new != NONE && emitted->place[new] == PLACE_STEP;
      bool must = is_update || (emitted->place[old] == PLACE_VARIABLE && !goes_on);
      if (must && (new == NONE || !same_bytes(emitted, old, new) || !same_extents(emitted, old, new)))
        return refuse(emitted, call->position, "%s does not write the next value of v%u where v%u lies", call->name,
                      old, old);
    }
  for (uint32_t k = 0; k < call->output_count; k++) {
    uint32_t tensor = call->output[k];
    if (tensor == NONE || emitted->place[tensor] != PLACE_REPLACING) continue;
    uint32_t variable = emitted->home[tensor], old = emitted->variable[variable].tensor;
    /* An algorithm that the model brings computes the next value freely. */
    bool is_its_own = !is_update && !moves_statistics(call);
    for (uint32_t j = 0; j < call->input_count && !is_its_own; j++)
      is_its_own = replaces(call, k, j) && (call->input[j] == old || (!is_update && variable_behind(emitted, call->input[j]) == old));
    if (!is_its_own)
      return refuse(emitted, call->position, "v%u lies on v%u, which %s does not replace", tensor, old, call->name);
    if (is_update && (k == 0) != (emitted->variable[variable].role == ACTNN_PARAMETER))
      return refuse(emitted, call->position, "v%u is updated by %s as if it had another role", old, call->name);
    replaced[variable]++;
  }
  return true;
}

static bool
check_updates(Emitted *emitted)
{
  static const struct {
    const char *name;
    uint32_t least, most;
  } roles[] = {[ACTNN_PARAMETER] = {"a trained parameter", 1, 1},
               [ACTNN_FROZEN] = {"a frozen parameter", 0, 0},
               [ACTNN_RUNNING] = {"a running statistic", 0, 1},
               [ACTNN_OPTIMIZER] = {"the optimizer's state", 1, 1},
               [ACTNN_FIXED] = {"a constant", 0, 0}};
  uint32_t *replaced = arena_array(emitted->arena, emitted->variable_count + 1, sizeof *replaced);
  for (uint32_t i = emitted->first_call[FORWARD]; i < emitted->first_call[BACKWARD + 1]; i++)
    if (!check_replacements_of_call(emitted, &emitted->call[i], replaced)) return false;
  for (uint32_t i = emitted->first_call[EVALUATE]; i < emitted->call_count; i++)
    for (uint32_t k = 0; k < emitted->call[i].output_count; k++)
      if (emitted->call[i].output[k] != NONE && emitted->place[emitted->call[i].output[k]] != PLACE_STEP)
        return refuse(emitted, emitted->call[i].position, "evaluation changes what is kept from step to step");
  for (uint32_t i = 0; i < emitted->variable_count; i++) {
    const EmittedVariable *variable = &emitted->variable[i];
    if (replaced[i] < roles[variable->role].least || replaced[i] > roles[variable->role].most)
      return refuse(emitted, variable->position, "v%u is %s and is written by %u calls of a step", variable->tensor,
                    roles[variable->role].name, replaced[i]);
  }
  return true;
}

/* ---- all -------------------------------------------------------------------------------------------------------------- */

const Rule emitted_rules[] = {
    {"V9", "only words of the emitter's forms", scan_words},
    {"V9", "the header is the one of all trainers", check_header},
    {"V10", "only tables and checked calls", read_source},
    {"V2", "calls fit their operators' signatures", check_signatures},
    {"V3", "tensors have room inside the arena", check_places},
    {"V6", "each tensor is written by one call", check_single_writers},
    {"V8", "parts of the arena are disjoint", check_regions},
    {"V6", "each tensor is written before it is read", check_definitions},
    {"V5", "codes are written once, read as written", check_saves},
    {"V7", "each parameter has one update", check_updates},
    {"V4", "nothing that lives is overwritten", check_memory},
    {"V8", "the bytes saved are those stated", check_saved_bytes},
    {"V7", "calls are the program's nodes, tables (V8) those of its plan", check_program_match},
    {"V11", "kernels beside the source are those of the calls that join nodes", check_kernels},
    {"V1", "a compiler has no remark, and sees the same calls", check_with_compiler}, /* last: it takes the time */
};

const size_t emitted_rule_count = sizeof emitted_rules / sizeof *emitted_rules;

/* What holds for no emitted source by these rules alone. */
static const char *const unproven[] = {
    "that the program means what the model means: passes and gradients are tested, not proven",
    "that a kernel computes what its name says and stays inside its tensors: kernels are tested, and trainers in poisoned memory",
    "that another compiler than clang has no remark: the tests ask gcc too",
    "that nvcc compiles the kernels: they have one form, which the tests compile",
    "that a tensor lies where it was planned: any place is right where nothing that lives is overwritten",
    "that the workspace is enough on another machine: a trainer asks the library again when it starts, and takes more if it must",
    "first values: they stand in the .safetensors file, which is not read here"};

void
list_rules(FILE *stream)
{
  fputs("Emitted source is refused unless\n", stream);
  for (size_t i = 0; i < emitted_rule_count; i++) fprintf(stream, "  %-4s %s\n", emitted_rules[i].id, emitted_rules[i].what);
  fputs("Not proven:\n", stream);
  for (size_t i = 0; i < sizeof unproven / sizeof *unproven; i++) fprintf(stream, "       %s\n", unproven[i]);
}

bool
check_listed_rules(Emitted *emitted, const Rule *rules, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    unsigned before = emitted->finding_count;
    emitted->rule = rules[i].id;
    if (rules[i].holds(emitted)) continue;
    if (emitted->finding_count == before) refuse(emitted, 0, "it does not hold that %s", rules[i].what); /* silence would be a yes */
    return false;
  }
  return true;
}

bool
check_rules(Emitted *emitted)
{
  return check_listed_rules(emitted, emitted_rules, emitted_rule_count);
}
