/* test_schedule.c: learning rates against values worked out by hand, and texts that must be refused. */
#include "schedule.h"
#include "tap.h"

#include <math.h>
#include <string.h>

static double
factor(const char *text, uint64_t step, uint64_t total, uint64_t epoch)
{
  schedule schedule;
  char error[200];
  return schedule_parse(text, &schedule, error, sizeof error) ? schedule_factor(&schedule, step, total, epoch)
                                                              : NAN;
}

static void
expect(const char *text, uint64_t step, double wanted)
{
  double found = factor(text, step, 100, 10);
  ok(fabs(found - wanted) <= 1e-12, "%s at step %d of 100 is %g (%g)", text, (int)step, wanted, found);
}

int
main(void)
{
  static const char *const refused[] = {"linear",          "",
                                        "cosine,",         "step,size=0",
                                        "step,size=x",     "size=3",
                                        "cosine,gamma=2",  "one-cycle,peak=1",
                                        "warmup,steps=-1", "warmup,steps=0",
                                        "step,gamma=nan",  ",,",
                                        "step,size=3x",    "step,size=3,final=0",
                                        "warmup,size=3",   "one-cycle,final=0",
                                        "a-kind-with-a-name-longer-than-any-kind-has"};
  static char endless[1000];
  expect("constant", 0, 1);
  expect("constant", 99, 1);
  expect("step,size=2,gamma=0.5", 19, 1);
  expect("step,size=2,gamma=0.5", 20, 0.5);
  expect("step,size=2,gamma=0.5", 99, 0.0625);
  expect("cosine", 0, 1);
  expect("cosine", 50, 0.5);
  expect("cosine,final=0.2", 50, 0.6);
  expect("cosine", 25, 0.5 * (1 + sqrt(0.5)));
  expect("cosine,final=0.2", 150, 0.2); /* behind the end it stays */
  expect("warmup,steps=10", 0, 0.1);
  expect("warmup,steps=10", 9, 1);
  expect("warmup,steps=10", 50, 1);
  expect("warmup", 0, 0.2); /* 5 % of 100 steps are 5 */
  expect("warmup,steps=20,cosine", 60, 0.5);
  expect("cosine,warmup,steps=20", 60, 0.5);
  expect("one-cycle", 0, 1.0 / 25);
  expect("one-cycle", 30, 1);
  expect("one-cycle,peak=0.5,start=10", 25, 0.55);
  expect("one-cycle,end=1000", 100, 0.001);
  ok(fabs(factor("step,size=3,gamma=0.1", 7, 100, 0) - 0.01) < 1e-12, "without epochs, step sizes count steps");
  ok(factor("warmup,steps=200", 99, 100, 10) == 0.5, "a warm-up longer than the run is not cut short");
  for (size_t index = 0; index < sizeof refused / sizeof *refused; index++) {
    schedule schedule;
    char error[200] = "";
    ok(!schedule_parse(refused[index], &schedule, error, sizeof error) && strstr(error, "--schedule"),
       "'%s' is refused: %s", refused[index], error);
  }
  schedule schedule;
  char error[200] = "";
  memset(endless, ',', sizeof endless - 1);
  ok(!schedule_parse(endless, &schedule, error, sizeof error) && strstr(error, "too long"), "an endless text is refused: %s", error);
  return tap_done();
}
