/* kernel_views.h: tensors of the evaluator as kernels see them: plain or in blocks, as floats or held as bfloat16, with guard bytes behind. */
#ifndef ACTNN_KERNEL_VIEWS_H
#define ACTNN_KERNEL_VIEWS_H

#include "../../runtime/bfloat.h"
#include "tries.h"

#include <string.h>

enum { GUARD = 64 }; /* bytes behind a view that nobody may write to */

static bool
is_real(actnn_type type)
{
  return type == ACTNN_F32 || type == ACTNN_F64 || type == ACTNN_F16 || type == ACTNN_BF16;
}

static size_t
kernel_bytes(actnn_type type)
{
  return type == ACTNN_BF16 ? 2 : is_real(type) ? 4 : type == ACTNN_BOOL || type == ACTNN_U8 ? 1 : 8;
}

/* The channel block of a view: with channels last, all of its channels. */
static int64_t
own_block(const actnn_view *view, int64_t block)
{
  return block != ACTNN_CHANNELS_LAST ? block : view->dim[1] > 0 ? view->dim[1] : 1;
}

/* Place of row-major element `index` in memory. */
static int64_t
place_of(const actnn_view *view, int64_t block, int64_t index)
{
  if (view->layout == ACTNN_PLAIN) return index;
  block = own_block(view, block);
  int64_t positions = 1, channels = view->dim[1], blocks = (channels + block - 1) / block;
  for (int i = 2; i < view->rank; i++) positions *= view->dim[i];
  int64_t p = index % positions, c = index / positions % channels, n = index / positions / channels;
  return ((n * blocks + c / block) * positions + p) * block + c % block;
}

static int64_t
places(const actnn_view *view, int64_t block)
{
  int64_t count = 1;
  if (view->layout == ACTNN_BLOCKED) block = own_block(view, block);
  for (int i = 0; i < view->rank; i++)
    count *= i == 1 && view->layout == ACTNN_BLOCKED ? (view->dim[1] + block - 1) / block * block : view->dim[i];
  return count;
}

/* A view in memory that ends in guard bytes, all of it filled with 0xFF or, with `tensor`, holding its values. */
static actnn_view
make_view(Arena *arena, const Tensor *tensor, bool is_narrow, bool is_blocked, int64_t block, uint32_t id, bool has_values)
{
  actnn_view view = {.type = is_narrow ? ACTNN_BF16 : tensor->type,
                     .layout = is_blocked ? ACTNN_BLOCKED : ACTNN_PLAIN,
                     .rank = tensor->shape.rank,
                     .dim = tensor->shape.dim,
                     .id = id};
  size_t bytes = (size_t)places(&view, block) * kernel_bytes(view.type);
  int64_t count = 0;
  view.bytes = (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  char *memory = arena_allocate(arena, view.bytes + ACTNN_ALIGNMENT + GUARD);
  view.data = memory + (ACTNN_ALIGNMENT - (uintptr_t)memory % ACTNN_ALIGNMENT) % ACTNN_ALIGNMENT;
  memset(view.data, has_values && is_blocked ? 0 : 0xFF, view.bytes);
  memset((char *)view.data + view.bytes, 0xA5, GUARD);
  shape_elements(&tensor->shape, &count);
  for (int64_t i = 0; has_values && i < count; i++) {
    int64_t at = place_of(&view, block, i);
    if (is_narrow) ((uint16_t *)view.data)[at] = bfloat_rounded((float)((const double *)tensor->data)[i]);
    else if (is_real(view.type)) ((float *)view.data)[at] = (float)((const double *)tensor->data)[i];
    else if (kernel_bytes(view.type) == 1) ((uint8_t *)view.data)[at] = ((const uint8_t *)tensor->data)[i];
    else ((int64_t *)view.data)[at] = ((const int64_t *)tensor->data)[i];
  }
  return view;
}

static double
element_of(actnn_type type, const void *data, int64_t at, bool is_wide)
{
  if (type == ACTNN_BF16 && !is_wide) return (double)bfloat_widened(((const uint16_t *)data)[at]);
  if (is_real(type)) return is_wide ? ((const double *)data)[at] : (double)((const float *)data)[at];
  return kernel_bytes(type) == 1 ? ((const uint8_t *)data)[at] : (double)((const int64_t *)data)[at];
}

#endif
