/* precision: under --precision=bf16, holds activations and their gradients as bfloat16.
 * needs: saves and their codes.  keeps: the graph.  makes: Value.type; the ranges of levels that are fixed, rounded where values are.
 *
 * Only what a value is held in changes: kernels compute in FP32 (products of bfloat16 are added up in it) and round a result once, to
 * nearest even, when it is stored. Weights, their gradients, optimizer state, statistics, the prediction and what the loss makes of it
 * stay FP32, and so does what is small: it costs nothing. */
#include "passes.h"

#include "../runtime/bfloat_value.h"

#include <string.h>

PassFunction precision;

enum { SMALL_ELEMENTS = 256 };

/* Losses and their gradients, between which nothing is rounded. The gradient that begins backward may be: it is what products multiply. */
static bool
is_loss(const Node *node)
{
  static const char *const losses[] = {"SoftmaxCrossEntropyLoss", "SoftmaxCrossEntropyGrad", "NegativeLogLikelihoodLoss",
                                       "NegativeLogLikelihoodGrad", "LogSoftmax", "LogSoftmaxGrad", "CrossEntropyRows"};
  for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
    if (!strcmp(node->operator_name, losses[i])) return true;
  return false;
}

static bool
may_be_narrow(const Value *value)
{
  int64_t elements;
  return value->kind == VALUE_TEMPORARY && value->type == ACTNN_F32 && value->producer != NO_NODE && value->updates == NO_VALUE
         && !value->is_output && value->shape.rank >= 2 && shape_elements(&value->shape, &elements) && elements >= SMALL_ELEMENTS;
}

/* What the loss is computed from, and all that follows from it in forward. */
static bool
follows_prediction(const Program *program, const Node *node, const bool *is_exact)
{
  if (node->phase != PHASE_FORWARD && node->phase != PHASE_EVALUATE && node->phase != PHASE_RECOMPUTE) return false;
  for (uint32_t k = 0; k < node->operand_count; k++) {
    ValueId x = node->operands[k];
    if (x != NO_VALUE && is_exact[x] && value_at(program, x)->kind == VALUE_TEMPORARY) return true;
  }
  return false;
}

static void
mark_behind_predictions(const Program *program, bool *is_exact)
{
  const NamedResults ends = named_results(program);
  for (size_t i = 0; i < NAMED_RESULTS; i++)
    if (ends.value[i] != NO_VALUE) is_exact[ends.value[i]] = true;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    bool is_behind = follows_prediction(program, node, is_exact);
    for (uint32_t k = 0; is_behind && k < node->result_count; k++)
      if (node->results[k] != NO_VALUE) is_exact[node->results[k]] = true;
  }
}

/* Operands and results of this node are activations or their gradients whatever they are called; of a product each of the two may be. */
static bool
takes_any(const Node *node, const Slot *slot)
{
  bool is_product = !strncmp(node->operator_name, "Product", 7) && strcmp(slot->name, "bias");
  return node->operator->flags & POINTWISE || is_product;
}

/* By node: what keeps its operands and results in FP32. */
static void
mark_by_nodes(const Program *program, bool *is_exact)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    bool is_whole = is_loss(node) || node->phase == PHASE_UPDATE || node->phase == PHASE_INITIALIZE;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      const Slot *slot = operand_slot(node->operator, k);
      if (node->operands[k] != NO_VALUE) is_exact[node->operands[k]] |= is_whole || !(is_activation_slot(slot) || takes_any(node, slot));
    }
    for (uint32_t k = 0; k < node->result_count; k++) {
      const Slot *slot = k < node->operator->result_count ? &node->operator->results[k] : NULL;
      bool is_first = is_loss(node) && slot && (!strcmp(slot->name, "dscores") || !strcmp(slot->name, "dinput"));
      bool is_weight = slot && !is_activation_slot(slot) && !takes_any(node, slot);
      if (node->results[k] != NO_VALUE) is_exact[node->results[k]] |= (is_whole && !is_first) || is_weight;
    }
  }
}

/* What a parameter's gradient is put together from: sums of several, and the same elements in another shape or order. Backward, so that
 * what is read later has been marked before. */
static void
mark_parts_of_gradients(const Program *program, bool *is_exact)
{
  static const char *const joints[] = {"Add", "Sum", "Identity", "Reshape", "Transpose", "TransposeInverse", "Squeeze", "Unsqueeze", "Flatten",
                                       "ScaleGradient"};
  bool *is_part = arena_array(program->arena, (size_t)program->value_count + 1, sizeof *is_part);
  for (uint32_t i = program->order_count; i-- > 0;) {
    const Node *node = node_at(program, program->order[i]);
    bool is_joint = node->phase == PHASE_UPDATE;
    for (size_t k = 0; k < sizeof joints / sizeof *joints && (node->phase == PHASE_BACKWARD || node->phase == PHASE_FORWARD); k++)
      is_joint |= result_id(node, 0) != NO_VALUE && is_part[result_id(node, 0)] && !strcmp(node->operator_name, joints[k]);
    for (uint32_t k = 0; is_joint && k < node->operand_count; k++) {
      ValueId x = node->operands[k];
      if (x != NO_VALUE) is_part[x] = is_exact[x] = true;
    }
  }
}

/* What is computed again is what forward computed, to the bit. */
static void
mark_copies_alike(const Program *program, bool *is_exact)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *copy = node_at(program, program->order[i]);
    if (copy->phase != PHASE_RECOMPUTE || copy->origin == NO_NODE) continue;
    const Node *made = node_at(program, copy->origin);
    for (uint32_t k = 0; k < copy->result_count && k < made->result_count; k++) {
      ValueId one = made->results[k], other = copy->results[k];
      if (one != NO_VALUE && other != NO_VALUE) is_exact[one] = is_exact[other] = is_exact[one] || is_exact[other];
    }
  }
}

/* Rounding keeps the order of numbers: those of a fixed range then lie between its rounded ends. */
static void
round_range(const Program *program, Save *save)
{
  if (save->spacing != ACTNN_FIXED_LEVELS || save->value == NO_VALUE || value_at(program, save->value)->type != ACTNN_BF16) return;
  save->low = (double)bfloat_widened(bfloat_rounded((float)save->low));
  save->high = (double)bfloat_widened(bfloat_rounded((float)save->high));
}

bool
precision(Program *program, const Options *options)
{
  if (!options->is_bfloat) return true;
  bool *is_exact = arena_array(program->arena, (size_t)program->value_count + 1, sizeof *is_exact);
  mark_behind_predictions(program, is_exact);
  mark_by_nodes(program, is_exact);
  mark_parts_of_gradients(program, is_exact);
  mark_copies_alike(program, is_exact);
  for (ValueId id = 0; id < program->value_count; id++)
    if (!is_exact[id] && may_be_narrow(value_at(program, id))) value_at(program, id)->type = ACTNN_BF16;
  for (uint32_t i = 0; program->saves && i < program->saves->count; i++) round_range(program, &program->saves->save[i]);
  return true;
}
