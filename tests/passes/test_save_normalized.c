/* test_save_normalized.c: a normalization, its rectifier and the next convolution share one save: what the pass makes of them, and
 * when it leaves them as they are. */
#include "../../passes/passes.h"
#include "../runtime/tap.h"

#include <string.h>

#define NET(activation, head) \
  "<ir_version: 8, opset_import: [\"\" : 17]>\n" \
  "net (float[N,3,16,16] image) => (float[N,16] logits)\n" \
  "<float[16,3,3,3] w1 = [\"location\" : \"none\"], float[16] s1 = [\"location\" : \"none\"], float[16] b1 = [\"location\" : \"none\"],\n" \
  " float[16] m1 = [\"location\" : \"none\"], float[16] v1 = [\"location\" : \"none\"], float[16,16,3,3] w2 = [\"location\" : \"none\"]>\n" \
  "{\n" \
  "  [conv1] c1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, w1)\n" \
  "  [norm1] n1, rm, rv = BatchNormalization <training_mode = 1> (c1, s1, b1, m1, v1)\n" activation \
  "  [conv2] c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r1, w2)\n" head \
  "  [pool] p2 = GlobalAveragePool (h2)\n" \
  "  [flat] logits = Flatten (p2)\n" \
  "}\n"
#define RELU "  [relu1] r1 = Relu (n1)\n"
#define ALONE "  [head] h2 = Relu (c2)\n"

typedef struct Result {
  Arena *arena;
  Diagnostics *diagnostics;
  const char *before, *after;
  Program *program;
} Result;

/* Runs all passes up to save-normalized. */
static Result
run(const char *text, const char *scheme, int level)
{
  Result result = {.arena = arena_create()};
  Options options = {.level = level, .scheme = scheme, .batch = 4, .loss = "softmax-cross-entropy", .optimizer = "sgd", .command_line = "actnnc"};
  result.diagnostics = diagnostics_create(result.arena);
  result.program = parse_program("net", text, strlen(text), result.diagnostics);
  bool is_good = result.program != NULL, is_done = false;
  for (size_t i = 0; i < pass_count && is_good && !is_done; i++) {
    is_done = !strcmp(passes[i].name, "save-normalized");
    if (is_done) result.before = print_program(result.program, result.arena);
    is_good = passes[i].run(result.program, &options) && check_program(result.program, passes[i].name);
  }
  if (is_good && is_done) result.after = print_program(result.program, result.arena);
  return result;
}

static void
forget(Result *result)
{
  program_destroy(result->program);
  arena_destroy(result->arena);
}

static unsigned
times(const char *text, const char *word)
{
  unsigned count = 0;
  for (const char *at = text; at && (at = strstr(at, word)); at += strlen(word)) count++;
  return count;
}

/* The node of a name in the program's order, counted from the first. */
static const Node *
node_of(const Program *program, const char *operator_name)
{
  static const Node nothing = {.operator_name = ""};
  for (uint32_t i = 0; i < program->order_count; i++)
    if (!strcmp(node_at(program, program->order[i])->operator_name, operator_name)) return node_at(program, program->order[i]);
  return &nothing;
}

static void
test_shared(void)
{
  Result result = run(NET(RELU, ALONE), "actnnc", 3);
  if (ok(result.after != NULL, "a normalization before a rectifier before a convolution, up to the pass and legal behind it")) {
    ok(times(result.before, "actnn.BatchNorm(") == 1 && times(result.before, "actnn.BatchNormGrad<") == 1
           && times(result.before, "actnn.NormalizeOnSave<") == 0,
       "before it there is a normalization and its gradient");
    ok(times(result.after, "actnn.BatchNorm(") == 0 && times(result.after, "actnn.BatchNormGrad<") == 0, "behind it they are gone");
    ok(times(result.after, "[relu1] r1 = Relu") == 0 && times(result.after, "actnn.NormalizeOnSave<save = 0, rectified = 1") == 1,
       "the rectifier is part of what normalizes and saves");
    ok(times(result.after, "actnn.BatchNormStatistics") == 1 && times(result.after, "actnn.NormalGradScale<save = 0, rectified = 1") == 1
           && times(result.after, "actnn.NormalGradInput<save = 0, rectified = 1") == 1
           && times(result.after, "actnn.DequantizeNormal<save = 0, rectified = 1") == 1,
       "statistics, two parts of the gradient, and what the convolution's gradient reads");
    const SaveTable *saves = result.program->saves;
    ok(saves && saves->count == 1 && saves->save[0].spacing == ACTNN_NORMAL_LEVELS && saves->save[0].is_rectified
           && saves->save[0].dither && saves->save[0].adaptation == ACTNN_ADAPTS_BY_READERS,
       "one save");
    ok(saves && saves->count && saves->save[0].uncompressed == 4 * 16 * 16 * 16 * 8, "which stands for two values of a framework");
    const Node *apply = node_of(result.program, "NormalizeOnSave"), *statistics = node_of(result.program, "BatchNormStatistics");
    const Node *scale = node_of(result.program, "NormalGradScale"), *input = node_of(result.program, "NormalGradInput");
    ok(apply->operand_count == 5 && statistics->result_count == 4 && apply->operands[1] == statistics->results[0]
           && apply->operands[2] == statistics->results[1],
       "what is applied are the batch's statistics");
    ok(input->operand_count == 7 && scale->operand_count == 4 && input->operands[0] == scale->operands[0]
           && input->operands[1] == apply->results[1] && scale->operands[1] == apply->results[1]
           && input->operands[5] == scale->results[0] && input->operands[6] == scale->results[1]
           && input->operands[4] == statistics->results[1],
       "the gradient reads the code, the scale's gradients and the deviation");
    ok(times(result.after, "BatchNormalization<") == 1, "evaluation is as it was");
  }
  forget(&result);
}

/* Clip from zero, as ReLU6 comes; from elsewhere it is no rectifier. */
static void
test_capped(void)
{
  Result result = run(NET("  [clip1] r1 = Clip <min = 0.0, max = 6.0> (n1)\n", ALONE), "actnnc", 3);
  const SaveTable *saves = result.after ? result.program->saves : NULL;
  ok(result.after && times(result.after, "Clip<") == 1 && times(result.after, "Inside<") == 0
         && times(result.after, "actnn.NormalizeOnSave<save = 0, rectified = 1, cap = 6.0") == 1
         && times(result.after, "actnn.DequantizeNormal<save = 0, rectified = 1, cap = 6.0") == 1,
     "a capped rectifier is part of what normalizes and saves, but for evaluation");
  ok(saves && saves->count == 1 && saves->save[0].is_rectified && saves->save[0].high == 6 && saves->save[0].uncompressed == 4 * 16 * 16 * 16 * 8,
     "one save, which knows the cap");
  forget(&result);
  result = run(NET("  [clip1] r1 = Clip <min = -1.0, max = 6.0> (n1)\n", ALONE), "actnnc", 3);
  ok(result.after && times(result.after, "Clip<") == 2 && times(result.after, "NormalizeOnSave<save = 0, rectified = 0") == 1,
     "one that does not start at zero stays a node of its own");
  forget(&result);
}

/* What nothing but the normalization's own gradient reads has no rectifier, and stands for one value. */
static void
test_plain(void)
{
  Result result = run(NET("  [other] r1 = Sigmoid (n1)\n", ALONE), "actnnc", 3);
  ok(result.after && times(result.after, "actnn.NormalizeOnSave<save = 0, rectified = 0") == 1
         && times(result.after, "actnn.BatchNormGrad<") == 0,
     "without a rectifier the value itself is saved");
  forget(&result);
  result = run(NET(RELU, "  [head] h2 = Add (c2, n1)\n"), "actnnc", 3);
  ok(result.after && times(result.after, "[relu1] r1 = Relu") == 1 && times(result.after, "rectified = 1") == 0,
     "a rectifier that does not read alone stays a node of its own");
  forget(&result);
}

static void
test_left_alone(void)
{
  static const struct {
    const char *scheme, *what;
    int level;
  } cases[] = {{"actnn", "ActNN's own scheme", 3}, {"actnnc", "level 0", 0}, {"actnnc", "level 1", 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Result result = run(NET(RELU, ALONE), cases[i].scheme, cases[i].level);
    ok(result.after && !strcmp(result.before, result.after), "%s leaves the program as it is", cases[i].what);
    forget(&result);
  }
}

int
main(void)
{
  test_shared();
  test_capped();
  test_plain();
  test_left_alone();
  return tap_done();
}
