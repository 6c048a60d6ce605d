/* spending.cu: the levels of a value's samples where they follow from its ranges, found here, so that nobody waits for them: what
 * spending.c does, by one block. */
#include "saves_tables.h"

typedef struct spend_job {
  actnn_spending spending;
  int64_t samples;
  uint64_t share;
  const double *sum; /* of each sample: its range */
  float *range;      /* the same as spending.h takes it */
  uint8_t *choice;
  sample_place *place;
} spend_job;

typedef unsigned long long spent_bytes;

static_assert((int)BLOCK_THREADS == (int)SPENDING_DIGIT_VALUES, "a thread for each digit");

/* The sum of what the threads before this one have; all threads take part, behind a barrier since what the room held was read. */
static __device__ uint64_t
sum_before(uint64_t own, spent_bytes *room)
{
  room[threadIdx.x] = own;
  __syncthreads();
  if (threadIdx.x == 0) {
    spent_bytes sum = 0;
    for (int i = 0; i < BLOCK_THREADS; i++) {
      spent_bytes here = room[i];
      room[i] = sum;
      sum += here;
    }
  }
  __syncthreads();
  return room[threadIdx.x];
}

/* The lowest price at which all steps that are worth it fit into *left, which goes down by their bytes. Both are in shared memory. */
static __device__ void
find_price(const spend_job &job, spent_bytes *sum, uint64_t *price, uint64_t *left)
{
  for (int found = 0; found < SPENDING_DIGITS && *price != UINT64_MAX; found++) {
    sum[threadIdx.x] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < job.samples; i += BLOCK_THREADS)
      for (int step = 0; step < job.spending.steps; step++) {
        uint32_t worth = actnn_step_worth(&job.spending, step, job.range[i]);
        if (actnn_has_digits(worth, *price, found)) /* integers: in any order the same sum */
          atomicAdd(&sum[actnn_price_digit(worth, found)], (spent_bytes)actnn_step_bytes(&job.spending, step));
      }
    __syncthreads();
    if (threadIdx.x == 0) {
      int refused = actnn_refused_digit((const uint64_t *)sum, left);
      *price = refused < 0 ? UINT64_MAX : *price << SPENDING_DIGIT_BITS | (uint64_t)refused;
    }
    __syncthreads();
  }
  __syncthreads(); /* everybody has seen that there is no next digit */
  if (threadIdx.x == 0)
    *price = *price == UINT64_MAX ? 0 : *price + 1;
  __syncthreads();
}

/* The steps that a sample takes at a price, and those with the ones worth just less. */
static __device__ void
find_steps(const spend_job &job, int64_t sample, uint64_t price, int *steps, int *more)
{
  *steps = actnn_steps_at(&job.spending, job.range[sample], price);
  *more = price ? actnn_steps_at(&job.spending, job.range[sample], price - 1) : *steps;
}

/* Takes the steps of this thread's samples that are worth the price, and those worth just less that fit, in the order of samples. The bytes
 * of the latter. */
static __device__ uint64_t
take_steps(const spend_job &job, int64_t first, int64_t end, uint64_t price, uint64_t left, spent_bytes *room)
{
  uint64_t wanted = 0, taken = 0;
  int steps, more;
  for (int64_t i = first; i < end; i++)
    for (find_steps(job, i, price, &steps, &more); steps < more; steps++)
      wanted += actnn_step_bytes(&job.spending, steps);
  wanted = sum_before(wanted, room); /* by this one and all before it: the first that does not fit refuses all behind it */
  for (int64_t i = first; i < end; i++) {
    for (find_steps(job, i, price, &steps, &more); steps < more && wanted <= left; steps += wanted <= left) {
      uint64_t bytes = actnn_step_bytes(&job.spending, steps);
      wanted += bytes;
      taken += wanted <= left ? bytes : 0;
    }
    job.choice[i] = job.spending.choice[steps];
  }
  return taken;
}

KERNEL
spend(spend_job job)
{
  SHARED spent_bytes room[BLOCK_THREADS];
  SHARED uint64_t price, left;
  int64_t each = (job.samples + BLOCK_THREADS - 1) / BLOCK_THREADS, first = each * threadIdx.x, end = first + each;
  end = end < job.samples ? end : job.samples;
  for (int64_t i = first; i < end; i++) {
    float range = (float)job.sum[i];
    job.range[i] = actnn_is_finite(range) ? range : 0;
  }
  if (threadIdx.x == 0) {
    price = 0;
    left = job.share - (uint64_t)job.samples * job.spending.bytes[0];
  }
  __syncthreads();
  find_price(job, room, &price, &left);
  spent_bytes taken = block_sum((spent_bytes)take_steps(job, first, end, price, left, room));
  if (threadIdx.x == 0)
    actnn_spend_rest(&job.spending, job.samples, left - taken, job.choice);
  __syncthreads();
  uint64_t bytes = 0;
  for (int64_t i = first; i < end; i++)
    bytes += job.spending.bytes[job.choice[i]];
  uint64_t offset = sum_before(bytes, room);
  for (int64_t i = first; i < end; i++) {
    job.place[i].offset = offset;
    job.place[i].choice = job.choice[i];
    offset += job.spending.bytes[job.choice[i]];
  }
}

int
gpu_spend(const actnn_call *call, uint32_t index)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = trainer->device_state->saves;
  const save_state *state = &trainer->saves->save[index];
  spend_job job;
  memset(&job, 0, sizeof job);
  job.spending = state->spending;
  job.samples = state->codec.samples;
  job.share = state->share;
  job.sum = saves->sample_sum;
  job.range = saves->sample_range;
  job.choice = saves->choice[index];
  job.place = saves->place[index];
  return LAUNCH_BLOCKS(call, spend, job.samples > 0, job);
}
