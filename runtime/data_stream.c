/* data_stream.c: a file of data, unpacked on the way where it is gzip-compressed. zlib's own file functions give up when a read
 * is interrupted, so that only its decoder is used. */
#include "data.h"
#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 17, GZIP_ONLY = 15 + 16 };

struct data_stream {
  int descriptor;
  const char *path; /* the caller's */
  bool is_packed, is_at_end; /* is_at_end: of a packed file all is unpacked */
  z_stream inflate;
  unsigned char buffer[BUFFER];
};

static bool
fill(data_set *set, data_stream *stream)
{
  ssize_t count = descriptor_read(stream->descriptor, stream->buffer, BUFFER);
  stream->inflate.next_in = stream->buffer;
  stream->inflate.avail_in = count > 0 ? (uInt)count : 0;
  return count >= 0 || data_fail(set, "%s: cannot be read: %s", stream->path, strerror(errno));
}

static bool
starts_member(const data_stream *stream)
{
  const unsigned char *in = stream->inflate.next_in;
  return stream->inflate.avail_in > 1 && in[0] == 0x1f && in[1] == 0x8b;
}

static data_stream *
make(data_set *set, const char *path, int descriptor)
{
  data_stream *stream = calloc(1, sizeof *stream);
  if (!stream) {
    data_fail(set, "%s: out of memory", path);
    close(descriptor);
    return NULL;
  }
  stream->descriptor = descriptor;
  stream->path = path;
  if (!fill(set, stream)) {
    data_close_stream(stream);
    return NULL;
  }
  stream->is_packed = starts_member(stream);
  if (stream->is_packed && inflateInit2(&stream->inflate, GZIP_ONLY) != Z_OK) {
    stream->is_packed = false; /* nothing to end */
    data_fail(set, "%s: out of memory", path);
    data_close_stream(stream);
    return NULL;
  }
  return stream;
}

data_stream *
data_open_stream(data_set *set, const char *path)
{
  struct stat status;
  int descriptor = descriptor_open(path, O_RDONLY | O_NONBLOCK); /* so that a pipe without a writer cannot hang it */
  if (descriptor < 0 || fstat(descriptor, &status)) {
    data_fail(set, "%s: %s", path, strerror(errno));
  } else if (!S_ISREG(status.st_mode)) {
    data_fail(set, "%s: is not a regular file", path);
  } else {
    return make(set, path, descriptor);
  }
  if (descriptor >= 0)
    close(descriptor);
  return NULL;
}

void
data_close_stream(data_stream *stream)
{
  if (!stream)
    return;
  if (stream->is_packed)
    inflateEnd(&stream->inflate);
  close(stream->descriptor);
  free(stream);
}

/* Bytes as they are: first those that were looked at. */
static ssize_t
read_plain(data_set *set, data_stream *stream, unsigned char *data, size_t wanted)
{
  size_t held = stream->inflate.avail_in < wanted ? stream->inflate.avail_in : wanted;
  memcpy(data, stream->inflate.next_in, held);
  stream->inflate.next_in += held;
  stream->inflate.avail_in -= (uInt)held;
  ssize_t count = held < wanted ? descriptor_read(stream->descriptor, data + held, wanted - held) : 0;
  if (count >= 0)
    return (ssize_t)held + count;
  data_fail(set, "%s: cannot be read: %s", stream->path, strerror(errno));
  return -1;
}

/* Behind a member another may follow; anything else there is none of ours. */
static bool
open_next(data_set *set, data_stream *stream)
{
  unsigned char *in = stream->buffer;
  memmove(in, stream->inflate.next_in, stream->inflate.avail_in);
  stream->inflate.next_in = in;
  while (stream->inflate.avail_in < 2) {
    ssize_t count = descriptor_read(stream->descriptor, in + stream->inflate.avail_in, BUFFER - stream->inflate.avail_in);
    if (count < 0)
      return data_fail(set, "%s: cannot be read: %s", stream->path, strerror(errno));
    if (!count)
      break;
    stream->inflate.avail_in += (uInt)count;
  }
  stream->is_at_end = !starts_member(stream) || inflateReset(&stream->inflate) != Z_OK;
  return true;
}

/* Unpacks what the next call of the decoder gives; false after data_fail. */
static bool
unpack(data_set *set, data_stream *stream)
{
  if (!stream->inflate.avail_in && !fill(set, stream))
    return false;
  if (!stream->inflate.avail_in)
    return data_fail(set, "%s: is truncated", stream->path);
  int state = inflate(&stream->inflate, Z_NO_FLUSH);
  if (state == Z_STREAM_END)
    return open_next(set, stream);
  if (state == Z_OK || state == Z_BUF_ERROR)
    return true;
  return data_fail(set, "%s: cannot be read: %s", stream->path,
                   state == Z_MEM_ERROR ? "out of memory" : "its compressed data is damaged");
}

ssize_t
data_read(data_set *set, data_stream *stream, void *data, size_t wanted)
{
  size_t done = 0;
  if (!stream->is_packed)
    return read_plain(set, stream, data, wanted);
  while (done < wanted && !stream->is_at_end) {
    size_t room = wanted - done < (1u << 30) ? wanted - done : (1u << 30);
    stream->inflate.next_out = (unsigned char *)data + done;
    stream->inflate.avail_out = (uInt)room;
    if (!unpack(set, stream))
      return -1;
    done += room - stream->inflate.avail_out;
  }
  return (ssize_t)done;
}
