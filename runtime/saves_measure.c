/* saves_measure.c: what the noise of codes does to the gradients that read them; see saves.h. */
#include "saves_state.h"

#include <omp.h>

bool
saves_measure_at(const actnn *trainer)
{
  return trainer->draw == 0 && trainer->step % SAVES_INTERVAL == 0;
}

bool
saves_measure_now(const actnn *trainer, uint32_t index)
{
  return trainer->model->save[index].adaptation == ACTNN_ADAPTS_BY_READERS && saves_measure_at(trainer);
}

/* What the variance of a sample's part would be at one step for the whole range. */
static double
demand_of(const save_state *state, int64_t sample, double variance)
{
  return variance / state->noise_of[state->choice[sample]];
}

static void
add_demand(struct saves *saves, save_state *state, demand_kind kind, const double *variance)
{
  for (int64_t sample = 0; sample < state->codec.samples; sample++)
    state->demand[kind][sample] += demand_of(state, sample, variance[sample]);
  state->measured = true;
  saves->fresh = true;
}

void
saves_note_variance(actnn *trainer, uint32_t index, const double *variance, bool is_normal)
{
  save_state *state = &trainer->saves->save[index];
  bool first = !state->has_prediction || state->predicted_step != trainer->step || state->predicted_draw != trainer->draw;
  double all = 0;
  for (int64_t sample = 0; sample < state->codec.samples; sample++)
    all += variance[sample];
  if (first)
    state->predicted = state->predicted_normal = 0;
  if (is_normal)
    state->predicted_normal += all;
  else
    state->predicted += all;
  state->has_prediction = true;
  state->predicted_step = trainer->step;
  state->predicted_draw = trainer->draw;
  if (!saves_measure_now(trainer, index))
    return;
  add_demand(trainer->saves, state, is_normal ? DEMAND_SCALE : DEMAND_READERS, variance);
}

/* What variance of a parameter's gradient counts; of several, the mean over all parameters. */
static double
weight_of(const struct saves *saves, uint32_t parameter)
{
  if (parameter != NONE)
    return saves->gradient_weight[parameter];
  return saves->plain_squares > 0 ? saves->gradient_squares / saves->plain_squares : 1;
}

double
saves_demand(const actnn *trainer, uint32_t index, int64_t sample)
{
  const struct saves *saves = trainer->saves;
  const actnn_save *save = &trainer->model->save[index];
  const save_state *state = &saves->save[index];
  if (save->adaptation == ACTNN_ADAPTS_BY_REDRAWS)
    return state->expected_noise * saves->gradient_squares *
           (state->width > 0 ? saves_width(state, sample) / state->width : 1 / (double)state->codec.samples);
  return state->demand[DEMAND_READERS][sample] * weight_of(saves, save->gradient) +
         state->demand[DEMAND_SCALE][sample] * weight_of(saves, save->scale) +
         state->demand[DEMAND_BELOW][sample] * weight_of(saves, state->below) +
         state->flow[sample] * (saves->gradient_squares - state->flow_from);
}

void
saves_forget_demands(struct saves *saves, uint32_t count)
{
  for (uint32_t i = 0; i < count; i++)
    for (int kind = 0; saves->save[i].known && kind < DEMAND_KINDS; kind++)
      memset(saves->save[i].demand[kind], 0, (size_t)saves->save[i].codec.samples * sizeof(double));
}

/* Elements that hardly ever had a gradient do not count for more than this many times the mean. */
static const double MOST_ELEMENT_WEIGHT = 100;

bool
saves_notes_gradients(const actnn *trainer)
{
  return saves_measure_at(trainer) || saves_compares(trainer);
}

void
saves_note_gradient(actnn *trainer, const actnn_call *call, size_t second_moment)
{
  struct saves *saves = trainer->saves;
  if (!saves_notes_gradients(trainer) || call->input_count <= second_moment || call->input_count < 2 ||
      call->input[1].type != ACTNN_F32 || !call->input[1].data || call->input[0].id == NONE)
    return;
  weighted_gradient gradient = {.variable = call->input[0].id, .element = call->input[1].data};
  const float *squares = second_moment ? call->input[second_moment].data : NULL;
  gradient.count = 1; /* what lies between the last element and the end of the buffer is not the gradient's */
  for (int axis = 0; axis < call->input[1].rank; axis++)
    gradient.count *= (size_t)call->input[1].dim[axis];
  double mean = 0, plain = 0, weighted = 0;
  for (size_t i = 0; squares && i < gradient.count; i++)
    mean += squares[i] / (double)gradient.count;
  gradient.usual = mean > 0 ? squares : NULL;
  gradient.least = mean / MOST_ELEMENT_WEIGHT;
  for (size_t i = 0; i < gradient.count; i++) {
    double square = (double)gradient.element[i] * gradient.element[i];
    plain += square;
    weighted += square * element_weight(&gradient, i);
  }
  saves_compare_gradient(trainer, &gradient);
  saves->gradient_weight[gradient.variable] = plain > 0 ? weighted / plain : 0;
  saves->gradient_squares += weighted;
  saves->plain_squares += plain;
  saves->fresh |= saves_measure_at(trainer);
}

static void
sum_squares(const tile_job *job, int64_t each, const actnn_tile_work *work)
{
  job->sum[each] = job->kernels->squares(work, job->value);
}

void
saves_note_flow(actnn *trainer, uint32_t index, const actnn_view *gradient, const double *variance)
{
  save_state *state = &trainer->saves->save[index];
  tile_job job = saves_plain_job(trainer, &state->codec, gradient->data);
  double squares = 0;
  saves_run_tiles(trainer, &job, sum_squares);
  for (int64_t tile = 0; tile < state->codec.samples * actnn_codec_tiles(&state->codec); tile++)
    squares += job.sum[tile];
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    state->energy[sample] = variance[sample];
    state->flow[sample] = squares > 0 ? demand_of(state, sample, variance[sample]) / squares : 0;
  }
  state->flow_from = trainer->saves->gradient_squares;
  trainer->saves->flow_tensor = gradient->id;
  trainer->saves->flow_save = index;
}

/* ---- products ------------------------------------------------------------------------------------- */

/* The product that makes a weight's gradient: each place of one operand meets the taps of the other, sample by sample. Of a linear
 * layer they are the same positions. */
typedef struct product {
  const actnn_view *places, *tapped;
  actnn_codec places_codec, tapped_codec;
  const actnn_attribute *kernel, *strides, *dilations, *pads;
  double groups;
} product;

/* sum over places p of at_places[p] * sum over taps k of at_taps[p + k], padding left out; tap by tap, then row by row. */
static double
meet(const product *product, const double *at_places, const double *at_taps)
{
  const actnn_view *places = product->places, *tapped = product->tapped;
  int axes = (int)product->kernel->count;
  int64_t taps = 1, count = 1;
  double sum = 0;
  for (int axis = 0; axis < axes; axis++) {
    taps *= product->kernel->ints[axis];
    count *= places->dim[axis + 2];
  }
  for (int64_t tap = 0; tap < taps; tap++)
    for (int64_t place = 0; place < count; place++) {
      int64_t rest = place, part = tap, at = 0, stride = 1;
      bool inside = true;
      for (int axis = axes - 1; axis >= 0; axis--) {
        int64_t extent = tapped->dim[axis + 2];
        int64_t here = rest % places->dim[axis + 2] * product->strides->ints[axis] +
                       part % product->kernel->ints[axis] * product->dilations->ints[axis] - product->pads->ints[axis];
        inside &= here >= 0 && here < extent;
        at += here * stride;
        stride *= extent;
        rest /= places->dim[axis + 2];
        part /= product->kernel->ints[axis];
      }
      if (inside)
        sum += at_places[place] * at_taps[at];
    }
  return sum;
}

static double
total(const double *map, int64_t count)
{
  double sum = 0;
  for (int64_t i = 0; i < count; i++)
    sum += map[i];
  return sum;
}

/* Variance of the product per sample from a map of each operand. Maps that do not tell positions apart are taken as even. */
static double
weigh(const product *product, const double *at_places, const double *at_taps)
{
  int64_t places = product->places_codec.positions, taps = product->tapped_codec.positions, spatial = 1, met = 1;
  for (size_t axis = 0; axis < product->kernel->count; axis++) {
    spatial *= product->places->dim[axis + 2];
    met *= product->tapped->dim[axis + 2];
  }
  if (product->kernel->count && spatial == places && met == taps)
    return meet(product, at_places, at_taps) / product->groups;
  if (!product->kernel->count && places == taps) {
    double sum = 0;
    for (int64_t i = 0; i < places; i++)
      sum += at_places[i] * at_taps[i];
    return sum;
  }
  double kernel = 1;
  for (size_t axis = 0; axis < product->kernel->count; axis++)
    kernel *= (double)product->kernel->ints[axis];
  return total(at_places, places) * total(at_taps, taps) * kernel / ((double)(met > 1 ? met : taps) * product->groups);
}

/* One sample of a view, squared, by position. A view cut into other samples than those asked for gives each the same part. */
static void
map_squares(const actnn *trainer, const actnn_view *view, const actnn_codec *codec, int64_t sample, int64_t samples, double *map)
{
  memset(map, 0, (size_t)codec->positions * sizeof *map);
  int64_t first = codec->samples == samples ? sample : 0, last = codec->samples == samples ? sample + 1 : codec->samples;
  for (int64_t each = first; each < last; each++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(codec); tile++) {
      actnn_tile_work work = {codec, trainer->channel_block, each, tile};
      trainer->saves->kernels->squares_map(&work, view->data, map);
    }
  for (int64_t i = 0; last - first > 1 && i < codec->positions; i++)
    map[i] /= (double)samples;
}

/* noise: the sum over positions, which may have been counted element by element; negative where it was not. */
static void
map_noise(const tile_job *job, int64_t sample, double noise, double *map)
{
  actnn_code code = saves_code_of(job, sample);
  double sum = 0;
  memset(map, 0, (size_t)job->codec->positions * sizeof *map);
  for (int64_t tile = 0; tile < actnn_codec_tiles(job->codec); tile++) {
    actnn_tile_work work = {job->codec, job->block, sample, tile};
    job->kernels->noise_map(&work, job->stash + job->offset[sample], &code, &job->affine, map);
  }
  sum = total(map, job->codec->positions);
  for (int64_t i = 0; sum > 0 && noise >= 0 && i < job->codec->positions; i++)
    map[i] *= noise / sum;
}

static void
spread(double energy, int64_t count, double *map)
{
  for (int64_t i = 0; i < count; i++)
    map[i] = energy / (double)count;
}

/* dy x scale?: the gradient and the restored value, multiplied by a scale of each feature if there is one, whose product is a
 * weight's gradient; attributes: the save, whether the places of the product belong to x (a transposed convolution), its geometry.
 * Notes the variance that x's code gives the product; and, where dy comes straight from a normalization whose code makes it noisy, what that noise does. */
int
actnn_MeasureSensitivity(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  struct saves *saves = trainer->saves;
  const actnn_view *dy = &call->input[0], *x = &call->input[1];
  const actnn_attribute *with = call->attribute;
  uint32_t index = 0;
  actnn_codec of_dy, of_x;
  if (saves_find(call, NULL, &index))
    return 1;
  if (call->input_count < 2 || call->attribute_count < 7)
    return actnn_fail(trainer, "MeasureSensitivity: two operands and seven attributes are needed");
  save_state *state = &saves->save[index];
  if (dy->type != ACTNN_F32 || actnn_codec_geometry(&of_dy, dy->dim, dy->rank, dy->layout, ACTNN_EVEN_LEVELS) ||
      actnn_codec_geometry(&of_x, x->dim, x->rank, x->layout, ACTNN_EVEN_LEVELS))
    return actnn_fail(trainer, "MeasureSensitivity: only gradients of type float can be measured");
  int64_t each = of_dy.positions + of_x.positions;
  if (actnn_is_preparing(call))
    return saves_grow(saves, each * trainer->threads + 1, 1) ? actnn_fail(trainer, "MeasureSensitivity: no memory for sums") : 0;
  if (!(saves_measure_now(trainer, index) || saves->count_noise))
    return 0;
  if (saves_open(trainer, index))
    return 1;
  bool swapped = with[1].i != 0;
  const product product = {swapped ? x : dy, swapped ? dy : x, swapped ? of_x : of_dy, swapped ? of_dy : of_x,
                           &with[2], &with[3], &with[4], &with[5], (double)with[6].i};
  tile_job job = saves_job(trainer, index, NULL);
  bool is_normal = trainer->model->save[index].spacing == ACTNN_NORMAL_LEVELS;
  if (is_normal)
    job.affine = (actnn_affine){actnn_data(trainer, state->scale), actnn_data(trainer, state->bias), state->rectified};
  /* Features are the last axis of a plain value; one that is flattened has no rows of them to scale. */
  bool scaled = call->input_count > 2 && call->input[2].data && state->codec.rows_are == ACTNN_FEATURE_ROWS;
  if (scaled)
    job.affine = (actnn_affine){.scale = call->input[2].data};
  save_state *above = saves->flow_tensor == dy->id && of_dy.samples == state->codec.samples && saves_measure_now(trainer, saves->flow_save)
                          ? &saves->save[saves->flow_save] : NULL;
  int64_t samples = state->codec.samples;
#pragma omp parallel for schedule(static) num_threads(trainer->threads) if (trainer->threads > 1)
  for (int64_t sample = 0; sample < samples; sample++) {
    double *gradient = saves->partial + each * omp_get_thread_num(), *value = gradient + of_dy.positions;
    map_squares(trainer, dy, &of_dy, sample, samples, gradient);
    map_noise(&job, sample, scaled ? -1 : is_normal ? state->noise[sample].scaled : state->noise[sample].above, value);
    state->sum[sample] = swapped ? weigh(&product, value, gradient) : weigh(&product, gradient, value);
    if (!above)
      continue;
    map_squares(trainer, x, &of_x, sample, samples, value);
    spread(above->energy[sample], of_dy.positions, gradient);
    above->sum[sample] = swapped ? weigh(&product, value, gradient) : weigh(&product, gradient, value);
  }
  saves_note_variance(trainer, index, state->sum, false);
  if (above)
    above->below = trainer->model->save[index].gradient;
  if (above)
    add_demand(saves, above, DEMAND_BELOW, above->sum);
  return 0;
}
