/* test_plan_memory.c: random programs of a few nodes are laid out: what lives at one time lies apart, unless an operator works in
 * place or only views; the bound is what lives at once; and no order of placing is lower by more than a little. */
#include "../../passes/passes.h"
#include "../runtime/tap.h"

#include <stdlib.h>
#include <string.h>

enum { NODES = 7, UNIT = 64, PROGRAMS = 400, NEVER_DIES = 1000 };

PassFunction plan_memory;
static uint64_t state = 3;

static uint32_t
draw(uint32_t below)
{
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33) % below;
}

/* A program's nodes, one result each: node i is read by later nodes, and lives from i to the last of them. */
typedef struct Sample {
  Program *program;
  ValueId input, result[NODES];
  const char *name[NODES];
  uint32_t source[NODES];    /* the node whose result is operand 0; NO_VALUE: the input */
  uint32_t last[NODES];      /* of the result alone */
  uint64_t bytes[NODES];
  bool is_evaluation[NODES]; /* of the second half, where the program has one */
} Sample;

static Sample
make_sample(Arena *arena, bool shares, bool evaluates)
{
  static const char *const names[] = {"Concat", "Relu", "Reshape", "Neg"};
  Sample sample = {.program = program_create("sample", diagnostics_create(arena))};
  Program *program = sample.program;
  sample.input = add_value(program, "x", VALUE_INPUT, ACTNN_F32, (Shape){1, {16}});
  program->inputs = arena_array(arena, 1, sizeof *program->inputs);
  program->inputs[program->input_count++] = sample.input;
  for (uint32_t i = 0; i < NODES; i++) {
    bool in_second = evaluates && i > NODES / 2;
    uint32_t first = in_second ? NODES / 2 + 1 : 0, other = i > first ? first + draw(i - first) : NO_VALUE;
    int64_t extent = 16 * (1 + draw(8));
    sample.source[i] = i > first && draw(4) ? first + draw(i - first) : NO_VALUE;
    sample.name[i] = names[shares ? draw(4) : 0];
    sample.is_evaluation[i] = in_second;
    if (sample.source[i] != NO_VALUE && sample.name[i][0] != 'C') extent = value_at(program, sample.result[sample.source[i]])->shape.dim[0];
    ValueId operands[] = {sample.source[i] == NO_VALUE ? sample.input : sample.result[sample.source[i]],
                          other == NO_VALUE || sample.name[i][0] != 'C' ? NO_VALUE : sample.result[other]};
    sample.result[i] = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){1, {extent}});
    sample.bytes[i] = (uint64_t)extent * 4;
    sample.last[i] = i;
    add_node(program, in_second ? PHASE_EVALUATE : PHASE_FORWARD, "", sample.name[i], NULL, operands, operands[1] == NO_VALUE ? 1 : 2,
             &sample.result[i], 1);
    if (sample.source[i] != NO_VALUE) sample.last[sample.source[i]] = i;
    if (operands[1] != NO_VALUE) sample.last[other] = i;
  }
  if (!evaluates && draw(2)) { /* what the host reads after the step */
    uint32_t kept = draw(NODES);
    program->loss = sample.result[kept];
    sample.last[kept] = NEVER_DIES;
  }
  return sample;
}

static uint64_t
offset_of(const Sample *sample, ValueId value)
{
  const Plan *plan = sample->program->plan;
  return plan->buffer[plan->buffer_of[value]].offset;
}

/* The node that made what this one views. */
static uint32_t
viewed(const Sample *sample, uint32_t node)
{
  while (!strcmp(sample->name[node], "Reshape") && sample->source[node] != NO_VALUE) node = sample->source[node];
  return node;
}

/* Two results in the same memory at one time: only of one value seen in several ways, or as an operand's last use goes over into
 * its result, in place. */
static bool
may_share(const Sample *sample, uint32_t early, uint32_t late)
{
  uint32_t source = sample->source[late];
  if (offset_of(sample, sample->result[early]) != offset_of(sample, sample->result[late])) return false;
  if (viewed(sample, early) == viewed(sample, late)) return true;
  bool is_in_place = !strcmp(sample->name[late], "Relu") || !strcmp(sample->name[late], "Neg");
  return is_in_place && source != NO_VALUE && viewed(sample, source) == viewed(sample, early) && sample->last[early] <= late;
}

static bool
is_apart(const Sample *sample)
{
  for (uint32_t late = 0; late < NODES; late++) {
    uint64_t start = offset_of(sample, sample->result[late]), end = start + sample->bytes[late];
    if (start % UNIT || start < sample->program->plan->variable_bytes || end > sample->program->plan->stash_offset) return false;
    for (uint32_t early = 0; early < late; early++) {
      uint64_t other = offset_of(sample, sample->result[early]);
      bool meets = start < other + sample->bytes[early] && other < end, lives = sample->last[early] >= late;
      if (sample->is_evaluation[early] != sample->is_evaluation[late]) continue;
      if (meets && lives && !may_share(sample, early, late)) return false;
    }
  }
  return true;
}

/* The most bytes that live at once, in training or in evaluation. */
static uint64_t
bytes_alive(const Sample *sample)
{
  uint64_t most = 0;
  for (uint32_t at = 0; at < NODES; at++) {
    uint64_t alive = 0;
    for (uint32_t i = 0; i <= at; i++)
      if (sample->last[i] >= at && sample->is_evaluation[i] == sample->is_evaluation[at]) alive += sample->bytes[i];
    most = alive > most ? alive : most;
  }
  return most;
}

/* The lowest height over all orders in which buffers are put as low as they go: the optimum is among them. */
static uint64_t
lowest_height(const Sample *sample, uint32_t *order, uint64_t *offset, uint32_t count, uint64_t height, uint64_t best)
{
  if (height >= best || count == NODES) return height < best ? height : best;
  for (uint32_t next = 0; next < NODES; next++) {
    bool is_placed = false, moves = true;
    for (uint32_t k = 0; k < count; k++) is_placed |= order[k] == next;
    if (is_placed) continue;
    offset[next] = 0;
    while (moves) {
      moves = false;
      for (uint32_t k = 0; k < count; k++) {
        uint32_t other = order[k], early = other < next ? other : next, late = other < next ? next : other;
        bool lives = sample->last[early] >= late && sample->is_evaluation[early] == sample->is_evaluation[late];
        if (!lives || offset[next] >= offset[other] + sample->bytes[other] || offset[other] >= offset[next] + sample->bytes[next]) continue;
        offset[next] = offset[other] + sample->bytes[other];
        moves = true;
      }
    }
    uint64_t top = offset[next] + sample->bytes[next];
    order[count] = next;
    best = lowest_height(sample, order, offset, count + 1, top > height ? top : height, best);
  }
  return best;
}

static void
test_programs(bool shares, bool evaluates, const char *what)
{
  const Options options = {.loss = "mse", .optimizer = "sgd"};
  double planned = 0, optimum = 0;
  bool apart = true, bounded = true, summed = true;
  unsigned saved = 0;
  for (int trial = 0; trial < PROGRAMS; trial++) {
    Arena *arena = arena_create();
    Sample sample = make_sample(arena, shares, evaluates);
    uint32_t order[NODES];
    uint64_t offset[NODES], alive = bytes_alive(&sample);
    bool is_good = plan_memory(sample.program, &options);
    const Plan *plan = sample.program->plan;
    uint64_t height = plan->stash_offset - plan->variable_bytes;
    apart &= is_good && is_apart(&sample);
    summed &= plan->stash_bytes == 0 && plan->workspace_bytes == 0 && plan->arena_bytes == plan->stash_offset;
    summed &= plan->variable_bytes == (plan->buffer_of[sample.input] == NO_VALUE ? 0 : UNIT) && plan->workspace_offset == plan->arena_bytes;
    bounded &= height >= plan->lower_bound && (shares ? plan->lower_bound <= alive : plan->lower_bound == alive);
    saved += height < alive;
    planned += (double)height;
    optimum += shares ? 0 : (double)lowest_height(&sample, order, offset, 0, 0, UINT64_MAX);
    program_destroy(sample.program);
    arena_destroy(arena);
  }
  ok(apart, "%s: what lives at one time lies apart, aligned, within the arena", what);
  ok(bounded, "%s: the bound is what lives at once", what);
  ok(summed, "%s: the arena is the sum of its parts", what);
  if (shares)
    ok(saved > PROGRAMS / 10, "%s: sharing takes less than separate buffers alive, in %u of %d programs", what, saved, PROGRAMS);
  else
    ok(planned >= optimum && planned <= 1.01 * optimum, "%s: %.4f of the optimum of %d programs together", what, planned / optimum, PROGRAMS);
}

/* ---- what no random program has ---------------------------------------------------------------------------- */

#define PROGRAM(facts, signature, types, nodes) \
  "<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 1]" facts ">\ng " signature "\n<" types ">\n{\n" nodes "}\n"

/* Lives until the next one, or the end. */
static Program *
planned(Arena *arena, const char *text)
{
  static Program *program;
  const Options options = {.loss = "mse", .optimizer = "sgd"};
  if (program) program_destroy(program);
  program = text ? parse_program("text", text, strlen(text), diagnostics_create(arena)) : NULL;
  return program && plan_memory(program, &options) ? program : NULL;
}

static ValueId
value_named(const Program *program, const char *name)
{
  for (ValueId id = 0; id < program->value_count; id++)
    if (value_at(program, id)->name && !strcmp(value_at(program, id)->name, name)) return id;
  return NO_VALUE;
}

static const Buffer *
buffer_of(const Program *program, const char *name)
{
  return &program->plan->buffer[program->plan->buffer_of[value_named(program, name)]];
}

static void
test_buffers(void)
{
  Arena *arena = arena_create();
  Program *program = planned(arena, PROGRAM("", "(float[0,4] x) => (float[0,4] y)", "float[0,4] a",
                                            "a = Concat<axis = 0>(x)\ny = Concat<axis = 0>(, a)\n"));
  ok(program && buffer_of(program, "y")->bytes == UNIT && buffer_of(program, "y") != buffer_of(program, "a"),
     "a tensor without elements has a place of its own");
  program = planned(arena, PROGRAM("", "(float[16] x) => (bool[16] y, float[16] z)", "float[16] a, float[16] b",
                                "a = Concat<axis = 0>(x)\ny = Neg(a)\nb = Concat<axis = 0>(x)\nz = Neg(b)\n"));
  ok(program && buffer_of(program, "y") != buffer_of(program, "a") && buffer_of(program, "z") == buffer_of(program, "b"),
     "in place only where the type stays");
  program = planned(arena, PROGRAM("", "(float[4] x, float[1] u) => (float[4] y)", "float[1] a", "a = Concat<axis = 0>(u)\ny = Add(a, x)\n"));
  ok(program && buffer_of(program, "y") != buffer_of(program, "a"), "and the extents, even if the place would do");
  program = planned(arena, PROGRAM("", "(float[16] x) => (float[16] y)", "float[16] a", "a = Concat<axis = 0>(x)\n\"\" = Clip(a)\ny = Neg(a)\n"));
  ok(program && program->plan->saved_bytes == 0 && buffer_of(program, "y") == buffer_of(program, "a"), "a result that nobody asked for needs none");
  program = planned(arena, PROGRAM("", "(float[16] x) => (float[16] y)", "int64[1] n = {1}", "y = Clip()\n"));
  ok(program && buffer_of(program, "y")->bytes == UNIT, "a Clip of nothing, which a text may hold, is planned");
  Save two = {.spacing = ACTNN_MASKED_LEVELS}, even = {.spacing = ACTNN_EVEN_LEVELS};
  ok(save_noise_at(&two, 0) == 1 && save_noise_at(&even, 0) == 1 && save_noise_at(&even, 2) < save_noise_at(&two, 2), "noise of codes of few levels");
  program = planned(arena, PROGRAM(", metadata_props: [\"actnn.drawn_from\" : \"w=e u=f\", \"actnn.parameter\" : \"w u\"]",
                                "(float[16] x) => (float[16] y)",
                                "float[16] w = [\"location\" : \"none\"], float[16] u = [\"location\" : \"none\"],\n"
                                "float[16] d, float[16] e, float[16] f",
                                "d = RandomNormal<shape = [16], phase = \"initialize\">()\ne = Concat<axis = 0, phase = \"initialize\">(d)\n"
                                "f = Concat<axis = 0, phase = \"initialize\">(d)\ny = Add(x, w)\n"));
  ok(program && buffer_of(program, "e") == buffer_of(program, "w") && buffer_of(program, "e")->is_persistent,
     "first values are drawn where they stay");
  ok(program && buffer_of(program, "d")->is_evaluation && buffer_of(program, "f")->is_evaluation
         && program->plan->buffer_of[value_named(program, "u")] == NO_VALUE,
     "what is drawn on the way, or for a variable that nobody reads, lies among what lives at other times than training");
  ok(program && value_bytes(program, add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){.rank = -1})) == 0
         && value_bytes(program, add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){2, {1LL << 40, 1LL << 40}})) == 0,
     "what has no known size, or one beyond all memory, takes no bytes");
  arena_destroy(arena);
}

/* A framework keeps 4 bytes an element for a mask, whoever made it. */
static void
test_masks(void)
{
  Arena *arena = arena_create();
  Program *program = planned(arena, PROGRAM(", metadata_props: [\"actnn.stash\" : \"c d\"]",
                                         "(float[2,64] x, bool[2,64] given, float[2,64] dy) => (float[2,64] y)",
                                         "bool[2,64] p, uint8[2,64] c, uint8[2,64] d, bool[2,64] m, bool[2,64] n, float[2,64] s",
                                         "p = Positive(x)\nc = actnn.PackBits<bits = 1>(given)\nd = actnn.PackBits<bits = 1>(p)\n"
                                         "m = actnn.UnpackBits<bits = 1, to = 9, phase = \"backward\">(c)\n"
                                         "n = actnn.UnpackBits<bits = 1, to = 9, phase = \"backward\">(d)\n"
                                         "s = Select<phase = \"backward\">(m, dy)\ny = Select<phase = \"backward\">(n, s)\n"));
  ok(program && program->plan->saved_bytes == 2 * UNIT && program->plan->saved_bytes_fp32 == 2 * 2 * 64 * 4,
     "masks that come from outside count as others do");
  arena_destroy(arena);
}

int
main(void)
{
  test_buffers();
  test_masks();
  planned(NULL, NULL);
  test_programs(false, false, "separate buffers");
  test_programs(false, true, "training and evaluation");
  test_programs(true, false, "views and operators in place");
  return tap_done();
}
