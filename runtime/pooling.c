/* pooling.c: kernels of pools. A plane of lanes at a time: the channels of a block are one vector, row-major images
 * are planes of one lane. The loops over windows stand in pooling_planes.h.
 *
 * These are not oneDNN's: what a maximum pool keeps for backward must be positions that fit in as few bits as the window
 * needs, and oneDNN's workspace is its own affair; and ours take less time (bench/pooling, docs/results.md). */
#include "../src/operators/window.h"
#include "instruction_set.h"
#include "layout.h"

#include <math.h>
#include <string.h>

actnn_kernel ENTRY(MaxPoolWithOffset), ENTRY(MaxPoolGrad), ENTRY(AveragePool), ENTRY(AveragePoolGrad),
    ENTRY(GlobalAveragePool), ENTRY(GlobalAveragePoolGrad);

/* What a plane's function works on: image and result of the window, offsets for max pools. */
typedef struct plane {
  const Window *window;
  float *image, *result;
  uint8_t *offset;
  bool count_include_pad;
  int used; /* lanes that are channels */
} plane;

typedef void plane_function(const plane *plane);

/* Taps of a window along one axis that lie on the image, and where tap 0 lies. */
typedef struct taps {
  int64_t first, last, start;
} taps;

static inline taps
taps_at(const Window *window, int axis, int64_t at)
{
  taps taps;
  taps.start = window_taps(window, axis, at, &taps.first, &taps.last);
  return taps;
}

/* Where taps (z, y, 0) begin in the plane; tap x lies x * dilation further. */
static inline int64_t
row_place(const Window *window, const taps *taps, int64_t z, int64_t y)
{
  int64_t at_z = taps[0].start + z * window->dilation[0], at_y = taps[1].start + y * window->dilation[1];
  return (at_z * window->input[1] + at_y) * window->input[2] + taps[2].start;
}

/* Loops over results, `o` counting them and `taps` being their window's; and over the rows of that window. */
#define FOR_EACH_RESULT(window) \
  taps taps[WINDOW_AXES]; \
  for (int64_t z = 0, o = 0; z < (window)->output[0]; z++) \
    for (int64_t y = (taps[0] = taps_at((window), 0, z), 0); y < (window)->output[1]; y++) \
      for (int64_t x = (taps[1] = taps_at((window), 1, y), 0); x < (window)->output[2]; x++, o++)
#define FOR_EACH_ROW \
  for (int64_t kz = taps[0].first; kz < taps[0].last; kz++) \
    for (int64_t ky = taps[1].first; ky < taps[1].last; ky++)

static inline float
average_scale(const plane *plane, const taps *taps, int64_t z, int64_t y, int64_t x)
{
  const Window *window = plane->window;
  int64_t count = (taps[0].last - taps[0].first) * (taps[1].last - taps[1].first) * (taps[2].last - taps[2].first);
  if (plane->count_include_pad) count = window_counted(window, 0, z) * window_counted(window, 1, y) * window_counted(window, 2, x);
  return count ? 1 / (float)count : 0;
}

#define WIDTH 16
#include "pooling_planes.h"
#define WIDTH 8
#include "pooling_planes.h"
#define WIDTH 1
#include "pooling_planes.h"

/* The same function for 1, 8 and 16 lanes. */
typedef struct plane_functions {
  plane_function *one, *eight, *sixteen;
} plane_functions;
#define OF_WIDTH(name) (&(plane_functions){name##_1, name##_8, name##_16})

typedef struct pool {
  const actnn_view *image, *result, *offset;
  const actnn_attribute *kernel_shape;
  bool count_include_pad;
} pool;

static int
run_pool(const actnn_call *call, const pool *pool, const plane_functions *functions)
{
  if (actnn_is_preparing(call)) return 0;
  Window window = window_of(pool->kernel_shape, pool->image, pool->result);
  layout_planes planes = layout_of(call->trainer, pool->image);
  int64_t image_size = window_volume(window.input) * planes.lanes;
  int64_t result_size = window_volume(window.output) * planes.lanes;
  int64_t count = planes.batch * planes.blocks;
  plane_function *function = planes.lanes == 16  ? functions->sixteen
                             : planes.lanes == 8 ? functions->eight
                                                 : functions->one;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) {
    plane plane = {&window,
                   (float *)pool->image->data + i * image_size,
                   (float *)pool->result->data + i * result_size,
                   pool->offset ? (uint8_t *)pool->offset->data + i * result_size : NULL,
                   pool->count_include_pad,
                   layout_used_lanes(&planes, i % planes.blocks)};
    function(&plane);
  }
  return 0;
}

int
ENTRY(MaxPoolWithOffset)(const actnn_call *call)
{
  return run_pool(call, &(pool){&call->input[0], &call->output[0], &call->output[1], call->attribute, false}, OF_WIDTH(max_plane));
}

int
ENTRY(MaxPoolGrad)(const actnn_call *call)
{
  return run_pool(call, &(pool){&call->output[0], &call->input[0], &call->input[1], call->attribute + 1, false},
                  OF_WIDTH(max_grad_plane));
}

int
ENTRY(AveragePool)(const actnn_call *call)
{
  return run_pool(call, &(pool){&call->input[0], &call->output[0], NULL, call->attribute + 1, call->attribute[6].i != 0},
                  OF_WIDTH(average_plane));
}

int
ENTRY(AveragePoolGrad)(const actnn_call *call)
{
  return run_pool(call, &(pool){&call->output[0], &call->input[0], NULL, call->attribute + 1, call->attribute[6].i != 0},
                  OF_WIDTH(average_grad_plane));
}

/* ---- the whole image -------------------------------------------------------------------------------- */

/* Sums of runs of this many positions are added to the total one by one, which keeps rounding small. */
enum { RUN = 64 };

static inline __attribute__((always_inline)) void
total(const float *from, int64_t positions, float *sum, int width)
{
  for (int lane = 0; lane < width; lane++) sum[lane] = 0;
  for (int64_t start = 0; start < positions; start += RUN) {
    int64_t end = start + RUN < positions ? start + RUN : positions;
    float run[LANES] = {0};
    for (int64_t p = start; p < end; p++)
      for (int lane = 0; lane < width; lane++) run[lane] += from[p * width + lane];
    for (int lane = 0; lane < width; lane++) sum[lane] += run[lane];
  }
}

/* A plane of one lane is dealt to 16 sums. */
static inline __attribute__((always_inline)) float
total_of_row(const float *from, int64_t positions)
{
  float part[LANES], sum = 0;
  int64_t whole = positions / LANES;
  total(from, whole, part, LANES);
  for (int lane = 0; lane < LANES; lane++) sum += part[lane];
  for (int64_t p = whole * LANES; p < positions; p++) sum += from[p];
  return sum;
}

static void
mean_plane(const float *from, int64_t positions, float *mean, int width)
{
  if (width == 16) total(from, positions, mean, 16);
  else if (width == 8) total(from, positions, mean, 8);
  else mean[0] = total_of_row(from, positions);
  for (int lane = 0; lane < width; lane++) mean[lane] /= (float)positions;
}

static void
spread_plane(const float *share, float *to, int64_t positions, int width)
{
  float part[LANES];
  for (int lane = 0; lane < width; lane++) part[lane] = share[lane] / (float)positions;
  if (width == 1) {
    for (int64_t p = 0; p < positions; p++) to[p] = part[0];
    return;
  }
  for (int64_t p = 0; p < positions; p++)
    for (int lane = 0; lane < width; lane++) to[p * width + lane] = part[lane];
}

int
ENTRY(GlobalAveragePool)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  layout_planes planes = layout_of(call->trainer, &call->input[0]);
  const float *x = call->input[0].data;
  float *y = call->output[0].data;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < planes.batch * planes.blocks; i++)
    mean_plane(x + i * planes.positions * planes.lanes, planes.positions, y + i * planes.lanes, planes.lanes);
  return 0;
}

int
ENTRY(GlobalAveragePoolGrad)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  layout_planes planes = layout_of(call->trainer, &call->output[0]);
  const float *dy = call->input[0].data;
  float *dx = call->output[0].data;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < planes.batch * planes.blocks; i++)
    spread_plane(dy + i * planes.lanes, dx + i * planes.positions * planes.lanes, planes.positions, planes.lanes);
  return 0;
}
