/* device.cu: the memory and the stream of a trainer on a GPU; see device.h. */
#include "gpu.h"
#include "kernels.h"

#include "../src/operators/indices.h"
#include "../src/operators/triangles.h"

#include <stdlib.h>

int
gpu_check(actnn *trainer, cudaError_t status, const char *what)
{
  if (status == cudaSuccess)
    return 0;
  cudaGetLastError(); /* it is told here, and not once more by the next launch */
  return actnn_fail(trainer, "%s: the GPU refuses: %s", what, cudaGetErrorString(status));
}

void *
gpu_reserve(actnn *trainer, uint64_t bytes, const char *what)
{
  void *memory = NULL;
  size_t length = bytes ? (size_t)bytes : 1;
  cudaError_t status = cudaMalloc(&memory, length);
  if (status != cudaSuccess) {
    cudaGetLastError(); /* running out of memory is not remembered */
    actnn_fail(trainer, "%s: cannot reserve %.1f MiB on the GPU for %s: %s; compile for a smaller --batch", trainer->model->name,
               (double)bytes / 1048576, what, cudaGetErrorString(status));
    return NULL;
  }
  if (gpu_check(trainer, cudaMemsetAsync(memory, 0, length, stream_of(trainer)), what)) {
    cudaFree(memory);
    return NULL;
  }
  trainer->device_state->beside += length;
  return memory;
}

void
gpu_release(void *memory)
{
  if (memory)
    cudaFree(memory);
}

int
gpu_settle_room(const actnn_call *call, const gpu_room *room)
{
  actnn *trainer = call->trainer;
  if (room->declines)
    return DEVICE_DECLINES;
  if (trainer->preparing) {
    if (trainer->workspace_wanted < room->bytes)
      trainer->workspace_wanted = room->bytes;
    return 0;
  }
  if (trainer->workspace_bytes >= room->bytes)
    return 0;
  return actnn_fail(trainer, "tensor %u: the workspace of %llu bytes is too small, %llu are needed", call->output[0].id,
                    (unsigned long long)trainer->workspace_bytes, (unsigned long long)room->bytes);
}

static int
forget_notes(actnn *trainer)
{
  return gpu_check(trainer, cudaMemsetAsync(trainer->device_state->notes, 0xff, sizeof(gpu_notes), stream_of(trainer)), "a step");
}

enum { MOST_FETCHED = 8 };

/* Bytes that are on their way here. */
struct fetched {
  int count;
  void *to[MOST_FETCHED];
  uint64_t bytes[MOST_FETCHED], place[MOST_FETCHED]; /* in the waiting room */
};

/* After all that was launched is done. */
static void
empty_waiting_room(actnn *trainer)
{
  struct device_state *state = trainer->device_state;
  for (int i = 0; state->fetched && i < state->fetched->count; i++)
    memcpy(state->fetched->to[i], state->waiting_room + state->fetched->place[i], (size_t)state->fetched->bytes[i]);
  if (state->fetched)
    state->fetched->count = 0;
  state->waiting = state->result_bytes;
}

static int
refuse_label(actnn *trainer, int64_t label, int64_t classes)
{
  return actnn_fail(trainer, "a label is %lld, not in 0..%lld; check the data, or that the model has enough classes", (long long)label,
                    (long long)classes - 1);
}

static int
refuse_index(const actnn_call *call, const gpu_notes *notes)
{
  static const char *const of[] = {"Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"};
  return bad_index(call, of[notes->refusal - BAD_INDEX_OF_GATHER], notes->number, notes->bound);
}

/* Waits for all that was launched; 1 when a kernel failed or refused its operands, in the words of the processor's. */
static int
hear_notes(actnn *trainer, gpu_notes *notes, bool is_at_end)
{
  struct device_state *state = trainer->device_state;
  if (gpu_check(trainer, cudaMemcpyAsync(notes, state->notes, sizeof *notes, cudaMemcpyDeviceToHost, state->stream), "a step") ||
      gpu_check(trainer, cudaStreamSynchronize(state->stream), "a step"))
    return 1;
  /* In the midst of a step results stay where they are: their place in the mirror may get other tenants until its end. */
  if (is_at_end || !state->fetched || !state->fetched->count)
    empty_waiting_room(trainer);
  if (notes->refusal == NONE)
    return 0;
  actnn_call call;
  memset(&call, 0, sizeof call);
  call.trainer = trainer;
  if (forget_notes(trainer))
    return 1;
  if (notes->refusal == BAD_LABEL)
    return refuse_label(trainer, notes->number, notes->bound);
  return notes->refusal == NOT_TRIANGULAR ? not_triangular(&call, notes->number) : refuse_index(&call, notes);
}

static int
open_device(actnn *trainer)
{
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count < 1)
    return actnn_fail(trainer, "%s: was compiled with --target=cuda, and this machine has no usable GPU: %s", trainer->model->name,
                      cudaGetErrorString(status));
  struct device_state *state = (struct device_state *)calloc(1, sizeof *state);
  trainer->device_state = state;
  if (!state)
    return actnn_fail(trainer, "out of memory");
  if (gpu_check(trainer, cudaStreamCreate(&state->stream), "a stream"))
    return 1;
  state->notes = (gpu_notes *)gpu_reserve(trainer, sizeof(gpu_notes), "notes");
  state->not_finite = &state->notes->not_finite;
  return !state->notes || forget_notes(trainer) || gpu_open_library(trainer);
}

static int
reserve(actnn *trainer, uint64_t bytes)
{
  gpu_release(trainer->device_arena);
  trainer->device_arena = (unsigned char *)gpu_reserve(trainer, bytes ? bytes : ACTNN_ALIGNMENT, "the arena");
  if (trainer->device_arena)
    trainer->device_state->beside -= bytes ? bytes : ACTNN_ALIGNMENT;
  return !trainer->device_arena;
}

static void
close_device(actnn *trainer)
{
  struct device_state *state = trainer->device_state;
  if (!state)
    return;
  if (state->stream)
    cudaStreamSynchronize(state->stream);
  gpu_close_graph(trainer);
  gpu_close_library(trainer);
  gpu_close_saves(trainer);
  gpu_close_updates(trainer);
  gpu_close_ahead(trainer);
  gpu_release(state->winner);
  gpu_close_offload(trainer);
  gpu_release(trainer->device_arena);
  gpu_release(state->notes);
  if (state->waiting_room)
    cudaFreeHost(state->waiting_room);
  free(state->fetched);
  if (state->stream)
    cudaStreamDestroy(state->stream);
  free(state);
  trainer->device_state = NULL;
}

static int
fetch(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  gpu_notes notes;
  return gpu_check(trainer,
                   cudaMemcpyAsync(trainer->arena + offset, trainer->device_arena + offset, (size_t)bytes, cudaMemcpyDeviceToHost,
                                   stream_of(trainer)),
                   "fetching a tensor") ||
         hear_notes(trainer, &notes, false);
}

/* From pageable memory, which the call may or may not have read when it returns: whoever calls may write there again. */
int
gpu_send_bytes(actnn *trainer, void *there, const void *here, uint64_t bytes, const char *what)
{
  return gpu_check(trainer, cudaMemcpyAsync(there, here, (size_t)bytes, cudaMemcpyHostToDevice, stream_of(trainer)), what) ||
         gpu_check(trainer, cudaStreamSynchronize(stream_of(trainer)), what);
}

static int
send(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  return gpu_send_bytes(trainer, trainer->device_arena + offset, trainer->arena + offset, bytes, "sending a tensor");
}

/* ---- without waiting ------------------------------------------------------------------------------------------ */

/* Room for all that a step sends and fetches without waiting; what has no place there is waited for. */
static int
prepare_device(actnn *trainer)
{
  struct device_state *state = trainer->device_state;
  const actnn_model *model = trainer->model;
  const uint32_t sent[] = {model->learning_rate, model->step_number};
  uint64_t winners = 0;
  if (gpu_prepare_winners(trainer, &winners))
    return 1;
  state->result_bytes = gpu_padded(winners) + (model->loss == NONE ? 0 : gpu_padded(model->tensor[model->loss].bytes));
  state->waiting_bytes += state->result_bytes;
  for (size_t i = 0; i < sizeof sent / sizeof *sent; i++)
    state->waiting_bytes += sent[i] == NONE ? 0 : gpu_padded(model->tensor[sent[i]].bytes);
  state->waiting_bytes += gpu_input_bytes(model);
  state->waiting = state->result_bytes;
  state->fetched = (struct fetched *)calloc(1, sizeof *state->fetched);
  if (!state->fetched)
    return actnn_fail(trainer, "out of memory");
  return (state->waiting_bytes &&
          gpu_check(trainer, cudaMallocHost((void **)&state->waiting_room, (size_t)state->waiting_bytes), "memory for batches")) ||
         (model->forward && model->input_count && gpu_open_ahead(trainer)) || gpu_prepare_saves(trainer) ||
         gpu_prepare_updates(trainer) || gpu_prepare_keys(trainer) || gpu_open_offload(trainer);
}

/* A place in the waiting room; NULL: it is full. */
static unsigned char *
wait_here(struct device_state *state, uint64_t bytes)
{
  if (bytes > state->waiting_bytes - state->waiting)
    return NULL;
  unsigned char *place = state->waiting_room + state->waiting;
  state->waiting += gpu_padded(bytes);
  return place;
}

static int
send_soon(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  struct device_state *state = trainer->device_state;
  unsigned char *place = wait_here(state, bytes);
  if (!place) /* batches of an evaluation follow one another without a step's end */
    return send(trainer, offset, bytes);
  memcpy(place, trainer->arena + offset, (size_t)bytes);
  void *there = trainer->device_arena + offset;
  return gpu_check(trainer, cudaMemcpyAsync(there, place, (size_t)bytes, cudaMemcpyHostToDevice, state->stream), "sending a batch");
}

/* Into the first bytes of the waiting room, one behind the other: a step's results lie at the same places in each. False: there is no room. */
static bool
place_result(struct device_state *state, void *to, uint64_t bytes, unsigned char **place)
{
  struct fetched *fetched = state->fetched;
  uint64_t taken = 0;
  for (int i = 0; i < fetched->count; i++)
    taken += gpu_padded(fetched->bytes[i]);
  if (fetched->count == MOST_FETCHED || bytes > state->result_bytes - taken)
    return false;
  int i = fetched->count++;
  fetched->to[i] = to;
  fetched->bytes[i] = bytes;
  fetched->place[i] = taken;
  *place = state->waiting_room + taken;
  return true;
}

static int
bring_later(actnn *trainer, const void *there, unsigned char *place, uint64_t bytes)
{
  return gpu_check(trainer, cudaMemcpyAsync(place, there, (size_t)bytes, cudaMemcpyDeviceToHost, stream_of(trainer)),
                   "fetching what a step has made");
}

static int
fetch_later(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  unsigned char *place;
  if (!place_result(trainer->device_state, trainer->arena + offset, bytes, &place))
    return fetch(trainer, offset, bytes);
  return bring_later(trainer, trainer->device_arena + offset, place, bytes);
}

int
gpu_fetch_winners(actnn *trainer, const int32_t *there, uint64_t bytes)
{
  unsigned char *place;
  if (!place_result(trainer->device_state, trainer->winner, bytes, &place))
    return actnn_fail(trainer, "%s: a step fetches its prediction twice", trainer->model->name);
  return bring_later(trainer, there, place, bytes);
}

int
gpu_fetched(const actnn *trainer)
{
  return trainer->device_state->fetched->count;
}

void
gpu_set_fetched(actnn *trainer, int count)
{
  trainer->device_state->fetched->count = count;
}

static int
finish(actnn *trainer, uint32_t *not_finite)
{
  gpu_notes notes;
  *not_finite = NONE;
  if (hear_notes(trainer, &notes, true))
    return 1;
  *not_finite = notes.not_finite;
  return *not_finite != NONE && forget_notes(trainer);
}

static uint64_t
bytes_beside(const actnn *trainer)
{
  return trainer->device_state->beside;
}

extern "C" const actnn_device actnn_cuda = {
    "cuda", open_device, reserve, prepare_device, close_device, fetch, send, fetch_later, send_soon, gpu_find_winners, gpu_send_ahead, gpu_take_ahead,
    gpu_kernel_for, gpu_send_keys, gpu_begin_calls, gpu_end_calls, gpu_drop_calls, finish, bytes_beside,
    gpu_put_codes_away, gpu_bring_codes_back, gpu_await_codes, gpu_join_copies, gpu_convert,
};
