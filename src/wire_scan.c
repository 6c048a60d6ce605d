/* wire_scan.c: the scan follows the descriptors that protoc-c generated, so that it knows exactly which
 * length-prefixed fields are messages, for whichever version of onnx.proto the build was given.
 */
#include "wire_scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* While it unpacks a message, protobuf-c lists the fields, in lists that double: the first 16 on the stack. */
enum { FIELDS_ON_STACK = 16, FIELD_BYTES = 64, OBJECT_ROUNDING = 16 };

typedef enum WireType { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 } WireType;

typedef struct Frame {
  const ProtobufCMessageDescriptor *type;
  size_t end;      /* offset just past the message */
  uint64_t seen;   /* bit i: singular message field i has occurred */
  unsigned graphs; /* nested graphs up to here */
  unsigned merged; /* repetitions of singular message fields */
  size_t fields;
} Frame;

typedef struct Scan {
  const ProtobufCMessageDescriptor *graph;
  const uint8_t *bytes;
  size_t at;
  uint64_t decoded, budget;
  Frame frame[DEEPEST_WIRE_LEVEL + 1];
  unsigned depth, base_depth; /* frames in use; levels above the first */
  WireProblem *problem;
} Scan;

static bool fail(Scan *scan, size_t offset, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool
fail(Scan *scan, size_t offset, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(scan->problem->text, sizeof scan->problem->text, format, arguments);
  va_end(arguments);
  scan->problem->offset = offset;
  return false;
}

static const Frame *
top(const Scan *scan)
{
  return &scan->frame[scan->depth - 1];
}

static bool
read_varint(Scan *scan, size_t end, uint64_t *number)
{
  size_t start = scan->at;
  *number = 0;
  for (unsigned shift = 0;; shift += 7) { /* the tenth byte is the last */
    if (scan->at >= end) return fail(scan, start, "a number is cut off in %s", top(scan)->type->name);
    uint8_t byte = scan->bytes[scan->at++];
    if (shift == 63 && byte > 1) break;
    *number |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return true;
  }
  return fail(scan, start, "a number is longer than 64 bits in %s", top(scan)->type->name);
}

static bool
charge(Scan *scan, uint64_t bytes)
{
  scan->decoded += bytes;
  if (scan->decoded <= scan->budget) return true;
  return fail(scan, scan->at, "it would take more than %llu MiB of memory when decoded",
              (unsigned long long)(scan->budget >> 20));
}

/* What an object of its own takes. */
static uint64_t
object_bytes(uint64_t bytes)
{
  return (bytes + OBJECT_ROUNDING - 1) / OBJECT_ROUNDING * OBJECT_ROUNDING;
}

/* Bytes of one element of a scalar field once unpacked. */
static size_t
scalar_bytes(ProtobufCType type)
{
  switch (type) {
  case PROTOBUF_C_TYPE_INT64:
  case PROTOBUF_C_TYPE_SINT64:
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_UINT64:
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_DOUBLE: return 8;
  default: return 4;
  }
}

static WireType
scalar_wire_type(ProtobufCType type)
{
  switch (type) {
  case PROTOBUF_C_TYPE_SFIXED32:
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_FLOAT: return WIRE_32;
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_DOUBLE: return WIRE_64;
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE: return WIRE_LENGTH;
  default: return WIRE_VARINT;
  }
}

/* A packed list: `length` bytes from scan->at hold whole elements. */
static bool
scan_packed(Scan *scan, const ProtobufCFieldDescriptor *field, size_t length)
{
  size_t end = scan->at + length, size = scalar_bytes(field->type);
  WireType type = scalar_wire_type(field->type);
  if (type != WIRE_VARINT) {
    if (length % size) return fail(scan, scan->at, "%s holds a fraction of an element", field->name);
    scan->at = end;
    return charge(scan, length);
  }
  uint64_t elements = 0, number;
  for (; scan->at < end; elements++) {
    if (!read_varint(scan, end, &number)) return false;
  }
  return charge(scan, elements * size);
}

/* A submessage begins at scan->at. */
static bool
enter(Scan *scan, const ProtobufCFieldDescriptor *field, size_t length)
{
  const ProtobufCMessageDescriptor *type = field->descriptor;
  Frame *parent = &scan->frame[scan->depth - 1];
  if (field->label != PROTOBUF_C_LABEL_REPEATED && field->id < 64) {
    /* Unpack merges repeated occurrences, which is quadratic. Only a model's graph may come in a few pieces: that
     * is how weights are appended to a model. */
    uint64_t bit = (uint64_t)1 << field->id;
    if (parent->seen & bit) {
      bool may_merge = type == scan->graph && scan->depth == 1 && ++parent->merged < MOST_MERGED_GRAPHS;
      if (!may_merge) return fail(scan, scan->at, "%s occurs more than once in %s", field->name, parent->type->name);
    }
    parent->seen |= bit;
  }
  unsigned graphs = parent->graphs + (type == scan->graph);
  if (graphs > DEEPEST_NESTED_GRAPH)
    return fail(scan, scan->at, "graphs are nested more than %d deep", DEEPEST_NESTED_GRAPH);
  if (scan->depth + scan->base_depth >= DEEPEST_WIRE_LEVEL)
    return fail(scan, scan->at, "messages are nested more than %d deep", DEEPEST_WIRE_LEVEL);
  scan->frame[scan->depth++] = (Frame){.type = type, .end = scan->at + length, .graphs = graphs};
  return charge(scan, object_bytes(type->sizeof_message));
}

static bool
scan_length_field(Scan *scan, const ProtobufCFieldDescriptor *field)
{
  size_t start = scan->at, end = top(scan)->end;
  uint64_t length;
  if (!read_varint(scan, end, &length)) return false;
  if (length > end - scan->at) {
    return fail(scan, start, "%s is said to be %llu bytes long, but only %zu follow", field ? field->name : "a field",
                (unsigned long long)length, end - scan->at);
  }
  uint64_t pointer = field && field->label == PROTOBUF_C_LABEL_REPEATED ? sizeof(void *) : 0;
  if (!field) { /* kept as an unknown field: a descriptor and a copy */
    scan->at += length;
    return charge(scan, length + sizeof(ProtobufCMessageUnknownField));
  }
  switch (field->type) {
  case PROTOBUF_C_TYPE_MESSAGE: return charge(scan, pointer) && enter(scan, field, length);
  case PROTOBUF_C_TYPE_STRING:
    if (length && memchr(scan->bytes + scan->at, 0, length))
      return fail(scan, scan->at, "the text %s of %s contains a NUL byte", field->name, top(scan)->type->name);
    scan->at += length;
    return charge(scan, object_bytes(length + 1) + pointer);
  case PROTOBUF_C_TYPE_BYTES:
    scan->at += length;
    return charge(scan, object_bytes(length) + (pointer ? sizeof(ProtobufCBinaryData) : 0));
  default: break;
  }
  if (field->label != PROTOBUF_C_LABEL_REPEATED)
    return fail(scan, start, "%s of %s is a list where one number is expected", field->name, top(scan)->type->name);
  return scan_packed(scan, field, length);
}

static bool
scan_fixed(Scan *scan, const ProtobufCFieldDescriptor *field, size_t size)
{
  if (size > top(scan)->end - scan->at)
    return fail(scan, scan->at, "a number is cut off in %s", top(scan)->type->name);
  scan->at += size;
  return charge(scan, field ? (field->label == PROTOBUF_C_LABEL_REPEATED ? size : 0)
                            : sizeof(ProtobufCMessageUnknownField) + size);
}

static bool
scan_field(Scan *scan)
{
  size_t start = scan->at;
  uint64_t tag, number;
  Frame *frame = &scan->frame[scan->depth - 1];
  if (++frame->fields > FIELDS_ON_STACK && !charge(scan, FIELD_BYTES)) return false;
  if (!read_varint(scan, frame->end, &tag)) return false;
  unsigned wire = tag & 7;
  if (tag >> 3 == 0 || tag > UINT32_MAX) return fail(scan, start, "a field has no valid number");
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(top(scan)->type, (unsigned)(tag >> 3));
  if (wire == 3 || wire == 4) return fail(scan, start, "a field uses groups, which ONNX does not have");
  if (wire != WIRE_VARINT && wire != WIRE_64 && wire != WIRE_LENGTH && wire != WIRE_32)
    return fail(scan, start, "a field has the unknown wire type %u", wire);
  if (field && wire != WIRE_LENGTH && wire != (unsigned)scalar_wire_type(field->type))
    return fail(scan, start, "%s of %s is encoded as another type", field->name, top(scan)->type->name);
  if (wire == WIRE_LENGTH) return scan_length_field(scan, field);
  if (wire == WIRE_64) return scan_fixed(scan, field, 8);
  if (wire == WIRE_32) return scan_fixed(scan, field, 4);
  if (!read_varint(scan, top(scan)->end, &number)) return false;
  if (!field) return charge(scan, sizeof(ProtobufCMessageUnknownField) + 10);
  return charge(scan, field->label == PROTOBUF_C_LABEL_REPEATED ? scalar_bytes(field->type) : 0);
}

bool
scan_wire(const ProtobufCMessageDescriptor *root, const ProtobufCMessageDescriptor *graph, const uint8_t *bytes,
          size_t length, uint64_t budget, unsigned depth, uint64_t *decoded, WireProblem *problem)
{
  Scan scan = {.graph = graph, .bytes = bytes, .budget = budget, .base_depth = depth, .problem = problem};
  scan.decoded = length; /* the file itself is in memory, too */
  scan.frame[0] = (Frame){.type = root, .end = length, .graphs = root == graph};
  scan.depth = 1;
  while (scan.depth) {
    if (scan.at == top(&scan)->end) {
      scan.depth--;
    } else if (!scan_field(&scan)) {
      return false;
    }
  }
  if (decoded) *decoded = scan.decoded;
  return true;
}
