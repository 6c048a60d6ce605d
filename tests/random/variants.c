/* variants.c: graphs that say the same in other words. */
#include "variants.h"

#include "../../runtime/philox.h"

#include <string.h>

enum { VARIANT_DRAWS = 0x5641 };

typedef struct Change {
  Program *program;
  uint64_t number, use, count;
} Change;

static int64_t
below(Change *change, int64_t limit)
{
  actnn_philox_block block = {{(uint32_t)change->count++, 0, 0, 0}};
  uint32_t word = actnn_philox(block, actnn_random_key(change->number, 0, VARIANT_DRAWS, change->use), ACTNN_PHILOX_ROUNDS).word[0];
  return (int64_t)((uint64_t)word * (uint64_t)limit >> 32);
}

/* The node at the end of the order moves to `position`. */
static void
move_last_to(Program *program, uint32_t position)
{
  NodeId moved = program->order[program->order_count - 1];
  memmove(&program->order[position + 1], &program->order[position], (program->order_count - 1 - position) * sizeof *program->order);
  program->order[position] = moved;
}

/* Nodes that read what is there and that nothing reads; parameters that nothing reads. One may draw random numbers. */
static void
add_dead_nodes(Change *change)
{
  static const char *const names[] = {"Relu", "Exp", "Softmax", "Dropout", "Neg", "Shape"};
  Program *program = change->program;
  for (int64_t i = 2 + below(change, 4); i > 0; i--) {
    NodeId after = program->order[below(change, program->order_count)];
    const Value *x = result_value(program, node_at(program, after), 0);
    const char *name = names[below(change, 6)];
    if (!x || value_at(program, result_id(node_at(program, after), 0))->type != ACTNN_F32 || x->shape.rank < 1) continue;
    ValueId operands[3] = {result_id(node_at(program, after), 0), NO_VALUE, NO_VALUE};
    size_t count = 1;
    if (!strcmp(name, "Dropout")) {
      static const unsigned char yes = 1;
      operands[1] = add_scalar_constant(program, 0.5);
      operands[2] = add_constant(program, NULL, ACTNN_BOOL, (Shape){.rank = 0}, &yes, 1);
      count = 3;
    }
    const char *result_name = arena_format(program->arena, "dead%lld", (long long)i);
    ValueId result = add_value(program, result_name, VALUE_TEMPORARY, ACTNN_UNDEFINED, (Shape){.rank = -1});
    add_node(program, PHASE_FORWARD, "", name, "", operands, count, &result, 1);
    uint32_t first = position_of(program, after) + 1;
    move_last_to(program, first + (uint32_t)below(change, program->order_count - first));
  }
}

static void
insert_identities(Change *change)
{
  Program *program = change->program;
  for (int64_t i = 1 + below(change, 6); i > 0; i--) {
    NodeId reader = program->order[below(change, program->order_count)];
    const Node *node = node_at(program, reader);
    if (!node->operand_count) continue;
    uint32_t index = (uint32_t)below(change, node->operand_count);
    ValueId x = node->operands[index];
    /* compile-time operands, state and frozen parameters stay what they are */
    if (x == NO_VALUE || value_at(program, x)->type != ACTNN_F32 || value_at(program, x)->kind == VALUE_CONSTANT) continue;
    if (!strcmp(node->operator_name, "BatchNormalization") && index > 2) continue;
    const char *name = arena_format(program->arena, "same%lld", (long long)i);
    ValueId y = add_value(program, name, VALUE_TEMPORARY, ACTNN_F32, value_at(program, x)->shape);
    add_node(program, PHASE_FORWARD, "", "Identity", "", &x, 1, &y, 1);
    move_last_to(program, position_of(program, reader));
    set_operand(program, reader, index, y);
  }
}

static void
rename_all(Change *change)
{
  Program *program = change->program;
  static const char *const spellings[] = {"q/%u", "layer %u: \"x\"", "v%u", "a.b.%u", "0%u", "%u*/"};
  const char *spelling = spellings[below(change, 6)];
  for (ValueId id = 0; id < program->value_count; id++) {
    char name[64];
    if (!value_at(program, id)->name) continue;
    snprintf(name, sizeof name, "%.*s%u%s", (int)(strchr(spelling, '%') - spelling), spelling, id * 7 + 1, strchr(spelling, '%') + 2);
    value_at(program, id)->name = arena_text(program->arena, name, strlen(name));
  }
  for (NodeId id = 0; id < program->node_count; id++)
    node_at(program, id)->name = below(change, 3) ? arena_format(program->arena, "m%u", program->node_count - id) : "";
}

static bool
is_ready(const Program *program, NodeId id, const bool *is_placed)
{
  const Node *node = node_at(program, id);
  for (uint32_t k = 0; k < node->operand_count; k++) {
    const Value *x = operand_value(program, node, k);
    if (x && x->producer != NO_NODE && !is_placed[x->producer]) return false;
  }
  return true;
}

/* Any order that is legal, each as likely as it comes. */
static void
reorder(Change *change)
{
  Program *program = change->program;
  bool *is_placed = arena_array(program->arena, program->node_count + 1u, sizeof *is_placed);
  NodeId *order = arena_array(program->arena, program->order_count + 1u, sizeof *order);
  NodeId *ready = arena_array(program->arena, program->order_count + 1u, sizeof *ready);
  for (uint32_t done = 0; done < program->order_count; done++) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < program->order_count; i++)
      if (!is_placed[program->order[i]] && is_ready(program, program->order[i], is_placed)) ready[count++] = program->order[i];
    order[done] = ready[below(change, count)];
    is_placed[order[done]] = true;
  }
  memcpy(program->order, order, program->order_count * sizeof *order);
}

/* Initializers that are constants become Constant nodes in front of all others. */
static void
make_constant_nodes(Change *change)
{
  Program *program = change->program;
  for (ValueId id = program->value_count; id-- > 0;) {
    const Value *value = value_at(program, id);
    if (value->kind != VALUE_CONSTANT || !value->data || below(change, 4) == 0) continue;
    ValueId tensor = add_constant(program, NULL, value->type, value->shape, value->data, value->data_bytes);
    NodeId node = add_node(program, PHASE_FORWARD, "", "Constant", "", NULL, 0, &id, 1);
    value = value_at(program, id);
    value_at(program, id)->kind = VALUE_TEMPORARY;
    value_at(program, id)->data = NULL;
    value_at(program, id)->data_bytes = 0;
    set_attribute(program, node, (Attribute){.name = "value", .kind = ATTRIBUTE_TENSOR, .tensor = tensor});
    move_last_to(program, 0);
  }
}

typedef void ChangeFunction(Change *change);
static const struct {
  const char *name;
  ChangeFunction *apply;
} variants[VARIANTS] = {[DEAD_NODES] = {"dead nodes", add_dead_nodes},
                        [IDENTITIES] = {"identities", insert_identities},
                        [RENAMED] = {"other names", rename_all},
                        [REORDERED] = {"another order", reorder},
                        [CONSTANT_NODES] = {"Constant nodes", make_constant_nodes}};

const char *
variant_name(int variant)
{
  return variants[variant].name;
}

const char *
variant_text(const RandomGraph *graph, const char *text, int variant, Arena *arena, Diagnostics *diagnostics)
{
  Change change = {.number = graph->number, .use = (uint64_t)variant};
  change.program = parse_program("variant", text, strlen(text), diagnostics);
  if (!change.program) return NULL;
  variants[variant].apply(&change);
  const char *changed = print_program(change.program, arena);
  program_destroy(change.program);
  return changed;
}
