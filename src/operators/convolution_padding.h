/* convolution_padding.h: convolutions for a library that knows symmetric padding alone, as much behind an image as before it.
 *
 * With asymmetric padding (SAME with a stride of 2) the library gets a copy of the image, with zeros where it would pad too little. So that
 * copies take little memory, samples then go in pieces. A GPU's kernels decide by this what they copy, and the plan how much room it takes. */
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

/* Elements of a sample of the image that the library gets. */
static inline int64_t
symmetric_elements(const Window *window, const SymmetricWindow *symmetric)
{
  return window->channels * window_volume(symmetric->input);
}

/* In how many pieces the samples go, all of the same number, for a library that counts `most` elements of an image. */
static inline int64_t
convolution_pieces(const Window *window, const SymmetricWindow *symmetric, const actnn_view *result, int64_t most)
{
  int64_t x = symmetric_elements(window, symmetric), y = result->dim[1] * window_volume(window->output), pieces = 1;
  int64_t most_of_x = symmetric->is_padded && most > MOST_PADDED_ELEMENTS ? MOST_PADDED_ELEMENTS : most;
  while (pieces < window->batch &&
         (window->batch % pieces || window->batch / pieces * x > most_of_x || window->batch / pieces * y > most))
    pieces++;
  return pieces;
}

#endif
