/* test_checkpoint.c: checkpoints that survive failing disks, refuse damage, and resume to the bit. The system
 * calls that write are replaced here, so that any of them can fail, be interrupted or write short. FLIPS=all: in every byte of a
 * checkpoint a bit is flipped, not in some. */
#include "checkpoint_files.h"
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

/* ---- faults ------------------------------------------------------------------------------------- */

static int calls_left = -1; /* before a call fails; -1: none does */
static int failure = ENOSPC;
static bool is_short; /* every write is interrupted once, then writes a part */

static bool
is_failing(void)
{
  if (calls_left < 0 || calls_left-- > 0)
    return false;
  calls_left = -1;
  errno = failure;
  return true;
}

ssize_t
write(int descriptor, const void *data, size_t count)
{
  static bool was_interrupted;
  if (is_failing())
    return -1;
  if (is_short) {
    was_interrupted = !was_interrupted;
    if (was_interrupted) {
      errno = EINTR;
      return -1;
    }
    count = count > 1000 ? count / 3 : count;
  }
  return syscall(SYS_write, descriptor, data, count);
}

int
fsync(int descriptor)
{
  return is_failing() ? -1 : (int)syscall(SYS_fsync, descriptor);
}

int
rename(const char *from, const char *to)
{
  return is_failing() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- points ------------------------------------------------------------------------------------- */

static void
test_resume(void)
{
  const char *path = path_of("resume");
  actnn *straight = make(7), *stopped = make(7), *resumed = make(1);
  ok(step(straight, 40) && step(stopped, 19), "steps run");
  ok(!actnn_save_checkpoint(stopped, path), "a checkpoint is written");
  ok(!actnn_load(resumed, path) && same_variables(stopped, resumed), "and read back to the bit, counters too");
  ok(step(resumed, 21) && same_variables(straight, resumed), "a resumed run equals one that never stopped");
  ok(step(stopped, 21) && same_variables(straight, stopped), "and writing a checkpoint changes nothing");
  actnn_destroy(straight);
  actnn_destroy(stopped);
  actnn_destroy(resumed);
}

static void
test_faults(void)
{
  const char *path = path_of("faults");
  actnn *trainer = make(3), *other = make(3);
  step(trainer, 1);
  if (actnn_save_checkpoint(trainer, path))
    abort();
  int faults = 0;
  bool are_told = true, are_whole = true, are_clean = true;
  static const int reasons[] = {ENOSPC, EIO};
  for (size_t which = 0; which < 2; which++)
    for (int call = 0;; call++) {
      step(trainer, 1);
      failure = reasons[which];
      calls_left = call;
      int failed = actnn_save_checkpoint(trainer, path);
      bool was_reached = calls_left == -1;
      calls_left = -1;
      if (!was_reached)
        break;
      faults++;
      are_told &= !failed || strstr(actnn_error(trainer), "faults: ") != NULL;
      are_whole &= !actnn_load(other, path);
      are_clean &= !failed || !exists(path_of("faults.tmp"));
    }
  ok(faults > 10 && are_told, "each of %d failing calls is told with the file and the reason", faults);
  ok(are_whole, "after each the checkpoint can be read");
  ok(are_clean, "and nothing is left half-written");
  is_short = true;
  int failed = actnn_save_checkpoint(trainer, path);
  is_short = false;
  ok(!failed && !actnn_load(other, path) && same_variables(trainer, other),
     "interrupted and short writes go on");
  ok(actnn_save_checkpoint(trainer, path_of("none/such")) && strstr(actnn_error(trainer), "No such file"),
     "a missing folder is told: %s", actnn_error(trainer));
  actnn_destroy(trainer);
  actnn_destroy(other);
}

static void
test_damage(void)
{
  const char *path = path_of("damage");
  size_t count;
  actnn *trainer = make(3), *other = make(4);
  step(trainer, 3);
  if (actnn_save_checkpoint(trainer, path))
    abort();
  unlink(path_of("damage.previous"));
  unsigned char *bytes = slurp(path, &count), *kept = malloc(small_model.variable_bytes);
  memcpy(kept, other->arena, small_model.variable_bytes);
  int accepted = 0, tried = 0;
  for (size_t place = 0; place < count; place += place < 1400 || getenv("FLIPS") ? 1 : 997) {
    unsigned char flip = (unsigned char)(1 << place % 8);
    bytes[place] ^= flip;
    put(path, bytes, count);
    bytes[place] ^= flip;
    tried++;
    if (!actnn_load(other, path)) { /* a name in metadata that nobody reads may change */
      accepted++;
      fprintf(stderr, "# accepted with byte %zu damaged\n", place);
    }
  }
  ok(!accepted, "a flipped bit anywhere is noticed (%d of %d)", tried - accepted, tried);
  ok(!memcmp(kept, other->arena, small_model.variable_bytes), "and changes nothing");
  accepted = 0;
  for (size_t length = 0; length < count; length += 1 + length / 5) {
    put(path, bytes, length);
    accepted += !actnn_load(other, path);
  }
  ok(!accepted, "truncated files are refused: %s", actnn_error(other));
  put(path_of("damage.previous"), bytes, count);
  ok(!actnn_load(other, path) && same_variables(trainer, other), "and the previous one is used instead");
  unlink(path);
  ok(!actnn_load(other, path), "also when the newest is missing");
  put(path, bytes, count);
  actnn_model renamed = small_model;
  renamed.model_hash++;
  other->model = &renamed;
  unlink(path_of("damage.previous"));
  ok(actnn_load(other, path) && strstr(actnn_error(other), "another model"), "another model's is refused: %s",
     actnn_error(other));
  other->model = &small_model;
  free(bytes);
  free(kept);
  actnn_destroy(trainer);
  actnn_destroy(other);
}

static void
test_weights(void)
{
  static const int64_t shape[] = {PIXELS, HIDDEN}, wrong[] = {HIDDEN, PIXELS};
  const char *path = path_of("weights");
  float *values = calloc(PIXELS * HIDDEN, sizeof *values);
  char error[400];
  actnn *trainer = make(3);
  values[5] = 1.5f;
  safetensors_tensor tensor = {"layer\"1\n/weight", ACTNN_F32, 2, shape, values, PIXELS * HIDDEN * 4};
  bool done = safetensors_write(path, &tensor, 1, NULL, 0, false, error, sizeof error);
  ok(done && checkpoint_load(trainer, path) == CHECKPOINT_WEIGHTS &&
         ((float *)actnn_data(trainer, v_w1))[5] == 1.5f && trainer->step == 0,
     "a file of weights fills what it names");
  tensor.dim = wrong;
  done = safetensors_write(path, &tensor, 1, NULL, 0, false, error, sizeof error);
  ok(done && actnn_load(trainer, path) && strstr(actnn_error(trainer), "another shape"),
     "a wrong shape is refused: %s", actnn_error(trainer));
  free(values);
  /* A checkpoint of the model compiled otherwise serves as weights. */
  actnn *other = make(3);
  actnn_model otherwise = small_model;
  otherwise.model_hash++;
  other->model = &otherwise;
  step(trainer, 2);
  const char *checkpoint = path_of("as-weights");
  float *momentum = actnn_data(other, v_m2);
  ok(!actnn_save_checkpoint(trainer, checkpoint) && !checkpoint_load_weights(other, checkpoint) &&
         !memcmp(actnn_data(other, v_w1), actnn_data(trainer, v_w1), PIXELS * HIDDEN * 4) && other->step == 0 &&
         momentum[0] == 0,
     "another build's checkpoint gives its weights, but not its counters nor its momentum %s",
     actnn_error(other));
  actnn_destroy(other);
  actnn_destroy(trainer);
}

static void
test_export(void)
{
  const char *path = path_of("trained.onnx");
  size_t count, before;
  actnn *trainer = make(3);
  ok(!actnn_export(trainer, path), "the model is exported");
  unsigned char *bytes = slurp(path, &count);
  ok(count > sizeof small_onnx + 100000 && !memcmp(bytes, small_onnx, sizeof small_onnx) &&
         bytes[sizeof small_onnx] == 0x3a,
     "as the model and a second message with its weights");
  ok(memmem(bytes, count, actnn_data(trainer, v_w2), HIDDEN * CLASSES * 4) != NULL &&
         !memmem(bytes, count, "\x42\x02m2", 4),
     "parameters among them, the optimizer's state not");
  before = count;
  free(bytes);
  calls_left = 3;
  failure = ENOSPC;
  int failed = actnn_export(trainer, path);
  calls_left = -1;
  bytes = slurp(path, &count);
  ok(failed && count == before && strstr(actnn_error(trainer), "No space left"),
     "a full disk leaves the old file: %s", actnn_error(trainer));
  free(bytes);

  actnn_variable variables[9];
  actnn_tensor tensors[v_count];
  actnn_model model = small_model;
  memcpy(variables, small_variables, sizeof variables);
  memcpy(tensors, small_tensors, sizeof tensors);
  model.variable = variables;
  trainer->model = &model;
  variables[8].role = ACTNN_FIXED;
  variables[3].name = NULL;
  failed = actnn_export(trainer, path);
  bytes = slurp(path, &count);
  ok(!failed && count < before - CLASSES * 4 && !memmem(bytes, count, "\x42\x07running", 9) && memmem(bytes, count, actnn_data(trainer, v_w2), 1000),
     "constants are in the model already, and what has no name cannot be named there");
  free(bytes);
  variables[3].name = "b";
  model.tensor = tensors;
  tensors[v_b2].dim[0] = 1 << 29;
  ok(actnn_export(trainer, path) && strstr(actnn_error(trainer), "the model takes 2.0 GiB, and an ONNX file holds 2"),
     "more than ONNX can hold is refused: %s", actnn_error(trainer));
  model.onnx_bytes = 0;
  ok(actnn_export(trainer, path) && strstr(actnn_error(trainer), "cannot export"),
     "without its ONNX model nothing can be exported: %s", actnn_error(trainer));
  model.onnx = NULL;
  ok(actnn_export(trainer, path) && strstr(actnn_error(trainer), "cannot export"), "nor with none at all");
  bytes = slurp(path, &count);
  ok(count < before && count > 1000, "which leaves what was there");
  free(bytes);
  trainer->model = &small_model;
  actnn_destroy(trainer);
}

int
main(void)
{
  make_folder();
  test_resume();
  test_faults();
  test_damage();
  test_weights();
  test_export();
  remove_folder();
  return tap_done();
}
