/* winners.cu: the classes that win at each position of a training step's prediction, found where the prediction is: of a language model that is
 * many times as large as all else that a step is asked for. */
#include "kernels.h"

extern "C" {
#include "winners.h"
}

enum { MANY_CLASSES = 64 }; /* side by side: above this a whole block shares them */

/* A class and its value. Before all others: none. */
typedef struct contender {
  float value;
  int32_t number;
} contender;

/* The first of those that have the largest value, whatever the order in which they are asked; of NaN none is larger. */
static __device__ bool
beats(const contender &a, const contender &b)
{
  return a.number >= 0 && (b.number < 0 || a.value > b.value || (a.value == b.value && a.number < b.number));
}

static __device__ contender
best_of(const contender &a, const contender &b)
{
  return beats(b, a) ? b : a;
}

/* A thread for each position. */
KERNEL
find_winners(const float *value, class_places places, int64_t count, int32_t *winner)
{
  int64_t i = thread_number();
  if (i >= count)
    return;
  const float *own = value + class_place(&places, i);
  contender best = {own[0], 0};
  for (int64_t c = 1; c < places.classes; c++)
    best = best_of(best, contender{own[c * places.stride], (int32_t)c});
  winner[i] = best.number;
}

/* A block for each position, whose classes lie side by side. */
KERNEL
share_winners(const float *value, int64_t classes, int32_t *winner)
{
  SHARED contender of_warp[BLOCK_THREADS / WARP];
  const float *own = value + (int64_t)blockIdx.x * classes;
  contender best = {0, -1};
  for (int64_t c = threadIdx.x; c < classes; c += BLOCK_THREADS)
    best = best_of(best, contender{own[c], (int32_t)c});
  for (int apart = WARP / 2; apart > 0; apart /= 2) {
    contender other = {__shfl_xor_sync(0xffffffffu, best.value, apart), __shfl_xor_sync(0xffffffffu, best.number, apart)};
    best = best_of(best, other);
  }
  if (threadIdx.x % WARP == 0)
    of_warp[threadIdx.x / WARP] = best;
  __syncthreads();
  if (threadIdx.x > 0)
    return;
  for (int warp = 1; warp < BLOCK_THREADS / WARP; warp++)
    best = best_of(best, of_warp[warp]);
  winner[blockIdx.x] = best.number;
}

/* Of a prediction that tells them itself. */
KERNEL
copy_winners(const int64_t *told, int64_t count, int32_t *winner)
{
  int64_t i = thread_number();
  if (i < count)
    winner[i] = (int32_t)told[i];
}

int
gpu_prepare_winners(actnn *trainer, uint64_t *bytes)
{
  *bytes = (uint64_t)prediction_positions(trainer->model, trainer->model->training_output) * sizeof(int32_t);
  if (!trainer->winner || !*bytes)
    return 0;
  trainer->device_state->winner = (int32_t *)gpu_reserve(trainer, *bytes, "the classes that win");
  return !trainer->device_state->winner;
}

int
gpu_find_winners(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  int32_t *winner = trainer->device_state->winner;
  const void *prediction = trainer->device_arena + model->tensor[model->training_output].offset;
  const float *value = (const float *)prediction;
  class_places places;
  actnn_call call;
  memset(&call, 0, sizeof call);
  call.trainer = trainer;
  int64_t count = prediction_positions(model, model->training_output);
  bool is_told = !class_places_of(model, model->training_output, &places);
  bool is_shared = !is_told && places.stride == 1 && places.classes > MANY_CLASSES;
  if (is_told     ? LAUNCH(&call, copy_winners, count, (const int64_t *)prediction, count, winner)
      : is_shared ? LAUNCH_BLOCKS(&call, share_winners, count, value, places.classes, winner)
                  : LAUNCH(&call, find_winners, count, value, places, count, winner))
    return 1;
  return gpu_fetch_winners(trainer, winner, (uint64_t)count * sizeof *winner);
}
