/* saves.cu: a value coded as it is, or as rows that are made of it, on a GPU; see saves.h. How many levels each sample has is decided by the
 * processor, as for its own kernels, but where that follows from ranges (spending.cu). */
#include "kernels.h"
#include "saves_tables.h"
#include "tile_codes.h"

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

/* What is coded: a value as it lies in memory, */
typedef struct Lying {
  Floats value;
  __device__ float at(int64_t place) const { return value[place]; }
  __device__ void make(const tiles_job &, const tile_part &, own_values &) const {}
} Lying;

/* or the normalized rows of one, which nobody writes: (x - mean) * rstd, or x * rstd. */
typedef struct Normalized {
  Floats value;
  const float *mean, *rstd; /* mean: NULL where it is zero */
  Divisor each;             /* elements that share these */
  bool by_fours;            /* four side by side do */

  __device__ float mean_of(int64_t number) const { return mean ? mean[number] : 0; }
  __device__ float at(int64_t place) const
  {
    int64_t number = quotient(place, each);
    return (value[place] - mean_of(number)) * rstd[number];
  }
  __device__ void make(const tiles_job &job, const tile_part &part, own_values &own) const
  {
    for_own_runs(job, part, [&](const row_run &run, uint32_t rows) {
      for_rows(rows, [&](int k) {
        int64_t number = quotient(place_of(job, run, k, 0), each);
        UNROLLED
        for (int j = 0; j < FOUR; j++) {
          if (j >= run.lanes)
            continue;
          if (j > 0 && !by_fours)
            number = quotient(place_of(job, run, k, j), each);
          own.of[k][j] = (own.of[k][j] - mean_of(number)) * rstd[number];
        }
      });
    });
  }
} Normalized;

/* A thread's own values. What stands in for missing elements leaves its group's range as it is. */
template <typename Source>
static __device__ own_values
load_values(const tiles_job &job, const tile_part &part, const Source &source)
{
  own_values own = load_own(job, part, source.value, [&](float *padding) {
    const row_run first = run_at(job, part, 0);
    UNROLLED
    for (int j = 0; j < FOUR; j++) {
      int lane = job.codec.lane_groups ? j : -part.four * FOUR; /* of a group that is shared: the first */
      padding[j] = lane < first.lanes ? source.at(place_of(job, first, 0, lane)) : 0;
    }
  });
  source.make(job, part, own);
  return own;
}

/* Sums of elements * (maximum - minimum)^2 over groups, of masked levels positive elements * maximum^2. */
template <typename Source>
TILE_KERNEL
find_ranges(tiles_job job, Source source, actnn_tile_range *found, double *sum)
{
  SHARED range_room room;
  tile_part part = part_of(job);
  bool counts_positives = job.code.spacing == ACTNN_MASKED_LEVELS;
  const own_values own = load_values(job, part, source);
  own_range range[FOUR];
  int count[FOUR] = {0, 0, 0, 0};
  find_own_ranges(part, own, range);
  for_elements(own_rows(part), [&](int k, int j) { count[j] += exists(own, k, j) && (!counts_positives || own.of[k][j] > 0); });
  if (job.codec.lane_groups) {
    gather_ranges(range, room);
    UNROLLED
    for (int j = 0; j < FOUR; j++)
      range[j] = range_of_lane(part, room, part.four * FOUR + j);
  } else {
    range[0] = range[1] = range[2] = range[3] = range_of_team(range);
  }
  double all = 0;
  UNROLLED
  for (int j = 0; j < FOUR; j++) {
    double width = (double)range[j].maximum - (counts_positives ? 0 : range[j].minimum);
    all += count[j] > 0 && is_finite(range[j]) ? width * width * count[j] : 0.0;
  }
  all = team_sum(part, all);
  if (part.active && part.thread == 0)
    sum[part.each] = all;
  if (part.active && found && part.thread < FOURS) { /* lanes are groups then */
    actnn_tile_range *to = &found[part.each];
    UNROLLED
    for (int j = 0; j < FOUR; j++) {
      int lane = part.four * FOUR + j;
      to->minimum[lane] = range[j].minimum;
      to->maximum[lane] = range[j].maximum;
      to->magnitude[lane] = is_finite(range[j]) ? 0 : 0x7f800000u;
    }
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

/* Where rows share a group all have the first lane's. */
typedef struct own_groups {
  actnn_group lane[FOUR];
} own_groups;

typedef struct group_room {
  range_room range;
  actnn_group group[WHOLE_TEAMS][ACTNN_LANES];
} group_room;

static __device__ actnn_group
make_group(const tiles_job &job, const tile_part &part, int lane, const own_range &range)
{
  actnn_header header = actnn_codec_header_of(&part.code, range.minimum, range.maximum, is_finite(range));
  if (makes_header(job, part))
    write_header(job, part, lane, header);
  return actnn_codec_group_of(&part.code, header);
}

/* Finds and writes the headers of a tile. known: what find_ranges found, where lanes are groups; NULL: nothing. */
static __device__ own_groups
make_groups(const tiles_job &job, const tile_part &part, const own_values &own, const actnn_tile_range *known, group_room &room)
{
  own_groups groups;
  own_range range[FOUR];
  if (!known)
    find_own_ranges(part, own, range);
  if (!job.codec.lane_groups) {
    groups.lane[0] = make_group(job, part, 0, range_of_team(range));
    for (int j = 1; j < FOUR; j++)
      groups.lane[j] = groups.lane[0];
    return groups;
  }
  if (!known)
    gather_ranges(range, room.range);
  if (makes_header(job, part)) {
    int lane = part.thread;
    const actnn_tile_range *found = known + part.each;
    own_range of_lane = known ? own_range{found->minimum[lane], found->maximum[lane], found->magnitude[lane] < 0x7f800000u ? 0 : NAN}
                              : range_of_lane(part, room.range, lane);
    room.group[part.team][lane] = make_group(job, part, lane, of_lane);
  }
  __syncthreads();
  for (int j = 0; j < FOUR; j++)
    groups.lane[j] = room.group[part.team][part.four * FOUR + j];
  return groups;
}

/* noise: of each tile; not written without WithNoise. Spacing: even for fixed levels, too. */
template <actnn_spacing Spacing, bool WithNoise, typename Source>
TILE_KERNEL
quantize(tiles_job job, Source source, const actnn_tile_range *known, bool exact, double *noise)
{
  SHARED group_room room;
  SHARED code_room codes;
  tile_part part = part_of(job);
  const own_values own = load_values(job, part, source);
  const own_groups groups = make_groups(job, part, own, known, room);
  const actnn_philox_key key = key_now(job.key);
  float top = actnn_codec_top(&part.code);
  own_codes made = no_codes();
  UNROLLED
  for (int j = 0; j < FOUR; j++) {
    const actnn_philox_block draws = draw_lane(part, key, j);
    for_rows(ALL_ROWS, [&](int k) { set_code(made, k, j, code_of<Spacing>(groups.lane[j], top, own.of[k][j], draw_of(draws, k))); });
  }
  pack_tile(part, made, codes);
  if (!WithNoise)
    return;
  double sum = 0;
  UNROLLED
  for (int j = 0; j < FOUR; j++)
    for_rows(ALL_ROWS, [&](int k) { sum += exists(own, k, j) ? noise_of(part.code, groups.lane[j], own.of[k][j], exact) : 0; });
  sum = team_sum(part, sum);
  if (part.active && part.thread == 0)
    noise[part.each] = sum;
}

/* ---- calls --------------------------------------------------------------------------------------------------------- */

/* Ranges of the samples, and of tiles, for the coding. */
template <typename Source>
static int
find_sample_ranges(const actnn_call *call, uint32_t index, const Source &source)
{
  actnn *trainer = call->trainer;
  struct gpu_saves *saves = trainer->device_state->saves;
  save_state *state = &trainer->saves->save[index];
  tiles_job job = gpu_plain_job(trainer, &state->codec, &call->input[0]);
  job.code.spacing = trainer->model->save[index].spacing;
  return LAUNCH_BLOCKS(call, (find_ranges<Source>), blocks_of_tiles(job.codec), job, source,
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
template <typename Source>
static int
decide(const actnn_call *call, uint32_t index, const Source &source)
{
  actnn *trainer = call->trainer;
  if (!saves_go_by_range(trainer, index))
    return saves_decide(trainer, index);
  if (saves_decide_elsewhere(trainer, index) || find_sample_ranges(call, index, source) || gpu_spend(call, index))
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

static int
launch_quantize(const actnn_call *call, const Lying &source, const tiles_job &job, const actnn_tile_range *known, bool exact, double *noise)
{
  return with_spacing(job.code.spacing, [&](auto spacing) {
    constexpr actnn_spacing Spacing = decltype(spacing)::value;
    return noise ? LAUNCH_BLOCKS(call, (quantize<Spacing, true, Lying>), blocks_of_tiles(job.codec), job, source, known, exact, noise)
                 : LAUNCH_BLOCKS(call, (quantize<Spacing, false, Lying>), blocks_of_tiles(job.codec), job, source, known, exact, noise);
  });
}

/* Normalized rows have both signs: no levels start at zero. */
static int
launch_quantize(const actnn_call *call, const Normalized &source, const tiles_job &job, const actnn_tile_range *known, bool exact, double *noise)
{
  constexpr actnn_spacing Spacing = ACTNN_EVEN_LEVELS;
  return noise ? LAUNCH_BLOCKS(call, (quantize<Spacing, true, Normalized>), blocks_of_tiles(job.codec), job, source, known, exact, noise)
               : LAUNCH_BLOCKS(call, (quantize<Spacing, false, Normalized>), blocks_of_tiles(job.codec), job, source, known, exact, noise);
}

template <typename Source>
static int
code_source(const actnn_call *call, uint32_t index, const Source &source)
{
  actnn *trainer = call->trainer;
  tiles_job job;
  if (decide(call, index, source) || gpu_saves_job(call, index, &call->input[0], &job))
    return 1;
  struct gpu_saves *saves = trainer->device_state->saves;
  double *noise = gpu_saves_wants_noise(trainer) ? saves->tile_sum : NULL;
  const actnn_tile_range *known = saves_go_by_range(trainer, index) && job.codec.lane_groups ? saves->range : NULL;
  bool exact = saves_job(trainer, index, NULL).exact_noise;
  if (launch_quantize(call, source, job, known, exact, noise))
    return 1;
  return noise && fetch_noise(call, index);
}

static Normalized
normalized_of(const saves_source &source)
{
  const actnn_making &making = source.making;
  Normalized normalized = {floats_of(source.value), making.others > 1 ? making.other[0] : NULL, making.other[making.others - 1],
                           divisor_of(making.each), making.each % FOUR == 0};
  return normalized;
}

extern "C" int
gpu_QuantizeOnSave(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_view *value = &call->input[0];
  uint32_t index = 0;
  saves_source source;
  if (saves_find(call, actnn_is_preparing(call) ? NULL : value, &index) || saves_find_source(call, &source))
    return 1;
  if (actnn_is_preparing(call))
    return saves_get_to_know(trainer, index, value, actnn_affine()) || gpu_saves_note(call, index);
  return source.is_made ? code_source(call, index, normalized_of(source)) : code_source(call, index, Lying{floats_of(value)});
}
