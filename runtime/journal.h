/* journal.h: what a run tells: a log of JSON lines, and on a terminal one line that keeps being rewritten. */
#ifndef ACTNN_JOURNAL_H
#define ACTNN_JOURNAL_H

#include "runtime.h"

typedef struct journal {
  bool has_log;
  int descriptor;     /* of the log */
  const char *path;
  char line[1024];    /* the line of the log being made */
  size_t length;
  bool has_terminal;  /* stderr is one, and --quiet was not given */
  bool quiet;
  double started, shown; /* seconds */
  double window_start;   /* progress counts over the run since then */
  uint64_t window_samples, samples, steps, skipped;
  size_t line_length;
} journal;

typedef struct journal_step {
  uint64_t step, total_steps;
  double epoch, loss, learning_rate;
  double accuracy; /* of the batch; NAN: none */
  uint64_t samples;
} journal_step;

/* path NULL: no log. `append`: a resumed run goes on in the same log, behind its last whole line. False after a message on
 * stderr. */
bool journal_open(journal *journal, const char *path, bool append, bool quiet);
/* Each returns false, after a message on stderr, when the log cannot be written. */
bool journal_add_step(journal *journal, const journal_step *step);
/* A step that was not taken, and why. */
bool journal_add_skipped(journal *journal, const journal_step *step, const char *why);
/* accuracy NAN: the model has none. */
bool journal_add_evaluation(journal *journal, uint64_t step, double epoch, double loss, double accuracy,
                            uint64_t samples);
/* The last line, with totals; closes the log. */
bool journal_close(journal *journal, const actnn *trainer);
/* A line for people on stdout, beside the progress line. */
void journal_say(journal *journal, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint64_t peak_resident_bytes(void);

#endif
