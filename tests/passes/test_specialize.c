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

/* Twins: one normalization applied twice. The second goes on from the statistics that the first leaves, and leaves the variables'. */
static void
test_twins(void)
{
  static const char text[] = NET("", LEFT RIGHT NORM "  [twin] t, tm, tv = BatchNormalization <training_mode = 1> (l, s, b, m, v)\n"
                                     "  [sum] y = Add (n, t)\n");
  Arena *arena = arena_create();
  Options options = {.scheme = "actnnc"};
  Program *program = parse_program("net", text, strlen(text), diagnostics_create(arena));
  const Node *first = NULL, *second = NULL;
  bool is_legal = program && specialize(program, &options) && check_program(program, "specialize");
  for (uint32_t i = 0; is_legal && i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (!strcmp(node->operator_name, "BatchNorm")) *(first ? &second : &first) = node;
  }
  ok(is_legal && second && operand_id(second, 3) == result_id(first, 1) && operand_id(second, 4) == result_id(first, 2)
         && value_at(program, result_id(first, 1))->updates == NO_VALUE
         && value_at(program, result_id(second, 1))->updates == operand_id(first, 3)
         && value_at(program, result_id(second, 2))->updates == operand_id(first, 4),
     "a normalization that is applied twice moves its statistics twice");
  if (program) program_destroy(program);
  arena_destroy(arena);
}

/* Constants that an Identity passes on are kept once, however long the way. */
static void
test_shared_constants(void)
{
  static const char text[] = NET("", "  k = Constant <value_floats = [1.0, 2.0, 3.0, 4.0]> ()\n  k1 = Identity (k)\n  k2 = Identity (k1)\n"
                                     "  a = Add (x, k)\n  c = Add (a, k2)\n  [sum] y = Mul (c, k1)\n");
  Arena *arena = arena_create();
  Options options = {.scheme = "actnnc"};
  Program *program = parse_program("net", text, strlen(text), diagnostics_create(arena));
  ValueId constant = NO_VALUE;
  bool is_same = program && specialize(program, &options) && check_program(program, "specialize") && program->order_count == 3;
  for (uint32_t i = 0; is_same && i < program->order_count; i++) {
    ValueId read = operand_id(node_at(program, program->order[i]), 1);
    if (i && read != constant) is_same = false;
    constant = read;
  }
  ok(is_same, "identities of a constant are that constant");
  if (program) program_destroy(program);
  arena_destroy(arena);
}

int
main(void)
{
  test_order(NET("", LEFT RIGHT NORM SUM), " left right norm sum", "an order as outputs need it stays");
  test_order(NET("", RIGHT NORM LEFT SUM), " left right norm sum", "operands come from left to right");
  test_order(NET("", RIGHT LEFT DEAD NORM SUM), " left right norm sum dead", "what no output needs comes last");
  test_order(NET("", "  [shape] = Shape (x)\n" LEFT "  [none] = Relu (l)\n" RIGHT NORM "  [none2] = Add (s, s)\n" SUM), " left right norm sum",
             "what has no result goes");
  test_order(NET(", metadata_props: [\"actnn.frozen\" : \"m\"]", LEFT RIGHT NORM SUM), " left right norm sum",
             "a running mean that is said to be frozen is a state");
  test_chain();
  test_twins();
  test_shared_constants();
  return tap_done();
}
