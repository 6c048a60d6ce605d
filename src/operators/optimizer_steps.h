/* optimizer_steps.h: the update of one element, shared by the plain loops (double) and the fast kernels (float). */
#ifndef ACTNN_OPTIMIZER_STEPS_H
#define ACTNN_OPTIMIZER_STEPS_H

#include "evaluation.h"
#include "../../runtime/philox.h" /* ACTNN_DEVICE: CUDA's kernels take the same steps */

typedef struct SgdRates {
  REAL rate, momentum, kept, decay; /* kept: what of a gradient enters the momentum, 1 - dampening */
  int is_nesterov;
} SgdRates;

static inline SgdRates
sgd_rates(const actnn_call *call, double rate)
{
  const actnn_attribute *a = call->attribute;
  SgdRates rates = {(REAL)rate, (REAL)a[0].f, (REAL)(1 - a[3].f), (REAL)a[2].f, a[1].i != 0};
  return rates;
}

/* A momentum that starts at zero; PyTorch starts it at the first gradient, which differs under dampening only. */
static inline ACTNN_DEVICE REAL
sgd_momentum(SgdRates rates, REAL w, REAL g, REAL m)
{
  return rates.momentum * m + rates.kept * (g + rates.decay * w);
}

static inline ACTNN_DEVICE REAL
sgd_step(SgdRates rates, REAL w, REAL g, REAL new_m)
{
  return w - rates.rate * (rates.is_nesterov ? g + rates.decay * w + rates.momentum * new_m : new_m);
}

typedef struct AdamRates {
  REAL size, root, beta1, beta2, epsilon, decay, shrink; /* root: 1 / sqrt(1 - beta2^t); decay: into the gradient;
                                                            shrink: on the weight */
} AdamRates;

/* What the rates follow from, beside the learning rate and the step. */
typedef struct AdamNumbers {
  double beta1, beta2, epsilon, decay;
  int64_t is_decoupled; /* no padding: a GPU compares rules byte by byte */
} AdamNumbers;

static inline AdamNumbers
adam_numbers(const actnn_call *call, int is_decoupled)
{
  const actnn_attribute *a = call->attribute;
  AdamNumbers numbers = {a[0].f, a[1].f, a[2].f, a[3].f, is_decoupled};
  return numbers;
}

/* step counts from 0. */
static inline ACTNN_DEVICE AdamRates
adam_rates(AdamNumbers numbers, double rate, int64_t step)
{
  double t = (double)step + 1;
  AdamRates rates = {(REAL)(rate / (1 - pow(numbers.beta1, t))),
                     (REAL)(1 / sqrt(1 - pow(numbers.beta2, t))),
                     (REAL)numbers.beta1,
                     (REAL)numbers.beta2,
                     (REAL)numbers.epsilon,
                     (REAL)(numbers.is_decoupled ? 0 : numbers.decay),
                     (REAL)(numbers.is_decoupled ? 1 - rate * numbers.decay : 1)};
  return rates;
}

static inline ACTNN_DEVICE REAL
adam_step(AdamRates rates, REAL w, REAL g, REAL *m, REAL *v)
{
  REAL full = g + rates.decay * w;
  *m += (1 - rates.beta1) * (full - *m);
  *v = rates.beta2 * *v + (1 - rates.beta2) * full * full;
  return rates.shrink * w - rates.size * *m / ((REAL)sqrt(*v) * rates.root + rates.epsilon);
}

typedef struct OnnxMomentumRates {
  REAL rate, alpha, kept, norm;
  int is_nesterov;
} OnnxMomentumRates;

typedef struct OnnxMomentumNumbers {
  double alpha, beta, norm;
  int64_t is_nesterov;
} OnnxMomentumNumbers;

static inline OnnxMomentumNumbers
onnx_momentum_numbers(const actnn_call *call)
{
  const actnn_attribute *a = call->attribute;
  OnnxMomentumNumbers numbers = {a[0].f, a[1].f, a[2].f, !strcmp(a[3].text, "nesterov")};
  return numbers;
}

static inline ACTNN_DEVICE OnnxMomentumRates
onnx_momentum_rates(OnnxMomentumNumbers numbers, double rate, int64_t t)
{
  OnnxMomentumRates rates = {(REAL)rate, (REAL)numbers.alpha, (REAL)(t > 0 ? numbers.beta : 1), (REAL)numbers.norm,
                             numbers.is_nesterov != 0};
  return rates;
}

static inline ACTNN_DEVICE REAL
onnx_momentum_step(OnnxMomentumRates rates, REAL x, REAL g, REAL *v)
{
  REAL full = rates.norm * x + g;
  *v = rates.alpha * *v + rates.kept * full;
  return x - rates.rate * (rates.is_nesterov ? full + rates.alpha * *v : *v);
}

typedef struct OnnxAdamRates {
  REAL rate, alpha, beta, epsilon, norm, post;
} OnnxAdamRates;

typedef struct OnnxAdamNumbers {
  double alpha, beta, epsilon, norm, post;
} OnnxAdamNumbers;

static inline OnnxAdamNumbers
onnx_adam_numbers(const actnn_call *call)
{
  const actnn_attribute *a = call->attribute;
  OnnxAdamNumbers numbers = {a[0].f, a[1].f, a[2].f, a[3].f, a[4].f};
  return numbers;
}

static inline ACTNN_DEVICE OnnxAdamRates
onnx_adam_rates(OnnxAdamNumbers numbers, double rate, int64_t t)
{
  if (t > 0) rate *= sqrt(1 - pow(numbers.beta, (double)t)) / (1 - pow(numbers.alpha, (double)t));
  OnnxAdamRates rates = {(REAL)rate,         (REAL)numbers.alpha, (REAL)numbers.beta, (REAL)numbers.epsilon,
                         (REAL)numbers.norm, (REAL)(1 - numbers.post)};
  return rates;
}

static inline ACTNN_DEVICE REAL
onnx_adam_step(OnnxAdamRates rates, REAL x, REAL g, REAL *v, REAL *h)
{
  REAL full = rates.norm * x + g;
  *v = rates.alpha * *v + (1 - rates.alpha) * full;
  *h = rates.beta * *h + (1 - rates.beta) * full * full;
  return rates.post * (x - rates.rate * *v / ((REAL)sqrt(*h) + rates.epsilon));
}

typedef struct OnnxAdagradRates {
  REAL rate, epsilon, norm;
} OnnxAdagradRates;

typedef struct OnnxAdagradNumbers {
  double decay, epsilon, norm;
} OnnxAdagradNumbers;

static inline OnnxAdagradNumbers
onnx_adagrad_numbers(const actnn_call *call)
{
  const actnn_attribute *a = call->attribute;
  OnnxAdagradNumbers numbers = {a[0].f, a[1].f, a[2].f};
  return numbers;
}

static inline ACTNN_DEVICE OnnxAdagradRates
onnx_adagrad_rates(OnnxAdagradNumbers numbers, double rate, int64_t t)
{
  OnnxAdagradRates rates = {(REAL)(rate / (1 + (double)t * numbers.decay)), (REAL)numbers.epsilon, (REAL)numbers.norm};
  return rates;
}

static inline ACTNN_DEVICE REAL
onnx_adagrad_step(OnnxAdagradRates rates, REAL x, REAL g, REAL *h)
{
  REAL full = rates.norm * x + g;
  *h += full * full;
  return x - rates.rate * full / ((REAL)sqrt(*h) + rates.epsilon);
}

#endif
