/* kernel_runs.h: one call of a kernel, prepared and run: on the processor or, with ON_GPU, on a GPU or its stand-in, from an arena there and back.
 * For test_kernels.c. */
#ifndef ACTNN_TESTS_KERNEL_RUNS_H
#define ACTNN_TESTS_KERNEL_RUNS_H

#include "../../runtime/bfloat.h"
#include "../../runtime/device.h"
#include "kernel_views.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_VIEWS = 16, MOST_TENSORS = 64 };

#ifdef ON_GPU
enum { IS_ON_GPU = 1 };
extern const actnn_pointwise joined_tries[];
static unsigned conversions;     /* of copies, since the last call began */
static bool ran_on_processor;    /* that call */
static uint64_t planned_copies;  /* the bytes that a plan has for them */

static int
count_conversion(actnn *trainer, void *to, const void *from, int64_t count, bool rounds)
{
  conversions++;
  return actnn_cuda.convert(trainer, to, from, count, rounds);
}

/* What the translator asks for of the workspace. */
static uint64_t
plan_copies(actnn_kernel *kernel, const actnn_call *call)
{
  actnn planner = {.model = call->trainer->model, .preparing = true, .measuring = true, .measures_gpu = true, .threads = 1,
                   .channel_block = call->trainer->channel_block};
  actnn_call planned = *call;
  planned.trainer = &planner;
  return bfloat_run(kernel, &planned) ? UINT64_MAX : planner.workspace_wanted;
}

/* An arena as a plan would lay it out: each operand and result, and guard bytes after it. */
static uint64_t
place_views(actnn_tensor *tensor, const actnn_view *view, size_t count, uint64_t end)
{
  for (size_t i = 0; i < count; i++) {
    if (!view[i].data) continue;
    tensor[view[i].id] = (actnn_tensor){.type = (uint8_t)view[i].type, .layout = (uint8_t)view[i].layout, .offset = end, .bytes = view[i].bytes};
    end += view[i].bytes + GUARD;
  }
  return end;
}

/* Copies the views into the trainer's mirror of the arena and has them lie there, or back from it. */
static void
copy_views(actnn *trainer, actnn_view *view, size_t count, void **memory, bool back)
{
  for (size_t i = 0; i < count; i++) {
    if (!view[i].data) continue;
    unsigned char *there = trainer->arena + trainer->model->tensor[view[i].id].offset;
    if (!back) memory[i] = view[i].data;
    memcpy(back ? memory[i] : there, back ? there : memory[i], view[i].bytes + GUARD);
    view[i].data = back ? memory[i] : there;
  }
}

static int
run_prepared(actnn *trainer, actnn_kernel *kernel, actnn_call *call, actnn_view *input, actnn_view *output)
{
  actnn_tensor tensor[MOST_TENSORS] = {{0}};
  void *inputs[MOST_VIEWS], *outputs[MOST_VIEWS];
  uint64_t end = place_views(tensor, input, call->input_count, 0), bytes = place_views(tensor, output, call->output_count, end), wanted;
  actnn_model model = {.name = "test", .tensor = tensor, .tensor_count = MOST_TENSORS, .pointwise = joined_tries};
  int block = trainer->channel_block;
  actnn_device device = actnn_cuda;
  device.convert = count_conversion;
  trainer->model = &model;
  planned_copies = plan_copies(kernel, call);
  conversions = 0;
  trainer->device = &device;
  trainer->arena_bytes = bytes;
  trainer->arena = aligned_alloc(ACTNN_ALIGNMENT, bytes + ACTNN_ALIGNMENT - bytes % ACTNN_ALIGNMENT);
  int failed = trainer->device->open(trainer) || trainer->device->reserve(trainer, bytes);
  trainer->channel_block = block; /* whatever suits the device */
  if (!failed) failed = device_run(trainer, kernel, call);
  wanted = trainer->workspace_wanted;
  if (!failed) failed = trainer->device->reserve(trainer, bytes + wanted + ACTNN_ALIGNMENT) || device_reserve_scratch(trainer);
  trainer->preparing = false;
  trainer->workspace = trainer->device_arena + (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  trainer->workspace_bytes = wanted;
  copy_views(trainer, input, call->input_count, inputs, false);
  copy_views(trainer, output, call->output_count, outputs, false);
  if (!failed) failed = trainer->device->send(trainer, 0, bytes) || device_run(trainer, kernel, call) || trainer->device->fetch(trainer, 0, bytes);
  copy_views(trainer, input, call->input_count, inputs, true);
  copy_views(trainer, output, call->output_count, outputs, true);
  if (!failed && kernel == actnn_Pointwise && trainer->on_processor[0])
    failed = actnn_fail(trainer, "joined_tries.cu has no kernel for these steps");
  ran_on_processor = trainer->on_processor[0];
  trainer->device->close(trainer);
  free(trainer->scratch);
  free(trainer->image);
  free(trainer->winner);
  free(trainer->arena);
  return failed;
}

#else
enum { IS_ON_GPU = 0 };

static int
run_prepared(actnn *trainer, actnn_kernel *kernel, actnn_call *call, actnn_view *input, actnn_view *output)
{
  (void)input, (void)output;
  int failed = bfloat_run(kernel, call);
  trainer->preparing = false;
  trainer->workspace_bytes = trainer->workspace_wanted;
  trainer->workspace =
      aligned_alloc(ACTNN_ALIGNMENT, (trainer->workspace_bytes / ACTNN_ALIGNMENT + 1) * ACTNN_ALIGNMENT);
  if (!failed) failed = bfloat_run(kernel, call);
  free(trainer->workspace);
  return failed;
}

#endif

#endif
