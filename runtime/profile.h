/* profile.h: how long each kind of call and each single call takes, for `--profile`. */
#ifndef ACTNN_PROFILE_H
#define ACTNN_PROFILE_H

#include "actnn.h"

#include <stdio.h>

struct profile;

struct profile *profile_create(void); /* NULL when out of memory */
void profile_destroy(struct profile *profile);
double profile_now(void); /* seconds of the monotonic clock */
/* Adds one run of a call. Calls are told apart by kernel, results and operands. */
void profile_add(struct profile *profile, actnn_kernel *kernel, const actnn_call *call, double seconds);
/* Two tables, by kernel and of the slowest single calls, and what this machine's memory gives to so many threads. */
void profile_print(const struct profile *profile, const actnn_model *model, int threads, FILE *stream);

/* The operator whose kernel it is, as in the operator table (kernel_names.c). */
const char *kernel_name(actnn_kernel *kernel);
actnn_kernel *kernel_named(const char *name); /* NULL when there is none */

#endif
