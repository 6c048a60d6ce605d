/* import_outcome.h: imports a file in a child process with a stack of 256 KiB and a clock, and says what came of it. */
#ifndef ACTNN_IMPORT_OUTCOME_H
#define ACTNN_IMPORT_OUTCOME_H

#include "../../src/program.h"
#include "../runtime/sanitized.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Outcome {
  int status; /* 0: imported, 1: refused with a message, 2: refused without one; 3: killed or hung */
  char message[4096];
  double seconds; /* of processor time: others may share the machine */
} Outcome;

static inline int
import_here(const char *path, FILE *stream)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  diagnostics->stream = stream;
  Program *program = import_model(path, diagnostics);
  int status = program ? 0 : diagnostics->errors ? 1 : 2;
  program_destroy(program);
  arena_destroy(arena);
  return status;
}

static inline Outcome
import_apart(const char *path)
{
  Outcome outcome = {.status = 3};
  int channel[2];
  if (pipe(channel)) abort();
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) abort();
  if (child == 0) {
    struct rlimit stack = {256 << 10, 256 << 10}, core = {0, 0};
    setrlimit(RLIMIT_CORE, &core);
    if (!IS_SANITIZED) setrlimit(RLIMIT_STACK, &stack);
    alarm(60);
    close(channel[0]);
    FILE *stream = fdopen(channel[1], "w");
    int status = import_here(path, stream);
    fflush(stream);
    _exit(status);
  }
  close(channel[1]);
  size_t length = 0;
  char extra[512];
  for (ssize_t part; (part = length < sizeof outcome.message - 1
                                 ? read(channel[0], outcome.message + length, sizeof outcome.message - 1 - length)
                                 : read(channel[0], extra, sizeof extra)) > 0;) {
    if (length < sizeof outcome.message - 1) length += (size_t)part;
  }
  close(channel[0]);
  int status;
  struct rusage usage;
  wait4(child, &status, 0, &usage);
  if (WIFEXITED(status) && WEXITSTATUS(status) < 3) outcome.status = WEXITSTATUS(status);
  outcome.seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
                    + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
  return outcome;
}

#endif
