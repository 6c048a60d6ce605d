/* tiles.h: the tiles of a coded value (codec.h) as blocks of threads work on them.
 *
 * A team of threads has a tile: half a block where every lane has a group of its own; 8 threads where 16 rows share one. A thread has four
 * neighbouring lanes of eight rows: it reads and writes them four at a time, 16 bytes of floats, the codes of a row are the bytes of one of its
 * words, and the draws of each lane come from one random block. */
#ifndef ACTNN_CUDA_TILES_H
#define ACTNN_CUDA_TILES_H

#include "division.h"
#include "floats.h"

extern "C" {
#include "codec_normal.h"
#include "saves_state.h"
}

enum {
  EIGHT = 8, /* rows of a thread */
  FOUR = 4,  /* and lanes */
  ALL_ROWS = (1 << EIGHT) - 1,
  FOURS = ACTNN_LANES / FOUR,                       /* threads side by side in a row; also words of a row's codes, a byte each */
  WHOLE_TEAM = ACTNN_TILE_ROWS / EIGHT * FOURS,     /* threads, of a tile whose lanes are groups */
  SHARED_TEAM = ACTNN_SHARED_ROWS / EIGHT * FOURS,  /* and where its rows share one */
  WHOLE_TEAMS = BLOCK_THREADS / WHOLE_TEAM,         /* of a block */
  SHARED_TEAMS = BLOCK_THREADS / SHARED_TEAM,
  ELEMENTS_OF_A_BLOCK = BLOCK_THREADS * EIGHT * FOUR,
  WARPS_OF_A_TEAM = WHOLE_TEAM / WARP
};

/* Kernels that keep much of each row in registers: so many blocks are to be at work at once, which hide each other's waiting. */
#ifdef ACTNN_SHIM
#define TILE_KERNEL KERNEL
#else
#define TILE_KERNEL static __global__ void __launch_bounds__(BLOCK_THREADS, 2)
#endif

/* Loops over a thread's own rows and lanes are unrolled, so that what is kept of each stays in registers, and loads of several rows are on
 * their way together. */
#ifdef ACTNN_SHIM
#define UNROLLED
#else
#define UNROLLED _Pragma("unroll")
#endif

/* Where a sample's codes are, and which of the save's choices of levels it has. */
typedef struct sample_place {
  uint64_t offset;
  int32_t choice;
} sample_place;

/* What follows from a number of levels; found by the processor. */
typedef struct level_form {
  int32_t levels;
  actnn_packing packing;
  uint64_t tile_bytes, run_bytes; /* of the codes of a whole tile, and of a run */
} level_form;

/* What is done to all tiles of a value; passed to kernels by value. */
typedef struct tiles_job {
  actnn_codec codec;
  bool is_plane;     /* channels lie one behind the other, not side by side */
  bool by_fours;     /* four elements side by side are so in memory, and aligned */
  Divisor tiles, run_tiles, positions;
  uint64_t header_bytes;
  uint8_t *stash;
  const sample_place *place; /* NULL: of no codes */
  actnn_code code;           /* levels are the sample's */
  level_form form[ACTNN_LEVEL_CHOICES];
  gpu_key key;
} tiles_job;

/* Rows of the same channels that follow one another, in a thread's four lanes: their elements lie at one distance. */
typedef struct row_run {
  int64_t at, stride; /* of the first lane: in the run's first row, and from row to row */
  int lanes;          /* how many of the four have elements */
  int64_t channel;    /* of the first lane; flat values: 0 */
  int segment;        /* which channels of the tile, from 0 */
  int rows;           /* of the tile, from the run's first on */
} row_run;

/* A thread's part in its team's tile. */
typedef struct tile_part {
  bool active;                 /* there is such a tile */
  int64_t each, sample, index; /* of all tiles; of its sample */
  actnn_tile tile;
  int rows;                       /* of the tile */
  int team, team_threads, thread; /* thread: within the team */
  int four;                       /* which of a row's */
  int first_row, count;           /* the thread's own rows within the tile, 0 to 8 */
  int64_t first_channels;         /* the tile's first row is one of these 16 */
  actnn_code code;
  actnn_packing packing;
  uint16_t *headers;
  uint32_t *words; /* of its codes, as they are packed */
} tile_part;

/* A thread's own elements. */
typedef struct own_values {
  float of[EIGHT][FOUR];
  uint32_t exists; /* a bit for each */
} own_values;

static inline __host__ __device__ int
threads_of_a_team(const actnn_codec &codec)
{
  return codec.lane_groups ? WHOLE_TEAM : SHARED_TEAM;
}

/* Blocks that hold so many teams. */
static inline int64_t
blocks_of_teams(const actnn_codec &codec, int64_t teams)
{
  int64_t in_a_block = BLOCK_THREADS / threads_of_a_team(codec);
  return (teams + in_a_block - 1) / in_a_block;
}

static inline int64_t
blocks_of_tiles(const actnn_codec &codec)
{
  return blocks_of_teams(codec, codec.samples * actnn_codec_tiles(&codec));
}

/* Segments of a tile, rows of the same 16 channels; where lanes are groups a tile has whole ones, or a part of one. */
static inline __host__ __device__ int
most_segments(const actnn_codec &codec)
{
  int64_t most = codec.lane_groups ? codec.tile_rows / codec.positions : (codec.tile_rows + codec.positions - 1) / codec.positions + 1;
  return most < 1 ? 1 : (int)(most < codec.tile_rows ? most : codec.tile_rows);
}

static inline __device__ int
lanes_of(int64_t elements)
{
  return elements < 0 ? 0 : elements < FOUR ? (int)elements : FOUR;
}

/* The run that begins at a row of the tile. */
static inline __device__ row_run
run_at(const tiles_job &job, const tile_part &part, int row)
{
  row_run run;
  const actnn_codec &codec = job.codec;
  int64_t in_sample = part.tile.first_row + row, rows;
  if (codec.rows_are == ACTNN_FLAT_ROWS) {
    int64_t element = in_sample * ACTNN_LANES + part.four * FOUR, whole = codec.channels / ACTNN_LANES;
    run.lanes = lanes_of(codec.channels - element);
    run.at = part.sample * codec.channels + element;
    run.stride = ACTNN_LANES;
    run.channel = run.segment = 0;
    rows = in_sample < whole ? whole - in_sample : 1; /* in the last one lanes may be missing */
  } else {
    int64_t channels = quotient(in_sample, job.positions), position = in_sample - channels * codec.positions;
    run.channel = channels * ACTNN_LANES + part.four * FOUR;
    run.lanes = lanes_of(codec.channels - run.channel);
    run.at = job.is_plane ? (part.sample * codec.channels + run.channel) * codec.positions + position
                          : (part.sample * codec.positions + position) * codec.channels + run.channel;
    run.stride = job.is_plane ? 1 : codec.channels;
    run.segment = (int)(channels - part.first_channels);
    rows = codec.positions - position;
  }
  run.rows = (int)(rows < part.rows - row ? rows : part.rows - row);
  return run;
}

/* Where a tile's codes are, and what they are like. */
static inline __device__ void
find_codes(const tiles_job &job, tile_part &part)
{
  const sample_place place = job.place[part.sample];
  const level_form &form = job.form[place.choice];
  uint8_t *bytes = job.stash + place.offset;
  part.code = job.code;
  part.code.levels = form.levels;
  part.packing = form.packing;
  part.headers = (uint16_t *)bytes + part.index * actnn_codec_tile_headers(&job.codec) * job.codec.header_words;
  part.words = (uint32_t *)(bytes + job.header_bytes + (uint64_t)part.tile.run * form.run_bytes + (uint64_t)part.tile.in_run * form.tile_bytes);
}

/* in_turn: tiles that a team works on one after the other; this is number `turn` of them. */
static inline __device__ tile_part
part_of(const tiles_job &job, int64_t in_turn = 1, int64_t turn = 0)
{
  tile_part part;
  part.team_threads = threads_of_a_team(job.codec);
  part.team = (int)threadIdx.x / part.team_threads;
  part.thread = (int)threadIdx.x % part.team_threads;
  part.four = part.thread % FOURS;
  part.first_row = part.thread / FOURS * EIGHT;
  part.each = ((int64_t)blockIdx.x * (BLOCK_THREADS / part.team_threads) + part.team) * in_turn + turn;
  part.active = part.each < job.codec.samples * job.tiles.number;
  if (!part.active)
    part.each = 0;
  part.sample = quotient(part.each, job.tiles);
  part.index = part.each - part.sample * job.tiles.number;
  int64_t run = quotient(part.index, job.run_tiles);
  part.tile = actnn_codec_tile_of_run(&job.codec, run, part.index - run * job.run_tiles.number);
  part.rows = (int)part.tile.rows;
  part.count = !part.active || part.first_row > part.rows ? 0 : part.rows - part.first_row < EIGHT ? part.rows - part.first_row : EIGHT;
  part.first_channels = quotient(part.tile.first_row, job.positions);
  part.code = job.code;
  if (job.place)
    find_codes(job, part);
  return part;
}

/* ---- own elements ---------------------------------------------------------------------------------------- */

/* Does what(run, rows) for each run of a thread's own rows: run.at is then where the first own row would be, were it of the run, and bit k of
 * `rows` says that own row k is. */
template <typename What>
static inline __device__ void
for_own_runs(const tiles_job &job, const tile_part &part, What what)
{
  for (int done = 0, until; done < part.count; done = until) {
    row_run run = run_at(job, part, part.first_row + done);
    run.at -= done * run.stride;
    until = run.rows < part.count - done ? done + run.rows : part.count;
    what(run, (1u << until) - (1u << done));
  }
}

/* Does what(k) for own rows that a mask names. */
template <typename What>
static inline __device__ void
for_rows(uint32_t rows, What what)
{
  UNROLLED
  for (int k = 0; k < EIGHT; k++)
    if (rows >> k & 1)
      what(k);
}

/* Does what(k, j) for own row k and lane j of the four, of the rows that a mask names. */
template <typename What>
static inline __device__ void
for_elements(uint32_t rows, What what)
{
  for_rows(rows, [&](int k) {
    UNROLLED
    for (int j = 0; j < FOUR; j++)
      what(k, j);
  });
}

static inline __device__ uint32_t
own_rows(const tile_part &part)
{
  return (1u << part.count) - 1;
}

static inline __device__ int64_t
place_of(const tiles_job &job, const row_run &run, int k, int j)
{
  return run.at + k * run.stride + j * (job.is_plane ? job.codec.positions : 1);
}

template <typename Element>
static inline __device__ void
load_fours(const Element *from, const row_run &run, uint32_t rows, own_values &own)
{
  Four<Element> four[EIGHT];
  for_rows(rows, [&](int k) { four[k] = *(const Four<Element> *)(from + run.at + k * run.stride); });
  for_elements(rows, [&](int k, int j) { own.of[k][j] = widened(four[k].of[j]); });
}

/* Elements of a run in which lanes are missing, or that do not lie side by side. */
template <typename Padding>
static inline __device__ void
load_singly(const tiles_job &job, const Floats &value, const row_run &run, uint32_t rows, Padding find_padding, own_values &own)
{
  float padding[FOUR] = {0, 0, 0, 0};
  if (run.lanes < FOUR)
    find_padding(padding);
  for_elements(rows, [&](int k, int j) { own.of[k][j] = j < run.lanes ? value[place_of(job, run, k, j)] : padding[j]; });
}

/* A thread's own elements of a value, all of them on their way before any is looked at; what is none has what find_padding(float[4]) says, rows
 * that the tile does not have zeros. */
template <typename Padding>
static inline __device__ own_values
load_own(const tiles_job &job, const tile_part &part, const Floats &value, Padding find_padding)
{
  own_values own;
  own.exists = 0;
  for_elements(ALL_ROWS, [&](int k, int j) { own.of[k][j] = 0; });
  for_own_runs(job, part, [&](const row_run &run, uint32_t rows) {
    for_rows(rows, [&](int k) { own.exists |= ((1u << run.lanes) - 1) << (FOUR * k); });
    if (!job.by_fours || run.lanes < FOUR)
      load_singly(job, value, run, rows, find_padding, own);
    else if (value.is_bfloat)
      load_fours((const bfloat_number *)value.data, run, rows, own);
    else
      load_fours((const float *)value.data, run, rows, own);
  });
  return own;
}

static inline __device__ own_values
load_own(const tiles_job &job, const tile_part &part, const Floats &value)
{
  return load_own(job, part, value, [](float *) {});
}

static inline __device__ bool
exists(const own_values &own, int k, int j)
{
  return own.exists >> (FOUR * k + j) & 1;
}

/* Writes the four elements of own row k of a run. */
static inline __device__ void
store_row(const tiles_job &job, const Floats &value, const row_run &run, int k, const Four<float> &four)
{
  if (!job.by_fours || run.lanes < FOUR) {
    UNROLLED
    for (int j = 0; j < FOUR; j++)
      if (j < run.lanes)
        value.put(place_of(job, run, k, j), four.of[j]);
  } else if (value.is_bfloat) {
    *(Four<uint16_t> *)((uint16_t *)value.data + run.at + k * run.stride) = rounded(four);
  } else {
    *(Four<float> *)((float *)value.data + run.at + k * run.stride) = four;
  }
}

static inline __device__ void
store_rows(const tiles_job &job, const Floats &value, const row_run &run, uint32_t rows, const own_values &own)
{
  for_rows(rows, [&](int k) { store_row(job, value, run, k, Four<float>{{own.of[k][0], own.of[k][1], own.of[k][2], own.of[k][3]}}); });
}

static inline __device__ void
store_own(const tiles_job &job, const tile_part &part, const Floats &value, const own_values &own)
{
  for_own_runs(job, part, [&](const row_run &run, uint32_t rows) { store_rows(job, value, run, rows, own); });
}

/* ---- sums over a team --------------------------------------------------------------------------------------- */

/* The sum over the threads of a team that have the same four lanes, of a warp of them where it has several. */
template <typename Number>
static inline __device__ Number
sum_of_rows(const tile_part &part, Number value)
{
  for (int apart = FOURS; apart < (part.team_threads < WARP ? part.team_threads : WARP); apart *= 2)
    value += __shfl_xor_sync(0xffffffffu, value, apart);
  return value;
}

/* The sum over a team's threads, in all of them. All threads of the block take part. */
static inline __device__ double
team_sum(const tile_part &part, double value)
{
  SHARED double of_warp[BLOCK_THREADS / WARP];
  value = sum_of_rows(part, value);
  for (int apart = 1; apart < FOURS; apart *= 2)
    value += __shfl_xor_sync(0xffffffffu, value, apart);
  if (part.team_threads <= WARP)
    return value;
  __syncthreads(); /* the last sums have been read */
  of_warp[threadIdx.x / WARP] = value;
  __syncthreads();
  value = 0;
  for (int warp = 0; warp < WARPS_OF_A_TEAM; warp++)
    value += of_warp[part.team * WARPS_OF_A_TEAM + warp];
  return value;
}

/* ---- draws ------------------------------------------------------------------------------------------------ */

/* The draws of a thread's rows in lane j of its four. */
static inline __device__ actnn_philox_block
draw_lane(const tile_part &part, const actnn_philox_key &key, int j)
{
  return actnn_philox(actnn_codec_counter(part.sample, part.index, part.first_row / EIGHT, part.four * FOUR + j), key, ACTNN_PHILOX_ROUNDS);
}

static inline __device__ uint32_t
draw_of(const actnn_philox_block &draws, int k)
{
  return draws.word[k / 2] >> (16 * (k % 2)) & 0xffffu;
}

/* The draws that codes were made with, where they are dithered. */
static inline __device__ actnn_philox_block
draws_of_codes(const tile_part &part, const actnn_philox_key &key, int j)
{
  return part.code.dither ? draw_lane(part, key, j) : actnn_philox_block();
}

/* ---- ranges ------------------------------------------------------------------------------------------------- */

typedef struct own_range {
  float minimum, maximum;
  float poison; /* zero if all values are finite, else NaN */
} own_range;

static inline __device__ own_range
empty_range(void)
{
  own_range range = {INFINITY, -INFINITY, 0};
  return range;
}

/* NaN leaves both ends as they are. */
static inline __device__ void
widen_by(own_range &range, float value)
{
  range.minimum = fminf(range.minimum, value);
  range.maximum = fmaxf(range.maximum, value);
  range.poison = fmaf(value, 0, range.poison);
}

static inline __device__ bool
is_finite(const own_range &range)
{
  return range.poison == 0;
}

static inline __device__ void
join(own_range &range, const own_range &other)
{
  range.minimum = fminf(range.minimum, other.minimum);
  range.maximum = fmaxf(range.maximum, other.maximum);
  range.poison += other.poison;
}

/* With the range of the thread whose number differs in these bits. */
static inline __device__ void
join_apart(own_range &range, int apart)
{
  own_range other;
  other.minimum = __shfl_xor_sync(0xffffffffu, range.minimum, apart);
  other.maximum = __shfl_xor_sync(0xffffffffu, range.maximum, apart);
  other.poison = __shfl_xor_sync(0xffffffffu, range.poison, apart);
  join(range, other);
}

/* The ranges of a block's lanes, by the warps that found them. */
typedef struct range_room {
  own_range of[BLOCK_THREADS / WARP][ACTNN_LANES];
} range_room;

/* Of a thread's own rows, lane by lane. */
static inline __device__ void
find_own_ranges(const tile_part &part, const own_values &own, own_range *range)
{
  UNROLLED
  for (int j = 0; j < FOUR; j++)
    range[j] = empty_range();
  for_elements(own_rows(part), [&](int k, int j) { widen_by(range[j], own.of[k][j]); });
}

/* Where lanes are groups: leaves the ranges of a team's lanes in the room. All threads of the block take part. */
static inline __device__ void
gather_ranges(const own_range *own, range_room &room)
{
  UNROLLED
  for (int j = 0; j < FOUR; j++) {
    own_range range = own[j];
    for (int apart = FOURS; apart < WARP; apart *= 2)
      join_apart(range, apart);
    if (threadIdx.x % WARP < FOURS)
      room.of[threadIdx.x / WARP][threadIdx.x % WARP * FOUR + j] = range;
  }
  __syncthreads();
}

static inline __device__ own_range
range_of_lane(const tile_part &part, const range_room &room, int lane)
{
  own_range range = room.of[part.team * WARPS_OF_A_TEAM][lane];
  for (int warp = 1; warp < WARPS_OF_A_TEAM; warp++)
    join(range, room.of[part.team * WARPS_OF_A_TEAM + warp][lane]);
  return range;
}

/* Where rows share a group: the team's range, in all of its threads, which all take part. */
static inline __device__ own_range
range_of_team(const own_range *own)
{
  own_range range = own[0];
  for (int j = 1; j < FOUR; j++)
    join(range, own[j]);
  for (int apart = 1; apart < SHARED_TEAM; apart *= 2)
    join_apart(range, apart);
  return range;
}

/* ---- headers ------------------------------------------------------------------------------------------------ */

/* Headers of a team's tile are made by its first threads, one each. */
static inline __device__ bool
makes_header(const tiles_job &job, const tile_part &part)
{
  return part.active && part.thread < (job.codec.lane_groups ? ACTNN_LANES : 1);
}

static inline __device__ uint16_t *
header_of(const tiles_job &job, const tile_part &part, int lane)
{
  return part.headers + (job.codec.lane_groups ? lane * job.codec.header_words : 0);
}

static inline __device__ actnn_header
read_header(const tiles_job &job, const tile_part &part, int lane)
{
  const uint16_t *word = header_of(job, part, lane);
  actnn_header header = {0, 0};
  if (job.codec.header_words > 0)
    header.base = word[0];
  if (job.codec.header_words > 1)
    header.step = word[1];
  return header;
}

static inline __device__ void
write_header(const tiles_job &job, const tile_part &part, int lane, actnn_header header)
{
  uint16_t *word = header_of(job, part, lane);
  if (job.codec.header_words > 0)
    word[0] = header.base;
  if (job.codec.header_words > 1)
    word[1] = header.step;
}

/* ---- codes -------------------------------------------------------------------------------------------------- */

/* The codes of a thread's own rows, those of its four lanes a byte each. */
typedef struct own_codes {
  uint32_t row[EIGHT];
} own_codes;

static inline __device__ own_codes
no_codes(void)
{
  own_codes codes;
  UNROLLED
  for (int k = 0; k < EIGHT; k++)
    codes.row[k] = 0;
  return codes;
}

static inline __device__ uint32_t
code_at(const own_codes &codes, int k, int j)
{
  return codes.row[k] >> (8 * j) & 0xff;
}

static inline __device__ void
set_code(own_codes &codes, int k, int j, uint32_t code)
{
  codes.row[k] += code << (8 * j); /* a shift and a sum are one instruction */
}

/* A block's codes as threads hand them to each other: between one thread's rows and the next's is a gap, so that neighbours write to different
 * banks. */
typedef struct code_room {
  uint32_t word[BLOCK_THREADS * (EIGHT + 1)];
} code_room;

static inline __device__ uint32_t &
room_of(const tile_part &part, code_room &room, int row, int four)
{
  return room.word[part.team * part.team_threads * (EIGHT + 1) + (row + row / EIGHT) * FOURS + four];
}

/* Symbols of four lanes in symbol row `row`: codes of rows `row`, row + symbols and so on, joined. A symbol is below 256: the four are worked
 * on together. */
static inline __device__ uint32_t
symbols_at(const tile_part &part, code_room &room, int symbols, int row, int four)
{
  uint32_t joined = 0;
  for (int in_symbol = part.packing.together - 1; in_symbol >= 0; in_symbol--) {
    int at = in_symbol * symbols + row;
    joined = joined * (uint32_t)part.code.levels + (at < part.rows ? room_of(part, room, at, four) : 0);
  }
  return joined;
}

/* The same bits of four bytes. */
static inline __device__ uint32_t
in_each_byte(int bits)
{
  return (uint32_t)bits * 0x01010101u;
}

static inline __device__ int
symbols_of(const tile_part &part)
{
  int together = part.packing.together;
  return together == 1 ? part.rows : (part.rows + together - 1) / together;
}

/* actnn_codec_plane_rows by a shift. */
static inline __device__ int
rows_of_plane(int symbols, int width)
{
  int shift = width == 8 ? 0 : width == 4 ? 1 : width == 2 ? 2 : 3;
  return (symbols + (1 << shift) - 1) >> shift;
}

/* Packs the codes of a team's tile as codec_levels.h and codec_pack.h do: the team's threads write all words, neighbours side by side. All
 * threads of the block take part. */
static inline __device__ void
pack_tile(const tile_part &part, const own_codes &own, code_room &room)
{
  UNROLLED
  for (int k = 0; k < EIGHT; k++)
    room_of(part, room, part.first_row + k, part.four) = own.row[k];
  __syncthreads();
  if (!part.active)
    return;
  int symbols = symbols_of(part);
  uint32_t *to = part.words;
  for (int shift = 0, width; shift < part.packing.bits; shift += width) {
    width = actnn_codec_plane_width(part.packing.bits - shift);
    int plane_rows = rows_of_plane(symbols, width);
    uint32_t mask = in_each_byte((1 << width) - 1);
    for (int i = part.thread; i < plane_rows * FOURS; i += part.team_threads) {
      uint32_t word = 0;
      for (int row = i / FOURS, place = 0; row < symbols; row += plane_rows, place += width) {
        uint32_t four = part.packing.together == 1 ? room_of(part, room, row, part.four) : symbols_at(part, room, symbols, row, part.four);
        word |= (four >> shift & mask) << place;
      }
      to[i] = word;
    }
    to += plane_rows * FOURS;
  }
}

/* 1 / number in units of 1 / 65536, rounded up: exact quotients of what is below 256. */
static inline __device__ uint32_t
inverse_of(uint32_t number)
{
  return 65536u / number + 1;
}

/* Of four symbols the codes whose place is worth `power` (inverse: of that), a power of the number of levels. */
static inline __device__ uint32_t
split_symbols(const tile_part &part, uint32_t four, uint32_t inverse)
{
  uint32_t levels = (uint32_t)part.code.levels, inverse_of_levels = inverse_of(levels), codes = 0;
  UNROLLED
  for (int j = 0; j < FOUR; j++) {
    uint32_t rest = (four >> 8 * j & 0xff) * inverse >> 16;
    codes |= (rest - (rest * inverse_of_levels >> 16) * levels) << 8 * j;
  }
  return codes;
}

/* The codes of a thread's own rows, from where they are packed: rows that follow one another lie so in a plane, until they go on in higher bits
 * of its first word, or in the next code of the first symbol. */
static inline __device__ own_codes
read_own_codes(const tile_part &part)
{
  own_codes own = no_codes();
  if (part.count == 0)
    return own;
  int symbols = symbols_of(part), start = part.first_row;
  uint32_t power = 1;
  for (; start >= symbols; power *= (uint32_t)part.code.levels)
    start -= symbols;
  const uint32_t *plane = part.words + part.four;
  for (int shift = 0, width; shift < part.packing.bits; shift += width) {
    width = actnn_codec_plane_width(part.packing.bits - shift);
    int plane_rows = rows_of_plane(symbols, width), row = start, byte_row = start, place = 0;
    uint32_t mask = in_each_byte((1 << width) - 1);
    for (; byte_row >= plane_rows; place += width)
      byte_row -= plane_rows;
    UNROLLED
    for (int k = 0; k < EIGHT; k++) {
      if (k < part.count)
        own.row[k] |= (plane[byte_row * FOURS] >> place & mask) << shift;
      bool is_last_symbol = ++row == symbols, is_last_byte = ++byte_row == plane_rows;
      row = is_last_symbol ? 0 : row;
      byte_row = is_last_symbol || is_last_byte ? 0 : byte_row;
      place = is_last_symbol ? 0 : is_last_byte ? place + width : place;
    }
    plane += plane_rows * FOURS;
  }
  if (part.packing.together == 1)
    return own;
  uint32_t inverse = inverse_of(power);
  UNROLLED
  for (int k = 0; k < EIGHT; k++) {
    own.row[k] = split_symbols(part, own.row[k], inverse);
    if (++start == symbols) {
      start = 0;
      power *= (uint32_t)part.code.levels;
      inverse = inverse_of(power);
    }
  }
  return own;
}

/* The codes of four lanes of any row. */
static inline __device__ uint32_t
four_codes_at(tile_part part, int row, int four)
{
  part.first_row = row;
  part.four = four;
  part.count = 1;
  return read_own_codes(part).row[0];
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

/* The job of all tiles of a value of this geometry and layout, without codes. */
tiles_job gpu_plain_job(const actnn *trainer, const actnn_codec *codec, const actnn_view *value);
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
int gpu_saves_look_at_flow(const actnn_call *call, uint32_t index);
/* True when this step's codes are to say what noise they make. */
bool gpu_saves_wants_noise(const actnn *trainer);

#endif
