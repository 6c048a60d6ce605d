/* attention_fused.cu: attention and its gradient without a score in memory, for operands of bfloat16 whose rows are short: tensor cores multiply,
 * and what they make stays in the registers of a warp, which has some rows of scores of its own (Dao 2023, arXiv 2307.08691). Forward scales what
 * it has added up wherever a row has a greater score. Backward has two kernels, one for all that is added up over keys and one for what is added
 * up over rows, so that nothing is added by two blocks and the order of sums is always the same. */
#include "attention_cores.h"

bool
gpu_has_tensor_cores(void)
{
  int major = 0;
  return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess && major >= 8;
}

/* ---- the kernel ------------------------------------------------------------------------------------------------------ */

#ifdef HAS_TENSOR_CORES

static __device__ float
larger_of_four(float value)
{
  for (int apart = 1; apart < 4; apart *= 2) {
    float other = __shfl_xor_sync(0xffffffffu, value, apart);
    value = other > value ? other : value;
  }
  return value;
}

static __device__ float
sum_of_four(float value)
{
  for (int apart = 1; apart < 4; apart *= 2)
    value += __shfl_xor_sync(0xffffffffu, value, apart);
  return value;
}

/* Scores of MANY keys of a warp's rows, masked. */
static __device__ void
make_scores(float (*score)[4], const FusedAttention &of, const RowSeat &seat, const uint32_t (*q)[4], const bfloat_number *k, int first)
{
  multiply_by_rows<MANY>(score, q, k, of.inner_tiles);
  bool needs_no_mask = is_open(of, seat.first, first, MANY), is_blocked;
  UNROLLED
  for (int i = 0; i < MANY / EIGHT; i++)
    for (int j = 0; j < 4; j++)
      score[i][j] = needs_no_mask ? of.scale * score[i][j]
                                  : score_of_row(of, seat, j / 2, first + i * EIGHT + 2 * seat.pair + j % 2, score[i][j], &is_blocked);
}

/* The scores of row `half` become exponentials beside the greatest so far, and what has been made beside another is scaled to that. */
static __device__ void
widen_row(float (*score)[4], float (*o)[4], float *most, float *sum, int half)
{
  float top = *most, own = 0;
  UNROLLED
  for (int i = 0; i < MANY / EIGHT; i++)
    for (int j = 2 * half; j < 2 * half + 2; j++)
      top = score[i][j] > top ? score[i][j] : top;
  top = larger_of_four(top);
  float shrinks = term_of(*most, top);
  UNROLLED
  for (int i = 0; i < MANY / EIGHT; i++)
    for (int j = 2 * half; j < 2 * half + 2; j++) {
      score[i][j] = term_of(score[i][j], top);
      own += score[i][j];
    }
  UNROLLED
  for (int i = 0; i < EIGHTS; i++)
    for (int j = 2 * half; j < 2 * half + 2; j++)
      o[i][j] *= shrinks;
  *sum = *sum * shrinks + own;
  *most = top;
}

template <bool is_turned>
TILE_KERNEL
attend_fused(FusedAttention of)
{
  SHARED KeysRoom room;
  RowSeat seat = take_rows_of_block(of);
  actnn_philox_key key = key_of_rows(of.rows);
  uint32_t q[TILES][4];
  float o[EIGHTS][4] = {}, most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, factor[2];
  load_lefts<false>(q, of.q + place_in(of.q_place, seat.head, seat.first), of.q_place.row_step, of.rows.all_rows - seat.first, of.inner);
  for (int first = 0; first < seat.block_end; first += MANY) {
    take_block<is_turned>(room, of, seat.head, first);
    if (first >= seat.end)
      continue;
    float score[MANY / EIGHT][4];
    make_scores(score, of, seat, q, room.k, first);
    widen_row(score, o, &most[0], &sum[0], 0);
    widen_row(score, o, &most[1], &sum[1], 1);
    UNROLLED
    for (int i = 0; i < MANY / TILE; i++) {
      float kept[2][4];
      draw_for_rows(kept, room.drawn[seat.warp], of, key, seat, first + i * TILE);
      for (int j = 0; j < 8; j++)
        score[2 * i + j / 4][j % 4] *= kept[j / 4][j % 4];
      add_rows(o, score + 2 * i, room.v + i * TILE * STEP, of.column_tiles);
    }
  }
  for (int half = 0; half < 2; half++) {
    RowScale scale = scale_of_row(of.rows, Total{most[half], sum_of_four(sum[half])}, seat.end < of.rows.keys);
    if (seat.first + seat.group + half * EIGHT < of.rows.all_rows && !seat.pair && of.lse.data)
      of.lse.put(total_of_row(of, seat, half), scale.lse);
    factor[half] = isnan(scale.most) ? NAN : scale.factor;
    for (int i = 0; i < EIGHTS && scale.is_lost; i++)
      o[i][2 * half] = o[i][2 * half + 1] = factor[half] = 0;
  }
  put_sums(of.made, of.o_place, seat.head, seat.first, of.rows.all_rows - seat.first, of.columns, o, factor);
}

#else

template <bool is_turned>
TILE_KERNEL
attend_fused(FusedAttention)
{
}

#endif

/* ---- calls ----------------------------------------------------------------------------------------------------------- */

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
  of.q_place = places_of(attention.q);
  of.k_place = places_of(attention.k);
  of.v_place = places_of(attention.v);
  of.o_place = places_of(attention.o);
  of.scale = (float)attention.scale;
  of.leaves_out = attention_leaves_out(&attention);
  of.row_blocks = divisor_of((attention.rows + OF_BLOCK - 1) / OF_BLOCK);
  of.key_blocks = divisor_of((attention.keys + OF_BLOCK - 1) / OF_BLOCK);
  return of;
}

int
gpu_attend_fused(const actnn_call *call, const FusedAttention &of, bool is_turned)
{
  int64_t blocks = blocks_of(of, of.row_blocks);
  return is_turned ? LAUNCH_BLOCKS(call, attend_fused<true>, blocks, of) : LAUNCH_BLOCKS(call, attend_fused<false>, blocks, of);
}
