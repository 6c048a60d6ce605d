/* kernels.c: kernels that are the operator's own plain loops, compiled for float. */
#include "runtime.h"

#define UNARY(...)
#define POINT(...)
#define KERNEL_PLAIN(NAME, evaluation) \
  actnn_kernel plain_##evaluation; \
  int actnn_##NAME(const actnn_call *call) \
  { \
    return actnn_is_preparing(call) ? 0 : plain_##evaluation(call); \
  }
#define KERNEL_FAST(NAME, evaluation)
#define KERNEL_ABSENT(NAME, evaluation)
#define OPERATOR(domain, NAME, signature, shape, evaluation, kernel, ...) KERNEL_##kernel(NAME, evaluation)
#include "../src/operators.def"
