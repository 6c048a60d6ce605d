/* saves_exact.c: a value that the pool holds as it is, so that it can wait in the host's memory (offload.h). */
#include "saves.h"
#include "offload.h"

#include <string.h>

void *
saves_exact_stash(const actnn_call *call, const actnn_view *value, const actnn_view *stash)
{
  if (value->bytes == stash->bytes)
    return (unsigned char *)stash->data + offload_exact_place(call->trainer, stash->id);
  actnn_fail(call->trainer, "a value of %llu bytes is saved as it is in %llu", (unsigned long long)value->bytes,
             (unsigned long long)stash->bytes);
  return NULL;
}

int
actnn_SaveExact(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  void *stash = saves_exact_stash(call, &call->input[0], &call->output[0]);
  if (!stash)
    return 1;
  memcpy(stash, call->input[0].data, (size_t)call->output[0].bytes);
  return 0;
}

int
actnn_RestoreExact(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  const void *stash = saves_exact_stash(call, &call->output[0], &call->input[0]);
  if (!stash)
    return 1;
  memcpy(call->output[0].data, stash, (size_t)call->input[0].bytes);
  return 0;
}
