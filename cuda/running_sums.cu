/* running_sums.cu: running sums along an axis. A cell (sums.h) goes along its line, a term of each lane at a time, and adds always in the
 * same order. Where lines are few, slices are summed first, and each goes on from the sum of those before it. */
#include "folds.h"

#include "../src/operators/indices.h"

/* The sum of this column's values in the lanes of the cell before this one; *all: in all of them. All threads of the block take part. */
static __device__ double
sum_before(const Cells &cells, double value, double *all)
{
  SHARED double part[BLOCK_THREADS / WARP][WARP];
  int threads = cells.width * cells.lanes, span = threads < WARP ? threads : WARP, own = (int)threadIdx.x % WARP;
  int place = own % span, column = own % cells.width, warp = (int)threadIdx.x / WARP;
  double sum = value;
  for (int apart = cells.width; apart < span; apart *= 2) {
    double other = __shfl_sync(0xffffffffu, sum, place >= apart ? own - apart : own);
    sum += place >= apart ? other : 0;
  }
  double before = __shfl_sync(0xffffffffu, sum, place >= cells.width ? own - cells.width : own);
  before = place >= cells.width ? before : 0;
  *all = __shfl_sync(0xffffffffu, sum, own - place + span - cells.width + column);
  if (threads <= WARP)
    return before;
  __syncthreads(); /* the last parts have been read */
  if (own < cells.width)
    part[warp][own] = *all;
  __syncthreads();
  double warps_before = 0;
  *all = 0;
  for (int i = 0; i < BLOCK_THREADS / WARP; i++) {
    warps_before = i == warp ? *all : warps_before;
    *all += part[i][column];
  }
  return warps_before + before;
}

typedef struct RunningJob {
  const void *x;
  actnn_view y;
  bool is_exclusive, is_reversed;
  const Sums *partial; /* of slices, where there are several */
} RunningJob;

/* The sum of the slices that come before the seat's. */
static __device__ double
sum_of_slices_before(const Fold &fold, const Seat &seat, const RunningJob &job)
{
  const Sums *slice = job.partial + slice_number(fold, seat) - seat.slice;
  double sum = 0;
  for (int64_t k = seat.lane; seat.is_inside && k < fold.cells.slices.number; k += fold.cells.lanes)
    if (job.is_reversed ? k > seat.slice : k < seat.slice)
      sum += slice[k].a;
  return cell_sum(fold.cells, sum);
}

template <typename X>
KERNEL
running_sums(Fold fold, RunningJob job)
{
  Seat seat = take_seat(fold.cells);
  Line line = line_of(fold, seat);
  double sum = fold.cells.slices.number > 1 ? sum_of_slices_before(fold, seat, job) : 0;
  for (int64_t done = 0; done < fold.terms_of_a_slice; done += fold.cells.lanes) { /* as often for all threads of a block */
    int64_t ahead = done + seat.lane, i = job.is_reversed ? line.end - 1 - ahead : line.first + ahead;
    bool is_there = i >= line.first && i < line.end;
    int64_t at = is_there ? line.base + term_offset(fold, i) : 0;
    double all, value = is_there ? number_of(((const X *)job.x)[at]) : 0, before = sum + sum_before(fold.cells, value, &all);
    if (is_there)
      store_element(&job.y, at, job.is_exclusive ? before : before + value);
    sum += all;
  }
}

extern "C" int
gpu_CumSum(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  if (!is_for_folds(x))
    return DEVICE_DECLINES;
  AroundAxis around = around_axis(x, int_at(call, 0, 0, 0));
  Fold fold = axis_fold(around.outer, around.extent, around.inner);
  Sums *partial;
  int outcome;
  if (!may_fold(call, fold, &partial, &outcome))
    return outcome;
  RunningJob job = {x->data, *y, call->attribute[1].i != 0, call->attribute[2].i != 0, partial};
  if (fold.cells.slices.number > 1 && launch_fold(call, fold, x, rule_of(SUM, y, fold), partial))
    return 1;
  return with_element(x->type, [=](auto element) {
    return LAUNCH_BLOCKS(call, running_sums<decltype(element)>, blocks_of_cells(fold.cells), fold, job);
  });
}
