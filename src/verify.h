/* verify.h: what the parts of the verifier of emitted source share.
 *
 *   verify_source.c   the child process and its limits
 *   verify_rules.c    the table of rules; places and regions (V3, V8), updates (V7)
 *   verify_scan.c     bytes and words (V9)
 *   verify_words.c    a reader of words
 *   verify_read.c     the text as tables and calls, by a grammar that allows nothing else (V10)
 *   verify_clang.c    what a compiler makes of it: diagnostics (V1), tree (V2)
 *   verify_calls.c    operators' signatures; each call against its own (V2), definition before use (V6)
 *   verify_memory.c   who owns which bytes when (V4)
 *   verify_saves.c    coded and packed values (V5)
 *   verify_program.c  calls against the nodes of the program that they were emitted of (V7)
 *   verify_tables.c   tables and numbers against that program's plan (V8)
 *   verify_cuda.c     kernels beside the source against the calls that need them (V11)
 *
 * Everything lives in one arena of a process that ends after one source. */
#ifndef ACTNN_VERIFY_H
#define ACTNN_VERIFY_H

#include "../runtime/actnn.h"
#include "arena.h"
#include "options.h"
#include "program.h"

#include <stdio.h>

typedef enum WordKind { WORD_NAME, WORD_NUMBER, WORD_TEXT, WORD_SIGN, WORD_DIRECTIVE, WORD_END } WordKind;

typedef struct Word {
  WordKind kind;
  uint32_t start, length; /* bytes of the source */
} Word;

/* What the verifier knows of a kernel: its entry in the operator table. */
typedef struct Kernel {
  const char *name, *signature;
  unsigned flags; /* enum OperatorFlag */
} Kernel;

typedef struct EmittedTensor {
  actnn_tensor at;
  uint32_t position;
} EmittedTensor;

typedef struct EmittedInput {
  uint32_t tensor, position;
  const char *name;
} EmittedInput;

typedef struct EmittedVariable {
  uint32_t tensor, position;
  const char *name;
  actnn_variable_role role;
  bool drawn;
} EmittedVariable;

typedef struct EmittedSave {
  uint32_t tensor, position;
  const char *name;
  actnn_spacing spacing;
  bool dithers;
  double low, high, weight;
  uint32_t choices, parameter, scale; /* tensors; NONE */
  actnn_adaptation adaptation;
} EmittedSave;

typedef enum EmittedPhase { INITIALIZE, FORWARD, BACKWARD, EVALUATE, EMITTED_PHASES } EmittedPhase;

typedef struct EmittedCall {
  const char *name; /* the kernel's, without actnn_ */
  const Kernel *kernel;
  EmittedPhase phase;
  uint32_t position;
  uint32_t output_count, input_count, attribute_count;
  uint32_t *output, *input; /* NONE: absent */
  actnn_attribute *attribute;
} EmittedCall;

/* Where a tensor lives; worked out by V8. */
typedef enum Place {
  PLACE_STEP,       /* a buffer of the step, written by one call */
  PLACE_INPUT,      /* inputs, learning rate, step number: written by the trainer */
  PLACE_VARIABLE,   /* a variable itself */
  PLACE_REPLACING,  /* a call's result that lies on a variable: its first or its next value */
  PLACE_CONSTANT,   /* filled by initialize, then only read */
  PLACE_POOL        /* codes of a save */
} Place;

typedef struct Emitted {
  Arena *arena;
  FILE *findings; /* RULE, position, message: one a line */
  unsigned finding_count;
  const char *rule; /* the one being checked */
  const char *source, *header, *kernels, *name; /* kernels: the CUDA source beside it; "" where there is none */
  size_t source_length, header_length, kernels_length;
  const Program *program; /* what it was emitted of; NULL: the text is judged by itself */
  const Options *options; /* what was asked for beside it */

  Word *word;
  uint32_t word_count;

  EmittedTensor *tensor;
  EmittedVariable *variable;
  EmittedSave *save;
  EmittedCall *call;
  EmittedInput *input;
  uint32_t tensor_count, input_count, variable_count, save_count, call_count;
  uint32_t first_call[EMITTED_PHASES + 1]; /* calls of a phase: [first_call[p], first_call[p + 1]) */
  actnn_model model; /* the numbers of it, and the bytes of the model to export */
  bool is_for_gpu, names_kernels;

  Place *place;        /* by tensor */
  uint32_t *home;      /* by tensor: the variable it lies on, NONE */
  uint32_t *writer;    /* by tensor: the call that writes it, NONE */
  ValueId *value_of;   /* by tensor: the value of the program that it stands for, NO_VALUE while not known */
  uint32_t *tensor_of; /* by value: NONE */
} Emitted;

typedef struct Rule {
  const char *id, *what;
  bool (*holds)(Emitted *emitted);
} Rule;

extern const Rule emitted_rules[];
extern const size_t emitted_rule_count;

/* Notes that the present rule is broken at a byte of the source; returns false. */
bool refuse(Emitted *emitted, size_t position, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Checks all rules in order, stopping after the first that is broken. */
bool check_rules(Emitted *emitted);
bool check_listed_rules(Emitted *emitted, const Rule *rules, size_t count);

bool scan_words(Emitted *emitted);
bool check_header(Emitted *emitted);
bool read_source(Emitted *emitted);
bool check_with_compiler(Emitted *emitted);
bool check_signatures(Emitted *emitted);
bool check_single_writers(Emitted *emitted);
bool check_definitions(Emitted *emitted);
bool check_saves(Emitted *emitted);
bool check_memory(Emitted *emitted);
bool check_program_match(Emitted *emitted); /* as far as the program is known */
bool check_tables(Emitted *emitted);
bool check_kernels(Emitted *emitted);
/* From here on the tensor stands for that value of the program; refuses when one of the two stands for another, or another kind. */
bool stands_for(Emitted *emitted, uint32_t tensor, ValueId value, size_t position);

bool is_digit(char c);
bool word_is(const Emitted *emitted, uint32_t word, const char *text);
char *word_text(const Emitted *emitted, uint32_t word); /* a copy */
/* Kernel called NAME (without actnn_); NULL. */
const Kernel *find_kernel(const char *name);
/* A kernel's signature is "a b# c? -> y ; k:int=1": word `index` of a part of it; the last operand again where that is variadic. NULL past
 * the end. */
typedef enum SignaturePart { OPERANDS, RESULTS, ATTRIBUTES } SignaturePart;
const char *slot_at(const Kernel *kernel, SignaturePart part, uint32_t index, size_t *length);
bool slot_is_marked(const char *slot, size_t length, char mark); /* ?, # or * */
bool kernel_is(const EmittedCall *call, const char *name);
uint32_t call_operand(const EmittedCall *call, uint32_t index); /* NONE when absent */
uint32_t call_result(const EmittedCall *call, uint32_t index);
bool makes_weight_gradient(const Emitted *emitted, const EmittedCall *call);
bool restores_value(const EmittedCall *call); /* the whole value that a save codes */
/* Result `index` is the next value of operand `operand`, by the kernel's meaning: updates, running statistics. */
bool replaces(const EmittedCall *call, uint32_t index, uint32_t operand);
uint64_t element_bytes(unsigned type); /* 0: not one that trainers hold */
/* Bytes of a tensor's elements, channels padded to the widest block; false when a product overflows. */
bool bytes_needed(const actnn_tensor *tensor, uint64_t *bytes);
bool overlap(const Emitted *emitted, uint32_t one, uint32_t other); /* of two tensors' bytes */
bool same_bytes(const Emitted *emitted, uint32_t one, uint32_t other);
bool same_extents(const Emitted *emitted, uint32_t one, uint32_t other);
bool same_real(double a, double b); /* the same number, zero's sign included, or both none */

#endif
