/* test_trainer.c: the trainer as a library, with the small model changed in one place at a time: options, calls that no table allows,
 * steps without a loss, scratch that the plan does not have, exports. */
#include "captured.h"
#include "changed_model.h"
#include "own_calls.h"
#include "own_folder.h"

/* ---- making a trainer --------------------------------------------------------------------------- */

static void
test_options(void)
{
  char error[512] = "";
  ok(!actnn_create(&small_model, -1, 1, error, sizeof error) && strstr(error, "-1 threads make no sense"), "threads: %s", error);
  ok(!actnn_create(&small_model, 4097, 1, error, sizeof error) && strstr(error, "4097 threads make no sense"), "threads: %s", error);
  strcpy(error, "as before");
  ok(!actnn_create(&small_model, -1, 1, error, 0) && !actnn_create(&small_model, -1, 1, NULL, 10) && !strcmp(error, "as before"),
     "without room for a message there is none");
  trainer_options options = {.threads = 1, .channel_block = 4};
  ok(!trainer_create(&small_model, &options, error, sizeof error) && strstr(error, "a channel block is 1, 8 or 16, not 4"), "%s", error);
  options.channel_block = 8;
  actnn *trainer = trainer_create(&small_model, &options, error, sizeof error);
  ok(trainer && trainer->channel_block == 8, "a channel block of 8 is taken on any machine");
  actnn_destroy(trainer);
  actnn_destroy(NULL);
}

static uint64_t scratch;

static int
want_scratch(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    call->trainer->workspace_wanted = scratch;
  return 0;
}

static int
evaluate_with_scratch(actnn *trainer)
{
  RUN(want_scratch, OUT(NONE), IN(NONE), WITHOUT);
  return 0;
}

static int
refuse_to_prepare(const actnn_call *call)
{
  return actnn_is_preparing(call) ? actnn_fail(call->trainer, "not this time") : 0;
}

static int
evaluate_unprepared(actnn *trainer)
{
  RUN(refuse_to_prepare, OUT(NONE), IN(NONE), WITHOUT);
  return 0;
}

static void
test_scratch(void)
{
  changed c;
  copy_model(&c);
  c.model.evaluate = evaluate_with_scratch;
  scratch = 1000;
  capture_begin();
  actnn *trainer = make(&c.model);
  const char *said = capture_end();
  ok(trainer->workspace == trainer->arena + at_end && trainer->workspace_bytes == 1024 && trainer->arena_bytes == at_end + 1024,
     "scratch beyond the plan's has room at the end");
  ok(strstr(said, "wants 1024 bytes of scratch, 1024 more than planned"), "which is said: %s", said);
  memset(trainer->workspace, 1, 1024);
  actnn_destroy(trainer);
  c.model.workspace_offset = 0;
  trainer_options quiet = {.threads = 1, .quiet = true};
  capture_begin();
  trainer = trainer_create(&c.model, &quiet, NULL, 0);
  said = capture_end();
  ok(trainer && trainer->workspace == trainer->arena + at_end && !*said, "also where the plan has it elsewhere, and not said when quiet");
  actnn_destroy(trainer);
  actnn_model empty = {.version = ACTNN_VERSION, .name = "empty", .batch = 1, .evaluate = evaluate_with_scratch, .loss = NONE,
                       .evaluation_loss = NONE, .evaluation_output = NONE, .evaluation_losses = NONE, .learning_rate = NONE, .step_number = NONE,
                       .training_output = NONE, .label = NONE};
  trainer = trainer_create(&empty, &quiet, NULL, 0);
  ok(trainer && trainer->arena_bytes == 1024, "and of a model without tensors");
  actnn_destroy(trainer);
  empty.evaluate = NULL;
  trainer = make(&empty);
  ok(trainer->arena_bytes == 0 && !actnn_data(trainer, 0), "a model of nothing at all can be made");
  actnn_destroy(trainer);
  scratch = UINT64_MAX / 2;
  refuse(&c.model, "scratch of half of all bytes", "asks for an absurd scratch area");
  scratch = UINT64_C(1) << 60;
  capture_begin();
  refuse(&c.model, "scratch that no machine has", "cannot reserve");
  capture_end();
  c.model.evaluate = evaluate_unprepared;
  refuse(&c.model, "a kernel that cannot prepare itself", "not this time");
}

/* ---- calls -------------------------------------------------------------------------------------- */

static actnn_list call_out, call_in;

static int
initialize_with_call(actnn *trainer)
{
  return actnn_run(trainer, small_draw, call_out, call_in, WITH(INT(1)));
}

static void
test_calls(void)
{
  static const uint32_t many[ACTNN_MAX_OPERANDS + 1];
  changed c;
  copy_model(&c);
  c.model.initialize = initialize_with_call;
  call_out = (actnn_list){ACTNN_MAX_OPERANDS + 1, many};
  call_in = IN(NONE);
  refuse(&c.model, "a call with too many results", "small: a call with 257 operands, more than 256");
  call_out = OUT(v_w1);
  call_in = (actnn_list){ACTNN_MAX_OPERANDS + 1, many};
  refuse(&c.model, "a call with too many operands", "small: a call with 257 operands, more than 256");
  call_in = IN(NONE, v_count);
  refuse(&c.model, "a call that reads a tensor too many", "small: a call names tensor 24, which the model does not have");
  call_out = OUT(v_count);
  call_in = IN(NONE);
  refuse(&c.model, "a call that writes a tensor too many", "small: a call names tensor 24, which the model does not have");
  actnn *trainer = make(&small_model);
  ok(!actnn_data(trainer, v_count) && !actnn_data(trainer, NONE), "a tensor that is none has no data");
  ok(actnn_put(trainer, v_count) && strstr(actnn_error(trainer), "there is no tensor 24"), "nor can it be put: %s", actnn_error(trainer));
  ok(!actnn_put(trainer, v_w1), "one that is can");
  actnn_destroy(trainer);
  actnn_view value = {.type = ACTNN_F32}, stash = {.layout = ACTNN_STASH};
  actnn_attribute with = INT(1);
  capture_begin();
  int failed = actnn_PackBits(&(actnn_call){NULL, 1, 1, 1, &stash, &value, &with});
  const char *said = capture_end();
  ok(failed == 1 && strlen(said) > 10 && said[strlen(said) - 1] == '\n', "a kernel without a trainer says on stderr what is wrong: %s", said);
}

/* ---- observed updates ----------------------------------------------------------------------------- */

static size_t observed;

static void
count(void *context, uint32_t variable, const float *gradient, size_t elements)
{
  (void)context, (void)gradient;
  observed = variable == v_w2 ? elements : 0;
}

static void
observe(actnn_kernel *kernel, actnn_list in, bool is_seen, const char *what)
{
  changed c;
  copy_model(&c);
  c.model.backward = backward_with_update;
  own_update = kernel;
  own_update_in = in;
  observed = 0;
  actnn *trainer = make_fed(&c.model);
  actnn_observe_gradients(trainer, count, NULL);
  int failed = actnn_step(trainer, 0.01, NULL);
  ok(is_seen ? !failed && observed == HIDDEN * CLASSES
             : failed && !observed && strstr(actnn_error(trainer), "an update without a plain float32 gradient cannot be observed"),
     "%s: %s", what, failed ? actnn_error(trainer) : "observed");
  actnn_destroy(trainer);
}

static void
test_observer(void)
{
  observe(actnn_Sgd, IN(v_w2, v_dw2, v_m2, v_rate), true, "a gradient");
  observe(actnn_OnnxAdagrad, IN(v_w2, v_dw2), true, "a gradient beside no squares");
  observe(actnn_Sgd, IN(v_w2), false, "no gradient");
  observe(actnn_Sgd, IN(NONE, v_dw2, v_m2, v_rate), false, "no variable");
  observe(actnn_Sgd, IN(v_w2, NONE, v_m2, v_rate), false, "a gradient that is none");
  observe(actnn_Sgd, IN(v_w2, v_labels, v_m2, v_rate), false, "a gradient of integers");
  observe(actnn_Sgd, IN(v_w2, v_stash, v_m2, v_rate), false, "a coded gradient");
}

/* ---- steps -------------------------------------------------------------------------------------- */

/* The small model with a loss of its own and nothing coded. */
static void
copy_own_loss(changed *c)
{
  copy_model(c);
  c->model.save_count = 0;
  c->model.forward = forward_own_loss;
  c->model.backward = backward_nothing;
  c->model.evaluate = forward_own_loss;
  own_loss = 2.5;
  own_running = 0;
}

static void
test_steps(void)
{
  changed c;
  double loss = 0;
  copy_own_loss(&c);
  c.tensor[v_loss].type = ACTNN_F64;
  c.model.learning_rate = c.model.step_number = NONE;
  own_loss = 1.1;
  actnn *trainer = make(&c.model);
  ok(!actnn_step(trainer, 0.1, &loss) && loss == 1.1, "a loss in double precision is read as such");
  ok(!actnn_step(trainer, 0.1, NULL) && trainer->step == 2, "nobody has to ask for it");
  loss = 0;
  ok(!actnn_evaluate_batch(trainer, &loss) && loss == 1.1 && !actnn_evaluate_batch(trainer, NULL), "an evaluation neither");
  actnn_destroy(trainer);
  c.tensor[v_loss].type = ACTNN_I64;
  fails(&c.model, "small: the loss is not a float32 or float64 scalar", "a loss of an integer");
  c.model.loss = NONE;
  fails(&c.model, "small: the model has no loss", "no loss");
  copy_own_loss(&c);
  c.model.backward = NULL;
  fails(&c.model, "small: the model has no training step", "no backward");
  c.model.backward = backward_nothing;
  c.model.forward = NULL;
  fails(&c.model, "small: the model has no training step", "no forward");
  c.model.forward = run_nothing;
  fails(&c.model, "not today", "a forward that fails");
  c.model.forward = forward_own_loss;
  c.model.backward = run_nothing;
  fails(&c.model, "not today", "a backward that fails");
  c.model.evaluation_loss = NONE;
  trainer = make(&c.model);
  ok(!actnn_evaluate_batch(trainer, &loss) && isnan(loss) && !actnn_evaluate_batch(trainer, NULL), "an evaluation without a loss has none");
  actnn_destroy(trainer);
  c.model.evaluate = run_nothing;
  trainer = make(&c.model);
  ok(actnn_evaluate_batch(trainer, &loss) && strstr(actnn_error(trainer), "not today"), "an evaluation that fails says why");
  actnn_destroy(trainer);
  c.model.evaluate = NULL;
  trainer = make(&c.model);
  ok(actnn_evaluate_batch(trainer, &loss) && strstr(actnn_error(trainer), "small: the model has no evaluation"), "no evaluation: %s",
     actnn_error(trainer));
  actnn_destroy(trainer);
}

/* ---- numbers that are not finite ------------------------------------------------------------------- */

static int
small_backward_one_nan(actnn *trainer)
{
  if (!trainer->preparing)
    ((float *)(void *)(trainer->arena + at_m2))[3] = INFINITY;
  return small_backward(trainer);
}

static void
test_not_finite(void)
{
  changed c;
  copy_own_loss(&c);
  own_loss = NAN;
  fails(&c.model, "step 0: the loss is not finite; lower --lr", "a loss that is not a number");
  own_loss = 1;
  own_running = INFINITY;
  fails(&c.model, "step 0: the running statistic 'running' is not finite", "an infinite running statistic");
  c.variable[8].name = NULL;
  fails(&c.model, "step 0: the running statistic '' is not finite", "one without a name");
  c.tensor[v_running].type = ACTNN_I32;
  actnn *trainer = make(&c.model);
  ok(!actnn_step(trainer, 0.1, NULL), "integers are always finite");
  actnn_destroy(trainer);
  copy_model(&c);
  c.model.backward = small_backward_one_nan;
  fails(&c.model, "step 0: 'layer2.w", "an infinite state of the optimizer");
  c.variable[2].name = NULL;
  fails(&c.model, "step 0: '' or its optimizer state is not finite after its update", "of a variable without a name");
  c.variable[2].tensor = v_running;
  fails(&c.model, "step 0: '' or its optimizer state is not finite after its update", "of what is no variable");
  copy_own_loss(&c);
  trainer_options options = {.threads = 1, .skips = true};
  trainer = trainer_create(&c.model, &options, NULL, 0);
  own_running = NAN;
  ok(trainer && actnn_step(trainer, 0.1, NULL) && trainer_skips(trainer) && trainer->step == 1 &&
         *(float *)actnn_data(trainer, v_running) == 0,
     "a step that is not finite can be undone");
  own_running = 3;
  ok(!actnn_step(trainer, 0.1, NULL) && !trainer_skips(trainer) && *(float *)actnn_data(trainer, v_running) == 3, "one that is finite is not");
  actnn_destroy(trainer);
}

/* ---- exports -------------------------------------------------------------------------------------- */

/* Bytes of what the model is exported to; -1 and a message where it is not. */
static long
exported_bytes(const actnn_model *model, const char *path, char *error, size_t bytes)
{
  actnn *trainer = make(model);
  int failed = actnn_export(trainer, path);
  snprintf(error, bytes, "%s", actnn_error(trainer));
  actnn_destroy(trainer);
  FILE *file = failed ? NULL : fopen(path, "rb");
  if (!file)
    return -1;
  fseek(file, 0, SEEK_END);
  long count = ftell(file);
  fclose(file);
  unlink(path);
  return count;
}

static void
test_exports(void)
{
  changed c;
  char error[512];
  make_folder();
  const char *path = path_of("small.onnx");
  copy_model(&c);
  long all = exported_bytes(&c.model, path, error, sizeof error), biases = (HIDDEN + CLASSES) * 4;
  ok(all > PIXELS * HIDDEN * 4, "a model is exported with its variables %s", error);
  c.variable[1].role = ACTNN_FIXED;
  c.variable[3].name = NULL;
  long fewer = exported_bytes(&c.model, path, error, sizeof error);
  ok(fewer <= all - biases && fewer > PIXELS * HIDDEN * 4, "but not what is fixed or has no name: %ld bytes of %ld", fewer, all);
  c.model.onnx_bytes = INT32_MAX;
  ok(exported_bytes(&c.model, path, error, sizeof error) < 0 && strstr(error, "an ONNX file holds 2; use --checkpoint"), "too large: %s", error);
  c.model.onnx_bytes = 0;
  ok(exported_bytes(&c.model, path, error, sizeof error) < 0 && strstr(error, "compiled without its ONNX model"), "nothing to export: %s", error);
  c.model.onnx = NULL;
  ok(exported_bytes(&c.model, path, error, sizeof error) < 0 && strstr(error, "compiled without its ONNX model"), "no model: %s", error);
  ok(!rmdir(folder), "and no file is left");
}

int
main(void)
{
  test_options();
  test_scratch();
  test_calls();
  test_observer();
  test_steps();
  test_not_finite();
  test_exports();
  return tap_done();
}
