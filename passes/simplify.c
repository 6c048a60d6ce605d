/* simplify: removes identities and nodes that nothing reads.
 * needs: shapes.  keeps: shapes, names of outputs.  makes: a program without Identity, no-op Cast, Dropout at ratio 0. */
#include "passes.h"

#include <string.h>

PassFunction simplify;

static bool
is_identity(const Program *program, const Node *node)
{
  const Value *x = operand_value(program, node, 0), *y = result_value(program, node, 0);
  const char *name = node->operator_name;
  double ratio;
  if (!x || !y || node->domain[0]) return false;
  if (!strcmp(name, "Identity")) return true;
  if (!strcmp(name, "Cast")) return x->type == y->type;
  if (!strcmp(name, "Dropout")) {
    if (result_value(program, node, 1)) return false;
    return constant_real(program, operand_id(node, 1), &ratio) && ratio == 0;
  }
  if (!strcmp(name, "Reshape") || !strcmp(name, "Flatten") || !strcmp(name, "Squeeze") || !strcmp(name, "Unsqueeze")
      || !strcmp(name, "Expand"))
    return shape_equal(&x->shape, &y->shape);
  return false;
}

/* A value keeps its reader when it is an output, the loss, what evaluation reads, or updates a variable. */
static void
mark_roots(const Program *program, bool *is_live)
{
  const NamedResults roots = named_results(program);
  for (size_t i = 0; i < NAMED_RESULTS; i++)
    if (roots.value[i] != NO_VALUE) is_live[roots.value[i]] = true;
  for (uint32_t i = 0; i < program->value_count; i++) {
    const Value *value = value_at(program, i);
    if (value->is_output || value->updates != NO_VALUE) is_live[i] = true;
    if (value->drawn_from != NO_VALUE) is_live[value->drawn_from] = true;
  }
}

static bool
is_node_live(const Node *node, const bool *is_live)
{
  if (node->operator && (node->operator->flags & (IMPURE | UPDATE))) return true;
  for (uint32_t k = 0; k < node->result_count; k++)
    if (node->results[k] != NO_VALUE && is_live[node->results[k]]) return true;
  return false;
}

bool
simplify(Program *program, const Options *options)
{
  (void)options;
  ValueId *by = arena_array(program->arena, program->value_count + 1, sizeof *by);
  memset(by, 0xFF, program->value_count * sizeof *by);
  NodeId gradient;
  ValueId loss = differentiated_value(program, &gradient);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (!is_identity(program, node) || result_value(program, node, 0)->is_output || result_id(node, 0) == loss) continue;
    ValueId x = operand_id(node, 0);
    by[result_id(node, 0)] = by[x] == NO_VALUE ? x : by[x];
  }
  replace_all_uses(program, by);
  bool *is_live = arena_array(program->arena, program->value_count + 1, sizeof *is_live);
  mark_roots(program, is_live);
  if (loss != NO_VALUE) is_live[loss] = true;
  bool *is_kept = arena_array(program->arena, program->order_count + 1, sizeof *is_kept);
  for (uint32_t i = program->order_count; i-- > 0;) {
    const Node *node = node_at(program, program->order[i]);
    is_kept[i] = is_node_live(node, is_live);
    for (uint32_t k = 0; is_kept[i] && k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE) is_live[node->operands[k]] = true;
  }
  keep_in_order(program, is_kept);
  return true;
}
