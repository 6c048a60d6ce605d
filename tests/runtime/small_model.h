/* small_model.h: a two-layer classifier in the form of emitted source, written by hand, with kernels of its own: for
 * tests of the trainer that need no translator. 784 inputs, 32 hidden values, 10 classes, batch 50. The hidden layer
 * is coded at 2 bits where SMALL_MODEL_CODED is 1; the optimizer is the runtime's SGD with momentum. */
#ifndef ACTNN_SMALL_MODEL_H
#define ACTNN_SMALL_MODEL_H

#include "runtime.h"

#include <math.h>
#include <string.h>

#ifndef SMALL_MODEL_CODED
#define SMALL_MODEL_CODED 1
#endif

enum {
  v_w1, v_b1, v_w2, v_b2, v_m1, v_n1, v_m2, v_n2, v_running, /* variables */
  v_images, v_labels, v_rate, v_step, v_hidden, v_logits, v_loss, v_stash, v_decoded,
  v_dlogits, v_dhidden, v_dw1, v_db1, v_dw2, v_db2, v_count
};

enum { BATCH = 50, PIXELS = 784, HIDDEN = 32, CLASSES = 10 };
enum { STASH_BYTES = 4096 }; /* 50 x 32 values of 2 bits with headers fit */

static inline float *
at(const actnn_view *view)
{
  return view->data;
}

/* y = x w + b, rectified where attribute 0 says so */
static int
small_dense(const actnn_call *call)
{
  const float *x = at(&call->input[0]), *w = at(&call->input[1]), *b = at(&call->input[2]);
  int64_t rows = call->input[0].dim[0], inner = call->input[1].dim[0], columns = call->input[1].dim[1];
  float *y = at(&call->output[0]);
  if (actnn_is_preparing(call))
    return 0;
  for (int64_t row = 0; row < rows; row++) {
    memcpy(y + row * columns, b, (size_t)columns * sizeof *y);
    for (int64_t k = 0; k < inner; k++)
      for (int64_t column = 0; column < columns; column++)
        y[row * columns + column] += x[row * inner + k] * w[k * columns + column];
    for (int64_t column = 0; call->attribute[0].i && column < columns; column++)
      y[row * columns + column] = fmaxf(y[row * columns + column], 0);
  }
  return 0;
}

/* Mean cross-entropy and its gradient. */
static int
small_loss(const actnn_call *call)
{
  const float *logits = at(&call->input[0]);
  const int64_t *label = call->input[1].data;
  float *gradient = at(&call->output[1]);
  double total = 0;
  if (actnn_is_preparing(call))
    return 0;
  for (int row = 0; row < BATCH; row++) {
    double sum = 0, largest = logits[row * CLASSES];
    for (int c = 1; c < CLASSES; c++)
      largest = fmax(largest, (double)logits[row * CLASSES + c]);
    for (int c = 0; c < CLASSES; c++)
      sum += exp((double)logits[row * CLASSES + c] - largest);
    total += log(sum) + largest - (double)logits[row * CLASSES + label[row]];
    for (int c = 0; gradient && c < CLASSES; c++)
      gradient[row * CLASSES + c] =
          (float)((exp((double)logits[row * CLASSES + c] - largest) / sum - (c == label[row])) / BATCH);
  }
  *at(&call->output[0]) = (float)(total / BATCH);
  return 0;
}

/* dw = x^T dy, db = sum of dy */
static int
small_dense_dw(const actnn_call *call)
{
  const float *x = at(&call->input[0]), *dy = at(&call->input[1]);
  int64_t inner = call->output[0].dim[0], columns = call->output[0].dim[1];
  float *dw = at(&call->output[0]), *db = at(&call->output[1]);
  if (actnn_is_preparing(call))
    return 0;
  memset(dw, 0, (size_t)(inner * columns) * sizeof *dw);
  memset(db, 0, (size_t)columns * sizeof *db);
  for (int row = 0; row < BATCH; row++)
    for (int64_t column = 0; column < columns; column++) {
      db[column] += dy[row * columns + column];
      for (int64_t k = 0; k < inner; k++)
        dw[k * columns + column] += x[row * inner + k] * dy[row * columns + column];
    }
  return 0;
}

/* dx = dy w^T where y was positive */
static int
small_dense_dx(const actnn_call *call)
{
  const float *dy = at(&call->input[0]), *w = at(&call->input[1]), *y = at(&call->input[2]);
  float *dx = at(&call->output[0]);
  if (actnn_is_preparing(call))
    return 0;
  for (int row = 0; row < BATCH; row++)
    for (int k = 0; k < HIDDEN; k++) {
      float sum = 0;
      for (int c = 0; c < CLASSES; c++)
        sum += dy[row * CLASSES + c] * w[k * CLASSES + c];
      dx[row * HIDDEN + k] = y[row * HIDDEN + k] > 0 ? sum : 0;
    }
  return 0;
}

/* Small numbers from the seed, so that runs start differently when seeds differ. */
static int
small_draw(const actnn_call *call)
{
  uint64_t state = 88172645463325252u + 7919 * (uint64_t)call->attribute[0].i;
  float *w = at(&call->output[0]);
  for (int64_t index = 0; index < call->output[0].dim[0] * call->output[0].dim[1]; index++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    w[index] = ((float)(state >> 40) / 16777216.0f - 0.5f) * 0.1f;
  }
  return 0;
}

/* A running mean of the first hidden value: state that every forward moves. */
static int
small_running(const actnn_call *call)
{
  if (!actnn_is_preparing(call))
    at(&call->output[0])[0] = 0.9f * at(&call->output[0])[0] + 0.1f * at(&call->input[0])[0];
  return 0;
}

static int
small_initialize(actnn *trainer)
{
  RUN(small_draw, OUT(v_w1), IN(NONE), WITH(INT(1)));
  RUN(small_draw, OUT(v_w2), IN(NONE), WITH(INT(2)));
  return 0;
}

static int
small_forward(actnn *trainer)
{
  RUN(small_dense, OUT(v_hidden), IN(v_images, v_w1, v_b1), WITH(INT(1)));
  RUN(small_running, OUT(v_running), IN(v_hidden), WITHOUT);
#if SMALL_MODEL_CODED
  RUN(actnn_QuantizeOnSave, OUT(v_stash), IN(v_hidden), WITH(INT(0)));
#endif
  RUN(small_dense, OUT(v_logits), IN(v_hidden, v_w2, v_b2), WITH(INT(0)));
  RUN(small_loss, OUT(v_loss, v_dlogits), IN(v_logits, v_labels), WITHOUT);
  return 0;
}

#define SGD WITH(REAL_NUMBER(0.9), INT(0), REAL_NUMBER(0), REAL_NUMBER(0))

static int
small_backward(actnn *trainer)
{
#if SMALL_MODEL_CODED
  RUN(actnn_DequantizeOnBackward, OUT(v_decoded), IN(v_stash), WITH(INT(0)));
  RUN(actnn_MeasureSensitivity, OUT(NONE), IN(v_dlogits, v_decoded),
      WITH(INT(0), INT(0), NO_INTS, NO_INTS, NO_INTS, NO_INTS, INT(1)));
  RUN(small_dense_dw, OUT(v_dw2, v_db2), IN(v_decoded, v_dlogits), WITHOUT);
#else
  RUN(small_dense_dw, OUT(v_dw2, v_db2), IN(v_hidden, v_dlogits), WITHOUT);
#endif
  RUN(small_dense_dx, OUT(v_dhidden), IN(v_dlogits, v_w2, v_hidden), WITHOUT);
  RUN(actnn_Sgd, OUT(v_w2, v_m2), IN(v_w2, v_dw2, v_m2, v_rate), SGD);
  RUN(actnn_Sgd, OUT(v_b2, v_n2), IN(v_b2, v_db2, v_n2, v_rate), SGD);
  RUN(small_dense_dw, OUT(v_dw1, v_db1), IN(v_images, v_dhidden), WITHOUT);
  RUN(actnn_Sgd, OUT(v_w1, v_m1), IN(v_w1, v_dw1, v_m1, v_rate), SGD);
  RUN(actnn_Sgd, OUT(v_b1, v_n1), IN(v_b1, v_db1, v_n1, v_rate), SGD);
  return 0;
}

static int
small_evaluate(actnn *trainer)
{
  RUN(small_dense, OUT(v_hidden), IN(v_images, v_w1, v_b1), WITH(INT(1)));
  RUN(small_dense, OUT(v_logits), IN(v_hidden, v_w2, v_b2), WITH(INT(0)));
  RUN(small_loss, OUT(v_loss, NONE), IN(v_logits, v_labels), WITHOUT);
  return 0;
}

#define ROUND(bytes) (((bytes) + 63) / 64 * 64)
#define SIZE(elements) ROUND((elements) * 4u)
enum {
  at_w1 = 0, at_b1 = at_w1 + SIZE(PIXELS * HIDDEN), at_w2 = at_b1 + SIZE(HIDDEN), at_b2 = at_w2 + SIZE(HIDDEN * CLASSES),
  at_m1 = at_b2 + SIZE(CLASSES), at_n1 = at_m1 + SIZE(PIXELS * HIDDEN), at_m2 = at_n1 + SIZE(HIDDEN),
  at_n2 = at_m2 + SIZE(HIDDEN * CLASSES), at_running = at_n2 + SIZE(CLASSES), at_images = at_running + 64,
  at_labels = at_images + SIZE(BATCH * PIXELS), at_rate = at_labels + ROUND(BATCH * 8), at_step = at_rate + 64,
  at_hidden = at_step + 64, at_logits = at_hidden + SIZE(BATCH * HIDDEN), at_loss = at_logits + SIZE(BATCH * CLASSES),
  at_stash = at_loss + 64, at_decoded = at_stash + STASH_BYTES, at_dlogits = at_decoded + SIZE(BATCH * HIDDEN),
  at_dhidden = at_dlogits + SIZE(BATCH * CLASSES), at_dw1 = at_dhidden + SIZE(BATCH * HIDDEN),
  at_db1 = at_dw1 + SIZE(PIXELS * HIDDEN), at_dw2 = at_db1 + SIZE(HIDDEN), at_db2 = at_dw2 + SIZE(HIDDEN * CLASSES),
  at_end = at_db2 + SIZE(CLASSES)
};

#define TENSOR(name, rows, columns) [v_##name] = {ACTNN_F32, ACTNN_PLAIN, 2, {rows, columns}, at_##name, SIZE((rows) * (columns))}
#define VECTOR(name, count) [v_##name] = {ACTNN_F32, ACTNN_PLAIN, 1, {count}, at_##name, SIZE(count)}
static const actnn_tensor small_tensors[] = {
    TENSOR(w1, PIXELS, HIDDEN), VECTOR(b1, HIDDEN), TENSOR(w2, HIDDEN, CLASSES), VECTOR(b2, CLASSES),
    TENSOR(m1, PIXELS, HIDDEN), VECTOR(n1, HIDDEN), TENSOR(m2, HIDDEN, CLASSES), VECTOR(n2, CLASSES),
    VECTOR(running, 1), TENSOR(images, BATCH, PIXELS),
    [v_labels] = {ACTNN_I64, ACTNN_PLAIN, 1, {BATCH}, at_labels, ROUND(BATCH * 8)},
    [v_rate] = {ACTNN_F32, ACTNN_PLAIN, 0, {0}, at_rate, 64}, [v_step] = {ACTNN_I64, ACTNN_PLAIN, 0, {0}, at_step, 64},
    TENSOR(hidden, BATCH, HIDDEN), TENSOR(logits, BATCH, CLASSES), [v_loss] = {ACTNN_F32, ACTNN_PLAIN, 0, {0}, at_loss, 64},
    [v_stash] = {ACTNN_F32, ACTNN_STASH, 2, {BATCH, HIDDEN}, at_stash, STASH_BYTES},
    TENSOR(decoded, BATCH, HIDDEN), TENSOR(dlogits, BATCH, CLASSES), TENSOR(dhidden, BATCH, HIDDEN),
    TENSOR(dw1, PIXELS, HIDDEN), VECTOR(db1, HIDDEN), TENSOR(dw2, HIDDEN, CLASSES), VECTOR(db2, CLASSES)};
static const actnn_input small_inputs[] = {{v_images, "images"}, {v_labels, "labels"}};
/* Names that a model may have: quotes, a newline, bytes that are not UTF-8, one name twice. */
static const actnn_variable small_variables[] = {
    {v_w1, "layer\"1\n/weight", ACTNN_PARAMETER, true}, {v_b1, "b\xff", ACTNN_PARAMETER, true},
    {v_w2, "layer2.w\xc3\xa4", ACTNN_PARAMETER, true},  {v_b2, "b", ACTNN_PARAMETER, true},
    {v_m1, "m", ACTNN_OPTIMIZER, false},            {v_n1, "m", ACTNN_OPTIMIZER, false},
    {v_m2, "m2", ACTNN_OPTIMIZER, false},           {v_n2, "", ACTNN_OPTIMIZER, false},
    {v_running, "running", ACTNN_RUNNING, true}};
#if SMALL_MODEL_CODED
/* 2, 4, 8 levels and so on: ActNN's scheme. */
static const actnn_save small_saves[] = {
    {v_stash, "hidden", ACTNN_EVEN_LEVELS, false, 0, 0, 0xfa5, 42, ACTNN_ADAPTS_BY_READERS, 1, v_w2, NONE}};
#endif
static const unsigned char small_onnx[] = {0x08, 0x08, 0x3a, 0x05, 0x12, 0x03, 'n', 'e', 't'}; /* IR 8, graph "net" */

static const actnn_model small_model = {
    .version = ACTNN_VERSION, .name = "small", .tensor = small_tensors, .input = small_inputs, .variable = small_variables,
#if SMALL_MODEL_CODED
    .save = small_saves, .save_count = 1,
#endif
    .tensor_count = v_count, .input_count = 2, .variable_count = 9, .label = 1, .loss = v_loss, .evaluation_loss = v_loss,
    .evaluation_output = v_logits, .evaluation_losses = NONE, .learning_rate = v_rate, .step_number = v_step, .training_output = v_logits,
    .loss_kind = ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY, .batch = BATCH, .arena_bytes = at_end, .variable_bytes = at_images,
    .stash_offset = at_stash, .stash_bytes = STASH_BYTES, .workspace_offset = at_end, .workspace_bytes = 0,
    .saved_bytes = STASH_BYTES, .saved_bytes_fp32 = SIZE(BATCH * HIDDEN), .model_hash = 0x1234abcd5678ef00u, .seed = 1,
    .default_learning_rate = 0.05, .scheme = "actnn", .level = 3, .initialize = small_initialize, .forward = small_forward,
    .backward = small_backward, .evaluate = small_evaluate, .onnx = small_onnx, .onnx_bytes = sizeof small_onnx};

/* Images and labels that depend on the step alone. */
static inline void
small_feed(actnn *trainer, int step)
{
  float *image = actnn_data(trainer, v_images);
  int64_t *label = actnn_data(trainer, v_labels);
  for (int i = 0; i < BATCH * PIXELS; i++)
    image[i] = (float)((i * 31 + step * 7) % 256) / 256;
  for (int i = 0; i < BATCH; i++)
    label[i] = (i + step) % CLASSES;
}

#endif
