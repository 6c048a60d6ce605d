/* pointwise_steps.h: what a joined elementwise node computes (actnn.Pointwise), as a text that everybody reads by the same parser:
 *
 *   t0=Add(x0,x1);y0=Relu(t0);y1=LeakyRelu(x2,0.01)
 *
 * Each step calls a row of elementwise.def by its name on operands x0.., results y0.. and temporaries t0.., then gives all attributes of
 * the row: numbers, or the word of a choice. Names are made once, before they are read, and are numbered in the order in which they first
 * appear: a chain has one spelling. */
#ifndef ACTNN_POINTWISE_STEPS_H
#define ACTNN_POINTWISE_STEPS_H

#include "../../runtime/actnn.h"

enum {
  MOST_STEPS = 16,
  MOST_STEP_OPERANDS = 16,
  MOST_STEP_RESULTS = 8,
  FIRST_RESULT = MOST_STEP_OPERANDS,               /* places: operands, then results, then temporaries */
  FIRST_TEMPORARY = FIRST_RESULT + MOST_STEP_RESULTS,
  STEP_PLACES = FIRST_TEMPORARY + MOST_STEPS,
  MOST_ROW_OPERANDS = 3,
  MOST_ROW_ATTRIBUTES = 2,
  LONGEST_WORD = 15,
  LONGEST_STEPS = 2000 /* characters */
};

/* Rows by number. */
#define UNARY(NAME, ...) ROW_##NAME, ROW_##NAME##Slope,
#define POINT(NAME, ...) ROW_##NAME,
#define OPERATOR(...)
enum {
#include "../operators.def"
  POINTWISE_ROWS
};

typedef struct pointwise_row {
  const char *name;
  const char *attributes; /* their kinds: f a real number, i a flag, s a choice */
  const char *choice;     /* the word that counts as 0; NULL */
  int operands;
  bool is_boolean; /* what it makes; otherwise a float */
} pointwise_row;

typedef struct pointwise_step {
  int row, operand_count, attribute_count, result;
  int operand[MOST_ROW_OPERANDS]; /* places, as the result */
  actnn_attribute attribute[MOST_ROW_ATTRIBUTES];
  char word[LONGEST_WORD + 1]; /* of a choice */
} pointwise_step;

typedef struct pointwise_steps {
  pointwise_step step[MOST_STEPS];
  int count, operands, results, temporaries;
} pointwise_steps;

const pointwise_row *pointwise_row_at(int row);
/* The row by that name which steps may call; -1. */
int pointwise_row_named(const char *name, size_t length);
/* NULL, or what is wrong with the text, which may be anything. The steps' attributes point into *steps. */
const char *parse_pointwise_steps(const char *text, pointwise_steps *steps);
/* The same of a row that a coder makes the value by which it codes (QuantizeOnSave): one step, of x and of operands that have one number for
 * several of x's elements. */
const char *parse_coded_row(const char *text, pointwise_steps *steps);
/* Whether there are coders that make it. */
bool may_be_coded_row(int row);
/* A flag or choice as 0 or 1. */
int pointwise_flag(const pointwise_row *row, const actnn_attribute *attribute);

#endif
