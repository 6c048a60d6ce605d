/* mutants_sweep.c: any word of a source changed, whatever it is: no rule by name, so that what the other generators did not think of is
 * tried too; see mutants.h. */
#include "mutants.h"

/* Words that mean alike are one: any number, any string, any tensor, any kernel. */
static const char *
kind_of(const Bench *bench, uint32_t index)
{
  const Word *word = &bench->emitted.word[index];
  const char *text = bench->source + word->start;
  if (word->kind == WORD_NUMBER) return strpbrk(word_text(&bench->emitted, index), ".e") ? "1." : "1";
  if (word->kind == WORD_TEXT) return "\"\"";
  if (word->kind == WORD_NAME && word->length > 1 && text[0] == 'v' && text[1] >= '0' && text[1] <= '9') return "v";
  if (word->kind == WORD_NAME && word->length > 6 && !strncmp(text, "actnn_", 6) && text[6] >= 'A' && text[6] <= 'Z') return "kernel";
  return word_text(&bench->emitted, index);
}

enum { TABLES = 4 }; /* tensors, inputs, variables, saves; each is static, and so is a phase */

/* The first word of its kind between those neighbours, in each of the tables and in all phases; *known grows by it. */
static bool
is_first(Bench *bench, uint32_t index, uint32_t section, const char ***known, uint32_t *count)
{
  const char *between = FORMAT("%u %s %s %s %s", section < TABLES ? section : TABLES, index > 1 ? kind_of(bench, index - 2) : "", index ? kind_of(bench, index - 1) : "",
                               kind_of(bench, index), index + 1 < bench->emitted.word_count ? kind_of(bench, index + 1) : "");
  for (uint32_t i = 0; i < *count; i++)
    if (!strcmp((*known)[i], between)) return false;
  (*known)[(*count)++] = between;
  return true;
}

void
mutate_any_word(Bench *bench)
{
  static const char *const instead[] = {"", "wrong", "7", "4294967295", "9223372036854775808", "18446744073709551616", "7u", "7.5", "-",
                                        "NONE", "v", "v0", "v00", "v12345678901", "\"wrong\"", "}", ";", ")", ","};
  const char **known = arena_array(bench->scratch, bench->emitted.word_count, sizeof *known);
  uint32_t count = 0, section = 0;
  for (uint32_t i = 0; i < bench->emitted.word_count; i++) {
    const Word *word = &bench->emitted.word[i];
    section += word_is(&bench->emitted, i, "static");
    if (word->kind == WORD_END || !is_first(bench, i, section, &known, &count)) continue;
    const Span span = {word->start, word->start + word->length};
    const char *text = text_of(bench, span);
    insert(bench, "a word twice", span.to, FORMAT(" %s", text));
    change(bench, "no more from here on", (Span){span.from, strlen(bench->source)}, "");
    if (word->kind != WORD_DIRECTIVE) change(bench, "no more behind here", (Span){span.to, strlen(bench->source)}, "");
    for (size_t k = 0; k < COUNT(instead); k++)
      if (strcmp(text, instead[k])) change(bench, "another word", span, instead[k]);
  }
}
