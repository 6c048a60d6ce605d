/* mutants.h: mutants of emitted sources, each of which breaks one of the rules V1 to V10 by the way it is made.
 *
 *   mutants.c          sources to change, edits, what the verifier says to a mutant, counting
 *   mutants_source.c   places in a source, facts of its tensors and calls
 *   mutants_words.c    words, statements and what a compiler makes of them: V1, V2, V9, V10
 *   mutants_places.c   where tensors lie: V3, V4, V8's regions
 *   mutants_values.c   codes, definitions, the program and its plan: V5, V6, V7, V8's tables
 *   mutants_sweep.c    any word, whatever it is
 *
 * Mutants that mean the same as the original are left out by construction. No two are the same text. */
#ifndef ACTNN_MUTANTS_H
#define ACTNN_MUTANTS_H

#include "../../src/operators.h"
#include "../../src/verify.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* Bytes [from, to) of the source. */
typedef struct Span {
  size_t from, to;
} Span;

typedef struct Edit {
  Span span;
  const char *with;
} Edit;

/* Mutants of one rule over all sources. */
typedef struct Count {
  unsigned made, tried, refused, named; /* named: the rule by name, not another one that the mutant breaks too */
} Count;

/* Who is asked: the verifier; or its compiler alone, as if the words were still the good source's. */
typedef enum Judge { VERIFIER, COMPILER } Judge;

typedef struct Bench {
  Arena *arena, *scratch;    /* scratch: until the next rule */
  Diagnostics *diagnostics;
  char *messages;
  size_t message_bytes;
  const char *what;          /* the source's name in messages */
  const char *source, *header, *kernels; /* kernels: NULL: there are none */
  size_t kernels_length;
  Program *program;
  Options options;
  bool knows_program;        /* the verifier is told both; otherwise the text alone must do */
  Emitted emitted;           /* what the verifier itself reads of the good source: to know where to change it */
  const char *rule;          /* of the present mutants */
  Count *count;
  unsigned every, thin;      /* one mutant in `every` is tried, one place and kind in `thin` makes a mutant */
  unsigned offered;          /* places and kinds so far */
  char *mutant;
  size_t mutant_capacity;
} Bench;

typedef struct Origin {
  const char *what, *text, *model; /* a program's text, a file of models/, or a random graph */
  uint64_t graph;
  const char *optimizer, *scheme, *loss; /* loss: NULL: by classes */
  int64_t batch;
  int level; /* 0: 3 */
  bool is_for_gpu, is_bfloat;
} Origin;

extern const Origin origins[];
extern const size_t origin_count;

/* Translates in memory; NULL, or why there is nothing to change. finish_bench follows in any case. */
const char *start_bench(Bench *bench, const Origin *origin);
void finish_bench(Bench *bench);

/* Verifies; messages are in bench->messages. */
bool verify_text(Bench *bench, const char *source, const char *header);
/* The source with some places changed, in any order, none overlapping; it lasts until the next one. */
const char *edited(Bench *bench, const Edit *edits, size_t count);

/* Is it refused, with a message that names a rule? *is_named: the present one. */
bool is_refused(Bench *bench, Judge judge, const char *source, const char *header, bool *is_named);
/* How many places of a long source make no mutant for one that does. */
unsigned thinning(const Bench *bench);

/* One mutant: counted, and tried when its turn has come. */
void mutate(Bench *bench, Judge judge, const char *kind, const Edit *edits, size_t count);
void mutate_header(Bench *bench, const char *kind, const char *header);
void change(Bench *bench, const char *kind, Span span, const char *with);
void insert(Bench *bench, const char *kind, size_t at, const char *text);
void change_two(Bench *bench, const char *kind, Span one, const char *with_one, Span other, const char *with_other);
void change_for_compiler(Bench *bench, const char *kind, Span span, const char *with);

/* ---- places in the source ------------------------------------------------------------------------------------ */

#define FORMAT(...) arena_format(bench->scratch, __VA_ARGS__)

/* Element `index` of the list that opens at `open`, with a brace or a parenthesis; from == to past its end. */
Span item_of(const Bench *bench, size_t open, uint32_t index);
const char *text_of(const Bench *bench, Span span);
/* A row of the table of tensors. */
typedef enum Field { TYPE, LAYOUT, RANK, EXTENTS, OFFSET, BYTES, ROW_FIELDS } Field;
Span row_of(const Bench *bench, uint32_t tensor); /* the line's braces and all between */
Span field_of(const Bench *bench, uint32_t tensor, Field field);
/* The words of a call. */
Span callee_of(const Bench *bench, const EmittedCall *call);
Span operand_of(const Bench *bench, const EmittedCall *call, uint32_t index);
Span result_of(const Bench *bench, const EmittedCall *call, uint32_t index);
Span attribute_of(const Bench *bench, const EmittedCall *call, uint32_t index);
Span call_line(const Bench *bench, const EmittedCall *call); /* from the first word to behind the newline */
/* What stands behind ".FIELD = " in the model. */
Span model_field(const Bench *bench, const char *field);
enum SaveField { SAVE_STASH, SAVE_NAME, SAVE_SPACING, SAVE_DITHER, SAVE_LOW, SAVE_HIGH, SAVE_CHOICES, SAVE_RANDOM, SAVE_ADAPTATION,
                 SAVE_WEIGHT, SAVE_PARAMETER, SAVE_SCALE, SAVE_FIELDS };
enum VariableField { VARIABLE_TENSOR, VARIABLE_NAME, VARIABLE_ROLE, VARIABLE_DRAWN };
/* Field `index` of a row of the tables of saves, variables and inputs, by the position of its first word. */
Span table_field(const Bench *bench, uint32_t position, uint32_t index);
const char *decimal(const Bench *bench, uint64_t number);

/* ---- what tensors and calls are ------------------------------------------------------------------------------- */

bool reads_tensor(const EmittedCall *call, uint32_t tensor);
bool is_one_of(const char *name, const char *const *names, size_t count);
/* The last call that reads it; NONE. */
uint32_t last_reader(const Emitted *emitted, uint32_t tensor);
/* Both run in a step, or both in evaluation, or both at the start. */
bool same_time(const Emitted *emitted, uint32_t one_call, uint32_t other_call);

/* ---- generators ------------------------------------------------------------------------------------------------ */

typedef void Generator(Bench *bench);
Generator mutate_diagnostics, mutate_callees, mutate_words, mutate_statements;   /* V1, V2, V9, V10 */
Generator mutate_places, mutate_lifetimes, mutate_regions;                       /* V3, V4, V8 */
Generator mutate_codes, mutate_definitions, mutate_meaning, mutate_plan;         /* V5, V6, V7, V8 */
Generator mutate_any_word;

#endif
