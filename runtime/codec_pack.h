/* codec_pack.h: codes of 1 to 8 bits as planes of bits, and back. Part of codec.c. */
#ifndef ACTNN_CODEC_PACK_H
#define ACTNN_CODEC_PACK_H

#include "codec.h"

/* Eight codes at once, in a word: none of the shifts below carries bits from one byte into the next. */
static inline uint64_t
load_word(const uint8_t *from)
{
  uint64_t word;
  memcpy(&word, from, sizeof word);
  return word;
}

static inline void
store_word(uint8_t *to, uint64_t word)
{
  memcpy(to, &word, sizeof word);
}

/* The first `count` bytes of a plane, a multiple of 8, for which all parts have a code. */
static inline void
pack_words(const uint8_t *restrict codes, size_t count, int shift, const int width, size_t size,
           uint8_t *restrict plane)
{
  const uint64_t mask = 0x0101010101010101u * (uint64_t)((1 << width) - 1);
  for (size_t i = 0; i < count; i += 8) {
    uint64_t word = 0;
#pragma GCC unroll 8
    for (int part = 8 / width - 1; part >= 0; part--)
      word = word << (width & 7) | (load_word(codes + (size_t)part * size + i) >> shift & mask);
    store_word(plane + i, word);
  }
}

static inline void
unpack_words(const uint8_t *restrict plane, size_t count, int shift, const int width, size_t size,
             uint8_t *restrict codes)
{
  const uint64_t mask = 0x0101010101010101u * (uint64_t)((1 << width) - 1);
#pragma GCC unroll 8
  for (int part = 0; part < 8 / width; part++) {
    uint8_t *to = codes + (size_t)part * size;
    if (shift == 0)
      for (size_t i = 0; i < count; i += 8)
        store_word(to + i, load_word(plane + i) >> (part * width) & mask);
    else
      for (size_t i = 0; i < count; i += 8)
        store_word(to + i, load_word(to + i) | (load_word(plane + i) >> (part * width) & mask) << shift);
  }
}

/* Bytes of a plane, a multiple of 8, for which every part has a code. */
static size_t
whole_words(size_t count, int width, size_t size)
{
  size_t others = (size_t)(8 / width - 1) * size;
  return count > others ? (count - others) / 8 * 8 : 0;
}

/* Writes bits `shift` and up, `width` wide, of `count` codes as a plane of `size` bytes. */
static void
pack_plane(const uint8_t *restrict codes, size_t count, int shift, int width, size_t size,
           uint8_t *restrict plane)
{
  uint8_t mask = (uint8_t)((1 << width) - 1);
  size_t done = whole_words(count, width, size);
  switch (width) { /* widths that the compiler knows */
  case 1: pack_words(codes, done, shift, 1, size, plane); break;
  case 2: pack_words(codes, done, shift, 2, size, plane); break;
  case 4: pack_words(codes, done, shift, 4, size, plane); break;
  default: pack_words(codes, done, shift, 8, size, plane); break;
  }
  for (size_t i = done; i < size; i++) {
    int byte = 0;
    for (size_t place = i, part = 0; place < count; place += size, part += (size_t)width)
      byte |= (codes[place] >> shift & mask) << part;
    plane[i] = (uint8_t)byte;
  }
}

static void
unpack_plane(const uint8_t *restrict plane, size_t count, int shift, int width, size_t size,
             uint8_t *restrict codes)
{
  uint8_t mask = (uint8_t)((1 << width) - 1);
  size_t done = whole_words(count, width, size);
  switch (width) {
  case 1: unpack_words(plane, done, shift, 1, size, codes); break;
  case 2: unpack_words(plane, done, shift, 2, size, codes); break;
  case 4: unpack_words(plane, done, shift, 4, size, codes); break;
  default: unpack_words(plane, done, shift, 8, size, codes); break;
  }
  for (size_t i = done; i < size; i++)
    for (size_t place = i, part = 0; place < count; place += size, part += (size_t)width)
      codes[place] = (uint8_t)((shift ? codes[place] : 0) | (plane[i] >> part & mask) << shift);
}

/* unit: elements that stay side by side, 16 for rows of codes. */
static void
pack_units(const uint8_t *codes, size_t count, size_t unit, int bits, uint8_t *packed)
{
  for (int shift = 0, width; shift < bits; shift += width) {
    width = actnn_codec_plane_width(bits - shift);
    size_t size = (size_t)actnn_codec_plane_rows((int64_t)(count / unit), width) * unit;
    pack_plane(codes, count, shift, width, size, packed);
    packed += size;
  }
}

static void
unpack_units(const uint8_t *packed, size_t count, size_t unit, int bits, uint8_t *codes)
{
  for (int shift = 0, width; shift < bits; shift += width) {
    width = actnn_codec_plane_width(bits - shift);
    size_t size = (size_t)actnn_codec_plane_rows((int64_t)(count / unit), width) * unit;
    unpack_plane(packed, count, shift, width, size, codes);
    packed += size;
  }
}

#endif
