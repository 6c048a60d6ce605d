/* program.c: making, asking and changing programs. Shapes and types are in shapes.c, the order of nodes in order.c.
 *
 * Arrays grow by doubling inside the program's arena; what they leave behind is freed with it.
 */
#include "program.h"
#include "operators.h"

#include <stdlib.h>
#include <string.h>

/* ---- making ------------------------------------------------------------------------------------ */

Program *
program_create(const char *source, Diagnostics *diagnostics)
{
  Arena *arena = arena_create();
  Program *program = arena_allocate(arena, sizeof *program);
  program->arena = arena;
  program->diagnostics = diagnostics;
  program->source = source ? arena_text(arena, source, strlen(source)) : "program";
  program->name = "";
  program->loss = program->evaluation_loss = NO_VALUE;
  program->prediction = program->evaluation_output = program->evaluation_losses = NO_VALUE;
  program->label = program->learning_rate = program->step_number = NO_VALUE;
  return program;
}

void
program_destroy(Program *program)
{
  if (program) arena_destroy(program->arena);
}

/* Makes room for one more element of `size` bytes. Numbers are 32 bits wide and the last one means "none". */
static void *
grow(Program *program, void *array, uint32_t count, uint32_t *capacity, size_t size)
{
  if (count < *capacity) return array;
  if (count >= UINT32_MAX / 2) {
    report(program->diagnostics, program->source, NULL, "the program has more than 2147483647 values or nodes");
    exit(1);
  }
  *capacity = count < 64 ? 128 : count * 2;
  void *larger = arena_array(program->arena, *capacity, size);
  if (count) memcpy(larger, array, count * size);
  return larger;
}

static const char *
copy_text(Program *program, const char *text)
{
  return text ? arena_text(program->arena, text, strlen(text)) : NULL;
}

static void *
copy_array(Program *program, const void *array, size_t count, size_t size)
{
  void *copy = arena_array(program->arena, count ? count : 1, size);
  if (count) memcpy(copy, array, count * size);
  return copy;
}

ValueId
add_value(Program *program, const char *name, ValueKind kind, actnn_type type, Shape shape)
{
  program->values =
      grow(program, program->values, program->value_count, &program->value_capacity, sizeof *program->values);
  ValueId id = program->value_count++;
  program->values[id] = (Value){.name = copy_text(program, name),
                                .type = type,
                                .shape = shape,
                                .kind = kind,
                                .producer = NO_NODE,
                                .drawn_from = NO_VALUE,
                                .updates = NO_VALUE};
  return id;
}

ValueId
add_constant(Program *program, const char *name, actnn_type type, Shape shape, const void *data, size_t bytes)
{
  ValueId id = add_value(program, name, VALUE_CONSTANT, type, shape);
  value_at(program, id)->data = copy_array(program, data, bytes, 1);
  value_at(program, id)->data_bytes = bytes;
  return id;
}

ValueId
add_int64_constant(Program *program, const int64_t *ints, size_t count)
{
  int64_t dim = (int64_t)count;
  return add_constant(program, NULL, ACTNN_I64, shape_of(1, &dim), ints, count * sizeof *ints);
}

ValueId
add_scalar_constant(Program *program, double value)
{
  float single = (float)value;
  return add_constant(program, NULL, ACTNN_F32, shape_of(0, NULL), &single, sizeof single);
}

NodeId
add_node(Program *program, Phase phase, const char *domain, const char *operator_name, const char *name,
         const ValueId *operands, size_t operand_count, const ValueId *results, size_t result_count)
{
  if (!domain || !strcmp(domain, "ai.onnx")) domain = "";
  program->nodes =
      grow(program, program->nodes, program->node_count, &program->node_capacity, sizeof *program->nodes);
  program->order =
      grow(program, program->order, program->order_count, &program->order_capacity, sizeof *program->order);
  NodeId id = program->node_count++;
  program->nodes[id] = (Node){.operator= find_operator(domain, operator_name),
                              .domain = domain[0] ? copy_text(program, domain) : "",
                              .operator_name = copy_text(program, operator_name),
                              .name = name && name[0] ? copy_text(program, name) : "",
                              .operands = copy_array(program, operands, operand_count, sizeof *operands),
                              .results = copy_array(program, results, result_count, sizeof *results),
                              .operand_count = (uint32_t)operand_count,
                              .result_count = (uint32_t)result_count,
                              .phase = phase,
                              .origin = NO_NODE};
  for (size_t i = 0; i < result_count; i++) {
    if (results[i] != NO_VALUE) value_at(program, results[i])->producer = id;
  }
  program->order[program->order_count++] = id;
  return id;
}

static const char **
copy_strings(Program *program, const char *const *strings, size_t count)
{
  const char **copy = arena_array(program->arena, count ? count : 1, sizeof *copy);
  for (size_t i = 0; i < count; i++) copy[i] = copy_text(program, strings[i]);
  return copy;
}

void
set_attribute(Program *program, NodeId id, Attribute attribute)
{
  Node *node = node_at(program, id);
  Attribute copy = attribute;
  copy.name = copy_text(program, attribute.name);
  copy.s = copy_text(program, attribute.s);
  if (attribute.kind == ATTRIBUTE_INTS)
    copy.ints = copy_array(program, attribute.ints, attribute.count, sizeof *attribute.ints);
  if (attribute.kind == ATTRIBUTE_FLOATS)
    copy.floats = copy_array(program, attribute.floats, attribute.count, sizeof *attribute.floats);
  if (attribute.kind == ATTRIBUTE_STRINGS) copy.strings = copy_strings(program, attribute.strings, attribute.count);
  for (uint32_t i = 0; i < node->attribute_count; i++) {
    if (!strcmp(node->attributes[i].name, attribute.name)) {
      node->attributes[i] = copy;
      return;
    }
  }
  /* Room grows at powers of two from 4 on. */
  uint32_t count = node->attribute_count;
  if (count == 0 || (count >= 4 && (count & (count - 1)) == 0)) {
    Attribute *larger = arena_array(program->arena, count ? (size_t)count * 2 : 4, sizeof *larger);
    if (count) memcpy(larger, node->attributes, count * sizeof *larger);
    node->attributes = larger;
  }
  node->attributes[node->attribute_count++] = copy;
}

/* Attributes with the room that set_attribute takes them to have. */
static Attribute *
copy_attributes(Program *program, const Node *node)
{
  size_t room = 4;
  while (room < node->attribute_count) room *= 2;
  Attribute *copy = node->attribute_count ? arena_array(program->arena, room, sizeof *copy) : NULL;
  if (copy) memcpy(copy, node->attributes, node->attribute_count * sizeof *copy);
  return copy;
}

Program *
program_copy(const Program *original, Diagnostics *diagnostics)
{
  Arena *arena = arena_create();
  Program *program = arena_allocate(arena, sizeof *program);
  *program = *original;
  program->arena = arena;
  program->diagnostics = diagnostics;
  program->values = copy_array(program, original->values, original->value_count, sizeof *program->values);
  program->nodes = copy_array(program, original->nodes, original->node_count, sizeof *program->nodes);
  program->order = copy_array(program, original->order, original->order_count, sizeof *program->order);
  program->inputs = copy_array(program, original->inputs, original->input_count, sizeof *program->inputs);
  program->outputs = copy_array(program, original->outputs, original->output_count, sizeof *program->outputs);
  program->value_capacity = original->value_count;
  program->node_capacity = original->node_count;
  program->order_capacity = original->order_count;
  for (NodeId id = 0; id < program->node_count; id++) {
    Node *node = node_at(program, id);
    node->operands = copy_array(program, node->operands, node->operand_count, sizeof *node->operands);
    node->results = copy_array(program, node->results, node->result_count, sizeof *node->results);
    node->attributes = copy_attributes(program, node);
  }
  return program;
}

void
set_int(Program *program, NodeId node, const char *name, int64_t value)
{
  set_attribute(program, node, (Attribute){.name = name, .kind = ATTRIBUTE_INT, .i = value, .tensor = NO_VALUE});
}

void
set_float(Program *program, NodeId node, const char *name, double value)
{
  set_attribute(program, node, (Attribute){.name = name, .kind = ATTRIBUTE_FLOAT, .f = value, .tensor = NO_VALUE});
}

void
set_string(Program *program, NodeId node, const char *name, const char *value)
{
  set_attribute(program, node, (Attribute){.name = name, .kind = ATTRIBUTE_STRING, .s = value, .tensor = NO_VALUE});
}

void
set_ints(Program *program, NodeId node, const char *name, const int64_t *ints, size_t count)
{
  set_attribute(program, node,
                (Attribute){.name = name, .kind = ATTRIBUTE_INTS, .count = count, .ints = ints, .tensor = NO_VALUE});
}

void
remove_attribute(Program *program, NodeId id, const char *name)
{
  /* The rest moves into a fresh array, so that `set_attribute` can tell the room from the count. */
  Node *node = node_at(program, id);
  Attribute *old = node->attributes;
  uint32_t count = node->attribute_count;
  if (!find_attribute(node, name)) return;
  node->attributes = NULL;
  node->attribute_count = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (strcmp(old[i].name, name)) set_attribute(program, id, old[i]);
  }
}

/* Writes slot `index` of an operand or result list, which grows with absent ones as needed. */
static void
set_slot(Program *program, ValueId **list, uint32_t *count, uint32_t index, ValueId value)
{
  if (index >= *count) {
    ValueId *larger = arena_array(program->arena, (size_t)index + 1, sizeof *larger);
    for (uint32_t i = 0; i <= index; i++) larger[i] = i < *count ? (*list)[i] : NO_VALUE;
    *list = larger;
    *count = index + 1;
  }
  (*list)[index] = value;
}

void
set_operand(Program *program, NodeId id, uint32_t index, ValueId value)
{
  Node *node = node_at(program, id);
  set_slot(program, &node->operands, &node->operand_count, index, value);
}

void
set_result(Program *program, NodeId id, uint32_t index, ValueId value)
{
  Node *node = node_at(program, id);
  Value *old = result_value(program, node, index);
  if (old && old->producer == id) old->producer = NO_NODE;
  set_slot(program, &node->results, &node->result_count, index, value);
  if (value != NO_VALUE) value_at(program, value)->producer = id;
}

/* ---- asking ------------------------------------------------------------------------------------ */

ValueId
operand_id(const Node *node, uint32_t index)
{
  return index < node->operand_count ? node->operands[index] : NO_VALUE;
}

NamedResults
named_results(const Program *program)
{
  return (NamedResults){{program->loss, program->evaluation_loss, program->prediction, program->evaluation_output,
                         program->evaluation_losses}};
}

ValueId
result_id(const Node *node, uint32_t index)
{
  return index < node->result_count ? node->results[index] : NO_VALUE;
}

Value *
operand_value(const Program *program, const Node *node, uint32_t index)
{
  ValueId id = operand_id(node, index);
  return id == NO_VALUE ? NULL : value_at(program, id);
}

Value *
result_value(const Program *program, const Node *node, uint32_t index)
{
  ValueId id = result_id(node, index);
  return id == NO_VALUE ? NULL : value_at(program, id);
}

const Attribute *
find_attribute(const Node *node, const char *name)
{
  for (uint32_t i = 0; i < node->attribute_count; i++) {
    if (!strcmp(node->attributes[i].name, name)) return &node->attributes[i];
  }
  return NULL;
}

int64_t
int_attribute(const Node *node, const char *name, int64_t otherwise)
{
  const Attribute *attribute = find_attribute(node, name);
  return attribute && attribute->kind == ATTRIBUTE_INT ? attribute->i : otherwise;
}

double
float_attribute(const Node *node, const char *name, double otherwise)
{
  const Attribute *attribute = find_attribute(node, name);
  if (attribute && attribute->kind == ATTRIBUTE_INT) return (double)attribute->i;
  return attribute && attribute->kind == ATTRIBUTE_FLOAT ? attribute->f : otherwise;
}

const char *
string_attribute(const Node *node, const char *name, const char *otherwise)
{
  const Attribute *attribute = find_attribute(node, name);
  return attribute && attribute->kind == ATTRIBUTE_STRING ? attribute->s : otherwise;
}

size_t
ints_attribute(const Node *node, const char *name, const int64_t **ints)
{
  const Attribute *attribute = find_attribute(node, name);
  bool is_there = attribute && attribute->kind == ATTRIBUTE_INTS;
  *ints = is_there ? attribute->ints : NULL;
  return is_there ? attribute->count : 0;
}

int64_t
opset_version(const Program *program, const char *domain)
{
  if (!strcmp(domain, "ai.onnx")) domain = "";
  for (uint32_t i = 0; i < program->opset_count; i++) {
    if (!strcmp(program->opsets[i].domain, domain)) return program->opsets[i].version;
  }
  return 0;
}

/* ---- changing ---------------------------------------------------------------------------------- */

static void
replace_id(ValueId *id, ValueId from, ValueId to)
{
  if (*id == from) *id = to;
}

/* What else is said of a value is said of what replaces it. */
static void
hand_over(Program *program, ValueId from, ValueId to)
{
  Value *old = value_at(program, from), *new = value_at(program, to);
  new->is_output |= old->is_output;
  old->is_output = false;
  if (old->updates == NO_VALUE) return;
  new->updates = old->updates;
  old->updates = NO_VALUE;
}

static void
replace_id_by(ValueId *id, const ValueId *by)
{
  if (*id != NO_VALUE && by[*id] != NO_VALUE) *id = by[*id];
}

void
replace_all_uses(Program *program, const ValueId *by)
{
  for (uint32_t position = 0; position < program->order_count; position++) {
    Node *node = node_at(program, program->order[position]);
    for (uint32_t i = 0; i < node->operand_count; i++) replace_id_by(&node->operands[i], by);
    for (uint32_t i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTRIBUTE_TENSOR) replace_id_by(&node->attributes[i].tensor, by);
  }
  for (uint32_t i = 0; i < program->output_count; i++) replace_id_by(&program->outputs[i], by);
  for (ValueId id = 0; id < program->value_count; id++) {
    if (by[id] != NO_VALUE) hand_over(program, id, by[id]);
    replace_id_by(&program->values[id].drawn_from, by);
  }
  ValueId *named[] = {&program->loss, &program->evaluation_loss, &program->prediction, &program->evaluation_output,
                      &program->evaluation_losses};
  for (size_t i = 0; i < sizeof named / sizeof *named; i++) replace_id_by(named[i], by);
}

void
replace_uses(Program *program, ValueId from, ValueId to)
{
  if (from == to) return;
  for (uint32_t position = 0; position < program->order_count; position++) {
    Node *node = node_at(program, program->order[position]);
    for (uint32_t i = 0; i < node->operand_count; i++) replace_id(&node->operands[i], from, to);
    for (uint32_t i = 0; i < node->attribute_count; i++) {
      if (node->attributes[i].kind == ATTRIBUTE_TENSOR) replace_id(&node->attributes[i].tensor, from, to);
    }
  }
  for (uint32_t i = 0; i < program->output_count; i++) replace_id(&program->outputs[i], from, to);
  hand_over(program, from, to);
  for (ValueId id = 0; id < program->value_count; id++) replace_id(&program->values[id].drawn_from, from, to);
  ValueId *named[] = {&program->loss, &program->evaluation_loss, &program->prediction, &program->evaluation_output,
                      &program->evaluation_losses};
  for (size_t i = 0; i < sizeof named / sizeof *named; i++) replace_id(named[i], from, to);
}
