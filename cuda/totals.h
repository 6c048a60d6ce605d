/* totals.h: the greatest element and the sum of a line of exponentials, in one pass (Milakov and Gimelshein 2018). */
#ifndef ACTNN_CUDA_TOTALS_H
#define ACTNN_CUDA_TOTALS_H

#include "sums.h"

/* The greatest element and the sum of exp(x - most). Lines without a finite greatest element give NaN, as arithmetic does. */
typedef struct Total {
  float most;
  double sum;
} Total;

/* Elements that are -inf add nothing, also before any other was seen. */
static inline __device__ float
term_of(float x, float most)
{
  return x == -INFINITY ? 0 : expf(x - most);
}

static inline __device__ void
widen_total(Total *total, const float *x, int count)
{
  float most = total->most, sum = 0;
  for (int k = 0; k < count; k++)
    most = x[k] > most ? x[k] : most;
  if (most > total->most) {
    total->sum *= expf(total->most - most);
    total->most = most;
  }
  for (int k = 0; k < count; k++)
    sum += term_of(x[k], most);
  total->sum += sum;
}

/* Of what all lanes of a cell have, the same in every one of them. */
static inline __device__ Total
cell_total(const Cells &cells, Total total)
{
  float most = cell_fold(total.most, larger_of<float>(), cells.width, cells.lanes);
  total.sum = cell_sum(cells, total.most == most ? total.sum : total.sum * expf(total.most - most));
  total.most = most;
  return total;
}

#endif
