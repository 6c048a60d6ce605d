/* reference.h: the gradients of a random graph by the double-precision evaluator, and how far they can be trusted. */
#ifndef ACTNN_RANDOM_REFERENCE_H
#define ACTNN_RANDOM_REFERENCE_H

#include "random_graph.h"

typedef struct ReferenceGradient {
  const char *parameter;
  int64_t count;
  double *data;
} ReferenceGradient;

typedef struct Reference {
  ReferenceGradient *gradient;
  uint32_t count;
  double loss, scale; /* scale: the largest norm of a gradient */
  Program *program; /* differentiated: what was evaluated; the caller destroys it */
} Reference;

/* Labels for the input that the loss adds, of that type and shape, for scores of that shape: classes, or numbers in [0, 1); the same
 * for the same number. */
Tensor *draw_labels(uint64_t number, actnn_type type, Shape shape, const Shape *scores, Arena *arena);

/* Reads the text, differentiates and evaluates it. With `perturbation`, every floating result of every node that rounds is multiplied
 * by 1 + perturbation * u, u uniform in [-1, 1] under `key`: what an evaluation in floats of that precision may give. NULL after
 * reporting. Everything lies in `arena`. */
Reference *evaluate_reference(const RandomGraph *graph, const char *text, double perturbation, uint64_t key, Arena *arena,
                              Diagnostics *diagnostics);

/* The largest distance (relative_distance.h) of a parameter's gradient to that of another evaluation of the same graph; which
 * parameter's, in *parameter (may be NULL). */
double reference_distance(const Reference *exact, const Reference *other, const char **parameter);

#endif
