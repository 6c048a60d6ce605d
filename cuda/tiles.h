/* tiles.h: the tiles of a coded value (codec.h) as blocks of threads work on them.
 *
 * A team of threads has a tile: the whole block where every lane has a group of its own, a warp where 16 rows share one, so that a block
 * works on eight of those. A thread has one lane, and of it one or two eights of rows, whose draws come from one random block. */
#ifndef ACTNN_CUDA_TILES_H
#define ACTNN_CUDA_TILES_H

#include "floats.h"

extern "C" {
#include "codec_normal.h"
#include "saves_state.h"
}

enum {
  EIGHT = 8,
  EIGHTS = 2,            /* of a thread, at most */
  OWN_ROWS = EIGHT * EIGHTS,
  CODES_OF_A_BLOCK = ACTNN_TILE_ROWS * ACTNN_LANES
};

/* Where a sample's codes are, and how many levels they have. */
typedef struct sample_place {
  uint64_t offset;
  int32_t levels;
} sample_place;

/* What is done to all tiles of a value; passed to kernels by value. */
typedef struct tiles_job {
  actnn_codec codec;
  int block; /* channel block of the value's layout */
  uint8_t *stash;
  const sample_place *place;
  actnn_code code; /* levels are the sample's */
  gpu_key key;
} tiles_job;

/* A thread's part in its team's tile. */
typedef struct tile_part {
  bool active; /* there is such a tile */
  int64_t each, sample, index; /* of all tiles; of its sample */
  actnn_tile tile;
  int rows; /* of the tile */
  int team, team_threads, thread; /* thread: within the team */
  int lane, first_eight, eights;
  actnn_code code;
  uint8_t *bytes; /* of the sample */
} tile_part;

static inline __host__ __device__ int
threads_of_a_team(const actnn_codec &codec)
{
  return codec.lane_groups ? BLOCK_THREADS : WARP;
}

/* Blocks that hold a team for each tile. */
static inline int64_t
blocks_of_tiles(const actnn_codec &codec)
{
  int64_t teams = BLOCK_THREADS / threads_of_a_team(codec);
  return (codec.samples * actnn_codec_tiles(&codec) + teams - 1) / teams;
}

/* in_turn: tiles that a team works on one after the other; this is number `turn` of them. */
static inline __device__ tile_part
part_of(const tiles_job &job, int64_t in_turn = 1, int64_t turn = 0)
{
  tile_part part;
  int64_t tiles = actnn_codec_tiles(&job.codec);
  part.team_threads = threads_of_a_team(job.codec);
  part.team = (int)threadIdx.x / part.team_threads;
  part.thread = (int)threadIdx.x % part.team_threads;
  part.lane = part.thread % ACTNN_LANES;
  part.first_eight = part.thread / ACTNN_LANES;
  part.eights = job.codec.lane_groups ? EIGHTS : 1;
  part.each = ((int64_t)blockIdx.x * (BLOCK_THREADS / part.team_threads) + part.team) * in_turn + turn;
  part.active = part.each < job.codec.samples * tiles;
  if (!part.active)
    part.each = 0;
  part.sample = part.each / tiles;
  part.index = part.each % tiles;
  part.tile = actnn_codec_tile(&job.codec, part.index);
  part.rows = (int)part.tile.rows;
  part.code = job.code;
  part.bytes = NULL;
  if (job.place) {
    part.code.levels = job.place[part.sample].levels;
    part.bytes = job.stash + job.place[part.sample].offset;
  }
  return part;
}

/* The row, within the tile, of a thread's own row k; may lie beyond the tile. */
static inline __device__ int
own_row(const tile_part &part, int k)
{
  return (part.first_eight + k / EIGHT * (part.team_threads / ACTNN_LANES)) * EIGHT + k % EIGHT;
}

/* ---- walking along rows --------------------------------------------------------------------------------- */

/* A lane's element of a row, and of those that follow. */
typedef struct row_walk {
  int64_t at;       /* place in the value; < 0: no such element */
  int64_t channel;  /* of the lane; flat values: 0 */
  int position;     /* of the row within its channels */
  int segment;      /* which channels of the tile, from 0 */
} row_walk;

static inline __device__ row_walk
walk_to(const tiles_job &job, const tile_part &part, int row)
{
  row_walk walk;
  int64_t in_sample = part.tile.first_row + row;
  walk.at = actnn_codec_element(&job.codec, job.block, part.sample, in_sample, part.lane);
  walk.channel = walk.segment = walk.position = 0;
  if (job.codec.rows_are != ACTNN_FLAT_ROWS) {
    int64_t which = in_sample / job.codec.positions;
    walk.position = (int)(in_sample - which * job.codec.positions);
    walk.channel = which * ACTNN_LANES + part.lane;
    walk.segment = (int)(which - part.tile.first_row / job.codec.positions);
  }
  return walk;
}

/* On to the next row. */
static inline __device__ void
walk_on(const tiles_job &job, const tile_part &part, int row, row_walk &walk)
{
  if (job.codec.rows_are == ACTNN_FLAT_ROWS || ++walk.position == job.codec.positions)
    walk = walk_to(job, part, row + 1);
  else if (walk.at >= 0)
    walk.at += job.codec.rows_are == ACTNN_FEATURE_ROWS ? job.codec.channels : job.block;
}

/* Does `what` for each own row of the tile, in order: what(k, row, walk). */
template <typename What>
static inline __device__ void
for_own_rows(const tiles_job &job, const tile_part &part, What what)
{
  for (int eight = 0; eight < part.eights; eight++) {
    int row = own_row(part, eight * EIGHT);
    if (!part.active || row >= part.rows)
      continue;
    row_walk walk = walk_to(job, part, row);
    for (int k = 0; k < EIGHT && row + k < part.rows; k++) {
      what(eight * EIGHT + k, row + k, walk);
      if (row + k + 1 < part.rows)
        walk_on(job, part, row + k, walk);
    }
  }
}

/* Writes an element; what stands for none in the last channel block is zero. */
static inline __device__ void
store_element(const tiles_job &job, const tile_part &part, int row, const row_walk &walk, const Floats &value, float element)
{
  if (walk.at >= 0) {
    value.put(walk.at, element);
  } else if (job.codec.rows_are == ACTNN_CHANNEL_ROWS) {
    actnn_codec padded = job.codec;
    padded.channels = (job.codec.channels + job.block - 1) / job.block * job.block;
    int64_t at = actnn_codec_element(&padded, job.block, part.sample, part.tile.first_row + row, part.lane);
    if (at >= 0)
      value.put(at, 0);
  }
}

/* The sum over a team's threads, in all of them. All threads of the block take part. */
static inline __device__ double
team_sum(const tile_part &part, double value)
{
  if (part.team_threads == BLOCK_THREADS)
    return block_sum(value);
  for (int apart = WARP / 2; apart > 0; apart /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, apart);
  return value;
}

/* ---- draws ------------------------------------------------------------------------------------------------ */

/* The draws of a thread's eights. */
typedef struct own_draws {
  actnn_philox_block eight[EIGHTS];
} own_draws;

static inline __device__ own_draws
draw_own(const tiles_job &job, const tile_part &part)
{
  own_draws draws;
  const actnn_philox_key key = key_now(job.key);
  for (int eight = 0; eight < EIGHTS; eight++)
    if (eight < part.eights)
      draws.eight[eight] = actnn_philox(
          actnn_codec_counter(part.sample, part.index, own_row(part, eight * EIGHT) / EIGHT, part.lane), key, ACTNN_PHILOX_ROUNDS);
  return draws;
}

static inline __device__ uint32_t
draw_of(const own_draws &draws, int k)
{
  return draws.eight[k / EIGHT].word[k % EIGHT / 2] >> (16 * (k % 2)) & 0xffffu;
}

/* ---- ranges ------------------------------------------------------------------------------------------------- */

/* Extremes of a team's groups, in shared memory: every lane's, or in all lanes the tile's. */
typedef struct range_room {
  float minimum[BLOCK_THREADS], maximum[BLOCK_THREADS];
  uint32_t magnitude[BLOCK_THREADS];
} range_room;

typedef struct own_range {
  float minimum, maximum;
  uint32_t magnitude;
} own_range;

static inline __device__ own_range
empty_range(void)
{
  own_range range = {INFINITY, -INFINITY, 0};
  return range;
}

static inline __device__ void
widen_by(own_range &range, float value)
{
  uint32_t magnitude = actnn_bits_of(value) & 0x7fffffffu;
  range.minimum = value < range.minimum ? value : range.minimum;
  range.maximum = value > range.maximum ? value : range.maximum;
  range.magnitude = magnitude > range.magnitude ? magnitude : range.magnitude;
}

/* The range of this thread's group, from those of all its threads. All threads of the block take part. */
static inline __device__ own_range
join_ranges(const tile_part &part, bool is_shared, own_range range, range_room &room)
{
  int start = part.team * part.team_threads, step = is_shared ? 1 : ACTNN_LANES;
  room.minimum[threadIdx.x] = range.minimum;
  room.maximum[threadIdx.x] = range.maximum;
  room.magnitude[threadIdx.x] = range.magnitude;
  __syncthreads();
  range = empty_range();
  for (int other = is_shared ? 0 : part.lane; other < part.team_threads; other += step) {
    float minimum = room.minimum[start + other], maximum = room.maximum[start + other];
    uint32_t magnitude = room.magnitude[start + other];
    range.minimum = minimum < range.minimum ? minimum : range.minimum;
    range.maximum = maximum > range.maximum ? maximum : range.maximum;
    range.magnitude = magnitude > range.magnitude ? magnitude : range.magnitude;
  }
  __syncthreads();
  return range;
}

/* ---- headers and codes -------------------------------------------------------------------------------------- */

static inline __device__ uint16_t *
header_of(const tiles_job &job, const tile_part &part)
{
  int64_t headers = actnn_codec_tile_headers(&job.codec);
  return (uint16_t *)part.bytes + (part.index * headers + (job.codec.lane_groups ? part.lane : 0)) * job.codec.header_words;
}

static inline __device__ actnn_header
read_header(const tiles_job &job, const tile_part &part)
{
  const uint16_t *word = header_of(job, part);
  actnn_header header = {0, 0};
  if (job.codec.header_words > 0)
    header.base = word[0];
  if (job.codec.header_words > 1)
    header.step = word[1];
  return header;
}

/* By one thread a group. */
static inline __device__ void
write_header(const tiles_job &job, const tile_part &part, actnn_header header)
{
  uint16_t *word = header_of(job, part);
  if (!part.active || part.thread >= (job.codec.lane_groups ? ACTNN_LANES : 1))
    return;
  if (job.codec.header_words > 0)
    word[0] = header.base;
  if (job.codec.header_words > 1)
    word[1] = header.step;
}

/* The symbol of symbol row `row` in a lane: codes of rows `row`, row + symbols and so on, joined. */
static inline __device__ uint32_t
symbol_at(const uint8_t *codes, int rows, int symbols, int together, int levels, int row, int lane)
{
  uint32_t symbol = 0;
  for (int part = together - 1; part >= 0; part--) {
    int at = part * symbols + row;
    symbol = symbol * (uint32_t)levels + (at < rows ? codes[at * ACTNN_LANES + lane] : 0);
  }
  return symbol;
}

/* Packs the codes of a team's tile, [rows][16] in shared memory, as codec_levels.h and codec_pack.h do. The team's threads write
 * all bytes, neighbours side by side. */
static inline __device__ void
pack_tile(const tiles_job &job, const tile_part &part, const uint8_t *codes)
{
  actnn_packing packing = actnn_codec_packing(part.code.levels);
  int symbols = (part.rows + packing.together - 1) / packing.together;
  uint8_t *to = part.bytes + actnn_codec_code_offset(&job.codec, part.tile, part.code.levels);
  for (int shift = 0, width; shift < packing.bits; shift += width) {
    width = actnn_codec_plane_width(packing.bits - shift);
    int plane_rows = (int)actnn_codec_plane_rows(symbols, width), mask = (1 << width) - 1;
    for (int i = part.thread; part.active && i < plane_rows * ACTNN_LANES; i += part.team_threads) {
      uint32_t byte = 0;
      for (int row = i / ACTNN_LANES, place = 0; row < symbols; row += plane_rows, place += width)
        byte |= (symbol_at(codes, part.rows, symbols, packing.together, part.code.levels, row, i % ACTNN_LANES) >> shift & mask) << place;
      to[i] = (uint8_t)byte;
    }
    to += plane_rows * ACTNN_LANES;
  }
}

/* A tile's packed codes, brought to shared memory by its team, four bytes at a time. */
typedef struct packed_codes {
  const uint8_t *bytes;
  actnn_packing packing;
  int symbols, levels;
} packed_codes;

/* room: CODES_OF_A_BLOCK bytes of shared memory. All threads of the block take part. */
static inline __device__ packed_codes
load_codes(const tiles_job &job, const tile_part &part, uint32_t *room)
{
  packed_codes codes;
  uint32_t *own = room + part.team * (CODES_OF_A_BLOCK / 4 / (BLOCK_THREADS / part.team_threads));
  const uint32_t *from = (const uint32_t *)(part.bytes + actnn_codec_code_offset(&job.codec, part.tile, part.code.levels));
  int words = (int)(actnn_codec_code_bytes(part.rows, part.code.levels) / 4);
  for (int i = part.thread; part.active && i < words; i += part.team_threads)
    own[i] = from[i];
  __syncthreads();
  codes.bytes = (const uint8_t *)own; /* whoever loads into the same room again has a barrier before */
  codes.packing = actnn_codec_packing(part.code.levels);
  codes.symbols = (part.rows + codes.packing.together - 1) / codes.packing.together;
  codes.levels = part.code.levels;
  return codes;
}

static inline __device__ uint32_t
code_at(const packed_codes &codes, int row, int lane)
{
  uint32_t symbol = 0;
  int at = row, part = 0;
  const uint8_t *plane = codes.bytes;
  while (at >= codes.symbols) {
    at -= codes.symbols;
    part++;
  }
  for (int shift = 0, width; shift < codes.packing.bits; shift += width) {
    width = actnn_codec_plane_width(codes.packing.bits - shift);
    int plane_rows = (int)actnn_codec_plane_rows(codes.symbols, width), byte_row = at, place = 0;
    while (byte_row >= plane_rows) {
      byte_row -= plane_rows;
      place += width;
    }
    symbol |= (uint32_t)(plane[byte_row * ACTNN_LANES + lane] >> place & ((1 << width) - 1)) << shift;
    plane += plane_rows * ACTNN_LANES;
  }
  if (codes.packing.together == 1)
    return symbol;
  for (; part > 0; part--)
    symbol /= (uint32_t)codes.levels;
  return symbol % (uint32_t)codes.levels;
}

/* ---- on the processor's side (saves.cu) ------------------------------------------------------------------------ */

/* What a trainer's coded saves have on the GPU. */
struct gpu_saves {
  sample_place **place, **sent; /* of each save: there, and here as it was sent last */
  double *tile_sum;             /* there: up to MOST_SUMS numbers of each tile of the largest save */
  double *sample_sum;           /* and of each sample */
  actnn_tile_range *range;      /* of the tiles of the largest save whose bytes follow from ranges */
  actnn_normal_sums *normal;    /* of each channel of each sample, and of each channel, of the largest normalized value */
  uint8_t **choice;             /* by save whose levels follow from ranges: each sample's, as coded last; found here */
  float *sample_range;          /* of the samples of one of these */
  double *map;                  /* of the positions of the largest value whose gradient is measured */
  int64_t most_tiles, most_samples, most_ranges, most_normal, most_map;
};

enum { MOST_SUMS = 3 };

/* The job of the codes of save `index`, of a value of this layout; samples' places are sent when they have changed. 0, or 1. */
int gpu_saves_job(const actnn_call *call, uint32_t index, const actnn_view *value, tiles_job *job);
/* While preparing: what a save will need. 0, or 1. */
int gpu_saves_note(const actnn_call *call, uint32_t index);
int gpu_saves_note_map(const actnn_call *call, int64_t count);
/* Sums of each tile's `numbers` numbers over the tiles of a sample, in order, into sample_sum. */
int gpu_saves_sum(const actnn_call *call, const actnn_codec *codec, int numbers);
/* The same, brought to the processor: `to` has as many for each. */
int gpu_saves_fetch_sums(const actnn_call *call, const actnn_codec *codec, int numbers, double *to);
/* Spends the share of a save on its samples by the ranges in sample_sum (spending.cu): their choices and places, there. */
int gpu_spend(const actnn_call *call, uint32_t index);
/* What the code's noise does to the gradient that flows on through a normalization, as the processor's kernel notes it (saves_measure.cu). */
int gpu_saves_look_at_flow(const actnn_call *call, uint32_t index, const tiles_job &job);
/* True when this step's codes are to say what noise they make. */
bool gpu_saves_wants_noise(const actnn *trainer);

#endif
