/* test_updates.c: updates that a GPU, or its stand-in, launches together do what the processor does to one variable after the other: of
 * every optimizer, of sizes around those of a block's share, over several steps; and as few launches as there are runs of one rule. */
#include "device.h"
#include "tap.h"
#include "trainer.h"

#include <math.h>
#include <string.h>

enum { VARIABLES = 9, PARTS = 4, LOSS = VARIABLES * PARTS, ZERO, RATE, STEP, TENSORS };
enum { W, G, M, V };
enum { STEPS = 3, RUNS = 4 };

static const int64_t counts[VARIABLES] = {1, 3, 4, 5, 4097, 4096, 40000, 4095, 2};

extern unsigned long shim_launches __attribute__((weak)); /* a stand-in counts; a GPU does not tell */

static uint32_t
part(int variable, int which)
{
  return (uint32_t)(variable * PARTS + which);
}

/* ---- a model of nothing but updates ------------------------------------------------------------------------------ */

static enum { SGD, PLAIN_SGD, ADAM, ADAMW, ONNX_MOMENTUM, ONNX_ADAM, ONNX_ADAGRAD, OPTIMIZERS } optimizer;
static const char *const names[OPTIMIZERS] = {"sgd with momentum", "sgd", "adam", "adamw", "the standard's momentum", "the standard's adam",
                                              "the standard's adagrad"};

static int
update(actnn *trainer, int variable, double decay)
{
  uint32_t w = part(variable, W), g = part(variable, G), m = part(variable, M), v = part(variable, V);
  switch (optimizer) {
  case SGD:
    RUN(actnn_Sgd, OUT(w, m), IN(w, g, m, RATE), WITH(REAL_NUMBER(0.9), INT(1), REAL_NUMBER(decay), REAL_NUMBER(0.1)));
    return 0;
  case PLAIN_SGD:
    RUN(actnn_Sgd, OUT(w, NONE), IN(w, g, NONE, RATE), WITH(REAL_NUMBER(0), INT(0), REAL_NUMBER(decay), REAL_NUMBER(0)));
    return 0;
  case ADAM:
    RUN(actnn_Adam, OUT(w, m, v), IN(w, g, m, v, RATE, STEP),
        WITH(REAL_NUMBER(0.9), REAL_NUMBER(0.99), REAL_NUMBER(1e-8), REAL_NUMBER(decay)));
    return 0;
  case ADAMW:
    RUN(actnn_AdamW, OUT(w, m, v), IN(w, g, m, v, RATE, STEP),
        WITH(REAL_NUMBER(0.9), REAL_NUMBER(0.99), REAL_NUMBER(1e-8), REAL_NUMBER(decay)));
    return 0;
  case ONNX_MOMENTUM:
    RUN(actnn_OnnxMomentum, OUT(w, m), IN(w, g, m, RATE, STEP),
        WITH(REAL_NUMBER(0.9), REAL_NUMBER(0.5), REAL_NUMBER(decay), TEXT(decay > 0 ? "nesterov" : "standard")));
    return 0;
  case ONNX_ADAM:
    RUN(actnn_OnnxAdam, OUT(w, m, v), IN(w, g, m, v, RATE, STEP),
        WITH(REAL_NUMBER(0.9), REAL_NUMBER(0.99), REAL_NUMBER(1e-6), REAL_NUMBER(decay), REAL_NUMBER(decay)));
    return 0;
  default:
    RUN(actnn_OnnxAdagrad, OUT(w, m), IN(w, g, m, RATE, STEP), WITH(REAL_NUMBER(0.1), REAL_NUMBER(1e-6), REAL_NUMBER(decay)));
    return 0;
  }
}

static int
forward(actnn *trainer)
{
  RUN(actnn_Neg, OUT(LOSS), IN(ZERO), WITHOUT);
  return 0;
}

/* A run of five, another call, a run of two by another rule, one by the first rule again, another call, and one more. */
static int
backward(actnn *trainer)
{
  for (int i = 0; i < 5; i++)
    if (update(trainer, i, 0))
      return 1;
  RUN(actnn_Neg, OUT(LOSS), IN(ZERO), WITHOUT);
  if (update(trainer, 5, 0.01) || update(trainer, 6, 0.01) || update(trainer, 7, 0))
    return 1;
  RUN(actnn_Neg, OUT(LOSS), IN(ZERO), WITHOUT);
  return update(trainer, 8, 0);
}

typedef struct run {
  actnn_tensor tensor[TENSORS];
  actnn_model model;
  actnn *trainer;
} run;

static bool
start(run *run, const actnn_device *device)
{
  char error[512] = "";
  uint64_t end = 0;
  for (uint32_t i = 0; i < TENSORS; i++) {
    bool is_scalar = i >= LOSS;
    actnn_tensor *tensor = &run->tensor[i];
    *tensor = (actnn_tensor){.type = i == STEP ? ACTNN_I64 : ACTNN_F32, .rank = !is_scalar, .offset = end};
    if (!is_scalar)
      tensor->dim[0] = counts[i / PARTS];
    tensor->bytes = (uint64_t)((is_scalar ? 8 : counts[i / PARTS] * 4) + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
    end += tensor->bytes;
  }
  run->model = (actnn_model){.version = ACTNN_VERSION, .name = "updates", .tensor = run->tensor, .tensor_count = TENSORS, .label = NONE,
                             .loss = LOSS, .evaluation_loss = NONE, .evaluation_output = NONE, .evaluation_losses = NONE, .learning_rate = RATE, .step_number = STEP,
                             .training_output = NONE, .batch = 1, .arena_bytes = end, .stash_offset = end, .workspace_offset = end,
                             .device = device, .forward = forward, .backward = backward};
  run->trainer = trainer_create(&run->model, &(trainer_options){.threads = 1, .seed = 7, .quiet = true}, error, sizeof error);
  if (!run->trainer)
    printf("# %s\n", error);
  return run->trainer != NULL;
}

static float
wave(int64_t i, double pace)
{
  return (float)sin((double)i * pace + 0.3);
}

static void
fill(run *run, int which, double pace, bool is_positive)
{
  for (int variable = 0; variable < VARIABLES; variable++) {
    float *value = actnn_data(run->trainer, part(variable, which));
    for (int64_t i = 0; i < counts[variable]; i++)
      value[i] = is_positive ? 0.1f + wave(i, pace) * wave(i, pace) : wave(i + variable, pace);
    actnn_put(run->trainer, part(variable, which));
  }
}

/* The number of elements that differ by more than rounding. */
static uint64_t
differences(run *one, run *other)
{
  uint64_t count = 0;
  for (uint32_t tensor = 0; tensor < LOSS; tensor++) {
    const float *a = actnn_data(one->trainer, tensor), *b = actnn_data(other->trainer, tensor);
    for (int64_t i = 0; i < counts[tensor / PARTS]; i++)
      count += !(fabsf(a[i] - b[i]) <= 1e-6f + 1e-5f * fabsf(a[i]));
  }
  return count;
}

static bool
step(run *run, int number)
{
  fill(run, G, 0.7 + 0.2 * number, false);
  return !trainer_forward(run->trainer, 0.01 + 0.01 * number) && !trainer_backward(run->trainer);
}

static void
compare(void)
{
  run here = {.trainer = NULL}, there = {.trainer = NULL};
  bool is_good = start(&here, NULL) && start(&there, &actnn_cuda);
  ok(is_good && !there.trainer->on_processor[0], "%s: no update is left to the processor", names[optimizer]);
  for (int which = W; which <= V && is_good; which++) {
    fill(&here, which, 0.3 + which, which >= M);
    fill(&there, which, 0.3 + which, which >= M);
  }
  unsigned long launches = &shim_launches ? shim_launches : 0;
  for (int number = 0; number < STEPS && is_good; number++) is_good = step(&here, number) && step(&there, number);
  ok(is_good && !differences(&here, &there), "%s: after %d steps all variables and states are the processor's", names[optimizer], STEPS);
  if (&shim_launches && is_good)
    ok(shim_launches - launches == STEPS * RUNS, "%s: %lu launches for %d steps of %d updates", names[optimizer], shim_launches - launches,
       STEPS, VARIABLES);
  if (is_good) {
    float *last = actnn_data(there.trainer, part(6, G));
    last[counts[6] - 1] = INFINITY;
    actnn_put(there.trainer, part(6, G));
    bool is_refused = !trainer_forward(there.trainer, 0.01) && trainer_backward(there.trainer);
    ok(is_refused && there.trainer->is_not_finite, "%s: the last element of a gradient is infinite: %s", names[optimizer],
       actnn_error(there.trainer));
  }
  actnn_destroy(here.trainer);
  actnn_destroy(there.trainer);
}

int
main(void)
{
  for (optimizer = SGD; optimizer < OPTIMIZERS; optimizer++) compare();
  return tap_done();
}
