/* test_kernel_calls.c: kernels called by themselves: axes counted from the end, results that nobody wants, values without elements, and
 * layouts, types and sizes that no right translator writes, which are refused. */
#include "small_model.h"
#include "tap.h"
#include "trainer.h"

#include <stdlib.h>

static actnn_model model = {.name = "test", .tensor_count = 8};
static actnn trainer = {.model = &model, .threads = 1, .channel_block = 8};
enum { ROOM = 4096 };
static float values[8][ROOM] __attribute__((aligned(64)));

/* A value of floats, in values[id]. */
static actnn_view
view(uint32_t id, actnn_layout layout, int rank, const int64_t *dim)
{
  return (actnn_view){values[id], ACTNN_F32, layout, rank, dim, sizeof values[0], id};
}

#define DIM(...) (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}

static int
run(actnn_kernel *kernel, size_t outputs, const actnn_view *output, size_t inputs, const actnn_view *input, size_t count, const actnn_attribute *with)
{
  trainer.error[0] = 0;
  return kernel(&(actnn_call){&trainer, outputs, inputs, count, output, input, with});
}

static void
refused(int failed, const char *message, const char *what)
{
  ok(failed && strstr(trainer.error, message), "%s: %s", what, failed ? trainer.error : "done");
}

/* values[id][i] = i + first */
static void
count_up(uint32_t id, int count, int first)
{
  for (int i = 0; i < count; i++)
    values[id][i] = (float)(i + first);
}

static bool
are(uint32_t id, int count, const float *wanted)
{
  return !memcmp(values[id], wanted, (size_t)count * sizeof *wanted);
}

/* ---- joining and cutting ------------------------------------------------------------------------- */

static void
test_joining(void)
{
  actnn_view in[2] = {view(0, ACTNN_PLAIN, DIM(2, 1)), view(1, ACTNN_PLAIN, DIM(2, 2))}, out = view(2, ACTNN_PLAIN, DIM(2, 3));
  const float joined[6] = {0, 10, 11, 1, 12, 13};
  count_up(0, 2, 0);
  count_up(1, 4, 10);
  ok(!run(actnn_Concat, 1, &out, 2, in, 1, (actnn_attribute[]){INT(-1)}) && are(2, 6, joined), "Concat along the last axis");
  actnn_view part = view(3, ACTNN_PLAIN, DIM(2, 2));
  ok(!run(actnn_ConcatPart, 1, &part, 1, &out, 3, (actnn_attribute[]){INT(0), INT(-1), INT(1)}) && are(3, 4, (const float[]){10, 11, 12, 13}),
     "ConcatPart along the last axis");
  actnn_view parts[2] = {{.id = NONE}, view(4, ACTNN_PLAIN, DIM(2, 2))};
  ok(!run(actnn_Split, 2, parts, 1, &out, 2, (actnn_attribute[]){INTS(1, 2), INT(-1)}) && are(4, 4, (const float[]){10, 11, 12, 13}),
     "Split along the last axis, the first part unused");
  actnn_view blocked[2] = {view(0, ACTNN_BLOCKED, DIM(1, 3, 4)), view(1, ACTNN_BLOCKED, DIM(1, 8, 4))}, whole = view(2, ACTNN_BLOCKED, DIM(1, 11, 4));
  refused(run(actnn_Concat, 1, &whole, 2, blocked, 1, (actnn_attribute[]){INT(1)}), "Concat: 3 channels at 0 do not fill blocks of 8", "blocks cut");
  refused(run(actnn_ConcatPart, 1, &blocked[1], 1, &whole, 3, (actnn_attribute[]){INT(0), INT(1), INT(3)}),
          "ConcatPart: 8 channels at 3 do not fill blocks of 8", "blocks cut elsewhere");
  actnn_view none = view(0, ACTNN_PLAIN, DIM(0, 3)), turned = view(1, ACTNN_PLAIN, DIM(3, 0));
  values[1][0] = 5;
  ok(!run(actnn_Transpose, 1, &turned, 1, &none, 1, (actnn_attribute[]){INTS(1, 0)}) && values[1][0] == 5, "Transpose of nothing writes nothing");
}

static void
test_padding(void)
{
  actnn_view in = view(0, ACTNN_PLAIN, DIM(2)), out = view(1, ACTNN_PLAIN, DIM(4));
  count_up(0, 2, 1);
  ok(!run(actnn_Pad, 1, &out, 1, &in, 4, (actnn_attribute[]){INTS(1, 1), REALS(0), ABSENT, TEXT("constant")}) && are(1, 4, (const float[]){0, 1, 2,
      0}),
     "Pad with zeros");
  ok(!run(actnn_Pad, 1, &out, 1, &in, 4, (actnn_attribute[]){INTS(1, 1), REALS(7), ABSENT, TEXT("constant")}) && are(1, 4, (const float[]){7, 1, 2,
      7}),
     "Pad with another number");
}

/* ---- sums ---------------------------------------------------------------------------------------- */

static void
test_sums(void)
{
  actnn_view in = view(0, ACTNN_PLAIN, DIM(2, 3)), out = view(1, ACTNN_PLAIN, DIM(3));
  count_up(0, 6, 0);
  ok(!run(actnn_SumTo, 1, &out, 1, &in, 0, NULL) && are(1, 3, (const float[]){3, 5, 7}), "SumTo of floats");
  actnn_view none = view(0, ACTNN_PLAIN, DIM(0, 3));
  count_up(1, 3, 5);
  ok(!run(actnn_SumTo, 1, &out, 1, &none, 0, NULL) && are(1, 3, (const float[]){0, 0, 0}), "SumTo of nothing is zero");
  actnn_view image = view(0, ACTNN_BLOCKED, DIM(1, 3, 4)), other = view(1, ACTNN_BLOCKED, DIM(1, 3, 1)), coded = view(0, ACTNN_STASH, DIM(1, 3, 4));
  actnn_view integers = image, plain_image = view(0, ACTNN_PLAIN, DIM(1, 3, 4));
  integers.type = ACTNN_I32;
  refused(run(actnn_SumTo, 1, &other, 1, &integers, 0, NULL), "SumTo cannot sum from this layout to that one", "blocked integers");
  refused(run(actnn_SumTo, 1, &other, 1, &coded, 0, NULL), "SumTo cannot sum from this layout to that one", "codes");
  refused(run(actnn_SumTo, 1, &other, 1, &plain_image, 0, NULL), "SumTo cannot sum from this layout to that one", "a plain image to a blocked one");
  plain_image.type = ACTNN_I32;
  refused(run(actnn_SumTo, 1, &other, 1, &plain_image, 0, NULL), "SumTo cannot sum from this layout to that one",
          "plain integers to a blocked image");
  actnn_view channels = view(1, ACTNN_PLAIN, DIM(3));
  trainer.workspace_bytes = 0;
  refused(run(actnn_ChannelSum, 1, &channels, 1, &image, 0, NULL), "tensor 1: the workspace of 0 bytes is too small", "ChannelSum without scratch");
}

/* ---- elementwise ----------------------------------------------------------------------------------- */

static void
test_points(void)
{
  actnn_view in[2] = {view(0, ACTNN_PLAIN, DIM(4)), view(1, ACTNN_PLAIN, DIM(4))}, out = view(2, ACTNN_PLAIN, DIM(4));
  count_up(0, 4, 0);
  count_up(1, 4, 10);
  ok(!run(actnn_Add, 1, &out, 2, in, 0, NULL) && are(2, 4, (const float[]){10, 12, 14, 16}), "Add");
  actnn_view none[2] = {view(0, ACTNN_PLAIN, DIM(0)), view(1, ACTNN_PLAIN, DIM(0))}, nothing = view(2, ACTNN_PLAIN, DIM(0));
  ok(!run(actnn_Add, 1, &nothing, 2, none, 0, NULL) && are(2, 4, (const float[]){10, 12, 14, 16}), "Add of nothing writes nothing");
  actnn_view image[2] = {view(0, ACTNN_BLOCKED, DIM(1, 3, 4)), view(1, ACTNN_BLOCKED, DIM(1, 3, 4))}, sum = view(2, ACTNN_BLOCKED, DIM(1, 3, 4));
  actnn_view coded = view(1, ACTNN_STASH, DIM(1, 3, 4)), plain = view(1, ACTNN_PLAIN, DIM(1, 3, 4)), mixed[2] = {plain, image[0]};
  const char *message = "an elementwise operator got integers or mixed layouts in blocked memory";
  image[1].type = ACTNN_I32;
  refused(run(actnn_Add, 1, &sum, 2, image, 0, NULL), message, "blocked integers");
  image[1] = coded;
  refused(run(actnn_Add, 1, &sum, 2, image, 0, NULL), message, "codes");
  refused(run(actnn_Add, 1, &plain, 2, mixed, 0, NULL), message, "a blocked image into a plain one");
  image[1] = view(1, ACTNN_BLOCKED, DIM(1, 3, 4));
  sum.type = ACTNN_I32;
  refused(run(actnn_Add, 1, &sum, 2, image, 0, NULL), message, "into blocked integers");
}

/* Where a negative alpha makes a large argument of expm1. */
static void
test_extremes(void)
{
  actnn_view in = view(0, ACTNN_PLAIN, DIM(4)), out = view(1, ACTNN_PLAIN, DIM(4));
  values[0][0] = -100;
  values[0][1] = -88;
  values[0][2] = 3;
  values[0][3] = -0.0f;
  bool is_run = !run(actnn_Celu, 1, &out, 1, &in, 1, (actnn_attribute[]){REAL_NUMBER(-1)});
  ok(is_run && values[1][0] == -INFINITY && fabs((double)values[1][1] / exp(88) + 1) < 1e-5 && values[1][2] == 3 && values[1][3] == 0,
     "Celu of alpha -1: %g %g", (double)values[1][0], (double)values[1][1]);
  actnn_view five[5] = {in, in, in, in, in};
  refused(run(actnn_BatchNormalization, 1, &out, 5, five, 3, (actnn_attribute[]){REAL_NUMBER(1e-5), REAL_NUMBER(0.9), INT(1)}),
          "BatchNormalization in training mode must be rewritten to BatchNorm", "training mode");
}

/* ---- masks, layouts, labels ------------------------------------------------------------------------ */

static void
test_masks(void)
{
  actnn_view in = view(0, ACTNN_PLAIN, DIM(16, 16)), code = view(1, ACTNN_STASH, DIM(16, 16));
  code.bytes = 16;
  refused(run(actnn_PackPositive, 1, &code, 1, &in, 0, NULL), "PackPositive: 256 elements do not fit 16 bytes", "a mask that is too small");
  actnn_view none = view(0, ACTNN_BLOCKED, DIM(2, 0, 4)), empty = view(1, ACTNN_STASH, DIM(2, 0, 4));
  empty.bytes = 0;
  ok(!run(actnn_PackPositive, 1, &empty, 1, &none, 0, NULL), "a mask of no channels needs no bytes");
}

static void
test_layouts(void)
{
  actnn_view plain = view(0, ACTNN_PLAIN, DIM(1, 3, 4)), blocked = view(1, ACTNN_BLOCKED, DIM(1, 3, 4));
  trainer.preparing = true;
  ok(!run(actnn_ToBlocked, 1, &blocked, 1, &plain, 0, NULL), "floats can be blocked");
  plain.type = blocked.type = ACTNN_BOOL;
  ok(!run(actnn_ToBlocked, 1, &blocked, 1, &plain, 0, NULL), "so can masks");
  plain.type = ACTNN_I64;
  refused(run(actnn_ToBlocked, 1, &blocked, 1, &plain, 0, NULL), "tensor 0: elements of type 7 have no blocked layout", "integers");
  plain.type = ACTNN_F32;
  refused(run(actnn_ToPlain, 1, &plain, 1, &blocked, 0, NULL), "tensor 1: elements of type 9 have no blocked layout", "one type to another");
  trainer.preparing = false;
}

/* ---- what the library will ask for ------------------------------------------------------------------ */

static void
test_measuring(void)
{
  const actnn_recorded_call right = {"Relu", OUT(v_hidden), IN(v_hidden), WITHOUT}, unknown = {"Rectify", OUT(v_hidden), IN(v_hidden), WITHOUT},
                            wrong = {"Relu", OUT(v_hidden), IN(v_count), WITHOUT};
  ok(actnn_measure_workspace(small_tensors, v_count, at_end, &right, 1, false) == 0, "a rectifier needs no scratch");
  ok(actnn_measure_workspace(small_tensors, v_count, at_end, &unknown, 1, false) == UINT64_MAX, "nobody knows what a kernel needs that is none");
  ok(actnn_measure_workspace(small_tensors, v_count, at_end, &wrong, 1, false) == UINT64_MAX, "nor one that reads a tensor that is none");
}

int
main(void)
{
  test_joining();
  test_padding();
  test_sums();
  test_points();
  test_extremes();
  test_masks();
  test_layouts();
  test_measuring();
  return tap_done();
}
