/* safetensors.h: reading and writing the format of weights, checkpoints and gradients: eight bytes of header length
 * (little-endian), a JSON header, raw tensors. */
#ifndef ACTNN_SAFETENSORS_H
#define ACTNN_SAFETENSORS_H

#include "actnn.h"

typedef struct safetensors_entry {
  const char *name;
  int type, rank; /* actnn_type */
  int64_t dim[ACTNN_MAX_RANK];
  uint64_t begin, bytes; /* in the data section */
} safetensors_entry;

typedef struct safetensors_pair {
  const char *key, *value;
} safetensors_pair;

/* A file opened for reading, its header wholly checked: lengths and shapes agree, the tensors cover the data
 * section without gap or overlap, names are unique. */
typedef struct safetensors_file {
  const char *path; /* the caller's */
  int descriptor;
  char *header; /* decoded strings live in it */
  safetensors_entry *entry; /* sorted by name */
  safetensors_pair *metadata;
  size_t entry_count, metadata_count;
  uint64_t data_start, data_bytes;
  char error[400];
} safetensors_file;

/* False with a message in file->error; then nothing is left to close. */
bool safetensors_open(safetensors_file *file, const char *path);
void safetensors_close(safetensors_file *file);
const safetensors_entry *safetensors_find(const safetensors_file *file, const char *name); /* NULL */
const char *safetensors_metadata(const safetensors_file *file, const char *key);           /* NULL */
/* Reads entry->bytes into data; false with file->error. */
bool safetensors_read(safetensors_file *file, const safetensors_entry *entry, void *data);
/* CRC-32 of the entry's bytes, read in pieces; false with file->error. */
bool safetensors_checksum(safetensors_file *file, const safetensors_entry *entry, uint32_t *checksum);

/* What to write. Names must be unique and valid UTF-8. */
typedef struct safetensors_tensor {
  const char *name;
  int type, rank;
  const int64_t *dim;
  const void *data;
  uint64_t bytes;
} safetensors_tensor;

/* Writes the file atomically; metadata gets "crc32.NAME" of each tensor besides the pairs given. keep_previous: the
 * file that was there stays as PATH.previous. False with a message. */
bool safetensors_write(const char *path, const safetensors_tensor *tensor, size_t tensor_count,
                       const safetensors_pair *metadata, size_t metadata_count, bool keep_previous, char *error,
                       size_t error_bytes);

bool safetensors_is_utf8(const char *text);

#endif
