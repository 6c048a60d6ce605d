/* copying.h: bytes from one place to another, by all threads. */
#ifndef ACTNN_COPYING_H
#define ACTNN_COPYING_H

#include <stddef.h>
#include <string.h>

/* Places that do not overlap. */
static inline void
copy_by_threads(void *to, const void *from, size_t bytes)
{
  enum { PIECE = 1 << 20 };
#pragma omp parallel for schedule(static) if (bytes > PIECE)
  for (size_t place = 0; place < bytes; place += PIECE)
    memcpy((char *)to + place, (const char *)from + place, bytes - place < PIECE ? bytes - place : PIECE);
}

#endif
