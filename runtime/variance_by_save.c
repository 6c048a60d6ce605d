/* variance_by_save.c: what each saved value's code does to all gradients, by redrawing it alone. Codes are independent, so these
 * parts add up to the variance that all codes make together (compression.md, section 1: the sum over layers). */
#include "codec.h"
#include "gradient_study.h"
#include "variance.h"

#include <math.h>
#include <stdlib.h>

/* Adds each variable's variance under redraws of one save to `variance`, and returns their sum; negative after a message. */
static double
redraw_alone(actnn *trainer, batch_source *source, uint32_t save, uint64_t draws, const unsigned char *state, double *variance,
             double *squares)
{
  gradient_study study;
  double all = 0;
  int failed = gradient_study_open(&study, trainer);
  saves_redraw_only(trainer, save);
  for (uint64_t draw = 1; !failed && draw <= draws; draw++) {
    trainer->draw = draw;
    batch_fill(source, trainer, trainer->step);
    failed = gradient_study_run(&study);
    gradient_study_restore_state(trainer, state);
  }
  for (uint32_t index = 0; !failed && index < trainer->model->variable_count; index++) {
    double here = gradient_study_variance(&study, index);
    variance[index] += here;
    all += here;
    *squares += gradient_study_squares(&study, index);
  }
  saves_redraw_only(trainer, NONE);
  trainer->draw = 0;
  gradient_study_close(&study);
  return failed ? -1 : all;
}

int
print_variance_by_save(actnn *trainer, batch_source *source, uint64_t draws, double *variance, FILE *stream)
{
  const actnn_model *model = trainer->model;
  unsigned char *state = gradient_study_copy_state(trainer);
  if (!state)
    return actnn_fail(trainer, "out of memory");
  fprintf(stream,
          "\neach value's code redrawn alone, %llu times: what it adds to all gradients, relative to the sum of |g|^2; direct: the "
          "part\nthat the gradients make which read it themselves, as predicted\n%-40s %7s %8s %10s %10s %10s\n",
          (unsigned long long)draws, "value", "levels", "", "bytes", "variance", "direct");
  double sum = 0;
  saves_count_noise(trainer, true);
  for (uint32_t save = 0; save < model->save_count; save++) {
    double scale = 0, all = redraw_alone(trainer, source, save, draws, state, variance, &scale);
    if (all < 0) {
      free(state);
      return 1;
    }
    scale = scale > 0 ? scale : 1;
    double direct = saves_predicted_variance(trainer, save, false);
    sum += all / scale;
    direct += model->save[save].spacing == ACTNN_NORMAL_LEVELS ? saves_predicted_variance(trainer, save, true) : 0;
    fprintf(stream, "%-40.40s %7.1f %8s %10llu %10.3e", model->save[save].name, saves_levels(trainer, save),
            actnn_spacing_name(model->save[save].spacing), (unsigned long long)saves_coded_bytes(trainer, save), all / scale);
    if (isnan(direct))
      fprintf(stream, " %10s\n", "-");
    else
      fprintf(stream, " %10.3e\n", direct / scale);
  }
  fprintf(stream, "%-40s %7s %8s %10s %10.3e\n", "(all)", "", "", "", sum);
  saves_count_noise(trainer, false);
  free(state);
  return 0;
}
