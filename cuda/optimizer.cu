/* optimizer.cu: updates of one variable, by the steps that the processor's kernels take (optimizer_steps.h). Learning rate and step
 * number are read where they lie, so that a launch need not know them. */
#include "gpu.h"

#include "../src/operators/optimizer_steps.h"

/* An update's operands; what is absent is NULL. */
typedef struct UpdateJob {
  const float *w, *g, *m, *v;
  float *new_w, *new_m, *new_v;
  int64_t count;
  const float *learning_rate;
  const int64_t *step;
  uint32_t *not_finite, tensor;
} UpdateJob;

static const float *
read_by(const actnn_call *call, size_t index)
{
  return index < call->input_count ? (const float *)call->input[index].data : NULL;
}

static float *
written_by(const actnn_call *call, size_t index)
{
  return index < call->output_count ? (float *)call->output[index].data : NULL;
}

static UpdateJob
job_of(const actnn_call *call)
{
  UpdateJob job;
  memset(&job, 0, sizeof job);
  job.w = read_by(call, 0);
  job.g = read_by(call, 1);
  job.new_w = written_by(call, 0);
  job.new_m = written_by(call, 1);
  job.new_v = written_by(call, 2);
  job.count = element_count(&call->input[0]);
  job.not_finite = call->trainer->device_state->not_finite;
  job.tensor = call->input[0].id;
  return job;
}

/* A tensor that is not finite is told by any of its threads. */
static __device__ void
look_at(const UpdateJob &job, float a, float b, float c)
{
  if (!actnn_is_finite(a) || !actnn_is_finite(b) || !actnn_is_finite(c))
    note_not_finite(job.not_finite, job.tensor);
}

KERNEL
sgd(UpdateJob job, SgdRates rates)
{
  int64_t i = thread_number();
  if (i >= job.count)
    return;
  rates.rate = *job.learning_rate;
  float w = job.w[i], g = job.g[i], momentum = sgd_momentum(rates, w, g, job.m ? job.m[i] : 0), stepped = sgd_step(rates, w, g, momentum);
  job.new_w[i] = stepped;
  if (job.new_m)
    job.new_m[i] = momentum;
  look_at(job, stepped, momentum, 0);
}

extern "C" int
gpu_Sgd(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  UpdateJob job = job_of(call);
  job.m = read_by(call, 2);
  job.learning_rate = read_by(call, 3);
  return LAUNCH(call, sgd, job.count, job, sgd_rates(call, 0));
}

/* Rates that follow from the step, by the first thread's arithmetic in double precision: each block finds them for itself. */
KERNEL
adam(UpdateJob job, AdamNumbers numbers)
{
  SHARED AdamRates rates;
  if (threadIdx.x == 0)
    rates = adam_rates_of(numbers, *job.learning_rate, *job.step);
  __syncthreads();
  int64_t i = thread_number();
  if (i >= job.count)
    return;
  float first = job.m[i], second = job.v[i], stepped = adam_step(rates, job.w[i], job.g[i], &first, &second);
  job.new_w[i] = stepped;
  job.new_m[i] = first;
  job.new_v[i] = second;
  look_at(job, stepped, first, second);
}

static int
run_adam(const actnn_call *call, int is_decoupled)
{
  if (actnn_is_preparing(call))
    return 0;
  UpdateJob job = job_of(call);
  job.m = read_by(call, 2);
  job.v = read_by(call, 3);
  job.learning_rate = read_by(call, 4);
  job.step = (const int64_t *)call->input[5].data;
  return LAUNCH_BLOCKS(call, adam, blocks_for(job.count), job, adam_numbers(call, is_decoupled));
}

extern "C" int
gpu_Adam(const actnn_call *call)
{
  return run_adam(call, 0);
}

extern "C" int
gpu_AdamW(const actnn_call *call)
{
  return run_adam(call, 1);
}
