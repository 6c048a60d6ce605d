/* test_checkpoint_contents.c: checkpoints that are whole, but not this model's; the names of what is in them; reads that fail. `pread` is
 * replaced here. */
#include "checkpoint_files.h"
#include "failing_reads.h"
#include "device.h"
#include "safetensors.h"
#include "saves.h"


/* ---- points ------------------------------------------------------------------------------------- */

/* One pair of the metadata, or one tensor, made another. */
typedef struct change {
  const char *what, *key, *value; /* value NULL: left out */
  const char *tensor;             /* rank < 0: left out */
  int type, rank;
  int64_t dim[2];
  double number; /* each element, as a double's bytes */
} change;

static void
rewrite(const char *from, const char *to, const change *change)
{
  safetensors_file file;
  safetensors_tensor tensor[16];
  safetensors_pair pair[16];
  char error[400];
  size_t tensors = 0, pairs = 0;
  if (!safetensors_open(&file, from))
    abort();
  for (size_t index = 0; index < file.metadata_count; index++) {
    bool is_changed = change->key && !strcmp(file.metadata[index].key, change->key);
    if (strncmp(file.metadata[index].key, "crc32.", 6) && (!is_changed || change->value))
      pair[pairs++] = (safetensors_pair){file.metadata[index].key, is_changed ? change->value : file.metadata[index].value};
  }
  for (size_t index = 0; index < file.entry_count; index++) {
    const safetensors_entry *entry = &file.entry[index];
    double *data = calloc(entry->bytes / 8 + 64, 8);
    if (!data || !safetensors_read(&file, entry, data))
      abort();
    tensor[tensors++] = (safetensors_tensor){entry->name, entry->type, entry->rank, entry->dim, data, entry->bytes};
    if (!change->tensor || strcmp(entry->name, change->tensor))
      continue;
    if (change->rank < 0) {
      free(data);
      tensors--;
      continue;
    }
    tensor[tensors - 1] = (safetensors_tensor){entry->name, change->type, change->rank, change->dim, data, trainer_type_bytes(change->type)};
    for (int axis = 0; axis < change->rank; axis++)
      tensor[tensors - 1].bytes *= (uint64_t)change->dim[axis];
    for (size_t element = 0; change->number != 0 && element < 16; element++)
      data[element] = change->number;
  }
  if (!safetensors_write(to, tensor, tensors, pair, pairs, false, error, sizeof error))
    abort();
  for (size_t index = 0; index < tensors; index++)
    free((void *)tensor[index].data);
  safetensors_close(&file);
}

/* Files that are whole, each with its checksums, but not of this model's. */
static void
test_contents(void)
{
  static const struct {
    change change;
    const char *message;
  } wrong[] = {{{"no version", .key = "version"}, "of a version that this runtime does not read"},
               {{"an empty version", .key = "version", .value = ""}, "of a version that this runtime does not read"},
               {{"an older version", .key = "version", .value = "1"}, "of a version that this runtime does not read"},
               {{"a version and more", .key = "version", .value = "2a"}, "of a version that this runtime does not read"},
               {{"no model", .key = "model"}, "of another model"},
               {{"another model", .key = "model", .value = "1234abcd5678ef01"}, "of another model"},
               {{"a model's number in other letters", .key = "model", .value = "1234ABCD5678EF00"}, "of another model"},
               {{"no step", .key = "step"}, "its counters are missing or damaged"},
               {{"a step beyond all numbers", .key = "step", .value = "99999999999999999999"}, "its counters are missing or damaged"},
               {{"a step that no run reaches", .key = "step", .value = "9300000000000000000"}, "its counters are missing or damaged"},
               {{"no seed", .key = "seed"}, "its counters are missing or damaged"},
               {{"another seed", .key = "seed", .value = "4"}, "its counters are missing or damaged"},
               {{"no sum", .key = "counters_crc32"}, "its counters are missing or damaged"},
               {{"no format", .key = "format"}, "is a damaged checkpoint"},
               {{"another format", .key = "format", .value = "actnn-gradients"}, "is a damaged checkpoint"},
               {{"a parameter less", .tensor = "b", .rank = -1}, "has no 'b', which the model needs"},
               {{"integers for a parameter", .tensor = "b", .type = ACTNN_I32, .rank = 1, .dim = {CLASSES}}, "another shape or type"},
               {{"an axis more", .tensor = "b", .type = ACTNN_F32, .rank = 2, .dim = {CLASSES, 1}}, "another shape or type"},
               {{"another extent", .tensor = "b", .type = ACTNN_F32, .rank = 1, .dim = {CLASSES + 1}}, "another shape or type"},
               {{"no shares", .tensor = "actnn.shares", .rank = -1}, "its shares of the pool of codes do not fit"},
               {{"shares of another type", .tensor = "actnn.shares", .type = ACTNN_F64, .rank = 1, .dim = {1}}, "its shares of the pool"},
               {{"two shares", .tensor = "actnn.shares", .type = ACTNN_U64, .rank = 1, .dim = {2}}, "its shares of the pool"},
               {{"no noise", .tensor = "actnn.redraws", .rank = -1}, "its shares of the pool"},
               {{"noise of another type", .tensor = "actnn.redraws", .type = ACTNN_I64, .rank = 2, .dim = {1, SAVES_REDRAW_NUMBERS}}, "its shares"},
               {{"less noise", .tensor = "actnn.redraws", .type = ACTNN_F64, .rank = 2, .dim = {1, 1}}, "its shares of the pool"},
               {{"a share of no bytes", .tensor = "actnn.shares", .type = ACTNN_U64, .rank = 1, .dim = {1}, .number = 5e-324}, "at hidden"},
               {{"a share beyond all memory", .tensor = "actnn.shares", .type = ACTNN_U64, .rank = 1, .dim = {1}, .number = 2}, "at hidden"},
               {{"negative noise", .tensor = "actnn.redraws", .type = ACTNN_F64, .rank = 2, .dim = {1, SAVES_REDRAW_NUMBERS}, .number = -1},
                "at hidden"}};
  const char *path = path_of("whole"), *changed = path_of("changed");
  actnn *trainer = make(3), *other = make(4);
  unsigned char *kept = malloc(small_model.variable_bytes);
  step(trainer, 3);
  if (!kept || actnn_save_checkpoint(trainer, path))
    abort();
  memcpy(kept, other->arena, small_model.variable_bytes);
  for (size_t index = 0; index < sizeof wrong / sizeof *wrong; index++) {
    rewrite(path, changed, &wrong[index].change);
    int failed = actnn_load(other, changed);
    ok(failed && strstr(actnn_error(other), wrong[index].message) && !memcmp(kept, other->arena, small_model.variable_bytes), "%s: %s",
       wrong[index].change.what, failed ? actnn_error(other) : "accepted");
  }
  rewrite(path, changed, &(change){.key = NULL});
  ok(!actnn_load(other, changed) && same_variables(trainer, other), "unchanged it is taken");

  int tried = 0, told = 0;
  for (;; tried++) {
    reads_left = tried;
    int failed = actnn_load(other, path);
    bool was_reached = reads_left == -1;
    reads_left = -1;
    if (!was_reached)
      break;
    told += failed && strstr(actnn_error(other), "whole: cannot be read: Input/output error") != NULL;
  }
  ok(tried > 20 && told == tried, "each of %d reads that fail is told (%d)", tried, told);
  free(kept);
  actnn_destroy(trainer);
  actnn_destroy(other);
}

static void
test_names(void)
{
  static const actnn_variable named[] = {{.name = "w"}, {.name = NULL}, {.name = ""}, {.name = "b\xff"}, {.name = "__metadata__"},
                                         {.name = "actnn.shares"}, {.name = "actnn.redraws"}, {.name = "variable.0"}, {.name = "w"}, {.name = "v"}};
  actnn_model model = {.variable = named, .variable_count = 10};
  for (uint32_t index = 0; index < 10; index++) {
    char buffer[32], wanted[32];
    const char *name = checkpoint_name(&model, index, buffer);
    snprintf(wanted, sizeof wanted, "variable.%u", index);
    ok(!strcmp(name, index % 9 ? wanted : named[index].name), "variable %u is stored as '%s'", index, name);
  }
}

/* The model with one variable, the last bias, as a constant of the model. */
static void
test_constants(void)
{
  actnn_variable variables[9];
  actnn_model model = small_model;
  const char *path = path_of("constants"), *without = path_of("without"), *with = path_of("with");
  actnn *trainer = make(3), *other = make(4);
  safetensors_file file;
  if (actnn_save_checkpoint(trainer, with))
    abort();
  rewrite(with, without, &(change){.tensor = "b", .rank = -1});
  memcpy(variables, small_variables, sizeof variables);
  variables[3].role = ACTNN_FIXED, variables[3].drawn = false;
  model.variable = variables;
  trainer->model = other->model = &model;
  bool is_written = !actnn_save_checkpoint(trainer, path) && safetensors_open(&file, path);
  ok(is_written && !safetensors_find(&file, "b") && safetensors_find(&file, "m"), "a checkpoint leaves constants out");
  if (is_written)
    safetensors_close(&file);
  ok(!actnn_load(other, path), "and is complete without them %s", actnn_error(other));
  ok(checkpoint_load_weights(other, without) && strstr(actnn_error(other), "has no 'b', which the model needs"),
     "a file of weights must have them: %s", actnn_error(other));
  ok(!checkpoint_load_weights(other, with) && !checkpoint_load_weights(other, without), "once; then the next need not %s", actnn_error(other));
  trainer->model = other->model = &small_model;
  actnn_destroy(trainer);
  actnn_destroy(other);
}

/* A device that fails at a call to it. */
static int calls_left;

static int
copy(actnn *trainer, uint64_t offset, uint64_t bytes)
{
  (void)offset, (void)bytes;
  return calls_left-- ? 0 : actnn_fail(trainer, "the device is gone");
}

static void
test_device(void)
{
  static const actnn_device device = {.name = "none", .fetch = copy, .send = copy};
  static int (*const tries[])(actnn *, const char *) = {actnn_save_checkpoint, actnn_export, actnn_load};
  static const char *const names[] = {"saving", "exporting", "loading"}, *const temporary[] = {"0.tmp", "1.tmp", "2.tmp"};
  actnn *trainer = make(3);
  if (actnn_save_checkpoint(trainer, path_of("2")))
    abort();
  trainer->device = &device;
  for (int which = 0; which < 3; which++) {
    char name[8];
    int told = 0, tried = 0, left = 0;
    snprintf(name, sizeof name, "%d", which);
    for (;; tried++) {
      calls_left = tried;
      trainer->error[0] = 0;
      int failed = tries[which](trainer, path_of(name));
      if (calls_left >= 0)
        break;
      told += failed && !strcmp(actnn_error(trainer), "the device is gone") && exists(path_of(name)) == (which == 2);
      left += exists(path_of(temporary[which]));
    }
    ok(tried > 4 && told == tried && !left, "%s: each of %d calls to a device that fails is told, and no file written (%d)",
       names[which], tried, told);
  }
  trainer->device = NULL;
  actnn_destroy(trainer);
}

int
main(void)
{
  make_folder();
  test_contents();
  test_names();
  test_constants();
  test_device();
  remove_folder();
  return tap_done();
}
