/* test_wire.c: the scan of the wire format on a message type that has a field of every type of protobuf, used by ONNX or not: what it
 * accepts, what it counts, and what it refuses. */
#include "../../src/wire_scan.h"
#include "../runtime/tap.h"
#include "onnx_writer.h"

enum { TYPES = 17, ONE_SELF = 30, SELF = 100, MANY_SELVES = 101, FIELDS = TYPES + 3, MESSAGE_BYTES = 256 };

/* Repeated fields 1 to 17 of the types in the order of protobuf-c, then two single messages and a list of them of the same type. Of those
 * with numbers up to 63 the scan knows which came before. */
static ProtobufCFieldDescriptor fields[FIELDS];
static const ProtobufCIntRange ranges[] = {{1, 0}, {ONE_SELF, TYPES}, {SELF, TYPES + 1}, {0, FIELDS}};
static const ProtobufCMessageDescriptor all_types = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                     .name = "test.All",
                                                     .short_name = "All",
                                                     .sizeof_message = MESSAGE_BYTES,
                                                     .n_fields = FIELDS,
                                                     .fields = fields,
                                                     .n_field_ranges = 3,
                                                     .field_ranges = ranges};

static void
make_fields(void)
{
  for (unsigned i = 0; i < TYPES; i++)
    fields[i] = (ProtobufCFieldDescriptor){.name = "numbers", .id = i + 1, .label = PROTOBUF_C_LABEL_REPEATED, .type = (ProtobufCType)i};
  fields[PROTOBUF_C_TYPE_MESSAGE].descriptor = &all_types;
  const ProtobufCFieldDescriptor self = {.name = "self", .label = PROTOBUF_C_LABEL_OPTIONAL, .type = PROTOBUF_C_TYPE_MESSAGE,
                                         .descriptor = &all_types};
  static const unsigned ids[] = {ONE_SELF, SELF, MANY_SELVES};
  for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
    fields[TYPES + i] = self;
    fields[TYPES + i].id = ids[i];
  }
  fields[FIELDS - 1].label = PROTOBUF_C_LABEL_REPEATED;
}

/* What the bytes are said to take, over their own length; UINT64_MAX: refused. Frees them. */
static uint64_t
scan(Bytes bytes, uint64_t budget, WireProblem *problem)
{
  uint64_t decoded = 0;
  bool is_accepted = scan_wire(&all_types, NULL, bytes.data, bytes.length, budget, 0, &decoded, problem);
  uint64_t more = is_accepted ? decoded - bytes.length : UINT64_MAX;
  free(bytes.data);
  return more;
}

static const struct {
  ProtobufCType type;
  unsigned wire, size; /* of one element: its encoding and what it takes when decoded */
} numbers[] = {
    {PROTOBUF_C_TYPE_INT32, 0, 4},   {PROTOBUF_C_TYPE_SINT32, 0, 4},  {PROTOBUF_C_TYPE_SFIXED32, 5, 4}, {PROTOBUF_C_TYPE_INT64, 0, 8},
    {PROTOBUF_C_TYPE_SINT64, 0, 8},  {PROTOBUF_C_TYPE_SFIXED64, 1, 8}, {PROTOBUF_C_TYPE_UINT32, 0, 4},  {PROTOBUF_C_TYPE_FIXED32, 5, 4},
    {PROTOBUF_C_TYPE_UINT64, 0, 8},  {PROTOBUF_C_TYPE_FIXED64, 1, 8}, {PROTOBUF_C_TYPE_FLOAT, 5, 4},    {PROTOBUF_C_TYPE_DOUBLE, 1, 8},
    {PROTOBUF_C_TYPE_BOOL, 0, 4},    {PROTOBUF_C_TYPE_ENUM, 0, 4}};

static void
test_numbers(void)
{
  static const unsigned char zeros[16];
  WireProblem problem;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    unsigned field = (unsigned)numbers[i].type + 1, wire = numbers[i].wire, size = numbers[i].size, bytes = wire ? size : 1;
    Bytes single = {0}, packed = {0}, other = {0};
    put_varint(&single, field << 3 | wire);
    put(&single, zeros, bytes);
    put_bytes(&packed, field, zeros, 2 * bytes);
    put_varint(&other, field << 3 | (wire ? 0 : 5));
    put(&other, zeros, 4);
    ok(scan(single, 1000, &problem) == size && scan(packed, 1000, &problem) == 2 * size, "one and two numbers of type %u take %u bytes each",
       (unsigned)numbers[i].type, size);
    ok(scan(other, 1000, &problem) == UINT64_MAX && strstr(problem.text, "is encoded as another type"), "and are encoded in one way");
  }
}

static void
expect_problem(Bytes bytes, uint64_t budget, const char *text, size_t offset)
{
  WireProblem problem = {0};
  bool is_refused = scan(bytes, budget, &problem) == UINT64_MAX;
  if (!ok(is_refused && strstr(problem.text, text) && problem.offset == offset, "refused: %s", text))
    printf("# byte %zu: %s\n", problem.offset, problem.text);
}

static void
test_problems(void)
{
  Bytes bytes = {0};
  put_bytes(&bytes, PROTOBUF_C_TYPE_INT64 + 1, "\x01\x80", 2);
  expect_problem(bytes, 1000, "a number is cut off", 3);
  bytes = (Bytes){0};
  put_varint(&bytes, (uint64_t)1 << 32);
  put_varint(&bytes, 0);
  expect_problem(bytes, 1000, "a field has no valid number", 0);
  bytes = (Bytes){0};
  put(&bytes, "\x80", 1);
  expect_problem(bytes, 1000, "a number is cut off", 0);
  bytes = (Bytes){0};
  put(&bytes, "\x0b\x0c", 2);
  expect_problem(bytes, 1000, "a field uses groups", 0);
  bytes = (Bytes){0};
  put(&bytes, "\x0c", 1);
  expect_problem(bytes, 1000, "a field uses groups", 0);
  bytes = (Bytes){0};
  put_varint(&bytes, (uint64_t)1 << 3 | 5);
  put(&bytes, "\0\0\0", 3);
  expect_problem(bytes, 1000, "is encoded as another type", 0);
  bytes = (Bytes){0};
  put_varint(&bytes, (PROTOBUF_C_TYPE_FLOAT + 1) << 3 | 5);
  put(&bytes, "\0\0\0", 3);
  expect_problem(bytes, 1000, "a number is cut off", 1);
  bytes = (Bytes){0};
  put_bytes(&bytes, MANY_SELVES, "", 0);
  expect_problem(bytes, bytes.length + 7, "more than 0 MiB", 3); /* the pointer alone */
  bytes = (Bytes){0};
  put_bytes(&bytes, MANY_SELVES, "", 0);
  expect_problem(bytes, bytes.length + MESSAGE_BYTES + 7, "more than 0 MiB", 3); /* and what it points to */
}

static void
test_messages(void)
{
  WireProblem problem;
  Bytes bytes = {0};
  put_bytes(&bytes, SELF, "", 0);
  put_bytes(&bytes, SELF, "", 0);
  ok(scan(bytes, 1000, &problem) == 2 * MESSAGE_BYTES, "messages take their size");
  bytes = (Bytes){0};
  put_bytes(&bytes, MANY_SELVES, "", 0);
  ok(scan(bytes, 1000, &problem) == MESSAGE_BYTES + sizeof(void *), "and those of lists a pointer more");
  bytes = (Bytes){0};
  put_number(&bytes, 1 << 28, 5);
  ok(scan(bytes, 1000, &problem) >= sizeof(ProtobufCMessageUnknownField), "what is unknown is kept, too");
  bytes = (Bytes){0};
  put_number(&bytes, PROTOBUF_C_TYPE_INT64 + 1, -1);
  ok(scan_wire(&all_types, NULL, bytes.data, bytes.length, 1000, 0, NULL, &problem), "the estimate need not be asked for");
  free(bytes.data);
}

/* So many messages, each in the one before; graphs, where these are limited. */
static bool
nests(unsigned levels, bool are_graphs, WireProblem *problem)
{
  Bytes bytes = {0};
  for (unsigned i = 0; i < levels; i++) {
    Bytes outer = {0};
    put_bytes(&outer, SELF, bytes.data, bytes.length);
    free(bytes.data);
    bytes = outer;
  }
  bool is_accepted = scan_wire(&all_types, are_graphs ? &all_types : NULL, bytes.data, bytes.length, 1 << 20, 0, NULL, problem);
  free(bytes.data);
  return is_accepted;
}

static bool
merges(unsigned pieces, WireProblem *problem)
{
  Bytes bytes = {0};
  for (unsigned i = 0; i < pieces; i++) put_bytes(&bytes, ONE_SELF, "", 0);
  bool is_accepted = scan_wire(&all_types, &all_types, bytes.data, bytes.length, 1 << 20, 0, NULL, problem);
  free(bytes.data);
  return is_accepted;
}

static void
test_limits(void)
{
  WireProblem problem = {0};
  Bytes bytes = {0};
  put(&bytes, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
  expect_problem(bytes, 1000, "a number is longer than 64 bits", 0);
  bytes = (Bytes){0};
  put(&bytes, "\x88\x80\x80\x80\x80\x80\x80\x80\x80\x01", 10);
  expect_problem(bytes, 1000, "a field has no valid number", 0);
  ok(nests(DEEPEST_WIRE_LEVEL - 1, false, &problem), "messages may nest %d deep", DEEPEST_WIRE_LEVEL);
  ok(!nests(DEEPEST_WIRE_LEVEL, false, &problem) && strstr(problem.text, "messages are nested more than"), "and no more: %s", problem.text);
  ok(nests(DEEPEST_NESTED_GRAPH - 1, true, &problem), "graphs may nest %d deep, with the outermost", DEEPEST_NESTED_GRAPH);
  ok(!nests(DEEPEST_NESTED_GRAPH, true, &problem) && strstr(problem.text, "graphs are nested more than"), "and no more: %s", problem.text);
  ok(merges(MOST_MERGED_GRAPHS, &problem), "a graph may come in %d pieces", MOST_MERGED_GRAPHS);
  ok(!merges(MOST_MERGED_GRAPHS + 1, &problem) && strstr(problem.text, "occurs more than once"), "and no more: %s", problem.text);
  /* Beyond some number of fields each takes room of its own: any budget up to what is needed is refused, wherever it ends. */
  bytes = (Bytes){0};
  for (int i = 0; i < 400; i++) put_number(&bytes, PROTOBUF_C_TYPE_BOOL + 1, 1);
  uint64_t needed = 0, refused = 0;
  scan_wire(&all_types, NULL, bytes.data, bytes.length, 1 << 20, 0, &needed, &problem);
  for (uint64_t budget = 0; budget < needed; budget++)
    refused += !scan_wire(&all_types, NULL, bytes.data, bytes.length, budget, 0, NULL, &problem);
  ok(needed > 0 && refused == needed && scan_wire(&all_types, NULL, bytes.data, bytes.length, needed, 0, NULL, &problem),
     "400 fields take %llu bytes, and no less will do", (unsigned long long)needed);
  free(bytes.data);
}

int
main(void)
{
  make_fields();
  test_limits();
  test_numbers();
  test_problems();
  test_messages();
  return tap_done();
}
