/* check_model.c: what the tables of a model say of sizes, and whether they contradict each other: asked once, before anything is reserved. */
#include "trainer.h"

size_t
trainer_type_bytes(int type)
{
  switch (type) {
  case ACTNN_U8:
  case ACTNN_I8:
  case ACTNN_BOOL: return 1;
  case ACTNN_U16:
  case ACTNN_I16:
  case ACTNN_F16:
  case ACTNN_BF16: return 2;
  case ACTNN_F32:
  case ACTNN_I32:
  case ACTNN_U32: return 4;
  case ACTNN_F64:
  case ACTNN_I64:
  case ACTNN_U64: return 8;
  default: return 0;
  }
}

size_t
trainer_elements(const actnn_tensor *tensor)
{
  size_t elements = 1;
  for (int axis = 0; axis < tensor->rank; axis++)
    elements *= (size_t)tensor->dim[axis];
  return elements;
}

/* Bytes that the elements need, with every product checked; false when they cannot be held. */
static bool
tensor_needs(const actnn_tensor *tensor, uint64_t *bytes)
{
  uint64_t size = trainer_type_bytes(tensor->type);
  if (!size || tensor->rank > ACTNN_MAX_RANK || tensor->layout > ACTNN_STASH)
    return false;
  for (int axis = 0; axis < tensor->rank; axis++)
    if (tensor->dim[axis] < 0 || __builtin_mul_overflow(size, (uint64_t)tensor->dim[axis], &size))
      return false;
  *bytes = tensor->layout == ACTNN_STASH ? 0 : size; /* how much codes take is the save's affair */
  return true;
}

int
trainer_check_model(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  if (model->version != ACTNN_VERSION)
    return actnn_fail(trainer,
                      "%s: made by a translator of version %d, this runtime is of version %d; run actnnc again",
                      model->name, model->version, ACTNN_VERSION);
  for (uint32_t id = 0; id < model->tensor_count; id++) {
    const actnn_tensor *tensor = &model->tensor[id];
    uint64_t needed;
    if (!tensor_needs(tensor, &needed) || needed > tensor->bytes || tensor->bytes > model->arena_bytes ||
        tensor->offset > model->arena_bytes - tensor->bytes || tensor->offset % ACTNN_ALIGNMENT)
      return actnn_fail(trainer, "%s: tensor %u does not fit its place in the arena", model->name, id);
  }
  for (uint32_t index = 0; index < model->variable_count; index++) {
    uint32_t id = model->variable[index].tensor;
    if (id >= model->tensor_count || model->tensor[id].layout != ACTNN_PLAIN)
      return actnn_fail(trainer, "%s: variable %u is not a plain tensor of the model", model->name, index);
  }
  for (uint32_t index = 0; index < model->input_count; index++) {
    uint32_t id = model->input[index].tensor;
    if (id >= model->tensor_count || model->tensor[id].layout != ACTNN_PLAIN || model->tensor[id].rank < 1 ||
        model->tensor[id].dim[0] < 1)
      return actnn_fail(trainer, "%s: input %u is not a plain tensor with samples on its first axis",
                        model->name, index);
  }
  const uint32_t optional[] = {model->loss,          model->evaluation_loss, model->evaluation_output, model->evaluation_losses,
                               model->learning_rate, model->step_number,     model->training_output};
  for (size_t index = 0; index < sizeof optional / sizeof *optional; index++)
    if (optional[index] != NONE && optional[index] >= model->tensor_count)
      return actnn_fail(trainer, "%s: the model names tensor %u, which it does not have", model->name,
                        optional[index]);
  if (model->label != NONE && model->label >= model->input_count)
    return actnn_fail(trainer, "%s: the model names label input %u, which it does not have", model->name,
                      model->label);
  if ((model->learning_rate != NONE && model->tensor[model->learning_rate].type != ACTNN_F32) ||
      (model->step_number != NONE && model->tensor[model->step_number].type != ACTNN_I64))
    return actnn_fail(trainer, "%s: learning rate must be float32 and the step number int64", model->name);
  if (model->workspace_bytes > model->arena_bytes || model->stash_bytes > UINT64_MAX / 4 || model->exact_bytes > UINT64_MAX / 4 ||
      model->workspace_offset > model->arena_bytes - model->workspace_bytes ||
      pool_bytes_in_arena(model) > model->arena_bytes ||
      model->stash_offset > model->arena_bytes - pool_bytes_in_arena(model) || model->window_bytes > model->stash_bytes + model->exact_bytes ||
      model->variable_bytes > model->arena_bytes || model->batch < 1)
    return actnn_fail(trainer, "%s: the memory plan contradicts itself", model->name);
  return 0;
}
