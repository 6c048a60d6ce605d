/* safetensors_read.c: reads .safetensors files, which may be hostile: no length is used before it is checked
 * against the file's, and the JSON header is read by a parser that knows only this format's three levels, so it
 * needs no recursion and accepts nothing else. */
#include "safetensors.h"
#include "descriptor.h"
#include "text_buffer.h"
#include "trainer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { LARGEST_HEADER = 64 << 20, PIECE = 1 << 16 };

static const struct {
  const char *name;
  int type;
} type_names[] = {{"F32", ACTNN_F32},  {"F64", ACTNN_F64}, {"F16", ACTNN_F16}, {"BF16", ACTNN_BF16},
                  {"I64", ACTNN_I64},  {"I32", ACTNN_I32}, {"I16", ACTNN_I16}, {"I8", ACTNN_I8},
                  {"U64", ACTNN_U64},  {"U32", ACTNN_U32}, {"U16", ACTNN_U16}, {"U8", ACTNN_U8},
                  {"BOOL", ACTNN_BOOL}};

static bool __attribute__((format(printf, 2, 3))) fail(safetensors_file *file, const char *format, ...)
{
  char reason[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  snprintf(file->error, sizeof file->error, "%.120s: %s", file->path, text_make_printable(reason));
  return false;
}

/* ---- the header --------------------------------------------------------------------------------- */

/* Reads forward through the header, decoding strings in place: decoded text is never longer. */
typedef struct cursor {
  char *at, *end; /* *end is a NUL */
} cursor;

static void
skip_space(cursor *text)
{
  while (text->at < text->end &&
         (*text->at == ' ' || *text->at == '\t' || *text->at == '\n' || *text->at == '\r'))
    text->at++;
}

static bool
take(cursor *text, char wanted)
{
  skip_space(text);
  if (text->at == text->end || *text->at != wanted)
    return false;
  text->at++;
  return true;
}

static bool
take_hex(cursor *text, unsigned *code)
{
  *code = 0;
  for (int digit = 0; digit < 4; digit++, text->at++) {
    char c = text->at < text->end ? *text->at : 0;
    int value = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (value < 0)
      return false;
    *code = *code * 16 + (unsigned)value;
  }
  return true;
}

static char *
put_utf8(char *out, unsigned code)
{
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6);
    *out++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *out++ = (char)(0xe0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
  } else {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 0x3f));
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
  }
  return out;
}

/* What follows a backslash. */
static bool
take_escape(cursor *text, char **out)
{
  static const char written[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  char c = text->at < text->end ? *text->at++ : 0;
  unsigned code, low;
  if (c == 'u') {
    if (!take_hex(text, &code) || !code || (code >= 0xdc00 && code < 0xe000))
      return false;
    if (code >= 0xd800 && code < 0xdc00) {
      if (text->end - text->at < 6 || text->at[0] != '\\' || text->at[1] != 'u')
        return false;
      text->at += 2;
      if (!take_hex(text, &low) || low < 0xdc00 || low >= 0xe000)
        return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *out = put_utf8(*out, code);
    return true;
  }
  const char *place = c ? strchr(written, c) : NULL;
  if (!place)
    return false;
  *(*out)++ = meant[place - written];
  return true;
}

static bool
take_string(cursor *text, const char **string)
{
  if (!take(text, '"'))
    return false;
  char *out = text->at;
  *string = out;
  while (text->at < text->end && *text->at != '"') {
    if (*text->at == '\\') {
      text->at++;
      if (!take_escape(text, &out))
        return false;
      continue;
    }
    size_t length = utf8_length(text->at);
    if (!length || (unsigned char)*text->at < 0x20)
      return false;
    memmove(out, text->at, length);
    out += length;
    text->at += length;
  }
  if (text->at == text->end)
    return false;
  text->at++;
  *out = 0; /* at most where the closing quote was */
  return true;
}

static bool
take_integer(cursor *text, uint64_t *number)
{
  skip_space(text);
  if (text->at == text->end || *text->at < '0' || *text->at > '9')
    return false;
  if (*text->at == '0' && text->at[1] >= '0' && text->at[1] <= '9')
    return false;
  for (*number = 0; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++)
    if (__builtin_mul_overflow(*number, 10u, number) ||
        __builtin_add_overflow(*number, (unsigned)(*text->at - '0'), number))
      return false;
  return text->at == text->end || !strchr(".eE", *text->at) || !*text->at;
}

/* [a, b, ...], at most `limit` numbers. */
static bool
take_integers(cursor *text, uint64_t *number, int limit, int *count)
{
  *count = 0;
  if (!take(text, '['))
    return false;
  if (take(text, ']'))
    return true;
  do {
    if (*count == limit || !take_integer(text, &number[*count]))
      return false;
    ++*count;
  } while (take(text, ','));
  return take(text, ']');
}

static bool
take_entry(cursor *text, safetensors_entry *entry)
{
  bool has_type = false, has_shape = false, has_offsets = false;
  uint64_t number[ACTNN_MAX_RANK], needed;
  int count;
  if (!take(text, '{'))
    return false;
  do {
    const char *key, *name;
    if (!take_string(text, &key) || !take(text, ':'))
      return false;
    if (!strcmp(key, "dtype") && !has_type && take_string(text, &name)) {
      for (size_t index = 0; index < sizeof type_names / sizeof *type_names; index++)
        if (!strcmp(name, type_names[index].name))
          entry->type = type_names[index].type;
      has_type = entry->type != ACTNN_UNDEFINED;
      if (!has_type)
        return false;
    } else if (!strcmp(key, "shape") && !has_shape &&
               take_integers(text, number, ACTNN_MAX_RANK, &entry->rank)) {
      for (int axis = 0; axis < entry->rank; axis++) {
        if (number[axis] > INT64_MAX)
          return false;
        entry->dim[axis] = (int64_t)number[axis];
      }
      has_shape = true;
    } else if (!strcmp(key, "data_offsets") && !has_offsets && take_integers(text, number, 2, &count) &&
               count == 2 && number[0] <= number[1]) {
      entry->begin = number[0];
      entry->bytes = number[1] - number[0];
      has_offsets = true;
    } else {
      return false;
    }
  } while (take(text, ','));
  if (!take(text, '}') || !has_type || !has_shape || !has_offsets)
    return false;
  needed = trainer_type_bytes(entry->type);
  for (int axis = 0; axis < entry->rank; axis++)
    if (__builtin_mul_overflow(needed, (uint64_t)entry->dim[axis], &needed))
      return false;
  return needed == entry->bytes;
}

/* Room for one more in an array that doubles. */
static bool
grow(void **array, size_t count, size_t size)
{
  if (count & (count - 1)) /* full only at powers of two */
    return true;
  void *larger = realloc(*array, (count ? 2 * count : 1) * size);
  if (larger)
    *array = larger;
  return larger != NULL;
}

static bool
take_metadata(cursor *text, safetensors_file *file)
{
  if (!take(text, '{'))
    return false;
  if (take(text, '}'))
    return true;
  do {
    safetensors_pair pair;
    if (!take_string(text, &pair.key) || !take(text, ':') || !take_string(text, &pair.value) ||
        !grow((void **)&file->metadata, file->metadata_count, sizeof pair))
      return false;
    file->metadata[file->metadata_count++] = pair;
  } while (take(text, ','));
  return take(text, '}');
}

static bool
take_header(cursor *text, safetensors_file *file)
{
  bool has_metadata = false;
  if (!take(text, '{'))
    return false;
  if (!take(text, '}')) {
    do {
      safetensors_entry entry = {0};
      if (!take_string(text, &entry.name) || !take(text, ':'))
        return false;
      if (!strcmp(entry.name, "__metadata__")) {
        if (has_metadata || !take_metadata(text, file))
          return false;
        has_metadata = true;
      } else {
        if (!take_entry(text, &entry) || !grow((void **)&file->entry, file->entry_count, sizeof entry))
          return false;
        file->entry[file->entry_count++] = entry;
      }
    } while (take(text, ','));
    if (!take(text, '}'))
      return false;
  }
  skip_space(text);
  return text->at == text->end;
}

static int
by_place(const void *a, const void *b)
{
  const safetensors_entry *left = a, *right = b;
  if (left->begin != right->begin)
    return left->begin < right->begin ? -1 : 1;
  return (left->bytes > right->bytes) - (left->bytes < right->bytes); /* empty ones first */
}

static int
by_name(const void *a, const void *b)
{
  return strcmp(((const safetensors_entry *)a)->name, ((const safetensors_entry *)b)->name);
}

static bool
check_entries(safetensors_file *file)
{
  uint64_t place = 0;
  if (file->entry_count)
    qsort(file->entry, file->entry_count, sizeof *file->entry, by_place);
  for (size_t index = 0; index < file->entry_count; index++) {
    const safetensors_entry *entry = &file->entry[index];
    if (entry->begin != place || entry->bytes > file->data_bytes - place)
      return fail(file, "tensors leave a gap, overlap or reach past the end of the file (truncated?)");
    place += entry->bytes;
  }
  if (place != file->data_bytes)
    return fail(file, "the file is longer than its tensors");
  if (file->entry_count)
    qsort(file->entry, file->entry_count, sizeof *file->entry, by_name);
  for (size_t index = 1; index < file->entry_count; index++)
    if (!strcmp(file->entry[index - 1].name, file->entry[index].name))
      return fail(file, "a tensor stands in it twice");
  return true;
}

static bool
read_at(safetensors_file *file, void *data, size_t bytes, uint64_t place)
{
  ssize_t count = descriptor_read_at(file->descriptor, data, bytes, place);
  if (count < 0)
    return fail(file, "cannot be read: %s", strerror(errno));
  return (size_t)count == bytes || fail(file, "was truncated while it was read");
}

static bool
read_header(safetensors_file *file)
{
  struct stat status;
  unsigned char start[8];
  uint64_t length = 0;
  if (fstat(file->descriptor, &status))
    return fail(file, "cannot be examined: %s", strerror(errno));
  if (!S_ISREG(status.st_mode))
    return fail(file, "is not a regular file");
  if (status.st_size < 8)
    return fail(file, "is too short to be a safetensors file");
  if (!read_at(file, start, 8, 0))
    return false;
  for (int index = 7; index >= 0; index--)
    length = length << 8 | start[index];
  if (length > LARGEST_HEADER || length > (uint64_t)status.st_size - 8)
    return fail(file, "is no safetensors file, or truncated (header of %llu bytes)",
                (unsigned long long)length);
  file->data_start = 8 + length;
  file->data_bytes = (uint64_t)status.st_size - file->data_start;
  file->header = malloc((size_t)length + 8); /* NULs behind the text end every lookahead */
  if (!file->header)
    return fail(file, "out of memory");
  memset(file->header + length, 0, 8);
  if (!read_at(file, file->header, (size_t)length, 8))
    return false;
  cursor text = {file->header, file->header + length};
  if (!take_header(&text, file))
    return fail(file, "its header is not understood at byte %zu", 8 + (size_t)(text.at - file->header));
  return check_entries(file);
}

/* ---- the file ----------------------------------------------------------------------------------- */

bool
safetensors_open(safetensors_file *file, const char *path)
{
  *file = (safetensors_file){.path = path, .descriptor = descriptor_open(path, O_RDONLY | O_NONBLOCK)}; /* no pipe hangs it */
  if (file->descriptor < 0)
    return fail(file, "%s", strerror(errno));
  if (read_header(file))
    return true;
  safetensors_close(file);
  return false;
}

void
safetensors_close(safetensors_file *file)
{
  if (file->descriptor >= 0)
    close(file->descriptor);
  free(file->header);
  free(file->entry);
  free(file->metadata);
  file->descriptor = -1;
  file->header = NULL;
  file->entry = NULL;
  file->metadata = NULL;
  file->entry_count = file->metadata_count = 0;
}

const safetensors_entry *
safetensors_find(const safetensors_file *file, const char *name)
{
  safetensors_entry wanted = {.name = name};
  if (!file->entry_count)
    return NULL;
  return bsearch(&wanted, file->entry, file->entry_count, sizeof wanted, by_name);
}

const char *
safetensors_metadata(const safetensors_file *file, const char *key)
{
  for (size_t index = 0; index < file->metadata_count; index++)
    if (!strcmp(file->metadata[index].key, key))
      return file->metadata[index].value;
  return NULL;
}

bool
safetensors_read(safetensors_file *file, const safetensors_entry *entry, void *data)
{
  return read_at(file, data, (size_t)entry->bytes, file->data_start + entry->begin);
}

bool
safetensors_checksum(safetensors_file *file, const safetensors_entry *entry, uint32_t *checksum)
{
  unsigned char piece[PIECE];
  uLong crc = crc32(0, NULL, 0);
  for (uint64_t done = 0; done < entry->bytes;) {
    size_t bytes = entry->bytes - done < sizeof piece ? (size_t)(entry->bytes - done) : sizeof piece;
    if (!read_at(file, piece, bytes, file->data_start + entry->begin + done))
      return false;
    crc = crc32(crc, piece, (uInt)bytes);
    done += bytes;
  }
  *checksum = (uint32_t)crc;
  return true;
}
