/* accumulate: has a product add to a sum what would only be added to it.
 * needs: what values are held as.  keeps: every result, up to rounding.  makes: ProductSum and ProductGradWeightSum of a product and an Add:
 * of a residual connection, of gradients that meet, of a weight's gradient that is put together from parts.
 *
 * Libraries add to what is there as they write. The product's result then has no memory of its own, and nothing passes over it once more.
 * The product stays where it is, so that nothing it reads lives longer. */
#include "passes.h"

#include "../src/rewrite.h"

#include <string.h>

PassFunction accumulate;

/* An Add, as what it reads is found. */
typedef struct Meeting {
  NodeId add, product;
  NodeId last; /* the product, or the last of the views behind it, which shows the product's result to the Add */
  ValueId sum;
} Meeting;

typedef struct Finder {
  const Program *program;
  ReaderList readers;
  uint32_t *position; /* by node */
  bool *is_named;     /* by value: outputs, and what a trainer reads */
} Finder;

static bool
is_alike(const Value *one, const Value *other)
{
  return one->type == other->type && one->layout == ACTNN_PLAIN && other->layout == ACTNN_PLAIN && shape_equal(&one->shape, &other->shape);
}

static bool
is_product(const Node *node)
{
  return !strcmp(node->operator_name, "Product") || !strcmp(node->operator_name, "ProductGradWeight");
}

/* What makes a value that one node reads, and nobody else; NO_NODE: something is different. */
static NodeId
maker_for_one(const Finder *finder, ValueId value)
{
  bool is_read_once = value != NO_VALUE && !finder->is_named[value] && single_reader(finder->program, &finder->readers, value) != NO_NODE;
  return is_read_once ? value_at(finder->program, value)->producer : NO_NODE;
}

/* The product that makes operand `k` of the Add for it alone, and before which the other operand is there. */
static bool
find_meeting(const Finder *finder, NodeId add, uint32_t k, Meeting *meeting)
{
  const Program *program = finder->program;
  const Node *node = node_at(program, add);
  const Value *y = result_value(program, node, 0), *sum = operand_value(program, node, 1 - k), *term = operand_value(program, node, k);
  NodeId id = maker_for_one(finder, operand_id(node, k));
  if (!y || !sum || id == NO_NODE || y->updates != NO_VALUE || !is_alike(sum, y) || !is_alike(term, y)) return false;
  *meeting = (Meeting){.add = add, .last = id, .sum = operand_id(node, 1 - k)};
  while (id != NO_NODE && is_view(node_at(program, id))) id = maker_for_one(finder, operand_id(node_at(program, id), 0));
  if (id == NO_NODE || !is_product(node_at(program, id)) || node_at(program, id)->phase != node->phase) return false;
  meeting->product = id;
  bool is_there = sum->producer == NO_NODE || finder->position[sum->producer] < finder->position[id];
  return is_there && result_value(program, node_at(program, id), 0)->layout == ACTNN_PLAIN;
}

static Finder
look_around(const Program *program)
{
  Finder finder = {.program = program, .readers = list_readers(program)};
  finder.position = arena_array(program->arena, program->node_count + 1u, sizeof *finder.position);
  finder.is_named = arena_array(program->arena, program->value_count + 1u, sizeof *finder.is_named);
  const NamedResults named = named_results(program);
  for (uint32_t i = 0; i < program->order_count; i++) finder.position[program->order[i]] = i;
  for (uint32_t i = 0; i < program->output_count; i++) finder.is_named[program->outputs[i]] = true;
  for (size_t i = 0; i < NAMED_RESULTS; i++)
    if (named.value[i] != NO_VALUE) finder.is_named[named.value[i]] = true;
  return finder;
}

/* By node: what the Add can be part of; product == NO_NODE: nothing. */
static Meeting *
find_meetings(const Finder *finder)
{
  const Program *program = finder->program;
  Meeting *found = arena_array(program->arena, program->node_count + 1u, sizeof *found);
  for (NodeId id = 0; id < program->node_count; id++) found[id].product = NO_NODE;
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    Meeting meeting;
    if (!is_operator(program, id, "Add")) continue;
    if (find_meeting(finder, id, 0, &meeting) || find_meeting(finder, id, 1, &meeting)) found[id] = meeting;
  }
  return found;
}

/* What is computed again is what forward computed, to the bit: all that are alike add, or none. */
static void
keep_copies_alike(const Program *program, Meeting *found)
{
  for (uint32_t i = 0; i < 2 * program->order_count; i++) { /* once more, for those before one that is not */
    NodeId copy = program->order[i % program->order_count], made = node_at(program, copy)->origin;
    if (node_at(program, copy)->phase != PHASE_RECOMPUTE || made == NO_NODE || !is_operator(program, made, "Add")) continue;
    bool is_same = found[copy].product != NO_NODE && found[made].product != NO_NODE
                   && node_at(program, found[copy].product)->origin == found[made].product;
    if (!is_same) found[copy].product = found[made].product = NO_NODE;
  }
}

/* The sum, in the shape in which the product makes its result. */
static ValueId
shown_as(Program *program, const Finder *finder, ValueId sum, NodeId product, Insertions *insertions)
{
  const Shape shape = result_value(program, node_at(program, product), 0)->shape;
  if (shape_equal(&shape, &value_at(program, sum)->shape)) return sum;
  ValueId operands[] = {sum, add_int64_constant(program, shape.dim, (size_t)shape.rank)};
  Phase phase = node_at(program, product)->phase;
  ValueId shown = insert_node(program, phase, finder->position[product], "", "Reshape", product, operands, 2, insertions);
  infer_node(program, value_at(program, shown)->producer);
  return shown;
}

static void
add_to_sum(Program *program, const Finder *finder, const Meeting *meeting, Insertions *insertions)
{
  const Node product = *node_at(program, meeting->product);
  bool is_gradient = !strcmp(product.operator_name, "ProductGradWeight");
  ValueId sum = shown_as(program, finder, meeting->sum, meeting->product, insertions);
  ValueId operands[] = {sum, operand_id(&product, 0), operand_id(&product, 1), operand_id(&product, 2)};
  bool has_bias = !is_gradient && operands[3] != NO_VALUE;
  become(program, meeting->product, "actnn", is_gradient ? "ProductGradWeightSum" : "ProductSum", operands, has_bias ? 4 : 3);
  set_result(program, meeting->last, 0, result_id(node_at(program, meeting->add), 0));
}

bool
accumulate(Program *program, const Options *options)
{
  (void)options;
  Insertions insertions = {0};
  const Finder finder = look_around(program);
  Meeting *found = find_meetings(&finder);
  const uint32_t known = program->node_count;
  keep_copies_alike(program, found);
  for (uint32_t i = 0; i < program->order_count; i++)
    if (found[program->order[i]].product != NO_NODE) add_to_sum(program, &finder, &found[program->order[i]], &insertions);
  apply_insertions(program, &insertions);
  bool *is_kept = arena_array(program->arena, program->order_count + 1u, sizeof *is_kept);
  for (uint32_t i = 0; i < program->order_count; i++)
    is_kept[i] = program->order[i] >= known || found[program->order[i]].product == NO_NODE;
  keep_in_order(program, is_kept);
  return true;
}
