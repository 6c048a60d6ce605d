/* common.c: what several passes ask of a program or do to its order. */
#include "passes.h"

#include <string.h>

bool *
values_read_by_backward(const Program *program)
{
  bool *read = arena_array(program->arena, program->value_count + 1, sizeof *read);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    uint32_t first = !strcmp(node->operator_name, "ScaleGradient"); /* a gradient, not an activation */
    for (uint32_t k = first; runs_after_forward(node) && k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE) read[node->operands[k]] = true;
  }
  return read;
}

ReaderList
list_readers(const Program *program)
{
  uint32_t *first = arena_array(program->arena, (size_t)program->value_count + 2, sizeof *first), total = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE) first[node->operands[k] + 1]++, total++;
  }
  for (uint32_t id = 0; id < program->value_count; id++) first[id + 1] += first[id];
  uint32_t *reader = arena_array(program->arena, (size_t)total + 1, sizeof *reader);
  for (uint32_t i = program->order_count; i-- > 0;) { /* backwards: each list is filled from its end, which first[v + 1] still is */
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = node->operand_count; k-- > 0;)
      if (node->operands[k] != NO_VALUE) reader[--first[node->operands[k] + 1]] = i;
  }
  /* Now first[v + 1] is where v's list begins. */
  memmove(first, first + 1, ((size_t)program->value_count + 1) * sizeof *first);
  first[program->value_count] = total;
  return (ReaderList){first, reader};
}

bool
is_activation_slot(const Slot *slot)
{
  static const char *const others[] = {"w", "scale", "b", "bias", "mean", "rstd", "running_mean", "running_var", "var",
                                       "dw", "db", "dscale", "new_mean", "new_var", "slope", "attn_mask", "dattn_mask", "row_sum",
                                       "lse"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (!strcmp(slot->name, others[i])) return false;
  return !slot->is_constant;
}

bool
is_saved_value(const Program *program, ValueId id, const bool *read_by_backward)
{
  const Value *value = value_at(program, id);
  return read_by_backward[id] && value->kind == VALUE_TEMPORARY && value->producer != NO_NODE
         && node_at(program, value->producer)->phase == PHASE_FORWARD;
}

/* A training algorithm of the model's own has backward and update nodes from the start. */
static bool
is_made_by_pass(const Program *program, const Node *node)
{
  if (node->operator && node->operator->flags & (SAVES | RESTORES)) return true;
  bool is_training = runs_after_forward(node) || (node->operator && node->operator->flags & UPDATE);
  return node->phase == PHASE_EVALUATE || (is_training && !program->has_training_algorithm);
}

bool
is_untouched(const Program *program)
{
  const NamedResults named = named_results(program);
  const ValueId made[] = {program->label, program->learning_rate, program->step_number};
  for (size_t i = 0; i < NAMED_RESULTS; i++)
    if (named.value[i] != NO_VALUE) return false;
  for (size_t i = 0; i < sizeof made / sizeof *made; i++)
    if (made[i] != NO_VALUE) return false;
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (value->layout != ACTNN_PLAIN || value->kind == VALUE_STASH) return false;
  }
  for (uint32_t i = 0; i < program->order_count; i++)
    if (is_made_by_pass(program, node_at(program, program->order[i]))) return false;
  return !program->plan && !program->saves;
}

static bool
is_specialized(const Program *program, const Node *node)
{
  if (!node->operator) return false;
  for (uint32_t k = 0; k < node->result_count; k++) {
    const Value *value = result_value(program, node, k);
    if (value && (value->type == ACTNN_UNDEFINED || !shape_is_static(&value->shape))) return false;
  }
  return true;
}

bool
is_ready_for(Program *program, const Pass *pass)
{
  bool is_algorithm_known = !program->has_training_algorithm;
  for (const Pass *earlier = passes; earlier < pass; earlier++) is_algorithm_known |= !strcmp(earlier->name, "optimizer");
  for (uint32_t i = 0; pass > passes && i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (is_specialized(program, node) || (!is_algorithm_known && runs_after_forward(node))) continue;
    return report_node(program, program->order[i], "run the earlier passes first", "%s needs its operator and shapes to be known",
                       pass->name);
  }
  for (uint32_t i = 0; pass > passes && i < program->input_count; i++)
    if (!shape_is_static(&value_at(program, program->inputs[i])->shape))
      return report(program->diagnostics, program->source, "run the earlier passes first", "%s needs the shapes of inputs to be fixed",
                    pass->name);
  return true;
}

NodeId
make_unplaced(Program *program, Phase phase, const char *domain, const char *operator_name, NodeId like,
              const ValueId *operands, size_t operand_count, ValueId *result)
{
  *result = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){.rank = -1});
  NodeId node = add_node(program, phase, domain, operator_name, node_at(program, like)->name, operands, operand_count, result, 1);
  node_at(program, node)->origin = node_at(program, like)->origin != NO_NODE ? node_at(program, like)->origin : like;
  program->order_count--; /* add_node appended it */
  return node;
}

void
insert_before(Program *program, Insertions *insertions, uint32_t position, NodeId node)
{
  if (insertions->count == insertions->capacity) {
    uint32_t capacity = insertions->capacity * 2 + 64;
    NodeId *nodes = arena_array(program->arena, capacity, sizeof *nodes);
    uint32_t *positions = arena_array(program->arena, capacity, sizeof *positions);
    if (insertions->count) {
      memcpy(nodes, insertions->node, insertions->count * sizeof *nodes);
      memcpy(positions, insertions->position, insertions->count * sizeof *positions);
    }
    *insertions = (Insertions){nodes, positions, insertions->count, capacity};
  }
  insertions->node[insertions->count] = node;
  insertions->position[insertions->count++] = position;
}

/* A counting sort by position, stable in the order of insertion. */
void
apply_insertions(Program *program, const Insertions *insertions)
{
  uint32_t old_count = program->order_count, count = old_count + insertions->count, at = 0;
  uint32_t *start = arena_array(program->arena, old_count + 2, sizeof *start);
  NodeId *sorted = arena_array(program->arena, insertions->count + 1, sizeof *sorted);
  NodeId *order = arena_array(program->arena, count + 1, sizeof *order);
  for (uint32_t i = 0; i < insertions->count; i++) start[insertions->position[i] + 1]++;
  for (uint32_t i = 0; i < old_count; i++) start[i + 1] += start[i];
  uint32_t *next = arena_array(program->arena, old_count + 2, sizeof *next);
  memcpy(next, start, (old_count + 1) * sizeof *next);
  for (uint32_t i = 0; i < insertions->count; i++) sorted[next[insertions->position[i]]++] = insertions->node[i];
  for (uint32_t i = 0; i <= old_count; i++) {
    for (uint32_t k = start[i]; k < next[i]; k++) order[at++] = sorted[k];
    if (i < old_count) order[at++] = program->order[i];
  }
  program->order = order;
  program->order_count = program->order_capacity = count;
}

NodeId
single_reader(const Program *program, const ReaderList *list, ValueId value)
{
  return list->first[value + 1] - list->first[value] == 1 ? program->order[list->reader[list->first[value]]] : NO_NODE;
}

uint32_t
position_of(const Program *program, NodeId id)
{
  uint32_t position = 0;
  while (position < program->order_count && program->order[position] != id) position++;
  return position;
}

static void
list_constant(const Program *program, ValueId id, bool *is_listed, ValueId *values, uint32_t *count)
{
  if (id == NO_VALUE || value_at(program, id)->kind != VALUE_CONSTANT || is_listed[id]) return;
  is_listed[id] = true;
  values[(*count)++] = id;
}

/* Constants come in the order in which variables start from them and nodes read them: that does not depend on whether the model has
 * them as initializers or as nodes. */
ValueId *
persistent_values(const Program *program, uint32_t *count)
{
  ValueId *values = arena_array(program->arena, program->value_count + 1, sizeof *values);
  bool *is_listed = arena_array(program->arena, program->value_count + 1, sizeof *is_listed);
  *count = 0;
  for (ValueId id = 0; id < program->value_count; id++) {
    ValueKind kind = value_at(program, id)->kind;
    if (kind == VALUE_PARAMETER || kind == VALUE_STATE || kind == VALUE_INPUT) values[(*count)++] = id;
  }
  for (ValueId id = 0; id < program->value_count; id++)
    list_constant(program, value_at(program, id)->drawn_from, is_listed, values, count);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->operand_count; k++) list_constant(program, node->operands[k], is_listed, values, count);
  }
  return values;
}

ValueId
insert_node(Program *program, Phase phase, uint32_t position, const char *domain, const char *name, NodeId like, const ValueId *operands,
            size_t count, Insertions *insertions)
{
  ValueId result;
  insert_before(program, insertions, position, make_unplaced(program, phase, domain, name, like, operands, count, &result));
  return result;
}

bool
is_operator(const Program *program, NodeId id, const char *name)
{
  return id != NO_NODE && !strcmp(node_at(program, id)->operator_name, name);
}

ValueId
differentiated_value(const Program *program, NodeId *gradient)
{
  *gradient = NO_NODE;
  for (uint32_t i = 0; i < program->order_count && *gradient == NO_NODE; i++)
    if (is_operator(program, program->order[i], "Gradient")) *gradient = program->order[i];
  if (*gradient == NO_NODE) return NO_VALUE;
  const char *y = string_attribute(node_at(program, *gradient), "y", "");
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (value->name && !strcmp(value->name, y)) return id;
  }
  return NO_VALUE;
}

bool
is_view(const Node *node)
{
  static const char *const views[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"};
  for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
    if (!strcmp(node->operator_name, views[i])) return true;
  return false;
}

bool
holds_of_triangle(const Value *mask, int64_t extent, bool is_above, bool (*test)(const Value *mask, int64_t element))
{
  int64_t elements;
  int rank = mask ? mask->shape.rank : -1;
  bool is_constant = mask && mask->producer == NO_NODE && mask->data && mask->kind == VALUE_CONSTANT;
  if (!is_constant || rank < 2 || mask->shape.dim[rank - 1] != extent || mask->shape.dim[rank - 2] != extent
      || !shape_elements(&mask->shape, &elements))
    return false;
  for (int64_t i = 0; i < elements; i++) {
    int64_t column = i % extent, row = i / extent % extent;
    if ((column > row) == is_above && !test(mask, i)) return false;
  }
  return true;
}
