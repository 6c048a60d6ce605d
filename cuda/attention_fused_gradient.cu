/* attention_fused_gradient.cu: the gradient of attention on tensor cores (attention_fused.cu): a kernel for what is added up over keys, and one
 * for what is added up over rows. */
#include "attention_cores.h"

#ifdef HAS_TENSOR_CORES

/* ---- what is added up over keys ------------------------------------------------------------------------------- */

/* Of TILE keys from `first` on: products become probabilities, and their gradients those of scores. */
static __device__ void
differentiate_rows(float (*score)[4], float (*slope)[4], DrawnBlocks &drawn, const FusedAttention &of, const actnn_philox_key &key,
                   const RowSeat &seat, int first, const float *lse, const float *mean)
{
  bool needs_no_mask = is_open(of, seat.first, first, TILE);
  float kept[2][4];
  draw_for_rows(kept, drawn, of, key, seat, first);
  UNROLLED
  for (int i = 0; i < 8; i++) {
    int matrix = i / 4, half = i / 2 % 2, j = i % 4;
    bool is_blocked = false;
    score[matrix][j] = needs_no_mask ? of.scale * score[matrix][j]
                                     : score_of_row(of, seat, half, first + matrix * EIGHT + 2 * seat.pair + i % 2, score[matrix][j], &is_blocked);
    differentiate_score(of.rows, kept[matrix][j], is_blocked, lse[half], mean[half], &score[matrix][j], &slope[matrix][j]);
  }
}

template <bool is_turned>
TILE_KERNEL
differentiate_queries(FusedAttention of)
{
  SHARED KeysRoom room;
  RowSeat seat = take_rows_of_block(of);
  actnn_philox_key key = key_of_rows(of.rows);
  uint32_t q[TILES][4], d_o[TILES][4];
  float dq[EIGHTS][4] = {}, lse[2], mean[2], factor[2] = {of.scale, of.scale};
  int64_t there = of.rows.all_rows - seat.first;
  load_lefts<false>(q, of.q + place_in(of.q_place, seat.head, seat.first), of.q_place.row_step, there, of.inner);
  load_lefts<false>(d_o, of.d_o + place_in(of.o_place, seat.head, seat.first), of.o_place.row_step, there, of.columns);
  for (int half = 0; half < 2; half++) {
    lse[half] = of.lse[total_of_row(of, seat, half)];
    mean[half] = of.row_sum[total_of_row(of, seat, half)];
  }
  for (int first = 0; first < seat.block_end; first += MANY) {
    take_block<is_turned>(room, of, seat.head, first);
    for (int at = 0; at < MANY && first + at < seat.end; at += TILE) { /* more at once have no room in registers */
      float score[2][4], slope[2][4];
      multiply_by_rows<TILE>(score, q, room.k + at * STEP, of.inner_tiles);
      multiply_by_rows<TILE>(slope, d_o, room.v + at * STEP, of.column_tiles);
      differentiate_rows(score, slope, room.drawn[seat.warp], of, key, seat, first + at, lse, mean);
      add_rows(dq, slope, room.k + at * STEP, of.inner_tiles);
    }
  }
  put_sums(of.made, of.q_place, seat.head, seat.first, there, of.inner, dq, factor);
}

/* ---- what is added up over rows ----------------------------------------------------------------------------- */

/* Rows of a block, MANY at once, and what its warps draw. */
typedef struct alignas(16) RowsRoom {
  bfloat_number q[MANY * STEP], d_o[MANY * STEP];
  DrawnBlocks drawn[WARPS];
  float lse[MANY], mean[MANY];
} RowsRoom;

/* A warp has TILE keys of its own, and scores lie with a row for each of them. */
typedef struct KeySeat {
  int warp, group, pair;
  int first; /* the warp's first key */
  int64_t head;
} KeySeat;

/* Of TILE keys and TILE rows from `row` on, the first of which is number `at` of those in shared memory. */
static __device__ void
differentiate_keys_of_rows(float (*score)[4], float (*slope)[4], RowsRoom &room, const FusedAttention &of, const actnn_philox_key &key,
                           const KeySeat &seat, int row, int at)
{
  bool needs_no_mask = is_open(of, row, seat.first, TILE) && row + TILE <= of.rows.all_rows;
  bool has_whole_blocks = of.rows.all_keys % DRAWS == 0;
  DrawnBlocks &drawn = room.drawn[seat.warp];
  if (of.rows.is_dropped && has_whole_blocks)
    draw_blocks(drawn, of, key, (seat.head * of.rows.all_rows + row) * of.rows.all_keys + seat.first);
  UNROLLED
  for (int i = 0; i < 4; i++) {
    int matrix = i / 2, number = matrix * EIGHT + 2 * seat.pair + i % 2; /* of the row */
    bool is_there = row + number < of.rows.all_rows;
    int64_t mask = needs_no_mask ? 0 : mask_of_row(of, seat.head, is_there ? row + number : 0);
    UNROLLED
    for (int half = 0; half < 2; half++) {
      int j = 2 * half + i % 2;
      int own = seat.first + seat.group + half * EIGHT;
      bool is_blocked = false;
      float kept = 1;
      score[matrix][j] = needs_no_mask ? of.scale * score[matrix][j] : masked_score(of, row + number, mask, own, score[matrix][j], &is_blocked);
      if (of.rows.is_dropped && has_whole_blocks)
        kept = factor_of_draw(of.rows, drawn.of[number + half * TILE].word[seat.group / 2] >> (seat.group % 2 * 16) & 0xffff);
      else if (of.rows.is_dropped)
        kept = single_factor(of, key, (seat.head * of.rows.all_rows + row + number) * of.rows.all_keys + own);
      differentiate_score(of.rows, kept, is_blocked, room.lse[at + number], room.mean[at + number], &score[matrix][j], &slope[matrix][j]);
      if (!is_there)
        score[matrix][j] = slope[matrix][j] = 0;
    }
  }
}

/* Writes sums of keys that lie as columns, [inner, keys]. */
static __device__ void
put_columns(const Floats &to, const Places &places, const KeySeat &seat, int64_t there, int64_t given, const float (*sums)[4], float factor)
{
  int64_t begin = place_in(places, seat.head, 0) + seat.first;
  for (int i = 0; i < EIGHTS; i++)
    for (int j = 0; j < 4; j++) {
      int row = seat.group + j / 2 * EIGHT, column = i * EIGHT + 2 * seat.pair + j % 2;
      if (row < there && column < given)
        to.put(begin + column * places.row_step + row, factor * sums[i][j]);
    }
}

template <bool is_turned>
KERNEL
differentiate_keys(FusedAttention of, Floats dk, Floats dv)
{
  SHARED RowsRoom room;
  KeySeat seat;
  seat.warp = threadIdx.x / WARP;
  seat.group = threadIdx.x % WARP / 4;
  seat.pair = threadIdx.x % 4;
  seat.head = quotient((int64_t)blockIdx.x, of.key_blocks);
  int begin = (int)((int64_t)blockIdx.x - seat.head * of.key_blocks.number) * OF_BLOCK;
  seat.first = begin + seat.warp * TILE;
  int64_t there = of.rows.all_keys - seat.first;
  actnn_philox_key key = key_of_rows(of.rows);
  uint32_t k[TILES][4], v[TILES][4];
  float of_k[EIGHTS][4] = {}, of_v[EIGHTS][4] = {}, factor[2] = {of.scale, of.scale}, one[2] = {1, 1};
  load_lefts<is_turned>(k, of.k + place_in(of.k_place, seat.head, is_turned ? 0 : seat.first) + (is_turned ? seat.first : 0),
                        of.k_place.row_step, there, of.inner);
  load_lefts<false>(v, of.v + place_in(of.v_place, seat.head, seat.first), of.v_place.row_step, there, of.columns);
  for (int first = of.leaves_out ? begin / MANY * MANY : 0; first < of.rows.all_rows; first += MANY) {
    int64_t rows = of.rows.all_rows - first;
    __syncthreads();
    take_rows(room.q, of.q + place_in(of.q_place, seat.head, first), of.q_place.row_step, rows, of.inner);
    take_rows(room.d_o, of.d_o + place_in(of.o_place, seat.head, first), of.o_place.row_step, rows, of.columns);
    if (threadIdx.x < MANY) {
      bool is_there = threadIdx.x < rows;
      int64_t total = place_in(of.rows.total, seat.head, is_there ? first + threadIdx.x : 0);
      room.lse[threadIdx.x] = of.lse[total];
      room.mean[threadIdx.x] = of.row_sum[total];
    }
    __syncthreads();
    for (int at = 0; at < MANY && at < rows; at += TILE) {
      if (there <= 0 || (of.leaves_out && first + at + TILE <= seat.first))
        continue;
      float score[2][4], slope[2][4];
      multiply_by_rows<TILE>(score, k, room.q + at * STEP, of.inner_tiles);
      multiply_by_rows<TILE>(slope, v, room.d_o + at * STEP, of.column_tiles);
      differentiate_keys_of_rows(score, slope, room, of, key, seat, first + at, at);
      add_rows(of_v, score, room.d_o + at * STEP, of.column_tiles);
      add_rows(of_k, slope, room.q + at * STEP, of.inner_tiles);
    }
  }
  if (dv.data)
    put_sums(dv, of.v_place, seat.head, seat.first, there, of.columns, of_v, one);
  if (dk.data && is_turned)
    put_columns(dk, of.k_place, seat, there, of.inner, of_k, of.scale);
  else if (dk.data)
    put_sums(dk, of.k_place, seat.head, seat.first, there, of.inner, of_k, factor);
}

#else

template <bool is_turned>
TILE_KERNEL
differentiate_queries(FusedAttention)
{
}

template <bool is_turned>
KERNEL
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
