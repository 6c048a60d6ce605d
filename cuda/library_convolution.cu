/* library_convolution.cu: convolutions by cuDNN.
 *
 * Images lie plainly, or channels last where the trainer has them so (gpu_block_of). The library is fast where all operands of a
 * convolution lie the same way: channels last, weights and images that are held plainly go through the workspace. So do weights, and
 * their gradient, where images are held as bfloat16: the library then wants all of them so, and adds up in FP32. Images that have more
 * elements than the library counts are convolved in pieces, some samples each. So are images with asymmetric padding, which it does not
 * know: it gets copies with zeros around them, in the workspace as well (src/operators/convolution_padding.h). Its algorithms are chosen,
 * by its own judgement, among those that fit what is left of the planned workspace and, unless a trainer may vary, give the same bits
 * every time. */
#include "convolution_operands.h"
#include "kernels.h"
#include "libraries.h"

extern "C" {
#include "bfloat.h"
#include "library.h"
}

#include "../src/operators/evaluation.h"

#include <stdlib.h>

enum { MOST_ALGORITHMS = 16 };

struct gpu_convolution {
  library_direction direction;
  operand x, w, y;
  cudnnTensorDescriptor_t of_x, of_y;
  cudnnFilterDescriptor_t of_w;
  cudnnConvolutionDescriptor_t window;
  int algorithm;
  int64_t pieces; /* of x and y, one after the other */
  uint64_t copies_bytes, workspace_bytes; /* copies first, then the library's */
};

void
gpu_drop_convolution(struct gpu_convolution *convolution)
{
  if (!convolution)
    return;
  if (convolution->of_x)
    cudnnDestroyTensorDescriptor(convolution->of_x);
  if (convolution->of_y)
    cudnnDestroyTensorDescriptor(convolution->of_y);
  if (convolution->of_w)
    cudnnDestroyFilterDescriptor(convolution->of_w);
  if (convolution->window)
    cudnnDestroyConvolutionDescriptor(convolution->window);
  free(convolution);
}

/* What window slides over an image, and how the library is told of it. */
typedef struct geometry {
  Window window;
  SymmetricWindow symmetric;
  int64_t groups, samples; /* so many in a piece; 0: it is nothing for the library */
} geometry;

/* ---- describing --------------------------------------------------------------------------------------------------- */

/* Strides of an operand's axes, as the library gets it. */
static void
describe_strides(const operand *operand, int *dim, int *stride)
{
  int64_t step = operand->is_last_wanted ? operand->dim_wanted[1] : 1;
  for (int i = operand->axes - 1; i >= 0; i--) {
    dim[i] = (int)operand->dim_wanted[i];
    stride[i] = 1;
    if (i == 1 && operand->is_last_wanted)
      continue;
    stride[i] = (int)step;
    step *= operand->dim_wanted[i];
  }
}

static cudnnDataType_t
type_of(const operand *operand)
{
  return operand->is_narrow_wanted ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

static bool
describe_image(const operand *operand, cudnnTensorDescriptor_t *descriptor)
{
  int dim[OPERAND_AXES], stride[OPERAND_AXES];
  describe_strides(operand, dim, stride);
  return cudnnCreateTensorDescriptor(descriptor) == CUDNN_STATUS_SUCCESS &&
         cudnnSetTensorNdDescriptor(*descriptor, type_of(operand), operand->axes, dim, stride) == CUDNN_STATUS_SUCCESS;
}

static bool
describe_window(const geometry *geometry, int axes, cudnnMathType_t arithmetic, cudnnConvolutionDescriptor_t *descriptor)
{
  int pad[WINDOW_AXES], stride[WINDOW_AXES], dilation[WINDOW_AXES], spatial = axes - 2;
  for (int i = 0; i < spatial; i++) {
    int axis = WINDOW_AXES - spatial + i;
    pad[i] = (int)geometry->symmetric.pad[axis];
    stride[i] = (int)geometry->window.stride[axis];
    dilation[i] = (int)geometry->window.dilation[axis];
  }
  return cudnnCreateConvolutionDescriptor(descriptor) == CUDNN_STATUS_SUCCESS &&
         cudnnSetConvolutionNdDescriptor(*descriptor, spatial, pad, stride, dilation, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) ==
             CUDNN_STATUS_SUCCESS &&
         cudnnSetConvolutionGroupCount(*descriptor, (int)geometry->groups) == CUDNN_STATUS_SUCCESS &&
         cudnnSetConvolutionMathType(*descriptor, arithmetic) == CUDNN_STATUS_SUCCESS;
}

/* The most that an algorithm may do: round floats to TF32, or nothing, but multiply bfloat16 by tensor cores. */
static cudnnMathType_t
arithmetic_of(const actnn *trainer, const struct gpu_convolution *convolution)
{
  if (convolution->w.is_narrow_wanted)
    return CUDNN_TENSOR_OP_MATH;
  return trainer->tensor_float ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
}

static bool
describe(const actnn *trainer, struct gpu_convolution *convolution, const geometry *geometry)
{
  const operand *w = &convolution->w;
  int dim[OPERAND_AXES];
  for (int i = 0; i < w->axes; i++)
    dim[i] = (int)w->dim[i];
  return describe_image(&convolution->x, &convolution->of_x) && describe_image(&convolution->y, &convolution->of_y) &&
         cudnnCreateFilterDescriptor(&convolution->of_w) == CUDNN_STATUS_SUCCESS &&
         cudnnSetFilterNdDescriptor(convolution->of_w, type_of(w), w->is_last_wanted ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW,
                                    w->axes, dim) == CUDNN_STATUS_SUCCESS &&
         describe_window(geometry, w->axes, arithmetic_of(trainer, convolution), &convolution->window);
}

/* ---- algorithms ------------------------------------------------------------------------------------------------------- */

/* What the library says of an algorithm; it has a type of its own for each direction. */
typedef struct candidate {
  int algorithm;
  cudnnMathType_t arithmetic; /* that it goes with */
  bool is_good;
  size_t bytes;
} candidate;

template <typename Performance>
static candidate
candidate_of(const actnn *trainer, const struct gpu_convolution *c, const Performance &performance)
{
  bool may_be_taken = trainer->may_vary || performance.determinism == CUDNN_DETERMINISTIC;
  bool rounds = arithmetic_of(trainer, c) == CUDNN_FMA_MATH && performance.mathType != CUDNN_FMA_MATH;
  candidate found = {(int)performance.algo, performance.mathType, performance.status == CUDNN_STATUS_SUCCESS && may_be_taken && !rounds, 0};
  return found;
}

/* Candidates in the library's order, quickest first; their number. */
static int
list_candidates(const actnn *trainer, const struct gpu_convolution *c, candidate *found)
{
  cudnnHandle_t dnn = trainer->device_state->library->dnn;
  int count = 0;
  if (c->direction == LIBRARY_OUTPUT) {
    cudnnConvolutionFwdAlgoPerf_t list[MOST_ALGORITHMS];
    if (cudnnGetConvolutionForwardAlgorithm_v7(dnn, c->of_x, c->of_w, c->window, c->of_y, MOST_ALGORITHMS, &count, list))
      return 0;
    for (int i = 0; i < count; i++)
      found[i] = candidate_of(trainer, c, list[i]);
  } else if (c->direction == LIBRARY_INPUT_GRADIENT) {
    cudnnConvolutionBwdDataAlgoPerf_t list[MOST_ALGORITHMS];
    if (cudnnGetConvolutionBackwardDataAlgorithm_v7(dnn, c->of_w, c->of_y, c->window, c->of_x, MOST_ALGORITHMS, &count, list))
      return 0;
    for (int i = 0; i < count; i++)
      found[i] = candidate_of(trainer, c, list[i]);
  } else {
    cudnnConvolutionBwdFilterAlgoPerf_t list[MOST_ALGORITHMS];
    if (cudnnGetConvolutionBackwardFilterAlgorithm_v7(dnn, c->of_x, c->of_y, c->window, c->of_w, MOST_ALGORITHMS, &count, list))
      return 0;
    for (int i = 0; i < count; i++)
      found[i] = candidate_of(trainer, c, list[i]);
  }
  return count;
}

/* Tells the library of a candidate's arithmetic, without which it computes otherwise, and asks what workspace both take together. False when
 * it refuses them after all: its list is of what it expects. */
static bool
settle_candidate(const actnn *trainer, const struct gpu_convolution *c, candidate *one)
{
  cudnnHandle_t dnn = trainer->device_state->library->dnn;
  int algorithm = one->algorithm;
  size_t *bytes = &one->bytes;
  if (cudnnSetConvolutionMathType(c->window, one->arithmetic))
    return false;
  if (c->direction == LIBRARY_OUTPUT)
    return !cudnnGetConvolutionForwardWorkspaceSize(dnn, c->of_x, c->of_w, c->window, c->of_y, (cudnnConvolutionFwdAlgo_t)algorithm, bytes);
  if (c->direction == LIBRARY_INPUT_GRADIENT)
    return !cudnnGetConvolutionBackwardDataWorkspaceSize(dnn, c->of_w, c->of_y, c->window, c->of_x, (cudnnConvolutionBwdDataAlgo_t)algorithm,
                                                         bytes);
  return !cudnnGetConvolutionBackwardFilterWorkspaceSize(dnn, c->of_x, c->of_y, c->window, c->of_w,
                                                         (cudnnConvolutionBwdFilterAlgo_t)algorithm, bytes);
}

/* The first that fits the workspace, or else the one that asks for the least: the workspace then grows. */
static bool
choose_algorithm(const actnn *trainer, struct gpu_convolution *convolution)
{
  candidate found[MOST_ALGORITHMS];
  int count = list_candidates(trainer, convolution, found), chosen = -1;
  uint64_t room = trainer->workspace_bytes > convolution->copies_bytes ? trainer->workspace_bytes - convolution->copies_bytes : 0;
  for (int i = 0; i < count; i++) {
    if (!found[i].is_good || !settle_candidate(trainer, convolution, &found[i]))
      continue;
    if (chosen < 0 || found[i].bytes < found[chosen].bytes)
      chosen = i;
    if (found[chosen].bytes <= room)
      break;
  }
  if (chosen < 0 || !settle_candidate(trainer, convolution, &found[chosen]))
    return false;
  convolution->algorithm = found[chosen].algorithm;
  convolution->workspace_bytes = found[chosen].bytes;
  return true;
}

/* ---- preparing -------------------------------------------------------------------------------------------------------------- */

/* A convolution's views, in its own roles: x slides under w and makes y. */
typedef struct roles {
  library_direction direction;
  const actnn_view *x, *w, *y, *bias; /* bias may be NULL */
} roles;

static geometry
geometry_of(const actnn_call *call, const roles *roles)
{
  geometry made;
  made.window = window_of(call->attribute + 1, roles->x, roles->y);
  made.symmetric = symmetric_window(&made.window);
  made.groups = call->attribute[5].i;
  made.samples = convolution_samples(&made.window, &made.symmetric, roles->y, MOST_ELEMENTS);
  return made;
}

/* The library knows extents and strides that are ints. */
static bool
suits_library(const roles *roles, const geometry *geometry)
{
  const actnn_view *view[] = {roles->x, roles->w, roles->y};
  for (int i = 0; i < 3; i++)
    if ((view[i]->type != ACTNN_F32 && view[i]->type != ACTNN_BF16) || view[i]->rank < 3 || view[i]->rank > OPERAND_AXES)
      return false;
  return geometry->samples > 0 && element_count(roles->w) > 0 && element_count(roles->w) <= MOST_ELEMENTS;
}

/* Gives an operand that is wanted otherwise than it is held its place in the workspace. */
static void
place_copy(struct gpu_convolution *convolution, operand *operand)
{
  if (!needs_copy(operand))
    return;
  operand->place = convolution->copies_bytes;
  convolution->copies_bytes += gpu_padded((uint64_t)elements_wanted(operand) * (operand->is_narrow_wanted ? sizeof(bfloat_number) : sizeof(float)));
}

/* How the library is to get all operands. */
typedef struct form {
  bool is_last, is_narrow;
} form;

/* NULL: the library has no algorithm that may be taken. */
static struct gpu_convolution *
make_convolution(const actnn *trainer, const roles *roles, const geometry *geometry, form wanted)
{
  struct gpu_convolution *convolution = (struct gpu_convolution *)calloc(1, sizeof *convolution);
  if (!convolution)
    return NULL;
  convolution->direction = roles->direction;
  convolution->x = image_operand(trainer, roles->x);
  convolution->y = image_operand(trainer, roles->y);
  convolution->w = image_operand(trainer, roles->w);
  convolution->pieces = geometry->window.batch / geometry->samples;
  settle_extents(&convolution->x, geometry->samples);
  settle_extents(&convolution->y, geometry->samples);
  settle_extents(&convolution->w, roles->w->dim[0]);
  settle_padding(&convolution->x, &geometry->symmetric);
  operand *const operands[] = {&convolution->x, &convolution->w, &convolution->y};
  for (int i = 0; i < 3; i++) {
    operands[i]->is_last_wanted = wanted.is_last;
    if (lies_either_way(operands[i]))
      operands[i]->is_last_held = wanted.is_last;
    operands[i]->is_narrow_wanted = wanted.is_narrow;
    place_copy(convolution, operands[i]);
  }
  if (describe(trainer, convolution, geometry) && choose_algorithm(trainer, convolution))
    return convolution;
  gpu_drop_convolution(convolution);
  return NULL;
}

/* As images are held; where the library has nothing for that, in the plain order, and last of all in FP32, which it has most algorithms for:
 * copies cost less than the processor. */
static struct gpu_convolution *
make_in_some_form(const actnn *trainer, const roles *roles, const geometry *geometry)
{
  bool is_last = image_operand(trainer, roles->x).is_last_held || image_operand(trainer, roles->y).is_last_held;
  bool is_narrow = bfloat_holds(roles->x) || bfloat_holds(roles->y);
  const form forms[] = {{is_last, is_narrow}, {false, is_narrow}, {false, false}};
  struct gpu_convolution *made = NULL;
  for (int i = 0; i < 3 && !made; i++)
    if (i == 0 || forms[i].is_last != forms[i - 1].is_last || forms[i].is_narrow != forms[i - 1].is_narrow)
      made = make_convolution(trainer, roles, geometry, forms[i]);
  return made;
}

static int
prepare(const actnn_call *call, const roles *roles)
{
  actnn *trainer = call->trainer;
  geometry geometry = geometry_of(call, roles);
  gpu_primitive *slot = gpu_primitive_of(trainer, call->output[0].id);
  gpu_drop_convolution(slot->convolution);
  slot->convolution = NULL;
  if (gpu_start_dnn(trainer))
    return 1;
  slot->convolution = suits_library(roles, &geometry) ? make_in_some_form(trainer, roles, &geometry) : NULL;
  if (!slot->convolution)
    return DEVICE_DECLINES;
  uint64_t wanted = slot->convolution->copies_bytes + slot->convolution->workspace_bytes;
  if (wanted > trainer->workspace_wanted)
    trainer->workspace_wanted = wanted;
  return 0;
}

/* ---- running -------------------------------------------------------------------------------------------------------------------- */

/* Where a piece is held. */
static void *
held(const operand *operand, const actnn_view *view, int64_t piece)
{
  return (unsigned char *)view->data + piece * elements_of(operand) * (int64_t)(operand->is_narrow_held ? sizeof(bfloat_number) : sizeof(float));
}

/* An operand that is read, as the library wants it; NULL when it cannot be brought there. */
static void *
given(const actnn_call *call, const operand *operand, const actnn_view *view, int64_t piece)
{
  if (!needs_copy(operand))
    return held(operand, view, piece);
  void *copy = call->trainer->workspace + operand->place;
  return reorder(call, operand, true, held(operand, view, piece), copy) ? NULL : copy;
}

/* Where the library writes what it computes, and bringing that to where it is held. */
static void *
taken(const actnn_call *call, const operand *operand, const actnn_view *view, int64_t piece)
{
  return needs_copy(operand) ? call->trainer->workspace + operand->place : held(operand, view, piece);
}

static int
bring_back(const actnn_call *call, const operand *operand, const void *computed, const actnn_view *view, int64_t piece)
{
  return needs_copy(operand) ? reorder(call, operand, false, computed, held(operand, view, piece)) : 0;
}

/* A thread for each element: adds the bias of its channel. */
template <typename Held>
KERNEL
add_bias(Held *y, const float *bias, int64_t count, int64_t channels, int64_t positions, bool is_last)
{
  int64_t i = thread_number();
  if (i < count)
    hold(&y[i], widened(y[i]) + bias[is_last ? i % channels : i / positions % channels]);
}

/* One piece; a weight's gradient is added to that of the pieces before: by the library, which would round each sum to bfloat16, or here. */
static int
compute(const actnn_call *call, struct gpu_convolution *c, const roles *roles, int64_t piece)
{
  actnn *trainer = call->trainer;
  cudnnHandle_t dnn = trainer->device_state->library->dnn;
  void *room = trainer->workspace + c->copies_bytes;
  bool makes_x = c->direction == LIBRARY_INPUT_GRADIENT, makes_w = c->direction == LIBRARY_WEIGHT_GRADIENT;
  bool adds_here = c->w.is_narrow_wanted && !c->w.is_narrow_held;
  const float one = 1, none = 0, *before = piece > 0 && !adds_here ? &one : &none;
  void *x = makes_x ? taken(call, &c->x, roles->x, piece) : given(call, &c->x, roles->x, piece);
  void *w = makes_w ? taken(call, &c->w, roles->w, 0) : given(call, &c->w, roles->w, 0);
  void *y = makes_x || makes_w ? given(call, &c->y, roles->y, piece) : taken(call, &c->y, roles->y, piece);
  if (!x || !w || !y)
    return 1;
  cudnnStatus_t status =
      makes_x   ? cudnnConvolutionBackwardData(dnn, &one, c->of_w, w, c->of_y, y, c->window, (cudnnConvolutionBwdDataAlgo_t)c->algorithm,
                                               room, c->workspace_bytes, &none, c->of_x, x)
      : makes_w ? cudnnConvolutionBackwardFilter(dnn, &one, c->of_x, x, c->of_y, y, c->window,
                                                 (cudnnConvolutionBwdFilterAlgo_t)c->algorithm, room, c->workspace_bytes, before, c->of_w, w)
                : cudnnConvolutionForward(dnn, &one, c->of_x, x, c->of_w, w, c->window, (cudnnConvolutionFwdAlgo_t)c->algorithm, room,
                                          c->workspace_bytes, &none, c->of_y, y);
  if (gpu_check_dnn(trainer, status, "a convolution"))
    return 1;
  if (makes_x)
    return bring_back(call, &c->x, x, roles->x, piece);
  if (makes_w && adds_here && piece > 0)
    return add_back(call, &c->w, w, roles->w->data);
  if (makes_w)
    return (adds_here || piece == c->pieces - 1) && bring_back(call, &c->w, w, roles->w, 0);
  return bring_back(call, &c->y, y, roles->y, piece);
}

static int
add_bias_to(const actnn_call *call, const operand *y, const actnn_view *view, const actnn_view *bias)
{
  int64_t count = element_count(view), channels = y->dim[1];
  return with_floats(y->is_narrow_held, [=](auto form) {
    return LAUNCH(call, add_bias<decltype(form)>, count, (decltype(form) *)view->data, (const float *)bias->data, count, channels,
                  elements_of(y) / y->dim[0] / channels, y->is_last_held);
  });
}

static int
convolve(const actnn_call *call, const roles *roles)
{
  if (actnn_is_preparing(call))
    return prepare(call, roles);
  struct gpu_convolution *convolution = gpu_primitive_of(call->trainer, call->output[0].id)->convolution;
  if (!convolution)
    return DEVICE_DECLINES;
  for (int64_t piece = 0; piece < convolution->pieces; piece++)
    if (compute(call, convolution, roles, piece))
      return 1;
  bool makes_x = roles->direction == LIBRARY_INPUT_GRADIENT;
  return roles->bias && add_bias_to(call, makes_x ? &convolution->x : &convolution->y, &call->output[0], roles->bias);
}

static const actnn_view *
bias_of(const actnn_call *call)
{
  return call->input_count > 2 && call->input[2].data ? &call->input[2] : NULL;
}

extern "C" int
gpu_Conv(const actnn_call *call)
{
  const roles roles = {LIBRARY_OUTPUT, &call->input[0], &call->input[1], &call->output[0], bias_of(call)};
  return convolve(call, &roles);
}

extern "C" int
gpu_ConvGradInput(const actnn_call *call)
{
  const roles roles = {LIBRARY_INPUT_GRADIENT, &call->output[0], &call->input[1], &call->input[0], NULL};
  return convolve(call, &roles);
}

extern "C" int
gpu_ConvGradWeight(const actnn_call *call)
{
  const roles roles = {LIBRARY_WEIGHT_GRADIENT, &call->input[1], &call->output[0], &call->input[0], NULL};
  return convolve(call, &roles);
}

/* The gradient of a convolution for its input, with x as the gradient of the output. */
extern "C" int
gpu_ConvTranspose(const actnn_call *call)
{
  const roles roles = {LIBRARY_INPUT_GRADIENT, &call->output[0], &call->input[1], &call->input[0], bias_of(call)};
  return convolve(call, &roles);
}
