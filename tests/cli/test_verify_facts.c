/* test_verify_facts.c: facts of a source and of its program that no text could say, several at once where one alone does not do.
 * Each rule is asked by itself, as if those before it had found nothing. (One fact at a time, all of them: test_verify_rules.c.) */
#include "../../src/verify_source.h"
#include "verify_facts.h"

/* ---- signatures ------------------------------------------------------------------------------------------------------------------ */

/* The first call of Relu with a signature and an attribute of its own. */
static void
give_signature(const char *signature, actnn_attribute attribute)
{
  static Kernel kernel;
  EmittedCall *call = call_of("Relu", 0);
  kernel = (Kernel){"Relu", signature, 0};
  call->kernel = &kernel;
  call->attribute = copied(&attribute, 1, sizeof attribute);
  call->attribute_count = 1;
}

static bool
next_value(const char *signature, uint32_t result, uint32_t operand)
{
  const Kernel kernel = {"Own", signature, UPDATE};
  return replaces(&(EmittedCall){.name = "Own", .kernel = &kernel}, result, operand);
}

static void
test_signatures(void)
{
  const actnn_attribute text = {.kind = ACTNN_TEXT, .text = ""}, number = {.kind = ACTNN_INT, .i = 1};
  static const int64_t three = 3;
  const actnn_attribute list = {.kind = ACTNN_INTS, .ints = &three, .count = 1};
  size_t length;
  give_signature("x -> y ; words:strings", text);
  refuses(SIGNATURES, "V2", "another kind of 'words:strings'", "an attribute of a kind that kernels do not have");
  give_signature("x -> y ; k", number);
  refuses(SIGNATURES, "V2", "another kind of 'k'", "an attribute without a kind");
  give_signature("x -> y ; k:whole", number);
  refuses(SIGNATURES, "V2", "another kind of 'k:whole'", "a kind as long as one that there is");
  give_signature("x -> y ; k:tensor", number);
  accepts(SIGNATURES, "a number for a tensor");
  give_signature("x -> y ; k:tensor", text);
  refuses(SIGNATURES, "V2", "another kind of 'k:tensor'", "a text for a tensor");
  give_signature("x -> y ; shapes:ints", list);
  accepts(SIGNATURES, "an attribute whose name only begins like shape");
  give_signature("x -> y ; shape:ints", list);
  refuses(SIGNATURES, "V2", "another shape", "a shape that the result does not have");
  const Kernel blank = {"Own", "x -> y ", 0};
  ok(slot_at(&blank, RESULTS, 0, &length) && !slot_at(&blank, RESULTS, 1, &length), "blanks behind a signature are no slot");
  ok(next_value("w g -> w2", 0, 0) && next_value("w m? -> w2 m2?", 1, 1), "w2 and m2? are the next w and m?");
  ok(!next_value("w g -> w2", 0, 1) && !next_value("w g -> w2", 0, 2) && !next_value("w g -> w2", 1, 0),
     "of another slot, or of none, they are not");
  ok(!next_value("w g -> w", 0, 0) && !next_value("w -> wide2", 0, 0) && !next_value("wide -> w2", 0, 0) && !next_value("v -> w2", 0, 0),
     "nor are those of other names");
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------- */

static void
share_bytes(uint32_t one, uint32_t other)
{
  tensor_at(one)->offset = tensor_at(other)->offset;
  tensor_at(one)->bytes = tensor_at(other)->bytes;
}

static void
test_views(void)
{
  EmittedCall *view = call_of("Flatten", 0);
  share_bytes(view->output[0], view->input[0]);
  accepts(MEMORY, "a view that lies on what it shows");
  view = call_of("Flatten", 0);
  share_bytes(view->output[0], view->input[0]);
  view->input[view->input_count++] = view->input[0];
  refuses(MEMORY, "V4", "while it reads it", "a view that has a second operand, which it lies on");
  view = call_of("Flatten", 0);
  share_bytes(view->output[0], view->input[0]);
  tensor_at(view->output[0])->layout = tensor_at(view->input[0])->layout = ACTNN_BLOCKED;
  refuses(MEMORY, "V4", "while it reads it", "a view of other extents on a tensor in blocks");
  view = call_of("Flatten", 0);
  share_bytes(view->output[0], view->input[0]);
  tensor_at(view->output[0])->layout = tensor_at(view->input[0])->layout = ACTNN_BLOCKED;
  memcpy(tensor_at(view->output[0])->dim, tensor_at(view->input[0])->dim, sizeof tensor_at(0)->dim);
  tensor_at(view->output[0])->rank = tensor_at(view->input[0])->rank;
  accepts(MEMORY, "a view of the same extents on a tensor in blocks");
  call_of("Flatten", 0)->input_count = 0;
  accepts(MEMORY, "a view without an operand, for memory alone");
  call_of("Flatten", 0)->input_count = 0;
  refuses(SIGNATURES, "V2", "lacks its operand", "a view without an operand");
}

/* Elementwise kernels may write over their first operand, and over another that is the same. */
static void
test_in_place(void)
{
  EmittedCall *add = call_of("Add", 0);
  share_bytes(add->output[0], add->input[1]);
  refuses(MEMORY, "V4", "while it reads it", "a sum that lies on its second operand");
  add = call_of("Add", 0);
  share_bytes(add->output[0], add->input[0]);
  add->input[1] = add->input[0];
  accepts(MEMORY, "a sum that lies on both its operands, which are one");
}

/* ---- codes ------------------------------------------------------------------------------------------------------------------------- */

static EmittedCall *
reader_of(uint32_t tensor, const char *kernel)
{
  for (unsigned i = 0;; i++) {
    EmittedCall *call = call_of(kernel, i);
    for (uint32_t k = 0; k < call->input_count; k++)
      if (call->input[k] == tensor) return call;
  }
}

static void
test_codes(void)
{
  tensor_at(call_of("SelectCoded", 0)->input[1])->bytes++;
  refuses(CODES, "V5", "which no choice of levels takes", "room between two numbers of levels that is no multiple");
  EmittedCall *writer = call_of("NormalizeOnSave", 0);
  writer->attribute[1].i = 1;
  writer->attribute_count = 2;
  refuses(CODES, "V5", "which no choice of levels takes", "a rectifier without a cap, in a room for what is not rectified");
  writer = call_of("NormalizeOnSave", 0);
  EmittedCall *reader = reader_of(writer->output[1], "NormalGradScale");
  writer->attribute[2] = (actnn_attribute){.kind = ACTNN_REAL, .f = 6};
  reader->attribute[2] = (actnn_attribute){.kind = ACTNN_REAL, .f = NAN};
  refuses(CODES, "V5", "restored with another number", "a cap that is no number");
  call_of("DequantizeOnBackward", 0)->attribute[0].i--;
  refuses(CODES, "V5", "restored with another number", "a restore that names another save");
  call_of("DequantizeOnBackward", 0)->attribute_count = 0;
  accepts(CODES, "a restore that does not name its save, for codes alone");
  call_of("DequantizeOnBackward", 0)->attribute_count = 0;
  refuses(SIGNATURES, "V2", "lacks 'save:int'", "a restore that does not name its save");
  const uint32_t stash = call_of("SelectCoded", 0)->input[1];
  facts->call[facts->call_count] = facts->call[facts->writer[stash]]; /* a writer that is not asked itself */
  facts->writer[stash] = facts->call_count;
  facts->call[facts->call_count].attribute = copied(call_of("SelectCoded", 0)->attribute, 1, sizeof(actnn_attribute));
  facts->call[facts->call_count].attribute->i = 99;
  for (uint32_t i = 0; i < facts->call_count; i++)
    for (uint32_t k = 0; k < facts->call[i].input_count; k++)
      if (facts->call[i].input[k] == stash) facts->call[i].attribute->i = 99;
  refuses(CODES, "V5", "names no save of the table", "a selection by codes of no save");
}

static void
test_packed(void)
{
  EmittedCall *pack = call_of("PackPositive", 0);
  for (int axis = 0; axis < 2; axis++)
    tensor_at(pack->input[0])->dim[axis] = tensor_at(pack->output[0])->dim[axis] = (int64_t)1 << 62;
  refuses(CODES, "V5", "which is not what PackPositive writes", "more elements than there are bytes to count");
  facts->save[facts->save_count++] = (EmittedSave){.tensor = call_of("PackPositive", 0)->output[0]};
  refuses(CODES, "V5", "is no stash of coded values", "packed bits in the table of saves");
  facts->save[facts->save_count++] = (EmittedSave){.tensor = call_of("PackPositive", 0)->input[0]};
  refuses(CODES, "V5", "is no stash of coded values", "a value in the table of saves");
}

/* Values that the pool holds as they are. */
static void
test_exact(void)
{
  call_of("RestoreExact", 0)->attribute[0].i++;
  refuses(CODES, "V5", "restored with another number", "a value that comes back under another number");
  EmittedCall *one = call_of("RestoreExact", 0), *other = call_of("RestoreExact", 1);
  uint32_t stash = one->input[0];
  one->input[0] = other->input[0];
  other->input[0] = stash;
  refuses(CODES, "V5", "restored with another number", "two values that come back as each other");
  one = call_of("RestoreExact", 0);
  other = &facts->call[facts->writer[one->input[0]]];
  EmittedCall kept = *one;
  *one = *other;
  *other = kept;
  one->phase = BACKWARD;
  other->phase = FORWARD;
  refuses(DEFINITIONS, "V6", "before it is written", "a value that comes back before it is saved");
  call_of("SaveExact", 0)->attribute[0].i = call_of("SaveExact", 1)->attribute[0].i;
  refuses(CODES, "V5", "restored with another number", "two values saved under one number");
  one = call_of("SaveExact", 0);
  reader_of(one->output[0], "RestoreExact")->attribute[0].i = one->attribute[0].i = call_of("SaveExact", 1)->attribute[0].i;
  refuses(CODES, "V5", "has no number of its own", "two values saved and restored under one number");
  one = call_of("SaveExact", 0);
  reader_of(one->output[0], "RestoreExact")->attribute[0].i = one->attribute[0].i = -1;
  refuses(CODES, "V5", "has no number of its own", "a number below 0");
  one = call_of("SaveExact", 0);
  reader_of(one->output[0], "RestoreExact")->attribute[0].kind = one->attribute[0].kind = ACTNN_ABSENT;
  refuses(CODES, "V5", "has no number of its own", "a number that is absent");
  facts->model.exact_count++;
  refuses(CODES, "V5", "values are saved as they are, the model says", "one value fewer than the model says");
  facts->model.exact_bytes += ACTNN_ALIGNMENT;
  refuses(CODES, "V5", "values that are saved as they are take", "more bytes than they take");
  tensor_at(call_of("SaveExact", 0)->output[0])->bytes += ACTNN_ALIGNMENT;
  refuses(CODES, "V5", "which it holds, has", "a stash of another size");
  tensor_at(call_of("SaveExact", 0)->output[0])->offset += ACTNN_ALIGNMENT;
  refuses(CODES, "V5", "does not lie behind the saves before it", "a stash that does not lie where the window begins");
  facts->model.window_bytes = tensor_at(call_of("SaveExact", 0)->output[0])->bytes - ACTNN_ALIGNMENT;
  refuses(CODES, "V5", "does not lie behind the saves before it", "a stash that is larger than the window");
  facts->model.window_bytes = 0;
  refuses(CODES, "V5", "does not lie behind the saves before it", "stashes that lie on each other without a window");
  tensor_at(call_of("SaveExact", 0)->input[0])->type = ACTNN_I32;
  refuses(CODES, "V5", "is no float value", "integers");
  tensor_at(call_of("RestoreExact", 0)->output[0])->type = ACTNN_BF16;
  refuses(CODES, "V5", "does not come back as it was saved", "a value that comes back in another form");
  tensor_at(call_of("RestoreExact", 0)->output[0])->bytes += ACTNN_ALIGNMENT;
  refuses(CODES, "V5", "does not come back as it was saved", "a value that comes back with other bytes");
}

/* ---- statistics ------------------------------------------------------------------------------------------------------------------- */

static void
test_statistics(void)
{
  EmittedCall *statistics = call_of("BatchNormStatistics", 0);
  statistics->input[1] = statistics->output[2];
  refuses(UPDATES, "V7", "which BatchNormStatistics does not replace", "statistics that go on from themselves");
  facts->writer[call_of("BatchNormStatistics", 0)->output[2]] = NONE;
  refuses(UPDATES, "V7", "which BatchNormStatistics does not replace", "statistics that go on from what nothing writes");
  call_of("BatchNormStatistics", 0)->name = "Relu";
  refuses(UPDATES, "V7", "which BatchNormStatistics does not replace", "statistics that go on from what are none");
  facts->input[0].tensor = NONE;
  refuses(PARTS, "V8", "names no tensor", "an input that is no tensor");
}

/* ---- calls and nodes ----------------------------------------------------------------------------------------------------------------- */

static void
test_nodes(void)
{
  EmittedCall *call = call_of("Fill", 0);
  call->input = copied((uint32_t[]){NONE, NONE}, 2, sizeof(uint32_t));
  call->input_count = 2;
  refuses(PROGRAM, "V7", "another number of operands", "two absent operands where there is none");
  call = call_of("Relu", 0);
  Node *node = node_of("Relu", 0);
  call->input[call->input_count++] = call->input[0];
  node->operands[node->operand_count++] = node->operands[0];
  refuses(PROGRAM, "V7", "has operand 1", "an operand that the kernel does not have");
  facts->home[call_of("Relu", 0)->output[0]] = 0;
  refuses(PROGRAM, "V7", "does not replace what value", "a value of the step that lies on a variable");
  facts->first_call[EVALUATE + 1] = facts->first_call[EVALUATE];
  refuses(PROGRAM, "V7", "a phase has 0 calls", "no calls where the program has nodes");
  facts->program = NULL;
  accepts(PROGRAM, "anything where the program is not known");
  value_called("n1")->type = ACTNN_F16;
  refuses(PROGRAM, "V7", "does not have the type", "a value of a type that kernels do not hold");
}

/* kernel_shape of a convolution as a tensor of the program, or as texts. */
static void
give_attribute(AttributeKind kind, const int64_t *ints)
{
  static const Value constant = {.type = ACTNN_I64, .shape = {1, {2}}, .kind = VALUE_CONSTANT, .producer = NO_NODE, .drawn_from = NO_VALUE,
                                 .updates = NO_VALUE};
  Node *node = node_of("Conv", 0);
  for (uint32_t i = 0; i < node->attribute_count; i++)
    if (!strcmp(node->attributes[i].name, "kernel_shape"))
      node->attributes[i] = (Attribute){.name = "kernel_shape", .kind = kind, .tensor = program->value_count};
  Value *value = &program->values[program->value_count++];
  *value = constant;
  value->data = ints;
  value->data_bytes = 2 * sizeof *ints;
}

static void
test_attributes(void)
{
  static const int64_t same[] = {3, 3}, other[] = {3, 4};
  give_attribute(ATTRIBUTE_TENSOR, same);
  accepts(PROGRAM, "an attribute that is a tensor of the program");
  give_attribute(ATTRIBUTE_TENSOR, other);
  refuses(PROGRAM, "V7", "another 'kernel_shape:ints'", "an attribute that is a tensor with other numbers");
  give_attribute(ATTRIBUTE_STRINGS, same);
  refuses(PROGRAM, "V7", "another 'kernel_shape:ints'", "an attribute that is a list of texts in the program");
}

/* ---- who reads a save --------------------------------------------------------------------------------------------------------- */

/* Operand `index` of a call and of its node becomes that of `other`, or none. */
static void
change_both(EmittedCall *call, Node *node, uint32_t index, uint32_t tensor)
{
  call->input[index] = tensor;
  node->operands[index] = tensor == NONE ? NO_VALUE : bench.emitted.value_of[tensor];
}

/* The save whose codes one parameter's gradient reads, in a program that was changed as its source was: who reads it now? */
static void
test_parameter_of_save(void)
{
  enum { CHANGES = 6 };
  static const char *const what[CHANGES] = {
      "nothing reads what is restored", "what is restored is left out", "two calls read what is restored",
      "nothing reads the gradient",     "nothing reads its sum",        "the update reads its sum for its state"};
  for (int k = 0; k < 2 * CHANGES; k++) {
    EmittedCall *restore = call_of("DequantizeOnBackward", 0), *measure = call_of("MeasureSensitivity", 0);
    EmittedCall *product = call_of("ProductGradWeight", 0), *sum = call_of("SumTo", 0), *update = call_of("Sgd", 0);
    int change = k / 2;
    if (change < 2) {
      change_both(measure, node_of("MeasureSensitivity", 0), 1, NONE);
      change_both(product, node_of("ProductGradWeight", 0), 1, NONE);
      if (change == 1) restore->output[0] = NONE;
    } else if (change == 2) {
      change_both(call_of("Reshape", 0), node_of("Reshape", 0), 0, restore->output[0]);
    } else if (change == 3) {
      change_both(sum, node_of("SumTo", 0), 0, NONE);
    } else {
      Node *node = node_of("Sgd", 0);
      uint32_t state = update->input[2];
      change_both(update, node, 2, change == 4 ? state : update->input[1]);
      change_both(update, node, 1, change == 4 ? NONE : state);
    }
    if (k % 2) facts->save[restore->attribute[0].i].parameter = NONE;
    if (k % 2) accepts(PROGRAM, what[change]);
    else refuses(PROGRAM, "V8", "names another parameter", what[change]);
  }
}

/* ---- the compiler's view ----------------------------------------------------------------------------------------------------------- */

static void
test_compiler_view(void)
{
  facts->call_count++;
  refuses(COMPILER_VIEW, "V2", "fewer calls than the words say", "a call that the compiler does not see");
  facts->call_count--;
  refuses(COMPILER_VIEW, "V2", "another kernel than the words say", "a call that the words do not have");
  call_of("Relu", 0)->phase = BACKWARD;
  refuses(COMPILER_VIEW, "V2", "another kernel than the words say", "a call in another phase");
  call_of("Relu", 0)->position++;
  refuses(COMPILER_VIEW, "V2", "another kernel than the words say", "a call in another place");
  call_of("Relu", 0)->name = "Abs";
  refuses(COMPILER_VIEW, "V2", "another kernel than the words say", "a call of another kernel");
}

/* ---- all rules --------------------------------------------------------------------------------------------------------------------- */

static bool
holds_not(Emitted *emitted)
{
  (void)emitted;
  return false;
}

/* A rule that is broken without a word is told all the same, and nothing is asked after it. */
static void
test_silence(void)
{
  static const Rule rules[] = {{"V0", "anything holds", holds_not}, {"V9", "words", scan_words}};
  char *said = NULL;
  size_t length = 0;
  facts->findings = open_memstream(&said, &length);
  bool holds = check_listed_rules(facts, rules, COUNT(rules));
  fclose(facts->findings);
  ok(!holds && !strcmp(said, "V0\t0\tit does not hold that anything holds\n"), "a rule that says nothing is told by its name");
  free(said);
  start_again();
}

static void
test_list(void)
{
  char *listed = NULL;
  size_t length = 0, named = 0;
  FILE *stream = open_memstream(&listed, &length);
  list_rules(stream);
  fclose(stream);
  for (size_t i = 0; i < emitted_rule_count; i++) {
    const char *line = arena_format(arena, "\n  %-4s %s\n", emitted_rules[i].id, emitted_rules[i].what);
    named += strstr(listed, line) != NULL;
  }
  ok(named == emitted_rule_count, "the list names each rule");
  ok(strstr(listed, "\nNot proven:\n       that the program means") != NULL, "and what none proves");
  free(listed);
}

/* ---- rows that coders make ------------------------------------------------------------------------------------------------------------ */

static const char rows[] =
    "<ir_version: 8, opset_import: [\"\" : 23]>\n"
    "net (float[N,16,32] x) => (float[N,8] logits)\n"
    "<float[32,32] w1 = [\"location\" : \"none\"], float[32] s1 = [\"location\" : \"none\"], float[32] b1 = [\"location\" : \"none\"],\n"
    " float[32,32] w2 = [\"location\" : \"none\"], float[32] s2 = [\"location\" : \"none\"], float[32,8] w3 = [\"location\" : \"none\"]>\n"
    "{\n"
    "  h1 = MatMul (x, w1) n1 = LayerNormalization <axis = 2> (h1, s1, b1) h2 = MatMul (n1, w2) n2 = RMSNormalization <axis = 2> (h2, s2)\n"
    "  h3 = MatMul (n2, w3) logits = ReduceMean <axes = [1], keepdims = 0> (h3)\n"
    "}\n";

static const Origin with_rows = {.what = "normalized rows", .text = rows, .optimizer = "sgd", .scheme = "actnnc", .batch = 4};

/* The coder of the first normalization's rows. */
static EmittedCall *
coder_with(const char *steps)
{
  EmittedCall *call = call_of("QuantizeOnSave", 0);
  call->attribute[1] = (actnn_attribute){.kind = steps ? ACTNN_TEXT : ACTNN_ABSENT, .text = steps};
  return call;
}

static void
test_rows(void)
{
  static const char standardize[] = "y0=Standardize(x0,x1,x2)";
  ok(call_of("QuantizeOnSave", 0)->input_count == 3 && call_of("QuantizeOnSave", 1)->input_count == 2, "coders make the rows of both");
  coder_with("y0=Standardize(x0,x1");
  refuses(SIGNATURES, "V2", "steps that cannot be coded: a call has too few operands", "steps that end early");
  coder_with("y0=Affine(x0,x1,x2)");
  refuses(SIGNATURES, "V2", "steps that cannot be coded: no coder makes these", "a row that coders do not have");
  coder_with("t0=Mul(x0,x1);y0=Mul(t0,x2)");
  refuses(SIGNATURES, "V2", "steps that cannot be coded: no coder makes these", "two steps");
  coder_with("y0=Standardize(x0,x1,x1)");
  refuses(SIGNATURES, "V2", "steps that cannot be coded: an operand is read twice", "an operand for two");
  coder_with("y0=Mul(x0,x1)");
  refuses(SIGNATURES, "V2", "another number of operands than its steps", "steps of fewer operands");
  coder_with(NULL);
  refuses(SIGNATURES, "V2", "another number of operands than its steps", "operands of no steps");
  coder_with(standardize)->input[2] = NONE;
  refuses(SIGNATURES, "V2", "lacks operand 2", "an operand that is not there");
  EmittedCall *coder = coder_with(standardize);
  coder->input[1] = coder->input[2] = coder->input[0];
  accepts(SIGNATURES, "an operand that has a float for each element");
  tensor_at(coder_with(standardize)->input[1])->dim[2] = 2;
  refuses(SIGNATURES, "V2", "does not have a float for each of the rows", "floats for half rows");
  coder = coder_with(standardize);
  tensor_at(coder->input[1])->dim[0] = 1;
  refuses(SIGNATURES, "V2", "does not have a float for each of the rows", "fewer floats than rows");
  tensor_at(coder_with(standardize)->input[2])->dim[1] = 1;
  refuses(SIGNATURES, "V2", "does not have a float for each of the rows", "fewer deviations than means");
  tensor_at(coder_with(standardize)->input[1])->rank = 2;
  refuses(SIGNATURES, "V2", "does not have a float for each of the rows", "floats of another rank");
  tensor_at(coder_with(standardize)->input[1])->rank = 4;
  refuses(SIGNATURES, "V2", "does not have a float for each of the rows", "floats of a higher rank");
  tensor_at(coder_with(standardize)->input[1])->type = ACTNN_BF16;
  refuses(SIGNATURES, "V2", "does not have a float for each of the rows", "means that are no floats");
  tensor_at(coder_with(standardize)->input[1])->layout = ACTNN_BLOCKED;
  refuses(SIGNATURES, "V2", "does not have a float for each of the rows", "means in blocks");
  tensor_at(coder_with(standardize)->input[0])->layout = ACTNN_BLOCKED;
  refuses(SIGNATURES, "V2", "does not have a float for each of the rows", "rows in blocks");
  facts->save[coder_with(standardize)->attribute[0].i].spacing = ACTNN_MASKED_LEVELS;
  refuses(CODES, "V5", "levels from zero on, of rows that have both signs", "levels of a rectifier's result");
  facts->save[coder_with(standardize)->attribute[0].i].spacing = ACTNN_SQUARE_LEVELS;
  refuses(CODES, "V5", "levels from zero on, of rows that have both signs", "squares");
  coder = call_of("QuantizeOnSave", 1);
  coder->attribute[1].text = "y0=Mul(x1,x0)";
  refuses(SIGNATURES, "V2", "steps that cannot be coded", "operands out of turn");
  coder = coder_with(standardize);
  const uint32_t mean = coder->input[1];
  coder->input[1] = coder->input[2];
  refuses(PROGRAM, "V7", "stands for value", "the deviation for the mean");
  coder = coder_with(standardize);
  coder->input[1] = coder->input[2];
  coder->input[2] = mean;
  refuses(PROGRAM, "V7", "stands for value", "the mean for the deviation");
  coder_with("y0=Standardize(x0,x1,x2)")->attribute[1].text = "y0=Mul(x0,x1)";
  refuses(PROGRAM, "V7", "another 'steps:string' than node", "another row than the program's");
  facts->save[0].name = "other";
  refuses(PROGRAM, "V8", "another weight or other bytes in the plan", "a save of another name than its coder");
}

int
main(void)
{
  start_called("what is shared, sgd");
  test_signatures();
  test_views();
  test_in_place();
  test_codes();
  test_statistics();
  test_nodes();
  test_attributes();
  test_parameter_of_save();
  test_compiler_view();
  test_silence();
  test_list();
  finish();
  start_called("a convolutional net, sgd");
  test_packed();
  finish();
  start(&with_rows);
  test_rows();
  finish();
  start_called("samples of few elements on a GPU, as they are in the host's memory");
  test_exact();
  finish();
  return tap_done();
}
