/* test_import_forms.c: right models and texts in forms that are seldom seen. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "imported.h"
#include "sample_models.h"

#include <unistd.h>

static Program *
import_text(const char *text)
{
  write_bytes("model.onnxtxt", text, strlen(text));
  return import_model("model.onnxtxt", diagnostics_create(arena));
}

static void
test_more_types(void)
{
  static const float two[2] = {1, 2};
  Bytes graph = {0}, tensor, sparse = {0};
  put_message(&graph, GRAPH_NODE, node_of("Concat", "bf16 u64 f text i", "y"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, ""));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "")); /* twice */
  tensor = tensor_head("bf16", 16, "1");
  put_number(&tensor, TENSOR_INT32S, 0x3f80);
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  tensor = tensor_head("u64", 13, "1");
  put_number(&tensor, 11, -1);
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  tensor = tensor_of("f", 1, "2", "", 0); /* raw data that is there and empty does not count */
  put_bytes(&tensor, TENSOR_FLOATS, two, sizeof two);
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  tensor = tensor_head("text", 8, "2");
  put_text(&tensor, 6, "ab");
  put_text(&tensor, 6, "");
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  put_message(&sparse, 1, tensor_of("i", 7, "0", two, 0));
  put_number(&sparse, 3, 2);
  put_message(&graph, GRAPH_SPARSE, sparse);
  Program *program = import_written(model_of(graph));
  if (!ok(program != NULL, "a model with other element types is imported")) return;
  ok(has_data(program, "bf16", ACTNN_BF16, "\x80\x3f", 2), "bfloat16 from int32_data");
  ok(has_data(program, "u64", ACTNN_U64, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), "uint64 from uint64_data");
  ok(has_data(program, "f", ACTNN_F32, two, sizeof two), "typed data beside raw data without bytes");
  ok(program->output_count == 1, "an output listed twice is one");
  const Onnx__GraphProto *kept = inference_model_of(program)->graph;
  ok(kept->n_sparse_initializer == 1 && has_initializer(kept, "u64"), "inference: sparse constants stay");
  ok(finish_inference_model(program) && inference_model_of(program)->graph->n_sparse_initializer == 1, "and are not added again");
  ok(write_onnx(program, "again.onnx"), "strings are written");
  Program *again = import_model("again.onnx", diagnostics_create(arena));
  ok(again && has_data(again, "text", ACTNN_STRING, "ab\0", 4) && has_data(again, "u64", ACTNN_U64, value_named(program, "u64")->data, 8),
     "and read again");
  program_destroy(program);
  program_destroy(again);
}

/* Variables that are drawn may come without data, or with it; two initialization graphs may use one name. */
static void
test_drawn(void)
{
  static const float two[2] = {1, 2};
  Bytes graph = {0}, tensor, model, training;
  put_message(&graph, GRAPH_NODE, node_of("Sum", "typed raw empty without", "y"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "2"));
  tensor = tensor_head("typed", 1, "2");
  put_bytes(&tensor, TENSOR_FLOATS, two, sizeof two);
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  tensor = tensor_of("raw", 1, "2", two, sizeof two);
  put_text(&tensor, 12, CONSTANT_MARK); /* what is bound is a variable all the same */
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  put_message(&graph, GRAPH_INITIALIZER, tensor_head("empty", 1, "0"));
  put_message(&graph, GRAPH_INITIALIZER, tensor_head("without", 1, "2"));
  model = model_of(graph);
  for (int i = 0; i < 2; i++) {
    Bytes drawing = {0};
    training = (Bytes){0};
    put_message(&drawing, GRAPH_NODE, node_of("RandomNormal", "", "d"));
    put_message(&drawing, GRAPH_NODE, node_of("RandomNormal", "", "e"));
    put_message(&training, 1, drawing);
    put_message(&training, 3, entry_of(i ? "typed" : "raw", "d"));
    put_message(&training, 3, entry_of(i ? "empty" : "without", "d"));
    put_message(&model, MODEL_TRAINING, training);
  }
  Program *program = import_written(model);
  if (!ok(program != NULL, "drawn variables with and without data are imported")) return;
  ok(has_data(program, "typed", ACTNN_F32, two, 8) && has_data(program, "raw", ACTNN_F32, two, 8), "data of a variable that is drawn");
  ok(value_named(program, "raw")->kind == VALUE_PARAMETER, "a mark of constants does not hold of what is drawn");
  ok(!value_named(program, "without")->data && !value_named(program, "without")->data_bytes, "a variable without data");
  ok(value_named(program, "typed")->drawn_from != value_named(program, "raw")->drawn_from
         && value_named(program, "typed")->drawn_from == value_named(program, "empty")->drawn_from,
     "each graph draws its own d");
  ok(write_onnx(program, "again.onnx"), "they are written");
  Program *again = import_model("again.onnx", diagnostics_create(arena));
  ok(again && value_named(again, "typed")->drawn_from == value_named(again, "empty")->drawn_from && value_named(again, "typed")->drawn_from != NO_VALUE,
     "and are drawn alike again");
  program_destroy(program);
  program_destroy(again);
}

/* A call with an empty name and results that nobody wants; a long and an empty overload; defaults that the call overrides. */
static void
test_calls(void)
{
  static const float one = 1;
  char overload[201];
  memset(overload, 'o', 200);
  overload[200] = 0;
  Bytes graph = {0}, model, node, function, attribute = {0};
  node = node_in("c", "f", "x", "- y");
  put_text(&node, NODE_NAME, "");
  put_text(&node, 8, overload);
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("k", 5));
  put_message(&graph, GRAPH_NODE, node);
  node = node_in("ai.onnx", "Relu", "x", "z");
  put_text(&node, 8, "");
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("phase", 2));
  put_message(&node, NODE_ATTRIBUTE, string_attribute_of("kind", "k"));
  put_message(&graph, GRAPH_NODE, node);
  node = node_of("Tanh", "x", "w");
  put_message(&node, NODE_ATTRIBUTE, string_attribute_of("phase", "never"));
  put_message(&graph, GRAPH_NODE, node);
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, ",4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("z", 1, "4"));
  model = (Bytes){0};
  put_number(&model, MODEL_IR_VERSION, 10);
  put_message(&model, MODEL_OPSET, opset_of("ai.onnx", 17));
  put_message(&model, MODEL_OPSET, opset_of("c", 1));
  put_message(&model, MODEL_GRAPH, graph);
  function = (Bytes){0};
  put_text(&function, FUNCTION_NAME, "f");
  put_text(&function, FUNCTION_DOMAIN, "c");
  put_text(&function, FUNCTION_INPUT, "a");
  put_texts(&function, FUNCTION_OUTPUT, "t b");
  node = node_of("Constant", "", "one");
  put_text(&attribute, ATTRIBUTE_NAME, "value");
  put_number(&attribute, ATTRIBUTE_TYPE, 4);
  put_message(&attribute, ATTRIBUTE_T, tensor_of("", 1, "", &one, 4));
  put_message(&node, NODE_ATTRIBUTE, attribute);
  put_message(&function, FUNCTION_NODE, node);
  put_message(&function, FUNCTION_NODE, node_of("BatchNormalization", "a one one one one", "n - v"));
  node = node_of("Dropout", "n - mode", "t");
  put_message(&function, FUNCTION_NODE, node_of("Identity", "a", "mode"));
  put_message(&function, FUNCTION_NODE, node);
  node = node_of("Elu", "t", "b -");
  put_message(&node, NODE_ATTRIBUTE, reference_of("alpha", 2, "k"));
  put_message(&function, FUNCTION_NODE, node);
  put_message(&function, FUNCTION_ATTRIBUTE, int_attribute_of("k", 3));
  put_text(&function, 13, overload);
  put_message(&model, MODEL_FUNCTION, function);
  Program *program = import_written(model);
  if (!ok(program != NULL, "an unusual call is imported")) return;
  const Node *elu = node_at(program, value_named(program, "y")->producer);
  ok(!strcmp(elu->operator_name, "Elu") && int_attribute(elu, "alpha", 0) == 5, "the call's attribute, not the default");
  ok(!strcmp(elu->name, "f/"), "a call without a name is called by its function: %s", elu->name);
  const Node *relu = node_at(program, value_named(program, "z")->producer);
  ok(!*relu->domain && relu->phase == PHASE_FORWARD && int_attribute(relu, "phase", 0) == 2, "a phase that is a number is an attribute");
  const Node *tanh = node_at(program, value_named(program, "w")->producer);
  ok(tanh->phase == PHASE_FORWARD && !strcmp(string_attribute(tanh, "phase", ""), "never"), "and so is one that there is not");
  const Onnx__ModelProto *kept = inference_model_of(program);
  ok(kept->functions[0]->node[1]->n_output == 1 && kept->functions[0]->node[3]->n_input == 2, "inference: the function's nodes, too");
  ok(write_onnx(program, "again.onnx"), "it is written");
  Program *again = import_model("again.onnx", diagnostics_create(arena));
  ok(again && again->ir_version == 10 && opset_version(again, "") == 17, "with its version");
  ok(!write_onnx(program, "absent/again.onnx"), "a folder that is not there is no place to write");
  program_destroy(program);
  program_destroy(again);
}

/* In training mode statistics that something reads stay; other attributes, too. */
static void
test_statistics(void)
{
  Bytes graph = {0}, node = node_in("ai.onnx", "BatchNormalization", "x s s s s", "n m v");
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("training_mode", 1));
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("axis", 1));
  put_message(&graph, GRAPH_NODE, node);
  node = node_of("BatchNormalization", "n s s s s", "k");
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("training_mode", 1));
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("axis", 1));
  put_message(&graph, GRAPH_NODE, node);
  put_message(&graph, GRAPH_NODE, node_of("Add", "k m", "y"));
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "N,4"));
  put_message(&graph, GRAPH_INPUT, value_info_of("s", 1, "4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "N,4"));
  Program *program = import_written(model_of(graph));
  if (!ok(program != NULL, "statistics that are read are imported")) return;
  const Onnx__GraphProto *kept = inference_model_of(program)->graph;
  ok(kept->node[0]->n_output == 3 && kept->node[0]->n_attribute == 2, "inference: statistics that are read stay");
  ok(kept->node[1]->n_output == 1 && kept->node[1]->n_attribute == 1 && !strcmp(kept->node[1]->attribute[0]->name, "axis"),
     "inference: other attributes stay");
  program_destroy(program);
}

/* Where a model is said to lie matters for external data alone. */
static void
test_folders(void)
{
  Bytes graph = {0}, model;
  put_message(&graph, GRAPH_NODE, node_of("Relu", "x", "y"));
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "4"));
  model = model_of(graph);
  unsigned char *copy = malloc(model.length);
  memcpy(copy, model.data, model.length);
  Program *program = import_bytes("/model.onnx", copy, model.length, diagnostics_create(arena));
  ok(program != NULL, "a model in the root folder");
  program_destroy(program);
  program = import_bytes("absent/model.onnx", model.data, model.length, diagnostics_create(arena));
  ok(program != NULL, "a model in a folder that is gone");
  program_destroy(program);
  Bytes tensor = tensor_head("w", 1, "4");
  put_number(&tensor, TENSOR_LOCATION, 1);
  put_message(&tensor, TENSOR_EXTERNAL, entry_of("location", "w"));
  graph = (Bytes){0};
  put_message(&graph, GRAPH_NODE, node_of("Relu", "w", "y"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "4"));
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  model = model_of(graph);
  Diagnostics *diagnostics = diagnostics_create(arena);
  diagnostics->quiet = true;
  program = import_bytes("absent/model.onnx", model.data, model.length, diagnostics);
  ok(!program && diagnostics->errors == 1, "but not one with external data");
  program_destroy(program);
}

static void
test_text(void)
{
  Program *program = import_text("<ir_version: 8,\r\n opset_import: [\"\" : 17]>\r\n\fg (float[N,?] x) => (y, float z, t, u)\r\n"
                                 "{ y = Relu<a = [1.5, 2.5], b = [\"t\"]>(x) z = Exp(x) t = Abs(x) u = Neg(x) }\r\n");
  if (!ok(program != NULL, "a text with other ends of lines is imported")) return;
  Value *y = value_at(program, named(program, "y"));
  const Onnx__GraphProto *graph = inference_model_of(program)->graph;
  const Onnx__TensorShapeProto *shape = graph->input[0]->type->tensor_type->shape;
  ok(shape->n_dim == 2 && !strcmp(shape->dim[0]->dim_param, "N")
         && shape->dim[1]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET,
     "a dimension with a name, and one without");
  ok(graph->node[0]->attribute[0]->n_floats == 2 && graph->node[0]->attribute[0]->floats[1] == 2.5f && graph->node[0]->attribute[1]->n_strings == 1,
     "lists of numbers and texts");
  ok(!graph->output[0]->type, "an output whose type is not said");
  y->type = ACTNN_F32; /* as inference finds it */
  y->shape = shape_of(2, (const int64_t[]){3, 4});
  value_at(program, named(program, "t"))->type = ACTNN_F32;
  bool is_finished = finish_inference_model(program);
  graph = inference_model_of(program)->graph;
  ok(is_finished && graph->output[0]->type && graph->output[0]->type->tensor_type->shape->n_dim == 2, "it is written when it is known");
  ok(!graph->output[2]->type && !graph->output[3]->type, "and left out while it is not");
  program_destroy(program);
}

/* Names that are taken, empty, or like those that the writer makes. */
static void
test_written_names(void)
{
  Program *program = import_text("<opset_import: [\"\" : 17]> g (float[2] x) => (y) { a = Relu(x) b = Exp(a) y = Add(a, b) }");
  if (!ok(program != NULL, "a model to be renamed is imported")) return;
  value_at(program, named(program, "a"))->name = "x";
  ValueId b = named(program, "b");
  value_at(program, b)->name = "";
  value_at(program, named(program, "y"))->name = arena_format(arena, "%%%u", b);
  ok(write_onnx(program, "again.onnx"), "a program with unusual names is written");
  Program *again = import_model("again.onnx", diagnostics_create(arena));
  ok(again && again->order_count == 3 && !strcmp(operators_of(again, PHASE_FORWARD), "Relu Exp Add"), "and read again");
  const Node *add = again ? node_at(again, 2) : NULL;
  ok(add && operand_id(add, 0) == result_id(node_at(again, 0), 0) && operand_id(add, 1) == result_id(node_at(again, 1), 0),
     "with every name its own");
  program_destroy(program);
  program_destroy(again);
}

/* Newer fields are found whether or not onnx.proto knows them; here are some that it does. */
static void
test_known_fields(void)
{
  Diagnostics *diagnostics = diagnostics_create(arena);
  Program *program = import_text("<opset_import: [\"\" : 17]> g (float[2] x) => (y) { [first] y = Relu(x) }");
  if (!ok(program != NULL, "a model to look into is imported")) return;
  const Onnx__GraphProto *graph = inference_model_of(program)->graph;
  const Onnx__NodeProto *node = graph->node[0];
  const char *name = text_field(&node->base, NODE_NAME, arena);
  ok(name && !strcmp(name, "first"), "a text");
  ok(!text_field(&node->base, NODE_DOMAIN, arena) && !text_field(&graph->base, 10, arena), "a text that is not there");
  ok(!text_field(&node->base, NODE_INPUT, arena) && !text_field(&node->base, NODE_ATTRIBUTE, arena), "no text");
  ProtobufCMessage **list;
  size_t count;
  ok(message_field(&graph->base, GRAPH_NODE, &onnx__node_proto__descriptor, "", arena, diagnostics, &list, &count) && count == 1
         && list[0] == &node->base,
     "messages");
  ok(message_field(&graph->base, GRAPH_NAME, &onnx__node_proto__descriptor, "", arena, diagnostics, &list, &count) && !count && !list
         && message_field(&inference_model_of(program)->base, MODEL_GRAPH, &onnx__graph_proto__descriptor, "", arena, diagnostics, &list, &count)
         && !count,
     "no list of messages");
  program_destroy(program);
}

/* A state stays out of the model of inference, and so does what has no data. */
static void
test_not_added(void)
{
  static const float two[2] = {1, 2};
  Bytes graph = {0}, tensor = tensor_of("s", 1, "2", two, 8);
  put_text(&tensor, 12, STATE_MARK);
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("p", 1, "2", two, 8));
  put_message(&graph, GRAPH_NODE, node_of("Add", "s p", "a"));
  Bytes node = node_of("BatchNormalization", "a p p p p", "y m");
  put_message(&node, NODE_ATTRIBUTE, int_attribute_of("training_mode", 1));
  put_message(&graph, GRAPH_NODE, node);
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "2"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("m", 1, "2"));
  Program *program = import_written(model_of(graph));
  if (!ok(program && value_named(program, "s")->kind == VALUE_STATE, "a state is imported")) return;
  ok(inference_model_of(program)->graph->n_output == 1, "inference: statistics are no outputs");
  Value *p = value_at(program, named(program, "p"));
  p->kind = VALUE_CONSTANT;
  p->data = NULL;
  ok(finish_inference_model(program) && !inference_model_of(program)->graph->n_initializer, "inference: states and what has no data stay out");
  program_destroy(program);
  static const char text[] = "<opset_import: [\"\" : 17]> g (float[2] x) => (y) { y = Relu(x) }";
  program = parse_program("text", text, strlen(text), diagnostics_create(arena));
  ok(program && finish_inference_model(program) && !program->inference_model, "a program without a model of inference has nothing to finish");
  program_destroy(program);
}

/* One value replaces two variables, by way of a copy; a node of the algorithm has a result that nobody wants. */
static void
test_two_updates(void)
{
  static const float two[2] = {1, 2};
  Bytes graph = {0}, algorithm = {0}, training = {0}, model;
  put_message(&graph, GRAPH_NODE, node_of("Add", "v w", "y"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "2"));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("v", 1, "2", two, 8));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("w", 1, "2", two, 8));
  put_message(&algorithm, GRAPH_NODE, node_of("Split", "w", "- z"));
  put_message(&training, 2, algorithm);
  put_message(&training, 4, entry_of("v", "z"));
  put_message(&training, 4, entry_of("w", "z"));
  model = model_of(graph);
  put_message(&model, MODEL_TRAINING, training);
  Program *program = import_written(model);
  if (!ok(program != NULL, "a value that replaces two variables is imported")) return;
  ok(updates(program, "z", "v") && !strcmp(operators_of(program, PHASE_UPDATE), "Split Identity"), "the second by a copy: %s",
     operators_of(program, PHASE_UPDATE));
  program_destroy(program);
}

/* More operator sets than a model may import. */
static void
test_many_opsets(void)
{
  const char *text = "<opset_import: [\"\" : 17";
  for (int i = 0; i < 300; i++) text = arena_format(arena, "%s, \"d%d\" : 1", text, i);
  Program *program = import_text(arena_format(arena, "%s]> g (float[2] x) => (y) { y = Relu(x) }", text));
  ok(program && program->opset_count == 301 && inference_model_of(program)->n_opset_import == 256, "a text with 301 operator sets");
  program_destroy(program);
}

int
main(void)
{
  char folder[] = "/tmp/actnn-forms-XXXXXX", command[64];
  arena = arena_create();
  if (!mkdtemp(folder) || chdir(folder)) abort();
  test_more_types();
  test_drawn();
  test_calls();
  test_statistics();
  test_folders();
  test_text();
  test_written_names();
  test_many_opsets();
  test_known_fields();
  test_not_added();
  test_two_updates();
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (chdir("/") || system(command)) puts("# the temporary folder could not be removed");
  arena_destroy(arena);
  return tap_done();
}
