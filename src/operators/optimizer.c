/* optimizer.c: plain loops of optimizers: one variable at a time, and the standard's own operators of many. */
#include "optimizer_steps.h"

int EVALUATE(Sgd)(const actnn_call *call);
int
EVALUATE(Sgd)(const actnn_call *call)
{
  const REAL *w = call->input[0].data, *g = call->input[1].data;
  const actnn_view *m = optional_input(call, 2), *m2 = optional_output(call, 1);
  SgdRates rates = sgd_rates(call, load_element(&call->input[3], 0));
  for (int64_t i = 0, count = element_count(&call->input[0]); i < count; i++) {
    REAL momentum = sgd_momentum(rates, w[i], g[i], m ? ((const REAL *)m->data)[i] : 0);
    ((REAL *)call->output[0].data)[i] = sgd_step(rates, w[i], g[i], momentum);
    if (m2) ((REAL *)m2->data)[i] = momentum;
  }
  return 0;
}

static int
adam(const actnn_call *call, int is_decoupled)
{
  const REAL *w = call->input[0].data, *g = call->input[1].data;
  AdamRates rates = adam_rates(adam_numbers(call, is_decoupled), load_element(&call->input[4], 0),
                               (int64_t)load_element(&call->input[5], 0));
  for (int64_t i = 0, count = element_count(&call->input[0]); i < count; i++) {
    REAL m = ((const REAL *)call->input[2].data)[i], v = ((const REAL *)call->input[3].data)[i];
    ((REAL *)call->output[0].data)[i] = adam_step(rates, w[i], g[i], &m, &v);
    ((REAL *)call->output[1].data)[i] = m;
    ((REAL *)call->output[2].data)[i] = v;
  }
  return 0;
}

int EVALUATE(Adam)(const actnn_call *call);
int
EVALUATE(Adam)(const actnn_call *call)
{
  return adam(call, 0);
}

int EVALUATE(AdamW)(const actnn_call *call);
int
EVALUATE(AdamW)(const actnn_call *call)
{
  return adam(call, 1);
}

/* ---- the standard's: tensors of one variable as views, so that the operators of many use the same loops ---- */

static void
momentum_of(OnnxMomentumRates rates, const actnn_view *x, const actnn_view *g, const actnn_view *v,
            const actnn_view *x2, const actnn_view *v2)
{
  for (int64_t i = 0, count = element_count(x); i < count; i++) {
    REAL momentum = ((const REAL *)v->data)[i];
    ((REAL *)x2->data)[i] =
        onnx_momentum_step(rates, ((const REAL *)x->data)[i], ((const REAL *)g->data)[i], &momentum);
    ((REAL *)v2->data)[i] = momentum;
  }
}

static void
adam_of(OnnxAdamRates rates, const actnn_view *x, const actnn_view *g, const actnn_view *v, const actnn_view *h,
        const actnn_view *x2, const actnn_view *v2, const actnn_view *h2)
{
  for (int64_t i = 0, count = element_count(x); i < count; i++) {
    REAL first = ((const REAL *)v->data)[i], second = ((const REAL *)h->data)[i];
    ((REAL *)x2->data)[i] =
        onnx_adam_step(rates, ((const REAL *)x->data)[i], ((const REAL *)g->data)[i], &first, &second);
    ((REAL *)v2->data)[i] = first;
    ((REAL *)h2->data)[i] = second;
  }
}

static void
adagrad_of(OnnxAdagradRates rates, const actnn_view *x, const actnn_view *g, const actnn_view *h,
           const actnn_view *x2, const actnn_view *h2)
{
  for (int64_t i = 0, count = element_count(x); i < count; i++) {
    REAL squares = ((const REAL *)h->data)[i];
    ((REAL *)x2->data)[i] = onnx_adagrad_step(rates, ((const REAL *)x->data)[i], ((const REAL *)g->data)[i], &squares);
    ((REAL *)h2->data)[i] = squares;
  }
}

int EVALUATE(OnnxMomentum)(const actnn_call *call);
int
EVALUATE(OnnxMomentum)(const actnn_call *call)
{
  const actnn_view *in = call->input, *out = call->output;
  momentum_of(onnx_momentum_rates(onnx_momentum_numbers(call), load_element(&in[3], 0), (int64_t)load_element(&in[4], 0)), &in[0], &in[1],
              &in[2], &out[0], &out[1]);
  return 0;
}

int EVALUATE(OnnxAdam)(const actnn_call *call);
int
EVALUATE(OnnxAdam)(const actnn_call *call)
{
  const actnn_view *in = call->input, *out = call->output;
  adam_of(onnx_adam_rates(onnx_adam_numbers(call), load_element(&in[4], 0), (int64_t)load_element(&in[5], 0)), &in[0], &in[1], &in[2],
          &in[3], &out[0], &out[1], &out[2]);
  return 0;
}

int EVALUATE(OnnxAdagrad)(const actnn_call *call);
int
EVALUATE(OnnxAdagrad)(const actnn_call *call)
{
  const actnn_view *in = call->input, *out = call->output;
  adagrad_of(onnx_adagrad_rates(onnx_adagrad_numbers(call), load_element(&in[3], 0), (int64_t)load_element(&in[4], 0)), &in[0], &in[1],
             &in[2], &out[0], &out[1]);
  return 0;
}

int EVALUATE(Momentum)(const actnn_call *call);
int
EVALUATE(Momentum)(const actnn_call *call)
{
  const actnn_view *in = call->input + 2, *out = call->output;
  size_t n = (call->input_count - 2) / 3;
  OnnxMomentumRates rates =
      onnx_momentum_rates(onnx_momentum_numbers(call), load_element(&call->input[0], 0), (int64_t)load_element(&call->input[1], 0));
  for (size_t i = 0; i < n; i++) momentum_of(rates, &in[i], &in[n + i], &in[2 * n + i], &out[i], &out[n + i]);
  return 0;
}

int EVALUATE(TrainingAdam)(const actnn_call *call);
int
EVALUATE(TrainingAdam)(const actnn_call *call)
{
  const actnn_view *in = call->input + 2, *out = call->output;
  size_t n = (call->input_count - 2) / 4;
  OnnxAdamRates rates =
      onnx_adam_rates(onnx_adam_numbers(call), load_element(&call->input[0], 0), (int64_t)load_element(&call->input[1], 0));
  for (size_t i = 0; i < n; i++)
    adam_of(rates, &in[i], &in[n + i], &in[2 * n + i], &in[3 * n + i], &out[i], &out[n + i], &out[2 * n + i]);
  return 0;
}

int EVALUATE(Adagrad)(const actnn_call *call);
int
EVALUATE(Adagrad)(const actnn_call *call)
{
  const actnn_view *in = call->input + 2, *out = call->output;
  size_t n = (call->input_count - 2) / 3;
  OnnxAdagradRates rates =
      onnx_adagrad_rates(onnx_adagrad_numbers(call), load_element(&call->input[0], 0), (int64_t)load_element(&call->input[1], 0));
  for (size_t i = 0; i < n; i++) adagrad_of(rates, &in[i], &in[n + i], &in[2 * n + i], &out[i], &out[n + i]);
  return 0;
}
