/* trainers.h: many emitted sources as one shared object in this process, and runs of their trainers. */
#ifndef ACTNN_TRAINERS_H
#define ACTNN_TRAINERS_H

#include "emission.h"
#include "reference.h"

/* Compiles NAME.c of the current folder, for each name, into one shared object and loads it. NULL after saying why on stdout. */
void *load_trainers(const char *const *names, size_t count, const char *object, Arena *arena);
void unload_trainers(void *trainers);
/* What compiling leaves in the current folder beside the objects. */
void remove_compiled_header(void);

typedef struct Run {
  const char *failure; /* NULL: it ran */
  double loss[4], evaluation_loss;
  uint64_t variables_hash; /* of parameters and states after the steps */
  uint64_t allocated_bytes, poisoned_bytes;
  Reference *gradients; /* of the first step's batch, before any update; NULL when not asked for */
} Run;

typedef struct RunOptions {
  bool is_poisoned, wants_gradients;
  int steps, channel_block;
} RunOptions;

/* Makes the trainer of that name, gives it its weights and the graph's inputs, and trains. */
Run run_trainer(const RandomGraph *graph, void *trainers, const Emission *emission, const RunOptions *options, Arena *arena);

#endif
