/* verify_words.c: taking words, numbers and tensors off the front of what remains to be read; see verify_words.h. */
#include "verify_words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool
unexpected_word(Reader *reader, const char *wanted)
{
  const Word *word = &reader->emitted->word[reader->at];
  return refuse(reader->emitted, word->start, "expected %s, found '%.*s'", wanted,
                word->length > 60 ? 60 : (int)word->length, reader->emitted->source + word->start);
}

bool
accept_word(Reader *reader, const char *text)
{
  if (!word_is(reader->emitted, reader->at, text)) return false;
  reader->at++;
  return true;
}

/* Words separated by spaces; `$` in one stands for the trainer's name. */
bool
expect_words(Reader *reader, const char *words)
{
  while (*words) {
    size_t length = strcspn(words, " ");
    const char *word = arena_text(reader->emitted->arena, words, length);
    if (*word == '$')
      word = arena_format(reader->emitted->arena, "%s%s", reader->emitted->name, word + 1);
    if (!accept_word(reader, word)) return unexpected_word(reader, arena_format(reader->emitted->arena, "'%s'", word));
    words += length + (words[length] == ' ');
  }
  return true;
}

bool
take_unsigned(Reader *reader, bool has_suffix, uint64_t *value)
{
  const Word *word = &reader->emitted->word[reader->at];
  if (word->kind != WORD_NUMBER) return unexpected_word(reader, "a number that is not negative");
  const char *text = word_text(reader->emitted, reader->at);
  char *end;
  errno = 0;
  *value = strtoull(text, &end, 10);
  if (errno || strcmp(end, has_suffix ? "u" : "")) return unexpected_word(reader, "a whole number that fits 64 bits");
  reader->at++;
  return true;
}

bool
take_bytes(Reader *reader, uint64_t *value)
{
  return take_unsigned(reader, true, value);
}

bool
take_count(Reader *reader, uint32_t *value)
{
  uint64_t wide;
  if (!take_unsigned(reader, false, &wide)) return false;
  if (wide >= UINT32_MAX)
    return refuse(reader->emitted, reader->emitted->word[reader->at - 1].start, "a number too large to be a count");
  *value = (uint32_t)wide;
  return true;
}

bool
take_integer(Reader *reader, int64_t *value)
{
  uint64_t magnitude;
  if (accept_word(reader, "INT64_MIN")) return *value = INT64_MIN, true;
  bool is_negative = accept_word(reader, "-");
  if (!take_unsigned(reader, false, &magnitude)) return false;
  if (magnitude > INT64_MAX)
    return refuse(reader->emitted, reader->emitted->word[reader->at - 1].start, "an integer beyond 64 bits");
  *value = is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
  return true;
}

bool
take_real(Reader *reader, double *value)
{
  double sign = accept_word(reader, "-") ? -1 : 1;
  if (accept_word(reader, "INFINITY")) return *value = sign * INFINITY, true;
  if (accept_word(reader, "NAN")) return *value = NAN, true;
  if (reader->emitted->word[reader->at].kind != WORD_NUMBER) return unexpected_word(reader, "a real number");
  const char *text = word_text(reader->emitted, reader->at);
  if (!strpbrk(text, ".e")) return unexpected_word(reader, "a number with a point or an exponent");
  *value = sign * strtod(text, NULL);
  reader->at++;
  return true;
}

bool
take_string(Reader *reader, const char **text)
{
  if (reader->emitted->word[reader->at].kind != WORD_TEXT) return unexpected_word(reader, "a string");
  char *to = word_text(reader->emitted, reader->at++);
  *text = to;
  for (const char *from = to + 1; *from != '"'; to++) { /* escapes have three octal digits (V9) */
    bool is_escape = *from == '\\';
    *to = is_escape ? (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0')) : *from;
    from += is_escape ? 4 : 1;
  }
  *to = 0;
  return true;
}

/* v12, or NONE where that may stand. */
bool
take_tensor(Reader *reader, bool may_be_none, uint32_t *tensor)
{
  const Emitted *emitted = reader->emitted;
  if (may_be_none && accept_word(reader, "NONE")) return *tensor = NONE, true;
  const Word *word = &emitted->word[reader->at];
  const char *text = emitted->source + word->start;
  if (word->kind != WORD_NAME || text[0] != 'v' || word->length < 2 || word->length > 10)
    return unexpected_word(reader, "a tensor");
  uint32_t number = 0;
  for (uint32_t i = 1; i < word->length; i++) {
    if (!is_digit(text[i])) return unexpected_word(reader, "a tensor");
    number = number * 10 + (uint32_t)(text[i] - '0');
  }
  if (number >= emitted->tensor_count || (text[1] == '0' && word->length > 2))
    return unexpected_word(reader, "a tensor of the table");
  *tensor = number;
  reader->at++;
  return true;
}

/* Elements of a list from here to `end`, separated by commas: at least one. */
uint32_t
list_length(const Reader *reader, const char *end)
{
  uint32_t count = 1;
  for (uint32_t at = reader->at; reader->emitted->word[at].kind != WORD_END && !word_is(reader->emitted, at, end); at++)
    count += word_is(reader->emitted, at, ",");
  return count;
}

bool
take_choice(Reader *reader, const char *const *names, int count, const char *wanted, int *choice)
{
  for (*choice = 0; *choice < count; ++*choice)
    if (names[*choice] && accept_word(reader, names[*choice])) return true;
  return unexpected_word(reader, wanted);
}
