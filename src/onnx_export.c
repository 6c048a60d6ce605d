/* onnx_export.c: a program as a ModelProto. All parts lie in one arena; nothing is freed singly. */
#define _POSIX_C_SOURCE 200809L
#include "onnx_export.h"
#include "emit.h"
#include "name_table.h"

#include <stdlib.h>
#include <string.h>

typedef struct Export {
  const Program *program;
  Arena *arena;
  char **names;      /* of values, unique */
  bool *is_in_graph; /* is read by a node of the graph or is an output */
  bool *is_in_initialization;
} Export;

static const size_t MOST_BYTES = ((size_t)1 << 31) - 1;
static const int64_t TRAINING_IR_VERSION = 8;

static char *
copy(Arena *arena, const char *text)
{
  return arena_text(arena, text, strlen(text));
}

/* ---- names ---------------------------------------------------------------------------------------- */

static void
name_values(Export *export)
{
  const Program *program = export->program;
  NameTable *taken = name_table_create();
  export->names = arena_array(export->arena, (size_t)program->value_count + 1, sizeof *export->names);
  for (ValueId id = 0; id < program->value_count; id++) {
    const char *name = value_at(program, id)->name;
    if (name && name[0] && name_table_add(taken, name, id, NULL)) export->names[id] = copy(export->arena, name);
  }
  for (ValueId id = 0; id < program->value_count; id++) {
    if (export->names[id]) continue;
    char *name = arena_format(export->arena, "%%%u", id);
    while (!name_table_add(taken, name, id, NULL)) name = arena_format(export->arena, "%s_", name);
    export->names[id] = name;
  }
  name_table_destroy(taken);
}

static void
mark_uses(Export *export)
{
  const Program *program = export->program;
  export->is_in_graph = arena_array(export->arena, (size_t)program->value_count + 1, sizeof(bool));
  export->is_in_initialization = arena_array(export->arena, (size_t)program->value_count + 1, sizeof(bool));
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    bool *used = node->phase == PHASE_INITIALIZE ? export->is_in_initialization : export->is_in_graph;
    for (uint32_t i = 0; i < node->operand_count; i++) {
      if (node->operands[i] != NO_VALUE) used[node->operands[i]] = true;
    }
  }
  for (uint32_t i = 0; i < program->output_count; i++) export->is_in_graph[program->outputs[i]] = true;
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE) export->is_in_graph[id] = true;
    if (value->drawn_from != NO_VALUE) export->is_in_initialization[value->drawn_from] = true;
  }
}

/* ---- types and tensors ---------------------------------------------------------------------------- */

#define NEW(arena, type, init) new_message((arena), sizeof(type), &(const type)init)

static void *
new_message(Arena *arena, size_t size, const void *init)
{
  void *message = arena_allocate(arena, size);
  memcpy(message, init, size);
  return message;
}

static Onnx__TypeProto *
tensor_type(actnn_type type, const Shape *shape, const char **symbols, Arena *arena)
{
  Onnx__TypeProto *proto = NEW(arena, Onnx__TypeProto, ONNX__TYPE_PROTO__INIT);
  proto->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  Onnx__TypeProto__Tensor *tensor = NEW(arena, Onnx__TypeProto__Tensor, ONNX__TYPE_PROTO__TENSOR__INIT);
  proto->tensor_type = tensor;
  tensor->has_elem_type = true;
  tensor->elem_type = (int32_t)type;
  if (shape->rank < 0) return proto;
  tensor->shape = NEW(arena, Onnx__TensorShapeProto, ONNX__TENSOR_SHAPE_PROTO__INIT);
  tensor->shape->n_dim = (size_t)shape->rank;
  tensor->shape->dim = arena_array(arena, tensor->shape->n_dim + 1, sizeof *tensor->shape->dim);
  for (size_t i = 0; i < tensor->shape->n_dim; i++) {
    Onnx__TensorShapeProto__Dimension *dim =
        NEW(arena, Onnx__TensorShapeProto__Dimension, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT);
    tensor->shape->dim[i] = dim;
    if (shape->dim[i] >= 0) {
      dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
      dim->dim_value = shape->dim[i];
    } else if (symbols && symbols[i]) {
      dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
      dim->dim_param = copy(arena, symbols[i]);
    }
  }
  return proto;
}

Onnx__TypeProto *
rank_to_type(const Value *value, Arena *arena)
{
  if (value->type == ACTNN_UNDEFINED || value->shape.rank < 0) return NULL;
  Shape open = {.rank = value->shape.rank};
  for (int i = 0; i < open.rank; i++) open.dim[i] = DIM_UNKNOWN;
  return tensor_type(value->type, &open, NULL, arena);
}

static Onnx__ValueInfoProto *
value_info(const Export *export, ValueId id)
{
  const Value *value = value_at(export->program, id);
  Onnx__ValueInfoProto *info = NEW(export->arena, Onnx__ValueInfoProto, ONNX__VALUE_INFO_PROTO__INIT);
  Shape unknown = {.rank = -1};
  info->name = export->names[id];
  if (value->kind == VALUE_STASH)
    info->type = tensor_type(ACTNN_U8, &unknown, NULL, export->arena);
  else if (value->type != ACTNN_UNDEFINED)
    info->type = tensor_type(value->type, &value->shape, value->symbol, export->arena);
  return info;
}

static void
set_dims(Arena *arena, const Shape *shape, size_t *count, int64_t **dims)
{
  *count = shape->rank > 0 ? (size_t)shape->rank : 0;
  *dims = arena_array(arena, *count + 1, sizeof **dims);
  for (size_t i = 0; i < *count; i++) (*dims)[i] = shape->dim[i];
}

static void
mark_kind(Onnx__TensorProto *tensor, const Value *value, Arena *arena)
{
  if (value->kind == VALUE_STATE) tensor->doc_string = copy(arena, STATE_MARK);
  if (value->kind == VALUE_CONSTANT) tensor->doc_string = copy(arena, CONSTANT_MARK);
}

/* Strings lie one after the other, each ending in NUL. */
static void
set_strings(Arena *arena, Onnx__TensorProto *tensor, const Value *value)
{
  const char *text = value->data, *end = text + value->data_bytes;
  size_t count = 0;
  for (const char *c = text; c < end; c++) count += !*c;
  tensor->string_data = arena_array(arena, count + 1, sizeof *tensor->string_data);
  for (; tensor->n_string_data < count; text += strlen(text) + 1)
    tensor->string_data[tensor->n_string_data++] = (ProtobufCBinaryData){strlen(text), (uint8_t *)copy(arena, text)};
}

Onnx__TensorProto *
value_to_tensor(const Program *program, ValueId id, const char *name, Arena *arena)
{
  const Value *value = value_at(program, id);
  Onnx__TensorProto *tensor = NEW(arena, Onnx__TensorProto, ONNX__TENSOR_PROTO__INIT);
  set_dims(arena, &value->shape, &tensor->n_dims, &tensor->dims);
  tensor->has_data_type = true;
  tensor->data_type = (int32_t)value->type;
  if (name) tensor->name = copy(arena, name);
  if (name) mark_kind(tensor, value, arena);
  if (value->type == ACTNN_STRING) {
    set_strings(arena, tensor, value);
  } else {
    tensor->has_raw_data = true;
    tensor->raw_data = (ProtobufCBinaryData){value->data_bytes, (uint8_t *)(uintptr_t)value->data};
  }
  return tensor;
}

/* A variable without first values: only its dimensions and type, as a sparse tensor that stores nothing. */
static Onnx__SparseTensorProto *
value_to_sparse(const Export *export, ValueId id)
{
  Arena *arena = export->arena;
  const Value *value = value_at(export->program, id);
  Onnx__SparseTensorProto *sparse = NEW(arena, Onnx__SparseTensorProto, ONNX__SPARSE_TENSOR_PROTO__INIT);
  set_dims(arena, &value->shape, &sparse->n_dims, &sparse->dims);
  Onnx__TensorProto *parts[2];
  for (int i = 0; i < 2; i++) {
    parts[i] = NEW(arena, Onnx__TensorProto, ONNX__TENSOR_PROTO__INIT);
    Shape none = {.rank = 1};
    set_dims(arena, &none, &parts[i]->n_dims, &parts[i]->dims);
    parts[i]->has_data_type = true;
    parts[i]->data_type = i ? ACTNN_I64 : (int32_t)value->type;
  }
  parts[0]->name = export->names[id];
  mark_kind(parts[0], value, arena);
  sparse->values = parts[0];
  sparse->indices = parts[1];
  return sparse;
}

/* ---- nodes ---------------------------------------------------------------------------------------- */

static ProtobufCBinaryData
text_bytes(Arena *arena, const char *text)
{
  return (ProtobufCBinaryData){strlen(text), (uint8_t *)copy(arena, text)};
}

static Onnx__AttributeProto *
string_attribute_proto(Arena *arena, const char *name, const char *text)
{
  Onnx__AttributeProto *proto = NEW(arena, Onnx__AttributeProto, ONNX__ATTRIBUTE_PROTO__INIT);
  proto->name = copy(arena, name);
  proto->has_type = true;
  proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
  proto->has_s = true;
  proto->s = text_bytes(arena, text);
  return proto;
}

static void
set_lists(Arena *arena, Onnx__AttributeProto *proto, const Attribute *attribute)
{
  size_t count = attribute->count;
  if (attribute->kind == ATTRIBUTE_INTS) {
    proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
    proto->n_ints = count;
    proto->ints = (int64_t *)(uintptr_t)attribute->ints;
  } else if (attribute->kind == ATTRIBUTE_FLOATS) {
    proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
    proto->n_floats = count;
    proto->floats = arena_array(arena, count + 1, sizeof *proto->floats);
    for (size_t i = 0; i < count; i++) proto->floats[i] = (float)attribute->floats[i];
  } else {
    proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS;
    proto->n_strings = count;
    proto->strings = arena_array(arena, count + 1, sizeof *proto->strings);
    for (size_t i = 0; i < count; i++) proto->strings[i] = text_bytes(arena, attribute->strings[i]);
  }
}

static Onnx__AttributeProto *
attribute_to_proto(const Export *export, const Attribute *attribute)
{
  Arena *arena = export->arena;
  if (attribute->kind == ATTRIBUTE_STRING)
    return string_attribute_proto(arena, attribute->name, attribute->s);
  Onnx__AttributeProto *proto = NEW(arena, Onnx__AttributeProto, ONNX__ATTRIBUTE_PROTO__INIT);
  proto->name = copy(arena, attribute->name);
  proto->has_type = true;
  switch (attribute->kind) {
  case ATTRIBUTE_INT:
    proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    proto->has_i = true;
    proto->i = attribute->i;
    break;
  case ATTRIBUTE_FLOAT:
    proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
    proto->has_f = true;
    proto->f = (float)attribute->f;
    break;
  case ATTRIBUTE_TENSOR:
    proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
    proto->t = value_to_tensor(export->program, attribute->tensor, NULL, arena);
    break;
  default: set_lists(arena, proto, attribute); break;
  }
  return proto;
}

static char **
operand_names(const Export *export, const ValueId *values, size_t count)
{
  char **names = arena_array(export->arena, count + 1, sizeof *names);
  for (size_t i = 0; i < count; i++)
    names[i] = values[i] == NO_VALUE ? copy(export->arena, "") : export->names[values[i]];
  return names;
}

static Onnx__NodeProto *
node_to_proto(const Export *export, const Node *node)
{
  Arena *arena = export->arena;
  Onnx__NodeProto *proto = NEW(arena, Onnx__NodeProto, ONNX__NODE_PROTO__INIT);
  proto->op_type = copy(arena, node->operator_name);
  if (node->domain[0]) proto->domain = copy(arena, node->domain);
  if (node->name[0]) proto->name = copy(arena, node->name);
  proto->n_input = node->operand_count;
  proto->input = operand_names(export, node->operands, node->operand_count);
  proto->n_output = node->result_count;
  proto->output = operand_names(export, node->results, node->result_count);
  proto->attribute = arena_array(arena, (size_t)node->attribute_count + 1, sizeof *proto->attribute);
  for (uint32_t i = 0; i < node->attribute_count; i++)
    proto->attribute[proto->n_attribute++] = attribute_to_proto(export, &node->attributes[i]);
  if (node->phase != PHASE_FORWARD && node->phase != PHASE_INITIALIZE)
    proto->attribute[proto->n_attribute++] = string_attribute_proto(arena, "phase", phase_name(node->phase));
  return proto;
}

/* ---- graphs --------------------------------------------------------------------------------------- */

static void
add_data(const Export *export, Onnx__GraphProto *graph, bool is_initialization)
{
  const Program *program = export->program;
  const bool *is_used = is_initialization ? export->is_in_initialization : export->is_in_graph;
  graph->initializer = arena_array(export->arena, (size_t)program->value_count + 1, sizeof *graph->initializer);
  graph->sparse_initializer =
      arena_array(export->arena, (size_t)program->value_count + 1, sizeof *graph->sparse_initializer);
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    bool holds_data = value->kind == VALUE_CONSTANT || value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE;
    if (!holds_data || !is_used[id] || value->producer != NO_NODE) continue;
    if (value->data)
      graph->initializer[graph->n_initializer++] = value_to_tensor(program, id, export->names[id], export->arena);
    else if (shape_is_static(&value->shape))
      graph->sparse_initializer[graph->n_sparse_initializer++] = value_to_sparse(export, id);
  }
}

static void
add_nodes(const Export *export, Onnx__GraphProto *graph, bool is_initialization)
{
  const Program *program = export->program;
  graph->node = arena_array(export->arena, (size_t)program->order_count + 1, sizeof *graph->node);
  graph->value_info = arena_array(export->arena, (size_t)program->value_count + 1, sizeof *graph->value_info);
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    if ((node->phase == PHASE_INITIALIZE) != is_initialization) continue;
    graph->node[graph->n_node++] = node_to_proto(export, node);
    for (uint32_t i = 0; i < node->result_count; i++) {
      const Value *result = result_value(program, node, i);
      if (result && !result->is_output && (result->type != ACTNN_UNDEFINED || result->kind == VALUE_STASH))
        graph->value_info[graph->n_value_info++] = value_info(export, node->results[i]);
    }
  }
}

static void
add_inputs_and_outputs(const Export *export, Onnx__GraphProto *graph)
{
  const Program *program = export->program;
  bool *is_listed = arena_array(export->arena, (size_t)program->value_count + 1, sizeof *is_listed);
  graph->input = arena_array(export->arena, (size_t)program->value_count + 1, sizeof *graph->input);
  for (uint32_t i = 0; i < program->input_count; i++) {
    is_listed[program->inputs[i]] = true;
    graph->input[graph->n_input++] = value_info(export, program->inputs[i]);
  }
  for (ValueId id = 0; id < program->value_count; id++) {
    if (value_at(program, id)->kind == VALUE_INPUT && !is_listed[id] && export->is_in_graph[id])
      graph->input[graph->n_input++] = value_info(export, id);
  }
  graph->output = arena_array(export->arena, (size_t)program->output_count + 1, sizeof *graph->output);
  for (uint32_t i = 0; i < program->output_count; i++)
    graph->output[graph->n_output++] = value_info(export, program->outputs[i]);
}

static Onnx__StringStringEntryProto *
binding(const Export *export, ValueId key, ValueId value)
{
  Onnx__StringStringEntryProto *entry =
      NEW(export->arena, Onnx__StringStringEntryProto, ONNX__STRING_STRING_ENTRY_PROTO__INIT);
  entry->key = export->names[key];
  entry->value = export->names[value];
  return entry;
}

/* Initialization graph and bindings; NULL when there is nothing to say. */
static Onnx__TrainingInfoProto *
training_info(const Export *export)
{
  const Program *program = export->program;
  Arena *arena = export->arena;
  size_t most = (size_t)program->value_count + 1;
  Onnx__TrainingInfoProto *training = NEW(arena, Onnx__TrainingInfoProto, ONNX__TRAINING_INFO_PROTO__INIT);
  Onnx__GraphProto *graph = NEW(arena, Onnx__GraphProto, ONNX__GRAPH_PROTO__INIT);
  graph->name = copy(arena, "initialization");
  graph->output = arena_array(arena, most, sizeof *graph->output);
  training->initialization_binding = arena_array(arena, most, sizeof *training->initialization_binding);
  training->update_binding = arena_array(arena, most, sizeof *training->update_binding);
  bool *is_listed = arena_array(arena, most, sizeof *is_listed);
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (value->drawn_from != NO_VALUE) {
      training->initialization_binding[training->n_initialization_binding++] = binding(export, id, value->drawn_from);
      if (!is_listed[value->drawn_from]) graph->output[graph->n_output++] = value_info(export, value->drawn_from);
      is_listed[value->drawn_from] = true;
    }
    if (value->updates != NO_VALUE)
      training->update_binding[training->n_update_binding++] = binding(export, value->updates, id);
  }
  add_data(export, graph, true);
  add_nodes(export, graph, true);
  if (training->n_initialization_binding || graph->n_node) training->initialization = graph;
  return training->initialization || training->n_update_binding ? training : NULL;
}

/* ---- models --------------------------------------------------------------------------------------- */

static void
add_opset(Onnx__ModelProto *model, Arena *arena, const char *domain, int64_t version)
{
  for (size_t i = 0; i < model->n_opset_import; i++) {
    if (!strcmp(model->opset_import[i]->domain, domain)) return;
  }
  if (model->n_opset_import == 256) return; /* import allows fewer; only a hostile text has more */
  Onnx__OperatorSetIdProto *opset = NEW(arena, Onnx__OperatorSetIdProto, ONNX__OPERATOR_SET_ID_PROTO__INIT);
  opset->domain = copy(arena, domain);
  opset->has_version = true;
  opset->version = version;
  model->opset_import[model->n_opset_import++] = opset;
}

Onnx__ModelProto *
program_to_model(const Program *program, Arena *arena)
{
  Export export = {.program = program, .arena = arena};
  name_values(&export);
  mark_uses(&export);
  Onnx__ModelProto *model = NEW(arena, Onnx__ModelProto, ONNX__MODEL_PROTO__INIT);
  model->has_ir_version = true;
  model->ir_version = program->ir_version > TRAINING_IR_VERSION ? program->ir_version : TRAINING_IR_VERSION;
  model->producer_name = copy(arena, "actnnc");
  model->opset_import = arena_array(arena, 256, sizeof *model->opset_import);
  for (uint32_t i = 0; i < program->opset_count; i++)
    add_opset(model, arena, program->opsets[i].domain, program->opsets[i].version);
  for (uint32_t p = 0; p < program->order_count; p++)
    add_opset(model, arena, node_at(program, program->order[p])->domain, 1);
  Onnx__GraphProto *graph = NEW(arena, Onnx__GraphProto, ONNX__GRAPH_PROTO__INIT);
  model->graph = graph;
  graph->name = copy(arena, program->name[0] ? program->name : "graph");
  add_inputs_and_outputs(&export, graph);
  add_data(&export, graph, false);
  add_nodes(&export, graph, false);
  Onnx__TrainingInfoProto *training = training_info(&export);
  if (training) {
    model->training_info = arena_array(arena, 1, sizeof *model->training_info);
    model->training_info[model->n_training_info++] = training;
  }
  return model;
}

bool
pack_model(const Program *program, const Onnx__ModelProto *model, Arena *arena, unsigned char **bytes, size_t *length)
{
  *length = onnx__model_proto__get_packed_size(model);
  if (*length > MOST_BYTES)
    return report(program->diagnostics, program->source, NULL, "the model would take %zu bytes, more than 2 GiB",
                  *length);
  *bytes = arena_allocate(arena, *length + 1);
  onnx__model_proto__pack(model, *bytes);
  return true;
}

/* ---- files ---------------------------------------------------------------------------------------- */

bool
write_onnx(const Program *program, const char *path)
{
  Arena *arena = arena_create();
  unsigned char *bytes;
  size_t length;
  bool is_written = pack_model(program, program_to_model(program, arena), arena, &bytes, &length)
                    && write_file(program->diagnostics, path, bytes, length);
  arena_destroy(arena);
  return is_written;
}
