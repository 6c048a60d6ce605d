/* convolution.c: kernels of convolutions: the library's primitives where it has them, plain loops elsewhere. */
#include "layout.h"
#include "library.h"

actnn_kernel plain_Conv, plain_ConvGradInput, plain_ConvGradWeight, plain_ConvTranspose;
actnn_kernel actnn_Conv, actnn_ConvGradInput, actnn_ConvGradWeight, actnn_ConvTranspose, actnn_ChannelSum;

/* What a convolution computes, in its own roles: x slides under w and makes y. */
typedef struct roles {
  library_direction direction;
  const actnn_view *x, *w, *y, *bias; /* bias may be NULL */
  actnn_kernel *plain;
} roles;

static int
lanes_of(const actnn *trainer, const actnn_view *view)
{
  return view->layout == ACTNN_BLOCKED ? trainer->channel_block : 1;
}

static bool
is_empty(const actnn_view *view)
{
  for (int i = 0; i < view->rank; i++)
    if (view->dim[i] == 0) return true;
  return false;
}

/* All signatures have kernel_shape at attribute 1 and group at attribute 5. */
static int
prepare(const actnn_call *call, const roles *roles)
{
  const actnn *trainer = call->trainer;
  library_convolution convolution = {.direction = roles->direction,
                                     .window = window_of(call->attribute + 1, roles->x, roles->y),
                                     .groups = call->attribute[5].i,
                                     .filters = roles->y->dim[1],
                                     .has_bias = roles->bias != NULL,
                                     .input_lanes = lanes_of(trainer, roles->x),
                                     .output_lanes = lanes_of(trainer, roles->y)};
  bool has_work = !is_empty(roles->x) && !is_empty(roles->w) && !is_empty(roles->y);
  if (has_work && library_make_convolution(call->trainer, call->output[0].id, &convolution)) return 0;
  return layout_run_plain(call, roles->plain);
}

static int
convolve(const actnn_call *call, const roles *roles)
{
  if (actnn_is_preparing(call)) return prepare(call, roles);
  if (!library_has(call->trainer, call->output[0].id)) return layout_run_plain(call, roles->plain);
  void *const operand[LIBRARY_OPERANDS] = {roles->x->data, roles->w->data, roles->y->data,
                                           roles->bias ? roles->bias->data : NULL};
  return library_run(call->trainer, call->output[0].id, operand);
}

static const actnn_view *
bias_of(const actnn_call *call)
{
  return call->input_count > 2 && call->input[2].data ? &call->input[2] : NULL;
}

int
actnn_Conv(const actnn_call *call)
{
  return convolve(call, &(roles){LIBRARY_OUTPUT, &call->input[0], &call->input[1], &call->output[0], bias_of(call),
                                 plain_Conv});
}

int
actnn_ConvGradInput(const actnn_call *call)
{
  return convolve(call, &(roles){LIBRARY_INPUT_GRADIENT, &call->output[0], &call->input[1], &call->input[0], NULL,
                                 plain_ConvGradInput});
}

int
actnn_ConvGradWeight(const actnn_call *call)
{
  return convolve(call, &(roles){LIBRARY_WEIGHT_GRADIENT, &call->input[1], &call->output[0], &call->input[0], NULL,
                                 plain_ConvGradWeight});
}

/* Adds the bias to every position of its channel; padding lanes stay zero. */
static void
add_bias(const actnn *trainer, const actnn_view *y, const float *bias)
{
  layout_planes planes = layout_of(trainer, y);
  int64_t count = planes.batch * planes.blocks;
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < count; plane++) {
    int64_t block = plane % planes.blocks;
    int lanes = planes.lanes, used = layout_used_lanes(&planes, block);
    float *to = (float *)y->data + plane * planes.positions * lanes, add[16] = {0};
    for (int lane = 0; lane < used; lane++) add[lane] = bias[block * lanes + lane];
    for (int64_t p = 0; p < planes.positions; p++)
      for (int lane = 0; lane < lanes; lane++) to[p * lanes + lane] += add[lane];
  }
}

/* The gradient of a convolution for its input, with x as the gradient of the output. */
int
actnn_ConvTranspose(const actnn_call *call)
{
  const actnn_view *y = &call->output[0], *bias = bias_of(call);
  const roles roles = {LIBRARY_INPUT_GRADIENT, y, &call->input[1], &call->input[0], NULL, plain_ConvTranspose};
  if (convolve(call, &roles)) return 1;
  bool is_added = actnn_is_preparing(call) || !bias || !library_has(call->trainer, y->id); /* plain loops add it */
  if (!is_added) add_bias(call->trainer, y, bias->data);
  return 0;
}

/* ---- sum over batch and space --------------------------------------------------------------------- */

enum { SUM_RUN = 256, SUM_LANES = 16 };

/* Sums of `positions` x `lanes` floats for each lane. Runs of a few hundred are added up in single precision, as wide
 * as the machine is, then in double. */
static inline void
sum_lanes(const float *from, int64_t positions, int lanes, double *sum)
{
  for (int64_t start = 0; start < positions; start += SUM_RUN) {
    int64_t end = start + SUM_RUN < positions ? start + SUM_RUN : positions;
    float run[SUM_LANES] = {0};
    for (int64_t p = start; p < end; p++)
      for (int lane = 0; lane < lanes; lane++) run[lane] += from[p * lanes + lane];
    for (int lane = 0; lane < lanes; lane++) sum[lane] += (double)run[lane];
  }
}

/* A row-major plane has one channel: its positions are dealt to 16 partial sums. */
static inline double
sum_row(const float *from, int64_t positions)
{
  double part[SUM_LANES] = {0}, sum = 0;
  int64_t whole = positions / SUM_LANES;
  sum_lanes(from, whole, SUM_LANES, part);
  for (int lane = 0; lane < SUM_LANES; lane++) sum += part[lane];
  for (int64_t p = whole * SUM_LANES; p < positions; p++) sum += (double)from[p];
  return sum;
}

ACTNN_EVERY_MACHINE static void
sum_plane(const float *from, int64_t positions, int lanes, double *sum)
{
  if (lanes == 16) sum_lanes(from, positions, 16, sum);
  else if (lanes == 8) sum_lanes(from, positions, 8, sum);
  else sum[0] += sum_row(from, positions);
}

/* Each block of channels in pieces of the batch, each piece by one thread: how many pieces does not depend on the
 * threads. */
enum { BATCH_PIECES = 8 };

static uint64_t
piece_bytes(const layout_planes *planes)
{
  return (uint64_t)(planes->blocks * planes->lanes) * BATCH_PIECES * sizeof(double);
}

static void
sum_pieces(const float *x, const layout_planes *planes, double *piece_sum)
{
  int64_t count = planes->blocks * BATCH_PIECES;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) {
    int64_t block = i / BATCH_PIECES, piece = i % BATCH_PIECES;
    double *sum = piece_sum + i * planes->lanes;
    for (int lane = 0; lane < planes->lanes; lane++) sum[lane] = 0;
    for (int64_t n = planes->batch * piece / BATCH_PIECES; n < planes->batch * (piece + 1) / BATCH_PIECES; n++)
      sum_plane(x + (n * planes->blocks + block) * planes->positions * planes->lanes, planes->positions, planes->lanes, sum);
  }
}

int
actnn_ChannelSum(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  layout_planes planes = layout_of(trainer, &call->input[0]);
  uint64_t bytes = piece_bytes(&planes);
  if (trainer->preparing) {
    if (trainer->workspace_wanted < bytes) trainer->workspace_wanted = bytes;
    return 0;
  }
  if (bytes > trainer->workspace_bytes)
    return actnn_fail(trainer, "tensor %u: the workspace is too small", call->output[0].id);
  double *piece_sum = (double *)(void *)trainer->workspace;
  float *y = call->output[0].data;
  sum_pieces(call->input[0].data, &planes, piece_sum);
  for (int64_t c = 0; c < planes.channels; c++) {
    double sum = 0;
    for (int64_t piece = 0; piece < BATCH_PIECES; piece++)
      sum += piece_sum[(c / planes.lanes * BATCH_PIECES + piece) * planes.lanes + c % planes.lanes];
    y[c] = (float)sum;
  }
  return 0;
}
