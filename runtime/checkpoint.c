/* checkpoint.c: what persists from step to step, as a .safetensors file that any tool can open. Metadata ties
 * it to the model and carries the counters on which every random number depends, so that a resumed run makes
 * the same bits as one that never stopped. A file is verified as a whole before anything is loaded from it. */
#include "checkpoint.h"
#include "safetensors.h"
#include "saves.h"
#include "trainer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Constants of the model are in its file of weights, not in each checkpoint. */
static bool
is_kept(const actnn_variable *variable)
{
  return variable->role != ACTNN_FIXED;
}

static const char FORMAT[] = "actnn-checkpoint", SUM_NAME[] = "counters_crc32";
static const char SHARES_NAME[] = "actnn.shares", REDRAWS_NAME[] = "actnn.redraws";

/* CRC-32 of the metadata that matters, as written. */
static uint32_t
counter_sum(const char *hash, const char *step, const char *seed)
{
  const char *const text[] = {hash, step, seed};
  uLong sum = crc32(0, NULL, 0);
  for (size_t index = 0; index < sizeof text / sizeof *text; index++)
    sum = crc32(sum, (const Bytef *)text[index], (uInt)strlen(text[index]) + 1);
  return (uint32_t)sum;
}

const char *
checkpoint_name(const actnn_model *model, uint32_t variable, char *buffer)
{
  const char *name = model->variable[variable].name;
  bool usable = name && *name && safetensors_is_utf8(name) && strcmp(name, "__metadata__") &&
                strcmp(name, SHARES_NAME) && strcmp(name, REDRAWS_NAME) && strncmp(name, "variable.", 9);
  for (uint32_t earlier = 0; usable && earlier < variable; earlier++)
    usable = !model->variable[earlier].name || strcmp(name, model->variable[earlier].name);
  if (usable)
    return name;
  snprintf(buffer, 32, "variable.%u", variable);
  return buffer;
}

/* ---- saving ------------------------------------------------------------------------------------- */

/* What adaptation has made of the run so far, one a save. */
typedef struct adaptation {
  uint64_t *shares; /* of the pool of codes */
  double (*redraws)[SAVES_REDRAW_NUMBERS];
} adaptation;

static bool
open_adaptation(const actnn_model *model, adaptation *found)
{
  found->shares = calloc((size_t)model->save_count + 1, sizeof *found->shares);
  found->redraws = calloc((size_t)model->save_count + 1, sizeof *found->redraws);
  return found->shares && found->redraws;
}

static void
close_adaptation(adaptation *found)
{
  free(found->shares);
  free(found->redraws);
}

static int
write_checkpoint(actnn *trainer, const char *path, safetensors_tensor *tensor, char (*name)[32],
                 adaptation *adapted)
{
  const actnn_model *model = trainer->model;
  char step[24], seed[24], hash[24], sum[12];
  uint32_t count = 0;
  int64_t redraws_dim[2] = {model->save_count, SAVES_REDRAW_NUMBERS};
  for (uint32_t index = 0; index < model->variable_count; index++) {
    uint32_t id = model->variable[index].tensor;
    const actnn_tensor *shape = &model->tensor[id];
    if (!is_kept(&model->variable[index]))
      continue;
    const void *data = actnn_data(trainer, id);
    if (!data) /* a device that cannot be read must not leave a checkpoint of what it held before */
      return 1;
    tensor[count++] = (safetensors_tensor){checkpoint_name(model, index, name[index]),
                                           shape->type,
                                           shape->rank,
                                           shape->dim,
                                           data,
                                           trainer_elements(shape) * trainer_type_bytes(shape->type)};
  }
  if (model->save_count) {
    uint64_t bytes = (uint64_t)model->save_count * sizeof(uint64_t);
    if (saves_shares(trainer, adapted->shares))
      return 1;
    saves_redraw_state(trainer, adapted->redraws);
    tensor[count++] = (safetensors_tensor){SHARES_NAME, ACTNN_U64, 1, redraws_dim, adapted->shares, bytes};
    tensor[count++] = (safetensors_tensor){REDRAWS_NAME, ACTNN_F64, 2, redraws_dim, adapted->redraws, bytes * SAVES_REDRAW_NUMBERS};
  }
  snprintf(step, sizeof step, "%llu", (unsigned long long)trainer->step);
  snprintf(seed, sizeof seed, "%llu", (unsigned long long)trainer->seed);
  snprintf(hash, sizeof hash, "%016llx", (unsigned long long)model->model_hash);
  snprintf(sum, sizeof sum, "%08x", counter_sum(hash, step, seed));
  const safetensors_pair metadata[] = {{"format", FORMAT}, {"version", "2"}, {"model", hash},
                                       {"step", step},     {"seed", seed},   {SUM_NAME, sum}};
  return !safetensors_write(path, tensor, count, metadata, sizeof metadata / sizeof *metadata, true,
                            trainer->error, sizeof trainer->error);
}

int
actnn_save_checkpoint(actnn *trainer, const char *path)
{
  uint32_t count = trainer->model->variable_count;
  safetensors_tensor *tensor = calloc((size_t)count + 2, sizeof *tensor);
  char(*name)[32] = calloc((size_t)count + 1, sizeof *name);
  adaptation adapted;
  bool is_open = open_adaptation(trainer->model, &adapted);
  int failed = tensor && name && is_open ? write_checkpoint(trainer, path, tensor, name, &adapted)
                                        : actnn_fail(trainer, "%s: out of memory", path);
  free(tensor);
  free(name);
  close_adaptation(&adapted);
  return failed;
}

/* ---- loading ------------------------------------------------------------------------------------ */

static bool
parse_metadata(const safetensors_file *file, const char *key, int base, uint64_t *number)
{
  const char *text = safetensors_metadata(file, key);
  char *end;
  if (!text || !*text || text[strspn(text, "0123456789abcdef")]) /* as they are written: another spelling is damage */
    return false;
  errno = 0;
  *number = strtoull(text, &end, base);
  return !errno && !*end;
}

static int
check_sums(actnn *trainer, safetensors_file *file)
{
  for (size_t index = 0; index < file->entry_count; index++) {
    const safetensors_entry *entry = &file->entry[index];
    size_t length = strlen(entry->name);
    char *key = malloc(length + 7);
    uint64_t noted;
    uint32_t found;
    if (!key)
      return actnn_fail(trainer, "%s: out of memory", file->path);
    memcpy(key, "crc32.", 6);
    memcpy(key + 6, entry->name, length + 1);
    bool present = parse_metadata(file, key, 16, &noted);
    free(key);
    if (!present)
      return actnn_fail(trainer, "%s: has no checksum for '%.80s'", file->path, entry->name);
    if (!safetensors_checksum(file, entry, &found))
      return actnn_fail(trainer, "%s", file->error);
    if (noted != found)
      return actnn_fail(trainer, "%s: '%.80s' is damaged (its checksum differs)", file->path, entry->name);
  }
  return 0;
}

static bool
same_shape(const actnn_tensor *tensor, const safetensors_entry *entry)
{
  if (entry->type != tensor->type || entry->rank != tensor->rank)
    return false;
  for (int axis = 0; axis < tensor->rank; axis++)
    if (entry->dim[axis] != tensor->dim[axis])
      return false;
  return true;
}

/* Every variable that must be there is, and has the model's shape. */
static int
check_variables(actnn *trainer, const safetensors_file *file, bool is_whole, bool only_weights)
{
  const actnn_model *model = trainer->model;
  char buffer[32];
  for (uint32_t index = 0; index < model->variable_count; index++) {
    const actnn_variable *variable = &model->variable[index];
    const char *name = checkpoint_name(model, index, buffer);
    const safetensors_entry *entry = safetensors_find(file, name);
    bool is_needed = is_whole ? is_kept(variable) : !variable->drawn && variable->role != ACTNN_OPTIMIZER;
    is_needed &= variable->role != ACTNN_FIXED || !trainer->has_constants;
    if (!entry && is_needed)
      return actnn_fail(trainer, "%s: has no '%.80s', which the model needs", file->path, name);
    bool is_used = entry && !(only_weights && variable->role == ACTNN_OPTIMIZER);
    if (is_used && !same_shape(&model->tensor[variable->tensor], entry))
      return actnn_fail(trainer, "%s: '%.80s' has another shape or type than in the model", file->path, name);
  }
  return 0;
}

static int
check_counters(actnn *trainer, const safetensors_file *file, uint64_t *step, uint64_t *seed)
{
  uint64_t version, hash, sum;
  if (!parse_metadata(file, "version", 10, &version) || version != 2)
    return actnn_fail(trainer, "%s: is a checkpoint of a version that this runtime does not read", file->path);
  if (!parse_metadata(file, "model", 16, &hash) || hash != trainer->model->model_hash)
    return actnn_fail(trainer,
                      "%s: is a checkpoint of another model (or of this one compiled with other options)",
                      file->path);
  if (!parse_metadata(file, "step", 10, step) || !parse_metadata(file, "seed", 10, seed) || *step > INT64_MAX ||
      !parse_metadata(file, SUM_NAME, 16, &sum) ||
      sum != counter_sum(safetensors_metadata(file, "model"), safetensors_metadata(file, "step"),
                         safetensors_metadata(file, "seed")))
    return actnn_fail(trainer, "%s: its counters are missing or damaged", file->path);
  const safetensors_entry *shares = safetensors_find(file, SHARES_NAME), *redraws = safetensors_find(file, REDRAWS_NAME);
  uint64_t bytes = trainer->model->save_count * sizeof(uint64_t);
  if (bytes && (!shares || shares->type != ACTNN_U64 || shares->bytes != bytes || !redraws || redraws->type != ACTNN_F64 ||
                redraws->bytes != bytes * SAVES_REDRAW_NUMBERS))
    return actnn_fail(trainer, "%s: its shares of the pool of codes do not fit this model", file->path);
  return 0;
}

static int
take_variables(actnn *trainer, safetensors_file *file, bool only_weights)
{
  const actnn_model *model = trainer->model;
  char buffer[32];
  for (uint32_t index = 0; index < model->variable_count; index++) {
    const actnn_variable *variable = &model->variable[index];
    const safetensors_entry *entry = safetensors_find(file, checkpoint_name(model, index, buffer));
    if (!entry || (only_weights && variable->role == ACTNN_OPTIMIZER))
      continue;
    if (!safetensors_read(file, entry, trainer->arena + model->tensor[variable->tensor].offset))
      return actnn_fail(trainer, "%s", file->error);
    if (actnn_put(trainer, variable->tensor))
      return 1;
  }
  return 0;
}

static int
take_adaptation(actnn *trainer, safetensors_file *file)
{
  const safetensors_entry *shares = safetensors_find(file, SHARES_NAME), *redraws = safetensors_find(file, REDRAWS_NAME);
  adaptation adapted;
  int failed = 0;
  if (!trainer->model->save_count)
    return 0;
  if (!open_adaptation(trainer->model, &adapted))
    failed = actnn_fail(trainer, "%s: out of memory", file->path);
  else if (!safetensors_read(file, shares, adapted.shares) || !safetensors_read(file, redraws, adapted.redraws))
    failed = actnn_fail(trainer, "%s", file->error);
  else
    failed = saves_set_shares(trainer, adapted.shares) || saves_set_redraw_state(trainer, adapted.redraws);
  close_adaptation(&adapted);
  return failed;
}

static checkpoint_kind
load_open(actnn *trainer, safetensors_file *file, bool only_weights)
{
  const char *format = safetensors_metadata(file, "format");
  bool is_checkpoint = format && !strcmp(format, FORMAT), is_whole = is_checkpoint && !only_weights;
  uint64_t step = trainer->step, seed = trainer->seed;
  if (!is_checkpoint && safetensors_metadata(file, SUM_NAME)) {
    actnn_fail(trainer, "%s: is a damaged checkpoint", file->path);
    return CHECKPOINT_NONE;
  }
  if ((is_whole && check_counters(trainer, file, &step, &seed)) || (is_checkpoint && check_sums(trainer, file)))
    return CHECKPOINT_NONE;
  if (check_variables(trainer, file, is_whole, only_weights) || (is_whole && take_adaptation(trainer, file)) ||
      take_variables(trainer, file, only_weights))
    return CHECKPOINT_NONE;
  trainer->step = step;
  trainer->seed = seed;
  trainer->has_constants |= only_weights;
  return is_whole ? CHECKPOINT_WHOLE : CHECKPOINT_WEIGHTS;
}

static checkpoint_kind
load_file(actnn *trainer, const char *path, bool only_weights)
{
  safetensors_file file;
  if (!safetensors_open(&file, path)) {
    actnn_fail(trainer, "%s", file.error);
    return CHECKPOINT_NONE;
  }
  checkpoint_kind kind = load_open(trainer, &file, only_weights);
  safetensors_close(&file);
  return kind;
}

checkpoint_kind
checkpoint_load(actnn *trainer, const char *path)
{
  char reason[sizeof trainer->error];
  checkpoint_kind kind = load_file(trainer, path, false);
  if (kind != CHECKPOINT_NONE)
    return kind;
  memcpy(reason, trainer->error, sizeof reason);
  char *previous = malloc(strlen(path) + sizeof ".previous");
  if (previous) {
    strcat(strcpy(previous, path), ".previous");
    kind = load_file(trainer, previous, false);
    if (kind == CHECKPOINT_WHOLE)
      fprintf(stderr, "%s\nusing %s instead, of step %llu\n", reason, previous,
              (unsigned long long)trainer->step);
  }
  free(previous);
  memcpy(trainer->error, reason, sizeof reason); /* the first file's fault is the one to tell */
  return kind == CHECKPOINT_WHOLE ? kind : CHECKPOINT_NONE;
}

int
checkpoint_load_weights(actnn *trainer, const char *path)
{
  return load_file(trainer, path, true) == CHECKPOINT_NONE;
}

int
actnn_load(actnn *trainer, const char *path)
{
  return checkpoint_load(trainer, path) == CHECKPOINT_NONE;
}
