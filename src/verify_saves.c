/* verify_saves.c: V5: codes and packed bits are written once in forward, and read in backward as they were written.
 *
 * A stash in the pool belongs to the save of its number: QuantizeOnSave writes it, DequantizeOnBackward and nothing else reads
 * it. Its room is what the runtime's formula (stash.c) says for these extents, this layout and these bits, and its place what
 * the rooms of the saves before it add up to. A stash outside the pool is PackBits' and UnpackBits', with equal bits. That a
 * stash is written exactly once and before it is read is V6's affair. */
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
  if (index < 0 || index >= emitted->save_count) return refuse(emitted, call->position, "%s names no save of the table", call->name), NULL;
  return &emitted->save[index];
}

static uint64_t
room(uint64_t bytes)
{
  return bytes > UINT64_MAX - ACTNN_ALIGNMENT ? UINT64_MAX : (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
}

static bool
check_quantize(Emitted *emitted, const EmittedCall *call, uint32_t value, uint32_t stash)
{
  const EmittedSave *save = save_of(emitted, call);
  if (!save) return false;
  if (save->tensor != stash) return refuse(emitted, call->position, "v%u is not the stash of the save it names, v%u", stash, save->tensor);
  const actnn_tensor *x = &emitted->tensor[value].at, *code = &emitted->tensor[stash].at;
  if (x->type != ACTNN_F32 || x->layout == ACTNN_STASH) return refuse(emitted, call->position, "v%u is no float value", value);
  if (!(save->bits >= 1 && save->bits <= 8)) return refuse(emitted, save->position, "%g bits an element", save->bits);
  uint64_t bytes = room(actnn_stash_bytes(x->dim, x->rank, (actnn_layout)x->layout, save->bits));
  if (bytes != code->bytes)
    return refuse(emitted, emitted->tensor[stash].position, "v%u has %llu bytes, %g bits an element take %llu", stash, (unsigned long long)code->bytes,
                  save->bits, (unsigned long long)bytes);
  return true;
}

static bool
check_pack(Emitted *emitted, const EmittedCall *call, uint32_t value, uint32_t stash)
{
  const actnn_tensor *x = &emitted->tensor[value].at, *code = &emitted->tensor[stash].at;
  int64_t bits = call->attribute[0].kind == ACTNN_INT ? call->attribute[0].i : 0;
  if (emitted->place[stash] != PLACE_STEP) return refuse(emitted, call->position, "packed bits lie in the pool of a save");
  if (element_bytes(x->type) != 1 || x->layout == ACTNN_STASH) return refuse(emitted, call->position, "v%u does not have elements of one byte", value);
  if (bits < 1 || bits > 8) return refuse(emitted, call->position, "%lld bits an element", (long long)bits);
  if (room(actnn_packed_bytes(x->dim, x->rank, (actnn_layout)x->layout, (int)bits)) != code->bytes)
    return refuse(emitted, emitted->tensor[stash].position, "v%u has %llu bytes, which is not what %lld bits an element take", stash,
                  (unsigned long long)code->bytes, (long long)bits);
  return true;
}

/* A restored value has the extents and the layout of the value that was saved. */
static bool
check_restore(Emitted *emitted, const EmittedCall *call, uint32_t stash, uint32_t restored)
{
  const EmittedCall *writer = writer_of(emitted, stash);
  bool is_code = kernel_is(call, "DequantizeOnBackward");
  if (call->phase != BACKWARD) return refuse(emitted, call->position, "%s outside of backward", call->name);
  if (!kernel_is(writer, is_code ? "QuantizeOnSave" : "PackBits")) return refuse(emitted, call->position, "%s cannot read what %s wrote", call->name, writer->name);
  if (call->attribute[0].i != writer->attribute[0].i || call->attribute[0].kind != ACTNN_INT)
    return refuse(emitted, call->position, is_code ? "v%u is restored as another save than it is" : "v%u is unpacked with other bits than it was packed with", stash);
  const actnn_tensor *x = &emitted->tensor[call_operand(writer, 0)].at, *y = &emitted->tensor[restored].at;
  if (!same_extents(emitted, call_operand(writer, 0), restored) || x->layout != y->layout || element_bytes(x->type) != element_bytes(y->type) || (is_code && y->type != ACTNN_F32))
    return refuse(emitted, call->position, "v%u is not of the kind that was saved as v%u", restored, stash);
  return true;
}

static bool
check_call(Emitted *emitted, const EmittedCall *call)
{
  uint32_t operand = call_operand(call, 0), result = call_result(call, 0);
  bool saves = kernel_is(call, "QuantizeOnSave") || kernel_is(call, "PackBits");
  bool restores = kernel_is(call, "DequantizeOnBackward") || kernel_is(call, "UnpackBits");
  for (uint32_t k = 0; k < call->input_count; k++)
    if (call->input[k] != NONE && (emitted->tensor[call->input[k]].at.layout == ACTNN_STASH) != restores)
      return refuse(emitted, call->position, "v%u: %s, and only a restore, reads codes", call->input[k], restores ? "it holds none" : "they are codes");
  for (uint32_t k = 0; k < call->output_count; k++)
    if (call->output[k] != NONE && (emitted->tensor[call->output[k]].at.layout == ACTNN_STASH) != saves)
      return refuse(emitted, call->position, "v%u: only a save writes codes, and nothing else", call->output[k]);
  if (!saves && !restores) return true;
  if (operand == NONE || result == NONE) return refuse(emitted, call->position, "%s without a value or a stash", call->name);
  if (restores) return check_restore(emitted, call, operand, result);
  if (call->phase != FORWARD) return refuse(emitted, call->position, "%s outside of forward", call->name);
  if (!same_extents(emitted, operand, result) || emitted->tensor[result].at.type != ACTNN_U8)
    return refuse(emitted, call->position, "v%u does not have the extents of what it stands for", result);
  return kernel_is(call, "PackBits") ? check_pack(emitted, call, operand, result) : check_quantize(emitted, call, operand, result);
}

/* Each save lies behind those before it, and together they fill the pool. */
static bool
check_pool(Emitted *emitted)
{
  uint64_t next = emitted->model.stash_offset;
  for (uint32_t i = 0; i < emitted->save_count; i++) {
    uint32_t stash = emitted->save[i].tensor;
    const actnn_tensor *code = &emitted->tensor[stash].at;
    if (code->layout != ACTNN_STASH || !kernel_is(writer_of(emitted, stash), "QuantizeOnSave"))
      return refuse(emitted, emitted->save[i].position, "v%u is no stash of coded values", stash);
    if (code->offset != next) return refuse(emitted, emitted->tensor[stash].position, "v%u does not lie behind the saves before it", stash);
    next += code->bytes;
  }
  return next == emitted->model.stash_offset + emitted->model.stash_bytes
         || refuse(emitted, emitted->source_length, "the saves take %llu bytes, the pool has %llu", (unsigned long long)(next - emitted->model.stash_offset),
                   (unsigned long long)emitted->model.stash_bytes);
}

/* Every stash has a reader. A save whose bits may move is measured wherever it meets a gradient in a weight's gradient. */
static bool
check_readers(Emitted *emitted)
{
  uint32_t *reads = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *reads);
  int64_t *unmeasured = arena_array(emitted->arena, emitted->save_count + 1, sizeof *unmeasured);
  for (uint32_t i = emitted->first_call[BACKWARD]; i < emitted->first_call[BACKWARD + 1]; i++) {
    const EmittedCall *call = &emitted->call[i];
    bool is_product = kernel_is(call, "ConvGradWeight") || kernel_is(call, "ProductGradWeight");
    for (uint32_t k = 0; k < call->input_count; k++) {
      uint32_t tensor = call->input[k];
      if (tensor == NONE) continue;
      reads[tensor]++;
      if (!is_product || emitted->writer[tensor] == NONE || !kernel_is(writer_of(emitted, tensor), "DequantizeOnBackward")) continue;
      int64_t save = writer_of(emitted, tensor)->attribute[0].i;
      if (emitted->save[save].adaptive) unmeasured[save]++;
    }
    if (!kernel_is(call, "MeasureSensitivity")) continue;
    if (!save_of(emitted, call)) return false;
    unmeasured[call->attribute[0].i]--;
  }
  for (uint32_t i = 0; i < emitted->tensor_count; i++)
    if (emitted->tensor[i].at.layout == ACTNN_STASH && !reads[i]) return refuse(emitted, emitted->tensor[i].position, "the codes v%u are never read", i);
  for (uint32_t i = 0; i < emitted->save_count; i++)
    if (unmeasured[i]) return refuse(emitted, emitted->save[i].position, "v%u is not measured once for each gradient it meets", emitted->save[i].tensor);
  return true;
}

bool
check_saves(Emitted *emitted)
{
  for (uint32_t i = 0; i < emitted->call_count; i++)
    if (!check_call(emitted, &emitted->call[i])) return false;
  return check_pool(emitted) && check_readers(emitted);
}
