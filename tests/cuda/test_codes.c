/* test_codes.c: codes made on a GPU, or on its stand-in, are the processor's, byte for byte, and mean the same.
 *
 * One program of two halves, as a trainer has them, runs once on each: a plain value is brought into its layout and coded; then decoded
 * and brought back. Values, levels, spacings, rounding, shapes and how floats are held change from case to case; the arena's bytes are
 * compared. */
#include "bfloat.h"
#include "device.h"
#include "saves_state.h"
#include "tap.h"
#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  X, LAID_OUT, CODE, DECODED, RESULT, AFFINE, /* a value, coded as it is; of rows also decoded with a scale and a bias; */
  PRODUCT_OF, PRODUCT_RESULT,                 /* and the value times what is decoded of it */
  GRADIENT, MEAN, RSTD, SCALE, BIAS, Y, Y_RESULT, DSCALE, DBIAS, DY, DX, DX_RESULT, /* or normalized */
  ROWS, ROW_MEAN, ROW_RSTD, /* or normalized rows of it, which are made before it or by the coder */
  TENSORS
};

/* What is coded, and how. */
typedef struct code_case {
  int rank;
  int64_t dim[4];
  actnn_layout layout;
  actnn_spacing spacing;
  bool dither, rectified, by_range, looked_at; /* looked_at: what the GPU decides by ranges is brought to the processor */
  bool in_planes; /* there, channels lie one behind the other, not side by side */
  double cap;
  int choice, more; /* all samples have the number of levels numbered so; or, with `more`, some the next */
  enum { ORDINARY, CONSTANT, NOT_FINITE, WIDE, ZEROS } values;
  enum { AS_IT_IS, ROWS_WRITTEN, ROWS_MADE } coded;
  bool centered; /* rows: mean and rstd are taken, or rstd alone, */
  int axes;      /* of so many last axes */
  enum { IN_FP32, READ_AS_BFLOAT16, WRITTEN_AS_BFLOAT16, IN_BFLOAT16, WAYS_TO_HOLD } held; /* what is coded, and what is decoded */
} code_case;

static code_case current;

static int
code(actnn *trainer)
{
  if (current.layout == ACTNN_BLOCKED)
    RUN(actnn_ToBlocked, OUT(LAID_OUT), IN(X), WITHOUT);
  else
    RUN(actnn_Neg, OUT(LAID_OUT), IN(X), WITHOUT);
  if (current.spacing == ACTNN_NORMAL_LEVELS) {
    RUN(actnn_NormalizeOnSave, OUT(Y, CODE), IN(LAID_OUT, MEAN, RSTD, SCALE, BIAS), WITH(INT(0), INT(current.rectified), REAL_NUMBER(current.cap)));
    RUN(actnn_ToPlain, OUT(Y_RESULT), IN(Y), WITHOUT);
  } else if (current.coded == AS_IT_IS) {
    RUN(actnn_QuantizeOnSave, OUT(CODE), IN(LAID_OUT), WITH(INT(0)));
  } else if (current.coded == ROWS_MADE && current.centered) {
    RUN(actnn_QuantizeOnSave, OUT(CODE), IN(LAID_OUT, ROW_MEAN, ROW_RSTD), WITH(INT(0), TEXT("y0=Standardize(x0,x1,x2)")));
  } else if (current.coded == ROWS_MADE) {
    RUN(actnn_QuantizeOnSave, OUT(CODE), IN(LAID_OUT, ROW_RSTD), WITH(INT(0), TEXT("y0=Mul(x0,x1)")));
  } else {
    if (current.centered)
      RUN(actnn_Standardize, OUT(ROWS), IN(LAID_OUT, ROW_MEAN, ROW_RSTD), WITHOUT);
    else
      RUN(actnn_Mul, OUT(ROWS), IN(LAID_OUT, ROW_RSTD), WITHOUT);
    RUN(actnn_QuantizeOnSave, OUT(CODE), IN(ROWS), WITH(INT(0)));
  }
  return 0;
}

/* That of a linear layer. */
#define PRODUCT WITH(INT(0), INT(0), NO_INTS, NO_INTS, NO_INTS, NO_INTS, INT(1))

static int
decode(actnn *trainer)
{
  if (current.spacing == ACTNN_NORMAL_LEVELS) {
    RUN(actnn_DequantizeNormal, OUT(DECODED), IN(CODE, SCALE, BIAS), WITH(INT(0), INT(current.rectified), REAL_NUMBER(current.cap)));
    RUN(actnn_ToPlain, OUT(RESULT), IN(DECODED), WITHOUT);
    RUN(actnn_ToBlocked, OUT(DY), IN(GRADIENT), WITHOUT);
    RUN(actnn_NormalGradScale, OUT(DSCALE, DBIAS), IN(DY, CODE, SCALE, BIAS), WITH(INT(0), INT(current.rectified), REAL_NUMBER(current.cap)));
    RUN(actnn_NormalGradInput, OUT(DX), IN(DY, CODE, SCALE, BIAS, RSTD, DSCALE, DBIAS), WITH(INT(0), INT(current.rectified), REAL_NUMBER(current.cap)));
    RUN(actnn_ToPlain, OUT(DX_RESULT), IN(DX), WITHOUT);
    RUN(actnn_MeasureSensitivity, OUT(NONE), IN(DY, DECODED), PRODUCT);
    return 0;
  }
  RUN(actnn_DequantizeOnBackward, OUT(DECODED), IN(CODE), WITH(INT(0)));
  if (current.rank == 2 && current.dither)
    RUN(actnn_DequantizeAffine, OUT(AFFINE), IN(CODE, SCALE, BIAS), WITH(INT(0)));
  else if (current.rank == 2)
    RUN(actnn_DequantizeAffine, OUT(AFFINE), IN(CODE, SCALE), WITH(INT(0)));
  if (current.spacing == ACTNN_MASKED_LEVELS)
    RUN(actnn_SelectCoded, OUT(DX), IN(LAID_OUT, CODE), WITH(INT(0)));
  RUN(actnn_MultiplyCoded, OUT(PRODUCT_OF), IN(LAID_OUT, CODE), WITH(INT(0)));
  if (current.layout == ACTNN_BLOCKED) {
    RUN(actnn_ToPlain, OUT(RESULT), IN(DECODED), WITHOUT);
    RUN(actnn_ToPlain, OUT(PRODUCT_RESULT), IN(PRODUCT_OF), WITHOUT);
  } else {
    RUN(actnn_Neg, OUT(RESULT), IN(DECODED), WITHOUT);
    RUN(actnn_Neg, OUT(PRODUCT_RESULT), IN(PRODUCT_OF), WITHOUT);
  }
  if (current.spacing == ACTNN_MASKED_LEVELS && current.layout == ACTNN_BLOCKED)
    RUN(actnn_ToPlain, OUT(DX_RESULT), IN(DX), WITHOUT);
  RUN(actnn_MeasureSensitivity, OUT(NONE), IN(LAID_OUT, DECODED), PRODUCT);
  return 0;
}

/* A trainer, and what it made. */
typedef struct run {
  actnn_tensor tensor[TENSORS];
  actnn_save save;
  actnn_model model;
  actnn *trainer;
} run;

static uint64_t
padded(uint64_t bytes)
{
  return (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
}

static bool
is_bfloat(int tensor)
{
  bool is_read = tensor == X || tensor == LAID_OUT || tensor == GRADIENT || tensor == DY;
  bool is_written = tensor == DECODED || tensor == RESULT || tensor == AFFINE || tensor == PRODUCT_OF ||
                    tensor == PRODUCT_RESULT || tensor == Y || tensor == Y_RESULT || tensor == DX || tensor == DX_RESULT;
  return (is_read && (current.held & READ_AS_BFLOAT16)) || (is_written && (current.held & WRITTEN_AS_BFLOAT16));
}

/* The layout of the tensors; images are padded to whole blocks of 16 channels, as in a plan. */
static void
plan(run *run)
{
  uint64_t end = 0;
  for (int i = 0; i < TENSORS; i++) {
    bool is_image = i == LAID_OUT || i == DECODED || i == Y || i == DY || i == DX || i == AFFINE || i == PRODUCT_OF;
    bool is_vector = (i >= MEAN && i <= BIAS) || i == DSCALE || i == DBIAS, is_of_rows = i == ROW_MEAN || i == ROW_RSTD;
    actnn_tensor *tensor = &run->tensor[i];
    *tensor = (actnn_tensor){.type = is_bfloat(i) ? ACTNN_BF16 : ACTNN_F32, .layout = (uint8_t)(is_image ? current.layout : i == CODE ? ACTNN_STASH : ACTNN_PLAIN)};
    tensor->rank = (uint8_t)(is_vector ? 1 : current.rank);
    uint64_t count = 1;
    for (int axis = 0; axis < tensor->rank; axis++) {
      tensor->dim[axis] = is_vector ? current.dim[1] : is_of_rows && axis >= current.rank - current.axes ? 1 : current.dim[axis];
      count *= is_image && axis == 1 && current.layout == ACTNN_BLOCKED ? ((uint64_t)tensor->dim[axis] + 15) / 16 * 16
                                                                      : (uint64_t)tensor->dim[axis];
    }
    tensor->bytes = padded(count * (is_bfloat(i) ? 2 : 4));
    tensor->offset = end;
    end += i == CODE ? 0 : tensor->bytes;
  }
  actnn_tensor *stash = &run->tensor[CODE];
  int levels = actnn_choice_levels(current.choice), next = actnn_choice_levels(current.choice + 1);
  stash->bytes = actnn_stash_bytes(current.dim, current.rank, current.layout, current.spacing, levels);
  if (current.more)
    stash->bytes =
        padded((stash->bytes + actnn_stash_bytes(current.dim, current.rank, current.layout, current.spacing, next)) / 2);
  stash->offset = end;
  run->model.stash_offset = end;
  run->model.stash_bytes = stash->bytes;
  run->model.workspace_offset = run->model.arena_bytes = end + stash->bytes;
}

static float
element(uint32_t tensor, const void *data, size_t i)
{
  return is_bfloat((int)tensor) ? bfloat_widened(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}

static void
set_element(uint32_t tensor, void *data, size_t i, float value)
{
  if (is_bfloat((int)tensor))
    ((uint16_t *)data)[i] = bfloat_rounded(value);
  else
    ((float *)data)[i] = value;
}

/* Element i of the value. */
static float
value_at(size_t i)
{
  float wave = (float)(sin((double)i * 0.37) + 0.3 * cos((double)(i % 97) * 1.7)), size = (float)(1 + i % 5);
  switch (current.values) {
  case CONSTANT: return 0.7f;
  case ZEROS: return i % 3 ? 0 : -0.0f;
  case NOT_FINITE: return i == 37 ? NAN : i == 4111 ? INFINITY : wave;
  case WIDE: return wave * powf(10, (float)((int)(i / 64 % 61) - 30));
  default: return wave * size;
  }
}

/* Positive and negative scales, and of either a threshold within the range, beyond it, and on a value of zero. */
static void
fill(run *run)
{
  size_t count = trainer_elements(&run->tensor[X]), channels = (size_t)current.dim[1];
  void *x = actnn_data(run->trainer, X), *gradient = actnn_data(run->trainer, GRADIENT);
  float *mean = actnn_data(run->trainer, MEAN), *rstd = actnn_data(run->trainer, RSTD);
  float *scale = actnn_data(run->trainer, SCALE), *bias = actnn_data(run->trainer, BIAS);
  for (size_t i = 0; i < count; i++) {
    float value = value_at(i);
    if (current.spacing == ACTNN_MASKED_LEVELS || current.spacing == ACTNN_SQUARE_LEVELS)
      value = value > 0 || isnan(value) ? value : 0;
    if (current.spacing == ACTNN_FIXED_LEVELS)
      value = tanhf(value);
    set_element(X, x, i, current.layout == ACTNN_PLAIN ? -value : value);
    set_element(GRADIENT, gradient, i, (float)(0.6 + cos((double)i * 0.11) + 0.2 * sin((double)(i % 89))));
  }
  for (size_t c = 0; c < channels; c++) {
    mean[c] = c % 7 ? 0.1f * (float)(c % 3) : 0;
    rstd[c] = 0.5f + 0.1f * (float)(c % 4);
    scale[c] = c % 11 == 5 ? 0 : (float)(c % 5) - 1.5f;
    bias[c] = c % 7 ? 0.2f * (float)((int)(c % 9) - 4) : 0;
  }
  float *row_mean = actnn_data(run->trainer, ROW_MEAN), *row_rstd = actnn_data(run->trainer, ROW_RSTD);
  for (size_t i = 0; i < trainer_elements(&run->tensor[ROW_MEAN]); i++) {
    row_mean[i] = 0.1f * (float)((int)(i % 7) - 3);
    row_rstd[i] = current.spacing == ACTNN_FIXED_LEVELS ? 0.7f : i % 13 ? 0.4f + 0.1f * (float)(i % 5) : 0;
  }
  for (uint32_t i = X; i < TENSORS; i++)
    if (i == X || (i >= GRADIENT && i <= BIAS) || i > ROWS)
      actnn_put(run->trainer, i);
}

/* False with a diagnostic. kernels: of codes on the processor; NULL: the best. */
static bool
go(run *run, const actnn_device *device, int block, const actnn_codec_kernels *kernels)
{
  static const actnn_input input = {X, "x"};
  char error[512] = "";
  plan(run);
  run->save = (actnn_save){.tensor = CODE, .name = "value", .spacing = current.spacing, .dither = current.dither, .low = -1, .high = 1,
                           .choices = (1 << ACTNN_LEVEL_CHOICES) - 1, .random_id = 5,
                           .adaptation = current.by_range ? ACTNN_ADAPTS_BY_READERS : ACTNN_KEEPS_ITS_SHARE, .gradient = NONE, .scale = NONE};
  uint64_t stash_offset = run->model.stash_offset, stash_bytes = run->model.stash_bytes, arena_bytes = run->model.arena_bytes;
  run->model = (actnn_model){.version = ACTNN_VERSION, .name = "codes", .tensor = run->tensor, .tensor_count = TENSORS, .input = &input,
                             .input_count = 1, .save = &run->save, .save_count = 1, .label = NONE, .loss = NONE, .evaluation_loss = NONE,
                             .evaluation_output = NONE, .evaluation_losses = NONE, .learning_rate = NONE, .step_number = NONE, .training_output = NONE, .batch = 1,
                             .arena_bytes = arena_bytes, .stash_offset = stash_offset, .stash_bytes = stash_bytes,
                             .workspace_offset = arena_bytes, .device = device, .forward = code, .backward = decode};
  run->trainer = trainer_create(&run->model, &(trainer_options){.threads = 1, .channel_block = block, .seed = 77, .quiet = true}, error,
                                sizeof error);
  if (!run->trainer) {
    printf("# %s\n", error);
    return false;
  }
  fill(run);
  if (kernels)
    run->trainer->saves->kernels = kernels;
  saves_count_noise(run->trainer, current.looked_at);
  run->trainer->step = 3;
  if (!saves_begin_step(run->trainer) && !code(run->trainer) && !decode(run->trainer))
    return true;
  printf("# %s\n", actnn_error(run->trainer));
  return false;
}

static bool
same_bytes(run *a, run *b, uint32_t tensor)
{
  const void *here = actnn_data(a->trainer, tensor), *there = actnn_data(b->trainer, tensor);
  for (size_t i = 0; i < trainer_elements(&a->tensor[tensor]); i++) {
    float one = element(tensor, here, i), other = element(tensor, there, i);
    if (one != other && !(isnan(one) && isnan(other))) {
      printf("# tensor %u element %zu: %.9g, %.9g\n", tensor, i, (double)one, (double)other);
      return false;
    }
  }
  return true;
}

/* Up to the rounding of sums and of what the compilers make of a product and a sum; of bfloat16, also to what a
 * few elements make that fall to another number. */
static bool
close_to(run *a, run *b, uint32_t tensor)
{
  const void *here = actnn_data(a->trainer, tensor), *there = actnn_data(b->trainer, tensor);
  double difference = 0, size = 0;
  for (size_t i = 0; i < trainer_elements(&a->tensor[tensor]); i++) {
    float one = element(tensor, here, i), other = element(tensor, there, i);
    if (!isfinite(one) && !isfinite(other))
      continue;
    difference += pow((double)one - other, 2);
    size += pow(one, 2);
  }
  if (difference <= (is_bfloat((int)tensor) ? 1e-6 : 1e-10) * size)
    return true;
  printf("# tensor %u: relative distance %g\n", tensor, sqrt(difference / size));
  return false;
}

static bool
same_codes(run *a, run *b)
{
  const unsigned char *one = a->trainer->arena + a->model.stash_offset, *other = b->trainer->arena + b->model.stash_offset;
  uint64_t bytes = saves_coded_bytes(a->trainer, 0);
  if (b->trainer->device && b->trainer->device->fetch(b->trainer, b->model.stash_offset, b->model.stash_bytes))
    return false;
  for (uint64_t i = 0; i < bytes; i++)
    if (one[i] != other[i]) {
      printf("# byte %llu of %llu: %02x, %02x\n", (unsigned long long)i, (unsigned long long)bytes, one[i], other[i]);
      return false;
    }
  bool is_known = current.looked_at || !saves_go_by_range(b->trainer, 0);
  return bytes > 0 && (!is_known || bytes == saves_coded_bytes(b->trainer, 0));
}

/* What was measured of each sample. */
static bool
same_noise(const run *a, const run *b)
{
  const save_state *here = &a->trainer->saves->save[0], *there = &b->trainer->saves->save[0];
  for (int64_t sample = 0; current.looked_at && sample < here->codec.samples; sample++) {
    double one = here->sum[sample], other = there->sum[sample];
    if (!(fabs(one - other) <= 1e-5 * one) && (isfinite(one) || isfinite(other))) {
      printf("# variance of sample %lld: %g, %g\n", (long long)sample, one, other);
      return false;
    }
  }
  return true;
}

static bool
compare(void)
{
  run one = {.trainer = NULL}, other = {.trainer = NULL};
  bool same = go(&one, NULL, 16, NULL) && go(&other, &actnn_cuda, current.in_planes, NULL);
  same = same && same_codes(&one, &other) && same_noise(&one, &other);
  if (same && current.spacing == ACTNN_NORMAL_LEVELS)
    same = same_bytes(&one, &other, Y_RESULT) && close_to(&one, &other, RESULT) && close_to(&one, &other, DSCALE) &&
           close_to(&one, &other, DBIAS) && close_to(&one, &other, DX_RESULT);
  else if (same)
    same = same_bytes(&one, &other, RESULT) && same_bytes(&one, &other, PRODUCT_RESULT) && (current.rank != 2 || close_to(&one, &other, AFFINE)) &&
           (current.spacing != ACTNN_MASKED_LEVELS ||
            same_bytes(&one, &other, current.layout == ACTNN_BLOCKED ? DX_RESULT : DX));
  actnn_destroy(one.trainer);
  actnn_destroy(other.trainer);
  return same;
}

/* Rows that a coder makes have the codes of rows that are written before it, for every instruction set and on a GPU. Held as bfloat16 they are
 * rounded only there. */
static bool
compare_rows(void)
{
  static const char *const sets[] = {"scalar", "avx2", "avx512"};
  bool same = true;
  run written = {.trainer = NULL}, made = {.trainer = NULL};
  current.coded = current.held & READ_AS_BFLOAT16 ? ROWS_MADE : ROWS_WRITTEN;
  same = go(&written, NULL, 16, actnn_codec_kernels_named("scalar"));
  current.coded = ROWS_MADE;
  for (size_t i = 0; i <= sizeof sets / sizeof *sets && same; i++) {
    bool is_there = i == sizeof sets / sizeof *sets;
    const actnn_codec_kernels *kernels = is_there ? NULL : actnn_codec_kernels_named(sets[i]);
    if (!is_there && !kernels)
      continue;
    same = go(&made, is_there ? &actnn_cuda : NULL, is_there ? 1 : 16, kernels) && same_codes(&written, &made) && same_noise(&written, &made) &&
           same_bytes(&written, &made, RESULT);
    actnn_destroy(made.trainer);
    made.trainer = NULL;
  }
  actnn_destroy(written.trainer);
  current.coded = AS_IT_IS;
  return same;
}

static const struct {
  const char *what;
  int rank;
  int64_t dim[4];
  actnn_layout layout;
} shapes[] = {
    {"maps of 400 positions", 4, {2, 32, 20, 20}, ACTNN_BLOCKED},
    {"maps of 81, 3 blocks of channels", 4, {2, 40, 9, 9}, ACTNN_BLOCKED},
    {"small maps, one range for 16 rows", 4, {3, 24, 5, 5}, ACTNN_BLOCKED},
    {"an odd number of channels", 4, {2, 21, 13, 11}, ACTNN_BLOCKED},
    {"maps of one position", 3, {2, 2100, 1}, ACTNN_BLOCKED},
    {"tokens and features", 3, {2, 137, 48}, ACTNN_PLAIN},
    {"few tokens", 3, {2, 5, 32}, ACTNN_PLAIN},
    {"rows of no whole lanes", 2, {3, 500}, ACTNN_PLAIN},
    {"rows of an odd length", 2, {3, 501}, ACTNN_PLAIN},
    {"many rows", 2, {700, 40}, ACTNN_PLAIN},
    {"many small maps", 4, {65, 16, 3, 3}, ACTNN_BLOCKED},
    {"one block of channels, 400 positions", 4, {2, 16, 20, 20}, ACTNN_BLOCKED},
};

static const struct {
  const char *what;
  int rank, axes; /* rows are of so many last axes */
  int64_t dim[4];
} row_shapes[] = {
    {"tokens and features", 3, 1, {2, 137, 48}},
    {"more tokens than a tile has rows", 3, 1, {2, 300, 32}},
    {"few tokens", 3, 1, {2, 5, 32}},
    {"rows of no whole lanes", 3, 1, {2, 37, 20}},
    {"rows of an odd length", 3, 1, {3, 29, 21}},
    {"rows of less than four", 3, 1, {2, 401, 3}},
    {"rows of two axes", 3, 2, {3, 11, 48}},
    {"odd rows of two axes", 4, 2, {2, 3, 7, 9}},
    {"samples that are rows", 2, 1, {3, 501}},
    {"samples smaller than a group", 3, 1, {9, 3, 16}},
};

static const char *const ways_to_hold[WAYS_TO_HOLD] = {"in FP32", "read as bfloat16", "written as bfloat16", "in bfloat16"};

static int one_of = 1; /* so many cases */

static void
check_shape(size_t shape, actnn_spacing spacing, int held)
{
  bool is_same = true;
  int cases = 0, possible = 0;
  if (spacing == ACTNN_NORMAL_LEVELS && shapes[shape].layout != ACTNN_BLOCKED)
    return;
  for (int choice = 0; choice < ACTNN_LEVEL_CHOICES && is_same; choice++)
    for (int variant = 0; variant < 12 && is_same; variant++) {
      current = (code_case){.rank = shapes[shape].rank, .layout = shapes[shape].layout, .spacing = spacing, .dither = variant & 1,
                            .rectified = variant & 2 || variant >= 8, .by_range = variant & 4, .looked_at = choice % 2, .more = choice < 6,
                            .in_planes = (choice + variant) % 4 == 3, .choice = choice, .cap = variant >= 8 ? 0.5 + variant % 2 : 0, .values = (choice + variant) % 5, .held = held};
      memcpy(current.dim, shapes[shape].dim, sizeof current.dim);
      if (actnn_choice_levels(choice) < actnn_least_levels(spacing, current.rectified, (float)current.cap) ||
          (current.rectified && spacing != ACTNN_NORMAL_LEVELS) || (current.dither && spacing == ACTNN_SQUARE_LEVELS) ||
          (held != IN_FP32 && (choice + variant) % 3 != held - 1)) /* other ways have a third of the cases each */
        continue;
      if (possible++ % one_of)
        continue;
      cases++;
      is_same = compare();
      if (!is_same)
        printf("# %d levels, dither %d, rectified %d up to %g, by range %d, values %d\n", actnn_choice_levels(choice), current.dither,
               current.rectified, current.cap, current.by_range, (int)current.values);
    }
  ok(is_same && cases > 0, "%s levels, %s, %s: %d cases", actnn_spacing_name((int)spacing), shapes[shape].what, ways_to_hold[held], cases);
}

static void
check_rows(size_t shape, actnn_spacing spacing, int held)
{
  bool is_same = true;
  int cases = 0, possible = 0;
  for (int choice = 0; choice < ACTNN_LEVEL_CHOICES && is_same; choice++)
    for (int variant = 0; variant < 8 && is_same; variant++) {
      current = (code_case){.rank = row_shapes[shape].rank, .layout = ACTNN_PLAIN, .spacing = spacing, .dither = variant & 1, .centered = variant & 2,
                            .by_range = variant & 4, .looked_at = choice % 2, .more = choice < 6, .choice = choice, .axes = row_shapes[shape].axes,
                            .values = (choice + variant) % 5, .held = held};
      memcpy(current.dim, row_shapes[shape].dim, sizeof current.dim);
      if (possible++ % one_of)
        continue;
      cases++;
      is_same = compare_rows();
      if (!is_same)
        printf("# %d levels, dither %d, centered %d, by range %d, values %d\n", actnn_choice_levels(choice), current.dither, current.centered,
               current.by_range, (int)current.values);
    }
  ok(is_same && cases > 0, "%s levels, normalized rows, %s, %s: %d cases", actnn_spacing_name((int)spacing), row_shapes[shape].what,
     ways_to_hold[held], cases);
}

/* test_codes [N]: all cases, or one of N of each shape, spacing and way to hold values. */
int
main(int argc, char **argv)
{
  if (argc > 1 && atoi(argv[1]) > 0)
    one_of = atoi(argv[1]);
  for (int spacing = 0; spacing < ACTNN_SPACINGS; spacing++)
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++)
      for (int held = 0; held < WAYS_TO_HOLD; held++)
        check_shape(shape, (actnn_spacing)spacing, held);
  for (size_t shape = 0; shape < sizeof row_shapes / sizeof *row_shapes; shape++)
    for (int held = 0; held < WAYS_TO_HOLD; held++) {
      check_rows(shape, ACTNN_EVEN_LEVELS, held);
      check_rows(shape, ACTNN_FIXED_LEVELS, held);
    }
  return tap_done();
}
