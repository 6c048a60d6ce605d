/* optimizer: turns each `actnn.Update` into the optimizer's own node, with its state.
 * needs: updates made by differentiate.  keeps: everything else.  makes: momentum and moments (states named
 * PARAMETER.momentum, .moment1, .moment2), the inputs learning_rate and step_number. A model that brings its own algorithm keeps
 * it, one node a tensor. */
#include "passes.h"

#include <stdlib.h>
#include <string.h>

PassFunction optimizer;

typedef struct Setting {
  const char *name;
  double value;
} Setting;

typedef struct Choice {
  const char *kind; /* as on the command line */
  const char *operator_name;
  int states;
  const char *state[2];
  double learning_rate;
  Setting setting[6]; /* attributes and their defaults, the last without a name; "lr" is not among them */
} Choice;

/* Defaults are PyTorch's, but for sgd's momentum: 0.9 is what people train with. */
static const Choice choices[] = {
    {"sgd", "Sgd", 1, {"momentum"}, 0.1, {{"momentum", 0.9}, {"nesterov", 0}, {"weight_decay", 0}, {"dampening", 0}}},
    {"adam", "Adam", 2, {"moment1", "moment2"}, 1e-3,
     {{"beta1", 0.9}, {"beta2", 0.999}, {"epsilon", 1e-8}, {"weight_decay", 0}}},
    {"adamw", "AdamW", 2, {"moment1", "moment2"}, 1e-3,
     {{"beta1", 0.9}, {"beta2", 0.999}, {"epsilon", 1e-8}, {"weight_decay", 0.01}}},
    {"adagrad", "OnnxAdagrad", 1, {"accumulator"}, 1e-2,
     {{"decay_factor", 0}, {"epsilon", 1e-10}, {"norm_coefficient", 0}}},
};

/* Reads KIND[,k=v...] into a copy of the kind's choice. */
static bool
parse_optimizer(Program *program, const char *text, Choice *choice)
{
  size_t length = strcspn(text, ",");
  const size_t count = sizeof choices / sizeof choices[0];
  size_t i = 0;
  while (i < count && (strlen(choices[i].kind) != length || memcmp(choices[i].kind, text, length))) i++;
  if (i == count)
    return report(program->diagnostics, program->source, "sgd, adam, adamw or adagrad", "unknown optimizer '%s'", text);
  *choice = choices[i];
  for (const char *at = text + length; *at == ',';) {
    at++;
    size_t name = strcspn(at, "=,");
    char *end;
    if (at[name] != '=')
      return report(program->diagnostics, program->source, "write --optimizer=KIND,name=value,...",
                    "'%.*s' has no value", (int)name, at);
    double value = strtod(at + name + 1, &end);
    if (end == at + name + 1 || (*end && *end != ','))
      return report(program->diagnostics, program->source, NULL, "'%s' is not a number", at + name + 1);
    size_t k = 0;
    if (name == 2 && !memcmp(at, "lr", 2)) choice->learning_rate = value;
    else {
      while (choice->setting[k].name
             && (strlen(choice->setting[k].name) != name || memcmp(choice->setting[k].name, at, name))) k++;
      if (!choice->setting[k].name)
        return report(program->diagnostics, program->source, NULL, "optimizer %s has no setting '%.*s'", choice->kind, (int)name, at);
      choice->setting[k].value = value;
    }
    at = end;
  }
  return true;
}

static ValueId
scalar_input(Program *program, const char *name, actnn_type type)
{
  return add_value(program, name, VALUE_INPUT, type, (Shape){.rank = 0});
}

/* Sgd: w g m lr.  Adam, AdamW: w g m v lr step.  OnnxAdagrad: x g h r t. */
static void
rewrite_update(Program *program, uint32_t position, const Choice *choice)
{
  NodeId update = program->order[position];
  ValueId parameter = operand_id(node_at(program, update), 0), updated = result_id(node_at(program, update), 0);
  ValueId operands[8] = {parameter, operand_id(node_at(program, update), 1)}, results[3] = {updated};
  Shape shape = value_at(program, parameter)->shape;
  size_t count = 2;
  bool has_momentum = strcmp(choice->operator_name, "Sgd") || choice->setting[0].value != 0;
  for (int k = 0; k < choice->states && has_momentum; k++) {
    const char *name = arena_format(program->arena, "%s.%s", value_at(program, parameter)->name, choice->state[k]);
    ValueId state = add_value(program, name, VALUE_STATE, ACTNN_F32, shape);
    ValueId next = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape);
    value_at(program, next)->updates = state;
    operands[count++] = state;
    results[1 + k] = next;
  }
  if (!has_momentum) operands[count++] = NO_VALUE;
  operands[count++] = program->learning_rate;
  if (strcmp(choice->operator_name, "Sgd")) operands[count++] = program->step_number;
  const char *name = node_at(program, update)->name;
  NodeId node = add_node(program, PHASE_UPDATE, "actnn", choice->operator_name, name, operands, count, results,
                         has_momentum ? 1 + (size_t)choice->states : 1);
  program->order[position] = node;
  program->order_count--;
  for (int k = 0; choice->setting[k].name; k++) {
    const Operator *operator = node_at(program, node)->operator;
    for (uint32_t s = 0; s < operator->attribute_count; s++) {
      if (strcmp(operator->attributes[s].name, choice->setting[k].name)) continue;
      if (operator->attributes[s].kind == ATTRIBUTE_INT) set_int(program, node, choice->setting[k].name, (int64_t)choice->setting[k].value);
      else set_float(program, node, choice->setting[k].name, choice->setting[k].value);
    }
  }
}

/* ---- the model's own algorithm -------------------------------------------------------------------- */

/* Momentum, Adam and Adagrad of ai.onnx.preview.training: R, T, then n tensors each of X, G and the states; results n each of
 * X and the states. One node a tensor, so that each update runs when its gradient is ready. */
static bool
split_update(Program *program, uint32_t position, Insertions *insertions)
{
  static const struct { const char *name, *single; uint32_t states; } kinds[] = {
      {"Momentum", "OnnxMomentum", 1}, {"Adam", "OnnxAdam", 2}, {"Adagrad", "OnnxAdagrad", 1}};
  NodeId id = program->order[position];
  Node node = *node_at(program, id);
  size_t kind = 0;
  while (kind < 3 && strcmp(node.operator_name, kinds[kind].name)) kind++;
  if (kind == 3 || strcmp(node.domain, "ai.onnx.preview.training")) return true;
  uint32_t groups = 2 + kinds[kind].states, tensors = (node.operand_count - 2) / groups;
  if (node.operand_count < 2 + groups || (node.operand_count - 2) % groups || node.result_count != tensors * (groups - 1))
    return report_node(program, id, NULL, "operands are R, T, then the same number of X, G and each state");
  for (uint32_t i = 0; i < tensors; i++) {
    ValueId operands[8], results[3];
    uint32_t count = 0;
    for (uint32_t g = 0; g < groups; g++) operands[count++] = node.operands[2 + g * tensors + i];
    operands[count++] = node.operands[0];
    operands[count++] = node.operands[1];
    for (uint32_t k = 0; k < count; k++)
      if (operands[k] == NO_VALUE) return report_node(program, id, NULL, "an operand is missing: R, T, X, G and the states are all needed");
    for (uint32_t g = 0; g + 1 < groups; g++) results[g] = node.results[g * tensors + i];
    NodeId made = add_node(program, PHASE_UPDATE, "actnn", kinds[kind].single, node.name, operands, count, results, groups - 1);
    program->order_count--;
    for (uint32_t k = 0; k < node.attribute_count; k++) set_attribute(program, made, node.attributes[k]);
    insert_before(program, insertions, position, made);
  }
  return true;
}

/* Splits the algorithm's optimizer nodes and gives types to what follows Gradient. */
static bool
adopt_algorithm(Program *program)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    Insertions insertions = {0};
    if (!split_update(program, i, &insertions)) return false;
    if (!insertions.count) continue;
    apply_insertions(program, &insertions);
    remove_from_order(program, i + insertions.count);
  }
  for (uint32_t i = 0; i < program->order_count; i++) {
    Phase phase = node_at(program, program->order[i])->phase;
    if ((phase == PHASE_UPDATE || phase == PHASE_BACKWARD) && !infer_node(program, program->order[i])) return false;
  }
  return true;
}

bool
optimizer(Program *program, const Options *options)
{
  Choice choice = choices[0];
  if (program->has_training_algorithm) {
    if (options->optimizer || options->loss || options->freeze_count)
      warn(program->diagnostics, program->source,
           "the model brings its own training algorithm: --loss, --optimizer and --freeze have no effect");
    return adopt_algorithm(program);
  }
  if (!parse_optimizer(program, options->optimizer ? options->optimizer : "sgd", &choice)) return false;
  program->default_learning_rate = choice.learning_rate;
  program->learning_rate = scalar_input(program, "actnn.learning_rate", ACTNN_F32);
  program->step_number = scalar_input(program, "actnn.step_number", ACTNN_I64);
  for (uint32_t i = 0; i < program->order_count; i++)
    if (!strcmp(node_at(program, program->order[i])->operator_name, "Update")) rewrite_update(program, i, &choice);
  for (uint32_t i = 0; i < program->order_count; i++)
    if (node_at(program, program->order[i])->phase == PHASE_UPDATE && !infer_node(program, program->order[i])) return false;
  return true;
}
