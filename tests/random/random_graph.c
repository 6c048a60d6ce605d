/* random_graph.c: draws, values and nodes of random graphs, and the graph as a whole. */
#include "random_graph.h"

#include "../../runtime/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM_GRAPHS = 0x4752 }; /* the stream of these draws */

/* ---- draws ------------------------------------------------------------------------------------------- */

/* No expression has two draws whose order is the compiler's choice. */

static uint32_t
next_word(RandomGraph *graph)
{
  uint64_t count = graph->counter++;
  actnn_philox_block block = {{(uint32_t)(count / 4), 0, 0, 0}};
  return actnn_philox(block, actnn_random_key(graph->number, 0, RANDOM_GRAPHS, 0), ACTNN_PHILOX_ROUNDS).word[count % 4];
}

int64_t
draw(RandomGraph *graph, int64_t count)
{
  return (int64_t)((uint64_t)next_word(graph) * (uint64_t)count >> 32);
}

int64_t
draw_between(RandomGraph *graph, int64_t low, int64_t high)
{
  return low + draw(graph, high - low + 1);
}

bool
draw_chance(RandomGraph *graph, double chance)
{
  return next_word(graph) < chance * 4294967296.0;
}

double
draw_normal(RandomGraph *graph)
{
  double radius = sqrt(-2 * log(((double)next_word(graph) + 0.5) * 0x1p-32));
  return radius * cos(6.283185307179586 * (double)next_word(graph) * 0x1p-32);
}

/* ---- values ------------------------------------------------------------------------------------------ */

const Shape *
shape_at(const RandomGraph *graph, ValueId value)
{
  return &value_at(graph->program, value)->shape;
}

int64_t
elements_of(const RandomGraph *graph, ValueId value)
{
  int64_t count = 0;
  shape_elements(shape_at(graph, value), &count);
  return count;
}

double
root_mean_square(const RandomGraph *graph, ValueId value)
{
  const double *data = graph->tensor[value]->data;
  int64_t count = elements_of(graph, value);
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += data[i] * data[i];
  return count ? sqrt(sum / (double)count) : 0;
}

/* `given` numbers, or normal ones; each exactly a float, as the value's data and its tensor. */
static ValueId
new_floats(RandomGraph *graph, ValueKind kind, Shape shape, const double *given, double center, double scale)
{
  Program *program = graph->program;
  int64_t count;
  if (!shape_elements(&shape, &count) || count > MOST_PARAMETER_ELEMENTS || program->value_count >= MOST_VALUES_OF_A_GRAPH) return NO_VALUE;
  float *data = arena_array(program->arena, (size_t)count + 1, sizeof *data);
  double *reals = arena_array(program->arena, (size_t)count + 1, sizeof *reals);
  for (int64_t i = 0; i < count; i++) reals[i] = data[i] = (float)(given ? given[i] : center + scale * draw_normal(graph));
  char *name = arena_format(program->arena, "%s%u", kind == VALUE_PARAMETER ? "w" : "c", program->value_count);
  ValueId id = add_value(program, name, kind, ACTNN_F32, shape);
  value_at(program, id)->data = data;
  value_at(program, id)->data_bytes = (size_t)count * sizeof *data;
  graph->tensor[id] = arena_allocate(program->arena, sizeof(Tensor));
  *graph->tensor[id] = (Tensor){.type = ACTNN_F32, .shape = shape, .data = reals};
  return id;
}

ValueId
new_parameter(RandomGraph *graph, Shape shape, double center, double scale)
{
  ValueId id = new_floats(graph, VALUE_PARAMETER, shape, NULL, center, scale);
  if (id != NO_VALUE && draw_chance(graph, 0.03)) value_at(graph->program, id)->is_frozen = true;
  return id;
}

ValueId
new_constant(RandomGraph *graph, Shape shape, double center, double scale)
{
  return new_floats(graph, VALUE_CONSTANT, shape, NULL, center, scale);
}

ValueId
given_parameter(RandomGraph *graph, const Tensor *values)
{
  return new_floats(graph, VALUE_PARAMETER, values->shape, values->data, 0, 0);
}

ValueId
new_number(RandomGraph *graph, double number)
{
  return new_constant(graph, (Shape){.rank = 0}, number, 0);
}

ValueId
new_ints(RandomGraph *graph, const int64_t *ints, size_t count)
{
  Program *program = graph->program;
  int64_t extent = (int64_t)count;
  return add_constant(program, arena_format(program->arena, "i%u", program->value_count), ACTNN_I64, shape_of(1, &extent), ints,
                      count * sizeof *ints);
}

void
offer(RandomGraph *graph, ValueId value)
{
  if (value != NO_VALUE && graph->pool_count < MOST_POOL) graph->pool[graph->pool_count++] = value;
}

ValueId
choose_value(RandomGraph *graph, int low, int high)
{
  ValueId fitting[MOST_POOL];
  int64_t count = 0;
  for (uint32_t i = 0; i < graph->pool_count; i++) {
    int rank = shape_at(graph, graph->pool[i])->rank;
    if (rank >= low && rank <= high) fitting[count++] = graph->pool[i];
  }
  if (!count) return NO_VALUE;
  int64_t last = draw_chance(graph, 0.7) ? count - 1 - draw(graph, count < 3 ? count : 3) : draw(graph, count);
  return fitting[last];
}

/* ---- nodes ------------------------------------------------------------------------------------------- */

/* Values of order one keep graphs well-conditioned, whatever comes next. */
static bool
is_of_order_one(const RandomGraph *graph, ValueId id)
{
  const Tensor *tensor = graph->tensor[id];
  int64_t count = elements_of(graph, id);
  if (count < 1 || count > graph->most_elements) return false;
  if (tensor->type != ACTNN_F32) return true;
  for (int64_t i = 0; i < count; i++)
    if (!(fabs(((const double *)tensor->data)[i]) < 60)) return false;
  double size = root_mean_square(graph, id);
  return size > 0.02 && size < 12;
}

static bool
evaluate_results(RandomGraph *graph, NodeId id)
{
  Program *program = graph->program;
  const Node *node = node_at(program, id);
  const Tensor *operands[ACTNN_MAX_OPERANDS] = {NULL};
  Tensor *results = arena_array(program->arena, node->result_count + 1, sizeof *results);
  for (uint32_t i = 0; i < node->operand_count; i++)
    if (node->operands[i] != NO_VALUE) operands[i] = graph->tensor[node->operands[i]];
  if (!evaluate_node(program, id, program->arena, operands, results)) return false;
  bool is_good = true;
  for (uint32_t i = 0; i < node->result_count; i++) {
    if (node->results[i] == NO_VALUE) continue;
    graph->tensor[node->results[i]] = &results[i];
    is_good &= is_of_order_one(graph, node->results[i]);
  }
  return is_good;
}

/* Sets "axis=1 perm=1x0". */
static bool
set_attributes(Program *program, NodeId id, const char *attributes)
{
  char *text = arena_text(program->arena, attributes, strlen(attributes)), *rest = text;
  for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;)
    if (!set_try_attribute(program, id, word)) return false;
  return true;
}

/* Shapes and values of the node at the end of the order; it is taken out again when they are no good. Attributes that the shape
 * rule writes out are forgotten, so that the passes meet what an exporter left implicit. */
static bool
settle(RandomGraph *graph, NodeId id)
{
  Program *program = graph->program;
  Diagnostics *diagnostics = program->diagnostics;
  Node before = *node_at(program, id);
  bool was_quiet = diagnostics->quiet;
  unsigned errors = diagnostics->errors;
  before.attributes = arena_array(program->arena, before.attribute_count + 1u, sizeof *before.attributes);
  if (before.attribute_count)
    memcpy(before.attributes, node_at(program, id)->attributes, before.attribute_count * sizeof *before.attributes);
  diagnostics->quiet = true;
  bool is_good = infer_node(program, id) && evaluate_results(graph, id);
  diagnostics->quiet = was_quiet;
  diagnostics->errors = errors;
  Node *node = node_at(program, id);
  node->attributes = before.attributes;
  node->attribute_count = before.attribute_count;
  if (!is_good) {
    remove_from_order(program, program->order_count - 1);
    return false;
  }
  for (uint32_t i = 0; i < node->operand_count; i++)
    if (node->operands[i] != NO_VALUE) graph->is_read[node->operands[i]] = true;
  return true;
}

ValueId
grow(RandomGraph *graph, const char *name, const ValueId *operands, size_t count, size_t result_count, const char *attributes)
{
  Program *program = graph->program;
  ValueId results[8];
  for (size_t i = 0; i < count; i++)
    if (operands[i] == NO_VALUE && i == 0) return NO_VALUE;
  if (program->value_count + result_count >= MOST_VALUES_OF_A_GRAPH || result_count > 8) return NO_VALUE;
  for (size_t i = 0; i < result_count; i++)
    results[i] = add_value(program, arena_format(program->arena, "t%u", program->value_count), VALUE_TEMPORARY, ACTNN_F32,
                           (Shape){.rank = -1});
  NodeId id = add_node(program, PHASE_FORWARD, "", name, arena_format(program->arena, "n%u", program->node_count), operands, count,
                       results, result_count);
  if (!set_attributes(program, id, attributes)) {
    remove_from_order(program, program->order_count - 1);
    return NO_VALUE;
  }
  return settle(graph, id) ? results[0] : NO_VALUE;
}

ValueId
grow1(RandomGraph *graph, const char *name, ValueId x, const char *attributes)
{
  return grow(graph, name, &x, 1, 1, attributes);
}

ValueId
grow2(RandomGraph *graph, const char *name, ValueId a, ValueId b, const char *attributes)
{
  return a == NO_VALUE || b == NO_VALUE ? NO_VALUE : grow(graph, name, (ValueId[]){a, b}, 2, 1, attributes);
}

/* ---- projections ------------------------------------------------------------------------------------- */

static ValueId
reshape_to(RandomGraph *graph, ValueId x, Shape shape)
{
  if (shape_equal(shape_at(graph, x), &shape)) return x;
  return grow2(graph, "Reshape", x, new_ints(graph, shape.dim, (size_t)shape.rank), "");
}

/* The first `count` elements, repeated when there are fewer. */
static ValueId
first_elements(RandomGraph *graph, ValueId x, int64_t count)
{
  int64_t there = elements_of(graph, x), start = 0, repeats = (count + there - 1) / there;
  x = reshape_to(graph, x, shape_of(1, &there));
  if (x != NO_VALUE && repeats > 1) x = grow2(graph, "Tile", x, new_ints(graph, &repeats, 1), "");
  if (x == NO_VALUE || elements_of(graph, x) == count) return x;
  return grow(graph, "Slice", (ValueId[]){x, new_ints(graph, &start, 1), new_ints(graph, &count, 1)}, 3, 1, "");
}

ValueId
project(RandomGraph *graph, ValueId x, Shape shape)
{
  int64_t from = elements_of(graph, x), to = 0;
  if (!shape_elements(&shape, &to) || to < 1) return NO_VALUE;
  double scale = 1 / fmax(root_mean_square(graph, x), 0.05);
  ValueId flat;
  if (from * to <= MOST_PARAMETER_ELEMENTS) {
    const int64_t row[2] = {1, from}, weight[2] = {from, to};
    flat = reshape_to(graph, x, shape_of(2, row));
    if (flat == NO_VALUE) return NO_VALUE;
    flat = grow2(graph, "MatMul", flat, new_parameter(graph, shape_of(2, weight), 0, scale / sqrt((double)from)), "");
  } else {
    flat = first_elements(graph, x, to);
    if (flat != NO_VALUE && to <= MOST_PARAMETER_ELEMENTS)
      flat = grow2(graph, "Mul", flat, new_parameter(graph, shape_of(1, &to), scale, 0.3 * scale), "");
  }
  return flat == NO_VALUE ? NO_VALUE : reshape_to(graph, flat, shape);
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static ValueId
new_input(RandomGraph *graph, const char *name, Shape shape, int64_t classes)
{
  Program *program = graph->program;
  ValueId id = add_value(program, name, VALUE_INPUT, classes ? ACTNN_I64 : ACTNN_F32, shape);
  int64_t count = 0;
  shape_elements(&shape, &count);
  Tensor *tensor = graph->tensor[id] = arena_allocate(program->arena, sizeof *tensor);
  *tensor = (Tensor){.type = classes ? ACTNN_I64 : ACTNN_F32, .shape = shape, .data = arena_array(program->arena, (size_t)count + 1, 8)};
  for (int64_t i = 0; i < count; i++) {
    if (classes) ((int64_t *)tensor->data)[i] = draw(graph, classes);
    else ((double *)tensor->data)[i] = (float)draw_normal(graph);
  }
  program->inputs[program->input_count++] = id;
  return id;
}

static bool
is_large(const RandomGraph *graph)
{
  return graph->number >= LARGE_GRAPHS;
}

/* Channels and positions of an input. */
static void
draw_extents(RandomGraph *graph, int rank, int64_t *dim)
{
  if (is_large(graph)) {
    static const int64_t most[] = {[3] = 40, [4] = 12, [5] = 6};
    for (int k = 1; k < rank; k++) dim[k] = k == 1 ? draw_between(graph, 2, 20) : draw_between(graph, 4, most[rank]);
    if (rank == 2) dim[1] = draw_between(graph, 128, 300);
    return;
  }
  for (int k = 1; k < rank; k++) dim[k] = k == 1 ? draw_between(graph, 1, 5) : draw_between(graph, 2, rank == 5 ? 4 : 8);
  if (rank == 2) dim[1] = draw_between(graph, 2, 17);
  if (rank > 2 && graph->batch == 1 && draw_chance(graph, 0.5)) { /* more positions than a group of codes has rows */
    dim[1] = draw_between(graph, 1, 3);
    dim[rank - 1] += 9;
    dim[rank - 2] += 8;
  }
  if (rank == 4 && draw_chance(graph, 0.15)) { /* whole blocks of channels */
    dim[1] = 16 * draw_between(graph, 1, 2);
    dim[2] = draw_between(graph, 2, 4);
    dim[3] = draw_between(graph, 2, 4);
  }
}

/* Images, volumes, sequences, vectors; or tokens, whose rows of a table are what the rest sees. */
static void
grow_inputs(RandomGraph *graph)
{
  Program *program = graph->program;
  program->inputs = arena_array(program->arena, 8, sizeof *program->inputs);
  int count = draw_chance(graph, 0.25) ? 2 : 1;
  for (int i = 0; i < count; i++) {
    char *name = arena_format(program->arena, "x%d", i);
    int64_t dim[5] = {graph->batch};
    if (draw_chance(graph, 0.2)) {
      int64_t rows = draw_between(graph, 3, 11), width = draw_between(graph, 3, 9), table[2] = {rows, width};
      dim[1] = draw_between(graph, 2, 7);
      ValueId tokens = new_input(graph, name, shape_of(2, dim), rows);
      offer(graph, grow2(graph, "Gather", new_parameter(graph, shape_of(2, table), 0, 1), tokens, ""));
      continue;
    }
    static const int ranks[] = {2, 2, 3, 3, 4, 4, 4, 4, 5};
    int rank = ranks[draw(graph, 9)];
    draw_extents(graph, rank, dim);
    offer(graph, new_input(graph, name, shape_of(rank, dim), 0));
  }
}

static void
grow_layers(RandomGraph *graph)
{
  static Layer *const layers[] = {
      grow_convolution, grow_convolution, grow_transposed_convolution, grow_normalized_convolution, grow_normalized_convolution,
      grow_residual_block, grow_pool, grow_pool, grow_global_pool, grow_normalization, grow_row_normalization, grow_row_normalization,
      grow_dense, grow_dense, grow_gemm, grow_attention, grow_attention, grow_unary, grow_unary, grow_broadcast, grow_broadcast,
      grow_joined, grow_joined, grow_reduction, grow_softmax, grow_transposed, grow_reshaped, grow_sliced, grow_split,
      grow_concatenated, grow_padded, grow_embedding, grow_dropout, grow_rows_of_layers, grow_selected,
      grow_table_entry, grow_table_entry, grow_table_entry, grow_table_entry, grow_table_entry};
  enum { KINDS = sizeof layers / sizeof layers[0], ENTRIES = 5 };
  /* Entries of the table have small operands of their own, which are not worth coding. */
  int64_t wanted = draw_between(graph, is_large(graph) ? 6 : 2, 12), kinds = KINDS - (is_large(graph) ? ENTRIES : 0);
  if (!is_large(graph)) grow_entry_in_turn(graph);
  for (int64_t i = 0, tries = 0; i < wanted && tries < 80; tries++) {
    uint32_t before = graph->pool_count;
    layers[draw(graph, kinds)](graph);
    i += graph->pool_count > before;
  }
}

/* Whatever the layers froze or cut off from the loss: this is trained. */
static ValueId
scale_by_trained(RandomGraph *graph, ValueId value)
{
  ValueId scale = value == NO_VALUE ? NO_VALUE : new_parameter(graph, *shape_at(graph, value), 1, 0.1);
  if (scale == NO_VALUE) return value;
  value_at(graph->program, scale)->is_frozen = false;
  ValueId scaled = grow2(graph, "Mul", value, scale, "");
  return scaled == NO_VALUE ? value : scaled;
}

/* All that nothing reads meets in one value of that shape. */
static ValueId
join_ends(RandomGraph *graph, Shape shape)
{
  ValueId sum = NO_VALUE;
  for (uint32_t i = 0; i < graph->pool_count; i++) {
    ValueId value = graph->pool[i];
    if (graph->is_read[value] && i + 1 < graph->pool_count) continue;
    ValueId part = project(graph, value, shape);
    if (part == NO_VALUE) continue;
    ValueId next = sum == NO_VALUE ? part : grow2(graph, "Add", sum, part, "");
    if (next != NO_VALUE) sum = next;
  }
  return is_large(graph) ? scale_by_trained(graph, sum) : sum;
}

static void
make_output(RandomGraph *graph, ValueId value)
{
  Program *program = graph->program;
  program->outputs = arena_array(program->arena, 1, sizeof *program->outputs);
  program->outputs[0] = value;
  program->output_count = 1;
  value_at(program, value)->is_output = true;
  graph->is_whole = true;
}

/* A loss that is a node of the model: of labels that are an input, of everything's mean square, or a likelihood. */
static void
grow_own_loss(RandomGraph *graph)
{
  int64_t classes = draw_between(graph, 2, 7), scores_shape[2] = {graph->batch, classes};
  ValueId scores = join_ends(graph, shape_of(2, scores_shape)), loss = NO_VALUE;
  if (scores == NO_VALUE) return;
  int kind = (int)draw(graph, 3);
  if (kind < 2) {
    const char *name = arena_format(graph->program->arena, "target%u", graph->program->value_count);
    ValueId labels = new_input(graph, name, shape_of(1, &graph->batch), classes);
    if (kind == 0) loss = grow2(graph, "SoftmaxCrossEntropyLoss", scores, labels, draw_chance(graph, 0.3) ? "reduction=sum" : "");
    else loss = grow2(graph, "NegativeLogLikelihoodLoss", grow1(graph, "LogSoftmax", scores, ""), labels, "");
  } else {
    loss = grow1(graph, "ReduceMean", grow2(graph, "Mul", scores, scores, ""), "keepdims=0");
  }
  if (loss != NO_VALUE) make_output(graph, loss);
}

static void
grow_loss(RandomGraph *graph)
{
  static const char *const kinds[] = {"softmax-cross-entropy", "softmax-cross-entropy", "mse", "l1", "bce-with-logits"};
  static const char *const optimizers[] = {"sgd", "sgd,momentum=0", "sgd,nesterov=1,weight_decay=0.01", "adam", "adamw", "adagrad"};
  graph->optimizer = optimizers[draw(graph, 6)];
  graph->loss = NULL;
  if (draw_chance(graph, 0.25)) {
    grow_own_loss(graph);
    return;
  }
  graph->loss = kinds[draw(graph, 5)];
  int64_t dim[4] = {graph->batch, 0, 0, 2};
  dim[1] = draw_between(graph, 2, 6);
  dim[2] = draw_between(graph, 2, 3);
  ValueId scores = join_ends(graph, shape_of(draw_chance(graph, 0.7) ? 2 : (int)draw_between(graph, 3, 4), dim));
  if (scores != NO_VALUE) make_output(graph, scores);
}

RandomGraph *
make_random_graph(uint64_t number, Arena *arena, Diagnostics *diagnostics)
{
  static const OpsetImport opset = {"", 23};
  RandomGraph *graph = arena_allocate(arena, sizeof *graph);
  graph->number = number;
  graph->program = program_create(arena_format(arena, "graph %llu", (unsigned long long)number), diagnostics);
  Program *program = graph->program;
  program->name = arena_format(program->arena, "graph%llu", (unsigned long long)number);
  program->ir_version = 10;
  program->opsets = arena_array(program->arena, 1, sizeof *program->opsets);
  program->opsets[0] = opset;
  program->opset_count = program->opset_capacity = 1;
  graph->most_elements = is_large(graph) ? MOST_ELEMENTS_OF_A_LARGE_VALUE : MOST_ELEMENTS_OF_A_VALUE;
  graph->batch = draw_between(graph, is_large(graph) ? 4 : 1, is_large(graph) ? 12 : 5);
  grow_inputs(graph);
  if (!graph->pool_count) return graph;
  grow_layers(graph);
  for (int tries = 0; tries < 8 && !graph->is_whole; tries++) grow_loss(graph);
  return graph;
}
