/* small_trainer.c: the small model with the trainer's command line, as an emitted trainer has it. */
#include "small_model.h"

int
main(int argc, char **argv)
{
  return actnn_main(&small_model, argc, argv);
}
