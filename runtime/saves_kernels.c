/* saves_kernels.c: a value coded as it is, decoded, or asked what is positive in it; see saves.h. */
#include "saves_state.h"

static void
code_tile(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  actnn_code code = saves_code_of(job, work->sample);
  job->kernels->quantize(work, job->value, &code, job->key, job->stash + job->offset[work->sample],
                         job->range ? &job->range[each] : NULL, job->exact_noise, &job->noise[each]);
}

static void
decode_tile(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  actnn_code code = saves_code_of(job, work->sample);
  (void)each;
  job->kernels->dequantize(work, job->stash + job->offset[work->sample], &code, job->key, job->value);
}

static void
select_positive(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  actnn_code code = saves_code_of(job, work->sample);
  (void)each;
  job->kernels->select(work, job->stash + job->offset[work->sample], &code, job->other, job->value);
}

static void
multiply_tile(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  actnn_code code = saves_code_of(job, work->sample);
  (void)each;
  job->kernels->multiply(work, job->stash + job->offset[work->sample], &code, job->key, job->other, job->value);
}

int
actnn_QuantizeOnSave(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  saves_source source;
  uint32_t index = 0;
  if (saves_find(call, actnn_is_preparing(call) ? NULL : &call->input[0], &index) || saves_find_source(call, &source))
    return 1;
  if (actnn_is_preparing(call))
    return saves_get_to_know(trainer, index, source.value, (actnn_affine){0});
  if (saves_go_by_range(trainer, index))
    saves_find_ranges(trainer, index, &source);
  if (saves_decide(trainer, index))
    return 1;
  tile_job job = saves_coding_job(trainer, index, &source);
  saves_run_tiles(trainer, &job, code_tile);
  saves_note_noise(trainer, index);
  return 0;
}

int
actnn_DequantizeOnBackward(const actnn_call *call)
{
  uint32_t index = 0;
  if (saves_find(call, actnn_is_preparing(call) ? NULL : &call->output[0], &index))
    return 1;
  if (actnn_is_preparing(call))
    return 0;
  if (saves_open(call->trainer, index))
    return 1;
  tile_job job = saves_job(call->trainer, index, call->output[0].data);
  job.writes_bfloat = call->output[0].type == ACTNN_BF16;
  saves_run_tiles(call->trainer, &job, decode_tile);
  return 0;
}

/* Decoded, then scale and b along the last axes by the elementwise kernels, in place. */
int
actnn_DequantizeAffine(const actnn_call *call)
{
  actnn_call decode = *call, apply = *call;
  bool has_bias = call->input_count > 2 && call->input[2].data;
  actnn_view operand[3] = {call->output[0], call->input[1]};
  if (has_bias)
    operand[2] = call->input[2];
  decode.input_count = 1;
  apply.input = operand;
  apply.input_count = has_bias ? 3 : 2;
  apply.attribute_count = 0;
  if (actnn_DequantizeOnBackward(&decode))
    return 1;
  return has_bias ? actnn_Affine(&apply) : actnn_Mul(&apply);
}

/* run: what makes operand 0 the result, a tile at a time. */
static int
change_gradient(const actnn_call *call, void (*run)(const tile_job *job, int64_t each, const actnn_tile_work *work))
{
  uint32_t index = 0;
  if (saves_find(call, &call->output[0], &index) || saves_open(call->trainer, index))
    return 1;
  tile_job job = saves_job(call->trainer, index, call->output[0].data);
  job.other = call->input[0].data;
  job.reads_bfloat = call->input[0].type == ACTNN_BF16;
  job.writes_bfloat = call->output[0].type == ACTNN_BF16;
  saves_run_tiles(call->trainer, &job, run);
  return 0;
}

int
actnn_SelectCoded(const actnn_call *call)
{
  uint32_t index = 0;
  if (actnn_is_preparing(call))
    return saves_find(call, NULL, &index);
  if (saves_find(call, &call->output[0], &index))
    return 1;
  if (call->trainer->model->save[index].spacing != ACTNN_MASKED_LEVELS)
    return actnn_fail(call->trainer, "%s: its codes do not tell what is positive", call->trainer->model->save[index].name);
  return change_gradient(call, select_positive);
}

int
actnn_MultiplyCoded(const actnn_call *call)
{
  uint32_t index = 0;
  return actnn_is_preparing(call) ? saves_find(call, NULL, &index) : change_gradient(call, multiply_tile);
}
