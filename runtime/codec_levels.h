/* codec_levels.h: codes of any number of levels, several to a symbol, as planes of bits; and back. Part of codec.c.
 *
 * Of a tile of R rows, symbol row i of S = ceil(R / together) holds the codes of rows i, i + S, i + 2S and so on, the first
 * worth 1, the next `levels`, then levels^2; rows beyond the tile count as code 0. */
#ifndef ACTNN_CODEC_LEVELS_H
#define ACTNN_CODEC_LEVELS_H

#include "codec_pack.h"
#include "codec_rows.h"

static void
join_codes(const uint8_t *restrict codes, size_t count, size_t size, int together, int levels, uint8_t *restrict symbol)
{
  memset(symbol, 0, size);
  for (int part = together - 1; part >= 0; part--) {
    size_t start = (size_t)part * size, here = count > start ? count - start : 0;
    if (here > size)
      here = size;
    for (size_t i = 0; i < here; i++)
      symbol[i] = (uint8_t)(symbol[i] * levels + codes[start + i]);
    for (size_t i = here; i < size; i++)
      symbol[i] = (uint8_t)(symbol[i] * levels);
  }
}

static void
part_codes(uint8_t *restrict symbol, size_t count, size_t size, int together, int levels, uint8_t *restrict codes)
{
  uint16_t inverse = (uint16_t)(65536 / levels + 1); /* exact for symbols below 256 and 3 or more levels */
  for (int part = 0; part < together; part++) {
    size_t start = (size_t)part * size, here = count > start ? count - start : 0;
    if (here > size)
      here = size;
    for (size_t i = 0; i < here; i++) {
      uint16_t quotient = (uint16_t)((uint32_t)symbol[i] * inverse >> 16);
      codes[start + i] = (uint8_t)(symbol[i] - quotient * levels);
      symbol[i] = (uint8_t)quotient;
    }
  }
}

static void
pack_levels(const uint8_t *codes, int64_t rows, int levels, uint8_t *packed)
{
  actnn_packing packing = actnn_codec_packing(levels);
  uint8_t symbol[ACTNN_TILE_ROWS * LANES];
  size_t size = (size_t)((rows + packing.together - 1) / packing.together) * LANES;
  if (packing.together > 1) {
    join_codes(codes, (size_t)rows * LANES, size, packing.together, levels, symbol);
    codes = symbol;
  }
  pack_units(codes, size, LANES, packing.bits, packed);
}

static void
unpack_levels(const uint8_t *packed, int64_t rows, int levels, uint8_t *codes)
{
  actnn_packing packing = actnn_codec_packing(levels);
  uint8_t symbol[ACTNN_TILE_ROWS * LANES];
  size_t size = (size_t)((rows + packing.together - 1) / packing.together) * LANES;
  unpack_units(packed, size, LANES, packing.bits, packing.together > 1 ? symbol : codes);
  if (packing.together > 1)
    part_codes(symbol, (size_t)rows * LANES, size, packing.together, levels, codes);
}

#endif
