/* onnx_tensor.c: TensorProto and SparseTensorProto to plain bytes. Lengths must match dimensions exactly. */
#include "onnx_import.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ONNX's raw data is little-endian and is not swapped");

bool
is_floating(actnn_type type)
{
  return type == ACTNN_F32 || type == ACTNN_F16 || type == ACTNN_BF16 || type == ACTNN_F64;
}

bool
read_element_type(Import *import, int32_t number, const char *what, actnn_type *type)
{
  static const char *const names[] = {
      [14] = "complex64",  [15] = "complex128",     [17] = "float8e4m3fn", [18] = "float8e4m3fnuz",
      [19] = "float8e5m2", [20] = "float8e5m2fnuz", [21] = "uint4",        [22] = "int4",
      [23] = "float4e2m1", [24] = "float8e8m0",     [25] = "uint2",        [26] = "int2"};
  *type = ACTNN_UNDEFINED;
  if ((number >= ACTNN_F32 && number <= ACTNN_U64) || number == ACTNN_BF16) {
    *type = (actnn_type)number;
    return true;
  }
  if (number == 0) return reject(import, NULL, "%s has no element type", what);
  const char *name = number > 0 && number < 27 ? names[number] : "unknown";
  return reject(import, NULL, "%s has element type %d (%s), which is not supported", what, number, name);
}

bool
read_dimensions(Import *import, const int64_t *dims, size_t count, const char *what, Shape *shape)
{
  *shape = (Shape){.rank = -1};
  if (count > ACTNN_MAX_RANK)
    return reject(import, NULL, "%s has %zu dimensions, more than the %d supported", what, count, ACTNN_MAX_RANK);
  Shape read = {.rank = (int)count};
  for (size_t i = 0; i < count; i++) {
    read.dim[i] = dims[i];
    if (dims[i] < 0) return reject(import, NULL, "%s has the negative dimension %lld", what, (long long)dims[i]);
  }
  int64_t elements;
  if (!shape_elements(&read, &elements)) return reject(import, NULL, "%s has too many elements", what);
  *shape = read;
  return true;
}

/* ---- typed fields --------------------------------------------------------------------------------- */

static bool
report_count(Import *import, const char *what, const char *field, size_t there, int64_t wanted)
{
  return reject(import, NULL, "%s: %s has %zu elements, its dimensions ask for %lld", what, field, there,
                (long long)wanted);
}

/* int32_data holds all of the narrow types, one element each. */
static bool
narrow_ints(Import *import, const Onnx__TensorProto *tensor, const char *what, actnn_type type, unsigned char *out)
{
  static const struct {
    actnn_type type;
    int32_t lowest, highest;
  } ranges[] = {{ACTNN_U8, 0, 255}, {ACTNN_I8, -128, 127}, {ACTNN_U16, 0, 65535},  {ACTNN_I16, -32768, 32767},
                {ACTNN_BOOL, 0, 1}, {ACTNN_F16, 0, 65535}, {ACTNN_BF16, 0, 65535}, {ACTNN_I32, INT32_MIN, INT32_MAX}};
  size_t size = type_bytes(type), row = 0;
  while (ranges[row].type != type) row++;
  for (size_t i = 0; i < tensor->n_int32_data; i++) {
    int32_t number = tensor->int32_data[i];
    if (number < ranges[row].lowest || number > ranges[row].highest)
      return reject(import, NULL, "%s: %d is not a value of type %s", what, number, type_name(type));
    memcpy(out + i * size, &number, size);
  }
  return true;
}

static bool
narrow_unsigned(Import *import, const Onnx__TensorProto *tensor, const char *what, unsigned char *out)
{
  for (size_t i = 0; i < tensor->n_uint64_data; i++) {
    uint64_t number = tensor->uint64_data[i];
    if (number > UINT32_MAX)
      return reject(import, NULL, "%s: %llu is not a value of type uint32", what, (unsigned long long)number);
    memcpy(out + i * 4, &number, 4);
  }
  return true;
}

/* Strings one after the other, each ending in NUL. */
static bool
read_strings(Import *import, const Onnx__TensorProto *tensor, const char *what, int64_t elements, TensorBytes *result)
{
  if ((int64_t)tensor->n_string_data != elements)
    return report_count(import, what, "string_data", tensor->n_string_data, elements);
  size_t bytes = 0;
  for (size_t i = 0; i < tensor->n_string_data; i++) {
    const ProtobufCBinaryData *text = &tensor->string_data[i];
    if (text->len && memchr(text->data, 0, text->len))
      return reject(import, NULL, "%s: a string contains a NUL byte", what);
    bytes += text->len + 1;
  }
  char *out = arena_allocate(import->program->arena, bytes + 1);
  result->data = out;
  result->bytes = bytes;
  for (size_t i = 0; i < tensor->n_string_data; i++) {
    if (tensor->string_data[i].len) memcpy(out, tensor->string_data[i].data, tensor->string_data[i].len);
    out += tensor->string_data[i].len + 1;
  }
  return true;
}

/* The field that holds elements of a type, how many are there and where. */
static size_t
typed_field(const Onnx__TensorProto *tensor, actnn_type type, const char **field, const void **data)
{
  switch (type) {
  case ACTNN_F32: *field = "float_data", *data = tensor->float_data; return tensor->n_float_data;
  case ACTNN_F64: *field = "double_data", *data = tensor->double_data; return tensor->n_double_data;
  case ACTNN_I64: *field = "int64_data", *data = tensor->int64_data; return tensor->n_int64_data;
  case ACTNN_U32:
  case ACTNN_U64: *field = "uint64_data", *data = tensor->uint64_data; return tensor->n_uint64_data;
  default: *field = "int32_data", *data = tensor->int32_data; return tensor->n_int32_data;
  }
}

static bool
read_typed(Import *import, const Onnx__TensorProto *tensor, const char *what, int64_t elements, TensorBytes *result)
{
  const char *field;
  const void *data;
  size_t count = typed_field(tensor, result->type, &field, &data);
  if ((int64_t)count != elements) return report_count(import, what, field, count, elements);
  result->bytes = count * type_bytes(result->type);
  result->data = arena_allocate(import->program->arena, result->bytes + 1);
  switch (result->type) {
  case ACTNN_F32:
  case ACTNN_F64:
  case ACTNN_I64:
  case ACTNN_U64:
    if (count) memcpy(result->data, data, result->bytes);
    return true;
  case ACTNN_U32: return narrow_unsigned(import, tensor, what, result->data);
  default: return narrow_ints(import, tensor, what, result->type, result->data);
  }
}

/* ---- tensors -------------------------------------------------------------------------------------- */

static size_t
count_typed_elements(const Onnx__TensorProto *tensor)
{
  return tensor->n_float_data + tensor->n_double_data + tensor->n_int32_data + tensor->n_int64_data +
         tensor->n_uint64_data + tensor->n_string_data;
}

static void
normalize_bools(TensorBytes *result)
{
  unsigned char *bytes = result->data;
  for (size_t i = 0; result->type == ACTNN_BOOL && i < result->bytes; i++) bytes[i] = bytes[i] != 0;
}

static bool
read_raw(Import *import, const Onnx__TensorProto *tensor, const char *what, int64_t elements, TensorBytes *result)
{
  size_t size = type_bytes(result->type);
  if (!size) return reject(import, NULL, "%s: strings cannot be raw data", what);
  uint64_t wanted = (uint64_t)elements * size; /* at most 2^50 */
  if (tensor->raw_data.len != wanted)
    return reject(import, NULL, "%s: raw_data has %zu bytes, its type and dimensions ask for %llu", what,
                  tensor->raw_data.len, (unsigned long long)wanted);
  result->bytes = (size_t)wanted;
  result->data = arena_allocate(import->program->arena, result->bytes + 1);
  if (wanted) memcpy(result->data, tensor->raw_data.data, result->bytes);
  normalize_bools(result);
  return true;
}

bool
read_tensor(Import *import, Onnx__TensorProto *tensor, const char *what, bool may_be_empty, TensorBytes *result)
{
  *result = (TensorBytes){.shape = {.rank = -1}};
  int64_t elements;
  if (!read_element_type(import, tensor->data_type, what, &result->type) ||
      !read_dimensions(import, tensor->dims, tensor->n_dims, what, &result->shape))
    return false;
  shape_elements(&result->shape, &elements);
  if (tensor->segment) return reject(import, NULL, "%s comes in segments", what);
  size_t typed = count_typed_elements(tensor);
  bool is_external = tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  if ((is_external || tensor->raw_data.len) && (typed || (is_external && tensor->raw_data.len)))
    return reject(import, NULL, "%s holds its data twice", what);
  if (is_external) {
    size_t size = type_bytes(result->type);
    if (!size) return reject(import, NULL, "%s: strings cannot be external", what);
    result->bytes = (size_t)elements * size;
    if (!read_external_data(import, tensor, what, result->bytes, &result->data)) return false;
    normalize_bools(result);
    tensor->raw_data = (ProtobufCBinaryData){result->bytes, result->data};
    tensor->has_raw_data = true;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    tensor->n_external_data = 0;
    return true;
  }
  if (may_be_empty && elements && !typed && !tensor->raw_data.len) return true;
  if (tensor->has_raw_data && !typed) return read_raw(import, tensor, what, elements, result);
  if (result->type == ACTNN_STRING) return read_strings(import, tensor, what, elements, result);
  if (typed_field(tensor, result->type, &(const char *){NULL}, &(const void *){NULL}) != typed)
    return reject(import, NULL, "%s: its data is in a field of another type", what);
  return read_typed(import, tensor, what, elements, result);
}

/* ---- sparse tensors ------------------------------------------------------------------------------- */

/* Row-major position of stored element `i`, from one index or one per dimension; -1 when out of range. */
static int64_t
sparse_position(const int64_t *indices, bool is_linear, size_t i, const Shape *shape, int64_t elements)
{
  if (is_linear) return indices[i] < 0 || indices[i] >= elements ? -1 : indices[i];
  int64_t position = 0;
  for (int axis = 0; axis < shape->rank; axis++) {
    int64_t index = indices[i * (size_t)shape->rank + (size_t)axis];
    if (index < 0 || index >= shape->dim[axis]) return -1;
    position = position * shape->dim[axis] + index;
  }
  return position;
}

static bool
scatter(Import *import, const TensorBytes *values, const TensorBytes *indices, const char *what, TensorBytes *result)
{
  int64_t elements, stored = values->shape.dim[0];
  shape_elements(&result->shape, &elements);
  bool is_linear = indices->shape.rank == 1;
  bool fits = indices->type == ACTNN_I64 && indices->shape.dim[0] == stored &&
              (is_linear || (indices->shape.rank == 2 && indices->shape.dim[1] == result->shape.rank));
  if (!fits) return reject(import, NULL, "%s: its indices do not match its values", what);
  size_t size = type_bytes(result->type);
  for (size_t i = 0; i < (size_t)stored; i++) {
    int64_t position = sparse_position(indices->data, is_linear, i, &result->shape, elements);
    if (position < 0) return reject(import, NULL, "%s: an index is out of range", what);
    memcpy((char *)result->data + (size_t)position * size, (const char *)values->data + i * size, size);
  }
  return true;
}

bool
read_sparse_tensor(Import *import, const Onnx__SparseTensorProto *sparse, const char *what, bool may_be_empty,
                   TensorBytes *result)
{
  *result = (TensorBytes){.shape = {.rank = -1}};
  TensorBytes values, indices = {.type = ACTNN_I64, .shape = {.rank = 1}};
  if (!sparse->values) return reject(import, NULL, "%s has no values", what);
  if (!read_tensor(import, sparse->values, what, false, &values)) return false;
  result->type = values.type;
  size_t size = type_bytes(values.type);
  if (!size || values.shape.rank != 1) return reject(import, NULL, "%s: its values are not a list of numbers", what);
  if (!read_dimensions(import, sparse->dims, sparse->n_dims, what, &result->shape)) return false;
  if (values.shape.dim[0] == 0 && may_be_empty) return true;
  int64_t elements;
  shape_elements(&result->shape, &elements);
  uint64_t bytes = (uint64_t)elements * size;
  if (bytes > import->dense_bytes_left)
    return reject(import, "store it as an ordinary tensor", "%s is sparse and would take %llu MiB", what,
                  (unsigned long long)(bytes >> 20));
  import->dense_bytes_left -= bytes;
  result->bytes = (size_t)bytes;
  result->data = arena_allocate(import->program->arena, result->bytes + 1);
  if (values.shape.dim[0] == 0) return true;
  if (!sparse->indices) return reject(import, NULL, "%s has no indices", what);
  const char *of_indices = arena_format(import->scratch, "the indices of %s", what);
  return read_tensor(import, sparse->indices, of_indices, false, &indices) &&
         scatter(import, &values, &indices, what, result);
}
