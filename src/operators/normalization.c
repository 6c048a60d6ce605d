/* normalization.c: plain loops of the normalizations by channel, layer and group. Statistics are two passes in
 * double. */
#include "evaluation.h"

/* x as N x C x P. */
typedef struct Channels {
  int64_t samples, channels, positions;
} Channels;

static Channels
channels_of(const actnn_view *x)
{
  Channels c = {x->dim[0], x->rank > 1 ? x->dim[1] : 1, 1};
  for (int i = 2; i < x->rank; i++) c.positions *= x->dim[i];
  return c;
}

static void
channel_moments(const REAL *x, Channels c, int64_t channel, double *mean, double *variance)
{
  double count = (double)(c.samples * c.positions), sum = 0, squares = 0;
  for (int64_t n = 0; n < c.samples; n++)
    for (int64_t p = 0; p < c.positions; p++) sum += x[(n * c.channels + channel) * c.positions + p];
  *mean = sum / count;
  for (int64_t n = 0; n < c.samples; n++)
    for (int64_t p = 0; p < c.positions; p++) {
      double apart = x[(n * c.channels + channel) * c.positions + p] - *mean;
      squares += apart * apart;
    }
  *variance = squares / count;
}

static void
apply_to_channel(const REAL *x, REAL *y, Channels c, int64_t channel, double mean, double factor, double bias)
{
  for (int64_t n = 0; n < c.samples; n++)
    for (int64_t p = 0; p < c.positions; p++) {
      int64_t at = (n * c.channels + channel) * c.positions + p;
      y[at] = (REAL)((x[at] - mean) * factor + bias);
    }
}

static void
store_at(const actnn_view *view, int64_t index, double value)
{
  if (view) ((REAL *)view->data)[index] = (REAL)value;
}

int EVALUATE(BatchNormalization)(const actnn_call *call);
int
EVALUATE(BatchNormalization)(const actnn_call *call)
{
  const REAL *x = call->input[0].data, *scale = call->input[1].data, *b = call->input[2].data;
  const REAL *mean = call->input[3].data, *variance = call->input[4].data;
  Channels c = channels_of(&call->input[0]);
  double epsilon = call->attribute[0].f, momentum = call->attribute[1].f;
  bool is_training = call->attribute[2].i != 0;
  for (int64_t k = 0; k < c.channels; k++) {
    double m = mean[k], v = variance[k];
    if (is_training) {
      channel_moments(x, c, k, &m, &v);
      store_at(optional_output(call, 1), k, mean[k] * momentum + m * (1 - momentum));
      store_at(optional_output(call, 2), k, variance[k] * momentum + v * (1 - momentum));
    }
    apply_to_channel(x, call->output[0].data, c, k, m, scale[k] / sqrt(v + epsilon), b[k]);
  }
  return 0;
}

int EVALUATE(BatchNorm)(const actnn_call *call);
int
EVALUATE(BatchNorm)(const actnn_call *call)
{
  const REAL *x = call->input[0].data, *scale = call->input[1].data, *b = call->input[2].data;
  const REAL *running_mean = call->input[3].data, *running_variance = call->input[4].data;
  Channels c = channels_of(&call->input[0]);
  double epsilon = call->attribute[0].f, momentum = call->attribute[1].f;
  for (int64_t k = 0; k < c.channels; k++) {
    double mean, variance;
    channel_moments(x, c, k, &mean, &variance);
    double rstd = 1 / sqrt(variance + epsilon);
    store_at(optional_output(call, 1), k, running_mean[k] * momentum + mean * (1 - momentum));
    store_at(optional_output(call, 2), k, running_variance[k] * momentum + variance * (1 - momentum));
    store_at(optional_output(call, 3), k, mean);
    store_at(optional_output(call, 4), k, rstd);
    apply_to_channel(x, call->output[0].data, c, k, mean, scale[k] * rstd, b[k]);
  }
  return 0;
}

int EVALUATE(BatchNormApply)(const actnn_call *call);
int
EVALUATE(BatchNormApply)(const actnn_call *call)
{
  const REAL *x = call->input[0].data, *scale = call->input[1].data, *b = call->input[2].data;
  const REAL *mean = call->input[3].data, *rstd = call->input[4].data;
  Channels c = channels_of(&call->input[0]);
  for (int64_t k = 0; k < c.channels; k++) apply_to_channel(x, call->output[0].data, c, k, mean[k], scale[k] * rstd[k], b[k]);
  return 0;
}

/* Sums of dy and of dy times the normalized x over one channel. */
static void
channel_sums(const REAL *dy, const REAL *x, Channels c, int64_t channel, double mean, double rstd, double *sum,
             double *projected)
{
  *sum = *projected = 0;
  for (int64_t n = 0; n < c.samples; n++)
    for (int64_t p = 0; p < c.positions; p++) {
      int64_t at = (n * c.channels + channel) * c.positions + p;
      *sum += dy[at];
      *projected += dy[at] * ((x[at] - mean) * rstd);
    }
}

int EVALUATE(BatchNormGrad)(const actnn_call *call);
int
EVALUATE(BatchNormGrad)(const actnn_call *call)
{
  const REAL *dy = call->input[0].data, *x = call->input[1].data, *scale = call->input[2].data;
  const REAL *mean = call->input[3].data, *rstd = call->input[4].data;
  REAL *dx = call->output[0].data;
  Channels c = channels_of(&call->input[1]);
  double count = (double)(c.samples * c.positions);
  for (int64_t k = 0; k < c.channels; k++) {
    double sum, projected;
    channel_sums(dy, x, c, k, mean[k], rstd[k], &sum, &projected);
    store_at(optional_output(call, 1), k, projected);
    store_at(optional_output(call, 2), k, sum);
    for (int64_t n = 0; dx && n < c.samples; n++)
      for (int64_t p = 0; p < c.positions; p++) {
        int64_t at = (n * c.channels + k) * c.positions + p;
        double normalized = ((double)x[at] - mean[k]) * rstd[k];
        dx[at] = (REAL)((double)scale[k] * rstd[k] * (dy[at] - sum / count - normalized * projected / count));
      }
  }
  return 0;
}

/* ---- saved once: what the code stands for is the normalized value ------------------------------------------ */

int EVALUATE(BatchNormStatistics)(const actnn_call *call);
int
EVALUATE(BatchNormStatistics)(const actnn_call *call)
{
  const REAL *running_mean = call->input[1].data, *running_variance = call->input[2].data;
  Channels c = channels_of(&call->input[0]);
  double epsilon = call->attribute[0].f, momentum = call->attribute[1].f;
  for (int64_t k = 0; k < c.channels; k++) {
    double mean, variance;
    channel_moments(call->input[0].data, c, k, &mean, &variance);
    store_at(optional_output(call, 0), k, mean);
    store_at(optional_output(call, 1), k, 1 / sqrt(variance + epsilon));
    store_at(optional_output(call, 2), k, running_mean[k] * momentum + mean * (1 - momentum));
    store_at(optional_output(call, 3), k, running_variance[k] * momentum + variance * (1 - momentum));
  }
  return 0;
}

/* One element of the affine function that follows; passes: whether the rectifier, if there is one, lets it pass (Relu, or, with a
 * cap, Clip). */
static double
affine_element(const actnn_call *call, double x, const REAL *scale, const REAL *b, int64_t channel, bool *passes)
{
  double y = scale[channel] * x + b[channel], cap = call->attribute[2].f;
  bool blocks = call->attribute[1].i && (cap > 0 ? y < 0 : !(y > 0)), saturates = call->attribute[1].i && cap > 0 && y > cap;
  *passes = !blocks && !saturates;
  return blocks ? 0 : saturates ? cap : y;
}

int EVALUATE(normalize_on_save)(const actnn_call *call);
int
EVALUATE(normalize_on_save)(const actnn_call *call)
{
  const REAL *mean = call->input[1].data, *rstd = call->input[2].data, *scale = call->input[3].data, *b = call->input[4].data;
  Channels c = channels_of(&call->input[0]);
  for (int64_t i = 0; i < c.samples * c.channels * c.positions; i++) {
    int64_t k = i / c.positions % c.channels;
    double x = (load_element(&call->input[0], i) - mean[k]) * rstd[k];
    bool passes;
    store_element(&call->output[0], i, affine_element(call, x, scale, b, k, &passes));
    store_element(&call->output[1], i, x);
  }
  return 0;
}

int EVALUATE(dequantize_normal)(const actnn_call *call);
int
EVALUATE(dequantize_normal)(const actnn_call *call)
{
  const REAL *scale = call->input[1].data, *b = call->input[2].data;
  Channels c = channels_of(&call->input[0]);
  for (int64_t i = 0; i < c.samples * c.channels * c.positions; i++) {
    bool passes;
    store_element(&call->output[0], i, affine_element(call, load_element(&call->input[0], i), scale, b, i / c.positions % c.channels, &passes));
  }
  return 0;
}

/* What of a gradient the rectifier lets pass. */
static double
passed_gradient(const actnn_call *call, int64_t i, int64_t channel)
{
  const REAL *scale = call->input[2].data, *b = call->input[3].data;
  bool passes;
  affine_element(call, load_element(&call->input[1], i), scale, b, channel, &passes);
  return passes ? load_element(&call->input[0], i) : 0;
}

int EVALUATE(normal_gradient_scale)(const actnn_call *call);
int
EVALUATE(normal_gradient_scale)(const actnn_call *call)
{
  Channels c = channels_of(&call->input[0]);
  for (int64_t k = 0; k < c.channels; k++) {
    double sum = 0, projected = 0;
    for (int64_t at = 0; at < c.samples * c.positions; at++) {
      int64_t i = (at / c.positions * c.channels + k) * c.positions + at % c.positions;
      sum += passed_gradient(call, i, k);
      projected += passed_gradient(call, i, k) * load_element(&call->input[1], i);
    }
    store_at(optional_output(call, 0), k, projected);
    store_at(optional_output(call, 1), k, sum);
  }
  return 0;
}

int EVALUATE(normal_gradient_input)(const actnn_call *call);
int
EVALUATE(normal_gradient_input)(const actnn_call *call)
{
  const REAL *scale = call->input[2].data, *rstd = call->input[4].data, *projected = call->input[5].data, *sum = call->input[6].data;
  Channels c = channels_of(&call->input[0]);
  double count = (double)(c.samples * c.positions);
  for (int64_t i = 0; i < c.samples * c.channels * c.positions; i++) {
    int64_t k = i / c.positions % c.channels;
    double inner = passed_gradient(call, i, k) - sum[k] / count - load_element(&call->input[1], i) * projected[k] / count;
    store_element(&call->output[0], i, (double)scale[k] * rstd[k] * inner);
  }
  return 0;
}

int EVALUATE(BatchNormFrozenGrad)(const actnn_call *call);
int
EVALUATE(BatchNormFrozenGrad)(const actnn_call *call)
{
  const REAL *dy = call->input[0].data, *x = call->input[1].data, *scale = call->input[2].data;
  const REAL *mean = call->input[3].data, *variance = call->input[4].data;
  REAL *dx = call->output[0].data;
  Channels c = channels_of(&call->input[1]);
  for (int64_t k = 0; k < c.channels; k++) {
    double sum, projected, rstd = 1 / sqrt(variance[k] + call->attribute[0].f);
    channel_sums(dy, x, c, k, mean[k], rstd, &sum, &projected);
    store_at(optional_output(call, 1), k, projected);
    store_at(optional_output(call, 2), k, sum);
    if (dx) apply_to_channel(dy, dx, c, k, 0, scale[k] * rstd, 0);
  }
  return 0;
}

/* ---- by layer ------------------------------------------------------------------------------------- */

/* x as rows of the elements that are normalized together. */
static void
rows_of(const actnn_view *x, int64_t axis, int64_t *rows, int64_t *length)
{
  if (axis < 0) axis += x->rank;
  *rows = *length = 1;
  for (int i = 0; i < x->rank; i++) *(i < axis ? rows : length) *= x->dim[i];
}

static void
row_moments(const REAL *x, int64_t length, double *mean, double *variance)
{
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < length; i++) sum += x[i];
  *mean = sum / (double)length;
  for (int64_t i = 0; i < length; i++) squares += (x[i] - *mean) * (x[i] - *mean);
  *variance = squares / (double)length;
}

int EVALUATE(LayerNormalization)(const actnn_call *call);
int
EVALUATE(LayerNormalization)(const actnn_call *call)
{
  const REAL *x = call->input[0].data, *scale = call->input[1].data;
  const actnn_view *b = optional_input(call, 2);
  REAL *y = call->output[0].data;
  int64_t rows, length;
  rows_of(&call->input[0], call->attribute[0].i, &rows, &length);
  for (int64_t r = 0; r < rows; r++, x += length, y += length) {
    double mean, variance;
    row_moments(x, length, &mean, &variance);
    double rstd = 1 / sqrt(variance + call->attribute[1].f);
    for (int64_t i = 0; i < length; i++)
      y[i] = (REAL)((x[i] - mean) * rstd * scale[i] + (b ? ((const REAL *)b->data)[i] : 0));
    store_at(optional_output(call, 1), r, mean);
    store_at(optional_output(call, 2), r, rstd);
  }
  return 0;
}

static void
clear(const actnn_view *view, int64_t count)
{
  for (int64_t i = 0; view && i < count; i++) ((REAL *)view->data)[i] = 0;
}

/* What is added to a gradient at an element. */
static double
earlier_at(const actnn_view *sum, int64_t index)
{
  return sum ? (double)((const REAL *)sum->data)[index] : 0;
}

static void
add_at(const actnn_view *view, int64_t index, double value)
{
  if (view) ((REAL *)view->data)[index] += (REAL)value;
}

int EVALUATE(LayerNormalizationGrad)(const actnn_call *call);
int
EVALUATE(LayerNormalizationGrad)(const actnn_call *call)
{
  const REAL *dy = call->input[0].data, *x = call->input[1].data, *scale = call->input[2].data;
  const REAL *mean = call->input[3].data, *rstd = call->input[4].data;
  const actnn_view *dx = optional_output(call, 0), *dscale = optional_output(call, 1), *db = optional_output(call, 2);
  const actnn_view *earlier = optional_input(call, 5);
  int64_t rows, length;
  rows_of(&call->input[1], call->attribute[0].i, &rows, &length);
  clear(dscale, length);
  clear(db, length);
  for (int64_t r = 0; r < rows; r++, x += length, dy += length) {
    double sum = 0, projected = 0;
    for (int64_t i = 0; i < length; i++) {
      double normalized = ((double)x[i] - mean[r]) * rstd[r], g = (double)dy[i] * scale[i];
      sum += g;
      projected += g * normalized;
      add_at(dscale, i, dy[i] * normalized);
      add_at(db, i, dy[i]);
    }
    for (int64_t i = 0; i < length; i++) {
      double normalized = ((double)x[i] - mean[r]) * rstd[r], g = (double)dy[i] * scale[i];
      double pulled = rstd[r] * (g - (sum + normalized * projected) / (double)length);
      store_at(dx, r * length + i, earlier_at(earlier, r * length + i) + pulled);
    }
  }
  return 0;
}

int EVALUATE(RMSNormalization)(const actnn_call *call);
int
EVALUATE(RMSNormalization)(const actnn_call *call)
{
  const REAL *x = call->input[0].data, *scale = call->input[1].data;
  REAL *y = call->output[0].data;
  int64_t rows, length;
  rows_of(&call->input[0], call->attribute[0].i, &rows, &length);
  for (int64_t r = 0; r < rows; r++, x += length, y += length) {
    double squares = 0;
    for (int64_t i = 0; i < length; i++) squares += (double)x[i] * x[i];
    double rstd = 1 / sqrt(squares / (double)length + call->attribute[1].f);
    for (int64_t i = 0; i < length; i++) y[i] = (REAL)(x[i] * rstd * scale[i]);
    store_at(optional_output(call, 1), r, rstd);
  }
  return 0;
}

int EVALUATE(RMSNormalizationGrad)(const actnn_call *call);
int
EVALUATE(RMSNormalizationGrad)(const actnn_call *call)
{
  const REAL *dy = call->input[0].data, *x = call->input[1].data, *scale = call->input[2].data;
  const REAL *rstd = call->input[3].data;
  const actnn_view *dx = optional_output(call, 0), *dscale = optional_output(call, 1);
  const actnn_view *earlier = optional_input(call, 4);
  int64_t rows, length;
  rows_of(&call->input[1], call->attribute[0].i, &rows, &length);
  clear(dscale, length);
  for (int64_t r = 0; r < rows; r++, x += length, dy += length) {
    double projected = 0;
    for (int64_t i = 0; i < length; i++) {
      double normalized = (double)x[i] * rstd[r];
      projected += (double)dy[i] * scale[i] * normalized;
      add_at(dscale, i, dy[i] * normalized);
    }
    for (int64_t i = 0; i < length; i++) {
      double normalized = (double)x[i] * rstd[r];
      double pulled = rstd[r] * ((double)dy[i] * scale[i] - normalized * projected / (double)length);
      store_at(dx, r * length + i, earlier_at(earlier, r * length + i) + pulled);
    }
  }
  return 0;
}

/* Attribute 1: whether the mean was taken out. */
int EVALUATE(NormalizedRowsGrad)(const actnn_call *call);
int
EVALUATE(NormalizedRowsGrad)(const actnn_call *call)
{
  const REAL *dy = call->input[0].data, *normalized = call->input[1].data, *scale = call->input[2].data;
  const REAL *rstd = call->input[3].data;
  const actnn_view *dx = optional_output(call, 0), *dscale = optional_output(call, 1), *db = optional_output(call, 2);
  bool is_centered = call->attribute[1].i != 0;
  const actnn_view *earlier = optional_input(call, 4);
  int64_t rows, length;
  rows_of(&call->input[1], call->attribute[0].i, &rows, &length);
  clear(dscale, length);
  clear(db, length);
  for (int64_t r = 0; r < rows; r++, normalized += length, dy += length) {
    double sum = 0, projected = 0;
    for (int64_t i = 0; i < length; i++) {
      double g = (double)dy[i] * scale[i];
      sum += g;
      projected += g * normalized[i];
      add_at(dscale, i, (double)dy[i] * normalized[i]);
      add_at(db, i, dy[i]);
    }
    for (int64_t i = 0; i < length; i++) {
      double shift = (is_centered ? sum : 0) + normalized[i] * projected;
      double pulled = rstd[r] * ((double)dy[i] * scale[i] - shift / (double)length);
      store_at(dx, r * length + i, earlier_at(earlier, r * length + i) + pulled);
    }
  }
  return 0;
}

/* ---- by group: statistics of a group are contiguous in a sample ------------------------------------- */

static int
group_norm(const actnn_call *call, int64_t groups)
{
  const REAL *scale = call->input[1].data, *b = call->input[2].data;
  Channels c = channels_of(&call->input[0]);
  int64_t each = groups ? c.channels / groups : 0, length = each * c.positions;
  for (int64_t g = 0; g < c.samples * groups; g++) {
    const REAL *x = (const REAL *)call->input[0].data + g * length;
    REAL *y = (REAL *)call->output[0].data + g * length;
    double mean, variance;
    row_moments(x, length, &mean, &variance);
    double rstd = 1 / sqrt(variance + call->attribute[0].f);
    for (int64_t i = 0; i < length; i++) {
      int64_t channel = g % groups * each + i / c.positions;
      y[i] = (REAL)((x[i] - mean) * rstd * scale[channel] + b[channel]);
    }
    store_at(optional_output(call, 1), g, mean);
    store_at(optional_output(call, 2), g, rstd);
  }
  return 0;
}

int EVALUATE(GroupNorm)(const actnn_call *call);
int
EVALUATE(GroupNorm)(const actnn_call *call)
{
  return group_norm(call, call->attribute[1].i);
}

int EVALUATE(InstanceNormalization)(const actnn_call *call);
int
EVALUATE(InstanceNormalization)(const actnn_call *call)
{
  return group_norm(call, channels_of(&call->input[0]).channels);
}

int EVALUATE(GroupNormGrad)(const actnn_call *call);
int
EVALUATE(GroupNormGrad)(const actnn_call *call)
{
  const REAL *scale = call->input[2].data, *mean = call->input[3].data, *rstd = call->input[4].data;
  const actnn_view *dx = optional_output(call, 0), *dscale = optional_output(call, 1), *db = optional_output(call, 2);
  Channels c = channels_of(&call->input[1]);
  int64_t groups = call->input[3].dim[1], each = groups ? c.channels / groups : 0, length = each * c.positions;
  clear(dscale, c.channels);
  clear(db, c.channels);
  for (int64_t g = 0; g < c.samples * groups; g++) {
    const REAL *dy = (const REAL *)call->input[0].data + g * length;
    const REAL *x = (const REAL *)call->input[1].data + g * length;
    double sum = 0, projected = 0;
    for (int64_t i = 0; i < length; i++) {
      int64_t channel = g % groups * each + i / c.positions;
      double normalized = ((double)x[i] - mean[g]) * rstd[g];
      sum += (double)dy[i] * scale[channel];
      projected += (double)dy[i] * scale[channel] * normalized;
      add_at(dscale, channel, dy[i] * normalized);
      add_at(db, channel, dy[i]);
    }
    for (int64_t i = 0; i < length; i++) {
      int64_t channel = g % groups * each + i / c.positions;
      double normalized = ((double)x[i] - mean[g]) * rstd[g];
      store_at(dx, g * length + i,
               rstd[g] * ((double)dy[i] * scale[channel] - (sum + normalized * projected) / (double)length));
    }
  }
  return 0;
}
