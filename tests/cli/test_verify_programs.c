/* test_verify_programs.c: the verifier and programs that mutants have no source of: with constants of every type, with a loss of their own;
 * what it says when their numbers, names and kinds change; and texts that are cut. */
#include "../../src/emit.h"
#include "verify_facts.h"

/* ---- programs ------------------------------------------------------------------------------------------------------------ */

static const char types[] =
    "<ir_version: 8, opset_import: [\"\" : 17], metadata_props: [\"actnn.constant\" : \"odd ratio half short\"]>\n"
    "net (float[N,10] x, int8[N,10] a, uint16[N,10] b, int16[N,10] c, uint32[N,10] d, uint64[N,10] e, int64[N,10] f, uint8[N,10] g,\n"
    "     bool[N,10] h) => (float[N,10] logits)\n"
    "<float[10,10] w = [\"location\" : \"none\"], float[12,10] w2 = [\"location\" : \"none\"],\n"
    " int8[10] ka = {-1, 2, 3, 4, 5, 6, 7, 8, 9, -128}, uint16[10] kb = {65535, 2, 3, 4, 5, 6, 7, 8, 9, 10},\n"
    " int16[10] kc = {-32768, 2, 3, 4, 5, 6, 7, 8, 9, 10}, uint32[10] kd = {4294967295, 2, 3, 4, 5, 6, 7, 8, 9, 10},\n"
    " uint64[10] ke = {18446744073709551615, 2, 3, 4, 5, 6, 7, 8, 9, 10},\n"
    " int64[10] kf = {9007199254740993, 2, 3, 4, 5, 6, 7, 8, 9, 10},\n"
    " uint8[10] kg = {255, 2, 3, 4, 5, 6, 7, 8, 9, 10}, bool[10] kh = {1, 0, 1, 0, 1, 0, 1, 0, 1, 0},\n"
    " float[10] odd = {nan, inf, -inf, 5, 0, -0.0, 8, 9, 10, 11}, int64[4] pads = {0, 1, 0, 1}, int8 border = {-7},\n"
    " double ratio = {0.25}, float16 half = {14336}, bfloat16 short = {16000}, bool mode = {1}>\n"
    "{\n"
    "  sa = Add (a, ka) sb = Add (b, kb) sc = Add (c, kc) sd = Add (d, kd) se = Add (e, ke) sf = Add (f, kf) sg = Add (g, kg)\n"
    "  sh = And (h, kh)\n"
    "  pa = Pad (sa, pads, border)\n"
    "  ra = Cast <to = 1> (sa) rb = Cast <to = 1> (sb) rc = Cast <to = 1> (sc) rd = Cast <to = 1> (sd) re = Cast <to = 1> (se)\n"
    "  rf = Cast <to = 1> (sf) rg = Cast <to = 1> (sg) rp = Cast <to = 1> (pa)\n"
    "  x2 = Where (sh, x, odd)\n"
    "  all = Sum (x2, ra, rb, rc, rd, re, rf, rg)\n"
    "  plain = MatMul (all, w) bordered = MatMul (rp, w2)\n"
    "  d1 = Dropout (plain, ratio, mode) d2 = Dropout (d1, half, mode) d3 = Dropout (bordered, short, mode)\n"
    "  logits = Add (d2, d3)\n"
    "}\n";

static const char own_loss[] = "<ir_version: 8, opset_import: [\"\" : 17]>\n"
                               "net (float x) => (float loss) <float w = [\"location\" : \"none\"]> { d = Sub (x, w) loss = Mul (d, d) }\n";

static const Origin of_every_type = {.what = "constants of every type", .text = types, .optimizer = "sgd", .scheme = "actnnc", .batch = 4};
static const Origin with_own_loss = {
    .what = "a loss of its own", .text = own_loss, .optimizer = "sgd", .scheme = "actnnc", .loss = "output"};

/* ---- definitions -------------------------------------------------------------------------------------------------------------- */

static void
test_definitions(void)
{
  EmittedCall *fill = &facts->call[0];
  fill->input[0] = fill->output[0];
  refuses(DEFINITIONS, "V6", "is read before it is written", "a constant that is read by what makes it");
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------------------- */

static EmittedCall *
fill_of(const char *name)
{
  uint32_t tensor = bench.emitted.tensor_of[value_called(name) - program->values];
  return &facts->call[facts->writer[tensor]];
}

static void
test_fills(void)
{
  static const struct {
    const char *constant;
    size_t index;
    double number;
    const char *what;
  } others[] = {{"odd", 0, 1, "a number for none"},
                {"odd", 3, NAN, "none for a number"},
                {"odd", 1, -INFINITY, "the other infinity"},
                {"odd", 4, -0.0, "zero with another sign"},
                {"odd", 5, 0.0, "zero without its sign"},
                {"odd", 6, 9, "another number"},
                {"ka", 0, -1.5, "a number that is not whole"},
                {"ka", 1, 3, "another integer of 8 bits"},
                {"kb", 0, -1, "another integer of 16 bits"},
                {"ke", 0, 18446744073709551616.0, "a number larger than any of 64 bits"},
                {"ke", 0, -1e300, "a number less than any of 64 bits"},
                {"ke", 0, NAN, "none for an integer"},
                {"kg", 0, -1, "another byte"},
                {"kh", 0, 0, "false for true"}};
  for (size_t i = 0; i < COUNT(others); i++) {
    actnn_attribute *list = &fill_of(others[i].constant)->attribute[2];
    double *reals = copied(list->reals, list->count, sizeof *reals);
    reals[others[i].index] = others[i].number;
    list->reals = reals;
    refuses(PROGRAM, "V7", "is filled with other values", others[i].what);
  }
  fill_of("ka")->attribute[2].count = 3;
  refuses(PROGRAM, "V7", "is filled with other values", "fewer numbers");
  fill_of("ka")->attribute[2].count = 1;
  refuses(PROGRAM, "V7", "is filled with other values", "one number for many");
  fill_of("ka")->attribute[2].kind = ACTNN_INTS;
  refuses(PROGRAM, "V7", "is filled with other values", "integers for reals");
  facts->call[0].name = "Relu";
  refuses(PROGRAM, "V7", "makes no constant", "a call that is no fill");
}

static void
test_constant_operands(void)
{
  static const char *const of_real[] = {"ratio", "half", "short"}, *const of_one[] = {"border", "mode"};
  static const int64_t nothing[4];
  for (size_t i = 0; i < COUNT(of_real); i++) {
    value_called(of_real[i])->data = nothing;
    refuses(PROGRAM, "V7", "another 'ratio#?'", of_real[i]);
  }
  for (size_t i = 0; i < COUNT(of_one); i++) {
    value_called(of_one[i])->data = nothing;
    refuses(PROGRAM, "V7", "than node", of_one[i]);
    value_called(of_one[i])->data = nothing;
    value_called(of_one[i])->data_bytes *= 2;
    refuses(PROGRAM, "V7", "than node", "one number for two");
    value_called(of_one[i])->type = ACTNN_U64;
    value_called(of_one[i])->data = nothing;
    value_called(of_one[i])->data_bytes = 8;
    refuses(PROGRAM, "V7", "than node", "another number of another type");
  }
  call_of("Pad", 0)->attribute[1].kind = ACTNN_INT;
  refuses(PROGRAM, "V7", "another 'constant_value#?'", "a number of another kind");
  value_called("pads")->data = NULL;
  refuses(PROGRAM, "V7", "another 'pads#'", "a constant that is not there");
  value_called("pads")->type = ACTNN_UNDEFINED;
  refuses(PROGRAM, "V7", "another 'pads#'", "a constant of no type");
  value_called("pads")->data = nothing;
  refuses(PROGRAM, "V7", "another 'pads#'", "other integers");
}

/* ---- tables -------------------------------------------------------------------------------------------------------------------------- */

static void
test_variables(void)
{
  value_called("kf")->name = NULL;
  accepts(PROGRAM, "a constant without a name is known by its place");
  value_called("w")->name = NULL;
  refuses(PROGRAM, "V8", "is '' in the program", "a parameter without a name");
  value_called("kf")->name = "kg";
  refuses(PROGRAM, "V8", "is 'kg' in the program", "a constant of another name");
  value_called("w")->kind = VALUE_TEMPORARY;
  refuses(PROGRAM, "V8", "has another role", "a variable that is none in the program");
  value_called("x")->updates = 0;
  accepts(PROGRAM, "a next value that no node makes");
  program->saves->count++;
  refuses(PROGRAM, "V8", "saves, the plan has", "a save too few");
}

/* Fills take reals: an integer that no double holds comes from the weights file instead, as it is. */
static void
test_wide_integer(void)
{
  static const int64_t wide = 9007199254740993;
  size_t length;
  const unsigned char *weights = emit_weights(bench.program, bench.arena, &length);
  bool is_there = false;
  for (size_t i = 0; i + sizeof wide <= length; i++) is_there |= !memcmp(weights + i, &wide, sizeof wide);
  ok(is_there, "an integer beyond 53 bits stands in the weights file");
  ok(strstr(bench.source, ", \"kf\", ACTNN_FIXED, false}") != NULL, "and in the table of variables");
}

/* Draws, and a state that no call reads. */
static void
test_algorithm(void)
{
  value_called("w")->drawn_from = (ValueId)(value_called("normal") - program->values);
  refuses(PROGRAM, "V7", "drawn for another variable", "first values of another draw");
  for (uint32_t i = 0; i < facts->variable_count; i++)
    if (!strcmp(facts->variable[i].name, "last")) facts->variable[i].name = "lost";
  refuses(PROGRAM, "V8", "has no variable 'lost'", "a state of another name that no call reads");
  value_called("last")->kind = VALUE_TEMPORARY;
  refuses(PROGRAM, "V8", "has no variable 'last'", "a state that no call reads and is none in the program");
}

/* ---- texts --------------------------------------------------------------------------------------------------------------------------- */

static void
judge_text(const char *source, const char *message, const char *what)
{
  bool is_good = verify_text(&bench, source, bench.header);
  if (!ok(message ? !is_good && strstr(bench.messages, message) != NULL : is_good, "%s: %s", message ? "refused" : "accepted", what))
    printf("# %s\n", bench.messages);
}

static void
test_texts(void)
{
  const char *start = strstr(bench.source, "#include"), *inputs = strstr(bench.source, "static const actnn_input inputs[] = {");
  const char *row = inputs ? strchr(inputs, '"') : NULL;
  if (!ok(start && row, "there is a first line and a table of inputs")) return;
  bench.knows_program = false;
  judge_text(start, NULL, "a source without its first comment, of no program");
  const char *cut = arena_format(arena, "%.*s\n#ifndef ACTNN_NO_MAIN\n#endif\n", (int)(row - bench.source), bench.source);
  judge_text(cut, "breaks rule V3", "a table that does not end");
  char many[ACTNN_MAX_OPERANDS * 4 + 1] = "";
  for (int i = 0; i < ACTNN_MAX_OPERANDS; i++) strcat(many, "v0, ");
  const char *list = strstr(bench.source, "OUT(") + strlen("OUT(");
  const char *longer = arena_format(arena, "%.*s%s%s", (int)(list - bench.source), bench.source, many, list);
  judge_text(longer, "257 tensors in one list", "a list too long");
  bench.knows_program = true;
}

static void
test_on_a_gpu(void)
{
  for (size_t i = 0; i < origin_count; i++)
    if (!strcmp(origins[i].what, "what is shared, sgd")) {
      Origin origin = origins[i];
      origin.what = "what is shared, on a GPU";
      origin.is_for_gpu = true;
      start(&origin);
      ok(strstr(bench.source, ".device = &actnn_cuda") != NULL, "a source for a GPU names the device");
      finish();
    }
}

int
main(void)
{
  start(&of_every_type);
  test_definitions();
  test_fills();
  test_constant_operands();
  test_variables();
  test_wide_integer();
  finish();
  start_called("an algorithm of its own");
  test_algorithm();
  test_texts();
  finish();
  start(&with_own_loss);
  finish();
  test_on_a_gpu();
  return tap_done();
}
