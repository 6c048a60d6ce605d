/* text.c: growing text; capacity doubles, old copies stay in the arena until it goes. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
reserve(Text *text, size_t more)
{
  if (text->length + more + 1 <= text->capacity) return;
  size_t capacity = (text->length + more + 1) * 2;
  char *bytes = arena_allocate(text->arena, capacity);
  if (text->length) memcpy(bytes, text->bytes, text->length);
  text->bytes = bytes;
  text->capacity = capacity;
}

void
text_append_bytes(Text *text, const void *bytes, size_t count)
{
  reserve(text, count);
  memcpy(text->bytes + text->length, bytes, count);
  text->length += count;
  text->bytes[text->length] = 0;
}

void
text_append(Text *text, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  reserve(text, (size_t)length);
  va_start(arguments, format);
  vsnprintf(text->bytes + text->length, (size_t)length + 1, format, arguments);
  va_end(arguments);
  text->length += (size_t)length;
}

const char *
text_of_real(Arena *arena, double value)
{
  const char *shortest = arena_format(arena, "%.9g", value);
  const char *text = strtod(shortest, NULL) == value ? shortest : arena_format(arena, "%.17g", value);
  return strpbrk(text, ".e") ? text : arena_format(arena, "%s.0", text);
}
