/* layout: gives image tensors the channel-blocked layout (design.md, section 4); reorders remain at its edges.
 * needs: shapes; all phases built.  keeps: values.  makes: Value.layout; actnn.ToBlocked and actnn.ToPlain nodes.
 *
 * Convolution, pooling and normalization over images want blocks; elementwise operators and concatenation along channels
 * follow their operands; everything else reads and makes plain tensors. The first convolution reads the plain image. */
#include "passes.h"

#include <string.h>

PassFunction layout;

enum { CHANNEL_PADDING = 16 };

typedef struct Layout {
  Program *program;
  ValueId *plain_twin, *blocked_twin; /* by value: the same tensor in the other layout, made once in a phase */
  Insertions insertions;
  uint32_t capacity;
} Layout;

static bool
can_be_blocked(const Value *value)
{
  return value && value->shape.rank >= 3 && (value->type == ACTNN_F32 || value->type == ACTNN_BOOL || value->type == ACTNN_U8);
}

static bool
is_image(const Value *value)
{
  return can_be_blocked(value) && value->kind != VALUE_PARAMETER && value->kind != VALUE_STATE && value->kind != VALUE_CONSTANT;
}

static bool
is_concat(const Node *node)
{
  return !strcmp(node->operator_name, "Concat") || !strcmp(node->operator_name, "ConcatPart");
}

static void
grow(Layout *layout)
{
  uint32_t count = layout->program->value_count + 1;
  if (count <= layout->capacity) return;
  uint32_t capacity = count * 2 + 64;
  ValueId *plain = arena_array(layout->program->arena, capacity, sizeof *plain);
  ValueId *blocked = arena_array(layout->program->arena, capacity, sizeof *blocked);
  if (layout->capacity) {
    memcpy(plain, layout->plain_twin, layout->capacity * sizeof *plain);
    memcpy(blocked, layout->blocked_twin, layout->capacity * sizeof *blocked);
  }
  for (uint32_t i = layout->capacity; i < capacity; i++) plain[i] = blocked[i] = NO_VALUE;
  layout->plain_twin = plain;
  layout->blocked_twin = blocked;
  layout->capacity = capacity;
}

/* The operand in the wanted layout. A forward value's twin made in backward would be a second save, so twins made for
 * backward are not shared with it: a backward reader of a forward value reorders what it reads. */
static ValueId
in_layout(Layout *layout, ValueId operand, actnn_layout wanted, uint32_t position, NodeId reader)
{
  Program *program = layout->program;
  if (value_at(program, operand)->layout == wanted) return operand;
  grow(layout);
  ValueId *twins = wanted == ACTNN_PLAIN ? layout->plain_twin : layout->blocked_twin;
  Phase phase = node_at(program, reader)->phase;
  if (twins[operand] != NO_VALUE && node_at(program, value_at(program, twins[operand])->producer)->phase == phase)
    return twins[operand];
  ValueId result;
  NodeId made = make_unplaced(program, phase, "actnn", wanted == ACTNN_PLAIN ? "ToPlain" : "ToBlocked", reader, &operand, 1,
                              &result);
  infer_node(program, made);
  value_at(program, result)->layout = wanted;
  insert_before(program, &layout->insertions, position, made);
  grow(layout);
  (wanted == ACTNN_PLAIN ? layout->plain_twin : layout->blocked_twin)[operand] = result;
  return result;
}

static void
set_operands(Layout *layout, uint32_t position, actnn_layout wanted)
{
  NodeId id = layout->program->order[position];
  for (uint32_t k = 0; k < node_at(layout->program, id)->operand_count; k++) {
    const Node *node = node_at(layout->program, id);
    ValueId x = operand_id(node, k);
    if (x == NO_VALUE || !is_activation_slot(operand_slot(node->operator, k)) || !is_image(value_at(layout->program, x))) {
      if (x != NO_VALUE && value_at(layout->program, x)->layout == ACTNN_BLOCKED) {
        ValueId plain = in_layout(layout, x, ACTNN_PLAIN, position, id);
        set_operand(layout->program, id, k, plain);
      }
      continue;
    }
    ValueId twin = in_layout(layout, x, wanted, position, id);
    set_operand(layout->program, id, k, twin);
  }
}

static void
set_results(Layout *layout, NodeId id, actnn_layout wanted)
{
  const Node *node = node_at(layout->program, id);
  for (uint32_t k = 0; k < node->result_count; k++) {
    Value *y = result_value(layout->program, node, k);
    if (!y || y->layout == ACTNN_STASH) continue;
    bool is_blockable = k < node->operator->result_count && is_activation_slot(&node->operator->results[k]) && is_image(y);
    y->layout = wanted == ACTNN_BLOCKED && is_blockable ? ACTNN_BLOCKED : ACTNN_PLAIN;
  }
}

/* A plain operand that an elementwise kernel can read beside blocked ones: a scalar, or one element per channel. */
static bool
is_broadcastable(const Value *x, const Shape *full)
{
  int64_t elements;
  if (shape_elements(&x->shape, &elements) && elements == 1) return true;
  int lead = full->rank - x->shape.rank;
  for (int i = 0; i < x->shape.rank; i++) {
    int axis = lead + i;
    if (axis == 1 ? x->shape.dim[i] != full->dim[1] : x->shape.dim[i] != 1) return false;
  }
  return lead <= 1;
}

static bool
elementwise_is_blocked(const Layout *layout, const Node *node)
{
  const Value *y = result_value(layout->program, node, 0);
  bool any = false;
  if (!y || y->shape.rank < 3) return false;
  for (uint32_t k = 0; k < node->operand_count; k++) {
    const Value *x = operand_value(layout->program, node, k);
    if (!x) continue;
    bool is_full = shape_equal(&x->shape, &y->shape);
    any |= is_full && x->layout == ACTNN_BLOCKED;
    if (!is_full && (x->layout == ACTNN_BLOCKED || !is_broadcastable(x, &y->shape))) return false;
    if (is_full && !is_image(x)) return false;
  }
  return any;
}

static void
block_elementwise(Layout *layout, uint32_t position)
{
  NodeId id = layout->program->order[position];
  Shape full = result_value(layout->program, node_at(layout->program, id), 0)->shape;
  for (uint32_t k = 0; k < node_at(layout->program, id)->operand_count; k++) {
    ValueId x = operand_id(node_at(layout->program, id), k);
    if (x == NO_VALUE || !shape_equal(&value_at(layout->program, x)->shape, &full)) continue;
    ValueId twin = in_layout(layout, x, ACTNN_BLOCKED, position, id);
    set_operand(layout->program, id, k, twin);
  }
  set_results(layout, id, ACTNN_BLOCKED);
}

static bool
channels_are_whole(const Value *value)
{
  return value->shape.dim[1] % CHANNEL_PADDING == 0;
}

static bool
concat_is_blocked(const Layout *layout, const Node *node)
{
  const Value *y = result_value(layout->program, node, 0);
  int64_t axis = int_attribute(node, "axis", 0);
  if (!is_image(y) || (axis < 0 ? axis + y->shape.rank : axis) != 1 || !channels_are_whole(y)
      || int_attribute(node, "start", 0) % CHANNEL_PADDING)
    return false;
  bool any = false;
  for (uint32_t k = 0; k < node->operand_count; k++) {
    const Value *x = operand_value(layout->program, node, k);
    if (operand_slot(node->operator, k)->is_constant) continue;
    if (!is_image(x) || !channels_are_whole(x)) return false;
    any |= x->layout == ACTNN_BLOCKED;
  }
  return any;
}

/* The first convolution, forward and for its weights' gradient, reads an image of few channels as it comes. */
static bool
reads_plain_image(const Program *program, const Node *node, uint32_t k)
{
  const Value *x = operand_value(program, node, k);
  bool is_convolution = !strcmp(node->operator_name, "Conv") || !strcmp(node->operator_name, "ConvGradWeight");
  return is_convolution && x && x->layout == ACTNN_PLAIN && x->shape.dim[1] < CHANNEL_PADDING && x->kind == VALUE_INPUT;
}

/* A variable or a constant in the place of an image is held plain, and reordered for its readers. */
static void
block_image_node(Layout *layout, uint32_t position)
{
  Program *program = layout->program;
  NodeId id = program->order[position];
  for (uint32_t k = 0; k < node_at(program, id)->operand_count; k++) {
    const Node *node = node_at(program, id);
    ValueId x = operand_id(node, k);
    if (x == NO_VALUE || !is_activation_slot(operand_slot(node->operator, k)) || !can_be_blocked(value_at(program, x))) continue;
    if (reads_plain_image(program, node, k)) continue;
    ValueId twin = in_layout(layout, x, ACTNN_BLOCKED, position, id);
    set_operand(program, id, k, twin);
  }
  set_results(layout, id, ACTNN_BLOCKED);
}

static void
place_node(Layout *layout, uint32_t position)
{
  const Node *node = node_at(layout->program, layout->program->order[position]);
  unsigned flags = node->operator->flags;
  if (!(flags & BLOCKED)) {
    set_operands(layout, position, ACTNN_PLAIN);
    set_results(layout, layout->program->order[position], ACTNN_PLAIN);
  } else if (flags & POINTWISE) {
    if (elementwise_is_blocked(layout, node)) block_elementwise(layout, position);
    else {
      set_operands(layout, position, ACTNN_PLAIN);
      set_results(layout, layout->program->order[position], ACTNN_PLAIN);
    }
  } else if (!strcmp(node->operator_name, "SumTo")) {
    set_results(layout, layout->program->order[position], ACTNN_PLAIN); /* reads its operand in any layout */
  } else if (is_concat(node)) {
    bool is_blocked = concat_is_blocked(layout, node);
    set_operands(layout, position, is_blocked ? ACTNN_BLOCKED : ACTNN_PLAIN);
    set_results(layout, layout->program->order[position], is_blocked ? ACTNN_BLOCKED : ACTNN_PLAIN);
  } else {
    block_image_node(layout, position);
  }
}

/* Outputs that the trainer reads on the host are plain. */
static ValueId
plain_output(Layout *layout, ValueId value)
{
  if (value == NO_VALUE || value_at(layout->program, value)->layout != ACTNN_BLOCKED) return value;
  NodeId producer = value_at(layout->program, value)->producer;
  return in_layout(layout, value, ACTNN_PLAIN, position_of(layout->program, producer) + 1, producer);
}

bool
layout(Program *program, const Options *options)
{
  (void)options;
  Layout layout = {.program = program};
  grow(&layout);
  for (uint32_t i = 0; i < program->order_count; i++) place_node(&layout, i);
  program->evaluation_output = plain_output(&layout, program->evaluation_output);
  if (program->prediction != NO_VALUE && value_at(program, program->prediction)->layout == ACTNN_BLOCKED)
    program->prediction = plain_output(&layout, program->prediction);
  apply_insertions(program, &layout.insertions);
  return !program->diagnostics->errors;
}
