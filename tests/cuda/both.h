/* both.h: the same call on the processor and on a GPU, or on its stand-in, from the same bytes: the whole arena must be the same
 * afterwards, what lies between its tensors included, and so must the reason why a call is refused. */
#ifndef ACTNN_BOTH_H
#define ACTNN_BOTH_H

#include "../../runtime/device.h"
#include "../runtime/tap.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_TENSORS = 12, GAP = ACTNN_ALIGNMENT, UNWRITTEN = 0xA5 };

typedef struct Both {
  actnn_tensor tensor[MOST_TENSORS];
  uint32_t count;
  int block; /* of channels */
  uint64_t workspace; /* a plan's, while kernels prepare themselves */
  unsigned char *arena;
  uint64_t bytes;
  uint64_t state; /* of random bytes */
} Both;

typedef struct Outcome {
  unsigned char *arena;
  int failed;
  uint32_t not_finite; /* the tensor that the GPU found not finite */
  char error[512];
} Outcome;

static inline unsigned char
random_byte(Both *both)
{
  both->state = both->state * 6364136223846793005u + 1442695040888963407u;
  return (unsigned char)(both->state >> 56);
}

static inline int64_t
elements_in_memory(const Both *both, const actnn_tensor *tensor)
{
  int64_t count = 1;
  for (int i = 0; i < tensor->rank; i++) {
    bool is_padded = tensor->layout == ACTNN_BLOCKED && i == 1;
    count *= is_padded ? (tensor->dim[i] + both->block - 1) / both->block * both->block : tensor->dim[i];
  }
  return count;
}

/* A new tensor of `size` bytes an element, or so many bytes altogether; nothing is in it yet. */
static inline uint32_t
add_tensor(Both *both, actnn_tensor tensor, uint64_t size, uint64_t bytes)
{
  if (!bytes) bytes = (uint64_t)elements_in_memory(both, &tensor) * size;
  tensor.bytes = (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  tensor.offset = both->bytes;
  uint64_t end = both->bytes + tensor.bytes + GAP;
  unsigned char *arena = aligned_alloc(ACTNN_ALIGNMENT, end);
  if (!arena || both->count == MOST_TENSORS) exit(99);
  memset(arena, UNWRITTEN, end);
  if (both->bytes) memcpy(arena, both->arena, both->bytes);
  free(both->arena);
  both->arena = arena;
  both->bytes = end;
  both->tensor[both->count] = tensor;
  return both->count++;
}

static inline void *
data_of(const Both *both, uint32_t id)
{
  return both->arena + both->tensor[id].offset;
}

static inline actnn_view
view_in(const Both *both, uint32_t id, unsigned char *arena)
{
  if (id == NONE) return (actnn_view){.id = NONE};
  const actnn_tensor *tensor = &both->tensor[id];
  return (actnn_view){.data = arena + tensor->offset,
                      .type = (actnn_type)tensor->type,
                      .layout = (actnn_layout)tensor->layout,
                      .rank = tensor->rank,
                      .dim = tensor->dim,
                      .bytes = tensor->bytes,
                      .id = id};
}

/* Calls the kernel once with views of `arena`. */
static inline int
call_in(const Both *both, actnn *trainer, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with,
        unsigned char *arena)
{
  actnn_view output[MOST_TENSORS], input[MOST_TENSORS];
  actnn_call call = {trainer, out.count, in.count, with.count, output, input, with.attribute};
  for (size_t i = 0; i < out.count; i++) output[i] = view_in(both, out.id[i], arena);
  for (size_t i = 0; i < in.count; i++) input[i] = view_in(both, in.id[i], arena);
  return kernel(&call);
}

static inline Outcome
run_on_processor(const Both *both, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with)
{
  actnn_model model = {.name = "test", .tensor = both->tensor, .tensor_count = both->count};
  actnn trainer = {.model = &model, .threads = 1, .channel_block = both->block, .seed = 11, .step = 3, .preparing = true};
  Outcome outcome = {.arena = aligned_alloc(ACTNN_ALIGNMENT, both->bytes)};
  memcpy(outcome.arena, both->arena, both->bytes);
  outcome.failed = call_in(both, &trainer, kernel, out, in, with, outcome.arena);
  trainer.preparing = false;
  trainer.workspace_bytes = trainer.workspace_wanted;
  unsigned char *workspace = trainer.workspace = aligned_alloc(ACTNN_ALIGNMENT, trainer.workspace_bytes + ACTNN_ALIGNMENT);
  if (!outcome.failed) outcome.failed = call_in(both, &trainer, kernel, out, in, with, outcome.arena);
  free(workspace);
  memcpy(outcome.error, trainer.error, sizeof outcome.error);
  return outcome;
}

/* Declining is failing here. */
static inline Outcome
run_on_gpu(const Both *both, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with)
{
  actnn_model model = {.name = "test", .tensor = both->tensor, .tensor_count = both->count};
  actnn trainer = {.model = &model, .device = &actnn_cuda, .threads = 1, .seed = 11, .step = 3, .preparing = true};
  Outcome outcome = {.arena = aligned_alloc(ACTNN_ALIGNMENT, both->bytes)};
  actnn_kernel *there = trainer.device->kernel(kernel);
  memcpy(outcome.arena, both->arena, both->bytes);
  trainer.arena = outcome.arena;
  outcome.failed = trainer.device->open(&trainer) || !there;
  trainer.channel_block = both->block;
  trainer.workspace_bytes = both->workspace;
  if (!outcome.failed) outcome.failed = call_in(both, &trainer, there, out, in, with, NULL);
  trainer.preparing = false;
  trainer.workspace_bytes = trainer.workspace_wanted;
  if (!outcome.failed) outcome.failed = trainer.device->reserve(&trainer, both->bytes + trainer.workspace_bytes);
  trainer.workspace = trainer.device_arena + both->bytes;
  if (!outcome.failed)
    outcome.failed = trainer.device->send(&trainer, 0, both->bytes) || call_in(both, &trainer, there, out, in, with, trainer.device_arena) ||
                     trainer.device->fetch(&trainer, 0, both->bytes) || trainer.device->finish(&trainer, &outcome.not_finite);
  memcpy(outcome.error, trainer.error, sizeof outcome.error);
  trainer.device->close(&trainer);
  return outcome;
}

/* The arena is then what the call made of it. */
static inline bool
same_on_both(Both *both, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with, const char *what)
{
  Outcome here = run_on_processor(both, kernel, out, in, with), there = run_on_gpu(both, kernel, out, in, with);
  uint64_t at = 0;
  bool is_same = !here.failed && !there.failed;
  while (is_same && at < both->bytes && here.arena[at] == there.arena[at]) at++;
  is_same = is_same && at == both->bytes;
  ok(is_same, "%s in blocks of %d", what, both->block);
  if (!is_same)
    printf("# here %d '%s', there %d '%s', byte %llu\n", here.failed, here.error, there.failed, there.error, (unsigned long long)at);
  memcpy(both->arena, here.arena, both->bytes);
  free(here.arena);
  free(there.arena);
  return is_same;
}

static inline void
refused_on_both(Both *both, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with, const char *what)
{
  Outcome here = run_on_processor(both, kernel, out, in, with), there = run_on_gpu(both, kernel, out, in, with);
  ok(here.failed == 1 && there.failed == 1 && !strcmp(here.error, there.error), "%s is refused: %s", what, there.error);
  free(here.arena);
  free(there.arena);
}

static inline void
forget_tensors(Both *both)
{
  free(both->arena);
  both->arena = NULL;
  both->bytes = both->count = 0;
}

#endif
