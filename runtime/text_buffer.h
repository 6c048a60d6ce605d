/* text_buffer.h: growing text, and strings as JSON has them. */
#ifndef ACTNN_TEXT_BUFFER_H
#define ACTNN_TEXT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

/* Starts as {0}; the caller frees `text`. After a failed allocation `failed` is set and additions do nothing. */
typedef struct text_buffer {
  char *text;
  size_t length, capacity;
  bool failed;
} text_buffer;

void text_add(text_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(text_buffer *buffer, const char *bytes, size_t count);
/* The text in quotes, escaped; bytes that are not valid UTF-8 become U+FFFD. */
void text_add_json(text_buffer *buffer, const char *text);
/* Control characters become `?`: names from files must not upset a terminal. Returns text. */
char *text_make_printable(char *text);
/* Length of the valid UTF-8 sequence at text (1 to 4), 0 when it is none. */
size_t utf8_length(const char *text);

#endif
