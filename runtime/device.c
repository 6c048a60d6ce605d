/* device.c: see device.h. Kernels that the device does not have, run on the processor between fetching and sending. */
#include "device.h"
#include "bfloat.h"
#include "offload.h"
#include "profile.h"
#include "saves.h"
#include "trainer.h"
#include "winners.h"

#include "../src/operators/evaluation.h"

#include <stdlib.h>
#include <string.h>

/* Where in the arena a view's bytes are: a coded save's codes lie in the pool, at a place of their own each step. */
static void
place_of(const actnn *trainer, const actnn_view *view, uint64_t *offset, uint64_t *bytes)
{
  const actnn_tensor *tensor = &trainer->model->tensor[view->id];
  *offset = tensor->offset;
  *bytes = tensor->bytes;
  if (view->layout != ACTNN_STASH)
    return;
  saves_place_of(trainer, view->id, offset, bytes);
  *offset += offload_exact_place(trainer, view->id);
}

static int
move_views(actnn *trainer, const actnn_view *view, size_t count, bool to_device)
{
  for (size_t i = 0; i < count; i++) {
    uint64_t offset, bytes;
    if (view[i].id == NONE)
      continue;
    place_of(trainer, &view[i], &offset, &bytes);
    if (to_device ? device_send(trainer, offset, bytes) : device_fetch(trainer, offset, bytes))
      return 1;
  }
  return 0;
}

/* ---- images ------------------------------------------------------------------------------------------ */

static uint64_t
image_bytes(const actnn_view *view)
{
  uint64_t bytes = element_bytes(view->type);
  for (int axis = 0; axis < view->rank; axis++)
    bytes *= (uint64_t)view->dim[axis];
  return bytes;
}

/* [samples, rows, columns] to [samples, columns, rows]. */
static void
swap_axes(unsigned char *to, const unsigned char *from, size_t samples, size_t rows, size_t columns, size_t size)
{
  for (size_t n = 0; n < samples; n++)
    for (size_t row = 0; row < rows; row++)
      for (size_t column = 0; column < columns; column++)
        memcpy(to + ((n * columns + column) * rows + row) * size, from + ((n * rows + row) * columns + column) * size, size);
}

/* Images lie with their channels last on a device, which the processor's kernels do not know: for them they are brought into ONNX's
 * order, and what they write into the device's. */
static void
reorder_images(actnn *trainer, const actnn_view *view, size_t count, bool to_device)
{
  for (size_t i = 0; i < count && trainer->channel_block == ACTNN_CHANNELS_LAST; i++) {
    if (view[i].id == NONE || view[i].layout != ACTNN_BLOCKED || !image_bytes(&view[i]))
      continue;
    size_t size = element_bytes(view[i].type), samples = (size_t)view[i].dim[0], channels = (size_t)view[i].dim[1];
    size_t positions = (size_t)image_bytes(&view[i]) / size / samples / channels;
    swap_axes(trainer->image, view[i].data, samples, to_device ? channels : positions, to_device ? positions : channels, size);
    memcpy(view[i].data, trainer->image, (size_t)image_bytes(&view[i]));
  }
}

static void
note_images(actnn *trainer, const actnn_view *view, size_t count)
{
  for (size_t i = 0; i < count; i++)
    if (view[i].id != NONE && view[i].layout == ACTNN_BLOCKED && image_bytes(&view[i]) > trainer->image_bytes)
      trainer->image_bytes = image_bytes(&view[i]);
}

/* ---- kernels of the processor ------------------------------------------------------------------------ */

/* With images as they are in ONNX. */
static int
run_plain(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  int block = trainer->channel_block;
  trainer->channel_block = block == ACTNN_CHANNELS_LAST ? 1 : block;
  int failed = bfloat_run(kernel, call);
  trainer->channel_block = block;
  return failed;
}

/* Lists an operator that the device has no kernel for, once. */
static void
note_operator(actnn *trainer, actnn_kernel *kernel)
{
  const char *name = kernel_name(kernel);
  size_t used = strlen(trainer->on_processor), length = strlen(name);
  for (const char *at = trainer->on_processor; (at = strstr(at, name)); at += length)
    if ((at == trainer->on_processor || at[-1] == ' ') && (at[length] == ',' || !at[length]))
      return;
  if (used + length + 3 < sizeof trainer->on_processor)
    snprintf(trainer->on_processor + used, sizeof trainer->on_processor - used, "%s%s", used ? ", " : "", name);
}

/* While a kernel prepares itself for the processor, what it asks for is scratch of the processor. */
static int
prepare_on_processor(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  uint64_t wanted = trainer->workspace_wanted;
  trainer->workspace_wanted = trainer->scratch_bytes;
  note_operator(trainer, kernel);
  note_images(trainer, call->input, call->input_count);
  note_images(trainer, call->output, call->output_count);
  int failed = run_plain(trainer, kernel, call);
  trainer->scratch_bytes = trainer->workspace_wanted;
  trainer->workspace_wanted = wanted;
  return failed;
}

static int
run_on_processor(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  unsigned char *workspace = trainer->workspace;
  uint64_t bytes = trainer->workspace_bytes;
  if (move_views(trainer, call->input, call->input_count, false))
    return 1;
  trainer->workspace = trainer->scratch;
  trainer->workspace_bytes = trainer->scratch_bytes;
  reorder_images(trainer, call->input, call->input_count, false);
  int failed = run_plain(trainer, kernel, call);
  reorder_images(trainer, call->output, call->output_count, true);
  trainer->workspace = workspace;
  trainer->workspace_bytes = bytes;
  return failed || move_views(trainer, call->output, call->output_count, true);
}

/* The same operands, where the device has them. */
static void
translate(const actnn *trainer, const actnn_view *from, size_t count, actnn_view *to)
{
  for (size_t i = 0; i < count; i++) {
    to[i] = from[i];
    if (from[i].id != NONE)
      to[i].data = trainer->device_arena + trainer->model->tensor[from[i].id].offset;
  }
}

static int
run_there(actnn *trainer, actnn_kernel *kernel, actnn_kernel *of_device, const actnn_call *call)
{
  actnn_view output[ACTNN_MAX_OPERANDS], input[ACTNN_MAX_OPERANDS];
  actnn_call there = *call;
  translate(trainer, call->output, call->output_count, output);
  translate(trainer, call->input, call->input_count, input);
  there.output = output;
  there.input = input;
  if (bfloat_is_in(call) && !bfloat_is_taken_by(kernel, call, true))
    return bfloat_widen(kernel, of_device, &there, trainer->device->convert);
  return of_device(&there);
}

static int
run_somewhere(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  actnn_kernel *there = trainer->device->kernel(kernel);
  int failed = there ? run_there(trainer, kernel, there, call) : DEVICE_DECLINES;
  if (failed != DEVICE_DECLINES)
    return failed;
  return trainer->preparing ? prepare_on_processor(trainer, kernel, call) : run_on_processor(trainer, kernel, call);
}

int
device_run(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  trainer->device_calls++;
  if (trainer->preparing)
    return offload_note(trainer, kernel, call) || run_somewhere(trainer, kernel, call);
  return offload_before(trainer, kernel, call) || run_somewhere(trainer, kernel, call) || offload_after(trainer, kernel, call);
}

int
device_reserve_scratch(actnn *trainer)
{
  if (trainer->on_processor[0] && !trainer->quiet)
    fprintf(stderr, "%s: for want of a kernel on the GPU these run on the processor, their operands fetched, their results sent: %s\n",
            trainer->model->name, trainer->on_processor);
  size_t bytes = (size_t)(trainer->scratch_bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  trainer->scratch = aligned_alloc(ACTNN_ALIGNMENT, bytes ? bytes : ACTNN_ALIGNMENT);
  trainer->image = malloc((size_t)trainer->image_bytes + 1);
  int64_t positions = prediction_positions(trainer->model, trainer->model->training_output);
  if (positions)
    trainer->winner = calloc((size_t)positions, sizeof *trainer->winner);
  return trainer->scratch && trainer->image && (trainer->winner || !positions)
             ? trainer->device->prepared(trainer)
             : actnn_fail(trainer, "%s: no memory for the %zu bytes of scratch of kernels that run on the processor", trainer->model->name, bytes);
}

int
device_send_ahead(actnn *trainer)
{
  return trainer->device && trainer->device->send_ahead(trainer);
}

int
device_send_inputs(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  if (trainer->device && trainer->is_ahead && trainer->device->take_ahead(trainer))
    return 1;
  for (uint32_t i = 0; trainer->device && !trainer->is_ahead && i < model->input_count; i++) {
    const actnn_tensor *tensor = &model->tensor[model->input[i].tensor];
    if (trainer->device->send_soon(trainer, tensor->offset, tensor->bytes))
      return 1;
  }
  const uint32_t scalar[] = {model->learning_rate, model->step_number};
  for (size_t i = 0; trainer->device && i < sizeof scalar / sizeof *scalar; i++)
    if (scalar[i] != NONE && trainer->device->send_soon(trainer, model->tensor[scalar[i]].offset, model->tensor[scalar[i]].bytes))
      return 1;
  return trainer->device && trainer->device->send_keys(trainer);
}

static int
forward_calls(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  offload_begin(trainer);
  if (model->forward(trainer))
    return 1;
  if (model->loss != NONE && trainer->device->fetch_later(trainer, model->tensor[model->loss].offset, model->tensor[model->loss].bytes))
    return 1;
  return trainer->winner && trainer->device->find_winners(trainer);
}

/* Nobody looks at what single calls make, none of them runs here, and the levels of all values are what they were. */
static bool
may_be_whole(const actnn *trainer)
{
  return !trainer->observer && !trainer->profile && !trainer->on_processor[0] && saves_are_steady(trainer);
}

static int
backward_calls(actnn *trainer)
{
  return trainer->model->backward(trainer) || offload_end(trainer);
}

int
device_forward(actnn *trainer)
{
  int begun = may_be_whole(trainer) ? trainer->device->begin_calls(trainer, saves_version(trainer)) : 0;
  trainer->calls_are_known = begun == DEVICE_KNOWS_CALLS;
  if (trainer->calls_are_known || !forward_calls(trainer))
    return 0;
  return trainer->device->drop_calls(trainer) != DEVICE_DECLINES || forward_calls(trainer);
}

int
device_backward(actnn *trainer)
{
  bool has_failed = !trainer->calls_are_known && backward_calls(trainer);
  int ended = has_failed ? trainer->device->drop_calls(trainer) : trainer->device->end_calls(trainer);
  trainer->calls_are_known = false;
  return ended == DEVICE_DECLINES ? forward_calls(trainer) || backward_calls(trainer) : ended;
}
