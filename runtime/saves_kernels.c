/* saves_kernels.c: coding a value into its share of the pool, decoding it, and measuring what its noise does;
 * see saves.h. Tiles are spread over threads; sums are taken tile by tile and then in order, so that no
 * result depends on how many threads there are.
 */
#include "allocation.h"
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
  state->bits = calloc(samples, 1);
  state->range = calloc(samples, sizeof(double));
  state->sensitivity = calloc(samples, sizeof(double));
  if (!state->bits || !state->range || !state->sensitivity || grow(trainer->saves, partial, (int64_t)samples))
    return actnn_fail(trainer, "%s: no memory for the bits of its %zu samples", save->name, samples - 1);
  for (int bits = 1; bits <= ACTNN_MAX_BITS; bits++)
    state->bytes[bits] = actnn_codec_sample_bytes(&state->codec, bits);
  state->share = actnn_stash_bytes(value->dim, value->rank, value->layout, save->bits);
  state->layout = value->layout;
  state->known = true;
  trainer->saves->placed = false;
  return 0;
}

/* ---- Bits of a save's samples -------------------------------------------------------------------- */

/* Spends the share on the samples by their ranges; those that are not finite decode as such at any bits. */
static int
choose_bits(actnn *trainer, uint32_t index)
{
  save_state *state = &trainer->saves->save[index];
  size_t samples = (size_t)state->codec.samples;
  actnn_allocation_item *item = malloc((samples + 1) * sizeof *item);
  actnn_allocation result;
  if (!item)
    return actnn_fail(trainer, "%s: no memory to allocate its bits", trainer->model->save[index].name);
  for (size_t i = 0; i < samples; i++)
    item[i] = (actnn_allocation_item){isfinite(state->range[i]) ? state->range[i] : 0, state->bytes};
  int status = (int)actnn_allocate(item, samples, state->share, state->bits, NULL, &result);
  free(item);
  if (status)
    return actnn_fail(trainer, "%s: its %llu bytes of the pool do not hold one bit of every element",
                      trainer->model->save[index].name, (unsigned long long)state->share);
  return 0;
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

/* Threads worth waking for a value. */
static int
threads_for(const actnn *trainer, const actnn_codec *codec)
{
  bool large = codec->samples * codec->rows * ACTNN_LANES > 16384;
  return large && trainer->threads > 1 ? trainer->threads : 1;
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

/* Decides the bits of every sample: the same for all, or by their ranges. */
static int
decide(actnn *trainer, uint32_t index, const actnn_view *value)
{
  struct saves *saves = trainer->saves;
  save_state *state = &saves->save[index];
  const actnn_codec *codec = &state->codec;
  int64_t tiles = actnn_codec_tiles(codec);
  int bits;
  if (is_even(trainer, index, &bits)) {
    memset(state->bits, bits, (size_t)codec->samples);
  } else {
#pragma omp parallel for schedule(static) num_threads(threads_for(trainer, codec))
    for (int64_t each = 0; each < codec->samples * tiles; each++) {
      actnn_tile_work work = {codec, trainer->channel_block, each / tiles, each % tiles};
      saves->partial[each] = saves->kernels->range(&work, value->data);
    }
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
  uint32_t index;
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
  int64_t tiles = actnn_codec_tiles(codec), all = codec->samples * tiles;
  uint8_t *stash = stash_of(trainer, state);
  actnn_philox_key key =
      actnn_random_key(trainer->seed, trainer->step, trainer->model->save[index].random_id, trainer->draw);
  double *noise = saves->partial + all;
#pragma omp parallel for schedule(static) num_threads(threads_for(trainer, codec))
  for (int64_t each = 0; each < all; each++) {
    int64_t sample = each / tiles;
    actnn_tile_work work = {codec, trainer->channel_block, sample, each % tiles};
    saves->kernels->quantize(&work, value->data, state->bits[sample], key, stash + saves->offset[sample],
                             &saves->partial[each], saves->count_noise ? &noise[each] : NULL);
  }
  sum_tiles(codec, saves->partial, state->range);
  state->noise = 0;
  for (int64_t each = 0; saves->count_noise && each < all; each++)
    state->noise += noise[each];
  state->coded = true;
  return 0;
}

int
actnn_DequantizeOnBackward(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *value = &call->output[0];
  uint32_t index;
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
  int64_t tiles = actnn_codec_tiles(codec);
  const uint8_t *stash = stash_of(trainer, state);
#pragma omp parallel for schedule(static) num_threads(threads_for(trainer, codec))
  for (int64_t each = 0; each < codec->samples * tiles; each++) {
    int64_t sample = each / tiles;
    actnn_tile_work work = {codec, trainer->channel_block, sample, each % tiles};
    saves->kernels->dequantize(&work, stash + saves->offset[sample], state->bits[sample], value->data);
  }
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
  struct saves *saves = trainer->saves;
  int64_t tiles = actnn_codec_tiles(codec), all = codec->samples * tiles;
  double *norm = saves->partial + all;
#pragma omp parallel for schedule(static) num_threads(threads_for(trainer, codec))
  for (int64_t each = 0; each < all; each++) {
    actnn_tile_work work = {codec, trainer->channel_block, each / tiles, each % tiles};
    saves->partial[each] = saves->kernels->squares(&work, gradient->data);
  }
  sum_tiles(codec, saves->partial, norm);
  return norm;
}

int
actnn_MeasureSensitivity(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  uint32_t index;
  double factor = call->attribute_count > 1 ? call->attribute[1].f : 1;
  actnn_codec codec;
  if (find_save(call, NULL, &index) || reserve_sums(trainer, &call->input[0], &codec))
    return 1;
  if (actnn_is_preparing(call) || !trainer->model->save[index].adaptive || trainer->draw != 0 ||
      trainer->step % SAVES_INTERVAL != 0)
    return 0;
  save_state *state = &trainer->saves->save[index];
  const double *norm = measure(trainer, &call->input[0], &codec);
  bool first = !state->measured || state->measured_step != trainer->step;
  double all = 0;
  for (int64_t sample = 0; sample < codec.samples; sample++)
    all += norm[sample];
  /* A gradient cut into other samples than the value: each of the value's samples gets the same part. */
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    double part = codec.samples == state->codec.samples ? norm[sample] : all / (double)state->codec.samples;
    state->sensitivity[sample] = (first ? 0 : state->sensitivity[sample]) + factor * part;
  }
  state->measured = true;
  state->measured_step = trainer->step;
  trainer->saves->fresh = true;
  return 0;
}
