/* pack.c: masks, indices and other small whole numbers kept for backward, packed without loss into 1 to 8
 * bits each.
 *
 *   actnn_PackBits    input 0 a value of bytes (bool, uint8), output 0 its stash, attribute 0 the bits
 *   actnn_UnpackBits  the reverse
 *
 * Elements are taken in the order in which they lie in memory, the padding of channel blocks included, in
 * chunks that threads share; chunk i of the value always has the same place in the stash.
 */
#include "codec.h"
#include "runtime.h"

/* Elements in memory of a value in this trainer's layout; 1 when its extents make no sense. */
static int
count_elements(const actnn_call *call, const actnn_view *value, uint64_t *count)
{
  int block = call->trainer && value->layout == ACTNN_BLOCKED ? call->trainer->channel_block : 1;
  *count = 1;
  /* Bounds every product below: it pads the most. */
  if (actnn_packed_bytes(value->dim, value->rank, value->layout, 8) == UINT64_MAX)
    return 1;
  for (int axis = 0; axis < value->rank; axis++) {
    uint64_t extent = (uint64_t)value->dim[axis], wide = (uint64_t)block;
    *count *= value->layout == ACTNN_BLOCKED && axis == 1 ? (extent + wide - 1) / wide * wide : extent;
  }
  return 0;
}

/* Checks a call; the bits and the number of elements. */
static int
check(const actnn_call *call, const char *kernel, const actnn_view *value, const actnn_view *stash, int *bits,
      uint64_t *count)
{
  bool bytes = value->type == ACTNN_BOOL || value->type == ACTNN_U8 || value->type == ACTNN_I8;
  if (!bytes || call->attribute_count < 1 || call->attribute[0].i < 1 ||
      call->attribute[0].i > ACTNN_MAX_BITS)
    return actnn_fail(call->trainer, "%s: takes elements of one byte and 1 to 8 bits for each", kernel);
  *bits = (int)call->attribute[0].i;
  if (count_elements(call, value, count))
    return actnn_fail(call->trainer, "%s: the extents cannot be packed", kernel);
  if (stash->bytes < actnn_pack_bytes(*count, *bits) || value->bytes < *count)
    return actnn_fail(call->trainer,
                      "%s: %llu elements of %d bits do not fit the %llu bytes reserved for them", kernel,
                      (unsigned long long)*count, *bits, (unsigned long long)stash->bytes);
  return 0;
}

static size_t
chunk_elements(uint64_t count, int64_t chunk)
{
  uint64_t left = count - (uint64_t)chunk * ACTNN_PACK_CHUNK;
  return left < ACTNN_PACK_CHUNK ? (size_t)left : (size_t)ACTNN_PACK_CHUNK;
}

static int
threads_of(const actnn_call *call)
{
  return call->trainer && call->trainer->threads > 0 ? call->trainer->threads : 1;
}

int
actnn_PackBits(const actnn_call *call)
{
  const actnn_codec_kernels *kernels = actnn_codec_best_kernels();
  uint64_t count;
  int bits;
  if (actnn_is_preparing(call))
    return 0;
  if (check(call, "PackBits", &call->input[0], &call->output[0], &bits, &count))
    return 1;
  const uint8_t *value = call->input[0].data;
  uint8_t *stash = call->output[0].data;
#pragma omp parallel for schedule(static) num_threads(threads_of(call))
  for (int64_t chunk = 0; chunk < (int64_t)((count + ACTNN_PACK_CHUNK - 1) / ACTNN_PACK_CHUNK); chunk++)
    kernels->pack(value + chunk * ACTNN_PACK_CHUNK, chunk_elements(count, chunk), bits,
                  stash + chunk * (ACTNN_PACK_CHUNK / 8) * bits);
  return 0;
}

int
actnn_UnpackBits(const actnn_call *call)
{
  const actnn_codec_kernels *kernels = actnn_codec_best_kernels();
  uint64_t count;
  int bits;
  if (actnn_is_preparing(call))
    return 0;
  if (check(call, "UnpackBits", &call->output[0], &call->input[0], &bits, &count))
    return 1;
  const uint8_t *stash = call->input[0].data;
  uint8_t *value = call->output[0].data;
#pragma omp parallel for schedule(static) num_threads(threads_of(call))
  for (int64_t chunk = 0; chunk < (int64_t)((count + ACTNN_PACK_CHUNK - 1) / ACTNN_PACK_CHUNK); chunk++)
    kernels->unpack(stash + chunk * (ACTNN_PACK_CHUNK / 8) * bits, chunk_elements(count, chunk), bits,
                    value + chunk * ACTNN_PACK_CHUNK);
  return 0;
}
