/* saves_redraw.c: what the code of a value does to all gradients, measured by redrawing it; see saves.h.
 *
 * Where a gradient that goes on to other layers reads a code, its noise reaches the weight gradients of all layers below, more or less
 * of it as these add it up coherently or not. No local measurement tells. So now and then a step is computed twice, with one value's
 * codes drawn afresh: the squared distance of the two gradients is twice the variance that this code adds. Codes are independent, so
 * values can be asked one by one. Gradients are compared by a sketch, sums of elements with random signs, whose squared distance is that
 * of the gradients on average; it takes SKETCH numbers instead of as many as there are parameters.
 */
#include "device.h"
#include "saves_state.h"
#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The first steps are left out: what an optimizer knows of the gradients' usual size is nothing yet. */
enum { SKETCH = 256, FIRST_STEP = 8, MOST_STEPS_BETWEEN = 64, NEVER = -4 * MOST_STEPS_BETWEEN };

struct redraw {
  uint32_t save; /* the one that was redrawn; NONE */
  uint64_t step; /* at this step */
  bool is_first_pass;
  double sketch[SKETCH];
  unsigned char *running; /* statistics that forward moves, from before */
};

/* ---- sketches ------------------------------------------------------------------------------------- */

/* 64 random signs for elements from 64 * place on: SplitMix64's output function. */
static uint64_t
signs_of(uint32_t variable, uint64_t place)
{
  uint64_t mixed = (place ^ (uint64_t)variable << 40) + UINT64_C(0x9e3779b97f4a7c15);
  mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
  return mixed ^ mixed >> 31;
}

static void
add_to_sketch(double *sketch, const weighted_gradient *gradient, double factor)
{
  for (size_t first = 0; first < gradient->count; first += 64) {
    uint64_t signs = signs_of(gradient->variable, first / 64);
    double *part = sketch + first % SKETCH;
    size_t here = gradient->count - first < 64 ? gradient->count - first : 64;
    for (size_t i = 0; i < here; i++) {
      double element = (double)gradient->element[first + i] * sqrt(element_weight(gradient, first + i));
      part[i] += signs >> i & 1 ? factor * element : -factor * element;
    }
  }
}

/* The first pass's gradients go to nobody but saves_compare_gradient. */
static void
ignore(void *context, uint32_t variable, const float *gradient, size_t count)
{
  (void)context, (void)variable, (void)gradient, (void)count;
}

bool
saves_compares(const actnn *trainer)
{
  const struct redraw *redraw = trainer->saves->redraw;
  return redraw && redraw->save != NONE && redraw->step == trainer->step; /* a step may have been given up since */
}

void
saves_compare_gradient(actnn *trainer, const weighted_gradient *gradient)
{
  struct redraw *redraw = trainer->saves->redraw;
  if (saves_compares(trainer))
    add_to_sketch(redraw->sketch, gradient, redraw->is_first_pass ? 1 : -1);
}

/* ---- which save, and when --------------------------------------------------------------------------- */

static bool
is_redrawn(const actnn *trainer, uint32_t index)
{
  return trainer->model->save[index].adaptation == ACTNN_ADAPTS_BY_REDRAWS && trainer->saves->save[index].codec.samples > 0;
}

/* Steps between two redraws: one a step until each value was redrawn, then fewer and fewer as gradients change more slowly. */
static int64_t
steps_between(int64_t step, int64_t values)
{
  int64_t steps = 2 * (step - FIRST_STEP - values) / values;
  return steps < 1 ? 1 : steps > MOST_STEPS_BETWEEN ? MOST_STEPS_BETWEEN : steps;
}

/* How much of what was found by redrawing a value still holds: all at that step, half when the run is twice as old, for what gradients
 * are made of changes slower and slower. */
static double
trust(const actnn *trainer, const save_state *state)
{
  return state->redraws ? (double)(state->redrawn_step + 1) / (double)(trainer->step + 1) : 0;
}

static bool
has_ratio(const actnn *trainer, uint32_t index)
{
  return is_redrawn(trainer, index) && trainer->model->save[index].weight > 0 && trainer->saves->save[index].redrawn_noise > 0;
}

/* What was found beside what was expected, in the logarithm; the mean over all values. */
static double
mean_ratio(const actnn *trainer)
{
  double sum = 0, trusted = 0;
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    if (!has_ratio(trainer, i))
      continue;
    double here = trust(trainer, &trainer->saves->save[i]);
    sum += here * log(trainer->saves->save[i].redrawn_noise / trainer->model->save[i].weight);
    trusted += here;
  }
  return trusted > 0 ? sum / trusted : 0;
}

void
saves_settle_redraws(actnn *trainer)
{
  double ratio = mean_ratio(trainer);
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    save_state *state = &trainer->saves->save[i];
    double part = trust(trainer, state);
    state->width = 0;
    for (int64_t sample = 0; sample < state->codec.samples; sample++)
      state->width += saves_width(state, sample);
    state->expected_noise = state->redrawn_noise;
    if (has_ratio(trainer, i))
      state->expected_noise = exp(part * log(state->redrawn_noise) + (1 - part) * (log(trainer->model->save[i].weight) + ratio));
  }
}

/* The value whose noise, and time since it was redrawn last, is most; NONE where no redraw is due. */
static uint32_t
choose(const actnn *trainer)
{
  const struct saves *saves = trainer->saves;
  int64_t step = (int64_t)trainer->step, values = 0, last = NEVER;
  uint32_t chosen = NONE;
  double all = 0, most = 0;
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    if (!is_redrawn(trainer, i))
      continue;
    values++;
    all += saves->save[i].found_noise;
    if (saves->save[i].redraws && saves->save[i].redrawn_step > last)
      last = saves->save[i].redrawn_step;
  }
  if (!values || step < FIRST_STEP || step - last < steps_between(step, values))
    return NONE;
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    const save_state *state = &saves->save[i];
    if (!is_redrawn(trainer, i))
      continue;
    if (!state->redraws)
      return i;
    double worth = (state->found_noise + all / (double)values) * (double)(step - state->redrawn_step);
    if (chosen == NONE || worth > most) {
      chosen = i;
      most = worth;
    }
  }
  return chosen;
}

bool
saves_redraw_is_due(const actnn *trainer)
{
  return choose(trainer) != NONE;
}

/* ---- a redraw ---------------------------------------------------------------------------------------- */

/* Copies statistics that forward moves out of the arena, or back. */
static int
copy_running(actnn *trainer, bool back)
{
  const actnn_model *model = trainer->model;
  unsigned char *place = trainer->saves->redraw->running;
  for (uint32_t i = 0; i < model->variable_count; i++) {
    const actnn_tensor *tensor = &model->tensor[model->variable[i].tensor];
    unsigned char *data = trainer->arena + tensor->offset;
    if (model->variable[i].role != ACTNN_RUNNING)
      continue;
    if (!back && device_fetch(trainer, tensor->offset, tensor->bytes))
      return 1;
    memcpy(back ? data : place, back ? place : data, (size_t)tensor->bytes);
    if (back && device_send(trainer, tensor->offset, tensor->bytes))
      return 1;
    place += tensor->bytes;
  }
  return 0;
}

int
saves_prepare_redraws(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  struct saves *saves = trainer->saves;
  uint64_t running = 1;
  bool any = false;
  for (uint32_t i = 0; i < model->save_count; i++)
    any |= model->save[i].adaptation == ACTNN_ADAPTS_BY_REDRAWS;
  if (!any)
    return 0;
  for (uint32_t i = 0; i < model->variable_count; i++)
    running += model->variable[i].role == ACTNN_RUNNING ? model->tensor[model->variable[i].tensor].bytes : 0;
  saves->redraw = calloc(1, sizeof *saves->redraw);
  if (saves->redraw)
    saves->redraw->running = malloc((size_t)running);
  if (!saves->redraw || !saves->redraw->running)
    return actnn_fail(trainer, "no memory to compare gradients of redrawn codes");
  saves->redraw->save = NONE;
  return 0;
}

void
saves_destroy_redraws(struct saves *saves)
{
  if (saves->redraw)
    free(saves->redraw->running);
  free(saves->redraw);
}

int
saves_redraw(actnn *trainer, double learning_rate)
{
  struct redraw *redraw = trainer->saves->redraw;
  uint32_t save = choose(trainer);
  if (!redraw || save == NONE)
    return 0;
  if (saves_begin_step(trainer)) /* both passes have the same levels */
    return 1;
  memset(redraw->sketch, 0, sizeof redraw->sketch);
  redraw->save = save;
  redraw->step = trainer->step;
  redraw->is_first_pass = true;
  if (copy_running(trainer, false))
    return 1;
  saves_redraw_only(trainer, save);
  trainer->draw = 1;
  actnn_observe_gradients(trainer, ignore, NULL);
  int failed = trainer_forward(trainer, learning_rate) || trainer_backward(trainer);
  actnn_observe_gradients(trainer, NULL, NULL);
  trainer->draw = 0;
  redraw->is_first_pass = false;
  saves_redraw_only(trainer, NONE);
  if (copy_running(trainer, true))
    return 1;
  if (failed && trainer->is_not_finite) { /* so will the step itself be, and say so */
    redraw->save = NONE;
    trainer->is_not_finite = false;
    return 0;
  }
  return failed;
}

/* A single redraw tells the variance with an error as large as itself where noise has few directions: so it counts half beside what was
 * known, and never takes more than three quarters of that away. */
void
saves_end_redraw(actnn *trainer)
{
  struct saves *saves = trainer->saves;
  struct redraw *redraw = saves->redraw;
  double distance = 0;
  if (!redraw || redraw->save == NONE || redraw->step + 1 != trainer->step)
    return;
  save_state *state = &saves->save[redraw->save];
  redraw->save = NONE;
  for (int i = 0; i < SKETCH; i++)
    distance += redraw->sketch[i] * redraw->sketch[i];
  double found = distance / 2 / saves->gradient_squares, noise = found / saves_mean_noise(state);
  if (!(saves->gradient_squares > 0) || !isfinite(noise))
    return;
  state->redrawn_noise = state->redraws ? (state->redrawn_noise + fmax(noise, state->redrawn_noise / 4)) / 2 : noise;
  state->found_noise = state->redrawn_noise * saves_mean_noise(state);
  state->redraws++;
  state->redrawn_step = (int64_t)trainer->step - 1; /* the step is done */
  state->measured = true;
}

/* ---- what a run keeps --------------------------------------------------------------------------------- */

void
saves_redraw_state(const actnn *trainer, double (*state)[SAVES_REDRAW_NUMBERS])
{
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    const save_state *save = &trainer->saves->save[i];
    state[i][0] = save->redrawn_noise;
    state[i][1] = save->found_noise;
    state[i][2] = (double)save->redrawn_step;
    state[i][3] = (double)save->redraws;
  }
}

int
saves_set_redraw_state(actnn *trainer, double (*state)[SAVES_REDRAW_NUMBERS])
{
  for (uint32_t i = 0; i < trainer->model->save_count; i++)
    for (int k = 0; k < SAVES_REDRAW_NUMBERS; k++)
      if (!(state[i][k] >= 0 && state[i][k] < 1e300) || (k > 1 && state[i][k] > 0x1p53))
        return actnn_fail(trainer, "the checkpoint's noise of redrawn codes is no number of this model, at %s",
                          trainer->model->save[i].name);
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    save_state *save = &trainer->saves->save[i];
    save->redrawn_noise = state[i][0];
    save->found_noise = state[i][1];
    save->redrawn_step = (int64_t)state[i][2];
    save->redraws = (uint64_t)state[i][3];
    save->measured |= save->redraws > 0;
  }
  return 0;
}
