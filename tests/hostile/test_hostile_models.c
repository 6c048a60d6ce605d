/* test_hostile_models.c: models made to crash, exhaust or fool the importer. Each is refused with one clear message, or
 * imported, under a stack of 256 KiB and within seconds.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "expect_import.h"
#include "hostile_models.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

static const double MOST_SECONDS_OF_LONG_CHAINS = 30; /* two on an idle machine */

/* ---- the wire ----------------------------------------------------------------------------------- */

static void
test_wire(void)
{
  expect_model((Bytes){0}, "an empty file", "the file is empty");
  Bytes only_version = {0};
  put_number(&only_version, MODEL_IR_VERSION, 8);
  expect_model(only_version, "a model without a graph", "has no graph");
  expect_model(nested_graphs(5000), "5,000 nested graphs", "nested more than");
  expect_model(nested_graphs(33), "33 nested graphs", "nested more than 32 deep");
  expect_model(nested_graphs(31), "31 nested graphs are read, not supported", "control flow is not supported");
  expect_model(nested_types(5000), "5,000 nested types", "nested more than 100 deep");
  expect_model(repeated_bytes("\x0a\x00", 2, 500000), "1 MB of empty nodes", "error: ");
  expect_model(repeated_bytes("\x2a\x00", 2, 500000), "1 MB of empty initializers", "when decoded");
  expect_model(repeated_bytes("\x0a\x02\x0a\x00", 4, 250000), "1 MB of nodes with an empty input", "error: ");
  expect_model(repeated_bytes("\x5a\x00", 2, 500000), "1 MB of empty inputs", "error: ");
  Bytes versions = {0};
  for (int i = 0; i < 500000; i++) put_number(&versions, MODEL_IR_VERSION, 8);
  expect_model(versions, "one number 500,000 times", "has no graph");
  Bytes graphs = {0};
  for (int i = 0; i < 300000; i++) put_bytes(&graphs, MODEL_GRAPH, "", 0);
  expect_model(graphs, "300,000 graphs to merge", "occurs more than once");
  static const struct {
    const char *bytes;
    size_t length;
    const char *what, *text;
  } broken[] = {
      {"\x08\x08\x3a\x7f\x0a", 5, "a length beyond the end", "byte 3: graph is said to be 127 bytes long"},
      {"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, "a length of 2^64 - 1", "byte 3: graph is said"},
      {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, "a number of eleven bytes",
       "byte 1: a number is longer"},
      {"\x08\x80", 2, "a number cut off", "byte 1: a number is cut off"},
      {"\x08\x08\x3b\x3c", 4, "a group", "byte 2: a field uses groups"},
      {"\x08\x08\x3e\x01", 4, "an unknown wire type", "byte 2: a field has the unknown wire type 6"},
      {"\x08\x08\x02\x01", 4, "field number 0", "byte 2: a field has no valid number"},
      {"\x08\x08\x38\x01", 4, "a graph encoded as a number",
       "byte 2: graph of onnx.ModelProto is encoded as another"},
      {"\x08\x08\x12\x03\x61\x00\x62", 7, "a NUL in a text", "contains a NUL byte"},
      {"\x08\x08\x3a\x06\x2a\x04\x22\x02\x00\x00", 10, "half a float", "fraction of an element"},
  };
  for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
    write_bytes("model.onnx", broken[i].bytes, broken[i].length);
    expect("model.onnx", broken[i].what, broken[i].text);
  }
}

/* ---- tensors ------------------------------------------------------------------------------------ */

static void
test_tensors(void)
{
  static const float zeros[4];
  expect_model(model_with_tensor(tensor_of("w", 1, "4", zeros, 16)), "a tensor as it should be", NULL);
  expect_model(model_with_tensor(tensor_of("w", 1, "4", zeros, 15)), "raw_data a byte short",
               "'w': raw_data has 15 bytes, its type and dimensions ask for 16");
  expect_model(model_with_tensor(tensor_of("w", 1, "3", zeros, 16)), "raw_data too long", "ask for 12");
  expect_model(model_with_tensor(tensor_head("w", 1, "4")), "no data at all", "float_data has 0 elements");
  expect_model(model_with_tensor(tensor_of("w", 1, "4294967296,4294967296", zeros, 16)), "a product beyond 2^64",
               "too many elements");
  expect_model(model_with_tensor(tensor_of("w", 1, "9223372036854775807,2", zeros, 16)), "a product beyond 2^63",
               "too many elements");
  expect_model(model_with_tensor(tensor_of("w", 1, "-1,-4", zeros, 16)), "negative dimensions", "negative dimension");
  expect_model(model_with_tensor(tensor_of("w", 1, "0,4611686018427387904", zeros, 0)), "an empty tensor of any size",
               NULL);
  expect_model(model_with_tensor(tensor_of("w", 1, "1,1,1,1,1,1,1,1,4", zeros, 16)), "nine dimensions",
               "9 dimensions, more than the 8");
  expect_model(model_with_tensor(tensor_of("w", 0, "4", zeros, 16)), "no element type", "has no element type");
  expect_model(model_with_tensor(tensor_of("w", 17, "4", zeros, 4)), "an 8-bit float", "float8e4m3fn");
  expect_model(model_with_tensor(tensor_of("w", -5, "4", zeros, 4)), "a negative element type", "unknown");
  expect_model(model_with_tensor(tensor_of("w", 8, "4", zeros, 4)), "strings as raw data", "cannot be raw data");
  Bytes twice = tensor_of("w", 1, "4", zeros, 16);
  put_bytes(&twice, TENSOR_FLOATS, zeros, 16);
  expect_model(model_with_tensor(twice), "data given twice", "holds its data twice");
  Bytes wrong_field = tensor_head("w", 1, "2");
  put_bytes(&wrong_field, TENSOR_INT64S, "\x01\x02", 2);
  expect_model(model_with_tensor(wrong_field), "data in another type's field", "field of another type");
  Bytes half = tensor_head("w", 10, "1");
  put_bytes(&half, TENSOR_INT32S, "\x80\x80\x04", 3);
  expect_model(model_with_tensor(half), "a float16 of 17 bits", "65536 is not a value of type float16");
  Bytes sparse = {0};
  put_message(&sparse, 1, tensor_of("w", 1, "1", zeros, 4));
  put_message(&sparse, 2, tensor_of("i", 7, "1", "\x04\0\0\0\0\0\0\0", 8));
  put_number(&sparse, 3, 4);
  Bytes graph = graph_with(node_of("Add", "x w", "y"));
  put_message(&graph, GRAPH_SPARSE, sparse);
  expect_model(model_of(graph), "a sparse index out of range", "an index is out of range");
  sparse = (Bytes){0};
  put_message(&sparse, 1, tensor_of("w", 1, "0", zeros, 0));
  put_number(&sparse, 3, 1 << 30);
  graph = graph_with(node_of("Add", "x w", "y"));
  put_message(&graph, GRAPH_SPARSE, sparse);
  expect_model(model_of(graph), "a sparse tensor of 4 GiB", "is sparse and would take 4096 MiB");
}

/* ---- graphs ------------------------------------------------------------------------------------- */

static void
test_graphs(void)
{
  uint32_t many = IS_SANITIZED ? 20000 : 65000;
  write_model("model.onnx", chain(1000000, false, false));
  expect_within(MOST_SECONDS_OF_LONG_CHAINS, "model.onnx", "a chain of a million nodes", "error: ");
  expect_model(chain(many, false, false), "a long chain", NULL);
  expect_model(chain(many, true, false), "a long chain, last node first", NULL);
  expect_model(chain(many, false, true), "a long ring", "is part of a cycle");
  expect_model(chain(1, false, true), "a node that reads itself", "is part of a cycle of 1");
  Bytes cycle = graph_with(node_of("Tanh", "x", "a")), named = node_of("Add", "a c", "b");
  put_text(&named, NODE_NAME, "sum");
  put_message(&cycle, GRAPH_NODE, named);
  put_message(&cycle, GRAPH_NODE, node_of("Mul", "x b", "c"));
  put_message(&cycle, GRAPH_NODE, node_of("Relu", "c", "y"));
  expect_model(model_of(cycle), "a cycle behind other nodes", "the node is part of a cycle of 2: 'sum', which reads from 'Mul'");
  expect_model(model_of(graph_with(node_of("Relu", "nowhere", "y"))), "an undefined name", "reads 'nowhere'");
  expect_model(model_of(graph_with(node_of("Relu", "x", "z"))), "an undefined output",
               "output 'y' is made by no node");
  expect_model(model_of(graph_with(node_of("Relu", "x", "x"))), "a result named like an input",
               "makes 'x', which is defined already");
  Bytes graph = graph_with(node_of("Relu", "x", "y"));
  put_message(&graph, GRAPH_NODE, node_of("Sigmoid", "x", "y"));
  expect_model(model_of(graph), "a name made twice", "Sigmoid 'y' makes 'y', which is defined already");
  graph = graph_with(node_of("Relu", "x", "y"));
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "4"));
  expect_model(model_of(graph), "an input listed twice", "input 'x' is listed twice");
  expect_model(model_of(graph_with(node_of("", "x", "y"))), "a node without an operator", "has no operator");
  expect_model(functions(40, 2, "Relu"), "functions that double forty times", "call each other too many times");
  expect_model(functions(10000, 1, "Relu"), "ten thousand calls deep", NULL);
  expect_model(functions(1, 1, "f0"), "a function that calls itself", "from within itself");
  expect_model(functions(3, 1, "f1"), "functions that call each other", "from within itself");
  Bytes model = functions(1, 1, "Relu");
  put_message(&model, MODEL_OPSET, opset_of("", 18));
  expect_model(model, "an operator set imported twice", "imports operator set '' twice");
  model = (Bytes){0};
  put_number(&model, MODEL_IR_VERSION, 8);
  put_message(&model, MODEL_OPSET, opset_of("c", 1));
  put_message(&model, MODEL_GRAPH, graph_with(node_of("Relu", "x", "y")));
  expect_model(model, "an operator of a set that is not imported", "imports no operator set");
  Bytes node = node_of("Relu", "x", "y");
  for (int i = 0; i < 100000; i++) {
    char name[16];
    snprintf(name, sizeof name, "a%d", i);
    put_message(&node, NODE_ATTRIBUTE, int_attribute_of(name, i));
  }
  expect_model(model_of(graph_with(node)), "a node with 100,000 attributes", "more than 256 attributes");
  char *name = malloc(1 << 20);
  memset(name, '\x1b', (1 << 20) - 1);
  name[(1 << 20) - 1] = 0;
  expect_model(model_of(graph_with(node_of("Relu", name, "y"))), "a name of a million escape characters",
               "reads '___");
  free(name);
}

/* ---- external data ------------------------------------------------------------------------------ */

static void
expect_external(const char *location, const char *offset, const char *length, const char *what, const char *text)
{
  write_model("folder/model.onnx", model_with_external(location, offset, length, NULL));
  expect("folder/model.onnx", what, text);
}

static void
test_external_data(void)
{
  static const char data[64];
  if (mkdir("folder", 0777) || mkdir("folder/inner", 0777)) abort();
  write_bytes("outside", data, 16);
  write_bytes("folder/w", data, 16);
  write_bytes("folder/inner/w", data, 64);
  write_bytes("folder/linked", data, 16);
  if (symlink("w", "folder/symbolic") || symlink("inner", "folder/parent") || symlink("..", "folder/up") ||
      link("folder/linked", "folder/hard") || mkfifo("folder/fifo", 0666))
    abort();
  expect_external("w", NULL, NULL, "external data as it should be", NULL);
  expect_external("inner/w", "48", "16", "external data below, with offset and length", NULL);
  expect_external("inner/../w", "0", "16", "`..` that stays inside is resolved by the kernel", NULL);
  expect_external("../outside", NULL, NULL, "../ out of the folder", "lies outside");
  expect_external("inner/../../outside", NULL, NULL, "a/../../b", "lies outside");
  expect_external("/etc/hostname", NULL, NULL, "an absolute path", "lies outside");
  expect_external("symbolic", NULL, NULL, "a symbolic link", "symbolic link");
  expect_external("parent/w", "0", "16", "a symbolic link on the way", "symbolic link");
  expect_external("up/outside", NULL, NULL, "a symbolic link out of the folder", "error: ");
  expect_external("hard", NULL, NULL, "a hard link", "more than one link");
  expect_external("fifo", NULL, NULL, "a FIFO", "not a regular file");
  expect_external("inner", NULL, NULL, "a directory", "not a regular file");
  if (mknod("folder/device", S_IFCHR | 0666, makedev(1, 5))) ok(true, "a device # SKIP only root makes one");
  else expect_external("device", NULL, NULL, "a device", "not a regular file");
  expect_external("nothing", NULL, NULL, "a missing file", "cannot open external data file 'nothing'");
  expect_external("", NULL, NULL, "an empty location", "has no location");
  expect_external(NULL, NULL, NULL, "no location", "has no location");
  expect_external("w", "18446744073709551615", "16", "the largest offset", "too few for offset");
  expect_external("w", "1", "18446744073709551615", "the largest length", "too few for offset");
  expect_external("w", "99999999999999999999", "16", "an offset beyond 2^64", "is not a valid offset");
  expect_external("w", "-1", "16", "a negative offset", "is not a valid offset");
  expect_external("w", "", "16", "an empty offset", "is not a valid offset");
  expect_external("w", "0x0", "16", "a hexadecimal offset", "is not a valid offset");
  expect_external("w", "1", NULL, "an offset that leaves too little", "external data has 15 bytes");
  expect_external("w", "0", "12", "a length that does not match", "external data has 12 bytes");
  write_model("folder/model.onnx", model_with_external("w", NULL, NULL, "permissions"));
  expect("folder/model.onnx", "an unknown key", "unknown key 'permissions'");
  write_model("folder/model.onnx", model_with_external("w", NULL, NULL, "location"));
  expect("folder/model.onnx", "a key given twice", "a second key 'location'");
  write_model("folder/model.onnx", model_with_external("w", NULL, NULL, "checksum"));
  expect("folder/model.onnx", "a checksum is not looked at", NULL);
  Bytes tensor = tensor_head("w", 1, "8589934592");
  put_number(&tensor, TENSOR_LOCATION, 1);
  put_message(&tensor, TENSOR_EXTERNAL, entry_of("location", "w"));
  write_model("folder/model.onnx", model_with_tensor(tensor));
  expect("folder/model.onnx", "32 GiB of external data", "the model asks for too much external data");
  tensor = tensor_head("w", 1, "4");
  put_number(&tensor, TENSOR_LOCATION, 1);
  put_message(&tensor, TENSOR_EXTERNAL, (Bytes){0});
  write_model("folder/model.onnx", model_with_tensor(tensor));
  expect("folder/model.onnx", "an entry without key and value", "an unknown key ''");
}

static void
test_files(void)
{
  expect("missing.onnx", "a missing model", "cannot open it");
  if (mkdir("directory.onnx", 0777) || mkfifo("fifo.onnx", 0666)) abort();
  expect("directory.onnx", "a directory as the model", "not a regular file");
  expect("fifo.onnx", "a FIFO as the model", "not a regular file");
  write_bytes("large.onnx", "\x08\x08", 2);
  if (truncate("large.onnx", ((off_t)1 << 31) + 1)) abort();
  expect("large.onnx", "a file of more than 2 GiB", "the file is larger than 2048 MiB");
  write_bytes("delete.onnx", "g () => () {}\x7f", 14);
  expect("delete.onnx", "a control character is no text", "not a valid ModelProto");
}

int
main(void)
{
  char folder[] = "/tmp/actnn-hostile-XXXXXX", command[64];
  if (!mkdtemp(folder) || chdir(folder)) abort();
  test_wire();
  test_tensors();
  test_graphs();
  test_external_data();
  test_files();
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (chdir("/") || system(command)) puts("# the temporary folder could not be removed");
  return tap_done();
}
