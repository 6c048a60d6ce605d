/* accumulate: has a product, a dropout or the gradient of a normalization of rows add to a sum what would only be added to it.
 * needs: what values are held as.  keeps: every result, up to rounding.  makes: ProductSum, ProductGradWeightSum and DropoutSum of a product or
 * dropout and an Add: of a residual connection, of gradients that meet, of a weight's gradient that is put together from parts; and likewise
 * LayerNormalizationGrad, RMSNormalizationGrad and NormalizedRowsGrad with a sum of their own.
 *
 * Libraries add to what is there as they write, and so do loops of ours. What is added then has no memory of its own, and nothing passes over it
 * once more. What adds stays where it is, so that nothing it reads lives longer. */
#include "passes.h"

#include "../src/rewrite.h"

#include <string.h>

PassFunction accumulate;

/* An Add, as what it reads is found. */
typedef struct Meeting {
  NodeId add, adder;
  NodeId last; /* the adder, or the last of the views behind it, which shows its result to the Add */
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

/* What can add its result 0 to a sum: by another name, with the sum in front of its operands, or where it has an operand of its own for it. */
static const struct Adder {
  const char *name, *sum_name; /* sum_name: NULL, it has an operand of its own */
  uint32_t sum, operands;      /* that operand; how many others it then has, at most */
} adders[] = {{"Product", "ProductSum", 0, 3},
              {"ProductGradWeight", "ProductGradWeightSum", 0, 2},
              {"Dropout", "DropoutSum", 0, 3},
              {"LayerNormalizationGrad", NULL, 5, 0},
              {"RMSNormalizationGrad", NULL, 4, 0},
              {"NormalizedRowsGrad", NULL, 4, 0}};

/* NULL: it cannot, or does so already, or has a result that goes with its other name. */
static const struct Adder *
adder_of(const Node *node)
{
  for (size_t i = 0; i < sizeof adders / sizeof *adders; i++)
    if (!strcmp(node->operator_name, adders[i].name))
      return (adders[i].sum_name ? result_id(node, 1) : operand_id(node, adders[i].sum)) == NO_VALUE ? &adders[i] : NULL;
  return NULL;
}

/* What makes a value that one node reads, and nobody else; NO_NODE: something is different. */
static NodeId
maker_for_one(const Finder *finder, ValueId value)
{
  bool is_read_once = value != NO_VALUE && !finder->is_named[value] && single_reader(finder->program, &finder->readers, value) != NO_NODE;
  return is_read_once ? value_at(finder->program, value)->producer : NO_NODE;
}

/* What makes operand `k` of the Add for it alone, and can add to the other operand, which is there before. */
static bool
find_meeting(const Finder *finder, NodeId add, uint32_t k, Meeting *meeting)
{
  const Program *program = finder->program;
  const Node *node = node_at(program, add);
  const Value *y = result_value(program, node, 0), *sum = operand_value(program, node, 1 - k), *term = operand_value(program, node, k);
  ValueId shown = operand_id(node, k); /* as the adder makes it */
  NodeId id = maker_for_one(finder, shown);
  if (!y || !sum || id == NO_NODE || y->updates != NO_VALUE || !is_alike(sum, y) || !is_alike(term, y)) return false;
  *meeting = (Meeting){.add = add, .last = id, .sum = operand_id(node, 1 - k)};
  for (; id != NO_NODE && is_view(node_at(program, id)); id = maker_for_one(finder, shown)) shown = operand_id(node_at(program, id), 0);
  if (id == NO_NODE || node_at(program, id)->phase != node->phase) return false;
  if (!adder_of(node_at(program, id)) || result_id(node_at(program, id), 0) != shown) return false;
  meeting->adder = id;
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

/* By node: what the Add can be part of; adder == NO_NODE: nothing. */
static Meeting *
find_meetings(const Finder *finder)
{
  const Program *program = finder->program;
  Meeting *found = arena_array(program->arena, program->node_count + 1u, sizeof *found);
  for (NodeId id = 0; id < program->node_count; id++) found[id].adder = NO_NODE;
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
    bool is_same = found[copy].adder != NO_NODE && found[made].adder != NO_NODE
                   && node_at(program, found[copy].adder)->origin == found[made].adder;
    if (!is_same) found[copy].adder = found[made].adder = NO_NODE;
  }
}

/* The sum, in the shape in which the adder makes its result. */
static ValueId
shown_as(Program *program, const Finder *finder, ValueId sum, NodeId adder, Insertions *insertions)
{
  const Shape shape = result_value(program, node_at(program, adder), 0)->shape;
  if (shape_equal(&shape, &value_at(program, sum)->shape)) return sum;
  ValueId operands[] = {sum, add_int64_constant(program, shape.dim, (size_t)shape.rank)};
  Phase phase = node_at(program, adder)->phase;
  ValueId shown = insert_node(program, phase, finder->position[adder], "", "Reshape", adder, operands, 2, insertions);
  infer_node(program, value_at(program, shown)->producer);
  return shown;
}

static void
add_to_sum(Program *program, const Finder *finder, const Meeting *meeting, Insertions *insertions)
{
  const Node node = *node_at(program, meeting->adder);
  const struct Adder *adder = adder_of(&node);
  ValueId sum = shown_as(program, finder, meeting->sum, meeting->adder, insertions);
  ValueId operands[] = {sum, operand_id(&node, 0), operand_id(&node, 1), operand_id(&node, 2)};
  uint32_t others = node.operand_count < adder->operands ? node.operand_count : adder->operands;
  while (others && operands[others] == NO_VALUE) others--;
  if (!adder->sum_name) set_operand(program, meeting->adder, adder->sum, sum);
  else become(program, meeting->adder, "actnn", adder->sum_name, operands, 1 + others);
  remove_attribute(program, meeting->adder, "seed"); /* ONNX's, of which nothing is drawn */
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
    if (found[program->order[i]].adder != NO_NODE) add_to_sum(program, &finder, &found[program->order[i]], &insertions);
  apply_insertions(program, &insertions);
  bool *is_kept = arena_array(program->arena, program->order_count + 1u, sizeof *is_kept);
  for (uint32_t i = 0; i < program->order_count; i++)
    is_kept[i] = program->order[i] >= known || found[program->order[i]].adder == NO_NODE;
  keep_in_order(program, is_kept);
  return true;
}
