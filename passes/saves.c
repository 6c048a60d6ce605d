/* saves.c: what the passes that save values through codes share: the table, who reads a value, how it is restored. */
#include "passes.h"

#include "../runtime/codec_normal.h"
#include "../src/rewrite.h"

#include <string.h>

enum { WORTH_CODING = 1024, WORTH_CODING_A_SAMPLE = 128 };

bool
has_new_codes(const Options *options)
{
  return !strcmp(options->scheme, "actnnc");
}

bool
codes_derived_values(const Options *options)
{
  return has_new_codes(options) && requested_bits(options) < 32 && options->level != 1;
}

bool
is_dithered(const Options *options)
{
  return options->rounding ? !strcmp(options->rounding, "dither") : has_new_codes(options);
}

uint32_t
add_save(Program *program, Save save)
{
  if (!program->saves) program->saves = arena_allocate(program->arena, sizeof *program->saves);
  SaveTable *table = program->saves;
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

/* ---- sizes ---------------------------------------------------------------------------------------- */

double
save_cap(const Save *save)
{
  return save->spacing == ACTNN_NORMAL_LEVELS ? save->high : 0;
}

const char *
save_name(const Program *program, const Save *save)
{
  if (save->value == NO_VALUE) return node_at(program, value_at(program, save->stash)->producer)->name;
  const Value *value = value_at(program, save->value);
  return value->name ? value->name : node_at(program, value->producer)->name;
}

/* What lies as the save's value: itself, or what the coder makes it of. */
static const Value *
value_lying_alike(const Program *program, const Save *save)
{
  if (save->value != NO_VALUE) return value_at(program, save->value);
  return operand_value(program, node_at(program, value_at(program, save->stash)->producer), 0);
}

uint64_t
save_bytes_at(const Program *program, const Save *save, int choice)
{
  const Value *x = value_lying_alike(program, save);
  int levels = actnn_choice_levels(choice);
  if (!(save->choices >> choice & 1) || levels < actnn_least_levels(save->spacing, save->is_rectified, (float)save_cap(save))) return UINT64_MAX;
  return actnn_stash_bytes(x->shape.dim, x->shape.rank, x->layout, save->spacing, levels);
}

double
save_noise_at(const Save *save, int choice)
{
  int levels = actnn_choice_levels(choice);
  if (save->spacing == ACTNN_MASKED_LEVELS) levels--;
  if (save->spacing == ACTNN_NORMAL_LEVELS && save->is_rectified) levels -= actnn_codec_blocked_levels(levels);
  double steps = levels - 1;
  return steps > 0 ? 1 / (steps * steps) : 1;
}

PlannedLevels
save_levels(const Program *program, const Save *save)
{
  PlannedLevels planned = {0};
  uint64_t low = 0;
  for (int choice = 0; choice < ACTNN_LEVEL_CHOICES; choice++) {
    uint64_t bytes = save_bytes_at(program, save, choice);
    if (bytes == UINT64_MAX) continue;
    PlannedLevels here = {actnn_choice_levels(choice), save->weight * save_noise_at(save, choice)};
    if (low && bytes > save->bytes) { /* some samples have the one and some the other */
      double part = save->bytes > low ? (double)(save->bytes - low) / (double)(bytes - low) : 0;
      planned.levels += part * (here.levels - planned.levels);
      planned.variance += part * (here.variance - planned.variance);
      return planned;
    }
    planned = here;
    low = bytes;
  }
  return planned;
}

/* ---- readers -------------------------------------------------------------------------------------- */

/* A product of batches of matrices, as attention's, has a gradient of that kind that goes on to other layers. */
bool
is_weight_gradient(const Program *program, const Node *node)
{
  if (node->phase != PHASE_BACKWARD) return false;
  if (!strcmp(node->operator_name, "ConvGradWeight")) return true;
  return !strcmp(node->operator_name, "ProductGradWeight") && result_value(program, node, 0)->shape.rank <= 2;
}

ReaderIndex
look_at_readers(const Program *program)
{
  ReaderIndex reading = {.list = list_readers(program), .value_count = program->value_count};
  for (uint32_t i = 0; i < program->order_count; i++)
    reading.weight_gradients += is_weight_gradient(program, node_at(program, program->order[i]));
  return reading;
}

static bool
reads(const Node *node, ValueId value)
{
  for (uint32_t k = 0; k < node->operand_count; k++)
    if (node->operands[k] == value) return true;
  return false;
}

/* Position of the reader of `value` at or after *at of the list, which then points behind it: each node once, and only what still reads it.
 * UINT32_MAX: no more. The first call's *at is 0. */
static uint32_t
next_reader(const Program *program, const ReaderIndex *reading, ValueId value, uint32_t *at)
{
  if (value >= reading->value_count) return UINT32_MAX; /* newer: nothing placed reads it */
  const uint32_t *first = reading->list.first, *reader = reading->list.reader;
  for (uint32_t r = *at ? *at : first[value]; r < first[value + 1]; r++) {
    if (r > first[value] && reader[r] == reader[r - 1]) continue;
    *at = r + 1;
    if (reads(node_at(program, program->order[reader[r]]), value)) return reader[r];
  }
  *at = first[value + 1];
  return UINT32_MAX;
}

/* The one node of backward or update that reads a value; NO_NODE when there are none or several. */
static NodeId
only_reader(const Program *program, const ReaderIndex *reading, ValueId value)
{
  NodeId found = NO_NODE;
  for (uint32_t at = 0, position; (position = next_reader(program, reading, value, &at)) != UINT32_MAX;) {
    const Node *node = node_at(program, program->order[position]);
    if (!runs_after_forward(node) || !strcmp(node->operator_name, "MeasureSensitivity")) continue;
    if (found != NO_NODE) return NO_NODE;
    found = program->order[position];
  }
  return found;
}

/* The same, if it is a weight's gradient. */
static NodeId
only_weight_gradient(const Program *program, const ReaderIndex *reading, ValueId value)
{
  NodeId reader = only_reader(program, reading, value);
  return reader != NO_NODE && is_weight_gradient(program, node_at(program, reader)) ? reader : NO_NODE;
}

/* scale * x (+ b), x a saved value and scale and b a normalization's parameters, in front of a weight's gradient: what
 * save-normalized-rows rebuilds a normalization's result by. */
static bool
is_rebuilding(const Program *program, const Node *node, ValueId x)
{
  bool is_affine = !strcmp(node->operator_name, "Affine"), is_scaled = !strcmp(node->operator_name, "Mul");
  const Value *scale = operand_value(program, node, 1);
  return (is_affine || is_scaled) && operand_id(node, 0) == x && operand_id(node, 1) != x && scale->kind == VALUE_PARAMETER
         && (!is_affine || operand_value(program, node, 2)->kind == VALUE_PARAMETER);
}

bool
is_large_enough(const Program *program, ValueId id)
{
  const Value *value = value_at(program, id);
  int64_t elements;
  return value->type == ACTNN_F32 && value->shape.rank >= 2 && shape_elements(&value->shape, &elements)
         && elements >= WORTH_CODING && elements / value->shape.dim[0] >= WORTH_CODING_A_SAMPLE;
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

/* Samples of a step, where a value's first axis holds positions of samples. */
static double
samples_of(const Program *program, const Value *value)
{
  const Value *input = program->input_count ? value_at(program, program->inputs[0]) : value;
  bool holds_positions = input->shape.rank > 0 && input->shape.dim[0] > 0 && input->shape.dim[0] < value->shape.dim[0];
  return (double)(holds_positions ? input->shape.dim[0] : value->shape.dim[0]);
}

/* What a reader does with a value's noise, in the terms of sensitivity_factor. A normalization's scale has the gradient sum of
 * dy * x, one product an element; what goes on through it is in proportion to the squared correlation of dy and x (compression.md,
 * section 5), taken for a sixteenth: near the loss it is more, elsewhere less. What the other readers do goes on into every layer
 * below, where white noise weighs about as much as the features of a position, in each weight's gradient. There are fewer layers below
 * a lower one, but gradients are larger there: half of all for each value came out best. Half of that again is what was measured for a
 * slope and for a loss's probabilities on a trained decoder, by what its optimizer, Adam, makes of it; a little less for operands of
 * attention's products. */
static double
reader_factor(const Program *program, const ReaderIndex *reading, const Node *reader, const Value *saved)
{
  bool is_bounded = false;
  double elements = 1, samples = samples_of(program, saved);
  for (int i = 0; i < saved->shape.rank; i++) elements *= (double)saved->shape.dim[i];
  if (is_weight_gradient(program, reader)) return sensitivity_factor(program, reader, saved);
  for (uint32_t k = 0; k < reader->operand_count; k++)
    if (operand_value(program, reader, k) == saved) is_linear_in(reader->operator, k, &is_bounded);
  if (elements <= 0) return 0;
  int last = saved->shape.rank - 1, axis = saved->layout == ACTNN_BLOCKED ? 1 : last;
  bool is_product = !strncmp(reader->operator_name, "Product", 7) || !strcmp(reader->operator_name, "AttentionGrad");
  if (is_product && last > 0 && saved->shape.dim[last - 1] < saved->shape.dim[last]) axis = last - 1; /* keys may be transposed */
  double features = last < 0 ? 1 : (double)saved->shape.dim[axis], layers = (1 + reading->weight_gradients) / 2;
  if (is_bounded) return samples / elements * (1 + features * layers / 16);
  return samples / elements * features * layers * (is_product ? 0.4 : 0.5);
}

/* What really reads a value that is only unpacked for it. */
static const Node *
behind_unpacking(const Program *program, const ReaderIndex *reading, const Node *node, const Value **value)
{
  NodeId reader = strcmp(node->operator_name, "UnpackTriangle") ? NO_NODE : only_reader(program, reading, node->results[0]);
  if (reader == NO_NODE) return node;
  *value = value_at(program, node->results[0]);
  return node_at(program, reader);
}

Readers
find_readers(const Program *program, const ReaderIndex *reading, ValueId value)
{
  Readers readers = {.are_linear = true};
  for (uint32_t at = 0, position; (position = next_reader(program, reading, value, &at)) != UINT32_MAX;) {
    const Node *node = node_at(program, program->order[position]);
    if (!runs_after_forward(node)) continue;
    uint32_t slots = 0;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      bool is_bounded = false;
      if (node->operands[k] != value) continue;
      readers.are_linear &= is_linear_in(node->operator, k, &is_bounded) && slots++ == 0 && may_read_codes(node);
      readers.are_bounded |= is_bounded;
      readers.is_normalization |= is_bounded;
    }
    if (!slots) continue;
    readers.is_for_rows |= !strcmp(node->operator_name, "NormalizedRowsGrad") && operand_id(node, 1) == value;
    readers.count++;
    readers.is_weight_gradient |= is_weight_gradient(program, node);
    NodeId only_rebuilt = is_rebuilding(program, node, value) ? only_weight_gradient(program, reading, node->results[0]) : NO_NODE;
    readers.is_weight_gradient |= only_rebuilt != NO_NODE;
    readers.flows_on |= only_rebuilt == NO_NODE && !is_weight_gradient(program, node);
    if (only_rebuilt != NO_NODE) readers.factor += sensitivity_factor(program, node_at(program, only_rebuilt), value_at(program, value));
    else {
      const Value *read = value_at(program, value);
      const Node *reader = behind_unpacking(program, reading, node, &read);
      readers.factor += reader_factor(program, reading, reader, read);
    }
  }
  return readers;
}

void
set_rectifier(Program *program, NodeId node, const Save *save)
{
  set_int(program, node, "rectified", save->is_rectified);
  if (save_cap(save) > 0) set_float(program, node, "cap", save_cap(save));
}

/* ---- restoring ------------------------------------------------------------------------------------ */

/* What a restore reads beside the codes: of a normalized value, the scale and the bias that it was saved with. */
static NodeId
make_restore(Program *program, NodeId reader, uint32_t save, ValueId *restored)
{
  const Save *entry = &program->saves->save[save];
  bool is_normal = entry->spacing == ACTNN_NORMAL_LEVELS;
  ValueId operands[3] = {entry->stash};
  if (is_normal) {
    const Node *writer = node_at(program, value_at(program, entry->stash)->producer);
    operands[1] = operand_id(writer, 3);
    operands[2] = operand_id(writer, 4);
  }
  NodeId node = make_unplaced(program, PHASE_BACKWARD, "actnn", is_normal ? "DequantizeNormal" : "DequantizeOnBackward", reader,
                              operands, is_normal ? 3 : 1, restored);
  set_int(program, node, "save", save);
  if (is_normal) set_rectifier(program, node, entry);
  return node;
}

/* Measures what a weight's gradient, the reader, makes of the noise of an adaptive save. read: the operand by which it reads the
 * value, restored: what is restored for it. scale: of each feature, that the value was multiplied by after decoding; NO_VALUE: none. */
static NodeId
make_measure(Program *program, NodeId reader, uint32_t save, ValueId read, ValueId restored, ValueId scale)
{
  static const char *const geometry[] = {"kernel_shape", "strides", "dilations", "pads"};
  const Node node = *node_at(program, reader);
  bool is_swapped = operand_id(&node, 0) == read; /* a transposed convolution has them the other way round */
  ValueId operands[] = {operand_id(&node, is_swapped ? 1 : 0), restored, scale}, done;
  NodeId measure = make_unplaced(program, PHASE_BACKWARD, "actnn", "MeasureSensitivity", reader, operands, scale == NO_VALUE ? 2 : 3, &done);
  set_result(program, measure, 0, NO_VALUE);
  set_int(program, measure, "save", save);
  set_int(program, measure, "swapped", is_swapped);
  for (size_t i = 0; i < sizeof geometry / sizeof *geometry; i++) {
    const int64_t *ints;
    size_t count = ints_attribute(&node, geometry[i], &ints);
    set_ints(program, measure, geometry[i], ints, count);
  }
  set_int(program, measure, "group", int_attribute(&node, "group", 1));
  return measure;
}

/* The node that rebuilds a normalization's result decodes by itself. */
static void
restore_by_reader(Program *program, const ReaderIndex *reading, uint32_t position, uint32_t save, Insertions *insertions)
{
  NodeId id = program->order[position], reader = only_weight_gradient(program, reading, node_at(program, id)->results[0]);
  const Save *entry = &program->saves->save[save];
  Node *node = node_at(program, id);
  node->domain = "actnn";
  node->operator_name = "DequantizeAffine";
  node->operator = find_operator("actnn", node->operator_name);
  node->operands[0] = entry->stash;
  set_int(program, id, "save", save);
  if (entry->adaptation != ACTNN_ADAPTS_BY_READERS || reader == NO_NODE) return;
  ValueId rebuilt = result_id(node_at(program, id), 0), scale = operand_id(node_at(program, id), 1);
  insert_before(program, insertions, position + 1, make_measure(program, reader, save, rebuilt, rebuilt, scale));
}

static bool
lies_alike(const Value *one, const Value *other)
{
  return one->layout == other->layout && shape_equal(&one->shape, &other->shape);
}

/* The node at `position` multiplies something by the value and does so as it decodes: nobody else reads what is decoded. False: it does
 * anything else. */
static bool
multiply_by_reader(Program *program, NodeId id, ValueId value, uint32_t save)
{
  const Node *node = node_at(program, id);
  if (strcmp(node->operator_name, "Mul") || node->operand_count != 2) return false;
  ValueId other = operand_id(node, operand_id(node, 0) == value), operands[] = {other, program->saves->save[save].stash};
  const Value *saved = value_at(program, value);
  if (other == value || !lies_alike(value_at(program, other), saved) || !lies_alike(result_value(program, node, 0), saved)) return false;
  become(program, id, "actnn", "MultiplyCoded", operands, 2);
  set_int(program, id, "save", save);
  return true;
}

/* For the backward or update node at `position`. */
static void
restore_for_reader(Program *program, const ReaderIndex *reading, uint32_t position, ValueId value, uint32_t save, Insertions *insertions)
{
  NodeId reader = program->order[position];
  const Save *entry = &program->saves->save[save];
  bool is_normal = entry->spacing == ACTNN_NORMAL_LEVELS;
  if (!is_normal && is_rebuilding(program, node_at(program, reader), value)) {
    restore_by_reader(program, reading, position, save, insertions);
    return;
  }
  if (!is_normal && multiply_by_reader(program, reader, value, save)) return;
  ValueId restored;
  NodeId restore = make_restore(program, reader, save, &restored);
  infer_node(program, restore);
  value_at(program, restored)->layout = value_at(program, value)->layout;
  insert_before(program, insertions, position, restore);
  if (entry->adaptation == ACTNN_ADAPTS_BY_READERS && is_weight_gradient(program, node_at(program, reader)))
    insert_before(program, insertions, position, make_measure(program, reader, save, value, restored, NO_VALUE));
  for (uint32_t k = 0; k < node_at(program, reader)->operand_count; k++)
    if (operand_id(node_at(program, reader), k) == value) set_operand(program, reader, k, restored);
}

void
restore_for_readers(Program *program, const ReaderIndex *reading, ValueId value, uint32_t save, Insertions *insertions)
{
  for (uint32_t at = 0, position; (position = next_reader(program, reading, value, &at)) != UINT32_MAX;)
    if (may_read_codes(node_at(program, program->order[position])))
      restore_for_reader(program, reading, position, value, save, insertions);
}

/* The parameter that a weight gradient updates, through a sum over broadcast axes; NO_VALUE when it goes elsewhere too. */
static ValueId
updated_by(const Program *program, const ReaderIndex *reading, ValueId gradient)
{
  NodeId reader = only_reader(program, reading, gradient);
  if (reader != NO_NODE && !strcmp(node_at(program, reader)->operator_name, "SumTo")) {
    gradient = node_at(program, reader)->results[0];
    reader = only_reader(program, reading, gradient);
  }
  if (reader == NO_NODE) return NO_VALUE;
  const Node *node = node_at(program, reader);
  return (node->operator->flags & UPDATE) && node->operand_count > 1 && node->operands[1] == gradient ? node->operands[0] : NO_VALUE;
}

static bool
is_restore_of_value(const Node *node)
{
  if (!(node->operator->flags & RESTORES)) return false;
  return !strcmp(node->operator_name, "DequantizeOnBackward") || !strcmp(node->operator_name, "DequantizeNormal")
         || !strcmp(node->operator_name, "DequantizeAffine");
}

ValueId *
save_parameters(const Program *program)
{
  const ReaderIndex reading = look_at_readers(program);
  uint32_t count = program->saves ? program->saves->count : 0;
  ValueId *parameter = arena_array(program->arena, count + 1, sizeof *parameter);
  bool *is_settled = arena_array(program->arena, count + 1, sizeof *is_settled);
  for (uint32_t i = 0; i < count; i++) parameter[i] = NO_VALUE;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    int64_t save = is_restore_of_value(node) ? int_attribute(node, "save", -1) : -1;
    NodeId reader = save >= 0 && save < count && !is_settled[save] ? only_weight_gradient(program, &reading, node->results[0]) : NO_NODE;
    if (reader == NO_NODE) continue;
    is_settled[save] = parameter[save] != NO_VALUE; /* several: their noise is not told apart */
    parameter[save] = is_settled[save] ? NO_VALUE : updated_by(program, &reading, node_at(program, reader)->results[0]);
    is_settled[save] |= parameter[save] == NO_VALUE;
  }
  return parameter;
}
