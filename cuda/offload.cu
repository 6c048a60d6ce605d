/* offload.cu: codes, and values that are saved as they are, on their way to pinned memory of the host and back, by a stream of their own, in
 * the order in which they are asked for (offload.h). A step that is recorded has these copies in its graph: the stream joins the step's when
 * it first waits for it, and the step's waits for the last copy at its end. */
#include "kernels.h"

extern "C" {
#include "offload.h"
}

#include <stdlib.h>

struct gpu_offload {
  cudaStream_t stream;
  cudaEvent_t launched; /* what the step's stream had been given when the last copy was asked for */
  cudaEvent_t *copied;  /* by save: its last copy; the one behind all is the last of all */
  unsigned char *host;
};

int
gpu_open_offload(actnn *trainer)
{
  uint64_t bytes = offload_bytes(trainer->model);
  uint32_t count = offload_count(trainer->model);
  if (!bytes)
    return 0;
  struct gpu_offload *offload = trainer->device_state->offload = (struct gpu_offload *)calloc(1, sizeof *offload);
  if (offload)
    offload->copied = (cudaEvent_t *)calloc((size_t)count + 1, sizeof *offload->copied);
  if (!offload || !offload->copied)
    return actnn_fail(trainer, "out of memory");
  if (gpu_check(trainer, cudaStreamCreateWithFlags(&offload->stream, cudaStreamNonBlocking), "a stream") ||
      gpu_check(trainer, cudaEventCreateWithFlags(&offload->launched, cudaEventDisableTiming), "an event"))
    return 1;
  for (uint32_t i = 0; i <= count; i++)
    if (gpu_check(trainer, cudaEventCreateWithFlags(&offload->copied[i], cudaEventDisableTiming), "an event"))
      return 1;
  if (cudaMallocHost((void **)&offload->host, (size_t)bytes) == cudaSuccess)
    return 0;
  cudaGetLastError();
  return actnn_fail(trainer, "%s: cannot reserve %.1f MiB of pinned memory for what waits for backward; compile with --level=L3",
                    trainer->model->name, (double)bytes / 1048576);
}

void
gpu_close_offload(actnn *trainer)
{
  struct gpu_offload *offload = trainer->device_state->offload;
  if (!offload)
    return;
  if (offload->stream) {
    cudaStreamSynchronize(offload->stream);
    cudaStreamDestroy(offload->stream);
  }
  if (offload->launched)
    cudaEventDestroy(offload->launched);
  for (uint32_t i = 0; offload->copied && i <= offload_count(trainer->model); i++)
    if (offload->copied[i])
      cudaEventDestroy(offload->copied[i]);
  if (offload->host)
    cudaFreeHost(offload->host);
  free(offload->copied);
  free(offload);
  trainer->device_state->offload = NULL;
}

/* Once all that was launched so far is done, copies on the stream of copies. */
static int
copy_codes(actnn *trainer, uint32_t save, uint64_t offset, uint64_t place, uint64_t bytes, bool is_return)
{
  struct device_state *state = trainer->device_state;
  struct gpu_offload *offload = state->offload;
  void *there = trainer->device_arena + offset, *here = offload->host + place;
  if (gpu_check(trainer, cudaEventRecord(offload->launched, state->stream), "codes on their way") ||
      gpu_check(trainer, cudaStreamWaitEvent(offload->stream, offload->launched, 0), "codes on their way"))
    return 1;
  cudaError_t status = is_return ? cudaMemcpyAsync(there, here, (size_t)bytes, cudaMemcpyHostToDevice, offload->stream)
                                 : cudaMemcpyAsync(here, there, (size_t)bytes, cudaMemcpyDeviceToHost, offload->stream);
  return gpu_check(trainer, status, "codes on their way") ||
         gpu_check(trainer, cudaEventRecord(offload->copied[save], offload->stream), "codes on their way");
}

int
gpu_put_codes_away(actnn *trainer, uint32_t save, uint64_t offset, uint64_t place, uint64_t bytes)
{
  return copy_codes(trainer, save, offset, place, bytes, false);
}

int
gpu_bring_codes_back(actnn *trainer, uint32_t save, uint64_t offset, uint64_t place, uint64_t bytes)
{
  return copy_codes(trainer, save, offset, place, bytes, true);
}

int
gpu_await_codes(actnn *trainer, uint32_t save)
{
  struct device_state *state = trainer->device_state;
  return gpu_check(trainer, cudaStreamWaitEvent(state->stream, state->offload->copied[save], 0), "codes on their way");
}

int
gpu_join_copies(actnn *trainer)
{
  struct device_state *state = trainer->device_state;
  struct gpu_offload *offload = state->offload;
  cudaEvent_t last = offload->copied[offload_count(trainer->model)];
  return gpu_check(trainer, cudaEventRecord(offload->launched, state->stream), "codes on their way") ||
         gpu_check(trainer, cudaStreamWaitEvent(offload->stream, offload->launched, 0), "codes on their way") ||
         gpu_check(trainer, cudaEventRecord(last, offload->stream), "codes on their way") ||
         gpu_check(trainer, cudaStreamWaitEvent(state->stream, last, 0), "codes on their way");
}
