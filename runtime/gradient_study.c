/* gradient_study.c: see gradient_study.h. Sums are of differences from the first gradient, so that a variance far below the
 * squared norm is not lost in rounding. */
#include "gradient_study.h"
#include "device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void
gradient_study_close(gradient_study *study)
{
  for (uint32_t index = 0; study->record && index < study->trainer->model->variable_count; index++) {
    free(study->record[index].first);
    free(study->record[index].exact);
    free(study->record[index].sum);
  }
  free(study->record);
  free(study->variable_of);
  study->record = NULL;
  study->variable_of = NULL;
}

int
gradient_study_open(gradient_study *study, actnn *trainer)
{
  const actnn_model *model = trainer->model;
  *study = (gradient_study){.trainer = trainer};
  study->record = calloc((size_t)model->variable_count + 1, sizeof *study->record);
  study->variable_of = malloc(((size_t)model->tensor_count + 1) * sizeof *study->variable_of);
  if (!study->record || !study->variable_of) {
    gradient_study_close(study);
    return actnn_fail(trainer, "out of memory");
  }
  memset(study->variable_of, 0xff, ((size_t)model->tensor_count + 1) * sizeof *study->variable_of);
  for (uint32_t index = 0; index < model->variable_count; index++)
    study->variable_of[model->variable[index].tensor] = index;
  return 0;
}

static void
take_first(gradient_study *study, gradient_record *record, const float *gradient, size_t count)
{
  record->count = count;
  record->first = malloc(count * sizeof *record->first + 1);
  record->sum = calloc(count + 1, sizeof *record->sum);
  record->seen = record->first && record->sum;
  study->failed |= !record->seen;
  if (record->seen)
    memcpy(record->first, gradient, count * sizeof *gradient);
}

static void
observe(void *context, uint32_t variable_tensor, const float *gradient, size_t count)
{
  gradient_study *study = context;
  uint32_t variable = study->variable_of[variable_tensor];
  if (variable == NONE || study->failed)
    return;
  gradient_record *record = &study->record[variable];
  if (!record->seen)
    take_first(study, record, gradient, count);
  if (study->failed || record->count != count)
    return;
  double squares = 0, product = 0;
  for (size_t index = 0; index < count; index++) {
    double difference = (double)gradient[index] - (double)record->first[index];
    record->sum[index] += difference;
    squares += difference * difference;
    if (record->exact)
      product += ((double)gradient[index] - (double)record->exact[index]) * (double)record->exact[index];
  }
  record->squares += squares;
  study->product += product;
  if (record->exact && record->exact_norm > 0) {
    record->projection += product / record->exact_norm;
    record->projection_squares += product / record->exact_norm * (product / record->exact_norm);
  }
}

int
gradient_study_run(gradient_study *study)
{
  actnn *trainer = study->trainer;
  actnn_observe_gradients(trainer, observe, study);
  study->product = 0;
  int failed =
      trainer_forward(trainer, trainer->model->default_learning_rate) || trainer_backward(trainer);
  actnn_observe_gradients(trainer, NULL, NULL);
  study->observed++;
  if (study->exact_norm > 0) {
    study->projection += study->product / study->exact_norm;
    study->projection_squares += study->product / study->exact_norm * (study->product / study->exact_norm);
  }
  if (!failed && study->failed)
    failed = actnn_fail(trainer, "out of memory for gradients");
  return failed;
}

unsigned char *
gradient_study_copy_state(actnn *trainer)
{
  size_t bytes = (size_t)trainer->model->variable_bytes;
  unsigned char *copy = malloc(bytes + 1);
  if (copy && !device_fetch(trainer, 0, bytes))
    return memcpy(copy, trainer->arena, bytes);
  free(copy);
  return NULL;
}

void
gradient_study_restore_state(actnn *trainer, const unsigned char *copy)
{
  memcpy(trainer->arena, copy, (size_t)trainer->model->variable_bytes);
  device_send(trainer, 0, trainer->model->variable_bytes);
}

double
gradient_study_variance(const gradient_study *study, uint32_t variable)
{
  const gradient_record *record = &study->record[variable];
  double mean = 0, observed = (double)study->observed;
  for (size_t index = 0; record->seen && index < record->count; index++)
    mean += record->sum[index] * record->sum[index];
  return study->observed > 1 ? fmax(0, record->squares - mean / observed) / (observed - 1) : 0;
}

double
gradient_study_squares(const gradient_study *study, uint32_t variable)
{
  const gradient_record *record = &study->record[variable];
  double sum = 0;
  for (size_t index = 0; record->seen && index < record->count; index++) {
    double mean = (double)record->first[index] + record->sum[index] / (double)study->observed;
    sum += mean * mean;
  }
  return sum;
}
