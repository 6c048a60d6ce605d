/* variants.h: changes of a graph that must not change a bit of what it trains to. */
#ifndef ACTNN_VARIANTS_H
#define ACTNN_VARIANTS_H

#include "random_graph.h"

enum Variant { DEAD_NODES, IDENTITIES, RENAMED, REORDERED, CONSTANT_NODES, VARIANTS };

const char *variant_name(int variant);
/* The text of a graph changed so; what is drawn follows from the graph's number. NULL after reporting. */
const char *variant_text(const RandomGraph *graph, const char *text, int variant, Arena *arena, Diagnostics *diagnostics);

#endif
