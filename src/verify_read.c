/* verify_read.c: the words of an emitted source as tables and calls, by a grammar that allows nothing else.
 *
 * The runtime's header, which the source is compiled with, fixes what RUN, OUT, IN and WITH mean, and no preprocessor line
 * can change that (V9); so a text of this grammar has one meaning. A statement of a phase function is a RUN, which checks
 * the return code (V10), or the two closing lines. Numbers in tables are literals (V3). What a compiler makes of the same
 * text is compared afterwards (verify_clang.c). */
#include "verify_words.h"

#include <string.h>

/* ---- tables ------------------------------------------------------------------------------------------ */

static bool
read_numbering(Reader *reader)
{
  Emitted *emitted = reader->emitted;
  if (emitted->word[reader->at].kind != WORD_DIRECTIVE)
    return unexpected_word(reader, "#include of the trainer's header");
  reader->at++;
  if (!expect_words(reader, "enum {")) return false;
  while (!accept_word(reader, "TENSOR_COUNT")) {
    emitted->tensor_count++; /* v0, v1, ... in this order, or the next line refuses */
    uint32_t tensor;
    if (!take_tensor(reader, false, &tensor)) return false;
    if (tensor != emitted->tensor_count - 1)
      return refuse(emitted, emitted->word[reader->at - 1].start, "tensors are not numbered in order");
    if (!expect_words(reader, ",")) return false;
  }
  emitted->tensor = arena_array(emitted->arena, emitted->tensor_count + 1, sizeof *emitted->tensor);
  return expect_words(reader, "} ;");
}

static bool
read_extents(Reader *reader, actnn_tensor *tensor)
{
  if (!expect_words(reader, "{")) return false;
  if (tensor->rank == 0) return expect_words(reader, "0 }");
  for (int axis = 0; axis < tensor->rank; axis++) {
    uint64_t extent;
    if (axis && !expect_words(reader, ",")) return false;
    if (!take_unsigned(reader, false, &extent)) return false;
    if (extent > INT64_MAX)
      return refuse(reader->emitted, reader->emitted->word[reader->at - 1].start, "an extent beyond 63 bits");
    tensor->dim[axis] = (int64_t)extent;
  }
  return expect_words(reader, "}");
}

static bool
read_tensors(Reader *reader)
{
  static const char *const types[] =
      {[ACTNN_F32] = "ACTNN_F32", [ACTNN_U8] = "ACTNN_U8", [ACTNN_I64] = "ACTNN_I64", [ACTNN_BOOL] = "ACTNN_BOOL",
       [ACTNN_BF16] = "ACTNN_BF16"};
  static const char *const layouts[] = {"ACTNN_PLAIN", "ACTNN_BLOCKED", "ACTNN_STASH"};
  Emitted *emitted = reader->emitted;
  if (!expect_words(reader, "static const actnn_tensor tensors [ TENSOR_COUNT ] = {")) return false;
  for (uint32_t i = 0; i < emitted->tensor_count; i++) {
    EmittedTensor *tensor = &emitted->tensor[i];
    uint32_t number;
    int type, layout;
    if (!expect_words(reader, "[")) return false;
    tensor->position = emitted->word[reader->at].start;
    if (!take_tensor(reader, false, &number)) return false;
    if (number != i) return refuse(emitted, tensor->position, "the table's entries are not in order");
    if (!expect_words(reader, "] = {")
        || !take_choice(reader, types, sizeof types / sizeof *types, "an element type", &type)
        || !expect_words(reader, ",") || !take_choice(reader, layouts, 3, "a layout", &layout)
        || !expect_words(reader, ","))
      return false;
    if (!take_count(reader, &number)) return false;
    if (number > ACTNN_MAX_RANK)
      return refuse(emitted, tensor->position, "rank %u, at most %d", number, (int)ACTNN_MAX_RANK);
    tensor->at = (actnn_tensor){.type = (uint8_t)type, .layout = (uint8_t)layout, .rank = (uint8_t)number};
    if (!expect_words(reader, ",") || !read_extents(reader, &tensor->at) || !expect_words(reader, ",")
        || !take_bytes(reader, &tensor->at.offset) || !expect_words(reader, ",")
        || !take_bytes(reader, &tensor->at.bytes) || !expect_words(reader, "} ,"))
      return false;
  }
  return expect_words(reader, "} ;");
}

/* An empty table has one row, always the same, which names no tensor: C has no arrays without elements. */
static bool
is_empty_table(const Reader *reader)
{
  return word_is(reader->emitted, reader->at, "{") && word_is(reader->emitted, reader->at + 1, "NONE");
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
  if (!expect_words(reader, "static const actnn_input inputs [ ] = {")) return false;
  if (is_empty_table(reader)) return expect_words(reader, "{ NONE , \"\" } , } ;");
  emitted->input = arena_array(emitted->arena, table_length(reader), sizeof *emitted->input);
  while (accept_word(reader, "{")) {
    EmittedInput *input = &emitted->input[emitted->input_count++];
    input->position = emitted->word[reader->at].start;
    if (!take_tensor(reader, false, &input->tensor) || !expect_words(reader, ",") || !take_string(reader, &input->name)
        || !expect_words(reader, "} ,"))
      return false;
  }
  return expect_words(reader, "} ;");
}

static bool
read_flag(Reader *reader, bool *flag)
{
  *flag = accept_word(reader, "true");
  return *flag || expect_words(reader, "false");
}

static bool
read_variables(Reader *reader)
{
  static const char *const roles[] = {"ACTNN_PARAMETER", "ACTNN_FROZEN", "ACTNN_RUNNING", "ACTNN_OPTIMIZER",
                                      "ACTNN_FIXED"};
  Emitted *emitted = reader->emitted;
  if (!expect_words(reader, "static const actnn_variable variables [ ] = {")) return false;
  if (is_empty_table(reader)) return expect_words(reader, "{ NONE , \"\" , ACTNN_FROZEN , true } , } ;");
  emitted->variable = arena_array(emitted->arena, table_length(reader), sizeof *emitted->variable);
  while (accept_word(reader, "{")) {
    EmittedVariable *variable = &emitted->variable[emitted->variable_count++];
    int role;
    variable->position = emitted->word[reader->at].start;
    if (!take_tensor(reader, false, &variable->tensor) || !expect_words(reader, ",") || !take_string(reader, &variable->name)
        || !expect_words(reader, ",") || !take_choice(reader, roles, 5, "a variable's role", &role)
        || !expect_words(reader, ",") || !read_flag(reader, &variable->drawn) || !expect_words(reader, "} ,"))
      return false;
    variable->role = (actnn_variable_role)role;
  }
  return expect_words(reader, "} ;");
}

static bool
read_saves(Reader *reader)
{
  static const char *const spacings[] = {"ACTNN_EVEN_LEVELS", "ACTNN_FIXED_LEVELS", "ACTNN_MASKED_LEVELS", "ACTNN_SQUARE_LEVELS",
                                         "ACTNN_NORMAL_LEVELS"};
  static const char *const adaptations[] = {"ACTNN_KEEPS_ITS_SHARE", "ACTNN_ADAPTS_BY_READERS", "ACTNN_ADAPTS_BY_REDRAWS"};
  Emitted *emitted = reader->emitted;
  if (!expect_words(reader, "static const actnn_save saves [ ] = {")) return false;
  if (is_empty_table(reader))
    return expect_words(reader,
                        "{ NONE , \"\" , ACTNN_EVEN_LEVELS , false , 0.0 , 0.0 , 0 , 0 , ACTNN_KEEPS_ITS_SHARE , 0.0 , NONE , NONE } , } ;");
  emitted->save = arena_array(emitted->arena, table_length(reader), sizeof *emitted->save);
  while (accept_word(reader, "{")) {
    EmittedSave *save = &emitted->save[emitted->save_count];
    uint32_t random_id;
    int spacing, adaptation;
    save->position = emitted->word[reader->at].start;
    if (!take_tensor(reader, false, &save->tensor) || !expect_words(reader, ",") || !take_string(reader, &save->name)
        || !expect_words(reader, ",") || !take_choice(reader, spacings, ACTNN_SPACINGS, "a spacing of levels", &spacing)
        || !expect_words(reader, ",") || !read_flag(reader, &save->dithers) || !expect_words(reader, ",")
        || !take_real(reader, &save->low) || !expect_words(reader, ",") || !take_real(reader, &save->high)
        || !expect_words(reader, ",") || !take_count(reader, &save->choices) || !expect_words(reader, ",")
        || !take_count(reader, &random_id) || !expect_words(reader, ",")
        || !take_choice(reader, adaptations, 3, "an adaptation", &adaptation)
        || !expect_words(reader, ",") || !take_real(reader, &save->weight)
        || !expect_words(reader, ",") || !take_tensor(reader, true, &save->parameter) || !expect_words(reader, ",")
        || !take_tensor(reader, true, &save->scale) || !expect_words(reader, "} ,"))
      return false;
    save->spacing = (actnn_spacing)spacing;
    save->adaptation = (actnn_adaptation)adaptation;
    /* Two saves with one random stream would have the same rounding errors, which are then not independent. */
    if (random_id != emitted->save_count)
      return refuse(emitted, save->position, "the save's random stream is %u, not its own", random_id);
    emitted->save_count++;
  }
  return expect_words(reader, "} ;");
}

/* ---- calls ------------------------------------------------------------------------------------------- */

static bool
read_tensors_of_call(Reader *reader, const char *word, uint32_t **list, uint32_t *count)
{
  Emitted *emitted = reader->emitted;
  if (!expect_words(reader, word) || !expect_words(reader, "(")) return false;
  *count = list_length(reader, ")");
  if (*count > ACTNN_MAX_OPERANDS)
    return refuse(emitted, emitted->word[reader->at].start, "%u tensors in one list, at most %d", *count,
                  (int)ACTNN_MAX_OPERANDS);
  *list = arena_array(emitted->arena, *count, sizeof **list);
  for (uint32_t i = 0; i < *count; i++)
    if ((i && !expect_words(reader, ",")) || !take_tensor(reader, true, &(*list)[i])) return false;
  return expect_words(reader, ")");
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
    if (i && !expect_words(reader, ",")) return false;
    if (is_real ? !take_real(reader, &reals[i]) : !take_integer(reader, &ints[i])) return false;
  }
  attribute->ints = ints;
  attribute->reals = reals;
  return expect_words(reader, ")");
}

static bool
read_attribute(Reader *reader, actnn_attribute *attribute)
{
  *attribute = (actnn_attribute){.kind = ACTNN_ABSENT};
  if (accept_word(reader, "ABSENT")) return true;
  if (accept_word(reader, "NO_INTS")) return attribute->kind = ACTNN_INTS, true;
  if (accept_word(reader, "INT"))
    return attribute->kind = ACTNN_INT,
           expect_words(reader, "(") && take_integer(reader, &attribute->i) && expect_words(reader, ")");
  if (accept_word(reader, "REAL_NUMBER"))
    return attribute->kind = ACTNN_REAL,
           expect_words(reader, "(") && take_real(reader, &attribute->f) && expect_words(reader, ")");
  if (accept_word(reader, "TEXT"))
    return attribute->kind = ACTNN_TEXT, expect_words(reader, "(") && take_string(reader, &attribute->text) && expect_words(reader, ")");
  if (accept_word(reader, "INTS"))
    return attribute->kind = ACTNN_INTS, expect_words(reader, "(") && read_numbers(reader, attribute);
  if (accept_word(reader, "REALS"))
    return attribute->kind = ACTNN_REALS, expect_words(reader, "(") && read_numbers(reader, attribute);
  return unexpected_word(reader, "an attribute");
}

/* No more of them than commas up to the statement's end, and one. */
static bool
read_attributes(Reader *reader, EmittedCall *call)
{
  if (accept_word(reader, "WITHOUT")) return true;
  if (!expect_words(reader, "WITH (")) return false;
  call->attribute = arena_array(reader->emitted->arena, list_length(reader, ";"), sizeof *call->attribute);
  do
    if (!read_attribute(reader, &call->attribute[call->attribute_count++])) return false;
  while (accept_word(reader, ","));
  return expect_words(reader, ")");
}

static bool
read_call(Reader *reader, EmittedCall *call)
{
  Emitted *emitted = reader->emitted;
  call->position = emitted->word[reader->at].start;
  if (!expect_words(reader, "RUN (")) return false;
  emitted->rule = "V2";
  const char *name = word_text(emitted, reader->at);
  call->name = name + (strlen(name) > 6 ? 6 : 0);
  call->kernel = strncmp(name, "actnn_", 6) ? NULL : find_kernel(call->name);
  if (!call->kernel) return unexpected_word(reader, "a kernel of the runtime");
  reader->at++;
  emitted->rule = "V10";
  return expect_words(reader, ",") && read_tensors_of_call(reader, "OUT", &call->output, &call->output_count)
      && expect_words(reader, ",") && read_tensors_of_call(reader, "IN", &call->input, &call->input_count)
      && expect_words(reader, ",") && read_attributes(reader, call) && expect_words(reader, ") ;");
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
    if (!expect_words(reader, "static int") || !expect_words(reader, names[phase])
        || !expect_words(reader, "( actnn * trainer ) {"))
      return false;
    while (!accept_word(reader, "(")) {
      EmittedCall *call = &emitted->call[emitted->call_count];
      call->phase = (EmittedPhase)phase;
      if (!read_call(reader, call)) return false;
      emitted->call_count++;
    }
    if (!expect_words(reader, "void ) trainer ; return 0 ; }")) return false;
  }
  emitted->first_call[EMITTED_PHASES] = emitted->call_count;
  return true;
}

/* ---- the rest ---------------------------------------------------------------------------------------- */

/* Of no bytes the list is a single zero, as C has no empty arrays. */
static bool
read_model_bytes(Reader *reader, uint64_t *count)
{
  uint32_t byte;
  if (!expect_words(reader, "static const unsigned char onnx_model [ ] = {")) return false;
  *count = 0;
  if (word_is(reader->emitted, reader->at, "0") && word_is(reader->emitted, reader->at + 1, "}")) return expect_words(reader, "0 } ;");
  unsigned char *bytes = arena_allocate(reader->emitted->arena, list_length(reader, "}"));
  reader->emitted->model.onnx = bytes;
  for (; reader->emitted->word[reader->at].kind == WORD_NUMBER; ++*count) {
    if (!take_count(reader, &byte) || byte > 255) return unexpected_word(reader, "a byte");
    bytes[*count] = (unsigned char)byte;
    if (!expect_words(reader, ",")) return false;
  }
  return expect_words(reader, "} ;");
}

static bool
read_model_numbers(Reader *reader)
{
  static const char *const losses[] = {"ACTNN_LOSS_OUTPUT", "ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY", "ACTNN_LOSS_MSE",
                                       "ACTNN_LOSS_L1", "ACTNN_LOSS_BCE_WITH_LOGITS"};
  actnn_model *model = &reader->emitted->model;
  const struct {
    const char *field;
    uint32_t *tensor;
  } tensors[] = {{"loss", &model->loss},
                 {"evaluation_loss", &model->evaluation_loss},
                 {"evaluation_output", &model->evaluation_output},
                 {"evaluation_losses", &model->evaluation_losses},
                 {"learning_rate", &model->learning_rate},
                 {"step_number", &model->step_number},
                 {"training_output", &model->training_output}};
  const struct {
    const char *field;
    uint64_t *bytes;
  } sizes[] = {{"arena_bytes", &model->arena_bytes},
               {"variable_bytes", &model->variable_bytes},
               {"stash_offset", &model->stash_offset},
               {"stash_bytes", &model->stash_bytes},
               {"exact_bytes", &model->exact_bytes},
               {"window_bytes", &model->window_bytes},
               {"workspace_offset", &model->workspace_offset},
               {"workspace_bytes", &model->workspace_bytes},
               {"saved_bytes", &model->saved_bytes},
               {"saved_bytes_fp32", &model->saved_bytes_fp32},
               {"model_hash", &model->model_hash},
               {"seed", &model->seed}};
  int loss_kind;
  if (!expect_words(reader, ". input_count =") || !take_count(reader, &model->input_count)
      || !expect_words(reader, ", . variable_count =") || !take_count(reader, &model->variable_count)
      || !expect_words(reader, ", . save_count =") || !take_count(reader, &model->save_count)
      || !expect_words(reader, ", . exact_count =") || !take_count(reader, &model->exact_count)
      || !expect_words(reader, ", . label ="))
    return false;
  model->label = NONE;
  if (!accept_word(reader, "NONE") && !take_count(reader, &model->label)) return false;
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
    if (!expect_words(reader, ", .") || !expect_words(reader, tensors[i].field) || !expect_words(reader, "=")
        || !take_tensor(reader, true, tensors[i].tensor))
      return false;
  if (!expect_words(reader, ", . loss_kind =") || !take_choice(reader, losses, 5, "a kind of loss", &loss_kind)
      || !expect_words(reader, ", . batch =") || !take_integer(reader, &model->batch))
    return false;
  model->loss_kind = (actnn_loss_kind)loss_kind;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (!expect_words(reader, ", .") || !expect_words(reader, sizes[i].field) || !expect_words(reader, "=")
        || !take_bytes(reader, sizes[i].bytes))
      return false;
  return true;
}

static bool
read_device(Reader *reader)
{
  reader->emitted->is_for_gpu = !accept_word(reader, "NULL");
  return !reader->emitted->is_for_gpu || expect_words(reader, "& actnn_cuda");
}

/* The table of kernels is declared where it is named. */
static bool
read_kernels(Reader *reader, bool is_declared)
{
  reader->emitted->names_kernels = !accept_word(reader, "NULL");
  if (reader->emitted->names_kernels != is_declared) return unexpected_word(reader, "the table that is declared, or none");
  return !is_declared || expect_words(reader, "$_pointwise");
}

static bool
read_level(Reader *reader)
{
  uint32_t level;
  if (!take_count(reader, &level)) return false;
  reader->emitted->model.level = (int)level;
  return true;
}

static bool
read_model(Reader *reader)
{
  Emitted *emitted = reader->emitted;
  uint64_t onnx_bytes, claimed;
  emitted->rule = "V3";
  if (!read_model_bytes(reader, &onnx_bytes)) return false;
  emitted->rule = "V2";
  bool has_kernels = word_is(emitted, reader->at, "extern");
  if (has_kernels && !expect_words(reader, "extern const actnn_pointwise $_pointwise [ ] ;")) return false;
  if (!expect_words(reader, "const actnn_model $_model = { . version = ACTNN_VERSION , . name =")
      || !expect_words(reader, arena_format(emitted->arena, "\"%s\"", emitted->name))
      || !expect_words(
          reader,
          ", . tensor = tensors , . input = inputs , . variable = variables , . save = saves , . tensor_count = TENSOR_COUNT ,"))
    return false;
  emitted->rule = "V3";
  if (!read_model_numbers(reader) || !expect_words(reader, ", . default_learning_rate =")
      || !take_real(reader, &emitted->model.default_learning_rate) || !expect_words(reader, ", . device =")
      || !read_device(reader) || !expect_words(reader, ", . pointwise =") || !read_kernels(reader, has_kernels)
      || !expect_words(reader, ", . scheme =") || !take_string(reader, &emitted->model.scheme) || !expect_words(reader, ", . level =")
      || !read_level(reader))
    return false;
  emitted->rule = "V2";
  if (!expect_words(
          reader,
          ", . initialize = initialize , . forward = forward , . backward = backward , . evaluate = evaluate , "
          ". onnx = onnx_model , . onnx_bytes ="))
    return false;
  emitted->rule = "V3";
  if (!take_unsigned(reader, false, &claimed)) return false;
  if (claimed != onnx_bytes)
    return refuse(emitted, emitted->word[reader->at - 1].start, "the model takes %llu bytes",
                  (unsigned long long)onnx_bytes);
  emitted->model.onnx_bytes = (size_t)onnx_bytes;
  return expect_words(reader, ", } ;");
}

/* The trainer as a library, and main: always the same words. */
static bool
read_interface(Reader *reader)
{
  reader->emitted->rule = "V2";
  if (!expect_words(
          reader,
          "actnn * $_create ( int threads , uint64_t seed , char * error , size_t error_bytes ) { "
          "return actnn_create ( & $_model , threads , seed , error , error_bytes ) ; } "
          "int $_step ( actnn * trainer , double learning_rate , double * loss ) { "
          "return actnn_step ( trainer , learning_rate , loss ) ; } "
          "int $_evaluate ( actnn * trainer , double * loss ) { return actnn_evaluate_batch ( trainer , loss ) ; } "
          "int $_save ( actnn * trainer , const char * path ) { return actnn_save_checkpoint ( trainer , path ) ; } "
          "int $_load ( actnn * trainer , const char * path ) { return actnn_load ( trainer , path ) ; } "
          "void $_destroy ( actnn * trainer ) { actnn_destroy ( trainer ) ; }"))
    return false;
  if (reader->emitted->word[reader->at].kind != WORD_DIRECTIVE) return unexpected_word(reader, "#ifndef ACTNN_NO_MAIN");
  reader->at++;
  if (!expect_words(reader,
                    "int main ( int argc , char * * argv ) { return actnn_main ( & $_model , argc , argv ) ; }"))
    return false;
  if (reader->emitted->word[reader->at].kind != WORD_DIRECTIVE) return unexpected_word(reader, "#endif");
  reader->at++;
  if (reader->emitted->word[reader->at].kind != WORD_END) return unexpected_word(reader, "the end of the source");
  return true;
}

bool
read_source(Emitted *emitted)
{
  Reader reader = {.emitted = emitted};
  emitted->rule = "V3";
  return read_numbering(&reader) && read_tensors(&reader) && read_inputs(&reader) && read_variables(&reader)
      && read_saves(&reader) && read_functions(&reader) && read_model(&reader) && read_interface(&reader);
}
