/* softmax.c: plain loops of softmax and of the losses over classes. */
#include "evaluation.h"

/* One axis as outer x length x inner; line `i` starts at line_start. */
typedef struct Lines {
  int64_t outer, length, inner;
} Lines;

static Lines
lines_along(const actnn_view *view, int64_t axis)
{
  if (axis < 0) axis += view->rank;
  Lines lines = {1, 1, 1};
  for (int i = 0; i < view->rank; i++)
    *(i < axis ? &lines.outer : i > axis ? &lines.inner : &lines.length) *= view->dim[i];
  return lines;
}

static int64_t
line_start(Lines lines, int64_t line)
{
  return line / lines.inner * lines.length * lines.inner + line % lines.inner;
}

/* log(sum(exp(x))) without overflow. */
static double
log_sum_exp(const REAL *x, int64_t length, int64_t stride)
{
  double most = -INFINITY, sum = 0;
  for (int64_t i = 0; i < length; i++)
    if (x[i * stride] > most) most = x[i * stride];
  if (isinf(most)) return most;
  for (int64_t i = 0; i < length; i++) sum += exp(x[i * stride] - most);
  return most + log(sum);
}

static int
softmax(const actnn_call *call, bool is_logarithm)
{
  Lines lines = lines_along(&call->input[0], call->attribute[0].i);
  bool is_guarded = !is_logarithm && call->attribute[1].i;
  for (int64_t line = 0; line < lines.outer * lines.inner; line++) {
    const REAL *x = (const REAL *)call->input[0].data + line_start(lines, line);
    REAL *y = (REAL *)call->output[0].data + line_start(lines, line);
    double total = log_sum_exp(x, lines.length, lines.inner);
    for (int64_t i = 0; i < lines.length; i++) {
      double logarithm = x[i * lines.inner] - total;
      y[i * lines.inner] = (REAL)(is_logarithm ? logarithm : is_guarded && !isfinite(total) ? 0 : exp(logarithm));
    }
  }
  return 0;
}

int EVALUATE(Softmax)(const actnn_call *call);
int
EVALUATE(Softmax)(const actnn_call *call)
{
  return softmax(call, false);
}

int EVALUATE(LogSoftmax)(const actnn_call *call);
int
EVALUATE(LogSoftmax)(const actnn_call *call)
{
  return softmax(call, true);
}

static int
softmax_gradient(const actnn_call *call, bool is_logarithm)
{
  Lines lines = lines_along(&call->input[1], call->attribute[0].i);
  int64_t s = lines.inner;
  for (int64_t line = 0; line < lines.outer * lines.inner; line++) {
    const REAL *dy = (const REAL *)call->input[0].data + line_start(lines, line);
    const REAL *y = (const REAL *)call->input[1].data + line_start(lines, line);
    REAL *dx = (REAL *)call->output[0].data + line_start(lines, line);
    double sum = 0;
    for (int64_t i = 0; i < lines.length; i++) sum += is_logarithm ? dy[i * s] : (double)dy[i * s] * y[i * s];
    for (int64_t i = 0; i < lines.length; i++)
      dx[i * s] = (REAL)(is_logarithm ? dy[i * s] - exp(y[i * s]) * sum : y[i * s] * (dy[i * s] - sum));
  }
  return 0;
}

int EVALUATE(SoftmaxGrad)(const actnn_call *call);
int
EVALUATE(SoftmaxGrad)(const actnn_call *call)
{
  return softmax_gradient(call, false);
}

int EVALUATE(LogSoftmaxGrad)(const actnn_call *call);
int
EVALUATE(LogSoftmaxGrad)(const actnn_call *call)
{
  return softmax_gradient(call, true);
}

/* ---- losses over classes -------------------------------------------------------------------------- */

/* Labels with what they count for. */
typedef struct Labels {
  const actnn_view *label, *weight;
  int64_t classes, ignored;
  bool has_ignored;
} Labels;

static Labels
labels_of(const actnn_call *call, size_t label, size_t weight, size_t ignore_index, int64_t classes)
{
  const actnn_attribute *ignored = &call->attribute[ignore_index];
  return (Labels){&call->input[label], optional_input(call, weight), classes, ignored->i, ignored->kind == ACTNN_INT};
}

/* The class of item i and its weight; -1 where it is ignored or is no class (all is then as if it were ignored; the
 * runtime's kernel refuses it). */
static int64_t
class_of(const Labels *labels, int64_t i, double *weight)
{
  int64_t label = (int64_t)load_element(labels->label, i);
  *weight = 0;
  if ((labels->has_ignored && label == labels->ignored) || label < 0 || label >= labels->classes) return -1;
  *weight = labels->weight ? load_element(labels->weight, label) : 1;
  return label;
}

/* What the items' losses are divided by: their total weight for the mean, else 1. */
static double
divisor_of(const Labels *labels, const char *reduction)
{
  double total = 0, weight;
  if (strcmp(reduction, "mean") != 0) return 1;
  for (int64_t i = 0, items = element_count(labels->label); i < items; i++) {
    class_of(labels, i, &weight);
    total += weight;
  }
  return total;
}

/* Scores are logarithms of probabilities already when is_normalized. */
static int
class_loss(const actnn_call *call, bool is_normalized)
{
  Lines lines = lines_along(&call->input[0], 1);
  Labels labels = labels_of(call, 1, 2, 0, lines.length);
  const char *reduction = call->attribute[1].text;
  const actnn_view *log_prob = optional_output(call, 1);
  REAL *loss = call->output[0].data;
  double sum = 0;
  for (int64_t item = 0; item < lines.outer * lines.inner; item++) {
    int64_t start = line_start(lines, item);
    const REAL *x = (const REAL *)call->input[0].data + start;
    double weight, total = is_normalized ? 0 : log_sum_exp(x, lines.length, lines.inner);
    int64_t label = class_of(&labels, item, &weight);
    double one = label < 0 ? 0 : -weight * (x[label * lines.inner] - total);
    if (!strcmp(reduction, "none")) loss[item] = (REAL)one;
    sum += one;
    for (int64_t i = 0; log_prob && i < lines.length; i++)
      ((REAL *)log_prob->data)[start + i * lines.inner] = (REAL)(x[i * lines.inner] - total);
  }
  if (strcmp(reduction, "none") != 0) loss[0] = (REAL)(sum / divisor_of(&labels, reduction));
  return 0;
}

int EVALUATE(SoftmaxCrossEntropyLoss)(const actnn_call *call);
int
EVALUATE(SoftmaxCrossEntropyLoss)(const actnn_call *call)
{
  return class_loss(call, false);
}

int EVALUATE(NegativeLogLikelihoodLoss)(const actnn_call *call);
int
EVALUATE(NegativeLogLikelihoodLoss)(const actnn_call *call)
{
  return class_loss(call, true);
}

int EVALUATE(SoftmaxCrossEntropyGrad)(const actnn_call *call);
int
EVALUATE(SoftmaxCrossEntropyGrad)(const actnn_call *call)
{
  const REAL *dy = call->input[0].data;
  Lines lines = lines_along(&call->input[1], 1);
  Labels labels = labels_of(call, 2, 3, 0, lines.length);
  bool is_each = !strcmp(call->attribute[1].text, "none");
  double divisor = divisor_of(&labels, call->attribute[1].text), weight;
  for (int64_t item = 0; item < lines.outer * lines.inner; item++) {
    const REAL *probability = (const REAL *)call->input[1].data + line_start(lines, item);
    REAL *dx = (REAL *)call->output[0].data + line_start(lines, item);
    int64_t label = class_of(&labels, item, &weight);
    double factor = label < 0 ? 0 : weight / divisor * dy[is_each ? item : 0];
    for (int64_t i = 0; i < lines.length; i++)
      dx[i * lines.inner] = (REAL)(factor * ((double)probability[i * lines.inner] - (i == label)));
  }
  return 0;
}

int EVALUATE(CrossEntropyRows)(const actnn_call *call);
int
EVALUATE(CrossEntropyRows)(const actnn_call *call)
{
  Lines lines = lines_along(&call->input[0], 1);
  Labels labels = labels_of(call, 1, 2, 0, lines.length);
  for (int64_t row = 0; row < lines.outer; row++) {
    const REAL *x = (const REAL *)call->input[0].data + row * lines.length;
    double weight, total = log_sum_exp(x, lines.length, 1);
    int64_t label = class_of(&labels, row, &weight), winner = 0;
    ((REAL *)call->output[1].data)[row] = (REAL)(label < 0 ? 0 : total - x[label]);
    for (int64_t i = 1; i < lines.length; i++)
      if (x[i] > x[winner]) winner = i;
    ((int64_t *)call->output[2].data)[row] = winner;
    REAL *dx = (REAL *)call->output[0].data + row * lines.length;
    for (int64_t i = 0; i < lines.length; i++) dx[i] = (REAL)(label < 0 ? 0 : exp(x[i] - total) - (i == label));
  }
  return 0;
}

int EVALUATE(NegativeLogLikelihoodGrad)(const actnn_call *call);
int
EVALUATE(NegativeLogLikelihoodGrad)(const actnn_call *call)
{
  const REAL *dy = call->input[0].data;
  Lines lines = lines_along(&call->output[0], 1);
  Labels labels = labels_of(call, 2, 3, 1, lines.length); /* attribute 0 is the shape */
  bool is_each = !strcmp(call->attribute[2].text, "none");
  double divisor = divisor_of(&labels, call->attribute[2].text), weight;
  for (int64_t item = 0; item < lines.outer * lines.inner; item++) {
    REAL *dx = (REAL *)call->output[0].data + line_start(lines, item);
    int64_t label = class_of(&labels, item, &weight);
    for (int64_t i = 0; i < lines.length; i++)
      dx[i * lines.inner] = (REAL)(i == label ? -weight / divisor * dy[is_each ? item : 0] : 0);
  }
  return 0;
}
