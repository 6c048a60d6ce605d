/* plan-memory: gives every buffer an offset in one arena; the peak is known to the byte.
 * needs: a complete order; bits.  keeps: the program.  makes: program->plan.
 *
 * Variables and the constants that kernels read come first and persist. What a step makes is laid out by live range: a result
 * takes over its operand's buffer where the operator may work in place (of joined rows any operand's), views share theirs, and the rest is
 * placed by the best of several greedy orders. Evaluation runs at other times than training, so its buffers overlap training's. Coded saves
 * share one pool, because bits move between them during a run; what is saved there as it is lies behind them. */
#include "plan_offsets.h"

#include "../runtime/codec.h"
#include "../src/operators/attention.h"

#include <string.h>

PassFunction plan_memory;

enum { BLOCK = 16 }; /* channels are padded to this, so that sizes hold for every channel block */

static uint64_t
align(uint64_t bytes)
{
  return (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
}

static uint64_t
element_width(actnn_type type)
{
  return type == ACTNN_F32 ? 4 : type == ACTNN_BF16 ? 2 : type == ACTNN_BOOL || type == ACTNN_U8 ? 1 : 8;
}

/* Elements in memory, channels of a blocked tensor padded for every block. */
static int64_t
padded_elements(const Value *value)
{
  int64_t elements = 0;
  shape_elements(&value->shape, &elements);
  if (value->layout == ACTNN_BLOCKED && value->shape.dim[1] % BLOCK)
    elements = elements / value->shape.dim[1] * ((value->shape.dim[1] + BLOCK - 1) / BLOCK * BLOCK);
  return elements ? elements : 1;
}

uint64_t
value_bytes(const Program *program, ValueId id)
{
  const Value *value = value_at(program, id);
  int64_t elements = 0;
  if (value->shape.rank < 0 || !shape_elements(&value->shape, &elements)) return 0;
  if (value->layout == ACTNN_STASH) {
    const Node *pack = node_at(program, value->producer);
    const Value *x = operand_value(program, pack, 0);
    if (!strcmp(pack->operator_name, "PackPositive")) return align(((uint64_t)padded_elements(x) + 127) / 128 * 16);
    if (strcmp(pack->operator_name, "PackBits")) return 0;
    return align(actnn_packed_bytes(x->shape.dim, x->shape.rank, x->layout, (int)int_attribute(pack, "bits", 8)));
  }
  return align((uint64_t)padded_elements(value) * element_width(value->type));
}

/* ---- which values share a buffer ------------------------------------------------------------------ */

typedef struct Planner {
  Program *program;
  Plan *plan;
  uint32_t capacity;
  uint32_t *last_use; /* by value: last position that reads it */
  bool *is_pinned;    /* by value: read on the host after the step, or persistent */
  uint32_t forward_end; /* position of forward's last node: behind it the prediction is read */
} Planner;

static uint32_t
new_buffer(Planner *planner, uint64_t bytes)
{
  Plan *plan = planner->plan;
  if (plan->buffer_count == planner->capacity) {
    uint32_t capacity = planner->capacity * 2 + 256;
    Buffer *grown = arena_array(planner->program->arena, capacity, sizeof *grown);
    if (plan->buffer_count) memcpy(grown, plan->buffer, plan->buffer_count * sizeof *grown);
    plan->buffer = grown;
    planner->capacity = capacity;
  }
  plan->buffer[plan->buffer_count] = (Buffer){.bytes = bytes};
  return plan->buffer_count++;
}

static void
give_buffer(Planner *planner, ValueId value, uint32_t position)
{
  uint32_t buffer = new_buffer(planner, value_bytes(planner->program, value));
  planner->plan->buffer_of[value] = buffer;
  planner->plan->buffer[buffer].first = position;
  planner->plan->buffer[buffer].last = position;
}

static void
find_last_uses(Planner *planner)
{
  const Program *program = planner->program;
  const NamedResults pinned = named_results(program);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (node->phase == PHASE_FORWARD) planner->forward_end = i;
    for (uint32_t k = 0; k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE) planner->last_use[node->operands[k]] = i;
  }
  for (size_t i = 0; i < NAMED_RESULTS; i++)
    if (pinned.value[i] != NO_VALUE) planner->is_pinned[pinned.value[i]] = true;
}

/* Operand whose buffer the result may take: a view's, or one that dies here under an operator that works in place. */
static bool
can_share(const Planner *planner, const Node *node, uint32_t position, ValueId operand, ValueId result)
{
  const Program *program = planner->program;
  uint32_t buffer = planner->plan->buffer_of[operand];
  if (buffer == NO_VALUE || planner->plan->buffer[buffer].is_persistent) return false;
  if (value_at(program, operand)->layout != value_at(program, result)->layout) return false;
  if (value_at(program, operand)->type != value_at(program, result)->type) return false;
  if (value_bytes(program, result) > planner->plan->buffer[buffer].bytes) return false;
  if (is_view(node)) return value_at(program, operand)->layout == ACTNN_PLAIN;
  if (!(node->operator->flags & IN_PLACE) || planner->is_pinned[operand]) return false;
  if (planner->plan->buffer[buffer].last > position) return false;
  return shape_equal(&value_at(program, operand)->shape, &value_at(program, result)->shape);
}

/* Live ranges: a buffer lives from its first writer to the last reader of any value in it. */
static void
extend(Planner *planner, ValueId value, uint32_t position)
{
  Buffer *buffer = &planner->plan->buffer[planner->plan->buffer_of[value]];
  uint32_t last = planner->last_use[value] > position ? planner->last_use[value] : position;
  if (planner->is_pinned[value])
    last = value != planner->program->prediction ? UINT32_MAX - 1 : last > planner->forward_end ? last : planner->forward_end;
  if (last > buffer->last) buffer->last = last;
}

/* Some result of the node has the buffer already. */
static bool
is_taken(const Planner *planner, const Node *node, uint32_t k, uint32_t buffer)
{
  for (uint32_t other = 0; other < k; other++)
    if (node->results[other] != NO_VALUE && planner->plan->buffer_of[node->results[other]] == buffer) return true;
  return false;
}

/* All that a joined node reads of a buffer it reads element by element with its results. */
static bool
is_read_alike(const Planner *planner, const Node *node, ValueId result, uint32_t buffer)
{
  const Value *y = value_at(planner->program, result);
  for (uint32_t j = 0; j < node->operand_count; j++) {
    const Value *x = operand_value(planner->program, node, j);
    bool is_alike = x->layout == y->layout && shape_equal(&x->shape, &y->shape);
    if (planner->plan->buffer_of[node->operands[j]] == buffer && !is_alike) return false;
  }
  return true;
}

/* Nothing but the first operand is read of the buffer, or that operand itself element by element: a product's factors would be written over. */
static bool
is_read_alone(const Planner *planner, const Node *node, uint32_t buffer)
{
  for (uint32_t j = 1; j < node->operand_count; j++) {
    ValueId x = node->operands[j];
    bool is_same = x == node->operands[0] && node->operator->flags & POINTWISE;
    if (x != NO_VALUE && planner->plan->buffer_of[x] == buffer && !is_same) return false;
  }
  return true;
}

/* The operand whose buffer result `k` takes; NO_VALUE: none. */
static ValueId
shared_operand(const Planner *planner, const Node *node, uint32_t position, uint32_t k)
{
  ValueId result = node->results[k];
  bool is_joined = !strcmp(node->operator_name, "Pointwise");
  uint32_t count = is_joined ? node->operand_count : k == 0 && node->operand_count ? 1 : 0;
  for (uint32_t j = 0; j < count; j++) {
    ValueId x = node->operands[j];
    if (x == NO_VALUE || !can_share(planner, node, position, x, result)) continue;
    uint32_t buffer = planner->plan->buffer_of[x];
    bool is_free = is_joined ? !is_taken(planner, node, k, buffer) && is_read_alike(planner, node, result, buffer)
                             : is_view(node) || is_read_alone(planner, node, buffer);
    if (is_free) return x;
  }
  return NO_VALUE;
}

static void
place_result(Planner *planner, const Node *node, uint32_t position, uint32_t k)
{
  Program *program = planner->program;
  ValueId result = node->results[k], updates = value_at(program, result)->updates;
  if (updates != NO_VALUE) { /* the new value replaces the old one where it stands */
    planner->plan->buffer_of[result] = planner->plan->buffer_of[updates];
    return;
  }
  if (planner->plan->buffer_of[result] != NO_VALUE) return; /* drawn first value of a variable */
  if (value_at(program, result)->layout == ACTNN_STASH && !value_bytes(program, result)) return; /* in the pool */
  ValueId shared = shared_operand(planner, node, position, k);
  if (shared != NO_VALUE) {
    planner->plan->buffer_of[result] = planner->plan->buffer_of[shared];
  } else {
    give_buffer(planner, result, position);
    planner->plan->buffer[planner->plan->buffer_of[result]].is_evaluation =
        node->phase == PHASE_EVALUATE || node->phase == PHASE_INITIALIZE;
  }
  extend(planner, result, position);
}

/* ---- the least there can be ------------------------------------------------------------------------------------ */

/* The most bytes that live at one time: no placement can be lower. */
static uint64_t
live_peak(const Program *program, const Plan *plan)
{
  int64_t *change = arena_array(program->arena, program->order_count + 2, sizeof *change), live = 0, peak = 0;
  for (int evaluation = 0; evaluation < 2; evaluation++) {
    memset(change, 0, (program->order_count + 2) * sizeof *change);
    for (uint32_t i = 0; i < plan->buffer_count; i++) {
      const Buffer *buffer = &plan->buffer[i];
      if (buffer->is_persistent || buffer->is_evaluation != evaluation) continue;
      change[buffer->first] += (int64_t)buffer->bytes;
      change[(buffer->last < program->order_count ? buffer->last : program->order_count) + 1] -= (int64_t)buffer->bytes;
    }
    live = 0;
    for (uint32_t i = 0; i <= program->order_count; i++) {
      live += change[i];
      if (live > peak) peak = live;
    }
  }
  return (uint64_t)peak;
}

/* ---- the parts of the arena ------------------------------------------------------------------------- */

/* Inputs persist too: the loader fills them for training and for evaluation alike. */
static void
place_variables(Planner *planner)
{
  const Program *program = planner->program;
  bool *is_needed = arena_array(program->arena, program->value_count + 1, sizeof *is_needed);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE && !operand_slot(node->operator, k)->is_constant) is_needed[node->operands[k]] = true;
    for (uint32_t k = 0; k < node->result_count; k++) { /* a state that the model's algorithm only writes is wanted in the end */
      const Value *value = result_value(program, node, k);
      if (value && value->updates != NO_VALUE) is_needed[value->updates] = true;
    }
  }
  uint32_t count;
  const ValueId *values = persistent_values(program, &count);
  for (uint32_t i = 0; i < count; i++) {
    ValueId id = values[i];
    if (!is_needed[id]) continue;
    give_buffer(planner, id, 0);
    Buffer *buffer = &planner->plan->buffer[planner->plan->buffer_of[id]];
    buffer->is_persistent = true;
    buffer->last = UINT32_MAX;
    buffer->offset = planner->plan->variable_bytes;
    planner->plan->variable_bytes += buffer->bytes;
  }
  for (ValueId id = 0; id < program->value_count; id++) {
    ValueId drawn = value_at(program, id)->drawn_from;
    if (drawn != NO_VALUE && planner->plan->buffer_of[id] != NO_VALUE) planner->plan->buffer_of[drawn] = planner->plan->buffer_of[id];
  }
}

/* What an uncompressed framework keeps for a packed mask: the rectifier's result, unless another reader keeps that anyway; for
 * pooling positions, 64-bit indices. */
static uint64_t
uncompressed_bytes_of_packed(const Program *program, const Node *pack, const bool *is_kept)
{
  const Value *packed = operand_value(program, pack, 0);
  int64_t elements = 0;
  shape_elements(&packed->shape, &elements);
  if (packed->type == ACTNN_U8) return (uint64_t)elements * 8;
  const Node *test = packed->producer == NO_NODE ? NULL : node_at(program, packed->producer);
  bool is_fused = !strcmp(pack->operator_name, "PackPositive");
  ValueId tested = is_fused ? operand_id(pack, 0) : test ? operand_id(test, 0) : NO_VALUE;
  return tested != NO_VALUE && is_kept[tested] ? 0 : (uint64_t)elements * 4;
}

/* A framework that runs attention node by node keeps the probabilities, and not lse; where nothing is coded here, also what dropout leaves of
 * them, which backward otherwise draws again. */
static uint64_t
uncompressed_bytes_of_attention(const Program *program, const Node *gradient)
{
  int64_t scores = 0;
  const Value *v = operand_value(program, gradient, 3), *sums = operand_value(program, gradient, 5);
  double ratio = 0.5, training = 0;
  shape_elements(&sums->shape, &scores);
  int rank = v->shape.rank;
  scores *= v->shape.dim[attention_axis(rank, attention_inside(int_attribute(gradient, "inside_v", 0), rank), rank - 2)];
  if (operand_id(gradient, 7) != NO_VALUE) constant_real(program, operand_id(gradient, 7), &ratio);
  if (operand_id(gradient, 8) != NO_VALUE) constant_real(program, operand_id(gradient, 8), &training);
  bool is_coded = program->saves && program->saves->count, keeps_both = training != 0 && ratio > 0 && !is_coded;
  bool keeps_sums = sums->producer != NO_NODE && node_at(program, sums->producer)->phase == PHASE_FORWARD;
  uint64_t probabilities = is_coded ? (uint64_t)scores * 4 : align((uint64_t)scores * 4);
  return probabilities * (keeps_both ? 2 : 1) - (keeps_sums ? value_bytes(program, operand_id(gradient, 5)) : 0);
}

/* By value: floats that backward reads as masks of attention in one operator alone. A framework that adds them node by node keeps none. */
static bool *
masks_of_attention(const Program *program)
{
  bool *is_mask = arena_array(program->arena, program->value_count + 1, sizeof *is_mask);
  bool *is_read = arena_array(program->arena, program->value_count + 1, sizeof *is_read);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (node->phase != PHASE_BACKWARD && node->phase != PHASE_UPDATE) continue;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      bool is_added = k == 6 && is_operator(program, program->order[i], "AttentionGrad") && operand_value(program, node, k)
                      && operand_value(program, node, k)->type == ACTNN_F32;
      if (node->operands[k] != NO_VALUE) *(is_added ? &is_mask[node->operands[k]] : &is_read[node->operands[k]]) = true;
    }
  }
  for (ValueId id = 0; id < program->value_count; id++) is_mask[id] &= !is_read[id];
  return is_mask;
}

/* Of values that are saved through the pool as they are. */
static uint64_t
exact_bytes(const Program *program)
{
  uint32_t count;
  uint64_t bytes = 0;
  const ValueId *stash = exact_saves(program, &count);
  for (uint32_t i = 0; i < count; i++) bytes += stash[i] == NO_VALUE ? 0 : exact_save_bytes(program, stash[i]);
  return bytes;
}

void
count_saved_bytes(const Program *program, uint64_t *saved, uint64_t *uncompressed)
{
  bool *is_kept = arena_array(program->arena, program->value_count + 1, sizeof *is_kept);
  const bool *read = values_read_by_backward(program), *is_mask = masks_of_attention(program);
  *saved = exact_bytes(program);
  *uncompressed = 0;
  for (uint32_t i = 0; program->saves && i < program->saves->count; i++) {
    const Save *save = &program->saves->save[i];
    /* In place of a normalized value a framework keeps what was normalized, which is another value. */
    if (save->value != NO_VALUE) is_kept[save->value] = save->spacing != ACTNN_NORMAL_LEVELS || save->is_rectified;
    *saved += save->bytes;
    *uncompressed += save->uncompressed;
  }
  for (ValueId id = 0; id < program->value_count; id++)
    is_kept[id] |= read[id] && value_at(program, id)->layout != ACTNN_STASH; /* kept as it is */
  for (uint32_t i = 0; i < program->order_count; i++) { /* of a loss in parts it keeps logarithms of probabilities, and what was multiplied */
    const Node *node = node_at(program, program->order[i]);
    if (node->phase != PHASE_FORWARD || strcmp(node->operator_name, "CrossEntropyRows")) continue;
    const Value *scores = operand_value(program, node, 0), *x = operand_value(program, node_at(program, scores->producer), 0);
    *uncompressed += (uint64_t)(padded_elements(scores) + padded_elements(x)) * 4;
  }
  for (uint32_t i = 0; i < program->order_count; i++) { /* a framework clips in place, and tests the result */
    const Node *node = node_at(program, program->order[i]);
    if (strcmp(node->operator_name, "Clip") || !result_value(program, node, 0) || !operand_value(program, node, 0)) continue;
    is_kept[operand_id(node, 0)] |= is_kept[result_id(node, 0)];
  }
  for (uint32_t i = 0; i < program->order_count; i++)
    if (is_operator(program, program->order[i], "AttentionGrad"))
      *uncompressed += uncompressed_bytes_of_attention(program, node_at(program, program->order[i]));
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (!read[id] || value->producer == NO_NODE || node_at(program, value->producer)->phase != PHASE_FORWARD) continue;
    const Node *producer = node_at(program, value->producer);
    *saved += value_bytes(program, id);
    if (is_mask[id]) continue;
    if (value->layout != ACTNN_STASH) *uncompressed += value_bytes(program, id) * (value->type == ACTNN_BF16 ? 2 : 1);
    else if (strncmp(producer->operator_name, "Pack", 4) == 0) *uncompressed += uncompressed_bytes_of_packed(program, producer, is_kept);
  }
  if (program->uncompressed_bytes) *uncompressed = program->uncompressed_bytes;
}

/* ---- the library's scratch -------------------------------------------------------------------------- */

/* Every value as the runtime's tensor, numbered as in the program. */
static actnn_tensor *
runtime_tensors(const Program *program, const Plan *plan)
{
  actnn_tensor *tensors = arena_array(program->arena, program->value_count + 1, sizeof *tensors);
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (value->shape.rank < 0) continue;
    tensors[id] = (actnn_tensor){.type = (uint8_t)value->type, .layout = (uint8_t)value->layout, .rank = (uint8_t)value->shape.rank};
    memcpy(tensors[id].dim, value->shape.dim, sizeof tensors[id].dim);
    if (plan->buffer_of[id] != NO_VALUE) tensors[id].offset = plan->buffer[plan->buffer_of[id]].offset;
    tensors[id].bytes = plan->buffer_of[id] == NO_VALUE ? 0 : value_bytes(program, id);
  }
  return tensors;
}

/* Only nodes of these families call the library (runtime/library.h) or have scratch of their own, and only what is held as bfloat16 is copied
 * (runtime/bfloat.h). */
static bool
takes_scratch(const Program *program, const Node *node)
{
  bool is_any = !strncmp(node->operator_name, "Conv", 4) || !strncmp(node->operator_name, "Product", 7)
                || !strncmp(node->operator_name, "Attention", 9);
  for (uint32_t k = 0; k < node->operand_count; k++)
    is_any |= node->operands[k] != NO_VALUE && operand_value(program, node, k)->type == ACTNN_BF16;
  for (uint32_t k = 0; k < node->result_count; k++)
    is_any |= node->results[k] != NO_VALUE && result_value(program, node, k)->type == ACTNN_BF16;
  return is_any;
}

static uint64_t
measure_workspace(Program *program, const Plan *plan, bool is_for_gpu)
{
  actnn_recorded_call *calls = arena_array(program->arena, program->order_count + 1, sizeof *calls);
  size_t count = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    actnn_attribute *attributes;
    if (!takes_scratch(program, node)) continue;
    size_t attribute_count = call_attributes(program, node, &attributes);
    uint32_t *operands = arena_array(program->arena, node->operand_count + 1, sizeof *operands);
    for (uint32_t k = 0; k < node->operand_count; k++)
      operands[k] = operand_slot(node->operator, k)->is_constant ? NONE : node->operands[k];
    calls[count++] = (actnn_recorded_call){node->operator_name, {node->result_count, node->results},
                                           {node->operand_count, operands}, {attribute_count, attributes}};
  }
  return actnn_measure_workspace(runtime_tensors(program, plan), program->value_count, plan->arena_bytes, calls, count, is_for_gpu);
}

/* All parts of the arena but the library's scratch. */
static Plan *
lay_out(Program *program, const Options *options)
{
  Plan *plan = arena_allocate(program->arena, sizeof *plan);
  Planner planner = {.program = program, .plan = plan};
  plan->buffer_of = arena_array(program->arena, program->value_count + 1, sizeof *plan->buffer_of);
  planner.last_use = arena_array(program->arena, program->value_count + 1, sizeof *planner.last_use);
  planner.is_pinned = arena_array(program->arena, program->value_count + 1, sizeof *planner.is_pinned);
  for (uint32_t i = 0; i <= program->value_count; i++) plan->buffer_of[i] = NO_VALUE;
  find_last_uses(&planner);
  place_variables(&planner);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->result_count; k++)
      if (node->results[k] != NO_VALUE) place_result(&planner, node, i, k);
  }
  count_saved_bytes(program, &plan->saved_bytes, &plan->saved_bytes_fp32);
  for (uint32_t i = 0; program->saves && i < program->saves->count; i++) plan->stash_bytes += program->saves->save[i].bytes;
  plan->exact_bytes = exact_bytes(program);
  plan->lower_bound = live_peak(program, plan);
  uint64_t height = place_buffers(plan, program->order_count);
  for (uint32_t i = 0; i < plan->buffer_count; i++)
    if (!plan->buffer[i].is_persistent) plan->buffer[i].offset += plan->variable_bytes;
  plan->stash_offset = plan->variable_bytes + align(height);
  plan->window_bytes = find_window(program, options, plan);
  plan->workspace_offset = plan->stash_offset + planned_pool_in_arena(plan);
  plan->arena_bytes = plan->workspace_offset;
  return plan;
}

uint64_t
planned_bytes(Program *program, const Options *options)
{
  return lay_out(program, options)->arena_bytes;
}

bool
plan_memory(Program *program, const Options *options)
{
  Plan *plan = program->plan = lay_out(program, options);
  /* What a GPU's libraries would like is known only where there is one: they choose among what fits. */
  plan->workspace_bytes = measure_workspace(program, plan, options->is_for_gpu);
  if (plan->workspace_bytes == UINT64_MAX)
    return report(program->diagnostics, program->source, NULL,
                  "the library on this machine cannot run the model's convolutions or products, or has no memory for them");
  if (options->is_for_gpu) plan->workspace_bytes += align(options->workspace);
  plan->arena_bytes += plan->workspace_bytes;
  return true;
}
