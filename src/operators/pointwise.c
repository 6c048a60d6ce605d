/* pointwise.c: evaluation of elementwise operators of any type, in double precision, with broadcasting. It is
 * the translator's evaluator and the runtime's kernel for what its float loops (runtime/pointwise.c) do not
 * cover: integers and mixed types. */
#include "evaluation.h"

#define T double
#define FUNCTION_OF_T(name) name##_double
#include "pointwise_functions.h"

typedef double PointFunction(const double *operand, const actnn_attribute *attribute);

static int
evaluate_points(const actnn_call *call, PointFunction *function)
{
  const actnn_view *y = &call->output[0];
  int64_t stride[3][ACTNN_MAX_RANK] = {{0}}, index[ACTNN_MAX_RANK] = {0}, count = element_count(y);
  size_t operands = call->input_count < 3 ? call->input_count : 3;
  for (size_t k = 0; k < operands; k++) {
    const actnn_view *x = &call->input[k];
    int64_t step = 1;
    for (int i = x->rank - 1, j = y->rank - 1; i >= 0; i--, j--) {
      stride[k][j] = x->dim[i] == 1 ? 0 : step;
      step *= x->dim[i];
    }
  }
  for (int64_t i = 0; i < count; i++) {
    double value[3] = {0, 0, 0};
    for (size_t k = 0; k < operands; k++) {
      int64_t at = 0;
      for (int d = 0; d < y->rank; d++) at += index[d] * stride[k][d];
      value[k] = load_element(&call->input[k], at);
    }
    store_element(y, i, function(value, call->attribute));
    next_index(index, y->dim, y->rank);
  }
  return 0;
}

#define X(a) T a = operand[0]
#define XY(a, b) T a = operand[0]; T b = operand[1]
#define XYZ(a, b, c) T a = operand[0]; T b = operand[1]; T c = operand[2]
#define NO_ATTRIBUTES
#define REAL1(a, da) T a = (T)attribute[0].f
#define REAL2(a, da, b, db) T a = (T)attribute[0].f; T b = (T)attribute[1].f
#define FLAG1(a, da) int a##_ = attribute[0].i != 0
#define FLAG2(a, da, b, db) int a##_ = attribute[0].i != 0; int b##_ = attribute[1].i != 0
#define CHOICE1(a, da) int a##_ = strcmp(attribute[0].text, #da) != 0
#define EVALUATION_OF(NAME) \
  int EVALUATE(NAME)(const actnn_call *call); \
  int EVALUATE(NAME)(const actnn_call *call) { return evaluate_points(call, point_##NAME); }
#define POINT_BODY(NAME, operands, attributes, expression) \
  static double point_##NAME(const double *operand, const actnn_attribute *attribute) \
  { \
    (void)attribute; \
    operands; \
    attributes; \
    return expression; \
  } \
  EVALUATION_OF(NAME)
#define SLOPE_BODY(NAME, attributes, expression, slope) \
  static double point_##NAME(const double *operand, const actnn_attribute *attribute) \
  { \
    (void)attribute; \
    T x = operand[0]; \
    attributes; \
    T y = expression; \
    (void)y; \
    return slope; \
  } \
  EVALUATION_OF(NAME)
#define POINT(NAME, operands, attributes, result, expression, gradient, linear, flags, tries) \
  POINT_BODY(NAME, operands, attributes, expression)
#define UNARY(NAME, attributes, expression, slope, range, tries) \
  POINT_BODY(NAME, X(x), attributes, expression) \
  SLOPE_BODY(NAME##Slope, attributes, expression, slope)
#define OPERATOR(...)
#include "../operators.def"
