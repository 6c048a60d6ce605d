/* verify_scan.c: V9: every byte of the source belongs to a word of the few forms that the emitter uses.
 *
 * Printable ASCII and newlines only. No line comments, no backslash outside octal escapes in strings (so no line is ever
 * continued), no preprocessor lines but three fixed ones. What C offers beyond (trigraphs, digraphs, wide or raw strings,
 * casts, conditionals, arithmetic) has no words here, so that a reader of words cannot be deceived. */
#include "verify.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST_NAME = 100 };

typedef struct Scanner {
  Emitted *emitted;
  const char *text;
  size_t length, at;
  uint32_t capacity;
  unsigned directives;
} Scanner;

static bool
is_name_start(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool
is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static void
add_word(Scanner *scanner, WordKind kind, size_t start)
{
  Emitted *emitted = scanner->emitted;
  if (emitted->word_count == scanner->capacity) {
    scanner->capacity = scanner->capacity * 2 + 4096;
    Word *grown = arena_array(emitted->arena, scanner->capacity, sizeof *grown);
    if (emitted->word_count) memcpy(grown, emitted->word, emitted->word_count * sizeof *grown);
    emitted->word = grown;
  }
  emitted->word[emitted->word_count++] = (Word){kind, (uint32_t)start, (uint32_t)(scanner->at - start)};
}

/* Comments hold names of the model: anything printable, but nothing that ends a comment early or joins lines. */
static bool
skip_comment(Scanner *scanner)
{
  size_t start = scanner->at;
  for (scanner->at += 2; scanner->at + 1 < scanner->length; scanner->at++) {
    const char *at = scanner->text + scanner->at;
    if (at[0] == '*' && at[1] == '/') {
      scanner->at += 2;
      return true;
    }
    if (at[0] == '\\' || (at[0] == '/' && at[1] == '*'))
      return refuse(scanner->emitted, scanner->at, "a comment holds %.2s", at);
    if (!strncmp(at, "?\?/\n", 4))
      return refuse(scanner->emitted, scanner->at, "a comment holds a trigraph that joins lines");
  }
  return refuse(scanner->emitted, start, "a comment does not end");
}

static bool
scan_directive(Scanner *scanner)
{
  const char *line = scanner->text + scanner->at;
  size_t start = scanner->at, length = strcspn(line, "\n");
  const char *const fixed[] = {arena_format(scanner->emitted->arena, "#include \"%s.h\"", scanner->emitted->name),
                               "#ifndef ACTNN_NO_MAIN", "#endif"};
  bool is_fixed = scanner->directives < 3 && length == strlen(fixed[scanner->directives])
      && !memcmp(line, fixed[scanner->directives], length) && (!start || scanner->text[start - 1] == '\n');
  if (!is_fixed) return refuse(scanner->emitted, start, "a preprocessor line that is not of the fixed preamble");
  scanner->directives++;
  scanner->at += length;
  add_word(scanner, WORD_DIRECTIVE, start);
  return true;
}

static bool
is_octal_digit(char c, char last)
{
  return c >= '0' && c <= last;
}

static bool
scan_text(Scanner *scanner)
{
  size_t start = scanner->at++;
  const char *text = scanner->text;
  for (;; scanner->at++) {
    char c = scanner->at < scanner->length ? text[scanner->at] : '\n';
    if (c == '"') break;
    if (is_name_start(c) || is_digit(c) || memchr("_./:-=(),;+", c, 11)) continue;
    bool is_octal =
        c == '\\' && scanner->at + 3 < scanner->length && is_octal_digit(text[scanner->at + 1], '3');
    for (int i = 2; is_octal && i < 4; i++) is_octal = is_octal_digit(text[scanner->at + i], '7');
    if (!is_octal) return refuse(scanner->emitted, scanner->at, "a string holds a character that must be escaped");
    scanner->at += 3;
  }
  scanner->at++;
  add_word(scanner, WORD_TEXT, start);
  return true;
}

/* Decimal: 12, 12u, 0.5, 1e-05, 1.5e+10. */
static bool
scan_number(Scanner *scanner)
{
  size_t start = scanner->at;
  const char *text = scanner->text;
  while (is_digit(text[scanner->at])) scanner->at++;
  size_t digits = scanner->at - start;
  bool is_real = false;
  if (text[scanner->at] == '.') {
    is_real = true;
    scanner->at++;
    if (!is_digit(text[scanner->at])) return refuse(scanner->emitted, start, "not a number of the emitter's form");
    while (is_digit(text[scanner->at])) scanner->at++;
  }
  if (text[scanner->at] == 'e') {
    is_real = true;
    scanner->at++;
    if (text[scanner->at] == '+' || text[scanner->at] == '-') scanner->at++;
    if (!is_digit(text[scanner->at])) return refuse(scanner->emitted, start, "not a number of the emitter's form");
    while (is_digit(text[scanner->at])) scanner->at++;
  }
  if (!is_real && text[scanner->at] == 'u') scanner->at++;
  bool is_octal = !is_real && digits > 1 && text[start] == '0';
  if (is_octal || is_name_start(text[scanner->at]) || text[scanner->at] == '_' || text[scanner->at] == '.'
      || scanner->at - start > 40)
    return refuse(scanner->emitted, start, "not a number of the emitter's form");
  add_word(scanner, WORD_NUMBER, start);
  return true;
}

/* Own names are lower case; others are the runtime's words and kernels, which the grammar lists. */
static bool
scan_name(Scanner *scanner)
{
  size_t start = scanner->at;
  const char *text = scanner->text;
  while (is_name_start(text[scanner->at]) || is_digit(text[scanner->at]) || text[scanner->at] == '_') scanner->at++;
  size_t length = scanner->at - start;
  if (length > LONGEST_NAME) return refuse(scanner->emitted, start, "a name of %zu characters", length);
  bool is_lower = true, is_upper = true;
  for (size_t i = start; i < scanner->at; i++) {
    is_lower &= !isupper((unsigned char)text[i]);
    is_upper &= !islower((unsigned char)text[i]);
  }
  bool is_kernel = length > 6 && !memcmp(text + start, "actnn_", 6);
  if (!is_lower && !is_upper && !is_kernel)
    return refuse(scanner->emitted, start, "'%.*s' is no name the emitter uses", (int)length, text + start);
  if (text[scanner->at] == '"' || text[scanner->at] == '\'')
    return refuse(scanner->emitted, start, "a string with a prefix");
  add_word(scanner, WORD_NAME, start);
  return true;
}

static bool
scan_word(Scanner *scanner)
{
  const char *at = scanner->text + scanner->at;
  if (*at == ' ' || *at == '\n') {
    scanner->at++;
    return true;
  }
  if (at[0] == '/' && at[1] == '*') return skip_comment(scanner);
  if (*at == '#') return scan_directive(scanner);
  if (*at == '"') return scan_text(scanner);
  if (is_digit(*at)) return scan_number(scanner);
  if (is_name_start(*at)) return scan_name(scanner);
  if (!strchr("{}()[],;=.&*-", *at))
    return refuse(scanner->emitted, scanner->at, "'%c' has no place in emitted source", *at);
  scanner->at++;
  add_word(scanner, WORD_SIGN, scanner->at - 1);
  return true;
}

static bool
are_plain_bytes(Emitted *emitted, const char *text, size_t length, const char *what)
{
  for (size_t i = 0; i < length; i++)
    if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
      return refuse(emitted, i, "byte %u in the %s: only printable ASCII belongs there",
                    (unsigned)(unsigned char)text[i], what);
  return true;
}

bool
scan_words(Emitted *emitted)
{
  Scanner scanner = {.emitted = emitted, .text = emitted->source, .length = emitted->source_length};
  if (emitted->source_length > UINT32_MAX / 2) return refuse(emitted, 0, "the source is larger than 2 GiB");
  if (!are_plain_bytes(emitted, emitted->header, emitted->header_length, "header")) return false;
  if (!are_plain_bytes(emitted, emitted->source, emitted->source_length, "source")) return false;
  while (scanner.at < scanner.length)
    if (!scan_word(&scanner)) return false;
  if (scanner.directives != 3)
    return refuse(emitted, emitted->source_length, "a line of the fixed preamble is missing");
  add_word(&scanner, WORD_END, scanner.at);
  return true;
}

/* The header could redefine what the source's words mean, so it has one form: a comment, then always the same lines. */
bool
check_header(Emitted *emitted)
{
  const char *n = emitted->name, *end = strstr(emitted->header, "*/");
  const char *expected = arena_format(
      emitted->arena,
      "*/\n#ifndef %s_TRAINER_H\n#define %s_TRAINER_H\n\n#include <actnn.h>\n\nextern const actnn_model %s_model;\n\n"
      "actnn *%s_create(int threads, uint64_t seed, char *error, size_t error_bytes);\n"
      "int %s_step(actnn *trainer, double learning_rate, double *loss);\nint %s_evaluate(actnn *trainer, double *loss);\n"
      "int %s_save(actnn *trainer, const char *path);\nint %s_load(actnn *trainer, const char *path);\n"
      "void %s_destroy(actnn *trainer);\n\n#endif\n",
      n, n, n, n, n, n, n, n, n);
  if (!end || strncmp(emitted->header, "/*", 2) || strchr(emitted->header, '\\')
      || strlen(emitted->header) != emitted->header_length)
    return refuse(emitted, 0, "the header does not begin with a comment");
  return !strcmp(end, expected) || refuse(emitted, 0, "the header does not have the lines of every trainer's header");
}

bool
word_is(const Emitted *emitted, uint32_t word, const char *text)
{
  const Word *w = &emitted->word[word];
  return strlen(text) == w->length && !memcmp(emitted->source + w->start, text, w->length);
}

char *
word_text(const Emitted *emitted, uint32_t word)
{
  return arena_text(emitted->arena, emitted->source + emitted->word[word].start, emitted->word[word].length);
}
