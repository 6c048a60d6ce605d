/* formula.h: gradient formulas of the operator table, read and turned into nodes in one walk over their text.
 *
 *     formula    = sum [ '?' formula ':' formula ]      the condition is an integer attribute
 *     sum        = product { ('+' | '-') product }
 *     product    = primary { ('*' | '/') primary }
 *     primary    = number | name | '-' primary | '(' formula ')' | shape(name) | offset(name)
 *                | Operator(formula, ... [; attribute = formula, ...])
 *
 * Names are operands, results, d<result> (the incoming gradient) and attributes of the forward node. What backward reads follows from
 * the names that the walk meets; nothing else records it.
 */
#ifndef ACTNN_FORMULA_H
#define ACTNN_FORMULA_H

#include "program.h"

/* What an expression denotes while a formula is read: a value, or a number known now. */
typedef struct Term {
  bool is_number;
  double number;
  ValueId value; /* NO_VALUE: an optional operand that is absent */
} Term;

typedef struct Formula {
  Program *program;
  NodeId node;               /* the forward node */
  const char *cursor;
  const ValueId *gradient;   /* by value: gradient so far */
  uint32_t variadic;         /* which operand a variadic name stands for */
  bool has_failed;
} Formula;

typedef struct Arguments {
  ValueId operand[ACTNN_MAX_OPERANDS];
  uint32_t count;
  Attribute attribute[8];
  uint32_t attribute_count;
} Arguments;

/* Reads the formula at the cursor, makes its nodes (backward phase), returns what it denotes. On a mistake in the table
 * has_failed is set, after reporting. */
Term formula_expression(Formula *formula);
/* Passes over a formula without making nodes: up to `:`, `;`, `,` or the end, outside parentheses. */
void formula_skip(Formula *formula);
/* (operands; attribute=formula, ...) of a call of `operator_name`. */
void formula_arguments(Formula *formula, const char *operator_name, Arguments *arguments);
/* Makes a node in backward with these results, or with one of its own. */
NodeId formula_node(Formula *formula, const char *operator_name, const Arguments *arguments, const ValueId *results, size_t count);
Term formula_call(Formula *formula, const char *operator_name, const Arguments *arguments);
ValueId formula_new_value(Program *program);
/* A number becomes a constant. */
ValueId formula_value(Formula *formula, Term term);
/* The operand number that a slot's name stands for. */
bool formula_operand(const Formula *formula, const char *name, uint32_t *index, bool *is_variadic);
size_t formula_name(Formula *formula, char *name, size_t capacity);
bool formula_accept(Formula *formula, char c);
void formula_skip_spaces(Formula *formula);
Term formula_error(Formula *formula, const char *what);

#endif
