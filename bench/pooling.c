/* pooling.c: our pools beside oneDNN's, in the layout that a trainer has them in: medians in milliseconds, one call of each in
 * turn, so that what else the machine does falls on both. `make bench/pooling && bench/pooling` */
#include "../runtime/runtime.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPEATS = 101 };
typedef enum kind { MAXIMUM, AVERAGE, GLOBAL_AVERAGE } kind;

typedef struct pool {
  kind kind;
  const char *name;
  int64_t batch, channels, extent, kernel, stride, pad;
} pool;

static const pool pools[] = {
    {MAXIMUM, "maximum 3x3/2, 64x112x112 (ResNet-50's stem)", 16, 64, 112, 3, 2, 1},
    {MAXIMUM, "maximum 2x2/2, 64x112x112 (VGG, U-Net)", 16, 64, 112, 2, 2, 0},
    {AVERAGE, "average 2x2/2, 256x56x56 (DenseNet-121)", 16, 256, 56, 2, 2, 0},
    {AVERAGE, "average 3x3/1, 192x35x35 (Inception)", 16, 192, 35, 3, 1, 1},
    {GLOBAL_AVERAGE, "global average, 2048x7x7 (ResNet-50)", 16, 2048, 7, 7, 1, 0},
};

static void
need(dnnl_status_t status)
{
  if (!status) return;
  fprintf(stderr, "pooling: oneDNN says %d\n", (int)status);
  exit(1);
}

static void *
need_memory(size_t bytes)
{
  void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
  if (!memory) exit(fprintf(stderr, "pooling: out of memory\n"));
  return memset(memory, 0, bytes);
}

/* ---- oneDNN's ------------------------------------------------------------------------------------------- */

typedef struct theirs {
  dnnl_stream_t stream;
  dnnl_primitive_t forward, backward;
  dnnl_exec_arg_t forward_argument[3], backward_argument[3];
} theirs;

/* A struct in version 2, a handle in version 3. */
typedef dnnl_memory_desc_t descriptor;
#if DNNL_VERSION_MAJOR >= 3
#define POINTED(d) (d)
#else
#define POINTED(d) (&(d))
#endif

static descriptor
describe(const int64_t *dims, dnnl_format_tag_t tag)
{
  descriptor made;
#if DNNL_VERSION_MAJOR >= 3
  need(dnnl_memory_desc_create_with_tag(&made, 4, dims, dnnl_f32, tag));
#else
  need(dnnl_memory_desc_init_by_tag(&made, 4, dims, dnnl_f32, tag));
#endif
  return made;
}

static void
describe_pair(const pool *pool, dnnl_engine_t engine, descriptor x, descriptor y, dnnl_primitive_desc_t *forward,
              dnnl_primitive_desc_t *backward)
{
  dnnl_alg_kind_t algorithm = pool->kind == MAXIMUM ? dnnl_pooling_max : dnnl_pooling_avg_exclude_padding;
  int64_t output = (pool->extent + 2 * pool->pad - pool->kernel) / pool->stride + 1;
  int64_t after = (output - 1) * pool->stride + pool->kernel - pool->extent - pool->pad;
  dnnl_dims_t kernel = {pool->kernel, pool->kernel}, stride = {pool->stride, pool->stride};
  dnnl_dims_t begin = {pool->pad, pool->pad}, end = {after > 0 ? after : 0, after > 0 ? after : 0};
#if DNNL_VERSION_MAJOR >= 3
  dnnl_dims_t holes = {0, 0};
  need(dnnl_pooling_forward_primitive_desc_create(forward, engine, dnnl_forward_training, algorithm, x, y, stride, kernel,
                                                  holes, begin, end, NULL));
  need(dnnl_pooling_backward_primitive_desc_create(backward, engine, algorithm, x, y, stride, kernel, holes, begin, end,
                                                   *forward, NULL));
#else
  dnnl_pooling_desc_t operation;
  need(dnnl_pooling_forward_desc_init(&operation, dnnl_forward_training, algorithm, &x, &y, stride, kernel, begin, end));
  need(dnnl_primitive_desc_create(forward, &operation, NULL, engine, NULL));
  need(dnnl_pooling_backward_desc_init(&operation, algorithm, &x, &y, stride, kernel, begin, end));
  need(dnnl_primitive_desc_create(backward, &operation, NULL, engine, *forward));
#endif
}

/* Fills in what runs on the images at `x`, `y` and `dx`; returns the bytes that forward keeps for backward. */
static size_t
make_theirs(const pool *pool, int lanes, const int64_t *x_dims, const int64_t *y_dims, float *x, float *y, float *dx, theirs *theirs)
{
  dnnl_engine_t engine;
  dnnl_format_tag_t tag = lanes == 16 ? dnnl_nChw16c : lanes == 8 ? dnnl_nChw8c : dnnl_nchw;
  descriptor image = describe(x_dims, tag), result = describe(y_dims, tag);
  dnnl_primitive_desc_t forward, backward;
  dnnl_memory_t memory[4] = {NULL, NULL, NULL, NULL};
  need(dnnl_engine_create(&engine, dnnl_cpu, 0));
  need(dnnl_stream_create(&theirs->stream, engine, 0));
  describe_pair(pool, engine, image, result, &forward, &backward);
  need(dnnl_primitive_create(&theirs->forward, forward));
  need(dnnl_primitive_create(&theirs->backward, backward));
  need(dnnl_memory_create(&memory[0], POINTED(image), engine, x));
  need(dnnl_memory_create(&memory[1], POINTED(result), engine, y));
  need(dnnl_memory_create(&memory[2], POINTED(image), engine, dx));
  const_dnnl_primitive_desc_t made = forward;
  size_t kept = pool->kind == MAXIMUM ? dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(made, dnnl_query_workspace_md, 0)) : 0;
  if (kept)
    need(dnnl_memory_create(&memory[3], dnnl_primitive_desc_query_md(made, dnnl_query_workspace_md, 0), engine, need_memory(kept)));
  const dnnl_exec_arg_t argument[2][3] = {
      {{DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_DST, memory[1]}, {DNNL_ARG_WORKSPACE, memory[3]}},
      {{DNNL_ARG_DIFF_SRC, memory[2]}, {DNNL_ARG_DIFF_DST, memory[1]}, {DNNL_ARG_WORKSPACE, memory[3]}}};
  memcpy(theirs->forward_argument, argument[0], sizeof argument[0]);
  memcpy(theirs->backward_argument, argument[1], sizeof argument[1]);
  return kept;
}

static void
run_theirs(const theirs *theirs, bool is_forward, size_t kept)
{
  need(dnnl_primitive_execute(is_forward ? theirs->forward : theirs->backward, theirs->stream, kept ? 3 : 2,
                              is_forward ? theirs->forward_argument : theirs->backward_argument));
  need(dnnl_stream_wait(theirs->stream));
}

/* ---- both ------------------------------------------------------------------------------------------------- */

static double
now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static int
compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double
median(double *time)
{
  qsort(time, REPEATS, sizeof *time, compare);
  return time[REPEATS / 2];
}

static double
distance(const float *a, const float *b, size_t count)
{
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
  return sum;
}

static void
measure(const pool *pool, int lanes)
{
  int64_t output = (pool->extent + 2 * pool->pad - pool->kernel) / pool->stride + 1;
  dnnl_dims_t x_dims = {pool->batch, pool->channels, pool->extent, pool->extent};
  dnnl_dims_t y_dims = {pool->batch, pool->channels, output, output};
  size_t x_count = (size_t)(pool->batch * pool->channels * pool->extent * pool->extent);
  size_t y_count = (size_t)(pool->batch * pool->channels * output * output);
  float *x = need_memory(x_count * 4), *y = need_memory(y_count * 4), *their_y = need_memory(y_count * 4);
  float *dx = need_memory(x_count * 4), *their_dx = need_memory(x_count * 4);
  unsigned char *offset = need_memory(y_count);
  for (size_t i = 0; i < x_count; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
  theirs theirs;
  size_t kept = make_theirs(pool, lanes, x_dims, y_dims, x, their_y, their_dx, &theirs);

  actnn_model model = {.name = "bench", .tensor_count = 4};
  actnn trainer = {.model = &model, .threads = 1, .channel_block = lanes};
  const int64_t kernel[2] = {pool->kernel, pool->kernel}, stride[2] = {pool->stride, pool->stride}, dilation[2] = {1, 1};
  const int64_t pads[4] = {pool->pad, pool->pad, pool->pad, pool->pad};
  const int64_t *ints[4] = {kernel, stride, dilation, pads};
  actnn_attribute forward[8] = {0}, backward[8] = {0};
  for (int i = 0; i < 4; i++) /* gradients have the shape before them, average pools auto_pad */
    forward[i + (pool->kind == AVERAGE)] = backward[i + 1] = (actnn_attribute){.kind = ACTNN_INTS, .ints = ints[i], .count = i == 3 ? 4 : 2};
  actnn_view image = {x, ACTNN_F32, ACTNN_BLOCKED, 4, x_dims, 0, 0}, gradient = {dx, ACTNN_F32, ACTNN_BLOCKED, 4, x_dims, 0, 3};
  actnn_view result[2] = {{y, ACTNN_F32, ACTNN_BLOCKED, 4, y_dims, 0, 1}, {offset, ACTNN_U8, ACTNN_BLOCKED, 4, y_dims, 0, 2}};
  size_t results = pool->kind == MAXIMUM ? 2 : 1;
  actnn_call call[2] = {{&trainer, 1, results, 8, &gradient, result, backward}, {&trainer, results, 1, 8, result, &image, forward}};
  static actnn_kernel *const ours[3][2] = {{actnn_MaxPoolGrad, actnn_MaxPoolWithOffset},
                                           {actnn_AveragePoolGrad, actnn_AveragePool},
                                           {actnn_GlobalAveragePoolGrad, actnn_GlobalAveragePool}};
  double our_time[2][REPEATS], their_time[2][REPEATS];
  for (int i = 0; i < REPEATS; i++)
    for (int is_forward = 1; is_forward >= 0; is_forward--) {
      double start = now();
      run_theirs(&theirs, is_forward, kept);
      double middle = now();
      if (ours[pool->kind][is_forward](&call[is_forward])) exit(fprintf(stderr, "pooling: %s\n", trainer.error));
      their_time[is_forward][i] = middle - start;
      our_time[is_forward][i] = now() - middle;
    }
  bool is_same = distance(y, their_y, y_count) < 1e-6 && distance(dx, their_dx, x_count) < 1e-6;
  printf("%-48s %3d  %7.3f %7.3f  %7.3f %7.3f%s\n", pool->name, lanes, median(their_time[1]), median(our_time[1]),
         median(their_time[0]), median(our_time[0]), is_same ? "" : "  NOT THE SAME");
  free(x), free(y), free(their_y), free(dx), free(their_dx), free(offset);
}

int
main(void)
{
  printf("%-48s %3s  %15s  %15s\n%-48s %3s  %7s %7s  %7s %7s\n", "batch 16, ms", "", "forward", "backward", "", "B", "oneDNN",
         "ours", "oneDNN", "ours");
  for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
    for (int lanes = 8; lanes <= 16; lanes += 8) measure(&pools[i], lanes);
  return 0;
}
