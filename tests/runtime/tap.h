/* tap.h: Test Anything Protocol for C tests: `ok(condition, "what")` for each point, `return tap_done();` at the end. */
#ifndef ACTNN_TAP_H
#define ACTNN_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_count, tap_failures; /* a test program is one file, and these are its only state */

static inline bool __attribute__((format(printf, 2, 3)))
ok(bool condition, const char *format, ...)
{
  va_list arguments;
  char what[512];
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  for (char *place = what; *place; place++) /* a point is one line */
    *place = *place == '\n' || *place == '\r' ? ' ' : *place;
  printf("%sok %d - %s\n", condition ? "" : "not ", ++tap_count, what);
  fflush(stdout);
  tap_failures += !condition;
  return condition;
}

static inline int
tap_done(void)
{
  printf("1..%d\n", tap_count);
  return tap_failures != 0;
}

#endif
