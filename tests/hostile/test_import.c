/* test_import.c: what right models become: names, kinds, functions inlined, training information, the inference model;
 * and that a program written as ONNX comes back the same.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "imported.h"
#include "sample_models.h"

#include <unistd.h>

static void
check_training(const Program *program, const char *when)
{
  const Value *w = value_named(program, "w"), *scale = value_named(program, "scale");
  ok(program->has_training_algorithm && program->input_count == 1 && program->output_count == 2,
     "%s: one input, two outputs, an algorithm", when);
  ok(w->kind == VALUE_PARAMETER && !w->data && w->drawn_from != NO_VALUE && !w->is_frozen && w->shape.rank == 1 &&
         w->shape.dim[0] == 4,
     "%s: w is a drawn parameter of 4 elements without data", when);
  ok(scale->kind == VALUE_PARAMETER && scale->is_frozen && scale->data_bytes == 16,
     "%s: what the algorithm does not change is frozen", when);
  ok(value_named(program, "bias")->data_bytes == 16 && *(const float *)value_named(program, "bias")->data == 1.0f,
     "%s: data from typed fields", when);
  ok(value_named(program, "mode")->kind == VALUE_CONSTANT && value_named(program, "r")->kind == VALUE_CONSTANT,
     "%s: other initializers are constants", when);
  ok(value_named(program, "v")->kind == VALUE_STATE && value_named(program, "t")->kind == VALUE_STATE &&
         value_named(program, "t")->type == ACTNN_I64,
     "%s: what the algorithm keeps is state", when);
  ok(updates(program, "new_w", "w") && updates(program, "new_v", "v") && updates(program, "new_t", "t") &&
         updates(program, "new_mean", "mean"),
     "%s: update bindings", when);
  ok(!strcmp(operators_of(program, PHASE_INITIALIZE), "RandomNormal Mul"), "%s: initialize: %s", when,
     operators_of(program, PHASE_INITIALIZE));
  ok(!strcmp(operators_of(program, PHASE_FORWARD), "Mul BatchNormalization Dropout ReduceSum"), "%s: forward: %s",
     when, operators_of(program, PHASE_FORWARD));
  ok(!strcmp(operators_of(program, PHASE_BACKWARD), "Gradient Mul"), "%s: backward: %s", when,
     operators_of(program, PHASE_BACKWARD));
  ok(!strcmp(operators_of(program, PHASE_UPDATE), "Momentum Add") ||
         !strcmp(operators_of(program, PHASE_UPDATE), "Add Momentum"),
     "%s: update: %s", when, operators_of(program, PHASE_UPDATE));
  const Value *x = value_named(program, "x");
  ok(x->kind == VALUE_INPUT && x->shape.dim[0] == DIM_UNKNOWN && x->symbol && !strcmp(x->symbol[0], "N") &&
         x->shape.dim[1] == 4,
     "%s: a symbolic dimension", when);
}

static void
check_scopes(const Program *program)
{
  const Value *w = value_named(program, "w");
  const Node *mul = w->drawn_from == NO_VALUE ? NULL : node_at(program, value_at(program, w->drawn_from)->producer);
  const Value *factor = mul ? operand_value(program, mul, 1) : NULL;
  ok(factor && factor->kind == VALUE_CONSTANT && factor != w && !factor->name && factor->data_bytes == 4,
     "the initialization graph's own w is another value");
  const Node *dropout = node_at(program, value_named(program, "y")->producer);
  ok(dropout->operand_count == 3 && dropout->operands[1] == NO_VALUE, "an empty operand in the middle is absent");
}

static void
check_inference_model(Program *program)
{
  const Onnx__ModelProto *model = inference_model_of(program);
  const Onnx__GraphProto *graph = model->graph;
  ok(graph->n_node == 4 && !model->n_training_info, "inference: the forward nodes, no training information");
  ok(graph->n_initializer == 1 && has_initializer(graph, "mode") && !graph->n_sparse_initializer,
     "inference: constants stay, variables go");
  const Onnx__NodeProto *normalization = graph->node[1];
  ok(normalization->n_output == 1 && !normalization->n_attribute, "inference: BatchNormalization in inference mode");
  ok(graph->node[2]->n_input == 2, "inference: Dropout without its mode");
  Value *scale = value_at(program, named(program, "scale"));
  scale->kind = VALUE_CONSTANT; /* as a pass does with what the loss does not depend on */
  ok(finish_inference_model(program) && has_initializer(inference_model_of(program)->graph, "scale") &&
         !has_initializer(inference_model_of(program)->graph, "bias"),
     "inference: parameters that became constants are put back");
  scale->kind = VALUE_PARAMETER;
}

static void
test_training(void)
{
  Program *program = import_written(sample_training_model());
  if (!ok(program != NULL, "a model with training information is imported")) return;
  check_training(program, "imported");
  check_scopes(program);
  ok(write_onnx(program, "again.onnx"), "it is written");
  Program *again = import_model("again.onnx", diagnostics_create(arena));
  if (ok(again != NULL, "and imported again")) check_training(again, "again");
  check_inference_model(program);
  program_destroy(program);
  program_destroy(again);
}

/* Nodes of an initialization graph that no variable is bound to are kept as well (found by fuzzing). */
static void
test_unbound_initialization(void)
{
  static const unsigned char model[] = {':', 0, 'B', 2, 16, 9, 0xa2, 1, 18, '\n', 16, '\n', 6, '"', 4, 'R', 'e', 'l', 'u', '\n', 6, '"', 4, 'T', 'a', 'n', 'h'};
  write_bytes("model.onnx", model, sizeof model);
  Program *program = import_model("model.onnx", diagnostics_create(arena));
  if (!ok(program && program->order_count == 2, "an initialization graph without bindings is imported")) return;
  Program *again = write_onnx(program, "again.onnx") ? import_model("again.onnx", diagnostics_create(arena)) : NULL;
  ok(again && again->order_count == 2, "written, and imported again");
  program_destroy(program);
  program_destroy(again);
}

/* Weights that a trainer appends form a second graph message, which protobuf merges with the first. */
static void
test_appended_weights(void)
{
  static const float two[4] = {2, 2, 2, 2};
  Bytes graph = {0}, more = {0};
  put_message(&graph, GRAPH_NODE, node_of("Mul", "x w", "y"));
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "4"));
  put_message(&more, GRAPH_INITIALIZER, tensor_of("w", 1, "4", two, sizeof two));
  Bytes model = model_of(graph);
  put_message(&model, MODEL_GRAPH, more);
  Program *program = import_written(model);
  ok(program && value_named(program, "w")->data && *(const float *)value_named(program, "w")->data == 2.0f,
     "a model with appended weights");
  program_destroy(program);
}

static void
test_functions(void)
{
  Program *program = import_written(sample_function_model());
  if (!ok(program != NULL, "a model with functions is imported")) return;
  ok(!strcmp(operators_of(program, PHASE_FORWARD), "Identity Softmax Elu"), "functions are inlined and sorted: %s",
     operators_of(program, PHASE_FORWARD));
  const Node *elu = node_at(program, value_named(program, "y")->producer);
  ok(!strcmp(elu->operator_name, "Elu") && int_attribute(elu, "alpha", 0) == 3,
     "the overload is respected, the default of an attribute reaches the body");
  const Node *softmax = node_at(program, operand_value(program, elu, 0)->producer);
  ok(int_attribute(softmax, "axis", 0) == 1 && !strcmp(softmax->name, "call/softmax"),
     "an attribute of the call reaches the body; '%s'", softmax->name);
  const Value *second = value_named(program, "second");
  ok(second->producer != NO_NODE &&
         operand_value(program, node_at(program, second->producer), 0) == value_at(program, program->inputs[0]),
     "an input handed through becomes an Identity");
  program_destroy(program);
}

static void
test_element_types(void)
{
  Bytes graph = {0}, tensor;
  put_message(&graph, GRAPH_NODE, node_of("Concat", "i8 b f16 u32 f64 text dense", "y"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "4"));
  tensor = tensor_head("i8", 3, "2");
  put_bytes(&tensor, TENSOR_INT32S, "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  put_message(&graph, GRAPH_INITIALIZER, tensor_of("b", 9, "3", "\x00\x01\x07", 3));
  tensor = tensor_head("f16", 10, "1");
  put_number(&tensor, TENSOR_INT32S, 0x3c00); /* not packed */
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  tensor = tensor_head("u32", 12, "1");
  put_bytes(&tensor, 11, "\xff\xff\xff\xff\x0f", 5);
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  double half = 0.5;
  tensor = tensor_head("f64", 11, "");
  put_bytes(&tensor, 10, &half, sizeof half);
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  tensor = tensor_head("text", 8, "2");
  put_text(&tensor, 6, "ab");
  put_text(&tensor, 6, "");
  put_message(&graph, GRAPH_INITIALIZER, tensor);
  Bytes sparse = {0};
  static const float stored[2] = {3, 4}, dense[6] = {0, 3, 0, 0, 0, 4};
  static const int64_t places[4] = {0, 1, 1, 2};
  put_message(&sparse, 1, tensor_of("dense", 1, "2", stored, sizeof stored));
  put_message(&sparse, 2, tensor_of("", 7, "2,2", places, sizeof places));
  put_number(&sparse, 3, 2);
  put_number(&sparse, 3, 3);
  put_message(&graph, GRAPH_SPARSE, sparse);
  Program *program = import_written(model_of(graph));
  if (!ok(program != NULL, "a model with many element types is imported")) return;
  ok(has_data(program, "i8", ACTNN_I8, "\x05\xff", 2), "int8 from int32_data");
  ok(has_data(program, "b", ACTNN_BOOL, "\x00\x01\x01", 3), "bool becomes 0 or 1");
  ok(has_data(program, "f16", ACTNN_F16, "\x00\x3c", 2), "float16 from an unpacked field");
  ok(has_data(program, "u32", ACTNN_U32, "\xff\xff\xff\xff", 4), "uint32 from uint64_data");
  ok(has_data(program, "f64", ACTNN_F64, &half, 8), "double from double_data");
  ok(has_data(program, "text", ACTNN_STRING, "ab\0", 4), "strings");
  ok(has_data(program, "dense", ACTNN_F32, dense, sizeof dense), "a sparse tensor made dense");
  program_destroy(program);
}

static void
test_order(void)
{
  Bytes graph = {0};
  put_message(&graph, GRAPH_NODE, node_of("Add", "b a", "y"));
  put_message(&graph, GRAPH_NODE, node_of("Relu", "a", "b"));
  put_message(&graph, GRAPH_NODE, node_of("Sigmoid", "x", "unused"));
  put_message(&graph, GRAPH_NODE, node_of("Tanh", "x", "a"));
  put_message(&graph, GRAPH_INPUT, value_info_of("x", 1, "-1,4"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of("y", 1, "4"));
  Program *program = import_written(model_of(graph));
  if (!ok(program != NULL, "nodes in any order are imported")) return;
  ok(!strcmp(operators_of(program, PHASE_FORWARD), "Sigmoid Tanh Relu Add"), "and sorted, stably: %s",
     operators_of(program, PHASE_FORWARD));
  ok(value_named(program, "x")->shape.dim[0] == DIM_UNKNOWN, "an extent of -1 is an unknown one");
  program_destroy(program);
}

int
main(void)
{
  char folder[] = "/tmp/actnn-import-XXXXXX", command[64];
  arena = arena_create();
  if (!mkdtemp(folder) || chdir(folder)) abort();
  test_training();
  test_unbound_initialization();
  test_appended_weights();
  test_functions();
  test_element_types();
  test_order();
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (chdir("/") || system(command)) puts("# the temporary folder could not be removed");
  arena_destroy(arena);
  return tap_done();
}
