/* random.c: plain loops of random operators. */
#include "random_draws.h"

/* sum: what the result is added to; NULL: nothing. */
static int
dropout(const actnn_call *call, const actnn_view *x, const actnn_view *sum)
{
  const actnn_view *mask = optional_output(call, 1);
  DropoutRule rule = dropout_rule(call);
  actnn_philox_key key = random_key_of(call, USE_DROPOUT);
  actnn_philox_block block = {{0, 0, 0, 0}};
  for (int64_t i = 0, count = element_count(x); i < count; i++) {
    if (i % 8 == 0 && rule.is_active) block = random_block(key, (uint64_t)i / 8);
    bool is_kept = !rule.is_active || dropout_draw(&block, (unsigned)(i % 8)) >= rule.threshold;
    double left = is_kept ? ((const REAL *)x->data)[i] * rule.scale : 0;
    ((REAL *)call->output[0].data)[i] = (REAL)(sum ? (double)((const REAL *)sum->data)[i] + left : left);
    if (mask) ((uint8_t *)mask->data)[i] = is_kept;
  }
  return 0;
}

int EVALUATE(Dropout)(const actnn_call *call);
int
EVALUATE(Dropout)(const actnn_call *call)
{
  return dropout(call, &call->input[0], NULL);
}

int EVALUATE(DropoutReplay)(const actnn_call *call);
int
EVALUATE(DropoutReplay)(const actnn_call *call)
{
  return dropout(call, &call->input[0], NULL);
}

int EVALUATE(DropoutSum)(const actnn_call *call);
int
EVALUATE(DropoutSum)(const actnn_call *call)
{
  return dropout(call, &call->input[1], &call->input[0]);
}

int EVALUATE(RandomNormal)(const actnn_call *call);
int
EVALUATE(RandomNormal)(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  actnn_philox_key key = random_key_of(call, USE_NORMAL);
  for (int64_t i = 0, count = element_count(y); i < count; i++)
    store_element(y, i, call->attribute[0].f + call->attribute[1].f * normal_draw(key, (uint64_t)i));
  return 0;
}

int EVALUATE(RandomUniform)(const actnn_call *call);
int
EVALUATE(RandomUniform)(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  actnn_philox_key key = random_key_of(call, USE_UNIFORM);
  double low = call->attribute[0].f, width = call->attribute[1].f - low;
  for (int64_t i = 0, count = element_count(y); i < count; i++)
    store_element(y, i, low + width * uniform_draw(key, (uint64_t)i));
  return 0;
}

int EVALUATE(Bernoulli)(const actnn_call *call);
int
EVALUATE(Bernoulli)(const actnn_call *call)
{
  actnn_philox_key key = random_key_of(call, USE_UNIFORM);
  for (int64_t i = 0, count = element_count(&call->input[0]); i < count; i++)
    store_element(&call->output[0], i, uniform_draw(key, (uint64_t)i) < load_element(&call->input[0], i));
  return 0;
}
