/* emit_files.c: what goes to disk beside the source: first weights as safetensors, and names for them. */
#include "emit.h"
#include "text.h"

#include "../passes/passes.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { FILL_ELEMENTS = 1024 };

bool
is_uniform(const Value *value)
{
  size_t width = type_bytes(value->type);
  return value->data && width && value->data_bytes >= width
         && !memcmp(value->data, (const char *)value->data + width, value->data_bytes - width);
}

/* A fill is given reals, which round the integers beyond 53 bits. */
static bool
has_integers_that_round(const Value *value)
{
  const int64_t most = (int64_t)1 << 53;
  bool is_wide = value->data && (value->type == ACTNN_I64 || value->type == ACTNN_U64);
  for (size_t i = 0; is_wide && i < value->data_bytes / sizeof(int64_t); i++) {
    int64_t whole;
    memcpy(&whole, (const char *)value->data + i * sizeof whole, sizeof whole);
    if (whole < -most || whole > most) return true;
  }
  return false;
}

bool
is_stored_constant(const Value *value)
{
  int64_t elements;
  if (value->kind != VALUE_CONSTANT || !shape_elements(&value->shape, &elements)) return false;
  return (elements > FILL_ELEMENTS && !is_uniform(value)) || has_integers_that_round(value);
}

static bool
is_stored(const Program *program, ValueId id)
{
  const Value *value = value_at(program, id);
  if (program->plan->buffer_of[id] == UINT32_MAX || !value->data || value->drawn_from != NO_VALUE) return false;
  return value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE || is_stored_constant(value);
}

/* A program read from a dump lacks what was too large to be printed: passes do without, a trainer cannot. */
bool
constants_are_there(Program *program)
{
  uint32_t count;
  const ValueId *values = persistent_values(program, &count);
  for (uint32_t i = 0; i < count; i++) {
    const Value *value = value_at(program, values[i]);
    int64_t elements = 0;
    shape_elements(&value->shape, &elements);
    if (value->kind != VALUE_CONSTANT || value->data || !elements || program->plan->buffer_of[values[i]] == NO_VALUE) continue;
    return report(program->diagnostics, program->source, "compile the model itself, not its dump", "the numbers of the constant '%s' were left out",
                  value->name ? safe_name(program->arena, value->name) : "");
  }
  return true;
}

static void
append_json_string(Text *text, const char *name)
{
  text_append(text, "\"");
  for (const unsigned char *at = (const unsigned char *)name; *at; at++) {
    if (*at == '"' || *at == '\\') text_append(text, "\\%c", *at);
    else if (*at < ' ') text_append(text, "\\u%04x", *at);
    else text_append_bytes(text, at, 1);
  }
  text_append(text, "\"");
}

/* What the trainer holds an element as: F32, BOOL, U8 or I64. */
static const char *
stored_type(actnn_type type, size_t *width)
{
  *width = type == ACTNN_F32 ? 4 : type == ACTNN_BOOL || type == ACTNN_U8 ? 1 : 8;
  return type == ACTNN_F32 ? "F32" : type == ACTNN_BOOL ? "BOOL" : type == ACTNN_U8 ? "U8" : "I64";
}

static void
append_data(Text *text, const Program *program, ValueId id, Arena *arena)
{
  const Value *value = value_at(program, id);
  Tensor tensor;
  int64_t count = 0;
  size_t width;
  stored_type(value->type, &width);
  shape_elements(&value->shape, &count);
  if (value->type == ACTNN_F32 || width == 1 || value->type == ACTNN_I64) {
    text_append_bytes(text, value->data, value->data_bytes);
  } else if (constant_tensor(program, id, arena, &tensor)) {
    text_append_bytes(text, tensor.data, (size_t)count * 8);
  }
}

unsigned char *
emit_weights(Program *program, Arena *arena, size_t *length)
{
  Text header = {.arena = arena}, data = {.arena = arena}, whole = {.arena = arena};
  uint64_t offset = 0;
  text_append(&header, "{");
  uint32_t value_count;
  const ValueId *values = persistent_values(program, &value_count);
  for (uint32_t i = 0; i < value_count; i++) {
    ValueId id = values[i];
    const Value *value = value_at(program, id);
    int64_t count = 0;
    size_t width;
    if (!is_stored(program, id)) continue;
    const char *type = stored_type(value->type, &width);
    shape_elements(&value->shape, &count);
    if (offset) text_append(&header, ",");
    append_json_string(&header, value->name ? value->name : arena_format(arena, "actnn.constant.%u", id));
    text_append(&header, ":{\"dtype\":\"%s\",\"shape\":[", type);
    for (int k = 0; k < value->shape.rank; k++) text_append(&header, "%s%" PRId64, k ? "," : "", value->shape.dim[k]);
    text_append(&header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset, offset + (uint64_t)count * width);
    offset += (uint64_t)count * width;
    append_data(&data, program, id, arena);
  }
  *length = 0;
  if (!offset) return NULL;
  text_append(&header, "}");
  while (header.length % 8) text_append(&header, " ");
  uint64_t header_length = header.length;
  text_append_bytes(&whole, &header_length, 8);
  text_append_bytes(&whole, header.bytes, header.length);
  text_append_bytes(&whole, data.bytes, data.length);
  *length = whole.length;
  return (unsigned char *)whole.bytes;
}

const char *
identifier_from_path(Arena *arena, const char *path)
{
  const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  size_t length = strcspn(base, ".");
  char *name = arena_text(arena, base, length > 60 ? 60 : length);
  for (char *at = name; *at; at++) {
    *at = (char)tolower((unsigned char)*at);
    if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9'))) *at = '_';
  }
  bool is_taken = !strcmp(name, "onnx") || !strncmp(name, "actnn", 5); /* onnx_model is emitted; the runtime's names */
  if (is_taken || !(name[0] >= 'a' && name[0] <= 'z')) return arena_format(arena, "trainer_%s", name);
  return name;
}
