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
  WORDS_OF_A_ROW = ACTNN_LANES / 4, /* of codes, a byte each */
  CODES_OF_A_BLOCK = ACTNN_TILE_ROWS * ACTNN_LANES
};

/* Kernels that keep much of each row in registers: so many blocks are to be at work at once, which hide each other's waiting. */
#ifdef ACTNN_SHIM
#define TILE_KERNEL KERNEL
#else
#define TILE_KERNEL static __global__ void __launch_bounds__(BLOCK_THREADS, 2)
#endif

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

/* Rows of the same channels that follow one another, in a thread's lane: their elements lie at one distance. */
typedef struct row_run {
  int64_t at, stride; /* of the first row, < 0: nothing lies there; from row to row */
  bool exists;        /* what lies there is an element, and not what fills the last channel block */
  int64_t channel;    /* of the lane; flat values: 0 */
  int segment;        /* which channels of the tile, from 0 */
  int rows;           /* of the tile, from the run's first on */
} row_run;

/* A thread's part in its team's tile. */
typedef struct tile_part {
  bool active; /* there is such a tile */
  int64_t each, sample, index; /* of all tiles; of its sample */
  actnn_tile tile;
  int rows; /* of the tile */
  int team, team_threads, thread; /* thread: within the team */
  int lane, first_eight, eights;
  row_run first_run; /* from the tile's first row on */
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

/* The run that begins at a row of the tile. */
static inline __device__ row_run
run_at(const actnn_codec &codec, int block, const tile_part &part, int row)
{
  row_run run;
  int64_t in_sample = part.tile.first_row + row, follow;
  actnn_codec in_memory = codec;
  if (codec.rows_are == ACTNN_CHANNEL_ROWS)
    in_memory.channels = (codec.channels + block - 1) / block * block;
  run.at = actnn_codec_element(&in_memory, block, part.sample, in_sample, part.lane);
  run.exists = run.at >= 0;
  run.channel = run.segment = 0;
  if (codec.rows_are == ACTNN_FLAT_ROWS) {
    run.stride = ACTNN_LANES;
    follow = run.at < 0 ? part.rows - row : (codec.channels - in_sample * ACTNN_LANES - part.lane + ACTNN_LANES - 1) / ACTNN_LANES;
  } else {
    int64_t which = in_sample / codec.positions;
    run.stride = codec.rows_are == ACTNN_FEATURE_ROWS ? codec.channels : block;
    run.channel = which * ACTNN_LANES + part.lane;
    run.exists = run.channel < codec.channels;
    run.segment = (int)(which - part.tile.first_row / codec.positions);
    follow = (which + 1) * codec.positions - in_sample;
  }
  run.rows = (int)(follow < part.rows - row ? follow : part.rows - row);
  return run;
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
  part.first_run = run_at(job.codec, job.block, part, 0);
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

/* ---- own rows -------------------------------------------------------------------------------------------- */

/* Loops over a thread's own rows are unrolled, so that what is kept of each stays in registers, and loads of several rows are on their way
 * together. */
#ifdef ACTNN_SHIM
#define UNROLLED
#else
#define UNROLLED _Pragma("unroll")
#endif

/* An own row's place in the value. */
typedef struct row_place {
  int64_t at;  /* < 0: it has none */
  bool exists; /* there is an element; otherwise it is to be zero */
} row_place;

/* Does `what` for each own row of the tile, in order: what(k, row, place), and before that, for each run of them, enter(run). Rows of the tile's
 * first run, mostly all, are found without a division. */
template <typename Enter, typename What>
static inline __device__ void
for_own_runs(const tiles_job &job, const tile_part &part, Enter enter, What what)
{
  UNROLLED
  for (int eight = 0; eight < EIGHTS; eight++) {
    int row = own_row(part, eight * EIGHT), count = part.active && eight < part.eights ? part.rows - row : 0;
    count = count < EIGHT ? count : EIGHT;
    for (int done = 0, until; done < count; done = until) {
      row_run run = part.first_run;
      int past = row + done;
      if (past >= run.rows)
        run = run_at(job.codec, job.block, part, past);
      else
        run.rows -= past;
      until = run.rows < count - done ? done + run.rows : count;
      enter(run);
      bool is_somewhere = run.at >= 0;
      int64_t at = run.at + (past >= part.first_run.rows ? -done : row) * run.stride;
      UNROLLED
      for (int k = 0; k < EIGHT; k++, at += run.stride)
        if (k >= done && k < until)
          what(eight * EIGHT + k, row + k, row_place{is_somewhere ? at : -1, run.exists});
    }
  }
}

template <typename What>
static inline __device__ void
for_own_rows(const tiles_job &job, const tile_part &part, What what)
{
  for_own_runs(job, part, [](const row_run &) {}, what);
}

/* A thread's own elements of a value, before any of them is looked at or anything is written; `padding` for what is none. */
static inline __device__ void
load_own_rows(const tiles_job &job, const tile_part &part, const Floats &value, float padding, float *own)
{
  for_own_rows(job, part, [&](int k, int, row_place place) { own[k] = place.exists ? value[place.at] : padding; });
}

/* Writes an element; what fills the last channel block is zero. */
static inline __device__ void
store_element(const Floats &value, row_place place, float element)
{
  if (place.at >= 0)
    value.put(place.at, place.exists ? element : 0);
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

/* The same bits of four bytes. */
static inline __device__ uint32_t
in_each_byte(int bits)
{
  return (uint32_t)bits * 0x01010101u;
}

/* Packs the codes of a team's tile, [rows][16] in shared memory, as codec_levels.h and codec_pack.h do. The team's threads write
 * all words, neighbours side by side; where a symbol is a code, four codes are worked on at a time. */
static inline __device__ void
pack_tile(const tiles_job &job, const tile_part &part, const uint32_t *words)
{
  const uint8_t *codes = (const uint8_t *)words;
  actnn_packing packing = actnn_codec_packing(part.code.levels);
  int symbols = (part.rows + packing.together - 1) / packing.together, levels = part.code.levels;
  uint32_t *to = (uint32_t *)(part.bytes + actnn_codec_code_offset(&job.codec, part.tile, levels));
  for (int shift = 0, width; shift < packing.bits; shift += width) {
    width = actnn_codec_plane_width(packing.bits - shift);
    int plane_rows = (int)actnn_codec_plane_rows(symbols, width);
    uint32_t mask = in_each_byte((1 << width) - 1);
    for (int i = part.thread; part.active && i < plane_rows * WORDS_OF_A_ROW; i += part.team_threads) {
      uint32_t word = 0;
      for (int row = i / WORDS_OF_A_ROW, place = 0; row < symbols; row += plane_rows, place += width) {
        uint32_t four = 0;
        if (packing.together == 1)
          four = words[row * WORDS_OF_A_ROW + i % WORDS_OF_A_ROW];
        else
          for (int k = 0; k < 4; k++)
            four |= symbol_at(codes, part.rows, symbols, packing.together, levels, row, i % WORDS_OF_A_ROW * 4 + k) << 8 * k;
        word |= (four >> shift & mask) << place;
      }
      to[i] = word;
    }
    to += plane_rows * WORDS_OF_A_ROW;
  }
}

/* A tile's codes as they are packed. */
typedef struct packed_codes {
  const uint32_t *words;
  actnn_packing packing;
  int symbols, levels;
} packed_codes;

static inline __device__ packed_codes
packed_codes_of(const tiles_job &job, const tile_part &part)
{
  packed_codes packed;
  packed.words = (const uint32_t *)(part.bytes + actnn_codec_code_offset(&job.codec, part.tile, part.code.levels));
  packed.packing = actnn_codec_packing(part.code.levels);
  packed.symbols = (part.rows + packed.packing.together - 1) / packed.packing.together;
  packed.levels = part.code.levels;
  return packed;
}

/* The codes of four lanes of a row, from lane 4 * quarter on, a byte each. */
static inline __device__ uint32_t
four_codes_at(const packed_codes &packed, int row, int quarter)
{
  uint32_t four = 0;
  int at = row, part = 0;
  const uint32_t *plane = packed.words;
  while (at >= packed.symbols) {
    at -= packed.symbols;
    part++;
  }
  for (int shift = 0, width; shift < packed.packing.bits; shift += width) {
    width = actnn_codec_plane_width(packed.packing.bits - shift);
    int plane_rows = (int)actnn_codec_plane_rows(packed.symbols, width), byte_row = at, place = 0;
    while (byte_row >= plane_rows) {
      byte_row -= plane_rows;
      place += width;
    }
    four |= (plane[byte_row * WORDS_OF_A_ROW + quarter] >> place & in_each_byte((1 << width) - 1)) << shift;
    plane += plane_rows * WORDS_OF_A_ROW;
  }
  if (packed.packing.together == 1)
    return four;
  uint32_t inverse = 65536u / (uint32_t)packed.levels + 1, codes = 0; /* exact for symbols below 256 (codec_levels.h) */
  for (int k = 0; k < 4; k++) {
    uint32_t symbol = four >> 8 * k & 0xff;
    for (int i = part; i > 0; i--)
      symbol = symbol * inverse >> 16;
    codes |= (symbol - (symbol * inverse >> 16) * (uint32_t)packed.levels) << 8 * k;
  }
  return codes;
}

/* Brings a tile's codes to shared memory, [rows][16]. room: of the block. All threads of the block take part. */
static inline __device__ const uint8_t *
load_codes(const tiles_job &job, const tile_part &part, uint32_t *room)
{
  uint32_t *own = room + part.team * (CODES_OF_A_BLOCK / 4 / (BLOCK_THREADS / part.team_threads));
  const packed_codes packed = packed_codes_of(job, part);
  for (int i = part.thread; part.active && i < part.rows * WORDS_OF_A_ROW; i += part.team_threads)
    own[i] = four_codes_at(packed, i / WORDS_OF_A_ROW, i % WORDS_OF_A_ROW);
  __syncthreads(); /* whoever loads into the same room again has a barrier before */
  return (const uint8_t *)own;
}

/* ---- on the processor's side (saves_tables.cu) ------------------------------------------------------------------------ */

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
