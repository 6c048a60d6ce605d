/* verify_source.c: the verifier of emitted source as a child process with limits.
 *
 * The child reads the source and writes what it finds into a pipe, one finding a line, and "done" as the last: a child that
 * crashed, ran out of its memory or of its time did not say "done", and the source is refused. */
#include "verify_source.h"

#include "verify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS = 120, MOST_FINDINGS_BYTES = 65536 };

static const char help[] = "this is a fault of actnnc, nothing was written: please report it with the model";

/* ---- the child ------------------------------------------------------------------------------------------------ */

static uint64_t
bytes_mapped_now(void)
{
  unsigned long long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file) return 0;
  if (fscanf(file, "%llu", &pages) != 1) pages = 0;
  fclose(file);
  return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void
limit(int resource, uint64_t most)
{
  struct rlimit now;
  if (getrlimit(resource, &now)) return;
  if (now.rlim_max == RLIM_INFINITY || most < now.rlim_max) now.rlim_max = (rlim_t)most;
  if (now.rlim_cur == RLIM_INFINITY || now.rlim_cur > now.rlim_max) now.rlim_cur = now.rlim_max;
  setrlimit(resource, &now);
}

/* Measured: about 200 bytes of compiler's memory for a byte of source. */
static void
limit_child(size_t source_length)
{
  limit(RLIMIT_AS, bytes_mapped_now() + ((uint64_t)1 << 30) + (uint64_t)source_length * 600);
  limit(RLIMIT_CPU, SECONDS);
  limit(RLIMIT_CORE, 0);
  int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere >= 0) dup2(nowhere, STDERR_FILENO); /* what the library says when it crashes is of no use */
}

static void
run_child(int descriptor, const EmittedText *text, const Program *program, const Options *options)
{
  limit_child(text->source_length);
  Arena *arena = arena_create();
  Emitted emitted = {.arena = arena, .name = text->name, .program = program, .options = options, .source_length = text->source_length,
                     .header_length = text->header_length, .kernels_length = text->kernels_length};
  emitted.source = arena_text(arena, text->source, text->source_length); /* ends with a zero, as the scanner likes */
  emitted.header = arena_text(arena, text->header, text->header_length);
  emitted.kernels = arena_text(arena, text->kernels ? text->kernels : "", text->kernels_length);
  emitted.findings = fdopen(descriptor, "w");
  if (!emitted.findings) _exit(1);
  check_rules(&emitted);
  fputs("done\n", emitted.findings);
  _exit(fclose(emitted.findings) ? 1 : 0);
}

/* ---- the parent ------------------------------------------------------------------------------------------------ */

static double
seconds_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* All that the child writes, until it closes its end or time is up. *reason: why it was not heard to its end, 0 or as errno. */
static char *
read_findings(int descriptor, Arena *arena, size_t *length, int *reason)
{
  char *text = arena_allocate(arena, MOST_FINDINGS_BYTES + 1);
  double end = seconds_now() + SECONDS;
  *length = 0;
  *reason = 0;
  while (*length < MOST_FINDINGS_BYTES && !*reason) {
    double left = end - seconds_now();
    struct pollfd wait = {.fd = descriptor, .events = POLLIN};
    int ready = left <= 0 ? 0 : poll(&wait, 1, (int)(left * 1000) + 1);
    ssize_t count = ready > 0 ? read(descriptor, text + *length, MOST_FINDINGS_BYTES - *length) : -1;
    if (count == 0) break;
    if (count > 0) *length += (size_t)count;
    else if (ready == 0) *reason = ETIME;
    else if (errno != EINTR) *reason = errno;
  }
  text[*length] = 0;
  return text;
}

static bool
report_findings(Diagnostics *diagnostics, const char *path, const EmittedText *text, char *findings)
{
  bool is_good = true;
  for (char *line = findings, *next; *line; line = next) {
    next = line + strcspn(line, "\n");
    if (*next) *next++ = 0;
    char *rule_end = strchr(line, '\t'), *position_end = rule_end ? strchr(rule_end + 1, '\t') : NULL;
    if (!position_end) continue; /* "done" */
    *rule_end = 0;
    bool is_of_kernels = !strcmp(line, "V11") && text->kernels;
    report_at(diagnostics, is_of_kernels ? arena_format(diagnostics->arena, "kernels of %s", path) : path,
              is_of_kernels ? text->kernels : text->source, is_of_kernels ? text->kernels_length : text->source_length,
              (size_t)strtoull(rule_end + 1, NULL, 10), help, "emitted source breaks rule %s: %s", line, position_end + 1);
    is_good = false;
  }
  return is_good;
}

static bool
report_end(Diagnostics *diagnostics, const char *path, int reason, int status)
{
  if (reason && reason != ETIME)
    return report(diagnostics, path, NULL, "cannot verify the emitted source: %s", strerror(reason));
  if (reason || (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL)))
    return report(diagnostics, path, help, "the emitted source was not verified within %d seconds", (int)SECONDS);
  if (WIFSIGNALED(status))
    return report(diagnostics, path, help, "verifying the emitted source crashed (signal %d)", WTERMSIG(status));
  return report(diagnostics, path, help, "verifying the emitted source ended early (code %d)", WEXITSTATUS(status));
}

bool
verify_source(Diagnostics *diagnostics, const char *path, const EmittedText *text, const Program *program, const Options *options)
{
  int ends[2], status = 0, reason;
  size_t length;
  if (pipe(ends)) return report(diagnostics, path, NULL, "cannot verify the emitted source: %s", strerror(errno));
  pid_t child = fork();
  if (child < 0) {
    int reason = errno;
    close(ends[0]);
    close(ends[1]);
    return report(diagnostics, path, NULL, "cannot verify the emitted source: %s", strerror(reason));
  }
  if (child == 0) {
    close(ends[0]);
    run_child(ends[1], text, program, options);
  }
  close(ends[1]);
  Arena *arena = arena_create();
  char *findings = read_findings(ends[0], arena, &length, &reason);
  close(ends[0]);
  bool is_done =
      (length == 5 && !strcmp(findings, "done\n")) || (length > 5 && !strcmp(findings + length - 6, "\ndone\n"));
  if (!is_done) kill(child, SIGKILL); /* ours, and not yet waited for: the number is still its own */
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  bool is_good = report_findings(diagnostics, path, text, findings);
  if (!is_done && is_good) is_good = report_end(diagnostics, path, reason, status); /* which is never good */
  arena_destroy(arena);
  return is_good;
}
