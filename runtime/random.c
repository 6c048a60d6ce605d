/* random.c: random operators. An element's draw depends on its place alone, so threads share elements out freely.
 * Compiled once for each instruction set, see instruction_set.h. */
#ifndef ACTNN_RUNTIME
#define ACTNN_RUNTIME
#endif
#include "bfloat.h"
#include "dropout_factors.h"
#include "instruction_set.h"

/* Elements [first, first + count) of a dropout; first is a multiple of DRAWS. */
static void
drop_batch(const actnn_view *x, const actnn_view *y, uint8_t *mask, int64_t first, int64_t count, DropoutRule rule, actnn_philox_key key)
{
  float factor[BATCH * DRAWS], read[BATCH * DRAWS], made[BATCH * DRAWS];
  const float *from = bfloat_read(x, first, count, read);
  float *to = bfloat_place(y, first, made);
  draw_factors(factor, first, rule, key);
  for (int64_t i = 0; i < count; i++) to[i] = factor[i] != 0.0f ? from[i] * factor[i] : 0.0f;
  bfloat_write(y, first, count, made);
  for (int64_t i = 0; mask && i < count; i++) mask[first + i] = factor[i] != 0.0f;
}

static int
dropout(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *mask_view = optional_output(call, 1);
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  uint8_t *mask = mask_view ? mask_view->data : NULL;
  int64_t count = element_count(x);
  DropoutRule rule = dropout_rule(call);
  if (!rule.is_active) {
    if (x->type != y->type) bfloat_convert(call->trainer, y->data, x->data, count, bfloat_holds(y));
    else if (y->data != x->data) memcpy(y->data, x->data, (size_t)count * element_bytes(y->type));
    if (mask) memset(mask, 1, (size_t)count);
    return 0;
  }
  actnn_philox_key key = random_key_of(call, USE_DROPOUT);
#pragma omp parallel for schedule(static) if (count > SERIAL_ELEMENTS)
  for (int64_t first = 0; first < count; first += BATCH * DRAWS)
    drop_batch(x, y, mask, first, count - first < BATCH * DRAWS ? count - first : BATCH * DRAWS, rule, key);
  return 0;
}

int ENTRY(Dropout)(const actnn_call *call);
int
ENTRY(Dropout)(const actnn_call *call)
{
  return dropout(call);
}

int ENTRY(DropoutReplay)(const actnn_call *call);
int
ENTRY(DropoutReplay)(const actnn_call *call)
{
  return dropout(call);
}

static int
draw_normal(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *y = &call->output[0];
  actnn_philox_key key = random_key_of(call, USE_NORMAL);
  double mean = call->attribute[0].f, scale = call->attribute[1].f;
  int64_t count = element_count(y);
#pragma omp parallel for schedule(static) if (count > SERIAL_ELEMENTS)
  for (int64_t i = 0; i < count; i++) store_element(y, i, mean + scale * normal_draw(key, (uint64_t)i));
  return 0;
}

static int
draw_uniform(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *y = &call->output[0];
  actnn_philox_key key = random_key_of(call, USE_UNIFORM);
  double low = call->attribute[0].f, width = call->attribute[1].f - low;
  int64_t count = element_count(y);
#pragma omp parallel for schedule(static) if (count > SERIAL_ELEMENTS)
  for (int64_t i = 0; i < count; i++) store_element(y, i, low + width * uniform_draw(key, (uint64_t)i));
  return 0;
}

#define DRAW(NAME, function) \
  int ENTRY(NAME)(const actnn_call *call); \
  int ENTRY(NAME)(const actnn_call *call) { return function(call); }
DRAW(RandomNormal, draw_normal)
DRAW(RandomNormalLike, draw_normal)
DRAW(RandomUniform, draw_uniform)
DRAW(RandomUniformLike, draw_uniform)

int ENTRY(Bernoulli)(const actnn_call *call);
int
ENTRY(Bernoulli)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  actnn_philox_key key = random_key_of(call, USE_UNIFORM);
  int64_t count = element_count(x);
#pragma omp parallel for schedule(static) if (count > SERIAL_ELEMENTS)
  for (int64_t i = 0; i < count; i++) store_element(y, i, uniform_draw(key, (uint64_t)i) < load_element(x, i));
  return 0;
}
