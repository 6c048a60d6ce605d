/* test_misuse.c: the tries of every row of the operator table, each with one thing changed: an operand's rank, extents or type, a
 * constant that is other, longer or not known, an attribute out of its range. A shape rule refuses with a message, or what it makes
 * of it is a program that can be evaluated: extents that are no less than zero, and as many elements as they say.
 *
 * usage: test_misuse [NAME]: one operator only. */
#include "../runtime/tap.h"
#include "tries.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ELEMENTS = 1 << 14, MOST_OPERANDS = 24 };

typedef struct Totals {
  unsigned refused, accepted, evaluated, silent, wrong;
} Totals;

/* ---- what is changed ------------------------------------------------------------------------------ */

static const int64_t ints[] = {0, 1, -1, 2, 3, 7, -2, -7, 1000, (int64_t)1 << 40, INT64_MAX, INT64_MIN};
static const double reals[] = {0, -1, 0.5, 3, 1e12, -1e300, (double)NAN, (double)INFINITY};
static const char *const words[] = {"",       "nonsense",     "SAME_UPPER",   "SAME_LOWER",     "VALID",          "reflect",     "edge",
                                    "wrap",   "linear",       "cubic",        "nearest",        "sum",            "none",        "mean",
                                    "add",    "mul",          "max",          "min",            "asymmetric",     "half_pixel",  "align_corners",
                                    "floor",  "ceil",         "CRD",          "DCR",            "tanh",           "not_larger",  "not_smaller",
                                    "LEFT",   "RIGHT",        "constant",     "tf_crop_and_resize", "pytorch_half_pixel", "half_pixel_symmetric",
                                    "tf_half_pixel_for_nn", "round_prefer_ceil", "bilinear"};
enum {
  INTS = sizeof ints / sizeof *ints,
  REALS = sizeof reals / sizeof *reals,
  WORDS = sizeof words / sizeof *words,
  SHAPES = 14,
  TYPES = 4,
  LISTS = 9,
  OPERAND_CHANGES = SHAPES + TYPES + 1
};

static Shape
other_shape(Shape shape, int which)
{
  int last = shape.rank - 1;
  switch (which) {
  case 0: return (Shape){.rank = 0};
  case 1: return (Shape){.rank = 1, .dim = {1}};
  case 2: return (Shape){.rank = 2, .dim = {2, 3}};
  case 3: return (Shape){.rank = 3, .dim = {2, 3, 4}};
  case 4: return (Shape){.rank = 4, .dim = {2, 4, 6, 6}};
  case 5: return (Shape){.rank = 5, .dim = {1, 2, 3, 4, 5}};
  case 6: return (Shape){.rank = -1};
  case 7: return (Shape){.rank = ACTNN_MAX_RANK, .dim = {1, 1, 1, 1, 1, 1, 2, 2}};
  case 8: return (Shape){.rank = 1, .dim = {0}};
  default: break;
  }
  if (last < 0) return shape;
  if (which == 9) shape.dim[last]++;
  if (which == 10) shape.dim[0]++;
  if (which == 11) shape.dim[0] = 0;
  if (which == 12) shape.dim[last] = -1;
  if (which == 13) shape.dim[last > 0 ? 1 : 0] += 2;
  return shape;
}

static void
change_operand(Program *program, NodeId node, uint32_t index, int which)
{
  static const actnn_type types[TYPES] = {ACTNN_F32, ACTNN_I64, ACTNN_BOOL, ACTNN_U8};
  Value *value = value_at(program, node_at(program, node)->operands[index]);
  if (which < SHAPES) value->shape = other_shape(value->shape, which);
  else if (which < SHAPES + TYPES) value->type = types[which - SHAPES];
  else set_operand(program, node, index, NO_VALUE);
}

/* Lists of integers that are other in length or content. */
static size_t
other_list(int which, size_t length, int64_t *list)
{
  size_t count = which == 1 ? length + 1 : which == 2 && length ? length - 1 : which == 3 ? 0 : length;
  for (size_t i = 0; i < count; i++)
    list[i] = which == 0 ? 0 : which == 4 ? -1 : which == 5 ? INT64_MAX : which == 6 ? 2 : which == 7 ? (int64_t)i - 1 : which == 8 ? INT64_MIN : 1;
  return count;
}

static void
change_constant(Program *program, NodeId node, uint32_t index, int which)
{
  const Value *value = value_at(program, node_at(program, node)->operands[index]);
  int64_t list[64], length = 0;
  double numbers[64];
  if (!shape_elements(&value->shape, &length) || length > 60) length = 1;
  if (which == LISTS + 1) value_at(program, node_at(program, node)->operands[index])->kind = VALUE_INPUT; /* no longer known */
  if (which >= LISTS) return;
  bool is_real = value->type == ACTNN_F32 || value->type == ACTNN_F64;
  int64_t count = (int64_t)other_list(which, (size_t)length, list);
  for (int64_t i = 0; i < count; i++) numbers[i] = which == 7 ? (double)NAN : which == 8 ? (double)INFINITY : (double)list[i] * 1.5;
  set_operand(program, node, index, is_real ? add_constant(program, NULL, ACTNN_F64, shape_of(1, &count), numbers, (size_t)count * sizeof *numbers)
                                            : add_int64_constant(program, list, (size_t)count));
}

/* Choices of an attribute's slot; `which` beyond the last is no change. */
static bool
change_attribute(Program *program, NodeId node, const AttributeSlot *slot, int which)
{
  const int64_t *given;
  int64_t list[64];
  size_t length = slot->kind == ATTRIBUTE_INTS ? ints_attribute(node_at(program, node), slot->name, &given) : 0;
  if (slot->kind == ATTRIBUTE_INT && which < INTS) set_int(program, node, slot->name, ints[which]);
  else if (slot->kind == ATTRIBUTE_FLOAT && which < REALS) set_float(program, node, slot->name, reals[which]);
  else if (slot->kind == ATTRIBUTE_STRING && which < WORDS) set_string(program, node, slot->name, words[which]);
  else if (slot->kind == ATTRIBUTE_INTS && which < LISTS)
    set_ints(program, node, slot->name, list, other_list(which, length > 60 || !length ? 2 : length, list));
  else return false;
  return true;
}

/* ---- what comes of it ----------------------------------------------------------------------------- */

/* A tensor of small numbers for an operand. */
static Tensor *
make_operand(Arena *arena, const Value *value)
{
  Tensor *tensor = arena_allocate(arena, sizeof *tensor);
  uint64_t state = 5;
  int64_t count = 0;
  bool is_real = value->type == ACTNN_F32 || value->type == ACTNN_F64, is_byte = value->type == ACTNN_BOOL || value->type == ACTNN_U8;
  shape_elements(&value->shape, &count);
  *tensor = (Tensor){is_real ? ACTNN_F32 : is_byte ? value->type : ACTNN_I64, value->shape, arena_array(arena, (size_t)count + 1, sizeof(double))};
  for (int64_t i = 0; i < count; i++) {
    double number = next_draw(&state);
    if (is_real) ((double *)tensor->data)[i] = 2 * number - 1;
    else if (is_byte) ((uint8_t *)tensor->data)[i] = number < 0.5;
    else ((int64_t *)tensor->data)[i] = number < 0.5;
  }
  return tensor;
}

static bool
is_small(const Value *value)
{
  int64_t count;
  return value->shape.rank >= 0 && shape_elements(&value->shape, &count) && count <= MOST_ELEMENTS;
}

/* Evaluates what a rule has accepted, unless it is large; false when a result has other extents than it said. */
static bool
evaluate(Program *program, NodeId id, Totals *totals)
{
  Arena *arena = arena_create();
  const Node *node = node_at(program, id);
  const Tensor *operands[MOST_OPERANDS] = {NULL};
  Tensor *results = arena_array(arena, node->result_count + 1, sizeof *results);
  bool is_possible = node->operand_count <= MOST_OPERANDS && node->operator->evaluate && !(node->operator->flags &(SAVES | RESTORES));
  bool is_right = true;
  for (uint32_t i = 0; i < node->operand_count && is_possible; i++) {
    const Value *value = operand_value(program, node, i);
    is_possible = !value || is_small(value);
    if (is_possible && value && value->kind != VALUE_CONSTANT) operands[i] = make_operand(arena, value);
  }
  for (uint32_t i = 0; i < node->result_count && is_possible; i++)
    is_possible = node->results[i] == NO_VALUE || is_small(result_value(program, node, i));
  if (is_possible && evaluate_node(program, id, arena, operands, results)) {
    totals->evaluated++;
    for (uint32_t i = 0; i < node->result_count; i++)
      is_right &= node->results[i] == NO_VALUE || shape_equal(&results[i].shape, &result_value(program, node, i)->shape);
  }
  arena_destroy(arena);
  return is_right;
}

static void
judge(const Operator *operator, Try * made, Diagnostics *diagnostics, Totals *totals)
{
  Program *program = made->program;
  const Node *node = node_at(program, made->node);
  for (uint32_t i = 0; i < node->result_count; i++)
    if (node->results[i] != NO_VALUE) result_value(program, node, i)->shape = (Shape){.rank = -1};
  diagnostics->errors = 0;
  if (!infer_node(program, made->node)) {
    totals->refused++;
    if (!diagnostics->errors) printf("# %s refuses without a message: %s\n", operator->name, made->text);
    totals->silent += !diagnostics->errors;
    return;
  }
  totals->accepted++;
  bool is_right = !diagnostics->errors && evaluate(program, made->node, totals);
  if (!is_right) printf("# %s: wrong extents: %s\n", operator->name, made->text);
  totals->wrong += !is_right;
}

/* ---- all changes ------------------------------------------------------------------------------------ */

/* Change number `change` of a try; false beyond the last. */
static bool
apply(Try *made, const Operator *operator, unsigned change)
{
  Program *program = made->program;
  for (uint32_t i = 0; i < node_at(program, made->node)->operand_count; i++) {
    ValueId id = node_at(program, made->node)->operands[i];
    if (id == NO_VALUE) continue;
    bool is_constant = value_at(program, id)->kind == VALUE_CONSTANT;
    unsigned choices = is_constant ? LISTS + 2 : OPERAND_CHANGES;
    if (change < choices) {
      if (is_constant) change_constant(program, made->node, i, (int)change);
      else change_operand(program, made->node, i, (int)change);
      return true;
    }
    change -= choices;
  }
  for (uint32_t i = 0; i < operator->attribute_count; i++) {
    unsigned choices = WORDS;
    if (change < choices) {
      change_attribute(program, made->node, &operator->attributes[i], (int)change);
      return true;
    }
    change -= choices;
  }
  return false;
}

static void
test_row(const Operator *operator, Diagnostics *diagnostics, Totals *totals)
{
  for (unsigned index = 0;; index++)
    for (unsigned change = 0;; change++) {
      Try made;
      int answer = make_try(operator, index, diagnostics, &made);
      if (answer == 0) return;
      bool is_changed = answer > 0 && apply(&made, operator, change);
      if (is_changed) judge(operator, &made, diagnostics, totals);
      program_destroy(made.program);
      if (!is_changed) break;
    }
}

int
main(int argc, char **argv)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  Totals totals = {0};
  diagnostics->quiet = true;
  for (size_t i = 0; i < operator_count(); i++) {
    if (getenv("SHOW")) printf("# %s\n", operator_at(i)->name), fflush(stdout);
    if (argc < 2 || !strcmp(operator_at(i)->name, argv[1])) test_row(operator_at(i), diagnostics, &totals);
  }
  arena_destroy(arena);
  printf("# %u refused, %u accepted, %u of them evaluated\n", totals.refused, totals.accepted, totals.evaluated);
  ok(totals.refused > 1000 && !totals.silent, "what is refused has a message");
  ok(totals.evaluated > 1000 && !totals.wrong, "what is accepted can be evaluated, and has the extents that the rule says");
  return tap_done();
}
