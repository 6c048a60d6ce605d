/* test_codec_noise.c: what codes are on average: the value itself, with the variance that the kernels count, whatever the
 * spacing, the rounding and the number of levels; and that codecs which are a little wrong do not pass for it. */
#include "codec_cases.h"
#include "tap.h"

enum { DRAWS = 2048 };
static const shape lanes = {"lanes", ACTNN_BLOCKED, 3, {1, 16, 133}}, flat = {"flat", ACTNN_PLAIN, 2, {1, 1600}};

/* ---- A mean held against the truth ---------------------------------------------------------------------- */

/* Draws of many numbers at once: their sums and squares of what they are off by. */
typedef struct tally {
  size_t count;
  double *sum, *squares;
} tally;

static tally
start_tally(size_t count)
{
  tally tally = {count, calloc(count, sizeof(double)), calloc(count, sizeof(double))};
  if (!tally.sum || !tally.squares)
    exit(1);
  return tally;
}

static void
note_draw(tally *tally, const float *drawn, const float *truth)
{
  for (size_t i = 0; i < tally->count; i++) {
    double error = (double)drawn[i] - truth[i];
    tally->sum[i] += error;
    tally->squares[i] += error * error;
  }
}

/* The largest of three distances, in standard errors: of the squared length of the mean error from what variance makes it, and
 * of the mean error along the constant and along the truth. The first sees a bias of few elements, the others a small one of all. */
static double
distance_from_truth(const tally *tally, const float *truth, double *variance)
{
  double length = 0, whole = 0, squares = 0, along[2] = {0}, along_variance[2] = {0}, worst = 0, size = 0;
  for (size_t i = 0; i < tally->count; i++) {
    double mean = tally->sum[i] / DRAWS, of_element = tally->squares[i] / DRAWS - mean * mean;
    const double weight[2] = {1, truth[i]};
    length += mean * mean;
    whole += of_element;
    squares += of_element * of_element;
    size += (double)truth[i] * truth[i];
    for (int k = 0; k < 2; k++) {
      along[k] += weight[k] * mean;
      along_variance[k] += weight[k] * weight[k] * of_element / DRAWS;
    }
  }
  *variance = whole;
  if (whole <= 1e-12 * size) /* no noise: then no error either */
    return length <= 1e-12 * size ? 0 : INFINITY;
  worst = (length - whole / DRAWS) / (sqrt(2 * squares) / DRAWS);
  for (int k = 0; k < 2; k++)
    worst = fmax(worst, along_variance[k] > 0 ? fabs(along[k]) / sqrt(along_variance[k]) : 0);
  return worst;
}

static void
end_tally(tally *tally)
{
  free(tally->sum);
  free(tally->squares);
}

/* ---- Codecs, right and wrong ------------------------------------------------------------------------------ */

typedef double code_function(coded *coded, uint64_t draw);

static double
code_rightly(coded *coded, uint64_t draw)
{
  double noise = code_all(actnn_codec_best_kernels(), coded, draw, true);
  decode_all(actnn_codec_best_kernels(), coded, draw);
  return noise;
}

/* Rounds to nearest with the same headers, so that all draws are the first. */
static double
code_nearest(coded *coded, uint64_t draw)
{
  if (draw > 0)
    return 0;
  double noise = code_rightly(coded, draw);
  FOR_ELEMENTS(coded) {
    element element = read_element(coded, sample, row, lane, draw);
    double at = ((double)coded->value[place] - element.group.base) / element.group.step, level = floor(at + 0.5);
    if (coded->code.spacing == ACTNN_SQUARE_LEVELS) {
      double root = floor(sqrt(at)), low = root * root, high = (root + 1) * (root + 1);
      level = at - low > high - at ? high : low;
    }
    coded->back[place] = (float)(element.group.base + level * element.group.step);
  }
  return noise;
}

/* Decodes with draws of another step: dither that is not taken off again. */
static double
code_with_other_draws(coded *coded, uint64_t draw)
{
  double noise = code_all(actnn_codec_best_kernels(), coded, draw, true);
  decode_all(actnn_codec_best_kernels(), coded, draw + 1000000);
  return noise;
}

/* Clamps what is beyond three quarters of the range, as a range that others have set would. */
static double
code_clamped(coded *coded, uint64_t draw)
{
  double noise = code_rightly(coded, draw), most = 0;
  for (size_t i = 0; i < coded->elements; i++)
    most = fmax(most, (double)coded->back[i]);
  for (size_t i = 0; i < coded->elements; i++)
    coded->back[i] = fminf(coded->back[i], (float)(0.75 * most));
  return noise;
}

/* Draws many times; how far the mean is from the truth. *ratio: the variance found against what is counted. */
static double
try_codec(code_function *code, const shape *shape, actnn_code how, double *ratio)
{
  coded coded = make(shape, how, 16);
  tally tally = start_tally(coded.elements);
  double variance, counted = 0;
  for (uint64_t draw = 0; draw < DRAWS; draw++) {
    counted += code(&coded, draw) / DRAWS;
    note_draw(&tally, coded.back, coded.value);
  }
  double distance = distance_from_truth(&tally, coded.value, &variance);
  *ratio = variance / counted;
  end_tally(&tally);
  discard(&coded);
  return distance;
}

static void
test_codings(void)
{
  for (int spacing = 0; spacing < ACTNN_NORMAL_LEVELS; spacing++)
    for (int dither = 0; dither < 2; dither++) {
      double worst = 0, off = 0, ratio;
      int levels, accepted = 0;
      for (int choice = 0; (levels = actnn_choice_levels(choice)) > 0; choice++) {
        actnn_code how = {(actnn_spacing)spacing, dither, levels, -0.17f, 1.13f};
        if (levels < actnn_least_levels(how.spacing, false, 0))
          continue;
        const shape *shape = choice % 2 ? &flat : &lanes;
        double distance = try_codec(code_rightly, shape, how, &ratio);
        if (distance > 4 || fabs(ratio - 1) > 0.01)
          printf("# %s, %d levels: %.2f standard errors, variance %.4f of what is counted\n", shape->what, levels, distance, ratio);
        worst = fmax(worst, distance);
        off = fmax(off, fabs(ratio - 1));
        accepted += try_codec(code_nearest, shape, how, &ratio) <= 4;
      }
      const char *name = spacing_names[spacing], *rounding = dither ? "dithered" : "stochastic";
      ok(worst <= 4, "%s levels, %s: the mean of %d draws is the value; off by at most %.2f standard errors", name, rounding, DRAWS, worst);
      ok(off < 0.01, "%s levels, %s: their variance is what is counted, within %.2f %%", name, rounding, off * 100);
      ok(!accepted, "%s levels, %s: rounding to nearest does not pass for unbiased at any number of levels", name, rounding);
    }
}

static void
test_wrong_codecs(void)
{
  static const actnn_code dithered = {ACTNN_EVEN_LEVELS, true, 4, 0, 0}, stochastic = {ACTNN_EVEN_LEVELS, false, 4, 0, 0};
  double ratio;
  double distance = try_codec(code_with_other_draws, &lanes, dithered, &ratio);
  ok(distance <= 4 && ratio > 1.5,
     "dither that other draws take off shows in the variance: %.2f times what is counted", ratio);
  ok(try_codec(code_clamped, &lanes, stochastic, &ratio) > 4, "clamping does not pass for unbiased");
}

/* ---- Masks ------------------------------------------------------------------------------------------------- */

/* The gradient that a rectifier lets pass, by the mask in the codes or by what the codes decode to. */
static double
try_mask(bool by_decoded_value)
{
  coded coded = make(&lanes, (actnn_code){ACTNN_MASKED_LEVELS, false, 4, 0, 0}, 16);
  tally tally = start_tally(coded.elements);
  float *dx = allocate(coded.elements * sizeof *dx), *truth = allocate(coded.elements * sizeof *truth);
  float *dy = allocate(coded.elements * sizeof *dy);
  double variance;
  for (size_t i = 0; i < coded.elements; i++) {
    dy[i] = random_normal();
    truth[i] = coded.value[i] > 0 ? dy[i] : 0;
  }
  for (uint64_t draw = 0; draw < DRAWS; draw++) {
    code_rightly(&coded, draw);
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded.codec); tile++) {
      actnn_tile_work work = {&coded.codec, 16, 0, tile, false, false, NULL};
      actnn_codec_best_kernels()->select(&work, coded.stash, &coded.code, dy, dx);
    }
    for (size_t i = 0; by_decoded_value && i < coded.elements; i++)
      dx[i] = coded.back[i] > 0 ? dy[i] : 0;
    note_draw(&tally, dx, truth);
  }
  double distance = distance_from_truth(&tally, truth, &variance);
  free(dx);
  free(dy);
  free(truth);
  end_tally(&tally);
  discard(&coded);
  return distance;
}

/* ---- Dither's errors ------------------------------------------------------------------------------------------ */

/* Of dither the error does not depend on the value: each element's has the variance step^2 / 12 and stays within half a step. */
static void
test_dither(void)
{
  coded coded = make(&lanes, (actnn_code){ACTNN_EVEN_LEVELS, true, 4, 0, 0}, 16);
  tally tally = start_tally(coded.elements);
  float *largest = calloc(coded.elements, sizeof *largest);
  double worst = 0, expected = 0, counted = 0, beyond = 0;
  if (!largest)
    exit(1);
  for (uint64_t draw = 0; draw < DRAWS; draw++) {
    counted = code_rightly(&coded, draw);
    note_draw(&tally, coded.back, coded.value);
    for (size_t i = 0; i < coded.elements; i++)
      largest[i] = fmaxf(largest[i], fabsf(coded.back[i] - coded.value[i]));
  }
  FOR_ELEMENTS(&coded) {
    double step = read_element(&coded, sample, row, lane, 0).group.step, variance = step * step / 12;
    expected += variance;
    worst = fmax(worst, fabs(tally.squares[place] / DRAWS / variance - 1));
    beyond = fmax(beyond, largest[place] / step);
  }
  /* A mean of DRAWS squares of a uniform error has a standard error of sqrt(0.8 / DRAWS), 2 %. */
  ok(worst < 0.1, "of dither every element has the same variance, whatever its value; within %.1f %%", worst * 100);
  ok(beyond > 0.49 && beyond < 0.5001, "and never errs by more than half a step");
  ok(fabs(counted / expected - 1) < 1e-9, "the variance is counted exactly");
  free(largest);
  end_tally(&tally);
  discard(&coded);
}

/* ---- Where in a sample squares and variances are ------------------------------------------------------------- */

/* The largest distance of a map from what the elements of each position sum up to, beside the largest sum. */
static double
map_distance(const double *map, const double *expected, int64_t positions)
{
  double worst = 0, most = 1e-30;
  for (int64_t i = 0; i < positions; i++) {
    worst = fmax(worst, fabs(map[i] - expected[i]));
    most = fmax(most, expected[i]);
  }
  return worst / most;
}

static void
test_maps(const shape *shape, const actnn_codec_kernels *kernels)
{
  coded coded = make(shape, (actnn_code){ACTNN_EVEN_LEVELS, true, 5, 0, 0}, kernels->name[0] == 's' ? 8 : 16);
  int64_t positions = coded.codec.positions, channels = coded.codec.channels + ACTNN_LANES;
  float *scale = allocate((size_t)channels * sizeof *scale);
  double *map = calloc((size_t)positions * 4, sizeof *map);
  if (!map)
    exit(1);
  for (int64_t i = 0; i < channels; i++)
    scale[i] = random_normal();
  const actnn_affine affine = {.scale = scale};
  code_all(kernels, &coded, 0, false);
  for (int64_t tile = 0; tile < actnn_codec_tiles(&coded.codec); tile++) {
    actnn_tile_work work = {&coded.codec, coded.block, 0, tile, false, false, NULL};
    kernels->squares_map(&work, coded.value, map);
    kernels->noise_map(&work, coded.stash, &coded.code, &affine, map + positions);
  }
  FOR_ELEMENTS(&coded) {
    double step = read_element(&coded, sample, row, lane, 0).group.step, factor = scale[row / positions * ACTNN_LANES + lane];
    if (sample > 0)
      continue;
    map[2 * positions + row % positions] += (double)coded.value[place] * coded.value[place];
    map[3 * positions + row % positions] += step * step / 12 * factor * factor;
  }
  double squares = map_distance(map, map + 2 * positions, positions), noise = map_distance(map + positions, map + 3 * positions, positions);
  ok(squares < 1e-5 && noise < 1e-5, "%s, %s: squares and variances position by position, within %.1g and %.1g", kernels->name, shape->what,
     squares, noise);
  free(map);
  free(scale);
  discard(&coded);
}

/* Values halfway between two levels, so that every draw decides alike: if any two elements shared a draw, the sum of all errors
 * would vary more than the errors by themselves do. */
static void
test_independence(bool dither)
{
  static const shape shape = {"", ACTNN_BLOCKED, 3, {2, 32, 290}};
  coded coded = make(&shape, (actnn_code){ACTNN_EVEN_LEVELS, dither, 2, 0, 0}, 16);
  double squares = 0, variance = 0;
  for (size_t i = 0; i < coded.elements; i++) {
    size_t position = i / 16 % 290 % 152; /* tiles of 152 rows: each group has both ends of its range */
    coded.value[i] = position == 0 ? 0 : position == 1 ? 1 : 0.5f;
    variance += dither ? 1.0 / 12 : position > 1 ? 0.25 : 0; /* stochastic: the ends stay what they are */
  }
  for (uint64_t draw = 0; draw < DRAWS; draw++) {
    double sum = 0;
    code_rightly(&coded, draw);
    for (size_t i = 0; i < coded.elements; i++)
      sum += (double)coded.back[i] - coded.value[i];
    squares += sum * sum;
  }
  double ratio = squares / DRAWS / variance;
  ok(fabs(ratio - 1) < 5 * sqrt(2.0 / DRAWS), "%s: draws of different rows, lanes, tiles and samples are independent: %.3f",
     dither ? "dithered" : "stochastic", ratio);
  discard(&coded);
}

int
main(void)
{
  test_codings();
  test_wrong_codecs();
  double right = try_mask(false), wrong = try_mask(true);
  ok(right <= 4, "a gradient by the mask in the codes is the exact one");
  ok(wrong > 4, "a mask taken from decoded values does not pass for unbiased: %.0f standard errors", wrong);
  test_dither();
  test_independence(false);
  test_independence(true);
  for (size_t b = 0; b < sizeof builds / sizeof *builds; b++) {
    const actnn_codec_kernels *kernels = actnn_codec_kernels_named(builds[b]);
    if (kernels) {
      test_maps(&lanes, kernels);
      test_maps(&flat, kernels);
    }
  }
  return tap_done();
}
