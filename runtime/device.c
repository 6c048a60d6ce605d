/* device.c: see device.h. Kernels that the device does not have, run on the processor between fetching and sending. */
#include "device.h"
#include "saves.h"
#include "trainer.h"

#include <stdlib.h>
#include <string.h>

/* Where in the arena a view's bytes are: a coded save's codes lie in the pool, at a place of their own each step. */
static void
place_of(const actnn *trainer, const actnn_view *view, uint64_t *offset, uint64_t *bytes)
{
  const actnn_tensor *tensor = &trainer->model->tensor[view->id];
  *offset = tensor->offset;
  *bytes = tensor->bytes;
  if (view->layout == ACTNN_STASH)
    saves_place_of(trainer, view->id, offset, bytes);
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

/* While a kernel prepares itself for the processor, what it asks for is scratch of the processor. */
static int
prepare_on_processor(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  uint64_t wanted = trainer->workspace_wanted;
  trainer->workspace_wanted = trainer->scratch_bytes;
  int failed = kernel(call);
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
  int failed = kernel(call);
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
run_there(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  actnn_view output[ACTNN_MAX_OPERANDS], input[ACTNN_MAX_OPERANDS];
  actnn_call there = *call;
  translate(trainer, call->output, call->output_count, output);
  translate(trainer, call->input, call->input_count, input);
  there.output = output;
  there.input = input;
  return kernel(&there);
}

int
device_run(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  actnn_kernel *there = trainer->device->kernel(kernel);
  int failed = there ? run_there(trainer, there, call) : DEVICE_DECLINES;
  if (failed != DEVICE_DECLINES)
    return failed;
  return trainer->preparing ? prepare_on_processor(trainer, kernel, call) : run_on_processor(trainer, kernel, call);
}

int
device_reserve_scratch(actnn *trainer)
{
  size_t bytes = (size_t)(trainer->scratch_bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  trainer->scratch = aligned_alloc(ACTNN_ALIGNMENT, bytes ? bytes : ACTNN_ALIGNMENT);
  return trainer->scratch ? trainer->device->prepared(trainer)
                          : actnn_fail(trainer, "%s: no memory for the %zu bytes of scratch of kernels that run on the processor",
                                       trainer->model->name, bytes);
}

int
device_send_inputs(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  for (uint32_t i = 0; trainer->device && i < model->input_count; i++) {
    const actnn_tensor *tensor = &model->tensor[model->input[i].tensor];
    if (device_send(trainer, tensor->offset, tensor->bytes))
      return 1;
  }
  return 0;
}
