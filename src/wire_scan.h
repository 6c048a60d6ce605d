/* wire_scan.h: a look at a protobuf message before it is unpacked.
 *
 * protobuf-c's unpack recurses without a limit and makes objects of a hundred bytes out of two. This scan walks the
 * same bytes first, with a stack of its own, and refuses what would hurt: it accepts nothing that unpack could
 * not take within the limits.
 */
#ifndef ACTNN_WIRE_SCAN_H
#define ACTNN_WIRE_SCAN_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DEEPEST_WIRE_LEVEL = 100, DEEPEST_NESTED_GRAPH = 32, MOST_MERGED_GRAPHS = 8 };

typedef struct WireProblem {
  size_t offset; /* byte at which it stands */
  char text[200];
} WireProblem;

/* True when `bytes` is a message of type `root` that unpacks into at most `budget` bytes, nests at most
 * DEEPEST_WIRE_LEVEL messages and DEEPEST_NESTED_GRAPH of type `graph`, and whose text fields hold no NUL.
 * `depth`: levels already above it. *decoded (may be NULL) gets the estimate of decoded bytes. Linear time. */
bool scan_wire(const ProtobufCMessageDescriptor *root, const ProtobufCMessageDescriptor *graph, const uint8_t *bytes,
               size_t length, uint64_t budget, unsigned depth, uint64_t *decoded, WireProblem *problem);

#endif
