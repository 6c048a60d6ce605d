/* test_verify_rules.c: each rule of the verifier by itself. What it has read of a good source is changed in memory, one fact at a time,
 * and every rule that judges facts is asked alone, as if those before it had found nothing. (The rules of the text, and the compiler's
 * view, have verify_mutants.)
 *
 * Together they must refuse each change, and each has changes that it refuses alone. Changes that may mean the same are not made: another
 * free place for a buffer of a step.
 *
 *   FACTS=all tests/cli/test_verify_rules    tensors and calls all of them, not one in five */
#include "../random/random_graph.h"
#include "../runtime/tap.h"
#include "mutants.h"

/* One fact: so many bytes there, for now others. */
typedef struct Fact {
  void *at;
  size_t bytes;
  const char *what;
} Fact;

typedef struct Desk {
  Bench *bench;
  Arena *scratch;
  unsigned changes, refused, accepted, unnamed, step; /* one tensor or call in `step` is changed */
  const char *where; /* the kernel of the call that is changed */
  bool may_be_right; /* the present changes may mean the same: rules are asked, and what they say is looked at, no more */
} Desk;

enum { MOST_RULES = 32 };

static unsigned refusals_alone[MOST_RULES]; /* by rule */

static bool
judges_facts(const Rule *rule)
{
  return rule->holds != scan_words && rule->holds != check_header && rule->holds != read_source && rule->holds != check_with_compiler;
}

/* Asks one rule; what it says must name it. */
static bool
ask_rule(Desk *desk, const Rule *rule, Emitted *emitted)
{
  char *said = NULL;
  size_t said_bytes = 0;
  emitted->findings = open_memstream(&said, &said_bytes);
  emitted->rule = rule->id;
  emitted->finding_count = 0;
  bool holds = rule->holds(emitted);
  fclose(emitted->findings);
  /* Nothing is said, or "V4", a tab, a position, a tab and why. */
  const char *tab = said[0] == 'V' ? strchr(said, '\t') : NULL;
  bool is_named = tab && strchr(tab + 1, '\t');
  if (holds ? said_bytes > 0 : !is_named) desk->unnamed++;
  free(said);
  return holds;
}

/* Do the rules, one after the other, accept what the verifier has read? Then each is asked alone, with what the good source led the others
 * to find out: where tensors lie, and who writes them. */
static bool
ask_rules(Desk *desk)
{
  Emitted emitted = desk->bench->emitted;
  bool is_accepted = true;
  emitted.arena = desk->scratch;
  for (size_t i = 0; i < emitted_rule_count && is_accepted; i++)
    if (judges_facts(&emitted_rules[i])) is_accepted = ask_rule(desk, &emitted_rules[i], &emitted);
  for (size_t i = 0; i < emitted_rule_count; i++) {
    Emitted alone = desk->bench->emitted;
    alone.arena = desk->scratch;
    if (judges_facts(&emitted_rules[i]) && !ask_rule(desk, &emitted_rules[i], &alone)) refusals_alone[i]++;
  }
  arena_destroy(desk->scratch);
  desk->scratch = arena_create();
  return is_accepted;
}

static void
change_fact(Desk *desk, Fact fact, const void *with)
{
  unsigned char before[sizeof(actnn_attribute)];
  enum { MOST_SHOWN = 12 };
  if (fact.bytes > sizeof before || !memcmp(fact.at, with, fact.bytes)) return;
  memcpy(before, fact.at, fact.bytes);
  memcpy(fact.at, with, fact.bytes);
  bool is_accepted = ask_rules(desk);
  memcpy(fact.at, before, fact.bytes);
  desk->changes++;
  desk->refused += !is_accepted;
  if (!is_accepted || desk->may_be_right) return;
  if (desk->accepted++ < MOST_SHOWN) printf("# %s: no rule refuses another %s: %s\n", desk->bench->what, fact.what, desk->where);
}

#define CHANGE(field, value, what) \
  do { \
    __typeof__(field) changed_ = (value); \
    change_fact(desk, (Fact){&(field), sizeof(field), what}, &changed_); \
  } while (0)

static const uint64_t far = (uint64_t)1 << 62;

static void
change_tensor(Desk *desk, uint32_t index)
{
  static const uint8_t types[] = {ACTNN_F32, ACTNN_U8, ACTNN_I64, ACTNN_BOOL, ACTNN_F16};
  actnn_tensor *tensor = &desk->bench->emitted.tensor[index].at;
  for (size_t i = 0; i < COUNT(types); i++) CHANGE(tensor->type, types[i], "type of a tensor");
  for (int layout = ACTNN_PLAIN; layout <= ACTNN_STASH; layout++) CHANGE(tensor->layout, layout, "layout of a tensor");
  CHANGE(tensor->rank, tensor->rank < ACTNN_MAX_RANK ? tensor->rank + 1 : 1, "rank of a tensor");
  for (int axis = 0; axis < tensor->rank; axis++) {
    CHANGE(tensor->dim[axis], tensor->dim[axis] + 1, "extent of a tensor");
    CHANGE(tensor->dim[axis], far, "extent of a tensor");
  }
  CHANGE(tensor->offset, tensor->offset + 32, "offset of a tensor");
  CHANGE(tensor->offset, desk->bench->emitted.model.arena_bytes, "offset of a tensor");
  CHANGE(tensor->bytes, 0, "room of a tensor");
  CHANGE(tensor->bytes, 32, "room of a tensor");
  CHANGE(tensor->bytes, far, "room of a tensor");
}

static void
change_list(Desk *desk, uint32_t *list, uint32_t *count, uint32_t index, const char *what)
{
  const uint32_t tensors = desk->bench->emitted.tensor_count;
  for (uint32_t k = 0; k < *count; k++) {
    CHANGE(list[k], NONE, what);
    const uint32_t others[] = {0, tensors - 1, (index * 7 + k) % tensors, list[k] + 1 < tensors ? list[k] + 1 : 0};
    for (size_t i = 0; i < COUNT(others); i++) CHANGE(list[k], others[i], what);
  }
  if (*count > 1) CHANGE(*count, *count - 1, what);
}

/* A number of every kind in its place. */
static void
change_attribute(Desk *desk, actnn_attribute *attribute)
{
  static const int64_t ints[] = {3, 1, 4};
  static const double reals[] = {3, 1, 4};
  const actnn_attribute others[] = {{.kind = ACTNN_ABSENT},
                                    {.kind = ACTNN_INT, .i = attribute->kind == ACTNN_INT ? attribute->i + 1 : 77},
                                    {.kind = ACTNN_INT, .i = -1},
                                    {.kind = ACTNN_REAL, .f = attribute->f + 0.5},
                                    {.kind = ACTNN_INTS, .count = 3, .ints = ints},
                                    {.kind = ACTNN_INTS, .count = attribute->count == 2 ? 1 : 2, .ints = ints},
                                    {.kind = ACTNN_REALS, .count = 3, .reals = reals},
                                    {.kind = ACTNN_REALS, .count = 1, .reals = reals},
                                    {.kind = ACTNN_TEXT, .text = "no text that an attribute has"}};
  for (size_t i = 0; i < COUNT(others); i++) CHANGE(*attribute, others[i], "attribute of a call");
}

static void
change_call(Desk *desk, uint32_t index)
{
  EmittedCall *call = &desk->bench->emitted.call[index];
  desk->where = call->name;
  change_list(desk, call->input, &call->input_count, index, "operand of a call");
  change_list(desk, call->output, &call->output_count, index, "result of a call");
  for (uint32_t k = 0; k < call->attribute_count; k++) change_attribute(desk, &call->attribute[k]);
  desk->may_be_right = true; /* where it stands decides; rules that ask for the phase itself are tried */
  for (EmittedPhase phase = INITIALIZE; phase < EMITTED_PHASES; phase++) CHANGE(call->phase, phase, "phase of a call");
  desk->may_be_right = false;
  desk->where = "";
}

static void
change_save(Desk *desk, uint32_t index)
{
  EmittedSave *save = &desk->bench->emitted.save[index];
  for (int spacing = 0; spacing < ACTNN_SPACINGS; spacing++) CHANGE(save->spacing, spacing, "spacing of a save");
  for (int way = ACTNN_KEEPS_ITS_SHARE; way <= ACTNN_ADAPTS_BY_REDRAWS; way++) CHANGE(save->adaptation, way, "adaptation of a save");
  CHANGE(save->dithers, !save->dithers, "rounding of a save");
  CHANGE(save->low, save->low - 1, "range of a save");
  CHANGE(save->high, save->high + 1, "range of a save");
  CHANGE(save->weight, save->weight + 1, "weight of a save");
  CHANGE(save->choices, save->choices ^ 1, "choice of levels");
  CHANGE(save->choices, 0, "choice of levels");
  CHANGE(save->choices, UINT32_MAX, "choice of levels");
  CHANGE(save->name, "no name of the program", "name of a save");
  for (uint32_t tensor = index % 5; tensor < desk->bench->emitted.tensor_count; tensor += 5 * desk->step) {
    CHANGE(save->tensor, tensor, "stash of a save");
    CHANGE(save->parameter, tensor, "parameter of a save");
    CHANGE(save->scale, tensor, "scale of a save");
  }
}

static void
change_tables(Desk *desk)
{
  Emitted *emitted = &desk->bench->emitted;
  for (uint32_t i = 0; i < emitted->variable_count; i++) {
    EmittedVariable *variable = &emitted->variable[i];
    for (int role = ACTNN_PARAMETER; role <= ACTNN_FIXED; role++) CHANGE(variable->role, role, "role of a variable");
    CHANGE(variable->drawn, !variable->drawn, "origin of a variable");
    CHANGE(variable->name, "no name of the program", "name of a variable");
    for (uint32_t tensor = i % 5; tensor < emitted->tensor_count; tensor += 5 * desk->step) CHANGE(variable->tensor, tensor, "tensor of a variable");
  }
  for (uint32_t i = 0; i < emitted->input_count; i++) {
    CHANGE(emitted->input[i].name, "no name of the program", "name of an input");
    for (uint32_t tensor = i % 3; tensor < emitted->tensor_count; tensor += 3 * desk->step) CHANGE(emitted->input[i].tensor, tensor, "tensor of an input");
  }
}

static void
change_model(Desk *desk)
{
  Emitted *emitted = &desk->bench->emitted;
  actnn_model *model = &emitted->model;
  uint32_t *const tensors[] = {&model->loss, &model->evaluation_loss, &model->evaluation_output, &model->evaluation_losses,
                               &model->learning_rate, &model->step_number, &model->training_output};
  for (size_t i = 0; i < COUNT(tensors); i++) {
    CHANGE(*tensors[i], NONE, "tensor that the model names");
    for (uint32_t tensor = 0; tensor < emitted->tensor_count; tensor += desk->step) CHANGE(*tensors[i], tensor, "tensor that the model names");
  }
  uint64_t *const numbers[] = {&model->arena_bytes, &model->variable_bytes, &model->stash_offset, &model->stash_bytes,
                               &model->exact_bytes, &model->window_bytes, &model->workspace_offset, &model->workspace_bytes, &model->saved_bytes, &model->saved_bytes_fp32,
                               &model->model_hash, &model->seed};
  for (size_t i = 0; i < COUNT(numbers); i++) {
    CHANGE(*numbers[i], *numbers[i] + ACTNN_ALIGNMENT, "number of the model");
    CHANGE(*numbers[i], *numbers[i] ^ 1, "number of the model");
    CHANGE(*numbers[i], far, "number of the model");
    CHANGE(*numbers[i], 0, "number of the model");
  }
  uint32_t *const counts[] = {&model->input_count, &model->variable_count, &model->save_count, &model->exact_count};
  for (size_t i = 0; i < COUNT(counts); i++) CHANGE(*counts[i], *counts[i] + 1, "length of a table");
  CHANGE(model->label, model->label == NONE ? 0 : NONE, "input for the labels");
  CHANGE(model->label, 1000, "input for the labels");
  CHANGE(model->batch, model->batch + 1, "batch");
  CHANGE(model->batch, 0, "batch");
  CHANGE(model->level, model->level + 1, "level");
  CHANGE(model->scheme, "no scheme", "scheme");
  CHANGE(model->default_learning_rate, model->default_learning_rate + 1, "learning rate");
  CHANGE(model->onnx_bytes, model->onnx_bytes + 1, "model to export");
  for (int kind = ACTNN_LOSS_OUTPUT; kind <= ACTNN_LOSS_BCE_WITH_LOGITS; kind++) CHANGE(model->loss_kind, kind, "kind of loss");
  CHANGE(emitted->is_for_gpu, !emitted->is_for_gpu, "device");
}

enum { SAMPLE = 5 };

static void
change_all(const Origin *origin)
{
  Bench bench;
  const char *problem = start_bench(&bench, origin);
  Desk desk = {.bench = &bench, .scratch = arena_create(), .where = ""};
  ok(!problem && ask_rules(&desk), "%s: each rule by itself accepts it%s%s", origin->what, problem ? ": " : "", problem ? problem : "");
  if (!problem) {
    const char *facts = getenv("FACTS");
    const unsigned step = desk.step = thinning(&bench) * (facts && !strcmp(facts, "all") ? 1 : SAMPLE);
    for (uint32_t i = 0; i < bench.emitted.tensor_count; i += step) change_tensor(&desk, i);
    for (uint32_t i = 0; i < bench.emitted.call_count; i += step) change_call(&desk, i);
    for (uint32_t i = 0; i < bench.emitted.save_count; i++) change_save(&desk, i);
    change_tables(&desk);
    change_model(&desk);
    ok(ask_rules(&desk), "%s: all is as it was", origin->what);
    ok(desk.changes > 200 && !desk.accepted, "%s: %u of %u changes of one fact are refused, and the others mean the same", origin->what,
       desk.refused, desk.changes);
    ok(!desk.unnamed, "%s: who refuses says so, with its rule, and who accepts says nothing", origin->what);
  }
  arena_destroy(desk.scratch);
  finish_bench(&bench);
}

int
main(void)
{
  for (size_t i = 0; i < origin_count; i++) change_all(&origins[i]);
  for (size_t i = 0; i < emitted_rule_count && i < MOST_RULES; i++)
    if (judges_facts(&emitted_rules[i]))
      ok(refusals_alone[i] > 0, "%s, alone, refuses %u changes: %s", emitted_rules[i].id, refusals_alone[i], emitted_rules[i].what);
  return tap_done();
}
