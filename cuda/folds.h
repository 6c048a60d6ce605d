/* folds.h: folds along axes of tensors of any type that are more than sums of floats: a rule says what is gathered, in double, as plain
 * loops do. Threads and slices of terms are dealt as those of sums are (sums.h). */
#ifndef ACTNN_CUDA_FOLDS_H
#define ACTNN_CUDA_FOLDS_H

#include "sums.h"

#include "../src/operators/folds.h"

/* run(an element as a view of this type holds it). */
template <typename Run>
static int
with_element(actnn_type type, Run run)
{
  if (is_floating(type))
    return with_floats(type == ACTNN_BF16, run);
  return element_bytes(type) == 1 ? run(uint8_t()) : run(int64_t());
}

/* Elements are folded in double. */
template <typename X>
static __device__ double
number_of(X x)
{
  return (double)x;
}

static inline __device__ double
number_of(bfloat_number x)
{
  return (double)widened(x);
}

/* A plain tensor that is not empty. */
static inline bool
is_for_folds(const actnn_view *x)
{
  return x->layout == ACTNN_PLAIN && element_count(x) > 0;
}

/* ---- rules --------------------------------------------------------------------------------------------------------- */

/* A rule gathers Sums: `a` is the fold, and `b` what else it needs. It has
 *   begin()                          nothing is gathered yet
 *   take(gathered, element, number)  of the next term, and which one of its line that is
 *   join(gathered, later)            what was gathered of a later slice
 *   over_lanes(cells, gathered)      of all lanes of a cell, the same in every one
 *   finish(place, gathered)          of the whole line
 * This one is of every kind of fold. */
struct plain_rule {
  FoldKind kind;
  actnn_view y;
  int64_t terms;

  __device__ Sums begin() const
  {
    Sums sums = {first_value(kind), 0, 0};
    return sums;
  }
  __device__ void take(Sums *gathered, double x, int64_t) const { gathered->a = fold_in(kind, gathered->a, x); }
  __device__ void join(Sums *gathered, const Sums &later) const { gathered->a = join_folds(kind, gathered->a, later.a); }
  __device__ Sums over_lanes(const Cells &cells, Sums gathered) const
  {
    FoldKind fold = kind;
    gathered.a = cell_fold(gathered.a, [fold](double a, double b) { return join_folds(fold, a, b); }, cells.width, cells.lanes);
    return gathered;
  }
  __device__ void finish(int64_t place, const Sums &gathered) const
  {
    store_element(&y, place, finished_fold(kind, gathered.a, terms));
  }
};

static inline plain_rule
rule_of(FoldKind kind, const actnn_view *y, const Fold &fold)
{
  plain_rule rule = {kind, *y, fold.terms};
  return rule;
}

/* ---- kernels ------------------------------------------------------------------------------------------------------- */

/* Without slices, the rule finishes each line; else what it gathers goes to `partial`, by result and slice. */
template <typename X, typename Rule>
KERNEL
fold_lines(Fold fold, const X *x, Rule rule, Sums *partial)
{
  Seat seat = take_seat(fold.cells);
  Line line = line_of(fold, seat);
  Sums gathered = rule.begin();
  for_terms<X>(line.first + seat.lane, line.end, fold.cells.lanes, [&](int64_t i) { return x[line.base + term_offset(fold, i)]; },
               [&](const X *term, int count, int64_t first) {
    for (int k = 0; k < count; k++)
      rule.take(&gathered, number_of(term[k]), first + k * fold.cells.lanes);
  });
  gathered = rule.over_lanes(fold.cells, gathered);
  if (!seat.is_inside || seat.lane)
    return;
  if (fold.cells.slices.number == 1)
    rule.finish(line.place, gathered);
  else
    partial[slice_number(fold, seat)] = gathered;
}

/* A warp has a result. */
template <typename Rule>
KERNEL
join_lines(Fold fold, Rule rule, const Sums *partial)
{
  int64_t number = thread_number() / WARP, outer = number / fold.cells.columns, slices = fold.cells.slices.number, place;
  bool is_inside = outer < fold.cells.outer;
  Cells warp = fold.cells;
  Sums gathered = rule.begin();
  for (int64_t i = threadIdx.x % WARP; is_inside && i < slices; i += WARP)
    rule.join(&gathered, partial[number * slices + i]);
  warp.width = 1;
  warp.lanes = WARP;
  gathered = rule.over_lanes(warp, gathered);
  if (!is_inside || threadIdx.x % WARP)
    return;
  offset_over(fold.kept, outer, &place);
  rule.finish(place + (number - outer * fold.cells.columns) * fold.column_place, gathered);
}

template <typename Rule>
static int
launch_fold(const actnn_call *call, const Fold &fold, const actnn_view *x, Rule rule, Sums *partial)
{
  return with_element(x->type, [=](auto element) {
    typedef decltype(element) X;
    return LAUNCH_BLOCKS(call, (fold_lines<X, Rule>), blocks_of_cells(fold.cells), fold, (const X *)x->data, rule, partial);
  });
}

template <typename Rule>
static int
fold_by_rule(const actnn_call *call, const Fold &fold, const actnn_view *x, Rule rule, Sums *partial)
{
  if (launch_fold(call, fold, x, rule, partial))
    return 1;
  if (fold.cells.slices.number == 1)
    return 0;
  return LAUNCH_BLOCKS(call, join_lines<Rule>, blocks_for(fold.cells.outer * fold.cells.columns * WARP), fold, rule, partial);
}

/* ---- along one axis ------------------------------------------------------------------------------------------------ */

/* Lines of outer x extent x inner along the extent; results are numbered by outer x inner. */
static inline Fold
axis_fold(int64_t outer, int64_t extent, int64_t inner)
{
  FoldPlan plan;
  memset(&plan, 0, sizeof plan);
  fold_axis(&plan, outer, extent * inner, inner, false, false);
  fold_axis(&plan, extent, inner, 0, true, false);
  fold_axis(&plan, inner, 1, 1, false, false);
  fold_sort(&plan);
  return fold_of(plan);
}

#endif
