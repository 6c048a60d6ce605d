/* indexing.cu: rows by index, and the sums of their gradients, which take the rows of an index in order: always the same result. */
#include "moving.h"

#include "../src/operators/indices.h"

/* ---- Gather ---------------------------------------------------------------------------------------------------- */

typedef struct GatherJob {
  const void *x;
  const int64_t *indices;
  void *y;
  int64_t count, rows, extent, width; /* units of y; rows of an outer index; of an operand's axis; units of a row */
  gpu_notes *notes;
} GatherJob;

/* A row whose index is refused holds zeros. */
template <typename Unit>
KERNEL
gather_rows(GatherJob job)
{
  Unit unit[TAKEN_AT_ONCE];
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each), row = i / job.width;
    if (i >= job.count)
      break;
    int64_t index = job.indices[row % job.rows], place = wrapped_index(index, job.extent);
    unit[each] = place < 0 ? Unit() : ((const Unit *)job.x)[(row / job.rows * job.extent + place) * job.width + i % job.width];
    if (place < 0)
      note_refusal(job.notes, BAD_INDEX, index, job.extent);
  }
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each);
    if (i < job.count)
      ((Unit *)job.y)[i] = unit[each];
  }
}

extern "C" int
gpu_Gather(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  const actnn_view *x = &call->input[0], *indices = &call->input[1];
  AroundAxis around = around_axis(x, call->attribute[0].i);
  int64_t row_bytes = around.inner * (int64_t)element_bytes(x->type), rows = element_count(indices);
  size_t unit_bytes = widest_unit(row_bytes);
  int64_t width = row_bytes / (int64_t)unit_bytes;
  GatherJob job = {x->data, (const int64_t *)indices->data, call->output[0].data, around.outer * rows * width, rows, around.extent, width,
                   call->trainer->device_state->notes};
  return with_unit(unit_bytes, [=](auto unit) {
    return LAUNCH(call, gather_rows<decltype(unit)>, threads_of(job.count, TAKEN_AT_ONCE), job);
  });
}

/* ---- GatherGrad ------------------------------------------------------------------------------------------------ */

enum {
  MOST_SORTED = 1 << 18, /* every index is compared with every other: beyond this the processor is faster */
  INDICES_AT_ONCE = 1024,
  ROWS_AT_ONCE = 8
};

/* The indices in order, those of equal ones as they came: where each stood, and its value, -1 when refused. */
typedef struct SortedIndices {
  int32_t *place, *index;
} SortedIndices;

/* Each thread counts what belongs in front of one index; a block reads them together. */
KERNEL
sort_indices(const int64_t *indices, int64_t count, int64_t extent, SortedIndices sorted, gpu_notes *notes)
{
  SHARED int32_t other[INDICES_AT_ONCE];
  int64_t own = thread_number();
  int32_t mine = own < count ? (int32_t)wrapped_index(indices[own], extent) : 0;
  int32_t before = 0;
  for (int64_t start = 0; start < count; start += INDICES_AT_ONCE) {
    int end = (int)(count - start < INDICES_AT_ONCE ? count - start : INDICES_AT_ONCE);
    __syncthreads();
    for (int i = threadIdx.x; i < end; i += BLOCK_THREADS)
      other[i] = (int32_t)wrapped_index(indices[start + i], extent);
    __syncthreads();
    int earlier = (int)(own < start ? 0 : own - start < end ? own - start : end);
    for (int i = 0; i < earlier; i++)
      before += other[i] <= mine;
    for (int i = earlier; i < end; i++)
      before += other[i] < mine;
  }
  if (own >= count)
    return;
  sorted.place[before] = (int32_t)own;
  sorted.index[before] = mine;
  if (mine < 0)
    note_refusal(notes, BAD_INDEX, indices[own], extent);
}

typedef struct GatherGradJob {
  const float *dy;
  float *dx;
  SortedIndices sorted;
  int64_t outer, count, extent, width; /* of dy: outer x count x width */
} GatherGradJob;

/* Where a run of equal indices starts, its thread adds their rows, so many loads at a time but one after the other. */
template <int Wide>
KERNEL
sum_rows(GatherGradJob job)
{
  int64_t i = thread_number(), column = i % job.width, at = i / job.width % job.count, outer = i / job.width / job.count;
  if (outer >= job.outer)
    return;
  int32_t index = job.sorted.index[at];
  if (index < 0 || (at > 0 && job.sorted.index[at - 1] == index))
    return;
  const Columns<Wide> *dy = (const Columns<Wide> *)job.dy + outer * job.count * job.width + column;
  Columns<Wide> sum = Columns<Wide>();
  while (at < job.count && job.sorted.index[at] == index) {
    bool are_many = at + ROWS_AT_ONCE <= job.count && job.sorted.index[at + ROWS_AT_ONCE - 1] == index;
    int rows = are_many ? ROWS_AT_ONCE : 1;
    Columns<Wide> row[ROWS_AT_ONCE];
    for (int k = 0; k < ROWS_AT_ONCE; k++)
      if (k < rows)
        row[k] = dy[job.sorted.place[at + k] * job.width];
    for (int k = 0; k < ROWS_AT_ONCE; k++)
      for (int c = 0; c < Wide && k < rows; c++)
        sum.of[c] += row[k].of[c];
    at += rows;
  }
  ((Columns<Wide> *)job.dx)[(outer * job.extent + index) * job.width + column] = sum;
}

extern "C" int
gpu_GatherGrad(const actnn_call *call)
{
  const actnn_view *dx = &call->output[0];
  const int64_t *indices = (const int64_t *)call->input[1].data;
  AroundAxis around = around_axis(dx, call->attribute[1].i);
  int64_t count = element_count(&call->input[1]);
  gpu_room room = {0, false};
  if (count > MOST_SORTED || around.extent > INT32_MAX || dx->type != ACTNN_F32)
    return DEVICE_DECLINES;
  SortedIndices sorted;
  sorted.place = take_room<int32_t>(call, &room, count);
  sorted.index = take_room<int32_t>(call, &room, count);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  gpu_notes *notes = call->trainer->device_state->notes;
  GatherGradJob job = {(const float *)call->input[0].data, (float *)dx->data, sorted, around.outer, count, around.extent, around.inner};
  int failed = clear_bytes(call, dx->data, element_count(dx) * (int64_t)sizeof(float)) ||
               LAUNCH_BLOCKS(call, sort_indices, blocks_for(count), indices, count, around.extent, sorted, notes);
  if (failed)
    return 1;
  if (job.width % 4)
    return LAUNCH(call, sum_rows<1>, job.outer * job.count * job.width, job);
  job.width /= 4;
  return LAUNCH(call, sum_rows<4>, job.outer * job.count * job.width, job);
}
