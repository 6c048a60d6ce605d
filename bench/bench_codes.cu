/* bench_codes.cu: kernels of codes on a GPU beside what their memory traffic takes: a copy from device memory to device memory, and a
 * normalization without codes. Two bits with dither; times are medians of rounds of calls that nobody waits for in between.
 *
 *   bench_codes [SAMPLES CHANNELS HEIGHT WIDTH [CALLS]]     default 64 256 56 56 20: a map of ResNet-50's first stage
 *
 * GB/s counts each byte that a kernel has to read or write once, as of the copy. */
#include "gpu.h"

extern "C" {
#include "bfloat_value.h"
#include "codec.h"
#include "saves_state.h"
#include "trainer.h"
}

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <initializer_list>
#include <vector>

enum { X, GRADIENT, Y, DX, CODE, NORMAL_CODE, SCALE, BIAS, RUNNING_MEAN, RUNNING_VARIANCE, NEXT_MEAN, NEXT_VARIANCE, MEAN, RSTD, DSCALE, DBIAS, TENSORS };
enum { MAPS = CODE, CODES = SCALE, LEVELS = 4, ROUNDS = 7 };

static actnn_tensor tensor[TENSORS];
static actnn_save save[2];
static actnn_model model;
static int64_t extents[4] = {64, 256, 56, 56};
static int calls = 20;

static int
call(actnn *trainer, actnn_kernel *kernel, std::initializer_list<uint32_t> out, std::initializer_list<uint32_t> in,
     std::initializer_list<actnn_attribute> with = {})
{
  return actnn_run(trainer, kernel, actnn_list{out.size(), out.begin()}, actnn_list{in.size(), in.begin()},
                   actnn_attributes{with.size(), with.begin()});
}

static actnn_attribute
whole(int64_t number)
{
  actnn_attribute attribute = {};
  attribute.kind = ACTNN_INT;
  attribute.i = number;
  return attribute;
}

static actnn_attribute
real(double number)
{
  actnn_attribute attribute = {};
  attribute.kind = ACTNN_REAL;
  attribute.f = number;
  return attribute;
}

/* ---- what is measured ------------------------------------------------------------------------------------------- */

static int
quantize(actnn *trainer)
{
  return call(trainer, actnn_QuantizeOnSave, {CODE}, {X}, {whole(0)});
}

static int
dequantize(actnn *trainer)
{
  return call(trainer, actnn_DequantizeOnBackward, {Y}, {CODE}, {whole(0)});
}

static int
normalize(actnn *trainer)
{
  return call(trainer, actnn_BatchNorm, {Y, NEXT_MEAN, NEXT_VARIANCE, MEAN, RSTD}, {X, SCALE, BIAS, RUNNING_MEAN, RUNNING_VARIANCE},
              {real(1e-5), real(0.9)});
}

static int
normalize_on_save(actnn *trainer)
{
  return call(trainer, actnn_BatchNormStatistics, {MEAN, RSTD, NEXT_MEAN, NEXT_VARIANCE}, {X, RUNNING_MEAN, RUNNING_VARIANCE},
              {real(1e-5), real(0.9)}) ||
         call(trainer, actnn_NormalizeOnSave, {Y, NORMAL_CODE}, {X, MEAN, RSTD, SCALE, BIAS}, {whole(1), whole(1), real(0)});
}

static int
find_gradients(actnn *trainer)
{
  return call(trainer, actnn_BatchNormGrad, {DX, DSCALE, DBIAS}, {GRADIENT, X, SCALE, MEAN, RSTD});
}

static int
find_gradients_of_codes(actnn *trainer)
{
  return call(trainer, actnn_NormalGradScale, {DSCALE, DBIAS}, {GRADIENT, NORMAL_CODE, SCALE, BIAS}, {whole(1), whole(1), real(0)}) ||
         call(trainer, actnn_NormalGradInput, {DX}, {GRADIENT, NORMAL_CODE, SCALE, BIAS, RSTD, DSCALE, DBIAS}, {whole(1), whole(1), real(0)});
}

static int
copy(actnn *trainer)
{
  unsigned char *arena = trainer->device_arena;
  return gpu_check(trainer,
                   cudaMemcpyAsync(arena + tensor[Y].offset, arena + tensor[X].offset, (size_t)tensor[X].bytes, cudaMemcpyDeviceToDevice,
                                   stream_of(trainer)),
                   "a copy");
}

static int
prepare_all(actnn *trainer)
{
  return quantize(trainer) || dequantize(trainer) || normalize(trainer) || normalize_on_save(trainer) || find_gradients(trainer) ||
         find_gradients_of_codes(trainer);
}

static int
prepare_nothing(actnn *)
{
  return 0;
}

/* ---- the model ------------------------------------------------------------------------------------------------------ */

static void
plan(actnn_type type)
{
  uint64_t end = 0, stash = 0;
  for (int i = 0; i < TENSORS; i++) {
    bool is_map = i < CODES;
    actnn_tensor *one = &tensor[i];
    memset(one, 0, sizeof *one);
    one->type = (uint8_t)(i < MAPS ? type : ACTNN_F32);
    one->layout = (uint8_t)(i < MAPS ? ACTNN_BLOCKED : is_map ? ACTNN_STASH : ACTNN_PLAIN);
    one->rank = is_map ? 4 : 1;
    uint64_t bytes = type == ACTNN_BF16 && i < MAPS ? 2 : 4;
    for (int axis = 0; axis < one->rank; axis++) {
      one->dim[axis] = is_map ? extents[axis] : extents[1];
      bytes *= (uint64_t)(is_map && axis == 1 ? (extents[1] + 15) / 16 * 16 : one->dim[axis]);
    }
    if (one->layout == ACTNN_STASH)
      continue;
    one->offset = end;
    one->bytes = gpu_padded(bytes);
    end += one->bytes;
  }
  for (int i = 0; i < 2; i++) {
    actnn_tensor *code = &tensor[i ? NORMAL_CODE : CODE];
    memset(&save[i], 0, sizeof save[i]);
    save[i].tensor = (uint32_t)(i ? NORMAL_CODE : CODE);
    save[i].name = "value";
    save[i].spacing = i ? ACTNN_NORMAL_LEVELS : ACTNN_EVEN_LEVELS;
    save[i].dither = true;
    save[i].choices = (1u << ACTNN_LEVEL_CHOICES) - 1;
    save[i].random_id = (uint64_t)i + 1;
    save[i].gradient = save[i].scale = NONE;
    code->bytes = actnn_stash_bytes(code->dim, 4, ACTNN_BLOCKED, save[i].spacing, LEVELS);
    code->offset = end + stash;
    stash += code->bytes;
  }
  memset(&model, 0, sizeof model);
  model.version = ACTNN_VERSION;
  model.name = "codes";
  model.tensor = tensor;
  model.tensor_count = TENSORS;
  model.save = save;
  model.save_count = 2;
  model.label = model.loss = model.evaluation_loss = model.evaluation_output = NONE;
  model.learning_rate = model.step_number = model.training_output = NONE;
  model.batch = 1;
  model.stash_offset = end;
  model.stash_bytes = stash;
  model.workspace_offset = model.arena_bytes = end + stash;
  model.device = &actnn_cuda;
  model.forward = prepare_all;
  model.backward = prepare_nothing;
}

/* Values as of a normal distribution, nearly: sums of four numbers from a counter. */
static int
fill(actnn *trainer)
{
  const int floats[] = {X, GRADIENT, SCALE, BIAS};
  uint32_t state = 1;
  for (int id : floats) {
    void *data = actnn_data(trainer, (uint32_t)id);
    if (!data)
      return 1;
    size_t count = trainer_elements(&tensor[id]);
    for (size_t i = 0; i < count; i++) {
      float sum = -2;
      for (int k = 0; k < 4; k++)
        sum += (float)((state = state * 1664525u + 1013904223u) >> 8) / 16777216;
      if (tensor[id].type == ACTNN_BF16)
        ((uint16_t *)data)[i] = bfloat_rounded(sum);
      else
        ((float *)data)[i] = sum + (id == SCALE);
    }
    if (actnn_put(trainer, (uint32_t)id))
      return 1;
  }
  return 0;
}

/* ---- times -------------------------------------------------------------------------------------------------------------- */

/* Seconds a call; negative after a failure. */
static double
time_of(actnn *trainer, int (*kernel)(actnn *))
{
  std::vector<double> seconds;
  for (int round = 0; round <= ROUNDS; round++) {
    cudaStreamSynchronize(stream_of(trainer));
    auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; i++)
      if (kernel(trainer))
        return -1;
    if (gpu_check(trainer, cudaStreamSynchronize(stream_of(trainer)), "a round"))
      return -1;
    if (round > 0) /* the first warms up */
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() / calls);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

static int
measure(actnn *trainer, const char *type)
{
  double map = (double)tensor[X].bytes;
  const struct {
    const char *what;
    int (*kernel)(actnn *);
    double bytes;
    int beside; /* the row that it is compared with: by bandwidth the copy's, by time a normalization's */
  } rows[] = {{"copy", copy, 2 * map, 0},
              {"quantize", quantize, map + (double)tensor[CODE].bytes, 0},
              {"dequantize", dequantize, map + (double)tensor[CODE].bytes, 0},
              {"normalize", normalize, 3 * map, 3},
              {"normalize, rectify and quantize", normalize_on_save, 3 * map + (double)tensor[NORMAL_CODE].bytes, 3},
              {"normalization's gradients", find_gradients, 5 * map, 5},
              {"the same, from codes", find_gradients_of_codes, 3 * map + 2 * (double)tensor[NORMAL_CODE].bytes, 5}};
  double seconds[sizeof rows / sizeof *rows];
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    seconds[i] = time_of(trainer, rows[i].kernel);
    if (seconds[i] < 0)
      return 1;
    double bandwidth = rows[i].bytes / seconds[i], of_copy = rows[0].bytes / seconds[0];
    printf("%s %-33s %10.1f us %8.1f GB/s", type, rows[i].what, seconds[i] * 1e6, bandwidth / 1e9);
    if (rows[i].beside == 0)
      printf("   %5.1f %% of the copy's\n", 100 * bandwidth / of_copy);
    else
      printf("   %5.2f times the time without codes\n", seconds[i] / seconds[rows[i].beside]);
  }
  return 0;
}

int
main(int count, char **argument)
{
  for (int i = 1; i < count && i <= 5; i++) {
    int number = atoi(argument[i]);
    if (number < 1) {
      fprintf(stderr, "bench_codes: '%s' is no extent or count; bench_codes [SAMPLES CHANNELS HEIGHT WIDTH [CALLS]]\n", argument[i]);
      return 1;
    }
    if (i < 5)
      extents[i - 1] = number;
    else
      calls = number;
  }
  printf("a map of %d x %d x %d x %d, two bits with dither\n", (int)extents[0], (int)extents[1], (int)extents[2], (int)extents[3]);
  for (actnn_type type : {ACTNN_F32, ACTNN_BF16}) {
    char error[512] = "";
    trainer_options options = {};
    options.seed = 7;
    options.quiet = true;
    plan(type);
    actnn *trainer = trainer_create(&model, &options, error, sizeof error);
    int failed = !trainer || fill(trainer) || saves_begin_step(trainer) || prepare_all(trainer) ||
                 measure(trainer, type == ACTNN_F32 ? "FP32    " : "bfloat16");
    if (failed)
      fprintf(stderr, "bench_codes: %s\n", trainer ? actnn_error(trainer) : error);
    actnn_destroy(trainer);
    if (failed)
      return 1;
  }
  return 0;
}
