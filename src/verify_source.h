/* verify_source.h: reads an emitted trainer back and refuses it unless every rule of emitted source holds.
 *
 * Independent of the emitter and of the memory planner: it knows the text, the runtime's headers (built in) and the
 * operators' signatures, and works everything else out from the calls. The rules stand in verify_rules.c. */
#ifndef ACTNN_VERIFY_SOURCE_H
#define ACTNN_VERIFY_SOURCE_H

#include "diagnostics.h"
#include "emit.h"
#include "options.h"
#include "program.h"

#include <stdio.h>

/* --list-rules: what holds of every source that is written, and what the verifier cannot prove. */
void list_rules(FILE *stream);

/* `text`: what is about to be written, the source to `path`; `program` and `options`: what it was emitted of, NULL to judge the text by
 * itself. Runs in a child process with bounded memory and time, so that a crash in libclang is a refusal too. False after reporting which
 * rule is broken and where; nothing should be written then. */
bool verify_source(Diagnostics *diagnostics, const char *path, const EmittedText *text, const Program *program, const Options *options);

#endif
