/* test_formula.c: gradient formulas make the nodes that they spell, and a mistake in one is told once, with its place. */
#include "../../src/formula.h"
#include "../../src/gradient.h"
#include "../../src/operators.h"
#include "reading.h"

/* Nodes that formulas are read for, and a result without a gradient beside one that has one. */
static const char text[] =
    "<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 1]>\n"
    "g (float[4,6] x, float[4,6] z, float[6,5] w, int64[3] labels) => (float[4,6] y)\n"
    "<int64[2] parts = {2, 4}>\n"
    "{\n"
    "  [one] y = Elu <alpha = 0.5> (x)\n"
    "  [two] a, b = Split <axis = -1> (x, parts)\n"
    "  [three] c = Concat <axis = -1> (a, b, a)\n"
    "  [four] d = actnn.Product (x, w)\n"
    "  [five] l = SoftmaxCrossEntropyLoss (x, labels)\n"
    "  [six] q = Concat <axis = 0> (x, z)\n"
    "}\n";
enum { ONE, TWO, THREE, FOUR, FIVE, SIX };

typedef struct Trial {
  Reading *reading;
  Program *program; /* the reading's */
  ValueId *gradient;
  uint32_t first_made; /* nodes before are the text's */
} Trial;

/* Gradients of the results of nodes: y's is x, a's too, all others are absent. */
static Trial
begin(void)
{
  Trial trial = {.reading = read_text(text, strlen(text))};
  Program *program = trial.program = trial.reading->program;
  for (uint32_t i = 0; i < program->node_count; i++)
    if (i != FIVE) infer_node(program, i);
  trial.gradient = arena_array(trial.reading->arena, program->value_count + 64, sizeof *trial.gradient);
  for (uint32_t i = 0; i < program->value_count + 64; i++) trial.gradient[i] = NO_VALUE;
  trial.gradient[result_id(node_at(program, ONE), 0)] = program->inputs[0];
  trial.gradient[result_id(node_at(program, TWO), 0)] = result_id(node_at(program, TWO), 0);
  trial.first_made = program->node_count;
  return trial;
}

/* The operators of the nodes that were made, in order. */
static const char *
made_nodes(const Trial *trial)
{
  const char *names = "";
  for (uint32_t i = trial->first_made; i < trial->program->node_count; i++)
    names = arena_format(trial->reading->arena, "%s%s%s", names, *names ? " " : "", node_at(trial->program, i)->operator_name);
  return names;
}

/* ---- what formulas denote ---------------------------------------------------------------------------- */

static const struct {
  NodeId node;
  const char *formula, *nodes;
  bool is_number;
  double number;
} meanings[] = {
    {ONE, "2 + 3 * 4", "", true, 14},
    {ONE, "10 - 4 - 3", "", true, 3},
    {ONE, "-1 / -(4)", "", true, 0.25},
    {ONE, "alpha * 2", "", true, 1},
    {ONE, "x + x - x", "Add Sub", false, 0},
    {ONE, "x / 2 * alpha", "Div Mul", false, 0},
    {ONE, "2 / x", "Div", false, 0},
    {ONE, "-x", "Neg", false, 0},
    {ONE, "dy", "", false, 0},
    {ONE, "Neg(dy*x)", "Mul Neg", false, 0},
    {TWO, "num_outputs ? input : 7", "", true, 7},
    {TWO, "axis ? 5 : Neg(input)", "", true, 5},
    {TWO, "(axis ? 5 : Neg(input))", "", true, 5},
    {TWO, "(num_outputs ? Neg((input)) : axis) + 2", "", true, 3},
    {TWO, "Mul(axis ? 2 : Neg(input), input)", "Mul", false, 0},
    {TWO, "Concat(doutputs*; axis=axis ? -1 : 0)", "ConstantOfShape Concat", false, 0},
    {TWO, "Concat(doutputs*, doutputs*; axis=-1)", "ConstantOfShape ConstantOfShape Concat", false, 0},
    {TWO, "Concat(d_all*; axis=-1)", "ConstantOfShape Concat", false, 0},
    {THREE, "offset(inputs)", "", true, 6},
    {SIX, "offset(inputs)", "", true, 4},
    {FOUR, "bias", "", false, 0},
    {FOUR, "shape(bias)", "", false, 0},
    {FOUR, "shape(transA)", "", false, 0},
    {FIVE, "doutput * 2", NULL, false, 0},
};

static void
test_meanings(void)
{
  for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
    Trial trial = begin();
    if (meanings[i].node == FIVE) { /* a shape that the loss takes, so that its result is known */
      set_operand(trial.program, FIVE, 1, trial.program->inputs[3]);
      value_at(trial.program, trial.program->inputs[3])->shape = shape_of(1, (const int64_t[]){4});
      infer_node(trial.program, FIVE);
    }
    if (meanings[i].node == THREE) set_int(trial.program, THREE, "axis", -1); /* as in a text that nobody looked at */
    Formula formula = {.program = trial.program, .node = meanings[i].node, .cursor = meanings[i].formula, .gradient = trial.gradient,
                       .variadic = meanings[i].node == SIX ? 1 : 2};
    Term term = formula_expression(&formula);
    const char *wanted = meanings[i].nodes ? meanings[i].nodes : "ConstantOfShape Mul", *nodes = made_nodes(&trial);
    bool is_absent = meanings[i].node == FOUR;
    ok(!formula.has_failed && !*formula.cursor && !strcmp(nodes, wanted) && term.is_number == meanings[i].is_number
           && (term.is_number ? term.number == meanings[i].number : (term.value == NO_VALUE) == is_absent),
       "'%s' is %g or the nodes '%s'", meanings[i].formula, meanings[i].number, nodes);
    forget(trial.reading);
  }
}

/* ---- mistakes ------------------------------------------------------------------------------------------ */

static const struct {
  NodeId node;
  const char *formula, *message;
} mistakes[] = {
    {ONE, "@", "gradient formula: expected an operand at '@'"},
    {ONE, "(x", "expected ) at ''"},
    {ONE, "(@", "expected an operand at '@'"},
    {ONE, "@ + x", "expected an operand at '@ + x'"},
    {ONE, "x + @ * x", "expected an operand at '@ * x'"},
    {ONE, "x * nothing * x", "unknown name before at '* x'"},
    {ONE, "dnothing", "unknown name before at ''"},
    {ONE, "a_name_that_is_longer_than_any_operator_attribute_or_operand_of_the_table_is", "unknown name before at ''"},
    {ONE, "Nonsense(x)", "unknown operator at ''"},
    {ONE, "Neg(x", "expected ) at ''"},
    {ONE, "Neg(@) * 2", "expected an operand at '@) * 2'"},
    {ONE, "Neg(x; axis)", "expected = at ')'"},
    {ONE, "Neg(x; axis=x)", "expected a number at ')'"},
    {ONE, "Neg(x; a=1, b=1, c=1, d=1, e=1, f=1, g=1, h=1, i=1)", "expected a number at ')'"},
    {ONE, "Nonsense(x; a=1)", "unknown operator at ''"},
    {ONE, "shape x", "unknown name before at 'x'"},
    {ONE, "shape(x", "expected ) at ''"},
    {ONE, "offset()", "expected (name) at ')'"},
    {ONE, "offset(x", "expected (name) at ''"},
    {ONE, "x ? 1 : 2", "a condition must be an attribute at ' 1 : 2'"},
    {ONE, "1 ? 2", "expected : at ''"},
    {ONE, "0 ? 2", "expected : at ''"},
    {ONE, "0 ? 2, 3", "expected : at ', 3'"},
    {ONE, "0 ? 2; 3", "expected : at '; 3'"},
    {TWO, "doutputs*;", "expected an operand at ';'"},
};

static void
test_mistakes(void)
{
  for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
    Trial trial = begin();
    Formula formula = {.program = trial.program, .node = mistakes[i].node, .cursor = mistakes[i].formula, .gradient = trial.gradient};
    formula_expression(&formula);
    if (!ok(formula.has_failed && trial.reading->diagnostics->errors == 1 && strstr(messages_of(trial.reading), mistakes[i].message)
                && strstr(messages_of(trial.reading), "this is a mistake in the operator table"),
            "'%s' is told once: %s", mistakes[i].formula, mistakes[i].message))
      printf("# %s\n", messages_of(trial.reading));
    forget(trial.reading);
  }
}

/* Shape rules have their own words. */
static void
test_shapes(void)
{
  static const struct { NodeId node; const char *formula, *message; } cases[] = {
      {ONE, "MatMul(x, x)", "4,6"}, {FIVE, "log_prob", "labels"}, {FOUR, "Neg(bias)", "operand 'x' is missing"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Trial trial = begin();
    Formula formula = {.program = trial.program, .node = cases[i].node, .cursor = cases[i].formula, .gradient = trial.gradient};
    formula_expression(&formula);
    if (!ok(formula.has_failed && trial.reading->diagnostics->errors == 1 && strstr(messages_of(trial.reading), cases[i].message),
            "'%s' does not fit, and is refused by the rule of shapes", cases[i].formula))
      printf("# %s\n", messages_of(trial.reading));
    forget(trial.reading);
  }
}

/* No operator has more operands than there is room for, and a formula cannot write beyond. */
static void
test_many_operands(void)
{
  for (int expands = 0; expands < 2; expands++) {
    Trial trial = begin();
    Arguments arguments;
    const char *list = "(";
    int count = ACTNN_MAX_OPERANDS / (expands ? 2 : 1) + 1;
    for (int i = 0; i < count; i++) list = arena_format(trial.reading->arena, "%s%s%s", list, i ? ", " : "", expands ? "doutputs*" : "input");
    Formula formula = {.program = trial.program, .node = TWO, .cursor = arena_format(trial.reading->arena, "%s)", list),
                       .gradient = trial.gradient};
    formula_arguments(&formula, "Concat", &arguments);
    ok(arguments.count == ACTNN_MAX_OPERANDS && formula.has_failed == !expands, "%s: no more than %d operands are taken",
       expands ? "all gradients" : "operands", ACTNN_MAX_OPERANDS);
    forget(trial.reading);
  }
  Trial trial = begin();
  Arguments arguments;
  Formula formula = {.program = trial.program, .node = ONE, .cursor = "x", .gradient = trial.gradient};
  formula_arguments(&formula, "Neg", &arguments);
  ok(formula.has_failed && !arguments.count, "operands without a parenthesis are refused");
  forget(trial.reading);
}

/* ---- statements ---------------------------------------------------------------------------------------- */

#define CHAIN \
  "<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 1]>\n" \
  "g (float[4] x, float[4] s) => (float[4] y)\n" \
  "<float[4] w = {1, 2, 3, 4}>\n" \
  "{\n" \
  "  a = Mul (x, w)\n" \
  "  [middle] b = %s\n" \
  "  y = ReduceSum <keepdims = 0> (b)\n" \
  "}\n"
static const char prelu[] = "PRelu (a, s)", dropout[] = "Dropout (a)", concat[] = "Concat <axis = 0> (s, a)";

/* The gradient of w where the formula of the node in the middle is another. PRelu's operands are x and slope, Dropout's data and the optional
 * ratio, Concat's inputs. */
static const struct {
  const char *middle;
  const char *formula, *message; /* NULL: none */
  bool has_gradient;
} statements[] = {
    {prelu, "x = dy", NULL, true},
    {prelu, "", NULL, false},
    {prelu, "slope = x + ; x = dy", NULL, true}, /* slope needs no gradient: what its would be is passed over */
    {prelu, "x = slope ? 1 : 2", "a condition must be an attribute", false},
    {prelu, "slope = slope ? 1 : (2; 3); x = dy", NULL, true},
    {prelu, "q = dy", "unknown target before at ' = dy'", false},
    {prelu, "x dy", "expected = at 'dy'", false},
    {prelu, "x, slope = dy", "expected ( at ''", false},
    {prelu, "x, slope = Nonsense(dy)", "unknown operator", false},
    {prelu, "x, x, x, x, x, x, x, x, x = Neg(dy)", "unknown target before", false},
    {prelu, "x = @; x = dy", "expected an operand", false},
    {prelu, "x = dy; slope = dy; x = dy", NULL, true},
    {dropout, "ratio = doutput; data = doutput", NULL, true},
    {dropout, "data = ratio", NULL, false}, /* the gradient is an operand that is absent */
    {concat, "inputs = Nonsense(dy)", "unknown operator", false},
};

static void
test_statements(void)
{
  for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
    Reading *reading = start_reading();
    const char *text_of = arena_format(reading->arena, CHAIN, statements[i].middle);
    Program *program = go_on_reading(reading, text_of, strlen(text_of));
    ValueId w = NO_VALUE, gradient = NO_VALUE;
    for (ValueId id = 0; id < program->value_count; id++)
      if (value_at(program, id)->name && !strcmp(value_at(program, id)->name, "w")) w = id;
    for (uint32_t k = 0; k < program->node_count; k++) infer_node(program, k);
    Operator other = *node_at(program, 1)->operator;
    other.gradient = statements[i].formula;
    node_at(program, 1)->operator = &other;
    bool is_good = append_gradients(program, &w, 1, result_id(node_at(program, 2), 0), &gradient);
    bool is_right = statements[i].message ? !is_good && reading->diagnostics->errors == 1 && strstr(messages_of(reading), statements[i].message)
                                          : is_good && (gradient != NO_VALUE) == statements[i].has_gradient;
    if (!ok(is_right, "the gradient '%s' is %s", statements[i].formula, statements[i].message ? "refused" : "taken"))
      printf("# %s\n", messages_of(reading));
    forget(reading);
  }
}

int
main(void)
{
  test_meanings();
  test_mistakes();
  test_shapes();
  test_many_operands();
  test_statements();
  return tap_done();
}
