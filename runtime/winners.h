/* winners.h: the classes that a prediction takes for the likeliest. */
#ifndef ACTNN_WINNERS_H
#define ACTNN_WINNERS_H

#include "actnn.h"

/* Where a prediction has its classes: class c at position p of sample s is element s * positions * classes + p * next + c * stride. */
typedef struct class_places {
  int64_t classes, samples, positions, next, stride;
} class_places;

/* Number of classes that the model's prediction has for each label, and the axis of the prediction that counts them;
 * 0 when the model has no prediction or no classes. */
int64_t prediction_classes(const actnn_model *model, uint32_t prediction, int *axis);

/* False when it has none, or is no plain tensor of floats. */
bool class_places_of(const actnn_model *model, uint32_t prediction, class_places *places);

/* The first class of those that have the largest value. */
int64_t winner_of(const float *value, int64_t stride, int64_t classes);

/* That of a position, all samples' counted one after the other. */
int64_t winner_at(const class_places *places, const float *value, int64_t position);

#endif
