/* random_graph.h: random trainable graphs, each the same for its number on every machine.
 *
 * A graph is grown value by value. Its double-precision value is computed on the way, so that the generator sees what it makes: a
 * node whose result is not finite, or far from order one, is taken back, and weights are scaled to what they meet. Where each number
 * comes from is a counter under a key (philox.h), so that graph 4711 needs none of those before it.
 *
 * Two kinds of nodes are drawn:
 *   layers (random_layers.c, random_shapes.c)   convolutions, pools, products, normalizations, attention and what moves elements, at
 *                                               random shapes of the values there are
 *   entries of the operator table               each of its `tries`, fed by projections of the values there are; a new entry of the
 *                                               table is drawn without a line here */
#ifndef ACTNN_RANDOM_GRAPH_H
#define ACTNN_RANDOM_GRAPH_H

#include "../../passes/passes.h"
#include "../operators/tries.h"

enum { MOST_VALUES_OF_A_GRAPH = 4096, MOST_POOL = 64, MOST_PARAMETER_ELEMENTS = 1000, MOST_ELEMENTS_OF_A_VALUE = 2000 };

/* Graphs numbered from here on have larger inputs, so that most have values worth coding. Evaluating one takes longer. */
enum { LARGE_GRAPHS = 1 << 30, MOST_ELEMENTS_OF_A_LARGE_VALUE = 30000 };

typedef struct RandomGraph {
  uint64_t number;
  Program *program;           /* forward, as ONNX has it; belongs to the graph */
  const char *loss;           /* as after --loss=; NULL: the model's own */
  const char *optimizer;      /* as after --optimizer= */
  Tensor *tensor[MOST_VALUES_OF_A_GRAPH]; /* by value: what the evaluator made of it; inputs too */
  ValueId pool[MOST_POOL];    /* floating values that nodes may read, in the order in which they were made */
  bool is_read[MOST_VALUES_OF_A_GRAPH];
  uint32_t pool_count;
  uint64_t counter;           /* of draws */
  int64_t batch, most_elements; /* of a value */
  bool is_whole; /* all layers that were wanted could be made, and a loss */
} RandomGraph;

/* Makes graph `number`; its program's messages go to `diagnostics`. The caller destroys graph->program. */
RandomGraph *make_random_graph(uint64_t number, Arena *arena, Diagnostics *diagnostics);

/* ---- for layers -------------------------------------------------------------------------------------- */

/* A whole number in [0, count). */
int64_t draw(RandomGraph *graph, int64_t count);
/* A whole number in [low, high]. */
int64_t draw_between(RandomGraph *graph, int64_t low, int64_t high);
bool draw_chance(RandomGraph *graph, double chance);
double draw_normal(RandomGraph *graph);

const Shape *shape_at(const RandomGraph *graph, ValueId value);
int64_t elements_of(const RandomGraph *graph, ValueId value);
double root_mean_square(const RandomGraph *graph, ValueId value);

/* A trained parameter, normal around `center`. NO_VALUE when it would have more elements than texts show. */
ValueId new_parameter(RandomGraph *graph, Shape shape, double center, double scale);
/* One that starts with these values. */
ValueId given_parameter(RandomGraph *graph, const Tensor *values);
ValueId new_constant(RandomGraph *graph, Shape shape, double center, double scale);
ValueId new_ints(RandomGraph *graph, const int64_t *ints, size_t count);
ValueId new_number(RandomGraph *graph, double number);

/* Appends ONNX's operator `name` on the operands; attributes as in tries ("axis=1 perm=1x0"). The first of `result_count` results;
 * NO_VALUE when it was taken back, because its shape rule refuses the operands or its values are not of order one. */
ValueId grow(RandomGraph *graph, const char *name, const ValueId *operands, size_t count, size_t result_count, const char *attributes);
ValueId grow1(RandomGraph *graph, const char *name, ValueId x, const char *attributes);
ValueId grow2(RandomGraph *graph, const char *name, ValueId a, ValueId b, const char *attributes);

/* A value of the pool, recent ones more often; with a rank in [low, high]. NO_VALUE when there is none. */
ValueId choose_value(RandomGraph *graph, int low, int high);
/* Puts a value into the pool. */
void offer(RandomGraph *graph, ValueId value);
/* A value of that shape computed from x by parameters: a product where that is small enough, slices and a scale otherwise. */
ValueId project(RandomGraph *graph, ValueId x, Shape shape);

/* A layer makes values of those in the pool and offers them, or does nothing. */
typedef void Layer(RandomGraph *graph);
Layer grow_convolution, grow_transposed_convolution, grow_normalized_convolution, grow_residual_block, grow_pool, grow_global_pool,
    grow_normalization, grow_row_normalization, grow_dense, grow_gemm, grow_attention, grow_unary, grow_broadcast, grow_joined,
    grow_reduction, grow_softmax, grow_transposed, grow_reshaped, grow_sliced, grow_split, grow_concatenated, grow_padded,
    grow_embedding, grow_dropout, grow_rows_of_layers, grow_selected;
/* One of the tries of an entry of the operator table: a random one, or the one whose turn it is by the graph's number. */
Layer grow_table_entry, grow_entry_in_turn;

#endif
