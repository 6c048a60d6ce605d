/* kernel_names.c: what kernels are called, from the operator table, for messages to people. */
#include "profile.h"

#include <string.h>

#define UNARY(NAME, ...) NAMED(NAME) NAMED(NAME##Slope)
#define POINT(NAME, ...) NAMED(NAME)
#define KERNEL_FAST(NAME) NAMED(NAME)
#define KERNEL_PLAIN(NAME) NAMED(NAME)
#define KERNEL_ABSENT(NAME)
#define OPERATOR(domain, NAME, signature, shape, evaluation, kernel, ...) KERNEL_##kernel(NAME)
#define NAMED(NAME) {actnn_##NAME, #NAME},

static const struct {
  actnn_kernel *kernel;
  const char *name;
} names[] = {
#include "../src/operators.def"
};

const char *
kernel_name(actnn_kernel *kernel)
{
  for (size_t index = 0; index < sizeof names / sizeof *names; index++)
    if (names[index].kernel == kernel)
      return names[index].name;
  return "(own)"; /* not in the table: a program's own kernel */
}

actnn_kernel *
kernel_named(const char *name)
{
  for (size_t index = 0; index < sizeof names / sizeof *names; index++)
    if (strcmp(names[index].name, name) == 0)
      return names[index].kernel;
  return NULL;
}
