/* attention.c: attention and its gradient by their definition. */
#include "attention.h"

actnn_kernel EVALUATE(Attention), EVALUATE(AttentionGrad);

/* One leading index of the operands. */
typedef struct Head {
  const Attention *attention;
  const REAL *q, *k, *v;
  int64_t number, mask_start;
  actnn_philox_key key;
} Head;

static Head
head_of(const Attention *attention, const actnn_call *call, size_t q, int64_t number)
{
  return (Head){.attention = attention,
                .q = (const REAL *)call->input[q].data + head_start(&attention->q, number),
                .k = (const REAL *)call->input[q + 1].data + head_start(&attention->k, number),
                .v = (const REAL *)call->input[q + 2].data + head_start(&attention->v, number),
                .number = number,
                .mask_start = attention->mask ? attention_mask_start(attention, number) : 0,
                .key = random_key_of(call, USE_DROPOUT)};
}

static int64_t
key_place(const Attention *attention, int64_t key, int64_t i)
{
  return attention->transposes_k ? key * attention->k.row_step + i : i * attention->k.row_step + key;
}

/* The score of a row and a key; *is_blocked: it does not depend on them. */
static double
score(const Head *head, int64_t row, int64_t key, bool *is_blocked)
{
  const Attention *attention = head->attention;
  double sum = 0, added = 0;
  *is_blocked = attention->is_causal && key > row;
  if (attention->mask) {
    added = load_element(attention->mask, head->mask_start + row * attention->mask_row + key * attention->mask_column);
    if (!is_floating(attention->mask->type)) {
      *is_blocked |= added == 0;
      added = 0;
    }
  }
  if (*is_blocked) return attention->never;
  for (int64_t i = 0; i < attention->inner; i++)
    sum += (double)head->q[row * attention->q.row_step + i] * (double)head->k[key_place(attention, key, i)];
  return attention->scale * sum + added;
}

/* What dropout multiplies a probability by; what it drops is zero, whatever it was. */
static double
dropout_factor(const Head *head, int64_t row, int64_t key)
{
  const Attention *attention = head->attention;
  if (!attention->dropout.is_active) return 1;
  uint64_t element = (uint64_t)((head->number * attention->rows + row) * attention->keys + key);
  actnn_philox_block block = random_block(head->key, element / 8);
  return dropout_draw(&block, (unsigned)(element % 8)) >= attention->dropout.threshold ? attention->dropout.scale : 0;
}

/* log(sum(exp(score))) of a row without overflow; of a guarded one that has no probabilities NaN. */
static double
log_sum(const Head *head, int64_t row)
{
  bool is_blocked;
  double most = -INFINITY, sum = 0;
  for (int64_t key = 0; key < head->attention->keys; key++) {
    double s = score(head, row, key, &is_blocked);
    if (s > most) most = s;
  }
  if (isinf(most)) return head->attention->is_guarded ? NAN : most;
  for (int64_t key = 0; key < head->attention->keys; key++) sum += exp(score(head, row, key, &is_blocked) - most);
  return most + log(sum);
}

static bool
is_lost(const Head *head, double total)
{
  return head->attention->is_guarded && isnan(total);
}

/* What is blocked and has no probability adds nothing, whatever stands there. */
static void
make_row(const Head *head, int64_t row, double total, REAL *o)
{
  int64_t columns = head->attention->columns;
  for (int64_t i = 0; i < columns; i++) o[i] = 0;
  if (is_lost(head, total)) return;
  for (int64_t key = 0; key < head->attention->keys; key++) {
    bool is_blocked;
    double p = exp(score(head, row, key, &is_blocked) - total);
    if (is_blocked && p == 0) continue;
    double factor = dropout_factor(head, row, key);
    p = factor != 0 ? p * factor : 0;
    for (int64_t i = 0; i < columns; i++) o[i] += (REAL)(p * (double)head->v[key * head->attention->v.row_step + i]);
  }
}

int
EVALUATE(Attention)(const actnn_call *call)
{
  Attention attention = attention_of(call, 0, 3);
  for (int64_t number = 0; number < attention.heads; number++) {
    Head head = head_of(&attention, call, 0, number);
    REAL *o = (REAL *)call->output[0].data + head_start(&attention.o, number);
    REAL *lse = (REAL *)call->output[1].data + head_start(&attention.lse, number);
    for (int64_t row = 0; row < attention.rows; row++) {
      double total = log_sum(&head, row);
      make_row(&head, row, total, o + row * attention.o.row_step);
      lse[row * attention.lse.row_step] = (REAL)total;
    }
  }
  return 0;
}

typedef struct HeadGradient {
  Head head;
  const REAL *d_o, *row_sum, *lse;
  REAL *dq, *dk, *dv, *d_mask; /* NULL: not wanted; d_mask: the whole of it */
} HeadGradient;

/* Zeroes a result; NULL where nobody wants it. */
static REAL *
begin_gradient(const actnn_call *call, size_t result)
{
  const actnn_view *view = optional_output(call, result);
  if (view) memset(view->data, 0, (size_t)element_count(view) * sizeof(REAL));
  return view ? (REAL *)view->data : NULL;
}

static REAL *
gradient_of_head(REAL *gradient, const HeadRows *rows, int64_t number)
{
  return gradient ? gradient + head_start(rows, number) : NULL;
}

/* What one row and one key add. */
static void
add_pair(const HeadGradient *gradient, int64_t row, int64_t key)
{
  const Head *head = &gradient->head;
  const Attention *attention = head->attention;
  int64_t at_q = row * attention->q.row_step, at_v = key * attention->v.row_step, at_row = row * attention->lse.row_step;
  const REAL *d_o = gradient->d_o + row * attention->o.row_step;
  bool is_blocked;
  double p = exp(score(head, row, key, &is_blocked) - (double)gradient->lse[at_row]), factor = dropout_factor(head, row, key), dp = 0;
  if (is_blocked && p == 0) return;
  double kept = factor != 0 ? p * factor : 0;
  for (int64_t i = 0; i < attention->columns; i++) {
    dp += (double)d_o[i] * (double)head->v[at_v + i];
    if (gradient->dv) gradient->dv[at_v + i] += (REAL)(kept * (double)d_o[i]);
  }
  if (is_blocked) return;
  double ds = p * ((factor != 0 ? dp * factor : 0) - (double)gradient->row_sum[at_row]);
  if (gradient->d_mask) gradient->d_mask[head->mask_start + row * attention->mask_row + key * attention->mask_column] += (REAL)ds;
  ds *= attention->scale;
  for (int64_t i = 0; i < attention->inner; i++) {
    if (gradient->dq) gradient->dq[at_q + i] += (REAL)(ds * (double)head->k[key_place(attention, key, i)]);
    if (gradient->dk) gradient->dk[key_place(attention, key, i)] += (REAL)(ds * (double)head->q[at_q + i]);
  }
}

int
EVALUATE(AttentionGrad)(const actnn_call *call)
{
  Attention attention = attention_of(call, 1, 6);
  REAL *dq = begin_gradient(call, 0), *dk = begin_gradient(call, 1), *dv = begin_gradient(call, 2), *d_mask = begin_gradient(call, 3);
  for (int64_t number = 0; number < attention.heads; number++) {
    HeadGradient gradient = {.head = head_of(&attention, call, 1, number),
                             .d_o = (const REAL *)call->input[0].data + head_start(&attention.o, number),
                             .row_sum = (const REAL *)call->input[4].data + head_start(&attention.lse, number),
                             .lse = (const REAL *)call->input[5].data + head_start(&attention.lse, number),
                             .dq = gradient_of_head(dq, &attention.q, number),
                             .dk = gradient_of_head(dk, &attention.k, number),
                             .dv = gradient_of_head(dv, &attention.v, number),
                             .d_mask = d_mask};
    for (int64_t row = 0; row < attention.rows; row++) {
      bool has_nothing = is_lost(&gradient.head, (double)gradient.lse[row * attention.lse.row_step]);
      for (int64_t key = 0; key < attention.keys && !has_nothing; key++) add_pair(&gradient, row, key);
    }
  }
  return 0;
}
