/* library_convolution.c: convolutions described to oneDNN.
 *
 * First the images are taken as they lie in the arena and weights as the library likes them. Where the library then only
 * has its reference loops, all operands are left to its liking and reordered from and to the arena. */
#include "library_primitive.h"

#include <errno.h>

#include <string.h>

typedef enum liking { IMAGES_AS_HELD, ALL_AS_LIKED, ALL_ROW_MAJOR, LIKINGS } liking;

/* Operands in the order x, w, y, b; memory as it is held, and as it is asked for. */
typedef struct description {
  library_descriptor held[LIBRARY_OPERANDS], asked[LIBRARY_OPERANDS];
  dnnl_dims_t stride, dilation, begin, end;
} description;

static dnnl_format_tag_t
image_tag(int spatial, int lanes)
{
  static const dnnl_format_tag_t tag[3][3] = {{dnnl_ncw, dnnl_nCw8c, dnnl_nCw16c},
                                              {dnnl_nchw, dnnl_nChw8c, dnnl_nChw16c},
                                              {dnnl_ncdhw, dnnl_nCdhw8c, dnnl_nCdhw16c}};
  return tag[spatial - 1][lanes == 16 ? 2 : lanes == 8 ? 1 : 0];
}

/* What is computed with: of what is only written the type it is held in, unless another primitive is only to be hinted at. */
static bool
is_asked_narrow(const library_convolution *convolution, int operand, bool is_hint)
{
  bool is_narrow = convolution->x_is_narrow || convolution->y_is_narrow;
  if (is_hint) return is_narrow;
  if (operand == 1) return is_narrow && convolution->direction != LIBRARY_WEIGHT_GRADIENT;
  if (operand == 0) return convolution->direction == LIBRARY_INPUT_GRADIENT ? convolution->x_is_narrow : is_narrow;
  return convolution->direction == LIBRARY_OUTPUT ? convolution->y_is_narrow : is_narrow;
}

static void
describe_images(const library_convolution *convolution, liking liking, bool is_hint, description *description)
{
  const Window *window = &convolution->window;
  int spatial = window->spatial, missing = WINDOW_AXES - spatial;
  dnnl_dims_t x = {window->batch, window->channels}, y = {window->batch, convolution->filters};
  for (int i = 0; i < spatial; i++) {
    x[2 + i] = window->input[missing + i];
    y[2 + i] = window->output[missing + i];
  }
  dnnl_format_tag_t tag_x = image_tag(spatial, convolution->input_lanes);
  dnnl_format_tag_t tag_y = image_tag(spatial, convolution->output_lanes);
  description->held[0] = library_describe(spatial + 2, x, tag_x, convolution->x_is_narrow);
  description->held[2] = library_describe(spatial + 2, y, tag_y, convolution->y_is_narrow);
  if (liking != IMAGES_AS_HELD) tag_x = tag_y = liking == ALL_AS_LIKED ? dnnl_format_tag_any : image_tag(spatial, 1);
  description->asked[0] = library_describe(spatial + 2, x, tag_x, is_asked_narrow(convolution, 0, is_hint));
  description->asked[2] = library_describe(spatial + 2, y, tag_y, is_asked_narrow(convolution, 2, is_hint));
}

static void
describe_weights(const library_convolution *convolution, bool is_hint, description *description)
{
  static const dnnl_format_tag_t row_major[4] = {dnnl_abc, dnnl_abcd, dnnl_abcde, dnnl_abcdef};
  const Window *window = &convolution->window;
  int rank = 0;
  dnnl_dims_t w, b = {convolution->filters};
  if (convolution->groups > 1) w[rank++] = convolution->groups;
  w[rank++] = convolution->filters / convolution->groups;
  w[rank++] = window->channels / convolution->groups;
  for (int i = WINDOW_AXES - window->spatial; i < WINDOW_AXES; i++) w[rank++] = window->kernel[i];
  description->held[1] = library_describe(rank, w, row_major[rank - 3], false);
  description->asked[1] = library_describe(rank, w, dnnl_format_tag_any, is_asked_narrow(convolution, 1, is_hint));
  if (!convolution->has_bias) return;
  description->held[3] = library_describe(1, b, dnnl_a, false);
  description->asked[3] = library_describe(1, b, dnnl_a, false);
}

/* False when memory ran out or the library cannot describe an operand. */
static bool
describe(const library_convolution *convolution, liking liking, bool is_hint, description *description)
{
  const Window *window = &convolution->window;
  int missing = WINDOW_AXES - window->spatial;
  memset(description, 0, sizeof *description);
  for (int i = 0; i < window->spatial; i++) {
    int axis = missing + i;
    description->stride[i] = window->stride[axis];
    description->dilation[i] = window->dilation[axis] - 1; /* the library counts the holes */
    description->begin[i] = window->begin[axis];
    /* What the library calls padding at the end must make the extents agree; rows that no window reaches make it
     * smaller than the model's, or negative. */
    int64_t reach = (window->kernel[axis] - 1) * window->dilation[axis] + 1;
    int64_t used = (window->output[axis] - 1) * window->stride[axis] + reach;
    description->end[i] = used - window->input[axis] - window->begin[axis];
    if (description->end[i] < 0) description->end[i] = 0;
  }
  describe_images(convolution, liking, is_hint, description);
  describe_weights(convolution, is_hint, description);
  for (int i = 0; i < LIBRARY_OPERANDS; i++)
    if ((i < 3 || convolution->has_bias) && (!description->held[i] || !description->asked[i])) return false;
  return true;
}

static void
forget(description *description)
{
  for (int i = 0; i < LIBRARY_OPERANDS; i++) {
    library_forget(description->held[i]);
    library_forget(description->asked[i]);
  }
}

#if DNNL_VERSION_MAJOR >= 3
static dnnl_status_t
describe_forward(dnnl_engine_t engine, const description *d, dnnl_primitive_attr_t attributes,
                 dnnl_primitive_desc_t *result)
{
  return dnnl_convolution_forward_primitive_desc_create(result, engine, dnnl_forward_training, dnnl_convolution_direct,
                                                        d->asked[0], d->asked[1], d->asked[3], d->asked[2], d->stride,
                                                        d->dilation, d->begin, d->end, attributes);
}

static dnnl_status_t
describe_backward(dnnl_engine_t engine, library_direction direction, const description *d,
                  dnnl_primitive_attr_t attributes, dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *result)
{
  if (direction == LIBRARY_INPUT_GRADIENT)
    return dnnl_convolution_backward_data_primitive_desc_create(result, engine, dnnl_convolution_direct, d->asked[0],
                                                                d->asked[1], d->asked[2], d->stride, d->dilation,
                                                                d->begin, d->end, forward, attributes);
  return dnnl_convolution_backward_weights_primitive_desc_create(result, engine, dnnl_convolution_direct, d->asked[0],
                                                                 d->asked[1], NULL, d->asked[2], d->stride, d->dilation,
                                                                 d->begin, d->end, forward, attributes);
}
#else
static dnnl_status_t
describe_forward(dnnl_engine_t engine, const description *d, dnnl_primitive_attr_t attributes,
                 dnnl_primitive_desc_t *result)
{
  dnnl_convolution_desc_t operation;
  dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
      &operation, dnnl_forward_training, dnnl_convolution_direct, d->asked[0], d->asked[1], d->asked[3], d->asked[2],
      d->stride, d->dilation, d->begin, d->end);
  return status ? status : dnnl_primitive_desc_create(result, &operation, attributes, engine, NULL);
}

static dnnl_status_t
describe_backward(dnnl_engine_t engine, library_direction direction, const description *d,
                  dnnl_primitive_attr_t attributes, dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *result)
{
  dnnl_convolution_desc_t operation;
  dnnl_status_t status =
      direction == LIBRARY_INPUT_GRADIENT
          ? dnnl_dilated_convolution_backward_data_desc_init(&operation, dnnl_convolution_direct, d->asked[0],
                                                             d->asked[1], d->asked[2], d->stride, d->dilation,
                                                             d->begin, d->end)
          : dnnl_dilated_convolution_backward_weights_desc_init(&operation, dnnl_convolution_direct, d->asked[0],
                                                                d->asked[1], NULL, d->asked[2], d->stride, d->dilation,
                                                                d->begin, d->end);
  return status ? status : dnnl_primitive_desc_create(result, &operation, attributes, engine, forward);
}
#endif

/* A description of the whole primitive, or NULL. Backward ones need the forward one as a hint, whose operands are all of one type. */
static dnnl_primitive_desc_t
describe_primitive(actnn *trainer, library_direction direction, const description *description, const struct description *hint)
{
  dnnl_engine_t engine = library_engine(trainer);
  dnnl_primitive_attr_t attributes = library_attributes(false);
  dnnl_primitive_desc_t forward = NULL, result = NULL;
  if (attributes && !describe_forward(engine, direction == LIBRARY_OUTPUT ? description : hint, attributes, &forward)) {
    if (direction == LIBRARY_OUTPUT) {
      result = forward;
      forward = NULL;
    } else if (describe_backward(engine, direction, description, attributes, forward, &result)) {
      result = NULL;
    }
  }
  if (forward) dnnl_primitive_desc_destroy(forward);
  if (attributes) dnnl_primitive_attr_destroy(attributes);
  return result;
}

static bool
make(actnn *trainer, uint32_t id, const library_convolution *convolution, const description *description,
     const_dnnl_primitive_desc_t wanted)
{
  library_direction direction = convolution->direction;
  static const int argument[3][LIBRARY_OPERANDS] = {
      {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS},
      {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
      {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};
  static const int written[3] = {2, 0, 1};
  struct library_primitive *primitive = library_begin(trainer, wanted);
  bool is_good = primitive != NULL;
  for (int i = 0; is_good && i < LIBRARY_OPERANDS; i++)
    if (description->held[i])
      is_good = library_add_operand(trainer, primitive, i, argument[direction][i], written[direction] == i,
                                    description->held[i],
                                    dnnl_primitive_desc_query_md(wanted, dnnl_query_exec_arg_md,
                                                                 argument[direction][i]));
  if (is_good) primitive->takes_bfloat = convolution->x_is_narrow || convolution->y_is_narrow;
  if (is_good) return library_keep(trainer, id, primitive);
  library_drop(primitive);
  return false;
}

bool
library_make_convolution(actnn *trainer, uint32_t id, const library_convolution *convolution)
{
  int spatial = convolution->window.spatial;
  errno = 0;
  if (!library_engine(trainer) || spatial < 1 || spatial > WINDOW_AXES) return library_note_memory(trainer), false;
  /* The reference loops are the last resort but one: our own are no faster, and copy. Of bfloat16 they are not: FP32 is faster. */
  int passes = convolution->x_is_narrow || convolution->y_is_narrow ? 1 : 2;
  for (int pass = 0; pass < passes; pass++)
    for (int liking = 0; liking < LIKINGS; liking++) {
      description description, hint;
      dnnl_primitive_desc_t wanted = NULL;
      bool is_made = false, is_described = describe(convolution, (enum liking)liking, false, &description);
      if (describe(convolution, (enum liking)liking, true, &hint) && is_described)
        wanted = describe_primitive(trainer, convolution->direction, &description, &hint);
      if (wanted && (pass == 1 || !library_is_reference(wanted))) is_made = make(trainer, id, convolution, &description, wanted);
      if (wanted) dnnl_primitive_desc_destroy(wanted);
      forget(&description);
      forget(&hint);
      library_note_memory(trainer);
      if (is_made) return true;
    }
  return false;
}
