/* tile_codes.h: the codes of a tile as a team of threads (tiles.h) makes and reads them: the ranges of its groups, their headers, and codes as they
 * are packed. */
#ifndef ACTNN_CUDA_TILE_CODES_H
#define ACTNN_CUDA_TILE_CODES_H

#include "tiles.h"

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

/* ---- spacings ------------------------------------------------------------------------------------------------- */

/* run(a type whose value is the spacing), even for all that are coded as even levels are. */
template <actnn_spacing Spacing>
struct known_spacing {
  static constexpr actnn_spacing value = Spacing;
};

template <typename Run>
static int
with_spacing(actnn_spacing spacing, Run run)
{
  switch (spacing) {
  case ACTNN_MASKED_LEVELS: return run(known_spacing<ACTNN_MASKED_LEVELS>());
  case ACTNN_SQUARE_LEVELS: return run(known_spacing<ACTNN_SQUARE_LEVELS>());
  default: return run(known_spacing<ACTNN_EVEN_LEVELS>());
  }
}

#endif
