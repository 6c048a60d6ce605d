/* trainer.c: the trainer as a library: one arena, kernels run on views into it, one step at a time.
 *
 * Everything is reserved when the trainer is made. A step allocates nothing. The model's tables are checked
 * once, at the start, so that `actnn_run` needs no more than a look at each number.
 */
#include "trainer.h"
#include "bfloat.h"
#include "device.h"
#include "finite.h"
#include "library.h"
#include "offload.h"
#include "profile.h"
#include "saves.h"
#include "text_buffer.h"

#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int
actnn_fail(actnn *trainer, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  if (trainer) {
    vsnprintf(trainer->error, sizeof trainer->error, format, arguments);
    text_make_printable(trainer->error);
  } else {
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
  }
  va_end(arguments);
  return 1;
}

const char *
actnn_error(const actnn *trainer)
{
  return trainer->error;
}

int
trainer_machine_channel_block(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f"))
    return 16;
  if (__builtin_cpu_supports("avx2"))
    return 8;
#endif
  return 1;
}

static int
reserve_arena(actnn *trainer, uint64_t bytes)
{
  if (bytes > SIZE_MAX / 2)
    return actnn_fail(trainer, "%s: needs %llu bytes, more than this machine can address", trainer->model->name,
                      (unsigned long long)bytes);
  size_t length = bytes ? (size_t)bytes : ACTNN_ALIGNMENT;
  int sharing = MAP_PRIVATE | MAP_ANONYMOUS | (trainer->device ? MAP_NORESERVE : 0);
  void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, sharing, -1, 0);
  if (memory == MAP_FAILED)
    return actnn_fail(trainer,
                      "%s: cannot reserve %.1f MiB of memory; compile for a smaller --batch or --memory-budget",
                      trainer->model->name, (double)bytes / 1048576);
  if (trainer->arena)
    munmap(trainer->arena, trainer->arena_bytes ? (size_t)trainer->arena_bytes : ACTNN_ALIGNMENT);
  /* One large arena, walked end to end each step: large pages halve the misses of the address cache. A mirror is used in places. */
  if (!trainer->device)
    madvise(memory, length, MADV_HUGEPAGE);
  trainer->arena = memory;
  trainer->arena_bytes = bytes;
  return trainer->device && trainer->device->reserve(trainer, bytes);
}

/* Where kernels find their scratch: in the arena, wherever that is. */
static void
place_workspace(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  trainer->workspace = (trainer->device ? trainer->device_arena : trainer->arena) + offset;
  trainer->workspace_bytes = bytes;
}

static void
use_threads(const actnn *trainer)
{
  omp_set_num_threads(trainer->threads); /* holds for the calling thread only, so it is said at every entry */
}

/* Runs all phases once without computing, so that primitives are made and the scratch they want is known; then
 * makes room for it. Nothing is in the arena yet, so it may move. */
static int
prepare(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  actnn_function *const phase[] = {model->forward, model->backward, model->evaluate};
  int failed = 0;
  trainer->preparing = true;
  for (size_t index = 0; index < 3 && !failed; index++)
    failed = phase[index] && phase[index](trainer);
  trainer->preparing = false;
  if (failed)
    return 1;
  if (trainer->lacks_memory)
    return actnn_fail(trainer, "%s: no memory for the library's primitives", model->name);
  if (trainer->workspace_wanted > model->workspace_bytes) {
    bool at_end = model->workspace_offset + model->workspace_bytes == model->arena_bytes;
    uint64_t start = at_end ? model->workspace_offset : model->arena_bytes;
    uint64_t wanted = trainer->workspace_wanted;
    if (wanted > UINT64_MAX / 4)
      return actnn_fail(trainer, "%s: a primitive asks for an absurd scratch area", model->name);
    start = (start + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
    wanted = (wanted + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
    if (!trainer->quiet)
      fprintf(stderr,
              "%s: the library on this machine wants %llu bytes of scratch, %llu more than planned; the arena "
              "grows to %llu bytes\n",
              model->name, (unsigned long long)wanted, (unsigned long long)(wanted - model->workspace_bytes),
              (unsigned long long)(start + wanted));
    if (reserve_arena(trainer, start + wanted))
      return 1;
    place_workspace(trainer, start, wanted);
  }
  return trainer->device && device_reserve_scratch(trainer);
}

static int
start(actnn *trainer, const trainer_options *options)
{
  const actnn_model *model = trainer->model;
  if (options->threads < 0 || options->threads > 4096)
    return actnn_fail(trainer, "%d threads make no sense; give 1 to 4096, or 0 for all cores",
                      options->threads);
  trainer->threads = options->threads ? options->threads : omp_get_max_threads();
  int liked = model->device ? ACTNN_CHANNELS_LAST : trainer_machine_channel_block();
  trainer->channel_block = options->channel_block ? options->channel_block : liked;
  bool is_in_blocks = !model->device && (trainer->channel_block == 8 || trainer->channel_block == 16);
  if (trainer->channel_block != 1 && trainer->channel_block != liked && !is_in_blocks)
    return actnn_fail(trainer, "a channel block is 1, 8 or 16, not %d", trainer->channel_block);
  trainer->seed = options->seed;
  trainer->quiet = options->quiet;
  trainer->tensor_float = options->tensor_float;
  trainer->may_vary = options->may_vary;
  use_threads(trainer);
  trainer->device = model->device;
  if (trainer_check_model(trainer) || (trainer->device && trainer->device->open(trainer)) || reserve_arena(trainer, model->arena_bytes))
    return 1;
  place_workspace(trainer, model->workspace_offset, model->workspace_bytes);
  if (options->profile && !(trainer->profile = profile_create()))
    return actnn_fail(trainer, "out of memory");
  if ((options->skips && finite_reserve(trainer)) || saves_create(trainer) || offload_create(trainer) || prepare(trainer))
    return 1;
  return model->initialize ? model->initialize(trainer) : 0;
}

actnn *
trainer_create(const actnn_model *model, const trainer_options *options, char *error, size_t error_bytes)
{
  actnn *trainer = calloc(1, sizeof *trainer);
  if (!trainer) {
    if (error && error_bytes)
      snprintf(error, error_bytes, "out of memory");
    return NULL;
  }
  trainer->model = model;
  if (start(trainer, options)) {
    if (error && error_bytes)
      snprintf(error, error_bytes, "%s", trainer->error);
    actnn_destroy(trainer);
    return NULL;
  }
  return trainer;
}

actnn *
actnn_create(const actnn_model *model, int threads, uint64_t seed, char *error, size_t error_bytes)
{
  trainer_options options = {.threads = threads, .seed = seed};
  return trainer_create(model, &options, error, error_bytes);
}

void
actnn_destroy(actnn *trainer)
{
  if (!trainer)
    return;
  library_destroy(trainer);
  saves_destroy(trainer);
  offload_destroy(trainer);
  profile_destroy(trainer->profile);
  finite_release(trainer);
  if (trainer->device)
    trainer->device->close(trainer);
  free(trainer->scratch);
  free(trainer->image);
  free(trainer->winner);
  if (trainer->arena)
    munmap(trainer->arena, trainer->arena_bytes ? (size_t)trainer->arena_bytes : ACTNN_ALIGNMENT);
  free(trainer);
}

/* Inputs are what the processor says. */
static bool
is_input(const actnn_model *model, uint32_t tensor)
{
  for (uint32_t i = 0; i < model->input_count; i++)
    if (model->input[i].tensor == tensor)
      return true;
  return false;
}

void *
actnn_data(actnn *trainer, uint32_t tensor)
{
  const actnn_model *model = trainer->model;
  if (tensor >= model->tensor_count)
    return NULL;
  const actnn_tensor *place = &model->tensor[tensor];
  if (trainer->device && !is_input(model, tensor) && device_fetch(trainer, place->offset, place->bytes))
    return NULL;
  return trainer->arena + place->offset;
}

int
actnn_put(actnn *trainer, uint32_t tensor)
{
  const actnn_model *model = trainer->model;
  if (tensor >= model->tensor_count)
    return actnn_fail(trainer, "%s: there is no tensor %u", model->name, tensor);
  return device_send(trainer, model->tensor[tensor].offset, model->tensor[tensor].bytes);
}

void
actnn_observe_gradients(actnn *trainer, actnn_gradient_observer *observer, void *context)
{
  trainer->observer = observer;
  trainer->observer_context = context;
}

/* ---- calls -------------------------------------------------------------------------------------- */

/* Which operand of an update holds the squares by whose roots it divides a gradient's elements; 0: it does not. */
static size_t
second_moment(actnn_kernel *kernel)
{
  if (kernel == actnn_Adam || kernel == actnn_AdamW || kernel == actnn_OnnxAdam)
    return 3;
  return kernel == actnn_OnnxAdagrad ? 2 : 0;
}

bool
actnn_is_update(actnn_kernel *kernel)
{
  return kernel == actnn_Sgd || kernel == actnn_OnnxMomentum || second_moment(kernel);
}

static int
resolve(actnn *trainer, actnn_list list, actnn_view *view)
{
  const actnn_model *model = trainer->model;
  if (list.count > ACTNN_MAX_OPERANDS)
    return actnn_fail(trainer, "%s: a call with %zu operands, more than %d", model->name, list.count,
                      (int)ACTNN_MAX_OPERANDS);
  for (size_t index = 0; index < list.count; index++) {
    uint32_t id = list.id[index];
    if (id == NONE) {
      view[index] = (actnn_view){.id = NONE};
      continue;
    }
    if (id >= model->tensor_count)
      return actnn_fail(trainer, "%s: a call names tensor %u, which the model does not have", model->name, id);
    const actnn_tensor *tensor = &model->tensor[id];
    view[index] = (actnn_view){.data = trainer->arena + tensor->offset,
                               .type = (actnn_type)tensor->type,
                               .layout = (actnn_layout)tensor->layout,
                               .rank = tensor->rank,
                               .dim = tensor->dim,
                               .bytes = tensor->bytes,
                               .id = id};
  }
  return 0;
}

/* Hands a finished gradient to the observer instead of letting it change the variable. */
static int
observe(actnn *trainer, const actnn_call *call)
{
  if (call->input_count < 2 || call->input[0].id == NONE || call->input[1].id == NONE ||
      call->input[1].type != ACTNN_F32 || call->input[1].layout != ACTNN_PLAIN)
    return actnn_fail(trainer, "%s: an update without a plain float32 gradient cannot be observed",
                      trainer->model->name);
  size_t count = trainer_elements(&trainer->model->tensor[call->input[1].id]);
  trainer->observer(trainer->observer_context, call->input[0].id, call->input[1].data, count);
  return 0;
}

/* Brings what is looked at of an update: the gradient, and what it is divided by. */
static int
fetch_gradient(actnn *trainer, const actnn_call *call, actnn_kernel *kernel)
{
  const size_t looked_at[] = {1, second_moment(kernel)};
  for (size_t i = 0; i < sizeof looked_at / sizeof *looked_at; i++)
    if (looked_at[i] && looked_at[i] < call->input_count && call->input[looked_at[i]].id != NONE &&
        !actnn_data(trainer, call->input[looked_at[i]].id))
      return 1;
  return 0;
}

static int
run_kernel(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  if (trainer->device)
    return device_run(trainer, kernel, call);
  return bfloat_run(kernel, call);
}

int
actnn_run(actnn *trainer, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with)
{
  actnn_view output[ACTNN_MAX_OPERANDS], input[ACTNN_MAX_OPERANDS];
  if (resolve(trainer, out, output) || resolve(trainer, in, input))
    return 1;
  const actnn_call call = {trainer, out.count, in.count, with.count, output, input, with.attribute};
  if (!trainer->preparing && actnn_is_update(kernel)) {
    if (trainer->device && (trainer->observer || saves_notes_gradients(trainer)) && fetch_gradient(trainer, &call, kernel))
      return 1;
    saves_note_gradient(trainer, &call, second_moment(kernel));
    if (trainer->observer)
      return observe(trainer, &call);
  }
  if (!trainer->profile || trainer->preparing)
    return run_kernel(trainer, kernel, &call);
  double began = profile_now();
  int failed = run_kernel(trainer, kernel, &call);
  profile_add(trainer->profile, kernel, &call, profile_now() - began);
  return failed;
}

/* ---- steps -------------------------------------------------------------------------------------- */

static int
read_scalar(actnn *trainer, uint32_t tensor, const void *data, double *value)
{
  if (tensor == NONE)
    return actnn_fail(trainer, "%s: the model has no loss", trainer->model->name);
  if (!data)
    return 1; /* the device has said why */
  switch (trainer->model->tensor[tensor].type) {
  case ACTNN_F32: *value = *(const float *)data; return 0;
  case ACTNN_F64: *value = *(const double *)data; return 0;
  default: return actnn_fail(trainer, "%s: the loss is not a float32 or float64 scalar", trainer->model->name);
  }
}

int
trainer_forward(actnn *trainer, double learning_rate)
{
  const actnn_model *model = trainer->model;
  use_threads(trainer);
  if (!model->forward || !model->backward)
    return actnn_fail(trainer, "%s: the model has no training step; give --loss to actnnc", model->name);
  if (model->learning_rate != NONE)
    *(float *)(void *)(trainer->arena + model->tensor[model->learning_rate].offset) = (float)learning_rate;
  if (model->step_number != NONE)
    *(int64_t *)(void *)(trainer->arena + model->tensor[model->step_number].offset) = (int64_t)trainer->step;
  if (device_send_inputs(trainer) || finite_keep(trainer) || saves_begin_step(trainer))
    return 1;
  if (trainer->device)
    return device_forward(trainer);
  if (model->forward(trainer))
    return 1;
  return read_scalar(trainer, model->loss, actnn_data(trainer, model->loss), &trainer->loss) || finite_check_forward(trainer, trainer->loss);
}

/* What a device has made of the step: only now does anybody wait for it. */
static int
hear_device(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  uint32_t not_finite = NONE;
  if (trainer->device->finish(trainer, &not_finite))
    return 1;
  const void *loss = model->loss != NONE ? trainer->arena + model->tensor[model->loss].offset : NULL;
  return read_scalar(trainer, model->loss, loss, &trainer->loss) || finite_check_device(trainer, trainer->loss, not_finite);
}

static int
backward_on_device(actnn *trainer)
{
  if (device_backward(trainer))
    return 1;
  if (trainer->meanwhile)
    trainer->meanwhile(trainer->meanwhile_context);
  return hear_device(trainer);
}

int
trainer_backward(actnn *trainer)
{
  if (trainer->device ? backward_on_device(trainer) : trainer->model->backward(trainer))
    return 1;
  if (!trainer->observer)
    trainer->step++;
  return 0;
}

bool
trainer_skips(actnn *trainer)
{
  return finite_undo(trainer);
}

int
actnn_step(actnn *trainer, double learning_rate, double *loss)
{
  if (trainer_forward(trainer, learning_rate) || trainer_backward(trainer))
    return 1;
  if (loss)
    *loss = trainer->loss;
  return 0;
}

int
actnn_evaluate_batch(actnn *trainer, double *loss)
{
  const actnn_model *model = trainer->model;
  double ignored;
  use_threads(trainer);
  if (!model->evaluate)
    return actnn_fail(trainer, "%s: the model has no evaluation", model->name);
  if (device_send_inputs(trainer) || model->evaluate(trainer))
    return 1;
  if (model->evaluation_loss == NONE) {
    if (loss)
      *loss = NAN;
    return 0;
  }
  return read_scalar(trainer, model->evaluation_loss, actnn_data(trainer, model->evaluation_loss), loss ? loss : &ignored);
}
