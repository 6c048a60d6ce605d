/* winners.h: the classes that a prediction takes for the likeliest. */
#ifndef ACTNN_WINNERS_H
#define ACTNN_WINNERS_H

#include "actnn.h"
#include "philox.h" /* ACTNN_DEVICE */

/* Where a prediction has its classes: class c at position p of sample s is element s * positions * classes + p * next + c * stride. */
typedef struct class_places {
  int64_t classes, samples, positions, next, stride;
} class_places;

/* The element of the first class at a position, all samples' positions counted one after the other. */
static inline ACTNN_DEVICE int64_t
class_place(const class_places *places, int64_t position)
{
  int64_t sample = position / places->positions;
  return sample * places->positions * places->classes + (position - sample * places->positions) * places->next;
}

/* Number of classes that the model's prediction has for each label, and the axis of the prediction that counts them;
 * 0 when the model has no prediction or no classes. */
int64_t prediction_classes(const actnn_model *model, uint32_t prediction, int *axis);

/* False when it has none, or is no plain tensor of floats. */
bool class_places_of(const actnn_model *model, uint32_t prediction, class_places *places);

/* How many classes are told of a prediction, one for each label: those that win, or, where the prediction is 64-bit integers, its own. 0 when
 * none are told. */
int64_t prediction_positions(const actnn_model *model, uint32_t prediction);

/* The first class of those that have the largest value. */
int64_t winner_of(const float *value, int64_t stride, int64_t classes);

#endif
