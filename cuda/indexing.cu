/* indexing.cu: rows by index; what adds to rows or writes over them by index, taking those of the same row in the order of the indices:
 * always the same result; and the k largest. */
#include "floats.h"
#include "sorting.h"

#include "../src/operators/indexed_rows.h"
#include "../src/operators/ranking.h"

/* Rows that indices name, and as whose index one is refused. */
typedef struct NamedRows {
  IndexedRows rows;
  gpu_notes *notes;
  uint32_t refusal;
} NamedRows;

static NamedRows
named_rows(const actnn_call *call, const IndexedRows &rows, uint32_t refusal)
{
  NamedRows named = {rows, call->trainer->device_state->notes, refusal};
  return named;
}

/* -1: refused, which is noted. */
static __device__ int64_t
named_row(const NamedRows &named, int64_t position)
{
  int wrong = 0;
  int64_t row = indexed_row(&named.rows, position, &wrong);
  if (row < 0)
    note_refusal(named.notes, named.refusal, named.rows.indices[position * named.rows.depth + wrong], named.rows.extent[wrong]);
  return row;
}

/* Of Gather and its gradient: the rows of each outer index. */
static IndexedRows
rows_along(const AroundAxis &around, const actnn_view *indices)
{
  IndexedRows rows;
  memset(&rows, 0, sizeof rows);
  rows.indices = (const int64_t *)indices->data;
  rows.count = element_count(indices);
  rows.width = around.inner;
  rows.depth = 1;
  rows.extent[0] = around.extent;
  rows.step[0] = 1;
  strided_axis(&rows.start, rows.count, 0);
  return rows;
}

/* ---- Gather, GatherElements, GatherND ---------------------------------------------------------------------------- */

typedef struct GatherJob {
  NamedRows named;
  int64_t count, extent, width; /* units of y; rows of an outer index of x; units of a row */
} GatherJob;

/* A row whose index is refused holds zeros. */
template <typename Units>
KERNEL
gather_rows(GatherJob job, Units units)
{
  typedef typename Units::Unit Unit;
  Unit unit[TAKEN_AT_ONCE];
  int64_t rows = job.named.rows.count;
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each), row = i / job.width;
    if (i >= job.count)
      break;
    int64_t place = named_row(job.named, row % rows);
    unit[each] = place < 0 ? Unit() : units.load((row / rows * job.extent + place) * job.width + i % job.width);
  }
  for (int each = 0; each < TAKEN_AT_ONCE; each++) {
    int64_t i = piece_number(each);
    if (i < job.count)
      units.store(i, unit[each]);
  }
}

template <typename Units>
static int
gather_units(const actnn_call *call, const NamedRows &named, int64_t outer, int64_t extent, int64_t width, Units units)
{
  GatherJob job = {named, outer * named.rows.count * width, extent, width};
  return LAUNCH(call, gather_rows<Units>, threads_of(job.count, TAKEN_AT_ONCE), job, units);
}

/* x is outer x extent rows, of which indices name some within each outer index. */
static int
gather(const actnn_call *call, const IndexedRows &rows, uint32_t refusal, int64_t outer, int64_t extent)
{
  if (actnn_is_preparing(call))
    return 0;
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  NamedRows named = named_rows(call, rows, refusal);
  if (are_held_otherwise(x, y))
    return rows.width % 4 ? gather_units(call, named, outer, extent, rows.width, conversion<1>(x, y))
                          : gather_units(call, named, outer, extent, rows.width / 4, conversion<4>(x, y));
  int64_t row_bytes = rows.width * (int64_t)element_bytes(x->type);
  size_t unit_bytes = widest_unit(row_bytes);
  return with_unit(unit_bytes, [=](auto unit) {
    return gather_units(call, named, outer, extent, row_bytes / (int64_t)unit_bytes, move<decltype(unit)>(x, y));
  });
}

extern "C" int
gpu_Gather(const actnn_call *call)
{
  AroundAxis around = around_axis(&call->input[0], call->attribute[0].i);
  return gather(call, rows_along(around, &call->input[1]), BAD_INDEX_OF_GATHER, around.outer, around.extent);
}

extern "C" int
gpu_GatherElements(const actnn_call *call)
{
  return gather(call, rows_by_element(&call->input[0], &call->input[1], call->attribute[0].i), BAD_INDEX_OF_GATHER_ELEMENTS, 1, 0);
}

extern "C" int
gpu_GatherND(const actnn_call *call)
{
  return gather(call, rows_by_position(&call->input[0], &call->input[1], (int)call->attribute[0].i), BAD_INDEX_OF_GATHER_ND, 1, 0);
}

/* ---- positions in the order of their rows ------------------------------------------------------------------------ */

/* Of each position its row, -1 when refused; and the positions by row, those of the same row as they came. */
typedef struct OrderedRows {
  int32_t *row;
  const int32_t *position;
  SortRoom room;
} OrderedRows;

KERNEL
locate_rows(NamedRows named, int32_t *row)
{
  int64_t position = thread_number();
  if (position < named.rows.count)
    row[position] = (int32_t)named_row(named, position);
}

struct by_row {
  const int32_t *row;
  __device__ bool before(int64_t a, int64_t b) const { return row[a] < row[b] || (row[a] == row[b] && a < b); }
};

static Lines
line_of_positions(const IndexedRows &rows)
{
  Lines lines = {1, rows.count, 1, rows.count};
  return lines;
}

static int64_t
rows_in(const actnn_view *view, const IndexedRows &rows)
{
  return rows.width ? element_count(view) / rows.width : 0;
}

/* Indices name rows among so many. */
static OrderedRows
take_ordered_rows(const actnn_call *call, gpu_room *room, const IndexedRows &rows, int64_t extent)
{
  OrderedRows ordered;
  room->declines |= extent > INT32_MAX;
  ordered.row = take_room<int32_t>(call, room, rows.count);
  ordered.position = NULL;
  ordered.room = take_sort_room(call, room, line_of_positions(rows));
  return ordered;
}

static int
order_rows(const actnn_call *call, const NamedRows &named, OrderedRows *ordered)
{
  by_row order = {ordered->row};
  return LAUNCH(call, locate_rows, named.rows.count, named, ordered->row) ||
         sort_lines(call, line_of_positions(named.rows), order, ordered->room, &ordered->position);
}

static __device__ int32_t
ordered_row(const OrderedRows &ordered, int64_t at)
{
  return ordered.row[ordered.position[at]];
}

/* Whether `at` is the first of its row, which is not refused. */
static __device__ bool
starts_row(const OrderedRows &ordered, int64_t at)
{
  int32_t row = ordered_row(ordered, at);
  return row >= 0 && (at == 0 || ordered_row(ordered, at - 1) != row);
}

/* ---- sums of gradients ------------------------------------------------------------------------------------------- */

enum { ROWS_AT_ONCE = 8 };

typedef struct SumJob {
  const void *dy;
  Floats dx;
  OrderedRows ordered;
  int64_t outer, count, extent, width; /* of dy: outer x count x width */
} SumJob;

/* Where positions of a row start, its thread adds what they have, so many loads at a time but one after the other. */
template <int Wide, typename Dy>
KERNEL
sum_rows(SumJob job)
{
  int64_t i = thread_number(), column = i % job.width, at = i / job.width % job.count, outer = i / job.width / job.count;
  if (outer >= job.outer || !starts_row(job.ordered, at))
    return;
  int32_t index = ordered_row(job.ordered, at);
  const Columns<Wide, Dy> *dy = (const Columns<Wide, Dy> *)job.dy + outer * job.count * job.width + column;
  Columns<Wide> sum = Columns<Wide>();
  while (at < job.count && ordered_row(job.ordered, at) == index) {
    bool are_many = at + ROWS_AT_ONCE <= job.count && ordered_row(job.ordered, at + ROWS_AT_ONCE - 1) == index;
    int rows = are_many ? ROWS_AT_ONCE : 1;
    Columns<Wide, Dy> row[ROWS_AT_ONCE];
    for (int k = 0; k < ROWS_AT_ONCE; k++)
      if (k < rows)
        row[k] = dy[job.ordered.position[at + k] * job.width];
    for (int k = 0; k < ROWS_AT_ONCE; k++)
      for (int c = 0; c < Wide && k < rows; c++)
        sum.of[c] += widened(row[k].of[c]);
    at += rows;
  }
  store_columns(job.dx, (outer * job.extent + index) * job.width + column, sum);
}

/* dx is outer x extent rows, of which indices name some within each outer index. */
static int
sum_by_index(const actnn_call *call, const IndexedRows &rows, uint32_t refusal, int64_t outer, int64_t extent)
{
  const actnn_view *dy = &call->input[0], *dx = &call->output[0];
  gpu_room room = {0, false};
  if (!is_floating(dx->type))
    return DEVICE_DECLINES;
  OrderedRows ordered = take_ordered_rows(call, &room, rows, extent);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  if (clear_bytes(call, dx->data, element_count(dx) * (int64_t)element_bytes(dx->type)) ||
      order_rows(call, named_rows(call, rows, refusal), &ordered))
    return 1;
  bool is_wide = rows.width % 4 == 0;
  SumJob job = {dy->data, floats_of(dx), ordered, outer, rows.count, extent, is_wide ? rows.width / 4 : rows.width};
  return with_floats(dy, [=](auto element) {
    typedef decltype(element) Dy;
    int64_t threads = job.outer * job.count * job.width;
    return is_wide ? LAUNCH(call, (sum_rows<4, Dy>), threads, job) : LAUNCH(call, (sum_rows<1, Dy>), threads, job);
  });
}

extern "C" int
gpu_GatherGrad(const actnn_call *call)
{
  AroundAxis around = around_axis(&call->output[0], call->attribute[1].i);
  return sum_by_index(call, rows_along(around, &call->input[1]), BAD_INDEX_OF_GATHER, around.outer, around.extent);
}

extern "C" int
gpu_GatherNDGrad(const actnn_call *call)
{
  IndexedRows rows = rows_by_position(&call->output[0], &call->input[1], (int)call->attribute[1].i);
  return sum_by_index(call, rows, BAD_INDEX_OF_GATHER_ND, 1, rows_in(&call->output[0], rows));
}

/* ---- elements that take in others, whatever their type ----------------------------------------------------------- */

typedef struct ReduceJob {
  NamedRows named;
  Reduction reduction;
  actnn_view y, updates;
} ReduceJob;

/* Where positions of a row start, a thread of each of its elements takes in theirs. */
KERNEL
reduce_rows(ReduceJob job, OrderedRows ordered)
{
  const IndexedRows &rows = job.named.rows;
  int64_t i = thread_number(), column = i % rows.width, at = i / rows.width;
  if (at >= rows.count || !starts_row(ordered, at))
    return;
  int32_t row = ordered_row(ordered, at);
  for (; at < rows.count && ordered_row(ordered, at) == row; at++)
    reduce_element(job.reduction, &job.y, row * rows.width + column, &job.updates, ordered.position[at] * rows.width + column);
}

/* Indices of single elements name the same one along their axis alone: a thread takes a whole line of them. */
KERNEL
reduce_lines(ReduceJob job, AroundAxis lines)
{
  int64_t line = thread_number();
  if (line >= lines.outer * lines.inner)
    return;
  int64_t first = line / lines.inner * lines.extent * lines.inner + line % lines.inner;
  for (int64_t i = 0; i < lines.extent; i++) {
    int64_t position = first + i * lines.inner, element = named_row(job.named, position);
    if (element >= 0)
      reduce_element(job.reduction, &job.y, element, &job.updates, position);
  }
}

enum { LONGEST_LINE = 64 /* that a thread takes */ };

/* What takes in operand `updates` is the result. */
static ReduceJob
reduce_job(const actnn_call *call, const IndexedRows &rows, uint32_t refusal, Reduction reduction, size_t updates)
{
  ReduceJob job = {named_rows(call, rows, refusal), reduction, call->output[0], call->input[updates]};
  return job;
}

static int
copy_data(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  return copy_bytes(call, y->data, call->input[0].data, element_count(y) * (int64_t)element_bytes(y->type));
}

static int
scatter_rows(const actnn_call *call, const IndexedRows &rows, uint32_t refusal, Reduction reduction)
{
  gpu_room room = {0, false};
  OrderedRows ordered = take_ordered_rows(call, &room, rows, rows_in(&call->output[0], rows));
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  ReduceJob job = reduce_job(call, rows, refusal, reduction, 2);
  return copy_data(call) || order_rows(call, job.named, &ordered) || LAUNCH(call, reduce_rows, rows.count * rows.width, job, ordered);
}

extern "C" int
gpu_GatherElementsGrad(const actnn_call *call)
{
  const actnn_view *dx = &call->output[0], *indices = &call->input[1];
  IndexedRows rows = rows_by_element(dx, indices, call->attribute[1].i);
  AroundAxis lines = around_axis(indices, call->attribute[1].i);
  if (lines.extent > LONGEST_LINE)
    return sum_by_index(call, rows, BAD_INDEX_OF_GATHER_ELEMENTS, 1, element_count(dx));
  if (actnn_is_preparing(call))
    return 0;
  ReduceJob job = reduce_job(call, rows, BAD_INDEX_OF_GATHER_ELEMENTS, ADD, 0);
  return clear_bytes(call, dx->data, element_count(dx) * (int64_t)element_bytes(dx->type)) ||
         LAUNCH(call, reduce_lines, lines.outer * lines.inner, job, lines);
}

extern "C" int
gpu_ScatterElements(const actnn_call *call)
{
  const actnn_view *indices = &call->input[1];
  IndexedRows rows = rows_by_element(&call->output[0], indices, call->attribute[0].i);
  AroundAxis lines = around_axis(indices, call->attribute[0].i);
  Reduction reduction = reduction_named(call->attribute[1].text);
  if (lines.extent > LONGEST_LINE)
    return scatter_rows(call, rows, BAD_INDEX_OF_SCATTER_ELEMENTS, reduction);
  if (actnn_is_preparing(call))
    return 0;
  ReduceJob job = reduce_job(call, rows, BAD_INDEX_OF_SCATTER_ELEMENTS, reduction, 2);
  return copy_data(call) || LAUNCH(call, reduce_lines, lines.outer * lines.inner, job, lines);
}

extern "C" int
gpu_ScatterND(const actnn_call *call)
{
  IndexedRows rows = rows_by_position(&call->output[0], &call->input[1], 0);
  return scatter_rows(call, rows, BAD_INDEX_OF_SCATTER_ND, reduction_named(call->attribute[0].text));
}

/* ---- no gradient for what is written over ------------------------------------------------------------------------ */

/* Several positions may name a row. */
KERNEL
zero_rows(NamedRows named, Floats dx)
{
  int64_t i = thread_number(), width = named.rows.width, position = i / width;
  int64_t row = position < named.rows.count ? named_row(named, position) : -1;
  if (row >= 0)
    dx.put_likewise(row * width + i % width, 0);
}

static int
zero_by_index(const actnn_call *call, const IndexedRows &rows, uint32_t refusal, const char *reduction)
{
  if (actnn_is_preparing(call))
    return 0;
  Floats dx = floats_of(&call->output[0]);
  return copy_data(call) ||
         (reduction_named(reduction) == REPLACE && LAUNCH(call, zero_rows, rows.count * rows.width, named_rows(call, rows, refusal), dx));
}

extern "C" int
gpu_ScatterElementsZero(const actnn_call *call)
{
  IndexedRows rows = rows_by_element(&call->output[0], &call->input[1], call->attribute[0].i);
  return zero_by_index(call, rows, BAD_INDEX_OF_SCATTER_ELEMENTS, call->attribute[1].text);
}

extern "C" int
gpu_ScatterNDZero(const actnn_call *call)
{
  return zero_by_index(call, rows_by_position(&call->output[0], &call->input[1], 0), BAD_INDEX_OF_SCATTER_ND, call->attribute[0].text);
}

/* ---- TopK -------------------------------------------------------------------------------------------------------- */

struct by_rank {
  actnn_view x;
  bool largest;
  __device__ bool before(int64_t a, int64_t b) const { return comes_before(&x, a, b, largest); }
};

typedef struct TakeJob {
  Lines lines;
  const int32_t *sorted;
  const void *x;
  void *values; /* NULL: not wanted */
  int64_t *indices;
} TakeJob;

template <typename Unit>
KERNEL
take_sorted(TakeJob job)
{
  const Lines &lines = job.lines;
  int64_t i = thread_number();
  LinePlace place = line_place(lines, lines.kept, i);
  if (place.outer >= lines.outer)
    return;
  int64_t index = job.sorted[i];
  job.indices[i] = index;
  if (job.values)
    ((Unit *)job.values)[i] = ((const Unit *)job.x)[(place.outer * lines.length + index) * lines.inner + place.inner];
}

extern "C" int
gpu_TopK(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *indices = &call->output[1];
  AroundAxis around = around_axis(x, call->attribute[1].i), made = around_axis(indices, call->attribute[1].i);
  Lines lines = {around.outer, around.extent, around.inner, made.extent};
  int64_t count = element_count(indices);
  gpu_room room = {0, false};
  SortRoom sort_room = take_sort_room(call, &room, lines);
  int settled = gpu_settle_room(call, &room);
  if (settled || actnn_is_preparing(call))
    return settled;
  by_rank order = {*x, call->attribute[2].i != 0};
  TakeJob job = {lines, NULL, x->data, call->output[0].data, (int64_t *)indices->data};
  if (sort_lines(call, lines, order, sort_room, &job.sorted))
    return 1;
  return with_unit(element_bytes(x->type), [=](auto unit) { return LAUNCH(call, take_sorted<decltype(unit)>, count, job); });
}
