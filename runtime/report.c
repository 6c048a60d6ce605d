/* report.c: memory and saved values as JSON, for people, tests and the translator's --profile-use. */
#include "report.h"
#include "device.h"
#include "atomic_file.h"
#include "offload.h"
#include "saves.h"
#include "text_buffer.h"

#include <math.h>
#include <stdlib.h>

void
print_memory(const actnn *trainer, FILE *stream)
{
  const actnn_model *model = trainer->model;
  const struct {
    const char *name;
    uint64_t bytes;
  } row[] = {{"arena_bytes", trainer->arena_bytes},         {"planned_arena_bytes", model->arena_bytes},
             {"variable_bytes", model->variable_bytes},     {"stash_bytes", model->stash_bytes},
             {"workspace_bytes", trainer->workspace_bytes}, {"saved_bytes", model->saved_bytes},
             {"saved_bytes_fp32", model->saved_bytes_fp32}, {"undo_bytes", model->variable_bytes}};
  size_t rows = sizeof row / sizeof *row - (trainer->kept == NULL); /* the last is kept for --on-nonfinite=skip only */
  for (size_t index = 0; index < rows; index++)
    fprintf(stream, "%s\"%s\": %llu", index ? ", " : "{", row[index].name,
            (unsigned long long)row[index].bytes);
  if (trainer->device)
    fprintf(stream, ", \"device\": \"%s\", \"beside_bytes\": %llu", trainer->device->name,
            (unsigned long long)trainer->device->bytes_beside(trainer));
  if (trainer->offload)
    fprintf(stream, ", \"exact_bytes\": %llu, \"window_bytes\": %llu, \"host_bytes\": %llu", (unsigned long long)model->exact_bytes,
            (unsigned long long)model->window_bytes, (unsigned long long)offload_bytes(model));
  fprintf(stream, "}\n");
}

static void
add_number(text_buffer *text, const char *key, double value)
{
  if (isfinite(value))
    text_add(text, ", \"%s\": %.9g", key, value);
}

int
write_profile(actnn *trainer, const char *path)
{
  const actnn_model *model = trainer->model;
  text_buffer text = {0};
  atomic_file file;
  text_add(
      &text,
      "{\"format\": \"actnn-profile\", \"version\": 1, \"model\": \"%016llx\", \"steps\": %llu, \"saves\": [",
      (unsigned long long)model->model_hash, (unsigned long long)trainer->step);
  for (uint32_t index = 0; index < model->save_count; index++) {
    const actnn_save *save = &model->save[index];
    const actnn_tensor *tensor = &model->tensor[save->tensor];
    text_add(&text, "%s\n  {\"name\": ", index ? "," : "");
    text_add_json(&text, save->name ? save->name : "");
    text_add(&text, ", \"shape\": [");
    for (int axis = 0; axis < tensor->rank; axis++)
      text_add(&text, axis ? ",%lld" : "%lld", (long long)tensor->dim[axis]);
    text_add(&text, "]");
    add_number(&text, "weight", saves_weight(trainer, index)); /* absent where nothing was measured */
    add_number(&text, "levels", saves_levels(trainer, index));
    text_add(&text, ", \"bytes\": %llu}", (unsigned long long)saves_coded_bytes(trainer, index));
  }
  text_add(&text, "\n]}\n");
  int failed = text.failed ? actnn_fail(trainer, "%s: out of memory", path) : 0;
  if (!failed && !(atomic_file_open(&file, path) && atomic_file_write(&file, text.text, text.length) &&
                   atomic_file_commit(&file, false)))
    failed = actnn_fail(trainer, "%s", file.error);
  free(text.text);
  return failed;
}
