/* attention_rows.h: rows of scores, and what masks and dropout make of them, for the files attention*.cu. */
#ifndef ACTNN_CUDA_ATTENTION_ROWS_H
#define ACTNN_CUDA_ATTENTION_ROWS_H

#include "attention.h"
#include "floats.h"
#include "totals.h"

enum { UNIT = ATTENTION_UNIT, DRAWS = 8 /* of one random block */, EXPONENT_OF_ZERO = 104 /* exp(-this) is none in FP32 */ };

/* HeadRows, for kernels. */
typedef struct Places {
  Divisor beside;
  int64_t outer_step, inner_step, row_step;
} Places;

static inline Places
places_of(const HeadRows &rows)
{
  return Places{divisor_of(rows.beside), rows.outer_step, rows.inner_step, rows.row_step};
}

/* Where a row of a leading index begins, in elements. */
static inline __device__ int64_t
place_in(const Places &places, int64_t head, int64_t row)
{
  int64_t outer = quotient(head, places.beside);
  return outer * places.outer_step + (head - outer * places.beside.number) * places.inner_step + row * places.row_step;
}

/* Rows of a tile's scores, what masks them, and what is drawn for them. */
typedef struct Rows {
  Floats scores, made; /* made: what products read */
  int64_t head, row, count; /* the tile's first ones, and all rows in it */
  int64_t head_step, row_step;
  int64_t all_rows, all_keys, keys;
  Divisor rows, units; /* of a leading index in the tile, of a row */
  Places total;        /* lse and row_sum */
  bool is_causal, leaves_out, is_guarded, is_dropped;
  float never;
  const uint8_t *allowed; /* NULL: no mask of bool */
  Floats added;           /* likewise of floats */
  Axes lead;              /* leading axes of the mask, and its steps */
  int64_t mask_row, mask_column;
  gpu_key key;
  uint32_t threshold;
  float kept;             /* what is not dropped is multiplied by this */
} Rows;

/* Where a row is, and what belongs to it. */
typedef struct Place {
  int64_t head, number; /* its leading index, and its number in that */
  int64_t element; /* its first of all scores; */
  int64_t unit, mask; /* its first unit in the tile, its first element of the mask */
  int64_t total;   /* where lse and row_sum have it */
} Place;

static inline __device__ Place
place_of_row(const Rows &rows, int64_t number)
{
  int64_t head = quotient(number, rows.rows), row = number - head * rows.rows.number, unused;
  Place place;
  place.head = rows.head + head;
  place.number = rows.row + row;
  place.element = (place.head * rows.all_rows + place.number) * rows.all_keys;
  place.total = place_in(rows.total, place.head, place.number);
  place.unit = (head * rows.head_step + row * rows.row_step) / UNIT;
  place.mask = offset_over(rows.lead, place.head, &unused) + place.number * rows.mask_row;
  return place;
}

/* A mask's elements that belong to those of a row from `first` on: at once where a unit of them begins there, to which tensors are padded. */
template <typename Whole, typename Each>
static inline __device__ void
read_mask(const Rows &rows, const Place &place, int64_t first, Whole whole, Each each)
{
  int64_t at = place.mask + first * rows.mask_column;
  if (rows.mask_column == 1 && at % UNIT == 0)
    whole(at);
  else
    for (int i = 0; i < UNIT; i++)
      if (first + i < rows.keys)
        each(i, at + i * rows.mask_column);
}

/* Bit i: element `first` + i of a row is blocked. */
static inline __device__ unsigned
blocked_unit(const Rows &rows, const Place &place, int64_t first)
{
  unsigned blocked = 0;
  if (rows.allowed)
    read_mask(rows, place, first, [&](int64_t at) {
      Columns<UNIT, uint8_t> allowed = *(const Columns<UNIT, uint8_t> *)(rows.allowed + at);
      for (int i = 0; i < UNIT; i++)
        blocked |= (unsigned)!allowed.of[i] << i;
    }, [&](int i, int64_t at) { blocked |= (unsigned)!rows.allowed[at] << i; });
  bool is_crossed = rows.is_causal && first + UNIT - 1 > place.number;
  for (int i = 0; i < UNIT && is_crossed; i++)
    blocked |= (unsigned)(first + i > place.number) << i;
  return blocked;
}

/* Scores from element `first` of a row on as the mask leaves them; those behind the row's end are none. */
static inline __device__ Columns<UNIT>
masked_unit(const Rows &rows, const Place &place, int64_t first, unsigned blocked, const Columns<UNIT> &given)
{
  Columns<UNIT> score = given;
  if (rows.added.data)
    read_mask(rows, place, first, [&](int64_t at) {
      Columns<UNIT> added = load_columns<UNIT>(rows.added, at / UNIT);
      for (int i = 0; i < UNIT; i++)
        score.of[i] += added.of[i];
    }, [&](int i, int64_t at) { score.of[i] += rows.added[at]; });
  for (int i = 0; i < UNIT && (blocked || first + UNIT > rows.keys); i++)
    score.of[i] = first + i >= rows.keys ? -INFINITY : blocked >> i & 1 ? rows.never : score.of[i];
  return score;
}

/* What dropout multiplies an element by that has this draw. */
static inline __device__ float
factor_of_draw(const Rows &rows, uint32_t draw)
{
  return draw >= rows.threshold ? rows.kept : 0;
}

/* The same of elements from `first` of all scores on. Indices are known where this is compiled, for draws to stay in
 * registers. */
static inline __device__ Columns<UNIT>
dropout_factors(const Rows &rows, const actnn_philox_key &key, int64_t first)
{
  uint32_t draw[2 * DRAWS];
  Columns<UNIT> factor;
  int64_t number = first / DRAWS;
  unsigned skipped = (unsigned)(first - number * DRAWS);
  actnn_philox_block block = random_block(key, (uint64_t)number);
  for (unsigned i = 0; i < DRAWS; i++)
    draw[i] = dropout_draw(&block, i);
  if (skipped) {
    block = random_block(key, (uint64_t)number + 1);
    for (unsigned i = 0; i < DRAWS; i++)
      draw[DRAWS + i] = dropout_draw(&block, i);
    for (unsigned step = DRAWS / 2; step > 0; step /= 2)
      for (unsigned i = 0; i + step < 2 * DRAWS; i++)
        draw[i] = skipped & step ? draw[i + step] : draw[i];
  }
  for (unsigned i = 0; i < UNIT; i++)
    factor.of[i] = factor_of_draw(rows, draw[i]);
  return factor;
}

/* What makes a row's probabilities of its scores, and the logarithm of its sum. */
typedef struct RowScale {
  float most, factor, lse;
  bool is_lost; /* guarded, and without probabilities: they are zeros */
} RowScale;

/* Of all scores of a row; leaves_out: but for those of keys above the diagonal. Where these would have added something the row is NaN. */
static inline __device__ RowScale
scale_of_row(const Rows &rows, Total total, bool leaves_out)
{
  RowScale scale = {total.most, (float)(1 / total.sum), 0, rows.is_guarded && !(total.sum > 0)};
  if (leaves_out && !(total.most - rows.never >= EXPONENT_OF_ZERO))
    scale.most = NAN;
  scale.lse = scale.is_lost ? NAN : (float)(scale.most + log(total.sum));
  return scale;
}

/* Probabilities, dropped, of the scores in `value`; element: the first of them among all scores. */
static inline __device__ void
make_probabilities(const Rows &rows, const RowScale &scale, const actnn_philox_key &key, int64_t element, Columns<UNIT> *value)
{
  for (int i = 0; i < UNIT; i++)
    value->of[i] = scale.is_lost ? 0 : expf(value->of[i] - scale.most) * scale.factor;
  if (!rows.is_dropped)
    return;
  Columns<UNIT> kept = dropout_factors(rows, key, element);
  for (int i = 0; i < UNIT; i++)
    value->of[i] *= kept.of[i];
}

/* Of a score probability and, but for its scale, gradient: `score` becomes what dropout leaves of it, `slope` was the gradient of that. kept: what
 * dropout multiplies by; lse and mean: the row's logarithm of a sum, and its sum of gradients by probabilities. */
static inline __device__ void
differentiate_score(const Rows &rows, float kept, bool is_blocked, float lse, float mean, float *score, float *slope)
{
  float p = rows.is_guarded && isnan(lse) ? 0 : expf(*score - lse);
  *slope = is_blocked ? 0 : p * ((kept != 0 ? *slope * kept : 0) - mean);
  *score = p * kept;
}

/* The same of scores in `value` and gradients in `slope`, the first of which is number `element` of all. */
static inline __device__ void
differentiate_unit(const Rows &rows, const actnn_philox_key &key, int64_t element, unsigned blocked, float lse, float mean, Columns<UNIT> *value,
                   Columns<UNIT> *slope)
{
  Columns<UNIT> factor;
  if (rows.is_dropped)
    factor = dropout_factors(rows, key, element);
  for (int i = 0; i < UNIT; i++)
    differentiate_score(rows, rows.is_dropped ? factor.of[i] : 1, blocked >> i & 1, lse, mean, &value->of[i], &slope->of[i]);
}

/* The key of this step's draws, where there are any. */
static inline __device__ actnn_philox_key
key_of_rows(const Rows &rows)
{
  return rows.is_dropped ? key_now(rows.key) : actnn_philox_key();
}

#endif
