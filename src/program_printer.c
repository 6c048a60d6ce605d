/* program_printer.c: prints a program in the text form (docs/program-text.md) that `parse_program` reads back.
 *
 * Values without a name get the numbers v1, v2, ... in the order of their definition, so that the text depends
 * on the program alone and two texts can be compared with diff. Facts that follow from others (result types,
 * bytes) stand in comments. */
#include "program_printer.h"

#include "name_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ON_ONE_LINE = 4 };

/* ---- names -------------------------------------------------------------------------------------- */

static void
list_value(Printer *printer, ValueId id)
{
  if (id >= printer->program->value_count || printer->names[id]) return;
  const char *name = value_at(printer->program, id)->name;
  printer->names[id] = name ? name : "";
  printer->listed[printer->listed_count++] = id;
}

static bool
is_initializer(const Printer *printer, ValueId id)
{
  ValueKind kind = value_at(printer->program, id)->kind;
  return !printer->is_made[id] && (kind == VALUE_PARAMETER || kind == VALUE_STATE || kind == VALUE_CONSTANT);
}

/* Marks what nodes in the order, outputs and links read: constants that nothing reads are not printed. */
static bool *
mark_read(const Printer *printer)
{
  const Program *program = printer->program;
  bool *is_read = arena_array(printer->arena, (size_t)program->value_count + 1, sizeof *is_read);
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    for (uint32_t i = 0; i < node->operand_count; i++)
      if (node->operands[i] < program->value_count) is_read[node->operands[i]] = true;
  }
  for (uint32_t i = 0; i < program->output_count; i++) is_read[program->outputs[i]] = true;
  const NamedResults named = named_results(program);
  const ValueId more[] = {program->label, program->learning_rate, program->step_number};
  for (size_t i = 0; i < NAMED_RESULTS; i++)
    if (named.value[i] < program->value_count) is_read[named.value[i]] = true;
  for (size_t i = 0; i < sizeof more / sizeof *more; i++)
    if (more[i] < program->value_count) is_read[more[i]] = true;
  return is_read;
}

/* Lists all values in the order of definition: inputs, initializers, results. */
static void
list_values(Printer *printer)
{
  const Program *program = printer->program;
  const bool *is_read = mark_read(printer);
  for (uint32_t i = 0; i < program->input_count; i++) {
    printer->is_given[program->inputs[i]] = true;
    list_value(printer, program->inputs[i]);
  }
  for (ValueId id = 0; id < program->value_count; id++)
    if (value_at(program, id)->kind == VALUE_INPUT && !printer->is_made[id] && is_read[id]) list_value(printer, id);
  for (ValueId id = 0; id < program->value_count; id++)
    if (is_initializer(printer, id) && (is_read[id] || value_at(program, id)->kind != VALUE_CONSTANT))
      list_value(printer, id);
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    for (uint32_t i = 0; i < node->result_count; i++) list_value(printer, node->results[i]);
  }
  /* Not legal, but shown all the same: what is read and nothing defines. */
  for (ValueId id = 0; id < program->value_count; id++)
    if (is_read[id]) list_value(printer, id);
}

/* Gives numbers to values without a name and other names to those whose name is taken. */
static void
choose_names(Printer *printer)
{
  NameTable *taken = name_table_create();
  uint32_t number = 0, copy = 1, ignored;
  for (uint32_t i = 0; i < printer->listed_count; i++) {
    const char **name = &printer->names[printer->listed[i]];
    const char *wanted = *name;
    while ((*name)[0] && !name_table_add(taken, *name, 0, NULL))
      *name = arena_format(printer->arena, "%s:%" PRIu32, wanted, ++copy);
  }
  for (uint32_t i = 0; i < printer->listed_count; i++) {
    const char **name = &printer->names[printer->listed[i]];
    if ((*name)[0]) continue;
    do *name = arena_format(printer->arena, "v%" PRIu32, ++number);
    while (name_table_find(taken, *name, &ignored));
  }
  name_table_destroy(taken);
}

static void
put_value(Printer *printer, ValueId id)
{
  if (id < printer->program->value_count) put_name(printer, printer->names[id]);
  else put(printer, "\"\"");
}

/* ---- header and signature ----------------------------------------------------------------------- */

/* Other readers of ONNX insist that every domain in use is imported. */
static bool
lacks_own_domain(const Program *program)
{
  if (opset_version(program, "actnn")) return false;
  for (uint32_t p = 0; p < program->order_count; p++)
    if (!strcmp(node_at(program, program->order[p])->domain, "actnn")) return true;
  return false;
}

static void
put_header(Printer *printer)
{
  const Program *program = printer->program;
  put_format(printer, "<\n  ir_version: %" PRId64 ",\n  opset_import: [", program->ir_version);
  for (uint32_t i = 0; i < program->opset_count; i++) {
    if (i) put(printer, ", ");
    put_quoted(printer, program->opsets[i].domain);
    put_format(printer, " : %" PRId64, program->opsets[i].version);
  }
  if (lacks_own_domain(program)) put_format(printer, "%s\"actnn\" : 1", program->opset_count ? ", " : "");
  put(printer, "],\n  metadata_props: [");
  print_annotations(printer);
  put(printer, "\n  ]\n>\n");
}

/* Starts item number `index` of a list that stands on one line when it is short. */
static void
put_separator(Printer *printer, uint32_t index, bool is_long)
{
  if (index) put(printer, is_long ? "," : ", ");
  if (is_long) put(printer, "\n  ");
}

static void
put_signature(Printer *printer)
{
  const Program *program = printer->program;
  uint32_t inputs = 0, shown = 0;
  for (uint32_t i = 0; i < printer->listed_count; i++)
    inputs += value_at(program, printer->listed[i])->kind == VALUE_INPUT && !printer->is_made[printer->listed[i]];
  put_name(printer, program->name[0] ? program->name : "graph");
  put(printer, " (");
  for (uint32_t i = 0; i < printer->listed_count; i++) {
    ValueId id = printer->listed[i];
    if (value_at(program, id)->kind != VALUE_INPUT || printer->is_made[id]) continue;
    put_separator(printer, shown++, inputs > MOST_ON_ONE_LINE);
    put_type(printer, value_at(program, id));
    put_value(printer, id);
  }
  put(printer, ") => (");
  for (uint32_t i = 0; i < program->output_count; i++) {
    put_separator(printer, i, program->output_count > MOST_ON_ONE_LINE);
    put_type(printer, value_at(program, program->outputs[i]));
    put_value(printer, program->outputs[i]);
  }
  put(printer, ")\n");
}

/* Initializers, then the types of all other values made by nodes. */
static void
put_declarations(Printer *printer)
{
  const Program *program = printer->program;
  uint32_t shown = 0;
  for (uint32_t i = 0; i < printer->listed_count; i++) {
    ValueId id = printer->listed[i];
    const Value *value = value_at(program, id);
    bool has_data = is_initializer(printer, id);
    bool is_result = printer->is_made[id] && !value->is_output && value->type != ACTNN_UNDEFINED;
    if (!has_data && !is_result) continue;
    put(printer, shown++ ? ",\n  " : "<\n  ");
    put_type(printer, value);
    put_value(printer, id);
    if (!has_data) continue;
    put(printer, " = ");
    put_data(printer, value);
  }
  if (shown) put(printer, "\n>\n");
}

/* ---- nodes -------------------------------------------------------------------------------------- */

static void
put_attribute_value(Printer *printer, const Attribute *attribute)
{
  static const char *const empty[] = {
      [ATTRIBUTE_INTS] = "ints", [ATTRIBUTE_FLOATS] = "floats", [ATTRIBUTE_STRINGS] = "strings"};
  const Program *program = printer->program;
  bool is_list = attribute->kind >= ATTRIBUTE_INTS && attribute->kind <= ATTRIBUTE_STRINGS;
  if (is_list && !attribute->count) put_format(printer, ": %s", empty[attribute->kind]);
  put(printer, is_list ? " = [" : " = ");
  for (size_t i = 0; is_list && i < attribute->count; i++) {
    if (i) put(printer, ", ");
    if (attribute->kind == ATTRIBUTE_INTS) put_format(printer, "%" PRId64, attribute->ints[i]);
    if (attribute->kind == ATTRIBUTE_FLOATS) put_real_attribute(printer, attribute->floats[i]);
    if (attribute->kind == ATTRIBUTE_STRINGS) put_quoted(printer, attribute->strings[i]);
  }
  if (is_list) put(printer, "]");
  if (attribute->kind == ATTRIBUTE_INT) put_format(printer, "%" PRId64, attribute->i);
  if (attribute->kind == ATTRIBUTE_FLOAT) put_real_attribute(printer, attribute->f);
  if (attribute->kind == ATTRIBUTE_STRING) put_quoted(printer, attribute->s);
  if (attribute->kind == ATTRIBUTE_TENSOR && attribute->tensor < program->value_count) {
    const Value *value = value_at(program, attribute->tensor);
    put_type(printer, value);
    if (!value->data || value->data_bytes / (type_bytes(value->type) + !type_bytes(value->type)) > MOST_ELEMENTS_SHOWN)
      put(printer, "= ");
    put_data(printer, value);
  }
}

/* The node that a node comes from: by a result of it, or by its operator and name when it is gone. */
static const char *
origin_word(const Printer *printer, const Node *node, bool *is_live)
{
  const Program *program = printer->program;
  NodeId origin = node->origin;
  for (uint32_t hops = 0; hops < 64 && !printer->is_live[origin]; hops++) {
    NodeId next = node_at(program, origin)->origin;
    if (next >= program->node_count) break;
    origin = next;
  }
  const Node *from = node_at(program, origin);
  for (uint32_t i = 0; printer->is_live[origin] && i < from->result_count; i++) {
    if (from->results[i] == NO_VALUE) continue;
    *is_live = true;
    return printer->names[from->results[i]];
  }
  *is_live = false;
  return arena_format(printer->arena, "%s%s%s%s%s", from->domain, from->domain[0] ? "." : "", from->operator_name,
                      from->name[0] ? " " : "", from->name);
}

static void
put_attributes(Printer *printer, const Node *node)
{
  uint32_t shown = 0;
  for (uint32_t i = 0; i < node->attribute_count; i++) {
    put(printer, shown++ ? ", " : "<");
    put_plain_name(printer, node->attributes[i].name);
    put_attribute_value(printer, &node->attributes[i]);
  }
  if (node->phase != PHASE_FORWARD) {
    put_format(printer, "%sphase = \"%s\"", shown++ ? ", " : "<", phase_name(node->phase));
  }
  if (node->origin < printer->program->node_count) {
    bool is_live;
    const char *word = origin_word(printer, node, &is_live);
    put_format(printer, "%s%s = ", shown++ ? ", " : "<", is_live ? "origin" : "came_from");
    put_quoted(printer, word);
  }
  if (shown) put(printer, ">");
}

/* # f32[64,16,28,28] 3211264 bytes */
static void
put_comment(Printer *printer, const Node *node)
{
  Arena *arena = printer->arena;
  const char *separator = "  # ";
  for (uint32_t i = 0; i < node->result_count; i++) {
    const Value *value = result_value(printer->program, node, i);
    int64_t elements;
    if (!value || value->type == ACTNN_UNDEFINED || value->shape.rank < 0) continue;
    put(printer, separator);
    put(printer, shape_text(arena, value->type, &value->shape));
    if (value->kind != VALUE_STASH && shape_is_static(&value->shape) && shape_elements(&value->shape, &elements))
      put_format(printer, " %zu bytes", (size_t)elements * type_bytes(value->type));
    separator = ", ";
  }
}

static void
put_node(Printer *printer, const Node *node)
{
  put(printer, "  ");
  if (node->name[0]) {
    put(printer, "[");
    put_name(printer, node->name);
    put(printer, "] ");
  }
  for (uint32_t i = 0; i < node->result_count; i++) {
    if (i) put(printer, ", ");
    put_value(printer, node->results[i]);
  }
  put(printer, " = ");
  for (const char *part = node->domain, *dot; *part; part = dot + (*dot == '.')) {
    dot = part + strcspn(part, ".");
    put_plain_name(printer, arena_text(printer->arena, part, (size_t)(dot - part)));
    put(printer, ".");
  }
  put_plain_name(printer, node->operator_name);
  put_attributes(printer, node);
  put(printer, "(");
  for (uint32_t i = 0; i < node->operand_count; i++) {
    if (i) put(printer, ", ");
    put_value(printer, node->operands[i]);
  }
  put(printer, ")");
  put_comment(printer, node);
  put(printer, "\n");
}

char *
print_program(const Program *program, Arena *arena)
{
  Arena *scratch = arena_create();
  Printer printer = {.program = program, .arena = scratch};
  printer.names = arena_array(scratch, (size_t)program->value_count + 1, sizeof *printer.names);
  printer.listed = arena_array(scratch, (size_t)program->value_count + 1, sizeof *printer.listed);
  printer.is_made = arena_array(scratch, (size_t)program->value_count + 1, sizeof *printer.is_made);
  printer.is_given = arena_array(scratch, (size_t)program->value_count + 1, sizeof *printer.is_given);
  printer.is_live = arena_array(scratch, (size_t)program->node_count + 1, sizeof *printer.is_live);
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    printer.is_live[program->order[p]] = true;
    for (uint32_t i = 0; i < node->result_count; i++)
      if (node->results[i] < program->value_count) printer.is_made[node->results[i]] = true;
  }
  list_values(&printer);
  choose_names(&printer);
  put_header(&printer);
  put_signature(&printer);
  put_declarations(&printer);
  put(&printer, "{\n");
  Phase phase = PHASE_COUNT;
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    if (node->phase != phase) put_format(&printer, "  # %s\n", phase_name(node->phase));
    phase = node->phase;
    put_node(&printer, node);
  }
  put(&printer, "}\n");
  char *text = arena_text(arena, printer.text, printer.length);
  arena_destroy(scratch);
  return text;
}
