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
  if (threadIdx.x % WARP == 0)
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

#endif
