/* changed_model.h: the small model in tables that a test may change, and what becomes of it. */
#ifndef ACTNN_CHANGED_MODEL_H
#define ACTNN_CHANGED_MODEL_H

#include "small_model.h"
#include "tap.h"
#include "trainer.h"

#include <stdlib.h>

/* The small model in memory that may be changed. */
typedef struct changed {
  actnn_model model;
  actnn_tensor tensor[v_count];
  actnn_input input[2];
  actnn_variable variable[9];
  actnn_save save[1];
} changed;

static inline void
copy_model(changed *to)
{
  to->model = small_model;
  memcpy(to->tensor, small_tensors, sizeof to->tensor);
  memcpy(to->input, small_inputs, sizeof to->input);
  memcpy(to->variable, small_variables, sizeof to->variable);
  memcpy(to->save, small_saves, sizeof to->save);
  to->model.tensor = to->tensor;
  to->model.input = to->input;
  to->model.variable = to->variable;
  to->model.save = to->save;
}

static inline void
refuse(const actnn_model *model, const char *change, const char *message)
{
  char error[512] = "";
  actnn *trainer = actnn_create(model, 1, 1, error, sizeof error);
  ok(!trainer && strstr(error, message), "refused: %.80s: %s", change, trainer ? "made" : error);
  actnn_destroy(trainer);
}

#define REFUSES(message, ...) \
  do { \
    changed c; \
    copy_model(&c); \
    __VA_ARGS__; \
    refuse(&c.model, #__VA_ARGS__, message); \
  } while (0)

static inline actnn *
make(const actnn_model *model)
{
  char error[512];
  actnn *trainer = actnn_create(model, 1, 1, error, sizeof error);
  if (!trainer)
    printf("Bail out! %s\n", error), exit(1);
  return trainer;
}

/* A trainer of the model that has data to train on. */
static inline actnn *
make_fed(const actnn_model *model)
{
  actnn *trainer = make(model);
  small_feed(trainer, 0);
  return trainer;
}

/* A step of this model fails, and says why. */
static inline void
fails(const actnn_model *model, const char *message, const char *what)
{
  actnn *trainer = make_fed(model);
  double loss = 5;
  int failed = actnn_step(trainer, 0.01, &loss);
  ok(failed && loss == 5 && strstr(actnn_error(trainer), message), "%s: %s", what, actnn_error(trainer));
  actnn_destroy(trainer);
}

#endif
