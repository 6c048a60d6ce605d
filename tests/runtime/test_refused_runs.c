/* test_refused_runs.c: runs of the trainer's command line that cannot be, or that fail on the way, with the small model changed here and
 * there. Each is a child process in a folder of its own. */
#include "small_model.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/actnn-refused-XXXXXX";
static char errors[1 << 14]; /* of the last run */
static const char *output = "stdout.txt";
static actnn_model model;

/* Runs the trainer with these words, the last one NULL; the exit code. */
static int
run(const char *const *word)
{
  char *argument[32] = {(char *)(uintptr_t) "train"};
  int count = 1;
  for (; word[count - 1]; count++)
    argument[count] = (char *)(uintptr_t)word[count - 1];
  fflush(stdout);
  pid_t child = fork();
  if (!child) {
    if (chdir(folder) || !freopen(output, "w", stdout) || !freopen("stderr.txt", "w", stderr))
      _exit(98);
    exit(actnn_main(&model, count, argument));
  }
  int status = -1;
  waitpid(child, &status, 0);
  char path[300];
  snprintf(path, sizeof path, "%s/stderr.txt", folder);
  FILE *file = fopen(path, "rb");
  errors[file ? fread(errors, 1, sizeof errors - 1, file) : 0] = 0;
  if (file)
    fclose(file);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}
#define REFUSES(message, ...) \
  do { \
    int code = run(WORDS(__VA_ARGS__)); \
    ok(code == 1 && strstr(errors, message), "%.60s: exits 1: %.200s", #__VA_ARGS__, errors); \
  } while (0)
#define RUNS(what, ...) \
  do { \
    int code = run(WORDS(__VA_ARGS__)); \
    ok(code == 0, "%s %s", what, errors); \
  } while (0)

static bool
exists(const char *name)
{
  char path[300];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return !access(path, F_OK);
}

/* MNIST's files of so many samples. */
static void
make_data(const char *part, int count)
{
  char path[300];
  const unsigned char head[] = {0, 0, 8, 3, 0, 0, (unsigned char)(count >> 8), (unsigned char)count, 0, 0, 0, 28, 0, 0, 0, 28};
  snprintf(path, sizeof path, "%s/%s-images-idx3-ubyte", folder, part);
  FILE *images = fopen(path, "wb");
  snprintf(path, sizeof path, "%s/%s-labels-idx1-ubyte", folder, part);
  FILE *labels = fopen(path, "wb");
  if (!images || !labels)
    abort();
  fwrite(head, 1, 16, images);
  fwrite("\0\0\x08\x01", 1, 4, labels);
  fwrite(head + 4, 1, 4, labels);
  for (int i = 0; i < count; i++) {
    fputc(i % 10, labels);
    for (int pixel = 0; pixel < 784; pixel++)
      fputc((i * 37 + pixel * 11) & 255, images);
  }
  if (fclose(images) || fclose(labels))
    abort();
}

static void
test_names_of_files(void)
{
  static char longest[5002];
  memset(longest, 'x', sizeof longest - 1);
  longest[4500] = '/';
  REFUSES("'none/': is not the name of a file", "--data", ".", "--export", "none/");
  REFUSES("'': is not the name of a file", "--data", ".", "--checkpoint", "");
  REFUSES("is not the name of a file", "--data", ".", "--export", longest);
  REFUSES("none/p: cannot be written: none/: No such file", "--data", ".", "--profile-generate", "none/p");
  REFUSES("none/g: cannot be written: none/: No such file", "--data", ".", "--dump-gradients", "none/g");
  char path[300];
  snprintf(path, sizeof path, "%s/taken", folder);
  mkdir(path, 0777);
  REFUSES("taken: ", "--data", ".", "--steps", "1", "--quiet", "--eval", "none", "--profile-generate", "taken");
  output = "/dev/full";
  REFUSES("standard output: No space left on device", "--memory");
  output = "stdout.txt";
}

static void
test_little_to_do(void)
{
  RUNS("a checkpoint alone has nothing to do but is no error", "--checkpoint", "c");
  ok(!exists("c"), "and writes none");
  RUNS("a step with a checkpoint", "--data", ".", "--steps", "1", "--eval", "none", "--quiet", "--checkpoint", "c");
  RUNS("an export alone", "--export", "first.onnx");
  ok(exists("first.onnx"), "writes the model as it is first");
  RUNS("a resumed run alone", "--resume", "c");
  RUNS("a resumed run that has no step left", "--data", ".", "--resume", "c", "--steps", "1", "--eval", "none", "--checkpoint", "d");
  ok(!exists("d"), "writes no other checkpoint");
  REFUSES("--variance and --dump-gradients need --data", "--variance", "3");
  REFUSES("--variance and --dump-gradients need --data", "--dump-gradients", "g");
  REFUSES("missing", "--data", ".", "--eval", "missing");
  REFUSES("", "--data", ".", "--epochs", "18446744073709551615");
  ok(strstr(errors, "--epochs") != NULL, "about --epochs");
}

/* ---- changed models ------------------------------------------------------------------------------ */

static int
refuse_to_run(const actnn_call *call)
{
  return actnn_is_preparing(call) ? 0 : actnn_fail(call->trainer, "not today");
}

static int
run_nothing(actnn *trainer)
{
  RUN(refuse_to_run, OUT(NONE), IN(NONE), WITHOUT);
  return 0;
}

static int
forward_that_fails(actnn *trainer)
{
  return small_forward(trainer) || run_nothing(trainer);
}

static void
test_changed_models(void)
{
  model.evaluate = NULL;
  REFUSES("small: the model has no evaluation", "--data", ".", "--eval", ".", "--steps", "1");
  RUNS("no evaluation is asked for", "--data", ".", "--eval", "none", "--steps", "1", "--quiet");
  RUNS("no evaluation, though there would be data", "--data", ".", "--steps", "1", "--quiet");
  model.evaluate = run_nothing;
  REFUSES("not today", "--data", ".", "--steps", "1", "--quiet");
  REFUSES("not today", "--data", ".", "--epochs", "0", "--quiet");
  model = small_model;
  model.forward = forward_that_fails;
  REFUSES("not today", "--data", ".", "--variance", "2");
  REFUSES("not today", "--data", ".", "--dump-gradients", "g");
  ok(!exists("g"), "and no gradients are there");
  model = small_model;
}

static void
test_first_weights(void)
{
  actnn_variable variable[9];
  char from[300], to[300];
  memcpy(variable, small_variables, sizeof variable);
  variable[0].drawn = false;
  model.variable = variable;
  REFUSES("name it with --weights", "--data", ".", "--steps", "1", "--checkpoint", "small.safetensors");
  snprintf(from, sizeof from, "%s/c", folder);
  snprintf(to, sizeof to, "%s/small.safetensors", folder);
  ok(!link(from, to), "the first weights lie beside the program");
  REFUSES("small.safetensors: error: these are the model's first weights; give --checkpoint another name", "--data", ".", "--steps", "1",
          "--checkpoint",
          "small.safetensors");
  REFUSES("c: error: these are the model's first weights", "--data", ".", "--steps", "1", "--checkpoint", "c");
  RUNS("another file that is there", "--data", ".", "--steps", "1", "--quiet", "--eval", "none", "--checkpoint", "stdout.txt");
  RUNS("one on another device", "--data", ".", "--steps", "0", "--quiet", "--eval", "none", "--checkpoint", "/dev/null");
  unlink(to);
  variable[0].role = ACTNN_FIXED;
  REFUSES("name it with --weights", "--data", ".", "--resume", "c", "--steps", "3");
  model = small_model;
}

int
main(void)
{
  if (!mkdtemp(folder))
    return 99;
  model = small_model;
  make_data("train", 100);
  make_data("t10k", 60);
  test_names_of_files();
  test_little_to_do();
  test_changed_models();
  test_first_weights();
  char command[300];
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  return system(command) ? 99 : tap_done();
}
