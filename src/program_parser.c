/* program_parser.c: reads the text form of a program (docs/program-text.md).
 *
 * This file reads the whole: header, signature of the graph, names; program_nodes.c reads functions and nodes,
 * program_values.c types, data and attributes, program_annotations.c what ONNX has no place for. The graph's body
 * is skipped first, so that the functions after it are known when nodes call them. Mistakes of syntax stop the
 * reading; undefined names and the like are collected. */
#include "program_parser.h"

#include <string.h>

bool
parser_error(Parser *parser, size_t position, const char *help, const char *message)
{
  const Lexer *lexer = &parser->lexer;
  return report_at(lexer->diagnostics, lexer->source, lexer->text, lexer->length, position, help, "%s", message);
}

bool
name_error(Parser *parser, Name name, const char *help, const char *what)
{
  return parser_error(parser, name.position, help,
                      arena_format(parser->scratch, "'%s' %s", safe_name(parser->scratch, name.word), what));
}

int
line_of(Parser *parser, size_t position)
{
  if (position < parser->line_position) {
    parser->line_position = 0;
    parser->line = 1;
  }
  for (; parser->line_position < position; parser->line_position++)
    parser->line += parser->lexer.text[parser->line_position] == '\n';
  return parser->line;
}

/* ---- names -------------------------------------------------------------------------------------- */

NameEntry *
find_entry(const Parser *parser, const NameTable *names, const char *word)
{
  uint32_t index;
  return name_table_find(names, word, &index) ? &parser->entries.at[index] : NULL;
}

NameEntry *
add_entry(Parser *parser, NameTable *names, Name name, uint32_t number)
{
  NameEntry entry = {.number = number, .position = name.position};
  name_table_add(names, name.word, (uint32_t)parser->entries.count, NULL);
  APPEND(parser->scratch, parser->entries, entry);
  return &parser->entries.at[parser->entries.count - 1];
}

/* Joins what two declarations of a value say of its type. */
static bool
merge_type(Parser *parser, Name name, ValueId id, const ReadType *read)
{
  Value *value = value_at(parser->program, id);
  if (read->type == ACTNN_UNDEFINED) return true;
  bool agrees = value->type == ACTNN_UNDEFINED || value->type == read->type;
  value->type = read->type;
  if (value->shape.rank < 0) {
    value->shape = read->shape;
    value->symbol = read->symbol;
  } else if (read->shape.rank >= 0) {
    agrees &= value->shape.rank == read->shape.rank;
    for (int i = 0; agrees && i < read->shape.rank; i++) {
      int64_t *dim = &value->shape.dim[i];
      agrees = *dim == DIM_UNKNOWN || read->shape.dim[i] == DIM_UNKNOWN || *dim == read->shape.dim[i];
      if (*dim == DIM_UNKNOWN) *dim = read->shape.dim[i];
    }
  }
  if (!agrees) return name_error(parser, name, NULL, "is declared twice with different types");
  return true;
}

/* The entry of a name in the graph, made if there is none yet; its type joined. */
static NameEntry *
declare(Parser *parser, Name name, const ReadType *type)
{
  NameEntry *entry = find_entry(parser, parser->names, name.word);
  if (!entry) {
    Shape unknown = {.rank = -1};
    ValueId id = add_value(parser->program, name.word, VALUE_TEMPORARY, ACTNN_UNDEFINED, unknown);
    entry = add_entry(parser, parser->names, name, id);
  }
  merge_type(parser, name, entry->number, type);
  return entry;
}

bool
twice_error(Parser *parser, Name name, size_t first)
{
  return name_error(parser, name, arena_format(parser->scratch, "it is first on line %d", line_of(parser, first)),
                    "is defined twice");
}

ValueId
lookup_name(Parser *parser, const Scope *scope, Name name)
{
  if (!name.word[0]) return NO_VALUE;
  const NameEntry *entry = find_entry(parser, scope->names, name.word);
  if (entry && entry->is_defined) return entry->number;
  name_error(parser, name, "nodes stand after what they read", "is not an input, an initializer or an earlier result");
  return NO_VALUE;
}

ValueId
define_name(Parser *parser, const Scope *scope, Name name)
{
  if (!name.word[0]) return NO_VALUE;
  NameEntry *entry = find_entry(parser, scope->names, name.word);
  if (entry && entry->is_defined) {
    twice_error(parser, name, entry->position);
    return NO_VALUE;
  }
  if (!entry) {
    Shape unknown = {.rank = -1};
    const char *word = scope->function ? NULL : name.word;
    ValueId id = add_value(parser->program, word, VALUE_TEMPORARY, ACTNN_UNDEFINED, unknown);
    entry = add_entry(parser, scope->names, name, id);
  }
  entry->is_defined = true;
  return entry->number;
}

/* ---- header ------------------------------------------------------------------------------------- */

static bool
read_string_pair(Parser *parser, Name *key, Name *value)
{
  Lexer *lexer = &parser->lexer;
  if (lexer->token.kind != TOKEN_STRING) return lexer_expected(lexer, "a string");
  read_quotable_name(parser, "", key);
  if (!lexer_expect(lexer, ':', "after the string")) return false;
  if (value) {
    if (lexer->token.kind != TOKEN_STRING) return lexer_expected(lexer, "a string");
    return read_quotable_name(parser, "", value);
  }
  return true;
}

static bool
read_opsets(Parser *parser, bool is_function)
{
  Lexer *lexer = &parser->lexer;
  Program *program = parser->program;
  LIST(OpsetImport) opsets = {0};
  if (!lexer_expect(lexer, '[', "before the operator sets")) return false;
  if (lexer_match(lexer, ']')) return true;
  do {
    Name domain;
    if (!read_string_pair(parser, &domain, NULL)) return false;
    if (lexer->token.kind != TOKEN_INTEGER) return lexer_expected(lexer, "the version of an operator set");
    if (lexer->token.integer < 1) return lexer_fail(lexer, NULL, "versions of operator sets start at 1");
    if (!strcmp(domain.word, "ai.onnx")) domain.word = "";
    int64_t known = opset_version(program, domain.word);
    OpsetImport import = {arena_text(program->arena, domain.word, strlen(domain.word)), lexer->token.integer};
    APPEND(program->arena, opsets, import);
    if (is_function && known && known != import.version)
      warn(lexer->diagnostics, lexer->source,
           "line %d: a function imports version %lld of '%s', the model %lld: the model's is used",
           line_of(parser, domain.position), (long long)import.version, safe_name(parser->scratch, domain.word),
           (long long)known);
    lexer_advance(lexer);
  } while (lexer_match(lexer, ','));
  if (!is_function) {
    program->opsets = opsets.at;
    program->opset_count = (uint32_t)opsets.count;
    program->opset_capacity = (uint32_t)opsets.capacity;
  }
  return lexer_expect(lexer, ']', "after the operator sets");
}

static bool
read_metadata(Parser *parser)
{
  Lexer *lexer = &parser->lexer;
  if (!lexer_expect(lexer, '[', "before the metadata")) return false;
  if (lexer_match(lexer, ']')) return true;
  do {
    Name key, value;
    if (!read_string_pair(parser, &key, &value)) return false;
    Annotation annotation = {key.word, value.word, key.position};
    if (!strncmp(key.word, "actnn.", 6)) APPEND(parser->scratch, parser->annotations, annotation);
  } while (lexer_match(lexer, ','));
  return lexer_expect(lexer, ']', "after the metadata");
}

bool
read_header(Parser *parser, const char **domain)
{
  Lexer *lexer = &parser->lexer;
  if (!lexer_match(lexer, '<')) return true;
  do {
    Name key;
    if (lexer->token.kind != TOKEN_NAME) return lexer_expected(lexer, "a key of the header, such as ir_version");
    read_quotable_name(parser, "", &key);
    if (!lexer_expect(lexer, ':', "after the key")) return false;
    if (!strcmp(key.word, "opset_import")) {
      if (!read_opsets(parser, domain != NULL)) return false;
      continue;
    }
    if (!strcmp(key.word, "metadata_props")) {
      if (!read_metadata(parser)) return false;
      continue;
    }
    bool is_number = !strcmp(key.word, "ir_version") || !strcmp(key.word, "model_version");
    bool is_text = strstr(" producer_name producer_version domain doc_string overload ",
                          arena_format(parser->scratch, " %s ", key.word));
    if (!is_number && !is_text) {
      name_error(parser, key, "keys are ir_version, opset_import, metadata_props, producer_name, producer_version, "
                              "domain, model_version and doc_string", "is not a key of the header");
      return false;
    }
    if (lexer->token.kind != (is_number ? TOKEN_INTEGER : TOKEN_STRING))
      return lexer_expected(lexer, is_number ? "an integer" : "a string");
    if (!strcmp(key.word, "ir_version")) parser->program->ir_version = lexer->token.integer;
    if (!strcmp(key.word, "domain") && domain) *domain = lexer->token.word;
    if (!strcmp(key.word, "overload") && lexer->token.word[0])
      return lexer_fail(lexer, NULL, "overloaded functions are not supported");
    lexer_advance(lexer);
  } while (lexer_match(lexer, ','));
  return lexer_expect(lexer, '>', "after the header");
}

/* ---- signature of the graph --------------------------------------------------------------------- */

static bool
is_float(actnn_type type)
{
  return type == ACTNN_F32 || type == ACTNN_F64 || type == ACTNN_F16 || type == ACTNN_BF16;
}

bool
read_optional_type(Parser *parser, ReadType *type)
{
  *type = (ReadType){.type = ACTNN_UNDEFINED, .shape = {.rank = -1}, .position = parser->lexer.token.position};
  return !at_type(&parser->lexer) || read_type(parser, type);
}

/* type name [= data], in the parentheses of inputs (is_input) or in the < > after the outputs. */
static bool
read_declaration(Parser *parser, bool is_input, NameList *inputs)
{
  Lexer *lexer = &parser->lexer;
  ReadType type;
  Name name;
  if (parser->program->value_count >= MOST_VALUES) return lexer_fail(lexer, NULL, "the program has more values than are supported");
  if (!read_optional_type(parser, &type) || !read_quotable_name(parser, "the name of a value", &name)) return false;
  NameEntry *entry = declare(parser, name, &type);
  Value *value = value_at(parser->program, entry->number);
  bool has_data = lexer_match(lexer, '=');
  if (entry->is_defined && (is_input || (has_data && value->kind != VALUE_INPUT)))
    twice_error(parser, name, entry->position);
  if (is_input) {
    entry->is_defined = true;
    value->kind = VALUE_INPUT;
    APPEND(parser->scratch, *inputs, name);
  }
  if (!has_data) return true;
  ReadData data;
  if (!read_data(parser, &type, &data)) return false;
  entry->is_defined = true;
  value->kind = is_float(type.type) ? VALUE_PARAMETER : VALUE_CONSTANT;
  value->data = data.data;
  value->data_bytes = data.bytes;
  value->data_checksum = data.checksum;
  return true;
}

static bool
read_declarations(Parser *parser, char close, NameList *inputs)
{
  Lexer *lexer = &parser->lexer;
  if (lexer_match(lexer, close)) return true;
  do {
    if (!read_declaration(parser, inputs != NULL, inputs)) return false;
  } while (lexer_match(lexer, ','));
  return lexer_expect(lexer, close, inputs ? "after the inputs" : "after the initializers");
}

bool
expect_arrow(Lexer *lexer)
{
  return lexer_expect(lexer, '=', "as the start of =>") && lexer_expect(lexer, '>', "as the end of =>");
}

static bool
read_signature(Parser *parser, NameList *outputs)
{
  Lexer *lexer = &parser->lexer;
  Program *program = parser->program;
  NameList inputs = {0};
  Name name;
  if (!read_quotable_name(parser, "the name of the graph", &name)) return false;
  program->name = arena_text(program->arena, name.word, strlen(name.word));
  if (!lexer_expect(lexer, '(', "before the inputs") || !read_declarations(parser, ')', &inputs)) return false;
  if (!expect_arrow(lexer) || !lexer_expect(lexer, '(', "before the outputs")) return false;
  while (!lexer_match(lexer, ')')) {
    ReadType type;
    if (outputs->count && !lexer_expect(lexer, ',', "or ')' after an output")) return false;
    if (!read_optional_type(parser, &type) || !read_quotable_name(parser, "the name of an output", &name)) return false;
    declare(parser, name, &type);
    APPEND(parser->scratch, *outputs, name);
  }
  if (lexer_match(lexer, '<') && !read_declarations(parser, '>', NULL)) return false;
  program->inputs = arena_array(program->arena, inputs.count + 1, sizeof *program->inputs);
  for (size_t i = 0; i < inputs.count; i++) {
    ValueId id = find_entry(parser, parser->names, inputs.at[i].word)->number;
    if (value_at(program, id)->kind == VALUE_INPUT) program->inputs[program->input_count++] = id;
  }
  return true;
}

/* ---- the whole ---------------------------------------------------------------------------------- */

/* A node that is named as an origin but is no longer in the program: it keeps its name for messages. */
static NodeId
dead_origin(Parser *parser, const OriginName *origin)
{
  const NameEntry *known = find_entry(parser, parser->dead_names, origin->dead);
  if (known) return known->number;
  Program *program = parser->program;
  const char *space = strchr(origin->dead, ' ');
  size_t length = space ? (size_t)(space - origin->dead) : strlen(origin->dead);
  char *operator_name = arena_text(parser->scratch, origin->dead, length), *dot = strrchr(operator_name, '.');
  if (dot) *dot = 0;
  NodeId id = add_node(program, PHASE_FORWARD, dot ? operator_name : "", dot ? dot + 1 : operator_name,
                       space ? space + 1 : "", NULL, 0, NULL, 0);
  program->order_count--;
  add_entry(parser, parser->dead_names, (Name){origin->dead, origin->position}, id);
  return id;
}

static void
resolve_origins(Parser *parser)
{
  Program *program = parser->program;
  for (size_t i = 0; i < parser->origins.count; i++) {
    const OriginName *origin = &parser->origins.at[i];
    NodeId id;
    if (origin->result) {
      Name name = {origin->result, origin->position};
      ValueId value = lookup_name(parser, &(Scope){.names = parser->names}, name);
      if (value == NO_VALUE) continue;
      id = value_at(program, value)->producer;
      if (id == NO_NODE) name_error(parser, name, NULL, "is not made by a node");
    } else {
      id = dead_origin(parser, origin);
    }
    node_at(program, origin->node)->origin = id;
  }
}

static bool
read_model(Parser *parser)
{
  Lexer *lexer = &parser->lexer;
  Program *program = parser->program;
  NameList outputs = {0};
  Scope graph = {.names = parser->names};
  if (!read_header(parser, NULL) || !read_signature(parser, &outputs)) return false;
  size_t body = lexer->token.position;
  if (!skip_body(lexer)) return false;
  while (lexer->token.kind != TOKEN_END)
    if (!read_function(parser)) return false;
  lexer_seek(lexer, body);
  if (!read_body(parser, &graph)) return false;
  program->outputs = arena_array(program->arena, outputs.count + 1, sizeof *program->outputs);
  for (size_t i = 0; i < outputs.count; i++) {
    ValueId id = lookup_name(parser, &graph, outputs.at[i]);
    if (id == NO_VALUE) continue;
    value_at(program, id)->is_output = true;
    program->outputs[program->output_count++] = id;
  }
  resolve_origins(parser);
  return apply_annotations(parser);
}

Program *
parse_program(const char *source, const char *text, size_t length, Diagnostics *diagnostics)
{
  Program *program = program_create(source, diagnostics);
  Parser parser = {.scratch = arena_create(), .program = program, .line = 1};
  unsigned errors_before = diagnostics->errors;
  program->ir_version = 8;
  parser.names = name_table_create();
  parser.function_names = name_table_create();
  parser.dead_names = name_table_create();
  lexer_start(&parser.lexer, parser.scratch, diagnostics, source, text, length);
  bool is_read = read_model(&parser) && diagnostics->errors == errors_before;
  name_table_destroy(parser.names);
  name_table_destroy(parser.function_names);
  name_table_destroy(parser.dead_names);
  arena_destroy(parser.scratch);
  if (is_read) return program;
  program_destroy(program);
  return NULL;
}
