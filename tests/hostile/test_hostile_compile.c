/* test_hostile_compile.c: the whole translator, `actnnc MODEL -o train.c` as a process, on models made to crash, exhaust or fool it.
 *
 * Whatever the model, it ends with exit code 0 and a trainer, or with 1, one message and nothing written; under a stack of 256 KiB,
 * within a second per megabyte of model and at most 8 times the model plus 64 MiB of memory beyond what the program itself takes. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "compile_outcome.h"
#include "hostile_models.h"

/* A loaded machine is slower than the idle one of the promise. */
static const double SLACK = 4;
static uint64_t base; /* what translating a small model takes: the program, its libraries */

typedef enum Expected { REFUSED, ACCEPTED, EITHER } Expected;

/* `text`: part of the message of a refusal. */
static void
expect_of(const char *file, const char *options, const char *what, Expected expected, const char *text)
{
  struct stat status;
  if (stat(file, &status)) abort();
  double size = (double)status.st_size, most_seconds = SLACK * (size > 1e6 ? size / 1e6 : 1);
  uint64_t most_bytes = base + 8 * (uint64_t)size + ((uint64_t)64 << 20);
  CompileOutcome outcome = compile_apart(file, options);
  bool is_refused = outcome.status == 1 && outcome.written == 0 && outcome.messages >= 1 && outcome.length < 8000;
  bool is_accepted = outcome.status == 0 && outcome.written >= 2;
  bool is_right = (expected != ACCEPTED && is_refused && (!text || strstr(outcome.text, text)))
                  || (expected != REFUSED && is_accepted);
  bool is_cheap = outcome.seconds <= most_seconds && outcome.bytes <= most_bytes;
  if (!ok(is_right && is_cheap, "%s", what))
    printf("# status %d, %u files, %.2f of %.2f s, %llu of %llu MiB; message: %.1500s\n", outcome.status, outcome.written,
           outcome.seconds, most_seconds, (unsigned long long)(outcome.bytes >> 20), (unsigned long long)(most_bytes >> 20),
           outcome.text);
  else if (getenv("VERBOSE"))
    printf("# %.2f s, %llu MiB beyond the program's, model of %.3f MB: %.100s\n", outcome.seconds,
           outcome.bytes > base ? (unsigned long long)(outcome.bytes - base) >> 20 : 0, size / 1e6, outcome.text);
}

static const char usual[] = "--batch=2 --loss=mse --no-verify";

static void
refused(Bytes model, const char *what, const char *text)
{
  write_model("model.onnx", model);
  expect_of("model.onnx", usual, what, REFUSED, text);
}

static void
survived(Bytes model, const char *what)
{
  write_model("model.onnx", model);
  expect_of("model.onnx", usual, what, EITHER, NULL);
}

static void
accepted(Bytes model, const char *what)
{
  write_model("model.onnx", model);
  expect_of("model.onnx", usual, what, ACCEPTED, NULL);
}

/* ---- small pieces ------------------------------------------------------------------------------------------------ */

static const float zeros[1 << 16];

/* input x [N,4], a parameter w [4], h = Mul(x, w); more nodes may follow, from h to y. */
static Bytes
trainable(void)
{
  Bytes graph = {0};
  put_text(&graph, GRAPH_NAME, "g");
  put_message(&graph, GRAPH_NODE, node_of("Mul", "x w", "h"));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("w", 1, "4", zeros, 16));
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "N,4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "N,4"));
  return graph;
}

static void
add_node(Bytes *graph, const char *operator_name, const char *inputs, const char *outputs)
{
  put_message(graph, GRAPH_NODE, node_of(operator_name, inputs, outputs));
}

static void
add_ints(Bytes *graph, const char *name, size_t count, const int64_t *ints)
{
  char dims[24];
  snprintf(dims, sizeof dims, "%zu", count);
  put_message(graph, GRAPH_INITIALIZER, tensor_of(name, 7, dims, ints, count * sizeof *ints));
}

/* "name=1,2,3 other=5": lists where there is a comma, numbers otherwise. */
static Bytes
node_with(const char *operator_name, const char *inputs, const char *outputs, const char *attributes)
{
  Bytes node = node_of(operator_name, inputs, outputs);
  while (*attributes) {
    size_t name = strcspn(attributes, "="), length = strcspn(attributes, " ");
    Bytes attribute = {0};
    bool is_list = memchr(attributes, ',', length) != NULL;
    put_bytes(&attribute, ATTRIBUTE_NAME, attributes, name);
    put_number(&attribute, ATTRIBUTE_TYPE, is_list ? 7 : 2);
    for (const char *at = attributes + name + 1; at < attributes + length; at += *at == ',') {
      char *end;
      int64_t number = strtoll(at, &end, 10);
      put_number(&attribute, is_list ? 8 : ATTRIBUTE_I, number);
      at = end;
    }
    put_message(&node, NODE_ATTRIBUTE, attribute);
    attributes += length + (attributes[length] == ' ');
  }
  return node;
}

/* ---- the wire and the graph -------------------------------------------------------------------------------------- */

static void
test_wire(void)
{
  refused(nested_graphs(5000), "5,000 nested graphs", "nested more than");
  refused(nested_graphs(31), "31 nested graphs", "control flow is not supported");
  refused(nested_types(5000), "5,000 nested types", "nested more than 100 deep");
  refused(repeated_bytes("\x0a\x00", 2, 500000), "1 MB of empty nodes", NULL);
  refused(repeated_bytes("\x2a\x00", 2, 500000), "1 MB of empty initializers", NULL);
  refused(repeated_bytes("\x0a\x02\x0a\x00", 4, 250000), "1 MB of nodes with an empty input", NULL);
  refused(repeated_bytes("\x0a\x02\x2a\x00", 4, 250000), "1 MB of nodes with an empty attribute", NULL);
  refused(repeated_bytes("\x5a\x00", 2, 500000), "1 MB of empty inputs", NULL);
  refused(repeated_bytes("\x62\x00", 2, 500000), "1 MB of empty outputs", NULL);
  refused(repeated_bytes("\x72\x00", 2, 500000), "1 MB of empty annotations", NULL);
  refused(repeated_bytes("\x7a\x00", 2, 500000), "1 MB of empty sparse initializers", NULL);
  refused(functions(40, 2, "Relu"), "functions that double forty times", "call each other too many times");
  refused(functions(3, 1, "f1"), "functions that call each other", "from within itself");
  refused(functions(10000, 1, "Relu"), "ten thousand calls deep, but nothing to train", NULL);
}

/* y after `count` nodes; `operators` in turn. */
static Bytes
long_chain(uint32_t count, const char *first, const char *second)
{
  Bytes graph = trainable();
  char from[16] = "h", to[16];
  for (uint32_t i = 0; i < count; i++) {
    snprintf(to, sizeof to, i + 1 < count ? "%x" : "y", i);
    add_node(&graph, i % 2 ? second : first, from, to);
    memcpy(from, to, sizeof to);
  }
  return model_of(graph);
}

static Bytes
wide(uint32_t count, const char *operator_name)
{
  Bytes graph = trainable();
  char name[16];
  for (uint32_t i = 0; i < count; i++) {
    snprintf(name, sizeof name, i + 1 < count ? "%x" : "y", i);
    add_node(&graph, operator_name, "h", name);
  }
  return model_of(graph);
}

static void
test_graphs(void)
{
  refused(long_chain(1000000, "Relu", "Tanh"), "a chain of a million nodes", NULL);
  survived(long_chain(4000, "Relu", "Relu"), "a chain of 4,000 rectifiers");
  survived(long_chain(30000, "Identity", "Identity"), "a chain of 30,000 identities");
  survived(long_chain(8000, "Identity", "Sigmoid"), "a chain of identities between others");
  survived(long_chain(30000, "Shape", "Relu"), "30,000 shapes");
  refused(long_chain(30000, "Nonsense", "Fantasy"), "30,000 operators that are not known", "2 operators are not supported");
  survived(wide(30000, "Relu"), "30,000 readers of one value");
  refused(chain(60000, false, true), "a long ring", "is part of a cycle");
  Bytes graph = trainable();
  char name[24];
  for (int i = 0; i < 30000; i++) {
    snprintf(name, sizeof name, "Operator%d", i);
    add_node(&graph, name, "h", name);
  }
  add_node(&graph, "Relu", "h", "y");
  refused(model_of(graph), "30,000 different unknown operators", "not supported");
  graph = trainable();
  add_node(&graph, "Relu", "h", "y");
  for (int i = 0; i < 30000; i++) {
    snprintf(name, sizeof name, "p%d", i);
    put_message(&graph, GRAPH_INITIALIZER, tensor_of(name, 1, "1", zeros, 4));
  }
  survived(model_of(graph), "30,000 parameters that nothing reads");
}

/* ---- constants ---------------------------------------------------------------------------------------------------- */

/* A constant of `extent` elements that the model spells in a few bytes. */
static void
add_spread(Bytes *graph, const char *name, int64_t extent)
{
  char shape[24];
  snprintf(shape, sizeof shape, "%s_shape", name);
  add_ints(graph, shape, 1, &extent);
  add_node(graph, "ConstantOfShape", shape, name);
}

static void
test_constants(void)
{
  Bytes graph = trainable();
  char from[16] = "c", to[16];
  add_spread(&graph, "c", 65536);
  for (int i = 0; i < 20000; i++) {
    snprintf(to, sizeof to, "c%x", i);
    add_node(&graph, "Neg", from, to);
    memcpy(from, to, sizeof to);
  }
  add_node(&graph, "Relu", "h", "y");
  survived(model_of(graph), "20,000 constants of 256 KiB each to fold");
  graph = trainable();
  add_spread(&graph, "c", 65536);
  const int64_t square[2] = {256, 256};
  add_ints(&graph, "square", 2, square);
  add_node(&graph, "Reshape", "c square", "m");
  for (int i = 0; i < 20000; i++) {
    snprintf(to, sizeof to, "m%x", i);
    add_node(&graph, "MatMul", i ? from : "m", to);
    memcpy(from, to, sizeof to);
  }
  add_node(&graph, "Relu", "h", "y");
  survived(model_of(graph), "20,000 products without an operand");
  graph = trainable();
  add_spread(&graph, "c", 65536);
  add_ints(&graph, "square", 2, square);
  add_node(&graph, "Reshape", "c square", "m");
  char pair[40];
  for (int i = 0; i < 20000; i++) {
    snprintf(to, sizeof to, "m%x", i);
    snprintf(pair, sizeof pair, "m %s", i ? from : "m");
    add_node(&graph, "MatMul", pair, to);
    memcpy(from, to, sizeof to);
  }
  add_node(&graph, "Relu", "h", "y");
  survived(model_of(graph), "20,000 products of constants");
  graph = trainable();
  for (int i = 0; i < 60; i++) {
    snprintf(to, sizeof to, "d%x", i);
    snprintf(pair, sizeof pair, "%s %s", i ? from : "w", i ? from : "w");
    put_message(&graph, GRAPH_NODE, node_with("Concat", pair, to, "axis=0"));
    memcpy(from, to, sizeof to);
  }
  add_node(&graph, "Relu", "h", "y");
  survived(model_of(graph), "a tensor doubled sixty times");
  static const int64_t sizes[] = {INT64_MAX, (int64_t)1 << 46, (int64_t)1 << 33, -1, INT64_MIN};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    graph = trainable();
    add_spread(&graph, "c", sizes[i]);
    add_node(&graph, "ReduceSum", "c", "s");
    add_node(&graph, "Mul", "h s", "y");
    survived(model_of(graph), "a constant of an absurd shape");
  }
  static const char *const growing[][2] = {{"Tile", "h"}, {"Expand", "h"}, {"Pad", "h"}, {"Resize", "h - -"}, {"Range", "zero"}};
  for (size_t i = 0; i < sizeof growing / sizeof *growing; i++) {
    static const int64_t huge[] = {(int64_t)1 << 40, (int64_t)1 << 40, (int64_t)1 << 40, (int64_t)1 << 40};
    graph = trainable();
    add_ints(&graph, "huge", i == 2 ? 4 : 2, huge);
    snprintf(pair, sizeof pair, "%s huge", growing[i][1]);
    add_node(&graph, growing[i][0], pair, "y");
    refused(model_of(graph), growing[i][0], NULL);
  }
}

/* ---- attributes and indices ----------------------------------------------------------------------------------------- */

/* A node from image [N,4,8,8] through parameter k [4,4,3,3] to y. */
static Bytes
image_model(Bytes node)
{
  Bytes graph = {0};
  put_message(&graph, GRAPH_NODE, node_of("Mul", "x w", "h"));
  put_message(&graph, GRAPH_NODE, node);
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("w", 1, "1", zeros, 4));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("k", 1, "4,4,3,3", zeros, 4 * 4 * 9 * 4));
  static const int64_t ints[] = {7, -9, INT64_MAX, INT64_MIN};
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("seven", 7, "1", ints, 8));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("minus9", 7, "1", ints + 1, 8));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("most", 7, "1", ints + 2, 8));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("least", 7, "1", ints + 3, 8));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("many", 7, "4", ints, 32));
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "N,4,8,8"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "N,4,8,8"));
  return model_of(graph);
}

static void
test_attributes(void)
{
  static const struct {
    const char *operator_name, *inputs, *attributes;
  } wrong[] = {
      {"Conv", "h k", "kernel_shape=3,3,3"}, {"Conv", "h k", "kernel_shape=3,"}, {"Conv", "h k", "kernel_shape=3,4"},
      {"Conv", "h k", "strides=1,1,1"}, {"Conv", "h k", "strides=0,1"}, {"Conv", "h k", "strides=-1,1"},
      {"Conv", "h k", "dilations=1,1,1"}, {"Conv", "h k", "dilations=0,0"}, {"Conv", "h k", "dilations=4611686018427387904,1"},
      {"Conv", "h k", "pads=1,1"}, {"Conv", "h k", "pads=1,1,1,1,1"}, {"Conv", "h k", "pads=-9,-9,-9,-9"},
      {"Conv", "h k", "pads=9223372036854775807,9223372036854775807,1,1"}, {"Conv", "h k", "group=0"}, {"Conv", "h k", "group=-1"},
      {"Conv", "h k", "group=3"}, {"Conv", "h k", "group=9223372036854775807"}, {"Conv", "h", ""}, {"Conv", "h w", ""},
      {"ConvTranspose", "h k", "output_padding=1,1,1"}, {"ConvTranspose", "h k", "output_shape=1,1,1,1,1"},
      {"ConvTranspose", "h k", "strides=4611686018427387904,1"},
      {"MaxPool", "h", "kernel_shape=2,2,2"}, {"MaxPool", "h", ""}, {"MaxPool", "h", "kernel_shape=0,0"},
      {"MaxPool", "h", "kernel_shape=-1,2"}, {"MaxPool", "h", "kernel_shape=2,2 pads=0,0"},
      {"MaxPool", "h", "kernel_shape=2,2 dilations=1,"}, {"MaxPool", "h", "kernel_shape=9223372036854775807,2"},
      {"AveragePool", "h", "kernel_shape=3,3 strides=2,2,2"}, {"AveragePool", "h", "kernel_shape=3,3 strides=0,0"},
      {"LRN", "h", "size=-1"}, {"Transpose", "h", "perm=0,1"}, {"Transpose", "h", "perm=0,0,0,0"}, {"Transpose", "h", "perm=0,1,2,9"},
      {"Softmax", "h", "axis=4"}, {"Softmax", "h", "axis=-5"}, {"LogSoftmax", "h", "axis=99"},
      {"Flatten", "h", "axis=5"}, {"Concat", "h h", "axis=4"}, {"Concat", "h k", "axis=0"}, {"Squeeze", "h seven", ""},
      {"Squeeze", "h least", ""}, {"Unsqueeze", "h most", ""}, {"Unsqueeze", "h many", ""}, {"Reshape", "h many", ""},
      {"Reshape", "h least", ""}, {"Gather", "h seven", "axis=1"}, {"Gather", "h minus9", "axis=1"}, {"Gather", "h most", "axis=4"},
      {"Gather", "h most", "axis=0"}, {"GatherElements", "h seven", ""}, {"Split", "h most", "axis=1"}, {"Split", "h many", "axis=1"},
      {"Slice", "h most", ""}, {"Slice", "h many many many many", ""}, {"Expand", "h most", ""}, {"Tile", "h most", ""},
      {"Tile", "h many", ""}, {"ReduceMean", "h", "axes=4,5"}, {"ReduceMean", "h", "axes=-9,1"}, {"ReduceSum", "h most", ""},
      {"Gemm", "h k", ""}, {"MatMul", "h k", ""}, {"OneHot", "h most seven", ""}, {"TopK", "h most", ""}, {"Pad", "h many", ""},
      {"Pad", "h most", ""}, {"Resize", "h - - many", ""}, {"DepthToSpace", "h", "blocksize=0"}, {"DepthToSpace", "h", "blocksize=-2"},
      {"DepthToSpace", "h", "blocksize=4294967296"}, {"SpaceToDepth", "h", "blocksize=3"}, {"CumSum", "h seven", ""},
      {"BatchNormalization", "h k k k k", ""}, {"LayerNormalization", "h w", "axis=9"}, {"GroupNormalization", "h w w", "num_groups=0"},
      {"InstanceNormalization", "h k k", ""}, {"Cast", "h", "to=99"}, {"Cast", "h", "to=8"}, {"Einsum", "h", ""},
      {"Relu", "", ""}, {"Relu", "h h h", ""}, {"Add", "h", ""}, {"Dropout", "h k k", ""},
      {"RandomNormal", "", "shape=9223372036854775807,2"}, {"ConstantOfShape", "many", ""}, {"EyeLike", "h", ""}, {"Constant", "", ""},
      {"NegativeLogLikelihoodLoss", "h seven", ""}, {"SoftmaxCrossEntropyLoss", "h h", ""}, {"LSTM", "h k k", ""},
      {"ScatterND", "h many h", ""}, {"Pow", "h many", ""}, {"Clip", "h k k", ""},
  };
  survived(image_model(node_with("Transpose", "h", "y", "perm=-1,-2,-3,-4")), "negative axes");
  survived(image_model(node_with("Where", "h h h", "y", "")), "numbers for a condition");
  survived(image_model(node_with("Trilu", "h most", "y", "")), "the largest diagonal");
  survived(image_model(node_with("PRelu", "h seven", "y", "")), "an integer slope");
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char what[160];
    snprintf(what, sizeof what, "%s(%s) %s", wrong[i].operator_name, wrong[i].inputs, wrong[i].attributes);
    refused(image_model(node_with(wrong[i].operator_name, wrong[i].inputs, "y", wrong[i].attributes)), what, NULL);
  }
}

/* ---- options and places ---------------------------------------------------------------------------------------------- */

static void
test_sizes(void)
{
  Bytes graph = trainable();
  add_node(&graph, "Relu", "h", "y");
  write_model("model.onnx", model_of(graph));
  expect_of("model.onnx", "--batch=4000000000000 --loss=mse", "a batch beyond all memory", REFUSED, NULL);
  expect_of("model.onnx", "--batch=2 --loss=mse", "a right model, verified under a stack of 256 KiB", ACCEPTED, NULL);
  graph = (Bytes){0};
  add_node(&graph, "Relu", "x", "y");
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "N,4294967296,4294967296"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "N"));
  refused(model_of(graph), "an input beyond 2^64", "too many elements");
}

int
main(void)
{
  char folder[] = "/tmp/actnn-compile-XXXXXX", command[64];
  if (!mkdtemp(folder) || chdir(folder)) abort();
  Bytes graph = trainable();
  add_node(&graph, "Relu", "h", "y");
  write_model("small.onnx", model_of(graph));
  base = compile_apart("small.onnx", usual).bytes;
  accepted(long_chain(10, "Relu", "Tanh"), "a model as it should be");
  test_wire();
  test_graphs();
  test_constants();
  test_attributes();
  test_sizes();
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (chdir("/") || system(command)) puts("# the temporary folder could not be removed");
  return tap_done();
}
