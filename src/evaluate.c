/* evaluate.c: runs operators at compile time, in double precision.
 *
 * The same loops that define what an operator computes (operators/NAME.c) fold constants, check gradients
 * and are the oracle of every kernel. Here are only the conversions between a program's bytes and the
 * evaluator's tensors, where every floating number is a double and every wider integer an int64_t. */
#include "operators.h"

#include <math.h>
#include <string.h>

static bool
is_floating_type(actnn_type type)
{
  return type == ACTNN_F32 || type == ACTNN_F64 || type == ACTNN_F16 || type == ACTNN_BF16;
}

/* The evaluator's type for a value of `type`. */
static actnn_type
evaluator_type(actnn_type type)
{
  return is_floating_type(type) ? ACTNN_F32 : type == ACTNN_BOOL || type == ACTNN_U8 ? type : ACTNN_I64;
}

static size_t
evaluator_bytes(actnn_type type)
{
  return type == ACTNN_BOOL || type == ACTNN_U8 ? 1 : 8;
}

/* Integers keep the range of their type: results wrap as they do in memory. */
static int64_t
wrap_integer(actnn_type type, int64_t value)
{
  uint64_t bits = (uint64_t)value;
  switch (type) {
  case ACTNN_I8: return (int64_t)((bits & 0xFF) ^ 0x80) - 0x80;
  case ACTNN_U16: return (int64_t)(bits & 0xFFFF);
  case ACTNN_I16: return (int64_t)((bits & 0xFFFF) ^ 0x8000) - 0x8000;
  case ACTNN_I32: return (int64_t)((bits & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000LL;
  case ACTNN_U32: return (int64_t)(bits & 0xFFFFFFFF);
  default: return value;
  }
}

/* ---- bytes to tensors and back ------------------------------------------------------------------ */

bool
constant_tensor(const Program *program, ValueId id, Arena *arena, Tensor *tensor)
{
  *tensor = (Tensor){.shape = {.rank = -1}};
  if (id == NO_VALUE) return false;
  const Value *value = value_at(program, id);
  size_t size = type_bytes(value->type);
  int64_t count;
  if (!size || !shape_elements(&value->shape, &count) || value->data_bytes / size < (size_t)count) return false;
  if (!value->data && count) return false;
  tensor->type = evaluator_type(value->type);
  tensor->shape = value->shape;
  tensor->data = arena_array(arena, count ? (size_t)count : 1, evaluator_bytes(tensor->type));
  const char *bytes = value->data;
  if (tensor->type == ACTNN_BOOL || tensor->type == ACTNN_U8 || value->type == ACTNN_I64 ||
      value->type == ACTNN_U64 || value->type == ACTNN_F64) {
    if (count) memcpy(tensor->data, bytes, (size_t)count * size);
    return true;
  }
  for (int64_t i = 0; i < count; i++) {
    double number = element_as_real(value->type, bytes + (size_t)i * size);
    if (tensor->type == ACTNN_F32) ((double *)tensor->data)[i] = number;
    else ((int64_t *)tensor->data)[i] = (int64_t)number;
  }
  return true;
}

/* Round to nearest even at `fraction` bits of a number with exponents down to `lowest`; overflow becomes
 * infinite. */
static double
round_to_precision(double number, int fraction, int lowest, double largest)
{
  int exponent;
  if (number == 0 || !isfinite(number)) return number;
  frexp(number, &exponent);
  if (exponent - 1 < lowest) exponent = lowest + 1;
  double unit = ldexp(1, exponent - 1 - fraction), rounded = nearbyint(number / unit) * unit;
  return fabs(rounded) > largest ? copysign((double)INFINITY, number) : rounded;
}

static uint16_t
half_from_real(double number)
{
  uint16_t sign = signbit(number) ? 0x8000 : 0;
  if (number != number) return sign | 0x7E00;
  double magnitude = fabs(round_to_precision(number, 10, -14, 65504));
  if (isinf(magnitude)) return sign | 0x7C00;
  int exponent;
  frexp(magnitude, &exponent);
  if (magnitude < ldexp(1, -14)) return sign | (uint16_t)ldexp(magnitude, 24);
  return sign | (uint16_t)((exponent + 14) << 10) | (uint16_t)(ldexp(magnitude, 11 - exponent) - 1024);
}

static uint16_t
bfloat_from_real(double number)
{
  float single = (float)round_to_precision(number, 7, -126, 3.3895313892515355e38);
  uint32_t bits;
  memcpy(&bits, &single, sizeof bits);
  return (uint16_t)(bits >> 16);
}

static void
store_floating(actnn_type type, char *to, double number)
{
  float single = (float)number;
  uint16_t bits;
  switch (type) {
  case ACTNN_F64: memcpy(to, &number, sizeof number); break;
  case ACTNN_F16:
    bits = half_from_real(number);
    memcpy(to, &bits, sizeof bits);
    break;
  case ACTNN_BF16:
    bits = bfloat_from_real(number);
    memcpy(to, &bits, sizeof bits);
    break;
  default: memcpy(to, &single, sizeof single);
  }
}

ValueId
add_tensor_constant(Program *program, const char *name, actnn_type type, const Tensor *tensor)
{
  int64_t count = 0;
  shape_elements(&tensor->shape, &count);
  size_t size = type_bytes(type);
  ValueId id = add_value(program, name, VALUE_CONSTANT, type, tensor->shape);
  char *bytes = arena_array(program->arena, count ? (size_t)count : 1, size);
  for (int64_t i = 0; i < count; i++) {
    char *to = bytes + (size_t)i * size;
    if (is_floating_type(type)) store_floating(type, to, ((const double *)tensor->data)[i]);
    else if (evaluator_bytes(tensor->type) == 1) *to = ((const char *)tensor->data)[i];
    else memcpy(to, &((const int64_t *)tensor->data)[i], size); /* little-endian: the low bytes come first */
  }
  value_at(program, id)->data = bytes;
  value_at(program, id)->data_bytes = (size_t)count * size;
  return id;
}

/* ---- evaluating --------------------------------------------------------------------------------- */

bool
reads_only_shapes(const Operator *operator)
{
  static const char *const names[] = {"Shape", "Size", "EyeLike"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(operator->name, names[i])) return true;
  return false;
}

static actnn_view
view_of(const Tensor *tensor)
{
  int64_t count = 0;
  shape_elements(&tensor->shape, &count);
  return (actnn_view){.data = tensor->data,
                      .type = tensor->type,
                      .layout = ACTNN_PLAIN,
                      .rank = tensor->shape.rank,
                      .dim = tensor->shape.dim,
                      .bytes = (uint64_t)count * evaluator_bytes(tensor->type)};
}

/* The view of one operand; constants are read from the program when no tensor is given. */
static bool
operand_view(Program *program, NodeId id, uint32_t index, Arena *arena, const Tensor *given, actnn_view *view)
{
  const Node *node = node_at(program, id);
  const Value *value = operand_value(program, node, index);
  *view = (actnn_view){.data = NULL};
  if (!value) return true;
  const Slot *slot = operand_slot(node->operator, index);
  if (!slot) return report_node(program, id, NULL, "it has more operands than are known");
  if (given && !slot->is_constant) {
    *view = view_of(given);
    return true;
  }
  Tensor *made = arena_allocate(arena, sizeof *made);
  *made = (Tensor){.type = evaluator_type(value->type), .shape = value->shape};
  if (slot->is_constant || reads_only_shapes(node->operator)) {
    if (!shape_is_static(&made->shape))
      return report_node(program, id, NULL, "the shape of '%s' is not known", slot->name);
  } else if (!constant_tensor(program, operand_id(node, index), arena, made)) {
    return report_node(program, id, NULL, "operand '%s' is not known at compile time", slot->name);
  }
  *view = view_of(made);
  return true;
}

/* Room for the results; their shapes must be known. */
static bool
result_views(Program *program, NodeId id, Arena *arena, Tensor *results, actnn_view *views)
{
  const Node *node = node_at(program, id);
  for (uint32_t i = 0; i < node->result_count; i++) {
    const Value *value = result_value(program, node, i);
    int64_t count;
    results[i] = (Tensor){.shape = {.rank = -1}};
    views[i] = (actnn_view){.data = NULL};
    if (!value) continue;
    if (!type_bytes(value->type) || !shape_elements(&value->shape, &count))
      return report_node(program, id, NULL, "the type or shape of result %u is not known", i);
    /* A stash holds what it stands for: codes are a matter of the runtime. */
    results[i] = (Tensor){.type = value->kind == VALUE_STASH ? ACTNN_F32 : evaluator_type(value->type), .shape = value->shape};
    results[i].data = arena_array(arena, count ? (size_t)count : 1, evaluator_bytes(results[i].type));
    views[i] = view_of(&results[i]);
  }
  return true;
}

static void
wrap_results(const Program *program, const Node *node, Tensor *results)
{
  for (uint32_t i = 0; i < node->result_count; i++) {
    const Value *value = result_value(program, node, i);
    int64_t count = 0;
    if (!value || results[i].type != ACTNN_I64 || value->type == ACTNN_I64) continue;
    shape_elements(&value->shape, &count);
    int64_t *data = results[i].data;
    for (int64_t k = 0; k < count; k++) data[k] = wrap_integer(value->type, data[k]);
  }
}

bool
evaluate_node(Program *program, NodeId id, Arena *arena, const Tensor *const *operands, Tensor *results)
{
  const Node *node = node_at(program, id);
  const Operator *operator= node->operator;
  if (!operator|| !operator->evaluate) return report_node(program, id, NULL, "this operator cannot be evaluated");
  actnn_view *input = arena_array(arena, (size_t)node->operand_count + 1, sizeof *input);
  actnn_view *output = arena_array(arena, (size_t)node->result_count + 1, sizeof *output);
  for (uint32_t i = 0; i < node->operand_count; i++)
    if (!operand_view(program, id, i, arena, operands ? operands[i] : NULL, &input[i])) return false;
  if (!result_views(program, id, arena, results, output)) return false;
  actnn_attribute *attributes;
  size_t attribute_count = call_attributes(program, node, &attributes);
  actnn_call call = {.output_count = node->result_count,
                     .input_count = node->operand_count,
                     .attribute_count = attribute_count,
                     .output = output,
                     .input = input,
                     .attribute = attributes};
  if (operator->evaluate(&call))
    return report_node(program, id, NULL,
                       "its operands hold a value that is not allowed, such as an index out of range");
  wrap_results(program, node, results);
  return true;
}

bool
evaluate_program(Program *program, unsigned phases, Arena *arena, Tensor **tensors)
{
  for (uint32_t position = 0; position < program->order_count; position++) {
    NodeId id = program->order[position];
    const Node *node = node_at(program, id);
    if (!(phases & 1u << node->phase)) continue;
    const Tensor **operands = arena_array(arena, (size_t)node->operand_count + 1, sizeof *operands);
    Tensor *results = arena_array(arena, (size_t)node->result_count + 1, sizeof *results);
    for (uint32_t i = 0; i < node->operand_count; i++)
      operands[i] = node->operands[i] == NO_VALUE ? NULL : tensors[node->operands[i]];
    if (!evaluate_node(program, id, arena, operands, results)) return false;
    for (uint32_t i = 0; i < node->result_count; i++)
      if (node->results[i] != NO_VALUE) tensors[node->results[i]] = &results[i];
  }
  return true;
}
