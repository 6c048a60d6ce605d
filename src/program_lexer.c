/* program_lexer.c: splits the text form of a program into words.
 *
 * Follows ONNX's own reader: white space and `#` comments separate, strings know one escape (a backslash keeps
 * the next character), inf and nan are names that the parser takes for numbers where a number is due. The
 * input is not trusted: NUL and control bytes outside strings are errors, numbers are checked for overflow. */
#include "program_lexer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_NUMBER = 400 };

static bool
is_letter(int c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_digit(int c)
{
  return c >= '0' && c <= '9';
}

static int
peek(const Lexer *lexer, size_t ahead)
{
  size_t position = lexer->next + ahead;
  return position < lexer->length ? (unsigned char)lexer->text[position] : -1;
}

static void
skip_space(Lexer *lexer)
{
  for (;;) {
    int c = peek(lexer, 0);
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      lexer->next++;
    } else if (c == '#') {
      while (lexer->next < lexer->length && lexer->text[lexer->next] != '\n') lexer->next++;
    } else {
      return;
    }
  }
}

bool
lexer_fail(Lexer *lexer, const char *help, const char *message)
{
  if (lexer->token.kind != TOKEN_WRONG)
    report_at(lexer->diagnostics, lexer->source, lexer->text, lexer->length, lexer->token.position, help, "%s",
              message);
  lexer->token.kind = TOKEN_WRONG;
  return false;
}

bool
lexer_expected(Lexer *lexer, const char *what)
{
  const Token *token = &lexer->token;
  if (token->kind == TOKEN_WRONG) return false;
  const char *found = "the end of the text";
  if (token->kind != TOKEN_END) {
    size_t length = token->length < 40 ? token->length : 40;
    char *shown = arena_text(lexer->arena, lexer->text + token->position, length);
    for (size_t i = 0; i < length; i++)
      if ((unsigned char)shown[i] < ' ' || (unsigned char)shown[i] > '~') shown[i] = '?';
    found = arena_format(lexer->arena, "'%s'", shown);
  }
  return lexer_fail(lexer, NULL, arena_format(lexer->arena, "expected %s, found %s", what, found));
}

static void
read_string(Lexer *lexer)
{
  Token *token = &lexer->token;
  size_t from = ++lexer->next, escapes = 0;
  for (;; lexer->next++) {
    int c = peek(lexer, 0);
    if (c == '\\') {
      escapes++;
      c = peek(lexer, 1);
      lexer->next++;
    } else if (c == '"') {
      break;
    }
    if (c == 0) {
      lexer_fail(lexer, NULL, "this string contains a NUL byte");
      return;
    }
    if (c < 0) {
      lexer_fail(lexer, NULL, "this string does not end");
      return;
    }
  }
  size_t to = lexer->next++, length = 0;
  char *word = arena_allocate(lexer->arena, to - from - escapes + 1);
  for (size_t i = from; i < to; i++) {
    if (lexer->text[i] == '\\') i++;
    word[length++] = lexer->text[i];
  }
  token->kind = TOKEN_STRING;
  token->word = word;
}

static void
convert_integer(Lexer *lexer, const char *number)
{
  Token *token = &lexer->token;
  errno = 0;
  if (number[0] == '-') {
    token->integer = strtoll(number, NULL, 10);
  } else {
    unsigned long long magnitude = strtoull(number, NULL, 10);
    token->is_unsigned = magnitude > INT64_MAX;
    memcpy(&token->integer, &magnitude, sizeof token->integer);
  }
  if (errno == ERANGE) lexer_fail(lexer, NULL, "this integer does not fit into 64 bits");
}

/* Digits that carry information: not the zeros in front. */
static int
significant_digits(const char *number)
{
  int digits = 0;
  for (; *number && *number != 'e' && *number != 'E'; number++)
    if (is_digit(*number) && (digits || *number != '0')) digits++;
  return digits;
}

static void
read_number(Lexer *lexer)
{
  Token *token = &lexer->token;
  size_t from = lexer->next;
  bool is_real = false;
  if (peek(lexer, 0) == '-') lexer->next++;
  if (is_letter(peek(lexer, 0))) { /* -inf, -nan */
    while (is_letter(peek(lexer, 0))) lexer->next++;
    is_real = true;
  } else if (!is_digit(peek(lexer, 0))) {
    token->kind = TOKEN_SYMBOL;
    token->length = 1;
    lexer_expected(lexer, "a number");
    return;
  } else {
    while (is_digit(peek(lexer, 0)) || (peek(lexer, 0) == '.' && !is_real))
      is_real |= lexer->text[lexer->next++] == '.';
    if (peek(lexer, 0) == 'e' || peek(lexer, 0) == 'E') {
      is_real = true;
      lexer->next++;
      if (peek(lexer, 0) == '-' || peek(lexer, 0) == '+') lexer->next++;
      if (!is_digit(peek(lexer, 0))) {
        lexer_fail(lexer, NULL, "this number has an exponent without digits");
        return;
      }
      while (is_digit(peek(lexer, 0))) lexer->next++;
    }
  }
  char number[LONGEST_NUMBER + 1];
  size_t length = lexer->next - from;
  if (length > LONGEST_NUMBER || is_letter(peek(lexer, 0))) {
    lexer_fail(lexer, NULL, "this is not a number");
    return;
  }
  memcpy(number, lexer->text + from, length);
  number[length] = 0;
  char *end;
  token->kind = is_real ? TOKEN_REAL : TOKEN_INTEGER;
  token->digits = significant_digits(number);
  token->real = strtod(number, &end);
  token->single = strtof(number, NULL);
  if (*end)
    lexer_fail(lexer, NULL, "this is not a number");
  else if (is_digit(end[-1]) && isinf(token->real))
    lexer_fail(lexer, "infinity is spelled inf", "this number is too large");
  else if (!is_real)
    convert_integer(lexer, number);
}

void
lexer_advance(Lexer *lexer)
{
  Token *token = &lexer->token;
  if (token->kind == TOKEN_WRONG) return;
  skip_space(lexer);
  *token = (Token){.kind = TOKEN_END, .position = lexer->next};
  int c = peek(lexer, 0);
  if (c < 0) return;
  if (c == '"') {
    read_string(lexer);
  } else if (is_letter(c)) {
    while (is_letter(peek(lexer, 0)) || is_digit(peek(lexer, 0))) lexer->next++;
    token->kind = TOKEN_NAME;
    token->word = arena_text(lexer->arena, lexer->text + token->position, lexer->next - token->position);
  } else if (is_digit(c) || c == '-') {
    read_number(lexer);
  } else if (c && strchr("<>()[]{},:=.?@", c)) {
    lexer->next++;
    token->kind = TOKEN_SYMBOL;
    token->symbol = (char)c;
  } else {
    lexer_fail(lexer, NULL,
               c > ' ' && c <= '~' ? arena_format(lexer->arena, "'%c' has no meaning here", c)
                                   : arena_format(lexer->arena, "byte 0x%02x has no meaning here", (unsigned)c));
  }
  token->length = lexer->next - token->position;
}

void
lexer_start(Lexer *lexer, Arena *arena, Diagnostics *diagnostics, const char *source, const char *text, size_t length)
{
  *lexer = (Lexer){.arena = arena, .diagnostics = diagnostics, .source = source, .text = text, .length = length};
  lexer_advance(lexer);
}

void
lexer_seek(Lexer *lexer, size_t position)
{
  if (lexer->token.kind == TOKEN_WRONG) return;
  lexer->next = position;
  lexer_advance(lexer);
}

bool
lexer_at(const Lexer *lexer, char symbol)
{
  return lexer->token.kind == TOKEN_SYMBOL && lexer->token.symbol == symbol;
}

bool
lexer_match(Lexer *lexer, char symbol)
{
  if (!lexer_at(lexer, symbol)) return false;
  lexer_advance(lexer);
  return true;
}

bool
lexer_expect(Lexer *lexer, char symbol, const char *where)
{
  if (lexer_match(lexer, symbol)) return true;
  return lexer_expected(lexer, arena_format(lexer->arena, "'%c' %s", symbol, where));
}
