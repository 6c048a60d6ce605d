/* program_print_values.c: the words of the text form as they are printed: names, numbers, types, tensor data. */
#include "program_printer.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text --------------------------------------------------------------------------------------- */

static void
put_bytes(Printer *printer, const char *bytes, size_t length)
{
  if (printer->capacity - printer->length <= length) {
    size_t capacity = printer->capacity * 2 + length + 4096;
    char *larger = arena_allocate(printer->arena, capacity);
    if (printer->length) memcpy(larger, printer->text, printer->length);
    printer->text = larger;
    printer->capacity = capacity;
  }
  memcpy(printer->text + printer->length, bytes, length);
  printer->length += length;
}

void
put(Printer *printer, const char *text)
{
  put_bytes(printer, text, strlen(text));
}

/* For short things; names go through `put`. */
void
put_format(Printer *printer, const char *format, ...)
{
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length > 0) put_bytes(printer, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

void
put_quoted(Printer *printer, const char *text)
{
  put(printer, "\"");
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') put(printer, "\\");
    put_bytes(printer, text, 1);
  }
  put(printer, "\"");
}

static bool
is_identifier(const char *text)
{
  static const char letters[] = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return text[0] && (text[0] < '0' || text[0] > '9') && !text[strspn(text, letters)];
}

/* A word that a reader would take for the start of a type. */
static bool
is_type_word(const char *text)
{
  static const char words[] = " float double string bool seq map optional sparse_tensor opaque ";
  const char *at = strlen(text) < 16 ? strstr(words, text) : NULL;
  if (at && at[-1] == ' ' && at[strlen(text)] == ' ') return true;
  return !strncmp(text, "int", 3) || !strncmp(text, "uint", 4) || !strncmp(text, "float", 5)
         || !strncmp(text, "bfloat", 6) || !strncmp(text, "complex", 7);
}

void
put_plain_name(Printer *printer, const char *name)
{
  if (is_identifier(name)) put(printer, name);
  else put_quoted(printer, name);
}

void
put_name(Printer *printer, const char *name)
{
  if (is_identifier(name) && !is_type_word(name)) put(printer, name);
  else put_quoted(printer, name);
}

/* ---- numbers ------------------------------------------------------------------------------------ */

/* The shortest decimal that reads back as the same float. `point`: with a mark of a real, for attributes. */
static void
put_float(Printer *printer, float value, bool point)
{
  char text[64];
  if (isnan(value) || isinf(value)) {
    put(printer, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
    return;
  }
  for (int digits = 6; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)value);
    if (strtof(text, NULL) == value) break;
  }
  put(printer, text);
  if (point && !strpbrk(text, ".e")) put(printer, ".0");
}

static void
put_double(Printer *printer, double value)
{
  char text[64];
  if (isnan(value) || isinf(value)) {
    put_float(printer, (float)value, false);
    return;
  }
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  put(printer, text);
}

/* ONNX's attributes are floats; a double that is none gets ten digits or more, which tells the reader so. */
void
put_real_attribute(Printer *printer, double value)
{
  char text[64];
  if (isnan(value) || isinf(value) || (fabs(value) < 3.5e38 && (double)(float)value == value)) {
    put_float(printer, (float)value, true);
    return;
  }
  for (int digits = 10; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%#.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  put(printer, text);
}

/* ---- types and tensor data ---------------------------------------------------------------------- */

/* The type and a space, or nothing when the type is not known. */
void
put_type(Printer *printer, const Value *value)
{
  const Shape *shape = &value->shape;
  if (value->type == ACTNN_UNDEFINED) return;
  put(printer, type_name(value->type));
  if (shape->rank != 0) put(printer, "[");
  for (int i = 0; i < shape->rank; i++) {
    const char *symbol = value->symbol ? value->symbol[i] : NULL;
    if (i) put(printer, ",");
    if (shape->dim[i] >= 0) put_format(printer, "%" PRId64, shape->dim[i]);
    else if (symbol) put_name(printer, symbol);
    else put(printer, "?");
  }
  put(printer, shape->rank != 0 ? "] " : " ");
}

static void
put_element(Printer *printer, actnn_type type, const unsigned char *at)
{
  if (type == ACTNN_F32) {
    float single;
    memcpy(&single, at, sizeof single);
    put_float(printer, single, false);
  } else if (type == ACTNN_F64) {
    double real;
    memcpy(&real, at, sizeof real);
    put_double(printer, real);
  } else {
    uint64_t bits = 0;
    size_t size = type_bytes(type);
    for (size_t i = 0; i < size; i++) bits |= (uint64_t)at[i] << 8 * i;
    bool is_signed = type == ACTNN_I8 || type == ACTNN_I16 || type == ACTNN_I32 || type == ACTNN_I64;
    if (is_signed && size < 8 && bits >> (8 * size - 1)) bits |= UINT64_MAX << 8 * size;
    if (is_signed) put_format(printer, "%" PRId64, (int64_t)bits);
    else put_format(printer, "%" PRIu64, bits);
  }
}

static uint32_t
crc32(const unsigned char *bytes, size_t count)
{
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

void
put_data(Printer *printer, const Value *value)
{
  int64_t elements;
  size_t size = type_bytes(value->type);
  bool is_sound = size && value->data && shape_elements(&value->shape, &elements)
                  && (uint64_t)elements == value->data_bytes / size && value->data_bytes % size == 0;
  if (is_sound && elements <= MOST_ELEMENTS_SHOWN) {
    put(printer, "{");
    for (int64_t i = 0; i < elements; i++) {
      if (i) put(printer, ", ");
      put_element(printer, value->type, (const unsigned char *)value->data + (size_t)i * size);
    }
    put(printer, "}");
  } else if (!value->data && !value->data_bytes) {
    put(printer, "[\"location\" : \"none\"]");
  } else {
    uint32_t checksum = value->data ? crc32(value->data, value->data_bytes) : value->data_checksum;
    put_format(printer, "[\"location\" : \"omitted\", \"length\" : \"%zu\", \"crc32\" : \"%08" PRIx32 "\"]",
               value->data_bytes, checksum);
  }
}
