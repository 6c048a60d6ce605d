/* random.cu: random operators, by the draws that the processor takes (src/operators/random_draws.h): an element's follow from its place
 * alone. */
#include "floats.h"
#include "kernels.h"

#include "../src/operators/random_draws.h"

/* ---- dropout --------------------------------------------------------------------------------------------------- */

enum { DRAWS = 8 }; /* of one random block, for one thread */

typedef struct DropoutJob {
  Floats x, y, sum; /* sum: what is left is added to it, unless there is none */
  uint8_t *mask;    /* NULL: not asked for */
  int64_t count;
  gpu_key key;
  uint32_t threshold;
  float scale;
} DropoutJob;

struct alignas(8) EightBytes {
  uint8_t of[DRAWS];
};

/* Elements of group `number` of so many; those that exist. */
static __device__ void
take_eight(const Floats &from, int64_t number, int64_t count, Columns<DRAWS> *value)
{
  if (number * DRAWS + DRAWS <= count)
    *value = load_columns<DRAWS>(from, number);
  else
    for (int i = 0; i < DRAWS; i++)
      if (number * DRAWS + i < count)
        value->of[i] = from[number * DRAWS + i];
}

KERNEL
drop(DropoutJob job)
{
  int64_t number = thread_number(), first = number * DRAWS;
  if (first >= job.count)
    return;
  bool are_eight = first + DRAWS <= job.count; /* loops have fixed ends, for what they index stays in registers then */
  Columns<DRAWS> value = Columns<DRAWS>(), sum = Columns<DRAWS>();
  EightBytes kept;
  take_eight(job.x, number, job.count, &value);
  if (job.sum.data)
    take_eight(job.sum, number, job.count, &sum);
  actnn_philox_block block = random_block(key_now(job.key), (uint64_t)number);
  for (unsigned i = 0; i < DRAWS; i++) {
    kept.of[i] = dropout_draw(&block, i) >= job.threshold && job.scale != 0;
    value.of[i] = kept.of[i] ? value.of[i] * job.scale : 0;
    value.of[i] = job.sum.data ? sum.of[i] + value.of[i] : value.of[i];
  }
  if (are_eight) {
    store_columns(job.y, number, value);
    if (job.mask)
      ((EightBytes *)job.mask)[number] = kept;
    return;
  }
  for (int i = 0; i < DRAWS; i++) {
    if (first + i < job.count)
      job.y.put(first + i, value.of[i]);
    if (first + i < job.count && job.mask)
      job.mask[first + i] = kept.of[i];
  }
}

/* has_sum: operand 0 is what the result is added to. */
static int
run_dropout(const actnn_call *call, bool has_sum)
{
  if (actnn_is_preparing(call))
    return gpu_note_key(call->trainer, random_id_of(call), USE_DROPOUT);
  const actnn_view *mask = optional_output(call, 1), *x = &call->input[has_sum ? 1 : 0];
  DropoutRule rule = dropout_rule(call);
  int64_t count = element_count(x);
  DropoutJob job = {floats_of(x), floats_of(&call->output[0]), has_sum ? floats_of(&call->input[0]) : Floats(),
                    mask ? (uint8_t *)mask->data : NULL, count, gpu_key_of(call->trainer, random_id_of(call), USE_DROPOUT), rule.threshold,
                    (float)rule.scale};
  if (rule.is_active || has_sum)
    return LAUNCH(call, drop, (count + DRAWS - 1) / DRAWS, job);
  if (mask && count > 0 && gpu_check(call->trainer, cudaMemsetAsync(mask->data, 1, (size_t)count, stream_of(call->trainer)), "a mask"))
    return 1;
  if (job.x.is_bfloat != job.y.is_bfloat)
    return gpu_convert(call->trainer, job.y.data, job.x.data, count, job.y.is_bfloat);
  return copy_bytes(call, job.y.data, job.x.data, count * (int64_t)element_bytes(call->output[0].type));
}

extern "C" int
gpu_Dropout(const actnn_call *call)
{
  return run_dropout(call, false);
}

extern "C" int
gpu_DropoutReplay(const actnn_call *call)
{
  return run_dropout(call, false);
}

extern "C" int
gpu_DropoutSum(const actnn_call *call)
{
  return run_dropout(call, true);
}

/* ---- distributions --------------------------------------------------------------------------------------------- */

enum distribution { NORMAL, UNIFORM, BERNOULLI };

/* low: of a normal distribution the mean; width: its scale. */
typedef struct DrawJob {
  actnn_view x, y;
  int64_t count;
  gpu_key key;
  distribution is;
  double low, width;
} DrawJob;

KERNEL
draw(DrawJob job)
{
  int64_t i = thread_number();
  if (i >= job.count)
    return;
  const actnn_philox_key key = key_now(job.key);
  double drawn = job.is == NORMAL ? normal_draw(key, (uint64_t)i) : uniform_draw(key, (uint64_t)i);
  store_element(&job.y, i, job.is == BERNOULLI ? drawn < load_element(&job.x, i) : job.low + job.width * drawn);
}

static int
run_draw(const actnn_call *call, distribution is, uint64_t use)
{
  if (actnn_is_preparing(call))
    return gpu_note_key(call->trainer, random_id_of(call), use);
  DrawJob job;
  memset(&job, 0, sizeof job);
  job.y = call->output[0];
  job.count = element_count(&job.y);
  job.key = gpu_key_of(call->trainer, random_id_of(call), use);
  job.is = is;
  if (is == BERNOULLI) {
    job.x = call->input[0];
  } else {
    job.low = call->attribute[0].f;
    job.width = is == NORMAL ? call->attribute[1].f : call->attribute[1].f - job.low;
  }
  return LAUNCH(call, draw, job.count, job);
}

#define DRAWN(NAME, is, use) \
  extern "C" int gpu_##NAME(const actnn_call *call) \
  { \
    return run_draw(call, is, use); \
  }
DRAWN(RandomNormal, NORMAL, USE_NORMAL)
DRAWN(RandomNormalLike, NORMAL, USE_NORMAL)
DRAWN(RandomUniform, UNIFORM, USE_UNIFORM)
DRAWN(RandomUniformLike, UNIFORM, USE_UNIFORM)
DRAWN(Bernoulli, BERNOULLI, USE_UNIFORM)
