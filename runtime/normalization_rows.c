/* normalization_rows.c: normalization within a sample: of rows (LayerNormalization, RMSNormalization) and of groups of
 * channels (GroupNorm, InstanceNormalization). Plain layout; what is normalized together is contiguous.
 *
 * Rows are independent, so threads share them out; gradients of scale and bias are sums over rows, which threads
 * share out by columns: no partial sums, and the same result for any number of threads.
 *
 * Compiled once for each instruction set, see instruction_set.h.
 */
#include "instruction_set.h"

#include <math.h>

enum {
  BLOCK = 2048, /* floats summed in float before the sum goes on in double */
  ROWS = 64     /* rows likewise, in sums down columns */
};

static void
load_some(lanes *vector, const float *x, int64_t count)
{
  if (count >= LANES) {
    LOAD_LANES(*vector, x);
  } else {
    *vector = (lanes){0};
    memcpy(vector, x, (size_t)count * sizeof *x);
  }
}

/* The sum of x. */
static double
sum_of(const float *x, int64_t count)
{
  double sum = 0;
  for (int64_t first = 0; first < count; first += BLOCK) {
    int64_t end = first + BLOCK < count ? first + BLOCK : count, i;
    lanes sums = {0}, value;
    for (i = first; i + LANES <= end; i += LANES) {
      LOAD_LANES(value, x + i);
      EACH_PART sums.part[q] += value.part[q];
    }
    if (i < end) {
      load_some(&value, x + i, end - i);
      EACH_PART sums.part[q] += value.part[q];
    }
    sum += sum_of_lanes(&sums);
  }
  return sum;
}

/* The sum of (x - center)^2. */
static double
squares_of(const float *x, int64_t count, float center)
{
  double sum = 0;
  for (int64_t first = 0; first < count; first += BLOCK) {
    int64_t end = first + BLOCK < count ? first + BLOCK : count, i;
    lanes sums = {0}, value;
    for (i = first; i + LANES <= end; i += LANES) {
      LOAD_LANES(value, x + i);
      EACH_PART sums.part[q] += (value.part[q] - center) * (value.part[q] - center);
    }
    sum += sum_of_lanes(&sums);
    for (; i < end; i++) sum += (double)(x[i] - center) * (x[i] - center);
  }
  return sum;
}

static void
moments_of(const float *x, int64_t count, double *mean, double *variance)
{
  *mean = sum_of(x, count) / (double)count;
  float center = (float)*mean;
  double apart = *mean - center;
  *variance = squares_of(x, count, center) / (double)count - apart * apart;
}

static void
rows_of(const actnn_view *x, int64_t axis, int64_t *rows, int64_t *length)
{
  if (axis < 0) axis += x->rank;
  *rows = *length = 1;
  for (int i = 0; i < x->rank; i++) *(i < axis ? rows : length) *= x->dim[i];
}

static float *
output_or_null(const actnn_call *call, size_t index)
{
  return index < call->output_count ? call->output[index].data : NULL;
}

static const float *
input_or_null(const actnn_call *call, size_t index)
{
  return index < call->input_count ? call->input[index].data : NULL;
}

/* ---- rows, forward: the mean is zero and counts for nothing when !has_mean ----------------------------- */

static int
normalize_rows(const actnn_call *call, bool has_mean, float *means, float *rstds)
{
  if (actnn_is_preparing(call)) return 0;
  const float *x = call->input[0].data, *scale = call->input[1].data, *b = has_mean ? input_or_null(call, 2) : NULL;
  float *y = call->output[0].data;
  double epsilon = call->attribute[1].f;
  int64_t rows, length;
  rows_of(&call->input[0], call->attribute[0].i, &rows, &length);
#pragma omp parallel for schedule(static) if (rows * length > SERIAL_ELEMENTS)
  for (int64_t r = 0; r < rows; r++) {
    const float *from = x + r * length;
    float *to = y + r * length;
    double mean = 0, variance;
    if (has_mean) moments_of(from, length, &mean, &variance);
    else variance = squares_of(from, length, 0) / (double)length;
    float center = (float)mean, rstd = (float)(1 / sqrt(variance + epsilon));
    if (b) {
#pragma omp simd
      for (int64_t i = 0; i < length; i++) to[i] = (from[i] - center) * rstd * scale[i] + b[i];
    } else {
#pragma omp simd
      for (int64_t i = 0; i < length; i++) to[i] = (from[i] - center) * rstd * scale[i];
    }
    if (means) means[r] = center;
    if (rstds) rstds[r] = rstd;
  }
  return 0;
}

int ENTRY(LayerNormalization)(const actnn_call *call);
int
ENTRY(LayerNormalization)(const actnn_call *call)
{
  return normalize_rows(call, true, output_or_null(call, 1), output_or_null(call, 2));
}

int ENTRY(RMSNormalization)(const actnn_call *call);
int
ENTRY(RMSNormalization)(const actnn_call *call)
{
  return normalize_rows(call, false, NULL, output_or_null(call, 1));
}

/* ---- rows, backward --------------------------------------------------------------------------------- */

typedef struct Backward {
  const float *dy, *x, *scale, *mean, *rstd; /* mean NULL: zero */
  const float *sum;                          /* what dx is added to; NULL: nothing */
  float *dx, *dscale, *db;                   /* each may be NULL */
  bool is_centered;                          /* forward took the mean out */
  bool is_normalized;                        /* x is the normalized value already */
  int64_t rows, length;
} Backward;

/* Sums of g = dy * scale and of g * (x - center). */
static void
row_sums(const Backward *b, const float *dy, const float *x, float center, double *sum, double *projected)
{
  *sum = *projected = 0;
  for (int64_t first = 0; first < b->length; first += BLOCK) {
    int64_t end = first + BLOCK < b->length ? first + BLOCK : b->length;
    lanes total = {0}, along = {0}, gradient, value, scale;
    for (int64_t i = first; i < end; i += LANES) {
      load_some(&gradient, dy + i, end - i);
      load_some(&value, x + i, end - i);
      load_some(&scale, b->scale + i, end - i);
      EACH_PART gradient.part[q] *= scale.part[q];
      EACH_PART total.part[q] += gradient.part[q];
      EACH_PART along.part[q] += gradient.part[q] * (value.part[q] - center);
    }
    *sum += sum_of_lanes(&total);
    *projected += sum_of_lanes(&along);
  }
}

static void
pull_row(const Backward *b, int64_t r)
{
  const float *dy = b->dy + r * b->length, *x = b->x + r * b->length, *scale = b->scale;
  float *dx = b->dx + r * b->length, center = b->mean ? b->mean[r] : 0, rstd = b->rstd[r];
  double sum, projected, count = (double)b->length;
  row_sums(b, dy, x, center, &sum, &projected);
  float scaled = b->is_normalized ? 1 : rstd;
  float shift = b->is_centered ? (float)(sum / count) : 0, slope = (float)(projected * scaled * scaled / count);
#pragma omp simd
  for (int64_t i = 0; i < b->length; i++) dx[i] = rstd * (dy[i] * scale[i] - shift - (x[i] - center) * slope);
  const float *sum_row = b->sum ? b->sum + r * b->length : NULL;
#pragma omp simd
  for (int64_t i = 0; i < (sum_row ? b->length : 0); i++) dx[i] += sum_row[i];
}

/* dscale and db of the 16 columns from `column` on. */
static void
column_sums(const Backward *b, int64_t column)
{
  double scale_sum[LANES] = {0}, bias_sum[LANES] = {0};
  int64_t used = b->length - column < LANES ? b->length - column : LANES;
  for (int64_t first = 0; first < b->rows; first += ROWS) {
    int64_t end = first + ROWS < b->rows ? first + ROWS : b->rows;
    lanes along = {0}, total = {0}, gradient, value;
    float part[LANES];
    for (int64_t r = first; r < end; r++) {
      float center = b->mean ? b->mean[r] : 0, scaled = b->is_normalized ? 1 : b->rstd[r];
      load_some(&gradient, b->dy + r * b->length + column, used);
      load_some(&value, b->x + r * b->length + column, used);
      EACH_PART total.part[q] += gradient.part[q];
      EACH_PART along.part[q] += gradient.part[q] * ((value.part[q] - center) * scaled);
    }
    STORE_LANES(part, along);
    for (int k = 0; k < LANES; k++) scale_sum[k] += part[k];
    STORE_LANES(part, total);
    for (int k = 0; k < LANES; k++) bias_sum[k] += part[k];
  }
  for (int64_t k = 0; k < used; k++) {
    if (b->dscale) b->dscale[column + k] = (float)scale_sum[k];
    if (b->db) b->db[column + k] = (float)bias_sum[k];
  }
}

/* Columns first: dx may lie on dy. */
static void
backward_rows(const Backward *b)
{
  int64_t tiles = b->dscale || b->db ? (b->length + LANES - 1) / LANES : 0;
#pragma omp parallel for schedule(static) if (b->rows * b->length > SERIAL_ELEMENTS)
  for (int64_t tile = 0; tile < tiles; tile++) column_sums(b, tile * LANES);
  if (!b->dx) return;
#pragma omp parallel for schedule(static) if (b->rows * b->length > SERIAL_ELEMENTS)
  for (int64_t r = 0; r < b->rows; r++) pull_row(b, r);
}

int ENTRY(LayerNormalizationGrad)(const actnn_call *call);
int
ENTRY(LayerNormalizationGrad)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Backward b = {.dy = call->input[0].data, .x = call->input[1].data, .scale = call->input[2].data,
                .mean = call->input[3].data, .rstd = call->input[4].data, .sum = input_or_null(call, 5), .is_centered = true, .dx = output_or_null(call, 0),
                .dscale = output_or_null(call, 1), .db = output_or_null(call, 2)};
  rows_of(&call->input[1], call->attribute[0].i, &b.rows, &b.length);
  backward_rows(&b);
  return 0;
}

int ENTRY(RMSNormalizationGrad)(const actnn_call *call);
int
ENTRY(RMSNormalizationGrad)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Backward b = {.dy = call->input[0].data, .x = call->input[1].data, .scale = call->input[2].data,
                .rstd = call->input[3].data, .sum = input_or_null(call, 4), .dx = output_or_null(call, 0), .dscale = output_or_null(call, 1)};
  rows_of(&call->input[1], call->attribute[0].i, &b.rows, &b.length);
  backward_rows(&b);
  return 0;
}

/* Attribute 1: whether the mean was taken out. */
int ENTRY(NormalizedRowsGrad)(const actnn_call *call);
int
ENTRY(NormalizedRowsGrad)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Backward b = {.dy = call->input[0].data, .x = call->input[1].data, .scale = call->input[2].data,
                .rstd = call->input[3].data, .sum = input_or_null(call, 4), .is_centered = call->attribute[1].i != 0, .is_normalized = true,
                .dx = output_or_null(call, 0), .dscale = output_or_null(call, 1), .db = output_or_null(call, 2)};
  rows_of(&call->input[1], call->attribute[0].i, &b.rows, &b.length);
  backward_rows(&b);
  return 0;
}

/* ---- groups of channels ------------------------------------------------------------------------------ */

/* x as samples x groups x channels of a group x positions. */
typedef struct Groups {
  int64_t samples, groups, each, positions;
} Groups;

static Groups
groups_of(const actnn_view *x, int64_t groups)
{
  Groups g = {x->dim[0], groups, groups ? x->dim[1] / groups : 0, 1};
  for (int i = 2; i < x->rank; i++) g.positions *= x->dim[i];
  return g;
}

static int
group_norm(const actnn_call *call, int64_t group_count)
{
  if (actnn_is_preparing(call)) return 0;
  const float *x = call->input[0].data, *scale = call->input[1].data, *b = call->input[2].data;
  float *y = call->output[0].data, *means = output_or_null(call, 1), *rstds = output_or_null(call, 2);
  Groups g = groups_of(&call->input[0], group_count);
  int64_t length = g.each * g.positions;
#pragma omp parallel for schedule(static) if (g.samples * g.groups * length > SERIAL_ELEMENTS)
  for (int64_t row = 0; row < g.samples * g.groups; row++) {
    double mean, variance;
    moments_of(x + row * length, length, &mean, &variance);
    float center = (float)mean, rstd = (float)(1 / sqrt(variance + call->attribute[0].f));
    for (int64_t k = 0; k < g.each; k++) {
      int64_t channel = row % g.groups * g.each + k;
      const float *from = x + row * length + k * g.positions;
      float *to = y + row * length + k * g.positions, factor = scale[channel] * rstd, bias = b[channel];
#pragma omp simd
      for (int64_t p = 0; p < g.positions; p++) to[p] = (from[p] - center) * factor + bias;
    }
    if (means) means[row] = center;
    if (rstds) rstds[row] = rstd;
  }
  return 0;
}

int ENTRY(GroupNorm)(const actnn_call *call);
int
ENTRY(GroupNorm)(const actnn_call *call)
{
  return group_norm(call, call->attribute[1].i);
}

int ENTRY(GroupNormalization)(const actnn_call *call);
int
ENTRY(GroupNormalization)(const actnn_call *call)
{
  return group_norm(call, call->attribute[1].i);
}

int ENTRY(InstanceNormalization)(const actnn_call *call);
int
ENTRY(InstanceNormalization)(const actnn_call *call)
{
  return group_norm(call, call->input[0].dim[1]);
}

/* Sums of dy and of dy * (x - center) over one channel of one sample. */
static void
plane_sums(const float *dy, const float *x, int64_t count, float center, double *sum, double *projected)
{
  *sum = *projected = 0;
  for (int64_t first = 0; first < count; first += BLOCK) {
    int64_t end = first + BLOCK < count ? first + BLOCK : count;
    lanes total = {0}, along = {0}, gradient, value;
    for (int64_t i = first; i < end; i += LANES) {
      load_some(&gradient, dy + i, end - i);
      load_some(&value, x + i, end - i);
      EACH_PART total.part[q] += gradient.part[q];
      EACH_PART along.part[q] += gradient.part[q] * (value.part[q] - center);
    }
    *sum += sum_of_lanes(&total);
    *projected += sum_of_lanes(&along);
  }
}

static void
group_parameters(const actnn_call *call, const Groups *g, int64_t channel)
{
  const float *mean = call->input[3].data, *rstd = call->input[4].data;
  float *dscale = output_or_null(call, 1), *db = output_or_null(call, 2);
  double scale_sum = 0, bias_sum = 0;
  for (int64_t n = 0; n < g->samples; n++) {
    int64_t row = n * g->groups + channel / g->each, at = (n * g->groups * g->each + channel) * g->positions;
    double sum, projected;
    plane_sums((const float *)call->input[0].data + at, (const float *)call->input[1].data + at, g->positions, mean[row],
               &sum, &projected);
    scale_sum += projected * rstd[row];
    bias_sum += sum;
  }
  if (dscale) dscale[channel] = (float)scale_sum;
  if (db) db[channel] = (float)bias_sum;
}

static void
pull_group(const actnn_call *call, const Groups *g, int64_t row)
{
  const float *scale = (const float *)call->input[2].data + row % g->groups * g->each;
  int64_t length = g->each * g->positions;
  const float *dy = (const float *)call->input[0].data + row * length, *x = (const float *)call->input[1].data + row * length;
  float *dx = (float *)call->output[0].data + row * length;
  float center = ((const float *)call->input[3].data)[row], rstd = ((const float *)call->input[4].data)[row];
  double total = 0, along = 0, sum, projected;
  for (int64_t k = 0; k < g->each; k++) {
    plane_sums(dy + k * g->positions, x + k * g->positions, g->positions, center, &sum, &projected);
    total += sum * scale[k];
    along += projected * scale[k];
  }
  float shift = (float)(total / (double)length), slope = (float)(along * rstd * rstd / (double)length);
  for (int64_t k = 0; k < g->each; k++) {
    float factor = scale[k];
    int64_t first = k * g->positions;
#pragma omp simd
    for (int64_t i = first; i < first + g->positions; i++)
      dx[i] = rstd * (dy[i] * factor - shift - (x[i] - center) * slope);
  }
}

int ENTRY(GroupNormGrad)(const actnn_call *call);
int
ENTRY(GroupNormGrad)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Groups g = groups_of(&call->input[1], call->input[3].dim[1]);
  int64_t elements = g.samples * g.groups * g.each * g.positions;
#pragma omp parallel for schedule(static) if (elements > SERIAL_ELEMENTS)
  for (int64_t channel = 0; channel < g.groups * g.each; channel++) group_parameters(call, &g, channel);
  if (!call->output[0].data) return 0;
#pragma omp parallel for schedule(static) if (elements > SERIAL_ELEMENTS)
  for (int64_t row = 0; row < g.samples * g.groups; row++) pull_group(call, &g, row);
  return 0;
}
