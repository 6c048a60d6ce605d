/* save-normalized: one save where a normalization, a rectifier and the next layer would each keep one.
 * needs: linearize-saves, layout.  keeps: forward's results exactly.  makes: of each BatchNorm on blocked values, with the Relu or
 * the Clip from zero (ReLU6) that alone reads it if there is one: actnn.BatchNormStatistics and actnn.NormalizeOnSave, which applies
 * the normalization and codes the normalized value in one loop; of its gradient actnn.NormalGradScale and actnn.NormalGradInput, which
 * decode that inside their loops; before each other backward reader of the result actnn.DequantizeNormal. The rectifier's mask is in
 * the code. One code may serve them all: each product of the gradient reads it once (compression.md, section 4, case 4). */
#include "passes.h"

#include "../runtime/codec.h"

#include <float.h>
#include <string.h>

PassFunction save_normalized, simplify;

/* What belongs together. */
typedef struct Normalization {
  NodeId forward, gradient;   /* BatchNorm, BatchNormGrad */
  NodeId rectifier, select;   /* NO_NODE without one; Select of the gradient by the rectifier's mask */
  double cap;                 /* what it lets through at most; 0: anything */
  ValueId result;             /* the normalization's, or the rectifier's */
  ValueId incoming;           /* gradient of the result */
  uint32_t gradient_position;
} Normalization;

/* Lists the nodes that read a value, at most `most`; how many there are, or 0 when there are more, or a node reads it twice, or it is
 * wanted outside of the step. */
static uint32_t
readers_of(const Program *program, ValueId value, NodeId *readers, uint32_t most)
{
  uint32_t found = 0;
  for (uint32_t i = 0; i < program->output_count; i++)
    if (program->outputs[i] == value) return 0;
  if (value == program->prediction || value == program->loss) return 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->operand_count; k++) {
      if (node->operands[k] != value) continue;
      if (found == most || (found && readers[found - 1] == program->order[i])) return 0;
      readers[found++] = program->order[i];
    }
  }
  return found;
}

/* The one node that reads a value; NO_NODE when there are none or several. */
static NodeId
only_reader(const Program *program, ValueId value)
{
  NodeId reader;
  return readers_of(program, value, &reader, 1) ? reader : NO_NODE;
}

/* The gradient that reads a normalization's statistics. */
static NodeId
gradient_of(const Program *program, const Node *forward, uint32_t *position)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (strcmp(node->operator_name, "BatchNormGrad") || operand_id(node, 1) != operand_id(forward, 0)) continue;
    if (operand_id(node, 3) != result_id(forward, 3) || operand_id(node, 4) != result_id(forward, 4)) continue;
    *position = i;
    return program->order[i];
  }
  return NO_NODE;
}

/* Clip from zero, and the test for what it lets pass. */
static bool
is_capped(const Program *program, NodeId clip, NodeId test)
{
  if (!is_operator(program, clip, "Clip") || !is_operator(program, test, "Inside")) return false;
  const Node *one = node_at(program, clip), *other = node_at(program, test);
  double cap = float_attribute(one, "max", FLT_MAX);
  return float_attribute(one, "min", -FLT_MAX) == 0 && float_attribute(other, "min", -FLT_MAX) == 0
      && float_attribute(other, "max", FLT_MAX) == cap && cap > 0 && (double)(float)cap == cap;
}

/* The rectifier that alone reads a normalization's result y, but for the test for what it lets pass: that of Relu reads Relu's result,
 * that of Clip (ReLU6) y. NO_NODE when there is none. */
static NodeId
rectifier_of(const Program *program, ValueId y, NodeId test)
{
  NodeId readers[2];
  uint32_t count = readers_of(program, y, readers, 2);
  if (count == 1 && is_operator(program, readers[0], "Relu") && is_operator(program, test, "Positive")
      && operand_id(node_at(program, test), 0) == result_id(node_at(program, readers[0]), 0))
    return readers[0];
  for (uint32_t i = 0; count == 2 && i < 2; i++)
    if (readers[i] == test && is_capped(program, readers[1 - i], test)) return readers[1 - i];
  return NO_NODE;
}

/* A rectifier whose mask selects the one gradient that goes on to the normalization. */
static bool
find_rectifier(const Program *program, Normalization *found)
{
  ValueId y = result_id(node_at(program, found->forward), 0), dy = operand_id(node_at(program, found->gradient), 0);
  NodeId select = value_at(program, dy)->producer;
  if (!is_operator(program, select, "Select") || only_reader(program, dy) != found->gradient) return false;
  ValueId mask = operand_id(node_at(program, select), 0);
  NodeId test = value_at(program, mask)->producer;
  if (test == NO_NODE || only_reader(program, mask) != select) return false;
  NodeId rectifier = rectifier_of(program, y, test);
  ValueId z = rectifier == NO_NODE ? NO_VALUE : result_id(node_at(program, rectifier), 0);
  if (z == NO_VALUE || value_at(program, z)->layout != ACTNN_BLOCKED) return false;
  found->rectifier = rectifier;
  found->cap = is_operator(program, rectifier, "Clip") ? float_attribute(node_at(program, rectifier), "max", FLT_MAX) : 0;
  found->select = select;
  found->result = z;
  found->incoming = operand_id(node_at(program, select), 1);
  return true;
}

static bool
find_normalization(const Program *program, NodeId id, Normalization *found)
{
  const Node *node = node_at(program, id);
  *found = (Normalization){.forward = id, .rectifier = NO_NODE, .select = NO_NODE};
  if (node->phase != PHASE_FORWARD || strcmp(node->operator_name, "BatchNorm")) return false;
  const Value *x = operand_value(program, node, 0);
  if (x->layout != ACTNN_BLOCKED || !is_large_enough(program, operand_id(node, 0))) return false;
  found->gradient = gradient_of(program, node, &found->gradient_position);
  if (found->gradient == NO_NODE) return false;
  const Value *dy = operand_value(program, node_at(program, found->gradient), 0);
  if (dy->layout != ACTNN_BLOCKED || value_at(program, result_id(node, 0))->layout != ACTNN_BLOCKED) return false;
  if (find_rectifier(program, found)) return value_at(program, found->incoming)->layout == ACTNN_BLOCKED;
  found->result = result_id(node, 0);
  found->incoming = operand_id(node_at(program, found->gradient), 0);
  return true;
}

/* True when some backward node that is not part of the normalization reads its result: that is what a framework keeps too. */
static bool
is_read_on(const Program *program, const Normalization *found)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; runs_after_forward(node) && k < node->operand_count; k++)
      if (node->operands[k] == found->result) return true;
  }
  return false;
}

static Save
describe(const Program *program, const Options *options, const ReaderIndex *reading, const Normalization *found, ValueId stash)
{
  int64_t elements = 0;
  Readers readers = find_readers(program, reading, found->result);
  const Value *x = value_at(program, found->result);
  shape_elements(&x->shape, &elements);
  bool is_rectified = found->rectifier != NO_NODE, is_kept = is_rectified || is_read_on(program, found);
  double per_sample = (double)elements / (double)(x->shape.dim[0] > 0 ? x->shape.dim[0] : 1);
  /* Half of a rectified normal group passes, in half its range of 6; the scale's gradient has one product an element. */
  double squared_width = is_rectified ? 4.5 : 36, factor = readers.factor + 1 / per_sample;
  return (Save){.value = found->result,
                .stash = stash,
                .spacing = ACTNN_NORMAL_LEVELS,
                .dither = is_dithered(options),
                .is_rectified = is_rectified,
                .high = found->cap,
                .choices = (1u << ACTNN_LEVEL_CHOICES) - 1,
                .uncompressed = (uint64_t)elements * (is_kept ? 8 : 4),
                .weight = (double)elements * factor * squared_width / (is_dithered(options) ? 12 : 6),
                .adaptation = options->level >= 3 ? ACTNN_ADAPTS_BY_READERS : ACTNN_KEEPS_ITS_SHARE,
                .why = is_dithered(options)
                           ? "each product reads it once, and dither's known variance is taken off where the normalization reads it twice"
                           : "each product reads it once, but for a bias of at most |gamma| rstd Var / n where the normalization reads it twice"};
}

/* Rewrites a node in place; its results stay. */
static void
become(Program *program, NodeId id, const char *operator_name, const ValueId *operands, uint32_t count)
{
  Node *node = node_at(program, id);
  node->operator_name = operator_name;
  node->domain = "actnn";
  node->operator = find_operator("actnn", operator_name);
  ValueId *copy = arena_array(program->arena, count + 1, sizeof *copy);
  memcpy(copy, operands, count * sizeof *copy);
  node->operands = copy;
  node->operand_count = count;
}

static NodeId
make_node(Program *program, Phase phase, const char *operator_name, NodeId like, const ValueId *operands, size_t operand_count,
          const ValueId *results, size_t result_count)
{
  ValueId unused;
  NodeId id = make_unplaced(program, phase, "actnn", operator_name, like, operands, operand_count, &unused);
  for (uint32_t i = 0; i < result_count; i++) set_result(program, id, i, results[i]);
  return id;
}

static void
set_save(Program *program, NodeId id, uint32_t save)
{
  set_int(program, id, "save", save);
  set_rectifier(program, id, &program->saves->save[save]);
}

/* BatchNorm keeps its place as the statistics; the normalization that is applied and saved follows it. */
static uint32_t
save_forward(Program *program, const Options *options, const ReaderIndex *reading, const Normalization *found, uint32_t position,
             Insertions *insertions)
{
  const Node node = *node_at(program, found->forward);
  ValueId stash = add_value(program, NULL, VALUE_STASH, ACTNN_U8, (Shape){.rank = -1});
  ValueId operands[] = {node.operands[0], node.results[3], node.results[4], node.operands[1], node.operands[2]};
  ValueId results[] = {found->result, stash};
  uint32_t save = add_save(program, describe(program, options, reading, found, stash));
  NodeId apply = make_node(program, PHASE_FORWARD, "NormalizeOnSave", found->forward, operands, 5, results, 2);
  set_save(program, apply, save);
  infer_node(program, apply);
  insert_before(program, insertions, position + 1, apply);
  ValueId statistics[] = {node.operands[0], node.operands[3], node.operands[4]};
  ValueId made[] = {node.results[3], node.results[4], node.results[1], node.results[2]};
  become(program, found->forward, "BatchNormStatistics", statistics, 3);
  Node *first = node_at(program, found->forward);
  first->results = arena_array(program->arena, 4, sizeof *first->results);
  first->result_count = 0;
  for (uint32_t i = 0; i < 4; i++) set_result(program, found->forward, i, made[i]);
  return save;
}

/* BatchNormGrad's results come from two nodes in its place. */
static void
save_backward(Program *program, const Normalization *found, uint32_t save, Insertions *insertions)
{
  const Node node = *node_at(program, found->gradient);
  const Save *entry = &program->saves->save[save];
  const Node *apply = node_at(program, value_at(program, entry->stash)->producer);
  ValueId scale = operand_id(apply, 3), b = operand_id(apply, 4), rstd = operand_id(apply, 2);
  ValueId sums[2] = {node.result_count > 1 ? node.results[1] : NO_VALUE, node.result_count > 2 ? node.results[2] : NO_VALUE};
  for (int i = 0; i < 2; i++)
    if (sums[i] == NO_VALUE) sums[i] = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, value_at(program, scale)->shape);
  ValueId operands[] = {found->incoming, entry->stash, scale, b};
  NodeId first = make_node(program, PHASE_BACKWARD, "NormalGradScale", found->gradient, operands, 4, sums, 2);
  set_save(program, first, save);
  infer_node(program, first);
  insert_before(program, insertions, found->gradient_position, first);
  ValueId more[] = {found->incoming, entry->stash, scale, b, rstd, sums[0], sums[1]};
  become(program, found->gradient, "NormalGradInput", more, 7);
  node_at(program, found->gradient)->result_count = 1;
  set_save(program, found->gradient, save);
}

/* Takes the rectifier, its mask and the selection out of the program: nothing reads their results any more. */
static void
detach(Program *program, const Normalization *found)
{
  if (found->rectifier == NO_NODE) return;
  node_at(program, found->rectifier)->result_count = 0;
  node_at(program, found->select)->operand_count = 0;
  node_at(program, found->select)->result_count = 0;
}

static void
drop_detached(Program *program)
{
  uint32_t kept = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    bool is_rectifier = !strcmp(node->operator_name, "Relu") || !strcmp(node->operator_name, "Clip");
    bool is_detached = (is_rectifier || !strcmp(node->operator_name, "Select")) && !node->result_count;
    if (!is_detached) program->order[kept++] = program->order[i];
  }
  program->order_count = kept;
}

bool
save_normalized(Program *program, const Options *options)
{
  Insertions insertions = {0};
  if (!codes_derived_values(options)) return true;
  const ReaderIndex reading = look_at_readers(program);
  uint32_t count = program->order_count;
  for (uint32_t i = 0; i < count; i++) {
    Normalization found;
    if (!find_normalization(program, program->order[i], &found)) continue;
    uint32_t save = save_forward(program, options, &reading, &found, i, &insertions);
    save_backward(program, &found, save, &insertions);
    detach(program, &found);
    restore_for_readers(program, &reading, found.result, save, &insertions);
  }
  apply_insertions(program, &insertions);
  drop_detached(program);
  return !program->diagnostics->errors && simplify(program, options); /* masks are read no more */
}
