/* convolution_padding.h: convolutions for a library that knows symmetric padding alone, as much behind an image as before it.
 *
 * With asymmetric padding (SAME with a stride of 2) the library gets a copy of the image, with zeros where it would pad too little. So
 * that copies take little memory, samples then go in pieces. A GPU's kernels decide by this what they copy, and the plan how much room it
 * takes. */
#ifndef ACTNN_CONVOLUTION_PADDING_H
#define ACTNN_CONVOLUTION_PADDING_H

#include "window.h"

/* Of all copies with padding that a call holds at a time, unless a sample has more. */
enum { MOST_PADDED_ELEMENTS = 1 << 24 };

typedef struct SymmetricWindow {
  bool is_padded;              /* the image that the library gets is a copy with zeros around it */
  int64_t input[WINDOW_AXES];  /* its extents */
  int64_t before[WINDOW_AXES]; /* zeros before the image in it */
  int64_t pad[WINDOW_AXES];    /* what the library adds on either side */
} SymmetricWindow;

/* As much padding behind the image as before it makes as many results: what there is more or less of it no window reaches. */
static inline bool
is_symmetric(const Window *window, int axis)
{
  int64_t reach = (window->output[axis] - 1) * window->stride[axis] + (window->kernel[axis] - 1) * window->dilation[axis] + 1;
  int64_t rest = window->input[axis] + 2 * window->begin[axis] - reach;
  return rest >= 0 && rest < window->stride[axis];
}

static inline SymmetricWindow
symmetric_window(const Window *window)
{
  SymmetricWindow symmetric;
  symmetric.is_padded = false;
  for (int axis = 0; axis < WINDOW_AXES; axis++) {
    int64_t begin = window->begin[axis], end = is_symmetric(window, axis) ? begin : window->end[axis];
    symmetric.pad[axis] = begin < end ? begin : end;
    symmetric.before[axis] = begin - symmetric.pad[axis];
    symmetric.input[axis] = window->input[axis] + begin + end - 2 * symmetric.pad[axis];
    symmetric.is_padded = symmetric.is_padded || begin != end;
  }
  return symmetric;
}

/* Elements of a sample of the image that the library gets; INT64_MAX: of more. */
static inline int64_t
symmetric_elements(const Window *window, const SymmetricWindow *symmetric)
{
  int64_t count = window->channels;
  for (int axis = 0; axis < WINDOW_AXES; axis++)
    if (__builtin_mul_overflow(count, symmetric->input[axis], &count))
      return INT64_MAX;
  return count;
}

static inline int64_t
fewer_of(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* How many samples a piece has, the same in all of them, for a library that counts `most` elements of an image. 0: it has no work, or cannot
 * count those of one sample. */
static inline int64_t
convolution_samples(const Window *window, const SymmetricWindow *symmetric, const actnn_view *result, int64_t most)
{
  int64_t x = symmetric_elements(window, symmetric), y = result->dim[1] * window_volume(window->output);
  if (window->batch < 1 || x < 1 || y < 1 || x > most || y > most)
    return 0;
  int64_t samples = fewer_of(window->batch, fewer_of(most / x, most / y));
  if (symmetric->is_padded)
    samples = fewer_of(samples, MOST_PADDED_ELEMENTS / x);
  while (samples > 1 && window->batch % samples)
    samples--;
  return samples > 1 ? samples : 1;
}

#endif
