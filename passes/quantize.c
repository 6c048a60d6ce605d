/* quantize: inserts quantize-on-save and dequantize-on-backward.
 * needs: linearize-saves, layout, encode-exact.  keeps: forward's results exactly.  makes: for each forward value in which all of
 * its backward readers are linear, one actnn.QuantizeOnSave after its producer and one actnn.DequantizeOnBackward before each
 * reader; program->saves. A value with a reader for which there is no proof of unbiasedness stays exact. */
#include "passes.h"

#include "../runtime/codec.h"

#include <string.h>

PassFunction quantize, simplify;

/* ActNN's: 1 to 8 whole bits. */
static const uint32_t actnn_choices = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11;

double
requested_bits(const Options *options)
{
  static const double level_bits[] = {32, 4, 4, 2, 2, 2}; /* ActNN's levels L0 to L5 */
  return options->bits ? options->bits : level_bits[options->level];
}

static bool
is_worth_coding(const Program *program, ValueId value, const Options *options, const Readers *readers)
{
  if (!is_large_enough(program, value) || !readers->count || !readers->are_linear) return false;
  return options->level != 1 || readers->is_weight_gradient; /* L1 codes the inputs of conv and linear only */
}

/* Never negative, and often exactly zero: made by a rectifier, or passed on from one. */
static bool
is_rectified(const Program *program, ValueId id)
{
  for (int steps = 0; steps < 8; steps++) {
    const Value *value = value_at(program, id);
    if (value->producer == NO_NODE) return false;
    const Node *node = node_at(program, value->producer);
    const char *name = node->operator_name;
    if (!strcmp(name, "Relu")) return true;
    if (!strcmp(name, "NormalizeOnSave")) return int_attribute(node, "rectified", 0) != 0;
    if (!strcmp(name, "Clip")) return float_attribute(node, "min", -1) == 0;
    if (strcmp(name, "MaxPool") && strcmp(name, "MaxPoolWithOffset") && strcmp(name, "ToPlain") && strcmp(name, "ToBlocked")
        && strcmp(name, "Reshape") && strcmp(name, "Flatten"))
      return false;
    id = operand_id(node, 0);
  }
  return false;
}

/* Probabilities: never negative, most of them near zero. */
static bool
is_probability(const Program *program, ValueId id)
{
  const Node *node = node_at(program, value_at(program, id)->producer);
  if (!strcmp(node->operator_name, "PackTriangle")) return is_probability(program, operand_id(node, 0));
  if (!strcmp(node->operator_name, "Softmax")) return true;
  if (strcmp(node->operator_name, "Exp")) return false;
  NodeId maker = operand_value(program, node, 0)->producer;
  const char *name = maker == NO_NODE ? "" : node_at(program, maker)->operator_name;
  return !strcmp(name, "LogSoftmax") || (!strcmp(name, "SoftmaxCrossEntropyLoss") && operand_id(node, 0) == result_id(node_at(program, maker), 1));
}

/* How the levels of a value lie, and how it is rounded: evenly over a range known beforehand where there is one; of probabilities,
 * which crowd zero, in squares and stochastically, because dither would give each the noise of the largest (compression.md,
 * section 5). */
static void
choose_levels(const Program *program, Save *save)
{
  const Operator *maker = node_at(program, value_at(program, save->value)->producer)->operator;
  save->spacing = is_rectified(program, save->value) ? ACTNN_MASKED_LEVELS : ACTNN_EVEN_LEVELS;
  if (maker->low < maker->high) {
    save->spacing = ACTNN_FIXED_LEVELS;
    save->low = maker->low;
    save->high = maker->high;
  } else if (is_probability(program, save->value)) {
    save->spacing = ACTNN_SQUARE_LEVELS;
    save->dither = false;
  }
}

/* Variance of an element's code, were there one step for the whole range, beside the variance of what it holds. A group of 256 is
 * about 6 standard deviations wide, the positive half of a rectified one 3. Among squares up to a maximum m the steps around p are
 * 2 sqrt(p m) wide: 4 p m / 6 beside a mean square of about p m / 2. */
static double
unit_noise(const Save *save)
{
  double rounding = save->dither ? 12 : 6, width = save->high - save->low;
  switch (save->spacing) {
  case ACTNN_FIXED_LEVELS: return width * width / rounding;
  case ACTNN_SQUARE_LEVELS: return 8 / rounding;
  case ACTNN_MASKED_LEVELS: return 6 / rounding;
  default: return 36 / rounding;
  }
}

/* Needs its spacing. */
static const char *
reason(const Save *save, const Readers *readers)
{
  if (readers->are_bounded)
    return "its readers are linear in it but for a normalization's, whose bias is at most |gamma| rstd Var / n of the incoming gradient";
  switch (save->spacing) {
  case ACTNN_FIXED_LEVELS: return "a slope is coded in place of what it is the slope at: the gradient is linear in it, and its range is known";
  case ACTNN_SQUARE_LEVELS:
    return "each product reads these probabilities once; a softmax's row sum comes from another value, whose errors are independent";
  default: return "every backward reader is linear in it, and its rounding is independent and unbiased";
  }
}

static Save
describe_save(const Program *program, const Options *options, ValueId value, const Readers *readers)
{
  int64_t elements = 0, kept = 0; /* kept: by a framework, in its place */
  const Node *maker = node_at(program, value_at(program, value)->producer);
  bool is_packed = !strcmp(maker->operator_name, "PackTriangle");
  shape_elements(&value_at(program, value)->shape, &elements);
  shape_elements(is_packed ? &operand_value(program, maker, 0)->shape : &value_at(program, value)->shape, &kept);
  Save save = {.value = value, .dither = is_dithered(options)};
  /* In place of a normalized row from which other readers rebuild the normalization's result, a framework keeps that result for them, and
   * the operand for the normalization. */
  save.uncompressed = (uint64_t)kept * (readers->is_for_rows && readers->count > 1 ? 8 : 4);
  if (!has_new_codes(options)) {
    save.spacing = ACTNN_EVEN_LEVELS;
    save.why = reason(&save, readers);
    save.choices = actnn_choices;
    save.weight = (double)elements;
    bool adapts = options->level >= 3 && readers->is_weight_gradient && !readers->is_normalization;
    save.adaptation = adapts ? ACTNN_ADAPTS_BY_READERS : ACTNN_KEEPS_ITS_SHARE;
    return save;
  }
  choose_levels(program, &save);
  save.why = reason(&save, readers);
  save.choices = (1u << ACTNN_LEVEL_CHOICES) - 1;
  save.weight = (double)elements * readers->factor * unit_noise(&save);
  save.adaptation = options->level < 3 ? ACTNN_KEEPS_ITS_SHARE : readers->flows_on ? ACTNN_ADAPTS_BY_REDRAWS : ACTNN_ADAPTS_BY_READERS;
  return save;
}

/* A rectifier's mask that was packed: of masked levels the code tells it too. */
static void
select_by_code(Program *program, ValueId value, uint32_t save)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    const Node *node = node_at(program, id);
    if (strcmp(node->operator_name, "SelectPacked")) continue;
    const Node *pack = node_at(program, operand_value(program, node, 1)->producer);
    if (strcmp(pack->operator_name, "PackPositive") || operand_id(pack, 0) != value) continue;
    Node *changed = node_at(program, id);
    changed->operator_name = "SelectCoded";
    changed->operator = find_operator("actnn", "SelectCoded");
    set_operand(program, id, 1, program->saves->save[save].stash);
    set_int(program, id, "save", save);
  }
}

static void
quantize_value(Program *program, const Options *options, ValueId value, const ReaderIndex *reading, const Readers *readers, uint32_t position,
               NodeId like, Insertions *insertions)
{
  Save entry = describe_save(program, options, value, readers);
  NodeId node = make_unplaced(program, PHASE_FORWARD, "actnn", "QuantizeOnSave", like, &value, 1, &entry.stash);
  infer_node(program, node);
  uint32_t save = add_save(program, entry);
  set_int(program, node, "save", save);
  insert_before(program, insertions, position, node);
  restore_for_readers(program, reading, value, save, insertions);
  if (entry.spacing == ACTNN_MASKED_LEVELS) select_by_code(program, value, save);
}

bool
quantize(Program *program, const Options *options)
{
  Insertions insertions = {0};
  if (!program->saves) program->saves = arena_allocate(program->arena, sizeof *program->saves);
  if (requested_bits(options) >= 32) return true;
  const bool *read = values_read_by_backward(program);
  const ReaderIndex reading = look_at_readers(program);
  /* In the order in which values are made, so that a program read back from its text gets the same saves. */
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    for (uint32_t k = 0; k < node_at(program, id)->result_count; k++) {
      ValueId value = node_at(program, id)->results[k];
      if (value == NO_VALUE || !is_saved_value(program, value, read)) continue;
      Readers readers = find_readers(program, &reading, value);
      if (is_worth_coding(program, value, options, &readers))
        quantize_value(program, options, value, &reading, &readers, i + 1, id, &insertions);
    }
  }
  apply_insertions(program, &insertions);
  program->saves->is_complete = true;
  return !program->diagnostics->errors && simplify(program, options); /* masks that codes tell are read no more */
}
