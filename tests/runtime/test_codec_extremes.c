/* test_codec_extremes.c: NaN, infinities, denormals and the largest floats, alone, mixed, and as groups of one value, for every
 * spacing, rounding and number of levels: a group that is not finite comes back as NaN and is the only one, all others as they
 * should, and all builds make the same of it. `make check` runs it once more built with a sanitizer of undefined behaviour. */
#include "codec_cases.h"
#include "tap.h"

static const float extremes[] = {NAN,          INFINITY,      -INFINITY,        FLT_MAX, -FLT_MAX,     FLT_TRUE_MIN,
                                 -FLT_TRUE_MIN, FLT_MIN,      -FLT_MIN / 2,     0.0f,    -0.0f,        0x1.fffffep126f,
                                 0x1p-111f,    -0x1p-88f,     1.0f,             -1e30f,  0x1.fep127f,  -0x1.fffffep127f};
enum { EXTREMES = sizeof extremes / sizeof *extremes, FIRST_FINITE = 3, MIXES = 6, FILLS = 2 * EXTREMES + MIXES };

static const shape shapes[] = {
    {"long channels, some lanes empty", ACTNN_BLOCKED, 3, {1, 21, 140}}, {"short channels joined", ACTNN_BLOCKED, 4, {1, 40, 7, 7}},
    {"one position", ACTNN_BLOCKED, 4, {2, 40, 1, 1}},                   {"features last", ACTNN_PLAIN, 3, {1, 130, 16}},
    {"flat, odd", ACTNN_PLAIN, 2, {2, 259}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Element number `index` of a value filled in way `fill`: one extreme value among ordinary ones; nothing but one; a mix of all, of
 * finite ones alone, and of finite ones that are not negative. */
static float
filled(int fill, size_t index, float ordinary)
{
  actnn_philox_block counter = {{(uint32_t)index, (uint32_t)fill, 7, 0}};
  uint32_t bits = actnn_philox(counter, (actnn_philox_key){{5, 6}}, 7).word[0];
  if (fill < EXTREMES)
    return index % 83 == 41 ? extremes[fill] : ordinary;
  if (fill < 2 * EXTREMES)
    return extremes[fill - EXTREMES];
  int mix = fill - 2 * EXTREMES, first = mix < 2 ? 0 : FIRST_FINITE;
  float value = extremes[first + (int)(bits % (uint32_t)(EXTREMES - first))];
  return mix % 2 && bits >> 28 ? ordinary : mix < 4 ? value : fabsf(value);
}

static void
fill_value(coded *coded, int fill)
{
  FOR_ELEMENTS(coded) {
    size_t index = (size_t)((sample * coded->codec.rows + row) * ACTNN_LANES + lane);
    coded->value[place] = filled(fill, index, element_value(sample, row, lane, &coded->code));
  }
}

/* Bit for bit; of NaN any is as good as another. */
static bool
is_same(float a, float b)
{
  return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* ---- Levels of all kinds but normal ------------------------------------------------------------------ */

typedef struct group_state {
  bool is_finite;
  float minimum, maximum;
} group_state;

/* What groups of a sample hold, by the number of their header. */
static group_state *
find_groups(const coded *coded, int64_t of_sample)
{
  int64_t headers = actnn_codec_tile_headers(&coded->codec), count = actnn_codec_tiles(&coded->codec) * headers;
  group_state *groups = allocate((size_t)count * sizeof *groups);
  for (int64_t i = 0; i < count; i++)
    groups[i] = (group_state){true, INFINITY, -INFINITY};
  FOR_ELEMENTS(coded) {
    group_state *group = &groups[tile_of(&coded->codec, row) * headers + (headers > 1 ? lane : 0)];
    float value = coded->value[place];
    if (sample != of_sample)
      continue;
    group->is_finite &= isfinite(value) != 0;
    group->minimum = fminf(group->minimum, value);
    group->maximum = fmaxf(group->maximum, value);
  }
  return groups;
}

/* A group that is not finite, or whose range is not, is NaN throughout; every other value is where it belongs. */
static bool
is_element_right(const coded *coded, const group_state *group, const element *element, float value, float back)
{
  const actnn_code *code = &coded->code;
  double width, low = code->spacing == ACTNN_EVEN_LEVELS ? group->minimum : 0, range = (double)group->maximum - low;
  float expected = meaning(element, code, &width);
  if (!(back == expected || (isnan(back) && isnan(expected))) || element->code >= (uint32_t)code->levels)
    return false;
  if (code->spacing == ACTNN_FIXED_LEVELS) {
    double step = (code->high - code->low) / (double)(code->levels - 1), inside = fmin(fmax(value, code->low), code->high);
    return fabs(back - inside) <= step * 1.0001;
  }
  if (!group->is_finite)
    return isnan(back);
  double steps = code->levels - (code->spacing == ACTNN_MASKED_LEVELS ? 2 : 1), half = range / steps / 2, most = FLT_MAX * 0.98;
  if (isnan(back)) /* headers are rounded outward and dither takes half a step: near the largest float that may be beyond it */
    return range > most || low + range + half > most || low - half < -most;
  if (code->spacing == ACTNN_MASKED_LEVELS && (value > 0) != (element->code > 0))
    return false;
  double meant = code->spacing == ACTNN_EVEN_LEVELS ? value : fmax(value, 0); /* those that start at zero know nothing below */
  return isfinite(back) && fabs(back - meant) <= fabs(width) * 1.0001 + fabs(meant) * 0x1p-22 + (fabs(meant) < 0x1p-88 ? FLT_TRUE_MIN : 0);
}

static bool
is_right(const coded *coded, uint64_t draw)
{
  bool right = true;
  for (int64_t of_sample = 0; of_sample < coded->codec.samples; of_sample++) {
    group_state *groups = find_groups(coded, of_sample);
    int64_t headers = actnn_codec_tile_headers(&coded->codec);
    FOR_ELEMENTS(coded) {
      if (sample != of_sample)
        continue;
      element element = read_element(coded, sample, row, lane, draw);
      const group_state *group = &groups[tile_of(&coded->codec, row) * headers + (headers > 1 ? lane : 0)];
      if (!is_element_right(coded, group, &element, coded->value[place], coded->back[place])) {
        if (right)
          printf("# %g came back as %g\n", coded->value[place], coded->back[place]);
        right = false;
      }
    }
    free(groups);
  }
  return right;
}

/* What else reads a value or its codes, for the sanitizer's sake; true while noise is no less than nothing. */
static bool
measure(const actnn_codec_kernels *kernels, const coded *coded)
{
  static double map[512];
  const actnn_affine none = {NULL, NULL, false, 0};
  double sum = 0;
  memset(map, 0, sizeof map);
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded->codec); tile++) {
      actnn_tile_work work = {&coded->codec, coded->block, sample, tile, false, false, NULL};
      sum += kernels->squares(&work, coded->value) + kernels->range(&work, coded->value, coded->code.spacing, NULL);
      kernels->squares_map(&work, coded->value, map);
      kernels->noise_map(&work, coded->stash + (uint64_t)sample * coded->bytes, &coded->code, &none, map);
    }
  return !(sum < 0) && !(map[0] < 0);
}

typedef struct outcome {
  bool same, right, bounded, counted;
} outcome;

static void
try_fill(const shape *shape, actnn_code code, int fill, outcome *outcome)
{
  coded first = make(shape, code, 16);
  fill_value(&first, fill);
  code_all(actnn_codec_kernels_named("scalar"), &first, 3, fill % 2);
  decode_all(actnn_codec_kernels_named("scalar"), &first, 3);
  bool right = is_right(&first, 3), same = true;
  for (int b = 1; b < 4; b++) { /* each build, and the scalar one in other blocks */
    const actnn_codec_kernels *kernels = actnn_codec_kernels_named(builds[b % 3]);
    if (!kernels)
      continue;
    coded other = make(shape, code, b == 3 ? 1 : b == 2 ? 8 : 16);
    fill_value(&other, fill);
    code_all(kernels, &other, 3, fill % 2);
    decode_all(kernels, &other, 3);
    same &= memcmp(first.stash, other.stash, first.bytes * (uint64_t)first.codec.samples) == 0;
    FOR_ELEMENTS(&first)
      same &= is_same(first.back[place], other.back[actnn_codec_element(&other.codec, other.block, sample, row, lane)]);
    outcome->counted &= measure(kernels, &other);
    outcome->bounded &= is_within_bounds(&other);
    discard(&other);
  }
  if (!same || !right)
    printf("# %s, %d %s levels, dither %d, fill %d: %s\n", shape->what, code.levels, spacing_names[code.spacing], code.dither, fill,
           right ? "other bytes or values" : "wrong");
  outcome->same &= same;
  outcome->right &= right;
  discard(&first);
}

static void
test_spacing(actnn_spacing spacing, bool dither)
{
  outcome outcome = {true, true, true, true};
  int levels;
  for (int choice = 0; (levels = actnn_choice_levels(choice)) > 0; choice++)
    for (int fill = 0; levels >= actnn_least_levels(spacing, false, 0) && fill < FILLS; fill++)
      try_fill(&shapes[(fill + choice) % SHAPES], (actnn_code){spacing, dither, levels, -0.17f, 1.13f}, fill, &outcome);
  const char *name = spacing_names[spacing], *how = dither ? "dithered" : "stochastic";
  ok(outcome.right, "%s levels, %s: groups that are not finite are NaN, all others as they should", name, how);
  ok(outcome.same, "%s levels, %s: the same from every build and channel block", name, how);
  ok(outcome.bounded && outcome.counted, "%s levels, %s: nothing is written beyond, no noise is less than nothing", name, how);
}

/* ---- Normal levels ------------------------------------------------------------------------------------ */

enum { CHANNELS = 48 };

/* What coding and decoding a normalized value makes, with one of the channels' numbers extreme too. */
typedef struct normal {
  coded coded;
  float number[5][CHANNELS]; /* mean, rstd, scale, bias, and what a gradient is pulled by */
  float *y, *decoded, *dx;
  actnn_normal_sums sums[CHANNELS];
} normal;

static void
choose_numbers(normal *normal, int fill)
{
  for (int which = 0; which < 5; which++)
    for (int channel = 0; channel < CHANNELS; channel++)
      normal->number[which][channel] = (which == fill % 7 ? extremes[(channel + fill) % EXTREMES] : which == 1 ? 1.5f : 0.25f)
                                       * (channel % 3 == 2 ? -1.0f : 1.0f);
  memset(normal->sums, 0, sizeof normal->sums);
}

static void
run_normal(const actnn_codec_kernels *kernels, normal *normal, bool rectified, float cap)
{
  const coded *coded = &normal->coded;
  const float(*number)[CHANNELS] = (const float(*)[CHANNELS])normal->number;
  actnn_affine affine = {number[2], number[3], rectified, cap};
  actnn_pull pull = {number[2], number[4], number[1], 100};
  actnn_tile_noise noise;
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded->codec); tile++) {
      actnn_tile_work work = {&coded->codec, coded->block, sample, tile, false, false, NULL};
      uint8_t *stash = coded->stash + (uint64_t)sample * coded->bytes;
      static double map[512];
      kernels->normalize(&work, coded->value, number[0], number[1], &affine, &coded->code, key_of(3), normal->y, stash, &noise);
      kernels->dequantize_affine(&work, stash, &coded->code, key_of(3), &affine, normal->decoded);
      kernels->normal_sums(&work, stash, &coded->code, key_of(3), &affine, coded->value, normal->sums);
      kernels->normal_pull(&work, stash, &coded->code, key_of(3), &affine, &pull, coded->value, normal->dx);
      kernels->noise_map(&work, stash, &coded->code, &affine, map);
    }
}

static normal *
make_normal(const shape *shape, actnn_code code, int block, int fill)
{
  normal *normal = allocate(sizeof *normal);
  normal->coded = make(shape, code, block);
  fill_value(&normal->coded, fill);
  choose_numbers(normal, fill);
  float **arrays[] = {&normal->y, &normal->decoded, &normal->dx};
  for (int i = 0; i < 3; i++)
    *arrays[i] = allocate(normal->coded.elements * sizeof(float));
  return normal;
}

static void
discard_normal(normal *normal)
{
  free(normal->y);
  free(normal->decoded);
  free(normal->dx);
  discard(&normal->coded);
  free(normal);
}

static bool
is_same_normal(const normal *a, const normal *b)
{
  bool same = memcmp(a->coded.stash, b->coded.stash, a->coded.bytes * (uint64_t)a->coded.codec.samples) == 0;
  FOR_ELEMENTS(&a->coded) {
    int64_t there = actnn_codec_element(&b->coded.codec, b->coded.block, sample, row, lane);
    same &= is_same(a->y[place], b->y[there]) && is_same(a->decoded[place], b->decoded[there]) && is_same(a->dx[place], b->dx[there]);
  }
  return same;
}

/* A normalized value that is not finite makes what is decoded of it NaN, whatever scale, bias and rectifier do. */
static bool
is_noticed(const normal *normal)
{
  bool noticed = true;
  FOR_ELEMENTS(&normal->coded) {
    int64_t channel = row / normal->coded.codec.positions * ACTNN_LANES + lane;
    float x = (normal->coded.value[place] - normal->number[0][channel]) * normal->number[1][channel];
    noticed &= isfinite(x) || isnan(normal->decoded[place]);
  }
  return noticed;
}

static void
test_normal(bool dither, bool rectified, float cap)
{
  bool same = true, noticed = true, bounded = true;
  int levels;
  for (int choice = 0; (levels = actnn_choice_levels(choice)) > 0; choice++)
    for (int fill = 0; levels >= actnn_least_levels(ACTNN_NORMAL_LEVELS, rectified, cap) && fill < FILLS; fill++) {
      const shape *shape = &shapes[(fill + choice) % 3];
      actnn_code code = {ACTNN_NORMAL_LEVELS, dither, levels, 0, 0};
      normal *first = make_normal(shape, code, 16, fill);
      run_normal(actnn_codec_kernels_named("scalar"), first, rectified, cap);
      noticed &= is_noticed(first);
      for (int b = 1; b < 4; b++) {
        const actnn_codec_kernels *kernels = actnn_codec_kernels_named(builds[b % 3]);
        normal *other = make_normal(shape, code, b == 3 ? 1 : b == 2 ? 8 : 16, fill);
        if (kernels) {
          run_normal(kernels, other, rectified, cap);
          same &= is_same_normal(first, other);
          bounded &= is_within_bounds(&other->coded) && is_margin_intact(other->dx, other->coded.elements * sizeof(float));
        }
        discard_normal(other);
      }
      discard_normal(first);
    }
  const char *how = dither ? "dithered" : "stochastic", *rest = cap > 0 ? ", capped" : rectified ? ", rectified" : "";
  ok(noticed, "normal levels, %s%s: what is not finite decodes as NaN", how, rest);
  ok(same && bounded, "normal levels, %s%s: the same from every build and channel block, and nothing beyond", how, rest);
}

int
main(void)
{
  for (int dither = 0; dither < 2; dither++) {
    for (int spacing = 0; spacing < ACTNN_SPACINGS; spacing++)
      if (spacing != ACTNN_NORMAL_LEVELS)
        test_spacing((actnn_spacing)spacing, dither);
    for (int rectified = 0; rectified < 2; rectified++)
      test_normal(dither, rectified, 0);
    test_normal(dither, true, 6);
  }
  return tap_done();
}
