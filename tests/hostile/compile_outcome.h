/* compile_outcome.h: runs actnnc on a file as a process of its own, under a stack of 256 KiB, and says what came of it: how it ended,
 * what it said and wrote, the time and the memory that it took. */
#ifndef ACTNN_COMPILE_OUTCOME_H
#define ACTNN_COMPILE_OUTCOME_H

#include "../runtime/sanitized.h"
#include "../runtime/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 16 };

typedef struct CompileOutcome {
  int status;      /* exit code; 128 + the signal's number */
  double seconds;  /* of processor time: others may share the machine */
  uint64_t bytes;  /* the most that was resident at once */
  unsigned written; /* files in the folder `out` */
  unsigned messages; /* lines with "error: " */
  size_t length;
  char text[8192]; /* standard error */
} CompileOutcome;

static inline void
become_compiler(const char *const *arguments)
{
  struct rlimit stack = {256 << 10, 256 << 10}, core = {0, 0};
  const char *root = getenv("top_builddir");
  char program[4096];
  int messages = open("messages", O_CREAT | O_TRUNC | O_WRONLY, 0666), nothing = open("/dev/null", O_WRONLY);
  dup2(nothing, 1);
  dup2(messages, 2);
  setrlimit(RLIMIT_CORE, &core);
  if (!IS_SANITIZED) setrlimit(RLIMIT_STACK, &stack);
  alarm(300);
  snprintf(program, sizeof program, "%s/actnnc", root ? root : ".");
  execv(program, (char *const *)arguments);
  _exit(126);
}

/* How many files are in `out`; they are removed. */
static inline unsigned
count_written(void)
{
  unsigned count = 0;
  DIR *folder = opendir("out");
  if (!folder) return 0;
  for (struct dirent *entry; (entry = readdir(folder));) {
    if (entry->d_name[0] == '.' && (!entry->d_name[1] || entry->d_name[1] == '.')) continue;
    count++;
    unlinkat(dirfd(folder), entry->d_name, 0);
  }
  closedir(folder);
  return count;
}

static inline void
read_messages(CompileOutcome *outcome)
{
  FILE *file = fopen("messages", "r");
  if (!file) abort();
  outcome->length = fread(outcome->text, 1, sizeof outcome->text - 1, file);
  fclose(file);
  outcome->text[outcome->length] = 0;
  for (const char *at = outcome->text; (at = strstr(at, "error: ")); at++) outcome->messages++;
}

/* actnnc FILE -o out/train.c OPTION... in the current folder. options: blank-separated. */
static inline CompileOutcome
compile_apart(const char *file, const char *options)
{
  static char words[1024];
  const char *arguments[MOST_ARGUMENTS] = {"actnnc", file, "-o", "out/train.c"};
  CompileOutcome outcome = {0};
  size_t count = 4;
  snprintf(words, sizeof words, "%s", options);
  for (char *word = strtok(words, " "); word && count + 1 < MOST_ARGUMENTS; word = strtok(NULL, " ")) arguments[count++] = word;
  mkdir("out", 0777);
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) abort();
  if (child == 0) become_compiler(arguments);
  int status;
  struct rusage usage;
  if (wait4(child, &status, 0, &usage) != child) abort();
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
                    + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
  outcome.bytes = IS_SANITIZED ? 0 : (uint64_t)usage.ru_maxrss << 10;
  outcome.written = count_written();
  read_messages(&outcome);
  return outcome;
}

#endif
