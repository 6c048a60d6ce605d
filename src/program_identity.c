/* program_identity.c: a number by which checkpoints belong to a program. It follows from what is computed, what is coded and what persists, and
 * not from the order of nodes, their numbers, which of them are joined, or where values lie: a trainer for another device goes on with the
 * same checkpoint.
 *
 * Each node is known by its operator, its attributes and what it reads, each value by the node that makes it, or by its name. */
#include "program_identity.h"

#include "../passes/passes.h"
#include "../runtime/philox.h"

#include <string.h>

static uint64_t
join(uint64_t hash, uint64_t word)
{
  return actnn_mix(actnn_mix(hash) ^ word);
}

static uint64_t
join_bytes(uint64_t hash, const void *bytes, size_t count)
{
  const unsigned char *at = bytes;
  hash = join(hash, count);
  for (; count; count -= count < sizeof hash ? count : sizeof hash, at += sizeof hash) {
    uint64_t word = 0;
    memcpy(&word, at, count < sizeof word ? count : sizeof word);
    hash = join(hash, word);
  }
  return hash;
}

static uint64_t
join_text(uint64_t hash, const char *text)
{
  return text ? join_bytes(hash, text, strlen(text)) : join(hash, UINT64_MAX);
}

static uint64_t
join_real(uint64_t hash, double real)
{
  return join_bytes(hash, &real, sizeof real);
}

/* Of a value by itself: who makes it, is joined to that. */
static uint64_t
kind_of(const Value *value)
{
  uint64_t hash = join(join(join(0, (uint64_t)value->type), (uint64_t)value->layout), (uint64_t)value->shape.rank);
  for (int axis = 0; axis < value->shape.rank; axis++) hash = join(hash, (uint64_t)value->shape.dim[axis]);
  return hash;
}

/* What no node makes: inputs, variables, constants. */
static uint64_t
given_identity(const Value *value)
{
  uint64_t hash = join_text(join(join(kind_of(value), (uint64_t)value->kind), value->is_frozen), value->name);
  return value->kind == VALUE_CONSTANT && value->data ? join_bytes(hash, value->data, value->data_bytes) : hash;
}

static uint64_t
join_texts(uint64_t hash, const char *const *text, size_t count)
{
  hash = join(hash, count);
  for (size_t i = 0; i < count; i++) hash = join_text(hash, text[i]);
  return hash;
}

static uint64_t
attribute_identity(const Attribute *attribute, const uint64_t *identity)
{
  uint64_t hash = join(join_text(0, attribute->name), attribute->kind);
  switch (attribute->kind) {
  case ATTRIBUTE_INT: return join(hash, (uint64_t)attribute->i);
  case ATTRIBUTE_FLOAT: return join_real(hash, attribute->f);
  case ATTRIBUTE_STRING: return join_text(hash, attribute->s);
  case ATTRIBUTE_INTS: return join_bytes(hash, attribute->ints, attribute->count * sizeof *attribute->ints);
  case ATTRIBUTE_FLOATS: return join_bytes(hash, attribute->floats, attribute->count * sizeof *attribute->floats);
  case ATTRIBUTE_STRINGS: return join_texts(hash, attribute->strings, attribute->count); /* of joined nodes, which a model may bring */
  default: return join(hash, identity[attribute->tensor]);
  }
}

/* Attributes come in any order. */
static uint64_t
node_identity(const Node *node, const uint64_t *identity)
{
  uint64_t hash = join(join_text(join_text(0, node->domain), node->operator_name), node->phase), attributes = 0;
  for (uint32_t i = 0; i < node->attribute_count; i++) attributes += attribute_identity(&node->attributes[i], identity);
  for (uint32_t k = 0; k < node->operand_count; k++) hash = join(hash, node->operands[k] == NO_VALUE ? 0 : identity[node->operands[k]]);
  return join(hash, attributes);
}

static uint64_t
save_identity(const Save *save, const uint64_t *identity)
{
  uint64_t hash = join(join(join(save->value == NO_VALUE ? 0 : identity[save->value], save->spacing), save->dither), save->is_rectified);
  return join_real(join_real(join_real(join(join(join(hash, save->choices), save->bytes), save->adaptation), save->low), save->high),
                   save->weight);
}

uint64_t
program_identity(const Program *program)
{
  if (program->identity) return program->identity;
  uint64_t *identity = arena_array(program->arena, program->value_count + 1u, sizeof *identity), sum = 0, hash = 0;
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    if (value->producer != NO_NODE) continue;
    identity[id] = given_identity(value);
    if (value->kind == VALUE_INPUT || value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE) sum += identity[id];
  }
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *made = node_at(program, program->order[i]);
    uint64_t of_node = node_identity(made, identity);
    for (uint32_t k = 0; k < made->result_count; k++) {
      if (made->results[k] == NO_VALUE) continue;
      const Value *result = value_at(program, made->results[k]);
      identity[made->results[k]] = join(join(kind_of(result), of_node), k);
      if (result->updates != NO_VALUE) sum += join(identity[result->updates], identity[made->results[k]]);
    }
    sum += of_node;
  }
  for (uint32_t i = 0; i < program->saves->count; i++) sum += save_identity(&program->saves->save[i], identity);
  const NamedResults named = named_results(program);
  for (size_t i = 0; i < NAMED_RESULTS; i++) hash = join(hash, named.value[i] == NO_VALUE ? 0 : identity[named.value[i]]);
  hash = join(hash, program->label == NO_VALUE ? 0 : identity[program->label]);
  return join(join(hash, (uint64_t)program->loss_kind), sum);
}
