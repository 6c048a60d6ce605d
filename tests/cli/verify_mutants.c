/* verify_mutants.c: the verifier of emitted source accepts what the emitter makes and refuses what breaks any of the rules V1 to V10.
 *
 *   tests/cli/verify_mutants                a sample of the mutants of each rule
 *   MUTANTS=all tests/cli/verify_mutants    every one of them
 *   RULE=V4 MUTANTS=all ...                 those of one rule; SHOW=1 says which are refused by another rule's name
 *
 * Sources of several kinds are translated in memory. Each rule has a generator that changes every place where it can be broken, in every
 * way that breaks it (mutants.h). What is called by the right name is said too: a mutant often breaks two rules, and the first stops. */
#include "../random/random_graph.h"
#include "../runtime/sanitized.h"
#include "../runtime/tap.h"
#include "mutants.h"
#include "verify_changes.h"

#include <sys/resource.h>

static const char convolutional[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "net (float[N,3,16,16] image) => (float[N,10] logits)\n"
    "<float[16,3,3,3] w1 = [\"location\" : \"none\"], float[16] s1 = [\"location\" : \"none\"],\n"
    " float[16] b1 = [\"location\" : \"none\"], float[16] m1 = [\"location\" : \"none\"], float[16] v1 = [\"location\" : \"none\"],\n"
    " float[16,16,3,3] w2 = [\"location\" : \"none\"],\n"
    " float[10,1024] w3 = [\"location\" : \"none\"], float[10] b3 = [\"location\" : \"none\"]>\n"
    "{\n"
    "  [conv1] c1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, w1)\n"
    "  [norm1] n1, rm, rv = BatchNormalization <training_mode = 1> (c1, s1, b1, m1, v1)\n"
    "  [relu1] r1 = Relu (n1)\n"
    "  [conv2] c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r1, w2)\n"
    "  [join] a2 = Add (c2, r1)\n"
    "  [relu2] r2 = Relu (a2)\n"
    "  [pool] p2 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r2)\n"
    "  [flat] f2 = Flatten (p2)\n"
    "  [output] logits = Gemm <transB = 1> (f2, w3, b3)\n"
    "}\n";

static const Origin origins[] = {
    {.what = "a convolutional net, sgd, actnn's codes", .text = convolutional, .optimizer = "sgd", .scheme = "actnn", .batch = 4},
    {.what = "a convolutional net, sgd", .text = convolutional, .optimizer = "sgd", .scheme = "actnnc", .batch = 4},
    {.what = "a convolutional net, adam", .text = convolutional, .optimizer = "adam", .scheme = "actnnc", .batch = 4},
    {.what = "lenet5, adamw, actnn's codes", .model = "lenet5.onnx", .optimizer = "adamw", .scheme = "actnn", .batch = 8},
    {.what = "lenet5, sgd", .model = "lenet5.onnx", .optimizer = "sgd,momentum=0", .scheme = "actnnc", .batch = 8},
    {.what = "decoder, adam", .model = "decoder.onnx", .optimizer = "adam", .scheme = "actnnc", .batch = 2},
    {.what = "a random graph, sgd, actnn's codes", .graph = LARGE_GRAPHS + 8, .optimizer = "sgd", .scheme = "actnn"},
    {.what = "another random graph, adam", .graph = LARGE_GRAPHS + 10, .optimizer = "adam", .scheme = "actnnc"},
    {.what = "a small random graph, adagrad", .graph = 17, .optimizer = "adagrad", .scheme = "actnnc"}};

enum { GENERATORS = 2, WANTED = 1000, EVERY = 61 /* one in so many is tried when not all are */ };

static struct {
  const char *rule;
  Generator *generate[GENERATORS];
  bool knows_program; /* the rule is about the program or its plan; the others hold or not by the text alone */
  unsigned thin; /* one place and kind in so many makes a mutant: about ten thousand of each rule are left */
  Count count;
} rules[] = {{.rule = "V1", .generate = {mutate_diagnostics}, .thin = 5},
             {.rule = "V2", .generate = {mutate_callees}, .thin = 7},
             {.rule = "V3", .generate = {mutate_places}, .thin = 7},
             {.rule = "V4", .generate = {mutate_lifetimes}, .thin = 1},
             {.rule = "V5", .generate = {mutate_codes}, .knows_program = true, .thin = 2},
             {.rule = "V6", .generate = {mutate_definitions}, .thin = 5},
             {.rule = "V7", .generate = {mutate_meaning}, .knows_program = true, .thin = 2},
             {.rule = "V8", .generate = {mutate_regions, mutate_plan}, .knows_program = true, .thin = 2},
             {.rule = "V9", .generate = {mutate_words}, .thin = 2},
             {.rule = "V10", .generate = {mutate_statements}, .thin = 4}};

static bool
is_asked_for(const char *rule)
{
  const char *only = getenv("RULE");
  return !only || !strcmp(only, rule);
}

/* ---- listed changes: each by its own name, and what no generator makes ------------------------------------------------------ */

/* The first `from` behind `after`; from == to when there is none. */
static Span
find_change(const Bench *bench, const Change *listed)
{
  const char *after = strstr(bench->source, listed->after), *at = after ? strstr(after, listed->from) : NULL;
  size_t from = at ? (size_t)(at - bench->source) : 0;
  return (Span){from, at ? from + strlen(listed->from) : from};
}

static void
try_listed(Bench *bench, Judge judge, const Change *listed)
{
  Span span = find_change(bench, listed);
  bool is_named = false;
  if (!ok(span.to > span.from, "there is something to change: %s", listed->what)) return;
  bench->rule = listed->rule;
  bool refused = is_refused(bench, judge, edited(bench, &(Edit){span, listed->to}, 1), bench->header, &is_named);
  if (judge == COMPILER) ok(refused, "the compiler's view refuses: %s", listed->what);
  else ok(refused && is_named, "%s refuses: %s", listed->rule, listed->what);
}

/* A child that may not have memory is a refusal, not an acceptance. */
static void
try_without_memory(Bench *bench)
{
  struct rlimit before, tight;
  if (IS_SANITIZED || getrlimit(RLIMIT_AS, &before)) return;
  tight = before;
  tight.rlim_cur = 1 << 20;
  setrlimit(RLIMIT_AS, &tight);
  bool is_good = verify_text(bench, bench->source, bench->header);
  setrlimit(RLIMIT_AS, &before);
  ok(!is_good, "a verifier without memory refuses");
}

static void
try_by_name(const Origin *origin)
{
  Bench bench;
  const char *problem = start_bench(&bench, origin);
  if (ok(!problem, "there is a source to change%s%s", problem ? ": " : "", problem ? problem : "")) {
    for (size_t i = 0; i < COUNT(changes); i++) try_listed(&bench, VERIFIER, &changes[i]);
    for (size_t i = 0; i < COUNT(views); i++) try_listed(&bench, COMPILER, &views[i]);
    try_without_memory(&bench);
  }
  finish_bench(&bench);
}

/* ---- generated ones ----------------------------------------------------------------------------------------------------------- */

static void
mutate_source(const Origin *origin)
{
  const char *how_many = getenv("MUTANTS");
  bool wants_all = how_many && !strcmp(how_many, "all");
  Bench bench;
  const char *problem = start_bench(&bench, origin);
  ok(!problem, "%s: what the emitter makes is accepted%s%s", origin->what, problem ? ": " : "", problem ? problem : "");
  for (size_t i = 0; i < COUNT(rules) && !problem; i++) {
    if (!is_asked_for(rules[i].rule)) continue;
    bench.rule = rules[i].rule;
    bench.count = &rules[i].count;
    bench.knows_program = rules[i].knows_program;
    bench.every = wants_all ? 1 : EVERY;
    bench.thin = rules[i].thin * thinning(&bench);
    for (size_t k = 0; k < GENERATORS; k++)
      if (rules[i].generate[k]) rules[i].generate[k](&bench);
    arena_destroy(bench.scratch);
    bench.scratch = arena_create();
  }
  finish_bench(&bench);
}

int
main(void)
{
  try_by_name(&origins[0]);
  for (size_t i = 0; i < COUNT(origins); i++) mutate_source(&origins[i]);
  for (size_t i = 0; i < COUNT(rules); i++) {
    const Count *count = &rules[i].count;
    if (!is_asked_for(rules[i].rule)) continue;
    ok(count->made >= WANTED, "%s: %u mutants break it", rules[i].rule, count->made);
    ok(count->tried && count->refused == count->tried, "%s: %u of %u tried are refused, %u by this name", rules[i].rule, count->refused,
       count->tried, count->named);
  }
  return tap_done();
}
