/* data_idx.c: IDX files, the format of MNIST and its kin: two zero bytes, a type, a rank, big-endian extents,
 * the elements in big-endian order. */
#include "data.h"

#include <stdlib.h>

static int
idx_type(unsigned char code)
{
  switch (code) {
  case 0x08: return ACTNN_U8;
  case 0x09: return ACTNN_I8;
  case 0x0b: return ACTNN_I16;
  case 0x0c: return ACTNN_I32;
  case 0x0d: return ACTNN_F32;
  case 0x0e: return ACTNN_F64;
  default: return ACTNN_UNDEFINED;
  }
}

static size_t
element_size(int type)
{
  return type == ACTNN_U8 || type == ACTNN_I8 ? 1 : type == ACTNN_I16 ? 2 : type == ACTNN_F64 ? 8 : 4;
}

static bool
read_stream(data_set *set, data_stream *stream, const char *path, const char *name)
{
  unsigned char head[4 + 4 * ACTNN_MAX_RANK];
  ssize_t count = data_read(set, stream, head, 4);
  if (count < 0)
    return false;
  if (count != 4 || head[0] || head[1])
    return data_fail(set, "%s: is not an IDX file", path);
  int type = idx_type(head[2]), rank = head[3];
  if (!type || rank < 1 || rank > ACTNN_MAX_RANK)
    return data_fail(set, "%s: IDX type 0x%02x with %d axes is not supported", path, head[2], rank);
  count = data_read(set, stream, head, 4 * (size_t)rank);
  if (count < 0)
    return false;
  if (count != 4 * rank)
    return data_fail(set, "%s: is truncated in its header", path);
  data_array *array = data_add(set, name, path);
  if (!array)
    return false;
  array->type = type;
  array->rank = rank;
  for (int axis = 0; axis < rank; axis++)
    array->dim[axis] =
        (int64_t)head[4 * axis] << 24 | head[4 * axis + 1] << 16 | head[4 * axis + 2] << 8 | head[4 * axis + 3];
  size_t sample, got;
  if (!data_sample_bytes(array, &sample))
    return data_fail(set, "%s: claims more elements than memory could hold", path);
  array->stride = sample;
  array->memory = data_read_bytes(set, stream, path, sample * (size_t)array->dim[0], &got);
  if (!array->memory)
    return false;
  if (got != sample * (size_t)array->dim[0])
    return data_fail(set, "%s: is truncated: %zu bytes of data instead of %zu", path, got,
                     sample * (size_t)array->dim[0]);
  array->data = array->memory;
  size_t size = element_size(type);
  if (!data_is_big_endian_machine() && got)
    data_swap_bytes(array->memory, got / size, size);
  return true;
}

bool
data_read_idx(data_set *set, const char *path, const char *name)
{
  data_stream *stream = data_open_stream(set, path);
  if (!stream)
    return false;
  bool done = read_stream(set, stream, path, name);
  data_close_stream(stream);
  return done;
}
