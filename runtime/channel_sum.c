/* channel_sum.c: the sum of each channel over batch and space, which is the gradient of a convolution's bias. */
#include "bfloat.h"
#include "instruction_set.h"
#include "layout.h"

actnn_kernel ENTRY(ChannelSum);

/* Positions added up in single precision, before the sum goes on in double. */
enum { SUM_RUN = 256 };

/* Sums of `positions` x `width` floats for each lane, from element `at` on. */
static inline void
sum_lanes(const actnn_view *x, int64_t at, int64_t positions, int width, double *sum)
{
  for (int64_t start = 0; start < positions; start += SUM_RUN) {
    int64_t end = start + SUM_RUN < positions ? start + SUM_RUN : positions;
    float run[LANES] = {0}, buffer[SUM_RUN * LANES];
    const float *from = bfloat_read(x, at + start * width, (end - start) * width, buffer);
    for (int64_t p = 0; p < end - start; p++)
      for (int lane = 0; lane < width; lane++) run[lane] += from[p * width + lane];
    for (int lane = 0; lane < width; lane++) sum[lane] += (double)run[lane];
  }
}

/* A row-major plane has one channel: its positions are dealt to 16 partial sums. */
static inline double
sum_row(const actnn_view *x, int64_t at, int64_t positions)
{
  double part[LANES] = {0}, sum = 0;
  int64_t whole = positions / LANES, rest = positions % LANES;
  sum_lanes(x, at, whole, LANES, part);
  float buffer[LANES];
  const float *from = bfloat_read(x, at + whole * LANES, rest, buffer);
  for (int lane = 0; lane < LANES; lane++) sum += part[lane];
  for (int64_t p = 0; p < rest; p++) sum += (double)from[p];
  return sum;
}

static void
sum_plane(const actnn_view *x, int64_t at, int64_t positions, int width, double *sum)
{
  if (width == 16) sum_lanes(x, at, positions, 16, sum);
  else if (width == 8) sum_lanes(x, at, positions, 8, sum);
  else sum[0] += sum_row(x, at, positions);
}

/* Each block of channels is summed in pieces of the batch, each piece by one thread: how many pieces does not depend on
 * the threads. */
enum { BATCH_PIECES = 8 };

static uint64_t
piece_bytes(const layout_planes *planes)
{
  return (uint64_t)(planes->blocks * planes->lanes) * BATCH_PIECES * sizeof(double);
}

static void
sum_pieces(const actnn_view *x, const layout_planes *planes, double *piece_sum)
{
  int64_t count = planes->blocks * BATCH_PIECES;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) {
    int64_t block = i / BATCH_PIECES, piece = i % BATCH_PIECES;
    double *sum = piece_sum + i * planes->lanes;
    for (int lane = 0; lane < planes->lanes; lane++) sum[lane] = 0;
    for (int64_t n = planes->batch * piece / BATCH_PIECES; n < planes->batch * (piece + 1) / BATCH_PIECES; n++)
      sum_plane(x, (n * planes->blocks + block) * planes->positions * planes->lanes, planes->positions, planes->lanes, sum);
  }
}

int
ENTRY(ChannelSum)(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  layout_planes planes = layout_of(trainer, &call->input[0]);
  uint64_t bytes = piece_bytes(&planes);
  if (trainer->preparing) {
    if (trainer->workspace_wanted < bytes) trainer->workspace_wanted = bytes;
    return 0;
  }
  if (bytes > trainer->workspace_bytes)
    return actnn_fail(trainer, "tensor %u: the workspace of %llu bytes is too small, %llu are needed", call->output[0].id,
                      (unsigned long long)trainer->workspace_bytes, (unsigned long long)bytes);
  double *piece_sum = (double *)(void *)trainer->workspace;
  const actnn_view *y = &call->output[0];
  sum_pieces(&call->input[0], &planes, piece_sum);
  for (int64_t c = 0; c < planes.channels; c++) {
    double sum = 0;
    for (int64_t piece = 0; piece < BATCH_PIECES; piece++)
      sum += piece_sum[(c / planes.lanes * BATCH_PIECES + piece) * planes.lanes + c % planes.lanes];
    float result, *to = bfloat_place(y, c, &result);
    *to = (float)sum;
    bfloat_write(y, c, 1, &result);
  }
  return 0;
}
