/* test_code_where_made.c: arenas of programs whose coders make rows are no larger than before, whatever the program; and it is the same program, to
 * the letter, where no coder does. */
#include "../../passes/passes.h"
#include "../runtime/tap.h"

#include <string.h>

PassFunction code_where_made;

static uint64_t state = 1;

static uint32_t
draw(uint32_t below)
{
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33) % below;
}

/* Layers behind one another, each a normalization of rows, a product and, often, an activation or the sum with what came before. */
static const char *
draw_model(Arena *arena)
{
  unsigned layers = 1 + draw(6), width = 16 * (1 + draw(4)), tokens = 8 + draw(40);
  const char *weights = "", *nodes = "", *separator = "";
  for (unsigned i = 0; i < layers; i++) {
    bool is_centered = draw(2), adds = draw(2);
    weights = arena_format(arena, "%s%s float[%u,%u] w%u = [\"location\" : \"none\"], float[%u] s%u = [\"location\" : \"none\"]", weights, separator, width,
                           width, i, width, i);
    nodes = arena_format(arena, "%s  n%u = %s <axis = 2> (x%u, s%u)\n  p%u = MatMul (n%u, w%u)\n  a%u = %s (p%u)\n  x%u = %s (%s%s)\n", nodes, i,
                         is_centered ? "LayerNormalization" : "RMSNormalization", i, i, i, i, i, i, draw(2) ? "Gelu" : "Identity", i, i + 1,
                         adds ? "Add" : "Identity", arena_format(arena, "a%u", i), adds ? arena_format(arena, ", x%u", i) : "");
    separator = ",";
  }
  return arena_format(arena, "<ir_version: 8, opset_import: [\"\" : 23]>\nnet (float[N,%u,%u] x0) => (float[N,%u] logits)\n<%s>\n{\n%s"
                             "  logits = ReduceMean <axes = [1], keepdims = 0> (x%u)\n}\n", tokens, width, width, weights, nodes, layers);
}

/* Rows made by coders, of `all`; `all` becomes all rows that are coded. */
static uint32_t
count_rows(const Program *program, uint32_t *all)
{
  uint32_t made = 0;
  *all = 0;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    *all += !strcmp(node->operator_name, "LayerNormalization") || !strcmp(node->operator_name, "RMSNormalization");
    made += find_attribute(node, "steps") && !strcmp(node->operator_name, "QuantizeOnSave");
  }
  return made;
}

static bool
try_model(uint32_t *made, uint32_t *rows)
{
  Arena *arena = arena_create();
  const char *text = draw_model(arena);
  Options options = {.level = 3, .scheme = "actnnc", .batch = 4, .loss = "softmax-cross-entropy", .optimizer = "adam", .command_line = "actnnc",
                     .is_for_gpu = draw(2), .is_bfloat = draw(2)};
  Diagnostics *diagnostics = diagnostics_create(arena);
  Program *program = parse_program("net", text, strlen(text), diagnostics);
  bool is_good = program != NULL;
  const Pass *pass = passes;
  for (; is_good && pass->run != code_where_made; pass++) is_good = pass->run(program, &options);
  uint64_t before = is_good ? planned_bytes(program, &options) : 0;
  const char *printed = is_good ? print_program(program, arena) : "";
  is_good = is_good && code_where_made(program, &options) && check_program(program, pass->name) && planned_bytes(program, &options) <= before;
  uint32_t all = 0, own = is_good ? count_rows(program, &all) : 0;
  is_good &= own > 0 || !strcmp(printed, print_program(program, arena));
  if (!is_good) printf("# %s\n", text);
  *made += own;
  *rows += all;
  program_destroy(program);
  arena_destroy(arena);
  return is_good;
}

int
main(void)
{
  uint32_t made = 0, rows = 0, good = 0;
  enum { MODELS = 120 };
  for (int i = 0; i < MODELS; i++) good += try_model(&made, &rows);
  ok(good == MODELS, "%u of %d arenas are no larger", good, MODELS);
  ok(made > rows / 3, "coders make %u of %u rows, those of evaluation included", made, rows);
  return tap_done();
}
