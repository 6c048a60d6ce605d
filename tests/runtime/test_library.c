/* test_library.c: kernels of convolutions, matrix products, pools and layouts against plain loops in double precision, on
 * odd extents and channel counts, for every channel block. Prints TAP. */
#include "../../runtime/library.h"
#include "../../runtime/runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

actnn_kernel evaluate_Conv, evaluate_ConvGradInput, evaluate_ConvGradWeight, evaluate_ConvTranspose, evaluate_ChannelSum;
actnn_kernel evaluate_MaxPoolWithOffset, evaluate_MaxPoolGrad, evaluate_AveragePool, evaluate_AveragePoolGrad;
actnn_kernel evaluate_GlobalAveragePool, evaluate_GlobalAveragePoolGrad, evaluate_Product, evaluate_ProductGradWeight;
actnn_kernel evaluate_ProductSum, evaluate_ProductGradWeightSum, actnn_ProductSum, actnn_ProductGradWeightSum;
actnn_kernel actnn_Conv, actnn_ConvGradInput, actnn_ConvGradWeight, actnn_ConvTranspose, actnn_ChannelSum;
actnn_kernel actnn_MaxPoolWithOffset, actnn_MaxPoolGrad, actnn_AveragePool, actnn_AveragePoolGrad;
actnn_kernel actnn_GlobalAveragePool, actnn_GlobalAveragePoolGrad, actnn_Product, actnn_ProductGradWeight;
actnn_kernel actnn_ToBlocked, actnn_ToPlain;

enum { MOST_OPERANDS = 4 };
static const double TOLERANCE = 1e-5;

/* ---- tensors: the same values for the oracle (double, row-major) and for the kernel ------------------------ */

typedef struct tensor {
  actnn_type type;
  bool is_absent, is_image; /* images are blocked where the case says so */
  int rank;
  int64_t dim[5];
} tensor;

typedef struct pair {
  actnn_view oracle, kernel;
} pair;

typedef struct counters {
  int done, failed;
  uint64_t random;
} counters;

static double
random_real(counters *counters)
{
  counters->random = counters->random * 6364136223846793005u + 1442695040888963407u;
  return (double)(counters->random >> 40) / (double)(1 << 23) - 1;
}

static int64_t
volume(const tensor *tensor, int from)
{
  int64_t count = 1;
  for (int i = from; i < tensor->rank; i++) count *= tensor->dim[i];
  return count;
}

/* Where element i (row-major) lies, by the formula of actnn.h. */
static int64_t
place(const tensor *tensor, int64_t i, int lanes)
{
  int64_t positions = volume(tensor, 2), p = i % positions, c = i / positions % tensor->dim[1], n = i / positions / tensor->dim[1];
  return ((n * ((tensor->dim[1] + lanes - 1) / lanes) + c / lanes) * positions + p) * lanes + c % lanes;
}

static int64_t
stored(const tensor *tensor, int lanes)
{
  if (lanes == 1 || tensor->rank < 3) return volume(tensor, 0);
  return tensor->dim[0] * ((tensor->dim[1] + lanes - 1) / lanes) * lanes * volume(tensor, 2);
}

static pair
make_pair(const tensor *tensor, int lanes, bool is_result, uint32_t id, counters *counters)
{
  pair pair = {{.id = UINT32_MAX}, {.id = UINT32_MAX}};
  if (tensor->is_absent) return pair;
  int64_t count = volume(tensor, 0), held = stored(tensor, lanes);
  size_t bytes = tensor->type == ACTNN_U8 ? 1 : 4;
  pair.oracle = (actnn_view){calloc((size_t)count + 1, 8), tensor->type, ACTNN_PLAIN, tensor->rank, tensor->dim, 0, id};
  pair.kernel = pair.oracle;
  pair.kernel.layout = tensor->is_image ? ACTNN_BLOCKED : ACTNN_PLAIN;
  pair.kernel.data = aligned_alloc(64, ((size_t)held * bytes + 127) / 64 * 64);
  memset(pair.kernel.data, is_result ? 0xff : 0, (size_t)held * bytes);
  for (int64_t i = 0; i < count && !is_result; i++) {
    int64_t at = lanes > 1 ? place(tensor, i, lanes) : i;
    double value = random_real(counters);
    if (tensor->type == ACTNN_U8) {
      ((uint8_t *)pair.oracle.data)[i] = ((uint8_t *)pair.kernel.data)[at] = (uint8_t)((value + 1) * 2);
    } else {
      ((float *)pair.kernel.data)[at] = (float)value;
      ((double *)pair.oracle.data)[i] = (float)value;
    }
  }
  return pair;
}

/* Relative L2 distance; infinite where padding lanes are not zero. */
static double
distance(const tensor *tensor, const pair *pair, int lanes)
{
  int64_t count = volume(tensor, 0), held = stored(tensor, lanes);
  double error = 0, norm = 0, everything = 0, inside = 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t at = lanes > 1 ? place(tensor, i, lanes) : i;
    double expected = tensor->type == ACTNN_U8 ? ((uint8_t *)pair->oracle.data)[i] : ((double *)pair->oracle.data)[i];
    double got = tensor->type == ACTNN_U8 ? ((uint8_t *)pair->kernel.data)[at] : (double)((float *)pair->kernel.data)[at];
    inside += got != 0;
    if (isinf(expected) && expected == got) continue;
    error += (expected - got) * (expected - got);
    norm += expected * expected;
  }
  for (int64_t i = 0; i < held; i++)
    everything += tensor->type == ACTNN_U8 ? ((uint8_t *)pair->kernel.data)[i] != 0 : ((float *)pair->kernel.data)[i] != 0;
  if (lanes > 1 && everything > inside) return INFINITY;
  if (!(error >= 0)) return INFINITY;
  return norm > 0 ? sqrt(error / norm) : sqrt(error);
}

/* ---- one case ------------------------------------------------------------------------------------------- */

typedef struct test_case {
  actnn_kernel *kernel, *oracle;
  int inputs, outputs;
  tensor input[MOST_OPERANDS], output[MOST_OPERANDS];
  actnn_attribute attribute[8];
  int attributes;
  int lanes;
  bool input_is_plain; /* the first operand row-major although others are blocked */
} test_case;

static int
lanes_of(const test_case *test, const tensor *tensor, bool is_first)
{
  return tensor->is_image && !(is_first && test->input_is_plain) ? test->lanes : 1;
}

/* Prepares, makes the workspace, runs twice; false and a message on failure. */
static bool
run_kernel(actnn *trainer, const test_case *test, actnn_call *call)
{
  call->trainer = trainer;
  trainer->preparing = true;
  if (test->kernel(call)) return false;
  trainer->preparing = false;
  trainer->workspace_bytes = trainer->workspace_wanted;
  trainer->workspace = aligned_alloc(64, trainer->workspace_bytes / 64 * 64 + 64);
  memset(trainer->workspace, 0xff, trainer->workspace_bytes);
  bool is_good = !test->kernel(call) && !test->kernel(call);
  free(trainer->workspace);
  return is_good;
}

static void
check(counters *counters, const test_case *test, const char *name)
{
  actnn_model model = {.name = "test", .tensor_count = 16};
  actnn trainer = {.model = &model, .threads = 1, .channel_block = test->lanes};
  pair input[MOST_OPERANDS], output[MOST_OPERANDS];
  actnn_view in[2][MOST_OPERANDS], out[2][MOST_OPERANDS];
  for (int i = 0; i < test->inputs; i++) {
    input[i] = make_pair(&test->input[i], lanes_of(test, &test->input[i], i == 0), false, (uint32_t)i, counters);
    if (i == 0 && test->input_is_plain) input[i].kernel.layout = ACTNN_PLAIN;
    in[0][i] = input[i].oracle;
    in[1][i] = input[i].kernel;
  }
  for (int i = 0; i < test->outputs; i++) {
    output[i] = make_pair(&test->output[i], lanes_of(test, &test->output[i], false), true, 8 + (uint32_t)i, counters);
    out[0][i] = output[i].oracle;
    out[1][i] = output[i].kernel;
  }
  actnn_call call = {NULL, (size_t)test->outputs, (size_t)test->inputs, (size_t)test->attributes, out[0], in[0], test->attribute};
  test->oracle(&call);
  call.output = out[1];
  call.input = in[1];
  bool is_run = run_kernel(&trainer, test, &call);
  double worst = is_run ? 0 : INFINITY;
  for (int i = 0; is_run && i < test->outputs; i++) {
    double error = distance(&test->output[i], &output[i], lanes_of(test, &test->output[i], false));
    worst = error > worst ? error : worst;
  }
  bool is_good = worst <= TOLERANCE;
  counters->failed += !is_good;
  printf("%s %d - %s, blocks of %d%s # %.1e %s%s\n", is_good ? "ok" : "not ok", ++counters->done, name, test->lanes,
         test->input_is_plain ? ", plain input" : "", worst, library_implementation(&trainer, 8), trainer.error);
  library_destroy(&trainer);
  for (int i = 0; i < test->inputs; i++) free(input[i].oracle.data), free(input[i].kernel.data);
  for (int i = 0; i < test->outputs; i++) free(output[i].oracle.data), free(output[i].kernel.data);
}

static void
check_blocks(counters *counters, test_case *test, const char *name)
{
  static const int block[] = {1, 8, 16};
  for (int i = 0; i < 3; i++) {
    test->lanes = block[i];
    check(counters, test, name);
  }
}

/* ---- convolutions ----------------------------------------------------------------------------------------- */

typedef struct sliding {
  const char *name;
  int spatial;
  int64_t batch, channels, filters, groups;
  int64_t extent[3], kernel[3], stride[3], dilation[3], pads[6];
  bool ceil_mode, count_include_pad; /* pools */
} sliding;

static int64_t
slid(const sliding *s, int axis)
{
  int64_t room = s->extent[axis] + s->pads[axis] + s->pads[s->spatial + axis] - (s->kernel[axis] - 1) * s->dilation[axis] - 1;
  int64_t result = room / s->stride[axis] + 1;
  if (s->ceil_mode && room % s->stride[axis] && result * s->stride[axis] < s->extent[axis] + s->pads[axis]) result++;
  return result;
}

static actnn_attribute
ints(const int64_t *list, int count)
{
  return (actnn_attribute){.kind = ACTNN_INTS, .count = (size_t)count, .ints = list};
}

static tensor
image(int64_t batch, int64_t channels, int spatial)
{
  return (tensor){.type = ACTNN_F32, .is_image = true, .rank = 2 + spatial, .dim = {batch, channels}};
}

static void
check_convolution(counters *counters, const sliding *s)
{
  tensor x = image(s->batch, s->channels, s->spatial), y = image(s->batch, s->filters, s->spatial);
  tensor w = {.type = ACTNN_F32, .rank = 2 + s->spatial, .dim = {s->filters, s->channels / s->groups}};
  tensor b = {.type = ACTNN_F32, .rank = 1, .dim = {s->filters}}, c = {.type = ACTNN_F32, .rank = 1, .dim = {s->channels}};
  tensor absent = {.is_absent = true};
  for (int i = 0; i < s->spatial; i++) {
    x.dim[2 + i] = s->extent[i];
    y.dim[2 + i] = slid(s, i);
    w.dim[2 + i] = s->kernel[i];
  }
  test_case test = {.kernel = actnn_Conv, .oracle = evaluate_Conv, .inputs = 3, .outputs = 1, .input = {x, w, b}, .output = {y},
                    .attributes = 6};
  test.attribute[0] = (actnn_attribute){.kind = ACTNN_TEXT, .text = "NOTSET"};
  test.attribute[1] = ints(s->kernel, s->spatial);
  test.attribute[2] = ints(s->stride, s->spatial);
  test.attribute[3] = ints(s->dilation, s->spatial);
  test.attribute[4] = ints(s->pads, 2 * s->spatial);
  test.attribute[5] = (actnn_attribute){.kind = ACTNN_INT, .i = s->groups};
  char name[160];
  snprintf(name, sizeof name, "Conv %s", s->name);
  check_blocks(counters, &test, name);
  test.input_is_plain = true;
  check(counters, &test, name);
  test.input_is_plain = false;
  test.input[2] = absent;
  snprintf(name, sizeof name, "Conv without bias %s", s->name);
  check(counters, &test, name);
  test.kernel = actnn_ConvGradInput, test.oracle = evaluate_ConvGradInput;
  test.input[0] = y, test.output[0] = x;
  snprintf(name, sizeof name, "ConvGradInput %s", s->name);
  check_blocks(counters, &test, name);
  test.kernel = actnn_ConvTranspose, test.oracle = evaluate_ConvTranspose;
  test.input[2] = c;
  snprintf(name, sizeof name, "ConvTranspose %s", s->name);
  check_blocks(counters, &test, name);
  test.kernel = actnn_ConvGradWeight, test.oracle = evaluate_ConvGradWeight;
  test.inputs = 2, test.input[1] = x, test.output[0] = w;
  snprintf(name, sizeof name, "ConvGradWeight %s", s->name);
  check_blocks(counters, &test, name);
  test = (test_case){.kernel = actnn_ChannelSum, .oracle = evaluate_ChannelSum, .inputs = 1, .outputs = 1, .input = {x}, .output = {c}};
  snprintf(name, sizeof name, "ChannelSum %s", s->name);
  check_blocks(counters, &test, name);
}

/* The image of the weight's gradient in the case of a plain first operand: x is plain, dy blocked. */
static void
check_first_convolution(counters *counters)
{
  static const int64_t kernel[] = {3, 3}, one[] = {1, 1}, pads[] = {1, 1, 1, 1};
  tensor x = {.type = ACTNN_F32, .rank = 4, .dim = {4, 3, 17, 15}}, y = image(4, 32, 2), w = {ACTNN_F32, false, false, 4, {32, 3, 3, 3}};
  y.dim[2] = 17, y.dim[3] = 15;
  test_case test = {.kernel = actnn_ConvGradWeight, .oracle = evaluate_ConvGradWeight, .inputs = 2, .outputs = 1, .input = {y, x},
                    .output = {w}, .attributes = 6};
  test.attribute[1] = ints(kernel, 2), test.attribute[2] = ints(one, 2), test.attribute[3] = ints(one, 2);
  test.attribute[4] = ints(pads, 4), test.attribute[5] = (actnn_attribute){.kind = ACTNN_INT, .i = 1};
  check_blocks(counters, &test, "ConvGradWeight of a plain image");
  test.kernel = actnn_ConvGradInput, test.oracle = evaluate_ConvGradInput;
  test.input[1] = w, test.output[0] = x;
  check_blocks(counters, &test, "ConvGradInput into a plain image");
}

static void
check_convolutions(counters *counters)
{
  static const sliding cases[] = {
      {"3x3", 2, 2, 16, 32, 1, {9, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false, false},
      {"3x3, 3 to 5 channels", 2, 3, 3, 5, 1, {9, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false, false},
      {"3x3, 20 to 37 channels, stride 2", 2, 2, 20, 37, 1, {11, 8}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, false, false},
      {"1x1", 2, 2, 24, 40, 1, {7, 7}, {1, 1}, {1, 1}, {1, 1}, {0}, false, false},
      {"1x1, stride 2", 2, 2, 32, 16, 1, {8, 8}, {1, 1}, {2, 2}, {1, 1}, {0}, false, false},
      {"7x7, stride 2", 2, 2, 3, 64, 1, {29, 31}, {7, 7}, {2, 2}, {1, 1}, {3, 3, 3, 3}, false, false},
      {"uneven pads", 2, 2, 16, 16, 1, {8, 9}, {3, 2}, {2, 1}, {1, 1}, {0, 1, 2, 0}, false, false},
      {"dilation 2 and 3", 2, 2, 16, 24, 1, {12, 13}, {3, 3}, {1, 1}, {2, 3}, {2, 3, 2, 3}, false, false},
      {"dilation and stride", 2, 2, 8, 9, 1, {12, 13}, {3, 3}, {2, 2}, {2, 2}, {2, 2, 2, 2}, false, false},
      {"2 groups of 16", 2, 2, 32, 32, 2, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false, false},
      {"4 groups of 3 to 5", 2, 2, 12, 20, 4, {7, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false, false},
      {"8 groups of 4", 2, 2, 32, 32, 8, {7, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, false, false},
      {"depthwise 32", 2, 2, 32, 32, 32, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false, false},
      {"depthwise 24, stride 2", 2, 2, 24, 24, 24, {9, 10}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, false, false},
      {"depthwise 19, 5x5", 2, 2, 19, 19, 19, {9, 10}, {5, 5}, {1, 1}, {1, 1}, {2, 2, 2, 2}, false, false},
      {"depthwise with two filters each", 2, 2, 16, 32, 16, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false, false},
      {"rows that no window reaches", 2, 2, 16, 16, 1, {10, 9}, {2, 2}, {3, 2}, {1, 1}, {0}, false, false},
      {"pads wider than the kernel", 2, 1, 16, 16, 1, {5, 5}, {2, 2}, {1, 1}, {1, 1}, {3, 3, 3, 3}, false, false},
      {"1-d", 1, 2, 20, 33, 1, {23}, {5}, {2}, {1}, {2, 1}, false, false},
      {"1-d depthwise, dilated", 1, 2, 32, 32, 32, {23}, {3}, {1}, {2}, {2, 2}, false, false},
      {"3-d", 3, 2, 16, 17, 1, {5, 6, 7}, {3, 2, 3}, {1, 2, 1}, {1, 1, 1}, {1, 0, 1, 1, 1, 1}, false, false},
      {"3-d, grouped", 3, 1, 6, 4, 2, {4, 5, 4}, {2, 2, 2}, {1, 1, 1}, {1, 1, 2}, {0}, false, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_convolution(counters, &cases[i]);
  check_first_convolution(counters);
}

/* ---- pools ------------------------------------------------------------------------------------------------- */

static void
check_pool(counters *counters, const sliding *s)
{
  tensor x = image(s->batch, s->channels, s->spatial), y = x, offset;
  for (int i = 0; i < s->spatial; i++) {
    x.dim[2 + i] = s->extent[i];
    y.dim[2 + i] = slid(s, i);
  }
  offset = y;
  offset.type = ACTNN_U8;
  actnn_attribute list[6] = {ints(s->kernel, s->spatial), ints(s->stride, s->spatial), ints(s->dilation, s->spatial),
                             ints(s->pads, 2 * s->spatial), {.kind = ACTNN_INT, .i = s->ceil_mode},
                             {.kind = ACTNN_INT, .i = s->count_include_pad}};
  char name[160];
  test_case test = {.kernel = actnn_MaxPoolWithOffset, .oracle = evaluate_MaxPoolWithOffset, .inputs = 1, .outputs = 2,
                    .input = {x}, .output = {y, offset}, .attributes = 5};
  memcpy(test.attribute, list, 5 * sizeof *list);
  snprintf(name, sizeof name, "MaxPoolWithOffset %s", s->name);
  check_blocks(counters, &test, name);
  test = (test_case){.kernel = actnn_MaxPoolGrad, .oracle = evaluate_MaxPoolGrad, .inputs = 2, .outputs = 1,
                     .input = {y, offset}, .output = {x}, .attributes = 6};
  memcpy(test.attribute + 1, list, 5 * sizeof *list);
  snprintf(name, sizeof name, "MaxPoolGrad %s", s->name);
  check_blocks(counters, &test, name);
  test = (test_case){.kernel = actnn_AveragePool, .oracle = evaluate_AveragePool, .inputs = 1, .outputs = 1, .input = {x},
                     .output = {y}, .attributes = 7};
  memcpy(test.attribute + 1, list, 6 * sizeof *list);
  snprintf(name, sizeof name, "AveragePool %s", s->name);
  check_blocks(counters, &test, name);
  test.kernel = actnn_AveragePoolGrad, test.oracle = evaluate_AveragePoolGrad;
  test.input[0] = y, test.output[0] = x;
  snprintf(name, sizeof name, "AveragePoolGrad %s", s->name);
  check_blocks(counters, &test, name);
  for (int i = 0; i < s->spatial; i++) y.dim[2 + i] = 1;
  test = (test_case){.kernel = actnn_GlobalAveragePool, .oracle = evaluate_GlobalAveragePool, .inputs = 1, .outputs = 1,
                     .input = {x}, .output = {y}};
  snprintf(name, sizeof name, "GlobalAveragePool %s", s->name);
  check_blocks(counters, &test, name);
  test.kernel = actnn_GlobalAveragePoolGrad, test.oracle = evaluate_GlobalAveragePoolGrad;
  test.input[0] = y, test.output[0] = x;
  snprintf(name, sizeof name, "GlobalAveragePoolGrad %s", s->name);
  check_blocks(counters, &test, name);
}

static void
check_pools(counters *counters)
{
  static const sliding cases[] = {
      {"2x2", 2, 2, 16, 0, 1, {8, 8}, {2, 2}, {2, 2}, {1, 1}, {0}, false, false},
      {"3x3, stride 2, pads", 2, 3, 19, 0, 1, {9, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, false, true},
      {"3x3, stride 2, rounded up", 2, 2, 5, 0, 1, {8, 10}, {3, 3}, {2, 2}, {1, 1}, {0}, true, false},
      {"3x2, rounded up, pads counted", 2, 2, 5, 0, 1, {8, 10}, {3, 2}, {2, 3}, {1, 1}, {1, 0, 1, 1}, true, true},
      {"dilated", 2, 1, 33, 0, 1, {11, 12}, {3, 2}, {1, 1}, {2, 3}, {1, 1, 1, 1}, false, false},
      {"windows in the padding alone", 2, 1, 3, 0, 1, {1, 4}, {2, 2}, {1, 1}, {2, 1}, {1, 0, 1, 0}, false, false},
      {"1-d", 1, 2, 17, 0, 1, {300}, {4}, {3}, {1}, {1, 2}, false, true},
      {"3-d", 3, 1, 18, 0, 1, {5, 6, 7}, {2, 3, 2}, {2, 1, 2}, {1, 1, 1}, {0, 1, 0, 1, 1, 0}, false, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_pool(counters, &cases[i]);
}

/* ---- products ------------------------------------------------------------------------------------------------ */

typedef struct product_case {
  const char *name;
  tensor a, b, y;
  bool transpose_a, transpose_b, has_bias;
} product_case;

static void
check_product(counters *counters, const product_case *s)
{
  tensor bias = {.type = ACTNN_F32, .is_absent = !s->has_bias, .rank = 1, .dim = {s->y.dim[s->y.rank - 1]}};
  test_case test = {.kernel = actnn_Product, .oracle = evaluate_Product, .inputs = 3, .outputs = 1,
                    .input = {s->a, s->b, bias}, .output = {s->y}, .attributes = 2, .lanes = 1};
  test.attribute[0] = (actnn_attribute){.kind = ACTNN_INT, .i = s->transpose_a};
  test.attribute[1] = (actnn_attribute){.kind = ACTNN_INT, .i = s->transpose_b};
  char name[160];
  snprintf(name, sizeof name, "Product %s", s->name);
  check(counters, &test, name);
  test.kernel = actnn_ProductSum, test.oracle = evaluate_ProductSum;
  test.inputs = 4, test.input[0] = s->y, test.input[1] = s->a, test.input[2] = s->b, test.input[3] = bias;
  snprintf(name, sizeof name, "ProductSum %s", s->name);
  check(counters, &test, name);
  if (s->transpose_a) return;
  test.kernel = actnn_ProductGradWeight, test.oracle = evaluate_ProductGradWeight;
  test.inputs = 2, test.input[0] = s->y, test.input[1] = s->a, test.output[0] = s->b;
  snprintf(name, sizeof name, "ProductGradWeight %s", s->name);
  check(counters, &test, name);
  test.kernel = actnn_ProductGradWeightSum, test.oracle = evaluate_ProductGradWeightSum;
  test.inputs = 3, test.input[0] = s->b, test.input[1] = s->y, test.input[2] = s->a, test.attributes = 1;
  test.attribute[0] = test.attribute[1];
  snprintf(name, sizeof name, "ProductGradWeightSum %s", s->name);
  check(counters, &test, name);
}

#define MATRICES(rank, ...) {ACTNN_F32, false, false, rank, {__VA_ARGS__}}

static void
check_products(counters *counters)
{
  static const product_case cases[] = {
      {"33x65 . 65x17", MATRICES(2, 33, 65), MATRICES(2, 65, 17), MATRICES(2, 33, 17), false, false, false},
      {"with bias", MATRICES(2, 33, 65), MATRICES(2, 65, 17), MATRICES(2, 33, 17), false, false, true},
      {"b transposed, bias", MATRICES(2, 70, 40), MATRICES(2, 10, 40), MATRICES(2, 70, 10), false, true, true},
      {"a transposed", MATRICES(2, 40, 70), MATRICES(2, 40, 10), MATRICES(2, 70, 10), true, false, false},
      {"both transposed", MATRICES(2, 40, 70), MATRICES(2, 10, 40), MATRICES(2, 70, 10), true, true, true},
      {"one row", MATRICES(2, 1, 65), MATRICES(2, 65, 17), MATRICES(2, 1, 17), false, false, true},
      {"one column", MATRICES(2, 9, 65), MATRICES(2, 65, 1), MATRICES(2, 9, 1), false, false, true},
      {"inner 1", MATRICES(2, 9, 1), MATRICES(2, 1, 5), MATRICES(2, 9, 5), false, false, false},
      {"a vector", MATRICES(1, 65), MATRICES(2, 65, 17), MATRICES(1, 17), false, false, true},
      {"rows of rank 3", MATRICES(3, 3, 7, 20), MATRICES(2, 20, 33), MATRICES(3, 3, 7, 33), false, false, true},
      {"rows of rank 4, transposed", MATRICES(4, 2, 3, 7, 20), MATRICES(2, 33, 20), MATRICES(4, 2, 3, 7, 33), false, true, true},
      {"one b, a transposed", MATRICES(3, 3, 20, 7), MATRICES(2, 20, 33), MATRICES(3, 3, 7, 33), true, false, false},
      {"batch", MATRICES(3, 5, 7, 9), MATRICES(3, 5, 9, 11), MATRICES(3, 5, 7, 11), false, false, false},
      {"batch of heads, b transposed", MATRICES(4, 2, 3, 7, 9), MATRICES(4, 2, 3, 11, 9), MATRICES(4, 2, 3, 7, 11), false, true, false},
      {"batch, a transposed", MATRICES(4, 2, 3, 9, 7), MATRICES(4, 2, 3, 9, 11), MATRICES(4, 2, 3, 7, 11), true, false, false},
      {"batch with bias", MATRICES(3, 5, 7, 9), MATRICES(3, 5, 9, 11), MATRICES(3, 5, 7, 11), false, false, true},
      {"b broadcast along 1", MATRICES(3, 5, 7, 9), MATRICES(3, 1, 9, 11), MATRICES(3, 5, 7, 11), false, false, false},
      {"b broadcast along the outer axis", MATRICES(4, 2, 3, 7, 9), MATRICES(3, 3, 9, 11), MATRICES(4, 2, 3, 7, 11), false, false, false},
      {"b broadcast along the inner axis", MATRICES(4, 2, 3, 7, 9), MATRICES(4, 2, 1, 11, 9), MATRICES(4, 2, 3, 7, 11), false, true, false},
      {"a broadcast", MATRICES(3, 1, 7, 9), MATRICES(3, 5, 9, 11), MATRICES(3, 5, 7, 11), false, false, false},
      {"both broadcast", MATRICES(4, 2, 1, 7, 9), MATRICES(4, 1, 3, 9, 11), MATRICES(4, 2, 3, 7, 11), false, false, false},
      {"no rows", MATRICES(2, 0, 5), MATRICES(2, 5, 3), MATRICES(2, 0, 3), false, false, false},
      {"no inner axis", MATRICES(2, 4, 0), MATRICES(2, 0, 3), MATRICES(2, 4, 3), false, false, true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_product(counters, &cases[i]);
}

/* ---- layouts ---------------------------------------------------------------------------------------------------- */

static int
copy_reals(const actnn_call *call)
{
  int64_t count = 1;
  for (int i = 0; i < call->input[0].rank; i++) count *= call->input[0].dim[i];
  memcpy(call->output[0].data, call->input[0].data, (size_t)count * (call->input[0].type == ACTNN_U8 ? 1 : 8));
  return 0;
}

static void
check_layouts(counters *counters)
{
  static const int64_t dims[][3] = {{2, 16, 9}, {3, 5, 130}, {1, 40, 64}, {2, 1, 1}};
  for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
    for (int bytes = 0; bytes < 2; bytes++) {
      tensor plain = {.type = bytes ? ACTNN_U8 : ACTNN_F32, .rank = 3, .dim = {dims[i][0], dims[i][1], dims[i][2]}}, blocked = plain;
      blocked.is_image = true;
      test_case test = {.kernel = actnn_ToBlocked, .oracle = copy_reals, .inputs = 1, .outputs = 1, .input = {plain}, .output = {blocked}};
      check_blocks(counters, &test, "ToBlocked");
      test = (test_case){.kernel = actnn_ToPlain, .oracle = copy_reals, .inputs = 1, .outputs = 1, .input = {blocked}, .output = {plain}};
      check_blocks(counters, &test, "ToPlain");
    }
}

int
main(void)
{
  counters counters = {.random = 1};
  check_convolutions(&counters);
  check_pools(&counters);
  check_products(&counters);
  check_layouts(&counters);
  printf("1..%d\n", counters.done);
  return counters.failed != 0;
}
