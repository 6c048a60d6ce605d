/* random_draws.h: the draws of random operators: which bits belong to which element. Shared by the evaluator and the
 * runtime's kernels, so that both draw the same. */
#ifndef ACTNN_RANDOM_DRAWS_H
#define ACTNN_RANDOM_DRAWS_H

#include "../../runtime/philox.h"
#include "../../runtime/runtime.h"
#include "evaluation.h"

/* Apart from each other and from the uses of codecs, which count from 0. */
enum { USE_DROPOUT = 0x444f, USE_UNIFORM = 0x554e, USE_NORMAL = 0x4e4f };

/* random_id is the last attribute of every random operator. */
static inline uint64_t
random_id_of(const actnn_call *call)
{
  return (uint64_t)call->attribute[call->attribute_count - 1].i;
}

static inline actnn_philox_key
random_key_of(const actnn_call *call, uint64_t use)
{
  const actnn *trainer = call->trainer;
  return actnn_random_key(trainer ? trainer->seed : 0, trainer ? trainer->step : 0, random_id_of(call), use);
}

/* Block `index` of a stream. */
static inline ACTNN_DEVICE actnn_philox_block
random_block(actnn_philox_key key, uint64_t index)
{
  actnn_philox_block counter = {{(uint32_t)index, (uint32_t)(index >> 32), 0, 0}};
  return actnn_philox(counter, key, ACTNN_PHILOX_ROUNDS);
}

/* [0, 1) in steps of 2^-24, exact in float. */
static inline ACTNN_DEVICE double
uniform_draw(actnn_philox_key key, uint64_t element)
{
  return (double)(random_block(key, element / 4).word[element % 4] >> 8) * 0x1p-24;
}

/* Box and Muller: two uniform words make two normals. */
static inline ACTNN_DEVICE double
normal_draw(actnn_philox_key key, uint64_t element)
{
  actnn_philox_block block = random_block(key, element / 4);
  const uint32_t *pair = &block.word[element % 4 / 2 * 2];
  double radius = sqrt(-2 * log(((double)pair[0] + 0.5) * 0x1p-32));
  double angle = 6.283185307179586477 * ((double)pair[1] * 0x1p-32);
  return radius * (element % 2 ? sin(angle) : cos(angle));
}

/* A compile-time constant operand that is one number, however it was spelled. */
static inline double
number_of(const actnn_attribute *attribute, double otherwise)
{
  switch (attribute->kind) {
  case ACTNN_INT: return (double)attribute->i;
  case ACTNN_REAL: return attribute->f;
  case ACTNN_INTS: return attribute->count ? (double)attribute->ints[0] : otherwise;
  case ACTNN_REALS: return attribute->count ? attribute->reals[0] : otherwise;
  default: return otherwise;
  }
}

/* What Dropout does: a draw of 16 bits below `threshold` drops the element, the rest is scaled. */
typedef struct DropoutRule {
  uint32_t threshold;
  double scale;
  bool is_active;
} DropoutRule;

/* Attributes 0 and 1: ratio, training_mode. */
static inline DropoutRule
dropout_rule(const actnn_call *call)
{
  double ratio = number_of(&call->attribute[0], 0.5);
  bool is_training = number_of(&call->attribute[1], 0) != 0;
  double threshold = ceil(ratio * 65536);
  if (!is_training || !(ratio > 0)) return (DropoutRule){0, 1, false};
  return (DropoutRule){threshold > 65536 ? 65536 : (uint32_t)threshold, ratio < 1 ? 1 / (1 - ratio) : 0, true};
}

static inline ACTNN_DEVICE uint32_t
dropout_draw(const actnn_philox_block *block, unsigned element)
{
  return block->word[element / 2] >> (element % 2 * 16) & 0xffff;
}

#endif
