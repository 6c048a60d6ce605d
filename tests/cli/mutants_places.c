/* mutants_places.c: mutants of where tensors lie: V3 (room, inside the arena), V4 (lifetimes), V8 (the arena's parts); see mutants.h.
 *
 * What V4 forbids is worked out here by brute force: a result written over a tensor that was made before and is read after. */
#include "mutants.h"

#include <stdlib.h>

/* ---- V3: room, aligned, constant, inside the arena ------------------------------------------------------------------ */

static uint64_t
bytes_of_elements(const actnn_tensor *tensor, uint64_t width)
{
  uint64_t bytes = width;
  for (int axis = 0; axis < tensor->rank; axis++) {
    uint64_t extent = (uint64_t)tensor->dim[axis];
    bytes *= tensor->layout == ACTNN_BLOCKED && axis == 1 ? (extent + 15) / 16 * 16 : extent;
  }
  return bytes;
}

static void
misplace(Bench *bench, uint32_t tensor)
{
  const actnn_tensor *at = &bench->emitted.tensor[tensor].at;
  const uint64_t whole = bench->emitted.model.arena_bytes, last = whole - at->bytes;
  Span offset = field_of(bench, tensor, OFFSET), bytes = field_of(bench, tensor, BYTES);
  const uint64_t outside[] = {at->offset + whole, last + 64, whole, whole + 64, UINT64_MAX - 63, (uint64_t)1 << 63};
  const uint64_t across[] = {at->offset + 1, at->offset + 4, at->offset + 32, at->offset + 63, at->offset + 65};
  const uint64_t crooked[] = {at->bytes - 1, at->bytes + 1, at->bytes - 4, at->bytes - 32, 0, whole + 64 - at->offset, UINT64_MAX - 63};
  for (size_t i = 0; i < COUNT(outside); i++) change(bench, "outside the arena", offset, decimal(bench, outside[i]));
  for (size_t i = 0; i < COUNT(across); i++) change(bench, "not aligned", offset, decimal(bench, across[i]));
  for (size_t i = 0; i < COUNT(crooked); i++) change(bench, "a length that cannot be", bytes, decimal(bench, crooked[i]));
  if (at->layout != ACTNN_STASH && at->bytes > 64 && bytes_of_elements(at, element_bytes(at->type)) > at->bytes - 64)
    change(bench, "too short", bytes, decimal(bench, at->bytes - 64));
  if (at->layout != ACTNN_STASH && at->type != ACTNN_I64 && bytes_of_elements(at, 8) > at->bytes)
    change(bench, "elements too wide for it", field_of(bench, tensor, TYPE), "ACTNN_I64");
}

static void
spell_otherwise(Bench *bench, uint32_t tensor)
{
  static const char *const types[] = {"ACTNN_F64", "ACTNN_F16", "ACTNN_UNDEFINED", "1", "ACTNN_PLAIN"};
  static const char *const layouts[] = {"ACTNN_F32", "0", "ACTNN_SPACINGS"};
  static const char *const ranks[] = {"9", "255", "-1", "1u", "v0"};
  const Field numbers[] = {OFFSET, BYTES};
  for (size_t i = 0; i < COUNT(numbers); i++) {
    Span span = field_of(bench, tensor, numbers[i]);
    const char *text = text_of(bench, span);
    const char *const forms[] = {FORMAT("-%s", text), FORMAT("(%s)", text), FORMAT("%.*s", (int)strlen(text) - 1, text), "v1",
                                 "TENSOR_COUNT", "18446744073709551616u", FORMAT("%s, 0u", text), "", "64.0", FORMAT("& %s", text),
                                 FORMAT("%s * 1u", text)};
    for (size_t k = 0; k < COUNT(forms); k++) change(bench, "a number that is computed or none", span, forms[k]);
  }
  for (size_t i = 0; i < COUNT(types); i++) change(bench, "a type that no trainer holds", field_of(bench, tensor, TYPE), types[i]);
  for (size_t i = 0; i < COUNT(layouts); i++) change(bench, "no layout", field_of(bench, tensor, LAYOUT), layouts[i]);
  for (size_t i = 0; i < COUNT(ranks); i++) change(bench, "no rank", field_of(bench, tensor, RANK), ranks[i]);
  Span row = row_of(bench, tensor);
  size_t name = bench->emitted.tensor[tensor].position;
  uint32_t other = tensor ? tensor - 1 : bench->emitted.tensor_count - 1;
  if (bench->emitted.tensor_count > 1) change(bench, "an entry of another tensor", (Span){name, row.from - 4}, FORMAT("v%u", other));
  change(bench, "an entry too few", (Span){name - 1, row.to + 1}, "");
  insert(bench, "an entry twice", row.to, FORMAT(", [v%u] = %s", tensor, text_of(bench, row)));
}

static void
stretch(Bench *bench, uint32_t tensor)
{
  const actnn_tensor *at = &bench->emitted.tensor[tensor].at;
  Span extents = field_of(bench, tensor, EXTENTS);
  insert(bench, "an extent too many", extents.to - 1, ", 1");
  for (int axis = 0; axis < at->rank; axis++) {
    Span span = item_of(bench, extents.from, (uint32_t)axis);
    const long long own = at->dim[axis];
    const char *const extent[] = {FORMAT("-%lld", own), "9223372036854775808", FORMAT("%lldu", own), "v0"};
    for (size_t i = 0; i < COUNT(extent); i++) change(bench, "an extent that is none", span, extent[i]);
    if (at->layout == ACTNN_STASH) continue;
    const uint64_t longer = at->bytes + (uint64_t)at->dim[axis];
    change(bench, "an extent beyond the bytes", span, FORMAT("%llu", (unsigned long long)longer));
    change(bench, "extents whose product overflows", span, "4611686018427387904");
    change(bench, "extents whose product overflows", span, "9223372036854775807");
  }
}

void
mutate_places(Bench *bench)
{
  for (uint32_t i = 0; i < bench->emitted.tensor_count; i++) {
    misplace(bench, i);
    spell_otherwise(bench, i);
    stretch(bench, i);
  }
}

/* ---- V4: nothing that lives is overwritten --------------------------------------------------------------------------- */

typedef struct Life {
  uint64_t offset, bytes;
  uint32_t made, last; /* calls; last: NONE when nothing reads it */
  bool is_step;
} Life;

static bool
is_view(const EmittedCall *call)
{
  static const char *const views[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"};
  return is_one_of(call->name, views, COUNT(views));
}

static Life *
lives_of(const Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  Life *lives = arena_array(bench->scratch, emitted->tensor_count + 1, sizeof *lives);
  for (uint32_t i = 0; i < emitted->tensor_count; i++)
    lives[i] = (Life){emitted->tensor[i].at.offset, emitted->tensor[i].at.bytes, emitted->writer[i], last_reader(emitted, i),
                      emitted->place[i] == PLACE_STEP && emitted->writer[i] != NONE};
  return lives;
}

/* What a view of the same bytes shows. */
static uint32_t
shown_by(const Emitted *emitted, const Life *lives, uint32_t tensor)
{
  for (;;) {
    const EmittedCall *call = lives[tensor].made == NONE ? NULL : &emitted->call[lives[tensor].made];
    uint32_t operand = call && is_view(call) ? call_operand(call, 0) : NONE;
    bool is_same = operand != NONE && lives[operand].offset == lives[tensor].offset && lives[operand].bytes == lives[tensor].bytes;
    if (!is_same) return tensor;
    tensor = operand;
  }
}

/* Does making `result` destroy `living`, which was made before and is read after? */
static bool
destroys(const Emitted *emitted, const Life *lives, uint32_t result, uint32_t living)
{
  const Life *r = &lives[result], *l = &lives[living];
  return r->is_step && l->is_step && l->last != NONE && l->made < r->made && r->made < l->last && same_time(emitted, l->made, r->made)
      && same_time(emitted, l->last, r->made) && r->offset < l->offset + l->bytes && l->offset < r->offset + r->bytes
      && shown_by(emitted, lives, result) != shown_by(emitted, lives, living);
}

static bool
breaks_a_life(const Emitted *emitted, const Life *lives, uint32_t moved)
{
  for (uint32_t i = 0; i < emitted->tensor_count; i++)
    if (i != moved && (destroys(emitted, lives, moved, i) || destroys(emitted, lives, i, moved))) return true;
  return false;
}

static bool
is_in_step(const Bench *bench, uint64_t offset, uint64_t bytes)
{
  const actnn_model *model = &bench->emitted.model;
  return offset >= model->variable_bytes && offset < model->stash_offset && offset + bytes <= model->stash_offset;
}

static void
move_one(Bench *bench, Life *lives, uint32_t moved, uint64_t offset)
{
  uint64_t before = lives[moved].offset;
  if (offset == before || !is_in_step(bench, offset, lives[moved].bytes)) return;
  lives[moved].offset = offset;
  if (breaks_a_life(&bench->emitted, lives, moved))
    change(bench, "a tensor over one that lives", field_of(bench, moved, OFFSET), decimal(bench, offset));
  lives[moved].offset = before;
}

static void
swap_two(Bench *bench, Life *lives, uint32_t one, uint32_t other)
{
  uint64_t offset = lives[one].offset, other_offset = lives[other].offset;
  if (offset == other_offset || !is_in_step(bench, other_offset, lives[one].bytes)) return;
  if (!is_in_step(bench, offset, lives[other].bytes)) return;
  lives[one].offset = other_offset;
  lives[other].offset = offset;
  if (breaks_a_life(&bench->emitted, lives, one) || breaks_a_life(&bench->emitted, lives, other))
    change_two(bench, "two tensors swap places", field_of(bench, one, OFFSET), decimal(bench, other_offset), field_of(bench, other, OFFSET),
               decimal(bench, offset));
  lives[one].offset = offset;
  lives[other].offset = other_offset;
}

/* A call behind one that overwrites what it reads. */
static void
delay_reader(Bench *bench, const Life *lives, uint32_t reader)
{
  const Emitted *emitted = &bench->emitted;
  const EmittedCall *call = &emitted->call[reader];
  for (uint32_t i = reader + 1; i < emitted->first_call[call->phase + 1]; i++)
    for (uint32_t k = 0; k < call->input_count; k++) {
      uint32_t result = call_result(&emitted->call[i], 0), operand = call->input[k];
      if (result == NONE || operand == NONE || !lives[operand].is_step || !lives[result].is_step) continue;
      if (lives[result].offset >= lives[operand].offset + lives[operand].bytes
          || lives[operand].offset >= lives[result].offset + lives[result].bytes
          || shown_by(emitted, lives, result) == shown_by(emitted, lives, operand))
        continue;
      size_t behind = call_line(bench, &emitted->call[i]).to;
      change_two(bench, "a call behind one that overwrites its operand", call_line(bench, call), "", (Span){behind, behind},
                 FORMAT("  %s", text_of(bench, call_line(bench, call))));
      return;
    }
}

/* A result over an operand of the same call, whose kernel reads it while it writes. */
static void
write_over_operands(Bench *bench, const Life *lives, const EmittedCall *call)
{
  if ((call->kernel->flags & (POINTWISE | IN_PLACE | UPDATE)) || is_view(call)) return;
  for (uint32_t k = 0; k < call->output_count; k++) {
    uint32_t result = call->output[k];
    if (result == NONE || !lives[result].is_step) continue;
    for (uint32_t j = 0; j < call->input_count; j++) {
      uint32_t operand = call->input[j];
      if (operand != NONE && lives[operand].is_step && is_in_step(bench, lives[operand].offset, lives[result].bytes)
          && lives[operand].offset != lives[result].offset)
        change(bench, "a result over an operand", field_of(bench, result, OFFSET), decimal(bench, lives[operand].offset));
    }
    for (uint32_t j = 0; j < k; j++)
      if (call->output[j] != NONE && lives[call->output[j]].is_step && lives[call->output[j]].offset != lives[result].offset
          && is_in_step(bench, lives[call->output[j]].offset, lives[result].bytes))
        change(bench, "two results in one place", field_of(bench, result, OFFSET), decimal(bench, lives[call->output[j]].offset));
  }
}

enum { PAIRS_OF_A_SOURCE = 6000 };

void
mutate_lifetimes(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  Life *lives = lives_of(bench);
  uint32_t count = emitted->tensor_count, step = count * count / PAIRS_OF_A_SOURCE + 1;
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t k = 0; k < count; k++) {
      if (i == k || !lives[i].is_step || !lives[k].is_step || (i * 37 + k) % step) continue;
      move_one(bench, lives, i, lives[k].offset);
      move_one(bench, lives, i, lives[k].offset + lives[k].bytes - 64);
      move_one(bench, lives, i, lives[k].offset + 64 - lives[i].bytes);
      if (i < k) swap_two(bench, lives, i, k);
    }
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    delay_reader(bench, lives, i);
    write_over_operands(bench, lives, &emitted->call[i]);
  }
}

/* ---- V8: parts of the arena --------------------------------------------------------------------------------------------- */

/* Into another part, or across the border of two. */
static void
leave_region(Bench *bench, uint32_t tensor)
{
  const actnn_model *model = &bench->emitted.model;
  const actnn_tensor *at = &bench->emitted.tensor[tensor].at;
  Place own = bench->emitted.place[tensor];
  bool is_kept = own != PLACE_STEP && own != PLACE_POOL;
  Span offset = field_of(bench, tensor, OFFSET);
  const char *const kind = "a tensor in another part of the arena";
  const uint64_t step[] = {model->variable_bytes, model->stash_offset - at->bytes};
  const uint64_t other[] = {model->stash_offset, model->workspace_offset, model->stash_offset - at->bytes + 64, model->variable_bytes - 64};
  for (size_t i = 0; i < COUNT(other); i++)
    if (other[i] != at->offset && other[i] + at->bytes <= model->arena_bytes && !(own == PLACE_POOL && i == 0)
        && !(other[i] >= model->variable_bytes && other[i] + at->bytes <= model->stash_offset && !is_kept))
      change(bench, kind, offset, decimal(bench, other[i]));
  for (size_t i = 0; i < COUNT(step) && own != PLACE_STEP; i++)
    if (is_in_step(bench, step[i], at->bytes)) change(bench, kind, offset, decimal(bench, step[i]));
}

/* On what is kept from step to step. */
static void
lie_on_kept(Bench *bench, uint32_t tensor)
{
  const Emitted *emitted = &bench->emitted;
  Place own = emitted->place[tensor];
  if (own == PLACE_REPLACING || own == PLACE_POOL) return;
  for (uint32_t i = tensor % 7; i < emitted->tensor_count; i += 7) {
    Place place = emitted->place[i];
    const actnn_tensor *kept = &emitted->tensor[i].at;
    if ((place != PLACE_VARIABLE && place != PLACE_INPUT) || i == tensor || kept->offset == emitted->tensor[tensor].at.offset
        || (own == PLACE_STEP && kept->bytes == emitted->tensor[tensor].at.bytes) /* V7: a next value that is none */
        || kept->offset + emitted->tensor[tensor].at.bytes > emitted->model.variable_bytes)
      continue;
    change(bench, "a tensor over what is kept", field_of(bench, tensor, OFFSET), decimal(bench, kept->offset));
  }
}

static void
change_number(Bench *bench, const char *field, uint64_t value)
{
  Span span = model_field(bench, field);
  const uint64_t others[] = {value + 64, value - 64, value + 1, value - 1,  value * 2 + 128, value / 2 + 32, value * 10 + 640,
                             0,          UINT64_MAX, (uint64_t)1 << 62};
  for (size_t i = 0; i < COUNT(others); i++)
    if (others[i] != value) change(bench, "another number", span, decimal(bench, others[i]));
  insert(bench, "a digit more", span.from, "1");
}

void
mutate_regions(Bench *bench)
{
  const actnn_model *model = &bench->emitted.model;
  const struct {
    const char *field;
    uint64_t value;
  } numbers[] = {{"arena_bytes", model->arena_bytes},           {"variable_bytes", model->variable_bytes},
                 {"stash_offset", model->stash_offset},         {"stash_bytes", model->stash_bytes},
                 {"exact_bytes", model->exact_bytes},           {"window_bytes", model->window_bytes},
                 {"workspace_offset", model->workspace_offset}, {"workspace_bytes", model->workspace_bytes},
                 {"saved_bytes", model->saved_bytes},           {"saved_bytes_fp32", model->saved_bytes_fp32}};
  for (size_t i = 0; i < COUNT(numbers); i++) {
    change_number(bench, numbers[i].field, numbers[i].value);
    for (size_t k = 0; k < i; k++)
      if (numbers[i].value != numbers[k].value)
        change_two(bench, "two numbers swapped", model_field(bench, numbers[i].field), decimal(bench, numbers[k].value),
                   model_field(bench, numbers[k].field), decimal(bench, numbers[i].value));
  }
  for (uint32_t i = 0; i < bench->emitted.tensor_count; i++) {
    leave_region(bench, i);
    lie_on_kept(bench, i);
  }
}
