/* test_check_program.c: each rule of programs holds of a good program and is broken by one that differs in one thing. */
#include "../../passes/passes.h"
#include "../runtime/tap.h"

#include <stdlib.h>
#include <string.h>

typedef struct Bench {
  Arena *arena;
  Diagnostics *diagnostics;
  Program *program;
  char *messages;
  size_t message_bytes;
} Bench;

/* The stream keeps pointers into the bench. */
static void
set_up(Bench *bench, const char *text)
{
  bench->arena = arena_create();
  bench->diagnostics = diagnostics_create(bench->arena);
  bench->diagnostics->stream = open_memstream(&bench->messages, &bench->message_bytes);
  bench->program = parse_program("text", text, strlen(text), bench->diagnostics);
  fflush(bench->diagnostics->stream);
}

static void
take_down(Bench *bench)
{
  program_destroy(bench->program);
  fclose(bench->diagnostics->stream);
  free(bench->messages);
  arena_destroy(bench->arena);
}

/* A step of training with a coded save, as an inputs-and-body template: what is put in breaks one rule. */
#define SAVE_OF(value, stash) "\"actnn.saves\" : \"complete " value " " stash " even stochastic plain 0 0 4 8192 131072 1 fixed why\", "
#define STEP(facts, declarations, nodes) \
  "<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 1], metadata_props: [\"actnn.stash\" : \"code\", " facts \
  "\"actnn.loss\" : \"loss\"]>\n" \
  "g (float[64,512] x, float[64,512] dy) => (float loss) <float[512,512] w = [\"location\" : \"none\"],\n" \
  "  float[64,512] a, float[64,512] r, uint8[64,512] code, float[64,512] b, float[512,512] dw, float[512,512] w2" declarations \
  "> {\n" nodes "}\n"
#define FORWARD \
  "a = MatMul(x, w)\n r = Exp(a)\n code = actnn.QuantizeOnSave<save = 0>(r)\n loss = ReduceSum<keepdims = 0>(r)\n"
#define BACKWARD \
  "b = actnn.DequantizeOnBackward<save = 0, phase = \"backward\">(code)\n" \
  "dw = actnn.ProductGradWeight<phase = \"backward\">(dy, b, shape)\n"
#define EXACT(declarations, to_save, number, value) \
  STEP("\"actnn.stash\" : \"held\", ", ", uint8[64,512] held" declarations SHAPE, \
       FORWARD "held = actnn.SaveExact<number = " to_save ">(r)\n" \
       "back = actnn.RestoreExact<number = " number ", to = " value ", phase = \"backward\">(held)\n" BACKWARD UPDATING)
#define UPDATING "w2 = actnn.Update<phase = \"update\">(w, dw)\n"
#define SAVES SAVE_OF("r", "code")
#define UPDATES "\"actnn.updates\" : \"w2=w\", "
#define NORMAL SHAPE ", float[4,16,8,8] u = [\"location\" : \"none\"], float[16] s = [\"location\" : \"none\"], float[4,16,8,8] y, uint8[4,16,8,8] z"
#define SHAPE ", int64[2] shape = {512, 512}"

static const struct {
  const char *rule, *text;
} cases[] = {
    {NULL, STEP(SAVES UPDATES, SHAPE, FORWARD BACKWARD UPDATING)},
    {"operands fit", STEP("", SHAPE, FORWARD "t = MatMul(x)\n" BACKWARD UPDATING)},
    {"operands fit", STEP("", SHAPE, FORWARD "t = Exp(x, x)\n" BACKWARD UPDATING)},
    {"results fit", STEP("", SHAPE, FORWARD "t, u = Exp(x)\n" BACKWARD UPDATING)},
    {"phase of operands", STEP("", ", float[64,512] d, float[64,512] e" SHAPE, "d = Exp<phase = \"backward\">(x)\n e = Exp(d)\n" FORWARD)},
    {"phase of operands", STEP("", SHAPE, FORWARD "t = Exp<phase = \"evaluate\">(r)\n")},
    {NULL, STEP("", ", float[64,512] d, float[64,512] e" SHAPE,
                FORWARD "d = Exp<phase = \"recompute\">(a)\n e = Exp<phase = \"backward\">(d)\n")},
    {"phase of operands", STEP("", ", float[64,512] d, float[64,512] e" SHAPE,
                               FORWARD "d = Exp<phase = \"backward\">(x)\n e = Exp<phase = \"recompute\">(d)\n")},
    {"recomputed exactly", STEP("", SHAPE, FORWARD "b = actnn.DequantizeOnBackward<save = 0, phase = \"recompute\">(code)\n")},
    {"order of phases", STEP("", ", float[64,512] d, float[64,512] e" SHAPE, "d = Exp<phase = \"backward\">(x)\n e = Exp(x)\n" FORWARD)},
    {"stash", STEP("", SHAPE, FORWARD BACKWARD "t = Exp<phase = \"backward\">(code)\n")},
    {"stash", STEP("\"actnn.stash\" : \"a\", ", SHAPE, FORWARD)},
    /* Of what normalizes and saves only the last result is a code, and of what is selected by codes only they are. */
    {NULL, STEP("\"actnn.blocked\" : \"u y\", \"actnn.stash\" : \"z\", ", NORMAL,
                FORWARD "y, z = actnn.NormalizeOnSave<save = 0, rectified = 1>(u, s, s, s, s)\n")},
    {"stash", STEP("\"actnn.blocked\" : \"u y\", ", NORMAL,
                   FORWARD "y, z = actnn.NormalizeOnSave<save = 0, rectified = 1>(u, s, s, s, s)\n")},
    {"stash", STEP("\"actnn.stash\" : \"y z\", ", NORMAL,
                   FORWARD "y, z = actnn.NormalizeOnSave<save = 0, rectified = 1>(u, s, s, s, s)\n")},
    {"operands fit", STEP("\"actnn.blocked\" : \"u y\", \"actnn.stash\" : \"z\", ", NORMAL,
                          FORWARD "y, z = actnn.NormalizeOnSave<save = 0, rectified = 1>(u, s, s)\n")},
    {"shapes known", STEP("", SHAPE, FORWARD BACKWARD "t = Exp<phase = \"backward\">(dy)\n")},
    {NULL, EXACT(", float[64,512] back", "0", "0", "1")},
    {"saved as it is", EXACT(", float[64,512] back", "1", "1", "1")},
    {"saved as it is", EXACT(", float[64,512] back", "0", "1", "1")},
    {"saved as it is", EXACT(", float[64,512] back", "-1", "-1", "1")},
    {"saved as it is", EXACT(", float[512,64] back", "0", "0", "1")},
    {"saved as it is", EXACT(", bfloat16[64,512] back", "0", "0", "16")},
    {"saved as it is", STEP("\"actnn.stash\" : \"held\", ", ", uint8[32,512] held" SHAPE, FORWARD "held = actnn.SaveExact<number = 0>(r)\n")},
    {"saved as it is", STEP("\"actnn.stash\" : \"held\", ", ", bool[64,512] b1, uint8[64,512] held" SHAPE,
                            FORWARD "b1 = actnn.Positive(r)\n held = actnn.SaveExact<number = 0>(b1)\n")},
    {"saved as it is", STEP("\"actnn.stash\" : \"held kept\", ", ", uint8[64,512] held, uint8[64,512] kept" SHAPE,
                            FORWARD "held = actnn.SaveExact<number = 0>(r)\n kept = actnn.SaveExact<number = 0>(a)\n")},
    {"saved as it is", STEP("", ", float[64,512] back" SHAPE,
                            FORWARD "back = actnn.RestoreExact<number = 0, to = 1, phase = \"backward\">(code)\n")},
    {"saved through a code",
     STEP(SAVES, ", float[512,512] dw2" SHAPE,
          FORWARD BACKWARD "dw2 = actnn.ProductGradWeight<phase = \"backward\">(dy, r, shape)\n")},
    {"saved through a code",
     STEP(SAVES, ", float[512,512] dw2" SHAPE,
          FORWARD BACKWARD "dw2 = actnn.ProductGradWeight<phase = \"backward\">(dy, a, shape)\n")},
    {"update", STEP("\"actnn.updates\" : \"w2=x\", ", SHAPE, FORWARD BACKWARD UPDATING)},
    {"update", STEP("\"actnn.updates\" : \"b=w\", ", SHAPE, FORWARD BACKWARD UPDATING)},
    {"update", STEP(UPDATES "\"actnn.frozen\" : \"w\", ", SHAPE, FORWARD BACKWARD UPDATING)},
    {"one update", STEP("\"actnn.updates\" : \"w2=w dw=w\", ", SHAPE, FORWARD BACKWARD UPDATING)},
    {"drawing", STEP("\"actnn.drawn_from\" : \"w=dw\", ", SHAPE, FORWARD BACKWARD UPDATING)},
    {"layout", STEP("\"actnn.blocked\" : \"a\", ", SHAPE, FORWARD BACKWARD UPDATING)},
    {"layout", STEP("\"actnn.coded\" : \"a\", ", SHAPE, FORWARD BACKWARD UPDATING)},
    {"layout", STEP("\"actnn.stash\" : \"z\", \"actnn.blocked\" : \"u y z\", ", NORMAL,
                    FORWARD "y, z = actnn.NormalizeOnSave<save = 0, rectified = 1>(u, s, s, s, s)\n")},
    {NULL, STEP("", ", float[32,512] p, float[32,512] q" SHAPE, FORWARD "p, q = Split<axis = 0>(x)\n" BACKWARD UPDATING)},
    {"shapes known", STEP("", ", float[?,512] t" SHAPE, FORWARD BACKWARD "t = Exp<phase = \"backward\">(dy)\n")},
    {NULL, STEP("\"actnn.stash\" : \"bits\", ", ", uint8[8] bits, float[64,512] t" SHAPE,
                FORWARD "bits = actnn.PackBits<bits = 1>(a)\n t = actnn.UnpackBits<bits = 1, to = 1, phase = \"recompute\">(bits)\n" BACKWARD)},
    {"update", STEP("\"actnn.updates\" : \"t=w\", ", ", float[512,511] t" SHAPE, FORWARD BACKWARD "t = Exp<phase = \"update\">(dw)\n")},
    {"update", STEP("\"actnn.updates\" : \"t=w\", ", ", int64[512,512] t" SHAPE, FORWARD BACKWARD "t = Exp<phase = \"update\">(dw)\n")},
    {NULL, STEP("\"actnn.updates\" : \"t=w\", ", SHAPE, FORWARD "t = Exp(w)\n")},
    {NULL, STEP("\"actnn.updates\" : \"t=w\", ", ", float[?,512] t" SHAPE, FORWARD "t = Exp(w)\n")},
    {"update", STEP("\"actnn.updates\" : \"v=w\", ", ", float[512,512] v = [\"location\" : \"none\"]" SHAPE, FORWARD BACKWARD UPDATING)},
    {"update", STEP("\"actnn.updates\" : \"t=w\", ", ", float[512,512] t" SHAPE, FORWARD "t = Exp<phase = \"evaluate\">(w)\n")},
    {"drawing", STEP("\"actnn.drawn_from\" : \"a=r\", ", SHAPE, FORWARD BACKWARD UPDATING)},
    {"drawing", STEP("\"actnn.drawn_from\" : \"w=d\", ", ", float[2] d" SHAPE,
                     "d = RandomNormal<shape = [2], phase = \"initialize\">()\n" FORWARD BACKWARD UPDATING)},
    {NULL, STEP("\"actnn.drawn_from\" : \"w=d\", ", ", float[512,512] d" SHAPE,
                "d = RandomNormal<shape = [512, 512], phase = \"initialize\">()\n" FORWARD BACKWARD UPDATING)},
    /* A backward node without an operand. */
    {NULL, STEP(SAVES, ", float[64,512] t" SHAPE,
                FORWARD BACKWARD "t = actnn.Product<phase = \"backward\">(dy, w, \"\")\n" UPDATING)},
    /* Saves that nothing makes: without a value or a stash, of a coder that makes nothing, of what comes from outside. */
    {"saves", STEP(SAVE_OF("''", "''"), SHAPE, FORWARD BACKWARD UPDATING)},
    {"saves", STEP(SAVE_OF("''", "code"), SHAPE, FORWARD BACKWARD UPDATING)},
    {"saves", STEP(SAVE_OF("r", "''"), SHAPE, FORWARD BACKWARD UPDATING)},
    {"saves", STEP(SAVE_OF("r", "w"), SHAPE, FORWARD BACKWARD UPDATING)},
    {"saves", STEP(SAVE_OF("w", "code"), SHAPE, FORWARD BACKWARD UPDATING)},
};

static void
test_cases(void)
{
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Bench bench = {0};
    set_up(&bench, cases[i].text);
    if (ok(bench.program != NULL, "case %zu is read", i)) {
      bool is_legal = check_program(bench.program, "testing");
      fflush(bench.diagnostics->stream);
      bool is_right = cases[i].rule ? !is_legal
                                          && strstr(bench.messages, arena_format(bench.arena, "after testing: rule '%s'", cases[i].rule))
                                    : is_legal;
      if (!ok(is_right, "%s: %s", cases[i].rule ? "broken" : "kept", cases[i].rule ? cases[i].rule : "all rules"))
        printf("# got: %s\n", bench.messages);
      if (!is_legal) ok(bench.diagnostics->errors == 1, "one offence is reported");
    } else {
      printf("# got: %s\n", bench.messages);
    }
    take_down(&bench);
  }
}

/* ---- what no text can say ------------------------------------------------------------------------- */

static void
swap_nodes(Program *program)
{
  NodeId first = program->order[0];
  program->order[0] = program->order[1];
  program->order[1] = first;
}

static void
repeat_node(Program *program)
{
  program->order[1] = program->order[0];
}

static void
unmake_operand(Program *program)
{
  remove_from_order(program, 0);
}

static void
make_twice(Program *program)
{
  node_at(program, 1)->results[0] = node_at(program, 0)->results[0];
}

static void
make_parameter(Program *program)
{
  result_value(program, node_at(program, 1), 0)->kind = VALUE_PARAMETER;
}

static void
lose_loss(Program *program)
{
  remove_from_order(program, 3);
}

static void
break_operand(Program *program)
{
  node_at(program, 1)->operands[0] = program->value_count;
}


static void
break_data(Program *program)
{
  value_at(program, program->inputs[0])->data = program;
  value_at(program, program->inputs[0])->data_bytes = 3;
}

static void
lose_maker(Program *program)
{
  result_value(program, node_at(program, 1), 0)->producer = 0;
}

static void
repeat_result(Program *program)
{
  set_result(program, 1, 1, result_id(node_at(program, 1), 0));
}

static void
lose_node(Program *program)
{
  program->order[1] = program->node_count;
}

static void
break_result(Program *program)
{
  node_at(program, 1)->results[0] = program->value_count;
}

static void
lose_output(Program *program)
{
  program->loss = NO_VALUE;
  lose_loss(program);
}

static void
lose_label(Program *program)
{
  program->label = program->value_count;
}

static ValueId
dead_value(Program *program)
{
  return add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape_of(0, NULL));
}

static void
update_dead(Program *program)
{
  ValueId dead = dead_value(program);
  result_value(program, node_at(program, 0), 0)->updates = dead;
}

static void
draw_dead(Program *program)
{
  ValueId dead = dead_value(program);
  for (ValueId id = 0; id < program->value_count; id++)
    if (value_at(program, id)->kind == VALUE_PARAMETER) value_at(program, id)->drawn_from = dead;
}

/* Data of strings, or of a shape that is not known, cannot be compared with anything. */
static void
open_data(Program *program)
{
  Value *x = value_at(program, program->inputs[0]), *dy = value_at(program, program->inputs[1]);
  x->data = dy->data = program;
  x->data_bytes = dy->data_bytes = 3;
  x->type = ACTNN_STRING;
  dy->shape.rank = -1;
}

static const struct {
  const char *rule;
  void (*damage)(Program *program);
} damages[] = {
    {"defined before use", swap_nodes}, {"order", repeat_node},
    {"defined before use", unmake_operand}, {"defined once", make_twice},
    {"results are temporary", make_parameter}, {"named values", lose_loss},
    {"order", break_operand}, {"data", break_data},
    {"defined once", lose_maker}, {"defined once", repeat_result},
    {"order", lose_node}, {"order", break_result},
    {"named values", lose_output}, {"named values", lose_label},
    {"update", update_dead}, {"drawing", draw_dead},
    {NULL, open_data},
};

static void
test_damages(void)
{
  for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
    Bench bench = {0};
    set_up(&bench, STEP("", SHAPE, FORWARD));
    if (bench.program) {
      damages[i].damage(bench.program);
      bool is_legal = check_program(bench.program, "testing");
      fflush(bench.diagnostics->stream);
      const char *rule = damages[i].rule;
      bool is_right = rule ? !is_legal && strstr(bench.messages, arena_format(bench.arena, "rule '%s'", rule)) : is_legal;
      if (!ok(is_right, "damage %zu breaks: %s", i, rule ? rule : "nothing")) printf("# got: %s\n", bench.messages ? bench.messages : "");
    } else {
      ok(false, "damage %zu: the program is read", i);
    }
    take_down(&bench);
  }
}

int
main(void)
{
  test_cases();
  test_damages();
  return tap_done();
}
