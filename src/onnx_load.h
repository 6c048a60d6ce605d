/* onnx_load.h: files and messages: from a path to an unpacked ModelProto. */
#ifndef ACTNN_ONNX_LOAD_H
#define ACTNN_ONNX_LOAD_H

#include "diagnostics.h"
#include "onnx.pb-c.h"

#include <stdint.h>

/* A whole regular file of at most `limit` bytes, in malloc'd memory with a NUL behind it. Reports and returns
 * false otherwise. */
bool read_file(const char *path, uint64_t limit, Diagnostics *diagnostics, unsigned char **bytes, size_t *length);

/* True for ONNX's textual syntax, false for a protobuf message, judged by content. */
bool is_program_text(const unsigned char *bytes, size_t length);

/* Scans and unpacks a message. Everything lies in `arena` and is freed with it (never call free_unpacked); it
 * may take at most 8 times `length` plus 64 MiB. `depth`: levels already above the message. Reports what is wrong in
 * terms of `source` and returns NULL. */
ProtobufCMessage *unpack_message(const ProtobufCMessageDescriptor *type, const unsigned char *bytes, size_t length,
                                 unsigned depth, const char *source, Arena *arena, Diagnostics *diagnostics);

/* A repeated message field or a text field by number, whether or not the onnx.proto of this build knows it:
 * newer fields are kept by protobuf-c as unknown ones. Text: NULL when absent. */
const char *text_field(const ProtobufCMessage *message, unsigned number, Arena *arena);
/* *list gets the messages, in the arena; false after reporting. */
bool message_field(const ProtobufCMessage *message, unsigned number, const ProtobufCMessageDescriptor *type,
                   const char *source, Arena *arena, Diagnostics *diagnostics, ProtobufCMessage ***list,
                   size_t *count);

#endif
