/* hostile_models.h: models made to crash, exhaust or fool whoever reads them. */
#ifndef ACTNN_HOSTILE_MODELS_H
#define ACTNN_HOSTILE_MODELS_H

#include "onnx_writer.h"

#include <stdbool.h>

/* A graph with input x, output y and the node given, which is freed. */
static inline Bytes
graph_with(Bytes node)
{
  Bytes graph = {0};
  put_message(&graph, GRAPH_NODE, node);
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "N,4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "N,4"));
  return graph;
}

static inline Bytes
nested_graphs(int levels)
{
  Bytes graph = {0};
  for (int i = 0; i < levels; i++) {
    Bytes outer = {0}, node = node_of("If", "", ""), attribute = {0};
    put_text(&attribute, ATTRIBUTE_NAME, "then_branch");
    put_number(&attribute, ATTRIBUTE_TYPE, 5);
    put_message(&attribute, ATTRIBUTE_G, graph);
    put_message(&node, NODE_ATTRIBUTE, attribute);
    put_message(&outer, GRAPH_NODE, node);
    graph = outer;
  }
  return model_of(graph);
}

static inline Bytes
nested_types(int levels)
{
  Bytes type = {0}, info = {0}, graph = {0};
  for (int i = 0; i < levels; i++) {
    Bytes sequence = {0}, outer = {0};
    put_message(&sequence, 1, type);
    put_message(&outer, 4, sequence);
    type = outer;
  }
  put_text(&info, 1, "x");
  put_message(&info, 2, type);
  put_message(&graph, GRAPH_INPUT, info);
  return model_of(graph);
}

/* A graph of `count` copies of two or more bytes. */
static inline Bytes
repeated_bytes(const char *piece, size_t length, size_t count)
{
  Bytes graph = {0};
  for (size_t i = 0; i < count; i++) put(&graph, piece, length);
  return model_of(graph);
}

static inline Bytes
model_with_tensor(Bytes tensor)
{
  Bytes graph = graph_with(node_of("Add", "x w", "y"));
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  return model_of(graph);
}

static inline Bytes
chain(uint32_t count, bool is_reversed, bool is_ring)
{
  Bytes graph = {0};
  char from[16], to[16];
  for (uint32_t i = 0; i < count; i++) {
    uint32_t at = is_reversed ? count - 1 - i : i;
    snprintf(from, sizeof from, "%u", at);
    snprintf(to, sizeof to, "%u", is_ring && at == count - 1 ? 0 : at + 1);
    put_message(&graph, GRAPH_NODE, node_of("Relu", from, to));
  }
  snprintf(to, sizeof to, "%u", is_ring ? 0 : count);
  if (!is_ring) put_message(&graph, GRAPH_INPUT, value_info_of("0", 1, "4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of(to, 1, "4"));
  return model_of(graph);
}

/* Functions f0, f1, ... of which each calls the next one `calls` times; the last calls `last`. */
static inline Bytes
functions(int count, int calls, const char *last)
{
  Bytes model = model_of(graph_with(node_in("c", "f0", "x", "y")));
  put_message(&model, MODEL_OPSET, opset_of("c", 1));
  for (int i = 0; i < count; i++) {
    Bytes function = {0};
    char name[16], next[16];
    snprintf(name, sizeof name, "f%d", i);
    snprintf(next, sizeof next, "f%d", i + 1);
    put_text(&function, FUNCTION_NAME, name);
    put_text(&function, FUNCTION_DOMAIN, "c");
    put_text(&function, FUNCTION_INPUT, "a");
    put_text(&function, FUNCTION_OUTPUT, "b");
    for (int call = 0; call < calls; call++) {
      char result[16];
      snprintf(result, sizeof result, call ? "t%d" : "b", call);
      put_message(&function, FUNCTION_NODE,
                  i + 1 < count ? node_in("c", next, "a", result)
                                : node_in(last[0] == 'f' ? "c" : "", last, "a", result));
    }
    put_message(&model, MODEL_FUNCTION, function);
  }
  return model;
}

static inline Bytes
model_with_external(const char *location, const char *offset, const char *length, const char *more)
{
  Bytes tensor = tensor_head("w", 1, "4");
  put_number(&tensor, TENSOR_LOCATION, 1);
  if (location) put_message(&tensor, TENSOR_EXTERNAL, entry_of("location", location));
  if (offset) put_message(&tensor, TENSOR_EXTERNAL, entry_of("offset", offset));
  if (length) put_message(&tensor, TENSOR_EXTERNAL, entry_of("length", length));
  if (more) put_message(&tensor, TENSOR_EXTERNAL, entry_of(more, "1"));
  return model_with_tensor(tensor);
}

#endif
