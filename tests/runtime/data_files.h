/* data_files.h: what tests of data share: a model that has nothing but inputs, files of every format made byte by byte in a folder
 * of their own, and opening them. Each program is one file, and what is here is its state. */
#ifndef ACTNN_DATA_FILES_H
#define ACTNN_DATA_FILES_H

#include "batch.h"
#include "own_folder.h"
#include "tap.h"
#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a model that has nothing but inputs -------------------------------------------------------- */

static actnn_tensor tensors[3];
static const actnn_input inputs[] = {{0, "x"}, {1, "y"}};
static actnn_model model = {.version = ACTNN_VERSION,
                            .name = "inputs",
                            .tensor = tensors,
                            .input = inputs,
                            .tensor_count = 3,
                            .input_count = 2,
                            .label = 1,
                            .loss = NONE,
                            .evaluation_loss = NONE,
                            .evaluation_output = 2, .evaluation_losses = NONE,
                            .learning_rate = NONE,
                            .step_number = NONE,
                            .training_output = NONE,
                            .batch = 4,
                            .loss_kind = ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY};
static unsigned char arena[1 << 20];
static actnn trainer __attribute__((unused)) = {.model = &model, .arena = arena, .threads = 1};

static inline actnn_tensor
tensor(int type, uint64_t offset, int rank, const int64_t *dim)
{
  actnn_tensor result = {.type = (uint8_t)type, .rank = (uint8_t)rank, .offset = offset};
  memcpy(result.dim, dim, (size_t)rank * sizeof *dim);
  return result;
}

#define DIMS(...) \
  (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) \
  { \
    __VA_ARGS__ \
  }
#define SET_INPUT(type, ...) tensors[0] = tensor(type, 0, DIMS(__VA_ARGS__))
#define SET_LABEL(type, ...) tensors[1] = tensor(type, 1 << 19, DIMS(__VA_ARGS__))
#define SET_OUTPUT(...) tensors[2] = tensor(ACTNN_F32, 1 << 19, DIMS(__VA_ARGS__))

static const float *const x = (const float *)(const void *)arena;
static const int64_t *const y = (const int64_t *)(const void *)(arena + (1 << 19));

/* ---- making files ------------------------------------------------------------------------------- */

static inline const char *
put(const char *name, const void *bytes, size_t count)
{
  const char *path = path_of(name);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, count, file) != count || fclose(file))
    abort();
  return path;
}

static inline const char *
put_gzip(const char *name, const void *bytes, size_t count)
{
  const char *path = path_of(name);
  gzFile file = gzopen(path, "wb");
  if (!file || gzwrite(file, bytes, (unsigned)count) != (int)count || gzclose(file) != Z_OK)
    abort();
  return path;
}

/* Five images of 2 x 3 pixels, pixel value 10 * sample + position; labels 0, 1, 2, 0, 1. */
static inline size_t
idx_images(unsigned char *out)
{
  static const unsigned char head[] = {0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 3};
  memcpy(out, head, sizeof head);
  for (int index = 0; index < 30; index++)
    out[sizeof head + (size_t)index] = (unsigned char)(index / 6 * 10 + index % 6);
  return sizeof head + 30;
}

static const unsigned char idx_labels[] = {0, 0, 8, 1, 0, 0, 0, 5, 0, 1, 2, 0, 1};

static inline size_t
npy(unsigned char *out, const char *type, const char *shape, const char *order, const void *data, size_t bytes)
{
  char header[128];
  int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", type,
                        order, shape);
  int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
  memcpy(out, "\x93NUMPY\1\0", 8);
  out[8] = (unsigned char)padded;
  out[9] = (unsigned char)(padded >> 8);
  memset(out + 10, ' ', (size_t)padded);
  memcpy(out + 10, header, (size_t)length);
  out[9 + padded] = '\n';
  memcpy(out + 10 + padded, data, bytes);
  return 10 + (size_t)padded + bytes;
}

static inline void
put_word(unsigned char *out, uint32_t value, int count)
{
  for (int index = 0; index < count; index++)
    out[index] = (unsigned char)(value >> 8 * index);
}

typedef struct zip_writer {
  unsigned char bytes[1 << 18], directory[1 << 14];
  size_t length, directory_length;
  int members;
} zip_writer;

static inline void
zip_add(zip_writer *zip, const char *name, const unsigned char *data, size_t count, bool is_deflated)
{
  static unsigned char packed[1 << 17];
  size_t packed_count = count;
  if (!is_deflated) {
    memcpy(packed, data, count);
  } else {
    z_stream stream = {.next_in = (unsigned char *)data,
                       .avail_in = (uInt)count,
                       .next_out = packed,
                       .avail_out = sizeof packed};
    deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
    deflate(&stream, Z_FINISH);
    packed_count = stream.total_out;
    deflateEnd(&stream);
  }
  unsigned char local[30] = "PK\3\4", entry[46] = "PK\1\2";
  uint32_t name_length = (uint32_t)strlen(name), checksum = (uint32_t)crc32(0, data, (uInt)count);
  put_word(local + 8, is_deflated ? 8 : 0, 2);
  put_word(local + 26, name_length, 2);
  put_word(entry + 10, is_deflated ? 8 : 0, 2);
  put_word(entry + 16, checksum, 4);
  put_word(entry + 20, (uint32_t)packed_count, 4);
  put_word(entry + 24, (uint32_t)count, 4);
  put_word(entry + 28, name_length, 2);
  put_word(entry + 42, (uint32_t)zip->length, 4);
  memcpy(zip->directory + zip->directory_length, entry, 46);
  memcpy(zip->directory + zip->directory_length + 46, name, name_length);
  zip->directory_length += 46 + name_length;
  memcpy(zip->bytes + zip->length, local, 30);
  memcpy(zip->bytes + zip->length + 30, name, name_length);
  memcpy(zip->bytes + zip->length + 30 + name_length, packed, packed_count);
  zip->length += 30 + name_length + packed_count;
  zip->members++;
}

static inline void
zip_end(zip_writer *zip)
{
  unsigned char end[22] = "PK\5\6";
  put_word(end + 10, (uint32_t)zip->members, 2);
  put_word(end + 12, (uint32_t)zip->directory_length, 4);
  put_word(end + 16, (uint32_t)zip->length, 4);
  memcpy(zip->bytes + zip->length, zip->directory, zip->directory_length);
  zip->length += zip->directory_length;
  memcpy(zip->bytes + zip->length, end, 22);
  zip->length += 22;
}

/* ---- opening ------------------------------------------------------------------------------------ */

static data_set set;
static batch_source source;
static char error[DATA_ERROR_BYTES];

static inline bool
open_all(const char *const *specification, size_t count)
{
  error[0] = 0;
  bool is_open = data_open(&set, specification, count, DATA_TRAINING, &model);
  if (!is_open)
    strcpy(error, set.error);
  else if (!(is_open = batch_open(&source, &model, &set, NULL)))
    strcpy(error, source.error);
  return is_open;
}

static inline bool
open_one(const char *path)
{
  return open_all(&path, 1);
}

static inline void
close_all(void)
{
  batch_close(&source);
  data_close(&set);
  source = (batch_source){0};
}

static inline void
refuse(const char *path, const char *message)
{
  bool is_open = open_one(path);
  ok(!is_open && strstr(error, message), "refused with '%s': %s", message, error);
  close_all();
}

/* A reader called by itself on a set of its own. */
static inline void
refuse_read(bool (*reader)(data_set *, const char *, const char *), const char *path, const char *message)
{
  data_set own = {.array_count = 0};
  bool is_read = reader(&own, path, "samples");
  ok(!is_read && strstr(own.error, message), "refused with '%s': %s", message, own.error);
  data_close(&own);
}

#endif
