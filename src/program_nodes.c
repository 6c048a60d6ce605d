/* program_nodes.c: reads functions and nodes of the text form of programs.
 *
 * A call of a function is inlined by reading the function's body again in a scope of its own. Nothing recurses but
 * these calls, to a fixed depth and amount of text. */
#include "program_parser.h"

#include <string.h>

enum { MOST_INLINED_DEPTH = 16, MOST_INLINED_BYTES = 16 << 20, MOST_ATTRIBUTES = 1000, LONGEST_PREFIX = 200 };

/* Past a body in braces; braces of tensors inside it balance too. */
bool
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

bool
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
    ValueId actual = i < call->operands.count ? lookup_name(parser, outer, call->operands.at[i]) : NO_VALUE;
    if (find_entry(parser, inner->names, formal.word)) return twice_error(parser, formal, formal.position);
    add_entry(parser, inner->names, formal, actual)->is_defined = true;
  }
  for (size_t i = 0; i < function->outputs.count; i++) {
    Name formal = function->outputs.at[i];
    ValueId actual = i < call->results.count ? define_name(parser, outer, call->results.at[i]) : NO_VALUE;
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
    for (size_t i = 0; is_read && i < call->results.count; i++) lookup_name(parser, &inner, function->outputs.at[i]);
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
    bool is_phase = is_text && !strcmp(attribute->name, "phase");
    if (is_phase && read_phase(attribute->s, &node_at(program, id)->phase)) continue;
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
  if (program->node_count >= MOST_NODES || program->value_count >= MOST_VALUES)
    return lexer_fail(&parser->lexer, NULL, "the program has more nodes or values than are supported");
  if (lexer->diagnostics->errors > lexer->diagnostics->limit) { /* more is not shown */
    parser->lexer.token.kind = TOKEN_WRONG;
    return false;
  }
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
  for (size_t i = 0; i < read->operands.count; i++) operands[i] = lookup_name(parser, scope, read->operands.at[i]);
  for (size_t i = 0; i < read->results.count; i++) results[i] = define_name(parser, scope, read->results.at[i]);
  NodeId id = add_node(program, PHASE_FORWARD, read->domain, read->operator_name, label, operands,
                       read->operands.count, results, read->results.count);
  node_at(program, id)->line = here.line;
  set_attributes(parser, id, &read->attributes);
  return true;
}

/* Names up to and with `close`; an empty place or "" is an absent one. A comma may trail, as in ONNX. */
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
  lexer_advance(lexer);
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
  if (lexer_at(lexer, ':')) return lexer_fail(lexer, NULL, "overloaded functions are not supported");
  return true;
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
  if (!read_names(parser, '=', &node.results) || !read_operator(parser, &node)) return false;
  if (!read_attributes(parser, &node.attributes) || !lexer_expect(lexer, '(', "before the operands")) return false;
  if (!read_names(parser, ')', &node.operands)) return false;
  if (!node.attributes.count && !read_attributes(parser, &node.attributes)) return false;
  return finish_node(parser, scope, &node);
}

/* The lexer is at the brace, where `skip_body` was before. */
bool
read_body(Parser *parser, const Scope *scope)
{
  Lexer *lexer = &parser->lexer;
  lexer_advance(lexer);
  while (!lexer_at(lexer, '}'))
    if (!read_node(parser, scope)) return false;
  if (!scope->function) return true; /* what follows are functions, read already */
  lexer_advance(lexer);
  return lexer->token.kind != TOKEN_WRONG;
}
