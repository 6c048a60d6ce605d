/* winners.c: see winners.h. */
#include "winners.h"

#include "trainer.h"

int64_t
prediction_classes(const actnn_model *model, uint32_t prediction, int *axis)
{
  if (model->loss_kind != ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY || model->label == NONE || prediction == NONE)
    return 0;
  const actnn_tensor *output = &model->tensor[prediction],
                     *label = &model->tensor[model->input[model->label].tensor];
  if (output->rank != label->rank + 1)
    return 0;
  /* ONNX counts classes on axis 1; language models also on the last. */
  for (int place = 1; place < output->rank; place += output->rank > 2 ? output->rank - 2 : 1) {
    bool fits = true;
    for (int from = 0, to = 0; from < output->rank; from++)
      if (from != place)
        fits = fits && output->dim[from] == label->dim[to++];
    if (fits) {
      *axis = place;
      return output->dim[place];
    }
  }
  return 0;
}

bool
class_places_of(const actnn_model *model, uint32_t prediction, class_places *places)
{
  int axis = 0;
  int64_t classes = prediction_classes(model, prediction, &axis);
  if (classes < 1 || classes > INT32_MAX || model->tensor[prediction].type != ACTNN_F32 || model->tensor[prediction].layout != ACTNN_PLAIN)
    return false;
  const actnn_tensor *tensor = &model->tensor[prediction];
  *places = (class_places){.classes = classes, .samples = tensor->dim[0], .positions = 1};
  for (int i = 1; i < tensor->rank; i++)
    places->positions *= i == axis ? 1 : tensor->dim[i];
  bool is_last = axis == tensor->rank - 1;
  places->stride = is_last ? 1 : places->positions;
  places->next = is_last ? classes : 1;
  return true;
}

int64_t
prediction_positions(const actnn_model *model, uint32_t prediction)
{
  class_places places;
  if (class_places_of(model, prediction, &places))
    return places.samples * places.positions;
  if (model->loss_kind != ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY || model->label == NONE || prediction == NONE)
    return 0;
  const actnn_tensor *winners = &model->tensor[prediction], *label = &model->tensor[model->input[model->label].tensor];
  bool is_told = winners->type == ACTNN_I64 && winners->layout == ACTNN_PLAIN && trainer_elements(winners) == trainer_elements(label);
  return is_told ? (int64_t)trainer_elements(winners) : 0;
}

int64_t
winner_of(const float *value, int64_t stride, int64_t classes)
{
  int64_t winner = 0;
  for (int64_t i = 1; i < classes; i++)
    if (value[i * stride] > value[winner * stride])
      winner = i;
  return winner;
}
