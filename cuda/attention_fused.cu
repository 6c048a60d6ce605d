/* attention_fused.cu: attention and its gradient without a score in memory, for operands of bfloat16 whose rows are short: a block's scores
 * stay in its shared memory, and tensor cores multiply (nvcuda::wmma). What they hold of a matrix nobody but they knows, so that a row cannot be
 * scaled there. Forward therefore computes scores twice, for each row's logarithm of a sum and then for its probabilities, instead of scaling
 * what it has added up (Dao et al. 2022, arXiv 2205.14135). Backward has two kernels, one for all that is added up over rows and
 * one for what is added up over keys, so that nothing is added by two blocks and the order of sums is always the same. */
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
  MANY = 64,                       /* keys of a block that has keys of its own, */
  MANY_STEP = MANY + 4,
  SOME_ROWS = 32                   /* and rows then at a time */
};

/* Tensor cores know bfloat16 from compute capability 8.0 on. Before, nothing below is launched (gpu_has_tensor_cores). */
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800

typedef wmma::fragment<wmma::accumulator, TILE, TILE, TILE, float> Accumulator;
typedef wmma::fragment<wmma::matrix_a, TILE, TILE, TILE, __nv_bfloat16, wmma::row_major> Left;
typedef wmma::fragment<wmma::matrix_a, TILE, TILE, TILE, __nv_bfloat16, wmma::col_major> LeftTurned;
typedef wmma::fragment<wmma::matrix_b, TILE, TILE, TILE, __nv_bfloat16, wmma::row_major> Right;
typedef wmma::fragment<wmma::matrix_b, TILE, TILE, TILE, __nv_bfloat16, wmma::col_major> RightTurned;

static __device__ const __nv_bfloat16 *
numbers(const bfloat_number *memory)
{
  return (const __nv_bfloat16 *)memory;
}

/* ---- shared memory ------------------------------------------------------------------------------------------------ */

/* Rows of `step` elements in shared memory from those of `width` elements that begin at `from`: `rows` of them, of which `there` exist, and
 * of each `columns`, of which `given` exist. What does not is zero. By `threads` threads, of which this is number `thread`; a unit at once
 * where rows have whole ones. */
static __device__ void
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
static __device__ void
take_keys(bfloat_number *to, int turned_step, const FusedAttention &of, int64_t head, int64_t first, int count)
{
  const bfloat_number *k = of.k + head * of.rows.all_keys * of.inner;
  if (is_turned)
    take_rows(to, turned_step, k + first, of.rows.all_keys, WIDTH, of.inner, count, of.rows.all_keys - first, threadIdx.x, BLOCK_THREADS);
  else
    take_rows(to, STEP, k + first * of.inner, of.inner, count, of.rows.all_keys - first, WIDTH, of.inner, threadIdx.x, BLOCK_THREADS);
}

static __device__ void
take_values(bfloat_number *to, const FusedAttention &of, int64_t head, int64_t first, int count)
{
  const bfloat_number *v = of.v + (head * of.rows.all_keys + first) * of.columns;
  take_rows(to, STEP, v, of.columns, count, of.rows.all_keys - first, WIDTH, of.columns, threadIdx.x, BLOCK_THREADS);
}

/* sums += left right: of `right` the tile at row `row` and column `column`, which lies with rows and columns exchanged where it is turned. */
template <bool is_turned>
static __device__ void
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
static __device__ Columns<UNIT>
scores_of(const FusedAttention &of, const Place &place, int64_t first, const float *product, unsigned *blocked)
{
  Columns<UNIT> score;
  for (int i = 0; i < UNIT; i++)
    score.of[i] = first < of.rows.keys ? of.scale * product[i] : -INFINITY;
  *blocked = first < of.rows.keys ? blocked_unit(of.rows, place, first) : 0;
  return first < of.rows.keys ? masked_unit(of.rows, place, first, *blocked, score) : score;
}

static __device__ void
put_unit(bfloat_number *to, const Columns<UNIT> &unit)
{
  *(Columns<UNIT, uint16_t> *)to = rounded(unit);
}

/* Behind which key rows up to `last` have nothing to read. */
static __device__ int64_t
end_of_keys(const FusedAttention &of, int64_t last)
{
  return of.leaves_out && last + 1 < of.rows.keys ? last + 1 : of.rows.keys;
}

/* What two neighbouring lanes have of a row. */
static __device__ Total
total_of_two(Total total)
{
  float most = __shfl_xor_sync(0xffffffffu, total.most, 1), larger = most > total.most ? most : total.most;
  double sum = total.most == larger ? total.sum : total.sum * expf(total.most - larger);
  return Total{larger, sum + __shfl_xor_sync(0xffffffffu, sum, 1)};
}

/* What a warp has of rows of its own. A lane has half of the columns of a row. */
typedef struct RowSeat {
  int warp, lane, row, half;
  int64_t head, first; /* the warp's first row */
  bool is_inside;
  Place place;
} RowSeat;

static __device__ RowSeat
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

/* A warp's own rows of q or do as tiles; `room` is the warp's. */
static __device__ void
take_left(Left *left, float *room, const bfloat_number *from, int64_t width, const FusedAttention &of, const RowSeat &seat)
{
  bfloat_number *rows = (bfloat_number *)room;
  from += (seat.head * of.rows.all_rows + seat.first) * width;
  take_rows(rows, STEP, from, width, TILE, of.rows.all_rows - seat.first, WIDTH, width, seat.lane, WARP);
  __syncwarp();
  for (int i = 0; i < TILES; i++)
    wmma::load_matrix_sync(left[i], numbers(rows + i * TILE), STEP);
  __syncwarp();
}

/* What a warp has made of FEW of its rows' scores, as tiles: rounded, it takes their place. */
static __device__ void
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
static __device__ void
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

/* ---- forward --------------------------------------------------------------------------------------------------------- */

typedef struct alignas(32) AttendRoom {
  bfloat_number k[WIDTH * FEW_TURNED], v[FEW * STEP];
  float score[WARPS][TILE * FEW_STEP]; /* of a warp its rows; also of q, and probabilities as they are multiplied */
} AttendRoom;

/* A warp's scores with FEW keys, into its room. */
template <bool is_turned>
static __device__ void
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

template <bool is_turned>
TILE_KERNEL
attend_fused(FusedAttention of)
{
  SHARED AttendRoom room;
  RowSeat seat = take_rows_of_block(of);
  float *own = room.score[seat.warp];
  int64_t end = end_of_keys(of, seat.first - seat.warp * TILE + BLOCK_ROWS - 1);
  Left q[TILES], p[FEW / TILE];
  Accumulator o[TILES];
  Total total = {-INFINITY, 0};
  unsigned blocked;
  take_left(q, own, of.q, of.inner, of, seat);
  for (int i = 0; i < TILES; i++)
    wmma::fill_fragment(o[i], 0.0f);
  for (int64_t first = 0; first < end; first += FEW) {
    __syncthreads();
    take_keys<is_turned>(room.k, FEW_TURNED, of, seat.head, first, FEW);
    __syncthreads();
    multiply_keys<is_turned>(own, q, room.k, of.inner_tiles);
    for (int column = seat.half * (FEW / 2); column < (seat.half + 1) * (FEW / 2); column += UNIT) {
      Columns<UNIT> score = scores_of(of, seat.place, first + column, own + seat.row * FEW_STEP + column, &blocked);
      widen_total(&total, score.of, UNIT);
    }
  }
  total = total_of_two(total);
  bool is_lost = of.rows.is_guarded && !(total.sum > 0);
  if (end < of.rows.keys && !(total.most - of.rows.never >= EXPONENT_OF_ZERO))
    total.most = NAN;
  if (seat.is_inside && !seat.half && of.lse.data)
    of.lse.put(seat.place.row, is_lost ? NAN : (float)(total.most + log(total.sum)));
  float factor = (float)(1 / total.sum);
  actnn_philox_key key = actnn_philox_key();
  if (of.rows.is_dropped)
    key = key_now(of.rows.key);
  for (int64_t first = 0; first < end; first += FEW) {
    __syncthreads();
    take_keys<is_turned>(room.k, FEW_TURNED, of, seat.head, first, FEW);
    take_values(room.v, of, seat.head, first, FEW);
    __syncthreads();
    multiply_keys<is_turned>(own, q, room.k, of.inner_tiles);
    Columns<UNIT> value[FEW / 2 / UNIT];
    UNROLLED
    for (int i = 0; i < FEW / 2 / UNIT; i++) {
      int column = seat.half * (FEW / 2) + i * UNIT;
      value[i] = scores_of(of, seat.place, first + column, own + seat.row * FEW_STEP + column, &blocked);
      for (int j = 0; j < UNIT; j++)
        value[i].of[j] = is_lost ? 0 : expf(value[i].of[j] - total.most) * factor;
      if (of.rows.is_dropped) {
        Columns<UNIT> kept = dropout_factors(of.rows, key, seat.place.element + first + column);
        for (int j = 0; j < UNIT; j++)
          value[i].of[j] *= kept.of[j];
      }
    }
    take_made(p, own, value, seat);
    for (int column = 0; column < TILES; column++)
      for (int i = 0; i < FEW / TILE && column < of.column_tiles; i++)
        add_product<false>(o[column], p[i], room.v, STEP, i * TILE, column * TILE);
    __syncwarp();
  }
  put_sums(of.made, o, own, of.columns, 1, seat);
}

/* ---- backward: what is added up over keys ------------------------------------------------------------------------------- */

/* Of a row's unit: probabilities, dropped, into `value`, and of their gradient that of the scores, but for its scale, into `slope`. */
static __device__ void
differentiate_unit(const FusedAttention &of, const Place &place, const actnn_philox_key &key, int64_t first, const float *product,
                   const float *gradient, float sum, float mean, Columns<UNIT> *value, Columns<UNIT> *slope)
{
  unsigned blocked;
  bool is_lost = of.rows.is_guarded && isnan(sum);
  Columns<UNIT> score = scores_of(of, place, first, product, &blocked), factor;
  if (of.rows.is_dropped)
    factor = dropout_factors(of.rows, key, place.element + first);
  for (int i = 0; i < UNIT; i++) {
    float p = is_lost ? 0 : expf(score.of[i] - sum), kept = of.rows.is_dropped ? factor.of[i] : 1;
    slope->of[i] = blocked >> i & 1 ? 0 : p * ((kept != 0 ? gradient[i] * kept : 0) - mean);
    value->of[i] = p * kept;
  }
}

typedef struct alignas(32) QueryRoom {
  bfloat_number k[WIDTH * FEW_TURNED], v[FEW * STEP];
  /* Of a warp its rows; also of q, do, and slopes as they are multiplied. */
  float score[WARPS][TILE * FEW_STEP], gradient[WARPS][TILE * FEW_STEP];
} QueryRoom;

template <bool is_turned>
TILE_KERNEL
differentiate_queries(FusedAttention of)
{
  SHARED QueryRoom room;
  RowSeat seat = take_rows_of_block(of);
  float *own = room.score[seat.warp], *gradient = room.gradient[seat.warp];
  int64_t end = end_of_keys(of, seat.first - seat.warp * TILE + BLOCK_ROWS - 1);
  Left q[TILES], d_o[TILES], slope[FEW / TILE];
  Accumulator dq[TILES];
  actnn_philox_key key = actnn_philox_key();
  if (of.rows.is_dropped)
    key = key_now(of.rows.key);
  take_left(q, own, of.q, of.inner, of, seat);
  take_left(d_o, gradient, of.d_o, of.columns, of, seat);
  float sum = of.lse[seat.place.row], mean = of.row_sum[seat.place.row];
  for (int i = 0; i < TILES; i++)
    wmma::fill_fragment(dq[i], 0.0f);
  for (int64_t first = 0; first < end; first += FEW) {
    __syncthreads();
    take_keys<is_turned>(room.k, FEW_TURNED, of, seat.head, first, FEW);
    take_values(room.v, of, seat.head, first, FEW);
    __syncthreads();
    multiply_keys<is_turned>(own, q, room.k, of.inner_tiles);
    multiply_keys<false>(gradient, d_o, room.v, of.column_tiles);
    Columns<UNIT> value, made[FEW / 2 / UNIT];
    UNROLLED
    for (int i = 0; i < FEW / 2 / UNIT; i++) {
      int column = seat.half * (FEW / 2) + i * UNIT, at = seat.row * FEW_STEP + column;
      differentiate_unit(of, seat.place, key, first + column, own + at, gradient + at, sum, mean, &value, &made[i]);
    }
    take_made(slope, own, made, seat);
    for (int column = 0; column < TILES; column++)
      for (int i = 0; i < FEW / TILE && column < of.inner_tiles; i++)
        add_product<is_turned>(dq[column], slope[i], room.k, is_turned ? FEW_TURNED : STEP, i * TILE, column * TILE);
    __syncwarp();
  }
  put_sums(of.made, dq, own, of.inner, of.scale, seat);
}

/* ---- backward: what is added up over rows ----------------------------------------------------------------------------- */

enum { KEY_TILES = MANY / TILE, SHARE = TILES * KEY_TILES / WARPS /* tiles of dk and of dv that a warp adds up: neighbours in a row */ };

typedef struct alignas(32) KeyRoom {
  bfloat_number k[MANY * STEP], v[MANY * STEP]; /* at the end what a warp has added up goes through here */
  bfloat_number q[SOME_ROWS * STEP], d_o[SOME_ROWS * STEP];
  float score[SOME_ROWS * MANY_STEP], gradient[SOME_ROWS * MANY_STEP]; /* and, as they are multiplied, probabilities and slopes */
} KeyRoom;

/* sums += left' right, of rows in shared memory, for the tiles of a warp. */
static __device__ void
add_over_rows(Accumulator *sums, const bfloat_number *left, const bfloat_number *right, int key, int column)
{
  for (int row = 0; row < SOME_ROWS; row += TILE) {
    LeftTurned turned;
    wmma::load_matrix_sync(turned, numbers(left + row * 2 * MANY_STEP + key), 2 * MANY_STEP);
    for (int i = 0; i < SHARE; i++) {
      Right tile;
      wmma::load_matrix_sync(tile, numbers(right + row * STEP + column + i * TILE), STEP);
      wmma::mma_sync(sums[i], turned, tile, sums[i]);
    }
  }
}

/* Writes what a warp has added up for TILE keys from `key` on, SHARE tiles of columns from `column` on, `factor` times. */
template <bool is_turned>
static __device__ void
put_keys(const Floats &to, const Accumulator *sums, float *room, const FusedAttention &of, int64_t head, int64_t key, int column, int64_t width,
         float factor)
{
  int lane = threadIdx.x % WARP;
  for (int i = 0; i < SHARE; i++)
    wmma::store_matrix_sync(room + i * TILE, sums[i], FEW_STEP, wmma::mem_row_major);
  __syncwarp();
  for (int at = lane; at < TILE * SHARE * TILE / UNIT; at += WARP) {
    /* Neighbouring lanes have neighbours in memory: units of a row, or keys. */
    int row = is_turned ? at % TILE : at / (SHARE * TILE / UNIT), first = (is_turned ? at / TILE : at % (SHARE * TILE / UNIT)) * UNIT;
    Columns<UNIT> unit;
    for (int j = 0; j < UNIT; j++)
      unit.of[j] = factor * room[row * FEW_STEP + first + j];
    if (key + row >= of.rows.all_keys || column + first >= width)
      continue;
    if (!is_turned)
      store_columns(to, ((head * of.rows.all_keys + key + row) * width + column + first) / UNIT, unit);
    for (int j = 0; j < UNIT && is_turned; j++)
      to.put((head * width + column + first + j) * of.rows.all_keys + key + row, unit.of[j]);
  }
  __syncwarp();
}

template <bool is_turned>
TILE_KERNEL
differentiate_keys(FusedAttention of, Floats dk, Floats dv)
{
  SHARED KeyRoom room;
  int warp = threadIdx.x / WARP, row = threadIdx.x / (MANY / UNIT), unit = threadIdx.x % (MANY / UNIT);
  int64_t head = quotient((int64_t)blockIdx.x, of.key_blocks), key = ((int64_t)blockIdx.x - head * of.key_blocks.number) * MANY;
  int own_key = warp % KEY_TILES * TILE, own_column = warp / KEY_TILES * SHARE * TILE;
  int score_row = warp / KEY_TILES * TILE; /* of the tile of scores that the warp multiplies */
  bfloat_number *made = (bfloat_number *)room.score, *slope = (bfloat_number *)room.gradient;
  Accumulator of_k[SHARE], of_v[SHARE];
  actnn_philox_key random = actnn_philox_key();
  if (of.rows.is_dropped)
    random = key_now(of.rows.key);
  for (int i = 0; i < SHARE; i++) {
    wmma::fill_fragment(of_k[i], 0.0f);
    wmma::fill_fragment(of_v[i], 0.0f);
  }
  take_keys<is_turned>(room.k, STEP, of, head, key, MANY);
  take_values(room.v, of, head, key, MANY);
  for (int64_t first = of.leaves_out ? key / SOME_ROWS * SOME_ROWS : 0; first < of.rows.all_rows; first += SOME_ROWS) {
    int64_t begin = head * of.rows.all_rows + first, there = of.rows.all_rows - first;
    __syncthreads();
    take_rows(room.q, STEP, of.q + begin * of.inner, of.inner, SOME_ROWS, there, WIDTH, of.inner, threadIdx.x, BLOCK_THREADS);
    take_rows(room.d_o, STEP, of.d_o + begin * of.columns, of.columns, SOME_ROWS, there, WIDTH, of.columns, threadIdx.x, BLOCK_THREADS);
    __syncthreads();
    Accumulator sums[2];
    wmma::fill_fragment(sums[0], 0.0f);
    wmma::fill_fragment(sums[1], 0.0f);
    for (int i = 0; i < TILES; i++) {
      Left left;
      wmma::load_matrix_sync(left, numbers(room.q + score_row * STEP + i * TILE), STEP);
      add_product<!is_turned>(sums[0], left, room.k, STEP, i * TILE, own_key);
      wmma::load_matrix_sync(left, numbers(room.d_o + score_row * STEP + i * TILE), STEP);
      add_product<true>(sums[1], left, room.v, STEP, i * TILE, own_key);
    }
    wmma::store_matrix_sync(room.score + score_row * MANY_STEP + own_key, sums[0], MANY_STEP, wmma::mem_row_major);
    wmma::store_matrix_sync(room.gradient + score_row * MANY_STEP + own_key, sums[1], MANY_STEP, wmma::mem_row_major);
    __syncthreads();
    Columns<UNIT> p = {}, ds = {};
    if (row < there) {
      Place place = place_of_row(of.rows, begin + row);
      int at = row * MANY_STEP + unit * UNIT;
      float sum = of.lse[place.row], mean = of.row_sum[place.row];
      differentiate_unit(of, place, random, key + unit * UNIT, room.score + at, room.gradient + at, sum, mean, &p, &ds);
    }
    __syncthreads();
    put_unit(made + row * 2 * MANY_STEP + unit * UNIT, p);
    put_unit(slope + row * 2 * MANY_STEP + unit * UNIT, ds);
    __syncthreads();
    add_over_rows(of_v, made, room.d_o, own_key, own_column);
    add_over_rows(of_k, slope, room.q, own_key, own_column);
  }
  __syncthreads();
  float *own = (float *)&room + warp * TILE * FEW_STEP;
  if (dv.data)
    put_keys<false>(dv, of_v, own, of, head, key + own_key, own_column, of.columns, 1);
  if (dk.data)
    put_keys<is_turned>(dk, of_k, own, of, head, key + own_key, own_column, of.inner, of.scale);
}

#else

template <bool is_turned>
TILE_KERNEL
attend_fused(FusedAttention)
{
}

template <bool is_turned>
TILE_KERNEL
differentiate_queries(FusedAttention)
{
}

template <bool is_turned>
TILE_KERNEL
differentiate_keys(FusedAttention, Floats, Floats)
{
}

#endif

/* ---- launching them ---------------------------------------------------------------------------------------------------- */

bool
gpu_has_tensor_cores(void)
{
  int major = 0;
  return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess && major >= 8;
}

static int64_t
blocks_of(const FusedAttention &of, const Divisor &blocks)
{
  return of.rows.all_rows ? of.rows.count / of.rows.all_rows * blocks.number : 0;
}

FusedAttention
gpu_fused_attention(const Attention &attention, const Rows &rows)
{
  FusedAttention of;
  memset(&of, 0, sizeof of);
  of.rows = rows;
  of.inner = attention.inner;
  of.columns = attention.columns;
  of.inner_tiles = (int)((attention.inner + TILE - 1) / TILE);
  of.column_tiles = (int)((attention.columns + TILE - 1) / TILE);
  of.scale = (float)attention.scale;
  of.leaves_out = attention_leaves_out(&attention);
  of.row_blocks = divisor_of((attention.rows + BLOCK_ROWS - 1) / BLOCK_ROWS);
  of.key_blocks = divisor_of((attention.keys + MANY - 1) / MANY);
  return of;
}

int
gpu_attend_fused(const actnn_call *call, const FusedAttention &of, bool is_turned)
{
  int64_t blocks = blocks_of(of, of.row_blocks);
  return is_turned ? LAUNCH_BLOCKS(call, attend_fused<true>, blocks, of) : LAUNCH_BLOCKS(call, attend_fused<false>, blocks, of);
}

int
gpu_differentiate_fused(const actnn_call *call, const FusedAttention &of, bool is_turned, Floats dq, Floats dk, Floats dv)
{
  int64_t rows = blocks_of(of, of.row_blocks), keys = blocks_of(of, of.key_blocks);
  FusedAttention queries = of;
  queries.made = dq;
  if ((dk.data || dv.data) && (is_turned ? LAUNCH_BLOCKS(call, differentiate_keys<true>, keys, of, dk, dv)
                                         : LAUNCH_BLOCKS(call, differentiate_keys<false>, keys, of, dk, dv)))
    return 1;
  return dq.data && (is_turned ? LAUNCH_BLOCKS(call, differentiate_queries<true>, rows, queries)
                               : LAUNCH_BLOCKS(call, differentiate_queries<false>, rows, queries));
}
