/* verify_program.c: V7: the calls of a phase are the nodes of the program, in its order, each with its operator, operands, results,
 * shapes and attributes.
 *
 * The program is only looked at: what a node should have become is worked out here from the operator's signature, not asked of the
 * emitter. Which tensor stands for which value follows from the calls themselves: a tensor is bound to the value in whose place it is
 * first met, and must stand in that place ever after. Where tensors lie is not compared with the plan: V3, V4 and V8 say what is right. */
#include "verify.h"

#include "operators.h"

#include <stdlib.h>
#include <string.h>

/* ---- values and tensors --------------------------------------------------------------------------------------- */

static const char *
describe(const Emitted *emitted, ValueId id)
{
  const Value *value = value_at(emitted->program, id);
  return value->name ? arena_format(emitted->arena, "'%.60s'", value->name) : arena_format(emitted->arena, "number %u", id);
}

/* Kernels hold integers in 64 bits. */
static unsigned
held_type(actnn_type type)
{
  switch (type) {
  case ACTNN_F32:
  case ACTNN_BF16:
  case ACTNN_U8:
  case ACTNN_BOOL: return type;
  case ACTNN_I8:
  case ACTNN_U16:
  case ACTNN_I16:
  case ACTNN_I32:
  case ACTNN_I64:
  case ACTNN_U32:
  case ACTNN_U64: return ACTNN_I64;
  default: return ACTNN_UNDEFINED;
  }
}

static bool
is_of_kind(const actnn_tensor *tensor, const Value *value)
{
  if (tensor->type != held_type(value->type) || tensor->layout != value->layout || tensor->rank != value->shape.rank) return false;
  for (int axis = 0; axis < tensor->rank; axis++)
    if (tensor->dim[axis] != value->shape.dim[axis]) return false;
  return true;
}

bool
stands_for(Emitted *emitted, uint32_t tensor, ValueId value, size_t position)
{
  if (emitted->value_of[tensor] == value) return true;
  if (emitted->value_of[tensor] != NO_VALUE)
    return refuse(emitted, position, "v%u stands for value %s, the program has %s there", tensor,
                  describe(emitted, emitted->value_of[tensor]), describe(emitted, value));
  if (emitted->tensor_of[value] != NONE)
    return refuse(emitted, position, "v%u stands where the program has value %s, which is v%u", tensor, describe(emitted, value),
                  emitted->tensor_of[value]);
  if (!is_of_kind(&emitted->tensor[tensor].at, value_at(emitted->program, value)))
    return refuse(emitted, emitted->tensor[tensor].position, "v%u does not have the type, layout and extents of value %s", tensor,
                  describe(emitted, value));
  emitted->value_of[tensor] = value;
  emitted->tensor_of[value] = tensor;
  return true;
}

/* ---- attributes ------------------------------------------------------------------------------------------------ */

static size_t
constant_count(const Value *value)
{
  size_t width = type_bytes(value->type);
  return width && value->data ? value->data_bytes / width : 0;
}

/* Integers as kernels are given them: of 64 bits, signed. */
static bool
is_integer(actnn_type type)
{
  return held_type(type) == ACTNN_I64;
}

/* Not through a double, which rounds integers of 64 bits. */
static int64_t
integer_element(const Value *value, size_t index)
{
  size_t width = type_bytes(value->type);
  const char *element = (const char *)value->data + index * width;
  int64_t whole;
  if (width < sizeof whole) return (int64_t)element_as_real(value->type, element);
  memcpy(&whole, element, sizeof whole);
  return whole;
}

/* A real number given for an element: an integer must be that very one. */
static bool
is_element(double given, const Value *value, size_t index)
{
  if (!is_integer(value->type))
    return same_real(given, element_as_real(value->type, (const char *)value->data + index * type_bytes(value->type)));
  const double least = (double)INT64_MIN; /* -2^63; 2^63 itself is no integer of 64 bits */
  return given >= least && given < -least && (double)(int64_t)given == given && (int64_t)given == integer_element(value, index);
}

/* A constant operand became a list of integers or of reals; one number of another type a real. */
static bool
is_constant_operand(const Emitted *emitted, const actnn_attribute *given, ValueId id)
{
  const Value *value = id == NO_VALUE ? NULL : value_at(emitted->program, id);
  if (!value) return given->kind == ACTNN_ABSENT;
  size_t count = constant_count(value);
  bool is_whole = value->type == ACTNN_I64 || value->type == ACTNN_I32, is_real = value->type == ACTNN_F32 || !held_type(value->type);
  if (!is_whole && !is_real) return given->kind == ACTNN_REAL && count == 1 && is_element(given->f, value, 0);
  if (given->kind != (is_whole ? ACTNN_INTS : ACTNN_REALS) || given->count != count) return false;
  for (size_t i = 0; i < count; i++)
    if (is_whole ? given->ints[i] != integer_element(value, i) : !is_element(given->reals[i], value, i)) return false;
  return true;
}

/* The default that stands in the signature, "k:int=1"; NULL: none. */
static const char *
slot_default(const Emitted *emitted, const char *slot, size_t length)
{
  const char *equals = memchr(slot, '=', length);
  return equals ? arena_text(emitted->arena, equals + 1, length - (size_t)(equals + 1 - slot)) : NULL;
}

static bool
is_default(const actnn_attribute *given, const char *text)
{
  switch (given->kind) {
  case ACTNN_ABSENT: return !text;
  case ACTNN_INT: return text && given->i == strtoll(text, NULL, 10);
  case ACTNN_REAL: return text && same_real(given->f, strtod(text, NULL));
  case ACTNN_TEXT: return text && !strcmp(given->text, text);
  default: return false;
  }
}

static bool
is_attribute(const Emitted *emitted, const actnn_attribute *given, const Node *node, const char *slot, size_t length)
{
  const char *name = arena_text(emitted->arena, slot, (size_t)((const char *)memchr(slot, ':', length) - slot));
  const Attribute *wanted = find_attribute(node, name);
  if (!wanted) return is_default(given, slot_default(emitted, slot, length));
  switch (wanted->kind) {
  case ATTRIBUTE_INT: return given->kind == ACTNN_INT && given->i == wanted->i;
  case ATTRIBUTE_FLOAT: return given->kind == ACTNN_REAL && same_real(given->f, wanted->f);
  case ATTRIBUTE_STRING: return given->kind == ACTNN_TEXT && !strcmp(given->text, wanted->s);
  case ATTRIBUTE_INTS:
    if (given->kind != ACTNN_INTS || given->count != wanted->count) return false;
    return !wanted->count || !memcmp(given->ints, wanted->ints, wanted->count * sizeof *wanted->ints);
  case ATTRIBUTE_FLOATS:
    if (given->kind != ACTNN_REALS || given->count != wanted->count) return false;
    for (size_t i = 0; i < wanted->count; i++)
      if (!same_real(given->reals[i], wanted->floats[i])) return false;
    return true;
  case ATTRIBUTE_TENSOR: return is_constant_operand(emitted, given, wanted->tensor);
  default: return false;
  }
}

/* Constant operands in the order of the signature, then attributes; V2 has counted them. */
static bool
check_attributes(Emitted *emitted, const EmittedCall *call, const Node *node)
{
  uint32_t next = 0;
  size_t length;
  const char *slot;
  for (SignaturePart part = OPERANDS; part <= ATTRIBUTES; part += ATTRIBUTES)
    for (uint32_t i = 0; (slot = slot_at(call->kernel, part, i, &length)) != NULL && !slot_is_marked(slot, length, '*'); i++) {
      if (part == OPERANDS && !slot_is_marked(slot, length, '#')) continue;
      const actnn_attribute *given = &call->attribute[next++];
      bool is_same = part == OPERANDS ? is_constant_operand(emitted, given, operand_id(node, i))
                                      : is_attribute(emitted, given, node, slot, length);
      if (!is_same)
        return refuse(emitted, call->position, "%s has another '%.*s' than node '%.60s' of the program", call->name, (int)length, slot,
                      node->name);
    }
  return true;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

/* Values that something reads: a result that nothing reads may be left out of a call. */
static bool *
find_wanted(const Emitted *emitted)
{
  const Program *program = emitted->program;
  bool *is_wanted = arena_array(emitted->arena, program->value_count + 1u, sizeof *is_wanted);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE) is_wanted[node->operands[k]] = true;
    for (uint32_t k = 0; k < node->result_count; k++)
      if (node->results[k] != NO_VALUE && value_at(program, node->results[k])->updates != NO_VALUE) is_wanted[node->results[k]] = true;
  }
  const NamedResults named = named_results(program);
  for (size_t i = 0; i < NAMED_RESULTS; i++)
    if (named.value[i] != NO_VALUE) is_wanted[named.value[i]] = true;
  return is_wanted;
}

static bool
has_length(const uint32_t *list, uint32_t count, uint32_t wanted)
{
  return count == wanted || (!wanted && count == 1 && list[0] == NONE);
}

static bool
check_node(Emitted *emitted, const EmittedCall *call, const Node *node, const bool *is_wanted)
{
  if (strcmp(call->name, node->operator_name))
    return refuse(emitted, call->position, "%s is called where the program has %s", call->name, node->operator_name);
  if (!has_length(call->input, call->input_count, node->operand_count) || !has_length(call->output, call->output_count, node->result_count))
    return refuse(emitted, call->position, "%s has another number of operands or results than node '%.60s' of the program", call->name,
                  node->name);
  for (uint32_t k = 0; k < node->operand_count; k++) {
    size_t length;
    const char *slot = slot_at(call->kernel, OPERANDS, k, &length);
    bool is_absent = node->operands[k] == NO_VALUE || !slot || slot_is_marked(slot, length, '#');
    if (is_absent != (call->input[k] == NONE))
      return refuse(emitted, call->position, "%s has operand %u, the program has not, or the other way round", call->name, k);
    if (!is_absent && !stands_for(emitted, call->input[k], node->operands[k], call->position)) return false;
  }
  for (uint32_t k = 0; k < node->result_count; k++) {
    ValueId value = node->results[k];
    bool may_lack = value == NO_VALUE || !is_wanted[value];
    if (call->output[k] == NONE ? !may_lack : value == NO_VALUE)
      return refuse(emitted, call->position, "%s has result %u, the program has not, or the other way round", call->name, k);
    if (call->output[k] != NONE && !stands_for(emitted, call->output[k], value, call->position)) return false;
  }
  return check_attributes(emitted, call, node);
}

/* A next value of the program lies on what it replaces, and nothing else does. */
static bool
check_replacement(Emitted *emitted, const EmittedCall *call, const Node *node)
{
  for (uint32_t k = 0; k < node->result_count; k++) {
    if (call->output[k] == NONE) continue;
    ValueId updated = value_at(emitted->program, node->results[k])->updates;
    uint32_t home = emitted->home[call->output[k]], wanted = updated == NO_VALUE ? NONE : emitted->tensor_of[updated];
    bool is_drawn = node->phase == PHASE_INITIALIZE;
    if (!is_drawn && (home == NONE ? NONE : emitted->variable[home].tensor) != wanted)
      return refuse(emitted, call->position, "v%u does not replace what value %s of the program replaces", call->output[k],
                    describe(emitted, node->results[k]));
    if (is_drawn && home != NONE
        && value_at(emitted->program, emitted->value_of[emitted->variable[home].tensor])->drawn_from != node->results[k])
      return refuse(emitted, call->position, "v%u is drawn for another variable than the program draws it for", call->output[k]);
  }
  return true;
}

static bool
belongs_to(EmittedPhase phase, Phase node)
{
  static const EmittedPhase phases[PHASE_COUNT] = {[PHASE_INITIALIZE] = INITIALIZE,
                                                   [PHASE_FORWARD] = FORWARD,
                                                   [PHASE_RECOMPUTE] = BACKWARD,
                                                   [PHASE_BACKWARD] = BACKWARD,
                                                   [PHASE_UPDATE] = BACKWARD,
                                                   [PHASE_EVALUATE] = EVALUATE};
  return phases[node] == phase;
}

/* Fills that stand for no node, and then one call for each node. */
static bool
check_phase_nodes(Emitted *emitted, EmittedPhase phase, const bool *is_wanted, uint32_t *fills)
{
  const Program *program = emitted->program;
  uint32_t nodes = 0, next = emitted->first_call[phase], end = emitted->first_call[phase + 1];
  for (uint32_t i = 0; i < program->order_count; i++) nodes += belongs_to(phase, node_at(program, program->order[i])->phase);
  *fills = phase == INITIALIZE && end - next > nodes ? end - next - nodes : 0;
  if (end - next - *fills != nodes)
    return refuse(emitted, next < end ? emitted->call[next].position : 0, "a phase has %u calls, the program %u nodes", end - next, nodes);
  next += *fills;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (belongs_to(phase, node->phase) && !check_node(emitted, &emitted->call[next++], node, is_wanted)) return false;
  }
  return true;
}

/* What a fill makes: a constant that kernels read, or one that a variable starts from, and then it lies on that variable. */
static ValueId
constant_of(const Emitted *emitted, const EmittedCall *call)
{
  uint32_t tensor = call_result(call, 0);
  if (tensor == NONE || !kernel_is(call, "Fill")) return NO_VALUE;
  if (emitted->home[tensor] == NONE) return emitted->value_of[tensor];
  ValueId variable = emitted->value_of[emitted->variable[emitted->home[tensor]].tensor];
  return value_at(emitted->program, variable)->drawn_from;
}

/* The numbers of a constant, or one that stands for all of them. */
static bool
fills_with(const actnn_attribute *list, const Value *value)
{
  size_t count = constant_count(value);
  if (list->kind != ACTNN_REALS || (list->count != count && list->count != 1)) return false;
  for (size_t i = 0; i < count; i++)
    if (!is_element(list->reals[list->count == 1 ? 0 : i], value, i)) return false;
  return true;
}

/* Fills come first, with the values that the constants have in the program. */
static bool
check_constants(Emitted *emitted, uint32_t fills)
{
  for (uint32_t i = 0; i < fills; i++) {
    const EmittedCall *call = &emitted->call[i];
    ValueId id = constant_of(emitted, call);
    const Value *value = id == NO_VALUE ? NULL : value_at(emitted->program, id);
    if (!value || value->kind != VALUE_CONSTANT)
      return refuse(emitted, call->position, "%s makes no constant that the program has", call->name);
    if (!stands_for(emitted, call->output[0], id, call->position)) return false;
    bool is_same = call->attribute[0].kind == ACTNN_ABSENT && call->attribute[1].kind == ACTNN_INT
                && call->attribute[1].i == (int64_t)value->type && fills_with(&call->attribute[2], value);
    if (!is_same)
      return refuse(emitted, call->position, "v%u is filled with other values than the constant %s has", call->output[0],
                    describe(emitted, id));
  }
  return true;
}

static bool
check_replacements(Emitted *emitted, uint32_t fills)
{
  const Program *program = emitted->program;
  uint32_t next[EMITTED_PHASES];
  memcpy(next, emitted->first_call, sizeof next);
  next[INITIALIZE] += fills;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    EmittedPhase phase = INITIALIZE;
    while (!belongs_to(phase, node->phase)) phase++;
    if (!check_replacement(emitted, &emitted->call[next[phase]++], node)) return false;
  }
  return true;
}

bool
check_program_match(Emitted *emitted)
{
  const Program *program = emitted->program;
  if (!program) return true;
  uint32_t fills[EMITTED_PHASES];
  const bool *is_wanted = find_wanted(emitted);
  emitted->value_of = arena_array(emitted->arena, emitted->tensor_count + 1u, sizeof *emitted->value_of);
  emitted->tensor_of = arena_array(emitted->arena, program->value_count + 1u, sizeof *emitted->tensor_of);
  for (uint32_t i = 0; i < emitted->tensor_count; i++) emitted->value_of[i] = NO_VALUE;
  for (uint32_t i = 0; i < program->value_count; i++) emitted->tensor_of[i] = NONE;
  for (EmittedPhase phase = INITIALIZE; phase < EMITTED_PHASES; phase++)
    if (!check_phase_nodes(emitted, phase, is_wanted, &fills[phase])) return false;
  return check_tables(emitted) && check_constants(emitted, fills[INITIALIZE]) && check_replacements(emitted, fills[INITIALIZE]);
}
