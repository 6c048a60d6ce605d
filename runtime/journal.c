/* journal.c: the log of JSON lines and the progress line. */
#include "journal.h"
#include "descriptor.h"
#include "saves.h"
#include "profile.h"
#include "text_buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t
peak_resident_bytes(void)
{
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_maxrss * 1024;
}

/* ---- the log ---------------------------------------------------------------------------------------- */

static bool
refuse(const journal *journal, const char *what)
{
  fprintf(stderr, "%s: %s%s\n", journal->path, what, strerror(errno));
  return false;
}

/* A run that was killed may have left part of a line: it goes, so that every line can be read. */
static bool
mend(int descriptor)
{
  char tail[4096];
  struct stat status;
  if (fstat(descriptor, &status))
    return false;
  if (!S_ISREG(status.st_mode))
    return true;
  for (uint64_t end = (uint64_t)status.st_size; end;) {
    size_t bytes = end < sizeof tail ? (size_t)end : sizeof tail;
    ssize_t count = descriptor_read_at(descriptor, tail, bytes, end - bytes);
    if (count < 0)
      return false;
    while (count && tail[count - 1] != '\n')
      count--;
    end -= bytes;
    if (!count && end)
      continue;
    off_t whole = (off_t)end + count;
    return whole == status.st_size || !ftruncate(descriptor, whole);
  }
  return true;
}

bool
journal_open(journal *journal, const char *path, bool append, bool quiet)
{
  *journal = (struct journal){.path = path, .descriptor = -1, .quiet = quiet, .started = profile_now()};
  journal->window_start = journal->started;
  journal->has_terminal = !quiet && isatty(STDERR_FILENO);
  if (!path)
    return true;
  journal->descriptor = descriptor_open(path, (append ? O_RDWR | O_APPEND : O_WRONLY | O_TRUNC) | O_CREAT);
  if (journal->descriptor < 0)
    return refuse(journal, "");
  journal->has_log = true;
  if (!append || mend(journal->descriptor))
    return true;
  refuse(journal, "the log cannot be read: ");
  close(journal->descriptor);
  journal->has_log = false;
  return false;
}

static void __attribute__((format(printf, 2, 3)))
put(journal *journal, const char *format, ...)
{
  va_list arguments;
  size_t room = sizeof journal->line - journal->length;
  va_start(arguments, format);
  int count = vsnprintf(journal->line + journal->length, room, format, arguments);
  va_end(arguments);
  if (count > 0)
    journal->length += (size_t)count < room ? (size_t)count : room - 1;
}

/* Printable text that JSON needs no escapes for but of quotes and backslashes. */
static void
put_text(journal *journal, const char *key, const char *text)
{
  put(journal, ",\"%s\":\"", key);
  while (*text && journal->length < sizeof journal->line - 16) {
    size_t length = utf8_length(text);
    if (!length)
      put(journal, "?");
    else
      put(journal, *text == '"' || *text == '\\' ? "\\%.*s" : "%.*s", (int)length, text);
    text += length ? length : 1;
  }
  put(journal, "\"");
}

/* Writes the line; what there is of one that cannot be written whole is taken back. */
static bool
end_line(journal *journal)
{
  off_t before = lseek(journal->descriptor, 0, SEEK_END); /* -1 where there is no going back, such as of a pipe */
  put(journal, "}\n");
  bool is_written = descriptor_write(journal->descriptor, journal->line, journal->length);
  journal->length = 0;
  if (is_written)
    return true;
  refuse(journal, "the log cannot be written: ");
  if (before >= 0 && ftruncate(journal->descriptor, before) && errno != EINVAL) /* a device has no length */
    refuse(journal, "its last line is not whole: ");
  close(journal->descriptor);
  journal->has_log = false;
  return false;
}

/* JSON has no word for what is not finite. */
static void
put_number(journal *journal, const char *key, double value)
{
  if (isfinite(value))
    put(journal, ",\"%s\":%.9g", key, value);
  else
    put(journal, ",\"%s\":null", key);
}

/* ---- the terminal ------------------------------------------------------------------------------------- */

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
  if (!journal->has_log)
    return true;
  put(journal, "{\"step\":%llu", (unsigned long long)step->step);
  put_number(journal, "epoch", step->epoch);
  put_number(journal, "loss", step->loss);
  if (!isnan(step->accuracy))
    put_number(journal, "accuracy", step->accuracy);
  put_number(journal, "samples_per_s", rate);
  put_number(journal, "lr", step->learning_rate);
  return end_line(journal);
}

bool
journal_add_skipped(journal *journal, const journal_step *step, const char *why)
{
  journal->skipped++;
  clear_progress(journal);
  if (!journal->quiet)
    fprintf(stderr, "%s; the step is skipped\n", why);
  if (!journal->has_log)
    return true;
  put(journal, "{\"step\":%llu", (unsigned long long)step->step);
  put_number(journal, "epoch", step->epoch);
  put_text(journal, "skipped", why);
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
  if (!journal->has_log)
    return true;
  put(journal, "{\"step\":%llu", (unsigned long long)step);
  put_number(journal, "epoch", epoch);
  put_number(journal, "test_loss", loss);
  if (!isnan(accuracy))
    put_number(journal, "test_accuracy", accuracy);
  put(journal, ",\"test_samples\":%llu", (unsigned long long)samples);
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
  if (journal->skipped)
    fprintf(stderr, "%llu steps were skipped because they were not finite\n", (unsigned long long)journal->skipped);
  if (!journal->has_log)
    return true;
  put(journal, "{\"steps\":%llu,\"samples\":%llu", (unsigned long long)journal->steps, (unsigned long long)journal->samples);
  if (journal->skipped)
    put(journal, ",\"skipped\":%llu", (unsigned long long)journal->skipped);
  put_number(journal, "seconds", seconds);
  double cost, bound;
  if (saves_certificate(trainer, &cost, &bound))
    put(journal, ",\"predicted_variance\":%.6g,\"variance_bound\":%.6g", cost, bound);
  put(journal, ",\"peak_rss_bytes\":%llu,\"arena_bytes\":%llu,\"threads\":%d",
          (unsigned long long)peak_resident_bytes(), (unsigned long long)trainer->arena_bytes,
          trainer->threads);
  if (!end_line(journal))
    return false;
  journal->has_log = false;
  return descriptor_close(journal->descriptor) || refuse(journal, "the log cannot be written: ");
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
