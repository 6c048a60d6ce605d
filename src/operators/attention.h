/* attention.h: what a call of Attention or AttentionGrad asks for, read once for plain loops and kernels. */
#ifndef ACTNN_ATTENTION_H
#define ACTNN_ATTENTION_H

#include "random_draws.h"

/* Where the matrix of a leading index lies: `beside` of these have their rows side by side, as where a product has made all of them. Steps
 * are elements. */
typedef struct HeadRows {
  int64_t beside, outer_step, inner_step; /* 1, and no inner step: matrices follow one another */
  int64_t row_step;
} HeadRows;

/* Of every one of `heads` leading indices: q [rows, inner], k [inner, keys] or with transposes_k [keys, inner], v [keys, columns]. */
typedef struct Attention {
  int64_t heads, rows, keys, inner, columns;
  HeadRows q, k, v, o, lse; /* lse: also of row_sum */
  int64_t beside;           /* of all operands that have several leading indices side by side; 1: none has */
  bool transposes_k, is_causal, is_guarded;
  double scale, never;
  const actnn_view *mask; /* NULL: none */
  int lead_rank;          /* of the leading axes, over which the mask may be broadcast */
  int64_t lead[ACTNN_MAX_RANK];
  int64_t mask_lead[ACTNN_MAX_RANK], mask_row, mask_column; /* steps in elements, 0 where it is broadcast */
  DropoutRule dropout;
} Attention;

/* The last attributes of both operators, behind Dropout's; random_id comes last. */
enum {
  ATTENTION_TRANSB = 2,
  ATTENTION_SCALE,
  ATTENTION_NEVER,
  ATTENTION_CAUSAL,
  ATTENTION_GUARDED,
  ATTENTION_INSIDE_Q,
  ATTENTION_INSIDE_K,
  ATTENTION_INSIDE_V,
  ATTENTION_INSIDE_O
};

/* An attribute that says how many of an operand's leading axes are inside of rows. Of a program's text shape rules may not have seen it: what
 * cannot be is none. */
static inline int
attention_inside(int64_t given, int rank)
{
  return given > 0 && given <= rank - 2 ? (int)given : 0;
}

/* Which axis of an operand has what is axis `axis` of [.., rows, columns], where of `rank` axes the last `inside` leading ones lie between
 * rows and columns. */
static inline int
attention_axis(int rank, int inside, int axis)
{
  int rows = rank - 2 - inside;
  return axis == rank - 2 ? rows : axis >= rows && axis < rank - 2 ? axis + 1 : axis;
}

/* How a matrix of `rows` rows lies whose leading indices are `lead`, the last `inside` axes of them inside of a row. */
static inline HeadRows
head_rows(const int64_t *lead, int lead_rank, int inside, int64_t rows, int64_t columns)
{
  HeadRows made = {1, 0, 0, 0};
  for (int i = lead_rank - inside; i < lead_rank; i++) made.beside *= lead[i];
  made.row_step = made.beside * columns;
  made.outer_step = rows * made.row_step;
  made.inner_step = made.beside > 1 ? columns : 0;
  return made;
}

/* Where the matrix of a leading index begins, in elements. */
static inline ACTNN_DEVICE int64_t
head_start(const HeadRows *rows, int64_t head)
{
  return head / rows->beside * rows->outer_step + head % rows->beside * rows->inner_step;
}

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

/* Of a call with q, k and v from operand `q` on, and maybe a mask. */
static inline Attention
attention_of(const actnn_call *call, size_t q, size_t mask)
{
  const actnn_view *rows = &call->input[q], *keys = &call->input[q + 1], *values = &call->input[q + 2];
  const actnn_attribute *with = call->attribute;
  Attention attention;
  memset(&attention, 0, sizeof attention);
  int rank = rows->rank, leads = rank - 2, inside[4];
  for (int i = 0; i < 4; i++) inside[i] = attention_inside(with[ATTENTION_INSIDE_Q + i].i, rank);
  attention.heads = 1;
  for (int i = 0; i < leads; i++) {
    attention.lead[i] = rows->dim[attention_axis(rank, inside[0], i)];
    attention.heads *= attention.lead[i];
  }
  attention.rows = rows->dim[attention_axis(rank, inside[0], leads)];
  attention.inner = rows->dim[rank - 1];
  attention.keys = values->dim[attention_axis(rank, inside[2], leads)];
  attention.columns = values->dim[rank - 1];
  attention.lead_rank = leads;
  attention.transposes_k = with[ATTENTION_TRANSB].i != 0;
  attention.q = head_rows(attention.lead, leads, inside[0], attention.rows, attention.inner);
  attention.k = head_rows(attention.lead, leads, inside[1], keys->dim[attention_axis(rank, inside[1], leads)], keys->dim[rank - 1]);
  attention.v = head_rows(attention.lead, leads, inside[2], attention.keys, attention.columns);
  attention.o = head_rows(attention.lead, leads, inside[3], attention.rows, attention.columns);
  attention.lse = head_rows(attention.lead, leads, inside[3], attention.rows, 1);
  const HeadRows *all[] = {&attention.q, &attention.k, &attention.v, &attention.o};
  attention.beside = 1;
  for (int i = 0; i < 4; i++) attention.beside = all[i]->beside > attention.beside ? all[i]->beside : attention.beside;
  attention.scale = with[ATTENTION_SCALE].f;
  attention.never = with[ATTENTION_NEVER].f;
  attention.is_causal = with[ATTENTION_CAUSAL].i != 0;
  attention.is_guarded = with[ATTENTION_GUARDED].i != 0;
  attention.dropout = dropout_rule(call);
  attention.mask = optional_input(call, mask);
  if (!attention.mask) return attention;
  attention.mask_column = attention_mask_step(attention.mask, 0);
  attention.mask_row = attention_mask_step(attention.mask, 1);
  for (int i = 0; i < leads; i++) attention.mask_lead[i] = attention_mask_step(attention.mask, rank - 1 - i);
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
