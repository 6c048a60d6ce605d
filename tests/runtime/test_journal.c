/* test_journal.c: the log that a run leaves, and the line that a terminal shows, to the letter. The clock, what is a terminal, and the calls
 * to the system that can fail are replaced here. */
#include "captured.h"
#include "journal.h"
#include "saves_state.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

/* ---- faults ------------------------------------------------------------------------------------- */

typedef enum call { NO_CALL, CALL_FSTAT, CALL_PREAD, CALL_FTRUNCATE, CALL_WRITE, CALL_CLOSE, CALL_GETRUSAGE } call;

static call failing;       /* fails, until it is another's turn */
static bool is_stuck;      /* no file can be cut short, whatever else fails */
static bool has_terminal;
static double seconds;     /* of the clock */

static bool
fails(call which)
{
  if (which != failing)
    return false;
  errno = EIO;
  return true;
}

int
fstat(int descriptor, struct stat *status)
{
  return fails(CALL_FSTAT) ? -1 : (int)syscall(SYS_fstat, descriptor, status);
}

ssize_t
pread(int descriptor, void *data, size_t count, off_t place)
{
  return fails(CALL_PREAD) ? -1 : syscall(SYS_pread64, descriptor, data, count, place);
}

int
ftruncate(int descriptor, off_t length)
{
  if (is_stuck)
    errno = EIO;
  return is_stuck || fails(CALL_FTRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, descriptor, length);
}

/* One that fails has written a part all the same. */
ssize_t
write(int descriptor, const void *data, size_t count)
{
  static int calls;
  if (failing != CALL_WRITE)
    return syscall(SYS_write, descriptor, data, count);
  if (calls++ % 2 == 0)
    return syscall(SYS_write, descriptor, data, count / 2);
  errno = ENOSPC;
  return -1;
}

int
close(int descriptor)
{
  int result = (int)syscall(SYS_close, descriptor);
  return fails(CALL_CLOSE) ? -1 : result;
}

int
getrusage(__rusage_who_t who, struct rusage *usage)
{
  (void)who;
  *usage = (struct rusage){.ru_maxrss = 2048};
  return fails(CALL_GETRUSAGE) ? -1 : 0;
}

int
isatty(int descriptor)
{
  (void)descriptor;
  return has_terminal;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
  (void)clock;
  *now = (struct timespec){(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  return 0;
}

/* ---- helpers ------------------------------------------------------------------------------------ */

static char path[] = "/tmp/actnn-journal-XXXXXX";
static journal told;
static const actnn_model model = {.name = "none"};
static struct saves saves;
static const actnn trainer = {.model = &model, .saves = &saves, .arena_bytes = 4096, .threads = 2};

static void
put(const char *text)
{
  FILE *file = fopen(path, "wb");
  if (!file || fputs(text, file) < 0 || fclose(file))
    abort();
}

static const char *
slurp(void)
{
  static char text[32768];
  FILE *file = fopen(path, "rb");
  if (!file)
    abort();
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  fclose(file);
  return text;
}

static bool
holds(const char *wanted)
{
  const char *text = slurp();
  if (strcmp(text, wanted))
    fprintf(stderr, "# %s# instead of\n# %s", text, wanted);
  return !strcmp(text, wanted);
}

static bool
shows(const char *text, const char *wanted)
{
  if (strcmp(text, wanted))
    fprintf(stderr, "# '%s' instead of '%s'\n", text, wanted);
  return !strcmp(text, wanted);
}

/* Opens the log to go on in it, and closes it without a word more. */
static bool
resume(const char **message)
{
  capture_begin();
  bool is_open = journal_open(&told, path, true, true);
  *message = capture_end();
  if (is_open)
    close(told.descriptor);
  return is_open;
}

/* ---- points ------------------------------------------------------------------------------------- */

static void
test_mending(void)
{
  static char text[12000], wanted[12000];
  const char *message;
  static const struct {
    const char *what;
    size_t whole, part; /* bytes up to the last end of a line, and behind it */
  } tries[] = {{"an empty log", 0, 0},
               {"a whole line", 100, 0},
               {"part of a line behind whole ones", 100, 30},
               {"part of the first line", 0, 30},
               {"a long part", 100, 9000},
               {"a part as long as what is looked at", 100, 4096},
               {"two such", 0, 8192},
               {"a long log", 9000, 1}};
  for (size_t index = 0; index < sizeof tries / sizeof *tries; index++) {
    size_t whole = tries[index].whole, length = whole + tries[index].part;
    memset(text, 'x', length);
    text[length] = 0;
    if (whole)
      text[whole - 1] = '\n', text[whole / 2] = '\n';
    put(text);
    memcpy(wanted, text, whole);
    wanted[whole] = 0;
    ok(resume(&message) && holds(wanted), "%s keeps its whole lines %s", tries[index].what, message);
  }
  static const struct {
    call which;
    const char *what;
  } faults[] = {{CALL_FSTAT, "looked at"}, {CALL_PREAD, "read"}, {CALL_FTRUNCATE, "cut"}};
  for (size_t index = 0; index < sizeof faults / sizeof *faults; index++) {
    put("whole\npart");
    failing = faults[index].which;
    bool is_open = resume(&message);
    failing = NO_CALL;
    ok(!is_open && !told.has_log && strstr(message, "the log cannot be read: Input/output error") && holds("whole\npart"),
       "a log that cannot be %s: %s", faults[index].what, message);
  }
  capture_begin();
  bool is_open = journal_open(&told, "/dev/null", true, true);
  message = capture_end();
  ok(is_open && told.has_log && !*message, "a device has no lines to mend");
  close(told.descriptor);
  capture_begin();
  is_open = journal_open(&told, "/tmp/no/such/log", true, true);
  message = capture_end();
  ok(!is_open && shows(message, "/tmp/no/such/log: No such file or directory\n"), "a log in no folder is told");
}

static void
test_lines(void)
{
  journal_step step = {.step = 1, .total_steps = 3, .epoch = 0.5, .loss = 2.25, .learning_rate = 0.125, .accuracy = NAN, .samples = 8};
  seconds = 100;
  bool is_good = journal_open(&told, path, false, true) && journal_add_step(&told, &step);
  seconds = 102;
  step.step = 2, step.accuracy = 0.75, step.loss = INFINITY;
  is_good = is_good && journal_add_step(&told, &step);
  step.step = 3;
  is_good = is_good && journal_add_skipped(&told, &step, "step 3: v\"1\\2\" is \xff\xc3\xa9 \xc3");
  seconds = 120;
  is_good = is_good && journal_add_evaluation(&told, 3, 1, 0.5, 0.25, 10) && journal_add_evaluation(&told, 3, 1, 0.5, NAN, 10);
  capture_begin();
  is_good = is_good && journal_close(&told, &trainer);
  const char *message = capture_end();
  ok(is_good && holds("{\"step\":1,\"epoch\":0.5,\"loss\":2.25,\"samples_per_s\":0,\"lr\":0.125}\n"
                      "{\"step\":2,\"epoch\":0.5,\"loss\":null,\"accuracy\":0.75,\"samples_per_s\":8,\"lr\":0.125}\n"
                      "{\"step\":3,\"epoch\":0.5,\"skipped\":\"step 3: v\\\"1\\\\2\\\" is ?\xc3\xa9 ?\"}\n"
                      "{\"step\":3,\"epoch\":1,\"test_loss\":0.5,\"test_accuracy\":0.25,\"test_samples\":10}\n"
                      "{\"step\":3,\"epoch\":1,\"test_loss\":0.5,\"test_samples\":10}\n"
                      "{\"steps\":2,\"samples\":16,\"skipped\":1,\"seconds\":20,\"peak_rss_bytes\":2097152,\"arena_bytes\":4096,\"threads\":2}\n"),
     "each line of the log is JSON");
  ok(shows(message, "1 steps were skipped because they were not finite\n"), "skipped steps are told in the end, quiet or not");

  static char why[3000];
  memset(why, 'w', sizeof why - 1);
  is_good = journal_open(&told, path, false, true) && journal_add_skipped(&told, &step, why) && journal_add_step(&told, &step);
  const char *text = slurp();
  const char *end = strchr(text, '\n');
  ok(is_good && end && end - text < 1024 && !strncmp(end - 5, "www\"}\n{\"step\":3", 15), "a reason longer than a line is cut, and the line whole");
  close(told.descriptor);

  seconds = 200;
  failing = CALL_GETRUSAGE;
  is_good = journal_open(&told, path, false, true) && journal_close(&told, &trainer);
  failing = NO_CALL;
  ok(is_good && holds("{\"steps\":0,\"samples\":0,\"seconds\":0,\"peak_rss_bytes\":0,\"arena_bytes\":4096,\"threads\":2}\n"),
     "a run without steps has a log, too");
  saves.cost = 0.5, saves.bound = 0.25;
  is_good = journal_open(&told, path, false, true) && journal_close(&told, &trainer);
  saves.cost = 0;
  ok(is_good && strstr(slurp(), ",\"predicted_variance\":0.5,\"variance_bound\":0.25,"), "with coded values their noise is in the last line");
  is_good = journal_open(&told, NULL, false, true) && journal_add_step(&told, &step) && journal_add_evaluation(&told, 3, 1, 0.5, NAN, 10);
  capture_begin();
  is_good = is_good && journal_add_skipped(&told, &step, "why") && journal_close(&told, &trainer);
  message = capture_end();
  ok(is_good && shows(message, "1 steps were skipped because they were not finite\n"), "without a log nothing is written");
}

static void
test_faults(void)
{
  journal_step step = {.step = 1, .total_steps = 3, .loss = 1, .accuracy = NAN, .samples = 8};
  static const char line[] = "{\"step\":1,\"epoch\":0,\"loss\":1,\"samples_per_s\":0,\"lr\":0}\n";
  if (!journal_open(&told, path, false, true) || !journal_add_step(&told, &step))
    abort();
  capture_begin();
  failing = CALL_WRITE;
  bool is_written = journal_add_step(&told, &step);
  failing = NO_CALL;
  const char *message = capture_end();
  ok(!is_written && !told.has_log && strstr(message, "the log cannot be written: No space left on device"), "a full disk is told: %s", message);
  ok(holds(line), "and what there was of the line is taken back");
  ok(journal_add_step(&told, &step) && holds(line), "then nothing more is written");

  if (!journal_open(&told, path, false, true))
    abort();
  capture_begin();
  failing = CALL_WRITE, is_stuck = true;
  is_written = journal_add_step(&told, &step);
  failing = NO_CALL, is_stuck = false;
  message = capture_end();
  ok(!is_written && strstr(message, "the log cannot be written: ") && strstr(message, "its last line is not whole: "),
     "a line that cannot be taken back is told, too: %s", message);

  if (!journal_open(&told, path, false, true))
    abort();
  failing = CALL_CLOSE;
  capture_begin();
  is_written = journal_close(&told, &trainer);
  failing = NO_CALL;
  message = capture_end();
  ok(!is_written && strstr(message, "the log cannot be written: Input/output error"), "a log that cannot be closed: %s", message);

  if (!journal_open(&told, "/dev/full", false, true))
    abort();
  capture_begin();
  is_written = journal_close(&told, &trainer);
  message = capture_end();
  ok(!is_written && strstr(message, "/dev/full: the log cannot be written: No space left") && !strstr(message, "not whole"),
     "of a device nothing need be taken back: %s", message);

  int ends[2];
  if (pipe(ends) || !journal_open(&told, NULL, false, true))
    abort();
  told.path = "pipe", told.descriptor = ends[1], told.has_log = true;
  is_written = journal_add_step(&told, &step);
  char read_back[200] = "";
  ok(is_written && read(ends[0], read_back, sizeof read_back - 1) > 0 && shows(read_back, line), "a pipe gets its lines");
  close(ends[0]);
  signal(SIGPIPE, SIG_IGN);
  capture_begin();
  is_written = journal_add_step(&told, &step);
  message = capture_end();
  ok(!is_written && strstr(message, "pipe: the log cannot be written: Broken pipe") && !strstr(message, "not whole"),
     "nothing can be taken back from one: %s", message);
}

/* What the terminal gets of one step, at a time. */
static const char *
progress(double now, uint64_t number, uint64_t total, uint64_t samples, double loss, double accuracy)
{
  journal_step step = {.step = number, .total_steps = total, .loss = loss, .accuracy = accuracy, .samples = samples};
  seconds = now;
  capture_begin();
  journal_add_step(&told, &step);
  return capture_end();
}

static void
test_terminal(void)
{
  has_terminal = true;
  seconds = 1000;
  ok(journal_open(&told, NULL, false, true) && !told.has_terminal, "a quiet run shows no progress");
  ok(journal_open(&told, NULL, false, false) && told.has_terminal, "another does on a terminal");
  ok(shows(progress(1000, 1, 100, 10, 1.5, NAN), "\rstep 1/100  loss 1.5000  0 samples/s  2 MiB  "), "the first step, of which no time is known");
  ok(shows(progress(1000.1, 2, 100, 10, 1.5, NAN), ""), "a step right behind it is not shown");
  ok(shows(progress(1002, 3, 100, 10, 1.25, 0.5),
           "\rstep 3/100  loss 1.2500  accuracy  50.0 %  15 samples/s  2 MiB  1 min 04 s left"),
     "accuracy, and the time that is left");
  size_t length = strlen(progress(1002.5, 4, 100, 10, 1.25, 0.5));
  const char *text = progress(1003, 5, 5, 10, 1, NAN);
  ok(strlen(text) == length && strspn(strstr(text, "MiB") + 3, " ") == length - 43 &&
         !strncmp(text, "\rstep 5/5  loss 1.0000  17 samples/s  2 MiB ", 44),
     "a line that is shorter wipes out the one before it");
  ok(shows(progress(1003, 6, 6, 10, 1, NAN), "\rstep 6/6  loss 1.0000  20 samples/s  2 MiB  "), "the last step is shown whenever it comes");
  ok(strstr(progress(1004, 7, 10000, 3, 1, NAN), "16 samples/s  2 MiB  31 min 43 s left"), "minutes");
  ok(strstr(progress(1004.5, 8, 100000, 9, 1, NAN), "16 samples/s  2 MiB  15 h 37 min left"), "hours");
  ok(strstr(progress(1005, 9, UINT64_MAX, 8, 1, NAN), "16 samples/s  2 MiB  0 min 00 s left"), "ages are not shown");
  ok(strstr(progress(1006, 10, 100, 0, 1, NAN), "13 samples/s  2 MiB  0 min 00 s left"), "steps without samples take no time");
  progress(1012, 11, 100, 20, 1, NAN);
  ok(strstr(progress(1014, 12, 100, 20, 1, NAN), "10 samples/s"), "the speed is that of the last seconds");
  journal_step step = {.step = 13, .accuracy = NAN};
  capture_begin();
  journal_add_skipped(&told, &step, "no");
  text = capture_end();
  ok(text[0] == '\r' && strstr(text, " \rno; the step is skipped\n"), "a message wipes the line out first");
  told.quiet = true;
  capture_begin();
  journal_close(&told, &trainer);
  text = capture_end();
  ok(shows(text, "1 steps were skipped because they were not finite\n"), "once");
}

int
main(void)
{
  int descriptor = mkstemp(path);
  if (descriptor < 0 || close(descriptor))
    return 99;
  test_mending();
  test_lines();
  test_faults();
  test_terminal();
  return unlink(path) ? 99 : tap_done();
}
