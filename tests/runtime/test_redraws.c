/* test_redraws.c: a step that is computed twice to see what a code's noise does (saves_redraw.c): when it is due, and when it counts. */
#include "saves_state.h"
#include "small_model.h"
#include "tap.h"
#include "trainer.h"

static bool
run_steps(actnn *trainer, int steps)
{
  small_feed(trainer, 0);
  for (int step = 0; step < steps; step++)
    if (actnn_step(trainer, 0.05, NULL))
      return false;
  return true;
}

static double
redraws_of(const actnn *trainer)
{
  double numbers[1][SAVES_REDRAW_NUMBERS];
  saves_redraw_state(trainer, numbers);
  return numbers[0][3];
}

/* A redraw counts when its step follows, and only with numbers. */
static void
test_redraws(void)
{
  actnn_model model = small_model;
  actnn_save save = small_saves[0];
  save.adaptation = ACTNN_ADAPTS_BY_REDRAWS;
  save.weight = 1;
  model.save = &save;
  trainer_options options = {.threads = 1, .quiet = true};
  actnn *trainer = trainer_create(&model, &options, NULL, 0);
  double loss;
  ok(trainer && !saves_redraw_is_due(trainer) && !saves_redraw(trainer, 0.05) && trainer->step == 0,
     "none is due at the first step, and nothing is done");
  ok(run_steps(trainer, 8) && redraws_of(trainer) == 0 && saves_redraw_is_due(trainer), "one is due after eight steps");
  small_feed(trainer, 0);
  ok(!saves_redraw(trainer, 0.05) && trainer->step == 8, "it changes no step");
  saves_end_redraw(trainer);
  ok(redraws_of(trainer) == 0, "without its step it does not count");
  float *bias = actnn_data(trainer, v_b2), kept = bias[0];
  bias[0] = NAN;
  ok(!saves_redraw(trainer, 0.05) && actnn_step(trainer, 0.05, &loss) && strstr(actnn_error(trainer), "is not finite"),
     "one of a step that is not finite leaves it to the step to say so: %s", actnn_error(trainer));
  saves_end_redraw(trainer);
  ok(redraws_of(trainer) == 0, "and does not count");
  bias[0] = kept;
  for (int i = 0; i < 2; i++) {
    ok(!saves_redraw(trainer, 0.05) && !actnn_step(trainer, 0.05, &loss), "a redraw and its step");
    trainer->saves->gradient_squares = i ? 1e-320 : 0;
    saves_end_redraw(trainer);
    ok(redraws_of(trainer) == 0, "beside gradients of %s it does not count", i ? "next to nothing" : "zero");
  }
  ok(!saves_redraw(trainer, 0.05) && !actnn_step(trainer, 0.05, &loss), "a redraw and its step");
  saves_end_redraw(trainer);
  ok(redraws_of(trainer) == 1, "otherwise it does");
  saves_end_redraw(trainer);
  ok(redraws_of(trainer) == 1, "once");
  actnn_destroy(trainer);
}

int
main(void)
{
  test_redraws();
  return tap_done();
}
