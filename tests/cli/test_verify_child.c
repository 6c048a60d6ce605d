/* test_verify_child.c: whatever happens to the verifier's child, the source is accepted only where the child says so. The calls of the
 * system that can fail, the clock, and what the child does instead of its work are replaced here. */
#include "../runtime/replaced.h"
#include "../runtime/sanitized.h"
#include "../runtime/tap.h"
#include "mutants.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- faults ------------------------------------------------------------------------------------------------------------------ */

typedef enum Fault {
  NO_FAULT,
  NO_PIPE,
  NO_CHILD,
  NO_TIME_LEFT,       /* the clock jumps */
  NOTHING_IN_TIME,    /* poll's time is up */
  NO_POLL,
  INTERRUPTED_POLL,   /* once */
  INTERRUPTED_READ,   /* once */
  NO_READ,
  FLOOD,              /* the child writes findings without end */
  LAST_LINE_CUT,      /* the child ends in the midst of a line */
  ALMOST_DONE,        /* the child's last line only ends as the word does */
  AS_LONG,            /* the child's only line is as long as the word */
  INTERRUPTED_WAIT,   /* once */
  NOBODY_TO_WAIT_FOR, /* children that end are forgotten at once */
  NO_STREAM,          /* the child cannot write, and ends with 1 */
  NO_LAST_WRITE,      /* the child's last write fails */
  CRASH,
  KILLED,             /* as the kernel does at the hard limit of its time */
  TOO_LONG,           /* the child is stopped by the limit of its time */
  NO_FILES,           /* the child can open nothing, knows nothing of its memory */
  NO_NUMBER,          /* there is a file about its memory, but nothing in it */
  NO_LIMITS,          /* the child's limits cannot be asked for */
  ENDLESS_LIMITS,     /* nothing is limited before */
  TIGHT_LIMITS        /* the present limit is above the highest, which other systems may say */
} Fault;

static Fault fault;
static unsigned happened; /* how often, in the parent */

static bool
strikes(Fault which)
{
  if (fault != which) return false;
  happened++;
  return true;
}

static bool
strikes_once(Fault which)
{
  return fault == which && !happened++;
}

int
pipe(int ends[2])
{
  if (!strikes(NO_PIPE)) return REAL(pipe)(ends);
  errno = EMFILE;
  return -1;
}

pid_t
fork(void)
{
  if (!strikes(NO_CHILD)) return REAL(fork)();
  errno = EAGAIN;
  return -1;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (fault == NO_TIME_LEFT) now->tv_sec += 1000 * (time_t)happened++;
  return result;
}

int
poll(struct pollfd *files, nfds_t count, int milliseconds)
{
  if (strikes(NOTHING_IN_TIME)) return 0;
  errno = strikes_once(INTERRUPTED_POLL) ? EINTR : strikes(NO_POLL) ? ENOMEM : 0;
  return errno ? -1 : REAL(poll)(files, count, milliseconds);
}

ssize_t
read(int descriptor, void *data, size_t count)
{
  errno = strikes_once(INTERRUPTED_READ) ? EINTR : strikes(NO_READ) ? EIO : 0;
  return errno ? -1 : syscall(SYS_read, descriptor, data, count);
}

pid_t
waitpid(pid_t child, int *status, int options)
{
  if (strikes(NOBODY_TO_WAIT_FOR)) return REAL(waitpid)(child, status, options), errno = ECHILD, -1;
  errno = strikes_once(INTERRUPTED_WAIT) ? EINTR : 0;
  return errno ? -1 : REAL(waitpid)(child, status, options);
}

/* The child's stream: what it does before it works, or instead of it. */
FILE *
fdopen(int descriptor, const char *mode)
{
  static const char line[] = "V4\t7\ta finding of a child that says no end of them\n", cut[] = "V4\t7\ta finding that is\nV4\t9";
  const struct rlimit no_time = {1, 2};
  switch (fault) {
  case NO_STREAM: return NULL;
  case CRASH: signal(SIGSEGV, SIG_DFL), raise(SIGSEGV); break; /* not a sanitizer's own way of ending */
  case KILLED: raise(SIGKILL); break;
  case TOO_LONG:
    setrlimit(RLIMIT_CPU, &no_time);
    for (;;) continue;
  case FLOOD:
    for (;;) syscall(SYS_write, descriptor, line, sizeof line - 1);
  case LAST_LINE_CUT: syscall(SYS_write, descriptor, cut, sizeof cut - 1), _exit(0);
  case ALMOST_DONE: syscall(SYS_write, descriptor, "abandone\n", 9), _exit(0);
  case AS_LONG: syscall(SYS_write, descriptor, "none\n", 5), _exit(0);
  default: break;
  }
  return REAL(fdopen)(descriptor, mode);
}

int
fclose(FILE *file)
{
  int result = REAL(fclose)(file);
  return fault == NO_LAST_WRITE ? EOF : result;
}

FILE *
fopen(const char *path, const char *mode)
{
  bool is_asked_for = !strcmp(path, "/proc/self/statm"); /* others than the verifier open files, too */
  if (fault == NO_FILES && is_asked_for) return NULL;
  return REAL(fopen)(fault == NO_NUMBER && is_asked_for ? "/dev/null" : path, mode);
}

int
open(const char *path, int flags, ...)
{
  va_list more;
  va_start(more, flags);
  int permissions = va_arg(more, int);
  va_end(more);
  return fault == NO_FILES && !strcmp(path, "/dev/null") ? -1 : REAL(open)(path, flags, permissions);
}

int
getrlimit(__rlimit_resource_t resource, struct rlimit *now)
{
  if (fault == NO_LIMITS) return -1;
  int result = REAL(getrlimit)(resource, now);
  if (fault == ENDLESS_LIMITS) *now = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
  if (fault == TIGHT_LIMITS) now->rlim_cur = now->rlim_max == RLIM_INFINITY ? now->rlim_max : now->rlim_max + 1;
  return result;
}

/* ---- what must come of them --------------------------------------------------------------------------------------------------- */

static const struct {
  Fault fault;
  const char *what, *message; /* NULL: the source is accepted as ever */
} cases[] = {
    {NO_FAULT, "nothing", NULL},
    {NO_PIPE, "no pipe", "cannot verify the emitted source: Too many open files"},
    {NO_CHILD, "no child", "cannot verify the emitted source: Resource temporarily unavailable"},
    {NO_TIME_LEFT, "time is up before the child said anything", "was not verified within 120 seconds"},
    {NOTHING_IN_TIME, "time is up while waiting", "was not verified within 120 seconds"},
    {NO_POLL, "waiting fails", "cannot verify the emitted source: Cannot allocate memory"},
    {INTERRUPTED_POLL, "a signal while waiting", NULL},
    {INTERRUPTED_READ, "a signal while reading", NULL},
    {NO_READ, "reading fails", "cannot verify the emitted source: Input/output error"},
    {FLOOD, "findings without end", "breaks rule V4: a finding of a child that says no end of them"},
    {LAST_LINE_CUT, "a line that is cut", "breaks rule V4: a finding that is"},
    {ALMOST_DONE, "a last line that only ends like the right one", "ended early (code 0)"},
    {AS_LONG, "another word of four letters", "ended early (code 0)"},
    {INTERRUPTED_WAIT, "a signal while the child ends", NULL},
    {NOBODY_TO_WAIT_FOR, "a child that nobody can wait for", NULL},
    {NO_STREAM, "a child that cannot write", "ended early (code 1)"},
    {NO_LAST_WRITE, "a child that said it all and cannot close", NULL},
    {CRASH, "a child that crashes", "crashed (signal 11)"},
    {KILLED, "a child that is killed", "was not verified within 120 seconds"},
    {TOO_LONG, "a child that takes too long", "was not verified within 120 seconds"},
    {NO_FILES, "a child that can open nothing", NULL},
    {NO_NUMBER, "a child that cannot know its memory", NULL},
    {NO_LIMITS, "limits that cannot be asked for", NULL},
    {ENDLESS_LIMITS, "no limits before", NULL},
    {TIGHT_LIMITS, "a limit above the highest", NULL},
};

/* ---- its caller's circumstances --------------------------------------------------------------------------------------------------- */

/* Signals that interrupt its waiting change nothing. */
static void
do_nothing(int signal)
{
  (void)signal;
}

static void
try_interrupted(Bench *bench)
{
  const struct sigaction interrupts = {.sa_handler = do_nothing};
  const struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
  bool are_good = true;
  sigaction(SIGALRM, &interrupts, NULL);
  setitimer(ITIMER_REAL, &often, NULL);
  for (int i = 0; i < 20; i++) are_good &= verify_text(bench, bench->source, bench->header);
  setitimer(ITIMER_REAL, &never, NULL);
  ok(are_good, "a verifier whose waiting is interrupted accepts as ever");
}

/* Limits that are there already, looser or tighter than the verifier's own, stay or become its own. */
static void
try_with_limits(Bench *bench)
{
  static const struct rlimit limits[] = {{500, 600}, {50, 60}};
  bool are_good = true;
  for (size_t i = 0; i < COUNT(limits); i++) {
    int status = 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(setrlimit(RLIMIT_CPU, &limits[i]) || !verify_text(bench, bench->source, bench->header));
    are_good &= child > 0 && waitpid(child, &status, 0) == child && status == 0;
  }
  ok(are_good, "a verifier under limits of its caller accepts as ever");
}

/* A child that has found something, and said so to its end. */
static void
try_bad_source(Bench *bench)
{
  bool is_good = verify_text(bench, edited(bench, &(Edit){{0, 0}, "int more;\n"}, 1), bench->header);
  ok(!is_good && strstr(bench->messages, "breaks rule V") && !strstr(bench->messages, "ended early"),
     "what the child finds is told, and no more");
}

/* A child that may not have memory is a refusal, not an acceptance. */
static void
try_without_memory(Bench *bench)
{
  struct rlimit before, tight;
  if (IS_SANITIZED || getrlimit(RLIMIT_AS, &before)) return;
  tight = before;
  tight.rlim_cur = 1 << 20;
  setrlimit(RLIMIT_AS, &tight);
  bool is_good = verify_text(bench, bench->source, bench->header);
  setrlimit(RLIMIT_AS, &before);
  ok(!is_good, "a verifier without memory refuses");
}

int
main(void)
{
  Bench bench;
  unsetenv("IN_PROCESS"); /* the child is what this is about */
  const char *problem = start_bench(&bench, &origins[0]);
  ok(!problem, "there is a source to verify%s%s", problem ? ": " : "", problem ? problem : "");
  for (size_t i = 0; i < COUNT(cases) && !problem; i++) {
    /* Where memory is not known the verifier's limit counts from nothing: not enough for what a sanitizer maps. */
    if (IS_SANITIZED && (cases[i].fault == NO_FILES || cases[i].fault == NO_NUMBER)) continue;
    happened = 0;
    fault = cases[i].fault;
    bool is_accepted = verify_text(&bench, bench.source, bench.header);
    fault = NO_FAULT;
    const char *message = cases[i].message;
    if (!ok(message ? !is_accepted && strstr(bench.messages, message) : is_accepted && !bench.messages[0], "%s: %s%s", cases[i].what,
            message ? "refused: " : "accepted", message ? message : ""))
      printf("# %s\n", bench.messages);
    ok(waitpid(-1, NULL, WNOHANG) < 0, "%s: no child is left", cases[i].what);
  }
  if (!problem) {
    try_bad_source(&bench);
    try_interrupted(&bench);
    try_with_limits(&bench);
    try_without_memory(&bench);
  }
  finish_bench(&bench);
  return tap_done();
}
