/* test_command_line.c: what a trainer's options become, and what is said of those that are not understood. */
#include "captured.h"
#include "command_line.h"
#include "tap.h"

#include <string.h>

static command_options options;

/* Arguments in one text, a blank between two. */
static bool
parse(const char *arguments, const char **message)
{
  static char text[4096];
  char *argv[200] = {"train"};
  int argc = 1;
  snprintf(text, sizeof text, "%s", arguments);
  for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
    argv[argc++] = word;
  capture_begin();
  bool is_understood = command_line_parse(&options, argc, argv);
  *message = capture_end();
  return is_understood;
}

static bool
take(const char *arguments)
{
  const char *message;
  bool is_understood = parse(arguments, &message);
  if (!is_understood || *message)
    fprintf(stderr, "# %s: %s", arguments, message);
  return is_understood && !*message;
}

static void
test_understood(void)
{
  ok(take("") && !options.data.count && !options.has_epochs && !options.has_seed && !options.variance.draws, "no option sets nothing");
  ok(take("--data x=a --data y=b --eval c") && options.data.count == 2 && !strcmp(options.data.text[1], "y=b") && options.eval.count == 1,
     "sets of data gather");
  ok(take("--data=x=a") && !strcmp(options.data.text[0], "x=a"), "a value may hold an equals sign");
  ok(take("--epochs 3") && options.has_epochs && options.epochs == 3, "epochs");
  ok(take("--steps=0") && options.has_steps && !options.has_epochs && options.steps == 0, "no steps");
  ok(take("--lr 0.25") && options.has_rate && options.rate == 0.25, "a learning rate");
  ok(take("--lr=0") && options.has_rate && options.rate == 0, "of zero, too");
  ok(take("--seed 18446744073709551615") && options.has_seed && options.seed == UINT64_MAX, "the largest seed");
  ok(take("--threads 4096") && options.threads == 4096, "the most threads");
  ok(take("--every 5") && options.every == 5, "a checkpoint every few steps");
  ok(take("--shuffle yes") && !options.no_shuffle && take("--shuffle no") && options.no_shuffle, "shuffling or not");
  ok(take("--on-nonfinite stop") && !options.skips && take("--on-nonfinite=skip") && options.skips, "to stop or to skip");
  ok(take("--augment flip") && options.augmentation.flip && !options.augmentation.crop, "flipped images");
  ok(take("--augment crop") && !options.augmentation.flip && options.augmentation.crop == 4, "cropped ones, by four");
  ok(take("--augment crop=12,flip") && options.augmentation.flip && options.augmentation.crop == 12, "or by so many, and flipped");
  ok(take("--augment=") && !options.augmentation.flip && !options.augmentation.crop, "or neither");
  ok(take("--variance") && options.variance.draws == 100 && take("--variance 7") && options.variance.draws == 7 &&
         take("--variance=9") && options.variance.draws == 9,
     "draws for the variance, or a hundred");
  ok(take("--variance --quiet") && options.variance.draws == 100 && options.quiet, "another option is no number of draws");
  ok(take("--variance-by-save") && options.variance.alone == 8 && take("--variance-by-save 3") && options.variance.alone == 3,
     "draws for each value alone, or eight");
  ok(take("--channel-block 1") && options.channel_block == 1 && take("--channel-block=8") && options.channel_block == 8 &&
         take("--channel-block 16") && options.channel_block == 16,
     "blocks of channels");
  ok(take("--quiet --memory --profile --tf32 --deterministic no --help") && options.quiet && options.memory && options.profile && options.tensor_float && options.may_vary &&
         options.help,
     "options without values");
  ok(take("--weights a --checkpoint b --resume c --export d --log e --profile-generate f --dump-gradients g --gradient-reference h") &&
         *options.weights == 'a' && *options.checkpoint == 'b' && *options.resume == 'c' && *options.export == 'd' && *options.log == 'e' &&
         *options.profile_generate == 'f' && *options.dump_gradients == 'g' && *options.variance.reference == 'h',
     "files");
  ok(take("--schedule cosine") && options.schedule.kind != (schedule){0}.kind, "a schedule");
}

static void
test_refused(void)
{
  static const struct {
    const char *arguments, *message;
  } bad[] = {{"train.npy", "unknown option 'train.npy'; --help lists all"},
             {"--dat x", "unknown option '--dat'"},
             {"--datas x", "unknown option '--datas'"},
             {"--data", "--data takes SET"},
             {"--steps", "--steps takes N"},
             {"--quiet=yes", "--quiet takes no value"},
             {"--steps 1 --epochs 1", "--epochs and --steps exclude each other"},
             {"--steps x", "--steps: 'x' is not understood; it takes N"},
             {"--steps 1x", "--steps: '1x' is not understood"},
             {"--steps /1", "--steps: '/1' is not understood"},
             {"--steps=", "--steps: '' is not understood"},
             {"--steps -1", "--steps: '-1' is not understood"},
             {"--steps 4611686018427387904", "is not understood"},
             {"--steps 99999999999999999999", "is not understood"},
             {"--seed 18446744073709551616", "--seed: '18446744073709551616' is not understood"},
             {"--threads 4097", "--threads: '4097' is not understood"},
             {"--every 0", "--every: '0' is not understood"},
             {"--channel-block 4", "--channel-block: '4' is not understood"},
             {"--lr fast", "--lr: 'fast' is not understood; it takes X"},
             {"--lr 1x", "--lr: '1x' is not understood"},
             {"--lr -1", "--lr: '-1' is not understood"},
             {"--lr inf", "--lr: 'inf' is not understood"},
             {"--lr nan", "--lr: 'nan' is not understood"},
             {"--variance 1", "--variance: '1' is not understood"},
             {"--variance /", "unknown option '/'"},
             {"--variance :", "unknown option ':'"},
             {"--variance=x", "--variance: 'x' is not understood"},
             {"--variance-by-save 1", "--variance-by-save: '1' is not understood"},
             {"--schedule wild", "wild"},
             {"--shuffle perhaps", "--shuffle: 'perhaps' is not understood; it takes yes|no"},
             {"--on-nonfinite go", "--on-nonfinite: 'go' is not understood; it takes stop|skip"},
             {"--augment paint", "--augment: 'paint' is not understood"},
             {"--augment grey", "--augment: 'grey' is not understood"},
             {"--augment turn=90", "--augment: 'turn=90' is not understood"},
             {"--augment crop=", "--augment: 'crop=' is not understood"},
             {"--augment crop=0", "--augment: 'crop=0' is not understood"},
             {"--augment crop=1000", "--augment: 'crop=1000' is not understood"},
             {"--augment crop=1x", "--augment: 'crop=1x' is not understood"},
             {"--augment flip,", "--augment: 'flip,' is not understood"},
             {"--augment ,flip", "--augment: ',flip' is not understood"}};
  for (size_t index = 0; index < sizeof bad / sizeof *bad; index++) {
    const char *message;
    bool is_understood = parse(bad[index].arguments, &message);
    ok(!is_understood && strstr(message, bad[index].message), "%s: %s", bad[index].arguments, message);
  }
  static const char *const several[] = {"data", "eval"};
  for (int which = 0; which < 2; which++) {
    char arguments[4096];
    const char *message;
    size_t length = 0;
    for (int index = 0; index < 64; index++)
      length += (size_t)snprintf(arguments + length, sizeof arguments - length, "--%s x ", several[which]);
    ok(take(arguments), "64 sets for --%s", several[which]);
    snprintf(arguments + length, sizeof arguments - length, "--%s x", several[which]);
    bool is_understood = parse(arguments, &message);
    ok(!is_understood && strstr(message, "more than 64 sets of data"), "but not 65: %s", message);
  }
}

static void
test_help(void)
{
  static const actnn_model model = {.name = "net", .batch = 32};
  char text[8192] = "";
  FILE *stream = tmpfile();
  if (!stream)
    abort();
  command_line_help("./train", &model, stream);
  rewind(stream);
  text[fread(text, 1, sizeof text - 1, stream)] = 0;
  fclose(stream);
  ok(strstr(text, "usage: ./train --data SET [options]\ntrains net, 32 samples a step\n") == text &&
         strstr(text, "\n  --variance           [DRAWS] "),
     "the help says what is trained, and lists the options");
}

int
main(void)
{
  test_understood();
  test_refused();
  test_help();
  return tap_done();
}
