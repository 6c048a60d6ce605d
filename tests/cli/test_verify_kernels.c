/* test_verify_kernels.c: mutants of the kernels beside a source for a GPU (train.cu): words left out, doubled, exchanged and replaced, single
 * characters, comments, kernels and rows of the table more or less. Each must be refused by V11; a comment or white space more must not. */
#include "../runtime/tap.h"
#include "mutants.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Piece {
  size_t from, to;
} Piece;

typedef struct Sweep {
  Bench *bench;
  const char *what;
  unsigned tried, refused;
} Sweep;

/* Asks the rule alone. */
static bool
holds(Bench *bench, const char *kernels)
{
  Emitted emitted = bench->emitted;
  char *findings = NULL;
  size_t length = 0;
  emitted.arena = arena_create();
  emitted.findings = open_memstream(&findings, &length);
  emitted.finding_count = 0;
  emitted.rule = "V11";
  emitted.kernels = kernels;
  emitted.kernels_length = strlen(kernels);
  bool is_good = check_kernels(&emitted);
  fclose(emitted.findings);
  bool is_told = emitted.finding_count > 0 && !strncmp(findings, "V11\t", 4);
  arena_destroy(emitted.arena);
  free(findings);
  return is_good || !is_told; /* a refusal without a word is none */
}

/* The text with what stands in [from, to) replaced. */
static const char *
replaced(Bench *bench, Piece piece, const char *by)
{
  const char *text = bench->kernels;
  return arena_format(bench->scratch, "%.*s%s%s", (int)piece.from, text, by, text + piece.to);
}

static void
try_mutant(Sweep *sweep, const char *mutant)
{
  if (!strcmp(mutant, sweep->bench->kernels)) return;
  sweep->tried++;
  bool is_refused = !holds(sweep->bench, mutant);
  sweep->refused += is_refused;
  if (is_refused) return;
  size_t at = 0;
  while (mutant[at] == sweep->bench->kernels[at]) at++;
  printf("# accepted: %.60s\n", mutant + (at > 20 ? at - 20 : 0));
}

static void
tell(const Sweep *sweep)
{
  ok(sweep->tried > 0 && sweep->refused == sweep->tried, "%s: %u of %u refused", sweep->what, sweep->refused, sweep->tried);
}

static char *
text_in(Bench *bench, Piece piece)
{
  return arena_text(bench->scratch, bench->kernels + piece.from, piece.to - piece.from);
}

static bool
is_of_word(char c)
{
  return isalnum((unsigned char)c) || c == '_';
}

/* Words outside of comments: names and numbers, strings, signs, the include as a whole. */
static size_t
find_pieces(Bench *bench, Piece *pieces)
{
  const char *text = bench->kernels;
  size_t count = 0;
  for (size_t at = 0; text[at];) {
    if (!strncmp(text + at, "/*", 2)) {
      at = (size_t)(strstr(text + at, "*/") + 2 - text);
    } else if (isspace((unsigned char)text[at])) {
      at++;
    } else {
      size_t from = at++;
      if (text[from] == '"') at = (size_t)(strchr(text + at, '"') + 1 - text);
      else if (text[from] == '#') at += strcspn(text + at, "\n");
      else if (is_of_word(text[from])) while (is_of_word(text[at]) || text[at] == '.') at++;
      pieces[count++] = (Piece){from, at};
    }
  }
  return count;
}

static void
sweep_words(Bench *bench, const Piece *pieces, size_t count)
{
  static const char *const words[] = {"0", "1", "7", "0.5", "-", "x", "y", "t0", "t1", "joined_0", "joined_1", "point_Relu", "point_Add",
                                      "float", "const", "int", "if", "asm", "{", "}", "(", ")", ";", ",", "=", "+", "\"\"", "\\",
                                      "#define x", "POINTWISE", "POINTWISE_END", "goto", "<<<", "?\?/", "'", "@"};
  Sweep left_out = {.bench = bench, .what = "words left out"}, doubled = {.bench = bench, .what = "words doubled"};
  Sweep exchanged = {.bench = bench, .what = "neighbours exchanged"},
        other = {.bench = bench, .what = "words replaced"}, more = {.bench = bench, .what = "words put in"};
  for (size_t i = 0; i < count; i++) {
    const char *own = text_in(bench, pieces[i]);
    try_mutant(&left_out, replaced(bench, pieces[i], ""));
    try_mutant(&doubled, replaced(bench, pieces[i], arena_format(bench->scratch, "%s %s", own, own)));
    if (i + 1 < count && strcmp(own, text_in(bench, pieces[i + 1])))
      try_mutant(&exchanged, replaced(bench, (Piece){pieces[i].from, pieces[i + 1].to},
                                      arena_format(bench->scratch, "%s %s", text_in(bench, pieces[i + 1]), own)));
    for (size_t k = 0; k < COUNT(words); k++) {
      try_mutant(&other, replaced(bench, pieces[i], words[k]));
      try_mutant(&more, replaced(bench, (Piece){pieces[i].from, pieces[i].from}, arena_format(bench->scratch, "%s ", words[k])));
    }
    arena_destroy(bench->scratch);
    bench->scratch = arena_create();
  }
  tell(&left_out);
  tell(&doubled);
  tell(&exchanged);
  tell(&other);
  tell(&more);
}

static void
sweep_characters(Bench *bench, const Piece *pieces, size_t count)
{
  Sweep sweep = {.bench = bench, .what = "single characters"};
  for (size_t i = 0; i < count; i++)
    for (size_t at = pieces[i].from; at < pieces[i].to; at++) {
      const char by[] = {(char)(bench->kernels[at] ^ 1), 0}, last[] = {(char)(bench->kernels[at] ^ 4), 0};
      try_mutant(&sweep, replaced(bench, (Piece){at, at + 1}, by));
      try_mutant(&sweep, replaced(bench, (Piece){at, at + 1}, last));
      try_mutant(&sweep, replaced(bench, (Piece){at, at + 1}, "\x80"));
      try_mutant(&sweep, replaced(bench, (Piece){at, at + 1}, "\t"));
    }
  tell(&sweep);
}

static void
sweep_comments(Bench *bench)
{
  static const char *const inside[] = {"*/ int evil; /*", "/*", "\\\n", "?\?/\n", "\x80", "\r"};
  Sweep sweep = {.bench = bench, .what = "comments that end early, or join lines"};
  for (const char *at = bench->kernels; (at = strstr(at, "/* ")) != NULL; at++)
    for (size_t k = 0; k < COUNT(inside); k++)
      try_mutant(&sweep, replaced(bench, (Piece){(size_t)(at + 3 - bench->kernels), (size_t)(at + 3 - bench->kernels)}, inside[k]));
  tell(&sweep);
}

/* Whole kernels and rows. */
static void
sweep_parts(Bench *bench)
{
  Sweep sweep = {.bench = bench, .what = "kernels and rows more or less"};
  const char *text = bench->kernels, *table = strstr(text, "POINTWISE_TABLE");
  const char *first = strstr(text, "POINTWISE("), *second = strstr(first + 1, "POINTWISE(");
  const char *row = strstr(table, "  {"), *next = strstr(row + 1, "  {");
  size_t kernel = (size_t)(first - text), end = (size_t)(second - text), from = (size_t)(row - text), to = (size_t)(next - text);
  try_mutant(&sweep, "");
  try_mutant(&sweep, replaced(bench, (Piece){kernel, end}, ""));
  try_mutant(&sweep, replaced(bench, (Piece){kernel, kernel}, text_in(bench, (Piece){kernel, end})));
  try_mutant(&sweep, replaced(bench, (Piece){from, to}, ""));
  try_mutant(&sweep, replaced(bench, (Piece){from, from}, text_in(bench, (Piece){from, to})));
  try_mutant(&sweep, replaced(bench, (Piece){(size_t)(table - text), strlen(text)}, ""));
  try_mutant(&sweep, replaced(bench, (Piece){strlen(text), strlen(text)}, "int evil;\n"));
  try_mutant(&sweep, replaced(bench, (Piece){strlen(text), strlen(text)}, text));
  try_mutant(&sweep, replaced(bench, (Piece){0, 0}, "#include \"evil.h\"\n"));
  tell(&sweep);
}

static void
test_the_whole_verifier(Bench *bench)
{
  const char *good = bench->kernels;
  char *bad = arena_text(bench->arena, good, strlen(good));
  *strstr(bad, "point_") = 'q';
  bench->kernels = bad;
  ok(!verify_text(bench, bench->source, bench->header) && strstr(bench->messages, "V11") && strstr(bench->messages, "kernels of net.c"),
     "the verifier says where kernels are wrong");
  bench->kernels = NULL;
  bench->kernels_length = 0;
  ok(!verify_text(bench, bench->source, bench->header) && strstr(bench->messages, "V11"), "and that there are none where calls need them");
  bench->kernels = good;
  bench->kernels_length = strlen(good);
  const char *table = strstr(bench->source, ".pointwise = net_pointwise");
  ok(table && !verify_text(bench, arena_format(bench->scratch, "%.*s.pointwise = NULL%s", (int)(table - bench->source), bench->source,
                                               table + strlen(".pointwise = net_pointwise")), bench->header),
     "or that the model does not name them");
  ok(verify_text(bench, bench->source, bench->header), "the good ones are good");
}

int
main(void)
{
  /* Elementwise nodes of two kinds that follow one another, with products between. */
  static const char text[] =
      "<ir_version: 8, opset_import: [\"\" : 17]>\n"
      "net (float[N,64] x) => (float[N,10] y)\n"
      "<float[64,64] a = [\"location\" : \"none\"], float[64,64] b = [\"location\" : \"none\"], float[64,10] c = [\"location\" : \"none\"]>\n"
      "{ p = MatMul (x, a) q = Tanh (p) r = Mul (q, x) s = Add (r, x)\n"
      "  t = MatMul (s, b) u = Sigmoid (t) v = Sub (u, s) w = Abs (v) y = MatMul (w, c) }\n";
  static const Origin origin = {.what = "text for a GPU", .text = text, .optimizer = "sgd", .scheme = "actnnc", .batch = 2, .is_for_gpu = true};
  Bench bench;
  const char *problem = start_bench(&bench, &origin);
  if (!ok(!problem && bench.kernels, "there are kernels%s%s", problem ? ": " : "", problem ? problem : "")) return tap_done();
  Piece *pieces = arena_array(bench.arena, bench.kernels_length + 1, sizeof *pieces);
  size_t count = find_pieces(&bench, pieces);
  ok(holds(&bench, bench.kernels), "they are taken");
  ok(holds(&bench, replaced(&bench, (Piece){pieces[4].from, pieces[4].from}, " /* a remark */\n ")), "so they are with a comment more");
  sweep_words(&bench, pieces, count);
  sweep_characters(&bench, pieces, count);
  sweep_comments(&bench);
  sweep_parts(&bench);
  test_the_whole_verifier(&bench);
  finish_bench(&bench);
  return tap_done();
}
