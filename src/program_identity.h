/* program_identity.h: see program_identity.c. */
#ifndef ACTNN_PROGRAM_IDENTITY_H
#define ACTNN_PROGRAM_IDENTITY_H

#include "program.h"

/* Of a program whose saves have their bytes. Scratch is taken from the program's arena. */
uint64_t program_identity(const Program *program);

#endif
