/* verify_facts.h: a good source as the verifier has read it, and its program, as copies that a test may change at will, and questions
 * to one rule: which rule answers, and with what words. */
#ifndef ACTNN_VERIFY_FACTS_H
#define ACTNN_VERIFY_FACTS_H

#include "../../passes/passes.h"
#include "../../src/program_identity.h"
#include "../runtime/tap.h"
#include "mutants.h"

#include <math.h>

/* ---- a copy of what the verifier has read, and of the program, to be changed at will ------------------------------------------- */

static Bench bench;
static Arena *arena; /* of the present copy */
static Emitted *facts;
static Program *program;

static inline void *
copied(const void *from, size_t count, size_t size)
{
  void *copy = arena_array(arena, count + 1, size); /* one more may be added */
  if (count) memcpy(copy, from, count * size);
  return copy;
}

static inline void
copy_program(void)
{
  program = copied(bench.program, 1, sizeof *program);
  program->values = copied(program->values, program->value_count, sizeof *program->values);
  program->nodes = copied(program->nodes, program->node_count, sizeof *program->nodes);
  for (uint32_t i = 0; i < program->node_count; i++) {
    Node *node = &program->nodes[i];
    node->operands = copied(node->operands, node->operand_count, sizeof *node->operands);
    node->results = copied(node->results, node->result_count, sizeof *node->results);
    node->attributes = copied(node->attributes, node->attribute_count, sizeof *node->attributes);
  }
  program->saves = copied(program->saves, 1, sizeof *program->saves);
  program->saves->save = copied(program->saves->save, program->saves->count, sizeof *program->saves->save);
}

/* From here on facts and program are those of the good source again. */
static inline void
start_again(void)
{
  if (arena) arena_destroy(arena);
  arena = arena_create();
  copy_program();
  facts = copied(&bench.emitted, 1, sizeof *facts);
  facts->arena = arena;
  facts->program = program;
  facts->tensor = copied(facts->tensor, facts->tensor_count, sizeof *facts->tensor);
  facts->place = copied(facts->place, facts->tensor_count, sizeof *facts->place);
  facts->home = copied(facts->home, facts->tensor_count, sizeof *facts->home);
  facts->writer = copied(facts->writer, facts->tensor_count, sizeof *facts->writer);
  facts->input = copied(facts->input, facts->input_count, sizeof *facts->input);
  facts->variable = copied(facts->variable, facts->variable_count, sizeof *facts->variable);
  facts->save = copied(facts->save, facts->save_count, sizeof *facts->save);
  facts->call = copied(facts->call, facts->call_count, sizeof *facts->call);
  for (uint32_t i = 0; i < facts->call_count; i++) {
    EmittedCall *call = &facts->call[i];
    call->input = copied(call->input, call->input_count, sizeof *call->input);
    call->output = copied(call->output, call->output_count, sizeof *call->output);
    call->attribute = copied(call->attribute, call->attribute_count, sizeof *call->attribute);
  }
}

/* ---- asking ------------------------------------------------------------------------------------------------------------------ */

static const char SIGNATURES[] = "calls fit their operators' signatures", PARTS[] = "parts of the arena are disjoint",
                  DEFINITIONS[] = "each tensor is written before it is read",
                  CODES[] = "codes are written once, read as written", UPDATES[] = "each parameter has one update",
                  MEMORY[] = "nothing that lives is overwritten",
                  PROGRAM[] = "calls are the program's nodes, tables (V8) those of its plan",
                  COMPILER_VIEW[] = "a compiler has no remark, and sees the same calls";

/* What the one rule says of the facts as they are now, the others not asked; the facts then are good again. "" when it accepts. The
 * model has the present program's identity, or that alone would give every change of a program away. */
static inline const char *
ask(const char *rule)
{
  static char said[1000];
  char *findings = NULL;
  size_t length = 0;
  bool holds = false;
  facts->findings = open_memstream(&findings, &length);
  facts->finding_count = 0;
  facts->model.model_hash = program_identity(program);
  for (size_t i = 0; i < emitted_rule_count; i++)
    if (!strcmp(emitted_rules[i].what, rule)) {
      facts->rule = emitted_rules[i].id;
      holds = emitted_rules[i].holds(facts);
    }
  fclose(facts->findings);
  snprintf(said, sizeof said, "%s%s", holds == (length == 0) ? "" : "the verdict is not what is said: ", findings);
  free(findings);
  start_again();
  return said;
}

/* Refused by that name, with a message of these words. */
static inline void
refuses(const char *rule, const char *id, const char *message, const char *what)
{
  const char *said = ask(rule);
  if (!ok(!strncmp(said, id, strlen(id)) && said[strlen(id)] == '\t' && strstr(said, message), "%s refuses: %s", id, what))
    printf("# %s: %s\n", bench.what, said);
}

static inline void
accepts(const char *rule, const char *what)
{
  const char *said = ask(rule);
  if (!ok(!*said, "accepted: %s", what)) printf("# %s: %s\n", bench.what, said);
}

/* ---- finding ------------------------------------------------------------------------------------------------------------------ */

static inline EmittedCall *
call_of(const char *kernel, unsigned index)
{
  for (uint32_t i = 0; i < facts->call_count; i++)
    if (kernel_is(&facts->call[i], kernel) && index-- == 0) return &facts->call[i];
  printf("Bail out! no call of %s\n", kernel);
  exit(1);
}

static inline Node *
node_of(const char *operator, unsigned index)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    Node *node = node_at(program, program->order[i]);
    if (!strcmp(node->operator_name, operator) && index-- == 0) return node;
  }
  printf("Bail out! no node of %s\n", operator);
  exit(1);
}

static inline Value *
value_called(const char *name)
{
  for (ValueId id = 0; id < program->value_count; id++)
    if (value_at(program, id)->name && !strcmp(value_at(program, id)->name, name)) return value_at(program, id);
  printf("Bail out! no value is called %s\n", name);
  exit(1);
}

static inline actnn_tensor *
tensor_at(uint32_t index)
{
  return &facts->tensor[index].at;
}

static inline void
start(const Origin *origin)
{
  const char *problem = start_bench(&bench, origin);
  if (!ok(!problem, "accepted: %s%s%s", origin->what, problem ? ": " : "", problem ? problem : "")) exit(tap_done());
  start_again();
}

static inline void
start_called(const char *what)
{
  for (size_t i = 0; i < origin_count; i++)
    if (!strcmp(origins[i].what, what)) start(&origins[i]);
}

static inline void
finish(void)
{
  arena_destroy(arena);
  arena = NULL;
  finish_bench(&bench);
}

#endif
