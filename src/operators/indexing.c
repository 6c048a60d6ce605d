/* indexing.c: evaluation of indexing.def. Gradients add in the order of the indices, on one thread, so that
 * equal indices always give the same sum. */
#include "indexed_rows.h"
#include "ranking.h"

actnn_kernel EVALUATE(Gather), EVALUATE(GatherGrad), EVALUATE(GatherElements), EVALUATE(GatherElementsGrad),
    EVALUATE(GatherND), EVALUATE(GatherNDGrad), EVALUATE(ScatterElements), EVALUATE(ScatterElementsZero),
    EVALUATE(ScatterND), EVALUATE(ScatterNDZero), EVALUATE(TopK);

static void
copy_whole(const actnn_view *from, const actnn_view *to)
{
  size_t bytes = (size_t)element_count(to) * element_bytes(to->type);
  if (from->data != to->data && bytes) memcpy(to->data, from->data, bytes);
}

static void
clear_whole(const actnn_view *view)
{
  memset(view->data, 0, (size_t)element_count(view) * element_bytes(view->type));
}

int
EVALUATE(Gather)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  const int64_t *indices = call->input[1].data;
  AroundAxis around = around_axis(x, call->attribute[0].i);
  int64_t count = element_count(&call->input[1]);
  size_t bytes = (size_t)around.inner * element_bytes(x->type);
  for (int64_t k = 0; k < count; k++)
    if (wrapped_index(indices[k], around.extent) < 0) return bad_index(call, "Gather", indices[k], around.extent);
  for (int64_t o = 0; o < around.outer; o++) {
    for (int64_t k = 0; k < count; k++) {
      int64_t index = wrapped_index(indices[k], around.extent);
      memcpy((char *)y->data + (size_t)(o * count + k) * bytes,
             (const char *)x->data + (size_t)(o * around.extent + index) * bytes, bytes);
    }
  }
  return 0;
}

int
EVALUATE(GatherGrad)(const actnn_call *call)
{
  const actnn_view *dx = &call->output[0];
  const int64_t *indices = call->input[1].data;
  const REAL *dy = call->input[0].data;
  AroundAxis around = around_axis(dx, call->attribute[1].i);
  int64_t count = element_count(&call->input[1]);
  clear_whole(dx);
  for (int64_t o = 0; o < around.outer; o++) {
    for (int64_t k = 0; k < count; k++) {
      int64_t index = wrapped_index(indices[k], around.extent);
      if (index < 0) return bad_index(call, "Gather", indices[k], around.extent);
      REAL *to = (REAL *)dx->data + (o * around.extent + index) * around.inner;
      const REAL *from = dy + (o * count + k) * around.inner;
      for (int64_t i = 0; i < around.inner; i++) to[i] += from[i];
    }
  }
  return 0;
}

/* ---- rows that indices name --------------------------------------------------------------------- */

typedef struct RowWalk {
  const actnn_call *call;
  const char *name;
  IndexedRows rows;
  int64_t position, row;
  int failed; /* an index is out of bounds */
} RowWalk;

static RowWalk
walk_rows(const actnn_call *call, const char *name, IndexedRows rows)
{
  return (RowWalk){.call = call, .name = name, .rows = rows, .position = -1};
}

/* Next row; false at the end or when its index is refused. */
static bool
next_row(RowWalk *walk)
{
  const IndexedRows *rows = &walk->rows;
  int wrong = 0;
  if (++walk->position >= rows->count) return false;
  walk->row = indexed_row(rows, walk->position, &wrong);
  if (walk->row >= 0) return true;
  walk->failed = bad_index(walk->call, walk->name, rows->indices[walk->position * rows->depth + wrong], rows->extent[wrong]);
  return false;
}

static int
gather_rows(const actnn_call *call, const char *name, IndexedRows rows)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  size_t bytes = (size_t)rows.width * element_bytes(x->type);
  RowWalk walk = walk_rows(call, name, rows);
  while (next_row(&walk))
    memcpy((char *)y->data + (size_t)walk.position * bytes, (const char *)x->data + (size_t)walk.row * bytes, bytes);
  return walk.failed;
}

static int
add_rows(const actnn_call *call, const char *name, IndexedRows rows)
{
  const REAL *dy = call->input[0].data;
  REAL *dx = call->output[0].data;
  RowWalk walk = walk_rows(call, name, rows);
  clear_whole(&call->output[0]);
  while (next_row(&walk))
    for (int64_t i = 0; i < rows.width; i++) dx[walk.row * rows.width + i] += dy[walk.position * rows.width + i];
  return walk.failed;
}

static int
scatter_rows(const actnn_call *call, const char *name, IndexedRows rows, const char *reduction_name)
{
  const actnn_view *y = &call->output[0];
  Reduction reduction = reduction_named(reduction_name);
  RowWalk walk = walk_rows(call, name, rows);
  copy_whole(&call->input[0], y);
  while (next_row(&walk))
    for (int64_t i = 0; i < rows.width; i++)
      reduce_element(reduction, y, walk.row * rows.width + i, &call->input[2], walk.position * rows.width + i);
  return walk.failed;
}

/* What is written over has no gradient. */
static int
zero_rows(const actnn_call *call, const char *name, IndexedRows rows, const char *reduction_name)
{
  REAL *dx = call->output[0].data;
  Reduction reduction = reduction_named(reduction_name);
  RowWalk walk = walk_rows(call, name, rows);
  copy_whole(&call->input[0], &call->output[0]);
  while (reduction == REPLACE && next_row(&walk))
    for (int64_t i = 0; i < rows.width; i++) dx[walk.row * rows.width + i] = 0;
  return walk.failed;
}

int
EVALUATE(GatherElements)(const actnn_call *call)
{
  return gather_rows(call, "GatherElements", rows_by_element(&call->input[0], &call->input[1], call->attribute[0].i));
}

int
EVALUATE(GatherElementsGrad)(const actnn_call *call)
{
  return add_rows(call, "GatherElements", rows_by_element(&call->output[0], &call->input[1], call->attribute[1].i));
}

int
EVALUATE(ScatterElements)(const actnn_call *call)
{
  IndexedRows rows = rows_by_element(&call->output[0], &call->input[1], call->attribute[0].i);
  return scatter_rows(call, "ScatterElements", rows, call->attribute[1].text);
}

int
EVALUATE(ScatterElementsZero)(const actnn_call *call)
{
  IndexedRows rows = rows_by_element(&call->output[0], &call->input[1], call->attribute[0].i);
  return zero_rows(call, "ScatterElements", rows, call->attribute[1].text);
}

int
EVALUATE(GatherND)(const actnn_call *call)
{
  return gather_rows(call, "GatherND", rows_by_position(&call->input[0], &call->input[1], (int)call->attribute[0].i));
}

int
EVALUATE(GatherNDGrad)(const actnn_call *call)
{
  return add_rows(call, "GatherND", rows_by_position(&call->output[0], &call->input[1], (int)call->attribute[1].i));
}

int
EVALUATE(ScatterND)(const actnn_call *call)
{
  return scatter_rows(call, "ScatterND", rows_by_position(&call->output[0], &call->input[1], 0), call->attribute[0].text);
}

int
EVALUATE(ScatterNDZero)(const actnn_call *call)
{
  return zero_rows(call, "ScatterND", rows_by_position(&call->output[0], &call->input[1], 0), call->attribute[0].text);
}

/* ---- the k largest ------------------------------------------------------------------------------ */

/* Sinks the root of a heap of element numbers kept in `heap`, `step` apart, whose top comes last in the order. */
static void
sift_down(const actnn_view *x, int64_t *heap, int64_t step, int64_t count, int64_t base, int64_t inner,
          bool largest)
{
  for (int64_t at = 0, child; (child = 2 * at + 1) < count; at = child) {
    int64_t right = child + 1;
    if (right < count &&
        comes_before(x, base + heap[child * step] * inner, base + heap[right * step] * inner, largest))
      child = right;
    if (!comes_before(x, base + heap[at * step] * inner, base + heap[child * step] * inner, largest)) return;
    int64_t swap = heap[at * step];
    heap[at * step] = heap[child * step];
    heap[child * step] = swap;
  }
}

/* The results are always sorted, whatever `sorted` says. The indices themselves serve as the heap. */
int
EVALUATE(TopK)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *values = &call->output[0], *indices = &call->output[1];
  AroundAxis around = around_axis(x, call->attribute[1].i), made = around_axis(indices, call->attribute[1].i);
  bool largest = call->attribute[2].i != 0;
  size_t size = element_bytes(x->type);
  int64_t k = made.extent;
  for (int64_t line = 0; k > 0 && line < around.outer * around.inner; line++) {
    int64_t o = line / around.inner, i = line % around.inner, step = around.inner,
            base = o * around.extent * step + i;
    int64_t *heap = (int64_t *)indices->data + o * k * step + i, count = 0;
    for (int64_t j = 0; j < around.extent; j++) {
      if (count < k) {
        int64_t at = count++;
        for (; at && comes_before(x, base + heap[(at - 1) / 2 * step] * step, base + j * step, largest);
             at = (at - 1) / 2)
          heap[at * step] = heap[(at - 1) / 2 * step];
        heap[at * step] = j;
      } else if (comes_before(x, base + j * step, base + heap[0] * step, largest)) {
        heap[0] = j;
        sift_down(x, heap, step, k, base, step, largest);
      }
    }
    for (int64_t left = k - 1; left > 0; left--) {
      int64_t last = heap[0];
      heap[0] = heap[left * step];
      heap[left * step] = last;
      sift_down(x, heap, step, left, base, step, largest);
    }
    for (int64_t j = 0; values->data && j < k; j++)
      memcpy((char *)values->data + (size_t)((o * k + j) * step + i) * size,
             (const char *)x->data + (size_t)(base + heap[j * step] * step) * size, size);
  }
  return 0;
}
