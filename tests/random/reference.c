/* reference.c: a random graph's gradients in double precision, as they are and under perturbation. */
#include "reference.h"

#include "../../runtime/philox.h"
#include "../training/relative_distance.h"

#include <math.h>
#include <string.h>

PassFunction specialize, simplify, attach_loss, differentiate;

enum { LABELS = 0x4c41, PERTURBATIONS = 0x5045 };

static double
uniform_at(uint64_t number, uint64_t use, uint64_t index)
{
  actnn_philox_block block = {{(uint32_t)index, (uint32_t)(index >> 32), 0, 0}};
  return actnn_philox(block, actnn_random_key(number, 0, use, 0), ACTNN_PHILOX_ROUNDS).word[0] * 0x1p-32;
}

Tensor *
draw_labels(uint64_t number, actnn_type type, Shape shape, const Shape *scores, Arena *arena)
{
  int64_t count = 0, classes = scores->rank == 3 ? scores->dim[2] : scores->dim[1]; /* as attach-loss has it */
  Tensor *labels = arena_allocate(arena, sizeof *labels);
  shape_elements(&shape, &count);
  *labels = (Tensor){.type = type == ACTNN_F32 ? ACTNN_F32 : ACTNN_I64, .shape = shape, .data = arena_array(arena, (size_t)count + 1, 8)};
  for (int64_t i = 0; i < count; i++) {
    double u = uniform_at(number, LABELS, (uint64_t)i);
    if (labels->type == ACTNN_I64) ((int64_t *)labels->data)[i] = (int64_t)(u * (double)classes);
    else ((double *)labels->data)[i] = (float)u;
  }
  return labels;
}

static Program *
differentiated(const RandomGraph *graph, const char *text, Diagnostics *diagnostics)
{
  PassFunction *const needed[] = {specialize, simplify, attach_loss, differentiate};
  Options options = {.loss = graph->loss, .scheme = "actnnc"};
  Program *program = parse_program("reference", text, strlen(text), diagnostics);
  for (size_t i = 0; program && i < sizeof needed / sizeof needed[0]; i++)
    if (!needed[i](program, &options)) {
      program_destroy(program);
      return NULL;
    }
  return program;
}

static void
give_inputs(const RandomGraph *graph, Program *program, Tensor **tensors)
{
  for (uint32_t i = 0; i < program->input_count; i++) {
    ValueId id = program->inputs[i];
    const Value *value = value_at(program, id);
    if (i < graph->program->input_count) tensors[id] = graph->tensor[graph->program->inputs[i]];
    else tensors[id] = draw_labels(graph->number, value->type, value->shape, shape_at(graph, graph->program->outputs[0]), program->arena);
  }
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if ((value->kind != VALUE_PARAMETER && value->kind != VALUE_STATE) || !value->data) continue;
    tensors[id] = arena_allocate(program->arena, sizeof **tensors);
    constant_tensor(program, id, program->arena, tensors[id]);
  }
}

/* What moves or selects elements, or clears some, rounds nothing: a maximum is still the element that it was taken from. Seen from
 * the first elements that are not zero; they are enough, since hardly any two numbers are alike. */
static bool
only_moves(const Tensor *result, const Tensor *const *operands, uint32_t operand_count)
{
  int64_t count = 0, all = 0;
  int looked = 0;
  shape_elements(&result->shape, &all);
  for (int64_t i = 0; i < all && looked < 8; i++) {
    double wanted = ((const double *)result->data)[i];
    bool is_there = false;
    if (wanted == 0) continue;
    looked++;
    for (uint32_t k = 0; k < operand_count && !is_there; k++) {
      if (!operands[k] || operands[k]->type != ACTNN_F32 || !shape_elements(&operands[k]->shape, &count)) continue;
      for (int64_t j = 0; j < count && !is_there; j++) is_there = ((const double *)operands[k]->data)[j] == wanted;
    }
    if (!is_there) return false;
  }
  return true;
}

static void
perturb(Tensor *tensor, double perturbation, uint64_t key, uint64_t *index)
{
  int64_t count = 0;
  shape_elements(&tensor->shape, &count);
  for (int64_t i = 0; i < count; i++)
    ((double *)tensor->data)[i] *= 1 + perturbation * (2 * uniform_at(key, PERTURBATIONS, (*index)++) - 1);
}

static bool
evaluate_all(Program *program, Tensor **tensors, double perturbation, uint64_t key, Arena *arena)
{
  uint64_t index = 0;
  for (uint32_t position = 0; position < program->order_count; position++) {
    NodeId id = program->order[position];
    const Node *node = node_at(program, id);
    if (node->phase == PHASE_UPDATE) continue;
    const Tensor *operands[ACTNN_MAX_OPERANDS] = {NULL};
    Tensor *results = arena_array(arena, (size_t)node->result_count + 1, sizeof *results);
    for (uint32_t i = 0; i < node->operand_count; i++)
      if (node->operands[i] != NO_VALUE) operands[i] = tensors[node->operands[i]];
    if (!evaluate_node(program, id, arena, operands, results)) return false;
    for (uint32_t i = 0; i < node->result_count; i++) {
      if (node->results[i] == NO_VALUE) continue;
      bool rounds = perturbation > 0 && results[i].type == ACTNN_F32 && !only_moves(&results[i], operands, node->operand_count);
      if (rounds) perturb(&results[i], perturbation, key, &index);
      tensors[node->results[i]] = &results[i];
    }
  }
  return true;
}

/* The operands of the updates, in the program's order. */
static void
collect(Reference *reference, Program *program, Tensor **tensors, Arena *arena)
{
  reference->gradient = arena_array(arena, program->order_count + 1, sizeof *reference->gradient);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (node->phase != PHASE_UPDATE) continue;
    ReferenceGradient *gradient = &reference->gradient[reference->count++];
    const Tensor *tensor = tensors[operand_id(node, 1)];
    gradient->parameter = operand_value(program, node, 0)->name;
    shape_elements(&tensor->shape, &gradient->count);
    gradient->data = tensor->data;
    double norm = 0;
    for (int64_t k = 0; k < gradient->count; k++) norm += gradient->data[k] * gradient->data[k];
    reference->scale = fmax(reference->scale, sqrt(norm));
  }
  reference->loss = *(double *)tensors[program->loss]->data;
}

Reference *
evaluate_reference(const RandomGraph *graph, const char *text, double perturbation, uint64_t key, Arena *arena,
                   Diagnostics *diagnostics)
{
  Program *program = differentiated(graph, text, diagnostics);
  if (!program) return NULL;
  Reference *reference = arena_allocate(arena, sizeof *reference);
  Tensor **tensors = arena_array(arena, program->value_count + 1, sizeof *tensors);
  give_inputs(graph, program, tensors);
  reference->program = program;
  if (!evaluate_all(program, tensors, perturbation, key, arena)) {
    program_destroy(program);
    return NULL;
  }
  collect(reference, program, tensors, arena);
  return reference;
}

double
reference_distance(const Reference *exact, const Reference *other, const char **parameter)
{
  double worst = 0;
  for (uint32_t i = 0; i < exact->count; i++) {
    const ReferenceGradient *gradient = &exact->gradient[i];
    double difference = 0, norm = 0;
    for (int64_t k = 0; k < gradient->count; k++) {
      double away = other->gradient[i].data[k] - gradient->data[k];
      difference += away * away;
      norm += gradient->data[k] * gradient->data[k];
    }
    double distance = relative_distance(difference, norm, exact->scale);
    if (distance <= worst) continue;
    worst = distance;
    if (parameter) *parameter = gradient->parameter;
  }
  return worst;
}
