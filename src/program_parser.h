/* program_parser.h: shared by the files that read the text form of programs; the way in is `parse_program`. */
#ifndef ACTNN_PROGRAM_PARSER_H
#define ACTNN_PROGRAM_PARSER_H

#include "name_table.h"
#include "program.h"
#include "program_lexer.h"

/* What a name stands for. */
typedef struct NameEntry {
  uint32_t number; /* of a value, a function or a node */
  bool is_defined; /* an input, an initializer, or made by a node read already; otherwise only its type is declared */
  size_t position; /* where it was seen first */
} NameEntry;

/* A list that grows in an arena. */
#define LIST(type) \
  struct { \
    type *at; \
    size_t count, capacity; \
  }
/* Room for one more; `list` is any LIST. */
#define APPEND(arena, list, element) \
  do { \
    if ((list).count == (list).capacity) \
      (list).at = list_enlarge((arena), (list).at, (list).count, &(list).capacity, sizeof *(list).at); \
    (list).at[(list).count++] = (element); \
  } while (0)
void *list_enlarge(Arena *arena, void *old, size_t count, size_t *capacity, size_t size);

/* A name as written and where; word "" stands for an absent operand or result. */
typedef struct Name {
  const char *word;
  size_t position;
} Name;
typedef LIST(Name) NameList;

/* An attribute as written. */
typedef struct ReadAttribute {
  Attribute attribute;
  const char *reference; /* @name: that attribute of the function around it; NULL otherwise */
  size_t position;
} ReadAttribute;
typedef LIST(ReadAttribute) AttributeList;

/* A type as written. */
typedef struct ReadType {
  actnn_type type; /* ACTNN_UNDEFINED: none written */
  Shape shape;
  const char **symbol; /* in the program's arena, NULL when no dimension is symbolic */
  size_t position;
} ReadType;

/* What follows the = of an initializer. */
typedef struct ReadData {
  const void *data; /* NULL: not in the text */
  size_t bytes;
  uint32_t checksum; /* of data that a dump left out */
} ReadData;

/* A function of the model; its body is read again at each call. */
typedef struct Function {
  const char *domain, *name;
  NameList inputs, outputs, attributes;
  AttributeList defaults;
  size_t body; /* position of its { */
  size_t position;
} Function;

/* An "actnn.KEY" : "VALUE" of metadata_props. */
typedef struct Annotation {
  const char *key, *value;
  size_t position;
} Annotation;

/* What a node's origin is called; resolved once all nodes are read. */
typedef struct OriginName {
  NodeId node;
  const char *result; /* of the origin, when it is in the program */
  const char *dead;   /* "domain.Operator name", when it is not */
  size_t position;
} OriginName;

typedef struct Parser {
  Lexer lexer;
  Arena *scratch; /* lives as long as the reading */
  Program *program;
  LIST(NameEntry) entries;     /* what the numbers in the tables of names mean */
  NameTable *names;            /* of the graph */
  NameTable *function_names, *dead_names; /* the latter: of origins that are no longer in the program */
  LIST(Function) functions;
  LIST(Annotation) annotations;
  LIST(OriginName) origins;
  size_t inlined_bytes;   /* text of functions read again so far */
  size_t line_position;   /* `line` is that of this place */
  int line;
  unsigned errors_before;
} Parser;

/* What is known of the call whose body is being read. */
typedef struct Scope {
  NameTable *names;
  int depth, line;            /* line: of the outermost call */
  const char *prefix;         /* of the names of nodes */
  const Function *function;   /* NULL in the graph */
  const AttributeList *given; /* the call's attributes */
} Scope;

/* Reports at a position and lets reading go on; returns false. */
bool parser_error(Parser *parser, size_t position, const char *help, const char *message);

/* 'NAME' WHAT, at the name; and that it was defined before, at `first`. */
bool name_error(Parser *parser, Name name, const char *help, const char *what);
bool twice_error(Parser *parser, Name name, size_t first);
/* The line of a place; asked for in rising order it costs one pass over the text. */
int line_of(Parser *parser, size_t position);

/* The entry of a name, NULL when there is none; valid until the next one is added. */
NameEntry *find_entry(const Parser *parser, const NameTable *names, const char *word);

/* Adds a name that is not in the table yet. */
NameEntry *add_entry(Parser *parser, NameTable *names, Name name, uint32_t number);
/* The value that a name stands for; NO_VALUE for "" and, after reporting, where it stands for none. */
ValueId lookup_name(Parser *parser, const Scope *scope, Name name);
/* The value that a node's result of this name is; NO_VALUE for "" and, after reporting, when it is made already. */
ValueId define_name(Parser *parser, const Scope *scope, Name name);

/* < key: value, ... > of a model, or of a function (then *domain is set). */
bool read_header(Parser *parser, const char **domain);
bool read_optional_type(Parser *parser, ReadType *type);
bool expect_arrow(Lexer *lexer);

/* program_nodes.c */
bool skip_body(Lexer *lexer); /* past { nodes } */
bool read_function(Parser *parser); /* its nodes are skipped until it is called */
bool read_body(Parser *parser, const Scope *scope); /* { nodes }, added to the program */

/* program_values.c: each reports and returns false on a mistake. */
bool read_quotable_name(Parser *parser, const char *what, Name *name);
bool at_type(const Lexer *lexer);
bool read_type(Parser *parser, ReadType *type);
bool read_data(Parser *parser, const ReadType *type, ReadData *data);
bool read_attributes(Parser *parser, AttributeList *attributes); /* < ... > or nothing */
bool read_attribute(Parser *parser, Name name, ReadAttribute *attribute);

/* program_annotations.c: what ONNX has no place for, kept in metadata_props. */
bool apply_annotations(Parser *parser);

#endif
