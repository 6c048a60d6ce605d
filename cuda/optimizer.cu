/* optimizer.cu: updates of variables, by the steps that the processor's kernels take (optimizer_steps.h).
 *
 * Updates that follow one another are launched as one: while a trainer prepares itself they are listed, run by run, and at a step the last
 * of a run launches all of it. Which block works on what is in a table there, which is made once. Learning rate and step number are read
 * where they lie, so that a launch need not know them. */
#include "kernels.h"
#include "moving.h"

#include "../src/operators/optimizer_steps.h"

#include <stdlib.h>

enum update_kind { SGD, ADAM, ONNX_MOMENTUM, ONNX_ADAM, ONNX_ADAGRAD };

/* What an update's rates follow from, beside the learning rate and the step. */
struct update_rule {
  update_kind kind;
  union {
    SgdRates sgd; /* without the learning rate */
    AdamNumbers adam;
    OnnxMomentumNumbers onnx_momentum;
    OnnxAdamNumbers onnx_adam;
    OnnxAdagradNumbers onnx_adagrad;
  };
};

/* One variable; what is absent is NULL. */
struct update_job {
  const float *w, *g, *m, *v;
  float *new_w, *new_m, *new_v;
  int64_t count, first_block; /* of its run's blocks */
  uint32_t tensor;
};

enum { MOST_PARTS = 7 };

/* The same while preparing, when the arena may still move: tensors of w, g, m, v and the new w, m, v. */
struct listed_update {
  uint32_t part[MOST_PARTS];
  int64_t count;
};

struct update_run {
  update_rule rule;
  uint32_t rate, step; /* tensors */
  size_t first, end;   /* updates */
  uint64_t call;       /* the last of them, among all calls */
  int64_t blocks;
};

struct gpu_updates {
  listed_update *update;
  update_run *run;
  size_t update_count, update_capacity, run_count, run_capacity;
  size_t next; /* run whose last update is expected next */
  update_job *there;
};

/* ---- the kernel ------------------------------------------------------------------------------------------------- */

template <update_kind kind> struct taking;

template <> struct taking<SGD> {
  typedef SgdRates rates;
  static __device__ rates
  rates_of(const update_rule &rule, float rate, int64_t)
  {
    rates own = rule.sgd;
    own.rate = rate;
    return own;
  }
  static __device__ float
  step(const rates &rates, float w, float g, float *m, float *)
  {
    *m = sgd_momentum(rates, w, g, *m);
    return sgd_step(rates, w, g, *m);
  }
};

template <> struct taking<ADAM> {
  typedef AdamRates rates;
  static __device__ rates rates_of(const update_rule &rule, float rate, int64_t step) { return adam_rates(rule.adam, rate, step); }
  static __device__ float step(const rates &rates, float w, float g, float *m, float *v) { return adam_step(rates, w, g, m, v); }
};

template <> struct taking<ONNX_MOMENTUM> {
  typedef OnnxMomentumRates rates;
  static __device__ rates
  rates_of(const update_rule &rule, float rate, int64_t step)
  {
    return onnx_momentum_rates(rule.onnx_momentum, rate, step);
  }
  static __device__ float step(const rates &rates, float w, float g, float *m, float *) { return onnx_momentum_step(rates, w, g, m); }
};

template <> struct taking<ONNX_ADAM> {
  typedef OnnxAdamRates rates;
  static __device__ rates
  rates_of(const update_rule &rule, float rate, int64_t step)
  {
    return onnx_adam_rates(rule.onnx_adam, rate, step);
  }
  static __device__ float step(const rates &rates, float w, float g, float *m, float *v) { return onnx_adam_step(rates, w, g, m, v); }
};

template <> struct taking<ONNX_ADAGRAD> {
  typedef OnnxAdagradRates rates;
  static __device__ rates
  rates_of(const update_rule &rule, float rate, int64_t step)
  {
    return onnx_adagrad_rates(rule.onnx_adagrad, rate, step);
  }
  static __device__ float step(const rates &rates, float w, float g, float *m, float *) { return onnx_adagrad_step(rates, w, g, m); }
};

enum { AT_ONCE = 4, FOURS = 4, ELEMENTS_OF_A_BLOCK = BLOCK_THREADS * AT_ONCE * FOURS };

/* What is absent is zero, and not stored. */
static __device__ Four<float>
load_part(const float *part, int64_t count, int64_t first)
{
  return part ? load_four(part, count, first) : Four<float>();
}

static __device__ void
store_part(float *part, int64_t count, int64_t first, const Four<float> &four)
{
  if (part)
    store_four(part, count, first, four);
}

/* The job that a block works on: the last that begins at or before it. */
static __device__ int
job_of_block(const update_job *job, int jobs)
{
  int low = 0;
  for (int high = jobs; high - low > 1;) {
    int middle = low + (high - low) / 2;
    if (job[middle].first_block <= (int64_t)blockIdx.x)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/* Rates that follow from the step are found by each block's first thread, in double precision. */
template <update_kind kind>
KERNEL
update(const update_job *jobs, int job_count, update_rule rule, const float *rate, const int64_t *step, uint32_t *not_finite)
{
  SHARED typename taking<kind>::rates rates;
  SHARED int own;
  if (threadIdx.x == 0) {
    rates = taking<kind>::rates_of(rule, *rate, step ? *step : 0);
    own = job_of_block(jobs, job_count);
  }
  __syncthreads();
  const update_job job = jobs[own];
  int64_t start = ((int64_t)blockIdx.x - job.first_block) * ELEMENTS_OF_A_BLOCK + (int64_t)threadIdx.x * AT_ONCE;
  bool is_finite = true;
  for (int k = 0; k < FOURS; k++) {
    int64_t at = start + (int64_t)k * BLOCK_THREADS * AT_ONCE;
    if (at >= job.count)
      break;
    Four<float> w = load_four(job.w, job.count, at), g = load_four(job.g, job.count, at), m = load_part(job.m, job.count, at),
                v = load_part(job.v, job.count, at);
    for (int i = 0; i < AT_ONCE; i++) {
      bool is_there = at + i < job.count; /* zeros in place of what is not need not lead to numbers */
      w.of[i] = taking<kind>::step(rates, w.of[i], g.of[i], &m.of[i], &v.of[i]);
      is_finite &= !is_there || (actnn_is_finite(w.of[i]) && actnn_is_finite(m.of[i]) && actnn_is_finite(v.of[i]));
    }
    store_four(job.new_w, job.count, at, w);
    store_part(job.new_m, job.count, at, m);
    store_part(job.new_v, job.count, at, v);
  }
  if (!is_finite)
    note_not_finite(not_finite, job.tensor);
}

/* ---- while preparing --------------------------------------------------------------------------------------------- */

static bool
is_same_rule(const update_run *run, const update_rule &rule, uint32_t rate, uint32_t step)
{
  return run->rate == rate && run->step == step && !memcmp(&run->rule, &rule, sizeof rule);
}

static uint32_t
tensor_at(const actnn_view *view, size_t count, size_t index)
{
  return index < count ? view[index].id : NONE;
}

/* States follow the gradient among the operands, the variable among the results; the learning rate and the step come behind them. */
static int
list_update(const actnn_call *call, const update_rule &rule, size_t states)
{
  actnn *trainer = call->trainer;
  struct device_state *state = trainer->device_state;
  if (!state->updates)
    state->updates = (struct gpu_updates *)calloc(1, sizeof *state->updates);
  struct gpu_updates *updates = state->updates;
  if (!updates)
    return actnn_fail(trainer, "out of memory");
  listed_update *added = gpu_add_element(trainer, &updates->update, &updates->update_count, &updates->update_capacity);
  if (!added)
    return 1;
  for (size_t i = 0; i < MOST_PARTS; i++) {
    bool is_operand = i < 4, is_state = is_operand ? i >= 2 : i >= 5;
    size_t number = is_operand ? i : i - 4, which = is_state ? number - (is_operand ? 2 : 1) : 0;
    added->part[i] = is_state && which >= states ? NONE
                     : is_operand ? tensor_at(call->input, call->input_count, number)
                                  : tensor_at(call->output, call->output_count, number);
  }
  added->count = element_count(&call->input[0]);
  uint32_t rate = tensor_at(call->input, call->input_count, 2 + states), step = tensor_at(call->input, call->input_count, 3 + states);
  update_run *last = updates->run_count ? &updates->run[updates->run_count - 1] : NULL;
  if (!last || last->call + 1 != trainer->device_calls || !is_same_rule(last, rule, rate, step)) {
    last = gpu_add_element(trainer, &updates->run, &updates->run_count, &updates->run_capacity);
    if (!last)
      return 1;
    last->rule = rule;
    last->rate = rate;
    last->step = step;
    last->first = updates->update_count - 1;
  }
  last->end = updates->update_count;
  last->call = trainer->device_calls;
  return 0;
}

static unsigned char *
address_of(const actnn *trainer, uint32_t tensor)
{
  return tensor == NONE ? NULL : trainer->device_arena + trainer->model->tensor[tensor].offset;
}

/* The table's jobs of one run. */
static void
fill_jobs(const actnn *trainer, const struct gpu_updates *updates, update_run *run, update_job *job)
{
  for (size_t i = run->first; i < run->end; i++) {
    const listed_update *update = &updates->update[i];
    float *part[MOST_PARTS];
    for (int k = 0; k < MOST_PARTS; k++)
      part[k] = (float *)address_of(trainer, update->part[k]);
    job[i].w = part[0], job[i].g = part[1], job[i].m = part[2], job[i].v = part[3];
    job[i].new_w = part[4], job[i].new_m = part[5], job[i].new_v = part[6];
    job[i].count = update->count;
    job[i].first_block = run->blocks;
    job[i].tensor = update->part[0];
    run->blocks += (update->count + ELEMENTS_OF_A_BLOCK - 1) / ELEMENTS_OF_A_BLOCK;
  }
}

int
gpu_prepare_updates(actnn *trainer)
{
  struct gpu_updates *updates = trainer->device_state->updates;
  if (!updates)
    return 0;
  size_t bytes = updates->update_count * sizeof(update_job);
  update_job *job = (update_job *)calloc(1, bytes);
  updates->there = (update_job *)gpu_reserve(trainer, bytes, "the table of updates");
  if (!job || !updates->there)
    return free(job), job ? 1 : actnn_fail(trainer, "out of memory");
  for (size_t i = 0; i < updates->run_count; i++)
    fill_jobs(trainer, updates, &updates->run[i], job);
  int failed = gpu_send_bytes(trainer, updates->there, job, bytes, "the table of updates");
  free(job);
  return failed;
}

void
gpu_close_updates(actnn *trainer)
{
  struct gpu_updates *updates = trainer->device_state->updates;
  if (!updates)
    return;
  gpu_release(updates->there);
  free(updates->update);
  free(updates->run);
  free(updates);
  trainer->device_state->updates = NULL;
}

/* ---- at a step --------------------------------------------------------------------------------------------------- */

template <update_kind kind>
static int
launch_run(const actnn_call *call, const update_run *run)
{
  actnn *trainer = call->trainer;
  const float *rate = (const float *)address_of(trainer, run->rate);
  const int64_t *step = (const int64_t *)address_of(trainer, run->step);
  return LAUNCH_BLOCKS(call, update<kind>, run->blocks, trainer->device_state->updates->there + run->first, (int)(run->end - run->first),
                       run->rule, rate, step, trainer->device_state->not_finite);
}

/* The run that ends with the update of this variable; NULL: there is one that ends later. */
static const update_run *
run_ending_with(struct gpu_updates *updates, uint32_t variable)
{
  for (size_t i = 0; i < updates->run_count; i++) { /* each step in the same order */
    size_t at = (updates->next + i) % updates->run_count;
    const update_run *run = &updates->run[at];
    if (updates->update[run->end - 1].part[0] != variable)
      continue;
    updates->next = at + 1;
    return run;
  }
  return NULL;
}

template <update_kind kind>
static int
take_step(const actnn_call *call, update_rule rule, size_t states)
{
  rule.kind = kind;
  if (actnn_is_preparing(call))
    return list_update(call, rule, states);
  const update_run *run = run_ending_with(call->trainer->device_state->updates, call->input[0].id);
  return run && launch_run<kind>(call, run);
}

/* Zero, for rules are compared byte by byte. */
static update_rule
empty_rule(void)
{
  update_rule rule;
  memset(&rule, 0, sizeof rule);
  return rule;
}

extern "C" int
gpu_Sgd(const actnn_call *call)
{
  update_rule rule = empty_rule();
  rule.sgd = sgd_rates(call, 0);
  return take_step<SGD>(call, rule, 1);
}

static int
take_adam_step(const actnn_call *call, int is_decoupled)
{
  update_rule rule = empty_rule();
  rule.adam = adam_numbers(call, is_decoupled);
  return take_step<ADAM>(call, rule, 2);
}

extern "C" int
gpu_Adam(const actnn_call *call)
{
  return take_adam_step(call, 0);
}

extern "C" int
gpu_AdamW(const actnn_call *call)
{
  return take_adam_step(call, 1);
}

extern "C" int
gpu_OnnxMomentum(const actnn_call *call)
{
  update_rule rule = empty_rule();
  rule.onnx_momentum = onnx_momentum_numbers(call);
  return take_step<ONNX_MOMENTUM>(call, rule, 1);
}

extern "C" int
gpu_OnnxAdam(const actnn_call *call)
{
  update_rule rule = empty_rule();
  rule.onnx_adam = onnx_adam_numbers(call);
  return take_step<ONNX_ADAM>(call, rule, 2);
}

extern "C" int
gpu_OnnxAdagrad(const actnn_call *call)
{
  update_rule rule = empty_rule();
  rule.onnx_adagrad = onnx_adagrad_numbers(call);
  return take_step<ONNX_ADAGRAD>(call, rule, 1);
}
