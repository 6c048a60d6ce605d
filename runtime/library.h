/* library.h: convolutions and matrix products by oneDNN.
 *
 * While a trainer prepares, kernels describe what they will compute and get a primitive, kept in the slot of the tensor
 * that it writes (trainer->primitive); a step runs it. Nothing is allocated in a step: scratch and operands that the
 * library wants in another order lie in the trainer's workspace. Only files named library*.c know oneDNN. */
#ifndef ACTNN_LIBRARY_H
#define ACTNN_LIBRARY_H

#include "../src/operators/window.h"
#include "runtime.h"

enum { LIBRARY_OPERANDS = 4 };

typedef enum library_direction {
  LIBRARY_OUTPUT,          /* y from x, w and b */
  LIBRARY_INPUT_GRADIENT,  /* dx from dy and w */
  LIBRARY_WEIGHT_GRADIENT, /* dw from dy and x */
} library_direction;

/* x [N, C, ...], w [filters, C / groups, ...] (row-major, also when grouped), y [N, filters, ...]. */
typedef struct library_convolution {
  library_direction direction;
  Window window;
  int64_t groups, filters;
  bool has_bias;                 /* LIBRARY_OUTPUT only */
  int input_lanes, output_lanes; /* 1 (row-major), 8 or 16 (blocked) */
  bool x_is_narrow, y_is_narrow; /* held as bfloat16; where either is, the arithmetic's operands are, and sums are FP32 */
} library_convolution;

/* A stack of matrices, steps in elements; a batch step of 0 is a broadcast. */
typedef struct library_matrix {
  int64_t batch[ACTNN_MAX_RANK], row, column;
  bool is_narrow; /* held as bfloat16; where any of a product is, its operands are, and sums are FP32 */
} library_matrix;

/* y [rows, columns] = a [rows, inner] . b [inner, columns] + bias [columns] for every batch index. */
typedef struct library_product {
  int batch_rank;
  int64_t batch[ACTNN_MAX_RANK], rows, inner, columns;
  library_matrix a, b, y; /* y's columns lie next to each other */
  bool has_bias, adds;    /* adds: y += a . b */
} library_product;

/* Make the primitive that writes tensor `id`, and raise trainer->workspace_wanted to what it needs. True on success;
 * false when the library has nothing (fast) for it: then the slot stays empty and plain loops do it. */
bool library_make_convolution(actnn *trainer, uint32_t id, const library_convolution *convolution);
bool library_make_product(actnn *trainer, uint32_t id, const library_product *product);

/* y [rows, columns] = factor * op(a) [rows, inner] . op(b) [inner, columns], or y += that, in FP32, for kernels that make a product of tiles at
 * a time: by the thread that calls it alone, where it is one of a team. */
typedef struct library_tile {
  const float *a, *b;
  float *y;
  bool transposes_a, transposes_b, adds;
  int64_t rows, columns, inner, a_row, b_row, y_row; /* a_row, b_row: between rows as they lie in memory */
  float factor;
} library_tile;
bool library_multiply(const library_tile *tile);

/* True when tensor `id` has a primitive. */
bool library_has(const actnn *trainer, uint32_t id);
/* Runs it on operands x, w, y, b of a convolution, a, b, y, bias of a product (those of the gradient likewise). 0, or 1
 * with a message. */
int library_run(actnn *trainer, uint32_t id, void *const operand[LIBRARY_OPERANDS]);
/* True when that primitive takes operands held as bfloat16. */
bool library_takes_bfloat(const actnn *trainer, uint32_t id);
/* What oneDNN calls the implementation in the slot of `id`; "" if there is none. */
const char *library_implementation(const actnn *trainer, uint32_t id);

/* Frees all primitives of the trainer. */
void library_destroy(actnn *trainer);

#endif
