/* passes.c: the table of passes. */
#include "passes.h"

#define PASS(name, function, does) PassFunction function;
#include "passes.def"
#undef PASS

const Pass passes[] = {
#define PASS(name, function, does) {name, function, does},
#include "passes.def"
#undef PASS
};

const size_t pass_count = sizeof passes / sizeof passes[0];
