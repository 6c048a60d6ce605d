/* saves_kernels.c: coding a value into its share of the pool, decoding it, and measuring what its noise does;
 * see saves.h. Tiles are spread over threads; sums are taken tile by tile and then in order, so that no
 * result depends on how many threads there are.
 */
#include "saves_state.h"

#include <math.h>
#include <stdlib.h>

/* ---- What is known of a save --------------------------------------------------------------------- */

/* Makes scratch as large as the largest save needs. */
static int
grow(struct saves *saves, int64_t partial, int64_t samples)
{
  if (partial > saves->most_partial) {
    double *more = realloc(saves->partial, (size_t)partial * sizeof *more);
    if (!more)
      return 1;
    saves->partial = more;
    saves->most_partial = partial;
  }
  if (samples > saves->most_samples) {
    uint64_t *more = realloc(saves->offset, (size_t)samples * sizeof *more);
    if (!more)
      return 1;
    saves->offset = more;
    saves->most_samples = samples;
  }
  return 0;
}

/* Makes room to allocate bits to the samples of all saves known so far: to those of one when it is coded, to
 * those of all when bits move between saves. */
static int
reserve_items(const actnn *trainer)
{
  struct saves *saves = trainer->saves;
  size_t items = 1;
  for (uint32_t i = 0; i < trainer->model->save_count; i++)
    items += saves->save[i].known ? (size_t)saves->save[i].codec.samples : 0;
  size_t scratch = actnn_allocation_scratch(items);
  if (items <= saves->most_items)
    return 0;
  free(saves->item);
  free(saves->item_bits);
  free(saves->scratch);
  saves->item = scratch ? malloc(items * sizeof *saves->item) : NULL;
  saves->item_bits = malloc(items);
  saves->scratch = scratch ? malloc(scratch) : NULL;
  saves->most_items = items;
  return !saves->item || !saves->item_bits || !saves->scratch;
}

/* True when all samples have the same bits without a look at them. */
static bool
is_even(const actnn *trainer, uint32_t index, int *bits)
{
  const actnn_save *save = &trainer->model->save[index];
  const save_state *state = &trainer->saves->save[index];
  *bits = actnn_codec_widest(&state->codec, (int)save->bits);
  return !save->adaptive && save->bits == floor(save->bits);
}

/* True when the extremes of tiles are kept from the choice of bits to the coding: not of tiles with one group, which
 * have more of them than they are worth. */
static bool
keeps_ranges(const actnn *trainer, uint32_t index)
{
  int bits;
  return !is_even(trainer, index, &bits) && trainer->saves->save[index].codec.lane_groups;
}

static int
reserve_ranges(const actnn *trainer, uint32_t index)
{
  struct saves *saves = trainer->saves;
  const actnn_codec *codec = &saves->save[index].codec;
  int64_t tiles = keeps_ranges(trainer, index) ? codec->samples * actnn_codec_tiles(codec) : 0;
  if (tiles <= saves->most_tiles)
    return 0;
  free(saves->tile);
  saves->most_tiles = tiles;
  saves->tile = malloc((size_t)tiles * sizeof *saves->tile);
  return !saves->tile;
}

/* Takes note of the value that save `index` will code: its layout, and so its geometry. */
static int
get_to_know(actnn *trainer, uint32_t index, const actnn_view *value)
{
  const actnn_save *save = &trainer->model->save[index];
  save_state *state = &trainer->saves->save[index];
  if (value->type != ACTNN_F32)
    return actnn_fail(trainer, "%s: only float values can be quantized on save, this one has type %d",
                      save->name, (int)value->type);
  if (actnn_codec_geometry(&state->codec, value->dim, value->rank, value->layout))
    return actnn_fail(trainer, "%s: its extents cannot be coded", save->name);
  if (!(save->bits >= 1 && save->bits <= ACTNN_MAX_BITS))
    return actnn_fail(trainer, "%s: %g bits; must be 1 to %d", save->name, save->bits, (int)ACTNN_MAX_BITS);
  size_t samples = (size_t)state->codec.samples + 1;
  int64_t partial = state->codec.samples * actnn_codec_tiles(&state->codec) * 2 + 1;
  free(state->bits);
  free(state->range);
  free(state->sensitivity);
  free(state->noise);
  state->bits = calloc(samples, 1);
  state->range = calloc(samples, sizeof(double));
  state->sensitivity = calloc(samples, sizeof(double));
  state->noise = calloc(samples, sizeof(double));
  state->known = true;
  if (!state->bits || !state->range || !state->sensitivity || !state->noise ||
      grow(trainer->saves, partial, (int64_t)samples) || reserve_items(trainer) || reserve_ranges(trainer, index))
    return actnn_fail(trainer, "%s: no memory for the bits of its %zu samples", save->name, samples - 1);
  for (int bits = 1; bits <= ACTNN_MAX_BITS; bits++)
    state->bytes[bits] = actnn_codec_sample_bytes(&state->codec, bits);
  state->share = actnn_stash_bytes(value->dim, value->rank, value->layout, save->bits);
  state->layout = value->layout;
  trainer->saves->placed = false;
  return 0;
}

/* ---- Bits of a save's samples -------------------------------------------------------------------- */

/* Spends the share on the samples by their ranges; those that are not finite decode as such at any bits. */
static int
choose_bits(actnn *trainer, uint32_t index)
{
  struct saves *saves = trainer->saves;
  save_state *state = &saves->save[index];
  size_t samples = (size_t)state->codec.samples;
  actnn_allocation result;
  for (size_t i = 0; i < samples; i++)
    saves->item[i] = (actnn_allocation_item){isfinite(state->range[i]) ? state->range[i] : 0, state->bytes};
  if (actnn_allocate_in(saves->scratch, saves->item, samples, state->share, state->bits, NULL, &result))
    return actnn_fail(trainer, "%s: its %llu bytes of the pool do not hold one bit of every element",
                      trainer->model->save[index].name, (unsigned long long)state->share);
  return 0;
}

/* Offsets of the samples from their bits; the bytes of all. */
static uint64_t
lay_out(const struct saves *saves, const save_state *state)
{
  uint64_t end = 0;
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    saves->offset[sample] = end;
    end += state->bytes[state->bits[sample]];
  }
  return end;
}

/* What is done to every tile of a value. */
typedef struct tile_job {
  const actnn_codec_kernels *kernels;
  const actnn_codec *codec;
  int block;
  float *value;
  uint8_t *stash;
  const uint64_t *offset;
  const uint8_t *bits;
  actnn_philox_key key;
  actnn_tile_range *range; /* one a tile; NULL: not kept */
  double *sum, *noise;     /* one number a tile */
} tile_job;

typedef void tile_action(const tile_job *job, int64_t each, const actnn_tile_work *work);

static tile_job
job_for(const actnn *trainer, const actnn_codec *codec, void *value)
{
  return (tile_job){.kernels = trainer->saves->kernels,
                    .codec = codec,
                    .block = trainer->channel_block,
                    .value = value,
                    .offset = trainer->saves->offset,
                    .sum = trainer->saves->partial};
}

static void
run_tile(const tile_job *job, int64_t tiles, int64_t each, tile_action *action)
{
  actnn_tile_work work = {job->codec, job->block, each / tiles, each % tiles};
  action(job, each, &work);
}

/* Small values are not worth waking threads for. They get a plain loop, since a parallel region of another number of
 * threads than the last one has allocates. */
static void
run_tiles(const actnn *trainer, const tile_job *job, tile_action *action)
{
  const actnn_codec *codec = job->codec;
  int64_t tiles = actnn_codec_tiles(codec), all = codec->samples * tiles;
  if (trainer->threads <= 1 || codec->samples * codec->rows * ACTNN_LANES <= 16384) {
    for (int64_t each = 0; each < all; each++)
      run_tile(job, tiles, each, action);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(trainer->threads)
  for (int64_t each = 0; each < all; each++)
    run_tile(job, tiles, each, action);
}

/* Sums `partial`, one number a tile, into one number a sample. */
static void
sum_tiles(const actnn_codec *codec, const double *partial, double *sum)
{
  int64_t tiles = actnn_codec_tiles(codec);
  for (int64_t sample = 0; sample < codec->samples; sample++) {
    sum[sample] = 0;
    for (int64_t tile = 0; tile < tiles; tile++)
      sum[sample] += partial[sample * tiles + tile];
  }
}

static bool
is_same(const actnn_codec *a, const actnn_codec *b)
{
  return a->rows_are == b->rows_are && a->samples == b->samples && a->channels == b->channels &&
         a->positions == b->positions; /* the rest follows */
}

/* The save that a call names, once its view fits what is known of it. */
static int
find_save(const actnn_call *call, const actnn_view *value, uint32_t *index)
{
  actnn *trainer = call->trainer;
  if (!trainer || !trainer->saves || call->attribute_count < 1 || call->attribute[0].i < 0 ||
      call->attribute[0].i >= trainer->model->save_count)
    return actnn_fail(trainer, "a call names a coded value that the model does not have");
  *index = (uint32_t)call->attribute[0].i;
  if (!value)
    return 0;
  const save_state *state = &trainer->saves->save[*index];
  actnn_codec codec;
  if (!state->known || actnn_codec_geometry(&codec, value->dim, value->rank, value->layout) ||
      !is_same(&codec, &state->codec) || value->type != ACTNN_F32)
    return actnn_fail(trainer, "%s: the value differs from the one that was coded",
                      trainer->model->save[*index].name);
  return 0;
}

static uint8_t *
stash_of(const actnn *trainer, const save_state *state)
{
  return trainer->arena + trainer->model->stash_offset + state->place;
}

/* ---- Kernels ------------------------------------------------------------------------------------- */

/* Whether the gradients of this step decide where bits go. */
static bool
measures_now(const actnn *trainer, uint32_t index)
{
  return trainer->model->save[index].adaptive && trainer->draw == 0 && trainer->step % SAVES_INTERVAL == 0;
}

static void
find_range(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  job->sum[each] = job->kernels->range(work, job->value, job->range ? &job->range[each] : NULL);
}

static void
code_tile(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  job->kernels->quantize(work, job->value, job->bits[work->sample], job->key,
                         job->stash + job->offset[work->sample], job->range ? &job->range[each] : NULL, &job->sum[each],
                         job->noise ? &job->noise[each] : NULL);
}

static void
decode_tile(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  (void)each;
  job->kernels->dequantize(work, job->stash + job->offset[work->sample], job->bits[work->sample], job->value);
}

static void
sum_squares(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  job->sum[each] = job->kernels->squares(work, job->value);
}

/* Decides the bits of every sample: the same for all, or by their ranges. */
static int
decide(actnn *trainer, uint32_t index, const actnn_view *value)
{
  struct saves *saves = trainer->saves;
  save_state *state = &saves->save[index];
  const actnn_codec *codec = &state->codec;
  int bits;
  if (is_even(trainer, index, &bits)) {
    memset(state->bits, bits, (size_t)codec->samples);
  } else {
    tile_job job = job_for(trainer, codec, value->data);
    job.range = keeps_ranges(trainer, index) ? saves->tile : NULL;
    run_tiles(trainer, &job, find_range);
    sum_tiles(codec, saves->partial, state->range);
    if (choose_bits(trainer, index))
      return 1;
  }
  state->coded_bytes = lay_out(saves, state);
  if (state->coded_bytes > state->share)
    return actnn_fail(trainer, "%s: its codes exceed their part of the pool; this is an error in the runtime",
                      trainer->model->save[index].name);
  return 0;
}

int
actnn_QuantizeOnSave(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *value = &call->input[0];
  uint32_t index = 0;
  if (find_save(call, actnn_is_preparing(call) ? NULL : value, &index))
    return 1;
  if (actnn_is_preparing(call))
    return get_to_know(trainer, index, value);
  struct saves *saves = trainer->saves;
  save_state *state = &saves->save[index];
  const actnn_codec *codec = &state->codec;
  if (!saves->placed && saves_place(trainer))
    return 1;
  if (decide(trainer, index, value))
    return 1;
  bool counts = saves->count_noise || (saves->record_weights && measures_now(trainer, index));
  double *noise = saves->partial + codec->samples * actnn_codec_tiles(codec);
  tile_job job = job_for(trainer, codec, value->data);
  job.stash = stash_of(trainer, state);
  job.bits = state->bits;
  job.noise = counts ? noise : NULL;
  job.range = keeps_ranges(trainer, index) ? saves->tile : NULL;
  job.key = actnn_random_key(trainer->seed, trainer->step, trainer->model->save[index].random_id, trainer->draw);
  run_tiles(trainer, &job, code_tile);
  sum_tiles(codec, saves->partial, state->range);
  if (counts)
    sum_tiles(codec, noise, state->noise);
  state->noise_counted = counts;
  state->coded = true;
  return 0;
}

int
actnn_DequantizeOnBackward(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *value = &call->output[0];
  uint32_t index = 0;
  if (find_save(call, actnn_is_preparing(call) ? NULL : value, &index))
    return 1;
  if (actnn_is_preparing(call))
    return 0;
  struct saves *saves = trainer->saves;
  const save_state *state = &saves->save[index];
  const actnn_codec *codec = &state->codec;
  if (!state->coded)
    return actnn_fail(trainer, "%s: decoded before it was coded", trainer->model->save[index].name);
  lay_out(saves, state);
  tile_job job = job_for(trainer, codec, value->data);
  job.stash = stash_of(trainer, state);
  job.bits = state->bits;
  run_tiles(trainer, &job, decode_tile);
  return 0;
}

/* Finds the geometry of a gradient and makes room for its sums. */
static int
reserve_sums(actnn *trainer, const actnn_view *gradient, actnn_codec *codec)
{
  if (gradient->type != ACTNN_F32 ||
      actnn_codec_geometry(codec, gradient->dim, gradient->rank, gradient->layout))
    return actnn_fail(trainer, "MeasureSensitivity: only gradients of type float can be measured");
  if (grow(trainer->saves, codec->samples * (actnn_codec_tiles(codec) + 1) + 1, 1))
    return actnn_fail(trainer, "MeasureSensitivity: no memory for sums");
  return 0;
}

/* Squared norms of the gradient's samples; valid until the scratch is used again. */
static double *
measure(actnn *trainer, const actnn_view *gradient, const actnn_codec *codec)
{
  tile_job job = job_for(trainer, codec, gradient->data);
  double *norm = job.sum + codec->samples * actnn_codec_tiles(codec);
  run_tiles(trainer, &job, sum_squares);
  sum_tiles(codec, job.sum, norm);
  return norm;
}

/* The noise that the codes of a sample would have at one level step for the whole range, by the noise they have
 * now: what allocation.h calls a weight, as far as the codes go. */
static double
noise_of_range(const save_state *state, int64_t sample)
{
  double steps = (double)((1 << state->bits[sample]) - 1);
  return state->noise[sample] * steps * steps;
}

/* Adds what one gradient does with the codes' noise: `norm`: |dy|^2 of each sample, NULL where all have
 * `same`. */
static void
predict(actnn *trainer, save_state *state, double factor, const double *norm, double same)
{
  bool first = !state->has_prediction || state->predicted_step != trainer->step ||
               state->predicted_draw != trainer->draw;
  double variance = 0, weight = 0;
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    double sensitivity = factor * (norm ? norm[sample] : same);
    variance += sensitivity * state->noise[sample];
    weight += sensitivity * noise_of_range(state, sample);
  }
  state->predicted = (first ? 0 : state->predicted) + variance;
  state->has_prediction = true;
  state->predicted_step = trainer->step;
  state->predicted_draw = trainer->draw;
  if (trainer->draw == 0 && isfinite(weight)) {
    state->weight_sum += weight;
    state->weights += first;
  }
}

static void
add_sensitivity(actnn *trainer, save_state *state, double factor, const double *norm, double same)
{
  bool first = !state->measured || state->measured_step != trainer->step;
  for (int64_t sample = 0; sample < state->codec.samples; sample++)
    state->sensitivity[sample] =
        (first ? 0 : state->sensitivity[sample]) + factor * (norm ? norm[sample] : same);
  state->measured = true;
  state->measured_step = trainer->step;
  trainer->saves->fresh = true;
}

int
actnn_MeasureSensitivity(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  uint32_t index = 0;
  double factor = call->attribute_count > 1 ? call->attribute[1].f : 1;
  actnn_codec codec;
  if (find_save(call, NULL, &index) || reserve_sums(trainer, &call->input[0], &codec))
    return 1;
  save_state *state = &trainer->saves->save[index];
  bool decides = measures_now(trainer, index);
  if (actnn_is_preparing(call) || !(decides || state->noise_counted))
    return 0;
  const double *norm = measure(trainer, &call->input[0], &codec);
  double all = 0;
  for (int64_t sample = 0; sample < codec.samples; sample++)
    all += norm[sample];
  /* A gradient cut into other samples than the value: each of the value's samples gets the same part. */
  double same = state->codec.samples > 0 ? all / (double)state->codec.samples : 0;
  if (codec.samples != state->codec.samples)
    norm = NULL;
  if (state->noise_counted)
    predict(trainer, state, factor, norm, same);
  if (decides)
    add_sensitivity(trainer, state, factor, norm, same);
  return 0;
}
