/* zlib.h: checksums for machines without zlib's own header; packed files of data are refused there. */
#ifndef ACTNN_BUNDLE_ZLIB_H
#define ACTNN_BUNDLE_ZLIB_H

#if defined(__has_include_next) && __has_include_next(<zlib.h>)
#include_next <zlib.h>
#define ACTNN_HAS_ZLIB 1
#else

#include <stddef.h>
#include <stdint.h>

typedef unsigned char Bytef;
typedef unsigned int uInt;
typedef unsigned long uLong;
typedef struct z_stream {
  const Bytef *next_in;
  Bytef *next_out;
  uInt avail_in, avail_out;
} z_stream;

enum { Z_OK = 0, Z_STREAM_END = 1, Z_MEM_ERROR = -4, Z_NO_FLUSH = 0 };

/* The reflected polynomial 0xEDB88320, a bit at a time: checkpoints are small beside the steps between them. */
static inline uLong
crc32(uLong sum, const Bytef *bytes, uInt count)
{
  uint32_t register_ = ~(uint32_t)sum;
  for (uInt i = 0; bytes && i < count; i++) {
    register_ ^= bytes[i];
    for (int bit = 0; bit < 8; bit++)
      register_ = register_ >> 1 ^ (0xEDB88320u & (0u - (register_ & 1)));
  }
  return bytes ? ~register_ : 0;
}

static inline int inflateInit2(z_stream *stream, int bits) { return (void)stream, (void)bits, Z_MEM_ERROR; }
static inline int inflate(z_stream *stream, int flush) { return (void)stream, (void)flush, Z_MEM_ERROR; }
static inline int inflateEnd(z_stream *stream) { return (void)stream, Z_OK; }
static inline int inflateReset(z_stream *stream) { return (void)stream, Z_MEM_ERROR; }

#endif
#endif
