/* test_kernels_sums.h: more cases of test_kernels.c: reductions, optimizers, random operators, instruction sets. */
#ifndef TEST_KERNELS_SUMS_H
#define TEST_KERNELS_SUMS_H

/* ---- reductions ---------------------------------------------------------------------------------------------------- */

static void
test_reductions(void)
{
  const struct {
    const char *data, *reduced;
    actnn_attribute axes;
  } folds[] = {{"4,5,6", "4,1,6", INTS(1)},       {"4,5,6", "1,5,1", INTS(0, 2)},   {"300,129", "1,129", INTS(0)},
               {"300,129", "300,1", INTS(-1)},    {"20000", "", ABSENT},            {"9,33,7,5", "9,33,1,1", INTS(2, 3)},
               {"9,33,70,50", "1,33,1,1", INTS(0, 2, 3)}, {"5000,3", "1,3", INTS(0)}, {"2,3,4,5,6", "1,3,1,5,1", INTS(0, 2, 4)},
               {"6,1,7", "6,1,7", INTS(1)}};
  for (size_t i = 0; i < sizeof folds / sizeof *folds; i++)
    for (int kind = 0; kind < 4; kind++) {
      Fixture f = {0};
      bool is_spread = kind > 1;
      add_input(&f, is_spread ? folds[i].reduced : folds[i].data, ACTNN_F32, -1, 1);
      add_output(&f, is_spread ? folds[i].data : folds[i].reduced, ACTNN_F32);
      if (is_spread) add_attribute(&f, NOTHING);
      add_attribute(&f, folds[i].axes);
      add_attribute(&f, AN_INT(1));
      add_attribute(&f, AN_INT(0));
      switch (kind) {
      case 0: compare(&f, "ReduceSum", BOTH(ReduceSum), 0, 1e-4); break;
      case 1: compare(&f, "ReduceMean", BOTH(ReduceMean), 0, 1e-6); break;
      case 2: compare(&f, "Spread", BOTH(Spread), 0, 1e-6); break;
      default: compare(&f, "SpreadMean", BOTH(SpreadMean), 0, 1e-6); break;
      }
    }
  static const struct {
    const char *x, *y;
    unsigned blocked;
  } sums[] = {{"2,3,4", "4", 0},
              {"64,1000", "1000", 0},
              {"9,19,7,5", "19,1,1", 1},
              {"9,19,7,5", "1,19,1,1", 1 | OUTPUTS(1)},
              {"9,19,7,5", "9,19,1,1", 1},
              {"9,19,7,5", "9,19,1,1", 1 | OUTPUTS(1)},
              {"9,32,70,50", "32,1,1", 1},
              {"9,19,7,5", "", 1},
              {"9,19,7,5", "9,1,7,5", 1 | OUTPUTS(1)},
              {"9,19,7,5", "9,1,7,5", 1},
              {"9,19,7,5", "19,7,5", 1},
              {"9,19,7,5", "1,19,7,1", 1 | OUTPUTS(1)},
              {"9,19,1,1", "19,1,1", 1},
              {"5,7,1", "5,7,1", 1}};
  for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
    Fixture f = {0};
    char name[64];
    add_input(&f, sums[i].x, ACTNN_F32, -1, 1);
    add_output(&f, sums[i].y, ACTNN_F32);
    add_attribute(&f, NOTHING);
    snprintf(name, sizeof name, "SumTo %s to %s", sums[i].x, sums[i].y);
    compare(&f, name, BOTH(SumTo), sums[i].blocked, 1e-4);
  }
}

/* ---- optimizers and random ------------------------------------------------------------------------------------------ */

static void
test_optimizers(void)
{
  static const char *const sizes[] = {"5", "20001"};
  for (int i = 0; i < 2; i++)
    for (int kind = 0; kind < 7; kind++) {
      static const int states[] = {1, 2, 2, 1, 2, 1, 0};
      Fixture f = {0};
      for (int k = 0; k < 2; k++) add_input(&f, sizes[i], ACTNN_F32, -1, 1);
      for (int k = 0; k < states[kind]; k++) add_input(&f, sizes[i], ACTNN_F32, 0, 1);
      if (kind == 6) f.inputs++; /* no momentum */
      add_input(&f, "", ACTNN_F32, 0.01f, 0.1f);
      if (kind != 0 && kind != 6) add_input(&f, "", ACTNN_I64, 3, 9);
      for (int k = 0; k <= states[kind]; k++) add_output(&f, sizes[i], ACTNN_F32);
      for (int k = 0; k < 4; k++) add_attribute(&f, A_REAL(k == 2 ? 1e-2 : 0.5 + 0.1 * k));
      if (kind == 0 || kind == 6) {
        f.attribute[1] = AN_INT(kind == 0);
        compare(&f, "Sgd", BOTH(Sgd), 0, 1e-6);
      }
      if (kind == 1) compare(&f, "Adam", BOTH(Adam), 0, 1e-6);
      if (kind == 2) compare(&f, "AdamW", BOTH(AdamW), 0, 1e-6);
      if (kind == 3) {
        f.attribute[3] = A_TEXT("nesterov");
        compare(&f, "OnnxMomentum", BOTH(OnnxMomentum), 0, 1e-6);
      }
      if (kind == 4) {
        add_attribute(&f, A_REAL(0.1));
        compare(&f, "OnnxAdam", BOTH(OnnxAdam), 0, 1e-6);
      }
      if (kind == 5) compare(&f, "OnnxAdagrad", BOTH(OnnxAdagrad), 0, 1e-6);
    }
}

static void
test_random(void)
{
  Fixture f = {0};
  add_input(&f, "7,3001", ACTNN_F32, 1, 2);
  add_output(&f, "7,3001", ACTNN_F32);
  add_output(&f, "7,3001", ACTNN_BOOL);
  add_attribute(&f, A_REAL(0.3));
  add_attribute(&f, A_REAL(1));
  add_attribute(&f, AN_INT(0));
  add_attribute(&f, AN_INT(5));
  bool is_good = run(&f, actnn_Dropout, 0, 1, 1);
  int64_t kept = 0, count = elements(&f.output[0]);
  for (int64_t i = 0; i < count; i++) kept += ((uint8_t *)f.output[1].plain)[i];
  check(is_good && fabs((double)kept / (double)count - 0.7) < 0.01, "Dropout", "keeps the share it should");
  Results dropped = copy_results(&f);
  f.outputs = 1;
  f.attribute[2] = f.attribute[3];
  f.attributes = 3;
  check(run(&f, actnn_DropoutReplay, 0, 1, 3) && same_results(&f, &dropped, 0), "DropoutReplay", "replays Dropout");
  free_results(&dropped);
  f.outputs = 2;
  f.attributes = 4;
  f.attribute[2] = AN_INT(0);
  compare(&f, "Dropout", BOTH(Dropout), 0, 1e-6);

  Fixture n = {0};
  add_output(&n, "100001", ACTNN_F32);
  add_attribute(&n, A_REAL(1));
  add_attribute(&n, A_REAL(2));
  add_attribute(&n, NOTHING);
  add_attribute(&n, AN_INT(1));
  add_attribute(&n, A_REAL(0));
  add_attribute(&n, AN_INT(9));
  double sum = 0, squares = 0;
  is_good = run(&n, actnn_RandomNormal, 0, 1, 1);
  for (int64_t i = 0; i < 100001; i++) sum += ((float *)n.output[0].plain)[i];
  for (int64_t i = 0; i < 100001; i++) squares += pow(((float *)n.output[0].plain)[i] - sum / 100001, 2);
  check(is_good && fabs(sum / 100001 - 1) < 0.03 && fabs(squares / 100001 - 4) < 0.1, "RandomNormal", "has its moments");
  compare(&n, "RandomNormal", BOTH(RandomNormal), 0, 0);
  Fixture u = {0};
  add_output(&u, "30001", ACTNN_F32);
  for (int k = 0; k < 6; k++) add_attribute(&u, k < 2 ? A_REAL(k * 3.0) : AN_INT(k));
  compare(&u, "RandomUniform", BOTH(RandomUniform), 0, 0);
  Fixture b = {0};
  add_input(&b, "30001", ACTNN_F32, 0, 1);
  add_output(&b, "30001", ACTNN_F32);
  for (int k = 0; k < 3; k++) add_attribute(&b, AN_INT(k));
  compare(&b, "Bernoulli", BOTH(Bernoulli), 0, 0);
}

/* ---- instruction sets: the same bits from each -------------------------------------------------------------- */

#if defined(__x86_64__)
#define BUILDS(NAME) {#NAME, {NAME##_scalar, NAME##_avx2, NAME##_avx512}}
#define DECLARE_BUILDS(NAME) actnn_kernel NAME##_scalar, NAME##_avx2, NAME##_avx512;
DECLARE_BUILDS(Gelu)
DECLARE_BUILDS(GeluSlope)
DECLARE_BUILDS(Mish)
DECLARE_BUILDS(Softplus)
DECLARE_BUILDS(Sigmoid)
DECLARE_BUILDS(Softmax)
DECLARE_BUILDS(LogSoftmax)
DECLARE_BUILDS(BatchNorm)
DECLARE_BUILDS(LayerNormalization)
DECLARE_BUILDS(ReduceSum)
DECLARE_BUILDS(SumTo)

/* A fixture that each of these kernels understands, in its own way. */
static Fixture
fixture_for(const char *name)
{
  Fixture f = {0};
  bool is_batch = !strcmp(name, "BatchNorm"), is_layer = !strcmp(name, "LayerNormalization");
  const char *shape = is_batch ? "4,19,13,11" : "70,197";
  add_input(&f, shape, ACTNN_F32, -3, 4);
  for (int k = 0; k < (is_batch ? 4 : is_layer ? 2 : 0); k++) add_input(&f, is_batch ? "19" : "197", ACTNN_F32, 0.5f, 2);
  add_output(&f, !strcmp(name, "ReduceSum") ? "70,1" : !strcmp(name, "SumTo") ? "197" : shape, ACTNN_F32);
  for (int k = 0; k < (is_batch ? 4 : 0); k++) add_output(&f, "19", ACTNN_F32);
  if (!strcmp(name, "ReduceSum")) {
    static const int64_t last[] = {1};
    add_attribute(&f, (actnn_attribute){.kind = ACTNN_INTS, .count = 1, .ints = last});
    add_attribute(&f, AN_INT(1));
    add_attribute(&f, AN_INT(0));
  } else if (strstr(name, "Gelu")) {
    add_attribute(&f, A_TEXT("none"));
  } else if (!is_batch) {
    add_attribute(&f, AN_INT(1));
  }
  add_attribute(&f, A_REAL(1e-5));
  add_attribute(&f, A_REAL(0.9));
  return f;
}

static void
test_instruction_sets(void)
{
  static const struct {
    const char *name;
    actnn_kernel *build[3];
  } rows[] = {BUILDS(Gelu), BUILDS(GeluSlope), BUILDS(Mish), BUILDS(Softplus), BUILDS(Sigmoid), BUILDS(Softmax),
              BUILDS(LogSoftmax), BUILDS(BatchNorm), BUILDS(LayerNormalization), BUILDS(ReduceSum), BUILDS(SumTo)};
  const bool is_there[] = {true, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"),
                           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
                               && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    Fixture f = fixture_for(rows[i].name);
    bool is_good = run(&f, rows[i].build[0], 0, 16, 1);
    Results scalar = copy_results(&f);
    for (int k = 1; k < 3; k++)
      if (is_there[k]) is_good = is_good && run(&f, rows[i].build[k], 0, 16, 1) && same_results(&f, &scalar, 0);
    check(is_good, rows[i].name, "the same bits on every instruction set");
    free_results(&scalar);
    discard(&f);
  }
}
#else
static void
test_instruction_sets(void)
{
}
#endif

#endif
