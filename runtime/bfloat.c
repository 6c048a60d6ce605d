/* bfloat.c: kernels that compute in FP32 on values held as bfloat16; see bfloat.h. */
#include "attention_tiles.h"
#include "bfloat.h"
#include "device.h"
#include "layout.h"

#include "../src/operators/convolution_padding.h"
#include "../src/operators/evaluation.h"

#include <string.h>

/* Kernels of the processor that take bfloat16 themselves: all elementwise rows, and these. */
#define UNARY(NAME, ...) actnn_##NAME, actnn_##NAME##Slope,
#define POINT(NAME, ...) actnn_##NAME,
#define OPERATOR(...)
static actnn_kernel *const takers[] = {
#include "../src/operators.def"
    actnn_Pointwise, actnn_BatchNormalization, actnn_BatchNorm, actnn_BatchNormStatistics, actnn_BatchNormApply, actnn_BatchNormGrad,
    actnn_BatchNormFrozenGrad, actnn_PackPositive, actnn_SelectPacked, actnn_Dropout, actnn_DropoutReplay, actnn_DropoutSum,
    actnn_Attention, actnn_AttentionGrad, actnn_ChannelSum, actnn_ReduceSum, actnn_ReduceMean, actnn_SumTo};

/* So do those of libraries, where they have it; a GPU's has more. */
static actnn_kernel *const matrix_products[] = {actnn_Product, actnn_ProductSum, actnn_ProductGradWeight, actnn_ProductGradWeightSum};
static actnn_kernel *const convolutions[] = {actnn_Conv, actnn_ConvGradInput, actnn_ConvGradWeight};
static actnn_kernel *const gpu_products[] = {actnn_ConvTranspose};

/* So do those of codes, which a trainer without saves cannot prepare. */
static actnn_kernel *const coders[] = {
    actnn_QuantizeOnSave, actnn_DequantizeOnBackward, actnn_SelectCoded, actnn_MultiplyCoded, actnn_NormalizeOnSave,
    actnn_DequantizeNormal, actnn_NormalGradScale, actnn_NormalGradInput, actnn_MeasureSensitivity};

/* Kernels that write it, and read floats. */
static actnn_kernel *const writers[] = {actnn_SoftmaxCrossEntropyGrad, actnn_NegativeLogLikelihoodGrad, actnn_CrossEntropyRows};

/* Kernels that move elements: they take any, if all floats are held alike. */
static actnn_kernel *const movers[] = {
    actnn_Identity, actnn_Reshape, actnn_Flatten, actnn_Squeeze, actnn_Unsqueeze, actnn_Transpose, actnn_TransposeInverse,
    actnn_DepthToSpace, actnn_SpaceToDepth, actnn_Concat, actnn_ConcatPart, actnn_Split, actnn_Slice, actnn_SliceGrad, actnn_Expand,
    actnn_Tile, actnn_Gather, actnn_PackTriangle, actnn_UnpackTriangle, actnn_ToBlocked, actnn_ToPlain,
    actnn_SaveExact, actnn_RestoreExact};

/* Those of a GPU take bfloat16 themselves but for these: windows of floats, and what reads again what it has made. */
static actnn_kernel *const gpu_others[] = {
    actnn_LRN, actnn_LRNGrad, actnn_ReduceLogSumExp, actnn_GatherElementsGrad, actnn_ScatterElements, actnn_ScatterND};

/* And these if all floats are held alike. */
static actnn_kernel *const gpu_movers[] = {
    actnn_Pad, actnn_Trilu, actnn_ScatterElementsZero, actnn_ScatterNDZero, actnn_TopK, actnn_PackTriangle, actnn_UnpackTriangle};

/* Kernels that work on samples one by one, which therefore need not be copied all at once: bit i says that operand or result i has
 * samples on its first axis. */
static const struct {
  actnn_kernel *kernel;
  unsigned inputs, outputs;
  bool has_axis; /* attribute 0, along which it must not be */
} separable[] = {{actnn_MaxPoolWithOffset, 1, 3, false}, {actnn_MaxPoolGrad, 3, 1, false},        {actnn_AveragePool, 1, 1, false},
                 {actnn_AveragePoolGrad, 1, 1, false},   {actnn_GlobalAveragePool, 1, 1, false},  {actnn_GlobalAveragePoolGrad, 1, 1, false},
                 {actnn_Softmax, 1, 1, true},            {actnn_SoftmaxGrad, 3, 1, true},         {actnn_LayerNormalization, 1, 7, true},
                 {actnn_RMSNormalization, 1, 3, true},   {actnn_InstanceNormalization, 1, 7, false}, {actnn_GroupNorm, 1, 7, false}};

enum {
  MOST_SEPARABLE = 4,   /* operands or results of such a kernel */
  PIECE_BYTES = 4 << 20 /* of copies, unless a sample takes more */
};

static bool
is_among(actnn_kernel *kernel, actnn_kernel *const *list, size_t count)
{
  for (size_t i = 0; i < count; i++)
    if (list[i] == kernel)
      return true;
  return false;
}

static bool
has_type(const actnn_view *view, size_t count, actnn_type type)
{
  for (size_t i = 0; i < count; i++)
    if (view[i].data && view[i].type == type)
      return true;
  return false;
}

/* A weight of many times as many elements as what it multiplies takes longer to round than the product takes in FP32. */
static bool
is_worth_rounding(actnn_kernel *kernel, const actnn_call *call)
{
  enum { TIMES = 100 };
  size_t first = kernel == actnn_ProductSum;
  const actnn_view *a = &call->input[first], *b = &call->input[first + 1];
  return (kernel != actnn_Product && kernel != actnn_ProductSum) || b->type != ACTNN_F32 || element_count(b) / TIMES < element_count(a);
}

#define IS_AMONG(kernel, list) is_among(kernel, list, sizeof(list) / sizeof *(list))

static bool
is_product(actnn_kernel *kernel, bool is_on_gpu)
{
  return IS_AMONG(kernel, matrix_products) || IS_AMONG(kernel, convolutions) || (is_on_gpu && IS_AMONG(kernel, gpu_products));
}

bool
bfloat_is_taken_by(actnn_kernel *kernel, const actnn_call *call, bool is_on_gpu)
{
  if (is_product(kernel, is_on_gpu))
    return is_worth_rounding(kernel, call);
  bool has_floats = has_type(call->input, call->input_count, ACTNN_F32) || has_type(call->output, call->output_count, ACTNN_F32);
  if (is_on_gpu)
    return !IS_AMONG(kernel, gpu_others) && !(has_floats && IS_AMONG(kernel, gpu_movers));
  if (IS_AMONG(kernel, takers) || IS_AMONG(kernel, coders))
    return true;
  if (IS_AMONG(kernel, writers))
    return !has_type(call->input, call->input_count, ACTNN_BF16);
  return IS_AMONG(kernel, movers) && !has_floats;
}

/* For a plan only what is copied counts of those, and on a GPU of all. */
static bool
is_not_prepared(const actnn_call *call, actnn_kernel *kernel)
{
  bool is_coder = IS_AMONG(kernel, coders) || kernel == actnn_DequantizeAffine;
  return call->trainer->measuring && (call->trainer->measures_gpu || is_coder);
}

static bool
is_narrow(const actnn_view *view)
{
  return view->data && bfloat_holds(view);
}

bool
bfloat_is_in(const actnn_call *call)
{
  return has_type(call->input, call->input_count, ACTNN_BF16) || has_type(call->output, call->output_count, ACTNN_BF16);
}

/* In memory, channels that pad a block included. */
static int64_t
held_elements(const actnn *trainer, const actnn_view *view)
{
  if (view->layout != ACTNN_BLOCKED)
    return element_count(view);
  layout_planes planes = layout_of(trainer, view);
  return planes.batch * planes.blocks * planes.positions * planes.lanes;
}

int
bfloat_convert(actnn *trainer, void *to, const void *from, int64_t count, bool rounds)
{
  (void)trainer;
#pragma omp parallel for simd schedule(static) if (count > 16384)
  for (int64_t i = 0; i < count; i++)
    if (rounds)
      ((uint16_t *)to)[i] = bfloat_rounded(((const float *)from)[i]);
    else
      ((float *)to)[i] = bfloat_widened(((const uint16_t *)from)[i]);
  return 0;
}

static uint64_t
padded_to_alignment(uint64_t bytes)
{
  return (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
}

/* Views like `view`, those held as bfloat16 with room for an FP32 copy in the workspace from *used on, which moves. While preparing
 * nobody looks at what lies there. */
static void
make_copies(const actnn *trainer, const actnn_view *view, size_t count, actnn_view *copy, uint64_t *used)
{
  for (size_t i = 0; i < count; i++) {
    copy[i] = view[i];
    if (!is_narrow(&view[i]))
      continue;
    copy[i].type = ACTNN_F32;
    copy[i].bytes = padded_to_alignment((uint64_t)held_elements(trainer, &view[i]) * sizeof(float));
    if (!trainer->preparing)
      copy[i].data = trainer->workspace + *used;
    *used += copy[i].bytes;
  }
}

static int
convert_views(actnn *trainer, const actnn_view *narrow, const actnn_view *wide, size_t count, bool rounds, bfloat_conversion *convert)
{
  for (size_t i = 0; i < count; i++) {
    if (!is_narrow(&narrow[i]))
      continue;
    void *to = rounds ? narrow[i].data : wide[i].data;
    const void *from = rounds ? wide[i].data : narrow[i].data;
    if (convert(trainer, to, from, held_elements(trainer, &narrow[i]), rounds))
      return 1;
  }
  return 0;
}

static void
ask_for_copies(actnn *trainer, uint64_t bytes)
{
  if (trainer->workspace_wanted < bytes)
    trainer->workspace_wanted = bytes;
}

/* A GPU's library wants both operands of a product as bfloat16 where any is, and not its result, nor what is held as that. */
static void
count_copies_of_product(actnn_kernel *kernel, const actnn_call *call)
{
  uint64_t used = 0;
  size_t first = kernel == actnn_ProductSum || kernel == actnn_ProductGradWeightSum;
  for (size_t i = first; i < call->input_count && bfloat_is_in(call); i++)
    if (call->input[i].data && call->input[i].type == ACTNN_F32)
      used += padded_to_alignment((uint64_t)held_elements(call->trainer, &call->input[i]) * sizeof(uint16_t));
  ask_for_copies(call->trainer, used);
}

/* Of a convolution it wants all operands and results alike, as bfloat16 where any is and in the order of an image in blocks; and the image
 * that the window slides over with symmetric padding. Images go in the same pieces as there. */
static void
count_copies_of_convolution(actnn_kernel *kernel, const actnn_call *call)
{
  const actnn_view *first = &call->input[0], *made = &call->output[0];
  const actnn_view *x = kernel == actnn_Conv ? first : kernel == actnn_ConvGradWeight ? &call->input[1] : made;
  const actnn_view *y = kernel == actnn_Conv ? made : first;
  Window window = window_of(call->attribute + 1, x, y);
  SymmetricWindow symmetric = symmetric_window(&window);
  int64_t samples = convolution_samples(&window, &symmetric, y, INT32_MAX);
  bool narrows = bfloat_is_in(call), reorders = x->layout == ACTNN_BLOCKED || y->layout == ACTNN_BLOCKED;
  uint64_t used = 0;
  for (size_t i = 0; i < call->input_count + call->output_count && samples > 0; i++) {
    const actnn_view *view = i < call->input_count ? &call->input[i] : &call->output[i - call->input_count];
    bool is_padded = view == x && symmetric.is_padded;
    bool is_held_otherwise = view->type == ACTNN_F32 && (narrows || (reorders && view->layout != ACTNN_BLOCKED));
    if (!view->data || !(is_padded || is_held_otherwise))
      continue;
    int64_t elements = held_elements(call->trainer, view);
    if (view == x || view == y)
      elements = samples * (is_padded ? symmetric_elements(&window, &symmetric) : elements / window.batch);
    used += padded_to_alignment((uint64_t)elements * (narrows ? sizeof(uint16_t) : sizeof(float)));
  }
  ask_for_copies(call->trainer, used);
}

static void
count_copies_for_libraries(actnn_kernel *kernel, const actnn_call *call)
{
  if (IS_AMONG(kernel, matrix_products))
    count_copies_of_product(kernel, call);
  else
    count_copies_of_convolution(kernel, call);
}

/* A GPU's attention has at least the smallest of its tiles. */
static void
count_attention_tile(actnn_kernel *kernel, const actnn_call *call)
{
  bool is_gradient = kernel == actnn_AttentionGrad;
  Attention attention = is_gradient ? attention_of(call, 1, 6) : attention_of(call, 0, 3);
  uint64_t used = attention_tiles(call, &attention, is_gradient, 0).bytes;
  if (call->trainer->workspace_wanted < used)
    call->trainer->workspace_wanted = used;
}

/* What a kernel asks for comes behind the copies. */
static int
prepare(actnn_kernel *kernel, actnn_kernel *runs, const actnn_call *wide, uint64_t used)
{
  actnn *trainer = wide->trainer;
  uint64_t wanted = trainer->workspace_wanted;
  int failed = 0;
  trainer->workspace_wanted = 0;
  if (!is_not_prepared(wide, kernel))
    failed = runs(wide);
  used += trainer->workspace_wanted;
  trainer->workspace_wanted = used > wanted && !failed ? used : wanted;
  return failed;
}

static int
widen_all(actnn_kernel *kernel, actnn_kernel *runs, const actnn_call *call, bfloat_conversion *convert)
{
  actnn *trainer = call->trainer;
  actnn_view input[ACTNN_MAX_OPERANDS], output[ACTNN_MAX_OPERANDS];
  actnn_call wide = *call;
  uint64_t used = 0;
  wide.input = input;
  wide.output = output;
  make_copies(trainer, call->input, call->input_count, input, &used);
  make_copies(trainer, call->output, call->output_count, output, &used);
  if (trainer->preparing)
    return prepare(kernel, runs, &wide, used);
  if (used > trainer->workspace_bytes && runs != kernel)
    return DEVICE_DECLINES; /* as while preparing, when nothing was asked for */
  if (used > trainer->workspace_bytes)
    return actnn_fail(trainer, "tensor %u: the workspace of %llu bytes is too small, %llu are needed", call->output[0].id,
                      (unsigned long long)trainer->workspace_bytes, (unsigned long long)used);
  if (convert_views(trainer, call->input, input, call->input_count, false, convert))
    return 1;
  trainer->workspace += used;
  trainer->workspace_bytes -= used;
  int failed = runs(&wide);
  trainer->workspace -= used;
  trainer->workspace_bytes += used;
  return failed ? failed : convert_views(trainer, call->output, output, call->output_count, true, convert);
}

/* ---- sample by sample -------------------------------------------------------------------------------- */

static uint64_t
bytes_held(const actnn *trainer, const actnn_view *view)
{
  return (uint64_t)held_elements(trainer, view) * element_bytes(view->type);
}

/* Samples [first, first + count) of the views that the mask names. */
static void
cut_views(const actnn *trainer, const actnn_view *view, size_t views, unsigned mask, int64_t first, int64_t count, actnn_view *part,
          int64_t (*dim)[ACTNN_MAX_RANK])
{
  for (size_t i = 0; i < views; i++) {
    part[i] = view[i];
    if (!(mask >> i & 1) || !view[i].data)
      continue;
    uint64_t bytes = bytes_held(trainer, &view[i]) / (uint64_t)view[i].dim[0];
    memcpy(dim[i], view[i].dim, (size_t)view[i].rank * sizeof **dim);
    dim[i][0] = count;
    part[i].dim = dim[i];
    part[i].data = (char *)view[i].data + (uint64_t)first * bytes;
    part[i].bytes = (uint64_t)count * bytes;
  }
}

/* Samples that a kernel gets at a time; 0: all, in one call. */
static int64_t
samples_of_piece(actnn_kernel *kernel, const actnn_call *call, unsigned *inputs, unsigned *outputs)
{
  size_t at = 0, count = sizeof separable / sizeof *separable;
  while (at < count && separable[at].kernel != kernel)
    at++;
  if (at == count || call->input_count > MOST_SEPARABLE || call->output_count > MOST_SEPARABLE)
    return 0;
  const actnn_view *x = &call->input[0];
  int64_t axis = separable[at].has_axis ? call->attribute[0].i : 1, samples = x->dim[0];
  if (axis == 0 || axis + x->rank == 0 || samples < 1)
    return 0;
  uint64_t used = 0;
  actnn_view copy[MOST_SEPARABLE];
  make_copies(call->trainer, call->input, call->input_count, copy, &used);
  make_copies(call->trainer, call->output, call->output_count, copy, &used);
  *inputs = separable[at].inputs;
  *outputs = separable[at].outputs;
  int64_t each = (int64_t)(used / (uint64_t)samples);
  return each < PIECE_BYTES ? PIECE_BYTES / (each + 1) : 1;
}

int
bfloat_widen(actnn_kernel *kernel, actnn_kernel *runs, const actnn_call *call, bfloat_conversion *convert)
{
  unsigned inputs = 0, outputs = 0;
  int64_t each = samples_of_piece(kernel, call, &inputs, &outputs), samples = each ? call->input[0].dim[0] : 0;
  if (!each || each >= samples)
    return widen_all(kernel, runs, call, convert);
  for (int64_t first = 0; first < samples; first += each) {
    actnn_view input[MOST_SEPARABLE], output[MOST_SEPARABLE];
    int64_t input_dim[MOST_SEPARABLE][ACTNN_MAX_RANK], output_dim[MOST_SEPARABLE][ACTNN_MAX_RANK];
    int64_t count = samples - first < each ? samples - first : each;
    actnn_call part = *call;
    part.input = input;
    part.output = output;
    cut_views(call->trainer, call->input, call->input_count, inputs, first, count, input, input_dim);
    cut_views(call->trainer, call->output, call->output_count, outputs, first, count, output, output_dim);
    int failed = widen_all(kernel, runs, &part, convert);
    if (failed || call->trainer->preparing)
      return failed;
  }
  return 0;
}

int
bfloat_run_on_copies(actnn_kernel *kernel, const actnn_call *call)
{
  return bfloat_widen(kernel, kernel, call, bfloat_convert);
}

int
bfloat_run(actnn_kernel *kernel, const actnn_call *call)
{
  if (bfloat_is_in(call) && !bfloat_is_taken_by(kernel, call, call->trainer->measures_gpu))
    return bfloat_run_on_copies(kernel, call);
  if (call->trainer->measures_gpu && is_product(kernel, true))
    count_copies_for_libraries(kernel, call);
  if (call->trainer->measures_gpu && (kernel == actnn_Attention || kernel == actnn_AttentionGrad))
    count_attention_tile(kernel, call);
  return is_not_prepared(call, kernel) ? 0 : kernel(call);
}
