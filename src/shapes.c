/* shapes.c: shapes, element types and the constants that hold them. */
#include "program.h"

#include <math.h>
#include <string.h>

static const int64_t MOST_ELEMENTS = (int64_t)1 << 47;

Shape
shape_of(int rank, const int64_t *dims)
{
  Shape shape = {.rank = rank};
  for (int i = 0; i < rank && i < ACTNN_MAX_RANK; i++) shape.dim[i] = dims[i];
  return shape;
}

bool
shape_equal(const Shape *a, const Shape *b)
{
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++) {
    if (a->dim[i] != b->dim[i]) return false;
  }
  return true;
}

bool
shape_is_static(const Shape *shape)
{
  if (shape->rank < 0) return false;
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dim[i] < 0) return false;
  }
  return true;
}

bool
shape_elements(const Shape *shape, int64_t *elements)
{
  *elements = 0;
  if (!shape_is_static(shape)) return false;
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dim[i] == 0) return true;
  }
  int64_t product = 1;
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dim[i] > MOST_ELEMENTS / product) return false;
    product *= shape->dim[i];
  }
  *elements = product;
  return true;
}

bool
shape_broadcast(const Shape *a, const Shape *b, Shape *result)
{
  if (a->rank < 0 || b->rank < 0) {
    *result = (Shape){.rank = -1};
    return true;
  }
  Shape made = {.rank = a->rank > b->rank ? a->rank : b->rank};
  for (int i = 0; i < made.rank; i++) {
    int in_a = i - (made.rank - a->rank), in_b = i - (made.rank - b->rank);
    int64_t x = in_a < 0 ? 1 : a->dim[in_a], y = in_b < 0 ? 1 : b->dim[in_b];
    if (x == y || y == 1)
      made.dim[i] = x;
    else if (x == 1)
      made.dim[i] = y;
    else if (x == DIM_UNKNOWN || y == DIM_UNKNOWN)
      made.dim[i] = x == DIM_UNKNOWN ? y : x; /* the unknown one must be 1 or the same */
    else
      return false;
  }
  *result = made;
  return true;
}

size_t
type_bytes(actnn_type type)
{
  switch (type) {
  case ACTNN_U8:
  case ACTNN_I8:
  case ACTNN_BOOL: return 1;
  case ACTNN_U16:
  case ACTNN_I16:
  case ACTNN_F16:
  case ACTNN_BF16: return 2;
  case ACTNN_F32:
  case ACTNN_I32:
  case ACTNN_U32: return 4;
  case ACTNN_I64:
  case ACTNN_F64:
  case ACTNN_U64: return 8;
  case ACTNN_STRING:
  case ACTNN_UNDEFINED: break;
  }
  return 0;
}

const char *
type_name(actnn_type type)
{
  static const char *const names[] = {"undefined", "float",  "uint8",     "int8",       "uint16",  "int16",
                                      "int32",     "int64",  "string",    "bool",       "float16", "double",
                                      "uint32",    "uint64", "complex64", "complex128", "bfloat16"};
  return (size_t)type < sizeof names / sizeof *names ? names[type] : "undefined";
}

const char *
phase_name(Phase phase)
{
  static const char *const names[] = {"initialize", "forward", "recompute", "backward", "update", "evaluate"};
  return phase < PHASE_COUNT ? names[phase] : "?";
}

const char *
shape_text(Arena *arena, actnn_type type, const Shape *shape)
{
  static const char *const short_names[] = {"?",    "f32", "u8",  "i8",  "u16", "i16", "i32",  "i64", "string",
                                            "bool", "f16", "f64", "u32", "u64", "c64", "c128", "bf16"};
  const char *name = (size_t)type < sizeof short_names / sizeof *short_names ? short_names[type] : "?";
  if (shape->rank < 0) return arena_format(arena, "%s[...]", name);
  char text[ACTNN_MAX_RANK * 24 + 1];
  size_t length = 0;
  text[0] = 0;
  for (int i = 0; i < shape->rank && i < ACTNN_MAX_RANK; i++) {
    const char *comma = i ? "," : "";
    int written = shape->dim[i] < 0
                      ? snprintf(text + length, sizeof text - length, "%s?", comma)
                      : snprintf(text + length, sizeof text - length, "%s%lld", comma, (long long)shape->dim[i]);
    length += (size_t)written;
  }
  return arena_format(arena, "%s[%s]", name, text);
}

/* ---- constants ---------------------------------------------------------------------------------- */

static const Value *
constant_value(const Program *program, ValueId id)
{
  if (id == NO_VALUE) return NULL;
  const Value *value = value_at(program, id);
  return value->kind == VALUE_CONSTANT && value->data ? value : NULL;
}

bool
constant_ints(const Program *program, ValueId id, const int64_t **ints, size_t *count)
{
  *ints = NULL;
  *count = 0;
  const Value *value = constant_value(program, id);
  if (!value || (value->type != ACTNN_I64 && value->type != ACTNN_I32)) return false;
  size_t size = type_bytes(value->type), elements = value->data_bytes / size;
  int64_t *copy = arena_array(program->arena, elements ? elements : 1, sizeof *copy);
  for (size_t i = 0; i < elements; i++) {
    int32_t narrow;
    if (value->type == ACTNN_I64) {
      memcpy(&copy[i], (const char *)value->data + i * size, size);
    } else {
      memcpy(&narrow, (const char *)value->data + i * size, size);
      copy[i] = narrow;
    }
  }
  *ints = copy;
  *count = elements;
  return true;
}

static double
half_to_real(uint16_t half)
{
  int exponent = half >> 10 & 31, fraction = half & 1023;
  double magnitude = exponent == 31  ? (fraction ? (double)NAN : (double)INFINITY)
                     : exponent == 0 ? ldexp(fraction, -24)
                                     : ldexp(fraction + 1024, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

#define READ_AS(c_type)                                                                                              \
  {                                                                                                                  \
    c_type number;                                                                                                   \
    memcpy(&number, data, sizeof number);                                                                            \
    return (double)number;                                                                                           \
  }

/* The bytes are little-endian, as are the machines we run on. */
double
element_as_real(actnn_type type, const void *data)
{
  uint16_t bits;
  uint32_t wide;
  float single;
  switch (type) {
  case ACTNN_F32: READ_AS(float)
  case ACTNN_F64: READ_AS(double)
  case ACTNN_U8:
  case ACTNN_BOOL: READ_AS(uint8_t)
  case ACTNN_I8: READ_AS(int8_t)
  case ACTNN_U16: READ_AS(uint16_t)
  case ACTNN_I16: READ_AS(int16_t)
  case ACTNN_I32: READ_AS(int32_t)
  case ACTNN_U32: READ_AS(uint32_t)
  case ACTNN_I64: READ_AS(int64_t)
  case ACTNN_U64: READ_AS(uint64_t)
  case ACTNN_F16: memcpy(&bits, data, sizeof bits); return half_to_real(bits);
  case ACTNN_BF16:
    memcpy(&bits, data, sizeof bits);
    wide = (uint32_t)bits << 16;
    memcpy(&single, &wide, sizeof single);
    return (double)single;
  case ACTNN_STRING:
  case ACTNN_UNDEFINED: break;
  }
  return 0;
}

bool
constant_real(const Program *program, ValueId id, double *real)
{
  const Value *value = constant_value(program, id);
  if (!value || !type_bytes(value->type) || value->data_bytes != type_bytes(value->type)) return false;
  *real = element_as_real(value->type, value->data);
  return true;
}
