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
library_multiply(const library_tile *tile)
{
  for (int64_t row = 0; row < tile->rows; row++)
    for (int64_t column = 0; column < tile->columns; column++) {
      float *y = &tile->y[row * tile->y_row + column];
      double sum = 0;
      for (int64_t i = 0; i < tile->inner; i++)
        sum += (double)tile->a[tile->transposes_a ? i * tile->a_row + row : row * tile->a_row + i] *
               (double)tile->b[tile->transposes_b ? column * tile->b_row + i : i * tile->b_row + column];
      *y = (float)((tile->adds ? (double)*y : 0) + (double)tile->factor * sum);
    }
  return true;
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
