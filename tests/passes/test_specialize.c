/* test_specialize.c: what specialize makes follows from the graph, not from how a file tells it. */
#include "../../passes/passes.h"
#include "../runtime/tap.h"

#include <string.h>

PassFunction specialize;

#define NET(properties, nodes) \
  "<ir_version: 8, opset_import: [\"\" : 17]" properties ">\n" \
  "net (float[2,3,4,4] x) => (float[2,3,4,4] y)\n" \
  "<float[3] s = [\"location\" : \"none\"], float[3] b = [\"location\" : \"none\"],\n" \
  " float[3] m = [\"location\" : \"none\"], float[3] v = [\"location\" : \"none\"],\n" \
  " float[3,3,1,1] w1 = [\"location\" : \"none\"], float[3,3,1,1] w2 = [\"location\" : \"none\"]>\n" \
  "{\n" nodes "}\n"
#define LEFT "  [left] l = Conv (x, w1)\n"
#define RIGHT "  [right] r = Conv (x, w2)\n"
#define NORM "  [norm] n, rm, rv = BatchNormalization <training_mode = 1> (r, s, b, m, v)\n"
#define SUM "  [sum] y = Add (l, n)\n"
#define DEAD "  [dead] d = Relu (l)\n"

/* The names of the nodes in order, or NULL. */
static const char *
order_after(const char *text, Arena *arena)
{
  Options options = {.scheme = "actnnc"};
  Program *program = parse_program("net", text, strlen(text), diagnostics_create(arena));
  const char *names = NULL;
  if (program && specialize(program, &options) && check_program(program, "specialize")) {
    names = "";
    for (uint32_t i = 0; i < program->order_count; i++)
      names = arena_format(arena, "%s %s", names, node_at(program, program->order[i])->name);
  }
  if (program) program_destroy(program);
  return names;
}

static void
test_order(const char *text, const char *wanted, const char *what)
{
  Arena *arena = arena_create();
  const char *names = order_after(text, arena);
  ok(names && !strcmp(names, wanted), "%s:%s", what, names ? names : " refused");
  arena_destroy(arena);
}

/* A chain of additions whose file begins at its end would be no graph; one of many nodes must not recurse. */
static void
test_chain(void)
{
  enum { LENGTH = 200000 };
  Arena *arena = arena_create();
  Program *program = program_create("chain", diagnostics_create(arena));
  Shape shape = shape_of(1, (const int64_t[]){2});
  ValueId at = add_value(program, "x", VALUE_INPUT, ACTNN_F32, shape);
  for (int i = 0; i < LENGTH; i++) {
    ValueId next = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape);
    add_node(program, PHASE_FORWARD, "", "Relu", "", &at, 1, &next, 1);
    at = next;
  }
  program->outputs = &at;
  program->output_count = 1;
  order_by_outputs(program);
  bool is_same = program->order_count == LENGTH;
  for (uint32_t i = 0; i < program->order_count; i++) is_same &= program->order[i] == i;
  ok(is_same, "a chain of %d nodes keeps its order", (int)LENGTH);
  program_destroy(program);
  arena_destroy(arena);
}

int
main(void)
{
  test_order(NET("", LEFT RIGHT NORM SUM), " left right norm sum", "an order as outputs need it stays");
  test_order(NET("", RIGHT NORM LEFT SUM), " left right norm sum", "operands come from left to right");
  test_order(NET("", RIGHT LEFT DEAD NORM SUM), " left right norm sum dead", "what no output needs comes last");
  test_order(NET(", metadata_props: [\"actnn.frozen\" : \"m\"]", LEFT RIGHT NORM SUM), " left right norm sum",
             "a running mean that is said to be frozen is a state");
  test_chain();
  return tap_done();
}
