/* attention_fused.cu: attention and its gradient without a score in memory, for operands of bfloat16 whose rows are short: a block's scores
 * stay in its shared memory, and tensor cores multiply (nvcuda::wmma). What they hold of a matrix nobody but they knows, so that a row cannot be
 * scaled there. Forward therefore computes scores twice, for each row's logarithm of a sum and then for its probabilities, instead of scaling
 * what it has added up (Dao et al. 2022, arXiv 2205.14135). Backward has two kernels, one for all that is added up over rows and
 * one for what is added up over keys, so that nothing is added by two blocks and the order of sums is always the same. */
#include "attention_cores.h"

bool
gpu_has_tensor_cores(void)
{
  int major = 0;
  return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess && major >= 8;
}

/* ---- the kernel ------------------------------------------------------------------------------------------------------ */

#ifdef HAS_TENSOR_CORES

/* What two neighbouring lanes have of a row. */
static __device__ Total
total_of_two(Total total)
{
  float most = __shfl_xor_sync(0xffffffffu, total.most, 1), larger = most > total.most ? most : total.most;
  double sum = total.most == larger ? total.sum : total.sum * expf(total.most - larger);
  return Total{larger, sum + __shfl_xor_sync(0xffffffffu, sum, 1)};
}

typedef struct alignas(32) AttendRoom {
  bfloat_number k[WIDTH * FEW_TURNED], v[FEW * STEP];
  float score[WARPS][TILE * FEW_STEP]; /* of a warp its rows; also of q, and probabilities as they are multiplied */
} AttendRoom;

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
  take_left(q, own, of.q, of.q_place, of.inner, of, seat);
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
  RowScale scale = scale_of_row(of.rows, total_of_two(total), end < of.rows.keys);
  if (seat.is_inside && !seat.half && of.lse.data)
    of.lse.put(seat.place.total, scale.lse);
  actnn_philox_key key = key_of_rows(of.rows);
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
      make_probabilities(of.rows, scale, key, seat.place.element + first + column, &value[i]);
    }
    take_made(p, own, value, seat);
    for (int column = 0; column < TILES; column++)
      for (int i = 0; i < FEW / TILE && column < of.column_tiles; i++)
        add_product<false>(o[column], p[i], room.v, STEP, i * TILE, column * TILE);
    __syncwarp();
  }
  put_sums(of.made, of.o_place, o, own, of.columns, 1, seat);
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
  of.row_blocks = divisor_of((attention.rows + BLOCK_ROWS - 1) / BLOCK_ROWS);
  of.key_blocks = divisor_of((attention.keys + KEYS_OF_BLOCK - 1) / KEYS_OF_BLOCK);
  return of;
}

int
gpu_attend_fused(const actnn_call *call, const FusedAttention &of, bool is_turned)
{
  int64_t blocks = blocks_of(of, of.row_blocks);
  return is_turned ? LAUNCH_BLOCKS(call, attend_fused<true>, blocks, of) : LAUNCH_BLOCKS(call, attend_fused<false>, blocks, of);
}
