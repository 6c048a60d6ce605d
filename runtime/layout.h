/* layout.h: tensors as planes of lanes, and changing them between PLAIN and BLOCKED. */
#ifndef ACTNN_LAYOUT_H
#define ACTNN_LAYOUT_H

#include "runtime.h"

/* An image tensor as its kernels walk it: `planes` pieces, each `positions` x `lanes` in memory. A blocked tensor has
 * a plane for each block of channels of each sample; a plain one has a plane of one lane for each channel. */
typedef struct layout_planes {
  int64_t batch, channels, positions; /* logical */
  int64_t blocks;                     /* planes of a sample */
  int lanes;
} layout_planes;

layout_planes layout_of(const actnn *trainer, const actnn_view *view);

/* Lanes of block `block` that are channels; the others are padding and hold zero. */
static inline int
layout_used_lanes(const layout_planes *planes, int64_t block)
{
  int64_t left = planes->channels - block * planes->lanes;
  return left < planes->lanes ? (int)left : planes->lanes;
}

/* Copies [batch, channels, positions] of `element_bytes` (1, 2 or 4) from row-major order into blocks, padding with
 * zero, or back. The two must not overlap. */
void layout_block(void *to, const void *from, const layout_planes *blocked, size_t element_bytes);
void layout_unblock(void *to, const void *from, const layout_planes *blocked, size_t element_bytes);

/* Runs a kernel that only knows PLAIN on plain copies of the blocked operands and results, made in the workspace. While
 * preparing it says how much of that it needs. */
int layout_run_plain(const actnn_call *call, actnn_kernel *kernel);

#endif
