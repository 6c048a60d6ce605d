/* saves_coding.c: a save's share of the pool spent on its samples, and tiles spread over threads; see saves.h. Sums
 * are taken tile by tile and then in order, so that no result depends on how many threads there are.
 */
#include "saves_state.h"
#include "codec_normal.h"

#include <math.h>
#include <stdlib.h>

/* ---- What is known of a save --------------------------------------------------------------------- */

/* Makes an array as large as is asked for. */
static int
enlarge(void **array, int64_t *most, int64_t count, size_t size)
{
  if (count <= *most)
    return 0;
  void *more = realloc(*array, (size_t)count * size);
  if (!more)
    return 1;
  *array = more;
  *most = count;
  return 0;
}

int
saves_grow(struct saves *saves, int64_t partial, int64_t samples)
{
  return enlarge((void **)&saves->partial, &saves->most_partial, partial, sizeof *saves->partial) ||
         enlarge((void **)&saves->offset, &saves->most_samples, samples, sizeof *saves->offset) ||
         enlarge((void **)&saves->width, &saves->most_widths, samples, sizeof *saves->width);
}

/* Makes room to allocate bytes to the samples of all saves known so far, when bytes move between saves. */
static int
reserve_items(const actnn *trainer)
{
  struct saves *saves = trainer->saves;
  size_t items = 1;
  for (uint32_t i = 0; i < trainer->model->save_count; i++)
    items += saves->save[i].known ? (size_t)saves->save[i].codec.samples : 0;
  if (items <= saves->most_items)
    return 0;
  size_t scratch = actnn_allocation_scratch(items, ACTNN_LEVEL_CHOICES);
  free(saves->item);
  free(saves->item_cost);
  free(saves->item_choice);
  free(saves->scratch);
  saves->item = malloc(items * sizeof *saves->item);
  saves->item_cost = malloc(items * sizeof *saves->item_cost);
  saves->item_choice = malloc(items);
  saves->scratch = scratch ? malloc(scratch) : NULL;
  saves->most_items = items;
  return !saves->item || !saves->item_cost || !saves->item_choice || !saves->scratch;
}

bool
saves_go_by_range(const actnn *trainer, uint32_t index)
{
  actnn_spacing spacing = trainer->model->save[index].spacing;
  return trainer->model->save[index].adaptation != ACTNN_KEEPS_ITS_SHARE &&
         (spacing == ACTNN_EVEN_LEVELS || spacing == ACTNN_MASKED_LEVELS);
}

/* The extremes of tiles are kept from the choice of levels to the coding, but not of tiles with one group, which
 * have more of them than they are worth. */
static int
reserve_ranges(const actnn *trainer, uint32_t index)
{
  struct saves *saves = trainer->saves;
  const actnn_codec *codec = &saves->save[index].codec;
  int64_t tiles = saves_go_by_range(trainer, index) && codec->lane_groups ? codec->samples * actnn_codec_tiles(codec) : 0;
  return enlarge((void **)&saves->tile, &saves->most_tiles, tiles, sizeof *saves->tile);
}

/* Levels that carry the gradient: not those of what a rectifier blocks, nor the one that is zero. */
static int
levels_that_matter(const save_state *state, actnn_spacing spacing, int levels)
{
  if (spacing == ACTNN_MASKED_LEVELS)
    return levels - 1;
  return spacing == ACTNN_NORMAL_LEVELS && state->rectified ? levels - actnn_codec_blocked_levels(levels) : levels;
}

/* Lists what samples may have. A choice that takes no more bytes than a larger one is none: planes of very few rows are
 * partly empty. */
static void
list_choices(const actnn_save *save, save_state *state)
{
  state->choices = 0;
  for (int choice = ACTNN_LEVEL_CHOICES - 1; choice >= 0; choice--) {
    int levels = actnn_choice_levels(choice), least = actnn_least_levels(save->spacing, state->rectified, state->cap);
    uint64_t bytes = actnn_codec_sample_bytes(&state->codec, levels);
    if (!(save->choices >> choice & 1) || levels < least || (state->choices && bytes >= state->bytes[state->choices - 1]))
      continue;
    state->levels[state->choices] = levels;
    state->bytes[state->choices++] = bytes;
  }
  for (int i = 0, j = state->choices - 1; i < j; i++, j--) { /* found from the largest to the smallest */
    int levels = state->levels[i];
    uint64_t bytes = state->bytes[i];
    state->levels[i] = state->levels[j];
    state->bytes[i] = state->bytes[j];
    state->levels[j] = levels;
    state->bytes[j] = bytes;
  }
  for (int i = 0; i < state->choices; i++) {
    double steps = levels_that_matter(state, save->spacing, state->levels[i]) - 1;
    state->noise_of[i] = 1 / (steps * steps);
  }
  state->spending = actnn_spending_of(state->bytes, state->noise_of, state->choices);
}

bool
saves_may_code(const actnn_view *value)
{
  return value->type == ACTNN_F32 || value->type == ACTNN_BF16;
}

int
saves_get_to_know(actnn *trainer, uint32_t index, const actnn_view *value, actnn_affine affine)
{
  const actnn_save *save = &trainer->model->save[index];
  save_state *state = &trainer->saves->save[index];
  if (!saves_may_code(value))
    return actnn_fail(trainer, "%s: only float values can be quantized on save, this one has type %d",
                      save->name, (int)value->type);
  if (actnn_codec_geometry(&state->codec, value->dim, value->rank, value->layout, save->spacing))
    return actnn_fail(trainer, "%s: its extents cannot be coded", save->name);
  state->rectified = affine.rectified;
  state->cap = affine.cap;
  list_choices(save, state);
  if (!state->choices)
    return actnn_fail(trainer, "%s: the model allows none of the numbers of levels that this runtime has", save->name);
  size_t samples = (size_t)state->codec.samples + 1;
  int64_t tiles = state->codec.samples * actnn_codec_tiles(&state->codec) + 1;
  free(state->choice);
  free(state->range);
  for (int kind = 0; kind < DEMAND_KINDS; kind++)
    free(state->demand[kind]);
  free(state->flow);
  free(state->channel);
  free(state->sum);
  free(state->energy);
  free(state->noise);
  state->choice = calloc(samples, 1);
  state->range = calloc(samples, sizeof(double));
  bool has_demands = true;
  for (int kind = 0; kind < DEMAND_KINDS; kind++) {
    state->demand[kind] = calloc(samples, sizeof(double));
    has_demands &= state->demand[kind] != NULL;
  }
  state->flow = calloc(samples, sizeof(double));
  state->channel = save->spacing == ACTNN_NORMAL_LEVELS ? calloc((size_t)state->codec.channels, sizeof *state->channel) : NULL;
  state->sum = calloc(samples, sizeof(double));
  state->energy = calloc(samples, sizeof(double));
  state->noise = calloc(samples, sizeof *state->noise);
  state->known = true;
  bool has_channels = state->channel || save->spacing != ACTNN_NORMAL_LEVELS;
  if (!state->choice || !state->range || !has_demands || !state->flow || !has_channels || !state->sum || !state->energy ||
      !state->noise ||
      saves_grow(trainer->saves, tiles * 2, (int64_t)samples) ||
      enlarge((void **)&trainer->saves->tile_noise, &trainer->saves->most_noise, tiles, sizeof *state->noise) ||
      reserve_items(trainer) || reserve_ranges(trainer, index))
    return actnn_fail(trainer, "%s: no memory for what is known of its %zu samples", save->name, samples - 1);
  state->share = trainer->model->tensor[save->tensor].bytes;
  state->layout = value->layout;
  trainer->saves->placed = false;
  return 0;
}

/* ---- Levels of a save's samples ------------------------------------------------------------------ */

static int
refuse_share(actnn *trainer, uint32_t index)
{
  return actnn_fail(trainer, "%s: its %llu bytes of the pool do not hold the fewest levels for all samples",
                    trainer->model->save[index].name, (unsigned long long)trainer->saves->save[index].share);
}

/* The same levels for all samples, or, while the share lasts, the next more for the first ones. */
static int
choose_evenly(actnn *trainer, uint32_t index)
{
  save_state *state = &trainer->saves->save[index];
  uint64_t samples = (uint64_t)state->codec.samples;
  int choice = 0;
  while (choice + 1 < state->choices && samples * state->bytes[choice + 1] <= state->share)
    choice++;
  if (samples * state->bytes[choice] > state->share)
    return refuse_share(trainer, index);
  uint64_t left = state->share - samples * state->bytes[choice], more = 0;
  if (choice + 1 < state->choices)
    more = left / (state->bytes[choice + 1] - state->bytes[choice]);
  for (uint64_t sample = 0; sample < samples; sample++)
    state->choice[sample] = (uint8_t)(choice + (sample < more));
  return 0;
}

/* Spends the share on the samples by their ranges; those that are not finite decode as such at any levels. */
static int
choose_by_range(actnn *trainer, uint32_t index)
{
  struct saves *saves = trainer->saves;
  save_state *state = &saves->save[index];
  for (int64_t i = 0; i < state->codec.samples; i++)
    saves->width[i] = saves_width(state, i);
  return !actnn_spend(&state->spending, saves->width, state->codec.samples, state->share, state->choice) && refuse_share(trainer, index);
}

/* Offsets of the samples from their choices; the bytes of all. */
static uint64_t
lay_out(const struct saves *saves, const save_state *state)
{
  uint64_t end = 0;
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    saves->offset[sample] = end;
    end += state->bytes[state->choice[sample]];
  }
  return end;
}

static void
find_range(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  job->sum[each] = job->kernels->range(work, job->value, job->code.spacing, job->range ? &job->range[each] : NULL);
}

void
saves_find_ranges(actnn *trainer, uint32_t index, const saves_source *source)
{
  tile_job job = saves_coding_job(trainer, index, source);
  saves_run_tiles(trainer, &job, find_range);
  saves_sum_tiles(&trainer->saves->save[index].codec, trainer->saves->partial, trainer->saves->save[index].range);
}

int
saves_decide(actnn *trainer, uint32_t index)
{
  struct saves *saves = trainer->saves;
  save_state *state = &saves->save[index];
  if (!saves->placed && saves_place(trainer))
    return 1;
  if (saves_go_by_range(trainer, index) ? choose_by_range(trainer, index) : choose_evenly(trainer, index))
    return 1;
  state->coded_bytes = lay_out(saves, state);
  if (state->coded_bytes > state->share)
    return actnn_fail(trainer, "%s: its codes exceed their part of the pool; this is an error in the runtime",
                      trainer->model->save[index].name);
  state->coded = true;
  return 0;
}

int
saves_decide_elsewhere(actnn *trainer, uint32_t index)
{
  save_state *state = &trainer->saves->save[index];
  if (!trainer->saves->placed && saves_place(trainer))
    return 1;
  if (state->codec.samples && state->bytes[0] > state->share / (uint64_t)state->codec.samples)
    return refuse_share(trainer, index);
  state->coded = true;
  return 0;
}

bool
saves_look_at_choices(const actnn *trainer)
{
  return saves_notes_gradients(trainer) || trainer->saves->count_noise || trainer->draw > 0;
}

void
saves_note_choices(actnn *trainer, uint32_t index)
{
  trainer->saves->save[index].coded_bytes = lay_out(trainer->saves, &trainer->saves->save[index]);
}

void
saves_note_noise(actnn *trainer, uint32_t index)
{
  save_state *state = &trainer->saves->save[index];
  const actnn_tile_noise *tile = trainer->saves->tile_noise;
  int64_t tiles = actnn_codec_tiles(&state->codec);
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    actnn_tile_noise sum = {0};
    for (int64_t i = 0; i < tiles; i++, tile++) {
      sum.below += tile->below;
      sum.above += tile->above;
      sum.scaled += tile->scaled;
    }
    state->noise[sample] = sum;
  }
}

float
saves_width(const save_state *state, int64_t sample)
{
  /* As a float: sums that were taken in another order, as a GPU does, then mostly decide the same. */
  float width = (float)state->range[sample];
  return isfinite(width) ? width : 0;
}

double
saves_mean_noise(const save_state *state)
{
  double noise = 0, width = 0, even = 0;
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    double here = saves_width(state, sample), step = state->noise_of[state->choice[sample]];
    noise += here * step;
    width += here;
    even += step;
  }
  return width > 0 ? noise / width : state->codec.samples > 0 ? even / (double)state->codec.samples : 1;
}

int
saves_open(actnn *trainer, uint32_t index)
{
  const save_state *state = &trainer->saves->save[index];
  if (!state->coded)
    return actnn_fail(trainer, "%s: decoded before it was coded", trainer->model->save[index].name);
  lay_out(trainer->saves, state);
  return 0;
}

/* ---- Tiles over threads --------------------------------------------------------------------------- */

tile_job
saves_plain_job(const actnn *trainer, const actnn_codec *codec, void *value)
{
  return (tile_job){.kernels = trainer->saves->kernels,
                    .codec = codec,
                    .block = trainer->channel_block,
                    .value = value,
                    .offset = trainer->saves->offset,
                    .sum = trainer->saves->partial};
}

actnn_philox_key
saves_key(const actnn *trainer, uint32_t index)
{
  bool follows = trainer->saves->redrawn == NONE || trainer->saves->redrawn == index;
  return actnn_random_key(trainer->seed, trainer->step, trainer->model->save[index].random_id, follows ? trainer->draw : 0);
}

tile_job
saves_job(const actnn *trainer, uint32_t index, void *value)
{
  const actnn_save *save = &trainer->model->save[index];
  const save_state *state = &trainer->saves->save[index];
  tile_job job = saves_plain_job(trainer, &state->codec, value);
  job.state = state;
  job.stash = trainer->arena + trainer->model->stash_offset + state->place;
  job.code = (actnn_code){.spacing = save->spacing, .dither = save->dither, .low = (float)save->low, .high = (float)save->high};
  job.key = saves_key(trainer, index);
  job.range = saves_go_by_range(trainer, index) && state->codec.lane_groups ? trainer->saves->tile : NULL;
  job.noise = trainer->saves->tile_noise;
  job.exact_noise = trainer->saves->count_noise || (trainer->saves->record_weights && saves_measure_now(trainer, index));
  return job;
}

tile_job
saves_coding_job(const actnn *trainer, uint32_t index, const saves_source *source)
{
  tile_job job = saves_job(trainer, index, source->value->data);
  job.reads_bfloat = source->value->type == ACTNN_BF16;
  job.making = source->is_made ? &source->making : NULL;
  return job;
}

actnn_code
saves_code_of(const tile_job *job, int64_t sample)
{
  actnn_code code = job->code;
  code.levels = job->state->levels[job->state->choice[sample]];
  return code;
}

static void
run_tile(const tile_job *job, int64_t tiles, int64_t each, tile_action *action)
{
  actnn_tile_work work = {job->codec, job->block, each / tiles, each % tiles, job->reads_bfloat, job->writes_bfloat, job->making};
  action(job, each, &work);
}

/* Small values are not worth waking threads for. They get a plain loop, since a parallel region of another number of
 * threads than the last one has allocates. */
static bool
is_small(const actnn *trainer, const actnn_codec *codec)
{
  return trainer->threads <= 1 || codec->samples * codec->rows * ACTNN_LANES <= 16384;
}

void
saves_run_tiles(const actnn *trainer, const tile_job *job, tile_action *action)
{
  int64_t tiles = actnn_codec_tiles(job->codec), all = job->codec->samples * tiles;
  if (is_small(trainer, job->codec)) {
    for (int64_t each = 0; each < all; each++)
      run_tile(job, tiles, each, action);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(trainer->threads)
  for (int64_t each = 0; each < all; each++)
    run_tile(job, tiles, each, action);
}

void
saves_run_in_order(const actnn *trainer, const tile_job *job, tile_action *action)
{
  const actnn_codec *codec = job->codec;
  int64_t tiles = actnn_codec_tiles(codec), all = codec->samples * codec->runs;
  if (is_small(trainer, codec)) {
    for (int64_t each = 0; each < codec->samples * tiles; each++)
      run_tile(job, tiles, each, action);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(trainer->threads)
  for (int64_t run = 0; run < all; run++)
    for (int64_t i = 0; i < codec->run_tiles; i++)
      run_tile(job, tiles, run * codec->run_tiles + i, action);
}

void
saves_sum_tiles(const actnn_codec *codec, const double *partial, double *sum)
{
  int64_t tiles = actnn_codec_tiles(codec);
  for (int64_t sample = 0; sample < codec->samples; sample++) {
    sum[sample] = 0;
    for (int64_t tile = 0; tile < tiles; tile++)
      sum[sample] += partial[sample * tiles + tile];
  }
}

/* ---- Calls ----------------------------------------------------------------------------------------- */

static bool
is_same(const actnn_codec *a, const actnn_codec *b)
{
  return a->rows_are == b->rows_are && a->samples == b->samples && a->channels == b->channels &&
         a->positions == b->positions; /* the rest follows */
}

int
saves_find(const actnn_call *call, const actnn_view *value, uint32_t *index)
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
  if (!state->known ||
      actnn_codec_geometry(&codec, value->dim, value->rank, value->layout, trainer->model->save[*index].spacing) ||
      !is_same(&codec, &state->codec) || !saves_may_code(value))
    return actnn_fail(trainer, "%s: the value differs from the one that was coded",
                      trainer->model->save[*index].name);
  return 0;
}
