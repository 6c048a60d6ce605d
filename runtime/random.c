/* random.c: random operators. An element's draw depends on its place alone, so threads share elements out freely.
 * Compiled once for each instruction set, see instruction_set.h. */
#ifndef ACTNN_RUNTIME
#define ACTNN_RUNTIME
#endif
#include "bfloat.h"
#include "dropout_factors.h"
#include "instruction_set.h"

/* sum: what is left is added to it; NULL: to nothing. */
typedef struct Drop {
  const actnn_view *x, *sum, *y;
  uint8_t *mask; /* NULL: not asked for */
  DropoutRule rule;
  actnn_philox_key key;
} Drop;

/* Elements [first, first + count); first is a multiple of DRAWS. */
static void
drop_batch(const Drop *drop, int64_t first, int64_t count)
{
  float factor[BATCH * DRAWS], read[BATCH * DRAWS], earlier[BATCH * DRAWS], made[BATCH * DRAWS];
  const float *from = bfloat_read(drop->x, first, count, read), *sum = drop->sum ? bfloat_read(drop->sum, first, count, earlier) : NULL;
  float *to = bfloat_place(drop->y, first, made);
  draw_factors(factor, first, drop->rule, drop->key);
  for (int64_t i = 0; i < count; i++) {
    float left = factor[i] != 0.0f ? from[i] * factor[i] : 0.0f;
    to[i] = sum ? sum[i] + left : left;
  }
  bfloat_write(drop->y, first, count, made);
  for (int64_t i = 0; drop->mask && i < count; i++) drop->mask[first + i] = factor[i] != 0.0f;
}

static int
drop_all(const Drop *drop)
{
  int64_t count = element_count(drop->x);
#pragma omp parallel for schedule(static) if (count > SERIAL_ELEMENTS)
  for (int64_t first = 0; first < count; first += BATCH * DRAWS)
    drop_batch(drop, first, count - first < BATCH * DRAWS ? count - first : BATCH * DRAWS);
  return 0;
}

static int
dropout(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *mask = optional_output(call, 1);
  Drop drop = {.x = &call->input[0], .y = &call->output[0], .mask = mask ? mask->data : NULL, .rule = dropout_rule(call)};
  if (drop.rule.is_active) {
    drop.key = random_key_of(call, USE_DROPOUT);
    return drop_all(&drop);
  }
  const actnn_view *x = drop.x, *y = drop.y;
  int64_t count = element_count(x);
  if (x->type != y->type) bfloat_convert(call->trainer, y->data, x->data, count, bfloat_holds(y));
  else if (y->data != x->data) memcpy(y->data, x->data, (size_t)count * element_bytes(y->type));
  if (drop.mask) memset(drop.mask, 1, (size_t)count);
  return 0;
}

int ENTRY(DropoutSum)(const actnn_call *call);
int
ENTRY(DropoutSum)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  return drop_all(&(Drop){.x = &call->input[1], .sum = &call->input[0], .y = &call->output[0], .rule = dropout_rule(call),
                                .key = random_key_of(call, USE_DROPOUT)});
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
