/* arena.h: memory with one lifetime, freed as a whole. */
#ifndef ACTNN_ARENA_H
#define ACTNN_ARENA_H

#include <stddef.h>

typedef struct Arena Arena;

Arena *arena_create(void);
void arena_destroy(Arena *arena);

/* Zeroed memory aligned to 16 bytes that lives as long as the arena. Never returns NULL: a translator
 * that is out of memory says so and exits with code 1, having written nothing. */
void *arena_allocate(Arena *arena, size_t bytes);
/* count * size with the product checked. */
void *arena_array(Arena *arena, size_t count, size_t size);
/* A NUL-terminated copy of `length` bytes. */
char *arena_text(Arena *arena, const char *text, size_t length);
char *arena_format(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
