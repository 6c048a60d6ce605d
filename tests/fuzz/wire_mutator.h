/* wire_mutator.h: changes of a binary model that keep the lengths of all messages around them right, so that what is tried
 * gets past the scan of the wire format. Half of all changes are left to the fuzzer's own, which know nothing of messages. */
#ifndef ACTNN_FUZZ_WIRE_MUTATOR_H
#define ACTNN_FUZZ_WIRE_MUTATOR_H

#include "onnx.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer brings it, AFL++ does not. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

enum { WIRE_MOST_FIELDS = 4096, WIRE_MOST_DEPTH = 40, WIRE_MOST_BYTES = 1 << 16 };

/* A field: its tag begins at `start`; what is inside, at `inside` (after tag and length), ends at `end`. */
typedef struct WireField {
  const ProtobufCMessageDescriptor *message; /* NULL: holds no fields itself */
  size_t start, inside, end;
  uint32_t tag;
  int parent; /* -1: the model */
} WireField;

typedef struct WireTree {
  const uint8_t *bytes;
  WireField field[WIRE_MOST_FIELDS];
  int count;
} WireTree;

static inline bool
wire_number(const uint8_t *bytes, size_t end, size_t *at, uint64_t *number)
{
  *number = 0;
  for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
    uint8_t byte = bytes[(*at)++];
    *number |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return true;
  }
  return false;
}

static inline size_t
put_wire_number(uint8_t *out, uint64_t number)
{
  size_t length = 0;
  for (; number > 127; number >>= 7) out[length++] = (uint8_t)(number | 128);
  out[length++] = (uint8_t)number;
  return length;
}

/* Lists the fields of one message, which is field `parent`; false where the bytes are no message. */
static inline bool
list_wire_fields(WireTree *tree, const ProtobufCMessageDescriptor *message, size_t at, size_t end, int parent)
{
  while (at < end && tree->count < WIRE_MOST_FIELDS) {
    WireField *field = &tree->field[tree->count];
    uint64_t tag, number;
    *field = (WireField){.start = at, .parent = parent};
    if (!wire_number(tree->bytes, end, &at, &tag)) return false;
    field->tag = (uint32_t)tag;
    field->inside = at;
    switch (tag & 7) {
    case 0:
      if (!wire_number(tree->bytes, end, &at, &number)) return false;
      break;
    case 1: at += 8; break;
    case 5: at += 4; break;
    case 2: {
      if (!wire_number(tree->bytes, end, &at, &number) || number > end - at) return false;
      const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(message, (unsigned)(tag >> 3));
      if (known && known->type == PROTOBUF_C_TYPE_MESSAGE) field->message = known->descriptor;
      field->inside = at;
      at += number;
      break;
    }
    default: return false;
    }
    if (at > end) return false;
    field->end = at;
    tree->count++;
  }
  return true;
}

/* All fields of all messages, breadth first. */
static inline bool
list_wire_tree(WireTree *tree, const uint8_t *bytes, size_t size)
{
  tree->bytes = bytes;
  tree->count = 0;
  if (!list_wire_fields(tree, &onnx__model_proto__descriptor, 0, size, -1)) return false;
  for (int i = 0; i < tree->count; i++) {
    WireField field = tree->field[i];
    if (field.message && !list_wire_fields(tree, field.message, field.inside, field.end, i)) return false;
  }
  return tree->count > 0;
}

/* Puts `length` bytes in place of what is from `from` to `to` within field `inner` (-1: the model), and mends the lengths of all
 * messages around. The size of the result in `out`, 0 when it is too large. */
static inline size_t
splice_wire(const WireTree *tree, size_t size, int inner, size_t from, size_t to, const uint8_t *with, size_t length, uint8_t *out,
            size_t most)
{
  static uint8_t scratch[2][WIRE_MOST_BYTES];
  unsigned which = 0;
  if (length > WIRE_MOST_BYTES) return 0;
  if (length) memcpy(scratch[0], with, length);
  for (;;) {
    size_t begin = inner < 0 ? 0 : tree->field[inner].inside, end = inner < 0 ? size : tree->field[inner].end;
    size_t whole = (from - begin) + length + (end - to), head = 0;
    uint8_t *next = scratch[which ^ 1], frame[20];
    if (inner >= 0) {
      head = put_wire_number(frame, tree->field[inner].tag);
      head += put_wire_number(frame + head, whole);
    }
    if (head + whole > WIRE_MOST_BYTES) return 0;
    memcpy(next, frame, head);
    memcpy(next + head, tree->bytes + begin, from - begin);
    memcpy(next + head + (from - begin), scratch[which], length);
    memcpy(next + head + (from - begin) + length, tree->bytes + to, end - to);
    which ^= 1;
    length = head + whole;
    if (inner < 0) break;
    from = tree->field[inner].start;
    to = tree->field[inner].end;
    inner = tree->field[inner].parent;
  }
  if (length > most) return 0;
  memcpy(out, scratch[which], length);
  return length;
}

static inline unsigned
wire_random(uint64_t *state, unsigned below)
{
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)((*state >> 33) % (below ? below : 1));
}

/* New contents for a field: a number from among the interesting ones, or bytes changed by the fuzzer. With its tag. */
static inline size_t
changed_field(const WireTree *tree, const WireField *field, uint64_t *random, uint8_t *out)
{
  static const int64_t numbers[] = {0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 64, 100, 255, 256, 1000, 65536, 1 << 20, INT32_MAX, -1, -2, -3,
                                    -8, INT32_MIN, INT64_MAX, INT64_MIN, (int64_t)1 << 32, (int64_t)1 << 47};
  size_t length = put_wire_number(out, field->tag), inside = field->end - field->inside;
  if ((field->tag & 7) == 0) {
    uint64_t number = 0;
    size_t at = field->inside;
    wire_number(tree->bytes, field->end, &at, &number);
    unsigned which = wire_random(random, 2 * (unsigned)(sizeof numbers / sizeof *numbers));
    number = which < sizeof numbers / sizeof *numbers ? (uint64_t)numbers[which] : number + wire_random(random, 9) - 4;
    return length + put_wire_number(out + length, number);
  }
  if (inside > WIRE_MOST_BYTES / 4) return 0;
  uint8_t changed[WIRE_MOST_BYTES / 2];
  if (inside) memcpy(changed, tree->bytes + field->inside, inside);
  bool is_text = (field->tag & 7) == 2;
  size_t after = LLVMFuzzerMutate(changed, inside, is_text ? inside + 64 : inside ? inside : 1);
  if (is_text) length += put_wire_number(out + length, after);
  else if (after != inside) return 0;
  memcpy(out + length, changed, after);
  return length + after;
}

/* A field that stands where `field` could: one of the same number in another message, or any of them. */
static inline const WireField *
similar_field(const WireTree *tree, const WireField *field, uint64_t *random)
{
  unsigned start = wire_random(random, (unsigned)tree->count);
  for (int i = 0; i < tree->count && wire_random(random, 8); i++) {
    const WireField *other = &tree->field[(start + (unsigned)i) % (unsigned)tree->count];
    if (other->tag == field->tag && other->message == field->message && other != field) return other;
  }
  return &tree->field[start];
}

static inline size_t
change_wire(const WireTree *tree, size_t size, uint64_t *random, uint8_t *out, size_t most)
{
  static uint8_t made[WIRE_MOST_BYTES];
  const WireField *field = &tree->field[wire_random(random, (unsigned)tree->count)];
  const WireField *other = similar_field(tree, field, random);
  const uint8_t *with = tree->bytes + other->start;
  size_t length = other->end - other->start, from = field->start, to = field->end;
  switch (wire_random(random, 6)) {
  case 0: length = 0; break; /* taken out */
  case 1: to = from; break;  /* another one put before it */
  case 2: break;             /* another one in its place */
  default:
    length = changed_field(tree, field, random, made);
    with = made;
    if (!length) return 0;
  }
  return splice_wire(tree, size, field->parent, from, to, with, length, out, most);
}

/* `prefix`: bytes at the front that are no part of the model. */
static inline size_t
mutate_wire(uint8_t *data, size_t size, size_t most, unsigned seed, size_t prefix)
{
  static WireTree tree;
  static uint8_t before[WIRE_MOST_BYTES];
  uint64_t random = seed;
  if (wire_random(&random, 4) == 0 || size <= prefix || size > WIRE_MOST_BYTES) return LLVMFuzzerMutate(data, size, most);
  for (unsigned changes = 1 + wire_random(&random, 4); changes; changes--) {
    memcpy(before, data, size);
    if (!list_wire_tree(&tree, before + prefix, size - prefix)) return LLVMFuzzerMutate(data, size, most);
    size_t changed = change_wire(&tree, size - prefix, &random, data + prefix, most - prefix);
    if (changed) size = prefix + changed;
  }
  return size;
}

#endif
