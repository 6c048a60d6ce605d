/* layout.c: between PLAIN and BLOCKED (actnn.h has the formula).
 *
 * Each plane of a blocked tensor is a small matrix transposed: lanes x positions there, positions x lanes here. */
#include "layout.h"

#include <string.h>

layout_planes
layout_of(const actnn *trainer, const actnn_view *view)
{
  layout_planes planes = {.batch = view->dim[0], .channels = view->rank > 1 ? view->dim[1] : 1, .positions = 1,
                          .lanes = 1};
  for (int i = 2; i < view->rank; i++) planes.positions *= view->dim[i];
  if (view->layout == ACTNN_BLOCKED) planes.lanes = trainer->channel_block;
  if (planes.lanes == ACTNN_CHANNELS_LAST) planes.lanes = planes.channels > 0 ? (int)planes.channels : 1;
  planes.blocks = (planes.channels + planes.lanes - 1) / planes.lanes;
  return planes;
}

/* One plane; `used` lanes have a row of `positions` elements each in `rows`. Written for constant `lanes`. */
#define TRANSPOSE(TYPE) \
  static inline void block_plane_##TYPE(TYPE *to, const TYPE *rows, int64_t positions, int used, int lanes) \
  { \
    if (used == lanes) { \
      for (int64_t p = 0; p < positions; p++) \
        for (int lane = 0; lane < lanes; lane++) to[p * lanes + lane] = rows[lane * positions + p]; \
      return; \
    } \
    for (int64_t p = 0; p < positions; p++) \
      for (int lane = 0; lane < lanes; lane++) to[p * lanes + lane] = lane < used ? rows[lane * positions + p] : 0; \
  } \
  static inline void unblock_plane_##TYPE(TYPE *rows, const TYPE *from, int64_t positions, int used, int lanes) \
  { \
    enum { TILE = 64 }; /* positions at a time, so that they stay in the cache for all lanes */ \
    for (int64_t start = 0; start < positions; start += TILE) { \
      int64_t end = start + TILE < positions ? start + TILE : positions; \
      for (int lane = 0; lane < used; lane++) \
        for (int64_t p = start; p < end; p++) rows[lane * positions + p] = from[p * lanes + lane]; \
    } \
  } \
  static void block_##TYPE(TYPE *to, const TYPE *rows, int64_t positions, int used, int lanes) \
  { \
    if (lanes == 16) block_plane_##TYPE(to, rows, positions, used, 16); \
    else block_plane_##TYPE(to, rows, positions, used, 8); \
  } \
  static void unblock_##TYPE(TYPE *rows, const TYPE *from, int64_t positions, int used, int lanes) \
  { \
    if (lanes == 16) unblock_plane_##TYPE(rows, from, positions, used, 16); \
    else unblock_plane_##TYPE(rows, from, positions, used, 8); \
  }

TRANSPOSE(float)
TRANSPOSE(uint16_t)
TRANSPOSE(uint8_t)

typedef enum direction { TO_BLOCKS, TO_ROWS } direction;

static void
transpose_planes(void *blocked, void *plain, const layout_planes *planes, size_t element_bytes, direction direction)
{
  if (planes->lanes == 1) {
    size_t bytes = (size_t)(planes->batch * planes->channels * planes->positions) * element_bytes;
    memcpy(direction == TO_BLOCKS ? blocked : plain, direction == TO_BLOCKS ? plain : blocked, bytes);
    return;
  }
  int64_t count = planes->batch * planes->blocks;
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < count; plane++) {
    int64_t n = plane / planes->blocks, block = plane % planes->blocks, positions = planes->positions;
    int64_t row = (n * planes->channels + block * planes->lanes) * positions, start = plane * positions * planes->lanes;
    int used = layout_used_lanes(planes, block), lanes = planes->lanes;
    if (element_bytes == 4 && direction == TO_BLOCKS)
      block_float((float *)blocked + start, (const float *)plain + row, positions, used, lanes);
    else if (element_bytes == 4)
      unblock_float((float *)plain + row, (const float *)blocked + start, positions, used, lanes);
    else if (element_bytes == 2 && direction == TO_BLOCKS)
      block_uint16_t((uint16_t *)blocked + start, (const uint16_t *)plain + row, positions, used, lanes);
    else if (element_bytes == 2)
      unblock_uint16_t((uint16_t *)plain + row, (const uint16_t *)blocked + start, positions, used, lanes);
    else if (direction == TO_BLOCKS)
      block_uint8_t((uint8_t *)blocked + start, (const uint8_t *)plain + row, positions, used, lanes);
    else
      unblock_uint8_t((uint8_t *)plain + row, (const uint8_t *)blocked + start, positions, used, lanes);
  }
}

void
layout_block(void *to, const void *from, const layout_planes *blocked, size_t element_bytes)
{
  transpose_planes(to, (void *)(uintptr_t)from, blocked, element_bytes, TO_BLOCKS);
}

void
layout_unblock(void *to, const void *from, const layout_planes *blocked, size_t element_bytes)
{
  transpose_planes((void *)(uintptr_t)from, to, blocked, element_bytes, TO_ROWS);
}

/* 0 for types that no blocked tensor has. */
static size_t
image_element_bytes(actnn_type type)
{
  return type == ACTNN_F32 ? 4 : type == ACTNN_BF16 ? 2 : type == ACTNN_U8 || type == ACTNN_BOOL ? 1 : 0;
}

static int
change_layout(const actnn_call *call, direction direction)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0], *blocked = direction == TO_BLOCKS ? y : x;
  size_t element_bytes = image_element_bytes(x->type);
  if (actnn_is_preparing(call)) {
    if (!element_bytes || x->type != y->type)
      return actnn_fail(call->trainer, "tensor %u: elements of type %d have no blocked layout", x->id, (int)x->type);
    return 0;
  }
  layout_planes planes = layout_of(call->trainer, blocked);
  if (direction == TO_BLOCKS) layout_block(y->data, x->data, &planes, element_bytes);
  else layout_unblock(y->data, x->data, &planes, element_bytes);
  return 0;
}

int
actnn_ToBlocked(const actnn_call *call)
{
  return change_layout(call, TO_BLOCKS);
}

int
actnn_ToPlain(const actnn_call *call)
{
  return change_layout(call, TO_ROWS);
}

/* ---- plain kernels on blocked tensors ------------------------------------------------------------ */

enum { PLAIN_COPIES = 16 };

/* A view like `view` whose data lie in the workspace from *used on, which moves. */
static actnn_view
copy_of(const actnn *trainer, const actnn_view *view, uint64_t *used)
{
  actnn_view copy = *view;
  layout_planes planes = layout_of(trainer, view);
  uint64_t bytes = (uint64_t)(planes.batch * planes.channels * planes.positions) * image_element_bytes(view->type);
  copy.layout = ACTNN_PLAIN;
  if (!trainer->preparing) copy.data = trainer->workspace + *used;
  *used += (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  return copy;
}

static bool
needs_copy(const actnn_view *view)
{
  return view->data && view->layout == ACTNN_BLOCKED;
}

int
layout_run_plain(const actnn_call *call, actnn_kernel *kernel)
{
  actnn *trainer = call->trainer;
  actnn_view input[PLAIN_COPIES], output[PLAIN_COPIES];
  actnn_call plain = *call;
  uint64_t used = 0;
  if (call->input_count > PLAIN_COPIES || call->output_count > PLAIN_COPIES)
    return actnn_fail(trainer, "a kernel has more than %d operands", (int)PLAIN_COPIES);
  for (size_t i = 0; i < call->input_count; i++)
    input[i] = needs_copy(&call->input[i]) ? copy_of(trainer, &call->input[i], &used) : call->input[i];
  for (size_t i = 0; i < call->output_count; i++)
    output[i] = needs_copy(&call->output[i]) ? copy_of(trainer, &call->output[i], &used) : call->output[i];
  if (trainer->preparing) {
    if (trainer->workspace_wanted < used) trainer->workspace_wanted = used;
    return 0;
  }
  if (used > trainer->workspace_bytes)
    return actnn_fail(trainer, "tensor %u: the workspace of %llu bytes is too small, %llu are needed", call->output[0].id,
                      (unsigned long long)trainer->workspace_bytes, (unsigned long long)used);
  for (size_t i = 0; i < call->input_count; i++)
    if (needs_copy(&call->input[i])) {
      layout_planes planes = layout_of(trainer, &call->input[i]);
      layout_unblock(input[i].data, call->input[i].data, &planes, image_element_bytes(input[i].type));
    }
  plain.input = input;
  plain.output = output;
  if (kernel(&plain)) return 1;
  for (size_t i = 0; i < call->output_count; i++)
    if (needs_copy(&call->output[i])) {
      layout_planes planes = layout_of(trainer, &call->output[i]);
      layout_block(call->output[i].data, output[i].data, &planes, image_element_bytes(output[i].type));
    }
  return 0;
}
