/* convolution.c: kernels of convolutions: the library's primitives where it has them, plain loops elsewhere. */
#include "bfloat.h"
#include "layout.h"
#include "library.h"

actnn_kernel plain_Conv, plain_ConvGradInput, plain_ConvGradWeight, plain_ConvTranspose;
actnn_kernel actnn_Conv, actnn_ConvGradInput, actnn_ConvGradWeight, actnn_ConvTranspose;

/* What a convolution computes, in its own roles: x slides under w and makes y. */
typedef struct roles {
  library_direction direction;
  const actnn_view *x, *w, *y, *bias; /* bias may be NULL */
  actnn_kernel *plain, *kernel;
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
                                     .output_lanes = lanes_of(trainer, roles->y),
                                     .x_is_narrow = roles->x->type == ACTNN_BF16,
                                     .y_is_narrow = roles->y->type == ACTNN_BF16};
  bool has_work = !is_empty(roles->x) && !is_empty(roles->w) && !is_empty(roles->y);
  if (has_work && library_make_convolution(call->trainer, call->output[0].id, &convolution)) return 0;
  return bfloat_is_in(call) ? bfloat_run_on_copies(roles->kernel, call) : layout_run_plain(call, roles->plain);
}

static int
convolve(const actnn_call *call, const roles *roles)
{
  if (actnn_is_preparing(call)) return prepare(call, roles);
  bool is_narrow = bfloat_is_in(call);
  if (is_narrow && !library_takes_bfloat(call->trainer, call->output[0].id)) return bfloat_run_on_copies(roles->kernel, call);
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
                                 plain_Conv, actnn_Conv});
}

int
actnn_ConvGradInput(const actnn_call *call)
{
  return convolve(call, &(roles){LIBRARY_INPUT_GRADIENT, &call->output[0], &call->input[1], &call->input[0], NULL,
                                 plain_ConvGradInput, actnn_ConvGradInput});
}

int
actnn_ConvGradWeight(const actnn_call *call)
{
  return convolve(call, &(roles){LIBRARY_WEIGHT_GRADIENT, &call->input[1], &call->output[0], &call->input[0], NULL,
                                 plain_ConvGradWeight, actnn_ConvGradWeight});
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
  const roles roles = {LIBRARY_INPUT_GRADIENT, y, &call->input[1], &call->input[0], NULL, plain_ConvTranspose, actnn_ConvTranspose};
  if (convolve(call, &roles)) return 1;
  bool is_added = actnn_is_preparing(call) || !bias || !library_has(call->trainer, y->id); /* plain loops add it */
  if (!is_added) add_bias(call->trainer, y, bias->data);
  return 0;
}
