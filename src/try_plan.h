/* try_plan.h: what comes of passes, without keeping what they make: for choices that are known to be right only when memory is planned. */
#ifndef ACTNN_TRY_PLAN_H
#define ACTNN_TRY_PLAN_H

#include "../passes/passes.h"

typedef struct Trial {
  bool is_good;
  uint64_t arena_bytes;
  uint64_t placed_bytes; /* of it without libraries' scratch, which is another on every machine */
  uint64_t saved_bytes, uncompressed_bytes;
} Trial;

/* Runs the passes from `first` on, quietly, on a copy of what those before have made. */
Trial try_plan(const Program *so_far, PassFunction *first, const Options *options);

#endif
