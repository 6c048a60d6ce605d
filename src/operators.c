/* operators.c: the operator table as data: entries of operators.def with their signatures parsed. */
#include "operators.h"
#include "arena.h"

#include <stdlib.h>
#include <string.h>

/* What the table refers to: evaluations and shape rules are named in entries, declared here. */
#define UNARY(NAME, attributes, expression, slope, range, tries) actnn_kernel evaluate_##NAME, evaluate_##NAME##Slope;
#define POINT(NAME, ...) actnn_kernel evaluate_##NAME;
#define OPERATOR(domain, NAME, signature, shape, evaluation, ...) \
  actnn_kernel evaluate_##evaluation; \
  ShapeRule infer_##shape;
#include "operators.def"

#define ONNX ""
#define ACTNN "actnn"
#define TRAINING "ai.onnx.preview.training"

/* Operands and attributes of elementwise entries, as text of a signature. */
#define X(a) #a
#define XY(a, b) #a " " #b
#define XYZ(a, b, c) #a " " #b " " #c
#define NO_ATTRIBUTES ""
#define REAL1(a, da) " ; " #a ":float=" #da
#define REAL2(a, da, b, db) " ; " #a ":float=" #da " " #b ":float=" #db
#define FLAG1(a, da) " ; " #a ":int=" #da
#define FLAG2(a, da, b, db) " ; " #a ":int=" #da " " #b ":int=" #db
#define CHOICE1(a, da) " ; " #a ":string=" #da
#define SAME infer_broadcast
#define BOOLEAN infer_broadcast_bool

#define WITHIN(low_, high_) .low = low_, .high = high_
#define UNBOUNDED .low = 0, .high = 0

#define UNARY(NAME, attributes, expression_, slope, range, tries_) \
  {.domain = ONNX, .name = #NAME, .signature = "x -> y" attributes, .gradient = "x = dy * " #NAME "Slope(x)", \
   .tries = tries_, .infer = infer_broadcast, .evaluate = evaluate_##NAME, .expression = #expression_, \
   .flags = POINTWISE | BLOCKED | IN_PLACE}, \
  {.domain = ACTNN, .name = #NAME "Slope", .signature = "x -> d" attributes, .tries = tries_, \
   .infer = infer_broadcast, .evaluate = evaluate_##NAME##Slope, .expression = #slope, .flags = POINTWISE | BLOCKED | IN_PLACE, range},
#define POINT(NAME, operands_, attributes_, result, expression_, gradient_, linear_, flags_, tries_) \
  {.domain = ONNX, .name = #NAME, .signature = operands_ " -> y" attributes_, .gradient = gradient_, .linear = linear_, \
   .tries = tries_, .infer = result, .evaluate = evaluate_##NAME, .expression = #expression_, \
   .flags = POINTWISE | BLOCKED | (flags_)},
#define OPERATOR(domain_, NAME, signature_, shape, evaluation, kernel, gradient_, linear_, flags_, tries_) \
  {.domain = domain_, .name = #NAME, .signature = signature_, .gradient = gradient_, .linear = linear_, \
   .tries = tries_, .infer = infer_##shape, .evaluate = evaluate_##evaluation, .flags = (flags_) | KERNEL_##kernel},
#define KERNEL_FAST 0
#define KERNEL_PLAIN 0
#define KERNEL_ABSENT FUNCTION

static Operator table[] = {
#include "operators.def"
};

enum { TABLE_COUNT = sizeof table / sizeof table[0] };

/* A cursor over the words of a signature. */
static size_t
next_word(const char **cursor, const char **word)
{
  while (**cursor == ' ') ++*cursor;
  *word = *cursor;
  while (**cursor && **cursor != ' ') ++*cursor;
  return (size_t)(*cursor - *word);
}

static Slot
parse_slot(Arena *arena, const char *word, size_t length)
{
  Slot slot = {0};
  while (length && strchr("?#*", word[length - 1])) {
    char mark = word[--length];
    if (mark == '?') slot.is_optional = true;
    if (mark == '#') slot.is_constant = true;
    if (mark == '*') slot.is_variadic = true;
  }
  slot.name = arena_text(arena, word, length);
  return slot;
}

/* name:kind or name:kind=default */
static AttributeSlot
parse_attribute_slot(Arena *arena, const char *word, size_t length)
{
  AttributeSlot slot = {0};
  char *text = arena_text(arena, word, length), *kind = strchr(text, ':');
  if (!kind) abort();
  *kind++ = 0;
  char *value = strchr(kind, '=');
  if (value) *value++ = 0;
  slot.name = text;
  slot.has_default = value != NULL;
  slot.kind = !strcmp(kind, "int") ? ATTRIBUTE_INT
              : !strcmp(kind, "float") ? ATTRIBUTE_FLOAT
              : !strcmp(kind, "string") ? ATTRIBUTE_STRING
              : !strcmp(kind, "ints") ? ATTRIBUTE_INTS
              : !strcmp(kind, "floats") ? ATTRIBUTE_FLOATS
                                        : ATTRIBUTE_TENSOR;
  if (value) {
    slot.i = strtoll(value, NULL, 10);
    slot.f = strtod(value, NULL);
    slot.s = value;
  }
  return slot;
}

static void
parse_signature(Arena *arena, Operator *operator)
{
  const char *cursor = operator->signature, *word;
  Slot operands[16], results[8];
  AttributeSlot attributes[16];
  int part = 0;
  for (size_t length; (length = next_word(&cursor, &word)) != 0;) {
    if (length == 2 && !memcmp(word, "->", 2)) part = 1;
    else if (length == 1 && *word == ';') part = 2;
    else if (part == 0) operands[operator->operand_count++] = parse_slot(arena, word, length);
    else if (part == 1) results[operator->result_count++] = parse_slot(arena, word, length);
    else attributes[operator->attribute_count++] = parse_attribute_slot(arena, word, length);
  }
  size_t bytes = sizeof(Slot) * (operator->operand_count + operator->result_count)
                 + sizeof(AttributeSlot) * operator->attribute_count;
  char *memory = arena_allocate(arena, bytes + 1);
  operator->operands = (Slot *)(void *)memory;
  operator->results = operator->operands + operator->operand_count;
  operator->attributes = (AttributeSlot *)(void *)(operator->results + operator->result_count);
  memcpy(operator->operands, operands, sizeof(Slot) * operator->operand_count);
  memcpy(operator->results, results, sizeof(Slot) * operator->result_count);
  memcpy(operator->attributes, attributes, sizeof(AttributeSlot) * operator->attribute_count);
}

static int
compare_names(const void *a, const void *b)
{
  return strcmp(((const Operator *)a)->name, ((const Operator *)b)->name);
}

/* The table is constant once its signatures are parsed, which the first question does; their words live as long as it. */
static void
prepare_table(void)
{
  static Arena *arena;
  if (arena) return;
  arena = arena_create();
  for (size_t i = 0; i < TABLE_COUNT; i++) parse_signature(arena, &table[i]);
  qsort(table, TABLE_COUNT, sizeof table[0], compare_names);
}

size_t
operator_count(void)
{
  return TABLE_COUNT;
}

const Operator *
operator_at(size_t index)
{
  prepare_table();
  return &table[index];
}

/* An elementwise entry of ours (Positive, Select, ...) stands in the table under "": any of the two domains finds it. */
static bool
domain_matches(const Operator *operator, const char *domain)
{
  return !strcmp(operator->domain, domain) || ((operator->flags & POINTWISE) && !strcmp(domain, "actnn"));
}

const Operator *
find_operator(const char *domain, const char *name)
{
  prepare_table();
  Operator key = {.name = name};
  const Operator *found = bsearch(&key, table, TABLE_COUNT, sizeof table[0], compare_names);
  if (!found) return NULL;
  if (!strcmp(domain, "ai.onnx")) domain = "";
  while (found > table && !strcmp(found[-1].name, name)) found--;
  for (; found < table + TABLE_COUNT && !strcmp(found->name, name); found++)
    if (domain_matches(found, domain)) return found;
  return NULL;
}

const Slot *
operand_slot(const Operator *operator, uint32_t index)
{
  if (index < operator->operand_count) return &operator->operands[index];
  if (operator->operand_count && operator->operands[operator->operand_count - 1].is_variadic)
    return &operator->operands[operator->operand_count - 1];
  return NULL;
}

bool
is_linear_in(const Operator *operator, uint32_t operand_index, bool *is_bounded)
{
  const Slot *slot = operand_slot(operator, operand_index);
  const char *cursor = operator->linear, *word;
  *is_bounded = false;
  if (!slot || !cursor) return false;
  for (size_t length; (length = next_word(&cursor, &word)) != 0;) {
    bool bounded = *word == '~';
    if (length - bounded != strlen(slot->name) || memcmp(word + bounded, slot->name, length - bounded)) continue;
    *is_bounded = bounded;
    return true;
  }
  return false;
}

/* A compile-time constant operand as an attribute: integers as INTS, floats as REALS. */
static actnn_attribute
constant_attribute(const Program *program, ValueId operand)
{
  actnn_attribute attribute = {.kind = ACTNN_ABSENT};
  double real;
  if (operand == NO_VALUE) return attribute;
  if (constant_ints(program, operand, &attribute.ints, &attribute.count)) {
    attribute.kind = ACTNN_INTS;
    return attribute;
  }
  Tensor tensor;
  if (constant_tensor(program, operand, program->arena, &tensor) && tensor.type == ACTNN_F32) {
    int64_t count = 0;
    shape_elements(&tensor.shape, &count);
    attribute.kind = ACTNN_REALS;
    attribute.reals = tensor.data;
    attribute.count = (size_t)count;
  } else if (constant_real(program, operand, &real)) {
    attribute.kind = ACTNN_REAL;
    attribute.f = real;
  }
  return attribute;
}

static actnn_attribute
node_attribute(const Program *program, const Node *node, const AttributeSlot *slot)
{
  const Attribute *given = find_attribute(node, slot->name);
  actnn_attribute attribute = {.kind = ACTNN_ABSENT};
  if (!given && !slot->has_default) return attribute;
  switch (slot->kind) {
  case ATTRIBUTE_INT:
    attribute.kind = ACTNN_INT;
    attribute.i = given ? given->i : slot->i;
    break;
  case ATTRIBUTE_FLOAT:
    attribute.kind = ACTNN_REAL;
    attribute.f = given ? given->f : slot->f;
    break;
  case ATTRIBUTE_STRING:
    attribute.kind = ACTNN_TEXT;
    attribute.text = given ? given->s : slot->s;
    break;
  case ATTRIBUTE_INTS:
    if (!given) break;
    attribute.kind = ACTNN_INTS;
    attribute.count = given->count;
    attribute.ints = given->ints;
    break;
  case ATTRIBUTE_FLOATS:
    if (!given) break;
    attribute.kind = ACTNN_REALS;
    attribute.count = given->count;
    attribute.reals = given->floats;
    break;
  case ATTRIBUTE_TENSOR:
    if (given) attribute = constant_attribute(program, given->tensor);
    break;
  case ATTRIBUTE_STRINGS: break;
  }
  return attribute;
}

size_t
call_attributes(const Program *program, const Node *node, actnn_attribute **list)
{
  const Operator *operator = node->operator;
  size_t count = 0;
  *list = arena_array(program->arena, operator->operand_count + operator->attribute_count + 1, sizeof **list);
  for (uint32_t i = 0; i < operator->operand_count; i++)
    if (operator->operands[i].is_constant) (*list)[count++] = constant_attribute(program, operand_id(node, i));
  for (uint32_t i = 0; i < operator->attribute_count; i++)
    (*list)[count++] = node_attribute(program, node, &operator->attributes[i]);
  return count;
}
