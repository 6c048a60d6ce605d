/* attention_cores.h: what attention on tensor cores is made of, for attention_fused.cu and attention_fused_gradient.cu: rows that a warp has in
 * registers, and those that a block has in shared memory. */
#ifndef ACTNN_CUDA_ATTENTION_CORES_H
#define ACTNN_CUDA_ATTENTION_CORES_H

#include "attention_fused.h"
#include "warp_matrices.h"

enum {
  WIDTH = ATTENTION_FUSED_WIDTH,
  TILE = 16,                 /* rows of a warp */
  EIGHT = 8,                 /* columns of the smallest matrix */
  TILES = WIDTH / TILE,      /* of a row of q, k, v or o */
  EIGHTS = WIDTH / EIGHT,
  WARPS = BLOCK_THREADS / WARP,
  STEP = WIDTH + UNIT,       /* from row to row in shared memory: rows side by side lie in other banks */
  OF_BLOCK = WARPS * TILE,   /* rows, or keys, of a block: each warp has its own */
  MANY = 64                  /* keys, or rows, that go through shared memory at once */
};

#ifdef HAS_TENSOR_CORES

/* ---- memory -------------------------------------------------------------------------------------------------------- */

/* Rows of k, v, q or do into shared memory: MANY of them, of which `there` exist, from `from` on, `apart` elements from each other; of each
 * `given` columns exist. What does not exist is zero. A unit at once: rows begin at whole ones. */
static inline __device__ void
take_rows(bfloat_number *to, const bfloat_number *from, int64_t apart, int64_t there, int64_t given)
{
  typedef Columns<UNIT, uint16_t> Unit;
  UNROLLED
  for (int i = 0; i < MANY * EIGHTS / BLOCK_THREADS; i++) {
    int at = threadIdx.x + i * BLOCK_THREADS, row = at / EIGHTS, column = at % EIGHTS * UNIT;
    Unit unit = {};
    if (row < there && column < given)
      unit = *(const Unit *)(from + row * apart + column);
    *(Unit *)(to + row * STEP + column) = unit;
  }
}

/* The same of rows that lie as columns, so many elements from one element of a row to the next. */
static inline __device__ void
take_columns(bfloat_number *to, const bfloat_number *from, int64_t apart, int64_t there, int64_t given)
{
  for (int at = threadIdx.x; at < MANY * WIDTH; at += BLOCK_THREADS) {
    int row = at % MANY, column = at / MANY;
    to[row * STEP + column] = row < there && column < given ? from[column * apart + row] : bfloat_number();
  }
}

template <bool is_turned>
static inline __device__ void
take_keys(bfloat_number *to, const FusedAttention &of, int64_t head, int64_t first)
{
  const bfloat_number *k = of.k + place_in(of.k_place, head, is_turned ? 0 : first);
  if (is_turned)
    take_columns(to, k + first, of.k_place.row_step, of.rows.all_keys - first, of.inner);
  else
    take_rows(to, k, of.k_place.row_step, of.rows.all_keys - first, of.inner);
}

/* TILE rows as left operands, straight from memory. */
template <bool is_turned>
static inline __device__ void
load_lefts(uint32_t (*left)[4], const bfloat_number *from, int64_t apart, int64_t there, int64_t given)
{
  int group = threadIdx.x % WARP / 4, pair = threadIdx.x % 4;
  UNROLLED
  for (int i = 0; i < 4 * TILES; i++) {
    int row = group + i % 2 * EIGHT, column = i / 4 * TILE + i % 4 / 2 * EIGHT + 2 * pair;
    uint32_t word = 0;
    if (row < there && column < given)
      word = is_turned ? from[column * apart + row].bits | (uint32_t)from[(column + 1) * apart + row].bits << 16
                       : *(const uint32_t *)(from + row * apart + column);
    left[i / 4][i % 4] = word;
  }
}

/* Writes TILE rows of sums, `factor` times those of row group and of row group + 8. */
static inline __device__ void
put_sums(const Floats &to, const Places &places, int64_t head, int64_t first, int64_t there, int64_t given, const float (*sums)[4],
         const float *factor)
{
  int group = threadIdx.x % WARP / 4, pair = threadIdx.x % 4;
  for (int half = 0; half < 2; half++) {
    int row = group + half * EIGHT;
    int64_t begin = place_in(places, head, first + row) + 2 * pair;
    UNROLLED
    for (int i = 0; i < EIGHTS; i++) {
      float one = factor[half] * sums[i][2 * half], other = factor[half] * sums[i][2 * half + 1];
      if (row >= there || i * EIGHT >= given)
        continue;
      if (to.is_bfloat)
        *(uint32_t *)((bfloat_number *)to.data + begin + i * EIGHT) = rounded_pair(one, other);
      else
        *(Columns<2> *)((float *)to.data + begin + i * EIGHT) = Columns<2>{{one, other}};
    }
  }
}

/* ---- products ------------------------------------------------------------------------------------------------------ */

/* sums = left rows', of `Count` rows in shared memory; `tiles` of their columns are not zero. */
template <int Count>
static inline __device__ void
multiply_by_rows(float (*sums)[4], const uint32_t (*left)[4], const bfloat_number *rows, int tiles)
{
  UNROLLED
  for (int i = 0; i < Count / EIGHT; i++)
    for (int k = 0; k < 4; k++)
      sums[i][k] = 0;
  UNROLLED
  for (int tile = 0; tile < TILES; tile++)
    if (tile < tiles) { /* the loop's number is known, for operands to stay in registers */
      UNROLLED
      for (int i = 0; i < Count / TILE; i++) {
        uint32_t right[4];
        load_rights<true>(right, rows + i * TILE * STEP + tile * TILE, STEP);
        multiply_matrices(sums[2 * i], left[tile], right);
        multiply_matrices(sums[2 * i + 1], left[tile], right + 2);
      }
    }
}

/* sums += made rows, of TILE rows in shared memory; made: two neighbouring matrices of sums, to be rounded. */
static inline __device__ void
add_rows(float (*sums)[4], const float (*made)[4], const bfloat_number *rows, int tiles)
{
  uint32_t left[4] = {rounded_pair(made[0][0], made[0][1]), rounded_pair(made[0][2], made[0][3]), rounded_pair(made[1][0], made[1][1]),
                      rounded_pair(made[1][2], made[1][3])};
  UNROLLED
  for (int tile = 0; tile < TILES; tile++)
    if (tile < tiles) {
      uint32_t right[4];
      load_rights<false>(right, rows + tile * TILE, STEP);
      multiply_matrices(sums[2 * tile], left, right);
      multiply_matrices(sums[2 * tile + 1], left, right + 2);
    }
}

/* ---- draws ----------------------------------------------------------------------------------------------------------- */

/* What dropout draws for TILE rows by TILE keys, a row's eight keys of one random block: each lane makes one, and reads of others what its
 * elements want. */
typedef struct DrawnBlocks {
  actnn_philox_block of[2 * TILE];
} DrawnBlocks;

/* element: of all scores, that of the first row and key. */
static inline __device__ void
draw_blocks(DrawnBlocks &room, const FusedAttention &of, const actnn_philox_key &key, int64_t element)
{
  int lane = threadIdx.x % WARP;
  int64_t own = element + lane % TILE * of.rows.all_keys + lane / TILE * EIGHT;
  __syncwarp();
  room.of[lane] = random_block(key, (uint64_t)own / DRAWS);
  __syncwarp();
}

/* Where rows do not begin at whole blocks. */
static inline __device__ float
single_factor(const FusedAttention &of, const actnn_philox_key &key, int64_t element)
{
  actnn_philox_block block = random_block(key, (uint64_t)element / DRAWS);
  return factor_of_draw(of.rows, dropout_draw(&block, (unsigned)(element % DRAWS)));
}

/* Keys and values of a block, MANY at once, and what its warps draw. */
typedef struct alignas(16) KeysRoom {
  bfloat_number k[MANY * STEP], v[MANY * STEP];
  DrawnBlocks drawn[WARPS];
} KeysRoom;

/* Those from `first` on, when all threads have read those before; all find them there. */
template <bool is_turned>
static inline __device__ void
take_block(KeysRoom &room, const FusedAttention &of, int64_t head, int64_t first)
{
  __syncthreads();
  take_keys<is_turned>(room.k, of, head, first);
  take_rows(room.v, of.v + place_in(of.v_place, head, first), of.v_place.row_step, of.rows.all_keys - first, of.columns);
  __syncthreads();
}

/* ---- scores ---------------------------------------------------------------------------------------------------------- */

/* Where the elements of a mask begin that belong to a row. */
static inline __device__ int64_t
mask_of_row(const FusedAttention &of, int64_t head, int row)
{
  int64_t unused;
  return of.rows.allowed || of.rows.added.data ? offset_over(of.rows.lead, head, &unused) + row * of.rows.mask_row : 0;
}

/* A score as the mask leaves it, and whether it blocks it; behind a row's end there are none. */
static inline __device__ float
masked_score(const FusedAttention &of, int row, int64_t mask, int key, float product, bool *is_blocked)
{
  const Rows &rows = of.rows;
  int64_t at = mask + key * rows.mask_column;
  float score = of.scale * product;
  *is_blocked = false;
  if (key >= rows.keys)
    return -INFINITY;
  if (rows.added.data)
    score += rows.added[at];
  *is_blocked = (rows.is_causal && key > row) || (rows.allowed && !rows.allowed[at]);
  return *is_blocked ? rows.never : score;
}

/* No mask has to be looked at from row `row` on and for `keys` keys from `key` on. */
static inline __device__ bool
is_open(const FusedAttention &of, int row, int key, int keys)
{
  return !of.rows.allowed && !of.rows.added.data && key + keys <= of.rows.keys && (!of.rows.is_causal || key + keys - 1 <= row);
}

/* Behind which key rows up to `last` have nothing to read. */
static inline __device__ int
end_of_keys(const FusedAttention &of, int last)
{
  return of.leaves_out && last + 1 < of.rows.keys ? last + 1 : (int)of.rows.keys;
}

/* ---- rows of a warp ---------------------------------------------------------------------------------------------- */

typedef struct RowSeat {
  int warp, group, pair;
  int first, end;   /* the warp's first row, and behind which key its rows have nothing to read */
  int block_end;    /* the same of the block */
  int64_t head, element; /* element: the first of all scores of the first row */
  int64_t mask[2];  /* where the mask has row group and row group + 8 */
} RowSeat;

static inline __device__ RowSeat
take_rows_of_block(const FusedAttention &of)
{
  RowSeat seat;
  int64_t number = (int64_t)blockIdx.x;
  seat.warp = threadIdx.x / WARP;
  seat.group = threadIdx.x % WARP / 4;
  seat.pair = threadIdx.x % 4;
  seat.head = quotient(number, of.row_blocks);
  /* Those of most keys come first. */
  int begin = (int)(of.row_blocks.number - 1 - (number - seat.head * of.row_blocks.number)) * OF_BLOCK;
  seat.first = begin + seat.warp * TILE;
  seat.end = end_of_keys(of, seat.first + TILE - 1);
  seat.block_end = end_of_keys(of, begin + OF_BLOCK - 1);
  seat.element = (seat.head * of.rows.all_rows + seat.first) * of.rows.all_keys;
  for (int half = 0; half < 2; half++) {
    int row = seat.first + seat.group + half * EIGHT;
    seat.mask[half] = mask_of_row(of, seat.head, row < of.rows.all_rows ? row : 0);
  }
  return seat;
}

/* Where lse and row_sum have row group and row group + 8; where these do not exist, another. */
static inline __device__ int64_t
total_of_row(const FusedAttention &of, const RowSeat &seat, int half)
{
  int row = seat.first + seat.group + half * EIGHT;
  return place_in(of.rows.total, seat.head, row < of.rows.all_rows ? row : 0);
}

static inline __device__ float
score_of_row(const FusedAttention &of, const RowSeat &seat, int half, int key, float product, bool *is_blocked)
{
  return masked_score(of, seat.first + seat.group + half * EIGHT, seat.mask[half], key, product, is_blocked);
}

/* What dropout multiplies elements of a warp's rows by: of a pair of matrices of sums, whose keys begin at `first`. */
static inline __device__ void
draw_for_rows(float (*kept)[4], DrawnBlocks &room, const FusedAttention &of, const actnn_philox_key &key, const RowSeat &seat, int first)
{
  bool has_whole_blocks = of.rows.all_keys % DRAWS == 0;
  if (of.rows.is_dropped && has_whole_blocks)
    draw_blocks(room, of, key, seat.element + first);
  UNROLLED
  for (int i = 0; i < 8; i++) {
    int matrix = i / 4, half = i / 2 % 2, next = i % 2;
    float factor = 1;
    if (of.rows.is_dropped && has_whole_blocks)
      factor = factor_of_draw(of.rows, room.of[seat.group + half * EIGHT + matrix * TILE].word[seat.pair] >> (16 * next) & 0xffff);
    else if (of.rows.is_dropped)
      factor = single_factor(of, key, seat.element + (seat.group + half * EIGHT) * of.rows.all_keys + first + matrix * EIGHT + 2 * seat.pair + next);
    kept[matrix][2 * half + next] = factor;
  }
}

#endif

static inline int64_t
blocks_of(const FusedAttention &of, const Divisor &blocks)
{
  return of.rows.all_rows ? of.rows.count / of.rows.all_rows * blocks.number : 0;
}

#endif
