/* masks.c: a rectifier's mask, from floats to bits and from bits to a selected gradient in one loop each.
 *
 * Elements go in the order of memory, 128 at a time: bit i of byte l stands for element 16 i + l, so that 16 lanes work on 16 bytes
 * without a shuffle. Both kernels see the same layout, so the order of logical elements does not matter. */
#include "bfloat.h"
#include "instruction_set.h"

#include <omp.h>

enum { CHUNK = 128, CHUNK_BYTES = CHUNK / 8, CHUNKS_A_TASK = 64 };

actnn_kernel ENTRY(PackPositive), ENTRY(SelectPacked);

/* Elements in memory for this trainer's channel block. */
static int64_t
elements_in_memory(const actnn_call *call, const actnn_view *view)
{
  int64_t count = 1;
  for (int i = 0; i < view->rank; i++) count *= view->dim[i];
  if (view->layout != ACTNN_BLOCKED || view->rank < 2 || !view->dim[1]) return count;
  int64_t block = call->trainer->channel_block, channels = view->dim[1];
  return count / channels * ((channels + block - 1) / block * block);
}

static void
pack_chunk(const float *restrict x, uint8_t *restrict code)
{
  uint32_t bits[LANES] = {0};
  for (int i = 0; i < 8; i++)
    for (int lane = 0; lane < LANES; lane++) bits[lane] |= (uint32_t)(x[i * LANES + lane] > 0) << i;
  for (int lane = 0; lane < LANES; lane++) code[lane] = (uint8_t)bits[lane];
}

/* Through integers, a row at a time: dx may be dy, and a mask of all ones or zeros selects without a branch. */
static void
select_chunk(const float *dy, const uint8_t *restrict code, float *dx)
{
  uint32_t bits[LANES];
  for (int lane = 0; lane < LANES; lane++) bits[lane] = code[lane];
  for (int i = 0; i < 8; i++) {
    uint32_t row[LANES];
    memcpy(row, dy + i * LANES, sizeof row);
    for (int lane = 0; lane < LANES; lane++) row[lane] &= 0u - (bits[lane] >> i & 1);
    memcpy(dx + i * LANES, row, sizeof row);
  }
}

int
ENTRY(PackPositive)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *x = &call->input[0];
  uint8_t *code = call->output[0].data;
  int64_t count = elements_in_memory(call, &call->input[0]), whole = count / CHUNK;
  if (count && (uint64_t)(count + CHUNK - 1) / CHUNK * CHUNK_BYTES > call->output[0].bytes)
    return actnn_fail(call->trainer, "PackPositive: %lld elements do not fit %llu bytes", (long long)count,
                      (unsigned long long)call->output[0].bytes);
#pragma omp parallel for schedule(static) if (whole > CHUNKS_A_TASK)
  for (int64_t chunk = 0; chunk < whole; chunk++) {
    float buffer[CHUNK];
    pack_chunk(bfloat_read(x, chunk * CHUNK, CHUNK, buffer), code + chunk * CHUNK_BYTES);
  }
  if (count % CHUNK) {
    float tail[CHUNK] = {0};
    const float *from = bfloat_read(x, whole * CHUNK, count % CHUNK, tail);
    if (from != tail) memcpy(tail, from, (size_t)(count % CHUNK) * sizeof(float));
    pack_chunk(tail, code + whole * CHUNK_BYTES);
  }
  return 0;
}

int
ENTRY(SelectPacked)(const actnn_call *call)
{
  if (actnn_is_preparing(call)) return 0;
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  const uint8_t *code = call->input[1].data;
  int64_t count = elements_in_memory(call, &call->output[0]), whole = count / CHUNK;
#pragma omp parallel for schedule(static) if (whole > CHUNKS_A_TASK)
  for (int64_t chunk = 0; chunk < whole; chunk++) {
    float buffer[CHUNK], other[CHUNK];
    int64_t at = chunk * CHUNK;
    select_chunk(bfloat_read(dy, at, CHUNK, buffer), code + chunk * CHUNK_BYTES, bfloat_place(dx, at, other));
    bfloat_write(dx, at, CHUNK, other);
  }
  if (count % CHUNK) {
    float tail[CHUNK] = {0};
    int64_t at = whole * CHUNK, rest = count % CHUNK;
    const float *from = bfloat_read(dy, at, rest, tail);
    if (from != tail) memcpy(tail, from, (size_t)rest * sizeof *tail);
    select_chunk(tail, code + whole * CHUNK_BYTES, tail);
    if (bfloat_holds(dx)) bfloat_write(dx, at, rest, tail);
    else memcpy((float *)dx->data + at, tail, (size_t)rest * sizeof *tail);
  }
  return 0;
}
