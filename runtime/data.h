/* data.h: sets of samples in memory, as stored in their files; they are converted batch by batch (batch.h). */
#ifndef ACTNN_DATA_H
#define ACTNN_DATA_H

#include "actnn.h"

#include <sys/types.h>
#include <zlib.h>

enum { DATA_MAX_ARRAYS = 64, DATA_ERROR_BYTES = 400 };

/* One array; its first axis counts samples. */
typedef struct data_array {
  char *name;  /* "samples", "labels", or the name inside an .npz or of a binding; owned */
  char *file;  /* where it is from, for messages; owned */
  unsigned char *memory; /* owned; NULL when another array owns it */
  const unsigned char *data;
  int type, rank; /* actnn_type, in this machine's byte order */
  int64_t dim[ACTNN_MAX_RANK];
  size_t stride; /* bytes from one sample to the next */
} data_array;

typedef enum data_part { DATA_TRAINING, DATA_TEST } data_part;

typedef struct data_set {
  data_array array[DATA_MAX_ARRAYS];
  size_t array_count;
  char error[DATA_ERROR_BYTES];
} data_set;

/* Reads what --data or --eval names: `fashion-mnist`, `cifar10`, a directory or file of IDX, NPY, NPZ, CIFAR-10
 * binary, or a text file; or INPUT=FILE.npy for each input (bindings, told by the names of the model's inputs).
 * False with a message in set->error. `data_close` frees it in both cases. */
bool data_open(data_set *set, const char *const *specification, size_t count, data_part part, const actnn_model *model);
void data_close(data_set *set);
/* Whether the set that `specification` names has a test part of its own. */
bool data_has_test_part(const char *specification);

/* ---- for the readers ---------------------------------------------------------------------------- */

/* Each appends arrays to the set; false with set->error. */
bool data_read_idx(data_set *set, const char *path, const char *name);
bool data_read_npy(data_set *set, const char *path, const char *name);
/* All arrays of the archive under their names. */
bool data_read_npz(data_set *set, const char *path);
bool data_read_cifar(data_set *set, const char *const *path, size_t count);
/* Bytes as tokens: windows of `length`, "labels" the same one byte later. */
bool data_read_text(data_set *set, const char *path, int64_t length);

/* Parses the .npy file in memory; *used gets its length. */
bool data_parse_npy(data_set *set, const unsigned char *bytes, size_t count, const char *path, const char *name);

bool data_fail(data_set *set, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A new array in the set with copies of the names; NULL after data_fail. */
data_array *data_add(data_set *set, const char *name, const char *file);
/* Bytes of one sample from type and dim[1..]; false on overflow or an unknown type. dim[0] * that is checked too. */
bool data_sample_bytes(const data_array *array, size_t *bytes);
/* A file, gzip-compressed or not (data_stream.c); NULL after data_fail. `path` must outlive it. */
typedef struct data_stream data_stream;
data_stream *data_open_stream(data_set *set, const char *path);
void data_close_stream(data_stream *stream);
/* Bytes read, fewer than wanted only at the end; -1 after data_fail. */
ssize_t data_read(data_set *set, data_stream *stream, void *data, size_t wanted);
/* Reads up to `wanted` bytes (all, for SIZE_MAX) into memory that grows with what is really there, so that a short
 * file that claims much cannot make the reader reserve much. NULL after data_fail. The caller frees it. */
unsigned char *data_read_bytes(data_set *set, data_stream *stream, const char *path, size_t wanted, size_t *got);
/* The first bytes of a file, at most `wanted`, unpacked; how many there are, -1 after data_fail. */
ssize_t data_read_head(data_set *set, const char *path, void *head, size_t wanted);
/* Reverses the bytes of `count` elements of `size` bytes. */
void data_swap_bytes(unsigned char *data, size_t count, size_t size);
bool data_is_big_endian_machine(void);

#endif
