/* data_npy.c: NumPy's .npy arrays and .npz archives (zip files of .npy members, stored or deflated). */
#include "data.h"

#include <stdlib.h>
#include <string.h>

/* ---- .npy --------------------------------------------------------------------------------------- */

static int
npy_type(char kind, int size)
{
  static const struct {
    char kind;
    int size, type;
  } known[] = {{'u', 1, ACTNN_U8},  {'i', 1, ACTNN_I8},  {'b', 1, ACTNN_BOOL}, {'u', 2, ACTNN_U16},
               {'i', 2, ACTNN_I16}, {'u', 4, ACTNN_U32}, {'i', 4, ACTNN_I32},  {'u', 8, ACTNN_U64},
               {'i', 8, ACTNN_I64}, {'f', 2, ACTNN_F16}, {'f', 4, ACTNN_F32},  {'f', 8, ACTNN_F64}};
  for (size_t index = 0; index < sizeof known / sizeof *known; index++)
    if (known[index].kind == kind && known[index].size == size)
      return known[index].type;
  return ACTNN_UNDEFINED;
}

/* The value of a key in the header's Python dictionary, e.g. {'descr': '<f4', 'fortran_order': False, 'shape':
 * (3,)} */
static const char *
value_of(const char *header, const char *key)
{
  const char *place = strstr(header, key);
  if (!place)
    return NULL;
  place += strlen(key);
  while (*place == ' ')
    place++;
  if (*place++ != ':')
    return NULL;
  while (*place == ' ')
    place++;
  return place;
}

static bool
parse_shape(const char *text, data_array *array)
{
  if (*text++ != '(')
    return false;
  for (array->rank = 0;;) {
    while (*text == ' ')
      text++;
    if (*text == ')')
      return true;
    if (*text < '0' || *text > '9' || array->rank == ACTNN_MAX_RANK)
      return false;
    int64_t extent = 0;
    for (; *text >= '0' && *text <= '9'; text++)
      if (__builtin_mul_overflow(extent, 10, &extent) || __builtin_add_overflow(extent, *text - '0', &extent))
        return false;
    array->dim[array->rank++] = extent;
    while (*text == ' ')
      text++;
    if (*text == ',')
      text++;
    else if (*text != ')')
      return false;
  }
}

/* Fills type, rank and extents; *size and *is_swapped describe the elements as stored. */
static bool
parse_header(data_set *set, const char *header, data_array *array, size_t *size, bool *is_swapped)
{
  const char *type = value_of(header, "'descr'"), *order = value_of(header, "'fortran_order'"),
             *shape = value_of(header, "'shape'");
  if (!type || *type != '\'' || !order || !shape || !strchr("<>|=", type[1]) || !type[1] || !type[2])
    return data_fail(set, "%s: its .npy header is not understood", array->file);
  int bytes = type[3] >= '1' && type[3] <= '8' && type[4] == '\'' ? type[3] - '0' : 0;
  array->type = npy_type(type[2], bytes);
  if (!array->type)
    return data_fail(set, "%s: its elements are neither integers nor floats; convert them with astype()",
                     array->file);
  if (!parse_shape(shape, array) || array->rank < 1)
    return data_fail(set, "%s: its shape is not understood, or has no axis of samples", array->file);
  if (strncmp(order, "False", 5) && array->rank > 1)
    return data_fail(set, "%s: is in Fortran order; save numpy.ascontiguousarray() of it", array->file);
  *size = (size_t)bytes;
  *is_swapped =
      (type[1] == '>' && !data_is_big_endian_machine()) || (type[1] == '<' && data_is_big_endian_machine());
  return true;
}

bool
data_parse_npy(data_set *set, const unsigned char *bytes, size_t count, const char *path, const char *name)
{
  data_array *array = data_add(set, name, path);
  if (!array)
    return false;
  if (count < 12 || memcmp(bytes, "\x93NUMPY", 6))
    return data_fail(set, "%s: is not a .npy file", array->file);
  size_t start = bytes[6] == 1 ? 10 : 12;
  size_t length = bytes[8] | (size_t)bytes[9] << 8;
  if (start == 12)
    length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
  if (length > count - start)
    return data_fail(set, "%s: is truncated in its header", array->file);
  char *header = malloc(length + 8);
  if (!header)
    return data_fail(set, "%s: out of memory", array->file);
  memcpy(header, bytes + start, length);
  memset(header + length, 0, 8);
  size_t size = 1, sample;
  bool is_swapped = false, done = parse_header(set, header, array, &size, &is_swapped);
  free(header);
  if (!done)
    return false;
  if (!data_sample_bytes(array, &sample))
    return data_fail(set, "%s: claims more elements than memory could hold", array->file);
  size_t total = sample * (size_t)array->dim[0];
  if (total > count - start - length)
    return data_fail(set, "%s: is truncated: %zu bytes of data instead of %zu", array->file,
                     count - start - length, total);
  array->memory = malloc(total + 1);
  if (!array->memory)
    return data_fail(set, "%s: out of memory", array->file);
  memcpy(array->memory, bytes + start + length, total);
  array->data = array->memory;
  array->stride = sample;
  if (is_swapped && total)
    data_swap_bytes(array->memory, total / size, size);
  return true;
}

bool
data_read_npy(data_set *set, const char *path, const char *name)
{
  size_t got;
  data_stream *stream = data_open_stream(set, path);
  if (!stream)
    return false;
  unsigned char *bytes = data_read_bytes(set, stream, path, SIZE_MAX, &got);
  data_close_stream(stream);
  bool done = bytes && data_parse_npy(set, bytes, got, path, name);
  free(bytes);
  return done;
}

/* ---- .npz --------------------------------------------------------------------------------------- */

static uint32_t
word(const unsigned char *bytes, int count)
{
  uint32_t value = 0;
  for (int index = count - 1; index >= 0; index--)
    value = value << 8 | bytes[index];
  return value;
}

/* Inflates a member whose length the archive gives; memory grows with what comes out, not with what is claimed.
 */
static unsigned char *
inflate_member(const unsigned char *bytes, size_t count, size_t length)
{
  z_stream stream = {.next_in = (unsigned char *)bytes, .avail_in = (uInt)count};
  size_t capacity = length < (1 << 20) ? length + 1 : (1 << 20), done = 0;
  unsigned char *out = malloc(capacity);
  int state = Z_OK;
  if (!out || inflateInit2(&stream, -15) != Z_OK) { /* negative: a raw stream, as zip has them */
    free(out);
    return NULL;
  }
  while (state == Z_OK) {
    if (done == capacity) {
      capacity = capacity < length / 2 ? 2 * capacity : length + 1;
      unsigned char *larger = realloc(out, capacity);
      if (!larger)
        break;
      out = larger;
    }
    size_t room = capacity - done < (1u << 30) ? capacity - done : (1u << 30);
    stream.next_out = out + done;
    stream.avail_out = (uInt)room;
    state = inflate(&stream, Z_NO_FLUSH);
    done += room - stream.avail_out;
    if (done > length)
      break;
  }
  inflateEnd(&stream);
  if (state == Z_STREAM_END && done == length)
    return out;
  free(out);
  return NULL;
}

typedef struct zip_file {
  const unsigned char *bytes;
  size_t count;
  const char *path;
} zip_file;

/* One member, described by its 46-byte entry of the central directory. */
static bool
read_member(data_set *set, const zip_file *zip, const unsigned char *entry, const char *name)
{
  uint32_t method = word(entry + 10, 2), checksum = word(entry + 16, 4), packed = word(entry + 20, 4),
           length = word(entry + 24, 4), place = word(entry + 42, 4);
  if (packed == UINT32_MAX || length == UINT32_MAX || place == UINT32_MAX)
    return data_fail(set, "%s: '%s' is larger than 4 GiB; save it as a .npy file", zip->path, name);
  if (word(entry + 8, 2) & 1)
    return data_fail(set, "%s: '%s' is encrypted", zip->path, name);
  if (place > zip->count - 30 || memcmp(zip->bytes + place, "PK\3\4", 4)) /* the entry alone has 46 bytes */
    return data_fail(set, "%s: is damaged: '%s' is not where its directory says", zip->path, name);
  const unsigned char *local = zip->bytes + place;
  size_t start = (size_t)place + 30 + word(local + 26, 2) + word(local + 28, 2);
  if (start > zip->count || packed > zip->count - start)
    return data_fail(set, "%s: is truncated in '%s'", zip->path, name);
  const unsigned char *data = zip->bytes + start;
  unsigned char *inflated = NULL;
  if (method == 8)
    data = inflated = inflate_member(data, packed, length);
  else if (method != 0 || packed != length)
    data = NULL;
  bool done = data && crc32(crc32(0, NULL, 0), data, length) == checksum;
  if (!done)
    data_fail(set, "%s: '%s' is damaged or packed in an unknown way", zip->path, name);
  done = done && data_parse_npy(set, data, length, zip->path, name);
  free(inflated);
  return done;
}

static bool
read_directory(data_set *set, const zip_file *zip)
{
  size_t end = zip->count < 22 ? 0 : zip->count - 22, lowest = end > 65535 ? end - 65535 : 0;
  if (zip->count < 22)
    return data_fail(set, "%s: is too short to be a .npz file", zip->path);
  while (end > lowest && memcmp(zip->bytes + end, "PK\5\6", 4)) /* a comment may follow the end record */
    end--;
  if (memcmp(zip->bytes + end, "PK\5\6", 4))
    return data_fail(set, "%s: is truncated: the archive's directory is missing", zip->path);
  uint32_t members = word(zip->bytes + end + 10, 2);
  size_t place = word(zip->bytes + end + 16, 4);
  for (uint32_t index = 0; index < members; index++) {
    char name[256];
    if (place > end || end - place < 46 || memcmp(zip->bytes + place, "PK\1\2", 4))
      return data_fail(set, "%s: the archive's directory is damaged", zip->path);
    const unsigned char *entry = zip->bytes + place;
    size_t name_length = word(entry + 28, 2),
           whole = 46 + name_length + word(entry + 30, 2) + word(entry + 32, 2);
    if (whole > end - place || name_length >= sizeof name)
      return data_fail(set, "%s: the archive's directory is damaged", zip->path);
    memcpy(name, entry + 46, name_length);
    name[name_length] = 0;
    if (name_length > 4 && !strcmp(name + name_length - 4, ".npy"))
      name[name_length - 4] = 0;
    if (!read_member(set, zip, entry, name))
      return false;
    place += whole;
  }
  return members > 0 || data_fail(set, "%s: holds no arrays", zip->path);
}

bool
data_read_npz(data_set *set, const char *path)
{
  zip_file zip = {.path = path};
  data_stream *stream = data_open_stream(set, path);
  if (!stream)
    return false;
  unsigned char *bytes = data_read_bytes(set, stream, path, SIZE_MAX, &zip.count);
  data_close_stream(stream);
  zip.bytes = bytes;
  bool done = bytes && read_directory(set, &zip);
  free(bytes);
  return done;
}
