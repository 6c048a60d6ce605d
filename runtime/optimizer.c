/* optimizer.c: updates of one variable, in one pass over the variable, its gradient and its state. Memory-bound: the
 * arithmetic is that of optimizer_steps.h, vectorized; a result that is not finite is noticed on the way (finite.h).
 * Compiled once for each instruction set, see instruction_set.h. */
#ifndef ACTNN_RUNTIME
#define ACTNN_RUNTIME
#endif
#include "finite.h"
#include "instruction_set.h"
#include "vector_math.h"

#include "../src/operators/optimizer_steps.h"

/* Magnitudes of floats are in the order of their bits without the sign; the first that is not finite is infinity. */
static inline uint32_t
magnitude(float value)
{
  return bits_of_float(value) & 0x7fffffffu;
}

static inline uint32_t
larger(uint32_t a, uint32_t b)
{
  return a > b ? a : b;
}

static int
finish(const actnn_call *call, uint32_t largest)
{
  bool is_training = call->trainer && call->trainer->model && call->trainer->model->tensor; /* kernels can be called by themselves */
  return largest < 0x7f800000u || !is_training ? 0 : finite_refuse_update(call);
}

static double
scalar_input(const actnn_call *call, size_t index)
{
  return load_element(&call->input[index], 0);
}

int ENTRY(Sgd)(const actnn_call *call);
int
ENTRY(Sgd)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *momentum = optional_input(call, 2), *new_momentum = optional_output(call, 1);
  const float *w = call->input[0].data, *g = call->input[1].data, *m = momentum ? momentum->data : NULL;
  float *w2 = call->output[0].data, *m2 = new_momentum ? new_momentum->data : NULL;
  SgdRates rates = sgd_rates(call, scalar_input(call, 3));
  int64_t count = element_count(&call->input[0]);
  uint32_t largest = 0;
  if (m && m2) {
#pragma omp parallel for simd schedule(static) if (parallel : count > SERIAL_ELEMENTS) reduction(max : largest)
    for (int64_t i = 0; i < count; i++) {
      float value = sgd_momentum(rates, w[i], g[i], m[i]);
      w2[i] = sgd_step(rates, w[i], g[i], value);
      m2[i] = value;
      largest = larger(largest, larger(magnitude(w2[i]), magnitude(value)));
    }
  } else {
#pragma omp parallel for simd schedule(static) if (parallel : count > SERIAL_ELEMENTS) reduction(max : largest)
    for (int64_t i = 0; i < count; i++) {
      w2[i] = sgd_step(rates, w[i], g[i], sgd_momentum(rates, w[i], g[i], m ? m[i] : 0));
      largest = larger(largest, magnitude(w2[i]));
    }
  }
  return finish(call, largest);
}

static int
adam(const actnn_call *call, int is_decoupled)
{
  if (actnn_is_preparing(call)) return 0;
  const float *w = call->input[0].data, *g = call->input[1].data, *m = call->input[2].data, *v = call->input[3].data;
  float *w2 = call->output[0].data, *m2 = call->output[1].data, *v2 = call->output[2].data;
  AdamRates rates = adam_rates(adam_numbers(call, is_decoupled), scalar_input(call, 4), (int64_t)scalar_input(call, 5));
  int64_t count = element_count(&call->input[0]);
  uint32_t largest = 0;
#pragma omp parallel for simd schedule(static) if (parallel : count > SERIAL_ELEMENTS) reduction(max : largest)
  for (int64_t i = 0; i < count; i++) {
    float first = m[i], second = v[i];
    w2[i] = adam_step(rates, w[i], g[i], &first, &second);
    m2[i] = first;
    v2[i] = second;
    largest = larger(largest, larger(magnitude(w2[i]), larger(magnitude(first), magnitude(second))));
  }
  return finish(call, largest);
}

int ENTRY(Adam)(const actnn_call *call);
int
ENTRY(Adam)(const actnn_call *call)
{
  return adam(call, 0);
}

int ENTRY(AdamW)(const actnn_call *call);
int
ENTRY(AdamW)(const actnn_call *call)
{
  return adam(call, 1);
}

int ENTRY(OnnxMomentum)(const actnn_call *call);
int
ENTRY(OnnxMomentum)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const float *x = call->input[0].data, *g = call->input[1].data, *v = call->input[2].data;
  float *x2 = call->output[0].data, *v2 = call->output[1].data;
  OnnxMomentumRates rates = onnx_momentum_rates(onnx_momentum_numbers(call), scalar_input(call, 3), (int64_t)scalar_input(call, 4));
  int64_t count = element_count(&call->input[0]);
  uint32_t largest = 0;
#pragma omp parallel for simd schedule(static) if (parallel : count > SERIAL_ELEMENTS) reduction(max : largest)
  for (int64_t i = 0; i < count; i++) {
    float momentum = v[i];
    x2[i] = onnx_momentum_step(rates, x[i], g[i], &momentum);
    v2[i] = momentum;
    largest = larger(largest, larger(magnitude(x2[i]), magnitude(momentum)));
  }
  return finish(call, largest);
}

int ENTRY(OnnxAdam)(const actnn_call *call);
int
ENTRY(OnnxAdam)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const float *x = call->input[0].data, *g = call->input[1].data, *v = call->input[2].data, *h = call->input[3].data;
  float *x2 = call->output[0].data, *v2 = call->output[1].data, *h2 = call->output[2].data;
  OnnxAdamRates rates = onnx_adam_rates(onnx_adam_numbers(call), scalar_input(call, 4), (int64_t)scalar_input(call, 5));
  int64_t count = element_count(&call->input[0]);
  uint32_t largest = 0;
#pragma omp parallel for simd schedule(static) if (parallel : count > SERIAL_ELEMENTS) reduction(max : largest)
  for (int64_t i = 0; i < count; i++) {
    float first = v[i], second = h[i];
    x2[i] = onnx_adam_step(rates, x[i], g[i], &first, &second);
    v2[i] = first;
    h2[i] = second;
    largest = larger(largest, larger(magnitude(x2[i]), larger(magnitude(first), magnitude(second))));
  }
  return finish(call, largest);
}

int ENTRY(OnnxAdagrad)(const actnn_call *call);
int
ENTRY(OnnxAdagrad)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const float *x = call->input[0].data, *g = call->input[1].data, *h = call->input[2].data;
  float *x2 = call->output[0].data, *h2 = call->output[1].data;
  OnnxAdagradRates rates = onnx_adagrad_rates(onnx_adagrad_numbers(call), scalar_input(call, 3), (int64_t)scalar_input(call, 4));
  int64_t count = element_count(&call->input[0]);
  uint32_t largest = 0;
#pragma omp parallel for simd schedule(static) if (parallel : count > SERIAL_ELEMENTS) reduction(max : largest)
  for (int64_t i = 0; i < count; i++) {
    float squares = h[i];
    x2[i] = onnx_adagrad_step(rates, x[i], g[i], &squares);
    h2[i] = squares;
    largest = larger(largest, larger(magnitude(x2[i]), magnitude(squares)));
  }
  return finish(call, largest);
}
