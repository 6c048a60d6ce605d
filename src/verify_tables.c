/* verify_tables.c: V8: the tables of a source and the numbers of its model are those of the program's plan.
 *
 * Names, roles, levels and sums decide what checkpoints hold, what codes mean and what the trainer says of itself. The offsets of single
 * tensors are not compared: any place will do that V3, V4 and V8's regions allow. What was asked for beside the model (device, seed,
 * level, scheme) is compared with the command's options. */
#include "verify.h"

#include "../passes/passes.h"
#include "program_identity.h"

#include <string.h>

static bool
same_name(const char *emitted, const char *wanted)
{
  return !strcmp(emitted, wanted ? wanted : "");
}

/* In the program's order; inputs that no call reads may be missing. */
static bool
check_inputs(Emitted *emitted)
{
  const Program *program = emitted->program;
  uint32_t next = 0;
  for (uint32_t i = 0; i < emitted->input_count; i++, next++) {
    const EmittedInput *input = &emitted->input[i];
    while (next < program->input_count && !same_name(input->name, value_at(program, program->inputs[next])->name)) next++;
    if (next == program->input_count) return refuse(emitted, input->position, "the program has no such input here");
    ValueId value = program->inputs[next];
    if (!stands_for(emitted, input->tensor, value, input->position)) return false;
    if ((emitted->model.label == i) != (program->label == value))
      return refuse(emitted, input->position, "this input is taken for the labels and is not, or the other way round");
  }
  return true;
}

/* A variable that no call reads is known by its name alone. */
static ValueId
find_variable(const Emitted *emitted, const EmittedVariable *variable)
{
  const Program *program = emitted->program;
  if (emitted->value_of[variable->tensor] != NO_VALUE) return emitted->value_of[variable->tensor];
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    bool persists = value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE || value->kind == VALUE_CONSTANT;
    if (persists && value->name && !strcmp(value->name, variable->name)) return id;
  }
  return NO_VALUE;
}

/* Statistics have first values or are replaced in forward; the optimizer's state starts at zero and is replaced by updates. */
static const bool *
find_statistics(const Emitted *emitted)
{
  const Program *program = emitted->program;
  bool *is_statistic = arena_array(emitted->arena, program->value_count + 1u, sizeof *is_statistic);
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (value->data || value->drawn_from != NO_VALUE) is_statistic[id] = true;
    bool replaces_in_forward = value->updates != NO_VALUE && value->producer != NO_NODE
                            && node_at(program, value->producer)->phase == PHASE_FORWARD;
    if (replaces_in_forward) is_statistic[value->updates] = true;
  }
  return is_statistic;
}

static bool
role_fits(const Value *value, bool is_statistic, actnn_variable_role role)
{
  switch (value->kind) {
  case VALUE_PARAMETER: return role == (value->is_frozen ? ACTNN_FROZEN : ACTNN_PARAMETER);
  case VALUE_STATE: return role == (is_statistic ? ACTNN_RUNNING : ACTNN_OPTIMIZER);
  case VALUE_CONSTANT: return role == ACTNN_FIXED;
  default: return false;
  }
}

static bool
check_variables(Emitted *emitted)
{
  const bool *is_statistic = find_statistics(emitted);
  for (uint32_t i = 0; i < emitted->variable_count; i++) {
    const EmittedVariable *variable = &emitted->variable[i];
    ValueId id = find_variable(emitted, variable);
    if (id == NO_VALUE) return refuse(emitted, variable->position, "the program has no variable '%.60s'", variable->name);
    if (!stands_for(emitted, variable->tensor, id, variable->position)) return false;
    const Value *value = value_at(emitted->program, id);
    bool has_own_name = !value->name && value->kind == VALUE_CONSTANT;
    if (!has_own_name && !same_name(variable->name, value->name))
      return refuse(emitted, variable->position, "v%u is '%.60s' in the program", variable->tensor, value->name ? value->name : "");
    if (!role_fits(value, is_statistic[id], variable->role) || variable->drawn != (value->drawn_from != NO_VALUE))
      return refuse(emitted, variable->position, "v%u has another role or another origin in the program", variable->tensor);
  }
  return true;
}

/* What reads a tensor in backward, measurements aside: NONE, the one call, or MANY. */
static const uint32_t MANY = NONE - 1;

static uint32_t *
find_only_readers(const Emitted *emitted)
{
  uint32_t *only = arena_array(emitted->arena, emitted->tensor_count + 1u, sizeof *only);
  for (uint32_t i = 0; i < emitted->tensor_count; i++) only[i] = NONE;
  for (uint32_t i = emitted->first_call[BACKWARD]; i < emitted->first_call[BACKWARD + 1]; i++) {
    const EmittedCall *call = &emitted->call[i];
    for (uint32_t k = 0; k < call->input_count && !kernel_is(call, "MeasureSensitivity"); k++)
      if (call->input[k] != NONE && only[call->input[k]] != i) only[call->input[k]] = only[call->input[k]] == NONE ? i : MANY;
  }
  return only;
}

/* The one call that reads what a call writes first; NULL. */
static const EmittedCall *
read_by_one(const Emitted *emitted, const uint32_t *only, const EmittedCall *call)
{
  uint32_t result = call_result(call, 0), reader = result == NONE ? NONE : only[result];
  return reader < emitted->call_count ? &emitted->call[reader] : NULL;
}

/* The parameter whose update alone reads the gradient that this call makes, through a sum over broadcast axes; NONE. */
static uint32_t
parameter_of(const Emitted *emitted, const uint32_t *only, const EmittedCall *gradient)
{
  const EmittedCall *reader = read_by_one(emitted, only, gradient);
  if (reader && kernel_is(reader, "SumTo")) {
    gradient = reader;
    reader = read_by_one(emitted, only, gradient);
  }
  bool is_update = reader && (reader->kernel->flags & UPDATE) != 0;
  return is_update && call_operand(reader, 1) == gradient->output[0] ? call_operand(reader, 0) : NONE;
}

/* By save: the parameter whose gradient alone reads its codes; NONE where there are several, or none. */
static uint32_t *
find_save_parameters(const Emitted *emitted)
{
  const uint32_t *only = find_only_readers(emitted);
  uint32_t *parameter = arena_array(emitted->arena, emitted->save_count + 1u, sizeof *parameter);
  for (uint32_t i = 0; i < emitted->save_count; i++) parameter[i] = NONE;
  for (uint32_t i = emitted->first_call[BACKWARD]; i < emitted->first_call[BACKWARD + 1]; i++) {
    const EmittedCall *product = restores_value(&emitted->call[i]) ? read_by_one(emitted, only, &emitted->call[i]) : NULL;
    if (!product || !makes_weight_gradient(emitted, product)) continue;
    uint32_t *one = &parameter[emitted->call[i].attribute[0].i], found = parameter_of(emitted, only, product);
    *one = *one == NONE && found != NONE ? found : MANY;
  }
  for (uint32_t i = 0; i < emitted->save_count; i++)
    if (parameter[i] == MANY) parameter[i] = NONE;
  return parameter;
}

static bool
check_save_entry(Emitted *emitted, uint32_t index, uint32_t parameter)
{
  const Program *program = emitted->program;
  const EmittedSave *given = &emitted->save[index];
  const Save *save = &program->saves->save[index];
  const Node *writer = node_at(program, value_at(program, save->stash)->producer);
  const Value *value = save->value == NO_VALUE ? NULL : value_at(program, save->value);
  const char *name = !value ? writer->name : value->name ? value->name : node_at(program, value->producer)->name;
  ValueId scale = save->spacing == ACTNN_NORMAL_LEVELS ? operand_id(writer, 3) : NO_VALUE;
  if (!stands_for(emitted, given->tensor, save->stash, given->position)) return false;
  bool is_same = given->spacing == save->spacing && given->dithers == save->dither && given->low == save->low
              && given->high == save->high && given->choices == save->choices && given->weight == save->weight
              && given->adaptation == save->adaptation && emitted->tensor[given->tensor].at.bytes == save->bytes
              && same_name(given->name, name);
  if (!is_same) return refuse(emitted, given->position, "save %u has other levels, another weight or other bytes in the plan", index);
  if (given->scale != (scale == NO_VALUE ? NONE : emitted->tensor_of[scale]))
    return refuse(emitted, given->position, "save %u names another scale than its normalization has", index);
  return given->parameter == parameter
      || refuse(emitted, given->position, "save %u names another parameter than the one whose gradient alone reads it", index);
}

static bool
check_save_table(Emitted *emitted)
{
  if (emitted->save_count != emitted->program->saves->count)
    return refuse(emitted, emitted->source_length, "%u saves, the plan has %u", emitted->save_count, emitted->program->saves->count);
  const uint32_t *parameter = find_save_parameters(emitted);
  for (uint32_t i = 0; i < emitted->save_count; i++)
    if (!check_save_entry(emitted, i, parameter[i])) return false;
  return true;
}

static bool
check_named_tensors(Emitted *emitted)
{
  const Program *program = emitted->program;
  const actnn_model *model = &emitted->model;
  const struct {
    uint32_t tensor;
    ValueId value;
    const char *what;
  } named[] = {{model->loss, program->loss, "loss"},
               {model->evaluation_loss, program->evaluation_loss, "loss in evaluation"},
               {model->evaluation_output, program->evaluation_output, "prediction in evaluation"},
               {model->evaluation_losses, program->evaluation_losses, "list of losses in evaluation"},
               {model->learning_rate, program->learning_rate, "learning rate"},
               {model->step_number, program->step_number, "step number"},
               {model->training_output, program->prediction, "prediction in training"}};
  for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
    bool is_known = named[i].value != NO_VALUE;
    if (named[i].tensor == NONE ? is_known && emitted->tensor_of[named[i].value] != NONE : !is_known)
      return refuse(emitted, emitted->source_length, "the model has a %s, the program has not, or the other way round", named[i].what);
    if (named[i].tensor != NONE && !stands_for(emitted, named[i].tensor, named[i].value, emitted->source_length)) return false;
  }
  return true;
}

/* Samples a step: the first extent of the first input that has any. */
static int64_t
samples_of(const Program *program)
{
  for (uint32_t i = 0; i < program->input_count; i++) {
    const Shape *shape = &value_at(program, program->inputs[i])->shape;
    if (shape->rank > 0) return shape->dim[0];
  }
  return 1;
}

static bool
check_numbers(Emitted *emitted)
{
  const Program *program = emitted->program;
  const actnn_model *model = &emitted->model;
  const Plan *plan = program->plan;
  const struct {
    uint64_t given, planned;
    const char *what;
  } numbers[] = {{model->arena_bytes, plan->arena_bytes, "bytes in all"},
                 {model->variable_bytes, plan->variable_bytes, "bytes of variables"},
                 {model->stash_offset, plan->stash_offset, "bytes before the pool"},
                 {model->stash_bytes, plan->stash_bytes, "bytes of codes"},
                 {model->exact_bytes, plan->exact_bytes, "bytes saved as they are"},
                 {model->window_bytes, plan->window_bytes, "bytes of the pool's window"},
                 {model->workspace_offset, plan->workspace_offset, "bytes before the workspace"},
                 {model->workspace_bytes, plan->workspace_bytes, "bytes of workspace"},
                 {model->saved_bytes, plan->saved_bytes, "bytes saved"},
                 {model->saved_bytes_fp32, plan->saved_bytes_fp32, "bytes that FP32 would save"},
                 {(uint64_t)model->batch, (uint64_t)samples_of(program), "samples a step"},
                 {(uint64_t)model->loss_kind, (uint64_t)program->loss_kind, "for its kind of loss"},
                 {model->onnx_bytes, program->inference_model_bytes, "bytes of the model to export"},
                 {model->model_hash, program_identity(program), "for what its checkpoints belong to"},
                 {model->seed, emitted->options->seed, "for its seed"},
                 {(uint64_t)model->level, (uint64_t)emitted->options->level, "for its level"},
                 {emitted->is_for_gpu, emitted->options->is_for_gpu, "GPUs"}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (numbers[i].given != numbers[i].planned)
      return refuse(emitted, emitted->source_length, "the model has %llu %s, the plan %llu", (unsigned long long)numbers[i].given,
                    numbers[i].what, (unsigned long long)numbers[i].planned);
  if (model->default_learning_rate != program->default_learning_rate)
    return refuse(emitted, emitted->source_length, "the learning rate is %g, the program's is %g", model->default_learning_rate,
                  program->default_learning_rate);
  if (!same_name(model->scheme, emitted->options->scheme))
    return refuse(emitted, emitted->source_length, "the scheme is '%.60s', asked for was %s", model->scheme, emitted->options->scheme);
  bool is_same = !model->onnx_bytes || !memcmp(model->onnx, program->inference_model, model->onnx_bytes);
  return is_same || refuse(emitted, emitted->source_length, "the model to export is not the program's");
}

bool
check_tables(Emitted *emitted)
{
  emitted->rule = "V8";
  if (!check_inputs(emitted) || !check_variables(emitted) || !check_save_table(emitted) || !check_named_tensors(emitted)
      || !check_numbers(emitted))
    return false;
  emitted->rule = "V7";
  return true;
}
