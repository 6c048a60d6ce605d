/* quantize: inserts quantize-on-save and dequantize-on-backward.
 * needs: linearize-saves, layout, encode-exact.  keeps: forward's results exactly.  makes: for each forward value in which all of
 * its backward readers are linear, one actnn.QuantizeOnSave after its producer and one actnn.DequantizeOnBackward before each
 * reader; program->saves. A value with a reader for which there is no proof of unbiasedness stays exact. */
#include "passes.h"

#include <string.h>

PassFunction quantize;

/* Smaller values (statistics, biases) cost nothing to keep, and a sample of few elements (class probabilities) pays more for its header
 * in bytes and for its noise in every layer below than it saves. */
enum { WORTH_CODING = 1024, WORTH_CODING_A_SAMPLE = 128 };

double
requested_bits(const Options *options)
{
  static const double level_bits[] = {32, 4, 4, 2, 2, 2}; /* ActNN's levels L0 to L5 */
  return options->bits ? options->bits : level_bits[options->level];
}

typedef struct Readers {
  bool are_linear, are_bounded;
  bool is_normalization, is_weight_gradient;
  uint32_t count, first; /* first: position of the first reader */
} Readers;

static bool
is_weight_gradient(const Node *node)
{
  return !strcmp(node->operator_name, "ConvGradWeight") || !strcmp(node->operator_name, "ProductGradWeight");
}

static Readers
find_readers(const Program *program, ValueId value)
{
  Readers readers = {.are_linear = true};
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (node->phase != PHASE_BACKWARD && node->phase != PHASE_UPDATE) continue;
    uint32_t slots = 0;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      bool is_bounded = false;
      if (node->operands[k] != value) continue;
      readers.are_linear &= is_linear_in(node->operator, k, &is_bounded) && slots++ == 0;
      readers.are_bounded |= is_bounded;
      readers.is_normalization |= is_bounded;
    }
    if (!slots) continue;
    if (!readers.count++) readers.first = i;
    readers.is_weight_gradient |= is_weight_gradient(node);
  }
  return readers;
}

static bool
is_worth_coding(const Program *program, ValueId id, const Options *options, const Readers *readers)
{
  const Value *value = value_at(program, id);
  int64_t elements;
  if (value->type != ACTNN_F32 || value->shape.rank < 2 || !shape_elements(&value->shape, &elements)) return false;
  if (elements < WORTH_CODING || elements / value->shape.dim[0] < WORTH_CODING_A_SAMPLE) return false;
  if (!readers->count || !readers->are_linear) return false;
  if (options->level == 1 && !readers->is_weight_gradient) return false; /* L1 codes the inputs of conv and linear only */
  return true;
}

static SaveTable *
save_table(Program *program)
{
  if (!program->saves) program->saves = arena_allocate(program->arena, sizeof *program->saves);
  return program->saves;
}

static uint32_t
add_save(Program *program, Save save)
{
  SaveTable *table = save_table(program);
  if (table->count == table->capacity) {
    uint32_t capacity = table->capacity * 2 + 32;
    Save *grown = arena_array(program->arena, capacity, sizeof *grown);
    if (table->count) memcpy(grown, table->save, table->count * sizeof *grown);
    table->save = grown;
    table->capacity = capacity;
  }
  table->save[table->count] = save;
  return table->count++;
}

/* How many of a kernel's taps along one spatial axis meet an element of `x` and not its padding, on average over `steps`
 * places of the kernel. */
static double
mean_taps(const Node *reader, size_t axis, int64_t steps, int64_t extent)
{
  const int64_t *kernel, *strides, *dilations, *pads;
  size_t rank = ints_attribute(reader, "kernel_shape", &kernel);
  int64_t stride = ints_attribute(reader, "strides", &strides) > axis ? strides[axis] : 1;
  int64_t dilation = ints_attribute(reader, "dilations", &dilations) > axis ? dilations[axis] : 1;
  int64_t pad = ints_attribute(reader, "pads", &pads) > axis ? pads[axis] : 0;
  double met = 0;
  if (axis >= rank || stride < 1 || steps < 1) return 1;
  for (int64_t tap = 0; tap < kernel[axis]; tap++) {
    int64_t shift = pad - tap * dilation; /* step s meets element s * stride - shift */
    int64_t first = shift > 0 ? (shift + stride - 1) / stride : 0;
    int64_t last = extent - 1 + shift < 0 ? -1 : (extent - 1 + shift) / stride;
    if (last > steps - 1) last = steps - 1;
    if (last >= first) met += (double)(last - first + 1);
  }
  return met / (double)steps;
}

/* Variance of a weight gradient per unit of (squared norm of a sample's incoming gradient) * (sum of its elements' code
 * variances): K / (groups * positions), from Var(dW) = sum_p |dy_p|^2 sum_k Var(x_{p+k}) (compression.md, section 1), where K
 * counts the taps that meet no padding. Operand 0 is what the kernel's places belong to, operand 1 what its taps meet; either
 * may be the saved one. */
static double
sensitivity_factor(const Program *program, const Node *reader, const Value *saved)
{
  double taps = 1, positions = 1, groups = 1;
  if (!strcmp(reader->operator_name, "ConvGradWeight")) {
    const Shape *places = &value_at(program, reader->operands[0])->shape, *met = &value_at(program, reader->operands[1])->shape;
    for (int i = 2; i < met->rank; i++) {
      taps *= mean_taps(reader, (size_t)i - 2, i < places->rank ? places->dim[i] : 1, met->dim[i]);
      positions *= (double)met->dim[i];
    }
    groups = (double)int_attribute(reader, "group", 1);
  } else {
    for (int i = 1; i + 1 < saved->shape.rank; i++) positions *= (double)saved->shape.dim[i];
  }
  return taps / (groups * positions);
}

static void
restore_for_reader(Program *program, uint32_t position, ValueId value, uint32_t save, Insertions *insertions)
{
  NodeId reader = program->order[position];
  const Save *entry = &program->saves->save[save];
  if (entry->is_adaptive && is_weight_gradient(node_at(program, reader))) {
    ValueId first = operand_id(node_at(program, reader), 0), gradient = first, done;
    if (first == value) gradient = operand_id(node_at(program, reader), 1); /* a transposed convolution has them the other way round */
    NodeId measure = make_unplaced(program, PHASE_BACKWARD, "actnn", "MeasureSensitivity", reader, &gradient, 1, &done);
    set_result(program, measure, 0, NO_VALUE);
    set_int(program, measure, "save", save);
    set_float(program, measure, "factor",
              sensitivity_factor(program, node_at(program, reader), value_at(program, value)));
    insert_before(program, insertions, position, measure);
  }
  ValueId stash = entry->stash, restored;
  NodeId restore = make_unplaced(program, PHASE_BACKWARD, "actnn", "DequantizeOnBackward", reader, &stash, 1, &restored);
  set_int(program, restore, "save", save);
  infer_node(program, restore);
  value_at(program, restored)->layout = value_at(program, value)->layout;
  insert_before(program, insertions, position, restore);
  for (uint32_t k = 0; k < node_at(program, reader)->operand_count; k++)
    if (operand_id(node_at(program, reader), k) == value) set_operand(program, reader, k, restored);
}

/* The one node of backward or update that reads a value; NO_NODE when there are none or several. */
static NodeId
only_reader(const Program *program, ValueId value)
{
  NodeId found = NO_NODE;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (node->phase != PHASE_BACKWARD && node->phase != PHASE_UPDATE) continue;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      if (node->operands[k] != value) continue;
      if (found != NO_NODE) return NO_NODE;
      found = program->order[i];
    }
  }
  return found;
}

/* The parameter that a weight gradient updates, through a sum over broadcast axes; NO_VALUE when it goes elsewhere too. */
static ValueId
updated_by(const Program *program, ValueId gradient)
{
  NodeId reader = only_reader(program, gradient);
  if (reader != NO_NODE && !strcmp(node_at(program, reader)->operator_name, "SumTo")) {
    gradient = node_at(program, reader)->results[0];
    reader = only_reader(program, gradient);
  }
  if (reader == NO_NODE) return NO_VALUE;
  const Node *node = node_at(program, reader);
  return (node->operator->flags & UPDATE) && node->operand_count > 1 && node->operands[1] == gradient ? node->operands[0] : NO_VALUE;
}

ValueId
save_parameter(const Program *program, uint32_t save)
{
  ValueId parameter = NO_VALUE;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (strcmp(node->operator_name, "DequantizeOnBackward") || int_attribute(node, "save", -1) != (int64_t)save) continue;
    NodeId reader = only_reader(program, node->results[0]);
    if (reader == NO_NODE || !is_weight_gradient(node_at(program, reader))) continue;
    if (parameter != NO_VALUE) return NO_VALUE; /* several: their noise is not told apart */
    parameter = updated_by(program, node_at(program, reader)->results[0]);
    if (parameter == NO_VALUE) return NO_VALUE;
  }
  return parameter;
}

static const char *
reason(const Readers *readers)
{
  return readers->are_bounded ? "its readers are linear in it but for a normalization's, whose bias is at most "
                                "|gamma| rstd Var / n of the incoming gradient"
                              : "every backward reader is linear in it, and its rounding is independent and unbiased";
}

static void
quantize_value(Program *program, const Options *options, ValueId value, const Readers *readers, uint32_t position, NodeId like,
               Insertions *insertions)
{
  ValueId stash;
  NodeId node = make_unplaced(program, PHASE_FORWARD, "actnn", "QuantizeOnSave", like, &value, 1, &stash);
  int64_t elements = 0;
  infer_node(program, node);
  shape_elements(&value_at(program, value)->shape, &elements);
  bool is_adaptive = options->level >= 3 && readers->is_weight_gradient && !readers->is_normalization;
  uint32_t save = add_save(program, (Save){.value = value, .stash = stash, .weight = (double)elements,
                                           .is_adaptive = is_adaptive, .why = reason(readers)});
  set_int(program, node, "save", save);
  insert_before(program, insertions, position, node);
  uint32_t count = program->order_count;
  for (uint32_t i = readers->first; i < count; i++) {
    const Node *reader = node_at(program, program->order[i]);
    bool reads = false;
    if (reader->phase != PHASE_BACKWARD && reader->phase != PHASE_UPDATE) continue;
    for (uint32_t k = 0; k < reader->operand_count; k++) reads |= reader->operands[k] == value;
    if (reads) restore_for_reader(program, i, value, save, insertions);
  }
}

bool
quantize(Program *program, const Options *options)
{
  Insertions insertions = {0};
  save_table(program);
  if (requested_bits(options) >= 32) return true;
  const bool *read = values_read_by_backward(program);
  /* In the order in which values are made, so that a program read back from its text gets the same saves. */
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    for (uint32_t k = 0; k < node_at(program, id)->result_count; k++) {
      ValueId value = node_at(program, id)->results[k];
      if (value == NO_VALUE || !is_saved_value(program, value, read)) continue;
      Readers readers = find_readers(program, value);
      if (is_worth_coding(program, value, options, &readers)) quantize_value(program, options, value, &readers, i + 1, id, &insertions);
    }
  }
  apply_insertions(program, &insertions);
  return !program->diagnostics->errors;
}
