/* batch.c: fills a model's inputs. Which samples come when, and how they are flipped and cropped, follows from
 * (seed, step) alone, so a resumed run sees what the uninterrupted one would have seen. */
#include "batch.h"
#include "device.h"
#include "trainer.h"

#include <string.h>

/* ---- order -------------------------------------------------------------------------------------- */

/* SplitMix64: one well-mixed word for each counter. */
static uint64_t
mixed(uint64_t counter)
{
  counter += 0x9e3779b97f4a7c15u;
  counter = (counter ^ counter >> 30) * 0xbf58476d1ce4e5b9u;
  counter = (counter ^ counter >> 27) * 0x94d049bb133111ebu;
  return counter ^ counter >> 31;
}

/* A number below `limit` from a random word; the bias, limit / 2^32 at most, is far below what shows. */
static uint32_t
below(uint64_t word, uint64_t limit)
{
  return (uint32_t)(((word >> 32) * limit) >> 32);
}

uint64_t
batch_count(const batch_source *source)
{
  return source->samples / (uint64_t)source->model->batch;
}

static void
settle_order(batch_source *source, uint64_t epoch)
{
  if (source->has_order && (source->epoch == epoch || !source->shuffle))
    return;
  for (uint64_t index = 0; index < source->samples; index++)
    source->order[index] = (uint32_t)index;
  uint64_t key = mixed(mixed(source->seed) + epoch);
  for (uint64_t index = source->samples; source->shuffle && index > 1; index--) {
    uint32_t other = below(mixed(key + index), index), kept = source->order[other];
    source->order[other] = source->order[index - 1];
    source->order[index - 1] = kept;
  }
  source->epoch = epoch;
  source->has_order = true;
}

/* ---- conversion --------------------------------------------------------------------------------- */

/* Where a row or column of the input comes from: the stored one, or -1 for a zero pixel. Somewhat larger inputs
 * get a border of zeros (28 to 32), others the nearest stored pixel. */
static void
fit_axis(int32_t *from, int64_t input, int64_t stored, int64_t shift, bool is_mirrored)
{
  int64_t border = input > stored && input - stored <= stored / 4 ? (input - stored) / 2 : -1;
  for (int64_t place = 0; place < input; place++) {
    int64_t seen = (is_mirrored ? input - 1 - place : place) + shift;
    if (seen < 0 || seen >= input)
      from[place] = -1;
    else if (input == stored)
      from[place] = (int32_t)seen;
    else if (border >= 0)
      from[place] = seen < border || seen - border >= stored ? -1 : (int32_t)(seen - border);
    else
      from[place] = (int32_t)(seen * stored / input);
  }
}

static void
fill_image(const binding *binding, const float (*value)[256], const unsigned char *image, float *out,
           const augmentation *augmentation, uint64_t draw)
{
  int32_t row_from[BATCH_MAX_EXTENT], column_from[BATCH_MAX_EXTENT];
  int64_t down = 0, right = 0;
  bool is_mirrored = augmentation->flip && (draw & 1);
  if (augmentation->crop) {
    down = (int64_t)below(mixed(draw ^ 1), 2 * (uint64_t)augmentation->crop + 1) - augmentation->crop;
    right = (int64_t)below(mixed(draw ^ 2), 2 * (uint64_t)augmentation->crop + 1) - augmentation->crop;
  }
  fit_axis(row_from, binding->input_height, binding->height, down, false);
  fit_axis(column_from, binding->input_width, binding->width, right, is_mirrored);
  for (int64_t channel = 0; channel < binding->input_channels; channel++) {
    int64_t stored = binding->channels == 1 ? 0 : channel;
    for (int64_t row = 0; row < binding->input_height; row++, out += binding->input_width) {
      const unsigned char *line =
          image + stored * binding->channel_stride + row_from[row] * binding->row_stride;
      for (int64_t column = 0; column < binding->input_width; column++) {
        bool is_inside = row_from[row] >= 0 && column_from[column] >= 0;
        out[column] = value[stored][is_inside ? line[column_from[column] * binding->column_stride] : 0];
      }
    }
  }
}

static float
half_to_float(uint16_t half)
{
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff, bits;
  float value;
  if (exponent == 31) {
    bits = sign | 0x7f800000 | fraction << 13;
  } else if (exponent) {
    bits = sign | (exponent + 112) << 23 | fraction << 13;
  } else {
    value = (float)fraction * 0x1p-24f;
    return sign ? -value : value;
  }
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* One element, as a double and, for integers, exactly. */
static double
element_at(int type, const unsigned char *place, int64_t *exact)
{
  *exact = 0;
  switch (type) {
  case ACTNN_I8: return (double)(*exact = *(const int8_t *)place);
  case ACTNN_U16: {
    uint16_t value;
    memcpy(&value, place, sizeof value);
    return (double)(*exact = value);
  }
  case ACTNN_I16: {
    int16_t value;
    memcpy(&value, place, sizeof value);
    return (double)(*exact = value);
  }
  case ACTNN_U32: {
    uint32_t value;
    memcpy(&value, place, sizeof value);
    return (double)(*exact = value);
  }
  case ACTNN_I32: {
    int32_t value;
    memcpy(&value, place, sizeof value);
    return (double)(*exact = value);
  }
  case ACTNN_U64: {
    uint64_t value;
    memcpy(&value, place, sizeof value);
    *exact = (int64_t)value;
    return (double)value;
  }
  case ACTNN_I64: {
    int64_t value;
    memcpy(&value, place, sizeof value);
    return (double)(*exact = value);
  }
  case ACTNN_F16: {
    uint16_t value;
    memcpy(&value, place, sizeof value);
    return half_to_float(value);
  }
  case ACTNN_F32: {
    float value;
    memcpy(&value, place, sizeof value);
    return value;
  }
  case ACTNN_F64: {
    double value;
    memcpy(&value, place, sizeof value);
    return value;
  }
  default: return (double)(*exact = *place);
  }
}

static void
fill_cast(const binding *binding, int type, const unsigned char *from, unsigned char *out)
{
  size_t size = trainer_type_bytes(binding->array->type);
  if (type == binding->array->type) {
    memcpy(out, from, binding->elements * size);
    return;
  }
  for (size_t index = 0; index < binding->elements; index++) {
    int64_t exact;
    double value = element_at(binding->array->type, from + index * size, &exact);
    switch (type) {
    case ACTNN_F32: ((float *)(void *)out)[index] = (float)value; break;
    case ACTNN_F64: ((double *)(void *)out)[index] = value; break;
    case ACTNN_I64: ((int64_t *)(void *)out)[index] = exact; break;
    case ACTNN_I32: ((int32_t *)(void *)out)[index] = (int32_t)exact; break;
    default: out[index] = exact != 0; break; /* bool; batch_open admits no other type */
    }
  }
}

static void
fill_one_hot(const binding *binding, const unsigned char *from, float *out)
{
  int64_t label;
  element_at(binding->array->type, from, &label);
  memset(out, 0, binding->elements * sizeof *out);
  out[label] = 1;
}

/* What each byte of each channel becomes. */
static void
standardized_values(const binding *binding, float (*value)[256])
{
  const standardization *scale = &binding->standardization;
  for (int64_t channel = 0; channel < binding->channels; channel++)
    for (int byte = 0; byte < 256; byte++)
      value[channel][byte] = (float)((byte / 255.0 - scale->mean[channel]) / scale->deviation[channel]);
}

/* Puts sample number sample[i] in place i of every input. `draw` keys the augmentation. */
static void
fill(const batch_source *source, actnn *trainer, const uint32_t *sample, uint64_t first, uint64_t count,
     const augmentation *augmentation, uint64_t draw)
{
  const actnn_model *model = source->model;
  trainer->is_ahead = false;
  for (size_t which = 0; which < source->binding_count; which++) {
    const binding *binding = &source->binding[which];
    const actnn_tensor *tensor = &model->tensor[binding->tensor];
    unsigned char *base = actnn_data(trainer, binding->tensor);
    size_t size = binding->elements * trainer_type_bytes(tensor->type);
    float value[BATCH_MAX_CHANNELS][256];
    if (binding->conversion == CONVERT_IMAGE)
      standardized_values(binding, value);
#pragma omp parallel for schedule(static) num_threads(trainer->threads)
    for (int64_t place = 0; place < model->batch; place++) {
      uint64_t number = (uint64_t)place < count ? (sample ? sample[place] : first + (uint64_t)place) : 0;
      const unsigned char *from = binding->array->data + number * binding->array->stride;
      unsigned char *out = base + (size_t)place * size;
      if (binding->conversion == CONVERT_IMAGE)
        fill_image(binding, (const float(*)[256])value, from, (float *)(void *)out, augmentation,
                   mixed(draw + (uint64_t)place));
      else if (binding->conversion == CONVERT_ONE_HOT)
        fill_one_hot(binding, from, (float *)(void *)out);
      else
        fill_cast(binding, tensor->type, from, out);
    }
  }
}

void
batch_fill(batch_source *source, actnn *trainer, uint64_t step)
{
  uint64_t batches = batch_count(source), batch = (uint64_t)source->model->batch;
  if (trainer->is_ahead && trainer->ahead_step == step)
    return;
  settle_order(source, step / batches);
  fill(source, trainer, source->order + step % batches * batch, 0, batch, &source->augmentation,
       mixed(mixed(source->seed ^ 0x61756721u) + step));
}

int
batch_fill_ahead(batch_source *source, actnn *trainer, uint64_t step)
{
  batch_fill(source, trainer, step);
  if (device_send_ahead(trainer))
    return 1;
  trainer->is_ahead = true;
  trainer->ahead_step = step;
  return 0;
}

uint64_t
batch_fill_in_order(batch_source *source, actnn *trainer, uint64_t first)
{
  uint64_t left = source->samples - first, batch = (uint64_t)source->model->batch,
           count = left < batch ? left : batch;
  const augmentation none = {0};
  fill(source, trainer, NULL, first, count, &none, 0);
  return count;
}
