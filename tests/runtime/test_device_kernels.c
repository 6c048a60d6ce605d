/* test_device_kernels.c: kernels that a device leaves to the processor: images are in the processor's order for them, and their names are
 * said. */
#include "captured.h"
#include "memory_device.h"
#include "small_model.h"
#include "tap.h"
#include "trainer.h"

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
                       .arena_bytes = i_count * 512, .label = NONE, .loss = NONE, .evaluation_loss = NONE, .evaluation_output = NONE, .evaluation_losses = NONE,
                       .learning_rate = NONE, .step_number = NONE, .training_output = NONE, .evaluate = evaluate_images};
  trainer_options options = {.threads = 1, .quiet = true};
  actnn_kernel *const on_device[] = {draw_there, declines};
  use_kernels(2, on_device);
  actnn *trainer = trainer_create(&model, &options, NULL, 0);
  bool is_run = trainer && !actnn_evaluate_batch(trainer, NULL);
  bool plain = true, back = true;
  for (int i = 0; is_run && i < ELEMENTS; i++) {
    plain &= ((float *)actnn_data(trainer, i_plain_real))[i] == (float)value_of(i) && ((uint8_t *)actnn_data(trainer,
        i_plain_bytes))[i] == value_of(i);
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
                                actnn_TanhSlope, actnn_Tanh, actnn_AtanhSlope, actnn_AcoshSlope, actnn_AsinhSlope, actnn_Reciprocal,
                                    actnn_AtanSlope, actnn_AcosSlope, actnn_AsinSlope};
  actnn_model model = small_model;
  model.save_count = 0;
  model.device = &device;
  model.forward = model.backward = NULL;
  model.evaluate = evaluate_named;
  use_kernels(0, NULL);
  named = few;
  named_count = sizeof few / sizeof *few;
  capture_begin();
  actnn *trainer = actnn_create(&model, 1, 1, NULL, 0);
  const char *text = capture_end();
  ok(trainer && strstr(text, "small: for want of a kernel on the GPU these run on the processor") && strstr(text, ": LeakyRelu, Relu, Sinh, Sin\n"),
     "each operator without a kernel is named once: %s", text);
  actnn_destroy(trainer);
  named = many;
  named_count = sizeof many / sizeof *many;
  trainer_options quiet = {.threads = 1, .quiet = true};
  trainer = trainer_create(&model, &quiet, NULL, 0);
  const char *listed = trainer ? trainer->on_processor : "";
  ok(!strncmp(listed, "HardSwish, HardSigmoid, Thresh", 30) && strlen(listed) > 200 && !strstr(listed, "AsinSlope") &&
     listed[strlen(listed) - 1] != ',',
     "as far as there is room: %s", listed);
  actnn_destroy(trainer);
}

int
main(void)
{
  test_images();
  test_names();
  return tap_done();
}
