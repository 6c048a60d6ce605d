/* offload.c: see offload.h. Copies are the device's, on a stream of their own: it is told when they may begin, and who waits for them. */
#include "offload.h"
#include "device.h"
#include "offload_schedule.h"
#include "saves_state.h"

#include <stdlib.h>

struct offload {
  offload_save *save;   /* those with codes, then those of values as they are */
  uint32_t *exact;      /* of the latter: the stashes */
  uint64_t exact_bytes; /* that they take */
  uint64_t *host_place; /* by save: bytes from the start of the host's memory */
  uint32_t *by_return;  /* saves as they are read first, */
  size_t returning;     /* so many */
  uint32_t *call;       /* of each call that touches a save, in order: which */
  size_t call_count, call_capacity, next;
  void *scratch;
};

int
offload_create(actnn *trainer)
{
  const actnn_model *model = trainer->model;
  if (!offload_bytes(model))
    return 0;
  if (!trainer->device)
    return actnn_fail(trainer, "%s: codes wait in the host's memory only while a device computes", model->name);
  struct offload *offload = trainer->offload = calloc(1, sizeof *offload);
  size_t count = (size_t)offload_count(model) + 1;
  if (offload) {
    offload->save = calloc(count, sizeof *offload->save);
    offload->exact = malloc(((size_t)model->exact_count + 1) * sizeof *offload->exact);
    offload->host_place = calloc(count, sizeof *offload->host_place);
    offload->by_return = calloc(count, sizeof *offload->by_return);
    offload->scratch = malloc(offload_scratch(count));
  }
  if (!offload || !offload->save || !offload->exact || !offload->host_place || !offload->by_return || !offload->scratch)
    return actnn_fail(trainer, "no memory for the places of %u saved values", offload_count(model));
  for (uint32_t i = 0; i < model->exact_count; i++)
    offload->exact[i] = NONE;
  return 0;
}

void
offload_destroy(actnn *trainer)
{
  struct offload *offload = trainer->offload;
  if (!offload)
    return;
  free(offload->save);
  free(offload->exact);
  free(offload->host_place);
  free(offload->by_return);
  free(offload->call);
  free(offload->scratch);
  free(offload);
  trainer->offload = NULL;
}

uint64_t
offload_bytes(const actnn_model *model)
{
  return model->window_bytes ? model->stash_bytes + model->exact_bytes : 0;
}

uint32_t
offload_count(const actnn_model *model)
{
  return model->save_count + model->exact_count;
}

/* ---- calls ------------------------------------------------------------------------------------------- */

static bool
touches_codes(actnn_kernel *kernel)
{
  actnn_kernel *const kernels[] = {actnn_QuantizeOnSave,   actnn_DequantizeOnBackward, actnn_SelectCoded,
                                   actnn_NormalizeOnSave,  actnn_DequantizeAffine,     actnn_DequantizeNormal,
                                   actnn_NormalGradScale,  actnn_NormalGradInput,      actnn_MeasureSensitivity,
                                   actnn_MultiplyCoded};
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
    if (kernels[i] == kernel)
      return true;
  return false;
}

static bool
is_exact(actnn_kernel *kernel)
{
  return kernel == actnn_SaveExact || kernel == actnn_RestoreExact;
}

static bool
makes_save(actnn_kernel *kernel)
{
  return kernel == actnn_QuantizeOnSave || kernel == actnn_NormalizeOnSave || kernel == actnn_SaveExact;
}

/* Which save a call touches; NONE. */
static uint32_t
touched_by(const actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  if (!trainer->offload || !(touches_codes(kernel) || is_exact(kernel)))
    return NONE;
  const actnn_model *model = trainer->model;
  uint32_t count = is_exact(kernel) ? model->exact_count : model->save_count;
  if (!call->attribute_count || call->attribute[0].i < 0 || call->attribute[0].i >= count)
    return NONE;
  return (uint32_t)call->attribute[0].i + (is_exact(kernel) ? model->save_count : 0);
}

static const char *
name_of(const actnn *trainer, uint32_t index)
{
  return index < trainer->model->save_count ? trainer->model->save[index].name : "a value that is saved as it is";
}

/* Bytes of a value as it is are its stash's, for good. */
static int
note_exact(actnn *trainer, uint32_t index, uint32_t stash)
{
  const actnn_model *model = trainer->model;
  struct offload *offload = trainer->offload;
  uint32_t *known = &offload->exact[index - model->save_count];
  uint64_t bytes = stash < model->tensor_count ? model->tensor[stash].bytes : 0;
  if (!bytes || *known != NONE || bytes > model->exact_bytes - offload->exact_bytes)
    return actnn_fail(trainer, "%s: values that are saved as they are do not fit the %llu bytes planned for them: the trainer was made by "
                               "another version of actnnc; translate the model again",
                      model->name, (unsigned long long)model->exact_bytes);
  *known = stash;
  offload->save[index].bytes = bytes;
  offload->exact_bytes += bytes;
  return 0;
}

int
offload_note(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  struct offload *offload = trainer->offload;
  uint32_t index = touched_by(trainer, kernel, call);
  if (index == NONE)
    return 0;
  if (offload->call_count == offload->call_capacity) {
    size_t capacity = offload->call_capacity * 2 + 64;
    uint32_t *more = realloc(offload->call, capacity * sizeof *more);
    if (!more)
      return actnn_fail(trainer, "no memory for the table of calls that touch saves");
    offload->call = more;
    offload->call_capacity = capacity;
  }
  offload_save *save = &offload->save[index];
  uint32_t number = (uint32_t)offload->call_count;
  offload->call[offload->call_count++] = index;
  if (makes_save(kernel)) {
    save->made = save->first = save->last = number;
    return is_exact(kernel) && note_exact(trainer, index, call->output[0].id);
  }
  if (save->first == save->made) {
    save->first = number;
    offload->by_return[offload->returning++] = index;
  }
  save->last = number;
  return 0;
}

/* ---- the schedule -------------------------------------------------------------------------------------- */

bool
offload_fits(actnn *trainer)
{
  struct offload *offload = trainer->offload;
  uint32_t count = offload_count(trainer->model);
  uint64_t end = 0;
  if (!offload)
    return true;
  for (uint32_t i = 0; i < count; i++) {
    if (i < trainer->model->save_count)
      offload->save[i].bytes = trainer->saves->save[i].share;
    offload->host_place[i] = end;
    end += offload->save[i].bytes;
  }
  return offload_schedule(offload->save, count, trainer->model->window_bytes, offload->scratch);
}

uint64_t
offload_place(const actnn *trainer, uint32_t save, uint64_t place)
{
  return trainer->offload ? trainer->offload->save[save].place : place;
}

uint64_t
offload_exact_place(const actnn *trainer, uint32_t tensor)
{
  for (uint32_t i = 0; trainer->offload && i < trainer->model->exact_count; i++)
    if (trainer->offload->exact[i] == tensor)
      return trainer->offload->save[trainer->model->save_count + i].place;
  return 0;
}

/* ---- copies ---------------------------------------------------------------------------------------------- */

static bool
share_bytes(const offload_save *one, const offload_save *other)
{
  return one->place < other->place + other->bytes && other->place < one->place + one->bytes;
}

/* New codes may lie where others lay that are still on their way out. */
static int
await_departures(actnn *trainer, const offload_save *made)
{
  const struct offload *offload = trainer->offload;
  for (uint32_t i = 0; i < offload_count(trainer->model); i++) {
    const offload_save *other = &offload->save[i];
    if (other->is_away && other->made < made->made && share_bytes(other, made) && trainer->device->await_codes(trainer, i))
      return 1;
  }
  return 0;
}

void
offload_begin(actnn *trainer)
{
  if (trainer->offload)
    trainer->offload->next = 0;
}

int
offload_before(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  struct offload *offload = trainer->offload;
  uint32_t index = touched_by(trainer, kernel, call);
  if (index == NONE)
    return 0;
  if (offload->next >= offload->call_count || offload->call[offload->next] != index)
    return actnn_fail(trainer, "%s: the calls of a step are not those that it was prepared with", name_of(trainer, index));
  const offload_save *save = &offload->save[index];
  if (makes_save(kernel))
    return await_departures(trainer, save);
  return save->is_away && save->first == offload->next && trainer->device->await_codes(trainer, index);
}

int
offload_after(actnn *trainer, actnn_kernel *kernel, const actnn_call *call)
{
  struct offload *offload = trainer->offload;
  uint32_t index = touched_by(trainer, kernel, call);
  if (index == NONE)
    return 0;
  const offload_save *save = &offload->save[index];
  uint64_t window = trainer->model->stash_offset;
  uint32_t number = (uint32_t)offload->next++;
  if (save->is_away && makes_save(kernel) &&
      trainer->device->put_codes_away(trainer, index, window + save->place, offload->host_place[index], save->bytes))
    return 1;
  for (size_t k = 0; k < offload->returning; k++) {
    uint32_t other = offload->by_return[k];
    save = &offload->save[other];
    if (save->is_away && save->asked == number &&
        trainer->device->bring_codes_back(trainer, other, window + save->place, offload->host_place[other], save->bytes))
      return 1;
  }
  return 0;
}

int
offload_end(actnn *trainer)
{
  return trainer->offload && trainer->device->join_copies(trainer);
}
