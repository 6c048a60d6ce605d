/* test_device.c: a trainer whose tensors live in another memory than the processor's. What is computed is what the processor alone
 * computes, and every call of the device may fail. */
#include "memory_device.h"
#include "own_calls.h"
#include "saves.h"
#include "small_model.h"
#include "tap.h"
#include "trainer.h"

static actnn_kernel *const all_small[] = {small_dense, small_loss, small_dense_dw, small_dense_dx, small_draw, small_running};
enum { SMALL_KERNELS = sizeof all_small / sizeof *all_small };

/* ---- runs --------------------------------------------------------------------------------------- */

static actnn_save redrawn_save; /* of the small model, its noise measured by redrawing */

static actnn_model
small_on(const actnn_device *device)
{
  actnn_model model = small_model;
  redrawn_save = small_saves[0];
  redrawn_save.adaptation = ACTNN_ADAPTS_BY_REDRAWS;
  redrawn_save.weight = 1;
  model.save = &redrawn_save;
  model.device = device;
  return model;
}

/* Steps as the command line takes them; the last loss, and all variables at the end. False when a call failed. */
static bool
run_steps(actnn *trainer, int steps, double *loss, unsigned char *variables)
{
  for (int step = 0; step < steps; step++) {
    small_feed(trainer, step);
    if (saves_redraw_is_due(trainer)) {
      if (saves_redraw(trainer, 0.05))
        return false;
      small_feed(trainer, step);
    }
    if (actnn_step(trainer, 0.05, loss))
      return false;
    saves_end_redraw(trainer);
  }
  for (size_t i = 0; i < 9; i++) {
    const actnn_tensor *tensor = &small_tensors[small_variables[i].tensor];
    void *data = actnn_data(trainer, small_variables[i].tensor);
    if (!data)
      return false;
    memcpy(variables + tensor->offset, data, (size_t)tensor->bytes);
  }
  return true;
}

static unsigned char of_processor[at_images], of_device[at_images];

static void
compare_runs(const char *what, double wanted)
{
  actnn_model model = small_on(&device);
  trainer_options options = {.threads = 1, .quiet = true};
  char error[512] = "";
  actnn *trainer = trainer_create(&model, &options, error, sizeof error);
  double loss = 0;
  bool is_run = trainer && run_steps(trainer, 30, &loss, of_device);
  ok(is_run && loss == wanted && !memcmp(of_processor, of_device, sizeof of_device), "%s: loss %.9g, the same variables %s%s", what, loss, error,
     trainer ? actnn_error(trainer) : "");
  ok(trainer && trainer->channel_block == ACTNN_CHANNELS_LAST, "and it prefers images with their channels last");
  actnn_destroy(trainer);
}

static void
test_same_results(void)
{
  actnn_model model = small_on(NULL);
  trainer_options options = {.threads = 1, .quiet = true};
  actnn *trainer = trainer_create(&model, &options, NULL, 0);
  double loss = 0, all = 0;
  ok(trainer && run_steps(trainer, 30, &loss, of_processor) && loss > 0 && loss < 2.302, "30 steps on the processor, to a loss of %g", loss);
  double numbers[1][SAVES_REDRAW_NUMBERS];
  saves_redraw_state(trainer, numbers);
  all = numbers[0][3];
  ok(all >= 1 && numbers[0][0] > 0 && isfinite(numbers[0][0]), "in which codes were redrawn %g times", all);
  actnn_destroy(trainer);
  use_kernels(0, NULL);
  compare_runs("all kernels on the processor", loss);
  use_kernels(SMALL_KERNELS, all_small);
  compare_runs("the model's own on the device", loss);
  actnn_kernel *const some[] = {small_dense, small_dense_dx, actnn_Sgd};
  use_kernels(3, some);
  compare_runs("every other one on the device", loss);
}

/* ---- failures ----------------------------------------------------------------------------------- */

static void
ignore(void *context, uint32_t variable, const float *gradient, size_t count)
{
  (void)context, (void)variable, (void)gradient, (void)count;
}

/* A trainer's life; true when a call failed, whose message goes to `error`. */
static bool
live(char *error, size_t bytes)
{
  actnn_model model = small_on(&device);
  trainer_options options = {.threads = 1, .quiet = true, .skips = true};
  actnn *trainer = trainer_create(&model, &options, error, bytes);
  double loss;
  if (!trainer)
    return true;
  trainer->step = 8; /* the first with a redraw */
  bool failed = !run_steps(trainer, 2, &loss, of_device) || actnn_evaluate_batch(trainer, &loss) || actnn_put(trainer, v_w1);
  actnn_observe_gradients(trainer, ignore, NULL);
  failed = failed || actnn_step(trainer, 0.1, NULL);
  snprintf(error, bytes, "%s", actnn_error(trainer));
  actnn_destroy(trainer);
  return failed;
}

static void
test_failures(void)
{
  char error[512], wanted[64];
  int wrong = 0, all;
  failing = calls = 0;
  use_kernels(0, NULL);
  ok(!live(error, sizeof error), "nothing fails %s", error);
  all = calls;
  for (failing = 1; failing <= all; failing++) {
    calls = 0;
    snprintf(wanted, sizeof wanted, "call %d of the device fails", failing);
    /* A redraw that fails still puts the running statistics back, by one call more. */
    if (live(error, sizeof error) && !strcmp(error, wanted) && calls <= failing + 1)
      continue;
    wrong++;
    printf("# call %d: '%s' after %d calls\n", failing, error, calls);
  }
  failing = 0;
  ok(all > 100 && !wrong, "each of %d calls of the device that fails ends what was asked for, with its message", all);
}

static void
test_undoing(void)
{
  actnn_model model = small_on(&device);
  trainer_options options = {.threads = 1, .quiet = true, .skips = true};
  actnn *trainer = trainer_create(&model, &options, NULL, 0);
  static float before[HIDDEN * CLASSES];
  memcpy(before, actnn_data(trainer, v_w2), sizeof before);
  small_feed(trainer, 0);
  not_finite = v_w2;
  int failed = actnn_step(trainer, 0.1, NULL);
  bool has_moved = memcmp(before, trainer->device_arena + at_w2, sizeof before) != 0;
  ok(failed && trainer_skips(trainer) && trainer->step == 1, "a step whose gradient is not finite is undone");
  ok(has_moved && !memcmp(before, trainer->device_arena + at_w2, sizeof before), "also in the device's memory");
  failed = actnn_step(trainer, 0.1, NULL);
  failing = calls + 1;
  ok(failed && !trainer_skips(trainer) && strstr(actnn_error(trainer), "of the device fails") && trainer->step == 1,
     "if that fails, it is said: %s", actnn_error(trainer));
  failing = 0;
  not_finite = NONE;
  actnn_destroy(trainer);
}

/* ---- what the device finds not finite ------------------------------------------------------------- */

static void
refuse_step(const actnn_model *model, uint32_t tensor, const char *message)
{
  trainer_options options = {.threads = 1, .quiet = true};
  actnn *trainer = trainer_create(model, &options, NULL, 0);
  not_finite = tensor;
  int failed = actnn_step(trainer, 0.1, NULL);
  not_finite = NONE;
  ok(failed && strstr(actnn_error(trainer), message), "%s", actnn_error(trainer));
  actnn_destroy(trainer);
}

static void
test_not_finite(void)
{
  actnn_model model = small_model;
  actnn_variable variable[9];
  memcpy(variable, small_variables, sizeof variable);
  variable[1].name = NULL;
  model.variable = variable;
  model.device = &device;
  model.save_count = 0;
  model.forward = forward_own_loss;
  model.backward = backward_nothing;
  use_kernels(0, NULL);
  refuse_step(&model, v_m2, "step 0: the gradient of 'm2', or what becomes of it in its update, is not finite; lower --lr");
  refuse_step(&model, v_b1, "step 0: the gradient of '', or what becomes of it");
  refuse_step(&model, v_hidden, "step 0: the gradient of '', or what becomes of it");
  refuse_step(&model, v_running, "step 0: the running statistic 'running' is not finite");
  own_loss = INFINITY;
  refuse_step(&model, NONE, "step 0: the loss is not finite");
  own_loss = 1;
  model.loss = NONE;
  refuse_step(&model, NONE, "small: the model has no loss");
}

/* ---- what is observed of an update ------------------------------------------------------------------ */

static float seen;

static void
see(void *context, uint32_t variable, const float *gradient, size_t count)
{
  (void)context, (void)variable;
  seen = count == HIDDEN * CLASSES ? gradient[5] : NAN;
}

static bool
observe(actnn_kernel *kernel, actnn_list in)
{
  actnn_model model = small_model;
  model.device = &device;
  model.save_count = 0;
  model.forward = forward_own_loss;
  model.backward = backward_with_update;
  trainer_options options = {.threads = 1, .quiet = true};
  own_update = kernel;
  own_update_in = in;
  seen = 0;
  actnn *trainer = trainer_create(&model, &options, NULL, 0);
  float *gradient = (float *)(void *)(trainer->device_arena + at_dw2);
  gradient[5] = 0.25f; /* there alone */
  actnn_observe_gradients(trainer, see, NULL);
  bool is_done = !actnn_step(trainer, 0.1, NULL);
  actnn_destroy(trainer);
  return is_done;
}

static void
test_observer(void)
{
  ok(observe(actnn_Adam, IN(v_w2, v_dw2, v_m2, v_dw2, v_rate)) && seen == 0.25f, "a gradient is fetched before it is observed");
  ok(observe(actnn_Adam, IN(v_w2, v_dw2, v_m2, NONE)) && seen == 0.25f, "also beside squares that are none");
  ok(observe(actnn_Adam, IN(v_w2, v_dw2)) && seen == 0.25f, "and beside too few operands");
  ok(!observe(actnn_Sgd, IN(v_w2)) && seen == 0, "no gradient is not fetched");
}

int
main(void)
{
  test_same_results();
  test_failures();
  test_undoing();
  test_not_finite();
  test_observer();
  return tap_done();
}
