/* evaluation.c: the loss of each sample is computed here, from the prediction, because the model's own loss is
 * a mean over a batch, and the last batch is filled up. Sums run in sample order, whatever the number of
 * threads. */
#include "evaluation.h"
#include "trainer.h"
#include "winners.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool
scorer_open(scorer *scorer, const actnn_model *model)
{
  *scorer = (struct scorer){.model = model};
  scorer->loss = calloc((size_t)model->batch, sizeof *scorer->loss);
  scorer->hit = calloc((size_t)model->batch, sizeof *scorer->hit);
  if (model->label != NONE) {
    const actnn_tensor *tensor = &model->tensor[model->input[model->label].tensor];
    scorer->label_bytes = trainer_elements(tensor) * trainer_type_bytes(tensor->type);
    scorer->label = malloc(scorer->label_bytes + 1);
  }
  if (scorer->loss && scorer->hit && (scorer->label || model->label == NONE))
    return true;
  scorer_close(scorer);
  return false;
}

void
scorer_close(scorer *scorer)
{
  free(scorer->label);
  free(scorer->loss);
  free(scorer->hit);
  *scorer = (struct scorer){0};
}

void
scorer_keep_labels(scorer *scorer, actnn *trainer)
{
  if (scorer->label)
    memcpy(scorer->label, actnn_data(trainer, scorer->model->input[scorer->model->label].tensor),
           scorer->label_bytes);
}

static int64_t
label_at(const scorer *scorer, size_t index)
{
  switch (scorer->model->tensor[scorer->model->input[scorer->model->label].tensor].type) {
  case ACTNN_I64: return ((const int64_t *)(const void *)scorer->label)[index];
  case ACTNN_I32: return ((const int32_t *)(const void *)scorer->label)[index];
  default: return -1;
  }
}

/* -log softmax at the label, and whether the label has the largest logit. */
static double
cross_entropy(const float *logit, int64_t stride, int64_t classes, int64_t label, bool *is_hit)
{
  int64_t winner = winner_of(logit, stride, classes);
  double sum = 0, largest = logit[winner * stride];
  for (int64_t i = 0; i < classes; i++)
    sum += exp((double)logit[i * stride] - largest);
  *is_hit = winner == label;
  return label < 0 || label >= classes ? 0 : log(sum) - ((double)logit[label * stride] - largest);
}

/* Scores the first `count` samples of a classifying prediction; false when the prediction counts no classes. */
static bool
score_classes(scorer *scorer, actnn *trainer, uint32_t prediction, uint64_t count, double *per_sample)
{
  class_places places;
  if (!class_places_of(scorer->model, prediction, &places))
    return false;
  const float *logits = actnn_data(trainer, prediction);
  if (!logits)
    return false;
#pragma omp parallel for schedule(static) num_threads(trainer->threads)
  for (int64_t sample = 0; sample < (int64_t)count; sample++) {
    scorer->loss[sample] = 0;
    scorer->hit[sample] = 0;
    for (int64_t i = sample * places.positions; i < (sample + 1) * places.positions; i++) {
      bool is_hit;
      const float *own = logits + class_place(&places, i);
      scorer->loss[sample] += cross_entropy(own, places.stride, places.classes, label_at(scorer, (size_t)i), &is_hit);
      scorer->hit[sample] += is_hit;
    }
  }
  *per_sample = (double)places.positions;
  return true;
}

/* The same where evaluation has told losses and winners itself. */
static bool
score_told(scorer *scorer, actnn *trainer, uint64_t count, double *per_sample)
{
  const actnn_model *model = scorer->model;
  int64_t positions = model->evaluation_losses == NONE ? 0 : prediction_positions(model, model->evaluation_output) / model->batch;
  const int64_t *winner = positions ? actnn_data(trainer, model->evaluation_output) : NULL;
  const float *loss = winner ? actnn_data(trainer, model->evaluation_losses) : NULL;
  for (int64_t sample = 0; loss && sample < (int64_t)count; sample++) {
    scorer->loss[sample] = 0;
    scorer->hit[sample] = 0;
    for (int64_t i = sample * positions; i < (sample + 1) * positions; i++) {
      scorer->loss[sample] += (double)loss[i];
      scorer->hit[sample] += winner[i] == label_at(scorer, (size_t)i);
    }
  }
  *per_sample = (double)positions;
  return loss != NULL;
}

static double
element_loss(actnn_loss_kind kind, double prediction, double target)
{
  double difference = prediction - target;
  switch (kind) {
  case ACTNN_LOSS_MSE: return difference * difference;
  case ACTNN_LOSS_L1: return fabs(difference);
  default:
    return fmax(prediction, 0) - prediction * target + log1p(exp(-fabs(prediction))); /* BCE with logits */
  }
}

/* The same for losses that compare element by element with a target of the prediction's shape. Hits are counted
 * where both are vectors of classes, the target with a single 1. */
static bool
score_elements(scorer *scorer, actnn *trainer, uint32_t prediction, uint64_t count, double *per_sample)
{
  const actnn_model *model = scorer->model;
  if (model->label == NONE || prediction == NONE || model->loss_kind == ACTNN_LOSS_OUTPUT ||
      model->loss_kind == ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY)
    return false;
  const actnn_tensor *output = &model->tensor[prediction],
                     *label = &model->tensor[model->input[model->label].tensor];
  if (output->type != ACTNN_F32 || output->layout != ACTNN_PLAIN || label->type != ACTNN_F32 ||
      trainer_elements(output) != trainer_elements(label))
    return false;
  size_t elements = trainer_elements(output) / (size_t)model->batch;
  const float *predicted = actnn_data(trainer, prediction),
              *target = (const float *)(const void *)scorer->label;
  if (!predicted)
    return false;
#pragma omp parallel for schedule(static) num_threads(trainer->threads)
  for (int64_t sample = 0; sample < (int64_t)count; sample++) {
    const float *p = predicted + (size_t)sample * elements, *t = target + (size_t)sample * elements;
    size_t best = 0, wanted = 0;
    scorer->loss[sample] = 0;
    for (size_t index = 0; index < elements; index++) {
      scorer->loss[sample] += element_loss(model->loss_kind, (double)p[index], (double)t[index]);
      best = p[index] > p[best] ? index : best;
      wanted = t[index] > t[wanted] ? index : wanted;
    }
    scorer->hit[sample] = best == wanted;
  }
  *per_sample = (double)elements;
  return true;
}

double
scorer_accuracy(scorer *scorer, actnn *trainer)
{
  uint32_t prediction = scorer->model->training_output;
  class_places places;
  int64_t hits = 0, count = prediction_positions(scorer->model, prediction);
  if (!count)
    return NAN;
  const void *told = trainer->winner ? NULL : actnn_data(trainer, prediction);
  if (!trainer->winner && !told)
    return NAN;
  const float *logits = class_places_of(scorer->model, prediction, &places) ? told : NULL;
  const int64_t *numbers = logits ? NULL : told;
#pragma omp parallel for schedule(static) num_threads(trainer->threads) reduction(+ : hits)
  for (int64_t i = 0; i < count; i++) {
    int64_t winner = trainer->winner ? trainer->winner[i]
                     : numbers       ? numbers[i]
                                     : winner_of(logits + class_place(&places, i), places.stride, places.classes);
    hits += winner == label_at(scorer, (size_t)i);
  }
  return (double)hits / (double)count;
}

/* Of a model with a label that score_elements has compared. */
static bool
is_one_hot(const batch_source *source, const actnn_model *model)
{
  for (size_t index = 0; index < source->binding_count; index++)
    if (source->binding[index].tensor == model->input[model->label].tensor)
      return source->binding[index].conversion == CONVERT_ONE_HOT;
  return false;
}

int
evaluate_all(scorer *scorer, actnn *trainer, batch_source *source, score *score)
{
  const actnn_model *model = scorer->model;
  double total = 0, weight = 0, hits = 0, positions = 0;
  bool has_classes = false;
  *score = (struct score){.samples = source->samples};
  for (uint64_t first = 0; first < source->samples;) {
    uint64_t count = batch_fill_in_order(source, trainer, first);
    double batch_loss, per_sample;
    scorer_keep_labels(scorer, trainer);
    if (actnn_evaluate_batch(trainer, &batch_loss))
      return 1;
    bool is_classified = score_told(scorer, trainer, count, &per_sample) ||
                         score_classes(scorer, trainer, model->evaluation_output, count, &per_sample);
    if (is_classified || score_elements(scorer, trainer, model->evaluation_output, count, &per_sample)) {
      has_classes = is_classified || is_one_hot(source, model);
      for (uint64_t sample = 0; sample < count; sample++) {
        total += scorer->loss[sample];
        hits += (double)scorer->hit[sample];
      }
      weight += (double)count * per_sample;
      positions += (double)count * (is_classified ? per_sample : 1);
    } else {
      total += batch_loss * (double)count;
      weight += (double)count;
    }
    first += count;
  }
  score->loss = total / weight;
  score->accuracy = has_classes ? hits / positions : NAN;
  return 0;
}
