/* test_codec.c: codes, their packing and their sizes, and that all builds make the same bytes. Headers are test_codec_headers.c's,
 * what codes do on average test_codec_noise.c's, normalized values test_codec_normal.c's. */
#include "codec_cases.h"
#include "tap.h"

static const struct {
  actnn_spacing spacing;
  bool dither;
} codings[] = {{ACTNN_EVEN_LEVELS, false},   {ACTNN_EVEN_LEVELS, true},   {ACTNN_FIXED_LEVELS, false},
               {ACTNN_FIXED_LEVELS, true},   {ACTNN_MASKED_LEVELS, false}, {ACTNN_MASKED_LEVELS, true},
               {ACTNN_SQUARE_LEVELS, false}, {ACTNN_SQUARE_LEVELS, true}};
enum { CODINGS = sizeof codings / sizeof *codings };

static actnn_code
code_of(int coding, int levels)
{
  return (actnn_code){codings[coding].spacing, codings[coding].dither, levels, -0.17f, 1.13f};
}

static bool
has_header(const actnn_code *code)
{
  return code->spacing != ACTNN_FIXED_LEVELS;
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

/* ---- Layouts and builds ---------------------------------------------------------------------------- */

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

/* Decoded values are what the bytes mean, near what was coded, and padding is zero. */
static int
is_right(const coded *coded, uint64_t draw)
{
  size_t seen = 0, zeros = 0;
  FOR_ELEMENTS(coded) {
    element element = read_element(coded, sample, row, lane, draw);
    double width, value = coded->value[place];
    float expected = meaning(&element, &coded->code, &width);
    seen++;
    if (coded->back[place] != expected || !(fabs(expected - value) <= width * 1.0001 + fabs(value) * 0x1p-22))
      return 0;
    if (coded->code.spacing == ACTNN_MASKED_LEVELS && (value > 0) != (element.code > 0))
      return 0;
  }
  for (size_t i = 0; i < coded->elements; i++)
    zeros += coded->value[i] == 0 && coded->back[i] == 0;
  return zeros >= coded->elements - seen;
}

/* Elements of two layouts of one value. */
static int
is_same_value(const coded *a, const coded *b)
{
  FOR_ELEMENTS(a) {
    int64_t other = actnn_codec_element(&b->codec, b->block, sample, row, lane);
    if (memcmp(&a->back[place], &b->back[other], sizeof(float)))
      return 0;
  }
  return 1;
}

/* Of masked levels: exactly what is positive passes, in place or not, and padding becomes zero. */
static int
selects(const actnn_codec_kernels *kernels, coded *coded, bool in_place)
{
  float *dy = allocate(coded->elements * sizeof *dy), *dx = in_place ? dy : allocate(coded->elements * sizeof *dx);
  int right = 1;
  for (size_t i = 0; i < coded->elements; i++)
    dy[i] = i % 7 ? (float)i : -(float)i;
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded->codec); tile++) {
      actnn_tile_work work = {&coded->codec, coded->block, sample, tile, false, false, NULL};
      kernels->select(&work, coded->stash + (uint64_t)sample * coded->bytes, &coded->code, dy, dx);
    }
  for (size_t i = 0; i < coded->elements; i++)
    right &= dx[i] == (coded->value[i] > 0 ? i % 7 ? (float)i : -(float)i : 0);
  right &= is_margin_intact(dx, coded->elements * sizeof *dx);
  free(dy);
  if (!in_place)
    free(dx);
  return right;
}

/* A gradient times what is decoded, in place or not; padding stays zero. */
static int
multiplies(const actnn_codec_kernels *kernels, coded *coded, unsigned draw, bool in_place)
{
  float *dy = allocate(coded->elements * sizeof *dy), *dx = in_place ? dy : allocate(coded->elements * sizeof *dx);
  int right = 1;
  for (size_t i = 0; i < coded->elements; i++)
    dy[i] = (float)(i % 7) - 2.5f;
  for (int64_t sample = 0; sample < coded->codec.samples; sample++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(&coded->codec); tile++) {
      actnn_tile_work work = {&coded->codec, coded->block, sample, tile, false, false, NULL};
      kernels->multiply(&work, coded->stash + (uint64_t)sample * coded->bytes, &coded->code, key_of(draw), dy, dx);
    }
  FOR_ELEMENTS(coded) right &= dx[place] == ((float)(place % 7) - 2.5f) * coded->back[place];
  right &= is_margin_intact(dx, coded->elements * sizeof *dx);
  free(dy);
  if (!in_place)
    free(dx);
  return right;
}

typedef struct outcome {
  int same, right, bounded, selected, multiplied;
} outcome;

static void
try_layout(const shape *shape, const actnn_code *code, outcome *outcome)
{
  coded first = make(shape, *code, 16);
  double noise = code_all(actnn_codec_kernels_named("scalar"), &first, 3, true);
  decode_all(actnn_codec_kernels_named("scalar"), &first, 3);
  int right = is_right(&first, 3);
  for (int b = 0; b < 3; b++)
    for (int block = 1; block <= 16; block = block == 1 ? 8 : 2 * block) {
      const actnn_codec_kernels *kernels = actnn_codec_kernels_named(builds[b]);
      if (!kernels)
        continue;
      coded other = make(shape, *code, block);
      double counted = code_all(kernels, &other, 3, true);
      decode_all(kernels, &other, 3);
      int same = memcmp(first.stash, other.stash, first.bytes * (uint64_t)first.codec.samples) == 0 &&
                 is_same_value(&first, &other) && fabs(counted - noise) <= 1e-9 * noise;
      code_all(kernels, &other, 3, false); /* rows may then be read where they lie */
      same &= memcmp(first.stash, other.stash, first.bytes * (uint64_t)first.codec.samples) == 0;
      if (code->spacing == ACTNN_MASKED_LEVELS)
        outcome->selected &= selects(kernels, &other, false) && selects(kernels, &other, true);
      outcome->multiplied &= multiplies(kernels, &other, 3, false) && multiplies(kernels, &other, 3, true);
      if (!same || !right)
        printf("# %s, %d %s levels, dither %d, %s, block %d: %s\n", shape->what, code->levels, spacing_names[code->spacing],
               code->dither, builds[b], block, same ? "wrong" : "other bytes");
      outcome->same &= same;
      outcome->bounded &= is_within_bounds(&other);
      discard(&other);
    }
  outcome->right &= right;
  discard(&first);
}

static void
test_layouts(void)
{
  for (int coding = 0; coding < CODINGS; coding++) {
    outcome outcome = {1, 1, 1, 1, 1};
    int levels = 0;
    for (int choice = 0; (levels = actnn_choice_levels(choice)) > 0; choice++) {
      actnn_code code = code_of(coding, levels);
      for (int s = 0; levels >= actnn_least_levels(code.spacing, false, 0) && s < SHAPES; s++)
        try_layout(&shapes[s], &code, &outcome);
    }
    const char *name = spacing_names[codings[coding].spacing], *how = codings[coding].dither ? "dithered" : "stochastic";
    ok(outcome.same, "%s levels, %s: the same bytes, values and noise from every build and every channel block", name, how);
    ok(outcome.right, "%s levels, %s: values are where they belong, within a step, and padding is zero", name, how);
    ok(outcome.bounded, "%s levels, %s: nothing is written beyond a value or its codes", name, how);
    ok(outcome.multiplied, "%s levels, %s: a gradient is multiplied by what is decoded", name, how);
    if (codings[coding].spacing == ACTNN_MASKED_LEVELS)
      ok(outcome.selected, "%s levels, %s: exactly what is positive is selected", name, how);
  }
}

/* Values on the levels of a fixed range keep their codes: all numbers of levels there can be go through symbols and planes. */
static void
test_level_counts(const actnn_codec_kernels *kernels)
{
  static const shape lengths[] = {{"", ACTNN_PLAIN, 1, {1}}, {"", ACTNN_PLAIN, 1, {333}}, {"", ACTNN_PLAIN, 2, {2, 256}},
                                  {"", ACTNN_BLOCKED, 3, {1, 16, 200}}, {"", ACTNN_BLOCKED, 3, {1, 16, 250}}};
  int same = 1, dense = 1;
  for (int levels = 2; levels <= 256; levels++) {
    actnn_packing packing = actnn_codec_packing(levels);
    double bits = (double)packing.bits / packing.together;
    dense &= bits >= log2(levels) - 1e-9 && bits <= ceil(log2(levels)) && packing.bits <= 8;
    for (size_t s = 0; s < sizeof lengths / sizeof *lengths; s++) {
      coded coded = make(&lengths[s], (actnn_code){ACTNN_FIXED_LEVELS, false, levels, 0, (float)(levels - 1)}, 16);
      for (size_t i = 0; i < coded.elements; i++)
        coded.value[i] = (float)(random_bits() % (uint32_t)levels);
      code_all(kernels, &coded, (uint64_t)levels, false);
      decode_all(kernels, &coded, (uint64_t)levels);
      same &= memcmp(coded.value, coded.back, coded.elements * sizeof(float)) == 0 && is_within_bounds(&coded);
      discard(&coded);
    }
  }
  ok(same, "codes of 2 to 256 levels come back");
  ok(dense && actnn_codec_packing(3).together == 5 && actnn_codec_packing(5).bits == 7 && actnn_codec_packing(6).together == 3 &&
         actnn_codec_packing(11).bits == 7 && actnn_codec_packing(64).together == 1,
     "symbols take no more bits than codes one by one would, and no fewer than there are");
}

/* All of a sample's bytes depend on nothing but what is coded, but for what fills the headers up to a multiple of 4. */
static void
test_every_byte(const actnn_codec_kernels *kernels)
{
  int all = 1;
  for (int coding = 0; coding < CODINGS; coding++)
    for (int s = 0; s < SHAPES; s++) {
      coded coded = make(&shapes[s], code_of(coding, 11), 16);
      size_t bytes = coded.bytes * (uint64_t)coded.codec.samples;
      code_all(kernels, &coded, 0, false);
      uint8_t *before = allocate(bytes);
      memcpy(before, coded.stash, bytes);
      memset(coded.stash, 0xc3, bytes);
      code_all(kernels, &coded, 0, false);
      uint64_t used = (uint64_t)(actnn_codec_tiles(&coded.codec) * actnn_codec_tile_headers(&coded.codec)) *
                      (uint64_t)coded.codec.header_words * sizeof(uint16_t);
      for (size_t i = 0; i < bytes; i++)
        all &= before[i] == coded.stash[i] ||
               (i % coded.bytes >= used && i % coded.bytes < actnn_codec_header_bytes(&coded.codec));
      free(before);
      discard(&coded);
    }
  ok(all, "coding sets every byte of a sample");
}

/* What measures a tile: its squares, and the range that bytes are shared out by. */
static void
test_measures(const actnn_codec_kernels *kernels)
{
  int right = 1;
  for (int coding = 0; coding < CODINGS; coding++)
    for (int s = 0; s < SHAPES; s++)
      for (int block = 1; block <= 16; block = block == 1 ? 8 : 2 * block) {
        coded coded = make(&shapes[s], code_of(coding, 4), block);
        bool counts = codings[coding].spacing == ACTNN_MASKED_LEVELS;
        double squares = 0, range = 0, true_squares = 0, bound = 0;
        for (int64_t sample = 0; sample < coded.codec.samples; sample++)
          for (int64_t tile = 0; tile < actnn_codec_tiles(&coded.codec); tile++) {
            actnn_tile_work work = {&coded.codec, block, sample, tile, false, false, NULL};
            squares += kernels->squares(&work, coded.value);
            range += kernels->range(&work, coded.value, codings[coding].spacing, NULL);
          }
        if (has_header(&coded.code))
          code_all(kernels, &coded, 0, false);
        FOR_ELEMENTS(&coded) {
          element element = read_element(&coded, sample, row, lane, 0);
          /* The header's step times the steps, rounded up by at most three parts in 256, and its minimum rounded down. */
          double width = element.group.step * (counts ? 2.0 : codings[coding].spacing == ACTNN_SQUARE_LEVELS ? 9.0 : 3.0);
          true_squares += pow((double)coded.value[place], 2);
          bound += counts && !(coded.value[place] > 0) ? 0 : width * width;
        }
        right &= fabs(squares - true_squares) <= 1e-9 * true_squares;
        if (has_header(&coded.code) && range > 0)
          right &= range <= bound * 1.0001 && range >= bound * 0.9;
        discard(&coded);
      }
  ok(right, "squares are summed, and a range is that of the headers");
}

/* ---- Values that are not ordinary ---------------------------------------------------------------- */

static void
code_and_decode(const actnn_codec_kernels *kernels, coded *coded)
{
  code_all(kernels, coded, 5, false);
  decode_all(kernels, coded, 5);
}

static void
test_extremes(const actnn_codec_kernels *kernels, int coding)
{
  static const shape few = {"", ACTNN_PLAIN, 2, {1, 256}}, lanes = {"", ACTNN_BLOCKED, 3, {1, 16, 128}};
  static const float bad[] = {NAN, INFINITY, -INFINITY, -NAN}, scale[] = {FLT_TRUE_MIN, FLT_MIN, 1e38f};
  int shown = 1, contained = 1, finite = 1, levels = 0;
  bool is_signed = codings[coding].spacing == ACTNN_EVEN_LEVELS;
  for (int choice = 0; (levels = actnn_choice_levels(choice)) > 0; choice++) {
    actnn_code code = code_of(coding, levels);
    if (levels < actnn_least_levels(code.spacing, false, 0))
      continue;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
      coded one = make(&few, code, 16), many = make(&lanes, code, 16);
      one.value[100] = many.value[100] = bad[i]; /* lane 4 */
      code_and_decode(kernels, &one);
      code_and_decode(kernels, &many);
      for (size_t k = 0; k < one.elements; k++)
        shown &= isnan(one.back[k]);
      for (size_t k = 0; k < many.elements; k++) {
        shown &= k % 16 != 4 || isnan(many.back[k]);
        contained &= k % 16 == 4 || isfinite(many.back[k]);
      }
      discard(&one);
      discard(&many);
    }
    coded one = make(&few, code, 16);
    for (int i = 0; i < 3; i++) {
      for (size_t k = 0; k < one.elements; k++)
        one.value[k] = (float)((k * 7) % 31) * 0.03f * scale[i] - (k % 2 && is_signed ? 0.1f * scale[i] : 0);
      code_and_decode(kernels, &one);
      for (size_t k = 0; k < one.elements; k++)
        finite &= isfinite(one.back[k]);
    }
    one.value[0] = FLT_MAX;
    one.value[1] = is_signed ? -FLT_MAX : 0;
    code_and_decode(kernels, &one);
    finite &= is_signed ? isnan(one.back[0]) : isnan(one.back[0]) || fabsf(one.back[0] / FLT_MAX - 1) < 0.51f;
    discard(&one);
  }
  const char *name = spacing_names[codings[coding].spacing];
  ok(shown, "%s levels: a group with NaN or infinity comes back as NaN", name);
  ok(contained, "%s levels: and no other group", name);
  ok(finite, "%s levels: denormal and huge values are coded; a range beyond float is not finite", name);
}

/* Of a fixed range nothing is stored, so that nothing can tell NaN: it becomes the low end, like all that lies below. */
static void
test_fixed_range(const actnn_codec_kernels *kernels)
{
  static const shape few = {"", ACTNN_PLAIN, 2, {1, 256}};
  coded coded = make(&few, code_of(2, 4), 16);
  static const float out[] = {NAN, -INFINITY, -5, INFINITY, 5};
  memcpy(coded.value, out, sizeof out);
  code_and_decode(kernels, &coded);
  ok(coded.back[0] == -0.17f && coded.back[1] == -0.17f && coded.back[2] == -0.17f && fabsf(coded.back[3] - 1.13f) < 1e-6f &&
         coded.back[4] == coded.back[3],
     "what lies outside of a fixed range becomes its end");
  discard(&coded);
}

/* Of even levels a constant group is stored as it is; of those that start at zero, zeros are. */
static void
test_constants(const actnn_codec_kernels *kernels)
{
  static const shape few = {"", ACTNN_PLAIN, 2, {1, 250}}, lanes = {"", ACTNN_BLOCKED, 3, {1, 20, 128}};
  int exact = 1, silent = 1, levels = 0;
  for (int coding = 0; coding < CODINGS; coding++)
    for (int choice = 1; (levels = actnn_choice_levels(choice)) > 0; choice++)
      for (int trial = 0; trial < 20 && has_header(&(actnn_code){codings[coding].spacing, 0, 0, 0, 0}); trial++) {
        coded one = make(&few, code_of(coding, levels), 16), many = make(&lanes, code_of(coding, levels), 16);
        float value = trial == 0 || codings[coding].spacing != ACTNN_EVEN_LEVELS ? 0
                      : trial == 1                                               ? FLT_MAX
                      : trial < 10                                               ? random_float()
                                                                                 : random_normal();
        value = value != 0 && fabsf(value) < 0x1p-80f ? 1 : value;
        for (size_t k = 0; k < one.elements; k++)
          one.value[k] = value;
        for (size_t k = 0; k < many.elements; k++)
          many.value[k] = k / 128 / 16 == 1 && k % 16 >= 4 ? 0 : value * (float)(k % 16 == 3 ? 0.5 : 1);
        double noise = code_all(kernels, &one, (uint64_t)trial, true) + code_all(kernels, &many, (uint64_t)trial, true);
        decode_all(kernels, &one, (uint64_t)trial);
        decode_all(kernels, &many, (uint64_t)trial);
        silent &= noise <= 1e-9 * value * value;
        exact &= memcmp(one.value, one.back, one.elements * sizeof(float)) == 0;
        exact &= memcmp(many.value, many.back, many.elements * sizeof(float)) == 0;
        discard(&one);
        discard(&many);
      }
  ok(exact, "constant groups come back exactly");
  ok(silent, "and are said to have no noise");
}

/* ---- Sizes --------------------------------------------------------------------------------------- */

static bool
is_refused(const int64_t *dim, int rank, actnn_layout layout, actnn_spacing spacing, int levels)
{
  return actnn_stash_bytes(dim, rank, layout, spacing, levels) == UINT64_MAX;
}

static void
test_sizes(void)
{
  int64_t conv[4] = {16, 64, 56, 56}, negative[2] = {-1, 4},
          vast[3] = {INT64_C(1) << 40, INT64_C(1) << 40, 2};
  int64_t empty[2] = {0, 7}, hole[3] = {4, 0, 16};
  double exact = 16.0 * 64 * 56 * 56 / 8;
  static const double headers[ACTNN_SPACINGS] = {0.125, 0, 0.0625, 0.0625, 0.125}; /* bits an element, of groups of 256 */
  int light = 1, rising = 1, levels = 0;
  for (int spacing = 0; spacing < ACTNN_SPACINGS; spacing++) {
    double before = 0;
    for (int choice = 0; (levels = actnn_choice_levels(choice)) > 0; choice++) {
      actnn_packing packing = actnn_codec_packing(levels);
      double bits = (double)actnn_stash_bytes(conv, 4, ACTNN_BLOCKED, (actnn_spacing)spacing, levels) / exact;
      double ideal = (double)packing.bits / packing.together + headers[spacing];
      light &= bits >= ideal * 0.999 && bits <= ideal * 1.05;
      rising &= bits > before;
      before = bits;
    }
  }
  ok(light, "64 x 56 x 56: headers cost an eighth of a bit or what they have less, padding little");
  ok(rising && actnn_choice_levels(-1) == 0 && actnn_choice_levels(ACTNN_LEVEL_CHOICES) == 0 && actnn_choice_levels(0) == 2 &&
         actnn_choice_levels(ACTNN_LEVEL_CHOICES - 1) == 256,
     "more levels take more bytes");
  ok(is_refused(negative, 2, ACTNN_PLAIN, ACTNN_EVEN_LEVELS, 4) && is_refused(vast, 3, ACTNN_PLAIN, ACTNN_EVEN_LEVELS, 4) &&
         is_refused(conv, 9, ACTNN_PLAIN, ACTNN_EVEN_LEVELS, 4) && is_refused(conv, 4, ACTNN_BLOCKED, ACTNN_EVEN_LEVELS, 1) &&
         is_refused(conv, 4, ACTNN_BLOCKED, ACTNN_EVEN_LEVELS, 257) && is_refused(conv, 4, ACTNN_BLOCKED, ACTNN_SPACINGS, 4) &&
         is_refused(conv, 4, ACTNN_STASH, ACTNN_EVEN_LEVELS, 4) && is_refused(conv, 2, ACTNN_BLOCKED, ACTNN_EVEN_LEVELS, 4) &&
         is_refused(conv, 4, ACTNN_PLAIN, ACTNN_NORMAL_LEVELS, 4) && !is_refused(conv, 4, ACTNN_PLAIN, ACTNN_SQUARE_LEVELS, 4),
     "extents, layouts and levels without sense are refused");
  ok(actnn_stash_bytes(empty, 2, ACTNN_PLAIN, ACTNN_EVEN_LEVELS, 4) == 0 &&
         actnn_stash_bytes(hole, 3, ACTNN_PLAIN, ACTNN_EVEN_LEVELS, 4) == 0,
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
  test_sizes();
  for (int b = 0; b < 3; b++) {
    const actnn_codec_kernels *kernels = actnn_codec_kernels_named(builds[b]);
    printf("# %s%s\n", builds[b], kernels ? "" : ": not on this processor");
    if (!kernels)
      continue;
    test_packing(kernels);
    test_level_counts(kernels);
    test_every_byte(kernels);
    test_measures(kernels);
    for (int coding = 0; coding < CODINGS; coding++)
      if (has_header(&(actnn_code){codings[coding].spacing, 0, 0, 0, 0}))
        test_extremes(kernels, coding);
    test_fixed_range(kernels);
    test_constants(kernels);
  }
  test_layouts();
  return tap_done();
}
