/* replaced.h: the function of the library behind one that a test has put in its place. */
#ifndef ACTNN_REPLACED_H
#define ACTNN_REPLACED_H

#include <dlfcn.h>

#define REAL(name) (__extension__(__typeof__(&name)) dlsym(RTLD_NEXT, #name))

#endif
