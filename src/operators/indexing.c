/* indexing.c: evaluation of indexing.def. Gradients add in the order of the indices, on one thread, so that
 * equal indices always give the same sum. */
#include "indices.h"

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

/* ---- one index an element ----------------------------------------------------------------------- */

/* A walk over indices of the rank of `data`: `at` is the element of data that the current one names. */
typedef struct ElementWalk {
  const actnn_call *call;
  const char *name;
  const actnn_view *data, *indices;
  int64_t axis, stride[ACTNN_MAX_RANK], index[ACTNN_MAX_RANK], position, count, at;
} ElementWalk;

static ElementWalk
element_walk(const actnn_call *call, const char *name, const actnn_view *data, int64_t axis)
{
  ElementWalk walk = {.call = call,
                      .name = name,
                      .data = data,
                      .indices = &call->input[1],
                      .axis = axis < 0 ? axis + data->rank : axis,
                      .position = -1,
                      .count = element_count(&call->input[1])};
  row_major_strides(data, walk.stride);
  return walk;
}

/* Next index; false at the end or, with *failed set, when it is out of range. */
static bool
next_element(ElementWalk *walk, int *failed)
{
  if (++walk->position >= walk->count) return false;
  if (walk->position) next_index(walk->index, walk->indices->dim, walk->indices->rank);
  int64_t given = ((const int64_t *)walk->indices->data)[walk->position], extent = walk->data->dim[walk->axis];
  int64_t wrapped = wrapped_index(given, extent);
  if (wrapped < 0) {
    *failed = bad_index(walk->call, walk->name, given, extent);
    return false;
  }
  walk->at = 0;
  for (int i = 0; i < walk->data->rank; i++)
    walk->at += (i == walk->axis ? wrapped : walk->index[i]) * walk->stride[i];
  return true;
}

int
EVALUATE(GatherElements)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  ElementWalk walk = element_walk(call, "GatherElements", x, call->attribute[0].i);
  size_t size = element_bytes(x->type);
  int failed = 0;
  while (next_element(&walk, &failed))
    memcpy((char *)y->data + (size_t)walk.position * size, (const char *)x->data + (size_t)walk.at * size, size);
  return failed;
}

int
EVALUATE(GatherElementsGrad)(const actnn_call *call)
{
  const REAL *dy = call->input[0].data;
  REAL *dx = call->output[0].data;
  ElementWalk walk = element_walk(call, "GatherElements", &call->output[0], call->attribute[1].i);
  int failed = 0;
  clear_whole(&call->output[0]);
  while (next_element(&walk, &failed)) dx[walk.at] += dy[walk.position];
  return failed;
}

typedef enum Reduction { REPLACE, ADD, MULTIPLY, LARGEST, SMALLEST } Reduction;

static Reduction
reduction_named(const char *name)
{
  return !strcmp(name, "add")   ? ADD
         : !strcmp(name, "mul") ? MULTIPLY
         : !strcmp(name, "max") ? LARGEST
         : !strcmp(name, "min") ? SMALLEST
                                : REPLACE;
}

/* Element `to` of y takes in element `from` of u. */
static void
reduce_element(Reduction reduction, const actnn_view *y, int64_t to, const actnn_view *u, int64_t from)
{
  size_t size = element_bytes(y->type);
  double a, b;
  if (reduction == REPLACE) {
    memcpy((char *)y->data + (size_t)to * size, (const char *)u->data + (size_t)from * size, size);
    return;
  }
  a = load_element(y, to);
  b = load_element(u, from);
  store_element(y, to,
                reduction == ADD                    ? a + b
                : reduction == MULTIPLY             ? a * b
                : (reduction == LARGEST) == (a > b) ? a
                                                    : b);
}

int
EVALUATE(ScatterElements)(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  ElementWalk walk = element_walk(call, "ScatterElements", y, call->attribute[0].i);
  Reduction reduction = reduction_named(call->attribute[1].text);
  int failed = 0;
  copy_whole(&call->input[0], y);
  while (next_element(&walk, &failed)) reduce_element(reduction, y, walk.at, &call->input[2], walk.position);
  return failed;
}

int
EVALUATE(ScatterElementsZero)(const actnn_call *call)
{
  const actnn_view *dx = &call->output[0];
  ElementWalk walk = element_walk(call, "ScatterElements", dx, call->attribute[0].i);
  Reduction reduction = reduction_named(call->attribute[1].text);
  int failed = 0;
  copy_whole(&call->input[0], dx);
  while (reduction == REPLACE && next_element(&walk, &failed)) ((REAL *)dx->data)[walk.at] = 0;
  return failed;
}

/* ---- one position a slice ----------------------------------------------------------------------- */

/* The last axis of the indices holds a position in the axes of `data` after the batch ones; each names a slice
 * of `inner` elements that begins at `at`. */
typedef struct SliceWalk {
  const actnn_call *call;
  const char *name;
  const actnn_view *data;
  const int64_t *indices;
  int64_t batch, depth, inner, stride[ACTNN_MAX_RANK], batch_elements, each_batch, position, count, at;
} SliceWalk;

static SliceWalk
slice_walk(const actnn_call *call, const char *name, const actnn_view *data, int64_t batch)
{
  const actnn_view *indices = &call->input[1];
  SliceWalk walk = {.call = call,
                    .name = name,
                    .data = data,
                    .indices = indices->data,
                    .batch = batch,
                    .depth = indices->dim[indices->rank - 1],
                    .inner = 1,
                    .batch_elements = 1,
                    .each_batch = 1,
                    .position = -1,
                    .count = 1};
  row_major_strides(data, walk.stride);
  for (int i = 0; i < data->rank; i++) {
    if (i >= batch + walk.depth) walk.inner *= data->dim[i];
    if (i >= batch) walk.batch_elements *= data->dim[i];
  }
  for (int i = 0; i + 1 < indices->rank; i++) {
    walk.count *= indices->dim[i];
    if (i >= batch) walk.each_batch *= indices->dim[i];
  }
  return walk;
}

static bool
next_slice(SliceWalk *walk, int *failed)
{
  if (++walk->position >= walk->count) return false;
  walk->at = walk->position / walk->each_batch * walk->batch_elements;
  for (int64_t i = 0; i < walk->depth; i++) {
    int64_t given = walk->indices[walk->position * walk->depth + i], extent = walk->data->dim[walk->batch + i];
    int64_t wrapped = wrapped_index(given, extent);
    if (wrapped < 0) {
      *failed = bad_index(walk->call, walk->name, given, extent);
      return false;
    }
    walk->at += wrapped * walk->stride[walk->batch + i];
  }
  return true;
}

int
EVALUATE(GatherND)(const actnn_call *call)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  SliceWalk walk = slice_walk(call, "GatherND", x, call->attribute[0].i);
  size_t size = element_bytes(x->type);
  int failed = 0;
  while (next_slice(&walk, &failed))
    memcpy((char *)y->data + (size_t)(walk.position * walk.inner) * size,
           (const char *)x->data + (size_t)walk.at * size, (size_t)walk.inner * size);
  return failed;
}

int
EVALUATE(GatherNDGrad)(const actnn_call *call)
{
  const REAL *dy = call->input[0].data;
  REAL *dx = call->output[0].data;
  SliceWalk walk = slice_walk(call, "GatherND", &call->output[0], call->attribute[1].i);
  int failed = 0;
  clear_whole(&call->output[0]);
  while (next_slice(&walk, &failed))
    for (int64_t i = 0; i < walk.inner; i++) dx[walk.at + i] += dy[walk.position * walk.inner + i];
  return failed;
}

int
EVALUATE(ScatterND)(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  SliceWalk walk = slice_walk(call, "ScatterND", y, 0);
  Reduction reduction = reduction_named(call->attribute[0].text);
  int failed = 0;
  copy_whole(&call->input[0], y);
  while (next_slice(&walk, &failed))
    for (int64_t i = 0; i < walk.inner; i++)
      reduce_element(reduction, y, walk.at + i, &call->input[2], walk.position * walk.inner + i);
  return failed;
}

int
EVALUATE(ScatterNDZero)(const actnn_call *call)
{
  const actnn_view *dx = &call->output[0];
  SliceWalk walk = slice_walk(call, "ScatterND", dx, 0);
  Reduction reduction = reduction_named(call->attribute[0].text);
  int failed = 0;
  copy_whole(&call->input[0], dx);
  while (reduction == REPLACE && next_slice(&walk, &failed))
    for (int64_t i = 0; i < walk.inner; i++) ((REAL *)dx->data)[walk.at + i] = 0;
  return failed;
}

/* ---- the k largest ------------------------------------------------------------------------------ */

/* Order of elements a and b of x: the larger (or smaller) first, among equal ones the earlier; NaN counts as
 * largest. */
static bool
comes_before(const actnn_view *x, int64_t a, int64_t b, bool largest)
{
  double p = load_element(x, a), q = load_element(x, b);
  bool p_is_nan = p != p, q_is_nan = q != q;
  if (p_is_nan != q_is_nan) return p_is_nan == largest;
  if (p == q || p_is_nan) return a < b;
  return largest ? p > q : p < q;
}

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
