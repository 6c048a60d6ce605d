/* program_annotations.c: facts of programs that ONNX has no place for, as entries of metadata_props.
 *
 * One table says every fact once, for the printer and for the reader: facts of the program name one value ("actnn.loss" : "v12"), facts of
 * values list those that they hold of, links are pairs "new=old". Words are separated by white space; unusual names stand in quotes. */
#include "program_parser.h"
#include "program_printer.h"

#include "../passes/passes.h"
#include "../runtime/codec.h"

#include <math.h>
#include <stdlib.h>
#include <inttypes.h>
#include <string.h>

enum { WIDEST_LINE = 100, TEXT_VERSION = 2 };

static const char *const loss_kinds[] = {"output", "softmax-cross-entropy", "mse", "l1", "bce-with-logits"};
enum { LOSS_KINDS = sizeof loss_kinds / sizeof *loss_kinds };
_Static_assert(LOSS_KINDS == ACTNN_LOSS_BCE_WITH_LOGITS + 1, "every kind of loss has a word");

ValueKind
usual_kind(actnn_type type)
{
  bool is_float = type == ACTNN_F32 || type == ACTNN_F64 || type == ACTNN_F16 || type == ACTNN_BF16;
  return is_float ? VALUE_PARAMETER : VALUE_CONSTANT;
}

/* ---- facts of values: does it hold, and make it hold -------------------------------------------- */

static bool
is_unusual(const Value *value, ValueKind kind)
{
  return value->kind == kind && usual_kind(value->type) != kind;
}

static bool holds_parameter(const Value *value) { return is_unusual(value, VALUE_PARAMETER); }
static bool holds_constant(const Value *value) { return is_unusual(value, VALUE_CONSTANT); }
static bool holds_state(const Value *value) { return value->kind == VALUE_STATE; }
static bool holds_stash(const Value *value) { return value->kind == VALUE_STASH; }
static bool holds_frozen(const Value *value) { return value->is_frozen; }
static bool holds_blocked(const Value *value) { return value->layout == ACTNN_BLOCKED; }
static bool holds_coded(const Value *value) { return value->layout == ACTNN_STASH && value->kind != VALUE_STASH; }
static bool holds_plain(const Value *value) { return value->layout == ACTNN_PLAIN && value->kind == VALUE_STASH; }

static void make_parameter(Value *value) { value->kind = VALUE_PARAMETER; }
static void make_constant(Value *value) { value->kind = VALUE_CONSTANT; }
static void make_state(Value *value) { value->kind = VALUE_STATE; }
static void make_frozen(Value *value) { value->is_frozen = true; }
static void make_blocked(Value *value) { value->layout = ACTNN_BLOCKED; }
static void make_coded(Value *value) { value->layout = ACTNN_STASH; }
static void make_plain(Value *value) { value->layout = ACTNN_PLAIN; }

static void
make_stash(Value *value)
{
  value->kind = VALUE_STASH;
  value->layout = ACTNN_STASH;
}

/* ---- the table ---------------------------------------------------------------------------------- */

typedef enum FactKind {
  FACT_VERSION,       /* of the text form; its presence says that we printed the text */
  FACT_NAMED,         /* values whose real name looks like v12 */
  FACT_ONE,           /* one value of the program */
  FACT_LIST,          /* all values of which it holds */
  FACT_LINK,          /* pairs of values */
  FACT_LOSS_KIND,
  FACT_ALGORITHM,
  FACT_TRAINER_INPUT, /* inputs that are not the model's own */
  FACT_NUMBER,        /* a number of the program; 0: none */
  FACT_SAVES          /* the table that quantize makes: SAVE_WORDS words each */
} FactKind;

typedef struct Fact {
  const char *key;
  FactKind kind;
  size_t offset; /* ONE: of the ValueId in Program. NUMBER: likewise. LINK: in Value */
  bool (*holds)(const Value *value);
  void (*make)(Value *value);
} Fact;

static const Fact facts[] = {
    {"actnn.text", FACT_VERSION, 0, NULL, NULL},
    {"actnn.named", FACT_NAMED, 0, NULL, NULL},
    {"actnn.loss", FACT_ONE, offsetof(Program, loss), NULL, NULL},
    {"actnn.evaluation_loss", FACT_ONE, offsetof(Program, evaluation_loss), NULL, NULL},
    {"actnn.prediction", FACT_ONE, offsetof(Program, prediction), NULL, NULL},
    {"actnn.evaluation_output", FACT_ONE, offsetof(Program, evaluation_output), NULL, NULL},
    {"actnn.evaluation_losses", FACT_ONE, offsetof(Program, evaluation_losses), NULL, NULL},
    {"actnn.label", FACT_ONE, offsetof(Program, label), NULL, NULL},
    {"actnn.learning_rate", FACT_ONE, offsetof(Program, learning_rate), NULL, NULL},
    {"actnn.step_number", FACT_ONE, offsetof(Program, step_number), NULL, NULL},
    {"actnn.loss_kind", FACT_LOSS_KIND, 0, NULL, NULL},
    {"actnn.training_algorithm", FACT_ALGORITHM, 0, NULL, NULL},
    {"actnn.trainer_inputs", FACT_TRAINER_INPUT, 0, NULL, NULL},
    {"actnn.parameter", FACT_LIST, 0, holds_parameter, make_parameter},
    {"actnn.constant", FACT_LIST, 0, holds_constant, make_constant},
    {"actnn.state", FACT_LIST, 0, holds_state, make_state},
    {"actnn.stash", FACT_LIST, 0, holds_stash, make_stash},
    {"actnn.frozen", FACT_LIST, 0, holds_frozen, make_frozen},
    {"actnn.blocked", FACT_LIST, 0, holds_blocked, make_blocked},
    {"actnn.coded", FACT_LIST, 0, holds_coded, make_coded},
    {"actnn.plain", FACT_LIST, 0, holds_plain, make_plain},
    {"actnn.drawn_from", FACT_LINK, offsetof(Value, drawn_from), NULL, NULL},
    {"actnn.updates", FACT_LINK, offsetof(Value, updates), NULL, NULL},
    {"actnn.saves", FACT_SAVES, 0, NULL, NULL},
    {"actnn.uncompressed_bytes", FACT_NUMBER, offsetof(Program, uncompressed_bytes), NULL, NULL},
    {"actnn.identity", FACT_NUMBER, offsetof(Program, identity), NULL, NULL},
};
enum { FACTS = sizeof facts / sizeof *facts };

/* v followed by a number without leading zeros: what the printer calls values without a name. */
static bool
is_number_name(const char *name)
{
  if (name[0] != 'v' || name[1] < '1' || name[1] > '9') return false;
  return name[1 + strspn(name + 1, "0123456789")] == 0;
}

/* ---- printing ----------------------------------------------------------------------------------- */

/* An entry of metadata_props being printed; it is opened with its first word. */
typedef struct Entry {
  Printer *printer;
  const char *key;
  size_t column;
} Entry;

static const char *
quote_word(Arena *arena, const char *word)
{
  static const char usual[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:-";
  if (word[0] && !word[strspn(word, usual)]) return word;
  char *quoted = arena_array(arena, strlen(word) + 2, 2), *to = quoted;
  *to++ = '\'';
  for (; *word; word++) {
    if (*word == '\'' || *word == '\\') *to++ = '\\';
    *to++ = *word;
  }
  *to++ = '\'';
  *to = 0;
  return quoted;
}

static void
open_entry(Entry *entry, const char *first)
{
  put_format(entry->printer, "%s\n    \"%s\" : ", entry->printer->text[entry->printer->length - 1] == '[' ? "" : ",",
             entry->key);
  put(entry->printer, "\"");
  entry->column = 12 + strlen(entry->key) + strlen(first);
}

/* Puts a word that may hold anything inside the "..." of the entry. */
static void
put_word(Entry *entry, const char *word)
{
  Printer *printer = entry->printer;
  bool is_first = !entry->column;
  if (is_first) {
    open_entry(entry, word);
  } else if (entry->column + strlen(word) > WIDEST_LINE) {
    put(printer, "\n     ");
    entry->column = 6 + strlen(word);
  } else {
    put(printer, " ");
    entry->column += 1 + strlen(word);
  }
  for (; *word; word++) {
    if (*word == '"' || *word == '\\') put(printer, "\\");
    put_format(printer, "%c", *word);
  }
}

static void
close_entry(const Entry *entry)
{
  if (entry->column) put(entry->printer, "\"");
}

static bool
is_trainer_input(const Printer *printer, ValueId id)
{
  return value_at(printer->program, id)->kind == VALUE_INPUT && !printer->is_given[id];
}

static const char *
named(const Printer *printer, ValueId id)
{
  return id < printer->program->value_count ? printer->names[id] : NULL;
}

/* The words that a fact about value `id` adds; NULL when it does not hold of it. */
static const char *
fact_word(const Printer *printer, const Fact *fact, ValueId id)
{
  Arena *arena = printer->arena;
  const Value *value = value_at(printer->program, id);
  const char *name = quote_word(arena, printer->names[id]), *other;
  ValueId link;
  switch (fact->kind) {
  case FACT_NAMED: return value->name && value->name[0] && is_number_name(printer->names[id]) ? name : NULL;
  case FACT_LIST: return fact->holds(value) ? name : NULL;
  case FACT_TRAINER_INPUT: return is_trainer_input(printer, id) ? name : NULL;
  default: /* FACT_LINK; the others are not of values */
    memcpy(&link, (const char *)value + fact->offset, sizeof link);
    other = named(printer, link);
    return other ? arena_format(arena, "%s=%s", name, quote_word(arena, other)) : NULL;
  }
}

/* value stash spacing dither|stochastic rectified|plain low high choices bytes uncompressed weight fixed|adaptive|redrawn 'why' */
enum { SAVE_WORDS = 13 };

static const char *const adaptations[] = {"fixed", "adaptive", "redrawn"};

static void
put_saves(Entry *entry)
{
  const Printer *printer = entry->printer;
  const SaveTable *saves = printer->program->saves;
  if (saves && saves->is_complete) put_word(entry, "complete");
  else if (saves && !saves->count) put_word(entry, "none");
  for (uint32_t i = 0; saves && i < saves->count; i++) {
    const Save *save = &saves->save[i];
    const char *value = named(printer, save->value), *stash = named(printer, save->stash);
    put_word(entry, quote_word(printer->arena, value ? value : ""));
    put_word(entry, quote_word(printer->arena, stash ? stash : ""));
    put_word(entry, actnn_spacing_name(save->spacing));
    put_word(entry, save->dither ? "dither" : "stochastic");
    put_word(entry, save->is_rectified ? "rectified" : "plain");
    put_word(entry, arena_format(printer->arena, "%.17g", save->low));
    put_word(entry, arena_format(printer->arena, "%.17g", save->high));
    put_word(entry, arena_format(printer->arena, "%" PRIu32, save->choices));
    put_word(entry, arena_format(printer->arena, "%" PRIu64, save->bytes));
    put_word(entry, arena_format(printer->arena, "%" PRIu64, save->uncompressed));
    put_word(entry, arena_format(printer->arena, "%.17g", save->weight));
    put_word(entry, adaptations[save->adaptation]);
    put_word(entry, quote_word(printer->arena, save->why));
  }
}

void
print_annotations(Printer *printer)
{
  const Program *program = printer->program;
  for (int i = 0; i < FACTS; i++) {
    const Fact *fact = &facts[i];
    Entry entry = {.printer = printer, .key = fact->key};
    if (fact->kind == FACT_VERSION) {
      put_word(&entry, arena_format(printer->arena, "%d", TEXT_VERSION));
    } else if (fact->kind == FACT_ONE) {
      ValueId id;
      memcpy(&id, (const char *)program + fact->offset, sizeof id);
      if (named(printer, id)) put_word(&entry, quote_word(printer->arena, named(printer, id)));
    } else if (fact->kind == FACT_LOSS_KIND) {
      if (program->loss_kind > 0) put_word(&entry, loss_kinds[program->loss_kind]);
    } else if (fact->kind == FACT_ALGORITHM) {
      if (program->has_training_algorithm) put_word(&entry, "yes");
    } else if (fact->kind == FACT_SAVES) {
      put_saves(&entry);
    } else if (fact->kind == FACT_NUMBER) {
      uint64_t number = *(const uint64_t *)(const void *)((const char *)program + fact->offset);
      if (number) put_word(&entry, arena_format(printer->arena, "%" PRIu64, number));
    } else {
      for (uint32_t v = 0; v < printer->listed_count; v++) {
        const char *word = fact_word(printer, fact, printer->listed[v]);
        if (word) put_word(&entry, word);
      }
    }
    close_entry(&entry);
  }
}

/* ---- reading ------------------------------------------------------------------------------------ */

/* The next word up to white space or =, unquoted; NULL at the end. */
static const char *
next_word(Arena *arena, const char **cursor)
{
  const char *from = *cursor + strspn(*cursor, " \t\r\n"), *end = from;
  if (!*from) return NULL;
  bool is_quoted = *from == '\'';
  if (is_quoted) from = ++end;
  while (*end && (is_quoted ? *end != '\'' : !strchr(" \t\r\n=", *end)))
    end += is_quoted && *end == '\\' && end[1] ? 2 : 1;
  char *word = arena_text(arena, from, (size_t)(end - from)), *to = word;
  for (const char *at = word; *at; at++) {
    if (is_quoted && *at == '\\' && at[1]) at++;
    *to++ = *at;
  }
  *to = 0;
  *cursor = is_quoted && *end ? end + 1 : end;
  /* A stray = is a word, so that every call gets on. */
  if (!is_quoted && end == from) ++*cursor;
  return word;
}

static ValueId
annotated_value(Parser *parser, const Annotation *annotation, const char *word)
{
  const NameEntry *entry = word ? find_entry(parser, parser->names, word) : NULL;
  if (entry && entry->is_defined) return entry->number;
  parser_error(parser, annotation->position, NULL,
               arena_format(parser->scratch, "%s names '%s', which is not in the program",
                            safe_name(parser->scratch, annotation->key), word ? safe_name(parser->scratch, word) : ""));
  return NO_VALUE;
}

static bool
apply_link(Parser *parser, const Fact *fact, const Annotation *annotation, const char *word, const char **cursor)
{
  ValueId from = annotated_value(parser, annotation, word);
  if (**cursor != '=')
    return parser_error(parser, annotation->position, NULL, "links between values are written new=old");
  ++*cursor;
  ValueId to = annotated_value(parser, annotation, next_word(parser->scratch, cursor));
  if (from == NO_VALUE || to == NO_VALUE) return false;
  memcpy((char *)value_at(parser->program, from) + fact->offset, &to, sizeof to);
  return true;
}

/* The printer puts these inputs last, so they are looked for from the end. */
static bool
remove_input(Program *program, ValueId id)
{
  for (uint32_t i = program->input_count; i-- > 0;) {
    if (program->inputs[i] != id) continue;
    program->input_count--;
    memmove(&program->inputs[i], &program->inputs[i + 1], (program->input_count - i) * sizeof *program->inputs);
    return true;
  }
  return false;
}

static bool
apply_loss_kind(Parser *parser, const Annotation *annotation, const char *word)
{
  for (int i = 0; i < LOSS_KINDS; i++) {
    if (strcmp(word, loss_kinds[i])) continue;
    parser->program->loss_kind = i;
    return true;
  }
  return parser_error(parser, annotation->position,
                      "kinds are output, softmax-cross-entropy, mse, l1, bce-with-logits",
                      "this kind of loss is not known");
}

/* The numbers of a save, in the order of their words; false when one is no number that a save can have. */
static bool
read_save_numbers(const char *const *word, Save *save)
{
  char *end[6];
  save->low = strtod(word[5], &end[0]);
  save->high = strtod(word[6], &end[1]);
  unsigned long long choices = strtoull(word[7], &end[2], 10);
  save->choices = (uint32_t)choices;
  save->bytes = strtoull(word[8], &end[3], 10);
  save->uncompressed = strtoull(word[9], &end[4], 10);
  save->weight = strtod(word[10], &end[5]);
  for (int i = 0; i < 6; i++)
    if (*end[i]) return false;
  return !(choices >> ACTNN_LEVEL_CHOICES) && isfinite(save->low) && isfinite(save->high) && isfinite(save->weight)
      && save->weight >= 0;
}

/* Whether a word is one of two; which one it is. */
static bool
read_choice(const char *word, const char *yes, const char *no, bool *is_yes)
{
  *is_yes = !strcmp(word, yes);
  return *is_yes || !strcmp(word, no);
}

static bool
read_adaptation(const char *word, actnn_adaptation *adaptation)
{
  for (size_t i = 0; i < sizeof adaptations / sizeof *adaptations; i++) {
    *adaptation = (actnn_adaptation)i;
    if (!strcmp(word, adaptations[i])) return true;
  }
  return false;
}

static const char save_form[] =
    "a save is: value stash spacing dither|stochastic rectified|plain low high choices bytes uncompressed weight fixed|adaptive|redrawn 'why'";

/* Reads one entry of the table of saves; `word` is its first word. An empty name stands for a value that its coder makes. */
static bool
apply_save(Parser *parser, const Annotation *annotation, const char *word, const char **cursor)
{
  Program *program = parser->program;
  const char *words[SAVE_WORDS] = {word};
  Save save = {.value = NO_VALUE, .stash = NO_VALUE, .spacing = ACTNN_SPACINGS};
  if (!program->saves) program->saves = arena_allocate(program->arena, sizeof *program->saves);
  if (!strcmp(word, "none") && !*(*cursor + strspn(*cursor, " \n"))) return true;
  if (!strcmp(word, "complete") && !program->saves->count) return program->saves->is_complete = true;
  for (int i = 1; i < SAVE_WORDS; i++) {
    words[i] = next_word(parser->scratch, cursor);
    if (!words[i])
      return parser_error(parser, annotation->position, NULL, save_form);
  }
  if (words[0][0] && (save.value = annotated_value(parser, annotation, words[0])) == NO_VALUE) return false;
  if (words[1][0] && (save.stash = annotated_value(parser, annotation, words[1])) == NO_VALUE) return false;
  for (int i = 0; i < ACTNN_SPACINGS; i++)
    if (!strcmp(words[2], actnn_spacing_name(i))) save.spacing = (actnn_spacing)i;
  if (save.spacing == ACTNN_SPACINGS)
    return parser_error(parser, annotation->position, NULL, "the levels of a save are even, fixed, masked, square or normal");
  if (!read_choice(words[3], "dither", "stochastic", &save.dither) || !read_choice(words[4], "rectified", "plain", &save.is_rectified)
      || !read_adaptation(words[11], &save.adaptation))
    return parser_error(parser, annotation->position, NULL, save_form);
  if (!read_save_numbers(words, &save))
    return parser_error(parser, annotation->position, NULL, "range, choices, bytes and weight of a save are numbers");
  save.why = arena_text(program->arena, words[12], strlen(words[12]));
  add_save(program, save);
  return true;
}

static bool
apply_word(Parser *parser, const Fact *fact, const Annotation *annotation, const char *word, const char **cursor)
{
  Program *program = parser->program;
  if (fact->kind == FACT_LINK) return apply_link(parser, fact, annotation, word, cursor);
  if (fact->kind == FACT_SAVES) return apply_save(parser, annotation, word, cursor);
  if (fact->kind == FACT_LOSS_KIND) return apply_loss_kind(parser, annotation, word);
  if (fact->kind == FACT_ALGORITHM) return program->has_training_algorithm = true;
  if (fact->kind == FACT_NUMBER) {
    char *end;
    *(uint64_t *)(void *)((char *)program + fact->offset) = strtoull(word, &end, 10);
    return !*end || parser_error(parser, annotation->position, NULL, "that fact is a number");
  }
  if (fact->kind == FACT_VERSION) {
    if (strtol(word, NULL, 10) == TEXT_VERSION) return true;
    return parser_error(parser, annotation->position, "write it again with this version of actnnc",
                        "this text form is of another version");
  }
  ValueId id = annotated_value(parser, annotation, word);
  if (id == NO_VALUE) return false;
  if (fact->kind == FACT_ONE) memcpy((char *)program + fact->offset, &id, sizeof id);
  if (fact->make == make_stash && value_at(program, id)->producer == NO_NODE)
    return parser_error(parser, annotation->position, NULL, "actnn.stash names a value that no node makes");
  if (fact->kind == FACT_LIST) fact->make(value_at(program, id));
  if (fact->kind == FACT_TRAINER_INPUT && !remove_input(program, id))
    return parser_error(parser, annotation->position, NULL, arena_format(parser->scratch, "'%s' is not an input", safe_name(parser->scratch, word)));
  return true;
}

static const Fact *
find_fact(const char *key)
{
  for (int i = 0; i < FACTS; i++)
    if (!strcmp(facts[i].key, key)) return &facts[i];
  return NULL;
}

/* In a text that we printed, v1, v2, ... are places of values without a name, unless "actnn.named" lists them. */
static void
forget_number_names(Parser *parser)
{
  Program *program = parser->program;
  bool *is_kept = arena_array(parser->scratch, (size_t)program->value_count + 1, sizeof *is_kept);
  bool is_ours = false;
  for (size_t i = 0; i < parser->annotations.count; i++) {
    const Annotation *annotation = &parser->annotations.at[i];
    const char *cursor = annotation->value, *word;
    is_ours |= !strcmp(annotation->key, "actnn.text");
    if (strcmp(annotation->key, "actnn.named")) continue;
    while ((word = next_word(parser->scratch, &cursor)) != NULL) {
      const NameEntry *entry = find_entry(parser, parser->names, word);
      if (entry) is_kept[entry->number] = true;
    }
  }
  for (ValueId id = 0; is_ours && id < program->value_count; id++) {
    Value *value = value_at(program, id);
    if (value->name && is_number_name(value->name) && !is_kept[id]) value->name = NULL;
  }
}

bool
apply_annotations(Parser *parser)
{
  bool is_right = true;
  for (size_t i = 0; i < parser->annotations.count; i++) {
    const Annotation *annotation = &parser->annotations.at[i];
    const Fact *fact = find_fact(annotation->key);
    if (!fact) {
      is_right = parser_error(parser, annotation->position, NULL,
                              arena_format(parser->scratch, "'%s' is not a fact of programs",
                                           safe_name(parser->scratch, annotation->key)));
      continue;
    }
    const char *cursor = annotation->value, *word;
    while ((word = next_word(parser->scratch, &cursor)) != NULL && is_right)
      is_right = apply_word(parser, fact, annotation, word, &cursor);
  }
  forget_number_names(parser);
  return is_right;
}
