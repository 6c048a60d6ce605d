/* softmax.cu: softmax, its logarithm, their gradients, and the losses over classes. A tensor is outer x extent x inner, the softmax running
 * over `extent`: a cell has a line, or where inner is not 1 lines side by side. A line is read once from memory, for its greatest element
 * and its sum together, and once more from the cache. */
#include "moving.h"
#include "totals.h"

#include "../src/operators/indices.h"

typedef struct Lines {
  Cells cells;
  int64_t length, inner;
} Lines;

static Lines
lines_along(const actnn_view *x, int64_t axis)
{
  AroundAxis around = around_axis(x, axis);
  Lines lines = {cells_of(around.outer, around.inner, around.extent), around.extent, around.inner};
  return lines;
}

/* Where the seat's line starts. */
static __device__ int64_t
line_start(const Lines &lines, const Seat &seat)
{
  return seat.outer * lines.length * lines.inner + seat.column;
}

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

/* Of the whole line, in all of its lanes. */
template <typename Form>
static __device__ Total
total_of(const Lines &lines, const Form &x, const Seat &seat, int64_t start, int64_t end)
{
  Total total = {-INFINITY, 0};
  for_terms<float>(seat.lane, end, lines.cells.lanes, [&](int64_t i) { return x[start + i * lines.inner]; },
                   [&](const float *term, int count, int64_t) { widen_total(&total, term, count); });
  return cell_total(lines.cells, total);
}

template <typename Form>
static __device__ void
write_logarithms(const Lines &lines, const Form &x, const Form &y, const Seat &seat, int64_t start, int64_t end, Total total, float below)
{
  write_terms<float>(seat.lane, end, lines.cells.lanes, [&](int64_t i) { return x[start + i * lines.inner]; }, y, start, lines.inner,
                     [&](float term, int64_t) { return term - total.most - below; });
}

typedef enum Result { PROBABILITIES, GUARDED_PROBABILITIES, LOGARITHMS } Result;

/* Guarded: a line that has no probabilities becomes zeros. */
template <typename Form>
KERNEL
softmax(Lines lines, Form x, Form y, Result result)
{
  Seat seat = take_seat(lines.cells);
  int64_t start = line_start(lines, seat), end = seat.is_inside ? lines.length : 0;
  Total total = total_of(lines, x, seat, start, end);
  if (result == LOGARITHMS) {
    write_logarithms(lines, x, y, seat, start, end, total, (float)log(total.sum));
    return;
  }
  bool is_lost = result == GUARDED_PROBABILITIES && !(total.sum > 0);
  float factor = (float)(1 / total.sum);
  write_terms<float>(seat.lane, end, lines.cells.lanes, [&](int64_t i) { return x[start + i * lines.inner]; }, y, start, lines.inner,
                     [&](float term, int64_t) { return is_lost ? 0 : expf(term - total.most) * factor; });
}

/* dx = y (dy - sum(dy y)), or of the logarithm dy - exp(y) sum(dy) */
template <typename Form>
KERNEL
softmax_gradient(Lines lines, Form dy, Form y, Form dx, bool is_logarithm)
{
  Seat seat = take_seat(lines.cells);
  int64_t start = line_start(lines, seat), end = seat.is_inside ? lines.length : 0;
  auto load = [&](int64_t i) {
    Pair pair = {dy[start + i * lines.inner], y[start + i * lines.inner]};
    return pair;
  };
  Sums sums = {0, 0, 0};
  add_terms(seat.lane, end, lines.cells.lanes, [&](int64_t i) {
    Pair pair = load(i);
    pair.a *= is_logarithm ? 1 : pair.b;
    return pair;
  }, &sums);
  float sum = (float)cell_sum(lines.cells, sums.a);
  write_terms<Pair>(seat.lane, end, lines.cells.lanes, load, dx, start, lines.inner, [&](Pair pair, int64_t) {
    return is_logarithm ? pair.a - expf(pair.b) * sum : pair.b * (pair.a - sum);
  });
}

static int
run_softmax(const actnn_call *call, bool is_logarithm)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  Lines lines = lines_along(x, call->attribute[0].i);
  Result result = is_logarithm ? LOGARITHMS : call->attribute[1].i ? GUARDED_PROBABILITIES : PROBABILITIES;
  return with_form(x, x, y, [=](auto form) {
    return LAUNCH_BLOCKS(call, softmax<decltype(form)>, blocks_of_cells(lines.cells), lines, in_form(form, x), in_form(form, y), result);
  });
}

static int
run_softmax_gradient(const actnn_call *call, bool is_logarithm)
{
  const actnn_view *dy = &call->input[0], *y = &call->input[1], *dx = &call->output[0];
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  Lines lines = lines_along(y, call->attribute[0].i);
  return with_form(dy, y, dx, [=](auto form) {
    return LAUNCH_BLOCKS(call, softmax_gradient<decltype(form)>, blocks_of_cells(lines.cells), lines, in_form(form, dy), in_form(form, y),
                         in_form(form, dx), is_logarithm);
  });
}

#define LINES(NAME, run, is_logarithm) \
  extern "C" int gpu_##NAME(const actnn_call *call) { return run(call, is_logarithm); }
LINES(Softmax, run_softmax, false)
LINES(SoftmaxGrad, run_softmax_gradient, false)
LINES(LogSoftmax, run_softmax, true)
LINES(LogSoftmaxGrad, run_softmax_gradient, true)

/* ---- labels ------------------------------------------------------------------------------------------------------ */

typedef enum Reduction { NONE_OF_THEM, SUM_OF_ALL, MEAN_OF_ALL } Reduction;

typedef struct Labels {
  const int64_t *label;
  Floats weight; /* without one: all 1 */
  int64_t items, classes, ignored;
  bool has_ignored;
  Reduction reduction;
  gpu_notes *notes;
} Labels;

/* Operand `label` and the next, their weights; attributes `first` and following: ignore_index, reduction. False when they do not suit:
 * other operands are floats, and labels 64-bit integers. */
static bool
labels_of(const actnn_call *call, size_t label, size_t first, int64_t classes, Labels *labels)
{
  const actnn_attribute *ignored = &call->attribute[first];
  const char *reduction = call->attribute[first + 1].text;
  if (!are_floats(call->input, label, true) || call->input[label].type != ACTNN_I64 ||
      !are_floats(call->output, call->output_count, true) || !are_floats(call->input + label + 1, call->input_count - label - 1, true))
    return false;
  labels->label = (const int64_t *)call->input[label].data;
  labels->weight = floats_input(call, label + 1);
  labels->items = element_count(&call->input[label]);
  labels->classes = classes;
  labels->ignored = ignored->i;
  labels->has_ignored = ignored->kind == ACTNN_INT;
  labels->reduction = !strcmp(reduction, "none") ? NONE_OF_THEM : !strcmp(reduction, "sum") ? SUM_OF_ALL : MEAN_OF_ALL;
  labels->notes = call->trainer->device_state->notes;
  return true;
}

/* -1: ignored, or refused. */
static __device__ int64_t
class_of(const Labels &labels, int64_t item, float *weight)
{
  int64_t label = labels.label[item];
  *weight = 0;
  if (labels.has_ignored && label == labels.ignored)
    return -1;
  if (label < 0 || label >= labels.classes) {
    note_refusal(labels.notes, BAD_LABEL, label, labels.classes);
    return -1;
  }
  *weight = labels.weight.data ? labels.weight[label] : 1;
  return label;
}

/* ---- losses ------------------------------------------------------------------------------------------------------ */

typedef struct LossJob {
  Lines lines;
  Labels labels;
  Floats loss;        /* of each item */
  float *weight;      /* likewise; NULL: not asked for */
  bool is_normalized; /* scores are logarithms of probabilities already */
} LossJob;

/* y: logarithms of probabilities, if they are asked for. */
template <typename Form>
KERNEL
lose(LossJob job, Form x, Form y)
{
  Seat seat = take_seat(job.lines.cells);
  int64_t start = line_start(job.lines, seat), end = seat.is_inside ? job.lines.length : 0;
  Total total = {0, 1};
  if (!job.is_normalized)
    total = total_of(job.lines, x, seat, start, end);
  float below = (float)log(total.sum), weight;
  if (y.data)
    write_logarithms(job.lines, x, y, seat, start, end, total, below);
  if (!seat.is_inside || seat.lane)
    return;
  int64_t item = seat.outer * job.lines.inner + seat.column, label = class_of(job.labels, item, &weight);
  job.loss.put(item, label < 0 ? 0 : -weight * (x[start + label * job.lines.inner] - total.most - below));
  if (job.weight)
    job.weight[item] = weight;
}

struct item_terms : term_kind<2, false> {
  const float *loss, *weight;
  __device__ Pair at(int64_t item, int64_t, float) const
  {
    Pair pair = {loss[item], weight[item]};
    return pair;
  }
};

struct write_loss {
  Floats y;
  bool is_mean;
  __device__ void operator()(int64_t, const Sums &sums) const { y.put(0, (float)(is_mean ? sums.a / sums.b : sums.a)); }
};

static int
class_loss(const actnn_call *call, bool is_normalized)
{
  const actnn_view *scores = &call->input[0], *logarithms = optional_output(call, 1);
  LossJob job;
  gpu_room room = {0, false};
  memset(&job, 0, sizeof job);
  job.lines = lines_along(scores, 1);
  if (!labels_of(call, 1, 0, job.lines.length, &job.labels))
    return DEVICE_DECLINES;
  bool is_each = job.labels.reduction == NONE_OF_THEM;
  Fold fold = matrix_fold(1, job.labels.items, true);
  Sums *partial = take_partial(call, &room, fold);
  float *loss = take_room<float>(call, &room, is_each ? 0 : job.labels.items);
  float *weight = take_room<float>(call, &room, is_each ? 0 : job.labels.items);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  Floats own = {loss, false};
  job.loss = is_each ? floats_output(call, 0) : own;
  job.weight = is_each ? NULL : weight;
  job.is_normalized = is_normalized;
  int failed = with_form(scores, scores, logarithms, [=](auto form) {
    return LAUNCH_BLOCKS(call, lose<decltype(form)>, blocks_of_cells(job.lines.cells), job, in_form(form, scores),
                         in_form(form, logarithms));
  });
  if (failed)
    return 1;
  item_terms term;
  term.loss = loss;
  term.weight = weight;
  write_loss finish = {floats_output(call, 0), job.labels.reduction == MEAN_OF_ALL};
  return is_each ? 0 : run_fold(call, fold, term, finish, partial);
}

extern "C" int
gpu_SoftmaxCrossEntropyLoss(const actnn_call *call)
{
  return class_loss(call, false);
}

extern "C" int
gpu_NegativeLogLikelihoodLoss(const actnn_call *call)
{
  return class_loss(call, true);
}

/* ---- their gradients --------------------------------------------------------------------------------------------- */

struct weight_terms : term_kind<1, false> {
  Labels labels;
  __device__ Pair at(int64_t item, int64_t, float) const
  {
    Pair pair = {0, 0};
    class_of(labels, item, &pair.a);
    return pair;
  }
};

struct write_inverse {
  float *inverse;
  __device__ void operator()(int64_t, const Sums &sums) const { *inverse = (float)(1 / sums.a); }
};

/* dx = factor * probability, less factor at the label; without a probability: zero everywhere else. */
typedef struct ClassJob {
  Labels labels;
  Floats dy, probability, dx;
  const float *inverse; /* of the divisor; NULL: 1 */
  int64_t count;
  Divisor inner, classes;
} ClassJob;

KERNEL
class_gradient(ClassJob job)
{
  float value[TAKEN_AT_ONCE], inverse = job.inverse ? *job.inverse : 1;
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each), line = quotient(i, job.inner), outer = quotient(line, job.classes);
    if (i >= job.count)
      break;
    float weight;
    int64_t item = outer * job.inner.number + i - line * job.inner.number, label = class_of(job.labels, item, &weight);
    float factor = label < 0 ? 0 : weight * inverse * job.dy[job.labels.reduction == NONE_OF_THEM ? item : 0];
    value[each] = job.probability.data ? factor * job.probability[i] : 0;
    if (line - outer * job.classes.number == label)
      value[each] -= factor;
  }
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each);
    if (i < job.count)
      job.dx.put(i, value[each]);
  }
}

/* first: the attribute that is ignore_index. */
static int
loss_gradient(const actnn_call *call, bool has_probability, size_t first)
{
  AroundAxis around = around_axis(&call->output[0], 1);
  Labels labels;
  gpu_room room = {0, false};
  if (!labels_of(call, 2, first, around.extent, &labels))
    return DEVICE_DECLINES;
  Fold fold = matrix_fold(1, labels.items, true);
  Sums *partial = take_partial(call, &room, fold);
  float *inverse = take_room<float>(call, &room, 1);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  weight_terms term;
  term.labels = labels;
  write_inverse finish = {inverse};
  bool is_mean = labels.reduction == MEAN_OF_ALL;
  if (is_mean && run_fold(call, fold, term, finish, partial))
    return 1;
  ClassJob job = {labels, floats_input(call, 0), has_probability ? floats_input(call, 1) : Floats(), floats_output(call, 0),
                  is_mean ? inverse : NULL, around.outer * around.extent * around.inner, divisor_of(around.inner),
                  divisor_of(around.extent)};
  return LAUNCH(call, class_gradient, threads_of(job.count, TAKEN_AT_ONCE), job);
}

extern "C" int
gpu_SoftmaxCrossEntropyGrad(const actnn_call *call)
{
  return loss_gradient(call, true, 0);
}

/* Attribute 0 is the shape. */
extern "C" int
gpu_NegativeLogLikelihoodGrad(const actnn_call *call)
{
  return loss_gradient(call, false, 1);
}

/* ---- rows of scores ---------------------------------------------------------------------------------------------- */

typedef struct RowJob {
  Lines lines;
  Labels labels;
  Floats loss;
  int64_t *winner;
} RowJob;

/* dx: what the losses' sum has for a gradient; x itself, perhaps: who reads an element is who writes it. */
template <typename Form>
KERNEL
lose_rows(RowJob job, Form x, Form dx)
{
  Seat seat = take_seat(job.lines.cells);
  int64_t start = line_start(job.lines, seat), end = seat.is_inside ? job.lines.length : 0, label = -1, first = INT64_MAX;
  float weight;
  Total total = total_of(job.lines, x, seat, start, end);
  float factor = (float)(1 / total.sum), above = total.most + (float)log(total.sum);
  if (seat.is_inside)
    label = class_of(job.labels, seat.outer, &weight);
  auto look = [&](float term, int64_t i) {
    if ((term == total.most && i < first) || (i == 0 && term != term)) /* none is larger than NaN */
      first = i;
    if (i == label)
      job.loss.put(seat.outer, above - term);
    return label < 0 ? 0 : expf(term - total.most) * factor - (i == label ? 1.0f : 0.0f);
  };
  write_terms<float>(seat.lane, end, job.lines.cells.lanes, [&](int64_t i) { return x[start + i]; }, dx, start, 1, look);
  first = cell_fold(first, [](int64_t a, int64_t b) { return a < b ? a : b; }, job.lines.cells.width, job.lines.cells.lanes);
  if (!seat.is_inside || seat.lane)
    return;
  job.winner[seat.outer] = first < end ? first : 0;
  if (label < 0)
    job.loss.put(seat.outer, 0);
}

extern "C" int
gpu_CrossEntropyRows(const actnn_call *call)
{
  const actnn_view *scores = &call->input[0], *label = &call->input[1], *gradient = &call->output[0];
  const actnn_attribute *ignored = &call->attribute[0];
  if (!are_floats(scores, 1, true) || label->type != ACTNN_I64 || !are_floats(call->output, 2, true))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  RowJob job;
  memset(&job, 0, sizeof job);
  job.lines = lines_along(scores, 1);
  job.labels.label = (const int64_t *)label->data;
  job.labels.classes = job.lines.length;
  job.labels.ignored = ignored->i;
  job.labels.has_ignored = ignored->kind == ACTNN_INT;
  job.labels.notes = call->trainer->device_state->notes;
  job.loss = floats_output(call, 1);
  job.winner = (int64_t *)call->output[2].data;
  return with_form(scores, scores, gradient, [=](auto form) {
    return LAUNCH_BLOCKS(call, lose_rows<decltype(form)>, blocks_of_cells(job.lines.cells), job, in_form(form, scores),
                         in_form(form, gradient));
  });
}
