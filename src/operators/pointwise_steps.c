/* pointwise_steps.c: the parser of what joined elementwise nodes compute; see pointwise_steps.h. */
#include "pointwise_steps.h"

#include <stdlib.h>
#include <string.h>

#define X(a) 1
#define XY(a, b) 2
#define XYZ(a, b, c) 3
#define NO_ATTRIBUTES "", NULL
#define REAL1(a, da) "f", NULL
#define REAL2(a, da, b, db) "ff", NULL
#define FLAG1(a, da) "i", NULL
#define FLAG2(a, da, b, db) "ii", NULL
#define CHOICE1(a, da) "s", #da
#define IS_SAME false
#define IS_BOOLEAN true
#define UNARY(NAME, attributes, ...) {#NAME, attributes, 1, false}, {#NAME "Slope", attributes, 1, false},
#define POINT(NAME, operands, attributes, result, ...) {#NAME, attributes, operands, IS_##result},
#define OPERATOR(...)

static const pointwise_row rows[POINTWISE_ROWS] = {
#include "../operators.def"
};

const pointwise_row *
pointwise_row_at(int row)
{
  return &rows[row];
}

/* Bits are those of integers, which joined nodes do not hold. */
static bool
is_of_integers(int row)
{
  return row == ROW_BitwiseAnd || row == ROW_BitwiseOr || row == ROW_BitwiseXor || row == ROW_BitwiseNot || row == ROW_BitShift;
}

int
pointwise_flag(const pointwise_row *row, const actnn_attribute *attribute)
{
  return attribute->kind == ACTNN_TEXT ? strcmp(attribute->text, row->choice) != 0 : attribute->i != 0;
}

int
pointwise_row_named(const char *name, size_t length)
{
  for (int row = 0; row < POINTWISE_ROWS; row++)
    if (strlen(rows[row].name) == length && !memcmp(rows[row].name, name, length)) return is_of_integers(row) ? -1 : row;
  return -1;
}

/* ---- the parser ---------------------------------------------------------------------------------------- */

typedef struct Parser {
  const char *at;
  pointwise_steps *steps;
} Parser;

static bool
is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
take(Parser *parser, char c)
{
  if (*parser->at != c) return false;
  parser->at++;
  return true;
}

/* x12: its letter and number; false for anything else. */
static bool
take_name(Parser *parser, char *letter, int *number)
{
  const char *at = parser->at;
  *letter = *at;
  if (!*at || !strchr("xyt", *at) || !is_digit(at[1]) || (at[1] == '0' && is_digit(at[2]))) return false;
  *number = at[1] - '0';
  at += 2;
  if (is_digit(*at)) *number = *number * 10 + (*at++ - '0');
  if (is_digit(*at)) return false;
  parser->at = at;
  return true;
}

/* A name that is read: an operand, at first mention the next one, or what has been made before. */
static const char *
read_operand(Parser *parser, int *place)
{
  pointwise_steps *steps = parser->steps;
  char letter;
  int number;
  if (!take_name(parser, &letter, &number)) return "an operand is x, y or t and its number";
  if (letter == 'x' && number == steps->operands && number < MOST_STEP_OPERANDS) steps->operands++;
  int known = letter == 'x' ? steps->operands : letter == 'y' ? steps->results : steps->temporaries;
  if (number >= known) return "a name is read that nothing before has made, or out of turn";
  *place = (letter == 'x' ? 0 : letter == 'y' ? FIRST_RESULT : FIRST_TEMPORARY) + number;
  return NULL;
}

/* What a step makes: the next result or temporary. It is there once the step has been read. */
static const char *
read_result(Parser *parser, int *place)
{
  const pointwise_steps *steps = parser->steps;
  char letter;
  int number;
  if (!take_name(parser, &letter, &number) || letter == 'x') return "a step makes y or t and its number";
  if (number != (letter == 'y' ? steps->results : steps->temporaries)) return "a name is made twice or out of turn";
  if (number >= (letter == 'y' ? MOST_STEP_RESULTS : MOST_STEPS)) return "there are too many results";
  *place = (letter == 'y' ? FIRST_RESULT : FIRST_TEMPORARY) + number;
  return NULL;
}

/* -12.5e-07: with a point or an exponent. */
static bool
read_real(Parser *parser, double *value)
{
  const char *start = parser->at, *at = start + (*start == '-');
  char *end;
  if (!is_digit(*at)) return false;
  while (is_digit(*at)) at++;
  if (*at != '.' && *at != 'e') return false;
  if (*at == '.' && !is_digit(*++at)) return false;
  while (is_digit(*at)) at++;
  if (*at == 'e') {
    at += at[1] == '-' || at[1] == '+' ? 2 : 1;
    if (!is_digit(*at)) return false;
    while (is_digit(*at)) at++;
  }
  *value = strtod(start, &end);
  parser->at = at;
  return end == at && *value - *value == 0; /* finite */
}

/* The words of choices, like none and tanh. */
static bool
read_word(Parser *parser, char *word)
{
  size_t length = 0;
  while (is_letter(parser->at[length])) length++;
  if (!length || length > LONGEST_WORD) return false;
  memcpy(word, parser->at, length);
  word[length] = 0;
  parser->at += length;
  return true;
}

static const char *
read_attribute(Parser *parser, pointwise_step *step, char kind)
{
  actnn_attribute *attribute = &step->attribute[step->attribute_count++];
  memset(attribute, 0, sizeof *attribute);
  if (kind == 'f') {
    attribute->kind = ACTNN_REAL;
    return read_real(parser, &attribute->f) ? NULL : "an attribute is not a finite number with a point";
  }
  if (kind == 'i') {
    attribute->kind = ACTNN_INT;
    attribute->i = *parser->at - '0';
    return take(parser, '0') || take(parser, '1') ? NULL : "a flag is 0 or 1";
  }
  attribute->kind = ACTNN_TEXT;
  attribute->text = step->word;
  return read_word(parser, step->word) ? NULL : "a choice is a word";
}

static const char *
read_step(Parser *parser, pointwise_step *step)
{
  const char *wrong = read_result(parser, &step->result);
  if (wrong) return wrong;
  if (!take(parser, '=')) return "a step is a name, = and a call";
  size_t length = 0;
  while (is_letter(parser->at[length])) length++;
  step->row = pointwise_row_named(parser->at, length);
  if (step->row < 0) return "no elementwise operator has the name that a step calls";
  parser->at += length;
  const pointwise_row *row = &rows[step->row];
  if (!take(parser, '(')) return "a call lacks its (";
  for (; step->operand_count < row->operands; step->operand_count++) {
    if (step->operand_count && !take(parser, ',')) return "a call has too few operands";
    if ((wrong = read_operand(parser, &step->operand[step->operand_count])) != NULL) return wrong;
  }
  for (const char *kind = row->attributes; *kind; kind++) {
    if (!take(parser, ',')) return "a call has too few attributes";
    if ((wrong = read_attribute(parser, step, *kind)) != NULL) return wrong;
  }
  return take(parser, ')') ? NULL : "a call has too many operands or lacks its )";
}

const char *
parse_pointwise_steps(const char *text, pointwise_steps *steps)
{
  Parser parser = {text, steps};
  memset(steps, 0, sizeof *steps);
  if (!memchr(text, 0, LONGEST_STEPS + 1)) return "the text is too long";
  do {
    if (steps->count == MOST_STEPS) return "there are too many steps";
    pointwise_step *step = &steps->step[steps->count++];
    const char *wrong = read_step(&parser, step);
    if (wrong) return wrong;
    if (step->result >= FIRST_TEMPORARY) steps->temporaries++;
    else steps->results++;
  } while (take(&parser, ';'));
  if (*parser.at) return "steps are parted by ;";
  return steps->results ? NULL : "there is no result";
}

/* ---- rows that coders make ------------------------------------------------------------------------------- */

/* Normalized rows, of LayerNormalization and of RMSNormalization: a difference and a product. Slopes would be computed there once more, what
 * they share with what they are the slopes of included, which takes a GPU longer than to write and read them. */
bool
may_be_coded_row(int row)
{
  return row == ROW_Standardize || row == ROW_Mul;
}

const char *
parse_coded_row(const char *text, pointwise_steps *steps)
{
  const char *wrong = parse_pointwise_steps(text, steps);
  if (wrong) return wrong;
  const pointwise_step *step = steps->step;
  if (steps->count != 1 || !may_be_coded_row(step->row)) return "no coder makes these";
  return steps->operands == step->operand_count ? NULL : "an operand is read twice";
}
