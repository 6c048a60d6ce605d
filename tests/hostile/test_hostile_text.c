/* test_hostile_text.c: the textual syntax in the hands of an enemy, through `actnnc MODEL -o train.c` as a process, and names that
 * want to be code: ten thousand of them, none of which changes a token of the emitted program. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "compile_outcome.h"
#include "onnx_writer.h"

#include "../../passes/passes.h"
#include "../../src/emit.h"
#include "../../src/onnx_export.h"

#include <ctype.h>

enum { NAMES = 10000 };

static const double MOST_SECONDS = 4; /* one a megabyte on an idle machine */
static uint64_t base;

static const char head[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n";

/* ---- texts -------------------------------------------------------------------------------------------------------- */

static void
refused_with(const char *options, Bytes text, const char *what, const char *message)
{
  write_bytes("model.onnxtxt", text.data, text.length);
  CompileOutcome outcome = compile_apart("model.onnxtxt", options);
  uint64_t most = base + 8 * (uint64_t)text.length + ((uint64_t)64 << 20);
  double seconds = MOST_SECONDS * (text.length > 1000000 ? (double)text.length / 1e6 : 1);
  bool is_refused = outcome.status == 1 && !outcome.written && outcome.messages && (!message || strstr(outcome.text, message));
  if (!ok(is_refused && outcome.seconds < seconds && outcome.bytes < most, "%s", what))
    printf("# status %d, %u files, %.2f s, %llu of %llu MiB; message: %.1000s\n", outcome.status, outcome.written, outcome.seconds,
           (unsigned long long)(outcome.bytes >> 20), (unsigned long long)(most >> 20), outcome.text);
  free(text.data);
}

static void
refused(Bytes text, const char *what, const char *message)
{
  refused_with("--batch=2 --loss=mse --no-verify", text, what, message);
}

static void
put_string(Bytes *bytes, const char *text)
{
  put(bytes, text, strlen(text));
}

/* The head, `start`, so many times `piece`, `end`. */
static Bytes
repeated(const char *start, const char *piece, size_t count, const char *end)
{
  Bytes text = {0};
  put_string(&text, head);
  put_string(&text, start);
  for (size_t i = 0; i < count; i++) put_string(&text, piece);
  put_string(&text, end);
  return text;
}

static Bytes
headed(const char *text)
{
  return repeated(text, "", 0, "");
}

static Bytes
plain(const char *text)
{
  Bytes bytes = {0};
  put_string(&bytes, text);
  return bytes;
}

static void
test_texts(void)
{
  refused(repeated("g (float[2] x) => (y) {", "{", 1000000, ""), "a million braces", NULL);
  refused(repeated("g (", "(", 1000000, ""), "a million parentheses", NULL);
  refused(repeated("g (", "seq(", 250000, "float x) => (y) { y = Relu (x) }"), "a quarter of a million nested types", NULL);
  refused(repeated("g (float[2] x) => (y) { y = Relu <a = [", "1, ", 350000, "1]> (x) }"),
          "a list of 350,000 numbers, and nothing to train", NULL);
  refused(repeated("g (float[2] x) => (y) { y = Relu <", "a = 1, ", 150000, "a = 1> (x) }"), "150,000 attributes", NULL);
  refused(repeated("g (float[2] x) => (y) { y = If <then_branch = ", "g () => () { y = If <then_branch = ", 30000, ""),
          "nested graphs", NULL);
  refused(repeated("g (float[", "2,", 500000, "2] x) => (y) { y = Relu (x) }"), "half a million dimensions", NULL);
  refused(repeated("g (float[2] x) => (y) {\n", "y = Relu (x)\n", 80000, "}"), "one name made 80,000 times", NULL);
  refused(repeated("g (float[2] x) => (y) { y = Relu (", "x, ", 350000, "x) }"), "350,000 operands", NULL);
  refused(repeated("g (float[2] x) => (", "y, ", 350000, "y) { y = Relu (x) }"), "an output 350,000 times, and nothing to train", NULL);
  refused(repeated("g (float[2] x) => (y) { y = Relu (x) }", "<domain: \"c\", opset_import: [\"\" : 17]> f (a) => (b) {"
                 " b = Relu (a) }", 15000, ""),
          "one function 15,000 times", NULL);
  refused(headed("g (float[99999999999999999999] x) => (y) { y = Relu (x) }"), "a number beyond 2^64", NULL);
  refused(headed("g (float[4611686018427387904,4] x) => (y) { y = Relu (x) }"), "a product beyond 2^64", NULL);
  refused(repeated("g (float[2] x) => (y) { y = Relu (x) # ", "a comment without end ", 50000, ""), "a comment of a megabyte", NULL);
  refused(repeated("g (float[2] x) => (y) { y = \"", "Relu ", 200000, ""), "a string of a megabyte that does not end", "does not end");
  refused(repeated("g (float[2] x) => (y) <float[2] w = {", "1e999999999, ", 80000, "1}> { y = Add (x, w) }"),
          "80,000 numbers for two places", NULL);
  refused(headed("g (float[2] x) => (y) <float[2] w = [\"location\" : \"/etc/passwd\"]> { y = Add (x, w) }"), "data from a file", NULL);
  refused(headed("g (float[2] x) => (y) <float[2] w = [\"location\" : \"../../etc/passwd\", \"offset\" : \"0\"]> { y = Add (x, w) }"),
          "data from a file outside", NULL);
  refused(plain("<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 0]>\ng (float[2] x) => (y) { y = Relu (x) }\n"),
          "an operator set without a version", "versions of operator sets start at 1");
  refused(plain("<ir_version: 8, opset_import: [\"\" : 17, \"c\" : 1]>\ng (float[2] x) => (y) { y = c.f (x) }\n<domain:"
                 " \"c\", opset_import: [\"c\" : 1]> f (a) => (b) { b = c.f (a) }\n"),
          "a function that calls itself", NULL);
  refused(plain("<ir_version: 8, opset_import: [\"\" : 17], metadata_props: [\"actnn.loss\" : \"nowhere\"]>\ng"
                 " (float[2] x) => (y) { y = Relu (x) }\n"),
          "an annotation of what is not there", NULL);
  refused(plain("<ir_version: 8, opset_import: [\"\" : 17], metadata_props: [\"actnn.text\" : \"2\", \"actnn.loss\" :"
                 " \"y\"]>\ng (float[2] x) => (float[2] y) { y = Relu (x) }\n"),
          "a model that says that it has been through passes", "passes have changed already");
  refused(headed("g (float[2] x) => (float[2] y) { z = Relu <phase = \"evaluate\"> (x) y = Relu (x) }"),
          "a node that says that a pass made it",
          "passes have changed already");
  refused(plain("<ir_version: 8, opset_import: [\"\" : 17], metadata_props: [\"actnn.text\" : \"2\", \"actnn.drawn_from\" : \"w=h\"]>\n"
                "g (float[2] x) => (y) <float[2] w = [\"location\" : \"none\"]> { h = Relu (x) y = Mul (x, w) }\n"),
          "a parameter drawn from what forward makes", "rule 'drawing'");
  refused_with("--run-pass=layout", headed("g (float[2] x) => (float[2] y) { h = Fantasy (x) y = Relu (h) }"),
               "a pass on operators that are not known", "needs its operator and shapes to be known");
  refused_with("--run-pass=plan-memory", headed("g (float[N] x) => (float[N] y) { y = Relu (x) }"), "a pass on shapes that are not known",
               "to be known");
  refused(plain("\x01\x02\x03"), "three bytes", NULL);
  Bytes functions = plain("<ir_version: 8, opset_import: [\"\" : 17, \"c\" : 1]>\ng (float[2] x) => (y) { y = c.f0 (x) }\n");
  for (int i = 0; i < 60; i++) {
    char line[200];
    snprintf(line, sizeof line,
             "<domain: \"c\", opset_import: [\"\" : 17, \"c\" : 1]> f%d (a) => (b) { t = c.f%d (a) b = c.f%d (t) }\n", i, i + 1, i + 1);
    put_string(&functions, line);
  }
  refused(functions, "functions that double sixty times", NULL);
}

/* ---- names -------------------------------------------------------------------------------------------------------- */

static const char *const pieces[] = {
    "*/", "/*", "//", "\\", "\\\n", "\n", "\r", "\r\n", "\"", "'", "?" "?/", "?" "?/\n", "?" "?=", "?" "?'", "%n", "%s", "%:", "<:",
    "#", "#define RUN", "#include </etc/passwd>",
    "#pragma", "_Pragma(\"once\")", ";", "}", "{", ")", "(", ", ", "int injected;", "system(\"id\")", "__asm__(\"nop\")", "return 1;",
    "\t", "\v", "\f",
    "\x01", "\x1b[2J", "\x7f", "\x80", "\xff", "\xc0\x80", "\xe2\x80\xae", "\xe2\x80\xa8", "\xef\xbb\xbf", "\xed\xa0\x80",
    "\xf0\x9f\x92\xa3", "0", "a", "main",
    "actnn_run", "v1", "NONE", "static", "u8\"", "L'", "R\"(", ")\"", "1e9999", "\\u0022", "\\x22\\x3b", "\\", "names", " ",
    "/train.c", ".."};

/* A name of up to eight pieces; every 500th is long. */
static const char *
hostile_name(Arena *arena, uint64_t *random, unsigned number)
{
  char *name = arena_allocate(arena, number % 500 == 499 ? 200000 : 400);
  size_t count = number % 500 == 499 ? 5000 : 1 + number % 8, length = 0;
  for (size_t i = 0; i < count; i++) {
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    const char *piece = pieces[(*random >> 33) % (sizeof pieces / sizeof *pieces)];
    memcpy(name + length, piece, strlen(piece));
    length += strlen(piece);
  }
  return name;
}

/* tanh(x . w + b) with a name in every place for one. */
static Bytes
named_model(Arena *arena, const char *name)
{
  static const float zeros[6];
#define NAME(prefix) arena_format(arena, prefix "%s", name)
  const char *x = NAME("x"), *w = NAME("w"), *b = NAME("b"), *h = NAME("h"), *s = NAME("s"), *y = NAME("y");
  const char *const nodes[][4] = {{"MatMul", x, w, h}, {"Add", h, b, s}, {"Tanh", s, NULL, y}};
  Bytes graph = {0};
  put_text(&graph, GRAPH_NAME, name);
  for (size_t i = 0; i < 3; i++) {
    Bytes node = {0};
    put_text(&node, NODE_INPUT, nodes[i][1]);
    if (nodes[i][2]) put_text(&node, NODE_INPUT, nodes[i][2]);
    put_text(&node, NODE_OUTPUT, nodes[i][3]);
    put_text(&node, NODE_NAME, name);
    put_text(&node, NODE_OPERATOR, nodes[i][0]);
    put_message(&graph, GRAPH_NODE, node);
  }
  put_message(&graph, GRAPH_INITIALIZER, tensor_of(w, 1, "3,2", zeros, 24));
  put_message(&graph, GRAPH_INITIALIZER, tensor_of(b, 1, "2", zeros, 8));
  put_message(&graph, GRAPH_INPUT, value_info_of(x, 1, "N,3"));
  put_message(&graph, GRAPH_OUTPUT, value_info_of(y, 1, "N,2"));
  return model_of(graph);
}

/* What a compiler sees of the source, but for what may differ: comments gone, strings and numbers one mark each, lists of numbers
 * (the model's bytes) one mark altogether. As in C11, trigraphs and continued lines come first. */
static char *
tokens_of(Arena *arena, const char *source, size_t length)
{
  static const char trigraphs[] = "=#/\\'^([)]!|<{>}-~";
  char *joined = arena_allocate(arena, length + 1), *out = arena_allocate(arena, length + 2);
  size_t count = 0, at = 0, made = 0;
  for (size_t i = 0; i < length; i++) {
    const char *trigraph = NULL;
    if (i + 2 < length && source[i] == '?' && source[i + 1] == '?')
      for (const char *t = trigraphs; *t && !trigraph; t += 2) trigraph = *t == source[i + 2] ? t + 1 : NULL;
    char c = trigraph ? *trigraph : source[i];
    if (trigraph) i += 2;
    if (c == '\\' && i + 1 < length && source[i + 1] == '\n') i++;
    else joined[count++] = c;
  }
  while (at < count) {
    char c = joined[at];
    if (c == '/' && at + 1 < count && joined[at + 1] == '*') {
      char *end = memmem(joined + at + 2, count - at - 2, "*/", 2);
      at = end ? (size_t)(end - joined) + 2 : count;
    } else if (c == '/' && at + 1 < count && joined[at + 1] == '/') {
      while (at < count && joined[at] != '\n') at++;
    } else if (c == '"' || c == '\'') {
      for (at++; at < count && joined[at] != c && joined[at] != '\n'; at++) at += joined[at] == '\\';
      at++;
      out[made++] = '$';
    } else if (isdigit((unsigned char)c) && (!made || !isalnum((unsigned char)out[made - 1]))) {
      while (at < count && (isalnum((unsigned char)joined[at]) || joined[at] == '.')) at++;
      while (at < count && (joined[at] == ',' || isspace((unsigned char)joined[at]))) at++;
      if (!made || out[made - 1] != '@') out[made++] = '@';
    } else {
      if (!isspace((unsigned char)c)) out[made++] = c;
      at++;
    }
  }
  out[made] = 0;
  return out;
}

/* The tokens of the trainer that a model becomes, and of its kernels for a GPU; NULL when it is refused, with a message. */
static char *
emitted_tokens(Arena *arena, Bytes model, unsigned *errors)
{
  Diagnostics *diagnostics = diagnostics_create(arena);
  Options options = {.command_line = "actnnc", .batch = 2, .loss = "mse", .level = 3, .scheme = "actnnc", .is_for_gpu = true};
  size_t length, kernels_length;
  char *tokens = NULL;
  diagnostics->quiet = true;
  Program *program = import_bytes("model.onnx", model.data, model.length, diagnostics);
  bool is_good = program != NULL;
  for (size_t i = 0; is_good && i < pass_count; i++) is_good = passes[i].run(program, &options) && !diagnostics->errors;
  if (is_good && finish_inference_model(program)) {
    const char *source = emit_source(program, &options, "train", arena, &length);
    const char *kernels = emit_kernels(program, "train", arena, &kernels_length);
    tokens = arena_format(arena, "%s%s", tokens_of(arena, source, length), kernels ? tokens_of(arena, kernels, kernels_length) : "");
  }
  *errors = diagnostics->errors;
  program_destroy(program);
  return tokens;
}

/* That the comparison would notice. */
static void
test_comparison(void)
{
  static const struct {
    const char *source, *tokens;
  } cases[] = {{"/* a */ b; // c\nd", "b;d"}, {"// a\\\nb;\nc", "c"}, {"// a ?" "?/\nb;\nc", "c"}, {"/* a */ b; /* c */", "b;"},
               {"f(\"*/ g \\\" h\", 0x1f, 2.5, x1)", "f($,@x1)"}, {"/* a *" "?" "?/\n/ b", "b"}};
  Arena *arena = arena_create();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *tokens = tokens_of(arena, cases[i].source, strlen(cases[i].source));
    if (!ok(!strcmp(tokens, cases[i].tokens), "tokens %zu", i)) printf("# %s\n", tokens);
  }
  arena_destroy(arena);
}

static void
test_names(void)
{
  Arena *kept = arena_create();
  unsigned errors, changed = 0, refusals = 0, silent = 0;
  uint64_t random = 7;
  const char *expected = emitted_tokens(kept, named_model(kept, "n"), &errors);
  if (!ok(expected != NULL, "the model with a plain name is translated")) return;
  ok(strstr(expected, "actnn_Pointwise") && strstr(expected, "point_Tanh") && strlen(expected) > 1000, "its tokens are %zu characters",
     strlen(expected));
  for (unsigned i = 0; i < NAMES; i++) {
    Arena *arena = arena_create();
    const char *name = hostile_name(arena, &random, i);
    const char *tokens = emitted_tokens(arena, named_model(arena, name), &errors);
    refusals += !tokens;
    silent += !tokens && !errors;
    if (tokens && strcmp(tokens, expected) && !changed++) {
      size_t at = 0;
      while (tokens[at] == expected[at]) at++;
      printf("# name %u, %.100s: %.200s\n# instead of: %.200s\n", i, safe_name(arena, name), tokens + at, expected + at);
    }
    arena_destroy(arena);
  }
  ok(!changed && !silent, "%d hostile names: %u change a token, %u models are refused, %u of them without a message", (int)NAMES, changed,
     refusals, silent);
  ok(refusals < NAMES / 10, "few are refused");
  arena_destroy(kept);
}

int
main(void)
{
  char folder[] = "/tmp/actnn-text-XXXXXX", command[64];
  if (!mkdtemp(folder) || chdir(folder)) abort();
  Bytes small = headed("g (float[N,2] x) => (float[N,2] y) <float[2] w = {1, 2}> { y = Mul (x, w) }");
  write_bytes("small.onnxtxt", small.data, small.length);
  CompileOutcome outcome = compile_apart("small.onnxtxt", "--batch=2 --loss=mse");
  base = outcome.bytes;
  ok(outcome.status == 0 && outcome.written >= 2, "a text as it should be: %.300s", outcome.text);
  free(small.data);
  test_texts();
  test_comparison();
  test_names();
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (chdir("/") || system(command)) puts("# the temporary folder could not be removed");
  return tap_done();
}
