/* softmax.cu: softmax, its logarithm, their gradients, and the losses over classes. A tensor is outer x extent x inner, the softmax running
 * over `extent`: a cell has a line, or where inner is not 1 lines side by side. A line is read once from memory, for its greatest element
 * and its sum together, and once more from the cache. */
#include "moving.h"
#include "sums.h"

#include "../src/operators/indices.h"

typedef struct LinesJob {
  Cells cells;
  int64_t length, inner;
  Floats x, dy, y;
  bool is_logarithm;
} LinesJob;

static LinesJob
lines_job(const actnn_call *call, const actnn_view *x, int64_t axis)
{
  AroundAxis around = around_axis(x, axis);
  LinesJob job;
  memset(&job, 0, sizeof job);
  job.cells = cells_of(around.outer, around.inner, around.extent);
  job.length = around.extent;
  job.inner = around.inner;
  job.x = floats_of(x);
  job.y = floats_output(call, 0);
  return job;
}

/* Where the seat's line starts. */
static __device__ int64_t
line_start(const LinesJob &job, const Seat &seat)
{
  return seat.outer * job.length * job.inner + seat.column;
}

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

/* The greatest element and the sum of exp(x - most). Lines without a finite greatest element give NaN, as arithmetic does. */
typedef struct Total {
  float most;
  double sum;
} Total;

/* Elements that are -inf add nothing, also before any other was seen. */
static __device__ float
term_of(float x, float most)
{
  return x == -INFINITY ? 0 : expf(x - most);
}

static __device__ void
widen_total(Total *total, const float *x, int count)
{
  float most = total->most, sum = 0;
  for (int k = 0; k < count; k++)
    most = x[k] > most ? x[k] : most;
  if (most > total->most) {
    total->sum *= expf(total->most - most);
    total->most = most;
  }
  for (int k = 0; k < count; k++)
    sum += term_of(x[k], most);
  total->sum += sum;
}

/* Of the whole line, in all of its lanes. */
static __device__ Total
total_of(const LinesJob &job, const Seat &seat, int64_t start, int64_t end)
{
  Total total = {-INFINITY, 0};
  for_terms<float>(seat.lane, end, job.cells.lanes, [&](int64_t i) { return job.x[start + i * job.inner]; },
                   [&](const float *x, int count, int64_t) { widen_total(&total, x, count); });
  float most = cell_fold(total.most, larger_of<float>(), job.cells.width, job.cells.lanes);
  total.sum = cell_sum(job.cells, total.most == most ? total.sum : total.sum * expf(total.most - most));
  total.most = most;
  return total;
}

static __device__ void
write_logarithms(const LinesJob &job, const Seat &seat, int64_t start, int64_t end, Total total, float below)
{
  write_terms<float>(seat.lane, end, job.cells.lanes, [&](int64_t i) { return job.x[start + i * job.inner]; }, job.y, start, job.inner,
                     [&](float x, int64_t) { return x - total.most - below; });
}

KERNEL
softmax(LinesJob job)
{
  Seat seat = take_seat(job.cells);
  int64_t start = line_start(job, seat), end = seat.is_inside ? job.length : 0;
  Total total = total_of(job, seat, start, end);
  if (job.is_logarithm) {
    write_logarithms(job, seat, start, end, total, (float)log(total.sum));
    return;
  }
  float factor = (float)(1 / total.sum);
  write_terms<float>(seat.lane, end, job.cells.lanes, [&](int64_t i) { return job.x[start + i * job.inner]; }, job.y, start, job.inner,
                     [&](float x, int64_t) { return expf(x - total.most) * factor; });
}

/* dx = y (dy - sum(dy y)), or of the logarithm dy - exp(y) sum(dy) */
KERNEL
softmax_gradient(LinesJob job)
{
  Seat seat = take_seat(job.cells);
  int64_t start = line_start(job, seat), end = seat.is_inside ? job.length : 0;
  auto load = [&](int64_t i) {
    Pair pair = {job.dy[start + i * job.inner], job.x[start + i * job.inner]};
    return pair;
  };
  Sums sums = {0, 0, 0};
  add_terms(seat.lane, end, job.cells.lanes, [&](int64_t i) {
    Pair pair = load(i);
    pair.a *= job.is_logarithm ? 1 : pair.b;
    return pair;
  }, &sums);
  float sum = (float)cell_sum(job.cells, sums.a);
  write_terms<Pair>(seat.lane, end, job.cells.lanes, load, job.y, start, job.inner, [&](Pair pair, int64_t) {
    return job.is_logarithm ? pair.a - expf(pair.b) * sum : pair.b * (pair.a - sum);
  });
}

/* The gradient takes dy first, and results of forward for x. */
static int
run_lines(const actnn_call *call, bool is_gradient, bool is_logarithm)
{
  if (!is_for_floats(call, true))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  LinesJob job = lines_job(call, &call->input[is_gradient ? 1 : 0], call->attribute[0].i);
  int64_t blocks = blocks_of_cells(job.cells);
  job.is_logarithm = is_logarithm;
  job.dy = floats_input(call, 0);
  return is_gradient ? LAUNCH_BLOCKS(call, softmax_gradient, blocks, job) : LAUNCH_BLOCKS(call, softmax, blocks, job);
}

#define LINES(NAME, is_gradient, is_logarithm) \
  extern "C" int gpu_##NAME(const actnn_call *call) { return run_lines(call, is_gradient, is_logarithm); }
LINES(Softmax, false, false)
LINES(SoftmaxGrad, true, false)
LINES(LogSoftmax, false, true)
LINES(LogSoftmaxGrad, true, true)

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
  LinesJob lines; /* y: logarithms of probabilities, if they are asked for */
  Labels labels;
  Floats loss; /* of each item */
  float *weight; /* likewise; NULL: not asked for */
  bool is_normalized;   /* scores are logarithms of probabilities already */
} LossJob;

KERNEL
lose(LossJob job)
{
  Seat seat = take_seat(job.lines.cells);
  int64_t start = line_start(job.lines, seat), end = seat.is_inside ? job.lines.length : 0;
  Total total = {0, 1};
  if (!job.is_normalized)
    total = total_of(job.lines, seat, start, end);
  float below = (float)log(total.sum), weight;
  if (job.lines.y.data)
    write_logarithms(job.lines, seat, start, end, total, below);
  if (!seat.is_inside || seat.lane)
    return;
  int64_t item = seat.outer * job.lines.inner + seat.column, label = class_of(job.labels, item, &weight);
  job.loss.put(item, label < 0 ? 0 : -weight * (job.lines.x[start + label * job.lines.inner] - total.most - below));
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
  LossJob job;
  gpu_room room = {0, false};
  memset(&job, 0, sizeof job);
  job.lines = lines_job(call, &call->input[0], 1);
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
  job.lines.y = floats_output(call, 1);
  job.loss = is_each ? floats_output(call, 0) : own;
  job.weight = is_each ? NULL : weight;
  job.is_normalized = is_normalized;
  if (LAUNCH_BLOCKS(call, lose, blocks_of_cells(job.lines.cells), job))
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
