/* test_ahead.c: the next step's inputs, sent while a step runs, leave that step as it is, and are there when the next one begins; what is
 * filled otherwise in between takes their place, and so do the inputs of a step that is undone. */
#include "device.h"
#include "tap.h"
#include "trainer.h"

#include <math.h>
#include <string.h>

enum { FIRST, SECOND, FORWARD, BACKWARD, LOSS, ZERO, TENSORS };

static const int64_t counts[TENSORS] = {1000, 3, 1000, 3, 1, 1};

static int
forward(actnn *trainer)
{
  RUN(actnn_Neg, OUT(FORWARD), IN(FIRST), WITHOUT);
  RUN(actnn_Neg, OUT(LOSS), IN(ZERO), WITHOUT);
  return 0;
}

static int
backward(actnn *trainer)
{
  RUN(actnn_Neg, OUT(BACKWARD), IN(SECOND), WITHOUT);
  return 0;
}

/* Every element of an input, as the processor has it. */
static void
fill(actnn *trainer, float value)
{
  trainer->is_ahead = false;
  for (uint32_t tensor = FIRST; tensor <= SECOND; tensor++) {
    float *element = actnn_data(trainer, tensor);
    for (int64_t i = 0; i < counts[tensor]; i++)
      element[i] = value;
  }
}

static bool
holds(actnn *trainer, uint32_t tensor, float value)
{
  const float *element = actnn_data(trainer, tensor);
  for (int64_t i = 0; i < counts[tensor]; i++)
    if (element[i] != value)
      return false;
  return true;
}

static float next_value;
static unsigned calls;

static void
send_next(void *context)
{
  actnn *trainer = context;
  fill(trainer, next_value);
  calls++;
  trainer->is_ahead = !device_send_ahead(trainer);
}

static bool
step(actnn *trainer, bool sends)
{
  trainer->meanwhile = sends ? send_next : NULL;
  trainer->meanwhile_context = trainer;
  return !trainer_forward(trainer, 0.1) && !trainer_backward(trainer);
}

int
main(void)
{
  static const actnn_input inputs[] = {{FIRST, "first"}, {SECOND, "second"}};
  actnn_tensor tensor[TENSORS];
  char error[512] = "";
  uint64_t end = 0;
  for (uint32_t i = 0; i < TENSORS; i++) {
    tensor[i] = (actnn_tensor){.type = ACTNN_F32, .rank = i < LOSS, .dim = {i < LOSS ? counts[i] : 0}, .offset = end};
    tensor[i].bytes = (uint64_t)(counts[i] * 4 + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
    end += tensor[i].bytes;
  }
  actnn_model model = {.version = ACTNN_VERSION, .name = "ahead", .tensor = tensor, .tensor_count = TENSORS, .input = inputs,
                       .input_count = 2, .label = NONE, .loss = LOSS, .evaluation_loss = NONE, .evaluation_output = NONE, .evaluation_losses = NONE, .learning_rate = NONE,
                       .step_number = NONE, .training_output = NONE, .batch = 1, .arena_bytes = end, .variable_bytes = tensor[FORWARD].offset,
                       .stash_offset = end, .workspace_offset = end, .device = &actnn_cuda, .forward = forward, .backward = backward};
  actnn *trainer = trainer_create(&model, &(trainer_options){.threads = 1, .seed = 7, .quiet = true, .skips = true}, error, sizeof error);
  if (!ok(trainer != NULL, "a trainer with two inputs %s", error))
    return tap_done();
  fill(trainer, 1);
  next_value = 2;
  ok(step(trainer, true) && calls == 1, "a step during which the next one's inputs are sent");
  ok(holds(trainer, FORWARD, -1) && holds(trainer, BACKWARD, -1), "has read its own inputs, in forward and in backward");
  next_value = 3;
  ok(step(trainer, true) && calls == 2, "the next one, during which those of a third are sent");
  ok(holds(trainer, FORWARD, -2) && holds(trainer, BACKWARD, -2), "has read those that were sent for it");
  fill(trainer, 4);
  ok(step(trainer, false) && holds(trainer, FORWARD, -4) && holds(trainer, BACKWARD, -4),
     "what is filled in before it begins counts, not what was sent");
  ok(step(trainer, false) && holds(trainer, FORWARD, -4) && calls == 2, "nothing sent, nothing taken");
  *(float *)actnn_data(trainer, ZERO) = NAN;
  actnn_put(trainer, ZERO);
  next_value = 5;
  ok(!step(trainer, true) && calls == 3 && holds(trainer, FIRST, 5), "a step whose loss is no number, during which inputs are sent");
  ok(trainer_skips(trainer) && holds(trainer, FIRST, 4) && !trainer->is_ahead,
     "is undone: inputs are its own again, and those of the next one are to be filled in anew");
  actnn_destroy(trainer);
  return tap_done();
}
