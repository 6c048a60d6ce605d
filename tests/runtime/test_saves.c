/* test_saves.c: coded saves in a trainer: places, bytes that move, threads, draws; and packed masks. */
#include "allocation.h"
#include "codec.h"
#include "device.h"
#include "offload.h"
#include "saves_rig.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
forward(rig *rig)
{
  int wrong = saves_begin_step(&rig->trainer);
  for (int i = 0; !wrong && i < SAVES; i++)
    wrong = quantize(rig, i);
  for (int i = 0; !wrong && i < SAVES; i++)
    wrong = dequantize(rig, i);
  if (wrong)
    printf("# %s\n", rig->trainer.error);
  return wrong;
}

static int
pool_is_intact(const rig *rig)
{
  uint64_t all = 0;
  for (uint32_t i = 0; i < SAVES; i++)
    all += saves_coded_bytes(&rig->trainer, i);
  for (int i = 0; i < 64; i++)
    if (rig->trainer.arena[rig->model.stash_bytes + (uint64_t)i] != 0xa5)
      return 0;
  return all <= rig->model.stash_bytes;
}

static double
error_of(const rig *rig, int i)
{
  double sum = 0;
  for (size_t k = 0; k < rig->elements[i]; k++)
    sum += pow((double)rig->back[i][k] - rig->value[i][k], 2);
  return sum;
}

static void
test_step(void)
{
  rig *rig = make_rig(4.6, 2, 16);
  uint64_t bytes = rig->model.stash_bytes;
  unsigned char *before = malloc(bytes), *arena = rig->trainer.arena;
  ok(forward(rig) == 0 && pool_is_intact(rig), "codes and decodes within the pool at 4.6 levels");
  ok(saves_levels(&rig->trainer, 0) > 4.2 && saves_levels(&rig->trainer, 0) <= 4.7,
     "the bytes of the plan are used");
  memcpy(before, arena, bytes);
  ok(forward(rig) == 0 && memcmp(before, arena, bytes) == 0, "the same step makes the same bytes");
  rig->trainer.draw = 1;
  ok(forward(rig) == 0 && memcmp(before, arena, bytes) != 0, "another draw makes others");
  rig->trainer.draw = 0;
  rig->trainer.step = 1;
  ok(forward(rig) == 0 && memcmp(before, arena, bytes) != 0, "another step makes others");
  saves_count_noise(&rig->trainer, true);
  double found = 0, counted = 0;
  for (rig->trainer.draw = 1; rig->trainer.draw <= 400; rig->trainer.draw++) {
    forward(rig);
    found += error_of(rig, 0);
    for (int64_t sample = 0; sample < extents[0][0]; sample++)
      counted += rig->trainer.saves->save[0].noise[sample].above;
  }
  printf("# noise found / counted: %.4f\n", found / counted);
  ok(fabs(found / counted - 1) < 0.01, "the noise counted is the noise found");
  rig->value[0][5] = NAN;
  ok(forward(rig) == 0 && isnan(rig->back[0][5]) && pool_is_intact(rig), "NaN comes through, at any levels");
  free(before);
  discard(rig);
}

static void
test_variants(void)
{
  rig *one = make_rig(5.2, 1, 16);
  int same = forward(one) == 0;
  for (int block = 1; block <= 16; block = block == 1 ? 8 : 2 * block)
    for (int threads = 1; threads <= 3; threads++) {
      rig *other = make_rig(5.2, threads, block);
      same &= forward(other) == 0 &&
              memcmp(one->trainer.arena, other->trainer.arena, one->model.stash_bytes) == 0;
      for (int i = 0; i < SAVES; i++)
        same &= measure(one, i, 2) == 0 && measure(other, i, 2) == 0;
      uint64_t a[SAVES], b[SAVES];
      same &= saves_shares(&one->trainer, a) == 0 && saves_shares(&other->trainer, b) == 0;
      same &= memcmp(a, b, sizeof a) == 0;
      discard(other);
      discard(one);
      one = make_rig(5.2, 1, 16);
      same &= forward(one) == 0;
    }
  ok(same, "the same codes and shares from any number of threads and any channel block");
  discard(one);
}

static void
test_adaptation(void)
{
  rig *rig = make_rig(8, 2, 8);
  int fine = 1;
  double first, second, third;
  for (rig->trainer.step = 0; rig->trainer.step < 3; rig->trainer.step++) {
    fine &= forward(rig) == 0 && pool_is_intact(rig);
    if (rig->trainer.step == 0)
      fine &= fabs(saves_levels(&rig->trainer, 0) - 8) < 0.6; /* nothing is known yet */
    for (int i = 0; i < SAVES; i++)
      fine &= measure(rig, i, i == 1 ? 1e4 : 1) == 0;
  }
  first = saves_levels(&rig->trainer, 0);
  second = saves_levels(&rig->trainer, 1);
  third = saves_levels(&rig->trainer, 2);
  printf("# levels %.2f %.2f %.2f\n", first, second, third);
  ok(fine, "three steps with measurements stay within the pool");
  ok(second > 24 && first < 8 && third == 8, "bytes move to the save whose noise matters, fixed ones stay");
  uint64_t shares[SAVES];
  fine =
      saves_shares(&rig->trainer, shares) == 0 && shares[0] + shares[1] + shares[2] <= rig->model.stash_bytes;
  struct rig *resumed = make_rig(8, 1, 16);
  resumed->trainer.step = rig->trainer.step;
  memset(rig->trainer.arena, 0, rig->model.stash_bytes); /* earlier steps left other bytes in the gaps */
  fine &= saves_set_shares(&resumed->trainer, shares) == 0 && forward(resumed) == 0 && forward(rig) == 0;
  fine &= memcmp(resumed->trainer.arena, rig->trainer.arena, rig->model.stash_bytes) == 0;
  ok(fine, "a resumed run continues with the same codes");
  shares[1] += 1 << 20;
  ok(saves_set_shares(&resumed->trainer, shares) == 1, "shares beyond the pool are refused");
  shares[1] = 0;
  ok(saves_set_shares(&resumed->trainer, shares) == 1, "shares below the fewest levels are refused");
  discard(resumed);
  memset(rig->gradient[0], 0, rig->elements[0] * 4);
  memset(rig->gradient[1], 0, rig->elements[1] * 4);
  rig->trainer.step = SAVES_INTERVAL;
  fine = forward(rig) == 0 && measure(rig, 0, 1) == 0 && measure(rig, 1, 1) == 0;
  rig->trainer.step++;
  fine &= forward(rig) == 0 && saves_levels(&rig->trainer, 1) == second;
  rig->gradient[0][3] = INFINITY;
  rig->trainer.step = 2 * SAVES_INTERVAL;
  fine &= forward(rig) == 0 && measure(rig, 0, 1) == 0 && measure(rig, 1, 1) == 0;
  rig->trainer.step++;
  fine &= forward(rig) == 0 && saves_levels(&rig->trainer, 1) == second;
  ok(fine, "zero or infinite gradients leave the bytes as they are");
  discard(rig);
}

static void
test_refusals(void)
{
  rig *rig = make_rig(4, 1, 16);
  actnn_view value = view_of(rig, 0, rig->value[0]);
  actnn_attribute index = INT(SAVES);
  actnn_call call = {&rig->trainer, 1, 1, 1, &value, &value, &index};
  ok(dequantize(rig, 0) == 1, "decoding before coding is refused");
  ok(actnn_QuantizeOnSave(&call) == 1, "a save that does not exist is refused");
  index.i = 1;
  ok(saves_begin_step(&rig->trainer) == 0 && actnn_QuantizeOnSave(&call) == 1,
     "a value of other extents is refused");
  discard(rig);
  rig = make_rig(4, 1, 16);
  rig->model.stash_bytes -= 64;
  ok(saves_begin_step(&rig->trainer) == 1, "a pool that is too small is refused");
  discard(rig);
}

/* ---- a window on the pool -------------------------------------------------------------------------- */

/* Bytes move under a window as long as all that is read at once has room in it. A device that does nothing stands for the one that copies; the
 * codes are made and read in the processor's memory all the same. */
static void
use_window(rig *rig, uint64_t pool, uint64_t window, bool are_read_at_once)
{
  static const actnn_device idle = {.name = "idle"};
  actnn_kernel *const kernels[] = {actnn_QuantizeOnSave, actnn_DequantizeOnBackward, actnn_MeasureSensitivity};
  rig->trainer.device = &idle;
  rig->trainer.quiet = true;
  rig->model.stash_bytes = pool;
  rig->model.window_bytes = window;
  free(rig->trainer.arena);
  rig->trainer.arena = calloc(pool, 1);
  int wrong = offload_create(&rig->trainer);
  for (int phase = 0; phase < 3; phase++)
    for (int i = 0; i < SAVES; i++) {
      int save = phase == 0 || are_read_at_once ? i : SAVES - 1 - i;
      actnn_attribute index = INT(save);
      actnn_call call = {.trainer = &rig->trainer, .attribute_count = 1, .attribute = &index};
      if (phase == 2 && !are_read_at_once)
        continue;
      wrong |= offload_note(&rig->trainer, kernels[phase], &call);
    }
  ok(!wrong && offload_fits(&rig->trainer), "a window of %llu bytes on a pool of %llu", (unsigned long long)window, (unsigned long long)pool);
}

/* Three steps in which the second value's noise matters most. */
static int
adapt_in_window(rig *rig)
{
  int wrong = 0;
  for (rig->trainer.step = 0; rig->trainer.step < 3; rig->trainer.step++) {
    wrong |= saves_begin_step(&rig->trainer);
    for (int i = 0; i < SAVES && !wrong; i++)
      wrong |= quantize(rig, i) || dequantize(rig, i) || measure(rig, i, i == 1 ? 1e4 : 1);
  }
  return wrong;
}

static void
test_window(void)
{
  rig *rig = make_rig(8, 1, 8), *whole = make_rig(8, 1, 8);
  uint64_t pool = rig->model.stash_bytes, shares[SAVES], wide[SAVES];
  use_window(rig, pool, pool / 4 * 3 / 64 * 64, false);
  int fine = adapt_in_window(rig) == 0 && adapt_in_window(whole) == 0;
  fine &= saves_shares(&rig->trainer, shares) == 0 && saves_shares(&whole->trainer, wide) == 0;
  ok(fine && saves_levels(&rig->trainer, 1) > 12 && shares[1] <= rig->model.window_bytes / 2 && wide[1] > rig->model.window_bytes / 2,
     "bytes move to the save whose noise matters, up to half of the window: %llu, without one %llu", (unsigned long long)shares[1],
     (unsigned long long)wide[1]);
  ok(offload_fits(&rig->trainer) && shares[0] + shares[1] + shares[2] <= pool, "and all have room in it when they need it");
  offload_destroy(&rig->trainer);
  discard(rig);
  rig = make_rig(8, 1, 8);
  rig->tensor[2].bytes = rig->trainer.saves->save[2].share = pool / 4 / 64 * 64; /* the halves of the others do not fit beside it */
  use_window(rig, pool * 3, pool / 4 * 5 / 64 * 64, true);
  uint64_t planned[SAVES];
  for (int i = 0; i < SAVES; i++)
    planned[i] = rig->trainer.saves->save[i].share;
  ok(adapt_in_window(rig) == 0 && saves_shares(&rig->trainer, shares) == 0 && !memcmp(shares, planned, sizeof shares),
     "where all are read at once and would not have room, nothing moves, though the pool has it");
  shares[1] += pool;
  ok(saves_set_shares(&rig->trainer, shares) == 0 && saves_shares(&rig->trainer, wide) == 0 && !memcmp(wide, planned, sizeof wide) &&
         saves_begin_step(&rig->trainer) == 0,
     "a checkpoint's shares that do not fit it give way to the planned ones");
  rig->model.window_bytes = pool - 64;
  rig->trainer.saves->placed = false;
  ok(saves_begin_step(&rig->trainer) == 1 && strstr(rig->trainer.error, "does not hold what single calls need"), "%s", rig->trainer.error);
  offload_destroy(&rig->trainer);
  discard(rig);
  discard(whole);
}

static void
test_masks(void)
{
  static const int64_t dim[4] = {3, 21, 37, 41};
  actnn trainer = {.threads = 2};
  int same = 1;
  for (int block = 1; block <= 16; block = block == 1 ? 8 : 2 * block)
    for (int bits = 1; bits <= 8; bits++) {
      trainer.channel_block = block;
      size_t count = (size_t)(3 * ((21 + block - 1) / block * block) * 37 * 41);
      uint64_t bytes = actnn_packed_bytes(dim, 4, ACTNN_BLOCKED, bits);
      uint8_t *value = malloc(count), *packed = malloc(bytes + 1), *back = malloc(count);
      for (size_t k = 0; k < count; k++)
        value[k] = (uint8_t)(k * 2654435761u >> 13) & (uint8_t)((1 << bits) - 1);
      packed[bytes] = 0xa5;
      actnn_view plain = {value, bits == 1 ? ACTNN_BOOL : ACTNN_U8, ACTNN_BLOCKED, 4, dim, count, 0},
                 result = plain;
      actnn_view stash = {packed, ACTNN_U8, ACTNN_STASH, 4, dim, bytes, 0};
      actnn_attribute with = INT(bits);
      result.data = back;
      same &= actnn_PackBits(&(actnn_call){&trainer, 1, 1, 1, &stash, &plain, &with}) == 0;
      same &= actnn_UnpackBits(&(actnn_call){&trainer, 1, 1, 1, &result, &stash, &with}) == 0;
      same &= memcmp(value, back, count) == 0 && packed[bytes] == 0xa5;
      stash.bytes = count * (size_t)bits / 8 - 8;
      same &= actnn_PackBits(&(actnn_call){&trainer, 1, 1, 1, &stash, &plain, &with}) == 1;
      free(value);
      free(packed);
      free(back);
    }
  ok(same, "masks and indices pack and unpack in every layout; too small a stash is refused");
}

/* A buffer is longer than the gradient that stands in it. */
static void
test_gradient_norm(void)
{
  rig *rig = make_rig(4.6, 1, 16);
  float gradient[16] = {3, 4, NAN, 5};
  const int64_t two = 2;
  actnn_view views[2] = {{.id = 0}, {gradient, ACTNN_F32, ACTNN_PLAIN, 1, &two, sizeof gradient, 1}};
  int wrong = saves_begin_step(&rig->trainer);
  saves_note_gradient(&rig->trainer, &(actnn_call){.trainer = &rig->trainer, .input_count = 2, .input = views}, 0);
  ok(!wrong && rig->trainer.saves->gradient_squares == 25, "a gradient's norm is that of its elements alone: %g",
     rig->trainer.saves->gradient_squares);
  discard(rig);
}

int
main(void)
{
  test_gradient_norm();
  test_step();
  test_variants();
  test_adaptation();
  test_refusals();
  test_window();
  test_masks();
  return tap_done();
}
