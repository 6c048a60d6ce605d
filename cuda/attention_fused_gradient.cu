/* attention_fused_gradient.cu: the gradient of attention on tensor cores (attention_fused.cu): a kernel for what is added up over keys, and one
 * for what is added up over rows. */
#include "attention_cores.h"

#ifdef HAS_TENSOR_CORES

/* ---- what is added up over keys ------------------------------------------------------------------------------- */

/* Of a row's unit: probabilities, dropped, into `value`, and what is, but for its scale, the gradient of the scores into `slope`. */
static __device__ void
differentiate_scores(const FusedAttention &of, const Place &place, const actnn_philox_key &key, int64_t first, const float *product,
                     const float *gradient, float lse, float mean, Columns<UNIT> *value, Columns<UNIT> *slope)
{
  unsigned blocked;
  *value = scores_of(of, place, first, product, &blocked);
  for (int i = 0; i < UNIT; i++)
    slope->of[i] = gradient[i];
  differentiate_unit(of.rows, key, place.element + first, blocked, lse, mean, value, slope);
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
  actnn_philox_key key = key_of_rows(of.rows);
  take_left(q, own, of.q, of.q_place, of.inner, of, seat);
  take_left(d_o, gradient, of.d_o, of.o_place, of.columns, of, seat);
  float lse = of.lse[seat.place.total], mean = of.row_sum[seat.place.total];
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
      differentiate_scores(of, seat.place, key, first + column, own + at, gradient + at, lse, mean, &value, &made[i]);
    }
    take_made(slope, own, made, seat);
    for (int column = 0; column < TILES; column++)
      for (int i = 0; i < FEW / TILE && column < of.inner_tiles; i++)
        add_product<is_turned>(dq[column], slope[i], room.k, is_turned ? FEW_TURNED : STEP, i * TILE, column * TILE);
    __syncwarp();
  }
  put_sums(of.made, of.q_place, dq, own, of.inner, of.scale, seat);
}

/* ---- what is added up over rows ----------------------------------------------------------------------------- */

enum {
  MANY = KEYS_OF_BLOCK,
  MANY_STEP = MANY + 4,
  SOME_ROWS = 32 /* at a time */
};
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
put_keys(const Floats &to, const Places &places, const Accumulator *sums, float *room, const FusedAttention &of, int64_t head, int64_t key,
         int column, int64_t width, float factor)
{
  int64_t begin = place_in(places, head, 0);
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
      store_columns(to, (begin + (key + row) * places.row_step + column + first) / UNIT, unit);
    for (int j = 0; j < UNIT && is_turned; j++)
      to.put(begin + (column + first + j) * places.row_step + key + row, unit.of[j]);
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
  actnn_philox_key random = key_of_rows(of.rows);
  for (int i = 0; i < SHARE; i++) {
    wmma::fill_fragment(of_k[i], 0.0f);
    wmma::fill_fragment(of_v[i], 0.0f);
  }
  take_keys<is_turned>(room.k, STEP, of, head, key, MANY);
  take_values(room.v, of, head, key, MANY);
  for (int64_t first = of.leaves_out ? key / SOME_ROWS * SOME_ROWS : 0; first < of.rows.all_rows; first += SOME_ROWS) {
    int64_t begin = head * of.rows.all_rows + first, there = of.rows.all_rows - first;
    __syncthreads();
    take_rows(room.q, STEP, of.q + place_in(of.q_place, head, first), of.q_place.row_step, SOME_ROWS, there, WIDTH, of.inner, threadIdx.x,
              BLOCK_THREADS);
    take_rows(room.d_o, STEP, of.d_o + place_in(of.o_place, head, first), of.o_place.row_step, SOME_ROWS, there, WIDTH, of.columns, threadIdx.x,
              BLOCK_THREADS);
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
      float lse = of.lse[place.total], mean = of.row_sum[place.total];
      differentiate_scores(of, place, random, key + unit * UNIT, room.score + at, room.gradient + at, lse, mean, &p, &ds);
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
    put_keys<false>(dv, of.v_place, of_v, own, of, head, key + own_key, own_column, of.columns, 1);
  if (dk.data)
    put_keys<is_turned>(dk, of.k_place, of_k, own, of, head, key + own_key, own_column, of.inner, of.scale);
}

#else

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

/* ---- calls ----------------------------------------------------------------------------------------------------------- */

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
