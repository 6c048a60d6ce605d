/* graph.cu: a step's calls, recorded once and from then on launched as a whole, for as long as they stay the same.
 *
 * What changes from step to step is therefore read where it lies, and sent before: inputs, the learning rate, the step's number, and, from
 * here, the keys of all random draws. A step that is recorded was made once before, call by call, so that libraries have loaded what they
 * load late. What cannot be recorded on some machine is made call by call there. */
#include "kernels.h"

extern "C" {
#include "saves_state.h"
}

#include <stdlib.h>

/* ---- keys ---------------------------------------------------------------------------------------------------- */

/* A stream of random draws: of a save, or, where that is NONE, of an operator's `id` for a use. */
struct key_slot {
  uint64_t id, use;
  uint32_t save;
};

struct gpu_keys {
  key_slot *slot;
  size_t count, capacity;
  actnn_philox_key *pinned, *there; /* by slot */
  bool are_sent;
};

static size_t
find_slot(const struct gpu_keys *keys, const key_slot &wanted)
{
  size_t i = 0;
  while (i < keys->count && (keys->slot[i].id != wanted.id || keys->slot[i].use != wanted.use || keys->slot[i].save != wanted.save))
    i++;
  return i;
}

static int
note_slot(actnn *trainer, const key_slot &slot)
{
  struct device_state *state = trainer->device_state;
  if (!state->keys)
    state->keys = (struct gpu_keys *)calloc(1, sizeof *state->keys);
  struct gpu_keys *keys = state->keys;
  if (!keys)
    return actnn_fail(trainer, "out of memory");
  if (find_slot(keys, slot) < keys->count)
    return 0;
  key_slot *added = gpu_add_element(trainer, &keys->slot, &keys->count, &keys->capacity);
  if (!added)
    return 1;
  *added = slot;
  return 0;
}

int
gpu_note_key(actnn *trainer, uint64_t id, uint64_t use)
{
  return note_slot(trainer, key_slot{id, use, NONE});
}

int
gpu_note_key_of_save(actnn *trainer, uint32_t save)
{
  return note_slot(trainer, key_slot{0, 0, save});
}

/* Where the key is there; NULL while none have been sent. */
static const actnn_philox_key *
key_there(const actnn *trainer, const key_slot &slot)
{
  const struct gpu_keys *keys = trainer->device_state->keys;
  size_t i = keys && keys->are_sent ? find_slot(keys, slot) : 0;
  return keys && keys->are_sent && i < keys->count ? keys->there + i : NULL;
}

gpu_key
gpu_key_of(const actnn *trainer, uint64_t id, uint64_t use)
{
  gpu_key key = {actnn_random_key(trainer->seed, trainer->step, id, use), key_there(trainer, key_slot{id, use, NONE})};
  return key;
}

gpu_key
gpu_key_of_save(const actnn *trainer, uint32_t save)
{
  gpu_key key = {saves_key(trainer, save), key_there(trainer, key_slot{0, 0, save})};
  return key;
}

int
gpu_prepare_keys(actnn *trainer)
{
  struct gpu_keys *keys = trainer->device_state->keys;
  if (!keys)
    return 0;
  size_t bytes = keys->count * sizeof *keys->there;
  keys->there = (actnn_philox_key *)gpu_reserve(trainer, bytes, "the keys of random draws");
  return !keys->there || gpu_check(trainer, cudaMallocHost((void **)&keys->pinned, bytes), "the keys of random draws");
}

int
gpu_send_keys(actnn *trainer)
{
  struct gpu_keys *keys = trainer->device_state->keys;
  if (!keys)
    return 0;
  for (size_t i = 0; i < keys->count; i++) {
    const key_slot &slot = keys->slot[i];
    keys->pinned[i] = slot.save == NONE ? actnn_random_key(trainer->seed, trainer->step, slot.id, slot.use) : saves_key(trainer, slot.save);
  }
  keys->are_sent = true;
  size_t bytes = keys->count * sizeof *keys->there;
  return gpu_check(trainer, cudaMemcpyAsync(keys->there, keys->pinned, bytes, cudaMemcpyHostToDevice, stream_of(trainer)),
                   "the keys of random draws");
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

struct gpu_graph {
  cudaGraphExec_t recorded; /* NULL: none */
  uint64_t version, seen_version; /* of the calls recorded, of those made last */
  int results;              /* that they fetch */
  bool has_seen, is_recording, is_known, is_refused;
};

int
gpu_begin_calls(actnn *trainer, uint64_t version)
{
  struct device_state *state = trainer->device_state;
  if (!state->graph)
    state->graph = (struct gpu_graph *)calloc(1, sizeof *state->graph);
  struct gpu_graph *graph = state->graph;
  if (!graph || graph->is_refused)
    return 0;
  bool was_seen = graph->has_seen && graph->seen_version == version;
  graph->has_seen = true;
  graph->seen_version = version;
  graph->is_known = graph->recorded && graph->version == version;
  if (graph->is_known)
    return DEVICE_KNOWS_CALLS;
  graph->is_recording = was_seen && cudaStreamBeginCapture(state->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess;
  graph->is_refused = was_seen && !graph->is_recording;
  if (graph->is_refused)
    cudaGetLastError();
  return 0;
}

/* Ends a recording; NULL where it was no good. */
static cudaGraphExec_t
end_recording(struct device_state *state)
{
  cudaGraph_t graph = NULL;
  cudaGraphExec_t made = NULL;
  bool is_good = cudaStreamEndCapture(state->stream, &graph) == cudaSuccess && graph;
  is_good = is_good && cudaGraphInstantiate(&made, graph, 0) == cudaSuccess;
  if (graph)
    cudaGraphDestroy(graph);
  cudaGetLastError(); /* what was refused is not remembered */
  state->graph->is_recording = false;
  return is_good ? made : NULL;
}

int
gpu_end_calls(actnn *trainer)
{
  struct device_state *state = trainer->device_state;
  struct gpu_graph *graph = state->graph;
  if (!graph || (!graph->is_recording && !graph->is_known))
    return 0;
  if (graph->is_recording) {
    if (graph->recorded)
      cudaGraphExecDestroy(graph->recorded);
    graph->recorded = end_recording(state);
    graph->version = graph->seen_version;
    graph->results = gpu_fetched(trainer);
    graph->is_refused = !graph->recorded;
    if (graph->is_refused) {
      gpu_set_fetched(trainer, 0);
      return DEVICE_DECLINES;
    }
  }
  graph->is_known = false;
  gpu_set_fetched(trainer, graph->results);
  return gpu_check(trainer, cudaGraphLaunch(graph->recorded, state->stream), "a step");
}

/* What fails while it is recorded may be the recording's fault: it is tried without. */
int
gpu_drop_calls(actnn *trainer)
{
  struct gpu_graph *graph = trainer->device_state->graph;
  if (!graph || !graph->is_recording)
    return 1;
  cudaGraphExec_t made = end_recording(trainer->device_state);
  if (made)
    cudaGraphExecDestroy(made);
  graph->is_refused = true;
  gpu_set_fetched(trainer, 0);
  return DEVICE_DECLINES;
}

void
gpu_close_graph(actnn *trainer)
{
  struct device_state *state = trainer->device_state;
  if (state->graph && state->graph->recorded)
    cudaGraphExecDestroy(state->graph->recorded);
  free(state->graph);
  if (state->keys) {
    gpu_release(state->keys->there);
    if (state->keys->pinned)
      cudaFreeHost(state->keys->pinned);
    free(state->keys->slot);
  }
  free(state->keys);
  state->graph = NULL;
  state->keys = NULL;
}
