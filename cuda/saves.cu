/* saves.cu: a value coded as it is, decoded, or asked what is positive in it, on a GPU; see saves.h. How many levels each sample has is
 * decided by the processor, as for its own kernels, but where that follows from ranges (spending.cu). */
#include "kernels.h"
#include "sums.h"
#include "tiles.h"

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

/* What becomes of a decoded element by its place: nothing, or what scale and b make of it. */
struct as_decoded {
  __device__ float operator()(float value, int64_t) const { return value; }
};

/* Broadcast along the other axes of the value. */
typedef struct Along {
  const float *data; /* NULL: there is none */
  Axes axes;
  __device__ float operator[](int64_t at) const
  {
    int64_t place;
    offset_over(axes, at, &place);
    return data[place];
  }
} Along;

struct affine_along {
  Along scale, b;
  __device__ float operator()(float value, int64_t at) const { return b.data ? value * scale[at] + b[at] : value * scale[at]; }
};

template <actnn_spacing Spacing, typename Finish>
TILE_KERNEL
dequantize(tiles_job job, Floats value, Finish finish)
{
  SHARED uint32_t room[CODES_OF_A_BLOCK / 4];
  tile_part part = part_of(job);
  const uint8_t *codes = load_codes(job, part, room);
  actnn_group group = actnn_codec_group_of(&part.code, read_header(job, part));
  own_draws draws = draw_own(job, part);
  for_own_rows(job, part, [&](int k, int row, row_place place) {
    uint32_t draw = part.code.dither ? draw_of(draws, k) : 0;
    float decoded = value_of<Spacing>(group, codes[row * ACTNN_LANES + part.lane], draw);
    store_element(value, place, place.exists ? finish(decoded, place.at) : 0);
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

template <typename Finish>
static int
decode(const actnn_call *call, Finish finish)
{
  uint32_t index = 0;
  tiles_job job;
  if (actnn_is_preparing(call))
    return saves_find(call, NULL, &index);
  if (open_codes(call, &index, &job))
    return 1;
  return with_spacing(job.code.spacing, [&](auto spacing) {
    constexpr actnn_spacing Spacing = decltype(spacing)::value;
    return LAUNCH_BLOCKS(call, (dequantize<Spacing, Finish>), blocks_of_tiles(job.codec), job, floats_of(&call->output[0]), finish);
  });
}

extern "C" int
gpu_DequantizeOnBackward(const actnn_call *call)
{
  return decode(call, as_decoded());
}

static Along
along(const actnn_view *value, const actnn_view *view)
{
  bool is_folded[ACTNN_MAX_RANK];
  FoldPlan plan;
  Along operand;
  memset(&plan, 0, sizeof plan);
  memset(&operand, 0, sizeof operand);
  if (!view)
    return operand;
  mark_broadcast_axes(value, view, is_folded);
  fold_plain(&plan, value, is_folded);
  operand.data = (const float *)view->data;
  operand.axes = axes_of(plan.axis, plan.count);
  return operand;
}

extern "C" int
gpu_DequantizeAffine(const actnn_call *call)
{
  const actnn_view *value = &call->output[0];
  affine_along finish = {along(value, &call->input[1]), along(value, optional_input(call, 2))};
  return decode(call, finish);
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
