/* verify_mutants.c: the verifier of emitted source accepts what the emitter makes and refuses what breaks any of the rules V1 to V10.
 *
 *   tests/cli/verify_mutants                a sample of the mutants of each rule
 *   MUTANTS=all tests/cli/verify_mutants    every one of them
 *   RULE=V4 MUTANTS=all ...                 those of one rule; SHOW=1 says which are refused by another rule's name
 *
 * Sources of several kinds are translated in memory. Each rule has a generator that changes every place where it can be broken, in every
 * way that breaks it (mutants.h). What is called by the right name is said too: a mutant often breaks two rules, and the first stops. */
#include "../random/random_graph.h"
#include "../runtime/tap.h"
#include "mutants.h"
#include "verify_changes.h"

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
             {.rule = "V10", .generate = {mutate_statements}, .thin = 4},
             {.rule = "any rule", .generate = {mutate_any_word}, .knows_program = true, .thin = 1}};

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
  if (judge == COMPILER) ok(refused && (is_named || !*listed->rule), "the compiler's view refuses: %s", listed->what);
  else ok(refused && is_named, "%s refuses: %s", listed->rule, listed->what);
}

static void
try_header(Bench *bench, Judge judge, const HeaderChange *listed)
{
  const char *at = strstr(bench->header, listed->from);
  bool is_named = false;
  if (!ok(at != NULL, "there is something to change in the header: %s", listed->what)) return;
  const char *header = FORMAT("%.*s%s%s", (int)(at - bench->header), bench->header, listed->to, at + strlen(listed->from));
  bench->rule = listed->rule;
  ok(is_refused(bench, judge, bench->source, header, &is_named) && is_named, "%s refuses a header: %s", listed->rule, listed->what);
}

/* A variable of another header is none of the trainer's. */
static void
try_foreign_variable(Bench *bench)
{
  static const Change device = {"V2", "a device of the header's", "_model =", ".device = NULL", ".device = &more"};
  const char *source = edited(bench, &(Edit){find_change(bench, &device), device.to}, 1), *end = strstr(bench->header, "\n#endif");
  const char *header = FORMAT("%.*sextern const actnn_device more;\n%s", (int)(end - bench->header), bench->header, end);
  bool is_named = false;
  bench->rule = device.rule;
  ok(is_refused(bench, COMPILER, source, header, &is_named) && is_named, "the compiler's view refuses: %s", device.what);
}

/* Lengths that the bytes do not have. */
static void
try_lengths(Bench *bench)
{
  Emitted emitted = bench->emitted;
  char *said = NULL;
  size_t said_bytes = 0;
  emitted.findings = open_memstream(&said, &said_bytes);
  emitted.rule = "V9";
  emitted.source_length = (size_t)UINT32_MAX; /* looked at before any byte is */
  ok(!scan_words(&emitted), "a source of 4 GiB is refused");
  emitted.header_length++; /* a zero byte in the midst */
  ok(!check_header(&emitted), "a header with a zero byte is refused");
  fclose(emitted.findings);
  ok(strstr(said, "larger than 2 GiB") && strstr(said, "does not begin with a comment"), "each for its reason");
  free(said);
}

static void
try_by_name(const Origin *origin)
{
  Bench bench;
  const char *problem = start_bench(&bench, origin);
  if (ok(!problem, "there is a source to change%s%s", problem ? ": " : "", problem ? problem : "")) {
    for (size_t i = 0; i < COUNT(changes); i++) try_listed(&bench, VERIFIER, &changes[i]);
    for (size_t i = 0; i < COUNT(views); i++) try_listed(&bench, COMPILER, &views[i]);
    for (size_t i = 0; i < COUNT(header_changes); i++) try_header(&bench, VERIFIER, &header_changes[i]);
    for (size_t i = 0; i < COUNT(header_views); i++) try_header(&bench, COMPILER, &header_views[i]);
    try_foreign_variable(&bench);
    try_lengths(&bench);
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
  for (size_t i = 0; i < origin_count; i++) mutate_source(&origins[i]);
  for (size_t i = 0; i < COUNT(rules); i++) {
    const Count *count = &rules[i].count;
    if (!is_asked_for(rules[i].rule)) continue;
    ok(count->made >= WANTED, "%s: %u mutants break it", rules[i].rule, count->made);
    ok(count->tried && count->refused == count->tried, "%s: %u of %u tried are refused, %u by this name", rules[i].rule, count->refused,
       count->tried, count->named);
  }
  return tap_done();
}
