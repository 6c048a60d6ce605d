/* command_line.c: the trainer's options, one table: what is printed by --help is what is understood. */
#include "command_line.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum option_key {
  OPTION_DATA,
  OPTION_EVAL,
  OPTION_EPOCHS,
  OPTION_STEPS,
  OPTION_RATE,
  OPTION_SCHEDULE,
  OPTION_SHUFFLE,
  OPTION_AUGMENT,
  OPTION_SEED,
  OPTION_THREADS,
  OPTION_WEIGHTS,
  OPTION_CHECKPOINT,
  OPTION_EVERY,
  OPTION_RESUME,
  OPTION_EXPORT,
  OPTION_LOG,
  OPTION_NONFINITE,
  OPTION_QUIET,
  OPTION_MEMORY,
  OPTION_PROFILE,
  OPTION_PROFILE_GENERATE,
  OPTION_VARIANCE,
  OPTION_VARIANCE_BY_SAVE,
  OPTION_DUMP_GRADIENTS,
  OPTION_GRADIENT_REFERENCE,
  OPTION_CHANNEL_BLOCK,
  OPTION_TENSOR_FLOAT,
  OPTION_DETERMINISTIC,
  OPTION_HELP
} option_key;

typedef struct option_row {
  option_key key;
  const char *name, *value; /* value NULL: takes none; in brackets: may be left out */
  const char *help;
} option_row;

static const option_row option_table[] = {
    {OPTION_DATA, "--data", "SET",
     "fashion-mnist, cifar10, a folder, an IDX, NPY, NPZ, CIFAR or text file, or INPUT=FILE.npy each"},
    {OPTION_EVAL, "--eval", "SET",
     "the same for evaluation; default: the set's own test part; none: no evaluation"},
    {OPTION_EPOCHS, "--epochs", "N", "passes over the data (1)"},
    {OPTION_STEPS, "--steps", "N", "steps in all, instead of epochs"},
    {OPTION_RATE, "--lr", "X", "learning rate"},
    {OPTION_SCHEDULE, "--schedule", "KIND",
     "constant; step,size=EPOCHS,gamma=F; cosine[,final=F]; one-cycle; warmup[,steps=N] with any"},
    {OPTION_SHUFFLE, "--shuffle", "yes|no", "a new order of the samples each epoch (yes)"},
    {OPTION_AUGMENT, "--augment", "LIST", "of images: flip, crop[=PAD] (4), separated by a comma"},
    {OPTION_SEED, "--seed", "N", "of first weights, order, augmentation and codes"},
    {OPTION_THREADS, "--threads", "N", "0: all cores (0)"},
    {OPTION_WEIGHTS, "--weights", "FILE", "first weights, .safetensors"},
    {OPTION_CHECKPOINT, "--checkpoint", "FILE",
     "written at the end of each epoch and of the run, .safetensors"},
    {OPTION_EVERY, "--every", "N", "write the checkpoint every N steps"},
    {OPTION_RESUME, "--resume", "FILE", "continue from a checkpoint"},
    {OPTION_EXPORT, "--export", "FILE", "write the trained model, .onnx"},
    {OPTION_LOG, "--log", "FILE", "one JSON object a line: steps, evaluations, totals"},
    {OPTION_NONFINITE, "--on-nonfinite", "stop|skip",
     "at a step that is not finite: stop, or undo it and go on, for a second copy of all variables (stop)"},
    {OPTION_QUIET, "--quiet", NULL, "no progress line and no summary"},
    {OPTION_MEMORY, "--memory", NULL, "print what is allocated, as JSON"},
    {OPTION_PROFILE, "--profile", NULL, "print the time of each kind of call and of the slowest calls"},
    {OPTION_PROFILE_GENERATE, "--profile-generate", "FILE",
     "write what is known of each saved value, for actnnc --profile-use"},
    {OPTION_VARIANCE, "--variance", "[DRAWS]",
     "print the variance and bias of gradients over draws (100) of one step's codes"},
    {OPTION_VARIANCE_BY_SAVE, "--variance-by-save", "[DRAWS]",
     "with --variance: print what each value's code does alone, over draws (8) of it"},
    {OPTION_DUMP_GRADIENTS, "--dump-gradients", "FILE",
     "write the first batch's gradients, .safetensors, and train no further"},
    {OPTION_GRADIENT_REFERENCE, "--gradient-reference", "FILE",
     "exact gradients for --variance, from an uncompressed trainer"},
    {OPTION_CHANNEL_BLOCK, "--channel-block", "N", "layout of images: 1, 8 or 16 (what this machine likes)"},
    {OPTION_TENSOR_FLOAT, "--tf32", NULL, "on a GPU: products and convolutions of numbers rounded to TF32, 10 bits of fraction: faster"},
    {OPTION_DETERMINISTIC, "--deterministic", "yes|no",
     "on a GPU: no lets convolutions take the library's quickest ways though a run's last bits are then never the same twice (yes)"},
    {OPTION_HELP, "--help", NULL, "this list"}};

enum { OPTION_COUNT = sizeof option_table / sizeof option_table[0] };

void
command_line_help(const char *program, const actnn_model *model, FILE *stream)
{
  fprintf(stream, "usage: %s --data SET [options]\ntrains %s, %lld samples a step\n\n", program, model->name,
          (long long)model->batch);
  for (size_t index = 0; index < OPTION_COUNT; index++)
    fprintf(stream, "  %-20s %-8s %s\n", option_table[index].name,
            option_table[index].value ? option_table[index].value : "", option_table[index].help);
}

static bool
bad_value(const option_row *row, const char *value)
{
  fprintf(stderr, "%s: '%s' is not understood; it takes %s\n", row->name, value, row->value);
  return false;
}

static bool
parse_count(const char *text, uint64_t lowest, uint64_t highest, uint64_t *number)
{
  char *end;
  if (*text < '0' || *text > '9')
    return false;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno || *end || value < lowest || value > highest)
    return false;
  *number = value;
  return true;
}

static bool
parse_augmentation(const char *text, augmentation *augmentation)
{
  while (*text) {
    size_t length = strcspn(text, ",");
    if (length == 4 && !strncmp(text, "flip", 4)) {
      augmentation->flip = true;
    } else if (length == 4 && !strncmp(text, "crop", 4)) {
      augmentation->crop = 4;
    } else if (length > 5 && length < 9 && !strncmp(text, "crop=", 5)) {
      char digits[8] = "";
      uint64_t pad;
      memcpy(digits, text + 5, length - 5);
      if (!parse_count(digits, 1, 999, &pad))
        return false;
      augmentation->crop = (int)pad;
    } else {
      return false;
    }
    text += length;
    if (*text == ',' && !*++text)
      return false;
  }
  return true;
}

static bool
add_text(text_list *list, const char *text)
{
  if (list->count == DATA_MAX_ARRAYS) {
    fprintf(stderr, "more than %d sets of data\n", (int)DATA_MAX_ARRAYS);
    return false;
  }
  list->text[list->count++] = text;
  return true;
}

static bool
set_rate(command_options *options, const char *value)
{
  char *end;
  options->rate = strtod(value, &end);
  options->has_rate = true;
  return end != value && !*end && isfinite(options->rate) && options->rate >= 0;
}

static bool
set_number(command_options *options, const option_row *row, const char *value)
{
  uint64_t number = 0;
  uint64_t highest = row->key == OPTION_SEED ? UINT64_MAX : row->key == OPTION_THREADS ? 4096 : INT64_MAX / 2;
  uint64_t lowest = row->key == OPTION_EVERY ? 1 : row->key == OPTION_VARIANCE || row->key == OPTION_VARIANCE_BY_SAVE ? 2 : 0;
  if (!parse_count(value, lowest, highest, &number))
    return false;
  switch (row->key) {
  case OPTION_EPOCHS:
    options->epochs = number;
    options->has_epochs = true;
    return true;
  case OPTION_STEPS:
    options->steps = number;
    options->has_steps = true;
    return true;
  case OPTION_SEED:
    options->seed = number;
    options->has_seed = true;
    return true;
  case OPTION_THREADS: options->threads = (int)number; return true;
  case OPTION_EVERY: options->every = number; return true;
  case OPTION_VARIANCE: options->variance.draws = number; return true;
  case OPTION_VARIANCE_BY_SAVE: options->variance.alone = number; return true;
  default: options->channel_block = (int)number; return number == 1 || number == 8 || number == 16;
  }
}

static bool
set_option(command_options *options, const option_row *row, const char *value)
{
  char error[200];
  switch (row->key) {
  case OPTION_DATA: return add_text(&options->data, value);
  case OPTION_EVAL: return add_text(&options->eval, value);
  case OPTION_RATE: return set_rate(options, value) || bad_value(row, value);
  case OPTION_SCHEDULE:
    if (schedule_parse(value, &options->schedule, error, sizeof error))
      return true;
    fprintf(stderr, "%s\n", error);
    return false;
  case OPTION_SHUFFLE:
    options->no_shuffle = !strcmp(value, "no");
    return options->no_shuffle || !strcmp(value, "yes") || bad_value(row, value);
  case OPTION_AUGMENT: return parse_augmentation(value, &options->augmentation) || bad_value(row, value);
  case OPTION_WEIGHTS: options->weights = value; return true;
  case OPTION_CHECKPOINT: options->checkpoint = value; return true;
  case OPTION_RESUME: options->resume = value; return true;
  case OPTION_EXPORT: options->export = value; return true;
  case OPTION_LOG: options->log = value; return true;
  case OPTION_NONFINITE:
    options->skips = !strcmp(value, "skip");
    return options->skips || !strcmp(value, "stop") || bad_value(row, value);
  case OPTION_QUIET: options->quiet = true; return true;
  case OPTION_MEMORY: options->memory = true; return true;
  case OPTION_PROFILE: options->profile = true; return true;
  case OPTION_TENSOR_FLOAT: options->tensor_float = true; return true;
  case OPTION_DETERMINISTIC:
    options->may_vary = !strcmp(value, "no");
    return options->may_vary || !strcmp(value, "yes") || bad_value(row, value);
  case OPTION_PROFILE_GENERATE: options->profile_generate = value; return true;
  case OPTION_DUMP_GRADIENTS: options->dump_gradients = value; return true;
  case OPTION_GRADIENT_REFERENCE: options->variance.reference = value; return true;
  case OPTION_HELP: options->help = true; return true;
  case OPTION_VARIANCE:
    options->variance.draws = 100;
    if (!value)
      return true;
    break;
  case OPTION_VARIANCE_BY_SAVE:
    options->variance.alone = 8;
    if (!value)
      return true;
    break;
  default: break;
  }
  return set_number(options, row, value) || bad_value(row, value);
}

static const option_row *
find_option(const char *text, size_t length)
{
  for (size_t index = 0; index < OPTION_COUNT; index++)
    if (strlen(option_table[index].name) == length && !strncmp(option_table[index].name, text, length))
      return &option_table[index];
  return NULL;
}

bool
command_line_parse(command_options *options, int argc, char **argv)
{
  *options = (command_options){0};
  for (int index = 1; index < argc; index++) {
    const char *text = argv[index], *value = NULL;
    size_t length = strcspn(text, "=");
    const option_row *row = find_option(text, length);
    if (!row) {
      fprintf(stderr, "unknown option '%s'; --help lists all\n", text);
      return false;
    }
    bool is_optional = row->value && row->value[0] == '[';
    if (text[length])
      value = text + length + 1;
    else if (row->value && index + 1 < argc &&
             (!is_optional || (argv[index + 1][0] >= '0' && argv[index + 1][0] <= '9')))
      value = argv[++index];
    if (row->value && !value && !is_optional) {
      fprintf(stderr, "%s takes %s\n", row->name, row->value);
      return false;
    }
    if (!row->value && value) {
      fprintf(stderr, "%s takes no value\n", row->name);
      return false;
    }
    if (!set_option(options, row, value))
      return false;
  }
  if (options->has_epochs && options->has_steps) {
    fprintf(stderr, "--epochs and --steps exclude each other\n");
    return false;
  }
  return true;
}
