/* test_sums.c: what the table of operators does not say of sums, normalizations and softmax on a GPU: results that lie on operands, lines
 * that are not finite, labels that are no class, running statistics that are not finite, operands and results held as bfloat16. */
#include "both.h"

#include "../../runtime/bfloat.h"

#include <math.h>

enum { ROWS = 300, COLUMNS = 70 };

static void
fill(Both *both, uint32_t id, double low, double high)
{
  bool is_bfloat = both->tensor[id].type == ACTNN_BF16;
  void *data = data_of(both, id);
  for (uint64_t i = 0; i < both->tensor[id].bytes / (is_bfloat ? 2 : 4); i++) {
    unsigned number = random_byte(both) * 256u + random_byte(both);
    float value = (float)(low + (high - low) * number / 65535);
    if (is_bfloat) ((uint16_t *)data)[i] = bfloat_rounded(value);
    else ((float *)data)[i] = value;
  }
}

static uint32_t
held(Both *both, bool is_bfloat, actnn_layout layout, int rank, const int64_t *dim)
{
  actnn_tensor tensor = {.type = is_bfloat ? ACTNN_BF16 : ACTNN_F32, .layout = (uint8_t)layout, .rank = (uint8_t)rank};
  memcpy(tensor.dim, dim, (size_t)rank * sizeof *dim);
  uint32_t id = add_tensor(both, tensor, is_bfloat ? 2 : 4, 0);
  fill(both, id, 0.2, 2);
  return id;
}

static uint32_t
floats(Both *both, int rank, const int64_t *dim)
{
  return held(both, false, ACTNN_PLAIN, rank, dim);
}

static bool
is_close(float a, float b, double rounding)
{
  return a == b || (isnan(a) && isnan(b)) || fabs((double)a - (double)b) <= 2e-5 + (2e-4 + rounding) * fabs((double)b);
}

/* Where tensor `id` begins; behind the last: where the arena ends. */
static uint64_t
start_of(const Both *both, uint32_t id)
{
  return id < both->count ? both->tensor[id].offset : both->bytes;
}

/* From a tensor to the next: elements that differ. A sum that is close may round to a neighbour. */
static uint64_t
wrong_elements(const Both *both, uint32_t id, const unsigned char *here, const unsigned char *there)
{
  uint64_t wrong = 0;
  bool is_bfloat = both->tensor[id].type == ACTNN_BF16;
  for (uint64_t at = start_of(both, id); at < start_of(both, id + 1); at += is_bfloat ? 2 : 4) {
    float a, b;
    if (is_bfloat) {
      a = bfloat_widened(*(const uint16_t *)(here + at));
      b = bfloat_widened(*(const uint16_t *)(there + at));
    } else {
      memcpy(&a, here + at, sizeof a);
      memcpy(&b, there + at, sizeof b);
    }
    wrong += !is_close(b, a, is_bfloat ? 0x1p-7 : 0);
  }
  return wrong;
}

/* All floats of the arena after the call, within the tolerance of sums. */
static void
close_on_both(Both *both, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with, const char *what)
{
  Outcome here = run_on_processor(both, kernel, out, in, with), there = run_on_gpu(both, kernel, out, in, with);
  uint64_t wrong = 0;
  for (uint32_t id = 0; id < both->count; id++) wrong += wrong_elements(both, id, here.arena, there.arena);
  ok(!here.failed && !there.failed && !wrong, "%s", what);
  if (here.failed || there.failed || wrong)
    printf("# here %d '%s', there %d '%s', %llu numbers differ\n", here.failed, here.error, there.failed, there.error,
           (unsigned long long)wrong);
  free(here.arena);
  free(there.arena);
}

static void
test_rows_in_place(Both *both)
{
  const int64_t rows[] = {ROWS, COLUMNS}, one[] = {ROWS, 1}, columns[] = {COLUMNS};
  uint32_t x = floats(both, 2, rows), other = floats(both, 2, rows), scale = floats(both, 1, columns);
  uint32_t b = floats(both, 1, columns), mean = floats(both, 2, one), rstd = floats(both, 2, one);
  close_on_both(both, actnn_Softmax, OUT(x), IN(x), WITH(INT(-1)), "softmax in place");
  close_on_both(both, actnn_Softmax, OUT(x), IN(x), WITH(INT(0)), "softmax of columns in place");
  close_on_both(both, actnn_LogSoftmax, OUT(x), IN(x), WITH(INT(-1)), "its logarithm in place");
  close_on_both(both, actnn_SoftmaxGrad, OUT(x), IN(x, other), WITH(INT(-1)), "gradient of softmax in place");
  close_on_both(both, actnn_LogSoftmaxGrad, OUT(x), IN(x, other), WITH(INT(0)), "gradient of its logarithm in place");
  close_on_both(both, actnn_LayerNormalization, OUT(x, mean, rstd), IN(x, scale, b), WITH(INT(-1), REAL_NUMBER(1e-5), INT(1)),
                "normalization of rows in place");
  close_on_both(both, actnn_RMSNormalization, OUT(x, NONE), IN(x, scale), WITH(INT(-1), REAL_NUMBER(1e-5), INT(1)), "without a mean");
  close_on_both(both, actnn_LayerNormalizationGrad, OUT(x, NONE, b), IN(x, other, scale, mean, rstd), WITH(INT(-1)),
                "its gradient in place");
  close_on_both(both, actnn_LayerNormalizationGrad, OUT(NONE, NONE, b), IN(x, other, scale, mean, rstd), WITH(INT(-1)),
                "only that of bias");
  close_on_both(both, actnn_NormalizedRowsGrad, OUT(x, NONE, NONE), IN(x, other, scale, rstd), WITH(INT(-1), INT(1)), "only that of rows");
  forget_tensors(both);
}

static void
test_images_in_place(Both *both)
{
  const int64_t image[] = {7, 12, 9, 5}, channels[] = {12}, groups[] = {7, 3};
  uint32_t x = floats(both, 4, image), other = floats(both, 4, image), scale = floats(both, 1, channels);
  uint32_t b = floats(both, 1, channels), mean = floats(both, 1, channels);
  uint32_t spread = floats(both, 1, channels), group_mean = floats(both, 2, groups);
  uint32_t group_rstd = floats(both, 2, groups);
  close_on_both(both, actnn_BatchNorm, OUT(x, mean, spread, NONE, NONE), IN(x, scale, b, mean, spread),
                WITH(REAL_NUMBER(1e-5), REAL_NUMBER(0.9)), "normalization over the batch in place, statistics renewed in place");
  close_on_both(both, actnn_BatchNormalization, OUT(x), IN(x, scale, b, mean, spread),
                WITH(REAL_NUMBER(1e-5), REAL_NUMBER(0.9), INT(0), INT(1)), "with fixed statistics");
  close_on_both(both, actnn_BatchNormGrad, OUT(x, NONE, b), IN(x, other, scale, mean, spread), WITHOUT, "its gradient in place");
  close_on_both(both, actnn_BatchNormGrad, OUT(NONE, NONE, b), IN(x, other, scale, mean, spread), WITHOUT, "only that of bias");
  close_on_both(both, actnn_BatchNormFrozenGrad, OUT(x, NONE, b), IN(x, other, scale, mean, spread), WITH(REAL_NUMBER(1e-5)),
                "the gradient of fixed statistics in place");
  close_on_both(both, actnn_GroupNorm, OUT(x, group_mean, group_rstd), IN(x, scale, b), WITH(REAL_NUMBER(1e-5), INT(3)),
                "normalization of groups in place");
  close_on_both(both, actnn_GroupNormGrad, OUT(x, NONE, b), IN(x, other, scale, group_mean, group_rstd), WITHOUT, "its gradient in place");
  forget_tensors(both);
}

/* Elements beside a large constant, the first of them far off: variances must not cancel. */
static void
test_large_mean(Both *both)
{
  const int64_t rows[] = {4, 20000}, columns[] = {20000}, image[] = {4, 3, 20000}, channels[] = {3};
  uint32_t x = floats(both, 2, rows), scale = floats(both, 1, columns);
  uint32_t images = floats(both, 3, image), mean = floats(both, 1, channels);
  uint32_t variance = floats(both, 1, channels), rstd = floats(both, 1, channels);
  fill(both, x, 999, 1001);
  fill(both, images, -5001, -4999);
  ((float *)data_of(both, x))[0] = ((float *)data_of(both, images))[0] = -1000;
  close_on_both(both, actnn_LayerNormalization, OUT(x, NONE, NONE), IN(x, scale, NONE), WITH(INT(-1), REAL_NUMBER(1e-5), INT(1)),
                "rows far from zero");
  close_on_both(both, actnn_BatchNormStatistics, OUT(mean, rstd, NONE, NONE), IN(images, mean, variance),
                WITH(REAL_NUMBER(1e-5), REAL_NUMBER(0.9)), "channels far from zero");
  close_on_both(both, actnn_MeanVarianceNormalization, OUT(images), IN(images), WITH(INTS(0, 2)), "groups far from zero");
  uint32_t dy = floats(both, 3, image); /* a constant and x, so that nearly all of it is taken off */
  for (int i = 0; i < 4 * 3 * 20000; i++) ((float *)data_of(both, dy))[i] = i ? ((float *)data_of(both, images))[i] + 5010 : 10;
  close_on_both(both, actnn_MeanVarianceNormalizationGrad, OUT(images), IN(dy, images), WITH(INTS(0, 2)), "their gradient");
  forget_tensors(both);
}

/* LRN, LpNormalization and MeanVarianceNormalization; some elements are negative, a line is nothing but zeros, a group of one number. */
static void
test_rarer_normalizations(Both *both)
{
  const int64_t image[] = {7, 12, 9, 5};
  uint32_t x = floats(both, 4, image), dy = floats(both, 4, image), y = floats(both, 4, image);
  float *value = data_of(both, x);
  fill(both, dy, -1, 1);
  for (int i = 0; i < 45; i++) value[i] = 0.1f;
  for (int i = 45; i < 90; i++) value[i] = 0;
  for (int i = 90; i < 7 * 12 * 45; i += 3) value[i] *= -1;
  const actnn_attributes lrn = WITH(REAL_NUMBER(0.5), REAL_NUMBER(0.75), REAL_NUMBER(1), INT(4)), planes = WITH(INTS(2, 3));
  close_on_both(both, actnn_LRN, OUT(y), IN(x), lrn, "neighbouring channels");
  close_on_both(both, actnn_LRNGrad, OUT(y), IN(dy, x), lrn, "their gradient");
  for (int p = 1; p <= 2; p++) {
    close_on_both(both, actnn_LpNormalization, OUT(y), IN(x), WITH(INT(-1), INT(p)), "lines of unit length");
    close_on_both(both, actnn_LpNormalizationGrad, OUT(y), IN(dy, x), WITH(INT(1), INT(p)), "gradient of such columns");
  }
  close_on_both(both, actnn_MeanVarianceNormalization, OUT(y), IN(x), planes, "planes without mean, of variance one");
  close_on_both(both, actnn_MeanVarianceNormalizationGrad, OUT(y), IN(dy, x), WITH(INTS(0, 2)), "gradient of every other axis");
  value[45] = NAN;
  Outcome outcome = run_on_gpu(both, actnn_LpNormalization, OUT(y), IN(x), WITH(INT(-1), INT(2)));
  ok(!outcome.failed && isnan(((float *)(outcome.arena + both->tensor[y].offset))[46]), "a line with NaN is not taken for one of zeros");
  free(outcome.arena);
  forget_tensors(both);
}

static void
test_lines_that_are_not_finite(Both *both)
{
  const int64_t rows[] = {6, 700};
  uint32_t x = floats(both, 2, rows), y = floats(both, 2, rows);
  float *line = data_of(both, x);
  for (int i = 0; i < 690; i++) line[i] = -INFINITY; /* most of a line, as masks do */
  for (int i = 0; i < 700; i++) line[700 + i] = -INFINITY;
  line[2 * 700 + 699] = NAN;
  line[3 * 700] = INFINITY;
  line[4 * 700 + 300] = -INFINITY;
  close_on_both(both, actnn_Softmax, OUT(y), IN(x), WITH(INT(-1)), "lines with -inf, inf and NaN");
  close_on_both(both, actnn_LogSoftmax, OUT(y), IN(x), WITH(INT(-1)), "their logarithms");
  forget_tensors(both);
}

/* Products of others where no, one and two elements are zero; sums before and after what is not finite. */
static void
test_folds(Both *both)
{
  const int64_t rows[] = {4, 9000}, one[] = {4};
  uint32_t x = floats(both, 2, rows), y = floats(both, 2, rows), sums = floats(both, 1, one);
  float *value = data_of(both, x);
  fill(both, x, 0.999, 1.001);
  value[9000 + 8999] = 0;
  value[2 * 9000 + 5] = value[2 * 9000 + 4600] = 0;
  close_on_both(both, actnn_ProductOfOthers, OUT(y), IN(x), WITH(INTS(1), INT(1), INT(0)), "products of others, with zeros");
  value[9000 + 6000] = INFINITY;
  value[2 * 9000 + 6000] = NAN;
  value[3 * 9000 + 6000] = -INFINITY;
  for (int i = 0; i < 4; i++) {
    close_on_both(both, actnn_CumSum, OUT(y), IN(x), WITH(INT(1), INT(i % 2), INT(i / 2)), "running sums of what is not finite");
    close_on_both(both, actnn_CumSum, OUT(x), IN(x), WITH(INT(0), INT(i % 2), INT(i / 2)), "the same in place, along columns");
  }
  for (int i = 0; i < 9000; i++) value[3 * 9000 + i] = -INFINITY;
  close_on_both(both, actnn_ReduceLogSumExp, OUT(sums), IN(x), WITH(INTS(1), INT(0), INT(0)), "log of sums of exp of what is not finite");
  fill(both, x, 1e28, 1e30);
  close_on_both(both, actnn_ReduceL2, OUT(sums), IN(x), WITH(INTS(1), INT(0), INT(0)), "a norm whose square is beyond all floats");
  forget_tensors(both);
}

static void
test_labels(Both *both)
{
  const int64_t rows[] = {ROWS, 10};
  actnn_tensor list = {.type = ACTNN_I64, .rank = 1, .dim = {ROWS}}, scalar = {.type = ACTNN_F32};
  uint32_t x = floats(both, 2, rows), y = floats(both, 2, rows), labels = add_tensor(both, list, 8, 0);
  uint32_t loss = add_tensor(both, scalar, 4, 0);
  int64_t *label = data_of(both, labels);
  for (int i = 0; i < ROWS; i++) label[i] = i % 10;
  label[3] = -100;
  close_on_both(both, actnn_SoftmaxCrossEntropyLoss, OUT(loss, y), IN(x, labels, NONE), WITH(INT(-100), TEXT("mean")),
                "a label to be ignored");
  actnn_attributes all = WITH(ABSENT, TEXT("mean"));
  Outcome outcome = run_on_gpu(both, actnn_SoftmaxCrossEntropyLoss, OUT(loss, y), IN(x, labels, NONE), all);
  ok(outcome.failed && strstr(outcome.error, "-100, not in 0..9"), "a label that is no class is refused: %s", outcome.error);
  free(outcome.arena);
  label[3] = 10;
  *(float *)data_of(both, loss) = 1;
  outcome = run_on_gpu(both, actnn_SoftmaxCrossEntropyGrad, OUT(y), IN(loss, x, labels, NONE), all);
  ok(outcome.failed && strstr(outcome.error, "10, not in 0..9"), "and by the gradient: %s", outcome.error);
  free(outcome.arena);
  forget_tensors(both);
}

static void
test_statistics_that_are_not_finite(Both *both)
{
  const int64_t image[] = {7, 12, 9, 5}, channels[] = {12};
  uint32_t x = floats(both, 4, image), mean = floats(both, 1, channels);
  uint32_t variance = floats(both, 1, channels), rstd = floats(both, 1, channels);
  actnn_attributes with = WITH(REAL_NUMBER(1e-5), REAL_NUMBER(0.9));
  Outcome outcome = run_on_gpu(both, actnn_BatchNormStatistics, OUT(mean, rstd, mean, variance), IN(x, mean, variance), with);
  ok(!outcome.failed && outcome.not_finite == NONE, "finite statistics are not told");
  free(outcome.arena);
  ((float *)data_of(both, variance))[5] = INFINITY;
  outcome = run_on_gpu(both, actnn_BatchNormStatistics, OUT(NONE, rstd, mean, variance), IN(x, mean, variance), with);
  ok(!outcome.failed && outcome.not_finite == variance, "a variance that is not finite is told");
  free(outcome.arena);
  forget_tensors(both);
}

/* Normalization over the batch, plain or with its channels side by side; each of x, dy and the result in FP32 or as bfloat16. */
static void
test_held_normalizations(Both *both, int ways, int64_t width)
{
  const int64_t image[] = {7, 16, 9, width}, channels[] = {16};
  actnn_layout layout = both->block > 1 ? ACTNN_BLOCKED : ACTNN_PLAIN;
  uint32_t x = held(both, ways & 1, layout, 4, image), dy = held(both, ways & 2, layout, 4, image);
  uint32_t y = held(both, ways & 4, layout, 4, image), scale = floats(both, 1, channels), b = floats(both, 1, channels);
  uint32_t mean = floats(both, 1, channels), spread = floats(both, 1, channels), first = floats(both, 1, channels);
  uint32_t second = floats(both, 1, channels);
  actnn_attributes with = WITH(REAL_NUMBER(1e-5), REAL_NUMBER(0.9));
  char what[100];
  snprintf(what, sizeof what, "%s, %s, %s, %d channels side by side, %d wide", ways & 1 ? "x as bfloat16" : "x in FP32",
           ways & 2 ? "dy as bfloat16" : "dy in FP32", ways & 4 ? "the result as bfloat16" : "the result in FP32", both->block, (int)width);
  close_on_both(both, actnn_BatchNorm, OUT(y, NONE, NONE, first, second), IN(x, scale, b, mean, spread), with, what);
  close_on_both(both, actnn_BatchNormStatistics, OUT(first, second, NONE, NONE), IN(x, mean, spread), with, what);
  close_on_both(both, actnn_BatchNormApply, OUT(y), IN(x, scale, b, mean, spread), WITHOUT, what);
  close_on_both(both, actnn_BatchNormGrad, OUT(y, first, second), IN(dy, x, scale, mean, spread), WITHOUT, what);
  close_on_both(both, actnn_BatchNormFrozenGrad, OUT(y, first, second), IN(dy, x, scale, mean, spread), WITH(REAL_NUMBER(1e-5)), what);
  close_on_both(both, actnn_BatchNormGrad, OUT(ways & 4 ? dy : x, NONE, NONE), IN(dy, x, scale, mean, spread), WITHOUT, "in place");
  close_on_both(both, actnn_ChannelSum, OUT(first), IN(dy), WITHOUT, "sums of channels");
  forget_tensors(both);
}

static void
test_held_sums(Both *both, int ways)
{
  const int64_t rows[] = {ROWS, COLUMNS}, row[] = {1, COLUMNS}, columns[] = {COLUMNS}, lines[] = {ROWS};
  uint32_t x = held(both, ways & 1, ACTNN_PLAIN, 2, rows), of_columns = held(both, ways & 2, ACTNN_PLAIN, 1, columns);
  uint32_t kept = held(both, ways & 2, ACTNN_PLAIN, 2, row), of_rows = held(both, ways & 2, ACTNN_PLAIN, 1, lines);
  char what[100];
  snprintf(what, sizeof what, "sums of %s, %s", ways & 1 ? "bfloat16" : "FP32", ways & 2 ? "as bfloat16" : "in FP32");
  close_on_both(both, actnn_SumTo, OUT(of_columns), IN(x), WITHOUT, what);
  close_on_both(both, actnn_SumTo, OUT(kept), IN(x), WITHOUT, what);
  close_on_both(both, actnn_ReduceSum, OUT(of_rows), IN(x), WITH(INTS(1), INT(0), INT(0)), what);
  close_on_both(both, actnn_ReduceMean, OUT(of_columns), IN(x), WITH(INTS(0), INT(0), INT(0)), what);
  forget_tensors(both);
}

int
main(void)
{
  Both both = {.block = 1, .state = 7};
  test_rows_in_place(&both);
  test_images_in_place(&both);
  test_large_mean(&both);
  test_rarer_normalizations(&both);
  test_lines_that_are_not_finite(&both);
  test_folds(&both);
  test_labels(&both);
  test_statistics_that_are_not_finite(&both);
  for (int ways = 0; ways < 8; ways++)
    for (both.block = 1; both.block <= 16; both.block += 15)
      for (int64_t width = 4; width <= 5; width++)
        test_held_normalizations(&both, ways, width);
  both.block = 1;
  for (int ways = 0; ways < 4; ways++)
    test_held_sums(&both, ways);
  return tap_done();
}
