/* test_winners.c: the classes that win in a training step's prediction, as a GPU finds them, are those that the processor finds in it; of equal
 * values the first. */
#include "tap.h"
#include "trainer.h"
#include "winners.h"

#include <math.h>
#include <stdlib.h>

enum { LABEL, GIVEN, PREDICTION, LOSS, ZERO, TENSORS };

static const struct {
  const char *what;
  int rank;
  int64_t dim[4];
  int axis; /* of the classes */
} cases[] = {
    {"5 classes", 2, {7, 5}, 1},
    {"1 class", 2, {3, 1}, 1},
    {"1000 classes", 2, {4, 1000}, 1},
    {"classes of each position, side by side", 3, {2, 9, 131}, 2},
    {"few of them", 3, {3, 6, 11}, 2},
    {"one behind the other", 4, {2, 70, 5, 8}, 1},
};

static int
forward(actnn *trainer)
{
  RUN(actnn_Neg, OUT(PREDICTION), IN(GIVEN), WITHOUT);
  RUN(actnn_Neg, OUT(LOSS), IN(ZERO), WITHOUT);
  return 0;
}

/* What forward has made gets another use: winners have been found before. */
static int
backward(actnn *trainer)
{
  RUN(actnn_Neg, OUT(PREDICTION), IN(PREDICTION), WITHOUT);
  return 0;
}

static void
check_case(size_t which)
{
  static const actnn_input input = {LABEL, "label"};
  actnn_tensor tensor[TENSORS] = {{.type = ACTNN_I64}, {.type = ACTNN_F32}, {.type = ACTNN_F32}, {.type = ACTNN_F32}, {.type = ACTNN_F32}};
  char error[512] = "";
  uint64_t end = 0;
  for (int i = 0; i < TENSORS; i++) {
    uint64_t count = 1;
    for (int axis = 0; axis < cases[which].rank && i < LOSS; axis++)
      if (i != LABEL || axis != cases[which].axis)
        count *= (uint64_t)(tensor[i].dim[tensor[i].rank++] = cases[which].dim[axis]);
    tensor[i].offset = end;
    tensor[i].bytes = (count * (i == LABEL ? 8 : 4) + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
    end += tensor[i].bytes;
  }
  actnn_model model = {.version = ACTNN_VERSION, .name = "winners", .tensor = tensor, .tensor_count = TENSORS, .input = &input, .input_count = 1,
                       .label = 0, .loss = LOSS, .loss_kind = ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY, .evaluation_loss = NONE,
                       .evaluation_output = NONE, .evaluation_losses = NONE, .learning_rate = NONE, .step_number = NONE, .training_output = PREDICTION,
                       .batch = cases[which].dim[0], .arena_bytes = end, .variable_bytes = tensor[PREDICTION].offset, .stash_offset = end,
                       .workspace_offset = end, .device = &actnn_cuda, .forward = forward, .backward = backward};
  actnn *trainer = trainer_create(&model, &(trainer_options){.threads = 1, .seed = 7, .quiet = true}, error, sizeof error);
  class_places places;
  if (!trainer || !class_places_of(&model, PREDICTION, &places)) {
    ok(false, "%s: %s", cases[which].what, error);
    return;
  }
  int64_t count = places.samples * places.positions, differing = 0, elements = count * places.classes;
  bool is_good = true;
  for (int step = 0; step < 3; step++) { /* the last one as a graph */
    float *given = actnn_data(trainer, GIVEN), *value = malloc((size_t)elements * sizeof *value);
    for (int64_t i = 0; i < elements; i++) {
      given[i] = (float)((i * 37 + step * 11) % 101) - (i % 3 ? 50 : 0); /* many are equal */
      value[i] = -given[i];
    }
    actnn_put(trainer, GIVEN);
    *(float *)actnn_data(trainer, ZERO) = 0;
    actnn_put(trainer, ZERO);
    is_good = is_good && !trainer_forward(trainer, 0.1) && !trainer_backward(trainer);
    for (int64_t i = 0; i < count && is_good; i++)
      differing += trainer->winner[i] != winner_of(value + class_place(&places, i), places.stride, places.classes);
    free(value);
  }
  ok(is_good && differing == 0, "%s: %lld positions, of which %lld differ %s", cases[which].what, (long long)count, (long long)differing,
     is_good ? "" : actnn_error(trainer));
  actnn_destroy(trainer);
}

int
main(void)
{
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_case(i);
  return tap_done();
}
