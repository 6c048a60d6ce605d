/* test_codec_normal.c: codes of normalized values, which a scale, a bias and perhaps a rectifier follow: what passed the
 * rectifier is told exactly, values and gradients are right on average, and all builds and layouts agree. */
#include "codec_cases.h"
#include "tap.h"

enum { CHANNELS = 24, DRAWS = 2048 };

/* What follows: nothing, Relu, Clip from zero. */
enum { PLAIN, RECTIFIED, CAPPED, RECTIFIERS };
static const float cap = 0.75f;

/* Channels in turn: usual ones, of either sign; never or always passing; zero and tiny scales; a threshold that elements lie on;
 * never or always at the cap, and one whose elements lie on that. */
static const float scales[] = {1, -1, 0.7f, -0.3f, 2, -2, 0, 0, 1e-30f, -1e-30f, 1e-42f, -1e-42f, 0.5f, -0.5f, 1, -1, 0, 0, 1e-30f, 0.5f};
static const float biases[] = {0, 0, 0.4f, 0.2f, 9, 9, 0.3f, -0.3f, 0, 0, 0, 0, -0.25f, 0.25f, -9, -9, 0.75f, 2, 0.75f, 0.5f};
enum { KINDS = sizeof scales / sizeof *scales };

static const shape shapes[] = {
    {"channels joined in tiles", ACTNN_BLOCKED, 4, {2, CHANNELS, 10, 11}},
    {"long channels", ACTNN_BLOCKED, 3, {1, CHANNELS, 300}},
    {"shared headers", ACTNN_BLOCKED, 4, {3, CHANNELS, 5, 5}},
    {"one position", ACTNN_BLOCKED, 4, {4, CHANNELS, 1, 1}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct normal {
  coded coded; /* value: x before normalization; back: decoded */
  float *x, *y, *dy, *dx, *truth, *held; /* normalized; result; gradient; its; what passes, and what is held at the cap, 1 or 0 */
  float mean[CHANNELS], rstd[CHANNELS], scale[CHANNELS], bias[CHANNELS];
  float factor[CHANNELS], shift[CHANNELS], slope[CHANNELS];
  actnn_affine affine;
  actnn_tile_noise noise;
  actnn_normal_sums *sums; /* a sample's channels, one after the other */
} normal;

/* As plain arithmetic has it; what is computed must be this. */
static void
apply_plainly(normal *normal)
{
  coded *coded = &normal->coded;
  FOR_ELEMENTS(coded) {
    int64_t channel = row / coded->codec.positions * ACTNN_LANES + lane;
    float apart = coded->value[place] - normal->mean[channel];
    float factor = (float)((double)normal->scale[channel] * normal->rstd[channel]), y = apart * factor;
    y += normal->bias[channel];
    normal->x[place] = apart * normal->rstd[channel];
    bool held = normal->affine.cap > 0 && y > cap;
    normal->truth[place] = !normal->affine.rectified || (normal->affine.cap > 0 ? y >= 0 && y <= cap : y > 0);
    normal->held[place] = held;
    normal->y[place] = normal->truth[place] > 0 ? y : held ? cap : 0;
  }
}

static normal *
make_normal(const shape *shape, actnn_code code, int rectifier, int block)
{
  normal *normal = calloc(1, sizeof *normal);
  if (!normal)
    exit(1);
  normal->coded = make(shape, code, block);
  coded *coded = &normal->coded;
  float **arrays[] = {&normal->x, &normal->y, &normal->dy, &normal->dx, &normal->truth, &normal->held};
  for (int i = 0; i < 6; i++)
    memset(*arrays[i] = allocate(coded->elements * sizeof(float)), 0, coded->elements * sizeof(float));
  normal->sums = allocate((size_t)coded->codec.samples * CHANNELS * sizeof *normal->sums);
  for (int channel = 0; channel < CHANNELS; channel++) {
    normal->scale[channel] = scales[channel % KINDS];
    normal->bias[channel] = biases[channel % KINDS];
    normal->rstd[channel] = channel % KINDS < 12 ? 1 / (0.6f + 0.05f * (float)channel) : 1;
    normal->mean[channel] = channel % KINDS < 12 ? 0.1f * (float)(channel % 5 - 2) : 0;
    normal->factor[channel] = -1; /* with slope 1, and no dy, dx is the decoded value */
    normal->slope[channel] = 1;
  }
  normal->affine = (actnn_affine){normal->scale, normal->bias, rectifier != PLAIN, rectifier == CAPPED ? cap : 0};
  FOR_ELEMENTS(coded) {
    actnn_philox_block counter = {{(uint32_t)sample, (uint32_t)row, (uint32_t)lane, 9}};
    actnn_philox_block bits = actnn_philox(counter, (actnn_philox_key){{3, 4}}, 7);
    int64_t channel = row / coded->codec.positions * ACTNN_LANES + lane;
    float value = 0;
    for (int i = 0; i < 4; i++) /* nearly normal */
      value += (float)(int32_t)bits.word[i] * 0x1p-31f;
    if ((channel % KINDS / 2 == 6 || channel % KINDS == 19) && bits.word[0] % 3 == 0)
      value = 0.5f; /* scale 0.5, bias -0.25, or both negative: exactly at the threshold; bias 0.5: at the cap */
    coded->value[place] = value / normal->rstd[channel] + normal->mean[channel];
    normal->dy[place] = (float)(int32_t)bits.word[1] * 0x1p-31f + 0.3f;
  }
  apply_plainly(normal);
  return normal;
}

static void
discard_normal(normal *normal)
{
  discard(&normal->coded);
  free(normal->x);
  free(normal->y);
  free(normal->dy);
  free(normal->dx);
  free(normal->truth);
  free(normal->held);
  free(normal->sums);
  free(normal);
}

#define FOR_TILES(normal) \
  for (int64_t sample = 0; sample < (normal)->coded.codec.samples; sample++) \
    for (int64_t tile = 0; tile < actnn_codec_tiles(&(normal)->coded.codec); tile++)
#define WORK(normal) (actnn_tile_work){&(normal)->coded.codec, (normal)->coded.block, sample, tile, false, false}
#define BYTES(normal) ((normal)->coded.stash + (uint64_t)sample * (normal)->coded.bytes)

/* Writes y to `y`. */
static void
code_normal(const actnn_codec_kernels *kernels, normal *normal, uint64_t draw, float *y)
{
  normal->noise = (actnn_tile_noise){0};
  FOR_TILES(normal) {
    actnn_tile_work work = WORK(normal);
    actnn_tile_noise noise;
    kernels->normalize(&work, normal->coded.value, normal->mean, normal->rstd, &normal->affine, &normal->coded.code, key_of(draw), y,
                       BYTES(normal), &noise);
    normal->noise.below += noise.below;
    normal->noise.above += noise.above;
    normal->noise.scaled += noise.scaled;
  }
}

static void
pull(const actnn_codec_kernels *kernels, normal *normal, uint64_t draw, float count, const float *dy, float *dx)
{
  actnn_pull with = {normal->factor, normal->shift, normal->slope, count};
  FOR_TILES(normal) {
    actnn_tile_work work = WORK(normal);
    kernels->normal_pull(&work, BYTES(normal), &normal->coded.code, key_of(draw), &normal->affine, &with, dy, dx);
  }
}

/* The decoded normalized values, to coded.back. */
static void
decode_normal(const actnn_codec_kernels *kernels, normal *normal, uint64_t draw)
{
  float *none = calloc(normal->coded.elements, sizeof *none);
  pull(kernels, normal, draw, 1, none, normal->coded.back);
  free(none);
}

static void
add_up(const actnn_codec_kernels *kernels, normal *normal, uint64_t draw)
{
  memset(normal->sums, 0, (size_t)normal->coded.codec.samples * CHANNELS * sizeof *normal->sums);
  FOR_TILES(normal) {
    actnn_tile_work work = WORK(normal);
    kernels->normal_sums(&work, BYTES(normal), &normal->coded.code, key_of(draw), &normal->affine, normal->dy,
                         normal->sums + sample * CHANNELS);
  }
}

/* ---- Builds and layouts, masks, and y ---------------------------------------------------------------------- */

typedef struct verdicts {
  int same, plain, masked, summed, bounded;
} verdicts;

/* The gradient of what passed is dy itself when nothing is taken off. */
static bool
tells_what_passed(const actnn_codec_kernels *kernels, normal *normal, uint64_t draw)
{
  float nothing[CHANNELS] = {0}, ones[CHANNELS];
  bool right = true;
  for (int i = 0; i < CHANNELS; i++)
    ones[i] = 1;
  actnn_pull with = {ones, nothing, nothing, INFINITY};
  FOR_TILES(normal) {
    actnn_tile_work work = WORK(normal);
    kernels->normal_pull(&work, BYTES(normal), &normal->coded.code, key_of(draw), &normal->affine, &with, normal->dy, normal->dx);
    kernels->dequantize_affine(&work, BYTES(normal), &normal->coded.code, key_of(draw), &normal->affine, normal->y);
  }
  FOR_ELEMENTS(&normal->coded) {
    int64_t channel = row / normal->coded.codec.positions * ACTNN_LANES + lane;
    float y = normal->coded.back[place] * normal->scale[channel];
    y += normal->bias[channel];
    right &= normal->dx[place] == (normal->truth[place] > 0 ? normal->dy[place] : 0);
    right &= normal->y[place] == (normal->truth[place] > 0 ? y : normal->held[place] > 0 ? cap : 0);
  }
  return right;
}

/* Sums against those of the decoded values in double precision; noise against what normalizing counted. */
static bool
sums_up(const actnn_codec_kernels *kernels, normal *normal, uint64_t draw)
{
  enum { SUMS = CHANNELS * 4 };
  static actnn_normal_sums expected[SUMS];
  double noise = 0, scale = 0;
  bool right = true;
  memset(expected, 0, sizeof expected);
  add_up(kernels, normal, draw);
  FOR_ELEMENTS(&normal->coded) {
    actnn_normal_sums *of = &expected[sample * CHANNELS + row / normal->coded.codec.positions * ACTNN_LANES + lane];
    double dy = (double)normal->dy[place] * normal->truth[place], x = normal->coded.back[place];
    of->dy += dy;
    of->projected += dy * x;
    of->passed += normal->truth[place];
    of->squares += normal->truth[place] > 0 ? x * x : 0;
    scale += fabs(dy * x) + fabs(dy) + x * x;
  }
  for (int64_t i = 0; i < normal->coded.codec.samples * CHANNELS; i++) {
    const actnn_normal_sums *got = &normal->sums[i], *of = &expected[i];
    right &= fabs(got->dy - of->dy) + fabs(got->projected - of->projected) + fabs(got->squares - of->squares) < 1e-5 * scale;
    right &= got->passed == of->passed && (got->variance > 0) == (got->passed > 0 && got->noise > 0);
    noise += got->noise;
  }
  return right && fabs(noise / (normal->noise.above + normal->noise.below) - 1) < 1e-9;
}

static void
try_shape(const shape *shape, actnn_code code, int rectifier, verdicts *verdicts)
{
  normal *first = make_normal(shape, code, rectifier, 16);
  code_normal(actnn_codec_kernels_named("scalar"), first, 3, first->dx);
  decode_normal(actnn_codec_kernels_named("scalar"), first, 3);
  add_up(actnn_codec_kernels_named("scalar"), first, 3);
  size_t bytes = first->coded.bytes * (uint64_t)first->coded.codec.samples;
  for (int b = 0; b < 3; b++)
    for (int block = 1; block <= 16; block = block == 1 ? 8 : 2 * block) {
      const actnn_codec_kernels *kernels = actnn_codec_kernels_named(builds[b]);
      if (!kernels)
        continue;
      normal *other = make_normal(shape, code, rectifier, block);
      code_normal(kernels, other, 3, other->dx);
      int plain = memcmp(other->dx, other->y, other->coded.elements * sizeof(float)) == 0;
      decode_normal(kernels, other, 3);
      int same = memcmp(first->coded.stash, other->coded.stash, bytes) == 0;
      FOR_ELEMENTS(&first->coded) {
        int64_t there = actnn_codec_element(&other->coded.codec, block, sample, row, lane);
        same &= memcmp(&first->coded.back[place], &other->coded.back[there], sizeof(float)) == 0;
      }
      int summed = sums_up(kernels, other, 3);
      same &= memcmp(first->sums, other->sums, (size_t)first->coded.codec.samples * CHANNELS * sizeof *first->sums) == 0;
      int masked = tells_what_passed(kernels, other, 3);
      if (!same || !plain || !masked || !summed)
        printf("# %s, %d levels, dither %d, rectifier %d, %s, block %d:%s%s%s%s\n", shape->what, code.levels, code.dither, rectifier,
               builds[b], block, same ? "" : " other bytes or values", plain ? "" : " other results", masked ? "" : " wrong mask",
               summed ? "" : " wrong sums");
      verdicts->same &= same;
      verdicts->plain &= plain;
      verdicts->masked &= masked;
      verdicts->summed &= summed;
      verdicts->bounded &= is_within_bounds(&other->coded);
      discard_normal(other);
    }
  discard_normal(first);
}

static int
least_levels(int rectifier)
{
  return actnn_least_levels(ACTNN_NORMAL_LEVELS, rectifier != PLAIN, rectifier == CAPPED ? cap : 0);
}

static void
test_builds(bool dither, int rectifier)
{
  verdicts verdicts = {1, 1, 1, 1, 1};
  int levels;
  for (int choice = 0; (levels = actnn_choice_levels(choice)) > 0; choice++)
    for (int s = 0; levels >= least_levels(rectifier) && s < SHAPES; s++)
      try_shape(&shapes[s], (actnn_code){ACTNN_NORMAL_LEVELS, dither, levels, 0, 0}, rectifier, &verdicts);
  static const char *const hows[] = {"stochastic", "stochastic, rectified", "stochastic, capped",
                                     "dithered",   "dithered, rectified",   "dithered, capped"};
  const char *how = hows[dither * RECTIFIERS + rectifier];
  ok(verdicts.same, "%s: the same bytes, values and sums from every build and channel block", how);
  ok(verdicts.plain, "%s: what is written beside the codes is what plain arithmetic gives", how);
  ok(verdicts.masked, "%s: codes tell exactly what passed, thresholds and scales of all kinds", how);
  ok(verdicts.summed, "%s: sums are those of the decoded values", how);
  ok(verdicts.bounded, "%s: nothing is written beyond a value or its codes", how);
}

/* A channel whose elements all are its mean, and one whose least or largest element is: the threshold of a bias of zero is that. */
static void
test_dead_channels(void)
{
  static const shape shape = {"", ACTNN_BLOCKED, 3, {1, 16, 200}};
  int right = 1;
  for (int kind = 0; kind < 6; kind++)
    for (int negative = 0; negative < 2; negative++) {
      normal *normal = make_normal(&shape, (actnn_code){ACTNN_NORMAL_LEVELS, true, 6, 0, 0}, kind < 3 ? RECTIFIED : CAPPED, 16);
      for (int channel = 0; channel < 16; channel++) {
        normal->scale[channel] = negative ? -1 : 1;
        normal->bias[channel] = normal->mean[channel] = 0;
        normal->rstd[channel] = 1;
      }
      for (size_t i = 0; i < normal->coded.elements; i++)
        normal->coded.value[i] = kind % 3 == 0 ? 0 : fabsf(normal->coded.value[i]) * (float)(i / 16 % 4) * (kind % 3 == 1 ? 1 : -1);
      apply_plainly(normal);
      code_normal(actnn_codec_best_kernels(), normal, 1, normal->dx);
      decode_normal(actnn_codec_best_kernels(), normal, 1);
      right &= tells_what_passed(actnn_codec_best_kernels(), normal, 1);
      for (size_t i = 0; kind % 3 == 0 && i < normal->coded.elements; i++)
        right &= fabsf(normal->coded.back[i]) < 1e-30f;
      discard_normal(normal);
    }
  ok(right, "what is exactly zero does not pass Relu, and passes Clip, be it all of a group, its least or its largest");
}

/* ---- On average -------------------------------------------------------------------------------------------- */

/* The mean of draws of x lies where it should: squared distance, in standard errors of what variance makes it; and the variance,
 * measured against what is counted. */
static void
try_mean(const shape *shape, int levels, bool dither, int rectifier, double *distance, double *ratio, double *scaled_ratio)
{
  normal *normal = make_normal(shape, (actnn_code){ACTNN_NORMAL_LEVELS, dither, levels, 0, 0}, rectifier, 16);
  size_t count = normal->coded.elements;
  double *sum = calloc(count, sizeof *sum), *squares = calloc(count, sizeof *squares);
  double length = 0, whole = 0, fourth = 0, scaled = 0;
  for (int channel = 0; channel < CHANNELS; channel++)
    /* So small that y is rounded to zero, or to the cap: the mask is right, the value is not coded for. */
    if (fabsf(normal->scale[channel]) == 1e-42f || (normal->scale[channel] == 1e-30f && normal->bias[channel] == cap))
      normal->scale[channel] = 1;
  apply_plainly(normal);
  for (uint64_t draw = 0; draw < DRAWS; draw++) {
    code_normal(actnn_codec_best_kernels(), normal, draw, normal->dx);
    decode_normal(actnn_codec_best_kernels(), normal, draw);
    for (size_t i = 0; i < count; i++) {
      double error = (double)normal->coded.back[i] - normal->x[i];
      sum[i] += error / DRAWS;
      squares[i] += error * error / DRAWS;
    }
  }
  FOR_ELEMENTS(&normal->coded) {
    double variance = squares[place] - sum[place] * sum[place], scale = normal->scale[row / normal->coded.codec.positions * ACTNN_LANES + lane];
    length += sum[place] * sum[place];
    whole += variance;
    fourth += variance * variance;
    scaled += normal->truth[place] > 0 ? variance * scale * scale : 0;
  }
  *distance = (length - whole / DRAWS) / (sqrt(2 * fourth) / DRAWS);
  *ratio = whole / (normal->noise.above + normal->noise.below);
  *scaled_ratio = scaled / normal->noise.scaled;
  free(sum);
  free(squares);
  discard_normal(normal);
}

static void
test_means(void)
{
  for (int kind = 0; kind < 4; kind++) {
    double worst = -INFINITY, off = 0;
    int levels, dither = kind % 2, rectifier = kind < 2 ? RECTIFIED : CAPPED;
    for (int choice = 0; (levels = actnn_choice_levels(choice)) > 0; choice++) {
      double distance, ratio, scaled;
      if (levels < least_levels(rectifier))
        continue;
      try_mean(&shapes[choice % 3], levels, dither, rectifier, &distance, &ratio, &scaled);
      /* Stochastic rounding's is counted as a mean over places between levels: rough where levels are few, and too much for the
       * elements that lie on a threshold. */
      if (dither)
        off = fmax(off, fmax(fabs(ratio - 1), fabs(scaled - 1)));
      worst = fmax(worst, distance);
      if (distance > 4)
        printf("# %s, %d levels: %.2f\n", shapes[choice % 3].what, levels, distance);
    }
    const char *how = kind < 2 ? "rectified" : "capped";
    ok(worst <= 4, "%s, %s: the mean of %d draws is the normalized value; off by at most %.2f standard errors",
       dither ? "dithered" : "stochastic", how, DRAWS, worst);
    if (dither)
      ok(off < 0.01, "dithered, %s: their variance is what is counted, within %.2f %%", how, off * 100);
  }
}

/* dx of a normalization over few elements, on average over draws, against the exact one; the distance in standard errors. The sum
 * of dy * x reads each code, and dx reads it once more: without what is taken off for dither, dx is smaller on average. */
static double
try_gradient(bool corrected, int rectifier)
{
  static const shape few = {"", ACTNN_BLOCKED, 3, {4, CHANNELS, 4}};
  normal *normal = make_normal(&few, (actnn_code){ACTNN_NORMAL_LEVELS, true, rectifier == CAPPED ? 6 : 5, 0, 0}, rectifier, 16);
  size_t elements = normal->coded.elements;
  double *sum = calloc(elements, sizeof *sum), *squares = calloc(elements, sizeof *squares), *exact = calloc(elements, sizeof *exact);
  double count = 16, dy[CHANNELS] = {0}, projected[CHANNELS] = {0}, length = 0, whole = 0, fourth = 0;
  for (int channel = 0; channel < CHANNELS; channel++) {
    if (fabsf(normal->scale[channel]) < 0.1f)
      normal->scale[channel] = 0.8f;
    normal->factor[channel] = normal->scale[channel] * normal->rstd[channel];
  }
  apply_plainly(normal);
  FOR_ELEMENTS(&normal->coded) {
    int64_t channel = row / 4 * ACTNN_LANES + lane;
    dy[channel] += (double)normal->dy[place] * normal->truth[place];
    projected[channel] += (double)normal->dy[place] * normal->truth[place] * normal->x[place];
  }
  FOR_ELEMENTS(&normal->coded) {
    int64_t channel = row / 4 * ACTNN_LANES + lane;
    exact[place] = normal->factor[channel] * ((double)normal->dy[place] * normal->truth[place] - dy[channel] / count
                                              - normal->x[place] * projected[channel] / count);
  }
  for (uint64_t draw = 0; draw < 2 * DRAWS; draw++) {
    code_normal(actnn_codec_best_kernels(), normal, draw, normal->dx);
    add_up(actnn_codec_best_kernels(), normal, draw);
    for (int channel = 0; channel < CHANNELS; channel++) {
      double of_dy = 0, of_product = 0;
      for (int i = 0; i < 4; i++) {
        of_dy += normal->sums[i * CHANNELS + channel].dy;
        of_product += normal->sums[i * CHANNELS + channel].projected;
      }
      normal->shift[channel] = (float)(of_dy / count);
      normal->slope[channel] = (float)(of_product / count);
    }
    pull(actnn_codec_best_kernels(), normal, draw, corrected ? (float)count : INFINITY, normal->dy, normal->dx);
    for (size_t i = 0; i < elements; i++) {
      sum[i] += ((double)normal->dx[i] - exact[i]) / (2 * DRAWS);
      squares[i] += pow((double)normal->dx[i] - exact[i], 2) / (2 * DRAWS);
    }
  }
  for (size_t i = 0; i < elements; i++) {
    double variance = squares[i] - sum[i] * sum[i];
    length += sum[i] * sum[i];
    whole += variance;
    fourth += variance * variance;
  }
  /* Elements of a channel share its sums, so that their means vary together: as if there were a channel's worth of them. */
  double distance = (length - whole / (2 * DRAWS)) / (sqrt(2 * fourth * 16) / (2 * DRAWS));
  free(sum);
  free(squares);
  free(exact);
  discard_normal(normal);
  return distance;
}

/* ---- Values that are not finite -------------------------------------------------------------------------------- */

static void
test_not_finite(void)
{
  static const shape shape = {"", ACTNN_BLOCKED, 3, {1, 16, 200}};
  static const float bad[] = {NAN, INFINITY, -INFINITY};
  int shown = 1, contained = 1;
  for (int which = 0; which < 3; which++)
    for (int lane = 0; lane < 16; lane++)
      for (int rectifier = 0; rectifier < RECTIFIERS; rectifier++) {
        normal *normal = make_normal(&shape, (actnn_code){ACTNN_NORMAL_LEVELS, which % 2, 6, 0, 0}, rectifier, 16);
        normal->coded.value[50 * 16 + lane] = bad[which];
        code_normal(actnn_codec_best_kernels(), normal, 1, normal->dx);
        decode_normal(actnn_codec_best_kernels(), normal, 1);
        for (size_t i = 0; i < normal->coded.elements; i++) {
          shown &= i % 16 != (size_t)lane || isnan(normal->coded.back[i]);
          contained &= i % 16 == (size_t)lane || isfinite(normal->coded.back[i]);
        }
        FOR_TILES(normal) {
          actnn_tile_work work = WORK(normal);
          actnn_codec_best_kernels()->dequantize_affine(&work, BYTES(normal), &normal->coded.code, key_of(1), &normal->affine,
                                                        normal->y);
        }
        for (size_t i = 0; i < normal->coded.elements; i++)
          shown &= i % 16 != (size_t)lane || isnan(normal->y[i]);
        discard_normal(normal);
      }
  ok(shown, "a group with NaN or infinity decodes as NaN, before and after scale and bias of any sign");
  ok(contained, "and no other group");
}

int
main(void)
{
  for (int dither = 0; dither < 2; dither++)
    for (int rectifier = 0; rectifier < RECTIFIERS; rectifier++)
      test_builds(dither, rectifier);
  test_dead_channels();
  test_means();
  for (int rectifier = RECTIFIED; rectifier < RECTIFIERS; rectifier++) {
    double corrected = try_gradient(true, rectifier), plain = try_gradient(false, rectifier);
    const char *how = rectifier == CAPPED ? "capped" : "rectified";
    ok(fabs(corrected) <= 4, "the gradient of a normalization over 16 elements, %s, is right on average: %.2f standard errors", how,
       corrected);
    ok(plain > 4, "%s: without what is taken off for dither it is not: %.0f standard errors", how, plain);
  }
  test_not_finite();
  return tap_done();
}
