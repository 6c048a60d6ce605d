/* onnx_writer.h: writes the bytes of ONNX messages one field at a time, right or wrong, so that tests can make any file
 * and need no other program. Field numbers are those of onnx.proto.
 */
#ifndef ACTNN_ONNX_WRITER_H
#define ACTNN_ONNX_WRITER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Bytes {
  unsigned char *data;
  size_t length, capacity;
} Bytes;

enum {
  MODEL_IR_VERSION = 1,
  MODEL_GRAPH = 7,
  MODEL_OPSET = 8,
  MODEL_TRAINING = 20,
  MODEL_FUNCTION = 25,
  GRAPH_NODE = 1,
  GRAPH_NAME = 2,
  GRAPH_INITIALIZER = 5,
  GRAPH_INPUT = 11,
  GRAPH_OUTPUT = 12,
  GRAPH_SPARSE = 15,
  NODE_INPUT = 1,
  NODE_OUTPUT = 2,
  NODE_NAME = 3,
  NODE_OPERATOR = 4,
  NODE_ATTRIBUTE = 5,
  NODE_DOMAIN = 7,
  ATTRIBUTE_NAME = 1,
  ATTRIBUTE_I = 3,
  ATTRIBUTE_S = 4,
  ATTRIBUTE_T = 5,
  ATTRIBUTE_G = 6,
  ATTRIBUTE_TYPE = 20,
  ATTRIBUTE_REFERENCE = 21,
  TENSOR_DIMS = 1,
  TENSOR_TYPE = 2,
  TENSOR_FLOATS = 4,
  TENSOR_INT32S = 5,
  TENSOR_INT64S = 7,
  TENSOR_NAME = 8,
  TENSOR_RAW = 9,
  TENSOR_EXTERNAL = 13,
  TENSOR_LOCATION = 14,
  FUNCTION_NAME = 1,
  FUNCTION_INPUT = 4,
  FUNCTION_OUTPUT = 5,
  FUNCTION_NODE = 7,
  FUNCTION_OPSET = 9,
  FUNCTION_DOMAIN = 10,
  FUNCTION_ATTRIBUTE = 11
};

static inline void
put(Bytes *bytes, const void *data, size_t length)
{
  if (bytes->capacity - bytes->length < length) {
    bytes->capacity = (bytes->length + length) * 2 + 64;
    bytes->data = realloc(bytes->data, bytes->capacity);
    if (!bytes->data) abort();
  }
  if (length) memcpy(bytes->data + bytes->length, data, length);
  bytes->length += length;
}

static inline void
put_varint(Bytes *bytes, uint64_t number)
{
  do {
    unsigned char byte = (unsigned char)((number & 127) | (number > 127 ? 128 : 0));
    put(bytes, &byte, 1);
    number >>= 7;
  } while (number);
}

static inline void
put_number(Bytes *bytes, unsigned field, int64_t number)
{
  put_varint(bytes, field << 3);
  put_varint(bytes, (uint64_t)number);
}

static inline void
put_bytes(Bytes *bytes, unsigned field, const void *data, size_t length)
{
  put_varint(bytes, field << 3 | 2);
  put_varint(bytes, length);
  put(bytes, data, length);
}

static inline void
put_text(Bytes *bytes, unsigned field, const char *text)
{
  put_bytes(bytes, field, text, strlen(text));
}

/* Appends and frees `inner`. */
static inline void
put_message(Bytes *bytes, unsigned field, Bytes inner)
{
  put_bytes(bytes, field, inner.data, inner.length);
  free(inner.data);
}

/* Texts separated by single blanks; "-" stands for the empty one. */
static inline void
put_texts(Bytes *bytes, unsigned field, const char *texts)
{
  while (*texts) {
    size_t length = strcspn(texts, " ");
    put_bytes(bytes, field, texts, length == 1 && *texts == '-' ? 0 : length);
    texts += length + (texts[length] == ' ');
  }
}

static inline Bytes
node_of(const char *operator_name, const char *inputs, const char *outputs)
{
  Bytes node = {0};
  put_texts(&node, NODE_INPUT, inputs);
  put_texts(&node, NODE_OUTPUT, outputs);
  put_text(&node, NODE_OPERATOR, operator_name);
  return node;
}

static inline Bytes
node_in(const char *domain, const char *operator_name, const char *inputs, const char *outputs)
{
  Bytes node = node_of(operator_name, inputs, outputs);
  put_text(&node, NODE_DOMAIN, domain);
  return node;
}

static inline Bytes
int_attribute_of(const char *name, int64_t value)
{
  Bytes attribute = {0};
  put_text(&attribute, ATTRIBUTE_NAME, name);
  put_number(&attribute, ATTRIBUTE_TYPE, 2);
  put_number(&attribute, ATTRIBUTE_I, value);
  return attribute;
}

/* "2,3,N": numbers and names. */
static inline Bytes
value_info_of(const char *name, int type, const char *dims)
{
  Bytes info = {0}, tensor = {0}, shape = {0}, proto = {0};
  while (*dims) {
    Bytes dim = {0};
    size_t length = strcspn(dims, ",");
    if (*dims == '-' || (*dims >= '0' && *dims <= '9'))
      put_number(&dim, 1, strtoll(dims, NULL, 10));
    else
      put_bytes(&dim, 2, dims, length);
    put_message(&shape, 1, dim);
    dims += length + (dims[length] == ',');
  }
  put_number(&tensor, 1, type);
  put_message(&tensor, 2, shape);
  put_message(&proto, 1, tensor);
  put_text(&info, 1, name);
  put_message(&info, 2, proto);
  return info;
}

/* Everything of a tensor but its data. */
static inline Bytes
tensor_head(const char *name, int type, const char *dims)
{
  Bytes tensor = {0};
  for (; *dims; dims += strcspn(dims, ","), dims += *dims == ',')
    put_number(&tensor, TENSOR_DIMS, strtoll(dims, NULL, 10));
  put_number(&tensor, TENSOR_TYPE, type);
  put_text(&tensor, TENSOR_NAME, name);
  return tensor;
}

static inline Bytes
tensor_of(const char *name, int type, const char *dims, const void *raw, size_t length)
{
  Bytes tensor = tensor_head(name, type, dims);
  put_bytes(&tensor, TENSOR_RAW, raw, length);
  return tensor;
}

static inline Bytes
entry_of(const char *key, const char *value)
{
  Bytes entry = {0};
  put_text(&entry, 1, key);
  put_text(&entry, 2, value);
  return entry;
}

static inline Bytes
opset_of(const char *domain, int64_t version)
{
  Bytes opset = {0};
  if (*domain) put_text(&opset, 1, domain);
  put_number(&opset, 2, version);
  return opset;
}

/* A model around a graph, which is freed; more fields may follow. */
static inline Bytes
model_of(Bytes graph)
{
  Bytes model = {0};
  put_number(&model, MODEL_IR_VERSION, 8);
  put_message(&model, MODEL_OPSET, opset_of("", 17));
  put_message(&model, MODEL_GRAPH, graph);
  return model;
}

static inline void
write_bytes(const char *path, const void *data, size_t length)
{
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(data, 1, length, file) != length || fclose(file)) abort();
}

/* Writes and frees. */
static inline void
write_model(const char *path, Bytes model)
{
  write_bytes(path, model.data ? model.data : (const void *)"", model.length);
  free(model.data);
}

#endif
