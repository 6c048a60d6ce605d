/* runtime.h: the inside of libactnn, shared by its files only. */
#ifndef ACTNN_RUNTIME_H
#define ACTNN_RUNTIME_H

#include "actnn.h"

#include <stdio.h>

enum { ACTNN_CHANNELS_LAST = -1 };

struct actnn {
  const actnn_model *model;
  const actnn_device *device;          /* where tensors live (device.h); NULL: in the processor's memory */
  struct device_state *device_state;   /* the device's own */
  unsigned char *device_arena;         /* address there of the arena, whose mirror `arena` then is */
  unsigned char *scratch;              /* of kernels that run on the processor all the same */
  uint64_t scratch_bytes;
  unsigned char *image;                /* the largest image that they read or write, while it is put in another order */
  uint64_t image_bytes;
  char on_processor[256];              /* the names of their operators, as far as they fit */
  int32_t *winner;                     /* classes that won at each position of the last step's prediction (winners.h); NULL: it tells none */
  uint64_t device_calls;               /* calls so far of a trainer with a device */
  bool calls_are_known;                /* those of the present step need not be made */
  unsigned char *arena;
  uint64_t arena_bytes;     /* really reserved: the plan's, and what this machine's library asks beyond it */
  unsigned char *workspace; /* scratch for library primitives, inside the arena */
  uint64_t workspace_bytes;
  uint64_t workspace_wanted; /* while preparing: the most that any primitive asked for */
  bool preparing;            /* kernels make their primitives, say their scratch, and compute nothing */
  bool measuring;            /* while preparing: for a plan, of which only scratch is asked; there are no saves */
  bool measures_gpu;         /* then: for a GPU, of which only copies are asked (bfloat.h) */
  bool lacks_memory;         /* while preparing: a primitive could not be made because memory ran out */
  int threads;
  int channel_block;         /* B: 1, 8 or 16; ACTNN_CHANNELS_LAST on a device: of each value all its channels */
  uint64_t seed;
  uint64_t step;             /* counts training steps; part of every random key and of checkpoints */
  struct library_primitive **primitive; /* one slot a tensor: the primitive that writes it (library.c) */
  struct library *library;   /* the library's engine and stream (library.c) */
  struct saves *saves;       /* bits, places and sensitivities of the coded saves (saves.c) */
  struct offload *offload;   /* codes that wait in the host's memory (offload.c); NULL: none do */
  actnn_gradient_observer *observer;
  void *observer_context;
  bool has_constants;        /* the model's large constants have been loaded; later files need not have them */
  bool is_ahead;             /* the inputs hold the batch of `ahead_step` already, and a device has it beside the present one */
  uint64_t ahead_step;
  void (*meanwhile)(void *context); /* called while a device computes a step that was launched; NULL */
  void *meanwhile_context;
  uint64_t draw;             /* normally 0; `--variance` raises it to redraw codes of the same step */
  struct profile *profile;   /* `--profile`: times of calls (profile.c); NULL otherwise */
  unsigned char *kept;       /* the variables before this step, when one that is not finite is to be undone (finite.c); NULL */
  double loss;               /* of the last step */
  bool is_not_finite;        /* why this step failed */
  bool quiet;                /* no notes on stderr */
  bool tensor_float;         /* products of numbers rounded to TF32, on a GPU */
  bool may_vary;             /* there, convolutions in ways that give other last bits each time */
  char error[512];
};

/* Of the pool of saves. */
static inline uint64_t
pool_bytes_in_arena(const actnn_model *model)
{
  return model->window_bytes ? model->window_bytes : model->stash_bytes + model->exact_bytes;
}

/* Writes a message into trainer->error (stderr when there is no trainer); always returns 1. */
int actnn_fail(actnn *trainer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* True when kernels should only make their primitives. */
static inline bool
actnn_is_preparing(const actnn_call *call)
{
  return call->trainer && call->trainer->preparing;
}

#endif
