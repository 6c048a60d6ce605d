/* program_lexer.h: the words of the text form of programs (docs/program-text.md), which is ONNX's textual syntax. */
#ifndef ACTNN_PROGRAM_LEXER_H
#define ACTNN_PROGRAM_LEXER_H

#include "diagnostics.h"

#include <stdint.h>

typedef enum TokenKind {
  TOKEN_END,
  TOKEN_NAME,   /* [A-Za-z_][A-Za-z0-9_]* */
  TOKEN_STRING, /* "..." with \ before a character that stands for itself */
  TOKEN_INTEGER,
  TOKEN_REAL,
  TOKEN_SYMBOL, /* one character of <>()[]{},:=.?@ */
  TOKEN_WRONG   /* reported already; stays the current token, so that parsing stops */
} TokenKind;

typedef struct Token {
  TokenKind kind;
  size_t position, length; /* in the text */
  const char *word;        /* names and strings: NUL-terminated, in the lexer's arena */
  char symbol;
  int64_t integer;         /* INTEGER; of numbers above INT64_MAX the low 64 bits as two's complement */
  bool is_unsigned;        /* INTEGER above INT64_MAX */
  double real;             /* REAL and INTEGER, to double */
  float single;            /* the same, rounded once to float */
  int digits;              /* REAL: significant digits written */
} Token;

typedef struct Lexer {
  Arena *arena;
  Diagnostics *diagnostics;
  const char *source; /* file name, for messages */
  const char *text;
  size_t length, next;
  Token token; /* the current one */
} Lexer;

/* Starts on `text`, which must outlive the lexer, and reads the first token. */
void lexer_start(Lexer *lexer, Arena *arena, Diagnostics *diagnostics, const char *source, const char *text,
                 size_t length);
void lexer_advance(Lexer *lexer);
/* Goes back (or forth) to a place where a token starts. */
void lexer_seek(Lexer *lexer, size_t position);

bool lexer_at(const Lexer *lexer, char symbol);
/* Consumes the symbol when it is the current token. */
bool lexer_match(Lexer *lexer, char symbol);
/* The same, or reports that `symbol` was expected in `where`. */
bool lexer_expect(Lexer *lexer, char symbol, const char *where);
/* Reports `expected WHAT, found ...` at the current token, once; always returns false. The lexer then stays on
 * TOKEN_WRONG. */
bool lexer_expected(Lexer *lexer, const char *what);
/* Reports a message at the current token and stays on TOKEN_WRONG; always returns false. */
bool lexer_fail(Lexer *lexer, const char *help, const char *message);

#endif
