/* finite.c: see finite.h. */
#include "finite.h"
#include "copying.h"
#include "device.h"
#include "saves.h"
#include "trainer.h"

#include <math.h>
#include <sys/mman.h>

int
finite_reserve(actnn *trainer)
{
  size_t bytes = (size_t)trainer->model->variable_bytes;
  void *memory = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return actnn_fail(trainer, "%s: --on-nonfinite=skip keeps a copy of all variables, and there are no %.1f MiB of memory for it",
                      trainer->model->name, (double)bytes / 1048576);
  trainer->kept = memory;
  return 0;
}

void
finite_release(actnn *trainer)
{
  if (trainer->kept)
    munmap(trainer->kept, (size_t)trainer->model->variable_bytes + 1);
  trainer->kept = NULL;
}

int
finite_keep(actnn *trainer)
{
  trainer->is_not_finite = false;
  if (!trainer->kept)
    return 0;
  if (device_fetch(trainer, 0, trainer->model->variable_bytes))
    return 1;
  copy_by_threads(trainer->kept, trainer->arena, (size_t)trainer->model->variable_bytes);
  return 0;
}

static bool
is_finite(const float *value, size_t count)
{
  for (size_t i = 0; i < count; i++)
    if (!isfinite(value[i]))
      return false;
  return true;
}

static int
refuse(actnn *trainer, const char *before, const char *name, const char *after)
{
  trainer->is_not_finite = true;
  return actnn_fail(trainer, "step %llu: %s%.200s%s; lower --lr", (unsigned long long)trainer->step, before, name, after);
}

int
finite_check_forward(actnn *trainer, double loss)
{
  const actnn_model *model = trainer->model;
  if (!isfinite(loss))
    return refuse(trainer, "the ", "loss", " is not finite");
  for (uint32_t index = 0; index < model->variable_count; index++) {
    const actnn_variable *variable = &model->variable[index];
    const actnn_tensor *tensor = &model->tensor[variable->tensor];
    if (variable->role == ACTNN_RUNNING && tensor->type == ACTNN_F32 &&
        !is_finite(actnn_data(trainer, variable->tensor), trainer_elements(tensor)))
      return refuse(trainer, "the running statistic '", variable->name ? variable->name : "", "' is not finite");
  }
  return 0;
}

/* The variable that is this tensor; NULL: none. */
static const actnn_variable *
variable_of(const actnn_model *model, uint32_t tensor)
{
  for (uint32_t index = 0; index < model->variable_count; index++)
    if (model->variable[index].tensor == tensor)
      return &model->variable[index];
  return NULL;
}

int
finite_check_device(actnn *trainer, double loss, uint32_t tensor)
{
  if (!isfinite(loss))
    return refuse(trainer, "the ", "loss", " is not finite");
  if (tensor == NONE)
    return 0;
  const actnn_variable *variable = variable_of(trainer->model, tensor);
  const char *name = variable && variable->name ? variable->name : "";
  if (variable && variable->role == ACTNN_RUNNING)
    return refuse(trainer, "the running statistic '", name, "' is not finite");
  return refuse(trainer, "the gradient of '", name, "', or what becomes of it in its update, is not finite");
}

int
finite_refuse_update(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  const actnn_model *model = trainer->model;
  const actnn_variable *variable = variable_of(model, call->input[0].id);
  const char *name = variable && variable->name ? variable->name : "";
  size_t count = trainer_elements(&model->tensor[call->input[1].id]);
  if (!is_finite(call->input[1].data, count))
    return refuse(trainer, "the gradient of '", name, "' is not finite");
  return refuse(trainer, "'", name, "' or its optimizer state is not finite after its update");
}

bool
finite_undo(actnn *trainer)
{
  if (!trainer->is_not_finite || !trainer->kept)
    return false;
  copy_by_threads(trainer->arena, trainer->kept, (size_t)trainer->model->variable_bytes);
  trainer->is_ahead = false; /* inputs are among what was kept: the mirror has this step's again */
  if (device_send(trainer, 0, trainer->model->variable_bytes))
    return false;
  saves_forget_measure(trainer);
  trainer->step++;
  return true;
}
