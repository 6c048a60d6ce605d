/* no_library.cu: the stand-in for a GPU has no cuDNN and no cuBLASLt: convolutions and products run on the processor. */
#include "kernels.h"

int
gpu_open_library(actnn *trainer)
{
  (void)trainer;
  return 0;
}

void
gpu_close_library(actnn *trainer)
{
  (void)trainer;
}
