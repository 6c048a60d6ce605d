/* slicing.h: what ONNX's Slice and Pad mean on one axis, shared by shape rules and evaluation. */
#ifndef ACTNN_SLICING_H
#define ACTNN_SLICING_H

#include <stdint.h>

#include "../../runtime/philox.h" /* ACTNN_DEVICE */

typedef struct SliceRange {
  int64_t first, count, step;
} SliceRange;

/* Clamps as NumPy does; step is not 0. Exporters write INT64_MAX and INT64_MIN for "to the end". */
static inline SliceRange
slice_range(int64_t extent, int64_t start, int64_t end, int64_t step)
{
  const int64_t most = (int64_t)1 << 48;
  if (step > most) step = most;
  if (step < -most) step = -most;
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  int64_t lowest = step > 0 ? 0 : -1, highest = step > 0 ? extent : extent - 1;
  if (start < lowest) start = lowest;
  if (start > highest) start = highest;
  if (end < lowest) end = lowest;
  if (end > highest) end = highest;
  int64_t span = step > 0 ? end - start : start - end, stride = step > 0 ? step : -step;
  SliceRange range = {start, span > 0 ? (span - 1) / stride + 1 : 0, step};
  return range;
}

typedef enum PadMode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP } PadMode;

/* Source of padded position `at`, `begin` elements having been added in front; -1: the constant. */
static inline ACTNN_DEVICE int64_t
pad_source(int64_t at, int64_t begin, int64_t extent, PadMode mode)
{
  int64_t i = at - begin;
  if (i >= 0 && i < extent) return i;
  if (mode == PAD_CONSTANT || extent == 0) return -1;
  if (mode == PAD_EDGE) return i < 0 ? 0 : extent - 1;
  int64_t period = mode == PAD_WRAP ? extent : extent > 1 ? 2 * (extent - 1) : 1;
  i %= period;
  if (i < 0) i += period;
  return i < extent ? i : period - i;
}

/* The next padded position behind `at` whose source is `source`; `padded`, all positions there are: none. */
static inline ACTNN_DEVICE int64_t
pad_next(int64_t at, int64_t source, int64_t begin, int64_t extent, int64_t padded, PadMode mode)
{
  for (at++; at < padded; at++) {
    if (at < begin || at >= begin + extent) {
      if (pad_source(at, begin, extent, mode) == source) return at;
    } else if (at <= begin + source) {
      return begin + source < padded ? begin + source : padded;
    } else {
      at = begin + extent - 1; /* among those that were there before each is its own source alone */
    }
  }
  return padded;
}

#endif
