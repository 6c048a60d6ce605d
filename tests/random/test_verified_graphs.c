/* test_verified_graphs.c: the verifier of emitted source accepts what the translator makes of random graphs.
 *
 *   GRAPHS=10000 tests/random/test_verified_graphs   graphs 0 to 9999; 200 without
 *   FIRST=4711 GRAPHS=1 SHOW=1 ...                   one of them, its text printed
 *
 * Half of them are test_random_graphs.c's, half have larger inputs, most of those coded saves. Each is translated in a setting drawn for
 * it, one in four for a GPU at L4 or L5, and goes the way of actnnc: all passes, emission, and the verifier in its child process with the program at hand. Nothing is compiled
 * to machine code or run, so that ten thousand take minutes. */
#include "../runtime/tap.h"
#include "emission.h"

#include <stdlib.h>

enum { GRAPHS = 200, EVERY = 3, ENOUGH_TO_COUNT = 100 };

/* At level 1 a code that a weight's gradient reads and another gradient too; the check of programs took another exact value for a fault. */
static const uint64_t once_refused[] = {307};

typedef struct Totals {
  unsigned emitted, accepted, coded, offloaded;
  uint64_t calls, first_refused;
} Totals;

static void
verify_graph(Totals *totals, uint64_t number)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  Emission emission = {0};
  diagnostics->stream = stdout;
  RandomGraph *graph = make_random_graph(number / 2 + (number % 2 ? LARGE_GRAPHS : 0), arena, diagnostics);
  const char *text = print_program(graph->program, arena);
  /* Settings 0 and 1 are FP32 and the default; the others are drawn. */
  Setting setting = draw_setting(number % EVERY == 0 ? number / EVERY % 2 : number + 2);
  if (number % 4 == 1) {
    setting.is_for_gpu = true;
    setting.level = 4 + (int)(number / 4 % 2);
  }
  if (getenv("SHOW")) fputs(text, stdout);
  bool is_emitted = graph->is_whole && emit_graph(graph, text, &setting, "graph", arena, diagnostics, &emission);
  bool is_accepted = is_emitted && verify_emission(&emission, diagnostics);
  if (is_emitted) {
    totals->emitted++;
    totals->accepted += is_accepted;
    totals->coded += emission.save_count > 0;
    totals->offloaded += emission.exact_count > 0;
    totals->calls += emission.program->order_count;
    end_emission(&emission);
  }
  if (!is_accepted)
    printf("# graph %llu, %s, is %s\n", (unsigned long long)number, setting_text(&setting, arena),
           is_emitted ? "refused" : graph->is_whole ? "not emitted" : "not made");
  program_destroy(graph->program);
  arena_destroy(arena);
}

int
main(void)
{
  const char *first = getenv("FIRST"), *count = getenv("GRAPHS");
  uint64_t start = first ? strtoull(first, NULL, 10) : 0;
  unsigned graphs = count ? (unsigned)strtoul(count, NULL, 10) : GRAPHS;
  Totals totals = {0};
#ifndef ACTNN_HAVE_LIBCLANG
  printf("1..0 # SKIP the verifier was not built: no libclang\n");
  return 0;
#endif
  for (unsigned i = 0; i < graphs; i++) verify_graph(&totals, start + i);
  for (size_t i = 0; i < sizeof once_refused / sizeof *once_refused && !first; i++, graphs++) verify_graph(&totals, once_refused[i]);
  printf("# %.1f nodes a graph\n", (double)totals.calls / (totals.emitted ? totals.emitted : 1));
  ok(totals.emitted == graphs, "graphs are made and emitted: %u of %u", totals.emitted, graphs);
  if (graphs >= ENOUGH_TO_COUNT) {
    ok(totals.coded * 10 > totals.emitted, "more than a tenth have coded saves: %u", totals.coded);
    ok(totals.offloaded * 20 > totals.emitted, "more than a twentieth have values that go through the pool as they are: %u", totals.offloaded);
  }
  ok(totals.emitted && totals.accepted == totals.emitted, "none is refused by the verifier: %u of %u accepted", totals.accepted,
     totals.emitted);
  return tap_done();
}
