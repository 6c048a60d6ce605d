/* test_kernels_cases.h: the cases of test_kernels.c, by family. */
#ifndef TEST_KERNELS_CASES_H
#define TEST_KERNELS_CASES_H

#define BOTH(NAME) actnn_##NAME, plain_##NAME
#define AN_INT(value) ((actnn_attribute)INT(value))
#define A_REAL(value) ((actnn_attribute)REAL_NUMBER(value))
#define A_TEXT(value) ((actnn_attribute)TEXT(value))
#define SOME_INTS(...) ((actnn_attribute)INTS(__VA_ARGS__))
#define NOTHING ((actnn_attribute)ABSENT)
#define OUTPUTS(mask) ((unsigned)(mask) << 16)

/* ---- vector math against the C library in double ------------------------------------------------------------ */

/* The greatest error in units in the last place over a sweep. */
static void
sweep(const char *name, float (*ours)(float), double (*theirs)(double), float low, float high, double limit)
{
  double worst = 0;
  float at = low;
  for (int i = 0; i <= 400000; i++) {
    float x = low + (high - low) * ((float)i / 400000.0f), y = ours(x);
    double exact = theirs(x), ulp = ldexp(1, ilogb((float)exact == 0 ? 1e-38f : (float)exact) - 23);
    double apart = fabs(y - exact) / (ulp < 1e-45 ? 1e-45 : ulp);
    if (apart > worst) worst = apart, at = x;
  }
  if (worst > limit) printf("# %s is %.2f ulp off at %.9g\n", name, worst, at);
  check(worst <= limit, name, "within its error");
}

static bool
same_float(float a, float b)
{
  return a == b ? signbit(a) == signbit(b) : a != a && b != b;
}

static void
test_vector_math(void)
{
  sweep("exp", exp_float, exp, -86, 88.7f, 2);
  sweep("exp near 0", exp_float, exp, -1, 1, 2);
  sweep("expm1", expm1_float, expm1, -20, 88, 3);
  sweep("expm1 near 0", expm1_float, expm1, -0.5f, 0.5f, 3);
  sweep("log", log_float, log, 1e-6f, 4, 3);
  sweep("log of large numbers", log_float, log, 1, 1e30f, 3);
  sweep("log1p", log1p_float, log1p, -0.9f, 3, 3);
  sweep("tanh", tanh_float, tanh, -10, 10, 4);
  sweep("tanh near 0", tanh_float, tanh, -0.1f, 0.1f, 4);
  sweep("erf", erf_float, erf, -5, 5, 4);
  sweep("erf near 0", erf_float, erf, -0.1f, 0.1f, 4);
  const float edge[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, 3e38f, -3e38f};
  bool is_same = true;
  for (size_t i = 0; i < sizeof edge / sizeof *edge; i++) {
    float x = edge[i];
    bool is_good = same_float(exp_float(x), expf(x)) && same_float(expm1_float(x), expm1f(x))
                   && same_float(tanh_float(x), tanhf(x)) && same_float(erf_float(x), erff(x))
                   && (fabsf(x) < 1e-30f || x == 3e38f || (same_float(log_float(x), logf(x)) && same_float(log1p_float(x), log1pf(x))));
    if (!is_good) printf("# at %g\n", x);
    is_same = is_same && is_good;
  }
  check(is_same, "vector math", "edges are as in C");
}

/* ---- elementwise rows ------------------------------------------------------------------------------------------ */

/* Shapes of up to three operands with the result's; '*' marks operands that the blocked run hands over blocked. */
typedef struct Broadcast {
  const char *operand[3], *result;
  unsigned blocked;
} Broadcast;

static const Broadcast broadcasts[] = {
    {{"2,19,3,5", "2,19,3,5", "2,19,3,5"}, "2,19,3,5", 7},  {{"2,16,40,41", "2,16,40,41", ""}, "2,16,40,41", 3},
    {{"2,19,3,5", "", "1"}, "2,19,3,5", 1},                 {{"2,19,3,5", "19,1,1", "1,19,1,1"}, "2,19,3,5", 1},
    {{"2,19,3,5", "2,19,1,1", "3,5"}, "2,19,3,5", 3},       {{"19,1,1", "2,19,3,5", "2,1,3,5"}, "2,19,3,5", 6},
    {{"7,33", "33", "7,1"}, "7,33", 0},                     {{"3,1,4", "5,1", "4"}, "3,5,4", 0},
    {{"", "", ""}, "", 0},                                  {{"2,19,3,5", "2,19,1,5", "19,1,5"}, "2,19,3,5", 1},
};

typedef struct PointRow {
  const char *name;
  actnn_kernel *fast, *plain;
  size_t operands, attributes;
  actnn_attribute attribute[2];
  actnn_type result;
} PointRow;

#define X(a) 1
#define XY(a, b) 2
#define XYZ(a, b, c) 3
#define NO_ATTRIBUTES 0, {ABSENT}
#define REAL1(a, da) 1, {REAL_NUMBER(da)}
#define REAL2(a, da, b, db) 2, {REAL_NUMBER(da), REAL_NUMBER(db)}
#define FLAG1(a, da) 1, {INT(da)}
#define FLAG2(a, da, b, db) 2, {INT(da), INT(db)}
#define CHOICE1(a, da) 1, {TEXT(#da)}
#define SAME ACTNN_F32
#define BOOLEAN ACTNN_BOOL
#define UNARY(NAME, ...) actnn_kernel plain_##NAME, plain_##NAME##Slope;
#define POINT(NAME, ...) actnn_kernel plain_##NAME;
#define OPERATOR(domain, NAME, signature, shape, evaluation, ...) actnn_kernel plain_##evaluation;
#include "../../src/operators.def"

static const PointRow point_rows[] = {
#define UNARY(NAME, attributes, ...) \
  {#NAME, BOTH(NAME), 1, attributes, ACTNN_F32}, {#NAME "Slope", BOTH(NAME##Slope), 1, attributes, ACTNN_F32},
#define POINT(NAME, operands, attributes, result, ...) \
  {#NAME, BOTH(NAME), operands, attributes, result},
#define OPERATOR(...)
#include "../../src/operators.def"
};

static void
test_pointwise(void)
{
  for (size_t r = 0; r < sizeof point_rows / sizeof *point_rows; r++)
    for (size_t b = 0; b < sizeof broadcasts / sizeof *broadcasts; b++) {
      PointRow row = point_rows[r];
      Broadcast shape = broadcasts[b];
      bool has_mask = !strcmp(row.name, "Where") || !strcmp(row.name, "Select");
      if (row.operands == 1 && b != 0 && b != 6) continue;
      Fixture fixture = {0};
      char name[128];
      /* One operand alone must have the result's shape. */
      for (size_t k = 0; k < row.operands; k++)
        add_input(&fixture, shape.operand[k], has_mask && k == 0 ? ACTNN_BOOL : ACTNN_F32, -0.95f, 2.1f);
      if (row.operands == 2 && b == 5) shape.blocked = 2;
      if (row.operands == 2 && b == 7) shape.result = "3,5,4";
      for (size_t k = 0; k < row.attributes; k++) add_attribute(&fixture, row.attribute[k]);
      add_output(&fixture, shape.result, row.result);
      snprintf(name, sizeof name, "%s %s %s", row.name, shape.operand[0], row.operands > 1 ? shape.operand[1] : "");
      unsigned mask = shape.blocked & ((1u << row.operands) - 1);
      compare(&fixture, name, row.fast, row.plain, mask ? mask | OUTPUTS(1) : 0, 2e-5);
    }
  Fixture integers = {0};
  add_input(&integers, "3,4", ACTNN_I64, -9, 9);
  add_input(&integers, "4", ACTNN_I64, -9, 9);
  add_output(&integers, "3,4", ACTNN_I64);
  compare(&integers, "Add of integers", BOTH(Add), 0, 0);
}

/* ---- normalizations ------------------------------------------------------------------------------------------- */

static void
test_batch_norm(void)
{
  static const char *const shapes[] = {"2,19,3,5", "4,16,17,40", "70,19", "1,3,64,130", "9,40,2", "3,32,7,7", "2,300,2,3"};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    const char *shape = shapes[i];
    char channels[8], name[64];
    Operand probe = operand_of(shape, ACTNN_F32, 0, 0);
    snprintf(channels, sizeof channels, "%d", (int)probe.dim[1]);
    free(probe.plain);
    unsigned blocked = strchr(strchr(shape, ',') + 1, ',') != NULL;
    Fixture f = {0};
    add_input(&f, shape, ACTNN_F32, 99, 101); /* far from zero: a careless variance shows */
    for (int k = 0; k < 4; k++) add_input(&f, channels, ACTNN_F32, 0.5f, 1.5f);
    add_output(&f, shape, ACTNN_F32);
    for (int k = 0; k < 4; k++) add_output(&f, channels, ACTNN_F32);
    add_attribute(&f, A_REAL(1e-5));
    add_attribute(&f, A_REAL(0.9));
    snprintf(name, sizeof name, "BatchNorm %s", shape);
    compare(&f, name, BOTH(BatchNorm), blocked ? 1 | OUTPUTS(1) : 0, 3e-5);

    Fixture g = {0};
    add_input(&g, shape, ACTNN_F32, -1, 1);
    add_input(&g, shape, ACTNN_F32, -1, 2);
    for (int k = 0; k < 3; k++) add_input(&g, channels, ACTNN_F32, 0.5f, 1.5f);
    add_output(&g, shape, ACTNN_F32);
    for (int k = 0; k < 2; k++) add_output(&g, channels, ACTNN_F32);
    snprintf(name, sizeof name, "BatchNormGrad %s", shape);
    Fixture h = g, plain_copy = {0};
    (void)plain_copy;
    h.input[0] = operand_of(shape, ACTNN_F32, -1, 1);
    h.input[1] = operand_of(shape, ACTNN_F32, -1, 2);
    for (int k = 2; k < 5; k++) h.input[k] = operand_of(channels, ACTNN_F32, 0.5f, 1.5f);
    h.output[0] = operand_of(shape, ACTNN_F32, 0, 0);
    for (int k = 1; k < 3; k++) h.output[k] = operand_of(channels, ACTNN_F32, 0, 0);
    compare(&g, name, BOTH(BatchNormGrad), blocked ? 3 | OUTPUTS(1) : 0, 3e-5);
    add_attribute(&h, A_REAL(1e-5));
    snprintf(name, sizeof name, "BatchNormFrozenGrad %s", shape);
    compare(&h, name, BOTH(BatchNormFrozenGrad), blocked ? 3 | OUTPUTS(1) : 0, 3e-5);

    Fixture e = {0};
    add_input(&e, shape, ACTNN_F32, -1, 2);
    for (int k = 0; k < 4; k++) add_input(&e, channels, ACTNN_F32, 0.5f, 1.5f);
    add_output(&e, shape, ACTNN_F32);
    add_attribute(&e, A_REAL(1e-5));
    add_attribute(&e, A_REAL(0.9));
    add_attribute(&e, AN_INT(0));
    add_attribute(&e, AN_INT(1));
    snprintf(name, sizeof name, "BatchNormalization %s", shape);
    compare(&e, name, BOTH(BatchNormalization), blocked ? 1 | OUTPUTS(1) : 0, 1e-5);
  }
}

static void
test_rows(void)
{
  static const struct {
    const char *x, *parameters, *rows;
  } shapes[] = {{"5,37", "37", "5,1"}, {"3,70,192", "192", "3,70,1"}, {"2,3", "3", "2,1"}, {"6,5000", "5000", "6,1"}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    for (int has_bias = 0; has_bias < 2; has_bias++) {
      Fixture f = {0};
      add_input(&f, shapes[i].x, ACTNN_F32, 9, 11);
      add_input(&f, shapes[i].parameters, ACTNN_F32, -1, 1);
      if (has_bias) add_input(&f, shapes[i].parameters, ACTNN_F32, -1, 1);
      add_output(&f, shapes[i].x, ACTNN_F32);
      add_output(&f, shapes[i].rows, ACTNN_F32);
      add_output(&f, shapes[i].rows, ACTNN_F32);
      add_attribute(&f, AN_INT(-1));
      add_attribute(&f, A_REAL(1e-5));
      add_attribute(&f, AN_INT(1));
      compare(&f, "LayerNormalization", BOTH(LayerNormalization), 0, 3e-5);
    }
    Fixture g = {0};
    for (int k = 0; k < 2; k++) add_input(&g, shapes[i].x, ACTNN_F32, -1, 1);
    add_input(&g, shapes[i].parameters, ACTNN_F32, -1, 1);
    for (int k = 0; k < 2; k++) add_input(&g, shapes[i].rows, ACTNN_F32, 0.5f, 1);
    add_output(&g, shapes[i].x, ACTNN_F32);
    for (int k = 0; k < 2; k++) add_output(&g, shapes[i].parameters, ACTNN_F32);
    add_attribute(&g, AN_INT(-1));
    compare(&g, "LayerNormalizationGrad", BOTH(LayerNormalizationGrad), 0, 3e-5);
    Fixture r = {0};
    add_input(&r, shapes[i].x, ACTNN_F32, -1, 1);
    add_input(&r, shapes[i].parameters, ACTNN_F32, -1, 1);
    add_output(&r, shapes[i].x, ACTNN_F32);
    add_output(&r, shapes[i].rows, ACTNN_F32);
    add_attribute(&r, AN_INT(-1));
    add_attribute(&r, A_REAL(1e-5));
    add_attribute(&r, AN_INT(1));
    compare(&r, "RMSNormalization", BOTH(RMSNormalization), 0, 1e-5);
    Fixture s = {0};
    for (int k = 0; k < 2; k++) add_input(&s, shapes[i].x, ACTNN_F32, -1, 1);
    add_input(&s, shapes[i].parameters, ACTNN_F32, -1, 1);
    add_input(&s, shapes[i].rows, ACTNN_F32, 0.5f, 1);
    add_output(&s, shapes[i].x, ACTNN_F32);
    add_output(&s, shapes[i].parameters, ACTNN_F32);
    add_attribute(&s, AN_INT(-1));
    compare(&s, "RMSNormalizationGrad", BOTH(RMSNormalizationGrad), 0, 3e-5);
  }
  Fixture f = {0};
  add_input(&f, "3,6,9,7", ACTNN_F32, 4, 6);
  for (int k = 0; k < 2; k++) add_input(&f, "6", ACTNN_F32, -1, 1);
  add_output(&f, "3,6,9,7", ACTNN_F32);
  for (int k = 0; k < 2; k++) add_output(&f, "3,2", ACTNN_F32);
  add_attribute(&f, A_REAL(1e-5));
  add_attribute(&f, AN_INT(2));
  compare(&f, "GroupNorm", BOTH(GroupNorm), 0, 3e-5);
  Fixture i = {0};
  add_input(&i, "3,6,9,7", ACTNN_F32, 4, 6);
  for (int k = 0; k < 2; k++) add_input(&i, "6", ACTNN_F32, -1, 1);
  add_output(&i, "3,6,9,7", ACTNN_F32);
  add_attribute(&i, A_REAL(1e-5));
  compare(&i, "InstanceNormalization", BOTH(InstanceNormalization), 0, 3e-5);
  Fixture g = {0};
  for (int k = 0; k < 2; k++) add_input(&g, "3,6,29,31", ACTNN_F32, -1, 1);
  add_input(&g, "6", ACTNN_F32, -1, 1);
  for (int k = 0; k < 2; k++) add_input(&g, "3,2", ACTNN_F32, 0.5f, 1);
  add_output(&g, "3,6,29,31", ACTNN_F32);
  for (int k = 0; k < 2; k++) add_output(&g, "6", ACTNN_F32);
  compare(&g, "GroupNormGrad", BOTH(GroupNormGrad), 0, 5e-5);
}

/* ---- softmax and losses ----------------------------------------------------------------------------------------- */

static void
test_softmax(void)
{
  static const struct {
    const char *dims;
    int axis;
  } shapes[] = {{"5,10", 1}, {"300,129", 1}, {"2,5000", 1}, {"3,7,37", 1}, {"2,21,40,41", 1}, {"4,1", 1}, {"6,5,16", 0}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    Fixture f[4] = {0};
    for (int k = 0; k < 4; k++) {
      add_input(&f[k], shapes[i].dims, ACTNN_F32, -4, 4);
      if (k > 1) add_input(&f[k], shapes[i].dims, ACTNN_F32, -1, 0);
      add_output(&f[k], shapes[i].dims, ACTNN_F32);
      add_attribute(&f[k], AN_INT(shapes[i].axis));
    }
    compare(&f[0], "Softmax", BOTH(Softmax), 0, 1e-6);
    compare(&f[1], "LogSoftmax", BOTH(LogSoftmax), 0, 1e-6);
    compare(&f[2], "SoftmaxGrad", BOTH(SoftmaxGrad), 0, 1e-4);
    compare(&f[3], "LogSoftmaxGrad", BOTH(LogSoftmaxGrad), 0, 1e-4);
  }
}

static void
test_one_loss(const char *scores, const char *labels, const char *classes, float most, const char *reduction, bool has_weights,
              bool ignores)
{
  bool is_none = !strcmp(reduction, "none");
  actnn_attribute ignored = NOTHING;
  if (ignores) ignored = AN_INT(1);
  for (int kind = 0; kind < 4; kind++) {
    Fixture f = {0};
    bool is_gradient = kind > 1;
    if (is_gradient) add_input(&f, is_none ? labels : "", ACTNN_F32, 0.5f, 1);
    add_input(&f, scores, ACTNN_F32, -3, 0);
    add_input(&f, labels, ACTNN_I64, 0, most);
    if (has_weights) add_input(&f, classes, ACTNN_F32, 0.5f, 2);
    add_output(&f, is_gradient ? scores : is_none ? labels : "", ACTNN_F32);
    if (kind == 0) add_output(&f, scores, ACTNN_F32);
    if (kind == 3) add_attribute(&f, NOTHING);
    add_attribute(&f, ignored);
    add_attribute(&f, A_TEXT(reduction));
    switch (kind) {
    case 0: compare(&f, "SoftmaxCrossEntropyLoss", BOTH(SoftmaxCrossEntropyLoss), 0, 1e-5); break;
    case 1: compare(&f, "NegativeLogLikelihoodLoss", BOTH(NegativeLogLikelihoodLoss), 0, 1e-5); break;
    case 2: compare(&f, "SoftmaxCrossEntropyGrad", BOTH(SoftmaxCrossEntropyGrad), 0, 1e-6); break;
    default: compare(&f, "NegativeLogLikelihoodGrad", BOTH(NegativeLogLikelihoodGrad), 0, 1e-6); break;
    }
  }
}

static void
test_losses(void)
{
  static const char *const reductions[] = {"mean", "sum", "none"};
  for (int i = 0; i < 3; i++)
    for (int options = 0; options < 4; options++) {
      test_one_loss("70,10", "70", "10", 9.99f, reductions[i], options & 1, options & 2);
      test_one_loss("3,5,9,7", "3,9,7", "5", 4.99f, reductions[i], options & 1, options & 2);
    }
  test_one_loss("20,3000", "20", "3000", 2999, "mean", false, false);
  Fixture f = {0};
  add_input(&f, "4,5", ACTNN_F32, -1, 1);
  add_input(&f, "4", ACTNN_I64, 5, 6);
  add_output(&f, "", ACTNN_F32);
  add_attribute(&f, NOTHING);
  add_attribute(&f, A_TEXT("mean"));
  check(!run(&f, actnn_SoftmaxCrossEntropyLoss, 0, 1, 1), "SoftmaxCrossEntropyLoss", "a label beyond the classes is refused");
  for (int i = 0; i < 4; i++) ((int64_t *)f.input[1].plain)[i] = i;
  bool is_good = run(&f, actnn_SoftmaxCrossEntropyLoss, 0, 1, 1);
  Results expected = copy_results(&f);
  for (int i = 0; i < 4; i++) ((int32_t *)f.input[1].plain)[i] = i;
  f.input[1].type = ACTNN_I32;
  check(is_good && run(&f, actnn_SoftmaxCrossEntropyLoss, 0, 1, 1) && same_results(&f, &expected, 0), "SoftmaxCrossEntropyLoss",
        "labels of 32 bits");
  free_results(&expected);
  discard(&f);
}

#endif
