/* program_parser.c: reads the text form of a program (docs/program-text.md).
 *
 * A model is read header, graph signature, functions, nodes: the graph's body is skipped first, so that the
 * functions after it are known when nodes call them. A call is inlined by reading the function's body again in
 * a scope of its own. Nothing recurses but these calls, to a fixed depth and amount of text. Mistakes of syntax
 * stop the reading; undefined names and the like are collected. */
#include "program_parser.h"

#include <string.h>

enum { MOST_INLINED_DEPTH = 16, MOST_INLINED_BYTES = 16 << 20, MOST_ATTRIBUTES = 1000, LONGEST_PREFIX = 200 };

bool
parser_error(Parser *parser, size_t position, const char *help, const char *message)
{
  const Lexer *lexer = &parser->lexer;
  return report_at(lexer->diagnostics, lexer->source, lexer->text, lexer->length, position, help, "%s", message);
}

static bool
name_error(Parser *parser, Name name, const char *help, const char *what)
{
  return parser_error(parser, name.position, help,
                      arena_format(parser->scratch, "'%s' %s", safe_name(parser->scratch, name.word), what));
}

/* The line of a place; asked for in rising order it costs one pass over the text. */
static int
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

/* Adds a name that is not in the table yet. */
static NameEntry *
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
  return agrees || name_error(parser, name, NULL, "is declared twice with different types");
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

static bool
twice_error(Parser *parser, Name name, size_t first)
{
  return name_error(parser, name, arena_format(parser->scratch, "it is first on line %d", line_of(parser, first)),
                    "is defined twice");
}

static ValueId
lookup(Parser *parser, const Scope *scope, Name name)
{
  if (!name.word[0]) return NO_VALUE;
  const NameEntry *entry = find_entry(parser, scope->names, name.word);
  if (entry && entry->is_defined) return entry->number;
  name_error(parser, name, "nodes stand after what they read", "is not an input, an initializer or an earlier result");
  return NO_VALUE;
}

static ValueId
define(Parser *parser, const Scope *scope, Name name)
{
  if (!name.word[0]) return NO_VALUE;
  NameEntry *entry = find_entry(parser, scope->names, name.word);
  if (entry && entry->is_defined) {
    twice_error(parser, name, entry->position);
    return NO_VALUE;
  }
  if (!entry) {
    Shape unknown = {.rank = -1};
    ValueId id = add_value(parser->program, scope->function ? NULL : name.word, VALUE_TEMPORARY, ACTNN_UNDEFINED, unknown);
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

/* < key: value, ... > of a model, or of a function (then *domain is set). */
static bool
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

static bool
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

static bool
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

/* Past a body in braces; braces of tensors inside it balance too. */
static bool
skip_body(Lexer *lexer)
{
  size_t depth = 0;
  if (!lexer_at(lexer, '{')) return lexer_expected(lexer, "'{' and the nodes");
  do {
    if (lexer_at(lexer, '{')) depth++;
    if (lexer_at(lexer, '}')) depth--;
    if (lexer->token.kind == TOKEN_END || lexer->token.kind == TOKEN_WRONG) return lexer_expected(lexer, "'}'");
    lexer_advance(lexer);
  } while (depth);
  return true;
}

/* ---- functions ---------------------------------------------------------------------------------- */

static const char *
function_key(Parser *parser, const char *domain, const char *name)
{
  return arena_format(parser->scratch, "%s\n%s", domain, name);
}

/* Formal inputs or outputs in parentheses; types before them say nothing new. */
static bool
read_formals(Parser *parser, NameList *names)
{
  Lexer *lexer = &parser->lexer;
  if (!lexer_expect(lexer, '(', "before the names of a function")) return false;
  while (!lexer_match(lexer, ')')) {
    ReadType type;
    Name name;
    if (names->count && !lexer_expect(lexer, ',', "or ')' after a name")) return false;
    if (!read_optional_type(parser, &type) || !read_quotable_name(parser, "a name", &name)) return false;
    APPEND(parser->scratch, *names, name);
  }
  return true;
}

static bool
read_function_attributes(Parser *parser, Function *function)
{
  Lexer *lexer = &parser->lexer;
  if (!lexer_match(lexer, '<')) return true;
  do {
    Name name;
    ReadAttribute attribute;
    if (!read_quotable_name(parser, "the name of an attribute", &name)) return false;
    if (lexer_at(lexer, ':') || lexer_at(lexer, '=')) {
      if (!read_attribute(parser, name, &attribute)) return false;
      APPEND(parser->scratch, function->defaults, attribute);
    }
  } while (lexer_match(lexer, ','));
  return lexer_expect(lexer, '>', "after the attributes of a function");
}

static bool
read_function(Parser *parser)
{
  Lexer *lexer = &parser->lexer;
  Function function = {.domain = "", .position = lexer->token.position};
  Name name;
  if (!read_header(parser, &function.domain)) return false;
  if (!read_quotable_name(parser, "the name of a function", &name)) return false;
  function.name = name.word;
  if (!read_function_attributes(parser, &function) || !read_formals(parser, &function.inputs)) return false;
  if (!expect_arrow(lexer) || !read_formals(parser, &function.outputs)) return false;
  if (lexer_match(lexer, '<')) {
    while (!lexer_match(lexer, '>')) {
      if (lexer->token.kind == TOKEN_END || lexer->token.kind == TOKEN_WRONG) return lexer_expected(lexer, "'>'");
      lexer_advance(lexer);
    }
  }
  function.body = lexer->token.position;
  if (!skip_body(lexer)) return false;
  const char *key = function_key(parser, function.domain, function.name);
  const NameEntry *known = find_entry(parser, parser->function_names, key);
  if (known) return twice_error(parser, name, known->position);
  add_entry(parser, parser->function_names, (Name){key, name.position}, (uint32_t)parser->functions.count);
  APPEND(parser->scratch, parser->functions, function);
  return true;
}

/* ---- nodes -------------------------------------------------------------------------------------- */

typedef struct ReadNode {
  Name label;
  NameList results, operands;
  const char *domain, *operator_name;
  AttributeList attributes;
  size_t position; /* of the operator */
} ReadNode;

static bool read_body(Parser *parser, const Scope *scope);

static const ReadAttribute *
find_read_attribute(const AttributeList *list, const char *name)
{
  for (size_t i = 0; i < list->count; i++)
    if (!strcmp(list->at[i].attribute.name, name)) return &list->at[i];
  return NULL;
}

/* Replaces @references by what the call or the function's defaults say, or by nothing. */
static bool
resolve_attributes(Parser *parser, const Scope *scope, AttributeList *list)
{
  AttributeList resolved = {0};
  if (list->count > MOST_ATTRIBUTES)
    return parser_error(parser, list->at[MOST_ATTRIBUTES].position, NULL, "a node has too many attributes");
  for (size_t i = 0; i < list->count; i++) {
    ReadAttribute read = list->at[i];
    Name name = {read.attribute.name, read.position};
    if (find_read_attribute(&resolved, name.word)) return name_error(parser, name, NULL, "is given twice");
    if (read.reference) {
      if (!scope->function) return name_error(parser, name, NULL, "refers to a function's attribute outside of one");
      const ReadAttribute *found = find_read_attribute(scope->given, read.reference);
      if (!found) found = find_read_attribute(&scope->function->defaults, read.reference);
      if (!found) continue;
      read.attribute = found->attribute;
      read.attribute.name = name.word;
    }
    APPEND(parser->scratch, resolved, read);
  }
  *list = resolved;
  return true;
}

/* Makes the names of a function's inputs and outputs stand for those of the call. */
static bool
bind_call(Parser *parser, const Scope *outer, const Scope *inner, const ReadNode *call)
{
  const Function *function = inner->function;
  Name name = {call->operator_name, call->position};
  if (call->operands.count > function->inputs.count || call->results.count > function->outputs.count)
    return name_error(parser, name, NULL, "is called with more operands or results than the function has");
  for (size_t i = 0; i < function->inputs.count; i++) {
    Name formal = function->inputs.at[i];
    ValueId actual = i < call->operands.count ? lookup(parser, outer, call->operands.at[i]) : NO_VALUE;
    if (find_entry(parser, inner->names, formal.word)) return twice_error(parser, formal, formal.position);
    add_entry(parser, inner->names, formal, actual)->is_defined = true;
  }
  for (size_t i = 0; i < function->outputs.count; i++) {
    Name formal = function->outputs.at[i];
    ValueId actual = i < call->results.count ? define(parser, outer, call->results.at[i]) : NO_VALUE;
    if (find_entry(parser, inner->names, formal.word))
      return name_error(parser, formal, "put an Identity between them", "is an input and an output of the function");
    if (actual != NO_VALUE) add_entry(parser, inner->names, formal, actual);
  }
  return true;
}

/* Reads the body of a function in place of a call of it. */
static bool
inline_call(Parser *parser, const Scope *outer, const ReadNode *call, const Function *function, const char *label)
{
  Lexer *lexer = &parser->lexer;
  size_t back = lexer->token.position;
  parser->inlined_bytes += (function->inputs.count + function->outputs.count) * sizeof(NameEntry);
  if (outer->depth >= MOST_INLINED_DEPTH || parser->inlined_bytes > MOST_INLINED_BYTES) {
    Name name = {call->operator_name, call->position};
    lexer->token.kind = TOKEN_WRONG;
    return name_error(parser, name, NULL, "calls functions too deeply or too often");
  }
  Scope inner = {.names = name_table_create(), .depth = outer->depth + 1, .line = outer->line, .prefix = label,
                 .function = function, .given = &call->attributes};
  bool is_read = bind_call(parser, outer, &inner, call);
  if (is_read) {
    lexer_seek(lexer, function->body);
    is_read = read_body(parser, &inner);
    parser->inlined_bytes += lexer->token.position - function->body;
    for (size_t i = 0; is_read && i < call->results.count; i++) lookup(parser, &inner, function->outputs.at[i]);
    lexer_seek(lexer, back);
  }
  name_table_destroy(inner.names);
  return is_read;
}

static bool
read_phase(const char *name, Phase *phase)
{
  for (int i = 0; i < PHASE_COUNT; i++) {
    if (strcmp(name, phase_name((Phase)i))) continue;
    *phase = (Phase)i;
    return true;
  }
  return false;
}

/* Sets a node's attributes, taking out those that stand for facts of ours. */
static void
set_attributes(Parser *parser, NodeId id, const AttributeList *list)
{
  Program *program = parser->program;
  OriginName origin = {.node = id};
  for (size_t i = 0; i < list->count; i++) {
    const Attribute *attribute = &list->at[i].attribute;
    bool is_text = attribute->kind == ATTRIBUTE_STRING;
    if (is_text && !strcmp(attribute->name, "phase") && read_phase(attribute->s, &node_at(program, id)->phase)) continue;
    if (is_text && !strcmp(attribute->name, "origin")) {
      origin.result = attribute->s;
      origin.position = list->at[i].position;
    } else if (is_text && !strcmp(attribute->name, "came_from")) {
      origin.dead = attribute->s;
      origin.position = list->at[i].position;
    } else {
      set_attribute(program, id, *attribute);
    }
  }
  if (origin.result || origin.dead) APPEND(parser->scratch, parser->origins, origin);
}

static bool
finish_node(Parser *parser, const Scope *scope, ReadNode *read)
{
  const Lexer *lexer = &parser->lexer;
  Program *program = parser->program;
  const char *label = read->label.word;
  if (scope->prefix && scope->prefix[0] && strlen(scope->prefix) < LONGEST_PREFIX)
    label = arena_format(parser->scratch, "%s/%s", scope->prefix, label);
  if (!resolve_attributes(parser, scope, &read->attributes)) return lexer->token.kind != TOKEN_WRONG;
  const char *key = function_key(parser, read->domain, read->operator_name);
  const NameEntry *entry = parser->functions.count ? find_entry(parser, parser->function_names, key) : NULL;
  Scope here = *scope;
  if (!scope->function) here.line = line_of(parser, read->position);
  if (entry) {
    inline_call(parser, &here, read, &parser->functions.at[entry->number], label);
    return lexer->token.kind != TOKEN_WRONG;
  }
  ValueId *operands = arena_array(parser->scratch, read->operands.count + 1, sizeof *operands);
  ValueId *results = arena_array(parser->scratch, read->results.count + 1, sizeof *results);
  for (size_t i = 0; i < read->operands.count; i++) operands[i] = lookup(parser, scope, read->operands.at[i]);
  for (size_t i = 0; i < read->results.count; i++) results[i] = define(parser, scope, read->results.at[i]);
  NodeId id = add_node(program, PHASE_FORWARD, read->domain, read->operator_name, label, operands,
                       read->operands.count, results, read->results.count);
  node_at(program, id)->line = here.line;
  set_attributes(parser, id, &read->attributes);
  return true;
}

/* Names up to `close`, which stays; an empty place or "" is an absent one. A comma may trail, as in ONNX. */
static bool
read_names(Parser *parser, char close, NameList *names)
{
  Lexer *lexer = &parser->lexer;
  while (!lexer_at(lexer, close)) {
    Name name = {"", lexer->token.position};
    if (!lexer_at(lexer, ',') && !read_quotable_name(parser, "the name of a value", &name)) return false;
    APPEND(parser->scratch, *names, name);
    if (!lexer_match(lexer, ',') && !lexer_at(lexer, close))
      return lexer_expected(lexer, arena_format(parser->scratch, "',' or '%c' after a name", close));
  }
  return true;
}

/* domain.Operator, each part an identifier or quoted. */
static bool
read_operator(Parser *parser, ReadNode *node)
{
  Lexer *lexer = &parser->lexer;
  Name part;
  node->position = lexer->token.position;
  node->domain = "";
  if (!read_quotable_name(parser, "an operator", &part)) return false;
  while (lexer_match(lexer, '.')) {
    node->domain = node->domain[0] ? arena_format(parser->scratch, "%s.%s", node->domain, part.word) : part.word;
    if (strlen(node->domain) > 1000) return lexer_fail(lexer, NULL, "this domain is too long");
    if (!read_quotable_name(parser, "an operator", &part)) return false;
  }
  node->operator_name = part.word;
  if (!strcmp(node->domain, "ai.onnx")) node->domain = "";
  return !lexer_at(lexer, ':') || lexer_fail(lexer, NULL, "overloaded functions are not supported");
}

static bool
read_node(Parser *parser, const Scope *scope)
{
  Lexer *lexer = &parser->lexer;
  ReadNode node = {.label = {"", 0}};
  if (lexer_match(lexer, '[')) {
    if (!lexer_at(lexer, ']') && !read_quotable_name(parser, "the name of a node", &node.label)) return false;
    if (!lexer_expect(lexer, ']', "after the name of a node")) return false;
  }
  if (!read_names(parser, '=', &node.results) || !lexer_expect(lexer, '=', "after the results")) return false;
  if (!read_operator(parser, &node) || !read_attributes(parser, &node.attributes)) return false;
  if (!lexer_expect(lexer, '(', "before the operands") || !read_names(parser, ')', &node.operands)) return false;
  if (!lexer_expect(lexer, ')', "after the operands")) return false;
  if (!node.attributes.count && !read_attributes(parser, &node.attributes)) return false;
  return finish_node(parser, scope, &node);
}

static bool
read_body(Parser *parser, const Scope *scope)
{
  Lexer *lexer = &parser->lexer;
  if (!lexer_expect(lexer, '{', "before the nodes")) return false;
  while (!lexer_at(lexer, '}'))
    if (!read_node(parser, scope)) return false;
  if (!scope->function) return true; /* what follows are functions, read already */
  lexer_advance(lexer);
  return lexer->token.kind != TOKEN_WRONG;
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
      ValueId value = lookup(parser, &(Scope){.names = parser->names}, name);
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
    ValueId id = lookup(parser, &graph, outputs.at[i]);
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
