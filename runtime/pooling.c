/* pooling.c: kernels of pools. A plane of lanes at a time: the innermost loop runs over the channels of a block, so
 * that it is as wide as the machine's vectors; row-major images are planes of one lane. */
#include "../src/operators/window.h"
#include "layout.h"

#include <math.h>
#include <string.h>

actnn_kernel actnn_MaxPoolWithOffset, actnn_MaxPoolGrad, actnn_AveragePool, actnn_AveragePoolGrad,
    actnn_GlobalAveragePool, actnn_GlobalAveragePoolGrad;

enum { MOST_LANES = 16 };

/* What a plane's function works on: image and result of the window, offsets for max pools. */
typedef struct plane {
  const Window *window;
  float *image, *result;
  uint8_t *offset;
  bool count_include_pad;
  int used; /* lanes that are channels */
} plane;

typedef void plane_function(const plane *plane, int lanes);

/* The part of a window that lies on the image. */
typedef struct clip {
  int64_t first[WINDOW_AXES], last[WINDOW_AXES], start[WINDOW_AXES];
} clip;

static inline clip
clip_window(const Window *window, int64_t z, int64_t y, int64_t x)
{
  clip clip;
  clip.start[0] = window_taps(window, 0, z, &clip.first[0], &clip.last[0]);
  clip.start[1] = window_taps(window, 1, y, &clip.first[1], &clip.last[1]);
  clip.start[2] = window_taps(window, 2, x, &clip.first[2], &clip.last[2]);
  return clip;
}

/* Where taps (z, y, 0) begin in the plane; tap x lies x * dilation further. */
static inline int64_t
row_place(const Window *window, const clip *clip, int64_t z, int64_t y)
{
  int64_t at_z = clip->start[0] + z * window->dilation[0], at_y = clip->start[1] + y * window->dilation[1];
  return (at_z * window->input[1] + at_y) * window->input[2] + clip->start[2];
}

#define FOR_EACH_RESULT(window) \
  for (int64_t z = 0, o = 0; z < (window)->output[0]; z++) \
    for (int64_t y = 0; y < (window)->output[1]; y++) \
      for (int64_t x = 0; x < (window)->output[2]; x++, o++)

#define FOR_EACH_ROW(clip) \
  for (int64_t kz = (clip).first[0]; kz < (clip).last[0]; kz++) \
    for (int64_t ky = (clip).first[1]; ky < (clip).last[1]; ky++)

/* The first of the largest; a NaN is larger than all. */
static inline __attribute__((always_inline)) void
max_plane(const plane *plane, int lanes)
{
  const Window *window = plane->window;
  FOR_EACH_RESULT(window)
  {
    clip clip = clip_window(window, z, y, x);
    float best[MOST_LANES];
    int32_t at[MOST_LANES];
    int32_t first = (int32_t)((clip.first[0] * window->kernel[1] + clip.first[1]) * window->kernel[2] + clip.first[2]);
    bool is_empty = clip.first[0] == clip.last[0] || clip.first[1] == clip.last[1] || clip.first[2] == clip.last[2];
    for (int lane = 0; lane < lanes; lane++) {
      best[lane] = -INFINITY;
      at[lane] = is_empty ? 0 : first;
    }
    FOR_EACH_ROW(clip)
    {
      int64_t row = row_place(window, &clip, kz, ky), tap = (kz * window->kernel[1] + ky) * window->kernel[2];
      for (int64_t kx = clip.first[2]; kx < clip.last[2]; kx++) {
        const float *from = plane->image + (row + kx * window->dilation[2]) * lanes;
        int32_t k = (int32_t)(tap + kx);
        for (int lane = 0; lane < lanes; lane++) {
          bool is_larger = (from[lane] > best[lane]) | (from[lane] != from[lane]);
          at[lane] = is_larger ? k : at[lane];
          best[lane] = is_larger ? from[lane] : best[lane];
        }
      }
    }
    for (int lane = 0; lane < lanes; lane++) {
      plane->result[o * lanes + lane] = lane < plane->used ? best[lane] : 0;
      plane->offset[o * lanes + lane] = (uint8_t)(lane < plane->used ? at[lane] : 0);
    }
  }
}

/* Each tap takes the gradient where the offset names it: as many steps as the window has taps, but all lanes at once. */
static inline __attribute__((always_inline)) void
max_grad_plane(const plane *plane, int lanes)
{
  const Window *window = plane->window;
  memset(plane->image, 0, (size_t)(window_volume(window->input) * lanes) * sizeof(float));
  FOR_EACH_RESULT(window)
  {
    clip clip = clip_window(window, z, y, x);
    const float *gradient = plane->result + o * lanes;
    int32_t at[MOST_LANES];
    for (int lane = 0; lane < lanes; lane++) at[lane] = plane->offset[o * lanes + lane];
    FOR_EACH_ROW(clip)
    {
      int64_t row = row_place(window, &clip, kz, ky), tap = (kz * window->kernel[1] + ky) * window->kernel[2];
      for (int64_t kx = clip.first[2]; kx < clip.last[2]; kx++) {
        float *to = plane->image + (row + kx * window->dilation[2]) * lanes;
        int32_t k = (int32_t)(tap + kx);
        for (int lane = 0; lane < lanes; lane++) to[lane] += at[lane] == k ? gradient[lane] : 0;
      }
    }
  }
}

/* Taps along one axis that the average is over: with padding counted, all that rounding up did not add behind it. */
static inline int64_t
counted(const Window *window, int axis, int64_t at)
{
  Window padded = *window;
  int64_t first, last;
  padded.input[axis] += padded.end[axis];
  window_taps(&padded, axis, at, &first, &last);
  return last;
}

static inline float
average_scale(const plane *plane, const clip *clip, int64_t z, int64_t y, int64_t x)
{
  const Window *window = plane->window;
  int64_t count = plane->count_include_pad
                      ? counted(window, 0, z) * counted(window, 1, y) * counted(window, 2, x)
                      : (clip->last[0] - clip->first[0]) * (clip->last[1] - clip->first[1]) * (clip->last[2] - clip->first[2]);
  return count ? 1 / (float)count : 0;
}

static inline __attribute__((always_inline)) void
average_plane(const plane *plane, int lanes)
{
  const Window *window = plane->window;
  FOR_EACH_RESULT(window)
  {
    clip clip = clip_window(window, z, y, x);
    float sum[MOST_LANES] = {0}, scale = average_scale(plane, &clip, z, y, x);
    FOR_EACH_ROW(clip)
    {
      int64_t row = row_place(window, &clip, kz, ky);
      for (int64_t kx = clip.first[2]; kx < clip.last[2]; kx++) {
        const float *from = plane->image + (row + kx * window->dilation[2]) * lanes;
        for (int lane = 0; lane < lanes; lane++) sum[lane] += from[lane];
      }
    }
    for (int lane = 0; lane < lanes; lane++) plane->result[o * lanes + lane] = sum[lane] * scale;
  }
}

static inline __attribute__((always_inline)) void
average_grad_plane(const plane *plane, int lanes)
{
  const Window *window = plane->window;
  memset(plane->image, 0, (size_t)(window_volume(window->input) * lanes) * sizeof(float));
  FOR_EACH_RESULT(window)
  {
    clip clip = clip_window(window, z, y, x);
    float share[MOST_LANES], scale = average_scale(plane, &clip, z, y, x);
    for (int lane = 0; lane < lanes; lane++) share[lane] = plane->result[o * lanes + lane] * scale;
    FOR_EACH_ROW(clip)
    {
      int64_t row = row_place(window, &clip, kz, ky);
      for (int64_t kx = clip.first[2]; kx < clip.last[2]; kx++) {
        float *to = plane->image + (row + kx * window->dilation[2]) * lanes;
        for (int lane = 0; lane < lanes; lane++) to[lane] += share[lane];
      }
    }
  }
}

/* The same code for each number of lanes, so that loops over lanes have a constant length. */
#define FOR_LANES(name) \
  ACTNN_EVERY_MACHINE static void name##_lanes(const plane *plane, int lanes) \
  { \
    if (lanes == 16) name(plane, 16); \
    else if (lanes == 8) name(plane, 8); \
    else name(plane, 1); \
  }
FOR_LANES(max_plane)
FOR_LANES(max_grad_plane)
FOR_LANES(average_plane)
FOR_LANES(average_grad_plane)

typedef struct pool {
  const actnn_view *image, *result, *offset;
  const actnn_attribute *kernel_shape;
  bool count_include_pad;
} pool;

static int
run_pool(const actnn_call *call, const pool *pool, plane_function *function)
{
  if (actnn_is_preparing(call)) return 0;
  Window window = window_of(pool->kernel_shape, pool->image, pool->result);
  layout_planes planes = layout_of(call->trainer, pool->image);
  int64_t image_size = window_volume(window.input) * planes.lanes, result_size = window_volume(window.output) * planes.lanes;
  int64_t count = planes.batch * planes.blocks;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) {
    plane plane = {&window,
                   (float *)pool->image->data + i * image_size,
                   (float *)pool->result->data + i * result_size,
                   pool->offset ? (uint8_t *)pool->offset->data + i * result_size : NULL,
                   pool->count_include_pad,
                   layout_used_lanes(&planes, i % planes.blocks)};
    function(&plane, planes.lanes);
  }
  return 0;
}

int
actnn_MaxPoolWithOffset(const actnn_call *call)
{
  return run_pool(call, &(pool){&call->input[0], &call->output[0], &call->output[1], call->attribute, false}, max_plane_lanes);
}

int
actnn_MaxPoolGrad(const actnn_call *call)
{
  return run_pool(call, &(pool){&call->output[0], &call->input[0], &call->input[1], call->attribute + 1, false},
                  max_grad_plane_lanes);
}

int
actnn_AveragePool(const actnn_call *call)
{
  return run_pool(call, &(pool){&call->input[0], &call->output[0], NULL, call->attribute + 1, call->attribute[6].i != 0},
                  average_plane_lanes);
}

int
actnn_AveragePoolGrad(const actnn_call *call)
{
  return run_pool(call, &(pool){&call->output[0], &call->input[0], NULL, call->attribute + 1, call->attribute[6].i != 0},
                  average_grad_plane_lanes);
}

/* ---- the whole image -------------------------------------------------------------------------------- */

/* Sums of runs of this many positions are added to the total one by one, which keeps rounding small. */
enum { RUN = 64 };

static inline __attribute__((always_inline)) void
total(const float *from, int64_t positions, float *sum, int lanes)
{
  for (int lane = 0; lane < lanes; lane++) sum[lane] = 0;
  for (int64_t start = 0; start < positions; start += RUN) {
    int64_t end = start + RUN < positions ? start + RUN : positions;
    float run[MOST_LANES] = {0};
    for (int64_t p = start; p < end; p++)
      for (int lane = 0; lane < lanes; lane++) run[lane] += from[p * lanes + lane];
    for (int lane = 0; lane < lanes; lane++) sum[lane] += run[lane];
  }
}

/* A plane of one lane is dealt to 16 sums. */
static inline __attribute__((always_inline)) float
total_of_row(const float *from, int64_t positions)
{
  float part[MOST_LANES], sum = 0;
  int64_t whole = positions / MOST_LANES;
  total(from, whole, part, MOST_LANES);
  for (int lane = 0; lane < MOST_LANES; lane++) sum += part[lane];
  for (int64_t p = whole * MOST_LANES; p < positions; p++) sum += from[p];
  return sum;
}

ACTNN_EVERY_MACHINE static void
mean_plane(const float *from, int64_t positions, float *mean, int lanes)
{
  if (lanes == 16) total(from, positions, mean, 16);
  else if (lanes == 8) total(from, positions, mean, 8);
  else mean[0] = total_of_row(from, positions);
  for (int lane = 0; lane < lanes; lane++) mean[lane] /= (float)positions;
}

ACTNN_EVERY_MACHINE static void
spread_plane(const float *share, float *to, int64_t positions, int lanes)
{
  float part[MOST_LANES];
  for (int lane = 0; lane < lanes; lane++) part[lane] = share[lane] / (float)positions;
  if (lanes == 1) {
    for (int64_t p = 0; p < positions; p++) to[p] = part[0];
    return;
  }
  for (int64_t p = 0; p < positions; p++)
    for (int lane = 0; lane < lanes; lane++) to[p * lanes + lane] = part[lane];
}

int
actnn_GlobalAveragePool(const actnn_call *call)
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
actnn_GlobalAveragePoolGrad(const actnn_call *call)
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
