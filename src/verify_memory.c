/* verify_memory.c: V4: nothing that is still wanted is overwritten.
 *
 * The calls are run on a map of the arena's step buffers that says, for each byte, whose content it holds. A call's operands must
 * be whole: every byte of them still what their writer put there. That is what live ranges without overlap mean, and it holds
 * for buffers used in place and for views without a second set of rules. Within one call a result may lie on an operand only
 * where the kernel is made for it: elementwise and other kernels that work in place (operand 0; joined rows on any of the same form),
 * views, next values of variables.
 * Forward and backward are one line of time; evaluate and initialize start with nothing but what is kept between steps. */
#include "verify.h"

#include "operators.h"

#include <string.h>

/* Bytes [start, next span's start) hold the content of tensor `content`; NONE: nothing of worth. */
typedef struct Span {
  uint64_t start;
  uint32_t content;
} Span;

typedef struct Memory {
  Emitted *emitted;
  Span *span; /* sorted; the first starts at 0 */
  uint32_t count, capacity;
  uint32_t *content;  /* by tensor: whose content it stands for: its own, for a view what it shows; NONE: not written */
  uint32_t *occupant; /* by variable: the tensor whose content lies there now */
} Memory;

/* ---- the map ------------------------------------------------------------------------------------------------ */

static uint32_t
span_at(const Memory *memory, uint64_t offset)
{
  uint32_t low = 0, high = memory->count;
  while (high - low > 1) {
    uint32_t middle = (low + high) / 2;
    if (memory->span[middle].start <= offset)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/* [start, end) holds `content` from now on. */
static void
write_span(Memory *memory, uint64_t start, uint64_t end, uint32_t content)
{
  if (memory->count + 2 > memory->capacity) {
    memory->capacity = memory->capacity * 2 + 64;
    Span *grown = arena_array(memory->emitted->arena, memory->capacity, sizeof *grown);
    memcpy(grown, memory->span, memory->count * sizeof *grown);
    memory->span = grown;
  }
  uint32_t first = span_at(memory, start), last = span_at(memory, end - 1);
  uint64_t last_end = last + 1 < memory->count ? memory->span[last + 1].start : UINT64_MAX;
  Span put[3];
  uint32_t count = 0;
  if (memory->span[first].start < start) put[count++] = memory->span[first];
  put[count++] = (Span){start, content};
  if (last_end > end) put[count++] = (Span){end, memory->span[last].content};
  uint32_t tail = memory->count - last - 1;
  memmove(&memory->span[first + count], &memory->span[last + 1], tail * sizeof(Span));
  memcpy(&memory->span[first], put, count * sizeof(Span));
  memory->count = first + count + tail;
}

/* The tensor that overwrote part of [start, end), which should hold `content`; `content` itself when all is whole. */
static uint32_t
intruder(const Memory *memory, uint64_t start, uint64_t end, uint32_t content)
{
  for (uint32_t i = span_at(memory, start); i < memory->count && memory->span[i].start < end; i++)
    if (memory->span[i].content != content) return memory->span[i].content;
  return content;
}

/* ---- calls -------------------------------------------------------------------------------------------------- */

static bool
check_whole(const Memory *memory, uint32_t tensor, size_t position, const char *reader)
{
  Emitted *emitted = memory->emitted;
  const actnn_tensor *at = &emitted->tensor[tensor].at;
  uint32_t found, wanted = memory->content[tensor];
  switch (emitted->place[tensor]) {
  case PLACE_VARIABLE:
  case PLACE_REPLACING:
    found = memory->occupant[emitted->home[tensor]];
    wanted = tensor;
    break;
  case PLACE_STEP: found = intruder(memory, at->offset, at->offset + at->bytes, wanted); break;
  default: return true; /* written once for good, or in a pool of its own */
  }
  if (found == wanted && wanted != NONE) return true;
  if (found == NONE) return refuse(emitted, position, "%s reads v%u, which is not whole", reader, tensor);
  return refuse(emitted, position, "%s reads v%u after v%u was written over it", reader, tensor, found);
}

static bool
is_view(const EmittedCall *call)
{
  static const char *const views[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"};
  for (size_t i = 0; i < sizeof views / sizeof *views; i++)
    if (kernel_is(call, views[i])) return true;
  return false;
}

/* Result `k` and operand `j` of one call share bytes: is the kernel made for it? */
static bool
may_share(const Emitted *emitted, const EmittedCall *call, uint32_t k, uint32_t j)
{
  uint32_t result = call->output[k], operand = call->input[j];
  const actnn_tensor *y = &emitted->tensor[result].at, *x = &emitted->tensor[operand].at;
  if (!same_bytes(emitted, result, operand) || x->type != y->type || x->layout != y->layout) return false;
  if (replaces(call, k, j) || kernel_is(call, "Pointwise")) return same_extents(emitted, result, operand);
  if (k != 0) return false;
  if (is_view(call)) return j == 0 && (x->layout == ACTNN_PLAIN || same_extents(emitted, result, operand));
  if (!same_extents(emitted, result, operand)) return false;
  bool is_pointwise = (call->kernel->flags & POINTWISE) != 0, is_variable = emitted->place[result] == PLACE_REPLACING;
  if (j == 0) return (call->kernel->flags & IN_PLACE) != 0 || (is_pointwise && is_variable);
  return is_pointwise && (operand == call->input[0] || is_variable);
}

static bool
check_sharing(const Memory *memory, const EmittedCall *call)
{
  Emitted *emitted = memory->emitted;
  for (uint32_t k = 0; k < call->output_count; k++) {
    if (call->output[k] == NONE) continue;
    for (uint32_t j = 0; j < call->input_count; j++)
      if (call->input[j] != NONE && overlap(emitted, call->output[k], call->input[j])
          && !may_share(emitted, call, k, j))
        return refuse(emitted, call->position, "%s writes v%u over v%u while it reads it", call->name, call->output[k],
                      call->input[j]);
    for (uint32_t other = 0; other < k; other++)
      if (call->output[other] != NONE && overlap(emitted, call->output[k], call->output[other]))
        return refuse(emitted, call->position, "%s writes v%u and v%u to the same bytes", call->name,
                      call->output[other], call->output[k]);
  }
  return true;
}

static bool
run_call(Memory *memory, const EmittedCall *call)
{
  Emitted *emitted = memory->emitted;
  for (uint32_t j = 0; j < call->input_count; j++)
    if (call->input[j] != NONE && !check_whole(memory, call->input[j], call->position, call->name)) return false;
  if (!check_sharing(memory, call)) return false;
  for (uint32_t k = 0; k < call->output_count; k++) {
    uint32_t result = call->output[k];
    if (result == NONE) continue;
    const actnn_tensor *at = &emitted->tensor[result].at;
    memory->content[result] = result;
    if (emitted->place[result] == PLACE_REPLACING) memory->occupant[emitted->home[result]] = result;
    if (emitted->place[result] != PLACE_STEP) continue;
    uint32_t shown = k == 0 && is_view(call) && call->input_count ? call->input[0] : NONE;
    if (shown != NONE && same_bytes(emitted, shown, result))
      memory->content[result] = memory->content[shown];
    else
      write_span(memory, at->offset, at->offset + at->bytes, result);
  }
  return true;
}

/* ---- lines of time ------------------------------------------------------------------------------------------ */

static void
start_line(Memory *memory)
{
  Emitted *emitted = memory->emitted;
  memory->count = 1;
  memory->span[0] = (Span){0, NONE};
  for (uint32_t i = 0; i < emitted->tensor_count; i++) memory->content[i] = NONE;
  for (uint32_t i = 0; i < emitted->variable_count; i++) memory->occupant[i] = emitted->variable[i].tensor;
}

static bool
run_phase(Memory *memory, EmittedPhase phase)
{
  const Emitted *emitted = memory->emitted;
  for (uint32_t i = emitted->first_call[phase]; i < emitted->first_call[phase + 1]; i++)
    if (!run_call(memory, &emitted->call[i])) return false;
  return true;
}

/* What the trainer reads when a phase has run. */
static bool
check_wanted(const Memory *memory, uint32_t tensor)
{
  return tensor == NONE || check_whole(memory, tensor, memory->emitted->tensor[tensor].position, "the trainer");
}

bool
check_memory(Emitted *emitted)
{
  const actnn_model *model = &emitted->model;
  Memory memory = {.emitted = emitted, .capacity = 1};
  memory.span = arena_array(emitted->arena, memory.capacity, sizeof *memory.span);
  memory.content = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *memory.content);
  memory.occupant = arena_array(emitted->arena, emitted->variable_count + 1, sizeof *memory.occupant);
  start_line(&memory);
  if (!run_phase(&memory, INITIALIZE)) return false;
  start_line(&memory);
  if (!run_phase(&memory, FORWARD) || !check_wanted(&memory, model->loss)
      || !check_wanted(&memory, model->training_output) || !run_phase(&memory, BACKWARD))
    return false;
  start_line(&memory);
  return run_phase(&memory, EVALUATE) && check_wanted(&memory, model->evaluation_loss)
      && check_wanted(&memory, model->evaluation_output) && check_wanted(&memory, model->evaluation_losses);
}
