/* attach-loss: adds the loss and its labels, or takes the model's own.
 * needs: shapes.  keeps: forward.  makes: program->loss, prediction and, where the loss has labels, the input "labels". */
#include "passes.h"

#include <string.h>

PassFunction attach_loss;

static ValueId
operation(Program *program, const char *operator_name, const ValueId *operands, size_t count)
{
  ValueId result = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){.rank = -1});
  NodeId node = add_node(program, PHASE_FORWARD, "", operator_name, "loss", operands, count, &result, 1);
  infer_node(program, node);
  return result;
}

static void
add_label_input(Program *program, actnn_type type, Shape shape)
{
  program->label = add_value(program, "labels", VALUE_INPUT, type, shape);
  ValueId *inputs = arena_array(program->arena, program->input_count + 1, sizeof *inputs);
  if (program->input_count) memcpy(inputs, program->inputs, program->input_count * sizeof *inputs);
  inputs[program->input_count++] = program->label;
  program->inputs = inputs;
}

/* Class scores are [N,C], [N,C,d...] as ONNX has it, or [N,T,C], a sequence with classes last. */
static ValueId
cross_entropy(Program *program)
{
  Shape scores = value_at(program, program->prediction)->shape, labels = scores;
  ValueId operands[2] = {program->prediction, NO_VALUE};
  if (scores.rank == 3) {
    labels.rank = 2;
    add_label_input(program, ACTNN_I64, labels);
    int64_t flat[2] = {scores.dim[0] * scores.dim[1], scores.dim[2]};
    ValueId reshape_scores[2] = {program->prediction, add_int64_constant(program, flat, 2)};
    ValueId reshape_labels[2] = {program->label, add_int64_constant(program, flat, 1)};
    operands[0] = operation(program, "Reshape", reshape_scores, 2);
    operands[1] = operation(program, "Reshape", reshape_labels, 2);
  } else {
    for (int i = 1; i + 1 < scores.rank; i++) labels.dim[i] = scores.dim[i + 1];
    labels.rank--;
    add_label_input(program, ACTNN_I64, labels);
    operands[1] = program->label;
  }
  return operation(program, "SoftmaxCrossEntropyLoss", operands, 2);
}

/* mean of f(prediction, target) */
static ValueId
elementwise_loss(Program *program, int kind)
{
  ValueId y = program->prediction;
  add_label_input(program, ACTNN_F32, value_at(program, y)->shape);
  ValueId pair[2] = {y, program->label}, terms[2];
  if (kind == ACTNN_LOSS_BCE_WITH_LOGITS) { /* softplus(y) - y * target */
    terms[0] = operation(program, "Softplus", &y, 1);
    terms[1] = operation(program, "Mul", pair, 2);
    terms[0] = operation(program, "Sub", terms, 2);
  } else {
    terms[0] = operation(program, "Sub", pair, 2);
    if (kind == ACTNN_LOSS_L1) terms[0] = operation(program, "Abs", terms, 1);
    else terms[0] = terms[1] = terms[0], terms[0] = operation(program, "Mul", terms, 2);
  }
  ValueId mean = operation(program, "ReduceMean", terms, 1);
  const int64_t none = 0;
  ValueId scalar[2] = {mean, add_int64_constant(program, &none, 0)};
  return operation(program, "Reshape", scalar, 2);
}

static bool
is_scalar(const Value *value)
{
  int64_t elements;
  return shape_elements(&value->shape, &elements) && elements == 1 && value->shape.rank <= 1;
}

static ValueId
choose_output(const Program *program, const char *name, bool wants_scalar)
{
  for (uint32_t i = 0; i < program->output_count; i++) {
    const Value *value = value_at(program, program->outputs[i]);
    if (name ? value->name && !strcmp(value->name, name) : value->type == ACTNN_F32 && is_scalar(value) == wants_scalar)
      return program->outputs[i];
  }
  return NO_VALUE;
}

/* What is shown to the loss as rows of class scores is a prediction for each label of the input that is shown to it as a list. */
static void
find_shown(Program *program)
{
  ValueId label = program->label, scores = program->prediction;
  while (value_at(program, label)->producer != NO_NODE && is_view(node_at(program, value_at(program, label)->producer)))
    label = operand_id(node_at(program, value_at(program, label)->producer), 0);
  if (value_at(program, label)->kind != VALUE_INPUT) return;
  Shape wanted = value_at(program, label)->shape;
  const Shape *rows = &value_at(program, scores)->shape;
  if (wanted.rank >= ACTNN_MAX_RANK || rows->rank != 2) return;
  wanted.dim[wanted.rank++] = rows->dim[1];
  while (!shape_equal(&value_at(program, scores)->shape, &wanted)) {
    NodeId maker = value_at(program, scores)->producer;
    if (maker == NO_NODE || !is_view(node_at(program, maker))) return;
    scores = operand_id(node_at(program, maker), 0);
  }
  program->label = label;
  program->prediction = scores;
}

/* The loss is a value of the model; what it is computed from tells prediction and labels where it is a loss that we know. */
static void
take_loss(Program *program, ValueId loss)
{
  NodeId producer = value_at(program, loss)->producer;
  const Node *node = producer == NO_NODE ? NULL : node_at(program, producer);
  program->loss = loss;
  program->loss_kind = ACTNN_LOSS_OUTPUT;
  program->prediction = choose_output(program, NULL, false);
  if (!node || strcmp(node->operator_name, "SoftmaxCrossEntropyLoss")) return;
  program->prediction = operand_id(node, 0);
  program->label = operand_id(node, 1);
  program->loss_kind = ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY;
  find_shown(program);
}

static bool
take_model_loss(Program *program, const char *name)
{
  ValueId loss = choose_output(program, name, true);
  if (loss == NO_VALUE || !is_scalar(value_at(program, loss)))
    return report(program->diagnostics, program->source, "add one: --loss=softmax-cross-entropy, mse, l1 or bce-with-logits",
                  name ? "output '%s' is not a scalar loss" : "the model has no scalar loss among its outputs%s",
                  name ? safe_name(program->arena, name) : "");
  take_loss(program, loss);
  return true;
}

/* A model that brings its own algorithm: the loss is what its Gradient node differentiates. */
static bool
take_algorithm_loss(Program *program)
{
  NodeId gradient;
  ValueId loss = differentiated_value(program, &gradient);
  if (loss != NO_VALUE) {
    take_loss(program, loss);
    return true;
  }
  if (gradient != NO_NODE)
    return report_node(program, gradient, NULL, "attribute y names no tensor: '%s'",
                       safe_name(program->arena, string_attribute(node_at(program, gradient), "y", "")));
  return report(program->diagnostics, program->source, NULL, "the model's training algorithm has no Gradient node");
}

bool
attach_loss(Program *program, const Options *options)
{
  static const struct { const char *name; int kind; } kinds[] = {
      {"softmax-cross-entropy", ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY}, {"mse", ACTNN_LOSS_MSE}, {"l1", ACTNN_LOSS_L1},
      {"bce-with-logits", ACTNN_LOSS_BCE_WITH_LOGITS}, {"output", ACTNN_LOSS_OUTPUT}};
  if (program->has_training_algorithm) return take_algorithm_loss(program);
  if (!options->loss) return take_model_loss(program, NULL);
  size_t length = strcspn(options->loss, ":"), i = 0;
  const char *output = options->loss[length] ? options->loss + length + 1 : NULL;
  const size_t count = sizeof kinds / sizeof kinds[0];
  while (i < count && (strlen(kinds[i].name) != length || memcmp(kinds[i].name, options->loss, length))) i++;
  if (i == count)
    return report(program->diagnostics, program->source, "softmax-cross-entropy, mse, l1, bce-with-logits or output",
                  "unknown loss '%s'", options->loss);
  if (kinds[i].kind == ACTNN_LOSS_OUTPUT) return take_model_loss(program, output);
  program->loss_kind = kinds[i].kind;
  program->prediction = choose_output(program, output, false);
  if (program->prediction == NO_VALUE)
    return report(program->diagnostics, program->source, "name it: --loss=KIND:OUTPUT",
                  output ? "no output is called '%s'" : "no output to compute the loss from%s",
                  output ? safe_name(program->arena, output) : "");
  if (program->loss_kind == ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY && value_at(program, program->prediction)->shape.rank < 2)
    return report(program->diagnostics, program->source, NULL, "softmax-cross-entropy needs scores of shape [samples, classes, ...]");
  program->loss = program->loss_kind == ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY ? cross_entropy(program)
                                                                         : elementwise_loss(program, program->loss_kind);
  return !program->diagnostics->errors;
}
