/* device.h: a trainer whose tensors live in another memory than the processor's.
 *
 * The arena is then the device's; `trainer->arena` is its mirror in the processor's memory, byte for byte at the same offsets, of
 * which only pages that are really used take memory. Kernels that the device has run there. Any other runs on the processor: its
 * operands are fetched into the mirror, its results sent back, so that every operator works on every device. Host code that
 * wants a tensor says so (actnn_data) and sends what it has written (actnn_put); inputs are sent when a step begins. */
#ifndef ACTNN_DEVICE_H
#define ACTNN_DEVICE_H

#include "runtime.h"

/* What a device's kernel returns, while preparing and after, for operands that it leaves to the processor. */
enum { DEVICE_DECLINES = -1, DEVICE_KNOWS_CALLS = -2 };

/* Each returns 0, or 1 after actnn_fail. Offsets and bytes are of the arena. */
struct actnn_device {
  const char *name;
  /* Makes trainer->device_state and reserves trainer->device_arena; nothing of it is defined yet. */
  int (*open)(actnn *trainer);
  /* The arena once more, larger, before anything is in it. */
  int (*reserve)(actnn *trainer, uint64_t bytes);
  /* When all kernels have prepared themselves: reserves what they asked for. */
  int (*prepared)(actnn *trainer);
  void (*close)(actnn *trainer);
  /* Arena to mirror, once all that was launched is done; mirror to arena. */
  int (*fetch)(actnn *trainer, uint64_t offset, uint64_t bytes);
  int (*send)(actnn *trainer, uint64_t offset, uint64_t bytes);
  /* The same without waiting: what is sent may be written to again, what is fetched is in the mirror, after `finish`. */
  int (*fetch_later)(actnn *trainer, uint64_t offset, uint64_t bytes);
  int (*send_soon)(actnn *trainer, uint64_t offset, uint64_t bytes);
  /* Of the training step's prediction, which tells classes: in trainer->winner after `finish`. */
  int (*find_winners)(actnn *trainer);
  /* All inputs of the model, as the mirror has them, to a place beside the arena while a step runs, and from there into the arena. */
  int (*send_ahead)(actnn *trainer);
  int (*take_ahead)(actnn *trainer);
  /* The device's kernel for one of the processor's, by its address; NULL: it has none. Views are of device memory. */
  actnn_kernel *(*kernel)(actnn_kernel *of_processor);
  /* Keys of random draws, as they are for the step that begins, or for an evaluation. */
  int (*send_keys)(actnn *trainer);
  /* Around all calls of a step that may be the same, but for what is sent before, as in the last such step of that version. begin_calls:
   * DEVICE_KNOWS_CALLS where they need not be made, and 0 otherwise. end_calls: 0, 1, or DEVICE_DECLINES where none was done and they have
   * to be made once more. drop_calls: one of them failed; 1, or DEVICE_DECLINES likewise. */
  int (*begin_calls)(actnn *trainer, uint64_t version);
  int (*end_calls)(actnn *trainer);
  int (*drop_calls)(actnn *trainer);
  /* Waits for all launched kernels; tells one of them that failed, and the first tensor that is not finite, NONE if all are. */
  int (*finish)(actnn *trainer, uint32_t *not_finite);
  /* Bytes reserved beside the arena: tables, the libraries' own. */
  uint64_t (*bytes_beside)(const actnn *trainer);
  /* Codes of a save between the arena and the host's memory (offload.h), to or from `place` in a reserve of offload_bytes, beside what is
   * launched from then on and in the order in which they are asked for, once all that was launched before is done. */
  int (*put_codes_away)(actnn *trainer, uint32_t save, uint64_t offset, uint64_t place, uint64_t bytes);
  int (*bring_codes_back)(actnn *trainer, uint32_t save, uint64_t offset, uint64_t place, uint64_t bytes);
  /* What is launched from now on waits for the last such copy of a save, or of all. */
  int (*await_codes)(actnn *trainer, uint32_t save);
  int (*join_copies)(actnn *trainer);
  /* Its bfloat_conversion (bfloat.h). */
  int (*convert)(actnn *trainer, void *to, const void *from, int64_t count, bool rounds);
};

/* Runs one kernel, where it belongs; the call's views are of the mirror. */
int device_run(actnn *trainer, actnn_kernel *kernel, const actnn_call *call);
/* Makes room for the scratch of kernels that run on the processor, once all are prepared. */
int device_reserve_scratch(actnn *trainer);
/* Sends all inputs of the model, unless they are there already, the learning rate and the step's number; nobody waits for it. */
int device_send_inputs(actnn *trainer);
/* Sends the inputs of the next step, and nobody waits for that either: those of the step that runs stay as they are. */
int device_send_ahead(actnn *trainer);
/* Forward and backward of a training step, call by call or as a whole. The loss is fetched, and what of the prediction is asked for, before
 * backward makes other use of their memory. */
int device_forward(actnn *trainer);
int device_backward(actnn *trainer);

/* Nothing on the processor, whose memory the arena is. */
static inline int
device_fetch(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  return trainer->device && trainer->device->fetch(trainer, offset, bytes);
}

static inline int
device_send(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  return trainer->device && trainer->device->send(trainer, offset, bytes);
}

#endif
