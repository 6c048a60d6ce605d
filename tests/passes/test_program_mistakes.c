/* test_program_mistakes.c: what is wrong in the text of a program is said, once, where it stands. */
#include "reading.h"

#define G "g (float x) => (float y) "
#define FACT(key, words) "<metadata_props: [\"actnn." key "\" : \"" words "\"]> " G "<float z> { y = Relu(x) }"
#define SAVE_OF(words) FACT("saves", "x y " words)
#define ATTRIBUTE(text) HEADER G "{ y = Relu<" text ">(x) }"
#define INITIALIZER(text) HEADER "g () => (float y) <" text "> { y = Relu(w) }"
#define CALL(node, function) HEADER G "{ " node " } <domain: \"m\"> " function

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
    {"<metadata_props: [\"actnn.stash\" : \"x\"]> g (float[2] x) => (float[2] x) {}", "actnn.stash names a value that no node makes"},
    {"<metadata_props: [\"actnn.stash\" : \"c\"]> g () => () <int64[1] c = {4}> {}", "actnn.stash names a value that no node makes"},
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
    /* ---- words and numbers */
    {"<ir_version: \"\x01 \xff.\"> g () => () {}", "expected an integer, found '\"? ?.\"'"},
    {"<ir_version: \"1234567890123456789012345678901234567890\"> g () => () {}", "found '\"123456789012345678901234567890123456789'"},
    {INITIALIZER("float w = {1e+}"), "an exponent without digits"},
    {INITIALIZER("float w = {1.2.3}"), "expected '}' after the elements of a tensor, found '.'"},
    {INITIALIZER("float w = {12ab}"), "this is not a number"},
    {INITIALIZER("float w = {-infinite}"), "this is not a number"},
    {INITIALIZER("float w = {-}"), "expected a number, found '-'"},
    {HEADER G "{ y = Relu(x) \xc3\xa9 }", "byte 0xc3 has no meaning here"},
    {HEADER G "{ y = Relu(x) \x01 }", "byte 0x01 has no meaning here"},
    /* ---- the header */
    {"<8> g () => () {}", "expected a key of the header"},
    {"<ir_version 8> g () => () {}", "expected ':' after the key"},
    {"<colour: 8> g () => () {}", "'colour' is not a key of the header"},
    {"<producer_name: 8> g () => () {}", "expected a string, found '8'"},
    {"<overload: \"o\"> g () => () {}", "overloaded functions are not supported"},
    {"<opset_import: 17> g () => () {}", "expected '[' before the operator sets"},
    {"<opset_import: [17]> g () => () {}", "expected a string, found '17'"},
    {"<opset_import: [\"\" 17]> g () => () {}", "expected ':' after the string"},
    {"<opset_import: [\"\" : \"17\"]> g () => () {}", "expected the version of an operator set"},
    {"<opset_import: [\"\" : 17 \"a\" : 1]> g () => () {}", "expected ']' after the operator sets"},
    {"<metadata_props: 1> g () => () {}", "expected '[' before the metadata"},
    {"<metadata_props: [\"a\" : 1]> g () => () {}", "expected a string, found '1'"},
    {"<metadata_props: [\"a\" : \"b\" \"c\" : \"d\"]> g () => () {}", "expected ']' after the metadata"},
    {"<ir_version: 8 domain: \"d\"> g () => () {}", "expected '>' after the header"},
    /* ---- inputs, outputs, declarations */
    {HEADER "g x => (y) { y = Relu(x) }", "expected '(' before the inputs"},
    {HEADER "g (float x float z) => (y) { y = Relu(x) }", "expected ')' after the inputs"},
    {HEADER "g (float) => (y) { y = Relu(x) }", "expected the name of a value, found ')'"},
    {HEADER "g (float x) (y) { y = Relu(x) }", "expected '=' as the start of =>"},
    {HEADER "g (float x) = (y) { y = Relu(x) }", "expected '>' as the end of =>"},
    {HEADER "g (float x) => y { y = Relu(x) }", "expected '(' before the outputs"},
    {HEADER "g (float x) => (y z) { y = Relu(x) }", "expected ',' or ')' after an output"},
    {HEADER "g (float x) => (seq(float) y) { y = Relu(x) }", "values of type seq are not supported"},
    {HEADER "g (float x) => (1) { y = Relu(x) }", "expected the name of an output"},
    {HEADER "g (float x) => (float y) <float z float w> { y = Relu(x) }", "expected '>' after the initializers"},
    {HEADER "g (float x) => (float y) y = Relu(x)", "expected '{' and the nodes"},
    {HEADER "g (float x) => (float[2] y) <float[3] y> { y = Relu(x) }", "'y' is declared twice with different types"},
    {HEADER "g (float x) => (float[2] y) <float[2,1] y> { y = Relu(x) }", "'y' is declared twice with different types"},
    {HEADER "g (float x) => (float[2] y) <double[2] y> { y = Relu(x) }", "'y' is declared twice with different types"},
    {HEADER "g (float[9223372036854775808] x) => (float y) { y = Relu(x) }", "a dimension is at least 0"},
    {HEADER "g (float[\"\"] x) => (float y) { y = Relu(x) }", "expected a dimension (a number, a name or ?)"},
    {HEADER "g (float[2 3] x) => (float y) { y = Relu(x) }", "expected ']' after the dimensions"},
    /* ---- data */
    {INITIALIZER("float w = {1}, float w = {2}"), "'w' is defined twice"},
    {INITIALIZER("int8 w = {-129}"), "does not fit into int8"},
    {INITIALIZER("int8 w = {18446744073709551615}"), "does not fit into int8"},
    {INITIALIZER("int64 w = {9223372036854775808}"), "does not fit into int64"},
    {INITIALIZER("uint64 w = {-1}"), "does not fit into uint64"},
    {INITIALIZER("bool w = {2}"), "does not fit into bool"},
    {INITIALIZER("int32 w = {1.0}"), "expected an integer, found '1.0'"},
    {INITIALIZER("float w = {one}"), "expected a number, found 'one'"},
    {INITIALIZER("float w = {\"1\"}"), "expected a number, found '\"1\"'"},
    {INITIALIZER("float[2] w = {1 2}"), "expected '}' after the elements of a tensor"},
    {INITIALIZER("float[2] w = {1,2,3,4}"), "has 2 elements, here are at least 3"},
    {INITIALIZER("float w = 1"), "expected '{' and the tensor's elements"},
    {INITIALIZER("string w = {1}"), "tensors of strings are not supported"},
    {INITIALIZER("w = {1}"), "an initializer needs a type"},
    {INITIALIZER("float w = [1 : \"none\"]"), "expected a key of the tensor's description"},
    {INITIALIZER("float w = [\"location\" \"none\"]"), "expected ':' after the key"},
    {INITIALIZER("float w = [\"location\" : 1]"), "expected a string, found '1'"},
    {INITIALIZER("float w = [\"location\" : \"none\" \"length\" : \"4\"]"), "expected ']' after the tensor's description"},
    {INITIALIZER("float w = [\"location\" : \"omitted\", \"length\" : \"\"]"), "this description of omitted data is wrong"},
    {INITIALIZER("float w = [\"location\" : \"omitted\", \"length\" : \"-4\"]"), "this description of omitted data is wrong"},
    {INITIALIZER("float w = [\"location\" : \"omitted\", \"length\" : \"4a\"]"), "this description of omitted data is wrong"},
    {INITIALIZER("float w = [\"location\" : \"omitted\", \"length\" : \"99999999999999999999\"]"), "this description of omitted data is wrong"},
    {INITIALIZER("float w = [\"location\" : \"omitted\", \"crc32\" : \"12AB\"]"), "this description of omitted data is wrong"},
    {INITIALIZER("float w = [\"location\" : \"omitted\", \"crc32\" : \"12g\"]"), "this description of omitted data is wrong"},
    /* ---- nodes */
    {HEADER G "{ 1 = Relu(x) }", "expected the name of a value, found '1'"},
    {HEADER G "{ y z = Relu(x) }", "expected ',' or '=' after a name"},
    {HEADER G "{ y = 1(x) }", "expected an operator, found '1'"},
    {HEADER G "{ y = a.1(x) }", "expected an operator, found '1'"},
    {HEADER G "{ y = Relu:o(x) }", "overloaded functions are not supported"},
    {HEADER G "{ y = Relu x }", "expected '(' before the operands"},
    {HEADER G "{ y = Relu(1) }", "expected the name of a value, found '1'"},
    {HEADER G "{ y = Relu(x x) }", "expected ',' or ')' after a name"},
    {HEADER G "{ [1] y = Relu(x) }", "expected the name of a node"},
    {HEADER G "{ [a b] y = Relu(x) }", "expected ']' after the name of a node"},
    {HEADER G "{ y = Relu(x) <1> }", "expected the name of an attribute, found '1'"},
    {HEADER G "{ y = Relu<origin = \"nothing\">(x) }", "'nothing' is not an input"},
    {HEADER G "{ y = Relu<origin = \"x\">(x) }", "'x' is not made by a node"},
    /* ---- attributes */
    {ATTRIBUTE("1 = 2"), "expected the name of an attribute, found '1'"},
    {ATTRIBUTE("a 2"), "expected '=' and the attribute's value"},
    {ATTRIBUTE("a = 1 b = 2"), "expected '>' after the attributes"},
    {ATTRIBUTE("a = }"), "expected the name of a function, found '>'"},
    {ATTRIBUTE("a = ,"), "expected the value of an attribute, found ','"},
    {ATTRIBUTE("a: 1 = 2"), "expected the kind of an attribute, such as ints"},
    {ATTRIBUTE("a: graph = 2"), "attributes of kind 'graph' are not supported"},
    {ATTRIBUTE("a = @1"), "expected the name of an attribute of the function"},
    {ATTRIBUTE("a = 9223372036854775808"), "does not fit into 64 bits with a sign"},
    {ATTRIBUTE("a = [1, ,]"), "expected the value of an attribute, found ','"},
    {ATTRIBUTE("a = [@b]"), "a list cannot hold @ references"},
    {ATTRIBUTE("a = [1 2]"), "expected ']' after the elements of a list"},
    {ATTRIBUTE("a: int = 1.5"), "attribute 'a' is said to be int but its value is float"},
    {ATTRIBUTE("a: floats = [\"b\"]"), "attribute 'a' is said to be floats but its value is strings"},
    {ATTRIBUTE("a = seq(float) {1}"), "values of type seq are not supported"},
    {ATTRIBUTE("a = float[2]"), "attributes that are types are not supported"},
    {ATTRIBUTE("a = float[2] b"), "expected '{' and the tensor's elements"},
    {ATTRIBUTE("a = float[2] {1}"), "has 2 elements, here are 1"},
    /* ---- functions */
    {CALL("y, z = m.f(x)", "f (X) => (Y) { Y = Relu(X) }"), "more operands or results than the function has"},
    {CALL("y = m.f(x, x)", "f (X, X) => (Y) { Y = Relu(X) }"), "'X' is defined twice"},
    {CALL("y = m.f(x)", "f (X) => (X) { Y = Relu(X) }"), "'X' is an input and an output of the function"},
    {CALL("y = m.f(x)", "f (X) => (Y) { Y = Relu(X) } <domain: \"m\"> f (X) => (Y) { Y = Relu(X) }"), "'f' is defined twice"},
    {CALL("y = m.f(x)", "f X"), "expected '(' before the names of a function"},
    {CALL("y = m.f(x)", "f (X Z) => (Y) { Y = Relu(X) }"), "expected ',' or ')' after a name, found 'Z'"},
    {CALL("y = m.f(x)", "f (seq(float) X) => (Y) { Y = Relu(X) }"), "values of type seq are not supported"},
    {CALL("y = m.f(x)", "f (1) => (Y) { Y = Relu(X) }"), "expected a name, found '1'"},
    {CALL("y = m.f(x)", "f (X) -> (Y) { Y = Relu(X) }"), "expected a number, found '-'"},
    {CALL("y = m.f(x)", "f (X) (Y) { Y = Relu(X) }"), "expected '=' as the start of =>"},
    {CALL("y = m.f(x)", "f (X) => Y { Y = Relu(X) }"), "expected '(' before the names of a function"},
    {CALL("y = m.f(x)", "f (X) => (Y) <float t { Y = Relu(X) }"), "expected '>', found the end of the text"},
    {CALL("y = m.f(x)", "f (X) => (Y) <float $> { Y = Relu(X) }"), "'$' has no meaning here"},
    {CALL("y = m.f(x)", "f (X) => (Y) Y = Relu(X)"), "expected '{' and the nodes"},
    {CALL("y = m.f(x)", "f <1> (X) => (Y) { Y = Relu(X) }"), "expected the name of an attribute, found '1'"},
    {CALL("y = m.f(x)", "f <a = seq> (X) => (Y) { Y = Relu(X) }"), "values of type seq are not supported"},
    {CALL("y = m.f(x)", "f <a b> (X) => (Y) { Y = Relu(X) }"), "expected '>' after the attributes of a function"},
    {CALL("y = m.f(x)", "f <a = float $> (X) => (Y) { Y = Relu(X) }"), "'$' has no meaning here"},
    {CALL("y = m.f(x)", "f <a: int = 1.5 $> (X) => (Y) { Y = Relu(X) }"), "'$' has no meaning here"},
    {CALL("y = m.f(x)", "1 (X) => (Y) { Y = Relu(X) }"), "expected the name of a function, found '1'"},
    {CALL("y = m.f(x)", "f (X) => (Y) { Y = Relu(X }"), "expected ',' or ')' after a name"},
    /* ---- facts */
    {FACT("loss", "nothing other"), "names 'nothing', which is not in the program"},
    {FACT("loss", "z"), "names 'z', which is not in the program"},
    {FACT("loss", "'x y"), "names 'x_y', which is not in the program"},
    {FACT("loss", "'x\\\\"), "names 'x_', which is not in the program"},
    {FACT("loss", "= x"), "names '', which is not in the program"},
    {FACT("named", "nothing"), "names 'nothing', which is not in the program"},
    {FACT("updates", "y"), "links between values are written new=old"},
    {FACT("updates", "nothing=x"), "names 'nothing', which is not in the program"},
    {FACT("updates", "y=nothing"), "names 'nothing', which is not in the program"},
    {FACT("updates", "y="), "names '', which is not in the program"},
    {FACT("trainer_inputs", "y"), "is not an input"},
    {FACT("loss_kind", "regret"), "this kind of loss is not known"},
    {FACT("uncompressed_bytes", "12k"), "that fact is a number"},
    {FACT("identity", "-"), "that fact is a number"},
    {FACT("saves", "none y even dither plain 0 0 4 64 256 1 fixed why"), "names 'none', which is not in the program"},
    {FACT("saves", "nothing y even dither plain 0 0 4 64 256 1 fixed why"), "names 'nothing', which is not in the program"},
    {FACT("saves", "x nothing even dither plain 0 0 4 64 256 1 fixed why"), "names 'nothing', which is not in the program"},
    {FACT("saves", "x y even dither plain 0 0 4 64 256 1 fixed why complete"), "a save is"},
};

/* Refused, with this in the first message: others may follow from it. */
static bool
says_first(const Reading *reading, const char *message)
{
  const char *found = strstr(reading->messages, message), *first = strstr(reading->messages, "error: ");
  const char *second = first ? strstr(first + 1, "error: ") : NULL;
  return !reading->program && reading->diagnostics->errors && found && (!second || found < second);
}

static void
test_mistakes(void)
{
  for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
    Reading *reading = read_text(mistakes[i].text, strlen(mistakes[i].text));
    if (!ok(says_first(reading, mistakes[i].message), "says: %s", mistakes[i].message)) printf("# got: %s\n", reading->messages);
    forget(reading);
  }
  static const char nul[] = HEADER "g (float x) => (float y) { y = Relu(\0x) }", in_string[] = HEADER "g (float x) => (float y) { y = \"\0\"(x) }";
  Reading *reading = read_text(nul, sizeof nul - 1);
  ok(!reading->program && strstr(reading->messages, "byte 0x00"), "a NUL byte is no end of the text");
  forget(reading);
  reading = read_text(in_string, sizeof in_string - 1);
  ok(!reading->program && strstr(reading->messages, "this string contains a NUL byte"), "nor of a string");
  forget(reading);
}

/* ---- too much of something ------------------------------------------------------------------------- */

static void
expect_message(Arena *arena, const char *text, const char *message)
{
  Reading *reading = read_text(text, strlen(text));
  if (!ok(says_first(reading, message), "says: %s", message)) printf("# got: %.1000s\n", reading->messages);
  forget(reading);
  arena_destroy(arena);
}

/* So many times `piece`. */
static const char *
repeated(Arena *arena, const char *piece, size_t count)
{
  size_t length = strlen(piece);
  char *text = arena_allocate(arena, length * count + 1);
  for (size_t i = 0; i < count; i++) memcpy(text + i * length, piece, length);
  return text;
}

/* "v1, v2, ..." */
static const char *
numbered(Arena *arena, const char *letter, unsigned count)
{
  char *text = arena_allocate(arena, (size_t)count * 16), *to = text;
  for (unsigned i = 1; i <= count; i++) to += sprintf(to, "%s%s%u", i > 1 ? ", " : "", letter, i);
  return text;
}

static void
test_too_much(void)
{
  Arena *arena = arena_create();
  expect_message(arena, arena_format(arena, INITIALIZER("float w = {%s}"), repeated(arena, "1", 401)), "this is not a number");
  arena = arena_create();
  expect_message(arena, arena_format(arena, HEADER G "{ y = %sRelu(x) }", repeated(arena, "domain.", 150)), "this domain is too long");
  arena = arena_create();
  expect_message(arena, arena_format(arena, ATTRIBUTE("a = [%s1]"), repeated(arena, "1,", 1 << 20)), "this list is too long");
  arena = arena_create();
  expect_message(arena, arena_format(arena, ATTRIBUTE("%sb = 1"), repeated(arena, "a = 1, ", 1000)), "a node has too many attributes");
  arena = arena_create();
  expect_message(arena, arena_format(arena, HEADER G "{ y = Relu(x) %s }", repeated(arena, "= Relu(x) ", 1 << 16)),
                 "more nodes or values than are supported");
  arena = arena_create();
  expect_message(arena, arena_format(arena, HEADER G "{ %s = Split(x) y = Relu(x) }", numbered(arena, "v", 1 << 17)),
                 "more nodes or values than are supported");
  arena = arena_create();
  expect_message(arena, arena_format(arena, HEADER "g (%s) => (y) { y = Relu(v1) }", numbered(arena, "v", (1 << 17) + 1)),
                 "more values than are supported");
  arena = arena_create();
  expect_message(arena, arena_format(arena, CALL("%sy = m.f(x)", "f (X) => (Y) { Y = Relu(X) %s }"), repeated(arena, "= m.f(x) ", 16),
                                     repeated(arena, "\n", 1 << 20)),
                 "'f' calls functions too deeply or too often");
}

int
main(void)
{
  test_mistakes();
  test_too_much();
  return tap_done();
}
