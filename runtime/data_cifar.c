/* data_cifar.c: the binary batches of CIFAR-10: records of one label byte and 3 x 32 x 32 pixels. */
#include "data.h"

#include <stdlib.h>
#include <string.h>

enum { PIXELS = 3 * 32 * 32, RECORD = 1 + PIXELS };

/* Two views into one block of records. */
static bool
add_views(data_set *set, unsigned char *records, size_t count, const char *path)
{
  data_array *samples = data_add(set, "samples", path);
  if (!samples) {
    free(records);
    return false;
  }
  samples->memory = records;
  samples->data = records + 1;
  samples->type = ACTNN_U8;
  samples->rank = 4;
  samples->stride = RECORD;
  memcpy(samples->dim, (const int64_t[]){(int64_t)count, 3, 32, 32}, 4 * sizeof(int64_t));
  data_array *labels = data_add(set, "labels", path);
  if (!labels)
    return false;
  labels->data = records;
  labels->type = ACTNN_U8;
  labels->rank = 1;
  labels->stride = RECORD;
  labels->dim[0] = (int64_t)count;
  return true;
}

bool
data_read_cifar(data_set *set, const char *const *path, size_t count)
{
  unsigned char *records = NULL;
  size_t total = 0;
  for (size_t index = 0; index < count; index++) {
    size_t got;
    data_stream *stream = data_open_stream(set, path[index]);
    unsigned char *part = stream ? data_read_bytes(set, stream, path[index], SIZE_MAX, &got) : NULL;
    data_close_stream(stream);
    bool done = part != NULL;
    if (done && (!got || got % RECORD))
      done = data_fail(set, "%s: has %zu bytes, not a whole number of CIFAR-10 records of %d", path[index], got,
                       RECORD);
    unsigned char *larger = done ? realloc(records, total + got) : NULL;
    if (done && !larger)
      done = data_fail(set, "%s: out of memory", path[index]);
    if (larger) {
      records = larger;
      memcpy(records + total, part, got);
      total += got;
    }
    free(part);
    if (!done) {
      free(records);
      return false;
    }
  }
  return add_views(set, records, total / RECORD, path[0]);
}
