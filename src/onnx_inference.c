/* onnx_inference.c: the model that `--export` completes with trained weights.
 *
 * It is the model that came in, edited as little as possible: same names, nodes, inputs, outputs and operator sets, but
 * without variables and training information, and in inference mode.
 */
#include "onnx_export.h"
#include "onnx_import.h"

#include <string.h>

/* ---- inference mode ------------------------------------------------------------------------------- */

static bool
is_standard(const Onnx__NodeProto *node, const char *operator_name)
{
  bool is_plain = !node->domain || !node->domain[0] || !strcmp(node->domain, "ai.onnx");
  return is_plain && node->op_type && !strcmp(node->op_type, operator_name);
}

static void
drop_attribute(Onnx__NodeProto *node, const char *name)
{
  size_t kept = 0;
  for (size_t i = 0; i < node->n_attribute; i++) {
    if (strcmp(node->attribute[i]->name, name)) node->attribute[kept++] = node->attribute[i];
  }
  node->n_attribute = kept;
}

/* Running statistics are results 1 and on in training mode. They stay when something reads them. */
static void
normalize_by_statistics(Onnx__NodeProto *node, const NameTable *read, NameTable *dropped)
{
  uint32_t index;
  for (size_t i = 1; i < node->n_output; i++) {
    if (node->output[i][0] && name_table_find(read, node->output[i], &index)) return; /* absent operands are no readers of absent results */
  }
  for (size_t i = 1; i < node->n_output; i++) name_table_add(dropped, node->output[i], 0, NULL);
  if (node->n_output > 1) node->n_output = 1;
  drop_attribute(node, "training_mode");
}

static void
to_inference(Onnx__NodeProto **nodes, size_t count, char **results, size_t result_count, NameTable *dropped)
{
  bool is_affected = false;
  for (size_t i = 0; i < count && !is_affected; i++)
    is_affected = is_standard(nodes[i], "BatchNormalization") || is_standard(nodes[i], "Dropout");
  if (!is_affected) return;
  NameTable *read = name_table_create();
  for (size_t i = 0; i < result_count; i++) name_table_add(read, results[i], 0, NULL);
  for (size_t n = 0; n < count; n++) {
    for (size_t i = 0; i < nodes[n]->n_input; i++) name_table_add(read, nodes[n]->input[i], 0, NULL);
  }
  for (size_t n = 0; n < count; n++) {
    if (is_standard(nodes[n], "BatchNormalization")) normalize_by_statistics(nodes[n], read, dropped);
    if (is_standard(nodes[n], "Dropout") && nodes[n]->n_input > 2) nodes[n]->n_input = 2;
  }
  name_table_destroy(read);
}

/* ---- what is left out ----------------------------------------------------------------------------- */

static void
drop_values(Onnx__ValueInfoProto **infos, size_t *count, const NameTable *dropped)
{
  size_t kept = 0;
  uint32_t index;
  for (size_t i = 0; i < *count; i++) {
    if (!name_table_find(dropped, infos[i]->name, &index)) infos[kept++] = infos[i];
  }
  *count = kept;
}

static void
drop_variables(Onnx__GraphProto *graph, const NameTable *variables)
{
  uint32_t index;
  size_t kept = 0;
  for (size_t i = 0; i < graph->n_initializer; i++) {
    if (!name_table_find(variables, graph->initializer[i]->name, &index))
      graph->initializer[kept++] = graph->initializer[i];
  }
  graph->n_initializer = kept;
  kept = 0;
  for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
    if (!name_table_find(variables, graph->sparse_initializer[i]->values->name, &index))
      graph->sparse_initializer[kept++] = graph->sparse_initializer[i];
  }
  graph->n_sparse_initializer = kept;
}

/* A dump of ours holds nodes of other phases, too. */
static void
drop_other_phases(Onnx__GraphProto *graph)
{
  size_t kept = 0;
  for (size_t n = 0; n < graph->n_node; n++) {
    const Onnx__NodeProto *node = graph->node[n];
    Phase phase = PHASE_FORWARD;
    for (size_t i = 0; i < node->n_attribute; i++) {
      if (is_phase_attribute(node->attribute[i], &phase)) break;
    }
    if (phase == PHASE_FORWARD) graph->node[kept++] = graph->node[n];
  }
  graph->n_node = kept;
}

/* Remarks of exporters (source lines, stack traces) and shapes of the batch trained with: several times the model. */
static void
drop_remarks(Onnx__GraphProto *graph)
{
  enum { NODE_METADATA = 9 };
  graph->doc_string = NULL;
  graph->n_value_info = 0;
  for (size_t n = 0; n < graph->n_node; n++) {
    Onnx__NodeProto *node = graph->node[n];
    unsigned kept = 0;
    for (unsigned i = 0; i < node->base.n_unknown_fields; i++) {
      if (node->base.unknown_fields[i].tag != NODE_METADATA)
        node->base.unknown_fields[kept++] = node->base.unknown_fields[i];
    }
    node->base.n_unknown_fields = kept;
    node->doc_string = NULL;
  }
}

static bool
keep_model(Program *program, const Onnx__ModelProto *model, Arena *scratch)
{
  unsigned char *bytes;
  size_t length;
  if (!pack_model(program, model, scratch, &bytes, &length)) return false;
  unsigned char *copy = arena_allocate(program->arena, length + 1);
  memcpy(copy, bytes, length);
  program->inference_model = copy;
  program->inference_model_bytes = length;
  return true;
}

bool
make_inference_model(Program *program, Onnx__ModelProto *model, Arena *scratch)
{
  Onnx__GraphProto *graph = model->graph;
  NameTable *variables = name_table_create(), *dropped = name_table_create();
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (value->name && (value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE))
      name_table_add(variables, value->name, id, NULL);
  }
  model->n_training_info = 0;
  drop_variables(graph, variables);
  drop_other_phases(graph);
  drop_remarks(graph);
  to_inference(graph->node, graph->n_node, NULL, 0, dropped);
  drop_values(graph->output, &graph->n_output, dropped);
  for (size_t i = 0; i < model->n_functions; i++) {
    Onnx__FunctionProto *function = model->functions[i];
    to_inference(function->node, function->n_node, function->output, function->n_output, dropped);
  }
  name_table_destroy(variables);
  name_table_destroy(dropped);
  return keep_model(program, model, scratch);
}

/* ---- completion ----------------------------------------------------------------------------------- */

/* Adds the value as an initializer when `name` is defined by nothing in the graph; there is room for every value. */
static void
define_name(const Program *program, const NameTable *values, NameTable *defined, const char *name, Onnx__GraphProto *graph, Arena *arena)
{
  uint32_t id;
  if (!name[0] || !name_table_find(values, name, &id) || !name_table_add(defined, name, 0, NULL)) return;
  const Value *value = value_at(program, id);
  bool is_variable = value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE;
  if (is_variable || !value->data) return;
  graph->initializer[graph->n_initializer++] = value_to_tensor(program, id, name, arena);
}

/* Text leaves the types of outputs to inference; in a model they must be written. */
static void
type_outputs(const Program *program, Onnx__GraphProto *graph, Arena *arena)
{
  NameTable *values = name_table_create();
  for (ValueId id = 0; id < program->value_count; id++) {
    if (value_at(program, id)->name) name_table_add(values, value_at(program, id)->name, id, NULL);
  }
  for (size_t i = 0; i < graph->n_output; i++) {
    ValueId id;
    Onnx__ValueInfoProto *output = graph->output[i];
    if (!output->type && name_table_find(values, output->name, &id))
      output->type = rank_to_type(value_at(program, id), arena);
  }
  name_table_destroy(values);
}

/* An input that only repeats an initializer's name, as up to IR 3, defines nothing. */
static void
list_defined(const Onnx__GraphProto *graph, const NameTable *values, NameTable *defined)
{
  uint32_t id;
  for (size_t i = 0; i < graph->n_input; i++) {
    const char *name = graph->input[i]->name;
    if (!name_table_find(values, name, &id)) name_table_add(defined, name, 0, NULL);
  }
  for (size_t i = 0; i < graph->n_initializer; i++) name_table_add(defined, graph->initializer[i]->name, 0, NULL);
  for (size_t i = 0; i < graph->n_sparse_initializer; i++)
    name_table_add(defined, graph->sparse_initializer[i]->values->name, 0, NULL);
  for (size_t n = 0; n < graph->n_node; n++) {
    for (size_t i = 0; i < graph->node[n]->n_output; i++) name_table_add(defined, graph->node[n]->output[i], 0, NULL);
  }
}

bool
finish_inference_model(Program *program)
{
  if (!program->inference_model) return true;
  Arena *scratch = arena_create();
  Onnx__ModelProto *model = (Onnx__ModelProto *)unpack_message(
      &onnx__model_proto__descriptor, program->inference_model, program->inference_model_bytes, 0, program->source,
      scratch, program->diagnostics);
  bool is_kept = false;
  if (model) {
    NameTable *values = name_table_create(), *defined = name_table_create();
    for (ValueId id = 0; id < program->value_count; id++) {
      const Value *value = value_at(program, id);
      if (value->name && value->producer == NO_NODE && value->kind != VALUE_INPUT)
        name_table_add(values, value->name, id, NULL);
    }
    Onnx__GraphProto *graph = model->graph;
    list_defined(graph, values, defined);
    Onnx__TensorProto **larger =
        arena_array(scratch, graph->n_initializer + program->value_count + (size_t)1, sizeof *larger);
    if (graph->n_initializer) memcpy(larger, graph->initializer, graph->n_initializer * sizeof *larger);
    graph->initializer = larger;
    for (size_t n = 0; n < graph->n_node; n++) {
      for (size_t i = 0; i < graph->node[n]->n_input; i++)
        define_name(program, values, defined, graph->node[n]->input[i], graph, scratch);
    }
    for (size_t i = 0; i < graph->n_output; i++)
      define_name(program, values, defined, graph->output[i]->name, graph, scratch);
    type_outputs(program, graph, scratch);
    is_kept = keep_model(program, model, scratch);
    name_table_destroy(values);
    name_table_destroy(defined);
  }
  arena_destroy(scratch);
  return is_kept;
}
