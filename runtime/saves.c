/* saves.c: see saves.h. How many bytes each save has, and where; spending them is saves_coding.c's, the coding itself
 * codec.c's.
 *
 * A step's plan: `saves_begin_step` gives each save a share of the pool, and a place. In forward, each save
 * spends its share on its samples. So a save never exceeds its share, and the shares never exceed the pool. A
 * step that measures (every SAVES_INTERVAL, from the first on) records for each sample the variance that its
 * code adds to the gradients that read it (saves_measure.c); what goes on into other layers is found by computing
 * a step twice (saves_redraw.c). The next step's shares come from one allocation over all samples of all measured
 * saves. Saves that are not adaptive, or that nothing was measured for, keep the share that the translator planned.
 */
#include "saves_state.h"

#include "offload.h"

#include <math.h>
#include <stdlib.h>

/* ---- Creation ------------------------------------------------------------------------------------ */

int
saves_create(actnn *trainer)
{
  struct saves *saves = calloc(1, sizeof *saves);
  trainer->saves = saves;
  if (saves)
    saves->save = calloc((size_t)trainer->model->save_count + 1, sizeof *saves->save);
  if (saves)
    saves->gradient_weight = calloc((size_t)trainer->model->tensor_count + 1, sizeof *saves->gradient_weight);
  if (!saves || !saves->save || !saves->gradient_weight)
    return actnn_fail(trainer, "no memory for the table of %u coded values", trainer->model->save_count);
  for (uint32_t i = 0; i < trainer->model->tensor_count; i++)
    saves->gradient_weight[i] = 1;
  saves->kernels = actnn_codec_best_kernels();
  saves->redrawn = NONE;
  if (saves_prepare_redraws(trainer))
    return 1;
  return 0;
}

void
saves_destroy(actnn *trainer)
{
  struct saves *saves = trainer->saves;
  if (!saves)
    return;
  for (uint32_t i = 0; saves->save && i < trainer->model->save_count; i++) {
    free(saves->save[i].choice);
    free(saves->save[i].range);
    for (int kind = 0; kind < DEMAND_KINDS; kind++)
      free(saves->save[i].demand[kind]);
    free(saves->save[i].flow);
    free(saves->save[i].channel);
    free(saves->save[i].sum);
    free(saves->save[i].energy);
    free(saves->save[i].noise);
  }
  free(saves->save);
  saves_destroy_redraws(saves);
  free(saves->gradient_weight);
  free(saves->partial);
  free(saves->offset);
  free(saves->width);
  free(saves->tile);
  free(saves->item);
  free(saves->item_cost);
  free(saves->item_choice);
  free(saves->tile_noise);
  free(saves->scratch);
  free(saves);
  trainer->saves = NULL;
}

/* ---- Shares of the pool -------------------------------------------------------------------------- */

int
saves_place(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  uint64_t end = 0;
  for (uint32_t i = 0; i < model->save_count; i++) {
    save_state *state = &trainer->saves->save[i];
    if (!state->known)
      return actnn_fail(trainer, "%s: it is never coded; the trainer's functions were not prepared",
                        model->save[i].name);
    if (state->share > model->stash_bytes || end > model->stash_bytes - state->share)
      return actnn_fail(trainer,
                        "coded values need more than the %llu bytes planned for them, at %s: the trainer was "
                        "made by another version of actnnc; translate the model again",
                        (unsigned long long)model->stash_bytes, model->save[i].name);
    state->place = end;
    state->coded = false;
    end += state->share;
  }
  if (!offload_fits(trainer))
    return actnn_fail(trainer, "the window of %llu bytes does not hold what single calls need of the codes: the trainer was made by "
                               "another version of actnnc; translate the model again",
                      (unsigned long long)model->window_bytes);
  for (uint32_t i = 0; i < model->save_count; i++)
    trainer->saves->save[i].place = offload_place(trainer, i, trainer->saves->save[i].place);
  trainer->saves->placed = true;
  trainer->saves->version++;
  return 0;
}

bool
saves_are_steady(const actnn *trainer)
{
  return !saves_look_at_choices(trainer) && trainer->saves->redrawn == NONE;
}

uint64_t
saves_version(const actnn *trainer)
{
  return trainer->saves->version;
}

static bool
takes_part(const actnn *trainer, uint32_t index)
{
  const save_state *state = &trainer->saves->save[index];
  return trainer->model->save[index].adaptation != ACTNN_KEEPS_ITS_SHARE && state->measured && state->codec.samples > 0;
}

/* Adds what the saves' noise does to the weights of a profile. */
static void
record_weights(actnn *trainer)
{
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    save_state *state = &trainer->saves->save[i];
    if (!takes_part(trainer, i))
      continue;
    for (int64_t sample = 0; sample < state->codec.samples; sample++)
      state->weight_sum += saves_demand(trainer, i, sample);
    state->weights++;
  }
}

/* How many of a save's choices its samples may have: in a window no save has more than half of it, so that there is room for another. */
static int
choices_within_window(const actnn *trainer, const save_state *state)
{
  uint64_t window = trainer->model->window_bytes, samples = (uint64_t)state->codec.samples;
  int choices = state->choices;
  while (window && choices > 1 && state->bytes[choices - 1] * samples > window / 2)
    choices--;
  return choices;
}

/* Lists the samples of all saves that take part, with what their noise does; false when a number is unusable.
 */
static bool
list_samples(const actnn *trainer)
{
  struct saves *saves = trainer->saves;
  double sum = 0;
  size_t count = 0;
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    const save_state *state = &saves->save[i];
    int choices = choices_within_window(trainer, state);
    for (int64_t sample = 0; takes_part(trainer, i) && sample < state->codec.samples; sample++, count++) {
      double demand = saves_demand(trainer, i, sample);
      if (!isfinite(demand))
        return false;
      for (int choice = 0; choice < choices; choice++)
        saves->item_cost[count][choice] = demand * state->noise_of[choice];
      saves->item[count] =
          (actnn_allocation_item){.bytes = state->bytes, .cost = saves->item_cost[count], .choices = choices};
      sum += demand;
    }
  }
  return sum > 0 && isfinite(sum);
}

/* Sets the shares of the saves that take part to what their samples got; those before are kept. */
static void
share_out(actnn *trainer)
{
  const uint8_t *choice = trainer->saves->item_choice;
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    save_state *state = &trainer->saves->save[i];
    state->share_before = state->share;
    if (!takes_part(trainer, i))
      continue;
    uint64_t bytes = 0;
    for (int64_t sample = 0; sample < state->codec.samples; sample++)
      bytes += state->bytes[*choice++];
    state->share = (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  }
  trainer->saves->placed = false;
}

/* Undoes what was shared out. */
static void
take_shares_back(const actnn *trainer)
{
  for (uint32_t i = 0; i < trainer->model->save_count; i++)
    trainer->saves->save[i].share = trainer->saves->save[i].share_before;
}

/* One allocation over all samples of the saves that were measured; each save's share is what its samples got.
 * When nothing usable was measured (all gradients zero, or not finite) the shares stay as they are. */
static void
adapt(actnn *trainer)
{
  struct saves *saves = trainer->saves;
  uint64_t budget = trainer->model->stash_bytes;
  size_t count = 0;
  actnn_allocation result;
  saves->fresh = false;
  saves_settle_redraws(trainer);
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    bool moves = takes_part(trainer, i);
    uint64_t taken = moves ? ACTNN_ALIGNMENT - 1 : saves->save[i].share; /* shares are rounded up below */
    budget -= taken < budget ? taken : budget;
    count += moves ? (size_t)saves->save[i].codec.samples : 0;
  }
  if (!list_samples(trainer) ||
      actnn_allocate(saves->scratch, saves->item, count, budget, saves->item_choice, NULL, &result))
    return;
  if (saves->record_weights)
    record_weights(trainer);
  share_out(trainer);
  if (!offload_fits(trainer)) {
    take_shares_back(trainer);
    return;
  }
  saves->cost = result.cost;
  saves->bound = result.bound;
}

void
saves_forget_measure(actnn *trainer)
{
  trainer->saves->fresh = false;
}

int
saves_begin_step(actnn *trainer)
{
  struct saves *saves = trainer->saves;
  if (saves->fresh && trainer->draw == 0)
    adapt(trainer);
  saves->gradient_squares = saves->plain_squares = 0;
  if (saves_measure_at(trainer))
    saves_forget_demands(saves, trainer->model->save_count);
  saves->flow_tensor = NONE;
  return saves->placed ? 0 : saves_place(trainer);
}

int
saves_shares(actnn *trainer, uint64_t *bytes)
{
  if (trainer->saves->fresh)
    adapt(trainer);
  for (uint32_t i = 0; i < trainer->model->save_count; i++)
    bytes[i] = trainer->saves->save[i].share;
  return 0;
}

int
saves_set_shares(actnn *trainer, const uint64_t *bytes)
{
  struct saves *saves = trainer->saves;
  uint64_t end = 0;
  for (uint32_t i = 0; i < trainer->model->save_count; i++) {
    save_state *state = &saves->save[i];
    uint64_t least = state->bytes[0] * (uint64_t)state->codec.samples;
    if (!state->known || bytes[i] % ACTNN_ALIGNMENT || bytes[i] < least ||
        bytes[i] > trainer->model->stash_bytes || end > trainer->model->stash_bytes - bytes[i])
      return actnn_fail(trainer, "the checkpoint's shares of the pool of codes do not fit this model, at %s",
                        trainer->model->save[i].name);
    end += bytes[i];
  }
  for (uint32_t i = 0; i < trainer->model->save_count; i++)
    saves->save[i].share = bytes[i];
  saves->fresh = false;
  saves->placed = false;
  if (offload_fits(trainer))
    return 0;
  for (uint32_t i = 0; i < trainer->model->save_count; i++)
    saves->save[i].share = trainer->model->tensor[trainer->model->save[i].tensor].bytes;
  if (!trainer->quiet)
    fprintf(stderr, "%s: the checkpoint's shares of the pool do not fit the window of codes; bits are shared out anew\n",
            trainer->model->name);
  return 0;
}

void
saves_place_of(const actnn *trainer, uint32_t tensor, uint64_t *offset, uint64_t *bytes)
{
  const actnn_model *model = trainer->model;
  for (uint32_t i = 0; i < model->save_count; i++)
    if (model->save[i].tensor == tensor) {
      *offset = model->stash_offset + trainer->saves->save[i].place;
      *bytes = trainer->saves->save[i].share;
    }
}

/* ---- What the trainer asks ----------------------------------------------------------------------- */

void
saves_count_noise(actnn *trainer, bool count)
{
  trainer->saves->count_noise = count;
}

void
saves_redraw_only(actnn *trainer, uint32_t index)
{
  trainer->saves->redrawn = index;
}

double
saves_predicted_variance(const actnn *trainer, uint32_t index, bool normal)
{
  const save_state *state = &trainer->saves->save[index];
  return !state->has_prediction ? NAN : normal ? state->predicted_normal : state->predicted;
}

void
saves_record_weights(actnn *trainer)
{
  trainer->saves->record_weights = true;
}

double
saves_weight(const actnn *trainer, uint32_t index)
{
  const save_state *state = &trainer->saves->save[index];
  return state->weights ? state->weight_sum / (double)state->weights : NAN;
}

uint64_t
saves_coded_bytes(const actnn *trainer, uint32_t index)
{
  return trainer->saves->save[index].coded_bytes;
}

double
saves_levels(const actnn *trainer, uint32_t index)
{
  const save_state *state = &trainer->saves->save[index];
  double sum = 0;
  for (int64_t sample = 0; sample < state->codec.samples; sample++)
    sum += state->levels[state->choice[sample]];
  return state->codec.samples > 0 ? sum / (double)state->codec.samples : 0;
}

bool
saves_certificate(const actnn *trainer, double *cost, double *bound)
{
  *cost = trainer->saves->cost;
  *bound = trainer->saves->bound;
  return trainer->saves->cost > 0;
}
