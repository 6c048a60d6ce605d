/* test_program_text.c: programs read from text and printed again, mistakes in texts, and the rules of programs. */
#include "../../passes/passes.h"
#include "../runtime/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 1]>\n"

typedef struct Reading {
  Arena *arena;
  Diagnostics *diagnostics;
  char *messages;
  size_t message_bytes;
  Program *program;
} Reading;

/* The stream keeps pointers into it, so a reading stays where it is. */
static Reading *
read_text(const char *text, size_t length)
{
  Reading *reading = calloc(1, sizeof *reading);
  reading->arena = arena_create();
  reading->diagnostics = diagnostics_create(reading->arena);
  reading->diagnostics->stream = open_memstream(&reading->messages, &reading->message_bytes);
  reading->program = parse_program("text", text, length, reading->diagnostics);
  fflush(reading->diagnostics->stream);
  return reading;
}

static void
forget(Reading *reading)
{
  program_destroy(reading->program);
  fclose(reading->diagnostics->stream);
  free(reading->messages);
  arena_destroy(reading->arena);
  free(reading);
}

static const Value *
value_named(const Program *program, const char *name)
{
  for (ValueId id = 0; id < program->value_count; id++)
    if (value_at(program, id)->name && !strcmp(value_at(program, id)->name, name)) return value_at(program, id);
  static const Value nothing = {.producer = NO_NODE, .drawn_from = NO_VALUE, .updates = NO_VALUE};
  return &nothing;
}

/* ---- what is printed reads back ------------------------------------------------------------------ */

static const char ordinary[] =
    "agraph (float[N, 128] X, float[128, 10] W, float[10] B = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1.5}) => (float[N, 10] C)\n"
    "{\n  T = MatMul(X, W)\n  S = Add(T, B)\n  C = Softmax(S)\n}\n";

static const char rich[] =
    "<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 1], producer_name: \"hand\", metadata_props: [\n"
    " \"other\" : \"ignored\", \"actnn.loss\" : \"loss\", \"actnn.updates\" : \"w2=w 'b new'=b\", \"actnn.state\" : \"'the \\\\' state'\",\n"
    " \"actnn.blocked\" : \"'a b'\", \"actnn.frozen\" : \"w\", \"actnn.loss_kind\" : \"mse\", \"actnn.drawn_from\" : \"w=d\",\n"
    " \"actnn.constant\" : \"c\", \"actnn.label\" : \"label\", \"actnn.trainer_inputs\" : \"lr\", \"actnn.learning_rate\" : \"lr\",\n"
    " \"actnn.saves\" : \"complete 'a b' y normal dither rectified 0 0 4092 128 900 0.1 adaptive 'it is linear'\n"
    "  '' y even stochastic plain -1e-300 2.5 5 18446744073709551552 18446744073709551615 1e300 fixed ''\n"
    "  z '' fixed dither plain -0.17 1.13 1 0 0 0 fixed why\n  w z masked dither plain 0 0 2 64 256 3 adaptive why\n"
    "  u loss square stochastic plain 0 0 4095 64 256 3 redrawn why\", \"actnn.stash\" : \"y\"]>\n"
    "\"na me\" (float[\"N x\",3,H,?] \"x.1\", float[] z, int64[64] label, untyped, float lr) => (float loss, u)\n"
    "<float[2] w = {1e-45, -0.0}, float[2,3,1] \"a b\", float16[2] h = {1,2}, double s = {3.141592653589793},\n"
    " float[3] i = {inf,-inf,nan}, int64[2] shape = {2, -3}, uint64 big = {18446744073709551615}, float c = {0.1},\n"
    " int64 small = {-9223372036854775808}, float[2] b = {0.1, 3.4028235e38}, bool[2] bb = {1,0}, float[0] e = {},\n"
    " float[2000] gone = [\"location\" : \"omitted\", \"length\" : \"8000\", \"crc32\" : \"0000abcd\"],\n"
    " float \"the ' state\" = [\"location\" : \"none\"], uint8[2] y> {\n"
    " d = RandomNormal<shape = [2], phase = \"initialize\">()\n"
    " [n] \"a b\" = actnn.Foo<l=[1,2], e: ints = [], f = 1.5, g=[0.1,2,nan], h=0.1000000000000000055511151231257827,\n"
    "   q=\"q\\\"uo\\\\te\", ss=[\"a\",\"b\"], se: strings=[], t = float[2] {1,2}, u: float = 3>(\"x.1\", \"\", w)  # hi\n"
    " [\"a/b\"] y = Relu(\"a b\")\n v1, , v4 = com.micro.Split(,z,) <axis=-1>\n"
    " loss = Loss(v1, label, shape, i, big, small, b, bb, h, s, c)\n"
    " g = Grad<phase = \"backward\", origin = \"loss\">(loss)\n"
    " w2 = Sgd<phase = \"update\", origin = \"g\", k = \"x\">(w, g)\n"
    " \"b new\" = Sgd<phase = \"update\", came_from = \"a.b.Conv /c/Conv ' x\">(b, g)\n"
    " u = mydom.fun<alpha = 2.0>(v4)\n}\n"
    "<domain: \"mydom\", opset_import: [\"\" : 17]> fun <alpha, beta: float = 1.5, gamma> (X) => (Y)\n"
    "{ t = Elu<alpha: float = @alpha, beta: float = @beta, gamma: float = @gamma>(X) [lab] Y = Relu(t) }\n";

static void
check_round_trip(const char *what, const char *text)
{
  Reading *first = read_text(text, strlen(text));
  if (!ok(first->program != NULL, "%s: is read", what)) {
    printf("# %s\n", first->messages);
    forget(first);
    return;
  }
  const char *printed = print_program(first->program, first->arena);
  Reading *second = read_text(printed, strlen(printed));
  if (!ok(second->program != NULL, "%s: what is printed is read", what)) printf("# %s\n", second->messages);
  if (second->program)
    ok(!strcmp(print_program(second->program, second->arena), printed), "%s: and prints the same", what);
  forget(first);
  forget(second);
}

static void
test_ordinary(void)
{
  Reading *reading = read_text(ordinary, strlen(ordinary));
  const Program *program = reading->program;
  if (ok(program != NULL, "an ordinary model is read")) {
    ok(program->input_count == 2, "an input with data is no input");
    ok(value_named(program, "X")->kind == VALUE_INPUT && value_named(program, "W")->kind == VALUE_INPUT, "inputs");
    const Value *b = value_named(program, "B");
    ok(b->kind == VALUE_PARAMETER && b->data_bytes == 40 && ((const float *)b->data)[9] == 1.5f, "a float initializer");
    ok(!strcmp(value_named(program, "C")->symbol[0], "N") && value_named(program, "C")->is_output, "a symbolic output");
    ok(program->order_count == 3 && node_at(program, 1)->line == 4, "nodes know their line");
  }
  forget(reading);
}

/* Every word of `rich` about saves. */
static void
check_saves(const Program *program)
{
  static const actnn_spacing spacings[] = {ACTNN_NORMAL_LEVELS, ACTNN_EVEN_LEVELS, ACTNN_FIXED_LEVELS, ACTNN_MASKED_LEVELS,
                                           ACTNN_SQUARE_LEVELS};
  const SaveTable *saves = program->saves;
  if (!ok(saves && saves->count == 5 && saves->is_complete, "five saves, and there are no others")) return;
  const Save *save = saves->save;
  bool is_right = true;
  for (int i = 0; i < 5; i++) is_right &= save[i].spacing == spacings[i];
  ok(is_right, "all spacings");
  ok(save[0].dither && save[0].is_rectified && save[0].adaptation == ACTNN_ADAPTS_BY_READERS && !save[1].dither && !save[1].is_rectified
         && save[1].adaptation == ACTNN_KEEPS_ITS_SHARE && save[4].adaptation == ACTNN_ADAPTS_BY_REDRAWS,
     "rounding, rectifiers, and what is adaptive");
  ok(save[0].choices == 4092 && save[0].bytes == 128 && save[0].uncompressed == 900 && save[0].weight == 0.1
         && !strcmp(save[0].why, "it is linear"),
     "choices, bytes, weight and the reason of a save");
  ok(save[1].value == NO_VALUE && save[1].low == -1e-300 && save[1].high == 2.5 && save[1].bytes == 18446744073709551552u
         && save[1].uncompressed == UINT64_MAX && save[1].weight == 1e300 && !*save[1].why,
     "numbers to the last bit, and a value that is gone");
  ok(save[2].stash == NO_VALUE && save[2].low == -0.17 && save[2].high == 1.13, "a fixed range");
}

/* Facts that only the second reading can lose. */
static void
test_facts(void)
{
  Reading *first = read_text(rich, strlen(rich));
  if (!ok(first->program != NULL, "a text with all facts is read")) {
    printf("# %s\n", first->messages);
    forget(first);
    return;
  }
  const char *printed = print_program(first->program, first->arena);
  Reading *second = read_text(printed, strlen(printed));
  const Program *program = second->program;
  if (ok(program != NULL, "and read again")) {
    const Value *w = value_named(program, "w"), *i = value_named(program, "i"), *gone = value_named(program, "gone");
    ok(w->is_frozen && w->drawn_from != NO_VALUE && value_at(program, w->drawn_from) == value_named(program, "d"), "links");
    ok(((const float *)w->data)[0] == 1e-45f && signbit(((const float *)w->data)[1]), "the smallest float, and -0");
    ok(isinf(((const float *)i->data)[0]) && isnan(((const float *)i->data)[2]), "inf and nan");
    ok(!gone->data && gone->data_bytes == 8000 && gone->data_checksum == 0xabcd, "omitted data");
    ok(value_named(program, "the ' state")->kind == VALUE_STATE, "kinds");
    ok(value_named(program, "c")->kind == VALUE_CONSTANT, "a float constant");
    ok(value_named(program, "a b")->layout == ACTNN_BLOCKED, "layouts");
    ok(value_named(program, "y")->kind == VALUE_STASH && value_named(program, "y")->layout == ACTNN_STASH, "a stash");
    ok(program->loss_kind == ACTNN_LOSS_MSE && value_at(program, program->loss) == value_named(program, "loss"), "the loss");
    ok(program->input_count == 4 && program->learning_rate != NO_VALUE, "an input of the trainer is not the model's");
    check_saves(program);
    const Node *foo = node_at(program, value_named(program, "a b")->producer);
    ok(float_attribute(foo, "h", 0) == 0.1 && float_attribute(foo, "f", 0) == 1.5, "real attributes");
    ok(foo->operand_count == 3 && foo->operands[1] == NO_VALUE, "an absent operand");
    ok(value_named(program, "v1")->producer != NO_NODE, "a value that is really called v1 keeps its name");
    const Node *sgd = node_at(program, value_named(program, "b new")->producer);
    ok(sgd->phase == PHASE_UPDATE && sgd->origin != NO_NODE
           && !strcmp(node_at(program, sgd->origin)->name, "/c/Conv ' x") && !strcmp(node_at(program, sgd->origin)->domain, "a.b"),
       "the origin of a node, though it is gone");
    const Node *elu = node_at(program, value_named(program, "u")->producer);
    const Node *inner = node_at(program, operand_value(program, elu, 0)->producer);
    ok(!strcmp(inner->operator_name, "Elu") && float_attribute(inner, "alpha", 0) == 2
           && float_attribute(inner, "beta", 0) == 1.5 && !find_attribute(inner, "gamma"),
       "a function is inlined with its attributes");
  }
  forget(first);
  forget(second);
}

/* ---- mistakes ------------------------------------------------------------------------------------ */

#define SAVE_OF(words) \
  "<metadata_props: [\"actnn.saves\" : \"x y " words "\"]> g (float x) => (float y) { y = Relu(x) }"

static const struct {
  const char *text, *message;
} mistakes[] = {
    {"", "1:1: error: expected the name of the graph"},
    {HEADER "g (float x) => (float y) { y = Relu(z) }", "2:37: error: 'z' is not an input"},
    {HEADER "g (float x) => (float y) { y = Relu(x) y = Relu(x) }", "'y' is defined twice"},
    {HEADER "g (float x) => (float y) { x = Relu(x) }", "'x' is defined twice"},
    {HEADER "g (float x, float x) => (float y) { y = Relu(x) }", "'x' is defined twice"},
    {HEADER "g (float x) => (float y) { }", "'y' is not an input"},
    {HEADER "g (seq(float) x) => (float y) { }", "values of type seq are not supported"},
    {HEADER "g (float[1,1,1,1,1,1,1,1,1] x) => (float y) { }", "at most 8 dimensions"},
    {HEADER "g (float[99999999999999999999] x) => (float y) { }", "does not fit into 64 bits"},
    {HEADER "g (float[-1] x) => (float y) { }", "a dimension is at least 0"},
    {HEADER "g () => (float y) <float[2] w = {1}> { y = Relu(w) }", "has 2 elements, here are 1"},
    {HEADER "g () => (float y) <float[2] w = {1,2,3}> { y = Relu(w) }", "has 2 elements, here are at least 3"},
    {HEADER "g () => (float y) <float[9223372036854775807, 9] w = {1}> { y = Relu(w) }", "fixed dimensions"},
    {HEADER "g () => (float y) <float[N] w = {1}> { y = Relu(w) }", "fixed dimensions"},
    {HEADER "g () => (float y) <int8 w = {128}> { y = Relu(w) }", "does not fit into int8"},
    {HEADER "g () => (float y) <float w = {1e999}> { y = Relu(w) }", "too large"},
    {HEADER "g () => (float y) <float w = {1e39}> { y = Relu(w) }", "too large for float"},
    {HEADER "g () => (float y) <float w = [\"location\" : \"w.bin\"]> { y = Relu(w) }", "data in other files"},
    {HEADER "g (float x) => (float y) { y = If<then_branch = g () => (float z) {}>(x) }", "graphs are not supported"},
    {HEADER "g (float x) => (float y) { y = Relu<a = []>(x) }", "needs the kind of its elements"},
    {HEADER "g (float x) => (float y) { y = Relu<a = [1, \"b\"]>(x) }", "not a mixture"},
    {HEADER "g (float x) => (float y) { y = Relu<a = 1, a = 2>(x) }", "'a' is given twice"},
    {HEADER "g (float x) => (float y) { y = Relu<a = @b>(x) }", "outside of one"},
    {HEADER "g (float x) => (float y) { y = Relu(x)", "expected '}', found the end"},
    {HEADER "g (float x) => (float y) { y = Relu(\"x) }", "this string does not end"},
    {HEADER "g (float x) => (float y) { y = Relu(x) $ }", "'$' has no meaning"},
    {"<ir_version: \"8\"> g () => () {}", "expected an integer, found '\"8\"'"},
    {"<metadata_props: [\"actnn.loss\" : \"nothing\"]> g () => () {}", "names 'nothing', which is not in the program"},
    {"<metadata_props: [\"actnn.lost\" : \"x\"]> g () => () {}", "is not a fact of programs"},
    {"<metadata_props: [\"actnn.text\" : \"7\"]> g () => () {}", "of another version"},
    {"<metadata_props: [\"actnn.saves\" : \"x y 2\"]> g () => () {}", "a save is"},
    {SAVE_OF("uneven dither plain 0 0 4 64 256 1 fixed why"), "are even, fixed, masked, square or normal"},
    {SAVE_OF("even ditther plain 0 0 4 64 256 1 fixed why"), "a save is: value stash spacing dither|stochastic"},
    {SAVE_OF("even dither rectify 0 0 4 64 256 1 fixed why"), "a save is: value stash spacing dither|stochastic"},
    {SAVE_OF("even dither plain 0 0 4 64 256 1 moving why"), "a save is: value stash spacing dither|stochastic"},
    {SAVE_OF("even dither plain low 0 4 64 256 1 fixed why"), "of a save are numbers"},
    {SAVE_OF("even dither plain 0 inf 4 64 256 1 fixed why"), "of a save are numbers"},
    {SAVE_OF("even dither plain 0 0 4096 64 256 1 fixed why"), "of a save are numbers"},
    {SAVE_OF("even dither plain 0 0 -1 64 256 1 fixed why"), "of a save are numbers"},
    {SAVE_OF("even dither plain 0 0 4 64k 256 1 fixed why"), "of a save are numbers"},
    {SAVE_OF("even dither plain 0 0 4 64 256 -1 fixed why"), "of a save are numbers"},
    {SAVE_OF("even dither plain 0 0 4 64 256 nan fixed why"), "of a save are numbers"},
    {HEADER "g (float x) => (float y) { y = m.f(x) } <domain: \"m\"> f (X) => (Y) { Y = m.f(X) }", "too deeply"},
    {HEADER "g (float x) => (float y) { y = m.f(x, x) } <domain: \"m\"> f (X) => (Y) { Y = Relu(X) }", "more operands"},
    {HEADER "g (float x) => (float y) { y = m.f(x) } <domain: \"m\"> f (X) => (Y) { Z = Relu(X) }", "'Y' is not an input"},
};

static void
test_mistakes(void)
{
  for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
    Reading *reading = read_text(mistakes[i].text, strlen(mistakes[i].text));
    bool is_right = !reading->program && reading->messages && strstr(reading->messages, mistakes[i].message);
    if (!ok(is_right, "says: %s", mistakes[i].message)) printf("# got: %s\n", reading->messages);
    forget(reading);
  }
  static const char nul[] = HEADER "g (float x) => (float y) { y = Relu(\0x) }";
  Reading *reading = read_text(nul, sizeof nul - 1);
  ok(!reading->program && strstr(reading->messages, "byte 0x00"), "a NUL byte is no end of the text");
  forget(reading);
}

/* Every beginning of a text is a text that must be refused or read, never anything else. */
static void
test_beginnings(void)
{
  unsigned read = 0;
  for (size_t length = 0; length < strlen(rich); length++) {
    char *text = malloc(length + 1); /* of its own, so that reading beyond it shows */
    memcpy(text, rich, length);
    Reading *reading = read_text(text, length);
    read += reading->program != NULL || !reading->diagnostics->errors;
    forget(reading);
    free(text);
  }
  ok(read == 3, "of all beginnings of a text only three are read: the graph alone, and all but the last newline");
}

/* Values without names are numbered in the order of their definition, past names in use. */
static void
test_numbers(void)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  Program *program = program_create("numbers", diagnostics);
  int64_t dim = 2;
  ValueId x = add_value(program, "v2", VALUE_INPUT, ACTNN_F32, shape_of(1, &dim));
  ValueId late = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape_of(1, &dim));
  ValueId early = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape_of(1, &dim));
  program->inputs = &x;
  program->input_count = 1;
  add_node(program, PHASE_FORWARD, "", "Relu", "", &x, 1, &early, 1);
  add_node(program, PHASE_FORWARD, "", "Neg", "", &early, 1, &late, 1);
  const char *printed = print_program(program, arena);
  ok(strstr(printed, "v1 = Relu(v2)") && strstr(printed, "v3 = Neg(v1)"), "numbers follow the order of definition");
  Reading *reading = read_text(printed, strlen(printed));
  ok(reading->program && !value_at(reading->program, result_id(node_at(reading->program, 1), 0))->name,
     "and are no names when read");
  ok(reading->program && !strcmp(print_program(reading->program, arena), printed), "and print the same");
  forget(reading);
  program_destroy(program);
  arena_destroy(arena);
}

/* Large data is left out; its checksum stays, whether or not the data is there. */
static void
test_large_data(void)
{
  Arena *arena = arena_create();
  Program *program = program_create("large", diagnostics_create(arena));
  float data[1025] = {1, 2, 3};
  int64_t dim = 1025;
  ValueId w = add_value(program, "w", VALUE_PARAMETER, ACTNN_F32, shape_of(1, &dim));
  value_at(program, w)->data = data;
  value_at(program, w)->data_bytes = sizeof data;
  const char *printed = print_program(program, arena);
  ok(strstr(printed, "\"length\" : \"4100\", \"crc32\" : \""), "large data is described");
  Reading *reading = read_text(printed, strlen(printed));
  ok(reading->program && !strcmp(print_program(reading->program, arena), printed), "and its description stays");
  forget(reading);
  program_destroy(program);
  arena_destroy(arena);
}

int
main(void)
{
  test_ordinary();
  check_round_trip("an ordinary model", ordinary);
  check_round_trip("a text with all facts", rich);
  test_facts();
  test_mistakes();
  test_beginnings();
  test_numbers();
  test_large_data();
  return tap_done();
}
