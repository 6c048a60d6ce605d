/* local_normalization.h: the arithmetic of the rarer normalizations: across neighbouring channels (LRN), to unit length
 * (LpNormalization), and over any axes (MeanVarianceNormalization). */
#ifndef ACTNN_LOCAL_NORMALIZATION_H
#define ACTNN_LOCAL_NORMALIZATION_H

#include "evaluation.h"

/* ---- LRN ---------------------------------------------------------------------------------------- */

typedef struct Lrn {
  double alpha, beta, bias;
  int64_t size, channels, stride; /* of the window; how far apart channels of one position are */
} Lrn;

static inline Lrn
lrn_of(const actnn_call *call, const actnn_view *x)
{
  Lrn lrn = {call->attribute[0].f, call->attribute[1].f, call->attribute[2].f, call->attribute[3].i, x->dim[1], 1};
  for (int i = 2; i < x->rank; i++) lrn.stride *= x->dim[i];
  return lrn;
}

/* (bias + alpha / size * (sum of squares in the window of channel c)) ^ exponent, to the precision of REAL, which most of the time goes
 * into; x points at channel 0 of one position. */
static inline ACTNN_DEVICE double
lrn_power(const Lrn *lrn, const REAL *x, int64_t c, double exponent)
{
  int64_t first = c - (lrn->size - 1) / 2, last = c + lrn->size / 2 + 1;
  double sum = 0;
  if (first < 0) first = 0;
  if (last > lrn->channels) last = lrn->channels;
  for (int64_t k = first; k < last; k++) sum += (double)x[k * lrn->stride] * x[k * lrn->stride];
  double base = lrn->bias + lrn->alpha / (double)lrn->size * sum;
  return sizeof(REAL) == sizeof(float) ? (double)powf((float)base, (float)exponent) : pow(base, exponent);
}

static inline ACTNN_DEVICE REAL
lrn_element(const Lrn *lrn, const REAL *x, int64_t c)
{
  return (REAL)(x[c * lrn->stride] * lrn_power(lrn, x, c, -lrn->beta));
}

/* dx_c = dy_c s_c^-beta - 2 alpha beta / size * x_c * (sum over the k whose windows hold c of dy_k x_k s_k^(-beta-1)). */
static inline ACTNN_DEVICE REAL
lrn_gradient(const Lrn *lrn, const REAL *dy, const REAL *x, int64_t c)
{
  double total = dy[c * lrn->stride] * lrn_power(lrn, x, c, -lrn->beta), others = 0;
  int64_t first = c - lrn->size / 2, last = c + (lrn->size - 1) / 2 + 1;
  if (first < 0) first = 0;
  if (last > lrn->channels) last = lrn->channels;
  for (int64_t k = first; k < last; k++)
    others += (double)dy[k * lrn->stride] * x[k * lrn->stride] * lrn_power(lrn, x, k, -lrn->beta - 1);
  return (REAL)(total - 2 * lrn->alpha * lrn->beta / (double)lrn->size * x[c * lrn->stride] * others);
}

/* ---- LpNormalization ---------------------------------------------------------------------------- */

static inline ACTNN_DEVICE double
lp_term(double x, int64_t p)
{
  return p == 1 ? fabs(x) : x * x;
}

/* Of the sum of terms. */
static inline ACTNN_DEVICE double
lp_norm(double sum, int64_t p)
{
  return p == 1 ? sum : sqrt(sum);
}

static inline ACTNN_DEVICE REAL
lp_element(double x, double norm)
{
  return (REAL)(norm == 0 ? 0 : x / norm); /* NaN stays */
}

/* along: the sum of dy x. */
static inline ACTNN_DEVICE REAL
lp_gradient(double dy, double x, double norm, double along, int64_t p)
{
  double slope = p == 1 ? (x > 0) - (x < 0) : x / norm;
  return (REAL)(norm == 0 ? 0 : (dy - along * slope / norm) / norm);
}

/* ---- MeanVarianceNormalization ------------------------------------------------------------------ */

/* y = (x - mean) * scale. ONNX's own definition adds the floor to the deviation, not to the variance. */
static inline ACTNN_DEVICE double
deviation_scale(double variance)
{
  return 1 / (sqrt(variance) + 1e-9);
}

/* What of x - mean is taken off the scaled gradient; projected: the sum of dy (x - mean). */
static inline ACTNN_DEVICE double
deviation_pull(double variance, double projected, double count)
{
  double scale = deviation_scale(variance);
  return variance > 0 ? projected * scale * scale / (sqrt(variance) * count) : 0;
}

#endif
