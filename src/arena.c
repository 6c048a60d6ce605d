/* arena.c: a chain of blocks, bump-allocated; blocks double up to 64 MiB. */
#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Under the address sanitizer what is not given out is poisoned, with a gap behind each piece, so that reading or writing beyond a
 * piece is noticed though it stays within the block. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#endif
#ifdef IS_SANITIZED
#include <sanitizer/asan_interface.h>
enum { GAP = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
enum { GAP = 0 };
#endif

typedef struct Block {
  struct Block *next;
  size_t size, used;
  _Alignas(16) unsigned char bytes[];
} Block;

struct Arena {
  Block *block;
};

static void
out_of_memory(size_t bytes)
{
  fprintf(stderr, "actnnc: error: out of memory (asked for %zu bytes)\n", bytes);
  exit(1);
}

Arena *
arena_create(void)
{
  Arena *arena = calloc(1, sizeof *arena);
  if (!arena) out_of_memory(sizeof *arena);
  return arena;
}

void
arena_destroy(Arena *arena)
{
  if (!arena) return;
  for (Block *block = arena->block, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  free(arena);
}

void *
arena_allocate(Arena *arena, size_t bytes)
{
  if (bytes > SIZE_MAX / 4) out_of_memory(bytes);
  size_t asked = bytes;
  bytes = ((bytes + 15) & ~(size_t)15) + GAP;
  Block *block = arena->block;
  if (!block || block->size - block->used < bytes) {
    size_t size = block ? block->size * 2 : 65536;
    if (size > (size_t)64 << 20) size = (size_t)64 << 20;
    if (size < bytes) size = bytes;
    block = calloc(1, sizeof *block + size);
    if (!block) out_of_memory(bytes);
    block->size = size;
    block->next = arena->block;
    arena->block = block;
    ASAN_POISON_MEMORY_REGION(block->bytes, size);
  }
  void *memory = block->bytes + block->used;
  block->used += bytes;
  ASAN_UNPOISON_MEMORY_REGION(memory, asked);
  return memory;
}

void *
arena_array(Arena *arena, size_t count, size_t size)
{
  if (size && count > SIZE_MAX / size) out_of_memory(SIZE_MAX);
  return arena_allocate(arena, count * size);
}

char *
arena_text(Arena *arena, const char *text, size_t length)
{
  char *copy = arena_allocate(arena, length + 1);
  memcpy(copy, text, length);
  return copy;
}

char *
arena_format(Arena *arena, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = arena_allocate(arena, (size_t)length + 1);
  va_start(arguments, format);
  vsnprintf(text, (size_t)length + 1, format, arguments);
  va_end(arguments);
  return text;
}
