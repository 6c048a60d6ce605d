/* specialize: fixes symbolic dimensions, spells operators one way, folds constants, infers every shape and type.
 * needs: a freshly imported program.  keeps: names.  makes: static shapes everywhere; nodes in the table's spelling; an order that follows
 * from the graph alone, so that sums of gradients, random streams and memory do not depend on how the file lists nodes. Shapes that
 * exporters compute with chains of nodes (Shape, Gather, Concat, Reshape) become constants here, because later shapes depend on them. */
#include "passes.h"

#include "../src/canonicalize.h"
#include "../src/emit.h"
#include "../src/constant_folding.h"

#include <stdlib.h>
#include <string.h>

PassFunction specialize;

enum { FIRST_RANDOM_STREAM = 1 << 20 };
enum { MOST_MODEL_NODES = 1 << 15 }; /* about 8 KiB and a millisecond each, for all that becomes of them */
enum { FOLD_ELEMENTS = 1 << 16 }; /* larger constants are computed by the trainer each step rather than stored */
/* Together no more than this: 64 MiB of results as the evaluator holds them, and multiplications for a second or so. */
static const int64_t FOLD_TOTAL = 1 << 23, FOLD_WORK = 1 << 28;

static bool
fix_dimension(Program *program, const Options *options, Value *value, int axis)
{
  const char *symbol = value->symbol ? value->symbol[axis] : NULL;
  for (size_t i = 0; symbol && i < options->dimension_count; i++)
    if (!strcmp(symbol, options->dimension[i].name)) {
      value->shape.dim[axis] = options->dimension[i].extent;
      return true;
    }
  if (axis == 0 && options->batch) {
    value->shape.dim[0] = options->batch;
    return true;
  }
  return report(program->diagnostics, program->source,
                axis == 0 ? "give the batch size: --batch=N" : "give its extent: --dim NAME=N",
                "dimension %d of input '%s' is not fixed%s%s", axis, safe_name(program->arena, value->name),
                symbol ? ": it is called " : "", symbol ? safe_name(program->arena, symbol) : "");
}

/* A misspelt --dim would go unnoticed where --batch fixes the same axis. */
static bool
every_dimension_exists(Program *program, const Options *options)
{
  for (size_t i = 0; i < options->dimension_count; i++) {
    bool is_used = false;
    for (uint32_t k = 0; k < program->input_count; k++) {
      const Value *value = value_at(program, program->inputs[k]);
      for (int axis = 0; value->symbol && axis < value->shape.rank; axis++)
        is_used |= value->symbol[axis] && !strcmp(value->symbol[axis], options->dimension[i].name);
    }
    if (!is_used)
      return report(program->diagnostics, program->source, NULL, "--dim: no input has a dimension called '%s'",
                    safe_name(program->arena, options->dimension[i].name));
  }
  return true;
}

static bool
fix_inputs(Program *program, const Options *options)
{
  if (!every_dimension_exists(program, options)) return false;
  bool is_good = true;
  for (uint32_t i = 0; i < program->input_count; i++) {
    Value *value = value_at(program, program->inputs[i]);
    if (value->shape.rank < 0) {
      is_good = report(program->diagnostics, program->source, NULL, "input '%s' has no shape",
                       safe_name(program->arena, value->name));
      continue;
    }
    for (int k = 0; k < value->shape.rank; k++)
      if (value->shape.dim[k] < 0) is_good &= fix_dimension(program, options, value, k);
  }
  return is_good;
}

/* Expanded by differentiate: no operator of the table. */
static bool
is_gradient_node(const Node *node)
{
  return !strcmp(node->operator_name, "Gradient") && !strcmp(node->domain, "ai.onnx.preview.training");
}

/* All operators that are not in the table, in one message. */
static bool
report_unknown(Program *program)
{
  const char *list = "";
  unsigned count = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (node->operator || is_spelling(node->domain, node->operator_name) || is_gradient_node(node)) continue;
    bool is_repeated = false;
    for (uint32_t k = 0; k < i && !is_repeated; k++) {
      const Node *other = node_at(program, program->order[k]);
      is_repeated = !other->operator && !strcmp(other->operator_name, node->operator_name) && !strcmp(other->domain, node->domain);
    }
    if (is_repeated) continue;
    count++;
    list = arena_format(program->arena, "%s%s%s%s%s (first: '%s')", list, *list ? ", " : "",
                        safe_name(program->arena, node->domain), *node->domain ? "." : "",
                        safe_name(program->arena, node->operator_name), safe_name(program->arena, node->name));
    if (strlen(list) > 4000) break;
  }
  if (!count) return true;
  return report(program->diagnostics, program->source, "see actnnc --list-operators", "%u operator%s not supported: %s", count,
                count == 1 ? " is" : "s are", list);
}

static bool
fold(Program *program, uint32_t position, Folding *left, bool *is_folded)
{
  NodeId id = program->order[position];
  const Node *node = node_at(program, id);
  Tensor result[8] = {{0}}, shape_only = {.type = ACTNN_F32};
  const Tensor *operand = NULL;
  *is_folded = false;
  if (node->result_count > 8) return true;
  bool only_shape = reads_only_shapes(node->operator), is_matrix = only_shape && !strcmp(node->operator_name, "EyeLike");
  if (!only_shape && !is_foldable(program, node, FOLD_ELEMENTS)) return true;
  if ((!only_shape || is_matrix) && !afford_evaluation(program, node, left)) {
    if (!is_matrix) return true;
    return report_node(program, id, NULL, "its result is too large to be computed at compile time");
  }
  if (only_shape) {
    shape_only.shape = operand_value(program, node, 0)->shape;
    operand = &shape_only;
  }
  Arena *scratch = arena_create();
  *is_folded = evaluate_node(program, id, scratch, operand ? &operand : NULL, result);
  for (uint32_t k = 0; *is_folded && k < node->result_count; k++)
    if (node->results[k] != NO_VALUE) {
      actnn_type type = value_at(program, node->results[k])->type;
      if (type == ACTNN_F16 || type == ACTNN_BF16) value_at(program, node->results[k])->type = ACTNN_F32;
      become_constant(program, node->results[k], &result[k]);
    }
  arena_destroy(scratch);
  return *is_folded;
}

/* Half and double parameters and constants are computed with in FP32, as everything is. */
static bool
narrow_values(Program *program)
{
  for (uint32_t i = 0; i < program->value_count; i++) {
    Value *value = value_at(program, i);
    bool is_other_float = value->type == ACTNN_F16 || value->type == ACTNN_BF16 || value->type == ACTNN_F64;
    if (!is_other_float) continue;
    if (value->data) {
      Tensor tensor;
      if (!constant_tensor(program, i, program->arena, &tensor)) return false;
      ValueKind kind = value->kind;
      value->type = ACTNN_F32;
      become_constant(program, i, &tensor);
      value->kind = kind;
    }
    value->type = ACTNN_F32;
  }
  return true;
}

/* What casts to the other floating types, draws them or makes a unit matrix of them, does so to FP32. */
static void
narrow_attribute(Program *program, NodeId id, const char *name)
{
  int64_t type = int_attribute(node_at(program, id), name, 0);
  if (type == ACTNN_F16 || type == ACTNN_BF16 || type == ACTNN_F64) set_int(program, id, name, ACTNN_F32);
}

/* Gradient's results are like the tensors that its attribute xs names. */
static void
type_gradients(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Attribute *xs = find_attribute(node, "xs");
  for (uint32_t k = 0; xs && k < node->result_count && k < xs->count; k++)
    for (ValueId x = 0; node->results[k] != NO_VALUE && x < program->value_count; x++) {
      const Value *like = value_at(program, x);
      if (!like->name || strcmp(like->name, xs->strings[k])) continue;
      value_at(program, node->results[k])->type = like->type;
      value_at(program, node->results[k])->shape = like->shape;
      break;
    }
}

/* An attribute of another kind than the operator's would be taken for absent. */
static bool
attributes_fit(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  for (uint32_t i = 0; node->operator && i < node->operator->attribute_count; i++) {
    const AttributeSlot *slot = &node->operator->attributes[i];
    const Attribute *attribute = find_attribute(node, slot->name);
    bool is_number = attribute && attribute->kind == ATTRIBUTE_INT && slot->kind == ATTRIBUTE_FLOAT;
    if (!attribute || attribute->kind == slot->kind || is_number) continue;
    return report_node(program, id, NULL, "attribute '%s' is of another kind than the operator's", slot->name);
  }
  return true;
}

/* Calls in emitted source hold no more; optimizers of the model's own are taken apart later. */
static bool
is_small_enough(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  uint32_t most = node->operand_count > node->result_count ? node->operand_count : node->result_count;
  if (most <= ACTNN_MAX_OPERANDS || !strcmp(node->domain, "ai.onnx.preview.training")) return true;
  return report_node(program, id, NULL, "it has %u operands or results, at most %d are supported", most, (int)ACTNN_MAX_OPERANDS);
}

static bool
specialize_order(Program *program)
{
  Folding left = {FOLD_TOTAL, FOLD_WORK};
  for (uint32_t i = 0; i < program->order_count && program->diagnostics->errors < program->diagnostics->limit;) {
    NodeId id = program->order[i];
    bool is_folded;
    if (is_gradient_node(node_at(program, id))) {
      type_gradients(program, id);
      i++;
      continue;
    }
    if (!attributes_fit(program, id) || !canonicalize_node(program, id)) return false;
    if (i >= program->order_count) break;
    if (program->order[i] != id) continue; /* replaced by other nodes: look at those */
    if (!strcmp(node_at(program, id)->operator_name, "Cast")) narrow_attribute(program, id, "to");
    else narrow_attribute(program, id, "dtype");
    if (!infer_node(program, id) || !is_small_enough(program, id)) return false;
    if (!fold(program, i, &left, &is_folded)) return false;
    if (is_folded) remove_from_order(program, i);
    else i++;
  }
  return !program->diagnostics->errors;
}

/* A normalization that a model applies several times (twins that share weights) updates its running statistics one after the other: each
 * goes on from what the one before it left, and the last one's are the variables' next values. */
static void
chain_statistics(Program *program)
{
  ValueId *latest = arena_array(program->arena, program->value_count + 1, sizeof *latest);
  memset(latest, 0xFF, program->value_count * sizeof *latest);
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    for (uint32_t k = 1; k < 3 && is_operator(program, id, "BatchNorm"); k++) {
      ValueId made = result_id(node_at(program, id), k), variable = made == NO_VALUE ? NO_VALUE : value_at(program, made)->updates;
      if (variable == NO_VALUE) continue;
      ValueId before = latest[variable];
      if (before != NO_VALUE) {
        value_at(program, before)->updates = NO_VALUE;
        set_operand(program, id, k + 2, before);
      }
      latest[variable] = made;
    }
  }
}

/* Folding gives an Identity's result the constant once more: its readers go back to the first, which is then kept once. */
static void
share_constants(Program *program)
{
  ValueId *by = arena_array(program->arena, program->value_count + 1, sizeof *by);
  memset(by, 0xFF, program->value_count * sizeof *by);
  for (uint32_t i = 0; i < program->node_count; i++) {
    const Node *node = node_at(program, i);
    if (node->domain[0] || strcmp(node->operator_name, "Identity")) continue;
    const Value *x = operand_value(program, node, 0), *y = result_value(program, node, 0);
    if (x && y && x->kind == VALUE_CONSTANT && y->kind == VALUE_CONSTANT && x->type == y->type) by[result_id(node, 0)] = operand_id(node, 0);
  }
  for (uint32_t i = 0; i < program->value_count; i++) {
    ValueId first = i;
    while (by[first] != NO_VALUE) first = by[first];
    for (ValueId at = i, next; at != first; at = next) { /* all on the way go there, so that no way is walked twice */
      next = by[at];
      by[at] = first;
    }
  }
  replace_all_uses(program, by);
}

/* A variable drawn by the initialization graph has the type and shape of what draws it. First values that are known now and too large
 * for a table in the source are the variable's own data, as if the model had given them. */
static bool
check_initialization(Program *program)
{
  for (uint32_t i = 0; i < program->value_count; i++) {
    Value *value = value_at(program, i);
    if (value->drawn_from == NO_VALUE) continue;
    const Value *source = value_at(program, value->drawn_from);
    if (shape_equal(&value->shape, &source->shape)) {
      if (!is_stored_constant(source)) continue;
      value->data = source->data;
      value->data_bytes = source->data_bytes;
      value->drawn_from = NO_VALUE;
      continue;
    }
    return report(program->diagnostics, program->source, NULL, "initialization draws %s for '%s', which is %s",
                  shape_text(program->arena, source->type, &source->shape), safe_name(program->arena, value->name),
                  shape_text(program->arena, value->type, &value->shape));
  }
  return true;
}

/* Each node that draws has its own random stream; streams of coded saves are numbered from 0. */
static void
number_random_streams(Program *program)
{
  int64_t next = FIRST_RANDOM_STREAM;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Operator *operator = node_at(program, program->order[i])->operator;
    for (uint32_t k = 0; operator && (operator->flags & RANDOM) && k < operator->attribute_count; k++)
      if (!strcmp(operator->attributes[k].name, "random_id")) set_int(program, program->order[i], "random_id", next++);
  }
}

bool
specialize(Program *program, const Options *options)
{
  if (!is_untouched(program))
    return report(program->diagnostics, program->source, "--run-pass runs those that are still to come",
                  "it is a program that passes have changed already, not a model");
  if (program->order_count > MOST_MODEL_NODES)
    return report(program->diagnostics, program->source, NULL, "the model has %u nodes, more than the %d that are supported",
                  program->order_count, (int)MOST_MODEL_NODES);
  if (!fix_inputs(program, options) || !report_unknown(program) || !narrow_values(program)) return false;
  if (options->flip_batch_normalization)
    for (uint32_t i = 0; i < program->order_count; i++)
      if (!strcmp(node_at(program, program->order[i])->operator_name, "BatchNormalization"))
        set_int(program, program->order[i], "training_mode", 1);
  order_by_outputs(program);
  if (!specialize_order(program) || !check_initialization(program)) return false;
  share_constants(program);
  chain_statistics(program);
  order_by_outputs(program); /* now it is known what updates statistics */
  number_random_streams(program);
  return check_program(program, "specialize"); /* a text can say anything; from here on passes keep it legal */
}
