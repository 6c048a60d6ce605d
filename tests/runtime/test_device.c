/* test_device.c: a trainer whose tensors live in another memory, with a device made here: that memory is a second block of the
 * processor's, and some kernels, or none, run on it. What is computed is what the processor alone computes, and every call of the
 * device may fail. */
#include "device.h"
#include "saves.h"
#include "small_model.h"
#include "tap.h"
#include "trainer.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- the device --------------------------------------------------------------------------------- */

enum { MOST_KERNELS = 16 };
static actnn_kernel *there[MOST_KERNELS]; /* those that the device has; of its memory, they are the same */
static int calls, failing;                /* calls of the device so far, and the one that fails; 0: none */
static uint32_t not_finite = NONE;

static int
call_device(actnn *trainer)
{
  return ++calls == failing ? actnn_fail(trainer, "call %d of the device fails", calls) : 0;
}

static int
device_open(actnn *trainer)
{
  return call_device(trainer);
}

static int
device_reserve(actnn *trainer, uint64_t bytes)
{
  free(trainer->device_arena);
  size_t length = (size_t)bytes / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT + ACTNN_ALIGNMENT;
  trainer->device_arena = aligned_alloc(ACTNN_ALIGNMENT, length);
  memset(trainer->device_arena, 0, length);
  return call_device(trainer);
}

static int
device_prepared(actnn *trainer)
{
  return call_device(trainer);
}

static void
device_close(actnn *trainer)
{
  free(trainer->device_arena);
}

static int
device_bring(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  memcpy(trainer->arena + offset, trainer->device_arena + offset, (size_t)bytes);
  return call_device(trainer);
}

static int
device_take(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  memcpy(trainer->device_arena + offset, trainer->arena + offset, (size_t)bytes);
  return call_device(trainer);
}

static actnn_kernel *
device_kernel(actnn_kernel *of_processor)
{
  for (int i = 0; i < MOST_KERNELS; i++)
    if (there[i] == of_processor)
      return of_processor;
  return NULL;
}

static int
device_finish(actnn *trainer, uint32_t *tensor)
{
  *tensor = not_finite;
  return call_device(trainer);
}

static uint64_t
device_bytes_beside(const actnn *trainer)
{
  (void)trainer;
  return 0;
}

static const actnn_device device = {.name = "test", .open = device_open, .reserve = device_reserve, .prepared = device_prepared,
                                    .close = device_close, .fetch = device_bring, .send = device_take, .fetch_later = device_bring,
                                    .send_soon = device_take, .kernel = device_kernel, .finish = device_finish,
                                    .bytes_beside = device_bytes_beside};

static void
use_kernels(int count, actnn_kernel *const *kernel)
{
  memset(there, 0, sizeof there);
  for (int i = 0; i < count; i++)
    there[i] = kernel[i];
}

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

static void
feed(actnn *trainer, int step)
{
  float *image = actnn_data(trainer, v_images);
  int64_t *label = actnn_data(trainer, v_labels);
  for (int i = 0; i < BATCH * PIXELS; i++)
    image[i] = (float)((i * 31 + step * 7) % 256) / 256;
  for (int i = 0; i < BATCH; i++)
    label[i] = (i + step) % CLASSES;
}

/* Steps as the command line takes them; the last loss, and all variables at the end. False when a call failed. */
static bool
run_steps(actnn *trainer, int steps, double *loss, unsigned char *variables)
{
  for (int step = 0; step < steps; step++) {
    feed(trainer, step);
    if (saves_redraw_is_due(trainer)) {
      if (saves_redraw(trainer, 0.05))
        return false;
      feed(trainer, step);
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
  bool failed = !run_steps(trainer, 10, &loss, of_device) || actnn_evaluate_batch(trainer, &loss) || actnn_put(trainer, v_w1);
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
  feed(trainer, 0);
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

static double own_loss = 1;

static int
write_loss(const actnn_call *call)
{
  if (!actnn_is_preparing(call))
    *at(&call->output[0]) = (float)own_loss;
  return 0;
}

static int
forward_own_loss(actnn *trainer)
{
  RUN(write_loss, OUT(v_loss), IN(NONE), WITHOUT);
  return 0;
}

static int
backward_nothing(actnn *trainer)
{
  (void)trainer;
  return 0;
}

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

static actnn_kernel *update;
static actnn_list update_in;
static float seen;

static int
backward_with_update(actnn *trainer)
{
  if (trainer->preparing)
    return 0;
  return actnn_run(trainer, update, OUT(v_w2), update_in, SGD);
}

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
  update = kernel;
  update_in = in;
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

/* ---- images ------------------------------------------------------------------------------------- */

enum { SAMPLES = 2, CHANNELS = 3, POSITIONS = 20, ELEMENTS = SAMPLES * CHANNELS * POSITIONS };
enum { i_real, i_bytes, i_empty, i_plain_real, i_plain_bytes, i_back_real, i_back_bytes, i_count };
#define IMAGE(type, layout, samples, place) {type, layout, 4, {samples, CHANNELS, 4, 5}, (place) * 512, 512}
static const actnn_tensor image_tensors[] = {
    IMAGE(ACTNN_F32, ACTNN_BLOCKED, SAMPLES, 0),        IMAGE(ACTNN_U8, ACTNN_BLOCKED, SAMPLES, 1), IMAGE(ACTNN_F32, ACTNN_BLOCKED, 0, 2),
    IMAGE(ACTNN_F32, ACTNN_PLAIN, SAMPLES, 3),          IMAGE(ACTNN_U8, ACTNN_PLAIN, SAMPLES, 4),   IMAGE(ACTNN_F32, ACTNN_BLOCKED, SAMPLES, 5),
    IMAGE(ACTNN_U8, ACTNN_BLOCKED, SAMPLES, 6)};

/* What element i, in ONNX's order, is; and where it lies on the device. */
static int
value_of(int i)
{
  return i * 7 % 251;
}

static int
place_there(int i)
{
  int n = i / (CHANNELS * POSITIONS), c = i / POSITIONS % CHANNELS, p = i % POSITIONS;
  return (n * POSITIONS + p) * CHANNELS + c;
}

static void
put(const actnn_view *view, int place, int value)
{
  if (view->type == ACTNN_F32)
    at(view)[place] = (float)value;
  else
    ((uint8_t *)view->data)[place] = (uint8_t)value;
}

static int
get(const actnn_view *view, int place)
{
  return view->type == ACTNN_F32 ? (int)at(view)[place] : ((uint8_t *)view->data)[place];
}

/* On the device: images with channels last. */
static int
draw_there(const actnn_call *call)
{
  if (!actnn_is_preparing(call))
    for (int i = 0; i < ELEMENTS; i++)
      put(&call->output[0], place_there(i), value_of(i));
  return 0;
}

/* On the processor: in ONNX's order, whatever is blocked. */
static int
copy_here(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  for (int i = 0; i < ELEMENTS; i++)
    put(&call->output[0], i, get(&call->input[0], i));
  return call->trainer->channel_block != 1;
}

/* The device's kernel that leaves this to the processor. */
static int
declines(const actnn_call *call)
{
  if (call->trainer->channel_block == ACTNN_CHANNELS_LAST)
    return DEVICE_DECLINES;
  return copy_here(call);
}

static int
evaluate_images(actnn *trainer)
{
  RUN(draw_there, OUT(i_real), IN(NONE), WITHOUT);
  RUN(draw_there, OUT(i_bytes), IN(NONE), WITHOUT);
  RUN(copy_here, OUT(i_plain_real), IN(i_real, i_empty, NONE), WITHOUT);
  RUN(declines, OUT(i_plain_bytes, NONE), IN(i_bytes), WITHOUT);
  RUN(copy_here, OUT(i_back_real, i_empty), IN(i_plain_real), WITHOUT);
  RUN(declines, OUT(i_back_bytes), IN(i_plain_bytes), WITHOUT);
  return 0;
}

static void
test_images(void)
{
  actnn_model model = {.version = ACTNN_VERSION, .name = "images", .tensor = image_tensors, .tensor_count = i_count, .batch = 1, .device = &device,
                       .arena_bytes = i_count * 512, .label = NONE, .loss = NONE, .evaluation_loss = NONE, .evaluation_output = NONE,
                       .learning_rate = NONE, .step_number = NONE, .training_output = NONE, .evaluate = evaluate_images};
  trainer_options options = {.threads = 1, .quiet = true};
  actnn_kernel *const on_device[] = {draw_there, declines};
  use_kernels(2, on_device);
  actnn *trainer = trainer_create(&model, &options, NULL, 0);
  bool is_run = trainer && !actnn_evaluate_batch(trainer, NULL);
  bool plain = true, back = true;
  for (int i = 0; is_run && i < ELEMENTS; i++) {
    plain &= ((float *)actnn_data(trainer, i_plain_real))[i] == (float)value_of(i) && ((uint8_t *)actnn_data(trainer, i_plain_bytes))[i] == value_of(i);
    back &= ((float *)(void *)(trainer->device_arena + 5 * 512))[place_there(i)] == (float)value_of(i) &&
            trainer->device_arena[6 * 512 + place_there(i)] == value_of(i);
  }
  ok(is_run && plain, "the processor's kernels get images in ONNX's order %s", trainer ? actnn_error(trainer) : "");
  ok(is_run && back, "and what they write has its channels last on the device");
  actnn_destroy(trainer);
}

/* ---- what is said of kernels on the processor -------------------------------------------------------- */

static actnn_kernel *const *named;
static size_t named_count;

static int
evaluate_named(actnn *trainer)
{
  for (size_t i = 0; i < named_count; i++)
    RUN(named[i], OUT(v_dw1), IN(v_w1), WITH(INT(0)));
  return 0;
}

static void
test_names(void)
{
  actnn_kernel *const few[] = {actnn_LeakyRelu, actnn_Relu, actnn_Sinh, actnn_Sin, actnn_Relu, actnn_LeakyRelu, actnn_Sinh, actnn_Sin};
  actnn_kernel *const many[] = {actnn_HardSwish, actnn_HardSigmoid, actnn_ThresholdedRelu, actnn_Softsign, actnn_Softplus, actnn_LeakyRelu,
                                actnn_Sigmoid, actnn_HardSwishSlope, actnn_ReciprocalSlope, actnn_SinhSlope, actnn_SoftsignSlope,
                                actnn_SoftplusSlope, actnn_CoshSlope, actnn_SigmoidSlope, actnn_SoftplusSlope, actnn_SigmoidSlope,
                                actnn_TanhSlope, actnn_Tanh, actnn_AtanhSlope, actnn_AcoshSlope, actnn_AsinhSlope, actnn_Reciprocal, actnn_AtanSlope, actnn_AcosSlope, actnn_AsinSlope};
  actnn_model model = small_model;
  char folder[] = "/tmp/actnn-device-XXXXXX", path[64], text[2048] = "";
  model.save_count = 0;
  model.device = &device;
  model.forward = model.backward = NULL;
  model.evaluate = evaluate_named;
  use_kernels(0, NULL);
  named = few;
  named_count = sizeof few / sizeof *few;
  if (!mkdtemp(folder))
    abort();
  snprintf(path, sizeof path, "%s/said", folder);
  fflush(stderr);
  int own_stderr = dup(2);
  if (!freopen(path, "w", stderr))
    abort();
  actnn *trainer = actnn_create(&model, 1, 1, NULL, 0);
  fflush(stderr);
  dup2(own_stderr, 2);
  close(own_stderr);
  FILE *file = fopen(path, "r");
  text[file ? fread(text, 1, sizeof text - 1, file) : 0] = 0;
  if (file)
    fclose(file);
  ok(trainer && strstr(text, "small: for want of a kernel on the GPU these run on the processor") && strstr(text, ": LeakyRelu, Relu, Sinh, Sin\n"),
     "each operator without a kernel is named once: %s", text);
  actnn_destroy(trainer);
  unlink(path);
  rmdir(folder);
  named = many;
  named_count = sizeof many / sizeof *many;
  trainer_options quiet = {.threads = 1, .quiet = true};
  trainer = trainer_create(&model, &quiet, NULL, 0);
  const char *listed = trainer ? trainer->on_processor : "";
  ok(!strncmp(listed, "HardSwish, HardSigmoid, Thresh", 30) && strlen(listed) > 200 && !strstr(listed, "AsinSlope") && listed[strlen(listed) - 1] != ',',
     "as far as there is room: %s", listed);
  actnn_destroy(trainer);
}

int
main(void)
{
  test_same_results();
  test_failures();
  test_undoing();
  test_not_finite();
  test_observer();
  test_images();
  test_names();
  return tap_done();
}
