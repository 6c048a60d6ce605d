/* evaluation: copies forward in inference mode, so that a trainer tests on held-out data in the same arena.
 * needs: loss, prediction.  keeps: training.  makes: evaluate-phase nodes; running statistics in place of the batch's, no dropout. */
#include "passes.h"

#include <string.h>

PassFunction evaluation;

enum { ATTENTION_OPERANDS = 4 }; /* before those of its dropout */

typedef struct Copy {
  Program *program;
  ValueId *twin; /* by value of the training graph */
} Copy;

static ValueId
twin_of(const Copy *copy, ValueId value)
{
  return value == NO_VALUE || copy->twin[value] == NO_VALUE ? value : copy->twin[value];
}

static ValueId
new_twin(Copy *copy, ValueId of)
{
  Value value = *value_at(copy->program, of);
  ValueId twin = add_value(copy->program, NULL, VALUE_TEMPORARY, value.type, value.shape);
  copy->twin[of] = twin;
  return twin;
}

/* actnn.BatchNorm x scale b running_mean running_var -> BatchNormalization in inference mode. */
static void
copy_batch_norm(Copy *copy, const Node *node)
{
  ValueId operands[5];
  for (uint32_t k = 0; k < 5; k++) operands[k] = twin_of(copy, operand_id(node, k));
  for (uint32_t k = 1; k < 3; k++) /* nothing moves: a later use of the same statistics reads the same */
    if (result_id(node, k) != NO_VALUE) copy->twin[result_id(node, k)] = operands[k + 2];
  ValueId result = new_twin(copy, result_id(node, 0));
  NodeId made = add_node(copy->program, PHASE_EVALUATE, "", "BatchNormalization", node->name, operands, 5, &result, 1);
  set_float(copy->program, made, "epsilon", float_attribute(node, "epsilon", 1e-5));
}

static void
copy_node(Copy *copy, NodeId id)
{
  Program *program = copy->program;
  Node node = *node_at(program, id);
  if (!strcmp(node.operator_name, "BatchNorm")) {
    copy_batch_norm(copy, &node);
    return;
  }
  if (!strcmp(node.operator_name, "Dropout")) {
    copy->twin[result_id(&node, 0)] = twin_of(copy, operand_id(&node, 0));
    return;
  }
  if (!strcmp(node.operator_name, "Attention") && node.operand_count > ATTENTION_OPERANDS) node.operand_count = ATTENTION_OPERANDS;
  ValueId *operands = arena_array(program->arena, node.operand_count + 1, sizeof *operands);
  ValueId *results = arena_array(program->arena, node.result_count + 1, sizeof *results);
  for (uint32_t k = 0; k < node.operand_count; k++) operands[k] = twin_of(copy, operand_id(&node, k));
  for (uint32_t k = 0; k < node.result_count; k++)
    results[k] = node.results[k] == NO_VALUE ? NO_VALUE : new_twin(copy, node.results[k]);
  NodeId made = add_node(program, PHASE_EVALUATE, node.domain, node.operator_name, node.name, operands, node.operand_count,
                         results, node.result_count);
  for (uint32_t k = 0; k < node.attribute_count; k++) set_attribute(program, made, node.attributes[k]);
  node_at(program, made)->origin = id;
}

bool
evaluation(Program *program, const Options *options)
{
  (void)options;
  uint32_t count = program->order_count, value_count = program->value_count;
  if (program->loss == NO_VALUE) return true; /* the model's own algorithm: known only after differentiate */
  Copy copy = {program, arena_array(program->arena, value_count + 1, sizeof(ValueId))};
  for (uint32_t i = 0; i < value_count; i++) copy.twin[i] = NO_VALUE;
  for (uint32_t i = 0; i < count; i++)
    if (node_at(program, program->order[i])->phase == PHASE_FORWARD) copy_node(&copy, program->order[i]);
  program->evaluation_loss = twin_of(&copy, program->loss);
  program->evaluation_output = program->prediction == NO_VALUE ? NO_VALUE : twin_of(&copy, program->prediction);
  return true;
}
