/* binding.c: matches the arrays of a set to the inputs of a model, by name or by shape, and checks labels. */
#include "batch.h"
#include "text_buffer.h"
#include "trainer.h"
#include "winners.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static bool __attribute__((format(printf, 2, 3))) fail(batch_source *source, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(source->error, sizeof source->error, format, arguments);
  va_end(arguments);
  text_make_printable(source->error);
  return false;
}

static bool
is_integer(int type)
{
  return type != ACTNN_F32 && type != ACTNN_F64 && type != ACTNN_F16 && type != ACTNN_BF16;
}

static int64_t
integer_at(const data_array *array, uint64_t sample, size_t element)
{
  const unsigned char *place = array->data + sample * array->stride + element * trainer_type_bytes(array->type);
  switch (array->type) {
  case ACTNN_I8: return *(const int8_t *)place;
  case ACTNN_U16: {
    uint16_t value;
    memcpy(&value, place, sizeof value);
    return value;
  }
  case ACTNN_I16: {
    int16_t value;
    memcpy(&value, place, sizeof value);
    return value;
  }
  case ACTNN_U32: {
    uint32_t value;
    memcpy(&value, place, sizeof value);
    return value;
  }
  case ACTNN_I32: {
    int32_t value;
    memcpy(&value, place, sizeof value);
    return value;
  }
  case ACTNN_U64:
  case ACTNN_I64: {
    int64_t value;
    memcpy(&value, place, sizeof value);
    return value;
  }
  default: return *place;
  }
}

static size_t
stored_elements(const data_array *array)
{
  size_t elements = 1;
  for (int axis = 1; axis < array->rank; axis++)
    elements *= (size_t)array->dim[axis];
  return elements;
}

static void
shape_text(char *text, size_t bytes, int rank, const int64_t *dim)
{
  size_t used = (size_t)snprintf(text, bytes, "[");
  for (int axis = 0; axis < rank && used < bytes; axis++)
    used += (size_t)snprintf(text + used, bytes - used, axis ? ",%lld" : "%lld", (long long)dim[axis]);
  if (used < bytes)
    snprintf(text + used, bytes - used, "]");
}

/* ---- images ------------------------------------------------------------------------------------- */

static bool
is_few(int64_t channels)
{
  return channels == 1 || channels == 3 || channels == 4;
}

/* [N,H,W], [N,C,H,W] or [N,H,W,C] of bytes. */
static bool
describe_image(binding *binding, const data_array *array)
{
  if (array->type != ACTNN_U8 || array->rank < 3 || array->rank > 4)
    return false;
  bool is_square = array->rank == 4 && array->dim[1] == array->dim[2] && array->dim[2] != array->dim[3];
  bool is_last = array->rank == 4 && is_few(array->dim[3]) && (is_square || !is_few(array->dim[1]));
  binding->channels = array->rank == 3 ? 1 : is_last ? array->dim[3] : array->dim[1];
  binding->height = is_last || array->rank == 3 ? array->dim[1] : array->dim[2];
  binding->width = is_last || array->rank == 3 ? array->dim[2] : array->dim[3];
  if (binding->channels < 1 || binding->channels > BATCH_MAX_CHANNELS || binding->height < 1 ||
      binding->width < 1 || binding->height > BATCH_MAX_EXTENT || binding->width > BATCH_MAX_EXTENT)
    return false;
  binding->column_stride = is_last ? binding->channels : 1;
  binding->row_stride = binding->width * binding->column_stride;
  binding->channel_stride = is_last ? 1 : binding->height * binding->width;
  return true;
}

/* Whether the image can be fitted to the input; fills the input's side. */
static bool
fit_image(binding *binding, const actnn_tensor *tensor)
{
  if (tensor->rank == 4) {
    binding->input_channels = tensor->dim[1];
    binding->input_height = tensor->dim[2];
    binding->input_width = tensor->dim[3];
    return (binding->channels == binding->input_channels || binding->channels == 1) &&
           binding->input_channels <= BATCH_MAX_CHANNELS && binding->input_height >= 1 &&
           binding->input_width >= 1 && binding->input_height <= BATCH_MAX_EXTENT &&
           binding->input_width <= BATCH_MAX_EXTENT;
  }
  binding->input_channels =
      binding->channels; /* flattened: the same elements in the order channel, row, column */
  binding->input_height = binding->height;
  binding->input_width = binding->width;
  return binding->elements == (size_t)(binding->channels * binding->height * binding->width);
}

/* Sums of bytes are exact in integers, so the result does not depend on any order. */
static void
measure(binding *binding)
{
  const data_array *array = binding->array;
  for (int64_t channel = 0; channel < binding->channels; channel++) {
    uint64_t histogram[256] = {0}, sum = 0, squares = 0, count = 0;
    for (int64_t sample = 0; sample < array->dim[0]; sample++) {
      const unsigned char *image =
          array->data + (size_t)sample * array->stride + channel * binding->channel_stride;
      for (int64_t pixel = 0; pixel < binding->height * binding->width; pixel++)
        histogram[image[pixel * binding->column_stride]]++;
    }
    for (uint64_t value = 0; value < 256; value++) {
      count += histogram[value];
      sum += histogram[value] * value;
      squares += histogram[value] * value * value;
    }
    double mean = (double)sum / (double)count, variance = (double)squares / (double)count - mean * mean;
    binding->standardization.mean[channel] = mean / 255;
    binding->standardization.deviation[channel] = variance > 1e-6 ? sqrt(variance) / 255 : 1;
  }
}

/* ---- labels ------------------------------------------------------------------------------------- */

static bool
check_labels(batch_source *source, const data_array *array, int64_t classes)
{
  size_t elements = stored_elements(array);
  for (int64_t sample = 0; sample < array->dim[0]; sample++)
    for (size_t element = 0; element < elements; element++) {
      int64_t label = integer_at(array, (uint64_t)sample, element);
      if (label < 0 || label >= classes)
        return fail(source, "%s: label %lld of sample %lld is out of range 0..%lld", array->file,
                    (long long)label, (long long)sample, (long long)classes - 1);
    }
  return true;
}

/* ---- matching ----------------------------------------------------------------------------------- */

static const data_array *
find_array(const data_set *set, const char *name)
{
  for (size_t index = 0; name && index < set->array_count; index++)
    if (!strcmp(set->array[index].name, name))
      return &set->array[index];
  return NULL;
}

/* By the input's own name, else "labels" for the label input (or the last of several) and "samples" for the
 * first. */
static const data_array *
array_for(const batch_source *source, uint32_t input)
{
  const actnn_model *model = source->model;
  const data_array *array = find_array(source->set, model->input[input].name);
  uint32_t label = model->label != NONE ? model->label : model->input_count > 1 ? model->input_count - 1 : NONE;
  if (array)
    return array;
  if (input == label)
    return find_array(source->set, "labels");
  return input == (label == 0 ? 1u : 0u) ? find_array(source->set, "samples") : NULL;
}

static bool
bind(batch_source *source, uint32_t input, const batch_source *like)
{
  const actnn_model *model = source->model;
  const char *name = model->input[input].name ? model->input[input].name : "";
  uint32_t id = model->input[input].tensor;
  const actnn_tensor *tensor = &model->tensor[id];
  const data_array *array = array_for(source, input);
  char stored[128], wanted[128];
  if (!array)
    return fail(source, "input '%.80s' of the model gets no data; give it as --data '%.80s=FILE.npy'", name,
                name);
  if (tensor->dim[0] != model->batch)
    return fail(source, "input '%.80s': its first axis is not the batch of %lld samples", name,
                (long long)model->batch);
  binding *binding = &source->binding[source->binding_count];
  *binding = (struct binding){.tensor = id,
                              .array = array,
                              .elements = trainer_elements(tensor) / (size_t)tensor->dim[0]};
  shape_text(stored, sizeof stored, array->rank, array->dim);
  shape_text(wanted, sizeof wanted, tensor->rank, tensor->dim);
  bool is_label = input == model->label, to_integer = is_integer(tensor->type);
  int axis;
  if (tensor->type == ACTNN_F32 && !is_label && describe_image(binding, array) && fit_image(binding, tensor)) {
    binding->conversion = CONVERT_IMAGE;
    measure(binding);
    for (size_t index = 0; like && index < like->binding_count; index++)
      if (like->binding[index].tensor == id && like->binding[index].conversion == CONVERT_IMAGE &&
          like->binding[index].channels == binding->channels)
        binding->standardization = like->binding[index].standardization;
  } else if (tensor->type == ACTNN_F32 && tensor->rank == 2 && tensor->dim[1] > 1 && is_integer(array->type) &&
             stored_elements(array) == 1) {
    binding->conversion = CONVERT_ONE_HOT;
    if (!check_labels(source, array, tensor->dim[1]))
      return false;
  } else if (stored_elements(array) != binding->elements) {
    return fail(source, "%s: '%s' of shape %s does not fit input '%.80s' of shape %s", array->file, array->name,
                stored, name, wanted);
  } else if (to_integer && !is_integer(array->type)) {
    return fail(source, "%s: '%s' holds floats, but input '%.80s' takes integers", array->file, array->name,
                name);
  } else if (tensor->type != ACTNN_F32 && tensor->type != ACTNN_F64 && tensor->type != ACTNN_I64 &&
             tensor->type != ACTNN_I32 && tensor->type != ACTNN_BOOL && tensor->type != array->type) {
    return fail(source, "input '%.80s': data cannot be converted to its type", name);
  } else if (is_label && to_integer) {
    int64_t classes = prediction_classes(model, model->evaluation_output, &axis);
    if (!classes)
      classes = prediction_classes(model, model->training_output, &axis);
    if (classes && !check_labels(source, array, classes))
      return false;
  }
  source->binding_count++;
  return true;
}

bool
batch_open(batch_source *source, const actnn_model *model, const data_set *set, const batch_source *like)
{
  *source = (batch_source){.model = model, .set = set, .shuffle = true};
  if (model->input_count > DATA_MAX_ARRAYS)
    return fail(source, "%s: more than %d inputs", model->name, (int)DATA_MAX_ARRAYS);
  for (uint32_t input = 0; input < model->input_count; input++) {
    uint32_t id = model->input[input].tensor;
    if (id == model->learning_rate || id == model->step_number)
      continue; /* the trainer's own affair */
    if (!bind(source, input, like))
      return false;
  }
  if (!source->binding_count)
    return fail(source, "%s: the model has no inputs to feed", model->name);
  const data_array *first = source->binding[0].array;
  for (size_t index = 0; index < source->binding_count; index++) {
    const data_array *array = source->binding[index].array;
    if (array->dim[0] != first->dim[0])
      return fail(source, "%s has %lld samples, but %s has %lld", array->file, (long long)array->dim[0],
                  first->file, (long long)first->dim[0]);
  }
  if (first->dim[0] < 1 || first->dim[0] > UINT32_MAX)
    return fail(source, "%s: has %lld samples; 1 to 4294967295 can be used", first->file,
                (long long)first->dim[0]);
  source->samples = (uint64_t)first->dim[0];
  source->order = malloc(source->samples * sizeof *source->order);
  return source->order || fail(source, "%s: out of memory", first->file);
}

void
batch_close(batch_source *source)
{
  free(source->order);
  source->order = NULL;
}
