/* kernels.cu: which kernel stands for which of the processor's. */
#include "gpu.h"
#include "kernels.h"

extern "C" {
#define UNARY(NAME, ...) HERE(NAME) HERE(NAME##Slope)
#define POINT(NAME, ...) HERE(NAME)
#define OPERATOR(...)
#define HERE(NAME) actnn_kernel gpu_##NAME;
#include "../src/operators.def"
#include "kernels.def"
#undef HERE
}

#define UNARY(NAME, ...) HERE(NAME) HERE(NAME##Slope)
#define POINT(NAME, ...) HERE(NAME)
#define OPERATOR(...)
#define HERE(NAME) {actnn_##NAME, gpu_##NAME},

static const struct {
  actnn_kernel *of_processor, *here;
} kernels[] = {
#include "../src/operators.def"
#include "kernels.def"
};

actnn_kernel *
gpu_kernel_for(actnn_kernel *of_processor)
{
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
    if (kernels[i].of_processor == of_processor)
      return kernels[i].here;
  return NULL;
}
