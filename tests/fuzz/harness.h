/* harness.h: what the harnesses of `make fuzz` share.
 *
 * A harness is a file with LLVMFuzzerTestOneInput, which both libFuzzer and AFL++ call again and again in one process. What it
 * tries must come back with a result or with a message, leave nothing behind, and hold what the harness asserts with MUST.
 *
 *   fuzz_import.c      a binary model: the scan of the wire format, unpacking, import, export and import again
 *   fuzz_text.c        the textual syntax: reading, printing, reading again
 *   fuzz_compile.c     everything from a model and options to the text of a trainer
 *   fuzz_checkpoint.c  safetensors files and checkpoints
 *   fuzz_data.c        IDX, NPY, NPZ, CIFAR-10 batches, texts, compressed by gzip or not
 *
 * `make check` runs each for a moment. `make fuzz SECONDS=600` gives each ten minutes and keeps what it finds in
 * tests/fuzz/corpus; ENGINE=afl takes AFL++ instead, HARNESSES="text data" some of them. Objects of their own are built by
 * clang with the address and undefined behaviour sanitizers; an arena's free memory is poisoned there (src/arena.c). */
#ifndef ACTNN_FUZZ_HARNESS_H
#define ACTNN_FUZZ_HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) \
  do { \
    if (!(condition)) fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition), abort(); \
  } while (0)

/* A copy that ends where the input ends, so that reading on is noticed; the caller frees it. */
static inline unsigned char *
copy_of(const uint8_t *data, size_t size)
{
  unsigned char *copy = malloc(size + 1);
  if (!copy) abort();
  if (size) memcpy(copy, data, size);
  copy[size] = 0; /* as read_file does */
  return copy;
}

/* Where messages go: they are formatted and thrown away, unless VERBOSE is set, to look into a finding. */
static inline FILE *
nowhere(void)
{
  static FILE *stream;
  if (!stream && !(stream = getenv("VERBOSE") ? stderr : fopen("/dev/null", "w"))) abort();
  return stream;
}

/* The path of a file in memory that holds the input until the next call. */
static inline const char *
file_of(const uint8_t *data, size_t size)
{
  static int file = -1;
  static char path[40];
  if (file < 0) {
    file = memfd_create("input", MFD_CLOEXEC);
    if (file < 0) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  }
  if (ftruncate(file, 0) || pwrite(file, data, size, 0) != (ssize_t)size) abort();
  return path;
}

#endif
