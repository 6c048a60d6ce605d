/* join_groups.c: which elementwise nodes join-pointwise joins.
 *
 * A group stands where one of its nodes stood. What makes its operands, and what reads the same operands, moves down to it where
 * nothing on the way reads what they make, or replaces a variable that they read. Then their operands live longer: they may take no more
 * memory than the results that are not there on the way. What reads the group's results or operands further down moves up to it where
 * all else that it reads is there, and its result takes no more memory on the way than what is read there no more. */
#include "join_groups.h"

#include <math.h>
#include <string.h>

enum {
  MOST_CANDIDATES = 32, /* nodes that a group looks at before it grows */
  FARTHEST = 128        /* positions that a node may move */
};

/* ---- which nodes -------------------------------------------------------------------------------------------------- */

static bool
is_held_as_float(const Value *value)
{
  return value->type == ACTNN_F32 || value->type == ACTNN_BF16;
}

/* Kernels read it beside a result of that layout. */
static bool
lies_beside(const Value *x, const Value *y)
{
  if (x->shape.rank > y->shape.rank || (!is_held_as_float(x) && x->type != ACTNN_BOOL)) return false;
  return x->layout == ACTNN_PLAIN || (x->layout == y->layout && x->shape.rank == y->shape.rank);
}

static bool
has_finite_attributes(const Program *program, const Node *node)
{
  actnn_attribute *attributes;
  size_t count = call_attributes(program, node, &attributes);
  for (size_t k = 0; k < count; k++)
    if (attributes[k].kind == ACTNN_REAL && !isfinite(attributes[k].f)) return false;
  return true;
}

static bool
may_join(const Program *program, const Node *node)
{
  bool is_in_time = node->phase != PHASE_INITIALIZE && node->phase != PHASE_UPDATE;
  if (!strcmp(node->operator_name, "ScaleGradient")) return false; /* by its name it is told what was saved and what is a gradient */
  if (!is_in_time || !(node->operator->flags & POINTWISE) || node->result_count != 1 || node->results[0] == NO_VALUE) return false;
  int row = pointwise_row_named(node->operator_name, strlen(node->operator_name));
  if (row < 0 || node->operand_count != (uint32_t)pointwise_row_at(row)->operands || !has_finite_attributes(program, node)) return false;
  const Value *y = result_value(program, node, 0);
  if (pointwise_row_at(row)->is_boolean ? y->type != ACTNN_BOOL : !is_held_as_float(y)) return false;
  if (y->updates != NO_VALUE || y->layout == ACTNN_STASH) return false;
  for (uint32_t k = 0; k < node->operand_count; k++)
    if (node->operands[k] == NO_VALUE || !lies_beside(operand_value(program, node, k), y)) return false;
  return true;
}

/* ---- what is where --------------------------------------------------------------------------------------------------- */

Joiner
look_around_for_groups(Program *program)
{
  size_t values = program->value_count + 1u, nodes = program->order_count + 1u;
  Arena *arena = program->arena;
  Joiner joiner = {.program = program, .readers = list_readers(program)};
  joiner.place = arena_array(arena, nodes, sizeof *joiner.place);
  joiner.made_at = arena_array(arena, values, sizeof *joiner.made_at);
  joiner.last_read = arena_array(arena, values, sizeof *joiner.last_read);
  joiner.replaced = arena_array(arena, values, sizeof *joiner.replaced);
  joiner.shown = arena_array(arena, values, sizeof *joiner.shown);
  joiner.is_pinned = arena_array(arena, values, sizeof *joiner.is_pinned);
  joiner.is_grouped = arena_array(arena, nodes, sizeof *joiner.is_grouped);
  for (ValueId id = 0; id < program->value_count; id++) {
    joiner.shown[id] = id;
    joiner.replaced[id] = joiner.made_at[id] = UINT32_MAX;
    joiner.is_pinned[id] = value_at(program, id)->is_output;
  }
  const NamedResults pinned = named_results(program);
  for (size_t i = 0; i < NAMED_RESULTS; i++)
    if (pinned.value[i] != NO_VALUE) joiner.is_pinned[pinned.value[i]] = true;
  for (uint32_t i = 0; program->saves && i < program->saves->count; i++) {
    ValueId value = program->saves->save[i].value;
    if (value != NO_VALUE) joiner.is_pinned[value] = true;
  }
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    joiner.place[i] = i;
    for (uint32_t k = 0; k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE) joiner.last_read[joiner.shown[node->operands[k]]] = i;
    for (uint32_t k = 0; k < node->result_count; k++) {
      if (node->results[k] == NO_VALUE) continue;
      ValueId updates = value_at(program, node->results[k])->updates;
      if (updates != NO_VALUE) joiner.replaced[updates] = i;
      joiner.made_at[node->results[k]] = i;
    }
    if (is_view(node) && result_id(node, 0) != NO_VALUE && operand_value(program, node, 0)->layout == ACTNN_PLAIN)
      joiner.shown[node->results[0]] = joiner.shown[node->operands[0]];
  }
  return joiner;
}

const Node *
node_of(const Joiner *joiner, uint32_t position)
{
  return node_at(joiner->program, joiner->program->order[position]);
}

/* ---- groups ----------------------------------------------------------------------------------------------------------- */

static bool
is_member(const Group *group, uint32_t position)
{
  for (uint32_t i = 0; i < group->count; i++)
    if (group->member[i] == position) return true;
  return false;
}

/* Adds a node at its place among the members; false when there are too many. */
static bool
add_member(Group *group, uint32_t position)
{
  if (group->count == MOST_STEPS) return false;
  uint32_t at = group->count++;
  for (; at > 0 && group->member[at - 1] > position; at--) group->member[at] = group->member[at - 1];
  group->member[at] = position;
  return true;
}

/* A node that could stand in the group, if all else allows it. */
static bool
fits(const Joiner *joiner, const Group *group, uint32_t position)
{
  const Node *node = node_of(joiner, position), *own = node_of(joiner, group->place);
  uint32_t distance = position < group->place ? group->place - position : position - group->place;
  if (!distance || distance > FARTHEST || joiner->is_grouped[position]) return false;
  if (node->phase != own->phase || !may_join(joiner->program, node)) return false;
  const Value *y = result_value(joiner->program, node, 0), *like = result_value(joiner->program, own, 0);
  return y->layout == like->layout && shape_equal(&y->shape, &like->shape);
}

bool
is_result(const Joiner *joiner, const Group *group, uint32_t position)
{
  ValueId y = node_of(joiner, position)->results[0];
  const ReaderList *list = &joiner->readers;
  if (joiner->is_pinned[y]) return true;
  for (uint32_t r = list->first[y]; r < list->first[y + 1]; r++)
    if (!is_member(group, list->reader[r])) return true;
  return list->first[y] == list->first[y + 1];
}

/* Adds a node, and those that read what it makes before the group does. False when one of them cannot stand there. */
static bool
add_with_readers(const Joiner *joiner, Group *group, uint32_t position)
{
  uint32_t waiting[MOST_STEPS] = {position}, count = 1;
  if (!add_member(group, position)) return false;
  while (count) {
    ValueId y = node_of(joiner, waiting[--count])->results[0];
    const ReaderList *list = &joiner->readers;
    for (uint32_t r = list->first[y]; r < list->first[y + 1] && list->reader[r] <= group->place; r++) {
      uint32_t reader = list->reader[r];
      if (joiner->place[reader] > group->place || is_member(group, reader)) continue;
      if (!fits(joiner, group, reader) || !add_member(group, reader)) return false;
      waiting[count++] = reader;
    }
  }
  return true;
}

/* Adds a node from further down, of which all that it reads is there. What it makes may take no more than what nobody reads on the way. */
static bool
raise_member(const Joiner *joiner, Group *group, uint32_t position)
{
  const Node *node = node_of(joiner, position);
  uint64_t bytes = value_bytes(joiner->program, node->results[0]), freed = 0;
  for (uint32_t k = 0; k < node->operand_count; k++) {
    ValueId x = joiner->shown[node->operands[k]];
    uint32_t maker = joiner->made_at[node->operands[k]];
    if (maker == UINT32_MAX) continue;
    if (!is_member(group, maker) && joiner->place[maker] >= group->place) return false;
    bool is_last = joiner->last_read[x] == position && joiner->made_at[x] != UINT32_MAX && !joiner->is_pinned[x];
    for (uint32_t j = 0; j < k; j++) is_last &= joiner->shown[node->operands[j]] != x;
    if (is_last) freed += value_bytes(joiner->program, x);
  }
  return !joiner->only_neighbours && bytes <= freed && add_member(group, position);
}

/* Between a node's position and the group's place nothing replaces what the node reads. */
static bool
reads_the_same(const Joiner *joiner, const Group *group, uint32_t position)
{
  const Node *node = node_of(joiner, position);
  uint32_t first = position < group->place ? position : group->place, last = position < group->place ? group->place : position;
  for (uint32_t k = 0; k < node->operand_count; k++) {
    uint32_t replaced = joiner->replaced[node->operands[k]];
    if (replaced != UINT32_MAX && replaced >= first && replaced <= last) return false;
  }
  return true;
}

uint32_t
list_operands(const Joiner *joiner, const Group *group, ValueId *operands, uint32_t most)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < group->count; i++) {
    const Node *node = node_of(joiner, group->member[i]);
    for (uint32_t k = 0; k < node->operand_count; k++) {
      ValueId x = node->operands[k];
      bool is_known = is_member(group, joiner->made_at[x]);
      for (uint32_t j = 0; j < count && !is_known; j++) is_known = operands[j] == x;
      if (is_known) continue;
      if (count == most) return most + 1;
      operands[count++] = x;
    }
  }
  return count;
}

/* Bytes of what lives up to the group's place though it would end before. */
static uint64_t
bytes_kept_longer(const Joiner *joiner, const Group *group, const ValueId *operands, uint32_t count)
{
  uint64_t bytes = 0;
  for (uint32_t j = 0; j < count; j++) {
    ValueId x = joiner->shown[operands[j]];
    const Value *value = value_at(joiner->program, x);
    bool is_counted = value->producer == NO_NODE || joiner->is_pinned[x] || joiner->last_read[x] >= group->place;
    for (uint32_t i = 0; i < j && !is_counted; i++) is_counted = joiner->shown[operands[i]] == x;
    if (!is_counted) bytes += value_bytes(joiner->program, x);
  }
  return bytes;
}

/* Some other node runs between the group's first and its last. */
static bool
has_others_between(const Joiner *joiner, const Group *group)
{
  uint32_t at = 0;
  for (uint32_t position = group->member[0]; position < group->place; position++) {
    while (at < group->count && group->member[at] < position) at++;
    if (at < group->count && group->member[at] == position) continue;
    if (joiner->place[position] <= group->place) return true;
  }
  return false;
}

/* The group is one that a kernel takes, and no worse for memory than its nodes apart. */
static bool
is_worth_it(const Joiner *joiner, const Group *group)
{
  ValueId operands[MOST_STEP_OPERANDS];
  uint32_t count = list_operands(joiner, group, operands, MOST_STEP_OPERANDS), results = 0;
  uint64_t bytes = 0; /* of results that are not there before the group's place */
  for (uint32_t i = 0; i < group->count; i++) {
    results += is_result(joiner, group, group->member[i]);
    if (group->member[i] < group->place) bytes += value_bytes(joiner->program, node_of(joiner, group->member[i])->results[0]);
    if (!reads_the_same(joiner, group, group->member[i])) return false;
  }
  if (count > MOST_STEP_OPERANDS || results > MOST_STEP_RESULTS) return false;
  if (!has_others_between(joiner, group)) return true;
  return !joiner->only_neighbours && bytes_kept_longer(joiner, group, operands, count) <= bytes;
}

/* The first of a value's readers at or behind a position. */
static uint32_t
first_reader_from(const ReaderList *list, ValueId x, uint32_t position)
{
  uint32_t low = list->first[x], high = list->first[x + 1];
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (list->reader[middle] < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

static void
add_candidate(const Joiner *joiner, const Group *group, uint32_t position, uint32_t *candidate, uint32_t *count)
{
  if (*count < MOST_CANDIDATES && !is_member(group, position) && fits(joiner, group, position)) candidate[(*count)++] = position;
}

static void
add_readers(const Joiner *joiner, const Group *group, ValueId x, uint32_t *candidate, uint32_t *count)
{
  uint32_t farthest = group->place < FARTHEST ? 0 : group->place - FARTHEST;
  const ReaderList *list = &joiner->readers;
  for (uint32_t r = first_reader_from(list, x, farthest); r < list->first[x + 1] && list->reader[r] <= group->place + FARTHEST; r++)
    add_candidate(joiner, group, list->reader[r], candidate, count);
}

/* Nodes that hand the group an operand, or read what it makes or one of its size that it reads, those of its last members first. */
static uint32_t
list_candidates(const Joiner *joiner, const Group *group, uint32_t *candidate)
{
  uint32_t count = 0;
  for (uint32_t i = group->count; i-- > 0;) {
    const Node *node = node_of(joiner, group->member[i]);
    const Shape *shape = &result_value(joiner->program, node, 0)->shape;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      ValueId x = node->operands[k];
      if (joiner->made_at[x] == UINT32_MAX || !shape_equal(&value_at(joiner->program, x)->shape, shape)) continue;
      add_candidate(joiner, group, joiner->made_at[x], candidate, &count);
      add_readers(joiner, group, x, candidate, &count);
    }
    add_readers(joiner, group, node->results[0], candidate, &count);
  }
  return count;
}

/* The largest group around a position. */
static Group
grow_group(const Joiner *joiner, uint32_t position)
{
  Group group = {.member = {position}, .count = 1, .place = position};
  for (bool has_grown = true; has_grown;) {
    uint32_t candidate[MOST_CANDIDATES], count = list_candidates(joiner, &group, candidate);
    has_grown = false;
    for (uint32_t i = 0; i < count && !has_grown; i++) {
      Group grown = group;
      bool is_below = candidate[i] > group.place;
      bool is_added = is_below ? raise_member(joiner, &grown, candidate[i]) : add_with_readers(joiner, &grown, candidate[i]);
      if (!is_added || !is_worth_it(joiner, &grown)) continue;
      group = grown;
      has_grown = true;
    }
  }
  return group;
}

/* Members stand where the group does from now on, and what they read lives up to there. */
static void
move_members(Joiner *joiner, const Group *group)
{
  for (uint32_t i = 0; i < group->count; i++) {
    const Node *node = node_of(joiner, group->member[i]);
    joiner->is_grouped[group->member[i]] = true;
    joiner->place[group->member[i]] = group->place;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      uint32_t *last = &joiner->last_read[joiner->shown[node->operands[k]]];
      if (*last < group->place) *last = group->place;
    }
  }
}

Group *
find_groups(Joiner *joiner, uint32_t *count)
{
  const Program *program = joiner->program;
  Group *groups = arena_array(program->arena, program->order_count / 2 + 1, sizeof *groups);
  *count = 0;
  for (uint32_t i = program->order_count; i-- > 0;) {
    if (joiner->is_grouped[i] || !may_join(program, node_of(joiner, i))) continue;
    Group group = grow_group(joiner, i);
    if (group.count < 2) continue;
    move_members(joiner, &group);
    groups[(*count)++] = group;
  }
  return groups;
}
