/* journal.c: the log of JSON lines and the progress line. */
#include "journal.h"
#include "saves.h"
#include "profile.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t
peak_resident_bytes(void)
{
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_maxrss * 1024;
}

bool
journal_open(journal *journal, const char *path, bool append, bool quiet)
{
  *journal = (struct journal){.path = path, .quiet = quiet, .started = profile_now()};
  journal->window_start = journal->started;
  journal->has_terminal = !quiet && isatty(STDERR_FILENO);
  if (path && !(journal->log = fopen(path, append ? "a" : "w"))) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return false;
  }
  return true;
}

static bool
end_line(journal *journal)
{
  fputs("}\n", journal->log);
  if (!fflush(journal->log) && !ferror(journal->log))
    return true;
  fprintf(stderr, "%s: the log cannot be written: %s\n", journal->path, strerror(errno));
  fclose(journal->log);
  journal->log = NULL;
  return false;
}

/* JSON has no word for what is not finite. */
static void
put_number(FILE *log, const char *key, double value)
{
  if (isfinite(value))
    fprintf(log, ",\"%s\":%.9g", key, value);
  else
    fprintf(log, ",\"%s\":null", key);
}

static void
show_duration(char *text, size_t bytes, double seconds)
{
  unsigned long total = seconds > 0 && seconds < 1e8 ? (unsigned long)seconds : 0;
  if (total >= 3600)
    snprintf(text, bytes, "%lu h %02lu min", total / 3600, total / 60 % 60);
  else
    snprintf(text, bytes, "%lu min %02lu s", total / 60, total % 60);
}

static void
clear_progress(journal *journal)
{
  if (journal->line_length)
    fprintf(stderr, "\r%*s\r", (int)journal->line_length, "");
  journal->line_length = 0;
}

static void
show_progress(journal *journal, const journal_step *step, double now, double rate)
{
  char line[240], accuracy[40] = "", left[40] = "";
  if (now - journal->shown < 0.2 && step->step != step->total_steps)
    return;
  journal->shown = now;
  if (!isnan(step->accuracy))
    snprintf(accuracy, sizeof accuracy, "  accuracy %5.1f %%", 100 * step->accuracy);
  if (rate > 0 && step->total_steps > step->step)
    show_duration(left, sizeof left, (double)(step->total_steps - step->step) * (double)step->samples / rate);
  int length = snprintf(line, sizeof line, "step %llu/%llu  loss %.4f%s  %.0f samples/s  %.0f MiB  %s%s",
                        (unsigned long long)step->step, (unsigned long long)step->total_steps, step->loss,
                        accuracy, rate, (double)peak_resident_bytes() / 1048576, left, *left ? " left" : "");
  if (length < 0)
    return;
  fprintf(stderr, "\r%s%*s", line,
          (size_t)length < journal->line_length ? (int)(journal->line_length - (size_t)length) : 0, "");
  fflush(stderr);
  journal->line_length = (size_t)length;
}

bool
journal_add_step(journal *journal, const journal_step *step)
{
  double now = profile_now();
  journal->samples += step->samples;
  journal->window_samples += step->samples;
  journal->steps++;
  double rate =
      now > journal->window_start ? (double)journal->window_samples / (now - journal->window_start) : 0;
  if (journal->has_terminal)
    show_progress(journal, step, now, rate);
  if (now - journal->window_start > 10) { /* the speed shown is that of the last seconds, without evaluations */
    journal->window_start = now;
    journal->window_samples = 0;
  }
  if (!journal->log)
    return true;
  fprintf(journal->log, "{\"step\":%llu", (unsigned long long)step->step);
  put_number(journal->log, "epoch", step->epoch);
  put_number(journal->log, "loss", step->loss);
  if (!isnan(step->accuracy))
    put_number(journal->log, "accuracy", step->accuracy);
  put_number(journal->log, "samples_per_s", rate);
  put_number(journal->log, "lr", step->learning_rate);
  return end_line(journal);
}

bool
journal_add_evaluation(journal *journal, uint64_t step, double epoch, double loss, double accuracy,
                       uint64_t samples)
{
  if (isnan(accuracy))
    journal_say(journal, "epoch %.2f  step %llu  test loss %.4f", epoch, (unsigned long long)step, loss);
  else
    journal_say(journal, "epoch %.2f  step %llu  test loss %.4f  test accuracy %.2f %%", epoch,
                (unsigned long long)step, loss, 100 * accuracy);
  journal->window_start = profile_now();
  journal->window_samples = 0;
  if (!journal->log)
    return true;
  fprintf(journal->log, "{\"step\":%llu", (unsigned long long)step);
  put_number(journal->log, "epoch", epoch);
  put_number(journal->log, "test_loss", loss);
  if (!isnan(accuracy))
    put_number(journal->log, "test_accuracy", accuracy);
  fprintf(journal->log, ",\"test_samples\":%llu", (unsigned long long)samples);
  return end_line(journal);
}

bool
journal_close(journal *journal, const actnn *trainer)
{
  double seconds = profile_now() - journal->started;
  clear_progress(journal);
  if (journal->steps)
    journal_say(journal, "%llu steps in %.1f s, %.0f samples/s, peak memory %.1f MiB",
                (unsigned long long)journal->steps, seconds,
                seconds > 0 ? (double)journal->samples / seconds : 0, (double)peak_resident_bytes() / 1048576);
  if (!journal->log)
    return true;
  fprintf(journal->log, "{\"steps\":%llu,\"samples\":%llu", (unsigned long long)journal->steps,
          (unsigned long long)journal->samples);
  put_number(journal->log, "seconds", seconds);
  double cost, bound;
  if (saves_certificate(trainer, &cost, &bound))
    fprintf(journal->log, ",\"predicted_variance\":%.6g,\"variance_bound\":%.6g", cost, bound);
  fprintf(journal->log, ",\"peak_rss_bytes\":%llu,\"arena_bytes\":%llu,\"threads\":%d",
          (unsigned long long)peak_resident_bytes(), (unsigned long long)trainer->arena_bytes,
          trainer->threads);
  if (!end_line(journal))
    return false;
  FILE *log = journal->log;
  journal->log = NULL;
  if (!fclose(log))
    return true;
  fprintf(stderr, "%s: the log cannot be written: %s\n", journal->path, strerror(errno));
  return false;
}

void
journal_say(journal *journal, const char *format, ...)
{
  va_list arguments;
  clear_progress(journal);
  if (journal->quiet)
    return;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  fflush(stdout);
}
