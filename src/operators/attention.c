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
  int64_t keys = attention->keys, inner = attention->inner;
  return (Head){.attention = attention,
                .q = (const REAL *)call->input[q].data + number * attention->rows * inner,
                .k = (const REAL *)call->input[q + 1].data + number * keys * inner,
                .v = (const REAL *)call->input[q + 2].data + number * keys * attention->columns,
                .number = number,
                .mask_start = attention->mask ? attention_mask_start(attention, number) : 0,
                .key = random_key_of(call, USE_DROPOUT)};
}

static int64_t
key_place(const Attention *attention, int64_t key, int64_t i)
{
  return attention->transposes_k ? key * attention->inner + i : i * attention->keys + key;
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
    sum += (double)head->q[row * attention->inner + i] * (double)head->k[key_place(attention, key, i)];
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
    for (int64_t i = 0; i < columns; i++) o[i] += (REAL)(p * (double)head->v[key * columns + i]);
  }
}

int
EVALUATE(Attention)(const actnn_call *call)
{
  Attention attention = attention_of(call, &call->input[0], &call->input[2], optional_input(call, 3));
  for (int64_t number = 0; number < attention.heads; number++) {
    Head head = head_of(&attention, call, 0, number);
    for (int64_t row = 0, at = number * attention.rows; row < attention.rows; row++, at++) {
      double total = log_sum(&head, row);
      make_row(&head, row, total, (REAL *)call->output[0].data + at * attention.columns);
      ((REAL *)call->output[1].data)[at] = (REAL)total;
    }
  }
  return 0;
}

typedef struct HeadGradient {
  Head head;
  const REAL *d_o, *row_sum, *lse;
  REAL *dq, *dk, *dv, *d_mask; /* NULL: not wanted; d_mask: the whole of it */
} HeadGradient;

/* Where one leading index of a result begins, zeroed; NULL where nobody wants it. */
static REAL *
place_of_gradient(const actnn_call *call, size_t result, int64_t number, int64_t elements)
{
  const actnn_view *view = optional_output(call, result);
  if (!view) return NULL;
  REAL *place = (REAL *)view->data + number * elements;
  memset(place, 0, (size_t)elements * sizeof *place);
  return place;
}

/* What one row and one key add. */
static void
add_pair(const HeadGradient *gradient, int64_t row, int64_t key)
{
  const Head *head = &gradient->head;
  const Attention *attention = head->attention;
  int64_t inner = attention->inner, columns = attention->columns;
  const REAL *d_o = gradient->d_o + row * columns;
  bool is_blocked;
  double p = exp(score(head, row, key, &is_blocked) - (double)gradient->lse[row]), factor = dropout_factor(head, row, key), dp = 0;
  if (is_blocked && p == 0) return;
  double kept = factor != 0 ? p * factor : 0;
  for (int64_t i = 0; i < columns; i++) {
    dp += (double)d_o[i] * (double)head->v[key * columns + i];
    if (gradient->dv) gradient->dv[key * columns + i] += (REAL)(kept * (double)d_o[i]);
  }
  if (is_blocked) return;
  double ds = p * ((factor != 0 ? dp * factor : 0) - (double)gradient->row_sum[row]);
  if (gradient->d_mask) gradient->d_mask[head->mask_start + row * attention->mask_row + key * attention->mask_column] += (REAL)ds;
  ds *= attention->scale;
  for (int64_t i = 0; i < inner; i++) {
    if (gradient->dq) gradient->dq[row * inner + i] += (REAL)(ds * (double)head->k[key_place(attention, key, i)]);
    if (gradient->dk) gradient->dk[key_place(attention, key, i)] += (REAL)(ds * (double)head->q[row * inner + i]);
  }
}

int
EVALUATE(AttentionGrad)(const actnn_call *call)
{
  Attention attention = attention_of(call, &call->input[1], &call->input[3], optional_input(call, 6));
  int64_t rows = attention.rows, keys = attention.keys, inner = attention.inner, columns = attention.columns;
  const actnn_view *mask = optional_output(call, 3);
  REAL *d_mask = mask ? place_of_gradient(call, 3, 0, element_count(mask)) : NULL;
  for (int64_t number = 0; number < attention.heads; number++) {
    HeadGradient gradient = {.head = head_of(&attention, call, 1, number),
                             .d_o = (const REAL *)call->input[0].data + number * rows * columns,
                             .row_sum = (const REAL *)call->input[4].data + number * rows,
                             .lse = (const REAL *)call->input[5].data + number * rows,
                             .dq = place_of_gradient(call, 0, number, rows * inner),
                             .dk = place_of_gradient(call, 1, number, keys * inner),
                             .dv = place_of_gradient(call, 2, number, keys * columns),
                             .d_mask = d_mask};
    for (int64_t row = 0; row < rows; row++)
      for (int64_t key = 0; key < keys && !is_lost(&gradient.head, (double)gradient.lse[row]); key++) add_pair(&gradient, row, key);
  }
  return 0;
}
