/* test_training.c: the trainer's command line, from data to exported model, with the small model. Each run is a
 * child process, as users have it; data are made here, in a folder of their own. */
#include "run_main.h"
#include "tap.h"

#include <fcntl.h>

static const actnn_model *model = &small_model;

/* ---- helpers ------------------------------------------------------------------------------------ */

/* Runs the trainer in the folder with these words as its command line; the exit code. */
static int
run(const char *words)
{
  char copy[1024], *argument[64] = {(char *)"train"};
  int count = 1;
  snprintf(copy, sizeof copy, "%s", words);
  for (char *word = strtok(copy, " "); word && count < 63; word = strtok(NULL, " "))
    argument[count++] = word;
  return run_main(model, count, argument);
}

static bool
same_files(const char *one, const char *two)
{
  static char a[1 << 20], b[1 << 20];
  size_t count[2];
  for (int which = 0; which < 2; which++) {
    FILE *file = fopen(path_of(which ? two : one), "rb");
    count[which] = file ? fread(which ? b : a, 1, sizeof a, file) : 0;
    if (file)
      fclose(file);
  }
  return count[0] && count[0] == count[1] && !memcmp(a, b, count[0]);
}

/* The number behind the last "key": of a text; NAN when there is none. */
static double
last_number(const char *text, const char *key)
{
  char quoted[64];
  const char *found = NULL;
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  for (const char *place = strstr(text, quoted); place; place = strstr(place + 1, quoted))
    found = place;
  return found ? strtod(found + strlen(quoted), NULL) : NAN;
}

static void
read_log(void)
{
  read_file(path_of("log.jsonl"), output, sizeof output);
}

static void
refuse(const char *words, const char *message)
{
  int code = run(words);
  ok(code == 1 && strstr(errors, message), "'%s' exits 1 with '%s': %.200s", words, message, errors);
}

/* ---- points ------------------------------------------------------------------------------------- */

static void
test_training(void)
{
  ok(run("--data . --epochs 5 --log log.jsonl --export trained.onnx --checkpoint c --seed 4") == 0,
     "a run of 5 epochs %s", errors);
  ok(strstr(output, "epoch 5.00") && strstr(output, "test accuracy"), "says how it did");
  read_log();
  ok(last_number(output, "test_accuracy") > 0.9, "learns: test accuracy %g",
     last_number(output, "test_accuracy"));
  ok(last_number(output, "test_samples") == 70, "and counts every sample of the last partial batch");
  ok(last_number(output, "steps") == 20 && last_number(output, "seconds") > 0 &&
         last_number(output, "peak_rss_bytes") > 1e6,
     "the log ends with totals: 4 steps an epoch, the partial batch dropped");
  ok(last_number(output, "lr") == 0.05 && last_number(output, "epoch") == 5, "and has rates and epochs");
  ok(exists(path_of("trained.onnx")) && exists(path_of("c")) && exists(path_of("c.previous")), "model and checkpoints are there");
  double accuracy = last_number(output, "test_accuracy"), loss = last_number(output, "test_loss");
  ok(run("--eval . --resume c --log log.jsonl") == 0, "evaluation alone %s", errors);
  read_log();
  ok(last_number(output, "test_accuracy") == accuracy,
     "gives the same accuracy, %g, on data standardized by themselves", last_number(output, "test_accuracy"));
  ok(run("--data . --epochs 0 --weights c --log log.jsonl") == 0, "no epochs %s", errors);
  read_log();
  ok(last_number(output, "test_loss") == loss, "give the same loss, %.9g", last_number(output, "test_loss"));
}

static void
test_resume(void)
{
  const char *common = "--data . --augment flip,crop=2 --schedule cosine,warmup,steps=3 --eval none --quiet";
  char words[400];
  snprintf(words, sizeof words, "%s --steps 22 --threads 1 --checkpoint straight", common);
  ok(run(words) == 0 && !*output, "a run of 22 steps says nothing when quiet %s", errors);
  snprintf(words, sizeof words, "%s --steps 22 --threads 2 --checkpoint broken --every 9", common);
  ok(run(words) == 0 && same_files("straight", "broken"), "another number of threads gives the same bits %s",
     errors);
  snprintf(words, sizeof words, "%s --steps 22 --threads 2 --resume broken.previous --checkpoint resumed",
           common);
  ok(run(words) == 0 && same_files("straight", "resumed"),
     "so does going on from step 18, in the middle of an epoch %s", errors);
  ok(!same_files("straight", "broken.previous"), "which is not where it ends");
  snprintf(words, sizeof words, "%s --steps 22 --checkpoint other --seed 2", common);
  ok(run(words) == 0 && !same_files("straight", "other"), "another seed gives other bits");
  refuse("--data . --resume straight --seed 77", "a resumed run cannot change it");
}

static void
test_memory_and_profile(void)
{
  char wanted[64];
  snprintf(wanted, sizeof wanted, "\"arena_bytes\": %llu,", (unsigned long long)model->arena_bytes);
  ok(run("--memory") == 0 && strstr(output, wanted), "--memory says what is planned: %.60s", output);
  ok(run("--data . --steps 3 --profile --profile-generate p.json") == 0 && strstr(output, "slowest calls"),
     "--profile %s", errors);
  ok(strstr(output, "QuantizeOnSave") && exists(path_of("p.json")), "names kernels");
  ok(run("--help") == 0 && strstr(output, "--gradient-reference"), "--help");
}

static void
test_variance(void)
{
  ok(run("--data . --weights c --dump-gradients g") == 0 && exists(path_of("g")), "gradients are dumped %s", errors);
  ok(run("--data . --weights c --variance 50 --gradient-reference g") == 0 && strstr(output, "50 draws") &&
         strstr(output, "layer2.w"),
     "and variance measured %s", errors);
}

static void
test_refusals(void)
{
  refuse("--lr", "--lr takes X");
  refuse("--lr x --data .", "'x' is not understood");
  refuse("--quiet=1", "takes no value");
  refuse("--epochs 3 --steps 3", "exclude");
  refuse("--fast", "unknown option '--fast'");
  refuse("--augment flop", "'flop' is not understood");
  refuse("--channel-block 4", "'4' is not understood");
  refuse("", "nothing to do");
  refuse("--data missing", "missing: No such file");
  refuse("--data . --resume missing", "missing: No such file");
  refuse("--data . --resume stdout.txt", "safetensors");
  refuse("--data . --export none/such.onnx", "none/such.onnx: cannot be written");
  refuse("--data . --log none/log", "none/log");
  refuse("--data . --lr 1e30 --epochs 9", "loss is not finite; lower --lr");
  make_digits("train", 230, 203);
  refuse("--data .", "label 12 of sample 203 is out of range 0..9");
  make_digits("train", 40, -1);
  refuse("--data .", "less than one batch of 50");
  make_digits("train", 230, -1);
  largest_file = 50000;
  refuse("--data . --quiet --steps 1 --eval none --export large.onnx", "File too large");
  ok(!exists(path_of("large.onnx")) && !exists(path_of("large.onnx.tmp")), "and nothing is left");
  largest_file = RLIM_INFINITY;
}

static void
test_weights(void)
{
  actnn_variable variables[9];
  actnn_model given = small_model;
  memcpy(variables, small_variables, sizeof variables);
  variables[0].drawn = false;
  given.variable = variables;
  model = &given;
  refuse("--data .", "name it with --weights");
  ok(run("--data . --steps 1 --weights c --quiet") == 0, "first weights by --weights %s", errors);
  char from[300], to[300];
  snprintf(from, sizeof from, "%s/c", folder);
  snprintf(to, sizeof to, "%s/small.safetensors", folder);
  ok(!link(from, to) && run("--data . --steps 1 --quiet") == 0, "or by the model's name %s", errors);
  model = &small_model;
}

int
main(void)
{
  make_folder();
  make_digits("train", 230, -1);
  make_digits("t10k", 70, -1);
  test_training();
  test_resume();
  test_memory_and_profile();
  test_variance();
  test_weights();
  test_refusals();
  remove_folder();
  return tap_done();
}
