/* pointwise.c: evaluation of elementwise operators of any type, in double precision, with broadcasting. It is
 * the translator's evaluator and the runtime's kernel for what its float loops (runtime/pointwise.c) do not
 * cover: integers and mixed types. */
#include "evaluation.h"
#include "pointwise_steps.h"

#define T double
#define FUNCTION_OF_T(name) name##_double
#include "pointwise_functions.h"

typedef double PointFunction(const double *operand, const actnn_attribute *attribute);

/* Where the elements of each operand stand for the element of the result at `index`. */
typedef struct Places {
  size_t operands;
  int64_t stride[MOST_STEP_OPERANDS][ACTNN_MAX_RANK], index[ACTNN_MAX_RANK];
} Places;

static void
find_places(const actnn_call *call, size_t most, Places *places)
{
  const actnn_view *y = &call->output[0];
  memset(places, 0, sizeof *places);
  places->operands = call->input_count < most ? call->input_count : most;
  for (size_t k = 0; k < places->operands; k++) {
    const actnn_view *x = &call->input[k];
    int64_t step = 1;
    for (int i = x->rank - 1, j = y->rank - 1; i >= 0; i--, j--) {
      places->stride[k][j] = x->dim[i] == 1 ? 0 : step;
      step *= x->dim[i];
    }
  }
}

static void
load_operands(const actnn_call *call, const Places *places, double *value)
{
  for (size_t k = 0; k < places->operands; k++) {
    int64_t at = 0;
    for (int d = 0; d < call->output[0].rank; d++) at += places->index[d] * places->stride[k][d];
    value[k] = load_element(&call->input[k], at);
  }
}

static int
evaluate_points(const actnn_call *call, PointFunction *function)
{
  const actnn_view *y = &call->output[0];
  Places places;
  find_places(call, MOST_ROW_OPERANDS, &places);
  for (int64_t i = 0, count = element_count(y); i < count; i++) {
    double value[MOST_ROW_OPERANDS] = {0, 0, 0};
    load_operands(call, &places, value);
    store_element(y, i, function(value, call->attribute));
    next_index(places.index, y->dim, y->rank);
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

/* ---- several rows, one after the other ---------------------------------------------------------------- */

#define UNARY(NAME, ...) [ROW_##NAME] = point_##NAME, [ROW_##NAME##Slope] = point_##NAME##Slope,
#define POINT(NAME, ...) [ROW_##NAME] = point_##NAME,
#define OPERATOR(...)
static PointFunction *const functions[POINTWISE_ROWS] = {
#include "../operators.def"
};

int EVALUATE(Pointwise)(const actnn_call *call);
int
EVALUATE(Pointwise)(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  pointwise_steps steps;
  Places places;
  if (parse_pointwise_steps(call->attribute[0].text, &steps)) return 1;
  find_places(call, MOST_STEP_OPERANDS, &places);
  for (int64_t i = 0, count = element_count(y); i < count; i++) {
    double value[STEP_PLACES] = {0};
    load_operands(call, &places, value);
    for (const pointwise_step *step = steps.step; step < steps.step + steps.count; step++) {
      double operand[MOST_ROW_OPERANDS];
      for (int k = 0; k < MOST_ROW_OPERANDS; k++) operand[k] = value[step->operand[k]];
      value[step->result] = functions[step->row](operand, step->attribute);
    }
    for (size_t k = 0; k < call->output_count; k++) store_element(&call->output[k], i, value[FIRST_RESULT + k]);
    next_index(places.index, y->dim, y->rank);
  }
  return 0;
}
