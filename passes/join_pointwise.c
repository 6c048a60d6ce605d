/* join-pointwise: makes one node of elementwise nodes that follow one another, so that what they hand on is never written to memory.
 * needs: the final order.  keeps: every result that others read; the arena does not grow.  makes: actnn.Pointwise (its steps are
 * src/operators/pointwise_steps.h), program->identity and uncompressed_bytes of before. */
#include "join_groups.h"

#include "../src/program_identity.h"
#include "../src/text.h"

#include <string.h>

PassFunction join_pointwise;

static const char *
attribute_text(Arena *arena, const actnn_attribute *attribute)
{
  if (attribute->kind == ACTNN_TEXT) return attribute->text;
  if (attribute->kind == ACTNN_INT) return attribute->i ? "1" : "0";
  return text_of_real(arena, attribute->f);
}

/* Joins a group's nodes into one at its place. */
static void
join(Joiner *joiner, const Group *group)
{
  Program *program = joiner->program;
  Arena *arena = program->arena;
  ValueId operands[MOST_STEP_OPERANDS], results[MOST_STEP_RESULTS];
  const char *names[MOST_STEPS], *made[MOST_STEPS];
  uint32_t operand_count = list_operands(joiner, group, operands, MOST_STEP_OPERANDS), result_count = 0, temporaries = 0;
  Text steps = {.arena = arena};
  for (uint32_t i = 0; i < group->count; i++) {
    const Node *node = node_of(joiner, group->member[i]);
    bool is_wanted = is_result(joiner, group, group->member[i]);
    made[i] = is_wanted ? arena_format(arena, "y%u", result_count) : arena_format(arena, "t%u", temporaries++);
    if (is_wanted) results[result_count++] = node->results[0];
    names[i] = node->name;
    text_append(&steps, "%s%s=%s(", i ? ";" : "", made[i], node->operator_name);
    for (uint32_t k = 0; k < node->operand_count; k++) {
      const char *name = NULL;
      for (uint32_t j = 0; j < i && !name; j++)
        if (node_of(joiner, group->member[j])->results[0] == node->operands[k]) name = made[j];
      for (uint32_t j = 0; j < operand_count && !name; j++)
        if (operands[j] == node->operands[k]) name = arena_format(arena, "x%u", j);
      text_append(&steps, "%s%s", k ? "," : "", name);
    }
    actnn_attribute *attributes;
    size_t count = call_attributes(program, node, &attributes);
    for (size_t k = 0; k < count; k++) text_append(&steps, ",%s", attribute_text(arena, &attributes[k]));
    text_append(&steps, ")");
  }
  const Node *own = node_of(joiner, group->place);
  NodeId origin = own->origin;
  NodeId id = add_node(program, own->phase, "actnn", "Pointwise", own->name, operands, operand_count, results, result_count);
  program->order_count--; /* add_node appended it */
  node_at(program, id)->origin = origin;
  set_string(program, id, "steps", steps.bytes);
  set_attribute(program, id, (Attribute){.name = "names", .kind = ATTRIBUTE_STRINGS, .count = group->count, .strings = names});
  program->order[group->place] = id;
}

static void
join_groups(Joiner *joiner, const Group *groups, uint32_t count)
{
  Program *program = joiner->program;
  bool *is_kept = arena_array(program->arena, program->order_count + 1u, sizeof *is_kept);
  for (uint32_t i = 0; i < program->order_count; i++) is_kept[i] = true;
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t k = 0; k < groups[i].count; k++) is_kept[groups[i].member[k]] = groups[i].member[k] == groups[i].place;
    join(joiner, &groups[i]);
  }
  keep_in_order(program, is_kept);
}

/* Back to an order, and to who made what in it. */
static void
put_back(Program *program, const NodeId *order, uint32_t count)
{
  memcpy(program->order, order, count * sizeof *order);
  program->order_count = count;
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t k = 0; k < node_at(program, order[i])->result_count; k++)
      if (result_id(node_at(program, order[i]), k) != NO_VALUE) result_value(program, node_at(program, order[i]), k)->producer = order[i];
}

/* Joins what there is to be joined; true when that takes no more memory, or there is nothing. */
static bool
try_joining(Program *program, const Options *options, bool only_neighbours)
{
  uint32_t count, before_count = program->order_count;
  Joiner joiner = look_around_for_groups(program);
  joiner.only_neighbours = only_neighbours;
  const Group *groups = find_groups(&joiner, &count);
  if (!count) return true;
  uint64_t saved, uncompressed = program->uncompressed_bytes, identity = program->identity, before = planned_bytes(program, options);
  NodeId *order = arena_array(program->arena, before_count, sizeof *order);
  memcpy(order, program->order, before_count * sizeof *order);
  if (program->saves && !identity) program->identity = program_identity(program);
  if (!uncompressed) count_saved_bytes(program, &saved, &program->uncompressed_bytes);
  join_groups(&joiner, groups, count);
  if (planned_bytes(program, options) <= before) return true;
  put_back(program, order, before_count);
  program->uncompressed_bytes = uncompressed;
  program->identity = identity;
  return false;
}

bool
join_pointwise(Program *program, const Options *options)
{
  if (!try_joining(program, options, false)) try_joining(program, options, true);
  return true;
}
