/* memory_device.h: a device for tests, whose memory is a second block of the processor's; some kernels, or none, run on it, and any of
 * its calls may be told to fail. */
#ifndef ACTNN_MEMORY_DEVICE_H
#define ACTNN_MEMORY_DEVICE_H

#include "device.h"
#include "winners.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_KERNELS = 16 };
static actnn_kernel *there[MOST_KERNELS]; /* those that the device has; of its memory, they are the same */
static int calls, failing;                /* calls of the device so far, and the one that fails; 0: none */
static uint32_t not_finite = NONE;

static int
call_device(actnn *trainer)
{
  return ++calls == failing ? actnn_fail(trainer, "call %d of the device fails", calls) : 0;
}

static int
device_open(actnn *trainer)
{
  return call_device(trainer);
}

static int
device_reserve(actnn *trainer, uint64_t bytes)
{
  free(trainer->device_arena);
  size_t length = (size_t)bytes / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT + ACTNN_ALIGNMENT;
  trainer->device_arena = aligned_alloc(ACTNN_ALIGNMENT, length);
  memset(trainer->device_arena, 0, length);
  return call_device(trainer);
}

static int
device_prepared(actnn *trainer)
{
  return call_device(trainer);
}

static void
device_close(actnn *trainer)
{
  free(trainer->device_arena);
}

static int
device_bring(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  memcpy(trainer->arena + offset, trainer->device_arena + offset, (size_t)bytes);
  return call_device(trainer);
}

static int
device_take(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  memcpy(trainer->device_arena + offset, trainer->arena + offset, (size_t)bytes);
  return call_device(trainer);
}

static int
device_find_winners(actnn *trainer)
{
  class_places places;
  uint32_t prediction = trainer->model->training_output;
  const float *value = (const float *)(const void *)(trainer->device_arena + trainer->model->tensor[prediction].offset);
  bool has_scores = class_places_of(trainer->model, prediction, &places);
  const int64_t *number = (const int64_t *)(const void *)value;
  for (int64_t i = 0; i < prediction_positions(trainer->model, prediction); i++)
    trainer->winner[i] = (int32_t)(has_scores ? winner_of(value + class_place(&places, i), places.stride, places.classes) : number[i]);
  return call_device(trainer);
}

static actnn_kernel *
device_kernel(actnn_kernel *of_processor)
{
  for (int i = 0; i < MOST_KERNELS; i++)
    if (there[i] == of_processor)
      return of_processor;
  return NULL;
}

static int
device_finish(actnn *trainer, uint32_t *tensor)
{
  *tensor = not_finite;
  return call_device(trainer);
}

/* It records nothing, and its keys are the processor's. */
static int
device_send_keys(actnn *trainer)
{
  (void)trainer;
  return 0;
}

static int
device_begin_calls(actnn *trainer, uint64_t version)
{
  (void)trainer, (void)version;
  return 0;
}

static int
device_drop_calls(actnn *trainer)
{
  (void)trainer;
  return 1;
}

static uint64_t
device_bytes_beside(const actnn *trainer)
{
  (void)trainer;
  return 0;
}

static const actnn_device device = {.name = "test", .open = device_open, .reserve = device_reserve, .prepared = device_prepared,
                                    .close = device_close, .fetch = device_bring, .send = device_take, .fetch_later = device_bring,
                                    .send_soon = device_take, .find_winners = device_find_winners, .kernel = device_kernel, .finish = device_finish,
                                    .send_keys = device_send_keys, .begin_calls = device_begin_calls,
                                    .end_calls = device_send_keys, .drop_calls = device_drop_calls,
                                    .bytes_beside = device_bytes_beside};

static void
use_kernels(int count, actnn_kernel *const *kernel)
{
  memset(there, 0, sizeof there);
  for (int i = 0; i < count; i++)
    there[i] = kernel[i];
}

#endif
