/* test_binding.c: which array becomes which input of a model, and how: types, shapes, images, class numbers, names, and what is refused. */
#include "batch.h"
#include "tap.h"
#include "winners.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_INPUTS = DATA_MAX_ARRAYS + 1, PLACE = 4096 };

/* A model of inputs, and a set of arrays. */
typedef struct rig {
  actnn_model model;
  actnn_tensor tensor[MOST_INPUTS + 1]; /* the last is the prediction */
  actnn_input input[MOST_INPUTS];
  data_set set;
  batch_source source;
  actnn trainer;
  unsigned char arena[(MOST_INPUTS + 1) * PLACE] __attribute__((aligned(64)));
} rig;
static rig r;

static void
begin(int64_t batch)
{
  memset(&r, 0, sizeof r);
  r.model = (actnn_model){.name = "test", .tensor = r.tensor, .input = r.input, .tensor_count = MOST_INPUTS + 1, .label = NONE, .loss = NONE,
                          .evaluation_loss = NONE, .evaluation_output = NONE, .evaluation_losses = NONE, .learning_rate = NONE, .step_number = NONE, .training_output = NONE,
                          .batch = batch};
  r.trainer = (actnn){.model = &r.model, .arena = r.arena, .threads = 1};
}

static void
add_input(const char *name, actnn_type type, int rank, const int64_t *dim)
{
  uint32_t id = r.model.input_count++;
  actnn_tensor *tensor = &r.tensor[id];
  *tensor = (actnn_tensor){.type = (uint8_t)type, .rank = (uint8_t)rank, .offset = id * PLACE, .bytes = PLACE};
  memcpy(tensor->dim, dim, (size_t)rank * sizeof *dim);
  r.input[id] = (actnn_input){id, name};
}

/* Of elements of so many bytes. */
static void
add_array(const char *name, actnn_type type, size_t size, const void *data, int rank, const int64_t *dim)
{
  data_array *array = &r.set.array[r.set.array_count++];
  *array = (data_array){.name = (char *)(uintptr_t)name, .file = (char *)(uintptr_t) "data.npy", .data = data, .type = type, .rank = rank,
                        .stride = size};
  for (int axis = 0; axis < rank; axis++) {
    array->dim[axis] = dim[axis];
    array->stride *= axis ? (size_t)dim[axis] : 1;
  }
}

#define DIMS(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__}

static bool
bind(void)
{
  batch_close(&r.source);
  return batch_open(&r.source, &r.model, &r.set, NULL);
}

static void
refuse(const char *message)
{
  bool is_bound = bind();
  ok(!is_bound && strstr(r.source.error, message), "refused: %s", is_bound ? "bound" : r.source.error);
}

/* ---- types -------------------------------------------------------------------------------------- */

static const struct {
  actnn_type type;
  const char *name;
  size_t size;
  bool is_float;
  double value[4];
} types[] = {{ACTNN_U8, "uint8", 1, false, {0, 1, 100, 200}},         {ACTNN_BOOL, "bool", 1, false, {0, 1, 1, 0}},
             {ACTNN_I8, "int8", 1, false, {0, 1, 100, -3}},           {ACTNN_U16, "uint16", 2, false, {0, 1, 256, 65535}},
             {ACTNN_I16, "int16", 2, false, {0, 1, 256, -32768}},     {ACTNN_U32, "uint32", 4, false, {0, 1, 65536, 2147483648.0}},
             {ACTNN_I32, "int32", 4, false, {0, 1, 65536, -65537}},   {ACTNN_U64, "uint64", 8, false, {0, 1, 65536, 16777216}},
             {ACTNN_I64, "int64", 8, false, {0, 1, -1, -16777216}},   {ACTNN_F16, "float16", 2, true, {0, 1, 100, -3}},
             {ACTNN_F32, "float32", 4, true, {0, 0.5, INFINITY, -3}}, {ACTNN_F64, "float64", 8, true, {0, 0.5, INFINITY, -3}}};
enum { TYPES = sizeof types / sizeof *types };

static void
put(void *data, actnn_type type, int place, double value)
{
  int64_t integer = isfinite(value) ? (int64_t)value : 0;
  switch (type) {
  case ACTNN_F32: ((float *)data)[place] = (float)value; break;
  case ACTNN_F64: ((double *)data)[place] = value; break;
  case ACTNN_F16: ((uint16_t *)data)[place] = value == 1 ? 0x3c00 : value == 100 ? 0x5640 : value == -3 ? 0xc200 : 0; break;
  case ACTNN_U16:
  case ACTNN_I16: ((uint16_t *)data)[place] = (uint16_t)integer; break;
  case ACTNN_U32:
  case ACTNN_I32: ((uint32_t *)data)[place] = (uint32_t)integer; break;
  case ACTNN_U64:
  case ACTNN_I64: ((uint64_t *)data)[place] = (uint64_t)integer; break;
  default: ((uint8_t *)data)[place] = (uint8_t)integer; break;
  }
}

static double
get(const void *data, actnn_type type, int place)
{
  switch (type) {
  case ACTNN_F32: return ((const float *)data)[place];
  case ACTNN_F64: return ((const double *)data)[place];
  case ACTNN_I32: return ((const int32_t *)data)[place];
  case ACTNN_I64: return (double)((const int64_t *)data)[place];
  default: return ((const uint8_t *)data)[place];
  }
}

static void
test_types(void)
{
  static const actnn_type into[] = {ACTNN_F32, ACTNN_F64, ACTNN_I64, ACTNN_I32, ACTNN_BOOL};
  static const char *const into_name[] = {"float32", "float64", "int64", "int32", "bool"};
  for (int from = 0; from < TYPES; from++)
    for (int to = 0; to < 5; to++) {
      static uint64_t data[4];
      for (int i = 0; i < 4; i++)
        put(data, types[from].type, i, types[from].value[i]);
      begin(2);
      add_input("x", into[to], DIMS(2, 2));
      add_array("x", types[from].type, types[from].size, data, DIMS(2, 2));
      if (types[from].is_float && to > 1) {
        refuse("holds floats, but input 'x' takes integers");
        continue;
      }
      bool same = bind() && batch_fill_in_order(&r.source, &r.trainer, 0) == 2;
      for (int i = 0; i < 4; i++) {
        double value = types[from].value[i], got = get(r.arena, into[to], i);
        same &= into[to] == ACTNN_BOOL ? types[from].type == ACTNN_BOOL ? got == value : got == (value != 0)
                : into[to] == ACTNN_I32 && value == 2147483648.0        ? got == -value
                                                                        : got == value;
      }
      ok(same, "%s becomes %s", types[from].name, into_name[to]);
      batch_close(&r.source);
    }
  static const uint16_t halves[4] = {0x7c00, 0xfc00, 0x7e00, 0x8001};
  begin(1);
  add_input("x", ACTNN_F32, DIMS(1, 4));
  add_array("x", ACTNN_F16, 2, halves, DIMS(1, 4));
  bool is_bound = bind() && batch_fill_in_order(&r.source, &r.trainer, 0) == 1;
  const float *out = (const float *)(const void *)r.arena;
  ok(is_bound && out[0] == INFINITY && out[1] == -INFINITY && isnan(out[2]) && out[3] == -0x1p-24f, "float16's infinities, NaN and denormals");
  batch_close(&r.source);
  static const actnn_type none[] = {ACTNN_F16, ACTNN_BF16, ACTNN_U16, ACTNN_I8};
  for (int i = 0; i < 4; i++) {
    begin(1);
    add_input("x", none[i], DIMS(1, 1));
    add_array("x", ACTNN_U8, 1, halves, DIMS(1, 1));
    refuse("input 'x': data cannot be converted to its type");
  }
  begin(1);
  add_input("x", ACTNN_U16, DIMS(1, 4));
  add_array("x", ACTNN_U16, 2, halves, DIMS(1, 4));
  ok(bind() && batch_fill_in_order(&r.source, &r.trainer, 0) == 1 && !memcmp(r.arena, halves, sizeof halves), "other types are as they are");
  batch_close(&r.source);
}

/* ---- labels ------------------------------------------------------------------------------------- */

/* One sample and its label, of ten classes. */
static void
begin_labels(actnn_type type, size_t size, const void *label)
{
  static const float sample;
  begin(1);
  add_input("x", ACTNN_F32, DIMS(1, 1));
  add_input("y", ACTNN_I64, DIMS(1));
  add_array("x", ACTNN_F32, 4, &sample, DIMS(1, 1));
  add_array("y", type, size, label, DIMS(1));
  r.model.label = 1;
  r.model.loss_kind = ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY;
  r.model.evaluation_output = MOST_INPUTS;
  r.tensor[MOST_INPUTS] = (actnn_tensor){.type = ACTNN_F32, .rank = 2, .dim = {1, 10}};
}

static void
test_labels(void)
{
  static uint64_t label[1];
  for (int type = 0; type < TYPES; type++) {
    if (types[type].is_float || types[type].type == ACTNN_BOOL)
      continue;
    put(label, types[type].type, 0, 9);
    begin_labels(types[type].type, types[type].size, label);
    ok(bind(), "a label of %s %s", types[type].name, r.source.error);
    put(label, types[type].type, 0, 12);
    refuse("data.npy: label 12 of sample 0 is out of range 0..9");
    if (types[type].value[3] < 0) {
      put(label, types[type].type, 0, -1);
      refuse("data.npy: label -1 of sample 0 is out of range 0..9");
    }
  }
  label[0] = UINT64_C(1) << 63;
  begin_labels(ACTNN_U64, 8, label);
  refuse("is out of range 0..9");
  label[0] = 12;
  r.model.training_output = r.model.evaluation_output;
  r.model.evaluation_output = NONE;
  refuse("label 12 of sample 0 is out of range 0..9");
  r.model.training_output = NONE;
  ok(bind(), "without a prediction nobody knows of classes %s", r.source.error);
  batch_close(&r.source);
}

static void
test_classes(void)
{
  int axis = 0;
  begin_labels(ACTNN_U8, 1, "");
  actnn_tensor *output = &r.tensor[MOST_INPUTS], *label = &r.tensor[1];
  ok(prediction_classes(&r.model, MOST_INPUTS, &axis) == 10 && axis == 1, "classes on axis 1");
  *output = (actnn_tensor){.rank = 3, .dim = {2, 5, 7}};
  *label = (actnn_tensor){.rank = 2, .dim = {2, 7}};
  ok(prediction_classes(&r.model, MOST_INPUTS, &axis) == 5 && axis == 1, "or before the positions");
  label->dim[1] = 5;
  ok(prediction_classes(&r.model, MOST_INPUTS, &axis) == 7 && axis == 2, "or on the last axis");
  *label = (actnn_tensor){.rank = 2, .dim = {3, 6}};
  ok(!prediction_classes(&r.model, MOST_INPUTS, &axis), "or nowhere");
  *output = (actnn_tensor){.rank = 2, .dim = {2, 5}};
  *label = (actnn_tensor){.rank = 1, .dim = {3}};
  ok(!prediction_classes(&r.model, MOST_INPUTS, &axis), "nor of another batch");
  *label = (actnn_tensor){.rank = 2, .dim = {2, 5}};
  ok(!prediction_classes(&r.model, MOST_INPUTS, &axis), "nor with labels of the prediction's rank");
  ok(!prediction_classes(&r.model, NONE, &axis), "nor without a prediction");
  r.model.label = NONE;
  ok(!prediction_classes(&r.model, MOST_INPUTS, &axis), "nor without labels");
  r.model.loss_kind = ACTNN_LOSS_MSE;
  ok(!prediction_classes(&r.model, MOST_INPUTS, &axis), "nor for another loss");
}

static void
test_one_hot(void)
{
  static const uint8_t label[2] = {2, 0};
  begin(2);
  add_input("y", ACTNN_F32, DIMS(2, 3));
  add_array("y", ACTNN_U8, 1, label, DIMS(2));
  const float *out = (const float *)(const void *)r.arena, wanted[6] = {0, 0, 1, 1, 0, 0};
  ok(bind() && batch_fill_in_order(&r.source, &r.trainer, 0) == 2 && !memcmp(out, wanted, sizeof wanted), "class numbers become vectors with a 1");
  r.tensor[0].dim[1] = 2;
  refuse("label 2 of sample 0 is out of range 0..1");
  r.tensor[0].dim[1] = 1;
  ok(bind() && r.source.binding[0].conversion == CONVERT_CAST, "but for one element the number itself");
  r.tensor[0] = (actnn_tensor){.type = ACTNN_F32, .rank = 1, .dim = {2}, .bytes = PLACE};
  ok(bind() && r.source.binding[0].conversion == CONVERT_CAST, "as for a vector of numbers");
  batch_close(&r.source);
}

/* ---- images ------------------------------------------------------------------------------------- */

static const unsigned char gray[1 << 16]; /* all zero */

/* The array's and the input's extents; what is stored as channels, height, width; 0 channels: no image. */
static void
fit(int rank, const int64_t *stored, int input_rank, const int64_t *input, int64_t channels, int64_t height, int64_t width, const char *what)
{
  begin(1);
  add_input("x", ACTNN_F32, input_rank, input);
  add_array("x", ACTNN_U8, 1, gray, rank, stored);
  bool is_bound = bind();
  const binding *b = &r.source.binding[0];
  bool is_image = is_bound && b->conversion == CONVERT_IMAGE;
  ok(channels ? is_image && b->channels == channels && b->height == height && b->width == width : !is_image, "%s %s", what, r.source.error);
  batch_close(&r.source);
}

static void
test_images(void)
{
  fit(DIMS(1, 6, 5), DIMS(1, 1, 6, 5), 1, 6, 5, "rank 3 is one channel");
  fit(DIMS(1, 3, 6, 5), DIMS(1, 3, 6, 5), 3, 6, 5, "channels first");
  fit(DIMS(1, 6, 5, 3), DIMS(1, 3, 6, 5), 3, 6, 5, "channels last");
  fit(DIMS(1, 5, 5, 4), DIMS(1, 4, 5, 5), 4, 5, 5, "four channels last of a square");
  fit(DIMS(1, 4, 4, 1), DIMS(1, 1, 4, 4), 1, 4, 4, "one channel last of a square of few pixels");
  fit(DIMS(1, 3, 3, 3), DIMS(1, 3, 3, 3), 3, 3, 3, "what may be either has its channels first");
  fit(DIMS(1, 3, 5, 4), DIMS(1, 3, 5, 4), 3, 5, 4, "also when the last axis is as short");
  fit(DIMS(1, 2, 6, 5), DIMS(1, 2, 6, 5), 2, 6, 5, "two channels");
  fit(DIMS(1, 6, 5), DIMS(1, 3, 6, 5), 1, 6, 5, "one channel becomes three");
  fit(DIMS(1, 6, 5), DIMS(1, 30), 1, 6, 5, "flattened");
  fit(DIMS(1, 6, 5), DIMS(1, 31), 0, 0, 0, "not to another number of elements");
  fit(DIMS(1, 3, 6, 5), DIMS(1, 2, 6, 5), 0, 0, 0, "three channels do not become two");
  fit(DIMS(1, 6, 5), DIMS(1, BATCH_MAX_CHANNELS + 1, 6, 5), 0, 0, 0, "nor one more than there may be");
  fit(DIMS(1, 6, 5), DIMS(1, 1, 0, 5), 0, 0, 0, "no rows in the input");
  fit(DIMS(1, 6, 5), DIMS(1, 1, 6, 0), 0, 0, 0, "no columns in the input");
  fit(DIMS(1, 6, 5), DIMS(1, 1, BATCH_MAX_EXTENT + 1, 5), 0, 0, 0, "too many rows in the input");
  fit(DIMS(1, 6, 5), DIMS(1, 1, 6, BATCH_MAX_EXTENT + 1), 0, 0, 0, "too many columns in the input");
  fit(DIMS(1, 0, 6, 5), DIMS(1, 0, 6, 5), 0, 0, 0, "no channels");
  fit(DIMS(1, BATCH_MAX_CHANNELS + 1, 6, 5), DIMS(1, BATCH_MAX_CHANNELS + 1, 6, 5), 0, 0, 0, "too many channels");
  fit(DIMS(1, 0, 5), DIMS(1, 1, 6, 5), 0, 0, 0, "no rows");
  fit(DIMS(1, 6, 0), DIMS(1, 1, 6, 5), 0, 0, 0, "no columns");
  fit(DIMS(1, BATCH_MAX_EXTENT + 1, 1), DIMS(1, 1, 6, 5), 0, 0, 0, "too many rows");
  fit(DIMS(1, 1, BATCH_MAX_EXTENT + 1), DIMS(1, 1, 6, 5), 0, 0, 0, "too many columns");
  fit(DIMS(1, 6), DIMS(1, 6), 0, 0, 0, "rank 2 is no image");
  fit(DIMS(1, 1, 2, 3, 4), DIMS(1, 1, 2, 3, 4), 0, 0, 0, "nor is rank 5");
}

static void
test_standardization(void)
{
  static const unsigned char two[8] = {0, 255, 0, 255, 10, 10, 10, 10};
  begin(1);
  add_input("x", ACTNN_F32, DIMS(1, 2, 2, 2));
  add_array("x", ACTNN_U8, 1, two, DIMS(1, 2, 2, 2));
  bool is_bound = bind();
  const standardization *scale = &r.source.binding[0].standardization;
  ok(is_bound && fabs(scale->mean[0] - 0.5) < 1e-12 && fabs(scale->deviation[0] - 0.5) < 1e-12, "a channel's mean and deviation");
  ok(is_bound && fabs(scale->mean[1] - 10 / 255.0) < 1e-12 && scale->deviation[1] == 1, "all alike: a deviation of 1");
  batch_source training = r.source, test;
  training.binding[0].standardization.mean[0] = 0.125;
  ok(batch_open(&test, &r.model, &r.set, &training) && test.binding[0].standardization.mean[0] == 0.125, "evaluation takes those of training");
  batch_close(&test);
  training.binding[0].channels = 1;
  ok(batch_open(&test, &r.model, &r.set, &training) && test.binding[0].standardization.mean[0] == 0.5, "not of other channels");
  batch_close(&test);
  training.binding[0].channels = 2;
  training.binding[0].conversion = CONVERT_CAST;
  ok(batch_open(&test, &r.model, &r.set, &training) && test.binding[0].standardization.mean[0] == 0.5, "nor of what was no image");
  batch_close(&test);
  batch_close(&r.source);
  begin(1);
  add_input("x", ACTNN_F32, DIMS(1, 1, 10, 10));
  static unsigned char white[64];
  memset(white, 255, sizeof white);
  add_array("x", ACTNN_U8, 1, white, DIMS(1, 8, 8));
  is_bound = bind();
  r.source.binding[0].standardization = (standardization){.mean = {0.5}, .deviation = {0.5}};
  bool same = is_bound && batch_fill_in_order(&r.source, &r.trainer, 0) == 1;
  for (int i = 0; i < 100; i++) {
    bool is_inside = i / 10 >= 1 && i / 10 <= 8 && i % 10 >= 1 && i % 10 <= 8;
    same &= ((const float *)(const void *)r.arena)[i] == (is_inside ? 1 : -1);
  }
  ok(same, "a somewhat smaller image gets a border of zeros");
  batch_close(&r.source);
}

/* ---- names and counts ----------------------------------------------------------------------------- */

static const float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static void
add_numbers(const char *name, int64_t samples)
{
  add_array(name, ACTNN_F32, 4, numbers, DIMS(samples, 1));
}

static void
test_names(void)
{
  begin(1);
  add_input("a", ACTNN_F32, DIMS(1, 1));
  add_input("b", ACTNN_F32, DIMS(1, 1));
  add_numbers("labels", 2);
  add_numbers("samples", 2);
  ok(bind() && r.source.binding[0].array == &r.set.array[1] && r.source.binding[1].array == &r.set.array[0], "the last of several gets labels");
  r.model.label = 0;
  ok(bind() && r.source.binding[0].array == &r.set.array[0] && r.source.binding[1].array == &r.set.array[1], "or the one that is the label");
  r.model.label = NONE;
  add_numbers("a", 2);
  ok(bind() && r.source.binding[0].array == &r.set.array[2], "a name of its own comes first");
  r.model.input_count = 1;
  r.input[0].name = NULL;
  ok(bind() && r.source.binding[0].array == &r.set.array[1], "one input without a name gets samples");
  r.set.array_count = 1;
  refuse("input '' of the model gets no data");
  add_input("c", ACTNN_F32, DIMS(1, 1));
  add_input("d", ACTNN_F32, DIMS(1, 1));
  add_numbers("samples", 2);
  refuse("input 'c' of the model gets no data; give it as --data 'c=FILE.npy'");
  begin(2);
  add_input("rate", ACTNN_F32, DIMS(1));
  add_input("step", ACTNN_I64, DIMS(1));
  r.model.learning_rate = 0;
  r.model.step_number = 1;
  refuse("test: the model has no inputs to feed");
  add_input("x", ACTNN_F32, DIMS(2, 1));
  add_numbers("x", 3);
  ok(bind() && r.source.binding_count == 1 && r.source.binding[0].tensor == 2, "the learning rate and the step's number need no data");
  r.tensor[2].dim[0] = 3;
  refuse("input 'x': its first axis is not the batch of 2 samples");
  r.tensor[2].dim[0] = 2;
  r.set.array[0].dim[0] = 0;
  refuse("data.npy: has 0 samples; 1 to 4294967295 can be used");
  r.set.array[0].dim[0] = INT64_C(1) << 32;
  refuse("data.npy: has 4294967296 samples; 1 to 4294967295 can be used");
  r.set.array[0].dim[0] = 3;
  add_input("y", ACTNN_F32, DIMS(2, 1));
  add_numbers("y", 4);
  refuse("data.npy has 4 samples, but data.npy has 3");
  r.tensor[3].dim[1] = 5;
  refuse("data.npy: 'y' of shape [4,1] does not fit input 'y' of shape [2,5]");
  int64_t *dim = r.set.array[1].dim;
  r.set.array[1].rank = ACTNN_MAX_RANK;
  for (int axis = 1; axis < ACTNN_MAX_RANK; axis++)
    dim[axis] = INT64_MAX - 1;
  refuse("data.npy: 'y' of shape [4,9223372036854775806,9223372036854775806,");
  begin(1);
  for (int i = 0; i < MOST_INPUTS; i++)
    add_input("x", ACTNN_F32, DIMS(1, 1));
  refuse("test: more than 64 inputs");
  batch_close(&r.source);
}

int
main(void)
{
  test_types();
  test_labels();
  test_classes();
  test_one_hot();
  test_images();
  test_standardization();
  test_names();
  return tap_done();
}
