/* test_evaluation.c: loss and accuracy of a set of samples, compared with what follows by hand. The model's prediction is its input. */
#include "data_files.h"
#include "evaluation.h"

enum { SAMPLES = 5, CLASSES = 3, BATCH = 4 };

static actnn_tensor four[4]; /* input, label, prediction (in the label's place), loss */
static scorer scorer_of;
static score result;
static float numbers[SAMPLES * CLASSES] = {2, 1, 0, 0, 3, 1, 1, 0, 2, 5, 1, 2, -1, 0, -2}; /* the largest: 0, 1, 2, 0, 1 */
static bool does_fail;
static float own_loss; /* of the next batch, by the model itself; each is 1 more than that before */

static int
predict(actnn *of)
{
  memcpy(arena + four[2].offset, arena, BATCH * CLASSES * sizeof(float));
  memcpy(arena + four[3].offset, &own_loss, sizeof own_loss);
  own_loss += 1;
  return does_fail ? actnn_fail(of, "no evaluation today") : 0;
}

static data_array *
add(const char *name, int type, int rank, const int64_t *dim, const void *data)
{
  data_array *array = &set.array[set.array_count++];
  *array = (data_array){.name = (char *)name, .file = "file", .data = data, .type = type, .rank = rank, .stride = trainer_type_bytes(type)};
  memcpy(array->dim, dim, (size_t)rank * sizeof *dim);
  for (int axis = 1; axis < rank; axis++)
    array->stride *= (size_t)dim[axis];
  return array;
}

/* A classifier of three classes, and labels of which the last but one is wrong. */
static void
begin(void)
{
  static const int64_t labels[SAMPLES] = {0, 1, 2, 1, 1};
  set.array_count = 0;
  SET_INPUT(ACTNN_F32, BATCH, CLASSES);
  SET_LABEL(ACTNN_I64, BATCH);
  SET_OUTPUT(BATCH, CLASSES);
  memcpy(four, tensors, sizeof tensors);
  four[3] = tensor(ACTNN_F32, 1 << 18, 0, (const int64_t[]){0});
  model = (actnn_model){.name = "echo", .tensor = four, .input = inputs, .tensor_count = 4, .input_count = 2, .label = 1, .loss = NONE,
                        .evaluation_loss = 3, .evaluation_output = 2, .evaluation_losses = NONE, .learning_rate = NONE, .step_number = NONE, .training_output = NONE,
                        .batch = BATCH, .loss_kind = ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY, .evaluate = predict};
  add("x", ACTNN_F32, DIMS(SAMPLES, CLASSES), numbers);
  add("y", ACTNN_I64, DIMS(SAMPLES), labels);
  own_loss = 10;
}

/* Opens the set and evaluates all of it. */
static bool
evaluate(void)
{
  scorer_close(&scorer_of);
  batch_close(&source);
  if (!batch_open(&source, &model, &set, NULL) || !scorer_open(&scorer_of, &model)) {
    fprintf(stderr, "# %s\n", source.error);
    return false;
  }
  return !evaluate_all(&scorer_of, &trainer, &source, &result) && result.samples == SAMPLES;
}

/* The model's own losses, 10 for the first four samples and 11 for the last. */
static bool
is_own(void)
{
  return evaluate() && fabs(result.loss - (4 * 10 + 11) / 5.) < 1e-12 && isnan(result.accuracy);
}

static double
cross_entropy(int sample, int64_t label)
{
  double sum = 0;
  for (int index = 0; index < CLASSES; index++)
    sum += exp((double)numbers[sample * CLASSES + index]);
  return log(sum) - (double)numbers[sample * CLASSES + label];
}

static void
test_classes(void)
{
  begin();
  double wanted = (cross_entropy(0, 0) + cross_entropy(1, 1) + cross_entropy(2, 2) + cross_entropy(3, 1) + cross_entropy(4, 1)) / 5;
  ok(evaluate() && fabs(result.loss - wanted) < 1e-6 && result.accuracy == 0.8, "five samples in batches of four: %g, %g", result.loss,
     result.accuracy);
  four[1].type = ACTNN_I32;
  ok(evaluate() && fabs(result.loss - wanted) < 1e-6 && result.accuracy == 0.8, "with labels of 32 bits: %g, %g", result.loss, result.accuracy);

  /* Each sample once more by itself. */
  batch_fill_in_order(&source, &trainer, 0);
  scorer_keep_labels(&scorer_of, &trainer);
  predict(&trainer);
  ok(isnan(scorer_accuracy(&scorer_of, &trainer)), "there is none without a prediction");
  model.training_output = 2;
  ok(scorer_accuracy(&scorer_of, &trainer) == 0.75, "accuracy of a batch");
  int32_t won[BATCH] = {0, 0, 0, 0};
  trainer.winner = won;
  ok(scorer_accuracy(&scorer_of, &trainer) == 0.25, "of classes that a device has found");
  trainer.winner = NULL;
  ((int32_t *)(void *)scorer_of.label)[0] = 7;
  ((int32_t *)(void *)scorer_of.label)[1] = -1;
  ok(scorer_accuracy(&scorer_of, &trainer) == 0.25, "a label of no class is never hit");
  four[1].type = ACTNN_U8;
  ok(scorer_accuracy(&scorer_of, &trainer) == 0, "nor is a label of a type that counts nothing");
  four[2].type = ACTNN_F64;
  ok(isnan(scorer_accuracy(&scorer_of, &trainer)), "predictions of another type are not counted");
  four[2].type = ACTNN_F32, four[2].layout = ACTNN_BLOCKED;
  ok(isnan(scorer_accuracy(&scorer_of, &trainer)), "nor of another layout");

  /* Four positions, classes on axis 1 and on the last. */
  static const int64_t positions[2 * 2] = {0, 1, 2, 0};
  for (int is_last = 0; is_last < 2; is_last++) {
    begin();
    set.array_count = 0;
    model.batch = 2;
    four[0] = tensor(ACTNN_F32, 0, 2, (const int64_t[]){2, 6});
    four[1] = tensor(ACTNN_I64, 1 << 19, 2, (const int64_t[]){2, 2});
    four[2] = tensor(ACTNN_F32, 1 << 19, 3, is_last ? (const int64_t[]){2, 2, 3} : (const int64_t[]){2, 3, 2});
    static const float last[12] = {9, 0, 0, 0, 8, 0, 0, 0, 7, 0, 6, 0}, first[12] = {9, 0, 0, 8, 0, 0, 0, 0, 0, 6, 7, 0};
    add("x", ACTNN_F32, DIMS(2, 6), is_last ? last : first);
    add("y", ACTNN_I64, DIMS(2, 2), positions);
    result.accuracy = 0;
    scorer_close(&scorer_of);
    batch_close(&source);
    if (!batch_open(&source, &model, &set, NULL) || !scorer_open(&scorer_of, &model) || evaluate_all(&scorer_of, &trainer, &source, &result))
      fprintf(stderr, "# %s\n", source.error);
    ok(result.accuracy == 0.75 && result.samples == 2, "positions with classes on the %s axis: %g", is_last ? "last" : "second", result.accuracy);
  }
}

static double
element_loss(actnn_loss_kind kind, double p, double t)
{
  return kind == ACTNN_LOSS_MSE ? (p - t) * (p - t) : kind == ACTNN_LOSS_L1 ? fabs(p - t) : log(1 + exp(p)) - p * t;
}

static void
test_elements(void)
{
  static const actnn_loss_kind kinds[] = {ACTNN_LOSS_MSE, ACTNN_LOSS_L1, ACTNN_LOSS_BCE_WITH_LOGITS};
  static float targets[SAMPLES * CLASSES];
  static const uint8_t hot[SAMPLES] = {0, 1, 2, 1, 1};
  for (size_t which = 0; which < 6; which++) {
    actnn_loss_kind kind = kinds[which % 3];
    bool is_hot = which >= 3;
    double wanted = 0;
    begin();
    four[1] = tensor(ACTNN_F32, 1 << 19, 2, (const int64_t[]){BATCH, CLASSES});
    for (int index = 0; index < SAMPLES * CLASSES; index++) {
      targets[index] = is_hot ? hot[index / CLASSES] == index % CLASSES : (float)(index % 4) / 4;
      wanted += element_loss(kind, (double)numbers[index], (double)targets[index]) / (SAMPLES * CLASSES);
    }
    set.array_count = 1;
    if (is_hot)
      add("y", ACTNN_U8, DIMS(SAMPLES), hot);
    else
      add("y", ACTNN_F32, DIMS(SAMPLES, CLASSES), targets);
    model.loss_kind = kind;
    ok(evaluate() && fabs(result.loss - wanted) < 1e-6 && (is_hot ? result.accuracy == 0.8 : isnan(result.accuracy)), "loss %d with %s: %g, %g", kind,
       is_hot ? "classes" : "targets", result.loss, result.accuracy);
  }
}

/* Where samples cannot be told apart the model's own loss of each batch counts. */
static void
test_own_losses(void)
{
  begin();
  model.loss_kind = ACTNN_LOSS_OUTPUT;
  four[1] = tensor(ACTNN_F32, 1 << 19, 2, (const int64_t[]){BATCH, CLASSES});
  set.array_count = 1;
  add("y", ACTNN_F32, DIMS(SAMPLES, CLASSES), numbers);
  ok(is_own(), "a loss that is an output: %g", result.loss);
  own_loss = 10;
  model.loss_kind = ACTNN_LOSS_MSE;
  model.evaluation_output = NONE;
  ok(is_own(), "no prediction: %g", result.loss);
  own_loss = 10;
  model.evaluation_output = 2;
  four[2].type = ACTNN_F64;
  ok(is_own(), "a prediction of another type: %g", result.loss);
  own_loss = 10;
  four[2].type = ACTNN_F32, four[2].layout = ACTNN_BLOCKED;
  ok(is_own(), "a prediction of another layout: %g", result.loss);
  own_loss = 10;
  four[2].layout = ACTNN_PLAIN, four[2].rank = 1;
  ok(is_own(), "a prediction of another size: %g", result.loss);
  begin();
  model.loss_kind = ACTNN_LOSS_L1;
  ok(is_own(), "targets that are integers: %g", result.loss);
  begin();
  four[2].rank = 1;
  ok(is_own(), "a prediction without classes: %g", result.loss);
  begin();
  model.label = NONE;
  ok(is_own(), "no labels: %g", result.loss);
  begin();
  does_fail = true;
  ok(!evaluate() && strstr(actnn_error(&trainer), "no evaluation today"), "an evaluation that fails is told: %s", actnn_error(&trainer));
  does_fail = false;
}

int
main(void)
{
  test_classes();
  test_elements();
  test_own_losses();
  scorer_close(&scorer_of);
  batch_close(&source);
  return tap_done();
}
