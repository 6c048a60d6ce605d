/* verify_calls.c: each call against its operator's signature (V2), and every tensor made before it is read (V6). */
#include "verify.h"

#include "operators.h"
#include "operators/pointwise_steps.h"

#include <string.h>

/* ---- the operator table, kernels only -------------------------------------------------------------------- */

#define ONNX
#define ACTNN
#define TRAINING
#define X(a) #a
#define XY(a, b) #a " " #b
#define XYZ(a, b, c) #a " " #b " " #c
#define NO_ATTRIBUTES ""
#define REAL1(a, da) " ; " #a ":float=" #da
#define REAL2(a, da, b, db) " ; " #a ":float=" #da " " #b ":float=" #db
#define FLAG1(a, da) " ; " #a ":int=" #da
#define FLAG2(a, da, b, db) " ; " #a ":int=" #da " " #b ":int=" #db
#define CHOICE1(a, da) " ; " #a ":string=" #da
#define UNARY(NAME, attributes, ...) \
  {.name = #NAME, .signature = "x -> y" attributes, .flags = POINTWISE | IN_PLACE}, \
      {.name = #NAME "Slope", .signature = "x -> d" attributes, .flags = POINTWISE | IN_PLACE},
#define POINT(NAME, operands, attributes, result, expression, gradient, linear, flags_, tries) \
  {.name = #NAME, .signature = operands " -> y" attributes, .flags = POINTWISE | (flags_)},
#define KERNEL_FAST(NAME, SIGNATURE, FLAGS) {.name = NAME, .signature = SIGNATURE, .flags = FLAGS},
#define KERNEL_PLAIN(NAME, SIGNATURE, FLAGS) {.name = NAME, .signature = SIGNATURE, .flags = FLAGS},
#define KERNEL_ABSENT(NAME, SIGNATURE, FLAGS)
#define OPERATOR(domain, NAME, signature, shape, evaluation, kernel, gradient, linear, flags, tries) \
  KERNEL_##kernel(#NAME, signature, flags)

static const Kernel table[] = {
#include "operators.def"
};

enum { KERNEL_COUNT = sizeof table / sizeof *table };

const Kernel *
find_kernel(const char *name)
{
  for (size_t i = 0; i < KERNEL_COUNT; i++)
    if (!strcmp(table[i].name, name)) return &table[i];
  return NULL;
}

/* ---- signatures -------------------------------------------------------------------------------------------- */

const char *
slot_at(const Kernel *kernel, SignaturePart part, uint32_t index, size_t *length)
{
  uint32_t count = 0;
  SignaturePart now = OPERANDS;
  for (const char *at = kernel->signature; *at; at += *length) {
    at += strspn(at, " ");
    *length = strcspn(at, " ");
    if (!*length) break;
    if (*length == 1 && *at == ';')
      now = ATTRIBUTES;
    else if (*length == 2 && !memcmp(at, "->", 2))
      now = RESULTS;
    else if (now == part && (count++ == index || memchr(at, '*', *length)))
      return at;
  }
  return NULL;
}

bool
slot_is_marked(const char *slot, size_t length, char mark)
{
  return memchr(slot, mark, length) != NULL;
}

/* One side of a call: no more tensors than slots, none where a constant belongs, none missing where one is required. */
static bool
check_side(Emitted *emitted, const EmittedCall *call, SignaturePart part, const uint32_t *list, uint32_t count)
{
  const char *what = part == OPERANDS ? "operand" : "result";
  size_t length;
  if (count == 1 && list[0] == NONE && !slot_at(call->kernel, part, 0, &length)) return true;
  for (uint32_t i = 0;; i++) {
    const char *slot = slot_at(call->kernel, part, i, &length);
    if (!slot && i < count) return refuse(emitted, call->position, "%s has fewer than %u %ss", call->name, count, what);
    bool is_variadic = slot && slot_is_marked(slot, length, '*');
    if (!slot || (is_variadic && i >= count)) return true;
    bool is_given = i < count && list[i] != NONE, is_constant = slot_is_marked(slot, length, '#');
    if (is_given && is_constant)
      return refuse(emitted, call->position, "%s wants '%.*s' as a constant, not as a tensor", call->name, (int)length,
                    slot);
    if (!is_given && !is_constant && !is_variadic && !slot_is_marked(slot, length, '?') && part == OPERANDS)
      return refuse(emitted, call->position, "%s lacks its %s '%.*s'", call->name, what, (int)length, slot);
  }
}

static bool
kind_fits(const actnn_attribute *attribute, const char *slot, size_t length, bool is_operand)
{
  const char *colon = memchr(slot, ':', length);
  size_t kind = colon ? strcspn(colon + 1, "= ") : 0;
  if (attribute->kind == ACTNN_ABSENT) return true;
  if (is_operand || (kind == 6 && !memcmp(colon + 1, "tensor", 6))) return attribute->kind != ACTNN_TEXT;
  static const struct {
    const char *word;
    actnn_attribute_kind kind;
  } kinds[] = {{"int", ACTNN_INT},
               {"float", ACTNN_REAL},
               {"string", ACTNN_TEXT},
               {"ints", ACTNN_INTS},
               {"floats", ACTNN_REALS}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (colon && strlen(kinds[i].word) == kind && !memcmp(colon + 1, kinds[i].word, kind))
      return attribute->kind == kinds[i].kind;
  return false;
}

/* Constant operands first, then attributes: all of them, each of its kind. */
static bool
check_attributes(Emitted *emitted, const EmittedCall *call)
{
  uint32_t next = 0;
  size_t length;
  const char *slot;
  for (SignaturePart part = OPERANDS; part <= ATTRIBUTES; part += ATTRIBUTES)
    for (uint32_t i = 0; (slot = slot_at(call->kernel, part, i, &length)) != NULL && !slot_is_marked(slot, length, '*');
         i++) {
      if (part == OPERANDS && !slot_is_marked(slot, length, '#')) continue;
      if (next == call->attribute_count)
        return refuse(emitted, call->position, "%s lacks '%.*s'", call->name, (int)length, slot);
      if (!kind_fits(&call->attribute[next++], slot, length, part == OPERANDS))
        return refuse(emitted, call->position, "%s wants another kind of '%.*s'", call->name, (int)length, slot);
    }
  return next == call->attribute_count
      || refuse(emitted, call->position, "%s has %u attributes, not %u", call->name, next, call->attribute_count);
}

static bool
is_slot(const char *slot, size_t length, const char *name)
{
  return length >= strlen(name) && !memcmp(slot, name, strlen(name))
      && (length == strlen(name) || strchr("?:=", slot[strlen(name)]));
}

/* An attribute `shape` says what the result's entry in the table says. */
static bool
check_shape(Emitted *emitted, const EmittedCall *call)
{
  size_t length;
  const char *slot;
  uint32_t next = 0, result = call_result(call, 0);
  for (uint32_t i = 0; (slot = slot_at(call->kernel, OPERANDS, i, &length)) != NULL && !slot_is_marked(slot, length, '*');
       i++)
    next += slot_is_marked(slot, length, '#');
  for (uint32_t i = 0; (slot = slot_at(call->kernel, ATTRIBUTES, i, &length)) != NULL; i++, next++) {
    const actnn_attribute *shape = &call->attribute[next];
    if (!is_slot(slot, length, "shape") || shape->kind != ACTNN_INTS || result == NONE) continue;
    const actnn_tensor *tensor = &emitted->tensor[result].at;
    bool is_same = shape->count == tensor->rank;
    for (size_t axis = 0; is_same && axis < shape->count; axis++) is_same = shape->ints[axis] == tensor->dim[axis];
    if (!is_same) return refuse(emitted, call->position, "%s makes another shape than v%u has", call->name, result);
  }
  return true;
}

/* Elements beyond those listed would be read past the list. */
static bool
check_fill(Emitted *emitted, const EmittedCall *call)
{
  if (!kernel_is(call, "Fill") || call_result(call, 0) == NONE) return true;
  const actnn_tensor *tensor = &emitted->tensor[call_result(call, 0)].at;
  size_t count = call->attribute[2].count;
  uint64_t elements = 1;
  for (int axis = 0; axis < tensor->rank; axis++)
    if (__builtin_mul_overflow(elements, (uint64_t)tensor->dim[axis], &elements))
      return refuse(emitted, call->position, "extents overflow");
  if (call->attribute[2].kind == ACTNN_REALS && (count == 1 || count == elements)) return true;
  return refuse(emitted, call->position, "%zu values for %llu elements", count, (unsigned long long)elements);
}

/* Steps of joined nodes can be read, are of the operands and results of the call, and all results lie alike. */
static bool
check_steps(Emitted *emitted, const EmittedCall *call)
{
  pointwise_steps steps;
  if (!kernel_is(call, "Pointwise")) return true;
  const char *wrong = call->attribute[0].kind == ACTNN_TEXT ? parse_pointwise_steps(call->attribute[0].text, &steps) : "there are none";
  if (wrong) return refuse(emitted, call->position, "%s has steps that cannot be read: %s", call->name, wrong);
  if (call->input_count != (uint32_t)steps.operands || call->output_count != (uint32_t)steps.results)
    return refuse(emitted, call->position, "%s has steps of %d operands and %d results", call->name, steps.operands, steps.results);
  for (uint32_t i = 0; i < call->input_count; i++)
    if (call->input[i] == NONE) return refuse(emitted, call->position, "%s lacks operand %u", call->name, i);
  for (uint32_t i = 0; i < call->output_count; i++) {
    if (call->output[i] == NONE) return refuse(emitted, call->position, "%s lacks result %u", call->name, i);
    if (emitted->tensor[call->output[i]].at.layout != emitted->tensor[call->output[0]].at.layout
        || !same_extents(emitted, call->output[i], call->output[0]))
      return refuse(emitted, call->position, "%s has results that do not lie alike", call->name);
  }
  return true;
}

/* The row by which a coder makes what it codes can be read, and is of its operands: x, and others alike that have a float for so many neighbours
 * of x, which the coder finds by their places. */
static bool
check_coded_row(Emitted *emitted, const EmittedCall *call)
{
  pointwise_steps steps;
  if (!kernel_is(call, "QuantizeOnSave")) return true;
  bool has_row = call->attribute[1].kind == ACTNN_TEXT;
  const char *wrong = has_row ? parse_coded_row(call->attribute[1].text, &steps) : NULL;
  if (wrong) return refuse(emitted, call->position, "%s has steps that cannot be coded: %s", call->name, wrong);
  if (call->input_count != (has_row ? (uint32_t)steps.operands : 1))
    return refuse(emitted, call->position, "%s has another number of operands than its steps", call->name);
  for (uint32_t i = 0; i < call->input_count; i++)
    if (call->input[i] == NONE) return refuse(emitted, call->position, "%s lacks operand %u", call->name, i);
  const actnn_tensor *x = &emitted->tensor[call->input[0]].at;
  for (uint32_t i = 1; i < call->input_count; i++) {
    const actnn_tensor *other = &emitted->tensor[call->input[i]].at;
    int axis = 0;
    while (axis < x->rank && axis < other->rank && other->dim[axis] == x->dim[axis]) axis++;
    while (axis < x->rank && axis < other->rank && other->dim[axis] == 1) axis++;
    if (other->type != ACTNN_F32 || other->layout != ACTNN_PLAIN || x->layout != ACTNN_PLAIN || other->rank != x->rank || axis < x->rank
        || !same_extents(emitted, call->input[i], call->input[1]))
      return refuse(emitted, call->position, "v%u does not have a float for each of the rows that %s codes", call->input[i], call->name);
  }
  return true;
}

/* The learning rate and the step number come from the trainer, by the tensors that the model names. */
static bool
check_rate(Emitted *emitted, const EmittedCall *call)
{
  size_t length;
  for (uint32_t i = 0; (call->kernel->flags & UPDATE) && i < call->input_count; i++) {
    const char *slot = slot_at(call->kernel, OPERANDS, i, &length);
    bool is_rate = is_slot(slot, length, "lr"), is_step = is_slot(slot, length, "step");
    if ((is_rate && call->input[i] != emitted->model.learning_rate)
        || (is_step && call->input[i] != emitted->model.step_number))
      return refuse(emitted, call->position, "%s takes v%u for the %s", call->name, call->input[i],
                    is_rate ? "learning rate" : "step number");
  }
  return true;
}

bool
check_signatures(Emitted *emitted)
{
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    if (!check_side(emitted, call, OPERANDS, call->input, call->input_count)
        || !check_side(emitted, call, RESULTS, call->output, call->output_count) || !check_attributes(emitted, call)
        || !check_shape(emitted, call) || !check_fill(emitted, call) || !check_rate(emitted, call)
        || !check_steps(emitted, call) || !check_coded_row(emitted, call))
      return false;
  }
  return true;
}

/* ---- asking ------------------------------------------------------------------------------------------------- */

bool
kernel_is(const EmittedCall *call, const char *name)
{
  return !strcmp(call->name, name);
}

uint32_t
call_operand(const EmittedCall *call, uint32_t index)
{
  return index < call->input_count ? call->input[index] : NONE;
}

uint32_t
call_result(const EmittedCall *call, uint32_t index)
{
  return index < call->output_count ? call->output[index] : NONE;
}

bool
replaces(const EmittedCall *call, uint32_t index, uint32_t operand)
{
  size_t result_length, operand_length;
  if (kernel_is(call, "BatchNormStatistics")) return (index == 2 && operand == 1) || (index == 3 && operand == 2);
  if (kernel_is(call, "BatchNorm")) return (index == 1 && operand == 3) || (index == 2 && operand == 4);
  if (!(call->kernel->flags & UPDATE)) return false;
  const char *result_slot = slot_at(call->kernel, RESULTS, index, &result_length);
  const char *operand_slot_ = slot_at(call->kernel, OPERANDS, operand, &operand_length);
  if (!result_slot || !operand_slot_) return false;
  size_t stem = strcspn(result_slot, "2"); /* "w2", "m2?" are the next "w", "m?" */
  return stem < result_length && operand_length >= stem && !memcmp(result_slot, operand_slot_, stem)
      && (operand_length == stem || operand_slot_[stem] == '?');
}

/* ---- definition before use ----------------------------------------------------------------------------------- */

bool
check_single_writers(Emitted *emitted)
{
  emitted->writer = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *emitted->writer);
  for (uint32_t i = 0; i < emitted->tensor_count; i++) emitted->writer[i] = NONE;
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    for (uint32_t k = 0; k < call->output_count; k++) {
      uint32_t tensor = call->output[k];
      if (tensor == NONE) continue;
      if (emitted->writer[tensor] != NONE)
        return refuse(emitted, call->position, "v%u is written by two calls", tensor);
      emitted->writer[tensor] = i;
    }
  }
  return true;
}

/* Is `tensor` there for call number `call` of `phase`? Forward and backward are one line of time. */
static bool
is_there(const Emitted *emitted, uint32_t tensor, uint32_t call, EmittedPhase phase)
{
  uint32_t writer = emitted->writer[tensor];
  switch (emitted->place[tensor]) {
  case PLACE_INPUT:
  case PLACE_VARIABLE: return phase != INITIALIZE; /* filled after initialize has run */
  case PLACE_CONSTANT: return writer < call;
  default: break;
  }
  if (writer >= call) return false; /* NONE is larger than any call */
  EmittedPhase made = emitted->call[writer].phase;
  return made == phase || (made == FORWARD && phase == BACKWARD);
}

static bool
check_operands(Emitted *emitted, uint32_t index)
{
  const EmittedCall *call = &emitted->call[index];
  for (uint32_t k = 0; k < call->input_count; k++)
    if (call->input[k] != NONE && !is_there(emitted, call->input[k], index, call->phase))
      return refuse(emitted, call->position, "v%u is read before it is written", call->input[k]);
  return true;
}

/* A variable that is drawn is drawn once; the others come from a file. What replaces one has a writer: that was looked at before. */
static bool
check_draws(Emitted *emitted)
{
  uint32_t *draws = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *draws);
  for (uint32_t tensor = 0; tensor < emitted->tensor_count; tensor++) {
    if (emitted->place[tensor] == PLACE_REPLACING && emitted->call[emitted->writer[tensor]].phase == INITIALIZE)
      draws[emitted->home[tensor]]++;
  }
  for (uint32_t i = 0; i < emitted->variable_count; i++) {
    const EmittedVariable *variable = &emitted->variable[i];
    if (draws[i] != variable->drawn)
      return refuse(emitted, variable->position, "v%u is drawn by %u calls of initialize, not %u", variable->tensor,
                    draws[i], (unsigned)variable->drawn);
  }
  return true;
}

static bool
check_results_exist(Emitted *emitted)
{
  const actnn_model *model = &emitted->model;
  const struct {
    uint32_t tensor;
    EmittedPhase phase;
    const char *what;
  } wanted[] = {{model->loss, FORWARD, "the loss"},
                {model->training_output, FORWARD, "the prediction in training"},
                {model->evaluation_loss, EVALUATE, "the loss in evaluation"},
                {model->evaluation_output, EVALUATE, "the prediction in evaluation"},
                {model->evaluation_losses, EVALUATE, "the losses of labels in evaluation"}};
  if (model->loss == NONE) return refuse(emitted, emitted->source_length, "the trainer has no loss");
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    if (wanted[i].tensor != NONE
        && !is_there(emitted, wanted[i].tensor, emitted->first_call[wanted[i].phase + 1], wanted[i].phase))
      return refuse(emitted, emitted->tensor[wanted[i].tensor].position, "v%u, %s, is not written where it is wanted",
                    wanted[i].tensor, wanted[i].what);
  return true;
}

bool
check_definitions(Emitted *emitted)
{
  for (uint32_t tensor = 0; tensor < emitted->tensor_count; tensor++) {
    bool is_given = emitted->place[tensor] == PLACE_INPUT || emitted->place[tensor] == PLACE_VARIABLE;
    if (is_given != (emitted->writer[tensor] == NONE))
      return refuse(emitted, emitted->tensor[tensor].position,
                    is_given ? "v%u is given, yet a call writes it" : "v%u is never written", tensor);
  }
  for (uint32_t i = 0; i < emitted->call_count; i++)
    if (!check_operands(emitted, i)) return false;
  return check_draws(emitted) && check_results_exist(emitted);
}
