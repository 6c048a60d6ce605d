/* trainers.c: emitted trainers in this process: compiled together, loaded, run. */
#include "trainers.h"

#include "poison.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The runtime's header is compiled once: that is a fifth of the work. A compiler that does not know such headers reads the text. */
static const char compiled_header[] = "actnn.h.gch";

static const char *
compiler_command(Arena *arena)
{
  const char *compiler = getenv("CC"), *source = getenv("top_srcdir"), *build = getenv("top_builddir");
  return arena_format(arena,
                      "%s -std=c11 -O0 -Wall -Wextra -pedantic -Werror -fPIC -DACTNN_NO_MAIN -Dactnn_run=poisoned_run"
                      " -I. -I'%s/runtime' -I'%s/runtime'",
                      compiler ? compiler : "cc", source ? source : "..", build ? build : ".");
}

void *
load_trainers(const char *const *names, size_t count, const char *object, Arena *arena)
{
  const char *command = compiler_command(arena), *source = getenv("top_srcdir");
  if (access(compiled_header, R_OK)
      && system(arena_format(arena, "%s -x c-header -o %s '%s/runtime/actnn.h'", command, compiled_header, source ? source : "..")))
    printf("# cannot compile the header\n");
  command = arena_format(arena, "%s -shared -o %s", command, object);
  for (size_t i = 0; i < count; i++) command = arena_format(arena, "%s %s.c", command, names[i]);
  if (system(command)) {
    printf("# cannot compile: %s\n", command);
    return NULL;
  }
  void *trainers = dlopen(arena_format(arena, "./%s", object), RTLD_NOW | RTLD_LOCAL);
  if (!trainers) printf("# %s\n", dlerror());
  return trainers;
}

void
remove_compiled_header(void)
{
  unlink(compiled_header);
}

void
unload_trainers(void *trainers)
{
  if (trainers) dlclose(trainers);
}

/* ---- inputs ---------------------------------------------------------------------------------------------- */

static void
copy_tensor(const Tensor *from, actnn_type type, void *to)
{
  int64_t count = 0;
  shape_elements(&from->shape, &count);
  for (int64_t i = 0; i < count; i++) {
    if (type == ACTNN_F32) ((float *)to)[i] = (float)((const double *)from->data)[i];
    else ((int64_t *)to)[i] = ((const int64_t *)from->data)[i];
  }
}

/* Inputs by name; what the graph does not have are the labels of the loss. */
static bool
fill_inputs(const RandomGraph *graph, actnn *trainer, const Tensor *labels)
{
  const actnn_model *model = trainer->model;
  for (uint32_t i = 0; i < model->input_count; i++) {
    uint32_t id = model->input[i].tensor;
    const Tensor *tensor = NULL;
    if (id == model->learning_rate || id == model->step_number) continue;
    for (uint32_t k = 0; k < graph->program->input_count && !tensor; k++) {
      ValueId input = graph->program->inputs[k];
      if (!strcmp(value_at(graph->program, input)->name, model->input[i].name)) tensor = graph->tensor[input];
    }
    if (!tensor) tensor = labels;
    if (!tensor) return false;
    copy_tensor(tensor, (actnn_type)model->tensor[id].type, actnn_data(trainer, id));
  }
  return true;
}

/* The labels of a loss that the translator attaches; NULL for a model that has its own. */
static const Tensor *
make_labels(const RandomGraph *graph, const actnn_model *model, Arena *arena)
{
  if (model->label == NONE || !graph->loss) return NULL;
  const actnn_tensor *tensor = &model->tensor[model->input[model->label].tensor];
  Shape shape = shape_of(tensor->rank, tensor->dim);
  return draw_labels(graph->number, (actnn_type)tensor->type, shape, shape_at(graph, graph->program->outputs[0]), arena);
}

/* ---- gradients --------------------------------------------------------------------------------------------- */

typedef struct Observation {
  const actnn_model *model;
  Reference *gradients;
  Arena *arena;
} Observation;

static void
observe(void *context, uint32_t variable, const float *gradient, size_t count)
{
  Observation *observation = context;
  ReferenceGradient *made = &observation->gradients->gradient[observation->gradients->count++];
  made->count = (int64_t)count;
  made->data = arena_array(observation->arena, count + 1, sizeof *made->data);
  for (size_t i = 0; i < count; i++) made->data[i] = gradient[i];
  for (uint32_t i = 0; i < observation->model->variable_count; i++)
    if (observation->model->variable[i].tensor == variable) made->parameter = observation->model->variable[i].name;
}

/* ---- runs --------------------------------------------------------------------------------------------------- */

static uint64_t
hash_variables(actnn *trainer)
{
  uint64_t hash = 14695981039346656037u;
  const actnn_model *model = trainer->model;
  for (uint32_t i = 0; i < model->variable_count; i++) {
    const actnn_tensor *tensor = &model->tensor[model->variable[i].tensor];
    const unsigned char *data = actnn_data(trainer, model->variable[i].tensor);
    for (size_t k = 0; k < trainer_elements(tensor) * trainer_type_bytes(tensor->type); k++) hash = (hash ^ data[k]) * 1099511628211u;
  }
  return hash;
}

static const char *
train(actnn *trainer, const RunOptions *options, Run *run, Arena *arena)
{
  Observation observation = {trainer->model, NULL, arena};
  double loss;
  if (options->wants_gradients) {
    run->gradients = observation.gradients = arena_allocate(arena, sizeof *run->gradients);
    run->gradients->gradient = arena_array(arena, trainer->model->variable_count + 1u, sizeof *run->gradients->gradient);
    actnn_observe_gradients(trainer, observe, &observation);
    if (actnn_step(trainer, 0.01, &loss)) return actnn_error(trainer);
    run->gradients->loss = loss;
    actnn_observe_gradients(trainer, NULL, NULL);
  }
  for (int i = 0; i < options->steps; i++)
    if (actnn_step(trainer, 0.01, &run->loss[i])) return actnn_error(trainer);
  if (options->steps && trainer->model->evaluate && actnn_evaluate_batch(trainer, &run->evaluation_loss)) return actnn_error(trainer);
  run->variables_hash = hash_variables(trainer);
  return NULL;
}

Run
run_trainer(const RandomGraph *graph, void *trainers, const Emission *emission, const RunOptions *options, Arena *arena)
{
  Run run = {.failure = "its model is not in the shared object"};
  char error[600] = "";
  const actnn_model *model = dlsym(trainers, arena_format(arena, "%s_model", emission->name));
  if (!model) return run;
  Poison *poison = options->is_poisoned ? poison_create(model) : NULL;
  trainer_options how = {.threads = 1, .channel_block = options->channel_block, .quiet = getenv("SHOW") == NULL};
  actnn *trainer = trainer_create(poison ? poison_model(poison) : model, &how, error, sizeof error);
  run.failure = NULL;
  if (!trainer) {
    run.failure = arena_text(arena, error, strlen(error));
  } else {
    run.allocated_bytes = trainer->arena_bytes;
    const char *weights = arena_format(arena, "%s.safetensors", emission->name);
    if (emission->weights && actnn_load(trainer, weights)) run.failure = actnn_error(trainer);
    else if (!fill_inputs(graph, trainer, make_labels(graph, model, arena))) run.failure = "an input has no data";
    else run.failure = train(trainer, options, &run, arena);
    if (run.failure) run.failure = arena_text(arena, run.failure, strlen(run.failure));
  }
  if (poison) run.poisoned_bytes = poison_bytes(poison);
  if (poison && !run.failure && !run.poisoned_bytes) run.failure = "nothing was poisoned";
  actnn_destroy(trainer);
  poison_destroy(poison);
  return run;
}
