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

#endif
