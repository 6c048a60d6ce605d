/* test_slope_ranges.c: the range of a slope in the table holds the slope wherever it is taken, and is not wider than need be: codes
 * have no other header. */
#include "../../src/operators.h"
#include "../runtime/tap.h"

#include <math.h>
#include <string.h>

enum { POINTS = 1 << 16 };

/* Even between -12 and 12, then far out on both sides. */
static double
point_at(int index)
{
  int half = POINTS / 2;
  if (index < half) return -12 + 24.0 * index / (half - 1);
  double far = 12 * pow(1.0006, (index - half) / 2); /* up to 10^5 */
  return index % 2 ? -far : far;
}

static void
extremes(const Operator *slope, const actnn_attribute *attributes, double *low, double *high)
{
  static double x[POINTS], y[POINTS];
  static const int64_t extent[] = {POINTS};
  actnn_view input = {.data = x, .type = ACTNN_F32, .rank = 1, .dim = extent}, output = input;
  output.data = y;
  for (int i = 0; i < POINTS; i++) x[i] = point_at(i);
  slope->evaluate(&(actnn_call){.output_count = 1, .input_count = 1, .attribute_count = 2, .output = &output, .input = &input, .attribute = attributes});
  *low = INFINITY;
  *high = -INFINITY;
  for (int i = 0; i < POINTS; i++) {
    *low = y[i] < *low ? y[i] : *low;
    *high = y[i] > *high ? y[i] : *high;
  }
}

int
main(void)
{
  for (size_t i = 0; i < operator_count(); i++) {
    const Operator *slope = operator_at(i);
    if (!(slope->low < slope->high)) continue;
    double low = INFINITY, high = -INFINITY;
    /* Gelu's two forms, and Swish with several factors. */
    for (int variant = 0; variant < 4; variant++) {
      static const double alphas[] = {1, -0.5, 1.702, 7};
      double one_low, one_high;
      actnn_attribute attributes[2] = {{.kind = ACTNN_REAL, .f = alphas[variant], .text = variant % 2 ? "tanh" : "none"}};
      extremes(slope, attributes, &one_low, &one_high);
      low = fmin(low, one_low);
      high = fmax(high, one_high);
    }
    double width = slope->high - slope->low;
    ok(low >= slope->low && high <= slope->high, "%s is between %.9g and %.9g, the table says %g and %g", slope->name, low, high, slope->low, slope->high);
    ok(low < slope->low + 0.01 * width && high > slope->high - 0.01 * width, "%s fills its range", slope->name);
  }
  return tap_done();
}
