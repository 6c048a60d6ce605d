/* poison.c: fills what is not alive with NaN, after every call. */
#undef actnn_run /* where this file is compiled along with an emitted source */
#include "poison.h"

#include "../../runtime/device.h"
#include "../../runtime/offload.h"
#include "../../runtime/saves_state.h"

#include <stdlib.h>
#include <string.h>

/* Evaluation runs at other times than training, in the same memory. */
enum { TRAINING, EVALUATION, SEQUENCES };
enum { POISON = 0xFF }; /* NaN as a float; neither false nor true; an index out of every range */

typedef struct Life {
  uint32_t first, last; /* calls of the sequence, from 1; 0: none */
  bool is_pinned;       /* read on the host after the step */
} Life;

typedef struct Interval {
  uint64_t start, end;
} Interval;

struct Poison {
  const actnn_model *real;
  actnn_model model;
  actnn *trainer; /* once it is poisoned */
  Life *life[SEQUENCES]; /* by tensor */
  uint32_t *save_of;     /* by tensor: the save whose codes it is, or NONE */
  Interval *alive;
  int sequence;
  uint32_t call[SEQUENCES]; /* counts them */
  uint64_t bytes;
};

static Poison *current; /* the emitted functions have no place for more than the trainer */

/* ---- the functions of the copied model ---------------------------------------------------------------- */

/* On a device what is the processor's memory is filled, and sent there. */
static int
fill(actnn *trainer, uint64_t start, uint64_t end)
{
  memset(trainer->arena + start, POISON, end - start);
  return device_send(trainer, start, end - start);
}

/* The first forward of a step: from here on memory is poisoned. */
static int
begin(Poison *poison, actnn *trainer)
{
  const actnn_model *model = &poison->model;
  const uint32_t pinned[] = {model->loss, model->training_output, model->evaluation_loss, model->evaluation_output,
                             model->evaluation_losses};
  for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++)
    for (int s = 0; s < SEQUENCES && pinned[i] != NONE; s++)
      poison->life[s][pinned[i]].is_pinned = true;
  poison->trainer = trainer;
  return fill(trainer, model->variable_bytes, trainer->arena_bytes);
}

static int
forward(actnn *trainer)
{
  if (!trainer->preparing && !current->trainer && begin(current, trainer))
    return 1;
  current->sequence = TRAINING;
  current->call[TRAINING] = 0;
  return current->real->forward(trainer);
}

static int
evaluate(actnn *trainer)
{
  current->sequence = EVALUATION;
  current->call[EVALUATION] = 0;
  return current->real->evaluate(trainer);
}

Poison *
poison_create(const actnn_model *model)
{
  Poison *poison = calloc(1, sizeof *poison);
  if (!poison)
    return NULL;
  size_t count = model->tensor_count + 1u;
  poison->real = model;
  poison->model = *model;
  poison->model.forward = forward;
  poison->model.evaluate = model->evaluate ? evaluate : NULL;
  poison->alive = calloc(count, sizeof *poison->alive);
  poison->save_of = malloc(count * sizeof *poison->save_of);
  for (int i = 0; i < SEQUENCES; i++)
    poison->life[i] = calloc(count, sizeof *poison->life[i]);
  if (!poison->alive || !poison->save_of || !poison->life[0] || !poison->life[1]) {
    poison_destroy(poison);
    return NULL;
  }
  memset(poison->save_of, 0xFF, count * sizeof *poison->save_of);
  for (uint32_t i = 0; i < model->save_count; i++)
    poison->save_of[model->save[i].tensor] = i;
  current = poison;
  return poison;
}

const actnn_model *
poison_model(const Poison *poison)
{
  return &poison->model;
}

void
poison_destroy(Poison *poison)
{
  if (!poison)
    return;
  for (int i = 0; i < SEQUENCES; i++)
    free(poison->life[i]);
  free(poison->save_of);
  free(poison->alive);
  if (current == poison)
    current = NULL;
  free(poison);
}

uint64_t
poison_bytes(const Poison *poison)
{
  return poison->bytes;
}

/* ---- what lives ----------------------------------------------------------------------------------------- */

static void
take_down(Poison *poison, actnn_list list, uint32_t call)
{
  for (size_t i = 0; i < list.count; i++) {
    if (list.id[i] == NONE)
      continue;
    Life *life = &poison->life[poison->sequence][list.id[i]];
    if (!life->first)
      life->first = call;
    life->last = call;
  }
}

/* What measures a save's noise reads its codes, which it names by the save's number. */
static void
take_down_hidden(Poison *poison, actnn_kernel *kernel, actnn_attributes with, uint32_t call)
{
  if (kernel != actnn_MeasureSensitivity)
    return;
  uint32_t stash = poison->model.save[with.attribute[0].i].tensor;
  take_down(poison, (actnn_list){1, &stash}, call);
}

static int
compare_intervals(const void *left, const void *right)
{
  const Interval *a = left, *b = right;
  return a->start < b->start ? -1 : a->start > b->start;
}

/* Where a tensor lies now: what is saved is where the pool has it this step, also while it is away from there. */
static Interval
place_of(const Poison *poison, uint32_t id)
{
  const actnn_model *model = &poison->model;
  if (poison->save_of[id] == NONE) {
    uint64_t start = model->tensor[id].offset + offload_exact_place(poison->trainer, id);
    return (Interval){start, start + model->tensor[id].bytes};
  }
  const save_state *state = &poison->trainer->saves->save[poison->save_of[id]];
  return (Interval){model->stash_offset + state->place, model->stash_offset + state->place + state->share};
}

/* The intervals behind the variables that are read after call `call`, in order of place. */
static size_t
list_alive(const Poison *poison, uint32_t call)
{
  const Life *lives = poison->life[poison->sequence];
  size_t count = 0;
  for (uint32_t id = 0; id < poison->model.tensor_count; id++) {
    const Life *life = &lives[id];
    bool is_alive = life->first && life->first <= call && (life->last > call || life->is_pinned);
    if (is_alive && (place_of(poison, id).start >= poison->model.variable_bytes))
      poison->alive[count++] = place_of(poison, id);
  }
  qsort(poison->alive, count, sizeof *poison->alive, compare_intervals);
  return count;
}

static int
fill_dead(Poison *poison, uint32_t call)
{
  actnn *trainer = poison->trainer;
  size_t count = list_alive(poison, call);
  uint64_t at = poison->model.variable_bytes;
  for (size_t i = 0; i <= count; i++) {
    uint64_t start = i < count ? poison->alive[i].start : trainer->arena_bytes;
    if (start > at) {
      if (fill(trainer, at, start))
        return 1;
      poison->bytes += start - at;
    }
    if (i < count && poison->alive[i].end > at)
      at = poison->alive[i].end;
  }
  return 0;
}

int
poisoned_run(actnn *trainer, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with)
{
  Poison *poison = current;
  if (!poison || (!trainer->preparing && poison->trainer != trainer))
    return actnn_run(trainer, kernel, out, in, with);
  uint32_t call = ++poison->call[poison->sequence];
  if (trainer->preparing) {
    take_down(poison, in, call);
    take_down(poison, out, call);
    take_down_hidden(poison, kernel, with, call);
    return actnn_run(trainer, kernel, out, in, with);
  }
  bool waits = trainer->device && actnn_is_update(kernel); /* for updates behind it, to be launched with them */
  return actnn_run(trainer, kernel, out, in, with) || (!waits && fill_dead(poison, call));
}
