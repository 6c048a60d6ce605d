/* schedule.c: learning-rate schedules. A rate is a function of the step number alone, so that a resumed run
 * continues with the rates of the uninterrupted one. */
#include "schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

static bool
parse_number(const char *text, double lowest, double highest, double *number)
{
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !(value >= lowest && value <= highest))
    return false;
  *number = value;
  return true;
}

/* One KEY=VALUE, told apart by the kind named before it. */
static bool
set_key(schedule *result, const char *kind, const char *key, const char *value)
{
  double number;
  if (!strcmp(kind, "step") && !strcmp(key, "size"))
    return parse_number(value, 1e-9, 1e15, &result->size);
  if (!strcmp(kind, "step") && !strcmp(key, "gamma"))
    return parse_number(value, 0, 1e6, &result->gamma);
  if (!strcmp(kind, "cosine") && !strcmp(key, "final"))
    return parse_number(value, 0, 1, &result->final);
  if (!strcmp(kind, "one-cycle") && !strcmp(key, "peak"))
    return parse_number(value, 0.001, 0.999, &result->peak);
  if (!strcmp(kind, "one-cycle") && !strcmp(key, "start"))
    return parse_number(value, 1, 1e12, &result->start);
  if (!strcmp(kind, "one-cycle") && !strcmp(key, "end"))
    return parse_number(value, 1, 1e12, &result->end);
  if (!strcmp(kind, "warmup") && !strcmp(key, "steps") && parse_number(value, 1, 1e15, &number)) {
    result->warmup_steps = (uint64_t)number;
    return true;
  }
  return false;
}

static bool
set_kind(schedule *result, const char *kind)
{
  static const struct {
    const char *name;
    schedule_kind kind;
  } known[] = {{"constant", SCHEDULE_CONSTANT},
               {"step", SCHEDULE_STEP},
               {"cosine", SCHEDULE_COSINE},
               {"one-cycle", SCHEDULE_ONE_CYCLE}};
  if (!strcmp(kind, "warmup")) {
    result->has_warmup = true;
    return true;
  }
  for (size_t index = 0; index < sizeof known / sizeof *known; index++)
    if (!strcmp(kind, known[index].name)) {
      result->kind = known[index].kind;
      return true;
    }
  return false;
}

bool
schedule_parse(const char *text, schedule *result, char *error, size_t error_bytes)
{
  char words[256], kind[32] = "";
  *result = (schedule){.size = 30, .gamma = 0.1, .peak = 0.3, .start = 25, .end = 250000};
  if (strlen(text) >= sizeof words) {
    snprintf(error, error_bytes, "--schedule is too long");
    return false;
  }
  strcpy(words, text);
  for (char *word = words, *next; word; word = next) {
    char *comma = strchr(word, ','), *equals;
    if (comma)
      *comma = 0;
    next = comma ? comma + 1 : NULL;
    equals = strchr(word, '=');
    if (equals) {
      *equals = 0;
      if (!set_key(result, kind, word, equals + 1)) {
        snprintf(error, error_bytes, "--schedule: '%s=%s' is not understood after '%s'", word, equals + 1,
                 kind);
        return false;
      }
    } else if (strlen(word) >= sizeof kind || !set_kind(result, word)) {
      snprintf(error, error_bytes,
               "--schedule: '%.60s' is not one of constant, step, cosine, warmup, one-cycle", word);
      return false;
    } else {
      strcpy(kind, word);
    }
  }
  return true;
}

/* Half a cosine from `from` to `to` while share goes from 0 to 1. */
static double
anneal(double from, double to, double share)
{
  return to + (from - to) * 0.5 * (1 + cos(PI * share));
}

double
schedule_factor(const schedule *schedule, uint64_t step, uint64_t total_steps, uint64_t steps_per_epoch)
{
  uint64_t warmup = 0;
  if (schedule->has_warmup) {
    warmup = schedule->warmup_steps ? schedule->warmup_steps : (total_steps + 19) / 20;
    if (step < warmup)
      return (double)(step + 1) / (double)warmup;
  }
  double length = total_steps > warmup + 1 ? (double)(total_steps - warmup) : 1;
  double share = (double)(step - warmup) / length;
  if (share > 1)
    share = 1;
  switch (schedule->kind) {
  case SCHEDULE_CONSTANT: return 1;
  case SCHEDULE_STEP:
    return pow(schedule->gamma,
               floor((double)step / (schedule->size * (double)(steps_per_epoch ? steps_per_epoch : 1))));
  case SCHEDULE_COSINE: return anneal(1, schedule->final, share);
  case SCHEDULE_ONE_CYCLE:
    if (share < schedule->peak)
      return anneal(1 / schedule->start, 1, share / schedule->peak);
    return anneal(1, 1 / schedule->end, (share - schedule->peak) / (1 - schedule->peak));
  }
  return 1;
}
