/* test_random_graphs.c: random training graphs through everything, and what must not depend on how a graph is written.
 *
 *   GRAPHS=10000 tests/random/test_random_graphs     graphs 0 to 9999; 500 without
 *   FIRST=4711 GRAPHS=1 SHOW=1 ...                   one of them, its text printed
 *   FULL=1 ...                                       every check of every graph; otherwise the dearer ones take turns (see below)
 *
 * Of each graph: the emitted FP32 trainer's gradients against the double-precision evaluator; variants of the graph (variants.h)
 * against it, emitted text without names and weights, byte for byte; with codes, in a setting drawn for it, the verifier of emitted
 * source, steps whose loss is finite, planned memory that is the memory taken, and a poisoned arena (poison.h), bit for bit.
 * FP32 trainers that compute runs of nodes again in backward, or have large values go through the pool as they are, do what those do that
 * save them where they are made, bit for bit.
 * Compiling C is the dear part, so that without FULL a graph is built with FP32 or with codes, in turns, and has one variant, and one in
 * four is computed again. */
#include "../runtime/tap.h"
#include "trainers.h"
#include "variants.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 20, SHOWN = 20 };

/* Graphs that found something: 5247, that nodes which only update statistics kept the order of the file; 21152 and 22803, that an
 * Identity of a constant made the constant a second time. */
static const uint64_t once_wrong[] = {5247, 21152, 22803};

/* A relative gradient distance that whole models must keep (trust.md), and one that a graph must keep under perturbations of every
 * value by up to eight roundings of a float, or it says nothing: what is worse is counted as ill-conditioned, whatever its trainer
 * computes. */
static const double limit = 1e-4, conditioned = 2.5e-5, perturbation = 0x1p-21;

enum Check { MADE, EMITTED, VERIFIED, COMPILED, GRADIENTS, VARIANT_TEXTS, TRAINS, MEMORY, POISONED, RECOMPUTED, CHECKS };
/* How a graph is built. */
enum Build { EXACT, CODED, AGAIN, BUILDS };
static const char *const check_names[CHECKS] = {
    [MADE] = "graphs are made, and their double-precision gradients",
    [EMITTED] = "graphs go through all passes, each result legal",
    [VERIFIED] = "emitted sources pass the verifier",
    [COMPILED] = "emitted sources compile without a warning",
    [GRADIENTS] = "FP32 trainers have the gradients of the double-precision evaluator",
    [VARIANT_TEXTS] = "variants of a graph give the same program and weights",
    [TRAINS] = "trainers take steps and the loss is finite",
    [MEMORY] = "planned memory is the memory taken",
    [POISONED] = "poisoned runs give the same bits",
    [RECOMPUTED] = "what is computed again instead of saved, or saved through the pool as it is, gives the same bits"};

typedef struct Totals {
  unsigned done[CHECKS], failed[CHECKS];
  unsigned ill_conditioned, graphs, nodes, recomputed_nodes, saves, exact_saves;
  double worst;
  uint64_t worst_graph, poisoned_bytes;
  unsigned *drawn; /* by operator */
} Totals;

/* One graph on its way through a batch. */
typedef struct Subject {
  RandomGraph *graph;
  const char *text;
  Reference *reference;
  Setting setting[BUILDS];
  Emission emission[BUILDS];
  bool is_emitted[BUILDS], is_conditioned;
  char name[BUILDS][32];
} Subject;

static bool
note(Totals *totals, int check, bool is_good, uint64_t number, const char *format, const char *detail)
{
  totals->done[check]++;
  if (is_good) return true;
  if (totals->failed[check]++ < SHOWN) {
    printf("# graph %llu: %s: ", (unsigned long long)number, check_names[check]);
    printf(format, detail);
    printf("\n");
    fflush(stdout);
  }
  return false;
}

/* ---- one graph ----------------------------------------------------------------------------------------------- */

static void
count_operators(Totals *totals, const Program *program)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (size_t k = 0; k < operator_count() && node->phase == PHASE_FORWARD; k++)
      if (operator_at(k) == node->operator) totals->drawn[k]++;
  }
}

/* Two perturbations; the arena of each is freed at once. */
static bool
is_well_conditioned(const Subject *subject, Diagnostics *diagnostics)
{
  double worst = 0;
  for (uint64_t key = 1; key <= 2; key++) {
    Arena *arena = arena_create();
    Reference *perturbed = evaluate_reference(subject->graph, subject->text, perturbation, key, arena, diagnostics);
    double distance = perturbed ? reference_distance(subject->reference, perturbed, NULL) : INFINITY;
    if (!(distance <= worst)) worst = distance;
    if (perturbed) program_destroy(perturbed->program);
    arena_destroy(arena);
  }
  return worst <= conditioned;
}

/* Half of those that are built with codes, which small graphs have little to do for, and a quarter of the others. */
static bool
is_large(uint64_t number)
{
  return number < LARGE_GRAPHS && (number % 4 == 1 || number % 8 == 4);
}

static bool
make_subject(Totals *totals, Subject *subject, uint64_t number, Arena *arena, Diagnostics *diagnostics)
{
  subject->graph = make_random_graph(is_large(number) ? LARGE_GRAPHS + number : number, arena, diagnostics);
  totals->graphs++;
  if (!note(totals, MADE, subject->graph->is_whole, number, "%s", "no loss could be made")) return false;
  subject->text = print_program(subject->graph->program, arena);
  if (getenv("SHOW")) fputs(subject->text, stdout);
  subject->reference = evaluate_reference(subject->graph, subject->text, 0, 0, arena, diagnostics);
  if (!note(totals, MADE, subject->reference && subject->reference->count, number, "%s", "not differentiated")) return false;
  totals->nodes += subject->graph->program->order_count;
  count_operators(totals, subject->graph->program);
  count_operators(totals, subject->reference->program);
  subject->is_conditioned = is_well_conditioned(subject, diagnostics);
  totals->ill_conditioned += !subject->is_conditioned;
  return true;
}

static void
emit_subject(Totals *totals, Subject *subject, int which, Arena *arena, Diagnostics *diagnostics)
{
  uint64_t number = subject->graph->number;
  static const char *const builds[BUILDS] = {"exact", "coded", "again"};
  subject->setting[which] = draw_setting(which != CODED ? 0 : number % 3 == 0 ? 1 : number + 2);
  if (which == AGAIN) {
    subject->setting[which].most_recomputed = number % 3 ? (uint64_t)1 << (12 + number % 5 * 3) : 0;
    subject->setting[which].offloads = true;
  }
  const char *setting = setting_text(&subject->setting[which], arena);
  snprintf(subject->name[which], sizeof subject->name[which], "g%llu_%s", (unsigned long long)number, builds[which]);
  bool is_good = emit_graph(subject->graph, subject->text, &subject->setting[which], subject->name[which], arena, diagnostics,
                            &subject->emission[which]);
  if (!note(totals, EMITTED, is_good, number, "%s", setting)) return;
  totals->saves += subject->emission[which].save_count;
  totals->exact_saves += subject->emission[which].exact_count;
  is_good = verify_emission(&subject->emission[which], diagnostics);
  note(totals, VERIFIED, is_good, number, "%s", setting);
  subject->is_emitted[which] = write_emission(&subject->emission[which], diagnostics);
}

/* The first place where two texts differ. */
static const char *
difference(const char *a, const char *b, Arena *arena)
{
  size_t at = 0;
  while (a[at] && a[at] == b[at]) at++;
  size_t start = at > 60 ? at - 60 : 0;
  return arena_format(arena, "'%.*s' became '%.*s'", 120, a + start, 120, b + start);
}

static void
check_variant(Totals *totals, Subject *subject, int which, int variant, Diagnostics *diagnostics)
{
  Arena *arena = arena_create();
  Emission emission;
  const char *text = variant_text(subject->graph, subject->text, variant, arena, diagnostics), *problem = NULL;
  size_t length, other_length;
  if (!text || !emit_graph(subject->graph, text, &subject->setting[which], subject->name[which], arena, diagnostics, &emission)) {
    problem = "it is not emitted";
  } else {
    const char *before = anonymous_text(&subject->emission[which], arena), *after = anonymous_text(&emission, arena);
    const unsigned char *weights = weights_data(&subject->emission[which], &length), *others = weights_data(&emission, &other_length);
    if (strcmp(before, after)) problem = difference(before, after, arena);
    else if (length != other_length || (length && memcmp(weights, others, length))) problem = "other weights";
    end_emission(&emission);
  }
  if (problem && getenv("SHOW") && text) fputs(text, stdout);
  note(totals, VARIANT_TEXTS, !problem, subject->graph->number, "%s",
       arena_format(arena, "%s: %s", variant_name(variant), problem ? problem : "as it should"));
  arena_destroy(arena);
}

/* ---- a trainer ------------------------------------------------------------------------------------------------ */

static void
check_gradients(Totals *totals, const Subject *subject, const Reference *got)
{
  const Reference *exact = subject->reference;
  uint64_t number = subject->graph->number;
  Reference ordered = {.gradient = calloc(exact->count + 1u, sizeof *ordered.gradient)};
  const char *missing = got->count == exact->count ? NULL : "another number of gradients";
  for (uint32_t i = 0; i < exact->count && !missing; i++) {
    for (uint32_t k = 0; k < got->count; k++)
      if (!strcmp(got->gradient[k].parameter, exact->gradient[i].parameter)) ordered.gradient[i] = got->gradient[k];
    if (!ordered.gradient[i].data || ordered.gradient[i].count != exact->gradient[i].count) missing = exact->gradient[i].parameter;
  }
  const char *worst = "";
  double distance = missing ? INFINITY : reference_distance(exact, &ordered, &worst);
  char text[128];
  snprintf(text, sizeof text, "relative distance %.3g of '%.60s'", distance, worst);
  note(totals, GRADIENTS, distance <= limit, number, "%s", missing ? missing : text);
  if (distance > totals->worst) {
    totals->worst = distance;
    totals->worst_graph = number;
  }
  free(ordered.gradient);
}

static bool
same_run(const Run *a, const Run *b)
{
  if (memcmp(a->loss, b->loss, sizeof a->loss)) return false;
  if (memcmp(&a->evaluation_loss, &b->evaluation_loss, sizeof a->evaluation_loss)) return false;
  for (uint32_t i = 0; i < a->gradients->count; i++) {
    const ReferenceGradient *one = &a->gradients->gradient[i], *other = &b->gradients->gradient[i];
    if (one->count != other->count || memcmp(one->data, other->data, (size_t)one->count * sizeof *one->data)) return false;
  }
  return a->gradients->count == b->gradients->count && a->variables_hash == b->variables_hash;
}

/* exact: what the trainer did that saves everything. */
static void
check_recomputation(Totals *totals, const Subject *subject, const Run *exact, void *trainers, const RunOptions *options, Arena *arena)
{
  Run again = run_trainer(subject->graph, trainers, &subject->emission[AGAIN], options, arena);
  totals->recomputed_nodes += subject->emission[AGAIN].recomputed_count;
  note(totals, RECOMPUTED, !again.failure && same_run(exact, &again), subject->graph->number, "%s",
       again.failure ? again.failure : setting_text(&subject->setting[AGAIN], arena));
}

static void
run_subject(Totals *totals, const Subject *subject, int which, void *trainers, Arena *arena)
{
  static const int blocks[] = {0, 1, 8, 16};
  uint64_t number = subject->graph->number;
  const Emission *emission = &subject->emission[which];
  RunOptions options = {.wants_gradients = true, .steps = 3, .channel_block = blocks[number / 2 % 4]};
  Run plain = run_trainer(subject->graph, trainers, emission, &options, arena);
  if (!note(totals, TRAINS, !plain.failure, number, "%s", plain.failure)) return;
  if (which == EXACT && subject->is_emitted[AGAIN]) check_recomputation(totals, subject, &plain, trainers, &options, arena);
  if (which == EXACT && subject->is_conditioned) check_gradients(totals, subject, plain.gradients);
  /* The library's scratch was asked for at this machine's own channel block. */
  if (!options.channel_block)
    note(totals, MEMORY, plain.allocated_bytes == emission->planned_bytes, number, "%s", setting_text(&subject->setting[which], arena));
  options.is_poisoned = true;
  Run poisoned = run_trainer(subject->graph, trainers, emission, &options, arena);
  totals->poisoned_bytes += poisoned.poisoned_bytes;
  note(totals, POISONED, !poisoned.failure && same_run(&plain, &poisoned), number, "%s",
       poisoned.failure ? poisoned.failure : setting_text(&subject->setting[which], arena));
}

/* ---- a batch --------------------------------------------------------------------------------------------------- */

static bool
is_built(uint64_t number, int which)
{
  return getenv("FULL") || (which == AGAIN ? number % 4 == EXACT : number % 2 == (unsigned)which);
}

static void
run_batch(Totals *totals, uint64_t first, unsigned count)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  Subject *subject = arena_array(arena, BATCH, sizeof *subject);
  const char *names[BUILDS * BATCH];
  unsigned built = 0;
  diagnostics->stream = stdout;
  for (unsigned i = 0; i < count; i++) {
    uint64_t number = first + i;
    diagnostics->errors = 0;
    if (!make_subject(totals, &subject[i], number, arena, diagnostics)) continue;
    for (int which = 0; which < BUILDS; which++) {
      if (!is_built(number, which)) continue;
      emit_subject(totals, &subject[i], which, arena, diagnostics);
      if (subject[i].is_emitted[which]) names[built++] = subject[i].name[which];
      for (int variant = 0; variant < VARIANTS && subject[i].is_emitted[which]; variant++)
        if (getenv("FULL") || variant == (int)(number / 2 % VARIANTS)) check_variant(totals, &subject[i], which, variant, diagnostics);
    }
  }
  void *trainers = built ? load_trainers(names, built, "trainers.so", arena) : NULL;
  note(totals, COMPILED, !built || trainers, first, "%s", "a graph of this one and those after it");
  for (unsigned i = 0; i < count && trainers; i++)
    for (int which = 0; which < BUILDS; which++)
      if (subject[i].is_emitted[which]) run_subject(totals, &subject[i], which, trainers, arena);
  unload_trainers(trainers);
  for (unsigned i = 0; i < built && !getenv("KEEP"); i++) {
    static const char *const endings[] = {"c", "h", "safetensors"};
    for (int k = 0; k < 3; k++) unlink(arena_format(arena, "%s.%s", names[i], endings[k]));
  }
  unlink("trainers.so");
  for (unsigned i = 0; i < count; i++) {
    for (int which = 0; which < BUILDS; which++) end_emission(&subject[i].emission[which]);
    if (subject[i].reference) program_destroy(subject[i].reference->program);
    program_destroy(subject[i].graph->program);
  }
  arena_destroy(arena);
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

/* Operators with a gradient that no graph can hold, and why. */
static const struct {
  const char *name, *why;
} never_drawn[] = {
    {"TransposeInverse", "only made by gradients"},
    {"ConcatPart", "only made by gradients"},
    {"SliceBack", "only made by differentiating twice"},
    {"SliceGrad", "only made by gradients"},
    {"GatherGrad", "only made by gradients"},
    {"GatherElementsGrad", "only made by gradients"},
    {"GatherNDGrad", "only made by gradients"},
    {"Spread", "only made by gradients"},
    {"SpreadMean", "only made by gradients"},
    {"GroupNorm", "no pass makes it"},
    {"ToBlocked", "only made by layout"},
    {"ToPlain", "only made by layout"},
    {"Attention", "only made by fuse-attention"},
    {"PackTriangle", "only made by pack-triangles"},
    {"UnpackTriangle", "only made by pack-triangles"},
};

static const char *
reason_never_drawn(const char *name)
{
  for (size_t i = 0; i < sizeof never_drawn / sizeof never_drawn[0]; i++)
    if (!strcmp(never_drawn[i].name, name)) return never_drawn[i].why;
  return NULL;
}

static void
check_table(const Totals *totals)
{
  unsigned drawn = 0, missing = 0, excused = 0;
  for (size_t i = 0; i < operator_count(); i++) {
    const Operator *operator = operator_at(i);
    if (!operator->gradient || !*operator->gradient) continue;
    if (totals->drawn[i]) drawn++;
    else if (reason_never_drawn(operator->name)) excused++;
    else missing++, printf("# %s has a gradient and was never drawn\n", operator->name);
  }
  ok(!missing, "every operator with a gradient was drawn: %u were, %u have a reason not to be", drawn, excused);
}

static void
report_totals(const Totals *totals)
{
  printf("# %u graphs of %.1f nodes, %u of them ill-conditioned; worst gradient %.3g (graph %llu); %.1f MB poisoned; "
         "%u nodes computed again; %u coded saves, %u as they are\n", totals->graphs,
         (double)totals->nodes / (totals->graphs ? totals->graphs : 1), totals->ill_conditioned, totals->worst,
         (unsigned long long)totals->worst_graph, (double)totals->poisoned_bytes * 1e-6, totals->recomputed_nodes, totals->saves,
         totals->exact_saves);
  for (int i = 0; i < CHECKS; i++) {
    unsigned done = totals->done[i], failed = totals->failed[i];
    ok(done && !failed, "%s: %u of %u", check_names[i], done - failed, done);
  }
  ok(totals->ill_conditioned * 10 <= totals->graphs + 20, "at most one graph in ten is ill-conditioned: %u of %u",
     totals->ill_conditioned, totals->graphs);
}

static uint64_t
number_from(const char *variable, uint64_t otherwise)
{
  const char *text = getenv(variable);
  return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* By hand, from the build tree, in a folder of the sources. */
static void
say_where_things_are(void)
{
  char here[4096], above[4100];
  if (!getcwd(here, sizeof here)) return;
  snprintf(above, sizeof above, "%s/..", here);
  setenv("top_builddir", here, 0);
  setenv("top_srcdir", above, 0);
}

int
main(void)
{
  uint64_t graphs = number_from("GRAPHS", 500), first = number_from("FIRST", 0);
  Totals totals = {.drawn = calloc(operator_count() + 1, sizeof(unsigned))};
  char folder[512];
  const char *keep = getenv("KEEP"), *temporary = getenv("TMPDIR");
  say_where_things_are();
  snprintf(folder, sizeof folder, "%s", keep ? keep : "");
  if (!keep) snprintf(folder, sizeof folder, "%s/actnn-graphs.XXXXXX", temporary ? temporary : "/tmp");
  if (!totals.drawn || (!keep && !mkdtemp(folder)) || chdir(folder)) return perror(folder), 1;
  for (uint64_t done = 0; done < graphs; done += BATCH) {
    run_batch(&totals, first + done, graphs - done < BATCH ? (unsigned)(graphs - done) : BATCH);
    if (done / 1000 != (done + BATCH) / 1000) printf("# %llu graphs\n", (unsigned long long)(done + BATCH)), fflush(stdout);
  }
  for (size_t i = 0; i < sizeof once_wrong / sizeof *once_wrong && !getenv("FIRST"); i++) run_batch(&totals, once_wrong[i], 1);
  report_totals(&totals);
  if (graphs >= 400) check_table(&totals);
  remove_compiled_header();
  if (!keep && (chdir("/") || rmdir(folder))) perror(folder);
  free(totals.drawn);
  return tap_done();
}
