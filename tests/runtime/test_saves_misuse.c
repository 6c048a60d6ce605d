/* test_saves_misuse.c: calls of coded and packed saves that no translator writes, and numbers of a run that no checkpoint has: each is
 * refused, and says why. */
#include "saves_rig.h"
#include "tap.h"

typedef struct misused {
  const char *name;
  actnn_kernel *kernel;
  bool is_of_normal, reads;
} misused;
static const misused kernels[] = {{"QuantizeOnSave", actnn_QuantizeOnSave, false, false},
                                  {"DequantizeOnBackward", actnn_DequantizeOnBackward, false, true},
                                  {"DequantizeAffine", actnn_DequantizeAffine, false, true},
                                  {"SelectCoded", actnn_SelectCoded, false, true},
                                  {"MultiplyCoded", actnn_MultiplyCoded, false, true},
                                  {"NormalizeOnSave", actnn_NormalizeOnSave, true, false},
                                  {"DequantizeNormal", actnn_DequantizeNormal, true, true},
                                  {"NormalGradScale", actnn_NormalGradScale, true, true},
                                  {"NormalGradInput", actnn_NormalGradInput, true, true}};

/* All operands are the same view; the message that follows. */
static void
misuse(rig *rig, actnn_kernel *kernel, const char *name, actnn_view view, size_t attributes, int save, int rectified, double cap, const char *message)
{
  actnn_view views[7];
  actnn_attribute with[7] = {INT(save), INT(rectified), REAL_NUMBER(cap), NO_INTS, NO_INTS, NO_INTS, INT(1)};
  for (int i = 0; i < 7; i++)
    views[i] = view;
  rig->trainer.error[0] = 0;
  int failed = kernel(&(actnn_call){&rig->trainer, 2, 7, attributes, views, views, with});
  ok(failed && strstr(rig->trainer.error, message), "%s: %s", name, failed ? rig->trainer.error : "done");
}

static void
test_misuse(void)
{
  rig *rig = make_rig(4, 1, 16);
  actnn_view right = view_of(rig, 0, rig->value[0]), wrong[7];
  int64_t dim[6][4];
  for (int i = 0; i < 7; i++)
    wrong[i] = right;
  for (int i = 0; i < 3; i++) { /* another number of samples, channels, positions */
    memcpy(dim[i], extents[0], sizeof dim[i]);
    dim[i][i]--;
    wrong[i].dim = dim[i];
  }
  wrong[3].type = ACTNN_I32;
  wrong[4].layout = ACTNN_STASH;
  wrong[5].layout = ACTNN_PLAIN;
  wrong[6].rank = 9;
  saves_begin_step(&rig->trainer);
  for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
    actnn_kernel *kernel = kernels[k].kernel;
    misuse(rig, kernel, kernels[k].name, right, 0, 0, 0, 0, "names a coded value that the model does not have");
    misuse(rig, kernel, kernels[k].name, right, 3, -1, 0, 0, "names a coded value that the model does not have");
    misuse(rig, kernel, kernels[k].name, right, 3, SAVES, 0, 0, "names a coded value that the model does not have");
    for (int i = 0; i < 7; i++)
      misuse(rig, kernel, kernels[k].name, wrong[i], 3, 0, 0, 0, "first: the value differs from the one that was coded");
    if (kernels[k].is_of_normal)
      misuse(rig, kernel, kernels[k].name, right, 3, 0, 0, 0, "first: it is not coded as a normalized value");
    rig->trainer.saves->save[0].known = false;
    misuse(rig, kernel, kernels[k].name, right, 3, 0, 0, 0, "first: the value differs from the one that was coded");
    rig->trainer.saves->save[0].known = true;
  }
  misuse(rig, actnn_SelectCoded, "SelectCoded", right, 1, 0, 0, 0, "first: its codes do not tell what is positive");
  rig->save[0].spacing = ACTNN_MASKED_LEVELS;
  misuse(rig, actnn_SelectCoded, "SelectCoded", right, 1, 0, 0, 0, "first: decoded before it was coded");
  rig->save[0].spacing = ACTNN_NORMAL_LEVELS;
  for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
    actnn_kernel *kernel = kernels[k].kernel;
    if (!kernels[k].is_of_normal)
      continue;
    misuse(rig, kernel, kernels[k].name, right, 3, 0, 1, 0, "first: it is read with another rectifier than it was saved with");
    rig->trainer.saves->save[0].rectified = true;
    misuse(rig, kernel, kernels[k].name, right, 3, 0, 1, 6, "first: it is read with another rectifier than it was saved with");
    if (kernels[k].reads)
      misuse(rig, kernel, kernels[k].name, right, 2, 0, 1, 6, "first: decoded before it was coded");
    rig->trainer.saves->save[0].rectified = false;
    if (kernels[k].reads)
      misuse(rig, kernel, kernels[k].name, right, 1, 0, 1, 0, "first: decoded before it was coded");
  }
  rig->trainer.saves->save[0].share = 64;
  misuse(rig, actnn_NormalizeOnSave, "NormalizeOnSave", right, 3, 0, 0, 0, "first: its 64 bytes of the pool do not hold the fewest levels");
  discard(rig);
}

/* Coding the third value, {6, 500}, by a row of it and one or two others. */
static void
misuse_rows(rig *rig, const char *steps, size_t operands, actnn_view first, actnn_view second, const char *message)
{
  actnn_view value[4] = {view_of(rig, 2, rig->value[2]), first, second, second}, stash = {.data = rig->trainer.arena};
  actnn_attribute with[2] = {INT(2), TEXT(steps)};
  rig->trainer.error[0] = 0;
  bool failed = actnn_QuantizeOnSave(&(actnn_call){&rig->trainer, 1, operands, 2, &stash, value, with});
  ok(message ? failed && strstr(rig->trainer.error, message) : !failed, "%s of %zu operands: %s", steps, operands, failed ? rig->trainer.error : "coded");
}

static void
test_misuse_of_rows(void)
{
  static const char standardize[] = "y0=Standardize(x0,x1,x2)", no_float[] = "does not have a float for each of operand 0's rows";
  static const int64_t dim[] = {6, 1}, one[] = {1, 1}, half[] = {6, 250}, deep[] = {6, 1, 1};
  float numbers[6] = {1, 2, 3, 4, 5, 6};
  rig *rig = make_rig(4, 1, 16);
  actnn_view right = {numbers, ACTNN_F32, ACTNN_PLAIN, 2, dim, sizeof numbers, 0}, wrong = right;
  saves_begin_step(&rig->trainer);
  misuse_rows(rig, standardize, 3, right, right, NULL);
  misuse_rows(rig, "y0=Mul(x0,x1)", 2, right, right, NULL);
  misuse_rows(rig, "", 3, right, right, "its steps cannot be coded: a step makes y or t and its number");
  misuse_rows(rig, "y0=Relu(x0)", 1, right, right, "its steps cannot be coded: no coder makes these");
  misuse_rows(rig, "t0=Mul(x0,x1);y0=Mul(t0,x2)", 3, right, right, "its steps cannot be coded: no coder makes these");
  misuse_rows(rig, "y0=Mul(x0,x0)", 1, right, right, "its steps cannot be coded: an operand is read twice");
  misuse_rows(rig, standardize, 2, right, right, "its steps are of 3 operands");
  misuse_rows(rig, standardize, 4, right, right, "its steps are of 3 operands");
  wrong.type = ACTNN_BF16;
  misuse_rows(rig, standardize, 3, wrong, right, no_float);
  wrong = right;
  wrong.layout = ACTNN_BLOCKED;
  misuse_rows(rig, standardize, 3, right, wrong, no_float);
  wrong = right;
  wrong.dim = one; /* one number for all rows */
  misuse_rows(rig, standardize, 3, wrong, wrong, NULL);
  wrong.dim = half;
  misuse_rows(rig, standardize, 3, wrong, wrong, no_float);
  wrong.dim = extents[2];
  misuse_rows(rig, standardize, 3, right, wrong, no_float);
  wrong.dim = deep;
  wrong.rank = 3;
  misuse_rows(rig, standardize, 3, wrong, wrong, no_float);
  discard(rig);
}

static void
test_misuse_of_measure(void)
{
  rig *rig = make_rig(4, 1, 16);
  actnn_view views[2] = {view_of(rig, 0, rig->scaled[0]), view_of(rig, 0, rig->back[0])};
  actnn_attribute with[7] = {INT(0), INT(0), NO_INTS, NO_INTS, NO_INTS, NO_INTS, INT(1)};
  actnn_call call = {&rig->trainer, 0, 2, 7, NULL, views, with};
  const char *error = rig->trainer.error;
  saves_begin_step(&rig->trainer);
  call.input_count = 1;
  ok(actnn_MeasureSensitivity(&call) && strstr(error, "two operands and seven attributes are needed"), "one operand: %s", error);
  call.input_count = 2;
  call.attribute_count = 6;
  rig->trainer.error[0] = 0;
  ok(actnn_MeasureSensitivity(&call) && strstr(error, "two operands and seven attributes are needed"), "six attributes: %s", error);
  call.attribute_count = 7;
  with[0].i = SAVES;
  ok(actnn_MeasureSensitivity(&call) && strstr(error, "does not have"), "another value: %s", error);
  with[0].i = 0;
  views[0].type = ACTNN_I32;
  ok(actnn_MeasureSensitivity(&call) && strstr(error, "only gradients of type float can be measured"), "a gradient of integers: %s", error);
  views[0].type = ACTNN_F32;
  views[0].layout = ACTNN_STASH;
  rig->trainer.error[0] = 0;
  ok(actnn_MeasureSensitivity(&call) && strstr(error, "only gradients of type float can be measured"), "a coded gradient: %s", error);
  views[0].layout = ACTNN_BLOCKED;
  views[1].layout = ACTNN_STASH;
  rig->trainer.error[0] = 0;
  ok(actnn_MeasureSensitivity(&call) && strstr(error, "only gradients of type float can be measured"), "codes in place of a value: %s", error);
  discard(rig);
}

/* What a checkpoint says of a run is trusted no further than this. */
static void
test_kept_numbers(void)
{
  rig *rig = make_rig(4, 1, 16);
  uint64_t shares[SAVES], wrong[SAVES];
  ok(!saves_shares(&rig->trainer, shares) && !saves_set_shares(&rig->trainer, shares), "shares can be set again");
  memcpy(wrong, shares, sizeof wrong);
  wrong[0] -= 32;
  ok(saves_set_shares(&rig->trainer, wrong), "a share that is not aligned is refused");
  wrong[0] = wrong[1] = rig->model.stash_bytes;
  ok(saves_set_shares(&rig->trainer, wrong), "shares that exceed the pool together are refused");
  rig->trainer.saves->save[1].known = false;
  ok(saves_set_shares(&rig->trainer, shares), "a share of what is never coded is refused");
  double state[SAVES][SAVES_REDRAW_NUMBERS] = {{1, 2, 3, 4}};
  ok(!saves_set_redraw_state(&rig->trainer, state) && rig->trainer.saves->save[0].redraws == 4, "what redraws found can be set");
  static const struct {
    int number;
    double value;
  } bad[] = {{0, -1}, {0, NAN}, {1, 1e300}, {1, INFINITY}, {2, 1e16}, {3, 1e16}, {3, -1}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    double kept = state[0][bad[i].number];
    state[0][bad[i].number] = bad[i].value;
    ok(saves_set_redraw_state(&rig->trainer, state) && rig->trainer.saves->save[0].redraws == 4, "number %d cannot be %g", bad[i].number,
       bad[i].value);
    state[0][bad[i].number] = kept;
  }
  ok(!saves_redraw(&rig->trainer, 0.1) && rig->trainer.step == 0, "nothing is redrawn where nothing adapts by it");
  discard(rig);
}

static void
test_extents(void)
{
  const int64_t dim[9] = {2, 3, 4}, negative[3] = {2, -3, 4}, large[3] = {2, 3, INT64_C(1) << 49}, most[3] = {1 << 20, 1 << 20, 1 << 20},
      none[3] = {2, 0, 4};
  const actnn_layout plain = ACTNN_PLAIN, blocked = ACTNN_BLOCKED, stash = ACTNN_STASH;
  actnn_codec codec;
  ok(!strcmp(actnn_spacing_name(ACTNN_NORMAL_LEVELS), "normal") && !actnn_spacing_name(-1) && !actnn_spacing_name(ACTNN_SPACINGS),
     "names of spacings");
  ok(!actnn_codec_geometry(&codec, dim, 3, plain, ACTNN_EVEN_LEVELS), "extents that can be coded");
  ok(actnn_codec_geometry(&codec, dim, -1, plain, ACTNN_EVEN_LEVELS) && actnn_codec_geometry(&codec, dim, 9, plain, ACTNN_EVEN_LEVELS) &&
         actnn_codec_geometry(&codec, dim, 3, stash, ACTNN_EVEN_LEVELS) && actnn_codec_geometry(&codec, dim, 2, blocked, ACTNN_EVEN_LEVELS) &&
         actnn_codec_geometry(&codec, dim, 3, plain, ACTNN_NORMAL_LEVELS) && actnn_codec_geometry(&codec, dim, 3, plain, ACTNN_SPACINGS) &&
         actnn_codec_geometry(&codec, dim, 3, plain, (actnn_spacing)-1),
     "ranks, layouts and spacings that cannot");
  ok(actnn_codec_geometry(&codec, negative, 3, plain, ACTNN_EVEN_LEVELS) && actnn_codec_geometry(&codec, large, 3, plain, ACTNN_EVEN_LEVELS) &&
         actnn_codec_geometry(&codec, most, 3, plain, ACTNN_EVEN_LEVELS),
     "extents that cannot");
  ok(!actnn_codec_geometry(&codec, none, 3, plain, ACTNN_EVEN_LEVELS) && codec.samples == 0, "nothing is coded as nothing");
  ok(actnn_packed_bytes(dim, 3, plain, 4) >= 12 && actnn_packed_bytes(dim, 3, plain, 4) < 128 && actnn_packed_bytes(none, 3, plain, 1) == 0,
     "packed bits");
  ok(actnn_packed_bytes(dim, 3, plain, 0) == UINT64_MAX && actnn_packed_bytes(dim, 3, plain, 9) == UINT64_MAX &&
         actnn_packed_bytes(dim, -1, plain, 1) == UINT64_MAX && actnn_packed_bytes(dim, 9, plain, 1) == UINT64_MAX &&
         actnn_packed_bytes(dim, 3, stash, 1) == UINT64_MAX && actnn_packed_bytes(dim, 2, blocked, 1) == UINT64_MAX &&
         actnn_packed_bytes(negative, 3, blocked, 1) == UINT64_MAX && actnn_packed_bytes(large, 3, plain, 1) == UINT64_MAX &&
         actnn_packed_bytes(most, 3, plain, 1) == UINT64_MAX,
     "and what cannot be packed");
}

/* As many elements as there are bytes, in a stash that is too small in one place or another. */
static void
test_misuse_of_packing(void)
{
  static const int64_t dim[2] = {4, 16}, negative[2] = {4, -16};
  static uint8_t bytes[64], packed[64], back[64];
  actnn trainer = {.threads = 0};
  actnn_view value = {bytes, ACTNN_I8, ACTNN_PLAIN, 2, dim, 64, 0}, stash = {packed, ACTNN_U8, ACTNN_STASH, 2, dim, 64, 1}, result = value;
  actnn_attribute with = INT(8);
  actnn_call pack = {&trainer, 1, 1, 1, &stash, &value, &with}, unpack = {&trainer, 1, 1, 1, &result, &stash, &with};
  for (int i = 0; i < 64; i++)
    bytes[i] = (uint8_t)(i * 5);
  result.data = back;
  ok(!actnn_PackBits(&pack) && !actnn_UnpackBits(&unpack) && !memcmp(bytes, back, 64), "bytes with signs are packed, and come back");
  pack.trainer = unpack.trainer = NULL;
  memset(back, 0, sizeof back);
  ok(!actnn_PackBits(&pack) && !actnn_UnpackBits(&unpack) && !memcmp(bytes, back, 64), "also without a trainer");
  pack.trainer = unpack.trainer = &trainer;
  static const int64_t bits[] = {0, 9, -1};
  for (int i = 0; i < 3; i++) {
    with.i = bits[i];
    ok(actnn_PackBits(&pack) && actnn_UnpackBits(&unpack) && strstr(trainer.error, "UnpackBits: takes elements of one byte and 1 to 8 bits"), "%s",
       trainer.error);
  }
  with.i = 8;
  pack.attribute_count = 0;
  ok(actnn_PackBits(&pack) && strstr(trainer.error, "PackBits: takes elements of one byte and 1 to 8 bits"), "no number of bits: %s", trainer.error);
  pack.attribute_count = 1;
  value.bytes = 63;
  ok(actnn_PackBits(&pack) && strstr(trainer.error, "64 elements of 8 bits do not fit"), "a value of too few bytes: %s", trainer.error);
  value.bytes = 64;
  value.dim = negative;
  ok(actnn_PackBits(&pack) && strstr(trainer.error, "PackBits: the extents cannot be packed"), "negative extents: %s", trainer.error);
}

int
main(void)
{
  test_misuse();
  test_misuse_of_rows();
  test_misuse_of_measure();
  test_kept_numbers();
  test_extents();
  test_misuse_of_packing();
  return tap_done();
}
