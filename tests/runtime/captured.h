/* captured.h: what is written to stderr in a test, as text. */
#ifndef ACTNN_CAPTURED_H
#define ACTNN_CAPTURED_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static FILE *capture_file;
static int capture_kept; /* stderr itself, meanwhile */

static inline void
capture_begin(void)
{
  fflush(stderr);
  capture_file = tmpfile();
  capture_kept = dup(STDERR_FILENO);
  if (!capture_file || capture_kept < 0 || dup2(fileno(capture_file), STDERR_FILENO) < 0)
    abort();
}

/* Good until the next. */
static inline const char *
capture_end(void)
{
  static char text[65536];
  fflush(stderr);
  if (dup2(capture_kept, STDERR_FILENO) < 0 || close(capture_kept))
    abort();
  rewind(capture_file);
  text[fread(text, 1, sizeof text - 1, capture_file)] = 0;
  fclose(capture_file);
  return text;
}

#endif
