/* attention.h: what a call of Attention or AttentionGrad asks for, read once for plain loops and kernels. */
#ifndef ACTNN_ATTENTION_H
#define ACTNN_ATTENTION_H

#include "random_draws.h"

/* Of every one of `heads` leading indices: q [rows, inner], k [inner, keys] or with transposes_k [keys, inner], v [keys, columns]. */
typedef struct Attention {
  int64_t heads, rows, keys, inner, columns;
  bool transposes_k, is_causal, is_guarded;
  double scale, never;
  const actnn_view *mask; /* NULL: none */
  int lead_rank;          /* of the leading axes, over which the mask may be broadcast */
  const int64_t *lead;
  int64_t mask_lead[ACTNN_MAX_RANK], mask_row, mask_column; /* steps in elements, 0 where it is broadcast */
  DropoutRule dropout;
} Attention;

/* The last attributes of both operators: transB, scale, never, causal, guarded, random_id; behind Dropout's. */
enum { ATTENTION_TRANSB = 2, ATTENTION_SCALE, ATTENTION_NEVER, ATTENTION_CAUSAL, ATTENTION_GUARDED };

/* Of a mask's axis `axis` counted from the last of `rank`, the step over its own elements. */
static inline int64_t
attention_mask_step(const actnn_view *mask, int from_last)
{
  int own = mask->rank - 1 - from_last;
  int64_t step = 1;
  if (own < 0 || mask->dim[own] == 1) return 0;
  for (int i = own + 1; i < mask->rank; i++) step *= mask->dim[i];
  return step;
}

static inline Attention
attention_of(const actnn_call *call, const actnn_view *q, const actnn_view *v, const actnn_view *mask)
{
  Attention attention;
  memset(&attention, 0, sizeof attention);
  int rank = q->rank;
  attention.heads = 1;
  for (int i = 0; i < rank - 2; i++) attention.heads *= q->dim[i];
  attention.rows = q->dim[rank - 2];
  attention.inner = q->dim[rank - 1];
  attention.keys = v->dim[rank - 2];
  attention.columns = v->dim[rank - 1];
  attention.transposes_k = call->attribute[ATTENTION_TRANSB].i != 0;
  attention.scale = call->attribute[ATTENTION_SCALE].f;
  attention.never = call->attribute[ATTENTION_NEVER].f;
  attention.is_causal = call->attribute[ATTENTION_CAUSAL].i != 0;
  attention.is_guarded = call->attribute[ATTENTION_GUARDED].i != 0;
  attention.dropout = dropout_rule(call);
  attention.lead_rank = rank - 2;
  attention.lead = q->dim;
  attention.mask = mask;
  if (!mask) return attention;
  attention.mask_column = attention_mask_step(mask, 0);
  attention.mask_row = attention_mask_step(mask, 1);
  for (int i = 0; i < rank - 2; i++) attention.mask_lead[i] = attention_mask_step(mask, rank - 1 - i);
  return attention;
}

/* Where the mask of one leading index begins, in elements. */
static inline ACTNN_DEVICE int64_t
attention_mask_start(const Attention *attention, int64_t head)
{
  int64_t start = 0;
  for (int i = attention->lead_rank - 1; i >= 0; i--) {
    start += head % attention->lead[i] * attention->mask_lead[i];
    head /= attention->lead[i];
  }
  return start;
}

/* Which leading indices share the elements of a mask: as many as there are `sharers` each of its `parts`. */
typedef struct MaskSharing {
  int64_t parts, sharers;
  int rank;
  int64_t lead[ACTNN_MAX_RANK];
  bool is_shared[ACTNN_MAX_RANK]; /* by leading axis: the mask is broadcast over it */
} MaskSharing;

static inline MaskSharing
attention_sharing(const Attention *attention)
{
  MaskSharing sharing;
  memset(&sharing, 0, sizeof sharing);
  sharing.parts = sharing.sharers = 1;
  sharing.rank = attention->lead_rank;
  for (int i = 0; i < sharing.rank; i++) {
    sharing.lead[i] = attention->lead[i];
    sharing.is_shared[i] = !attention->mask_lead[i];
    *(sharing.is_shared[i] ? &sharing.sharers : &sharing.parts) *= sharing.lead[i];
  }
  return sharing;
}

/* The leading index of that number among those that share a part. */
static inline ACTNN_DEVICE int64_t
attention_sharer(const MaskSharing *sharing, int64_t part, int64_t number)
{
  int64_t head = 0, step = 1;
  for (int i = sharing->rank - 1; i >= 0; i--) {
    int64_t *rest = sharing->is_shared[i] ? &number : &part;
    head += *rest % sharing->lead[i] * step;
    *rest /= sharing->lead[i];
    step *= sharing->lead[i];
  }
  return head;
}

#endif
