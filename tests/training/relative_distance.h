/* relative_distance.h: how far a gradient lies from the exact one. */
#ifndef ACTNN_RELATIVE_DISTANCE_H
#define ACTNN_RELATIVE_DISTANCE_H

#include <math.h>

/* From the sums of squares of the difference and of the exact gradient; scale: the largest norm of a gradient of the model. A
 * gradient that is zero in theory (a shift right before a normalization) has no relative distance, and one that nearly cancels
 * carries the rounding of the terms it is made of: both are held against the largest gradient of the model. */
static inline double
relative_distance(double difference_squares, double exact_squares, double scale)
{
  double norm = sqrt(exact_squares);
  return sqrt(difference_squares) / (norm < 1e-9 * scale ? 0.1 * scale : fmax(norm, 1e-3 * scale));
}

#endif
