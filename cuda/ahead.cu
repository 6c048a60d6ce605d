/* ahead.cu: the inputs of the next step, sent while a step runs: from a copy in pinned memory, by a stream of their own, to a place beside the
 * arena, whose inputs are read until the step's end. */
#include "kernels.h"

#include <stdlib.h>

struct ahead {
  cudaStream_t stream;
  cudaEvent_t sent, taken; /* the last copy has arrived; the last one that arrived lies in the arena */
  unsigned char *pinned, *there;
};

uint64_t
gpu_input_bytes(const actnn_model *model)
{
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < model->input_count; i++)
    bytes += gpu_padded(model->tensor[model->input[i].tensor].bytes);
  return bytes;
}

int
gpu_open_ahead(actnn *trainer)
{
  struct device_state *state = trainer->device_state;
  uint64_t bytes = gpu_input_bytes(trainer->model);
  struct ahead *ahead = state->ahead = (struct ahead *)calloc(1, sizeof *ahead);
  if (!ahead)
    return actnn_fail(trainer, "out of memory");
  if (gpu_check(trainer, cudaStreamCreateWithFlags(&ahead->stream, cudaStreamNonBlocking), "a stream") ||
      gpu_check(trainer, cudaEventCreateWithFlags(&ahead->sent, cudaEventDisableTiming), "an event") ||
      gpu_check(trainer, cudaEventCreateWithFlags(&ahead->taken, cudaEventDisableTiming), "an event") ||
      gpu_check(trainer, cudaMallocHost((void **)&ahead->pinned, (size_t)bytes), "memory for the next batch"))
    return 1;
  ahead->there = (unsigned char *)gpu_reserve(trainer, bytes, "the next batch");
  return !ahead->there || gpu_check(trainer, cudaEventRecord(ahead->taken, state->stream), "the next batch");
}

void
gpu_close_ahead(actnn *trainer)
{
  struct ahead *ahead = trainer->device_state->ahead;
  if (!ahead)
    return;
  if (ahead->stream) {
    cudaStreamSynchronize(ahead->stream);
    cudaStreamDestroy(ahead->stream);
  }
  if (ahead->sent)
    cudaEventDestroy(ahead->sent);
  if (ahead->taken)
    cudaEventDestroy(ahead->taken);
  if (ahead->pinned)
    cudaFreeHost(ahead->pinned);
  gpu_release(ahead->there);
  free(ahead);
  trainer->device_state->ahead = NULL;
}

/* The copy in pinned memory is written to once the last one has left it, the one beside the arena once it has been taken. */
int
gpu_send_ahead(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  struct ahead *ahead = trainer->device_state->ahead;
  uint64_t bytes = 0;
  if (gpu_check(trainer, cudaEventSynchronize(ahead->sent), "the next batch"))
    return 1;
  for (uint32_t i = 0; i < model->input_count; i++) {
    const actnn_tensor *tensor = &model->tensor[model->input[i].tensor];
    memcpy(ahead->pinned + bytes, trainer->arena + tensor->offset, (size_t)tensor->bytes);
    bytes += gpu_padded(tensor->bytes);
  }
  return gpu_check(trainer, cudaStreamWaitEvent(ahead->stream, ahead->taken, 0), "the next batch") ||
         gpu_check(trainer, cudaMemcpyAsync(ahead->there, ahead->pinned, (size_t)bytes, cudaMemcpyHostToDevice, ahead->stream),
                   "the next batch") ||
         gpu_check(trainer, cudaEventRecord(ahead->sent, ahead->stream), "the next batch");
}

int
gpu_take_ahead(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  struct device_state *state = trainer->device_state;
  struct ahead *ahead = state->ahead;
  uint64_t bytes = 0;
  if (gpu_check(trainer, cudaStreamWaitEvent(state->stream, ahead->sent, 0), "a batch"))
    return 1;
  for (uint32_t i = 0; i < model->input_count; i++) {
    const actnn_tensor *tensor = &model->tensor[model->input[i].tensor];
    void *place = trainer->device_arena + tensor->offset;
    if (gpu_check(trainer, cudaMemcpyAsync(place, ahead->there + bytes, (size_t)tensor->bytes, cudaMemcpyDeviceToDevice, state->stream),
                  "a batch"))
      return 1;
    bytes += gpu_padded(tensor->bytes);
  }
  return gpu_check(trainer, cudaEventRecord(ahead->taken, state->stream), "a batch");
}
