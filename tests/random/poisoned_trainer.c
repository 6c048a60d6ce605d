/* poisoned_trainer.c: the command line of an emitted trainer whose memory is poisoned (poison.h):
 *
 *   cc -DACTNN_NO_MAIN -Dactnn_run=poisoned_run -DMODEL=train_model train.c tests/random/poison.c tests/random/poisoned_trainer.c -lactnn
 */
#include "poison.h"

#include <stdio.h>

extern const actnn_model MODEL;

int
main(int argc, char **argv)
{
  Poison *poison = poison_create(&MODEL);
  if (!poison) return 1;
  int code = actnn_main(poison_model(poison), argc, argv);
  printf("%llu bytes poisoned\n", (unsigned long long)poison_bytes(poison));
  if (!poison_bytes(poison)) code = 1;
  poison_destroy(poison);
  return code;
}
