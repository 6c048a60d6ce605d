/* softmax.c: softmax, its logarithm, their gradients, and the losses over classes.
 *
 * A tensor is outer x length x inner, the softmax running over `length`. Where inner is 1 a line is contiguous and
 * lanes run along it; else lanes run across 16 neighbouring lines. Losses are summed over fixed slices of the items and
 * combined in order: the same result for any number of threads.
 *
 * Compiled once for each instruction set, see instruction_set.h.
 */
#ifndef ACTNN_RUNTIME
#define ACTNN_RUNTIME
#endif
#include "bfloat.h"
#include "softmax_line.h"

#include "../src/operators/evaluation.h"

enum { SLICES = 256 };

typedef struct Lines {
  int64_t outer, length, inner;
  int64_t tiles, units; /* tiles of up to 16 lines side by side; units of work: lines or tiles */
} Lines;

static Lines
lines_along(const actnn_view *view, int64_t axis)
{
  Lines lines = {.outer = 1, .length = 1, .inner = 1};
  if (axis < 0) axis += view->rank;
  for (int i = 0; i < view->rank; i++)
    *(i < axis ? &lines.outer : i > axis ? &lines.inner : &lines.length) *= view->dim[i];
  lines.tiles = (lines.inner + LANES - 1) / LANES;
  lines.units = lines.outer * lines.tiles;
  return lines;
}

/* Where a unit starts and how many lines it has. */
static int64_t
unit_start(const Lines *lines, int64_t unit, int *used)
{
  int64_t column = unit % lines->tiles * LANES, rest = lines->inner - column;
  *used = rest < LANES ? (int)rest : LANES;
  return unit / lines->tiles * lines->length * lines->inner + column;
}

/* ---- one contiguous line --------------------------------------------------------------------------- */

/* What is made of lines. */
typedef enum Form { PROBABILITIES, GUARDED_PROBABILITIES, LOGARITHMS } Form;

/* Lines without a finite greatest element (all -inf, or an inf or NaN among them) give NaN, as arithmetic does, or, guarded, zeros. */
static void
softmax_line(const float *x, float *y, int64_t count, Form form)
{
  float most = most_of(x, count);
  if (form == LOGARITHMS) {
    float below = (float)log(exponential_sum(x, NULL, count, most));
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = x[i] - most - below;
    return;
  }
  double sum = exponential_sum(x, y, count, most);
  float factor = (float)(1 / sum);
  if (form == GUARDED_PROBABILITIES && !(sum > 0)) {
    memset(y, 0, (size_t)count * sizeof *y);
    return;
  }
#pragma omp simd
  for (int64_t i = 0; i < count; i++) y[i] *= factor;
}

/* ---- 16 lines side by side --------------------------------------------------------------------------- */

/* Greatest elements and sums of exp(x - most) of `used` lines. */
static void
tile_sums(const float *x, const Lines *lines, int used, float *most, double *sum)
{
  for (int k = 0; k < LANES; k++) {
    most[k] = -INFINITY;
    sum[k] = 0;
  }
  for (int64_t i = 0; i < lines->length; i++)
    for (int k = 0; k < used; k++) most[k] = x[i * lines->inner + k] > most[k] ? x[i * lines->inner + k] : most[k];
  for (int64_t i = 0; i < lines->length; i++) {
    float value[LANES] = {0};
    memcpy(value, x + i * lines->inner, (size_t)used * sizeof *value);
    for (int k = 0; k < LANES; k++) value[k] = exp_float(value[k] - most[k]);
    for (int k = 0; k < used; k++) sum[k] += value[k];
  }
}

static void
softmax_tile(const float *x, float *y, const Lines *lines, int used, Form form)
{
  float most[LANES], factor[LANES];
  double sum[LANES];
  tile_sums(x, lines, used, most, sum);
  bool is_lost[LANES] = {false};
  for (int k = 0; k < used; k++) {
    factor[k] = (float)(form == LOGARITHMS ? log(sum[k]) : 1 / sum[k]);
    is_lost[k] = form == GUARDED_PROBABILITIES && !(sum[k] > 0);
  }
  for (int64_t i = 0; i < lines->length; i++) {
    const float *from = x + i * lines->inner;
    float *to = y + i * lines->inner;
    if (form == LOGARITHMS)
      for (int k = 0; k < used; k++) to[k] = from[k] - most[k] - factor[k];
    else
      for (int k = 0; k < used; k++) to[k] = is_lost[k] ? 0 : exp_float(from[k] - most[k]) * factor[k];
  }
}

static int
softmax(const actnn_call *call, Form form)
{
  if (actnn_is_preparing(call)) return 0;
  const float *x = call->input[0].data;
  float *y = call->output[0].data;
  Lines lines = lines_along(&call->input[0], call->attribute[0].i);
#pragma omp parallel for schedule(static) if (lines.outer * lines.length * lines.inner > SERIAL_ELEMENTS / 4)
  for (int64_t unit = 0; unit < lines.units; unit++) {
    int used;
    int64_t start = unit_start(&lines, unit, &used);
    if (lines.inner == 1) softmax_line(x + start, y + start, lines.length, form);
    else softmax_tile(x + start, y + start, &lines, used, form);
  }
  return 0;
}

int ENTRY(Softmax)(const actnn_call *call);
int
ENTRY(Softmax)(const actnn_call *call)
{
  return softmax(call, call->attribute[1].i ? GUARDED_PROBABILITIES : PROBABILITIES);
}

int ENTRY(LogSoftmax)(const actnn_call *call);
int
ENTRY(LogSoftmax)(const actnn_call *call)
{
  return softmax(call, LOGARITHMS);
}

/* ---- gradients --------------------------------------------------------------------------------------- */

/* dx = y (dy - sum(dy y)), or of the logarithm dy - exp(y) sum(dy) */
static void
gradient_line(const float *dy, const float *y, float *dx, int64_t count, bool is_logarithm)
{
  float sum = (float)product_sum(dy, is_logarithm ? NULL : y, count);
  if (is_logarithm) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) dx[i] = dy[i] - exp_float(y[i]) * sum;
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) dx[i] = y[i] * (dy[i] - sum);
  }
}

static void
gradient_tile(const float *dy, const float *y, float *dx, const Lines *lines, int used, bool is_logarithm)
{
  double sum[LANES] = {0};
  for (int64_t i = 0; i < lines->length; i++)
    for (int k = 0; k < used; k++)
      sum[k] += is_logarithm ? dy[i * lines->inner + k] : dy[i * lines->inner + k] * y[i * lines->inner + k];
  for (int64_t i = 0; i < lines->length; i++) {
    int64_t at = i * lines->inner;
    if (is_logarithm)
      for (int k = 0; k < used; k++) dx[at + k] = dy[at + k] - exp_float(y[at + k]) * (float)sum[k];
    else
      for (int k = 0; k < used; k++) dx[at + k] = y[at + k] * (dy[at + k] - (float)sum[k]);
  }
}

static int
softmax_gradient(const actnn_call *call, bool is_logarithm)
{
  if (actnn_is_preparing(call)) return 0;
  const float *dy = call->input[0].data, *y = call->input[1].data;
  float *dx = call->output[0].data;
  Lines lines = lines_along(&call->input[1], call->attribute[0].i);
#pragma omp parallel for schedule(static) if (lines.outer * lines.length * lines.inner > SERIAL_ELEMENTS)
  for (int64_t unit = 0; unit < lines.units; unit++) {
    int used;
    int64_t start = unit_start(&lines, unit, &used);
    if (lines.inner == 1) gradient_line(dy + start, y + start, dx + start, lines.length, is_logarithm);
    else gradient_tile(dy + start, y + start, dx + start, &lines, used, is_logarithm);
  }
  return 0;
}

int ENTRY(SoftmaxGrad)(const actnn_call *call);
int
ENTRY(SoftmaxGrad)(const actnn_call *call)
{
  return softmax_gradient(call, false);
}

int ENTRY(LogSoftmaxGrad)(const actnn_call *call);
int
ENTRY(LogSoftmaxGrad)(const actnn_call *call)
{
  return softmax_gradient(call, true);
}

/* ---- losses over classes ------------------------------------------------------------------------------ */

typedef enum Reduction { NONE_OF_THEM, SUM_OF_ALL, MEAN_OF_ALL } Reduction;

typedef struct Labels {
  const actnn_view *label;
  const float *weight; /* NULL: all 1 */
  int64_t classes, ignored;
  bool has_ignored;
  Reduction reduction;
  double divisor;
} Labels;

/* A label as it lies in the arena. */
static int64_t
label_at(const actnn_view *label, int64_t item)
{
  if (label->type == ACTNN_I64) return ((const int64_t *)label->data)[item];
  if (label->type == ACTNN_I32) return ((const int32_t *)label->data)[item];
  return integer_of(load_element(label, item));
}

/* -1: ignored. */
static int64_t
class_of(const Labels *labels, int64_t item, float *weight)
{
  int64_t label = label_at(labels->label, item);
  *weight = 0;
  if (labels->has_ignored && label == labels->ignored) return -1;
  if (label < 0 || label >= labels->classes) return labels->classes; /* told apart by check_labels */
  *weight = labels->weight ? labels->weight[label] : 1;
  return label;
}

/* Every label is looked at before one is used as an index; the weights that count are added up on the way. */
static int
check_labels(actnn *trainer, Labels *labels)
{
  double part[SLICES];
  int64_t items = element_count(labels->label), each = (items + SLICES - 1) / SLICES, wrong = 0;
#pragma omp parallel for schedule(static) reduction(+ : wrong) if (items > SERIAL_ELEMENTS)
  for (int64_t slice = 0; slice < SLICES; slice++) {
    int64_t end = (slice + 1) * each < items ? (slice + 1) * each : items;
    part[slice] = 0;
    for (int64_t item = slice * each; item < end; item++) {
      float weight;
      wrong += class_of(labels, item, &weight) == labels->classes;
      part[slice] += weight;
    }
  }
  if (wrong)
    return actnn_fail(trainer, "%lld of %lld labels are not in 0..%lld; check the data, or that the model has enough classes",
                      (long long)wrong, (long long)items, (long long)labels->classes - 1);
  labels->divisor = 0;
  for (int slice = 0; slice < SLICES; slice++) labels->divisor += part[slice];
  if (labels->reduction != MEAN_OF_ALL) labels->divisor = 1;
  return 0;
}

/* Attributes `first` and following: ignore_index, reduction. */
static Labels
labels_of(const actnn_call *call, size_t label, size_t first, int64_t classes)
{
  const actnn_attribute *ignored = &call->attribute[first];
  const char *reduction = call->attribute[first + 1].text;
  const actnn_view *weight = optional_input(call, label + 1);
  return (Labels){.label = &call->input[label], .weight = weight ? weight->data : NULL, .classes = classes,
                  .ignored = ignored->i, .has_ignored = ignored->kind == ACTNN_INT,
                  .reduction = !strcmp(reduction, "none")  ? NONE_OF_THEM
                               : !strcmp(reduction, "sum") ? SUM_OF_ALL
                                                           : MEAN_OF_ALL};
}

typedef struct Loss {
  Lines lines;
  Labels labels;
  const float *scores;
  float *each, *log_prob; /* may be NULL */
  bool is_normalized;     /* scores are logarithms of probabilities already */
} Loss;

/* The losses of one unit, summed. */
static double
unit_loss(const Loss *loss, int64_t unit)
{
  const Lines *lines = &loss->lines;
  int used;
  int64_t start = unit_start(lines, unit, &used), first = unit / lines->tiles * lines->inner + unit % lines->tiles * LANES;
  const float *x = loss->scores + start;
  float most[LANES] = {0}, below[LANES] = {0};
  double sum[LANES], total = 0;
  if (!loss->is_normalized) {
    if (lines->inner == 1) {
      most[0] = most_of(x, lines->length);
      sum[0] = exponential_sum(x, NULL, lines->length, most[0]);
    } else {
      tile_sums(x, lines, used, most, sum);
    }
    for (int k = 0; k < used; k++) below[k] = (float)log(sum[k]);
  }
  for (int k = 0; k < used; k++) {
    float weight;
    int64_t label = class_of(&loss->labels, first + k, &weight);
    float one = label < 0 ? 0 : -weight * (x[label * lines->inner + k] - most[k] - below[k]);
    if (loss->each) loss->each[first + k] = one;
    total += one;
  }
  if (!loss->log_prob) return total;
  float *to = loss->log_prob + start;
  if (lines->inner == 1) {
    float high = most[0], low = below[0];
#pragma omp simd
    for (int64_t i = 0; i < lines->length; i++) to[i] = x[i] - high - low;
  } else {
    for (int64_t i = 0; i < lines->length; i++)
      for (int k = 0; k < used; k++) to[i * lines->inner + k] = x[i * lines->inner + k] - most[k] - below[k];
  }
  return total;
}

static int
class_loss(const actnn_call *call, bool is_normalized)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *log_prob = optional_output(call, 1);
  Loss loss = {.lines = lines_along(&call->input[0], 1), .scores = call->input[0].data,
               .log_prob = log_prob ? log_prob->data : NULL, .is_normalized = is_normalized};
  float *y = call->output[0].data;
  double part[SLICES], total = 0;
  loss.labels = labels_of(call, 1, 0, loss.lines.length);
  loss.each = loss.labels.reduction == NONE_OF_THEM ? y : NULL;
  if (check_labels(call->trainer, &loss.labels)) return 1;
  int64_t units = loss.lines.units, each = (units + SLICES - 1) / SLICES;
#pragma omp parallel for schedule(static) if (units * loss.lines.length > SERIAL_ELEMENTS / 4)
  for (int64_t slice = 0; slice < SLICES; slice++) {
    int64_t end = (slice + 1) * each < units ? (slice + 1) * each : units;
    part[slice] = 0;
    for (int64_t unit = slice * each; unit < end; unit++) part[slice] += unit_loss(&loss, unit);
  }
  for (int slice = 0; slice < SLICES; slice++) total += part[slice];
  if (!loss.each) y[0] = (float)(total / loss.labels.divisor);
  return 0;
}

int ENTRY(SoftmaxCrossEntropyLoss)(const actnn_call *call);
int
ENTRY(SoftmaxCrossEntropyLoss)(const actnn_call *call)
{
  return class_loss(call, false);
}

int ENTRY(NegativeLogLikelihoodLoss)(const actnn_call *call);
int
ENTRY(NegativeLogLikelihoodLoss)(const actnn_call *call)
{
  return class_loss(call, true);
}

/* Of a line of classes that lie next to each other. */
static void
class_line(const actnn_view *dx, int64_t start, int64_t length, const float *probability, float factor, int64_t label)
{
  enum { RUN = 1024 };
  float buffer[RUN];
  for (int64_t first = 0; first < length; first += RUN) {
    int64_t count = length - first < RUN ? length - first : RUN, at = start + first;
    float *to = bfloat_place(dx, at, buffer);
    for (int64_t i = 0; i < count; i++) to[i] = probability ? factor * probability[at + i] : 0;
    if (label >= first && label < first + count) to[label - first] -= factor;
    bfloat_write(dx, at, count, buffer);
  }
}

/* dx = factor * probability, less factor at the label; probability NULL: zero everywhere. */
static void
gradient_unit(const Lines *lines, const Labels *labels, const float *dy, const float *probability, const actnn_view *dx, int64_t unit)
{
  int used;
  int64_t start = unit_start(lines, unit, &used), first = unit / lines->tiles * lines->inner + unit % lines->tiles * LANES;
  int64_t label[LANES];
  float factor[LANES];
  for (int k = 0; k < used; k++) {
    float weight;
    label[k] = class_of(labels, first + k, &weight);
    factor[k] = label[k] < 0 ? 0 : (float)(weight / labels->divisor) * dy[labels->reduction == NONE_OF_THEM ? first + k : 0];
  }
  if (lines->inner == 1) {
    class_line(dx, start, lines->length, probability, factor[0], label[0]);
    return;
  }
  for (int64_t i = 0; i < lines->length; i++) {
    float buffer[LANES];
    int64_t at = start + i * lines->inner;
    float *to = bfloat_place(dx, at, buffer);
    for (int k = 0; k < used; k++) {
      to[k] = probability ? factor[k] * probability[at + k] : 0;
      if (label[k] == i) to[k] -= factor[k];
    }
    bfloat_write(dx, at, used, buffer);
  }
}

static int
loss_gradient(const actnn_call *call, const float *probability, size_t first_attribute)
{
  if (actnn_is_preparing(call)) return 0;
  Lines lines = lines_along(&call->output[0], 1);
  Labels labels = labels_of(call, 2, first_attribute, lines.length);
  if (check_labels(call->trainer, &labels)) return 1;
#pragma omp parallel for schedule(static) if (lines.units * lines.length > SERIAL_ELEMENTS)
  for (int64_t unit = 0; unit < lines.units; unit++)
    gradient_unit(&lines, &labels, call->input[0].data, probability, &call->output[0], unit);
  return 0;
}

int ENTRY(SoftmaxCrossEntropyGrad)(const actnn_call *call);
int
ENTRY(SoftmaxCrossEntropyGrad)(const actnn_call *call)
{
  return loss_gradient(call, call->input[1].data, 0);
}

/* Attribute 0 is the shape. */
/* ---- rows of scores ------------------------------------------------------------------------------------ */

/* exp(x - most) / sum, less one at the label; of an ignored row zeros. dx may be x. */
static void
row_gradient(const float *x, const actnn_view *dx, int64_t start, int64_t classes, float most, double sum, int64_t label)
{
  float buffer[BLOCK], factor = label < 0 ? 0 : (float)(1 / sum);
  for (int64_t first = 0; first < classes; first += BLOCK) {
    int64_t count = classes - first < BLOCK ? classes - first : BLOCK;
    const float *from = x + start + first;
    float *to = bfloat_place(dx, start + first, buffer);
#pragma omp simd
    for (int64_t i = 0; i < count; i++) to[i] = label < 0 ? 0 : exp_float(from[i] - most) * factor;
    if (label >= first && label < first + count) to[label - first] -= 1;
    bfloat_write(dx, start + first, count, buffer);
  }
}

int ENTRY(CrossEntropyRows)(const actnn_call *call);
int
ENTRY(CrossEntropyRows)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_attribute *ignored = &call->attribute[0];
  const float *scores = call->input[0].data;
  float *loss = call->output[1].data;
  int64_t *winner = call->output[2].data, rows = call->input[0].dim[0], classes = call->input[0].dim[1];
  Labels labels = {.label = &call->input[1], .classes = classes, .ignored = ignored->i, .has_ignored = ignored->kind == ACTNN_INT};
  if (check_labels(call->trainer, &labels)) return 1;
#pragma omp parallel for schedule(static) if (rows * classes > SERIAL_ELEMENTS / 4)
  for (int64_t row = 0; row < rows; row++) {
    const float *x = scores + row * classes;
    float most = most_of(x, classes), weight;
    double sum = exponential_sum(x, NULL, classes, most);
    int64_t label = class_of(&labels, row, &weight);
    winner[row] = 0;
    while (x[0] == x[0] && winner[row] + 1 < classes && x[winner[row]] != most) winner[row]++; /* none is larger than NaN */
    loss[row] = label < 0 ? 0 : most + (float)log(sum) - x[label];
    row_gradient(scores, &call->output[0], row * classes, classes, most, sum, label);
  }
  return 0;
}

int ENTRY(NegativeLogLikelihoodGrad)(const actnn_call *call);
int
ENTRY(NegativeLogLikelihoodGrad)(const actnn_call *call)
{
  return loss_gradient(call, NULL, 1);
}
