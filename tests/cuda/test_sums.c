/* test_sums.c: what the table of operators does not say of sums, normalizations and softmax on a GPU: results that lie on operands, lines
 * that are not finite, labels that are no class, running statistics that are not finite. */
#include "both.h"

#include <math.h>

enum { ROWS = 300, COLUMNS = 70 };

static void
fill(Both *both, uint32_t id, double low, double high)
{
  float *value = data_of(both, id);
  for (uint64_t i = 0; i < both->tensor[id].bytes / sizeof *value; i++) {
    unsigned number = random_byte(both) * 256u + random_byte(both);
    value[i] = (float)(low + (high - low) * number / 65535);
  }
}

static uint32_t
floats(Both *both, int rank, const int64_t *dim)
{
  actnn_tensor tensor = {.type = ACTNN_F32, .rank = (uint8_t)rank};
  memcpy(tensor.dim, dim, (size_t)rank * sizeof *dim);
  uint32_t id = add_tensor(both, tensor, sizeof(float), 0);
  fill(both, id, 0.2, 2);
  return id;
}

static bool
is_close(float a, float b)
{
  return a == b || (isnan(a) && isnan(b)) || fabs((double)a - (double)b) <= 2e-5 + 2e-4 * fabs((double)b);
}

/* All floats of the arena after the call, within the tolerance of sums. */
static void
close_on_both(Both *both, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with, const char *what)
{
  Outcome here = run_on_processor(both, kernel, out, in, with), there = run_on_gpu(both, kernel, out, in, with);
  uint64_t wrong = 0;
  for (uint64_t at = 0; at < both->bytes; at += sizeof(float)) {
    float a, b;
    memcpy(&a, here.arena + at, sizeof a);
    memcpy(&b, there.arena + at, sizeof b);
    wrong += !is_close(b, a);
  }
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
  return tap_done();
}
