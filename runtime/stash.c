/* stash.c: how many bytes coded and packed values take. Used by the planner, which reserves them, and by the
 * runtime, which fills them; pure arithmetic on extents, checked against overflow because extents come from
 * model files. */
#include "codec.h"

#include <string.h>

static const int64_t most_elements = INT64_C(1) << 48;

/* *product *= factor unless that exceeds what can be addressed. */
static int
multiply(int64_t *product, int64_t factor)
{
  if (factor < 0 || (factor > 0 && *product > most_elements / factor))
    return 1;
  *product *= factor;
  return 0;
}

static int64_t
divide_up(int64_t value, int64_t divisor)
{
  return (value + divisor - 1) / divisor;
}

/* Cuts the rows of a sample into tiles. Lane groups have about 256 elements: a long channel is split evenly,
 * several short ones of the same lane are joined, also evenly. */
static void
cut(actnn_codec *codec)
{
  int64_t blocks = divide_up(codec->channels, ACTNN_LANES), positions = codec->positions;
  codec->lane_groups = codec->rows_are != ACTNN_FLAT_ROWS && codec->rows >= ACTNN_LANE_GROUP_ROWS;
  codec->runs = 1;
  codec->run_rows = codec->rows;
  codec->tile_rows = ACTNN_SHARED_ROWS;
  if (codec->lane_groups && positions > ACTNN_TILE_ROWS) {
    codec->runs = blocks;
    codec->run_rows = positions;
    /* A multiple of 8 rows leaves no byte of a plane partly used. */
    codec->tile_rows = divide_up(divide_up(positions, divide_up(positions, ACTNN_TILE_ROWS)), 8) * 8;
  } else if (codec->lane_groups) {
    int64_t tiles = divide_up(blocks, ACTNN_TILE_ROWS / positions);
    codec->tile_rows = divide_up(blocks, tiles) * positions;
  }
  codec->run_tiles = divide_up(codec->run_rows, codec->tile_rows);
}

const char *
actnn_spacing_name(int spacing)
{
  static const char *const names[ACTNN_SPACINGS] = {"even", "fixed", "masked", "square", "normal"};
  return spacing >= 0 && spacing < ACTNN_SPACINGS ? names[spacing] : NULL;
}

int
actnn_choice_levels(int choice)
{
  static const int levels[ACTNN_LEVEL_CHOICES] = {2, 3, 4, 5, 6, 8, 11, 16, 32, 64, 128, 256};
  return choice >= 0 && choice < ACTNN_LEVEL_CHOICES ? levels[choice] : 0;
}

int
actnn_least_levels(actnn_spacing spacing, bool rectified, float cap)
{
  if (spacing == ACTNN_NORMAL_LEVELS && rectified)
    return cap > 0 ? 6 : 4;
  return spacing == ACTNN_MASKED_LEVELS ? 3 : 2;
}

int
actnn_codec_geometry(actnn_codec *codec, const int64_t *dim, int rank, actnn_layout layout, actnn_spacing spacing)
{
  static const int header_words[ACTNN_SPACINGS] = {[ACTNN_EVEN_LEVELS] = 2,   [ACTNN_FIXED_LEVELS] = 0,
                                                   [ACTNN_MASKED_LEVELS] = 1, [ACTNN_SQUARE_LEVELS] = 1,
                                                   [ACTNN_NORMAL_LEVELS] = 2};
  int64_t elements = ACTNN_LANES; /* the padding of the last block */
  if (rank < 0 || rank > ACTNN_MAX_RANK || layout == ACTNN_STASH || (layout == ACTNN_BLOCKED && rank < 3) ||
      spacing < 0 || spacing >= ACTNN_SPACINGS || (spacing == ACTNN_NORMAL_LEVELS && layout != ACTNN_BLOCKED))
    return 1;
  for (int axis = 0; axis < rank; axis++)
    if (multiply(&elements, dim[axis] ? dim[axis] : 1))
      return 1;
  memset(codec, 0, sizeof *codec);
  codec->samples = rank < 2 ? 1 : dim[0];
  codec->channels = 1;
  codec->positions = 1;
  codec->header_words = header_words[spacing];
  bool features = layout == ACTNN_PLAIN && rank >= 3 && dim[rank - 1] % ACTNN_LANES == 0;
  codec->rows_are = layout == ACTNN_BLOCKED ? ACTNN_CHANNEL_ROWS
                    : features              ? ACTNN_FEATURE_ROWS
                                            : ACTNN_FLAT_ROWS;
  int channel_axis = layout == ACTNN_BLOCKED ? 1 : rank - 1;
  for (int axis = rank < 2 ? 0 : 1; axis < rank; axis++) {
    if (codec->rows_are == ACTNN_FLAT_ROWS || axis == channel_axis)
      codec->channels *= dim[axis];
    else
      codec->positions *= dim[axis];
  }
  if (codec->channels == 0 || codec->positions == 0 || codec->samples == 0) {
    codec->samples = 0; /* nothing to code; the rest is left in a shape that can be computed with */
    codec->channels = codec->positions = 1;
  }
  codec->rows = divide_up(codec->channels, ACTNN_LANES) * codec->positions;
  cut(codec);
  return actnn_codec_tiles(codec) > UINT32_MAX; /* the tile's number is one word of the random counter */
}

uint64_t
actnn_codec_sample_bytes(const actnn_codec *codec, int levels)
{
  actnn_tile end = {codec->rows, 0, codec->runs, 0};
  return actnn_codec_code_offset(codec, end, levels);
}

uint64_t
actnn_stash_bytes(const int64_t *dim, int rank, actnn_layout layout, actnn_spacing spacing, int levels)
{
  actnn_codec codec;
  if (levels < 2 || levels > 256 || actnn_codec_geometry(&codec, dim, rank, layout, spacing))
    return UINT64_MAX;
  uint64_t bytes = (uint64_t)codec.samples * actnn_codec_sample_bytes(&codec, levels); /* fits: the elements were bounded */
  return (bytes + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
}

uint64_t
actnn_packed_bytes(const int64_t *dim, int rank, actnn_layout layout, int bits)
{
  int64_t elements = 1;
  if (bits < 1 || bits > ACTNN_MAX_BITS || rank < 0 || rank > ACTNN_MAX_RANK || layout == ACTNN_STASH ||
      (layout == ACTNN_BLOCKED && rank < 3))
    return UINT64_MAX;
  for (int axis = 0; axis < rank; axis++) {
    if (dim[axis] < 0 || dim[axis] > most_elements)
      return UINT64_MAX;
    /* The widest channel block pads most. */
    bool channels = layout == ACTNN_BLOCKED && axis == 1;
    if (multiply(&elements, channels ? divide_up(dim[axis], ACTNN_LANES) * ACTNN_LANES : dim[axis]))
      return UINT64_MAX;
  }
  return actnn_pack_bytes((uint64_t)elements, bits);
}

uint64_t
actnn_pack_bytes(uint64_t elements, int bits)
{
  uint64_t rest = elements % ACTNN_PACK_CHUNK,
           bytes = elements / ACTNN_PACK_CHUNK * (ACTNN_PACK_CHUNK / 8) * (uint64_t)bits;
  for (int left = bits; left > 0; left -= actnn_codec_plane_width(left))
    bytes += (rest * (uint64_t)actnn_codec_plane_width(left) + 7) / 8;
  return bytes;
}
