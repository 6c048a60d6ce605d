/* verify_cuda.c: V11: the kernels beside a source (NAME.cu) are those of the steps that its calls name, in the one form that they have, and
 * there is nothing else in the file.
 *
 * The form is that of cuda/actnn_pointwise.h: its include, for each text of steps a POINTWISE with one statement a step, and the table of
 * them. No other word, no other preprocessor line, no backslash: what the macros of the installed header make of it is known. Of
 * statements every name and number is compared with the step of the call. */
#include "verify.h"

#include "operators/pointwise_steps.h"

#include <stdlib.h>
#include <string.h>

typedef struct Kernels {
  Emitted *emitted;
  const char *text;
  size_t length, at, word; /* word: its length */
  const char **steps;      /* the texts that calls name, each once, in order */
  uint32_t count;
} Kernels;

/* ---- words -------------------------------------------------------------------------------------------------------- */

static bool
is_name_character(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

/* Comments hold names of the model, made safe; nothing in them ends a comment early or joins lines. */
static bool
skip_comment(Kernels *kernels)
{
  const char *start = kernels->text + kernels->at, *end = strstr(start + 2, "*/");
  if (!end) return refuse(kernels->emitted, kernels->at, "a comment does not end");
  for (const char *at = start + 2; at < end; at++)
    if (!strncmp(at, "/*", 2) || !strncmp(at, "?\?/", 3))
      return refuse(kernels->emitted, (size_t)(at - kernels->text), "a comment holds %.2s", at);
  kernels->at = (size_t)(end + 2 - kernels->text);
  return true;
}

static size_t
number_length(const char *text)
{
  size_t length = strspn(text, "0123456789");
  if (text[length] == '.') length += 1 + strspn(text + length + 1, "0123456789");
  if (text[length] == 'e') length += 1 + (text[length + 1] == '-' || text[length + 1] == '+');
  return length + strspn(text + length, "0123456789");
}

/* To the next word: a name, a number, a string, a sign, or the include; empty at the end. */
static bool
find_word(Kernels *kernels)
{
  while (kernels->text[kernels->at] == ' ' || kernels->text[kernels->at] == '\n' || !strncmp(kernels->text + kernels->at, "/*", 2)) {
    if (kernels->text[kernels->at] != '/') kernels->at++;
    else if (!skip_comment(kernels)) return false;
  }
  const char *text = kernels->text + kernels->at;
  if (*text == '"') kernels->word = 1 + strcspn(text + 1, "\"\n") + 1;
  else if (*text == '#') kernels->word = strcspn(text, "\n");
  else if (is_digit(*text)) kernels->word = number_length(text);
  else for (kernels->word = 0; is_name_character(text[kernels->word]); kernels->word++) continue;
  if (!kernels->word) kernels->word = *text != 0;
  return true;
}

static bool
unexpected(Kernels *kernels, const char *wanted)
{
  return refuse(kernels->emitted, kernels->at, "expected %s, found '%.*s'", wanted, kernels->word > 60 ? 60 : (int)kernels->word,
                kernels->text + kernels->at);
}

static bool
word_here_is(const Kernels *kernels, const char *word)
{
  return strlen(word) == kernels->word && !memcmp(kernels->text + kernels->at, word, kernels->word);
}

static bool
accept(Kernels *kernels, const char *word)
{
  if (!word_here_is(kernels, word)) return false;
  kernels->at += kernels->word;
  return find_word(kernels);
}

/* Words separated by spaces. */
static bool
expect(Kernels *kernels, const char *words)
{
  while (*words) {
    size_t length = strcspn(words, " ");
    const char *word = arena_text(kernels->emitted->arena, words, length);
    if (!accept(kernels, word)) return unexpected(kernels, arena_format(kernels->emitted->arena, "'%s'", word));
    words += length + (words[length] == ' ');
  }
  return true;
}

/* ---- kernels ------------------------------------------------------------------------------------------------------ */

static bool
expect_place(Kernels *kernels, int place)
{
  Arena *arena = kernels->emitted->arena;
  if (place >= FIRST_TEMPORARY) return expect(kernels, arena_format(arena, "t%d", place - FIRST_TEMPORARY));
  if (place >= FIRST_RESULT) return expect(kernels, arena_format(arena, "y ( %d )", place - FIRST_RESULT));
  return expect(kernels, arena_format(arena, "x ( %d )", place));
}

static bool
expect_attribute(Kernels *kernels, const pointwise_row *row, const actnn_attribute *attribute)
{
  if (attribute->kind != ACTNN_REAL) return expect(kernels, pointwise_flag(row, attribute) ? "1" : "0");
  bool is_negative = word_here_is(kernels, "-");
  if (is_negative && !accept(kernels, "-")) return false;
  const char *number = arena_text(kernels->emitted->arena, kernels->text + kernels->at, kernels->word);
  if (!is_digit(*number) || !strpbrk(number, ".e")) return unexpected(kernels, "a real number");
  char *end;
  double value = strtod(number, &end);
  if (*end || !same_real(is_negative ? -value : value, attribute->f)) return unexpected(kernels, "the number of the step");
  kernels->at += kernels->word;
  return find_word(kernels);
}

/* `y(0) = point_Row(x(0), t1, 0.5);` or `const float t2 = ...` */
static bool
expect_step(Kernels *kernels, const pointwise_step *step)
{
  const pointwise_row *row = pointwise_row_at(step->row);
  if (step->result >= FIRST_TEMPORARY && !expect(kernels, "const float")) return false;
  if (!expect_place(kernels, step->result)) return false;
  if (!expect(kernels, arena_format(kernels->emitted->arena, "= point_%s (", row->name))) return false;
  for (int k = 0; k < step->operand_count; k++)
    if ((k && !expect(kernels, ",")) || !expect_place(kernels, step->operand[k])) return false;
  for (int k = 0; k < step->attribute_count; k++)
    if (!expect(kernels, ",") || !expect_attribute(kernels, row, &step->attribute[k])) return false;
  return expect(kernels, ") ;");
}

static bool
expect_kernel(Kernels *kernels, uint32_t number)
{
  pointwise_steps steps;
  if (parse_pointwise_steps(kernels->steps[number], &steps)) return unexpected(kernels, "steps that can be read");
  const char *head = arena_format(kernels->emitted->arena, "POINTWISE ( joined_%u , %d , %d ) {", number, steps.operands, steps.results);
  if (!expect(kernels, head)) return false;
  for (int i = 0; i < steps.count; i++)
    if (!expect_step(kernels, &steps.step[i])) return false;
  return expect(kernels, "}");
}

static bool
expect_table(Kernels *kernels)
{
  Arena *arena = kernels->emitted->arena;
  if (!expect(kernels, arena_format(arena, "POINTWISE_TABLE ( %s_pointwise ) = {", kernels->emitted->name))) return false;
  for (uint32_t i = 0; i < kernels->count; i++)
    if (!expect(kernels, arena_format(arena, "{ \"%s\" , joined_%u } ,", kernels->steps[i], i))) return false;
  return expect(kernels, "POINTWISE_END } ;");
}

/* ---- all ------------------------------------------------------------------------------------------------------------ */

/* The steps of a joined node; NULL of any other call. */
static const char *
steps_of(const EmittedCall *call)
{
  bool is_joined = kernel_is(call, "Pointwise") && call->attribute_count && call->attribute[0].kind == ACTNN_TEXT;
  return is_joined ? call->attribute[0].text : NULL;
}

static void
list_steps(Kernels *kernels)
{
  const Emitted *emitted = kernels->emitted;
  kernels->steps = arena_array(emitted->arena, emitted->call_count + 1u, sizeof *kernels->steps);
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const char *steps = steps_of(&emitted->call[i]);
    uint32_t known = 0;
    while (steps && known < kernels->count && strcmp(kernels->steps[known], steps)) known++;
    if (steps && known == kernels->count) kernels->steps[kernels->count++] = steps;
  }
}

bool
check_kernels(Emitted *emitted)
{
  Kernels kernels = {.emitted = emitted, .text = emitted->kernels, .length = emitted->kernels_length};
  list_steps(&kernels);
  bool needs_kernels = emitted->is_for_gpu && kernels.count;
  if (emitted->names_kernels != needs_kernels)
    return refuse(emitted, 0, "the model names kernels that no call needs, or the other way round");
  if ((emitted->kernels_length != 0) != needs_kernels)
    return refuse(emitted, 0, "there are kernels that no call needs, or the other way round");
  if (!needs_kernels) return true;
  for (size_t i = 0; i < kernels.length; i++)
    if ((kernels.text[i] != '\n' && (kernels.text[i] < ' ' || kernels.text[i] > '~')) || kernels.text[i] == '\\')
      return refuse(emitted, i, "byte %u has no place among kernels", (unsigned)(unsigned char)kernels.text[i]);
  if (!find_word(&kernels)) return false;
  if (kernels.at && kernels.text[kernels.at - 1] != '\n') return unexpected(&kernels, "the include on a line of its own");
  if (!accept(&kernels, "#include \"actnn_pointwise.h\"")) return unexpected(&kernels, "the include of actnn_pointwise.h");
  for (uint32_t i = 0; i < kernels.count; i++)
    if (!expect_kernel(&kernels, i)) return false;
  return expect_table(&kernels) && (kernels.at == kernels.length || unexpected(&kernels, "the end of the kernels"));
}
