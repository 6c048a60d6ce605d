/* sums.h: sums along axes of tensors: of reductions, of statistics, of gradients of what was broadcast.
 *
 * Threads form cells (gpu.h: cell_fold): columns side by side, so that neighbouring threads read neighbouring elements whether it is the
 * innermost axis that is summed (one column) or not. Where results are few, terms are cut into slices, each a block's, whose sums lie in
 * the workspace until a second kernel joins them. How threads are dealt follows from shapes alone, and sums are always added in the same
 * order: the same result on every run and every GPU. */
#ifndef ACTNN_CUDA_SUMS_H
#define ACTNN_CUDA_SUMS_H

#include "division.h"
#include "floats.h"

#include "folding.h"

enum {
  TERMS_AT_ONCE = 8,     /* loads of a thread that are on their way together; they are added in float, and their sum in double */
  MANY_TERMS = 64,       /* for one lane: above this a whole block shares them */
  ENOUGH_WARPS = 2048,   /* cells of a warp fill a GPU when there are so many */
  ENOUGH_BLOCKS = 1024,  /* likewise; fewer are cut into slices */
  TERMS_OF_A_SLICE = 16  /* at least, for each lane */
};

/* ---- cells ------------------------------------------------------------------------------------------------------- */

/* How lines of terms are dealt to cells: `outer` groups of `columns` lines side by side. */
typedef struct Cells {
  int width, lanes;
  int64_t columns, outer;
  Divisor tiles; /* cells of a group */
  Divisor slices;
} Cells;

/* What a thread has. */
typedef struct Seat {
  int64_t outer, column, slice;
  int lane;
  bool is_inside; /* there is such a line */
} Seat;

static inline Cells
cells_of(int64_t outer, int64_t columns, int64_t terms)
{
  Cells cells;
  cells.columns = columns;
  cells.outer = outer;
  cells.width = cells.lanes = 1;
  while (cells.width < WARP && cells.width < columns)
    cells.width *= 2;
  cells.tiles = divisor_of((columns + cells.width - 1) / cells.width);
  cells.slices = divisor_of(1);
  while (cells.lanes < WARP / cells.width && cells.lanes < terms)
    cells.lanes *= 2;
  int64_t warps = outer * cells.tiles.number * cells.width * cells.lanes / WARP;
  bool is_long = terms > (int64_t)cells.lanes * MANY_TERMS, is_rare = warps < ENOUGH_WARPS && terms > (int64_t)cells.lanes * 4;
  if (is_long || is_rare)
    cells.lanes = BLOCK_THREADS / cells.width;
  return cells;
}

static inline int64_t
blocks_of_cells(const Cells &cells)
{
  int64_t in_a_block = BLOCK_THREADS / (cells.width * cells.lanes);
  return (cells.outer * cells.tiles.number * cells.slices.number + in_a_block - 1) / in_a_block;
}

static inline __device__ Seat
take_seat(const Cells &cells)
{
  Seat seat;
  unsigned threads = (unsigned)(cells.width * cells.lanes), within = threadIdx.x % threads;
  int64_t number = (int64_t)blockIdx.x * (BLOCK_THREADS / threads) + threadIdx.x / threads, cell = quotient(number, cells.slices);
  seat.slice = number - cell * cells.slices.number;
  seat.outer = quotient(cell, cells.tiles);
  seat.column = (cell - seat.outer * cells.tiles.number) * cells.width + within % cells.width;
  seat.lane = (int)(within / cells.width);
  seat.is_inside = seat.outer < cells.outer && seat.column < cells.columns;
  return seat;
}

/* The sum over a cell's lanes. */
template <typename T>
static __device__ T
cell_sum(const Cells &cells, T value)
{
  return cell_fold(value, sum_of<T>(), cells.width, cells.lanes);
}

/* ---- a thread's own terms ---------------------------------------------------------------------------------------- */

/* Two sums are as cheap as one: kernels wait for memory. */
typedef struct Pair {
  float a, b;
} Pair;

typedef struct Sums {
  double a, b;
  float center; /* what was taken from each element before */
} Sums;

/* use(what was loaded, how many, the first's number) for terms first, first + step and so on before `end`; loads of a thread precede what
 * it writes, so that results may lie on operands. */
template <typename T, typename Load, typename Use>
static __device__ void
for_terms(int64_t first, int64_t end, int64_t step, Load load, Use use)
{
  T term[TERMS_AT_ONCE];
  for (; first + (TERMS_AT_ONCE - 1) * step < end; first += TERMS_AT_ONCE * step) {
    for (int k = 0; k < TERMS_AT_ONCE; k++)
      term[k] = load(first + k * step);
    use(term, TERMS_AT_ONCE, first);
  }
  for (; first < end; first += step) {
    term[0] = load(first);
    use(term, 1, first);
  }
}

template <typename Load>
static __device__ void
add_terms(int64_t first, int64_t end, int64_t step, Load load, Sums *sums)
{
  for_terms<Pair>(first, end, step, load, [&](Pair *term, int count, int64_t) {
    for (int half = count / 2; half > 0; half /= 2)
      for (int k = 0; k < half; k++) {
        term[k].a += term[k + half].a;
        term[k].b += term[k + half].b;
      }
    sums->a += term[0].a;
    sums->b += term[0].b;
  });
}

/* to[start + i * apart] = make(load(i), i) for the same terms. */
template <typename T, typename Load, typename Form, typename Make>
static __device__ void
write_terms(int64_t first, int64_t end, int64_t step, Load load, const Form &to, int64_t start, int64_t apart, Make make)
{
  for_terms<T>(first, end, step, load, [&](const T *term, int count, int64_t i) {
    for (int k = 0; k < count; k++)
      to.put(start + (i + k * step) * apart, make(term[k], i + k * step));
  });
}

/* A line's elements less a number near their mean have a variance without cancellation, in one pass: the mean of the first few, one
 * of each lane. `own` is the lane's, which counts if there are so many. */
static inline __device__ float
sampled_center(const Cells &cells, const Seat &seat, float own, int64_t terms)
{
  double count = (double)(terms < cells.lanes ? terms : cells.lanes);
  return (float)(cell_sum(cells, seat.is_inside && seat.lane < terms ? (double)own : 0) / count);
}

/* ---- sums along axes --------------------------------------------------------------------------------------------- */

typedef struct Axes {
  int count;
  Divisor dim[MOST_AXES];
  int64_t stride[MOST_AXES], other[MOST_AXES]; /* in what is summed and in the result */
} Axes;

typedef struct Fold {
  Cells cells;
  Axes kept;
  Divisor run, rows; /* of the folded axes the two innermost */
  int64_t run_step, row_step, plane_step; /* and of those and the next, how far apart their terms are */
  bool has_planes;
  int64_t column_place; /* of neighbouring columns: how far apart their results are */
  int64_t terms, terms_of_a_slice;
  bool is_covered; /* there are no more axes, and terms are numbered in 31 bits */
} Fold;

static inline Axes
axes_of(const FoldAxis *axis, int count)
{
  Axes axes;
  axes.count = count;
  for (int i = 0; i < count; i++) {
    axes.dim[i] = divisor_of(axis[i].dim);
    axes.stride[i] = axis[i].x_stride;
    axes.other[i] = axis[i].y_stride;
  }
  return axes;
}

/* The offset of linear index `number`; *other gets the one in the result. */
static inline __device__ int64_t
offset_over(const Axes &axes, int64_t number, int64_t *other)
{
  int64_t at = 0, place = 0;
  for (int i = axes.count - 1; i >= 0; i--) {
    int64_t rest = i > 0 ? quotient(number, axes.dim[i]) : 0, index = number - rest * axes.dim[i].number;
    at += index * axes.stride[i];
    place += index * axes.other[i];
    number = rest;
  }
  *other = place;
  return at;
}

/* Where term i of a line lies. */
static inline __device__ int64_t
term_offset(const Fold &fold, int64_t i)
{
  int64_t row = short_quotient(i, fold.run), at = (i - row * fold.run.number) * fold.run_step;
  if (!fold.has_planes)
    return at + row * fold.row_step;
  int64_t plane = short_quotient(row, fold.rows);
  return at + (row - plane * fold.rows.number) * fold.row_step + plane * fold.plane_step;
}

/* The folded axis that lies `outward` outside the innermost. */
static inline FoldAxis
folded_axis(const FoldPlan &plan, int outward)
{
  FoldAxis nothing = {1, 0, 0, true, false};
  int number = plan.folded_count - 1 - outward + (plan.inner.is_folded ? 1 : 0);
  if (plan.inner.is_folded && outward == 0)
    return plan.inner;
  return number >= 0 ? plan.folded[number] : nothing;
}

/* Where blocks are few, as many more as terms allow. */
static inline void
slice_terms(Fold *fold)
{
  int64_t most = fold->terms / (fold->cells.lanes * TERMS_OF_A_SLICE), slices = ENOUGH_BLOCKS / blocks_of_cells(fold->cells);
  slices = slices < most ? slices : most;
  if (slices < 2 || fold->cells.width * fold->cells.lanes < BLOCK_THREADS)
    slices = 1;
  fold->terms_of_a_slice = (fold->terms + slices - 1) / slices;
  fold->cells.slices = divisor_of((fold->terms + fold->terms_of_a_slice - 1) / fold->terms_of_a_slice);
}

static inline Fold
fold_of(const FoldPlan &plan)
{
  Fold fold;
  bool is_folded = plan.inner.is_folded;
  FoldAxis run = folded_axis(plan, 0), row = folded_axis(plan, 1), plane = folded_axis(plan, 2);
  fold.kept = axes_of(plan.kept, plan.kept_count);
  fold.run = divisor_of(run.dim);
  fold.rows = divisor_of(row.dim);
  fold.run_step = run.x_stride;
  fold.row_step = row.x_stride;
  fold.plane_step = plane.x_stride;
  fold.has_planes = plane.dim > 1;
  fold.terms = plan.terms * (is_folded ? plan.inner.dim : 1);
  fold.is_covered = folded_axis(plan, 3).dim == 1 && fold.terms <= INT32_MAX;
  fold.cells = cells_of(plan.outputs, is_folded ? 1 : plan.inner.dim, fold.terms);
  fold.column_place = plan.inner.y_stride;
  slice_terms(&fold);
  return fold;
}

/* The terms [first, end) of a seat's line, none where it has no line; where they begin and where their result lies. */
typedef struct Line {
  int64_t first, end, base, place;
} Line;

static inline __device__ Line
line_of(const Fold &fold, const Seat &seat)
{
  Line line = {seat.slice * fold.terms_of_a_slice, 0, 0, 0};
  int64_t end = line.first + fold.terms_of_a_slice;
  line.end = !seat.is_inside ? line.first : end < fold.terms ? end : fold.terms;
  if (seat.is_inside) {
    line.base = offset_over(fold.kept, seat.outer, &line.place) + seat.column;
    line.place += seat.column * fold.column_place;
  }
  return line;
}

/* Where what is folded of the seat's line lies while slices are apart: those of a line side by side. */
static inline __device__ int64_t
slice_number(const Fold &fold, const Seat &seat)
{
  return (seat.outer * fold.cells.columns + seat.column) * fold.cells.slices.number + seat.slice;
}

/* What a term is: `sums` of them are made of each element; those that sample their center get it from the first elements, others from
 * where the result lies. Terms have at(offset of the element, number of the term, center), and sample(offset) or center(place). */
template <int Sums_, bool Samples> struct term_kind {
  enum { sums = Sums_, samples = Samples };
  __device__ float center(int64_t) const { return 0; }
  __device__ float sample(int64_t) const { return 0; }
};

/* Without slices, finish(place of the result, its sums); else sums go to `partial`, by result and slice. */
template <typename Term, typename Finish>
KERNEL
fold_terms(Fold fold, Term term, Finish finish, Sums *partial)
{
  Seat seat = take_seat(fold.cells);
  Line line = line_of(fold, seat);
  Sums sums = {0, 0, 0};
  if (Term::samples) {
    bool has_own = seat.is_inside && seat.lane < fold.terms;
    float own = has_own ? term.sample(line.base + term_offset(fold, seat.lane)) : 0;
    sums.center = sampled_center(fold.cells, seat, own, fold.terms);
  } else if (seat.is_inside) {
    sums.center = term.center(line.place);
  }
  add_terms(line.first + seat.lane, line.end, fold.cells.lanes, [&](int64_t i) {
    return term.at(line.base + term_offset(fold, i), i, sums.center);
  }, &sums);
  sums.a = cell_sum(fold.cells, sums.a);
  if (Term::sums > 1)
    sums.b = cell_sum(fold.cells, sums.b);
  __syncwarp(); /* all have read the center that lies where the result will */
  if (!seat.is_inside || seat.lane)
    return;
  if (fold.cells.slices.number == 1)
    finish(line.place, sums);
  else
    partial[slice_number(fold, seat)] = sums;
}

/* A warp has a result. */
template <typename Finish>
KERNEL
join_slices(Fold fold, Finish finish, const Sums *partial)
{
  int64_t number = thread_number() / WARP, outer = number / fold.cells.columns, slices = fold.cells.slices.number, place;
  bool is_inside = outer < fold.cells.outer;
  Sums sums = {0, 0, 0};
  for (int64_t i = threadIdx.x % WARP; is_inside && i < slices; i += WARP) {
    Sums one = partial[number * slices + i];
    sums.a += one.a;
    sums.b += one.b;
    sums.center = one.center;
  }
  sums.a = cell_fold(sums.a, sum_of<double>(), 1, WARP);
  sums.b = cell_fold(sums.b, sum_of<double>(), 1, WARP);
  if (!is_inside || threadIdx.x % WARP)
    return;
  offset_over(fold.kept, outer, &place);
  finish(place + (number - outer * fold.cells.columns) * fold.column_place, sums);
}

static inline Sums *
take_partial(const actnn_call *call, gpu_room *room, const Fold &fold)
{
  room->declines |= !fold.is_covered;
  int64_t slices = fold.cells.slices.number;
  return take_room<Sums>(call, room, slices > 1 ? fold.cells.outer * fold.cells.columns * slices : 0);
}

/* Room for the partial sums of a fold and for nothing else. False: the call is over, with that outcome, for the kernel was preparing itself,
 * or declines. */
static inline bool
may_fold(const actnn_call *call, const Fold &fold, Sums **partial, int *outcome)
{
  gpu_room room = {0, false};
  *partial = take_partial(call, &room, fold);
  *outcome = gpu_settle_room(call, &room);
  return !*outcome && !actnn_is_preparing(call);
}

template <typename Term, typename Finish>
static int
run_fold(const actnn_call *call, const Fold &fold, Term term, Finish finish, Sums *partial)
{
  if (LAUNCH_BLOCKS(call, (fold_terms<Term, Finish>), blocks_of_cells(fold.cells), fold, term, finish, partial))
    return 1;
  if (fold.cells.slices.number == 1)
    return 0;
  return LAUNCH_BLOCKS(call, join_slices<Finish>, blocks_for(fold.cells.outer * fold.cells.columns * WARP), fold, finish, partial);
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

/* Sums of channels, over the batch as well unless samples are kept; a result's place is its channel's number. */
static inline FoldPlan
channel_plan(const layout_planes &planes, bool keeps_samples)
{
  FoldPlan plan;
  memset(&plan, 0, sizeof plan);
  int64_t run = planes.positions * planes.lanes;
  fold_axis(&plan, planes.batch, planes.blocks * run, planes.channels, !keeps_samples, false);
  fold_axis(&plan, planes.blocks, run, planes.lanes, false, false);
  fold_axis(&plan, planes.positions, planes.lanes, 0, true, false);
  fold_axis(&plan, planes.lanes, 1, 1, false, false);
  fold_sort(&plan);
  return plan;
}

/* Sums of rows x columns along either. */
static inline Fold
matrix_fold(int64_t rows, int64_t columns, bool keeps_rows)
{
  FoldPlan plan;
  memset(&plan, 0, sizeof plan);
  fold_axis(&plan, rows, columns, 1, !keeps_rows, false);
  fold_axis(&plan, columns, 1, 1, keeps_rows, false);
  fold_sort(&plan);
  return fold_of(plan);
}

static inline bool
are_floats(const actnn_view *view, size_t count, bool takes_bfloat = false)
{
  for (size_t i = 0; i < count; i++) {
    bool has_type = view[i].type == ACTNN_F32 || (takes_bfloat && view[i].type == ACTNN_BF16);
    if (view[i].id != NONE && (!has_type || view[i].layout == ACTNN_STASH || element_count(&view[i]) == 0))
      return false;
  }
  return true;
}

/* Operands and results that are there are floats, not empty. */
static inline bool
is_for_floats(const actnn_call *call, bool takes_bfloat = false)
{
  return are_floats(call->input, call->input_count, takes_bfloat) && are_floats(call->output, call->output_count, takes_bfloat);
}

static inline const float *
float_input(const actnn_call *call, size_t index)
{
  const actnn_view *view = optional_input(call, index);
  return view ? (const float *)view->data : NULL;
}

static inline float *
float_output(const actnn_call *call, size_t index)
{
  const actnn_view *view = optional_output(call, index);
  return view ? (float *)view->data : NULL;
}

/* The same of what may be held as bfloat16. */
static inline Floats
floats_input(const actnn_call *call, size_t index)
{
  const actnn_view *view = optional_input(call, index);
  return view ? floats_of(view) : Floats();
}

static inline Floats
floats_output(const actnn_call *call, size_t index)
{
  const actnn_view *view = optional_output(call, index);
  return view ? floats_of(view) : Floats();
}

#endif
