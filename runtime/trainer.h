/* trainer.h: a trainer's life, for the runtime's own files: making one with more to say than `actnn_create`
 * takes, and a step in two halves. */
#ifndef ACTNN_TRAINER_H
#define ACTNN_TRAINER_H

#include "runtime.h"

typedef struct trainer_options {
  int threads;       /* 0: all cores */
  int channel_block; /* 1, 8 or 16; 0: what this machine likes */
  uint64_t seed;
  bool quiet;   /* no notes on stderr */
  bool profile; /* time every call */
  bool tensor_float; /* products of numbers rounded to TF32, on a GPU */
  bool may_vary;     /* convolutions in ways that give other last bits each time, there */
  bool skips;   /* a step that is not finite is undone (finite.h) */
} trainer_options;

/* As `actnn_create`. */
actnn *trainer_create(const actnn_model *model, const trainer_options *options, char *error, size_t error_bytes);

/* The first half of `actnn_step`: sets the learning rate and the step number, runs forward, reads the loss (trainer->loss) and
 * refuses one that is not finite (no parameter has been updated then). The model's training_output may be read
 * between the halves. On a device all that is only launched, and known after the second half. 0, or 1 with a message. */
int trainer_forward(actnn *trainer, double learning_rate);
/* The second half: backward with the updates; the step counter moves on, except under an observer. */
int trainer_backward(actnn *trainer);
/* After either half has failed: true when the step was not finite and is undone, and training can go on with the next. */
bool trainer_skips(actnn *trainer);

/* The channel block that suits this machine: 16 with AVX-512, 8 with AVX2, else 1. */
int trainer_machine_channel_block(void);

/* Number of elements of a tensor of the model, checked when the trainer was made. */
size_t trainer_elements(const actnn_tensor *tensor);
/* Bytes of one element; 0 for what the runtime cannot hold. */
size_t trainer_type_bytes(int type);
/* The emitted tables are trusted no further than this: every number leads into its table and every tensor lies inside the arena. 0, or 1 and
 * the reason. */
int trainer_check_model(actnn *trainer);
/* True for kernels that change a variable: operand 0 the variable, operand 1 its gradient. */
bool actnn_is_update(actnn_kernel *kernel);

#endif
