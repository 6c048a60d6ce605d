/* sample_models.h: two right models that together use every part of the format that the importer reads. */
#ifndef ACTNN_SAMPLE_MODELS_H
#define ACTNN_SAMPLE_MODELS_H

#include "onnx_writer.h"

static const char TRAINING[] = "ai.onnx.preview.training";

static inline Bytes
string_attribute_of(const char *name, const char *value)
{
  Bytes attribute = {0};
  put_text(&attribute, ATTRIBUTE_NAME, name);
  put_number(&attribute, ATTRIBUTE_TYPE, 3);
  put_text(&attribute, ATTRIBUTE_S, value);
  return attribute;
}

static inline Bytes
strings_attribute_of(const char *name, const char *values)
{
  Bytes attribute = {0};
  put_text(&attribute, ATTRIBUTE_NAME, name);
  put_number(&attribute, ATTRIBUTE_TYPE, 8);
  put_texts(&attribute, 9, values);
  return attribute;
}

/* An attribute of a function's node that stands for one of the call. */
static inline Bytes
reference_of(const char *name, int type, const char *refers_to)
{
  Bytes attribute = {0};
  put_text(&attribute, ATTRIBUTE_NAME, name);
  put_number(&attribute, ATTRIBUTE_TYPE, type);
  put_text(&attribute, ATTRIBUTE_REFERENCE, refers_to);
  return attribute;
}

/* y = BatchNormalization(x * w) in training mode, then dropout; loss = sum(y). w and the momentum v are drawn or zero, and
 * replaced by Momentum; the step counter t grows. Nodes of the algorithm are not in order. */
static inline Bytes
sample_training_model(void)
{
  static const float ones[4] = {1, 1, 1, 1}, rate[1] = {0.5f};
  static const int64_t zero[1] = {0}, one[1] = {1};
  Bytes graph = {0}, sparse = {0}, node;
  put_text(&graph, GRAPH_NAME, "sample");
  put_message(&graph, GRAPH_NODE, node_of("Mul", "x w", "h"));
  node = node_of("BatchNormalization", "h scale bias mean variance", "n new_mean new_variance");
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("training_mode", 1));
  put_message(&graph, GRAPH_NODE, node);
  put_message(&graph, GRAPH_NODE, node_of("Dropout", "n - mode", "y"));
  put_message(&graph, GRAPH_NODE, node_of("ReduceSum", "y", "loss"));
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "N,4"));
  put_message(&graph, GRAPH_INPUT, value_info_of("scale", 1, "4")); /* an initializer, listed as IR 3 does */
  put_message(&graph, GRAPH_OUTPUT, value_info_of("loss", 1, "1,1"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "N,4"));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("scale", 1, "4", ones, sizeof ones));
  Bytes bias = tensor_head("bias", 1, "4");
  put_bytes(&bias, TENSOR_FLOATS, ones, sizeof ones);
  put_message(&graph, GRAPH_INITIALIZER, bias);
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("mean", 1, "4", ones, sizeof ones));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("variance", 1, "4", ones, sizeof ones));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("mode", 9, "", "\x01", 1));
  put_message(&sparse, 1, tensor_of("w", 1, "0", ones, 0));
  put_message(&sparse, 2, tensor_of("", 7, "0", zero, 0));
  put_number(&sparse, 3, 4);
  put_message(&graph, GRAPH_SPARSE, sparse);

  Bytes drawing = {0}, algorithm = {0}, training = {0};
  node = node_of("RandomNormal", "", "drawn");
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("dtype", 1));
  put_message(&drawing, GRAPH_NODE, node);
  put_message(&drawing, GRAPH_NODE, node_of("Mul", "drawn w", "first_w")); /* its own w */
  put_message(&drawing, GRAPH_INITIALIZER, tensor_of("w", 1, "1", rate, sizeof rate));
  put_message(&drawing, GRAPH_OUTPUT, value_info_of("first_w", 1, "4"));

  node = node_in(TRAINING, "Momentum", "r t w dw v", "new_w new_v");
  put_message(&node, NODE_ATTRIBUTE, string_attribute_of("mode", "standard"));
  put_message(&algorithm, GRAPH_NODE, node);
  put_message(&algorithm, GRAPH_NODE, node_of("Mul", "g two", "dw"));
  node = node_in(TRAINING, "Gradient", "w", "g");
  put_message(&node, NODE_ATTRIBUTE, strings_attribute_of("xs", "w"));
  put_message(&node, NODE_ATTRIBUTE, string_attribute_of("y", "loss"));
  put_message(&algorithm, GRAPH_NODE, node);
  put_message(&algorithm, GRAPH_NODE, node_of("Add", "t one", "new_t"));
  put_message(&algorithm, GRAPH_INITIALIZER, tensor_of("r", 1, "", rate, sizeof rate));
  put_message(&algorithm, GRAPH_INITIALIZER, tensor_of("two", 1, "", rate, sizeof rate));
  put_message(&algorithm, GRAPH_INITIALIZER, tensor_of("t", 7, "", zero, sizeof zero));
  put_message(&algorithm, GRAPH_INITIALIZER, tensor_of("one", 7, "", one, sizeof one));
  put_message(&algorithm, GRAPH_INITIALIZER, tensor_of("v", 1, "4", ones, sizeof ones));
  put_message(&training, 1, drawing);
  put_message(&training, 2, algorithm);
  put_message(&training, 3, entry_of("w", "first_w"));
  put_message(&training, 4, entry_of("w", "new_w"));
  put_message(&training, 4, entry_of("v", "new_v"));
  put_message(&training, 4, entry_of("t", "new_t"));
  put_message(&training, 4, entry_of("mean", "new_mean"));

  Bytes model = model_of(graph);
  put_message(&model, MODEL_OPSET, opset_of(TRAINING, 1));
  put_message(&model, MODEL_TRAINING, training);
  return model;
}

/* y = outer(x) with outer(a) = inner(Softmax(a, axis given by the call)), inner(a) = Elu(a, alpha by default 3). */
static inline Bytes
sample_function_model(void)
{
  Bytes graph = {0}, outer = {0}, inner = {0}, model, node;
  node = node_in("custom", "outer", "x", "y second");
  put_text(&node, NODE_NAME, "call");
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("which", 1));
  put_message(&graph, GRAPH_NODE, node);
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "N,4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "N,4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("second", 1, "N,4"));
  model = model_of(graph);
  put_message(&model, MODEL_OPSET, opset_of("custom", 1));

  put_text(&outer, FUNCTION_NAME, "outer");
  put_text(&outer, FUNCTION_DOMAIN, "custom");
  put_texts(&outer, FUNCTION_INPUT, "a optional");
  put_texts(&outer, FUNCTION_OUTPUT, "b a");
  put_text(&outer, 6, "which");
  node = node_in("custom", "inner", "t", "b");
  put_text(&node, 8, "second"); /* overload */
  put_message(&outer, FUNCTION_NODE, node);
  node = node_of("Softmax", "a", "t");
  put_text(&node, NODE_NAME, "softmax");
  put_message(&node, NODE_ATTRIBUTE, reference_of("axis", 2, "which"));
  put_message(&outer, FUNCTION_NODE, node);
  put_message(&outer, FUNCTION_OPSET, opset_of("", 17));
  put_message(&model, MODEL_FUNCTION, outer);

  for (int overload = 0; overload < 2; overload++) {
    inner = (Bytes){0};
    put_text(&inner, FUNCTION_NAME, "inner");
    put_text(&inner, FUNCTION_DOMAIN, "custom");
    put_text(&inner, FUNCTION_INPUT, "a");
    put_text(&inner, FUNCTION_OUTPUT, "b");
    node = node_of(overload ? "Elu" : "Relu", "a", "b");
    if (overload) put_message(&node, NODE_ATTRIBUTE, reference_of("alpha", 2, "slope"));
    put_message(&inner, FUNCTION_NODE, node);
    if (overload) put_message(&inner, FUNCTION_ATTRIBUTE, int_attribute_of("slope", 3));
    if (overload) put_text(&inner, 13, "second");
    put_message(&model, MODEL_FUNCTION, inner);
  }
  return model;
}

#endif
