/* test_hostile_fields.c: fields of tensors, attributes, inputs, functions and bindings that are wrong in one thing each: one clear message. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "expect_import.h"
#include "hostile_models.h"

/* ---- tensors ------------------------------------------------------------------------------------ */

/* One element of a type, in int32_data or uint64_data. */
static Bytes
one_number(int type, int64_t number)
{
  Bytes tensor = tensor_head("w", type, "1");
  put_number(&tensor, type == 12 ? 11 : TENSOR_INT32S, number);
  return tensor;
}

static Bytes
texts(const char *first, size_t length)
{
  Bytes tensor = tensor_head("w", 8, "1");
  put_bytes(&tensor, 6, first, length);
  return tensor;
}

static void
test_numbers(void)
{
  static const float zeros[4];
  Bytes segment = tensor_of("w", 1, "4", zeros, 16);
  put_text(&segment, 3, "");
  expect_model(model_with_tensor(segment), "a tensor in segments", "comes in segments");
  expect_model(model_with_tensor(one_number(3, 128)), "an int8 of 128", "128 is not a value of type int8");
  expect_model(model_with_tensor(one_number(3, -129)), "an int8 of -129", "-129 is not a value of type int8");
  expect_model(model_with_tensor(one_number(2, -1)), "a uint8 of -1", "-1 is not a value of type uint8");
  expect_model(model_with_tensor(one_number(9, 2)), "a bool of 2", "2 is not a value of type bool");
  expect_model(model_with_tensor(one_number(12, (int64_t)1 << 32)), "a uint32 of 2^32", "4294967296 is not a value of type uint32");
  expect_model(model_with_tensor(texts("a\0b", 3)), "a string with a NUL", "a string contains a NUL byte");
  Bytes two = texts("a", 1);
  put_text(&two, 6, "b");
  expect_model(model_with_tensor(two), "two strings for one", "string_data has 2 elements");
  Bytes external = tensor_head("w", 8, "4");
  put_number(&external, TENSOR_LOCATION, 1);
  expect_model(model_with_tensor(external), "strings in another file", "strings cannot be external");
  external = tensor_of("w", 1, "4", zeros, 16);
  put_number(&external, TENSOR_LOCATION, 1);
  expect_model(model_with_tensor(external), "data here and in another file", "holds its data twice");
}

/* Sparse: values, indices and dimensions, each NULL when it is not there. */
static Bytes
sparse_of(const Bytes *values, const Bytes *indices, const char *dims)
{
  Bytes sparse = {0};
  if (values) put_message(&sparse, 1, *values);
  if (indices) put_message(&sparse, 2, *indices);
  for (; *dims; dims += strcspn(dims, ","), dims += *dims == ',') put_number(&sparse, 3, strtoll(dims, NULL, 10));
  return sparse;
}

static void
expect_sparse(Bytes values, const Bytes *indices, const char *dims, const char *what, const char *text)
{
  Bytes graph = graph_with(node_of("Add", "x w", "y"));
  put_message(&graph, GRAPH_SPARSE, sparse_of(&values, indices, dims));
  expect_model(model_of(graph), what, text);
}

static void
test_sparse(void)
{
  static const float two[2] = {1, 2};
  static const int64_t places[4] = {0, 1, 1, 2}, negative[2] = {-1, 0}, far[4] = {0, 1, 1, 3}, before[4] = {0, 1, 0, -1};
#define VALUES tensor_of("w", 1, "2", two, 8)
  Bytes indices = tensor_of("i", 7, "2", places, 16);
  expect_sparse(VALUES, &indices, "4", "a sparse tensor by one index each", NULL);
  expect_sparse(VALUES, NULL, "4", "a sparse tensor without indices", "has no indices");
  expect_sparse(texts("a", 1), NULL, "4", "a sparse tensor of strings", "its values are not a list of numbers");
  expect_sparse(tensor_of("w", 1, "1,2", two, 8), NULL, "4", "a sparse tensor of a matrix", "its values are not a list of numbers");
  expect_sparse(VALUES, NULL, "-4", "a sparse tensor of negative size", "has the negative dimension -4");
  indices = tensor_of("i", 7, "2", negative, 16);
  expect_sparse(VALUES, &indices, "4", "an index below zero", "an index is out of range");
  indices = tensor_of("i", 7, "2,2", far, 32);
  expect_sparse(VALUES, &indices, "2,3", "an index beyond its axis", "an index is out of range");
  indices = tensor_of("i", 7, "2,2", before, 32);
  expect_sparse(VALUES, &indices, "2,3", "an index before its axis", "an index is out of range");
  indices = tensor_of("i", 6, "2", places, 8);
  expect_sparse(VALUES, &indices, "4", "indices of another type", "its indices do not match its values");
  indices = tensor_of("i", 7, "1", places, 8);
  expect_sparse(VALUES, &indices, "4", "too few indices", "its indices do not match its values");
  indices = tensor_of("i", 7, "2,2", places, 32);
  expect_sparse(VALUES, &indices, "4", "two indices for one axis", "its indices do not match its values");
  indices = tensor_of("i", 7, "2,1,1", places, 16);
  expect_sparse(VALUES, &indices, "4", "indices of three axes", "its indices do not match its values");
  indices = tensor_of("i", 7, "2", places, 15);
  expect_sparse(VALUES, &indices, "4", "indices cut short", "the indices of initializer 'w': raw_data has 15 bytes");
  Bytes graph = graph_with(node_of("Add", "x w", "y"));
  put_message(&graph, GRAPH_SPARSE, sparse_of(NULL, NULL, "4"));
  expect_model(model_of(graph), "a sparse initializer without values", "initializer number 0 has no name");
}

/* ---- attributes --------------------------------------------------------------------------------- */

/* An attribute of a type with one field; type 0: it is not said. */
static Bytes
attribute_with(int type, unsigned field, const void *data, size_t length)
{
  Bytes attribute = {0};
  put_text(&attribute, ATTRIBUTE_NAME, "a");
  if (type) put_number(&attribute, ATTRIBUTE_TYPE, type);
  if (field) put_bytes(&attribute, field, data, length);
  return attribute;
}

static void
expect_attribute(Bytes attribute, const char *what, const char *text)
{
  Bytes node = node_of("Relu", "x", "y");
  put_message(&node, NODE_ATTRIBUTE, attribute);
  expect_model(model_of(graph_with(node)), what, text);
}

static void
test_attributes(void)
{
  enum { FLOATS = 7, INTS = 8, STRINGS = 9, GRAPHS = 11, SPARSE = 22 };
  static const float two[2] = {1, 2};
  expect_attribute((Bytes){0}, "an attribute without a name", "has an attribute without a name");
  Bytes named = {0};
  put_text(&named, ATTRIBUTE_NAME, "");
  expect_attribute(named, "an attribute with an empty name", "has an attribute without a name");
  expect_attribute(attribute_with(2, ATTRIBUTE_REFERENCE, "b", 1), "a reference outside of a function", "outside of a function");
  expect_attribute(attribute_with(1, ATTRIBUTE_REFERENCE, "", 0), "a reference to nothing is none", NULL);
  expect_attribute(attribute_with(3, ATTRIBUTE_S, "a\0b", 3), "a text with a NUL", "attribute a contains a NUL byte");
  expect_attribute(attribute_with(8, STRINGS, "a\0b", 3), "a list of texts, one with a NUL", "attribute a contains a NUL byte");
  expect_attribute(attribute_with(4, 0, NULL, 0), "a tensor that is not there", "attribute a holds no tensor");
  expect_attribute(attribute_with(11, 0, NULL, 0), "a sparse tensor that is not there", "attribute a holds no tensor");
  expect_attribute(attribute_with(11, SPARSE, "", 0), "a sparse tensor without values", "attribute a has no values");
  expect_attribute(attribute_with(12, 0, NULL, 0), "an attribute of another type", "attribute a has type 12");
  expect_attribute(attribute_with(0, 0, NULL, 0), "an attribute of no type", "attribute a has type 0");
  expect_attribute(attribute_with(0, FLOATS, two, sizeof two), "floats, by their field", NULL);
  expect_attribute(attribute_with(0, INTS, "\1\2", 2), "integers, by their field", NULL);
  expect_attribute(attribute_with(0, STRINGS, "b", 1), "texts, by their field", NULL);
  expect_attribute(attribute_with(0, ATTRIBUTE_G, "", 0), "a graph, by its field", "control flow is not supported");
  expect_attribute(attribute_with(0, GRAPHS, "", 0), "graphs, by their field", "control flow is not supported");
  Bytes tensor = tensor_of("", 1, "2", two, sizeof two);
  expect_attribute(attribute_with(0, ATTRIBUTE_T, tensor.data, tensor.length), "a tensor, by its field", NULL);
  free(tensor.data);
}

/* ---- graphs ------------------------------------------------------------------------------------- */

static void
test_inputs(void)
{
  Bytes graph = graph_with(node_of("Relu", "x", "y")), info;
  put_message(&graph, GRAPH_INPUT, value_info_of("", 1, "4"));
  expect_model(model_of(graph), "an input with an empty name", "an input has no name");
  graph = graph_with(node_of("Relu", "x", "y"));
  put_message(&graph, GRAPH_INPUT, (Bytes){0});
  expect_model(model_of(graph), "an input without a name", "an input has no name");
  graph = graph_with(node_of("Relu", "x", "y"));
  put_message(&graph, GRAPH_OUTPUT, (Bytes){0});
  expect_model(model_of(graph), "an output without a name", "output '' is made by no node");
  graph = graph_with(node_of("Relu", "x", "y"));
  put_message(&graph, GRAPH_INPUT, value_info_of("z", 1, "1,1,1,1,1,1,1,1,1"));
  expect_model(model_of(graph), "an input of nine dimensions", "input 'z' has 9 dimensions, more than the 8");
  graph = graph_with(node_of("Relu", "x", "y"));
  put_message(&graph, GRAPH_INPUT, value_info_of("z", 1, "4611686018427387904,4"));
  expect_model(model_of(graph), "an input beyond 2^63", "input 'z' has too many elements");
  graph = graph_with(node_of("Relu", "x", "y"));
  info = (Bytes){0};
  put_text(&info, 1, "z");
  put_message(&graph, GRAPH_INPUT, info);
  expect_model(model_of(graph), "an input without a type", "input 'z' is not a tensor");
}

static void
test_many_mistakes(void)
{
  Bytes graph = {0}, node;
  for (int i = 0; i < 100; i++) {
    char result[16];
    snprintf(result, sizeof result, "r%d", i);
    node = node_of(i ? "Relu" : "", "nowhere", result);
    put_text(&node, NODE_NAME, "");
    put_message(&graph, GRAPH_NODE, node);
  }
  write_model("model.onnx", model_of(graph));
  Outcome outcome = import_apart("model.onnx");
  unsigned lines = 0;
  for (const char *at = outcome.message; (at = strstr(at, "error: ")); at++) lines++;
  bool is_right = outcome.status == 1 && lines < 30 && strstr(outcome.message, "node number 1 has no operator:  'r0'");
  if (!ok(is_right, "a hundred mistakes are not all shown: %u are", lines)) printf("# %s\n", outcome.message);
}

static void
test_opsets(void)
{
  Bytes model = {0};
  put_message(&model, MODEL_GRAPH, graph_with(node_of("Relu", "x", "y")));
  expect_model(model, "no operator set", "the model imports no operator set");
  model = model_of(graph_with(node_of("Relu", "x", "y")));
  put_message(&model, MODEL_OPSET, opset_of("ai.onnx", 17));
  expect_model(model, "ai.onnx beside its other name", "imports operator set '' twice");
  model = model_of(graph_with(node_of("Relu", "x", "y")));
  for (int i = 0; i < 64; i++) {
    char domain[16];
    snprintf(domain, sizeof domain, "d%d", i);
    put_message(&model, MODEL_OPSET, opset_of(domain, 1));
  }
  expect_model(model, "65 operator sets", "the model imports more than 64 operator sets");
}

/* A model that calls c.f(x) = y, and the function; both go on being written. */
static Bytes
function_of(const char *inputs, const char *outputs)
{
  Bytes function = {0};
  put_text(&function, FUNCTION_NAME, "f");
  put_text(&function, FUNCTION_DOMAIN, "c");
  put_texts(&function, FUNCTION_INPUT, inputs);
  put_texts(&function, FUNCTION_OUTPUT, outputs);
  return function;
}

static void
expect_call(Bytes node, Bytes function, const char *what, const char *text)
{
  Bytes model = model_of(graph_with(node));
  put_message(&model, MODEL_OPSET, opset_of("c", 1));
  put_message(&model, MODEL_FUNCTION, function);
  expect_model(model, what, text);
}

static void
test_functions(void)
{
  Bytes function = function_of("a a", "b");
  put_message(&function, FUNCTION_NODE, node_of("Relu", "a", "b"));
  expect_call(node_in("c", "f", "x x", "y"), function, "two inputs of one name", "has two inputs of the same name");
  function = function_of("a", "b");
  put_message(&function, FUNCTION_NODE, node_of("Relu", "a", "t"));
  expect_call(node_in("c", "f", "x", "y"), function, "an output that nothing makes", "does not make its output 'b'");
  function = function_of("a", "b");
  put_message(&function, FUNCTION_NODE, node_of("Relu", "a", "a"));
  expect_call(node_in("c", "f", "x", "y"), function, "a result named like an input of the function", "makes 'a', which is defined already");
  function = function_of("a", "b");
  expect_call(node_in("c", "f", "x x", "y"), function, "more inputs than the function has", "has 2 inputs and 1 outputs, its function has 1 and 1");
  function = function_of("a", "b");
  expect_call(node_in("c", "f", "x", "y z"), function, "more outputs than the function has", "has 1 inputs and 2 outputs");
  function = function_of("a", "b");
  put_message(&function, FUNCTION_NODE, node_of("Relu", "a", "b"));
  for (int i = 0; i < 257; i++) put_message(&function, FUNCTION_ATTRIBUTE, int_attribute_of("d", i));
  expect_call(node_in("c", "f", "x", "y"), function, "a function of 257 attributes", "function 'f' has more than 256 attributes");
  function = function_of("a", "b");
  put_message(&function, FUNCTION_NODE, node_of("Relu", "a", "b"));
  put_message(&function, FUNCTION_OPSET, opset_of("", 16));
  expect_call(node_in("c", "f", "x", "y"), function, "a function of another version", "function 'f' imports version 16 of operator set ''");
  function = function_of("a", "b");
  put_message(&function, FUNCTION_NODE, node_of("Relu", "a", "b"));
  for (int i = 0; i < 128; i++) {
    char domain[16];
    snprintf(domain, sizeof domain, "d%d", i);
    put_message(&function, FUNCTION_OPSET, opset_of(domain, 1));
  }
  expect_call(node_in("c", "f", "x", "y"), function, "functions with many operator sets", "the model imports too many operator sets");
  Bytes model = functions(1, 1, "Relu");
  function = function_of("a", "b");
  put_message(&function, FUNCTION_NODE, node_of("Relu", "a", "b"));
  put_message(&model, MODEL_FUNCTION, function);
  function = function_of("a", "b");
  put_message(&function, FUNCTION_NODE, node_of("Relu", "a", "b"));
  put_message(&model, MODEL_FUNCTION, function);
  expect_model(model, "a function twice", "function 'f' is defined twice");
}

/* As many nodes, or values, as there may be, and a call on top. */
static void
test_full(void)
{
  for (int is_by_values = 0; is_by_values < 2; is_by_values++) {
    Bytes graph = {0}, function = function_of("a", "b"), model;
    char names[48];
    put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "4"));
    if (is_by_values) put_message(&graph, GRAPH_NODE, node_in("c", "f", "x", "y"));
    for (int i = 0; i < (is_by_values ? 50000 : 65535); i++) {
      snprintf(names, sizeof names, is_by_values ? "a%d b%d c%d" : "a%d", i, i, i);
      put_message(&graph, GRAPH_NODE, node_of("Relu", "x", names));
    }
    if (!is_by_values) put_message(&graph, GRAPH_NODE, node_in("c", "f", "x", "y"));
    put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "4"));
    model = model_of(graph);
    put_message(&model, MODEL_OPSET, opset_of("c", 1));
    put_message(&function, FUNCTION_NODE, node_of("Relu", "a", "t"));
    put_message(&function, FUNCTION_NODE, node_of("Relu", "t", "b"));
    put_message(&model, MODEL_FUNCTION, function);
    expect_model(model, is_by_values ? "a call where there are enough values" : "a call where there are enough nodes",
                 "the model's functions call each other too many times");
  }
}

/* ---- training information ----------------------------------------------------------------------- */

/* An algorithm that makes `z` of `w`, and a graph that draws; `graph` is an initialization graph, or empty. */
static void
expect_training(Bytes drawing, unsigned binding, const char *key, const char *value, const char *what, const char *text)
{
  static const float zeros[4];
  Bytes graph = graph_with(node_of("Add", "x w", "y")), algorithm = {0}, training = {0};
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("w", 1, "4", zeros, 16));
  put_message(&algorithm, GRAPH_NODE, node_of("Relu", "w", "z"));
  if (drawing.length) put_message(&training, 1, drawing);
  put_message(&training, 2, algorithm);
  if (binding) put_message(&training, binding, entry_of(key, value));
  Bytes model = model_of(graph);
  put_message(&model, MODEL_TRAINING, training);
  expect_model(model, what, text);
}

static Bytes
drawing_of(const char *output)
{
  Bytes drawing = {0};
  put_message(&drawing, GRAPH_NODE, node_of("RandomNormal", "", output));
  return drawing;
}

static void
test_bindings(void)
{
  enum { DRAWS = 3, UPDATES = 4 };
  expect_training((Bytes){0}, UPDATES, "w", "z", "a variable that an algorithm replaces", NULL);
  expect_training((Bytes){0}, UPDATES, "w", "w", "a variable that stays", NULL);
  expect_training((Bytes){0}, UPDATES, "nothing", "z", "an update of nothing", "an update binding names 'nothing', which does not exist");
  expect_training((Bytes){0}, UPDATES, "x", "z", "an update of an input", "names 'x', which is not an initializer");
  expect_training((Bytes){0}, UPDATES, "w", "nothing", "an update by nothing", "the training algorithm does not make 'nothing'");
  expect_training(drawing_of("d"), DRAWS, "w", "d", "a variable that is drawn", NULL);
  expect_training(drawing_of("d"), DRAWS, "w", "nothing", "a variable drawn from nothing", "the initialization graph does not make 'nothing'");
  Bytes drawing = drawing_of("d");
  put_message(&drawing, GRAPH_INPUT, value_info_of("i", 1, "4"));
  expect_training(drawing, DRAWS, "w", "d", "a drawing with an input", "the initialization graph has inputs");
}

int
main(void)
{
  char folder[] = "/tmp/actnn-fields-XXXXXX", command[64];
  if (!mkdtemp(folder) || chdir(folder)) abort();
  test_numbers();
  test_sparse();
  test_attributes();
  test_inputs();
  test_many_mistakes();
  test_opsets();
  test_functions();
  test_full();
  test_bindings();
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (chdir("/") || system(command)) puts("# the temporary folder could not be removed");
  return tap_done();
}
