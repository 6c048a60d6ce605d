/* onnx_import.c: from a model's file to a program. onnx_import.h shows which file does what. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_PATH */
#endif
#include "onnx_import.h"
#include "onnx_export.h"

#include "../runtime/descriptor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_OPSETS = 64, OLDEST_OPSET = 7 };

static const uint64_t MOST_FILE_BYTES = (uint64_t)1 << 31;
static const uint64_t MOST_DENSE_BYTES = (uint64_t)64 << 20;
static const uint64_t MOST_EXTERNAL_BYTES = (uint64_t)16 << 30;
static const uint64_t MOST_EXPANSION = MOST_NODES;

/* ---- values --------------------------------------------------------------------------------------- */

ValueId
declare_value(Import *import, NameTable *names, const char *name, ValueKind kind, actnn_type type, Shape shape,
              const Onnx__NodeProto *maker)
{
  Program *program = import->program;
  ValueId present, id = program->value_count;
  if (!name_table_add(names, name, id, &present)) {
    const char *shown = safe_name(import->scratch, name);
    if (maker)
      reject(import, NULL, "%s makes '%s', which is defined already", node_title(import, maker), shown);
    else
      reject(import, NULL, "'%s' is defined twice", shown);
    return NO_VALUE;
  }
  if (names != import->values) { /* a scope of its own: its names must not be mistaken for others */
    ValueId other;
    if (name_table_find(import->values, name, &other) || !name_table_add(import->initialization, name, id, NULL))
      name = NULL;
  }
  return add_value(program, name, kind, type, shape);
}

/* ---- initializers --------------------------------------------------------------------------------- */

/* Floating initializers of the model are parameters until it is known which of them the loss depends on. In a
 * training algorithm only what a binding changes persists; the rest are constants, as in an initialization graph. */
static ValueKind
initializer_kind(Import *import, GraphRole role, const Onnx__TensorProto *tensor, actnn_type type)
{
  uint32_t index;
  const char *name = tensor->name, *mark = tensor->doc_string ? tensor->doc_string : "";
  bool is_bound = name_table_find(import->updated, name, &index) || name_table_find(import->drawn, name, &index);
  if (role == GRAPH_MAIN && !strcmp(mark, STATE_MARK)) return VALUE_STATE;
  if (role == GRAPH_MAIN && !strcmp(mark, CONSTANT_MARK) && !is_bound) return VALUE_CONSTANT;
  if (role == GRAPH_MAIN && is_floating(type)) return VALUE_PARAMETER;
  return role != GRAPH_INITIALIZATION && is_bound ? VALUE_STATE : VALUE_CONSTANT;
}

static void
add_initializer(Import *import, GraphRole role, NameTable *names, const Onnx__TensorProto *proto,
                const TensorBytes *tensor)
{
  uint32_t index;
  const char *name = proto->name;
  ValueKind kind = initializer_kind(import, role, proto, tensor->type);
  ValueId id = declare_value(import, names, name, kind, tensor->type, tensor->shape, NULL);
  if (id == NO_VALUE) return;
  Value *value = value_at(import->program, id);
  value->data = tensor->data;
  value->data_bytes = tensor->data ? tensor->bytes : 0;
  /* A training algorithm says which variables change. */
  value->is_frozen = kind == VALUE_PARAMETER && import->program->has_training_algorithm &&
                     !name_table_find(import->updated, name, &index);
}

static void
import_initializers(Import *import, const Onnx__GraphProto *graph, GraphRole role, NameTable *names)
{
  for (size_t i = 0; i < graph->n_initializer + graph->n_sparse_initializer; i++) {
    const Onnx__SparseTensorProto *sparse =
        i < graph->n_initializer ? NULL : graph->sparse_initializer[i - graph->n_initializer];
    Onnx__TensorProto *dense = sparse ? sparse->values : graph->initializer[i];
    const char *name = dense ? dense->name : NULL;
    uint32_t index;
    if (!name || !name[0]) {
      reject(import, NULL, "initializer number %zu has no name", i);
      continue;
    }
    const char *what = arena_format(import->scratch, "initializer '%s'", safe_name(import->scratch, name));
    bool is_drawn = role != GRAPH_INITIALIZATION && name_table_find(import->drawn, name, &index);
    TensorBytes tensor;
    if (sparse)
      read_sparse_tensor(import, sparse, what, is_drawn, &tensor);
    else
      read_tensor(import, dense, what, is_drawn, &tensor);
    add_initializer(import, role, names, dense, &tensor);
  }
}

/* ---- inputs and outputs --------------------------------------------------------------------------- */

static bool
read_input_shape(Import *import, const Onnx__TensorShapeProto *proto, const char *what, Shape *shape,
                 const char ***symbols)
{
  Program *program = import->program;
  *shape = (Shape){.rank = -1};
  *symbols = NULL;
  if (!proto) return true;
  if (proto->n_dim > ACTNN_MAX_RANK)
    return reject(import, NULL, "%s has %zu dimensions, more than the %d supported", what, proto->n_dim,
                  ACTNN_MAX_RANK);
  int64_t known[ACTNN_MAX_RANK], elements;
  shape->rank = (int)proto->n_dim;
  for (size_t i = 0; i < proto->n_dim; i++) {
    const Onnx__TensorShapeProto__Dimension *dim = proto->dim[i];
    bool is_number = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && dim->dim_value >= 0;
    shape->dim[i] = is_number ? dim->dim_value : DIM_UNKNOWN;
    known[i] = is_number ? dim->dim_value : 1;
    if (dim->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM || !dim->dim_param[0]) continue;
    if (!*symbols) *symbols = arena_array(program->arena, ACTNN_MAX_RANK, sizeof **symbols);
    (*symbols)[i] = arena_text(program->arena, dim->dim_param, strlen(dim->dim_param));
  }
  Shape rest = shape_of(shape->rank, known);
  return shape_elements(&rest, &elements) || reject(import, NULL, "%s has too many elements", what);
}

static void
import_input(Import *import, const Onnx__ValueInfoProto *info, NameTable *names)
{
  Program *program = import->program;
  ValueId present;
  if (!info->name || !info->name[0]) {
    reject(import, NULL, "an input has no name");
    return;
  }
  if (name_table_find(names, info->name, &present)) { /* up to IR 3 every initializer is listed as an input, too */
    if (value_at(program, present)->kind == VALUE_INPUT)
      reject(import, NULL, "input '%s' is listed twice", safe_name(import->scratch, info->name));
    return;
  }
  const char *what = arena_format(import->scratch, "input '%s'", safe_name(import->scratch, info->name));
  Shape shape = {.rank = -1};
  actnn_type type = ACTNN_UNDEFINED;
  const char **symbols = NULL;
  if (!info->type || info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
    reject(import, "only tensors can be inputs", "%s is not a tensor", what);
  else if (read_element_type(import, info->type->tensor_type->elem_type, what, &type))
    read_input_shape(import, info->type->tensor_type->shape, what, &shape, &symbols);
  ValueId id = declare_value(import, names, info->name, VALUE_INPUT, type, shape, NULL);
  value_at(program, id)->symbol = symbols;
  program->inputs[program->input_count++] = id;
}

/* Lists of inputs and outputs are few and short; they are copied once per graph. */
static ValueId *
enlarge_list(Program *program, const ValueId *list, size_t count, size_t more)
{
  ValueId *larger = arena_array(program->arena, count + more + 1, sizeof *larger);
  if (count) memcpy(larger, list, count * sizeof *list);
  return larger;
}

static void
import_outputs(Import *import, const Onnx__GraphProto *graph, const NameTable *names)
{
  Program *program = import->program;
  program->outputs = enlarge_list(program, program->outputs, program->output_count, graph->n_output);
  for (size_t i = 0; i < graph->n_output; i++) {
    const char *name = graph->output[i]->name ? graph->output[i]->name : "";
    ValueId id;
    if (!name_table_find(names, name, &id)) {
      reject(import, NULL, "output '%s' is made by no node", safe_name(import->scratch, name));
    } else if (!value_at(program, id)->is_output) {
      value_at(program, id)->is_output = true;
      program->outputs[program->output_count++] = id;
    }
  }
}

void
import_graph(Import *import, const Onnx__GraphProto *graph, GraphRole role, NameTable *names)
{
  Program *program = import->program;
  import_initializers(import, graph, role, names);
  if (role == GRAPH_INITIALIZATION) {
    if (graph->n_input) reject(import, NULL, "the initialization graph has inputs, it must have none");
  } else {
    program->inputs = enlarge_list(program, program->inputs, program->input_count, graph->n_input);
    for (size_t i = 0; i < graph->n_input; i++) import_input(import, graph->input[i], names);
  }
  import_nodes(import, names, graph->node, graph->n_node,
               role == GRAPH_INITIALIZATION ? PHASE_INITIALIZE : PHASE_FORWARD);
  if (role != GRAPH_INITIALIZATION) import_outputs(import, graph, names);
}

/* ---- the model ------------------------------------------------------------------------------------ */

static bool
import_opsets(Import *import)
{
  Program *program = import->program;
  const Onnx__ModelProto *model = import->model;
  program->opset_capacity = 2 * MOST_OPSETS; /* functions may add some */
  program->opsets = arena_array(program->arena, program->opset_capacity, sizeof *program->opsets);
  if (model->n_opset_import > MOST_OPSETS)
    return reject(import, NULL, "the model imports more than %d operator sets", MOST_OPSETS);
  for (size_t i = 0; i < model->n_opset_import; i++) {
    const char *domain = model->opset_import[i]->domain;
    int64_t version = model->opset_import[i]->version;
    if (!domain || !strcmp(domain, "ai.onnx")) domain = "";
    if (version <= 0 || opset_version(program, domain))
      return reject(import, NULL, "the model imports operator set '%s' %s", safe_name(import->scratch, domain),
                    version <= 0 ? "without a valid version" : "twice");
    program->opsets[program->opset_count++] =
        (OpsetImport){arena_text(program->arena, domain, strlen(domain)), version};
  }
  if (program->opset_count) return true;
  return reject(import, NULL, "the model imports no operator set");
}

/* Operators of ONNX itself mean what the model's version of them says. */
static bool
check_version(const Program *program)
{
  int64_t version = opset_version(program, "");
  bool is_needed = false;
  for (uint32_t i = 0; i < program->order_count && !is_needed; i++) is_needed = !node_at(program, program->order[i])->domain[0];
  if (!is_needed || version >= OLDEST_OPSET) return true;
  return report(program->diagnostics, program->source, "convert it with onnx.version_converter",
                version ? "the model uses operator set %lld, the oldest supported one is %d"
                        : "the model imports no operator set (%lld; at least %d is needed)",
                (long long)version, OLDEST_OPSET);
}

static int
open_folder(const char *path, Arena *arena)
{
  const char *slash = strrchr(path, '/');
  const char *folder = !slash ? "." : slash == path ? "/" : arena_text(arena, path, (size_t)(slash - path));
  return descriptor_open(folder, O_PATH | O_DIRECTORY);
}

static void
count_graph(const Onnx__GraphProto *graph, size_t *nodes, size_t *values)
{
  if (!graph) return;
  *nodes += graph->n_node;
  *values += graph->n_initializer + graph->n_sparse_initializer + graph->n_input + graph->n_output;
  for (size_t i = 0; i < graph->n_node; i++) *values += graph->node[i]->n_output + graph->node[i]->n_input;
}

/* Before anything is made of them. Operands are no values of their own, but take as much in a node that has many. */
static bool
check_counts(Import *import)
{
  size_t nodes = 0, values = 0;
  count_graph(import->model->graph, &nodes, &values);
  for (size_t i = 0; i < import->model->n_training_info; i++) {
    count_graph(import->model->training_info[i]->initialization, &nodes, &values);
    count_graph(import->model->training_info[i]->algorithm, &nodes, &values);
  }
  if (nodes > MOST_NODES)
    return reject(import, NULL, "the model has %zu nodes, more than the %d that are supported", nodes, (int)MOST_NODES);
  return values <= 2 * (size_t)MOST_VALUES
         || reject(import, NULL, "the model has %zu inputs, initializers, operands and results, more than the %d that are supported",
                   values, 2 * (int)MOST_VALUES);
}

static bool
import_proto(Import *import)
{
  Program *program = import->program;
  const Onnx__ModelProto *model = import->model;
  if (!model->graph) return reject(import, "is this an ONNX model?", "the model has no graph");
  program->ir_version = model->ir_version;
  const char *name = model->graph->name;
  program->name = name ? arena_text(program->arena, name, strlen(name)) : "";
  if (!check_counts(import) || !import_opsets(import) || !list_functions(import)) return false;
  list_bindings(import);
  import_graph(import, model->graph, GRAPH_MAIN, import->values);
  import_training(import);
  return import->diagnostics->errors == 0 && check_version(program) && sort_order(program) && assign_phases(import) &&
         make_inference_model(program, import->model, import->scratch);
}

static Program *
import_binary(const char *path, unsigned char *bytes, size_t length, Diagnostics *diagnostics)
{
  Arena *scratch = arena_create();
  Onnx__ModelProto *model = (Onnx__ModelProto *)unpack_message(&onnx__model_proto__descriptor, bytes, length, 0, path,
                                                               scratch, diagnostics);
  free(bytes);
  if (!model) {
    arena_destroy(scratch);
    return NULL;
  }
  Program *program = program_create(path, diagnostics);
  Import import = {.program = program,
                   .diagnostics = diagnostics,
                   .source = program->source,
                   .directory = open_folder(path, scratch),
                   .scratch = scratch,
                   .model = model,
                   .values = name_table_create(),
                   .initialization = name_table_create(),
                   .updated = name_table_create(),
                   .drawn = name_table_create(),
                   .functions = name_table_create(),
                   .dense_bytes_left = MOST_DENSE_BYTES,
                   .external_bytes_left = MOST_EXTERNAL_BYTES,
                   .expansion_left = MOST_EXPANSION};
  unsigned errors = diagnostics->errors;
  diagnostics->errors = 0;
  bool is_imported = import_proto(&import) && diagnostics->errors == 0;
  diagnostics->errors += errors;
  NameTable *tables[] = {import.values, import.initialization, import.updated, import.drawn, import.functions};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) name_table_destroy(tables[i]);
  if (import.directory >= 0) close(import.directory);
  arena_destroy(scratch);
  if (is_imported) return program;
  program_destroy(program);
  return NULL;
}

static Program *
import_text(const char *path, unsigned char *bytes, size_t length, Diagnostics *diagnostics)
{
  Program *program = parse_program(path, (const char *)bytes, length, diagnostics);
  free(bytes);
  if (!program) return NULL;
  Arena *scratch = arena_create();
  Onnx__ModelProto *model = check_version(program) ? program_to_model(program, scratch) : NULL;
  bool is_made = model && make_inference_model(program, model, scratch);
  arena_destroy(scratch);
  if (is_made) return program;
  program_destroy(program);
  return NULL;
}

Program *
import_bytes(const char *path, unsigned char *bytes, size_t length, Diagnostics *diagnostics)
{
  return is_program_text(bytes, length) ? import_text(path, bytes, length, diagnostics)
                                        : import_binary(path, bytes, length, diagnostics);
}

Program *
import_model(const char *path, Diagnostics *diagnostics)
{
  unsigned char *bytes;
  size_t length;
  if (!read_file(path, MOST_FILE_BYTES, diagnostics, &bytes, &length)) return NULL;
  return import_bytes(path, bytes, length, diagnostics);
}
