/* tries.c: reads the `tries` column of the operator table. */
#include "tries.h"

#include "operators/pointwise_steps.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_WORDS = 40, MOST_ELEMENTS = 1 << 19 };

double
next_draw(uint64_t *state)
{
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 11) / 9007199254740992.0;
}

typedef struct Ranges {
  double low, high;
  int64_t lowest, highest;
} Ranges;

/* One case being read. */
typedef struct Reading {
  Program *program;
  const Operator *operator;
  Ranges ranges;
  uint64_t state;
  ValueId operand[MOST_WORDS];
  Tensor value[MOST_WORDS]; /* of operands that are inputs */
  uint32_t operand_count;
} Reading;

static bool
bad_word(const Reading *reading, const char *word)
{
  return report(reading->program->diagnostics, reading->operator->name, NULL, "bad word '%s' in tries", word);
}

/* {1,-1} or {0.5} */
static bool
read_constant(Reading *reading, const char *word)
{
  double reals[64];
  int64_t ints[64], count = 0;
  bool is_real = strchr(word, '.') != NULL;
  for (const char *at = word + 1; *at && *at != '}' && count < 64; count++) {
    char *end;
    reals[count] = strtod(at, &end);
    if (end == at) return bad_word(reading, word);
    ints[count] = (int64_t)reals[count];
    at = *end == ',' ? end + 1 : end;
  }
  reading->operand[reading->operand_count++] =
      is_real ? add_constant(reading->program, NULL, ACTNN_F64, shape_of(1, &count), reals,
                             (size_t)count * sizeof *reals)
              : add_int64_constant(reading->program, ints, (size_t)count);
  return true;
}

static int64_t
draw_integer(Reading *reading)
{
  const Ranges *ranges = &reading->ranges;
  return ranges->lowest + (int64_t)(next_draw(&reading->state) * (double)(ranges->highest - ranges->lowest));
}

static Tensor
draw_tensor(Reading *reading, actnn_type type, Shape shape, int64_t count)
{
  const Ranges *ranges = &reading->ranges;
  Tensor tensor = {.type = type,
                   .shape = shape,
                   .data = arena_array(reading->program->arena, (size_t)count + 1, sizeof(double))};
  for (int64_t i = 0; i < count; i++) {
    if (type == ACTNN_F32)
      ((double *)tensor.data)[i] = ranges->low + (ranges->high - ranges->low) * next_draw(&reading->state);
    else if (type == ACTNN_BOOL) ((uint8_t *)tensor.data)[i] = next_draw(&reading->state) < 0.5;
    else if (type == ACTNN_U8) ((uint8_t *)tensor.data)[i] = (uint8_t)draw_integer(reading);
    else ((int64_t *)tensor.data)[i] = draw_integer(reading);
  }
  return tensor;
}

/* 2,3 or []:int64 */
static bool
read_input(Reading *reading, const char *word)
{
  Shape shape = {.rank = 0};
  actnn_type type = ACTNN_F32;
  const char *at = word;
  int64_t count;
  if (!strncmp(at, "[]", 2)) {
    at += 2;
  } else {
    do {
      char *end;
      int64_t dim = strtoll(at, &end, 10);
      if (end == at || dim < 0 || shape.rank == ACTNN_MAX_RANK) return bad_word(reading, word);
      shape.dim[shape.rank++] = dim;
      at = end;
    } while (*at == ',' && *++at);
  }
  if (!strcmp(at, ":int64")) type = ACTNN_I64;
  else if (!strcmp(at, ":bool")) type = ACTNN_BOOL;
  else if (!strcmp(at, ":uint8")) type = ACTNN_U8;
  else if (*at) return bad_word(reading, word);
  if (!shape_elements(&shape, &count) || count > MOST_ELEMENTS) return bad_word(reading, word);
  Program *program = reading->program;
  ValueId id = add_value(program, NULL, VALUE_INPUT, type, shape);
  reading->value[reading->operand_count] = draw_tensor(reading, type, shape, count);
  reading->operand[reading->operand_count++] = id;
  return true;
}

bool
set_try_attribute(Program *program, NodeId node, char *word)
{
  const Operator *operator = node_at(program, node)->operator;
  char *value = strchr(word, '=');
  if (!value || !operator) return false;
  *value++ = 0;
  for (uint32_t i = 0; i < operator->attribute_count; i++) {
    const AttributeSlot *slot = &operator->attributes[i];
    if (strcmp(slot->name, word)) continue;
    int64_t ints[16];
    size_t count = 0;
    if (slot->kind == ATTRIBUTE_INT) set_int(program, node, word, strtoll(value, NULL, 10));
    else if (slot->kind == ATTRIBUTE_FLOAT) set_float(program, node, word, strtod(value, NULL));
    else if (slot->kind == ATTRIBUTE_STRING) set_string(program, node, word, value);
    else if (slot->kind == ATTRIBUTE_INTS) {
      for (char *at = value; *at && count < 16; at += *at == 'x') ints[count++] = strtoll(at, &at, 10);
      set_ints(program, node, word, ints, count);
    } else return false;
    return true;
  }
  return false;
}

/* Cuts a case into words; ranges are taken out. */
static uint32_t
split_words(Reading *reading, char *text, char **words)
{
  uint32_t count = 0;
  for (char *word = strtok(text, " "); word && count < MOST_WORDS; word = strtok(NULL, " ")) {
    char *end;
    if (!strncmp(word, "range=", 6)) {
      reading->ranges.low = strtod(word + 6, &end);
      reading->ranges.high = *end == ':' ? strtod(end + 1, NULL) : reading->ranges.low;
    } else if (!strncmp(word, "irange=", 7)) {
      reading->ranges.lowest = strtoll(word + 7, &end, 10);
      reading->ranges.highest = *end == ':' ? strtoll(end + 1, NULL, 10) : reading->ranges.lowest + 1;
    } else {
      words[count++] = word;
    }
  }
  return count;
}

static bool
read_operands(Reading *reading, char **words, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++) {
    bool is_good = true;
    if (words[i][0] == '_' && !words[i][1]) reading->operand[reading->operand_count++] = NO_VALUE;
    else if (words[i][0] == '{') is_good = read_constant(reading, words[i]);
    else if (!strchr(words[i], '=')) is_good = read_input(reading, words[i]);
    if (!is_good) return false;
  }
  return true;
}

/* A variadic result gets as many values as the constant operand `split`, the attribute num_outputs or the steps of a joined node ask for. */
static uint32_t
results_wanted(const Reading *reading, NodeId node)
{
  const Operator *operator= reading->operator;
  const int64_t *ints;
  size_t count;
  uint32_t wanted = 0;
  pointwise_steps steps;
  const char *joined = string_attribute(node_at(reading->program, node), "steps", NULL);
  if (joined && !parse_pointwise_steps(joined, &steps)) return (uint32_t)steps.results;
  if (operator->result_count && operator->results[operator->result_count - 1].is_variadic) {
    if (reading->operand_count > 1 && constant_ints(reading->program, reading->operand[1], &ints, &count))
      return (uint32_t)count;
    return (uint32_t)int_attribute(node_at(reading->program, node), "num_outputs", 1);
  }
  while (wanted < operator->result_count && !operator->results[wanted].is_optional) wanted++;
  return wanted;
}

/* Text of case `index`, or NULL. */
static char *
case_text(Arena *arena, const char *tries, unsigned index)
{
  for (; index && tries; index--) {
    tries = strchr(tries, '|');
    if (tries) tries++;
  }
  if (!tries) return NULL;
  while (*tries == ' ') tries++;
  size_t length = strcspn(tries, "|");
  while (length && tries[length - 1] == ' ') length--;
  return length ? arena_text(arena, tries, length) : NULL;
}

/* The program's inputs, and their values beside them. */
static const Tensor *
list_inputs(Reading *reading)
{
  Program *program = reading->program;
  Tensor *values = arena_array(program->arena, reading->operand_count + 1, sizeof *values);
  program->inputs = arena_array(program->arena, reading->operand_count + 1, sizeof *program->inputs);
  for (uint32_t i = 0; i < reading->operand_count; i++) {
    ValueId id = reading->operand[i];
    if (id == NO_VALUE || value_at(program, id)->kind != VALUE_INPUT) continue;
    values[program->input_count] = reading->value[i];
    program->inputs[program->input_count++] = id;
  }
  return values;
}

int
make_try(const Operator *operator, unsigned index, Diagnostics *diagnostics, Try *made)
{
  Program *program = program_create(operator->name, diagnostics);
  Reading reading = {.program = program,
                     .operator= operator,
                     .state = 20111 + index,
                     .ranges = {.low = -1, .high = 1, .lowest = 0, .highest = 2}};
  char *text = case_text(program->arena, operator->tries, index), *words[MOST_WORDS];
  if (!text) {
    program_destroy(program);
    return 0;
  }
  *made = (Try){.program = program, .text = arena_text(program->arena, text, strlen(text))};
  uint32_t count = split_words(&reading, text, words);
  bool is_good = read_operands(&reading, words, count);
  made->node = add_node(program, PHASE_FORWARD, operator->domain, operator->name, NULL, reading.operand,
                        reading.operand_count, NULL, 0);
  for (uint32_t i = 0; is_good && i < count; i++)
    if (strchr(words[i], '=')) is_good = set_try_attribute(program, made->node, words[i]) || bad_word(&reading, words[i]);
  uint32_t wanted = is_good ? results_wanted(&reading, made->node) : 0;
  for (uint32_t i = 0; i < wanted; i++)
    set_result(program, made->node, i, add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){.rank = -1}));
  made->value = list_inputs(&reading);
  return is_good && infer_node(program, made->node) ? 1 : -1;
}
