/* onnx_training.c: training as the standard itself carries it (TrainingInfoProto).
 *
 * A model may bring an initialization graph, whose results become first values, and an algorithm, which continues the
 * model's own graph and says by update bindings which variables its results replace. Gradient, Momentum, Adam and
 * Adagrad of ai.onnx.preview.training come in as ordinary nodes; `differentiate` expands Gradient.
 */
#include "onnx_import.h"

#include <string.h>

static const char TRAINING_DOMAIN[] = "ai.onnx.preview.training";

static const char *
text_or_empty(const char *text)
{
  return text ? text : "";
}

static void
list_keys(Import *import, NameTable *table, Onnx__StringStringEntryProto **entries, size_t count, const char *kind)
{
  for (size_t i = 0; i < count; i++) {
    const char *key = text_or_empty(entries[i]->key);
    if (!name_table_add(table, key, (uint32_t)i, NULL))
      reject(import, NULL, "two %s bindings have the key '%s'", kind, safe_name(import->scratch, key));
  }
}

void
list_bindings(Import *import)
{
  for (size_t i = 0; i < import->model->n_training_info; i++) {
    const Onnx__TrainingInfoProto *training = import->model->training_info[i];
    list_keys(import, import->updated, training->update_binding, training->n_update_binding, "update");
    list_keys(import, import->drawn, training->initialization_binding, training->n_initialization_binding,
              "initialization");
    if (training->n_update_binding) import->program->has_training_algorithm = true;
  }
}

/* The variable that a binding's key names; NO_VALUE after reporting. */
static ValueId
bound_variable(Import *import, const char *key, const char *kind)
{
  ValueId id;
  const char *shown = safe_name(import->scratch, key);
  if (!name_table_find(import->values, key, &id)) {
    reject(import, NULL, "an %s binding names '%s', which does not exist", kind, shown);
    return NO_VALUE;
  }
  ValueKind is = value_at(import->program, id)->kind;
  if (is == VALUE_PARAMETER || is == VALUE_STATE) return id;
  reject(import, NULL, "an %s binding names '%s', which is not an initializer", kind, shown);
  return NO_VALUE;
}

static void
bind_initialization(Import *import, const Onnx__TrainingInfoProto *training, const NameTable *names)
{
  for (size_t i = 0; i < training->n_initialization_binding; i++) {
    const Onnx__StringStringEntryProto *entry = training->initialization_binding[i];
    ValueId key = bound_variable(import, text_or_empty(entry->key), "initialization"), value;
    if (key == NO_VALUE) continue;
    if (name_table_find(names, text_or_empty(entry->value), &value))
      value_at(import->program, key)->drawn_from = value;
    else
      reject(import, NULL, "the initialization graph does not make '%s'",
             safe_name(import->scratch, text_or_empty(entry->value)));
  }
}

static void
bind_updates(Import *import, const Onnx__TrainingInfoProto *training)
{
  Program *program = import->program;
  for (size_t i = 0; i < training->n_update_binding; i++) {
    const Onnx__StringStringEntryProto *entry = training->update_binding[i];
    ValueId key = bound_variable(import, text_or_empty(entry->key), "update"), value;
    if (key == NO_VALUE) continue;
    if (!name_table_find(import->values, text_or_empty(entry->value), &value)) {
      reject(import, NULL, "the training algorithm does not make '%s'",
             safe_name(import->scratch, text_or_empty(entry->value)));
      continue;
    }
    if (value == key) continue; /* stays as it is */
    const Value *made = value_at(program, value);
    if (made->producer == NO_NODE || made->updates != NO_VALUE) { /* a value can replace one variable only */
      ValueId copy = add_value(program, NULL, VALUE_TEMPORARY, made->type, made->shape);
      add_node(program, PHASE_UPDATE, "", "Identity", "update", &value, 1, &copy, 1);
      value = copy;
    }
    value_at(program, value)->updates = key;
  }
}

void
import_training(Import *import)
{
  const Onnx__ModelProto *model = import->model;
  Program *program = import->program;
  NodeId first = program->node_count;
  for (size_t i = 0; i < model->n_training_info; i++) {
    const Onnx__TrainingInfoProto *training = model->training_info[i];
    if (training->algorithm) import_graph(import, training->algorithm, GRAPH_ALGORITHM, import->values);
    bind_updates(import, training);
  }
  /* What the algorithm adds to the model's graph: its optimizers and what replaces variables are updates. */
  for (NodeId id = first; id < program->node_count; id++) {
    Node *node = node_at(program, id);
    bool is_optimizer = !strcmp(node->domain, TRAINING_DOMAIN) && strcmp(node->operator_name, "Gradient");
    for (uint32_t r = 0; r < node->result_count; r++) {
      const Value *result = result_value(program, node, r);
      if (result && result->updates != NO_VALUE) is_optimizer = true;
    }
    if (is_optimizer) node->phase = PHASE_UPDATE;
  }
  for (size_t i = 0; i < model->n_training_info; i++) {
    const Onnx__TrainingInfoProto *training = model->training_info[i];
    NameTable *names = name_table_create();
    if (training->initialization) import_graph(import, training->initialization, GRAPH_INITIALIZATION, names);
    bind_initialization(import, training, names);
    name_table_destroy(names);
  }
}

bool
assign_phases(Import *import)
{
  Program *program = import->program;
  for (uint32_t p = 0; p < program->order_count; p++) {
    Node *node = node_at(program, program->order[p]);
    if (node->phase != PHASE_FORWARD && node->phase != PHASE_BACKWARD) continue;
    if (!strcmp(node->domain, TRAINING_DOMAIN) && !strcmp(node->operator_name, "Gradient"))
      node->phase = PHASE_BACKWARD;
    for (uint32_t i = 0; i < node->operand_count; i++) {
      const Value *operand = operand_value(program, node, i);
      if (!operand || operand->producer == NO_NODE) continue;
      Phase maker = node_at(program, operand->producer)->phase;
      if (maker == PHASE_UPDATE || (maker == PHASE_BACKWARD && node->phase == PHASE_FORWARD)) node->phase = maker;
    }
  }
  return sort_order(program);
}
