/* program_printer.h: shared by the files that print programs; the way in is `print_program`. */
#ifndef ACTNN_PROGRAM_PRINTER_H
#define ACTNN_PROGRAM_PRINTER_H

#include "program.h"

enum { MOST_ELEMENTS_SHOWN = 1024 };

typedef struct Printer {
  const Program *program;
  Arena *arena; /* of the text */
  char *text;
  size_t length, capacity;
  const char **names; /* by ValueId; NULL: not in the text */
  bool *is_made;      /* by ValueId: a node in the order makes it */
  bool *is_given;     /* by ValueId: one of the model's own inputs */
  bool *is_live;      /* by NodeId: stands in the order */
  ValueId *listed;    /* what is in the text, in the order of definition */
  uint32_t listed_count;
} Printer;

void put(Printer *printer, const char *text);
void put_format(Printer *printer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void put_quoted(Printer *printer, const char *text); /* "text" with escapes */

void put_name(Printer *printer, const char *name);       /* of a value, node, graph or dimension; quoted if need be */
void put_plain_name(Printer *printer, const char *name); /* of an operator or attribute */
void put_real_attribute(Printer *printer, double value);
void put_type(Printer *printer, const Value *value); /* the type and a space; nothing when it is not known */
/* {...}, or a description of data that is not shown: more than MOST_ELEMENTS_SHOWN elements, or none there. */
void put_data(Printer *printer, const Value *value);

/* program_annotations.c: the lines between the brackets of metadata_props. */
void print_annotations(Printer *printer);
/* The kind that an initializer of this type has unless an annotation says otherwise. */
ValueKind usual_kind(actnn_type type);

#endif
