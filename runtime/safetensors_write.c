/* safetensors_write.c: writes .safetensors files, whole or not at all. */
#include "atomic_file.h"
#include "safetensors.h"
#include "text_buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char *
type_text(int type)
{
  switch (type) {
  case ACTNN_F32: return "F32";
  case ACTNN_F64: return "F64";
  case ACTNN_F16: return "F16";
  case ACTNN_BF16: return "BF16";
  case ACTNN_I64: return "I64";
  case ACTNN_I32: return "I32";
  case ACTNN_I16: return "I16";
  case ACTNN_I8: return "I8";
  case ACTNN_U64: return "U64";
  case ACTNN_U32: return "U32";
  case ACTNN_U16: return "U16";
  case ACTNN_BOOL: return "BOOL";
  default: return "U8";
  }
}

static uint32_t
checksum(const void *data, uint64_t bytes)
{
  const unsigned char *place = data;
  uLong crc = crc32(0, NULL, 0);
  while (bytes) {
    uInt piece = bytes < (1u << 30) ? (uInt)bytes : (1u << 30);
    crc = crc32(crc, place, piece);
    place += piece;
    bytes -= piece;
  }
  return (uint32_t)crc;
}

static void
add_metadata(text_buffer *header, const safetensors_tensor *tensor, size_t tensor_count,
             const safetensors_pair *metadata, size_t metadata_count)
{
  text_add(header, "{\"__metadata__\":{");
  for (size_t index = 0; index < metadata_count; index++) {
    text_add_json(header, metadata[index].key);
    text_add(header, ":");
    text_add_json(header, metadata[index].value);
    text_add(header, index + 1 < metadata_count || tensor_count ? "," : "");
  }
  for (size_t index = 0; index < tensor_count; index++) {
    text_buffer key = {0};
    text_add(&key, "crc32.%s", tensor[index].name);
    header->failed |= key.failed;
    if (!key.failed)
      text_add_json(header, key.text);
    free(key.text);
    text_add(header, ":\"%08x\"%s", checksum(tensor[index].data, tensor[index].bytes),
             index + 1 < tensor_count ? "," : "");
  }
  text_add(header, "}");
}

static void
add_tensors(text_buffer *header, const safetensors_tensor *tensor, size_t tensor_count)
{
  uint64_t place = 0;
  for (size_t index = 0; index < tensor_count; index++) {
    text_add(header, ",");
    text_add_json(header, tensor[index].name);
    text_add(header, ":{\"dtype\":\"%s\",\"shape\":[", type_text(tensor[index].type));
    for (int axis = 0; axis < tensor[index].rank; axis++)
      text_add(header, axis ? ",%lld" : "%lld", (long long)tensor[index].dim[axis]);
    text_add(header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)place,
             (unsigned long long)(place + tensor[index].bytes));
    place += tensor[index].bytes;
  }
  text_add(header, "}");
  while (header->length % 8 && !header->failed) /* tensors start aligned, as the format's own writers do */
    text_add(header, " ");
}

bool
safetensors_write(const char *path, const safetensors_tensor *tensor, size_t tensor_count,
                  const safetensors_pair *metadata, size_t metadata_count, bool keep_previous, char *error,
                  size_t error_bytes)
{
  text_buffer header = {0};
  unsigned char length[8];
  atomic_file file;
  add_metadata(&header, tensor, tensor_count, metadata, metadata_count);
  add_tensors(&header, tensor, tensor_count);
  if (header.failed) {
    free(header.text);
    snprintf(error, error_bytes, "%s: out of memory", path);
    return false;
  }
  for (int index = 0; index < 8; index++)
    length[index] = (unsigned char)((uint64_t)header.length >> 8 * index);
  bool done = atomic_file_open(&file, path) && atomic_file_write(&file, length, 8) &&
              atomic_file_write(&file, header.text, header.length);
  for (size_t index = 0; done && index < tensor_count; index++)
    done = atomic_file_write(&file, tensor[index].data, (size_t)tensor[index].bytes);
  done = done && atomic_file_commit(&file, keep_previous);
  if (!done)
    snprintf(error, error_bytes, "%s", file.error);
  free(header.text);
  return done;
}

bool
safetensors_is_utf8(const char *text)
{
  while (*text) {
    size_t length = utf8_length(text);
    if (!length)
      return false;
    text += length;
  }
  return true;
}
