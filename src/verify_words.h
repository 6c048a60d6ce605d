/* verify_words.h: a reader of the words that verify_scan.c found, for the grammar in verify_read.c.
 *
 * Each function takes what it names and moves on, or refuses what stands there instead and returns false. */
#ifndef ACTNN_VERIFY_WORDS_H
#define ACTNN_VERIFY_WORDS_H

#include "verify.h"

typedef struct Reader {
  Emitted *emitted;
  uint32_t at; /* next word */
} Reader;

bool unexpected_word(Reader *reader, const char *wanted); /* refuses; false */
bool accept_word(Reader *reader, const char *text);       /* false without a refusal when another word stands there */
/* Words separated by spaces; `$` at the start of one stands for the trainer's name. */
bool expect_words(Reader *reader, const char *words);
bool take_unsigned(Reader *reader, bool has_suffix, uint64_t *value); /* the suffix: u */
bool take_bytes(Reader *reader, uint64_t *value);                     /* with the suffix */
bool take_count(Reader *reader, uint32_t *value);                     /* without, less than NONE */
bool take_integer(Reader *reader, int64_t *value);
bool take_real(Reader *reader, double *value);
bool take_string(Reader *reader, const char **text); /* what it says, escapes resolved */
/* v12, or NONE where that may stand. */
bool take_tensor(Reader *reader, bool may_be_none, uint32_t *tensor);
bool take_choice(Reader *reader, const char *const *names, int count, const char *wanted, int *choice);
/* Elements of a list from here to `end`, separated by commas: at least one. Takes nothing. */
uint32_t list_length(const Reader *reader, const char *end);

#endif
