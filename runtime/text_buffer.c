/* text_buffer.c: growing text, and strings as JSON has them. */
#include "text_buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
reserve(text_buffer *buffer, size_t more)
{
  if (buffer->failed)
    return false;
  if (more < buffer->capacity - buffer->length)
    return true;
  size_t capacity = 2 * buffer->capacity + more + 64;
  char *text = realloc(buffer->text, capacity);
  if (!text) {
    buffer->failed = true;
    return false;
  }
  buffer->text = text;
  buffer->capacity = capacity;
  return true;
}

void
text_add_bytes(text_buffer *buffer, const char *bytes, size_t count)
{
  if (!reserve(buffer, count))
    return;
  memcpy(buffer->text + buffer->length, bytes, count);
  buffer->length += count;
  buffer->text[buffer->length] = 0;
}

void
text_add(text_buffer *buffer, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0 || !reserve(buffer, (size_t)length))
    return;
  va_start(arguments, format);
  vsnprintf(buffer->text + buffer->length, (size_t)length + 1, format, arguments);
  va_end(arguments);
  buffer->length += (size_t)length;
}

char *
text_make_printable(char *text)
{
  for (char *place = text; *place; place++)
    if ((unsigned char)*place < 0x20 || *place == 0x7f)
      *place = '?';
  return text;
}

size_t
utf8_length(const char *text)
{
  const unsigned char *byte = (const unsigned char *)text;
  size_t length = byte[0] < 0x80                      ? 1
                  : byte[0] >= 0xc2 && byte[0] < 0xe0 ? 2
                  : byte[0] >= 0xe0 && byte[0] < 0xf0 ? 3
                  : byte[0] >= 0xf0 && byte[0] < 0xf5 ? 4
                                                      : 0;
  for (size_t index = 1; index < length; index++)
    if ((byte[index] & 0xc0) != 0x80)
      return 0;
  if ((byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xed && byte[1] > 0x9f) || /* overlong; surrogates */
      (byte[0] == 0xf0 && byte[1] < 0x90) || (byte[0] == 0xf4 && byte[1] > 0x8f))
    return 0;
  return length;
}

void
text_add_json(text_buffer *buffer, const char *text)
{
  text_add_bytes(buffer, "\"", 1);
  while (*text) {
    size_t length = utf8_length(text);
    unsigned char first = (unsigned char)*text;
    if (!length)
      text_add_bytes(buffer, "\xef\xbf\xbd", 3);
    else if (first == '"' || first == '\\')
      text_add(buffer, "\\%c", first);
    else if (first < 0x20 || first == 0x7f)
      text_add(buffer, "\\u%04x", first);
    else
      text_add_bytes(buffer, text, length);
    text += length ? length : 1;
  }
  text_add_bytes(buffer, "\"", 1);
}
