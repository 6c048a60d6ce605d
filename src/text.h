/* text.h: text that grows in an arena. */
#ifndef ACTNN_TEXT_H
#define ACTNN_TEXT_H

#include "arena.h"

typedef struct Text {
  Arena *arena;
  char *bytes; /* NUL-terminated */
  size_t length, capacity;
} Text;

void text_append(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_append_bytes(Text *text, const void *bytes, size_t count);
/* A finite number in as few digits as read back as the same double; with a point or an exponent. */
const char *text_of_real(Arena *arena, double value);

#endif
