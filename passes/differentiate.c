/* differentiate: adds the backward phase from the gradient formulas, and one update for each trained parameter.
 * needs: a scalar loss; shapes.  keeps: forward.  makes: backward nodes; `actnn.Update(parameter, gradient)`. A model that
 * brings its own algorithm (TrainingInfo) has Gradient nodes, which are expanded in place. */
#include "passes.h"

#include "../src/gradient.h"

#include <fnmatch.h>
#include <string.h>

PassFunction differentiate;

static bool
is_frozen(const Options *options, const Value *value)
{
  for (size_t i = 0; i < options->freeze_count; i++)
    if (value->name && !fnmatch(options->freeze[i], value->name, 0)) return true;
  return value->is_frozen;
}

/* A pattern that freezes nothing is a misspelt one. */
static bool
every_pattern_freezes(Program *program, const Options *options)
{
  for (size_t i = 0; i < options->freeze_count; i++) {
    bool is_used = false;
    for (ValueId id = 0; id < program->value_count && !is_used; id++) {
      const Value *value = value_at(program, id);
      is_used = value->kind == VALUE_PARAMETER && value->name && !fnmatch(options->freeze[i], value->name, 0);
    }
    if (!is_used)
      return report(program->diagnostics, program->source, NULL, "--freeze: no parameter is called '%s'",
                    safe_name(program->arena, options->freeze[i]));
  }
  return true;
}

static ValueId
value_named(const Program *program, const char *name)
{
  for (uint32_t i = 0; i < program->value_count; i++)
    if (value_at(program, i)->name && !strcmp(value_at(program, i)->name, name)) return i;
  return NO_VALUE;
}

/* ai.onnx.preview.training Gradient: attributes xs, y name tensors of the graph; outputs are dY/dx. */
static bool
expand_gradient_node(Program *program, uint32_t position)
{
  NodeId id = program->order[position];
  Node node = *node_at(program, id);
  const Attribute *xs = find_attribute(&node, "xs");
  const char *y = string_attribute(&node, "y", "");
  ValueId loss = value_named(program, y), *wanted = arena_array(program->arena, xs ? xs->count : 1, sizeof *wanted);
  ValueId *gradients = arena_array(program->arena, xs ? xs->count : 1, sizeof *gradients);
  if (!xs || loss == NO_VALUE) return report_node(program, id, NULL, "attributes xs and y must name tensors of the graph");
  for (size_t i = 0; i < xs->count; i++) {
    wanted[i] = value_named(program, xs->strings[i]);
    if (wanted[i] == NO_VALUE)
      return report_node(program, id, NULL, "xs names no tensor: '%s'", safe_name(program->arena, xs->strings[i]));
  }
  if (program->loss == NO_VALUE) program->loss = loss;
  uint32_t tail = program->order_count - position - 1;
  NodeId *after = arena_array(program->arena, tail + 1, sizeof *after);
  memcpy(after, program->order + position + 1, tail * sizeof *after);
  program->order_count = position;
  bool is_good = append_gradients(program, wanted, xs->count, loss, gradients);
  for (size_t i = 0; i < xs->count; i++) /* what the loss does not depend on */
    if (gradients[i] == NO_VALUE) gradients[i] = add_filled_gradient(program, value_at(program, wanted[i])->shape, 0);
  uint32_t count = program->order_count;
  NodeId *order = arena_array(program->arena, count + tail + 1, sizeof *order);
  memcpy(order, program->order, count * sizeof *order);
  memcpy(order + count, after, tail * sizeof *order);
  program->order = order;
  program->order_count = program->order_capacity = count + tail;
  for (size_t i = 0; i < xs->count && i < node.result_count; i++)
    if (node.results[i] != NO_VALUE) replace_uses(program, node.results[i], gradients[i]);
  return is_good;
}

static bool
expand_model_algorithm(Program *program)
{
  for (uint32_t i = 0; i < program->order_count; i++)
    if (!strcmp(node_at(program, program->order[i])->operator_name, "Gradient")) return expand_gradient_node(program, i);
  return report(program->diagnostics, program->source, NULL, "the model's training algorithm has no Gradient node");
}

bool
differentiate(Program *program, const Options *options)
{
  if (program->has_training_algorithm) return expand_model_algorithm(program);
  if (program->loss == NO_VALUE)
    return report(program->diagnostics, program->source, "run attach-loss first", "there is no loss to differentiate");
  if (!every_pattern_freezes(program, options)) return false;
  uint32_t value_count = program->value_count, count = 0;
  ValueId *wanted = arena_array(program->arena, value_count + 1, sizeof *wanted);
  ValueId *gradients = arena_array(program->arena, value_count + 1, sizeof *gradients);
  for (uint32_t i = 0; i < value_count; i++) {
    Value *value = value_at(program, i);
    if (value->kind != VALUE_PARAMETER || value->type != ACTNN_F32) continue;
    value->is_frozen = is_frozen(options, value);
    if (!value->is_frozen) wanted[count++] = i;
  }
  if (!append_gradients(program, wanted, count, program->loss, gradients)) return false;
  uint32_t trained = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (gradients[i] == NO_VALUE) { /* the loss does not depend on it: nothing to train */
      value_at(program, wanted[i])->is_frozen = true;
      continue;
    }
    trained++;
    ValueId operands[] = {wanted[i], gradients[i]};
    ValueId updated = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, value_at(program, wanted[i])->shape);
    add_node(program, PHASE_UPDATE, "actnn", "Update", value_at(program, wanted[i])->name, operands, 2, &updated, 1);
    value_at(program, updated)->updates = wanted[i];
  }
  if (!trained)
    return report(program->diagnostics, program->source, "are all parameters frozen, or is the loss computed from constants?",
                  "the loss depends on no parameter that is trained");
  return true;
}
