/* mutants_words.c: mutants of what V1, V2, V9 and V10 forbid: remarks of a compiler, callees, words, statements; see mutants.h. */
#include "mutants.h"

#include <ctype.h>

/* ---- V1: a compiler has a remark ------------------------------------------------------------------------------------- */

/* Each is an error, or a warning of -Wall -Wextra -Wpedantic, in front of a call. */
static const char *const remarked_statements[] = {
    "int unused;",         "undeclared;",         "1;",           "trainer == trainer;", "(void)undeclared;",  "int x; x++;",
    "char *c = 300;",      "int i = \"text\";",   "\"text\";",    "int (;",              "unknown_type name;", "trainer = 1.5;",
    "static int counter;", "trainer->loss = 0;",  "*trainer;",    "return;",             "return trainer;",    "(void)tensors[v0].size;",
    "int i = 4 / 0; (void)i;", "undeclared_function();", "unsigned char b = 300; (void)b;", "int a[-1]; (void)a;"};

static void
remark_calls(Bench *bench, const EmittedCall *call)
{
  Span callee = callee_of(bench, call), line = call_line(bench, call);
  for (size_t i = 0; i < COUNT(remarked_statements); i++)
    change_for_compiler(bench, "a statement", (Span){call->position, call->position}, FORMAT("%s ", remarked_statements[i]));
  change_for_compiler(bench, "no semicolon", (Span){line.to - 2, line.to - 1}, "");
  change_for_compiler(bench, "no parenthesis", (Span){line.to - 3, line.to - 2}, "");
  change_for_compiler(bench, "no kernel of that name", callee, FORMAT("%sX", text_of(bench, callee)));
  change_for_compiler(bench, "no such macro", (Span){call->position, call->position + 3}, "RUM");
  change_for_compiler(bench, "too few arguments", (Span){callee.from, callee.to + 2}, "");
  change_for_compiler(bench, "an integer for a kernel", callee, "1");
  change_for_compiler(bench, "a tensor for a kernel", callee, "tensors");
}

static void
remark_tensors(Bench *bench, uint32_t tensor)
{
  Span row = row_of(bench, tensor), rank = field_of(bench, tensor, RANK), offset = field_of(bench, tensor, OFFSET);
  Span bytes = field_of(bench, tensor, BYTES), type = field_of(bench, tensor, TYPE), extents = field_of(bench, tensor, EXTENTS);
  change_for_compiler(bench, "an entry twice", (Span){row.to, row.to}, FORMAT(", [v%u] = %s", tensor, text_of(bench, row)));
  change_for_compiler(bench, "a field too few", (Span){offset.to, bytes.to}, "");
  change_for_compiler(bench, "a field too many", (Span){bytes.to, bytes.to}, ", 1");
  change_for_compiler(bench, "a rank that no byte holds", rank, "300");
  change_for_compiler(bench, "a number that no type holds", offset, "18446744073709551616u");
  change_for_compiler(bench, "a string for a number", bytes, "\"64\"");
  change_for_compiler(bench, "a type that is none", type, "ACTNN_FLOAT");
  change_for_compiler(bench, "more extents than there may be", extents, "{1, 2, 3, 4, 5, 6, 7, 8, 9}");
  change_for_compiler(bench, "no extents in braces", extents, "{ {1}, {2} }");
  if (tensor + 1 < bench->emitted.tensor_count) change_for_compiler(bench, "no comma", (Span){row.to, row.to + 1}, "");
  change_for_compiler(bench, "a division by zero", bytes, "64u / 0u");
  change_for_compiler(bench, "an entry past the table", (Span){row.to, row.to}, FORMAT(", [TENSOR_COUNT + %u] = {0}", tensor));
}

void
mutate_diagnostics(Bench *bench)
{
  for (uint32_t i = 0; i < bench->emitted.call_count; i++) remark_calls(bench, &bench->emitted.call[i]);
  for (uint32_t i = 0; i < bench->emitted.tensor_count; i++) remark_tensors(bench, i);
}

/* ---- V2: callees ------------------------------------------------------------------------------------------------------ */

static const char *const no_kernels[] = {
    "system", "exit", "abort", "memcpy", "printf", "execl", "actnn_run", "actnn_destroy", "actnn_main", "actnn_create", "actnn_step",
    "actnn_error", "actnn_data", "actnn_export", "actnn_observe_gradients", "forward", "backward", "initialize", "evaluate", "main",
    "net_step", "trainer", "tensors", "net_model", "v0", "0", "NULL", "NONE", "(actnn_Relu)", "*actnn_Relu", "&actnn_Relu", "actnn_",
    "actnn_relu", "Relu", "INT(0)"};

static uint32_t
slot_count(const Kernel *kernel, SignaturePart part, bool constants_only)
{
  size_t length;
  const char *slot;
  uint32_t count = 0;
  for (uint32_t i = 0; (slot = slot_at(kernel, part, i, &length)) != NULL && !slot_is_marked(slot, length, '*'); i++)
    count += !constants_only || slot_is_marked(slot, length, '#');
  return count;
}

/* Kernels that this call cannot be one of: another number of attributes. */
static void
call_other_kernels(Bench *bench, uint32_t index)
{
  const EmittedCall *call = &bench->emitted.call[index];
  for (size_t i = 0; operator_at(i) != NULL && i < operator_count(); i++) {
    const Kernel *kernel = find_kernel(operator_at(i)->name);
    if (!kernel || (i + index) % 5) continue;
    if (slot_count(kernel, OPERANDS, true) + slot_count(kernel, ATTRIBUTES, false) != call->attribute_count)
      change(bench, "a kernel with other attributes", callee_of(bench, call), FORMAT("actnn_%s", kernel->name));
  }
}

/* The words stay, the compiler sees another kernel. */
static void
hide_kernels(Bench *bench, uint32_t index)
{
  const EmittedCall *call = &bench->emitted.call[index];
  for (size_t i = 0; i < operator_count(); i++) {
    const Kernel *kernel = find_kernel(operator_at(i)->name);
    if (kernel && strcmp(kernel->name, call->name) && (i + index) % 31 == 0)
      change_for_compiler(bench, "another kernel than the words say", callee_of(bench, call), FORMAT("actnn_%s", kernel->name));
  }
}

/* No remark, and yet not what the words say. */
static void
hide_statements(Bench *bench, const EmittedCall *call)
{
  static const char *const hidden[] = {
      "actnn_destroy(trainer); ", "__builtin_trap(); ", "__asm__(\"nop\"); ", "for (;;) ", "while (trainer) ", "if (!trainer) ",
      "(void)actnn_error(trainer); ", "{ int local = 0; (void)local; } ",
      "(void)actnn_run(trainer, actnn_Relu, OUT(v0), IN(v0), WITHOUT); ", "goto end; end: ", "switch (1) default: ",
      "do { } while (0); ", "if (trainer) return 1; ", "(void)tensors; ", "(void)&actnn_cuda; ", "/* // */ return 0; "};
  for (size_t i = 0; i < COUNT(hidden); i++)
    change_for_compiler(bench, "a statement that is not in the words", (Span){call->position, call->position}, hidden[i]);
  change_for_compiler(bench, "a call that is not there", (Span){call->position, call_line(bench, call).to - 1}, "");
  change_for_compiler(bench, "a kernel that is cast", callee_of(bench, call), "(actnn_kernel *)(void *)0");
}

/* More tensors than the kernel has slots. */
static void
lengthen(Bench *bench, const EmittedCall *call, SignaturePart part, Span last, uint32_t count)
{
  size_t length;
  uint32_t slots = slot_count(call->kernel, part, false);
  if (slot_at(call->kernel, part, ACTNN_MAX_OPERANDS, &length)) return; /* as many as one likes */
  const char *more = ", v0";
  for (uint32_t k = count; k < slots; k++) more = FORMAT("%s, v0", more);
  insert(bench, part == OPERANDS ? "an operand too many" : "a result too many", last.to, more);
}

static void
change_arguments(Bench *bench, const EmittedCall *call)
{
  size_t length;
  const char *slot;
  for (uint32_t k = 0; k < call->input_count; k++) {
    slot = slot_at(call->kernel, OPERANDS, k, &length);
    if (slot && call->input[k] != NONE && !slot_is_marked(slot, length, '?') && !slot_is_marked(slot, length, '*'))
      change(bench, "an operand is missing", operand_of(bench, call, k), "NONE");
    if (slot && slot_is_marked(slot, length, '#')) change(bench, "a tensor for a constant", operand_of(bench, call, k), "v0");
  }
  lengthen(bench, call, OPERANDS, operand_of(bench, call, call->input_count - 1), call->input_count);
  lengthen(bench, call, RESULTS, result_of(bench, call, call->output_count - 1), call->output_count);
}

static void
change_attributes(Bench *bench, const EmittedCall *call)
{
  if (!call->attribute_count) {
    Span line = call_line(bench, call);
    change(bench, "an attribute too many", (Span){line.to - 10, line.to - 3}, "WITH(INT(0))"); /* WITHOUT */
    return;
  }
  Span last = attribute_of(bench, call, call->attribute_count - 1);
  insert(bench, "an attribute too many", last.to, ", INT(0)");
  insert(bench, "an attribute too many", last.to, ", ABSENT");
  for (uint32_t k = 0; k < call->attribute_count; k++) {
    Span span = attribute_of(bench, call, k);
    if (call->attribute_count > 1) {
      Span gone = k ? (Span){attribute_of(bench, call, k - 1).to, span.to} : (Span){span.from, attribute_of(bench, call, 1).from};
      change(bench, "an attribute too few", gone, "");
    }
    actnn_attribute_kind kind = call->attribute[k].kind;
    if (kind != ACTNN_TEXT && kind != ACTNN_ABSENT) change(bench, "a text for a number", span, "TEXT(\"a\")");
    if (kind == ACTNN_TEXT) change(bench, "a number for a text", span, "INT(1)");
  }
}

static void
change_device(Bench *bench)
{
  static const char *const devices[] = {"&actnn_cpu", "actnn_cuda", "(void *)0", "0", "&net_model", "actnn_create", "&tensors", "system"};
  for (size_t i = 0; i < COUNT(devices); i++) change(bench, "no device", model_field(bench, "device"), devices[i]);
}

static void
change_interface(Bench *bench)
{
  static const char *const called[] = {"actnn_create", "actnn_step", "actnn_evaluate_batch", "actnn_save_checkpoint", "actnn_load",
                                       "actnn_destroy", "actnn_main", "actnn_error", "actnn_export", "actnn_data", "system"};
  static const char *const phases[] = {"initialize", "forward", "backward", "evaluate", "main", "net_step", "NULL", "actnn_step"};
  size_t start = (size_t)(strstr(bench->source, "\nactnn *\nnet_create") - bench->source);
  for (size_t i = 0; i < COUNT(called); i++) {
    const char *name = FORMAT("%s(", called[i]), *at = strstr(bench->source + start, name);
    for (size_t k = 0; at && k < COUNT(called); k++) {
      size_t from = (size_t)(at - bench->source);
      if (k != i) change(bench, "an interface that calls another function", (Span){from, from + strlen(called[i])}, called[k]);
    }
  }
  for (size_t i = 0; i < 4; i++)
    for (size_t k = 0; k < COUNT(phases); k++)
      if (k != i) change(bench, "a model with another phase", model_field(bench, phases[i]), phases[k]);
}

void
mutate_callees(Bench *bench)
{
  for (uint32_t i = 0; i < bench->emitted.call_count; i++) {
    const EmittedCall *call = &bench->emitted.call[i];
    for (size_t k = 0; k < COUNT(no_kernels); k++) change(bench, "no kernel", callee_of(bench, call), no_kernels[k]);
    call_other_kernels(bench, i);
    change_arguments(bench, call);
    change_attributes(bench, call);
    hide_kernels(bench, i);
    hide_statements(bench, call);
  }
  change_interface(bench);
  change_device(bench);
}

/* ---- V9: words ---------------------------------------------------------------------------------------------------------- */

static const char *const no_words[] = {
    "\n#pragma omp parallel\n", "\n#define RUN(a, b, c, d)\n", "\n#undef IN\n", "\n#include <stdio.h>\n", "\n#line 3\n", "\n#if 0\n",
    "\n#error\n", "\n# \n", "\n%:define x\n", "_Pragma(\"once\") ", "// comment\n", "// \\\n", "\\\n", "\303\251 ", "\342\200\256 ",
    "\302\240", "\t", "\r", "\014", "\001", "\177", "?", "?\?/\n", ":", "<: ", "<% ", "! ", "~", "^", "+ ", "| ", "% ", "> ", "< ", "$",
    "@", "`x` ", "'a' ", "/* /* */ ", "/* \\ */ ", "/* ?\?/\n */ ", "/* \303\251 */ ", " _x ", " Main ", " 0x1f ", " 1.5f ", " 0777 ",
    " 1'0 ", " L\"x\" ", "\"%s\" ", "\"a b\" ", "\"\\n\" ", "\"\\x41\" ", "\"\\8\" ", "\"\n\" "};

/* Words as nothing but V9 would take them. */
static void
misspell(Bench *bench, const Word *word)
{
  const char *text = text_of(bench, (Span){word->start, word->start + word->length});
  size_t at = word->start, end = at + word->length;
  switch (word->kind) {
  case WORD_NAME:
    insert(bench, "a name with a dollar", end, "$");
    insert(bench, "a name with a letter of another alphabet", end, "\320\260");
    insert(bench, "a name that begins with an underscore", at, "_");
    if (strncmp(text, "actnn_", 6)) {
      insert(bench, "a name of two cases", end, isupper((unsigned char)*text) ? "x" : "X");
      insert(bench, "a name of two cases", at, isupper((unsigned char)*text) ? "x" : "X");
    }
    insert(bench, "a name that goes on and on", end, FORMAT("%0101d", 0));
    return;
  case WORD_NUMBER:
    insert(bench, "a hexadecimal number", at, "0x");
    insert(bench, "a number with a separator", end, "'0");
    insert(bench, "a number with a suffix", end, "L");
    insert(bench, "a number with a suffix", end, "f");
    insert(bench, "a number that is no number", end, ".");
    insert(bench, "a number of many digits", at, FORMAT("%041d", 0));
    if (isdigit((unsigned char)text[1])) insert(bench, "an octal number", at, "0");
    return;
  case WORD_TEXT:
    insert(bench, "a string of another kind", at, "L");
    insert(bench, "a string of another kind", at, "u8");
    insert(bench, "a raw string", at, "R");
    insert(bench, "a quote in a string", end - 1, "\\\"");
    insert(bench, "an escape of another kind", end - 1, "\\n");
    insert(bench, "a format in a string", end - 1, "%n");
    insert(bench, "a space in a string", at + 1, " ");
    insert(bench, "a string over two lines", end - 1, "\n");
    insert(bench, "a byte that is no ASCII", end - 1, "\377");
    return;
  default: return;
  }
}

static void
change_header(Bench *bench)
{
  const char *start = strstr(bench->header, "*/");
  for (size_t at = (size_t)(start - bench->header); at < strlen(bench->header); at++) {
    const char *head = FORMAT("%.*s", (int)at, bench->header), *tail = bench->header + at;
    mutate_header(bench, "a byte less", FORMAT("%s%s", head, tail + 1));
    if (!at || bench->header[at - 1] != '\n') continue;
    static const char *const lines[] = {"#undef RUN\n", "#define OUT IN\n", "#define RUN(a, b, c, d)\n", "#include <stdio.h>\n",
                                        "#pragma once\n", "int hidden;\n", "\\\n", "static inline int f(void) { return 1; }\n"};
    for (size_t i = 0; i < COUNT(lines); i++) mutate_header(bench, "a line more", FORMAT("%s%s%s", head, lines[i], tail));
  }
}

enum { PLACES = 40 }; /* for each thing that is put somewhere */

void
mutate_words(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  uint32_t words = emitted->word_count - 1, step = words / PLACES + 1;
  for (size_t i = 0; i < COUNT(no_words); i++)
    for (uint32_t k = (uint32_t)i % step; k < words; k += step) insert(bench, "no word", emitted->word[k].start, no_words[i]);
  for (uint32_t k = 0; k < words; k += step / 8 + 1) misspell(bench, &emitted->word[k]);
  change_header(bench);
}

/* ---- V10: statements -------------------------------------------------------------------------------------------------------- */

static const char *const statements[] = {
    "return 0; ", "return 1; ", "if (trainer) ", "while (trainer) ", "for (;;) ", "do ", "goto end; ", "{ ", "} ", "; ", "system(\"id\"); ",
    "actnn_destroy(trainer); ", "asm(\"nop\"); ", "int x = 0; ", "RUN(", "(void)trainer; ", "break; ", "continue; ", "trainer = NULL; ",
    "*trainer = x; ", "sizeof ", "extern ", "else ", "switch (1) ", "static ", "abort(); ", "(", "1, ", "trainer, ", "- ", "& ", "RUN ",
    "OUT(v0); ", "static int\nf(actnn *trainer)\n", "actnn_run(trainer, actnn_Relu, OUT(v0), IN(v0), WITHOUT); ",
    "return actnn_run(trainer, actnn_Relu, OUT(v0), IN(v0), WITHOUT); "};

static const char *const unchecked[] = {"actnn_run", "(void)actnn_run(trainer, actnn_Relu", "run", "RUM", "IN", "OUT", "WITH", "INT", "",
                                        "RUN RUN"};

static void
change_statement(Bench *bench, const EmittedCall *call)
{
  Span line = call_line(bench, call), run = {call->position, call->position + 3};
  for (size_t i = 0; i < COUNT(statements); i++) insert(bench, "a statement", call->position, statements[i]);
  for (size_t i = 0; i < COUNT(unchecked); i++) change(bench, "a call whose code nobody checks", run, unchecked[i]);
  change(bench, "a call whose code nobody checks", (Span){call->position, call->position + 4}, "actnn_run(trainer, ");
  change(bench, "a call whose code is checked otherwise", (Span){call->position, call->position + 4}, "if (actnn_run(trainer, ");
  static const char *const ends[] = {", 0;", ";;", ");", "", "; return 0;", ", trainer;"};
  for (size_t i = 0; i < COUNT(ends); i++) change(bench, "another end", (Span){line.to - 2, line.to - 1}, ends[i]);
  const size_t open = call->position + 3;
  Span out = item_of(bench, open, 1), in = item_of(bench, open, 2), with = item_of(bench, open, 3);
  change(bench, "IN for OUT", (Span){out.from, out.from + 3}, "IN");
  change(bench, "OUT for IN", (Span){in.from, in.from + 2}, "OUT");
  change(bench, "IN for WITH", (Span){with.from, with.from + 4}, "IN");
  change(bench, "no results", (Span){out.from, in.from}, "");
  change(bench, "no operands", (Span){in.from, with.from}, "");
  change(bench, "no attributes", (Span){in.to, with.to}, "");
  change_two(bench, "operands and results in another order", out, text_of(bench, in), in, text_of(bench, out));
}

static void
change_functions(Bench *bench)
{
  static const char *const phases[] = {"initialize", "forward", "backward", "evaluate"};
  static const struct { const char *from, *to; } forms[] = {
      {"return 0;", "return 1;"}, {"return 0;", "return -1;"}, {"return 0;", ""}, {"return 0;", "return 0; return 0;"},
      {"(void)trainer;", ""}, {"(void)trainer;", "trainer;"}, {"(actnn *trainer)", "(void)"},
      {"(actnn *trainer)", "(actnn *trainer, int more)"}, {"{", "{ {"}, {"}", ""}};
  for (size_t i = 0; i < COUNT(phases); i++) {
    const char *name = FORMAT("static int\n%s", phases[i]), *function = strstr(bench->source, name);
    size_t start = (size_t)(function - bench->source);
    for (size_t k = 0; k < COUNT(phases); k++)
      if (k != i) change(bench, "another function's name", (Span){start + 11, start + strlen(name)}, phases[k]);
    change(bench, "a function that is not static", (Span){start, start + 7}, "");
    insert(bench, "a function more", start, "static int\nextra(actnn *trainer)\n{\n  return 0;\n}\n\n");
    for (size_t k = 0; k < COUNT(forms); k++) {
      const char *at = strstr(function, forms[k].from);
      size_t from = (size_t)(at - bench->source);
      change(bench, "a function of another form", (Span){from, from + strlen(forms[k].from)}, forms[k].to);
    }
  }
}

void
mutate_statements(Bench *bench)
{
  for (uint32_t i = 0; i < bench->emitted.call_count; i++) change_statement(bench, &bench->emitted.call[i]);
  change_functions(bench);
}
