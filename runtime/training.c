/* training.c: `actnn_main`, what an emitted trainer's main calls: options, data, weights, then epochs of steps
 * with evaluations and checkpoints between them. */
#include "checkpoint.h"
#include "command_line.h"
#include "evaluation.h"
#include "journal.h"
#include "profile.h"
#include "report.h"
#include "saves.h"
#include "trainer.h"
#include "variance.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Everything a run holds. Zeroed, it can be closed. */
typedef struct run {
  const actnn_model *model;
  command_options options;
  actnn *trainer;
  data_set training_set, test_set;
  batch_source training, test;
  bool has_training, has_test;
  scorer scorer;
  journal journal;
  uint64_t total_steps, steps_per_epoch;
} run;

/* Prints the trainer's message; always returns false. */
static bool
tell(const run *run)
{
  fprintf(stderr, "%s\n", actnn_error(run->trainer));
  return false;
}

static void
close_run(run *run)
{
  scorer_close(&run->scorer);
  batch_close(&run->training);
  batch_close(&run->test);
  data_close(&run->training_set);
  data_close(&run->test_set);
  actnn_destroy(run->trainer);
}

/* ---- before the first step ---------------------------------------------------------------------- */

/* A run that could not write its results is refused at its start, not at its end. */
static bool
can_write_beside(const char *path)
{
  char directory[4096];
  const char *slash = path ? strrchr(path, '/') : NULL;
  if (!path)
    return true;
  size_t length = slash ? (size_t)(slash - path) + 1 : 0;
  if (length >= sizeof directory || !*path || (slash && !slash[1])) {
    fprintf(stderr, "'%.100s': is not the name of a file\n", path);
    return false;
  }
  memcpy(directory, slash ? path : ".", slash ? length : 1);
  directory[slash ? length : 1] = 0;
  if (!access(directory, W_OK | X_OK))
    return true;
  fprintf(stderr, "%s: cannot be written: %s: %s\n", path, directory, strerror(errno));
  return false;
}

static bool
open_set(run *run, const text_list *list, data_part part)
{
  bool is_test = part == DATA_TEST;
  data_set *set = is_test ? &run->test_set : &run->training_set;
  batch_source *source = is_test ? &run->test : &run->training;
  if (!data_open(set, list->text, list->count, part, run->model)) {
    fprintf(stderr, "%s\n", set->error);
    return false;
  }
  if (!batch_open(source, run->model, set, is_test && run->has_training ? &run->training : NULL)) {
    fprintf(stderr, "%s\n", source->error);
    return false;
  }
  source->shuffle = !run->options.no_shuffle;
  source->seed = run->trainer->seed;
  if (!is_test)
    source->augmentation = run->options.augmentation;
  return true;
}

static bool
open_data(run *run)
{
  const command_options *options = &run->options;
  text_list eval = options->eval;
  if (options->data.count) {
    if (!open_set(run, &options->data, DATA_TRAINING))
      return false;
    run->has_training = true;
    if (!eval.count && options->data.count == 1 && data_has_test_part(options->data.text[0]))
      eval = options->data;
  }
  if (eval.count == 1 && !strcmp(eval.text[0], "none"))
    eval.count = 0;
  if (!run->model->evaluate) {
    if (options->eval.count && eval.count) {
      fprintf(stderr, "%s: the model has no evaluation\n", run->model->name);
      return false;
    }
    eval.count = 0;
  }
  if (eval.count && !open_set(run, &eval, DATA_TEST))
    return false;
  run->has_test = eval.count > 0;
  if (scorer_open(&run->scorer, run->model))
    return true;
  fprintf(stderr, "out of memory\n");
  return false;
}

/* Whether something comes from the file of weights: first values, or (all that a resumed run needs of it)
 * constants. */
static bool
needs_weights(const actnn_model *model, bool is_resumed)
{
  for (uint32_t index = 0; index < model->variable_count; index++) {
    const actnn_variable *variable = &model->variable[index];
    if (!variable->drawn && variable->role != ACTNN_OPTIMIZER && (!is_resumed || variable->role == ACTNN_FIXED))
      return true;
  }
  return false;
}

/* Where weights are looked for when --weights does not say: DIRECTORY/NAME.safetensors. */
static bool
find_weights(const actnn_model *model, char *path, size_t bytes)
{
  char program[4096];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  program[length > 0 ? length : 0] = 0;
  char *slash = strrchr(program, '/');
  const char *name[] = {slash ? slash + 1 : program, model->name};
  for (int place = 0; place < 4; place++) {
    int written = place < 2 ? snprintf(path, bytes, "%.*s%s.safetensors",
                                       slash ? (int)(slash - program) + 1 : 0, program, name[place])
                            : snprintf(path, bytes, "%s.safetensors", name[place - 2]);
    if (written > 0 && (size_t)written < bytes && !access(path, R_OK))
      return true;
  }
  return false;
}

static bool
resume(run *run)
{
  const command_options *options = &run->options;
  checkpoint_kind kind = checkpoint_load(run->trainer, options->resume);
  if (kind == CHECKPOINT_NONE)
    return tell(run);
  if (kind == CHECKPOINT_WEIGHTS) {
    fprintf(stderr, "%s: holds weights, but is no checkpoint to resume from; use --weights\n", options->resume);
    return false;
  }
  if (options->has_seed && options->seed != run->trainer->seed) {
    fprintf(stderr, "%s: was made with --seed %llu; a resumed run cannot change it\n", options->resume,
            (unsigned long long)run->trainer->seed);
    return false;
  }
  return true;
}

/* First what actnnc wrote beside the source, then what --weights brings: a checkpoint, say, which has no constants. */
static bool
load_weights(run *run)
{
  const command_options *options = &run->options;
  char path[8192];
  if (needs_weights(run->model, options->resume != NULL)) {
    bool is_found = find_weights(run->model, path, sizeof path);
    if (!is_found && !options->weights) {
      fprintf(
          stderr,
          "%s: its first weights are in the .safetensors file that actnnc wrote beside the source, which is "
          "neither beside the program nor here; name it with --weights\n",
          run->model->name);
      return false;
    }
    if (is_found && checkpoint_load_weights(run->trainer, path))
      return tell(run);
  }
  if (options->weights && checkpoint_load_weights(run->trainer, options->weights))
    return tell(run);
  return !options->resume || resume(run);
}

static bool
settle_length(run *run)
{
  const command_options *options = &run->options;
  if (!run->has_training)
    return true;
  run->steps_per_epoch = batch_count(&run->training);
  if (!run->steps_per_epoch) {
    fprintf(stderr, "%s: has %llu samples, less than one batch of %lld\n", run->training.binding[0].array->file,
            (unsigned long long)run->training.samples, (long long)run->model->batch);
    return false;
  }
  uint64_t epochs = options->has_epochs ? options->epochs : 1;
  if (options->has_steps)
    run->total_steps = options->steps;
  else if (__builtin_mul_overflow(epochs, run->steps_per_epoch, &run->total_steps)) {
    fprintf(stderr, "--epochs is too large\n");
    return false;
  }
  return true;
}

/* ---- the run ------------------------------------------------------------------------------------ */

static bool
evaluate(run *run)
{
  score score;
  if (evaluate_all(&run->scorer, run->trainer, &run->test, &score))
    return tell(run);
  uint64_t step = run->trainer->step;
  double epoch = run->steps_per_epoch ? (double)step / (double)run->steps_per_epoch : 0;
  return journal_add_evaluation(&run->journal, step, epoch, score.loss, score.accuracy, score.samples);
}

/* A step that failed: true when it was undone and is written down. */
static bool
skip_step(run *run, journal_step *entry)
{
  if (!trainer_skips(run->trainer))
    return tell(run);
  entry->step = run->trainer->step;
  entry->loss = run->trainer->loss;
  entry->epoch = (double)entry->step / (double)run->steps_per_epoch;
  return journal_add_skipped(&run->journal, entry, actnn_error(run->trainer));
}

/* While a device computes a step. A batch that could not be sent is filled and sent again when its step begins, which then says why. */
static void
fill_next(void *context)
{
  run *run = context;
  uint64_t next = run->trainer->step + 1;
  if (next < run->total_steps)
    batch_fill_ahead(&run->training, run->trainer, next);
}

static bool
train_step(run *run)
{
  const actnn_model *model = run->model;
  actnn *trainer = run->trainer;
  journal_step entry = {.total_steps = run->total_steps, .samples = (uint64_t)model->batch, .accuracy = NAN};
  double base = run->options.has_rate ? run->options.rate : model->default_learning_rate;
  entry.learning_rate =
      base * schedule_factor(&run->options.schedule, trainer->step, run->total_steps, run->steps_per_epoch);
  if (saves_redraw_is_due(trainer)) {
    batch_fill(&run->training, trainer, trainer->step);
    if (saves_redraw(trainer, entry.learning_rate))
      return tell(run);
  }
  batch_fill(&run->training, trainer, trainer->step);
  scorer_keep_labels(&run->scorer, trainer);
  bool is_scored = run->journal.has_log || run->journal.has_terminal;
  if (trainer_forward(trainer, entry.learning_rate))
    return skip_step(run, &entry);
  if (is_scored && !trainer->device)
    entry.accuracy = scorer_accuracy(&run->scorer, trainer);
  trainer->meanwhile = fill_next;
  trainer->meanwhile_context = run;
  int failed = trainer_backward(trainer);
  trainer->meanwhile = NULL;
  if (failed)
    return skip_step(run, &entry);
  if (is_scored && trainer->device)
    entry.accuracy = scorer_accuracy(&run->scorer, trainer);
  entry.loss = trainer->loss;
  saves_end_redraw(trainer);
  entry.step = trainer->step;
  entry.epoch = (double)entry.step / (double)run->steps_per_epoch;
  return journal_add_step(&run->journal, &entry);
}

static bool
train(run *run)
{
  const command_options *options = &run->options;
  actnn *trainer = run->trainer;
  if (trainer->step >= run->total_steps && run->has_test && !evaluate(run))
    return false;
  while (trainer->step < run->total_steps) {
    if (!train_step(run))
      return false;
    bool is_last = trainer->step == run->total_steps, is_epoch = trainer->step % run->steps_per_epoch == 0;
    bool is_due = is_last || (options->every ? trainer->step % options->every == 0 : is_epoch);
    if (options->checkpoint && is_due && actnn_save_checkpoint(trainer, options->checkpoint))
      return tell(run);
    if (run->has_test && (is_last || is_epoch) && !evaluate(run))
      return false;
  }
  return true;
}

/* Modes that look at gradients instead of training. */
static bool
study_gradients(run *run)
{
  const command_options *options = &run->options;
  if (!run->has_training) {
    fprintf(stderr, "--variance and --dump-gradients need --data\n");
    return false;
  }
  if (options->dump_gradients && dump_gradients(run->trainer, &run->training, options->dump_gradients))
    return tell(run);
  if (options->variance.draws && print_variance(run->trainer, &run->training, &options->variance, stdout))
    return tell(run);
  return true;
}

static bool
work(run *run)
{
  const command_options *options = &run->options;
  if (options->memory)
    print_memory(run->trainer, stdout);
  bool has_work = options->data.count || options->eval.count || options->export || options->resume ||
                  options->checkpoint || options->variance.draws || options->dump_gradients;
  if (!has_work && options->memory)
    return true;
  if (!has_work) {
    fprintf(stderr, "nothing to do: give --data, e.g. --data fashion-mnist; --help lists all options\n");
    return false;
  }
  if (!load_weights(run) || !open_data(run) || !settle_length(run))
    return false;
  if (options->variance.draws || options->dump_gradients)
    return study_gradients(run);
  if (!journal_open(&run->journal, options->log, options->resume != NULL, options->quiet))
    return false;
  if (options->profile_generate)
    saves_record_weights(run->trainer);
  bool done = train(run);
  done = journal_close(&run->journal, run->trainer) && done;
  if (done && options->export && actnn_export(run->trainer, options->export))
    done = tell(run);
  if (done && options->profile_generate)
    done = !write_profile(run->trainer, options->profile_generate) || tell(run);
  if (options->profile)
    profile_print(run->trainer->profile, run->model, run->trainer->threads, stdout);
  return done;
}

/* A checkpoint written over the model's first weights could never be started from again. */
static bool
spares_first_weights(const actnn_model *model, const char *checkpoint)
{
  char weights[4200];
  struct stat first, other;
  if (!checkpoint || !needs_weights(model, false) || !find_weights(model, weights, sizeof weights) || stat(weights, &first) || stat(checkpoint, &other) ||
      first.st_dev != other.st_dev || first.st_ino != other.st_ino)
    return true;
  fprintf(stderr, "%s: error: these are the model's first weights; give --checkpoint another name\n", checkpoint);
  return false;
}

int
actnn_main(const actnn_model *model, int argc, char **argv)
{
  run run = {.model = model};
  char error[512];
  if (!command_line_parse(&run.options, argc, argv))
    return 1;
  const command_options *options = &run.options;
  if (options->help) {
    command_line_help(argv[0], model, stdout);
    return 0;
  }
  if (!can_write_beside(options->checkpoint) || !can_write_beside(options->export) ||
      !can_write_beside(options->profile_generate) || !can_write_beside(options->dump_gradients) ||
      (!options->resume && !spares_first_weights(model, options->checkpoint)))
    return 1;
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of write, told like a full disk */
  trainer_options settings = {.threads = options->threads,
                              .channel_block = options->channel_block,
                              .seed = options->has_seed ? options->seed : model->seed,
                              .quiet = options->quiet,
                              .profile = options->profile,
                              .tensor_float = options->tensor_float,
                              .may_vary = options->may_vary,
                              .skips = options->skips};
  run.trainer = trainer_create(model, &settings, error, sizeof error);
  if (!run.trainer) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  bool done = work(&run);
  close_run(&run);
  if (fflush(stdout) || ferror(stdout)) {
    fprintf(stderr, "standard output: %s\n", strerror(errno));
    done = false;
  }
  return done ? 0 : 1;
}
