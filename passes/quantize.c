/* quantize: inserts quantize-on-save and dequantize-on-backward.
 * needs: linearize-saves, layout, encode-exact.  keeps: forward's results exactly.  makes: for each forward value in which all of
 * its backward readers are linear, one actnn.QuantizeOnSave after its producer and one actnn.DequantizeOnBackward before each
 * reader; program->saves. A value with a reader for which there is no proof of unbiasedness stays exact. */
#include "passes.h"

#include <string.h>

PassFunction quantize;

/* Smaller values (statistics, biases) cost nothing to keep. */
enum { WORTH_CODING = 1024 };

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
    readers.is_weight_gradient |= !strcmp(node->operator_name, "ConvGradWeight")
                                  || !strcmp(node->operator_name, "ProductGradWeight");
  }
  return readers;
}

static bool
is_worth_coding(const Program *program, ValueId id, const Options *options, const Readers *readers)
{
  const Value *value = value_at(program, id);
  int64_t elements;
  if (value->type != ACTNN_F32 || value->shape.rank < 2 || !shape_elements(&value->shape, &elements)) return false;
  if (elements < WORTH_CODING || !readers->count || !readers->are_linear) return false;
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

/* Variance of a weight gradient per unit of (squared norm of a sample's incoming gradient) * (sum of its elements' code
 * variances): K / (groups * positions), from Var(dW) = sum_p |dy_p|^2 sum_k Var(x_{p+k}) (compression.md, section 1). */
static double
sensitivity_factor(const Node *reader, const Value *saved)
{
  double kernel = 1, positions = 1, groups = 1;
  const int64_t *extents;
  if (!strcmp(reader->operator_name, "ConvGradWeight")) {
    size_t rank = ints_attribute(reader, "kernel_shape", &extents);
    for (size_t i = 0; i < rank; i++) kernel *= (double)extents[i];
    for (int i = 2; i < saved->shape.rank; i++) positions *= (double)saved->shape.dim[i];
    groups = (double)int_attribute(reader, "group", 1);
  } else {
    for (int i = 1; i + 1 < saved->shape.rank; i++) positions *= (double)saved->shape.dim[i];
  }
  return kernel / (groups * positions);
}

static void
restore_for_reader(Program *program, uint32_t position, ValueId value, uint32_t save, Insertions *insertions)
{
  NodeId reader = program->order[position];
  const Save *entry = &program->saves->save[save];
  const char *name = node_at(program, reader)->operator_name;
  if (entry->is_adaptive && (!strcmp(name, "ConvGradWeight") || !strcmp(name, "ProductGradWeight"))) {
    ValueId first = operand_id(node_at(program, reader), 0), gradient = first, done;
    if (first == value) gradient = operand_id(node_at(program, reader), 1); /* a transposed convolution has them the other way round */
    NodeId measure = make_unplaced(program, PHASE_BACKWARD, "actnn", "MeasureSensitivity", reader, &gradient, 1, &done);
    set_result(program, measure, 0, NO_VALUE);
    set_int(program, measure, "save", save);
    set_float(program, measure, "factor",
              sensitivity_factor(node_at(program, reader), value_at(program, value)));
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
  uint32_t value_count = program->value_count;
  uint32_t *position = arena_array(program->arena, value_count + 1, sizeof *position);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->result_count; k++)
      if (node->results[k] != NO_VALUE) position[node->results[k]] = i + 1;
  }
  for (ValueId value = 0; value < value_count; value++) {
    if (!is_saved_value(program, value, read)) continue;
    Readers readers = find_readers(program, value);
    if (!is_worth_coding(program, value, options, &readers)) continue;
    quantize_value(program, options, value, &readers, position[value], value_at(program, value)->producer, &insertions);
  }
  apply_insertions(program, &insertions);
  return !program->diagnostics->errors;
}
