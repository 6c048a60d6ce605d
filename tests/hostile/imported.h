/* imported.h: what tests ask of imported models. */
#ifndef ACTNN_IMPORTED_H
#define ACTNN_IMPORTED_H

#include "../runtime/tap.h"
#include "../../src/onnx_export.h"
#include "../../src/onnx_load.h"
#include "onnx_writer.h"

static Arena *arena; /* this test's; all is freed with it */

static inline Program *
import_written(Bytes model)
{
  write_model("model.onnx", model);
  return import_model("model.onnx", diagnostics_create(arena));
}

static inline ValueId
named(const Program *program, const char *name)
{
  for (ValueId id = 0; id < program->value_count; id++) {
    if (value_at(program, id)->name && !strcmp(value_at(program, id)->name, name)) return id;
  }
  return NO_VALUE;
}

static inline const Value *
value_named(const Program *program, const char *name)
{
  static const Value none = {.kind = VALUE_STASH, .producer = NO_NODE, .updates = NO_VALUE, .drawn_from = NO_VALUE};
  ValueId id = named(program, name);
  return id == NO_VALUE ? &none : value_at(program, id);
}

/* "Mul BatchNormalization ..." of the nodes of one phase, in order. */
static inline const char *
operators_of(const Program *program, Phase phase)
{
  const char *text = "";
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    if (node->phase == phase) text = arena_format(arena, "%s%s%s", text, *text ? " " : "", node->operator_name);
  }
  return text;
}

static inline bool
updates(const Program *program, const char *value, const char *key)
{
  return value_named(program, value)->updates != NO_VALUE &&
         value_named(program, value)->updates == named(program, key);
}

static inline Onnx__ModelProto *
inference_model_of(const Program *program)
{
  return (Onnx__ModelProto *)unpack_message(&onnx__model_proto__descriptor, program->inference_model,
                                            program->inference_model_bytes, 0, "inference model", arena,
                                            program->diagnostics);
}

static inline bool
has_initializer(const Onnx__GraphProto *graph, const char *name)
{
  for (size_t i = 0; i < graph->n_initializer; i++) {
    if (!strcmp(graph->initializer[i]->name, name)) return true;
  }
  return false;
}

static inline bool
has_data(const Program *program, const char *name, actnn_type type, const void *data, size_t bytes)
{
  const Value *value = value_named(program, name);
  return value->type == type && value->data_bytes == bytes && value->data && !memcmp(value->data, data, bytes);
}

#endif
