/* normalization.c: normalization by channel over the batch, forward and backward, plain or blocked.
 *
 * Channels are handled in groups (normalization_walk.h), whose slices' sums are combined in order: the same result for any
 * number of threads. Variances take two passes over a block that lies in the first-level cache, then Chan's
 * formula in double.
 *
 * Compiled once for each instruction set, see instruction_set.h.
 */
#include "normalization_walk.h"

#include <math.h>

enum {
  TASKS = 128, /* slices of groups whose sums are on the stack at a time */
  RUN = 8192   /* floats that one task of an elementwise pass takes */
};

/* ---- moments --------------------------------------------------------------------------------------- */

typedef struct Moments {
  double count, mean[LANES], squares[LANES]; /* squares: of the distances from the mean, summed */
} Moments;

static void
join_moments(Moments *a, double count, const double *mean, const double *squares, int width)
{
  double total = a->count + count;
  if (count == 0) return;
  for (int i = 0; i < width; i++) {
    double apart = mean[i] - a->mean[i];
    a->mean[i] += apart * count / total;
    a->squares[i] += squares[i] + apart * apart * a->count * count / total;
  }
  a->count = total;
}

static void
add_block_moments(Moments *moments, const float *x, int64_t count, int width)
{
  lanes sum = {0}, squares = {0}, rest = {0}, value, center, zero = {0};
  int64_t i, n = count / width;
  for (i = 0; i + LANES <= count; i += LANES) {
    LOAD_LANES(value, x + i);
    EACH_PART sum.part[q] += value.part[q];
  }
  if (i < count) {
    load_tail(&value, x, i, count, &zero);
    EACH_PART sum.part[q] += value.part[q];
  }
  double mean[LANES], square[LANES], left[LANES];
  float about[LANES];
  fold_lanes(&sum, width, mean);
  for (int k = 0; k < width; k++) about[k] = (float)(mean[k] / (double)n);
  fill_lanes(&center, about, width);
#define ADD_APART() \
  EACH_PART \
  { \
    lanes_part apart = value.part[q] - center.part[q]; \
    rest.part[q] += apart; \
    squares.part[q] += apart * apart; \
  }
  for (i = 0; i + LANES <= count; i += LANES) {
    LOAD_LANES(value, x + i);
    ADD_APART()
  }
  if (i < count) {
    load_tail(&value, x, i, count, &center);
    ADD_APART()
  }
#undef ADD_APART
  fold_lanes(&rest, width, left);
  fold_lanes(&squares, width, square);
  for (int k = 0; k < width; k++) {
    mean[k] = about[k] + left[k] / (double)n;
    square[k] -= left[k] * left[k] / (double)n;
  }
  join_moments(moments, (double)n, mean, square, width);
}

static void
slice_moments(const Walk *walk, const actnn_view *x, int64_t group, int64_t slice, Moments *moments)
{
  float buffer[BLOCK];
  int64_t at = slice * walk->per_slice, end = at + walk->per_slice, total = walk->samples * walk->positions, count;
  if (end > total) end = total;
  *moments = (Moments){0};
  while (at < end) {
    const float *block = next_block(walk, x, group, &at, end, buffer, &count);
    add_block_moments(moments, block, count, walk->width);
  }
}

/* ---- elementwise: y = (x - center) * factor + bias -------------------------------------------------- */

typedef struct Affine {
  float center[LANES], factor[LANES], bias[LANES];
} Affine;

static void
apply_run(const Affine *affine, const float *x, float *y, int64_t count, int width)
{
  lanes center, factor, bias, value;
  int64_t i;
  fill_lanes(&center, affine->center, width);
  fill_lanes(&factor, affine->factor, width);
  fill_lanes(&bias, affine->bias, width);
  for (i = 0; i + LANES <= count; i += LANES) {
    LOAD_LANES(value, x + i);
    EACH_PART value.part[q] = (value.part[q] - center.part[q]) * factor.part[q] + bias.part[q];
    STORE_LANES(y + i, value);
  }
  for (; i < count; i++) {
    int k = (int)(i % width);
    y[i] = (x[i] - affine->center[k]) * affine->factor[k] + affine->bias[k];
  }
}

/* Groups [first, last), affine[0] belonging to the first. */
static void
apply_groups(const Walk *walk, const Affine *affine, const actnn_view *x, const actnn_view *y, int64_t first, int64_t last)
{
  int64_t run = walk->is_strided ? 1 : RUN / walk->width, runs = (walk->positions + run - 1) / run;
  int64_t each = walk->samples * runs, tasks = (last - first) * each;
#pragma omp parallel for schedule(static) if (tasks * run * walk->width > SERIAL_ELEMENTS)
  for (int64_t task = 0; task < tasks; task++) {
    int64_t group = first + task / each, sample = task % each / runs, position = task % runs * run;
    int64_t count = walk->positions - position < run ? walk->positions - position : run;
    int64_t at = offset_of(walk, group, sample, position);
    count *= walk->is_strided ? used_lanes(walk, group) : walk->width;
    float buffer[RUN], other[RUN];
    apply_run(&affine[group - first], bfloat_read(x, at, count, buffer), bfloat_place(y, at, other), count, walk->width);
    bfloat_write(y, at, count, other);
  }
}

/* ---- forward --------------------------------------------------------------------------------------- */

typedef struct Forward {
  const float *scale, *b, *running_mean, *running_variance;
  float *new_mean, *new_variance, *mean, *rstd; /* each may be NULL */
  double epsilon, momentum;
} Forward;

static void
put(float *array, int64_t index, double value)
{
  if (array) array[index] = (float)value;
}

static void
finish_group(const Walk *walk, const Forward *f, int64_t group, const Moments *slice, Affine *affine)
{
  Moments all = {0};
  for (int64_t s = 0; s < walk->slices; s++)
    join_moments(&all, slice[s].count, slice[s].mean, slice[s].squares, walk->width);
  *affine = (Affine){0};
  for (int k = 0; k < used_lanes(walk, group); k++) {
    int64_t c = group * walk->width + k;
    double variance = all.count > 0 ? all.squares[k] / all.count : 0;
    float rstd = (float)(1 / sqrt(variance + f->epsilon));
    put(f->new_mean, c, f->running_mean[c] * f->momentum + all.mean[k] * (1 - f->momentum));
    put(f->new_variance, c, f->running_variance[c] * f->momentum + variance * (1 - f->momentum));
    put(f->mean, c, all.mean[k]);
    put(f->rstd, c, rstd);
    affine->center[k] = (float)all.mean[k];
    if (!f->scale) continue;
    affine->factor[k] = (float)((double)f->scale[c] * rstd);
    affine->bias[k] = f->b[c];
  }
}

static float *
output_or_null(const actnn_call *call, size_t index)
{
  return index < call->output_count ? call->output[index].data : NULL;
}

/* y: NULL where only statistics are wanted. */
static void
batch_norm(const actnn_call *call, const Forward *f, const actnn_view *y)
{
  const actnn_view *x = &call->input[0];
  Walk walk = walk_of(call, &call->input[0]);
  int64_t most = TASKS / walk.slices;
  for (int64_t first = 0; first < walk.groups; first += most) {
    int64_t last = first + most < walk.groups ? first + most : walk.groups, tasks = (last - first) * walk.slices;
    Moments moments[TASKS];
    Affine affine[TASKS];
#pragma omp parallel for schedule(static) if (tasks * walk.per_slice * walk.width > SERIAL_ELEMENTS)
    for (int64_t task = 0; task < tasks; task++)
      slice_moments(&walk, x, first + task / walk.slices, task % walk.slices, &moments[task]);
    for (int64_t group = first; group < last; group++)
      finish_group(&walk, f, group, &moments[(group - first) * walk.slices], &affine[group - first]);
    if (y) apply_groups(&walk, affine, x, y, first, last);
  }
}

int ENTRY(BatchNorm)(const actnn_call *call);
int
ENTRY(BatchNorm)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Forward f = {.scale = call->input[1].data, .b = call->input[2].data, .running_mean = call->input[3].data,
               .running_variance = call->input[4].data, .new_mean = output_or_null(call, 1),
               .new_variance = output_or_null(call, 2), .mean = output_or_null(call, 3), .rstd = output_or_null(call, 4),
               .epsilon = call->attribute[0].f, .momentum = call->attribute[1].f};
  batch_norm(call, &f, call->output[0].data ? &call->output[0] : NULL);
  return 0;
}

int ENTRY(BatchNormStatistics)(const actnn_call *call);
int
ENTRY(BatchNormStatistics)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  Forward f = {.running_mean = call->input[1].data, .running_variance = call->input[2].data,
               .mean = output_or_null(call, 0), .rstd = output_or_null(call, 1), .new_mean = output_or_null(call, 2),
               .new_variance = output_or_null(call, 3), .epsilon = call->attribute[0].f, .momentum = call->attribute[1].f};
  batch_norm(call, &f, NULL);
  return 0;
}

/* What known statistics do to the channels of a group. The last operand is 1 / sqrt(variance + epsilon) itself, as forward rounded it,
 * or the variance. */
static void
known_affine(const Walk *walk, const actnn_call *call, bool is_rstd, int64_t group, Affine *affine)
{
  const float *scale = call->input[1].data, *b = call->input[2].data, *mean = call->input[3].data, *spread = call->input[4].data;
  *affine = (Affine){0};
  for (int k = 0; k < used_lanes(walk, group); k++) {
    int64_t c = group * walk->width + k;
    affine->center[k] = mean[c];
    affine->factor[k] = (float)(is_rstd ? (double)scale[c] * spread[c] : scale[c] / sqrt(spread[c] + call->attribute[0].f));
    affine->bias[k] = b[c];
  }
}

static int
apply_known(const actnn_call *call, bool is_rstd)
{
  if (actnn_is_preparing(call)) return 0;
  Walk walk = walk_of(call, &call->input[0]);
  for (int64_t first = 0; first < walk.groups; first += TASKS) {
    int64_t last = first + TASKS < walk.groups ? first + TASKS : walk.groups;
    Affine affine[TASKS];
    for (int64_t group = first; group < last; group++) known_affine(&walk, call, is_rstd, group, &affine[group - first]);
    apply_groups(&walk, affine, &call->input[0], &call->output[0], first, last);
  }
  return 0;
}

int ENTRY(BatchNormalization)(const actnn_call *call);
int
ENTRY(BatchNormalization)(const actnn_call *call)
{
  if (call->attribute[2].i != 0)
    return actnn_fail(call->trainer, "BatchNormalization in training mode must be rewritten to BatchNorm");
  return apply_known(call, false);
}

int ENTRY(BatchNormApply)(const actnn_call *call);
int
ENTRY(BatchNormApply)(const actnn_call *call)
{
  return apply_known(call, true);
}

/* ---- backward -------------------------------------------------------------------------------------- */

typedef struct Sums {
  double dy[LANES], projected[LANES]; /* of dy, and of dy * (x - mean) */
} Sums;

static void
add_block_sums(Sums *sums, const float *dy, const float *x, int64_t count, int width, const lanes *center)
{
  lanes total = {0}, projected = {0}, gradient, value, zero = {0};
  double part[LANES];
  int64_t i;
  for (i = 0; i + LANES <= count; i += LANES) {
    LOAD_LANES(gradient, dy + i);
    LOAD_LANES(value, x + i);
    EACH_PART total.part[q] += gradient.part[q];
    EACH_PART projected.part[q] += gradient.part[q] * (value.part[q] - center->part[q]);
  }
  if (i < count) {
    load_tail(&gradient, dy, i, count, &zero);
    load_tail(&value, x, i, count, center);
    EACH_PART total.part[q] += gradient.part[q];
    EACH_PART projected.part[q] += gradient.part[q] * (value.part[q] - center->part[q]);
  }
  fold_lanes(&total, width, part);
  for (int k = 0; k < width; k++) sums->dy[k] += part[k];
  fold_lanes(&projected, width, part);
  for (int k = 0; k < width; k++) sums->projected[k] += part[k];
}

/* One value per channel, for the lanes of a group; zero beyond the last channel. */
static void
group_values(const Walk *walk, const float *per_channel, int64_t group, float *value)
{
  memset(value, 0, LANES * sizeof *value);
  memcpy(value, per_channel + group * walk->width, (size_t)used_lanes(walk, group) * sizeof *value);
}

static void
slice_sums(const Walk *walk, const actnn_call *call, int64_t group, int64_t slice, Sums *sums)
{
  const actnn_view *dy = &call->input[0], *x = &call->input[1];
  float buffer[BLOCK], other_buffer[BLOCK], mean[LANES];
  int64_t at = slice * walk->per_slice, end = at + walk->per_slice, total = walk->samples * walk->positions, count;
  lanes center;
  if (end > total) end = total;
  group_values(walk, call->input[3].data, group, mean);
  fill_lanes(&center, mean, walk->width);
  *sums = (Sums){{0}, {0}};
  while (at < end) {
    int64_t same = at;
    const float *dy_block = next_block(walk, dy, group, &at, end, buffer, &count);
    const float *x_block = next_block(walk, x, group, &same, end, other_buffer, &count);
    add_block_sums(sums, dy_block, x_block, count, walk->width, &center);
  }
}

/* dx = factor * (dy - shift - (x - center) * slope) */
typedef struct Pull {
  float center[LANES], factor[LANES], shift[LANES], slope[LANES];
} Pull;

static void
pull_run(const Pull *pull, const float *dy, const float *x, float *dx, int64_t count, int width)
{
  lanes center, factor, shift, slope, gradient, value;
  int64_t i;
  fill_lanes(&center, pull->center, width);
  fill_lanes(&factor, pull->factor, width);
  fill_lanes(&shift, pull->shift, width);
  fill_lanes(&slope, pull->slope, width);
  for (i = 0; i + LANES <= count; i += LANES) {
    LOAD_LANES(gradient, dy + i);
    LOAD_LANES(value, x + i);
    EACH_PART gradient.part[q] =
        factor.part[q] * (gradient.part[q] - shift.part[q] - (value.part[q] - center.part[q]) * slope.part[q]);
    STORE_LANES(dx + i, gradient);
  }
  for (; i < count; i++) {
    int k = (int)(i % width);
    dx[i] = pull->factor[k] * (dy[i] - pull->shift[k] - (x[i] - pull->center[k]) * pull->slope[k]);
  }
}

static void
pull_groups(const Walk *walk, const Pull *pull, const actnn_call *call, int64_t first, int64_t last)
{
  const actnn_view *dy = &call->input[0], *x = &call->input[1], *dx = &call->output[0];
  int64_t run = walk->is_strided ? 1 : RUN / walk->width, runs = (walk->positions + run - 1) / run;
  int64_t each = walk->samples * runs, tasks = (last - first) * each;
#pragma omp parallel for schedule(static) if (tasks * run * walk->width > SERIAL_ELEMENTS)
  for (int64_t task = 0; task < tasks; task++) {
    int64_t group = first + task / each, sample = task % each / runs, position = task % runs * run;
    int64_t count = walk->positions - position < run ? walk->positions - position : run;
    int64_t at = offset_of(walk, group, sample, position);
    count *= walk->is_strided ? used_lanes(walk, group) : walk->width;
    float buffer[RUN], other[RUN], third[RUN];
    pull_run(&pull[group - first], bfloat_read(dy, at, count, buffer), bfloat_read(x, at, count, other), bfloat_place(dx, at, third), count,
             walk->width);
    bfloat_write(dx, at, count, third);
  }
}

/* In a frozen normalization (is_frozen) operand 4 is the variance and the statistics do not depend on x. */
static void
finish_gradient(const Walk *walk, const actnn_call *call, int64_t group, const Sums *slice, bool is_frozen, Pull *pull)
{
  const float *scale = call->input[2].data, *mean = call->input[3].data, *spread = call->input[4].data;
  double count = (double)(walk->samples * walk->positions);
  *pull = (Pull){{0}, {0}, {0}, {0}};
  for (int k = 0; k < used_lanes(walk, group); k++) {
    int64_t c = group * walk->width + k;
    double rstd = is_frozen ? 1 / sqrt(spread[c] + call->attribute[0].f) : spread[c], sum = 0, projected = 0;
    for (int64_t s = 0; s < walk->slices; s++) {
      sum += slice[s].dy[k];
      projected += slice[s].projected[k];
    }
    put(output_or_null(call, 1), c, projected * rstd);
    put(output_or_null(call, 2), c, sum);
    pull->center[k] = mean[c];
    pull->factor[k] = (float)(scale[c] * rstd);
    if (!is_frozen) {
      pull->shift[k] = (float)(sum / count);
      pull->slope[k] = (float)(projected * rstd * rstd / count);
    }
  }
}

static int
batch_norm_gradient(const actnn_call *call, bool is_frozen)
{
  if (actnn_is_preparing(call)) return 0;
  Walk walk = walk_of(call, &call->input[1]);
  int64_t most = TASKS / walk.slices;
  for (int64_t first = 0; first < walk.groups; first += most) {
    int64_t last = first + most < walk.groups ? first + most : walk.groups, tasks = (last - first) * walk.slices;
    Sums sums[TASKS];
    Pull pull[TASKS];
#pragma omp parallel for schedule(static) if (tasks * walk.per_slice * walk.width > SERIAL_ELEMENTS)
    for (int64_t task = 0; task < tasks; task++)
      slice_sums(&walk, call, first + task / walk.slices, task % walk.slices, &sums[task]);
    for (int64_t group = first; group < last; group++)
      finish_gradient(&walk, call, group, &sums[(group - first) * walk.slices], is_frozen, &pull[group - first]);
    if (call->output[0].data) pull_groups(&walk, pull, call, first, last);
  }
  return 0;
}

int ENTRY(BatchNormGrad)(const actnn_call *call);
int
ENTRY(BatchNormGrad)(const actnn_call *call)
{
  return batch_norm_gradient(call, false);
}

int ENTRY(BatchNormFrozenGrad)(const actnn_call *call);
int
ENTRY(BatchNormFrozenGrad)(const actnn_call *call)
{
  return batch_norm_gradient(call, true);
}
