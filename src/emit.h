/* emit.h: from a planned program to C that a person can read. */
#ifndef ACTNN_EMIT_H
#define ACTNN_EMIT_H

#include "operators/pointwise_steps.h"
#include "options.h"
#include "program.h"
#include "text.h"

/* The C source of the trainer, and of its header. `name`: an identifier made from the output file's name. */
char *emit_source(Program *program, const Options *options, const char *name, Arena *arena, size_t *length);
char *emit_header(const char *name, Arena *arena, size_t *length);
/* Of the source: the functions that the header declares, and main. */
void emit_interface(Text *text, const char *name);

/* Kernels for a GPU of the program's joined nodes, as CUDA source; NULL when there are none. */
char *emit_kernels(const Program *program, const char *name, Arena *arena, size_t *length);
/* The texts of steps that joined nodes have, each once, in the order of the source's calls; as many as there are nodes find room. */
uint32_t list_joined(const Program *program, const char **steps);
/* For comments: what a joined node was made of, "Add '/a', Relu '/b'". */
void append_joined_names(Text *text, const Node *node, const pointwise_steps *steps);

/* What the text of a trainer consists of. */
typedef struct EmittedText {
  const char *name; /* its identifier */
  const char *source, *header;
  const char *kernels; /* CUDA source; NULL: there is none */
  size_t source_length, header_length, kernels_length;
} EmittedText;

/* First values of variables and large constants that the model holds, as a safetensors file; *length 0 when there are none. */
unsigned char *emit_weights(Program *program, Arena *arena, size_t *length);

/* A constant whose elements are all the same: one number fills it. */
bool is_uniform(const Value *value);
/* A constant too large for a table in the source, or with integers that a fill would round: it goes into the weights file. */
bool is_stored_constant(const Value *value);
/* Reports a constant that kernels read and whose data is not there. */
bool constants_are_there(Program *program);

enum { MOST_OUTPUT_FILES = 5 };

typedef struct OutputFile {
  const char *path;
  const void *data;
  size_t length;
} OutputFile;

/* Writes files (at most MOST_OUTPUT_FILES) completely or none of them, and then what was there before stays; false after a
 * message. */
bool write_files(Diagnostics *diagnostics, const OutputFile *file, size_t count);
bool write_file(Diagnostics *diagnostics, const char *path, const void *data, size_t length);

/* `file` without folders and extension, made an identifier: [a-z][a-z0-9_]*, never a word of C. Names made of it are nobody else's. */
const char *identifier_from_path(Arena *arena, const char *path);

#endif
