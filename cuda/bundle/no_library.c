/* no_library.c: the runtime without oneDNN: what runs on the processor all the same does so by plain loops. */
#include "library.h"

bool
library_make_convolution(actnn *trainer, uint32_t id, const library_convolution *convolution)
{
  return (void)trainer, (void)id, (void)convolution, false;
}

bool
library_make_product(actnn *trainer, uint32_t id, const library_product *product)
{
  return (void)trainer, (void)id, (void)product, false;
}

bool
library_has(const actnn *trainer, uint32_t id)
{
  return (void)trainer, (void)id, false;
}

bool
library_takes_bfloat(const actnn *trainer, uint32_t id)
{
  return (void)trainer, (void)id, false;
}

int
library_run(actnn *trainer, uint32_t id, void *const operand[LIBRARY_OPERANDS])
{
  return (void)id, (void)operand, actnn_fail(trainer, "there is no library in this build");
}

void
library_destroy(actnn *trainer)
{
  (void)trainer;
}
