/* test_nodes.c: runs the node cases of the ONNX standard (Debian: libonnx-testdata) through import,
 * canonicalization, shape rules and evaluation, and compares with the standard's own results at its own
 * tolerance.
 *
 * usage: test_nodes [DIRECTORY OF CASES [WORD]]: WORD picks the cases whose name contains it. A case passes
 * when every result has the expected type, shape and values. Cases of operators that are not in the table are
 * skipped; those that draw random numbers are compared by type and shape. */
#include "../../src/canonicalize.h"
#include "../../src/onnx_import.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifndef ONNX_NODE_CASES
#define ONNX_NODE_CASES "/usr/share/libonnx-testdata/data/node"
#endif

static const double RELATIVE = 1e-3, ABSOLUTE = 1e-7;
static const uint64_t LARGEST_FILE = (uint64_t)64 << 20;
enum { OLDEST_OPSET = 7 };

typedef enum Verdict { PASSED, FAILED, SKIPPED } Verdict;

typedef struct Case {
  const char *directory, *name;
  Arena *arena;
  Diagnostics *diagnostics;
  const char *reason;
} Case;

static Verdict
fails(Case *test, const char *reason)
{
  test->reason = reason;
  return FAILED;
}

static ProtobufCMessage *
read_message(Case *test, const char *path, const ProtobufCMessageDescriptor *type)
{
  unsigned char *bytes;
  size_t length;
  if (!read_file(path, LARGEST_FILE, test->diagnostics, &bytes, &length)) return NULL;
  ProtobufCMessage *message = unpack_message(type, bytes, length, 0, path, test->arena, test->diagnostics);
  free(bytes);
  return message;
}

/* ---- what a case needs -------------------------------------------------------------------------- */

/* The first operator of the model that the table does not have. */
static const char *
missing_operator(const Onnx__ModelProto *model)
{
  for (size_t i = 0; i < model->graph->n_node; i++) {
    const Onnx__NodeProto *node = model->graph->node[i];
    const char *domain = node->domain ? node->domain : "";
    if (!find_operator(domain, node->op_type) && !is_spelling(domain, node->op_type)) return node->op_type;
  }
  return NULL;
}

/* Why a case is out of scope, or NULL. */
static const char *
reason_to_skip(Case *test, const Onnx__ModelProto *model)
{
  static const char *const limits[][2] = {
      {"test_maxpool_2d_uint8", "pools take floating-point tensors"},
      {"test_adam_multiple", "it expects an epsilon that its model does not give"},
      {"STRING", "strings are no tensors to train on"},
      {"string", "strings are no tensors to train on"}};
  const char *missing = missing_operator(model);
  if (missing) return arena_format(test->arena, "%s is not in the table", safe_name(test->arena, missing));
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
    if (strstr(test->name, limits[i][0])) return limits[i][1];
  for (size_t i = 0; i < model->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *opset = model->opset_import[i];
    if ((!opset->domain || !opset->domain[0]) && opset->version < OLDEST_OPSET)
      return arena_format(test->arena, "operator set %lld is older than what is imported",
                          (long long)opset->version);
  }
  for (size_t i = 0; i < model->graph->n_input; i++) {
    const Onnx__TypeProto *type = model->graph->input[i]->type;
    if (type && type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return "an input is not a tensor";
  }
  return NULL;
}

/* Input or output `index` of the case as bytes; false when there is no such file or it is not a tensor. */
static bool
case_tensor(Case *test, Program *program, const char *kind, uint32_t index, TensorBytes *tensor)
{
  const char *path =
      arena_format(test->arena, "%s/%s/test_data_set_0/%s_%u.pb", test->directory, test->name, kind, index);
  struct stat status;
  if (stat(path, &status)) return false;
  Onnx__TensorProto *message = (Onnx__TensorProto *)read_message(test, path, &onnx__tensor_proto__descriptor);
  Import import = {.program = program,
                   .diagnostics = test->diagnostics,
                   .source = path,
                   .directory = -1,
                   .scratch = test->arena,
                   .dense_bytes_left = LARGEST_FILE,
                   .external_bytes_left = LARGEST_FILE};
  return message && read_tensor(&import, message, kind, false, tensor);
}

/* The cases keep bfloat16 data in tensors of type uint16. */
static actnn_type
real_type(actnn_type declared, actnn_type stored)
{
  return declared == ACTNN_BF16 && stored == ACTNN_U16 ? ACTNN_BF16 : stored;
}

/* Everything is known: the inputs are constants, so that operands which must be known at compile time are. */
static bool
bind_inputs(Case *test, Program *program)
{
  for (uint32_t i = 0; i < program->input_count; i++) {
    TensorBytes tensor;
    if (!case_tensor(test, program, "input", i, &tensor)) return false;
    Value *value = value_at(program, program->inputs[i]);
    value->kind = VALUE_CONSTANT;
    value->type = real_type(value->type, tensor.type);
    value->shape = tensor.shape;
    value->data = tensor.data;
    value->data_bytes = tensor.bytes;
  }
  return true;
}

/* ---- running ------------------------------------------------------------------------------------ */

/* Canonicalizes, infers and evaluates node after node; each result becomes a constant, as folding would make
 * it. */
static bool
run_program(Program *program, bool *draws)
{
  for (uint32_t i = 0; i < program->order_count;) {
    NodeId id = program->order[i];
    if (!canonicalize_node(program, id)) return false;
    if (i >= program->order_count) break;
    if (program->order[i] != id) continue;
    if (!infer_node(program, id)) return false;
    const Node *node = node_at(program, id);
    Tensor results[ACTNN_MAX_OPERANDS];
    if (node->result_count > ACTNN_MAX_OPERANDS) return false;
    if (node->operator->flags & RANDOM) *draws = true;
    if (!evaluate_node(program, id, program->arena, NULL, results)) return false;
    for (uint32_t k = 0; k < node_at(program, id)->result_count; k++) {
      ValueId result = node_at(program, id)->results[k];
      if (result == NO_VALUE) continue;
      ValueId copy = add_tensor_constant(program, NULL, value_at(program, result)->type, &results[k]);
      Value *value = value_at(program, result);
      value->kind = VALUE_CONSTANT;
      value->data = value_at(program, copy)->data;
      value->data_bytes = value_at(program, copy)->data_bytes;
    }
    i++;
  }
  return true;
}

/* The cases cut bfloat16 off where we round to nearest: they may differ in the last bit. */
static bool
is_close(actnn_type type, double got, double expected)
{
  if (isnan(expected)) return isnan(got);
  return got == expected ||
         fabs(got - expected) <= ABSOLUTE + (type == ACTNN_BF16 ? 1.0 / 128 : RELATIVE) * fabs(expected);
}

/* Dropout at inference or ratio 0 draws nothing that shows; otherwise values that were drawn cannot be
 * compared. */
static Verdict
compare_output(Case *test, Program *program, uint32_t index, bool draws)
{
  TensorBytes expected;
  int64_t count;
  const Value *value;
  if (!case_tensor(test, program, "output", index, &expected))
    return fails(test, "an expected output cannot be read");
  value = value_at(program, program->outputs[index]);
  expected.type = real_type(value->type, expected.type);
  if (value->type != expected.type || !shape_equal(&value->shape, &expected.shape))
    return fails(test, arena_format(test->arena, "output %u is %s, expected %s", index,
                                    shape_text(test->arena, value->type, &value->shape),
                                    shape_text(test->arena, expected.type, &expected.shape)));
  if (!shape_elements(&expected.shape, &count) || value->data_bytes != expected.bytes)
    return fails(test, "an output has the wrong size");
  size_t width = type_bytes(value->type);
  for (int64_t i = 0; i < count && !draws; i++) {
    double got = element_as_real(value->type, (const char *)value->data + (size_t)i * width);
    double wanted = element_as_real(value->type, (const char *)expected.data + (size_t)i * width);
    if (!is_close(value->type, got, wanted))
      return fails(test, arena_format(test->arena, "output %u element %lld is %.9g, expected %.9g", index,
                                      (long long)i, got, wanted));
  }
  return PASSED;
}

static Verdict
run_case(Case *test)
{
  const char *path = arena_format(test->arena, "%s/%s/model.onnx", test->directory, test->name);
  Onnx__ModelProto *model = (Onnx__ModelProto *)read_message(test, path, &onnx__model_proto__descriptor);
  if (!model || !model->graph) return fails(test, "the model cannot be read");
  const char *reason = reason_to_skip(test, model);
  if (reason) {
    test->reason = reason;
    return SKIPPED;
  }
  bool draws = false;
  Verdict verdict = PASSED;
  Program *program = import_model(path, test->diagnostics);
  if (!program) return fails(test, "import failed");
  if (!bind_inputs(test, program)) verdict = fails(test, "an input cannot be read");
  else if (!run_program(program, &draws)) verdict = fails(test, "it does not run");
  for (uint32_t i = 0; verdict == PASSED && i < program->output_count; i++)
    verdict = compare_output(test, program, i, draws);
  program_destroy(program);
  return verdict;
}

/* Runs one case with its messages collected, and prints its line. */
static Verdict
report_case(const char *directory, const char *name, unsigned number)
{
  Arena *arena = arena_create();
  char *messages = NULL;
  size_t length = 0;
  Case test = {
      .directory = directory, .name = name, .arena = arena, .diagnostics = diagnostics_create(arena), .reason = ""};
  test.diagnostics->stream = open_memstream(&messages, &length);
  if (!test.diagnostics->stream) exit(1);
  Verdict verdict = run_case(&test);
  fclose(test.diagnostics->stream);
  printf("%s %u - %s%s%s\n", verdict == FAILED ? "not ok" : "ok", number, name,
         verdict == SKIPPED ? " # SKIP " : "", verdict == SKIPPED ? test.reason : "");
  if (verdict == FAILED) {
    printf("# %s\n", test.reason);
    for (char *line = strtok(messages, "\n"); line; line = strtok(NULL, "\n")) printf("#   %s\n", line);
  }
  free(messages);
  arena_destroy(arena);
  return verdict;
}

static int
is_case(const struct dirent *entry)
{
  return !strncmp(entry->d_name, "test_", 5);
}

int
main(int argc, char **argv)
{
  const char *directory = argc > 1 ? argv[1] : ONNX_NODE_CASES, *word = argc > 2 ? argv[2] : "";
  struct dirent **entries;
  unsigned count[3] = {0, 0, 0}, number = 0;
  int found = scandir(directory, &entries, is_case, alphasort);
  if (found <= 0) {
    printf("1..0 # SKIP the node cases of libonnx-testdata are not installed\n");
    return 0;
  }
  for (int i = 0; i < found; i++) {
    if (strstr(entries[i]->d_name, word)) count[report_case(directory, entries[i]->d_name, ++number)]++;
    free(entries[i]);
  }
  free(entries);
  printf("1..%u\n# %u passed, %u failed, %u skipped\n", number, count[PASSED], count[FAILED], count[SKIPPED]);
  return count[FAILED] ? 1 : 0;
}
