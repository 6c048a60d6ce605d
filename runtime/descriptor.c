/* descriptor.c: see descriptor.h. */
#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { LARGEST_PIECE = 1 << 30 }; /* what every system takes at once */

int
descriptor_open(const char *path, int flags)
{
  int descriptor;
  do
    descriptor = open(path, flags | O_CLOEXEC, 0666);
  while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

static size_t
piece_of(size_t bytes)
{
  return bytes < LARGEST_PIECE ? bytes : LARGEST_PIECE;
}

/* place: NULL: from where the descriptor stands. */
static ssize_t
read_all(int descriptor, void *data, size_t bytes, const uint64_t *place)
{
  size_t done = 0;
  while (done < bytes) {
    size_t piece = piece_of(bytes - done);
    char *to = (char *)data + done;
    ssize_t part = place ? pread(descriptor, to, piece, (off_t)(*place + done)) : read(descriptor, to, piece);
    if (part < 0 && errno == EINTR)
      continue;
    if (part < 0)
      return -1;
    if (!part)
      break;
    done += (size_t)part;
  }
  return (ssize_t)done;
}

ssize_t
descriptor_read(int descriptor, void *data, size_t bytes)
{
  return read_all(descriptor, data, bytes, NULL);
}

ssize_t
descriptor_read_at(int descriptor, void *data, size_t bytes, uint64_t place)
{
  return read_all(descriptor, data, bytes, &place);
}

bool
descriptor_write(int descriptor, const void *data, size_t bytes)
{
  const char *place = data;
  while (bytes) {
    ssize_t part = write(descriptor, place, piece_of(bytes));
    if (part < 0 && errno == EINTR)
      continue;
    if (!part)
      errno = ENOSPC;
    if (part <= 0)
      return false;
    place += part;
    bytes -= (size_t)part;
  }
  return true;
}

bool
descriptor_sync(int descriptor)
{
  int result;
  do
    result = fsync(descriptor);
  while (result && errno == EINTR);
  return !result || errno == EINVAL || errno == EROFS;
}

bool
descriptor_close(int descriptor)
{
  return !close(descriptor) || errno == EINTR; /* an interrupted close has closed all the same */
}
