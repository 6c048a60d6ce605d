/* verify_read.c: the words of an emitted source as tables and calls, by a grammar that allows nothing else.
 *
 * The runtime's header, which the source is compiled with, fixes what RUN, OUT, IN and WITH mean, and no preprocessor line
 * can change that (V9); so a text of this grammar has one meaning. A statement of a phase function is a RUN, which checks
 * the return code (V10), or the two closing lines. Numbers in tables are literals (V3). What a compiler makes of the same
 * text is compared afterwards (verify_clang.c). */
#include "verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reader {
  Emitted *emitted;
  uint32_t at; /* next word */
} Reader;

/* ---- words ------------------------------------------------------------------------------------------- */

static bool
unexpected(Reader *reader, const char *wanted)
{
  const Word *word = &reader->emitted->word[reader->at];
  return refuse(reader->emitted, word->start, "expected %s, found '%.*s'", wanted, word->length > 60 ? 60 : (int)word->length,
                reader->emitted->source + word->start);
}

static bool
accept(Reader *reader, const char *text)
{
  if (!word_is(reader->emitted, reader->at, text)) return false;
  reader->at++;
  return true;
}

/* Words separated by spaces; `$` in one stands for the trainer's name. */
static bool
expect(Reader *reader, const char *words)
{
  while (*words) {
    size_t length = strcspn(words, " ");
    const char *word = arena_text(reader->emitted->arena, words, length);
    if (*word == '$') word = arena_format(reader->emitted->arena, "%s%s", reader->emitted->name, word + 1);
    else if (!strncmp(word, "&$", 2)) word = arena_format(reader->emitted->arena, "&%s%s", reader->emitted->name, word + 2);
    if (!accept(reader, word)) return unexpected(reader, arena_format(reader->emitted->arena, "'%s'", word));
    words += length + (words[length] == ' ');
  }
  return true;
}

static bool
read_unsigned(Reader *reader, bool has_suffix, uint64_t *value)
{
  const Word *word = &reader->emitted->word[reader->at];
  if (word->kind != WORD_NUMBER) return unexpected(reader, "a number that is not negative");
  const char *text = word_text(reader->emitted, reader->at);
  char *end;
  errno = 0;
  *value = strtoull(text, &end, 10);
  if (errno || strcmp(end, has_suffix ? "u" : "")) return unexpected(reader, "a whole number that fits 64 bits");
  reader->at++;
  return true;
}

static bool
read_bytes(Reader *reader, uint64_t *value)
{
  return read_unsigned(reader, true, value);
}

static bool
read_count(Reader *reader, uint32_t *value)
{
  uint64_t wide;
  if (!read_unsigned(reader, false, &wide)) return false;
  if (wide >= UINT32_MAX) return refuse(reader->emitted, reader->emitted->word[reader->at - 1].start, "a number too large to be a count");
  *value = (uint32_t)wide;
  return true;
}

static bool
read_integer(Reader *reader, int64_t *value)
{
  uint64_t magnitude;
  if (accept(reader, "INT64_MIN")) return *value = INT64_MIN, true;
  bool is_negative = accept(reader, "-");
  if (!read_unsigned(reader, false, &magnitude)) return false;
  if (magnitude > INT64_MAX) return refuse(reader->emitted, reader->emitted->word[reader->at - 1].start, "an integer beyond 64 bits");
  *value = is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
  return true;
}

static bool
read_real(Reader *reader, double *value)
{
  double sign = accept(reader, "-") ? -1 : 1;
  if (accept(reader, "INFINITY")) return *value = sign * INFINITY, true;
  if (accept(reader, "NAN")) return *value = NAN, true;
  if (reader->emitted->word[reader->at].kind != WORD_NUMBER) return unexpected(reader, "a real number");
  const char *text = word_text(reader->emitted, reader->at);
  if (!strpbrk(text, ".e")) return unexpected(reader, "a number with a point or an exponent");
  *value = sign * strtod(text, NULL);
  reader->at++;
  return true;
}

static bool
read_string(Reader *reader)
{
  if (reader->emitted->word[reader->at].kind != WORD_TEXT) return unexpected(reader, "a string");
  reader->at++;
  return true;
}

/* v12, or NONE where that may stand. */
static bool
read_tensor(Reader *reader, bool may_be_none, uint32_t *tensor)
{
  const Emitted *emitted = reader->emitted;
  if (may_be_none && accept(reader, "NONE")) return *tensor = NONE, true;
  const Word *word = &emitted->word[reader->at];
  const char *text = emitted->source + word->start;
  if (word->kind != WORD_NAME || text[0] != 'v' || word->length < 2 || word->length > 10) return unexpected(reader, "a tensor");
  uint32_t number = 0;
  for (uint32_t i = 1; i < word->length; i++) {
    if (text[i] < '0' || text[i] > '9') return unexpected(reader, "a tensor");
    number = number * 10 + (uint32_t)(text[i] - '0');
  }
  if (number >= emitted->tensor_count || (text[1] == '0' && word->length > 2)) return unexpected(reader, "a tensor of the table");
  *tensor = number;
  reader->at++;
  return true;
}

/* Elements of a list from here to `end`, separated by commas: at least one. */
static uint32_t
list_length(const Reader *reader, const char *end)
{
  uint32_t count = 1;
  for (uint32_t at = reader->at; reader->emitted->word[at].kind != WORD_END && !word_is(reader->emitted, at, end); at++)
    count += word_is(reader->emitted, at, ",");
  return count;
}

static bool
read_choice(Reader *reader, const char *const *names, int count, const char *wanted, int *choice)
{
  for (*choice = 0; *choice < count; ++*choice)
    if (names[*choice] && accept(reader, names[*choice])) return true;
  return unexpected(reader, wanted);
}

/* ---- tables ------------------------------------------------------------------------------------------ */

static bool
read_numbering(Reader *reader)
{
  Emitted *emitted = reader->emitted;
  if (emitted->word[reader->at].kind != WORD_DIRECTIVE) return unexpected(reader, "#include of the trainer's header");
  reader->at++;
  if (!expect(reader, "enum {")) return false;
  while (!accept(reader, "TENSOR_COUNT")) {
    emitted->tensor_count++; /* v0, v1, ... in this order, or the next line refuses */
    uint32_t tensor;
    if (!read_tensor(reader, false, &tensor)) return false;
    if (tensor != emitted->tensor_count - 1) return refuse(emitted, emitted->word[reader->at - 1].start, "tensors are not numbered in order");
    if (!expect(reader, ",")) return false;
  }
  emitted->tensor = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *emitted->tensor);
  return expect(reader, "} ;");
}

static bool
read_extents(Reader *reader, actnn_tensor *tensor)
{
  if (!expect(reader, "{")) return false;
  if (tensor->rank == 0) return expect(reader, "0 }");
  for (int axis = 0; axis < tensor->rank; axis++) {
    uint64_t extent;
    if (axis && !expect(reader, ",")) return false;
    if (!read_unsigned(reader, false, &extent)) return false;
    if (extent > INT64_MAX) return refuse(reader->emitted, reader->emitted->word[reader->at - 1].start, "an extent beyond 63 bits");
    tensor->dim[axis] = (int64_t)extent;
  }
  return expect(reader, "}");
}

static bool
read_tensors(Reader *reader)
{
  static const char *const types[] = {[ACTNN_F32] = "ACTNN_F32", [ACTNN_U8] = "ACTNN_U8", [ACTNN_I64] = "ACTNN_I64", [ACTNN_BOOL] = "ACTNN_BOOL"};
  static const char *const layouts[] = {"ACTNN_PLAIN", "ACTNN_BLOCKED", "ACTNN_STASH"};
  Emitted *emitted = reader->emitted;
  if (!expect(reader, "static const actnn_tensor tensors [ TENSOR_COUNT ] = {")) return false;
  for (uint32_t i = 0; i < emitted->tensor_count; i++) {
    EmittedTensor *tensor = &emitted->tensor[i];
    uint32_t number;
    int type, layout;
    if (!expect(reader, "[")) return false;
    tensor->position = emitted->word[reader->at].start;
    if (!read_tensor(reader, false, &number)) return false;
    if (number != i) return refuse(emitted, tensor->position, "the table's entries are not in order");
    if (!expect(reader, "] = {") || !read_choice(reader, types, sizeof types / sizeof *types, "an element type", &type)
        || !expect(reader, ",") || !read_choice(reader, layouts, 3, "a layout", &layout) || !expect(reader, ","))
      return false;
    if (!read_count(reader, &number)) return false;
    if (number > ACTNN_MAX_RANK) return refuse(emitted, tensor->position, "rank %u, at most %d", number, (int)ACTNN_MAX_RANK);
    tensor->at = (actnn_tensor){.type = (uint8_t)type, .layout = (uint8_t)layout, .rank = (uint8_t)number};
    if (!expect(reader, ",") || !read_extents(reader, &tensor->at) || !expect(reader, ",") || !read_bytes(reader, &tensor->at.offset)
        || !expect(reader, ",") || !read_bytes(reader, &tensor->at.bytes) || !expect(reader, "} ,"))
      return false;
  }
  return expect(reader, "} ;");
}

/* Entries until the closing brace: an upper bound on how many there are. */
static uint32_t
table_length(const Reader *reader)
{
  return list_length(reader, ";");
}

static bool
read_inputs(Reader *reader)
{
  Emitted *emitted = reader->emitted;
  if (!expect(reader, "static const actnn_input inputs [ ] = {")) return false;
  emitted->input = arena_array(emitted->arena, table_length(reader), sizeof *emitted->input);
  while (accept(reader, "{")) {
    if (!read_tensor(reader, true, &emitted->input[emitted->input_count]) || !expect(reader, ",") || !read_string(reader) || !expect(reader, "} ,")) return false;
    emitted->input_count++;
  }
  if (emitted->input_count == 1 && emitted->input[0] == NONE) emitted->input_count = 0;
  return expect(reader, "} ;");
}

static bool
read_flag(Reader *reader, bool *flag)
{
  *flag = accept(reader, "true");
  return *flag || expect(reader, "false");
}

static bool
read_variables(Reader *reader)
{
  static const char *const roles[] = {"ACTNN_PARAMETER", "ACTNN_FROZEN", "ACTNN_RUNNING", "ACTNN_OPTIMIZER", "ACTNN_FIXED"};
  Emitted *emitted = reader->emitted;
  if (!expect(reader, "static const actnn_variable variables [ ] = {")) return false;
  emitted->variable = arena_array(emitted->arena, table_length(reader), sizeof *emitted->variable);
  while (accept(reader, "{")) {
    EmittedVariable *variable = &emitted->variable[emitted->variable_count++];
    int role;
    variable->position = emitted->word[reader->at].start;
    if (!read_tensor(reader, true, &variable->tensor) || !expect(reader, ",") || !read_string(reader) || !expect(reader, ",")
        || !read_choice(reader, roles, 5, "a variable's role", &role) || !expect(reader, ",") || !read_flag(reader, &variable->drawn)
        || !expect(reader, "} ,"))
      return false;
    variable->role = (actnn_variable_role)role;
  }
  if (emitted->variable_count == 1 && emitted->variable[0].tensor == NONE) emitted->variable_count = 0;
  return expect(reader, "} ;");
}

static bool
read_saves(Reader *reader)
{
  Emitted *emitted = reader->emitted;
  double weight;
  if (!expect(reader, "static const actnn_save saves [ ] = {")) return false;
  emitted->save = arena_array(emitted->arena, table_length(reader), sizeof *emitted->save);
  while (accept(reader, "{")) {
    EmittedSave *save = &emitted->save[emitted->save_count];
    uint32_t random_id;
    save->position = emitted->word[reader->at].start;
    if (!read_tensor(reader, true, &save->tensor) || !expect(reader, ",") || !read_string(reader) || !expect(reader, ",")
        || !read_real(reader, &weight) || !expect(reader, ",") || !read_real(reader, &save->bits) || !expect(reader, ",")
        || !read_count(reader, &random_id) || !expect(reader, ",") || !read_flag(reader, &save->adaptive) || !expect(reader, ", NONE } ,"))
      return false;
    /* Two saves with one random stream would have the same rounding errors, which are then not independent. */
    if (random_id != emitted->save_count) return refuse(emitted, save->position, "the save's random stream is %u, not its own", random_id);
    emitted->save_count++;
  }
  if (emitted->save_count == 1 && emitted->save[0].tensor == NONE) emitted->save_count = 0;
  return expect(reader, "} ;");
}

/* ---- calls ------------------------------------------------------------------------------------------- */

static bool
read_tensors_of_call(Reader *reader, const char *word, uint32_t **list, uint32_t *count)
{
  Emitted *emitted = reader->emitted;
  if (!expect(reader, word) || !expect(reader, "(")) return false;
  *count = list_length(reader, ")");
  if (*count > ACTNN_MAX_OPERANDS) return refuse(emitted, emitted->word[reader->at].start, "%u tensors in one list, at most %d", *count, (int)ACTNN_MAX_OPERANDS);
  *list = arena_array(emitted->arena, *count, sizeof **list);
  for (uint32_t i = 0; i < *count; i++)
    if ((i && !expect(reader, ",")) || !read_tensor(reader, true, &(*list)[i])) return false;
  return expect(reader, ")");
}

static bool
read_numbers(Reader *reader, actnn_attribute *attribute)
{
  Arena *arena = reader->emitted->arena;
  bool is_real = attribute->kind == ACTNN_REALS;
  attribute->count = list_length(reader, ")");
  int64_t *ints = is_real ? NULL : arena_array(arena, attribute->count, sizeof *ints);
  double *reals = is_real ? arena_array(arena, attribute->count, sizeof *reals) : NULL;
  for (size_t i = 0; i < attribute->count; i++) {
    if (i && !expect(reader, ",")) return false;
    if (is_real ? !read_real(reader, &reals[i]) : !read_integer(reader, &ints[i])) return false;
  }
  attribute->ints = ints;
  attribute->reals = reals;
  return expect(reader, ")");
}

static bool
read_attribute(Reader *reader, actnn_attribute *attribute)
{
  *attribute = (actnn_attribute){.kind = ACTNN_ABSENT};
  if (accept(reader, "ABSENT")) return true;
  if (accept(reader, "NO_INTS")) return attribute->kind = ACTNN_INTS, true;
  if (accept(reader, "INT")) return attribute->kind = ACTNN_INT, expect(reader, "(") && read_integer(reader, &attribute->i) && expect(reader, ")");
  if (accept(reader, "REAL_NUMBER")) return attribute->kind = ACTNN_REAL, expect(reader, "(") && read_real(reader, &attribute->f) && expect(reader, ")");
  if (accept(reader, "TEXT")) return attribute->kind = ACTNN_TEXT, expect(reader, "(") && read_string(reader) && expect(reader, ")");
  if (accept(reader, "INTS")) return attribute->kind = ACTNN_INTS, expect(reader, "(") && read_numbers(reader, attribute);
  if (accept(reader, "REALS")) return attribute->kind = ACTNN_REALS, expect(reader, "(") && read_numbers(reader, attribute);
  return unexpected(reader, "an attribute");
}

/* Attributes nest parentheses, so they are read twice: counted, then kept. */
static bool
read_attributes(Reader *reader, EmittedCall *call)
{
  if (accept(reader, "WITHOUT")) return true;
  if (!expect(reader, "WITH (")) return false;
  actnn_attribute attribute;
  uint32_t start = reader->at;
  do {
    if (!read_attribute(reader, &attribute)) return false;
    call->attribute_count++;
  } while (accept(reader, ","));
  reader->at = start;
  call->attribute = arena_array(reader->emitted->arena, call->attribute_count, sizeof *call->attribute);
  for (uint32_t i = 0; i < call->attribute_count; i++)
    if ((i && !expect(reader, ",")) || !read_attribute(reader, &call->attribute[i])) return false;
  return expect(reader, ")");
}

static bool
read_call(Reader *reader, EmittedCall *call)
{
  Emitted *emitted = reader->emitted;
  call->position = emitted->word[reader->at].start;
  if (!expect(reader, "RUN (")) return false;
  emitted->rule = "V2";
  const char *name = word_text(emitted, reader->at);
  call->name = name + (strlen(name) > 6 ? 6 : 0);
  call->kernel = strncmp(name, "actnn_", 6) ? NULL : find_kernel(call->name);
  if (!call->kernel) return unexpected(reader, "a kernel of the runtime");
  reader->at++;
  emitted->rule = "V10";
  return expect(reader, ",") && read_tensors_of_call(reader, "OUT", &call->output, &call->output_count) && expect(reader, ",")
         && read_tensors_of_call(reader, "IN", &call->input, &call->input_count) && expect(reader, ",") && read_attributes(reader, call)
         && expect(reader, ") ;");
}

static uint32_t
count_calls(const Emitted *emitted)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < emitted->word_count; i++) count += word_is(emitted, i, "RUN");
  return count;
}

static bool
read_functions(Reader *reader)
{
  static const char *const names[] = {"initialize", "forward", "backward", "evaluate"};
  Emitted *emitted = reader->emitted;
  emitted->rule = "V10";
  emitted->call = arena_array(emitted->arena, count_calls(emitted) + 1, sizeof *emitted->call);
  for (int phase = 0; phase < EMITTED_PHASES; phase++) {
    emitted->first_call[phase] = emitted->call_count;
    if (!expect(reader, "static int") || !expect(reader, names[phase]) || !expect(reader, "( actnn * trainer ) {")) return false;
    while (!accept(reader, "(")) {
      EmittedCall *call = &emitted->call[emitted->call_count];
      call->phase = (EmittedPhase)phase;
      if (!read_call(reader, call)) return false;
      emitted->call_count++;
    }
    if (!expect(reader, "void ) trainer ; return 0 ; }")) return false;
  }
  emitted->first_call[EMITTED_PHASES] = emitted->call_count;
  return true;
}

/* ---- the rest ---------------------------------------------------------------------------------------- */

static bool
read_model_bytes(Reader *reader, uint64_t *count)
{
  uint32_t byte;
  if (!expect(reader, "static const unsigned char onnx_model [ ] = {")) return false;
  uint32_t start = reader->at;
  for (*count = 0; reader->emitted->word[reader->at].kind == WORD_NUMBER; ++*count) {
    if (!read_count(reader, &byte) || byte > 255) return unexpected(reader, "a byte");
    if (!accept(reader, ",")) return reader->at == start + 1 && !byte && (*count = 0, true) && expect(reader, "} ;");
  }
  return expect(reader, "} ;");
}

static bool
read_model_numbers(Reader *reader)
{
  static const char *const losses[] = {"ACTNN_LOSS_OUTPUT", "ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY", "ACTNN_LOSS_MSE", "ACTNN_LOSS_L1", "ACTNN_LOSS_BCE_WITH_LOGITS"};
  actnn_model *model = &reader->emitted->model;
  const struct { const char *field; uint32_t *tensor; } tensors[] = {
      {"loss", &model->loss}, {"evaluation_loss", &model->evaluation_loss}, {"evaluation_output", &model->evaluation_output},
      {"learning_rate", &model->learning_rate}, {"step_number", &model->step_number}, {"training_output", &model->training_output}};
  const struct { const char *field; uint64_t *bytes; } sizes[] = {
      {"arena_bytes", &model->arena_bytes}, {"variable_bytes", &model->variable_bytes}, {"stash_offset", &model->stash_offset},
      {"stash_bytes", &model->stash_bytes}, {"workspace_offset", &model->workspace_offset}, {"workspace_bytes", &model->workspace_bytes},
      {"saved_bytes", &model->saved_bytes}, {"saved_bytes_fp32", &model->saved_bytes_fp32}, {"model_hash", &model->model_hash}, {"seed", &model->seed}};
  int loss_kind;
  if (!expect(reader, ". input_count =") || !read_count(reader, &model->input_count) || !expect(reader, ", . variable_count =")
      || !read_count(reader, &model->variable_count) || !expect(reader, ", . save_count =") || !read_count(reader, &model->save_count)
      || !expect(reader, ", . label ="))
    return false;
  model->label = NONE;
  if (!accept(reader, "NONE") && !read_count(reader, &model->label)) return false;
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
    if (!expect(reader, ", .") || !expect(reader, tensors[i].field) || !expect(reader, "=") || !read_tensor(reader, true, tensors[i].tensor)) return false;
  if (!expect(reader, ", . loss_kind =") || !read_choice(reader, losses, 5, "a kind of loss", &loss_kind) || !expect(reader, ", . batch =")
      || !read_integer(reader, &model->batch))
    return false;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (!expect(reader, ", .") || !expect(reader, sizes[i].field) || !expect(reader, "=") || !read_bytes(reader, sizes[i].bytes)) return false;
  return true;
}

static bool
read_model(Reader *reader)
{
  Emitted *emitted = reader->emitted;
  uint64_t onnx_bytes, claimed;
  uint32_t level;
  double rate;
  emitted->rule = "V3";
  if (!read_model_bytes(reader, &onnx_bytes)) return false;
  emitted->rule = "V2";
  if (!expect(reader, "const actnn_model $_model = { . version = ACTNN_VERSION , . name =")
      || !expect(reader, arena_format(emitted->arena, "\"%s\"", emitted->name))
      || !expect(reader, ", . tensor = tensors , . input = inputs , . variable = variables , . save = saves , . tensor_count = TENSOR_COUNT ,"))
    return false;
  emitted->rule = "V3";
  if (!read_model_numbers(reader) || !expect(reader, ", . default_learning_rate =") || !read_real(reader, &rate)
      || !expect(reader, ", . scheme =") || !read_string(reader) || !expect(reader, ", . level =") || !read_count(reader, &level))
    return false;
  emitted->rule = "V2";
  if (!expect(reader, ", . initialize = initialize , . forward = forward , . backward = backward , . evaluate = evaluate , . onnx = onnx_model , . onnx_bytes ="))
    return false;
  emitted->rule = "V3";
  if (!read_unsigned(reader, false, &claimed)) return false;
  if (claimed != onnx_bytes) return refuse(emitted, emitted->word[reader->at - 1].start, "the model takes %llu bytes", (unsigned long long)onnx_bytes);
  return expect(reader, ", } ;");
}

/* The trainer as a library, and main: always the same words. */
static bool
read_interface(Reader *reader)
{
  reader->emitted->rule = "V2";
  if (!expect(reader,
              "actnn * $_create ( int threads , uint64_t seed , char * error , size_t error_bytes ) { "
              "return actnn_create ( & $_model , threads , seed , error , error_bytes ) ; } "
              "int $_step ( actnn * trainer , double learning_rate , double * loss ) { "
              "return actnn_step ( trainer , learning_rate , loss ) ; } "
              "int $_evaluate ( actnn * trainer , double * loss ) { return actnn_evaluate_batch ( trainer , loss ) ; } "
              "int $_save ( actnn * trainer , const char * path ) { return actnn_save_checkpoint ( trainer , path ) ; } "
              "int $_load ( actnn * trainer , const char * path ) { return actnn_load ( trainer , path ) ; } "
              "void $_destroy ( actnn * trainer ) { actnn_destroy ( trainer ) ; }"))
    return false;
  if (reader->emitted->word[reader->at].kind != WORD_DIRECTIVE) return unexpected(reader, "#ifndef ACTNN_NO_MAIN");
  reader->at++;
  if (!expect(reader, "int main ( int argc , char * * argv ) { return actnn_main ( & $_model , argc , argv ) ; }")) return false;
  if (reader->emitted->word[reader->at].kind != WORD_DIRECTIVE) return unexpected(reader, "#endif");
  reader->at++;
  if (reader->emitted->word[reader->at].kind != WORD_END) return unexpected(reader, "the end of the source");
  return true;
}

bool
read_source(Emitted *emitted)
{
  Reader reader = {.emitted = emitted};
  emitted->rule = "V3";
  return read_numbering(&reader) && read_tensors(&reader) && read_inputs(&reader) && read_variables(&reader) && read_saves(&reader)
         && read_functions(&reader) && read_model(&reader) && read_interface(&reader);
}
