/* test_codec_headers.c: random numbers that codes are drawn with, and headers that nothing is out of range of. */
#include "codec_cases.h"
#include "tap.h"

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
    float low = a < b ? a : b, high = a < b ? b : a, top = (float)(1 + random_bits() % 255);
    actnn_group group = actnn_codec_group(actnn_codec_header(low, high, top, true), trial % 2);
    if (low == high)
      continue;
    if (isnan(group.base)) {
      poisoned++;
      holds &= high > 1e38f || low < -1e38f;
      continue;
    }
    holds &= group.base <= low && actnn_codec_value((uint32_t)top, group.base, group.step, 0, 0) >= high &&
             (high - group.base) / group.step <= top && group.step > 0 && group.scale > 0;
    group = actnn_codec_group(actnn_codec_header(low, low, top, true), trial % 2);
    uint32_t draw = random_bits() & 0xffff, code = actnn_codec_code(low, group.base, group.scale, top, draw);
    float back = actnn_codec_value(code, group.base, group.step, group.dither, draw);
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
    actnn_group group = actnn_codec_group(actnn_codec_header(special[i], special[i], 1, true), true);
    float back = actnn_codec_value(actnn_codec_code(special[i], group.base, group.scale, 1, 77), group.base,
                                   group.step, group.dither, 77);
    constant &= back == special[i];
  }
  ok(constant, "so do zeros and the largest floats");
}

int
main(void)
{
  test_philox();
  test_headers();
  return tap_done();
}
