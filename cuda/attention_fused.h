/* attention_fused.h: attention without a score in memory (attention_fused.cu). */
#ifndef ACTNN_CUDA_ATTENTION_FUSED_H
#define ACTNN_CUDA_ATTENTION_FUSED_H

#include "attention_rows.h"

enum { ATTENTION_FUSED_WIDTH = 64 }; /* inner extent and columns, at most */

/* Operands are bfloat16, k turned where it lies [.., inner, keys]; inner and columns are multiples of a unit. */
typedef struct FusedAttention {
  Rows rows; /* of all leading indices, with all keys */
  const bfloat_number *q, *k, *v, *d_o; /* d_o: in backward */
  Floats made, lse, row_sum;            /* made: o; lse: written in forward, and read with row_sum in backward */
  Places q_place, k_place, v_place, o_place;
  int64_t inner, columns;
  int inner_tiles, column_tiles;
  float scale;
  bool leaves_out;                      /* keys above the diagonal */
  Divisor row_blocks, key_blocks;       /* of a leading index */
} FusedAttention;

/* The GPU multiplies bfloat16 so. */
bool gpu_has_tensor_cores(void);
/* What of it the extents say; operands and results are still to be set. */
FusedAttention gpu_fused_attention(const Attention &attention, const Rows &rows);
/* Both: 0, or 1 with a message. Results that are not there are not computed. */
int gpu_attend_fused(const actnn_call *call, const FusedAttention &of, bool is_turned);
int gpu_differentiate_fused(const actnn_call *call, const FusedAttention &of, bool is_turned, Floats dq, Floats dk, Floats dv);

#endif
