/* onnx_nodes.c: nodes and attributes of graphs, and the functions that a model brings along.
 *
 * A call of a model-local function is replaced by the function's nodes. A stack of frames stands for calls in calls;
 * nothing recurses. Within a frame all results are declared before any operand is looked up, so that nodes may
 * come in any order; the order is sorted when everything is there.
 */
#include "onnx_import.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ATTRIBUTES = 256, NODE_OVERLOAD = 8, FUNCTION_DEFAULTS = 11, FUNCTION_OVERLOAD = 13 };

typedef struct Function {
  const Onnx__FunctionProto *proto;
  Onnx__AttributeProto **defaults;
  size_t default_count;
  bool is_open; /* being inlined: another call of it would never end */
} Function;

typedef struct Frame {
  struct Frame *caller;
  Function *function; /* NULL: a graph */
  NameTable *names;
  Onnx__NodeProto **nodes;
  size_t count, next;
  Onnx__AttributeProto **attributes; /* of the call, references resolved */
  size_t attribute_count;
  const char *prefix; /* name of the call */
  Phase phase;
} Frame;

const char *
node_title(Import *import, const Onnx__NodeProto *node)
{
  Arena *arena = import->scratch;
  const char *name = node->name && node->name[0] ? node->name : node->n_output ? node->output[0] : "";
  return arena_format(arena, "%s '%s'", safe_name(arena, node->op_type), safe_name(arena, name));
}

static const char *
plain_domain(const char *domain)
{
  return !domain || !strcmp(domain, "ai.onnx") ? "" : domain;
}

/* ---- functions ------------------------------------------------------------------------------------ */

static const char *
function_key(Import *import, const char *domain, const char *name, const char *overload)
{
  return arena_format(import->scratch, "%s\n%s\n%s", plain_domain(domain), name ? name : "",
                      overload ? overload : "");
}

/* A function may import operator sets of its own: they are added, but must not contradict the model's, since an
 * operator's meaning depends on the version. */
static bool
check_function_opsets(Import *import, const Onnx__FunctionProto *proto)
{
  Program *program = import->program;
  for (size_t i = 0; i < proto->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *opset = proto->opset_import[i];
    const char *domain = plain_domain(opset->domain);
    int64_t version = opset_version(program, domain);
    if (version == opset->version) continue;
    if (version)
      return reject(import, "inline functions before exporting, with onnx.inliner",
                    "function '%s' imports version %lld of operator set '%s', the model version %lld",
                    safe_name(import->scratch, proto->name), (long long)opset->version,
                    safe_name(import->scratch, domain), (long long)version);
    if (program->opset_count >= program->opset_capacity)
      return reject(import, NULL, "the model imports too many operator sets");
    program->opsets[program->opset_count++] =
        (OpsetImport){arena_text(program->arena, domain, strlen(domain)), opset->version};
  }
  return true;
}

bool
list_functions(Import *import)
{
  const Onnx__ModelProto *model = import->model;
  import->function = arena_array(import->scratch, model->n_functions + 1, sizeof *import->function);
  bool is_right = true;
  for (size_t i = 0; i < model->n_functions; i++) {
    const Onnx__FunctionProto *proto = model->functions[i];
    Function *function = &import->function[i];
    function->proto = proto;
    ProtobufCMessage **defaults;
    if (!message_field(&proto->base, FUNCTION_DEFAULTS, &onnx__attribute_proto__descriptor, import->source,
                       import->scratch, import->diagnostics, &defaults, &function->default_count))
      return false;
    function->defaults = (Onnx__AttributeProto **)defaults;
    const char *overload = text_field(&proto->base, FUNCTION_OVERLOAD, import->scratch);
    const char *key = function_key(import, proto->domain, proto->name, overload);
    if (!name_table_add(import->functions, key, (uint32_t)i, NULL))
      is_right = reject(import, NULL, "function '%s' is defined twice", safe_name(import->scratch, proto->name));
    is_right &= check_function_opsets(import, proto);
    import->expansion_left += 16 * (uint64_t)proto->n_node;
  }
  return is_right;
}

static Function *
find_function(Import *import, const Onnx__NodeProto *node)
{
  uint32_t index;
  if (!import->model->n_functions) return NULL;
  const char *overload = text_field(&node->base, NODE_OVERLOAD, import->scratch);
  const char *key = function_key(import, node->domain, node->op_type, overload);
  return name_table_find(import->functions, key, &index) ? &import->function[index] : NULL;
}

/* ---- attributes, references resolved ------------------------------------------------------------- */

static const Onnx__AttributeProto *
attribute_of_call(const Frame *frame, const char *name)
{
  for (size_t i = 0; i < frame->attribute_count; i++) {
    if (!strcmp(frame->attributes[i]->name, name)) return frame->attributes[i];
  }
  return NULL;
}

/* A node's attributes with references to the call's ones replaced; those that the call leaves out are left out.
 * `extra`: room wanted behind them. NULL after reporting. */
static Onnx__AttributeProto **
resolve_attributes(Import *import, const Frame *frame, const Onnx__NodeProto *node, size_t extra, size_t *count)
{
  *count = 0;
  if (node->n_attribute > MOST_ATTRIBUTES) {
    reject(import, NULL, "%s has more than %d attributes", node_title(import, node), MOST_ATTRIBUTES);
    return NULL;
  }
  Onnx__AttributeProto **list = arena_array(import->scratch, node->n_attribute + extra + 1, sizeof *list);
  for (size_t i = 0; i < node->n_attribute; i++) {
    Onnx__AttributeProto *attribute = node->attribute[i];
    if (!attribute->name || !attribute->name[0]) {
      reject(import, NULL, "%s has an attribute without a name", node_title(import, node));
      return NULL;
    }
    if (!attribute->ref_attr_name || !attribute->ref_attr_name[0]) {
      list[(*count)++] = attribute;
      continue;
    }
    if (!frame->function) {
      reject(import, NULL, "%s refers to an attribute outside of a function", node_title(import, node));
      return NULL;
    }
    const Onnx__AttributeProto *actual = attribute_of_call(frame, attribute->ref_attr_name);
    if (!actual) continue;
    Onnx__AttributeProto *copy = arena_allocate(import->scratch, sizeof *copy);
    *copy = *actual;
    copy->name = attribute->name;
    list[(*count)++] = copy;
  }
  return list;
}

/* ---- nodes ---------------------------------------------------------------------------------------- */

static size_t
without_trailing_blanks(char **names, size_t count)
{
  while (count && !names[count - 1][0]) count--;
  return count;
}

static bool
look_up_operands(Import *import, const Frame *frame, const Onnx__NodeProto *node, size_t count, ValueId *operands)
{
  bool is_right = true;
  for (size_t i = 0; i < count; i++) {
    operands[i] = NO_VALUE;
    if (!node->input[i][0] || name_table_find(frame->names, node->input[i], &operands[i])) continue;
    is_right = reject(import, NULL, "%s reads '%s', which is no input, initializer or result of a node",
                      node_title(import, node), safe_name(import->scratch, node->input[i]));
  }
  return is_right;
}

static void
look_up_results(const Frame *frame, const Onnx__NodeProto *node, size_t count, ValueId *results)
{
  for (size_t i = 0; i < count; i++) {
    results[i] = NO_VALUE;
    if (node->output[i][0]) name_table_find(frame->names, node->output[i], &results[i]);
  }
}

static void
import_node(Import *import, const Frame *frame, const Onnx__NodeProto *node)
{
  size_t operand_count = without_trailing_blanks(node->input, node->n_input), attribute_count;
  size_t result_count = without_trailing_blanks(node->output, node->n_output);
  ValueId *operands = arena_array(import->scratch, operand_count + result_count + 1, sizeof *operands);
  ValueId *results = operands + operand_count;
  if (!look_up_operands(import, frame, node, operand_count, operands)) return;
  look_up_results(frame, node, result_count, results);
  Onnx__AttributeProto **attributes = resolve_attributes(import, frame, node, 0, &attribute_count);
  if (!attributes) return;
  const char *name = node->name ? node->name : "";
  if (frame->function) name = arena_format(import->scratch, "%.100s/%.100s", frame->prefix, name);
  NodeId id = add_node(import->program, frame->phase, plain_domain(node->domain), node->op_type, name, operands,
                       operand_count, results, result_count);
  for (size_t i = 0; i < attribute_count; i++) {
    Attribute attribute;
    Phase phase;
    if (is_phase_attribute(attributes[i], &phase)) {
      node_at(import->program, id)->phase = phase;
    } else if (convert_attribute(import, attributes[i], node, &attribute)) {
      set_attribute(import->program, id, attribute);
    } else {
      return;
    }
  }
}

/* Declares what the nodes of a graph make. */
static void
declare_results(Import *import, const Frame *frame)
{
  for (size_t n = 0; n < frame->count; n++) {
    const Onnx__NodeProto *node = frame->nodes[n];
    for (size_t i = 0; i < node->n_output; i++) {
      if (node->output[i][0])
        declare_value(import, frame->names, node->output[i], VALUE_TEMPORARY, ACTNN_UNDEFINED, (Shape){.rank = -1},
                      node);
    }
  }
}

/* ---- calls ---------------------------------------------------------------------------------------- */

/* Names of a function's inputs stand for the caller's values; its results are the caller's, the rest is new. */
static void
bind_names(Import *import, Frame *frame, const Onnx__NodeProto *call, const ValueId *actual)
{
  const Onnx__FunctionProto *proto = frame->function->proto;
  for (size_t i = 0; i < proto->n_input; i++) {
    ValueId value = i < call->n_input ? actual[i] : NO_VALUE;
    if (!name_table_add(frame->names, proto->input[i], value, NULL))
      reject(import, NULL, "function '%s' has two inputs of the same name", safe_name(import->scratch, proto->name));
  }
}

/* Results of the body: the caller's where the function gives them out. A result that is an input handed through
 * becomes an Identity. */
static void
bind_results(Import *import, Frame *frame, const Onnx__NodeProto *call)
{
  const Onnx__FunctionProto *proto = frame->function->proto;
  NameTable *given = name_table_create(), *made = name_table_create();
  for (size_t i = 0; i < proto->n_output; i++) {
    ValueId value = NO_VALUE;
    if (i < call->n_output && call->output[i][0]) name_table_find(frame->caller->names, call->output[i], &value);
    name_table_add(given, proto->output[i], value, NULL);
  }
  for (size_t n = 0; n < frame->count; n++) {
    const Onnx__NodeProto *node = frame->nodes[n];
    for (size_t i = 0; i < node->n_output; i++) {
      const char *name = node->output[i];
      ValueId value = NO_VALUE;
      if (!name[0]) continue;
      name_table_find(given, name, &value);
      if (value == NO_VALUE)
        value = add_value(import->program, NULL, VALUE_TEMPORARY, ACTNN_UNDEFINED, (Shape){.rank = -1});
      name_table_add(made, name, value, NULL);
      if (!name_table_add(frame->names, name, value, NULL))
        reject(import, NULL, "%s makes '%s', which is defined already", node_title(import, node),
               safe_name(import->scratch, name));
    }
  }
  for (size_t i = 0; i < proto->n_output; i++) {
    ValueId value, source;
    if (name_table_find(made, proto->output[i], &value)) continue;
    name_table_find(given, proto->output[i], &value); /* it is there: all outputs are */
    if (value == NO_VALUE) continue;
    if (name_table_find(frame->names, proto->output[i], &source) && source != NO_VALUE)
      add_node(import->program, frame->phase, "", "Identity", frame->prefix, &source, 1, &value, 1);
    else
      reject(import, NULL, "function '%s' does not make its output '%s'", safe_name(import->scratch, proto->name),
             safe_name(import->scratch, proto->output[i]));
  }
  name_table_destroy(given);
  name_table_destroy(made);
}

/* The call's attributes, then the function's defaults for those it leaves out. */
static bool
bind_attributes(Import *import, Frame *frame, const Onnx__NodeProto *call)
{
  Function *function = frame->function;
  if (function->default_count > MOST_ATTRIBUTES)
    return reject(import, NULL, "function '%s' has more than %d attributes",
                  safe_name(import->scratch, function->proto->name), MOST_ATTRIBUTES);
  frame->attributes =
      resolve_attributes(import, frame->caller, call, function->default_count, &frame->attribute_count);
  if (!frame->attributes) return false;
  for (size_t i = 0; i < function->default_count; i++) {
    const char *name = function->defaults[i]->name;
    if (name && !attribute_of_call(frame, name)) frame->attributes[frame->attribute_count++] = function->defaults[i];
  }
  return true;
}

/* Inlining can grow a model exponentially: it has a budget. */
static bool
pay(Import *import, uint64_t cost)
{
  bool has_room = import->program->node_count < MOST_NODES && import->program->value_count < MOST_VALUES;
  if (cost <= import->expansion_left && has_room) {
    import->expansion_left -= cost;
    return true;
  }
  import->is_exhausted = true;
  return reject(import, NULL, "the model's functions call each other too many times");
}

static bool
may_inline(Import *import, const Function *function, const Onnx__NodeProto *call)
{
  if (function->is_open)
    return reject(import, "functions must not call themselves, directly or through others",
                  "%s calls a function from within itself", node_title(import, call));
  const Onnx__FunctionProto *proto = function->proto;
  if (call->n_input > proto->n_input || call->n_output > proto->n_output)
    return reject(import, NULL, "%s has %zu inputs and %zu outputs, its function has %zu and %zu",
                  node_title(import, call), call->n_input, call->n_output, proto->n_input, proto->n_output);
  uint64_t cost = 1 + proto->n_input + proto->n_output + proto->n_node + call->n_attribute + function->default_count;
  return pay(import, cost);
}

/* Everything that a function's nodes carry along is copied at each call. */
static bool
pay_for_attributes(Import *import, const Onnx__NodeProto *node)
{
  uint64_t cost = node->n_input + node->n_output;
  for (size_t i = 0; i < node->n_attribute; i++) {
    const Onnx__AttributeProto *attribute = node->attribute[i];
    uint64_t bytes =
        256 + attribute->s.len + 8 * (attribute->n_ints + attribute->n_floats + 4 * attribute->n_strings);
    if (attribute->t) {
      const Onnx__TensorProto *t = attribute->t;
      bytes += t->raw_data.len + 8 * (t->n_float_data + t->n_int32_data + t->n_int64_data + t->n_double_data +
                                      t->n_uint64_data + 8 * t->n_string_data);
    }
    cost += bytes / 256;
  }
  return pay(import, cost);
}

static Frame *
open_call(Import *import, Frame *caller, Function *function, const Onnx__NodeProto *call)
{
  size_t count = call->n_input;
  ValueId *actual = arena_array(import->scratch, count + 1, sizeof *actual);
  if (!may_inline(import, function, call) || !look_up_operands(import, caller, call, count, actual)) return NULL;
  Frame *frame = arena_allocate(import->scratch, sizeof *frame);
  const char *name = call->name && call->name[0] ? call->name : call->op_type;
  if (caller->function) name = arena_format(import->scratch, "%.100s/%.100s", caller->prefix, name);
  *frame = (Frame){.caller = caller,
                   .function = function,
                   .names = name_table_create(),
                   .nodes = function->proto->node,
                   .count = function->proto->n_node,
                   .prefix = name,
                   .phase = caller->phase};
  if (!bind_attributes(import, frame, call)) {
    name_table_destroy(frame->names);
    return NULL;
  }
  bind_names(import, frame, call, actual);
  bind_results(import, frame, call);
  function->is_open = true;
  return frame;
}

static Frame *
close_frame(Frame *frame)
{
  if (frame->function) {
    frame->function->is_open = false;
    name_table_destroy(frame->names);
  }
  return frame->caller;
}

void
import_nodes(Import *import, NameTable *names, Onnx__NodeProto **nodes, size_t count, Phase phase)
{
  Frame bottom = {.names = names, .nodes = nodes, .count = count, .prefix = "", .phase = phase};
  declare_results(import, &bottom);
  for (Frame *frame = &bottom; frame;) {
    bool is_hopeless = import->diagnostics->errors > import->diagnostics->limit; /* more is not shown anyway */
    if (frame->next == frame->count || import->is_exhausted || is_hopeless) {
      frame = close_frame(frame);
      continue;
    }
    const Onnx__NodeProto *node = frame->nodes[frame->next++];
    if (!node->op_type || !node->op_type[0]) {
      reject(import, NULL, "node number %zu has no operator: %s", frame->next, node_title(import, node));
      continue;
    }
    Function *function = find_function(import, node);
    if (function) {
      Frame *body = open_call(import, frame, function, node);
      if (body) frame = body;
    } else {
      if (frame->function && !pay_for_attributes(import, node)) continue;
      import_node(import, frame, node);
    }
  }
}
