/* verify_saves.c: V5: codes and packed bits are written once in forward, and read in backward as they were written.
 *
 * A stash in the pool belongs to the save of its number: QuantizeOnSave writes it, DequantizeOnBackward and nothing else
 * reads it. Its room is what the runtime's formula (stash.c) says for these extents, this layout and these bits, and its
 * place what the rooms of the saves before it add up to. Behind those lies what is saved as it is, by SaveExact, in as many bytes as it has
 * anywhere; RestoreExact brings it back. A stash outside the pool belongs to a pair of packing kernels,
 * with equal bits. That a stash is written exactly once and before it is read is V6's affair. */
#include "verify.h"

#include "../runtime/codec.h"

static const EmittedCall *
writer_of(const Emitted *emitted, uint32_t tensor)
{
  return &emitted->call[emitted->writer[tensor]];
}

/* The save that a call names in its first attribute; NULL after refusing. */
static const EmittedSave *
save_of(Emitted *emitted, const EmittedCall *call)
{
  int64_t index = call->attribute[0].kind == ACTNN_INT ? call->attribute[0].i : -1;
  if (index < 0 || index >= emitted->save_count)
    return refuse(emitted, call->position, "%s names no save of the table", call->name), NULL;
  return &emitted->save[index];
}

static uint64_t
room(uint64_t bytes)
{
  return bytes > UINT64_MAX - ACTNN_ALIGNMENT ? UINT64_MAX
                                              : (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
}

/* The room of a save is no less than what its samples take with the fewest levels that it may choose, and no more than with the
 * most. */
static bool
room_fits(const EmittedSave *save, bool rectified, double cap, const actnn_tensor *x, uint64_t bytes)
{
  uint64_t least = UINT64_MAX, most = 0;
  for (int choice = 0; choice < ACTNN_LEVEL_CHOICES; choice++) {
    int levels = actnn_choice_levels(choice);
    if (!(save->choices >> choice & 1) || levels < actnn_least_levels(save->spacing, rectified, (float)cap)) continue;
    uint64_t taken = room(actnn_stash_bytes(x->dim, x->rank, (actnn_layout)x->layout, save->spacing, levels));
    if (taken == UINT64_MAX) return false;
    if (taken < least) least = taken;
    if (taken > most) most = taken;
  }
  return bytes >= least && bytes <= most && bytes % ACTNN_ALIGNMENT == 0;
}

static bool
is_float(const actnn_tensor *tensor)
{
  return tensor->type == ACTNN_F32 || tensor->type == ACTNN_BF16;
}

static bool
check_quantize(Emitted *emitted, const EmittedCall *call, uint32_t value, uint32_t stash)
{
  const EmittedSave *save = save_of(emitted, call);
  if (!save) return false;
  if (save->tensor != stash)
    return refuse(emitted, call->position, "v%u is not the stash of the save it names, v%u", stash, save->tensor);
  const actnn_tensor *x = &emitted->tensor[value].at, *code = &emitted->tensor[stash].at;
  if (!is_float(x))
    return refuse(emitted, call->position, "v%u is no float value", value);
  if ((save->spacing == ACTNN_NORMAL_LEVELS) != kernel_is(call, "NormalizeOnSave"))
    return refuse(emitted, save->position, "%s does not make levels of the kind that the save says", call->name);
  if (save->spacing == ACTNN_FIXED_LEVELS && !(save->low < save->high))
    return refuse(emitted, save->position, "a range from %g to %g", save->low, save->high);
  bool rectified = call->attribute_count > 1 && call->attribute[1].i != 0;
  double cap = rectified && call->attribute_count > 2 ? call->attribute[2].f : 0;
  if (save->spacing != ACTNN_FIXED_LEVELS && (save->low != 0 || save->high != cap))
    return refuse(emitted, save->position, "a range that its levels do not have");
  bool is_made = kernel_is(call, "QuantizeOnSave") && call->attribute_count > 1 && call->attribute[1].kind == ACTNN_TEXT;
  if (is_made && save->spacing != ACTNN_EVEN_LEVELS && save->spacing != ACTNN_FIXED_LEVELS)
    return refuse(emitted, save->position, "levels from zero on, of rows that have both signs");
  if (save->choices >> ACTNN_LEVEL_CHOICES) return refuse(emitted, save->position, "a number of levels that there is not");
  if (!room_fits(save, rectified, cap, x, code->bytes))
    return refuse(emitted, emitted->tensor[stash].position, "v%u has %llu bytes, which no choice of levels takes", stash,
                  (unsigned long long)code->bytes);
  return true;
}

/* Bytes that PackBits and PackPositive write: bits an element, and 16 bytes for 128 elements that are begun. */
static uint64_t
packed_room(const EmittedCall *call, const actnn_tensor *x)
{
  uint64_t bytes;
  if (kernel_is(call, "PackBits"))
    return room(actnn_packed_bytes(x->dim, x->rank, (actnn_layout)x->layout, (int)call->attribute[0].i));
  return bytes_needed(x, &bytes) ? room((bytes / element_bytes(x->type) + 127) / 128 * 16) : UINT64_MAX;
}

static bool
check_pack(Emitted *emitted, const EmittedCall *call, uint32_t value, uint32_t stash)
{
  const actnn_tensor *x = &emitted->tensor[value].at, *code = &emitted->tensor[stash].at;
  bool packs_floats = kernel_is(call, "PackPositive");
  if (emitted->place[stash] != PLACE_STEP)
    return refuse(emitted, call->position, "packed bits lie in the pool of a save");
  if (packs_floats ? !is_float(x) : element_bytes(x->type) != 1)
    return refuse(emitted, call->position, "v%u does not have elements that %s packs", value, call->name);
  if (!packs_floats && (call->attribute[0].kind != ACTNN_INT || call->attribute[0].i < 1 || call->attribute[0].i > 8))
    return refuse(emitted, call->position, "%s wants 1 to 8 bits an element", call->name);
  if (packed_room(call, x) != code->bytes)
    return refuse(emitted, emitted->tensor[stash].position, "v%u has %llu bytes, which is not what %s writes", stash,
                  (unsigned long long)code->bytes, call->name);
  return true;
}

/* A value that the pool holds as it is takes what it takes anywhere. Whose number it has is the pool's affair. */
static bool
check_exact(Emitted *emitted, const EmittedCall *call, uint32_t value, uint32_t stash)
{
  const actnn_tensor *x = &emitted->tensor[value].at, *code = &emitted->tensor[stash].at;
  if (!is_float(x)) return refuse(emitted, call->position, "v%u is no float value", value);
  return code->bytes == x->bytes
      || refuse(emitted, emitted->tensor[stash].position, "v%u has %llu bytes, and v%u, which it holds, has %llu", stash,
                (unsigned long long)code->bytes, value, (unsigned long long)x->bytes);
}

/* What writes codes and what reads them back: which results and operands they are, and whether the value restored is the one that
 * was saved, in extents and layout; what selects or differentiates by codes has a gradient of that kind as operand 0. */
static const struct Pair {
  const char *save, *restore;
  uint32_t result, code;
  bool gives_image, takes_gradient;
} pairs[] = {{"QuantizeOnSave", "DequantizeOnBackward", 0, 0, true, false},
             {"QuantizeOnSave", "DequantizeAffine", 0, 0, true, false},
             {"QuantizeOnSave", "SelectCoded", 0, 1, true, true},
             {"QuantizeOnSave", "MultiplyCoded", 0, 1, true, true},
             {"NormalizeOnSave", "DequantizeNormal", 1, 0, true, false},
             {"NormalizeOnSave", "NormalGradScale", 1, 1, false, true},
             {"NormalizeOnSave", "NormalGradInput", 1, 1, true, true},
             {"SaveExact", "RestoreExact", 0, 0, true, false},
             {"PackBits", "UnpackBits", 0, 0, true, false},
             {"PackPositive", "SelectPacked", 0, 1, true, true}};

enum { PAIRS = sizeof pairs / sizeof *pairs };

static bool
is_coding(const EmittedCall *call)
{
  return kernel_is(call, "QuantizeOnSave") || kernel_is(call, "NormalizeOnSave");
}

static bool
same_kind(const Emitted *emitted, uint32_t one, uint32_t other)
{
  const actnn_tensor *a = &emitted->tensor[one].at, *b = &emitted->tensor[other].at;
  return same_extents(emitted, one, other) && a->layout == b->layout
      && (element_bytes(a->type) == element_bytes(b->type) || (is_float(a) && is_float(b)));
}

static bool
same_number(const actnn_attribute *a, const actnn_attribute *b)
{
  bool is_number = a->kind == ACTNN_INT || a->kind == ACTNN_REAL || a->kind == ACTNN_ABSENT;
  return is_number && a->kind == b->kind && a->i == b->i && same_real(a->f, b->f);
}

/* A restored value has the extents and the layout of the value that was saved, and so has a gradient selected by its mask. */
static bool
check_restore(Emitted *emitted, const EmittedCall *call, const struct Pair *pair)
{
  uint32_t stash = call_operand(call, pair->code), restored = call_result(call, 0);
  const EmittedCall *writer = writer_of(emitted, stash);
  if (call->phase != BACKWARD) return refuse(emitted, call->position, "%s outside of backward", call->name);
  if (!kernel_is(writer, pair->save))
    return refuse(emitted, call->position, "%s cannot read what %s wrote", call->name, writer->name);
  for (uint32_t k = 0; k < writer->attribute_count && k < call->attribute_count; k++)
    if (!same_number(&call->attribute[k], &writer->attribute[k]))
      return refuse(emitted, call->position, "v%u is restored with another number or other bits than it was saved with",
                    stash);
  if (kernel_is(call, "RestoreExact")) {
    const actnn_tensor *saved = &emitted->tensor[call_operand(writer, 0)].at, *back = &emitted->tensor[restored].at;
    if (saved->type != back->type || saved->bytes != back->bytes)
      return refuse(emitted, call->position, "v%u does not come back as it was saved", restored);
  }
  if (kernel_is(call, "SelectCoded")) {
    const EmittedSave *save = save_of(emitted, writer);
    if (!save) return false;
    if (save->spacing != ACTNN_MASKED_LEVELS) return refuse(emitted, call->position, "the codes v%u do not tell what is positive", stash);
  }
  for (uint32_t k = 0; kernel_is(writer, "NormalizeOnSave") && k < 2; k++)
    if (call_operand(call, pair->code + 1 + k) != call_operand(writer, 3 + k))
      return refuse(emitted, call->position, "v%u is restored with another scale or bias than it was saved with", stash);
  bool is_same = !pair->gives_image || same_kind(emitted, call_operand(writer, 0), restored);
  if (pair->takes_gradient) is_same &= same_kind(emitted, call_operand(call, 0), call_operand(writer, 0));
  return is_same || refuse(emitted, call->position, "v%u is not of the kind that was saved as v%u", restored, stash);
}

static bool
check_save(Emitted *emitted, const EmittedCall *call, const struct Pair *pair)
{
  uint32_t operand = call_operand(call, 0), result = call_result(call, pair->result);
  if (call->phase != FORWARD) return refuse(emitted, call->position, "%s outside of forward", call->name);
  if (!same_extents(emitted, operand, result) || emitted->tensor[result].at.type != ACTNN_U8)
    return refuse(emitted, call->position, "v%u does not have the extents of what it stands for", result);
  if (pair->result && !same_kind(emitted, operand, call_result(call, 0)))
    return refuse(emitted, call->position, "v%u is not of the kind that is normalized", call_result(call, 0));
  if (kernel_is(call, "SaveExact")) return check_exact(emitted, call, operand, result);
  return is_coding(call) ? check_quantize(emitted, call, operand, result) : check_pack(emitted, call, operand, result);
}

static bool
check_call(Emitted *emitted, const EmittedCall *call)
{
  const struct Pair *saves = NULL, *restores = NULL;
  for (size_t i = 0; i < PAIRS; i++) {
    if (kernel_is(call, pairs[i].save)) saves = &pairs[i];
    if (kernel_is(call, pairs[i].restore)) restores = &pairs[i];
  }
  for (uint32_t k = 0; k < call->input_count; k++) {
    bool wants_codes = restores && k == restores->code;
    if (call->input[k] != NONE && (emitted->tensor[call->input[k]].at.layout == ACTNN_STASH) != wants_codes)
      return refuse(emitted, call->position, "v%u: %s", call->input[k],
                    wants_codes ? "it holds no codes" : "only a restore reads codes");
  }
  for (uint32_t k = 0; k < call->output_count; k++) {
    bool makes_codes = saves && k == saves->result;
    if (call->output[k] != NONE && (emitted->tensor[call->output[k]].at.layout == ACTNN_STASH) != makes_codes)
      return refuse(emitted, call->position, "v%u: only a save writes codes, and nothing else", call->output[k]);
  }
  if (!saves && !restores) return true;
  for (uint32_t k = 0; k <= (restores ? restores->code : 0); k++)
    if (call_operand(call, k) == NONE) return refuse(emitted, call->position, "%s without a value or a stash", call->name);
  for (uint32_t k = 0; k <= (saves ? saves->result : 0); k++)
    if (call_result(call, k) == NONE) return refuse(emitted, call->position, "%s without a result", call->name);
  return restores ? check_restore(emitted, call, restores) : check_save(emitted, call, saves);
}

/* The same of what is saved as it is, by number, behind the codes. */
static bool
check_exact_pool(Emitted *emitted)
{
  const actnn_model *model = &emitted->model;
  uint64_t next = model->stash_offset + (model->window_bytes ? 0 : model->stash_bytes), all = 0;
  uint32_t found = 0;
  const EmittedCall **saves = arena_array(emitted->arena, emitted->call_count + 1u, sizeof *saves);
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    if (!kernel_is(call, "SaveExact")) continue;
    int64_t number = call->attribute[0].kind == ACTNN_INT ? call->attribute[0].i : -1;
    if (number < 0 || number >= model->exact_count || number >= emitted->call_count || saves[number])
      return refuse(emitted, call->position, "%s has no number of its own below %u", call->name, model->exact_count);
    saves[number] = call;
    found++;
  }
  if (found != model->exact_count)
    return refuse(emitted, emitted->source_length, "%u values are saved as they are, the model says %u", found, model->exact_count);
  for (uint32_t i = 0; i < found; i++) {
    uint32_t stash = call_result(saves[i], 0);
    const actnn_tensor *code = &emitted->tensor[stash].at;
    if (code->offset != next || (model->window_bytes && code->bytes > model->window_bytes))
      return refuse(emitted, emitted->tensor[stash].position, "v%u does not lie behind the saves before it", stash);
    next += model->window_bytes ? 0 : code->bytes;
    all += code->bytes;
  }
  return all == model->exact_bytes
      || refuse(emitted, emitted->source_length, "values that are saved as they are take %llu bytes, the model says %llu",
                (unsigned long long)all, (unsigned long long)model->exact_bytes);
}

/* Each save lies behind those before it, and together they fill the pool. Where the pool has a window the trainer decides where they lie in
 * it, as bytes move: each fits, at its start, and it is their bytes that fill the pool. */
static bool
check_pool(Emitted *emitted)
{
  uint64_t start = emitted->model.stash_offset, window = emitted->model.window_bytes, next = start;
  for (uint32_t i = 0; i < emitted->save_count; i++) {
    uint32_t stash = emitted->save[i].tensor;
    const actnn_tensor *code = &emitted->tensor[stash].at;
    if (code->layout != ACTNN_STASH || !is_coding(writer_of(emitted, stash)))
      return refuse(emitted, emitted->save[i].position, "v%u is no stash of coded values", stash);
    if (code->offset != (window ? start : next) || (window && code->bytes > window))
      return refuse(emitted, emitted->tensor[stash].position, "v%u does not lie behind the saves before it", stash);
    next += code->bytes;
  }
  if (next != start + emitted->model.stash_bytes)
    return refuse(emitted, emitted->source_length, "the saves take %llu bytes, the pool has %llu", (unsigned long long)(next - start),
                  (unsigned long long)emitted->model.stash_bytes);
  return check_exact_pool(emitted);
}

bool
makes_weight_gradient(const Emitted *emitted, const EmittedCall *call)
{
  uint32_t gradient = call_result(call, 0);
  if (gradient == NONE) return false;
  bool is_product = kernel_is(call, "ProductGradWeight") || kernel_is(call, "ProductGradWeightSum");
  return kernel_is(call, "ConvGradWeight") || (is_product && emitted->tensor[gradient].at.rank <= 2);
}

bool
restores_value(const EmittedCall *call)
{
  return kernel_is(call, "DequantizeOnBackward") || kernel_is(call, "DequantizeAffine") || kernel_is(call, "DequantizeNormal");
}

/* Every stash has a reader. A save whose bits may move is measured wherever it meets a gradient in a weight's gradient. */
static bool
check_readers(Emitted *emitted)
{
  uint32_t *reads = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *reads);
  int64_t *unmeasured = arena_array(emitted->arena, emitted->save_count + 1, sizeof *unmeasured);
  for (uint32_t i = emitted->first_call[BACKWARD]; i < emitted->first_call[BACKWARD + 1]; i++) {
    const EmittedCall *call = &emitted->call[i];
    bool is_product = makes_weight_gradient(emitted, call);
    for (uint32_t k = 0; k < call->input_count; k++) {
      uint32_t tensor = call->input[k];
      if (tensor == NONE) continue;
      reads[tensor]++;
      if (!is_product || emitted->writer[tensor] == NONE || !restores_value(writer_of(emitted, tensor))) continue;
      int64_t save = writer_of(emitted, tensor)->attribute[0].i;
      if (emitted->save[save].adaptation == ACTNN_ADAPTS_BY_READERS) unmeasured[save]++;
    }
    if (!kernel_is(call, "MeasureSensitivity")) continue;
    if (!save_of(emitted, call)) return false;
    unmeasured[call->attribute[0].i]--;
  }
  for (uint32_t i = 0; i < emitted->tensor_count; i++)
    if (emitted->tensor[i].at.layout == ACTNN_STASH && !reads[i])
      return refuse(emitted, emitted->tensor[i].position, "the codes v%u are never read", i);
  for (uint32_t i = 0; i < emitted->save_count; i++)
    if (unmeasured[i])
      return refuse(emitted, emitted->save[i].position, "v%u is not measured once for each gradient it meets",
                    emitted->save[i].tensor);
  return true;
}

bool
check_saves(Emitted *emitted)
{
  for (uint32_t i = 0; i < emitted->call_count; i++)
    if (!check_call(emitted, &emitted->call[i])) return false;
  return check_pool(emitted) && check_readers(emitted);
}
