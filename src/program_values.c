/* program_values.c: reads names, types, tensor data and attributes of the text form of programs. */
#include "program_parser.h"

#include <math.h>
#include <string.h>

static const struct {
  const char *name;
  actnn_type type; /* ACTNN_UNDEFINED: a type of ONNX that programs do not have */
} type_names[] = {
    {"float", ACTNN_F32},      {"uint8", ACTNN_U8},        {"int8", ACTNN_I8},
    {"uint16", ACTNN_U16},     {"int16", ACTNN_I16},       {"int32", ACTNN_I32},
    {"int64", ACTNN_I64},      {"string", ACTNN_STRING},   {"bool", ACTNN_BOOL},
    {"float16", ACTNN_F16},    {"double", ACTNN_F64},      {"uint32", ACTNN_U32},
    {"uint64", ACTNN_U64},     {"bfloat16", ACTNN_BF16},   {"complex64", ACTNN_UNDEFINED},
    {"complex128", ACTNN_UNDEFINED}, {"float8e4m3fn", ACTNN_UNDEFINED}, {"float8e4m3fnuz", ACTNN_UNDEFINED},
    {"float8e5m2", ACTNN_UNDEFINED}, {"float8e5m2fnuz", ACTNN_UNDEFINED}, {"float8e8m0", ACTNN_UNDEFINED},
    {"float4e2m1", ACTNN_UNDEFINED}, {"int4", ACTNN_UNDEFINED},     {"uint4", ACTNN_UNDEFINED},
    {"int2", ACTNN_UNDEFINED}, {"uint2", ACTNN_UNDEFINED}, {"seq", ACTNN_UNDEFINED},
    {"map", ACTNN_UNDEFINED},  {"optional", ACTNN_UNDEFINED}, {"sparse_tensor", ACTNN_UNDEFINED},
    {"opaque", ACTNN_UNDEFINED}};
enum { LONGEST_LIST = 1 << 20 };
enum { TYPE_NAMES = sizeof type_names / sizeof *type_names };

void *
list_enlarge(Arena *arena, void *old, size_t count, size_t *capacity, size_t size)
{
  *capacity = count ? count * 2 : 2;
  void *larger = arena_array(arena, *capacity, size);
  if (count) memcpy(larger, old, count * size);
  return larger;
}

bool
read_quotable_name(Parser *parser, const char *what, Name *name)
{
  const Token *token = &parser->lexer.token;
  if (token->kind != TOKEN_NAME && token->kind != TOKEN_STRING) return lexer_expected(&parser->lexer, what);
  *name = (Name){token->word, token->position};
  lexer_advance(&parser->lexer);
  return true;
}

/* ---- types ------------------------------------------------------------------------------------- */

bool
at_type(const Lexer *lexer)
{
  if (lexer->token.kind != TOKEN_NAME) return false;
  for (int i = 0; i < TYPE_NAMES; i++)
    if (!strcmp(lexer->token.word, type_names[i].name)) return true;
  return false;
}

static bool
read_dimension(Parser *parser, ReadType *type)
{
  Lexer *lexer = &parser->lexer;
  Shape *shape = &type->shape;
  if (shape->rank == ACTNN_MAX_RANK)
    return lexer_fail(lexer, NULL, arena_format(parser->scratch, "a tensor has at most %d dimensions", ACTNN_MAX_RANK));
  int64_t *dim = &shape->dim[shape->rank++];
  *dim = DIM_UNKNOWN;
  if (lexer_match(lexer, '?')) return true;
  const Token *token = &lexer->token;
  if (token->kind == TOKEN_INTEGER) {
    if (token->integer < 0) return lexer_fail(lexer, NULL, "a dimension is at least 0");
    *dim = token->integer;
  } else if (token->kind == TOKEN_NAME || (token->kind == TOKEN_STRING && token->word[0])) {
    if (!type->symbol) type->symbol = arena_array(parser->program->arena, ACTNN_MAX_RANK, sizeof *type->symbol);
    type->symbol[shape->rank - 1] = arena_text(parser->program->arena, token->word, strlen(token->word));
  } else {
    return lexer_expected(lexer, "a dimension (a number, a name or ?)");
  }
  lexer_advance(lexer);
  return true;
}

/* The lexer is at a type. */
bool
read_type(Parser *parser, ReadType *type)
{
  Lexer *lexer = &parser->lexer;
  *type = (ReadType){.position = lexer->token.position};
  for (int i = 0; i < TYPE_NAMES; i++) {
    if (strcmp(lexer->token.word, type_names[i].name)) continue;
    type->type = type_names[i].type;
    if (type->type == ACTNN_UNDEFINED)
      return lexer_fail(lexer, "programs have tensors of floats, integers, bool and string",
                        arena_format(parser->scratch, "values of type %s are not supported", type_names[i].name));
  }
  lexer_advance(lexer);
  if (!lexer_match(lexer, '[')) return true; /* a scalar */
  if (lexer_match(lexer, ']')) {
    type->shape.rank = -1;
    return true;
  }
  do {
    if (!read_dimension(parser, type)) return false;
  } while (lexer_match(lexer, ','));
  return lexer_expect(lexer, ']', "after the dimensions");
}

/* ---- tensor data ------------------------------------------------------------------------------- */

/* Stores an integer of `bits` bits; false when it does not fit. */
static bool
store_integer(const Token *token, int bits, bool is_signed, unsigned char *element)
{
  int64_t value = token->integer;
  if (bits < 64) {
    int64_t least = is_signed ? -((int64_t)1 << (bits - 1)) : 0;
    int64_t most = is_signed ? ((int64_t)1 << (bits - 1)) - 1 : ((int64_t)1 << bits) - 1;
    if (token->is_unsigned || value < least || value > most) return false;
  } else if (is_signed ? token->is_unsigned : value < 0 && !token->is_unsigned) {
    return false;
  }
  for (int i = 0; i < bits / 8; i++) element[i] = (unsigned char)((uint64_t)value >> 8 * i);
  return true;
}

/* inf and nan are names to the lexer. */
static bool
special_real(const Token *token, double *real)
{
  if (token->kind != TOKEN_NAME) return false;
  bool is_infinity = !strcmp(token->word, "inf") || !strcmp(token->word, "infinity");
  if (!is_infinity && strcmp(token->word, "nan")) return false;
  *real = is_infinity ? (double)INFINITY : (double)NAN;
  return true;
}

static bool
read_element(Parser *parser, actnn_type type, unsigned char *element)
{
  Lexer *lexer = &parser->lexer;
  const Token *token = &lexer->token;
  if (type == ACTNN_F32 || type == ACTNN_F64) {
    double real;
    bool is_special = special_real(token, &real);
    if (!is_special && token->kind != TOKEN_INTEGER && token->kind != TOKEN_REAL)
      return lexer_expected(lexer, "a number");
    if (!is_special) real = token->real;
    float single = is_special ? (float)real : token->single;
    if (isinf(single) && !isinf(real) && type == ACTNN_F32)
      return lexer_fail(lexer, "infinity is spelled inf", "this number is too large for float");
    memcpy(element, type == ACTNN_F32 ? (void *)&single : (void *)&real, type_bytes(type));
  } else {
    if (token->kind != TOKEN_INTEGER) return lexer_expected(lexer, "an integer");
    bool is_signed = type == ACTNN_I8 || type == ACTNN_I16 || type == ACTNN_I32 || type == ACTNN_I64;
    bool fits = store_integer(token, (int)type_bytes(type) * 8, is_signed, element);
    if (!fits || (type == ACTNN_BOOL && *element > 1))
      return lexer_fail(lexer, NULL,
                        arena_format(parser->scratch, "this integer does not fit into %s", type_name(type)));
  }
  lexer_advance(lexer);
  return true;
}

static bool
read_elements(Parser *parser, const ReadType *type, int64_t elements, ReadData *data)
{
  Lexer *lexer = &parser->lexer;
  size_t size = type_bytes(type->type), position = lexer->token.position;
  LIST(uint64_t) list = {0};
  lexer_advance(lexer);
  if (!lexer_match(lexer, '}')) {
    do {
      uint64_t element = 0;
      if (!read_element(parser, type->type, (unsigned char *)&element)) return false;
      APPEND(parser->scratch, list, element);
    } while (lexer_match(lexer, ',') && (int64_t)list.count <= elements);
    if ((int64_t)list.count <= elements && !lexer_expect(lexer, '}', "after the elements of a tensor")) return false;
  }
  if ((int64_t)list.count != elements) {
    parser_error(parser, position, NULL,
                 arena_format(parser->scratch, "%s has %lld elements, here are %s%zu",
                              shape_text(parser->scratch, type->type, &type->shape), (long long)elements,
                              (int64_t)list.count > elements ? "at least " : "", list.count));
    lexer->token.kind = TOKEN_WRONG;
    return false;
  }
  unsigned char *bytes = arena_array(parser->program->arena, list.count + 1, size);
  for (size_t i = 0; i < list.count; i++) memcpy(bytes + i * size, &list.at[i], size);
  data->data = bytes;
  data->bytes = list.count * size;
  return true;
}

/* A decimal or, with base 16, hexadecimal number of a description; false when it is none. */
static bool
read_digits(const char *text, unsigned base, uint64_t most, uint64_t *number)
{
  *number = 0;
  if (!*text) return false;
  for (; *text; text++) {
    unsigned digit = *text >= '0' && *text <= '9' ? (unsigned)(*text - '0')
                     : *text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a') + 10
                                                    : 16;
    if (digit >= base || *number > (most - digit) / base) return false;
    *number = *number * base + digit;
  }
  return true;
}

/* ["location" : "omitted", "length" : "37632", "crc32" : "8a3f01c2"] or ["location" : "none"] */
static bool
read_description(Parser *parser, ReadData *data)
{
  Lexer *lexer = &parser->lexer;
  size_t position = lexer->token.position;
  bool is_ours = false, is_right = true;
  lexer_advance(lexer);
  do {
    Name key = {0}, value = {0};
    uint64_t number = 0;
    if (!read_quotable_name(parser, "a key of the tensor's description", &key)) return false;
    if (!lexer_expect(lexer, ':', "after the key")) return false;
    if (!read_quotable_name(parser, "a string", &value)) return false;
    if (!strcmp(key.word, "location")) {
      is_ours = !strcmp(value.word, "omitted") || !strcmp(value.word, "none");
    } else if (!strcmp(key.word, "length")) {
      is_right &= read_digits(value.word, 10, INT64_MAX, &number);
      data->bytes = number;
    } else if (!strcmp(key.word, "crc32")) {
      is_right &= read_digits(value.word, 16, UINT32_MAX, &number);
      data->checksum = (uint32_t)number;
    }
  } while (lexer_match(lexer, ','));
  if (!lexer_expect(lexer, ']', "after the tensor's description")) return false;
  if (!is_ours)
    return parser_error(parser, position, "use the binary .onnx file, whose external data is read",
                        "tensor data in other files is not supported in text");
  if (!is_right) return parser_error(parser, position, NULL, "this description of omitted data is wrong");
  return true;
}

bool
read_data(Parser *parser, const ReadType *type, ReadData *data)
{
  Lexer *lexer = &parser->lexer;
  int64_t elements;
  *data = (ReadData){0};
  if (!type_bytes(type->type))
    return lexer_fail(lexer, NULL, type->type ? "tensors of strings are not supported" : "an initializer needs a type");
  if (!shape_is_static(&type->shape) || !shape_elements(&type->shape, &elements)) {
    parser_error(parser, type->position, NULL, "the type of a tensor with data needs fixed dimensions of a sane size");
    lexer->token.kind = TOKEN_WRONG;
    return false;
  }
  if (lexer_at(lexer, '[')) return read_description(parser, data) || lexer->token.kind != TOKEN_WRONG;
  if (!lexer_at(lexer, '{')) return lexer_expected(lexer, "'{' and the tensor's elements");
  return read_elements(parser, type, elements, data);
}

/* ---- attributes -------------------------------------------------------------------------------- */

static bool
read_tensor(Parser *parser, Attribute *attribute)
{
  Lexer *lexer = &parser->lexer;
  Program *program = parser->program;
  ReadType type;
  ReadData data;
  if (!read_type(parser, &type)) return false;
  if (!lexer_at(lexer, '{') && !lexer_at(lexer, '=') && lexer->token.kind != TOKEN_NAME
      && lexer->token.kind != TOKEN_STRING)
    return lexer_fail(lexer, NULL, "attributes that are types are not supported");
  if (lexer->token.kind == TOKEN_NAME || lexer->token.kind == TOKEN_STRING) lexer_advance(lexer);
  lexer_match(lexer, '=');
  if (!read_data(parser, &type, &data)) return false;
  attribute->kind = ATTRIBUTE_TENSOR;
  attribute->tensor = add_value(program, NULL, VALUE_CONSTANT, type.type, type.shape);
  Value *value = value_at(program, attribute->tensor);
  value->data = data.data;
  value->data_bytes = data.bytes;
  value->data_checksum = data.checksum;
  return true;
}

/* A literal that says more than nine digits means the double, any other the float, as ONNX reads it. */
static double
attribute_real(const Token *token)
{
  return token->digits > 9 ? token->real : (double)token->single;
}

static bool
read_single(Parser *parser, ReadAttribute *read)
{
  Lexer *lexer = &parser->lexer;
  const Token *token = &lexer->token;
  Attribute *attribute = &read->attribute;
  attribute->tensor = NO_VALUE;
  if (lexer_match(lexer, '@')) {
    Name name = {0};
    if (!read_quotable_name(parser, "the name of an attribute of the function", &name)) return false;
    read->reference = name.word;
    return true;
  }
  if (at_type(lexer)) return read_tensor(parser, attribute);
  if (special_real(token, &attribute->f)) {
    attribute->kind = ATTRIBUTE_FLOAT;
  } else if (token->kind == TOKEN_NAME) {
    return lexer_fail(lexer, "If, Loop and Scan cannot be trained yet; unroll them when exporting",
                      "attributes that are graphs are not supported");
  } else if (token->kind == TOKEN_STRING) {
    attribute->kind = ATTRIBUTE_STRING;
    attribute->s = token->word;
  } else if (token->kind == TOKEN_REAL) {
    attribute->kind = ATTRIBUTE_FLOAT;
    attribute->f = attribute_real(token);
  } else if (token->kind == TOKEN_INTEGER) {
    if (token->is_unsigned) return lexer_fail(lexer, NULL, "this integer does not fit into 64 bits with a sign");
    attribute->kind = ATTRIBUTE_INT;
    attribute->i = token->integer;
    attribute->f = (double)token->single;
  } else {
    return lexer_expected(lexer, "the value of an attribute");
  }
  lexer_advance(lexer);
  return true;
}

/* An element of a list, while it is not known of what. */
typedef struct Element {
  AttributeKind kind;
  int64_t i;
  double f;
  const char *s;
} Element;
typedef LIST(Element) ElementList;

/* Turns the elements of a list into an attribute; a list with one real is a list of reals. */
static bool
join_list(Parser *parser, const ElementList *list, Attribute *attribute)
{
  Arena *arena = parser->scratch;
  size_t kinds[ATTRIBUTE_TENSOR + 1] = {0};
  for (size_t i = 0; i < list->count; i++) kinds[list->at[i].kind]++;
  attribute->count = list->count;
  if (kinds[ATTRIBUTE_STRING] == list->count) {
    attribute->kind = ATTRIBUTE_STRINGS;
    attribute->strings = arena_array(arena, list->count, sizeof *attribute->strings);
    for (size_t i = 0; i < list->count; i++) attribute->strings[i] = list->at[i].s;
  } else if (kinds[ATTRIBUTE_INT] == list->count) {
    int64_t *ints = arena_array(arena, list->count, sizeof *ints);
    for (size_t i = 0; i < list->count; i++) ints[i] = list->at[i].i;
    attribute->kind = ATTRIBUTE_INTS;
    attribute->ints = ints;
  } else if (kinds[ATTRIBUTE_INT] + kinds[ATTRIBUTE_FLOAT] == list->count) {
    double *floats = arena_array(arena, list->count, sizeof *floats);
    for (size_t i = 0; i < list->count; i++) floats[i] = list->at[i].f;
    attribute->kind = ATTRIBUTE_FLOATS;
    attribute->floats = floats;
  } else {
    return lexer_fail(&parser->lexer, NULL, "a list holds integers and reals, or strings, not a mixture");
  }
  return true;
}

static bool
read_list_elements(Parser *parser, Arena *arena, ElementList *list)
{
  Lexer *lexer = &parser->lexer;
  do {
    ReadAttribute read = {0};
    if (!read_single(parser, &read)) return false;
    if (read.reference) return lexer_fail(lexer, NULL, "a list cannot hold @ references");
    if (list->count == LONGEST_LIST) return lexer_fail(lexer, "make it an initializer", "this list is too long");
    Element element = {read.attribute.kind, read.attribute.i, read.attribute.f, read.attribute.s};
    APPEND(arena, *list, element);
  } while (lexer_match(lexer, ','));
  return lexer_expect(lexer, ']', "after the elements of a list");
}

static bool
read_list(Parser *parser, const char *kind_name, Attribute *attribute)
{
  Lexer *lexer = &parser->lexer;
  lexer_advance(lexer);
  if (lexer_match(lexer, ']')) {
    if (!kind_name)
      return lexer_fail(lexer, "write for example axes: ints = []", "an empty list needs the kind of its elements");
    attribute->kind = !strcmp(kind_name, "ints") ? ATTRIBUTE_INTS
                      : !strcmp(kind_name, "floats") ? ATTRIBUTE_FLOATS
                                                     : ATTRIBUTE_STRINGS;
    return true;
  }
  Arena *arena = arena_create(); /* the list takes several times the room of what it becomes */
  ElementList list = {0};
  bool is_read = read_list_elements(parser, arena, &list) && join_list(parser, &list, attribute);
  arena_destroy(arena);
  return is_read;
}

/* Makes the value fit the kind written before it; only integers become reals by themselves. */
static bool
fit_kind(Parser *parser, const char *kind_name, size_t position, Attribute *attribute)
{
  static const char *const kinds[] = {"int", "float", "string", "ints", "floats", "strings", "tensor"};
  if (!strcmp(kind_name, "float") && attribute->kind == ATTRIBUTE_INT) attribute->kind = ATTRIBUTE_FLOAT;
  if (!strcmp(kind_name, "floats") && attribute->kind == ATTRIBUTE_INTS) {
    double *floats = arena_array(parser->scratch, attribute->count, sizeof *floats);
    for (size_t i = 0; i < attribute->count; i++) floats[i] = (double)(float)attribute->ints[i];
    attribute->kind = ATTRIBUTE_FLOATS;
    attribute->floats = floats;
  }
  if (!strcmp(kind_name, kinds[attribute->kind])) return true;
  return parser_error(parser, position, NULL,
                      arena_format(parser->scratch, "attribute '%s' is said to be %s but its value is %s",
                                   safe_name(parser->scratch, attribute->name), safe_name(parser->scratch, kind_name),
                                   kinds[attribute->kind]));
}

bool
read_attribute(Parser *parser, Name name, ReadAttribute *read)
{
  Lexer *lexer = &parser->lexer;
  const char *kind_name = NULL;
  *read = (ReadAttribute){.attribute = {.name = name.word, .tensor = NO_VALUE}, .position = name.position};
  if (lexer_match(lexer, ':')) {
    if (lexer->token.kind != TOKEN_NAME) return lexer_expected(lexer, "the kind of an attribute, such as ints");
    kind_name = lexer->token.word;
    if (!strstr(" int float string ints floats strings tensor ",
                arena_format(parser->scratch, " %s ", kind_name)))
      return lexer_fail(lexer, NULL,
                        arena_format(parser->scratch, "attributes of kind '%.40s' are not supported", kind_name));
    lexer_advance(lexer);
  }
  if (!lexer_expect(lexer, '=', "and the attribute's value")) return false;
  bool is_list = lexer_at(lexer, '[');
  if (is_list ? !read_list(parser, kind_name, &read->attribute) : !read_single(parser, read)) return false;
  return !kind_name || read->reference || fit_kind(parser, kind_name, name.position, &read->attribute)
         || lexer->token.kind != TOKEN_WRONG;
}

bool
read_attributes(Parser *parser, AttributeList *attributes)
{
  Lexer *lexer = &parser->lexer;
  if (!lexer_match(lexer, '<')) return true;
  do {
    Name name;
    ReadAttribute attribute;
    if (!read_quotable_name(parser, "the name of an attribute", &name)) return false;
    if (!read_attribute(parser, name, &attribute)) return false;
    APPEND(parser->scratch, *attributes, attribute);
  } while (lexer_match(lexer, ','));
  return lexer_expect(lexer, '>', "after the attributes");
}
