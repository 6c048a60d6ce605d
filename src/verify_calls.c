/* verify_calls.c: each call against its operator's signature (V2), and every tensor made before it is read (V6). */
#include "verify.h"

#include "operators.h"

#include <stdlib.h>
#include <string.h>

/* ---- the operator table, kernels only -------------------------------------------------------------------- */

#define ONNX
#define ACTNN
#define TRAINING
#define X(a) #a
#define XY(a, b) #a " " #b
#define XYZ(a, b, c) #a " " #b " " #c
#define NO_ATTRIBUTES ""
#define REAL1(a, da) " ; " #a ":float"
#define REAL2(a, da, b, db) " ; " #a ":float " #b ":float"
#define FLAG1(a, da) " ; " #a ":int"
#define FLAG2(a, da, b, db) " ; " #a ":int " #b ":int"
#define CHOICE1(a, da) " ; " #a ":string"
#define UNARY(NAME, attributes, ...) \
  {.name = #NAME, .signature = "x -> y" attributes, .flags = POINTWISE | IN_PLACE}, \
  {.name = #NAME "Slope", .signature = "x -> d" attributes, .flags = POINTWISE | IN_PLACE},
#define POINT(NAME, operands, attributes, result, expression, gradient, linear, flags_, tries) \
  {.name = #NAME, .signature = operands " -> y" attributes, .flags = POINTWISE | (flags_)},
#define KERNEL_FAST(NAME, SIGNATURE, FLAGS) {.name = NAME, .signature = SIGNATURE, .flags = FLAGS},
#define KERNEL_PLAIN(NAME, SIGNATURE, FLAGS) {.name = NAME, .signature = SIGNATURE, .flags = FLAGS},
#define KERNEL_ABSENT(NAME, SIGNATURE, FLAGS)
#define OPERATOR(domain, NAME, signature, shape, evaluation, kernel, gradient, linear, flags, tries) \
  KERNEL_##kernel(#NAME, signature, flags)

static const Kernel table[] = {
#include "operators.def"
};

enum { KERNEL_COUNT = sizeof table / sizeof *table };

const Kernel *
find_kernel(const char *name)
{
  for (size_t i = 0; i < KERNEL_COUNT; i++)
    if (!strcmp(table[i].name, name)) return &table[i];
  return NULL;
}
