/* check_program.c: what a legal program is, as two tables of rules: of nodes in their order, and of values.
 *
 * It runs after every pass under --verify-each and in checking builds. An offence is a mistake of the pass that
 * just ran (or of a text file read in), so the first one is reported, with the rule's name. */
#include "check_program.h"

#include <inttypes.h>
#include <string.h>

const char *
check_value_word(const Check *check, ValueId id)
{
  const Value *value = value_at(check->program, id);
  return value->name ? arena_format(check->scratch, "'%s'", safe_name(check->scratch, value->name))
                     : arena_format(check->scratch, "number %" PRIu32, id);
}

static bool
is_resident(const Value *value)
{
  return value->producer == NO_NODE
         && (value->kind == VALUE_INPUT || value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE
             || value->kind == VALUE_CONSTANT);
}

/* ---- rules of nodes: true when kept; otherwise check->detail names the value ---------------------- */

static bool
operands_are_defined(Check *check, const Node *node, uint32_t position)
{
  for (uint32_t i = 0; i < node->operand_count; i++) {
    ValueId id = node->operands[i];
    if (id == NO_VALUE || is_resident(value_at(check->program, id)) || check->made_at[id] < position) continue;
    check->detail = check_value_word(check, id);
    return false;
  }
  return true;
}

static bool
results_are_defined_once(Check *check, const Node *node, uint32_t position)
{
  NodeId self = check->program->order[position];
  for (uint32_t i = 0; i < node->result_count; i++) {
    ValueId id = node->results[i];
    if (id == NO_VALUE) continue;
    check->detail = check_value_word(check, id);
    const Value *value = value_at(check->program, id);
    if (check->made_at[id] != position || value->producer != self) return false;
    for (uint32_t k = 0; k < i; k++)
      if (node->results[k] == id) return false;
  }
  return true;
}

static bool
results_are_temporary(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  for (uint32_t i = 0; i < node->result_count; i++) {
    const Value *value = result_value(check->program, node, i);
    if (!value || value->kind == VALUE_TEMPORARY || value->kind == VALUE_STASH) continue;
    check->detail = check_value_word(check, node->results[i]);
    return false;
  }
  return true;
}

/* Which phases' results a phase may read. */
static const unsigned readable[PHASE_COUNT] = {
    [PHASE_INITIALIZE] = 1 << PHASE_INITIALIZE,
    [PHASE_FORWARD] = 1 << PHASE_FORWARD,
    [PHASE_RECOMPUTE] = 1 << PHASE_FORWARD | 1 << PHASE_RECOMPUTE,
    [PHASE_BACKWARD] = 1 << PHASE_FORWARD | 1 << PHASE_RECOMPUTE | 1 << PHASE_BACKWARD,
    [PHASE_UPDATE] = 1 << PHASE_FORWARD | 1 << PHASE_RECOMPUTE | 1 << PHASE_BACKWARD | 1 << PHASE_UPDATE,
    [PHASE_EVALUATE] = 1 << PHASE_EVALUATE,
};

static bool
phases_are_readable(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  for (uint32_t i = 0; i < node->operand_count; i++) {
    const Value *value = operand_value(check->program, node, i);
    if (!value || value->producer == NO_NODE) continue;
    Phase made_in = node_at(check->program, value->producer)->phase;
    if (readable[node->phase] >> made_in & 1) continue;
    check->detail = arena_format(check->scratch, "a %s node reads %s, made in phase %s", phase_name(node->phase),
                                 check_value_word(check, node->operands[i]), phase_name(made_in));
    return false;
  }
  return true;
}

/* Updates and recomputation may stand anywhere in backward; initialization and evaluation run at other times. */
static bool
phases_are_in_order(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  if (node->phase == PHASE_FORWARD && check->latest != PHASE_FORWARD) {
    check->detail = phase_name(check->latest);
    return false;
  }
  if (runs_after_forward(node)) check->latest = node->phase;
  return true;
}

static bool
operands_fit_signature(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  const Operator *operator = node->operator;
  if (operator && node->operand_count && !operand_slot(operator, node->operand_count - 1)) {
    check->detail = arena_format(check->scratch, "%" PRIu32 " operands, at most %" PRIu32 " are known",
                                 node->operand_count, operator->operand_count);
    return false;
  }
  for (uint32_t i = 0; operator && i < operator->operand_count; i++) {
    const Slot *slot = &operator->operands[i];
    if (slot->is_optional || slot->is_variadic || operand_id(node, i) != NO_VALUE) continue;
    check->detail = arena_format(check->scratch, "'%s' is missing", slot->name);
    return false;
  }
  return true;
}

/* Results that nothing reads may be left out. */
static bool
results_fit_signature(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  const Operator *operator = node->operator;
  if (!operator || node->result_count <= operator->result_count) return true;
  if (operator->result_count && operator->results[operator->result_count - 1].is_variadic) return true;
  check->detail = arena_format(check->scratch, "%" PRIu32 " results, at most %" PRIu32 " are known", node->result_count,
                               operator->result_count);
  return false;
}

static bool
stashes_are_matched(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  const Operator *operator = node->operator;
  for (uint32_t i = 0; operator && i < node->operand_count; i++) {
    const Value *value = operand_value(check->program, node, i);
    if (!value || value->kind != VALUE_STASH || operator->flags & RESTORES) continue;
    check->detail = arena_format(check->scratch, "%s is read without a restore", check_value_word(check, node->operands[i]));
    return false;
  }
  for (uint32_t i = 0; operator && i < node->result_count; i++) {
    const Value *value = result_value(check->program, node, i);
    bool is_code = operator->flags & SAVES && i + 1 == node->result_count; /* the last result */
    if (!value || (value->kind == VALUE_STASH) == is_code) continue;
    const char *what = value->kind == VALUE_STASH ? "is made without a save" : "comes from a save but is no stash";
    check->detail = arena_format(check->scratch, "%s %s", check_value_word(check, node->results[i]), what);
    return false;
  }
  return true;
}

static bool
results_are_known(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  for (uint32_t i = 0; check->is_trained && i < node->result_count; i++) {
    const Value *value = result_value(check->program, node, i);
    if (!value || (value->type != ACTNN_UNDEFINED && shape_is_static(&value->shape))) continue;
    check->detail = check_value_word(check, node->results[i]);
    return false;
  }
  return true;
}

/* What is restored from codes carries their noise, and what is computed from it again is hardly linear in that. */
static bool
recomputes_exactly(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  check->detail = node->operator_name;
  return node->phase != PHASE_RECOMPUTE || !node->operator || !(node->operator->flags & (SAVES | RESTORES)) || !find_attribute(node, "save");
}

static bool
is_like(const Value *a, const Value *b)
{
  return a->type == b->type && a->layout == b->layout && shape_equal(&a->shape, &b->shape);
}

/* What is saved as it is has a number of its own, counted from 0, and comes back under it as it was. */
static bool
exact_saves_fit(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  bool saves = !strcmp(node->operator_name, "SaveExact");
  if (!saves && strcmp(node->operator_name, "RestoreExact")) return true;
  int64_t number = int_attribute(node, "number", -1);
  const Value *value = saves ? operand_value(check->program, node, 0) : result_value(check->program, node, 0);
  ValueId stash = saves ? result_id(node, 0) : operand_id(node, 0);
  check->detail = arena_format(check->scratch, "number %" PRId64, number);
  if (stash == NO_VALUE || !value || number < 0 || number >= check->exact_count || check->exact[number] != stash) return false;
  const Value *saved = operand_value(check->program, node_at(check->program, value_at(check->program, stash)->producer), 0);
  check->detail = check_value_word(check, saves ? operand_id(node, 0) : result_id(node, 0));
  if (!is_like(value, saved) || !shape_equal(&value->shape, &value_at(check->program, stash)->shape)) return false;
  return value->type == ACTNN_F32 || value->type == ACTNN_BF16;
}

/* ---- the tables --------------------------------------------------------------------------------------- */

typedef struct NodeRule {
  const char *name;
  bool (*is_kept)(Check *check, const Node *node, uint32_t position);
  const char *message;
} NodeRule;

static const NodeRule node_rules[] = {
    {"defined before use", operands_are_defined, "reads a value that nothing before it makes"},
    {"defined once", results_are_defined_once, "makes a value that is made twice or said to come from elsewhere"},
    {"results are temporary", results_are_temporary, "makes a value that is an input, parameter, state or constant"},
    {"phase of operands", phases_are_readable, "reads across phases"},
    {"order of phases", phases_are_in_order, "is a forward node after nodes of a later phase"},
    {"operands fit", operands_fit_signature, "has operands that its operator does not take"},
    {"results fit", results_fit_signature, "has results that its operator does not make"},
    {"stash", stashes_are_matched, "breaks the pairing of saves and restores"},
    {"shapes known", results_are_known, "has a result without a known type and fixed shape"},
    {"recomputed exactly", recomputes_exactly, "is computed again from codes"},
    {"saved as it is", exact_saves_fit, "saves or restores another number, type, layout or shape"},
    {"saved through a code", check_saves_are_coded, "is a backward node that reads a forward activation directly"},
};

/* ---- rules of values ------------------------------------------------------------------------------ */

static bool
has_same_type(const Value *a, const Value *b)
{
  bool both_known = a->type != ACTNN_UNDEFINED && b->type != ACTNN_UNDEFINED && shape_is_static(&a->shape)
                    && shape_is_static(&b->shape);
  return !both_known || (a->type == b->type && shape_equal(&a->shape, &b->shape));
}

static bool
is_variable(const Value *value)
{
  return value->producer == NO_NODE && (value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE);
}

static bool
data_fits_type(const Check *check, const Value *value)
{
  int64_t elements;
  (void)check;
  if (!value->data || !type_bytes(value->type) || !shape_elements(&value->shape, &elements)) return true;
  return value->data_bytes == (size_t)elements * type_bytes(value->type);
}

static bool
layout_fits(const Check *check, const Value *value)
{
  (void)check;
  if (value->layout == ACTNN_BLOCKED) return value->shape.rank >= 3 && value->kind != VALUE_STASH;
  return value->layout != ACTNN_STASH || value->kind == VALUE_STASH;
}

/* The value that another one, of a link, is; NULL when it does not live. */
static const Value *
linked(const Check *check, ValueId id)
{
  if (id >= check->program->value_count) return NULL;
  const Value *value = value_at(check->program, id);
  return is_resident(value) || check->made_at[id] != UINT32_MAX ? value : NULL;
}

static bool
update_fits(const Check *check, const Value *value)
{
  if (value->updates == NO_VALUE) return true;
  const Value *variable = linked(check, value->updates);
  if (!variable || !is_variable(variable) || variable->is_frozen || !has_same_type(value, variable)) return false;
  if (value->producer == NO_NODE) return false;
  Phase phase = node_at(check->program, value->producer)->phase;
  return phase == PHASE_FORWARD || phase == PHASE_BACKWARD || phase == PHASE_UPDATE;
}

static bool
is_updated_once(const Check *check, const Value *value)
{
  return value->updates == NO_VALUE
         || check->updated_by[value->updates] == (ValueId)(value - check->program->values);
}

static bool
drawing_fits(const Check *check, const Value *value)
{
  if (value->drawn_from == NO_VALUE) return true;
  const Value *drawn = linked(check, value->drawn_from);
  if (!drawn || !is_variable(value) || !has_same_type(value, drawn)) return false;
  return is_resident(drawn) || node_at(check->program, drawn->producer)->phase == PHASE_INITIALIZE;
}

typedef struct ValueRule {
  const char *name;
  bool (*is_kept)(const Check *check, const Value *value);
  const char *message;
} ValueRule;

static const ValueRule value_rules[] = {
    {"data", data_fits_type, "has data of another size than its type says"},
    {"layout", layout_fits, "has a layout that its kind or rank does not allow"},
    {"update", update_fits, "updates something that is not a trained parameter or state of the same type and shape"},
    {"one update", is_updated_once, "updates a variable that another value updates too"},
    {"drawing", drawing_fits, "is drawn from something that initialization does not make, or of another type"},
};

/* ---- the walk -------------------------------------------------------------------------------------- */

static bool
ids_exist(const Program *program, const ValueId *ids, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++)
    if (ids[i] != NO_VALUE && ids[i] >= program->value_count) return false;
  return true;
}

/* What must hold before anything can be looked up or shown. */
static bool
order_is_sound(const Check *check, const char *after)
{
  const Program *program = check->program;
  const char *what = NULL;
  bool *seen = arena_array(check->scratch, (size_t)program->node_count + 1, sizeof *seen);
  for (uint32_t p = 0; p < program->order_count; p++) {
    NodeId id = program->order[p];
    if (id >= program->node_count) {
      what = "does not exist";
      break;
    }
    const Node *node = node_at(program, id);
    if (seen[id]) what = "stands there twice";
    if (!ids_exist(program, node->operands, node->operand_count)
        || !ids_exist(program, node->results, node->result_count))
      what = "has an operand or result that does not exist";
    seen[id] = true;
    if (what) break;
  }
  return !what || report(program->diagnostics, program->source, "this is a mistake in actnnc",
                         "after %s: rule 'order': a node in the order %s", after, what);
}

/* Fills in what the rules look up. */
static void
look_around(Check *check)
{
  const Program *program = check->program;
  size_t count = (size_t)program->value_count + 1;
  check->made_at = arena_array(check->scratch, count, sizeof *check->made_at);
  check->updated_by = arena_array(check->scratch, count, sizeof *check->updated_by);
  memset(check->made_at, 0xFF, count * sizeof *check->made_at);
  memset(check->updated_by, 0xFF, count * sizeof *check->updated_by);
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    check->is_trained |= runs_after_forward(node);
    for (uint32_t i = 0; i < node->result_count; i++)
      if (node->results[i] < program->value_count) check->made_at[node->results[i]] = p;
  }
  for (ValueId id = program->value_count; id-- > 0;) {
    ValueId updates = value_at(program, id)->updates;
    if (updates < program->value_count && check->made_at[id] != UINT32_MAX) check->updated_by[updates] = id;
  }
  check->exact = exact_saves(check->program, &check->exact_count);
  check_look_at_saves(check);
}

static bool
nodes_keep_rules(Check *check, const char *after, const char *help)
{
  const Program *program = check->program;
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    for (size_t r = 0; r < sizeof node_rules / sizeof *node_rules; r++) {
      if (node_rules[r].is_kept(check, node, p)) continue;
      return report_node(program, program->order[p], help, "after %s: rule '%s': %s: %s", after, node_rules[r].name,
                         node_rules[r].message, check->detail);
    }
  }
  return true;
}

static bool
values_keep_rules(const Check *check, const char *after, const char *help)
{
  const Program *program = check->program;
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (!linked(check, id)) continue; /* dead */
    for (size_t r = 0; r < sizeof value_rules / sizeof *value_rules; r++) {
      if (value_rules[r].is_kept(check, value)) continue;
      return report(program->diagnostics, program->source, help, "after %s: rule '%s': value %s %s", after,
                    value_rules[r].name, check_value_word(check, id), value_rules[r].message);
    }
  }
  return true;
}

/* Outputs and the values that the program names must live. */
static bool
named_values_live(const Check *check, const char *after, const char *help)
{
  const Program *program = check->program;
  const struct {
    const char *name;
    ValueId id;
  } named[] = {{"loss", program->loss},
               {"evaluation loss", program->evaluation_loss},
               {"prediction", program->prediction},
               {"evaluation output", program->evaluation_output},
               {"evaluation losses", program->evaluation_losses},
               {"label", program->label},
               {"learning rate", program->learning_rate},
               {"step number", program->step_number}};
  for (size_t i = 0; i < sizeof named / sizeof *named; i++)
    if (named[i].id != NO_VALUE && !linked(check, named[i].id))
      return report(program->diagnostics, program->source, help, "after %s: rule 'named values': nothing makes the %s",
                    after, named[i].name);
  for (uint32_t i = 0; i < program->output_count; i++)
    if (!linked(check, program->outputs[i]))
      return report(program->diagnostics, program->source, help,
                    "after %s: rule 'named values': nothing makes output %" PRIu32, after, i);
  return true;
}

static bool
saves_are_made(const Check *check, const char *after, const char *help)
{
  const Program *program = check->program;
  uint32_t lost = check_find_lost_save(program);
  return lost == UINT32_MAX || report(program->diagnostics, program->source, help, "after %s: rule 'saves': nothing makes save %" PRIu32
                                      " of the table, or its codes", after, lost);
}

bool
check_program(Program *program, const char *after)
{
  Arena *scratch = arena_create();
  Check check = {.program = program, .scratch = scratch, .latest = PHASE_FORWARD};
  const char *help = arena_format(scratch, "unless the file was written by hand this is a mistake in actnnc; please "
                                           "report it with the output of --dump-after=%s", after);
  bool is_legal = order_is_sound(&check, after);
  if (is_legal) {
    look_around(&check);
    is_legal = nodes_keep_rules(&check, after, help) && values_keep_rules(&check, after, help)
               && named_values_live(&check, after, help) && saves_are_made(&check, after, help);
  }
  arena_destroy(scratch);
  return is_legal;
}
