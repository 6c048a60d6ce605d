/* test_refused_runs.c: runs of the trainer's command line that cannot be, or that fail on the way, with the small model changed here and
 * there. Each is a child process in a folder of its own. */
#include "own_calls.h"
#include "run_main.h"
#include "tap.h"

static actnn_model model;

/* Runs the trainer with these words, the last one NULL; the exit code. */
static int
run(const char *const *word)
{
  char *argument[32] = {(char *)(uintptr_t) "train"};
  int count = 1;
  for (; word[count - 1]; count++)
    argument[count] = (char *)(uintptr_t)word[count - 1];
  return run_main(&model, count, argument);
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
  mkdir(path_of("taken"), 0777);
  REFUSES("taken: ", "--data", ".", "--steps", "1", "--quiet", "--eval", "none", "--profile-generate", "taken");
  output_file = "/dev/full";
  REFUSES("standard output: No space left on device", "--memory");
  output_file = "stdout.txt";
}

static void
test_little_to_do(void)
{
  RUNS("a checkpoint alone has nothing to do but is no error", "--checkpoint", "c");
  ok(!exists(path_of("c")), "and writes none");
  RUNS("a step with a checkpoint", "--data", ".", "--steps", "1", "--eval", "none", "--quiet", "--checkpoint", "c");
  RUNS("an export alone", "--export", "first.onnx");
  ok(exists(path_of("first.onnx")), "writes the model as it is first");
  RUNS("a resumed run alone", "--resume", "c");
  RUNS("a resumed run that has no step left", "--data", ".", "--resume", "c", "--steps", "1", "--eval", "none", "--checkpoint", "d");
  ok(!exists(path_of("d")), "writes no other checkpoint");
  REFUSES("--variance and --dump-gradients need --data", "--variance", "3");
  REFUSES("--variance and --dump-gradients need --data", "--dump-gradients", "g");
  REFUSES("missing", "--data", ".", "--eval", "missing");
  REFUSES("", "--data", ".", "--epochs", "18446744073709551615");
  ok(strstr(errors, "--epochs") != NULL, "about --epochs");
}

/* ---- changed models ------------------------------------------------------------------------------ */

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
  ok(!exists(path_of("g")), "and no gradients are there");
  model = small_model;
}

static void
test_first_weights(void)
{
  actnn_variable variable[9];
  const char *from = path_of("c"), *to = path_of("small.safetensors");
  memcpy(variable, small_variables, sizeof variable);
  variable[0].drawn = false;
  model.variable = variable;
  REFUSES("name it with --weights", "--data", ".", "--steps", "1", "--checkpoint", "small.safetensors");
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
  make_folder();
  model = small_model;
  make_digits("train", 100, -1);
  make_digits("t10k", 60, -1);
  test_names_of_files();
  test_little_to_do();
  test_changed_models();
  test_first_weights();
  remove_folder();
  return tap_done();
}
