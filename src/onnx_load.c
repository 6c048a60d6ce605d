/* onnx_load.c: reads a file into memory, scans the wire format, unpacks within a budget.
 *
 * The file is read rather than mapped: a mapped file that another process cuts short would kill us.
 */
#define _POSIX_C_SOURCE 200809L
#include "onnx_load.h"
#include "wire_scan.h"

#include "../runtime/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files -------------------------------------------------------------------------------------- */

bool
read_file(const char *path, uint64_t limit, Diagnostics *diagnostics, unsigned char **bytes, size_t *length)
{
  *bytes = NULL;
  int file = descriptor_open(path, O_RDONLY | O_NONBLOCK); /* so that a FIFO cannot hang us */
  if (file < 0) return report(diagnostics, path, NULL, "cannot open it: %s", strerror(errno));
  struct stat status;
  ssize_t got = 0;
  bool is_read = false;
  if (fstat(file, &status)) {
    report(diagnostics, path, NULL, "cannot examine it: %s", strerror(errno));
  } else if (!S_ISREG(status.st_mode)) {
    report(diagnostics, path, NULL, "it is not a regular file");
  } else if (status.st_size == 0) {
    report(diagnostics, path, NULL, "the file is empty");
  } else if ((uint64_t)status.st_size > limit) {
    report(diagnostics, path, "keep large weights in external data files", "the file is larger than %llu MiB",
           (unsigned long long)(limit >> 20));
  } else if (!(*bytes = malloc((size_t)status.st_size + 1))) {
    report(diagnostics, path, NULL, "out of memory: the file has %llu bytes", (unsigned long long)status.st_size);
  } else if ((got = descriptor_read(file, *bytes, (size_t)status.st_size)) < 0) {
    report(diagnostics, path, NULL, "cannot read it: %s", strerror(errno));
  } else if (got != (ssize_t)status.st_size) {
    report(diagnostics, path, NULL, "the file became shorter while it was read");
  } else {
    *length = (size_t)got;
    (*bytes)[*length] = 0;
    is_read = true;
  }
  close(file);
  if (!is_read) {
    free(*bytes);
    *bytes = NULL;
  }
  return is_read;
}

bool
is_program_text(const unsigned char *bytes, size_t length)
{
  /* Text has no control characters; a message has them within its first fields: tags and short lengths. */
  size_t end = length < 4096 ? length : 4096;
  for (size_t i = 0; i < end; i++) {
    unsigned char c = bytes[i];
    if ((c < 32 && c != '\n' && c != '\t' && c != '\r' && c != '\f') || c == 127) return false;
  }
  return true;
}

/* ---- unpacking ---------------------------------------------------------------------------------- */

typedef struct Budget {
  Arena *arena;
  size_t left;
} Budget;

static void *
allocate_within(void *data, size_t size)
{
  Budget *budget = data;
  size_t rounded = (size + 15) & ~(size_t)15;
  if (rounded < size || rounded > budget->left) return NULL;
  budget->left -= rounded;
  return arena_allocate(budget->arena, size);
}

static void
keep(void *data, void *pointer)
{
  (void)data;
  (void)pointer; /* freed with the arena */
}

ProtobufCMessage *
unpack_message(const ProtobufCMessageDescriptor *type, const unsigned char *bytes, size_t length, unsigned depth,
               const char *source, Arena *arena, Diagnostics *diagnostics)
{
  uint64_t budget = 8 * (uint64_t)length + ((uint64_t)64 << 20);
  WireProblem problem;
  if (!scan_wire(type, &onnx__graph_proto__descriptor, bytes, length, budget, depth, NULL, &problem)) {
    report(diagnostics, source, "the file is damaged, cut short, or not an ONNX model",
           "not a valid %s: byte %zu: %s", type->short_name, problem.offset, problem.text);
    return NULL;
  }
  /* What the scan counted, rounded up to 16 bytes an object, and unpack's own lists of fields. */
  Budget limits = {.arena = arena, .left = (size_t)(2 * budget)};
  ProtobufCAllocator allocator = {allocate_within, keep, &limits};
  ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, length, bytes);
  if (!message) report(diagnostics, source, NULL, "not a valid %s: it cannot be decoded", type->short_name);
  return message;
}

/* ---- fields that an older onnx.proto does not know ------------------------------------------------ */

/* The payload of a length-prefixed unknown field. The scan has checked it already. */
static const uint8_t *
unknown_payload(const ProtobufCMessageUnknownField *field, size_t *length)
{
  uint64_t number = 0;
  size_t at = 0;
  for (unsigned shift = 0; at < field->len && at < 10; shift += 7) {
    uint8_t byte = field->data[at++];
    number |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) break;
  }
  if (number > field->len - at) return NULL;
  *length = (size_t)number;
  return field->data + at;
}

const char *
text_field(const ProtobufCMessage *message, unsigned number, Arena *arena)
{
  const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(message->descriptor, number);
  if (field) {
    const char *text = NULL;
    if (field->type == PROTOBUF_C_TYPE_STRING && field->label != PROTOBUF_C_LABEL_REPEATED)
      memcpy(&text, (const char *)message + field->offset, sizeof text);
    return text && text[0] ? text : NULL;
  }
  for (unsigned i = 0; i < message->n_unknown_fields; i++) {
    const ProtobufCMessageUnknownField *unknown = &message->unknown_fields[i];
    size_t length;
    if (unknown->tag != number || unknown->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) continue;
    const uint8_t *bytes = unknown_payload(unknown, &length);
    if (bytes && length) return arena_text(arena, (const char *)bytes, length);
  }
  return NULL;
}

bool
message_field(const ProtobufCMessage *message, unsigned number, const ProtobufCMessageDescriptor *type,
              const char *source, Arena *arena, Diagnostics *diagnostics, ProtobufCMessage ***list, size_t *count)
{
  const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(message->descriptor, number);
  *list = NULL;
  *count = 0;
  if (field) {
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && field->label == PROTOBUF_C_LABEL_REPEATED) {
      memcpy(count, (const char *)message + field->quantifier_offset, sizeof *count);
      memcpy(list, (const char *)message + field->offset, sizeof *list);
    }
    return true;
  }
  *list = arena_array(arena, message->n_unknown_fields + (size_t)1, sizeof **list);
  for (unsigned i = 0; i < message->n_unknown_fields; i++) {
    const ProtobufCMessageUnknownField *unknown = &message->unknown_fields[i];
    size_t length;
    if (unknown->tag != number || unknown->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) continue;
    const uint8_t *bytes = unknown_payload(unknown, &length);
    if (!bytes) continue;
    ProtobufCMessage *inner = unpack_message(type, bytes, length, 4, source, arena, diagnostics);
    if (!inner) return false;
    (*list)[(*count)++] = inner;
  }
  return true;
}
