/* attention_cores.h: what attention on tensor cores is made of, for attention_fused.cu and attention_fused_gradient.cu: tiles in shared memory,
 * their products, and the rows that a warp has of its own. */
#ifndef ACTNN_CUDA_ATTENTION_CORES_H
#define ACTNN_CUDA_ATTENTION_CORES_H

#include "attention_fused.h"

#include <cuda_bf16.h>
#include <mma.h>

using namespace nvcuda;

enum {
  WIDTH = ATTENTION_FUSED_WIDTH,
  TILE = 16,                       /* rows and columns of what tensor cores multiply */
  TILES = WIDTH / TILE,            /* of a row of q, k, v or o */
  WARPS = BLOCK_THREADS / WARP,
  STEP = WIDTH + UNIT,             /* from row to row in shared memory: the next one lies in other banks */
  BLOCK_ROWS = WARPS * TILE,       /* of scores, where each warp has rows of its own */
  FEW = 32,                        /* keys then at a time */
  FEW_STEP = FEW + 4,              /* floats from a row of their scores to the next */
  FEW_TURNED = FEW + UNIT,         /* elements from row to row, where k lies [inner, keys] */
  KEYS_OF_BLOCK = 64               /* of scores, where each block has keys of its own */
};

/* Tensor cores know bfloat16 from compute capability 8.0 on. Before, kernels are empty and nobody launches them (gpu_has_tensor_cores). */
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define HAS_TENSOR_CORES

typedef wmma::fragment<wmma::accumulator, TILE, TILE, TILE, float> Accumulator;
typedef wmma::fragment<wmma::matrix_a, TILE, TILE, TILE, __nv_bfloat16, wmma::row_major> Left;
typedef wmma::fragment<wmma::matrix_a, TILE, TILE, TILE, __nv_bfloat16, wmma::col_major> LeftTurned;
typedef wmma::fragment<wmma::matrix_b, TILE, TILE, TILE, __nv_bfloat16, wmma::row_major> Right;
typedef wmma::fragment<wmma::matrix_b, TILE, TILE, TILE, __nv_bfloat16, wmma::col_major> RightTurned;

static inline __device__ const __nv_bfloat16 *
numbers(const bfloat_number *memory)
{
  return (const __nv_bfloat16 *)memory;
}

/* ---- shared memory ------------------------------------------------------------------------------------------------ */

/* Rows of `step` elements in shared memory from those of `width` elements that begin at `from`: `rows` of them, of which `there` exist, and
 * of each `columns`, of which `given` exist. What does not is zero. By `threads` threads, of which this is number `thread`; a unit at once
 * where rows have whole ones. */
static inline __device__ void
take_rows(bfloat_number *to, int step, const bfloat_number *from, int64_t width, int rows, int64_t there, int columns, int64_t given, int thread,
          int threads)
{
  typedef Columns<UNIT, uint16_t> Unit;
  bool has_units = width % UNIT == 0;
  for (int at = thread; at < rows * (columns / UNIT); at += threads) {
    int row = at / (columns / UNIT), column = at % (columns / UNIT) * UNIT;
    Unit unit = {};
    const bfloat_number *place = from + row * width + column;
    if (row < there && column < given && has_units)
      unit = *(const Unit *)place;
    for (int i = 0; i < UNIT && !has_units; i++)
      if (row < there && column + i < given)
        unit.of[i] = place[i].bits;
    *(Unit *)(to + row * step + column) = unit;
  }
}

/* Of k, `count` keys from `first` on. Turned it lies [inner, keys], and so here, too. */
template <bool is_turned>
static inline __device__ void
take_keys(bfloat_number *to, int turned_step, const FusedAttention &of, int64_t head, int64_t first, int count)
{
  const bfloat_number *k = of.k + head * of.rows.all_keys * of.inner;
  if (is_turned)
    take_rows(to, turned_step, k + first, of.rows.all_keys, WIDTH, of.inner, count, of.rows.all_keys - first, threadIdx.x, BLOCK_THREADS);
  else
    take_rows(to, STEP, k + first * of.inner, of.inner, count, of.rows.all_keys - first, WIDTH, of.inner, threadIdx.x, BLOCK_THREADS);
}

static inline __device__ void
take_values(bfloat_number *to, const FusedAttention &of, int64_t head, int64_t first, int count)
{
  const bfloat_number *v = of.v + (head * of.rows.all_keys + first) * of.columns;
  take_rows(to, STEP, v, of.columns, count, of.rows.all_keys - first, WIDTH, of.columns, threadIdx.x, BLOCK_THREADS);
}

/* sums += left right: of `right` the tile at row `row` and column `column`, which lies with rows and columns exchanged where it is turned. */
template <bool is_turned>
static inline __device__ void
add_product(Accumulator &sums, const Left &left, const bfloat_number *right, int step, int row, int column)
{
  if (is_turned) {
    RightTurned tile;
    wmma::load_matrix_sync(tile, numbers(right + column * step + row), step);
    wmma::mma_sync(sums, left, tile, sums);
  } else {
    Right tile;
    wmma::load_matrix_sync(tile, numbers(right + row * step + column), step);
    wmma::mma_sync(sums, left, tile, sums);
  }
}

/* ---- rows ------------------------------------------------------------------------------------------------------------ */

/* Scores of a row as the mask leaves them, and which it blocks; behind its end there are none. */
static inline __device__ Columns<UNIT>
scores_of(const FusedAttention &of, const Place &place, int64_t first, const float *product, unsigned *blocked)
{
  Columns<UNIT> score;
  for (int i = 0; i < UNIT; i++)
    score.of[i] = first < of.rows.keys ? of.scale * product[i] : -INFINITY;
  *blocked = first < of.rows.keys ? blocked_unit(of.rows, place, first) : 0;
  return first < of.rows.keys ? masked_unit(of.rows, place, first, *blocked, score) : score;
}

static inline __device__ void
put_unit(bfloat_number *to, const Columns<UNIT> &unit)
{
  *(Columns<UNIT, uint16_t> *)to = rounded(unit);
}

/* Behind which key rows up to `last` have nothing to read. */
static inline __device__ int64_t
end_of_keys(const FusedAttention &of, int64_t last)
{
  return of.leaves_out && last + 1 < of.rows.keys ? last + 1 : of.rows.keys;
}

/* What a warp has of rows of its own. A lane has half of the columns of a row. */
typedef struct RowSeat {
  int warp, lane, row, half;
  int64_t head, first; /* the warp's first row */
  bool is_inside;
  Place place;
} RowSeat;

static inline __device__ RowSeat
take_rows_of_block(const FusedAttention &of)
{
  RowSeat seat;
  int64_t number = (int64_t)blockIdx.x, last = of.row_blocks.number - 1;
  seat.warp = threadIdx.x / WARP;
  seat.lane = threadIdx.x % WARP;
  seat.row = seat.lane / 2;
  seat.half = seat.lane % 2;
  seat.head = quotient(number, of.row_blocks);
  /* Those of most keys come first. */
  seat.first = (last - (number - seat.head * of.row_blocks.number)) * BLOCK_ROWS + seat.warp * TILE;
  seat.is_inside = seat.first + seat.row < of.rows.all_rows;
  seat.place = place_of_row(of.rows, seat.head * of.rows.all_rows + (seat.is_inside ? seat.first + seat.row : 0));
  return seat;
}

/* A warp's own rows of q or do as tiles; `room` is the warp's, which writes there again behind a barrier of the block. */
static inline __device__ void
take_left(Left *left, float *room, const bfloat_number *from, int64_t width, const FusedAttention &of, const RowSeat &seat)
{
  bfloat_number *rows = (bfloat_number *)room;
  from += (seat.head * of.rows.all_rows + seat.first) * width;
  take_rows(rows, STEP, from, width, TILE, of.rows.all_rows - seat.first, WIDTH, width, seat.lane, WARP);
  __syncwarp();
  for (int i = 0; i < TILES; i++)
    wmma::load_matrix_sync(left[i], numbers(rows + i * TILE), STEP);
}

/* What a warp has made of FEW of its rows' scores, as tiles: rounded, it takes their place. */
static inline __device__ void
take_made(Left *tiles, float *room, const Columns<UNIT> *made, const RowSeat &seat)
{
  bfloat_number *rows = (bfloat_number *)room;
  __syncwarp();
  for (int i = 0; i < FEW / 2 / UNIT; i++)
    put_unit(rows + seat.row * STEP + seat.half * (FEW / 2) + i * UNIT, made[i]);
  __syncwarp();
  for (int i = 0; i < FEW / TILE; i++)
    wmma::load_matrix_sync(tiles[i], numbers(rows + i * TILE), STEP);
}

/* Writes rows that a warp has added up, `factor` times: FEW columns at a time go through its room. */
static inline __device__ void
put_sums(const Floats &to, const Accumulator *sums, float *room, int64_t width, float factor, const RowSeat &seat)
{
  for (int part = 0; part < WIDTH / FEW; part++) {
    for (int i = 0; i < FEW / TILE; i++)
      wmma::store_matrix_sync(room + i * TILE, sums[part * (FEW / TILE) + i], FEW_STEP, wmma::mem_row_major);
    __syncwarp();
    for (int i = 0; i < FEW / 2 / UNIT && seat.is_inside; i++) {
      int column = seat.half * (FEW / 2) + i * UNIT;
      Columns<UNIT> unit;
      for (int j = 0; j < UNIT; j++)
        unit.of[j] = factor * room[seat.row * FEW_STEP + column + j];
      if (part * FEW + column < width)
        store_columns(to, (seat.place.row * width + part * FEW + column) / UNIT, unit);
    }
    __syncwarp();
  }
}

/* A warp's scores with FEW keys, into its room. */
template <bool is_turned>
static inline __device__ void
multiply_keys(float *room, const Left *left, const bfloat_number *k, int tiles)
{
  for (int column = 0; column < FEW; column += TILE) {
    Accumulator sums;
    wmma::fill_fragment(sums, 0.0f);
    for (int i = 0; i < TILES; i++) /* a number known here, for tiles to stay in registers */
      if (i < tiles)
        add_product<!is_turned>(sums, left[i], k, is_turned ? FEW_TURNED : STEP, i * TILE, column);
    wmma::store_matrix_sync(room + column, sums, FEW_STEP, wmma::mem_row_major);
  }
  __syncwarp();
}

#endif

static inline int64_t
blocks_of(const FusedAttention &of, const Divisor &blocks)
{
  return of.rows.all_rows ? of.rows.count / of.rows.all_rows * blocks.number : 0;
}

#endif
