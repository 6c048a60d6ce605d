/* saves.cu: a value coded as it is, decoded, or asked what is positive in it, on a GPU; see saves.h. How many levels each sample has is
 * decided by the processor, as for its own kernels, but where that follows from ranges (spending.cu). */
#include "kernels.h"
#include "tiles.h"

#include <stdlib.h>

/* ---- tables --------------------------------------------------------------------------------------------- */

static int64_t
larger(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

static struct gpu_saves *
tables_of(const actnn *trainer)
{
  struct device_state *state = trainer->device_state;
  if (!state->saves) {
    struct gpu_saves *saves = (struct gpu_saves *)calloc(1, sizeof *saves);
    if (saves) {
      saves->place = (sample_place **)calloc(trainer->model->save_count + 1, sizeof *saves->place);
      saves->sent = (sample_place **)calloc(trainer->model->save_count + 1, sizeof *saves->sent);
      saves->choice = (uint8_t **)calloc(trainer->model->save_count + 1, sizeof *saves->choice);
    }
    state->saves = saves;
  }
  return state->saves && state->saves->place && state->saves->sent && state->saves->choice ? state->saves : NULL;
}

int
gpu_saves_note(const actnn_call *call, uint32_t index)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = tables_of(trainer);
  const actnn_codec *codec = &trainer->saves->save[index].codec;
  if (!saves)
    return actnn_fail(trainer, "out of memory");
  int64_t tiles = codec->samples * actnn_codec_tiles(codec);
  bool is_normal = trainer->model->save[index].spacing == ACTNN_NORMAL_LEVELS;
  saves->most_tiles = larger(saves->most_tiles, tiles);
  saves->most_samples = larger(saves->most_samples, codec->samples);
  if (saves_go_by_range(trainer, index) && codec->lane_groups)
    saves->most_ranges = larger(saves->most_ranges, tiles);
  if (is_normal)
    saves->most_normal = larger(saves->most_normal, (codec->samples + 1) * codec->channels);
  if (gpu_note_key_of_save(trainer, index))
    return 1;
  if (saves->place[index])
    return 0;
  size_t bytes = (size_t)(codec->samples + 1) * sizeof(sample_place);
  saves->place[index] = (sample_place *)gpu_reserve(trainer, bytes, "the places of samples");
  saves->sent[index] = (sample_place *)calloc(1, bytes);
  if (saves->place[index] && !saves->sent[index])
    return actnn_fail(trainer, "out of memory");
  if (saves_go_by_range(trainer, index))
    saves->choice[index] = (uint8_t *)gpu_reserve(trainer, (uint64_t)codec->samples, "the levels of samples");
  return !saves->place[index] || (saves_go_by_range(trainer, index) && !saves->choice[index]);
}

int
gpu_saves_note_map(const actnn_call *call, int64_t count)
{
  struct gpu_saves *saves = tables_of(call->trainer);
  if (!saves)
    return actnn_fail(call->trainer, "out of memory");
  saves->most_map = larger(saves->most_map, count);
  return 0;
}

/* Reserves `count` elements there unless there are none; 1 with a message. */
template <typename Element>
static int
reserve_elements(actnn *trainer, Element **elements, int64_t count)
{
  if (count)
    *elements = (Element *)gpu_reserve(trainer, (uint64_t)count * sizeof(Element), "sums over coded values");
  return count && !*elements;
}

int
gpu_prepare_saves(actnn *trainer)
{
  struct gpu_saves *saves = trainer->device_state->saves;
  return saves && (reserve_elements(trainer, &saves->tile_sum, saves->most_tiles * MOST_SUMS) ||
                   reserve_elements(trainer, &saves->sample_sum, saves->most_samples * MOST_SUMS) ||
                   reserve_elements(trainer, &saves->sample_range, saves->most_samples) ||
                   reserve_elements(trainer, &saves->range, saves->most_ranges) ||
                   reserve_elements(trainer, &saves->normal, saves->most_normal) ||
                   reserve_elements(trainer, &saves->map, saves->most_map));
}

void
gpu_close_saves(actnn *trainer)
{
  struct gpu_saves *saves = trainer->device_state->saves;
  if (!saves)
    return;
  for (uint32_t i = 0; saves->place && saves->sent && saves->choice && i < trainer->model->save_count; i++) {
    gpu_release(saves->place[i]);
    gpu_release(saves->choice[i]);
    free(saves->sent[i]);
  }
  gpu_release(saves->tile_sum);
  gpu_release(saves->sample_sum);
  gpu_release(saves->sample_range);
  gpu_release(saves->range);
  gpu_release(saves->normal);
  gpu_release(saves->map);
  free(saves->place);
  free(saves->sent);
  free(saves->choice);
  free(saves);
  trainer->device_state->saves = NULL;
}

/* ---- jobs --------------------------------------------------------------------------------------------------- */

/* Samples' places change only when bytes have moved between them. */
static int
send_places(const actnn_call *call, uint32_t index)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = trainer->device_state->saves;
  const save_state *state = &trainer->saves->save[index];
  sample_place *sent = saves->sent[index];
  bool is_changed = false;
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    sample_place now = {trainer->saves->offset[sample], state->levels[state->choice[sample]]};
    is_changed |= now.offset != sent[sample].offset || now.levels != sent[sample].levels;
    sent[sample] = now;
  }
  return is_changed && gpu_check(trainer,
                                 cudaMemcpyAsync(saves->place[index], sent, (size_t)state->codec.samples * sizeof *sent,
                                                 cudaMemcpyHostToDevice, stream_of(trainer)),
                                 "the places of samples");
}

int
gpu_saves_job(const actnn_call *call, uint32_t index, const actnn_view *value, tiles_job *job)
{
  actnn *trainer = call->trainer;
  tile_job here = saves_job(trainer, index, value->data);
  memset(job, 0, sizeof *job);
  job->codec = trainer->saves->save[index].codec;
  job->block = (int)gpu_block_of(trainer, value);
  job->stash = trainer->device_arena + trainer->model->stash_offset + trainer->saves->save[index].place;
  job->place = trainer->device_state->saves->place[index];
  job->code = here.code;
  job->key = gpu_key_of_save(trainer, index);
  return !saves_go_by_range(trainer, index) && send_places(call, index); /* those were found there */
}

bool
gpu_saves_wants_noise(const actnn *trainer)
{
  return saves_measure_at(trainer) || trainer->saves->count_noise;
}

/* A thread for each sample and number. */
KERNEL
sum_tiles(const double *of_tile, int64_t tiles, int64_t samples, int numbers, double *of_sample)
{
  int64_t i = thread_number(), sample = i / numbers;
  double sum = 0;
  if (sample >= samples)
    return;
  for (int64_t tile = 0; tile < tiles; tile++)
    sum += of_tile[(sample * tiles + tile) * numbers + i % numbers];
  of_sample[i] = sum;
}

int
gpu_saves_sum(const actnn_call *call, const actnn_codec *codec, int numbers)
{
  struct gpu_saves *saves = call->trainer->device_state->saves;
  return LAUNCH(call, sum_tiles, codec->samples * numbers, saves->tile_sum, actnn_codec_tiles(codec), codec->samples, numbers,
                saves->sample_sum);
}

int
gpu_saves_fetch_sums(const actnn_call *call, const actnn_codec *codec, int numbers, double *to)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = trainer->device_state->saves;
  int64_t count = codec->samples * numbers;
  if (gpu_saves_sum(call, codec, numbers))
    return 1;
  return count && (gpu_check(trainer,
                             cudaMemcpyAsync(to, saves->sample_sum, (size_t)count * sizeof *to, cudaMemcpyDeviceToHost, stream_of(trainer)),
                             "sums over coded values") ||
                   gpu_check(trainer, cudaStreamSynchronize(stream_of(trainer)), "sums over coded values"));
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

/* What stands in for a tile's missing elements: a value that leaves its group's range as it is. */
static __device__ float
padding_of(const tiles_job &job, const tile_part &part, const Floats &value)
{
  int64_t at = actnn_codec_element(&job.codec, job.block, part.sample, part.tile.first_row, job.codec.lane_groups ? part.lane : 0);
  return part.active && at >= 0 ? value[at] : 0;
}

/* A thread's own values of a tile. */
static __device__ own_range
load_own(const tiles_job &job, const tile_part &part, const Floats &value, float *own)
{
  own_range range = empty_range();
  load_own_rows(job, part, value, padding_of(job, part, value), own);
  for_own_rows(job, part, [&](int k, int, row_place) { widen_by(range, own[k]); });
  return range;
}

/* Sums of elements * (maximum - minimum)^2 over groups, of masked levels positive elements * maximum^2. */
TILE_KERNEL
find_ranges(tiles_job job, Floats value, actnn_tile_range *found, double *sum)
{
  SHARED range_room room;
  tile_part part = part_of(job);
  float padding = padding_of(job, part, value);
  bool counts_positives = job.code.spacing == ACTNN_MASKED_LEVELS;
  own_range range = empty_range();
  int count = 0;
  float own[OWN_ROWS];
  load_own_rows(job, part, value, padding, own);
  for_own_rows(job, part, [&](int k, int, row_place place) {
    widen_by(range, own[k]);
    count += place.exists && (!counts_positives || own[k] > 0);
  });
  range = join_ranges(part, !job.codec.lane_groups, range, room);
  double width = (double)range.maximum - (counts_positives ? 0 : range.minimum);
  double all = team_sum(part, count > 0 && range.magnitude < 0x7f800000u ? width * width * count : 0.0);
  if (part.active && part.thread == 0)
    sum[part.each] = all;
  if (part.active && found && part.thread < ACTNN_LANES) {
    found[part.each].minimum[part.lane] = range.minimum;
    found[part.each].maximum[part.lane] = range.maximum;
    found[part.each].magnitude[part.lane] = range.magnitude;
  }
}

/* The variance that rounding adds to one value; without `exact`, as if places between levels were equally likely. */
static __device__ double
noise_of(const actnn_code &code, const actnn_group &group, float value, bool exact)
{
  double step = group.step;
  if (code.spacing != ACTNN_SQUARE_LEVELS && (code.dither || !exact))
    return (code.spacing == ACTNN_MASKED_LEVELS && !(value > 0)) || (code.dither && group.dither == 0) ? 0
                                                                                                 : step * step / (code.dither ? 12 : 6);
  double place = (double)(value - group.base) * group.scale * 0x1p-16, low = floor(place), high = low + 1;
  if (!(place > 0 && place < (double)actnn_codec_top(&code)))
    return 0;
  if (code.spacing == ACTNN_SQUARE_LEVELS) {
    double level = floor(sqrt(place));
    low = level * level;
    high = (level + 1) * (level + 1);
  }
  return (place - low) * (high - place) * step * step;
}

template <actnn_spacing Spacing>
static __device__ uint32_t
code_of(const actnn_group &group, float top, float value, uint32_t draw)
{
  switch (Spacing) {
  case ACTNN_MASKED_LEVELS: return value > 0 ? 1 + actnn_codec_code(value, 0, group.scale, top, draw) : 0;
  case ACTNN_SQUARE_LEVELS: return actnn_codec_square_code(value, group.scale, ACTNN_TIMES(top, 65536.0f), draw);
  default: return actnn_codec_code(value, group.base, group.scale, top, draw);
  }
}

/* known: what find_ranges found; NULL: nothing. noise: of each tile; not written without WithNoise. Spacing: even for fixed levels, too. */
template <actnn_spacing Spacing, bool WithNoise>
TILE_KERNEL
quantize(tiles_job job, Floats value, const actnn_tile_range *known, bool exact, double *noise)
{
  SHARED range_room room;
  SHARED uint32_t codes[CODES_OF_A_BLOCK / 4];
  tile_part part = part_of(job);
  uint32_t *team_codes = codes + part.team * (CODES_OF_A_BLOCK / 4 / (BLOCK_THREADS / part.team_threads));
  uint8_t *own_codes = (uint8_t *)team_codes;
  float own[OWN_ROWS], top = actnn_codec_top(&part.code);
  own_range range = load_own(job, part, value, own);
  if (known) {
    range.minimum = known[part.each].minimum[part.lane];
    range.maximum = known[part.each].maximum[part.lane];
    range.magnitude = known[part.each].magnitude[part.lane];
  } else {
    range = join_ranges(part, !job.codec.lane_groups, range, room);
  }
  actnn_header header = actnn_codec_header_of(&part.code, range.minimum, range.maximum, range.magnitude < 0x7f800000u);
  write_header(job, part, header);
  actnn_group group = actnn_codec_group_of(&part.code, header);
  own_draws draws = draw_own(job, part);
  double sum = 0;
  for_own_rows(job, part, [&](int k, int row, row_place place) {
    own_codes[row * ACTNN_LANES + part.lane] = (uint8_t)code_of<Spacing>(group, top, own[k], draw_of(draws, k));
    if (WithNoise && place.exists)
      sum += noise_of(part.code, group, own[k], exact);
  });
  __syncthreads();
  pack_tile(job, part, team_codes);
  if (!WithNoise)
    return;
  sum = team_sum(part, sum);
  if (part.active && part.thread == 0)
    noise[part.each] = sum;
}

template <actnn_spacing Spacing>
static __device__ float
value_of(const actnn_group &group, uint32_t level, uint32_t draw)
{
  if (Spacing == ACTNN_MASKED_LEVELS)
    return level ? actnn_codec_value(level - 1, group.base, group.step, group.dither, draw) : group.base;
  if (Spacing == ACTNN_SQUARE_LEVELS)
    level *= level;
  return actnn_codec_value(level, group.base, group.step, group.dither, draw);
}

template <actnn_spacing Spacing>
TILE_KERNEL
dequantize(tiles_job job, Floats value)
{
  SHARED uint32_t room[CODES_OF_A_BLOCK / 4];
  tile_part part = part_of(job);
  const uint8_t *codes = load_codes(job, part, room);
  actnn_group group = actnn_codec_group_of(&part.code, read_header(job, part));
  own_draws draws = draw_own(job, part);
  for_own_rows(job, part, [&](int k, int row, row_place place) {
    uint32_t draw = part.code.dither ? draw_of(draws, k) : 0;
    store_element(value, place, value_of<Spacing>(group, codes[row * ACTNN_LANES + part.lane], draw));
  });
}

/* dx may be dy. */
TILE_KERNEL
select_coded(tiles_job job, Floats dy, Floats dx)
{
  SHARED uint32_t room[CODES_OF_A_BLOCK / 4];
  tile_part part = part_of(job);
  const uint8_t *codes = load_codes(job, part, room);
  float gradient[OWN_ROWS];
  load_own_rows(job, part, dy, 0, gradient);
  for_own_rows(job, part, [&](int k, int row, row_place place) {
    store_element(dx, place, codes[row * ACTNN_LANES + part.lane] ? gradient[k] : 0);
  });
}

/* ---- calls --------------------------------------------------------------------------------------------------------- */

/* run(a type whose value is the spacing), even for all that are coded as even levels are. */
template <actnn_spacing Spacing>
struct known_spacing {
  static constexpr actnn_spacing value = Spacing;
};

template <typename Run>
static int
with_spacing(actnn_spacing spacing, Run run)
{
  switch (spacing) {
  case ACTNN_MASKED_LEVELS: return run(known_spacing<ACTNN_MASKED_LEVELS>());
  case ACTNN_SQUARE_LEVELS: return run(known_spacing<ACTNN_SQUARE_LEVELS>());
  default: return run(known_spacing<ACTNN_EVEN_LEVELS>());
  }
}

/* Ranges of the samples, and of tiles, for the coding. */
static int
find_sample_ranges(const actnn_call *call, uint32_t index, const actnn_view *value)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = trainer->device_state->saves;
  save_state *state = &trainer->saves->save[index];
  tiles_job job;
  memset(&job, 0, sizeof job);
  job.codec = state->codec;
  job.block = (int)gpu_block_of(trainer, value);
  job.code.spacing = trainer->model->save[index].spacing;
  return LAUNCH_BLOCKS(call, find_ranges, blocks_of_tiles(job.codec), job, floats_of(value),
                       job.codec.lane_groups ? saves->range : (actnn_tile_range *)NULL, saves->tile_sum) ||
         gpu_saves_sum(call, &state->codec, 1);
}

/* What was decided there, and by what, for a step whose gradients are looked at. */
static int
fetch_choices(const actnn_call *call, uint32_t index)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = trainer->device_state->saves;
  save_state *state = &trainer->saves->save[index];
  size_t samples = (size_t)state->codec.samples, range_bytes = samples * sizeof *state->range;
  cudaStream_t stream = stream_of(trainer);
  if (gpu_check(trainer, cudaMemcpyAsync(state->choice, saves->choice[index], samples, cudaMemcpyDeviceToHost, stream), "levels") ||
      gpu_check(trainer, cudaMemcpyAsync(state->range, saves->sample_sum, range_bytes, cudaMemcpyDeviceToHost, stream), "ranges") ||
      gpu_check(trainer, cudaStreamSynchronize(stream), "levels"))
    return 1;
  saves_note_choices(trainer, index);
  return 0;
}

/* The levels of the samples: as for the processor's own kernels, or, by ranges, there; nobody waits but where choices are to be known. */
static int
decide(const actnn_call *call, uint32_t index, const actnn_view *value)
{
  actnn *trainer = call->trainer;
  if (!saves_go_by_range(trainer, index))
    return saves_decide(trainer, index);
  if (saves_decide_elsewhere(trainer, index) || find_sample_ranges(call, index, value) || gpu_spend(call, index))
    return 1;
  return saves_look_at_choices(trainer) && fetch_choices(call, index);
}

static int
fetch_noise(const actnn_call *call, uint32_t index)
{
  save_state *state = &call->trainer->saves->save[index];
  double *sum = state->sum;
  if (gpu_saves_fetch_sums(call, &state->codec, 1, sum))
    return 1;
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    memset(&state->noise[sample], 0, sizeof state->noise[sample]);
    state->noise[sample].above = sum[sample];
  }
  return 0;
}

extern "C" int
gpu_QuantizeOnSave(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *value = &call->input[0];
  uint32_t index = 0;
  if (saves_find(call, actnn_is_preparing(call) ? NULL : value, &index))
    return 1;
  if (actnn_is_preparing(call))
    return saves_get_to_know(trainer, index, value, actnn_affine()) || gpu_saves_note(call, index);
  bool by_range = saves_go_by_range(trainer, index);
  tiles_job job;
  if (decide(call, index, value) || gpu_saves_job(call, index, value, &job))
    return 1;
  struct gpu_saves *saves = trainer->device_state->saves;
  double *noise = gpu_saves_wants_noise(trainer) ? saves->tile_sum : NULL;
  const actnn_tile_range *known = by_range && job.codec.lane_groups ? saves->range : NULL;
  bool exact = saves_job(trainer, index, NULL).exact_noise;
  int failed = with_spacing(job.code.spacing, [&](auto spacing) {
    constexpr actnn_spacing Spacing = decltype(spacing)::value;
    return noise ? LAUNCH_BLOCKS(call, (quantize<Spacing, true>), blocks_of_tiles(job.codec), job, floats_of(value), known, exact, noise)
                 : LAUNCH_BLOCKS(call, (quantize<Spacing, false>), blocks_of_tiles(job.codec), job, floats_of(value), known, exact, noise);
  });
  if (failed)
    return 1;
  return noise && fetch_noise(call, index);
}

/* Opens the codes that a call decodes into output 0. */
static int
open_codes(const actnn_call *call, uint32_t *index, tiles_job *job)
{
  const actnn_view *value = &call->output[0];
  return saves_find(call, value, index) || saves_open(call->trainer, *index) || gpu_saves_job(call, *index, value, job);
}

extern "C" int
gpu_DequantizeOnBackward(const actnn_call *call)
{
  uint32_t index = 0;
  tiles_job job;
  if (actnn_is_preparing(call))
    return saves_find(call, NULL, &index);
  if (open_codes(call, &index, &job))
    return 1;
  return with_spacing(job.code.spacing, [&](auto spacing) {
    return LAUNCH_BLOCKS(call, dequantize<decltype(spacing)::value>, blocks_of_tiles(job.codec), job, floats_of(&call->output[0]));
  });
}

extern "C" int
gpu_SelectCoded(const actnn_call *call)
{
  uint32_t index = 0;
  tiles_job job;
  if (actnn_is_preparing(call))
    return saves_find(call, NULL, &index);
  if (open_codes(call, &index, &job))
    return 1;
  if (job.code.spacing != ACTNN_MASKED_LEVELS)
    return actnn_fail(call->trainer, "%s: its codes do not tell what is positive", call->trainer->model->save[index].name);
  return LAUNCH_BLOCKS(call, select_coded, blocks_of_tiles(job.codec), job, floats_of(&call->input[0]), floats_of(&call->output[0]));
}

extern "C" int gpu_Affine(const actnn_call *call);
extern "C" int gpu_Mul(const actnn_call *call);

/* Decoded, then scale and b along the last axes, in place. */
extern "C" int
gpu_DequantizeAffine(const actnn_call *call)
{
  actnn_call decode = *call, apply = *call;
  bool has_bias = call->input_count > 2 && call->input[2].data;
  actnn_view operand[3] = {call->output[0], call->input[1], call->input[has_bias ? 2 : 0]};
  decode.input_count = 1;
  apply.input = operand;
  apply.input_count = has_bias ? 3 : 2;
  apply.attribute_count = 0;
  if (gpu_DequantizeOnBackward(&decode))
    return 1;
  return has_bias ? gpu_Affine(&apply) : gpu_Mul(&apply);
}
