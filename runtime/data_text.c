/* data_text.c: any file as a text whose tokens are its bytes. Samples are windows one after another; the label
 * of a token is the token after it. Samples and labels are the same memory, one byte apart. */
#include "data.h"

#include <stdlib.h>

bool
data_read_text(data_set *set, const char *path, int64_t length)
{
  size_t got;
  data_stream *stream = data_open_stream(set, path);
  if (!stream)
    return false;
  unsigned char *bytes = data_read_bytes(set, stream, path, SIZE_MAX, &got);
  data_close_stream(stream);
  if (!bytes)
    return false;
  if (length < 1 || got < 2 || (uint64_t)length > got - 1) {
    free(bytes);
    return data_fail(set, "%s: has %zu bytes, too few for one window of %lld tokens and the token after it",
                     path, got, (long long)length);
  }
  for (int shift = 0; shift < 2; shift++) {
    data_array *array = data_add(set, shift ? "labels" : "samples", path);
    if (!array) {
      if (!shift)
        free(bytes);
      return false;
    }
    array->memory = shift ? NULL : bytes;
    array->data = bytes + shift;
    array->type = ACTNN_U8;
    array->rank = 2;
    array->dim[0] = (int64_t)((got - 1) / (size_t)length);
    array->dim[1] = length;
    array->stride = (size_t)length;
  }
  return true;
}
