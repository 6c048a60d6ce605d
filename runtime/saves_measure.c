/* saves_measure.c: what the noise of codes does to the gradients that read them; see saves.h. */
#include "saves_state.h"

#include <string.h>

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

double
saves_squares(actnn *trainer, uint32_t index, const actnn_view *value)
{
  const actnn_codec *codec = &trainer->saves->save[index].codec;
  tile_job job = saves_plain_job(trainer, codec, value->data);
  job.reads_bfloat = value->type == ACTNN_BF16;
  double squares = 0;
  saves_run_tiles(trainer, &job, sum_squares);
  for (int64_t tile = 0; tile < codec->samples * actnn_codec_tiles(codec); tile++)
    squares += job.sum[tile];
  return squares;
}

void
saves_note_flow(actnn *trainer, uint32_t index, uint32_t gradient, double squares, const double *variance)
{
  save_state *state = &trainer->saves->save[index];
  for (int64_t sample = 0; sample < state->codec.samples; sample++) {
    state->energy[sample] = variance[sample];
    state->flow[sample] = squares > 0 ? demand_of(state, sample, variance[sample]) / squares : 0;
  }
  state->flow_from = trainer->saves->gradient_squares;
  trainer->saves->flow_tensor = gradient;
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

static void
spread(double energy, int64_t count, double *map)
{
  for (int64_t i = 0; i < count; i++)
    map[i] = energy / (double)count;
}

/* ---- sensitivities -------------------------------------------------------------------------------- */

/* What MeasureSensitivity looks at: dy x scale?, the gradient and the restored value, multiplied by a scale of each feature if there is
 * one, whose product is a weight's gradient; attributes: the save, whether the places of the product belong to x (a transposed
 * convolution), its geometry. */
static int
describe(const actnn_call *call, saves_sensitivity *measured)
{
  const actnn_view *dy = &call->input[0], *x = &call->input[1];
  uint32_t index = 0;
  if (saves_find(call, NULL, &index))
    return 1;
  if (call->input_count < 2 || call->attribute_count < 7)
    return actnn_fail(call->trainer, "MeasureSensitivity: two operands and seven attributes are needed");
  *measured = (saves_sensitivity){.index = index, .dy = dy, .x = x, .is_swapped = call->attribute[1].i != 0, .with = call->attribute};
  if (!saves_may_code(dy) || actnn_codec_geometry(&measured->of_dy, dy->dim, dy->rank, dy->layout, ACTNN_EVEN_LEVELS) ||
      actnn_codec_geometry(&measured->of_x, x->dim, x->rank, x->layout, ACTNN_EVEN_LEVELS))
    return actnn_fail(call->trainer, "MeasureSensitivity: only gradients of type float can be measured");
  /* Features are the last axis of a plain value; one that is flattened has no rows of them to scale. */
  if (call->input_count > 2 && call->input[2].data && call->trainer->saves->save[index].codec.rows_are == ACTNN_FEATURE_ROWS)
    measured->scale = &call->input[2];
  return 0;
}

int
saves_open_sensitivity(const actnn_call *call, saves_sensitivity *measured, bool *is_wanted)
{
  actnn *trainer = call->trainer;
  struct saves *saves = trainer->saves;
  *is_wanted = false;
  if (describe(call, measured))
    return 1;
  int64_t samples = saves->save[measured->index].codec.samples, each = measured->of_dy.positions + 2 * measured->of_x.positions;
  int64_t cut = measured->of_dy.samples * measured->of_dy.positions + 2 * measured->of_x.samples * measured->of_x.positions;
  if (actnn_is_preparing(call)) /* a device maps the samples of dy and x before they become those of the save */
    return saves_grow(saves, each * samples + cut + 1, 1) ? actnn_fail(trainer, "MeasureSensitivity: no memory for sums") : 0;
  *is_wanted = saves_measure_now(trainer, measured->index) || saves->count_noise;
  if (!*is_wanted)
    return 0;
  if (saves->flow_tensor == measured->dy->id && measured->of_dy.samples == samples && saves_measure_now(trainer, saves->flow_save))
    measured->above = &saves->save[saves->flow_save];
  measured->dy_map = saves->partial;
  measured->noise_map = measured->dy_map + samples * measured->of_dy.positions;
  measured->x_map = measured->above ? measured->noise_map + samples * measured->of_x.positions : NULL;
  return saves_open(trainer, measured->index);
}

/* Of one sample: variance of the product from maps of each operand. */
static double
weigh_sample(const saves_sensitivity *measured, const double *of_dy, const double *of_x)
{
  bool is_swapped = measured->is_swapped;
  const product product = {is_swapped ? measured->x : measured->dy,     is_swapped ? measured->dy : measured->x,
                           is_swapped ? measured->of_x : measured->of_dy, is_swapped ? measured->of_dy : measured->of_x,
                           &measured->with[2], &measured->with[3], &measured->with[4], &measured->with[5], (double)measured->with[6].i};
  return is_swapped ? weigh(&product, of_x, of_dy) : weigh(&product, of_dy, of_x);
}

void
saves_weigh_maps(actnn *trainer, const saves_sensitivity *measured)
{
  save_state *state = &trainer->saves->save[measured->index], *above = measured->above;
  bool is_normal = trainer->model->save[measured->index].spacing == ACTNN_NORMAL_LEVELS;
  int64_t samples = state->codec.samples, of_dy = measured->of_dy.positions, of_x = measured->of_x.positions;
#pragma omp parallel for schedule(static) num_threads(trainer->threads) if (trainer->threads > 1)
  for (int64_t sample = 0; sample < samples; sample++) {
    double *gradient = measured->dy_map + sample * of_dy, *noise = measured->noise_map + sample * of_x, sum = total(noise, of_x);
    /* What was counted element by element is more than a mean. */
    double counted = measured->scale ? -1 : is_normal ? state->noise[sample].scaled : state->noise[sample].above;
    for (int64_t i = 0; sum > 0 && counted >= 0 && i < of_x; i++)
      noise[i] *= counted / sum;
    state->sum[sample] = weigh_sample(measured, gradient, noise);
    if (!above)
      continue;
    spread(above->energy[sample], of_dy, gradient);
    above->sum[sample] = weigh_sample(measured, gradient, measured->x_map + sample * of_x);
  }
  saves_note_variance(trainer, measured->index, state->sum, false);
  if (!above)
    return;
  above->below = trainer->model->save[measured->index].gradient;
  add_demand(trainer->saves, above, DEMAND_BELOW, above->sum);
}

/* One sample of a view, squared, by position. A view cut into other samples than those asked for gives each the same part. */
static void
map_squares(const actnn *trainer, const actnn_view *view, const actnn_codec *codec, int64_t sample, int64_t samples, double *map)
{
  memset(map, 0, (size_t)codec->positions * sizeof *map);
  int64_t first = codec->samples == samples ? sample : 0, last = codec->samples == samples ? sample + 1 : codec->samples;
  for (int64_t each = first; each < last; each++)
    for (int64_t tile = 0; tile < actnn_codec_tiles(codec); tile++) {
      actnn_tile_work work = {codec, trainer->channel_block, each, tile, .reads_bfloat = view->type == ACTNN_BF16};
      trainer->saves->kernels->squares_map(&work, view->data, map);
    }
  for (int64_t i = 0; last - first > 1 && i < codec->positions; i++)
    map[i] /= (double)samples;
}

static void
map_noise(const tile_job *job, int64_t sample, double *map)
{
  actnn_code code = saves_code_of(job, sample);
  memset(map, 0, (size_t)job->codec->positions * sizeof *map);
  for (int64_t tile = 0; tile < actnn_codec_tiles(job->codec); tile++) {
    actnn_tile_work work = {.codec = job->codec, .block = job->block, .sample = sample, .tile = tile};
    job->kernels->noise_map(&work, job->stash + job->offset[sample], &code, &job->affine, map);
  }
}

/* Notes the variance that x's code gives the product; and, where dy comes straight from a normalization whose code makes it noisy, what
 * that noise does. */
int
actnn_MeasureSensitivity(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  saves_sensitivity measured;
  bool is_wanted;
  if (saves_open_sensitivity(call, &measured, &is_wanted))
    return 1;
  if (!is_wanted)
    return 0;
  const save_state *state = &trainer->saves->save[measured.index];
  tile_job job = saves_job(trainer, measured.index, NULL);
  if (trainer->model->save[measured.index].spacing == ACTNN_NORMAL_LEVELS)
    job.affine = (actnn_affine){actnn_data(trainer, state->scale), actnn_data(trainer, state->bias), state->rectified, state->cap};
  if (measured.scale)
    job.affine = (actnn_affine){.scale = measured.scale->data};
  int64_t samples = state->codec.samples, of_dy = measured.of_dy.positions, of_x = measured.of_x.positions;
#pragma omp parallel for schedule(static) num_threads(trainer->threads) if (trainer->threads > 1)
  for (int64_t sample = 0; sample < samples; sample++) {
    map_squares(trainer, measured.dy, &measured.of_dy, sample, samples, measured.dy_map + sample * of_dy);
    map_noise(&job, sample, measured.noise_map + sample * of_x);
    if (measured.x_map)
      map_squares(trainer, measured.x, &measured.of_x, sample, samples, measured.x_map + sample * of_x);
  }
  saves_weigh_maps(trainer, &measured);
  return 0;
}
