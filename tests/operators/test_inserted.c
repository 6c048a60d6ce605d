/* test_inserted.c: values of what only passes insert, and of forms of operators that are rewritten before they would be evaluated. */
#include "../../src/operators.h"
#include "../passes/reading.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8 };

static const char declarations[] =
    "g () => (y)\n"
    "<float[1,2,2] x = {1,3,2,6}, float[1,2,2] n = {-1,1,-1,1}, float[1,2,2] dy = {1,2,3,4}, float[2] mean = {2,4}, float[2] rstd = {1,0.5},\n"
    " float[2] scale = {2,1}, float[2] b = {1,-0.5}, float[2] none = {0,0}, float[2] two = {2,2}, float[2] sums = {4,6}, float[1] scale1 = {2},\n"
    " float[1] b1 = {1}, float[2] n1 = {-1,1}, float[2,2] m = {1,2,3,4}, float[2] v = {1,2}, float[2,1] column = {1,2}, float one = {1},\n"
    " float[1,1] spot = {1}, float[2] factors = {10,100}, float[4] signs = {-1,2,0,3}, float[4] four = {1,2,3,4}, float[4] bits = {0,1,0,2},\n"
    " int64[1] last = {-1}, int64[1] before = {-3}, int64[1] beyond = {2}, int64[2] labels = {0,1}, int64[2] above = {0,2},\n"
    " int64[2] below = {-1,0}, int64[1] three = {3}, int64[2,2] square = {1,0,0,1},\n"
    " int64[1] kept = {2}, float[1,1,4] line = {4,3,2,1}, float[1,1,2,2] image = {1,2,3,4}, float[1,1,3] odd = {1,nan,2},\n"
    " int64[2] pads = {1,1}, int64 seven = {7}, float[8] mixed = {8,3,5,1,7,2,6,4}>\n";

#define NORMAL "actnn.NormalizeOnSave<save = 0, rectified = "

static const struct {
  const char *nodes;
  int count; /* 0: it is refused when it is evaluated */
  double wanted[MOST];
} cases[] = {
    {"y, c = " NORMAL "0, cap = 0.0>(x, mean, rstd, scale, b)", 4, {-1, 3, -1.5, 0.5}},
    {"y, c = " NORMAL "1, cap = 0.0>(x, mean, rstd, scale, b)", 4, {0, 3, 0, 0.5}},
    {"y, c = " NORMAL "1, cap = 2.0>(x, mean, rstd, scale, b)", 4, {0, 2, 0, 0.5}},
    {"z, y = " NORMAL "1, cap = 2.0>(x, mean, rstd, scale, b)", 4, {-1, 1, -1, 1}},
    {"y = actnn.DequantizeNormal<save = 0, rectified = 1, cap = 2.0>(n, scale, b)", 4, {0, 2, 0, 0.5}},
    {"y = actnn.DequantizeNormal<save = 0, rectified = 0, cap = 0.0>(n1, scale1, b1)", 2, {-1, 3}},
    {"y, z = actnn.NormalGradScale<save = 0, rectified = 0, cap = 0.0>(dy, n, scale, b)", 2, {1, 1}},
    {"z, y = actnn.NormalGradScale<save = 0, rectified = 0, cap = 0.0>(dy, n, scale, b)", 2, {3, 7}},
    {"y, z = actnn.NormalGradScale<save = 0, rectified = 1, cap = 2.0>(dy, n, scale, b)", 2, {0, 4}},
    {"y = actnn.NormalGradInput<save = 0, rectified = 0, cap = 0.0>(dy, n, scale, b, rstd, none, none)", 4, {2, 4, 1.5, 2}},
    {"y = actnn.NormalGradInput<save = 0, rectified = 1, cap = 2.0>(dy, n, scale, b, rstd, none, none)", 4, {0, 0, 0, 2}},
    {"y = actnn.NormalGradInput<save = 0, rectified = 0, cap = 0.0>(dy, n, scale, b, rstd, two, sums)", 4, {0, -2, 0.5, 0}},
    {"y = actnn.DequantizeAffine<save = 0>(m, factors, v)", 4, {11, 202, 31, 402}},
    {"y = actnn.DequantizeAffine<save = 0>(m, factors)", 4, {10, 200, 30, 400}},
    {"y = actnn.MultiplyCoded<save = 0>(four, signs)", 4, {-1, 4, 0, 12}},
    {"y = actnn.PackPositive(signs)", 4, {0, 1, 0, 1}},
    {"y = actnn.SelectPacked(four, bits)", 4, {0, 2, 0, 4}},
    {"y = actnn.Fill<shape = [2], to = 1, values = [3.0]>()", 2, {3, 3}},
    {"y = actnn.Fill<shape = [2], to = 1, values = [1.0, 2.0]>()", 2, {1, 2}},
    {"y = Constant<value_int = 5>()", 1, {5}},
    {"y = Constant<value_float = 1.5>()", 1, {1.5}},
    {"y = Constant<value_ints = [2, -3]>()", 2, {2, -3}},
    {"y = Constant<value_floats = [1.5, 2.5]>()", 2, {1.5, 2.5}},
    {"y = Constant<value = double[2] {1, 2}>()", 2, {1, 2}},
    {"y = Constant<value = int64[2] {3, 4}>()", 2, {3, 4}},
    {"y = ConstantOfShape<value = double[1] {2.5}>(three)", 3, {2.5, 2.5, 2.5}},
    {"y = ConstantOfShape<value = int64[1] {-7}>(three)", 3, {-7, -7, -7}},
    {"y = MatMul(v, m)", 2, {7, 10}},
    {"y = MatMul(m, v)", 2, {5, 11}},
    {"y = MatMul(v, v)", 1, {5}},
    {"y = MatMul(m, m)", 4, {7, 10, 15, 22}},
    {"y = Gemm(m, m)", 4, {7, 10, 15, 22}},
    {"y = Gemm(m, m, v)", 4, {8, 12, 16, 24}},
    {"y = Gemm(m, m, column)", 4, {8, 11, 17, 24}},
    {"y = Gemm(m, m, one)", 4, {8, 11, 16, 23}},
    {"y = Gemm(m, m, spot)", 4, {8, 11, 16, 23}},
    {"y = Gemm<alpha = 2.0, beta = 0.5, transA = 1>(m, m, v)", 4, {20.5, 29, 28.5, 41}},
    {"y = Gather(m, last)", 2, {3, 4}},
    {"y = Gather<axis = -1>(m, last)", 2, {2, 4}},
    {"i = Identity(before) y = Gather(m, i)", 0, {0}},
    {"i = Identity(beyond) y = Gather(m, i)", 0, {0}},
    {"y = GatherElements<axis = -1>(m, square)", 4, {2, 1, 3, 4}},
    {"\"\", y = TopK(four, kept)", 2, {3, 2}},
    {"y = TopK(signs, kept)", 2, {3, 2}},
    {"y = TopK<largest = 0>(mixed, kept)", 2, {1, 2}},
    /* ---- windows */
    {"y = MaxPool<kernel_shape = [1], pads = [1, 1]>(line)", 6, {-INFINITY, 4, 3, 2, 1, -INFINITY}},
    {"z, y = MaxPool<kernel_shape = [2], storage_order = 1>(line)", 3, {0, 1, 2}},
    {"z, y = MaxPool<kernel_shape = [1, 1], storage_order = 1>(image)", 4, {0, 2, 1, 3}},
    {"y = AveragePool<kernel_shape = [1], pads = [1, 1]>(line)", 6, {0, 4, 3, 2, 1, 0}},
    {"y = GlobalMaxPool(odd)", 1, {NAN}},
    /* ---- movement */
    {"\"\", y = Split<axis = 0>(m)", 2, {3, 4}},
    {"y = Pad(labels, pads, seven)", 4, {7, 0, 1, 7}},
    {"y = Pad(v, pads, one)", 4, {1, 1, 2, 1}},
    {"y = Cast<to = 9>(bits)", 4, {0, 1, 0, 1}},
    {"t = Cast<to = 9>(bits) y = Cast<to = 9>(t)", 4, {0, 1, 0, 1}},
    {"t = Cast<to = 9>(bits) y = Cast<to = 1>(t)", 4, {0, 1, 0, 1}},
    {"y = NegativeLogLikelihoodLoss<reduction = \"sum\">(m, labels)", 1, {-5}},
    {"y = NegativeLogLikelihoodLoss(m, above)", 1, {-1}},
    {"y = NegativeLogLikelihoodLoss(m, below)", 1, {-3}},
};

static bool
infer_all(Program *program)
{
  for (uint32_t p = 0; p < program->order_count; p++)
    if (!infer_node(program, program->order[p])) return false;
  return true;
}

static double
element(const Tensor *tensor, int64_t index)
{
  if (tensor->type == ACTNN_F32) return ((const double *)tensor->data)[index];
  if (tensor->type == ACTNN_I64) return (double)((const int64_t *)tensor->data)[index];
  return ((const unsigned char *)tensor->data)[index];
}

static bool
is_as_wanted(const Tensor *y, int count, const double *wanted)
{
  int64_t there = 0;
  bool is_right = y && shape_elements(&y->shape, &there) && there == count;
  for (int i = 0; is_right && i < count; i++) {
    double found = element(y, i);
    is_right = isnan(wanted[i]) ? isnan(found) : found == wanted[i] || fabs(found - wanted[i]) < 1e-12;
  }
  for (int i = 0; !is_right && i < there; i++) printf("# %g\n", element(y, i));
  return is_right;
}

static void
test_case(const char *nodes, int count, const double *wanted)
{
  Reading *reading = start_reading();
  const char *text = arena_format(reading->arena, "<opset_import: [\"\" : 17, \"actnn\" : 1]>\n%s{ %s }", declarations, nodes);
  Program *program = go_on_reading(reading, text, strlen(text));
  bool is_right = false;
  if (program) {
    for (ValueId id = 0; id < program->value_count; id++)
      if (value_at(program, id)->data) value_at(program, id)->kind = VALUE_CONSTANT;
    if (infer_all(program)) {
      Tensor **tensors = arena_array(reading->arena, program->value_count, sizeof *tensors); /* rules may add values */
      bool is_evaluated = evaluate_program(program, ~0u, reading->arena, tensors);
      is_right = count ? is_evaluated && is_as_wanted(tensors[program->outputs[0]], count, wanted)
                       : !is_evaluated && reading->diagnostics->errors == 1;
    }
  }
  if (!ok(is_right, "%s%s", nodes, count ? "" : " is refused")) printf("# %s\n", messages_of(reading));
  forget(reading);
}

int
main(void)
{
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) test_case(cases[i].nodes, cases[i].count, cases[i].wanted);
  return tap_done();
}
