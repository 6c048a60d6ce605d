/* test_codec.c: the codec itself: random numbers, headers, codes, packing, and that all builds make the same
 * bytes. */
#include "codec.h"
#include "tap.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const builds[] = {"scalar", "avx2", "avx512"};
static uint64_t random_state = 1;

static uint32_t
random_bits(void)
{
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 32);
}

static float
random_normal(void)
{
  double a = (random_bits() + 1.0) / 4294967297.0, b = random_bits() / 4294967296.0;
  return (float)(sqrt(-2 * log(a)) * cos(6.283185307179586 * b));
}

static void *
allocate(size_t bytes)
{
  void *memory = malloc(bytes + 1);
  if (!memory)
    exit(1);
  memset(memory, 0x5a, bytes + 1); /* what is not written is noticed */
  return memory;
}

/* ---- Random numbers ------------------------------------------------------------------------------ */

/* From the kat_vectors of Random123: rounds, counter, key, result. */
static const uint32_t known_answers[][11] = {
    {7, 0, 0, 0, 0, 0, 0, 0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48},
    {7, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662},
    {7, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0x4dfccaba, 0x190a87f0,
     0xc47362ba, 0xb6b5242a},
    {10, 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {10, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
    {10, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb,
     0x5001e420, 0x24126ea1},
};

static void
test_philox(void)
{
  int right = 1;
  for (size_t i = 0; i < sizeof known_answers / sizeof *known_answers; i++) {
    const uint32_t *known = known_answers[i];
    actnn_philox_block counter = {{known[1], known[2], known[3], known[4]}};
    actnn_philox_block out = actnn_philox(counter, (actnn_philox_key){{known[5], known[6]}}, (int)known[0]);
    right &= memcmp(out.word, known + 7, sizeof out.word) == 0;
  }
  ok(right && ACTNN_PHILOX_ROUNDS >= 7, "Philox4x32 gives the known answers at 7 and 10 rounds");
  actnn_philox_key a = actnn_random_key(1, 2, 3, 4),
                   others[] = {actnn_random_key(2, 1, 3, 4), actnn_random_key(1, 3, 2, 4),
                               actnn_random_key(1, 2, 4, 3), actnn_random_key(0, 2, 3, 4),
                               actnn_random_key(1, 2, 3, 5)};
  int differ = 1;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    differ &= memcmp(&a, &others[i], sizeof a) != 0;
  ok(differ, "keys differ in every part and in their order");
}

/* ---- Headers ------------------------------------------------------------------------------------- */

static float
random_float(void)
{
  float value = actnn_float_of(random_bits());
  return actnn_is_finite(value) ? value : 1;
}

static void
test_headers(void)
{
  int holds = 1, poisoned = 0, constant = 1;
  for (int trial = 0; trial < 400000; trial++) {
    float a = random_float(), b = trial % 4 == 0   ? random_float()
                                  : trial % 4 == 1 ? a * (1 + (float)(random_bits() % 999) * 0x1p-20f)
                                  : trial % 4 == 2 ? actnn_float_of(actnn_bits_of(a) + 1 + random_bits() % 3)
                                                   : -a * (float)(random_bits() % 1000) * 0.01f;
    if (!actnn_is_finite(b))
      continue;
    float low = a < b ? a : b, high = a < b ? b : a, top = (float)((1 << (1 + random_bits() % 8)) - 1);
    actnn_group group = actnn_codec_group(actnn_codec_header(low, high, top, true));
    if (low == high)
      continue;
    if (isnan(group.base)) {
      poisoned++;
      holds &= high > 1e38f || low < -1e38f;
      continue;
    }
    holds &= group.base <= low && actnn_codec_value((uint32_t)top, group.base, group.step) >= high &&
             (high - group.base) / group.step <= top && group.step > 0 && group.scale > 0;
    group = actnn_codec_group(actnn_codec_header(low, low, top, true));
    uint32_t code = actnn_codec_code(low, group.base, group.scale, top, random_bits() & 0xffff);
    float back = actnn_codec_value(code, group.base, group.step);
    int exact = fabsf(low) < 0x1p-88f
                    ? fabsf(back - low) <= FLT_TRUE_MIN || fabsf(back - low) <= fabsf(low) * 0x1p-22f
                    : memcmp(&back, &low, sizeof back) == 0;
    constant &= exact && code <= 1;
  }
  printf("# %d ranges near the largest float became NaN\n", poisoned);
  ok(holds, "headers are rounded outward: nothing is out of range");
  ok(constant, "a constant group comes back bit by bit; below 2^-88 but for its last");
  float special[] = {0.0f, -0.0f, FLT_MAX, -FLT_MAX, FLT_MIN, 0x1p-88f, 1.0f / 3};
  constant = 1;
  for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
    actnn_group group = actnn_codec_group(actnn_codec_header(special[i], special[i], 1, true));
    float back = actnn_codec_value(actnn_codec_code(special[i], group.base, group.scale, 1, 0), group.base,
                                   group.step);
    constant &= back == special[i];
  }
  ok(constant, "so do zeros and the largest floats");
}

/* ---- Packing ------------------------------------------------------------------------------------- */

static void
test_packing(const actnn_codec_kernels *kernels)
{
  static const size_t counts[] = {0, 1, 2, 3, 5, 7, 8, 9, 15, 31, 33, 67, 127, 1000, 32767, 32768};
  uint8_t *codes = allocate(32768), *packed = allocate(32768), *back = allocate(32768),
          *reference = allocate(32768);
  const actnn_codec_kernels *scalar = actnn_codec_kernels_named("scalar");
  int same = 1, dense = 1, equal = 1;
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    for (int bits = 1; bits <= 8; bits++) {
      uint64_t bytes = actnn_pack_bytes(counts[i], bits);
      if (counts[i] < ACTNN_PACK_CHUNK)
        dense &= bytes <= (counts[i] * (size_t)bits + 7) / 8 + 3;
      else
        dense &= bytes == counts[i] / 8 * (size_t)bits;
      for (size_t k = 0; k < counts[i]; k++)
        codes[k] = (uint8_t)(random_bits() >> (32 - bits));
      packed[bytes] = back[counts[i]] = 0xa5;
      kernels->pack(codes, counts[i], bits, packed);
      scalar->pack(codes, counts[i], bits, reference);
      kernels->unpack(packed, counts[i], bits, back);
      equal &= memcmp(packed, reference, bytes) == 0;
      same &= memcmp(codes, back, counts[i]) == 0 && packed[bytes] == 0xa5 && back[counts[i]] == 0xa5;
    }
  }
  ok(same, "every width packs and unpacks any count, within its bytes");
  ok(dense, "packed bits are dense");
  ok(equal, "packed bytes are the scalar build's");
  free(codes);
  free(packed);
  free(back);
  free(reference);
}

/* ---- A value in its layouts ---------------------------------------------------------------------- */

typedef struct shape {
  const char *what;
  actnn_layout layout;
  int rank;
  int64_t dim[5];
} shape;

static const shape shapes[] = {
    {"long channels, lane groups", ACTNN_BLOCKED, 4, {2, 32, 19, 17}},
    {"long channels, some lanes empty", ACTNN_BLOCKED, 4, {2, 21, 20, 20}},
    {"three channels", ACTNN_BLOCKED, 4, {2, 3, 15, 15}},
    {"short channels joined", ACTNN_BLOCKED, 4, {2, 200, 7, 7}},
    {"few rows, shared headers", ACTNN_BLOCKED, 4, {3, 24, 5, 5}},
    {"one position", ACTNN_BLOCKED, 4, {2, 40, 1, 1}},
    {"many channels of one position", ACTNN_BLOCKED, 3, {1, 2100, 1}},
    {"a volume", ACTNN_BLOCKED, 5, {1, 16, 3, 9, 11}},
    {"features last", ACTNN_PLAIN, 3, {2, 150, 48}},
    {"features last, short", ACTNN_PLAIN, 3, {2, 20, 32}},
    {"attention", ACTNN_PLAIN, 4, {1, 2, 33, 64}},
    {"flat, odd", ACTNN_PLAIN, 3, {3, 7, 37}},
    {"rows of a matrix", ACTNN_PLAIN, 2, {5, 300}},
    {"rank 1", ACTNN_PLAIN, 1, {1001}},
    {"scalar", ACTNN_PLAIN, 0, {0}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct coded {
  actnn_codec codec;
  uint64_t bytes;  /* of a sample */
  size_t elements; /* in memory with this channel block */
  uint8_t *stash;
  float *value, *back;
} coded;

static size_t
memory_elements(const actnn_codec *codec, int block)
{
  int64_t channels =
      codec->rows_are == ACTNN_CHANNEL_ROWS ? (codec->channels + block - 1) / block * block : codec->channels;
  return (size_t)(codec->samples * channels * codec->positions);
}

/* The logical element at a row and lane of a sample: the same for every layout. */
static float
element_value(int64_t sample, int64_t row, int lane)
{
  actnn_philox_block counter = {{(uint32_t)sample, (uint32_t)row, (uint32_t)lane, 0}};
  actnn_philox_block bits = actnn_philox(counter, (actnn_philox_key){{1, 2}}, 7);
  float value = (float)(int32_t)bits.word[0] * 0x1p-31f * (float)(1 + lane);
  return bits.word[1] % 3 ? value : 0;
}

static coded
make(const shape *shape, int bits, int block)
{
  coded coded = {0};
  if (actnn_codec_geometry(&coded.codec, shape->dim, shape->rank, shape->layout))
    exit(1);
  coded.bytes = actnn_codec_sample_bytes(&coded.codec, bits);
  coded.elements = memory_elements(&coded.codec, block);
  coded.stash = allocate(coded.bytes * (uint64_t)coded.codec.samples);
  coded.value = allocate(coded.elements * sizeof(float));
  coded.back = allocate(coded.elements * sizeof(float));
  memset(coded.value, 0, coded.elements * sizeof(float));
  for (int64_t sample = 0; sample < coded.codec.samples; sample++)
    for (int64_t row = 0; row < coded.codec.rows; row++)
      for (int lane = 0; lane < ACTNN_LANES; lane++) {
        int64_t place = actnn_codec_element(&coded.codec, block, sample, row, lane);
        if (place >= 0)
          coded.value[place] = element_value(sample, row, lane);
      }
  return coded;
}

static void
discard(coded *coded)
{
  free(coded->stash);
  free(coded->value);
  free(coded->back);
}

static double
code_all(const actnn_codec_kernels *kernels, coded *coded, int bits, int block, uint64_t draw)
{
  double noise = 0, range, part;
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded->codec); tile++) {
      actnn_tile_work work = {&coded->codec, block, sample, tile};
      actnn_tile_range known;
      double found = kernels->range(&work, coded->value, &known);
      bool knows = (sample + tile + (kernels->name[0] == 's')) % 2; /* what is known beforehand changes no byte */
      kernels->quantize(&work, coded->value, bits, actnn_random_key(9, 8, 7, draw),
                        coded->stash + (uint64_t)sample * coded->bytes, knows ? &known : NULL, &range, &part);
      if (found != range)
        exit(1);
      noise += part;
    }
  return noise;
}

/* Whether a value is coded the same when nobody asks for its noise: rows may then be read where they lie. */
static bool
is_coded_without_noise(const actnn_codec_kernels *kernels, coded *coded, int bits, int block, uint64_t draw)
{
  size_t bytes = (size_t)coded->codec.samples * coded->bytes;
  uint8_t *stash = malloc(bytes);
  double range;
  memcpy(stash, coded->stash, bytes);
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded->codec); tile++) {
      actnn_tile_work work = {&coded->codec, block, sample, tile};
      kernels->quantize(&work, coded->value, bits, actnn_random_key(9, 8, 7, draw),
                        stash + (uint64_t)sample * coded->bytes, NULL, &range, NULL);
    }
  bool same = !memcmp(stash, coded->stash, bytes);
  free(stash);
  return same;
}

static void
decode_all(const actnn_codec_kernels *kernels, coded *coded, int bits, int block)
{
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded->codec); tile++) {
      actnn_tile_work work = {&coded->codec, block, sample, tile};
      kernels->dequantize(&work, coded->stash + (uint64_t)sample * coded->bytes, bits, coded->back);
    }
}

/* One logical element, decoded by the definitions of codec.h alone; also its header. */
static float
decode_one(const coded *coded, int bits, int64_t sample, int64_t row, int lane, actnn_group *group)
{
  const actnn_codec *codec = &coded->codec;
  const uint8_t *bytes = coded->stash + (uint64_t)sample * coded->bytes;
  int64_t index = row / codec->run_rows * codec->run_tiles + row % codec->run_rows / codec->tile_rows;
  actnn_tile tile = actnn_codec_tile(codec, index);
  actnn_header header;
  int64_t number = index * actnn_codec_tile_headers(codec) + (codec->lane_groups ? lane : 0);
  memcpy(&header, bytes + (size_t)number * sizeof header, sizeof header);
  *group = actnn_codec_group(header);
  const uint8_t *plane = bytes + actnn_codec_code_offset(codec, tile, bits);
  uint32_t code = 0;
  for (int shift = 0, width; shift < bits; shift += width) {
    width = actnn_codec_plane_width(bits - shift);
    int64_t rows = actnn_codec_plane_rows(tile.rows, width), at = row - tile.first_row;
    uint32_t byte = plane[at % rows * ACTNN_LANES + lane];
    code |= (byte >> (at / rows * width) & ((1u << width) - 1)) << shift;
    plane += rows * ACTNN_LANES;
  }
  return actnn_codec_value(code, group->base, group->step);
}

/* Decoded values are where they should be, within a step, and padding is zero. */
static int
is_right(const coded *coded, int bits, int block)
{
  size_t seen = 0;
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t row = 0; row < coded->codec.rows; row++)
      for (int lane = 0; lane < ACTNN_LANES; lane++) {
        int64_t place = actnn_codec_element(&coded->codec, block, sample, row, lane);
        actnn_group group;
        float expected = decode_one(coded, bits, sample, row, lane, &group);
        if (place < 0)
          continue;
        seen++;
        if (coded->back[place] != expected ||
            !(fabsf(expected - coded->value[place]) <= fabsf(group.step) * 1.00001f))
          return 0;
      }
  size_t zeros = 0;
  for (size_t i = 0; i < coded->elements; i++)
    zeros += coded->value[i] == 0 && coded->back[i] == 0;
  return zeros >= coded->elements - seen;
}

static void
test_layouts(void)
{
  int same = 1, right = 1;
  for (int s = 0; s < SHAPES; s++)
    for (int bits = 1; bits <= 8; bits++) {
      coded first = make(&shapes[s], bits, 16);
      code_all(actnn_codec_kernels_named("scalar"), &first, bits, 16, 0);
      for (int b = 0; b < 3; b++)
        for (int block = 1; block <= 16; block = block == 1 ? 8 : 2 * block) {
          const actnn_codec_kernels *kernels = actnn_codec_kernels_named(builds[b]);
          if (!kernels)
            continue;
          coded other = make(&shapes[s], bits, block);
          code_all(kernels, &other, bits, block, 0);
          decode_all(kernels, &other, bits, block);
          int equal = memcmp(first.stash, other.stash, first.bytes * (uint64_t)first.codec.samples) == 0 &&
                      is_coded_without_noise(kernels, &other, bits, block, 0);
          int fine = is_right(&other, bits, block);
          if (!equal || !fine)
            printf("# %s, %d bits, %s, block %d: %s\n", shapes[s].what, bits, builds[b], block,
                   equal ? "wrong" : "other bytes");
          same &= equal;
          right &= fine;
          discard(&other);
        }
      discard(&first);
    }
  ok(same, "the same bytes from every build and every channel block");
  ok(right, "decoded values lie within a step, where they belong, and padding is zero");
}

/* ---- Statistics ---------------------------------------------------------------------------------- */

enum { DRAWS = 4096 };
typedef double code_function(coded *coded, int bits, uint64_t draw);

static double
code_stochastic(coded *coded, int bits, uint64_t draw)
{
  double noise = code_all(actnn_codec_best_kernels(), coded, bits, 16, draw);
  decode_all(actnn_codec_best_kernels(), coded, bits, 16);
  return noise;
}

/* The counterexample: round to nearest with the same headers, in place of every draw its middle. */
static double
code_nearest(coded *coded, int bits, uint64_t draw)
{
  (void)draw;
  double noise = code_stochastic(coded, bits, 0);
  for (int64_t row = 0; row < coded->codec.rows; row++)
    for (int lane = 0; lane < ACTNN_LANES; lane++) {
      int64_t place = actnn_codec_element(&coded->codec, 16, 0, row, lane);
      actnn_group group;
      decode_one(coded, bits, 0, row, lane, &group);
      uint32_t code =
          actnn_codec_code(coded->value[place], group.base, group.scale, (float)((1 << bits) - 1), 0x7fff);
      coded->back[place] = actnn_codec_value(code, group.base, group.step);
    }
  return noise;
}

/* Draws many times; true when every element's mean is its value. *ratio: variance found against p (1 - p)
 * step^2. */
static int
is_unbiased(code_function *code, const shape *shape, int bits, double *ratio, double *counted)
{
  coded coded = make(shape, bits, 16);
  double *sum = calloc(coded.elements, sizeof *sum), *squares = calloc(coded.elements, sizeof *squares);
  double found = 0, predicted = 0;
  int unbiased = 1;
  coded.value[5 * ACTNN_LANES] = 31.0f; /* the range's ends, and a value on neither */
  coded.value[9 * ACTNN_LANES] = -31.0f;
  if (!sum || !squares)
    exit(1);
  for (int draw = 0; draw < DRAWS; draw++) {
    *counted = code(&coded, bits, (uint64_t)draw);
    for (size_t i = 0; i < coded.elements; i++) {
      double error = (double)coded.back[i] - coded.value[i];
      sum[i] += error;
      squares[i] += error * error;
    }
  }
  for (int64_t row = 0; row < coded.codec.rows; row++)
    for (int lane = 0; lane < ACTNN_LANES; lane++) {
      int64_t place = actnn_codec_element(&coded.codec, 16, 0, row, lane);
      actnn_group group;
      decode_one(&coded, bits, 0, row, lane, &group);
      double at = ((double)coded.value[place] - group.base) / group.step, part = at - floor(at);
      double variance = part * (1 - part) * group.step * group.step;
      double mean = sum[place] / DRAWS;
      /* Five standard errors; rare events are Poisson's; the draw's 16 bits; float arithmetic. */
      double allowed = 5 * sqrt(variance / DRAWS) +
                       group.step * (12.0 / DRAWS * (variance > 0) * fmin(1, part * 100) + 0x1p-16) +
                       fabs(coded.value[place]) * 0x1p-22;
      unbiased &= fabs(mean) <= allowed;
      found += squares[place] / DRAWS;
      predicted += variance;
    }
  *ratio = found / predicted;
  *counted /= predicted;
  free(sum);
  free(squares);
  discard(&coded);
  return unbiased;
}

static void
test_statistics(void)
{
  static const shape lanes = {"", ACTNN_BLOCKED, 3, {1, 16, 133}}, flat = {"", ACTNN_PLAIN, 2, {1, 1600}};
  int unbiased = 1, variance = 1, counted_right = 1, nearest = 0;
  for (int bits = 1; bits <= 8; bits++)
    for (int which = 0; which < 2; which++) {
      double ratio, counted;
      const shape *shape = which ? &flat : &lanes;
      int fair = is_unbiased(code_stochastic, shape, bits, &ratio, &counted);
      if (!fair || fabs(ratio - 1) > 0.01)
        printf("# %d bits, shape %d: unbiased %d, variance %.4f\n", bits, which, fair, ratio);
      unbiased &= fair;
      variance &= fabs(ratio - 1) < 0.01;
      counted_right &= fabs(counted - 1) < 1e-3;
      nearest += is_unbiased(code_nearest, shape, bits, &ratio, &counted);
    }
  ok(unbiased, "the mean of 4096 draws is the value, element by element, 1 to 8 bits");
  ok(variance, "the variance of the draws is p (1 - p) step^2");
  ok(counted_right, "and is what the kernel counts");
  ok(nearest == 0, "rounding to nearest does not pass for unbiased");
}

/* Values halfway between two levels, so that every draw decides alike: if any two elements shared a draw, the
 * sum of all errors would vary more than the errors by themselves do. */
static void
test_independence(void)
{
  static const shape shape = {"", ACTNN_BLOCKED, 3, {2, 32, 290}};
  enum { REPEATS = 3000 };
  coded coded = make(&shape, 1, 16);
  double squares = 0, halves = 0;
  for (size_t i = 0; i < coded.elements; i++) {
    size_t position = i / 16 % 290 % 152; /* tiles of 152 rows: each group has both ends of its range */
    coded.value[i] = position == 0 ? 0 : position == 1 ? 1 : 0.5f;
    halves += position > 1;
  }
  for (int draw = 0; draw < REPEATS; draw++) {
    double sum = 0;
    code_stochastic(&coded, 1, (uint64_t)draw);
    for (size_t i = 0; i < coded.elements; i++)
      sum += (double)coded.back[i] - coded.value[i];
    squares += sum * sum;
  }
  double ratio = squares / REPEATS / (halves * 0.25);
  printf("# variance of the sum of all errors / sum of their variances: %.3f\n", ratio);
  ok(fabs(ratio - 1) < 5 * sqrt(2.0 / REPEATS),
     "draws of different rows, lanes, tiles and samples are independent");
  discard(&coded);
}

/* ---- Values that are not ordinary ---------------------------------------------------------------- */

static void
test_extremes(const actnn_codec_kernels *kernels)
{
  static const shape few = {"", ACTNN_PLAIN, 2, {1, 256}}, lanes = {"", ACTNN_BLOCKED, 3, {1, 16, 128}};
  float bad[] = {NAN, INFINITY, -INFINITY, -NAN};
  int shown = 1, contained = 1, finite = 1;
  for (int bits = 1; bits <= 8; bits++) {
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
      coded one = make(&few, bits, 16), many = make(&lanes, bits, 16);
      one.value[100] = many.value[100] = bad[i]; /* lane 4 */
      code_all(kernels, &one, bits, 16, 0);
      decode_all(kernels, &one, bits, 16);
      code_all(kernels, &many, bits, 16, 0);
      decode_all(kernels, &many, bits, 16);
      shown &= !isfinite(one.back[100]) && !isfinite(one.back[3]) && !isfinite(many.back[100]);
      for (size_t k = 0; k < many.elements; k++)
        contained &= k % 16 == 4 || isfinite(many.back[k]);
      discard(&one);
      discard(&many);
    }
    float scale[] = {FLT_TRUE_MIN, FLT_MIN, 1e38f};
    for (int i = 0; i < 3; i++) {
      coded one = make(&few, bits, 16);
      for (size_t k = 0; k < one.elements; k++)
        one.value[k] = (float)((k * 7) % 31) * 0.03f * scale[i] - (k % 2 ? 0.1f * scale[i] : 0);
      code_all(kernels, &one, bits, 16, 0);
      decode_all(kernels, &one, bits, 16);
      for (size_t k = 0; k < one.elements; k++)
        finite &= isfinite(one.back[k]);
      one.value[0] = FLT_MAX;
      one.value[1] = -FLT_MAX;
      code_all(kernels, &one, bits, 16, 0);
      decode_all(kernels, &one, bits, 16);
      finite &= !isfinite(one.back[0]);
      discard(&one);
    }
  }
  ok(shown, "NaN and infinity come back as not finite");
  ok(contained, "and only in their own group");
  ok(finite, "denormal and huge values are coded; a range beyond float is not finite");
}

static void
test_constants(const actnn_codec_kernels *kernels)
{
  static const shape few = {"", ACTNN_PLAIN, 2, {1, 250}}, lanes = {"", ACTNN_BLOCKED, 3, {1, 20, 128}};
  int exact = 1;
  for (int bits = 1; bits <= 8; bits++)
    for (int trial = 0; trial < 50; trial++) {
      coded one = make(&few, bits, 16), many = make(&lanes, bits, 16);
      float value = trial == 0 ? 0 : trial == 1 ? FLT_MAX : trial < 10 ? random_float() : random_normal();
      value = value != 0 && fabsf(value) < 0x1p-80f ? 1 : value;
      for (size_t k = 0; k < one.elements; k++)
        one.value[k] = value;
      for (size_t k = 0; k < many.elements; k++)
        many.value[k] = k / 128 / 16 == 1 && k % 16 >= 4 ? 0 : value * (float)(k % 16 == 3 ? 0.5 : 1);
      code_all(kernels, &one, bits, 16, (uint64_t)trial);
      decode_all(kernels, &one, bits, 16);
      code_all(kernels, &many, bits, 16, (uint64_t)trial);
      decode_all(kernels, &many, bits, 16);
      exact &= memcmp(one.value, one.back, one.elements * sizeof(float)) == 0;
      exact &= memcmp(many.value, many.back, many.elements * sizeof(float)) == 0;
      discard(&one);
      discard(&many);
    }
  ok(exact, "constant groups come back exactly");
}

/* ---- Sizes --------------------------------------------------------------------------------------- */

static void
test_sizes(void)
{
  int64_t conv[4] = {16, 64, 56, 56}, negative[2] = {-1, 4},
          vast[3] = {INT64_C(1) << 40, INT64_C(1) << 40, 2};
  int64_t empty[2] = {0, 7}, hole[3] = {4, 0, 16};
  double exact = 16.0 * 64 * 56 * 56 / 8;
  double two = (double)actnn_stash_bytes(conv, 4, ACTNN_BLOCKED, 2) / exact;
  printf("# 64 x 56 x 56 at 2 bits: %.4f bits with headers and padding\n", two);
  ok(two > 2 && two < 2.15, "headers and padding cost about an eighth of a bit");
  double mixed = (double)actnn_stash_bytes(conv, 4, ACTNN_BLOCKED, 2.5) / exact;
  ok(fabs(mixed - two - 0.5) < 1e-3, "fractions of bits lie between");
  ok(actnn_stash_bytes(negative, 2, ACTNN_PLAIN, 2) == UINT64_MAX &&
         actnn_stash_bytes(vast, 3, ACTNN_PLAIN, 2) == UINT64_MAX &&
         actnn_stash_bytes(conv, 9, ACTNN_PLAIN, 2) == UINT64_MAX &&
         actnn_stash_bytes(conv, 4, ACTNN_BLOCKED, 0.5) == UINT64_MAX &&
         actnn_stash_bytes(conv, 4, ACTNN_BLOCKED, (double)NAN) == UINT64_MAX &&
         actnn_stash_bytes(conv, 2, ACTNN_BLOCKED, 2) == UINT64_MAX,
     "extents and bits without sense are refused");
  ok(actnn_stash_bytes(empty, 2, ACTNN_PLAIN, 2) == 0 && actnn_stash_bytes(hole, 3, ACTNN_PLAIN, 2) == 0,
     "empty values take nothing");
  int64_t odd[4] = {3, 5, 7, 9};
  ok(actnn_packed_bytes(odd, 4, ACTNN_BLOCKED, 1) == 3 * 16 * 63 / 8 &&
         actnn_packed_bytes(odd, 4, ACTNN_PLAIN, 2) == 237 &&
         actnn_packed_bytes(vast, 3, ACTNN_PLAIN, 1) == UINT64_MAX &&
         actnn_packed_bytes(odd, 4, ACTNN_PLAIN, 9) == UINT64_MAX,
     "packed sizes hold for every channel block");
}

int
main(void)
{
  test_philox();
  test_headers();
  test_sizes();
  for (int b = 0; b < 3; b++) {
    const actnn_codec_kernels *kernels = actnn_codec_kernels_named(builds[b]);
    printf("# %s%s\n", builds[b], kernels ? "" : ": not on this processor");
    if (!kernels)
      continue;
    test_packing(kernels);
    test_extremes(kernels);
    test_constants(kernels);
  }
  test_layouts();
  test_statistics();
  test_independence();
  return tap_done();
}
